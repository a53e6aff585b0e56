/* SPDX-License-Identifier: MIT */
/* Bookkeeping of messages. */
#include "sim_ledger.h"

#include "sim_rules.h"
#include "sim_tickets.h"

struct sim_message sim_messages[SIM_MESSAGES];
uint32_t sim_message_count;
struct sim_totals sim_totals;

/* What a queue's present incarnation has in its ring. */
struct ring {
    uint32_t epoch;
    uint32_t messages;
    uint64_t last_claimed;  /* post number: claims must come in the order of posts */
};

static struct ring rings[SIM_PROCESSES + SIM_QUEUES];
static uint32_t message_of[SIM_GRANULES];       /* the number of the message in each block, or 0 */
static uint64_t post_counter;

#define DROPS 32

/* What a process has dropped during its call, as the words tell, and how many it has counted. */
struct drops {
    bool may;
    uint32_t dropped, counted;
    struct { uint32_t qid, epoch; bool open; } from[DROPS];
};

static struct drops drops_of[SIM_FIBRES + 1]; /* by fibre; of the main program */

static struct drops *drops(void) { return &drops_of[sim_current() == SIM_NOBODY ? SIM_FIBRES : sim_current()]; }

/* ---- the payload ---- */

static uint64_t *granule(uint32_t block) { return (uint64_t *)(void *)(sim_map.data + shmq_block_offset(&sim_map,
    block)); }

static uint64_t stamp(uint32_t id) { return (uint64_t)id << 32 | (uint32_t)~id; }

void sim_ledger_check(uint32_t id, const char *when)
{
    const struct sim_message *message = &sim_messages[id];

    for (uint32_t i = 0; i < 1u << message->order; i++)
        SIM_CHECK(*granule(message->block + i) == stamp(id),
            "%s: message %u in block %u (order %u): granule %u was overwritten by message %u",
            when, id, message->block, message->order, i, (uint32_t)(*granule(message->block + i) >> 32));
}

/* ---- observing the words ---- */

uint64_t sim_ring_posted(uint32_t qid, uint32_t epoch)
{
    struct ring *ring = &rings[qid];

    if (ring->epoch != epoch)
        return ++post_counter; /* a straggler that posts into what was its queue; S3 or T_OPEN will tell it */
    ring->messages++;
    SIM_CHECK(ring->messages <= sim_map.queue[qid].depth, "queue %u holds %u messages, its depth is %llu", qid,
        ring->messages, (unsigned long long)sim_map.queue[qid].depth);
    return ++post_counter;
}

void sim_ring_left(uint32_t qid, uint32_t epoch, uint64_t post_number, bool first)
{
    struct ring *ring = &rings[qid];

    if (ring->epoch != epoch)
        return;
    ring->messages--;
    if (!first)
        return;
    SIM_CHECK(post_number > ring->last_claimed, "a message is claimed out of order from queue %u", qid);
    ring->last_claimed = post_number;
}

static void leaves_ring(struct sim_message *message, bool first)
{
    if (message->in_ring)
        sim_ring_left(message->home_qid, message->home_epoch, message->post_number, first);
    message->in_ring = false;
}

/* R1 on a posted message: in order. By who sends: the queue drops its oldest. */
static void claimed(struct sim_message *message, uint32_t id)
{
    SIM_CHECK(message->posts, "message %u is claimed and was never posted", id);
    if (drops()->may) {
        SIM_CHECK(sim_map.queue[message->home_qid].flags & SHMQ_QUEUE_DROP_OLDEST,
            "message %u is dropped from queue %u, which does not say so", id, message->home_qid);
        message->releasing = true;
        sim_ledger_dropped(message->home_qid, message->home_epoch, true);
    }
    leaves_ring(message, true);
}

/* The block is its sender's, or its closer's, again: back with the queue it was forwarded from, or with none. */
static void taken_back(struct sim_message *message, uint64_t word)
{
    leaves_ring(message, false);
    message->home_qid = shmq_block_queue(word) - 1;
    message->home_epoch = shmq_from_epoch(sim_map.block[message->block].m[SHMQ_M_FROM]);
}

