/* SPDX-License-Identifier: MIT */
/* close(i): polite close, recovery of a dead process and adoption of its slot are one routine.
 *
 * The caller holds byte lock i and acts with identity i, so there is never a second closer of the same process, and
 * i itself does nothing any more. Every step can be repeated: if the closer dies, the kernel frees the lock and the
 * next holder starts over. All others go on meanwhile; only slot i's reclaim waits for a closer that is stopped.
 */
#ifndef SHMQ_RECOVER_H
#define SHMQ_RECOVER_H

#include "cache.h"
#include "retire.h"

#define SHMQ_CANDIDATES 512u    /* messages judged with one look at each queue involved */
#define SHMQ_PUBLISHED 128u     /* of them published ones */

/* A block of the dead process that stands in, or was taken from, a queue. */
struct shmq_candidate {
    uint32_t block;
    bool posted;            /* found in the ring, with its generation */
    uint64_t word;
};

/* A block that the dead process published: to which subscribers had it been posted when their rings were searched? */
struct shmq_published {
    uint32_t block;
    uint64_t word;
    uint64_t posted[(SHMQ_MAX_SUBSCRIBERS + 63) / 64]; /* by index */
};

struct shmq_closer {
    struct shmq_actor *as;
    const uint32_t *kept;   /* blocks that stay with the process: views of them live on */
    uint32_t kept_count;
    uint64_t requeued[(SHMQ_MAX_PROCESSES + SHMQ_MAX_QUEUES) / 64]; /* queues with something requeued, one bit each */
    uint32_t count;
    struct shmq_candidate candidate[SHMQ_CANDIDATES]; /* in the order of their blocks */
    uint32_t published_count;
    struct shmq_published published[SHMQ_PUBLISHED]; /* likewise */
};

/* The queue that an OWNED or QUEUED block word names. */
static inline uint32_t shmq_candidate_queue(const struct shmq_candidate *candidate)
{
    return shmq_block_queue(candidate->word) - 1;
}

static inline void shmq_closer_note(struct shmq_closer *closer, uint32_t qid)
{
    closer->requeued[qid / 64] |= 1ull << qid % 64;
}

/* ---- step 1 and 2: the queues it owned ------------------------------------------------------------------- */

static inline bool shmq_closer_owns(const struct shmq_actor *as, uint64_t flags)
{
    return flags & SHMQ_QUEUE_USED && shmq_flags_owner(flags) == as->slot;
}

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

