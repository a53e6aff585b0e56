/* SPDX-License-Identifier: MIT */
/* A region's life: counted by attaching, ended by the last to go or by whoever finds nobody left.
 *
 *     attach: byte lock held, then CAS life v -> v + 1                           (region.h)
 *     end:    read life v, find every byte lock free, CAS life v -> ENDED, remove the files
 *
 * Whoever attached between the two reads has counted, so the ender's CAS fails; whoever comes after it finds ENDED.
 * So nobody is ever attached to a region that has ended [H1].
 */
#ifndef SHMQ_LIFE_H
#define SHMQ_LIFE_H

#include "files.h"
#include "guard.h"
#include "header.h"

#define SHMQ_LIFE_TRIES 1000    /* each failed one is somebody else's progress; hostile content must not hold us */

/* Does anybody hold a process slot's byte? 1 or 0, or -errno. */
static inline int shmq_life_attached(const struct shmq_files *files, uint32_t max_processes)
{
    int result, fd = shmq_files_open_lock(files);

    if (fd < 0)
        return fd;
    result = shmq_os_locked(fd, 0, max_processes);
    shmq_os_close(fd); /* it held nothing: no matter who inherited it */
    return result;
}

/* End the region if nobody is attached. 1: it has ended, by us or another; 0: somebody is attached; or -errno.
 * Any number of processes may call at once. Lock-free. */
static inline int shmq_life_end(const struct shmq_files *files, uint64_t *life, uint32_t max_processes)
{
    for (int i = 0; i < SHMQ_LIFE_TRIES; i++) {
        uint64_t seen = shmq_load_seq_cst(life, SHMQ_READ); /* before the locks: who attaches later changes it */
        int attached;

        if (seen == SHMQ_LIFE_ENDED)
            return 1;
        attached = shmq_life_attached(files, max_processes);
        if (attached == -ENOENT && shmq_load_seq_cst(life, SHMQ_READ) == SHMQ_LIFE_ENDED)
            return 1; /* another ended it and is removing the files */
        if (attached)
            return attached < 0 ? attached : 0;
        if (shmq_cas_seq_cst(life, seen, SHMQ_LIFE_ENDED, SHMQ_LIFE_END))
            return 1;
    }
    return 0;
}

/* End the region whoever is attached: its name is gone, they go on. */
static inline void shmq_life_end_always(uint64_t *life)
{
    for (int i = 0; i < SHMQ_LIFE_TRIES; i++) {
        uint64_t seen = shmq_load_seq_cst(life, SHMQ_READ);

        if (seen == SHMQ_LIFE_ENDED || shmq_cas_seq_cst(life, seen, SHMQ_LIFE_ENDED, SHMQ_LIFE_END))
            return;
    }
}

/* Run shmq_life_end, or with `always` shmq_life_end_always, on a region that is not mapped. As shmq_life_end;
 * SHMQ_GUARD_FULL; -ESTALE: the page that holds `life` has been taken away, and what was decided, was decided on
 * nothing. */
static inline int shmq_life_end_file(const struct shmq_files *files, const struct shmq_facts *facts, bool always)
{
    void *page;
    uint64_t *life;
    int result = shmq_guard_map(files->admin, SHMQ_PAGE, PROT_READ | PROT_WRITE, &page);

    if (result)
        return result;
    life = &((struct shmq_header *)page)->life;
    if (always) {
        shmq_life_end_always(life);
        result = 1;
    } else {
        result = shmq_life_end(files, life, facts->geometry.max_processes);
    }
    if (shmq_guard_lost(page))
        result = -ESTALE;
    shmq_guard_unmap(page, SHMQ_PAGE);
    return result;
}

/* Is this a region without anybody, to be ended by whoever meets it [M10]? Ends it then; an ended one counts too.
 * SHMQ_OK or an error code, and *over: whether its files are to be removed. */
static inline int shmq_life_check(struct shmq_files *files, const struct shmq_directory *directory,
    const struct shmq_facts *facts, bool *over, struct shmq_error *error)
{
    int result;

    *over = facts->life == SHMQ_LIFE_ENDED;
    if (*over) /* the lock file may be gone already */
        return SHMQ_OK;
    result = shmq_files_find_lock(files, directory, error);
    if (result || facts->persist)
        return result;
    result = shmq_life_attached(files, facts->geometry.max_processes);
    if (result == 0)
        *over = (result = shmq_life_end_file(files, facts, false)) == 1;
    if (result == SHMQ_GUARD_FULL)
        return shmq_guard_refused(error);
    return result < 0 ? shmq_error_set_os(error, "lock", result) : SHMQ_OK;
}

/* Open and verify the region files->name. One that has ended, or whose removal is under way, or that nobody is left
 * of, is removed on the way: AGAIN [M9], or LEFT where that cannot be done. NOT_FOUND: there is none. files stay open
 * in either case, for the caller to close. Returns SHMQ_OK or an error code. */
static inline int shmq_life_find(struct shmq_files *files, const struct shmq_directory *directory,
    struct shmq_facts *facts, struct shmq_error *error)
{
    struct stat status;
    int result = shmq_files_open(files, directory, &status, error);
    bool over = result == SHMQ_ERROR_AGAIN; /* no admin file: it goes last, so nothing is left to attach to */

    if (result == SHMQ_OK)
        result = shmq_header_read(files->admin, (uint64_t)status.st_size, facts, error);
    facts->owner = result == SHMQ_OK ? (uint32_t)status.st_uid : 0;
    if (result == SHMQ_OK)
        result = shmq_life_check(files, directory, facts, &over, error);
    if (!over)
        return result;
    result = shmq_files_remove(directory, files->name, files->dir, "admin");
    shmq_error_at(error, directory, files->name, NULL);
    if (result == 0)
        return shmq_error_set(error, SHMQ_ERROR_AGAIN, "life", SHMQ_LIFE_ENDED, 0);
    (void)shmq_error_set_entry(error, directory, "unlink", result);
    return error->code = SHMQ_ERROR_LEFT;
}

#endif
