/* SPDX-License-Identifier: MIT */
/* close(i) of a process that died after each step: its memory is put into the state that the step leaves, another
 * process closes for it, and nothing may be left.
 */
#include "victim.h"

/* ---- allocate and free ----------------------------------------------------------------------------------- */

static void after_A1_and_after_F1_a_block_owned_without_its_bit_is_free(void)
{
    for (uint32_t order = 0; order <= 11; order++) {
        make();
        clear_bit(alloc(order));
        die_and_leave_nothing();
    }
}

static void after_A2_a_block_owned_with_its_bit_is_freed(void)
{
    for (uint32_t order = 0; order <= 11; order++) {
        make();
        alloc(order);
        die_and_leave_nothing();
    }
}

static void after_A1_of_a_batch_some_with_and_some_without_their_bits_are_freed(void)
{
    uint32_t heads[SHMQ_BATCH_MAX], count;

    make();
    CHECK_EQUAL(shmq_buddy_alloc_some(&victim, 0, SHMQ_BATCH_MAX, heads, &count), SHMQ_OK);
    for (uint32_t i = 0; i < count; i += 2)
        clear_bit(heads[i]);
    die_and_leave_nothing();
}

static void after_SPM_the_unit_is_freed_whole(void)
{
    uint32_t unit;

    make();
    unit = alloc(5);
    arena.map.split[0][unit / 32 / 64] |= 1ull << unit / 32 % 64;
    die_and_leave_nothing();
}

static void after_SP1_and_after_M1_a_unit_owned_over_an_active_word_is_split(void)
{
    for (uint32_t tier = 0; tier < 2; tier++) {
        uint32_t unit, order = 5 * (tier + 1);

        make();
        unit = alloc(order);
        arena.map.split[tier][0] |= 1ull << (unit >> order);
        arena.map.word[tier][unit >> order] = SHMQ_WORD_ACTIVE;
        die();
        CHECK_EQUAL(shmq_block_state(arena_word(unit)), SHMQ_STATE_FREE);
        CHECK_EQUAL(arena.map.word[tier][unit >> order], SHMQ_WORD_ACTIVE);
        check_nothing_left();
    }
}

static void after_SP1_blocks_that_others_already_have_of_the_unit_stay_theirs(void)
{
    uint32_t unit, theirs;

    make();
    unit = alloc(5);
    arena.map.split[0][0] |= 1ull << unit / 32;
    arena.map.word[0][unit / 32] = SHMQ_WORD_ACTIVE;
    me.word_hint[0] = unit / 32;
    CHECK_EQUAL(shmq_buddy_alloc(&me, 2, &theirs), SHMQ_OK);
    CHECK_EQUAL(theirs, unit + 4); /* the head is still the victim's */
    die();
    CHECK_EQUAL(shmq_block_owner(arena_word(theirs)), SURVIVOR);
    CHECK_EQUAL(arena_bit(theirs, 2), 1);
    check_nothing_left();
}

static void after_SP2_the_split_unit_is_left_to_all(void)
{
    uint32_t unit;

    make();
    unit = alloc(5);
    arena.map.split[0][0] |= 1ull << unit / 32;
    arena.map.word[0][unit / 32] = SHMQ_WORD_ACTIVE;
    set_word(unit, SHMQ_STATE_FREE, 0, 0);
    die_and_leave_nothing();
}

static void after_M2_the_merged_unit_is_freed(void)
{
    uint32_t unit;

    make();
    unit = alloc(5); /* owned, its bit set, the word below inactive: as after a split and a merge */
    arena.map.split[0][0] |= 1ull << unit / 32;
    die_and_leave_nothing();
}

static void after_F0_and_after_an_acknowledgement_the_block_is_freed_and_delivered_to_nobody(void)
{
    struct shmq_message message;

    make();
    arena_send(&me, &jobs, 1);
    arena_hold(&victim, &jobs, 1, &message);
    CHECK_EQUAL(shmq_edit(&victim, &message.hold), SHMQ_OK);
    die_and_leave_nothing();
}

