/* SPDX-License-Identifier: MIT */
/* The guard against SIGBUS: mapped memory that somebody takes away.
 *
 * A file in /dev/shm cannot be sealed. Whoever may write it may cut it, and each access behind its new end is SIGBUS,
 * as is one to a hole where the file system has no page left to fill it. Once shmq_guard_install has been called, a
 * handler puts zeroed memory of this process's own where pages are gone, notes the loss and lets the access go on.
 * Whoever uses the mapping next learns of it (shmq_guard_lost, or the flag given to shmq_guard_tell).
 *
 * What is replaced: all behind the end of the file as it is at that moment, at once, so that a copy over a gigabyte
 * does not fault for each page; of what lies before it, only a page that cannot be had. The rest stays shared: its
 * payloads can still be read, and its words are still true for everybody, so that this process can leave politely.
 * Other processes do not see what is put here. They meet the loss at an access of their own.
 *
 * The table of mappings is private memory and searched without a lock. An entry is changed by who holds it, with all
 * signals blocked, so a handler never waits for its own thread. A forked child inherits table, mappings and handler.
 *
 * Not guarded: threads that block SIGBUS; what a system call is given, which fails with EFAULT; a process whose SIGBUS
 * somebody took after the last shmq_guard_install; one to which the kernel refuses the memory for the zeros.
 */
#ifndef SHMQ_GUARD_H
#define SHMQ_GUARD_H

#include <signal.h>

#include "error.h"
#include "lock.h"

#define SHMQ_GUARD_MAX 2048u        /* mappings in one process: two for each region */
#define SHMQ_GUARD_FULL (-EUSERS)    /* they are watched already: no errno of what is done with files or mappings */
#define SHMQ_GUARD_LEVELS 8u        /* how often others may take the signal in turns with us */
#define SHMQ_GUARD_TRIES 5000u      /* to get an entry, about a second: its holder is in a handler, or is no more */
#define SHMQ_GUARD_QUICK_TRIES 1000u
#define SHMQ_GUARD_PAUSE_NS 200000u
#define SHMQ_GUARD_MASK_BYTES 8u    /* of a signal mask that the kernel knows; the C library's is larger */

/* A mapping. */
struct shmq_guarded {
    uint64_t begin;         /* its first address … */
    uint64_t end;           /* … and the one behind it; 0: nothing is guarded here. A handler searches these two */
    uint64_t busy;          /* 1: a thread holds the entry. It alone writes any word of it, and reads those below */
    uint64_t lost;          /* 1: pages of it are gone; read by all, stays until the mapping goes */
    uint64_t replaced;      /* from this address on all is memory of this process's own */
    volatile int *usable;   /* becomes 0 with the loss; or NULL */
    int protection;
    int fd;                 /* the file: looked at, and only while it is what it was */
    struct shmq_identity identity;
};

/* What SIGBUS meant before a level of ours was installed. Written before that, but for `reset`. */
struct shmq_guard_level {
    struct sigaction previous;
    uint64_t taken;
    uint64_t reset;         /* it was to be called once (SA_RESETHAND), and was */
};

struct shmq_guard {
    uint64_t count;         /* entries ever used */
    uint64_t page;          /* bytes of one, of the system's */
    struct shmq_guarded entry[SHMQ_GUARD_MAX];
    struct shmq_guard_level level[SHMQ_GUARD_LEVELS];
};

/* One for each unit that includes this header. Each has handlers of its own, which chain. */
static inline struct shmq_guard *shmq_guard(void)
{
    static struct shmq_guard guard;

    return &guard;
}

/* ---- the table ------------------------------------------------------------------------------------------- */

/* A handler of another thread may have held an entry when its process forked; in the child there is no such thread. */
static inline void shmq_guard_in_child(void)
{
    struct shmq_guard *guard = shmq_guard();

    for (uint64_t i = 0; i < shmq_private_load(&guard->count); i++)
        shmq_private_store(&guard->entry[i].busy, 0);
}

