/* SPDX-License-Identifier: MIT */
/* Others interfere while queues and topics are opened, ended, and recovered from: see test_meantime.c. */
#include "meantime.h"

#include "fan.h"

static struct shmq_actor me, other;
static struct shmq_queue_ref jobs;

static void make_queue(void)
{
    arena_make(9, 256, 3, 4);
    arena_enter(&me, 1);
    arena_enter(&other, 2);
    arena_open(&me, "jobs", 64, &jobs);
}

static void end_queue(void)
{
    (void)shmq_queue_delete(&me, &jobs);
    arena_close(1);
    arena_close(2);
    arena_check_all_free();
    arena_check_no_queues();
}

/* ---- open ------------------------------------------------------------------------------------------------ */

static struct shmq_queue_ref others_inbox;

static void take_the_name(void)
{
    if (meantimes == 1)
        CHECK_EQUAL(shmq_queue_open_inbox(&other, "me", 10, &others_inbox), SHMQ_OK);
}

static void an_inbox_whose_name_another_takes_meanwhile_is_not_made(void)
{
    struct shmq_queue_ref inbox;

    make_queue();
    before_each(SHMQ_Q1, take_the_name); /* the name was not there a moment ago */
    CHECK_EQUAL(shmq_queue_open_inbox(&me, "me", 10, &inbox), SHMQ_IN_USE);
    undisturbed();
    CHECK_EQUAL(others_inbox.qid, 2);
    CHECK_EQUAL(shmq_flags_bits(arena.map.queue[1].flags), 0); /* what was built is given back */
    CHECK_EQUAL(shmq_queue_find_inbox(&arena.map, "me", &inbox), SHMQ_OK);
    CHECK_EQUAL(inbox.qid, 2);
    end_queue();
}

static void overwrite_dir(void)
{
    uint64_t dir = arena.map.header->dir;

    arena.map.header->dir = shmq_dir_word(shmq_dir_version(dir) + 1, 0x7fff); /* names no record */
}

static void a_name_that_is_overwritten_for_ever_makes_no_queue_and_no_end_of_trying(void)
{
    struct shmq_queue_spec spec = { SHMQ_KIND_WORK, SHMQ_POLICY_BLOCK, 10, "more", 0, 0 };
    struct shmq_queue_ref ref;

    make_queue();
    overwrite_dir();
    before_each(SHMQ_N2, overwrite_dir);
    CHECK_EQUAL(shmq_queue_open(&me, &spec, true, &ref), SHMQ_CORRUPT);
    undisturbed();
    CHECK_EQUAL(meantimes, SHMQ_NAMES_ROUNDS);
    CHECK_EQUAL(shmq_queue_open(&me, &spec, true, &ref), SHMQ_OK);
    CHECK_EQUAL(shmq_queue_delete(&me, &ref), SHMQ_OK);
    end_queue();
}

/* ---- topics ---------------------------------------------------------------------------------------------- */

static uint32_t half; /* a topic that was built and never opened */

static void open_half(void) { shmq_topic_set_open(&arena.map, half, shmq_topic_flags(&arena.map, half)); }

static void a_topic_that_a_helper_opens_behind_its_makers_closer_lives_on(void)
{
    uint32_t topic;

    make();
    CHECK_EQUAL(shmq_topic_build(&ann, "half", &half), SHMQ_OK);
    before_each(SHMQ_Q_TOPIC, open_half);
    arena_close(1);
    undisturbed();
    CHECK_EQUAL(meantimes, 1);
    CHECK_EQUAL(shmq_topic_find(&arena.map, "half", &topic), SHMQ_OK);
    CHECK_EQUAL(topic, half);
    end();
}

static void a_closer_that_died_while_it_gave_a_topic_back_has_one_that_does(void)
{
    uint32_t topic;
    uint64_t *flags;

    make();
    CHECK_EQUAL(shmq_topic_build(&ann, "half", &half), SHMQ_OK);
    flags = &arena.map.topic[half].flags;
    *flags = shmq_flags_word(shmq_flags_epoch(*flags), 1, SHMQ_QUEUE_USED | SHMQ_QUEUE_CLOSING);
    arena_close(1);
    CHECK_EQUAL(shmq_flags_bits(*flags), 0);
    CHECK_EQUAL(shmq_topic_open(&bob, "whole", &topic), SHMQ_OK);
    CHECK_EQUAL(topic, half);
    end();
}

