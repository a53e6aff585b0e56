/* SPDX-License-Identifier: MIT */
/* Waiting for a queue to change: spin for a while, announce, look again, sleep one slice.
 *
 * Nothing is taken here and no private state is touched, so a caller may drop whatever lock protects its actor. The
 * caller loops: try, await, try again. After it has slept it calls shmq_await_leave, whatever it left for.
 */
#ifndef SHMQ_AWAIT_H
#define SHMQ_AWAIT_H

#include "queue.h"
#include "wait.h"

#define SHMQ_SPIN_BURST 32u /* looks between two readings of the clock */

/* Is there a reason to try to receive: a message, a requeued one, the end? Loads are seq_cst, see wait.h. */
static inline bool shmq_news_for_receiver(const struct shmq_queue_ref *ref)
{
    struct shmq_place place;
    uint64_t flags = shmq_load_seq_cst(&ref->queue->flags, SHMQ_READ);

    return shmq_queue_find_head(ref, &place) != SHMQ_EMPTY || flags & SHMQ_QUEUE_SHUT || !(flags & SHMQ_QUEUE_OPEN)
        || shmq_load_seq_cst(&ref->queue->requeued, SHMQ_READ)
            != shmq_load_seq_cst(&ref->queue->requeued_done, SHMQ_READ);
}

/* Is there a reason to try to send: room, the end? */
static inline bool shmq_news_for_sender(const struct shmq_map *map, const struct shmq_queue_ref *ref)
{
    struct shmq_place place;

    return shmq_queue_find_tail(map, ref, &place) != SHMQ_FULL;
}

static inline bool shmq_news(const struct shmq_map *map, const struct shmq_queue_ref *ref, bool receiver)
{
    return receiver ? shmq_news_for_receiver(ref) : shmq_news_for_sender(map, ref);
}

/* Watch a full queue until an eighth of it is free, `looks` times at most. A sender that took each single slot as it
 * comes free would fight the receiver for one cache line; this way it writes a run of them. True: there is room. */
static inline bool shmq_await_room(const struct shmq_map *map, const struct shmq_queue_ref *ref, uint32_t looks)
{
    uint64_t tail = shmq_queue_hint(ref, &ref->queue->tail);
    uint64_t position = tail + ref->depth / 8 - ref->depth; /* once this one is taken, so are those before it */

    while (looks--) {
        struct shmq_place place = shmq_queue_place(ref, position);
        int32_t ahead = shmq_lap_distance(shmq_slot_lap(place.word), shmq_queue_lap(ref, position));

        if (ahead > 0 || (ahead == 0 && !shmq_slot_value(place.word)))
            return true;
        shmq_pause();
    }
    return shmq_news_for_sender(map, ref);
}

/* Look some times in a row, and ask nobody for the time. True: look again. */
static inline bool shmq_await_burst(const struct shmq_map *map, const struct shmq_queue_ref *ref, bool receiver)
{
    for (uint32_t i = 0; i < SHMQ_SPIN_BURST; i++) {
        if (shmq_news(map, ref, receiver))
            return true;
        shmq_pause();
    }
    return false;
}

/* Watch the queue for `ns`. True: look again.
 *
 * With `spin`, others that want to run on this core may do so after a while, for what is waited for may have to come
 * from them: as often as there is somebody, else after 90 microseconds. */
static inline bool shmq_await_spin(const struct shmq_map *map, const struct shmq_queue_ref *ref, bool receiver,
    uint64_t ns, struct shmq_spin *spin)
{
    uint64_t start = map->ops->now(map->ops->context), spent, yield_at = spin ? spin->alone_ns : UINT64_MAX;

    do {
        if (shmq_await_burst(map, ref, receiver))
            return true;
        spent = map->ops->now(map->ops->context) - start;
        if (spent >= yield_at) {
            uint64_t before = spent;

            map->ops->yield(map->ops->context);
            spent = map->ops->now(map->ops->context) - start;
            shmq_spin_yielded(spin, spent - before);
            yield_at = spent - before > SHMQ_SPIN_SHARED_NS ? spent : spent + spin->alone_ns;
        }
    } while (spent < ns);
    return false;
}

/* Sleep one slice, or `ns` where that is shorter, unless there is news. OK: look again; TIMEOUT; INTERRUPTED. */
static inline int shmq_await_sleep(const struct shmq_map *map, const struct shmq_queue_ref *ref, bool receiver,
    uint64_t ns)
{
    struct shmq_wait_point point = receiver ? shmq_receivers(ref->queue) : shmq_senders(ref->queue);
    uint32_t seq = shmq_wait_announce(point);

    if (shmq_news(map, ref, receiver))
        return SHMQ_OK;
    return shmq_wait_sleep(map, point, seq, ns);
}

/* After a sleep, once the caller has had its try: see shmq_wait_leave. */
static inline void shmq_await_leave(const struct shmq_map *map, const struct shmq_queue_ref *ref, bool receiver)
{
    struct shmq_wait_point point = receiver ? shmq_receivers(ref->queue) : shmq_senders(ref->queue);

    shmq_wait_leave(point);
    if (shmq_news(map, ref, receiver))
        shmq_wake(map, point, 1);
}

#endif
