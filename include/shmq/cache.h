/* SPDX-License-Identifier: MIT */
/* Blocks at hand: most allocations and frees touch only private memory and one block word.
 *
 * Last in, first out, because a block just released is still in the processor's cache: one hot 16 MiB block streams
 * at three times the rate of a rotating ring. Cached blocks stay OWNED by the process, so a death needs no repair.
 */
#ifndef SHMQ_CACHE_H
#define SHMQ_CACHE_H

#include "buddy.h"
#include "registry.h"
#include "wait.h"

/* How many blocks of an order a process may keep. */
static inline uint32_t shmq_cache_capacity(const struct shmq_map *map, uint32_t order)
{
    uint32_t shift = map->geometry.granule_shift + order;

    return shift < 16 ? SHMQ_CACHE_SLOTS : shift < 20 ? 4 : 1;
}

/* Let the cache hold its share: all caches together at most an eighth of the region. Call when the number of
 * processes may have changed. */
static inline void shmq_cache_resize(struct shmq_actor *actor)
{
    uint32_t limit = actor->map->geometry.granules / (8 * shmq_process_count(actor->map));

    actor->cache.limit = limit ? limit : 1;
}

/* A large block is kept only in exchange for one allocated: parked with a process that only receives, it would keep the
 * sender's next search from finding the memory that is still hot. */
static inline bool shmq_cache_is_large(const struct shmq_map *map, uint32_t order)
{
    return map->geometry.granule_shift + order >= 20;
}

static inline bool shmq_cache_has_room(const struct shmq_actor *actor, uint32_t order)
{
    const struct shmq_cache *cache = &actor->cache;

    return cache->count[order] < shmq_cache_capacity(actor->map, order)
        && cache->granules + (1u << order) <= cache->limit
        && (cache->lent >> order & 1 || !shmq_cache_is_large(actor->map, order));
}

/* Note that `blocks` blocks of an order went in (or out, negative), and show it to whoever asks who holds what. */
static inline void shmq_cache_note(struct shmq_actor *actor, uint32_t order, int32_t blocks)
{
    struct shmq_cache *cache = &actor->cache;

    cache->blocks += (uint32_t)blocks;
    cache->granules += (uint32_t)blocks << order;
    shmq_store_release(cache->shown, (uint64_t)cache->blocks << 32 | cache->granules, SHMQ_P_CACHED);
}

static inline void shmq_cache_push(struct shmq_actor *actor, uint32_t order, uint32_t block)
{
    actor->cache.block[order][actor->cache.count[order]++] = block;
    actor->cache.lent &= ~(1u << order);
    shmq_cache_note(actor, order, 1);
}

/* Give the `count` oldest blocks of an order back to the buddy system. */
SHMQ_SELDOM void shmq_cache_spill(struct shmq_actor *actor, uint32_t order, uint32_t count)
{
    struct shmq_cache *cache = &actor->cache;
    uint32_t out[SHMQ_CACHE_SLOTS];

    memcpy(out, cache->block[order], count * sizeof out[0]);
    cache->count[order] = (uint8_t)(cache->count[order] - count);
    memmove(cache->block[order], cache->block[order] + count, cache->count[order] * sizeof out[0]);
    shmq_cache_note(actor, order, -(int32_t)count);
    shmq_buddy_free_some(actor, out, count);
}

/* Give every cached block back: before a long wait, at close, when the region runs out. */
static inline void shmq_cache_flush(struct shmq_actor *actor)
{
    for (uint32_t order = 0; order <= actor->map->geometry.max_order; order++)
        if (actor->cache.count[order])
            shmq_cache_spill(actor, order, actor->cache.count[order]);
}

/* Empty the cache without giving its blocks back, and keep it empty: a closer finds them by itself. */
static inline void shmq_cache_forget(struct shmq_actor *actor)
{
    uint64_t *shown = actor->cache.shown;

    memset(&actor->cache, 0, sizeof actor->cache);
    actor->cache.shown = shown;
    shmq_store_release(shown, 0, SHMQ_P_CACHED);
}

