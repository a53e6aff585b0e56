/* SPDX-License-Identifier: MIT */
/* Include first: every access to shared memory is watched. One that is not within the region, or writes what nobody
 * may write, ends the run, and so does an operation that makes too many. A word that was damaged counts once an
 * operation has read it. Somebody may write between any two accesses.
 */
#ifndef CORRUPT_WATCHED_H
#define CORRUPT_WATCHED_H

#define SHMQ_SIMULATOR

#include "../c/check.h"
#include "shmq/atomics.h"

#define WATCHED_MAPPINGS 4u
#define WATCHED_BUDGET 6000000u         /* accesses of one operation: some walks of places of 65,536 slots each */
#define WATCHED_NOWHERE UINT64_MAX

static unsigned char **watched_base[WATCHED_MAPPINGS]; /* where the admin segment lies, for each who is attached */
static uint64_t watched_bytes;          /* of it */
static uint64_t watched_still;          /* bytes at its beginning that nobody writes once the region has a name */
static uint8_t *watched_damage;         /* by word: 1 + the aim of damage that nobody has read; 0: none */
static uint64_t watched_read[256];      /* by aim: damaged words that were read */
static uint64_t watched_accesses, watched_total;
static bool watched_maps;               /* the operation maps files by itself: what it reads there is not known here */
static void (*watched_intruder)(void);  /* called before an access now and then, or NULL … */
static uint64_t watched_until;          /* … in so many accesses */

/* The word's number in the segment. */
static inline uint64_t watched_index(const uint64_t *word)
{
    for (uint32_t i = 0; i < WATCHED_MAPPINGS; i++) {
        uint64_t at = watched_base[i] ? (uint64_t)((const unsigned char *)word - *watched_base[i]) : UINT64_MAX;

        if (at < watched_bytes)
            return at / 8;
    }
    CHECK(watched_maps); /* else it is an access outside of the region */
    return WATCHED_NOWHERE;
}

static inline uint64_t watched_access(const uint64_t *word)
{
    uint64_t index = watched_index(word);

    watched_total++;
    if (++watched_accesses > WATCHED_BUDGET)
        check_failed(__FILE__, __LINE__, "an operation that ends within its budget");
    if (watched_intruder && watched_until-- == 0)
        watched_intruder();
    return index;
}

static inline void watched_see(uint64_t index)
{
    if (index == WATCHED_NOWHERE || !watched_damage || !watched_damage[index])
        return;
    watched_read[watched_damage[index] - 1]++;
    watched_damage[index] = 0;
}

static inline void watched_write(uint64_t index)
{
    if (index == WATCHED_NOWHERE || !watched_damage)
        return;
    CHECK(index * 8 >= watched_still);
    watched_damage[index] = 0;
}

/* What atomics.h asks for under SHMQ_SIMULATOR. One thread: plain accesses do. */

uint64_t shmq_sim_load(const uint64_t *word, enum shmq_step step, enum shmq_order order)
{
    (void)step, (void)order;
    watched_see(watched_access(word));
    return *word;
}

void shmq_sim_store(uint64_t *word, uint64_t value, enum shmq_step step, enum shmq_order order)
{
    (void)step, (void)order;
    watched_write(watched_access(word));
    *word = value;
}

bool shmq_sim_cas(uint64_t *word, uint64_t expected, uint64_t desired, enum shmq_step step, enum shmq_order order)
{
    uint64_t index = watched_access(word);

    (void)step, (void)order;
    watched_see(index);
    if (*word != expected)
        return false;
    watched_write(index);
    *word = desired;
    return true;
}

static inline uint64_t watched_replace(uint64_t *word, uint64_t index, uint64_t value)
{
    uint64_t old = *word;

    watched_see(index);
    watched_write(index);
    *word = value;
    return old;
}

#define WATCHED_FETCH(operation, sign)                                                                              \
    uint64_t shmq_sim_fetch_##operation(uint64_t *word, uint64_t value, enum shmq_step step, enum shmq_order order) \
    {                                                                                                               \
        uint64_t index = watched_access(word);                                                                      \
                                                                                                                    \
        (void)step, (void)order;                                                                                    \
        return watched_replace(word, index, *word sign value);                                                      \
    }

WATCHED_FETCH(or, |)
WATCHED_FETCH(and, &)
WATCHED_FETCH(add, +)

#endif
