/* SPDX-License-Identifier: MIT */
/* The simulator's engine: processes are fibres of one thread, and the headers under test reach shared memory only
 * through shmq_sim_load … shmq_sim_fetch_add, which live here. Each such access is a scheduling point, each write
 * that changes something a crash point. Everything follows from one seed.
 *
 *     sim_fibre.c   switching stacks
 *     sim.c         who runs next: random schedules with stalls, or so many accesses and then stop
 *     sim_access.c  the accesses themselves, mutants, the x86 store buffer, counts for each step
 *     sim_world.c   a region, its byte locks, the fake futex and clock, attaching and recovering
 *     sim_rules.c   who may change which word to what, checked at each write
 *     sim_ledger.c  what became of every message
 *     sim_tickets.c and of every ticket of those that were published
 *     sim_audit.c   what must hold whenever nobody is inside an operation
 *     sim_process.c, sim_do.c, sim_do_topic.c  what a simulated process has in hand, and its operations
 *     sim_windup.c  the end of a staged scenario
 *
 * On these stand four programs: sim_random (sim_workload.c, sim_operations.c), sim_exhaustive (sim_pair.c), directed
 * (sim_directed*.c, directed_*.c) and mutants (sim_catch.c, mutants.h). Each is its main file with all the rest: sim.c,
 * every sim_*.c but the two mains, directed_*.c; compiled with -DSHMQ_SIMULATOR.
 *
 * Two constants of the headers become variables here, so that one build tries several: rings small enough to go
 * round often, and the lap gap that a mutant takes away.
 */
#ifndef SIM_H
#define SIM_H

#include <stdio.h>

#include "shmq/layout.h"

extern uint32_t sim_min_capacity_shift;
extern uint32_t sim_lap_gap;

#undef SHMQ_MIN_CAPACITY_SHIFT
#define SHMQ_MIN_CAPACITY_SHIFT sim_min_capacity_shift
#undef SHMQ_LAP_GAP
#define SHMQ_LAP_GAP sim_lap_gap

#define SIM_FIBRES 48
#define SIM_NOBODY (-1)
#define SIM_FOREVER UINT64_MAX

/* ---- fibres and schedules ---- */

enum sim_state { SIM_UNUSED, SIM_READY, SIM_ASLEEP, SIM_PARKED, SIM_FINISHED, SIM_CRASHED };

typedef void sim_body(void *argument);

/* Forget all fibres; every later choice follows from the seed. */
void sim_reset(uint64_t seed);
/* One call an expression: compilers order several differently, and a seed stands for one schedule everywhere. */
uint32_t sim_random(uint32_t below);

/* A new simulated process that will run body(argument). Returns its number. */
int sim_spawn(sim_body *body, void *argument);

/* The fibre that runs now, or SIM_NOBODY: then accesses are neither scheduling points nor crash points. */
int sim_current(void);
enum sim_state sim_state(int fibre);
bool sim_alive(int fibre);

/* How random schedules go. Chances are per 1,024 accesses. */
struct sim_weather {
    uint32_t switch_chance;
    uint32_t stall_chance;
    uint32_t longest_stall;     /* turns */
    bool store_buffer;          /* plain stores become visible late, as on x86 */
};

/* Run all fibres at random until each is parked, finished or dead. on_death is called for each that died. */
void sim_schedule(const struct sim_weather *weather, void (*on_death)(int fibre));

/* Let one fibre make so many accesses and stop it before the next. Returns its state then. */
enum sim_state sim_run(int fibre, uint64_t accesses);
/* Let one fibre run until its next access would be this step. */
enum sim_state sim_run_to(int fibre, enum shmq_step step);
/* How many accesses a fibre has made in its life. */
uint64_t sim_accesses(int fibre);

/* Steps that sim_run neither stops at nor dies at: writes to what nobody else reads yet, to shorten exhaustive runs. */
extern bool sim_quiet_step[SHMQ_STEP_COUNT];

/* Kill a stopped fibre where it stands, as SIGKILL would. */
void sim_kill(int fibre);
/* Die by itself after so many effective writes, or at the n-th effective write under a step. 0: not. */
void sim_crash_after(int fibre, uint64_t writes);
/* The same, counted from now. */
void sim_crash_soon(int fibre, uint64_t writes);
void sim_crash_at(int fibre, enum shmq_step step, uint32_t occurrence);
/* In random schedules: stall for long so many accesses after the n-th access under a step; 0: just before it. */
void sim_stall_at(int fibre, enum shmq_step step, uint32_t occurrence, uint32_t later);

/* The current fibre waits until sim_unpark: the barrier for audits in mid-run. */
void sim_park(void);
void sim_unpark(void);

/* The current fibre enters the kernel: a scheduling point, and its store buffer drains. */
void sim_system_call(void);
/* The end of an operation: a write that a mutant delayed takes place at last. */
void sim_operation_end(void);

/* The fake futex. In sim_run nobody times out but by sim_time_out. */
int sim_sleep(uint64_t *word, uint32_t expected, uint64_t ns);
void sim_wake(uint64_t *word, uint32_t sleepers);
void sim_time_out(int fibre);
uint64_t sim_now(void);

/* ---- observing and altering accesses ---- */

/* A write as memory sees it. */
struct sim_write {
    int fibre;
    enum shmq_step step;
    uint64_t *word;
    uint64_t before, after;
};

extern void (*sim_observer)(const struct sim_write *write);

enum sim_mutation {
    SIM_NO_MUTATION,
    SIM_CAS_AS_STORE,   /* the CAS stores what it wanted and succeeds, whatever it finds */
    SIM_STALE_LOAD,     /* the load returns what this fibre read from that word before: a re-check dropped */
    SIM_SKIP,           /* the write does not happen; a CAS reports success */
    SIM_SWAP_NEXT,      /* the write happens after this fibre's next write of the same operation, or never */
    SIM_SWAP_SECOND     /* the same, but the first of several writes under the step stays: the other pairs */
};

struct sim_mutant {
    enum sim_mutation mutation;
    enum shmq_step step;
};

extern struct sim_mutant sim_mutant;

struct sim_step_count {
    uint64_t loads, writes, misses, crashes; /* misses: CASes that failed */
};

/* How a step is used, for the list of mutants to be complete. */
struct sim_step_use {
    bool loads, writes, swaps; /* swaps: compare and swap */
};

extern struct sim_step_use sim_step_use[SHMQ_STEP_COUNT];
extern struct sim_step_count sim_step_count[SHMQ_STEP_COUNT];
const char *sim_step_name(enum shmq_step step);

/* Print the table of steps. Returns how many steps that were written under had no crash. */
uint32_t sim_report_steps(FILE *out);

/* ---- failing ---- */

/* What a failure message tells to reproduce it. */
extern char sim_context[256];
/* Print the message and the context, and exit with status 1. */
void sim_fail(const char *format, ...) __attribute__((format(printf, 1, 2), noreturn));

#define SIM_CHECK(condition, ...) ((condition) ? (void)0 : sim_fail(__VA_ARGS__))

#endif