/* Allocate and put half a cacheful aside on the way. */
SHMQ_SELDOM int shmq_cache_refill(struct shmq_actor *actor, uint32_t order, uint32_t *block)
{
    uint32_t heads[SHMQ_BATCH_MAX], count, want = 1;
    int result;

    while (want < SHMQ_BATCH_MAX && want < shmq_cache_capacity(actor->map, order) / 2
        && actor->cache.granules + (want << order) <= actor->cache.limit)
        want++;
    result = shmq_buddy_alloc_some(actor, order, want, heads, &count);
    if (result != SHMQ_OK)
        return result;
    for (uint32_t i = count; i-- > 1;) /* lowest on top: neighbours follow each other */
        shmq_cache_push(actor, order, heads[i]);
    *block = heads[0];
    return SHMQ_OK;
}

/* Allocate a block: OWNED by the actor's process, content undefined. SHMQ_OK, SHMQ_NO_BLOCKS, SHMQ_INVALID. */
static inline int shmq_block_alloc(struct shmq_actor *actor, uint32_t order, uint32_t *block)
{
    struct shmq_cache *cache = &actor->cache;

    if (order > actor->map->geometry.max_order)
        return SHMQ_INVALID;
    cache->lent |= 1u << order;
    if (!cache->count[order])
        return shmq_cache_refill(actor, order, block);
    *block = cache->block[order][--cache->count[order]];
    shmq_cache_note(actor, order, -1);
    return SHMQ_OK;
}

/* Free blocks for those who wait for some. The bit is read after F2 without a barrier: a waiter that is missed looks
 * again after a short slice. */
SHMQ_SELDOM void shmq_block_feed(struct shmq_actor *actor)
{
    shmq_cache_flush(actor);
    shmq_wake(actor->map, shmq_starved(actor->map), SHMQ_ALL_SLEEPERS);
}

/* The cache has no room for the block: keep the hotter half; of large ones, nothing. */
SHMQ_SELDOM void shmq_cache_overflow(struct shmq_actor *actor, uint32_t order, uint32_t block)
{
    if (actor->cache.count[order] > 1) {
        shmq_cache_spill(actor, order, (actor->cache.count[order] + 1u) / 2);
        shmq_cache_push(actor, order, block);
    } else {
        if (actor->cache.count[order] && shmq_cache_is_large(actor->map, order)) /* this process only receives */
            shmq_cache_spill(actor, order, 1);
        shmq_buddy_free(actor, block);
    }
}

/* Free a block that is this process's own (OWNED, queue 0) and whose word is `word`. */
static inline void shmq_block_free_own(struct shmq_actor *actor, uint32_t block, uint64_t word)
{
    uint32_t order = shmq_block_order(word);

    if (__builtin_expect(shmq_cache_has_room(actor, order), 1))
        shmq_cache_push(actor, order, block);
    else
        shmq_cache_overflow(actor, order, block);
    if (shmq_load_relaxed(&actor->map->header->wanted, SHMQ_READ)) /* a hint: see shmq_block_feed */
        shmq_block_feed(actor);
}

/* Free a block of this process, message or not. SHMQ_OK, SHMQ_CORRUPT. */
static inline int shmq_block_free(struct shmq_actor *actor, uint32_t block)
{
    uint64_t *word = &actor->map->block[block].word;
    uint64_t old = shmq_load_acquire(word, SHMQ_READ); /* my own */
    uint64_t mine;

    if (shmq_block_state(old) != SHMQ_STATE_OWNED || shmq_block_owner(old) != actor->slot
        || !shmq_block_plausible(actor->map, block, old)) {
        actor->corrupt++;
        return SHMQ_CORRUPT;
    }
    mine = shmq_block_next(old, SHMQ_STATE_OWNED, 0, actor->slot);
    shmq_store_release(word, mine, SHMQ_ACK);
    shmq_block_free_own(actor, block, mine);
    return SHMQ_OK;
}

#endif
