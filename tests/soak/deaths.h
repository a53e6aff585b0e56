/* SPDX-License-Identifier: MIT */
/* How long it takes from a SIGKILL until the process slot is free: then the dead one's blocks and queues are back, too.
 * Only looks at the slots' states; as often as the controller's loop goes round. */
#ifndef SOAK_DEATHS_H
#define SOAK_DEATHS_H

#include "../c/check.h"
#include "shmq/shmq.h"

#define DEATHS_MOST 65536u           /* dead at a time: more than are killed before patience ends */

struct death {
    uint32_t slot, epoch;
    uint64_t since;
    uint64_t fair_since;
};

struct deaths {
    const struct shmq_map *map;
    struct death dead[DEATHS_MOST];
    uint32_t count;
    uint64_t fair_ns;       /* a clock that goes only while nobody is starved */
    uint32_t *us;           /* each one's time */
    uint64_t times, capacity;
};

static inline void deaths_watch(struct deaths *deaths, uint32_t slot, uint32_t epoch, uint64_t now)
{
    CHECK(deaths->count < DEATHS_MOST && slot < deaths->map->geometry.max_processes);
    if (shmq_process_epoch(shmq_process_load(deaths->map, slot)) != epoch)
        return; /* it had left by itself */
    deaths->dead[deaths->count++] = (struct death) { slot, epoch, now, deaths->fair_ns };
}

static inline void deaths_note(struct deaths *deaths, uint64_t ns)
{
    if (deaths->times == deaths->capacity) {
        deaths->capacity = deaths->capacity * 2 + 1024;
        deaths->us = (uint32_t *)realloc(deaths->us, deaths->capacity * sizeof *deaths->us);
        CHECK(deaths->us);
    }
    deaths->us[deaths->times++] = ns / 1000 < UINT32_MAX ? (uint32_t)(ns / 1000) : UINT32_MAX;
}

static inline void deaths_look(struct deaths *deaths)
{
    uint64_t now = shmq_os_now();

    for (uint32_t i = 0; i < deaths->count;) {
        struct death *dead = &deaths->dead[i];

        if (shmq_process_epoch(shmq_process_load(deaths->map, dead->slot)) == dead->epoch) {
            i++;
            continue;
        }
        deaths_note(deaths, now - dead->since);
        *dead = deaths->dead[--deaths->count];
    }
}

/* Does a dead one wait for longer than `patience` in which nobody was starved, or than `bound` on the clock? */
static inline bool deaths_none_for(const struct deaths *deaths, uint64_t patience, uint64_t bound)
{
    uint64_t now = shmq_os_now();

    for (uint32_t i = 0; i < deaths->count; i++)
        if (deaths->fair_ns - deaths->dead[i].fair_since > patience || now - deaths->dead[i].since > bound)
            return true;
    return false;
}

static inline int deaths_compare(const void *left, const void *right)
{
    uint32_t a = *(const uint32_t *)left, b = *(const uint32_t *)right;

    return a < b ? -1 : a > b;
}

/* In ms; `part` of all took no longer. Sorts. */
static inline double deaths_ms(struct deaths *deaths, double part)
{
    uint64_t index = (uint64_t)(part * (double)deaths->times);

    if (!deaths->times)
        return 0;
    qsort(deaths->us, deaths->times, sizeof *deaths->us, deaths_compare);
    return deaths->us[index < deaths->times ? index : deaths->times - 1] * 1e-3;
}

#endif
