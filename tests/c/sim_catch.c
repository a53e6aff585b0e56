/* SPDX-License-Identifier: MIT */
/* Running a test by name. */
#include "sim_catch.h"

#include <string.h>

#include "sim_directed.h"
#include "sim_pair.h"
#include "sim_workload.h"

#define RANDOM_SCHEDULES 20000u

static const char *after(const char *text, const char *prefix)
{
    size_t length = strlen(prefix);

    return strncmp(text, prefix, length) == 0 ? text + length : NULL;
}

static uint32_t operation(const char *name, size_t length)
{
    for (uint32_t i = 0; i < sim_pair_count(); i++)
        if (strlen(sim_pair_name(i)) == length && strncmp(sim_pair_name(i), name, length) == 0)
            return i;
    sim_fail("no operation is called %.*s", (int)length, name);
}

static void run_pair(const char *names)
{
    const char *comma = strstr(names, ", ");

    if (!comma)
        sim_fail("no pair: %s", names);
    sim_pair_exhaust(operation(names, (size_t)(comma - names)), operation(comma + 2, strlen(comma + 2)));
}

void sim_catch_run(const char *test)
{
    const char *rest;

    if ((rest = after(test, "directed: "))) {
        const struct sim_directed *directed = sim_directed_find(rest);

        if (!directed)
            sim_fail("no directed test: %s", rest);
        sim_directed_run(directed);
    } else if ((rest = after(test, "pair: "))) {
        run_pair(rest);
    } else if (strcmp(test, "random") == 0) {
        for (uint64_t seed = 1; seed <= RANDOM_SCHEDULES; seed++)
            sim_random_schedule(seed);
    } else {
        sim_fail("no such test: %s", test);
    }
}