/* Of the queue that is to be a subscriber's: its record is the first that is free. */
static struct shmq_queue *subscribers_queue(void) { return &arena.map.queue[arena.map.geometry.max_processes]; }

static void damage_its_depth(void) { subscribers_queue()->depth = 0; }
static void close_it(void) { subscribers_queue()->flags &= ~(uint64_t)SHMQ_QUEUE_OPEN; }

/* Who finds no index gives the queue back, if it is still there to be given back. */
static void a_queue_that_got_no_index_and_is_damaged_is_left_to_the_closer(void)
{
    static const struct {
        enum shmq_step step;
        void (*others)(void);
    } damages[] = { { SHMQ_Q2, damage_its_depth }, { SHMQ_QC1, close_it } };

    for (uint32_t i = 0; i < ARENA_COUNT(damages); i++) {
        struct shmq_topic *record;
        struct shmq_queue_ref ref;

        make();
        record = &arena.map.topic[frames.topic];
        for (uint32_t index = 0; index < SHMQ_MAX_SUBSCRIBERS; index++)
            record->subscriber[index] = 1;
        before_each(damages[i].step, damages[i].others);
        CHECK_EQUAL(shmq_subscribe(&ann, frames.topic, 2, SHMQ_POLICY_BLOCK, &ref), SHMQ_NO_INDEX);
        undisturbed();
        CHECK_EQUAL(meantimes, 1);
        CHECK(subscribers_queue()->flags & SHMQ_QUEUE_USED);
        memset(record->subscriber, 0, sizeof record->subscriber);
        end();
    }
}

/* ---- ends ------------------------------------------------------------------------------------------------ */

static uint32_t held_block;
static uint64_t freed_word;

static void delete_jobs(void)
{
    CHECK_EQUAL(shmq_queue_delete(&other, &jobs), SHMQ_OK);
    freed_word = arena_word(held_block);
}

static void a_message_that_a_delete_has_freed_is_not_freed_again_by_who_requeued_it(void) /* [M3] */
{
    struct shmq_message message;

    make_queue();
    arena_send(&me, &jobs, 5);
    arena_hold(&me, &jobs, 5, &message);
    held_block = message.hold.block;
    before_each(SHMQ_C3_RECHECK, delete_jobs);
    arena_close(1);
    undisturbed();
    CHECK_EQUAL(meantimes, 1);
    CHECK_EQUAL(shmq_block_state(freed_word), SHMQ_STATE_FREE);
    CHECK_EQUAL(arena_word(held_block), freed_word);
    end_queue();
}

static void change_the_first_slot(void) { jobs.slots[0] ^= 1ull << 28; }

static void a_drain_whose_slot_changes_at_each_look_ends(void)
{
    uint32_t block;

    make_queue();
    CHECK_EQUAL(jobs.base % 64, 0);
    arena_send(&me, &jobs, 5);
    arena_send(&me, &jobs, 6);
    block = shmq_slot_value(jobs.slots[0]) - 1;
    before_each(SHMQ_QC2_RECHECK, change_the_first_slot);
    shmq_drain_slot(&other, jobs.qid, &jobs.slots[0]);
    undisturbed();
    CHECK_EQUAL(meantimes, SHMQ_WALK_SLACK);
    CHECK_EQUAL(shmq_block_state(arena_word(block)), SHMQ_STATE_QUEUED);
    shmq_drain_slot(&other, jobs.qid, &jobs.slots[0]);
    CHECK_EQUAL(shmq_block_state(arena_word(block)), SHMQ_STATE_FREE);
    arena_receive(&me, &jobs, 6);
    end_queue();
}

static const struct check_test tests[] = {
    CHECK_TEST(an_inbox_whose_name_another_takes_meanwhile_is_not_made),
    CHECK_TEST(a_name_that_is_overwritten_for_ever_makes_no_queue_and_no_end_of_trying),
    CHECK_TEST(a_topic_that_a_helper_opens_behind_its_makers_closer_lives_on),
    CHECK_TEST(a_closer_that_died_while_it_gave_a_topic_back_has_one_that_does),
    CHECK_TEST(a_queue_that_got_no_index_and_is_damaged_is_left_to_the_closer),
    CHECK_TEST(a_message_that_a_delete_has_freed_is_not_freed_again_by_who_requeued_it),
    CHECK_TEST(a_drain_whose_slot_changes_at_each_look_ends),
};

ARENA_MAIN(tests)
