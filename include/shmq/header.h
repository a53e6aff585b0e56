/* SPDX-License-Identifier: MIT */
/* The header of the admin segment: written once before the region has a name, read once by each who attaches.
 *
 * Reading goes through pread into private memory, so that no later change of the file matters and a truncated file
 * cannot fault. Each number is validated before it is used.
 */
#ifndef SHMQ_HEADER_H
#define SHMQ_HEADER_H

#include "error.h"
#include "lock.h"
#include "registry.h"

/* What a region's header says, validated. */
struct shmq_facts {
    struct shmq_geometry geometry;
    uint64_t id;
    uint64_t creator_pid;
    uint64_t created_ns;
    uint32_t owner;         /* of the file */
    uint64_t life;          /* as it was when read: only a CAS on the shared word decides */
    bool persist;
};

/* A number that differs wherever two builds would lay out the same words differently (FNV-1a over sizes, offsets and
 * codes). Constant: the compiler folds it. */
static inline uint32_t shmq_layout_hash(void)
{
    const uint32_t layout[] = {
        (uint32_t)sizeof(struct shmq_header), (uint32_t)offsetof(struct shmq_header, life),
        (uint32_t)offsetof(struct shmq_header, dir), (uint32_t)offsetof(struct shmq_header, sweep_at),
        (uint32_t)offsetof(struct shmq_header, wanted), (uint32_t)offsetof(struct shmq_header, wanted_seq),
        (uint32_t)sizeof(struct shmq_process), (uint32_t)offsetof(struct shmq_process, name),
        (uint32_t)offsetof(struct shmq_process, buddy_word),
        (uint32_t)sizeof(struct shmq_queue), (uint32_t)offsetof(struct shmq_queue, head),
        (uint32_t)offsetof(struct shmq_queue, dropped), (uint32_t)offsetof(struct shmq_queue, flags),
        (uint32_t)offsetof(struct shmq_queue, base), (uint32_t)offsetof(struct shmq_queue, config),
        (uint32_t)offsetof(struct shmq_queue, receivers_seq), (uint32_t)offsetof(struct shmq_queue, senders_seq),
        (uint32_t)offsetof(struct shmq_queue, requeued), (uint32_t)offsetof(struct shmq_queue, requeued_done),
        (uint32_t)offsetof(struct shmq_queue, claim), (uint32_t)offsetof(struct shmq_queue, depth),
        (uint32_t)offsetof(struct shmq_queue, place),
        (uint32_t)sizeof(struct shmq_name), (uint32_t)sizeof(struct shmq_topic),
        (uint32_t)offsetof(struct shmq_topic, subscriber), (uint32_t)sizeof(struct shmq_envelope),
        (uint32_t)offsetof(struct shmq_envelope, sequence), (uint32_t)offsetof(struct shmq_envelope, reply_to),
        (uint32_t)sizeof(struct shmq_block), (uint32_t)offsetof(struct shmq_block, m),
        (uint32_t)offsetof(struct shmq_block, envelope), (uint32_t)SHMQ_M_SENDER,
        SHMQ_NAME_WORDS, SHMQ_MAX_DEPTH, SHMQ_MAX_SUBSCRIBERS, SHMQ_MAX_TIERS, SHMQ_PAGE, SHMQ_LOCK_MAKING,
        (uint32_t)SHMQ_STATE_REQUEUE, (uint32_t)SHMQ_QUEUE_BELL, (uint32_t)SHMQ_KIND_SUBSCRIBER,
        (uint32_t)SHMQ_POLICY_DROP_NEWEST, (uint32_t)SHMQ_PROCESS_DEAD,
    };
    uint32_t hash = 2166136261u;

    for (size_t i = 0; i < sizeof layout / sizeof layout[0]; i++)
        for (int shift = 0; shift < 32; shift += 8)
            hash = (hash ^ (layout[i] >> shift & 0xff)) * 16777619u;
    return hash;
}

static inline uint64_t shmq_header_version(void)
{
    return (uint64_t)SHMQ_LAYOUT_VERSION << 32 | shmq_layout_hash();
}

