/* SPDX-License-Identifier: MIT */
/* A victim, its memory put into the state that a step leaves, and a survivor that closes for it. */
#ifndef VICTIM_H
#define VICTIM_H

#include "counted.h"

#include "arena.h"

#define SURVIVOR 1u
#define VICTIM 2u

static struct shmq_actor me, victim;
static struct shmq_queue_ref jobs, inbox; /* a work queue; the victim's inbox */

static inline void make_sized(uint32_t granules)
{
    arena_make(9, granules, 3, 4);
    arena_enter(&me, SURVIVOR);
    arena_enter(&victim, VICTIM);
    arena_open(&me, "jobs", 20, &jobs);
    CHECK_EQUAL(shmq_queue_delete(&me, &jobs), SHMQ_OK);
    arena_open(&me, "jobs", 20, &jobs); /* an epoch of its own: no other queue's fits by chance */
    CHECK_EQUAL(shmq_queue_open_inbox(&victim, "victim", 10, &inbox), SHMQ_OK);
}

static inline void make(void) { make_sized(2048); }

/* The survivor goes too, and with it every queue: the region is as new. */
static inline void check_nothing_left(void)
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

static inline void die(void)
{
    uint32_t epoch = shmq_process_epoch(arena.map.process[VICTIM].state);

    arena_close(VICTIM);
    CHECK_EQUAL(arena.map.process[VICTIM].state, shmq_process_word(epoch + 1, SHMQ_PROCESS_FREE));
}

static inline void die_and_leave_nothing(void)
{
    die();
    arena_nothing(&me, &jobs, SHMQ_EMPTY);
    check_nothing_left();
}

/* The victim dies; its message is the next worker's. */
static inline void die_and_redeliver(uint32_t label)
{
    struct shmq_message message;

    die();
    arena_hold(&me, &jobs, label, &message);
    CHECK_EQUAL(message.deliveries, 1);
    CHECK_EQUAL(shmq_release(&me, &message.hold), SHMQ_OK);
    arena_nothing(&me, &jobs, SHMQ_EMPTY);
    check_nothing_left();
}

static inline void die_and_deliver(uint32_t label)
{
    die();
    arena_receive(&me, &jobs, label);
    arena_nothing(&me, &jobs, SHMQ_EMPTY);
    check_nothing_left();
}

static inline uint32_t alloc(uint32_t order)
{
    uint32_t block;

    CHECK_EQUAL(shmq_buddy_alloc(&victim, order, &block), SHMQ_OK);
    return block;
}

static inline void set_word(uint32_t block, enum shmq_state state, uint32_t queue, uint32_t owner)
{
    uint64_t word = arena_word(block);

    arena.map.block[block].word = shmq_block_word(shmq_block_gen(word), shmq_block_order(word), state, queue, owner);
}

static inline uint64_t *slot_of(const struct shmq_queue_ref *ref, uint64_t number)
{
    return &ref->slots[(ref->base + number) % (1u << ref->capacity_shift)];
}

static inline uint32_t block_in(const struct shmq_queue_ref *ref, uint64_t number)
{
    CHECK(shmq_slot_value(*slot_of(ref, number)));
    return shmq_slot_value(*slot_of(ref, number)) - 1;
}

static inline void clear_bit(uint32_t block)
{
    struct shmq_node node = shmq_node_of(&arena.map, block, shmq_block_order(arena_word(block)));

    arena.map.word[node.tier][node.word] &= ~(1ull << node.bit);
}

/* The victim sends a message and dies after S2: it stands in the ring. */
static inline uint32_t posted(uint32_t label)
{
    uint64_t number = shmq_hint_position(jobs.queue->tail) - jobs.base;

    arena_send(&victim, &jobs, label);
    return block_in(&jobs, number);
}

/* The victim holds a message of jobs and forwards it to `ref`; it stands there in slot `number`. */
static inline uint32_t forwarded(const struct shmq_queue_ref *ref, uint64_t number)
{
    struct shmq_message message;

    arena_send(&me, &jobs, 9);
    arena_hold(&victim, &jobs, 9, &message);
    CHECK_EQUAL(shmq_forward(&victim, ref, &message), SHMQ_OK);
    return block_in(ref, number);
}

#endif
