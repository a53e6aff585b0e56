/* SPDX-License-Identifier: MIT */
/* The operating system: the only system calls of shmq, each behind a wrapper that decides nothing.
 *
 * A wrapper returns what the call returns, or -errno. Linux; a 64-bit little-endian machine. Every descriptor is
 * close-on-exec. Each call goes through SHMQ_SYSTEM, which is nothing but the call. A test that defines SHMQ_OS_HOOK
 * has SHMQ_OS_HOOK(name) run before it: it kills or stops the process there, or refuses the call by giving an errno.
 */
#ifndef SHMQ_OS_H
#define SHMQ_OS_H

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <linux/futex.h>
#include <pthread.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/auxv.h>
#include <sys/mman.h>
#include <sys/random.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <sys/syscall.h>
#include <sys/vfs.h>
#include <time.h>
#include <unistd.h>

#include "map.h"

/* Linux's own, which the C library shows only where _GNU_SOURCE was defined before its first header. */
#ifndef F_OFD_GETLK
#define F_OFD_GETLK 36
#define F_OFD_SETLK 37
#endif
#ifndef O_PATH
#define O_PATH 010000000
#endif
#ifndef FALLOC_FL_KEEP_SIZE
#define FALLOC_FL_KEEP_SIZE 1
#endif
#ifndef O_TMPFILE
#define O_TMPFILE (020000000 | O_DIRECTORY)
#endif
#ifndef RENAME_NOREPLACE
#define RENAME_NOREPLACE 1
#endif
#ifndef F_ADD_SEALS
#define F_ADD_SEALS 1033
#define F_GET_SEALS 1034
#define F_SEAL_SEAL 1
#define F_SEAL_SHRINK 2
#define F_SEAL_GROW 4
#define F_SEAL_WRITE 8
#endif
#ifndef F_SEAL_FUTURE_WRITE
#define F_SEAL_FUTURE_WRITE 16
#endif
#define SHMQ_OS_MEMFD 3u             /* MFD_CLOEXEC | MFD_ALLOW_SEALING */
#define SHMQ_OS_MEMFD_NO_EXEC 8u     /* MFD_NOEXEC_SEAL, Linux 6.3 */

SHMQ_STATIC_ASSERT(__BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__, "a futex sleeps on the first four bytes of a word");
SHMQ_STATIC_ASSERT(sizeof(off_t) == 8, "an admin segment exceeds 2 GiB where there are many queues");

/* `call`, by its name, or where a test refuses it `failed` with errno set. SHMQ_SYSTEM_ALWAYS: one that takes place
 * whatever it returns, such as a close, whose descriptor is free also where it fails. */
#ifdef SHMQ_OS_HOOK
static inline bool shmq_os_refused(int refusal)
{
    if (refusal)
        errno = refusal;
    return refusal != 0;
}
#define SHMQ_SYSTEM(name, failed, call) (shmq_os_refused(SHMQ_OS_HOOK(name)) ? (failed) : (call))
#define SHMQ_SYSTEM_ALWAYS(name, call) ((void)SHMQ_OS_HOOK(name), (void)(call))
#else
#define SHMQ_SYSTEM(name, failed, call) (call)
#define SHMQ_SYSTEM_ALWAYS(name, call) ((void)(call))
#endif

#define SHMQ_OS_OPEN (O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK) /* a symlink is not followed, a FIFO does not block */
#define SHMQ_OS_TMPFS 0x01021994   /* the kernel's TMPFS_MAGIC */
#define SHMQ_OS_RESERVE_STEP (1ull << 20) /* reserved at once: a signal undoes the step, so a step must be short */

/* What a descriptor denotes. Kept beside it, because a descriptor that the user's program closed may come back as
 * another file of theirs. */
struct shmq_identity {
    uint64_t device;
    uint64_t inode;
};

/* ---- files ----------------------------------------------------------------------------------------------- */

/* What an open returned, as a descriptor or -errno: -ENOENT also where it was removed since one looked, which a file
 * system of another machine's says in its own way. */
