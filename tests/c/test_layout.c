/* SPDX-License-Identifier: MIT */
/* Packed words, records' places, and the arithmetic on both. */
#include "arena.h"

/* ---- packed words ---------------------------------------------------------------------------------------- */

static void a_block_word_keeps_each_field_at_its_limits(void)
{
    for (uint32_t corner = 0; corner < 32; corner++) {
        uint32_t gen = corner & 1 ? 0xffffff : 0, order = corner & 2 ? 31 : 0, state = corner & 4 ? 7 : 0;
        uint32_t queue = corner & 8 ? 0xffff : 0, owner = corner & 16 ? 0xffff : 0;
        uint64_t word = shmq_block_word(gen, order, (enum shmq_state)state, queue, owner);

        CHECK_EQUAL(shmq_block_gen(word), gen);
        CHECK_EQUAL(shmq_block_order(word), order);
        CHECK_EQUAL(shmq_block_state(word), state);
        CHECK_EQUAL(shmq_block_queue(word), queue);
        CHECK_EQUAL(shmq_block_owner(word), owner);
    }
    CHECK_EQUAL(shmq_block_word(0, 0, SHMQ_STATE_FREE, 0, 0), 0);
}

static void a_generation_wraps_within_its_24_bits(void)
{
    uint64_t word = shmq_block_word(0x1000000, 31, SHMQ_STATE_QUEUED, 0xffff, 0xffff);

    CHECK_EQUAL(shmq_block_gen(word), 0);
    CHECK_EQUAL(shmq_block_order(word), 31);
}

static void a_slot_keeps_each_field_at_its_limits(void)
{
    for (uint32_t corner = 0; corner < 8; corner++) {
        uint32_t lap = corner & 1 ? 0xffffff : 0, gen = corner & 2 ? 0xfff : 0, value = corner & 4 ? 0xfffffff : 0;
        uint64_t word = shmq_slot_word(lap, gen, value);

        CHECK_EQUAL(shmq_slot_lap(word), lap);
        CHECK_EQUAL(shmq_slot_gen(word), gen);
        CHECK_EQUAL(shmq_slot_value(word), value);
    }
    CHECK_EQUAL(shmq_slot_word(0x1000001, 0x1002, 3), shmq_slot_word(1, 2, 3));
    CHECK(SHMQ_MAX_GRANULES <= 0xfffffff);
}

static void a_lap_is_compared_on_its_circle(void)
{
    CHECK_EQUAL(shmq_lap_distance(5, 5), 0);
    CHECK_EQUAL(shmq_lap_distance(0, 0xffffff), 1);
    CHECK_EQUAL(shmq_lap_distance(0xffffff, 0), -1);
    CHECK_EQUAL(shmq_lap_distance(0x7fffff, 0), 0x7fffff);
    CHECK_EQUAL(shmq_lap_distance(0x800000, 0), -0x800000);
    CHECK_EQUAL(shmq_lap_distance(3, 0xff000005), -2); /* bits above the 24 are of no account */
}

static void a_hint_keeps_epoch_and_position_at_their_limits(void)
{
    uint64_t word = shmq_hint_word(0xffff, (1ull << 48) - 1);

    CHECK_EQUAL(shmq_hint_epoch(word), 0xffff);
    CHECK_EQUAL(shmq_hint_position(word), (1ull << 48) - 1);
    CHECK_EQUAL(shmq_hint_word(0x12345678, 1ull << 48), shmq_hint_word(0x5678, 0));
}

static void flags_keep_epoch_owner_and_bits_at_their_limits(void)
{
    for (uint32_t corner = 0; corner < 8; corner++) {
        uint32_t epoch = corner & 1 ? UINT32_MAX : 0, owner = corner & 2 ? 0xffff : 0, bits = corner & 4 ? 0xffff : 0;
        uint64_t word = shmq_flags_word(epoch, owner, bits);

        CHECK_EQUAL(shmq_flags_epoch(word), epoch);
        CHECK_EQUAL(shmq_flags_owner(word), owner);
        CHECK_EQUAL(shmq_flags_bits(word), bits);
    }
}

