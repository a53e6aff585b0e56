/* SPDX-License-Identifier: MIT */
/* What a close(i) keeps in mind while it looks through the blocks (recover.h). */
#ifndef SHMQ_CLOSER_H
#define SHMQ_CLOSER_H

#include "cache.h"
#include "clusters.h"
#include "retire.h"

#define SHMQ_QUEUE_BITS ((SHMQ_MAX_PROCESSES + SHMQ_MAX_QUEUES) / 64)

/* 19 KiB of stack. */
struct shmq_closer {
    struct shmq_actor *as;
    const uint32_t *kept;   /* blocks that stay with the process: views of them live on */
    uint32_t kept_count;
    uint64_t requeued[SHMQ_QUEUE_BITS]; /* queues with something requeued, one bit each */
    struct shmq_clusters messages;      /* that stand in, or were taken from, a queue */
    uint64_t queues[SHMQ_QUEUE_BITS];   /* those of the messages */
    uint64_t open[SHMQ_QUEUE_BITS];     /* of these queues, those that were open before their rings were read */
    struct shmq_clusters published;     /* by the dead process */
    uint64_t topics[SHMQ_MAX_TOPICS / 64]; /* those of the published blocks */
    uint64_t of_topic[SHMQ_CLUSTERS];   /* which published blocks are of the topic that is judged now */
};

static inline void shmq_closer_forget_messages(struct shmq_closer *closer)
{
    closer->messages.count = 0;
    memset(closer->queues, 0, sizeof closer->queues);
    memset(closer->open, 0, sizeof closer->open);
}

static inline void shmq_closer_forget_published(struct shmq_closer *closer)
{
    closer->published.count = 0;
    memset(closer->topics, 0, sizeof closer->topics);
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
