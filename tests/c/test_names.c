/* SPDX-License-Identifier: MIT */
/* Queues by name: found, made, deleted, claimed; and dir helped on from every state a death can leave. */
#include "arena.h"

#define FIRST 3u /* named queues follow the three inboxes */

static struct shmq_actor me, other;

static void make(void)
{
    arena_make(9, 64, 3, 4);
    arena_enter(&me, 1);
    arena_enter(&other, 2);
}

static struct shmq_queue_spec spec_of(const char *name, uint32_t depth)
{
    struct shmq_queue_spec spec = { SHMQ_KIND_WORK, SHMQ_POLICY_BLOCK, depth, name, 0, 0 };

    return spec;
}

static int open_queue(const char *name, bool create, struct shmq_queue_ref *ref)
{
    struct shmq_queue_spec spec = spec_of(name, 10);

    return shmq_queue_open(&me, &spec, create, ref);
}

static uint64_t dir_word(void) { return arena.map.header->dir; }

static uint32_t used_records(void)
{
    uint32_t used = 0;

    for (uint32_t qid = 0; qid < arena.map.geometry.queues; qid++)
        used += (arena.map.queue[qid].flags & SHMQ_QUEUE_USED) != 0;
    return used;
}

/* ---- find, make, delete ---------------------------------------------------------------------------------- */

static void a_queue_that_is_not_there_is_not_found_and_not_made(void)
{
    struct shmq_queue_ref ref;

    make();
    CHECK_EQUAL(open_queue("jobs", false, &ref), SHMQ_NOT_FOUND);
    CHECK_EQUAL(used_records(), 0);
    CHECK_EQUAL(arena.reserves, 0);
}

static void a_queue_is_made_once_and_then_found_with_its_own_depth(void)
{
    struct shmq_queue_spec deeper = spec_of("jobs", 500);
    struct shmq_queue_ref first, second;

    make();
    CHECK_EQUAL(open_queue("jobs", true, &first), SHMQ_OK);
    CHECK_EQUAL(shmq_queue_open(&other, &deeper, true, &second), SHMQ_OK);
    CHECK_EQUAL(first.qid, FIRST);
    CHECK_EQUAL(second.qid, FIRST);
    CHECK_EQUAL(second.epoch, first.epoch);
    CHECK_EQUAL(second.depth, 10);
    CHECK_EQUAL(second.kind, SHMQ_KIND_WORK);
    CHECK_EQUAL(used_records(), 1);
    CHECK_EQUAL(arena.map.queue[FIRST].flags,
        shmq_flags_word(first.epoch, SHMQ_NO_OWNER, SHMQ_QUEUE_USED | SHMQ_QUEUE_OPEN));
    CHECK_EQUAL(shmq_dir_queue(dir_word()), 0);
    CHECK_EQUAL(shmq_dir_version(dir_word()), 2);
}

static void names_that_share_a_beginning_are_different_queues(void)
{
    char longest[SHMQ_NAME_MAX + 1] = { 0 };
    struct shmq_queue_ref a, b, c;

    make();
    memset(longest, 'a', SHMQ_NAME_MAX);
    arena_open(&me, "a", 1, &a);
    arena_open(&me, "aa", 1, &b);
    arena_open(&me, longest, 1, &c);
    CHECK(a.qid != b.qid && b.qid != c.qid && a.qid != c.qid);
    CHECK_EQUAL(open_queue(longest, false, &a), SHMQ_OK);
    CHECK_EQUAL(a.qid, c.qid);
    longest[SHMQ_NAME_MAX - 1] = 'b';
    CHECK_EQUAL(open_queue(longest, false, &a), SHMQ_NOT_FOUND);
}

static void a_deleted_queue_is_not_found_and_its_record_is_used_again_in_a_later_epoch(void)
{
    struct shmq_queue_ref first, second;

    make();
    arena_open(&me, "jobs", 10, &first);
    CHECK_EQUAL(shmq_queue_delete(&other, &first), SHMQ_OK);
    CHECK_EQUAL(open_queue("jobs", false, &second), SHMQ_NOT_FOUND);
    CHECK_EQUAL(shmq_queue_delete(&other, &first), SHMQ_CLOSED);
    arena_open(&me, "jobs", 20, &second);
    CHECK_EQUAL(second.qid, first.qid);
    CHECK_EQUAL(second.epoch, first.epoch + 2);
    CHECK_EQUAL(second.depth, 20);
    CHECK_EQUAL(shmq_queue_delete(&me, &first), SHMQ_CLOSED);
    CHECK_EQUAL(arena_try_send(&me, &first, 1), SHMQ_CLOSED);
    arena_nothing(&me, &first, SHMQ_CLOSED);
    arena_send(&me, &second, 1);
}

