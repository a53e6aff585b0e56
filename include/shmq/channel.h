/* SPDX-License-Identifier: MIT */
/* Handing over: loan, send, receive, release, forward. Nothing here waits (await.h does) and nothing calls the system,
 * but for the wake of a sleeper.
 *
 *     FREE --loan--> OWNED(me) --send--> QUEUED(q) --receive--> OWNED(me, q) --release--> OWNED(me) --> cache or FREE
 *                                 ^                                  |
 *                                 +------------- forward ------------+
 *
 * Of a published block (publish.h) a subscriber holds a ticket instead; release, receive and edit know both.
 */
#ifndef SHMQ_CHANNEL_H
#define SHMQ_CHANNEL_H

#include "cache.h"
#include "retire.h"

/* A block that this process writes, or a message that it holds: which block, and its block word as last set. */
struct shmq_hold {
    uint32_t block;
    uint64_t word;
};

/* What a sender says about a payload. */
struct shmq_parcel {
    uint64_t length;        /* bytes, and SHMQ_LENGTH_ENVELOPE where the envelope is filled in */
    uint32_t label;
};

#define SHMQ_POSITION_UNKNOWN UINT64_MAX

struct shmq_message {
    struct shmq_hold hold;
    uint32_t qid;           /* the queue that it was received from … */
    uint32_t epoch;         /* … in which incarnation */
    uint64_t length;
    uint32_t label;
    uint32_t deliveries;    /* how often it was handed out before: 0 unless a receiver died holding it */
    uint64_t position;      /* in the queue, since its base; SHMQ_POSITION_UNKNOWN of some redelivered ones */
    uint32_t sender_slot;   /* SHMQ_NO_OWNER where unknown */
    uint32_t sender_epoch;
};

/* Is the block as an allocation leaves it? */
static inline bool shmq_loan_sound(struct shmq_actor *actor, uint32_t order, struct shmq_hold *loan)
{
    loan->word = shmq_load_acquire(&actor->map->block[loan->block].word, SHMQ_READ); /* my own */
    return shmq_block_move(loan->word, SHMQ_STATE_OWNED, 0, actor->slot) == loan->word
        && shmq_block_order(loan->word) == order;
}

/* The first try gave nothing, or a block whose word somebody wrote over: such a one is never used again. */
SHMQ_SELDOM int shmq_loan_again(struct shmq_actor *actor, uint32_t order, int result, struct shmq_hold *loan)
{
    for (uint32_t tries = 0; tries <= 2 * SHMQ_CACHE_SLOTS; tries++) {
        if (result == SHMQ_NO_BLOCKS && !tries) {
            shmq_cache_flush(actor);
            shmq_buddy_merge(actor);
        } else if (result != SHMQ_OK) {
            return result;
        } else {
            actor->corrupt++;
        }
        result = shmq_block_alloc(actor, order, &loan->block);
        if (result == SHMQ_OK && shmq_loan_sound(actor, order, loan))
            return SHMQ_OK;
    }
    return SHMQ_NO_BLOCKS;
}

/* Get a block for `bytes` of payload, OWNED by this process; its content is undefined. OK; NO_BLOCKS, also after what
 * this process only kept at hand was given back and merged; INVALID where no block is that large. Lock-free. */
static inline int shmq_loan(struct shmq_actor *actor, uint64_t bytes, struct shmq_hold *loan)
{
    uint32_t order = shmq_order_for(actor->map, bytes);
    int result = shmq_block_alloc(actor, order, &loan->block);

    if (__builtin_expect(result == SHMQ_OK && shmq_loan_sound(actor, order, loan), 1))
        return SHMQ_OK;
    return shmq_loan_again(actor, order, result, loan);
}

/* Does the block still belong to this handle? STALE: it was sent, released or overwritten. */
static inline int shmq_hold_check(const struct shmq_actor *actor, const struct shmq_hold *hold)
{
    return shmq_load_acquire(&actor->map->block[hold->block].word, SHMQ_READ) == hold->word ? SHMQ_OK : SHMQ_STALE;
}

