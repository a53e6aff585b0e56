/* SPDX-License-Identifier: MIT */
/* What a close(i) keeps in mind while it looks through the blocks (recover.h). */
#ifndef SHMQ_CLOSER_H
#define SHMQ_CLOSER_H

#include "cache.h"
#include "retire.h"

#define SHMQ_CANDIDATES 512u    /* messages judged with one look at each queue involved; 8 KiB of stack */
#define SHMQ_PUBLISHED 256u     /* published ones, likewise; 4 KiB */

/* A block of the dead process that stands in, or was taken from, a queue. */
struct shmq_candidate {
    uint32_t block;
    bool posted;            /* found in the ring, with its generation */
    uint64_t word;
};

/* A block that the dead process published. */
struct shmq_published {
    uint32_t block;
    bool posted;            /* found in the ring of the subscriber who is looked at */
    uint64_t word;
};

struct shmq_closer {
    struct shmq_actor *as;
    const uint32_t *kept;   /* blocks that stay with the process: views of them live on */
    uint32_t kept_count;
    uint64_t requeued[(SHMQ_MAX_PROCESSES + SHMQ_MAX_QUEUES) / 64]; /* queues with something requeued, one bit each */
    uint32_t count;
    struct shmq_candidate candidate[SHMQ_CANDIDATES]; /* in the order of their blocks */
    uint32_t published_count;
    struct shmq_published published[SHMQ_PUBLISHED]; /* likewise */
};

/* The queue that an OWNED or QUEUED block word names. */
static inline uint32_t shmq_candidate_queue(const struct shmq_candidate *candidate)
{
    return shmq_block_queue(candidate->word) - 1;
}

static inline void shmq_closer_note(struct shmq_closer *closer, uint32_t qid)
{
    closer->requeued[qid / 64] |= 1ull << qid % 64;
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
