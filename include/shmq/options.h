/* SPDX-License-Identifier: MIT */
/* What somebody asks of a region, and what region that would be. */
#ifndef SHMQ_OPTIONS_H
#define SHMQ_OPTIONS_H

#include "files.h"
#include "header.h"

#define SHMQ_REGION_DEFAULT_SIZE (32ull << 20) /* fits Docker's 64 MiB of /dev/shm */
#define SHMQ_REGION_MIN_SIZE (1ull << 20)
#define SHMQ_REGION_DEFAULT_PROCESSES 128u
#define SHMQ_REGION_DEFAULT_QUEUES 256u

enum shmq_region_how { SHMQ_REGION_EITHER, SHMQ_REGION_CREATE, SHMQ_REGION_ATTACH };

/* All zero but the name: create or attach, with every default. On attach all but name, directory, process, mode and
 * how is the creator's choice; only a size above the existing one is an error. */
struct shmq_region_options {
    const char *name;
    const char *directory;  /* absolute; NULL: $SHMQ_DIR, else /dev/shm/shmq-<uid> */
    const char *process;    /* this process's name, or NULL */
    uint64_t size;          /* bytes of the data segment; 0: SHMQ_REGION_DEFAULT_SIZE, or any */
    uint64_t granule;       /* bytes, a power of two; 0: 512, from 64 MiB 1 KiB, from 1 GiB 4 KiB */
    uint32_t max_processes; /* 0: 128 */
    uint32_t max_queues;    /* named ones; 0: 256 */
    uint32_t mode;          /* 0600 (0 means that), or 0660: for the group of `directory`, which must be given */
    enum shmq_region_how how;
    bool persist;           /* outlives its last process */
    bool prefault;          /* map the data segment's pages now */
    bool receive_only;      /* map the data segment for reading: the kernel refuses every write to it */
    bool sole_writer;       /* of an anonymous region: nobody but its maker ever writes to the data segment */
};

static inline int shmq_region_invalid(const char *option, uint64_t value, uint64_t bound, struct shmq_error *error)
{
    return shmq_error_set(error, SHMQ_ERROR_INVALID, option, value, bound);
}

/* The granule that suits a size, unless one is asked for: larger where the block index would not reach. */
static inline uint32_t shmq_region_granule_shift(uint64_t granule, uint64_t size)
{
    uint32_t shift = size >= 1ull << 30 ? 12 : size >= 64ull << 20 ? 10 : SHMQ_MIN_GRANULE_SHIFT;

    if (granule)
        return shmq_log2(granule);
    while (shift < SHMQ_MAX_GRANULE_SHIFT && (size - 1) >> shift >= SHMQ_MAX_GRANULES)
        shift++;
    return shift;
}

static inline int shmq_region_plan_geometry(const struct shmq_region_options *options, struct shmq_geometry *geometry,
    struct shmq_error *error)
{
    uint64_t size = options->size ? options->size : SHMQ_REGION_DEFAULT_SIZE, granule = options->granule, granules;
    uint32_t processes = options->max_processes ? options->max_processes : SHMQ_REGION_DEFAULT_PROCESSES;
    uint32_t queues = options->max_queues ? options->max_queues : SHMQ_REGION_DEFAULT_QUEUES, shift;

    if (size < SHMQ_REGION_MIN_SIZE)
        return shmq_region_invalid("size", size, SHMQ_REGION_MIN_SIZE, error);
    if (granule && granule < 1u << SHMQ_MIN_GRANULE_SHIFT)
        return shmq_region_invalid("granule", granule, 1u << SHMQ_MIN_GRANULE_SHIFT, error);
    if (granule > 1u << SHMQ_MAX_GRANULE_SHIFT)
        return shmq_region_invalid("granule", granule, 1u << SHMQ_MAX_GRANULE_SHIFT, error);
    if (granule & (granule - 1))
        return shmq_region_invalid("granule (a power of two)", granule, 1ull << shmq_log2(granule), error);
    if (processes > SHMQ_MAX_PROCESSES)
        return shmq_region_invalid("max_processes", processes, SHMQ_MAX_PROCESSES, error);
    if (queues > SHMQ_MAX_QUEUES)
        return shmq_region_invalid("max_queues", queues, SHMQ_MAX_QUEUES, error);
    shift = shmq_region_granule_shift(granule, size);
    granules = ((size - 1) >> shift) + 1;
    if (granules > SHMQ_MAX_GRANULES)
        return shmq_region_invalid("size", size, (uint64_t)SHMQ_MAX_GRANULES << shift, error);
    if (shmq_geometry_init(geometry, shift, granules, processes, queues))
        return shmq_region_invalid("geometry", granules, SHMQ_MAX_GRANULES, error);
    return SHMQ_OK;
}

/* Validate the options but for the name; what a region made by them would be. */
static inline int shmq_region_plan_facts(const struct shmq_region_options *options, struct shmq_facts *plan,
    struct shmq_error *error)
{
    uint32_t mode = options->mode ? options->mode : 0600;
    int result;

    memset(plan, 0, sizeof *plan);
    if (options->process && strlen(options->process) > SHMQ_NAME_MAX)
        return shmq_region_invalid("process name", strlen(options->process), SHMQ_NAME_MAX, error);
    if (mode != 0600 && mode != 0660)
        return shmq_region_invalid("mode", mode, 0600, error);
    if (mode == 0660 && !options->directory) /* this user's own directory keeps the group out */
        return shmq_region_invalid("mode without a directory of the group's", mode, 0600, error);
    result = shmq_region_plan_geometry(options, &plan->geometry, error);
    if (result)
        return result;
    plan->persist = options->persist;
    plan->creator_pid = shmq_os_pid();
    plan->created_ns = shmq_os_wall_clock();
    result = shmq_os_random(&plan->id, sizeof plan->id);
    return result ? shmq_error_set_os(error, "getrandom", result) : SHMQ_OK;
}

/* The same, of a region that has a name. */
static inline int shmq_region_plan(const struct shmq_region_options *options, struct shmq_facts *plan,
    struct shmq_error *error)
{
    if (!options->name || !shmq_name_valid(options->name))
        return shmq_region_invalid("name", options->name ? strlen(options->name) : 0, SHMQ_NAME_MAX, error);
    return shmq_region_plan_facts(options, plan, error);
}

static inline const char *shmq_region_process_name(const struct shmq_region_options *options)
{
    return options->process ? options->process : "";
}

#endif