static inline int shmq_os_opened(int fd)
{
    if (fd < 0)
        return errno == ESTALE ? -ENOENT : -errno;
    return fd;
}

/* `flags` besides SHMQ_OS_OPEN; `dir` may be AT_FDCWD for a whole path. */
static inline int shmq_os_openat(int dir, const char *name, int flags, unsigned mode)
{
    return shmq_os_opened(SHMQ_SYSTEM(openat, -1, openat(dir, name, flags | SHMQ_OS_OPEN, (mode_t)mode)));
}

static inline void shmq_os_close(int fd)
{
    SHMQ_SYSTEM_ALWAYS(close, close(fd));
}

/* A directory for its owner alone. */
static inline int shmq_os_make_directory(int dir, const char *name)
{
    return SHMQ_SYSTEM(mkdirat, -1, mkdirat(dir, name, 0700)) ? -errno : 0;
}

/* `flags`: 0 or AT_REMOVEDIR. */
static inline int shmq_os_unlinkat(int dir, const char *name, int flags)
{
    return SHMQ_SYSTEM(unlinkat, -1, unlinkat(dir, name, flags)) ? -errno : 0;
}

/* Give `from` the name `to` unless that is taken: -EEXIST. */
static inline int shmq_os_rename_new(int dir, const char *from, const char *to)
{
    return SHMQ_SYSTEM(renameat2, -1, syscall(SYS_renameat2, dir, from, dir, to, RENAME_NOREPLACE)) ? -errno : 0;
}

/* Give the file `fd`, which has none, the name `name`. Needs /proc. */
static inline int shmq_os_name(int fd, int dir, const char *name)
{
    char path[32];

    snprintf(path, sizeof path, "/proc/self/fd/%d", fd);
    return SHMQ_SYSTEM(linkat, -1, linkat(AT_FDCWD, path, dir, name, AT_SYMLINK_FOLLOW)) ? -errno : 0;
}

static inline int shmq_os_fstat(int fd, struct stat *status)
{
    return SHMQ_SYSTEM(fstat, -1, fstat(fd, status)) ? -errno : 0;
}

/* Does not follow a symlink. */
static inline int shmq_os_fstatat(int dir, const char *name, struct stat *status)
{
    return SHMQ_SYSTEM(fstatat, -1, fstatat(dir, name, status, AT_SYMLINK_NOFOLLOW)) ? -errno : 0;
}

static inline int shmq_os_fchmod(int fd, unsigned mode)
{
    return SHMQ_SYSTEM(fchmod, -1, fchmod(fd, (mode_t)mode)) ? -errno : 0;
}

/* Give the file to a group of this process's; its owner stays. */
static inline int shmq_os_fchgrp(int fd, uint32_t gid)
{
    return SHMQ_SYSTEM(fchown, -1, fchown(fd, (uid_t)-1, (gid_t)gid)) ? -errno : 0;
}

static inline int shmq_os_truncate(int fd, uint64_t bytes)
{
    return SHMQ_SYSTEM(ftruncate, -1, ftruncate(fd, (off_t)bytes)) ? -errno : 0;
}

/* Reserve memory for [offset, offset + bytes) of a file, whose size stays: one that was cut by force must not grow
 * back, or its pages would read zeros and nobody would learn why. Not posix_fallocate, which writes to shared pages
 * where the file system cannot reserve. A signal undoes at most a step, so that frequent signals do not hold this up
 * for ever. */
static inline int shmq_os_reserve(int fd, uint64_t offset, uint64_t bytes)
{
    while (bytes) {
        uint64_t step = bytes < SHMQ_OS_RESERVE_STEP ? bytes : SHMQ_OS_RESERVE_STEP;

        if (SHMQ_SYSTEM(fallocate, -1, syscall(SYS_fallocate, fd, FALLOC_FL_KEEP_SIZE, offset, step))) {
            if (errno != EINTR)
                return -errno;
            continue;
        }
        offset += step;
        bytes -= step;
    }
    return 0;
}

