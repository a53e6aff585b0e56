/* SPDX-License-Identifier: MIT */
/* Does a worker get on? Judged by its own time, so that one which has no processor is not said to hang:
 *
 *   awake        the processor's time that it has used: an endless loop uses it up, whoever else works.
 *   asleep       the clock's, where two looks in a row saw it asleep, and nobody is starved: it may wait for somebody.
 *   all else     nothing: it waits for a processor, or for a disk.
 *
 * A worker is starved that wanted a processor at two looks in a row, and had next to nothing of it in between. Where
 * the controller itself comes late to look, everybody may be.
 */
#ifndef SOAK_PROGRESS_H
#define SOAK_PROGRESS_H

#include <stdbool.h>
#include <stdint.h>

#define PROGRESS_SHARE 32u              /* next to nothing: less than one in so many */
#define PROGRESS_LATE_NS 200000000ull   /* a look that comes so long after the last */

/* What a look at a process sees. */
struct sight {
    char state;                         /* as /proc/PID/stat tells: R wants or has a processor, S sleeps; 0: none yet */
    uint64_t processor_ns;              /* used so far */
};

struct progress {
    uint64_t beat, since_ns;            /* seen last, and since when, on the clock */
    uint64_t own_ns;                    /* and since then of its own time */
    struct sight last;
};

/* It has got on, or has a reason not to. */
static inline void progress_begin(struct progress *progress, uint64_t beat, uint64_t now)
{
    *progress = (struct progress) { beat, now, 0, { 0, 0 } };
}

/* Has it been starved since the last look, `elapsed` ago? */
static inline bool progress_is_starved(const struct progress *progress, struct sight sight, uint64_t elapsed)
{
    return progress->last.state == 'R' && sight.state == 'R'
        && (sight.processor_ns - progress->last.processor_ns) * PROGRESS_SHARE < elapsed;
}

/* It has not got on since the last look. `starved`: somebody was. */
static inline void progress_stand(struct progress *progress, struct sight sight, uint64_t elapsed, bool starved)
{
    bool asleep = progress->last.state == 'S' && sight.state == 'S';

    if (progress->last.state)
        progress->own_ns += asleep && !starved ? elapsed : sight.processor_ns - progress->last.processor_ns;
    progress->last = sight;
}

#endif