/* Nobody else changes the table until shmq_lock_guard_leave; no fork. Not for a handler. */
static inline struct shmq_guard *shmq_guard_enter(void)
{
    struct shmq_guard *guard = shmq_guard();

    shmq_lock_guard_enter();
    shmq_lock_guard()->in_child[SHMQ_LOCK_HEIR_GUARD] = shmq_guard_in_child;
    shmq_private_store(&guard->page, (uint64_t)sysconf(_SC_PAGESIZE));
    return guard;
}

/* Hold an entry; false: its holder does not let go. All signals are blocked. */
static inline bool shmq_guard_seize(struct shmq_guarded *entry)
{
    for (uint32_t tries = 0; tries < SHMQ_GUARD_TRIES; tries++) {
        if (shmq_private_cas(&entry->busy, 0, 1))
            return true;
        if (tries < SHMQ_GUARD_QUICK_TRIES)
            shmq_pause();
        else
            shmq_os_pause(SHMQ_GUARD_PAUSE_NS);
    }
    return false;
}

static inline void shmq_guard_let_go(struct shmq_guarded *entry) { shmq_private_store(&entry->busy, 0); }

/* Hold an entry outside a handler: signals are blocked until shmq_guard_end_change. Whoever has had it for a second
 * is no thread of this process. */
static inline void shmq_guard_change(struct shmq_guarded *entry, sigset_t *before)
{
    sigset_t all;

    sigfillset(&all);
    (void)pthread_sigmask(SIG_BLOCK, &all, before);
    (void)shmq_guard_seize(entry);
}

static inline void shmq_guard_end_change(struct shmq_guarded *entry, const sigset_t *before)
{
    shmq_guard_let_go(entry);
    (void)pthread_sigmask(SIG_SETMASK, before, NULL);
}

static inline bool shmq_guard_covers(const struct shmq_guarded *entry, uint64_t address)
{
    return address < shmq_private_load(&entry->end) && address >= shmq_private_load(&entry->begin);
}

/* The entry of the mapping that begins at `address`, or NULL. The caller sees to it that nobody unmaps it meanwhile. */
static inline struct shmq_guarded *shmq_guard_find(const void *address)
{
    struct shmq_guard *guard = shmq_guard();

    for (uint64_t i = 0; i < shmq_private_load(&guard->count); i++) {
        struct shmq_guarded *entry = &guard->entry[i];

        if (shmq_private_load(&entry->end) && shmq_private_load(&entry->begin) == (uint64_t)(uintptr_t)address)
            return entry;
    }
    return NULL;
}

/* ---- map, unmap, ask ------------------------------------------------------------------------------------- */

/* A free entry, or NULL. */
static inline struct shmq_guarded *shmq_guard_free_entry(struct shmq_guard *guard)
{
    for (uint64_t i = 0; i < SHMQ_GUARD_MAX; i++) {
        if (shmq_private_load(&guard->entry[i].end))
            continue;
        if (i == shmq_private_load(&guard->count))
            shmq_private_store(&guard->count, i + 1);
        return &guard->entry[i];
    }
    return NULL;
}

/* Watch a mapping of the file `fd` that has just been made. 0 or SHMQ_GUARD_FULL. */
static inline int shmq_guard_watch(void *address, uint64_t bytes, int protection, int fd)
{
    struct shmq_guard *guard = shmq_guard_enter();
    struct shmq_guarded *entry = shmq_guard_free_entry(guard);
    uint64_t begin = (uint64_t)(uintptr_t)address, end = begin + shmq_round_up(bytes, shmq_private_load(&guard->page));
    sigset_t before;

    if (entry) {
        shmq_guard_change(entry, &before);
        entry->replaced = end;
        entry->usable = NULL;
        entry->protection = protection;
        entry->fd = fd;
        (void)shmq_os_identify(fd, &entry->identity); /* else no file's end is known, and page after page replaced */
        shmq_private_store(&entry->lost, 0);
        shmq_private_store(&entry->begin, begin);
        shmq_private_store(&entry->end, end);
        shmq_guard_end_change(entry, &before);
    }
    shmq_lock_guard_leave();
    return entry ? 0 : SHMQ_GUARD_FULL;
}

