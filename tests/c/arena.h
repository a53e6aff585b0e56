/* SPDX-License-Identifier: MIT */
/* A region in one test's memory, laid out as a real one, between pages that fault; and an operating system that only
 * notes what it is asked for. One thread; the next arena_make replaces the region.
 */
#ifndef ARENA_H
#define ARENA_H

#ifndef _GNU_SOURCE
#define _GNU_SOURCE
#endif

#include <sys/mman.h>

#include "check.h"

#include "shmq/await.h"
#include "shmq/census.h"
#include "shmq/envelope.h"
#include "shmq/publish.h"
#include "shmq/recover.h"

#define ARENA_WAKES 32
#define ARENA_MIB (1ull << 20)

struct arena_wake {
    const uint64_t *seq;
    uint32_t sleepers;
};

struct arena {
    struct shmq_map map;
    size_t admin_bytes, data_bytes; /* mapped, without the guard pages */
    uint64_t *formatted;            /* the buddy words of all tiers, as they were when the region was new */

    uint32_t wakes;                 /* calls of wake since arena_forget … */
    struct arena_wake wake[ARENA_WAKES]; /* … the first of them */
    uint32_t sleeps;
    const uint64_t *slept_on;       /* the last sleep: its word … */
    uint32_t slept_value;           /* … the value expected there … */
    uint64_t slept_ns;              /* … and for how long */
    int sleep_result;
    void (*while_asleep)(void);     /* what others do meanwhile, or NULL */
    uint32_t reserves;
    uint64_t reserved_at, reserved_bytes; /* the last reservation */
    bool refuse_reserve;
    void (*while_reserving)(void);  /* what others do meanwhile, once, or NULL */
    uint64_t clock, tick;           /* ns; how much each look at the clock adds */
    uint32_t yields;
    uint64_t yield_ns;              /* what each takes */
};

static struct arena arena;

/* ---- the operating system -------------------------------------------------------------------------------- */

static inline int arena_reserve(void *context, uint64_t offset, uint64_t bytes)
{
    (void)context;
    arena.reserves++;
    arena.reserved_at = offset;
    arena.reserved_bytes = bytes;
    if (arena.while_reserving) {
        void (*others)(void) = arena.while_reserving;

        arena.while_reserving = NULL;
        others();
    }
    return arena.refuse_reserve ? SHMQ_NO_SPACE : SHMQ_OK;
}

static inline int arena_sleep(void *context, uint64_t *word, uint32_t expected, uint64_t ns)
{
    (void)context;
    arena.sleeps++;
    arena.slept_on = word;
    arena.slept_value = expected;
    arena.slept_ns = ns;
    if (arena.while_asleep)
        arena.while_asleep();
    if ((uint32_t)*word != expected)
        return SHMQ_OK;
    arena.clock += ns;
    return arena.sleep_result;
}

static inline void arena_wake(void *context, uint64_t *word, uint32_t sleepers)
{
    (void)context;
    if (arena.wakes < ARENA_WAKES)
        arena.wake[arena.wakes] = (struct arena_wake){ word, sleepers };
    arena.wakes++;
}

static inline uint64_t arena_now(void *context)
{
    (void)context;
    return arena.clock += arena.tick;
}

static inline void arena_yield(void *context)
{
    (void)context;
    arena.yields++;
    arena.clock += arena.yield_ns;
}

static const struct shmq_ops arena_ops = { arena_reserve, arena_sleep, arena_wake, arena_now, arena_yield, NULL };

/* Forget what was asked so far. */
static inline void arena_forget(void)
{
    arena.wakes = arena.sleeps = arena.reserves = 0;
    arena.slept_on = NULL;
    arena.while_asleep = NULL;
    arena.while_reserving = NULL;
    arena.sleep_result = SHMQ_TIMEOUT;
    arena.refuse_reserve = false;
    arena.clock = 1000000000;
    arena.tick = 100;
}

/* ---- the region ------------------------------------------------------------------------------------------ */

