/* SPDX-License-Identifier: MIT */
/* Announcing, looking again, sleeping, waking, leaving: who is woken, how often, and when nobody is. */
#include "arena.h"

#define MS 1000000ull

static struct shmq_actor me, other;
static struct shmq_queue_ref jobs;

static void make(void)
{
    arena_make(9, 64, 3, 3);
    arena_enter(&me, 1);
    arena_enter(&other, 2);
    arena_open(&me, "jobs", 2, &jobs);
}

static bool announced(uint64_t bit) { return (jobs.queue->flags & bit) != 0; }

static void check_wakes(uint32_t count, const uint64_t *seq, uint32_t sleepers)
{
    CHECK_EQUAL(arena.wakes, count);
    if (!count)
        return;
    CHECK(arena.wake[count - 1].seq == seq);
    CHECK_EQUAL(arena.wake[count - 1].sleepers, sleepers);
}

static int await(bool receiver, uint64_t ns) { return shmq_await_sleep(&arena.map, &jobs, receiver, ns); }

/* ---- nobody sleeps --------------------------------------------------------------------------------------- */

static void without_sleepers_nothing_calls_the_system(void)
{
    make();
    for (uint32_t i = 0; i < 100; i++) {
        arena_send(&me, &jobs, i);
        arena_send(&me, &jobs, i);
        CHECK_EQUAL(arena_try_send(&me, &jobs, i), SHMQ_FULL);
        arena_receive(&other, &jobs, i);
        arena_receive(&other, &jobs, i);
        arena_nothing(&other, &jobs, SHMQ_EMPTY);
    }
    CHECK_EQUAL(arena.wakes, 0);
    CHECK_EQUAL(arena.sleeps, 0);
    CHECK_EQUAL(arena.reserves, 1); /* when the queue was made */
    CHECK_EQUAL(jobs.queue->receivers_seq + jobs.queue->senders_seq, 0);
}

/* ---- receivers ------------------------------------------------------------------------------------------- */

static void a_receiver_announces_itself_before_it_sleeps_on_the_word_it_read_first(void)
{
    make();
    jobs.queue->receivers_seq = 0x100000005ull;
    CHECK_EQUAL(await(true, 20 * MS), SHMQ_TIMEOUT);
    CHECK(announced(SHMQ_QUEUE_SLEEP));
    CHECK(!announced(SHMQ_QUEUE_SPACE));
    CHECK_EQUAL(arena.sleeps, 1);
    CHECK(arena.slept_on == &jobs.queue->receivers_seq);
    CHECK_EQUAL(arena.slept_value, 5);
    CHECK_EQUAL(arena.slept_ns, 20 * MS);
}

static void no_sleep_is_longer_than_a_slice(void)
{
    make();
    CHECK_EQUAL(await(true, UINT64_MAX), SHMQ_TIMEOUT);
    CHECK_EQUAL(arena.slept_ns, SHMQ_SLICE_NS);
    CHECK_EQUAL(await(true, SHMQ_SLICE_NS + 1), SHMQ_TIMEOUT);
    CHECK_EQUAL(arena.slept_ns, SHMQ_SLICE_NS);
    CHECK_EQUAL(await(true, 1), SHMQ_TIMEOUT);
    CHECK_EQUAL(arena.slept_ns, 1);
}

static void a_signal_ends_the_sleep_and_is_told(void)
{
    make();
    arena.sleep_result = SHMQ_INTERRUPTED;
    CHECK_EQUAL(await(true, MS), SHMQ_INTERRUPTED);
}

static void send_one(void) { arena_send(&other, &jobs, 7); }

static void a_post_wakes_one_receiver_that_announced_and_takes_the_announcement_down(void)
{
    make();
    arena.while_asleep = send_one;
    CHECK_EQUAL(await(true, MS), SHMQ_OK);
    check_wakes(1, &jobs.queue->receivers_seq, 1);
    CHECK(!announced(SHMQ_QUEUE_SLEEP));
    CHECK_EQUAL(jobs.queue->receivers_seq, 1);
    arena_send(&other, &jobs, 8); /* nobody sleeps any more, as far as one can see */
    CHECK_EQUAL(arena.wakes, 1);
}

static void a_message_that_arrives_between_the_announcement_and_the_sleep_is_not_slept_over(void)
{
    make();
    arena_send(&other, &jobs, 7);
    CHECK_EQUAL(await(true, MS), SHMQ_OK);
    CHECK_EQUAL(arena.sleeps, 0);
}

