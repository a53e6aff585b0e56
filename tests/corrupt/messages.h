/* SPDX-License-Identifier: MIT */
/* What peers do with messages, whatever stands in shared memory: each operation gives a result that there is, uses what
 * it was given, and never touches what is not the region's.
 */
#ifndef CORRUPT_MESSAGES_H
#define CORRUPT_MESSAGES_H

#include "peers.h"

static struct peer *me;                 /* who does it */
static volatile unsigned char sink;

/* The program notes a result of enum shmq_result, or of enum shmq_error_code. */
static void act_noted(int result);
/* … and that a payload's word was read. */
static void act_read_payload(uint64_t index);

static inline struct shmq_actor *self(void) { return &me->region.self; }
static inline const struct shmq_map *map(void) { return &me->region.map; }

static inline bool mind(int result)
{
    CHECK(result >= SHMQ_NO_INDEX && result <= SHMQ_SHARED_BLOCK);
    act_noted(result);
    return result == SHMQ_OK;
}

/* An error of a region is typed, and says what it is about. */
static inline bool mind_error(int code, const struct shmq_error *error)
{
    if (code != SHMQ_OK) {
        CHECK(code <= SHMQ_ERROR_INVALID && code >= SHMQ_ERROR_LOST && code == error->code);
        CHECK(error->what && error->what[0] && strcmp(shmq_error_text(code), "no error"));
        CHECK(memchr(error->path, 0, sizeof error->path));
        CHECK(error->pid_count <= SHMQ_ERROR_PIDS);
    }
    act_noted(code);
    return code == SHMQ_OK;
}

/* ---- loans and messages ------------------------------------------------------------------------------------ */

static inline uint64_t some_bytes(void)
{
    static const uint64_t sizes[] = { 0, 1, 600, REGION_GRANULE, REGION_GRANULE + 1, 3 * REGION_GRANULE, 1 << 18 };

    return sizes[chance_below(chance_below(4) ? 5 : sizeof sizes / sizeof sizes[0])];
}

/* Both ends of what a block may be used for lie within the data segment. */
static inline void use(const struct shmq_hold *hold, uint64_t bytes)
{
    CHECK(hold->block < map()->geometry.granules);
    CHECK(shmq_block_offset(map(), hold->block) + bytes <= map()->geometry.data_size);
    if (!bytes)
        return;
    shmq_payload(map(), hold->block)[0] = 1;
    shmq_payload(map(), hold->block)[bytes - 1] = 1;
}

static inline bool borrow(uint64_t bytes, struct shmq_hold *loan)
{
    if (!mind(shmq_loan(self(), bytes, loan)))
        return false;
    use(loan, bytes);
    return true;
}

static inline void read_message(const struct shmq_message *message)
{
    uint64_t bytes = shmq_length_bytes(message->length), at = shmq_block_offset(map(), message->hold.block);
    struct shmq_array_type type;

    CHECK(at + bytes <= map()->geometry.data_size);
    for (uint64_t i = 0; i + 8 <= bytes && i < 64; i += 8)
        act_read_payload((at + i) / 8);
    if (bytes)
        sink = map()->data[at] ^ map()->data[at + bytes - 1];
    if (message->length & SHMQ_LENGTH_ENVELOPE) {
        int result = shmq_envelope_read(&map()->block[message->hold.block], bytes, &type);

        if (mind(result))
            CHECK(shmq_array_bytes(&type) == bytes && type.dimensions <= SHMQ_MAX_DIMENSIONS);
    }
}

static inline const struct shmq_queue_ref *some_queue(void)
{
    struct peer *other = &peers[chance_below(PEERS)];

    switch (chance_below(6)) {
    case 0: return &me->drops;
    case 1: return &me->news;
    case 2: return other->region.inbox.queue && other->region.map.admin ? &other->region.inbox : &me->jobs;
    case 3: return &me->region.inbox;
    default: return &me->jobs;
    }
}

static inline const struct shmq_queue_ref *usable(const struct shmq_queue_ref *ref)
{
    return ref->queue ? ref : &me->jobs;
}

static void act_loan(void)
{
    struct shmq_hold loan;

    if (borrow(some_bytes(), &loan))
        mind(shmq_release(self(), &loan));
}

static void send_some(bool drop)
{
    const struct shmq_queue_ref *ref = usable(some_queue());
    struct shmq_array_type type = { 'u', '|', 1, 1, { 600 } };
    struct shmq_parcel parcel = { 600, 9 };
    struct shmq_hold loan;

    if (!borrow(600, &loan))
        return;
    if (chance_below(2) && mind(shmq_envelope_write(&map()->block[loan.block], &type)))
        parcel.length |= SHMQ_LENGTH_ENVELOPE;
    if (!mind((drop ? shmq_send_or_drop : shmq_send)(self(), ref, &loan, &parcel)))
        mind(shmq_release(self(), &loan));
}

