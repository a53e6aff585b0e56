/* SPDX-License-Identifier: MIT */
/* Loan, send, receive, release, forward, edit: whose the block is after each, and after each failure. */
#include "arena.h"

static struct shmq_actor me, other;
static struct shmq_queue_ref jobs, results;

static void make(void)
{
    arena_make(9, 64, 3, 3);
    arena_enter(&me, 1);
    arena_enter(&other, 2);
    arena_open(&me, "jobs", 2, &jobs);
    arena_open(&me, "results", 2, &results);
}

static struct shmq_hold loan_of(struct shmq_actor *actor, uint64_t bytes)
{
    struct shmq_hold loan;

    CHECK_EQUAL(shmq_loan(actor, bytes, &loan), SHMQ_OK);
    return loan;
}

static int send(struct shmq_actor *actor, const struct shmq_queue_ref *ref, struct shmq_hold *loan, uint64_t length)
{
    struct shmq_parcel parcel = { length, 7 };

    return shmq_send(actor, ref, loan, &parcel);
}

/* The block is the actor's, held from queue `queue` (qid + 1; 0: plain property), and its handle knows. */
static void check_held(const struct shmq_actor *actor, const struct shmq_hold *hold, uint32_t queue)
{
    uint64_t word = arena_word(hold->block);

    CHECK_EQUAL(hold->word, word);
    CHECK_EQUAL(shmq_hold_check(actor, hold), SHMQ_OK);
    CHECK_EQUAL(shmq_block_state(word), SHMQ_STATE_OWNED);
    CHECK_EQUAL(shmq_block_owner(word), actor->slot);
    CHECK_EQUAL(shmq_block_queue(word), queue);
    CHECK_EQUAL(arena_times_queued(&jobs, hold->block) + arena_times_queued(&results, hold->block), 0);
}

static void delete_queues(void)
{
    (void)shmq_queue_delete(&me, &jobs);
    (void)shmq_queue_delete(&me, &results);
    arena_check_all_free();
    arena_check_no_queues();
}

/* ---- the way of a message -------------------------------------------------------------------------------- */

static void a_message_arrives_with_its_bytes_length_label_sender_and_position(void)
{
    struct shmq_hold loan;
    struct shmq_message message;
    struct shmq_parcel parcel = { 1000, 0xdeadbeef };

    make();
    loan = loan_of(&me, 1000);
    CHECK_EQUAL(shmq_block_order(loan.word), 1);
    memset(shmq_payload(&arena.map, loan.block), 0x5a, 1000);
    CHECK_EQUAL(shmq_send(&me, &jobs, &loan, &parcel), SHMQ_OK);
    CHECK_EQUAL(shmq_receive(&other, &jobs, &message), SHMQ_OK);
    CHECK_EQUAL(message.hold.block, loan.block);
    CHECK_EQUAL(message.length, 1000);
    CHECK_EQUAL(message.label, 0xdeadbeef);
    CHECK_EQUAL(message.deliveries, 0);
    CHECK_EQUAL(message.position, 0);
    CHECK_EQUAL(message.sender_slot, 1);
    CHECK_EQUAL(message.sender_epoch, me.epoch);
    CHECK_EQUAL(message.qid, jobs.qid);
    CHECK_EQUAL(message.epoch, jobs.epoch);
    for (int i = 0; i < 1000; i++)
        CHECK_EQUAL(shmq_payload(&arena.map, message.hold.block)[i], 0x5a);
    check_held(&other, &message.hold, jobs.qid + 1);
    CHECK_EQUAL(shmq_release(&other, &message.hold), SHMQ_OK);
    delete_queues();
}

static void a_message_may_be_empty_or_as_large_as_the_largest_block(void)
{
    struct shmq_message message;
    struct shmq_hold loan;

    make();
    loan = loan_of(&me, 0);
    CHECK_EQUAL(send(&me, &jobs, &loan, 0), SHMQ_OK);
    CHECK_EQUAL(shmq_receive(&me, &jobs, &message), SHMQ_OK);
    CHECK_EQUAL(message.length, 0);
    CHECK_EQUAL(shmq_release(&me, &message.hold), SHMQ_OK);
    loan = loan_of(&me, 64 << 9);
    shmq_payload(&arena.map, loan.block)[(64 << 9) - 1] = 1;
    CHECK_EQUAL(send(&me, &jobs, &loan, 64 << 9), SHMQ_OK);
    CHECK_EQUAL(shmq_receive(&me, &jobs, &message), SHMQ_OK);
    CHECK_EQUAL(message.length, 64 << 9);
    CHECK_EQUAL(shmq_release(&me, &message.hold), SHMQ_OK);
    delete_queues();
}