static void an_epoch_that_wraps_is_an_epoch_like_any_other(void)
{
    struct shmq_queue_ref ref;

    make();
    arena.map.queue[FIRST].flags = shmq_flags_word(UINT32_MAX, 0, 0);
    arena_open(&me, "jobs", 10, &ref);
    CHECK_EQUAL(ref.epoch, 0);
    arena_send(&me, &ref, 1);
    arena_receive(&me, &ref, 1);
}

static void when_every_record_is_in_use_no_queue_is_made_and_one_can_be_after_a_delete(void)
{
    static const char *const names[] = { "a", "b", "c", "d" };
    struct shmq_queue_ref refs[4], more;

    make();
    for (int i = 0; i < 4; i++)
        arena_open(&me, names[i], 1, &refs[i]);
    CHECK_EQUAL(open_queue("e", true, &more), SHMQ_NO_QUEUES);
    CHECK_EQUAL(open_queue("c", true, &more), SHMQ_OK);
    CHECK_EQUAL(shmq_queue_delete(&me, &refs[1]), SHMQ_OK);
    CHECK_EQUAL(open_queue("e", true, &more), SHMQ_OK);
    CHECK_EQUAL(more.qid, refs[1].qid);
}

static void where_no_memory_can_be_reserved_nothing_is_left_half_made(void)
{
    struct shmq_queue_ref ref;

    make();
    arena.refuse_reserve = true;
    CHECK_EQUAL(open_queue("jobs", true, &ref), SHMQ_NO_SPACE);
    CHECK_EQUAL(shmq_queue_open_inbox(&me, "me", 10, &ref), SHMQ_NO_SPACE);
    CHECK_EQUAL(used_records(), 0);
    CHECK_EQUAL(arena.map.queue[FIRST].place, 0);
    arena.refuse_reserve = false;
    CHECK_EQUAL(open_queue("jobs", true, &ref), SHMQ_OK);
}

static void slots_are_reserved_at_their_place_before_they_are_touched_and_only_when_more_are_needed(void)
{
    static const uint32_t depths[] = { 100, 1, 128, 129, 64 };
    static const uint32_t place[] = { 8, 8, 8, 9, 9 }, reserves[] = { 1, 1, 1, 2, 2 };
    struct shmq_queue_ref ref;

    make();
    for (int i = 0; i < 5; i++) {
        arena_open(&me, "jobs", depths[i], &ref);
        CHECK_EQUAL(arena.map.queue[ref.qid].place, place[i]);
        CHECK_EQUAL(arena.reserves, reserves[i]);
        CHECK_EQUAL(arena.reserved_at, shmq_slots_at(&arena.map, ref.qid));
        CHECK_EQUAL(arena.reserved_bytes, 8ull << (place[i] - 1));
        CHECK_EQUAL(shmq_queue_delete(&me, &ref), SHMQ_OK);
    }
}

static void a_new_incarnation_starts_two_laps_after_the_latest_slot_ever_reserved_there(void)
{
    struct shmq_queue_ref ref;

    make();
    arena_open(&me, "jobs", 300, &ref);
    ref.slots[400] = shmq_slot_word(77, 5, 3); /* a straggler's, beyond what the next incarnation uses */
    CHECK_EQUAL(shmq_queue_delete(&me, &ref), SHMQ_OK);
    CHECK_EQUAL(ref.slots[400], shmq_slot_empty(78)); /* stale: cleared by the drain */
    arena_open(&me, "jobs", 3, &ref);
    for (uint32_t i = 0; i < 512; i++)
        CHECK_EQUAL(ref.slots[i], shmq_slot_empty(80));
    CHECK_EQUAL(ref.base, 80 << 6);
}