static void what_was_cached_is_freed_and_no_longer_shown(void)
{
    static struct shmq_census census;
    uint32_t block;

    make();
    victim.cache.limit = 60;
    for (uint32_t order = 0; order < 4; order++)
        CHECK_EQUAL(shmq_block_alloc(&victim, order, &block), SHMQ_OK);
    CHECK(arena.map.process[VICTIM].cached != 0);
    die();
    shmq_census_take(&census, &arena.map);
    CHECK_EQUAL(census.process[VICTIM].cached, 0);
    check_nothing_left();
}

/* ---- send ------------------------------------------------------------------------------------------------ */

static void after_S1_a_message_in_no_ring_is_freed(void)
{
    make();
    posted(1);
    *slot_of(&jobs, 0) = shmq_slot_empty(shmq_slot_lap(*slot_of(&jobs, 0)));
    jobs.queue->tail = shmq_hint_word(jobs.epoch, jobs.base);
    die_and_leave_nothing();
}

static void after_S1_an_older_slot_of_the_same_block_is_not_taken_for_the_post(void)
{
    uint64_t slot;

    make();
    posted(1);
    slot = *slot_of(&jobs, 0);
    *slot_of(&jobs, 0) = shmq_slot_word(shmq_slot_lap(slot), shmq_slot_gen(slot) - 1, shmq_slot_value(slot));
    die();
    arena_nothing(&me, &jobs, SHMQ_EMPTY);
    check_nothing_left();
}

static void after_S2_the_message_is_delivered_though_the_tail_hint_lags(void)
{
    make();
    posted(1);
    jobs.queue->tail = shmq_hint_word(jobs.epoch, jobs.base);
    die_and_deliver(1);
}

static void after_S2_others_messages_before_and_behind_keep_their_order(void)
{
    make();
    arena_send(&me, &jobs, 1);
    posted(2);
    arena_send(&me, &jobs, 3);
    posted(4);
    die();
    for (uint32_t label = 1; label <= 4; label++)
        arena_receive(&me, &jobs, label);
    check_nothing_left();
}

static void after_S2_a_sleeper_that_was_not_woken_yet_is_woken_by_the_closer(void)
{
    make();
    posted(1);
    jobs.queue->flags |= SHMQ_QUEUE_SLEEP;
    arena_forget();
    die();
    CHECK_EQUAL(arena.wakes, 1);
    CHECK(arena.wake[0].seq == &jobs.queue->receivers_seq);
    CHECK_EQUAL(arena.wake[0].sleepers, SHMQ_ALL_SLEEPERS);
}

static void a_block_held_from_another_processs_inbox_is_freed_and_its_slot_settled(void)
{
    for (int closing = 0; closing < 2; closing++) {
        uint32_t block;

        make();
        CHECK_EQUAL(shmq_queue_open_inbox(&me, "me", 10, &inbox), SHMQ_OK);
        arena_send(&victim, &inbox, 1);
        block = block_in(&inbox, 0);
        if (closing)
            inbox.queue->flags = shmq_flags_word(inbox.epoch, SURVIVOR, SHMQ_QUEUE_USED | SHMQ_QUEUE_CLOSING);
        set_word(block, SHMQ_STATE_OWNED, inbox.qid + 1, VICTIM);
        die();
        CHECK_EQUAL(shmq_slot_value(*slot_of(&inbox, 0)), 0);
        CHECK_EQUAL(shmq_block_state(arena_word(block)), SHMQ_STATE_FREE);
        check_nothing_left();
    }
}

static void after_S2_BACK_the_block_is_freed(void)
{
    uint32_t block;

    make();
    block = posted(1);
    *slot_of(&jobs, 0) = shmq_slot_empty(shmq_slot_lap(*slot_of(&jobs, 0)));
    set_word(block, SHMQ_STATE_OWNED, 0, VICTIM);
    die_and_leave_nothing();
}

static void after_S3_BACK_the_block_is_freed_and_its_slot_is_stale(void)
{
    uint32_t block;

    make();
    CHECK_EQUAL(shmq_queue_open_inbox(&me, "me", 10, &inbox), SHMQ_OK); /* the receiver's, which closes meanwhile */
    arena_send(&victim, &inbox, 1);
    block = block_in(&inbox, 0);
    inbox.queue->flags = shmq_flags_word(inbox.epoch, SURVIVOR, SHMQ_QUEUE_USED | SHMQ_QUEUE_CLOSING);
    set_word(block, SHMQ_STATE_OWNED, 0, VICTIM);
    die();
    CHECK_EQUAL(shmq_block_state(arena_word(block)), SHMQ_STATE_FREE);
    CHECK(!shmq_queue_match(inbox.qid, arena_word(block), *slot_of(&inbox, 0)));
    check_nothing_left();
}

