/* SPDX-License-Identifier: MIT */
/* close(i): polite close, recovery of a dead process and adoption of its slot are one routine.
 *
 * The caller holds byte lock i and acts with identity i, so there is never a second closer of the same process, and
 * i itself does nothing any more. Every step can be repeated: if the closer dies, the kernel frees the lock and the
 * next holder starts over. All others go on meanwhile; only slot i's reclaim waits for a closer that is stopped.
 */
#ifndef SHMQ_RECOVER_H
#define SHMQ_RECOVER_H

#include "settle.h"
#include "settle_published.h"

/* ---- step 1 and 2: the queues it owned ------------------------------------------------------------------- */

/* Nothing more may be posted to the dead process's queues, and no helper may open one it was building. */
static inline void shmq_closer_shut_queues(struct shmq_actor *as)
{
    const struct shmq_map *map = as->map;

    for (uint32_t qid = 0; qid < map->geometry.queues; qid++) {
        uint64_t flags = shmq_queue_flags(map, qid);

        while (shmq_closer_owns(as, flags) && !(flags & SHMQ_QUEUE_CLOSING)) { /* a helper may open it: owner none */
            uint32_t bits = (shmq_flags_bits(flags) & ~(uint32_t)SHMQ_QUEUE_OPEN) | SHMQ_QUEUE_CLOSING;

            if (shmq_cas_seq_cst(&map->queue[qid].flags, flags,
                    shmq_flags_word(shmq_flags_epoch(flags), as->slot, bits), SHMQ_QC1)) /* races S3 of stragglers */
                break;
            flags = shmq_queue_flags(map, qid);
        }
    }
}

static inline void shmq_closer_drain_queues(struct shmq_actor *as)
{
    for (uint32_t qid = 0; qid < as->map->geometry.queues; qid++)
        if (shmq_closer_owns(as, shmq_queue_flags(as->map, qid)))
            shmq_queue_drain(as, qid);
}

/* ---- step 3: the blocks ---------------------------------------------------------------------------------- */

/* A requeued block tells its queue's receivers again, whoever made it; a stale one is freed [D13]. */
static inline void shmq_closer_meet_requeued(struct shmq_closer *closer, uint32_t block, uint64_t word)
{
    uint32_t qid = shmq_block_queue(word) - 1;

    if (qid < closer->as->map->geometry.queues)
        shmq_bits_set(closer->requeued, qid);
    shmq_requeue_drop_stale(closer->as, block, word);
}

static inline void shmq_closer_meet(struct shmq_closer *closer, uint32_t block, uint64_t word)
{
    uint32_t state = shmq_block_state(word);
    uint32_t qid = shmq_closer_message_queue(closer, block, word);
    bool kept = shmq_closer_keeps(closer, block);

    if (state == SHMQ_STATE_REQUEUE) {
        shmq_closer_meet_requeued(closer, block, word);
    } else if (state == SHMQ_STATE_FANOUT) {
        shmq_closer_meet_published(closer, block, word, kept);
    } else if (!kept && qid < closer->as->map->geometry.queues) {
        if (shmq_clusters_full(&closer->messages, block))
            shmq_closer_judge_messages(closer);
        shmq_clusters_note(&closer->messages, block);
        shmq_bits_set(closer->queues, qid);
    } else if (!kept && state == SHMQ_STATE_OWNED && shmq_block_owner(word) == closer->as->slot) {
        shmq_closer_reclaim(closer->as, block, word);
    }
}

/* Visit every block in use. */
static inline void shmq_closer_scan(struct shmq_closer *closer)
{
    const struct shmq_map *map = closer->as->map;
    struct shmq_scan scan;

    shmq_scan_begin(&scan, map, 0);
    for (uint32_t block; (block = shmq_scan_next(&scan)) < map->geometry.granules;) {
        uint64_t word = shmq_load_acquire(&map->block[block].word, SHMQ_READ); /* pairs with A1, S1, R1 */

        if (shmq_block_state(word) != SHMQ_STATE_FREE && shmq_block_plausible(map, block, word))
            shmq_closer_meet(closer, block, word);
    }
    shmq_closer_judge_messages(closer);
    shmq_closer_judge_published(closer);
}

/* Wake all who have announced that they sleep: in close(i), and where threads of a process that leaves are to come out
 * of their waits. */
