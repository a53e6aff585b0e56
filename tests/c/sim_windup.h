/* SPDX-License-Identifier: MIT */
/* The end of a scenario that the main program stages: it plays the processes that are left. */
#ifndef SIM_WINDUP_H
#define SIM_WINDUP_H

#include "sim_process.h"

/* Close for every dead process. */
void sim_recover_all(void);
/* Receive and release whatever this named queue still gives. */
void sim_drain_named(uint32_t name);
/* Release whatever a process holds, lends or still gets from its inbox and its subscriptions; end these. */
void sim_drain_own(struct sim_process *process);
/* Recover, audit; let everything be received that can be; nothing may be lost. Then all leave: nothing may remain. */
void sim_wind_up(void);

/* A process played by the main program attaches as this fibre. Leaves it impersonated. */
struct sim_process *sim_play(int fibre);

#endif