static void after_S3_BACK_from_a_queue_that_was_shut_down_nothing_is_delivered_to_it(void)
{
    make();
    arena_send(&me, &jobs, 1);
    set_word(posted(2), SHMQ_STATE_OWNED, 0, VICTIM);
    jobs.queue->flags |= SHMQ_QUEUE_SHUT;
    die();
    arena_receive(&me, &jobs, 1);
    arena_nothing(&me, &jobs, SHMQ_SHUT);
    CHECK_EQUAL(shmq_slot_value(*slot_of(&jobs, 1)), 0);
    check_nothing_left();
}

static void a_message_posted_into_a_queue_that_closed_meanwhile_is_freed(void)
{
    make();
    CHECK_EQUAL(shmq_queue_open_inbox(&me, "me", 10, &inbox), SHMQ_OK);
    arena_send(&victim, &inbox, 1);
    inbox.queue->flags = shmq_flags_word(inbox.epoch, SURVIVOR, SHMQ_QUEUE_USED | SHMQ_QUEUE_CLOSING);
    die();
    for (uint32_t block = 0; block < 2048; block++)
        CHECK_EQUAL(shmq_block_state(arena_word(block)), SHMQ_STATE_FREE);
    check_nothing_left();
}

/* ---- forward --------------------------------------------------------------------------------------------- */

static void after_S1_of_a_forward_the_message_goes_back_to_the_queue_it_came_from(void) /* [D9] */
{
    struct shmq_queue_ref target;

    make();
    arena_open(&me, "target", 10, &target);
    forwarded(&target, 0);
    *slot_of(&target, 0) = shmq_slot_empty(shmq_slot_lap(*slot_of(&target, 0)));
    target.queue->tail = shmq_hint_word(target.epoch, target.base);
    die_and_redeliver(9);
}

static void after_S3_BACK_of_a_forward_the_message_goes_back_and_its_slot_is_stale(void)
{
    struct shmq_queue_ref target;

    make();
    arena_open(&me, "target", 10, &target);
    set_word(forwarded(&target, 0), SHMQ_STATE_OWNED, jobs.qid + 1, VICTIM);
    target.queue->flags |= SHMQ_QUEUE_SHUT;
    die();
    arena_nothing(&me, &target, SHMQ_SHUT);
    arena_receive(&me, &jobs, 9);
    check_nothing_left();
}

static void after_S2_of_a_forward_the_message_is_where_it_was_forwarded_to(void)
{
    struct shmq_queue_ref target;

    make();
    arena_open(&me, "target", 10, &target);
    forwarded(&target, 0);
    die();
    arena_nothing(&me, &jobs, SHMQ_EMPTY);
    arena_receive(&me, &target, 9);
    check_nothing_left();
}

static void a_forward_into_a_queue_that_closed_goes_back_to_the_queue_it_came_from(void) /* [H4] */
{
    make();
    CHECK_EQUAL(shmq_queue_open_inbox(&me, "me", 10, &inbox), SHMQ_OK);
    forwarded(&inbox, 0);
    inbox.queue->flags = shmq_flags_word(inbox.epoch, SURVIVOR, SHMQ_QUEUE_USED | SHMQ_QUEUE_CLOSING);
    die_and_redeliver(9);
}

static void after_S1_of_a_forward_whose_own_queue_was_deleted_the_message_is_freed(void) /* [D5] */
{
    struct shmq_queue_ref target;

    make();
    arena_open(&me, "target", 10, &target);
    forwarded(&target, 0);
    *slot_of(&target, 0) = shmq_slot_empty(shmq_slot_lap(*slot_of(&target, 0)));
    CHECK_EQUAL(shmq_queue_delete(&me, &jobs), SHMQ_OK);
    arena_open(&me, "jobs", 20, &jobs);
    die_and_leave_nothing();
}

