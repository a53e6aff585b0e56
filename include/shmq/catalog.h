/* SPDX-License-Identifier: MIT */
/* All regions of a directory: list them, sweep what dead processes left of them, unlink one.
 *
 * A region that is not persistent ends with its last process. Where that one was killed, whoever next opens or lists
 * any region of the directory does it.
 */
#ifndef SHMQ_CATALOG_H
#define SHMQ_CATALOG_H

#include "fork.h"
#include "life.h"
#include "making.h"

/* What a lister learns of a region. `error.code` is 0, or why no more than the name is known. */
struct shmq_region_info {
    char name[SHMQ_NAME_MAX + 1];
    uint64_t id;
    uint64_t size;          /* of the data segment */
    uint64_t granule;
    uint64_t creator_pid;
    uint64_t created_ns;    /* since 1970 */
    uint32_t max_processes;
    uint32_t max_queues;
    uint32_t attached;      /* processes now */
    bool persist;
    struct shmq_error error;
};

typedef void shmq_region_visit(void *context, const struct shmq_region_info *info);

struct shmq_catalog {
    struct shmq_directory directory;
    const char *except;     /* a region not to look at, or NULL */
    shmq_region_visit *visit; /* or NULL */
    void *context;
    struct shmq_error *failure; /* the first thing that this process, not a region, lacked; or NULL */
};

/* How many process slots are held, or -errno. */
static inline int shmq_catalog_attached(const struct shmq_files *files, uint32_t max_processes)
{
    int attached = 0, held = 0, fd = shmq_files_open_lock(files);

    if (fd < 0)
        return fd;
    for (uint32_t slot = 0; held >= 0 && slot < max_processes; slot++) {
        held = shmq_os_locked(fd, slot, 1);
        attached += held;
    }
    shmq_os_close(fd);
    return held < 0 ? held : attached;
}

/* Does the error say something of this process, which lacks descriptors or memory, and nothing of the region? */
static inline bool shmq_catalog_own_failure(const struct shmq_error *error)
{
    return error->code == SHMQ_ERROR_SPACE || error->os_errno == EMFILE || error->os_errno == ENFILE
        || error->os_errno == ENOMEM;
}

static inline void shmq_catalog_tell(const struct shmq_catalog *catalog, const struct shmq_files *files,
    const struct shmq_facts *facts, struct shmq_error *error)
{
    struct shmq_region_info info;
    int attached = error->code ? 0 : shmq_catalog_attached(files, facts->geometry.max_processes);

    if (attached == -ENOENT) /* it is being removed */
        return;
    if (attached < 0)
        shmq_error_set_os(error, "lock", attached);
    if (shmq_catalog_own_failure(error)) {
        if (!catalog->failure->code)
            *catalog->failure = *error;
        return;
    }
    memset(&info, 0, sizeof info);
    memcpy(info.name, files->name, sizeof info.name);
    info.error = *error;
    if (!error->code) {
        info.id = facts->id;
        info.size = facts->geometry.data_size;
        info.granule = 1ull << facts->geometry.granule_shift;
        info.creator_pid = facts->creator_pid;
        info.created_ns = facts->created_ns;
        info.max_processes = facts->geometry.max_processes;
        info.max_queues = facts->geometry.max_queues;
        info.attached = (uint32_t)attached;
        info.persist = facts->persist;
    }
    catalog->visit(catalog->context, &info);
}

/* Look at one entry of the directory; remove it if it is over. */
static inline void shmq_catalog_meet(void *context, const char *entry)
{
    const struct shmq_catalog *catalog = (const struct shmq_catalog *)context;
    struct shmq_files files;
    struct shmq_facts facts;
    struct shmq_error error;
    int result;

    if (shmq_making_is_name(entry)) {
        (void)shmq_making_at_work(&catalog->directory, entry);
        return;
    }
    if (!shmq_name_valid(entry) || (catalog->except && !strcmp(entry, catalog->except)))
        return;
    shmq_error_clear(&error);
    shmq_files_init(&files, entry);
    result = shmq_life_find(&files, &catalog->directory, &facts, &error);
    if (catalog->visit && result != SHMQ_ERROR_AGAIN && result != SHMQ_ERROR_NOT_FOUND && result != SHMQ_ERROR_LEFT)
        shmq_catalog_tell(catalog, &files, &facts, &error);
    shmq_files_close(&files);
}

