/* SPDX-License-Identifier: MIT */
/* The regions that this process is attached to: a list, so that an exit leaves them, and the memory of their standings.
 *
 * The exit handlers run when no thread can take the GIL any more. A daemon thread may still be asleep in a wait; so the
 * memory stays mapped. The interpreter's runs at the end of its own end, also where Ctrl-C then ends the process by its
 * signal; C's runs where a program exits without the interpreter. All here is the GIL's, but for the list, which a fork
 * must find whole. */
#ifndef SHMQ_ATTACHED_H
#define SHMQ_ATTACHED_H

#include <Python.h>

#include "standing.h"

#include <stdlib.h>

static struct shmq_attached *shmq_attached_first; /* of all */

/* ---- standings ------------------------------------------------------------------------------------------- */

union shmq_standing_place {
    struct shmq_standing standing;
    union shmq_standing_place *next; /* while it is free; zeroed in a child, which so loses sight of the rest */
};

static union shmq_standing_place *shmq_standing_free;

/* Zeroed. NULL where there is no memory. */
static struct shmq_standing *shmq_standing_new(void)
{
    union shmq_standing_place *place = shmq_standing_free;

    if (!place) {
        void *page;

        if (shmq_os_wiped_page(&page))
            return NULL;
        place = (union shmq_standing_place *)page;
        for (size_t i = 1; i < SHMQ_PAGE / sizeof *place; i++) {
            place[i].next = shmq_standing_free;
            shmq_standing_free = &place[i];
        }
    } else {
        shmq_standing_free = place->next;
    }
    memset(place, 0, sizeof *place);
    return &place->standing;
}

static void shmq_standing_give_back(struct shmq_standing *standing)
{
    union shmq_standing_place *place = (union shmq_standing_place *)standing;

    memset(place, 0, sizeof *place);
    place->next = shmq_standing_free;
    shmq_standing_free = place;
}

/* ---- the list -------------------------------------------------------------------------------------------- */

static void shmq_attached_leave(struct shmq_attached *one)
{
    if (one->standing->attached)
        shmq_region_detach(&one->region);
    one->standing->attached = 0;
}

static void shmq_attached_leave_all(void)
{
    if (shmq_attached_first)
        (void)shmq_guard_install(); /* an interpreter that ends gives signals back that it took before us */
    for (struct shmq_attached *one = shmq_attached_first; one; one = one->next)
        shmq_attached_leave(one);
}

/* Kernels before 4.14 zero nothing for a child. */
static void shmq_attached_in_child(void)
{
    for (struct shmq_attached *one = shmq_attached_first; one; one = one->next)
        memset(one->standing, 0, sizeof *one->standing);
}

/* Memory for a region to be opened; NULL where there is none. */
static struct shmq_attached *shmq_attached_new(void)
{
    static bool leaving;
    struct shmq_attached *one = (struct shmq_attached *)calloc(1, sizeof *one);

    if (!leaving) {
        (void)Py_AtExit(shmq_attached_leave_all); /* it has 32 places only */
        leaving = atexit(shmq_attached_leave_all) == 0;
    }
    if (one && !(one->standing = shmq_standing_new())) {
        free(one);
        one = NULL;
    }
    return one;
}

/* It has been opened. */
static void shmq_attached_add(struct shmq_attached *one)
{
    shmq_lock_guard_enter();
    shmq_lock_guard()->in_child[SHMQ_LOCK_HEIR_PROGRAM] = shmq_attached_in_child;
    one->next = shmq_attached_first;
    if (one->next)
        one->next->previous = one;
    shmq_attached_first = one;
    shmq_lock_guard_leave();
    one->standing->open = one->standing->attached = one->standing->mapped = 1;
}

/* Unmap it. It has been left, or was a parent's. */
static void shmq_attached_unmap(struct shmq_attached *one)
{
    one->standing->mapped = 0;
    shmq_region_forget(&one->region);
}

/* Is it a parent's? */
static bool shmq_attached_inherited(const struct shmq_attached *one)
{
    struct shmq_error error;

    return shmq_region_check_fork(&one->region, &error) != SHMQ_OK;
}

/* It has been unmapped, or never opened. The standing of one that was inherited is not used again, because handles on
 * it may outlive it; and where threads of the parent were inside, this one may have been: it finds its way out. */
static void shmq_attached_free(struct shmq_attached *one)
{
    bool inherited = one->region.pid && shmq_attached_inherited(one);

    shmq_lock_guard_enter();
    if (one->previous)
        one->previous->next = one->next;
    else if (shmq_attached_first == one)
        shmq_attached_first = one->next;
    if (one->next)
        one->next->previous = one->previous;
    shmq_lock_guard_leave();
    if (!inherited)
        shmq_standing_give_back(one->standing);
    if (!one->waiting)
        free(one);
}

#endif