static void loans_run_out_as_an_error_and_come_back(void)
{
    struct shmq_hold loans[64], more;

    make();
    for (int i = 0; i < 64; i++)
        loans[i] = loan_of(&me, 1);
    CHECK_EQUAL(shmq_loan(&other, 1, &more), SHMQ_NO_BLOCKS);
    CHECK_EQUAL(shmq_release(&me, &loans[33]), SHMQ_OK);
    CHECK_EQUAL(shmq_loan(&other, 1, &more), SHMQ_OK);
    CHECK_EQUAL(more.block, loans[33].block);
}

static void what_a_process_only_keeps_at_hand_does_not_stand_in_its_own_way(void)
{
    struct shmq_hold small, large;

    make();
    me.cache.limit = 8;
    small = loan_of(&me, 1);
    CHECK_EQUAL(shmq_release(&me, &small), SHMQ_OK);
    CHECK(me.cache.blocks > 1);
    large = loan_of(&me, 64 << 9); /* the whole region */
    CHECK_EQUAL(me.cache.blocks, 0);
    CHECK_EQUAL(shmq_loan(&me, 1, &small), SHMQ_NO_BLOCKS);
    CHECK_EQUAL(shmq_release(&me, &large), SHMQ_OK);
}

static void a_handle_is_stale_once_its_block_was_sent_or_released(void)
{
    struct shmq_hold loan, copy;
    struct shmq_message message, twin;

    make();
    loan = copy = loan_of(&me, 1);
    CHECK_EQUAL(send(&me, &jobs, &loan, 1), SHMQ_OK);
    CHECK_EQUAL(send(&me, &results, &copy, 1), SHMQ_STALE);
    CHECK_EQUAL(shmq_release(&me, &copy), SHMQ_STALE);
    CHECK_EQUAL(shmq_edit(&me, &copy), SHMQ_STALE);
    CHECK_EQUAL(shmq_receive(&other, &jobs, &message), SHMQ_OK);
    twin = message;
    CHECK_EQUAL(shmq_release(&other, &message.hold), SHMQ_OK);
    CHECK_EQUAL(shmq_release(&other, &twin.hold), SHMQ_STALE);
    CHECK_EQUAL(shmq_forward(&other, &results, &twin), SHMQ_STALE);
    arena_nothing(&me, &results, SHMQ_EMPTY);
    delete_queues();
}

static void a_handle_of_an_earlier_life_of_a_cached_block_is_stale(void)
{
    struct shmq_hold first, second;

    make();
    me.cache.limit = 8;
    first = second = loan_of(&me, 1);
    CHECK_EQUAL(shmq_release(&me, &first), SHMQ_OK);
    first = loan_of(&me, 1);
    CHECK_EQUAL(first.block, second.block);
    CHECK_EQUAL(shmq_release(&me, &second), SHMQ_STALE);
    CHECK_EQUAL(shmq_release(&me, &first), SHMQ_OK);
}

/* ---- sends that fail ------------------------------------------------------------------------------------- */

static void set_flags(const struct shmq_queue_ref *ref, uint64_t flags) { ref->queue->flags = flags; }

static void a_send_that_fails_leaves_the_loan_with_its_sender(void)
{
    struct shmq_hold loan;
    uint64_t open;

    make();
    open = jobs.queue->flags;
    arena_send(&me, &jobs, 0);
    arena_send(&me, &jobs, 1);
    loan = loan_of(&me, 1);
    CHECK_EQUAL(send(&me, &jobs, &loan, 1), SHMQ_FULL);
    check_held(&me, &loan, 0);
    set_flags(&jobs, open | SHMQ_QUEUE_SHUT);
    CHECK_EQUAL(send(&me, &jobs, &loan, 1), SHMQ_SHUT);
    check_held(&me, &loan, 0);
    set_flags(&jobs, (open & ~(uint64_t)SHMQ_QUEUE_OPEN) | SHMQ_QUEUE_CLOSING);
    CHECK_EQUAL(send(&me, &jobs, &loan, 1), SHMQ_CLOSED);
    check_held(&me, &loan, 0);
    set_flags(&jobs, open);
    CHECK_EQUAL(send(&me, &results, &loan, 1), SHMQ_OK);
    arena_receive(&me, &results, 7);
    delete_queues();
}

