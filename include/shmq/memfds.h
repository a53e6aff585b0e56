/* SPDX-License-Identifier: MIT */
/* The three files of an anonymous region: memfds, made here or handed on by another process.
 *
 *     admin  read and written by everybody
 *     data   handed on as it is, or reopened for reading to those who are only to receive
 *     lock   empty: only its byte locks matter. Each process opens it anew through /proc/self/fd, because a lock is the
 *            open file description's, and a descriptor that was handed on shares its own with all who have it
 *
 * All are sealed: no size changes any more, so no page goes away under a mapping.
 *
 * Who may write to the data segment:
 *   - A descriptor for reading gives a mapping that cannot be written, nor made writable. The file's mode lets nobody
 *     open it for writing again (0444), so another user who is handed such a descriptor stays with it. A process of the
 *     maker's user could give the file another mode, and root needs none: against those only the seal holds.
 *   - With `sole_writer` the segment is sealed against new writers once its maker has mapped it: from then on the
 *     kernel lets nobody map it for writing, whoever asks and however.
 */
#ifndef SHMQ_MEMFDS_H
#define SHMQ_MEMFDS_H

#include "files.h"
#include "header.h"
#include "space.h"

#define SHMQ_MEMFDS_SEALS (F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_SEAL)

/* The order in which descriptors are handed on. */
enum { SHMQ_HANDED_ADMIN, SHMQ_HANDED_DATA, SHMQ_HANDED_LOCK, SHMQ_HANDED_FILES };

static inline const char *shmq_memfds_file(int which)
{
    static const char *const files[SHMQ_HANDED_FILES] = { "admin", "data", "lock" };

    return files[which];
}

/* The memfd's name, which /proc/PID/fd and /proc/PID/maps show. */
static inline void shmq_memfds_name(char *name, size_t size, uint64_t id, int which)
{
    snprintf(name, size, "shmq-%016llx-%s", (unsigned long long)id, shmq_memfds_file(which));
}

static inline void shmq_memfds_error_at(struct shmq_error *error, int which)
{
    snprintf(error->path, sizeof error->path, "memfd:%s", shmq_memfds_file(which));
}

/* ---- made here -------------------------------------------------------------------------------------------- */

/* Bytes that the machine can still give without killing for them, swap included; UINT64_MAX where /proc does not
 * tell. A memfd, unlike a file under /dev/shm, has no file system whose size would bound it. */
static inline uint64_t shmq_memfds_free_memory(void)
{
    char text[4096];

    if (shmq_os_read_text("/proc/meminfo", text, sizeof text) <= 0 || !strstr(text, "\nMemAvailable:"))
        return UINT64_MAX;
    return (shmq_space_line(text, "MemAvailable:") + shmq_space_line(text, "SwapFree:")) << 10;
}

/* Is there room for a region of these sizes? `fd`: a memfd. */
static inline int shmq_memfds_space(int fd, const struct shmq_geometry *geometry, struct shmq_error *error)
{
    uint64_t asked = shmq_space_reserved(geometry), available = shmq_memfds_free_memory();
    int result = shmq_space_check(fd, geometry, error);

    if (result == SHMQ_OK && asked > available)
        result = shmq_space_refuse("memory", asked, available, 0, available, error);
    return result;
}

/* Make one of the three. Returns a descriptor, or an error code. */
static inline int shmq_memfds_make_one(uint64_t id, int which, uint32_t mode, struct shmq_error *error)
{
    char name[64];
    int fd, result;

    shmq_memfds_error_at(error, which);
    shmq_memfds_name(name, sizeof name, id, which);
    fd = shmq_os_memfd(name);
    if (fd < 0)
        return shmq_error_set_os(error, "memfd_create", fd);
    result = shmq_os_fchmod(fd, mode);
    if (result == 0)
        return fd;
    shmq_os_close(fd);
    return shmq_error_set_os(error, "chmod", result);
}

/* Give it its size, and memory to the first `reserve` bytes; what it is then. */
static inline int shmq_memfds_reserve(int fd, uint64_t size, uint64_t reserve, struct stat *status,
    struct shmq_error *error)
{
    int result = shmq_os_truncate(fd, size);

    if (result)
        return shmq_error_set_os(error, "ftruncate", result);
    result = shmq_os_reserve(fd, 0, reserve);
    if (result)
        return shmq_space_blame_memory(fd, reserve, result, error);
    result = shmq_os_fstat(fd, status);
    return result ? shmq_error_set_os(error, "fstat", result) : SHMQ_OK;
}

