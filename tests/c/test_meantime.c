/* SPDX-License-Identifier: MIT */
/* Others interfere each time that an operation comes to the same step: it ends all the same, in a result that is true.
 * The simulator meets some of this by chance; here it happens for certain.
 */
#include "meantime.h"

#include "fan.h"

/* ---- a work queue, as full as it gets --------------------------------------------------------------------- */

#define DEPTH 64u /* the ring itself is the limit */

static struct shmq_actor me, other;
static struct shmq_queue_ref jobs;

static void make_queue(enum shmq_policy policy)
{
    uint64_t holder;

    arena_make(9, 1024, 3, 4);
    arena_enter(&me, 1);
    arena_enter(&other, 2);
    arena_open(&me, "jobs", DEPTH, &jobs);
    CHECK_EQUAL(shmq_queue_claim(&me, &jobs, true, policy, &holder), SHMQ_OK);
}

static void end_queue(void)
{
    (void)shmq_queue_delete(&me, &jobs);
    arena_close(1);
    arena_close(2);
    arena_check_all_free();
    arena_check_no_queues();
}

static int send_label(struct shmq_actor *actor, uint32_t label)
{
    struct shmq_parcel parcel = { 1, label };
    struct shmq_hold loan;
    int result;

    CHECK_EQUAL(shmq_loan(actor, 1, &loan), SHMQ_OK);
    result = shmq_send_or_drop(actor, &jobs, &loan, &parcel);
    if (result != SHMQ_OK)
        CHECK_EQUAL(shmq_release(actor, &loan), SHMQ_OK);
    return result;
}

static void fill(uint32_t first)
{
    for (uint32_t i = 0; i < DEPTH; i++)
        CHECK_EQUAL(send_label(&me, first + i), SHMQ_OK);
}

/* A message that is held from another queue, to be handed on. */
static void hold_from_another(uint32_t label, struct shmq_queue_ref *from, struct shmq_message *message)
{
    arena_open(&me, "other", 1, from);
    arena_send(&me, from, label);
    arena_hold(&me, from, label, message);
}

/* ---- allocate -------------------------------------------------------------------------------------------- */

/* Each second claim is of the word that the unit was split into: somebody else has all of it by then. */
static void use_up_what_was_split(void)
{
    uint32_t block;

    for (uint32_t i = 0; meantimes % 2 == 0 && i < SHMQ_UNITS; i++)
        CHECK_EQUAL(shmq_buddy_alloc(&other, 0, &block), SHMQ_OK);
}

static void who_is_robbed_of_each_split_unit_is_told_that_there_is_no_block(void)
{
    uint32_t block;

    arena_make(9, 1024, 3, 3);
    arena_enter(&me, 1);
    arena_enter(&other, 2);
    before_each(SHMQ_A1, use_up_what_was_split);
    CHECK_EQUAL(shmq_buddy_alloc(&me, 0, &block), SHMQ_NO_BLOCKS);
    undisturbed();
    CHECK_EQUAL(meantimes, 2 * SHMQ_SPLIT_ROUNDS);
    for (uint32_t i = 0; i < SHMQ_SPLIT_ROUNDS * SHMQ_UNITS; i++)
        CHECK_EQUAL(shmq_block_owner(arena_word(i)), 2);
    CHECK_EQUAL(shmq_buddy_alloc(&me, 0, &block), SHMQ_OK);
    arena_close(1);
    arena_close(2);
    arena_check_all_free();
}

static void overwrite_what_is_claimed(void)
{
    for (uint32_t block = 0; block < arena.map.geometry.granules; block++)
        if (shmq_block_state(arena_word(block)) == SHMQ_STATE_OWNED)
            arena.map.block[block].word = shmq_block_word(1, 0, SHMQ_STATE_OWNED, 1, 1);
}

