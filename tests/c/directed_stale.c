/* SPDX-License-Identifier: MIT */
/* Directed tests: a taker died between its claim (R1) and the clearing of its slot (R2). Until it is recovered the
 * slot is stale, and everybody gets along with that. */
#include "sim_directed_tests.h"

static struct sim_process *const victim = &sim_processes[SIM_VICTIM];
static struct sim_process *dead, *peer;
static struct shmq_queue_ref alpha;
static uint32_t depth, before, after; /* how many messages go in before and after the one whose taker dies */
static int result;

/* R1 alone, by hand. */
static void claim_and_die(void)
{
    struct shmq_place place;
    uint64_t *word, mine;

    sim_impersonate(dead->fibre);
    SIM_CHECK(shmq_queue_find_head(&alpha, &place) == SHMQ_OK, "nothing to claim");
    word = &sim_map.block[shmq_slot_value(place.word) - 1].word;
    mine = shmq_block_word(shmq_block_gen(*word), shmq_block_order(*word), SHMQ_STATE_OWNED, alpha.qid + 1,
        dead->actor.slot);
    shmq_cas_seq_cst(word, *word, mine, SHMQ_R1);
    sim_slay(dead);
}

static int post(struct sim_process *process) { return SIM_AS(process, sim_post(process, &alpha)); }

static int fetch_and_release(struct sim_process *process)
{
    int fetched = SIM_AS(process, sim_fetch(process, &alpha));

    if (fetched == SHMQ_OK)
        sim_do_release(process, process->held_count - 1);
    return fetched;
}

static void stage(void)
{
    sim_stage(16);
    peer = sim_player(1, depth);
    dead = sim_player(2, depth);
    sim_player(SIM_VICTIM, depth);
    alpha = peer->named[SIM_ALPHA].ref;
    for (uint32_t i = 0; i < 3; i++) { /* not the first lap */
        post(peer);
        fetch_and_release(peer);
    }
    for (uint32_t i = 0; i < before; i++) {
        post(peer);
        fetch_and_release(peer);
    }
    post(peer);
    claim_and_die();
    for (uint32_t i = 0; i < after; i++)
        post(peer);
}

static void for_all(void (*test)(void))
{
    for (depth = 1; depth <= 4; depth++)
        for (before = 0; before < 4; before++)
            for (after = 0; after < depth; after++)
                test();
}

/* ---- it holds nobody up ---- */

static void flow(void)
{
    sim_stopped(depth, before * 10 + after);
    stage();
    for (uint32_t i = after; i < depth; i++)
        SIM_CHECK(post(peer) == SHMQ_OK, "a stale slot counts against the depth (%u of %u)", i, depth);
    SIM_CHECK(post(peer) == SHMQ_FULL, "the depth is not kept beside a stale slot");
    for (uint32_t i = 0; i < depth; i++)
        SIM_CHECK(fetch_and_release(peer) == SHMQ_OK, "a stale slot hides a message");
    SIM_CHECK(fetch_and_release(peer) == SHMQ_EMPTY, "a message too many");
    sim_wind_up();
}

static void flow_in_turn(void)
{
    uint32_t got = 0, sent = after;

    sim_stopped(depth, before * 10 + after);
    stage();
    for (uint32_t i = 0; i < 10; i++) {
        sent += post(peer) == SHMQ_OK;
        got += fetch_and_release(peer) == SHMQ_OK;
    }
    SIM_CHECK(sent >= 10 && got >= 10, "beside a stale slot only %u messages went in and %u out", sent, got);
    sim_wind_up();
}

void sim_test_stale_slot_holds_nobody_up(void)
{
    for_all(flow);
    for_all(flow_in_turn);
}

/* ---- whoever clears it may stop at any step while the ring goes on ---- */

static void send(struct sim_process *self) { result = sim_post(self, &alpha); }

static void receive(struct sim_process *self)
{
    result = sim_fetch(self, &alpha);
    if (result == SHMQ_OK)
        sim_do_release(self, 0);
}

static void recover(struct sim_process *self)
{
    (void)self;
    sim_recover(dead->actor.slot);
}

static uint32_t laps;

static void ring_goes_on(void)
{
    for (uint32_t i = 0; i < laps; i++) {
        post(peer);
        fetch_and_release(peer);
    }
    post(peer);
}

static void stop_here(void)
{
    static const struct sim_stop stops[] = {
        { stage, send, ring_goes_on, NULL, SIM_GOES_ON },
        { stage, receive, ring_goes_on, NULL, SIM_GOES_ON },
        { stage, recover, ring_goes_on, NULL, SIM_GOES_ON },
        { stage, send, ring_goes_on, NULL, SIM_DIES },
        { stage, receive, ring_goes_on, NULL, SIM_DIES },
        { stage, recover, ring_goes_on, NULL, SIM_DIES },
        { stage, receive, NULL, NULL, SIM_DIES },
    };

    for (laps = 0; laps < 6; laps++)
        for (uint32_t i = 0; i < sizeof stops / sizeof stops[0]; i++)
            sim_stop_everywhere(&stops[i]);
}

void sim_test_stale_slot_is_cleared_once(void)
{
    (void)victim;
    for_all(stop_here);
}