/* ---- receive --------------------------------------------------------------------------------------------- */

static void after_R1_the_slot_is_settled_and_the_message_redelivered(void)
{
    struct shmq_message message;
    uint64_t slot;

    make();
    arena_send(&me, &jobs, 5);
    slot = *slot_of(&jobs, 0);
    arena_hold(&victim, &jobs, 5, &message);
    *slot_of(&jobs, 0) = slot;
    jobs.queue->head = shmq_hint_word(jobs.epoch, jobs.base);
    die();
    CHECK_EQUAL(shmq_slot_value(*slot_of(&jobs, 0)), 0);
    arena_receive(&me, &jobs, 5);
    arena_nothing(&me, &jobs, SHMQ_EMPTY);
    check_nothing_left();
}

static void after_R2_the_message_is_redelivered(void)
{
    struct shmq_message message;

    make();
    arena_send(&me, &jobs, 5);
    arena_hold(&victim, &jobs, 5, &message);
    jobs.queue->head = shmq_hint_word(jobs.epoch, jobs.base);
    die_and_redeliver(5);
}

static void after_RQ1_the_message_is_redelivered_again(void)
{
    struct shmq_message message;

    make();
    arena_send(&me, &jobs, 5);
    arena_hold(&victim, &jobs, 5, &message);
    die();
    arena_enter(&victim, VICTIM);
    arena_hold(&victim, &jobs, 5, &message);
    CHECK_EQUAL(message.deliveries, 1);
    arena.map.block[message.hold.block].label = 5; /* R_COUNT not done yet */
    die_and_redeliver(5);
}

static void after_RQ2_the_block_is_freed(void)
{
    struct shmq_message message;

    make();
    arena_send(&me, &jobs, 5);
    arena_hold(&victim, &jobs, 5, &message);
    set_word(message.hold.block, SHMQ_STATE_OWNED, 0, VICTIM);
    die_and_leave_nothing();
}

static void a_held_message_of_a_queue_that_is_closing_or_another_by_now_is_freed(void)
{
    for (int remade = 0; remade < 2; remade++) {
        struct shmq_message message;

        make();
        arena_send(&me, &jobs, 5);
        arena_hold(&victim, &jobs, 5, &message);
        CHECK_EQUAL(shmq_queue_delete(&me, &jobs), SHMQ_OK);
        if (remade)
            arena_open(&me, "jobs", 20, &jobs);
        die();
        CHECK_EQUAL(shmq_block_state(arena_word(message.hold.block)), SHMQ_STATE_FREE);
        check_nothing_left();
    }
}

static void a_message_held_from_the_victims_own_inbox_is_freed(void)
{
    struct shmq_message message;

    make();
    arena_send(&me, &inbox, 5);
    arena_hold(&victim, &inbox, 5, &message);
    die_and_leave_nothing();
}

static void a_message_that_the_victim_sent_to_itself_is_freed(void)
{
    make();
    arena_send(&victim, &inbox, 5);
    die_and_leave_nothing();
}

/* ---- queues and names ------------------------------------------------------------------------------------ */

static const struct shmq_queue_spec spec = { SHMQ_KIND_WORK, SHMQ_POLICY_BLOCK, 10, "half", 0, 0 };

static void after_Q1_the_record_is_free_again(void)
{
    struct shmq_queue *queue;

    make();
    queue = &arena.map.queue[4];
    CHECK(!(queue->flags & SHMQ_QUEUE_USED));
    queue->flags = shmq_flags_word(shmq_flags_epoch(queue->flags) + 1, VICTIM, SHMQ_QUEUE_USED);
    die();
    CHECK_EQUAL(queue->flags, shmq_flags_word(2, 0, 0));
    check_nothing_left();
}

static void after_Q1_SLOT_the_record_is_free_and_the_next_queue_there_is_sound(void)
{
    struct shmq_queue_ref half;
    uint32_t qid, epoch;

    make();
    CHECK_EQUAL(shmq_names_build(&victim, &spec, &qid, &epoch), SHMQ_OK);
    for (uint32_t i = 0; i < 64; i++)
        shmq_map_slots(&arena.map, qid)[i] = shmq_slot_empty(i < 20 ? 2 : 0);
    die();
    arena_open(&me, "half", 10, &half);
    CHECK_EQUAL(half.qid, qid);
    for (uint32_t i = 0; i < 100; i++) {
        arena_send(&me, &half, i);
        arena_receive(&me, &half, i);
    }
    check_nothing_left();
}