static void a_forward_that_fails_leaves_the_message_held_from_where_it_was(void)
{
    struct shmq_message message;
    uint64_t open;

    make();
    open = results.queue->flags;
    arena_send(&me, &jobs, 5);
    arena_send(&me, &results, 0);
    arena_send(&me, &results, 1);
    arena_hold(&other, &jobs, 5, &message);
    CHECK_EQUAL(shmq_forward(&other, &results, &message), SHMQ_FULL);
    check_held(&other, &message.hold, jobs.qid + 1);
    set_flags(&results, open | SHMQ_QUEUE_SHUT);
    CHECK_EQUAL(shmq_forward(&other, &results, &message), SHMQ_SHUT);
    check_held(&other, &message.hold, jobs.qid + 1);
    set_flags(&results, open & ~(uint64_t)SHMQ_QUEUE_OPEN);
    CHECK_EQUAL(shmq_forward(&other, &results, &message), SHMQ_CLOSED);
    check_held(&other, &message.hold, jobs.qid + 1);
    set_flags(&results, open);
    arena_receive(&me, &results, 0);
    CHECK_EQUAL(shmq_forward(&other, &results, &message), SHMQ_OK);
    arena_receive(&me, &results, 1);
    arena_receive(&me, &results, 5);
    delete_queues();
}

/* S1 and S2 of a send, by hand: what shmq_send_confirm then meets. */
static struct shmq_place post(const struct shmq_queue_ref *ref, const struct shmq_hold *hold, uint64_t *queued)
{
    uint32_t gen = shmq_block_gen(hold->word) + 1;
    struct shmq_block *block = &arena.map.block[hold->block];
    struct shmq_place place;

    *queued = shmq_block_word(gen, shmq_block_order(hold->word), SHMQ_STATE_QUEUED, ref->qid + 1, me.slot);
    block->m[SHMQ_M_EPOCH] = shmq_epoch_word(gen, ref->epoch);
    block->m[SHMQ_M_FROM] = 0;
    block->word = *queued;
    CHECK_EQUAL(shmq_queue_post(&arena.map, ref, hold->block, gen, &place), SHMQ_OK);
    return place;
}

static void a_queue_that_ends_right_after_the_post_gives_the_block_back(void) /* S3 */
{
    static const int expected[] = { SHMQ_SHUT, SHMQ_CLOSED, SHMQ_CLOSED };

    for (int end = 0; end < 3; end++)
        for (uint32_t from = 0; from < 2; from++) {
            struct shmq_place place;
            struct shmq_hold loan;
            uint64_t queued, open, ended[3];

            make();
            open = jobs.queue->flags;
            loan = loan_of(&me, 1);
            place = post(&jobs, &loan, &queued);
            ended[0] = open | SHMQ_QUEUE_SHUT;
            ended[1] = open & ~(uint64_t)SHMQ_QUEUE_OPEN;
            ended[2] = open + (1ull << 32); /* another incarnation */
            set_flags(&jobs, ended[end]);
            CHECK_EQUAL(shmq_send_confirm(&me, &jobs, &loan, queued, from ? results.qid + 1 : 0, place), expected[end]);
            check_held(&me, &loan, from ? results.qid + 1 : 0);
            CHECK_EQUAL(*place.slot, shmq_slot_empty(shmq_slot_lap(place.word) + 1));
            CHECK_EQUAL(arena.wakes, 0);
        }
}

static void a_queue_that_ends_after_the_message_was_taken_does_not_undo_the_send(void) /* S3, lost */
{
    struct shmq_message message;
    struct shmq_place place;
    struct shmq_hold loan;
    uint64_t queued;

    make();
    loan = loan_of(&me, 1);
    place = post(&jobs, &loan, &queued);
    CHECK_EQUAL(shmq_receive(&other, &jobs, &message), SHMQ_OK);
    set_flags(&jobs, jobs.queue->flags | SHMQ_QUEUE_SHUT);
    CHECK_EQUAL(shmq_send_confirm(&me, &jobs, &loan, queued, 0, place), SHMQ_OK);
    check_held(&other, &message.hold, jobs.qid + 1);
    CHECK_EQUAL(shmq_release(&other, &message.hold), SHMQ_OK);
    delete_queues();
}

/* ---- the end of a queue ---------------------------------------------------------------------------------- */

static void a_shut_queue_is_emptied_first_and_ends_then(void)
{
    make();
    arena_send(&me, &jobs, 1);
    arena_send(&me, &jobs, 2);
    CHECK_EQUAL(shmq_queue_shut(&other, &jobs), SHMQ_OK);
    CHECK_EQUAL(arena_try_send(&me, &jobs, 3), SHMQ_SHUT);
    arena_receive(&me, &jobs, 1);
    arena_receive(&other, &jobs, 2);
    arena_nothing(&me, &jobs, SHMQ_SHUT);
    arena_nothing(&me, &jobs, SHMQ_SHUT);
}

