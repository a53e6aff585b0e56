/* SPDX-License-Identifier: MIT */
/* The buddy system, the cache before it, and the scan of what can have been used. */
#include "arena.h"

/* Powers of two, odd tails at every tier, one to three tiers. */
static const uint32_t sizes[] = { 1, 2, 3, 17, 31, 32, 33, 48, 63, 64, 65, 100, 1023, 1024, 1025, 1056, 2047, 3000,
    32768, 32769, 33793, 50001 };

#define LARGEST 50001u

static uint8_t taken[LARGEST];

static struct shmq_actor me, other;

static void make(uint32_t granules)
{
    arena_make(9, granules, 4, 2);
    arena_enter(&me, 1);
    arena_enter(&other, 2);
    memset(taken, 0, sizeof taken);
}

/* Note a block just allocated: within the region, aligned, disjoint from all others. */
static void take(uint32_t block, uint32_t order)
{
    CHECK_EQUAL(block % (1u << order), 0);
    CHECK(block + (1u << order) <= arena.map.geometry.granules);
    for (uint32_t i = block; i < block + (1u << order); i++)
        CHECK_EQUAL(taken[i]++, 0);
}

static void untake(uint32_t block, uint32_t order) { memset(&taken[block], 0, 1u << order); }

static uint32_t alloc(struct shmq_actor *actor, uint32_t order)
{
    uint32_t block;

    CHECK_EQUAL(shmq_buddy_alloc(actor, order, &block), SHMQ_OK);
    take(block, order);
    CHECK_EQUAL(shmq_block_state(arena_word(block)), SHMQ_STATE_OWNED);
    CHECK_EQUAL(shmq_block_owner(arena_word(block)), actor->slot);
    CHECK_EQUAL(shmq_block_order(arena_word(block)), order);
    CHECK_EQUAL(arena_bit(block, order), 1);
    return block;
}

static void give_back(struct shmq_actor *actor, uint32_t block)
{
    untake(block, shmq_block_order(arena_word(block)));
    CHECK_EQUAL(shmq_buddy_free(actor, block), SHMQ_OK);
}

static void check_exhausted(uint32_t order)
{
    uint32_t block;

    CHECK_EQUAL(shmq_buddy_alloc(&me, order, &block), SHMQ_NO_BLOCKS);
}

/* ---- allocation ------------------------------------------------------------------------------------------ */

static void every_order_can_be_allocated_as_often_as_it_fits_and_freed(void)
{
    for (size_t i = 0; i < ARENA_COUNT(sizes); i++) {
        static uint32_t blocks[LARGEST];

        make(sizes[i]);
        for (uint32_t order = 0; order <= arena.map.geometry.max_order; order++) {
            uint32_t fit = sizes[i] >> order;

            for (uint32_t n = 0; n < fit; n++)
                blocks[n] = alloc(&me, order);
            check_exhausted(order);
            for (uint32_t n = 0; n < fit; n++)
                give_back(&me, blocks[n]);
            arena_check_all_free();
        }
    }
}

static void all_memory_is_usable_also_where_the_end_is_odd(void)
{
    for (size_t i = 0; i < ARENA_COUNT(sizes); i++) {
        uint32_t left = sizes[i];

        make(sizes[i]);
        for (int order = (int)arena.map.geometry.max_order; order >= 0; order--)
            if (left >> order & 1) {
                alloc(&me, (uint32_t)order);
                left -= 1u << order;
            }
        CHECK_EQUAL(left, 0);
        check_exhausted(0);
        arena_close(1);
        arena_check_all_free();
    }
}

static void an_order_that_no_block_has_is_invalid(void)
{
    uint32_t block;
    struct shmq_hold loan;

    make(100);
    CHECK_EQUAL(shmq_buddy_alloc(&me, 7, &block), SHMQ_INVALID);
    CHECK_EQUAL(shmq_buddy_alloc(&me, 31, &block), SHMQ_INVALID);
    CHECK_EQUAL(shmq_block_alloc(&me, 7, &block), SHMQ_INVALID);
    CHECK_EQUAL(shmq_loan(&me, (64 << 9) + 1, &loan), SHMQ_INVALID);
    CHECK_EQUAL(shmq_loan(&me, UINT64_MAX, &loan), SHMQ_INVALID);
    CHECK_EQUAL(shmq_loan(&me, 64 << 9, &loan), SHMQ_OK);
    CHECK_EQUAL(shmq_block_order(loan.word), 6);
}

