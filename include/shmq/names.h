/* SPDX-License-Identifier: MIT */
/* Queues by name: made by whichever side comes first, never twice, never half.
 *
 * One word, dir, decides: it names the queue that is being opened, and everybody who meets it there helps. A queue is
 * built in private (Q1), named in dir (N1), opened by its maker or any helper (Q2), and settled (N2).
 *
 * Lock-free; any number of makers at once. Whoever dies between two steps leaves either a queue that only its close
 * will find, or one that the next comer opens.
 */
#ifndef SHMQ_NAMES_H
#define SHMQ_NAMES_H

#include "topics.h"

#ifndef SHMQ_LAP_GAP
#define SHMQ_LAP_GAP 2 /* a stalled poster's CAS may still expect this lap or, having helped, the next */
#endif

#define SHMQ_NAMES_ROUNDS 10000u /* each round but a few is another's progress; more, and dir is being overwritten */

/* What a queue is made with. */
struct shmq_queue_spec {
    enum shmq_kind kind;
    enum shmq_policy policy; /* of a subscriber's queue; a work queue's is fixed by its first receiver */
    uint32_t depth;         /* 1 … SHMQ_MAX_DEPTH */
    const char *name;
    uint32_t topic, index;  /* of a subscriber's queue */
};

static inline uint32_t shmq_capacity_shift(uint32_t depth)
{
    uint32_t shift = depth > 1 ? shmq_log2(depth - 1) + 1 : 0;

    return shift < SHMQ_MIN_CAPACITY_SHIFT ? SHMQ_MIN_CAPACITY_SHIFT : shift;
}

static inline uint64_t shmq_queue_flags(const struct shmq_map *map, uint32_t qid)
{
    return shmq_load_seq_cst(&map->queue[qid].flags, SHMQ_READ);
}

/* How many slots were ever reserved at a queue's place. */
static inline uint32_t shmq_place_slots(const struct shmq_map *map, uint32_t qid)
{
    uint64_t place = shmq_load_acquire(&map->queue[qid].place, SHMQ_READ);

    if (place > SHMQ_MAX_CAPACITY_SHIFT + 1) /* never trust it further than the place is wide */
        place = SHMQ_MAX_CAPACITY_SHIFT + 1;
    return place ? 1u << (place - 1) : 0;
}

/* Copy what a handle needs of an incarnation. CLOSED where the queue is another one by now, CORRUPT where its words
 * are impossible. */
static inline int shmq_queue_ref_init(const struct shmq_map *map, uint32_t qid, uint32_t epoch,
    struct shmq_queue_ref *ref)
{
    struct shmq_queue *queue = &map->queue[qid];
    uint64_t config = shmq_load_acquire(&queue->config, SHMQ_READ); /* pairs with Q1_FIELD, as do the next two */
    uint64_t depth = shmq_load_acquire(&queue->depth, SHMQ_READ);
    uint64_t base = shmq_load_acquire(&queue->base, SHMQ_READ);

    ref->queue = queue;
    ref->slots = shmq_map_slots(map, qid);
    ref->qid = qid;
    ref->epoch = epoch;
    ref->kind = shmq_config_kind(config);
    ref->capacity_shift = shmq_config_capacity_shift(config);
    ref->depth = depth;
    ref->base = base;
    ref->topic = shmq_config_topic(config);
    ref->index = shmq_config_index(config);
    if (shmq_flags_epoch(shmq_queue_flags(map, qid)) != epoch)
        return SHMQ_CLOSED;
    if (ref->capacity_shift < SHMQ_MIN_CAPACITY_SHIFT || ref->capacity_shift > SHMQ_MAX_CAPACITY_SHIFT
        || 1u << ref->capacity_shift > shmq_place_slots(map, qid) || depth == 0
        || depth > 1ull << ref->capacity_shift || ref->kind == SHMQ_KIND_NONE || ref->kind > SHMQ_KIND_SUBSCRIBER
        || (ref->kind == SHMQ_KIND_SUBSCRIBER
            && (ref->topic >= map->geometry.max_topics || ref->index >= SHMQ_MAX_SUBSCRIBERS)))
        return SHMQ_CORRUPT;
    return SHMQ_OK;
}

