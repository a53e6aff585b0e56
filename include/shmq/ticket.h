/* SPDX-License-Identifier: MIT */
/* Tickets: one published block for many subscribers, without a reference count.
 *
 * Every subscriber has an index in its topic and by it two bits in the block's M words. The publisher sets all wants
 * before it posts anything, so the block cannot go while a post is still to come. A subscriber that takes its message
 * sets seen; that it is done, or was never reached, clears both. Who clears the last want claims the block:
 *
 *     want --T_SEEN--> want, seen --T_CLEAR--> neither;      no want left --T_LAST--> OWNED by exactly one
 *
 * Every step is a CAS that carries the generation's tag, so it may be repeated by whoever recovers. Lock-free.
 */
#ifndef SHMQ_TICKET_H
#define SHMQ_TICKET_H

#include "map.h"

/* One subscriber's part in one published message. */
struct shmq_ticket {
    uint32_t block;
    uint32_t gen;           /* of the block word, all 24 bits */
    uint32_t index;         /* the subscriber's, in the topic */
};

/* Whom a ticket is given back for. */
enum shmq_ticket_kind {
    SHMQ_TICKET_ANY,        /* its holder, or who acts for it */
    SHMQ_TICKET_UNSEEN      /* who drops a message that nobody has taken, or never posted it */
};

static inline uint64_t *shmq_ticket_word(const struct shmq_map *map, uint32_t block, uint32_t index)
{
    return &map->block[block].m[index / SHMQ_TICKETS];
}

/* Does the tickets word belong to this generation, and is the subscriber's message still to be taken? */
static inline bool shmq_ticket_waits(uint64_t tickets, uint32_t gen, uint32_t index)
{
    return shmq_tag(tickets) == (gen & 0xffff) && tickets & shmq_ticket_want(index)
        && !(tickets & shmq_ticket_seen(index));
}

/* Does the block still stand for this subscriber as the message that the slot names? */
static inline bool shmq_ticket_match(const struct shmq_map *map, uint32_t topic, uint32_t index, uint32_t block,
    uint64_t block_word, uint64_t slot_word)
{
    if (shmq_block_state(block_word) != SHMQ_STATE_FANOUT || shmq_block_queue(block_word) != topic + 1
        || ((shmq_block_gen(block_word) ^ shmq_slot_gen(slot_word)) & 0xfff) || index >= SHMQ_MAX_SUBSCRIBERS)
        return false;
    return shmq_ticket_waits(shmq_load_seq_cst(shmq_ticket_word(map, block, index), SHMQ_READ), /* pairs with T_WANT */
        shmq_block_gen(block_word), index);
}

/* Is the block still this published message? Asked after a tickets word was read and before it is changed, because it
 * has only 16 bits of the generation [U10]. What remains is a process stopped between the two for a multiple of 65,536
 * generations of that block, which then has the very same tickets in that word: an assumption, as of a slot. */
static inline bool shmq_ticket_current(const struct shmq_map *map, struct shmq_ticket ticket)
{
    uint64_t word = shmq_load_seq_cst(&map->block[ticket.block].word, SHMQ_T_GEN); /* pairs with T_FANOUT, T_LAST */

    return shmq_block_state(word) == SHMQ_STATE_FANOUT && shmq_block_gen(word) == ticket.gen;
}

/* The subscriber takes its message. False: somebody was faster, or the block is another message by now. */
static inline bool shmq_ticket_take(const struct shmq_map *map, struct shmq_ticket ticket)
{
    uint64_t *word = shmq_ticket_word(map, ticket.block, ticket.index);

    for (;;) {
        uint64_t tickets = shmq_load_seq_cst(word, SHMQ_READ);

        if (!shmq_ticket_current(map, ticket) || !shmq_ticket_waits(tickets, ticket.gen, ticket.index))
            return false;
        if (shmq_cas_seq_cst(word, tickets, tickets | shmq_ticket_seen(ticket.index), SHMQ_T_SEEN))
            return true;
    }
}

/* Give a ticket back. False: there was none to give back. The caller then looks whether it was the last. */
static inline bool shmq_ticket_clear(const struct shmq_map *map, struct shmq_ticket ticket, enum shmq_ticket_kind kind,
    enum shmq_step step)
{
    uint64_t *word = shmq_ticket_word(map, ticket.block, ticket.index);
    uint64_t both = shmq_ticket_want(ticket.index) | shmq_ticket_seen(ticket.index);

