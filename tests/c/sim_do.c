/* SPDX-License-Identifier: MIT */
/* The operations of a simulated process: the call, what the ledger must hear of it, and what it may return. */
#include "sim_process.h"

/* ---- blocks ---- */

int sim_do_loan(struct sim_process *process, uint32_t order)
{
    struct shmq_hold *loan = &process->loan[process->loan_count];
    int result;

    SIM_CHECK(process->loan_count < SIM_LOANS, "the test has too many loans");
    result = shmq_loan(&process->actor, 1ull << (sim_map.geometry.granule_shift + order), loan);

    sim_operation_end();
    if (result == SHMQ_OK)
        process->loan_count++;
    SIM_CHECK(result == SHMQ_OK || result == SHMQ_NO_BLOCKS, "a loan of order %u returned %d", order, result);
    return result;
}

int sim_do_wait_for_loan(struct sim_process *process, uint32_t order, uint32_t slices)
{
    struct shmq_wait_point point = shmq_starved(&sim_map);
    int result = sim_do_loan(process, order);

    for (; result == SHMQ_NO_BLOCKS && slices; slices--) {
        uint32_t seq = shmq_wait_announce(point);

        result = sim_do_loan(process, order);
        if (result == SHMQ_NO_BLOCKS)
            shmq_wait_sleep(&sim_map, point, seq, SHMQ_SLICE_NS);
    }
    sim_operation_end();
    return result;
}

struct shmq_hold sim_loan_remove(struct sim_process *process, uint32_t at)
{
    struct shmq_hold loan = process->loan[at];

    SIM_CHECK(at < process->loan_count, "the test has no loan %u", at);
    process->loan[at] = process->loan[--process->loan_count];
    return loan;
}

/* Every other message says what it is: words, in three dimensions that tell its number. */
static struct shmq_array_type describe(uint32_t id, uint64_t bytes)
{
    struct shmq_array_type type = { 'u', '<', 8, 3, { 1, 2 + id % 3 * 2, 1, 0, 0, 0 } };

    type.shape[2] = bytes / 8 / type.shape[1];
    return type;
}

struct shmq_parcel sim_make_parcel(uint32_t id)
{
    const struct sim_message *message = &sim_messages[id];
    struct shmq_parcel parcel = { 1ull << (sim_map.geometry.granule_shift + message->order), id };

    if (id % 2) {
        struct shmq_array_type type = describe(id, parcel.length);

        parcel.length = shmq_array_bytes(&type);
        SIM_CHECK(shmq_envelope_write(&sim_map.block[message->block], &type) == SHMQ_OK, "an envelope was refused");
        parcel.length |= SHMQ_LENGTH_ENVELOPE;
    }
    return parcel;
}

static void check_parcel(const struct shmq_message *received)
{
    uint64_t bytes = 1ull << (sim_map.geometry.granule_shift + sim_messages[received->label].order);
    struct shmq_array_type type, expected = describe(received->label, bytes);

    SIM_CHECK(!(received->length & SHMQ_LENGTH_ENVELOPE) == !(received->label % 2),
        "message %u has another's envelope bit", received->label);
    if (!(received->length & SHMQ_LENGTH_ENVELOPE)) {
        SIM_CHECK(received->length == bytes, "message %u has another length", received->label);
        return;
    }
    SIM_CHECK(shmq_envelope_read(&sim_map.block[received->hold.block], shmq_length_bytes(received->length),
        &type) == SHMQ_OK
            && type.dimensions == 3 && memcmp(type.shape, expected.shape, sizeof type.shape) == 0,
        "message %u has another envelope", received->label);
}

typedef int sending(struct shmq_actor *actor, const struct shmq_queue_ref *ref, struct shmq_hold *loan,
    const struct shmq_parcel *parcel);

