/* SPDX-License-Identifier: MIT */
/* All blocks in use, by way of the buddy words: what is free is passed over, a word or a unit at a time.
 *
 * A block in use is a set node of an active word; so are the words above it, for as long as it is in use. The exception
 * is a block whose owner is allocating or freeing it, OWNED with its bit clear: shmq_scan_unsettled finds those of a
 * dead process in the one word that it has told (A0).
 *
 * What is allocated, and what is freed, while a scan goes on, it meets or not. Bounded: each word is read once.
 */
#ifndef SHMQ_SCAN_H
#define SHMQ_SCAN_H

#include "buddy.h"

/* Where a scan stands: in each tier, from the one below the top to the one it is in, a word and the units to visit. */
struct shmq_scan {
    const struct shmq_map *map;
    uint32_t from;          /* the first block wanted */
    uint32_t tier;          /* the tier it is in */
    uint32_t word[SHMQ_MAX_TIERS];
    uint32_t units[SHMQ_MAX_TIERS]; /* heads not visited yet, one bit a unit */
    uint32_t split[SHMQ_MAX_TIERS]; /* units that are set whole and so may be split, one bit each */
};

/* The units at which a word's set nodes begin, one bit each. */
static inline uint32_t shmq_word_heads(uint64_t tree)
{
    uint32_t heads = (uint32_t)(tree >> SHMQ_UNITS);

    for (uint32_t nodes = (uint32_t)tree & ~(uint32_t)SHMQ_WORD_ACTIVE; nodes; nodes &= nodes - 1) {
        uint32_t bit = (uint32_t)__builtin_ctz(nodes), level = 5 - shmq_log2(bit);

        heads |= 1u << ((bit << level) - SHMQ_UNITS);
    }
    return heads;
}

/* Go on in a word of `tier`, which was `tree` when it was read. */
static inline void shmq_scan_enter(struct shmq_scan *scan, uint32_t tier, uint32_t word, uint64_t tree)
{
    uint32_t first = word * SHMQ_UNITS, from = scan->from >> 5 * tier;

    scan->tier = tier;
    scan->word[tier] = word;
    scan->units[tier] = shmq_word_heads(tree);
    scan->split[tier] = tier ? (uint32_t)(tree >> SHMQ_UNITS) : 0;
    if (tier < scan->map->geometry.tiers - 1)
        scan->units[tier] |= 1; /* the head of the split unit itself */
    if (from > first)
        scan->units[tier] &= from - first < SHMQ_UNITS ? ~0u << (from - first) : 0;
    for (uint32_t left = scan->units[tier]; left; left &= left - 1) /* together: else 1.6 times the time */
        shmq_prefetch_read(scan->map->block + ((size_t)(first + (uint32_t)__builtin_ctz(left)) << 5 * tier));
}

static inline void shmq_scan_enter_top(struct shmq_scan *scan, uint32_t word)
{
    uint32_t top = scan->map->geometry.tiers - 1;

    shmq_scan_enter(scan, top, word, shmq_load_acquire(&scan->map->word[top][word], SHMQ_READ)); /* pairs with A2 */
}

/* Begin with the first block in use that is not before `from`. */
static inline void shmq_scan_begin(struct shmq_scan *scan, const struct shmq_map *map, uint32_t from)
{
    scan->map = map;
    scan->from = from;
    shmq_scan_enter_top(scan, 0);
}

/* The next block in use, or the head of a split unit; `granules` where there is none. */
static inline uint32_t shmq_scan_next(struct shmq_scan *scan)
{
    const struct shmq_map *map = scan->map;
    const struct shmq_geometry *g = &map->geometry;

    for (;;) {
        uint32_t tier = scan->tier, unit, bit, block;

        if (!scan->units[tier]) {
            if (tier < g->tiers - 1)
                scan->tier++;
            else if (scan->word[tier] + 1 < g->word_count[tier])
                shmq_scan_enter_top(scan, scan->word[tier] + 1);
            else
                return g->granules;
            continue;
        }
        bit = scan->units[tier] & -scan->units[tier];
        scan->units[tier] ^= bit;
        unit = scan->word[tier] * SHMQ_UNITS + (uint32_t)__builtin_ctz(bit);
        block = unit << 5 * tier;
        if (block >= g->granules)
            scan->units[tier] = 0; /* nodes beyond the last granule are taken for ever */
        else if (scan->split[tier] & bit) {
            uint64_t tree = shmq_load_acquire(&map->word[tier - 1][unit], SHMQ_READ); /* pairs with SP1, A2 */

            if (tree & SHMQ_WORD_ACTIVE) {
                shmq_scan_enter(scan, tier - 1, unit, tree);
                continue;
            }
        }
        if (block >= scan->from && block < g->granules)
            return block;
    }
}

/* The next block, from the told word's unit *unit on, that is OWNED by the process slot and whose bit is clear;
 * `granules` where there is none. Its block word is in *word. Exact for who holds the slot's lock. */
static inline uint32_t shmq_scan_unsettled(const struct shmq_map *map, uint32_t slot, uint32_t *unit, uint64_t *word)
{
    const struct shmq_geometry *g = &map->geometry;
    uint64_t told = shmq_load_acquire(&map->process[slot].buddy_word, SHMQ_READ); /* pairs with A0 */
    uint32_t tier = (uint32_t)(told >> 32), index = (uint32_t)told;

    while (tier < g->tiers && index < g->word_count[tier] && *unit < SHMQ_UNITS) {
        uint32_t block = (index * SHMQ_UNITS + (*unit)++) << 5 * tier;
        struct shmq_node node;

        if (block >= g->granules)
            break;
        *word = shmq_load_acquire(&map->block[block].word, SHMQ_READ); /* pairs with A1, M1 */
        if (shmq_block_state(*word) != SHMQ_STATE_OWNED || shmq_block_owner(*word) != slot
            || !shmq_block_plausible(map, block, *word))
            continue;
        node = shmq_node_of(map, block, shmq_block_order(*word));
        if (node.tier == tier /* then in this word: the block was counted from its units */
            && !(shmq_load_acquire(&map->word[tier][index], SHMQ_READ) >> node.bit & 1)) /* pairs with A2, F1 */
            return block;
    }
    return g->granules;
}

#endif
