/* SPDX-License-Identifier: MIT */
/* A corrupted peer: whatever stands in shared memory, every operation returns a result, within a bounded number of
 * accesses, and touches nothing outside the region. The pages behind both segments fault.
 */
#include "counted.h"

#include "arena.h"

#define GRANULES 64u
#define GRANULE_SHIFT 9u
#define SLOTS_KEPT 64u          /* of each queue: as many as its ring has */
#define BUDGET 4000000u         /* accesses of one operation: some walks of places of 65,536 slots each */
#define RANDOM_ROUNDS 12000u
#define SUBSCRIBERS_USED 20u
#define RUINED_ROUNDS 40u

/* What a process knows privately, as of the moment before the corruption. */
struct private_state {
    struct shmq_actor me, other;
    struct shmq_queue_ref jobs, inbox, heard; /* heard: what it subscribes to */
    struct shmq_hold loan;
    struct shmq_message held, published;
    struct shmq_publisher frames;
};

static struct private_state now, then;
static uint64_t *kept;          /* the admin segment's words of that moment */
static uint32_t admin_words, kept_words;
static uint32_t quiet[1024], quiets; /* words that nothing writes once the region has a name */

/* ---- a live region --------------------------------------------------------------------------------------- */

/* The admin segment without what was never reserved: its tables, then the rings of all queues. */
static uint64_t *word_at(uint32_t index)
{
    uint32_t slot = index - admin_words;

    if (index < admin_words)
        return (uint64_t *)(void *)arena.map.admin + index;
    return shmq_map_slots(&arena.map, slot / SLOTS_KEPT) + slot % SLOTS_KEPT;
}

static void send_array(struct shmq_actor *actor, const struct shmq_queue_ref *ref)
{
    struct shmq_array_type type = { 'f', '<', 8, 2, { 3, 5 } };
    struct shmq_parcel parcel = { 120 | SHMQ_LENGTH_ENVELOPE, 77 };
    struct shmq_hold loan;

    CHECK_EQUAL(shmq_loan(actor, 120, &loan), SHMQ_OK);
    CHECK_EQUAL(shmq_envelope_write(&arena.map.block[loan.block], &type), SHMQ_OK);
    CHECK_EQUAL(shmq_send(actor, ref, &loan, &parcel), SHMQ_OK);
}

static void publish_from(struct shmq_actor *actor)
{
    struct shmq_parcel parcel = { 100, 7 };
    struct shmq_publication publication;
    struct shmq_hold loan;

    if (shmq_loan(actor, 100, &loan) != SHMQ_OK
        || shmq_publish_start(actor, &now.frames, &loan, &parcel, &publication) != SHMQ_OK)
        return;
    (void)shmq_publish_try(actor, &now.frames, &publication);
    shmq_publish_finish(actor, &now.frames, &publication);
    CHECK(publication.reached <= SHMQ_MAX_SUBSCRIBERS);
}

/* A topic with two subscribers in different words of tickets; one message is held, one waits. */
static void make_topic(void)
{
    struct shmq_queue_ref others;
    uint32_t topic;

    CHECK_EQUAL(shmq_topic_open(&now.me, "frames", &topic), SHMQ_OK);
    shmq_publisher_init(&now.frames, topic);
    CHECK_EQUAL(shmq_subscribe(&now.me, topic, 2, SHMQ_POLICY_DROP_OLDEST, &now.heard), SHMQ_OK);
    CHECK_EQUAL(shmq_subscribe(&now.other, topic, 2, SHMQ_POLICY_DROP_NEWEST, &others), SHMQ_OK);
    publish_from(&now.other);
    publish_from(&now.other);
    CHECK_EQUAL(shmq_receive(&now.me, &now.heard, &now.published), SHMQ_OK);
}

