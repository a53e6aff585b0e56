/* SPDX-License-Identifier: MIT */
/* Fan-out: topics, subscribers, publications, and whose the block is when somebody is slow, full, closed or dead. */
#include "arena.h"

static struct shmq_actor pub, ann, bob;
static struct shmq_publisher frames;
static struct shmq_queue_ref to_ann, to_bob;

static void subscribe(struct shmq_actor *actor, uint32_t depth, enum shmq_policy policy, struct shmq_queue_ref *ref)
{
    CHECK_EQUAL(shmq_subscribe(actor, frames.topic, depth, policy, ref), SHMQ_OK);
}

static void make(void)
{
    uint32_t topic;

    arena_make(9, 256, 4, 140);
    arena_enter(&pub, 0);
    arena_enter(&ann, 1);
    arena_enter(&bob, 2);
    CHECK_EQUAL(shmq_topic_open(&pub, "frames", &topic), SHMQ_OK);
    shmq_publisher_init(&frames, topic);
}

static void make_two(enum shmq_policy policy)
{
    make();
    subscribe(&ann, 2, policy, &to_ann);
    subscribe(&bob, 2, SHMQ_POLICY_DROP_NEWEST, &to_bob);
}

static void start(uint32_t label, struct shmq_publication *publication)
{
    struct shmq_parcel parcel = { 1, label };
    struct shmq_hold loan;

    CHECK_EQUAL(shmq_loan(&pub, 1, &loan), SHMQ_OK);
    CHECK_EQUAL(shmq_publish_start(&pub, &frames, &loan, &parcel, publication), SHMQ_OK);
}

/* Returns how many it reached. */
static uint32_t publish(uint32_t label)
{
    struct shmq_publication publication;

    start(label, &publication);
    if (shmq_publish_try(&pub, &frames, &publication) == SHMQ_FULL)
        shmq_publish_finish(&pub, &frames, &publication);
    CHECK_EQUAL(shmq_publication_pending(&publication, 0), SHMQ_MAX_SUBSCRIBERS);
    return publication.reached;
}

static void end(void)
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

/* ---- the way of a publication ---------------------------------------------------------------------------- */

static void each_subscriber_gets_the_same_block_with_number_and_sender(void)
{
    struct shmq_message a, b;

    make_two(SHMQ_POLICY_BLOCK);
    CHECK_EQUAL(publish(7), 2);
    CHECK_EQUAL(publish(8), 2);
    arena_hold(&ann, &to_ann, 7, &a);
    arena_hold(&bob, &to_bob, 7, &b);
    CHECK_EQUAL(a.hold.block, b.hold.block);
    CHECK_EQUAL(a.position, 0);
    CHECK_EQUAL(a.sender_slot, 0);
    CHECK_EQUAL(a.sender_epoch, pub.epoch);
    CHECK_EQUAL(shmq_block_state(arena_word(a.hold.block)), SHMQ_STATE_FANOUT);
    CHECK_EQUAL(shmq_release(&ann, &a.hold), SHMQ_OK);
    CHECK_EQUAL(shmq_release(&ann, &a.hold), SHMQ_STALE);
    CHECK_EQUAL(shmq_block_state(arena_word(b.hold.block)), SHMQ_STATE_FANOUT);
    CHECK_EQUAL(shmq_release(&bob, &b.hold), SHMQ_OK);
    CHECK_EQUAL(shmq_block_state(arena_word(b.hold.block)), SHMQ_STATE_FREE);
    arena_hold(&ann, &to_ann, 8, &a);
    CHECK_EQUAL(a.position, 1);
    end();
}

static void nobody_there_frees_the_block(void)
{
    make();
    CHECK_EQUAL(publish(1), 0);
    end();
}

static void a_topic_has_one_number_whoever_opens_it(void)
{
    uint32_t again, other;

    make();
    CHECK_EQUAL(shmq_topic_open(&ann, "frames", &again), SHMQ_OK);
    CHECK_EQUAL(again, frames.topic);
    CHECK_EQUAL(shmq_topic_open(&ann, "sounds", &other), SHMQ_OK);
    CHECK(other != again);
    CHECK_EQUAL(shmq_topic_open(&ann, "", &other), SHMQ_INVALID);
    end();
}

