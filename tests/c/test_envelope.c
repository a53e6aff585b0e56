/* SPDX-License-Identifier: MIT */
/* Envelopes: every type and shape round-trips, and nothing impossible is believed. */
#include "arena.h"

static struct shmq_block block;

static struct shmq_array_type type_of(char kind, uint32_t item_size, uint32_t dimensions)
{
    struct shmq_array_type type;

    memset(&type, 0, sizeof type);
    type.kind = kind;
    type.byte_order = item_size > 1 && kind != 'S' ? '<' : '|';
    type.item_size = item_size;
    type.dimensions = dimensions;
    for (uint32_t i = 0; i < SHMQ_MAX_DIMENSIONS; i++)
        type.shape[i] = i < dimensions ? i + 2 : 0;
    return type;
}

struct element {
    char kind;
    uint32_t size;
};

static const struct element sound[] = { { 'b', 1 }, { 'i', 1 }, { 'i', 2 }, { 'i', 4 }, { 'i', 8 }, { 'u', 1 },
    { 'u', 8 }, { 'f', 2 }, { 'f', 4 }, { 'f', 8 }, { 'f', 16 }, { 'c', 8 }, { 'c', 16 }, { 'c', 32 },
    { 'S', 1 }, { 'S', 33 },
    { 'S', INT32_MAX }, { 'U', 4 }, { 'U', 40 } };

static const struct element unsound[] = { { 'b', 0 }, { 'b', 2 }, { 'i', 0 }, { 'i', 3 }, { 'i', 16 }, { 'u', 16 },
    { 'f', 1 }, { 'f', 3 }, { 'f', 32 }, { 'c', 4 }, { 'c', 64 }, { 'c', 24 }, { 'S', 0 }, { 'U', 0 }, { 'U', 3 },
    { 'S', 0x80000000u }, { 'S', UINT32_MAX }, { 'U', 0x80000000u }, { 'U', UINT32_MAX - 3 }, { 'O', 8 },
    { 'V', 8 }, { 'M', 8 }, { 'm', 8 }, { 0, 8 }, { (char)0xff, 8 } };

static void check_same(const struct shmq_array_type *left, const struct shmq_array_type *right)
{
    CHECK_EQUAL(left->kind, right->kind);
    CHECK_EQUAL(left->byte_order, right->byte_order);
    CHECK_EQUAL(left->item_size, right->item_size);
    CHECK_EQUAL(left->dimensions, right->dimensions);
    for (uint32_t i = 0; i < left->dimensions; i++)
        CHECK_EQUAL(left->shape[i], right->shape[i]);
}

static void every_sound_type_and_number_of_dimensions_comes_back_as_it_was(void)
{
    for (size_t i = 0; i < ARENA_COUNT(sound); i++)
        for (uint32_t dimensions = 0; dimensions <= SHMQ_MAX_DIMENSIONS; dimensions++) {
            struct shmq_array_type type = type_of(sound[i].kind, sound[i].size, dimensions), back;

            memset(&block, 0xff, sizeof block);
            CHECK_EQUAL(shmq_envelope_write(&block, &type), SHMQ_OK);
            CHECK_EQUAL(shmq_envelope_read(&block, shmq_array_bytes(&type), &back), SHMQ_OK);
            check_same(&type, &back);
        }
}

static void every_byte_order_comes_back_as_it_was(void)
{
    static const char orders[] = { '<', '>', '|' };

    for (size_t i = 0; i < sizeof orders; i++) {
        struct shmq_array_type type = type_of('S', 4, 1), back;

        type.byte_order = orders[i];
        CHECK_EQUAL(shmq_envelope_write(&block, &type), SHMQ_OK);
        CHECK_EQUAL(shmq_envelope_read(&block, 8, &back), SHMQ_OK);
        CHECK_EQUAL(back.byte_order, orders[i]);
    }
}

static void an_extent_of_zero_and_of_32_bits_is_possible(void)
{
    struct shmq_array_type type = type_of('u', 1, 3), back;

    type.shape[0] = UINT32_MAX;
    type.shape[1] = 0;
    type.shape[2] = INT32_MAX;
    CHECK_EQUAL(shmq_envelope_write(&block, &type), SHMQ_OK);
    CHECK_EQUAL(shmq_envelope_read(&block, 0, &back), SHMQ_OK);
    check_same(&type, &back);
    type.shape[1] = 1;
    type.shape[2] = 1;
    CHECK_EQUAL(shmq_envelope_write(&block, &type), SHMQ_OK);
    CHECK_EQUAL(shmq_envelope_read(&block, UINT32_MAX, &back), SHMQ_OK);
}

