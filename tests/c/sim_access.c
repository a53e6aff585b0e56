/* SPDX-License-Identifier: MIT */
/* The accesses to shared memory as the headers make them: scheduled, counted, observed, perhaps altered. */
#include <string.h>

#include "sim_engine.h"

void (*sim_observer)(const struct sim_write *write);
struct sim_mutant sim_mutant = { SIM_NO_MUTATION, SHMQ_STEP_COUNT };
struct sim_step_count sim_step_count[SHMQ_STEP_COUNT];
struct sim_step_use sim_step_use[SHMQ_STEP_COUNT];

static bool mutated(enum shmq_step step, enum sim_mutation mutation)
{
    return sim_mutant.mutation == mutation && sim_mutant.step == step;
}

/* Only what simulated processes do is counted: the main program never dies. */
static struct sim_step_count *count(enum shmq_step step)
{
    static struct sim_step_count elsewhere;

    return sim_running == &sim_main_fibre ? &elsewhere : &sim_step_count[step];
}

/* ---- the end of the way: memory changes ---- */

static uint64_t outcome(const struct sim_pending *write, uint64_t before)
{
    switch (write->operation) {
    case SIM_STORE:
        return write->value;
    case SIM_CAS:
        return before == write->expected ? write->value : before;
    case SIM_OR:
        return before | write->value;
    case SIM_AND:
        return before & write->value;
    case SIM_ADD:
        return before + write->value;
    }
    return before;
}

/* The write reaches memory. Returns what was there. */
static uint64_t take_effect(const struct sim_pending *write)
{
    uint64_t before = *write->word;

    *write->word = outcome(write, before);
    if (sim_observer) {
        struct sim_write seen = { sim_current(), write->step, write->word, before, *write->word };

        sim_observer(&seen);
    }
    return before;
}

/* ---- the store buffer ---- */

void sim_buffer_drain_one(struct sim_fibre *fibre)
{
    struct sim_pending oldest = fibre->buffer[0];

    fibre->buffered--;
    memmove(fibre->buffer, fibre->buffer + 1, fibre->buffered * sizeof fibre->buffer[0]);
    take_effect(&oldest);
}

void sim_buffer_drain(struct sim_fibre *fibre)
{
    while (fibre->buffered)
        sim_buffer_drain_one(fibre);
}

/* What this fibre sees in a word: its own writes, also those that nobody else sees yet. */
static uint64_t own_view(const uint64_t *word)
{
    const struct sim_fibre *fibre = sim_running;
    uint64_t value = *word;

    for (uint32_t i = 0; i < fibre->buffered; i++)
        if (fibre->buffer[i].word == word)
            value = fibre->buffer[i].value;
    if (fibre->delayed && fibre->late.word == word)
        value = outcome(&fibre->late, value);
    return value;
}

/* ---- mutants ---- */

static uint32_t remembered_at(const uint64_t *word)
{
    return (uint32_t)((uintptr_t)word / 8 * 2654435761u >> 7) % SIM_REMEMBERED;
}

static void remember(const uint64_t *word, uint64_t value)
{
    uint32_t at = remembered_at(word);

    sim_running->remembered[at].word = word;
    sim_running->remembered[at].value = value;
}

static uint64_t recall(const uint64_t *word, uint64_t otherwise)
{
    uint32_t at = remembered_at(word);

    return sim_running->remembered[at].word == word ? sim_running->remembered[at].value : otherwise;
}

static void late_write_happens(void)
{
    if (!sim_running->delayed)
        return;
    sim_point(sim_running->late.step); /* between the two swapped writes others go on */
    sim_running->delayed = false;
    take_effect(&sim_running->late);
}

void sim_operation_end(void) { late_write_happens(); }

/* Is this a write that a mutant puts off? */
static bool put_off(const struct sim_pending *write)
{
    if (sim_running->delayed)
        return false;
    if (mutated(write->step, SIM_SWAP_SECOND))
        return sim_running->last_write == write->step;
    return mutated(write->step, SIM_SWAP_NEXT);
}

/* ---- reading and writing ---- */

uint64_t shmq_sim_load(const uint64_t *word, enum shmq_step step, enum shmq_order order)
{
    uint64_t value;

    (void)order;
    sim_point(step);
    sim_step_use[step].loads = true;
    count(step)->loads++;
    value = own_view(word);
    if (sim_mutant.mutation != SIM_STALE_LOAD)
        return value;
    if (sim_mutant.step == step)
        return recall(word, value);
    remember(word, value);
    return value;
}

