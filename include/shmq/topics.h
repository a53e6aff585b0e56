/* SPDX-License-Identifier: MIT */
/* Records of topics: reserved in private, named in dir, opened by their maker or any helper, never given up again.
 *
 * A topic's number stands in block words and in the tables of its subscribers, which is why it is not used twice
 * [M13]. Only a record that was never opened is free for another name. Lock-free.
 */
#ifndef SHMQ_TOPICS_H
#define SHMQ_TOPICS_H

#include "map.h"

static inline uint64_t shmq_topic_flags(const struct shmq_map *map, uint32_t topic)
{
    return shmq_load_seq_cst(&map->topic[topic].flags, SHMQ_READ); /* pairs with Q_TOPIC_OPEN */
}

/* Open a named topic, unless it is open, given up or another one already. It has no owner from then on. */
static inline void shmq_topic_set_open(const struct shmq_map *map, uint32_t topic, uint64_t flags)
{
    uint32_t epoch = shmq_flags_epoch(flags);

    if (flags & SHMQ_QUEUE_USED && !(flags & (SHMQ_QUEUE_OPEN | SHMQ_QUEUE_CLOSING)))
        shmq_cas_seq_cst(&map->topic[topic].flags, flags,
            shmq_flags_word(epoch, SHMQ_NO_OWNER, SHMQ_QUEUE_USED | SHMQ_QUEUE_OPEN), SHMQ_Q_TOPIC_OPEN);
}

/* Find an open topic by name. OK or NOT_FOUND. */
static inline int shmq_topic_find(const struct shmq_map *map, const char *name, uint32_t *topic)
{
    char text[SHMQ_NAME_WORDS * 8];

    for (*topic = 0; *topic < map->geometry.max_topics; ++*topic) {
        if (!(shmq_topic_flags(map, *topic) & SHMQ_QUEUE_OPEN))
            continue;
        shmq_name_load(map->topic[*topic].text, text);
        if (strcmp(text, name) == 0)
            return SHMQ_OK;
    }
    return SHMQ_NOT_FOUND;
}

/* The name of an open topic, in SHMQ_NAME_WORDS * 8 bytes. OK or NOT_FOUND. */
static inline int shmq_topic_name(const struct shmq_map *map, uint32_t topic, char *text)
{
    if (topic >= map->geometry.max_topics || !(shmq_topic_flags(map, topic) & SHMQ_QUEUE_OPEN))
        return SHMQ_NOT_FOUND;
    shmq_name_load(map->topic[topic].text, text);
    return SHMQ_OK;
}

/* Reserve a record and name it; it stays the actor's until it is opened. OK, NO_QUEUES. */
static inline int shmq_topic_build(struct shmq_actor *actor, const char *name, uint32_t *topic)
{
    const struct shmq_map *map = actor->map;

    for (*topic = 0; *topic < map->geometry.max_topics; ++*topic) {
        uint64_t flags = shmq_topic_flags(map, *topic);
        uint64_t mine = shmq_flags_word(shmq_flags_epoch(flags) + 1, actor->slot, SHMQ_QUEUE_USED);

        if (flags & SHMQ_QUEUE_USED || !shmq_cas_seq_cst(&map->topic[*topic].flags, flags, mine, SHMQ_Q_TOPIC))
            continue;
        shmq_name_store(map->topic[*topic].text, name, SHMQ_Q1_FIELD); /* before N1 */
        return SHMQ_OK;
    }
    return SHMQ_NO_QUEUES;
}

#endif
