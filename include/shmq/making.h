/* SPDX-License-Identifier: MIT */
/* The making of a region: in a directory of its own, which gets the region's name when all is done.
 *
 * The name never denotes a half-made region, whoever dies when. The private directory is called
 * .new-<time>-<random>-NAME, and its maker holds the byte SHMQ_LOCK_MAKING of the lock file in it. Later makers
 * remove those whose byte is free.
 *
 *     maker:   make the directory, then `lock`, hold its bytes, look whether `lock` still has a name [H2],
 *              build, rename to NAME
 *     remover: take the byte, look whether the directory still has its private name, unlink data, admin, lock,
 *              free the byte, remove the directory
 *
 * The remover keeps the byte until its last unlink, so a maker that gets it afterwards sees a link count of 0. A
 * directory without `lock` is new, or removed but for its name: removing an empty directory hurts neither.
 */
#ifndef SHMQ_MAKING_H
#define SHMQ_MAKING_H

#include "files.h"
#include "lock.h"
#include "space.h"

#define SHMQ_MAKING_PREFIX ".new-"
#define SHMQ_MAKING_NAME_AT 39       /* .new-, 16 digits, -, 16 digits, - */

/* How long a maker of a region of so many bytes waits for one that began earlier, which may be stopped; and how long
 * between two looks at whether it is done. A test changes them. */
#ifndef SHMQ_MAKING_PATIENCE_NS
#define SHMQ_MAKING_PATIENCE_NS(bytes) (200000000u + (bytes))
#define SHMQ_MAKING_LOOK_NS 1000000u
#endif

struct shmq_making {
    const struct shmq_directory *directory;
    uint32_t mode;          /* of the files: 0600, or 0660 in a directory shared with a group */
    int dir;
    struct shmq_identity identity; /* its */
    char name[SHMQ_MAKING_NAME_AT + SHMQ_NAME_MAX + 1];
};

/* ---- removing what others left --------------------------------------------------------------------------- */

/* Take the byte through `probe` and remove; false: a maker at work, or another remover, holds it. */
static inline bool shmq_making_take_over(const struct shmq_directory *directory, const char *name, int dir,
    const struct shmq_lock_probe *probe)
{
    int result = shmq_os_lock(probe->fd, SHMQ_LOCK_MAKING);

    if (result)
        return result != -EAGAIN;
    if (shmq_files_has_name(directory, name, dir) == 1) /* else its maker has finished, and closed, meanwhile */
        (void)shmq_files_remove(directory, name, dir, "lock");
    shmq_os_unlock(probe->fd, SHMQ_LOCK_MAKING);
    return true;
}

/* Look at one private directory: is its maker at work? If not, remove it. */
static inline bool shmq_making_at_work(const struct shmq_directory *directory, const char *name)
{
    struct shmq_lock_probe probe;
    bool at_work = false;
    int fd, dir = shmq_os_openat(directory->fd, name, O_RDONLY | O_DIRECTORY, 0);

    if (dir == -EACCES) /* another member's, who has not let the group in yet, or died before: it is empty */
        (void)shmq_os_unlinkat(directory->fd, name, AT_REMOVEDIR);
    if (dir < 0)
        return false;
    shmq_lock_guard_enter();
    fd = shmq_os_openat(dir, "lock", O_RDWR, 0);
    if (fd >= 0)
        shmq_lock_probe_begin(&probe, fd);
    shmq_lock_guard_leave();
    if (fd >= 0) {
        at_work = !shmq_making_take_over(directory, name, dir, &probe);
        shmq_lock_probe_end(&probe);
    } else if (fd == -ENOENT) {
        (void)shmq_files_remove_name(directory, name, dir);
    }
    shmq_os_close(dir);
    return at_work;
}

static inline bool shmq_making_is_name(const char *entry)
{
    return !strncmp(entry, SHMQ_MAKING_PREFIX, sizeof SHMQ_MAKING_PREFIX - 1);
}

/* ---- taking turns ---------------------------------------------------------------------------------------- */

/* Counts makers at work on the same region that began before `making`. */
struct shmq_making_rivals {
    const struct shmq_making *making;
    uint32_t count;
};

static inline void shmq_making_visit(void *context, const char *entry)
{
    struct shmq_making_rivals *rivals = (struct shmq_making_rivals *)context;
    const char *mine = rivals->making->name;

    if (!shmq_making_is_name(entry) || !strcmp(entry, mine))
        return;
    if (shmq_making_at_work(rivals->making->directory, entry) && strlen(entry) > SHMQ_MAKING_NAME_AT
        && !strcmp(entry + SHMQ_MAKING_NAME_AT, mine + SHMQ_MAKING_NAME_AT) && strcmp(entry, mine) < 0)
        rivals->count++;
}