static int send_by(struct sim_process *process, uint32_t at, const struct shmq_queue_ref *ref, sending *send)
{
    struct shmq_hold loan = sim_loan_remove(process, at);
    uint32_t id = sim_ledger_new(loan.block, shmq_block_order(loan.word));
    struct shmq_parcel parcel = sim_make_parcel(id);
    int result;

    SIM_CHECK(ref->queue, "the test has no queue");
    sim_ledger_sending(id);
    result = send(&process->actor, ref, &loan, &parcel);
    sim_operation_end();
    sim_ledger_sent(id, result, false);
    SIM_CHECK(result == SHMQ_OK || result == SHMQ_FULL || result == SHMQ_CLOSED || result == SHMQ_SHUT
            || result == SHMQ_DROPPED, "send returned %d", result);
    if (result != SHMQ_OK)
        process->loan[process->loan_count++] = loan;
    return result;
}

int sim_do_send(struct sim_process *process, uint32_t at, const struct shmq_queue_ref *ref)
{
    return send_by(process, at, ref, shmq_send);
}

int sim_do_send_or_drop(struct sim_process *process, uint32_t at, const struct shmq_queue_ref *ref)
{
    int result;

    sim_ledger_may_drop(true);
    result = send_by(process, at, ref, shmq_send_or_drop);
    if (result == SHMQ_DROPPED)
        sim_ledger_dropped(ref->qid, ref->epoch, true);
    sim_ledger_may_drop(false);
    return result;
}

void sim_do_make_room(struct sim_process *process, const struct shmq_queue_ref *ref)
{
    sim_ledger_may_drop(true);
    (void)shmq_make_room(&process->actor, ref);
    sim_operation_end();
    sim_ledger_may_drop(false);
}

void sim_do_return(struct sim_process *process, uint32_t at)
{
    struct shmq_hold loan = sim_loan_remove(process, at), again = loan;
    int result = shmq_release(&process->actor, &loan);

    SIM_CHECK(result == SHMQ_OK, "giving a loan back returned %d", result);
    SIM_CHECK(shmq_release(&process->actor, &again) == SHMQ_STALE, "a loan could be given back twice");
    sim_operation_end();
}

/* ---- messages ---- */

int sim_do_receive(struct sim_process *process, const struct shmq_queue_ref *ref)
{
    struct shmq_message *message = &process->held[process->held_count];
    uint64_t redeliveries;
    int result;

    SIM_CHECK(ref->queue && process->held_count < SIM_HELD, "the test has no queue or holds too many messages");
    result = shmq_receive(&process->actor, ref, message);

    sim_operation_end();
    if (result != SHMQ_OK) {
        SIM_CHECK(result == SHMQ_EMPTY || result == SHMQ_CLOSED || result == SHMQ_SHUT, "receive returned %d", result);
        return result;
    }
    process->held_id[process->held_count++] = sim_ledger_received(message);
    check_parcel(message);
    redeliveries = sim_messages[message->label].redeliveries;
    SIM_CHECK(!message->deliveries || redeliveries, "message %u claims to be redelivered",
        message->label);
    return result;
}

static struct shmq_message held_remove(struct sim_process *process, uint32_t at, uint32_t *id)
{
    struct shmq_message message = process->held[at];

    SIM_CHECK(at < process->held_count, "the test holds no message %u", at);
    *id = process->held_id[at];
    process->held[at] = process->held[--process->held_count];
    process->held_id[at] = process->held_id[process->held_count];
    return message;
}

void sim_do_release(struct sim_process *process, uint32_t at)
{
    uint32_t id;
    struct shmq_message message = held_remove(process, at, &id);
    bool published = shmq_is_ticket(message.hold.word);
    int result;

    sim_ledger_releasing(id);
    result = shmq_release(&process->actor, &message.hold);
    SIM_CHECK(!published || shmq_release(&process->actor, &message.hold) == SHMQ_STALE,
        "published message %u could be released twice", id);
    sim_operation_end();
    SIM_CHECK(result == SHMQ_OK, "release of message %u returned %d", id, result);
    sim_ledger_released(id);
}

