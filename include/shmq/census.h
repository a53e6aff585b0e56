/* SPDX-License-Identifier: MIT */
/* Who holds what: a count over all block words, for people and for error messages. Exact when nothing moves. */
#ifndef SHMQ_CENSUS_H
#define SHMQ_CENSUS_H

#include "names.h"
#include "queue.h"
#include "scan.h"

/* What one process holds. */
struct shmq_holdings {
    uint32_t loans;         /* blocks it writes or has cached: subtract `cached` */
    uint32_t held;          /* messages it has received and not released; a published one counts with each holder */
    uint32_t queued;        /* messages it has sent, or published, that somebody has still to receive */
    uint32_t cached;        /* free blocks at hand, as it says itself */
    uint64_t bytes;         /* of loans (cached ones too) and held messages, in whole blocks */
    uint64_t cached_bytes;
};

struct shmq_census {
    struct shmq_holdings process[SHMQ_MAX_PROCESSES];
    uint64_t used_bytes;    /* in whole blocks */
    uint64_t queued_bytes;
    uint32_t queued;
    uint32_t requeued;      /* held by a receiver that died, waiting for the next */
    uint64_t requeued_bytes;
};

/* The process slot of a subscriber, or SHMQ_NO_OWNER. */
static inline uint32_t shmq_subscriber_slot(const struct shmq_map *map, uint32_t topic, uint32_t index)
{
    uint64_t entry = topic < map->geometry.max_topics
        ? shmq_load_acquire(&map->topic[topic].subscriber[index], SHMQ_READ) : 0; /* pairs with Q3 */
    uint32_t qid = shmq_subscriber_queue(entry);

    return entry && qid < map->geometry.queues ? shmq_flags_owner(shmq_queue_flags(map, qid)) : SHMQ_NO_OWNER;
}

/* A published block: the bits of `wanted` or `seen` of one tickets word, for the indices from `first` on. */
static inline void shmq_census_holders(struct shmq_census *census, const struct shmq_map *map, uint32_t topic,
    uint32_t first, uint32_t seen, uint64_t bytes)
{
    for (; seen; seen &= seen - 1) {
        uint32_t slot = shmq_subscriber_slot(map, topic, first + (uint32_t)__builtin_ctz(seen));

        if (slot < SHMQ_MAX_PROCESSES) {
            census->process[slot].held++;
            census->process[slot].bytes += bytes;
        }
    }
}

static inline void shmq_census_published(struct shmq_census *census, const struct shmq_map *map, uint32_t block,
    uint64_t word, uint64_t bytes)
{
    bool waits = false;

    for (uint32_t i = 0; i < SHMQ_TICKET_WORDS; i++) {
        uint64_t tickets = shmq_load_acquire(&map->block[block].m[i], SHMQ_READ); /* pairs with T_WANT, T_SEEN */
        uint32_t seen = shmq_tickets_seen(tickets);

        waits |= shmq_tickets_wanted(tickets) & ~seen;
        shmq_census_holders(census, map, shmq_block_queue(word) - 1, i * SHMQ_TICKETS, seen, bytes);
    }
    if (!waits)
        return;
    census->process[shmq_block_owner(word) % SHMQ_MAX_PROCESSES].queued++;
    census->queued++;
    census->queued_bytes += bytes;
}

static inline void shmq_census_count(struct shmq_census *census, const struct shmq_map *map, uint32_t block,
    uint64_t word)
{
    uint64_t bytes = 1ull << (map->geometry.granule_shift + shmq_block_order(word));
    struct shmq_holdings *holdings = &census->process[shmq_block_owner(word) % SHMQ_MAX_PROCESSES];

    census->used_bytes += bytes;
    switch (shmq_block_state(word)) {
    case SHMQ_STATE_OWNED:
        holdings->bytes += bytes;
        if (shmq_block_queue(word))
            holdings->held++;
        else
            holdings->loans++;
        break;
    case SHMQ_STATE_QUEUED:
        holdings->queued++;
        census->queued++;
        census->queued_bytes += bytes;
        break;
    case SHMQ_STATE_FANOUT:
        shmq_census_published(census, map, block, word, bytes);
        break;
    default:
        census->requeued++;
        census->requeued_bytes += bytes;
    }
}

/* Count. `census` is large: keep it off small stacks. Wait-free; O(blocks in use). What somebody is just allocating or
 * freeing may be missing. */
static inline void shmq_census_take(struct shmq_census *census, const struct shmq_map *map)
{
    struct shmq_scan scan;

    memset(census, 0, sizeof *census);
    shmq_scan_begin(&scan, map, 0);
    for (uint32_t block; (block = shmq_scan_next(&scan)) < map->geometry.granules;) {
        uint64_t word = shmq_load_acquire(&map->block[block].word, SHMQ_READ); /* pairs with A1, S1, R1 */

        if (shmq_block_state(word) != SHMQ_STATE_FREE && shmq_block_plausible(map, block, word))
            shmq_census_count(census, map, block, word);
    }
    for (uint32_t slot = 0; slot < map->geometry.max_processes; slot++) {
        uint64_t cached = shmq_load_acquire(&map->process[slot].cached, SHMQ_READ); /* pairs with P_CACHED */

        census->process[slot].cached = (uint32_t)(cached >> 32);
        census->process[slot].cached_bytes = (cached & 0xffffffff) << map->geometry.granule_shift;
    }
}

/* Who may give a block back, so that waiting for one makes sense. */
enum shmq_hope {
    SHMQ_HOPE_NONE,         /* all are this process's own */
    SHMQ_HOPE_CACHED,       /* others only keep some at hand: they come back when those next release something */
    SHMQ_HOPE_HELD          /* a queue or another process holds some */
};