/* Whether a write would change nothing that anyone could see: a CAS that fails. */
static bool would_miss(const struct sim_pending *write, uint64_t seen)
{
    return write->operation == SIM_CAS && seen != write->expected;
}

/* Do the write, now or, under a mutant, later or not at all. Returns what the caller saw in the word before. */
static uint64_t perform(struct sim_pending *write)
{
    struct sim_fibre *fibre = sim_running;
    uint64_t seen = own_view(write->word);

    sim_step_use[write->step].writes = true;
    sim_step_use[write->step].swaps |= write->operation == SIM_CAS;
    if (write->operation == SIM_CAS && mutated(write->step, SIM_CAS_AS_STORE)) {
        write->operation = SIM_STORE;
        seen = write->expected;
    }
    if (mutated(write->step, SIM_SKIP))
        return write->operation == SIM_CAS ? write->expected : seen;
    if (would_miss(write, seen)) {
        count(write->step)->misses++;
        return seen;
    }
    if (put_off(write)) {
        fibre->delayed = true;
        fibre->late = *write;
        count(write->step)->writes++;
        return seen;
    }
    if (fibre->delayed && fibre->late.word == write->word)
        late_write_happens();
    take_effect(write);
    count(write->step)->writes++;
    if (write->step == SHMQ_A0 && !(fibre->delayed && fibre->late.step == SHMQ_A0)) {
        sim_crash_point(SHMQ_A0); /* a note about what comes: the write that a swap puts off passes it, too */
        return seen;
    }
    fibre->last_write = write->step;
    sim_crash_point(write->step);
    late_write_happens();
    return seen;
}

/* A read-modify-write is a barrier: what was stored before it is visible before it. */
static uint64_t modify(uint64_t *word, uint64_t value, uint64_t expected, int operation, enum shmq_step step)
{
    struct sim_pending write = { word, value, expected, operation, step };

    sim_point(step);
    sim_buffer_drain(sim_running);
    return perform(&write);
}

void shmq_sim_store(uint64_t *word, uint64_t value, enum shmq_step step, enum shmq_order order)
{
    struct sim_pending write = { word, value, 0, SIM_STORE, step };
    struct sim_fibre *fibre = sim_running;

    (void)order;
    sim_point(step);
    if (!sim_store_buffer || fibre == &sim_main_fibre || sim_mutant.mutation != SIM_NO_MUTATION) {
        perform(&write);
        return;
    }
    if (fibre->buffered == SIM_BUFFERED)
        sim_buffer_drain_one(fibre);
    fibre->buffer[fibre->buffered++] = write;
    count(step)->writes++;
    sim_crash_point(step);
}

bool shmq_sim_cas(uint64_t *word, uint64_t expected, uint64_t desired, enum shmq_step step, enum shmq_order order)
{
    (void)order;
    return modify(word, desired, expected, SIM_CAS, step) == expected;
}

uint64_t shmq_sim_fetch_or(uint64_t *word, uint64_t bits, enum shmq_step step, enum shmq_order order)
{
    (void)order;
    return modify(word, bits, 0, SIM_OR, step);
}

uint64_t shmq_sim_fetch_and(uint64_t *word, uint64_t bits, enum shmq_step step, enum shmq_order order)
{
    (void)order;
    return modify(word, bits, 0, SIM_AND, step);
}

uint64_t shmq_sim_fetch_add(uint64_t *word, uint64_t count, enum shmq_step step, enum shmq_order order)
{
    (void)order;
    return modify(word, count, 0, SIM_ADD, step);
}

/* ---- the table of steps ---- */

const char *sim_step_name(enum shmq_step step)
{
    static const char *const names[] = {
#define SIM_STEP_NAME(name, what) #name,
        SHMQ_STEPS(SIM_STEP_NAME)
#undef SIM_STEP_NAME
    };

    return step < SHMQ_STEP_COUNT ? names[step] : "none";
}

uint32_t sim_report_steps(FILE *out)
{
    uint32_t never = 0;

    fprintf(out, "%-14s %12s %12s %10s %10s\n", "step", "loads", "writes", "misses", "crashes");
    for (int step = 0; step < SHMQ_STEP_COUNT; step++) {
        const struct sim_step_count *count = &sim_step_count[step];

        if (!count->loads && !count->writes && !count->misses)
            continue;
        fprintf(out, "%-14s %12llu %12llu %10llu %10llu%s\n", sim_step_name((enum shmq_step)step),
            (unsigned long long)count->loads, (unsigned long long)count->writes, (unsigned long long)count->misses,
            (unsigned long long)count->crashes, count->writes && !count->crashes ? "  <- never crashed at" : "");
        never += count->writes && !count->crashes;
    }
    return never;
}