/* After a ticket was given back: free the block if it was the last. */
static inline void shmq_ticket_settle(struct shmq_actor *actor, uint32_t block, uint32_t gen)
{
    uint64_t mine;

    if (shmq_ticket_claim_last(actor, block, gen, &mine))
        shmq_block_free_own(actor, block, mine);
}

/* The process holds one message less of a subscriber's queue: if it was the last, and the queue is closed, the queue
 * leaves its topic [D4]. */
static inline void shmq_ticket_returned(struct shmq_actor *actor, uint32_t qid)
{
    if (--actor->tickets[qid] == SHMQ_UNSUBSCRIBED) {
        actor->tickets[qid] = 0;
        shmq_queue_free_record(actor->map, qid, shmq_flags_epoch(shmq_queue_flags(actor->map, qid)));
    }
}

/* The hold is none of a block word: of a ticket, or outdated. */
SHMQ_SELDOM int shmq_release_ticket(struct shmq_actor *actor, struct shmq_hold *hold)
{
    struct shmq_ticket ticket = shmq_ticket_of(hold->block, hold->word);
    uint32_t qid = shmq_block_queue(hold->word) - 1;

    if (!shmq_is_ticket(hold->word))
        return SHMQ_STALE;
    hold->word = UINT64_MAX; /* it is given back once, whatever stands in shared memory */
    if (shmq_ticket_clear(actor->map, ticket, SHMQ_TICKET_ANY, SHMQ_T_CLEAR))
        shmq_ticket_settle(actor, ticket.block, ticket.gen);
    shmq_ticket_returned(actor, qid);
    return SHMQ_OK;
}

/* Unsubscribe: nothing more arrives, what was queued is given back; what is held stays held, and the subscriber's index
 * with it. OK or CLOSED. By the process that subscribed. */
static inline int shmq_unsubscribe(struct shmq_actor *actor, const struct shmq_queue_ref *ref)
{
    int result = shmq_queue_close(actor, ref);

    if (result != SHMQ_OK)
        return result;
    if (actor->tickets[ref->qid])
        actor->tickets[ref->qid] |= SHMQ_UNSUBSCRIBED;
    else
        shmq_queue_finish_close(actor, ref);
    return SHMQ_OK;
}

/* Give a loan or a held message back. The store is the acknowledgement. OK or STALE. Lock-free. */
static inline int shmq_release(struct shmq_actor *actor, struct shmq_hold *hold)
{
    uint64_t mine = shmq_block_next(hold->word, SHMQ_STATE_OWNED, 0, actor->slot);

    if (shmq_hold_check(actor, hold) != SHMQ_OK)
        return shmq_release_ticket(actor, hold);
    shmq_store_release(&actor->map->block[hold->block].word, mine, SHMQ_ACK);
    shmq_block_free_own(actor, hold->block, mine);
    return SHMQ_OK;
}

/* Acknowledge a held message and keep its block to write in: nobody is ever redelivered a half-modified message.
 * OK; SHARED_BLOCK: published, and others want it, too: copy it, then release; STALE. Wait-free. */
static inline int shmq_edit(struct shmq_actor *actor, struct shmq_hold *hold)
{
    if (shmq_is_ticket(hold->word)) {
        uint64_t mine;

        if (!shmq_ticket_current(actor->map, shmq_ticket_of(hold->block, hold->word)))
            return SHMQ_STALE;
        if (!shmq_ticket_take_over(actor, shmq_ticket_of(hold->block, hold->word), &mine))
            return SHMQ_SHARED_BLOCK;
        shmq_ticket_returned(actor, shmq_block_queue(hold->word) - 1);
        hold->word = mine;
        return SHMQ_OK;
    }
    if (shmq_hold_check(actor, hold) != SHMQ_OK)
        return SHMQ_STALE;
    hold->word = shmq_block_next(hold->word, SHMQ_STATE_OWNED, 0, actor->slot);
    shmq_store_release(&actor->map->block[hold->block].word, hold->word, SHMQ_ACK);
    return SHMQ_OK;
}