static void a_closing_queue_gives_out_what_stands_in_it_and_then_closed(void)
{
    make();
    arena_send(&me, &jobs, 1);
    CHECK_EQUAL(shmq_queue_begin_close(&jobs, SHMQ_NO_OWNER, 1), SHMQ_OK);
    CHECK_EQUAL(arena_try_send(&me, &jobs, 3), SHMQ_CLOSED);
    arena_receive(&other, &jobs, 1);
    arena_nothing(&other, &jobs, SHMQ_CLOSED);
    CHECK_EQUAL(shmq_queue_begin_close(&jobs, SHMQ_NO_OWNER, 1), SHMQ_CLOSED);
}

static void a_delete_frees_what_is_queued_and_leaves_what_is_held(void)
{
    struct shmq_message message;

    make();
    arena_send(&me, &jobs, 1);
    arena_hold(&other, &jobs, 1, &message);
    arena_send(&me, &jobs, 2);
    arena_send(&me, &jobs, 3);
    CHECK_EQUAL(shmq_queue_delete(&me, &jobs), SHMQ_OK);
    check_held(&other, &message.hold, jobs.qid + 1);
    CHECK_EQUAL(message.label, 1);
    arena_nothing(&other, &jobs, SHMQ_CLOSED);
    CHECK_EQUAL(shmq_release(&other, &message.hold), SHMQ_OK);
    delete_queues();
}

static void a_closed_inbox_keeps_its_record_until_its_last_message_is_released(void) /* [U1][D4] */
{
    struct shmq_queue_ref inbox, again;
    struct shmq_message message;

    make();
    CHECK_EQUAL(shmq_queue_open_inbox(&me, "me", 10, &inbox), SHMQ_OK);
    arena_send(&other, &inbox, 1);
    arena_send(&other, &inbox, 2);
    arena_hold(&me, &inbox, 1, &message);
    CHECK_EQUAL(shmq_queue_close(&other, &inbox), SHMQ_CLOSED); /* not its own */
    CHECK_EQUAL(shmq_queue_close(&me, &inbox), SHMQ_OK);
    CHECK_EQUAL(arena_try_send(&other, &inbox, 3), SHMQ_CLOSED);
    CHECK_EQUAL(shmq_queue_open_inbox(&me, "me", 10, &again), SHMQ_IN_USE);
    CHECK_EQUAL(shmq_release(&me, &message.hold), SHMQ_OK);
    shmq_queue_finish_close(&me, &inbox);
    CHECK_EQUAL(shmq_queue_open_inbox(&me, "me", 10, &again), SHMQ_OK);
    CHECK_EQUAL(again.epoch, inbox.epoch + 2);
    CHECK_EQUAL(shmq_queue_close(&me, &again), SHMQ_OK);
    shmq_queue_finish_close(&me, &again);
    delete_queues();
}

/* ---- forward and edit ------------------------------------------------------------------------------------ */

static void a_forward_hands_on_bytes_label_and_length_untouched(void)
{
    struct shmq_message message, onward;
    struct shmq_hold loan;
    struct shmq_parcel parcel = { 300 | SHMQ_LENGTH_ENVELOPE, 42 };

    make();
    loan = loan_of(&me, 300);
    memset(shmq_payload(&arena.map, loan.block), 9, 300);
    arena.map.block[loan.block].envelope.type = 0x1234;
    CHECK_EQUAL(shmq_send(&me, &jobs, &loan, &parcel), SHMQ_OK);
    arena_hold(&other, &jobs, 42, &message);
    CHECK_EQUAL(shmq_forward(&other, &results, &message), SHMQ_OK);
    arena_hold(&me, &results, 42, &onward);
    CHECK_EQUAL(onward.hold.block, loan.block);
    CHECK_EQUAL(onward.length, 300 | SHMQ_LENGTH_ENVELOPE);
    CHECK_EQUAL(onward.sender_slot, 2);
    CHECK_EQUAL(arena.map.block[loan.block].envelope.type, 0x1234);
    CHECK_EQUAL(shmq_payload(&arena.map, loan.block)[299], 9);
    CHECK_EQUAL(shmq_release(&me, &onward.hold), SHMQ_OK);
    delete_queues();
}