static void splits_and_merges_return_to_the_initial_words(void)
{
    make(33793); /* three tiers, a tail in each */
    for (uint32_t order = 0; order <= arena.map.geometry.max_order; order++)
        give_back(&me, alloc(&me, order));
    arena_check_all_free();
    for (uint32_t tier = 0; tier + 1 < arena.map.geometry.tiers; tier++)
        CHECK_EQUAL(arena.map.word[tier][0], 0);
}

/* Any mix of orders by two processes, seeded, against a picture of what is taken. */
static void mix(uint32_t granules, uint64_t seed)
{
    uint32_t held[256];

    make(granules);
    memset(held, 0xff, sizeof held);
    for (int step = 0; step < 3000; step++) {
        uint32_t i = (uint32_t)(arena_random(&seed) % ARENA_COUNT(held));
        struct shmq_actor *actor = i % 2 ? &me : &other;
        uint32_t order = (uint32_t)(arena_random(&seed) % (arena.map.geometry.max_order + 1));

        if (held[i] != UINT32_MAX) {
            give_back(actor, held[i]);
            held[i] = UINT32_MAX;
        } else if (shmq_buddy_alloc(actor, order, &held[i]) == SHMQ_OK) {
            take(held[i], order);
        } else {
            held[i] = UINT32_MAX;
        }
    }
    for (uint32_t i = 0; i < ARENA_COUNT(held); i++)
        if (held[i] != UINT32_MAX)
            give_back(i % 2 ? &me : &other, held[i]);
    arena_check_all_free();
}

static void a_mix_of_orders_never_overlaps_and_leaves_nothing_behind(void)
{
    for (size_t i = 0; i < ARENA_COUNT(sizes); i++)
        for (uint64_t seed = 0; seed < 4; seed++)
            mix(sizes[i], seed);
}

static void a_generation_that_wraps_changes_no_other_field(void)
{
    uint32_t block;

    make(32);
    for (uint32_t i = 0; i < 32; i++)
        arena.map.block[i].word = shmq_block_word(0xffffff, 0, SHMQ_STATE_FREE, 0, 0);
    block = alloc(&me, 3);
    CHECK_EQUAL(shmq_block_gen(arena_word(block)), 0xffffff);
    give_back(&me, block);
    CHECK_EQUAL(arena_word(block), 0);
}

/* ---- what others may have left or be doing --------------------------------------------------------------- */

static void a_head_that_another_process_has_claimed_is_passed_over(void)
{
    make(32);
    arena.map.block[0].word = shmq_block_word(5, 0, SHMQ_STATE_OWNED, 0, 2); /* A1 done, A2 not */
    me.word_hint[0] = 0;
    CHECK_EQUAL(alloc(&me, 0), 1);
    CHECK_EQUAL(alloc(&me, 1), 2);
}

static void a_claim_is_dropped_where_its_node_was_taken_or_its_word_went_inactive_meanwhile(void)
{
    uint32_t heads[3] = { 0, 2, 4 }, bits[3] = { 32, 34, 36 };
    uint64_t mine = shmq_block_word(7, 0, SHMQ_STATE_OWNED, 0, 1);

    make(64);
    for (int i = 0; i < 3; i++)
        arena.map.block[heads[i]].word = mine;
    CHECK_EQUAL(shmq_word_prune(&me, SHMQ_WORD_ACTIVE | 1ull << 17, 3, heads, bits), 2); /* node 17: blocks 2 and 3 */
    CHECK_EQUAL(heads[0], 0);
    CHECK_EQUAL(heads[1], 4);
    CHECK_EQUAL(arena_word(2), shmq_block_word(8, 0, SHMQ_STATE_FREE, 0, 0));
    CHECK_EQUAL(arena_word(4), mine);
    CHECK_EQUAL(shmq_word_prune(&me, 0, 2, heads, bits), 0);
    CHECK_EQUAL(shmq_block_state(arena_word(0)), SHMQ_STATE_FREE);
}

static void a_merge_that_meets_a_word_in_use_gives_its_claim_back(void)
{
    uint32_t first;

    make(2048);
    me.word_hint[0] = 0;
    first = alloc(&me, 0);
    alloc(&me, 0);
    CHECK_EQUAL(first % 32, 0);
    give_back(&me, first); /* the unit's head is free, its word is not empty */
    shmq_buddy_try_merge(&me, 0, first / 32);
    CHECK_EQUAL(shmq_block_state(arena_word(first)), SHMQ_STATE_FREE);
    CHECK(arena.map.word[0][first / 32] & SHMQ_WORD_ACTIVE);
}

