/* SPDX-License-Identifier: MIT */
/* Tickets: who wants what, who was reached, who has it. */
#include "sim_tickets.h"

#include "sim_ledger.h"

enum state {
    NOT_WANTED,     /* by an index that was not subscribed */
    WANTED,         /* the publisher has still to post it, or to give up */
    POSTED,
    TAKEN,
    GIVEN_BACK
};

struct ticket {
    enum state state;
    bool reached;           /* was posted, and its publisher has not taken it back */
    bool delivered;
    uint32_t qid, epoch;    /* the subscriber's queue */
    uint64_t post_number;
};

struct publication {
    uint32_t id;
    uint32_t topic;
    uint64_t number;        /* in the topic */
    uint32_t sender_slot, sender_epoch;
    bool started;           /* its block was FANOUT */
    bool given_up;          /* whoever has no room is passed over */
    struct ticket ticket[SHMQ_MAX_SUBSCRIBERS];
};

static struct publication publications[SIM_PUBLICATIONS];
static uint32_t count;
static uint32_t publication_of[SIM_MESSAGES];   /* its index + 1, or 0 */
static uint64_t number_taken[SIM_FIBRES + 1];   /* the last of each fibre; of the main program */

static uint64_t *last_number(void) { return &number_taken[sim_current() == SIM_NOBODY ? SIM_FIBRES : sim_current()]; }

bool sim_tickets_known(uint32_t id) { return publication_of[id] != 0; }

static struct publication *publication(uint32_t id) { return &publications[publication_of[id] - 1]; }

void sim_tickets_reset(void)
{
    for (uint32_t i = 0; i < count; i++)
        publication_of[publications[i].id] = 0;
    memset(publications, 0, count * sizeof publications[0]);
    count = 0;
}

/* ---- the words ---- */

/* Is the ticket's queue that incarnation, and does whoever runs now act for its owner? */
static bool is_current(const struct ticket *ticket)
{
    return shmq_flags_epoch(sim_map.queue[ticket->qid].flags) == ticket->epoch;
}

static bool acts_for_owner(const struct ticket *ticket)
{
    return is_current(ticket) && sim_holds_lock(shmq_flags_owner(sim_map.queue[ticket->qid].flags));
}

static bool admits(const struct ticket *ticket)
{
    uint64_t flags = sim_map.queue[ticket->qid].flags;

    return is_current(ticket) && flags & SHMQ_QUEUE_OPEN && !(flags & SHMQ_QUEUE_SHUT);
}

void sim_tickets_numbered(const struct sim_write *write) { *last_number() = write->before; }

void sim_tickets_published(uint32_t id, const struct sim_write *write)
{
    struct publication *published = publication(id);
    const struct shmq_block *block = &sim_map.block[sim_messages[id].block];

    published->topic = shmq_block_queue(write->after) - 1;
    published->number = block->envelope.sequence;
    published->sender_slot = shmq_block_owner(write->after);
    published->sender_epoch = shmq_process_epoch(sim_map.process[published->sender_slot].state);
    SIM_CHECK(published->topic < sim_map.geometry.max_topics && sim_map.topic[published->topic].flags & SHMQ_QUEUE_OPEN,
        "message %u is published under topic %u, which is not open", id, published->topic);
    SIM_CHECK(published->number == *last_number(), "message %u is published as number %llu, which is not its", id,
        (unsigned long long)published->number);
    for (uint32_t i = 0; i < count; i++)
        SIM_CHECK(&publications[i] == published || publications[i].number != published->number
                || !publications[i].started
                || publications[i].topic != published->topic,
            "messages %u and %u are both number %llu of their topic", id, publications[i].id,
            (unsigned long long)published->number);
    published->started = true;
    for (uint32_t index = 0; index < SHMQ_MAX_SUBSCRIBERS; index++)
        if (block->m[index / SHMQ_TICKETS] & shmq_ticket_want(index))
            published->ticket[index].state = WANTED;
}

void sim_tickets_ended(uint32_t id, const struct sim_write *write)
{
    for (uint32_t index = 0; index < SHMQ_MAX_SUBSCRIBERS; index++) {
        struct ticket *ticket = &publication(id)->ticket[index];

        if (ticket->state == NOT_WANTED || ticket->state == GIVEN_BACK)
            continue;
        SIM_CHECK(write->step == SHMQ_T_ALONE && ticket->state == TAKEN && acts_for_owner(ticket),
            "step %s: message %u ends while subscriber %u still has a ticket (%d)", sim_step_name(write->step), id,
                index,
            ticket->state);
        ticket->state = GIVEN_BACK;
    }
}

