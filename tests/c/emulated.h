/* SPDX-License-Identifier: MIT */
/* What qemu-user does not do for the programs that it runs, each found out by a few system calls: its madvise reports
 * success and does nothing (seen with 7.2). shmq itself needs these of a kernel, so elsewhere nothing is left out.
 */
#ifndef EMULATED_H
#define EMULATED_H

#ifndef _GNU_SOURCE
#define _GNU_SOURCE
#endif

#include <sys/mman.h>
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

static const struct check_need emulated_dontfork __attribute__((unused))
    = { "keep MADV_DONTFORK mappings from a forked child", emulated_keeps_from_children };
static const struct check_need emulated_populate __attribute__((unused))
    = { "fault pages in on MADV_POPULATE_WRITE", emulated_prefaults };

#endif