static void a_requeued_message_an_end_and_a_close_are_news_to_a_receiver(void)
{
    make();
    CHECK(!shmq_news_for_receiver(&jobs));
    jobs.queue->requeued++;
    CHECK(shmq_news_for_receiver(&jobs));
    jobs.queue->requeued_done++;
    CHECK(!shmq_news_for_receiver(&jobs));
    jobs.queue->flags |= SHMQ_QUEUE_SHUT;
    CHECK(shmq_news_for_receiver(&jobs));
    jobs.queue->flags &= ~(uint64_t)(SHMQ_QUEUE_SHUT | SHMQ_QUEUE_OPEN);
    CHECK(shmq_news_for_receiver(&jobs));
    jobs.queue->flags |= SHMQ_QUEUE_OPEN;
    jobs.queue->flags += 1ull << 32;
    CHECK(shmq_news_for_receiver(&jobs));
}

static void whoever_leaves_an_empty_queue_announces_again_for_the_others_and_wakes_nobody(void) /* [D12] */
{
    make();
    shmq_await_leave(&arena.map, &jobs, true);
    CHECK(announced(SHMQ_QUEUE_SLEEP));
    CHECK_EQUAL(arena.wakes, 0);
}

static void whoever_leaves_a_queue_with_messages_wakes_one_more(void) /* [D12] */
{
    make();
    arena_send(&me, &jobs, 1);
    shmq_await_leave(&arena.map, &jobs, true);
    check_wakes(1, &jobs.queue->receivers_seq, 1);
    CHECK(!announced(SHMQ_QUEUE_SLEEP));
}

/* Two receivers sleep, two posts come before either runs: the first post's wake takes the announcement down, so the
 * second wakes nobody; the first receiver to leave passes it on. */
static void two_posts_to_two_sleepers_wake_both(void) /* [D12] */
{
    make();
    CHECK_EQUAL(await(true, MS), SHMQ_TIMEOUT);
    CHECK_EQUAL(await(true, MS), SHMQ_TIMEOUT);
    arena_send(&me, &jobs, 1);
    arena_send(&me, &jobs, 2);
    CHECK_EQUAL(arena.wakes, 1);
    arena_receive(&me, &jobs, 1);
    shmq_await_leave(&arena.map, &jobs, true);
    CHECK_EQUAL(arena.wakes, 2);
    arena_receive(&other, &jobs, 2);
    shmq_await_leave(&arena.map, &jobs, true);
    CHECK_EQUAL(arena.wakes, 2);
    CHECK(announced(SHMQ_QUEUE_SLEEP)); /* costs the next post one wake too many, never one too few */
}

/* ---- senders --------------------------------------------------------------------------------------------- */

static void receive_one(void) { arena_receive(&other, &jobs, 1); }

static void a_take_wakes_one_sender_that_waits_for_space(void)
{
    make();
    arena_send(&me, &jobs, 1);
    arena_send(&me, &jobs, 2);
    arena.while_asleep = receive_one;
    CHECK_EQUAL(await(false, MS), SHMQ_OK);
    CHECK(arena.slept_on == &jobs.queue->senders_seq);
    check_wakes(1, &jobs.queue->senders_seq, 1);
    CHECK(!announced(SHMQ_QUEUE_SPACE));
    arena_receive(&other, &jobs, 2);
    CHECK_EQUAL(arena.wakes, 1);
}

static void space_that_comes_before_the_sleep_is_not_slept_over(void)
{
    make();
    arena_send(&me, &jobs, 1);
    CHECK_EQUAL(await(false, MS), SHMQ_OK);
    CHECK_EQUAL(arena.sleeps, 0);
}

static void an_end_is_news_to_a_sender(void)
{
    make();
    arena_send(&me, &jobs, 1);
    arena_send(&me, &jobs, 2);
    CHECK(!shmq_news_for_sender(&arena.map, &jobs));
    jobs.queue->flags |= SHMQ_QUEUE_SHUT;
    CHECK(shmq_news_for_sender(&arena.map, &jobs));
    jobs.queue->flags &= ~(uint64_t)(SHMQ_QUEUE_SHUT | SHMQ_QUEUE_OPEN);
    CHECK(shmq_news_for_sender(&arena.map, &jobs));
}

static void a_sender_that_leaves_wakes_one_more_if_there_is_space(void) /* [M8] */
{
    make();
    shmq_await_leave(&arena.map, &jobs, false);
    check_wakes(1, &jobs.queue->senders_seq, 1);
    arena_send(&me, &jobs, 1);
    arena_send(&me, &jobs, 2);
    shmq_await_leave(&arena.map, &jobs, false);
    CHECK_EQUAL(arena.wakes, 1);
    CHECK(announced(SHMQ_QUEUE_SPACE));
}

