/* SPDX-License-Identifier: MIT */
/* A region without a name: three memfds (memfds.h). Who is handed their descriptors can attach to it, and nobody else.
 *
 * There is no name to remove and so no end to agree on: the kernel frees the memory with the last descriptor and
 * mapping. Such a region counts as persistent, also while its descriptors are on their way and nobody is attached. Of
 * who died, whoever comes next recovers the process slot as in any region.
 */
#ifndef SHMQ_ANONYMOUS_H
#define SHMQ_ANONYMOUS_H

#include "memfds.h"
#include "region.h"

/* ---- map and join ---------------------------------------------------------------------------------------- */

/* Map the data segment, for reading only through a description that cannot write. */
static inline int shmq_anonymous_map_data(const struct shmq_region *region, uint64_t size, void **data,
    struct shmq_error *error)
{
    int result, fd = region->files.data, reader = -1;

    if (region->receive_only && shmq_os_access_mode(fd) != O_RDONLY) {
        fd = reader = shmq_os_reopen(fd, O_RDONLY);
        if (fd < 0)
            return shmq_error_set_os(error, "open", fd);
    }
    result = shmq_guard_map(fd, size, shmq_region_protection(region), data);
    if (reader >= 0)
        shmq_os_close(reader);
    return result ? shmq_space_blame_guarded(size, result, error) : SHMQ_OK;
}

/* Map both segments. What is mapped when it fails, shmq_region_forget unmaps. */
static inline int shmq_anonymous_map(struct shmq_region *region, const struct shmq_geometry *geometry,
    struct shmq_error *error)
{
    void *admin = NULL, *data = NULL;
    int result = shmq_space_check_mappings(shmq_space_mapped(geometry), error);

    if (result)
        return result;
    shmq_memfds_error_at(error, SHMQ_HANDED_DATA);
    result = shmq_anonymous_map_data(region, geometry->data_size, &data, error);
    if (result)
        return result;
    shmq_memfds_error_at(error, SHMQ_HANDED_ADMIN);
    result = shmq_guard_map(region->files.admin, geometry->admin_size, PROT_READ | PROT_WRITE, &admin);
    if (result) {
        shmq_guard_unmap(data, geometry->data_size);
        return shmq_space_blame_guarded(geometry->admin_size, result, error);
    }
    shmq_region_mapped(region, geometry, admin, data);
    return SHMQ_OK;
}

/* Take a process slot of the region that is mapped. */
static inline int shmq_anonymous_join(struct shmq_region *region, const struct shmq_region_options *options,
    struct shmq_error *error)
{
    int result;

    shmq_memfds_error_at(error, SHMQ_HANDED_LOCK);
    result = shmq_region_take_slot(region, error);
    if (result == SHMQ_OK)
        result = shmq_region_enter(region, shmq_region_process_name(options), error);
    return result ? result : shmq_region_begin(region, options, error);
}

/* ---- create ----------------------------------------------------------------------------------------------- */

/* There is nothing to start over with: what is missing here is /proc, or the header says that the region has ended,
 * which nobody writes into this kind of region. */
static inline int shmq_anonymous_blame(struct shmq_error *error)
{
    if (error->code == SHMQ_ERROR_AGAIN)
        error->code = error->os_errno ? SHMQ_ERROR_SYSTEM : SHMQ_ERROR_GONE;
    return error->code;
}

/* It did not work: nothing is left. */
static inline int shmq_anonymous_fail(struct shmq_region *region, struct shmq_error *error)
{
    shmq_region_forget(region);
    return shmq_anonymous_blame(error);
}

/* Create a region without a name and attach to it. options: no name, directory, mode or persist; how is not looked
 * at. Any number of threads may call at once, each with a region of its own. SHMQ_OK, or an error code with *error
 * filled; then the region is closed and nothing is left. */
static inline int shmq_region_create_anonymous(struct shmq_region *region, const struct shmq_region_options *options,
    struct shmq_error *error)
{
    struct shmq_facts plan;
    int result;

    shmq_error_clear(error);
    memset(region, 0, sizeof *region);
    if (options->sole_writer && options->receive_only)
        return shmq_region_invalid("sole_writer of who only receives", 1, 0, error);
    result = shmq_region_plan_facts(options, &plan, error);
    if (result == SHMQ_OK)
        result = shmq_fork_prepare(error);
    if (result)
        return result;
    shmq_region_init(region, options);
    plan.persist = region->persist = true;
    region->id = plan.id;
    result = shmq_memfds_make(&region->files, &plan, error);
    if (result == SHMQ_OK)
        result = shmq_anonymous_map(region, &plan.geometry, error);
    if (result == SHMQ_OK) {
        shmq_header_format(&region->map, &plan);
        shmq_buddy_format(&region->map);
        result = shmq_memfds_seal(&region->files, options->sole_writer, error);
    }
    if (result == SHMQ_OK)
        result = shmq_anonymous_join(region, options, error);
    return result ? shmq_anonymous_fail(region, error) : SHMQ_OK;
}