/* Remove what dead makers left, and wait while others that began earlier make the same region: ten processes that
 * start at once should not reserve its memory ten times. A politeness only; the rename decides. AGAIN: the region is
 * there now; SHMQ_OK: go on. */
static inline int shmq_making_wait(const struct shmq_making *making, uint64_t bytes, struct shmq_error *error)
{
    uint64_t deadline = shmq_os_now() + SHMQ_MAKING_PATIENCE_NS(bytes);
    struct stat status;

    for (;;) {
        struct shmq_making_rivals rivals = { making, 0 };

        (void)shmq_os_each_entry(making->directory->fd, shmq_making_visit, &rivals);
        if (rivals.count == 0 || shmq_os_now() >= deadline)
            return SHMQ_OK;
        shmq_os_pause(SHMQ_MAKING_LOOK_NS);
        if (shmq_os_fstatat(making->directory->fd, making->name + SHMQ_MAKING_NAME_AT, &status) == 0)
            return shmq_error_set(error, SHMQ_ERROR_AGAIN, "another made the region", 0, 0);
    }
}

/* ---- a making of one's own ------------------------------------------------------------------------------- */

/* Let the group in where the region is shared with it; undo the umask. `mode`: of a file. */
static inline int shmq_making_admit(const struct shmq_making *making, int fd, uint32_t mode, struct shmq_error *error)
{
    int result = making->directory->shared ? shmq_os_fchgrp(fd, making->directory->group) : 0;

    if (result)
        return shmq_error_set_entry(error, making->directory, "chown", result);
    result = shmq_os_fchmod(fd, mode);
    return result ? shmq_error_set_entry(error, making->directory, "chmod", result) : SHMQ_OK;
}

/* Open the private directory, and let the group in: should its maker die, another member will remove it. */
static inline int shmq_making_enter(struct shmq_making *making, struct shmq_error *error)
{
    int result;

    making->dir = shmq_os_openat(making->directory->fd, making->name, O_RDONLY | O_DIRECTORY, 0);
    if (making->dir < 0)
        return shmq_error_set_os(error, "open", making->dir);
    result = shmq_os_identify(making->dir, &making->identity);
    if (result)
        return shmq_error_set_os(error, "fstat", result);
    return shmq_making_admit(making, making->dir, making->mode == 0600 ? 0700 : 0770, error);
}

/* Make the private directory for region `name`. SHMQ_OK, or AGAIN (the directory of regions went away). */
static inline int shmq_making_begin(struct shmq_making *making, const struct shmq_directory *directory, uint32_t mode,
    const char *name, struct shmq_error *error)
{
    uint64_t random;
    int result = shmq_os_random(&random, sizeof random);

    making->directory = directory;
    making->mode = mode;
    making->dir = -1;
    if (result)
        return shmq_error_set_os(error, "getrandom", result);
    snprintf(making->name, sizeof making->name, SHMQ_MAKING_PREFIX "%016llx-%016llx-%s",
        (unsigned long long)shmq_os_now(), (unsigned long long)random, name);
    shmq_error_at(error, directory, making->name, NULL);
    result = shmq_os_make_directory(directory->fd, making->name);
    if (result) {
        shmq_error_at(error, directory, NULL, NULL);
        return shmq_error_set_entry(error, directory, "mkdir", result);
    }
    result = shmq_making_enter(making, error);
    if (result) {
        if (making->dir >= 0)
            shmq_os_close(making->dir);
        (void)shmq_os_unlinkat(directory->fd, making->name, AT_REMOVEDIR);
    }
    return result;
}

/* A new file of the private directory. Returns a descriptor, or an error code. */
static inline int shmq_making_file(const struct shmq_making *making, const char *file, struct shmq_error *error)
{
    int result, fd = shmq_os_openat(making->dir, file, O_RDWR | O_CREAT | O_EXCL, 0600);

    shmq_error_at(error, making->directory, making->name, file);
    if (fd < 0)
        return shmq_error_set_os(error, "open", fd);
    result = shmq_making_admit(making, fd, making->mode, error);
    if (result == SHMQ_OK)
        return fd;
    shmq_os_close(fd);
    return result;
}

/* The same for `lock` of a group's region. It gets its name when the group is let in: a lock file that other members
 * cannot open would be in their way for good, if its maker died. Where files without a name are not to be had, that is
 * how it is. */
