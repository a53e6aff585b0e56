/* SPDX-License-Identifier: MIT */
/* close(i) of a process that died after each step: its memory is put into the state that the step leaves, another
 * process closes for it, and nothing may be left. The closer's own death after each of its writes comes last.
 */
#include "counted.h"

#include "arena.h"

#define SURVIVOR 1u
#define VICTIM 2u

static struct shmq_actor me, victim;
static struct shmq_queue_ref jobs, inbox; /* a work queue; the victim's inbox */

static void make_sized(uint32_t granules)
{
    arena_make(9, granules, 3, 4);
    arena_enter(&me, SURVIVOR);
    arena_enter(&victim, VICTIM);
    arena_open(&me, "jobs", 20, &jobs);
    CHECK_EQUAL(shmq_queue_delete(&me, &jobs), SHMQ_OK);
    arena_open(&me, "jobs", 20, &jobs); /* an epoch of its own: no other queue's fits by chance */
    CHECK_EQUAL(shmq_queue_open_inbox(&victim, "victim", 10, &inbox), SHMQ_OK);
}

static void make(void) { make_sized(2048); }

/* The survivor goes too, and with it every queue: the region is as new. */
static void check_nothing_left(void)
{
    for (uint32_t qid = 0; qid < arena.map.geometry.queues; qid++) {
        uint64_t flags = arena.map.queue[qid].flags;
        struct shmq_queue_ref ref;

        if (!(flags & SHMQ_QUEUE_OPEN) || shmq_flags_owner(flags) != SHMQ_NO_OWNER)
            continue;
        CHECK_EQUAL(shmq_queue_ref_init(&arena.map, qid, shmq_flags_epoch(flags), &ref), SHMQ_OK);
        CHECK_EQUAL(shmq_queue_delete(&me, &ref), SHMQ_OK);
    }
    arena_close(SURVIVOR);
    arena_check_all_free();
    arena_check_no_queues();
    arena_check_no_processes();
}

static void die(void)
{
    uint32_t epoch = shmq_process_epoch(arena.map.process[VICTIM].state);

    arena_close(VICTIM);
    CHECK_EQUAL(arena.map.process[VICTIM].state, shmq_process_word(epoch + 1, SHMQ_PROCESS_FREE));
}

static void die_and_leave_nothing(void)
{
    die();
    arena_nothing(&me, &jobs, SHMQ_EMPTY);
    check_nothing_left();
}

/* The victim dies; its message is the next worker's. */
static void die_and_redeliver(uint32_t label)
{
    struct shmq_message message;

    die();
    arena_hold(&me, &jobs, label, &message);
    CHECK_EQUAL(message.deliveries, 1);
    CHECK_EQUAL(shmq_release(&me, &message.hold), SHMQ_OK);
    arena_nothing(&me, &jobs, SHMQ_EMPTY);
    check_nothing_left();
}

static void die_and_deliver(uint32_t label)
{
    die();
    arena_receive(&me, &jobs, label);
    arena_nothing(&me, &jobs, SHMQ_EMPTY);
    check_nothing_left();
}

static uint32_t alloc(uint32_t order)
{
    uint32_t block;

    CHECK_EQUAL(shmq_buddy_alloc(&victim, order, &block), SHMQ_OK);
    return block;
}

static void set_word(uint32_t block, enum shmq_state state, uint32_t queue, uint32_t owner)
{
    uint64_t word = arena_word(block);

    arena.map.block[block].word = shmq_block_word(shmq_block_gen(word), shmq_block_order(word), state, queue, owner);
}

static uint64_t *slot_of(const struct shmq_queue_ref *ref, uint64_t number)
{
    return &ref->slots[(ref->base + number) % (1u << ref->capacity_shift)];
}

static uint32_t block_in(const struct shmq_queue_ref *ref, uint64_t number)
{
    CHECK(shmq_slot_value(*slot_of(ref, number)));
    return shmq_slot_value(*slot_of(ref, number)) - 1;
}

/* ---- allocate and free ----------------------------------------------------------------------------------- */

static void clear_bit(uint32_t block)
{
    struct shmq_node node = shmq_node_of(&arena.map, block, shmq_block_order(arena_word(block)));

    arena.map.word[node.tier][node.word] &= ~(1ull << node.bit);
}

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