/* Bytes read from the start of the file. Unlike a mapping it cannot fault when somebody truncates the file. */
static inline int shmq_os_read_start(int fd, void *buffer, uint32_t bytes)
{
    ssize_t count = SHMQ_SYSTEM(pread, -1, pread(fd, buffer, bytes, 0));

    return count < 0 ? -errno : (int)count;
}

static inline struct shmq_identity shmq_os_identity(const struct stat *status)
{
    struct shmq_identity identity = { status->st_dev, status->st_ino };

    return identity;
}

/* Bytes of memory, or disk, behind a file. Where a file system does not count them, 0. */
static inline uint64_t shmq_os_occupied(const struct stat *status) { return (uint64_t)status->st_blocks * 512; }

/* What a descriptor that was just opened denotes; nothing that exists, where that cannot be told. */
static inline int shmq_os_identify(int fd, struct shmq_identity *identity)
{
    struct stat status;
    int result = SHMQ_SYSTEM(identify, -1, fstat(fd, &status)) ? -errno : 0;

    if (result)
        memset(&status, 0, sizeof status);
    *identity = shmq_os_identity(&status);
    return result;
}

static inline bool shmq_os_same(const struct stat *status, const struct shmq_identity *identity)
{
    return status->st_dev == identity->device && status->st_ino == identity->inode;
}

/* Does `fd` still denote what it did? */
static inline bool shmq_os_is(int fd, const struct shmq_identity *identity)
{
    struct stat status;

    return fd >= 0 && SHMQ_SYSTEM(is, -1, fstat(fd, &status)) == 0 && shmq_os_same(&status, identity);
}

/* A new open file description of what `fd` denotes, also where its name is gone. Needs /proc. */
static inline int shmq_os_reopen(int fd, int flags)
{
    char path[32];

    snprintf(path, sizeof path, "/proc/self/fd/%d", fd);
    flags |= O_CLOEXEC | O_NONBLOCK; /* the link is the point, so no O_NOFOLLOW */
    return shmq_os_opened(SHMQ_SYSTEM(reopen, -1, open(path, flags)));
}

/* Call visit(context, name) for each entry of a directory but "." and "..". Entries may be removed meanwhile, and the
 * directory itself, which then has no more. 0 or -errno; some may have been visited. */
static inline int shmq_os_each_entry(int dir, void (*visit)(void *context, const char *name), void *context)
{
    int result, fd = shmq_os_openat(dir, ".", O_RDONLY | O_DIRECTORY, 0);
    DIR *stream;
    struct dirent *entry;

    if (fd < 0)
        return fd == -ENOENT ? 0 : fd;
    stream = SHMQ_SYSTEM(fdopendir, NULL, fdopendir(fd));
    if (!stream) {
        result = -errno;
        shmq_os_close(fd);
        return result;
    }
    for (;;) {
        errno = 0;
        entry = SHMQ_SYSTEM(readdir, NULL, readdir(stream));
        if (!entry)
            break;
        if (strcmp(entry->d_name, ".") && strcmp(entry->d_name, ".."))
            visit(context, entry->d_name);
    }
    result = errno == ENOENT ? 0 : -errno;
    SHMQ_SYSTEM_ALWAYS(closedir, closedir(stream));
    return result;
}

/* Read a small text file of the kernel's, such as those in /proc. Returns its length; ends it with a zero byte. */
static inline int shmq_os_read_text(const char *path, char *text, uint32_t size)
{
    int fd, result = 0;
    uint32_t length = 0;

    text[0] = 0;
    fd = SHMQ_SYSTEM(read_text, -1, open(path, O_RDONLY | O_CLOEXEC));
    if (fd < 0)
        return -errno;
    while (length < size - 1) {
        ssize_t count = SHMQ_SYSTEM(read, -1, read(fd, text + length, size - 1 - length));

        if (count < 0)
            result = -errno;
        if (count <= 0)
            break;
        length += (uint32_t)count;
    }
    shmq_os_close(fd);
    text[length] = 0;
    return result ? result : (int)length;
}

