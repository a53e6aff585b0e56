/* SPDX-License-Identifier: MIT */
/* What qemu-user does not do for the programs that it runs, each found out by a few system calls: its madvise reports
 * success and does nothing (seen with 7.2), it writes some files of /proc itself, ignores limits on address space, and
 * keeps a SIGBUS that is blocked where sigpending does not look. shmq itself needs all but the last of a kernel, so
 * elsewhere nothing is left out.
 */
#ifndef EMULATED_H
#define EMULATED_H

#ifndef _GNU_SOURCE
#define _GNU_SOURCE
#endif

#include <fcntl.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/wait.h>

#include "check.h"

#define EMULATED_BYTES 4096u

static inline void *emulated_page(void)
{
    void *page = mmap(NULL, EMULATED_BYTES, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);

    CHECK(page != MAP_FAILED);
    return page;
}

/* Does a forked child lack the page? */
static inline bool emulated_keeps_from_children(void)
{
    void *page = emulated_page();
    unsigned char there;
    pid_t child;
    int status;

    CHECK_EQUAL(madvise(page, EMULATED_BYTES, MADV_DONTFORK), 0);
    fflush(NULL);
    child = fork();
    if (child == 0)
        _exit(mincore(page, EMULATED_BYTES, &there) == 0);
    CHECK_EQUAL(waitpid(child, &status, 0), child);
    CHECK(WIFEXITED(status));
    munmap(page, EMULATED_BYTES);
    return WEXITSTATUS(status) == 0;
}

/* Is a page there that nobody has touched? */
static inline bool emulated_prefaults(void)
{
    void *page = emulated_page();
    unsigned char there = 0;

#ifdef MADV_POPULATE_WRITE
    (void)madvise(page, EMULATED_BYTES, MADV_POPULATE_WRITE);
#endif
    CHECK_EQUAL(mincore(page, EMULATED_BYTES, &there), 0);
    munmap(page, EMULATED_BYTES);
    return there & 1;
}

/* Is /proc/self/stat the kernel's file? */
static inline bool emulated_opens_stat(void)
{
    char path[64], target[64];
    int fd = open("/proc/self/stat", O_RDONLY | O_CLOEXEC);
    ssize_t length;

    snprintf(path, sizeof path, "/proc/self/fd/%d", fd);
    length = readlink(path, target, sizeof target);
    close(fd);
    return length > 5 && !strncmp(target + length - 5, "/stat", 5);
}

/* Is a limit on address space what it was set to? */
static inline bool emulated_limits_mappings(void)
{
    struct rlimit before, limit;
    rlim_t wanted;

    CHECK_EQUAL(getrlimit(RLIMIT_AS, &before), 0);
    limit = before;
    limit.rlim_cur = wanted = (before.rlim_cur == RLIM_INFINITY ? (rlim_t)1 << 60 : before.rlim_cur) - EMULATED_BYTES;
    CHECK_EQUAL(setrlimit(RLIMIT_AS, &limit), 0);
    CHECK_EQUAL(getrlimit(RLIMIT_AS, &limit), 0);
    CHECK_EQUAL(setrlimit(RLIMIT_AS, &before), 0);
    return limit.rlim_cur == wanted;
}

/* Is a SIGBUS pending that was sent and is blocked? */
static inline bool emulated_has_pending_faults(void)
{
    sigset_t set, before;
    struct sigaction ignore, old;
    bool pending;

    memset(&ignore, 0, sizeof ignore);
    sigemptyset(&set);
    sigaddset(&set, SIGBUS);
    CHECK_EQUAL(sigprocmask(SIG_BLOCK, &set, &before), 0);
    CHECK_EQUAL(raise(SIGBUS), 0);
    CHECK_EQUAL(sigpending(&set), 0);
    pending = sigismember(&set, SIGBUS) == 1;
    ignore.sa_handler = SIG_IGN; /* takes it away */
    CHECK_EQUAL(sigaction(SIGBUS, &ignore, &old), 0);
    CHECK_EQUAL(sigprocmask(SIG_SETMASK, &before, NULL), 0);
    CHECK_EQUAL(sigaction(SIGBUS, &old, NULL), 0);
    return pending;
}

static const struct check_need emulated_dontfork __attribute__((unused))
    = { "keep MADV_DONTFORK mappings from a forked child", emulated_keeps_from_children };
static const struct check_need emulated_populate __attribute__((unused))
    = { "fault pages in on MADV_POPULATE_WRITE", emulated_prefaults };
static const struct check_need emulated_stat __attribute__((unused))
    = { "open /proc/self/stat itself", emulated_opens_stat };
static const struct check_need emulated_kernel __attribute__((unused))
    = { "execute programs and filter calls as a kernel does", emulated_opens_stat }; /* one that opens it is one */
static const struct check_need emulated_address_space __attribute__((unused))
    = { "limit the address space", emulated_limits_mappings };
static const struct check_need emulated_pending __attribute__((unused))
    = { "report a blocked SIGBUS as pending", emulated_has_pending_faults };

#endif
