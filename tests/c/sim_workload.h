/* SPDX-License-Identifier: MIT */
/* One random schedule: processes that do random things, die anywhere, are recovered by their peers; audits. */
#ifndef SIM_WORKLOAD_H
#define SIM_WORKLOAD_H

#include <stdint.h>

/* Run the schedule of this seed. Fails loudly. */
void sim_random_schedule(uint64_t seed);

#endif
