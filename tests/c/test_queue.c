/* SPDX-License-Identifier: MIT */
/* The ring: order, depth, wrap of positions and laps, stale slots, hints that lag or lie. */
#include "arena.h"

#define LIE_SEEDS 200u

static struct shmq_actor me;
static struct shmq_queue_ref queue;

static void make(uint32_t depth)
{
    arena_make(9, depth + 200, 2, 2);
    arena_enter(&me, 1);
    arena_open(&me, "ring", depth, &queue);
}

/* Let the empty queue have come to `position`, as if so many messages had gone through. */
static void start_at(uint64_t position)
{
    uint64_t capacity = 1ull << queue.capacity_shift, lap = position >> queue.capacity_shift;

    for (uint64_t i = 0; i < capacity; i++)
        queue.slots[i] = shmq_slot_empty((uint32_t)lap + (i < position % capacity));
    queue.queue->tail = queue.queue->head = shmq_hint_word(queue.epoch, position);
    queue.queue->base = queue.base = lap << queue.capacity_shift;
}

static void send_run(uint32_t first, uint32_t count)
{
    for (uint32_t i = 0; i < count; i++)
        arena_send(&me, &queue, first + i);
}

static void receive_run(uint32_t first, uint32_t count)
{
    for (uint32_t i = 0; i < count; i++)
        arena_receive(&me, &queue, first + i);
}

/* The queue is empty, and nothing of what went through it is left anywhere. */
static void check_clean(void)
{
    arena_nothing(&me, &queue, SHMQ_EMPTY);
    arena_check_all_free();
    for (uint32_t i = 0; i < 1u << queue.capacity_shift; i++)
        CHECK_EQUAL(shmq_slot_value(queue.slots[i]), 0);
}

/* ---- order and depth ------------------------------------------------------------------------------------- */

static void messages_keep_their_order_over_many_laps(void)
{
    static const uint32_t depths[] = { 1, 2, 5, 63, 64, 65, 100 };

    for (size_t i = 0; i < ARENA_COUNT(depths); i++) {
        uint32_t sent = 0, received = 0;
        uint64_t seed = i;

        make(depths[i]);
        while (received < 3000) {
            uint32_t room = depths[i] - (sent - received);
            uint32_t more = (uint32_t)(arena_random(&seed) % (room + 1));
            uint32_t less;

            send_run(sent, more);
            sent += more;
            less = (uint32_t)(arena_random(&seed) % (sent - received + 1));
            receive_run(received, less);
            received += less;
        }
        receive_run(received, sent - received);
        check_clean();
    }
}

static void a_post_to_a_full_queue_reports_full_and_leaves_the_block_queued_nowhere(void)
{
    struct shmq_parcel parcel = { 1, 7 };
    struct shmq_hold loan;

    make(5);
    send_run(0, 5);
    CHECK_EQUAL(shmq_loan(&me, 1, &loan), SHMQ_OK);
    CHECK_EQUAL(shmq_send(&me, &queue, &loan, &parcel), SHMQ_FULL);
    CHECK_EQUAL(arena_times_queued(&queue, loan.block), 0);
    CHECK_EQUAL(arena_word(loan.block), loan.word);
    CHECK_EQUAL(shmq_block_state(loan.word), SHMQ_STATE_OWNED);
    CHECK_EQUAL(shmq_block_queue(loan.word), 0);
    arena_receive(&me, &queue, 0);
    CHECK_EQUAL(shmq_send(&me, &queue, &loan, &parcel), SHMQ_OK);
    receive_run(1, 4);
    arena_receive(&me, &queue, 7);
    check_clean();
}

static void check_depth(uint32_t depth)
{
    send_run(0, depth);
    CHECK_EQUAL(arena_try_send(&me, &queue, 99), SHMQ_FULL);
    for (uint32_t i = 0; i < 3; i++) { /* a place is free again as soon as one is taken, wherever the ring stands */
        arena_receive(&me, &queue, i);
        arena_send(&me, &queue, depth + i);
        CHECK_EQUAL(arena_try_send(&me, &queue, 99), SHMQ_FULL);
    }
    receive_run(3, depth);
    check_clean();
}

static void a_queue_holds_exactly_its_depth_from_1_to_70(void)
{
    for (uint32_t depth = 1; depth <= 70; depth++) {
        make(depth);
        check_depth(depth);
        send_run(0, depth / 2 + 1);
        receive_run(0, depth / 2 + 1);
        check_depth(depth);
    }
}

