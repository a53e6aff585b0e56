/* SPDX-License-Identifier: MIT */
/* Fan-out: topics, subscribers, publications, and whose the block is when somebody is slow, full, closed or dead. */
#include "fan.h"

static uint32_t subscribers(void)
{
    struct shmq_audience audience;

    shmq_publisher_look(pub.map, &frames, &audience);
    return audience.subscribers;
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

static uint32_t published_blocks(void)
{
    uint32_t count = 0;

    for (uint32_t block = 0; block < arena.map.geometry.granules; block++)
        count += shmq_block_state(arena_word(block)) == SHMQ_STATE_FANOUT;
    return count;
}

/* No block is free: who keeps most messages waiting decides. */
static void the_fullest_subscriber_makes_room_if_it_drops_its_oldest(void)
{
    make();
    subscribe(&ann, 64, SHMQ_POLICY_DROP_OLDEST, &to_ann);
    subscribe(&bob, 64, SHMQ_POLICY_BLOCK, &to_bob);
    CHECK(!shmq_publisher_make_room(&pub, &frames));
    for (uint32_t label = 0; label < 8; label++)
        CHECK_EQUAL(publish(label), 2);
    CHECK(!shmq_publisher_make_room(&pub, &frames)); /* as many wait for bob, who drops nothing */
    CHECK_EQUAL(shmq_queue_dropped(&to_ann), 0);
    for (uint32_t label = 0; label < 4; label++)
        arena_receive(&bob, &to_bob, label);
    for (uint32_t dropped = 1; dropped <= 4; dropped++) {
        uint32_t before = published_blocks();

        CHECK(shmq_publisher_make_room(&pub, &frames));
        CHECK_EQUAL(shmq_queue_dropped(&to_ann), dropped);
        CHECK_EQUAL(published_blocks(), before - 1); /* bob has had it */
    }
    CHECK(!shmq_publisher_make_room(&pub, &frames));
    for (uint32_t label = 4; label < 8; label++) {
        arena_receive(&ann, &to_ann, label);
        arena_receive(&bob, &to_bob, label);
    }
    CHECK(!shmq_publisher_make_room(&pub, &frames));
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
    CHECK_EQUAL(subscribers(), 1);
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

static void more_publications_than_a_closer_notes_at_once_are_all_judged(void)
{
    enum { COUNT = SHMQ_CLUSTERS * SHMQ_CLUSTER_BLOCKS + 100 };
    struct shmq_publication publication;

    make_sized(2 * COUNT);
    subscribe(&ann, COUNT, SHMQ_POLICY_BLOCK, &to_ann);
    for (uint32_t label = 0; label < COUNT; label++) {
        start(label, &publication);
        if (label % 2) /* each second one was posted */
            CHECK_EQUAL(shmq_publish_try(&pub, &frames, &publication), SHMQ_OK);
    }
    arena_close(0);
    CHECK_EQUAL(published_blocks(), COUNT / 2);
    for (uint32_t label = 1; label < COUNT; label += 2)
        arena_receive(&ann, &to_ann, label);
    arena_nothing(&ann, &to_ann, SHMQ_EMPTY);
    end();
}

/* A slot that was left behind names a block that the dead process has published elsewhere since. */
static void a_stale_slot_of_one_topic_is_not_taken_for_a_post_of_another(void)
{
    struct shmq_publication publication;
    uint32_t sounds, first;
    uint64_t *stale;

    make();
    first = frames.topic;
    subscribe(&ann, 2, SHMQ_POLICY_BLOCK, &to_ann);
    CHECK_EQUAL(publish(7), 1);
    CHECK_EQUAL(shmq_topic_open(&pub, "sounds", &sounds), SHMQ_OK);
    shmq_publisher_init(&frames, sounds);
    subscribe(&bob, 2, SHMQ_POLICY_BLOCK, &to_bob);
    CHECK_EQUAL(to_bob.index, to_ann.index);
    start(8, &publication);
    stale = &to_ann.slots[(to_ann.base + 1) % (1u << to_ann.capacity_shift)];
    *stale = shmq_slot_word(shmq_slot_lap(*stale), publication.gen, publication.block + 1);
    arena_close(0);
    CHECK_EQUAL(shmq_block_state(arena_word(publication.block)), SHMQ_STATE_FREE);
    arena_receive(&ann, &to_ann, 7);
    arena_nothing(&ann, &to_ann, SHMQ_EMPTY);
    arena_nothing(&bob, &to_bob, SHMQ_EMPTY);
    CHECK_EQUAL(shmq_slot_value(*stale), 0);
    shmq_publisher_init(&frames, first);
    end();
}

static void a_slot_of_an_older_generation_is_not_taken_for_a_post(void)
{
    struct shmq_publication publication;
    uint64_t *stale;

    make();
    subscribe(&ann, 2, SHMQ_POLICY_BLOCK, &to_ann);
    start(8, &publication);
    stale = &to_ann.slots[to_ann.base % (1u << to_ann.capacity_shift)];
    *stale = shmq_slot_word(shmq_slot_lap(*stale), publication.gen - 1, publication.block + 1);
    arena_close(0);
    CHECK_EQUAL(shmq_block_state(arena_word(publication.block)), SHMQ_STATE_FREE);
    arena_nothing(&ann, &to_ann, SHMQ_EMPTY);
    end();
}

/* The drain of a closing queue had passed the slot when the publisher posted, and died before it looked. */
static void what_is_posted_to_a_closing_queue_by_one_who_dies_is_taken_back(void)
{
    struct shmq_publication publication;

    make();
    subscribe(&ann, 2, SHMQ_POLICY_BLOCK, &to_ann);
    start(8, &publication);
    CHECK_EQUAL(shmq_publish_one(&pub, &frames.ref[to_ann.index], &publication), SHMQ_OK);
    to_ann.queue->flags ^= SHMQ_QUEUE_OPEN | SHMQ_QUEUE_CLOSING;
    arena_close(0);
    CHECK_EQUAL(shmq_block_state(arena_word(publication.block)), SHMQ_STATE_FREE);
    end();
}

/* One that waited for ann's queue; then ann died, another has her index, and the publisher has met it. */
static void pending_for_who_has_gone(struct shmq_publication *publication, struct shmq_queue_ref *anew)
{
    make_two(SHMQ_POLICY_BLOCK);
    publish(0);
    publish(1);
    start(2, publication);
    CHECK_EQUAL(shmq_publish_try(&pub, &frames, publication), SHMQ_FULL);
    arena_close(1);
    arena_enter(&ann, 1);
    subscribe(&ann, 1, SHMQ_POLICY_BLOCK, anew);
    CHECK_EQUAL(anew->index, to_ann.index);
    CHECK_EQUAL(publish(3), 1);
    CHECK_EQUAL(shmq_publication_pending(publication, 0), to_ann.index);
}

static void who_has_anothers_index_does_not_get_what_waited_for_the_other(void)
{
    for (int given_up = 0; given_up < 2; given_up++) {
        struct shmq_publication publication;
        struct shmq_queue_ref anew;

        pending_for_who_has_gone(&publication, &anew);
        if (given_up)
            shmq_publish_finish(&pub, &frames, &publication);
        else
            CHECK_EQUAL(shmq_publish_try(&pub, &frames, &publication), SHMQ_OK);
        CHECK_EQUAL(shmq_publication_pending(&publication, 0), SHMQ_MAX_SUBSCRIBERS);
        CHECK_EQUAL(shmq_block_state(arena_word(publication.block)), SHMQ_STATE_FREE);
        arena_receive(&ann, &anew, 3);
        arena_nothing(&ann, &anew, SHMQ_EMPTY);
        CHECK_EQUAL(shmq_queue_dropped(&anew), 0);
        end();
    }
}

/* ---- what may be published, and where it does not arrive ------------------------------------------------- */

static void only_a_loan_of_ones_own_is_published(void)
{
    struct shmq_parcel parcel = { 1, 3 };
    struct shmq_publication publication;
    struct shmq_hold loan, theirs;
    struct shmq_queue_ref jobs;
    struct shmq_message held;

    make_two(SHMQ_POLICY_BLOCK);
    CHECK_EQUAL(shmq_loan(&pub, 1, &loan), SHMQ_OK);
    theirs = loan;
    CHECK_EQUAL(shmq_release(&pub, &loan), SHMQ_OK);
    CHECK_EQUAL(shmq_publish_start(&pub, &frames, &theirs, &parcel, &publication), SHMQ_STALE);
    arena_open(&pub, "jobs", 4, &jobs);
    arena_send(&pub, &jobs, 9);
    arena_hold(&pub, &jobs, 9, &held);
    CHECK_EQUAL(shmq_publish_start(&pub, &frames, &held.hold, &parcel, &publication), SHMQ_STALE);
    CHECK_EQUAL(shmq_edit(&pub, &held.hold), SHMQ_OK);
    CHECK_EQUAL(shmq_publish_start(&pub, &frames, &held.hold, &parcel, &publication), SHMQ_OK);
    CHECK_EQUAL(shmq_publish_try(&pub, &frames, &publication), SHMQ_OK);
    CHECK_EQUAL(publication.reached, 2);
    arena_hold(&ann, &to_ann, 3, &held);
    CHECK_EQUAL(shmq_publish_start(&ann, &frames, &held.hold, &parcel, &publication), SHMQ_STALE);
    CHECK_EQUAL(shmq_forward(&ann, &jobs, &held), SHMQ_STALE);
    CHECK_EQUAL(shmq_queue_delete(&pub, &jobs), SHMQ_OK);
    end();
}

static void a_subscriber_that_was_shut_down_gets_the_rest_and_nothing_more(void)
{
    make_two(SHMQ_POLICY_BLOCK);
    CHECK_EQUAL(publish(1), 2);
    CHECK_EQUAL(shmq_queue_shut(&ann, &to_ann), SHMQ_OK);
    CHECK_EQUAL(publish(2), 1);
    arena_receive(&ann, &to_ann, 1);
    arena_nothing(&ann, &to_ann, SHMQ_SHUT);
    CHECK_EQUAL(shmq_queue_dropped(&to_ann), 0);
    end();
}

/* The queue closes after the post: the ticket comes back, and the slot is cleared. */
static void close_after_post(bool shut)
{
    struct shmq_publication publication;
    struct shmq_place place;

    make_two(SHMQ_POLICY_BLOCK);
    start(4, &publication);
    CHECK_EQUAL(shmq_queue_post(&arena.map, &frames.ref[to_ann.index], publication.block, publication.gen, &place),
        SHMQ_OK);
    if (shut)
        CHECK_EQUAL(shmq_queue_shut(&ann, &to_ann), SHMQ_OK);
    else
        to_ann.queue->flags ^= SHMQ_QUEUE_OPEN | SHMQ_QUEUE_CLOSING; /* its drain has passed the slot */
    shmq_publish_confirm(&pub, &frames.ref[to_ann.index], &publication, place);
    CHECK_EQUAL(publication.reached, 0);
    CHECK_EQUAL(arena_times_queued(&to_ann, publication.block), 0);
    CHECK_EQUAL(shmq_publish_try(&pub, &frames, &publication), SHMQ_OK);
    CHECK_EQUAL(publication.reached, 1);
    arena_receive(&bob, &to_bob, 4);
    CHECK_EQUAL(shmq_block_state(arena_word(publication.block)), SHMQ_STATE_FREE);
    end();
}

static void what_is_posted_to_one_that_closes_is_taken_back(void)
{
    close_after_post(false);
    close_after_post(true);
}

static void a_message_received_before_its_queue_closed_counts_as_reached(void)
{
    struct shmq_publication publication;
    struct shmq_message held;
    struct shmq_place place;

    make_two(SHMQ_POLICY_BLOCK);
    start(4, &publication);
    CHECK_EQUAL(shmq_queue_post(&arena.map, &frames.ref[to_ann.index], publication.block, publication.gen, &place),
        SHMQ_OK);
    arena_hold(&ann, &to_ann, 4, &held);
    CHECK_EQUAL(shmq_queue_close(&ann, &to_ann), SHMQ_OK);
    shmq_publish_confirm(&pub, &frames.ref[to_ann.index], &publication, place);
    CHECK_EQUAL(publication.reached, 1);
    shmq_publish_finish(&pub, &frames, &publication);
    CHECK_EQUAL(shmq_release(&ann, &held.hold), SHMQ_OK);
    end();
}

static void a_publication_wakes_who_sleeps_and_a_receive_who_waits_for_room(void)
{
    make_two(SHMQ_POLICY_BLOCK);
    shmq_wait_announce(shmq_receivers(to_ann.queue));
    arena_forget();
    CHECK_EQUAL(publish(1), 2);
    CHECK_EQUAL(arena.wakes, 1);
    CHECK(arena.wake[0].seq == &to_ann.queue->receivers_seq);
    shmq_wait_announce(shmq_senders(to_bob.queue));
    arena_forget();
    arena_receive(&bob, &to_bob, 1);
    CHECK_EQUAL(arena.wakes, 1);
    CHECK(arena.wake[0].seq == &to_bob.queue->senders_seq);
    end();
}

static void numbers_go_on_past_every_bound(void)
{
    struct shmq_message held;

    make_two(SHMQ_POLICY_BLOCK);
    arena.map.topic[frames.topic].published = UINT64_MAX;
    CHECK_EQUAL(publish(1), 2);
    CHECK_EQUAL(publish(2), 2);
    arena_hold(&ann, &to_ann, 1, &held);
    CHECK_EQUAL(held.position, UINT64_MAX);
    CHECK_EQUAL(shmq_release(&ann, &held.hold), SHMQ_OK);
    arena_hold(&ann, &to_ann, 2, &held);
    CHECK_EQUAL(held.position, 0);
    end();
}

static void views_of_a_published_message_outlive_the_close_of_the_region(void)
{
    struct shmq_message held;
    uint32_t kept;

    make_two(SHMQ_POLICY_BLOCK);
    publish(1);
    publish(2);
    arena_hold(&ann, &to_ann, 1, &held);
    kept = held.hold.block;
    shmq_close_except(&ann, &kept, 1);
    arena_receive(&bob, &to_bob, 1);
    arena_receive(&bob, &to_bob, 2);
    CHECK_EQUAL(shmq_block_state(arena_word(kept)), SHMQ_STATE_FANOUT);
    CHECK_EQUAL(publish(3), 1);
    CHECK(arena.map.topic[frames.topic].subscriber[to_ann.index]);
    arena_close(1);
    CHECK_EQUAL(shmq_block_state(arena_word(kept)), SHMQ_STATE_FREE);
    CHECK_EQUAL(arena.map.topic[frames.topic].subscriber[to_ann.index], 0);
    end();
}

static void the_census_counts_a_published_message_with_each_holder(void)
{
    static struct shmq_census census;
    struct shmq_message a, b;

    make_two(SHMQ_POLICY_BLOCK);
    publish(1);
    publish(2);
    arena_hold(&ann, &to_ann, 1, &a);
    arena_hold(&bob, &to_bob, 1, &b);
    shmq_census_take(&census, &arena.map);
    CHECK_EQUAL(census.process[1].held, 1);
    CHECK_EQUAL(census.process[2].held, 1);
    CHECK_EQUAL(census.queued, 1);
    CHECK_EQUAL(census.process[0].queued, 1);
    CHECK_EQUAL(shmq_undelivered(&arena.map), 1);
    CHECK_EQUAL(shmq_blocks_elsewhere(&pub), SHMQ_HOPE_HELD);
    end();
}

static void who_was_shut_down_is_no_subscriber_any_more(void)
{
    struct shmq_queue_ref anew;

    make_two(SHMQ_POLICY_BLOCK);
    publish(0);
    shmq_publisher_shut(&pub, &frames);
    CHECK_EQUAL(subscribers(), 0);
    CHECK_EQUAL(publish(1), 0);
    subscribe(&ann, 1, SHMQ_POLICY_BLOCK, &anew);
    CHECK_EQUAL(subscribers(), 1);
    CHECK_EQUAL(publish(2), 1);
    arena_receive(&ann, &to_ann, 0);
    arena_nothing(&ann, &to_ann, SHMQ_SHUT);
    arena_receive(&ann, &anew, 2);
    end();
}

static void an_audience_is_as_deep_as_its_shallowest_queue(void)
{
    static const uint32_t depths[] = { 40, 30, 50 };
    struct shmq_audience audience;
    struct shmq_queue_ref ref;

    make();
    shmq_publisher_look(pub.map, &frames, &audience);
    CHECK_EQUAL(audience.depth, 0);
    for (uint32_t i = 0; i < ARENA_COUNT(depths); i++) {
        subscribe(&ann, depths[i], SHMQ_POLICY_BLOCK, &ref);
        shmq_publisher_look(pub.map, &frames, &audience);
        CHECK_EQUAL(audience.subscribers, i + 1);
        CHECK_EQUAL(audience.depth, i ? 30 : 40);
    }
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
    CHECK_TEST(each_full_queue_does_as_its_subscriber_has_said),
    CHECK_TEST(the_fullest_subscriber_makes_room_if_it_drops_its_oldest),
    CHECK_TEST(a_full_queue_that_blocks_keeps_the_publication_pending_until_there_is_room),
    CHECK_TEST(who_unsubscribes_leaves_its_messages_to_the_others),
    CHECK_TEST(a_dead_subscriber_keeps_nothing_from_the_others),
    CHECK_TEST(what_a_dead_publisher_had_not_posted_is_taken_back),
    CHECK_TEST(more_publications_than_a_closer_notes_at_once_are_all_judged),
    CHECK_TEST(a_stale_slot_of_one_topic_is_not_taken_for_a_post_of_another),
    CHECK_TEST(a_slot_of_an_older_generation_is_not_taken_for_a_post),
    CHECK_TEST(what_is_posted_to_a_closing_queue_by_one_who_dies_is_taken_back),
    CHECK_TEST(who_has_anothers_index_does_not_get_what_waited_for_the_other),
    CHECK_TEST(only_a_loan_of_ones_own_is_published),
    CHECK_TEST(a_subscriber_that_was_shut_down_gets_the_rest_and_nothing_more),
    CHECK_TEST(what_is_posted_to_one_that_closes_is_taken_back),
    CHECK_TEST(a_message_received_before_its_queue_closed_counts_as_reached),
    CHECK_TEST(a_publication_wakes_who_sleeps_and_a_receive_who_waits_for_room),
    CHECK_TEST(numbers_go_on_past_every_bound),
    CHECK_TEST(views_of_a_published_message_outlive_the_close_of_the_region),
    CHECK_TEST(the_census_counts_a_published_message_with_each_holder),
    CHECK_TEST(who_was_shut_down_is_no_subscriber_any_more),
    CHECK_TEST(an_audience_is_as_deep_as_its_shallowest_queue),
    CHECK_TEST(only_the_last_holder_may_edit_in_place),
};

ARENA_MAIN(tests)
