/* SPDX-License-Identifier: MIT */
/* Blocks: a buddy system whose truth is the block word, indexed by trees packed into 64-bit words.
 *
 *     a buddy word of tier k, over 32 units of 32^k granules
 *
 *     bit 63 ........................... 32 | 31 ........... 16 | 15 ... 8 | 7 .. 4 | 3 2 |  1  |   0
 *         32 units of order 5k              | 16 of order 5k+1  |  8       |  4     |  2  | all | ACTIVE
 *
 * Bit n, a heap node, is set while the node is allocated; merging within a word is implicit. A lower word is ACTIVE
 * while its unit is split; the unit is then a set node of the tier above. Node 1 is used in the top tier only.
 *
 * A node's bit is written only by the owner of the node's head block word, so that after a death the bit tells the
 * truth: OWNED with the bit clear is an allocation or a free that did not finish. Such blocks stand in one word only,
 * the one that the process has told beforehand (A0); all others that are in use are set nodes of active words. One
 * whose bit somebody else took away, which is corruption, stays its owner's for ever, and is never given out again.
 *
 * Any number of processes may call at once. Lock-free: a step fails only because another process's step succeeded.
 */
#ifndef SHMQ_BUDDY_H
#define SHMQ_BUDDY_H

#include "map.h"

#define SHMQ_WORD_ACTIVE 1ull
#define SHMQ_UNITS 32u
#define SHMQ_BATCH_MAX 8u     /* blocks that share one update of a buddy word */
#define SHMQ_SPLIT_ROUNDS 4   /* how often a fresh split may be snatched away before the caller is told */

/* Where a block of some order stands in the trees. */
struct shmq_node {
    uint32_t tier;
    uint32_t word;
    uint32_t bit;
};

static inline uint32_t shmq_tier_of(const struct shmq_map *map, uint32_t order)
{
    uint32_t tier = order / 5;

    return tier < map->geometry.tiers ? tier : map->geometry.tiers - 1;
}

static inline struct shmq_node shmq_node_of(const struct shmq_map *map, uint32_t block, uint32_t order)
{
    struct shmq_node node;
    uint32_t level, unit;

    node.tier = shmq_tier_of(map, order);
    level = order - 5 * node.tier;
    unit = block >> (5 * node.tier);
    node.word = unit / SHMQ_UNITS;
    node.bit = (SHMQ_UNITS >> level) + (unit % SHMQ_UNITS >> level);
    return node;
}

/* The head block of node `bit` at `level` in a word. */
static inline uint32_t shmq_node_head(uint32_t tier, uint32_t word, uint32_t level, uint32_t bit)
{
    return (word * SHMQ_UNITS + ((bit - (SHMQ_UNITS >> level)) << level)) << (5 * tier);
}

static inline bool shmq_split_marked(const struct shmq_map *map, uint32_t tier, uint32_t word)
{
    return shmq_load_acquire(&map->split[tier][word / 64], SHMQ_READ) >> word % 64 & 1; /* pairs with SPM */
}

/* The next word of the tier, from `word` on, that was ever active; the tier's word count where there is none. */
static inline uint32_t shmq_buddy_next_word(const struct shmq_map *map, uint32_t tier, uint32_t word)
{
    uint32_t count = map->geometry.word_count[tier];

    if (tier == map->geometry.tiers - 1)
        return word;
    while (word < count) {
        uint64_t marks = shmq_load_acquire(&map->split[tier][word / 64], SHMQ_READ) >> word % 64; /* pairs with SPM */

        if (marks) {
            word += (uint32_t)__builtin_ctzll(marks);
            return word < count ? word : count;
        }
        word = (word / 64 + 1) * 64;
    }
    return count;
}

/* Tell which buddy word this process is about to change, so that its closer finds a block that is OWNED while its bit
 * is clear: nothing else leads there. One word is enough: a batch stays in one, and is finished before the next. */
static inline void shmq_buddy_tell(const struct shmq_actor *actor, uint32_t tier, uint32_t word)
{
    shmq_store_release(&actor->map->process[actor->slot].buddy_word, (uint64_t)tier << 32 | word, SHMQ_A0);
}

/* Set up the buddy words of a zeroed region that nobody else can see. Nodes beyond the last granule are taken for
 * ever; a unit that the last granule cuts through is split for ever. */
