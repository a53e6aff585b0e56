/* SPDX-License-Identifier: MIT */
/* The ends of a queue: drained, closed by its owner, deleted by anyone.
 *
 * OPEN is cleared and CLOSING set in one step, so that no helper opens the queue again; a straggler that posts later
 * sees it at S3 and takes its block back. If the closer dies, the queue has an owner whose close(i) does the rest.
 */
#ifndef SHMQ_RETIRE_H
#define SHMQ_RETIRE_H

#include "names.h"
#include "queue.h"
#include "scan.h"
#include "wait.h"

/* What a drain has to do with a slot's message. */
enum shmq_drained {
    SHMQ_DRAIN_STALE,       /* there is none: only the slot is cleared */
    SHMQ_DRAIN_BLOCK,       /* a queued one: its block is freed */
    SHMQ_DRAIN_TICKET,      /* a published one: the queue's ticket is given back */
    SHMQ_DRAIN_AGAIN        /* somebody was faster: look again */
};

/* Claim the message that a slot names: a queued one goes to the actor's process, of a published one the ticket goes. */
static inline enum shmq_drained shmq_drain_claim(struct shmq_actor *actor, uint32_t qid, uint32_t block, uint64_t word,
    uint64_t slot_word)
{
    const struct shmq_map *map = actor->map;
    uint64_t config = shmq_load_acquire(&map->queue[qid].config, SHMQ_READ);
    struct shmq_ticket ticket = { block, shmq_block_gen(word), shmq_config_index(config) };

    if (!shmq_block_plausible(map, block, word))
        return SHMQ_DRAIN_STALE;
    if (shmq_queue_match(qid, word, slot_word))
        return shmq_cas_seq_cst(&map->block[block].word, word,
            shmq_block_move(word, SHMQ_STATE_OWNED, qid + 1, actor->slot), SHMQ_QC2)
        ? SHMQ_DRAIN_BLOCK : SHMQ_DRAIN_AGAIN;
    if (shmq_config_kind(config) != SHMQ_KIND_SUBSCRIBER
        || !shmq_ticket_match(map, shmq_config_topic(config), ticket.index, block, word, slot_word))
        return SHMQ_DRAIN_STALE;
    return shmq_ticket_clear(map, ticket, SHMQ_TICKET_UNSEEN, SHMQ_T_CLEAR) ? SHMQ_DRAIN_TICKET : SHMQ_DRAIN_AGAIN;
}

/* Free a block of the actor's process, whose cache may be none: what a drain does with what is left of a message. */
static inline void shmq_drain_free(struct shmq_actor *actor, uint32_t block, uint64_t word, enum shmq_drained drained)
{
    uint64_t mine;

    if (drained == SHMQ_DRAIN_BLOCK
        || (drained == SHMQ_DRAIN_TICKET && shmq_ticket_claim_last(actor, block, shmq_block_gen(word), &mine)))
        shmq_buddy_free(actor, block);
}

/* Empty one slot, freeing its message. */
static inline void shmq_drain_slot(struct shmq_actor *actor, uint32_t qid, uint64_t *slot)
{
    const struct shmq_map *map = actor->map;

    for (uint32_t budget = SHMQ_WALK_SLACK; budget; budget--) {
        uint64_t slot_word = shmq_load_seq_cst(slot, SHMQ_READ), word = 0; /* [D11]: races S2; its S3 sees CLOSING */
        uint32_t block = shmq_slot_value(slot_word) - 1;
        enum shmq_drained drained = SHMQ_DRAIN_STALE;

        if (!shmq_slot_value(slot_word))
            return;
        if (block < map->geometry.granules)
            word = shmq_load_acquire(&map->block[block].word, SHMQ_READ); /* pairs with S1 */
        if (shmq_load_acquire(slot, SHMQ_QC2_RECHECK) != slot_word)
            continue;
        if (block < map->geometry.granules)
            drained = shmq_drain_claim(actor, qid, block, word, slot_word);
        if (drained == SHMQ_DRAIN_AGAIN)
            continue;
        shmq_cas_seq_cst(slot, slot_word, shmq_slot_empty(shmq_slot_lap(slot_word) + 1), SHMQ_QC3);
        shmq_drain_free(actor, block, word, drained);
        return;
    }
}

/* Empty every slot ever reserved at the queue's place. The caller has set CLOSING. */
static inline void shmq_queue_drain(struct shmq_actor *actor, uint32_t qid)
{
    uint64_t *slots = shmq_map_slots(actor->map, qid);
    uint32_t count = shmq_place_slots(actor->map, qid);

    for (uint32_t i = 0; i < count; i++)
        shmq_drain_slot(actor, qid, &slots[i]);
}

static inline void shmq_queue_wake_all(const struct shmq_map *map, uint32_t qid)
{
    shmq_wake(map, shmq_receivers(&map->queue[qid]), SHMQ_ALL_SLEEPERS);
    shmq_wake(map, shmq_senders(&map->queue[qid]), SHMQ_ALL_SLEEPERS);
}

/* The record of a closed queue of the actor's process is free for another. A subscriber's has left its topic before:
 * whoever takes the index next has another queue. */