static void a_forward_to_the_queue_it_came_from_goes_to_its_end(void)
{
    struct shmq_message message;

    make();
    arena_send(&me, &jobs, 1);
    arena_send(&me, &jobs, 2);
    arena_hold(&me, &jobs, 1, &message);
    CHECK_EQUAL(shmq_forward(&me, &jobs, &message), SHMQ_OK);
    arena_receive(&me, &jobs, 2);
    arena_receive(&me, &jobs, 1);
    delete_queues();
}

static void a_forward_to_an_earlier_incarnation_of_its_queue_leaves_the_message_held(void)
{
    struct shmq_queue_ref earlier;
    struct shmq_message message;

    make();
    earlier = jobs;
    CHECK_EQUAL(shmq_queue_delete(&me, &jobs), SHMQ_OK);
    arena_open(&me, "jobs", 2, &jobs);
    CHECK_EQUAL(jobs.qid, earlier.qid);
    arena_send(&me, &jobs, 1);
    arena_hold(&me, &jobs, 1, &message);
    CHECK_EQUAL(shmq_forward(&me, &earlier, &message), SHMQ_CLOSED);
    check_held(&me, &message.hold, jobs.qid + 1);
    arena_close(1);
    arena_receive(&other, &jobs, 1); /* and is not lost by a death */
}

static void a_message_of_an_earlier_incarnation_goes_back_nowhere(void) /* [H4] */
{
    struct shmq_message message;
    struct shmq_hold *hold = &message.hold;

    make();
    arena_send(&me, &jobs, 1);
    arena_hold(&me, &jobs, 1, &message);
    CHECK_EQUAL(shmq_queue_delete(&me, &jobs), SHMQ_OK);
    arena_open(&me, "jobs", 2, &jobs);
    arena_send(&me, &jobs, 2);
    arena_send(&me, &jobs, 3);
    CHECK_EQUAL(shmq_forward(&me, &jobs, &message), SHMQ_FULL);
    check_held(&me, hold, 0);
    CHECK_EQUAL(arena.map.block[hold->block].m[SHMQ_M_FROM], 0);
    arena_receive(&me, &jobs, 2);
    CHECK_EQUAL(shmq_forward(&me, &jobs, &message), SHMQ_OK);
    arena_receive(&me, &jobs, 3);
    arena_receive(&me, &jobs, 1);
    delete_queues();
}

static void an_edited_message_is_acknowledged_and_redelivered_to_nobody(void)
{
    struct shmq_message message;

    make();
    arena_send(&me, &jobs, 1);
    arena_hold(&me, &jobs, 1, &message);
    CHECK_EQUAL(shmq_edit(&me, &message.hold), SHMQ_OK);
    check_held(&me, &message.hold, 0);
    arena_close(1);
    arena_nothing(&other, &jobs, SHMQ_EMPTY);
    CHECK_EQUAL(shmq_queue_delete(&other, &jobs), SHMQ_OK);
    CHECK_EQUAL(shmq_queue_delete(&other, &results), SHMQ_OK);
    arena_check_all_free();
}

static void an_edited_message_stays_acknowledged_when_its_forward_fails(void)
{
    struct shmq_message message;

    make();
    arena_send(&me, &jobs, 1);
    arena_hold(&me, &jobs, 1, &message);
    arena_send(&me, &results, 8);
    arena_send(&me, &results, 9);
    CHECK_EQUAL(shmq_edit(&me, &message.hold), SHMQ_OK);
    CHECK_EQUAL(shmq_forward(&me, &results, &message), SHMQ_FULL);
    check_held(&me, &message.hold, 0);
    CHECK_EQUAL(shmq_release(&me, &message.hold), SHMQ_OK);
    delete_queues();
}

/* ---- redelivery ------------------------------------------------------------------------------------------ */

static void what_a_dead_receiver_held_is_delivered_again_before_the_ring_and_counted(void)
{
    struct shmq_message message;

    make();
    arena_send(&me, &jobs, 0);
    arena_receive(&me, &jobs, 0);
    arena_send(&me, &jobs, 1);
    arena_hold(&other, &jobs, 1, &message);
    arena_send(&me, &jobs, 2);
    for (uint32_t deaths = 1; deaths <= 5; deaths++) {
        arena_close(2);
        arena_enter(&other, 2);
        arena_hold(&other, &jobs, 1, &message);
        CHECK_EQUAL(message.deliveries, deaths);
        CHECK_EQUAL(message.position, 1);
        CHECK_EQUAL(message.sender_slot, 1);
        check_held(&other, &message.hold, jobs.qid + 1);
    }
    CHECK_EQUAL(shmq_release(&other, &message.hold), SHMQ_OK);
    arena_hold(&other, &jobs, 2, &message);
    CHECK_EQUAL(message.deliveries, 0);
    CHECK_EQUAL(shmq_release(&other, &message.hold), SHMQ_OK);
    delete_queues();
}

