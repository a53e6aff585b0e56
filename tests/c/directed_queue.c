/* SPDX-License-Identifier: MIT */
/* Directed tests: handles, hints and slots of former incarnations; hints and slots that are far off. */
#include "sim_directed_tests.h"

static struct sim_process *const victim = &sim_processes[SIM_VICTIM];
static struct sim_process *peer;
static struct shmq_queue_ref old_ref;
static int result;

/* ---- D1, D2: a handle of a former incarnation ---- */

static uint32_t old_depth, new_depth;

static void stage_alpha_in_use(void)
{
    peer = sim_stage_alpha(old_depth);
    old_ref = peer->named[SIM_ALPHA].ref;
}

static void stage_full_alpha(void)
{
    stage_alpha_in_use();
    while (SIM_AS(peer, sim_post(peer, &old_ref)) == SHMQ_OK)
        continue;
}

static void receive_old(struct sim_process *self) { result = sim_fetch(self, &old_ref); }
static void send_old(struct sim_process *self) { result = sim_post(self, &old_ref); }
static void send_old_body(void *argument) { result = sim_post(argument, &old_ref); }

static void remake_and_fill(void)
{
    sim_remake_alpha(peer, new_depth);
    while (sim_post(peer, &peer->named[SIM_ALPHA].ref) == SHMQ_OK)
        continue;
}

/* As many messages as its depth go into the new queue, and more go through it. */
static void check_flow(void)
{
    const struct shmq_queue_ref *ref = &peer->named[SIM_ALPHA].ref;
    uint32_t count = 0;

    sim_impersonate(peer->fibre);
    while (sim_post(peer, ref) == SHMQ_OK)
        continue;
    for (int round = 0; round < 12; round++) {
        SIM_CHECK(sim_fetch(peer, ref) == SHMQ_OK, "the new queue gives no message (round %d)", round);
        sim_do_release(peer, 0);
        SIM_CHECK(sim_post(peer, ref) == SHMQ_OK, "the new queue takes no message (round %d)", round);
    }
    while (sim_fetch(peer, ref) == SHMQ_OK) {
        sim_do_release(peer, 0);
        count++;
    }
    SIM_CHECK(count == new_depth, "the new queue holds %u messages, its depth is %u", count, new_depth);
}

/* What was sent to the new incarnation is still there to the last. */
static void check_new_full(void)
{
    sim_impersonate(peer->fibre);
    SIM_CHECK(sim_post(peer, &peer->named[SIM_ALPHA].ref) == SHMQ_FULL, "a message of the new queue is gone");
    check_flow();
}

static void every_depths(const struct sim_stop *stop)
{
    static const uint32_t depths[][2] = { { 2, 2 }, { 4, 2 }, { 2, 4 }, { 1, 3 }, { 4, 1 } };

    for (uint32_t i = 0; i < sizeof depths / sizeof depths[0]; i++) {
        old_depth = depths[i][0];
        new_depth = depths[i][1];
        sim_stop_everywhere(stop);
    }
}

void sim_test_stale_receiver(void)
{
    static const struct sim_stop stop = { stage_full_alpha, receive_old, remake_and_fill, check_new_full, SIM_GOES_ON };

    every_depths(&stop);
}

static void remake(void) { sim_remake_alpha(peer, new_depth); }

void sim_test_stale_tail_hint(void)
{
    static const struct sim_stop stop = { stage_alpha_in_use, send_old, remake, check_flow, SIM_GOES_ON };

    every_depths(&stop);
}

void sim_test_stale_head_hint(void)
{
    static const struct sim_stop stop = { stage_full_alpha, receive_old, remake, check_flow, SIM_GOES_ON };

    every_depths(&stop);
}

/* ---- D3, U9: hints and slots that are far off ---- */

static void check_hints(int32_t tail_laps, int32_t head_laps)
{
    struct shmq_queue *queue = peer->named[SIM_ALPHA].ref.queue;
    uint32_t shift = peer->named[SIM_ALPHA].ref.capacity_shift;
    uint64_t tail = shmq_hint_position(queue->tail) + ((uint64_t)(int64_t)tail_laps << shift);
    uint64_t head = shmq_hint_position(queue->head) + ((uint64_t)(int64_t)head_laps << shift);

    sim_impersonate(peer->fibre);
    queue->tail = shmq_hint_word(shmq_hint_epoch(queue->tail), tail);
    queue->head = shmq_hint_word(shmq_hint_epoch(queue->head), head);
    check_flow();
}

