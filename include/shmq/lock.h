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
 * another pid namespace): before it first enters the guard, it does what they would have done. Until then it may keep
 * its parent's lock, which makes recovery late and never wrong. A child of vfork, which runs in its parent's memory,
 * must not come here.
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

#define SHMQ_LOCK_STARTING (1ull << 63)

struct shmq_lock_guard {
    pthread_mutex_t mutex;
    struct shmq_lock_probe *probes; /* open now */
    void (*in_child[SHMQ_LOCK_HEIRS])(void); /* or NULL; set inside the guard */
    uint64_t owner;         /* the process whose guard this is; | STARTING: a thread of it makes it so; 0: nobody's yet */
    uint64_t watching;      /* the process that has its forks watched; 0: none */
};

/* One for each unit that includes this header: each registers its own fork handlers. */
static inline struct shmq_lock_guard *shmq_lock_guard(void)
{
    static struct shmq_lock_guard guard = { PTHREAD_MUTEX_INITIALIZER, NULL, { NULL }, 0, 0 };

    return &guard;
}

/* How often this thread's fork has called the first handler: as often as they are registered. */
static inline unsigned *shmq_lock_forks(void)
{
    static __thread unsigned forks;

    return &forks;
}

/* What a child does with its parent's guard. The parent's probes are none of the child's: an inherited descriptor would
 * keep a lock that the parent dies with. */
static inline void shmq_lock_inherit(struct shmq_lock_guard *guard)
{
    for (struct shmq_lock_probe *probe = guard->probes; probe; probe = probe->next)
        shmq_os_close(probe->fd);
    guard->probes = NULL;
    for (int heir = 0; heir < SHMQ_LOCK_HEIRS; heir++)
        if (guard->in_child[heir])
            guard->in_child[heir]();
}

/* No fork until shmq_lock_guard_leave. Short: blocks other threads that open, probe or fork. */
static inline void shmq_lock_guard_enter(void)
{
    struct shmq_lock_guard *guard = shmq_lock_guard();
    uint64_t owner, pid = shmq_os_pid();

    while ((owner = shmq_private_load(&guard->owner)) != pid) {
        uint64_t starting = pid | SHMQ_LOCK_STARTING;

        if (!shmq_private_cas(&guard->owner, owner == starting ? 0 : owner, starting)) {
            shmq_os_yield(NULL); /* another thread is at it */
            continue;
        }
        if (owner) { /* no handler ran; and who held the mutex is not here */
            pthread_mutex_init(&guard->mutex, NULL);
            shmq_lock_inherit(guard);
        }
        shmq_private_store(&guard->owner, pid);
    }
    pthread_mutex_lock(&guard->mutex);
}

static inline void shmq_lock_guard_leave(void) { pthread_mutex_unlock(&shmq_lock_guard()->mutex); }

/* The handlers may be registered more than once; the first of the calls counts, and the last. */
static inline void shmq_lock_before_fork(void)
{
    if ((*shmq_lock_forks())++ == 0)
        shmq_lock_guard_enter();
}

static inline void shmq_lock_in_parent(void)
{
    if (--*shmq_lock_forks() == 0)
        shmq_lock_guard_leave();
}

static inline void shmq_lock_in_child(void)
{
    struct shmq_lock_guard *guard = shmq_lock_guard();

    if (--*shmq_lock_forks() == 0) {
        shmq_lock_inherit(guard);
        shmq_private_store(&guard->owner, shmq_os_pid());
        shmq_private_store(&guard->watching, shmq_os_pid());
        shmq_lock_guard_leave();
    }
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
