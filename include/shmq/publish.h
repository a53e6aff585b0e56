/* SPDX-License-Identifier: MIT */
/* Publishing: one block, posted to the queue of every subscriber; ticket.h says how it comes back.
 *
 *     OWNED(me) --T_WANT, T_FANOUT--> FANOUT --S2 per subscriber--> … --last ticket--> OWNED by whoever gave it back
 *
 * If the publisher dies between the posts, its close gives the tickets back that it never posted: those who were
 * reached have the message, the others do not. A full queue is waited for, or drops, as its subscriber has said.
 * Lock-free, apart from that wait, which is the caller's.
 */
#ifndef SHMQ_PUBLISH_H
#define SHMQ_PUBLISH_H

#include "census.h"
#include "channel.h"
#include "subscribe.h"

/* A topic as a publisher knows it: its subscribers' queues are looked up when their entries change. Private memory. */
struct shmq_publisher {
    uint32_t topic;
    uint64_t entry[SHMQ_MAX_SUBSCRIBERS];
    struct shmq_queue_ref ref[SHMQ_MAX_SUBSCRIBERS];
};

/* A publication on its way. Private memory. */
struct shmq_publication {
    uint32_t block;
    uint32_t gen;
    uint32_t reached;       /* subscribers that have it */
    uint64_t pending[(SHMQ_MAX_SUBSCRIBERS + 63) / 64]; /* those that it is still to be posted to, by index … */
    uint64_t entry[SHMQ_MAX_SUBSCRIBERS];               /* … and who they were when it began */
};

SHMQ_STATIC_ASSERT((SHMQ_MAX_SUBSCRIBERS - SHMQ_TICKETS) % 64 <= 64 - SHMQ_TICKETS,
    "the last tickets lie in the last word of pending: shmq_publish_start reads none behind it");

static inline void shmq_publisher_init(struct shmq_publisher *publisher, uint32_t topic)
{
    memset(publisher, 0, sizeof *publisher);
    publisher->topic = topic;
}

/* Look up who subscribes now. Returns how many. Who is on the way in may be missed, who is on the way out met. */
static inline uint32_t shmq_publisher_survey(const struct shmq_map *map, struct shmq_publisher *publisher,
    struct shmq_publication *publication)
{
    const struct shmq_topic *record = &map->topic[publisher->topic];
    uint64_t indices = shmq_load_acquire(&record->indices, SHMQ_READ); /* pairs with Q_INDICES */
    uint32_t count = 0;

    memset(publication->pending, 0, sizeof publication->pending);
    for (uint32_t index = 0; index < indices && index < SHMQ_MAX_SUBSCRIBERS; index++) {
        uint64_t entry = shmq_load_acquire(&record->subscriber[index], SHMQ_READ); /* pairs with Q3 */
        uint32_t qid = shmq_subscriber_queue(entry);

        if (!entry || qid >= map->geometry.queues)
            continue;
        if (entry != publisher->entry[index]) {
            publisher->entry[index] = 0;
            if (shmq_queue_ref_init(map, qid, shmq_subscriber_epoch(entry), &publisher->ref[index]) != SHMQ_OK)
                continue;
            publisher->entry[index] = entry;
        }
        if (publisher->ref[index].kind != SHMQ_KIND_SUBSCRIBER || publisher->ref[index].topic != publisher->topic
            || publisher->ref[index].index != index)
            continue;
        publication->pending[index / 64] |= 1ull << index % 64;
        publication->entry[index] = entry;
        count++;
    }
    return count;
}

/* A subscriber will not get the message, or has dropped it. */
static inline void shmq_publish_skip(struct shmq_actor *actor, struct shmq_publication *publication, uint32_t index)
{
    struct shmq_ticket ticket = { publication->block, publication->gen, index };

    publication->pending[index / 64] &= ~(1ull << index % 64);
    if (shmq_ticket_clear(actor->map, ticket, SHMQ_TICKET_UNSEEN, SHMQ_T_CLEAR))
        shmq_ticket_settle(actor, ticket.block, ticket.gen);
}

/* After the post: is the subscriber still there? If not, its ticket comes back unless it has the message. */
static inline void shmq_publish_confirm(struct shmq_actor *actor, const struct shmq_queue_ref *ref,
    struct shmq_publication *publication, struct shmq_place place)
{
    uint64_t flags = shmq_load_seq_cst(&ref->queue->flags, SHMQ_T_OPEN); /* races W1, QC1 and Q_SHUT */
    struct shmq_ticket ticket = { publication->block, publication->gen, ref->index };