/* Give back a queue of the actor's process that was built but never named. */
static inline void shmq_queue_abandon(const struct shmq_map *map, uint32_t qid, uint32_t epoch)
{
    shmq_store_release(&map->queue[qid].flags, shmq_flags_word(epoch + 1, 0, 0), SHMQ_N3);
}

/* The latest lap of the `count` slots that earlier incarnations used. The last of them is either beyond the last ring
 * and has the oldest lap there is, or it is within a lap of the others: measured from behind it, none looks older than
 * it is, however far the ring has come. */
static inline uint32_t shmq_latest_lap(const uint64_t *slots, uint32_t count)
{
    uint32_t oldest = shmq_slot_lap(shmq_load_acquire(&slots[count - 1], SHMQ_READ)) - 2, most = 0;

    for (uint32_t i = 0; i < count; i++) {
        uint32_t ahead = (shmq_slot_lap(shmq_load_acquire(&slots[i], SHMQ_READ)) - oldest) & 0xffffff;

        if (ahead > most)
            most = ahead;
    }
    return oldest + most;
}

/* Reserve the slots and start them SHMQ_LAP_GAP laps after whatever was there, so that no CAS prepared for an earlier
 * incarnation succeeds. Sets *base. OK or NO_SPACE. */
static inline int shmq_queue_prepare_slots(const struct shmq_map *map, uint32_t qid, uint32_t shift, uint64_t *base)
{
    uint64_t *slots = shmq_map_slots(map, qid);
    uint32_t used = shmq_place_slots(map, qid), count = 1u << shift, lap;

    if (used < count && map->ops->reserve(map->ops->context, shmq_slots_at(map, qid), 8ull << shift) != SHMQ_OK)
        return SHMQ_NO_SPACE;
    lap = ((used ? shmq_latest_lap(slots, used) : 0) + SHMQ_LAP_GAP) & 0xffffff;
    for (uint32_t i = 0; i < count || i < used; i++)
        shmq_store_release(&slots[i], shmq_slot_empty(lap), SHMQ_Q1_SLOT);
    if (used < count) /* after the slots: none that a dead builder did not write counts as used */
        shmq_store_release(&map->queue[qid].place, shift + 1, SHMQ_Q1_FIELD);
    *base = (uint64_t)lap << shift;
    return SHMQ_OK;
}

/* Build a queue in record qid, still closed. OK; IN_USE: the record is taken; NO_SPACE. */
static inline int shmq_queue_build_at(struct shmq_actor *actor, uint32_t qid, const struct shmq_queue_spec *spec,
    uint32_t *epoch)
{
    const struct shmq_map *map = actor->map;
    struct shmq_queue *queue = &map->queue[qid];
    uint64_t flags, base;
    uint32_t shift = shmq_capacity_shift(spec->depth);
    int result;

    do { /* a waiter of the former incarnation may still set a bit: that makes the record no less free */
        flags = shmq_queue_flags(map, qid);
        if (flags & SHMQ_QUEUE_USED)
            return SHMQ_IN_USE;
        *epoch = shmq_flags_epoch(flags) + 1;
    } while (!shmq_cas_seq_cst(&queue->flags, flags,
        shmq_flags_word(*epoch, actor->slot, SHMQ_QUEUE_USED | shmq_policy_bits(spec->policy)), SHMQ_Q1));
    result = shmq_queue_prepare_slots(map, qid, shift, &base);
    if (result != SHMQ_OK) {
        shmq_queue_abandon(map, qid, *epoch);
        return result;
    }
    shmq_store_release(&queue->config, shmq_config_word(spec->kind, shift, spec->topic, spec->index),
        SHMQ_Q1_FIELD);
    shmq_store_release(&queue->depth, spec->depth, SHMQ_Q1_FIELD);
    shmq_store_release(&queue->base, base, SHMQ_Q1_FIELD);
    shmq_store_release(&queue->tail, shmq_hint_word(*epoch, base), SHMQ_Q1_FIELD);
    shmq_store_release(&queue->head, shmq_hint_word(*epoch, base), SHMQ_Q1_FIELD);
    shmq_store_release(&queue->dropped, shmq_hint_word(*epoch, 0), SHMQ_Q1_FIELD);
    shmq_store_release(&queue->claim, 0, SHMQ_Q1_FIELD);
    shmq_store_release(&queue->requeued_done, shmq_load_acquire(&queue->requeued, SHMQ_READ), SHMQ_Q1_FIELD);
    shmq_name_store(map->name[qid].text, spec->name, SHMQ_Q1_FIELD);
    return SHMQ_OK;
}

