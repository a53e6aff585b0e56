/* SPDX-License-Identifier: MIT */
/* sim_exhaustive A0 A1 STRIDE FIRST: operations A0 … A1 - 1, each with itself and each later one; every death of
 * either, every schedule with at most two preemptions. Of all these pairs each STRIDE-th, from number FIRST on: a part
 * of the work for each of several processes, or less of it where there is little time. */
#include <stdlib.h>
#include <time.h>

#include "sim_ledger.h"
#include "sim_pair.h"

int main(int argc, char **argv)
{
    uint32_t from = argc > 1 ? (uint32_t)strtoul(argv[1], NULL, 0) : 0;
    uint32_t to = argc > 2 ? (uint32_t)strtoul(argv[2], NULL, 0) : sim_pair_count();
    uint32_t stride = argc > 3 ? (uint32_t)strtoul(argv[3], NULL, 0) : 1;
    uint32_t first = argc > 4 ? (uint32_t)strtoul(argv[4], NULL, 0) : 0, pairs = 0;
    clock_t start = clock();
    uint64_t runs = 0;

    for (uint32_t a = from; a < to && a < sim_pair_count(); a++) {
        uint64_t before = runs;

        for (uint32_t b = a; b < sim_pair_count(); b++)
            if (sim_pair_meets(a, b) && pairs++ % stride == first)
                runs += sim_pair_exhaust(a, b);
        printf("%2u %-20s %10llu runs, %.1f s so far\n", a, sim_pair_name(a), (unsigned long long)(runs - before),
            (double)(clock() - start) / CLOCKS_PER_SEC);
        fflush(stdout);
    }
    sim_report_steps(stdout);
    printf("%llu schedules, %llu crashes, %.1f s\n", (unsigned long long)runs, (unsigned long long)sim_totals.crashes,
        (double)(clock() - start) / CLOCKS_PER_SEC);
    return 0;
}