static void the_other_words_keep_their_fields_at_their_limits(void)
{
    uint64_t config = shmq_config_word(SHMQ_KIND_SUBSCRIBER, 255, 0xfffe, 0xfffd);
    uint64_t dir = shmq_dir_word((1ull << 48) - 1, 0xffff), from = shmq_from_word(0x1ffff, 0xffff, UINT32_MAX);

    CHECK_EQUAL(shmq_config_kind(config), SHMQ_KIND_SUBSCRIBER);
    CHECK_EQUAL(shmq_config_capacity_shift(config), 255);
    CHECK_EQUAL(shmq_config_topic(config), 0xfffe);
    CHECK_EQUAL(shmq_config_index(config), 0xfffd);
    CHECK_EQUAL(shmq_dir_version(dir), (1ull << 48) - 1);
    CHECK_EQUAL(shmq_dir_queue(dir), 0xffff);
    CHECK_EQUAL(shmq_dir_word(1ull << 48, 7), shmq_dir_word(0, 7));
    CHECK_EQUAL(shmq_tag(from), 0xffff);
    CHECK_EQUAL(shmq_from_queue(from), 0xffff);
    CHECK_EQUAL(shmq_from_epoch(from), UINT32_MAX);
    CHECK_EQUAL(shmq_tag(shmq_epoch_word(0x1abcd, UINT32_MAX)), 0xabcd);
    CHECK_EQUAL((uint32_t)shmq_epoch_word(0x1abcd, UINT32_MAX), UINT32_MAX);
    CHECK_EQUAL(shmq_process_epoch(shmq_process_word(UINT32_MAX, SHMQ_PROCESS_DEAD)), UINT32_MAX);
    CHECK_EQUAL(shmq_process_state(shmq_process_word(UINT32_MAX, SHMQ_PROCESS_DEAD)), SHMQ_PROCESS_DEAD);
    CHECK(shmq_claim_word(0, 0, 0) != 0);
    CHECK_EQUAL(shmq_claim_word(UINT32_MAX, 0, SHMQ_MAX_PROCESSES - 1) >> 32, UINT32_MAX);
    CHECK_EQUAL(shmq_length_bytes(SHMQ_LENGTH_ENVELOPE | ((1ull << 48) - 1)), (1ull << 48) - 1);
}

static void a_name_of_any_length_is_stored_whole_and_a_longer_one_is_cut(void)
{
    uint64_t words[SHMQ_NAME_WORDS];
    char text[SHMQ_NAME_MAX + 11], back[SHMQ_NAME_WORDS * 8];

    for (uint32_t length = 0; length < sizeof text; length++) {
        uint32_t kept = length < SHMQ_NAME_MAX ? length : SHMQ_NAME_MAX;

        memset(text, 0, sizeof text);
        memset(text, 'n', length);
        memset(words, 0xff, sizeof words);
        shmq_name_store(words, text, SHMQ_P1);
        shmq_name_load(words, back);
        CHECK_EQUAL(strlen(back), kept);
        CHECK(memcmp(back, text, kept) == 0);
    }
    memset(words, 0xff, sizeof words); /* a corrupt one ends too */
    shmq_name_load(words, back);
    CHECK_EQUAL(strlen(back), SHMQ_NAME_MAX);
}

/* ---- geometry -------------------------------------------------------------------------------------------- */

/* The tables follow each other without overlap, aligned, and hold what they must. */
static void check_places(const struct shmq_geometry *g)
{
    uint64_t end = sizeof(struct shmq_header);

    CHECK(g->process_at >= end);
    CHECK_EQUAL(g->process_at % SHMQ_CACHE_LINE, 0);
    end = g->process_at + (uint64_t)g->max_processes * sizeof(struct shmq_process);
    CHECK(g->queue_at >= end);
    CHECK_EQUAL(g->queue_at % SHMQ_CACHE_LINE, 0);
    CHECK_EQUAL(g->queues, g->max_processes + g->max_queues);
    end = g->queue_at + (uint64_t)g->queues * sizeof(struct shmq_queue);
    CHECK(g->name_at >= end);
    end = g->name_at + (uint64_t)g->queues * sizeof(struct shmq_name);
    CHECK(g->topic_at >= end);
    end = g->topic_at + (uint64_t)g->max_topics * sizeof(struct shmq_topic);
    for (uint32_t tier = 0; tier < g->tiers; tier++) {
        CHECK(g->word_at[tier] >= end);
        CHECK_EQUAL(g->word_at[tier] % SHMQ_CACHE_LINE, 0);
        end = g->word_at[tier] + (uint64_t)g->word_count[tier] * 8;
        CHECK(g->split_at[tier] >= end);
        end = g->split_at[tier] + ((uint64_t)g->word_count[tier] + 63) / 64 * 8;
    }
    CHECK(g->block_at >= end);
    CHECK_EQUAL(g->block_at % sizeof(struct shmq_block), 0);
    CHECK(g->slot_at >= g->block_at + (uint64_t)g->granules * sizeof(struct shmq_block));
    CHECK_EQUAL(g->slot_at % SHMQ_PAGE, 0);
    CHECK_EQUAL(g->reserve_size, g->slot_at);
    CHECK_EQUAL(g->admin_size, g->slot_at + (uint64_t)g->queues * SHMQ_MAX_DEPTH * 8);
}