/* Two processes: loans, a cache, messages queued, held, requeued and published, an inbox, a claim, announcements. */
static void make(void)
{
    struct shmq_message message;
    struct shmq_actor dead;
    uint64_t holder;

    arena_make(GRANULE_SHIFT, GRANULES, 3, 5);
    arena_enter(&now.me, 1);
    arena_enter(&now.other, 2);
    arena_enter(&dead, 0);
    now.me.cache.limit = 8;
    arena_open(&now.me, "jobs", 5, &now.jobs);
    CHECK_EQUAL(shmq_queue_open_inbox(&now.me, "me", 64, &now.inbox), SHMQ_OK);
    CHECK_EQUAL(shmq_queue_claim(&now.me, &now.jobs, true, SHMQ_POLICY_BLOCK, &holder), SHMQ_OK);
    arena_send(&now.me, &now.jobs, 1);
    arena_hold(&dead, &now.jobs, 1, &message);
    arena_close(0);
    send_array(&now.me, &now.jobs);
    CHECK_EQUAL(shmq_receive_queued(&now.me, &now.jobs, &now.held), SHMQ_OK);
    arena_send(&now.other, &now.jobs, 2);
    send_array(&now.other, &now.jobs);
    arena_send(&now.me, &now.inbox, 3);
    CHECK_EQUAL(shmq_loan(&now.me, 700, &now.loan), SHMQ_OK);
    make_topic();
    now.jobs.queue->flags |= SHMQ_QUEUE_SLEEP | SHMQ_QUEUE_SPACE;
}

/* Nothing writes here once the region has a name: that it changed would mean a write out of bounds. */
static bool never_written(uint32_t index)
{
    const struct shmq_geometry *g = &arena.map.geometry;
    uint64_t at = index * 8ull;

    if (at < sizeof(struct shmq_header))
        return at < offsetof(struct shmq_header, life) || at >= offsetof(struct shmq_header, separate_wanted);
    if (at < g->topic_at || at >= g->word_at[0])
        return false; /* of a topic: entries that are reached only where all before them are overwritten */
    return (at - g->topic_at) % sizeof(struct shmq_topic)
        >= offsetof(struct shmq_topic, subscriber) + 8 * SUBSCRIBERS_USED;
}

static void keep(void)
{
    make();
    then = now;
    admin_words = (uint32_t)(arena.map.geometry.reserve_size / 8);
    kept_words = admin_words + arena.map.geometry.queues * SLOTS_KEPT;
    free(kept);
    kept = (uint64_t *)malloc(kept_words * 8);
    CHECK(kept != NULL);
    for (uint32_t i = 0; i < kept_words; i++)
        kept[i] = *word_at(i);
    quiets = 0;
    for (uint32_t i = 0; i < admin_words; i++)
        if (never_written(i) && i * 8ull < sizeof(struct shmq_header))
            quiet[quiets++] = i;
    CHECK(quiets <= ARENA_COUNT(quiet));
}

/* Back to the moment before the corruption. What lies beyond a ring was written if a place was corrupted. */
static void restore(void)
{
    for (uint32_t qid = 0; qid < arena.map.geometry.queues; qid++) {
        if (shmq_place_slots(&arena.map, qid) > SLOTS_KEPT)
            memset(shmq_map_slots(&arena.map, qid), 0, SHMQ_MAX_DEPTH * 8);
        memcpy(shmq_map_slots(&arena.map, qid), kept + admin_words + qid * SLOTS_KEPT, SLOTS_KEPT * 8);
    }
    memcpy(arena.map.admin, kept, arena.map.geometry.reserve_size);
    now = then;
    arena_forget();
}

/* ---- operations ------------------------------------------------------------------------------------------ */

static volatile unsigned char sink;

static void check_result(int result) { CHECK(result >= SHMQ_NO_INDEX && result <= SHMQ_SHARED_BLOCK); }

/* Both ends of what a block may be used for lie within the data segment, whose end faults. */
static void use(uint32_t block, uint64_t bytes)
{
    unsigned char *payload = shmq_payload(&arena.map, block);

    CHECK(block < GRANULES);
    if (!bytes)
        return;
    payload[0] = 1;
    payload[bytes - 1] = 1;
}

