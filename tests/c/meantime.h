/* SPDX-License-Identifier: MIT */
/* Include first: what others do between two steps of an operation, each time that it comes there. One thread. */
#ifndef MEANTIME_H
#define MEANTIME_H

#define SHMQ_SIMULATOR

#include "check.h"
#include "shmq/atomics.h"

static void (*meantime)(void);          /* what others do before each access … */
static enum shmq_step meantime_step;    /* … at this step; NULL: nothing */
static uint32_t meantimes;              /* how often they have */

static void meantime_at(enum shmq_step step)
{
    void (*others)(void) = meantime;

    if (!others || step != meantime_step)
        return;
    meantime = NULL; /* nobody interrupts them */
    meantimes++;
    others();
    meantime = others;
}

static void before_each(enum shmq_step step, void (*others)(void))
{
    meantime = others;
    meantime_step = step;
    meantimes = 0;
}

static void undisturbed(void) { meantime = NULL; }

uint64_t shmq_sim_load(const uint64_t *word, enum shmq_step step, enum shmq_order order)
{
    (void)order;
    meantime_at(step);
    return *word;
}

void shmq_sim_store(uint64_t *word, uint64_t value, enum shmq_step step, enum shmq_order order)
{
    (void)order;
    meantime_at(step);
    *word = value;
}

bool shmq_sim_cas(uint64_t *word, uint64_t expected, uint64_t desired, enum shmq_step step, enum shmq_order order)
{
    (void)order;
    meantime_at(step);
    if (*word != expected)
        return false;
    *word = desired;
    return true;
}

static uint64_t replace(uint64_t *word, uint64_t value)
{
    uint64_t old = *word;

    *word = value;
    return old;
}

uint64_t shmq_sim_fetch_or(uint64_t *word, uint64_t bits, enum shmq_step step, enum shmq_order order)
{
    (void)order;
    meantime_at(step);
    return replace(word, *word | bits);
}

uint64_t shmq_sim_fetch_and(uint64_t *word, uint64_t bits, enum shmq_step step, enum shmq_order order)
{
    (void)order;
    meantime_at(step);
    return replace(word, *word & bits);
}

uint64_t shmq_sim_fetch_add(uint64_t *word, uint64_t count, enum shmq_step step, enum shmq_order order)
{
    (void)order;
    meantime_at(step);
    return replace(word, *word + count);
}

#endif
