/* SPDX-License-Identifier: MIT */
/* Random schedules: the plan, the lives of processes, the audits. */
#include "sim_workload.h"

#include "sim_plan.h"
#include "sim_windup.h"

struct sim_plan sim_plan;

/* Steps that come so seldom that a death or a stall must be aimed at them. */
static const enum shmq_step rare_steps[] = {
    SHMQ_S_SENDER, SHMQ_S_FROM, SHMQ_S_EPOCH, SHMQ_S1, SHMQ_A3, SHMQ_SPM, SHMQ_SP1, SHMQ_SP2, SHMQ_F0, SHMQ_M1,
    SHMQ_M2, SHMQ_M3, SHMQ_S2_DEPTH, SHMQ_S2_HELP, SHMQ_S2_RECHECK, SHMQ_S2, SHMQ_S2_TAIL, SHMQ_R2_HEAD, SHMQ_S2_BACK,
    SHMQ_S3, SHMQ_S3, SHMQ_S3_BACK, SHMQ_S3_CLEAR, SHMQ_R1_RECHECK, SHMQ_R1_EPOCH, SHMQ_R1, SHMQ_R2, SHMQ_R3, SHMQ_R4,
    SHMQ_RQ1, SHMQ_RQ1_EPOCH, SHMQ_RQ2, SHMQ_RQ3, SHMQ_R_COUNT, SHMQ_ACK, SHMQ_Q1, SHMQ_Q1_SLOT, SHMQ_Q2,
    SHMQ_Q_SHARING, SHMQ_Q_SHUT, SHMQ_QC1, SHMQ_QC2, SHMQ_QC2_RECHECK, SHMQ_QC3, SHMQ_QC4, SHMQ_CLAIM,
    SHMQ_CLAIM_RECHECK, SHMQ_UNCLAIM, SHMQ_N1, SHMQ_N1_RECHECK, SHMQ_N2, SHMQ_N3, SHMQ_W1, SHMQ_W2, SHMQ_W4, SHMQ_C1,
    SHMQ_C3_FREE, SHMQ_C3_BACK, SHMQ_C3_FLAGS, SHMQ_C3_REQUEUE, SHMQ_C3_RECHECK, SHMQ_C3_UNDO,
    SHMQ_C4_RQ, SHMQ_C4_CLAIM, SHMQ_C5, SHMQ_R1, SHMQ_C3_SETTLE, SHMQ_C3_SETTLE, SHMQ_C3_SETTLE, SHMQ_C3_SETTLE,
};

/* A stop at the first that leads to the second: dying there takes both. */
static const struct { enum shmq_step stall, crash; } narrow_windows[] = {
    { SHMQ_C3_REQUEUE, SHMQ_C3_UNDO }, { SHMQ_C3_REQUEUE, SHMQ_C3_UNDO }, { SHMQ_C3_REQUEUE, SHMQ_C3_UNDO },
    { SHMQ_M2, SHMQ_M3 }, { SHMQ_S3, SHMQ_S3_BACK }, { SHMQ_S3, SHMQ_S3_CLEAR }, { SHMQ_S2, SHMQ_S2_HELP },
    { SHMQ_RQ1_EPOCH, SHMQ_RQ2 }, { SHMQ_CLAIM, SHMQ_UNCLAIM }, { SHMQ_A2, SHMQ_A3 },
};

/* Where messages change hands between the dying. */
static const enum shmq_step handover_steps[] = {
    SHMQ_S_FROM, SHMQ_S_EPOCH, SHMQ_S_EPOCH, SHMQ_S1, SHMQ_S2, SHMQ_RQ1, SHMQ_RQ1_EPOCH, SHMQ_C3_BACK, SHMQ_C3_REQUEUE,
    SHMQ_C3_RECHECK, SHMQ_C4_RQ, SHMQ_C5,
};

/* Of topics, publications, drops. */
static const enum shmq_step topic_steps[] = {
    SHMQ_DROP, SHMQ_DROP, SHMQ_T_NUMBER, SHMQ_T_WORDS, SHMQ_T_WANT, SHMQ_T_FANOUT, SHMQ_T_FANOUT, SHMQ_S2, SHMQ_S2,
    SHMQ_T_OPEN, SHMQ_T_OPEN, SHMQ_T_UNPOST, SHMQ_T_UNPOST, SHMQ_T_SEEN, SHMQ_T_SEEN, SHMQ_T_CLEAR, SHMQ_T_CLEAR,
    SHMQ_T_CLEAR, SHMQ_T_GEN, SHMQ_T_ZERO, SHMQ_T_LAST, SHMQ_T_LAST, SHMQ_T_ALONE, SHMQ_Q_INDICES, SHMQ_Q3, SHMQ_Q3,
    SHMQ_QC_SUB, SHMQ_QC_SUB, SHMQ_Q_TOPIC, SHMQ_Q_TOPIC_OPEN, SHMQ_N1, SHMQ_C3_TICKET, SHMQ_C3_TICKET,
    SHMQ_C3_FLAGS, SHMQ_R1_RECHECK, SHMQ_R1_EPOCH, SHMQ_R2,
    SHMQ_R3, SHMQ_QC1, SHMQ_QC2_RECHECK, SHMQ_QC3, SHMQ_QC4, SHMQ_Q1, SHMQ_Q2, SHMQ_C5, SHMQ_S2_EPOCH, SHMQ_S2_RECHECK,
    SHMQ_Q_SHARING, SHMQ_ACK, SHMQ_R1,
};

