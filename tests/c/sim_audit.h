/* SPDX-License-Identifier: MIT */
/* What must hold whenever nobody is inside an operation and every dead process was closed. */
#ifndef SIM_AUDIT_H
#define SIM_AUDIT_H

#include "sim_world.h"

/* How often a live process has this block in hand (loan, held message, cache), and from which queue (qid + 1 or 0)
 * in which incarnation. */
struct sim_hand {
    uint32_t times;
    uint32_t queue;
    uint32_t epoch;
};

typedef struct sim_hand sim_hands(uint32_t slot, uint32_t block);

/* Every block word, buddy word, slot and flag is accounted for. */
void sim_audit(sim_hands *hands);

/* Nobody is left: all free, merged as at the beginning, no queue in use. */
void sim_audit_empty(void);

/* Whether the region is as after formatting; for directed tests. */
uint32_t sim_audit_leaks(void);

#endif