/* Every granule has a unit in every tier, no word is superfluous, and the largest block has a node. */
static void check_tiers(const struct shmq_geometry *g)
{
    CHECK(g->tiers >= 1 && g->tiers <= SHMQ_MAX_TIERS);
    CHECK(g->max_order < SHMQ_MAX_ORDERS);
    CHECK(1u << g->max_order <= g->granules && (uint64_t)g->granules < 2ull << g->max_order);
    CHECK(g->max_order <= 5 * g->tiers);
    CHECK(g->tiers == 1 || g->max_order > 5 * (g->tiers - 1));
    for (uint32_t tier = 0; tier < g->tiers; tier++) {
        uint64_t covers = 1ull << 5 * (tier + 1);

        CHECK(g->word_count[tier] * covers >= g->granules);
        CHECK((g->word_count[tier] - 1) * covers < g->granules);
    }
}

static void check_geometry(uint32_t shift, uint64_t granules, uint32_t processes, uint32_t queues)
{
    struct shmq_geometry g;

    CHECK_EQUAL(shmq_geometry_init(&g, shift, granules, processes, queues), SHMQ_OK);
    CHECK_EQUAL(g.granules, granules);
    CHECK_EQUAL(g.data_size, granules << shift);
    check_places(&g);
    check_tiers(&g);
}

static void nothing_overlaps_in_any_region_that_can_be_asked_for(void)
{
    for (uint32_t shift = SHMQ_MIN_GRANULE_SHIFT; shift <= SHMQ_MAX_GRANULE_SHIFT; shift++)
        for (uint32_t power = 0; power <= 28; power++)
            for (int64_t near = -33; near <= 33; near++) {
                int64_t granules = (1ll << power) + near;

                if (granules < 1 || granules > SHMQ_MAX_GRANULES)
                    continue;
                check_geometry(shift, (uint64_t)granules, 128, 256);
                check_geometry(shift, (uint64_t)granules, 1, 1);
                check_geometry(shift, (uint64_t)granules, SHMQ_MAX_PROCESSES, SHMQ_MAX_QUEUES);
            }
}

static void every_number_of_processes_and_queues_up_to_the_limit_is_laid_out(void)
{
    for (uint32_t count = 1; count <= 1024; count++) {
        check_geometry(12, 1000, count, 1);
        check_geometry(12, 1000, 1, count);
        check_geometry(12, 1000, count, 1025 - count);
    }
}

static void numbers_out_of_range_are_refused(void)
{
    struct shmq_geometry g;

    memset(&g, 0x5a, sizeof g);
    CHECK_EQUAL(shmq_geometry_init(&g, SHMQ_MIN_GRANULE_SHIFT - 1, 64, 1, 1), SHMQ_INVALID);
    CHECK_EQUAL(shmq_geometry_init(&g, SHMQ_MAX_GRANULE_SHIFT + 1, 64, 1, 1), SHMQ_INVALID);
    CHECK_EQUAL(shmq_geometry_init(&g, UINT32_MAX, 64, 1, 1), SHMQ_INVALID);
    CHECK_EQUAL(shmq_geometry_init(&g, 9, 0, 1, 1), SHMQ_INVALID);
    CHECK_EQUAL(shmq_geometry_init(&g, 9, SHMQ_MAX_GRANULES + 1ull, 1, 1), SHMQ_INVALID);
    CHECK_EQUAL(shmq_geometry_init(&g, 9, (1ull << 32) + 64, 1, 1), SHMQ_INVALID);
    CHECK_EQUAL(shmq_geometry_init(&g, 9, UINT64_MAX, 1, 1), SHMQ_INVALID);
    CHECK_EQUAL(shmq_geometry_init(&g, 9, 64, 0, 1), SHMQ_INVALID);
    CHECK_EQUAL(shmq_geometry_init(&g, 9, 64, SHMQ_MAX_PROCESSES + 1, 1), SHMQ_INVALID);
    CHECK_EQUAL(shmq_geometry_init(&g, 9, 64, 1, 0), SHMQ_INVALID);
    CHECK_EQUAL(shmq_geometry_init(&g, 9, 64, 1, SHMQ_MAX_QUEUES + 1), SHMQ_INVALID);
    CHECK_EQUAL(g.granules, 0x5a5a5a5a); /* untouched */
}

