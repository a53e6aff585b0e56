/* SPDX-License-Identifier: MIT */
/* Topics and their subscribers: names, numbers, indices, tickets; and words of theirs that cannot be. */
#include "fan.h"

/* ---- topics ---------------------------------------------------------------------------------------------- */

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

static void a_topic_that_its_maker_never_named_is_free_for_another_name(void)
{
    const struct shmq_topic *record;
    uint32_t topic, again;

    make();
    record = &arena.map.topic[1];
    CHECK_EQUAL(shmq_topic_build(&ann, "half", &topic), SHMQ_OK);
    CHECK_EQUAL(topic, 1);
    CHECK_EQUAL(shmq_topic_find(&arena.map, "half", &again), SHMQ_NOT_FOUND);
    arena_close(1);
    CHECK_EQUAL(shmq_flags_bits(record->flags), 0);
    CHECK_EQUAL(shmq_topic_open(&bob, "whole", &topic), SHMQ_OK);
    CHECK_EQUAL(topic, 1);
    end();
}

static void a_topic_that_dir_names_is_opened_by_whoever_comes_next(void)
{
    uint32_t topic, again;

    make();
    CHECK_EQUAL(shmq_topic_build(&ann, "half", &topic), SHMQ_OK);
    arena.map.header->dir = shmq_dir_word(7, SHMQ_DIR_TOPIC + topic);
    CHECK_EQUAL(shmq_topic_open(&bob, "half", &again), SHMQ_OK);
    CHECK_EQUAL(again, topic);
    CHECK_EQUAL(arena.map.header->dir, shmq_dir_word(8, 0));
    CHECK_EQUAL(shmq_flags_owner(arena.map.topic[topic].flags), SHMQ_NO_OWNER);
    end();
}

static void a_pending_topic_of_a_dead_maker_goes_from_dir(void)
{
    uint32_t topic;

    make();
    CHECK_EQUAL(shmq_topic_build(&ann, "half", &topic), SHMQ_OK);
    arena.map.header->dir = shmq_dir_word(7, SHMQ_DIR_TOPIC + topic);
    arena_close(1);
    CHECK_EQUAL(arena.map.header->dir, shmq_dir_word(8, 0));
    CHECK_EQUAL(shmq_topic_find(&arena.map, "half", &topic), SHMQ_NOT_FOUND);
    end();
}

static void an_open_topic_outlives_its_maker_and_all_its_subscribers(void)
{
    uint32_t topic;

    make_two(SHMQ_POLICY_BLOCK);
    arena_close(0);
    arena_close(1);
    arena_close(2);
    arena_enter(&pub, 0);
    CHECK_EQUAL(shmq_topic_open(&pub, "frames", &topic), SHMQ_OK);
    CHECK_EQUAL(topic, frames.topic);
    CHECK_EQUAL(publish(1), 0);
    end();
}

static void there_are_as_many_topics_as_records(void)
{
    uint32_t topic;
    char name[16];

    make();
    for (uint32_t i = 1; i < arena.map.geometry.max_topics; i++) {
        snprintf(name, sizeof name, "t%u", i);
        CHECK_EQUAL(shmq_topic_open(&ann, name, &topic), SHMQ_OK);
        CHECK_EQUAL(topic, i);
    }
    CHECK_EQUAL(shmq_topic_open(&ann, "one more", &topic), SHMQ_NO_QUEUES);
    CHECK_EQUAL(shmq_topic_open(&ann, "t3", &topic), SHMQ_OK);
    end();
}

static void a_name_is_as_long_as_names_may_be(void)
{
    char longest[SHMQ_NAME_MAX + 2];
    uint32_t topic, again;

    make();
    memset(longest, 'n', sizeof longest);
    longest[SHMQ_NAME_MAX + 1] = 0;
    CHECK_EQUAL(shmq_topic_open(&ann, longest, &topic), SHMQ_INVALID);
    longest[SHMQ_NAME_MAX] = 0;
    CHECK_EQUAL(shmq_topic_open(&ann, longest, &topic), SHMQ_OK);
    CHECK_EQUAL(shmq_topic_open(&bob, longest, &again), SHMQ_OK);
    CHECK_EQUAL(again, topic);
    end();
}

