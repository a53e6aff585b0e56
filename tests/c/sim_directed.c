/* SPDX-License-Identifier: MIT */
/* What directed tests share. */
#include "sim_directed.h"

#define ENDLESS 1000000u    /* accesses after which an operation is taken to hang */

bool sim_victim_ended;
static uint64_t stops;
static const char *test_name;

uint64_t sim_directed_run(const struct sim_directed *test)
{
    uint64_t before = stops;

    test_name = test->name;
    snprintf(sim_context, sizeof sim_context, "directed: %s", test->name);
    test->run();
    return stops - before;
}

const struct sim_directed *sim_directed_find(const char *name)
{
    for (uint32_t i = 0; i < sim_directed_count(); i++)
        if (strcmp(sim_directed_tests[i].name, name) == 0)
            return &sim_directed_tests[i];
    return NULL;
}

static void stage(uint32_t granules, uint32_t queues)
{
    struct sim_shape shape = { granules, 6, queues, 0, 0, 0 };

    sim_reset(1);
    sim_min_capacity_shift = 1;
    memset(sim_processes, 0, sizeof sim_processes);
    sim_world_make(&shape);
    sim_ledger_reset();
    sim_processes_reset();
}

void sim_stage(uint32_t granules) { stage(granules, 4); }

void sim_stage_topics(uint32_t granules) { stage(granules, 8); }

struct sim_process *sim_member(int fibre, uint32_t depth, enum shmq_policy policy)
{
    struct sim_process *process = sim_play(fibre);

    SIM_CHECK(sim_do_topic(process, 0) == SHMQ_OK, "the topic could not be opened");
    SIM_CHECK(!depth || sim_do_subscribe(process, 0, 0, depth, policy) == SHMQ_OK, "subscribing failed");
    return process;
}

uint32_t sim_announce(struct sim_process *process)
{
    return sim_do_loan(process, 0) == SHMQ_OK ? sim_do_publish(process, process->loan_count - 1, 0, 0) : 0;
}

int sim_hear(struct sim_process *process) { return sim_do_receive(process, &process->subscription[0].ref); }

struct sim_process *sim_player(int fibre, uint32_t depth)
{
    struct sim_process *process = sim_play(fibre);

    sim_do_open_inbox(process, depth);
    SIM_CHECK(sim_do_open(process, SIM_ALPHA, depth, true) == SHMQ_OK, "alpha could not be opened");
    sim_do_claim(process, SIM_ALPHA, true);
    return process;
}

int sim_post(struct sim_process *process, const struct shmq_queue_ref *ref)
{
    struct shmq_queue_ref target = *ref;
    int result = sim_do_loan(process, 0);

    if (result == SHMQ_OK) {
        result = sim_do_send(process, process->loan_count - 1, &target);
        if (result != SHMQ_OK)
            sim_do_return(process, process->loan_count - 1);
    }
    return result;
}

int sim_fetch(struct sim_process *process, const struct shmq_queue_ref *ref)
{
    struct shmq_queue_ref source = *ref;

    return sim_do_receive(process, &source);
}

bool sim_die_after(struct sim_process *process, sim_body *operation, uint64_t accesses)
{
    bool ended;
    int fibre;

    sim_impersonate(SIM_ROOT);
    fibre = sim_spawn(operation, process);
    SIM_CHECK(&sim_processes[fibre] == process, "fibre %d is another process", fibre);
    sim_run(fibre, accesses);
    ended = sim_state(fibre) == SIM_FINISHED;
    sim_kill(fibre);
    sim_slay(process);
    sim_reset(1);
    return ended;
}

void sim_slay(struct sim_process *process)
{
    sim_process_died((int)(process - sim_processes));
    sim_impersonate(SIM_ROOT);
}

void sim_remake_alpha(struct sim_process *process, uint32_t depth)
{
    uint32_t before = process->named[SIM_ALPHA].ref.qid;

    sim_impersonate(process->fibre);
    sim_do_delete(process, SIM_ALPHA);
    SIM_CHECK(sim_do_open(process, SIM_ALPHA, depth, true) == SHMQ_OK && process->named[SIM_ALPHA].ref.qid == before,
        "alpha was not made again in its record");
    sim_do_claim(process, SIM_ALPHA, true);
}

