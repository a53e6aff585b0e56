/* SPDX-License-Identifier: MIT */
/* The sweep: look for processes that died attached, and do for each what a polite close would have done.
 *
 * Dead is whose slot is not FREE and whose byte lock can be had. Nothing else: no pid, no time-out.
 */
#ifndef SHMQ_SWEEP_H
#define SHMQ_SWEEP_H

#include "files.h"
#include "lock.h"
#include "recover.h"

#define SHMQ_SWEEP_NS 25000000ull     /* while anybody waits, one process of the region looks for the dead this often */
#define SHMQ_SWEEP_SOON_NS 5000000ull /* … and so often while somebody is held up by what the dead may have */

/* If the process in `slot` is dead, close it. 1, 0, or -errno. */
static inline int shmq_sweep_slot(const struct shmq_map *map, const struct shmq_lock_probe *probe, uint32_t slot)
{
    struct shmq_actor dead;
    int closed = 0, result;

    if (shmq_process_is_free(map, slot))
        return 0;
    result = shmq_os_lock(probe->fd, slot);
    if (result)
        return result == -EAGAIN ? 0 : result;
    if (!shmq_process_is_free(map, slot)) { /* another may have closed it since */
        shmq_actor_init(&dead, map, slot, 0);
        shmq_close(&dead);
        closed = 1;
    }
    shmq_os_unlock(probe->fd, slot);
    return closed;
}

/* Is anybody but `self` attached, or was? Who is alone need not ask the kernel. */
static inline bool shmq_sweep_needed(const struct shmq_map *map, uint32_t self)
{
    for (uint32_t slot = 0; slot < map->geometry.max_processes; slot++)
        if (slot != self && !shmq_process_is_free(map, slot))
            return true;
    return false;
}

/* Look at all slots but `self`, whose byte this process holds through another description. Goes through a description
 * of its own, so two sweeps exclude each other, from one process too. Returns how many it closed, or -errno.
 * Lock-free: a slot that another is recovering is left to it. */
static inline int shmq_sweep(const struct shmq_map *map, const struct shmq_files *files, uint32_t self)
{
    struct shmq_lock_probe probe;
    int fd, result = 0, closed = 0;

    if (!shmq_sweep_needed(map, self))
        return 0;
    shmq_lock_guard_enter();
    fd = shmq_files_open_lock(files);
    if (fd >= 0)
        shmq_lock_probe_begin(&probe, fd);
    shmq_lock_guard_leave();
    if (fd < 0)
        return fd;
    for (uint32_t slot = 0; result >= 0 && slot < map->geometry.max_processes; slot++) {
        result = slot == self ? 0 : shmq_sweep_slot(map, &probe, slot);
        closed += result > 0;
    }
    shmq_lock_probe_end(&probe);
    return result < 0 ? result : closed;
}

/* Take the turn to look, if the last look was `interval` ns ago, up to SHMQ_SWEEP_NS: true for one process only. `now`
 * in monotonic ns. A turn further ahead than SHMQ_SWEEP_NS was written by nobody sane, or under another clock, and
 * counts as due [U12]. */
static inline bool shmq_sweep_take(const struct shmq_map *map, uint64_t now, uint64_t interval)
{
    uint64_t *sweep_at = &map->header->sweep_at;
    uint64_t due = shmq_load_acquire(sweep_at, SHMQ_READ); /* only a turn: nothing is read on its strength */

    if (now < due && due - now > SHMQ_SWEEP_NS - interval && due - now <= SHMQ_SWEEP_NS)
        return false;
    return shmq_cas_acq_rel(sweep_at, due, now + SHMQ_SWEEP_NS, SHMQ_SWEEP);
}

#endif