void sim_test_lagging_hint(void)
{
    static const int32_t laps[] = { 0, -1, -2, -1000, -(1 << 22), -(1 << 23) + 1, -(1 << 23), -(1 << 23) - 1,
        -(1 << 24) + 2 };

    for (uint32_t tail = 0; tail < sizeof laps / sizeof laps[0]; tail++)
        for (uint32_t head = 0; head < sizeof laps / sizeof laps[0]; head++) {
            sim_stopped(tail, head);
            old_depth = new_depth = 2;
            stage_alpha_in_use();
            check_hints(laps[tail], laps[head]);
            sim_wind_up();
        }
}

static void wild_slots(uint32_t seed)
{
    sim_reset(seed);
    for (uint32_t i = 0; i < 1u << old_ref.capacity_shift; i++) {
        uint64_t high = sim_random(UINT32_MAX);

        old_ref.slots[i] = high << 32 | sim_random(UINT32_MAX);
    }
    old_ref.queue->tail = shmq_hint_word(old_ref.epoch, (uint64_t)sim_random(UINT32_MAX) << 16);
    old_ref.queue->head = shmq_hint_word(old_ref.epoch, (uint64_t)sim_random(UINT32_MAX) << 16);
}

static void send_and_receive(void *argument)
{
    struct sim_process *self = argument;
    struct shmq_message message;
    struct shmq_hold loan;
    struct shmq_parcel parcel = { 8, 1 };

    if (shmq_loan(&self->actor, 8, &loan) == SHMQ_OK && shmq_send(&self->actor, &old_ref, &loan, &parcel) != SHMQ_OK)
        shmq_release(&self->actor, &loan);
    shmq_receive(&self->actor, &old_ref, &message);
}

/* Garbage in every slot and hint: operations end, whatever they return. */
void sim_test_bounded_walks(void)
{
    for (uint32_t seed = 1; seed < 200; seed++) {
        sim_stopped(seed, 0);
        old_depth = 1 + seed % 4;
        stage_alpha_in_use();
        sim_observer = NULL; /* no rule holds for garbage */
        wild_slots(seed);
        sim_impersonate(SIM_ROOT);
        sim_spawn(send_and_receive, victim);
        SIM_CHECK(sim_run(SIM_VICTIM, 200000) == SIM_FINISHED, "a walk over garbage does not end");
    }
}

/* ---- a generation whose low 12 bits come round ---- */

/* The message goes, and its block comes back into the queue with a generation that looks the same in a slot. */
static void same_generation_again(void)
{
    uint32_t block, gen;

    sim_impersonate(peer->fibre);
    if (sim_fetch(peer, &old_ref) != SHMQ_OK)
        return;
    block = peer->held[0].hold.block;
    gen = shmq_block_gen(peer->held[0].hold.word);
    sim_do_release(peer, 0);
    sim_map.block[block].word = shmq_block_word(gen + 4095, 0, SHMQ_STATE_FREE, 0, 0);
    sim_post(peer, &old_ref);
    SIM_CHECK(sim_map.block[block].word == shmq_block_word(gen + 4096, 0, SHMQ_STATE_QUEUED, old_ref.qid + 1,
        peer->actor.slot),
        "the block was not used again");
}

static void stage_one_of_two(void)
{
    stage_alpha_in_use();
    SIM_AS(peer, sim_post(peer, &old_ref));
}

static void stage_two_of_two(void)
{
    stage_one_of_two();
    SIM_AS(peer, sim_post(peer, &old_ref));
}

static void make_room_and_same_generation(void)
{
    same_generation_again();
    SIM_AS(peer, sim_fetch(peer, &old_ref));
}

/* How many accesses a send makes before it looks at the block in its slot. */
static uint64_t accesses_before_judging(void)
{
    stage_two_of_two();
    sim_impersonate(SIM_ROOT);
    sim_spawn(send_old_body, victim);
    sim_run_to(SIM_VICTIM, SHMQ_S2_RECHECK);
    return sim_accesses(SIM_VICTIM) - 1;
}

