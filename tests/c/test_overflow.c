/* SPDX-License-Identifier: MIT */
/* Full queues: who waits, what is dropped, what is counted, and by whom it is decided. */
#include "arena.h"

static struct shmq_actor me, other;
static struct shmq_queue_ref jobs;

static void make(uint32_t depth, enum shmq_policy policy)
{
    uint64_t holder;

    arena_make(9, 64, 3, 3);
    arena_enter(&me, 1);
    arena_enter(&other, 2);
    arena_open(&me, "jobs", depth, &jobs);
    CHECK_EQUAL(shmq_queue_claim(&me, &jobs, true, policy, &holder), SHMQ_OK);
}

static int send(uint32_t label)
{
    struct shmq_parcel parcel = { 1, label };
    struct shmq_hold loan;
    int result;

    CHECK_EQUAL(shmq_loan(&other, 1, &loan), SHMQ_OK);
    result = shmq_send_or_drop(&other, &jobs, &loan, &parcel);
    if (result != SHMQ_OK)
        CHECK_EQUAL(shmq_release(&other, &loan), SHMQ_OK); /* it is still the caller's */
    return result;
}

static void end(void)
{
    shmq_queue_delete(&me, &jobs);
    arena_close(1);
    arena_close(2);
    arena_check_all_free();
    arena_check_no_queues();
}

static void each_policy_does_with_a_full_queue_as_it_says(void)
{
    static const enum shmq_policy policies[] = { SHMQ_POLICY_BLOCK, SHMQ_POLICY_DROP_OLDEST, SHMQ_POLICY_DROP_NEWEST };
    static const int results[] = { SHMQ_FULL, SHMQ_OK, SHMQ_DROPPED };

    for (uint32_t i = 0; i < ARENA_COUNT(policies); i++)
        for (uint32_t depth = 1; depth < 70; depth += 3) {
            uint32_t first = policies[i] == SHMQ_POLICY_DROP_OLDEST ? 5 : 0;

            make(depth > 40 ? 40 : depth, policies[i]);
            depth = (uint32_t)jobs.depth;
            for (uint32_t label = 0; label < depth; label++)
                CHECK_EQUAL(send(label), SHMQ_OK);
            for (uint32_t label = depth; label < depth + 5; label++)
                CHECK_EQUAL(send(label), results[i]);
            CHECK_EQUAL(shmq_queue_dropped(&jobs), i ? 5 : 0);
            for (uint32_t label = first; label < first + depth; label++)
                arena_receive(&me, &jobs, label);
            arena_nothing(&me, &jobs, SHMQ_EMPTY);
            end();
            if (depth == 40)
                break;
        }
}

static void the_first_receiver_fixes_the_policy_for_all(void)
{
    uint64_t holder;

    make(2, SHMQ_POLICY_DROP_OLDEST);
    CHECK_EQUAL(shmq_queue_claim(&other, &jobs, true, SHMQ_POLICY_DROP_OLDEST, &holder), SHMQ_OK);
    CHECK_EQUAL(shmq_queue_claim(&other, &jobs, true, SHMQ_POLICY_BLOCK, &holder), SHMQ_MISMATCH);
    CHECK_EQUAL(shmq_queue_claim(&other, &jobs, true, SHMQ_POLICY_DROP_NEWEST, &holder), SHMQ_MISMATCH);
    CHECK_EQUAL(shmq_queue_claim(&other, &jobs, false, SHMQ_POLICY_DROP_OLDEST, &holder), SHMQ_MISMATCH);
    end();
}

static void before_anybody_receives_a_full_queue_waits(void)
{
    arena_make(9, 64, 3, 3);
    arena_enter(&me, 1);
    arena_enter(&other, 2);
    arena_open(&me, "jobs", 1, &jobs);
    CHECK_EQUAL(send(0), SHMQ_OK);
    CHECK_EQUAL(send(1), SHMQ_FULL);
    CHECK_EQUAL(shmq_queue_dropped(&jobs), 0);
    end();
}

static void a_held_message_is_not_dropped(void)
{
    struct shmq_message held;

    make(1, SHMQ_POLICY_DROP_OLDEST);
    CHECK_EQUAL(send(0), SHMQ_OK);
    arena_hold(&me, &jobs, 0, &held);
    CHECK_EQUAL(send(1), SHMQ_OK);
    CHECK_EQUAL(shmq_queue_dropped(&jobs), 0);
    CHECK_EQUAL(shmq_hold_check(&me, &held.hold), SHMQ_OK);
    CHECK_EQUAL(shmq_release(&me, &held.hold), SHMQ_OK);
    arena_receive(&me, &jobs, 1);
    end();
}

static void a_queue_made_again_has_dropped_nothing(void)
{
    struct shmq_queue_ref old;
    uint64_t holder;

    make(1, SHMQ_POLICY_DROP_OLDEST);
    send(0);
    send(1);
    CHECK_EQUAL(shmq_queue_dropped(&jobs), 1);
    old = jobs;
    CHECK_EQUAL(shmq_queue_delete(&me, &jobs), SHMQ_OK);
    arena_open(&me, "jobs", 1, &jobs);
    CHECK_EQUAL(jobs.qid, old.qid);
    CHECK_EQUAL(shmq_queue_claim(&me, &jobs, true, SHMQ_POLICY_BLOCK, &holder), SHMQ_OK);
    shmq_queue_count_drop(&old); /* a sender that comes late */
    CHECK_EQUAL(shmq_queue_dropped(&jobs), 0);
    CHECK_EQUAL(shmq_queue_dropped(&old), 0);
    end();
}

