/* SPDX-License-Identifier: MIT */
/* A topic in the arena: a publisher and two that subscribe, for tests of fan-out. */
#ifndef FAN_H
#define FAN_H

#include "arena.h"

static struct shmq_actor pub, ann, bob;
static struct shmq_publisher frames;
static struct shmq_queue_ref to_ann, to_bob;

static inline void subscribe(struct shmq_actor *actor, uint32_t depth, enum shmq_policy policy,
    struct shmq_queue_ref *ref)
{
    CHECK_EQUAL(shmq_subscribe(actor, frames.topic, depth, policy, ref), SHMQ_OK);
}

static inline void make_sized(uint32_t granules)
{
    uint32_t topic = 0;

    arena_make(9, granules, 4, 140);
    arena_enter(&pub, 0);
    arena_enter(&ann, 1);
    arena_enter(&bob, 2);
    CHECK_EQUAL(shmq_topic_open(&pub, "frames", &topic), SHMQ_OK);
    shmq_publisher_init(&frames, topic);
}

static inline void make(void) { make_sized(256); }

static inline void make_two(enum shmq_policy policy)
{
    make();
    subscribe(&ann, 2, policy, &to_ann);
    subscribe(&bob, 2, SHMQ_POLICY_DROP_NEWEST, &to_bob);
}

/* A publication on its way: nobody has it yet. */
static inline void start(uint32_t label, struct shmq_publication *publication)
{
    struct shmq_parcel parcel = { 1, label };
    struct shmq_hold loan;

    CHECK_EQUAL(shmq_loan(&pub, 1, &loan), SHMQ_OK);
    CHECK_EQUAL(shmq_publish_start(&pub, &frames, &loan, &parcel, publication), SHMQ_OK);
}

/* Returns how many it reached. */
static inline uint32_t publish(uint32_t label)
{
    struct shmq_publication publication;

    start(label, &publication);
    if (shmq_publish_try(&pub, &frames, &publication) == SHMQ_FULL)
        shmq_publish_finish(&pub, &frames, &publication);
    CHECK_EQUAL(shmq_publication_pending(&publication, 0), SHMQ_MAX_SUBSCRIBERS);
    return publication.reached;
}

static inline void end(void)
{
    arena_close(1);
    arena_close(2);
    arena_close(0);
    arena_check_all_free();
    arena_check_no_queues();
    arena_check_no_processes();
    for (uint32_t topic = 0; topic < arena.map.geometry.max_topics; topic++)
        for (uint32_t index = 0; index < SHMQ_MAX_SUBSCRIBERS; index++)
            CHECK_EQUAL(arena.map.topic[topic].subscriber[index], 0);
}

#endif
