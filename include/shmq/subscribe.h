/* SPDX-License-Identifier: MIT */
/* Topics by name, and subscribing: a queue of one's own, entered in the topic's table.
 *
 * Lock-free. A subscriber that dies is unsubscribed by its close; one that unsubscribes keeps its entry, and thereby
 * its index, until it holds no message of the topic any more [D4], see retire.h.
 */
#ifndef SHMQ_SUBSCRIBE_H
#define SHMQ_SUBSCRIBE_H

#include "names.h"
#include "retire.h"

static inline bool shmq_topic_name_valid(const char *name)
{
    size_t length = strlen(name);

    return length >= 1 && length <= SHMQ_NAME_MAX;
}

/* Open the topic `name`, making it where it is missing. OK, NO_QUEUES (every topic record is in use), INVALID,
 * CORRUPT. As shmq_queue_open: look, build, look again, and only then name it in dir [U4]. */
static inline int shmq_topic_open(struct shmq_actor *actor, const char *name, uint32_t *topic)
{
    const struct shmq_map *map = actor->map;
    uint32_t mine = 0;
    bool built = false;
    int result = SHMQ_CORRUPT;

    if (!shmq_topic_name_valid(name))
        return SHMQ_INVALID;
    for (uint32_t round = 0; round < SHMQ_NAMES_ROUNDS; round++) {
        uint64_t dir = shmq_load_seq_cst(&map->header->dir, SHMQ_READ); /* pairs with N1, N2 */

        if (shmq_dir_queue(dir)) {
            shmq_names_help(map, dir);
            continue;
        }
        result = shmq_topic_find(map, name, topic);
        if (result == SHMQ_OK)
            break;
        result = SHMQ_CORRUPT; /* where the rounds are used up */
        if (!built) {
            int building = shmq_topic_build(actor, name, &mine);

            if (building != SHMQ_OK)
                return building;
            built = true;
            continue; /* others may have come while we built */
        }
        shmq_cas_seq_cst(&map->header->dir, dir,
            shmq_dir_word(shmq_dir_version(dir) + 1, SHMQ_DIR_TOPIC + mine), SHMQ_N1);
    }
    if (built)
        shmq_topic_abandon(map, mine, actor->slot); /* unless it is the one that was opened */
    return result;
}

/* Enter an open queue in the topic's table: Q3. OK or NO_INDEX [U17]. */
static inline int shmq_subscribe_enter(const struct shmq_map *map, uint32_t qid, uint32_t epoch, uint32_t shift,
    uint32_t topic)
{
    struct shmq_topic *record = &map->topic[topic];

    for (uint32_t index = 0; index < SHMQ_MAX_SUBSCRIBERS; index++) {
        uint64_t indices = shmq_load_acquire(&record->indices, SHMQ_READ);

        if (shmq_load_acquire(&record->subscriber[index], SHMQ_READ)) /* pairs with Q3, QC_SUB */
            continue;
        shmq_store_release(&map->queue[qid].config, shmq_config_word(SHMQ_KIND_SUBSCRIBER, shift, topic, index),
            SHMQ_Q1_FIELD); /* nobody but its owner, or who closes for it, looks before Q3 */
        while (indices <= index && !shmq_cas_seq_cst(&record->indices, indices, index + 1, SHMQ_Q_INDICES))
            indices = shmq_load_acquire(&record->indices, SHMQ_READ);
        if (shmq_cas_seq_cst(&record->subscriber[index], 0, shmq_subscriber_word(epoch, qid), SHMQ_Q3))
            return SHMQ_OK;
    }
    return SHMQ_NO_INDEX;
}

/* Subscribe to a topic: its messages from now on arrive in a queue that is this process's own. OK; NO_INDEX: the topic
 * has SHMQ_MAX_SUBSCRIBERS; NO_QUEUES, NO_SPACE, INVALID, CLOSED. */
static inline int shmq_subscribe(struct shmq_actor *actor, uint32_t topic, uint32_t depth, enum shmq_policy policy,
    struct shmq_queue_ref *ref)
{
    const struct shmq_map *map = actor->map;
    struct shmq_queue_spec spec = { SHMQ_KIND_SUBSCRIBER, policy, depth, "", topic, 0 };
    uint32_t qid, epoch;
    int result;

    if (depth < 1 || depth > SHMQ_MAX_DEPTH || topic >= map->geometry.max_topics)
        return SHMQ_INVALID;
    result = shmq_names_build(actor, &spec, &qid, &epoch);
    if (result != SHMQ_OK)
        return result;
    shmq_queue_set_open(map, qid, shmq_queue_flags(map, qid));
    result = shmq_subscribe_enter(map, qid, epoch, shmq_capacity_shift(depth), topic);
    if (result == SHMQ_OK)
        return shmq_queue_ref_init(map, qid, epoch, ref);
    if (shmq_queue_ref_init(map, qid, epoch, ref) == SHMQ_OK && shmq_queue_close(actor, ref) == SHMQ_OK)
        shmq_queue_finish_close(actor, ref);
    return result;
}

#endif
