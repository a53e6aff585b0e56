/* SPDX-License-Identifier: MIT */
/* What went wrong with a region or its files, with the facts that a good message states.
 *
 * A message is fact, value, limit, remedy. Here are fact, value and limit; the remedy belongs to who prints it.
 */
#ifndef SHMQ_ERROR_H
#define SHMQ_ERROR_H

#include "os.h"

#define SHMQ_PATH_MAX 1024       /* of the directory of regions, with its zero byte */
#define SHMQ_ERROR_PIDS 16

/* Returned by the functions of region.h, and distinct from enum shmq_result. Beside each: which fields it fills,
 * besides `what` and `path`. */
enum shmq_error_code {
    SHMQ_ERROR_INVALID = -101,       /* an option: found, expected (the bound that it breaks) */
    SHMQ_ERROR_NOT_FOUND = -102,     /* no such region, or no directory for it */
    SHMQ_ERROR_EXISTS = -103,        /* exclusive create: owner, pids (the creator) */
    SHMQ_ERROR_SECURITY = -104,      /* squatted, foreign, loose mode, not a plain file: found, expected, whose it is */
    SHMQ_ERROR_PERMISSION = -105,    /* os_errno, uid, gid, whose it is where that can be seen */
    SHMQ_ERROR_VERSION = -106,       /* other layout: found, expected (version32 | layout hash32) */
    SHMQ_ERROR_SIZE = -107,          /* larger than the region that is there: asked, found, pids (the creator) */
    SHMQ_ERROR_CORRUPT = -108,       /* a header field or a file's size: found, expected (the bound) */
    SHMQ_ERROR_SPACE = -109,         /* what: which limit; asked, available, found (usage), expected (limit) */
    SHMQ_ERROR_REGISTRY_FULL = -110, /* every process slot is held: expected (the limit), pids (who) */
    SHMQ_ERROR_GONE = -111,          /* a file of the region is missing, and it is not being removed */
    SHMQ_ERROR_SYSTEM = -112,        /* another system call failed: what (which), os_errno; expected (the limit on open
                                        files where that is used up) */
    SHMQ_ERROR_FORKED = -113,        /* the parent's handle in a forked child: found, expected (pids) */
    SHMQ_ERROR_AGAIN = -114,         /* the region changed hands meanwhile: start over. Never leaves region.h */
    SHMQ_ERROR_LEFT = -115,          /* an ended region's name or files could not be removed: os_errno, whose it is.
                                        Never leaves region.h */
    SHMQ_ERROR_PROCESS_NAME = -116,  /* another process has the name: pids (who) */
    SHMQ_ERROR_LOST = -117           /* memory of an open region is gone: what (tells it), found, expected, links */
};

struct shmq_error {
    int code;               /* enum shmq_error_code; 0: none */
    int os_errno;           /* of the system call that failed, or 0 */
    const char *what;       /* static text: the check, the field, the limit or the call */
    uint64_t found;
    uint64_t expected;
    uint64_t asked;         /* bytes */
    uint64_t available;     /* bytes */
    uint32_t uid, gid;      /* who asked */
    uint32_t owner, group;  /* whose file it is */
    uint32_t mode;          /* the file's: permissions … */
    uint32_t type;          /* … and kind, S_IFREG and so on; 0: whose it is could not be seen */
    uint32_t links;         /* names that it still has */
    uint32_t pid_count;
    uint64_t pids[SHMQ_ERROR_PIDS];
    char path[SHMQ_PATH_MAX + SHMQ_NAME_MAX + 64];
};

/* What the code says in a few words. */
static inline const char *shmq_error_text(int code)
{
    switch (code) {
    case SHMQ_ERROR_INVALID: return "invalid option";
    case SHMQ_ERROR_NOT_FOUND: return "no such region";
    case SHMQ_ERROR_EXISTS: return "the region exists";
    case SHMQ_ERROR_SECURITY: return "not a file that this user made";
    case SHMQ_ERROR_PERMISSION: return "no permission";
    case SHMQ_ERROR_VERSION: return "made by another version of shmq";
    case SHMQ_ERROR_SIZE: return "larger than the region that is there";
    case SHMQ_ERROR_CORRUPT: return "the region is corrupt";
    case SHMQ_ERROR_SPACE: return "too little memory";
    case SHMQ_ERROR_REGISTRY_FULL: return "every process slot is in use";
    case SHMQ_ERROR_GONE: return "files of the region are gone";
    case SHMQ_ERROR_SYSTEM: return "a system call failed";
    case SHMQ_ERROR_FORKED: return "a handle of the parent in a forked child";
    case SHMQ_ERROR_PROCESS_NAME: return "another process has this name";
    case SHMQ_ERROR_LOST: return "memory of the region is gone";
    case SHMQ_ERROR_AGAIN: return "the region changed hands meanwhile";
    case SHMQ_ERROR_LEFT: return "what is left of a region cannot be removed";
    default: return "no error";
    }
}

static inline void shmq_error_clear(struct shmq_error *error) { memset(error, 0, sizeof *error); }

/* All `set` functions below forget what stood in *error, but for its path, and return its code. */
static inline int shmq_error_set(struct shmq_error *error, enum shmq_error_code code, const char *what, uint64_t found,
    uint64_t expected)
{
    memset(error, 0, offsetof(struct shmq_error, path));
    error->code = code;
    error->what = what;
    error->found = found;
    error->expected = expected;
    error->uid = shmq_os_uid();
    error->gid = shmq_os_gid();
    return code;
}

/* Whose file, or directory, the error is about. */
static inline void shmq_error_whose(struct shmq_error *error, const struct stat *status)
{
    error->owner = (uint32_t)status->st_uid;
    error->group = (uint32_t)status->st_gid;
    error->mode = (uint32_t)status->st_mode & 07777;
    error->type = (uint32_t)status->st_mode & S_IFMT;
}

/* A system call gave -errno. `call` is static text. */
static inline int shmq_error_set_os(struct shmq_error *error, const char *call, int result)
{
    enum shmq_error_code code = SHMQ_ERROR_SYSTEM;

    if (result == -EACCES || result == -EPERM || result == -EROFS)
        code = SHMQ_ERROR_PERMISSION;
    else if (result == -ENOSPC || result == -EDQUOT)
        code = SHMQ_ERROR_SPACE;
    else if (result == -ELOOP || result == -ENOTDIR || result == -ENXIO || result == -EISDIR)
        code = SHMQ_ERROR_SECURITY; /* a symlink, no directory, a FIFO or socket, a directory */
    else if (result == -ENOENT || result == -ESTALE)
        code = SHMQ_ERROR_AGAIN; /* somebody removed it since we looked */
    shmq_error_set(error, code, call, 0, result == -EMFILE ? shmq_os_limit(RLIMIT_NOFILE) : 0);
    error->os_errno = -result;
    return code;
}

static inline void shmq_error_add_pid(struct shmq_error *error, uint64_t pid)
{
    if (error->pid_count < SHMQ_ERROR_PIDS)
        error->pids[error->pid_count++] = pid;
}

#endif