void sim_tickets_posted(uint32_t id, uint32_t qid)
{
    uint64_t config = sim_map.queue[qid].config;
    struct ticket *ticket = &publication(id)->ticket[shmq_config_index(config) % SHMQ_MAX_SUBSCRIBERS];

    SIM_CHECK(shmq_config_kind(config) == SHMQ_KIND_SUBSCRIBER && shmq_config_topic(config) == publication(id)->topic
            && ticket->qid == qid && ticket->state == WANTED,
        "message %u is posted to queue %u, which has no ticket for it (%d)", id, qid, ticket->state);
    ticket->state = POSTED;
    ticket->reached = true;
    ticket->post_number = sim_ring_posted(qid, ticket->epoch);
}

void sim_tickets_slot_cleared(uint32_t id, uint32_t qid)
{
    for (uint32_t index = 0; index < SHMQ_MAX_SUBSCRIBERS; index++) {
        const struct ticket *ticket = &publication(id)->ticket[index];

        SIM_CHECK(ticket->state != POSTED || ticket->qid != qid || !is_current(ticket),
            "message %u is taken out of queue %u, whose subscriber %u waits for it", id, qid, index);
    }
}

static void taken(struct ticket *ticket, uint32_t id)
{
    SIM_CHECK(ticket->state == POSTED && acts_for_owner(ticket),
        "message %u (%d) is taken by another than its subscriber",
        id, ticket->state);
    sim_ring_left(ticket->qid, ticket->epoch, ticket->post_number, true);
    ticket->state = TAKEN;
}

/* A message that waits in an open queue is given up only where its queue drops the oldest. */
static void dropped(struct ticket *ticket, uint32_t id, const struct sim_write *write)
{
    bool open = admits(ticket);

    SIM_CHECK(!open || (write->step == SHMQ_T_CLEAR && sim_map.queue[ticket->qid].flags & SHMQ_QUEUE_DROP_OLDEST),
        "step %s: message %u waits in queue %u, which is open, and is dropped", sim_step_name(write->step), id,
            ticket->qid);
    sim_ring_left(ticket->qid, ticket->epoch, ticket->post_number, open);
    sim_ledger_dropped(ticket->qid, ticket->epoch, open);
    if (!open && write->step == SHMQ_T_CLEAR && sim_holds_lock(publication(id)->sender_slot))
        ticket->reached = false;
}

/* A message that was not posted is not given up while its subscriber's queue is there and says to wait. */
static void passed_over(struct ticket *ticket, uint32_t id, const struct sim_write *write)
{
    bool drops_newest = is_current(ticket) && sim_map.queue[ticket->qid].flags & SHMQ_QUEUE_DROP_NEWEST;

    SIM_CHECK(sim_holds_lock(publication(id)->sender_slot), "step %s: message %u is given up before it was posted",
        sim_step_name(write->step), id);
    if (write->step == SHMQ_C3_TICKET)
        return;
    SIM_CHECK(!admits(ticket) || drops_newest || publication(id)->given_up,
        "message %u is not posted to queue %u, which is open and drops nothing", id, ticket->qid);
    sim_ledger_dropped(ticket->qid, ticket->epoch, admits(ticket)); /* of one that has gone, perhaps before that */
}

static void given_back(struct ticket *ticket, uint32_t id, const struct sim_write *write)
{
    if (ticket->state == TAKEN)
        SIM_CHECK(acts_for_owner(ticket), "step %s: message %u is given back for its holder by another",
            sim_step_name(write->step), id);
    else if (ticket->state == WANTED)
        passed_over(ticket, id, write);
    else if (ticket->state == POSTED)
        dropped(ticket, id, write);
    ticket->state = GIVEN_BACK;
}