/* ---- attach ----------------------------------------------------------------------------------------------- */

static inline int shmq_anonymous_attach(struct shmq_region *region, const int *handed,
    const struct shmq_region_options *options, struct shmq_error *error)
{
    struct shmq_handed taken[SHMQ_HANDED_FILES];
    struct shmq_facts facts;
    int writable, result = shmq_memfds_take_all(&region->files, handed, taken, error);

    if (result == SHMQ_OK)
        result = shmq_memfds_verify(taken, &facts, error);
    if (result)
        return result;
    region->persist = true;
    region->id = facts.id;
    writable = shmq_memfds_writable(region->files.data);
    if (writable < 0)
        return shmq_error_set_os(error, "descriptor", writable);
    if (!writable)
        region->receive_only = true;
    result = shmq_anonymous_map(region, &facts.geometry, error);
    return result ? result : shmq_anonymous_join(region, options, error);
}

/* Attach to the anonymous region that the descriptors denote, in the order of the enum above. They stay the caller's.
 * options: process, prefault and receive_only count; region->receive_only says what became of it, since descriptors
 * that cannot write leave no choice. Otherwise as shmq_region_create_anonymous. */
static inline int shmq_region_attach_handed(struct shmq_region *region, const int *handed,
    const struct shmq_region_options *options, struct shmq_error *error)
{
    int result;

    shmq_error_clear(error);
    memset(region, 0, sizeof *region);
    if (options->process && strlen(options->process) > SHMQ_NAME_MAX)
        return shmq_region_invalid("process name", strlen(options->process), SHMQ_NAME_MAX, error);
    result = shmq_fork_prepare(error);
    if (result)
        return result;
    shmq_region_init(region, options);
    result = shmq_anonymous_attach(region, handed, options, error);
    return result ? shmq_anonymous_fail(region, error) : SHMQ_OK;
}

/* ---- hand on --------------------------------------------------------------------------------------------- */

#define SHMQ_HANDED_CLOSED "descriptor of the region" /* error->what where the program has closed it */

/* Are the three still the region's? A descriptor that the program has closed may be a file of its own by now, which
 * must go to nobody. */
static inline int shmq_region_check_handed(const struct shmq_files *files, struct shmq_error *error)
{
    const int fd[SHMQ_HANDED_FILES] = { files->admin, files->data, files->lock };
    const struct shmq_identity *identity[SHMQ_HANDED_FILES]
        = { &files->admin_identity, &files->data_identity, &files->lock_identity };

    for (int which = 0; which < SHMQ_HANDED_FILES; which++) {
        shmq_memfds_error_at(error, which);
        if (!shmq_os_is(fd[which], identity[which]))
            return shmq_error_set_os(error, SHMQ_HANDED_CLOSED, -EBADF);
    }
    return SHMQ_OK;
}

/* The descriptors to hand on, which stay the region's. `receive_only`: of them the one of the data segment is for
 * reading. INVALID: the region has a name; PERMISSION: more is asked for than this process has; SYSTEM: the program has
 * closed one of them. */
static inline int shmq_region_hand(struct shmq_region *region, bool receive_only, int *handed, struct shmq_error *error)
{
    struct shmq_files *files = &region->files;
    int mode;

    shmq_error_clear(error);
    if (files->name[0])
        return shmq_region_invalid("region has a name", 1, 0, error);
    if (shmq_region_check_handed(files, error))
        return error->code;
    shmq_memfds_error_at(error, SHMQ_HANDED_DATA);
    handed[SHMQ_HANDED_ADMIN] = files->admin;
    handed[SHMQ_HANDED_DATA] = files->data;
    handed[SHMQ_HANDED_LOCK] = files->lock;
    mode = shmq_os_access_mode(files->data);
    if (mode < 0)
        return shmq_error_set_os(error, "descriptor", mode);
    if (!receive_only)
        return mode == O_RDWR ? SHMQ_OK : shmq_error_set_os(error, "descriptor", -EACCES);
    if (mode == O_RDONLY)
        return SHMQ_OK;
    if (!shmq_os_is(files->data_read, &files->data_identity)) {
        int fd = shmq_os_reopen(files->data, O_RDONLY);

        if (fd < 0) {
            shmq_error_set_os(error, "open", fd);
            return shmq_anonymous_blame(error);
        }
        files->data_read = fd;
    }
    handed[SHMQ_HANDED_DATA] = files->data_read;
    return SHMQ_OK;
}

#endif