static void a_queue_that_is_gone_or_shut_drops_nothing(void)
{
    make(1, SHMQ_POLICY_DROP_OLDEST);
    send(0);
    CHECK_EQUAL(shmq_queue_shut(&me, &jobs), SHMQ_OK);
    CHECK_EQUAL(send(1), SHMQ_SHUT);
    arena_receive(&me, &jobs, 0);
    CHECK_EQUAL(shmq_queue_delete(&me, &jobs), SHMQ_OK);
    CHECK_EQUAL(send(2), SHMQ_CLOSED);
    end();
}

/* Who dies with a dropped message in hand has not dropped it yet. */
static void a_message_that_a_dying_sender_was_dropping_comes_again(void)
{
    struct shmq_taken taken;
    struct shmq_message held;

    make(2, SHMQ_POLICY_DROP_OLDEST);
    send(0);
    send(1);
    CHECK_EQUAL(shmq_queue_take(&other, &jobs, SHMQ_TO_DROP, &taken), SHMQ_OK);
    arena_close(2);
    arena_hold(&me, &jobs, 0, &held);
    CHECK_EQUAL(held.deliveries, 1);
    CHECK_EQUAL(shmq_release(&me, &held.hold), SHMQ_OK);
    arena_receive(&me, &jobs, 1);
    end();
}

/* ---- no block is free ------------------------------------------------------------------------------------ */

/* Send messages of `bytes` until no block is free. How many. */
static uint32_t send_until_none_is_free(uint64_t bytes)
{
    struct shmq_hold loan;
    uint32_t count = 0;

    for (; shmq_loan(&other, bytes, &loan) == SHMQ_OK; count++) {
        struct shmq_parcel parcel = { bytes, count };

        CHECK_EQUAL(shmq_send_or_drop(&other, &jobs, &loan, &parcel), SHMQ_OK);
    }
    return count;
}

static void a_queue_that_drops_its_oldest_makes_room_for_blocks_too(void)
{
    uint32_t count, dropped = 0;
    struct shmq_hold loan;

    make(64, SHMQ_POLICY_DROP_OLDEST);
    count = send_until_none_is_free(2048);
    CHECK(count >= 12);
    CHECK(shmq_make_room(&other, &jobs));
    CHECK_EQUAL(shmq_loan(&other, 2048, &loan), SHMQ_OK);
    CHECK_EQUAL(shmq_release(&other, &loan), SHMQ_OK);
    CHECK_EQUAL(shmq_queue_dropped(&jobs), 1);
    while (shmq_loan(&other, 16384, &loan) == SHMQ_NO_BLOCKS) { /* as large as eight of them */
        CHECK(shmq_make_room(&other, &jobs));
        dropped++;
    }
    CHECK(dropped >= 7);
    CHECK_EQUAL(shmq_release(&other, &loan), SHMQ_OK);
    CHECK_EQUAL(shmq_queue_dropped(&jobs), 1 + dropped);
    for (uint32_t label = 1 + dropped; label < count; label++)
        arena_receive(&me, &jobs, label);
    CHECK(!shmq_make_room(&other, &jobs));
    CHECK_EQUAL(shmq_queue_dropped(&jobs), 1 + dropped);
    end();
}

static void no_other_queue_makes_room(void)
{
    static const enum shmq_policy policies[] = { SHMQ_POLICY_BLOCK, SHMQ_POLICY_DROP_NEWEST, SHMQ_POLICY_DROP_OLDEST };

    for (uint32_t i = 0; i < ARENA_COUNT(policies); i++) {
        struct shmq_queue_ref old;
        uint32_t count;

        make(64, policies[i]);
        old = jobs;
        count = send_until_none_is_free(2048);
        if (i == 2) /* what is queued is still received */
            CHECK_EQUAL(shmq_queue_shut(&me, &jobs), SHMQ_OK);
        CHECK(!shmq_make_room(&other, &jobs));
        CHECK_EQUAL(shmq_queue_dropped(&jobs), 0);
        CHECK_EQUAL(shmq_queue_count(&jobs), count);
        CHECK_EQUAL(shmq_queue_delete(&me, &jobs), SHMQ_OK);
        CHECK(!shmq_make_room(&other, &old));
        end();
    }
}

static const struct check_test tests[] = {
    CHECK_TEST(each_policy_does_with_a_full_queue_as_it_says),
    CHECK_TEST(the_first_receiver_fixes_the_policy_for_all),
    CHECK_TEST(before_anybody_receives_a_full_queue_waits),
    CHECK_TEST(a_held_message_is_not_dropped),
    CHECK_TEST(a_queue_made_again_has_dropped_nothing),
    CHECK_TEST(a_queue_that_is_gone_or_shut_drops_nothing),
    CHECK_TEST(a_message_that_a_dying_sender_was_dropping_comes_again),
    CHECK_TEST(a_queue_that_drops_its_oldest_makes_room_for_blocks_too),
    CHECK_TEST(no_other_queue_makes_room),
};

ARENA_MAIN(tests)