static void use_message(const struct shmq_message *message)
{
    struct shmq_array_type type;
    uint64_t bytes = shmq_length_bytes(message->length);

    CHECK(shmq_block_offset(&arena.map, message->hold.block) + bytes <= arena.map.geometry.data_size);
    for (uint64_t i = 0; i < bytes; i++)
        sink = shmq_payload(&arena.map, message->hold.block)[i];
    if (message->length & SHMQ_LENGTH_ENVELOPE
        && shmq_envelope_read(&arena.map.block[message->hold.block], bytes, &type) == SHMQ_OK)
        CHECK(shmq_array_bytes(&type) == bytes);
}

static void borrow(uint64_t bytes)
{
    struct shmq_hold loan;
    int result = shmq_loan(&now.me, bytes, &loan);

    check_result(result);
    if (result != SHMQ_OK)
        return;
    use(loan.block, bytes);
    check_result(shmq_release(&now.me, &loan));
}

static void loans(void)
{
    borrow(1);
    borrow(600);
    borrow(16384);
    borrow(32768);
    shmq_cache_flush(&now.me);
    borrow(32768);
}

static void send_to(const struct shmq_queue_ref *ref)
{
    struct shmq_parcel parcel = { 600, 9 };
    struct shmq_hold loan;

    if (shmq_loan(&now.other, 600, &loan) != SHMQ_OK)
        return;
    use(loan.block, 600);
    check_result(shmq_send(&now.other, ref, &loan, &parcel));
}

static void sends(void)
{
    for (int i = 0; i < 6; i++) {
        send_to(&now.jobs);
        send_to(&now.inbox);
    }
}

static void receive_from(struct shmq_actor *actor, const struct shmq_queue_ref *ref)
{
    for (int i = 0; i < 6; i++) {
        struct shmq_message message;
        int result = shmq_receive(actor, ref, &message);

        check_result(result);
        if (result != SHMQ_OK)
            return;
        use_message(&message);
        check_result(shmq_release(actor, &message.hold));
    }
}

static void receives(void)
{
    receive_from(&now.me, &now.jobs);
    receive_from(&now.other, &now.inbox);
}

static void forwards(void)
{
    struct shmq_message message;

    check_result(shmq_forward(&now.me, &now.inbox, &now.held));
    if (shmq_receive(&now.other, &now.jobs, &message) == SHMQ_OK)
        check_result(shmq_forward(&now.other, &now.jobs, &message));
}

static void edits(void)
{
    struct shmq_parcel parcel = { 1, 2 };
    struct shmq_message message;

    check_result(shmq_edit(&now.me, &now.held.hold));
    if (shmq_receive(&now.other, &now.jobs, &message) != SHMQ_OK)
        return;
    check_result(shmq_edit(&now.other, &message.hold));
    use(message.hold.block, 1ull << (GRANULE_SHIFT + shmq_block_order(message.hold.word)));
    check_result(shmq_send(&now.other, &now.inbox, &message.hold, &parcel));
}

static void topics(void)
{
    static const enum shmq_policy policies[] = { SHMQ_POLICY_BLOCK, SHMQ_POLICY_DROP_OLDEST, SHMQ_POLICY_DROP_NEWEST };
    uint32_t topic;

    check_result(shmq_topic_open(&now.other, "frames", &topic));
    check_result(shmq_topic_open(&now.me, "sounds", &topic));
    for (uint32_t i = 0; i < ARENA_COUNT(policies); i++) {
        struct shmq_queue_ref ref;
        int result = shmq_subscribe(&now.other, now.frames.topic, 1 + i, policies[i], &ref);

        check_result(result);
        publish_from(&now.me);
        if (result != SHMQ_OK)
            continue;
        receive_from(&now.other, &ref);
        (void)shmq_queue_dropped(&ref);
        check_result(shmq_unsubscribe(&now.other, &ref));
    }
}