static void slots_beyond_the_last_ring_do_not_hide_how_far_it_has_come(void)
{
    static const uint32_t laps[] = { 5, 0x7fffff, 0x800002, 0x800003, 0x900000, 0xfffffe, 0xffffff, 0 };

    for (size_t i = 0; i < ARENA_COUNT(laps); i++) {
        struct shmq_queue_ref ref;

        make();
        arena_open(&me, "jobs", 300, &ref); /* 512 slots, all of lap 2 */
        CHECK_EQUAL(shmq_queue_delete(&me, &ref), SHMQ_OK);
        arena_open(&me, "jobs", 3, &ref); /* a ring of 64; all slots of lap 4, of which those beyond stay there */
        for (uint32_t slot = 0; slot < 64; slot++)
            ref.slots[slot] = shmq_slot_empty(laps[i] + (slot < 7));
        CHECK_EQUAL(shmq_queue_delete(&me, &ref), SHMQ_OK);
        arena_open(&me, "jobs", 3, &ref);
        for (uint32_t slot = 0; slot < 512; slot++)
            CHECK_EQUAL(ref.slots[slot], shmq_slot_empty(laps[i] + 3));
    }
}

static void a_builder_that_died_before_its_slots_were_done_leaves_none_that_count_as_used(void)
{
    struct shmq_queue_ref ref;

    make();
    shmq_map_slots(&arena.map, FIRST)[5] = shmq_slot_empty(2); /* Q1_SLOT, but the place was not noted */
    arena_open(&me, "jobs", 3, &ref);
    for (uint32_t slot = 0; slot < 64; slot++)
        CHECK_EQUAL(ref.slots[slot], shmq_slot_empty(2));
    CHECK_EQUAL(ref.queue->place, 7);
}

static void a_stray_bit_on_a_free_record_does_not_keep_it_from_being_used(void)
{
    struct shmq_queue_ref ref;

    make();
    arena.map.queue[FIRST].flags |= SHMQ_QUEUE_SLEEP | SHMQ_QUEUE_SPACE; /* a waiter that left late */
    arena_open(&me, "jobs", 10, &ref);
    CHECK_EQUAL(ref.qid, FIRST);
}

static void a_new_queue_owes_nobody_what_an_earlier_one_had_requeued(void)
{
    struct shmq_queue_ref ref;

    make();
    arena.map.queue[FIRST].requeued = 9;
    arena.map.queue[FIRST].requeued_done = 7;
    arena.map.queue[FIRST].claim = shmq_claim_word(3, 0, 0);
    arena.map.queue[FIRST].dropped = 5;
    arena_open(&me, "jobs", 10, &ref);
    CHECK_EQUAL(ref.queue->requeued, 9); /* never reset */
    CHECK_EQUAL(ref.queue->requeued_done, 9);
    CHECK_EQUAL(ref.queue->claim, 0);
    CHECK_EQUAL(shmq_queue_dropped(&ref), 0);
}

static void a_spec_out_of_range_is_invalid_and_makes_nothing(void)
{
    char name[SHMQ_NAME_MAX + 2] = { 0 };
    struct shmq_queue_spec specs[5] = { spec_of("deep", 0), spec_of("deep", SHMQ_MAX_DEPTH + 1), spec_of(name, 10),
        spec_of("", 10), spec_of("a subscriber's", 10) };
    struct shmq_queue_ref ref;

    make();
    memset(name, 'n', SHMQ_NAME_MAX + 1);
    specs[4].kind = SHMQ_KIND_SUBSCRIBER; /* has no name: shmq_subscribe makes it */
    for (int i = 0; i < 5; i++)
        CHECK_EQUAL(shmq_queue_open(&me, &specs[i], true, &ref), SHMQ_INVALID);
    CHECK_EQUAL(shmq_queue_open_inbox(&me, "me", 0, &ref), SHMQ_INVALID);
    CHECK_EQUAL(shmq_queue_open_inbox(&me, "me", SHMQ_MAX_DEPTH + 1, &ref), SHMQ_INVALID);
    CHECK_EQUAL(used_records(), 0);
    CHECK_EQUAL(arena.reserves, 0);
}

/* ---- dir: from every state a death can leave ------------------------------------------------------------- */

/* A process built the queue in private (Q1) and died, or stopped. */
static uint32_t build(struct shmq_actor *actor, const char *name)
{
    struct shmq_queue_spec spec = spec_of(name, 10);
    uint32_t qid, epoch;

    CHECK_EQUAL(shmq_names_build(actor, &spec, &qid, &epoch), SHMQ_OK);
    return qid;
}

