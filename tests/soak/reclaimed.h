/* SPDX-License-Identifier: MIT */
/* How long it takes from a SIGKILL until the process slot is free: then the dead one's blocks and queues are back, too.
 * Only looks at the slots' states; as often as the controller's loop goes round. */
#ifndef SOAK_RECLAIMED_H
#define SOAK_RECLAIMED_H

#include "../c/check.h"
#include "shmq/shmq.h"

#define RECLAIMED_MOST 65536u           /* dead at a time: more than are killed before patience ends */

struct reclaimed_dead {
    uint32_t slot, epoch;
    uint64_t since;
    uint64_t fair_since;
};

struct reclaimed {
    const struct shmq_map *map;
    struct reclaimed_dead dead[RECLAIMED_MOST];
    uint32_t count;
    uint64_t fair_ns;       /* a clock that goes only while nobody is starved */
    uint32_t *us;           /* each one's time */
    uint64_t times, capacity;
};

static inline void reclaimed_watch(struct reclaimed *reclaimed, uint32_t slot, uint32_t epoch, uint64_t now)
{
    CHECK(reclaimed->count < RECLAIMED_MOST && slot < reclaimed->map->geometry.max_processes);
    if (shmq_process_epoch(shmq_process_load(reclaimed->map, slot)) != epoch)
        return; /* it had left by itself */
    reclaimed->dead[reclaimed->count++] = (struct reclaimed_dead) { slot, epoch, now, reclaimed->fair_ns };
}

static inline void reclaimed_note(struct reclaimed *reclaimed, uint64_t ns)
{
    if (reclaimed->times == reclaimed->capacity) {
        reclaimed->capacity = reclaimed->capacity * 2 + 1024;
        reclaimed->us = (uint32_t *)realloc(reclaimed->us, reclaimed->capacity * sizeof *reclaimed->us);
        CHECK(reclaimed->us);
    }
    reclaimed->us[reclaimed->times++] = ns / 1000 < UINT32_MAX ? (uint32_t)(ns / 1000) : UINT32_MAX;
}

static inline void reclaimed_look(struct reclaimed *reclaimed)
{
    uint64_t now = shmq_os_now();

    for (uint32_t i = 0; i < reclaimed->count;) {
        struct reclaimed_dead *dead = &reclaimed->dead[i];

        if (shmq_process_epoch(shmq_process_load(reclaimed->map, dead->slot)) == dead->epoch) {
            i++;
            continue;
        }
        reclaimed_note(reclaimed, now - dead->since);
        *dead = reclaimed->dead[--reclaimed->count];
    }
}

/* Does a dead one wait for longer than `patience` in which nobody was starved, or than `bound` on the clock? */
static inline bool reclaimed_none_for(const struct reclaimed *reclaimed, uint64_t patience, uint64_t bound)
{
    uint64_t now = shmq_os_now();

    for (uint32_t i = 0; i < reclaimed->count; i++)
        if (reclaimed->fair_ns - reclaimed->dead[i].fair_since > patience || now - reclaimed->dead[i].since > bound)
            return true;
    return false;
}

static inline int reclaimed_compare(const void *left, const void *right)
{
    uint32_t a = *(const uint32_t *)left, b = *(const uint32_t *)right;

    return a < b ? -1 : a > b;
}

/* In ms; `part` of all took no longer. Sorts. */
static inline double reclaimed_ms(struct reclaimed *reclaimed, double part)
{
    uint64_t index = (uint64_t)(part * (double)reclaimed->times);

    if (!reclaimed->times)
        return 0;
    qsort(reclaimed->us, reclaimed->times, sizeof *reclaimed->us, reclaimed_compare);
    return reclaimed->us[index < reclaimed->times ? index : reclaimed->times - 1] * 1e-3;
}

#endif