static void who_finds_each_block_overwritten_gives_up_in_time(void)
{
    struct shmq_hold loan;

    arena_make(9, 1024, 3, 3);
    arena_enter(&me, 1);
    before_each(SHMQ_A2, overwrite_what_is_claimed);
    CHECK_EQUAL(shmq_loan(&me, 1, &loan), SHMQ_NO_BLOCKS);
    undisturbed();
    CHECK(me.corrupt > 2 * SHMQ_CACHE_SLOTS && me.corrupt < 3 * SHMQ_CACHE_SLOTS);
    CHECK_EQUAL(shmq_loan(&me, 1, &loan), SHMQ_OK);
    CHECK_EQUAL(shmq_release(&me, &loan), SHMQ_OK);
}

/* ---- post ------------------------------------------------------------------------------------------------ */

/* A faster sender has the slot, and its message has been taken and the slot cleared. */
static void overtake_on(const struct shmq_queue_ref *ref)
{
    uint64_t position = shmq_queue_hint(ref, &ref->queue->tail);

    ref->slots[position % (1u << ref->capacity_shift)] = shmq_slot_empty(shmq_queue_lap(ref, position) + 1);
    ref->queue->tail = shmq_hint_word(ref->epoch, position + 1);
}

static void overtake(void) { overtake_on(&jobs); }
static void overtake_ann(void) { overtake_on(&to_ann); }

static void a_sender_that_is_overtaken_at_each_try_finds_the_queue_full(void)
{
    struct shmq_queue_ref from;
    struct shmq_message message;

    make_queue(SHMQ_POLICY_BLOCK);
    hold_from_another(7, &from, &message);
    before_each(SHMQ_S2, overtake);
    CHECK_EQUAL(send_label(&me, 1), SHMQ_FULL);
    CHECK_EQUAL(meantimes, SHMQ_WALK_SLACK);
    before_each(SHMQ_S2, overtake);
    CHECK_EQUAL(shmq_forward_or_drop(&me, &jobs, &message), SHMQ_FULL);
    CHECK_EQUAL(meantimes, SHMQ_WALK_SLACK);
    undisturbed();
    CHECK_EQUAL(shmq_hold_check(&me, &message.hold), SHMQ_OK);
    CHECK_EQUAL(shmq_forward_or_drop(&me, &jobs, &message), SHMQ_OK);
    arena_receive(&me, &jobs, 7);
    arena_nothing(&me, &jobs, SHMQ_EMPTY);
    CHECK_EQUAL(shmq_queue_delete(&me, &from), SHMQ_OK);
    end_queue();
}

static void a_publisher_that_is_overtaken_at_each_try_finds_the_queue_full(void)
{
    struct shmq_publication publication;

    make();
    subscribe(&ann, DEPTH, SHMQ_POLICY_BLOCK, &to_ann);
    start(7, &publication);
    before_each(SHMQ_S2, overtake_ann);
    CHECK_EQUAL(shmq_publish_try(&pub, &frames, &publication), SHMQ_FULL);
    undisturbed();
    CHECK_EQUAL(meantimes, SHMQ_WALK_SLACK);
    CHECK_EQUAL(publication.reached, 0);
    CHECK_EQUAL(shmq_publish_try(&pub, &frames, &publication), SHMQ_OK);
    CHECK_EQUAL(publication.reached, 1);
    arena_receive(&ann, &to_ann, 7);
    end();
}

/* A stale slot names the block, and a receiver takes it for the message. */
static uint32_t misled_block;

static void take_the_misled(void)
{
    uint64_t *word = &arena.map.block[misled_block].word;

    CHECK_EQUAL(shmq_block_state(*word), SHMQ_STATE_QUEUED);
    *word = shmq_block_move(*word, SHMQ_STATE_OWNED, jobs.qid + 1, 2);
}