/* Make a segment's file. Returns a descriptor, or an error code. */
static inline int shmq_memfds_segment(uint64_t id, int which, uint32_t mode, uint64_t size, uint64_t reserve,
    struct stat *status, struct shmq_error *error)
{
    int result, fd = shmq_memfds_make_one(id, which, mode, error);

    if (fd < 0)
        return fd;
    result = shmq_memfds_reserve(fd, size, reserve, status, error);
    if (result == SHMQ_OK)
        return fd;
    shmq_os_close(fd);
    return result;
}

/* Make the three files, each of its size. */
static inline int shmq_memfds_make(struct shmq_files *files, const struct shmq_facts *plan, struct shmq_error *error)
{
    const struct shmq_geometry *geometry = &plan->geometry;
    struct stat status;
    int result, fd = shmq_memfds_make_one(plan->id, SHMQ_HANDED_LOCK, 0666, error);

    if (fd < 0)
        return fd;
    result = shmq_os_identify(fd, &files->lock_identity);
    if (result) {
        shmq_os_close(fd);
        return shmq_error_set_os(error, "fstat", result);
    }
    files->lock = fd;
    result = shmq_memfds_space(fd, geometry, error);
    if (result)
        return result;
    fd = shmq_memfds_segment(plan->id, SHMQ_HANDED_DATA, 0444, geometry->data_size, geometry->data_size, &status,
        error);
    if (fd < 0)
        return fd;
    shmq_files_keep_data(files, fd, &status);
    fd = shmq_memfds_segment(plan->id, SHMQ_HANDED_ADMIN, 0600, geometry->admin_size, geometry->reserve_size, &status,
        error);
    if (fd < 0)
        return fd;
    shmq_files_keep_admin(files, fd, &status);
    return SHMQ_OK;
}

/* No size changes any more; nor, with `sole_writer`, does anybody else write to the data segment. All is mapped. */
static inline int shmq_memfds_seal(const struct shmq_files *files, bool sole_writer, struct shmq_error *error)
{
    int result = shmq_os_seal(files->lock, SHMQ_MEMFDS_SEALS);

    if (result == 0)
        result = shmq_os_seal(files->admin, SHMQ_MEMFDS_SEALS);
    if (result == 0)
        result = shmq_os_seal(files->data, SHMQ_MEMFDS_SEALS | (sole_writer ? F_SEAL_FUTURE_WRITE : 0));
    return result ? shmq_error_set_os(error, "seal", result) : SHMQ_OK;
}

/* ---- handed on by another process ------------------------------------------------------------------------- */

static inline int shmq_memfds_refuse(const char *what, int found, int expected, struct shmq_error *error)
{
    return shmq_error_set(error, SHMQ_ERROR_SECURITY, what, (uint64_t)found, (uint64_t)expected);
}

/* Is the descriptor one of a memfd that can no longer change its size? Fills *status. */
static inline int shmq_memfds_judge(int fd, struct stat *status, struct shmq_error *error)
{
    int seals = shmq_os_seals(fd), result = shmq_os_fstat(fd, status);

    if (result)
        return shmq_error_set_os(error, "fstat", result);
    if (seals < 0 && seals != -EINVAL)
        return shmq_error_set_os(error, "seals", seals);
    if (seals < 0) /* no memfd */
        return shmq_memfds_refuse("seals", 0, SHMQ_MEMFDS_SEALS, error);
    if ((seals & SHMQ_MEMFDS_SEALS) != SHMQ_MEMFDS_SEALS)
        return shmq_memfds_refuse("seals", seals, SHMQ_MEMFDS_SEALS, error);
    return SHMQ_OK;
}

/* Which region's is it? The descriptors have their order, and those of two regions must not be mixed up; the memfd's
 * name tells. It is no proof against who means harm, and need not be: who hands a region on is trusted. */
static inline int shmq_memfds_whose(int fd, int which, uint64_t *id, struct shmq_error *error)
{
    char title[96], file[16];
    unsigned long long number;
    int result = shmq_os_title(fd, title, sizeof title);

    if (result < 0)
        return shmq_error_set_os(error, "readlink", result);
    if (sscanf(title, "/memfd:shmq-%16llx-%15[a-z] ", &number, file) != 2 || strcmp(file, shmq_memfds_file(which)))
        return shmq_memfds_refuse("a file of another kind", which, which, error);
    *id = number;
    return SHMQ_OK;
}