static void publications(void)
{
    struct shmq_message message;

    for (int i = 0; i < 4; i++)
        publish_from(i % 2 ? &now.me : &now.other);
    receive_from(&now.me, &now.heard);
    publish_from(&now.other);
    if (shmq_receive(&now.me, &now.heard, &message) == SHMQ_OK) {
        check_result(shmq_forward(&now.me, &now.jobs, &message));
        check_result(shmq_edit(&now.me, &message.hold));
        check_result(shmq_release(&now.me, &message.hold));
    }
    check_result(shmq_edit(&now.me, &now.published.hold));
    check_result(shmq_release(&now.me, &now.published.hold));
}

static void overflows(void)
{
    struct shmq_parcel parcel = { 1, 2 };
    uint64_t holder;

    (void)shmq_queue_claim(&now.other, &now.jobs, true, SHMQ_POLICY_DROP_OLDEST, &holder);
    now.jobs.queue->flags |= SHMQ_QUEUE_DROP_OLDEST;
    for (int i = 0; i < 8; i++) {
        struct shmq_hold loan;

        if (shmq_loan(&now.other, 1, &loan) == SHMQ_OK)
            check_result(shmq_send_or_drop(&now.other, &now.jobs, &loan, &parcel));
    }
}

static void old_handles(void)
{
    struct shmq_parcel parcel = { 700, 2 };

    check_result(shmq_send(&now.me, &now.jobs, &now.loan, &parcel));
    check_result(shmq_release(&now.me, &now.held.hold));
    check_result(shmq_block_free(&now.me, now.loan.block));
    check_result(shmq_buddy_free(&now.me, now.held.hold.block));
}

static void names(void)
{
    struct shmq_queue_spec jobs = { SHMQ_KIND_WORK, SHMQ_POLICY_BLOCK, 5, "jobs", 0, 0 };
    struct shmq_queue_spec fresh = { SHMQ_KIND_WORK, SHMQ_POLICY_BLOCK, 9, "fresh", 0, 0 };
    struct shmq_queue_ref ref;
    int result = shmq_queue_open(&now.me, &jobs, true, &ref);

    check_result(result);
    if (result == SHMQ_OK) {
        send_to(&ref);
        receive_from(&now.me, &ref);
    }
    result = shmq_queue_open(&now.me, &fresh, true, &ref);
    check_result(result);
    if (result == SHMQ_OK)
        check_result(shmq_queue_delete(&now.me, &ref));
}

static void ends(void)
{
    struct shmq_queue_ref inbox;

    check_result(shmq_queue_close(&now.me, &now.inbox));
    shmq_queue_finish_close(&now.me, &now.inbox);
    check_result(shmq_queue_open_inbox(&now.me, "me", 10, &inbox));
    check_result(shmq_queue_shut(&now.me, &now.jobs));
    check_result(shmq_queue_delete(&now.me, &now.jobs));
}

static void claims(void)
{
    uint64_t holder;

    check_result(shmq_queue_claim(&now.me, &now.jobs, true, SHMQ_POLICY_BLOCK, &holder));
    check_result(shmq_queue_claim(&now.other, &now.inbox, false, SHMQ_POLICY_BLOCK, &holder));
    shmq_queue_unclaim(&now.other, &now.inbox);
}

static void waits(void)
{
    for (int receiver = 0; receiver < 2; receiver++) {
        (void)shmq_await_burst(&arena.map, &now.jobs, receiver);
        check_result(shmq_await_sleep(&arena.map, &now.jobs, receiver, 1000));
        shmq_await_leave(&arena.map, &now.jobs, receiver);
    }
    (void)shmq_await_room(&arena.map, &now.jobs, 3);
}

static void looks(void)
{
    static struct shmq_census census;
    struct shmq_process_info process;
    struct shmq_queue_info queue;

    shmq_census_take(&census, &arena.map);
    (void)shmq_blocks_elsewhere(&now.me);
    for (uint32_t qid = 0; qid < arena.map.geometry.queues; qid++)
        (void)shmq_queue_describe(&arena.map, qid, &queue);
    for (uint32_t slot = 0; slot < arena.map.geometry.max_processes; slot++)
        shmq_process_info(&arena.map, slot, &process);
    CHECK(shmq_queue_count(&now.jobs) <= now.jobs.depth);
    shmq_cache_resize(&now.me);
    CHECK(now.me.cache.limit >= 1);
}

