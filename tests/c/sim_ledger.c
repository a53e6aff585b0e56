/* SPDX-License-Identifier: MIT */
/* Bookkeeping of messages. */
#include "sim_ledger.h"

#include "sim_rules.h"

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

static void leaves_ring(struct sim_message *message)
{
    if (message->in_ring && rings[message->home_qid].epoch == message->home_epoch)
        rings[message->home_qid].messages--;
    message->in_ring = false;
}

/* R1 on a posted message: in order. */
static void claimed(struct sim_message *message, uint32_t id)
{
    struct ring *ring = &rings[message->home_qid];

    SIM_CHECK(message->posts, "message %u is claimed and was never posted", id);
    SIM_CHECK(message->post_number > ring->last_claimed || !message->in_ring,
        "message %u is claimed out of order from queue %u", id, message->home_qid);
    if (message->in_ring)
        ring->last_claimed = message->post_number;
    leaves_ring(message);
}

/* The block is its sender's, or its closer's, again: back with the queue it was forwarded from, or with none. */
static void taken_back(struct sim_message *message, uint64_t word)
{
    leaves_ring(message);
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
    if (from == SHMQ_STATE_QUEUED) {
        if (write->step == SHMQ_R1)
            claimed(message, id);
        else if (write->step == SHMQ_S2_BACK || write->step == SHMQ_S3_BACK || write->step == SHMQ_C3_BACK)
            taken_back(message, write->after);
        else
            leaves_ring(message);
    } else if (to == SHMQ_STATE_REQUEUE) {
        message->requeues++;
    } else if (write->step == SHMQ_RQ1) {
        message->redeliveries++;
    } else if (write->step == SHMQ_ACK && message->releasing) {
        message->acknowledged = true;
    }
}

static void slot_changed(const struct sim_write *write, const struct sim_where *where)
{
    uint32_t value = shmq_slot_value(write->after), id;
    struct ring *ring = &rings[where->qid];
    struct sim_message *message;

    if (write->step != SHMQ_S2 || !value)
        return;
    id = message_of[value - 1];
    message = &sim_messages[id];
    if (!id)
        return;
    message->posts++;
    message->post_number = ++post_counter;
    message->home_qid = where->qid;
    message->home_epoch = (uint32_t)sim_map.block[value - 1].m[SHMQ_M_EPOCH];
    if (ring->epoch != message->home_epoch)
        return; /* a straggler that posts into what was its queue; S3 will tell it */
    message->in_ring = true;
    ring->messages++;
    SIM_CHECK(ring->messages <= sim_map.queue[where->qid].depth, "queue %u holds %u messages, its depth is %llu",
        where->qid, ring->messages, (unsigned long long)sim_map.queue[where->qid].depth);
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
    else if (where.target == SIM_SLOT)
        slot_changed(write, &where);
    else if (write->step == SHMQ_Q1)
        queue_made(write);
}

/* ---- what the workload tells ---- */

void sim_ledger_reset(void)
{
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
    SIM_CHECK(message->home_qid == received->qid && message->home_epoch == received->epoch,
        "message %u, sent to queue %u epoch %u, was received from queue %u epoch %u", id, message->home_qid,
        message->home_epoch, received->qid, received->epoch);
    SIM_CHECK(message->holder == SIM_NOBODY, "message %u was delivered while fibre %d holds it", id, message->holder);
    SIM_CHECK(!message->acknowledged, "message %u was delivered after its release", id);
    SIM_CHECK(!message->failed, "message %u was delivered although its send failed", id);
    SIM_CHECK(++message->deliveries <= message->posts + message->requeues, "message %u was delivered %u times", id,
        message->deliveries);
    SIM_CHECK((message->sender_slot == received->sender_slot && message->sender_epoch == received->sender_epoch)
            || (received->redelivered && received->sender_slot == SHMQ_NO_OWNER),
        "message %u of process %u is said to be of process %u", id, message->sender_slot, received->sender_slot);
    sim_ledger_check(id, "received");
    message->holder = sim_identity();
    message->releasing = false; /* whoever began to release it died before the step that counts */
    sim_totals.deliveries++;
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
    for (uint32_t id = 1; id <= sim_message_count; id++) {
        const struct sim_message *message = &sim_messages[id];

        sim_totals.redeliveries += message->redeliveries;
        SIM_CHECK(!must_have_arrived(message) || message->releasing,
            "message %u (block %u, %u posts, %u requeues, %u deliveries) is lost: queue %u is still open", id,
            message->block, message->posts, message->requeues, message->deliveries, message->home_qid);
    }
}