static void name_in_dir(uint32_t qid)
{
    arena.map.header->dir = shmq_dir_word(shmq_dir_version(dir_word()) + 1, qid + 1);
}

static void a_queue_built_but_not_named_is_not_found_and_another_is_made(void) /* after Q1 */
{
    struct shmq_queue_ref ref;

    make();
    CHECK_EQUAL(build(&other, "jobs"), FIRST);
    CHECK_EQUAL(open_queue("jobs", false, &ref), SHMQ_NOT_FOUND);
    CHECK_EQUAL(open_queue("jobs", true, &ref), SHMQ_OK);
    CHECK_EQUAL(ref.qid, FIRST + 1);
    arena_close(2); /* its maker was dead */
    CHECK_EQUAL(used_records(), 1);
}

static void a_queue_named_but_not_opened_is_opened_by_whoever_comes_next(void) /* after N1 [H3] */
{
    struct shmq_queue_ref ref;

    make();
    name_in_dir(build(&other, "jobs"));
    CHECK_EQUAL(open_queue("jobs", false, &ref), SHMQ_OK);
    CHECK_EQUAL(ref.qid, FIRST);
    CHECK_EQUAL(shmq_flags_owner(ref.queue->flags), SHMQ_NO_OWNER);
    CHECK_EQUAL(dir_word(), shmq_dir_word(2, 0));
    arena_close(2);
    CHECK_EQUAL(open_queue("jobs", false, &ref), SHMQ_OK); /* it outlives its maker */
}

static void a_queue_opened_but_not_settled_is_settled_by_whoever_comes_next(void) /* after Q2 */
{
    struct shmq_queue_ref ref;
    uint32_t qid;
    uint64_t flags;

    make();
    qid = build(&other, "jobs");
    name_in_dir(qid);
    shmq_queue_set_open(&arena.map, qid, arena.map.queue[qid].flags);
    flags = arena.map.queue[qid].flags;
    CHECK_EQUAL(open_queue("tasks", true, &ref), SHMQ_OK);
    CHECK_EQUAL(arena.map.queue[qid].flags, flags);
    CHECK_EQUAL(dir_word(), shmq_dir_word(4, 0));
}

static void someone_elses_pending_name_is_helped_before_ones_own_is_named(void)
{
    struct shmq_queue_ref ref;

    make();
    name_in_dir(build(&other, "jobs"));
    CHECK_EQUAL(open_queue("tasks", true, &ref), SHMQ_OK);
    CHECK_EQUAL(ref.qid, FIRST + 1);
    CHECK_EQUAL(open_queue("jobs", false, &ref), SHMQ_OK);
    CHECK_EQUAL(ref.qid, FIRST);
}

static void open_jobs_as_other(void)
{
    struct shmq_queue_ref ref;

    arena_open(&other, "jobs", 10, &ref);
}

static void two_makers_of_one_name_get_one_queue_and_the_later_ones_record_is_free_again(void)
{
    struct shmq_queue_ref ref;

    make();
    arena.while_reserving = open_jobs_as_other; /* after our Q1, before our N1 */
    CHECK_EQUAL(open_queue("jobs", true, &ref), SHMQ_OK);
    CHECK_EQUAL(ref.qid, FIRST + 1);
    CHECK_EQUAL(used_records(), 1);
    CHECK_EQUAL(arena.map.queue[FIRST].flags, shmq_flags_word(2, 0, 0));
}

static void name_half_made_jobs(void) { name_in_dir(build(&other, "jobs")); }

static void a_maker_that_meets_its_name_half_made_opens_that_one(void)
{
    struct shmq_queue_ref ref;

    make();
    arena.while_reserving = name_half_made_jobs;
    CHECK_EQUAL(open_queue("jobs", true, &ref), SHMQ_OK);
    CHECK_EQUAL(ref.qid, FIRST + 1);
    CHECK_EQUAL(used_records(), 1);
}

static void a_stray_sleep_bit_does_not_end_a_helpers_work(void) /* [H3] */
{
    uint32_t qid;
    uint64_t flags;

    make();
    qid = build(&other, "jobs");
    name_in_dir(qid);
    flags = arena.map.queue[qid].flags;
    arena.map.queue[qid].flags |= SHMQ_QUEUE_SLEEP; /* between the helper's read and its CAS */
    shmq_queue_set_open(&arena.map, qid, flags);
    CHECK(arena.map.queue[qid].flags & SHMQ_QUEUE_OPEN);
    CHECK(arena.map.queue[qid].flags & SHMQ_QUEUE_SLEEP);
}