static void what_an_envelope_cannot_say_is_refused_and_nothing_is_written(void)
{
    struct shmq_array_type type = type_of('i', 4, 7);
    struct shmq_block before;

    memset(&block, 0x5a, sizeof block);
    before = block;
    CHECK_EQUAL(shmq_envelope_write(&block, &type), SHMQ_INVALID);
    type.dimensions = UINT32_MAX;
    CHECK_EQUAL(shmq_envelope_write(&block, &type), SHMQ_INVALID);
    type = type_of('i', 4, 6);
    type.shape[5] = 1ull << 32;
    CHECK_EQUAL(shmq_envelope_write(&block, &type), SHMQ_INVALID);
    for (size_t i = 0; i < ARENA_COUNT(unsound); i++) {
        type = type_of(unsound[i].kind, unsound[i].size, 1);
        CHECK_EQUAL(shmq_envelope_write(&block, &type), SHMQ_INVALID);
    }
    CHECK(memcmp(&block, &before, sizeof block) == 0);
}

static void a_byte_order_that_cannot_be_read_is_not_written(void)
{
    struct shmq_array_type type = type_of('i', 4, 1);

    type.byte_order = 'x';
    CHECK_EQUAL(shmq_envelope_write(&block, &type), SHMQ_INVALID);
    type.byte_order = 0;
    CHECK_EQUAL(shmq_envelope_write(&block, &type), SHMQ_INVALID);
}

static void an_unsound_type_in_memory_is_corrupt(void)
{
    for (size_t i = 0; i < ARENA_COUNT(unsound); i++) {
        struct shmq_array_type back;

        memset(&block, 0, sizeof block);
        block.envelope.type = (uint64_t)(unsigned char)unsound[i].kind | 0ull << 8 | (uint64_t)'<' << 16
            | (uint64_t)unsound[i].size << 32;
        CHECK_EQUAL(shmq_envelope_read(&block, unsound[i].size, &back), SHMQ_CORRUPT);
    }
}

static void too_many_dimensions_and_an_unknown_byte_order_in_memory_are_corrupt(void)
{
    struct shmq_array_type type = type_of('i', 4, 0), back;

    CHECK_EQUAL(shmq_envelope_write(&block, &type), SHMQ_OK);
    CHECK_EQUAL(shmq_envelope_read(&block, 4, &back), SHMQ_OK);
    for (uint32_t dimensions = SHMQ_MAX_DIMENSIONS + 1; dimensions < 256; dimensions++) {
        block.envelope.type = (block.envelope.type & ~0xff00ull) | dimensions << 8;
        CHECK_EQUAL(shmq_envelope_read(&block, 4, &back), SHMQ_CORRUPT);
    }
    CHECK_EQUAL(shmq_envelope_write(&block, &type), SHMQ_OK);
    for (uint32_t order = 0; order < 256; order++) {
        int expected = order == '<' || order == '>' || order == '|' ? SHMQ_OK : SHMQ_CORRUPT;

        block.envelope.type = (block.envelope.type & ~0xff0000ull) | order << 16;
        CHECK_EQUAL(shmq_envelope_read(&block, 4, &back), expected);
    }
}

static void a_shape_that_does_not_fill_the_payload_is_corrupt(void)
{
    struct shmq_array_type type = type_of('f', 8, 2), back;

    CHECK_EQUAL(shmq_envelope_write(&block, &type), SHMQ_OK); /* 2 x 3 doubles */
    CHECK_EQUAL(shmq_envelope_read(&block, 48, &back), SHMQ_OK);
    CHECK_EQUAL(shmq_envelope_read(&block, 47, &back), SHMQ_CORRUPT);
    CHECK_EQUAL(shmq_envelope_read(&block, 49, &back), SHMQ_CORRUPT);
    CHECK_EQUAL(shmq_envelope_read(&block, 0, &back), SHMQ_CORRUPT);
}

static void a_product_that_overflows_is_too_large_and_not_small(void)
{
    struct shmq_array_type type = type_of('f', 8, 6), back;

    for (uint32_t i = 0; i < 6; i++)
        type.shape[i] = 1u << 31;
    CHECK_EQUAL(shmq_array_bytes(&type), UINT64_MAX);
    CHECK_EQUAL(shmq_envelope_write(&block, &type), SHMQ_OK);
    CHECK_EQUAL(shmq_envelope_read(&block, 0, &back), SHMQ_CORRUPT); /* 2^189 mod 2^64 */
    type = type_of('f', 16, 2);
    type.shape[0] = type.shape[1] = 1u << 30;
    CHECK_EQUAL(shmq_array_bytes(&type), UINT64_MAX);
    type.shape[1] = 0;
    CHECK_EQUAL(shmq_array_bytes(&type), 0);
}

/* No array has it, and who computed its strides would overflow, although it has no element. */
static void an_overflow_behind_an_extent_of_zero_is_not_a_payload(void)
{
    struct shmq_array_type type = type_of('f', 8, 4), back;

    type.shape[0] = 0;
    type.shape[1] = type.shape[2] = type.shape[3] = UINT32_MAX;
    CHECK_EQUAL(shmq_array_bytes(&type), UINT64_MAX);
    CHECK_EQUAL(shmq_envelope_write(&block, &type), SHMQ_OK);
    CHECK_EQUAL(shmq_envelope_read(&block, 0, &back), SHMQ_CORRUPT);
    type.shape[2] = 1u << 29;
    type.shape[3] = 1;
    CHECK_EQUAL(shmq_array_bytes(&type), UINT64_MAX); /* signed numbers overflow earlier */
    type.shape[2] = 1u << 28;
    CHECK_EQUAL(shmq_array_bytes(&type), 0);
}

