/* SPDX-License-Identifier: MIT */
/* The files of regions: a directory that holds them, in it a directory for each region, in that its files.
 *
 *     DIRECTORY/NAME/admin  data  lock        a region
 *     DIRECTORY/.new-…/admin  data  lock      one that is being made (making.h)
 *     memfds of the same three, no directory  an anonymous region (anonymous.h)
 *
 * Everything goes through descriptors of directories, so that a region removed and made again under the same name is
 * never taken for the old one. What this user, or the directory's group, did not make is refused, and the error says
 * whose it is. What stands above the directory is not judged: whoever may rename it can hide regions from those who
 * come later, who then make new ones, but reads none and passes none of his own off.
 */
#ifndef SHMQ_FILES_H
#define SHMQ_FILES_H

#include "error.h"

/* Where regions live. */
struct shmq_directory {
    int fd;
    bool per_user;          /* ours to remove when it is empty */
    bool shared;            /* with a group: its members are trusted, whoever owns a file */
    uint32_t group;         /* the directory's */
    char path[SHMQ_PATH_MAX];
};

/* A region's files. Descriptors stay open while it is attached, and are used only while they are what they were. */
struct shmq_files {
    int dir;
    int admin;
    int data;               /* to see how large it is, to be copied by forked children, and, if anonymous, handed on */
    int data_read;          /* the same for reading, made when first asked for */
    int lock;               /* a way to open the lock file again when it has no name (any more); never locked itself */
    struct shmq_identity dir_identity, admin_identity, data_identity, lock_identity;
    uint64_t admin_memory, data_memory; /* bytes that they occupied when they were opened */
    char name[SHMQ_NAME_MAX + 1]; /* empty: anonymous */
};

/* Which file an error is about: `name` and `file` may be NULL. An anonymous region's has no directory. */
static inline void shmq_error_at(struct shmq_error *error, const struct shmq_directory *directory, const char *name,
    const char *file)
{
    if (!directory->path[0]) {
        snprintf(error->path, sizeof error->path, "memfd%s%s", file ? ":" : "", file ? file : "");
        return;
    }
    snprintf(error->path, sizeof error->path, "%s%s%s%s%s", directory->path, name ? "/" : "", name ? name : "",
        file ? "/" : "", file ? file : "");
}

/* A call that changes the entries of the directory gave -errno: the directory's mode and owner may tell why. */
static inline int shmq_error_set_entry(struct shmq_error *error, const struct shmq_directory *directory,
    const char *call, int result)
{
    struct stat status;

    if (shmq_error_set_os(error, call, result) == SHMQ_ERROR_SECURITY)
        error->code = SHMQ_ERROR_SYSTEM; /* a directory where a file was, say: it is not used, only in the way */
    if (shmq_os_fstat(directory->fd, &status) == 0)
        shmq_error_whose(error, &status);
    return error->code;
}

/* May a region, or a process, be called so? [A-Za-z0-9._-], at most SHMQ_NAME_MAX; no dot in front, which is for
 * directories that are no regions. */
static inline bool shmq_name_valid(const char *name)
{
    size_t length = strlen(name);

    return length > 0 && length <= SHMQ_NAME_MAX && name[0] != '.'
        && strspn(name, "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789._-") == length;
}

/* ---- trust ----------------------------------------------------------------------------------------------- */

static inline int shmq_files_refuse(const struct stat *status, const char *what, uint64_t found, uint64_t expected,
    struct shmq_error *error)
{
    shmq_error_set(error, SHMQ_ERROR_SECURITY, what, found, expected);
    shmq_error_whose(error, status);
    return error->code;
}

/* Does it belong to who is trusted? One's own directory and all in it belong to this user. In a group's directory the
 * members are trusted: what lies there belongs to the group. The directory itself (`top`) belongs to this user, or to
 * a group that this process is in: else whoever put it there chose the group. */
static inline int shmq_files_judge_owner(const struct shmq_directory *directory, bool top, const struct stat *status,
    struct shmq_error *error)
{
    uint32_t owner = (uint32_t)status->st_uid, group = (uint32_t)status->st_gid, uid = shmq_os_uid();
    int member;