static void a_helper_opens_nothing_that_is_closing_free_or_of_another_epoch(void)
{
    uint64_t before;
    uint32_t qid;

    make();
    qid = build(&other, "jobs");
    before = arena.map.queue[qid].flags;
    arena.map.queue[qid].flags = before | SHMQ_QUEUE_CLOSING;
    shmq_queue_set_open(&arena.map, qid, before);
    CHECK_EQUAL(arena.map.queue[qid].flags, before | SHMQ_QUEUE_CLOSING);
    arena.map.queue[qid].flags = shmq_flags_word(shmq_flags_epoch(before) + 1, 0, 0);
    shmq_queue_set_open(&arena.map, qid, before);
    CHECK_EQUAL(shmq_flags_bits(arena.map.queue[qid].flags), 0);
    arena.map.queue[qid].flags = shmq_flags_word(shmq_flags_epoch(before) + 1, 2, SHMQ_QUEUE_USED);
    shmq_queue_set_open(&arena.map, qid, before);
    CHECK_EQUAL(shmq_flags_bits(arena.map.queue[qid].flags), SHMQ_QUEUE_USED);
}

static void a_helper_with_an_outdated_dir_touches_nothing(void) /* N1_RECHECK */
{
    uint32_t qid;
    uint64_t flags;

    make();
    qid = build(&other, "jobs");
    flags = arena.map.queue[qid].flags;
    arena.map.header->dir = shmq_dir_word(9, 0);
    shmq_names_help(&arena.map, shmq_dir_word(8, qid + 1));
    CHECK_EQUAL(arena.map.queue[qid].flags, flags);
    CHECK_EQUAL(dir_word(), shmq_dir_word(9, 0));
}

static void a_helper_of_an_inbox_keeps_its_owner(void)
{
    struct shmq_queue_ref inbox;

    make();
    CHECK_EQUAL(shmq_queue_open_inbox(&me, "me", 10, &inbox), SHMQ_OK);
    CHECK_EQUAL(inbox.qid, 1);
    CHECK_EQUAL(shmq_flags_owner(inbox.queue->flags), 1);
    CHECK_EQUAL(shmq_queue_open_inbox(&me, "me", 10, &inbox), SHMQ_IN_USE);
}

static void a_dir_that_names_no_record_is_settled(void)
{
    struct shmq_queue_ref ref;

    make();
    arena.map.header->dir = shmq_dir_word(5, 0xffff);
    CHECK_EQUAL(open_queue("jobs", true, &ref), SHMQ_OK);
    CHECK_EQUAL(shmq_dir_queue(dir_word()), 0);
}

static void the_version_of_dir_wraps(void)
{
    struct shmq_queue_ref ref;

    make();
    arena.map.header->dir = shmq_dir_word((1ull << 48) - 1, 0);
    CHECK_EQUAL(open_queue("jobs", true, &ref), SHMQ_OK);
    CHECK_EQUAL(dir_word(), shmq_dir_word(1, 0));
}

static void a_record_is_never_freed_while_dir_names_it(void)
{
    struct shmq_queue_ref ref;
    uint32_t qid;

    make();
    arena_open(&me, "jobs", 10, &ref);
    name_in_dir(ref.qid); /* a helper stopped between Q2 and N2 */
    CHECK_EQUAL(shmq_queue_delete(&me, &ref), SHMQ_OK);
    CHECK_EQUAL(shmq_dir_queue(dir_word()), 0);
    qid = build(&other, "tasks");
    name_in_dir(qid);
    arena_close(2);
    CHECK_EQUAL(shmq_dir_queue(dir_word()), 0);
    arena_check_no_queues();
}

/* ---- handles --------------------------------------------------------------------------------------------- */