/* Does somebody else have a ticket of the published block? */
static inline bool shmq_published_elsewhere(const struct shmq_actor *actor, uint32_t block, uint64_t word)
{
    for (uint32_t i = 0; i < SHMQ_TICKET_WORDS; i++) {
        uint32_t want = shmq_tickets_wanted(shmq_load_acquire(&actor->map->block[block].m[i], SHMQ_READ)); /* T_WANT */

        for (; want; want &= want - 1)
            if (shmq_subscriber_slot(actor->map, shmq_block_queue(word) - 1,
                    i * SHMQ_TICKETS + (uint32_t)__builtin_ctz(want)) != actor->slot)
                return true;
    }
    return false;
}

/* How many blocks the process is just allocating or freeing, or has died over. */
static inline uint64_t shmq_unsettled(const struct shmq_map *map, uint32_t slot)
{
    uint32_t unit = 0;
    uint64_t count = 0, word;

    while (shmq_scan_unsettled(map, slot, &unit, &word) < map->geometry.granules)
        count++;
    return count;
}

static inline enum shmq_hope shmq_blocks_elsewhere(const struct shmq_actor *actor)
{
    const struct shmq_map *map = actor->map;
    uint64_t owned = 0, cached = 0;
    struct shmq_scan scan;

    shmq_scan_begin(&scan, map, 0);
    for (uint32_t block; (block = shmq_scan_next(&scan)) < map->geometry.granules;) {
        uint64_t word = shmq_load_acquire(&map->block[block].word, SHMQ_READ); /* pairs with A1, S1, R1 */
        uint32_t state = shmq_block_state(word);
        bool other = state == SHMQ_STATE_OWNED && shmq_block_owner(word) != actor->slot;

        if (!shmq_block_plausible(map, block, word) || state > SHMQ_STATE_REQUEUE)
            continue; /* overwritten: nobody will give it back */
        if (state == SHMQ_STATE_FANOUT ? shmq_published_elsewhere(actor, block, word)
                                       : state > SHMQ_STATE_OWNED || (other && shmq_block_queue(word)))
            return SHMQ_HOPE_HELD;
        owned += other;
    }
    for (uint32_t slot = 0; slot < map->geometry.max_processes; slot++)
        if (slot != actor->slot) {
            owned += shmq_unsettled(map, slot);
            cached += shmq_load_acquire(&map->process[slot].cached, SHMQ_READ) >> 32; /* pairs with P_CACHED */
        }
    return owned > cached ? SHMQ_HOPE_HELD : owned ? SHMQ_HOPE_CACHED : SHMQ_HOPE_NONE;
}

/* About how many messages stand in the queue. */
static inline uint64_t shmq_queue_count(const struct shmq_queue_ref *ref)
{
    uint64_t tail = shmq_queue_hint(ref, &ref->queue->tail), head = shmq_queue_hint(ref, &ref->queue->head);

    if (tail <= head)
        return 0;
    return tail - head < ref->depth ? tail - head : ref->depth;
}

/* How many messages nobody has received. */
static inline uint64_t shmq_undelivered(const struct shmq_map *map)
{
    uint64_t count = 0;
    struct shmq_scan scan;

    shmq_scan_begin(&scan, map, 0);
    for (uint32_t block; (block = shmq_scan_next(&scan)) < map->geometry.granules;) {
        uint32_t state = shmq_block_state(shmq_load_acquire(&map->block[block].word, SHMQ_READ)); /* S1, C3_REQUEUE */

        count += state == SHMQ_STATE_QUEUED || state == SHMQ_STATE_REQUEUE;
        for (uint32_t i = 0; state == SHMQ_STATE_FANOUT && i < SHMQ_TICKET_WORDS; i++) {
            uint64_t tickets = shmq_load_acquire(&map->block[block].m[i], SHMQ_READ); /* pairs with T_WANT */

            if (shmq_tickets_wanted(tickets) & ~shmq_tickets_seen(tickets)) {
                count++;
                break;
            }
        }
    }
    return count;
}

/* An open queue, for people. */
struct shmq_queue_info {
    char name[SHMQ_NAME_WORDS * 8];
    uint64_t depth;
    uint64_t count;
    uint64_t claim;         /* of the exclusive receiver, or 0 */
    uint64_t dropped;
    enum shmq_kind kind;
    uint32_t topic;         /* of a subscriber's queue */
    uint32_t owner;         /* of a subscriber's queue: its process slot */
    enum shmq_policy policy;
    bool shared;
    bool shut;
};

/* Describe queue qid. False where it is not open. */
static inline bool shmq_queue_describe(const struct shmq_map *map, uint32_t qid, struct shmq_queue_info *info)
{
    uint64_t flags = shmq_queue_flags(map, qid);
    struct shmq_queue_ref ref;

    if (!(flags & SHMQ_QUEUE_OPEN))
        return false;
    shmq_name_load(map->name[qid].text, info->name);
    info->claim = shmq_load_acquire(&map->queue[qid].claim, SHMQ_READ); /* pairs with CLAIM */
    info->shared = flags & SHMQ_QUEUE_SHARED;
    info->shut = flags & SHMQ_QUEUE_SHUT;
    if (shmq_queue_ref_init(map, qid, shmq_flags_epoch(flags), &ref) != SHMQ_OK)
        return false;
    info->depth = ref.depth;
    info->count = shmq_queue_count(&ref);
    info->dropped = shmq_queue_dropped(&ref);
    info->kind = (enum shmq_kind)ref.kind;
    info->topic = ref.topic;
    info->owner = shmq_flags_owner(flags);
    info->policy = shmq_flags_policy(flags);
    return true;
}

#endif