int sim_do_edit(struct sim_process *process, uint32_t at)
{
    uint32_t id;
    struct shmq_message message = held_remove(process, at, &id);
    int result;

    sim_ledger_releasing(id);
    result = shmq_edit(&process->actor, &message.hold);
    sim_operation_end();
    SIM_CHECK(result == SHMQ_OK || (result == SHMQ_SHARED_BLOCK && shmq_is_ticket(message.hold.word)),
        "edit of message %u returned %d", id, result);
    if (result != SHMQ_OK) {
        process->held[process->held_count] = message;
        process->held_id[process->held_count++] = id;
        return result;
    }
    sim_ledger_released(id);
    process->loan[process->loan_count++] = message.hold;
    return result;
}

typedef int forwarding(struct shmq_actor *actor, const struct shmq_queue_ref *ref, struct shmq_message *message);

static int forward_by(struct sim_process *process, uint32_t at, const struct shmq_queue_ref *ref, forwarding *forward)
{
    uint32_t id;
    struct shmq_message message = held_remove(process, at, &id);
    int result;

    sim_ledger_check(id, "about to be forwarded");
    sim_ledger_sending(id);
    result = forward(&process->actor, ref, &message);
    sim_operation_end();
    sim_ledger_sent(id, result, true);
    SIM_CHECK(result == SHMQ_OK || result == SHMQ_FULL || result == SHMQ_CLOSED || result == SHMQ_SHUT
            || result == SHMQ_DROPPED, "forward returned %d", result);
    if (result != SHMQ_OK) {
        process->held[process->held_count] = message;
        process->held_id[process->held_count++] = id;
    }
    return result;
}

int sim_do_forward(struct sim_process *process, uint32_t at, const struct shmq_queue_ref *ref)
{
    return forward_by(process, at, ref, shmq_forward);
}

int sim_do_forward_or_drop(struct sim_process *process, uint32_t at, const struct shmq_queue_ref *ref)
{
    int result;

    sim_ledger_may_drop(true);
    result = forward_by(process, at, ref, shmq_forward_or_drop);
    if (result == SHMQ_DROPPED)
        sim_ledger_dropped(ref->qid, ref->epoch, true);
    sim_ledger_may_drop(false);
    return result;
}

/* ---- queues ---- */

/* Which incarnations are claimed, as far as live processes were told so. */
static bool claimed_by_other(const struct sim_process *self, const struct shmq_queue_ref *ref, bool exclusive_only)
{
    for (int fibre = 0; fibre < SIM_FIBRES; fibre++) {
        const struct sim_process *process = &sim_processes[fibre];

        for (int name = 0; process != self && process->attached && name < SIM_NAMES; name++) {
            const struct sim_opened *opened = &process->named[name];

            if (opened->open && opened->ref.qid == ref->qid && opened->ref.epoch == ref->epoch
                && (opened->claim == SIM_EXCLUSIVE || (opened->claim == SIM_SHARED && !exclusive_only)))
                return true;
        }
    }
    return false;
}

int sim_do_open_inbox(struct sim_process *process, uint32_t depth)
{
    char name[16];
    int result;

    snprintf(name, sizeof name, "slot-%u", process->actor.slot);
    result = shmq_queue_open_inbox(&process->actor, name, depth, &process->inbox);

    sim_operation_end();
    SIM_CHECK(result == SHMQ_OK, "opening an inbox returned %d", result);
    process->inbox_state = SIM_INBOX_OPEN;
    return result;
}

uint32_t sim_held_from(const struct sim_process *process, const struct shmq_queue_ref *ref)
{
    uint32_t count = 0;

    for (uint32_t i = 0; i < process->held_count; i++)
        count += process->held[i].qid == ref->qid && process->held[i].epoch == ref->epoch;
    return count;
}

void sim_do_close_inbox(struct sim_process *process)
{
    if (process->inbox_state == SIM_INBOX_OPEN) {
        int result = shmq_queue_close(&process->actor, &process->inbox);

        SIM_CHECK(result == SHMQ_OK, "closing one's own inbox returned %d", result);
        process->inbox_state = SIM_INBOX_CLOSING;
    }
    if (process->inbox_state == SIM_INBOX_CLOSING && !sim_held_from(process, &process->inbox)) {
        shmq_queue_finish_close(&process->actor, &process->inbox);
        process->inbox_state = SIM_NO_INBOX;
    }
    sim_operation_end();
}

