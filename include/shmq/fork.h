/* SPDX-License-Identifier: MIT */
/* What a forked child has of its parent's regions: copies of its own, and no part in them.
 *
 * A child inherits mappings, but not who its parent is. So before any code of the child runs, both segments of every
 * region are mapped over themselves, privately: views that the child inherited stay readable, writing to them touches
 * the child's own pages, and an operation that some thread of the parent was in the middle of can do no harm here.
 * Pages that the child has not written are the file's: they may change as the parent goes on [M6].
 *
 * A descriptor is used only while it denotes the segment. Where it does not, because the program closed it, the child
 * reads zeros: it is never left with the shared mapping [M5]. A child for which no handler ran (lock.h) has the shared
 * mappings until it first uses a handle.
 */
#ifndef SHMQ_FORK_H
#define SHMQ_FORK_H

#include "guard.h"
#include "lock.h"

/* A mapping, and how to find its file again. */
struct shmq_heirloom {
    void *address;
    uint64_t bytes;
    uint64_t reserved;      /* of them, that have memory for certain */
    int protection;
    const int *fd;
    const struct shmq_identity *identity;
};

/* What one region leaves to a child, in its memory. */
struct shmq_estate {
    struct shmq_heirloom heirloom[2]; /* both segments */
    struct shmq_estate *previous, *next;
    bool listed;
    bool inherited;         /* this process is a child of the one that mapped them */
};

/* Of all regions that are mapped. One for each unit that includes this header. Changed inside the lock guard, so that
 * a fork finds it whole. */
static inline struct shmq_estate **shmq_fork_estates(void)
{
    static struct shmq_estate *first;

    return &first;
}

/* Put a private mapping of the file, or with fd -1 of zeros, in the place of the shared one. Where there is no memory
 * to be had for writing to it, it can be read. */
static inline bool shmq_fork_cover(const struct shmq_heirloom *heirloom, int fd)
{
    return shmq_os_copy_over(heirloom->address, heirloom->bytes, heirloom->protection, fd) == 0
        || shmq_os_copy_over(heirloom->address, heirloom->bytes, PROT_READ, fd) == 0;
}

static inline void shmq_fork_copy(const struct shmq_heirloom *heirloom)
{
    bool found = shmq_os_is(*heirloom->fd, heirloom->identity) && shmq_fork_cover(heirloom, *heirloom->fd);

    if (!found && !shmq_fork_cover(heirloom, -1))
        shmq_os_unmap(heirloom->address, heirloom->bytes);
    shmq_os_spare_holes(heirloom->address, heirloom->reserved, heirloom->bytes);
    shmq_guard_renewed(heirloom->address);
}

/* Leave a child nothing but copies. Repeatable. */
static inline void shmq_fork_disown(struct shmq_estate *estate)
{
    for (int i = 0; i < 2 && !estate->inherited; i++)
        shmq_fork_copy(&estate->heirloom[i]);
    estate->inherited = true;
}

static inline void shmq_fork_in_child(void)
{
    for (struct shmq_estate *estate = *shmq_fork_estates(); estate; estate = estate->next)
        shmq_fork_disown(estate);
}

/* Before this process opens, lists or unlinks anything: SHMQ_OK, or SYSTEM with *error. */
static inline int shmq_fork_prepare(struct shmq_error *error)
{
    int result = shmq_lock_watch_forks();

    return result ? shmq_error_set_os(error, "pthread_atfork", result) : SHMQ_OK;
}

/* The segments have been mapped. */
static inline void shmq_fork_watch(struct shmq_estate *estate)
{
    struct shmq_estate **first = shmq_fork_estates();

    shmq_lock_guard_enter();
    shmq_lock_guard()->in_child[SHMQ_LOCK_HEIR_ESTATES] = shmq_fork_in_child;
    estate->listed = true;
    estate->inherited = false;
    estate->previous = NULL;
    estate->next = *first;
    if (*first)
        (*first)->previous = estate;
    *first = estate;
    shmq_lock_guard_leave();
}

/* They are going to be unmapped. */
static inline void shmq_fork_unwatch(struct shmq_estate *estate)
{
    if (!estate->listed)
        return;
    shmq_lock_guard_enter();
    estate->listed = false;
    if (estate->previous)
        estate->previous->next = estate->next;
    else
        *shmq_fork_estates() = estate->next;
    if (estate->next)
        estate->next->previous = estate->previous;
    shmq_lock_guard_leave();
}

#endif