static inline void shmq_queue_free_record(const struct shmq_map *map, uint32_t qid, uint32_t epoch)
{
    uint64_t config = shmq_load_acquire(&map->queue[qid].config, SHMQ_READ);
    uint32_t topic = shmq_config_topic(config), index = shmq_config_index(config);

    if (shmq_config_kind(config) == SHMQ_KIND_SUBSCRIBER && topic < map->geometry.max_topics
        && index < SHMQ_MAX_SUBSCRIBERS)
        shmq_cas_seq_cst(&map->topic[topic].subscriber[index], shmq_subscriber_word(epoch, qid), 0, SHMQ_QC_SUB);
    shmq_names_forget(map, qid + 1);
    shmq_store_release(&map->queue[qid].flags, shmq_flags_word(epoch + 1, 0, 0), SHMQ_QC4);
}

/* A requeued block whose queue is no longer the open incarnation it belongs to is freed; anyone may. Only what is
 * older than the flags just read is touched [H5]. */
static inline void shmq_requeue_drop_stale(struct shmq_actor *actor, uint32_t block, uint64_t word)
{
    const struct shmq_map *map = actor->map;
    uint32_t qid = shmq_block_queue(word) - 1, epoch = 0;
    uint64_t flags, mine;
    bool known;

    if (qid < map->geometry.queues) {
        known = shmq_block_epoch(map, block, word, qid, &epoch);
        flags = shmq_load_seq_cst(&map->queue[qid].flags, SHMQ_RQ1_EPOCH); /* after the block's words */
        if (known && (int32_t)(epoch - shmq_flags_epoch(flags)) >= (flags & SHMQ_QUEUE_OPEN ? 0 : 1))
            return;
    }
    mine = shmq_block_move(word, SHMQ_STATE_OWNED, 0, actor->slot);
    if (shmq_cas_acq_rel(&map->block[block].word, word, mine, SHMQ_RQ2))
        shmq_buddy_free(actor, block);
}

/* Free every requeued block of a queue that is closing. The bits that lead to it are read with acquire only: they were
 * set before the block was sent, received by who died, and requeued. */
static inline void shmq_requeue_drop_all(struct shmq_actor *actor, uint32_t qid)
{
    const struct shmq_map *map = actor->map;
    struct shmq_scan scan;

    shmq_scan_begin(&scan, map, 0);
    for (uint32_t block; (block = shmq_scan_next(&scan)) < map->geometry.granules;) {
        uint64_t word = shmq_load_seq_cst(&map->block[block].word, SHMQ_READ); /* after QC1: races C3_REQUEUE [M3] */

        if (shmq_block_state(word) == SHMQ_STATE_REQUEUE && shmq_block_queue(word) == qid + 1)
            shmq_requeue_drop_stale(actor, block, word);
    }
}

/* OPEN -> CLOSING, by or on behalf of `owner`. CLOSED: it is not this incarnation, or not open. */
static inline int shmq_queue_begin_close(const struct shmq_queue_ref *ref, uint32_t expected_owner, uint32_t owner)
{
    for (;;) {
        uint64_t flags = shmq_load_seq_cst(&ref->queue->flags, SHMQ_READ);
        uint32_t bits = (shmq_flags_bits(flags) & ~(uint32_t)SHMQ_QUEUE_OPEN) | SHMQ_QUEUE_CLOSING;

        if (shmq_flags_epoch(flags) != ref->epoch || !(flags & SHMQ_QUEUE_OPEN)
            || shmq_flags_owner(flags) != expected_owner)
            return SHMQ_CLOSED;
        if (shmq_cas_seq_cst(&ref->queue->flags, flags, shmq_flags_word(ref->epoch, owner, bits), SHMQ_QC1))
            return SHMQ_OK;
    }
}

/* Close one queue of the actor's own process, which stays attached: nothing more arrives, what was queued is freed.
 * The record stays taken until shmq_queue_finish_close [U1]. OK or CLOSED. */
static inline int shmq_queue_close(struct shmq_actor *actor, const struct shmq_queue_ref *ref)
{
    int result = shmq_queue_begin_close(ref, actor->slot, actor->slot);

    if (result != SHMQ_OK)
        return result;
    shmq_queue_drain(actor, ref->qid);
    shmq_queue_wake_all(actor->map, ref->qid);
    return SHMQ_OK;
}

/* Second half of a close: call it once this process holds no message of the queue any more [D4]. */
static inline void shmq_queue_finish_close(struct shmq_actor *actor, const struct shmq_queue_ref *ref)
{
    shmq_queue_free_record(actor->map, ref->qid, ref->epoch);
}

/* Delete a work queue, whoever made it: what is queued or requeued is freed, senders and receivers are told. The
 * deleter becomes its owner first, so that its death repairs a delete half done [U3]. OK or CLOSED. */
static inline int shmq_queue_delete(struct shmq_actor *actor, const struct shmq_queue_ref *ref)
{
    int result = shmq_queue_begin_close(ref, SHMQ_NO_OWNER, actor->slot);

    if (result != SHMQ_OK)
        return result;
    shmq_queue_drain(actor, ref->qid);
    shmq_requeue_drop_all(actor, ref->qid);
    shmq_queue_wake_all(actor->map, ref->qid);
    shmq_queue_free_record(actor->map, ref->qid, ref->epoch);
    return SHMQ_OK;
}

/* Shut the queue down and tell everybody. OK or CLOSED. */
static inline int shmq_queue_shut(struct shmq_actor *actor, const struct shmq_queue_ref *ref)
{
    int result = shmq_queue_set_shut(ref);

    if (result == SHMQ_OK)
        shmq_queue_wake_all(actor->map, ref->qid);
    return result;
}

#endif