/* As shmq_os_map, and watched from the first access on. Also SHMQ_GUARD_FULL. */
static inline int shmq_guard_map(int fd, uint64_t bytes, int protection, void **address)
{
    int result = shmq_os_map(fd, bytes, protection, address);

    if (result == 0) {
        result = shmq_guard_watch(*address, bytes, protection, fd);
        if (result) {
            shmq_os_unmap(*address, bytes);
            *address = NULL;
        }
    }
    return result;
}

/* It was SHMQ_GUARD_FULL. Returns an error code. */
static inline int shmq_guard_refused(struct shmq_error *error)
{
    shmq_error_set(error, SHMQ_ERROR_SYSTEM, "guard", SHMQ_GUARD_MAX, SHMQ_GUARD_MAX);
    error->os_errno = EMFILE;
    return error->code;
}

/* A handler that is at work on the mapping is waited for: it must not map anything where something else lies by now. */
static inline void shmq_guard_unmap(void *address, uint64_t bytes)
{
    struct shmq_guarded *entry;
    sigset_t before;

    (void)shmq_guard_enter();
    entry = shmq_guard_find(address);
    if (entry) {
        shmq_guard_change(entry, &before);
        shmq_private_store(&entry->end, 0);
        shmq_guard_end_change(entry, &before);
    }
    shmq_lock_guard_leave();
    shmq_os_unmap(address, bytes);
}

/* Something else has been put in the place of all of it, in a forked child, where no other thread is. */
static inline void shmq_guard_renewed(const void *address)
{
    struct shmq_guarded *entry = shmq_guard_find(address);

    if (entry)
        entry->replaced = shmq_private_load(&entry->end);
}

/* Have pages of the mapping at `address` been lost? */
static inline bool shmq_guard_lost(const void *address)
{
    const struct shmq_guarded *entry = shmq_guard_find(address);

    return entry && shmq_private_load(&entry->lost);
}

/* Note the loss; by who holds the entry. */
static inline void shmq_guard_note_loss(struct shmq_guarded *entry)
{
    shmq_private_store(&entry->lost, 1);
    if (entry->usable)
        *entry->usable = 0;
}

/* The loss was found by other means than an access. */
static inline void shmq_guard_declare_lost(const void *address)
{
    struct shmq_guarded *entry;
    sigset_t before;

    (void)shmq_guard_enter();
    entry = shmq_guard_find(address);
    if (entry) {
        shmq_guard_change(entry, &before);
        shmq_guard_note_loss(entry);
        shmq_guard_end_change(entry, &before);
    }
    shmq_lock_guard_leave();
}

/* From now on the loss of a page sets *usable to 0, in the handler: a flag that is tested anyway costs nothing more.
 * It lives as long as the mapping. */
static inline void shmq_guard_tell(const void *address, volatile int *usable)
{
    struct shmq_guarded *entry;
    sigset_t before;

    (void)shmq_guard_enter();
    entry = shmq_guard_find(address);
    if (entry) {
        shmq_guard_change(entry, &before);
        entry->usable = usable;
        if (shmq_private_load(&entry->lost))
            *usable = 0;
        shmq_guard_end_change(entry, &before);
    }
    shmq_lock_guard_leave();
}

/* ---- in the handler -------------------------------------------------------------------------------------- */

/* Where the mapping leaves the file as it is now; its end where that cannot be told. */
static inline uint64_t shmq_guard_file_end(const struct shmq_guarded *entry)
{
    struct stat status;
    uint64_t bytes;

    if (shmq_os_fstat(entry->fd, &status) || !shmq_os_same(&status, &entry->identity))
        return entry->end;
    bytes = shmq_round_up((uint64_t)status.st_size, shmq_private_load(&shmq_guard()->page));
    return bytes < entry->end - entry->begin ? entry->begin + bytes : entry->end;
}