static void merges(void) { shmq_buddy_merge(&now.me); }
static void death_of_other(void) { arena_close(2); }

static void close_with_views(void)
{
    uint32_t kept[2] = { now.held.hold.block, now.published.hold.block };

    shmq_close_except(&now.me, kept, 2);
    shmq_close(&now.me);
    arena_enter(&now.me, 1);
}

static void (*const operations[])(void) = { loans, sends, receives, publications, forwards, edits, topics, overflows,
    old_handles, names, claims, waits, looks, merges, death_of_other, ends, close_with_views };

/* Do everything once, beginning with a different operation each time, then undo it all. */
static void operate(uint32_t first)
{
    uint64_t before[ARENA_COUNT(quiet)];

    for (uint32_t i = 0; i < quiets; i++)
        before[i] = *word_at(quiet[i]);
    for (uint32_t i = 0; i < ARENA_COUNT(operations); i++) {
        counted_allow(BUDGET);
        operations[(first + i) % ARENA_COUNT(operations)]();
    }
    counted_allow(UINT64_MAX);
    for (uint32_t i = 0; i < quiets; i++)
        CHECK_EQUAL(*word_at(quiet[i]), before[i]);
    restore();
}

/* ---- tests ----------------------------------------------------------------------------------------------- */

static void without_corruption_everything_works_and_nothing_is_counted(void)
{
    keep();
    operate(0);
    CHECK_EQUAL(now.me.corrupt + now.other.corrupt, 0);
    for (uint32_t first = 0; first < ARENA_COUNT(operations); first++)
        operate(first);
    for (uint32_t i = 0; i < kept_words; i++)
        CHECK_EQUAL(*word_at(i), kept[i]);
}

/* The n-th value to try in place of `old`; false where there are no more. */
static bool boundary(uint32_t n, uint64_t old, uint64_t *value)
{
    static const uint64_t fixed[] = { 0, 1, UINT64_MAX, 1ull << 63, 0xffffffff, 1ull << 32, GRANULES + 1, 0xfffffff,
        31ull << 35, 0xffffffffffff };

    if (n < ARENA_COUNT(fixed)) {
        *value = fixed[n];
        return true;
    }
    n -= ARENA_COUNT(fixed);
    if (n >= 4)
        return false;
    *value = n == 0 ? old + 1 : n == 1 ? old - 1 : n == 2 ? ~old : old ^ 1ull << 40;
    return true;
}

static void any_word_overwritten_with_any_boundary_value_ends_in_results(void)
{
    uint32_t first = 0;

    keep();
    for (uint32_t word = 0; word < kept_words; word++) {
        uint64_t value;

        if (word < admin_words && never_written(word) && word % 32) /* read by nobody; a few will do */
            continue;
        for (uint32_t n = 0; boundary(n, kept[word], &value); n++) {
            snprintf(check_context, sizeof check_context, "word %u is %#llx instead of %#llx, operation %u first", word,
                (unsigned long long)value, (unsigned long long)kept[word], first % (uint32_t)ARENA_COUNT(operations));
            *word_at(word) = value;
            operate(first++);
        }
    }
}

static void any_single_bit_flipped_in_a_word_that_decides_ends_in_results(void)
{
    uint32_t first = 0;

    keep();
    for (uint32_t word = 0; word < kept_words; word++)
        for (uint32_t bit = word % 8; kept[word] && bit < 64; bit += 8) {
            if (word < admin_words && never_written(word))
                continue;
            snprintf(check_context, sizeof check_context, "bit %u of word %u flipped, operation %u first", bit, word,
                first % (uint32_t)ARENA_COUNT(operations));
            *word_at(word) = kept[word] ^ 1ull << bit;
            operate(first++);
        }
}

