/* SPDX-License-Identifier: MIT */
/* Is there room for a region? Asked before anything is touched.
 *
 * A full tmpfs is ENOSPC, but a file beyond RLIMIT_FSIZE is SIGXFSZ, and memory beyond a control group's limit is
 * SIGKILL. So the three are compared with what the region needs; the reservation itself stays the only guarantee.
 */
#ifndef SHMQ_SPACE_H
#define SHMQ_SPACE_H

#include "error.h"

/* Where a version of control groups keeps its memory limits. */
struct shmq_cgroup_files {
    const char *line;       /* how its line in /proc/self/cgroup begins, after the number */
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

/* One control group: is `asked` more than its limit leaves? */
static inline int shmq_space_check_group(const struct shmq_cgroup_files *files, const char *group, uint64_t asked,
    struct shmq_error *error)
{
    char path[SHMQ_PATH_MAX + 32], statistics[4096];
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
    char text[4096], group[SHMQ_PATH_MAX];
    char *line, *slash;
    size_t mount = strlen(files->mount);

    if (shmq_os_read_text(list, text, sizeof text) <= 0)
        return SHMQ_OK;
    line = strstr(text, files->line);
    if (!line)
        return SHMQ_OK;
    line += strlen(files->line);
    line[strcspn(line, "\n")] = 0;
    if (snprintf(group, sizeof group, "%s%s", files->mount, line) >= (int)sizeof group)
        return SHMQ_OK;
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

/* Can a region of these sizes be made in the directory `fd`? Returns SHMQ_OK or an error code. */
static inline int shmq_space_check(int fd, const struct shmq_geometry *geometry, struct shmq_error *error)
{
    const struct shmq_cgroup_files second = { "0::", "/sys/fs/cgroup", "memory.max", "memory.current",
        "inactive_file", "active_file" };
    const struct shmq_cgroup_files first = { ":memory:", "/sys/fs/cgroup/memory", "memory.limit_in_bytes",
        "memory.usage_in_bytes", "total_inactive_file", "total_active_file" };
    uint64_t largest = geometry->admin_size > geometry->data_size ? geometry->admin_size : geometry->data_size;
    uint64_t asked = geometry->reserve_size + shmq_round_up(geometry->data_size, SHMQ_PAGE);
    uint64_t limit = shmq_os_file_limit(), available = 0, total = 0;
    int result = shmq_os_free_space(fd, &available, &total);

    if (result)
        return shmq_error_set_os(error, "statvfs", result);
    if (largest > limit)
        return shmq_space_refuse("RLIMIT_FSIZE", largest, limit, 0, limit, error);
    if (asked > available)
        return shmq_space_refuse("file system", asked, available, total - available, total, error);
    result = shmq_space_check_groups(&second, "/proc/self/cgroup", asked, error);
    return result ? result : shmq_space_check_groups(&first, "/proc/self/cgroup", asked, error);
}

#endif