static void block_word_changed(const struct sim_write *write, uint32_t block)
{
    uint32_t id = message_of[block];
    struct sim_message *message = &sim_messages[id];
    uint32_t from = shmq_block_state(write->before), to = shmq_block_state(write->after);

    if (from == SHMQ_STATE_FREE || to == SHMQ_STATE_FREE) {
        message_of[block] = 0;
        return;
    }
    if (!id)
        return;
    if (to == SHMQ_STATE_QUEUED) {
        message->sender_slot = shmq_block_owner(write->after);
        message->sender_epoch = shmq_process_epoch(sim_map.process[message->sender_slot].state);
    }
    if (to == SHMQ_STATE_FANOUT)
        sim_tickets_published(id, write);
    if (from == SHMQ_STATE_FANOUT)
        sim_tickets_ended(id, write);
    if (from == SHMQ_STATE_QUEUED) {
        if (write->step == SHMQ_R1)
            claimed(message, id);
        else if (write->step == SHMQ_S2_BACK || write->step == SHMQ_S3_BACK || write->step == SHMQ_C3_BACK)
            taken_back(message, write->after);
        else
            leaves_ring(message, false);
    } else if (to == SHMQ_STATE_REQUEUE) {
        message->requeues++;
    } else if (write->step == SHMQ_RQ1) {
        message->redeliveries++;
    } else if (write->step == SHMQ_ACK && message->releasing) {
        message->acknowledged = true;
    }
}

/* A published message leaves its slot only after its ticket has changed. */
static void slot_cleared(const struct sim_write *write, const struct sim_where *where)
{
    uint32_t value = write->step == SHMQ_Q1_SLOT ? 0 : shmq_slot_value(write->before);
    uint64_t word = value ? sim_map.block[value - 1].word : 0;

    if (value && shmq_block_state(word) == SHMQ_STATE_FANOUT
        && shmq_slot_gen(write->before) == (shmq_block_gen(word) & 0xfff) && sim_tickets_known(message_of[value - 1]))
        sim_tickets_slot_cleared(message_of[value - 1], where->qid);
}

static void slot_changed(const struct sim_write *write, const struct sim_where *where)
{
    uint32_t value = shmq_slot_value(write->after), id;
    struct sim_message *message;

    if (!value || write->step != SHMQ_S2) {
        slot_cleared(write, where);
        return;
    }
    id = message_of[value - 1];
    message = &sim_messages[id];
    if (sim_tickets_known(id))
        sim_tickets_posted(id, where->qid);
    if (!id || sim_tickets_known(id))
        return;
    message->posts++;
    message->home_qid = where->qid;
    message->home_epoch = (uint32_t)sim_map.block[value - 1].m[SHMQ_M_EPOCH];
    message->in_ring = rings[where->qid].epoch == message->home_epoch;
    message->post_number = sim_ring_posted(where->qid, message->home_epoch);
}

static void queue_made(const struct sim_write *write)
{
    for (uint32_t qid = 0; qid < sim_map.geometry.queues; qid++)
        if (write->word == &sim_map.queue[qid].flags) {
            rings[qid].epoch = shmq_flags_epoch(write->after);
            rings[qid].messages = 0;
        }
}

static void observe(const struct sim_write *write)
{
    struct sim_where where = sim_locate(write->word);

    sim_rules_check(write, &where);
    if (where.target == SIM_BLOCK_WORD)
        block_word_changed(write, where.block);
    else if (where.target == SIM_TICKETS_WORD)
        sim_tickets_changed(message_of[where.block], write, &where);
    else if (where.target == SIM_SLOT)
        slot_changed(write, &where);
    else if (write->step == SHMQ_DROP)
        drops()->counted++;
    else if (write->step == SHMQ_T_NUMBER)
        sim_tickets_numbered(write);
    else if (write->step == SHMQ_Q1)
        queue_made(write);
}

/* ---- what the workload tells ---- */

void sim_ledger_reset(void)
{
    sim_tickets_reset();
    memset(drops_of, 0, sizeof drops_of);
    memset(sim_messages, 0, (sim_message_count + 1) * sizeof sim_messages[0]);
    sim_message_count = 0;
    memset(rings, 0, sizeof rings);
    memset(message_of, 0, sizeof message_of);
    post_counter = 0;
    sim_observer = observe;
}

uint32_t sim_ledger_new(uint32_t block, uint32_t order)
{
    uint32_t id = ++sim_message_count;
    struct sim_message *message = &sim_messages[id];

    if (id >= SIM_MESSAGES)
        sim_fail("more than %d messages in one schedule", SIM_MESSAGES);
    memset(message, 0, sizeof *message);
    message->block = block;
    message->order = order;
    message->home_qid = SIM_NO_QUEUE;
    message->holder = SIM_NOBODY;
    message_of[block] = id;
    for (uint32_t i = 0; i < 1u << order; i++)
        *granule(block + i) = stamp(id);
    sim_totals.messages++;
    return id;
}

void sim_ledger_dropped(uint32_t qid, uint32_t epoch, bool open)
{
    struct drops *made = drops();

    if (!made->may)
        return;
    SIM_CHECK(made->dropped < DROPS, "more than %u messages dropped in one call", DROPS);
    made->from[made->dropped].qid = qid;
    made->from[made->dropped].epoch = epoch;
    made->from[made->dropped++].open = open;
}