static void act_send(void)
{
    for (uint32_t i = 1 + chance_below(3); i; i--)
        send_some(false);
}

static void act_send_or_drop(void)
{
    for (uint32_t i = 1 + chance_below(4); i; i--)
        send_some(true);
}

/* Give a message back, edit it and send it on, or hand it on as it is. */
static void finish(struct shmq_message *message)
{
    const struct shmq_queue_ref *ref = usable(some_queue());
    struct shmq_parcel parcel = { 1, 2 };
    bool gone = false;

    switch (chance_below(5)) {
    case 0:
        gone = mind(shmq_forward(self(), ref, message));
        break;
    case 1:
        gone = mind(shmq_forward_or_drop(self(), ref, message));
        break;
    case 2:
        if (mind(shmq_edit(self(), &message->hold))) {
            use(&message->hold, 1ull << (map()->geometry.granule_shift + shmq_block_order(message->hold.word)));
            gone = mind(shmq_send(self(), ref, &message->hold, &parcel));
        }
        break;
    }
    if (!gone)
        mind(shmq_release(self(), &message->hold));
}

static void receive_some(const struct shmq_queue_ref *ref)
{
    for (uint32_t i = 1 + chance_below(3); i; i--) {
        struct shmq_message message;

        if (!mind(shmq_receive(self(), ref, &message)))
            return;
        read_message(&message);
        finish(&message);
    }
}

static void act_receive(void) { receive_some(usable(&me->jobs)); }
static void act_receive_inbox(void) { receive_some(usable(&me->region.inbox)); }
static void act_receive_dropped(void) { receive_some(usable(chance_below(2) ? &me->drops : &me->news)); }

/* Have something at hand when the damage is done. */
static void act_hold(void)
{
    struct shmq_message message;
    struct shmq_hold loan;

    if (!me->loan.word && borrow(700, &loan))
        me->loan = loan;
    if (!me->held.hold.word && mind(shmq_receive(self(), &me->jobs, &message)))
        me->held = message;
    if (!me->published.hold.word && me->heard.queue && mind(shmq_receive(self(), &me->heard, &message)))
        me->published = message;
}

/* Use what was at hand before, each only once. */
static void act_old_handles(void)
{
    struct shmq_parcel parcel = { 700, 2 };

    if (me->loan.word && chance_below(2))
        mind(shmq_send(self(), &me->jobs, &me->loan, &parcel));
    else if (me->loan.word)
        mind(shmq_release(self(), &me->loan));
    if (me->published.hold.word && chance_below(2))
        mind(shmq_edit(self(), &me->published.hold));
    if (me->published.hold.word)
        finish(&me->published);
    if (me->held.hold.word) {
        read_message(&me->held);
        finish(&me->held);
    }
    memset(&me->loan, 0, sizeof me->loan);
    memset(&me->held, 0, sizeof me->held);
    memset(&me->published, 0, sizeof me->published);
}

/* What is no handle of this process any more. */
static void act_no_handles(void)
{
    uint32_t block = chance_below(map()->geometry.granules);

    if (chance_below(2))
        mind(shmq_block_free(self(), block));
    else
        mind(shmq_buddy_free(self(), block));
}

static void act_room(void)
{
    (void)shmq_make_room(self(), usable(&me->drops));
    (void)shmq_publisher_make_room(self(), &me->publisher);
    (void)shmq_queue_dropped(usable(&me->drops));
}

/* ---- topics ------------------------------------------------------------------------------------------------ */

static void act_publish(void)
{
    struct shmq_parcel parcel = { 100, 7 };
    struct shmq_publication publication;
    struct shmq_hold loan;

    if (!borrow(100, &loan) || !mind(shmq_publish_start(self(), &me->publisher, &loan, &parcel, &publication)))
        return;
    if (publication.reached == 0 && shmq_publication_pending(&publication, 0) < SHMQ_MAX_SUBSCRIBERS)
        mind(shmq_publish_try(self(), &me->publisher, &publication));
    shmq_publish_finish(self(), &me->publisher, &publication);
    CHECK(publication.reached <= SHMQ_MAX_SUBSCRIBERS);
}

static void act_hear(void)
{
    if (me->heard.queue)
        receive_some(&me->heard);
}

static void act_subscribe(void)
{
    static const enum shmq_policy policies[] = { SHMQ_POLICY_BLOCK, SHMQ_POLICY_DROP_OLDEST, SHMQ_POLICY_DROP_NEWEST };
    struct shmq_queue_ref ref;
    uint32_t topic;

    if (!mind(shmq_topic_open(self(), chance_below(2) ? "frames" : "sounds", &topic)))
        return;
    CHECK(topic < map()->geometry.max_topics);
    if (!mind(shmq_subscribe(self(), topic, 1 + chance_below(40), policies[chance_below(3)], &ref)))
        return;
    act_publish();
    receive_some(&ref);
    mind(shmq_unsubscribe(self(), &ref));
}

#endif