static inline void shmq_buddy_format(const struct shmq_map *map)
{
    const struct shmq_geometry *g = &map->geometry;
    uint32_t tier = g->tiers - 1;

    for (uint32_t word = 0; word < g->word_count[tier]; word++)
        shmq_store_release(&map->word[tier][word], SHMQ_WORD_ACTIVE, SHMQ_CREATE);
    for (;; tier--) {
        uint32_t whole_units = g->granules >> 5 * tier;
        uint32_t last = g->word_count[tier] - 1;
        uint64_t taken = SHMQ_WORD_ACTIVE;

        for (uint32_t unit = whole_units; unit < (last + 1) * SHMQ_UNITS; unit++)
            taken |= 1ull << (SHMQ_UNITS + unit % SHMQ_UNITS);
        shmq_store_release(&map->word[tier][last], taken, SHMQ_CREATE);
        if (!(g->granules & ((1u << 5 * tier) - 1)))
            return;
        shmq_fetch_or_acq_rel(&map->split[tier - 1][whole_units / 64], 1ull << whole_units % 64, SHMQ_CREATE);
    }
}

/* The owner of `block` makes it FREE; its node bit is clear or belongs to a split unit. */
static inline void shmq_block_word_free(const struct shmq_map *map, uint32_t block, uint64_t word, enum shmq_step step)
{
    uint64_t free_word = shmq_block_word(shmq_block_gen(word) + 1, 0, SHMQ_STATE_FREE, 0, 0);

    shmq_store_release(&map->block[block].word, free_word, step);
}

/* The nodes of a level that are not allocated themselves; what overlaps them may be. */
static inline uint64_t shmq_word_candidates(uint64_t tree, uint32_t level)
{
    uint32_t first = SHMQ_UNITS >> level;

    return ~tree & ((1ull << first) - 1) << first;
}

/* Ask at once for the block words of the nodes that a batch is about to claim, and for where their payload begins:
 * they come from whoever freed them, one after the other if each is only asked for when it is needed. */
static inline void shmq_word_prefetch(const struct shmq_map *map, uint32_t tier, uint32_t word, uint32_t level,
    uint32_t want, uint64_t tree)
{
    for (uint64_t left = shmq_word_candidates(tree, level); left && want; left &= left - 1) {
        uint32_t bit = (uint32_t)__builtin_ctzll(left);
        uint32_t head = shmq_node_head(tier, word, level, bit);

        if (tree & map->conflict[bit] || head >= map->geometry.granules)
            continue;
        shmq_prefetch_write(&map->block[head]);
        shmq_prefetch_write(map->data + shmq_block_offset(map, head));
        want--;
    }
}

/* Claim up to `want` free nodes of one level in a word. Returns how many; their heads are in `heads`. */
static inline uint32_t shmq_word_claim(struct shmq_actor *actor, uint32_t tier, uint32_t word, uint32_t level,
    uint32_t want, uint32_t *heads, uint32_t *bits)
{
    const struct shmq_map *map = actor->map;
    uint64_t tree = shmq_load_acquire(&map->word[tier][word], SHMQ_READ); /* pairs with A2, F1, SP1, M2 */
    uint32_t claimed = 0;

    if (!(tree & SHMQ_WORD_ACTIVE))
        return 0;
    shmq_word_prefetch(map, tier, word, level, want, tree);
    shmq_buddy_tell(actor, tier, word);
    for (uint64_t left = shmq_word_candidates(tree, level); left && claimed < want; left &= left - 1) {
        uint32_t bit = (uint32_t)__builtin_ctzll(left), head;
        uint64_t old;

        if (tree & map->conflict[bit])
            continue;
        head = shmq_node_head(tier, word, level, bit);
        if ((uint64_t)head + (1u << (5 * tier + level)) > map->geometry.granules) /* the word is corrupt */
            break;
        old = shmq_load_acquire(&map->block[head].word, SHMQ_READ); /* pairs with F2 */
        if (shmq_block_state(old) != SHMQ_STATE_FREE)
            continue;
        if (!shmq_cas_acq_rel(&map->block[head].word, old,
                shmq_block_word(shmq_block_gen(old), 5 * tier + level, SHMQ_STATE_OWNED, 0, actor->slot), SHMQ_A1))
            continue;
        heads[claimed] = head;
        bits[claimed++] = bit;
    }
    return claimed;
}

/* Drop the claims that the word, as it is now, no longer allows. Returns how many are left. */
static inline uint32_t shmq_word_prune(struct shmq_actor *actor, uint64_t tree, uint32_t count, uint32_t *heads,
    uint32_t *bits)
{
    const struct shmq_map *map = actor->map;
    uint32_t kept = 0;

    for (uint32_t i = 0; i < count; i++) {
        if (!(tree & SHMQ_WORD_ACTIVE) || tree & map->conflict[bits[i]]) {
            uint64_t word = shmq_load_acquire(&map->block[heads[i]].word, SHMQ_READ); /* my own A1 */

            shmq_block_word_free(map, heads[i], word, SHMQ_A3);
        } else {
            heads[kept] = heads[i];
            bits[kept++] = bits[i];
        }
    }
    return kept;
}