static void a_queue_holds_exactly_65536(void)
{
    make(SHMQ_MAX_DEPTH);
    check_depth(SHMQ_MAX_DEPTH);
    CHECK_EQUAL(queue.capacity_shift, SHMQ_MAX_CAPACITY_SHIFT);
}

static void a_deep_queue_keeps_a_depth_below_its_capacity(void)
{
    make(40000);
    check_depth(40000);
}

static void the_count_of_messages_is_what_was_sent_and_not_received(void)
{
    make(70);
    send_run(0, 70);
    CHECK_EQUAL(shmq_queue_count(&queue), 70);
    receive_run(0, 30);
    CHECK_EQUAL(shmq_queue_count(&queue), 40);
    receive_run(30, 40);
    CHECK_EQUAL(shmq_queue_count(&queue), 0);
}

/* ---- wrap ------------------------------------------------------------------------------------------------ */

static void cross(uint64_t position, uint32_t depth)
{
    make(depth);
    start_at(position);
    check_depth(depth);
    for (uint32_t i = 0; i < 400; i++) {
        arena_send(&me, &queue, i);
        arena_receive(&me, &queue, i);
    }
    check_depth(depth);
}

static void positions_go_on_past_2_to_the_48(void)
{
    static const uint32_t depths[] = { 1, 2, 63, 64, 65, 128 };

    for (size_t i = 0; i < ARENA_COUNT(depths); i++)
        for (uint64_t before = 0; before <= 70; before += 5)
            cross((1ull << 48) - before, depths[i]);
}

static void laps_go_on_past_2_to_the_24(void)
{
    static const uint32_t depths[] = { 1, 2, 63, 64, 65, 128 };

    for (size_t i = 0; i < ARENA_COUNT(depths); i++)
        for (uint64_t before = 0; before <= 70; before += 5)
            cross((1ull << 24 << shmq_capacity_shift(depths[i])) - before, depths[i]);
}

static void a_queue_made_where_the_laps_wrap_starts_behind_everything_that_was_there(void)
{
    struct shmq_queue_ref again;

    for (uint32_t lap = 0xfffffa; lap != 4; lap = (lap + 1) & 0xffffff) {
        make(3);
        for (uint32_t i = 0; i < 64; i++)
            queue.slots[i] = shmq_slot_empty(i % 2 ? lap : (lap - 1) & 0xffffff);
        CHECK_EQUAL(shmq_queue_delete(&me, &queue), SHMQ_OK);
        arena_open(&me, "ring", 3, &again);
        CHECK_EQUAL(again.base >> again.capacity_shift, (lap + 2) & 0xffffff);
        queue = again;
        check_depth(3);
    }
}

static void the_position_of_a_message_counts_from_the_first(void)
{
    struct shmq_message message;

    make(10);
    for (uint32_t i = 0; i < 200; i++) {
        arena_send(&me, &queue, i);
        arena_hold(&me, &queue, i, &message);
        CHECK_EQUAL(message.position, i);
        CHECK_EQUAL(shmq_release(&me, &message.hold), SHMQ_OK);
    }
}

static void the_position_of_a_message_goes_on_where_hints_wrap(void)
{
    struct shmq_message message;

    make(10);
    start_at((1ull << 48) - 64);
    queue.queue->base = queue.base = 128; /* as of a queue that has come all the way from there */
    for (uint32_t i = 0; i < 200; i++) {
        arena_send(&me, &queue, i);
        arena_hold(&me, &queue, i, &message);
        CHECK_EQUAL(message.position, ((1ull << 48) - 64 - 128 + i) % (1ull << 48));
        CHECK_EQUAL(shmq_release(&me, &message.hold), SHMQ_OK);
    }
}

/* ---- stale slots ----------------------------------------------------------------------------------------- */

/* The block that the slot at `position` names. */
static uint32_t block_at(uint64_t position)
{
    uint32_t value = shmq_slot_value(queue.slots[position & ((1u << queue.capacity_shift) - 1)]);

    CHECK(value != 0);
    return value - 1;
}

/* Another process (slot 0) takes the message at `position` and stops between R1 and R2. */
static uint32_t half_take(uint64_t position)
{
    uint32_t block = block_at(position);
    uint64_t word = arena_word(block);

    CHECK_EQUAL(shmq_block_state(word), SHMQ_STATE_QUEUED);
    arena.map.block[block].word
        = shmq_block_word(shmq_block_gen(word), shmq_block_order(word), SHMQ_STATE_OWNED, queue.qid + 1, 0);
    return block;
}