static void overwrite_one(uint64_t *seed)
{
    uint32_t word = (uint32_t)(arena_random(seed) % kept_words);
    uint64_t value = arena_random(seed);

    while (word < admin_words && never_written(word)) /* read by nobody, and watched */
        word = (uint32_t)(arena_random(seed) % kept_words);
    if (arena_random(seed) % 2) /* a plausible one: some other word, as it is or nearly so */
        value = kept[arena_random(seed) % kept_words] + value % 3;
    if (arena_random(seed) % 4 == 0)
        value &= arena_random(seed) & arena_random(seed);
    *word_at(word) = value;
}

static void overwrite_some(uint64_t *seed)
{
    uint32_t count = 2 + (uint32_t)(arena_random(seed) % 30);

    while (count--)
        overwrite_one(seed);
}

static void many_words_overwritten_at_random_end_in_results(void)
{
    keep();
    for (uint64_t round = 0; round < RANDOM_ROUNDS; round++) {
        uint64_t seed = round;

        snprintf(check_context, sizeof check_context, "seed %llu", (unsigned long long)round);
        overwrite_some(&seed);
        operate((uint32_t)round);
    }
}

static uint64_t intruder_seed;

/* A word of a block that is in use, or any word at all. */
static void intrude(void)
{
    uint32_t block = (uint32_t)(arena_random(&intruder_seed) % GRANULES);

    overwrite_one(&intruder_seed);
    arena.map.block[block].word = kept[(arena.map.geometry.block_at + block * sizeof(struct shmq_block)) / 8]
        ^ arena_random(&intruder_seed) % 3 << arena_random(&intruder_seed) % 63;
    arena.map.block[block].length ^= 1ull << arena_random(&intruder_seed) % 64;
}

/* Each shared word is read once, judged and used: a second reading might say something else. */
static void words_that_change_in_the_middle_of_an_operation_end_in_results(void)
{
    keep();
    for (uint64_t round = 0; round < RANDOM_ROUNDS / 6; round++) {
        snprintf(check_context, sizeof check_context, "seed %llu", (unsigned long long)round);
        intruder_seed = round;
        counted_period = 1 + round % 50;
        counted_intruder = intrude;
        operate((uint32_t)round);
        counted_intruder = NULL;
    }
}

static void ruin(uint32_t round)
{
    uint64_t seed = round;

    for (uint32_t i = 0; i < kept_words; i++)
        *word_at(i) = round == 0 ? 0 : round == 1 ? UINT64_MAX : round % 2 ? arena_random(&seed)
                                                               : kept[arena_random(&seed) % kept_words];
}

static void a_region_of_zeros_of_ones_or_of_noise_ends_in_results(void)
{
    keep();
    for (uint32_t round = 0; round < RUINED_ROUNDS; round++) {
        snprintf(check_context, sizeof check_context, "round %u", round);
        ruin(round);
        operate(round);
    }
}

/* Walks are linear in the ring, however its slots and hints are set. */
static void a_ring_of_65536_slots_of_noise_is_walked_in_linear_time(void)
{
    static const uint32_t distances[] = { 1, 0xffffff, 0xfffffe, 0, 0x800000, 0x7fffff };
    struct shmq_message message;
    struct shmq_queue_ref deep;
    struct shmq_actor me;

    arena_make(GRANULE_SHIFT, GRANULES, 2, 1);
    arena_enter(&me, 1);
    arena_open(&me, "deep", SHMQ_MAX_DEPTH, &deep);
    for (uint32_t round = 0; round < 24; round++) {
        uint64_t seed = round;

        for (uint32_t i = 0; i < SHMQ_MAX_DEPTH; i++) { /* every slot a stale message of this, another or any lap */
            uint32_t ahead = round % 2 ? (uint32_t)arena_random(&seed) : distances[round / 4];
            uint32_t value = round % 4 < 2 ? i % GRANULES + 1 : (uint32_t)arena_random(&seed);

            deep.slots[i] = shmq_slot_word((uint32_t)(deep.base >> 16) + ahead, 0, value);
        }
        deep.queue->head = shmq_hint_word(deep.epoch, round % 3 ? deep.base : arena_random(&seed));
        deep.queue->tail = shmq_hint_word(deep.epoch, round % 3 ? deep.base : arena_random(&seed));
        counted_allow(12 * SHMQ_MAX_DEPTH);
        (void)arena_try_send(&me, &deep, 1);
        counted_allow(12 * SHMQ_MAX_DEPTH);
        for (int i = 0; i < 2 && shmq_receive(&me, &deep, &message) == SHMQ_OK; i++) {
            CHECK_EQUAL(message.label, 1); /* what was sent here, if a walk leads to it */
            CHECK_EQUAL(shmq_release(&me, &message.hold), SHMQ_OK);
        }
        counted_allow(UINT64_MAX);
    }
}