/* The sender has read a slot of a full queue and not yet the block that it names. */
static void judge_successor(void)
{
    uint64_t accesses = accesses_before_judging();

    sim_stopped(accesses, 0);
    stage_two_of_two();
    sim_impersonate(SIM_ROOT);
    sim_spawn(send_old_body, victim);
    sim_run(SIM_VICTIM, accesses);
    make_room_and_same_generation();
    sim_impersonate(SIM_ROOT);
    sim_run(SIM_VICTIM, SIM_FOREVER);
    SIM_CHECK(result == SHMQ_OK, "a sender was told %d although there was room", result);
    sim_wind_up();
}

void sim_test_same_generation_again(void)
{
    static const struct sim_stop receiver = { stage_one_of_two, receive_old, same_generation_again, NULL, SIM_GOES_ON };

    old_depth = 2;
    sim_stop_everywhere(&receiver);
    judge_successor();
}

/* ---- a ring far ahead of slots that an earlier, larger ring left ---- */

/* As after so many laps of messages: the slots of the ring, empty, and the hints. */
static void advance(const struct shmq_queue_ref *ref, uint32_t laps_on)
{
    struct shmq_queue *queue = ref->queue;
    uint64_t by = (uint64_t)laps_on << ref->capacity_shift;

    for (uint32_t i = 0; i < 1u << ref->capacity_shift; i++)
        ref->slots[i] = shmq_slot_empty(shmq_slot_lap(ref->slots[i]) + laps_on);
    queue->tail = shmq_hint_word(ref->epoch, shmq_hint_position(queue->tail) + by);
    queue->head = shmq_hint_word(ref->epoch, shmq_hint_position(queue->head) + by);
}

/* A sender stops before its post; its queue lives on for many laps, is deleted and made again with some depth. */
static void far_ahead(uint32_t first, uint32_t second, uint32_t third, uint32_t laps_before, uint32_t laps_on)
{
    old_depth = first;
    stage_alpha_in_use();
    sim_remake_alpha(peer, second);
    old_ref = peer->named[SIM_ALPHA].ref;
    for (uint32_t i = 0; i < laps_before << old_ref.capacity_shift; i++) {
        sim_post(peer, &old_ref);
        sim_fetch(peer, &old_ref);
        sim_do_release(peer, 0);
    }
    sim_impersonate(SIM_ROOT);
    sim_spawn(send_old_body, victim);
    sim_run_to(SIM_VICTIM, SHMQ_S2);
    advance(&old_ref, laps_on);
    sim_remake_alpha(peer, third);
    sim_impersonate(SIM_ROOT);
    sim_run_to(SIM_VICTIM, SHMQ_S3);
    sim_impersonate(peer->fibre);
    SIM_CHECK(sim_fetch(peer, &peer->named[SIM_ALPHA].ref) == SHMQ_EMPTY,
        "a message for a deleted queue arrived in the next");
    sim_impersonate(SIM_ROOT);
    sim_run(SIM_VICTIM, SIM_FOREVER);
    SIM_CHECK(result == SHMQ_CLOSED, "a send to a deleted queue returned %d", result);
    new_depth = third;
    check_flow();
    sim_wind_up();
}

void sim_test_far_ahead_of_old_slots(void)
{
    static const uint32_t depths[][3] = { { 4, 2, 2 }, { 2, 2, 4 }, { 2, 4, 2 }, { 4, 2, 4 }, { 2, 2, 2 } };
    static const uint32_t laps[] = { 0, 1, 1000, (1 << 23) - 3, (1 << 23) - 1, 1 << 23, (1 << 23) + 1, (1 << 23) + 5,
        (1 << 24) - 6 };

    for (uint32_t i = 0; i < sizeof depths / sizeof depths[0]; i++)
        for (uint32_t before = 0; before < 4; before++)
            for (uint32_t j = 0; j < sizeof laps / sizeof laps[0]; j++) {
                sim_stopped(i * 10 + before, laps[j]);
                far_ahead(depths[i][0], depths[i][1], depths[i][2], before, laps[j]);
            }
}
