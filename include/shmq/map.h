/* SPDX-License-Identifier: MIT */
/* Where a region's segments lie in this process, and who acts on them.
 *
 * The geometry is computed here, by creator and attacher alike, from five numbers; no offset is ever taken from
 * shared memory. Private memory throughout: a death needs no repair here.
 */
#ifndef SHMQ_MAP_H
#define SHMQ_MAP_H

#include <string.h>

#include "layout.h"

/* Results. Positive: nothing went wrong, nothing was done. Negative: an error, see shmq_strerror. */
enum shmq_result {
    SHMQ_OK = 0,
    SHMQ_FULL = 1,
    SHMQ_EMPTY = 2,
    SHMQ_TIMEOUT = 3,
    SHMQ_INTERRUPTED = 4,   /* a signal arrived while asleep */
    SHMQ_DROPPED = 5,       /* the queue's policy dropped the message */
    SHMQ_TICKET = 6,        /* a take has got a published message: held by ticket */
    SHMQ_SHARED_BLOCK = 7,  /* others hold the published message, too: copy it */
    SHMQ_CLOSED = -1,       /* the queue is closed, deleted or another incarnation */
    SHMQ_SHUT = -2,         /* the queue was shut down */
    SHMQ_NO_BLOCKS = -3,    /* no free block of that order */
    SHMQ_NO_QUEUES = -4,    /* every queue record is in use */
    SHMQ_NO_SPACE = -5,     /* the file system or a limit refused memory */
    SHMQ_NOT_FOUND = -6,
    SHMQ_IN_USE = -7,       /* claimed by another receiver, or the wrong kind of sharing */
    SHMQ_STALE = -8,        /* the handle's block is no longer this process's: released, sent, or overwritten */
    SHMQ_CORRUPT = -9,      /* shared memory holds what no shmq process writes */
    SHMQ_INVALID = -10,     /* an argument out of range */
    SHMQ_MISMATCH = -11,    /* the queue exists with another sharing or policy */
    SHMQ_NO_INDEX = -12     /* the topic has as many subscribers as it can */
};

struct shmq_geometry {
    uint32_t granule_shift;
    uint32_t granules;
    uint32_t tiers;
    uint32_t max_order;     /* of the largest block: the largest power of two that fits */
    uint32_t max_processes;
    uint32_t max_queues;
    uint32_t queues;        /* inboxes and named queues */
    uint32_t max_topics;
    uint32_t word_count[SHMQ_MAX_TIERS];
    uint64_t process_at, queue_at, name_at, topic_at;
    uint64_t word_at[SHMQ_MAX_TIERS], split_at[SHMQ_MAX_TIERS], block_at, slot_at;
    uint64_t admin_size;    /* of the file: mostly a hole, until queues reserve their slots */
    uint64_t reserve_size;  /* of what is reserved at create: all below the slots */
    uint64_t data_size;
};

/* What the core asks of the operating system. Injected, so that a wait can be tested with a fake clock and futex. */
struct shmq_ops {
    /* Reserve bytes of the admin segment. SHMQ_OK or SHMQ_NO_SPACE. */
    int (*reserve)(void *context, uint64_t offset, uint64_t bytes);
    /* Sleep while *word's low half equals expected, at most ns. SHMQ_OK, SHMQ_TIMEOUT or SHMQ_INTERRUPTED. */
    int (*sleep)(void *context, uint64_t *word, uint32_t expected, uint64_t ns);
    void (*wake)(void *context, uint64_t *word, uint32_t sleepers);
    uint64_t (*now)(void *context); /* monotonic ns */
    void (*yield)(void *context);   /* let others run on this core */
    void *context;
};

struct shmq_map {
    struct shmq_geometry geometry;
    unsigned char *admin;
    unsigned char *data;
    struct shmq_header *header;
    struct shmq_process *process;
    struct shmq_queue *queue;
    struct shmq_name *name;
    struct shmq_topic *topic;
    uint64_t *word[SHMQ_MAX_TIERS];
    uint64_t *split[SHMQ_MAX_TIERS]; /* one bit a buddy word of that tier: was ever activated */
    struct shmq_block *block;
    const struct shmq_ops *ops;
    uint64_t conflict[64];  /* heap nodes that overlap a node: its ancestors, itself, its descendants */
};

#define SHMQ_CACHE_SLOTS 16