static void a_merge_leaves_a_unit_alone_whose_head_is_in_use(void)
{
    uint32_t block;
    uint64_t word;

    make(2048);
    block = alloc(&me, 0);
    word = arena_word(block);
    shmq_buddy_try_merge(&other, 0, block / 32);
    CHECK_EQUAL(arena_word(block), word);
}

static void the_word_that_a_process_allocates_from_is_not_merged_at_every_free(void)
{
    uint32_t block;

    make(2048);
    block = alloc(&me, 0);
    give_back(&me, block);
    CHECK_EQUAL(arena.map.word[0][block / 32], SHMQ_WORD_ACTIVE);
    block = alloc(&me, 0);
    untake(block, 0);
    me.word_hint[0] = block / 32 + 1;
    CHECK_EQUAL(shmq_buddy_free(&me, block), SHMQ_OK);
    CHECK_EQUAL(arena.map.word[0][block / 32], 0);
}

/* ---- wrong frees ----------------------------------------------------------------------------------------- */

static void a_block_whose_bit_is_cleared_behind_ones_back_is_quarantined_until_its_owner_dies(void)
{
    uint32_t block, next, all;

    make(64);
    block = alloc(&me, 0);
    arena.map.word[0][block / 32] &= ~(1ull << (32 + block % 32));
    CHECK_EQUAL(shmq_buddy_free(&me, block), SHMQ_CORRUPT);
    CHECK_EQUAL(me.corrupt, 1);
    CHECK_EQUAL(shmq_block_state(arena_word(block)), SHMQ_STATE_OWNED);
    for (all = 0; shmq_buddy_alloc(&other, 0, &next) == SHMQ_OK; all++)
        CHECK(next != block);
    CHECK_EQUAL(all, 63);
    arena_close(2);
    arena_close(1);
    arena_check_all_free();
}

static void what_is_not_this_processs_is_not_freed(void)
{
    uint32_t block;
    uint64_t word;

    make(64);
    block = alloc(&other, 2);
    word = arena_word(block);
    CHECK_EQUAL(shmq_buddy_free(&me, block), SHMQ_CORRUPT);
    CHECK_EQUAL(shmq_block_free(&me, block), SHMQ_CORRUPT);
    CHECK_EQUAL(arena_word(block), word);
    give_back(&other, block);
    CHECK_EQUAL(shmq_buddy_free(&other, block), SHMQ_CORRUPT); /* a second time */
    CHECK_EQUAL(me.corrupt, 2);
}

static void a_block_word_with_an_impossible_order_is_not_freed(void)
{
    uint32_t block, copy;

    make(64);
    alloc(&me, 0);
    block = copy = alloc(&me, 0);
    arena.map.block[block].word = shmq_block_word(1, 5, SHMQ_STATE_OWNED, 0, 1); /* block 1 is no multiple of 32 */
    CHECK_EQUAL(shmq_buddy_free(&me, block), SHMQ_CORRUPT);
    CHECK_EQUAL(shmq_block_free(&me, block), SHMQ_CORRUPT);
    CHECK_EQUAL(shmq_buddy_free_some(&me, &copy, 1), SHMQ_CORRUPT);
    arena.map.block[block].word = shmq_block_word(1, 31, SHMQ_STATE_OWNED, 0, 1);
    CHECK_EQUAL(shmq_buddy_free(&me, block), SHMQ_CORRUPT);
    CHECK_EQUAL(arena_bit(0, 0), 1);
}

static void a_held_message_becomes_plain_property_before_its_bit_is_cleared(void)
{
    uint32_t block;

    make(64);
    block = alloc(&me, 0);
    arena.map.block[block].word = shmq_block_word(3, 0, SHMQ_STATE_OWNED, 5, 1); /* held from queue 4 */
    arena.map.word[0][block / 32] &= ~(1ull << (32 + block % 32)); /* so that the free stops after F1 */
    CHECK_EQUAL(shmq_buddy_free(&me, block), SHMQ_CORRUPT);
    CHECK_EQUAL(arena_word(block), shmq_block_word(4, 0, SHMQ_STATE_OWNED, 0, 1));
}

