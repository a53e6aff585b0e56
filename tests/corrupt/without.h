/* SPDX-License-Identifier: MIT */
/* Include first, with headers that without.sed has changed: the core without the check that $SHMQ_WITHOUT names. */
#ifndef CORRUPT_WITHOUT_H
#define CORRUPT_WITHOUT_H

#define _GNU_SOURCE /* before the first system header */

#include <stdlib.h>
#include <string.h>

static inline int without(const char *name)
{
    const char *left_out = getenv("SHMQ_WITHOUT");

    return left_out && !strcmp(name, left_out);
}

#define WITHOUT(name)                       \
    __extension__({                         \
        static int without_known = -1;      \
                                            \
        if (without_known < 0)              \
            without_known = without(name);  \
        without_known;                      \
    })

#endif
