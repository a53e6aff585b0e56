/* SPDX-License-Identifier: MIT */
/* close(i), step 3: blocks that a dead process had for itself, held, or had in a queue. Of the latter two as many as
 * there is room for are gathered, and judged together with one look at each queue's ring.
 *
 * A block word is read again when a slot names the block, and when it is judged. If it still says that the block is a
 * message that the dead process sent or held, it has said the same since the block was noted: the process itself does
 * nothing any more, and its closer makes no message of a queue its own but before any is noted (the drain), or the very
 * one that it judges. */
#ifndef SHMQ_SETTLE_H
#define SHMQ_SETTLE_H

#include "closer.h"

/* What was being allocated or freed when the process died becomes FREE: no set bit leads a scan there. Before anything
 * else is freed under this identity, since that tells of another word; what is done here is found again if the closer
 * dies. What is kept for a view had its bit taken away by somebody else, and stays: nobody may write to it. */
static inline void shmq_closer_settle_buddy(const struct shmq_closer *closer)
{
    const struct shmq_actor *as = closer->as;
    const struct shmq_map *map = as->map;
    uint32_t unit = 0, block;
    uint64_t word;

    while ((block = shmq_scan_unsettled(map, as->slot, &unit, &word)) < map->geometry.granules)
        if (!shmq_closer_keeps(closer, block))
            shmq_cas_acq_rel(&map->block[block].word, word,
                shmq_block_word(shmq_block_gen(word) + 1, 0, SHMQ_STATE_FREE, 0, 0), SHMQ_C3_FREE);
}

/* A block of the dead process that is no message: an unfinished merge or split, or plain property. */
static inline void shmq_closer_reclaim(struct shmq_actor *as, uint32_t block, uint64_t word)
{
    const struct shmq_map *map = as->map;
    uint32_t order = shmq_block_order(word);
    uint64_t free_word = shmq_block_word(shmq_block_gen(word) + 1, 0, SHMQ_STATE_FREE, 0, 0);
    struct shmq_node node = shmq_node_of(map, block, order);
    bool split = false;

    if (order && order % 5 == 0 && order / 5 < map->geometry.tiers)
        split = shmq_load_acquire(&map->word[order / 5 - 1][block >> order], SHMQ_READ) /* pairs with SP1, M2 */
            & SHMQ_WORD_ACTIVE;
    if (split || !(shmq_load_acquire(&map->word[node.tier][node.word], SHMQ_READ) >> node.bit & 1)) /* A2, F1 */
        shmq_cas_acq_rel(&map->block[block].word, word, free_word, SHMQ_C3_FREE);
    else
        shmq_buddy_free(as, block);
}

/* Is qid the open incarnation under which the block stands with it? Reads the flags last. */
static inline bool shmq_closer_current(const struct shmq_map *map, uint32_t block, uint64_t word, uint32_t qid,
    enum shmq_step step)
{
    uint32_t epoch;
    bool known = shmq_block_epoch(map, block, word, qid, &epoch);
    uint64_t flags = shmq_load_seq_cst(&map->queue[qid].flags, step);

    return known && flags & SHMQ_QUEUE_OPEN && shmq_flags_epoch(flags) == epoch;
}

/* A work message that the dead process held goes back to its queue, for the next worker [D5]. */
static inline void shmq_closer_requeue(struct shmq_closer *closer, uint32_t block, uint64_t word, uint32_t qid)
{
    const struct shmq_map *map = closer->as->map;
    uint64_t requeued = shmq_block_move(word, SHMQ_STATE_REQUEUE, qid + 1, 0);
    uint64_t mine = shmq_block_move(word, SHMQ_STATE_OWNED, 0, closer->as->slot);

    if (!shmq_cas_seq_cst(&map->block[block].word, word, requeued, SHMQ_C3_REQUEUE))
        return;
    shmq_bits_set(closer->requeued, qid);
    /* A delete that missed it has set CLOSING before: one of the two sees the other [M3]. */
    if (!shmq_closer_current(map, block, requeued, qid, SHMQ_C3_RECHECK)
        && shmq_cas_seq_cst(&map->block[block].word, requeued, mine, SHMQ_C3_UNDO))
        shmq_buddy_free(closer->as, block);
}

/* A block OWNED by the dead process as a message of queue qid. */
static inline void shmq_closer_settle_held(struct shmq_closer *closer, uint32_t block, uint64_t word, uint32_t qid)
{
    const struct shmq_map *map = closer->as->map;
    uint64_t config = shmq_load_acquire(&map->queue[qid].config, SHMQ_READ);

    if (shmq_config_kind(config) == SHMQ_KIND_WORK && shmq_closer_current(map, block, word, qid, SHMQ_C3_FLAGS))
        shmq_closer_requeue(closer, block, word, qid);
    else
        shmq_closer_reclaim(closer->as, block, word);
}

