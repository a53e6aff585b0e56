/* SPDX-License-Identifier: MIT */
/* What a close(i) keeps in mind while it looks through the blocks (recover.h). */
#ifndef SHMQ_CLOSER_H
#define SHMQ_CLOSER_H

#include "cache.h"
#include "retire.h"

#define SHMQ_QUEUE_BITS ((SHMQ_MAX_PROCESSES + SHMQ_MAX_QUEUES) / 64)
#define SHMQ_CLUSTERS 384u      /* judged together, with one look at each queue involved; 12 KiB of stack */
#define SHMQ_CLUSTER_BLOCKS 64u

/* Neighbouring blocks, one bit each, of which the dead process sent or held some. */
struct shmq_cluster {
    uint32_t number;        /* its first block is this times SHMQ_CLUSTER_BLOCKS */
    uint64_t messages;      /* blocks that stand in, or were taken from, a queue */
    uint64_t published;     /* blocks that it published */
    uint64_t posted;        /* of those that are looked for: found in a ring, with their generation */
};

struct shmq_closer {
    struct shmq_actor *as;
    const uint32_t *kept;   /* blocks that stay with the process: views of them live on */
    uint32_t kept_count;
    uint32_t count;         /* clusters */
    uint64_t requeued[SHMQ_QUEUE_BITS]; /* queues with something requeued, one bit each */
    uint64_t queues[SHMQ_QUEUE_BITS];   /* of the clusters' messages */
    uint64_t open[SHMQ_QUEUE_BITS];     /* of these queues, those that were open before their rings were read */
    uint64_t topics[SHMQ_MAX_TOPICS / 64]; /* of the clusters' published blocks */
    struct shmq_cluster cluster[SHMQ_CLUSTERS]; /* in the order of their numbers, which is that of the scan */
};

/* Nothing is gathered. */
static inline void shmq_closer_begin(struct shmq_closer *closer)
{
    closer->count = 0;
    memset(closer->queues, 0, sizeof closer->queues);
    memset(closer->open, 0, sizeof closer->open);
    memset(closer->topics, 0, sizeof closer->topics);
}

/* The block's cluster, made if it is not the last one; there is room. */
static inline struct shmq_cluster *shmq_closer_cluster(struct shmq_closer *closer, uint32_t block)
{
    struct shmq_cluster *cluster = &closer->cluster[closer->count];
    uint32_t number = block / SHMQ_CLUSTER_BLOCKS;

    if (closer->count && cluster[-1].number == number)
        return cluster - 1;
    closer->count++;
    memset(cluster, 0, sizeof *cluster);
    cluster->number = number;
    return cluster;
}

static inline bool shmq_closer_full(const struct shmq_closer *closer)
{
    return closer->count == SHMQ_CLUSTERS;
}

static inline uint64_t shmq_cluster_bit(uint32_t block)
{
    return 1ull << block % SHMQ_CLUSTER_BLOCKS;
}

/* The cluster of the block that a slot names, NULL if there is none: the slot is empty, or names another's block.
 * There is at least one cluster. */
static inline struct shmq_cluster *shmq_closer_find(struct shmq_closer *closer, uint64_t slot_word)
{
    struct shmq_cluster *cluster = closer->cluster;
    uint32_t number = (shmq_slot_value(slot_word) - 1) / SHMQ_CLUSTER_BLOCKS; /* of an empty slot: beyond all */
    uint32_t low = 0, high = closer->count - 1, away = number - cluster[0].number;

    if (away > cluster[high].number - cluster[0].number) /* most slots of most rings */
        return NULL;
    if (high > away) /* numbers ascend; there, if all clusters up to it are neighbours */
        high = away;
    if (cluster[high].number == number)
        return &cluster[high];
    while (low < high) {
        uint32_t middle = (low + high) / 2;

        if (cluster[middle].number < number)
            low = middle + 1;
        else
            high = middle;
    }
    return cluster[low].number == number ? &cluster[low] : NULL;
}

static inline void shmq_bits_set(uint64_t *bits, uint32_t bit)
{
    bits[bit / 64] |= 1ull << bit % 64;
}

static inline bool shmq_bits_test(const uint64_t *bits, uint32_t bit)
{
    return bits[bit / 64] >> bit % 64 & 1;
}

/* Does the process keep the block, for a view? */
static inline bool shmq_closer_keeps(const struct shmq_closer *closer, uint32_t block)
{
    for (uint32_t i = 0; i < closer->kept_count; i++)
        if (closer->kept[i] == block)
            return true;
    return false;
}

/* Is the queue with these flags the process's own? */
static inline bool shmq_closer_owns(const struct shmq_actor *as, uint64_t flags)
{
    return flags & SHMQ_QUEUE_USED && shmq_flags_owner(flags) == as->slot;
}

#endif
