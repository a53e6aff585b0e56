/* SPDX-License-Identifier: MIT */
/* Rules that every single write must keep, checked as it happens. */
#ifndef SIM_RULES_H
#define SIM_RULES_H

#include "sim_world.h"

/* Which of the region's words a write went to. */
enum sim_target { SIM_OTHER_WORD, SIM_BLOCK_WORD, SIM_BUDDY_WORD, SIM_FLAGS, SIM_SLOT };

struct sim_where {
    enum sim_target target;
    uint32_t block;         /* of a block word */
    uint32_t tier, word;    /* of a buddy word */
    uint32_t qid, slot;     /* of flags and slots */
};

struct sim_where sim_locate(const uint64_t *word);
void sim_rules_check(const struct sim_write *write, const struct sim_where *where);

#endif