/* Q2: open a built queue, unless it is open, closing or gone already. A work queue has no owner from then on. */
static inline void shmq_queue_set_open(const struct shmq_map *map, uint32_t qid, uint64_t flags)
{
    uint32_t epoch = shmq_flags_epoch(flags);
    uint32_t kind = shmq_config_kind(shmq_load_acquire(&map->queue[qid].config, SHMQ_READ)); /* pairs with Q1_FIELD */

    while (flags & SHMQ_QUEUE_USED && !(flags & (SHMQ_QUEUE_OPEN | SHMQ_QUEUE_CLOSING))
        && shmq_flags_epoch(flags) == epoch) { /* a stray SLEEP bit only costs another round */
        uint32_t owner = kind == SHMQ_KIND_WORK ? SHMQ_NO_OWNER : shmq_flags_owner(flags);
        uint64_t open = shmq_flags_word(epoch, owner, shmq_flags_bits(flags) | SHMQ_QUEUE_OPEN);

        if (shmq_cas_seq_cst(&map->queue[qid].flags, flags, open, SHMQ_Q2))
            return;
        flags = shmq_queue_flags(map, qid);
    }
}

/* Complete whatever dir names. Anyone may; idempotent [H3]. */
static inline void shmq_names_help(const struct shmq_map *map, uint64_t dir)
{
    uint32_t qid = shmq_dir_queue(dir) - 1, topic = shmq_dir_queue(dir) - SHMQ_DIR_TOPIC;

    if (topic < map->geometry.max_topics) {
        uint64_t flags = shmq_topic_flags(map, topic);

        if (shmq_load_seq_cst(&map->header->dir, SHMQ_N1_RECHECK) != dir)
            return;
        shmq_topic_set_open(map, topic, flags);
    } else if (qid < map->geometry.queues) {
        uint64_t flags = shmq_queue_flags(map, qid);

        if (shmq_load_seq_cst(&map->header->dir, SHMQ_N1_RECHECK) != dir) /* else the flags may be a later queue's */
            return;
        shmq_queue_set_open(map, qid, flags);
    }
    shmq_cas_seq_cst(&map->header->dir, dir, shmq_dir_word(shmq_dir_version(dir) + 1, 0), SHMQ_N2);
}

/* Before a queue's or topic's epoch is bumped, dir must not name it any more. `pending` is its number in dir. */
static inline void shmq_names_forget(const struct shmq_map *map, uint32_t pending)
{
    uint64_t dir = shmq_load_seq_cst(&map->header->dir, SHMQ_READ);

    if (shmq_dir_queue(dir) == pending)
        shmq_cas_seq_cst(&map->header->dir, dir, shmq_dir_word(shmq_dir_version(dir) + 1, 0), SHMQ_N2);
}

/* Give back a topic's record that `owner` reserved and that was never opened. */
static inline void shmq_topic_abandon(const struct shmq_map *map, uint32_t topic, uint32_t owner)
{
    uint64_t flags = shmq_topic_flags(map, topic);
    uint32_t epoch = shmq_flags_epoch(flags);
    uint64_t closing = shmq_flags_word(epoch, owner, SHMQ_QUEUE_USED | SHMQ_QUEUE_CLOSING);

    if (!(flags & SHMQ_QUEUE_USED) || flags & SHMQ_QUEUE_OPEN || shmq_flags_owner(flags) != owner
        || (flags != closing && !shmq_cas_seq_cst(&map->topic[topic].flags, flags, closing, SHMQ_Q_TOPIC)))
        return; /* a helper has opened it */
    shmq_names_forget(map, SHMQ_DIR_TOPIC + topic);
    shmq_store_release(&map->topic[topic].flags, shmq_flags_word(epoch + 1, 0, 0), SHMQ_Q_TOPIC);
}

/* Find an open work queue, or a process's inbox, by name. OK or NOT_FOUND. */
static inline int shmq_names_find(const struct shmq_map *map, enum shmq_kind kind, const char *name,
    struct shmq_queue_ref *ref)
{
    uint32_t first = kind == SHMQ_KIND_INBOX ? 0 : map->geometry.max_processes;
    uint32_t end = kind == SHMQ_KIND_INBOX ? map->geometry.max_processes : map->geometry.queues;
    char text[SHMQ_NAME_WORDS * 8];

