/* SPDX-License-Identifier: MIT */
/* A region with real files and locks, a survivor in it, and what must hold of it whatever became of other processes.
 *
 * The survivor has two queues, `jobs` and `next`, and subscribes to the topic `frames`. Every message tells its label
 * in each of its words. Label 1 is the victim's business; those from 100 on are the survivor's own, and each of them
 * must arrive exactly once, at any time.
 */
#ifndef STEP_WORLD_H
#define STEP_WORLD_H

#include <signal.h>
#include <sys/mman.h>
#include <sys/wait.h>

#include "../c/check.h"
#include "shmq/shmq.h"

#define WORLD_BYTES (1ull << 20)
#define WORLD_GRANULE 16384u            /* few of them: whoever recovers looks at each */
#define WORLD_PROCESSES 4u
#define WORLD_QUEUES (WORLD_PROCESSES + 6u) /* each process's inbox, and what has a name */
#define WORLD_ADMIN_MAX (1u << 16)      /* without slots */
#define WORLD_WORDS 16u                 /* of a payload */
#define WORLD_LABELS 256u
#define WORLD_OURS 100u                 /* first label of the survivor's own */

/* What a process has open. */
struct member {
    struct shmq_region region;
    struct shmq_queue_ref jobs, next, frames;
    struct shmq_publisher publisher;
};

static char world_directory[64];
static struct member mine;
static uint32_t world_label;            /* the next of the survivor's own */
static uint32_t world_got[WORLD_LABELS], world_heard[WORLD_LABELS];
static uint64_t world_formatted[4096];  /* the buddy words of a new region */

/* Nothing is left. */
static inline void world_end(void)
{
    struct stat status;

    CHECK(!mine.region.map.admin);
    CHECK(lstat(world_directory, &status) < 0 || rmdir(world_directory) == 0);
}

/* ---- what a process opens --------------------------------------------------------------------------------- */

static inline int world_try_open(struct shmq_region *region, const char *name, enum shmq_region_how how)
{
    struct shmq_region_options options;
    struct shmq_error error;
    int result;

    memset(&options, 0, sizeof options);
    options.name = name;
    options.size = how == SHMQ_REGION_ATTACH ? 0 : WORLD_BYTES;
    options.granule = WORLD_GRANULE;
    options.max_processes = WORLD_PROCESSES;
    options.max_queues = WORLD_QUEUES - WORLD_PROCESSES;
    options.how = how;
    result = shmq_region_open(region, &options, &error);
    if (result && result != SHMQ_ERROR_NOT_FOUND)
        fprintf(stderr, "%s: %s, errno %d: %s\n", shmq_error_text(error.code), error.what, error.os_errno, error.path);
    return result;
}

static inline void world_open_queue(struct member *member, const char *name, struct shmq_queue_ref *ref)
{
    struct shmq_queue_spec spec;
    uint64_t holder;

    memset(&spec, 0, sizeof spec);
    spec.kind = SHMQ_KIND_WORK;
    spec.policy = SHMQ_POLICY_BLOCK;
    spec.depth = 8;
    spec.name = name;
    CHECK_EQUAL(shmq_queue_open(&member->region.self, &spec, true, ref), SHMQ_OK);
    CHECK_EQUAL(shmq_queue_claim(&member->region.self, ref, true, SHMQ_POLICY_BLOCK, &holder), SHMQ_OK);
}

static inline void world_open_topic(struct member *member)
{
    uint32_t topic = 0;

    CHECK_EQUAL(shmq_topic_open(&member->region.self, "frames", &topic), SHMQ_OK);
    shmq_publisher_init(&member->publisher, topic);
}

static inline void world_subscribe(struct member *member)
{
    CHECK_EQUAL(shmq_subscribe(&member->region.self, member->publisher.topic, 8, SHMQ_POLICY_BLOCK, &member->frames),
        SHMQ_OK);
}

/* Attach, and open all but a subscription. */
static inline void world_join(struct member *member)
{
    memset(member, 0, sizeof *member);
    CHECK_EQUAL(world_try_open(&member->region, "alpha", SHMQ_REGION_EITHER), SHMQ_OK);
    world_open_queue(member, "jobs", &member->jobs);
    world_open_queue(member, "next", &member->next);
    world_open_topic(member);
}