static void a_taker_that_stopped_before_clearing_its_slot_blocks_no_sender(void)
{
    uint64_t base;

    make(64); /* depth and capacity are the same: the ring itself is the limit */
    base = queue.base;
    send_run(0, 64);
    half_take(base);
    arena_send(&me, &queue, 64); /* S2_HELP clears the slot */
    CHECK_EQUAL(arena_try_send(&me, &queue, 99), SHMQ_FULL);
    receive_run(1, 64);
    arena_nothing(&me, &queue, SHMQ_EMPTY);
}

static void only_a_message_of_its_own_lap_counts_against_the_depth(void)
{
    bool retry;
    uint64_t slot;

    make(5);
    send_run(0, 1);
    slot = queue.slots[queue.base % 64];
    CHECK_EQUAL(shmq_queue_depth(&arena.map, &queue, queue.base + 5, &retry), SHMQ_FULL);
    CHECK(!retry);
    queue.slots[queue.base % 64] = slot + (1ull << 40);
    CHECK_EQUAL(shmq_queue_depth(&arena.map, &queue, queue.base + 5, &retry), SHMQ_OK);
    queue.slots[queue.base % 64] = slot - (1ull << 40);
    CHECK_EQUAL(shmq_queue_depth(&arena.map, &queue, queue.base + 5, &retry), SHMQ_OK);
    CHECK(!retry);
    queue.slots[queue.base % 64] = slot;
    half_take(queue.base);
    CHECK_EQUAL(shmq_queue_depth(&arena.map, &queue, queue.base + 5, &retry), SHMQ_OK);
    CHECK(retry); /* it was cleared, and things may have changed meanwhile */
}

static void a_stale_slot_does_not_count_against_the_depth(void)
{
    for (uint32_t depth = 1; depth < 64; depth += 7) {
        make(depth);
        send_run(0, depth);
        half_take(queue.base);
        arena_send(&me, &queue, depth); /* S2_DEPTH clears the slot */
        CHECK_EQUAL(shmq_slot_value(queue.slots[queue.base % 64]), 0);
        CHECK_EQUAL(arena_try_send(&me, &queue, 99), SHMQ_FULL);
        receive_run(1, depth);
        arena_nothing(&me, &queue, SHMQ_EMPTY);
    }
}

static void a_receiver_clears_the_stale_slots_before_its_message(void)
{
    make(10);
    send_run(0, 6);
    for (uint32_t i = 0; i < 4; i++)
        half_take(queue.base + i);
    receive_run(4, 2);
    for (uint32_t i = 0; i < 6; i++)
        CHECK_EQUAL(queue.slots[(queue.base + i) % 64], shmq_slot_empty((uint32_t)(queue.base >> 6) + 1));
}

static void a_ring_of_nothing_but_stale_slots_is_empty(void)
{
    make(64);
    send_run(0, 64);
    for (uint32_t i = 0; i < 64; i++)
        half_take(queue.base + i);
    arena_nothing(&me, &queue, SHMQ_EMPTY);
    send_run(100, 64);
    receive_run(100, 64);
}

static void a_slot_matches_its_block_exactly_in_12_bits_of_generation_state_and_queue(void)
{
    uint64_t slot = shmq_slot_word(77, 0x1abc, 5), word = shmq_block_word(0xfffabc, 31, SHMQ_STATE_QUEUED, 7, 0xffff);

    CHECK(shmq_queue_match(6, word, slot));
    for (uint32_t bit = 0; bit < 64; bit++) {
        bool decides = (bit >= 40 && bit < 52) || (bit >= 32 && bit < 35) || (bit >= 16 && bit < 32);

        CHECK_EQUAL(shmq_queue_match(6, word ^ 1ull << bit, slot), !decides);
    }
    for (uint32_t bit = 28; bit < 40; bit++)
        CHECK(!shmq_queue_match(6, word, slot ^ 1ull << bit));
}

static void a_slot_whose_block_is_queued_elsewhere_by_now_is_stale(void)
{
    struct shmq_queue_ref elsewhere;
    uint64_t stale;

    make(10);
    arena_open(&me, "elsewhere", 10, &elsewhere);
    arena_send(&me, &queue, 1);
    stale = queue.slots[queue.base % 64];
    arena_receive(&me, &queue, 1);
    arena_send(&me, &elsewhere, 2); /* the same block, as its only one in use */
    CHECK_EQUAL(shmq_slot_value(elsewhere.slots[elsewhere.base % 64]), shmq_slot_value(stale));
    queue.slots[queue.base % 64] = stale;
    queue.queue->head = shmq_hint_word(queue.epoch, queue.base);
    arena_nothing(&me, &queue, SHMQ_EMPTY);
    arena_receive(&me, &elsewhere, 2);
}