static inline void shmq_wake_everybody(const struct shmq_map *map)
{
    for (uint32_t qid = 0; qid < map->geometry.queues; qid++) {
        uint64_t flags = shmq_queue_flags(map, qid);

        if (flags & SHMQ_QUEUE_SLEEP)
            shmq_wake(map, shmq_receivers(&map->queue[qid]), SHMQ_ALL_SLEEPERS);
        if (flags & SHMQ_QUEUE_SPACE)
            shmq_wake(map, shmq_senders(&map->queue[qid]), SHMQ_ALL_SLEEPERS);
    }
    if (shmq_load_seq_cst(&map->header->wanted, SHMQ_READ))
        shmq_wake(map, shmq_starved(map), SHMQ_ALL_SLEEPERS);
}

/* ---- step 4 and 5: tell the others, give up the records -------------------------------------------------- */

static inline void shmq_closer_announce(struct shmq_closer *closer)
{
    const struct shmq_map *map = closer->as->map;

    for (uint32_t qid = 0; qid < map->geometry.queues; qid++) /* only after the whole scan [U16] */
        if (shmq_bits_test(closer->requeued, qid))
            shmq_fetch_add_seq_cst(&map->queue[qid].requeued, 1, SHMQ_C4_RQ);
    shmq_wake_everybody(map);
}

/* A subscriber's queue stays until no message of it is held any more: its tickets are found by its index [D4]. */
static inline bool shmq_closer_still_needs(const struct shmq_closer *closer, uint32_t qid)
{
    uint64_t config = shmq_load_acquire(&closer->as->map->queue[qid].config, SHMQ_READ);

    return closer->kept_count && shmq_config_kind(config) == SHMQ_KIND_SUBSCRIBER;
}

static inline void shmq_closer_give_up_queues(struct shmq_closer *closer, uint32_t epoch)
{
    const struct shmq_actor *as = closer->as;
    const struct shmq_map *map = as->map;

    for (uint32_t qid = 0; qid < map->geometry.queues; qid++) {
        uint64_t flags = shmq_queue_flags(map, qid);
        uint64_t claim = shmq_load_acquire(&map->queue[qid].claim, SHMQ_READ); /* pairs with CLAIM */

        if (shmq_claim_slot(claim) == as->slot && shmq_claim_epoch(claim) == epoch) /* of any incarnation [M12] */
            shmq_cas_seq_cst(&map->queue[qid].claim, claim, 0, SHMQ_C4_CLAIM);
        if (shmq_closer_owns(as, flags) && !shmq_closer_still_needs(closer, qid))
            shmq_queue_free_record(map, qid, shmq_flags_epoch(flags));
    }
    for (uint32_t topic = 0; topic < map->geometry.max_topics; topic++)
        shmq_topic_abandon(map, topic, as->slot);
}

static inline void shmq_closer_run(struct shmq_closer *closer, uint32_t epoch)
{
    memset(&closer->requeued, 0, sizeof closer->requeued);
    shmq_closer_forget_messages(closer);
    shmq_closer_forget_published(closer);
    shmq_cache_forget(closer->as); /* the scan frees what it held */
    shmq_closer_settle_buddy(closer);
    shmq_closer_shut_queues(closer->as);
    shmq_closer_drain_queues(closer->as);
    shmq_closer_scan(closer);
    shmq_closer_announce(closer);
    shmq_closer_give_up_queues(closer, epoch);
}

/* Give everything up but the `count` blocks in `kept`, and stay attached for their sake: a region is closed while
 * views live. By the process itself; nothing of it is inside an operation. shmq_close does the rest later. */
static inline void shmq_close_except(struct shmq_actor *self, const uint32_t *kept, uint32_t count)
{
    struct shmq_closer closer;

    closer.as = self;
    closer.kept = kept;
    closer.kept_count = count;
    shmq_closer_run(&closer, self->epoch);
}

/* Do for process slot as->slot what a polite close does. The caller holds its byte lock; the slot may be FREE, LIVE
 * or DEAD and is FREE afterwards, with the next epoch. The actor's cache is empty afterwards. */
static inline void shmq_close(struct shmq_actor *as)
{
    uint64_t *state = &as->map->process[as->slot].state;
    uint64_t word = shmq_load_acquire(state, SHMQ_READ); /* pairs with P2, C5 */
    uint32_t epoch = shmq_process_epoch(word);
    struct shmq_closer closer;

    if (shmq_process_state(word) == SHMQ_PROCESS_FREE)
        return;
    closer.as = as;
    closer.kept = NULL;
    closer.kept_count = 0;
    shmq_cas_acq_rel(state, word, shmq_process_word(epoch, SHMQ_PROCESS_DEAD), SHMQ_C1);
    shmq_closer_run(&closer, epoch);
    shmq_store_release(state, shmq_process_word(epoch + 1, SHMQ_PROCESS_FREE), SHMQ_C5);
}

#endif
