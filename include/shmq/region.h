/* SPDX-License-Identifier: MIT */
/* A region as a process sees it: create it or attach to it, recover the dead, close it.
 *
 * Creating and attaching may race with any number of others, and with any death: the name denotes a complete region
 * or none (making.h), and nobody is ever attached to one that has ended (life.h). Whatever has to start over does so
 * because somebody else got on.
 */
#ifndef SHMQ_REGION_H
#define SHMQ_REGION_H

#include "buddy.h"
#include "catalog.h"
#include "fork.h"
#include "loss.h"
#include "options.h"
#include "space.h"
#include "sweep.h"

#define SHMQ_REGION_TRIES 1000           /* each start over is somebody else's progress, or a file is missing */
#define SHMQ_SLOTS_HELD (-EUSERS)        /* all are: no errno of what is done with files or mappings */
#define SHMQ_SLOT_TRIES 10               /* a slot may be held for a moment by who probes it [U5] */
#define SHMQ_SLOT_PAUSE_NS 1000000u

/* Private memory. It is pointed into: it must not move while open. Zeroed: closed. */
struct shmq_region {
    struct shmq_map map;    /* map.admin is NULL while closed */
    struct shmq_actor self;
    struct shmq_ops ops;
    struct shmq_directory directory; /* its descriptor is open only while needed */
    struct shmq_files files;
    void *lock_page;        /* this mapping holds the byte of self.slot */
    pthread_mutex_t mutex;  /* one thread recovers, or reopens files, at a time [D7] */
    struct shmq_queue_ref inbox;
    uint64_t id;
    struct shmq_estate estate; /* both segments, for forked children */
    uint64_t pid;           /* another one: a forked child, for which this is not open */
    bool persist;
    bool receive_only;      /* the data segment cannot be written through this mapping */
    struct shmq_error refusal; /* why memory for a queue's slots was refused last; the mutex guards it */
};

/* ---- files and mappings of an open region ---------------------------------------------------------------- */

/* Open the directory, and whatever of the region's files the program has closed. 0 or -errno; -ENOENT: no name leads
 * there. */
static inline int shmq_region_reach(struct shmq_region *region)
{
    int result;

    if (!region->files.name[0]) /* its descriptors are all there is */
        return -ENOENT;
    region->directory.fd = shmq_os_openat(AT_FDCWD, region->directory.path, O_RDONLY | O_DIRECTORY, 0);
    result = shmq_files_repair(&region->files, &region->directory);
    if (result && result != -ENOENT && region->directory.fd < 0)
        result = region->directory.fd;
    return result;
}

/* Have admin open: open it again where the program closed it. */
static inline int shmq_region_reach_admin(struct shmq_region *region, struct shmq_error *error)
{
    int result;

    if (shmq_os_is(region->files.admin, &region->files.admin_identity))
        return SHMQ_OK;
    result = shmq_region_reach(region);
    if (region->directory.fd >= 0)
        shmq_os_close(region->directory.fd);
    region->directory.fd = -1;
    if (result == -ENOENT)
        return shmq_error_set(error, SHMQ_ERROR_GONE, "admin", 0, 0);
    return result ? shmq_error_set_os(error, "open", result) : SHMQ_OK;
}

/* ops->reserve: make room for a queue's slots in the admin segment. */
static inline int shmq_region_reserve(void *context, uint64_t offset, uint64_t bytes)
{
    struct shmq_region *region = (struct shmq_region *)context;
    struct shmq_error *error = &region->refusal;
    int code, result;

    pthread_mutex_lock(&region->mutex);
    shmq_error_at(error, &region->directory, region->files.name, "admin");
    code = shmq_region_reach_admin(region, error);
    if (code == SHMQ_OK)
        code = shmq_space_check_memory(bytes, error);
    if (code == SHMQ_OK && (result = shmq_os_reserve(region->files.admin, offset, bytes)) != 0)
        code = shmq_space_blame_memory(region->files.admin, bytes, result, error);
    pthread_mutex_unlock(&region->mutex);
    return code ? SHMQ_NO_SPACE : SHMQ_OK;
}

/* Why a queue's slots found no space (SHMQ_NO_SPACE), as far as no other thread has met another refusal since. */
static inline void shmq_region_refusal(struct shmq_region *region, struct shmq_error *error)
{
    pthread_mutex_lock(&region->mutex);
    *error = region->refusal;
    pthread_mutex_unlock(&region->mutex);
}