/* ---- files without a name -------------------------------------------------------------------------------- */

/* A new memfd, which may be sealed and, where the kernel knows how to promise it, never executed. */
static inline int shmq_os_memfd(const char *name)
{
    unsigned flags = SHMQ_OS_MEMFD;
    int fd = (int)SHMQ_SYSTEM(memfd_create, -1, syscall(SYS_memfd_create, name, flags | SHMQ_OS_MEMFD_NO_EXEC));

    if (fd < 0 && errno == EINVAL)
        fd = (int)SHMQ_SYSTEM(memfd_create, -1, syscall(SYS_memfd_create, name, flags));
    return fd < 0 ? -errno : fd;
}

static inline int shmq_os_seal(int fd, int seals)
{
    return SHMQ_SYSTEM(seal, -1, fcntl(fd, F_ADD_SEALS, seals)) ? -errno : 0;
}

/* The seals of a memfd; -EINVAL: it is none. */
static inline int shmq_os_seals(int fd)
{
    int seals = SHMQ_SYSTEM(seals, -1, fcntl(fd, F_GET_SEALS));

    return seals < 0 ? -errno : seals;
}

/* Another descriptor of the same open file description. */
static inline int shmq_os_duplicate(int fd)
{
    int found = SHMQ_SYSTEM(duplicate, -1, fcntl(fd, F_DUPFD_CLOEXEC, 0));

    return found < 0 ? -errno : found;
}

/* O_RDONLY, O_WRONLY or O_RDWR. */
static inline int shmq_os_access_mode(int fd)
{
    int flags = SHMQ_SYSTEM(access_mode, -1, fcntl(fd, F_GETFL));

    return flags < 0 ? -errno : flags & O_ACCMODE;
}

/* What the kernel calls the file that `fd` denotes. Returns the text's length; ends it with a zero byte. */
static inline int shmq_os_title(int fd, char *text, uint32_t size)
{
    char path[32];
    ssize_t length;

    snprintf(path, sizeof path, "/proc/self/fd/%d", fd);
    length = SHMQ_SYSTEM(readlink, -1, readlink(path, text, size - 1));
    text[length < 0 ? 0 : length] = 0;
    return length < 0 ? -errno : (int)length;
}

/* ---- memory ---------------------------------------------------------------------------------------------- */

/* Map the first `bytes` of a file, shared. `protection` as for mmap. */
static inline int shmq_os_map(int fd, uint64_t bytes, int protection, void **address)
{
    void *mapped;

    *address = NULL;
    mapped = SHMQ_SYSTEM(mmap, MAP_FAILED, mmap(NULL, bytes, protection, MAP_SHARED, fd, 0));
    if (mapped == MAP_FAILED)
        return -errno;
    *address = mapped;
    return 0;
}

/* Put a private copy of a file's first `bytes`, or with fd -1 of zeros, in the place of what is mapped there. */
static inline int shmq_os_copy_over(void *address, uint64_t bytes, int protection, int fd)
{
    int flags = MAP_PRIVATE | MAP_FIXED | MAP_NORESERVE | (fd < 0 ? MAP_ANONYMOUS : 0);
    void *mapped = SHMQ_SYSTEM(copy_over, MAP_FAILED, mmap(address, bytes, protection, flags, fd, 0));

    return mapped == MAP_FAILED ? -errno : 0;
}

static inline void shmq_os_unmap(void *address, uint64_t bytes)
{
    SHMQ_SYSTEM_ALWAYS(munmap, munmap(address, bytes));
}

/* Put zeroed memory of this process's own in place of whatever is mapped there. For a signal handler, too. */
static inline int shmq_os_map_over(uint64_t address, uint64_t bytes, int protection)
{
    const int flags = MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE | MAP_FIXED;
    void *place = (void *)(uintptr_t)address;
    void *mapped = SHMQ_SYSTEM(map_over, MAP_FAILED, mmap(place, bytes, protection, flags, -1, 0));

    return mapped == MAP_FAILED ? -errno : 0;
}