static void a_topic_has_120_subscribers_and_no_more(void)
{
    struct shmq_queue_ref ref[SHMQ_MAX_SUBSCRIBERS], one_more;

    make();
    for (uint32_t i = 0; i < SHMQ_MAX_SUBSCRIBERS; i++)
        subscribe(i % 2 ? &ann : &bob, 1 + i % 3, SHMQ_POLICY_BLOCK, &ref[i]);
    CHECK_EQUAL(shmq_subscribe(&ann, frames.topic, 1, SHMQ_POLICY_BLOCK, &one_more), SHMQ_NO_INDEX);
    CHECK_EQUAL(publish(5), SHMQ_MAX_SUBSCRIBERS);
    CHECK_EQUAL(shmq_unsubscribe(&bob, &ref[64]), SHMQ_OK);
    subscribe(&ann, 1, SHMQ_POLICY_BLOCK, &one_more);
    CHECK_EQUAL(one_more.index, 64);
    for (uint32_t i = 0; i < SHMQ_MAX_SUBSCRIBERS; i++)
        if (i != 64)
            arena_receive(i % 2 ? &ann : &bob, &ref[i], 5);
    arena_nothing(&ann, &one_more, SHMQ_EMPTY);
    CHECK_EQUAL(publish(6), SHMQ_MAX_SUBSCRIBERS);
    arena_receive(&ann, &one_more, 6);
    end();
}

/* ---- full queues ----------------------------------------------------------------------------------------- */

static void each_full_queue_does_as_its_subscriber_has_said(void)
{
    make_two(SHMQ_POLICY_DROP_OLDEST);
    CHECK_EQUAL(publish(0), 2);
    CHECK_EQUAL(publish(1), 2);
    CHECK_EQUAL(publish(2), 1); /* ann lost 0, bob lost 2 */
    CHECK_EQUAL(shmq_queue_dropped(&to_ann), 1);
    CHECK_EQUAL(shmq_queue_dropped(&to_bob), 1);
    arena_receive(&ann, &to_ann, 1);
    arena_receive(&ann, &to_ann, 2);
    arena_receive(&bob, &to_bob, 0);
    arena_receive(&bob, &to_bob, 1);
    arena_nothing(&bob, &to_bob, SHMQ_EMPTY);
    end();
}

static void a_full_queue_that_blocks_keeps_the_publication_pending_until_there_is_room(void)
{
    struct shmq_publication publication;

    make_two(SHMQ_POLICY_BLOCK);
    publish(0);
    publish(1);
    start(2, &publication);
    CHECK_EQUAL(shmq_publish_try(&pub, &frames, &publication), SHMQ_FULL);
    CHECK_EQUAL(shmq_publication_pending(&publication, 0), to_ann.index);
    arena_receive(&ann, &to_ann, 0);
    CHECK_EQUAL(shmq_publish_try(&pub, &frames, &publication), SHMQ_OK);
    CHECK_EQUAL(publication.reached, 1);
    start(3, &publication);
    CHECK_EQUAL(shmq_publish_try(&pub, &frames, &publication), SHMQ_FULL);
    shmq_publish_finish(&pub, &frames, &publication);
    CHECK_EQUAL(publication.reached, 0);
    CHECK_EQUAL(shmq_queue_dropped(&to_ann), 1);
    end();
}

/* ---- comings and goings ---------------------------------------------------------------------------------- */

