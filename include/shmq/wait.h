/* SPDX-License-Identifier: MIT */
/* Waiting and waking: an announcement bit and a futex word, and how long to spin before sleeping.
 *
 * Sleeper: announce (W1), look again, sleep.      Poster: change the queue (S2 or R2), read the announcement.
 * One of the two sees the other: both the announcement and the queue's words are accessed seq_cst (Dekker). A waker
 * killed between W2 and the system call costs its sleeper one slice, no more. The sleeps go through map->ops.
 */
#ifndef SHMQ_WAIT_H
#define SHMQ_WAIT_H

#include "map.h"

#define SHMQ_SLICE_NS 50000000ull    /* longest sleep before looking again: what a lost wake costs */
#define SHMQ_SPIN_MAX_NS 100000ull   /* longest spin before sleeping: about twice what a wake costs */
#define SHMQ_SPIN_MIN_NS 2000ull
#define SHMQ_SPIN_CROWDED_NS 5000ull /* a spin that lasts longer lets others have the core … */
#define SHMQ_SPIN_ALONE_NS 90000ull  /* … or this long, where nobody was there the last time */
#define SHMQ_SPIN_SHARED_NS 5000ull  /* letting others run took longer than this: somebody was there */
#define SHMQ_ALL_SLEEPERS 0x7fffffffu

/* What is waited on: `bit` in *announce says that somebody sleeps on *seq. */
struct shmq_wait_point {
    uint64_t *announce;
    uint64_t bit;
    uint64_t *seq;
};

static inline struct shmq_wait_point shmq_receivers(struct shmq_queue *queue)
{
    struct shmq_wait_point point = { &queue->flags, SHMQ_QUEUE_SLEEP, &queue->receivers_seq };

    return point;
}

static inline struct shmq_wait_point shmq_senders(struct shmq_queue *queue)
{
    struct shmq_wait_point point = { &queue->flags, SHMQ_QUEUE_SPACE, &queue->senders_seq };

    return point;
}

static inline struct shmq_wait_point shmq_starved(const struct shmq_map *map)
{
    struct shmq_wait_point point = { &map->header->wanted, 1, &map->header->wanted_seq };

    return point;
}

/* Before sleeping: announce. Returns the futex value to sleep on; the caller looks again in between. Wait-free. */
static inline uint32_t shmq_wait_announce(struct shmq_wait_point point)
{
    uint32_t seq = (uint32_t)shmq_load_seq_cst(point.seq, SHMQ_W5); /* read before W1, or a wake in between is missed */

    shmq_fetch_or_seq_cst(point.announce, point.bit, SHMQ_W1); /* races S3 and R4: store here, load there */
    return seq;
}

/* Sleep until woken, at most `ns` and at most a slice. SHMQ_OK, SHMQ_TIMEOUT, SHMQ_INTERRUPTED. */
static inline int shmq_wait_sleep(const struct shmq_map *map, struct shmq_wait_point point, uint32_t seq, uint64_t ns)
{
    return map->ops->sleep(map->ops->context, point.seq, seq, ns < SHMQ_SLICE_NS ? ns : SHMQ_SLICE_NS);
}

/* Wake up to `sleepers` of those who announced. */
SHMQ_SELDOM void shmq_wake(const struct shmq_map *map, struct shmq_wait_point point, uint32_t sleepers)
{
    shmq_fetch_and_seq_cst(point.announce, ~point.bit, SHMQ_W2);
    shmq_fetch_add_seq_cst(point.seq, 1, SHMQ_W3);
    map->ops->wake(map->ops->context, point.seq, sleepers);
}

/* Whoever stops waiting, for whatever reason, announces again for those who still sleep; where there is still
 * something to have it then wakes one more, for the wake that reached it may have been meant for two [D12][M8]. */
static inline void shmq_wait_leave(struct shmq_wait_point point)
{
    shmq_fetch_or_seq_cst(point.announce, point.bit, SHMQ_W4);
}

/* How long to spin, learnt from the last waits. */
struct shmq_spin {
    uint64_t budget_ns;     /* before sleeping */
    uint64_t alone_ns;      /* before others are let run on this core */
};

static inline void shmq_spin_init(struct shmq_spin *spin)
{
    spin->budget_ns = SHMQ_SPIN_MAX_NS;
    spin->alone_ns = SHMQ_SPIN_CROWDED_NS;
}

/* Note that letting others run took `ns`: where somebody was there, do so sooner, else later. */
static inline void shmq_spin_yielded(struct shmq_spin *spin, uint64_t ns)
{
    spin->alone_ns = ns > SHMQ_SPIN_SHARED_NS ? SHMQ_SPIN_CROWDED_NS : SHMQ_SPIN_ALONE_NS;
}

/* Note that a wait took `ns`. One that a longer spin would have met lengthens it, a longer one shortens it. */
static inline void shmq_spin_learn(struct shmq_spin *spin, uint64_t ns)
{
    if (ns <= SHMQ_SPIN_MAX_NS)
        spin->budget_ns = SHMQ_SPIN_MAX_NS;
    else
        spin->budget_ns = spin->budget_ns / 2 > SHMQ_SPIN_MIN_NS ? spin->budget_ns / 2 : SHMQ_SPIN_MIN_NS;
}

#endif