/* A forked child does not inherit this mapping. */
static inline int shmq_os_keep_from_children(void *address, uint64_t bytes)
{
    return SHMQ_SYSTEM(madvise, -1, madvise(address, bytes, MADV_DONTFORK)) ? -errno : 0;
}

/* A page of zeroed memory that a forked child finds zeroed, too, where the kernel knows how (Linux 4.14). */
static inline int shmq_os_wiped_page(void **address)
{
    const int flags = MAP_PRIVATE | MAP_ANONYMOUS;
    void *mapped;

    *address = NULL;
    mapped = SHMQ_SYSTEM(mmap, MAP_FAILED, mmap(NULL, SHMQ_PAGE, PROT_READ | PROT_WRITE, flags, -1, 0));
    if (mapped == MAP_FAILED)
        return -errno;
#ifdef MADV_WIPEONFORK
    (void)SHMQ_SYSTEM(wipe_on_fork, -1, madvise(mapped, SHMQ_PAGE, MADV_WIPEONFORK));
#endif
    *address = mapped;
    return 0;
}

/* Leave what lies behind the first `reserved` bytes of a mapping out of core dumps: to look at a hole is to fill it, so
 * that one process that crashes would take memory that nobody has asked for. A hint. */
static inline void shmq_os_spare_holes(void *address, uint64_t reserved, uint64_t bytes)
{
#ifdef MADV_DONTDUMP
    uint64_t from = shmq_round_up(reserved, (uint64_t)sysconf(_SC_PAGESIZE));

    if (from < bytes)
        (void)SHMQ_SYSTEM(spare_holes, -1, madvise((unsigned char *)address + from, bytes - from, MADV_DONTDUMP));
#else
    (void)address;
    (void)reserved;
    (void)bytes;
#endif
}

/* Fault pages in ahead of use. A hint: kernels before 5.14 know no such advice, and nothing is wrong without it. */
static inline void shmq_os_prefault(void *address, uint64_t bytes, bool writable)
{
#ifdef MADV_POPULATE_WRITE
    int advice = writable ? MADV_POPULATE_WRITE : MADV_POPULATE_READ;

    (void)SHMQ_SYSTEM(prefault, -1, madvise(address, bytes, advice));
#else
    (void)address;
    (void)bytes;
    (void)writable;
#endif
}

/* ---- byte locks ------------------------------------------------------------------------------------------ */

static inline struct flock shmq_os_flock(short type, uint64_t first, uint64_t count)
{
    struct flock lock;

    memset(&lock, 0, sizeof lock); /* l_pid must be 0 for a lock of the open file description */
    lock.l_type = type;
    lock.l_whence = SEEK_SET;
    lock.l_start = (off_t)first;
    lock.l_len = (off_t)count;
    return lock;
}

/* Lock one byte through this open file description, which lives while a descriptor or a mapping of it does.
 * -EAGAIN: another description holds it. */
static inline int shmq_os_lock(int fd, uint64_t byte)
{
    struct flock lock = shmq_os_flock(F_WRLCK, byte, 1);

    if (SHMQ_SYSTEM(lock, -1, fcntl(fd, F_OFD_SETLK, &lock)) == 0)
        return 0;
    return errno == EACCES ? -EAGAIN : -errno;
}

static inline void shmq_os_unlock(int fd, uint64_t byte)
{
    struct flock lock = shmq_os_flock(F_UNLCK, byte, 1);

    (void)SHMQ_SYSTEM(unlock, -1, fcntl(fd, F_OFD_SETLK, &lock));
}

/* 1: another open file description holds a byte of [first, first + count); 0: none does. */
static inline int shmq_os_locked(int fd, uint64_t first, uint64_t count)
{
    struct flock lock = shmq_os_flock(F_WRLCK, first, count);

    if (SHMQ_SYSTEM(locked, -1, fcntl(fd, F_OFD_GETLK, &lock)))
        return -errno;
    return lock.l_type != F_UNLCK;
}

