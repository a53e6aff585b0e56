/* SPDX-License-Identifier: MIT */
/* Rules that every single write must keep, checked as it happens. */
#ifndef SIM_RULES_H
#define SIM_RULES_H

#include "sim_world.h"

/* Which of the region's words a write went to. */
enum sim_target {
    SIM_OTHER_WORD, SIM_BLOCK_WORD, SIM_TICKETS_WORD, SIM_BUDDY_WORD, SIM_FLAGS, SIM_SLOT, SIM_TOPIC_FLAGS,
    SIM_SUBSCRIBER, SIM_DROPPED
};

struct sim_where {
    enum sim_target target;
    uint32_t block;         /* of a block word and of its M words */
    uint32_t tier, word;    /* of a buddy word; word: also which of the M words */
    uint32_t qid, slot;     /* of flags, counts and slots */
    uint32_t topic, index;  /* of a topic's flags and subscribers */
};

struct sim_where sim_locate(const uint64_t *word);
void sim_rules_check(const struct sim_write *write, const struct sim_where *where);

#endif