static void after_N1_dir_is_settled_and_the_name_is_free(void)
{
    struct shmq_queue_ref half;
    uint32_t qid, epoch;

    make();
    CHECK_EQUAL(shmq_names_build(&victim, &spec, &qid, &epoch), SHMQ_OK);
    arena.map.header->dir = shmq_dir_word(shmq_dir_version(arena.map.header->dir) + 1, qid + 1);
    die();
    CHECK_EQUAL(shmq_dir_queue(arena.map.header->dir), 0);
    arena_open(&me, "half", 10, &half);
    CHECK_EQUAL(half.epoch, epoch + 2);
    check_nothing_left();
}

static void after_Q2_the_queue_is_everybodys(void)
{
    struct shmq_queue_ref half;
    uint32_t qid, epoch;

    make();
    CHECK_EQUAL(shmq_names_build(&victim, &spec, &qid, &epoch), SHMQ_OK);
    arena.map.header->dir = shmq_dir_word(shmq_dir_version(arena.map.header->dir) + 1, qid + 1);
    shmq_queue_set_open(&arena.map, qid, arena.map.queue[qid].flags);
    die();
    arena_open(&me, "half", 10, &half);
    CHECK_EQUAL(half.epoch, epoch);
    check_nothing_left();
}

/* The victim's inbox with three messages, or a work queue that it deletes: closing, drained up to some point. */
static void closing(struct shmq_queue_ref *ref, bool work)
{
    make();
    *ref = work ? jobs : inbox;
    for (uint32_t label = 0; label < 3; label++)
        arena_send(&me, ref, label);
    CHECK_EQUAL(shmq_queue_begin_close(ref, work ? SHMQ_NO_OWNER : VICTIM, VICTIM), SHMQ_OK);
}

static void check_closed(const struct shmq_queue_ref *ref)
{
    die();
    CHECK_EQUAL(shmq_flags_epoch(ref->queue->flags), ref->epoch + 1);
    CHECK_EQUAL(shmq_flags_bits(ref->queue->flags), 0);
    check_nothing_left();
}

static void after_each_step_of_a_close_or_delete_the_queue_is_closed_to_its_end(void)
{
    for (int work = 0; work < 2; work++) {
        struct shmq_queue_ref ref;

        closing(&ref, work); /* QC1 */
        check_closed(&ref);
        closing(&ref, work); /* QC2 */
        set_word(block_in(&ref, 1), SHMQ_STATE_OWNED, ref.qid + 1, VICTIM);
        check_closed(&ref);
        closing(&ref, work); /* QC3 */
        set_word(block_in(&ref, 0), SHMQ_STATE_OWNED, ref.qid + 1, VICTIM);
        *slot_of(&ref, 0) = shmq_slot_empty(shmq_slot_lap(*slot_of(&ref, 0)) + 1);
        check_closed(&ref);
        closing(&ref, work); /* drained */
        shmq_queue_drain(&victim, ref.qid);
        check_closed(&ref);
        closing(&ref, work); /* QC4 */
        shmq_queue_drain(&victim, ref.qid);
        shmq_queue_free_record(&arena.map, ref.qid, ref.epoch);
        check_closed(&ref);
    }
}

static void a_delete_half_done_frees_what_was_requeued(void)
{
    struct shmq_message message;

    make();
    arena_send(&me, &jobs, 5);
    arena_hold(&victim, &jobs, 5, &message);
    die();
    CHECK_EQUAL(shmq_block_state(arena_word(message.hold.block)), SHMQ_STATE_REQUEUE);
    arena_enter(&victim, VICTIM);
    CHECK_EQUAL(shmq_queue_begin_close(&jobs, SHMQ_NO_OWNER, VICTIM), SHMQ_OK);
    die();
    CHECK_EQUAL(shmq_block_state(arena_word(message.hold.block)), SHMQ_STATE_FREE);
    check_nothing_left();
}

