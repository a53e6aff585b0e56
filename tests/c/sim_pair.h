/* SPDX-License-Identifier: MIT */
/* Two processes, one operation each, one schedule with at most two preemptions and at most one death. */
#ifndef SIM_PAIR_H
#define SIM_PAIR_H

#include "sim.h"

/* A run: first makes `before_switch` accesses, the other `before_return`, then each goes on to its end. The victim dies
 * after so many writes; a third process recovers it at once, or only when both have come to their end. */
struct sim_pair_run {
    uint32_t operation[2];
    int first;
    uint64_t before_switch, before_return;
    int victim;             /* 0, 1, or SIM_NOBODY */
    uint64_t dies_after;
    bool recovered_at_once;
};

/* How far it got. */
struct sim_pair_result {
    uint64_t first_made;    /* accesses of the first up to the switch: less than asked if it came to its end */
    uint64_t other_made;
    bool died;
};

uint32_t sim_pair_count(void);
const char *sim_pair_name(uint32_t operation);
/* Only operations of one kind, messages or blocks, meet. */
bool sim_pair_meets(uint32_t a, uint32_t b);

struct sim_pair_result sim_pair_run(const struct sim_pair_run *run);

/* Every schedule and every death of a pair. Returns the number of runs. */
uint64_t sim_pair_exhaust(uint32_t a, uint32_t b);

#endif