/* Memory that is zero and costs nothing until it is touched; its last byte lies before a page that faults. */
static inline unsigned char *arena_map(size_t bytes, size_t *mapped)
{
    unsigned char *memory;

    *mapped = shmq_round_up(bytes, SHMQ_PAGE);
    memory = (unsigned char *)mmap(NULL, *mapped + SHMQ_PAGE, PROT_READ | PROT_WRITE,
        MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    CHECK(memory != MAP_FAILED);
    CHECK_EQUAL(mprotect(memory + *mapped, SHMQ_PAGE, PROT_NONE), 0);
    return memory + *mapped - bytes;
}

static inline void arena_unmap(unsigned char *memory, size_t mapped)
{
    uintptr_t start = (uintptr_t)memory / SHMQ_PAGE * SHMQ_PAGE;

    if (memory)
        munmap((void *)start, mapped + SHMQ_PAGE);
}

static inline uint32_t arena_word_total(void)
{
    uint32_t total = 0;

    for (uint32_t tier = 0; tier < arena.map.geometry.tiers; tier++)
        total += arena.map.geometry.word_count[tier];
    return total;
}

/* Call visit for each buddy word and its formatted value. */
static inline void arena_each_word(void (*visit)(uint64_t *word, uint64_t *formatted))
{
    uint64_t *formatted = arena.formatted;

    for (uint32_t tier = 0; tier < arena.map.geometry.tiers; tier++)
        for (uint32_t word = 0; word < arena.map.geometry.word_count[tier]; word++)
            visit(&arena.map.word[tier][word], formatted++);
}

static inline void arena_keep_word(uint64_t *word, uint64_t *formatted) { *formatted = *word; }

/* A new region without a copy of its buddy words: for regions too large to look at. */
static inline void arena_make_huge(uint32_t granule_shift, uint64_t granules, uint32_t processes, uint32_t queues)
{
    struct shmq_geometry geometry;
    unsigned char *admin, *data;

    arena_unmap(arena.map.admin, arena.admin_bytes);
    arena_unmap(arena.map.data, arena.data_bytes);
    free(arena.formatted);
    arena.formatted = NULL;
    CHECK_EQUAL(shmq_geometry_init(&geometry, granule_shift, granules, processes, queues), SHMQ_OK);
    admin = arena_map(geometry.admin_size, &arena.admin_bytes);
    data = arena_map(geometry.data_size, &arena.data_bytes);
    shmq_map_init(&arena.map, &geometry, admin, data, &arena_ops);
    shmq_buddy_format(&arena.map);
    arena_forget();
}

static inline void arena_make(uint32_t granule_shift, uint64_t granules, uint32_t processes, uint32_t queues)
{
    arena_make_huge(granule_shift, granules, processes, queues);
    arena.formatted = (uint64_t *)calloc(arena_word_total(), sizeof(uint64_t));
    CHECK(arena.formatted != NULL);
    arena_each_word(arena_keep_word);
}

/* Enter a process. Its cache is off until the test sets a limit. */
static inline void arena_enter(struct shmq_actor *actor, uint32_t slot)
{
    shmq_actor_init(actor, &arena.map, slot, 0);
    shmq_process_enter(actor, "tester", 1000 + slot, 1, 1);
}

/* close(slot), as whoever finds the process dead does it. */
static inline void arena_close(uint32_t slot)
{
    struct shmq_actor dead;

    shmq_actor_init(&dead, &arena.map, slot, shmq_process_epoch(shmq_process_load(&arena.map, slot)));
    shmq_close(&dead);
}

static inline void arena_open(struct shmq_actor *actor, const char *name, uint32_t depth, struct shmq_queue_ref *ref)
{
    struct shmq_queue_spec spec = { SHMQ_KIND_WORK, SHMQ_POLICY_BLOCK, depth, name, 0, 0 };

    CHECK_EQUAL(shmq_queue_open(actor, &spec, true, ref), SHMQ_OK);
}

/* ---- messages that are their label ----------------------------------------------------------------------- */

static inline int arena_try_send(struct shmq_actor *actor, const struct shmq_queue_ref *ref, uint32_t label)
{
    struct shmq_parcel parcel = { 1, label };
    struct shmq_hold loan;
    int result;

    CHECK_EQUAL(shmq_loan(actor, 1, &loan), SHMQ_OK);
    result = shmq_send(actor, ref, &loan, &parcel);
    if (result != SHMQ_OK)
        CHECK_EQUAL(shmq_release(actor, &loan), SHMQ_OK);
    return result;
}

static inline void arena_send(struct shmq_actor *actor, const struct shmq_queue_ref *ref, uint32_t label)
{
    CHECK_EQUAL(arena_try_send(actor, ref, label), SHMQ_OK);
}

/* Receive the message with this label and keep it. */
static inline void arena_hold(struct shmq_actor *actor, const struct shmq_queue_ref *ref, uint32_t label,
    struct shmq_message *message)
{
    CHECK_EQUAL(shmq_receive(actor, ref, message), SHMQ_OK);
    CHECK_EQUAL(message->label, label);
}

static inline void arena_receive(struct shmq_actor *actor, const struct shmq_queue_ref *ref, uint32_t label)
{
    struct shmq_message message;

    arena_hold(actor, ref, label, &message);
    CHECK_EQUAL(shmq_release(actor, &message.hold), SHMQ_OK);
}

static inline void arena_nothing(struct shmq_actor *actor, const struct shmq_queue_ref *ref, int result)
{
    struct shmq_message message;

    CHECK_EQUAL(shmq_receive(actor, ref, &message), result);
}

/* ---- looking around -------------------------------------------------------------------------------------- */

static inline uint64_t arena_word(uint32_t block) { return arena.map.block[block].word; }

static inline uint64_t arena_bit(uint32_t block, uint32_t order)
{
    struct shmq_node node = shmq_node_of(&arena.map, block, order);

    return arena.map.word[node.tier][node.word] >> node.bit & 1;
}

/* How many slots of the queue name the block. */
static inline uint32_t arena_times_queued(const struct shmq_queue_ref *ref, uint32_t block)
{
    uint32_t times = 0;

    for (uint32_t i = 0; i < 1u << ref->capacity_shift; i++)
        times += shmq_slot_value(ref->slots[i]) == block + 1;
    return times;
}

static inline void arena_check_word(uint64_t *word, uint64_t *formatted) { CHECK_EQUAL(*word, *formatted); }

/* Every block is free, and the buddy words are as they were when the region was new. */
static inline void arena_check_all_free(void)
{
    struct shmq_actor janitor;

    for (uint32_t block = 0; block < arena.map.geometry.granules; block++)
        CHECK_EQUAL(shmq_block_state(arena_word(block)), SHMQ_STATE_FREE);
    shmq_actor_init(&janitor, &arena.map, 0, 0);
    shmq_buddy_merge(&janitor);
    arena_each_word(arena_check_word);
}

/* No queue is left, nobody claims one, no name is pending, and no slot of a ring is taken. */
static inline void arena_check_no_queues(void)
{
    for (uint32_t qid = 0; qid < arena.map.geometry.queues; qid++) {
        CHECK_EQUAL(shmq_flags_bits(arena.map.queue[qid].flags) & ~(SHMQ_QUEUE_SLEEP | SHMQ_QUEUE_SPACE), 0);
        CHECK_EQUAL(arena.map.queue[qid].claim, 0);
        for (uint32_t i = 0; i < shmq_place_slots(&arena.map, qid); i++)
            CHECK_EQUAL(shmq_slot_value(shmq_map_slots(&arena.map, qid)[i]), 0);
    }
    CHECK_EQUAL(shmq_dir_queue(arena.map.header->dir), 0);
}

static inline void arena_check_no_processes(void)
{
    for (uint32_t slot = 0; slot < arena.map.geometry.max_processes; slot++)
        CHECK_EQUAL(shmq_process_state(arena.map.process[slot].state), SHMQ_PROCESS_FREE);
}

/* A splitmix64: the same numbers on every machine. */
static inline uint64_t arena_random(uint64_t *seed)
{
    uint64_t z = *seed += 0x9e3779b97f4a7c15ull;

    z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9ull;
    z = (z ^ z >> 27) * 0x94d049bb133111ebull;
    return z ^ z >> 31;
}

#define ARENA_COUNT(array) (sizeof(array) / sizeof((array)[0]))
#define ARENA_MAIN(tests)                                                  \
    int main(int argc, char **argv)                                        \
    {                                                                      \
        return check_main(argc, argv, tests, ARENA_COUNT(tests), NULL);    \
    }

#endif
