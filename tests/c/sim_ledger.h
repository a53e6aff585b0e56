/* SPDX-License-Identifier: MIT */
/* What became of every message, and rules that each single write must keep.
 *
 * The ledger learns of posts, claims, requeues and acknowledgements by observing the words, and of loans, deliveries
 * and releases from the workload. A message's number travels as its label and is stamped on each of its granules.
 */
#ifndef SIM_LEDGER_H
#define SIM_LEDGER_H

#include "sim_world.h"

#define SIM_MESSAGES 8192
#define SIM_NO_QUEUE UINT32_MAX

struct sim_message {
    uint32_t block, order;
    uint32_t home_qid;      /* the queue that has it, had it last or would get it back … */
    uint32_t home_epoch;
    uint64_t post_number;   /* of its last post, counted over all queues */
    uint32_t posts;
    uint32_t requeues;
    uint32_t redeliveries;  /* claims of a requeued block */
    uint32_t deliveries;
    uint32_t sender_slot, sender_epoch; /* of its last send */
    int holder;             /* the fibre that holds it, SIM_ROOT for the main program, or SIM_NOBODY */
    bool in_ring;           /* posted in the queue's present incarnation, and its block word still says QUEUED */
    bool failed;            /* the last send of it returned an error */
    bool releasing;         /* somebody began to release it … */
    bool acknowledged;      /* … and did */
};


struct sim_totals {
    uint64_t schedules, crashes, messages, deliveries, redeliveries, sweeps, audits;
};

extern struct sim_message sim_messages[SIM_MESSAGES];
extern uint32_t sim_message_count; /* number 0 is nobody's */
extern struct sim_totals sim_totals;

void sim_ledger_reset(void);

/* A message of any kind is posted to the ring of this incarnation. Returns its number, counted over all queues. */
uint64_t sim_ring_posted(uint32_t qid, uint32_t epoch);
/* The message that was posted as this number leaves the ring. `first`: it must be the oldest. */
void sim_ring_left(uint32_t qid, uint32_t epoch, uint64_t post_number, bool first);

/* Around each call that may drop: as many messages were counted as were dropped. */
void sim_ledger_may_drop(bool may);
/* Whoever runs now has dropped a message of this incarnation. Not `open`: perhaps it was not counted. */
void sim_ledger_dropped(uint32_t qid, uint32_t epoch, bool open);

/* A loan becomes a message: its number, stamped on the block. */
uint32_t sim_ledger_new(uint32_t block, uint32_t order);
/* The payload is still what was stamped. */
void sim_ledger_check(uint32_t id, const char *when);

/* Around each call that sends. `held`: it was a forward, so that on failure the message is still held. */
void sim_ledger_sending(uint32_t id);
void sim_ledger_sent(uint32_t id, int result, bool held);

/* A receive returned this message, sent or published. Returns its number. */
uint32_t sim_ledger_received(const struct shmq_message *message);
void sim_ledger_releasing(uint32_t id);
void sim_ledger_released(uint32_t id);

/* All that a dead or leaving fibre held is nobody's now. */
void sim_ledger_forget_holder(int fibre);

/* At the end: every message that reached a queue which is still open was released. */
void sim_ledger_settle(void);

#endif