static void a_handle_is_not_made_from_impossible_words(void)
{
    struct shmq_queue_ref ref;
    struct shmq_queue saved, *queue;

    make();
    arena_open(&me, "jobs", 10, &ref);
    queue = ref.queue;
    saved = *queue;
    CHECK_EQUAL(shmq_queue_ref_init(&arena.map, ref.qid, ref.epoch + 1, &ref), SHMQ_CLOSED);
    ref.epoch = shmq_flags_epoch(saved.flags);
    for (uint32_t shift = 0; shift < 256; shift++) {
        int expected = shift == 6 ? SHMQ_OK : SHMQ_CORRUPT; /* no more slots than were reserved, no fewer than 64 */

        queue->config = shmq_config_word(SHMQ_KIND_WORK, shift, 0, 0);
        CHECK_EQUAL(shmq_queue_ref_init(&arena.map, ref.qid, ref.epoch, &ref), expected);
    }
    queue->config = shmq_config_word(SHMQ_KIND_NONE, 6, 0, 0);
    CHECK_EQUAL(shmq_queue_ref_init(&arena.map, ref.qid, ref.epoch, &ref), SHMQ_CORRUPT);
    queue->config = shmq_config_word((enum shmq_kind)200, 6, 0, 0);
    CHECK_EQUAL(shmq_queue_ref_init(&arena.map, ref.qid, ref.epoch, &ref), SHMQ_CORRUPT);
    queue->config = saved.config;
    queue->depth = 0;
    CHECK_EQUAL(shmq_queue_ref_init(&arena.map, ref.qid, ref.epoch, &ref), SHMQ_CORRUPT);
    queue->depth = 65;
    CHECK_EQUAL(shmq_queue_ref_init(&arena.map, ref.qid, ref.epoch, &ref), SHMQ_CORRUPT);
    queue->depth = UINT64_MAX;
    CHECK_EQUAL(shmq_queue_ref_init(&arena.map, ref.qid, ref.epoch, &ref), SHMQ_CORRUPT);
    queue->depth = 10;
    queue->place = UINT64_MAX;
    CHECK_EQUAL(shmq_place_slots(&arena.map, ref.qid), SHMQ_MAX_DEPTH);
    queue->place = 0;
    CHECK_EQUAL(shmq_queue_ref_init(&arena.map, ref.qid, ref.epoch, &ref), SHMQ_CORRUPT);
}

static void a_queue_is_described_as_it_is(void)
{
    struct shmq_queue_info info;
    struct shmq_queue_ref ref;
    uint64_t holder;

    make();
    CHECK(!shmq_queue_describe(&arena.map, FIRST, &info));
    arena_open(&me, "jobs", 10, &ref);
    CHECK_EQUAL(shmq_queue_claim(&me, &ref, false, SHMQ_POLICY_BLOCK, &holder), SHMQ_OK);
    arena_send(&me, &ref, 1);
    CHECK_EQUAL(shmq_queue_shut(&me, &ref), SHMQ_OK);
    CHECK(shmq_queue_describe(&arena.map, FIRST, &info));
    CHECK(strcmp(info.name, "jobs") == 0);
    CHECK_EQUAL(info.depth, 10);
    CHECK_EQUAL(info.count, 1);
    CHECK_EQUAL(info.claim, shmq_claim_word(me.epoch, ref.epoch, 1));
    CHECK(info.shut && !info.shared);
}

/* ---- claims ---------------------------------------------------------------------------------------------- */

static void an_exclusive_queue_has_one_receiver_at_a_time(void)
{
    struct shmq_queue_ref ref;
    uint64_t holder = 0;

    make();
    arena_open(&me, "jobs", 10, &ref);
    CHECK_EQUAL(shmq_queue_claim(&me, &ref, false, SHMQ_POLICY_BLOCK, &holder), SHMQ_OK);
    CHECK_EQUAL(shmq_queue_claim(&other, &ref, false, SHMQ_POLICY_BLOCK, &holder), SHMQ_IN_USE);
    CHECK_EQUAL(holder, shmq_claim_word(me.epoch, ref.epoch, 1));
    CHECK_EQUAL(shmq_queue_claim(&other, &ref, true, SHMQ_POLICY_BLOCK, &holder), SHMQ_MISMATCH);
    shmq_queue_unclaim(&other, &ref); /* not its own */
    CHECK_EQUAL(ref.queue->claim, shmq_claim_word(me.epoch, ref.epoch, 1));
    shmq_queue_unclaim(&me, &ref);
    CHECK_EQUAL(shmq_queue_claim(&other, &ref, false, SHMQ_POLICY_BLOCK, &holder), SHMQ_OK);
}

