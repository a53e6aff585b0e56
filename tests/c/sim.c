/* SPDX-License-Identifier: MIT */
/* Who runs next. */
#include "sim.h"

#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include "sim_engine.h"

#define LIVELOCK_TURNS 20000000u
#define LIVELOCK_ACCESSES 20000000u /* of one fibre, or of the main program in one schedule */
#define NS_PER_TURN 1000u

uint32_t sim_min_capacity_shift = 1;
uint32_t sim_lap_gap = 2;
char sim_context[256];

struct sim_fibre sim_main_fibre;
struct sim_fibre *sim_running = &sim_main_fibre;
bool sim_store_buffer;
bool sim_quiet_step[SHMQ_STEP_COUNT];

static struct sim_fibre fibres[SIM_FIBRES];
static int fibre_count;
static uint64_t random_state;
static uint64_t turn;       /* the simulated clock */
static bool scheduling;     /* inside sim_schedule: switch at random; else: count accesses */
static struct sim_weather weather;

/* ---- chance ---- */

static void random_seed(uint64_t seed)
{
    random_state = (seed + 1) * 0x9e3779b97f4a7c15ull;
    random_state ^= random_state >> 29;
    if (!random_state)
        random_state = 1;
    for (int i = 0; i < 8; i++)
        sim_random(2);
}

uint32_t sim_random(uint32_t below)
{
    random_state ^= random_state << 13;
    random_state ^= random_state >> 7;
    random_state ^= random_state << 17;
    return (uint32_t)((random_state >> 32) * below >> 32);
}

/* ---- fibres ---- */

void sim_reset(uint64_t seed)
{
    for (int i = 0; i < fibre_count; i++)
        fibres[i].state = SIM_UNUSED;
    fibre_count = 0;
    turn = 0;
    sim_running = &sim_main_fibre;
    sim_main_fibre.delayed = false;
    sim_main_fibre.accesses = 0;
    sim_store_buffer = false;
    random_seed(seed);
}

int sim_current(void) { return sim_running == &sim_main_fibre ? SIM_NOBODY : (int)(sim_running - fibres); }

enum sim_state sim_state(int fibre) { return fibres[fibre].state; }

bool sim_alive(int fibre)
{
    enum sim_state state = fibres[fibre].state;

    return state == SIM_READY || state == SIM_ASLEEP || state == SIM_PARKED;
}

uint64_t sim_accesses(int fibre) { return fibres[fibre].accesses; }

static void leave(bool forever)
{
    sim_stack_leave(sim_running->stack, forever);
}

static void fibre_entry(void)
{
    sim_stack_started(sim_running->stack);
    sim_running->body(sim_running->argument);
    sim_operation_end();
    sim_buffer_drain(sim_running);
    sim_running->state = SIM_FINISHED;
    leave(true);
}

int sim_spawn(sim_body *body, void *argument)
{
    struct sim_fibre *fibre;
    struct sim_stack *stack;

    if (fibre_count == SIM_FIBRES)
        sim_fail("more than %d simulated processes", SIM_FIBRES);
    fibre = &fibres[fibre_count];
    stack = fibre->stack;
    memset(fibre, 0, sizeof *fibre);
    fibre->stack = sim_stack_make(stack, fibre_entry);
    fibre->state = SIM_READY;
    fibre->body = body;
    fibre->argument = argument;
    return fibre_count++;
}

/* Let the fibre run until it gives up the processor. */
static void enter(struct sim_fibre *fibre)
{
    sim_running = fibre;
    sim_stack_enter(fibre->stack);
    sim_running = &sim_main_fibre;
}

/* ---- scheduling points and crash points ---- */

static bool triggers(struct sim_trigger *trigger, enum shmq_step step)
{
    return trigger->occurrence && trigger->step == step && --trigger->occurrence == 0;
}