    if (!directory->shared)
        return owner == uid ? SHMQ_OK : shmq_files_refuse(status, "owner", owner, uid, error);
    if (!top)
        return group == directory->group ? SHMQ_OK
                                         : shmq_files_refuse(status, "group", group, directory->group, error);
    member = owner == uid ? 1 : shmq_os_in_group(group);
    if (member)
        return member < 0 ? shmq_error_set_os(error, "getgroups", member) : SHMQ_OK;
    return shmq_files_refuse(status, "group of the directory", group, shmq_os_gid(), error);
}

/* Is that what this user, or the group, made: of that type (S_IFREG, S_IFDIR), owner and mode? In `dir`, or, where
 * that is AT_FDCWD, the directory of regions itself. */
static inline int shmq_files_judge(const struct shmq_directory *directory, int dir, const struct stat *status,
    uint32_t type, struct shmq_error *error)
{
    bool top = dir == AT_FDCWD;
    uint32_t mode = (uint32_t)status->st_mode & 07777, loose = directory->shared ? 07 : 077;
    uint32_t found = (uint32_t)status->st_mode & S_IFMT;
    int result;

    if (found != type)
        return shmq_files_refuse(status, "file type", found, type, error);
    result = shmq_files_judge_owner(directory, top, status, error);
    if (result)
        return result;
    if (directory->shared && top)
        loose |= S_ISVTX; /* members could not remove each other's regions */
    if (mode & loose)
        return shmq_files_refuse(status, "mode", mode, mode & ~loose, error);
    if (type == S_IFREG && status->st_nlink > 1)
        return shmq_files_refuse(status, "link count", status->st_nlink, 1, error);
    if (type == S_IFREG && status->st_nlink == 0)
        return shmq_error_set(error, SHMQ_ERROR_AGAIN, "link count", 0, 1); /* removed since we opened it */
    return SHMQ_OK;
}

/* The system refused to open an entry: say why in terms of what it is, where that explains it. */
static inline int shmq_files_open_refused(const struct shmq_directory *directory, int dir, const char *name,
    uint32_t type, int refusal, struct shmq_error *error)
{
    struct stat status;
    bool seen = refusal != -ENOENT && shmq_os_fstatat(dir, name, &status) == 0;
    bool outside = refusal == -EACCES && directory->shared && dir == AT_FDCWD; /* who is not in the group */
    int code = seen && !outside ? shmq_files_judge(directory, dir, &status, type, error) : SHMQ_OK;

    if (code == SHMQ_OK) {
        code = shmq_error_set_os(error, "open", refusal);
        if (seen)
            shmq_error_whose(error, &status);
    }
    return code;
}

/* Open an entry of `dir` and judge it. Returns a descriptor, or an error code; the caller adds the path. */
static inline int shmq_files_open_entry(const struct shmq_directory *directory, int dir, const char *name, int flags,
    uint32_t type, struct stat *status, struct shmq_error *error)
{
    int code, fd = shmq_os_openat(dir, name, flags | (type == S_IFDIR ? O_DIRECTORY : 0), 0);

    if (fd < 0)
        return shmq_files_open_refused(directory, dir, name, type, fd, error);
    code = shmq_os_fstat(fd, status);
    code = code ? shmq_error_set_os(error, "fstat", code) : shmq_files_judge(directory, dir, status, type, error);
    if (code) {
        shmq_os_close(fd);
        return code;
    }
    return fd;
}

/* ---- the directory of regions ---------------------------------------------------------------------------- */