/* ---- batches --------------------------------------------------------------------------------------------- */

static void a_batch_comes_from_one_word_and_is_as_large_as_that_word_allows(void)
{
    uint32_t heads[SHMQ_BATCH_MAX], count;

    make(64);
    me.word_hint[0] = 0;
    for (int i = 0; i < 3; i++) {
        CHECK_EQUAL(shmq_buddy_alloc_some(&me, 0, 8, heads, &count), SHMQ_OK);
        CHECK_EQUAL(count, 8);
        for (uint32_t n = 0; n < count; n++)
            take(heads[n], 0);
    }
    alloc(&me, 2);
    CHECK_EQUAL(shmq_buddy_alloc_some(&me, 0, SHMQ_BATCH_MAX, heads, &count), SHMQ_OK);
    CHECK_EQUAL(count, 4); /* what 24 and 4 left of the word's 32 */
    for (uint32_t n = 0; n < count; n++)
        take(heads[n], 0);
    CHECK_EQUAL(shmq_buddy_alloc_some(&me, 1, 3, heads, &count), SHMQ_OK);
    CHECK_EQUAL(count, 3);
}

static void a_batch_of_blocks_of_many_words_and_orders_is_freed_together(void)
{
    uint32_t blocks[SHMQ_CACHE_SLOTS];

    make(3000);
    for (uint32_t i = 0; i < SHMQ_CACHE_SLOTS; i++) {
        me.word_hint[0] = i * 5 % arena.map.geometry.word_count[0];
        blocks[i] = alloc(&me, i % 7);
    }
    CHECK_EQUAL(shmq_buddy_free_some(&me, blocks, SHMQ_CACHE_SLOTS), SHMQ_OK);
    arena_check_all_free();
}

static void a_batch_larger_than_a_group_is_freed_in_several(void)
{
    uint32_t blocks[SHMQ_UNITS]; /* all of one word */

    make(64);
    for (uint32_t i = 0; i < SHMQ_UNITS; i++)
        blocks[i] = alloc(&me, 0);
    CHECK(SHMQ_UNITS > SHMQ_CACHE_SLOTS);
    CHECK_EQUAL(shmq_buddy_free_some(&me, blocks, SHMQ_UNITS), SHMQ_OK);
    arena_check_all_free();
}

static void a_bad_block_in_a_batch_is_quarantined_alone(void)
{
    uint32_t blocks[4], bad;

    make(64);
    for (int i = 0; i < 4; i++)
        blocks[i] = alloc(&me, 0);
    bad = blocks[2];
    arena.map.word[0][bad / 32] &= ~(1ull << (32 + bad % 32));
    CHECK_EQUAL(shmq_buddy_free_some(&me, blocks, 4), SHMQ_CORRUPT);
    for (uint32_t block = 0; block < 64; block++)
        CHECK_EQUAL(shmq_block_state(arena_word(block)), block == bad ? SHMQ_STATE_OWNED : SHMQ_STATE_FREE);
}

/* ---- cache ----------------------------------------------------------------------------------------------- */

static uint32_t cached_alloc(uint32_t order)
{
    uint32_t block;

    CHECK_EQUAL(shmq_block_alloc(&me, order, &block), SHMQ_OK);
    return block;
}

static void the_cache_gives_out_last_what_came_in_first(void)
{
    uint32_t blocks[4];

    make(4096 * 8);
    for (int i = 0; i < 4; i++)
        blocks[i] = alloc(&me, 0);
    me.cache.limit = 64;
    for (int i = 0; i < 4; i++)
        CHECK_EQUAL(shmq_block_free(&me, blocks[i]), SHMQ_OK);
    CHECK_EQUAL(me.cache.count[0], 4);
    for (int i = 3; i >= 0; i--) {
        CHECK_EQUAL(shmq_block_state(arena_word(blocks[i])), SHMQ_STATE_OWNED);
        CHECK_EQUAL(cached_alloc(0), blocks[i]);
    }
    CHECK_EQUAL(me.cache.blocks, 0);
}

