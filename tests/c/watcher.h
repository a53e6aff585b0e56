/* SPDX-License-Identifier: MIT */
/* Whatever becomes of a test, nothing is left of its directory under /dev/shm.
 *
 * The test goes on in a child. Its parent, the watcher, waits for its end, and tells it to end when somebody tells the
 * watcher so; if the watcher dies, the test is told, too. A third process, the heir, waits until a pipe closes that all
 * others have, the programs that the test starts included. Then it removes the directory: so somebody is there to do
 * it whoever is killed, and nobody is left to write to it.
 */
#ifndef WATCHER_H
#define WATCHER_H

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/wait.h>

#include "check.h"

#define WATCHER_FD 200                  /* the pipe's end: not in the way of descriptors of certain numbers */

static const int watcher_told[] = { SIGINT, SIGTERM, SIGHUP };
#define WATCHER_TOLD (sizeof watcher_told / sizeof watcher_told[0])

static pid_t watcher_test;
static int watcher_tells;

/* In a child: it ends by this signal when its parent does, if that has not happened yet. */
static inline void watcher_follow(pid_t parent, int number)
{
    CHECK_EQUAL(prctl(PR_SET_PDEATHSIG, number), 0);
    if (getppid() != parent)
        _exit(1);
}

static inline void watcher_pass_on(int number)
{
    (void)number;
    (void)kill(watcher_test, watcher_tells);
}

/* Who has them ignored, as nohup does, goes on having them ignored. */
static inline void watcher_listen(void)
{
    for (size_t i = 0; i < WATCHER_TOLD; i++)
        if (signal(watcher_told[i], watcher_pass_on) == SIG_IGN)
            (void)signal(watcher_told[i], SIG_IGN);
}

/* A terminal tells all of its processes. */
static inline void watcher_be_deaf(void)
{
    for (size_t i = 0; i < WATCHER_TOLD; i++)
        (void)signal(watcher_told[i], SIG_IGN);
}

__attribute__((noreturn)) static inline void watcher_inherit(const char *directory, int pipe_end)
{
    struct stat status;
    char byte;

    watcher_be_deaf();
    (void)setsid();
    while (read(pipe_end, &byte, 1) < 0 && errno == EINTR)
        continue;
    if (lstat(directory, &status) == 0)
        (void)execlp("rm", "rm", "-rf", "--", directory, (char *)NULL);
    _exit(lstat(directory, &status) == 0);
}

static inline void watcher_start_heir(const char *directory)
{
    int ends[2];
    pid_t heir;

    CHECK_EQUAL(pipe(ends), 0);
    fflush(NULL);
    heir = fork();
    CHECK(heir >= 0);
    if (heir == 0) {
        close(ends[1]);
        watcher_inherit(directory, ends[0]);
    }
    CHECK_EQUAL(fcntl(ends[1], F_DUPFD, WATCHER_FD), WATCHER_FD);
    close(ends[0]);
    close(ends[1]);
}

/* Nothing is to be left by a test that ended well, but perhaps the empty directory. */
static inline int watcher_judge(const char *directory, const char *doing, int status)
{
    if (status != 0 && (doing || WIFSIGNALED(status)))
        fprintf(stderr, "it ended with status %#x%s%s\n", status, doing ? " in " : "", doing ? doing : "");
    if (status == 0 && rmdir(directory) != 0 && errno != ENOENT) {
        perror(directory);
        return 1;
    }
    return status != 0;
}

/* Returns in the test, a child. `tells`: the signal that ends it. `doing`: shared memory where the test writes what it
 * is about, to be said if it fails; or NULL. Children that it loses become the watcher's, which waits for their end. */
static inline void watcher_begin(const char *directory, int tells, const char *doing)
{
    pid_t watcher = getpid();
    int status, other, result;

    CHECK_EQUAL(prctl(PR_SET_CHILD_SUBREAPER, 1), 0);
    watcher_start_heir(directory);
    watcher_tells = tells;
    watcher_test = fork();
    CHECK(watcher_test >= 0);
    if (watcher_test == 0) {
        watcher_be_deaf();
        (void)signal(SIGTERM, SIG_DFL);
        watcher_follow(watcher, tells);
        return;
    }
    watcher_listen();
    CHECK_EQUAL(waitpid(watcher_test, &status, 0), watcher_test);
    watcher_be_deaf();
    result = watcher_judge(directory, doing, status);
    close(WATCHER_FD);
    while (waitpid(-1, &other, 0) > 0)
        continue;
    _exit(result);
}

#endif