/* ---- subscribers ----------------------------------------------------------------------------------------- */

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

static void a_depth_or_topic_out_of_range_is_refused(void)
{
    struct shmq_queue_ref ref;

    make();
    CHECK_EQUAL(shmq_subscribe(&ann, frames.topic, 0, SHMQ_POLICY_BLOCK, &ref), SHMQ_INVALID);
    CHECK_EQUAL(shmq_subscribe(&ann, frames.topic, SHMQ_MAX_DEPTH + 1, SHMQ_POLICY_BLOCK, &ref), SHMQ_INVALID);
    CHECK_EQUAL(shmq_subscribe(&ann, arena.map.geometry.max_topics, 1, SHMQ_POLICY_BLOCK, &ref), SHMQ_INVALID);
    CHECK_EQUAL(shmq_subscribe(&ann, UINT32_MAX, 1, SHMQ_POLICY_BLOCK, &ref), SHMQ_INVALID);
    end();
}

static void an_index_is_free_again_only_when_nothing_is_held_under_it(void)
{
    struct shmq_message held;
    struct shmq_queue_ref next;
    uint32_t index;

    make_two(SHMQ_POLICY_BLOCK);
    publish(1);
    arena_hold(&ann, &to_ann, 1, &held);
    index = to_ann.index;
    CHECK_EQUAL(shmq_unsubscribe(&ann, &to_ann), SHMQ_OK);
    subscribe(&pub, 1, SHMQ_POLICY_BLOCK, &next);
    CHECK(next.index != index);
    CHECK_EQUAL(shmq_release(&ann, &held.hold), SHMQ_OK);
    subscribe(&ann, 1, SHMQ_POLICY_BLOCK, &to_ann);
    CHECK_EQUAL(to_ann.index, index);
    end();
}

static void who_dies_between_its_queue_and_its_entry_leaves_nothing(void)
{
    struct shmq_queue_spec spec = { SHMQ_KIND_SUBSCRIBER, SHMQ_POLICY_BLOCK, 1, "", 0, 0 };
    uint32_t qid, epoch;

    make();
    CHECK_EQUAL(shmq_names_build(&ann, &spec, &qid, &epoch), SHMQ_OK);
    shmq_queue_set_open(&arena.map, qid, shmq_queue_flags(&arena.map, qid));
    CHECK_EQUAL(publish(1), 0);
    arena_close(1);
    end();
}

/* ---- tickets --------------------------------------------------------------------------------------------- */

static const uint32_t edges[] = { 0, 1, 22, 23, 24, 25, 47, 48, 63, 64, 71, 72, 95, 96, 118, 119 };

/* As many subscribers as there can be; of those at the edges each gives its ticket back in its turn. */
static void the_last_ticket_frees_the_block_whichever_it_is(void)
{
    static struct shmq_queue_ref ref[SHMQ_MAX_SUBSCRIBERS];
    static struct shmq_message held[SHMQ_MAX_SUBSCRIBERS];

    for (uint32_t last = 0; last < ARENA_COUNT(edges); last++) {
        uint32_t block;

        make();
        for (uint32_t i = 0; i < SHMQ_MAX_SUBSCRIBERS; i++)
            subscribe(&ann, 1, SHMQ_POLICY_BLOCK, &ref[i]);
        CHECK_EQUAL(publish(3), SHMQ_MAX_SUBSCRIBERS);
        for (uint32_t i = 0; i < SHMQ_MAX_SUBSCRIBERS; i++)
            arena_hold(&ann, &ref[i], 3, &held[i]);
        block = held[0].hold.block;
        for (uint32_t i = 0; i < SHMQ_MAX_SUBSCRIBERS; i++)
            if (i != edges[last]) {
                CHECK_EQUAL(shmq_edit(&ann, &held[edges[last]].hold), SHMQ_SHARED_BLOCK);
                CHECK_EQUAL(shmq_release(&ann, &held[i].hold), SHMQ_OK);
            }
        CHECK_EQUAL(shmq_block_state(arena_word(block)), SHMQ_STATE_FANOUT);
        CHECK_EQUAL(shmq_tickets_left(&arena.map, block, shmq_block_gen(arena_word(block))), 1);
        CHECK_EQUAL(shmq_release(&ann, &held[edges[last]].hold), SHMQ_OK);
        CHECK_EQUAL(shmq_block_state(arena_word(block)), SHMQ_STATE_FREE);
        end();
    }
}