static void an_overflow_before_an_extent_of_zero_is_not_a_payload(void)
{
    struct shmq_array_type type = type_of('f', 8, 4), back;

    type.shape[0] = type.shape[1] = type.shape[2] = UINT32_MAX;
    type.shape[3] = 0;
    CHECK_EQUAL(shmq_envelope_write(&block, &type), SHMQ_OK);
    CHECK_EQUAL(shmq_envelope_read(&block, 8, &back), SHMQ_CORRUPT);
}

static void random_words_are_read_without_harm_and_believed_only_where_they_fit(void)
{
    uint64_t seed = 42;

    for (int i = 0; i < 200000; i++) {
        struct shmq_array_type back;
        uint64_t bytes = arena_random(&seed) % 3 ? arena_random(&seed) % 4096 : arena_random(&seed);

        for (size_t word = 0; word < sizeof block / 8; word++)
            ((uint64_t *)&block)[word] = arena_random(&seed);
        if (i % 2) {
            block.envelope.type = (uint64_t)(unsigned char)sound[(size_t)i % ARENA_COUNT(sound)].kind
                | arena_random(&seed) % 9 << 8 | (uint64_t)'<' << 16
                | (uint64_t)sound[(size_t)i % ARENA_COUNT(sound)].size << 32;
            block.envelope.shape[0] %= 64;
        }
        if (shmq_envelope_read(&block, bytes, &back) == SHMQ_OK) {
            CHECK(back.dimensions <= SHMQ_MAX_DIMENSIONS);
            CHECK(shmq_array_type_sound(&back));
            CHECK_EQUAL(shmq_array_bytes(&back), bytes);
        }
    }
}

static void an_envelope_travels_with_its_message_and_only_where_the_length_says_so(void)
{
    struct shmq_array_type type = type_of('f', 4, 2), back;
    struct shmq_parcel parcel = { 24 | SHMQ_LENGTH_ENVELOPE, 0 };
    struct shmq_queue_ref queue;
    struct shmq_message message;
    struct shmq_actor me;
    struct shmq_hold loan;

    arena_make(9, 64, 2, 2);
    arena_enter(&me, 1);
    arena_open(&me, "arrays", 4, &queue);
    CHECK_EQUAL(shmq_loan(&me, 24, &loan), SHMQ_OK);
    CHECK_EQUAL(shmq_envelope_write(&arena.map.block[loan.block], &type), SHMQ_OK);
    CHECK_EQUAL(shmq_send(&me, &queue, &loan, &parcel), SHMQ_OK);
    CHECK_EQUAL(shmq_receive(&me, &queue, &message), SHMQ_OK);
    CHECK(message.length & SHMQ_LENGTH_ENVELOPE);
    CHECK_EQUAL(shmq_length_bytes(message.length), 24);
    CHECK_EQUAL(shmq_envelope_read(&arena.map.block[message.hold.block], 24, &back), SHMQ_OK);
    check_same(&type, &back);
    CHECK_EQUAL(shmq_release(&me, &message.hold), SHMQ_OK);
    arena_send(&me, &queue, 1); /* the same block, plain bytes */
    CHECK_EQUAL(shmq_receive(&me, &queue, &message), SHMQ_OK);
    CHECK_EQUAL(message.length, 1);
}

static const struct check_test tests[] = {
    CHECK_TEST(every_sound_type_and_number_of_dimensions_comes_back_as_it_was),
    CHECK_TEST(every_byte_order_comes_back_as_it_was),
    CHECK_TEST(an_extent_of_zero_and_of_32_bits_is_possible),
    CHECK_TEST(what_an_envelope_cannot_say_is_refused_and_nothing_is_written),
    CHECK_TEST(a_byte_order_that_cannot_be_read_is_not_written),
    CHECK_TEST(an_unsound_type_in_memory_is_corrupt),
    CHECK_TEST(too_many_dimensions_and_an_unknown_byte_order_in_memory_are_corrupt),
    CHECK_TEST(a_shape_that_does_not_fill_the_payload_is_corrupt),
    CHECK_TEST(a_product_that_overflows_is_too_large_and_not_small),
    CHECK_TEST(an_overflow_behind_an_extent_of_zero_is_not_a_payload),
    CHECK_TEST(an_overflow_before_an_extent_of_zero_is_not_a_payload),
    CHECK_TEST(random_words_are_read_without_harm_and_believed_only_where_they_fit),
    CHECK_TEST(an_envelope_travels_with_its_message_and_only_where_the_length_says_so),
};

ARENA_MAIN(tests)
