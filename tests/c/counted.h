/* SPDX-License-Identifier: MIT */
/* Include first: every access to shared memory is counted. A test may bound an operation's accesses, may kill it after
 * its n-th write, as SIGKILL would, and may let somebody else write between any two accesses.
 */
#ifndef COUNTED_H
#define COUNTED_H

#define SHMQ_SIMULATOR

#include <setjmp.h>

#include "check.h"
#include "shmq/atomics.h"

static uint64_t counted_accesses, counted_writes;
static uint64_t counted_budget = UINT64_MAX; /* accesses until the test fails */
static uint64_t counted_kill;                /* the write after which the operation dies; 0: none */
static jmp_buf counted_escape;
static void (*counted_intruder)(void);       /* called before an access now and then, or NULL … */
static uint64_t counted_period;              /* … each time so many accesses later */

static inline void counted_access(void)
{
    if (counted_intruder && counted_accesses % counted_period == counted_period - 1)
        counted_intruder();
    if (++counted_accesses > counted_budget)
        check_failed(__FILE__, __LINE__, "an operation that ends within its budget");
}

static inline bool counted_write(bool written)
{
    if (written && ++counted_writes == counted_kill)
        longjmp(counted_escape, 1);
    return written;
}

/* Run the operation and kill it after `kill` writes. True: it came to its end before. */
static inline bool counted_survives(void (*operation)(void), uint64_t kill)
{
    counted_writes = 0;
    counted_kill = kill;
    if (setjmp(counted_escape) == 0) {
        operation();
        counted_kill = 0;
        return true;
    }
    counted_kill = 0;
    return false;
}

/* Start counting anew; the next accesses may be at most `budget`. */
static inline void counted_allow(uint64_t budget)
{
    counted_accesses = 0;
    counted_budget = budget;
}

/* What atomics.h asks for under SHMQ_SIMULATOR. One thread: plain accesses do. */

uint64_t shmq_sim_load(const uint64_t *word, enum shmq_step step, enum shmq_order order)
{
    (void)step, (void)order;
    counted_access();
    return *word;
}

void shmq_sim_store(uint64_t *word, uint64_t value, enum shmq_step step, enum shmq_order order)
{
    (void)step, (void)order;
    counted_access();
    *word = value;
    counted_write(true);
}

bool shmq_sim_cas(uint64_t *word, uint64_t expected, uint64_t desired, enum shmq_step step, enum shmq_order order)
{
    (void)step, (void)order;
    counted_access();
    if (*word != expected)
        return false;
    *word = desired;
    return counted_write(true);
}

static inline uint64_t counted_replace(uint64_t *word, uint64_t value)
{
    uint64_t old = *word;

    counted_access();
    *word = value;
    counted_write(true);
    return old;
}

uint64_t shmq_sim_fetch_or(uint64_t *word, uint64_t bits, enum shmq_step step, enum shmq_order order)
{
    (void)step, (void)order;
    return counted_replace(word, *word | bits);
}

uint64_t shmq_sim_fetch_and(uint64_t *word, uint64_t bits, enum shmq_step step, enum shmq_order order)
{
    (void)step, (void)order;
    return counted_replace(word, *word & bits);
}

uint64_t shmq_sim_fetch_add(uint64_t *word, uint64_t count, enum shmq_step step, enum shmq_order order)
{
    (void)step, (void)order;
    return counted_replace(word, *word + count);
}

#endif
