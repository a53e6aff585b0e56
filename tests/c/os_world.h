/* SPDX-License-Identifier: MIT */
/* What the tests of system calls share: a directory, calls that are refused or watched, mounts of one's own. */
#ifndef OS_WORLD_H
#define OS_WORLD_H

#ifndef _GNU_SOURCE
#define _GNU_SOURCE
#endif

#include <errno.h>
#include <sched.h>
#include <sys/mount.h>

#include "emulated.h"

static const char *refused_call, *watched_call; /* or NULL */
static void (*meanwhile)(void); /* just before the watched call, which takes place */

static int refuse(const char *call)
{
    if (watched_call && !strcmp(watched_call, call))
        meanwhile();
    return refused_call && !strcmp(refused_call, call) ? EIO : 0;
}

#define SHMQ_OS_HOOK(call) refuse(#call)

#include "shmq/lock.h"
#include "shmq/space.h"

static char directory[64];
static int dir;

/* Each test has a directory of its own, which it leaves empty. */
static void around(void (*run)(void))
{
    snprintf(directory, sizeof directory, "/dev/shm/shmq-test-%d", (int)getpid());
    CHECK_EQUAL(shmq_os_make_directory(AT_FDCWD, directory), 0);
    dir = shmq_os_openat(AT_FDCWD, directory, O_RDONLY | O_DIRECTORY, 0);
    CHECK(dir >= 0);
    run();
    shmq_os_close(dir);
    CHECK_EQUAL(shmq_os_unlinkat(AT_FDCWD, directory, AT_REMOVEDIR), 0);
}

static inline int make_file(const char *name)
{
    int fd = shmq_os_openat(dir, name, O_RDWR | O_CREAT | O_EXCL, 0600);

    CHECK(fd >= 0);
    return fd;
}

static inline const char *path_of(const char *name)
{
    static char path[128];

    snprintf(path, sizeof path, "%s/%s", directory, name);
    return path;
}

/* Run it as root in a child with mounts of its own; nobody else can. */
static inline void with_mounts_of_its_own(void (*body)(void))
{
    int status;
    pid_t child;

    if (geteuid())
        return;
    fflush(NULL);
    child = fork();
    CHECK(child >= 0);
    if (child == 0) {
        CHECK_EQUAL(unshare(CLONE_NEWNS), 0);
        CHECK_EQUAL(mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL), 0);
        body();
        _exit(0);
    }
    CHECK_EQUAL(waitpid(child, &status, 0), child);
    CHECK_EQUAL(status, 0);
}

static inline void write_text(const char *name, const char *text)
{
    int fd = shmq_os_openat(dir, name, O_RDWR | O_CREAT | O_TRUNC, 0600);

    CHECK(fd >= 0);
    CHECK_EQUAL(write(fd, text, strlen(text)), (ssize_t)strlen(text));
    close(fd);
}

#endif