/* The queue was closed or shut down after the post: the block comes back, unless a receiver has it. */
SHMQ_SELDOM int shmq_send_undo(struct shmq_actor *actor, struct shmq_hold *hold, uint64_t queued, uint32_t from,
    struct shmq_place place, int result)
{
    uint64_t *word = &actor->map->block[hold->block].word;

    hold->word = shmq_block_move(queued, SHMQ_STATE_OWNED, from, actor->slot);
    if (!shmq_cas_seq_cst(word, queued, hold->word, SHMQ_S3_BACK))
        return SHMQ_OK; /* taken: it has arrived */
    shmq_cas_seq_cst(place.slot, place.word, shmq_slot_empty(shmq_slot_lap(place.word) + 1), SHMQ_S3_CLEAR);
    return result;
}

/* After the post: is the queue still open? If not, the block comes back unless a receiver has it. */
static inline int shmq_send_confirm(struct shmq_actor *actor, const struct shmq_queue_ref *ref, struct shmq_hold *hold,
    uint64_t queued, uint32_t from, struct shmq_place place)
{
    uint64_t flags = shmq_load_seq_cst(&ref->queue->flags, SHMQ_S3); /* races W1, QC1 and Q_SHUT: they look after */
    int result = shmq_queue_admits(ref, flags);

    if (__builtin_expect(result != SHMQ_OK, 0))
        return shmq_send_undo(actor, hold, queued, from, place, result);
    if (flags & SHMQ_QUEUE_SLEEP)
        shmq_wake(actor->map, shmq_receivers(ref->queue), 1);
    return SHMQ_OK;
}

/* Queue the block: S1, S2, S3. `from` is the queue that a forwarded message is held from (qid + 1), or 0; `from_epoch`
 * its epoch. On any result but OK the block is still the caller's and hold->word is up to date. */
SHMQ_OFTEN int shmq_send_block(struct shmq_actor *actor, const struct shmq_queue_ref *ref, struct shmq_hold *hold,
    uint32_t from, uint32_t from_epoch)
{
    struct shmq_block *block = &actor->map->block[hold->block];
    uint64_t queued = shmq_block_next(hold->word, SHMQ_STATE_QUEUED, ref->qid + 1, actor->slot);
    uint32_t gen = shmq_block_gen(queued);
    struct shmq_place place;
    int result;

    shmq_queue_prefetch_tail(ref);
    shmq_store_release(&block->m[SHMQ_M_SENDER], shmq_from_word(gen, actor->slot, actor->epoch), SHMQ_S_SENDER);
    shmq_store_release(&block->m[SHMQ_M_FROM], from ? shmq_from_word(gen, from, from_epoch) : 0, SHMQ_S_FROM);
    shmq_store_release(&block->m[SHMQ_M_EPOCH], shmq_epoch_word(gen, ref->epoch), SHMQ_S_EPOCH);
    shmq_store_release(&block->word, queued, SHMQ_S1); /* pairs with R1: the payload is complete */
    result = shmq_queue_post(actor->map, ref, hold->block, gen, &place);
    if (result == SHMQ_OK)
        return shmq_send_confirm(actor, ref, hold, queued, from, place);
    hold->word = shmq_block_move(queued, SHMQ_STATE_OWNED, from, actor->slot);
    return shmq_cas_seq_cst(&block->word, queued, hold->word, SHMQ_S2_BACK) ? result : SHMQ_OK;
}

/* Hand a loan to a queue. OK: it is the receiver's. FULL, SHUT, CLOSED, STALE: nothing happened, the loan is still the
 * caller's. Any number of senders at once. Lock-free. Who writes a payload with non-temporal stores of his own ends
 * them with a store fence before: S1 does not order them [U15]. (Those of memcpy and memset are.) */
