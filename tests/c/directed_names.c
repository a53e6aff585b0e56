/* SPDX-License-Identifier: MIT */
/* Directed tests: making, deleting and claiming queues by name. */
#include "sim_directed_tests.h"

static struct sim_process *const victim = &sim_processes[SIM_VICTIM];
static struct sim_process *maker, *other, *third;
static int result;
static int builder; /* a fibre that is stopped while it builds a queue */

static void stage_two(void)
{
    sim_stage(16);
    sim_player(SIM_VICTIM, 2);
    other = sim_player(1, 2);
    third = sim_player(2, 2);
    sim_impersonate(SIM_ROOT);
}

/* ---- U4: makers of one name ---- */

static void open_beta(struct sim_process *self) { result = sim_do_open(self, SIM_BETA, 2, true); }

static void open_beta_behind(void)
{
    SIM_AS(other, sim_do_open(other, SIM_BETA, 3, true));
    SIM_AS(other, sim_post(other, &other->named[SIM_BETA].ref));
}

static void check_one_beta(void)
{
    SIM_CHECK(other->named[SIM_BETA].open, "a name could not be opened while another was at it");
    if (victim->attached && sim_state(SIM_VICTIM) == SIM_FINISHED)
        SIM_CHECK(result == SHMQ_OK && victim->named[SIM_BETA].ref.qid == other->named[SIM_BETA].ref.qid
                && victim->named[SIM_BETA].ref.epoch == other->named[SIM_BETA].ref.epoch,
            "two processes opened one name and have different queues");
    SIM_AS(third, sim_do_open(third, SIM_BETA, 1, false));
    SIM_CHECK(sim_fetch(third, &third->named[SIM_BETA].ref) == SHMQ_OK, "a message sent by name did not arrive");
}

void sim_test_two_makers(void)
{
    static const struct sim_stop goes_on = { stage_two, open_beta, open_beta_behind, check_one_beta, false, false };
    static const struct sim_stop killed = { stage_two, open_beta, open_beta_behind, check_one_beta, true, false };
    static const struct sim_stop recovered = { stage_two, open_beta, open_beta_behind, check_one_beta, true, true };

    sim_stop_everywhere(&goes_on);
    sim_stop_everywhere(&killed);
    sim_stop_everywhere(&recovered);
}

static void open_and_delete_behind(void)
{
    SIM_AS(other, sim_do_open(other, SIM_BETA, 3, true));
    SIM_AS(other, sim_do_delete(other, SIM_BETA));
}

void sim_test_maker_against_deleter(void)
{
    static const struct sim_stop goes_on = { stage_two, open_beta, open_and_delete_behind, NULL, false, false };
    static const struct sim_stop killed = { stage_two, open_beta, open_and_delete_behind, NULL, true, false };

    sim_stop_everywhere(&goes_on);
    sim_stop_everywhere(&killed);
}

/* ---- H3: a helper is stopped, and the record that it helps is another's when it goes on ---- */

static void open_gamma_body(void *argument)
{
    struct sim_process *self = argument;

    sim_do_open(self, SIM_GAMMA, 2, true);
}

static void open_beta_body(void *argument)
{
    struct sim_process *self = argument;

    sim_do_open(self, SIM_BETA, 2, true);
}

/* The third died after N1: dir names its queue, which is not open. */
static void stage_pending(void)
{
    int fibre;

    stage_two();
    fibre = sim_spawn(open_beta_body, third);
    sim_impersonate(fibre);
    SIM_CHECK(fibre == SIM_VICTIM, "the first fibre");
    sim_impersonate(SIM_ROOT);
}

static void help(struct sim_process *self) { result = sim_do_open(self, SIM_DELTA, 2, false); }

/* Others settle the name, delete the queue, and one is half-way through building the next in the same record. */
static uint32_t builder_stop;

static void settle_delete_and_build(void)
{
    SIM_AS(other, sim_do_open(other, SIM_BETA, 2, true));
    SIM_AS(other, sim_do_delete(other, SIM_BETA));
    sim_impersonate(SIM_ROOT);
    builder = sim_spawn(open_gamma_body, &sim_processes[SIM_FIBRES - 1]);
    sim_run(builder, builder_stop);
}

static void check_not_opened_half_built(void)
{
    for (uint32_t qid = sim_map.geometry.max_processes; qid < sim_map.geometry.queues; qid++) {
        const struct shmq_queue *queue = &sim_map.queue[qid];

        if (sim_state(builder) != SIM_READY || shmq_flags_owner(queue->flags) != sim_processes[SIM_FIBRES - 1].actor.slot)
            continue;
        SIM_CHECK(!(queue->flags & SHMQ_QUEUE_OPEN), "a helper opened the half-built queue %u", qid);
    }
    sim_run(builder, SIM_FOREVER);
    SIM_CHECK(sim_state(builder) == SIM_FINISHED, "the builder does not end");
    SIM_CHECK(sim_processes[SIM_FIBRES - 1].named[SIM_GAMMA].open, "the builder's queue is not open");
}