    publication->pending[ref->index / 64] &= ~(1ull << ref->index % 64);
    if (__builtin_expect(shmq_queue_admits(ref, flags) != SHMQ_OK, 0)
        && shmq_ticket_clear(actor->map, ticket, SHMQ_TICKET_UNSEEN, SHMQ_T_CLEAR)) {
        shmq_cas_seq_cst(place.slot, place.word, shmq_slot_empty(shmq_slot_lap(place.word) + 1), SHMQ_T_UNPOST);
        shmq_ticket_settle(actor, ticket.block, ticket.gen);
        return;
    }
    publication->reached++;
    if (flags & SHMQ_QUEUE_SLEEP)
        shmq_wake(actor->map, shmq_receivers(ref->queue), 1);
}

/* Post to one subscriber. FULL: its policy is to wait, and it is still pending. OK: it is not pending any more. */
static inline int shmq_publish_one(struct shmq_actor *actor, const struct shmq_queue_ref *ref,
    struct shmq_publication *publication)
{
    struct shmq_place place;

    for (uint32_t rounds = 0; rounds < SHMQ_OVERFLOW_ROUNDS; rounds++) {
        int result = shmq_queue_post(actor->map, ref, publication->block, publication->gen, &place);

        if (result == SHMQ_OK) {
            shmq_publish_confirm(actor, ref, publication, place);
            return SHMQ_OK;
        }
        if (result == SHMQ_FULL)
            result = shmq_overflow(actor, ref);
        if (result == SHMQ_FULL)
            return SHMQ_FULL;
        if (result == SHMQ_EMPTY) {
            rounds += SHMQ_OVERFLOW_EMPTY;
        } else if (result != SHMQ_OK) { /* closed, shut down or dropped */
            shmq_publish_skip(actor, publication, ref->index);
            return SHMQ_OK;
        }
    }
    return SHMQ_FULL;
}

/* The first subscriber that a publication is still to be posted to, from `index` on; SHMQ_MAX_SUBSCRIBERS: none. */
static inline uint32_t shmq_publication_pending(const struct shmq_publication *publication, uint32_t index)
{
    for (; index < SHMQ_MAX_SUBSCRIBERS; index = (index / 64 + 1) * 64) {
        uint64_t left = publication->pending[index / 64] >> index % 64;

        if (left)
            return index + (uint32_t)__builtin_ctzll(left);
    }
    return SHMQ_MAX_SUBSCRIBERS;
}

/* Post to all pending subscribers that have room. OK: none is pending any more. FULL: wait for the queue of the first
 * pending one (shmq_publication_pending) and call again, or give up with shmq_publish_finish. */
static inline int shmq_publish_try(struct shmq_actor *actor, const struct shmq_publisher *publisher,
    struct shmq_publication *publication)
{
    int result = SHMQ_OK;

    for (uint32_t index = 0; (index = shmq_publication_pending(publication, index)) < SHMQ_MAX_SUBSCRIBERS; index++)
        if (publisher->entry[index] != publication->entry[index]) /* it has gone, and the index has passed on */
            shmq_publish_skip(actor, publication, index);
        else if (shmq_publish_one(actor, &publisher->ref[index], publication) == SHMQ_FULL)
            result = SHMQ_FULL;
    return result;
}

/* Who is still pending does not get the message; it is counted where it would have stood. */
static inline void shmq_publish_finish(struct shmq_actor *actor, const struct shmq_publisher *publisher,
    struct shmq_publication *publication)
{
    for (uint32_t index = 0; (index = shmq_publication_pending(publication, index)) < SHMQ_MAX_SUBSCRIBERS; index++) {
        if (publisher->entry[index] == publication->entry[index])
            shmq_queue_count_drop(&publisher->ref[index]);
        shmq_publish_skip(actor, publication, index);
    }
}

/* Make a loan a publication: from here on the block belongs to its tickets. OK: try to post it, see shmq_publish_try;
 * where nobody subscribes it is freed at once and reached is 0. STALE: it is not this handle's. */