/* ---- time, sleep, chance --------------------------------------------------------------------------------- */

/* Monotonic nanoseconds. */
static inline uint64_t shmq_os_now(void)
{
    struct timespec now;

    clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint64_t)now.tv_sec * 1000000000u + (uint64_t)now.tv_nsec;
}

/* Nanoseconds since 1970, for display. */
static inline uint64_t shmq_os_wall_clock(void)
{
    struct timespec now;

    clock_gettime(CLOCK_REALTIME, &now);
    return (uint64_t)now.tv_sec * 1000000000u + (uint64_t)now.tv_nsec;
}

static inline struct timespec shmq_os_timespec(uint64_t ns)
{
    struct timespec time;

    time.tv_sec = (time_t)(ns / 1000000000u);
    time.tv_nsec = (long)(ns % 1000000000u);
    return time;
}

/* Sleep at most `ns`; a signal ends it early. */
static inline void shmq_os_pause(uint64_t ns)
{
    struct timespec time = shmq_os_timespec(ns);

    (void)SHMQ_SYSTEM(nanosleep, -1, nanosleep(&time, NULL));
}

static inline int shmq_os_random(void *buffer, size_t bytes)
{
    return SHMQ_SYSTEM(getrandom, -1, getrandom(buffer, bytes, 0)) == (ssize_t)bytes ? 0 : -errno;
}

/* ops->sleep: sleep while the low half of *word is `expected`, at most `ns`. Shared between processes. What the
 * kernel refuses for another reason ends like a time-out: the caller looks again, and its own clock bounds it. */
static inline int shmq_os_sleep(void *context, uint64_t *word, uint32_t expected, uint64_t ns)
{
    struct timespec time = shmq_os_timespec(ns);
    uint32_t *low = (uint32_t *)(void *)word;

    (void)context;
    if (SHMQ_SYSTEM(futex_wait, -1, syscall(SYS_futex, low, FUTEX_WAIT, expected, &time, NULL, 0)) == 0
        || errno == EAGAIN)
        return SHMQ_OK;
    return errno == EINTR ? SHMQ_INTERRUPTED : SHMQ_TIMEOUT;
}

/* ops->wake: wake up to `sleepers` of those who sleep on *word. */
static inline void shmq_os_wake(void *context, uint64_t *word, uint32_t sleepers)
{
    uint32_t *low = (uint32_t *)(void *)word;
    int most = sleepers > INT_MAX ? INT_MAX : (int)sleepers;

    (void)context;
    (void)SHMQ_SYSTEM(futex_wake, -1, syscall(SYS_futex, low, FUTEX_WAKE, most, NULL, NULL, 0));
}

/* ops->now. */
static inline uint64_t shmq_os_clock(void *context)
{
    (void)context;
    return shmq_os_now();
}

/* ops->yield. */
static inline void shmq_os_yield(void *context)
{
    (void)context;
    (void)SHMQ_SYSTEM(sched_yield, -1, sched_yield());
}

/* ---- limits and identities ------------------------------------------------------------------------------- */

/* What a file system has, and what of it this process may still use. UINT64_MAX where it knows no limit: a tmpfs
 * with size=0, or with nr_inodes=0. */
struct shmq_room {
    uint64_t bytes, bytes_free;
    uint64_t files, files_free; /* inodes */
};

/* The room of the file system of `fd`. */
static inline int shmq_os_room(int fd, struct shmq_room *room)
{
    struct statvfs space;

    memset(room, 0, sizeof *room);
    if (SHMQ_SYSTEM(fstatvfs, -1, fstatvfs(fd, &space)))
        return -errno;
    room->bytes = space.f_blocks ? (uint64_t)space.f_blocks * space.f_frsize : UINT64_MAX;
    room->bytes_free = space.f_blocks ? (uint64_t)space.f_bavail * space.f_frsize : UINT64_MAX;
    room->files = space.f_files ? (uint64_t)space.f_files : UINT64_MAX;
    room->files_free = space.f_files ? (uint64_t)space.f_favail : UINT64_MAX;
    return 0;
}