static enum shmq_step rare_step(void)
{
    if (sim_plan.topics && sim_random(8))
        return topic_steps[sim_random(sizeof topic_steps / sizeof topic_steps[0])];
    if (sim_plan.theme == SIM_HANDOVER)
        return handover_steps[sim_random(sizeof handover_steps / sizeof handover_steps[0])];
    return rare_steps[sim_random(sizeof rare_steps / sizeof rare_steps[0])];
}

static uint32_t pick(const uint32_t *choices, uint32_t count) { return choices[sim_random(count)]; }

/* ---- the shape of the region and the weather ---- */

static void make_world(void)
{
    static const uint32_t tiny[] = { 20, 32, 32 }, middle[] = { 64, 200, 500, 1024 }, large[] = { 2048, 2100, 2500 };
    struct sim_shape shape = { 0, 4 + sim_random(4), 2 + sim_random(4), 0, 0, 0 };
    uint32_t size = sim_random(10);

    if (sim_plan.theme == SIM_HANDOVER || size < 4)
        shape.granules = pick(tiny, 3);
    else
        shape.granules = size < 8 ? pick(middle, 4) : pick(large, 3);
    if (!sim_random(4))
        shape.first_lap = 0xffffff - sim_random(6);
    if (!sim_random(4))
        shape.first_epoch = sim_random(2) ? 0xffffffff - sim_random(6) : 0xffff - sim_random(6);
    if (!sim_random(4))
        shape.first_gen = 0xffffff - sim_random(6);
    sim_min_capacity_shift = 1 + sim_random(2);
    if (sim_plan.topics)
        shape.queues = 4 * sim_plan.topics + sim_random(12);
    sim_world_make(&shape);
    if (sim_plan.topics && !sim_random(3))
        sim_world_crowd(1 + sim_random(12));
    sim_plan.largest_order = shape.granules < 64 ? 2 : shape.granules < 2000 ? 6 : 11;
}

static struct sim_weather make_weather(void)
{
    static const uint32_t switches[] = { 20, 80, 200, 500, 1024 }, stalls[] = { 0, 0, 1, 3, 10 };
    struct sim_weather weather = { pick(switches, 5), pick(stalls, 5), 20000, sim_random(4) == 0 };

    return weather;
}

/* Stop for long at a place chosen anew now and then. */
static void plan_stall(int fibre)
{
    uint32_t later = sim_random(2) ? 0 : 1 + sim_random(5);
    uint32_t occurrence = 1 + sim_random(2);

    sim_stall_at(fibre, rare_step(), occurrence, later);
}

/* Who dies, and where. */
static void doom(int fibre)
{
    if (sim_random(5) >= sim_plan.crash_chance)
        return;
    if (!sim_random(6)) {
        uint32_t window = sim_random(sizeof narrow_windows / sizeof narrow_windows[0]);

        sim_stall_at(fibre, narrow_windows[window].stall, 1, 0);
        sim_crash_at(fibre, narrow_windows[window].crash, 1);
    } else if (sim_random(2)) {
        sim_crash_after(fibre, 1 + sim_random(sim_plan.crash_window));
    } else {
        uint32_t occurrence = 1 + sim_random(2);

        sim_crash_at(fibre, rare_step(), occurrence);
    }
}

/* ---- the life of a process ---- */

static void pause_if_asked(enum sim_phase until)
{
    while (sim_plan.barrier || sim_plan.phase < until)
        sim_park();
}

static void work(struct sim_process *process)
{
    uint32_t count = 20 + sim_random(100);

    for (uint32_t i = 0; i < count; i++) {
        if (sim_plan.operations_to_barrier && --sim_plan.operations_to_barrier == 0)
            sim_plan.barrier = true;
        pause_if_asked(SIM_WORKING);
        if (!sim_random(sim_plan.stall_interval))
            plan_stall(process->fibre);
        sim_operate(process);
    }
}

/* Views live on for a while after the region was closed. */
static void linger(struct sim_process *process)
{
    sim_process_close_but_views(process);
    for (uint32_t i = sim_random(20); i; i--)
        sim_system_call();
    for (uint32_t i = 0; i < process->held_count; i++)
        sim_ledger_check(process->held_id[i], "viewed after the close");
}

/* Politely, or by leaving everything as it is. */
static void go(struct sim_process *process)
{
    if (!sim_random(4))
        linger(process);
    if (sim_random(2))
        sim_process_leave(process);
    else
        sim_process_abandon(process);
}