static void a_shared_queue_has_any_number_of_receivers_and_no_exclusive_one(void)
{
    struct shmq_queue_ref ref;
    uint64_t holder = 0;

    make();
    arena_open(&me, "jobs", 10, &ref);
    CHECK_EQUAL(shmq_queue_claim(&me, &ref, true, SHMQ_POLICY_BLOCK, &holder), SHMQ_OK);
    CHECK_EQUAL(shmq_queue_claim(&other, &ref, true, SHMQ_POLICY_BLOCK, &holder), SHMQ_OK);
    CHECK_EQUAL(shmq_queue_claim(&other, &ref, false, SHMQ_POLICY_BLOCK, &holder), SHMQ_MISMATCH);
    CHECK_EQUAL(ref.queue->claim, 0);
}

static void sharing_is_fixed_by_the_first_receiver_also_where_another_was_faster(void)
{
    struct shmq_queue_ref ref;

    make();
    arena_open(&me, "jobs", 10, &ref);
    CHECK_EQUAL(shmq_queue_fix_terms(&ref, false, SHMQ_POLICY_BLOCK), SHMQ_OK);
    CHECK_EQUAL(shmq_queue_fix_terms(&ref, true, SHMQ_POLICY_BLOCK), SHMQ_MISMATCH);
    CHECK_EQUAL(shmq_queue_fix_terms(&ref, false, SHMQ_POLICY_BLOCK), SHMQ_OK);
    CHECK_EQUAL(ref.queue->flags & (SHMQ_QUEUE_SHARED | SHMQ_QUEUE_EXCLUSIVE), SHMQ_QUEUE_EXCLUSIVE);
    ref.queue->flags &= ~(uint64_t)SHMQ_QUEUE_OPEN;
    CHECK_EQUAL(shmq_queue_fix_terms(&ref, false, SHMQ_POLICY_BLOCK), SHMQ_CLOSED);
}

static void the_claim_of_a_dead_receiver_is_free_and_a_later_incarnations_is_not(void)
{
    struct shmq_queue_ref ref;
    uint64_t holder;

    make();
    arena_open(&me, "jobs", 10, &ref);
    CHECK_EQUAL(shmq_queue_claim(&other, &ref, false, SHMQ_POLICY_BLOCK, &holder), SHMQ_OK);
    arena_close(2);
    CHECK_EQUAL(ref.queue->claim, 0);
    arena_enter(&other, 2);
    ref.queue->claim = shmq_claim_word(other.epoch + 1, ref.epoch, 2); /* not this epoch's */
    arena_close(2);
    CHECK_EQUAL(ref.queue->claim, shmq_claim_word(other.epoch + 1, ref.epoch, 2));
}

static void a_claim_through_an_outdated_handle_is_refused(void)
{
    struct shmq_queue_ref ref, again;
    uint64_t holder;

    make();
    arena_open(&me, "jobs", 10, &ref);
    CHECK_EQUAL(shmq_queue_delete(&me, &ref), SHMQ_OK);
    arena_open(&me, "jobs", 10, &again);
    CHECK_EQUAL(shmq_queue_claim(&me, &ref, false, SHMQ_POLICY_BLOCK, &holder), SHMQ_CLOSED);
    CHECK_EQUAL(again.queue->claim, 0);
    CHECK_EQUAL(again.queue->flags & SHMQ_QUEUE_EXCLUSIVE, 0);
}

static void a_claim_is_not_given_up_through_a_handle_on_an_earlier_incarnation(void)
{
    struct shmq_queue_ref earlier, ref;
    uint64_t holder;

    make();
    arena_open(&me, "jobs", 10, &earlier);
    CHECK_EQUAL(shmq_queue_claim(&me, &earlier, false, SHMQ_POLICY_BLOCK, &holder), SHMQ_OK);
    CHECK_EQUAL(shmq_queue_delete(&me, &earlier), SHMQ_OK);
    arena_open(&me, "jobs", 10, &ref);
    CHECK_EQUAL(shmq_queue_claim(&me, &ref, false, SHMQ_POLICY_BLOCK, &holder), SHMQ_OK);
    shmq_queue_unclaim(&me, &earlier);
    CHECK_EQUAL(shmq_queue_claim(&other, &ref, false, SHMQ_POLICY_BLOCK, &holder), SHMQ_IN_USE);
    arena_close(1);
    CHECK_EQUAL(ref.queue->claim, 0);
}