static void a_queue_whose_bits_are_as_after_a_death_is_closed_whatever_they_are(void)
{
    for (uint32_t bits = 0; bits < 512; bits++) {
        make();
        arena.map.queue[5].flags = shmq_flags_word(7, VICTIM, bits);
        die();
        if (bits & SHMQ_QUEUE_USED)
            CHECK_EQUAL(arena.map.queue[5].flags, shmq_flags_word(8, 0, 0));
    }
}

static const struct check_test tests[] = {
    CHECK_TEST(after_A1_and_after_F1_a_block_owned_without_its_bit_is_free),
    CHECK_TEST(after_A2_a_block_owned_with_its_bit_is_freed),
    CHECK_TEST(after_A1_of_a_batch_some_with_and_some_without_their_bits_are_freed),
    CHECK_TEST(after_SPM_the_unit_is_freed_whole),
    CHECK_TEST(after_SP1_and_after_M1_a_unit_owned_over_an_active_word_is_split),
    CHECK_TEST(after_SP1_blocks_that_others_already_have_of_the_unit_stay_theirs),
    CHECK_TEST(after_SP2_the_split_unit_is_left_to_all),
    CHECK_TEST(after_M2_the_merged_unit_is_freed),
    CHECK_TEST(after_F0_and_after_an_acknowledgement_the_block_is_freed_and_delivered_to_nobody),
    CHECK_TEST(what_was_cached_is_freed_and_no_longer_shown),
    CHECK_TEST(after_S1_a_message_in_no_ring_is_freed),
    CHECK_TEST(after_S1_an_older_slot_of_the_same_block_is_not_taken_for_the_post),
    CHECK_TEST(after_S2_the_message_is_delivered_though_the_tail_hint_lags),
    CHECK_TEST(after_S2_others_messages_before_and_behind_keep_their_order),
    CHECK_TEST(after_S2_a_sleeper_that_was_not_woken_yet_is_woken_by_the_closer),
    CHECK_TEST(a_block_held_from_another_processs_inbox_is_freed_and_its_slot_settled),
    CHECK_TEST(after_S2_BACK_the_block_is_freed),
    CHECK_TEST(after_S3_BACK_the_block_is_freed_and_its_slot_is_stale),
    CHECK_TEST(after_S3_BACK_from_a_queue_that_was_shut_down_nothing_is_delivered_to_it),
    CHECK_TEST(a_message_posted_into_a_queue_that_closed_meanwhile_is_freed),
    CHECK_TEST(after_S1_of_a_forward_the_message_goes_back_to_the_queue_it_came_from),
    CHECK_TEST(after_S3_BACK_of_a_forward_the_message_goes_back_and_its_slot_is_stale),
    CHECK_TEST(after_S2_of_a_forward_the_message_is_where_it_was_forwarded_to),
    CHECK_TEST(a_forward_into_a_queue_that_closed_goes_back_to_the_queue_it_came_from),
    CHECK_TEST(after_S1_of_a_forward_whose_own_queue_was_deleted_the_message_is_freed),
    CHECK_TEST(after_R1_the_slot_is_settled_and_the_message_redelivered),
    CHECK_TEST(after_R2_the_message_is_redelivered),
    CHECK_TEST(after_RQ1_the_message_is_redelivered_again),
    CHECK_TEST(after_RQ2_the_block_is_freed),
    CHECK_TEST(a_held_message_of_a_queue_that_is_closing_or_another_by_now_is_freed),
    CHECK_TEST(a_message_held_from_the_victims_own_inbox_is_freed),
    CHECK_TEST(a_message_that_the_victim_sent_to_itself_is_freed),
    CHECK_TEST(after_Q1_the_record_is_free_again),
    CHECK_TEST(after_Q1_SLOT_the_record_is_free_and_the_next_queue_there_is_sound),
    CHECK_TEST(after_N1_dir_is_settled_and_the_name_is_free),
    CHECK_TEST(after_Q2_the_queue_is_everybodys),
    CHECK_TEST(after_each_step_of_a_close_or_delete_the_queue_is_closed_to_its_end),
    CHECK_TEST(a_delete_half_done_frees_what_was_requeued),
    CHECK_TEST(a_queue_whose_bits_are_as_after_a_death_is_closed_whatever_they_are),
};

ARENA_MAIN(tests)