static void the_cache_keeps_16_small_4_middling_and_1_large_block_of_an_order(void)
{
    make(64);
    CHECK_EQUAL(shmq_cache_capacity(&arena.map, 0), 16);
    CHECK_EQUAL(shmq_cache_capacity(&arena.map, 6), 16); /* 32 KiB */
    CHECK_EQUAL(shmq_cache_capacity(&arena.map, 7), 4);
    CHECK_EQUAL(shmq_cache_capacity(&arena.map, 10), 4); /* 512 KiB */
    CHECK_EQUAL(shmq_cache_capacity(&arena.map, 11), 1);
    CHECK_EQUAL(shmq_cache_capacity(&arena.map, 27), 1);
}

static void a_large_block_is_kept_only_in_exchange_for_one_allocated(void)
{
    make(64);
    me.cache.limit = UINT32_MAX;
    CHECK(shmq_cache_has_room(&me, 10)); /* 512 KiB */
    CHECK(!shmq_cache_has_room(&me, 11));
    me.cache.lent = 1u << 11;
    CHECK(shmq_cache_has_room(&me, 11));
}

static void a_large_block_parked_with_a_receiver_goes_back_with_the_next(void)
{
    uint32_t first, second;

    make(8192);
    me.cache.limit = UINT32_MAX;
    CHECK_EQUAL(shmq_block_alloc(&me, 11, &first), SHMQ_OK);
    CHECK_EQUAL(shmq_block_alloc(&me, 11, &second), SHMQ_OK);
    CHECK_EQUAL(shmq_block_free(&me, first), SHMQ_OK);
    CHECK_EQUAL(me.cache.count[11], 1);
    CHECK_EQUAL(shmq_block_free(&me, second), SHMQ_OK);
    CHECK_EQUAL(me.cache.count[11], 0);
    CHECK_EQUAL(shmq_block_state(arena_word(first)), SHMQ_STATE_FREE);
    CHECK_EQUAL(shmq_block_state(arena_word(second)), SHMQ_STATE_FREE);
}

static void all_caches_together_hold_at_most_an_eighth_of_the_region(void)
{
    make(1024);
    shmq_cache_resize(&me);
    CHECK_EQUAL(me.cache.limit, 1024 / 8 / 2);
    make(3);
    shmq_cache_resize(&me);
    CHECK_EQUAL(me.cache.limit, 1);
}

static void a_full_cache_spills_its_older_half_and_never_exceeds_its_limit(void)
{
    uint32_t blocks[60];

    make(1024);
    me.cache.limit = 20;
    for (uint32_t order = 0; order < 3; order++) {
        for (uint32_t i = 0; i < 60; i++)
            blocks[i] = cached_alloc(order);
        for (uint32_t i = 0; i < 60; i++) {
            CHECK_EQUAL(shmq_block_free(&me, blocks[i]), SHMQ_OK);
            CHECK(me.cache.granules <= me.cache.limit);
            CHECK(me.cache.count[order] <= SHMQ_CACHE_SLOTS);
            CHECK_EQUAL(arena.map.process[1].cached, (uint64_t)me.cache.blocks << 32 | me.cache.granules);
        }
    }
    shmq_cache_flush(&me);
    CHECK_EQUAL(me.cache.blocks, 0);
    CHECK_EQUAL(me.cache.granules, 0);
    CHECK_EQUAL(arena.map.process[1].cached, 0);
    arena_check_all_free();
}

static void an_order_crowded_out_by_the_others_is_not_cached(void)
{
    uint32_t small[8], large;

    make(1024);
    for (int i = 0; i < 8; i++)
        small[i] = alloc(&me, 0);
    large = alloc(&me, 3);
    me.cache.limit = 8;
    for (int i = 0; i < 8; i++)
        CHECK_EQUAL(shmq_block_free(&me, small[i]), SHMQ_OK);
    CHECK_EQUAL(shmq_block_free(&me, large), SHMQ_OK);
    CHECK_EQUAL(me.cache.count[3], 0);
    CHECK_EQUAL(shmq_block_state(arena_word(large)), SHMQ_STATE_FREE);
}

static void a_refill_puts_the_neighbours_of_the_block_aside(void)
{
    uint32_t first;

    make(1024);
    me.cache.limit = 100;
    first = cached_alloc(0);
    CHECK_EQUAL(me.cache.count[0], SHMQ_BATCH_MAX - 1);
    for (uint32_t i = 1; i < SHMQ_BATCH_MAX; i++)
        CHECK_EQUAL(cached_alloc(0), first + i);
    me.cache.limit = 3;
    cached_alloc(0);
    CHECK_EQUAL(me.cache.count[0], 3);
}