void sim_tickets_changed(uint32_t id, const struct sim_write *write, const struct sim_where *where)
{
    uint64_t block_word = sim_map.block[where->block].word, changed = write->before ^ write->after;
    uint32_t want = shmq_tickets_wanted(changed), seen = shmq_tickets_seen(changed);
    uint32_t index = where->word * SHMQ_TICKETS + (uint32_t)__builtin_ctz(want | seen | 1u << 23);

    if (write->step != SHMQ_T_SEEN && write->step != SHMQ_T_CLEAR && write->step != SHMQ_C3_TICKET)
        return;
    SIM_CHECK(shmq_block_state(block_word) == SHMQ_STATE_FANOUT && sim_tickets_known(id)
            && shmq_tag(write->before) == (shmq_block_gen(block_word) & 0xffff)
            && shmq_tag(write->after) == shmq_tag(write->before),
        "step %s: a ticket of block %u changes from %llx to %llx, the block says %llx", sim_step_name(write->step),
        where->block, (unsigned long long)write->before, (unsigned long long)write->after,
        (unsigned long long)block_word);
    SIM_CHECK(__builtin_popcount(want | seen) == 1, "step %s: tickets of block %u change from %llx to %llx",
        sim_step_name(write->step), where->block, (unsigned long long)write->before, (unsigned long long)write->after);
    if (write->step == SHMQ_T_SEEN)
        taken(&publication(id)->ticket[index], id);
    else
        given_back(&publication(id)->ticket[index], id, write);
}

/* ---- what the workload tells ---- */

void sim_tickets_new(uint32_t id)
{
    SIM_CHECK(count < SIM_PUBLICATIONS, "more than %d publications in one schedule", SIM_PUBLICATIONS);
    publications[count].id = id;
    publication_of[id] = ++count;
}

void sim_tickets_started(uint32_t id, const struct shmq_publisher *publisher, const struct shmq_publication *started)
{
    for (uint32_t index = 0; (index = shmq_publication_pending(started, index)) < SHMQ_MAX_SUBSCRIBERS; index++) {
        publication(id)->ticket[index].qid = publisher->ref[index].qid;
        publication(id)->ticket[index].epoch = publisher->ref[index].epoch;
    }
}

void sim_tickets_given_up(uint32_t id) { publication(id)->given_up = true; }

void sim_tickets_finished(uint32_t id, uint32_t reached)
{
    uint32_t expected = 0;

    for (uint32_t index = 0; index < SHMQ_MAX_SUBSCRIBERS; index++) {
        const struct ticket *ticket = &publication(id)->ticket[index];

        SIM_CHECK(ticket->state != WANTED, "message %u is published, not posted to subscriber %u", id, index);
        expected += ticket->reached;
    }
    SIM_CHECK(reached == expected, "message %u has reached %u subscribers, its publisher was told %u", id, expected,
        reached);
}

void sim_tickets_received(uint32_t id, const struct shmq_message *received)
{
    const struct publication *published = publication(id);
    uint32_t index = shmq_ticket_of(received->hold.block, received->hold.word).index;
    struct ticket *ticket = &publication(id)->ticket[index];

    SIM_CHECK(ticket->state == TAKEN && !ticket->delivered && acts_for_owner(ticket),
        "message %u is delivered to subscriber %u, which has not taken it (%d)", id, index, ticket->state);
    SIM_CHECK(ticket->qid == received->qid && ticket->epoch == received->epoch,
        "message %u, posted to queue %u epoch %u, was received from queue %u epoch %u", id, ticket->qid, ticket->epoch,
        received->qid, received->epoch);
    SIM_CHECK(shmq_block_gen(received->hold.word) == shmq_block_gen(sim_map.block[received->hold.block].word),
        "message %u is held under another generation", id);
    SIM_CHECK(published->number == received->position && published->sender_slot == received->sender_slot
            && published->sender_epoch == received->sender_epoch,
        "message %u, number %llu of process %u, is said to be number %llu of process %u", id,
        (unsigned long long)published->number, published->sender_slot, (unsigned long long)received->position,
        received->sender_slot);
    ticket->delivered = true;
}

void sim_tickets_settle(void)
{
    for (uint32_t i = 0; i < count; i++)
        for (uint32_t index = 0; index < SHMQ_MAX_SUBSCRIBERS; index++) {
            const struct ticket *ticket = &publications[i].ticket[index];

            SIM_CHECK(ticket->state == NOT_WANTED || ticket->state == GIVEN_BACK,
                "message %u: the ticket of subscriber %u (queue %u) is left over (%d)", publications[i].id, index,
                ticket->qid, ticket->state);
        }
}