static void a_message_that_was_taken_before_its_post_failed_has_arrived(void)
{
    struct shmq_parcel parcel = { 1, 100 };
    struct shmq_message message;
    struct shmq_queue_ref from;
    struct shmq_hold loan;

    make_queue(SHMQ_POLICY_BLOCK);
    hold_from_another(101, &from, &message);
    fill(0);
    CHECK_EQUAL(shmq_loan(&me, 1, &loan), SHMQ_OK);
    misled_block = loan.block;
    before_each(SHMQ_S2_BACK, take_the_misled);
    CHECK_EQUAL(shmq_send_or_drop(&me, &jobs, &loan, &parcel), SHMQ_OK);
    misled_block = message.hold.block;
    CHECK_EQUAL(shmq_forward_or_drop(&me, &jobs, &message), SHMQ_OK);
    undisturbed();
    CHECK_EQUAL(meantimes, 2);
    CHECK_EQUAL(shmq_block_owner(arena_word(loan.block)), 2);
    CHECK_EQUAL(shmq_release(&me, &loan), SHMQ_STALE);
    CHECK_EQUAL(shmq_release(&me, &message.hold), SHMQ_STALE);
    for (uint32_t label = 0; label < DEPTH; label++)
        arena_receive(&me, &jobs, label);
    arena_close(2);
    for (uint32_t i = 0; i < 2; i++) { /* its receiver died */
        CHECK_EQUAL(shmq_receive(&me, &jobs, &message), SHMQ_OK);
        CHECK(message.label == 100 || message.label == 101);
        CHECK_EQUAL(message.deliveries, 1);
        CHECK_EQUAL(shmq_release(&me, &message.hold), SHMQ_OK);
    }
    CHECK_EQUAL(shmq_queue_delete(&me, &from), SHMQ_OK);
    end_queue();
}

static void stale_loans_are_not_sent_whatever_the_policy(void)
{
    struct shmq_parcel parcel = { 1, 1 };
    struct shmq_hold loan, copy;

    make_queue(SHMQ_POLICY_DROP_OLDEST);
    CHECK_EQUAL(shmq_loan(&me, 1, &loan), SHMQ_OK);
    copy = loan;
    CHECK_EQUAL(shmq_release(&me, &loan), SHMQ_OK);
    CHECK_EQUAL(shmq_send_or_drop(&me, &jobs, &copy, &parcel), SHMQ_STALE);
    CHECK_EQUAL(shmq_queue_dropped(&jobs), 0);
    end_queue();
}

/* ---- overflow -------------------------------------------------------------------------------------------- */

static uint32_t others_label;

/* Before the drop is counted: its place is taken again. */
static void fill_the_gap(void) { CHECK_EQUAL(send_label(&other, others_label++), SHMQ_OK); }

static void who_drops_for_others_again_and_again_waits_like_any_other(void)
{
    struct shmq_queue_ref from;
    struct shmq_message message;

    make_queue(SHMQ_POLICY_DROP_OLDEST);
    hold_from_another(7, &from, &message);
    fill(0);
    others_label = DEPTH;
    before_each(SHMQ_DROP, fill_the_gap);
    CHECK_EQUAL(shmq_forward_or_drop(&me, &jobs, &message), SHMQ_FULL);
    CHECK_EQUAL(meantimes, SHMQ_OVERFLOW_ROUNDS);
    before_each(SHMQ_DROP, fill_the_gap);
    CHECK_EQUAL(send_label(&me, 8), SHMQ_FULL);
    CHECK_EQUAL(meantimes, SHMQ_OVERFLOW_ROUNDS);
    undisturbed();
    CHECK_EQUAL(shmq_queue_dropped(&jobs), 2 * SHMQ_OVERFLOW_ROUNDS);
    CHECK_EQUAL(shmq_forward_or_drop(&me, &jobs, &message), SHMQ_OK); /* drops one more */
    for (uint32_t label = others_label - DEPTH + 1; label < others_label; label++)
        arena_receive(&me, &jobs, label);
    arena_receive(&me, &jobs, 7);
    CHECK_EQUAL(shmq_queue_delete(&me, &from), SHMQ_OK);
    end_queue();
}