static void a_slot_left_stale_by_a_dead_receiver_is_space(void)
{
    uint32_t block;

    make();
    arena_send(&me, &jobs, 1);
    arena_send(&me, &jobs, 2);
    block = shmq_slot_value(jobs.slots[jobs.base % 64]) - 1;
    arena.map.block[block].word = shmq_block_move(arena_word(block), SHMQ_STATE_OWNED, jobs.qid + 1, 2);
    CHECK_EQUAL(await(false, MS), SHMQ_OK);
    CHECK_EQUAL(arena.sleeps, 0);
}

static void dropped_messages_make_space_too(void)
{
    make();
    arena_send(&me, &jobs, 1);
    arena_send(&me, &jobs, 2);
    arena.map.block[shmq_slot_value(jobs.slots[jobs.base % 64]) - 1].length = 1ull << 40;
    jobs.queue->flags |= SHMQ_QUEUE_SPACE;
    arena_receive(&other, &jobs, 2);
    CHECK_EQUAL(arena.wake[0].sleepers, 1);
    CHECK(arena.wakes >= 1);
}

/* ---- everybody ------------------------------------------------------------------------------------------- */

static void check_everybody_woken(void)
{
    CHECK_EQUAL(arena.wakes, 2);
    CHECK(arena.wake[0].seq == &jobs.queue->receivers_seq);
    CHECK(arena.wake[1].seq == &jobs.queue->senders_seq);
    CHECK_EQUAL(arena.wake[0].sleepers, SHMQ_ALL_SLEEPERS);
    CHECK_EQUAL(arena.wake[1].sleepers, SHMQ_ALL_SLEEPERS);
}

static void a_shut_down_and_a_delete_wake_everybody(void)
{
    make();
    CHECK_EQUAL(shmq_queue_shut(&me, &jobs), SHMQ_OK);
    check_everybody_woken();
    arena_forget();
    CHECK_EQUAL(shmq_queue_delete(&me, &jobs), SHMQ_OK);
    check_everybody_woken();
}

static void the_close_of_ones_own_queue_wakes_everybody(void)
{
    make();
    CHECK_EQUAL(shmq_queue_open_inbox(&me, "me", 2, &jobs), SHMQ_OK);
    CHECK_EQUAL(shmq_queue_close(&me, &jobs), SHMQ_OK);
    check_everybody_woken();
}

static void the_close_of_a_process_wakes_all_who_announced_and_nobody_else(void)
{
    struct shmq_queue_ref idle;

    make();
    arena_open(&me, "idle", 2, &idle);
    jobs.queue->flags |= SHMQ_QUEUE_SLEEP | SHMQ_QUEUE_SPACE;
    arena.map.header->wanted = 1;
    arena_close(2);
    CHECK_EQUAL(arena.wakes, 3);
    CHECK(arena.wake[2].seq == &arena.map.header->wanted_seq);
    CHECK_EQUAL(idle.queue->receivers_seq + idle.queue->senders_seq, 0);
}

/* ---- spinning -------------------------------------------------------------------------------------------- */

static void a_spin_ends_with_its_budget_or_with_news(void)
{
    uint64_t start;

    make();
    arena.tick = 1000;
    start = arena.clock;
    CHECK(!shmq_await_spin(&arena.map, &jobs, true, 50000, NULL));
    CHECK(arena.clock - start >= 50000 && arena.clock - start <= 53000);
    CHECK(!shmq_await_burst(&arena.map, &jobs, true));
    arena_send(&me, &jobs, 1);
    start = arena.clock;
    CHECK(shmq_await_spin(&arena.map, &jobs, true, 50000, NULL));
    CHECK(arena.clock - start <= 1000);
    CHECK_EQUAL(arena.sleeps, 0);
}

static void a_burst_does_not_read_the_clock(void)
{
    uint64_t before;

    make();
    before = arena.clock;
    CHECK(!shmq_await_burst(&arena.map, &jobs, true));
    CHECK_EQUAL(arena.clock, before);
}

/* How often a spin of `us` microseconds yields, when each yield takes `yield_ns`. */
static uint32_t yields_in(uint64_t us, uint64_t yield_ns, struct shmq_spin *spin)
{
    arena.yields = 0;
    arena.yield_ns = yield_ns;
    CHECK(!shmq_await_spin(&arena.map, &jobs, true, us * 1000, spin));
    return arena.yields;
}