static void a_free_feeds_those_who_wait_for_blocks(void)
{
    uint32_t block, spare;

    make(1024);
    me.cache.limit = 100;
    block = cached_alloc(0);
    spare = cached_alloc(0);
    arena.map.header->wanted = 1;
    CHECK_EQUAL(shmq_block_free(&me, block), SHMQ_OK);
    CHECK_EQUAL(arena.map.header->wanted, 0);
    CHECK_EQUAL(arena.map.header->wanted_seq, 1);
    CHECK_EQUAL(arena.wakes, 1);
    CHECK(arena.wake[0].seq == &arena.map.header->wanted_seq);
    CHECK_EQUAL(arena.wake[0].sleepers, SHMQ_ALL_SLEEPERS);
    CHECK_EQUAL(me.cache.blocks, 0);
    CHECK_EQUAL(shmq_block_free(&me, spare), SHMQ_OK);
    CHECK_EQUAL(arena.wakes, 1);
    shmq_cache_flush(&me);
    arena_check_all_free();
}

static void what_a_dead_process_had_cached_is_free_again(void)
{
    make(1024);
    me.cache.limit = 100;
    for (uint32_t order = 0; order < 6; order++)
        cached_alloc(order);
    CHECK(me.cache.blocks > 0);
    arena_close(1);
    arena_check_all_free();
}

/* ---- scan ------------------------------------------------------------------------------------------------ */

/* Straight from the definition: a set node of an active word all of whose ancestors are set nodes of active words. */
static bool in_use(uint32_t block, uint32_t *order)
{
    uint32_t top = arena.map.geometry.tiers - 1;

    for (uint32_t tier = top + 1; tier-- > 0;) {
        uint32_t levels = tier == top ? 6 : 5, unit = block >> 5 * tier;
        uint64_t tree = arena.map.word[tier][unit / SHMQ_UNITS];

        if (!(tree & SHMQ_WORD_ACTIVE))
            return false;
        for (uint32_t level = levels; level-- > 0;) {
            *order = 5 * tier + level;
            if (block % (1u << *order) == 0 && tree >> ((SHMQ_UNITS >> level) + (unit % SHMQ_UNITS >> level)) & 1)
                return true;
        }
        if (!(tree >> (SHMQ_UNITS + unit % SHMQ_UNITS) & 1))
            return false;
    }
    return false;
}

/* The scan visits every block in use, in order, none twice, and besides only heads of split units. */
static void check_scan(uint32_t from)
{
    struct shmq_scan scan;
    uint32_t block = from, next, order;

    shmq_scan_begin(&scan, &arena.map, from);
    do {
        next = shmq_scan_next(&scan);
        CHECK(next >= block);
        for (; block < next; block++)
            CHECK(!in_use(block, &order));
        if (next < arena.map.geometry.granules && !in_use(next, &order))
            CHECK_EQUAL(next % SHMQ_UNITS, 0);
        block++;
    } while (next < arena.map.geometry.granules);
    CHECK_EQUAL(next, arena.map.geometry.granules);
    CHECK_EQUAL(shmq_scan_next(&scan), arena.map.geometry.granules);
}

static void a_scan_visits_all_that_is_in_use_from_wherever_it_begins(void)
{
    for (size_t i = 0; i < ARENA_COUNT(sizes); i++) {
        uint64_t seed = i;
        uint32_t block;

        make(sizes[i]);
        check_scan(0);
        for (int n = 0; n < 12; n++) {
            uint32_t order = (uint32_t)(arena_random(&seed) % (arena.map.geometry.max_order + 1));

            me.word_hint[0] = (uint32_t)(arena_random(&seed) % arena.map.geometry.word_count[0]);
            (void)shmq_buddy_alloc(&me, order, &block);
            check_scan(0);
            check_scan((uint32_t)(arena_random(&seed) % arena.map.geometry.granules));
        }
        arena_close(1);
        check_scan(0);
    }
}

static uint32_t visited(void)
{
    struct shmq_scan scan;
    uint32_t count = 0;

    for (shmq_scan_begin(&scan, &arena.map, 0); shmq_scan_next(&scan) < arena.map.geometry.granules; count++)
        ;
    return count;
}