static void empty_the_queue(void)
{
    struct shmq_message message;

    while (shmq_receive(&other, &jobs, &message) == SHMQ_OK)
        CHECK_EQUAL(shmq_release(&other, &message.hold), SHMQ_OK);
}

static void a_full_queue_that_is_empty_by_then_drops_nothing(void)
{
    struct shmq_queue_ref from;
    struct shmq_message message;

    make_queue(SHMQ_POLICY_DROP_OLDEST);
    hold_from_another(7, &from, &message);
    fill(0);
    before_each(SHMQ_S2_BACK, empty_the_queue);
    CHECK_EQUAL(shmq_forward_or_drop(&me, &jobs, &message), SHMQ_OK);
    undisturbed();
    CHECK_EQUAL(meantimes, 1);
    arena_receive(&me, &jobs, 7);
    fill(0);
    before_each(SHMQ_S2_BACK, empty_the_queue);
    CHECK_EQUAL(send_label(&me, 8), SHMQ_OK);
    undisturbed();
    CHECK_EQUAL(meantimes, 1);
    arena_receive(&me, &jobs, 8);
    CHECK_EQUAL(shmq_queue_dropped(&jobs), 0);
    CHECK_EQUAL(shmq_queue_delete(&me, &from), SHMQ_OK);
    end_queue();
}

/* ---- receive --------------------------------------------------------------------------------------------- */

/* The queue was found empty, and the hint to its head, which lagged, is about to be moved. */
static void let_the_head_lag(void)
{
    CHECK_EQUAL(send_label(&me, 1), SHMQ_OK);
    arena_receive(&me, &jobs, 1);
    jobs.queue->head = shmq_hint_word(jobs.epoch, jobs.base);
}

static void send_and_shut(void)
{
    if (meantimes == 1) {
        CHECK_EQUAL(send_label(&other, 5), SHMQ_OK);
        CHECK_EQUAL(shmq_queue_shut(&other, &jobs), SHMQ_OK);
    }
}

static void what_arrived_before_the_shut_down_is_received_although_the_queue_was_empty(void)
{
    make_queue(SHMQ_POLICY_BLOCK);
    let_the_head_lag();
    before_each(SHMQ_R2_HEAD, send_and_shut);
    arena_receive(&me, &jobs, 5);
    undisturbed();
    CHECK(meantimes >= 1);
    arena_nothing(&me, &jobs, SHMQ_SHUT);
    end_queue();
}

static struct shmq_queue_ref again;

static void delete_and_make_again(void)
{
    CHECK_EQUAL(shmq_queue_delete(&other, &jobs), SHMQ_OK);
    arena_open(&other, "jobs", DEPTH, &again);
}

static void delete_only(void) { CHECK_EQUAL(shmq_queue_delete(&other, &jobs), SHMQ_OK); }

static void begin_to_delete(void)
{
    CHECK_EQUAL(shmq_queue_begin_close(&jobs, SHMQ_NO_OWNER, other.slot), SHMQ_OK);
}

static void a_queue_that_ends_while_it_is_found_empty_is_closed(void)
{
    static void (*const ends[])(void) = { delete_and_make_again, delete_only, begin_to_delete };

    for (uint32_t i = 0; i < ARENA_COUNT(ends); i++) {
        make_queue(SHMQ_POLICY_BLOCK);
        let_the_head_lag();
        before_each(SHMQ_R2_HEAD, ends[i]);
        arena_nothing(&me, &jobs, SHMQ_CLOSED);
        undisturbed();
        CHECK_EQUAL(meantimes, 1);
        if (i == 0)
            CHECK_EQUAL(shmq_queue_delete(&me, &again), SHMQ_OK);
        end_queue();
    }
}

