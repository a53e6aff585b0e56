/* SPDX-License-Identifier: MIT */
/* Is there room? Asked before anything is touched, and again what it was once the kernel has refused.
 *
 * A full tmpfs is ENOSPC, but a file beyond RLIMIT_FSIZE is SIGXFSZ, and memory beyond a control group's limit is
 * SIGKILL. So what is needed is compared with every limit; the reservation itself stays the only guarantee.
 */
#ifndef SHMQ_SPACE_H
#define SHMQ_SPACE_H

#include "files.h"
#include "guard.h"
#include "names.h"

#define SHMQ_SPACE_FILES 4u         /* inodes of a region: its directory, admin, data, lock */
#define SHMQ_SPACE_SMALL (16 * SHMQ_PAGE) /* less than the kernel charges a control group at a time */

/* Where a version of control groups keeps its memory limits. */
struct shmq_cgroup_files {
    const char *controller; /* as its line in /proc/self/cgroup names it; "": the second version's */
    const char *mount;
    const char *limit, *usage;
    const char *inactive, *active; /* lines of memory.stat: page cache, which the kernel gives back */
};

static inline int shmq_space_refuse(const char *limit, uint64_t asked, uint64_t available, uint64_t usage,
    uint64_t maximum, struct shmq_error *error)
{
    shmq_error_set(error, SHMQ_ERROR_SPACE, limit, usage, maximum);
    error->asked = asked;
    error->available = available;
    return error->code;
}

/* ---- control groups -------------------------------------------------------------------------------------- */

/* The number in a one-line file; UINT64_MAX where it says "max" or cannot be read. */
static inline uint64_t shmq_space_number(const char *path)
{
    char text[64];

    if (shmq_os_read_text(path, text, sizeof text) <= 0 || text[0] < '0' || text[0] > '9')
        return UINT64_MAX;
    return strtoull(text, NULL, 10);
}

/* The number after `key` at the start of a line; 0 where it is not there. */
static inline uint64_t shmq_space_line(const char *text, const char *key)
{
    size_t length = strlen(key);

    for (const char *line = text; line; line = strchr(line, '\n')) {
        line += *line == '\n';
        if (!strncmp(line, key, length) && line[length] == ' ')
            return strtoull(line + length, NULL, 10);
    }
    return 0;
}

/* The group in `list`, lines of "number:controller,controller:/group"; NULL where the controller has none. Ends the
 * line in place. */
static inline char *shmq_space_group(char *list, const char *controller)
{
    size_t length = strlen(controller);

    for (char *line = list, *next; line && *line; line = next) {
        char *name, *group;

        next = strchr(line, '\n');
        if (next)
            *next++ = 0;
        name = strchr(line, ':');
        group = name ? strchr(name + 1, ':') : NULL;
        if (!group)
            continue;
        for (name++; name <= group; name += strcspn(name, ",:") + 1)
            if (strcspn(name, ",:") == length && !strncmp(name, controller, length))
                return group + 1;
    }
    return NULL;
}

/* One control group: is `asked` more than its limit leaves? */
static inline int shmq_space_check_group(const struct shmq_cgroup_files *files, const char *group, uint64_t asked,
    struct shmq_error *error)
{
    char path[SHMQ_PATH_MAX + 32], statistics[8192];
    uint64_t limit, usage, cache;

    snprintf(path, sizeof path, "%s/%s", group, files->limit);
    limit = shmq_space_number(path);
    if (limit >= UINT64_MAX / 4) /* none, or the first version's way to say so */
        return SHMQ_OK;
    snprintf(path, sizeof path, "%s/%s", group, files->usage);
    usage = shmq_space_number(path);
    if (usage == UINT64_MAX)
        return SHMQ_OK;
    snprintf(path, sizeof path, "%s/memory.stat", group);
    (void)shmq_os_read_text(path, statistics, sizeof statistics);
    cache = shmq_space_line(statistics, files->inactive) + shmq_space_line(statistics, files->active);
    usage = usage > cache ? usage - cache : 0;
    if (usage < limit && asked <= limit - usage)
        return SHMQ_OK;
    shmq_space_refuse("memory control group", asked, usage < limit ? limit - usage : 0, usage, limit, error);
    snprintf(error->path, sizeof error->path, "%s", group);
    return error->code;
}

/* This process's control group and all above it. `list` is /proc/self/cgroup. */
static inline int shmq_space_check_groups(const struct shmq_cgroup_files *files, const char *list, uint64_t asked,
    struct shmq_error *error)
{
    char text[8192], group[SHMQ_PATH_MAX];
    char *name, *slash;
    size_t mount = strlen(files->mount), length;

    if (shmq_os_read_text(list, text, sizeof text) <= 0)
        return SHMQ_OK;
    name = shmq_space_group(text, files->controller);
    length = name ? (size_t)snprintf(group, sizeof group, "%s%s", files->mount, name) : sizeof group;
    if (length >= sizeof group)
        return SHMQ_OK;
    if (group[length - 1] == '/') /* the root group */
        group[length - 1] = 0;
    for (;;) {
        int result = shmq_space_check_group(files, group, asked, error);

        if (result)
            return result;
        slash = strrchr(group, '/');
        if (!slash || (size_t)(slash - group) < mount)
            return SHMQ_OK;
        *slash = 0;
    }
}

/* `bytes` of shared memory, and what the kernel keeps of them besides: page tables, the file's own tree (5 parts in
 * 1,000 together), and the lot in which it charges a group. */
static inline uint64_t shmq_space_charged(uint64_t bytes) { return bytes + bytes / 128 + 64 * SHMQ_PAGE; }

/* May this process touch `bytes` more of memory, or would a control group's limit get it killed? SHMQ_OK or SPACE. Not
 * asked for a few pages: looking takes 40 us, and who is that close to the limit dies of the next malloc. */