SHMQ_OFTEN int shmq_send(struct shmq_actor *actor, const struct shmq_queue_ref *ref, struct shmq_hold *loan,
    const struct shmq_parcel *parcel)
{
    struct shmq_block *block = &actor->map->block[loan->block];

    if (shmq_hold_check(actor, loan) != SHMQ_OK)
        return SHMQ_STALE;
    shmq_store_release(&block->length, parcel->length, SHMQ_S_LENGTH);
    shmq_store_release(&block->label, parcel->label, SHMQ_S_LABEL);
    return shmq_send_block(actor, ref, loan, 0, 0);
}

/* Hand a held message on, untouched. A death or a full queue gives it back to the queue it was held from [D9][M11].
 * Results as for shmq_send; the message stays held on all but OK. A published one must be edited first: STALE. */
static inline int shmq_forward(struct shmq_actor *actor, const struct shmq_queue_ref *ref, struct shmq_message *message)
{
    uint32_t from = shmq_block_queue(message->hold.word); /* 0 after an edit: it is acknowledged */

    if (shmq_hold_check(actor, &message->hold) != SHMQ_OK)
        return SHMQ_STALE;
    if (from == ref->qid + 1 && message->epoch != ref->epoch) {
        if ((int32_t)(message->epoch - ref->epoch) > 0) /* the target is an earlier incarnation: gone for certain */
            return SHMQ_CLOSED;
        from = 0; /* its own queue was deleted and the record is the target's now: nobody to give it back to */
    }
    return shmq_send_block(actor, ref, &message->hold, from, message->epoch);
}

/* What the queue's first receiver has fixed; before that, and of an outdated handle: to wait. */
static inline enum shmq_policy shmq_policy_now(const struct shmq_queue_ref *ref)
{
    uint64_t flags = shmq_load_acquire(&ref->queue->flags, SHMQ_READ); /* pairs with Q_SHARING, Q1 */

    return shmq_flags_epoch(flags) == ref->epoch ? shmq_flags_policy(flags) : SHMQ_POLICY_BLOCK;
}

/* Drop the oldest message of a queue whose policy says so, and count it. OK, EMPTY, CLOSED. */
static inline int shmq_drop_oldest(struct shmq_actor *actor, const struct shmq_queue_ref *ref)
{
    struct shmq_taken taken;
    int result = shmq_queue_take(actor, ref, SHMQ_TO_DROP, &taken);

    if (result == SHMQ_OK)
        shmq_block_free(actor, taken.block);
    else if (result == SHMQ_TICKET)
        shmq_ticket_settle(actor, taken.block, shmq_block_gen(taken.word));
    else
        return result;
    shmq_queue_count_drop(ref);
    return SHMQ_OK;
}

/* A queue is full: what its policy says to that. FULL: wait. DROPPED: what was to be sent is dropped, and counted. OK:
 * its oldest message was dropped and counted: try again. EMPTY: it is gone: the same. CLOSED. */
SHMQ_SELDOM int shmq_overflow(struct shmq_actor *actor, const struct shmq_queue_ref *ref)
{
    enum shmq_policy policy = shmq_policy_now(ref);

    if (policy == SHMQ_POLICY_DROP_OLDEST)
        return shmq_drop_oldest(actor, ref);
    if (policy != SHMQ_POLICY_DROP_NEWEST)
        return SHMQ_FULL;
    shmq_queue_count_drop(ref);
    return SHMQ_DROPPED;
}

/* No block is free for a message to this queue: where its policy is to drop its oldest ones, drop one. False: there is
 * none to drop. */
SHMQ_SELDOM bool shmq_make_room(struct shmq_actor *actor, const struct shmq_queue_ref *ref)
{
    uint64_t flags = shmq_load_acquire(&ref->queue->flags, SHMQ_READ); /* pairs with Q_SHARING, Q_SHUT */

    return shmq_queue_admits(ref, flags) == SHMQ_OK && shmq_flags_policy(flags) == SHMQ_POLICY_DROP_OLDEST
        && shmq_drop_oldest(actor, ref) == SHMQ_OK;
}