    for (uint32_t qid = first; qid < end; qid++) {
        uint64_t flags = shmq_queue_flags(map, qid); /* pairs with Q2 */

        if (!(flags & SHMQ_QUEUE_OPEN))
            continue;
        shmq_name_load(map->name[qid].text, text);
        if (strcmp(text, name) == 0 && shmq_queue_ref_init(map, qid, shmq_flags_epoch(flags), ref) == SHMQ_OK
            && ref->kind == kind)
            return SHMQ_OK;
    }
    return SHMQ_NOT_FOUND;
}

/* Build a queue in any free record, an inbox in the process's own. OK, NO_QUEUES, NO_SPACE; IN_USE: it has an inbox. */
static inline int shmq_names_build(struct shmq_actor *actor, const struct shmq_queue_spec *spec, uint32_t *qid,
    uint32_t *epoch)
{
    if (spec->kind == SHMQ_KIND_INBOX)
        return shmq_queue_build_at(actor, *qid = actor->slot, spec, epoch);
    for (*qid = actor->map->geometry.max_processes; *qid < actor->map->geometry.queues; ++*qid) {
        int result = shmq_queue_build_at(actor, *qid, spec, epoch);

        if (result != SHMQ_IN_USE)
            return result;
    }
    return SHMQ_NO_QUEUES;
}

static inline bool shmq_queue_spec_valid(const struct shmq_queue_spec *spec)
{
    size_t length = strlen(spec->name);

    return (spec->kind == SHMQ_KIND_WORK || spec->kind == SHMQ_KIND_INBOX)
        && spec->depth >= 1 && spec->depth <= SHMQ_MAX_DEPTH && length >= 1
        && length <= SHMQ_NAME_MAX;
}

/* Open the work queue `spec->name`; make it where it is missing and `create` says so. An existing queue keeps its own
 * depth. Of an inbox with `create`: make the process's own, whose name nobody else may have. OK, NOT_FOUND, NO_QUEUES,
 * NO_SPACE, INVALID, CORRUPT; IN_USE: another process has the name, or this one an inbox. [U4] */
static inline int shmq_queue_open(struct shmq_actor *actor, const struct shmq_queue_spec *spec, bool create,
    struct shmq_queue_ref *ref)
{
    const struct shmq_map *map = actor->map;
    uint32_t qid = 0, epoch = 0;
    bool built = false, named = false;
    int result = SHMQ_CORRUPT;

    if (create && !shmq_queue_spec_valid(spec))
        return SHMQ_INVALID;
    for (uint32_t round = 0; round < SHMQ_NAMES_ROUNDS; round++) {
        uint64_t dir = shmq_load_seq_cst(&map->header->dir, SHMQ_READ); /* pairs with N1, N2 */

        if (shmq_dir_queue(dir)) {
            shmq_names_help(map, dir);
            continue;
        }
        result = shmq_names_find(map, spec->kind, spec->name, ref);
        if (result == SHMQ_OK && create && spec->kind == SHMQ_KIND_INBOX
            && !(built && ref->qid == qid && ref->epoch == epoch))
            result = SHMQ_IN_USE;
        if (result == SHMQ_OK || result == SHMQ_IN_USE || !create)
            break;
        result = SHMQ_CORRUPT; /* where the rounds are used up */
        if (named) /* opened and already deleted behind our back: make another */
            built = named = false;
        if (!built) {
            int building = shmq_names_build(actor, spec, &qid, &epoch);

            if (building != SHMQ_OK)
                return building;
            built = true;
            continue; /* others may have come while we built */
        }
        named = shmq_cas_seq_cst(&map->header->dir, dir, shmq_dir_word(shmq_dir_version(dir) + 1, qid + 1), SHMQ_N1);
    }
    if (built && !named)
        shmq_queue_abandon(map, qid, epoch);
    return result;
}

/* Open the inbox of the actor's process, which it owns: queue index = process slot. OK; IN_USE: another process has the
 * name, or this one an inbox; NO_SPACE, INVALID, CORRUPT. */