/* [U10] A block that has come round: its tickets agree in 16 bits of the generation, and in nothing else. */
static void a_ticket_of_an_earlier_generation_changes_nothing(void)
{
    struct shmq_message held;
    struct shmq_ticket old;
    uint64_t mine, tickets;

    make_two(SHMQ_POLICY_BLOCK);
    publish(1);
    arena_hold(&ann, &to_ann, 1, &held);
    old = shmq_ticket_of(held.hold.block, held.hold.word);
    tickets = *shmq_ticket_word(&arena.map, old.block, old.index);
    for (uint32_t round = 1; round < 256; round++) {
        old.gen = (shmq_block_gen(held.hold.word) + (round << 16)) & 0xffffff;
        CHECK(!shmq_ticket_clear(&arena.map, old, SHMQ_TICKET_ANY, SHMQ_T_CLEAR));
        CHECK(!shmq_ticket_take_over(&ann, old, &mine));
        CHECK(!shmq_ticket_claim_last(&ann, old.block, old.gen, &mine));
        old.index = to_bob.index;
        CHECK(!shmq_ticket_take(&arena.map, old));
        old.index = to_ann.index;
        CHECK_EQUAL(*shmq_ticket_word(&arena.map, old.block, old.index), tickets);
    }
    end();
}

/* ---- words that cannot be -------------------------------------------------------------------------------- */

static uint64_t strange(uint32_t n, uint64_t old, uint64_t *seed)
{
    const uint64_t fixed[] = { 1, UINT64_MAX, 1ull << 63, 0xffffffff, 1ull << 32, old + 1, old - 1, ~old,
        old ^ 1ull << 40, old + (1ull << 32), old - (1ull << 32), old ^ 1ull << 24, 0xffff, 0x8000 };

    return n < ARENA_COUNT(fixed) ? fixed[n] : arena_random(seed);
}

#define STRANGE 400u

static void a_publisher_passes_over_entries_that_cannot_be(void)
{
    uint64_t seed = 1;

    for (uint32_t n = 0; n < STRANGE; n++) {
        uint64_t *entry, kept;

        make_two(SHMQ_POLICY_BLOCK);
        entry = &arena.map.topic[frames.topic].subscriber[to_ann.index];
        kept = *entry;
        *entry = strange(n, kept, &seed);
        if (*entry == shmq_subscriber_word(to_bob.epoch, to_bob.qid))
            continue;
        CHECK_EQUAL(publish(1), 1);
        *entry = kept;
        arena_receive(&bob, &to_bob, 1);
        arena_nothing(&ann, &to_ann, SHMQ_EMPTY);
        CHECK_EQUAL(publish(2), 2);
        end();
    }
}

static void a_publisher_passes_over_queues_of_another_topic_index_or_kind(void)
{
    uint64_t seed = 2;

    for (uint32_t n = 0; n < STRANGE; n++) {
        uint64_t kept;

        make_two(SHMQ_POLICY_BLOCK);
        kept = to_ann.queue->config;
        to_ann.queue->config = strange(n, kept, &seed);
        CHECK(publish(1) <= 2); /* bits that nobody reads may differ */
        to_ann.queue->config = kept;
        shmq_publisher_init(&frames, frames.topic); /* it keeps what it has read of an incarnation */
        CHECK_EQUAL(publish(2), 2);
        end();
    }
}

static void a_count_of_indices_beyond_the_table_is_read_as_the_table(void)
{
    uint64_t seed = 3;

    for (uint32_t n = 0; n < STRANGE; n++) {
        make_two(SHMQ_POLICY_BLOCK);
        arena.map.topic[frames.topic].indices = strange(n, 2, &seed) | 2; /* not less than are there */
        CHECK_EQUAL(publish(1), 2);
        arena_close(0);
        arena_receive(&ann, &to_ann, 1);
        arena_receive(&bob, &to_bob, 1);
        end();
    }
}

