/* SPDX-License-Identifier: MIT */
/* Blocks of a dead process that are to be judged together (closer.h), as bits of clusters of neighbours: up to 24,576
 * of one granule that lie side by side, and no less than 384 wherever they lie. */
#ifndef SHMQ_CLUSTERS_H
#define SHMQ_CLUSTERS_H

#include "layout.h"

#ifndef SHMQ_CLUSTERS /* the simulator's regions are small: it has few, so that they are full in the midst of a scan */
#define SHMQ_CLUSTERS 384u
#define SHMQ_CLUSTER_BLOCKS 64u
#endif

struct shmq_clusters {
    uint32_t count;
    uint32_t number[SHMQ_CLUSTERS]; /* of the first block / SHMQ_CLUSTER_BLOCKS; ascending */
    uint64_t noted[SHMQ_CLUSTERS];  /* the blocks, one bit each */
    uint64_t posted[SHMQ_CLUSTERS]; /* those of them that are found in a ring, with their generation */
};

static inline uint32_t shmq_cluster_number(uint32_t block)
{
    return block / SHMQ_CLUSTER_BLOCKS;
}

static inline uint64_t shmq_cluster_bit(uint32_t block)
{
    return 1ull << block % SHMQ_CLUSTER_BLOCKS;
}

/* The block in the given cluster whose bit is the lowest of `bits`, which is not 0. */
static inline uint32_t shmq_clusters_block(const struct shmq_clusters *clusters, uint32_t cluster, uint64_t bits)
{
    return clusters->number[cluster] * SHMQ_CLUSTER_BLOCKS + (uint32_t)__builtin_ctzll(bits);
}

/* Is there no room for the block? */
static inline bool shmq_clusters_full(const struct shmq_clusters *clusters, uint32_t block)
{
    return clusters->count == SHMQ_CLUSTERS && clusters->number[SHMQ_CLUSTERS - 1] != shmq_cluster_number(block);
}

/* There is room; blocks are noted in ascending order. */
static inline void shmq_clusters_note(struct shmq_clusters *clusters, uint32_t block)
{
    uint32_t number = shmq_cluster_number(block);

    if (!clusters->count || clusters->number[clusters->count - 1] != number) {
        clusters->number[clusters->count] = number;
        clusters->noted[clusters->count] = clusters->posted[clusters->count] = 0;
        clusters->count++;
    }
    clusters->noted[clusters->count - 1] |= shmq_cluster_bit(block);
}

/* What a slot is compared with first; read once a ring, not once a slot. */
struct shmq_cluster_range {
    uint32_t first, span;   /* numbers */
};

/* There is at least one cluster. */
static inline struct shmq_cluster_range shmq_clusters_range(const struct shmq_clusters *clusters)
{
    struct shmq_cluster_range range;

    range.first = clusters->number[0];
    range.span = clusters->number[clusters->count - 1] - range.first;
    return range;
}

/* The cluster of the block that a slot names, if the block is noted; `count` if the slot is empty, or names another. */
static inline uint32_t shmq_clusters_find(const struct shmq_clusters *clusters, struct shmq_cluster_range range,
    uint64_t slot_word)
{
    uint32_t block = shmq_slot_value(slot_word) - 1, number = shmq_cluster_number(block); /* if empty: beyond all */
    uint32_t away = number - range.first, low = 0, high = clusters->count - 1;

    if (away > range.span) /* most slots of most rings */
        return clusters->count;
    if (high > away) /* no further on, since numbers ascend; just there, if no number is left out */
        high = away;
    while (low < high && clusters->number[high] != number) {
        uint32_t middle = (low + high) / 2;

        if (clusters->number[middle] < number)
            low = middle + 1;
        else
            high = middle;
    }
    return clusters->number[high] == number && clusters->noted[high] & shmq_cluster_bit(block) ? high : clusters->count;
}

#endif
