/* SPDX-License-Identifier: MIT */
/* The regions that this process is attached to, so that an exit leaves them.
 *
 * The handler is C's, not Python's: it runs when no thread can take the GIL any more. A daemon thread may still be
 * asleep in a wait; so the memory stays mapped. The list is the GIL's before that. */
#ifndef SHMQ_ATTACHED_H
#define SHMQ_ATTACHED_H

#include "shmq/shmq.h"

#include <stdlib.h>

struct shmq_attached {
    struct shmq_region region;
    bool attached;          /* the process slot is ours */
    void *handle;           /* the Attachment that this belongs to */
    struct shmq_attached *previous, *next;
};

static struct shmq_attached *shmq_attached_first; /* of all */

static void shmq_attached_leave(struct shmq_attached *one)
{
    if (one->attached)
        shmq_region_detach(&one->region); /* in a forked child it only forgets the parent's lock */
    one->attached = false;
}

static void shmq_attached_leave_all(void)
{
    if (shmq_attached_first)
        (void)shmq_guard_install(); /* an interpreter that ends gives signals back that it took before us */
    for (struct shmq_attached *one = shmq_attached_first; one; one = one->next)
        shmq_attached_leave(one);
}

/* Memory for a region to be opened; NULL where there is none. */
static struct shmq_attached *shmq_attached_new(void)
{
    static bool watching;

    if (!watching)
        watching = atexit(shmq_attached_leave_all) == 0;
    return (struct shmq_attached *)calloc(1, sizeof(struct shmq_attached));
}

/* It has been opened. */
static void shmq_attached_add(struct shmq_attached *one)
{
    one->attached = true;
    one->next = shmq_attached_first;
    if (one->next)
        one->next->previous = one;
    shmq_attached_first = one;
}

/* It has been unmapped, or never opened. */
static void shmq_attached_free(struct shmq_attached *one)
{
    if (one->previous)
        one->previous->next = one->next;
    else if (shmq_attached_first == one)
        shmq_attached_first = one->next;
    if (one->next)
        one->next->previous = one->previous;
    free(one);
}

#endif