struct sim_process *sim_stage_alpha(uint32_t depth)
{
    struct sim_process *peer;

    sim_stage(32);
    peer = sim_player(1, depth);
    sim_player(SIM_VICTIM, depth);
    sim_impersonate(peer->fibre);
    for (int i = 0; i < 7; i++) { /* so that the rings have gone round */
        sim_post(peer, &peer->named[SIM_ALPHA].ref);
        sim_fetch(peer, &peer->named[SIM_ALPHA].ref);
        sim_do_release(peer, 0);
    }
    return peer;
}

uint32_t sim_count(struct sim_process *process, const struct shmq_queue_ref *ref)
{
    uint32_t count = 0;

    sim_impersonate(process->fibre);
    while (sim_fetch(process, ref) == SHMQ_OK) {
        sim_do_release(process, process->held_count - 1);
        count++;
    }
    return count;
}

/* ---- a stop at every access ---- */

static const struct sim_stop *current;

static void body(void *argument) { current->victim(argument); }

static void let_go_on(void)
{
    enum sim_state state = sim_run(SIM_VICTIM, ENDLESS);

    while (state == SIM_ASLEEP) {
        sim_time_out(SIM_VICTIM);
        state = sim_run(SIM_VICTIM, ENDLESS);
    }
    SIM_CHECK(state != SIM_READY, "the operation does not end");
}

void sim_stopped(uint64_t first, uint64_t second)
{
    snprintf(sim_context, sizeof sim_context, "directed: %s, stop %llu, %llu", test_name, (unsigned long long)first,
        (unsigned long long)second);
    stops++;
}

/* What happens behind the victim's back, and after. */
static void conclude(void)
{
    sim_victim_ended = sim_state(SIM_VICTIM) == SIM_FINISHED;
    if (current->fate != SIM_GOES_ON) {
        sim_kill(SIM_VICTIM);
        sim_slay(&sim_processes[SIM_VICTIM]);
    }
    if (current->fate == SIM_DIES_RECOVERED)
        sim_recover_all();
    if (current->behind)
        current->behind();
    sim_impersonate(SIM_ROOT);
    if (sim_alive(SIM_VICTIM))
        let_go_on();
    if (current->check)
        current->check();
    sim_wind_up();
}

static void begin(uint64_t accesses, uint64_t writes)
{
    sim_stopped(accesses, writes);
    if (current->set_up)
        current->set_up();
    sim_impersonate(SIM_ROOT);
    SIM_CHECK(sim_spawn(body, &sim_processes[SIM_VICTIM]) == SIM_VICTIM, "the victim is the first fibre");
}

/* So many accesses; who sleeps on the way sleeps its slice. */
static void run_for(uint64_t accesses)
{
    enum sim_state state = sim_run(SIM_VICTIM, accesses);

    while (state == SIM_ASLEEP && sim_accesses(SIM_VICTIM) < accesses) {
        sim_time_out(SIM_VICTIM);
        state = sim_run(SIM_VICTIM, accesses - sim_accesses(SIM_VICTIM));
    }
}

/* Stopped before each access; dead, it is killed there. */
static void stop_at_accesses(void)
{
    sim_victim_ended = false;
    for (uint64_t accesses = 0; !sim_victim_ended; accesses++) {
        begin(accesses, 0);
        run_for(accesses);
        conclude();
    }
}

/* Killed after each write: the same places, but for mutants that swap two writes. */
static void die_after_writes(void)
{
    sim_victim_ended = false;
    for (uint64_t writes = 1; !sim_victim_ended; writes++) {
        begin(0, writes);
        sim_crash_after(SIM_VICTIM, writes);
        run_for(ENDLESS);
        conclude();
    }
}

void sim_stop_everywhere(const struct sim_stop *stop)
{
    current = stop;
    stop_at_accesses();
    if (stop->fate != SIM_GOES_ON)
        die_after_writes();
}