/* Does `fd` lie on a tmpfs, where a file's blocks are its pages, those in swap too? */
static inline bool shmq_os_on_tmpfs(int fd)
{
    struct statfs system;

    return SHMQ_SYSTEM(fstatfs, -1, fstatfs(fd, &system)) == 0 && system.f_type == SHMQ_OS_TMPFS;
}

/* This process's limit on a resource, such as RLIMIT_FSIZE; UINT64_MAX where there is none. */
static inline uint64_t shmq_os_limit(int resource)
{
    struct rlimit limit;

    if (SHMQ_SYSTEM(prlimit, -1, syscall(SYS_prlimit64, 0, resource, NULL, &limit)) || limit.rlim_cur == RLIM_INFINITY)
        return UINT64_MAX;
    return (uint64_t)limit.rlim_cur;
}

/* Bytes of address space in use; 0 where /proc does not tell. */
static inline uint64_t shmq_os_address_space(void)
{
    char text[128];

    if (shmq_os_read_text("/proc/self/statm", text, sizeof text) <= 0)
        return 0;
    return strtoull(text, NULL, 10) * (uint64_t)sysconf(_SC_PAGESIZE);
}

/* Have each fork of this process call these, if they are not NULL. Once: each time adds them again. The C library's
 * table of them may be full: -ENOMEM. */
static inline int shmq_os_at_fork(void (*before)(void), void (*in_parent)(void), void (*in_child)(void))
{
    return -SHMQ_SYSTEM(atfork, errno, pthread_atfork(before, in_parent, in_child));
}

static inline uint64_t shmq_os_pid(void) { return (uint64_t)getpid(); }
static inline uint32_t shmq_os_uid(void) { return (uint32_t)geteuid(); }
static inline uint32_t shmq_os_gid(void) { return (uint32_t)getegid(); }

/* Is this process in the group? 1, 0, or -errno. */
static inline int shmq_os_in_group(uint32_t gid)
{
    int found = gid == shmq_os_gid(), count = found ? 0 : SHMQ_SYSTEM(getgroups, -1, getgroups(0, NULL));
    gid_t *groups;

    if (count <= 0)
        return count ? -errno : found;
    groups = (gid_t *)SHMQ_SYSTEM(malloc, NULL, malloc((size_t)count * sizeof *groups));
    if (!groups)
        return -ENOMEM;
    count = SHMQ_SYSTEM(getgroups, -1, getgroups(count, groups));
    if (count < 0)
        found = -errno;
    for (int i = 0; i < count; i++)
        found |= groups[i] == gid;
    free(groups);
    return found;
}

/* When this process started, in clock ticks since boot; 0 where /proc does not tell. For display. */
static inline uint64_t shmq_os_start_time(void)
{
    char text[1024];
    char *at;

    if (shmq_os_read_text("/proc/self/stat", text, sizeof text) <= 0 || !(at = strrchr(text, ')')))
        return 0;
    for (int field = 2; field < 22; field++) { /* the command, field 2, may hold spaces, but ends with the last ')' */
        at = strchr(at, ' ');
        if (!at)
            return 0;
        at++;
    }
    return strtoull(at, NULL, 10);
}

/* The number of this process's pid namespace, in which alone its pid means something; 0 where /proc does not tell. */
static inline uint64_t shmq_os_pid_namespace(void)
{
    struct stat status;

    if (SHMQ_SYSTEM(stat, -1, stat("/proc/self/ns/pid", &status)))
        return 0;
    return status.st_ino;
}

/* The environment variable, or NULL; also NULL in a set-uid program, which must not trust it. */
static inline const char *shmq_os_environment(const char *name)
{
    const char *value = getauxval(AT_SECURE) ? NULL : getenv(name);

    return value && *value ? value : NULL;
}

#endif