static inline int shmq_directory_locate(struct shmq_directory *directory, const char *path, struct shmq_error *error)
{
    int length;

    directory->fd = -1;
    directory->shared = false;
    if (!path)
        path = shmq_os_environment("SHMQ_DIR");
    directory->per_user = !path; /* one that somebody named is theirs to remove */
    if (path)
        length = snprintf(directory->path, sizeof directory->path, "%s", path);
    else
        length = snprintf(directory->path, sizeof directory->path, "/dev/shm/shmq-%u", shmq_os_uid());
    error->path[0] = 0;
    if (length >= (int)sizeof directory->path)
        return shmq_error_set(error, SHMQ_ERROR_INVALID, "length of the directory's path", (uint64_t)length,
            sizeof directory->path - 1);
    while (length > 1 && directory->path[length - 1] == '/') /* or a symlink of that name would be followed */
        directory->path[--length] = 0;
    shmq_error_at(error, directory, NULL, NULL);
    if (directory->path[0] != '/') /* it must mean the same after a chdir */
        return shmq_error_set(error, SHMQ_ERROR_INVALID, "absolute path of the directory", 0, 0);
    return SHMQ_OK;
}

/* A descriptor, for facts only, of what the directory lies in; or -errno. */
static inline int shmq_directory_above(const struct shmq_directory *directory)
{
    char path[SHMQ_PATH_MAX + 1];
    size_t length = (size_t)(strrchr(directory->path, '/') - directory->path);

    memcpy(path, directory->path, length);
    memcpy(path + length, "/.", 3); /* also where that is a symlink, as /dev/shm may be */
    return shmq_os_openat(AT_FDCWD, path, O_PATH | O_DIRECTORY, 0);
}

/* The directory could not be made, and is not there: what it would lie in tells why. */
static inline int shmq_directory_refused(const struct shmq_directory *directory, int refusal, struct shmq_error *error)
{
    struct stat status;
    size_t length = (size_t)(strrchr(directory->path, '/') - directory->path);
    int above = shmq_directory_above(directory);

    shmq_error_set_os(error, "mkdir", refusal);
    if (above >= 0 && shmq_os_fstat(above, &status) == 0) {
        shmq_error_whose(error, &status);
        error->path[length ? length : 1] = 0;
    }
    if (above >= 0)
        shmq_os_close(above);
    return error->code;
}

/* Make the directory: SHMQ_OK and *refusal 0, or the -errno of one that may be there all the same; or an error code. A
 * group's is not made: who does that chooses the group. */
static inline int shmq_directory_make(const struct shmq_directory *directory, int *refusal, struct shmq_error *error)
{
    int result = *refusal = directory->shared ? -EEXIST : shmq_os_make_directory(AT_FDCWD, directory->path);

    if (result == -ENOENT)
        return shmq_error_set(error, SHMQ_ERROR_NOT_FOUND, "parent of the directory", 0, 0);
    if (result && result != -EEXIST && result != -EACCES && result != -EROFS)
        return shmq_error_set_os(error, "mkdir", result);
    return SHMQ_OK;
}

/* Open a directory that may be there. Returns SHMQ_OK or an error code. */
static inline int shmq_directory_open_existing(struct shmq_directory *directory, struct shmq_error *error)
{
    struct stat status;
    int fd = shmq_files_open_entry(directory, AT_FDCWD, directory->path, O_RDONLY, S_IFDIR, &status, error);

    if (fd < 0)
        return fd;
    directory->group = (uint32_t)status.st_gid;
    if (directory->shared && (status.st_mode & 050) != 050) {
        shmq_os_close(fd);
        shmq_error_set(error, SHMQ_ERROR_PERMISSION, "group of the directory", 0, 0);
        shmq_error_whose(error, &status);
        return error->code;
    }
    directory->fd = fd;
    return SHMQ_OK;
}

/* Open the directory, private to this user or shared with the directory's group; make a private one where it is not
 * there. Returns SHMQ_OK or an error code. */
static inline int shmq_directory_open(struct shmq_directory *directory, const char *path, bool shared, bool make,
    struct shmq_error *error)
{
    int refusal = -EEXIST, result = shmq_directory_locate(directory, path, error);