/* Allocate up to `want` blocks of one order from one buddy word. Returns how many. */
static inline uint32_t shmq_word_alloc(struct shmq_actor *actor, uint32_t tier, uint32_t word, uint32_t level,
    uint32_t want, uint32_t *heads)
{
    uint64_t *tree = &actor->map->word[tier][word];
    uint32_t bits[SHMQ_BATCH_MAX];
    uint32_t count = shmq_word_claim(actor, tier, word, level, want, heads, bits);

    while (count) {
        uint64_t old = shmq_load_acquire(tree, SHMQ_A_RECHECK); /* pairs with A2 and M2: claim first, then look */
        uint64_t mine = 0;

        count = shmq_word_prune(actor, old, count, heads, bits);
        for (uint32_t i = 0; i < count; i++)
            mine |= 1ull << bits[i];
        if (!count || shmq_cas_acq_rel(tree, old, old | mine, SHMQ_A2))
            break;
    }
    return count;
}

static inline int shmq_buddy_alloc_some(struct shmq_actor *actor, uint32_t order, uint32_t want, uint32_t *heads,
    uint32_t *count);
static inline int shmq_buddy_free(struct shmq_actor *actor, uint32_t block);

/* Turn one free unit of the tier above into a word of `tier`. Sets *word. */
static inline int shmq_buddy_split(struct shmq_actor *actor, uint32_t tier, uint32_t *word)
{
    const struct shmq_map *map = actor->map;
    uint32_t unit, count;
    int result = shmq_buddy_alloc_some(actor, 5 * (tier + 1), 1, &unit, &count);

    if (result != SHMQ_OK)
        return result;
    *word = unit >> 5 * (tier + 1);
    shmq_fetch_or_acq_rel(&map->split[tier][*word / 64], 1ull << *word % 64, SHMQ_SPM);
    shmq_store_release(&map->word[tier][*word], SHMQ_WORD_ACTIVE, SHMQ_SP1);
    shmq_block_word_free(map, unit, shmq_load_acquire(&map->block[unit].word, SHMQ_READ), SHMQ_SP2);
    return SHMQ_OK;
}

/* Look for free nodes in every active word of the tier, starting where the last one was found. */
static inline uint32_t shmq_tier_alloc(struct shmq_actor *actor, uint32_t tier, uint32_t level, uint32_t want,
    uint32_t *heads)
{
    uint32_t total = actor->map->geometry.word_count[tier];
    uint32_t start = actor->word_hint[tier];

    for (int wrapped = 0; wrapped < 2; wrapped++) {
        uint32_t end = wrapped ? start : total;

        for (uint32_t word = wrapped ? 0 : start; (word = shmq_buddy_next_word(actor->map, tier, word)) < end; word++) {
            uint32_t count = shmq_word_alloc(actor, tier, word, level, want, heads);

            if (count) {
                actor->word_hint[tier] = word;
                return count;
            }
        }
    }
    return 0;
}

/* Allocate 1 to `want` (at most SHMQ_BATCH_MAX) blocks of an order. SHMQ_OK, SHMQ_NO_BLOCKS, SHMQ_INVALID. */
static inline int shmq_buddy_alloc_some(struct shmq_actor *actor, uint32_t order, uint32_t want, uint32_t *heads,
    uint32_t *count)
{
    const struct shmq_map *map = actor->map;
    uint32_t tier = shmq_tier_of(map, order);
    uint32_t level = order - 5 * tier;

    if (order > map->geometry.max_order)
        return SHMQ_INVALID;
    *count = shmq_tier_alloc(actor, tier, level, want, heads);
    for (int round = 0; !*count && round < SHMQ_SPLIT_ROUNDS; round++) {
        uint32_t word;

        if (tier == map->geometry.tiers - 1 || shmq_buddy_split(actor, tier, &word) != SHMQ_OK)
            return SHMQ_NO_BLOCKS;
        actor->word_hint[tier] = word;
        *count = shmq_word_alloc(actor, tier, word, level, want, heads);
    }
    return *count ? SHMQ_OK : SHMQ_NO_BLOCKS;
}

static inline int shmq_buddy_alloc(struct shmq_actor *actor, uint32_t order, uint32_t *block)
{
    uint32_t count;

    return shmq_buddy_alloc_some(actor, order, 1, block, &count);
}