void sim_ledger_may_drop(bool may)
{
    struct drops *made = drops();
    uint32_t there = 0; /* dropped from queues that are still there to tell of it */

    for (uint32_t i = 0; i < made->dropped; i++)
        there += made->from[i].open && shmq_flags_epoch(sim_map.queue[made->from[i].qid].flags) == made->from[i].epoch;
    SIM_CHECK(may || (made->counted <= made->dropped && made->counted >= there),
        "%u messages were dropped, %u of them from queues that are still there, and %u were counted", made->dropped,
        there, made->counted);
    made->may = may;
    made->dropped = made->counted = 0;
}

void sim_ledger_sending(uint32_t id)
{
    sim_messages[id].holder = SIM_NOBODY;
    sim_messages[id].failed = false;
}

void sim_ledger_sent(uint32_t id, int result, bool held)
{
    struct sim_message *message = &sim_messages[id];
    uint64_t word = sim_map.block[message->block].word;

    if (result == SHMQ_OK)
        return;
    message->failed = !held;
    message->holder = held ? sim_identity() : SIM_NOBODY;
    sim_ledger_check(id, "a send that failed");
    SIM_CHECK(message_of[message->block] == id && shmq_block_state(word) == SHMQ_STATE_OWNED
        && sim_holds_lock(shmq_block_owner(word)),
        "send of message %u returned %d and block %u is not the sender's: %llx", id, result, message->block,
        (unsigned long long)word);
}

uint32_t sim_ledger_received(const struct shmq_message *received)
{
    uint32_t id = received->label;
    struct sim_message *message;

    SIM_CHECK(id && id <= sim_message_count, "received message %u, which was never sent", id);
    message = &sim_messages[id];
    SIM_CHECK(message->block == received->hold.block, "received message %u in block %u, it was sent in block %u", id,
        received->hold.block, message->block);
    SIM_CHECK(message_of[message->block] == id, "received message %u, whose block was freed since", id);
    SIM_CHECK(shmq_is_ticket(received->hold.word) == sim_tickets_known(id), "received message %u as what it is not",
        id);
    sim_totals.deliveries++;
    if (sim_tickets_known(id)) {
        sim_ledger_check(id, "received");
        sim_tickets_received(id, received);
        return id;
    }
    SIM_CHECK(message->home_qid == received->qid && message->home_epoch == received->epoch,
        "message %u, sent to queue %u epoch %u, was received from queue %u epoch %u", id, message->home_qid,
        message->home_epoch, received->qid, received->epoch);
    SIM_CHECK(message->holder == SIM_NOBODY, "message %u was delivered while fibre %d holds it", id, message->holder);
    SIM_CHECK(!message->acknowledged, "message %u was delivered after its release", id);
    SIM_CHECK(!message->failed, "message %u was delivered although its send failed", id);
    SIM_CHECK(++message->deliveries <= message->posts + message->requeues, "message %u was delivered %u times", id,
        message->deliveries);
    SIM_CHECK((message->sender_slot == received->sender_slot && message->sender_epoch == received->sender_epoch)
            || (received->deliveries && received->sender_slot == SHMQ_NO_OWNER),
        "message %u of process %u is said to be of process %u", id, message->sender_slot, received->sender_slot);
    sim_ledger_check(id, "received");
    message->holder = sim_identity();
    message->releasing = false; /* whoever began to release it died before the step that counts */
    return id;
}

void sim_ledger_releasing(uint32_t id)
{
    sim_ledger_check(id, "about to be released");
    sim_messages[id].releasing = true;
}

void sim_ledger_released(uint32_t id) { sim_messages[id].holder = SIM_NOBODY; }

void sim_ledger_forget_holder(int fibre)
{
    for (uint32_t id = 1; id <= sim_message_count; id++)
        if (sim_messages[id].holder == fibre)
            sim_messages[id].holder = SIM_NOBODY;
}

static bool must_have_arrived(const struct sim_message *message)
{
    uint64_t flags;

    if (message->home_qid == SIM_NO_QUEUE)
        return false;
    flags = sim_map.queue[message->home_qid].flags;
    return (flags & SHMQ_QUEUE_OPEN) && shmq_flags_epoch(flags) == message->home_epoch;
}

void sim_ledger_settle(void)
{
    sim_tickets_settle();
    for (uint32_t id = 1; id <= sim_message_count; id++) {
        const struct sim_message *message = &sim_messages[id];

        sim_totals.redeliveries += message->redeliveries;
        SIM_CHECK(!must_have_arrived(message) || message->releasing,
            "message %u (block %u, %u posts, %u requeues, %u deliveries) is lost: queue %u is still open", id,
            message->block, message->posts, message->requeues, message->deliveries, message->home_qid);
    }
}