/* Write the header of a zeroed region that nobody else can see. Its maker counts as the first attach. */
static inline void shmq_header_format(const struct shmq_map *map, const struct shmq_facts *facts)
{
    struct shmq_header *header = map->header;

    shmq_store_release(&header->magic, SHMQ_MAGIC, SHMQ_CREATE);
    shmq_store_release(&header->version, shmq_header_version(), SHMQ_CREATE);
    shmq_store_release(&header->granule_shift, facts->geometry.granule_shift, SHMQ_CREATE);
    shmq_store_release(&header->granules, facts->geometry.granules, SHMQ_CREATE);
    shmq_store_release(&header->max_processes, facts->geometry.max_processes, SHMQ_CREATE);
    shmq_store_release(&header->max_queues, facts->geometry.max_queues, SHMQ_CREATE);
    shmq_store_release(&header->region_id, facts->id, SHMQ_CREATE);
    shmq_store_release(&header->persist, facts->persist, SHMQ_CREATE);
    shmq_store_release(&header->creator_pid, facts->creator_pid, SHMQ_CREATE);
    shmq_store_release(&header->created_ns, facts->created_ns, SHMQ_CREATE);
    shmq_store_release(&header->life, 1, SHMQ_CREATE);
}

static inline int shmq_header_bound(const char *field, uint64_t found, uint64_t low, uint64_t high,
    struct shmq_error *error)
{
    if (found < low || found > high)
        return shmq_error_set(error, SHMQ_ERROR_CORRUPT, field, found, found < low ? low : high);
    return SHMQ_OK;
}

/* Compare the header, a private copy, with what this build reads and with the file's size. */
static inline int shmq_header_judge(const struct shmq_header *header, uint64_t file_size, struct shmq_facts *facts,
    struct shmq_error *error)
{
    int result;

    if (header->magic != SHMQ_MAGIC)
        return shmq_error_set(error, SHMQ_ERROR_CORRUPT, "magic", header->magic, SHMQ_MAGIC);
    if (header->version != shmq_header_version())
        return shmq_error_set(error, SHMQ_ERROR_VERSION, "layout", header->version, shmq_header_version());
    if ((result = shmq_header_bound("granule shift", header->granule_shift, SHMQ_MIN_GRANULE_SHIFT,
             SHMQ_MAX_GRANULE_SHIFT, error))
        || (result = shmq_header_bound("granules", header->granules, 1, SHMQ_MAX_GRANULES, error))
        || (result = shmq_header_bound("max processes", header->max_processes, 1, SHMQ_MAX_PROCESSES, error))
        || (result = shmq_header_bound("max queues", header->max_queues, 1, SHMQ_MAX_QUEUES, error))
        || (result = shmq_header_bound("persist", header->persist, 0, 1, error)))
        return result;
    if (shmq_geometry_init(&facts->geometry, (uint32_t)header->granule_shift, header->granules,
            (uint32_t)header->max_processes, (uint32_t)header->max_queues))
        return shmq_error_set(error, SHMQ_ERROR_CORRUPT, "geometry", header->granules, 0);
    if (file_size != facts->geometry.admin_size)
        return shmq_error_set(error, SHMQ_ERROR_CORRUPT, "file size", file_size, facts->geometry.admin_size);
    return SHMQ_OK;
}

/* Read and validate the header of the admin file `fd`, `file_size` bytes long. */
static inline int shmq_header_read(int fd, uint64_t file_size, struct shmq_facts *facts, struct shmq_error *error)
{
    struct shmq_header header;
    int result;

    memset(facts, 0, sizeof *facts);
    memset(&header, 0, sizeof header);
    result = shmq_os_read_start(fd, &header, sizeof header);
    if (result < 0)
        return shmq_error_set_os(error, "pread", result);
    if (result < (int)sizeof header)
        return shmq_error_set(error, SHMQ_ERROR_CORRUPT, "file size", (uint64_t)result, sizeof header);
    result = shmq_header_judge(&header, file_size, facts, error);
    facts->id = header.region_id;
    facts->creator_pid = header.creator_pid;
    facts->created_ns = header.created_ns;
    facts->life = header.life;
    facts->persist = header.persist == 1;
    return result;
}

#endif