/* ---- messages --------------------------------------------------------------------------------------------- */

static inline void world_write(const struct shmq_map *map, uint32_t block, uint32_t label)
{
    uint64_t *word = (uint64_t *)(void *)shmq_payload(map, block);

    for (uint32_t i = 0; i < WORLD_WORDS; i++)
        word[i] = (uint64_t)label << 32 | i;
}

/* Is it whole? */
static inline void world_read(const struct shmq_map *map, const struct shmq_message *message)
{
    const uint64_t *word = (const uint64_t *)(const void *)shmq_payload(map, message->hold.block);

    CHECK_EQUAL(shmq_length_bytes(message->length), WORLD_WORDS * 8);
    for (uint32_t i = 0; i < WORLD_WORDS; i++)
        CHECK_EQUAL(word[i], (uint64_t)message->label << 32 | i);
}

static inline struct shmq_hold world_loan(struct member *member, uint32_t label)
{
    struct shmq_hold loan;

    CHECK_EQUAL(shmq_loan(&member->region.self, WORLD_WORDS * 8, &loan), SHMQ_OK);
    world_write(&member->region.map, loan.block, label);
    return loan;
}

static inline struct shmq_parcel world_parcel(uint32_t label)
{
    struct shmq_parcel parcel;

    memset(&parcel, 0, sizeof parcel);
    parcel.length = WORLD_WORDS * 8;
    parcel.label = label;
    return parcel;
}

static inline void world_send(struct member *member, const struct shmq_queue_ref *ref, uint32_t label)
{
    struct shmq_hold loan = world_loan(member, label);
    struct shmq_parcel parcel = world_parcel(label);

    CHECK_EQUAL(shmq_send(&member->region.self, ref, &loan, &parcel), SHMQ_OK);
}

static inline void world_publish(struct member *member, uint32_t label)
{
    struct shmq_hold loan = world_loan(member, label);
    struct shmq_parcel parcel = world_parcel(label);
    struct shmq_publication publication;

    CHECK_EQUAL(shmq_publish_start(&member->region.self, &member->publisher, &loan, &parcel, &publication), SHMQ_OK);
    (void)shmq_publish_try(&member->region.self, &member->publisher, &publication);
    shmq_publish_finish(&member->region.self, &member->publisher, &publication);
}

/* Receive and release all that there is. */
static inline void world_drain_one(struct member *member, const struct shmq_queue_ref *ref, uint32_t *count)
{
    struct shmq_message message;
    int result;

    while ((result = shmq_receive(&member->region.self, ref, &message)) == SHMQ_OK) {
        world_read(&member->region.map, &message);
        CHECK(message.label < WORLD_LABELS);
        count[message.label]++;
        CHECK_EQUAL(shmq_release(&member->region.self, &message.hold), SHMQ_OK);
    }
    CHECK(result == SHMQ_EMPTY || result == SHMQ_CLOSED);
}

static inline void world_drain(void)
{
    world_drain_one(&mine, &mine.jobs, world_got);
    world_drain_one(&mine, &mine.next, world_got);
    world_drain_one(&mine, &mine.frames, world_heard);
}

/* The survivor sends, publishes and receives, without waiting for anybody, and gets all that it sent. */
static inline void world_exercise(void)
{
    uint32_t first = world_label;

    CHECK(world_label + 3 <= WORLD_LABELS);
    world_send(&mine, &mine.jobs, world_label++);
    world_send(&mine, &mine.next, world_label++);
    world_publish(&mine, world_label++);
    world_drain();
    CHECK_EQUAL(world_got[first], 1);
    CHECK_EQUAL(world_got[first + 1], 1);
    CHECK_EQUAL(world_heard[first + 2], 1);
}

/* ---- the region at its beginning and its end -------------------------------------------------------------- */

static inline void world_each_word(void (*visit)(uint64_t *word, uint64_t *formatted))
{
    const struct shmq_map *map = &mine.region.map;
    uint64_t *formatted = world_formatted;

    for (uint32_t tier = 0; tier < map->geometry.tiers; tier++)
        for (uint32_t word = 0; word < map->geometry.word_count[tier]; word++)
            visit(&map->word[tier][word], formatted++);
}