/* The buddy words' pre-set tail is all that keeps a block from reaching past the end. */
static void no_loan_reaches_past_the_end_though_the_tail_is_unlocked(void)
{
    for (uint32_t granules = 1; granules < 130; granules++)
        for (uint32_t order = 0; order <= 7; order++) {
            struct shmq_actor me;
            struct shmq_hold loan;

            arena_make(GRANULE_SHIFT, granules, 2, 1);
            arena_enter(&me, 1);
            for (uint32_t tier = 0; tier < arena.map.geometry.tiers; tier++)
                for (uint32_t word = 0; word < arena.map.geometry.word_count[tier]; word++)
                    arena.map.word[tier][word] = SHMQ_WORD_ACTIVE;
            while (shmq_loan(&me, 1ull << (GRANULE_SHIFT + order), &loan) == SHMQ_OK) {
                CHECK(loan.block + (1u << order) <= granules);
                shmq_payload(&arena.map, loan.block)[(1ull << (GRANULE_SHIFT + order)) - 1] = 1;
            }
        }
}

static void a_cached_block_whose_word_was_overwritten_is_never_lent(void)
{
    static const uint32_t orders[] = { 1, 6, 7, 27, 28, 31 };
    struct shmq_actor me;
    struct shmq_hold loan;

    for (uint32_t i = 0; i < ARENA_COUNT(orders); i++) {
        arena_make(GRANULE_SHIFT, GRANULES, 2, 1);
        arena_enter(&me, 1);
        me.cache.limit = 8;
        CHECK_EQUAL(shmq_loan(&me, 1, &loan), SHMQ_OK);
        CHECK(me.cache.count[0] > 1);
        for (uint32_t n = 0; n < me.cache.count[0]; n++)
            arena.map.block[me.cache.block[0][n]].word ^= (uint64_t)orders[i] << 35;
        CHECK_EQUAL(shmq_loan(&me, 1, &loan), SHMQ_OK);
        CHECK_EQUAL(shmq_block_order(loan.word), 0);
        CHECK(me.corrupt > 0);
        CHECK_EQUAL(shmq_release(&me, &loan), SHMQ_OK);
    }
}

static const struct check_test tests[] = {
    CHECK_TEST(without_corruption_everything_works_and_nothing_is_counted),
    CHECK_TEST(any_word_overwritten_with_any_boundary_value_ends_in_results),
    CHECK_TEST(any_single_bit_flipped_in_a_word_that_decides_ends_in_results),
    CHECK_TEST(many_words_overwritten_at_random_end_in_results),
    CHECK_TEST(words_that_change_in_the_middle_of_an_operation_end_in_results),
    CHECK_TEST(a_region_of_zeros_of_ones_or_of_noise_ends_in_results),
    CHECK_TEST(a_ring_of_65536_slots_of_noise_is_walked_in_linear_time),
    CHECK_TEST(no_loan_reaches_past_the_end_though_the_tail_is_unlocked),
    CHECK_TEST(a_cached_block_whose_word_was_overwritten_is_never_lent),
};

ARENA_MAIN(tests)