static void who_unsubscribes_leaves_its_messages_to_the_others(void)
{
    struct shmq_message held;

    make_two(SHMQ_POLICY_BLOCK);
    publish(0);
    publish(1);
    arena_hold(&ann, &to_ann, 0, &held);
    CHECK_EQUAL(shmq_unsubscribe(&ann, &to_ann), SHMQ_OK);
    CHECK(arena.map.topic[frames.topic].subscriber[to_ann.index] != 0); /* its index goes with the last message [D4] */
    CHECK_EQUAL(publish(2), 0); /* bob's is full */
    arena_receive(&bob, &to_bob, 0);
    arena_receive(&bob, &to_bob, 1);
    CHECK_EQUAL(shmq_release(&ann, &held.hold), SHMQ_OK);
    CHECK_EQUAL(arena.map.topic[frames.topic].subscriber[to_ann.index], 0);
    end();
}

static void a_dead_subscriber_keeps_nothing_from_the_others(void)
{
    struct shmq_message held;

    make_two(SHMQ_POLICY_BLOCK);
    publish(0);
    publish(1);
    arena_hold(&ann, &to_ann, 0, &held);
    arena_receive(&bob, &to_bob, 0);
    arena_close(1);
    CHECK_EQUAL(arena.map.topic[frames.topic].subscriber[to_ann.index], 0);
    CHECK_EQUAL(shmq_block_state(arena_word(held.hold.block)), SHMQ_STATE_FREE);
    arena_receive(&bob, &to_bob, 1);
    CHECK_EQUAL(publish(2), 1);
    end();
}

static void what_a_dead_publisher_had_not_posted_is_taken_back(void)
{
    struct shmq_publication publication;

    make_two(SHMQ_POLICY_BLOCK);
    start(5, &publication);
    CHECK_EQUAL(shmq_publish_one(&pub, &frames.ref[to_bob.index], &publication), SHMQ_OK);
    arena_close(0);
    arena_nothing(&ann, &to_ann, SHMQ_EMPTY);
    arena_receive(&bob, &to_bob, 5);
    CHECK_EQUAL(shmq_block_state(arena_word(publication.block)), SHMQ_STATE_FREE);
    end();
}

/* ---- editing --------------------------------------------------------------------------------------------- */

static void only_the_last_holder_may_edit_in_place(void)
{
    struct shmq_message a, b;

    make_two(SHMQ_POLICY_BLOCK);
    publish(1);
    arena_hold(&ann, &to_ann, 1, &a);
    CHECK_EQUAL(shmq_edit(&ann, &a.hold), SHMQ_SHARED_BLOCK); /* bob's still waits */
    arena_hold(&bob, &to_bob, 1, &b);
    CHECK_EQUAL(shmq_edit(&ann, &a.hold), SHMQ_SHARED_BLOCK);
    CHECK_EQUAL(shmq_release(&bob, &b.hold), SHMQ_OK);
    CHECK_EQUAL(shmq_edit(&bob, &b.hold), SHMQ_STALE); /* an outdated hold gets nothing */
    CHECK_EQUAL(shmq_edit(&ann, &a.hold), SHMQ_OK);
    CHECK_EQUAL(shmq_hold_check(&ann, &a.hold), SHMQ_OK);
    CHECK_EQUAL(shmq_edit(&bob, &b.hold), SHMQ_STALE);
    CHECK_EQUAL(shmq_release(&ann, &a.hold), SHMQ_OK);
    end();
}

static const struct check_test tests[] = {
    CHECK_TEST(each_subscriber_gets_the_same_block_with_number_and_sender),
    CHECK_TEST(nobody_there_frees_the_block),
    CHECK_TEST(a_topic_has_one_number_whoever_opens_it),
    CHECK_TEST(a_topic_has_120_subscribers_and_no_more),
    CHECK_TEST(each_full_queue_does_as_its_subscriber_has_said),
    CHECK_TEST(a_full_queue_that_blocks_keeps_the_publication_pending_until_there_is_room),
    CHECK_TEST(who_unsubscribes_leaves_its_messages_to_the_others),
    CHECK_TEST(a_dead_subscriber_keeps_nothing_from_the_others),
    CHECK_TEST(what_a_dead_publisher_had_not_posted_is_taken_back),
    CHECK_TEST(only_the_last_holder_may_edit_in_place),
};

ARENA_MAIN(tests)