    if (result)
        return result;
    directory->shared = shared;
    if (make)
        result = shmq_directory_make(directory, &refusal, error);
    if (result == SHMQ_OK)
        result = shmq_directory_open_existing(directory, error);
    if (result && refusal == 0 && directory->per_user)
        (void)shmq_os_unlinkat(AT_FDCWD, directory->path, AT_REMOVEDIR);
    if (result != SHMQ_ERROR_AGAIN)
        return result;
    if (shared || !make)
        return shmq_error_set(error, SHMQ_ERROR_NOT_FOUND, shared ? "directory of the group" : "directory", 0, 0);
    return refusal && refusal != -EEXIST ? shmq_directory_refused(directory, refusal, error) : result;
}

/* Close it, and remove it where it is ours and empty. */
static inline void shmq_directory_close(struct shmq_directory *directory)
{
    if (directory->fd >= 0)
        shmq_os_close(directory->fd);
    directory->fd = -1;
    if (directory->per_user)
        (void)shmq_os_unlinkat(AT_FDCWD, directory->path, AT_REMOVEDIR); /* refused unless it is empty */
}

/* ---- a region's files ------------------------------------------------------------------------------------ */

static inline void shmq_files_init(struct shmq_files *files, const char *name)
{
    memset(files, 0, sizeof *files);
    files->dir = files->admin = files->data = files->data_read = files->lock = -1;
    snprintf(files->name, sizeof files->name, "%s", name ? name : "");
}

static inline void shmq_files_close_one(int *fd, const struct shmq_identity *identity)
{
    if (shmq_os_is(*fd, identity)) /* else the program closed it, and the number may be a file of its own */
        shmq_os_close(*fd);
    *fd = -1;
}

static inline void shmq_files_close(struct shmq_files *files)
{
    shmq_files_close_one(&files->dir, &files->dir_identity);
    shmq_files_close_one(&files->admin, &files->admin_identity);
    shmq_files_close_one(&files->data, &files->data_identity);
    shmq_files_close_one(&files->lock, &files->lock_identity);
    shmq_files_close_one(&files->data_read, &files->data_identity);
}

/* Keep the descriptor of a segment's file, and note what it denotes. */
static inline void shmq_files_keep_admin(struct shmq_files *files, int fd, const struct stat *status)
{
    files->admin = fd;
    files->admin_identity = shmq_os_identity(status);
    files->admin_memory = shmq_os_occupied(status);
}

static inline void shmq_files_keep_data(struct shmq_files *files, int fd, const struct stat *status)
{
    files->data = fd;
    files->data_identity = shmq_os_identity(status);
    files->data_memory = shmq_os_occupied(status);
}

/* Open the directory of region files->name, and admin in it. On an error what is open stays open, for the caller to
 * close; NOT_FOUND: no such region; AGAIN: it is being removed. */
static inline int shmq_files_open(struct shmq_files *files, const struct shmq_directory *directory,
    struct stat *admin_status, struct shmq_error *error)
{
    struct stat status;
    int fd = shmq_files_open_entry(directory, directory->fd, files->name, O_RDONLY, S_IFDIR, &status, error);

    shmq_error_at(error, directory, files->name, NULL);
    if (fd < 0)
        return fd == SHMQ_ERROR_AGAIN ? shmq_error_set(error, SHMQ_ERROR_NOT_FOUND, "directory", 0, 0) : fd;
    files->dir = fd;
    files->dir_identity = shmq_os_identity(&status);
    shmq_error_at(error, directory, files->name, "admin");
    fd = shmq_files_open_entry(directory, files->dir, "admin", O_RDWR, S_IFREG, admin_status, error);
    if (fd < 0)
        return fd;
    shmq_files_keep_admin(files, fd, admin_status);
    return SHMQ_OK;
}

/* Find the lock file, once admin does not say that the region has ended. */
static inline int shmq_files_find_lock(struct shmq_files *files, const struct shmq_directory *directory,
    struct shmq_error *error)
{
    struct stat status;
    int fd = shmq_files_open_entry(directory, files->dir, "lock", O_PATH, S_IFREG, &status, error);

