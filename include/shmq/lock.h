/* SPDX-License-Identifier: MIT */
/* Byte locks: who is alive, as the kernel knows it.
 *
 * Byte i of a region's lock file is held by the process in slot i, through an open file description that is its own.
 * A mapping of that description keeps it alive, not a descriptor: so the lock survives close_range and SIGSTOP, goes
 * with exec and with the process, and is not inherited by a forked child [D6]. The kernel frees it; nobody guesses.
 *
 * fork duplicates descriptors and, until MADV_DONTFORK, mappings. So opening, locking and mapping happen under a
 * mutex that fork waits for, and the descriptors that probe other processes' bytes are recorded, for the child to
 * close [M4]. A process that cannot watch its forks opens no region. A child for which the handlers did not run, of
 * _Fork or of a fork that had begun before they were registered, is known by its pid (unless it has its parent's, in
 * another pid namespace): before it first enters the guard, it does what they would have done. What a thread of its
 * parent was just opening it keeps, a lock perhaps, which makes recovery late and never wrong. A child of vfork, which
 * runs in its parent's memory, must not come here.
 */
#ifndef SHMQ_LOCK_H
#define SHMQ_LOCK_H

#include <signal.h>

#include "os.h"

/* Held by who makes, or removes, a region that has no name yet. Apart from the process slots' bytes, so that a
 * remover that comes late, when the region has its name, is never taken for an attached process. */
#define SHMQ_LOCK_MAKING 65536u

SHMQ_STATIC_ASSERT(SHMQ_LOCK_MAKING >= SHMQ_MAX_PROCESSES, "a byte of no process slot");

/* An open file description through which other processes' bytes are being locked, in the caller's stack. */
struct shmq_lock_probe {
    int fd;
    struct shmq_lock_probe *next;
};

/* What others have a forked child do, before it goes on. */
enum shmq_lock_heir { SHMQ_LOCK_HEIR_GUARD, SHMQ_LOCK_HEIR_ESTATES, SHMQ_LOCK_HEIR_PROGRAM, SHMQ_LOCK_HEIRS };

#define SHMQ_LOCK_STARTING (1ull << 63)

struct shmq_lock_guard {
    pthread_mutex_t mutex;
    struct shmq_lock_probe *probes; /* open now */
    void (*in_child[SHMQ_LOCK_HEIRS])(void); /* or NULL; set inside the guard */
    uint64_t owner;         /* the process whose guard this is; | STARTING: a thread makes it so; 0: nobody's yet */
    uint64_t watching;      /* the process that has its forks watched; 0: none */
    bool forking;           /* a thread is about to fork, and holds the mutex */
};

/* One for each unit that includes this header: each registers its own fork handlers. */
static inline struct shmq_lock_guard *shmq_lock_guard(void)
{
    static struct shmq_lock_guard guard = { PTHREAD_MUTEX_INITIALIZER, NULL, { NULL }, 0, 0, false };

    return &guard;
}

/* How often this thread's forks, one or nested, have called the first handler. It may be registered twice. */
static inline unsigned *shmq_lock_forks(void)
{
    static __thread unsigned forks;

    return &forks;
}

/* What a child does with its parent's guard, the mutex of which may be held by who is not here. The parent's probes are
 * none of the child's: an inherited descriptor would keep a lock that the parent dies with. */
static inline void shmq_lock_start_over(struct shmq_lock_guard *guard)
{
    pthread_mutex_init(&guard->mutex, NULL);
    guard->forking = false;
    for (struct shmq_lock_probe *probe = guard->probes; probe; probe = probe->next)
        shmq_os_close(probe->fd);
    guard->probes = NULL;
    for (int heir = 0; heir < SHMQ_LOCK_HEIRS; heir++)
        if (guard->in_child[heir])
            guard->in_child[heir]();
}

/* Make the guard this process's: it is nobody's yet, or a parent's. False: another thread is at it. No handler of a
 * signal may fork meanwhile. */
static inline bool shmq_lock_take_over(struct shmq_lock_guard *guard, uint64_t owner, uint64_t pid)
{
    uint64_t starting = pid | SHMQ_LOCK_STARTING;
    sigset_t all, before;
    bool mine;

    sigfillset(&all);
    (void)pthread_sigmask(SIG_BLOCK, &all, &before);
    mine = shmq_private_cas(&guard->owner, owner == starting ? 0 : owner, starting);
    if (mine && owner)
        shmq_lock_start_over(guard);
    if (mine)
        shmq_private_store(&guard->owner, pid);
    (void)pthread_sigmask(SIG_SETMASK, &before, NULL);
    return mine;
}