/* If the word's unit is entirely free, give it back to the tier above. */
static inline void shmq_buddy_try_merge(struct shmq_actor *actor, uint32_t tier, uint32_t word)
{
    const struct shmq_map *map = actor->map;
    uint32_t head = word << 5 * (tier + 1);
    uint64_t old = shmq_load_acquire(&map->block[head].word, SHMQ_READ); /* pairs with F2 */
    uint64_t mine = shmq_block_word(shmq_block_gen(old), 5 * (tier + 1), SHMQ_STATE_OWNED, 0, actor->slot);

    if (shmq_block_state(old) != SHMQ_STATE_FREE)
        return;
    shmq_buddy_tell(actor, tier + 1, word / SHMQ_UNITS); /* a unit merged meanwhile is claimed with its bit clear */
    if (!shmq_cas_acq_rel(&map->block[head].word, old, mine, SHMQ_M1))
        return;
    if (shmq_cas_acq_rel(&map->word[tier][word], SHMQ_WORD_ACTIVE, 0, SHMQ_M2))
        shmq_buddy_free(actor, head);
    else
        shmq_block_word_free(map, head, mine, SHMQ_M3);
}

/* After F1: merge where the word is empty and is not the one that this process allocates from. */
static inline void shmq_buddy_settle(struct shmq_actor *actor, uint32_t tier, uint32_t word, uint64_t tree)
{
    if (tree == SHMQ_WORD_ACTIVE && tier + 1 < actor->map->geometry.tiers && actor->word_hint[tier] != word)
        shmq_buddy_try_merge(actor, tier, word);
}

/* Give back blocks that this process owns and that are no messages any more (OWNED, queue 0), one update of a buddy
 * word for all that share it. `blocks` is used up. SHMQ_CORRUPT: some block's bit was not set; that block is
 * quarantined, which is to say that it stays OWNED and is never given out. */
static inline int shmq_buddy_free_some(struct shmq_actor *actor, uint32_t *blocks, uint32_t count)
{
    const struct shmq_map *map = actor->map;
    int result = SHMQ_OK;

    while (count) {
        uint32_t group[SHMQ_CACHE_SLOTS], members = 0, left = 0;
        uint64_t words[SHMQ_CACHE_SLOTS], bit[SHMQ_CACHE_SLOTS], bits = 0, tree;
        struct shmq_node first = { 0, 0, 0 };

        for (uint32_t i = 0; i < count; i++) {
            uint64_t word = shmq_load_acquire(&map->block[blocks[i]].word, SHMQ_READ); /* my own */
            struct shmq_node node = shmq_node_of(map, blocks[i], shmq_block_order(word));

            if (!shmq_block_plausible(map, blocks[i], word)) {
                result = SHMQ_CORRUPT;
                continue;
            }
            if (!members)
                first = node;
            if (node.tier != first.tier || node.word != first.word || members == SHMQ_CACHE_SLOTS) {
                blocks[left++] = blocks[i];
                continue;
            }
            group[members] = blocks[i];
            words[members] = word;
            bit[members] = 1ull << node.bit;
            bits |= bit[members++];
        }
        count = left;
        if (!members)
            continue;
        shmq_buddy_tell(actor, first.tier, first.word);
        tree = shmq_fetch_and_acq_rel(&map->word[first.tier][first.word], ~bits, SHMQ_F1);
        for (uint32_t i = 0; i < members; i++) {
            if (tree & bit[i])
                shmq_block_word_free(map, group[i], words[i], SHMQ_F2);
            else
                result = SHMQ_CORRUPT;
        }
        shmq_buddy_settle(actor, first.tier, first.word, tree & ~bits);
    }
    actor->corrupt += result == SHMQ_CORRUPT;
    return result;
}

/* Give back a block that this process owns, whether it holds it as a message or not. SHMQ_CORRUPT as above, also
 * where the block word is not this process's. */
static inline int shmq_buddy_free(struct shmq_actor *actor, uint32_t block)
{
    uint64_t *word = &actor->map->block[block].word;
    uint64_t old = shmq_load_acquire(word, SHMQ_READ); /* my own */

    if (shmq_block_state(old) != SHMQ_STATE_OWNED || shmq_block_owner(old) != actor->slot
        || !shmq_block_plausible(actor->map, block, old)) {
        actor->corrupt++;
        return SHMQ_CORRUPT;
    }
    if (shmq_block_queue(old)) /* or a death after F1 would requeue it with its bit already clear */
        shmq_store_release(word,
            shmq_block_word(shmq_block_gen(old) + 1, shmq_block_order(old), SHMQ_STATE_OWNED, 0, actor->slot), SHMQ_F0);
    return shmq_buddy_free_some(actor, &block, 1);
}

/* Merge every empty active word, also those that some process allocates from. */
static inline void shmq_buddy_merge(struct shmq_actor *actor)
{
    const struct shmq_map *map = actor->map;

    for (uint32_t tier = 0; tier + 1 < map->geometry.tiers; tier++)
        for (uint32_t word = 0; (word = shmq_buddy_next_word(map, tier, word)) < map->geometry.word_count[tier]; word++)
            if (shmq_load_acquire(&map->word[tier][word], SHMQ_READ) == SHMQ_WORD_ACTIVE) /* pairs with F1 */
                shmq_buddy_try_merge(actor, tier, word);
}

#endif