static inline int shmq_space_check_memory(uint64_t bytes, struct shmq_error *error)
{
    const struct shmq_cgroup_files second = { "", "/sys/fs/cgroup", "memory.max", "memory.current", "inactive_file",
        "active_file" };
    const struct shmq_cgroup_files first = { "memory", "/sys/fs/cgroup/memory", "memory.limit_in_bytes",
        "memory.usage_in_bytes", "total_inactive_file", "total_active_file" };
    uint64_t asked = shmq_space_charged(bytes);
    int result;

    if (bytes <= SHMQ_SPACE_SMALL)
        return SHMQ_OK;
    result = shmq_space_check_groups(&second, "/proc/self/cgroup", asked, error);
    return result ? result : shmq_space_check_groups(&first, "/proc/self/cgroup", asked, error);
}

/* ---- limits of the process and of the file system ---------------------------------------------------------- */

/* May this process map `bytes` more? SHMQ_OK or SPACE. */
static inline int shmq_space_check_mappings(uint64_t bytes, struct shmq_error *error)
{
    uint64_t limit = shmq_os_limit(RLIMIT_AS), usage;

    if (limit == UINT64_MAX)
        return SHMQ_OK;
    usage = shmq_os_address_space();
    if (usage < limit && bytes <= limit - usage)
        return SHMQ_OK;
    return shmq_space_refuse("RLIMIT_AS", bytes, usage < limit ? limit - usage : 0, usage, limit, error);
}

/* What a process maps of a region. */
static inline uint64_t shmq_space_mapped(const struct shmq_geometry *geometry)
{
    return geometry->admin_size + shmq_round_up(geometry->data_size, SHMQ_PAGE) + SHMQ_PAGE; /* and the lock's page */
}

/* What a region takes of the file system with its maker's inbox, before it has other queues. */
static inline uint64_t shmq_space_reserved(const struct shmq_geometry *geometry)
{
    uint64_t inbox = shmq_round_up(8ull << shmq_capacity_shift(SHMQ_INBOX_DEPTH), SHMQ_PAGE);

    return geometry->reserve_size + inbox + shmq_round_up(geometry->data_size, SHMQ_PAGE);
}

/* Has the file system of `fd` so many bytes left? */
static inline int shmq_space_check_file_system(int fd, uint64_t asked, struct shmq_error *error)
{
    struct shmq_room room;
    int result = shmq_os_room(fd, &room);

    if (result)
        return shmq_error_set_os(error, "statvfs", result);
    if (asked > room.bytes_free)
        return shmq_space_refuse("file system", asked, room.bytes_free, room.bytes - room.bytes_free, room.bytes,
            error);
    return SHMQ_OK;
}

/* Can a region of these sizes be made in the directory `fd`? Returns SHMQ_OK or an error code. */
static inline int shmq_space_check(int fd, const struct shmq_geometry *geometry, struct shmq_error *error)
{
    uint64_t largest = geometry->admin_size > geometry->data_size ? geometry->admin_size : geometry->data_size;
    uint64_t limit = shmq_os_limit(RLIMIT_FSIZE), asked = shmq_space_reserved(geometry);
    int result;

    if (largest > limit)
        return shmq_space_refuse("RLIMIT_FSIZE", largest, limit, 0, limit, error);
    result = shmq_space_check_mappings(shmq_space_mapped(geometry), error);
    if (result == SHMQ_OK)
        result = shmq_space_check_file_system(fd, asked, error);
    return result ? result : shmq_space_check_memory(asked, error);
}

/* ---- what it was -------------------------------------------------------------------------------------------- */

/* *error says that the file system of `fd` has no space for a file or directory of a region that would reserve `bytes`
 * there: add which limit that is. */
static inline int shmq_space_blame_file(int fd, uint64_t bytes, struct shmq_error *error)
{
    struct shmq_room room;
    int os_errno = error->os_errno;

    error->asked = bytes;
    if (os_errno != ENOSPC || shmq_os_room(fd, &room))
        return error->code;
    if (room.files_free < SHMQ_SPACE_FILES)
        shmq_space_refuse("inodes", SHMQ_SPACE_FILES, room.files_free, room.files - room.files_free, room.files, error);
    else
        shmq_space_refuse("file system", bytes, room.bytes_free, room.bytes - room.bytes_free, room.bytes, error);
    error->os_errno = os_errno;
    return error->code;
}

/* Reserving `bytes` for the file `fd` gave -errno. */
static inline int shmq_space_blame_memory(int fd, uint64_t bytes, int result, struct shmq_error *error)
{
    struct shmq_room room;

    shmq_error_set_os(error, "fallocate", result);
    error->asked = bytes;
    if (result == -ENOMEM)
        error->code = SHMQ_ERROR_SPACE;
    if (result != -ENOSPC || shmq_os_room(fd, &room))
        return error->code;
    shmq_space_refuse("file system", bytes, room.bytes_free, room.bytes - room.bytes_free, room.bytes, error);
    error->os_errno = ENOSPC;
    return error->code;
}

/* Mapping `bytes` gave -errno. */
static inline int shmq_space_blame_mapping(uint64_t bytes, int result, struct shmq_error *error)
{
    shmq_error_set_os(error, "mmap", result);
    error->asked = bytes;
    if (result == -ENOMEM) /* the limit of the address space, or on the number of mappings */
        error->code = SHMQ_ERROR_SPACE;
    return error->code;
}

/* A guarded mapping of `bytes` failed. */
static inline int shmq_space_blame_guarded(uint64_t bytes, int result, struct shmq_error *error)
{
    if (result == SHMQ_GUARD_FULL)
        return shmq_guard_refused(error);
    return shmq_space_blame_mapping(bytes, result, error);
}

#endif