/* Is this the process that opened the region? A forked child's copy is not open, and must touch nothing. The pid alone
 * would tell a child in another pid namespace nothing, the handler alone one of _Fork. */
static inline int shmq_region_check_fork(const struct shmq_region *region, struct shmq_error *error)
{
    uint64_t pid = shmq_os_pid();

    if (pid == region->pid && !region->estate.inherited)
        return SHMQ_OK;
    return shmq_error_set(error, SHMQ_ERROR_FORKED, "process", pid, region->pid);
}

/* Unmap and close everything. Writes no shared memory and removes no file. */
static inline void shmq_region_forget(struct shmq_region *region)
{
    struct shmq_error error;

    if (shmq_region_check_fork(region, &error))
        region->lock_page = NULL; /* the parent's: no mapping of this process */
    shmq_lock_drop(&region->lock_page);
    shmq_fork_unwatch(&region->estate);
    if (region->map.admin)
        shmq_guard_unmap(region->map.admin, region->map.geometry.admin_size);
    if (region->map.data)
        shmq_guard_unmap(region->map.data, region->map.geometry.data_size);
    region->map.admin = region->map.data = NULL;
    shmq_files_close(&region->files);
}

/* Give up the process slot's byte; if that was the last, end the region. The slot is FREE. Takes one descriptor at a
 * time, in the place of admin's, which nobody needs any more: so it can be done where the process has none left. */
static inline void shmq_region_leave(struct shmq_region *region)
{
    shmq_lock_drop(&region->lock_page);
    shmq_files_close_one(&region->files.admin, &region->files.admin_identity);
    if (region->persist
        || shmq_life_end(&region->files, &region->map.header->life, region->map.geometry.max_processes) != 1)
        return;
    if (region->directory.fd < 0)
        region->directory.fd = shmq_os_openat(AT_FDCWD, region->directory.path, O_RDONLY | O_DIRECTORY, 0);
    (void)shmq_files_remove(&region->directory, region->files.name, region->files.dir, "admin");
}

static inline void shmq_region_init(struct shmq_region *region, const struct shmq_region_options *options)
{
    memset(region, 0, sizeof *region);
    region->directory.fd = -1;
    shmq_files_init(&region->files, options->name);
    pthread_mutex_init(&region->mutex, NULL);
    region->pid = shmq_os_pid();
    region->receive_only = options->receive_only;
    region->ops.reserve = shmq_region_reserve;
    region->ops.sleep = shmq_os_sleep;
    region->ops.wake = shmq_os_wake;
    region->ops.now = shmq_os_clock;
    region->ops.yield = shmq_os_yield;
    region->ops.context = region;
}

/* ---- attach ---------------------------------------------------------------------------------------------- */

/* Is the region that is there one that the options ask for? */
static inline int shmq_region_fits(const struct shmq_region_options *options, const struct shmq_facts *facts,
    struct shmq_error *error)
{
    if (options->how == SHMQ_REGION_CREATE)
        shmq_error_set(error, SHMQ_ERROR_EXISTS, "name", 0, 0);
    else if (options->size > facts->geometry.data_size)
        shmq_error_set(error, SHMQ_ERROR_SIZE, "size", facts->geometry.data_size, options->size);
    else
        return SHMQ_OK;
    error->asked = options->size;
    error->owner = facts->owner;
    shmq_error_add_pid(error, facts->creator_pid);
    return error->code;
}

/* Of the data segment. */
static inline int shmq_region_protection(const struct shmq_region *region)
{
    return region->receive_only ? PROT_READ : PROT_READ | PROT_WRITE;
}

/* Map the data segment of a region that has a name. Where it is opened for reading, the kernel never lets the mapping
 * be written, nor made writable. */
static inline int shmq_region_map_data(struct shmq_region *region, const struct shmq_directory *directory,
    uint64_t size, void **data, struct shmq_error *error)
{
    struct stat status;
    int flags = region->receive_only ? O_RDONLY : O_RDWR;
    int result, fd = shmq_files_open_entry(directory, region->files.dir, "data", flags, S_IFREG, &status, error);

    shmq_error_at(error, directory, region->files.name, "data");
    if (fd < 0)
        return fd;
    shmq_files_keep_data(&region->files, fd, &status);
    if ((uint64_t)status.st_size != size)
        return shmq_error_set(error, SHMQ_ERROR_CORRUPT, "file size", (uint64_t)status.st_size, size);
    result = shmq_guard_map(fd, size, shmq_region_protection(region), data);
    return result ? shmq_space_blame_guarded(size, result, error) : SHMQ_OK;
}

