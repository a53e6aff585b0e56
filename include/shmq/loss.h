/* SPDX-License-Identifier: MIT */
/* Is the memory of an open region still there? Who uses it meets a loss by accident (guard.h); here one looks.
 *
 * Seen are: pages that an access did not find, a file that has another size, one with less memory behind it than when
 * it was opened, and a header of zeros. A hole that has been filled with zeros since is not seen.
 */
#ifndef SHMQ_LOSS_H
#define SHMQ_LOSS_H

#include "files.h"
#include "guard.h"

/* A segment, as it must be. */
struct shmq_segment {
    const char *file;
    int fd;
    struct shmq_identity identity;
    const void *address;
    const uint64_t *magic;  /* in it, or NULL: nobody makes it 0 */
    uint64_t size;          /* of the file */
    uint64_t occupied;      /* of memory behind it, at least */
};

/* What a file must go on to occupy: what was reserved when the region was made, unless it had less when it was opened.
 * Not what it had beyond that: the reserving of a queue's slots may have been under way, and was undone. */
static inline uint64_t shmq_segment_occupied(uint64_t reserved, uint64_t opened_with)
{
    return reserved < opened_with ? reserved : opened_with;
}

static inline struct shmq_segment shmq_segment_admin(const struct shmq_files *files, const struct shmq_map *map)
{
    struct shmq_segment segment = { "admin", files->admin, files->admin_identity, map->admin, &map->header->magic,
        map->geometry.admin_size, shmq_segment_occupied(map->geometry.reserve_size, files->admin_memory) };

    return segment;
}

static inline struct shmq_segment shmq_segment_data(const struct shmq_files *files, const struct shmq_map *map)
{
    struct shmq_segment segment = { "data", files->data, files->data_identity, map->data, NULL, map->geometry.data_size,
        shmq_segment_occupied(map->geometry.data_size, files->data_memory) };

    return segment;
}

/* SHMQ_OK, or LOST with *error: what tells it, and bytes found and expected. */
static inline int shmq_loss_judge(const struct shmq_segment *segment, const struct stat *status,
    struct shmq_error *error)
{
    uint64_t size = (uint64_t)status->st_size, occupied = shmq_os_occupied(status);

    if (size != segment->size)
        return shmq_error_set(error, SHMQ_ERROR_LOST, "file size", size, segment->size);
    if (occupied < segment->occupied && shmq_os_on_tmpfs(segment->fd)) /* others may store the same in less */
        return shmq_error_set(error, SHMQ_ERROR_LOST, "memory", occupied, segment->occupied);
    if (segment->magic && shmq_load_acquire(segment->magic, SHMQ_READ) == 0)
        return shmq_error_set(error, SHMQ_ERROR_LOST, "magic", 0, SHMQ_MAGIC);
    if (shmq_guard_lost(segment->address))
        return shmq_error_set(error, SHMQ_ERROR_LOST, "pages", size, segment->size);
    return SHMQ_OK;
}

/* Look at one segment; what is found is noted where the guard would note it. */
static inline int shmq_loss_look(const struct shmq_directory *directory, const char *name,
    const struct shmq_segment *segment, struct shmq_error *error)
{
    struct stat status;
    int result;

    if (shmq_os_fstat(segment->fd, &status) || !shmq_os_same(&status, &segment->identity)) {
        memset(&status, 0, sizeof status); /* the program has closed the descriptor: as if all were well with it */
        status.st_size = (off_t)segment->size;
        status.st_blocks = (blkcnt_t)(segment->occupied / 512);
        status.st_nlink = 1;
    }
    result = shmq_loss_judge(segment, &status, error);
    if (result) {
        error->links = (uint32_t)status.st_nlink;
        shmq_guard_declare_lost(segment->address);
        shmq_error_at(error, directory, name, segment->file);
    }
    return result;
}

/* SHMQ_OK, or LOST with *error. Two system calls; several threads may look at once. */
static inline int shmq_loss_find(const struct shmq_directory *directory, const struct shmq_files *files,
    const struct shmq_map *map, struct shmq_error *error)
{
    struct shmq_segment admin = shmq_segment_admin(files, map), data = shmq_segment_data(files, map);
    int result = shmq_loss_look(directory, files->name, &admin, error);

    return result ? result : shmq_loss_look(directory, files->name, &data, error);
}

#endif