/* A block QUEUED by the dead process that no ring holds: its send had not posted, or its queue is closed. It goes
 * where it came from (M[1]), else it is freed [H4]. */
static inline void shmq_closer_settle_unposted(struct shmq_closer *closer, uint32_t block, uint64_t word)
{
    const struct shmq_map *map = closer->as->map;
    uint64_t from_word = shmq_load_acquire(&map->block[block].m[SHMQ_M_FROM], SHMQ_READ);
    uint32_t from = shmq_from_queue(from_word) - 1;
    bool forwarded = from < map->geometry.queues && shmq_tag(from_word) == (shmq_block_gen(word) & 0xffff);
    uint64_t mine = shmq_block_move(word, SHMQ_STATE_OWNED, forwarded ? from + 1 : 0, closer->as->slot);

    if (!shmq_cas_seq_cst(&map->block[block].word, word, mine, SHMQ_C3_BACK))
        return; /* a receiver or a drain has it */
    if (forwarded)
        shmq_closer_settle_held(closer, block, mine, from);
    else
        shmq_closer_reclaim(closer->as, block, mine);
}

/* Look once at every slot of qid: note which messages are posted, clear slots that name blocks held from it. */
static inline void shmq_closer_search(struct shmq_closer *closer, uint32_t qid)
{
    const struct shmq_map *map = closer->as->map;
    struct shmq_cluster_range range = shmq_clusters_range(&closer->messages);
    uint64_t *slots = shmq_map_slots(map, qid);
    uint32_t count = shmq_place_slots(map, qid);

    for (uint32_t i = 0; i < count; i++) {
        uint64_t slot_word = shmq_load_seq_cst(&slots[i], SHMQ_READ); /* pairs with S2 */
        uint32_t cluster = shmq_clusters_find(&closer->messages, range, slot_word);
        uint32_t block = shmq_slot_value(slot_word) - 1;
        uint64_t word;

        if (cluster == closer->messages.count)
            continue;
        word = shmq_load_acquire(&map->block[block].word, SHMQ_READ); /* pairs with S1, R1 */
        if (shmq_queue_match(qid, word, slot_word))
            closer->messages.posted[cluster] |= shmq_cluster_bit(block);
        else if (shmq_block_state(word) == SHMQ_STATE_OWNED && shmq_block_owner(word) == closer->as->slot
            && shmq_block_queue(word) == qid + 1)
            shmq_cas_seq_cst(&slots[i], slot_word, shmq_slot_empty(shmq_slot_lap(slot_word) + 1), SHMQ_C3_SETTLE);
    }
}

/* The queue of a message that the dead process sent or held, `queues` if the block is no longer such a one. */
static inline uint32_t shmq_closer_message_queue(const struct shmq_closer *closer, uint32_t block, uint64_t word)
{
    const struct shmq_map *map = closer->as->map;
    uint32_t state = shmq_block_state(word), qid = shmq_block_queue(word) - 1;

    if ((state == SHMQ_STATE_OWNED || state == SHMQ_STATE_QUEUED) && shmq_block_owner(word) == closer->as->slot
        && qid < map->geometry.queues && shmq_block_plausible(map, block, word))
        return qid;
    return map->geometry.queues;
}

static inline void shmq_closer_judge_message(struct shmq_closer *closer, uint32_t block, bool posted)
{
    uint64_t word = shmq_load_acquire(&closer->as->map->block[block].word, SHMQ_READ); /* pairs with S1, R1 */
    uint32_t qid = shmq_closer_message_queue(closer, block, word);

    if (qid == closer->as->map->geometry.queues)
        return;
    if (shmq_block_state(word) == SHMQ_STATE_OWNED)
        shmq_closer_settle_held(closer, block, word, qid);
    else if (!(posted && shmq_bits_test(closer->open, qid)))
        shmq_closer_settle_unposted(closer, block, word);
}

static inline void shmq_closer_judge_messages(struct shmq_closer *closer)
{
    const struct shmq_map *map = closer->as->map;
    const struct shmq_clusters *messages = &closer->messages;

    for (uint32_t qid = 0; qid < map->geometry.queues; qid++) {
        if (!shmq_bits_test(closer->queues, qid))
            continue;
        if (shmq_load_seq_cst(&map->queue[qid].flags, SHMQ_C3_FLAGS) & SHMQ_QUEUE_OPEN) /* before the ring [D10] */
            shmq_bits_set(closer->open, qid);
        shmq_closer_search(closer, qid);
    }
    for (uint32_t i = 0; i < messages->count; i++)
        for (uint64_t left = messages->noted[i]; left; left &= left - 1)
            shmq_closer_judge_message(closer, shmq_clusters_block(messages, i, left),
                messages->posted[i] & left & -left);
    shmq_closer_forget_messages(closer);
}

#endif