static void a_slot_of_an_earlier_generation_of_the_block_is_stale(void)
{
    uint64_t stale;

    make(10);
    arena_send(&me, &queue, 1);
    stale = queue.slots[queue.base % 64];
    arena_receive(&me, &queue, 1);
    arena_send(&me, &queue, 2);
    queue.slots[queue.base % 64] = stale; /* the first one's slot was never cleared */
    queue.queue->head = shmq_hint_word(queue.epoch, queue.base);
    arena_receive(&me, &queue, 2);
    check_clean();
}

static void a_slot_that_names_no_block_of_the_region_is_cleared_and_counted(void)
{
    make(10);
    send_run(0, 3);
    queue.slots[(queue.base + 1) % 64] |= 0xfffffff;
    arena_receive(&me, &queue, 0);
    arena_receive(&me, &queue, 2);
    CHECK_EQUAL(me.corrupt, 1);
    make(64);
    send_run(0, 64);
    half_take(queue.base);
    queue.slots[queue.base % 64] |= 0xfffffff;
    arena_send(&me, &queue, 64); /* a sender clears it too */
    receive_run(1, 64);
}

static void a_slot_that_names_a_block_with_an_impossible_word_is_cleared_and_counted(void)
{
    uint32_t block;

    make(10);
    send_run(0, 3);
    block = block_at(queue.base + 1);
    CHECK(block % 2 == 1);
    arena.map.block[block].word |= 3ull << 35; /* an odd block has no order but 0 */
    arena_receive(&me, &queue, 0);
    arena_receive(&me, &queue, 2);
    CHECK_EQUAL(me.corrupt, 1);
}

/* ---- hints ----------------------------------------------------------------------------------------------- */

static void a_hint_of_another_epoch_is_not_believed(void) /* [D2] */
{
    make(10);
    send_run(0, 4);
    queue.queue->tail = shmq_hint_word(queue.epoch + 1, queue.base + 3);
    queue.queue->head = shmq_hint_word(queue.epoch - 1, queue.base + 2);
    arena_send(&me, &queue, 4);
    receive_run(0, 5);
    check_clean();
}

static void a_new_incarnation_starts_at_its_base_whatever_hints_stragglers_store(void) /* [D2] */
{
    uint64_t late_tail, late_head;

    make(10);
    for (uint32_t i = 0; i < 1000; i++) {
        arena_send(&me, &queue, i);
        arena_receive(&me, &queue, i);
    }
    late_tail = queue.queue->tail;
    late_head = queue.queue->head;
    CHECK_EQUAL(shmq_queue_delete(&me, &queue), SHMQ_OK);
    arena_open(&me, "ring", 10, &queue);
    queue.queue->tail = late_tail;
    queue.queue->head = late_head;
    check_depth(10);
}

static void lag(uint64_t position, uint64_t laps, uint32_t depth)
{
    uint64_t hint = position - (laps << shmq_capacity_shift(depth));

    make(depth);
    start_at(position);
    send_run(0, depth);
    queue.queue->tail = shmq_hint_word(queue.epoch, hint);
    CHECK_EQUAL(arena_try_send(&me, &queue, 99), SHMQ_FULL);
    queue.queue->head = shmq_hint_word(queue.epoch, hint);
    arena_receive(&me, &queue, 0);
    CHECK_EQUAL(shmq_hint_position(queue.queue->head), position + 1); /* the walk went forward, however far */
    queue.queue->tail = shmq_hint_word(queue.epoch, hint + 17);
    arena_send(&me, &queue, depth);
    queue.queue->head = shmq_hint_word(queue.epoch, hint + 17);
    receive_run(1, depth);
    queue.queue->tail = queue.queue->head = shmq_hint_word(queue.epoch, hint);
    arena_nothing(&me, &queue, SHMQ_EMPTY);
    check_depth(depth);
}

