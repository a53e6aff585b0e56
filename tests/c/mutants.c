/* SPDX-License-Identifier: MIT */
/* mutants [NAME …]: each mutant of mutants.h must make its test fail; without mutants each of the tests must pass; and
 * no step may be without its mutants. Each test runs in a child, for a test that fails exits. */
#include "mutants.h"

#include <fcntl.h>
#include <string.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "sim.h"
#include "sim_catch.h"
#include "sim_workload.h"

#define SECONDS_AT_MOST 120u    /* of a test: one that hangs is not one that failed */
#define SCHEDULES_TO_SEE_ALL 3000u

struct mutant {
    const char *name;
    enum shmq_step step;
    enum sim_mutation mutation;
    uint32_t lap_gap;
    const char *test;           /* or NULL: equivalent */
    const char *reason;
};

static const struct mutant mutants[] = {
#define CAUGHT(step, mutation, test) { #step " " #mutation, SHMQ_##step, SIM_##mutation, 2, test, NULL },
#define EQUIVALENT(step, mutation, reason) { #step " " #mutation, SHMQ_##step, SIM_##mutation, 2, NULL, reason },
    MUTANTS(CAUGHT, EQUIVALENT)
#undef CAUGHT
#undef EQUIVALENT
#define CAUGHT(gap, test) { "LAP_GAP " #gap, SHMQ_STEP_COUNT, SIM_NO_MUTATION, gap, test, NULL },
#define EQUIVALENT(gap, reason) { "LAP_GAP " #gap, SHMQ_STEP_COUNT, SIM_NO_MUTATION, gap, NULL, reason },
    LAP_GAPS(CAUGHT, EQUIVALENT)
#undef CAUGHT
#undef EQUIVALENT
};

#define MUTANT_COUNT (sizeof mutants / sizeof mutants[0])

enum verdict { PASSES, FAILS, GOES_WRONG };

static void silence(void)
{
    int nowhere = open("/dev/null", O_WRONLY);

    dup2(nowhere, STDOUT_FILENO);
    dup2(nowhere, STDERR_FILENO);
    close(nowhere);
}

static enum verdict verdict_of(int status)
{
    if (WIFEXITED(status) && WEXITSTATUS(status) == 0)
        return PASSES;
    return WIFEXITED(status) && WEXITSTATUS(status) == 1 ? FAILS : GOES_WRONG;
}

/* Run a test in a child, under a mutant or none. */
static enum verdict run(const char *test, const struct mutant *mutant)
{
    int status = 0;
    pid_t child;

    fflush(NULL);
    child = fork();
    if (child == 0) {
        if (mutant) {
            silence();
            sim_mutant.mutation = mutant->mutation;
            sim_mutant.step = mutant->step;
            sim_lap_gap = mutant->lap_gap;
        }
        alarm(SECONDS_AT_MOST);
        sim_catch_run(test);
        _exit(0);
    }
    if (child < 0 || waitpid(child, &status, 0) != child)
        return GOES_WRONG;
    return verdict_of(status);
}

/* ---- is the list complete? ---- */

static bool listed(enum shmq_step step, enum sim_mutation mutation)
{
    for (size_t i = 0; i < MUTANT_COUNT; i++)
        if (mutants[i].step == step && mutants[i].mutation == mutation)
            return true;
    fprintf(stderr, "no mutant of kind %d at step %s\n", (int)mutation, sim_step_name(step));
    return false;
}

static bool step_covered(enum shmq_step step)
{
    const struct sim_step_use *use = &sim_step_use[step];
    bool covered = true;

    if (step == SHMQ_READ || step == SHMQ_CREATE)
        return true;
    if (use->swaps)
        covered &= listed(step, SIM_CAS_AS_STORE);
    if (use->writes)
        covered &= listed(step, SIM_SKIP) & listed(step, SIM_SWAP_NEXT);
    if (use->loads)
        covered &= listed(step, SIM_STALE_LOAD);
    return covered;
}

/* Every step that is seen in use has a mutant of each kind that applies to it. */
static bool list_complete(void)
{
    bool complete = true;

    for (uint64_t seed = 1; seed <= SCHEDULES_TO_SEE_ALL; seed++)
        sim_random_schedule(seed);
    for (int step = 0; step < SHMQ_STEP_COUNT; step++)
        complete &= step_covered((enum shmq_step)step);
    return complete;
}

/* ---- the tests without mutants ---- */

static bool seen_before(size_t index)
{
    for (size_t i = 0; i < index; i++)
        if (mutants[i].test && strcmp(mutants[i].test, mutants[index].test) == 0)
            return true;
    return false;
}

static uint32_t tests_that_fail_anyway(void)
{
    uint32_t failing = 0;

    for (size_t i = 0; i < MUTANT_COUNT; i++)
        if (mutants[i].test && !seen_before(i) && run(mutants[i].test, NULL) != PASSES) {
            fprintf(stderr, "fails without any mutant: %s\n", mutants[i].test);
            failing++;
        }
    return failing;
}

static bool wanted(const struct mutant *mutant, int argc, char **argv)
{
    for (int i = 1; i < argc; i++)
        if (strstr(mutant->name, argv[i]))
            return true;
    return argc < 2;
}

int main(int argc, char **argv)
{
    uint32_t caught = 0, equivalent = 0, failures = 0;
    clock_t start = clock();
    time_t began = time(NULL);

    failures += !list_complete();
    failures += tests_that_fail_anyway();
    for (size_t i = 0; i < MUTANT_COUNT; i++) {
        const struct mutant *mutant = &mutants[i];

        if (!wanted(mutant, argc, argv))
            continue;
        if (!mutant->test) {
            printf("equivalent  %-26s %s\n", mutant->name, mutant->reason);
            equivalent++;
        } else if (run(mutant->test, mutant) == FAILS) {
            printf("caught      %-26s %s\n", mutant->name, mutant->test);
            caught++;
        } else {
            printf("SURVIVES    %-26s %s\n", mutant->name, mutant->test);
            failures++;
        }
        fflush(stdout);
    }
    printf("%u mutants caught, %u equivalent, %u failures, %.1f s here and %.0f s in all\n", caught, equivalent,
        failures,
        (double)(clock() - start) / CLOCKS_PER_SEC, difftime(time(NULL), began));
    return failures ? 1 : 0;
}