static inline int shmq_publish_start(struct shmq_actor *actor, struct shmq_publisher *publisher, struct shmq_hold *loan,
    const struct shmq_parcel *parcel, struct shmq_publication *publication)
{
    struct shmq_topic *record = &actor->map->topic[publisher->topic];
    struct shmq_block *block = &actor->map->block[loan->block];
    uint64_t word = shmq_block_next(loan->word, SHMQ_STATE_FANOUT, publisher->topic + 1, actor->slot);

    if (shmq_hold_check(actor, loan) != SHMQ_OK || shmq_block_queue(loan->word)) /* edit a held message first */
        return SHMQ_STALE;
    publication->block = loan->block;
    publication->gen = shmq_block_gen(word);
    publication->reached = 0;
    if (!shmq_publisher_survey(actor->map, publisher, publication))
        return shmq_release(actor, loan);
    shmq_store_release(&block->length, parcel->length, SHMQ_S_LENGTH);
    shmq_store_release(&block->label, parcel->label, SHMQ_S_LABEL);
    shmq_store_release(&block->envelope.sequence, shmq_fetch_add_seq_cst(&record->published, 1, SHMQ_T_NUMBER),
        SHMQ_T_WORDS);
    shmq_store_release(&block->envelope.sender, (uint64_t)actor->epoch << 32 | (actor->slot + 1), SHMQ_T_WORDS);
    for (uint32_t i = 0; i < SHMQ_TICKET_WORDS; i++) {
        uint32_t first = i * SHMQ_TICKETS, shift = first % 64;
        uint64_t want = publication->pending[first / 64] >> shift;

        if (shift > 64 - SHMQ_TICKETS)
            want |= publication->pending[first / 64 + 1] << (64 - shift);
        shmq_store_release(&block->m[i], shmq_tickets_word(publication->gen, want & 0xffffff), SHMQ_T_WANT);
    }
    shmq_store_release(&block->word, word, SHMQ_T_FANOUT); /* after payload and tickets; see shmq_ticket_match */
    return SHMQ_OK;
}

/* The subscribers of a topic, for people: whom a message published now would reach, and not who has left but still
 * holds messages, nor who was shut down. */
struct shmq_audience {
    uint32_t subscribers;
    uint64_t depth;         /* of the shallowest queue; 0 where there is none */
    uint64_t waiting;       /* messages in the fullest queue */
};

static inline void shmq_publisher_look(const struct shmq_map *map, struct shmq_publisher *publisher,
    struct shmq_audience *audience)
{
    struct shmq_publication present;

    memset(audience, 0, sizeof *audience);
    shmq_publisher_survey(map, publisher, &present);
    for (uint32_t index = 0; (index = shmq_publication_pending(&present, index)) < SHMQ_MAX_SUBSCRIBERS; index++) {
        const struct shmq_queue_ref *ref = &publisher->ref[index];
        uint64_t waiting = shmq_queue_count(ref);

        if (shmq_queue_admits(ref, shmq_load_acquire(&ref->queue->flags, SHMQ_READ)) != SHMQ_OK) /* pairs with QC1 */
            continue;
        audience->subscribers++;
        if (!audience->depth || ref->depth < audience->depth)
            audience->depth = ref->depth;
        if (waiting > audience->waiting)
            audience->waiting = waiting;
    }
}

/* No block is free for a message to this topic: the subscriber that keeps most of them waiting decides. If its policy
 * is to drop its oldest ones, drop one. False: it is not, or none waits. */
SHMQ_SELDOM bool shmq_publisher_make_room(struct shmq_actor *actor, struct shmq_publisher *publisher)
{
    const struct shmq_queue_ref *fullest = NULL;
    struct shmq_publication present;
    uint64_t most = 0;

    shmq_publisher_survey(actor->map, publisher, &present);
    for (uint32_t index = 0; (index = shmq_publication_pending(&present, index)) < SHMQ_MAX_SUBSCRIBERS; index++) {
        const struct shmq_queue_ref *ref = &publisher->ref[index];
        uint64_t waiting = shmq_queue_count(ref);

        if (waiting > most || (waiting && waiting == most && shmq_policy_now(ref) != SHMQ_POLICY_DROP_OLDEST)) {
            fullest = ref;
            most = waiting;
        }
    }
    return fullest && shmq_make_room(actor, fullest);
}

/* Shut the queues of all present subscribers down: they finish what is queued, and their streams end. Who subscribes
 * later begins a new stream. */
static inline void shmq_publisher_shut(struct shmq_actor *actor, struct shmq_publisher *publisher)
{
    struct shmq_publication present;

    shmq_publisher_survey(actor->map, publisher, &present);
    for (uint32_t index = 0; (index = shmq_publication_pending(&present, index)) < SHMQ_MAX_SUBSCRIBERS; index++)
        (void)shmq_queue_shut(actor, &publisher->ref[index]);
}

#endif