/* Put memory where the page at `address` was. False: the kernel refuses it. By the holder. */
static inline bool shmq_guard_replace(struct shmq_guarded *entry, uint64_t address)
{
    uint64_t page = shmq_private_load(&shmq_guard()->page), from = address & ~(page - 1), to = from + page;
    uint64_t file_end = shmq_guard_file_end(entry);

    if (address >= entry->replaced)
        return true; /* another thread met the same loss, and was faster */
    if (from >= file_end) {
        from = file_end;
        to = entry->replaced;
    }
    shmq_guard_note_loss(entry);
    if (shmq_os_map_over(from, to - from, entry->protection)) {
        from = entry->begin; /* as many mappings as the kernel allows: one over all of it needs no more */
        to = entry->replaced;
        if (shmq_os_map_over(from, to - from, entry->protection))
            return false;
    }
    if (to == entry->replaced)
        entry->replaced = from;
    return true;
}

/* Is that one of ours, and is it mended? */
static inline bool shmq_guard_mend(uint64_t address)
{
    struct shmq_guard *guard = shmq_guard();
    bool mended = false;

    for (uint64_t i = 0; i < shmq_private_load(&guard->count) && !mended; i++) {
        struct shmq_guarded *entry = &guard->entry[i];

        if (!shmq_guard_covers(entry, address) || !shmq_guard_seize(entry))
            continue;
        mended = shmq_guard_covers(entry, address) && shmq_guard_replace(entry, address); /* as it is held, again */
        shmq_guard_let_go(entry);
    }
    return mended;
}

/* What the signal does where nobody handles it. A fault repeats when the handler returns; a signal that was sent must
 * be sent again, and comes then. Where the handler stays, all the same, both would come back to it for ever. */
static inline void shmq_guard_default(int number, bool fault)
{
    struct sigaction action;

    memset(&action, 0, sizeof action);
    action.sa_handler = SIG_DFL;
    if (SHMQ_SYSTEM(sigaction, -1, sigaction(number, &action, NULL)))
        (void)SHMQ_SYSTEM(raise, -1, raise(SIGKILL));
    else if (!fault)
        (void)SHMQ_SYSTEM(raise, -1, raise(number));
}

/* Call a handler with the signals blocked that it asked for, besides those that its thread had blocked. */
static inline void shmq_guard_call(const struct sigaction *action, int number, siginfo_t *info, void *context)
{
    sigset_t mask = action->sa_mask, before;

    sigemptyset(&before);
    memcpy(&before, &((ucontext_t *)context)->uc_sigmask, SHMQ_GUARD_MASK_BYTES);
    for (int i = 1; i < 8 * (int)SHMQ_GUARD_MASK_BYTES; i++)
        if (sigismember(&before, i) == 1)
            sigaddset(&mask, i);
    if (!(action->sa_flags & SA_NODEFER))
        sigaddset(&mask, number);
    (void)pthread_sigmask(SIG_SETMASK, &mask, NULL); /* what the thread had before comes back with the return */
    if (action->sa_flags & SA_SIGINFO)
        action->sa_sigaction(number, info, context);
    else
        action->sa_handler(number);
}

/* Not ours: do what would have been done without this level. */
static inline void shmq_guard_pass_on(struct shmq_guard_level *level, int number, siginfo_t *info, void *context)
{
    const struct sigaction *previous = &level->previous;
    bool fault = info->si_code > 0 && info->si_code != BUS_MCEERR_AO; /* at an instruction, not sent */
    bool plain = !(previous->sa_flags & SA_SIGINFO);

    if (shmq_private_load(&level->reset) || (plain && previous->sa_handler == SIG_DFL)) {
        shmq_guard_default(number, fault);
    } else if (plain && previous->sa_handler == SIG_IGN) {
        if (fault) /* the kernel does not let anybody ignore one */
            shmq_guard_default(number, true);
    } else {
        shmq_private_store(&level->reset, (previous->sa_flags & (int)SA_RESETHAND) != 0);
        shmq_guard_call(previous, number, info, context);
    }
}

static inline void shmq_guard_caught(uint32_t level, int number, siginfo_t *info, void *context)
{
    int error = errno;

    if (info->si_code != BUS_ADRERR || !shmq_guard_mend((uint64_t)(uintptr_t)info->si_addr))
        shmq_guard_pass_on(&shmq_guard()->level[level], number, info, context);
    errno = error;
}

