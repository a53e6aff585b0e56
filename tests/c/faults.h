/* SPDX-License-Identifier: MIT */
/* System calls that fail: which may, with what, and at which of an operation's calls one does.
 *
 * A trace lists the calls of an operation that goes well. Then each of them is refused in turn, with each errno that
 * its man page names and that a healthy caller may meet: once, or from there on at every call of that name.
 */
#ifndef FAULTS_H
#define FAULTS_H

#ifndef _GNU_SOURCE
#define _GNU_SOURCE
#endif

#include <stdint.h>
#include <time.h>

static int faults_point(const char *name);

#define SHMQ_OS_HOOK(call) faults_point(#call)

#define FAULTS_READING_NS 1000u     /* between two readings of the clock … */
#define FAULTS_PAUSE_NS 60000u      /* … and in a pause: more than a maker's look takes */

/* Time that passes with what is done only, so that who looks for some time makes as many calls in each run. */
static uint64_t faults_now = 1000000000;

static inline int faults_clock(struct timespec *time)
{
    faults_now += FAULTS_READING_NS;
    time->tv_sec = (time_t)(faults_now / 1000000000);
    time->tv_nsec = (long)(faults_now % 1000000000);
    return 0;
}

#define clock_gettime(which, time) faults_clock(time)

#include "region_world.h"

#define FAULTS_ERRNOS 21
#define FAULTS_TRACE 4096

/* A call, by its name in os.h, and the errnos that it is made to fail with, up to the first 0. */
struct faults_call {
    const char *name;
    int errnos[FAULTS_ERRNOS];
    bool for_root;          /* only root can arrange that it is made */
    uint64_t failed;        /* how often it has been */
};

static struct faults_call faults_calls[] = {
    { "openat", { EACCES, EPERM, EMFILE, ENFILE, ENOMEM, ENOSPC, EDQUOT, ENOENT, ELOOP, ENOTDIR, ENXIO, ENODEV, EBUSY,
        EROFS, EINTR, EIO, EOVERFLOW, EOPNOTSUPP, ENAMETOOLONG, ESTALE }, false, 0 },
    { "close", { EINTR, EIO, ENOSPC, EDQUOT }, false, 0 },
    { "mkdirat", { EACCES, EPERM, EDQUOT, ENOSPC, EMLINK, ENOENT, ENOMEM, ELOOP, ENOTDIR, EROFS, EEXIST, EIO },
        false, 0 },
    { "unlinkat", { EACCES, EPERM, EBUSY, EIO, EISDIR, ENOENT, ENOMEM, ENOTDIR, ENOTEMPTY, EROFS }, false, 0 },
    { "renameat2", { EACCES, EPERM, EBUSY, EDQUOT, ENOSPC, EEXIST, EINVAL, ENOENT, ENOMEM, ENOTDIR, EROFS, EIO },
        false, 0 },
    { "linkat", { EACCES, EPERM, EDQUOT, ENOSPC, EEXIST, EMLINK, ENOENT, ENOMEM, ELOOP, EROFS, EXDEV, EIO }, false, 0 },
    { "fstat", { EACCES, ENOMEM, EOVERFLOW, EIO, EINTR }, false, 0 },
    { "identify", { EACCES, ENOMEM, EOVERFLOW, EIO, EINTR }, false, 0 },
    { "is", { EACCES, ENOMEM, EOVERFLOW, EIO, EINTR }, false, 0 },
    { "fstatat", { EACCES, ENOMEM, ELOOP, ENOENT, ENOTDIR, EOVERFLOW, EIO, EINTR }, false, 0 },
    { "fchmod", { EACCES, EPERM, EROFS, ENOMEM, ENOENT, EIO }, false, 0 },
    { "fchown", { EACCES, EPERM, EROFS, ENOMEM, ENOENT, EDQUOT, EIO }, false, 0 },
    { "ftruncate", { EPERM, EROFS, EFBIG, EINTR, EINVAL, EIO, ENOSPC, ENOMEM }, false, 0 },
    { "fallocate", { EPERM, EFBIG, EINTR, EINVAL, EIO, ENODEV, ENOSPC, EDQUOT, ENOMEM, ENOSYS, EOPNOTSUPP }, false, 0 },
    { "pread", { EAGAIN, EINTR, EIO, ENOMEM }, false, 0 },
    { "reopen", { EACCES, EPERM, EMFILE, ENFILE, ENOMEM, ENOENT, ENXIO, ELOOP, ENOTDIR, EINTR, EIO, EROFS, ESTALE },
        false, 0 },
    { "fdopendir", { ENOMEM }, false, 0 },
    { "readdir", { EINTR, EIO, ENOENT, ENOMEM, EOVERFLOW }, false, 0 },
    { "closedir", { EINTR, EIO }, false, 0 },
    { "read_text", { EACCES, EPERM, EMFILE, ENFILE, ENOENT, ENOMEM, EINTR }, false, 0 },
    { "read", { EAGAIN, EINTR, EIO, ENOMEM, ENODEV }, false, 0 },
    { "memfd_create", { EACCES, EPERM, EMFILE, ENFILE, ENOMEM, EINVAL, ENOSYS }, false, 0 },
    { "seal", { EPERM, EBUSY, EINVAL, ENOMEM }, false, 0 },
    { "seals", { EINVAL, EPERM }, false, 0 },
    { "duplicate", { EMFILE, EPERM }, false, 0 },
    { "access_mode", { EPERM }, false, 0 },
    { "readlink", { EACCES, EIO, ENOENT, ENOMEM, ENOTDIR, ELOOP }, false, 0 },
    { "mmap", { EACCES, EPERM, EAGAIN, EINVAL, ENFILE, ENODEV, ENOMEM, EOVERFLOW }, false, 0 },
    { "copy_over", { EACCES, EPERM, EAGAIN, ENODEV, ENOMEM }, false, 0 },
    { "map_over", { EAGAIN, EPERM, ENOMEM }, false, 0 },
    { "munmap", { EINVAL, ENOMEM }, false, 0 },
    { "madvise", { EAGAIN, EINVAL, ENOMEM }, false, 0 },
    { "wipe_on_fork", { EINVAL, ENOMEM }, false, 0 },
    { "spare_holes", { EINVAL, ENOMEM }, false, 0 },
    { "prefault", { EAGAIN, EFAULT, EHWPOISON, EINTR, EINVAL, ENOMEM }, false, 0 },
    { "lock", { EACCES, EAGAIN, EINTR, EINVAL, ENOLCK }, false, 0 },
    { "unlock", { EINTR, ENOLCK }, false, 0 },
    { "locked", { EINTR, EINVAL, ENOLCK, EOVERFLOW }, false, 0 },
    { "nanosleep", { EINTR, EINVAL }, false, 0 },
    { "getrandom", { EAGAIN, EINTR, ENOSYS, EPERM }, false, 0 },
    { "futex_wait", { EAGAIN, EINTR, ETIMEDOUT, EINVAL, EFAULT, ENOSYS, EPERM }, false, 0 },
    { "futex_wake", { EINVAL, EFAULT, ENOSYS, EPERM }, false, 0 },
    { "sched_yield", { ENOSYS, EPERM }, false, 0 },
    { "fstatvfs", { EACCES, EINTR, EIO, ENOMEM, ENOSYS, EOVERFLOW }, false, 0 },
    { "fstatfs", { EACCES, EINTR, EIO, ENOMEM, ENOSYS, EOVERFLOW }, false, 0 },
    { "prlimit", { EPERM, ENOSYS }, false, 0 },
    { "getgroups", { EPERM }, true, 0 },
    { "malloc", { ENOMEM }, true, 0 },
    { "stat", { EACCES, ELOOP, ENOENT, ENOMEM, ENOTDIR }, false, 0 },
    { "sigaction", { EINVAL, EPERM }, false, 0 },
    { "atfork", { ENOMEM }, false, 0 },
    { "raise", { EAGAIN, EPERM }, false, 0 },
};