/* Both segments are mapped, at `admin` and `data`. */
static inline void shmq_region_mapped(struct shmq_region *region, const struct shmq_geometry *geometry, void *admin,
    void *data)
{
    const struct shmq_files *files = &region->files;
    const struct shmq_heirloom segments[2] = {
        { admin, geometry->admin_size, geometry->reserve_size, PROT_READ | PROT_WRITE, &files->admin,
            &files->admin_identity },
        { data, geometry->data_size, geometry->data_size, shmq_region_protection(region), &files->data,
            &files->data_identity },
    };

    shmq_os_spare_holes(admin, geometry->reserve_size, geometry->admin_size);
    shmq_map_init(&region->map, geometry, admin, data, &region->ops);
    memcpy(region->estate.heirloom, segments, sizeof segments);
    shmq_fork_watch(&region->estate);
}

/* Map both segments. What is mapped when it fails, shmq_region_forget unmaps. */
static inline int shmq_region_map(struct shmq_region *region, const struct shmq_directory *directory,
    const struct shmq_geometry *geometry, struct shmq_error *error)
{
    void *admin = NULL, *data = NULL;
    int result = shmq_space_check_mappings(shmq_space_mapped(geometry), error);

    if (result == SHMQ_OK)
        result = shmq_region_map_data(region, directory, geometry->data_size, &data, error);
    if (result)
        return result;
    shmq_error_at(error, directory, region->files.name, "admin");
    result = shmq_guard_map(region->files.admin, geometry->admin_size, PROT_READ | PROT_WRITE, &admin);
    if (result) {
        shmq_guard_unmap(data, geometry->data_size);
        return shmq_space_blame_guarded(geometry->admin_size, result, error);
    }
    shmq_region_mapped(region, geometry, admin, data);
    return SHMQ_OK;
}

/* Lock the byte of some process slot, through a description of this process's own. The slot, or -errno, or
 * SHMQ_SLOTS_HELD. */
static inline int shmq_region_try_slots(struct shmq_region *region)
{
    int fd, result = SHMQ_SLOTS_HELD, slot = 0;

    shmq_lock_guard_enter();
    fd = shmq_files_open_lock(&region->files);
    if (fd < 0)
        result = fd;
    for (; fd >= 0 && slot < (int)region->map.geometry.max_processes; slot++) {
        result = shmq_os_lock(fd, (uint64_t)slot);
        if (result != -EAGAIN)
            break;
        result = SHMQ_SLOTS_HELD;
    }
    if (result == 0)
        result = shmq_lock_keep(fd, &region->lock_page);
    if (fd >= 0)
        shmq_os_close(fd);
    shmq_lock_guard_leave();
    return result ? result : slot;
}

static inline int shmq_region_registry_full(const struct shmq_region *region, struct shmq_error *error)
{
    const struct shmq_map *map = &region->map;

    shmq_error_set(error, SHMQ_ERROR_REGISTRY_FULL, "process slots", map->geometry.max_processes,
        map->geometry.max_processes);
    for (uint32_t slot = 0; slot < map->geometry.max_processes; slot++)
        if (!shmq_process_is_free(map, slot))
            shmq_error_add_pid(error, shmq_load_acquire(&map->process[slot].pid, SHMQ_READ));
    return error->code;
}

/* Take a process slot; what a dead process left in it is closed first. */
static inline int shmq_region_take_slot(struct shmq_region *region, struct shmq_error *error)
{
    int slot = SHMQ_SLOTS_HELD;

    for (int i = 0; i < SHMQ_SLOT_TRIES && slot == SHMQ_SLOTS_HELD; i++) {
        if (i)
            shmq_os_pause(SHMQ_SLOT_PAUSE_NS);
        slot = shmq_region_try_slots(region);
    }
    if (slot == SHMQ_SLOTS_HELD)
        return shmq_region_registry_full(region, error);
    if (slot < 0)
        return shmq_error_set_os(error, "lock", slot);
    shmq_actor_init(&region->self, &region->map, (uint32_t)slot, 0);
    shmq_close(&region->self); /* the lock is ours, so whoever stands there is dead */
    shmq_actor_init(&region->self, &region->map, (uint32_t)slot, 0);
    return SHMQ_OK;
}