static inline int shmq_queue_open_inbox(struct shmq_actor *actor, const char *name, uint32_t depth,
    struct shmq_queue_ref *ref)
{
    struct shmq_queue_spec spec = { SHMQ_KIND_INBOX, SHMQ_POLICY_BLOCK, depth, name, 0, 0 };

    return shmq_queue_open(actor, &spec, true, ref);
}

/* Find the inbox of the process with this name. OK or NOT_FOUND. */
static inline int shmq_queue_find_inbox(const struct shmq_map *map, const char *name, struct shmq_queue_ref *ref)
{
    return shmq_names_find(map, SHMQ_KIND_INBOX, name, ref);
}

/* Shut the queue down: no more sends, receivers finish what is queued. The caller wakes everybody. OK or CLOSED. */
static inline int shmq_queue_set_shut(const struct shmq_queue_ref *ref)
{
    for (;;) {
        uint64_t flags = shmq_load_seq_cst(&ref->queue->flags, SHMQ_READ);

        if (shmq_flags_epoch(flags) != ref->epoch || !(flags & SHMQ_QUEUE_OPEN))
            return SHMQ_CLOSED;
        if (flags & SHMQ_QUEUE_SHUT
            || shmq_cas_seq_cst(&ref->queue->flags, flags, flags | SHMQ_QUEUE_SHUT, SHMQ_Q_SHUT)) /* races S3 [M1] */
            return SHMQ_OK;
    }
}

#define SHMQ_QUEUE_TERMS (SHMQ_QUEUE_SHARED | SHMQ_QUEUE_EXCLUSIVE | SHMQ_QUEUE_POLICY)

/* The first receiver fixes whether a queue is shared, and what happens when it is full. OK, MISMATCH, CLOSED. */
static inline int shmq_queue_fix_terms(const struct shmq_queue_ref *ref, bool shared, enum shmq_policy policy)
{
    uint32_t mine = (shared ? SHMQ_QUEUE_SHARED : SHMQ_QUEUE_EXCLUSIVE) | shmq_policy_bits(policy);

    for (;;) {
        uint64_t flags = shmq_load_seq_cst(&ref->queue->flags, SHMQ_READ);

        if (shmq_flags_epoch(flags) != ref->epoch || !(flags & SHMQ_QUEUE_OPEN))
            return SHMQ_CLOSED;
        if (flags & (SHMQ_QUEUE_SHARED | SHMQ_QUEUE_EXCLUSIVE))
            return (flags & SHMQ_QUEUE_TERMS) == mine ? SHMQ_OK : SHMQ_MISMATCH;
        if (shmq_cas_seq_cst(&ref->queue->flags, flags, flags | mine, SHMQ_Q_SHARING))
            return SHMQ_OK;
    }
}

/* Become a receiver of the queue: its only one, or one of many. OK; IN_USE: another process has claimed it (*holder
 * is its claim word); MISMATCH: its first receiver has fixed another sharing or policy; CLOSED. */
static inline int shmq_queue_claim(struct shmq_actor *actor, const struct shmq_queue_ref *ref, bool shared,
    enum shmq_policy policy, uint64_t *holder)
{
    uint64_t mine = shmq_claim_word(actor->epoch, ref->epoch, actor->slot);
    int result = shmq_queue_fix_terms(ref, shared, policy);

    if (result != SHMQ_OK || shared)
        return result;
    if (!shmq_cas_seq_cst(&ref->queue->claim, 0, mine, SHMQ_CLAIM)) {
        *holder = shmq_load_acquire(&ref->queue->claim, SHMQ_READ); /* pairs with CLAIM */
        return SHMQ_IN_USE;
    }
    if (shmq_flags_epoch(shmq_load_seq_cst(&ref->queue->flags, SHMQ_CLAIM_RECHECK)) == ref->epoch)
        return SHMQ_OK;
    shmq_cas_seq_cst(&ref->queue->claim, mine, 0, SHMQ_UNCLAIM); /* it was the next incarnation's [M12] */
    return SHMQ_CLOSED;
}

/* Give an exclusive claim back. */
static inline void shmq_queue_unclaim(struct shmq_actor *actor, const struct shmq_queue_ref *ref)
{
    shmq_cas_seq_cst(&ref->queue->claim, shmq_claim_word(actor->epoch, ref->epoch, actor->slot), 0, SHMQ_UNCLAIM);
}

#endif