#define FAULTS_CALLS (sizeof faults_calls / sizeof faults_calls[0])

static struct faults_call *faults_find(const char *name)
{
    for (size_t i = 0; i < FAULTS_CALLS; i++)
        if (!strcmp(faults_calls[i].name, name))
            return &faults_calls[i];
    fprintf(stderr, "system call %s: not in the table of faults.h\n", name);
    CHECK(false);
    return NULL;
}

enum faults_mode { FAULTS_OFF, FAULTS_TRACING, FAULTS_ONCE, FAULTS_FROM_THERE_ON };

/* Shared with forked children, whose calls count like their parent's. */
struct faults {
    enum faults_mode mode;
    int at;                 /* counted from 1 */
    int refusal;
    int seen;
    bool reached;
    bool lasting;           /* the refusal, that was made last */
    const char *always;     /* a call that fails all the time, at no point of its own, with ENOSYS; or NULL */
    const char *name;       /* of the point that was reached, or asked for */
    const char *trace[FAULTS_TRACE];
    int traced;
};

static struct faults *faults;

static inline void faults_start(void)
{
    faults = (struct faults *)mmap(NULL, sizeof *faults, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    CHECK(faults != MAP_FAILED);
}

static int faults_point(const char *name)
{
    if (!strcmp(name, "nanosleep"))
        faults_now += FAULTS_PAUSE_NS;
    if (!faults || faults->mode == FAULTS_OFF)
        return 0;
    if (faults->always && !strcmp(faults->always, name))
        return ENOSYS;
    faults->seen++;
    if (faults->mode == FAULTS_TRACING) {
        CHECK(faults->traced < FAULTS_TRACE);
        faults->trace[faults->traced++] = faults_find(name)->name;
        return 0;
    }
    if (faults->seen < faults->at || (faults->seen > faults->at && faults->mode == FAULTS_ONCE))
        return 0;
    if (faults->seen == faults->at) {
        faults->reached = true;
        faults->name = faults_find(name)->name;
    }
    return strcmp(faults->name, name) ? 0 : faults->refusal;
}

static inline void faults_trace(const char *always)
{
    faults->traced = faults->seen = 0;
    faults->reached = false;
    faults->always = always;
    faults->mode = FAULTS_TRACING;
}

static inline void faults_refuse(enum faults_mode mode, int at, int refusal)
{
    faults->seen = 0;
    faults->reached = false;
    faults->at = at;
    faults->refusal = refusal;
    faults->lasting = mode == FAULTS_FROM_THERE_ON;
    faults->mode = mode;
}

/* Was the refusal that there is no such file, or was it not told which file it is? Who believes that goes on without
 * it, and does not say so. */
static inline bool faults_denied(void)
{
    return faults->reached && (faults->refusal == ENOENT || faults->refusal == ESTALE || !strcmp(faults->name, "is"));
}

static inline void faults_stop(void) { faults->mode = FAULTS_OFF; }

#endif