static void every_message_of_a_dead_receiver_goes_to_one_of_the_others(void)
{
    struct shmq_message held[2];
    uint32_t label_sum = 0;

    make();
    arena_send(&me, &jobs, 1);
    arena_send(&me, &jobs, 2);
    arena_hold(&other, &jobs, 1, &held[0]);
    arena_hold(&other, &jobs, 2, &held[1]);
    arena_close(2);
    for (int i = 0; i < 2; i++) {
        CHECK_EQUAL(shmq_receive(&me, &jobs, &held[i]), SHMQ_OK);
        label_sum += held[i].label;
    }
    CHECK_EQUAL(label_sum, 3);
    CHECK(jobs.queue->requeued != jobs.queue->requeued_done); /* until a search finds nothing [M2] */
    arena_nothing(&me, &jobs, SHMQ_EMPTY);
    CHECK_EQUAL(jobs.queue->requeued, jobs.queue->requeued_done);
}

static void a_shut_queue_still_gives_out_what_a_dead_receiver_held(void)
{
    struct shmq_message message;

    make();
    arena_send(&me, &jobs, 1);
    arena_hold(&other, &jobs, 1, &message);
    CHECK_EQUAL(shmq_queue_shut(&me, &jobs), SHMQ_OK);
    arena_close(2);
    arena_receive(&me, &jobs, 1);
    arena_nothing(&me, &jobs, SHMQ_SHUT);
}

static void a_requeued_message_of_an_earlier_incarnation_is_freed_and_not_delivered(void) /* [D5][H5] */
{
    struct shmq_message message;
    uint64_t word;

    make();
    arena_send(&me, &jobs, 1);
    arena_hold(&other, &jobs, 1, &message);
    word = message.hold.word;
    CHECK_EQUAL(shmq_queue_delete(&me, &jobs), SHMQ_OK);
    arena_open(&me, "jobs", 2, &jobs);
    arena.map.block[message.hold.block].word
        = shmq_block_word(shmq_block_gen(word), 0, SHMQ_STATE_REQUEUE, jobs.qid + 1, 0); /* its closer stopped there */
    jobs.queue->requeued++;
    arena_nothing(&me, &jobs, SHMQ_EMPTY);
    CHECK_EQUAL(shmq_block_state(arena_word(message.hold.block)), SHMQ_STATE_FREE);
    delete_queues();
}

static void a_receiver_with_an_outdated_handle_touches_nothing_requeued(void) /* [H5] */
{
    struct shmq_queue_ref earlier;
    struct shmq_message message;

    make();
    earlier = jobs;
    CHECK_EQUAL(shmq_queue_delete(&me, &jobs), SHMQ_OK);
    arena_open(&me, "jobs", 2, &jobs);
    arena_send(&me, &jobs, 1);
    arena_hold(&other, &jobs, 1, &message);
    arena_close(2);
    arena_nothing(&me, &earlier, SHMQ_CLOSED);
    CHECK_EQUAL(shmq_block_state(arena_word(message.hold.block)), SHMQ_STATE_REQUEUE);
    arena_receive(&me, &jobs, 1);
}

static void a_delete_frees_what_is_requeued(void)
{
    struct shmq_message message;

    make();
    arena_send(&me, &jobs, 1);
    arena_hold(&other, &jobs, 1, &message);
    arena_close(2);
    CHECK_EQUAL(shmq_queue_delete(&me, &jobs), SHMQ_OK);
    delete_queues();
}

static void a_block_requeued_by_a_later_incarnation_is_left_to_its_receivers(void) /* [H5] */
{
    uint32_t block;

    make();
    block = loan_of(&me, 1).block;
    arena.map.block[block].m[SHMQ_M_EPOCH] = shmq_epoch_word(0, jobs.epoch + 2);
    arena.map.block[block].m[SHMQ_M_FROM] = 0;
    arena.map.block[block].word = shmq_block_word(0, 0, SHMQ_STATE_REQUEUE, jobs.qid + 1, 0);
    shmq_requeue_drop_stale(&me, block, arena_word(block));
    CHECK_EQUAL(shmq_block_state(arena_word(block)), SHMQ_STATE_REQUEUE);
}