/* Count this attach, with the byte held, and enter the slot. AGAIN: the region has ended meanwhile [H1]. */
static inline int shmq_region_enter(struct shmq_region *region, const char *process, struct shmq_error *error)
{
    uint64_t *life = &region->map.header->life, seen;

    do {
        seen = shmq_load_seq_cst(life, SHMQ_READ);
        if (seen == SHMQ_LIFE_ENDED)
            return shmq_error_set(error, SHMQ_ERROR_AGAIN, "life", seen, 0);
        if (seen == SHMQ_LIFE_ENDED - 1) {
            shmq_error_at(error, &region->directory, region->files.name, "admin");
            return shmq_error_set(error, SHMQ_ERROR_CORRUPT, "life", seen, SHMQ_LIFE_ENDED - 2);
        }
    } while (!shmq_cas_seq_cst(life, seen, seen + 1, SHMQ_LIFE_ATTACH)); /* races LIFE_END of who saw no lock */
    shmq_process_enter(&region->self, process, region->pid, shmq_os_start_time(), shmq_os_pid_namespace());
    return SHMQ_OK;
}

/* Attach to the region that has the name. NOT_FOUND: there is none; AGAIN: it went away. */
static inline int shmq_region_attach(struct shmq_region *region, const struct shmq_region_options *options,
    struct shmq_error *error)
{
    struct shmq_facts facts;
    int result = shmq_life_find(&region->files, &region->directory, &facts, error);

    if (result == SHMQ_OK) {
        shmq_error_at(error, &region->directory, region->files.name, NULL);
        result = shmq_region_fits(options, &facts, error);
    }
    if (result == SHMQ_OK) {
        region->persist = facts.persist;
        region->id = facts.id;
        result = shmq_region_map(region, &region->directory, &facts.geometry, error);
    }
    if (result == SHMQ_OK) {
        shmq_error_at(error, &region->directory, region->files.name, NULL);
        result = shmq_region_take_slot(region, error);
        if (result == SHMQ_OK)
            result = shmq_region_enter(region, shmq_region_process_name(options), error);
        if (result) /* the last process may have gone while we held a byte, and left the end to us */
            shmq_region_leave(region);
    }
    if (result)
        shmq_region_forget(region);
    return result;
}

/* ---- create ---------------------------------------------------------------------------------------------- */

/* Make and map the segments in the private directory, and everything in them. This process is in slot 0. */
static inline int shmq_region_build(struct shmq_region *region, const struct shmq_making *making,
    const struct shmq_facts *plan, const char *process, struct shmq_error *error)
{
    const struct shmq_geometry *geometry = &plan->geometry;
    void *admin = NULL, *data = NULL;
    struct stat status;
    int fd = shmq_making_segment(making, "data", geometry->data_size, geometry->data_size, &data, &status, error);

    if (fd < 0)
        return fd;
    shmq_files_keep_data(&region->files, fd, &status);
    if (region->receive_only) {
        int result;

        shmq_guard_unmap(data, geometry->data_size);
        shmq_files_close_one(&region->files.data, &region->files.data_identity);
        result = shmq_region_map_data(region, making->directory, geometry->data_size, &data, error);
        if (result)
            return result;
    }
    fd = shmq_making_segment(making, "admin", geometry->admin_size, geometry->reserve_size, &admin, &status, error);
    if (fd < 0) {
        shmq_guard_unmap(data, geometry->data_size);
        return fd;
    }
    shmq_files_keep_admin(&region->files, fd, &status);
    shmq_region_mapped(region, geometry, admin, data);
    shmq_header_format(&region->map, plan);
    shmq_buddy_format(&region->map);
    shmq_actor_init(&region->self, &region->map, 0, 0);
    shmq_process_enter(&region->self, process, region->pid, shmq_os_start_time(), shmq_os_pid_namespace());
    return SHMQ_OK;
}

/* Note how to open the lock file again. */
static inline int shmq_region_keep_lock(struct shmq_region *region, struct shmq_error *error)
{
    int result, fd = shmq_os_openat(region->files.dir, "lock", O_PATH, 0);

    if (fd < 0)
        return shmq_error_set_os(error, "open", fd);
    result = shmq_os_identify(fd, &region->files.lock_identity);
    if (result) {
        shmq_os_close(fd);
        return shmq_error_set_os(error, "fstat", result);
    }
    region->files.lock = fd;
    return SHMQ_OK;
}

