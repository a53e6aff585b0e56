/* SPDX-License-Identifier: MIT */
/* Include first: threads stand for processes, over one mapping, which is what ThreadSanitizer can follow.
 *
 * Every access to shared memory is the atomic, of the order, that atomics.h would make it. Around it a thread may give
 * up the processor, and after its n-th write it may die, as SIGKILL would let it. What the test writes into payloads is
 * not atomic: that is what ThreadSanitizer judges, by the orders of the accesses between two uses of a block.
 *
 * SHMQ_WEAKEN=S1+S2 makes the accesses under these steps relaxed, to show that their orders are missed.
 */
#ifndef THREADED_H
#define THREADED_H

#define SHMQ_SIMULATOR

#include <sched.h>
#include <setjmp.h>

#include "check.h"
#include "shmq/atomics.h"

#define THREADED_YIELD 1024u /* a thread gives up the processor before one access in so many */

/* One life of a simulated process: from entering a slot to leaving it, or to its death. */
struct threaded_life {
    uint64_t chance;        /* the state of its random numbers */
    uint64_t writes_left;   /* until it dies; 0: it does not */
    jmp_buf grave;          /* where the thread goes on then */
};

static _Thread_local struct threaded_life *threaded_self; /* NULL: the main thread, which does not die */
static bool threaded_weak[SHMQ_STEP_COUNT];               /* written before any thread starts */

static inline uint32_t threaded_random(struct threaded_life *life, uint32_t below)
{
    life->chance = life->chance * 6364136223846793005ull + 1442695040888963407ull;
    return (uint32_t)((life->chance >> 33) * below >> 31);
}

/* Read SHMQ_WEAKEN. Returns how many steps it names. */
static inline int threaded_weaken(void)
{
    static const char *const names[] = {
#define THREADED_NAME(name, what) #name,
        SHMQ_STEPS(THREADED_NAME)
#undef THREADED_NAME
    };
    char steps[256];
    int count = 0;

    snprintf(steps, sizeof steps, "%s", getenv("SHMQ_WEAKEN") ? getenv("SHMQ_WEAKEN") : "");
    for (char *name = strtok(steps, "+"); name; name = strtok(NULL, "+")) {
        int step = 0;

        while (step < SHMQ_STEP_COUNT && strcmp(names[step], name))
            step++;
        CHECK(step < SHMQ_STEP_COUNT);
        threaded_weak[step] = true;
        count++;
    }
    return count;
}

static inline enum shmq_order threaded_before(enum shmq_step step, enum shmq_order order)
{
    if (threaded_self && !threaded_random(threaded_self, THREADED_YIELD))
        sched_yield();
    return threaded_weak[step] ? SHMQ_RELAXED : order;
}

static inline void threaded_written(void)
{
    if (threaded_self && threaded_self->writes_left && --threaded_self->writes_left == 0)
        longjmp(threaded_self->grave, 1);
}

/* What atomics.h asks for under SHMQ_SIMULATOR: the orders that it would use itself. */

uint64_t shmq_sim_load(const uint64_t *word, enum shmq_step step, enum shmq_order order)
{
    switch (threaded_before(step, order)) {
    case SHMQ_RELAXED:
        return __atomic_load_n(word, __ATOMIC_RELAXED);
    case SHMQ_ACQUIRE:
        return __atomic_load_n(word, __ATOMIC_ACQUIRE);
    default:
        return __atomic_load_n(word, __ATOMIC_SEQ_CST);
    }
}

void shmq_sim_store(uint64_t *word, uint64_t value, enum shmq_step step, enum shmq_order order)
{
    if (threaded_before(step, order) == SHMQ_RELAXED)
        __atomic_store_n(word, value, __ATOMIC_RELAXED);
    else
        __atomic_store_n(word, value, __ATOMIC_RELEASE);
    threaded_written();
}

bool shmq_sim_cas(uint64_t *word, uint64_t expected, uint64_t desired, enum shmq_step step, enum shmq_order order)
{
    bool done;

    switch (threaded_before(step, order)) {
    case SHMQ_RELAXED:
        done = __atomic_compare_exchange_n(word, &expected, desired, false, __ATOMIC_RELAXED, __ATOMIC_RELAXED);
        break;
    case SHMQ_ACQ_REL:
        done = __atomic_compare_exchange_n(word, &expected, desired, false, __ATOMIC_ACQ_REL, __ATOMIC_ACQUIRE);
        break;
    default:
        done = __atomic_compare_exchange_n(word, &expected, desired, false, __ATOMIC_SEQ_CST, __ATOMIC_ACQUIRE);
    }
    if (done)
        threaded_written();
    return done;
}

#define THREADED_FETCH(operation)                                                                                 \
    uint64_t shmq_sim_fetch_##operation(uint64_t *word, uint64_t value, enum shmq_step step, enum shmq_order order) \
    {                                                                                                             \
        uint64_t before;                                                                                          \
                                                                                                                  \
        switch (threaded_before(step, order)) {                                                                   \
        case SHMQ_RELAXED:                                                                                        \
            before = __atomic_fetch_##operation(word, value, __ATOMIC_RELAXED);                                   \
            break;                                                                                                \
        case SHMQ_ACQ_REL:                                                                                        \
            before = __atomic_fetch_##operation(word, value, __ATOMIC_ACQ_REL);                                   \
            break;                                                                                                \
        default:                                                                                                  \
            before = __atomic_fetch_##operation(word, value, __ATOMIC_SEQ_CST);                                   \
        }                                                                                                         \
        threaded_written();                                                                                       \
        return before;                                                                                            \
    }

THREADED_FETCH(or)
THREADED_FETCH(and)
THREADED_FETCH(add)

#undef THREADED_FETCH

#endif