/* No fork until shmq_lock_guard_leave. Short: blocks other threads that open, probe or fork. */
static inline void shmq_lock_guard_enter(void)
{
    struct shmq_lock_guard *guard = shmq_lock_guard();

    for (;;) {
        uint64_t owner = shmq_private_load(&guard->owner);
        uint64_t pid = shmq_os_pid(); /* after it: a handler of a signal may fork in between, and return in the child */

        if (owner == pid)
            break;
        if (!shmq_lock_take_over(guard, owner, pid))
            shmq_os_yield(NULL);
    }
    pthread_mutex_lock(&guard->mutex);
}

static inline void shmq_lock_guard_leave(void) { pthread_mutex_unlock(&shmq_lock_guard()->mutex); }

static inline void shmq_lock_before_fork(void)
{
    if ((*shmq_lock_forks())++)
        return;
    shmq_lock_guard_enter();
    shmq_lock_guard()->forking = true;
}

/* Some C libraries call this, of handlers that are registered in the middle of a fork, without the first. */
static inline void shmq_lock_in_parent(void)
{
    if (*shmq_lock_forks() && --*shmq_lock_forks() == 0) {
        shmq_lock_guard()->forking = false;
        shmq_lock_guard_leave();
    }
}

/* A handler that ran before this one may have been in the guard, and so have started over. */
static inline void shmq_lock_in_child(void)
{
    struct shmq_lock_guard *guard = shmq_lock_guard();
    uint64_t pid = shmq_os_pid();

    *shmq_lock_forks() = 0;
    if (guard->forking || shmq_private_load(&guard->owner) != pid) {
        shmq_lock_start_over(guard);
        shmq_private_store(&guard->owner, pid);
    }
    shmq_private_store(&guard->watching, pid);
}

/* Watch forks from now on; before anything is opened. 0, or -ENOMEM: nothing must be opened, and the next to come tries
 * again. All in one registration, so that there is no half of it, and outside the guard, for which a fork that holds
 * the C library's table may wait; threads that come at once may each register. */
static inline int shmq_lock_watch_forks(void)
{
    struct shmq_lock_guard *guard = shmq_lock_guard();
    uint64_t pid = shmq_os_pid();
    int result = 0;

    if (shmq_private_load(&guard->watching) != pid) {
        result = shmq_os_at_fork(shmq_lock_before_fork, shmq_lock_in_parent, shmq_lock_in_child);
        if (result == 0)
            shmq_private_store(&guard->watching, pid);
    }
    return result;
}

/* Let a mapping hold what the description `fd` has locked; the caller closes `fd` before it leaves the guard.
 * Returns 0 or -errno. */
static inline int shmq_lock_keep(int fd, void **page)
{
    int result = shmq_os_map(fd, SHMQ_PAGE, PROT_READ, page);

    if (result == 0) {
        result = shmq_os_keep_from_children(*page, SHMQ_PAGE);
        if (result) {
            shmq_os_unmap(*page, SHMQ_PAGE);
            *page = NULL;
        }
    }
    return result;
}

/* Free the bytes that the mapping holds. */
static inline void shmq_lock_drop(void **page)
{
    if (*page)
        shmq_os_unmap(*page, SHMQ_PAGE);
    *page = NULL;
}

/* Record a descriptor that will lock bytes for a moment. Inside the guard in which it was opened. */
static inline void shmq_lock_probe_begin(struct shmq_lock_probe *probe, int fd)
{
    struct shmq_lock_guard *guard = shmq_lock_guard();

    probe->fd = fd;
    probe->next = guard->probes;
    guard->probes = probe;
}

/* Close it. Outside the guard; every byte has been unlocked by name, which frees it whatever a child still holds. */
static inline void shmq_lock_probe_end(struct shmq_lock_probe *probe)
{
    struct shmq_lock_probe **at;

    shmq_lock_guard_enter();
    for (at = &shmq_lock_guard()->probes; *at && *at != probe; at = &(*at)->next)
        ;
    if (*at) { /* else this is a child that was forked in the middle of it: its handler has closed the descriptor */
        *at = probe->next;
        shmq_os_close(probe->fd);
    }
    shmq_lock_guard_leave();
}

#endif