/* Sweep the directory on the way to opening region `except`. */
static inline void shmq_catalog_sweep(const struct shmq_directory *directory, const char *except)
{
    struct shmq_catalog catalog;

    memset(&catalog, 0, sizeof catalog);
    catalog.directory = *directory;
    catalog.except = except;
    (void)shmq_os_each_entry(directory->fd, shmq_catalog_meet, &catalog);
}

/* Open a directory that somebody names: shared with its group if it lets the group in (and judged as a group's is). */
static inline int shmq_catalog_open(struct shmq_directory *directory, const char *path, struct shmq_error *error)
{
    struct stat status;
    bool shared = path && shmq_os_fstatat(AT_FDCWD, path, &status) == 0 && status.st_mode & 070;
    int result = shmq_fork_prepare(error);

    return result ? result : shmq_directory_open(directory, path, shared, false, error);
}

/* Call visit(context, info) for each region of the directory (NULL: this user's own), after removing those that
 * nobody is left of. No directory is no region. Returns SHMQ_OK or an error code: where this process lacked what it
 * takes to look at a region, those that it could look at have been visited. Lock-free. */
static inline int shmq_region_list(const char *directory, shmq_region_visit *visit, void *context,
    struct shmq_error *error)
{
    struct shmq_catalog catalog;
    int result;

    shmq_error_clear(error);
    memset(&catalog, 0, sizeof catalog);
    catalog.visit = visit;
    catalog.context = context;
    catalog.failure = error;
    result = shmq_catalog_open(&catalog.directory, directory, error);
    if (result == SHMQ_ERROR_NOT_FOUND) {
        shmq_error_clear(error);
        return SHMQ_OK;
    }
    if (result)
        return result;
    result = shmq_os_each_entry(catalog.directory.fd, shmq_catalog_meet, &catalog);
    shmq_directory_close(&catalog.directory);
    if (result == 0)
        return error->code;
    shmq_error_at(error, &catalog.directory, NULL, NULL);
    return shmq_error_set_os(error, "readdir", result);
}

/* Open a region and mark it as ended. A header that cannot be trusted is no obstacle, but what this process lacks is:
 * who attaches meanwhile must find the mark. SHMQ_OK: its files may go. */
static inline int shmq_catalog_end(struct shmq_files *files, const struct shmq_directory *directory,
    struct shmq_error *error)
{
    struct shmq_facts facts;
    struct stat status;
    int result = shmq_files_open(files, directory, &status, error);

    if (result == SHMQ_OK)
        result = shmq_header_read(files->admin, (uint64_t)status.st_size, &facts, error);
    if (result == SHMQ_OK && (result = shmq_life_end_file(files, &facts, true)) < 0)
        result = shmq_space_blame_guarded(SHMQ_PAGE, result, error);
    return result < 0 && (files->dir < 0 || shmq_catalog_own_failure(error)) ? result : SHMQ_OK;
}

/* Unlink in an open directory. */
static inline int shmq_catalog_unlink(const struct shmq_directory *directory, const char *name,
    struct shmq_error *error)
{
    struct shmq_files files;
    int result;

    shmq_files_init(&files, name);
    result = shmq_catalog_end(&files, directory, error);
    if (result == SHMQ_OK) {
        result = shmq_files_remove(directory, name, files.dir, "admin");
        shmq_error_at(error, directory, name, NULL);
        result = result ? shmq_error_set_entry(error, directory, "unlink", result) : SHMQ_OK;
    }
    shmq_files_close(&files);
    return result;
}

/* Remove the name of a region; who is attached goes on undisturbed. `directory` as for shmq_region_list. SHMQ_OK,
 * NOT_FOUND unless missing_ok, or another error code. */
static inline int shmq_region_unlink(const char *name, const char *directory, bool missing_ok, struct shmq_error *error)
{
    struct shmq_directory opened;
    int result;

    shmq_error_clear(error);
    if (!shmq_name_valid(name))
        return shmq_error_set(error, SHMQ_ERROR_INVALID, "name", strlen(name), SHMQ_NAME_MAX);
    result = shmq_catalog_open(&opened, directory, error);
    if (result == SHMQ_OK) {
        result = shmq_catalog_unlink(&opened, name, error);
        shmq_directory_close(&opened);
    }
    if (result == SHMQ_OK || (result == SHMQ_ERROR_NOT_FOUND && missing_ok)) {
        shmq_error_clear(error);
        return SHMQ_OK;
    }
    return result;
}

#endif
