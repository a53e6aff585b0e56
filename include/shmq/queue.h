/* SPDX-License-Identifier: MIT */
/* Slots: a ring of words to which offsets are atomically assigned, and from which they are taken.
 *
 * A post is one CAS of the offset into a slot; positions are never claimed beforehand, so a dead sender leaves no hole.
 * A take claims the block first (R1) and clears the slot after (R2): a leftover slot is recognisably stale, because
 * its block no longer says QUEUED with this generation, and anyone clears it.
 *
 *     slot at position p, lap = p >> capacity shift:   EMPTY(lap) -> FULL(lap, gen, block) -> EMPTY(lap + 1) -> …
 *
 * Any number of senders and receivers at once. Lock-free. Based on P. Tsigas and Y. Zhang, "A simple, fast and
 * scalable non-blocking concurrent FIFO queue", SPAA 2001, with lap tags in place of two kinds of null.
 */
#ifndef SHMQ_QUEUE_H
#define SHMQ_QUEUE_H

#include "ticket.h"

#define SHMQ_WALK_SLACK 1024u /* retries granted beyond two rounds before a walk reports FULL or EMPTY [U9] */

/* A slot that a walk has stopped at. */
struct shmq_place {
    uint64_t *slot;
    uint64_t word;
    uint64_t position;
};

/* What a take has claimed. */
struct shmq_taken {
    uint32_t block;
    uint64_t word;          /* its block word, as claimed; of a published one, as it is */
    uint64_t position;
};

/* What is taken for. */
enum shmq_purpose {
    SHMQ_TO_RECEIVE,
    SHMQ_TO_DROP            /* a published one need not be marked as held first */
};

static inline uint64_t shmq_queue_hint(const struct shmq_queue_ref *ref, const uint64_t *word)
{
    uint64_t hint = shmq_load_acquire(word, SHMQ_READ); /* pairs with S2_TAIL, R2_HEAD */

    return shmq_hint_epoch(hint) == (ref->epoch & 0xffff) ? shmq_hint_position(hint) : ref->base; /* [D2] */
}

/* How many messages this incarnation has dropped. */
static inline uint64_t shmq_queue_dropped(const struct shmq_queue_ref *ref)
{
    uint64_t dropped = shmq_load_acquire(&ref->queue->dropped, SHMQ_READ); /* pairs with DROP */

    return shmq_hint_epoch(dropped) == (ref->epoch & 0xffff) ? shmq_hint_position(dropped) : 0;
}

/* Count a message that this incarnation has dropped; a later one is none of its business. Lock-free. */
SHMQ_SELDOM void shmq_queue_count_drop(const struct shmq_queue_ref *ref)
{
    for (;;) {
        uint64_t dropped = shmq_load_acquire(&ref->queue->dropped, SHMQ_READ); /* pairs with Q1_FIELD, DROP */
        uint64_t more = shmq_hint_word(ref->epoch, shmq_hint_position(dropped) + 1);

        if (shmq_hint_epoch(dropped) != (ref->epoch & 0xffff)
            || shmq_cas_seq_cst(&ref->queue->dropped, dropped, more, SHMQ_DROP))
            return;
    }
}

static inline struct shmq_place shmq_queue_place(const struct shmq_queue_ref *ref, uint64_t position)
{
    struct shmq_place place;

    place.position = position;
    place.slot = &ref->slots[position & ((1ull << ref->capacity_shift) - 1)];
    place.word = shmq_load_seq_cst(place.slot, SHMQ_READ); /* a sleeper's last look races the post: see wait.h */
    return place;
}

static inline uint32_t shmq_queue_lap(const struct shmq_queue_ref *ref, uint64_t position)
{
    return (uint32_t)(position >> ref->capacity_shift);
}

/* From a slot `distance` laps ahead of where the walk believed to be, to the next position worth looking at. A
 * negative distance is a lag of more than half the lap range, read as an unsigned 24-bit number [D3]. */
static inline uint64_t shmq_queue_skip(const struct shmq_queue_ref *ref, uint64_t position, int32_t distance, bool full)
{
    uint64_t laps = (uint32_t)distance & 0xffffff;

    return position + ((full ? laps : laps - 1) << ref->capacity_shift) + 1;
}

/* Of a block word: 12 bits of the generation, state and queue. */
#define SHMQ_MATCH_BITS (0xfffull << 40 | 0x7ull << 32 | 0xffffull << 16)

/* Does the block still stand in this queue as the message that the slot names? */
static inline bool shmq_queue_match(uint32_t qid, uint64_t block_word, uint64_t slot_word)
{
    uint64_t expected = shmq_block_word(shmq_slot_gen(slot_word), 0, SHMQ_STATE_QUEUED, qid + 1, 0);

    return !((block_word ^ expected) & SHMQ_MATCH_BITS);
}