static void what_is_free_again_costs_a_scan_nothing(void)
{
    uint32_t block[64];

    make(1 << 15);
    CHECK_EQUAL(visited(), 0);
    for (uint32_t i = 0; i < 64; i++) {
        me.word_hint[0] = i * 16 % arena.map.geometry.word_count[0];
        CHECK_EQUAL(shmq_buddy_alloc(&me, 0, &block[i]), SHMQ_OK);
    }
    CHECK(visited() >= 64);
    for (uint32_t i = 0; i < 64; i++)
        CHECK_EQUAL(shmq_buddy_free(&me, block[i]), SHMQ_OK);
    shmq_buddy_merge(&me);
    CHECK_EQUAL(visited(), 0);
}

static void a_block_that_is_claimed_and_not_entered_is_found_in_the_word_that_was_told(void)
{
    uint64_t word;
    uint32_t unit = 0, block;

    make(1024);
    CHECK_EQUAL(shmq_buddy_alloc(&me, 0, &block), SHMQ_OK);
    CHECK_EQUAL(shmq_scan_unsettled(&arena.map, 1, &unit, &word), 1024);
    arena.map.word[0][block / 32] &= ~(1ull << (32 + block % 32)); /* as after A1 or F1 */
    unit = 0;
    CHECK_EQUAL(shmq_scan_unsettled(&arena.map, 1, &unit, &word), block);
    CHECK_EQUAL(word, arena_word(block));
    CHECK_EQUAL(unit, block % 32 + 1);
    CHECK_EQUAL(shmq_scan_unsettled(&arena.map, 1, &unit, &word), 1024);
    CHECK_EQUAL(shmq_unsettled(&arena.map, 1), 1);
    CHECK_EQUAL(shmq_unsettled(&arena.map, 2), 0);
    arena_close(1);
    arena_check_all_free();
}

static void a_told_word_that_cannot_be_leads_nowhere(void)
{
    static const uint64_t told[] = { ~0ull, 1ull << 32 | 1, 2ull << 32, 32, 0x7fffffffull << 32, 0xffffffff };
    uint64_t word;
    uint32_t block;

    make(1024);
    CHECK_EQUAL(shmq_buddy_alloc(&me, 0, &block), SHMQ_OK);
    for (size_t i = 0; i < ARENA_COUNT(told); i++) {
        uint32_t unit = 0;

        arena.map.process[1].buddy_word = told[i];
        CHECK_EQUAL(shmq_scan_unsettled(&arena.map, 1, &unit, &word), 1024);
    }
    arena_close(1);
    arena_check_all_free();
}

/* ---- the largest region ---------------------------------------------------------------------------------- */

static void the_largest_region_can_be_used_from_its_first_to_its_last_granule(void)
{
    uint32_t last = SHMQ_MAX_GRANULES - 1, largest, block;

    arena_make_huge(9, SHMQ_MAX_GRANULES, 2, 1);
    arena_enter(&me, 1);
    CHECK_EQUAL(arena.map.geometry.tiers, 6);
    CHECK_EQUAL(visited(), 5); /* heads of the units at its end, which are split for ever */
    CHECK_EQUAL(shmq_buddy_alloc(&me, 27, &largest), SHMQ_OK);
    CHECK_EQUAL(largest, 0);
    for (uint32_t order = 27; order-- > 0;) { /* 2^28 - 1 is one block of each order */
        CHECK_EQUAL(shmq_buddy_alloc(&me, order, &block), SHMQ_OK);
        CHECK_EQUAL(block % (1u << order), 0);
    }
    CHECK_EQUAL(block, last);
    CHECK_EQUAL(shmq_buddy_alloc(&me, 0, &block), SHMQ_NO_BLOCKS);
    CHECK_EQUAL(shmq_buddy_free(&me, largest), SHMQ_OK);
    CHECK_EQUAL(shmq_buddy_alloc(&me, 0, &block), SHMQ_OK);
    arena_close(1);
    CHECK_EQUAL(visited(), 5);
    CHECK_EQUAL(shmq_block_state(arena_word(largest)), SHMQ_STATE_FREE);
    CHECK_EQUAL(shmq_block_state(arena_word(last)), SHMQ_STATE_FREE);
}