/* Is a byte held by the mapping alone, now that the descriptor is closed? Where a file system maps another file than
 * the one that was opened, as overlayfs does, it is not, and all would be taken for dead. A tmpfs is known to do. */
static inline int shmq_region_confirm_lock(const struct shmq_region *region, uint64_t byte, struct shmq_error *error)
{
    int fd, held;

    shmq_error_at(error, &region->directory, NULL, NULL);
    if (shmq_os_on_tmpfs(region->files.lock))
        return SHMQ_OK;
    fd = shmq_files_open_lock(&region->files);
    if (fd < 0)
        return shmq_error_set_os(error, "open", fd);
    held = shmq_os_locked(fd, byte, 1);
    shmq_os_close(fd); /* it held nothing */
    if (held == 0)
        return shmq_error_set_os(error, "byte lock", -ENOLCK);
    return held < 0 ? shmq_error_set_os(error, "lock", held) : SHMQ_OK;
}

/* Make the region. AGAIN: another was faster, or the directory of regions went away. */
static inline int shmq_region_make(struct shmq_region *region, const struct shmq_region_options *options,
    const struct shmq_facts *plan, struct shmq_error *error)
{
    struct shmq_making making;
    uint32_t mode = options->mode ? options->mode : 0600;
    int result = shmq_making_begin(&making, &region->directory, mode, options->name, error);

    if (result)
        return result;
    region->files.dir = making.dir;
    region->files.dir_identity = making.identity;
    region->persist = plan->persist;
    region->id = plan->id;
    result = shmq_making_hold(&making, &region->lock_page, error);
    if (result == SHMQ_OK)
        result = shmq_region_keep_lock(region, error);
    if (result == SHMQ_OK)
        result = shmq_region_confirm_lock(region, SHMQ_LOCK_MAKING, error);
    if (result == SHMQ_OK)
        result = shmq_making_wait(&making, plan->geometry.data_size, error);
    if (result == SHMQ_OK) {
        shmq_error_at(error, &region->directory, NULL, NULL);
        result = shmq_space_check(making.dir, &plan->geometry, error);
    }
    if (result == SHMQ_OK)
        result = shmq_region_build(region, &making, plan, shmq_region_process_name(options), error);
    if (result == SHMQ_OK)
        result = shmq_making_publish(&making, error);
    if (result) {
        shmq_making_abandon(&making);
        shmq_region_forget(region);
    }
    return result;
}

/* ---- recover the dead ------------------------------------------------------------------------------------ */

/* Look at every other process slot and close the dead. Returns how many, or an error code. Blocks other threads that
 * recover, not other processes. */
static inline int shmq_region_recover(struct shmq_region *region, struct shmq_error *error)
{
    int recovered;

    shmq_error_clear(error);
    if (shmq_region_check_fork(region, error))
        return error->code;
    pthread_mutex_lock(&region->mutex); /* [D7] */
    recovered = shmq_sweep(&region->map, &region->files, region->self.slot);
    pthread_mutex_unlock(&region->mutex);
    if (recovered >= 0)
        return recovered;
    shmq_error_at(error, &region->directory, region->files.name, "lock");
    if (shmq_error_set_os(error, "lock", recovered) == SHMQ_ERROR_AGAIN)
        error->code = SHMQ_ERROR_SYSTEM; /* neither name nor descriptor leads to it any more: nothing to start over */
    return error->code;
}

/* Recover if nobody has looked for the dead within `interval` ns (SHMQ_SWEEP_NS, SHMQ_SWEEP_SOON_NS). `now` in
 * monotonic ns. Returns as shmq_region_recover; 0 where another does it. */
static inline int shmq_region_sweep_due(struct shmq_region *region, uint64_t now, uint64_t interval)
{
    struct shmq_error error;

    return shmq_sweep_take(&region->map, now, interval) ? shmq_region_recover(region, &error) : 0;
}

/* ---- the memory goes away -------------------------------------------------------------------------------- */

/* Has it been seen that memory of the region is gone? Then nothing that is read from it means anything: close it. */
static inline bool shmq_region_is_lost(const struct shmq_region *region)
{
    return shmq_guard_lost(region->map.admin) || shmq_guard_lost(region->map.data);
}