static inline void world_keep_word(uint64_t *word, uint64_t *formatted) { *formatted = *word; }

static inline void world_check_word(uint64_t *word, uint64_t *formatted) { CHECK_EQUAL(*word, *formatted); }

/* Nobody has a region; the survivor's counts begin. */
static inline void world_none(void)
{
    memset(&mine, 0, sizeof mine);
    memset(world_got, 0, sizeof world_got);
    memset(world_heard, 0, sizeof world_heard);
    world_label = WORLD_OURS;
}

/* The survivor makes the region, or attaches to it. */
static inline void world_enter(void)
{
    world_join(&mine);
    world_subscribe(&mine);
}

static inline void world_make(void)
{
    world_none();
    world_enter();
}

static inline void world_name(void)
{
    snprintf(world_directory, sizeof world_directory, "/dev/shm/shmq-step-%d", (int)getpid());
    CHECK_EQUAL(setenv("SHMQ_DIR", world_directory, 1), 0);
}

static inline void world_begin(void)
{
    world_none();
    CHECK_EQUAL(world_try_open(&mine.region, "alpha", SHMQ_REGION_CREATE), SHMQ_OK);
    world_each_word(world_keep_word);
    shmq_region_close(&mine.region);
    world_end();
}

static inline bool world_part_changed(const void *part, uint64_t bytes, void *copy)
{
    if (!memcmp(part, copy, bytes))
        return false;
    memcpy(copy, part, bytes);
    return true;
}

/* Is the region's memory another than at the last call? The slots of queues that nobody uses are a hole; of blocks
 * only the beginning is ever written. */
static inline bool world_changed(void)
{
    static unsigned char admin[WORLD_ADMIN_MAX], slots[WORLD_QUEUES][SHMQ_PAGE];
    static uint64_t payload[WORLD_BYTES / WORLD_GRANULE][WORLD_WORDS];
    const struct shmq_map *map = &mine.region.map;
    bool changed;

    if (!map->admin)
        return false;
    CHECK(map->geometry.reserve_size <= sizeof admin && map->geometry.queues == WORLD_QUEUES);
    changed = world_part_changed(map->admin, map->geometry.reserve_size, admin);
    for (uint32_t qid = 0; qid < WORLD_QUEUES; qid++)
        if (shmq_queue_flags(map, qid) & SHMQ_QUEUE_USED)
            changed |= world_part_changed(shmq_map_slots(map, qid), SHMQ_PAGE, slots[qid]);
    for (uint32_t block = 0; block < map->geometry.granules; block++)
        changed |= world_part_changed(shmq_payload(map, block), sizeof payload[block], payload[block]);
    return changed;
}

/* The survivor is alone, holds nothing, and everything is as it was: no block lost, no queue left, every message of the
 * survivor's own came once. Then it leaves, and nothing is left of the region. */
static inline void world_audit_and_close(void)
{
    struct shmq_actor *self = &mine.region.self;
    const struct shmq_map *map = &mine.region.map;

    world_drain();
    for (uint32_t label = WORLD_OURS; label < world_label; label++)
        CHECK_EQUAL(world_got[label] + world_heard[label], 1);
    (void)shmq_queue_delete(self, &mine.jobs); /* a victim may have deleted it */
    CHECK_EQUAL(shmq_queue_delete(self, &mine.next), SHMQ_OK);
    CHECK_EQUAL(shmq_unsubscribe(self, &mine.frames), SHMQ_OK);
    CHECK_EQUAL(shmq_process_count(map), 1);
    shmq_cache_flush(self);
    shmq_buddy_merge(self);
    for (uint32_t block = 0; block < map->geometry.granules; block++)
        CHECK_EQUAL(shmq_block_state(map->block[block].word), SHMQ_STATE_FREE);
    world_each_word(world_check_word);
    for (uint32_t qid = map->geometry.max_processes; qid < map->geometry.queues; qid++)
        CHECK(!(shmq_queue_flags(map, qid) & SHMQ_QUEUE_USED));
    shmq_region_close(&mine.region);
}

#endif