/* The victim sends a message and dies after S2: it stands in the ring. */
static uint32_t posted(uint32_t label)
{
    uint64_t number = shmq_hint_position(jobs.queue->tail) - jobs.base;

    arena_send(&victim, &jobs, label);
    return block_in(&jobs, number);
}

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

/* The victim holds a message of jobs and forwards it to `ref`; it stands there in slot `number`. */
static uint32_t forwarded(const struct shmq_queue_ref *ref, uint64_t number)
{
    struct shmq_message message;

    arena_send(&me, &jobs, 9);
    arena_hold(&victim, &jobs, 9, &message);
    CHECK_EQUAL(shmq_forward(&victim, ref, &message), SHMQ_OK);
    return block_in(ref, number);
}

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

/* ---- the closer ------------------------------------------------------------------------------------------ */

static void a_closer_that_died_after_C3_REQUEUE_left_a_message_that_is_still_announced(void) /* [D13] */
{
    struct shmq_message message;
    uint64_t requeued;

    make();
    arena_send(&me, &jobs, 5);
    arena_hold(&victim, &jobs, 5, &message);
    requeued = jobs.queue->requeued;
    set_word(message.hold.block, SHMQ_STATE_REQUEUE, jobs.qid + 1, 0);
    die();
    CHECK_EQUAL(jobs.queue->requeued, requeued + 1);
    arena_receive(&me, &jobs, 5);
    check_nothing_left();
}

static void a_closer_that_died_after_C3_BACK_left_a_message_that_still_goes_where_it_came_from(void)
{
    struct shmq_queue_ref target;
    uint32_t block;

    make();
    arena_open(&me, "target", 10, &target);
    block = forwarded(&target, 0);
    *slot_of(&target, 0) = shmq_slot_empty(shmq_slot_lap(*slot_of(&target, 0)));
    set_word(block, SHMQ_STATE_OWNED, jobs.qid + 1, VICTIM);
    die_and_redeliver(9);
}

static void a_requeue_that_a_delete_has_missed_is_undone(void) /* [M3] */
{
    static struct shmq_closer closer;
    struct shmq_message message;

    make();
    arena_send(&me, &jobs, 5);
    arena_hold(&victim, &jobs, 5, &message);
    jobs.queue->flags = shmq_flags_word(jobs.epoch, SURVIVOR, SHMQ_QUEUE_USED | SHMQ_QUEUE_CLOSING);
    closer.as = &victim;
    shmq_closer_requeue(&closer, message.hold.block, message.hold.word, jobs.qid); /* judged before the delete began */
    CHECK_EQUAL(shmq_block_state(arena_word(message.hold.block)), SHMQ_STATE_FREE);
}

static void more_neighbours_than_a_closer_notes_at_once_are_all_judged(void)
{
    enum { COUNT = SHMQ_CLUSTERS * SHMQ_CLUSTER_BLOCKS + 100 };
    struct shmq_queue_ref deep;
    static uint8_t seen[COUNT];

    make_sized(2 * COUNT);
    arena_open(&me, "deep", COUNT, &deep);
    memset(seen, 0, sizeof seen);
    for (uint32_t i = 0; i < COUNT; i++)
        arena_send(&victim, &deep, i);
    for (uint32_t i = 0; i < COUNT; i += 2) {
        struct shmq_message message;

        arena_hold(&victim, &deep, i / 2, &message);
    }
    die();
    for (uint32_t i = 0; i < COUNT; i++) {
        struct shmq_message message;

        CHECK_EQUAL(shmq_receive(&me, &deep, &message), SHMQ_OK);
        CHECK_EQUAL(seen[message.label]++, 0);
        CHECK_EQUAL(message.deliveries, message.label < COUNT / 2);
        CHECK_EQUAL(shmq_release(&me, &message.hold), SHMQ_OK);
    }
    arena_nothing(&me, &deep, SHMQ_EMPTY);
    check_nothing_left();
}