/* The same where the queue may be a subscriber's. `block` is a block of the region. */
static inline bool shmq_place_match(const struct shmq_map *map, const struct shmq_queue_ref *ref, uint32_t block,
    uint64_t block_word, uint64_t slot_word)
{
    return shmq_queue_match(ref->qid, block_word, slot_word)
        || (ref->kind == SHMQ_KIND_SUBSCRIBER
            && shmq_ticket_match(map, ref->topic, ref->index, block, block_word, slot_word));
}

/* OK: the queue is this incarnation and open to senders. Else CLOSED or SHUT. */
static inline int shmq_queue_admits(const struct shmq_queue_ref *ref, uint64_t flags)
{
    if (shmq_flags_epoch(flags) != ref->epoch || !(flags & SHMQ_QUEUE_OPEN))
        return SHMQ_CLOSED;
    return flags & SHMQ_QUEUE_SHUT ? SHMQ_SHUT : SHMQ_OK;
}

/* Is the place's slot still occupied by a message? FULL: yes. OK: it was stale and is cleared, or it has changed:
 * look again. */
static inline int shmq_queue_judge(const struct shmq_map *map, const struct shmq_queue_ref *ref,
    struct shmq_place place, enum shmq_step clear)
{
    uint32_t value = shmq_slot_value(place.word);
    bool matches = false;

    if (value <= map->geometry.granules) {
        uint64_t word = shmq_load_acquire(&map->block[value - 1].word, SHMQ_READ); /* pairs with S1, T_FANOUT, R1 */

        matches = shmq_place_match(map, ref, value - 1, word, place.word);
    }
    if (shmq_load_acquire(place.slot, SHMQ_S2_RECHECK) != place.word)
        return SHMQ_OK;
    if (matches)
        return SHMQ_FULL;
    shmq_cas_seq_cst(place.slot, place.word, shmq_slot_empty(shmq_slot_lap(place.word) + 1), clear);
    return SHMQ_OK;
}

/* A post at `position` would exceed the depth while the slot `depth` places back holds a message of its own lap. */
static inline int shmq_queue_depth(const struct shmq_map *map, const struct shmq_queue_ref *ref, uint64_t position,
    bool *retry)
{
    struct shmq_place place;

    *retry = false;
    if (ref->depth >> ref->capacity_shift) /* the ring itself is the limit */
        return SHMQ_OK;
    place = shmq_queue_place(ref, position - ref->depth);
    if (!shmq_slot_value(place.word)
        || shmq_slot_lap(place.word) != (shmq_queue_lap(ref, place.position) & 0xffffff))
        return SHMQ_OK;
    if (shmq_queue_judge(map, ref, place, SHMQ_S2_DEPTH) == SHMQ_FULL)
        return SHMQ_FULL;
    *retry = true;
    return SHMQ_OK;
}

/* Ask for the slot that a post will probably CAS, for writing: read first, it would cross twice. */
static inline void shmq_queue_prefetch_tail(const struct shmq_queue_ref *ref)
{
    uint64_t position = shmq_queue_hint(ref, &ref->queue->tail);

    shmq_prefetch_write(&ref->slots[position & ((1ull << ref->capacity_shift) - 1)]);
}

/* Find the place where the next message goes. OK, FULL, CLOSED, SHUT. Clears stale slots of dead or slow takers. */
SHMQ_OFTEN int shmq_queue_find_tail(const struct shmq_map *map, const struct shmq_queue_ref *ref,
    struct shmq_place *place)
{
    uint64_t position = shmq_queue_hint(ref, &ref->queue->tail);
    uint64_t budget = (2ull << ref->capacity_shift) + SHMQ_WALK_SLACK;

    for (; budget; budget--) {
        int result, distance;
        bool retry, full;

        *place = shmq_queue_place(ref, position);
        full = shmq_slot_value(place->word) != 0;
        distance = shmq_lap_distance(shmq_slot_lap(place->word), shmq_queue_lap(ref, position));
        result = shmq_queue_admits(ref, shmq_load_acquire(&ref->queue->flags, SHMQ_S2_EPOCH)); /* pairs with QC1 */
        if (result != SHMQ_OK)
            return result;
        if (distance == 0 && !full) {
            result = shmq_queue_depth(map, ref, position, &retry);
            if (!retry)
                return result;
        } else if (distance == 0) {
            position++;
        } else if (distance == -1 && full) {
            if (shmq_queue_judge(map, ref, *place, SHMQ_S2_HELP) == SHMQ_FULL)
                return SHMQ_FULL;
        } else {
            position = shmq_queue_skip(ref, position, distance, full);
        }
    }
    return SHMQ_FULL;
}