static void a_spin_lets_others_run_seldom_where_there_are_none_and_all_the_time_where_there_are(void)
{
    struct shmq_spin spin;

    make();
    arena.tick = 1000;
    shmq_spin_init(&spin);
    CHECK_EQUAL(yields_in(4, 0, &spin), 0);
    CHECK_EQUAL(yields_in(80, 0, &spin), 1);     /* after 5 µs; nobody is there */
    CHECK_EQUAL(yields_in(89, 0, &spin), 0);
    CHECK_EQUAL(yields_in(200, 0, &spin), 2);    /* every 90 */
    CHECK_EQUAL(yields_in(150, 9000, &spin), 6); /* at 90, and from then on always: 9 each, and the look at the clock */
    CHECK_EQUAL(yields_in(100, 9000, &spin), 9); /* from 5 on */
    CHECK_EQUAL(yields_in(100, 0, NULL), 0);
    CHECK_EQUAL(yields_in(100, 9000, NULL), 0);
}

static void the_spin_shrinks_after_long_waits_and_returns_after_a_short_one(void)
{
    struct shmq_spin spin;

    shmq_spin_init(&spin);
    CHECK_EQUAL(spin.budget_ns, SHMQ_SPIN_MAX_NS);
    for (int i = 0; i < 100; i++) {
        uint64_t before = spin.budget_ns;

        shmq_spin_learn(&spin, SHMQ_SPIN_MAX_NS + 1);
        CHECK(spin.budget_ns <= before && spin.budget_ns >= SHMQ_SPIN_MIN_NS);
    }
    CHECK_EQUAL(spin.budget_ns, SHMQ_SPIN_MIN_NS);
    shmq_spin_learn(&spin, SHMQ_SPIN_MAX_NS);
    CHECK_EQUAL(spin.budget_ns, SHMQ_SPIN_MAX_NS);
}

static void a_futex_word_that_wraps_still_changes(void)
{
    make();
    jobs.queue->receivers_seq = UINT32_MAX;
    shmq_wake(&arena.map, shmq_receivers(jobs.queue), 1);
    CHECK_EQUAL((uint32_t)jobs.queue->receivers_seq, 0);
    jobs.queue->receivers_seq = UINT64_MAX;
    shmq_wake(&arena.map, shmq_receivers(jobs.queue), 1);
    CHECK_EQUAL(jobs.queue->receivers_seq, 0);
    CHECK_EQUAL(jobs.queue->senders_seq, 0);
}

static const struct check_test tests[] = {
    CHECK_TEST(without_sleepers_nothing_calls_the_system),
    CHECK_TEST(a_receiver_announces_itself_before_it_sleeps_on_the_word_it_read_first),
    CHECK_TEST(no_sleep_is_longer_than_a_slice),
    CHECK_TEST(a_signal_ends_the_sleep_and_is_told),
    CHECK_TEST(a_post_wakes_one_receiver_that_announced_and_takes_the_announcement_down),
    CHECK_TEST(a_message_that_arrives_between_the_announcement_and_the_sleep_is_not_slept_over),
    CHECK_TEST(a_requeued_message_an_end_and_a_close_are_news_to_a_receiver),
    CHECK_TEST(whoever_leaves_an_empty_queue_announces_again_for_the_others_and_wakes_nobody),
    CHECK_TEST(whoever_leaves_a_queue_with_messages_wakes_one_more),
    CHECK_TEST(two_posts_to_two_sleepers_wake_both),
    CHECK_TEST(a_take_wakes_one_sender_that_waits_for_space),
    CHECK_TEST(space_that_comes_before_the_sleep_is_not_slept_over),
    CHECK_TEST(an_end_is_news_to_a_sender),
    CHECK_TEST(a_sender_that_leaves_wakes_one_more_if_there_is_space),
    CHECK_TEST(a_slot_left_stale_by_a_dead_receiver_is_space),
    CHECK_TEST(dropped_messages_make_space_too),
    CHECK_TEST(a_shut_down_and_a_delete_wake_everybody),
    CHECK_TEST(the_close_of_ones_own_queue_wakes_everybody),
    CHECK_TEST(the_close_of_a_process_wakes_all_who_announced_and_nobody_else),
    CHECK_TEST(a_spin_ends_with_its_budget_or_with_news),
    CHECK_TEST(a_burst_does_not_read_the_clock),
    CHECK_TEST(a_spin_lets_others_run_seldom_where_there_are_none_and_all_the_time_where_there_are),
    CHECK_TEST(the_spin_shrinks_after_long_waits_and_returns_after_a_short_one),
    CHECK_TEST(a_futex_word_that_wraps_still_changes),
};

ARENA_MAIN(tests)
