/* SPDX-License-Identifier: MIT */
/* What all workers of the soak do: note, wait, send, receive. A worker waits as any program does that uses shmq:
 * between two slices it looks for the dead if that is due. Nobody ever asks for recovery. */
#ifndef SOAK_WORKER_H
#define SOAK_WORKER_H

#include <sys/mman.h>
#include <time.h>

#include "../c/check.h"
#include "ledger.h"
#include "payload.h"
#include "shmq/shmq.h"

#define SOAK_DEPTH 32u                  /* of a queue: full now and then */
#define SOAK_SLICE_NS 5000000ull        /* a wait, before the worker looks whether it is to leave */
#define SOAK_ROOM 64u                   /* events that one round of any role may take */

static struct ledger *ledger;
static struct page *page;
static struct shmq_region region;
static struct shmq_queue_ref jobs, next;
static uint64_t chance;                 /* state of the random numbers */
static uint32_t sent_n;                 /* messages of this life so far */

/* ---- noting ------------------------------------------------------------------------------------------------ */

static void note(enum event event, enum way way, uint32_t deliveries, uint32_t life, uint32_t n)
{
    ledger_note(page, event_word(event, way, deliveries, life, n));
}

static void beat(void) { ledger_store(&page->beat, page->beat + 1); }

/* Is this worker to go on, one that may stay until `last`? */
static bool go_on(enum phase last)
{
    beat();
    return ledger_load(&ledger->phase) <= (uint64_t)last && page->count + SOAK_ROOM < LEDGER_EVENTS;
}

/* ---- waiting ----------------------------------------------------------------------------------------------- */

/* Somebody may have died, and what is at hand here may be wanted. */
static void tick(uint64_t interval)
{
    beat();
    shmq_cache_flush(&region.self);
    (void)shmq_region_sweep_due(&region, shmq_os_now(), interval);
}

static void sleep_for(const struct shmq_queue_ref *ref, bool receiver)
{
    if (shmq_await_burst(&region.map, ref, receiver))
        return;
    (void)shmq_await_sleep(&region.map, ref, receiver, SOAK_SLICE_NS);
    tick(receiver ? SHMQ_SWEEP_NS : SHMQ_SWEEP_SOON_NS);
    shmq_await_leave(&region.map, ref, receiver);
}

/* A block, for as long as it takes; false: the worker is to leave. */
static bool lend(uint32_t size, struct shmq_hold *loan)
{
    struct shmq_wait_point point = shmq_starved(&region.map);

    for (;;) {
        uint32_t seq = shmq_wait_announce(point);
        int result = shmq_loan(&region.self, size, loan);

        if (result == SHMQ_OK)
            return true;
        CHECK_EQUAL(result, SHMQ_NO_BLOCKS);
        tick(SHMQ_SWEEP_SOON_NS);
        if (!go_on(PHASE_RUN))
            return false;
        (void)shmq_wait_sleep(&region.map, point, seq, SOAK_SLICE_NS);
    }
}

/* ---- queues ------------------------------------------------------------------------------------------------ */

/* Open a work queue, as one of its receivers; OK, or CLOSED: it was deleted in between. */
static int open_queue(const char *name, struct shmq_queue_ref *ref)
{
    struct shmq_queue_spec spec;
    uint64_t holder;

    memset(&spec, 0, sizeof spec);
    spec.kind = SHMQ_KIND_WORK;
    spec.policy = SHMQ_POLICY_BLOCK;
    spec.depth = SOAK_DEPTH;
    spec.name = name;
    CHECK_EQUAL(shmq_queue_open(&region.self, &spec, true, ref), SHMQ_OK);
    return shmq_queue_claim(&region.self, ref, true, SHMQ_POLICY_BLOCK, &holder);
}

static void open_queues(void)
{
    CHECK_EQUAL(open_queue("jobs", &jobs), SHMQ_OK);
    CHECK_EQUAL(open_queue("next", &next), SHMQ_OK);
}

/* ---- sending ----------------------------------------------------------------------------------------------- */

static struct shmq_parcel write_message(const struct shmq_hold *loan, uint32_t size)
{
    struct shmq_parcel parcel = { size, ++sent_n };

    payload_write(shmq_payload(&region.map, loan->block), size, (uint32_t)page->life, sent_n);
    return parcel;
}

/* Send a written block; `to` is the life whose inbox it is, or 0. What is not sent is given back. Returns the result of
 * the send; FULL: the worker is to leave, or does not wait. */
static int send_block(const struct shmq_queue_ref *ref, enum way way, uint32_t to, struct shmq_hold *loan,
    const struct shmq_parcel *parcel, bool wait)
{
    int result;

    for (;;) {
        note(EVENT_SEND, way, 0, to, parcel->label);
        result = shmq_send(&region.self, ref, loan, parcel);
        note(result == SHMQ_OK ? EVENT_SENT : EVENT_REFUSED, way, 0, to, parcel->label);
        if (result != SHMQ_FULL || !wait || !go_on(PHASE_RUN))
            break;
        sleep_for(ref, false);
    }
    if (result != SHMQ_OK)
        CHECK_EQUAL(shmq_release(&region.self, loan), SHMQ_OK);
    return result;
}

static int send_one(const struct shmq_queue_ref *ref, enum way way, uint32_t to, bool wait)
{
    uint32_t size = payload_size(&chance);
    struct shmq_hold loan;
    struct shmq_parcel parcel;

    if (!lend(size, &loan))
        return SHMQ_FULL;
    parcel = write_message(&loan, size);
    return send_block(ref, way, to, &loan, &parcel, wait);
}

/* ---- receiving --------------------------------------------------------------------------------------------- */

/* A message held, as the ledger names it. */
struct got {
    struct shmq_message message;
    enum way way;
    uint32_t life, n;
};

/* Receive if there is something. False: EMPTY, SHUT or CLOSED. */
static bool take(const struct shmq_queue_ref *ref, enum way way, struct got *got)
{
    struct shmq_message *message = &got->message;
    uint64_t name;
    bool whole;

    if (shmq_receive(&region.self, ref, message) != SHMQ_OK)
        return false;
    whole = payload_read(shmq_payload(&region.map, message->hold.block), shmq_length_bytes(message->length), &name);
    got->way = way;
    got->life = (uint32_t)(name >> 24);
    got->n = (uint32_t)(name & 0xffffff);
    whole = whole && message->label == got->n;
    note(whole ? EVENT_GOT : EVENT_TORN, way, message->deliveries, got->life, got->n);
    return true;
}

/* The same, and wait a slice for it. */
static bool take_or_wait(const struct shmq_queue_ref *ref, enum way way, struct got *got)
{
    if (take(ref, way, got))
        return true;
    sleep_for(ref, true);
    return take(ref, way, got);
}

static void finish(struct got *got)
{
    int result;

    note(EVENT_ACK, got->way, got->message.deliveries, got->life, got->n);
    result = shmq_release(&region.self, &got->message.hold);
    note(result == SHMQ_OK ? EVENT_ACKED : EVENT_TAKEN, got->way, got->message.deliveries, got->life, got->n);
}

/* Only this process could receive it: nobody needs to know when it is released. */
static void drop(struct got *got) { CHECK_EQUAL(shmq_release(&region.self, &got->message.hold), SHMQ_OK); }

#endif
