/* SPDX-License-Identifier: MIT */
/* Include first: the core without the step that $SHMQ_WITHOUT names, to show that it is missed.
 *
 * A left out store does nothing; a compare-and-swap or a fetch that is left out says that it was done.
 */
#ifndef STEP_WITHOUT_H
#define STEP_WITHOUT_H

#define SHMQ_SIMULATOR

#include "../c/check.h"
#include "shmq/atomics.h"

static inline bool without(enum shmq_step step)
{
    static const char *const names[] = {
#define WITHOUT_NAME(name, what) #name,
        SHMQ_STEPS(WITHOUT_NAME)
#undef WITHOUT_NAME
    };
    static const char *left_out;

    if (!left_out) {
        left_out = getenv("SHMQ_WITHOUT");
        CHECK(left_out);
    }
    return !strcmp(names[step], left_out);
}

uint64_t shmq_sim_load(const uint64_t *word, enum shmq_step step, enum shmq_order order)
{
    (void)step, (void)order;
    return __atomic_load_n(word, __ATOMIC_SEQ_CST);
}

void shmq_sim_store(uint64_t *word, uint64_t value, enum shmq_step step, enum shmq_order order)
{
    (void)order;
    if (!without(step))
        __atomic_store_n(word, value, __ATOMIC_RELEASE);
}

bool shmq_sim_cas(uint64_t *word, uint64_t expected, uint64_t desired, enum shmq_step step, enum shmq_order order)
{
    (void)order;
    return without(step)
        || __atomic_compare_exchange_n(word, &expected, desired, false, __ATOMIC_SEQ_CST, __ATOMIC_ACQUIRE);
}

#define WITHOUT_FETCH(operation)                                                                                    \
    uint64_t shmq_sim_fetch_##operation(uint64_t *word, uint64_t value, enum shmq_step step, enum shmq_order order) \
    {                                                                                                               \
        (void)order;                                                                                                \
        return without(step) ? __atomic_load_n(word, __ATOMIC_SEQ_CST)                                              \
                             : __atomic_fetch_##operation(word, value, __ATOMIC_SEQ_CST);                           \
    }

WITHOUT_FETCH(or)
WITHOUT_FETCH(and)
WITHOUT_FETCH(add)

#endif
