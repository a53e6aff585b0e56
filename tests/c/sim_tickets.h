/* SPDX-License-Identifier: MIT */
/* What became of every ticket: the ledger of published messages. Told by the ledger of messages, which watches the
 * words, and by the workload. */
#ifndef SIM_TICKETS_H
#define SIM_TICKETS_H

#include "sim_rules.h"

#define SIM_PUBLICATIONS 4096

void sim_tickets_reset(void);

/* ---- from the workload ---- */

/* The message is about to be published. */
void sim_tickets_new(uint32_t id);
/* It is posted to these from now on. */
void sim_tickets_started(uint32_t id, const struct shmq_publisher *publisher,
    const struct shmq_publication *publication);
/* Its publisher waits no longer for who has no room. */
void sim_tickets_given_up(uint32_t id);
/* Its publisher has done with it and says how many it has reached. */
void sim_tickets_finished(uint32_t id, uint32_t reached);
/* A receive returned this published message. */
void sim_tickets_received(uint32_t id, const struct shmq_message *received);
/* At the end, once every open queue was emptied and nobody holds anything: every ticket was given back. */
void sim_tickets_settle(void);

/* ---- from the ledger of messages ---- */

/* Was the message published? */
bool sim_tickets_known(uint32_t id);
/* The block of message `id` becomes FANOUT, or is not any more. */
void sim_tickets_published(uint32_t id, const struct sim_write *write);
void sim_tickets_ended(uint32_t id, const struct sim_write *write);
/* A slot now names it, or does not any more. */
void sim_tickets_posted(uint32_t id, uint32_t qid);
void sim_tickets_slot_cleared(uint32_t id, uint32_t qid);
/* A word of tickets changes. */
void sim_tickets_changed(uint32_t id, const struct sim_write *write, const struct sim_where *where);
/* A number of a topic is taken. */
void sim_tickets_numbered(const struct sim_write *write);

#endif