int sim_do_open(struct sim_process *process, uint32_t name, uint32_t depth, bool create)
{
    struct shmq_queue_spec spec = { SHMQ_KIND_WORK, SHMQ_POLICY_BLOCK, depth, sim_name(name), 0, 0 };
    struct shmq_queue_ref ref;
    struct sim_opened *opened = &process->named[name];
    int result = shmq_queue_open(&process->actor, &spec, create, &ref);

    sim_operation_end();
    SIM_CHECK(result == SHMQ_OK || result == (create ? SHMQ_NO_QUEUES : SHMQ_NOT_FOUND), "opening %s returned %d",
        sim_name(name), result);
    if (result != SHMQ_OK)
        return result;
    if (opened->ref.qid != ref.qid || opened->ref.epoch != ref.epoch) {
        if (opened->claim == SIM_EXCLUSIVE)
            process->outdated = *opened;
        opened->claim = SIM_UNCLAIMED;
    }
    opened->ref = ref;
    opened->open = true;
    return result;
}

int sim_do_claim(struct sim_process *process, uint32_t name, bool shared)
{
    return sim_do_claim_as(process, name, shared, SHMQ_POLICY_BLOCK);
}

int sim_do_claim_as(struct sim_process *process, uint32_t name, bool shared, enum shmq_policy policy)
{
    struct sim_opened *opened = &process->named[name];
    uint64_t holder = 0;
    int result = shmq_queue_claim(&process->actor, &opened->ref, shared, policy, &holder);

    sim_operation_end();
    SIM_CHECK(result == SHMQ_OK || result == SHMQ_IN_USE || result == SHMQ_MISMATCH || result == SHMQ_CLOSED,
        "claim returned %d", result);
    if (result != SHMQ_OK)
        return result;
    SIM_CHECK(!claimed_by_other(process, &opened->ref, shared),
        "queue %u is claimed %s although another receiver has it", opened->ref.qid,
        shared ? "shared" : "exclusively");
    opened->claim = shared ? SIM_SHARED : SIM_EXCLUSIVE;
    return result;
}

void sim_do_unclaim(struct sim_process *process, uint32_t name)
{
    struct sim_opened *opened = &process->named[name];

    if (opened->claim == SIM_EXCLUSIVE) {
        opened->claim = SIM_UNCLAIMED;
        shmq_queue_unclaim(&process->actor, &opened->ref);
        sim_operation_end();
    }
}

void sim_do_unclaim_outdated(struct sim_process *process)
{
    if (process->outdated.claim != SIM_EXCLUSIVE)
        return;
    process->outdated.claim = SIM_UNCLAIMED;
    shmq_queue_unclaim(&process->actor, &process->outdated.ref);
    sim_operation_end();
}

int sim_do_delete(struct sim_process *process, uint32_t name)
{
    int result = shmq_queue_delete(&process->actor, &process->named[name].ref);

    sim_operation_end();
    process->named[name].open = false;
    SIM_CHECK(result == SHMQ_OK || result == SHMQ_CLOSED, "delete returned %d", result);
    return result;
}

int sim_do_shut(struct sim_process *process, uint32_t name)
{
    int result = shmq_queue_shut(&process->actor, &process->named[name].ref);

    sim_operation_end();
    SIM_CHECK(result == SHMQ_OK || result == SHMQ_CLOSED, "shut down returned %d", result);
    return result;
}

int sim_do_wait(struct sim_process *process, const struct shmq_queue_ref *ref, uint32_t slices)
{
    bool slept = false;
    int result = sim_do_receive(process, ref);

    for (; result == SHMQ_EMPTY && slices; slices--) {
        slept = true;
        shmq_await_sleep(&sim_map, ref, true, SHMQ_SLICE_NS);
        result = sim_do_receive(process, ref);
    }
    if (slept)
        shmq_await_leave(&sim_map, ref, true);
    sim_operation_end();
    return result;
}