static void a_shut_queue_can_still_be_claimed_to_receive_what_is_left(void)
{
    struct shmq_queue_ref ref;
    uint64_t holder;

    make();
    arena_open(&me, "jobs", 10, &ref);
    arena_send(&me, &ref, 1);
    CHECK_EQUAL(shmq_queue_shut(&me, &ref), SHMQ_OK);
    CHECK_EQUAL(shmq_queue_shut(&me, &ref), SHMQ_OK);
    CHECK_EQUAL(shmq_queue_claim(&me, &ref, false, SHMQ_POLICY_BLOCK, &holder), SHMQ_OK);
    arena_receive(&me, &ref, 1);
    arena_nothing(&me, &ref, SHMQ_SHUT);
    CHECK_EQUAL(shmq_queue_delete(&me, &ref), SHMQ_OK);
    CHECK_EQUAL(shmq_queue_shut(&me, &ref), SHMQ_CLOSED);
}

static const struct check_test tests[] = {
    CHECK_TEST(a_queue_that_is_not_there_is_not_found_and_not_made),
    CHECK_TEST(a_queue_is_made_once_and_then_found_with_its_own_depth),
    CHECK_TEST(names_that_share_a_beginning_are_different_queues),
    CHECK_TEST(a_deleted_queue_is_not_found_and_its_record_is_used_again_in_a_later_epoch),
    CHECK_TEST(an_epoch_that_wraps_is_an_epoch_like_any_other),
    CHECK_TEST(when_every_record_is_in_use_no_queue_is_made_and_one_can_be_after_a_delete),
    CHECK_TEST(where_no_memory_can_be_reserved_nothing_is_left_half_made),
    CHECK_TEST(slots_are_reserved_at_their_place_before_they_are_touched_and_only_when_more_are_needed),
    CHECK_TEST(a_new_incarnation_starts_two_laps_after_the_latest_slot_ever_reserved_there),
    CHECK_TEST(slots_beyond_the_last_ring_do_not_hide_how_far_it_has_come),
    CHECK_TEST(a_builder_that_died_before_its_slots_were_done_leaves_none_that_count_as_used),
    CHECK_TEST(a_stray_bit_on_a_free_record_does_not_keep_it_from_being_used),
    CHECK_TEST(a_new_queue_owes_nobody_what_an_earlier_one_had_requeued),
    CHECK_TEST(a_spec_out_of_range_is_invalid_and_makes_nothing),
    CHECK_TEST(a_queue_built_but_not_named_is_not_found_and_another_is_made),
    CHECK_TEST(a_queue_named_but_not_opened_is_opened_by_whoever_comes_next),
    CHECK_TEST(a_queue_opened_but_not_settled_is_settled_by_whoever_comes_next),
    CHECK_TEST(someone_elses_pending_name_is_helped_before_ones_own_is_named),
    CHECK_TEST(two_makers_of_one_name_get_one_queue_and_the_later_ones_record_is_free_again),
    CHECK_TEST(a_maker_that_meets_its_name_half_made_opens_that_one),
    CHECK_TEST(a_stray_sleep_bit_does_not_end_a_helpers_work),
    CHECK_TEST(a_helper_opens_nothing_that_is_closing_free_or_of_another_epoch),
    CHECK_TEST(a_helper_with_an_outdated_dir_touches_nothing),
    CHECK_TEST(a_helper_of_an_inbox_keeps_its_owner),
    CHECK_TEST(a_dir_that_names_no_record_is_settled),
    CHECK_TEST(the_version_of_dir_wraps),
    CHECK_TEST(a_record_is_never_freed_while_dir_names_it),
    CHECK_TEST(a_handle_is_not_made_from_impossible_words),
    CHECK_TEST(a_queue_is_described_as_it_is),
    CHECK_TEST(an_exclusive_queue_has_one_receiver_at_a_time),
    CHECK_TEST(a_shared_queue_has_any_number_of_receivers_and_no_exclusive_one),
    CHECK_TEST(sharing_is_fixed_by_the_first_receiver_also_where_another_was_faster),
    CHECK_TEST(the_claim_of_a_dead_receiver_is_free_and_a_later_incarnations_is_not),
    CHECK_TEST(a_claim_through_an_outdated_handle_is_refused),
    CHECK_TEST(a_claim_is_not_given_up_through_a_handle_on_an_earlier_incarnation),
    CHECK_TEST(a_shut_queue_can_still_be_claimed_to_receive_what_is_left),
};

ARENA_MAIN(tests)
