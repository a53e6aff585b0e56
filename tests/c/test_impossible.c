/* SPDX-License-Identifier: MIT */
/* One impossible word each, at the one moment at which it once got further than to whoever read it. */
#include "fan.h"

static const uint32_t impossible_orders[] = { 9, 27, 28, 31 }; /* the region has 256 granules */

static void give_order(uint32_t block, uint32_t order)
{
    arena.map.block[block].word &= ~(31ull << 35);
    arena.map.block[block].word |= (uint64_t)order << 35;
}

/* ann alone holds a message; then its block's order is overwritten. */
static void hold_with_order(uint32_t order, struct shmq_message *message)
{
    make();
    subscribe(&ann, 2, SHMQ_POLICY_BLOCK, &to_ann);
    ann.cache.limit = 8;
    CHECK_EQUAL(publish(7), 1);
    arena_hold(&ann, &to_ann, 7, message);
    give_order(message->hold.block, order);
}

static void the_last_ticket_of_a_block_of_impossible_order_leaves_it_to_nobody(void)
{
    for (uint32_t i = 0; i < ARENA_COUNT(impossible_orders); i++) {
        struct shmq_message message;
        struct shmq_cache before;

        hold_with_order(impossible_orders[i], &message);
        before = ann.cache;
        CHECK_EQUAL(shmq_release(&ann, &message.hold), SHMQ_OK);
        CHECK(!memcmp(&before, &ann.cache, sizeof before)); /* it is indexed by order */
        CHECK_EQUAL(ann.corrupt, 1);
        CHECK_EQUAL(shmq_block_state(arena_word(message.hold.block)), SHMQ_STATE_FANOUT);
    }
}

static void a_held_block_of_impossible_order_cannot_be_taken_over_to_edit_it(void)
{
    for (uint32_t i = 0; i < ARENA_COUNT(impossible_orders); i++) {
        struct shmq_message message;

        hold_with_order(impossible_orders[i], &message);
        CHECK_EQUAL(shmq_edit(&ann, &message.hold), SHMQ_SHARED_BLOCK); /* copy it, then release */
        CHECK_EQUAL(ann.corrupt, 1);
        CHECK_EQUAL(shmq_release(&ann, &message.hold), SHMQ_OK);
        CHECK_EQUAL(shmq_block_state(arena_word(message.hold.block)), SHMQ_STATE_FANOUT);
    }
}

static void who_drops_the_last_ticket_of_a_block_of_impossible_order_leaves_it_to_nobody(void)
{
    make();
    subscribe(&ann, 2, SHMQ_POLICY_DROP_OLDEST, &to_ann);
    pub.cache.limit = 8;
    for (uint32_t i = 0; i < ARENA_COUNT(impossible_orders); i++) {
        struct shmq_publication publication;
        struct shmq_cache before;

        start(i, &publication);
        give_order(publication.block, impossible_orders[i]);
        before = pub.cache;
        shmq_publish_finish(&pub, &frames, &publication);
        CHECK(!memcmp(&before, &pub.cache, sizeof before));
        CHECK_EQUAL(pub.corrupt, i + 1);
    }
}

static const struct check_test tests[] = {
    CHECK_TEST(the_last_ticket_of_a_block_of_impossible_order_leaves_it_to_nobody),
    CHECK_TEST(a_held_block_of_impossible_order_cannot_be_taken_over_to_edit_it),
    CHECK_TEST(who_drops_the_last_ticket_of_a_block_of_impossible_order_leaves_it_to_nobody),
};

ARENA_MAIN(tests)