static void a_message_of_the_last_granule_goes_through_a_slot_of_28_bits(void)
{
    uint32_t last = SHMQ_MAX_GRANULES - 1;
    struct shmq_hold loan = { last, 0 };
    struct shmq_parcel parcel = { 512, 4711 };
    struct shmq_queue_ref queue;
    struct shmq_message message;

    arena_make_huge(9, SHMQ_MAX_GRANULES, 2, 1);
    arena_enter(&me, 1);
    arena_open(&me, "far", 3, &queue);
    arena.map.word[0][last / 32] |= 1ull << (32 + last % 32);
    loan.word = arena.map.block[last].word = shmq_block_word(0xffffff, 0, SHMQ_STATE_OWNED, 0, 1);
    memset(shmq_payload(&arena.map, last), 'x', 512);
    CHECK_EQUAL(shmq_send(&me, &queue, &loan, &parcel), SHMQ_OK);
    arena_hold(&me, &queue, 4711, &message);
    CHECK_EQUAL(message.hold.block, last);
    CHECK_EQUAL(shmq_payload(&arena.map, message.hold.block)[511], 'x');
    CHECK_EQUAL(shmq_release(&me, &message.hold), SHMQ_OK);
    CHECK_EQUAL(shmq_block_state(arena_word(last)), SHMQ_STATE_FREE);
}

static const struct check_test tests[] = {
    CHECK_TEST(every_order_can_be_allocated_as_often_as_it_fits_and_freed),
    CHECK_TEST(all_memory_is_usable_also_where_the_end_is_odd),
    CHECK_TEST(an_order_that_no_block_has_is_invalid),
    CHECK_TEST(splits_and_merges_return_to_the_initial_words),
    CHECK_TEST(a_mix_of_orders_never_overlaps_and_leaves_nothing_behind),
    CHECK_TEST(a_generation_that_wraps_changes_no_other_field),
    CHECK_TEST(a_head_that_another_process_has_claimed_is_passed_over),
    CHECK_TEST(a_claim_is_dropped_where_its_node_was_taken_or_its_word_went_inactive_meanwhile),
    CHECK_TEST(a_merge_that_meets_a_word_in_use_gives_its_claim_back),
    CHECK_TEST(a_merge_leaves_a_unit_alone_whose_head_is_in_use),
    CHECK_TEST(the_word_that_a_process_allocates_from_is_not_merged_at_every_free),
    CHECK_TEST(a_block_whose_bit_is_cleared_behind_ones_back_is_quarantined_until_its_owner_dies),
    CHECK_TEST(what_is_not_this_processs_is_not_freed),
    CHECK_TEST(a_block_word_with_an_impossible_order_is_not_freed),
    CHECK_TEST(a_held_message_becomes_plain_property_before_its_bit_is_cleared),
    CHECK_TEST(a_batch_comes_from_one_word_and_is_as_large_as_that_word_allows),
    CHECK_TEST(a_batch_of_blocks_of_many_words_and_orders_is_freed_together),
    CHECK_TEST(a_batch_larger_than_a_group_is_freed_in_several),
    CHECK_TEST(a_bad_block_in_a_batch_is_quarantined_alone),
    CHECK_TEST(the_cache_gives_out_last_what_came_in_first),
    CHECK_TEST(the_cache_keeps_16_small_4_middling_and_1_large_block_of_an_order),
    CHECK_TEST(a_large_block_is_kept_only_in_exchange_for_one_allocated),
    CHECK_TEST(a_large_block_parked_with_a_receiver_goes_back_with_the_next),
    CHECK_TEST(all_caches_together_hold_at_most_an_eighth_of_the_region),
    CHECK_TEST(a_full_cache_spills_its_older_half_and_never_exceeds_its_limit),
    CHECK_TEST(an_order_crowded_out_by_the_others_is_not_cached),
    CHECK_TEST(a_refill_puts_the_neighbours_of_the_block_aside),
    CHECK_TEST(a_free_feeds_those_who_wait_for_blocks),
    CHECK_TEST(what_a_dead_process_had_cached_is_free_again),
    CHECK_TEST(a_scan_visits_all_that_is_in_use_from_wherever_it_begins),
    CHECK_TEST(what_is_free_again_costs_a_scan_nothing),
    CHECK_TEST(a_block_that_is_claimed_and_not_entered_is_found_in_the_word_that_was_told),
    CHECK_TEST(a_told_word_that_cannot_be_leads_nowhere),
    CHECK_TEST(the_largest_region_can_be_used_from_its_first_to_its_last_granule),
    CHECK_TEST(a_message_of_the_last_granule_goes_through_a_slot_of_28_bits),
};

ARENA_MAIN(tests)