#define SHMQ_OVERFLOW_ROUNDS 1000u /* a sender that others overtake so often waits like any other … */
#define SHMQ_OVERFLOW_EMPTY 125u   /* … and a queue found full, then empty, counts so much: it may be overwritten */

/* Hand a loan to a queue as its policy says. OK, CLOSED, SHUT, STALE as shmq_send; FULL: the policy is to wait;
 * DROPPED: the loan is still the caller's. Lock-free. */
SHMQ_SELDOM int shmq_send_or_drop(struct shmq_actor *actor, const struct shmq_queue_ref *ref, struct shmq_hold *loan,
    const struct shmq_parcel *parcel)
{
    for (uint32_t rounds = 0; rounds < SHMQ_OVERFLOW_ROUNDS; rounds++) {
        int result = shmq_send(actor, ref, loan, parcel);

        if (__builtin_expect(result != SHMQ_FULL, 1))
            return result;
        result = shmq_overflow(actor, ref);
        if (result == SHMQ_EMPTY)
            rounds += SHMQ_OVERFLOW_EMPTY;
        else if (result != SHMQ_OK)
            return result;
    }
    return SHMQ_FULL;
}

/* The same for a held message; on all but OK it stays held. */
SHMQ_SELDOM int shmq_forward_or_drop(struct shmq_actor *actor, const struct shmq_queue_ref *ref,
    struct shmq_message *message)
{
    for (uint32_t rounds = 0; rounds < SHMQ_OVERFLOW_ROUNDS; rounds++) {
        int result = shmq_forward(actor, ref, message);

        if (result != SHMQ_FULL)
            return result;
        result = shmq_overflow(actor, ref);
        if (result == SHMQ_EMPTY)
            rounds += SHMQ_OVERFLOW_EMPTY;
        else if (result != SHMQ_OK)
            return result;
    }
    return SHMQ_FULL;
}

/* Read what is known of a block just claimed. CORRUPT: its length cannot be. */
static inline int shmq_message_read(struct shmq_actor *actor, const struct shmq_queue_ref *ref, uint32_t index,
    uint64_t word, struct shmq_message *message)
{
    const struct shmq_map *map = actor->map;
    const struct shmq_block *block = &map->block[index];
    uint64_t label = shmq_load_acquire(&block->label, SHMQ_READ);
    uint64_t sender = shmq_load_acquire(&block->m[SHMQ_M_SENDER], SHMQ_READ);

    message->hold.block = index;
    message->hold.word = word;
    message->qid = ref->qid;
    message->epoch = ref->epoch;
    message->length = shmq_load_acquire(&block->length, SHMQ_READ);
    message->label = (uint32_t)label;
    message->deliveries = (uint32_t)(label >> 32);
    message->sender_slot
        = shmq_tag(sender) == (shmq_block_gen(word) & 0xffff) ? shmq_from_queue(sender) : SHMQ_NO_OWNER;
    message->sender_epoch = shmq_from_epoch(sender);
    if (shmq_length_bytes(message->length) > 1ull << (map->geometry.granule_shift + shmq_block_order(word)))
        return SHMQ_CORRUPT;
    return SHMQ_OK;
}

/* A message that cannot be is dropped and counted. */
SHMQ_SELDOM void shmq_message_drop(struct shmq_actor *actor, struct shmq_message *message)
{
    actor->corrupt++;
    shmq_release(actor, &message->hold);
}

/* Read what is known of a published block whose ticket was just taken. The tickets lie where a sent block has its
 * sender, so that number and sender stand in the envelope. CORRUPT: its length cannot be. */