static void stall(uint32_t longest)
{
    sim_buffer_drain(sim_running); /* being descheduled is a barrier */
    sim_running->stalled_until = turn + 1 + sim_random(longest);
    leave(false);
}

static void random_point(enum shmq_step step)
{
    struct sim_fibre *fibre = sim_running;

    if (fibre->buffered && !sim_random(4))
        sim_buffer_drain_one(fibre);
    if (triggers(&fibre->stall_at, step))
        fibre->stall_armed = true;
    if (fibre->stall_armed && fibre->stall_later-- == 0) {
        fibre->stall_armed = false;
        stall(weather.longest_stall);
    } else if (weather.stall_chance && sim_random(1024) < weather.stall_chance) {
        stall(sim_random(4) ? 60 : weather.longest_stall);
    } else if (sim_random(1024) < weather.switch_chance) {
        leave(false);
    }
}

static void count_access(struct sim_fibre *fibre)
{
    if (++fibre->accesses > LIVELOCK_ACCESSES)
        sim_fail("livelock: %u accesses and no end", LIVELOCK_ACCESSES);
}

void sim_point(enum shmq_step step)
{
    struct sim_fibre *fibre = sim_running;

    if (sim_quiet_step[step])
        return;
    if (fibre == &sim_main_fibre) {
        count_access(fibre);
        return;
    }
    if (scheduling) {
        random_point(step);
    } else {
        while (fibre->budget == 0 || (fibre->stop_at_step && fibre->stop_step == step))
            leave(false);
        fibre->budget--;
    }
    count_access(fibre);
}

static void die(void)
{
    sim_buffer_drain(sim_running); /* stores that were executed reach memory also after SIGKILL */
    sim_running->delayed = false;
    sim_running->state = SIM_CRASHED;
}

void sim_crash_point(enum shmq_step step)
{
    struct sim_fibre *fibre = sim_running;
    bool crash;

    if (fibre == &sim_main_fibre || sim_quiet_step[step])
        return;
    crash = ++fibre->writes == fibre->crash_after;
    if (triggers(&fibre->crash_at, step))
        crash = true;
    if (!crash)
        return;
    sim_step_count[step].crashes++;
    die();
    leave(true);
}

void sim_kill(int fibre)
{
    struct sim_fibre *caller = sim_running;

    if (!sim_alive(fibre))
        return;
    sim_running = &fibres[fibre];
    die();
    sim_running = caller;
}

void sim_crash_after(int fibre, uint64_t writes) { fibres[fibre].crash_after = writes; }

void sim_crash_soon(int fibre, uint64_t writes) { fibres[fibre].crash_after = fibres[fibre].writes + writes; }

void sim_crash_at(int fibre, enum shmq_step step, uint32_t occurrence)
{
    fibres[fibre].crash_at = (struct sim_trigger){ step, occurrence };
}

void sim_stall_at(int fibre, enum shmq_step step, uint32_t occurrence, uint32_t later)
{
    fibres[fibre].stall_at = (struct sim_trigger){ step, occurrence };
    fibres[fibre].stall_later = later;
}

/* ---- counted runs ---- */

static enum sim_state run(int number)
{
    struct sim_fibre *fibre = &fibres[number];

    if (fibre->state == SIM_READY)
        enter(fibre);
    return fibre->state;
}

enum sim_state sim_run(int fibre, uint64_t accesses)
{
    fibres[fibre].budget = accesses;
    fibres[fibre].stop_at_step = false;
    return run(fibre);
}

enum sim_state sim_run_to(int fibre, enum shmq_step step)
{
    fibres[fibre].budget = SIM_FOREVER;
    fibres[fibre].stop_at_step = true;
    fibres[fibre].stop_step = step;
    return run(fibre);
}

/* ---- random schedules ---- */