/* Post `block`, whose word says QUEUED here with generation `gen`. OK: *place is where it stands; FULL, CLOSED, SHUT:
 * it stands nowhere. */
SHMQ_OFTEN int shmq_queue_post(const struct shmq_map *map, const struct shmq_queue_ref *ref, uint32_t block,
    uint32_t gen, struct shmq_place *place)
{
    for (uint64_t budget = SHMQ_WALK_SLACK; budget; budget--) {
        int result = shmq_queue_find_tail(map, ref, place);
        uint64_t word;

        if (result != SHMQ_OK)
            return result;
        word = shmq_slot_word(shmq_queue_lap(ref, place->position), gen, block + 1);
        if (shmq_cas_seq_cst(place->slot, place->word, word, SHMQ_S2)) { /* races W1: store here, flag load at S3 */
            place->word = word;
            shmq_store_release(&ref->queue->tail, shmq_hint_word(ref->epoch, place->position + 1), SHMQ_S2_TAIL);
            return SHMQ_OK;
        }
    }
    return SHMQ_FULL;
}

/* Find the oldest occupied place; its message may be stale. OK, EMPTY, CLOSED.
 * A slot d laps ahead proves that the position d - 1 laps on was posted, and thus that all up to d - 2 laps on are
 * gone. Not more: a sender that took its block back has cleared its slot out of turn. */
static inline int shmq_queue_find_head(const struct shmq_queue_ref *ref, struct shmq_place *place)
{
    uint64_t start = shmq_queue_hint(ref, &ref->queue->head), position = start;
    uint64_t budget = (2ull << ref->capacity_shift) + SHMQ_WALK_SLACK;

    for (; budget; budget--) {
        int32_t distance;

        *place = shmq_queue_place(ref, position);
        distance = shmq_lap_distance(shmq_slot_lap(place->word), shmq_queue_lap(ref, position));
        if (shmq_flags_epoch(shmq_load_acquire(&ref->queue->flags, SHMQ_READ)) != ref->epoch) /* pairs with QC4 */
            return SHMQ_CLOSED;
        if (distance == 0) {
            if (shmq_slot_value(place->word))
                return SHMQ_OK;
            break;
        }
        position = distance == 1 ? position + 1 : shmq_queue_skip(ref, position, distance - 1, false);
    }
    if (budget && position != start) /* or a sleeper would find a lagging hint "not empty" for ever */
        shmq_store_release(&ref->queue->head, shmq_hint_word(ref->epoch, position), SHMQ_R2_HEAD);
    return SHMQ_EMPTY;
}

/* Ask for the lines that a take is about to need, all at once: they come from the sender's processor, one after the
 * other if each is only asked for when it is needed. */
static inline void shmq_queue_prefetch(const struct shmq_map *map, const uint64_t *slot, uint32_t block)
{
    if (block >= map->geometry.granules)
        return;
    shmq_prefetch_write(&map->block[block]);
    shmq_prefetch_write(map->data + shmq_block_offset(map, block)); /* the receiver's next loan is this block */
    shmq_prefetch_write(slot);
}

#define SHMQ_LOOK_AHEAD 4u

/* While this message is worked on, the lines of one some places on may already travel. Only a hint: what stands there
 * may be stale, or nothing. */
static inline void shmq_queue_look_ahead(const struct shmq_map *map, const struct shmq_queue_ref *ref,
    uint64_t position)
{
    struct shmq_place place = shmq_queue_place(ref, position + SHMQ_LOOK_AHEAD);
    uint32_t block = shmq_slot_value(place.word) - 1;

    if (block >= map->geometry.granules)
        return;
    shmq_prefetch_write(&map->block[block]);
    shmq_prefetch_write(map->data + shmq_block_offset(map, block));
}

/* Clear the slot of a message that was claimed (or is none) and move on. */
static inline void shmq_queue_pass(const struct shmq_queue_ref *ref, struct shmq_place place, enum shmq_step step)
{
    shmq_cas_seq_cst(place.slot, place.word, shmq_slot_empty(shmq_slot_lap(place.word) + 1), step);
    shmq_store_release(&ref->queue->head, shmq_hint_word(ref->epoch, place.position + 1), SHMQ_R2_HEAD);
}

/* The place names no message of this queue that is QUEUED: a published one, or none. TICKET: it is taken. EMPTY: a
 * stale slot was cleared. OK: somebody was faster, look again. */
SHMQ_SELDOM int shmq_queue_take_other(struct shmq_actor *actor, const struct shmq_queue_ref *ref,
    enum shmq_purpose purpose, struct shmq_place place, uint64_t word, struct shmq_taken *taken)
{
    const struct shmq_map *map = actor->map;
    uint32_t block = shmq_slot_value(place.word) - 1;
    struct shmq_ticket ticket = { block, shmq_block_gen(word), ref->index };
    bool sound = block < map->geometry.granules && shmq_block_plausible(map, block, word);

