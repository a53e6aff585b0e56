/* SPDX-License-Identifier: MIT */
/* What a seed decides once for all processes of a random schedule, and the operations they choose from. */
#ifndef SIM_PLAN_H
#define SIM_PLAN_H

#include "sim_process.h"

enum sim_phase { SIM_WORKING, SIM_DRAINING, SIM_LEAVING };

/* What most operations of a schedule are about. */
enum sim_theme {
    SIM_MIXED,
    SIM_TRAFFIC,
    SIM_NAMING,
    SIM_RECOVERY,
    SIM_BLOCKS,
    SIM_HANDOVER,           /* few messages in few hands */
    SIM_ENDING,             /* queues are shut down */
    SIM_FANOUT,             /* publications */
    SIM_SUBSCRIBING,        /* subscribers come and go */
    SIM_OVERFLOW,           /* queues that drop */
    SIM_THEMES
};

struct sim_plan {
    enum sim_phase phase;
    bool barrier;           /* everybody stops between operations, for an audit */
    uint32_t operations_to_barrier;
    uint32_t crash_chance;  /* of five */
    uint32_t crash_window;  /* writes */
    uint32_t cache_limit;
    uint32_t stall_interval; /* operations between two choices of where to stop */
    uint32_t largest_order;
    uint32_t births_left;
    enum sim_theme theme;
    uint32_t names;         /* how many names are in use */
    uint32_t deepest;
    uint32_t topics;        /* how many are in use; 0: none */
    bool keeps_alpha;       /* nobody deletes the first queue, so that nothing may be lost there */
};

extern struct sim_plan sim_plan;

/* The calling process does one random thing that suits the theme. */
void sim_operate(struct sim_process *process);

#endif
