/* SPDX-License-Identifier: MIT */
/* A simulated process: what it has in hand, and the operations it performs, each wrapped in the ledger's
 * bookkeeping. */
#ifndef SIM_PROCESS_H
#define SIM_PROCESS_H

#include "sim_audit.h"
#include "sim_ledger.h"

#define SIM_HELD 12
#define SIM_LOANS 4
#define SIM_NAMES 4
#define SIM_TOPICS 3
#define SIM_SUBSCRIPTIONS 4

/* A named queue as a process knows it. */
struct sim_opened {
    struct shmq_queue_ref ref;
    bool open;
    enum { SIM_UNCLAIMED, SIM_SHARED, SIM_EXCLUSIVE } claim;
};

/* A topic that a process subscribes to. */
struct sim_subscription {
    struct shmq_queue_ref ref;
    enum { SIM_UNSUBSCRIBED, SIM_SUBSCRIBED, SIM_UNSUBSCRIBING } state;
};

struct sim_process {
    struct shmq_actor actor;
    int fibre;              /* or SIM_ROOT */
    bool attached;
    struct shmq_queue_ref inbox;
    enum { SIM_NO_INBOX, SIM_INBOX_OPEN, SIM_INBOX_CLOSING } inbox_state;
    struct sim_opened named[SIM_NAMES];
    struct sim_opened outdated; /* a handle on a former incarnation, still claimed as far as its owner knows */
    struct shmq_message held[SIM_HELD];
    uint32_t held_id[SIM_HELD];
    uint32_t held_count;
    struct shmq_hold loan[SIM_LOANS];
    uint32_t loan_count;
    bool knows_topic[SIM_TOPICS];
    struct sim_subscription subscription[SIM_SUBSCRIPTIONS];
    bool lingers;           /* has closed the region; views live on */
};

/* All processes of the schedule; a fibre's is sim_processes[fibre]. The main program's own is sim_root. */
extern struct sim_process sim_processes[SIM_FIBRES];
extern struct sim_process sim_root;

/* Forget all processes; the main program attaches as the last slot. */
void sim_processes_reset(void);

/* What is counted as being in hand: see sim_audit. */
struct sim_hand sim_process_hand(uint32_t slot, uint32_t block);
/* Does the process of this slot hold the published block as this subscriber, or view it after its close? */
bool sim_process_holds_ticket(uint32_t slot, uint32_t block, uint32_t index);
/* Audit the region with what all processes have in hand. */
void sim_processes_audit(void);
/* The name of a named queue. */
const char *sim_name(uint32_t name);
/* The fibre is gone: the kernel frees its locks, and nobody holds what it held. */
void sim_process_died(int fibre);

void sim_process_attach(struct sim_process *process, int fibre);
/* Leave politely. */
void sim_process_leave(struct sim_process *process);
/* Close the region, but stay attached for some of what is held and lent: views of it live on. */
void sim_process_close_but_views(struct sim_process *process);
/* Exit between operations and leave everything as it is. */
void sim_process_abandon(struct sim_process *process);

/* Results are those of the header, after they were checked against what may be. */
int sim_do_loan(struct sim_process *process, uint32_t order);       /* the loan is the last of process->loan */
/* A loan that waits until others free something, at most so many slices. */
int sim_do_wait_for_loan(struct sim_process *process, uint32_t order, uint32_t slices);
int sim_do_send(struct sim_process *process, uint32_t loan, const struct shmq_queue_ref *ref);
void sim_do_make_room(struct sim_process *process, const struct shmq_queue_ref *ref);
/* Send as the queue's policy says. */
int sim_do_send_or_drop(struct sim_process *process, uint32_t loan, const struct shmq_queue_ref *ref);
void sim_do_return(struct sim_process *process, uint32_t loan);
int sim_do_receive(struct sim_process *process, const struct shmq_queue_ref *ref); /* held last */
void sim_do_release(struct sim_process *process, uint32_t held);
/* Becomes the last loan: SHARED_BLOCK where it is published and others want it, too; then it stays held. */
int sim_do_edit(struct sim_process *process, uint32_t held);
int sim_do_forward(struct sim_process *process, uint32_t held, const struct shmq_queue_ref *ref);
int sim_do_forward_or_drop(struct sim_process *process, uint32_t held, const struct shmq_queue_ref *ref);
int sim_do_open_inbox(struct sim_process *process, uint32_t depth);
void sim_do_close_inbox(struct sim_process *process);               /* first half, then second once nothing is held */
int sim_do_open(struct sim_process *process, uint32_t name, uint32_t depth, bool create);
int sim_do_claim(struct sim_process *process, uint32_t name, bool shared);
int sim_do_claim_as(struct sim_process *process, uint32_t name, bool shared, enum shmq_policy policy);
void sim_do_unclaim(struct sim_process *process, uint32_t name);
/* Close the outdated handle. */
void sim_do_unclaim_outdated(struct sim_process *process);
int sim_do_delete(struct sim_process *process, uint32_t name);
int sim_do_shut(struct sim_process *process, uint32_t name);
/* Wait for a message until it comes or the queue ends, at most so many slices. */
int sim_do_wait(struct sim_process *process, const struct shmq_queue_ref *ref, uint32_t slices);

/* sim_do_topic.c */
int sim_do_topic(struct sim_process *process, uint32_t topic);
/* Subscribes as `at`, which must be free; to a topic that the process knows. */
int sim_do_subscribe(struct sim_process *process, uint32_t at, uint32_t topic, uint32_t depth, enum shmq_policy policy);
void sim_do_unsubscribe(struct sim_process *process, uint32_t at);  /* notes its end, too, once nothing is held */
/* Publishes a loan to a topic that it knows; waits so many slices for full queues. Returns how many it reached. */
void sim_do_publisher_make_room(struct sim_process *process, uint32_t topic);
uint32_t sim_do_publish(struct sim_process *process, uint32_t loan, uint32_t topic, uint32_t slices);
/* The publisher of a topic that the process knows. */
struct shmq_publisher *sim_publisher(struct sim_process *process, uint32_t topic);
const char *sim_topic_name(uint32_t topic);

/* For the sim_do_ files. */
struct shmq_hold sim_loan_remove(struct sim_process *process, uint32_t at);
struct shmq_parcel sim_make_parcel(uint32_t id);
uint32_t sim_held_from(const struct sim_process *process, const struct shmq_queue_ref *ref);

#endif