static void the_tables_of_a_default_region_take_at_most_0_3_mib(void)
{
    struct shmq_geometry g;

    CHECK_EQUAL(shmq_geometry_init(&g, 9, 2048, 128, 256), SHMQ_OK);
    CHECK(g.word_at[0] <= 3 * ARENA_MIB / 10);
}

static void descriptors_cost_at_most_30_15_and_5_percent_of_the_data(void)
{
    static const struct { uint32_t shift, percent; } limit[] = { { 9, 30 }, { 10, 15 }, { 12, 5 } };

    for (size_t i = 0; i < ARENA_COUNT(limit); i++)
        for (uint64_t size = ARENA_MIB; size >> limit[i].shift <= SHMQ_MAX_GRANULES; size *= 2) {
            struct shmq_geometry g;

            CHECK_EQUAL(shmq_geometry_init(&g, limit[i].shift, size >> limit[i].shift, 128, 256), SHMQ_OK);
            CHECK((g.reserve_size - g.word_at[0]) * 100 <= g.data_size * limit[i].percent);
        }
}

static void the_slots_of_queues_do_not_overlap_and_end_with_the_segment(void)
{
    struct shmq_map *map = &arena.map;

    arena_make(9, 64, 3, 5);
    for (uint32_t qid = 0; qid + 1 < map->geometry.queues; qid++)
        CHECK_EQUAL(shmq_slots_at(map, qid) + SHMQ_MAX_DEPTH * 8, shmq_slots_at(map, qid + 1));
    CHECK_EQUAL(shmq_slots_at(map, map->geometry.queues - 1) + SHMQ_MAX_DEPTH * 8, map->geometry.admin_size);
    CHECK_EQUAL(shmq_slots_at(map, 0), map->geometry.slot_at);
}

/* ---- arithmetic on the map ------------------------------------------------------------------------------- */

/* Which units a heap node of a 32-unit word covers, one bit each. */
static uint32_t units_of(unsigned node)
{
    unsigned level = 5 - (unsigned)shmq_log2(node), width = 1u << level, first = (node << level) - 32;

    return (uint32_t)(((1ull << width) - 1) << first);
}

static void two_nodes_conflict_exactly_if_they_share_a_unit(void)
{
    for (unsigned a = 1; a < 64; a++)
        for (unsigned b = 1; b < 64; b++)
            CHECK_EQUAL(shmq_conflict(a) >> b & 1, (units_of(a) & units_of(b)) != 0);
    for (unsigned n = 1; n < 64; n++)
        CHECK(!(shmq_conflict(n) & SHMQ_WORD_ACTIVE));
}

static void a_size_gets_the_smallest_order_that_holds_it(void)
{
    arena_make(9, 4096, 1, 1);
    CHECK_EQUAL(shmq_order_for(&arena.map, 0), 0);
    for (uint32_t order = 0; order <= 12; order++) {
        CHECK_EQUAL(shmq_order_for(&arena.map, 512ull << order), order);
        CHECK_EQUAL(shmq_order_for(&arena.map, (512ull << order) + 1), order + 1);
        CHECK_EQUAL(shmq_order_for(&arena.map, (512ull << order) - 1), order);
    }
    CHECK(shmq_order_for(&arena.map, UINT64_MAX) > 12);
}

static void a_block_is_plausible_exactly_if_it_is_aligned_and_within_the_region(void)
{
    static const uint32_t sizes[] = { 1, 2, 31, 32, 33, 63, 64, 100 };

    for (size_t i = 0; i < ARENA_COUNT(sizes); i++) {
        arena_make(9, sizes[i], 1, 1);
        for (uint32_t block = 0; block < sizes[i]; block++)
            for (uint32_t order = 0; order < 32; order++) {
                uint64_t width = 1ull << order;
                bool fits = block % width == 0 && block + width <= sizes[i];
                bool possible = fits && order <= arena.map.geometry.max_order;

                CHECK_EQUAL(shmq_block_plausible(&arena.map, block, shmq_block_word(9, order, SHMQ_STATE_OWNED, 1, 2)),
                    possible);
            }
    }
}

