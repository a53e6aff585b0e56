/* SPDX-License-Identifier: MIT */
/* What an attachment amounts to now, for every handle to look at. */
#ifndef SHMQ_STANDING_H
#define SHMQ_STANDING_H

#include "shmq/shmq.h"

/* What an attachment amounts to now. It lies in memory that a forked child finds zeroed, whoever forked it and however:
 * nothing of its parent's attachment is the child's. A handle keeps the standing of the attachment that it was made
 * under, which never comes true again once it is zero. */
struct shmq_standing {
    int open;               /* handles may be used */
    int attached;           /* the process slot is ours */
    int mapped;             /* the shared memory may be read */
    int unused;             /* 16 bytes: the next free one lies in the same place */
};

struct shmq_attached {
    struct shmq_region region;
    struct shmq_standing *standing;
    int waiting;            /* threads that are inside without the GIL, or that must not see the memory go */
    struct shmq_attached *previous, *next;
};

#endif