    for (;;) {
        uint64_t tickets = shmq_load_seq_cst(word, SHMQ_READ);

        if (!shmq_ticket_current(map, ticket) || shmq_tag(tickets) != (ticket.gen & 0xffff)
            || !(tickets & shmq_ticket_want(ticket.index))
            || (kind == SHMQ_TICKET_UNSEEN && tickets & shmq_ticket_seen(ticket.index)))
            return false;
        if (shmq_cas_seq_cst(word, tickets, tickets & ~both, step))
            return true;
    }
}

/* How many tickets of this generation are left; SHMQ_MAX_SUBSCRIBERS + 1 where the words are another's. */
static inline uint32_t shmq_tickets_left(const struct shmq_map *map, uint32_t block, uint32_t gen)
{
    uint32_t left = 0;

    for (uint32_t i = 0; i < SHMQ_TICKET_WORDS; i++) {
        uint64_t tickets = shmq_load_seq_cst(&map->block[block].m[i], SHMQ_T_ZERO); /* races T_CLEAR of the others */

        if (shmq_tag(tickets) != (gen & 0xffff))
            return SHMQ_MAX_SUBSCRIBERS + 1;
        left += (uint32_t)__builtin_popcount(shmq_tickets_wanted(tickets));
    }
    return left;
}

/* Is the published block one that can be? The process whose it is about to be indexes private memory by its order. One
 * that cannot is counted, and stays nobody's. */
static inline bool shmq_ticket_sound(struct shmq_actor *actor, uint32_t block, uint64_t word)
{
    bool sound = shmq_block_plausible(actor->map, block, word);

    actor->corrupt += !sound;
    return sound;
}

/* After a ticket was given back: if none is left, the block becomes the actor's. Of all who try, one succeeds. */
static inline bool shmq_ticket_claim_last(struct shmq_actor *actor, uint32_t block, uint32_t gen, uint64_t *mine)
{
    uint64_t *word = &actor->map->block[block].word;
    uint64_t old = shmq_load_seq_cst(word, SHMQ_T_GEN); /* before the tickets: they are then of this generation */

    if (shmq_block_state(old) != SHMQ_STATE_FANOUT || shmq_block_gen(old) != gen
        || shmq_tickets_left(actor->map, block, gen) || !shmq_ticket_sound(actor, block, old))
        return false;
    *mine = shmq_block_move(old, SHMQ_STATE_OWNED, 0, actor->slot);
    return shmq_cas_acq_rel(word, old, *mine, SHMQ_T_LAST);
}

/* A subscriber that holds the message alone makes the block its own while its ticket is still set, so that nobody
 * else can claim it meanwhile [M7]. False: others want it, too. */
static inline bool shmq_ticket_take_over(struct shmq_actor *actor, struct shmq_ticket ticket, uint64_t *mine)
{
    uint64_t *word = &actor->map->block[ticket.block].word;
    uint64_t old = shmq_load_seq_cst(word, SHMQ_T_GEN);
    uint64_t tickets = shmq_load_seq_cst(shmq_ticket_word(actor->map, ticket.block, ticket.index), SHMQ_READ);

    if (shmq_block_state(old) != SHMQ_STATE_FANOUT || shmq_block_gen(old) != ticket.gen
        || !(tickets & shmq_ticket_seen(ticket.index)) || shmq_tickets_left(actor->map, ticket.block, ticket.gen) != 1
        || !shmq_ticket_sound(actor, ticket.block, old))
        return false;
    *mine = shmq_block_move(old, SHMQ_STATE_OWNED, 0, actor->slot);
    return shmq_cas_acq_rel(word, old, *mine, SHMQ_T_ALONE);
}

/* A hold's word while a subscriber holds a published block: the block word with this state, the subscriber's queue and
 * its index. No block word has this state, so every comparison of the hold with the block fails and leads to who knows
 * about tickets; the usual paths need not ask. */
static inline uint64_t shmq_ticket_hold(uint64_t block_word, uint32_t qid, uint32_t index)
{
    return shmq_block_move(block_word, SHMQ_STATE_TICKET, qid + 1, index);
}

static inline bool shmq_is_ticket(uint64_t hold_word) { return shmq_block_state(hold_word) == SHMQ_STATE_TICKET; }

static inline struct shmq_ticket shmq_ticket_of(uint32_t block, uint64_t hold_word)
{
    struct shmq_ticket ticket = { block, shmq_block_gen(hold_word), shmq_block_owner(hold_word) };

    return ticket;
}

#endif