/* ---- taking the signal ----------------------------------------------------------------------------------- */

/* A handler for each level, because one that somebody installed over a level of ours may well call that level, and it
 * must know whom to call next: A calls us, B calls A, and we are installed over B. */
#define SHMQ_GUARD_EACH_LEVEL(X) X(0) X(1) X(2) X(3) X(4) X(5) X(6) X(7)

#define SHMQ_GUARD_HANDLER(level)                                                             \
    static inline void shmq_guard_handler_##level(int number, siginfo_t *info, void *context) \
    {                                                                                         \
        shmq_guard_caught(level, number, info, context);                                      \
    }
SHMQ_GUARD_EACH_LEVEL(SHMQ_GUARD_HANDLER)
#undef SHMQ_GUARD_HANDLER

typedef void shmq_guard_handler(int number, siginfo_t *info, void *context);

static inline shmq_guard_handler *shmq_guard_handler_of(uint32_t level)
{
#define SHMQ_GUARD_NAME(level) shmq_guard_handler_##level,
    static shmq_guard_handler *const handlers[] = { SHMQ_GUARD_EACH_LEVEL(SHMQ_GUARD_NAME) };
#undef SHMQ_GUARD_NAME

    SHMQ_STATIC_ASSERT(sizeof handlers / sizeof handlers[0] == SHMQ_GUARD_LEVELS, "a handler for each level");
    return handlers[level];
}

static inline bool shmq_guard_is_ours(const struct sigaction *action)
{
    for (uint32_t level = 0; level < SHMQ_GUARD_LEVELS; level++)
        if (action->sa_flags & SA_SIGINFO && action->sa_sigaction == shmq_guard_handler_of(level))
            return true;
    return false;
}

/* The level to install over `now`: the one that was over it before, else a new one. SHMQ_GUARD_LEVELS: none is left. */
static inline uint32_t shmq_guard_level_over(const struct shmq_guard *guard, const struct sigaction *now)
{
    uint32_t level = 0;

    for (; level < SHMQ_GUARD_LEVELS && guard->level[level].taken; level++) {
        const struct sigaction *previous = &guard->level[level].previous;

        if (previous->sa_flags == now->sa_flags && previous->sa_handler == now->sa_handler
            && !memcmp(&previous->sa_mask, &now->sa_mask, SHMQ_GUARD_MASK_BYTES))
            break;
    }
    return level;
}

/* Install a level over `now`. 0 or -errno. */
static inline int shmq_guard_install_over(struct shmq_guard *guard, const struct sigaction *now)
{
    uint32_t level = shmq_guard_level_over(guard, now);
    struct sigaction action;

    if (level == SHMQ_GUARD_LEVELS)
        return -EBUSY;
    guard->level[level].previous = *now;
    guard->level[level].taken = 1;
    shmq_private_store(&guard->level[level].reset, 0);
    memset(&action, 0, sizeof action);
    action.sa_sigaction = shmq_guard_handler_of(level);
    action.sa_flags = SA_SIGINFO | SA_ONSTACK | (now->sa_flags & SA_RESTART);
    sigfillset(&action.sa_mask);
    return SHMQ_SYSTEM(sigaction, -1, sigaction(SIGBUS, &action, NULL)) ? -errno : 0;
}

/* Take SIGBUS for this process, or take it back from who took it since. Call it each time before shmq_region_open, in
 * the unit that opens the regions and that stays loaded. What is not ours goes on to who had the signal before.
 * 0, -EBUSY (others have taken it over and over) or another -errno: -ENOMEM, where forks cannot be watched. */
static inline int shmq_guard_install(void)
{
    struct shmq_guard *guard;
    struct sigaction now;
    int result = shmq_lock_watch_forks();

    if (result)
        return result;
    guard = shmq_guard_enter();
    result = SHMQ_SYSTEM(sigaction, -1, sigaction(SIGBUS, NULL, &now)) ? -errno : 0;
    if (result == 0 && !shmq_guard_is_ours(&now))
        result = shmq_guard_install_over(guard, &now);
    shmq_lock_guard_leave();
    return result;
}

#endif
