/* SPDX-License-Identifier: MIT */
/* sim_random SEED COUNT: random schedules with seeds SEED … SEED + COUNT - 1. */
#include <stdlib.h>
#include <time.h>

#include "sim_ledger.h"
#include "sim_workload.h"

/* From so many schedules on, a step that was written under and never crashed at is a failure. */
#define ENOUGH_SCHEDULES 100000u

static void report(uint64_t count, double seconds)
{
    uint32_t never = sim_report_steps(stdout);

    printf("%llu schedules, %llu crashes, %llu messages, %llu deliveries, %llu redeliveries, %llu recoveries by peers, "
           "%llu audits, %.1f s\n",
        (unsigned long long)sim_totals.schedules, (unsigned long long)sim_totals.crashes,
        (unsigned long long)sim_totals.messages, (unsigned long long)sim_totals.deliveries,
        (unsigned long long)sim_totals.redeliveries, (unsigned long long)sim_totals.sweeps,
        (unsigned long long)sim_totals.audits, seconds);
    if (never && count >= ENOUGH_SCHEDULES)
        sim_fail("%u steps were never crashed at", never);
}

int main(int argc, char **argv)
{
    uint64_t seed = argc > 1 ? strtoull(argv[1], NULL, 0) : 1;
    uint64_t count = argc > 2 ? strtoull(argv[2], NULL, 0) : 1000;
    clock_t start = clock();

    for (uint64_t i = 0; i < count; i++)
        sim_random_schedule(seed + i);
    report(count, (double)(clock() - start) / CLOCKS_PER_SEC);
    return 0;
}
