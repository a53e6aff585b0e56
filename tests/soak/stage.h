/* SPDX-License-Identifier: MIT */
/* The region of a round: made, and when all have ended, searched for anything that is left of anybody. */
#ifndef SOAK_STAGE_H
#define SOAK_STAGE_H

#include <dirent.h>
#include <sys/stat.h>

#include "../c/check.h"
#include "shmq/shmq.h"

#define STAGE_PROCESSES 64u
#define STAGE_QUEUES 64u
#define STAGE_WORDS (1u << 16)

struct stage {
    struct shmq_region region;
    uint64_t formatted[STAGE_WORDS]; /* the buddy words of the new region */
    uint32_t words;
};

static inline void stage_make(struct stage *stage, const char *directory, const char *name, uint64_t size)
{
    struct shmq_region_options options;
    struct shmq_error error;
    const struct shmq_map *map = &stage->region.map;

    memset(&options, 0, sizeof options);
    options.name = name;
    options.directory = directory;
    options.process = "controller";
    options.size = size;
    options.max_processes = STAGE_PROCESSES;
    options.max_queues = STAGE_QUEUES;
    options.how = SHMQ_REGION_CREATE;
    if (shmq_region_open(&stage->region, &options, &error) != SHMQ_OK) {
        fprintf(stderr, "making %s: %s, %s, errno %d\n", name, shmq_error_text(error.code), error.what, error.os_errno);
        CHECK(false);
    }
    stage->words = 0;
    for (uint32_t tier = 0; tier < map->geometry.tiers; tier++)
        for (uint32_t word = 0; word < map->geometry.word_count[tier]; word++) {
            CHECK(stage->words < STAGE_WORDS);
            stage->formatted[stage->words++] = map->word[tier][word];
        }
}

__attribute__((format(printf, 1, 2))) static inline uint64_t stage_leak(const char *format, ...)
{
    va_list values;

    fputs("leaked: ", stderr);
    va_start(values, format);
    vfprintf(stderr, format, values);
    va_end(values);
    fputc('\n', stderr);
    return 1;
}

static inline uint64_t stage_leaked_slots(const struct shmq_map *map, uint32_t own)
{
    uint64_t leaked = 0;

    for (uint32_t slot = 0; slot < map->geometry.max_processes; slot++)
        if (slot != own && !shmq_process_is_free(map, slot))
            leaked += stage_leak("process slot %u, state %#llx", slot,
                (unsigned long long)shmq_process_load(map, slot));
    return leaked;
}

/* Work queues live as long as the region: these are deleted here. Any other has been somebody's. */
static inline uint64_t stage_leaked_queues(struct shmq_actor *self)
{
    const struct shmq_map *map = self->map;
    uint64_t leaked = 0;

    for (uint32_t qid = 0; qid < map->geometry.queues; qid++) {
        struct shmq_queue_ref ref;
        uint64_t flags = shmq_queue_flags(map, qid);

        if (qid == self->slot)
            continue;
        if (flags & SHMQ_QUEUE_OPEN && shmq_queue_ref_init(map, qid, shmq_flags_epoch(flags), &ref) == SHMQ_OK
            && ref.kind == SHMQ_KIND_WORK)
            CHECK_EQUAL(shmq_queue_delete(self, &ref), SHMQ_OK);
        flags = shmq_queue_flags(map, qid);
        if (flags & SHMQ_QUEUE_USED)
            leaked += stage_leak("queue %u, flags %#llx", qid, (unsigned long long)flags);
    }
    return leaked;
}

static inline uint64_t stage_leaked_blocks(struct stage *stage)
{
    const struct shmq_map *map = &stage->region.map;
    const uint64_t *formatted = stage->formatted;
    uint64_t leaked = 0, split = 0;

    shmq_cache_flush(&stage->region.self);
    shmq_buddy_merge(&stage->region.self);
    for (uint32_t block = 0; block < map->geometry.granules; block++)
        if (shmq_block_state(map->block[block].word) != SHMQ_STATE_FREE)
            leaked += stage_leak("block %u, %#llx", block, (unsigned long long)map->block[block].word);
    for (uint32_t tier = 0; tier < map->geometry.tiers; tier++)
        for (uint32_t word = 0; word < map->geometry.word_count[tier]; word++)
            split += map->word[tier][word] != *formatted++;
    if (split && !leaked)
        leaked = stage_leak("%llu buddy words are not as at first", (unsigned long long)split);
    return leaked;
}

static inline uint64_t stage_leaked_files(const char *directory)
{
    DIR *files = opendir(directory);
    struct dirent *file;
    uint64_t leaked = 0;

    if (!files)
        return 0;
    while ((file = readdir(files)))
        if (strcmp(file->d_name, ".") && strcmp(file->d_name, ".."))
            leaked += stage_leak("file %s", file->d_name);
    closedir(files);
    return leaked;
}

/* All others have ended, and all queues have been read. Returns how many things are left that nobody has. */
static inline uint64_t stage_end(struct stage *stage, const char *directory)
{
    uint64_t leaked = stage_leaked_slots(&stage->region.map, stage->region.self.slot);

    leaked += stage_leaked_queues(&stage->region.self);
    leaked += stage_leaked_blocks(stage);
    shmq_region_close(&stage->region);
    return leaked + stage_leaked_files(directory);
}

#endif