static void the_search_for_requeued_messages_goes_on_where_it_stopped(void)
{
    struct shmq_message held[2], first;

    make();
    arena_send(&me, &jobs, 1);
    arena_send(&me, &jobs, 2);
    arena_hold(&other, &jobs, 1, &held[0]);
    arena_hold(&other, &jobs, 2, &held[1]);
    arena_close(2);
    me.requeue_scan = held[0].hold.block + 1;
    arena_hold(&me, &jobs, 2, &first);
    CHECK_EQUAL(me.requeue_scan, first.hold.block + 1);
    arena_receive(&me, &jobs, 1);
}

/* ---- messages that cannot be ----------------------------------------------------------------------------- */

static void a_message_longer_than_its_block_is_dropped_and_counted(void)
{
    struct shmq_hold loan;

    make();
    loan = loan_of(&me, 1);
    CHECK_EQUAL(send(&me, &jobs, &loan, 513), SHMQ_OK);
    loan = loan_of(&me, 1);
    CHECK_EQUAL(send(&me, &jobs, &loan, (1ull << 48) - 1), SHMQ_OK);
    arena_nothing(&other, &jobs, SHMQ_EMPTY);
    CHECK_EQUAL(other.corrupt, 2);
    loan = loan_of(&me, 1);
    CHECK_EQUAL(send(&me, &jobs, &loan, 512), SHMQ_OK);
    arena_receive(&other, &jobs, 7);
    delete_queues();
}

static void a_requeued_message_longer_than_its_block_is_dropped_and_counted(void)
{
    struct shmq_message message;

    make();
    arena_send(&me, &jobs, 1);
    arena_hold(&other, &jobs, 1, &message);
    arena_close(2);
    arena.map.block[message.hold.block].length = 513;
    arena_nothing(&me, &jobs, SHMQ_EMPTY);
    CHECK_EQUAL(me.corrupt, 1);
    delete_queues();
}

static void a_requeued_block_with_an_impossible_order_is_passed_over(void)
{
    uint32_t block;

    make();
    loan_of(&me, 1);
    block = loan_of(&me, 1).block;
    CHECK(block % 2);
    arena.map.block[block].word = shmq_block_word(0, 4, SHMQ_STATE_REQUEUE, jobs.qid + 1, 0);
    jobs.queue->requeued++;
    arena_nothing(&me, &jobs, SHMQ_EMPTY);
    CHECK_EQUAL(jobs.queue->requeued, jobs.queue->requeued_done);
}

static void a_sender_word_of_another_generation_names_nobody(void)
{
    struct shmq_message message;

    make();
    arena_send(&me, &jobs, 1);
    arena.map.block[shmq_slot_value(jobs.slots[jobs.base % 64]) - 1].m[SHMQ_M_SENDER] = UINT64_MAX;
    arena_hold(&other, &jobs, 1, &message);
    CHECK_EQUAL(message.sender_slot, SHMQ_NO_OWNER);
}

/* ---- census ---------------------------------------------------------------------------------------------- */

static void the_census_tells_who_holds_what(void)
{
    static struct shmq_census census;
    struct shmq_message message;

    make();
    CHECK(!shmq_blocks_elsewhere(&me));
    loan_of(&me, 513); /* two granules */
    CHECK(!shmq_blocks_elsewhere(&me));
    arena_send(&me, &jobs, 1);
    CHECK(shmq_blocks_elsewhere(&me));
    arena_send(&me, &jobs, 2);
    arena_hold(&other, &jobs, 1, &message);
    shmq_census_take(&census, &arena.map);
    CHECK_EQUAL(census.process[1].loans, 1);
    CHECK_EQUAL(census.process[1].bytes, 1024);
    CHECK_EQUAL(census.process[1].queued, 1);
    CHECK_EQUAL(census.process[2].held, 1);
    CHECK_EQUAL(census.process[2].bytes, 512);
    CHECK_EQUAL(census.queued, 1);
    CHECK_EQUAL(census.queued_bytes, 512);
    CHECK_EQUAL(census.used_bytes, 2048);
    arena_close(2);
    shmq_census_take(&census, &arena.map);
    CHECK_EQUAL(census.requeued, 1);
    CHECK_EQUAL(census.requeued_bytes, 512);
    CHECK_EQUAL(census.process[2].held, 0);
}