static void hints_that_lag_by_any_number_of_laps_cost_a_walk_and_no_message(void) /* [D3] */
{
    static const uint64_t laps[] = { 1, 2, 3, 1000, 0x7ffffe, 0x7fffff, 0x800000, 0x800001, 0xc00000, 0xfffff0,
        0xfffffc };
    static const uint32_t depths[] = { 1, 5, 63, 64, 65 };

    for (size_t i = 0; i < ARENA_COUNT(laps); i++)
        for (size_t k = 0; k < ARENA_COUNT(depths); k++)
            for (uint64_t within = 0; within < 64; within += 21)
                lag((1ull << 32) + within, laps[i], depths[k]);
}

static void a_slot_cleared_out_of_turn_does_not_carry_a_lagging_walk_past_older_messages(void)
{
    for (uint64_t laps = 1; laps < 4; laps++)
        for (uint32_t back = 1; back < 5; back++) { /* which of five the sender took back */
            uint64_t position = 1 << 16;

            make(10);
            start_at(position);
            send_run(0, 5);
            half_take(position + back);
            queue.slots[(position + back) % 64] = shmq_slot_empty((uint32_t)(position >> 6) + 1);
            queue.queue->head = shmq_hint_word(queue.epoch, position + back - (laps << 6));
            for (uint32_t label = 0; label < 5; label++)
                if (label != back)
                    arena_receive(&me, &queue, label);
            arena_nothing(&me, &queue, SHMQ_EMPTY);
        }
}

static void an_empty_queue_does_not_look_like_news_for_ever_because_its_hint_lags(void)
{
    make(10);
    start_at(1 << 20);
    queue.queue->head = shmq_hint_word(queue.epoch, 1 << 14);
    CHECK(!shmq_news_for_receiver(&queue));
    CHECK_EQUAL(queue.queue->head, shmq_hint_word(queue.epoch, 1 << 20));
}

/* Values to put into a hint that no honest process ever stores. */
static uint64_t lie(uint32_t which)
{
    static const uint64_t fixed[] = { 0, 1, 63, 64, 65, 1ull << 24, 1ull << 29, 1ull << 30, (1ull << 30) - 1, 
        1ull << 40, 1ull << 47, (1ull << 48) - 1, (1ull << 48) - 64 };
    uint64_t seed = which;

    if (which < ARENA_COUNT(fixed))
        return shmq_hint_word(queue.epoch, fixed[which]);
    return which % 2 ? arena_random(&seed) : shmq_hint_word(queue.epoch, arena_random(&seed));
}

/* Some messages go through a queue whose hints lie. Whatever arrives was sent, and arrives once. */
static void trade_with_lies(uint32_t depth, uint32_t which)
{
    uint8_t arrived[200] = { 0 }, sent[200] = { 0 };

    make(depth);
    start_at(5 * 64 + which % 64);
    for (uint32_t i = 0; i < ARENA_COUNT(sent); i++) {
        struct shmq_message message;
        int result;

        if (i % 8 == 0)
            queue.queue->tail = lie(which + i);
        if (i % 8 == 4)
            queue.queue->head = lie(which + i + 1);
        result = arena_try_send(&me, &queue, i);
        CHECK(result == SHMQ_OK || result == SHMQ_FULL);
        sent[i] = result == SHMQ_OK;
        result = i % 3 ? shmq_receive(&me, &queue, &message) : SHMQ_EMPTY;
        CHECK(result == SHMQ_OK || result == SHMQ_EMPTY);
        if (result != SHMQ_OK)
            continue;
        CHECK(message.label < ARENA_COUNT(sent) && sent[message.label]);
        CHECK_EQUAL(arrived[message.label]++, 0);
        CHECK_EQUAL(shmq_release(&me, &message.hold), SHMQ_OK);
    }
    CHECK_EQUAL(shmq_queue_delete(&me, &queue), SHMQ_OK); /* finds what stands where no hint leads */
    arena_check_all_free();
}

static void hints_that_lie_end_in_full_or_empty_and_never_in_a_wrong_delivery(void) /* [U9] */
{
    static const uint32_t depths[] = { 1, 5, 64, 65 };

    for (size_t i = 0; i < ARENA_COUNT(depths); i++)
        for (uint32_t which = 0; which < LIE_SEEDS; which++)
            trade_with_lies(depths[i], which);
}

/* ---- closed, shut ---------------------------------------------------------------------------------------- */