SHMQ_SELDOM int shmq_ticket_read(struct shmq_actor *actor, const struct shmq_queue_ref *ref,
    const struct shmq_taken *taken, struct shmq_message *message)
{
    const struct shmq_map *map = actor->map;
    const struct shmq_block *block = &map->block[taken->block];
    uint64_t sender = shmq_load_acquire(&block->envelope.sender, SHMQ_READ); /* pairs with T_FANOUT, as do the rest */

    message->hold.block = taken->block;
    message->hold.word = shmq_ticket_hold(taken->word, ref->qid, ref->index);
    message->qid = ref->qid;
    message->epoch = ref->epoch;
    message->length = shmq_load_acquire(&block->length, SHMQ_READ);
    message->label = (uint32_t)shmq_load_acquire(&block->label, SHMQ_READ);
    message->deliveries = 0;
    message->position = shmq_load_acquire(&block->envelope.sequence, SHMQ_READ);
    message->sender_slot = (uint32_t)sender - 1;
    message->sender_epoch = (uint32_t)(sender >> 32);
    actor->tickets[ref->qid]++;
    if (shmq_length_bytes(message->length) <= 1ull << (map->geometry.granule_shift + shmq_block_order(taken->word)))
        return SHMQ_OK;
    actor->corrupt++;
    shmq_release_ticket(actor, &message->hold);
    return SHMQ_CORRUPT;
}

/* After a take: a sender may be waiting for the space. */
static inline void shmq_received(struct shmq_actor *actor, const struct shmq_queue_ref *ref)
{
    if (shmq_load_seq_cst(&ref->queue->flags, SHMQ_R4) & SHMQ_QUEUE_SPACE) /* races a sender's W1 */
        shmq_wake(actor->map, shmq_senders(ref->queue), 1);
}

/* Take the oldest message of the ring. OK, EMPTY, CLOSED. One that cannot be is dropped on the way. */
static inline int shmq_receive_queued(struct shmq_actor *actor, const struct shmq_queue_ref *ref,
    struct shmq_message *message)
{
    int result;

    do {
        struct shmq_taken taken;

        result = shmq_queue_take(actor, ref, SHMQ_TO_RECEIVE, &taken);
        if (__builtin_expect(result == SHMQ_OK, 1)) {
            shmq_store_release(&actor->map->block[taken.block].m[SHMQ_M_POSITION],
                shmq_hint_word(shmq_block_gen(taken.word), taken.position - ref->base), SHMQ_R2_SEQ);
            shmq_received(actor, ref);
            result = shmq_message_read(actor, ref, taken.block, taken.word, message);
            message->position = shmq_hint_position(taken.position - ref->base);
            if (result != SHMQ_OK)
                shmq_message_drop(actor, message);
        } else if (result == SHMQ_TICKET) {
            shmq_received(actor, ref);
            result = shmq_ticket_read(actor, ref, &taken, message);
        }
    } while (result == SHMQ_CORRUPT);
    return result;
}

/* Claim one requeued block for this process. OK; EMPTY: it is not to be had; CLOSED: the handle is outdated. */
static inline int shmq_requeued_claim(struct shmq_actor *actor, const struct shmq_queue_ref *ref, uint32_t index,
    uint64_t word, struct shmq_message *message)
{
    struct shmq_block *block = &actor->map->block[index];
    uint64_t mine = shmq_block_move(word, SHMQ_STATE_OWNED, ref->qid + 1, actor->slot), flags, position;
    uint32_t epoch;
    bool known = shmq_block_epoch(actor->map, index, word, ref->qid, &epoch);

    flags = shmq_load_seq_cst(&ref->queue->flags, SHMQ_RQ1_EPOCH); /* after the block's words [H5] */
    if (shmq_flags_epoch(flags) != ref->epoch)
        return SHMQ_CLOSED;
    if (!known || epoch != ref->epoch) {
        shmq_requeue_drop_stale(actor, index, word);
        return SHMQ_EMPTY;
    }
    if (!shmq_cas_acq_rel(&block->word, word, mine, SHMQ_RQ1)) /* pairs with C3_REQUEUE */
        return SHMQ_EMPTY;
    if (shmq_message_read(actor, ref, index, mine, message) != SHMQ_OK) {
        shmq_message_drop(actor, message);
        return SHMQ_EMPTY;
    }
    position = shmq_load_acquire(&block->m[SHMQ_M_POSITION], SHMQ_READ);
    message->position = SHMQ_POSITION_UNKNOWN;
    if (shmq_tag(position) == (shmq_block_gen(word) & 0xffff)) /* else its receiver died before R2_SEQ */
        message->position = shmq_hint_position(position);
    message->deliveries++;
    shmq_store_release(&block->label, (uint64_t)message->deliveries << 32 | message->label, SHMQ_R_COUNT);
    return SHMQ_OK;
}