static void join_topic(struct sim_process *process)
{
    if (sim_do_topic(process, 0) == SHMQ_OK && sim_random(4)) {
        enum shmq_policy policy = (enum shmq_policy)sim_random(3);

        sim_do_subscribe(process, 0, 0, 1 + sim_random(sim_plan.deepest), policy);
    }
}

static void life(void *argument)
{
    struct sim_process *process = argument;

    sim_process_attach(process, sim_current());
    if (!process->attached)
        return;
    process->actor.cache.limit = sim_plan.cache_limit;
    for (uint32_t tier = 0; tier < sim_map.geometry.tiers; tier++)
        process->actor.word_hint[tier] = sim_random(sim_map.geometry.word_count[tier]);
    sim_do_open_inbox(process, 1 + sim_random(sim_plan.deepest));
    if (sim_plan.topics)
        join_topic(process);
    else if (sim_do_open(process, 0, 1 + sim_random(sim_plan.deepest), true) == SHMQ_OK)
        sim_do_claim(process, 0, true);
    work(process);
    if (sim_random(4)) { /* some go before the end */
        pause_if_asked(SIM_DRAINING);
        sim_drain_own(process); /* nothing new is sent any more: what is there must come out */
        pause_if_asked(SIM_LEAVING);
    }
    go(process);
}

static void give_birth(void)
{
    int fibre;

    if (!sim_plan.births_left)
        return;
    sim_plan.births_left--;
    fibre = sim_spawn(life, &sim_processes[SIM_FIBRES - sim_plan.births_left - 1]);
    SIM_CHECK(fibre == (int)(SIM_FIBRES - sim_plan.births_left - 1), "fibres are numbered in order of birth");
    doom(fibre);
}

static void on_death(int fibre)
{
    sim_totals.crashes++;
    sim_process_died(fibre);
    if (sim_plan.phase == SIM_WORKING && sim_random(8))
        give_birth();
}

/* ---- the schedule ---- */

static void audit(void)
{
    sim_recover_all();
    sim_processes_audit();
}

static void run(const struct sim_weather *weather)
{
    for (;;) {
        sim_schedule(weather, on_death);
        audit();
        if (!sim_plan.barrier)
            return;
        sim_plan.barrier = false;
        sim_unpark();
    }
}

static void enter_phase(enum sim_phase phase, const struct sim_weather *weather)
{
    sim_plan.phase = phase;
    sim_unpark();
    run(weather);
}

/* In a tiny region the main program takes most blocks, so that there are never enough. */
static void make_scarce(void)
{
    sim_root.actor.cache.limit = 0;
    if (sim_map.geometry.granules > 32 || sim_random(2))
        return;
    while (sim_root.loan_count < SIM_LOANS && sim_do_loan(&sim_root, 2) == SHMQ_OK)
        continue;
}

void sim_random_schedule(uint64_t seed)
{
    static const uint32_t cache_limits[] = { 0, 0, 1, 4, 40 };
    struct sim_weather weather;
    uint32_t first;

    snprintf(sim_context, sizeof sim_context, "sim_random %llu 1", (unsigned long long)seed);
    sim_reset(seed);
    memset(&sim_plan, 0, sizeof sim_plan);
    memset(sim_processes, 0, sizeof sim_processes);
    sim_plan.theme = (enum sim_theme)sim_random(SIM_THEMES);
    if (sim_plan.theme == SIM_FANOUT || sim_plan.theme == SIM_SUBSCRIBING || sim_plan.theme == SIM_OVERFLOW)
        sim_plan.topics = 1 + sim_random(SIM_TOPICS);
    make_world();
    sim_ledger_reset();
    sim_processes_reset();
    weather = make_weather();
    sim_plan.names = sim_plan.theme == SIM_MIXED ? SIM_NAMES : 1 + sim_random(2);
    sim_plan.deepest = sim_plan.theme == SIM_MIXED ? 6 : 1 + sim_random(4);
    sim_plan.births_left = SIM_FIBRES;
    sim_plan.crash_chance = sim_plan.theme == SIM_HANDOVER ? 5 : sim_random(6);
    sim_plan.crash_window = 50u << sim_random(7);
    sim_plan.stall_interval = 4u << sim_random(5);
    sim_plan.cache_limit = pick(cache_limits, 5);
    sim_plan.keeps_alpha = sim_plan.theme != SIM_ENDING && sim_random(4) < (sim_plan.theme == SIM_RECOVERY ? 2u : 3u);
    sim_plan.operations_to_barrier = sim_random(2) ? 1 + sim_random(400) : 0;
    make_scarce();
    first = 3 + sim_random(5);
    while (first--)
        give_birth();
    run(&weather);
    enter_phase(SIM_DRAINING, &weather);
    for (uint32_t name = 0; name < SIM_NAMES; name++)
        sim_drain_named(name);
    sim_ledger_settle();
    enter_phase(SIM_LEAVING, &weather);
    sim_wind_up();
    sim_totals.schedules++;
}