/* A message that has a cluster to itself. */
static void send_large(const struct shmq_queue_ref *ref, uint32_t label)
{
    uint64_t bytes = SHMQ_CLUSTER_BLOCKS << arena.map.geometry.granule_shift;
    struct shmq_parcel parcel = { bytes, label };
    struct shmq_hold loan;

    CHECK_EQUAL(shmq_loan(&victim, bytes, &loan), SHMQ_OK);
    CHECK_EQUAL(shmq_send(&victim, ref, &loan, &parcel), SHMQ_OK);
}

static void more_clusters_than_a_closer_notes_at_once_are_all_judged(void)
{
    enum { COUNT = SHMQ_CLUSTERS + 10 };
    struct shmq_queue_ref deep;
    static uint32_t block[2 * COUNT];

    make_sized(4 * COUNT * SHMQ_CLUSTER_BLOCKS);
    arena_open(&me, "deep", 2 * COUNT, &deep);
    for (uint32_t i = 0; i < COUNT; i++) {
        send_large(&deep, 2 * i);
        arena_send(&me, &deep, 2 * i + 1);
    }
    die();
    for (uint32_t i = 0; i < 2 * COUNT; i++) {
        struct shmq_message message;

        arena_hold(&me, &deep, i, &message);
        block[i] = message.hold.block;
        CHECK_EQUAL(shmq_release(&me, &message.hold), SHMQ_OK);
    }
    CHECK(block[0] < block[1] && block[1] < block[2]); /* the survivor's lie between */
    arena_nothing(&me, &deep, SHMQ_EMPTY);
    check_nothing_left();
}

static void a_process_that_died_before_it_entered_is_nothing_to_close(void)
{
    uint64_t word;

    make();
    die();
    word = arena.map.process[VICTIM].state;
    shmq_name_store(arena.map.process[VICTIM].name, "half", SHMQ_P1);
    arena_close(VICTIM);
    CHECK_EQUAL(arena.map.process[VICTIM].state, word);
}

static void the_blocks_of_others_are_not_touched(void)
{
    struct shmq_message message;
    struct shmq_hold loan;

    make();
    CHECK_EQUAL(shmq_loan(&me, 1, &loan), SHMQ_OK);
    arena_send(&victim, &jobs, 1);
    arena_hold(&me, &jobs, 1, &message); /* sent by the victim, held by the survivor */
    arena_send(&me, &jobs, 2);
    die();
    CHECK_EQUAL(shmq_hold_check(&me, &loan), SHMQ_OK);
    CHECK_EQUAL(shmq_hold_check(&me, &message.hold), SHMQ_OK);
    arena_receive(&me, &jobs, 2);
    check_nothing_left();
}

static void a_close_that_keeps_pinned_blocks_gives_up_all_else(void)
{
    struct shmq_message message;
    struct shmq_hold loan;
    uint32_t kept[2];

    make();
    arena_send(&me, &jobs, 5);
    arena_hold(&victim, &jobs, 5, &message);
    CHECK_EQUAL(shmq_loan(&victim, 1, &loan), SHMQ_OK);
    alloc(3);
    arena_send(&me, &inbox, 6);
    kept[0] = message.hold.block < loan.block ? message.hold.block : loan.block;
    kept[1] = message.hold.block ^ loan.block ^ kept[0];
    shmq_close_except(&victim, kept, 2);
    CHECK_EQUAL(shmq_hold_check(&victim, &message.hold), SHMQ_OK);
    CHECK_EQUAL(shmq_hold_check(&victim, &loan), SHMQ_OK);
    for (uint32_t block = 0; block < 2048; block++)
        if (block != kept[0] && block != kept[1])
            CHECK_EQUAL(shmq_block_state(arena_word(block)), SHMQ_STATE_FREE);
    CHECK_EQUAL(shmq_flags_bits(inbox.queue->flags), 0);
    CHECK_EQUAL(shmq_process_state(arena.map.process[VICTIM].state), SHMQ_PROCESS_LIVE);
    die_and_redeliver(5);
}

/* Whoever damages the trees must not have a block given out that a view shows. */
static void a_kept_block_whose_bit_somebody_took_away_stays_its_owners(void)
{
    uint32_t kept;
    uint64_t word;

    make();
    kept = alloc(0);
    word = arena_word(kept);
    clear_bit(kept);
    shmq_close_except(&victim, &kept, 1);
    CHECK_EQUAL(arena_word(kept), word);
    die();
    CHECK_EQUAL(shmq_block_state(arena_word(kept)), SHMQ_STATE_FREE);
}