/* A descriptor of one's own, verified. */
struct shmq_handed {
    int fd;
    uint64_t id;
    struct stat status;
};

/* Duplicate and verify one. Fills *taken; on an error nothing is open. */
static inline int shmq_memfds_take(int handed, int which, struct shmq_handed *taken, struct shmq_error *error)
{
    int result, own = shmq_os_duplicate(handed);

    shmq_memfds_error_at(error, which);
    if (own < 0)
        return shmq_error_set_os(error, "descriptor", own);
    result = shmq_memfds_judge(own, &taken->status, error);
    if (result == SHMQ_OK)
        result = shmq_memfds_whose(own, which, &taken->id, error);
    if (result) {
        shmq_os_close(own);
        return result;
    }
    taken->fd = own;
    return SHMQ_OK;
}

/* Duplicate and verify the three, and keep them. What is open on an error stays open, for the caller to close. */
static inline int shmq_memfds_take_all(struct shmq_files *files, const int *handed, struct shmq_handed *taken,
    struct shmq_error *error)
{
    int result = shmq_memfds_take(handed[SHMQ_HANDED_ADMIN], SHMQ_HANDED_ADMIN, &taken[SHMQ_HANDED_ADMIN], error);

    if (result)
        return result;
    shmq_files_keep_admin(files, taken[SHMQ_HANDED_ADMIN].fd, &taken[SHMQ_HANDED_ADMIN].status);
    result = shmq_memfds_take(handed[SHMQ_HANDED_DATA], SHMQ_HANDED_DATA, &taken[SHMQ_HANDED_DATA], error);
    if (result)
        return result;
    shmq_files_keep_data(files, taken[SHMQ_HANDED_DATA].fd, &taken[SHMQ_HANDED_DATA].status);
    result = shmq_memfds_take(handed[SHMQ_HANDED_LOCK], SHMQ_HANDED_LOCK, &taken[SHMQ_HANDED_LOCK], error);
    if (result)
        return result;
    files->lock = taken[SHMQ_HANDED_LOCK].fd;
    files->lock_identity = shmq_os_identity(&taken[SHMQ_HANDED_LOCK].status);
    return SHMQ_OK;
}

/* Compare the three, which are this process's by now, with what the header says. */
static inline int shmq_memfds_verify(const struct shmq_handed *taken, struct shmq_facts *facts,
    struct shmq_error *error)
{
    const struct shmq_handed *admin = &taken[SHMQ_HANDED_ADMIN];
    int mode = shmq_os_access_mode(admin->fd), result;
    uint64_t sizes[SHMQ_HANDED_FILES];

    shmq_memfds_error_at(error, SHMQ_HANDED_ADMIN);
    if (mode < 0)
        return shmq_error_set_os(error, "descriptor", mode);
    if (mode != O_RDWR)
        return shmq_memfds_refuse("access mode", mode, O_RDWR, error);
    result = shmq_header_read(admin->fd, (uint64_t)admin->status.st_size, facts, error);
    if (result)
        return result;
    sizes[SHMQ_HANDED_ADMIN] = facts->geometry.admin_size;
    sizes[SHMQ_HANDED_DATA] = facts->geometry.data_size;
    sizes[SHMQ_HANDED_LOCK] = 0;
    for (int i = 0; i < SHMQ_HANDED_FILES; i++) {
        shmq_memfds_error_at(error, i);
        if (taken[i].id != facts->id)
            return shmq_memfds_refuse("a file of another region", i, i, error);
        if ((uint64_t)taken[i].status.st_size != sizes[i])
            return shmq_error_set(error, SHMQ_ERROR_CORRUPT, "file size", (uint64_t)taken[i].status.st_size, sizes[i]);
    }
    return SHMQ_OK;
}

/* Can the data segment be written through the descriptor? 1, 0, or -errno. */
static inline int shmq_memfds_writable(int fd)
{
    int seals = shmq_os_seals(fd), mode = shmq_os_access_mode(fd);

    if (seals < 0 || mode < 0)
        return seals < 0 ? seals : mode;
    return mode == O_RDWR && !(seals & (F_SEAL_WRITE | F_SEAL_FUTURE_WRITE));
}

#endif