/* From now on a loss sets *usable to 0, whoever meets it. It lives as long as the region is mapped. */
static inline void shmq_region_tell_loss(const struct shmq_region *region, volatile int *usable)
{
    shmq_guard_tell(region->map.admin, usable);
    shmq_guard_tell(region->map.data, usable);
}

/* Look whether memory of the region is gone. SHMQ_OK, or LOST with *error. System calls. */
static inline int shmq_region_look(const struct shmq_region *region, struct shmq_error *error)
{
    shmq_error_clear(error);
    return shmq_loss_find(&region->directory, &region->files, &region->map, error);
}

/* ---- open and close -------------------------------------------------------------------------------------- */

/* Leave: recover oneself, give up the slot, and if that was the last process, end the region. The mapping stays, for
 * views that live on; shmq_region_forget unmaps it. No other thread is inside the region. */
static inline void shmq_region_detach(struct shmq_region *region)
{
    struct shmq_error error;

    if (shmq_region_check_fork(region, &error))
        return;
    shmq_close(&region->self);
    if (!shmq_os_is(region->files.dir, &region->files.dir_identity))
        (void)shmq_region_reach(region);
    shmq_region_leave(region);
    shmq_directory_close(&region->directory);
}

/* Close: detach and forget. Closing a closed region, or a parent's in a forked child, only lets go of what this
 * process has. */
static inline void shmq_region_close(struct shmq_region *region)
{
    if (!region->map.admin)
        return;
    shmq_region_detach(region);
    pthread_mutex_destroy(&region->mutex);
    shmq_region_forget(region);
}

/* A region has ended, and this process cannot remove what is left of it: there is none to attach to, and no way to make
 * one. */
static inline int shmq_region_left(const struct shmq_region_options *options, struct shmq_error *error)
{
    if (options->how == SHMQ_REGION_ATTACH)
        return error->code = SHMQ_ERROR_NOT_FOUND;
    if (error->os_errno == EACCES || error->os_errno == EPERM || error->os_errno == EROFS)
        return error->code = SHMQ_ERROR_PERMISSION;
    return error->code = SHMQ_ERROR_SYSTEM;
}

/* Attach, or where that is allowed and there is nothing, create. AGAIN: start over. */
static inline int shmq_region_attach_or_make(struct shmq_region *region, const struct shmq_region_options *options,
    const struct shmq_facts *plan, struct shmq_error *error)
{
    struct shmq_error other;
    int result = shmq_region_attach(region, options, error);

    if (result == SHMQ_ERROR_LEFT)
        return shmq_region_left(options, error);
    if (result != SHMQ_ERROR_NOT_FOUND || options->how == SHMQ_REGION_ATTACH)
        return result;
    result = shmq_region_make(region, options, plan, error);
    if (result == SHMQ_ERROR_SPACE && shmq_region_attach(region, options, &other) == SHMQ_OK)
        return SHMQ_OK; /* what took the space was another's making of this very region */
    return result;
}

/* Where a file or a directory found no space, add to *error why. Returns its code. */
static inline int shmq_region_blame(const struct shmq_directory *directory, const struct shmq_facts *plan,
    struct shmq_error *error)
{
    int fd = directory->fd;

    if (error->code != SHMQ_ERROR_SPACE || error->asked)
        return error->code;
    if (fd < 0) /* for the directory itself */
        fd = shmq_directory_above(directory);
    shmq_error_at(error, directory, NULL, NULL);
    (void)shmq_space_blame_file(fd, shmq_space_reserved(&plan->geometry), error);
    if (fd >= 0 && fd != directory->fd)
        shmq_os_close(fd);
    return error->code;
}

/* Try once. AGAIN: start over. */
static inline int shmq_region_try(struct shmq_region *region, const struct shmq_region_options *options,
    const struct shmq_facts *plan, bool sweep, struct shmq_error *error)
{
    int result = shmq_directory_open(&region->directory, options->directory, options->mode == 0660,
        options->how != SHMQ_REGION_ATTACH, error);

    if (result)
        return shmq_region_blame(&region->directory, plan, error);
    if (sweep)
        shmq_catalog_sweep(&region->directory, options->name);
    result = shmq_region_attach_or_make(region, options, plan, error);
    if (result)
        result = shmq_region_blame(&region->directory, plan, error);
    shmq_directory_close(&region->directory);
    return result;
}

/* Make this process's inbox, under the name that it asked for or one that nobody else has. Where no memory is left for
 * its slots the process does without: a full file system keeps nobody from a region that is there. */