static void a_ring_has_the_next_power_of_two_of_its_depth_and_at_least_64_slots(void)
{
    for (uint32_t depth = 1; depth <= SHMQ_MAX_DEPTH; depth++) {
        uint32_t slots = 1u << shmq_capacity_shift(depth);

        CHECK(slots >= depth && slots >= 64 && (slots == 64 || slots / 2 < depth));
    }
}

static void processes_start_to_allocate_in_different_words(void)
{
    struct shmq_actor actor;

    arena_make(9, 4096, 8, 1);
    for (uint32_t slot = 0; slot < 8; slot++) {
        shmq_actor_init(&actor, &arena.map, slot, 3);
        for (uint32_t tier = 0; tier < arena.map.geometry.tiers; tier++)
            CHECK_EQUAL(actor.word_hint[tier], slot % arena.map.geometry.word_count[tier]);
        CHECK_EQUAL(actor.epoch, 3);
        CHECK_EQUAL(actor.cache.limit, 0);
    }
}

/* ---- process slots --------------------------------------------------------------------------------------- */

static void a_process_slot_tells_who_entered_it_and_in_which_epoch(void)
{
    struct shmq_process_info info;
    struct shmq_actor actor;

    arena_make(9, 64, 2, 1);
    arena.map.process[1].state = shmq_process_word(UINT32_MAX, SHMQ_PROCESS_FREE);
    CHECK(shmq_process_is_free(&arena.map, 1));
    shmq_actor_init(&actor, &arena.map, 1, 0);
    shmq_process_enter(&actor, "reader", 77, 88, 99);
    shmq_process_info(&arena.map, 1, &info);
    CHECK_EQUAL(actor.epoch, UINT32_MAX);
    CHECK_EQUAL(info.epoch, UINT32_MAX);
    CHECK_EQUAL(info.state, SHMQ_PROCESS_LIVE);
    CHECK_EQUAL(info.pid, 77);
    CHECK_EQUAL(info.start_time, 88);
    CHECK_EQUAL(info.pid_namespace, 99);
    CHECK(strcmp(info.name, "reader") == 0);
    CHECK(!shmq_process_is_free(&arena.map, 1));
    CHECK_EQUAL(shmq_process_count(&arena.map), 1);
    arena_close(1); /* the epoch wraps */
    CHECK_EQUAL(arena.map.process[1].state, shmq_process_word(0, SHMQ_PROCESS_FREE));
}

static const struct check_test tests[] = {
    CHECK_TEST(a_block_word_keeps_each_field_at_its_limits),
    CHECK_TEST(a_generation_wraps_within_its_24_bits),
    CHECK_TEST(a_slot_keeps_each_field_at_its_limits),
    CHECK_TEST(a_lap_is_compared_on_its_circle),
    CHECK_TEST(a_hint_keeps_epoch_and_position_at_their_limits),
    CHECK_TEST(flags_keep_epoch_owner_and_bits_at_their_limits),
    CHECK_TEST(the_other_words_keep_their_fields_at_their_limits),
    CHECK_TEST(a_name_of_any_length_is_stored_whole_and_a_longer_one_is_cut),
    CHECK_TEST(nothing_overlaps_in_any_region_that_can_be_asked_for),
    CHECK_TEST(every_number_of_processes_and_queues_up_to_the_limit_is_laid_out),
    CHECK_TEST(numbers_out_of_range_are_refused),
    CHECK_TEST(the_tables_of_a_default_region_take_at_most_0_3_mib),
    CHECK_TEST(descriptors_cost_at_most_30_15_and_5_percent_of_the_data),
    CHECK_TEST(the_slots_of_queues_do_not_overlap_and_end_with_the_segment),
    CHECK_TEST(two_nodes_conflict_exactly_if_they_share_a_unit),
    CHECK_TEST(a_size_gets_the_smallest_order_that_holds_it),
    CHECK_TEST(a_block_is_plausible_exactly_if_it_is_aligned_and_within_the_region),
    CHECK_TEST(a_ring_has_the_next_power_of_two_of_its_depth_and_at_least_64_slots),
    CHECK_TEST(processes_start_to_allocate_in_different_words),
    CHECK_TEST(a_process_slot_tells_who_entered_it_and_in_which_epoch),
};

ARENA_MAIN(tests)