static void there_is_hope_for_a_block_where_others_hold_or_cache_one(void)
{
    struct shmq_hold mine, theirs;

    make();
    mine = loan_of(&me, 1);
    CHECK_EQUAL(shmq_blocks_elsewhere(&me), SHMQ_HOPE_NONE);
    other.cache.limit = 8;
    theirs = loan_of(&other, 1);
    CHECK_EQUAL(shmq_blocks_elsewhere(&me), SHMQ_HOPE_HELD);
    CHECK_EQUAL(shmq_release(&other, &theirs), SHMQ_OK);
    CHECK_EQUAL(shmq_blocks_elsewhere(&me), SHMQ_HOPE_CACHED);
    CHECK_EQUAL(send(&me, &jobs, &mine, 1), SHMQ_OK);
    CHECK_EQUAL(shmq_blocks_elsewhere(&me), SHMQ_HOPE_HELD);
    shmq_cache_flush(&other);
    CHECK_EQUAL(shmq_blocks_elsewhere(&me), SHMQ_HOPE_HELD);
}

static void the_census_tells_what_a_process_has_cached(void)
{
    static struct shmq_census census;
    struct shmq_hold loan;

    make();
    me.cache.limit = 3;
    loan = loan_of(&me, 1);
    CHECK_EQUAL(shmq_release(&me, &loan), SHMQ_OK);
    shmq_census_take(&census, &arena.map);
    CHECK_EQUAL(census.process[1].cached, 2); /* the loan put three aside; its own release spilled the older half */
    CHECK_EQUAL(census.process[1].cached_bytes, 2 * 512);
    CHECK_EQUAL(census.process[1].loans, 2);
}

static const struct check_test tests[] = {
    CHECK_TEST(a_message_arrives_with_its_bytes_length_label_sender_and_position),
    CHECK_TEST(a_message_may_be_empty_or_as_large_as_the_largest_block),
    CHECK_TEST(loans_run_out_as_an_error_and_come_back),
    CHECK_TEST(what_a_process_only_keeps_at_hand_does_not_stand_in_its_own_way),
    CHECK_TEST(a_handle_is_stale_once_its_block_was_sent_or_released),
    CHECK_TEST(a_handle_of_an_earlier_life_of_a_cached_block_is_stale),
    CHECK_TEST(a_send_that_fails_leaves_the_loan_with_its_sender),
    CHECK_TEST(a_forward_that_fails_leaves_the_message_held_from_where_it_was),
    CHECK_TEST(a_queue_that_ends_right_after_the_post_gives_the_block_back),
    CHECK_TEST(a_queue_that_ends_after_the_message_was_taken_does_not_undo_the_send),
    CHECK_TEST(a_shut_queue_is_emptied_first_and_ends_then),
    CHECK_TEST(a_closing_queue_gives_out_what_stands_in_it_and_then_closed),
    CHECK_TEST(a_delete_frees_what_is_queued_and_leaves_what_is_held),
    CHECK_TEST(a_closed_inbox_keeps_its_record_until_its_last_message_is_released),
    CHECK_TEST(a_forward_hands_on_bytes_label_and_length_untouched),
    CHECK_TEST(a_forward_to_the_queue_it_came_from_goes_to_its_end),
    CHECK_TEST(a_forward_to_an_earlier_incarnation_of_its_queue_leaves_the_message_held),
    CHECK_TEST(a_message_of_an_earlier_incarnation_goes_back_nowhere),
    CHECK_TEST(an_edited_message_is_acknowledged_and_redelivered_to_nobody),
    CHECK_TEST(an_edited_message_stays_acknowledged_when_its_forward_fails),
    CHECK_TEST(what_a_dead_receiver_held_is_delivered_again_before_the_ring_and_counted),
    CHECK_TEST(every_message_of_a_dead_receiver_goes_to_one_of_the_others),
    CHECK_TEST(a_shut_queue_still_gives_out_what_a_dead_receiver_held),
    CHECK_TEST(a_requeued_message_of_an_earlier_incarnation_is_freed_and_not_delivered),
    CHECK_TEST(a_receiver_with_an_outdated_handle_touches_nothing_requeued),
    CHECK_TEST(a_delete_frees_what_is_requeued),
    CHECK_TEST(a_block_requeued_by_a_later_incarnation_is_left_to_its_receivers),
    CHECK_TEST(the_search_for_requeued_messages_goes_on_where_it_stopped),
    CHECK_TEST(a_message_longer_than_its_block_is_dropped_and_counted),
    CHECK_TEST(a_requeued_message_longer_than_its_block_is_dropped_and_counted),
    CHECK_TEST(a_requeued_block_with_an_impossible_order_is_passed_over),
    CHECK_TEST(a_sender_word_of_another_generation_names_nobody),
    CHECK_TEST(the_census_tells_who_holds_what),
    CHECK_TEST(there_is_hope_for_a_block_where_others_hold_or_cache_one),
    CHECK_TEST(the_census_tells_what_a_process_has_cached),
};

ARENA_MAIN(tests)