static inline int shmq_region_open_inbox(struct shmq_region *region, const struct shmq_region_options *options,
    struct shmq_error *error)
{
    char name[SHMQ_NAME_MAX + 1];
    struct shmq_queue_ref inbox; /* the region has none until it is this process's own */
    int result = SHMQ_IN_USE;

    shmq_error_at(error, &region->directory, region->files.name, "admin");
    for (int i = 0; i < 3 && result == SHMQ_IN_USE; i++) {
        if (options->process && *options->process)
            snprintf(name, sizeof name, "%s", options->process);
        else if (i == 0)
            snprintf(name, sizeof name, "pid-%llu", (unsigned long long)region->pid);
        else /* a second attach of the process, or a process of another pid namespace */
            snprintf(name, sizeof name, "pid-%llu-%u", (unsigned long long)region->pid, region->self.slot);
        if (i == 1)
            (void)shmq_region_recover(region, error); /* who has the name may be dead */
        result = shmq_queue_open_inbox(&region->self, name, SHMQ_INBOX_DEPTH, &inbox);
    }
    if (result == SHMQ_OK || result == SHMQ_NO_SPACE) {
        shmq_name_store(region->map.process[region->self.slot].name, name, SHMQ_P1);
        if (result == SHMQ_OK)
            region->inbox = inbox;
        return SHMQ_OK;
    }
    shmq_error_at(error, &region->directory, region->files.name, "admin");
    if (result != SHMQ_IN_USE)
        return shmq_error_set(error, SHMQ_ERROR_CORRUPT, "dir", 0, 0);
    shmq_error_set(error, SHMQ_ERROR_PROCESS_NAME, "process name", 0, 0);
    if (shmq_queue_find_inbox(&region->map, name, &inbox) == SHMQ_OK)
        shmq_error_add_pid(error, shmq_load_acquire(&region->map.process[inbox.qid].pid, SHMQ_READ));
    return error->code;
}

/* Have an inbox, also where there was no memory for one when the region was opened. SHMQ_OK or an error code. */
static inline int shmq_region_need_inbox(struct shmq_region *region, struct shmq_error *error)
{
    struct shmq_region_options options;
    struct shmq_process_info info;

    if (region->inbox.queue)
        return SHMQ_OK;
    memset(&options, 0, sizeof options);
    shmq_process_info(&region->map, region->self.slot, &info);
    options.process = info.name;
    if (shmq_region_open_inbox(region, &options, error))
        return error->code;
    if (!region->inbox.queue)
        shmq_region_refusal(region, error);
    return region->inbox.queue ? SHMQ_OK : error->code;
}

/* Attached: have an inbox, and take part. What cannot is closed. */
static inline int shmq_region_begin(struct shmq_region *region, const struct shmq_region_options *options,
    struct shmq_error *error)
{
    int result = shmq_region_open_inbox(region, options, error);

    if (result == SHMQ_OK && options->prefault)
        shmq_os_prefault(region->map.data, region->map.geometry.data_size, !region->receive_only);
    if (result == SHMQ_OK)
        (void)shmq_region_recover(region, error);
    if (shmq_region_is_lost(region))
        result = shmq_region_look(region, error);
    if (result)
        shmq_region_close(region);
    else
        shmq_error_clear(error);
    return result;
}

/* Create the region, or attach to it, or whichever is possible. Any number of processes and threads may call at
 * once, each with a region of its own. Waits for a maker of the same region that began earlier, but not for ever.
 * SHMQ_OK, or an error code with *error filled; then the region is closed and nothing is left behind. */
static inline int shmq_region_open(struct shmq_region *region, const struct shmq_region_options *options,
    struct shmq_error *error)
{
    struct shmq_facts plan;
    int result;

    shmq_error_clear(error);
    memset(region, 0, sizeof *region);
    result = shmq_region_plan(options, &plan, error);
    if (result == SHMQ_OK)
        result = shmq_fork_prepare(error);
    if (result)
        return result;
    shmq_region_init(region, options);
    for (int i = 0; i < SHMQ_REGION_TRIES; i++) {
        result = shmq_region_try(region, options, &plan, i == 0, error);
        if (result != SHMQ_ERROR_AGAIN)
            break;
    }
    if (result == SHMQ_ERROR_AGAIN) /* not a race any more */
        return error->code = SHMQ_ERROR_GONE;
    if (result)
        return result;
    return shmq_region_begin(region, options, error);
}

#endif