    shmq_error_at(error, directory, files->name, "lock");
    if (fd < 0)
        return fd;
    files->lock = fd;
    files->lock_identity = shmq_os_identity(&status);
    return SHMQ_OK;
}

/* A fresh open file description of the lock file: its locks are nobody else's. The name may be gone (unlink leaves
 * who is attached undisturbed), and so may the descriptors. Returns a descriptor or -errno. */
static inline int shmq_files_open_lock(const struct shmq_files *files)
{
    int fd = -ENOENT;

    if (shmq_os_is(files->dir, &files->dir_identity))
        fd = shmq_os_openat(files->dir, "lock", O_RDWR, 0);
    if (fd >= 0 && !shmq_os_is(fd, &files->lock_identity)) {
        shmq_os_close(fd);
        fd = -ENOENT;
    }
    if (fd == -ENOENT && shmq_os_is(files->lock, &files->lock_identity))
        fd = shmq_os_reopen(files->lock, O_RDWR);
    return fd;
}

/* If *fd is not what it was any more, open `name` of `dir` again, provided that is. Else *fd becomes -1. 0, or -errno,
 * which is -ENOENT where the name has gone, or is another file's. */
static inline int shmq_files_repair_one(int *fd, const struct shmq_identity *identity, int dir, const char *name,
    int flags)
{
    int found;

    if (shmq_os_is(*fd, identity))
        return 0;
    *fd = -1;
    found = shmq_os_openat(dir, name, flags, 0);
    if (found < 0)
        return found;
    if (!shmq_os_is(found, identity)) {
        shmq_os_close(found);
        return -ENOENT;
    }
    *fd = found;
    return 0;
}

/* Open again what the program has closed, as long as the names still denote the same region. As above. */
static inline int shmq_files_repair(struct shmq_files *files, const struct shmq_directory *directory)
{
    int result = shmq_files_repair_one(&files->dir, &files->dir_identity, directory->fd, files->name,
        O_RDONLY | O_DIRECTORY);

    if (result)
        return result;
    return shmq_files_repair_one(&files->admin, &files->admin_identity, files->dir, "admin", O_RDWR);
}

/* Is the directory `dir` called `name`? 1, 0, or -errno. */
static inline int shmq_files_has_name(const struct shmq_directory *directory, const char *name, int dir)
{
    struct shmq_identity identity;
    struct stat status;
    int result = shmq_os_identify(dir, &identity);

    if (result == 0)
        result = shmq_os_fstatat(directory->fd, name, &status);
    if (result)
        return result == -ENOENT ? 0 : result;
    return shmq_os_same(&status, &identity);
}

/* Remove `name` from the directory, if it still denotes the directory `dir`, which must be empty. Should it get
 * another's in between, that one is not empty. */
static inline int shmq_files_remove_name(const struct shmq_directory *directory, const char *name, int dir)
{
    int named = shmq_files_has_name(directory, name, dir);

    if (named <= 0)
        return named ? named : -ENOENT;
    return shmq_os_unlinkat(directory->fd, name, AT_REMOVEDIR);
}

/* Remove a region's files and its name, whoever else does so at the same time. Goes through the directory's
 * descriptor, so it cannot hit a new region of that name. `last` goes last: while it is there, the next to come knows
 * what it sees: `admin` in a region that has ended, `lock` in one that has no name yet. Repeatable.
 * Returns 0, or the first -errno that is not the work of somebody who was faster; what is left then says the same. */
static inline int shmq_files_remove(const struct shmq_directory *directory, const char *name, int dir, const char *last)
{
    const char *file[4] = { "data", "lock", "admin", last };
    int result;

    for (int i = 0; i < 4; i++) {
        if (i < 3 && !strcmp(file[i], last))
            continue;
        result = shmq_os_unlinkat(dir, file[i], 0);
        if (result && result != -ENOENT)
            return result;
    }
    result = shmq_files_remove_name(directory, name, dir);
    if (result == -ENOENT || (result == -ENOTEMPTY && shmq_files_has_name(directory, name, dir) == 0))
        return 0;
    return result;
}

#endif