/* Free blocks that a process keeps at hand, last in first out, an order each. Their block words say OWNED by it. */
struct shmq_cache {
    uint32_t block[SHMQ_MAX_ORDERS][SHMQ_CACHE_SLOTS];
    uint8_t count[SHMQ_MAX_ORDERS];
    uint32_t lent;          /* orders allocated since a block of them was last kept, one bit each */
    uint64_t *shown;        /* the word of the process slot that tells others how much it holds */
    uint32_t blocks;        /* held in all orders together … */
    uint32_t granules;      /* … and how large they are … */
    uint32_t limit;         /* … and may be; 0: no cache at all */
};

#define SHMQ_UNSUBSCRIBED 0x80000000u /* give the queue up when the last ticket comes back [D4] */

/* An identity that acts on a region: the process slot whose byte lock it holds. One thread at a time. A closer acts
 * with the slot of the dead process and an empty cache. */
struct shmq_actor {
    const struct shmq_map *map;
    uint32_t slot;
    uint32_t epoch;
    uint32_t word_hint[SHMQ_MAX_TIERS];
    struct shmq_cache cache;
    uint32_t tickets[SHMQ_MAX_PROCESSES + SHMQ_MAX_QUEUES]; /* held, by queue; and SHMQ_UNSUBSCRIBED */
    uint32_t requeue_scan;  /* where the search for requeued messages goes on */
    uint64_t corrupt;       /* words found that no shmq process writes */
};

/* A queue as a handle knows it: its words are read once, then compared by epoch. */
struct shmq_queue_ref {
    struct shmq_queue *queue;
    uint64_t *slots;
    uint32_t qid;
    uint32_t epoch;
    uint32_t kind;
    uint32_t capacity_shift;
    uint64_t depth;
    uint64_t base;
    uint32_t topic;         /* of a subscriber's queue: which topic, … */
    uint32_t index;         /* … and as which of its subscribers */
};

/* Position of the highest bit. `value` is not 0. */
static inline uint32_t shmq_log2(uint64_t value) { return 63u - (uint32_t)__builtin_clzll(value); }

static inline uint64_t shmq_round_up(uint64_t value, uint64_t unit) { return (value + unit - 1) / unit * unit; }

/* Compute where everything lies. SHMQ_INVALID where a number is out of range. `max_queues` counts named queues. */
static inline int shmq_geometry_init(struct shmq_geometry *geometry, uint32_t granule_shift, uint64_t granules,
    uint32_t max_processes, uint32_t max_queues)
{
    struct shmq_geometry g;
    uint64_t at = sizeof(struct shmq_header);

    memset(&g, 0, sizeof g);
    if (granule_shift < SHMQ_MIN_GRANULE_SHIFT || granule_shift > SHMQ_MAX_GRANULE_SHIFT || granules == 0
        || granules > SHMQ_MAX_GRANULES || max_processes == 0 || max_processes > SHMQ_MAX_PROCESSES || max_queues == 0
        || max_queues > SHMQ_MAX_QUEUES)
        return SHMQ_INVALID;
    g.granule_shift = granule_shift;
    g.granules = (uint32_t)granules;
    g.max_order = shmq_log2(granules);
    g.tiers = g.max_order <= 5 ? 1 : (g.max_order + 4) / 5;
    g.max_processes = max_processes;
    g.max_queues = max_queues;
    g.queues = max_processes + max_queues;
    g.max_topics = (max_queues + 3) / 4;
    g.process_at = at;
    at += (uint64_t)max_processes * sizeof(struct shmq_process);
    g.queue_at = at = shmq_round_up(at, sizeof(struct shmq_queue));
    at += (uint64_t)g.queues * sizeof(struct shmq_queue);
    g.name_at = at;
    at += (uint64_t)g.queues * sizeof(struct shmq_name);
    g.topic_at = at;
    at += (uint64_t)g.max_topics * sizeof(struct shmq_topic);
    for (uint32_t tier = 0; tier < g.tiers; tier++) {
        g.word_count[tier] = (uint32_t)(((granules - 1) >> (5 * (tier + 1))) + 1);
        g.word_at[tier] = at;
        at += shmq_round_up((uint64_t)g.word_count[tier] * 8, SHMQ_CACHE_LINE);
        g.split_at[tier] = at;
        at += shmq_round_up(((uint64_t)g.word_count[tier] + 63) / 64 * 8, SHMQ_CACHE_LINE);
    }
    g.block_at = at = shmq_round_up(at, SHMQ_PAGE);
    at += granules * sizeof(struct shmq_block);
    g.slot_at = g.reserve_size = at = shmq_round_up(at, SHMQ_PAGE);
    at += (uint64_t)g.queues * SHMQ_MAX_DEPTH * 8;
    g.admin_size = at;
    g.data_size = granules << granule_shift;
    *geometry = g;
    return SHMQ_OK;
}