/* The slot that a walk looks at: another message's and again the one's, so that no look finds it unchanged. */
static void change_the_oldest_slot(void) { jobs.slots[jobs.base % DEPTH] ^= 1ull << 28; }

static void a_receiver_whose_slot_changes_at_each_look_finds_the_queue_empty(void)
{
    make_queue(SHMQ_POLICY_BLOCK);
    CHECK_EQUAL(jobs.capacity_shift, 6);
    fill(0);
    before_each(SHMQ_R1_RECHECK, change_the_oldest_slot);
    arena_nothing(&me, &jobs, SHMQ_EMPTY);
    undisturbed();
    CHECK_EQUAL(meantimes, 2 * DEPTH + SHMQ_WALK_SLACK);
    for (uint32_t label = 0; label < DEPTH; label++)
        arena_receive(&me, &jobs, label);
    end_queue();
}

static void a_sender_whose_slot_changes_at_each_look_finds_the_queue_full(void)
{
    make_queue(SHMQ_POLICY_BLOCK);
    fill(0);
    before_each(SHMQ_S2_RECHECK, change_the_oldest_slot);
    CHECK_EQUAL(send_label(&me, 99), SHMQ_FULL);
    undisturbed();
    CHECK_EQUAL(meantimes, 2 * DEPTH + SHMQ_WALK_SLACK);
    for (uint32_t label = 0; label < DEPTH; label++)
        arena_receive(&me, &jobs, label);
    end_queue();
}

/* The subscriber's queue is given up, and its record is another's, after its message was judged. */
static void reuse_the_record(void)
{
    if (meantimes == 2)
        to_ann.queue->flags = shmq_flags_word(to_ann.epoch + 1, 2, SHMQ_QUEUE_USED | SHMQ_QUEUE_OPEN);
}

static void a_ticket_is_not_taken_through_a_queue_that_has_become_another(void)
{
    struct shmq_message message;
    uint64_t flags;

    make();
    subscribe(&ann, 2, SHMQ_POLICY_BLOCK, &to_ann);
    CHECK_EQUAL(publish(7), 1);
    flags = to_ann.queue->flags;
    before_each(SHMQ_R1_EPOCH, reuse_the_record); /* looked at before the ticket, and once more with it */
    CHECK_EQUAL(shmq_receive(&ann, &to_ann, &message), SHMQ_CLOSED);
    undisturbed();
    CHECK_EQUAL(meantimes, 2);
    CHECK_EQUAL(ann.tickets[to_ann.qid], 0);
    to_ann.queue->flags = flags;
    arena_receive(&ann, &to_ann, 7);
    end();
}

static const struct check_test tests[] = {
    CHECK_TEST(who_is_robbed_of_each_split_unit_is_told_that_there_is_no_block),
    CHECK_TEST(who_finds_each_block_overwritten_gives_up_in_time),
    CHECK_TEST(a_sender_that_is_overtaken_at_each_try_finds_the_queue_full),
    CHECK_TEST(a_publisher_that_is_overtaken_at_each_try_finds_the_queue_full),
    CHECK_TEST(a_message_that_was_taken_before_its_post_failed_has_arrived),
    CHECK_TEST(stale_loans_are_not_sent_whatever_the_policy),
    CHECK_TEST(who_drops_for_others_again_and_again_waits_like_any_other),
    CHECK_TEST(a_full_queue_that_is_empty_by_then_drops_nothing),
    CHECK_TEST(what_arrived_before_the_shut_down_is_received_although_the_queue_was_empty),
    CHECK_TEST(a_queue_that_ends_while_it_is_found_empty_is_closed),
    CHECK_TEST(a_receiver_whose_slot_changes_at_each_look_finds_the_queue_empty),
    CHECK_TEST(a_sender_whose_slot_changes_at_each_look_finds_the_queue_full),
    CHECK_TEST(a_ticket_is_not_taken_through_a_queue_that_has_become_another),
};

ARENA_MAIN(tests)