static inline int shmq_making_lock_file(const struct shmq_making *making, struct shmq_error *error)
{
    int fd = -1;

    if (making->directory->shared)
        fd = shmq_os_openat(making->dir, ".", O_RDWR | O_TMPFILE, 0600);
    if (fd >= 0 && shmq_making_admit(making, fd, making->mode, error) == SHMQ_OK
        && shmq_os_name(fd, making->dir, "lock") == 0)
        return fd;
    if (fd >= 0)
        shmq_os_close(fd);
    return shmq_making_file(making, "lock", error);
}

/* Lock the maker's byte and process slot 0's, the two held from now on by the mapping *page. Inside the guard.
 * AGAIN: a remover took the directory for a dead maker's [H2]. */
static inline int shmq_making_lock(int fd, void **page, struct shmq_error *error)
{
    struct stat status;
    int result = shmq_os_lock(fd, SHMQ_LOCK_MAKING);

    if (result == 0)
        result = shmq_os_lock(fd, 0);
    if (result == -EAGAIN)
        return shmq_error_set(error, SHMQ_ERROR_AGAIN, "byte lock of the maker", 0, 0);
    if (result == 0)
        result = shmq_os_fstat(fd, &status);
    if (result == 0 && status.st_nlink == 0)
        return shmq_error_set(error, SHMQ_ERROR_AGAIN, "link count", 0, 1);
    if (result == 0)
        result = shmq_lock_keep(fd, page);
    return result ? shmq_error_set_os(error, "lock", result) : SHMQ_OK;
}

/* Make the lock file and hold its bytes through *page. */
static inline int shmq_making_hold(const struct shmq_making *making, void **page, struct shmq_error *error)
{
    int fd, result;

    shmq_lock_guard_enter();
    fd = result = shmq_making_lock_file(making, error);
    if (fd >= 0) {
        result = shmq_making_lock(fd, page, error);
        shmq_os_close(fd);
    }
    shmq_lock_guard_leave();
    return result;
}

/* Reserving memory for a new file gave -errno: what it had got already would be free without it. */
static inline int shmq_making_blame(int fd, uint64_t bytes, int result, struct shmq_error *error)
{
    struct stat status;
    int code = shmq_space_blame_memory(fd, bytes, result, error);

    if (error->expected && shmq_os_fstat(fd, &status) == 0)
        error->available += (uint64_t)status.st_blocks * 512;
    return code;
}

/* Make and reserve a file, `size` bytes long, and map it, guarded. Returns a descriptor, or an error code. */
static inline int shmq_making_segment(const struct shmq_making *making, const char *file, uint64_t size,
    uint64_t reserve, void **address, struct stat *status, struct shmq_error *error)
{
    int code = SHMQ_OK, result, fd = shmq_making_file(making, file, error);

    if (fd < 0)
        return fd;
    result = shmq_os_truncate(fd, size);
    if (result)
        code = shmq_error_set_os(error, "ftruncate", result);
    if (code == SHMQ_OK && (result = shmq_os_reserve(fd, 0, reserve)) != 0)
        code = shmq_making_blame(fd, reserve, result, error);
    if (code == SHMQ_OK && (result = shmq_os_fstat(fd, status)) != 0)
        code = shmq_error_set_os(error, "fstat", result);
    if (code == SHMQ_OK && (result = shmq_guard_map(fd, size, PROT_READ | PROT_WRITE, address)) != 0)
        code = shmq_space_blame_guarded(size, result, error);
    if (code == SHMQ_OK)
        return fd;
    shmq_os_close(fd);
    return code;
}

/* Give the finished region its name. AGAIN: it is taken, or the directory of regions went away. */
static inline int shmq_making_publish(const struct shmq_making *making, struct shmq_error *error)
{
    int result = shmq_os_rename_new(making->directory->fd, making->name, making->name + SHMQ_MAKING_NAME_AT);

    shmq_error_at(error, making->directory, making->name + SHMQ_MAKING_NAME_AT, NULL);
    if (result == -EEXIST)
        return shmq_error_set(error, SHMQ_ERROR_AGAIN, "another made the region", 0, 0);
    return result ? shmq_error_set_entry(error, making->directory, "renameat2", result) : SHMQ_OK;
}

/* Remove it again, while the bytes are still held. */
static inline void shmq_making_abandon(struct shmq_making *making)
{
    (void)shmq_files_remove(making->directory, making->name, making->dir, "lock");
}

#endif