/* All heap nodes of a buddy word that overlap node n. */
static inline uint64_t shmq_conflict(unsigned n)
{
    uint64_t nodes = 0;

    for (unsigned ancestor = n; ancestor; ancestor >>= 1)
        nodes |= 1ull << ancestor;
    for (unsigned first = 2 * n, width = 2; first < 64; first *= 2, width *= 2)
        nodes |= ((1ull << width) - 1) << first;
    return nodes;
}

/* Let `map` denote the segments at `admin` and `data`, laid out as `geometry` says. */
static inline void shmq_map_init(struct shmq_map *map, const struct shmq_geometry *geometry, void *admin, void *data,
    const struct shmq_ops *ops)
{
    unsigned char *base = (unsigned char *)admin;

    memset(map, 0, sizeof *map);
    map->geometry = *geometry;
    map->admin = base;
    map->data = (unsigned char *)data;
    map->header = (struct shmq_header *)(void *)base;
    map->process = (struct shmq_process *)(void *)(base + geometry->process_at);
    map->queue = (struct shmq_queue *)(void *)(base + geometry->queue_at);
    map->name = (struct shmq_name *)(void *)(base + geometry->name_at);
    map->topic = (struct shmq_topic *)(void *)(base + geometry->topic_at);
    for (uint32_t tier = 0; tier < geometry->tiers; tier++) {
        map->word[tier] = (uint64_t *)(void *)(base + geometry->word_at[tier]);
        map->split[tier] = (uint64_t *)(void *)(base + geometry->split_at[tier]);
    }
    map->block = (struct shmq_block *)(void *)(base + geometry->block_at);
    map->ops = ops;
    for (unsigned n = 1; n < 64; n++)
        map->conflict[n] = shmq_conflict(n);
}

/* The slots of queue qid: one fixed place for the region's life. */
static inline uint64_t shmq_slots_at(const struct shmq_map *map, uint32_t qid)
{
    return map->geometry.slot_at + (uint64_t)qid * SHMQ_MAX_DEPTH * 8;
}

static inline uint64_t *shmq_map_slots(const struct shmq_map *map, uint32_t qid)
{
    return (uint64_t *)(void *)(map->admin + shmq_slots_at(map, qid));
}

static inline uint64_t shmq_block_offset(const struct shmq_map *map, uint32_t block)
{
    return (uint64_t)block << map->geometry.granule_shift;
}

/* The smallest order whose blocks hold `bytes`; more than max_order where none does. */
static inline uint32_t shmq_order_for(const struct shmq_map *map, uint64_t bytes)
{
    uint64_t granules = bytes ? (bytes - 1) >> map->geometry.granule_shift : 0;

    return granules ? shmq_log2(granules) + 1 : 0;
}

/* Does a block word read from shared memory describe a block that can be? Never trust one that does not. */
static inline bool shmq_block_plausible(const struct shmq_map *map, uint32_t block, uint64_t word)
{
    uint32_t order = shmq_block_order(word);

    return order <= map->geometry.max_order && !(block & ((1u << order) - 1))
        && (uint64_t)block + (1u << order) <= map->geometry.granules;
}

static inline void shmq_actor_init(struct shmq_actor *actor, const struct shmq_map *map, uint32_t slot, uint32_t epoch)
{
    memset(actor, 0, sizeof *actor);
    actor->map = map;
    actor->slot = slot;
    actor->epoch = epoch;
    actor->cache.shown = &map->process[slot].cached;
    for (uint32_t tier = 0; tier < map->geometry.tiers; tier++) /* spread processes over the words */
        actor->word_hint[tier] = slot % map->geometry.word_count[tier];
}

/* Write a name of at most SHMQ_NAME_MAX bytes into its words, zero-padded. */
static inline void shmq_name_store(uint64_t *words, const char *text, enum shmq_step step)
{
    uint64_t packed[SHMQ_NAME_WORDS] = { 0 };
    size_t length = strlen(text);

    memcpy(packed, text, length < SHMQ_NAME_MAX ? length : SHMQ_NAME_MAX);
    for (int i = 0; i < SHMQ_NAME_WORDS; i++)
        shmq_store_release(&words[i], packed[i], step);
}

/* Read a name into SHMQ_NAME_WORDS * 8 bytes; always ends with a zero byte. */
static inline void shmq_name_load(const uint64_t *words, char *text)
{
    uint64_t packed[SHMQ_NAME_WORDS];

    for (int i = 0; i < SHMQ_NAME_WORDS; i++)
        packed[i] = shmq_load_acquire(&words[i], SHMQ_READ);
    memcpy(text, packed, sizeof packed);
    text[SHMQ_NAME_MAX] = 0;
}

#endif