/* Whatever stands in the tickets of a waiting message, nobody is given what is not a message, and the closes end. */
static void tickets_that_cannot_be_end_in_results(void)
{
    uint64_t seed = 4;

    for (uint32_t n = 0; n < STRANGE * SHMQ_TICKET_WORDS; n++) {
        struct shmq_publication publication;
        struct shmq_message held;
        uint64_t *word;

        make_two(SHMQ_POLICY_BLOCK);
        start(1, &publication);
        CHECK_EQUAL(shmq_publish_try(&pub, &frames, &publication), SHMQ_OK);
        word = &arena.map.block[publication.block].m[n % SHMQ_TICKET_WORDS];
        *word = strange(n / SHMQ_TICKET_WORDS, *word, &seed);
        if (shmq_receive(&ann, &to_ann, &held) == SHMQ_OK) {
            CHECK_EQUAL(held.label, 1);
            CHECK(shmq_edit(&ann, &held.hold) != SHMQ_EMPTY);
            CHECK(shmq_release(&ann, &held.hold) != SHMQ_EMPTY);
        }
        arena_close(1);
        arena_close(2);
        arena_close(0);
        arena_check_no_queues();
        arena_check_no_processes();
    }
}

/* The block says that it is of a topic or subscriber that there is not. */
static void a_published_block_of_no_topic_is_nobodys_message(void)
{
    uint64_t seed = 5;

    for (uint32_t n = 0; n < STRANGE; n++) {
        struct shmq_publication publication;
        uint32_t topic = n == 0 ? 0 : n == 1 ? 0xffff : (uint32_t)arena_random(&seed);

        make_two(SHMQ_POLICY_BLOCK);
        start(1, &publication);
        CHECK_EQUAL(shmq_publish_try(&pub, &frames, &publication), SHMQ_OK);
        arena.map.block[publication.block].word
            = shmq_block_move(arena_word(publication.block), SHMQ_STATE_FANOUT, topic, 0);
        if ((topic & 0xffff) != frames.topic + 1)
            arena_nothing(&ann, &to_ann, SHMQ_EMPTY);
        arena_close(1);
        arena_close(2);
        arena_close(0);
        arena_check_no_queues();
    }
}

static const struct check_test tests[] = {
    CHECK_TEST(a_topic_has_one_number_whoever_opens_it),
    CHECK_TEST(a_topic_that_its_maker_never_named_is_free_for_another_name),
    CHECK_TEST(a_topic_that_dir_names_is_opened_by_whoever_comes_next),
    CHECK_TEST(a_pending_topic_of_a_dead_maker_goes_from_dir),
    CHECK_TEST(an_open_topic_outlives_its_maker_and_all_its_subscribers),
    CHECK_TEST(there_are_as_many_topics_as_records),
    CHECK_TEST(a_name_is_as_long_as_names_may_be),
    CHECK_TEST(a_topic_has_120_subscribers_and_no_more),
    CHECK_TEST(a_depth_or_topic_out_of_range_is_refused),
    CHECK_TEST(an_index_is_free_again_only_when_nothing_is_held_under_it),
    CHECK_TEST(who_dies_between_its_queue_and_its_entry_leaves_nothing),
    CHECK_TEST(the_last_ticket_frees_the_block_whichever_it_is),
    CHECK_TEST(a_ticket_of_an_earlier_generation_changes_nothing),
    CHECK_TEST(a_publisher_passes_over_entries_that_cannot_be),
    CHECK_TEST(a_publisher_passes_over_queues_of_another_topic_index_or_kind),
    CHECK_TEST(a_count_of_indices_beyond_the_table_is_read_as_the_table),
    CHECK_TEST(tickets_that_cannot_be_end_in_results),
    CHECK_TEST(a_published_block_of_no_topic_is_nobodys_message),
};

ARENA_MAIN(tests)