/* ---- closing again, from every half-way state ------------------------------------------------------------ */

/* A victim in the middle of everything at once. Labels 1 to 3 are to be delivered from jobs afterwards, no other. */
static void make_rich(void)
{
    static const struct shmq_queue_spec named = { SHMQ_KIND_WORK, SHMQ_POLICY_BLOCK, 10, "named", 0, 0 };
    struct shmq_queue_ref doomed, claimed;
    struct shmq_message message;
    uint32_t qid, epoch, unit;
    uint64_t slot, holder;

    make();
    arena_open(&me, "doomed", 5, &doomed);
    arena_open(&me, "claimed", 5, &claimed);
    clear_bit(alloc(0)); /* A1 or F1 */
    alloc(3);
    unit = alloc(5); /* SP1 or M1 */
    arena.map.split[0][0] |= 1ull << unit / 32;
    arena.map.word[0][unit / 32] = SHMQ_WORD_ACTIVE;
    arena_send(&me, &jobs, 1); /* R1: held, its slot not cleared */
    slot = *slot_of(&jobs, 0);
    arena_hold(&victim, &jobs, 1, &message);
    *slot_of(&jobs, 0) = slot;
    arena_send(&me, &jobs, 2); /* S1 of a forward to doomed, not posted */
    arena_hold(&victim, &jobs, 2, &message);
    CHECK_EQUAL(shmq_forward(&victim, &doomed, &message), SHMQ_OK);
    *slot_of(&doomed, 0) = shmq_slot_empty(shmq_slot_lap(*slot_of(&doomed, 0)));
    doomed.queue->tail = shmq_hint_word(doomed.epoch, doomed.base);
    posted(3);
    posted(4); /* S1: not posted */
    *slot_of(&jobs, 3) = shmq_slot_empty(shmq_slot_lap(*slot_of(&jobs, 3)));
    arena_send(&me, &inbox, 5);
    arena_send(&me, &inbox, 6);
    arena_hold(&victim, &inbox, 5, &message);
    arena_send(&me, &doomed, 7);
    CHECK_EQUAL(shmq_queue_claim(&victim, &claimed, false, SHMQ_POLICY_BLOCK, &holder), SHMQ_OK);
    CHECK_EQUAL(shmq_queue_begin_close(&doomed, SHMQ_NO_OWNER, VICTIM), SHMQ_OK);
    CHECK_EQUAL(shmq_names_build(&victim, &named, &qid, &epoch), SHMQ_OK); /* N1 */
    arena.map.header->dir = shmq_dir_word(shmq_dir_version(arena.map.header->dir) + 1, qid + 1);
}

static void close_victim(void) { arena_close(VICTIM); }

static void check_rich(void)
{
    uint8_t seen[8] = { 0 };

    CHECK_EQUAL(shmq_process_state(arena.map.process[VICTIM].state), SHMQ_PROCESS_FREE);
    for (int i = 0; i < 3; i++) {
        struct shmq_message message;

        CHECK_EQUAL(shmq_receive(&me, &jobs, &message), SHMQ_OK);
        CHECK(message.label >= 1 && message.label <= 3);
        CHECK_EQUAL(seen[message.label]++, 0);
        CHECK_EQUAL(shmq_release(&me, &message.hold), SHMQ_OK);
    }
    arena_nothing(&me, &jobs, SHMQ_EMPTY);
    check_nothing_left();
}

static void a_second_close_changes_nothing(void)
{
    uint64_t bytes;
    void *before;

    make_rich();
    close_victim();
    bytes = arena.map.geometry.reserve_size;
    before = malloc(bytes);
    CHECK(before != NULL);
    memcpy(before, arena.map.admin, bytes);
    close_victim();
    CHECK(memcmp(before, arena.map.admin, bytes) == 0);
    free(before);
    check_rich();
}