/* The fibres that could go on now. Where none can, lets time pass until one can. False: all are parked or gone. */
static bool runnable(int *list, int *count)
{
    uint64_t next = SIM_FOREVER;

    *count = 0;
    for (int i = 0; i < fibre_count; i++) {
        struct sim_fibre *fibre = &fibres[i];
        uint64_t at = fibre->stalled_until;

        if (fibre->state == SIM_ASLEEP)
            at = fibre->wake_at;
        else if (fibre->state != SIM_READY)
            continue;
        if (at <= turn)
            list[(*count)++] = i;
        else if (at < next)
            next = at;
    }
    if (!*count && next != SIM_FOREVER) {
        turn = next;
        return runnable(list, count);
    }
    return *count > 0;
}

void sim_schedule(const struct sim_weather *how, void (*on_death)(int fibre))
{
    int list[SIM_FIBRES], count;
    uint64_t last_turn = turn + LIVELOCK_TURNS;

    weather = *how;
    scheduling = true;
    sim_store_buffer = how->store_buffer;
    while (runnable(list, &count)) {
        int chosen = list[sim_random((uint32_t)count)];

        if (++turn > last_turn)
            sim_fail("livelock: %u turns and no end", LIVELOCK_TURNS);
        if (fibres[chosen].state == SIM_ASLEEP) {
            fibres[chosen].state = SIM_READY;
            fibres[chosen].timed_out = true;
        }
        enter(&fibres[chosen]);
        if (fibres[chosen].state == SIM_CRASHED)
            on_death(chosen);
    }
    scheduling = false;
    sim_store_buffer = false;
}

void sim_park(void)
{
    sim_operation_end();
    sim_buffer_drain(sim_running);
    sim_running->state = SIM_PARKED;
    leave(false);
}

void sim_unpark(void)
{
    for (int i = 0; i < fibre_count; i++)
        if (fibres[i].state == SIM_PARKED)
            fibres[i].state = SIM_READY;
}

/* ---- the kernel's part: barriers, futex, clock ---- */

void sim_system_call(void)
{
    if (sim_running == &sim_main_fibre)
        return;
    sim_buffer_drain(sim_running);
    sim_point(SHMQ_READ);
}

int sim_sleep(uint64_t *word, uint32_t expected, uint64_t ns)
{
    struct sim_fibre *fibre = sim_running;
    uint64_t turns = ns / NS_PER_TURN + 1;

    sim_system_call();
    if ((uint32_t)*word != expected)
        return 0;
    if (fibre == &sim_main_fibre)
        sim_fail("the main program would sleep");
    fibre->state = SIM_ASLEEP;
    fibre->sleeping_on = word;
    fibre->wake_at = ns == SIM_FOREVER ? SIM_FOREVER : turn + 1 + sim_random(turns < 4000 ? (uint32_t)turns : 4000);
    fibre->timed_out = false;
    leave(false);
    fibre->sleeping_on = NULL;
    return fibre->timed_out;
}

void sim_wake(uint64_t *word, uint32_t sleepers)
{
    sim_system_call();
    for (int i = 0; i < fibre_count && sleepers; i++)
        if (fibres[i].state == SIM_ASLEEP && fibres[i].sleeping_on == word) {
            fibres[i].state = SIM_READY;
            fibres[i].stalled_until = 0;
            sleepers--;
        }
}

void sim_time_out(int fibre)
{
    if (fibres[fibre].state != SIM_ASLEEP)
        return;
    fibres[fibre].state = SIM_READY;
    fibres[fibre].timed_out = true;
}

uint64_t sim_now(void) { return turn * NS_PER_TURN; }

/* ---- failing ---- */

void sim_fail(const char *format, ...)
{
    va_list arguments;

    fflush(stdout);
    fprintf(stderr, "FAIL: ");
    va_start(arguments, format);
    vfprintf(stderr, format, arguments);
    va_end(arguments);
    fprintf(stderr, "\n  at: %s; fibre %d, turn %llu\n", sim_context, sim_current(), (unsigned long long)turn);
    fflush(NULL);
    _Exit(1);
}