static void a_post_looks_at_the_flags_before_it_posts(void)
{
    struct shmq_place place;
    uint64_t open;

    make(10);
    open = queue.queue->flags;
    queue.queue->flags = open | SHMQ_QUEUE_SHUT;
    CHECK_EQUAL(shmq_queue_post(&arena.map, &queue, 0, 0, &place), SHMQ_SHUT);
    queue.queue->flags = open & ~(uint64_t)SHMQ_QUEUE_OPEN;
    CHECK_EQUAL(shmq_queue_post(&arena.map, &queue, 0, 0, &place), SHMQ_CLOSED);
    queue.queue->flags = open + (1ull << 32);
    CHECK_EQUAL(shmq_queue_post(&arena.map, &queue, 0, 0, &place), SHMQ_CLOSED);
    CHECK_EQUAL(arena_times_queued(&queue, 0), 0);
}

static void a_full_queue_that_is_closed_reports_closed(void)
{
    make(3);
    send_run(0, 3);
    queue.queue->flags |= SHMQ_QUEUE_SHUT;
    CHECK_EQUAL(arena_try_send(&me, &queue, 3), SHMQ_SHUT);
    queue.queue->flags &= ~(uint64_t)SHMQ_QUEUE_OPEN;
    CHECK_EQUAL(arena_try_send(&me, &queue, 3), SHMQ_CLOSED);
}

static void a_take_touches_nothing_of_another_incarnation(void)
{
    struct shmq_taken taken;
    uint32_t block;
    uint64_t word;

    make(10);
    arena_send(&me, &queue, 1);
    block = block_at(queue.base);
    word = arena_word(block);
    queue.epoch--;
    CHECK_EQUAL(shmq_queue_take(&me, &queue, SHMQ_TO_RECEIVE, &taken), SHMQ_CLOSED);
    CHECK_EQUAL(arena_word(block), word);
    CHECK_EQUAL(arena_times_queued(&queue, block), 1);
}

static const struct check_test tests[] = {
    CHECK_TEST(messages_keep_their_order_over_many_laps),
    CHECK_TEST(a_post_to_a_full_queue_reports_full_and_leaves_the_block_queued_nowhere),
    CHECK_TEST(a_queue_holds_exactly_its_depth_from_1_to_70),
    CHECK_TEST(a_queue_holds_exactly_65536),
    CHECK_TEST(a_deep_queue_keeps_a_depth_below_its_capacity),
    CHECK_TEST(the_count_of_messages_is_what_was_sent_and_not_received),
    CHECK_TEST(positions_go_on_past_2_to_the_48),
    CHECK_TEST(laps_go_on_past_2_to_the_24),
    CHECK_TEST(a_queue_made_where_the_laps_wrap_starts_behind_everything_that_was_there),
    CHECK_TEST(the_position_of_a_message_counts_from_the_first),
    CHECK_TEST(the_position_of_a_message_goes_on_where_hints_wrap),
    CHECK_TEST(a_taker_that_stopped_before_clearing_its_slot_blocks_no_sender),
    CHECK_TEST(only_a_message_of_its_own_lap_counts_against_the_depth),
    CHECK_TEST(a_stale_slot_does_not_count_against_the_depth),
    CHECK_TEST(a_receiver_clears_the_stale_slots_before_its_message),
    CHECK_TEST(a_ring_of_nothing_but_stale_slots_is_empty),
    CHECK_TEST(a_slot_matches_its_block_exactly_in_12_bits_of_generation_state_and_queue),
    CHECK_TEST(a_slot_whose_block_is_queued_elsewhere_by_now_is_stale),
    CHECK_TEST(a_slot_of_an_earlier_generation_of_the_block_is_stale),
    CHECK_TEST(a_slot_that_names_no_block_of_the_region_is_cleared_and_counted),
    CHECK_TEST(a_slot_that_names_a_block_with_an_impossible_word_is_cleared_and_counted),
    CHECK_TEST(a_hint_of_another_epoch_is_not_believed),
    CHECK_TEST(a_new_incarnation_starts_at_its_base_whatever_hints_stragglers_store),
    CHECK_TEST(hints_that_lag_by_any_number_of_laps_cost_a_walk_and_no_message),
    CHECK_TEST(a_slot_cleared_out_of_turn_does_not_carry_a_lagging_walk_past_older_messages),
    CHECK_TEST(an_empty_queue_does_not_look_like_news_for_ever_because_its_hint_lags),
    CHECK_TEST(hints_that_lie_end_in_full_or_empty_and_never_in_a_wrong_delivery),
    CHECK_TEST(a_post_looks_at_the_flags_before_it_posts),
    CHECK_TEST(a_full_queue_that_is_closed_reports_closed),
    CHECK_TEST(a_take_touches_nothing_of_another_incarnation),
};

ARENA_MAIN(tests)
