/* SPDX-License-Identifier: MIT */
/* Byte locks: who is alive, as the kernel knows it.
 *
 * Byte i of a region's lock file is held by the process in slot i, through an open file description that is its own.
 * A mapping of that description keeps it alive, not a descriptor: so the lock survives close_range and SIGSTOP, goes
 * with exec and with the process, and is not inherited by a forked child [D6]. The kernel frees it; nobody guesses.
 *
 * fork duplicates descriptors and, until MADV_DONTFORK, mappings. So opening, locking and mapping happen under a
 * mutex that fork waits for, and the descriptors that probe other processes' bytes are recorded, for the child to
 * close [M4]. A process that cannot watch its forks opens no region. _Fork and vfork run no handlers: a child of theirs
 * may keep its dead parent's lock while it lives, which makes recovery late and never wrong.
 */
#ifndef SHMQ_LOCK_H
#define SHMQ_LOCK_H

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

#define SHMQ_LOCK_WATCHING UINT64_MAX

struct shmq_lock_guard {
    pthread_mutex_t mutex;
    struct shmq_lock_probe *probes; /* open now */
    void (*in_child[SHMQ_LOCK_HEIRS])(void); /* or NULL; set inside the guard */
    uint64_t watching;      /* forks: SHMQ_LOCK_WATCHING; 0: not yet; the pid of whose thread is about to */
};

/* One for each unit that includes this header: each registers its own fork handlers. */
static inline struct shmq_lock_guard *shmq_lock_guard(void)
{
    static struct shmq_lock_guard guard = { PTHREAD_MUTEX_INITIALIZER, NULL, { NULL }, 0 };

    return &guard;
}

static inline void shmq_lock_before_fork(void) { pthread_mutex_lock(&shmq_lock_guard()->mutex); }
static inline void shmq_lock_in_parent(void) { pthread_mutex_unlock(&shmq_lock_guard()->mutex); }

/* The parent's probes are none of the child's: an inherited descriptor would keep a lock that the parent dies with. */
static inline void shmq_lock_in_child(void)
{
    struct shmq_lock_guard *guard = shmq_lock_guard();

    for (struct shmq_lock_probe *probe = guard->probes; probe; probe = probe->next)
        shmq_os_close(probe->fd);
    guard->probes = NULL;
    for (int heir = 0; heir < SHMQ_LOCK_HEIRS; heir++)
        if (guard->in_child[heir])
            guard->in_child[heir]();
    shmq_private_store(&guard->watching, SHMQ_LOCK_WATCHING); /* also where the parent was only about to say so */
    pthread_mutex_unlock(&guard->mutex);
}

/* Watch forks from now on; before anything is opened. 0, or -ENOMEM: nothing must be opened, and the next to come tries
 * again. All in one registration, so that there is no half of it; and without the guard, for which a fork that holds
 * the C library's table may wait. */
static inline int shmq_lock_watch_forks(void)
{
    struct shmq_lock_guard *guard = shmq_lock_guard();
    uint64_t seen, pid = shmq_os_pid();
    int result = 0;

    while (result == 0 && (seen = shmq_private_load(&guard->watching)) != SHMQ_LOCK_WATCHING) {
        if (shmq_private_cas(&guard->watching, seen == pid ? 0 : seen, pid)) { /* also a parent's thread's turn */
            result = shmq_os_at_fork(shmq_lock_before_fork, shmq_lock_in_parent, shmq_lock_in_child);
            shmq_private_store(&guard->watching, result ? 0 : SHMQ_LOCK_WATCHING);
        } else {
            shmq_os_yield(NULL); /* another thread is at it */
        }
    }
    return result;
}

/* No fork until shmq_lock_guard_leave. Short: blocks other threads that open, probe or fork. */
static inline void shmq_lock_guard_enter(void) { pthread_mutex_lock(&shmq_lock_guard()->mutex); }
static inline void shmq_lock_guard_leave(void) { pthread_mutex_unlock(&shmq_lock_guard()->mutex); }

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
