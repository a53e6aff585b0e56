/* SPDX-License-Identifier: MIT */
/* close(i), step 3: blocks that a dead process published, or whose tickets it held. */
#ifndef SHMQ_SETTLE_PUBLISHED_H
#define SHMQ_SETTLE_PUBLISHED_H

#include "closer.h"

/* A subscriber's entry: its queue, and whether the queue is the dead process's. False: nobody has the index. */
struct shmq_entry {
    uint32_t qid;
    uint32_t epoch;
    uint64_t flags;         /* read after the entry */
};

static inline bool shmq_closer_entry(const struct shmq_map *map, uint32_t topic, uint32_t index,
    struct shmq_entry *entry)
{
    uint64_t word = shmq_load_seq_cst(&map->topic[topic].subscriber[index], SHMQ_READ); /* pairs with Q3, QC_SUB */

    entry->qid = shmq_subscriber_queue(word);
    entry->epoch = shmq_subscriber_epoch(word);
    if (!word || entry->qid >= map->geometry.queues)
        return false;
    entry->flags = shmq_load_seq_cst(&map->queue[entry->qid].flags, SHMQ_C3_FLAGS); /* before the ring [D10] */
    return shmq_flags_epoch(entry->flags) == entry->epoch;
}

/* Is it still a block that the dead process published to the topic? */
static inline bool shmq_closer_published(const struct shmq_closer *closer, uint64_t word, uint32_t topic)
{
    return shmq_block_state(word) == SHMQ_STATE_FANOUT && shmq_block_owner(word) == closer->as->slot
        && shmq_block_queue(word) == topic + 1;
}

/* Which of the published blocks are the topic's? */
static inline void shmq_closer_choose_topic(struct shmq_closer *closer, uint32_t topic)
{
    const struct shmq_clusters *published = &closer->published;

    for (uint32_t i = 0; i < published->count; i++) {
        closer->of_topic[i] = 0;
        for (uint64_t left = published->noted[i]; left; left &= left - 1) {
            uint32_t block = shmq_clusters_block(published, i, left);
            uint64_t word = shmq_load_acquire(&closer->as->map->block[block].word, SHMQ_READ); /* pairs with T_FANOUT */

            if (shmq_closer_published(closer, word, topic))
                closer->of_topic[i] |= left & -left;
        }
    }
}

/* Note which of the topic's blocks stand in the ring of one subscriber. */
static inline void shmq_closer_search_subscriber(struct shmq_closer *closer, uint32_t qid, uint32_t topic)
{
    const struct shmq_map *map = closer->as->map;
    struct shmq_cluster_range range = shmq_clusters_range(&closer->published);
    uint64_t *slots = shmq_map_slots(map, qid);
    uint32_t count = shmq_place_slots(map, qid);

    for (uint32_t i = 0; i < count; i++) {
        uint64_t slot_word = shmq_load_seq_cst(&slots[i], SHMQ_READ); /* pairs with S2 */
        uint32_t cluster = shmq_clusters_find(&closer->published, range, slot_word);
        uint32_t block = shmq_slot_value(slot_word) - 1;
        uint64_t word;

        if (cluster == closer->published.count)
            continue;
        word = shmq_load_acquire(&map->block[block].word, SHMQ_READ); /* pairs with T_FANOUT */
        if (shmq_closer_published(closer, word, topic) && shmq_slot_gen(slot_word) == (shmq_block_gen(word) & 0xfff))
            closer->published.posted[cluster] |= shmq_cluster_bit(block);
    }
}

/* Give the ticket of one subscriber back for every block that was never posted to it, or to a queue that is closed. */
static inline void shmq_closer_judge_subscriber(struct shmq_closer *closer, uint32_t topic, uint32_t index)
{
    const struct shmq_map *map = closer->as->map;
    struct shmq_clusters *published = &closer->published;
    struct shmq_entry entry;

    memset(published->posted, 0, published->count * sizeof published->posted[0]);
    if (shmq_closer_entry(map, topic, index, &entry) && entry.flags & SHMQ_QUEUE_OPEN)
        shmq_closer_search_subscriber(closer, entry.qid, topic);
    for (uint32_t i = 0; i < published->count; i++)
        for (uint64_t left = closer->of_topic[i] & ~published->posted[i]; left; left &= left - 1) {
            uint32_t block = shmq_clusters_block(published, i, left);
            uint64_t word = shmq_load_acquire(&map->block[block].word, SHMQ_READ); /* pairs with T_FANOUT, T_LAST */
            struct shmq_ticket ticket = { block, shmq_block_gen(word), index };

            if (shmq_closer_published(closer, word, topic))
                shmq_ticket_clear(map, ticket, SHMQ_TICKET_UNSEEN, SHMQ_C3_TICKET);
        }
}

static inline void shmq_closer_claim_last(struct shmq_actor *as, uint32_t block, uint32_t gen)
{
    uint64_t mine;

    if (shmq_ticket_claim_last(as, block, gen, &mine))
        shmq_buddy_free(as, block);
}

static inline void shmq_closer_judge_topic(struct shmq_closer *closer, uint32_t topic)
{
    const struct shmq_map *map = closer->as->map;

    shmq_closer_choose_topic(closer, topic);
    for (uint32_t index = 0; index < SHMQ_MAX_SUBSCRIBERS; index++)
        if (index < shmq_load_acquire(&map->topic[topic].indices, SHMQ_READ)) /* pairs with Q_INDICES */
            shmq_closer_judge_subscriber(closer, topic, index);
}

/* Judge what the dead process published: the posted part is delivered, the rest is taken back. The process is dead, so
 * its posts precede the search; who takes a message marks its ticket before it clears the slot. */
static inline void shmq_closer_judge_published(struct shmq_closer *closer)
{
    const struct shmq_map *map = closer->as->map;
    const struct shmq_clusters *published = &closer->published;

    for (uint32_t topic = 0; topic < map->geometry.max_topics; topic++)
        if (shmq_bits_test(closer->topics, topic))
            shmq_closer_judge_topic(closer, topic);
    for (uint32_t i = 0; i < published->count; i++)
        for (uint64_t left = published->noted[i]; left; left &= left - 1) {
            uint32_t block = shmq_clusters_block(published, i, left);
            uint64_t word = shmq_load_acquire(&map->block[block].word, SHMQ_READ); /* pairs with T_FANOUT, T_LAST */

            shmq_closer_claim_last(closer->as, block, shmq_block_gen(word));
        }
    shmq_closer_forget_published(closer);
}

/* Tickets that the dead process held as a subscriber are given back. */
static inline void shmq_closer_drop_held(struct shmq_closer *closer, uint32_t block, uint64_t word)
{
    const struct shmq_map *map = closer->as->map;

    for (uint32_t i = 0; i < SHMQ_TICKET_WORDS; i++) {
        uint64_t tickets = shmq_load_seq_cst(&map->block[block].m[i], SHMQ_READ); /* pairs with T_SEEN */
        uint32_t seen = shmq_tickets_seen(tickets);

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
        if (shmq_clusters_full(&closer->published, block))
            shmq_closer_judge_published(closer);
        shmq_clusters_note(&closer->published, block);
        shmq_bits_set(closer->topics, shmq_block_queue(word) - 1);
    } else {
        shmq_closer_claim_last(closer->as, block, shmq_block_gen(word));
    }
}

#endif