static void a_closer_may_die_after_any_write_and_the_next_one_completes(void)
{
    uint64_t kill = 1;

    for (bool survived = false; !survived; kill++) {
        make_rich();
        snprintf(check_context, sizeof check_context, "closer killed after write %u", (unsigned)kill);
        survived = counted_survives(close_victim, kill);
        close_victim();
        check_rich();
    }
    CHECK(kill > 30);
}

static void two_closers_may_die_after_any_two_writes_and_the_third_completes(void)
{
    bool first_survived = false;

    for (uint64_t first = 1; !first_survived; first++) {
        bool second_survived = false;

        for (uint64_t second = 1; !second_survived; second += 3) {
            make_rich();
            snprintf(check_context, sizeof check_context, "closers killed after writes %u and %u", (unsigned)first,
                (unsigned)second);
            first_survived = counted_survives(close_victim, first);
            second_survived = counted_survives(close_victim, second);
            close_victim();
            check_rich();
        }
    }
}

/* ---- a closer that is stopped, and everything done behind its back ----------------------------------------- */

#define WRITES_UP_TO_S_EPOCH 5u /* RQ1, R_COUNT, S_SENDER, S_FROM, S_EPOCH */

static struct shmq_actor worker;
static struct shmq_queue_ref next_stage;
static uint64_t stop_at; /* the access of the closer before which the others get their turn */

static void forward_what_is_requeued(void)
{
    struct shmq_message message;

    if (shmq_receive(&worker, &jobs, &message) == SHMQ_OK)
        CHECK_EQUAL(shmq_forward(&worker, &next_stage, &message), SHMQ_OK);
}

/* Worker 0 takes the requeued message and begins to forward it, but dies before S1: its close gives the message back,
 * with the same block word as before and other M words. */
static void take_and_die(void)
{
    counted_intruder = NULL;
    arena_enter(&worker, 0);
    counted_survives(forward_what_is_requeued, WRITES_UP_TO_S_EPOCH);
    arena_close(0);
}

static void intrude_once(void)
{
    if (counted_accesses == stop_at)
        take_and_die();
}

/* Let the closer of a process that holds nothing stop before each access in turn. */
static void a_message_that_comes_back_unchanged_behind_a_stopped_closer_is_not_freed(void)
{
    uint64_t accesses = UINT64_MAX;

    for (stop_at = 0; stop_at < accesses; stop_at++) {
        struct shmq_message message;

        make();
        arena_open(&me, "next stage", 20, &next_stage);
        arena_send(&me, &jobs, 1);
        arena_hold(&victim, &jobs, 1, &message);
        arena_close(VICTIM); /* REQUEUE */
        arena_enter(&victim, VICTIM);
        counted_allow(UINT64_MAX);
        counted_period = 1;
        counted_intruder = intrude_once;
        arena_close(VICTIM);
        accesses = counted_accesses;
        counted_intruder = NULL;
        arena_hold(&me, &jobs, 1, &message);
        CHECK_EQUAL(shmq_release(&me, &message.hold), SHMQ_OK);
        check_nothing_left();
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
    CHECK_TEST(a_closer_that_died_after_C3_REQUEUE_left_a_message_that_is_still_announced),
    CHECK_TEST(a_closer_that_died_after_C3_BACK_left_a_message_that_still_goes_where_it_came_from),
    CHECK_TEST(a_requeue_that_a_delete_has_missed_is_undone),
    CHECK_TEST(more_neighbours_than_a_closer_notes_at_once_are_all_judged),
    CHECK_TEST(more_clusters_than_a_closer_notes_at_once_are_all_judged),
    CHECK_TEST(a_process_that_died_before_it_entered_is_nothing_to_close),
    CHECK_TEST(the_blocks_of_others_are_not_touched),
    CHECK_TEST(a_close_that_keeps_pinned_blocks_gives_up_all_else),
    CHECK_TEST(a_kept_block_whose_bit_somebody_took_away_stays_its_owners),
    CHECK_TEST(a_second_close_changes_nothing),
    CHECK_TEST(a_closer_may_die_after_any_write_and_the_next_one_completes),
    CHECK_TEST(two_closers_may_die_after_any_two_writes_and_the_third_completes),
    CHECK_TEST(a_message_that_comes_back_unchanged_behind_a_stopped_closer_is_not_freed),
};

ARENA_MAIN(tests)