/* Look for a message that a dead receiver left. Goes on where the last search stopped; only a full round of all
 * blocks, begun after the count was read, proves that nothing is left [M2]. OK, EMPTY, CLOSED. */
SHMQ_SELDOM int shmq_receive_requeued(struct shmq_actor *actor, const struct shmq_queue_ref *ref, uint64_t requeued,
    uint64_t done, struct shmq_message *message)
{
    const struct shmq_map *map = actor->map;
    uint32_t start = actor->requeue_scan;
    struct shmq_scan scan;

    for (int wrapped = 0; wrapped < 2; wrapped++) {
        uint32_t block = wrapped ? 0 : start, end = wrapped ? start : map->geometry.granules;

        shmq_scan_begin(&scan, map, block);
        while ((block = shmq_scan_next(&scan)) < end) {
            uint64_t word = shmq_load_acquire(&map->block[block].word, SHMQ_READ); /* pairs with C3_REQUEUE */
            int result;

            if (shmq_block_state(word) != SHMQ_STATE_REQUEUE || shmq_block_queue(word) != ref->qid + 1
                || !shmq_block_plausible(map, block, word))
                continue;
            result = shmq_requeued_claim(actor, ref, block, word, message);
            if (result == SHMQ_EMPTY)
                continue;
            actor->requeue_scan = block + 1;
            return result;
        }
    }
    shmq_cas_seq_cst(&ref->queue->requeued_done, done, requeued, SHMQ_RQ3);
    return SHMQ_EMPTY;
}

static inline int shmq_receive_any(struct shmq_actor *actor, const struct shmq_queue_ref *ref,
    struct shmq_message *message)
{
    uint64_t requeued = shmq_load_seq_cst(&ref->queue->requeued, SHMQ_READ); /* pairs with C4_RQ */
    uint64_t done = shmq_load_acquire(&ref->queue->requeued_done, SHMQ_READ);
    int result = SHMQ_EMPTY;

    if (__builtin_expect(requeued != done, 0))
        result = shmq_receive_requeued(actor, ref, requeued, done, message);
    return result == SHMQ_EMPTY ? shmq_receive_queued(actor, ref, message) : result;
}

/* Receive the oldest message: first what a dead receiver left, then the ring. OK: it is held until it is released.
 * EMPTY; SHUT: shut down and nothing is left; CLOSED. Any number of receivers of a work queue at once. Lock-free. */
static inline int shmq_receive(struct shmq_actor *actor, const struct shmq_queue_ref *ref, struct shmq_message *message)
{
    int result = shmq_receive_any(actor, ref, message);
    uint64_t flags;

    if (result != SHMQ_EMPTY)
        return result;
    flags = shmq_load_seq_cst(&ref->queue->flags, SHMQ_READ); /* pairs with Q_SHUT */
    if (flags & SHMQ_QUEUE_SPACE) /* stale slots may have been cleared on the way */
        shmq_wake(actor->map, shmq_senders(ref->queue), 1);
    if (shmq_flags_epoch(flags) != ref->epoch || !(flags & SHMQ_QUEUE_OPEN))
        return SHMQ_CLOSED;
    if (!(flags & SHMQ_QUEUE_SHUT))
        return SHMQ_EMPTY;
    result = shmq_receive_any(actor, ref, message); /* only an empty queue seen after SHUT is the end [M1] */
    return result == SHMQ_EMPTY ? SHMQ_SHUT : result;
}

/* The payload of a block. */
static inline unsigned char *shmq_payload(const struct shmq_map *map, uint32_t block)
{
    return map->data + shmq_block_offset(map, block);
}

#endif
