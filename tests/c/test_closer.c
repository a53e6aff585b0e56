/* SPDX-License-Identifier: MIT */
/* close(i): who closes for a dead process may die after each of its writes, or be stopped before each access; and what
 * it touches, and how much of it.
 */
#include "victim.h"

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
static uint32_t send_large(struct shmq_actor *actor, const struct shmq_queue_ref *ref, uint32_t label)
{
    uint64_t bytes = SHMQ_CLUSTER_BLOCKS << arena.map.geometry.granule_shift;
    struct shmq_parcel parcel = { bytes, label };
    struct shmq_hold loan;

    CHECK_EQUAL(shmq_loan(actor, bytes, &loan), SHMQ_OK);
    CHECK_EQUAL(shmq_send(actor, ref, &loan, &parcel), SHMQ_OK);
    return loan.block;
}

static void more_clusters_than_a_closer_notes_at_once_are_all_judged(void)
{
    enum { COUNT = SHMQ_CLUSTERS + 10 };
    struct shmq_queue_ref deep;
    static uint32_t block[2 * COUNT];

    make_sized(4 * COUNT * SHMQ_CLUSTER_BLOCKS);
    arena_open(&me, "deep", 2 * COUNT, &deep);
    for (uint32_t i = 0; i < COUNT; i++) {
        send_large(&victim, &deep, 2 * i);
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

/* A posted block of a cluster that nothing is noted of says nothing about one in the same place of the next. */
static void a_slot_is_compared_with_no_block_of_another_cluster(void)
{
    struct shmq_queue_ref target;
    uint32_t theirs, mine;

    make();
    arena_open(&me, "target", 20, &target);
    arena_send(&victim, &target, 0);
    send_large(&me, &target, 1);
    theirs = send_large(&me, &target, 2);
    mine = send_large(&victim, &target, 3);
    CHECK(theirs < mine && theirs % SHMQ_CLUSTER_BLOCKS == mine % SHMQ_CLUSTER_BLOCKS);
    *slot_of(&target, 3) = shmq_slot_empty(shmq_slot_lap(*slot_of(&target, 3))); /* S1: not posted */
    target.queue->tail = shmq_hint_word(target.epoch, target.base);
    die();
    CHECK_EQUAL(shmq_block_state(arena_word(mine)), SHMQ_STATE_FREE);
    for (uint32_t label = 0; label < 3; label++)
        arena_receive(&me, &target, label);
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
    CHECK_TEST(a_closer_that_died_after_C3_REQUEUE_left_a_message_that_is_still_announced),
    CHECK_TEST(a_closer_that_died_after_C3_BACK_left_a_message_that_still_goes_where_it_came_from),
    CHECK_TEST(a_requeue_that_a_delete_has_missed_is_undone),
    CHECK_TEST(more_neighbours_than_a_closer_notes_at_once_are_all_judged),
    CHECK_TEST(more_clusters_than_a_closer_notes_at_once_are_all_judged),
    CHECK_TEST(a_slot_is_compared_with_no_block_of_another_cluster),
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