/* A block of the dead process that is no message: an unfinished allocation or free, or plain property. */
static inline void shmq_closer_reclaim(struct shmq_actor *as, uint32_t block, uint64_t word)
{
    const struct shmq_map *map = as->map;
    uint32_t order = shmq_block_order(word);
    uint64_t free_word = shmq_block_word(shmq_block_gen(word) + 1, 0, SHMQ_STATE_FREE, 0, 0);
    struct shmq_node node = shmq_node_of(map, block, order);
    bool split = false;

    if (order && order % 5 == 0 && order / 5 < map->geometry.tiers)
        split = shmq_load_acquire(&map->word[order / 5 - 1][block >> order], SHMQ_READ) & SHMQ_WORD_ACTIVE; /* SP1, M2 */
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
    shmq_closer_note(closer, qid);
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
static inline void shmq_closer_settle_unposted(struct shmq_closer *closer, struct shmq_candidate *candidate)
{
    const struct shmq_map *map = closer->as->map;
    uint64_t word = candidate->word;
    uint64_t from_word = shmq_load_acquire(&map->block[candidate->block].m[SHMQ_M_FROM], SHMQ_READ);
    uint32_t from = shmq_from_queue(from_word) - 1;
    bool forwarded = from < map->geometry.queues && shmq_tag(from_word) == (shmq_block_gen(word) & 0xffff);
    uint64_t mine = shmq_block_move(word, SHMQ_STATE_OWNED, forwarded ? from + 1 : 0, closer->as->slot);

    if (!shmq_cas_seq_cst(&map->block[candidate->block].word, word, mine, SHMQ_C3_BACK))
        return; /* a receiver or a drain has it */
    if (forwarded)
        shmq_closer_settle_held(closer, candidate->block, mine, from);
    else
        shmq_closer_reclaim(closer->as, candidate->block, mine);
}

/* The candidate for `block`, or NULL. They are sorted, because the scan is. */
static inline struct shmq_candidate *shmq_closer_find(struct shmq_closer *closer, uint32_t block)
{
    uint32_t low = 0, high = closer->count;

    while (low < high) {
        uint32_t middle = (low + high) / 2;

        if (closer->candidate[middle].block < block)
            low = middle + 1;
        else
            high = middle;
    }
    return low < closer->count && closer->candidate[low].block == block ? &closer->candidate[low] : NULL;
}

/* Look once at every slot of qid: note which candidates are posted, clear slots that name blocks held from it. */
static inline void shmq_closer_search(struct shmq_closer *closer, uint32_t qid)
{
    const struct shmq_map *map = closer->as->map;
    uint64_t *slots = shmq_map_slots(map, qid);
    uint32_t count = shmq_place_slots(map, qid);

    for (uint32_t i = 0; i < count; i++) {
        uint64_t slot_word = shmq_load_seq_cst(&slots[i], SHMQ_READ); /* pairs with S2 */
        struct shmq_candidate *candidate;

        if (!shmq_slot_value(slot_word))
            continue;
        candidate = shmq_closer_find(closer, shmq_slot_value(slot_word) - 1);
        if (!candidate || shmq_candidate_queue(candidate) != qid)
            continue;
        if (shmq_queue_match(qid, candidate->word, slot_word))
            candidate->posted = true;
        else if (shmq_block_state(candidate->word) == SHMQ_STATE_OWNED)
            shmq_cas_seq_cst(&slots[i], slot_word, shmq_slot_empty(shmq_slot_lap(slot_word) + 1), SHMQ_C3_SETTLE);
    }
}

/* Judge the candidates that concern queue qid. */
static inline void shmq_closer_judge_queue(struct shmq_closer *closer, uint32_t qid)
{
    uint64_t flags = shmq_load_seq_cst(&closer->as->map->queue[qid].flags, SHMQ_C3_FLAGS); /* before the ring [D10] */

    shmq_closer_search(closer, qid);
    for (uint32_t i = 0; i < closer->count; i++) {
        struct shmq_candidate *candidate = &closer->candidate[i];

        if (shmq_candidate_queue(candidate) != qid)
            continue;
        if (shmq_block_state(candidate->word) == SHMQ_STATE_OWNED)
            shmq_closer_settle_held(closer, candidate->block, candidate->word, qid);
        else if (!(candidate->posted && flags & SHMQ_QUEUE_OPEN))
            shmq_closer_settle_unposted(closer, candidate);
    }
}

static inline void shmq_closer_judge(struct shmq_closer *closer)
{
    uint64_t judged[(SHMQ_MAX_PROCESSES + SHMQ_MAX_QUEUES) / 64] = { 0 };

    for (uint32_t i = 0; i < closer->count; i++) {
        uint32_t qid = shmq_candidate_queue(&closer->candidate[i]);

        if (judged[qid / 64] >> qid % 64 & 1)
            continue;
        judged[qid / 64] |= 1ull << qid % 64;
        shmq_closer_judge_queue(closer, qid);
    }
    closer->count = 0;
}

/* ---- step 3: published blocks ---------------------------------------------------------------------------- */

/* A subscriber's entry: its queue, and whether the queue is the dead process's. False: nobody has the index. */
struct shmq_entry {
    uint32_t qid;
    uint32_t epoch;
    uint64_t flags;         /* read after the entry */
};

static inline bool shmq_closer_entry(const struct shmq_map *map, uint32_t topic, uint32_t index, struct shmq_entry *entry)
{
    uint64_t word = shmq_load_seq_cst(&map->topic[topic].subscriber[index], SHMQ_READ); /* pairs with Q3, QC_SUB */

    entry->qid = shmq_subscriber_queue(word);
    entry->epoch = shmq_subscriber_epoch(word);
    if (!word || entry->qid >= map->geometry.queues)
        return false;
    entry->flags = shmq_load_seq_cst(&map->queue[entry->qid].flags, SHMQ_C3_FLAGS); /* before the ring [D10] */
    return shmq_flags_epoch(entry->flags) == entry->epoch;
}

/* Note which of the published blocks stand in the ring of one subscriber. */
static inline void shmq_closer_search_subscriber(struct shmq_closer *closer, uint32_t qid, uint32_t topic, uint32_t index)
{
    const struct shmq_map *map = closer->as->map;
    uint64_t *slots = shmq_map_slots(map, qid);
    uint32_t count = shmq_place_slots(map, qid);

    for (uint32_t i = 0; i < count; i++) {
        uint64_t slot_word = shmq_load_seq_cst(&slots[i], SHMQ_READ); /* pairs with S2 */
        uint32_t low = 0, high = closer->published_count, block = shmq_slot_value(slot_word) - 1;

        if (!shmq_slot_value(slot_word))
            continue;
        while (low < high) {
            uint32_t middle = (low + high) / 2;

            if (closer->published[middle].block < block)
                low = middle + 1;
            else
                high = middle;
        }
        if (low < closer->published_count && closer->published[low].block == block
            && shmq_block_queue(closer->published[low].word) == topic + 1
            && shmq_slot_gen(slot_word) == (shmq_block_gen(closer->published[low].word) & 0xfff))
            closer->published[low].posted[index / 64] |= 1ull << index % 64;
    }
}

/* Give the ticket of one subscriber back for every block that was never posted to it, or to a queue that is closed. */
static inline void shmq_closer_judge_subscriber(struct shmq_closer *closer, uint32_t topic, uint32_t index)
{
    const struct shmq_map *map = closer->as->map;
    struct shmq_entry entry;
    bool open = shmq_closer_entry(map, topic, index, &entry) && entry.flags & SHMQ_QUEUE_OPEN;

    if (open)
        shmq_closer_search_subscriber(closer, entry.qid, topic, index);
    for (uint32_t i = 0; i < closer->published_count; i++) {
        struct shmq_published *published = &closer->published[i];
        struct shmq_ticket ticket = { published->block, shmq_block_gen(published->word), index };

        if (shmq_block_queue(published->word) == topic + 1
            && !(open && published->posted[index / 64] >> index % 64 & 1))
            shmq_ticket_clear(map, ticket, SHMQ_TICKET_UNSEEN, SHMQ_C3_TICKET);
    }
}

static inline void shmq_closer_claim_last(struct shmq_actor *as, uint32_t block, uint32_t gen)
{
    uint64_t mine;

    if (shmq_ticket_claim_last(as, block, gen, &mine))
        shmq_buddy_free(as, block);
}

/* Judge what the dead process published: the posted part is delivered, the rest is taken back. The process is dead, so
 * its posts precede the search; who takes a message marks its ticket before it clears the slot. */
static inline void shmq_closer_judge_published(struct shmq_closer *closer)
{
    const struct shmq_map *map = closer->as->map;

    for (uint32_t i = 0; i < closer->published_count; i++) {
        uint32_t topic = shmq_block_queue(closer->published[i].word) - 1;
        bool judged = false;

        for (uint32_t before = 0; before < i && !judged; before++)
            judged = shmq_block_queue(closer->published[before].word) == topic + 1;
        for (uint32_t index = 0; index < SHMQ_MAX_SUBSCRIBERS && !judged; index++)
            if (index < shmq_load_acquire(&map->topic[topic].indices, SHMQ_READ)) /* pairs with Q_INDICES */
                shmq_closer_judge_subscriber(closer, topic, index);
    }
    for (uint32_t i = 0; i < closer->published_count; i++)
        shmq_closer_claim_last(closer->as, closer->published[i].block, shmq_block_gen(closer->published[i].word));
    closer->published_count = 0;
}

/* Tickets that the dead process held as a subscriber are given back. */
static inline void shmq_closer_drop_held(struct shmq_closer *closer, uint32_t block, uint64_t word)
{
    const struct shmq_map *map = closer->as->map;

    for (uint32_t i = 0; i < SHMQ_TICKET_WORDS; i++) {
        uint32_t seen = shmq_tickets_seen(shmq_load_seq_cst(&map->block[block].m[i], SHMQ_READ)); /* pairs with T_SEEN */

        for (; seen; seen &= seen - 1) {
            uint32_t index = i * SHMQ_TICKETS + (uint32_t)__builtin_ctz(seen);
            struct shmq_ticket ticket = { block, shmq_block_gen(word), index };
            struct shmq_entry entry;

            if (shmq_closer_entry(map, shmq_block_queue(word) - 1, index, &entry)
                && shmq_closer_owns(closer->as, entry.flags))
                shmq_ticket_clear(map, ticket, SHMQ_TICKET_ANY, SHMQ_C3_TICKET);
        }
    }
}

static inline void shmq_closer_meet_published(struct shmq_closer *closer, uint32_t block, uint64_t word, bool kept)
{
    if (shmq_block_queue(word) - 1 >= closer->as->map->geometry.max_topics)
        return;
    if (!kept)
        shmq_closer_drop_held(closer, block, word);
    if (shmq_block_owner(word) == closer->as->slot) {
        struct shmq_published *published = &closer->published[closer->published_count++];

        memset(published, 0, sizeof *published);
        published->block = block;
        published->word = word;
        if (closer->published_count == SHMQ_PUBLISHED)
            shmq_closer_judge_published(closer);
    } else {
        shmq_closer_claim_last(closer->as, block, shmq_block_gen(word));
    }
}

/* ---- step 3: all of them --------------------------------------------------------------------------------- */

/* A requeued block tells its queue's receivers again, whoever made it; a stale one is freed [D13]. */
static inline void shmq_closer_meet_requeued(struct shmq_closer *closer, uint32_t block, uint64_t word)
{
    uint32_t qid = shmq_block_queue(word) - 1;

    if (qid < closer->as->map->geometry.queues)
        shmq_closer_note(closer, qid);
    shmq_requeue_drop_stale(closer->as, block, word);
}

static inline bool shmq_closer_keeps(const struct shmq_closer *closer, uint32_t block)
{
    for (uint32_t i = 0; i < closer->kept_count; i++)
        if (closer->kept[i] == block)
            return true;
    return false;
}

static inline void shmq_closer_meet(struct shmq_closer *closer, uint32_t block, uint64_t word)
{
    uint32_t state = shmq_block_state(word);
    uint32_t qid = shmq_block_queue(word) - 1;
    bool kept = shmq_closer_keeps(closer, block);
    bool mine = shmq_block_owner(word) == closer->as->slot && !kept;

    if (state == SHMQ_STATE_REQUEUE) {
        shmq_closer_meet_requeued(closer, block, word);
    } else if (state == SHMQ_STATE_FANOUT) {
        shmq_closer_meet_published(closer, block, word, kept);
    } else if (mine && state == SHMQ_STATE_OWNED && qid >= closer->as->map->geometry.queues) {
        shmq_closer_reclaim(closer->as, block, word);
    } else if (mine && (state == SHMQ_STATE_OWNED || state == SHMQ_STATE_QUEUED)
        && qid < closer->as->map->geometry.queues) {
        struct shmq_candidate *candidate = &closer->candidate[closer->count++];

        candidate->block = block;
        candidate->word = word;
        candidate->posted = false;
        if (closer->count == SHMQ_CANDIDATES)
            shmq_closer_judge(closer);
    }
}

/* Visit every block word that can ever have been used. */
static inline void shmq_closer_scan(struct shmq_closer *closer)
{
    const struct shmq_map *map = closer->as->map;

    for (uint32_t block = 0; (block = shmq_scan_next(map, block)) < map->geometry.granules; block++) {
        uint64_t word = shmq_load_acquire(&map->block[block].word, SHMQ_READ); /* pairs with A1, S1, R1 */

        if (shmq_block_state(word) != SHMQ_STATE_FREE && shmq_block_plausible(map, block, word))
            shmq_closer_meet(closer, block, word);
    }
    shmq_closer_judge(closer);
    shmq_closer_judge_published(closer);
}

/* ---- step 4 and 5: tell the others, give up the records -------------------------------------------------- */

static inline void shmq_closer_announce(struct shmq_closer *closer)
{
    const struct shmq_map *map = closer->as->map;

    for (uint32_t qid = 0; qid < map->geometry.queues; qid++) /* only after the whole scan [U16] */
        if (closer->requeued[qid / 64] >> qid % 64 & 1)
            shmq_fetch_add_seq_cst(&map->queue[qid].requeued, 1, SHMQ_C4_RQ);
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
    closer->count = closer->published_count = 0;
    shmq_cache_forget(closer->as); /* the scan frees what it held */
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