    if (sound && ref->kind == SHMQ_KIND_SUBSCRIBER
        && shmq_ticket_match(map, ref->topic, ref->index, block, word, place.word)) {
        if (shmq_load_acquire(place.slot, SHMQ_R1_RECHECK) != place.word)
            return SHMQ_OK;
        if (shmq_flags_epoch(shmq_load_acquire(&ref->queue->flags, SHMQ_R1_EPOCH)) != ref->epoch) /* after M [D1] */
            return SHMQ_CLOSED;
        if (purpose == SHMQ_TO_RECEIVE ? !shmq_ticket_take(map, ticket)
                                       : !shmq_ticket_clear(map, ticket, SHMQ_TICKET_UNSEEN, SHMQ_T_CLEAR))
            return SHMQ_OK;
        shmq_queue_pass(ref, place, SHMQ_R2);
        taken->block = block;
        taken->word = word;
        taken->position = place.position;
        return SHMQ_TICKET;
    }
    actor->corrupt += !sound;
    shmq_queue_pass(ref, place, SHMQ_R3);
    return SHMQ_EMPTY;
}

/* Take the oldest message: its block becomes OWNED by the actor's process, as held from this queue, or, of a published
 * one, the queue's ticket is taken (to receive) or given back (to drop).
 * OK, TICKET, EMPTY, CLOSED. A slot that names no possible block is cleared and counted. */
static inline int shmq_queue_take(struct shmq_actor *actor, const struct shmq_queue_ref *ref, enum shmq_purpose purpose,
    struct shmq_taken *taken)
{
    const struct shmq_map *map = actor->map;

    for (uint64_t budget = (2ull << ref->capacity_shift) + SHMQ_WALK_SLACK; budget; budget--) {
        struct shmq_place place;
        uint64_t word = 0, mine;
        uint32_t block;
        int result = shmq_queue_find_head(ref, &place);

        if (result != SHMQ_OK)
            return result;
        block = shmq_slot_value(place.word) - 1;
        shmq_queue_prefetch(map, place.slot, block);
        if (block < map->geometry.granules)
            word = shmq_load_acquire(&map->block[block].word, SHMQ_READ); /* pairs with S1: sees the block's bytes */
        if (shmq_load_acquire(place.slot, SHMQ_R1_RECHECK) != place.word)
            continue;
        if (shmq_flags_epoch(shmq_load_acquire(&ref->queue->flags, SHMQ_R1_EPOCH)) != ref->epoch) /* [D1] */
            return SHMQ_CLOSED;
        if (!shmq_queue_match(ref->qid, word, place.word) || !shmq_block_plausible(map, block, word)) {
            result = shmq_queue_take_other(actor, ref, purpose, place, word, taken);
            if (result == SHMQ_TICKET || result == SHMQ_CLOSED)
                return result;
            continue;
        }
        mine = shmq_block_move(word, SHMQ_STATE_OWNED, ref->qid + 1, actor->slot);
        if (!shmq_cas_seq_cst(&map->block[block].word, word, mine, SHMQ_R1))
            continue;
        shmq_queue_pass(ref, place, SHMQ_R2);
        taken->block = block;
        taken->word = mine;
        taken->position = place.position;
        shmq_queue_look_ahead(map, ref, place.position);
        return SHMQ_OK;
    }
    return SHMQ_EMPTY;
}

/* Under which epoch does a block stand with queue qid, to which its word `word` ties it (OWNED while held, REQUEUE)?
 * M[1] answers where it names the queue, else M[0]; false where neither belongs to this generation [D5][D9][H4].
 * They are read in the opposite order of their writing: who sees a new M[0] sees a new M[1], too, although a forward
 * that died before S1 has left the block word as it was. Compare the epoch with flags that were read after this. */
static inline bool shmq_block_epoch(const struct shmq_map *map, uint32_t block, uint64_t word, uint32_t qid,
    uint32_t *epoch)
{
    uint64_t target = shmq_load_acquire(&map->block[block].m[SHMQ_M_EPOCH], SHMQ_READ); /* pairs with S_EPOCH */
    uint64_t from = shmq_load_acquire(&map->block[block].m[SHMQ_M_FROM], SHMQ_READ);    /* pairs with S_FROM */

    if (shmq_from_queue(from) == qid + 1) {
        *epoch = shmq_from_epoch(from);
        return true;
    }
    *epoch = (uint32_t)target;
    return shmq_tag(target) == (shmq_block_gen(word) & 0xffff);
}

#endif
