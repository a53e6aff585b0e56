/* SPDX-License-Identifier: MIT */
/* Everything at once: threads stand for processes, each with a slot of its own, over one mapping and the real futex.
 * They loan, send, receive, release, forward, edit, publish, wait, open, claim, shut and delete queues, come, go, die
 * at any write, and close for each other's dead. Every payload and the region's state at the end are checked; `make
 * tsan` has ThreadSanitizer watch, too.
 */
#include "threaded.h"

#include <pthread.h>

#include "arena.h"
#include "shmq/os.h"

#define THREADS 6u
#define SLOTS (THREADS + 2)     /* who closes for a dead one holds a second lock */
#ifdef __SANITIZE_THREAD__
#define OPERATIONS 200000u      /* of each thread, over all its lives */
#else
#define OPERATIONS 40000u
#endif
#define NAMES 3u
#define LOANS 4u
#define HELD 6u
#define GRANULE_SHIFT 9u
#define GRANULES 2100u          /* three tiers, and a last unit that is cut */
#define LARGEST_ORDER 9u
#define NAP_NS 200000u          /* longest wait: much of what is waited for never comes */

/* What happened, for the end to be judged: a test in which nothing happens proves nothing. */
enum count {
    SENT,
    RECEIVED,
    REDELIVERED,
    FORWARDED,
    EDITED,
    PUBLISHED,
    TICKETS,                /* published messages received */
    SLEPT,
    STARVED,
    DELETED,
    DIED,
    CLOSED_FOR,             /* slots of the dead */
    COUNTS
};

#define ENOUGH 20u

static const char *const count_names[COUNTS] = { "sent", "received", "redelivered", "forwarded", "edited", "published",
    "tickets", "slept", "starved", "deleted", "died", "closed for" };

struct named {
    struct shmq_queue_ref ref;
    bool open, claimed;
};

struct process {
    struct threaded_life life;
    pthread_t thread;
    uint32_t number;
    uint32_t operations;
    uint32_t labels;            /* messages made in all lives */
    uint64_t counts[COUNTS];

    /* of one life */
    struct shmq_actor actor;
    struct shmq_spin spin;
    struct named named[NAMES];
    struct named inbox, news;
    struct shmq_publisher publisher;
    struct shmq_hold loan[LOANS];
    uint32_t loan_count;
    struct shmq_message held[HELD];
    uint32_t held_count;
};

static struct process processes[THREADS];

static uint32_t below(struct process *self, uint32_t bound) { return threaded_random(&self->life, bound); }

/* ---- the kernel: byte locks, and an end that orders all that came before it ------------------------------ */

static uint32_t lock[SLOTS]; /* the number of who holds it, + 1; released by its death, too */

static bool take_lock(uint32_t slot, uint32_t number)
{
    uint32_t nobody = 0;

    return __atomic_compare_exchange_n(&lock[slot], &nobody, number + 1, false, __ATOMIC_ACQUIRE, __ATOMIC_RELAXED);
}

static void drop_lock(uint32_t slot) { __atomic_store_n(&lock[slot], 0, __ATOMIC_RELEASE); }

static void drop_all_locks(uint32_t number)
{
    for (uint32_t slot = 0; slot < SLOTS; slot++)
        if (__atomic_load_n(&lock[slot], __ATOMIC_RELAXED) == number + 1)
            drop_lock(slot);
}

static int reserve_nothing(void *context, uint64_t offset, uint64_t bytes)
{
    (void)context, (void)offset, (void)bytes;
    return SHMQ_OK;
}

static const struct shmq_ops real_ops
    = { reserve_nothing, shmq_os_sleep, shmq_os_wake, shmq_os_clock, shmq_os_yield, NULL };

/* ---- payloads: words that tell whose they are, one in each line and at the end --------------------------- */

static uint64_t payload_bytes(uint64_t block_word)
{
    return 1ull << (GRANULE_SHIFT + shmq_block_order(block_word));
}

static uint64_t payload_word(uint32_t label, uint64_t at) { return (label + 1) * 0x9e3779b97f4a7c15ull ^ at; }

static void write_payload(uint32_t block, uint64_t bytes, uint32_t label)
{
    uint64_t *word = (uint64_t *)(void *)shmq_payload(&arena.map, block);

    for (uint64_t at = 0; at < bytes / 8; at += 8)
        word[at] = payload_word(label, at);
    word[bytes / 8 - 1] = payload_word(label, bytes);
}

static void check_payload(const struct shmq_message *message)
{
    const uint64_t *word = (const uint64_t *)(void *)shmq_payload(&arena.map, message->hold.block);

    for (uint64_t at = 0; at < message->length / 8; at += 8)
        CHECK_EQUAL(word[at], payload_word(message->label, at));
    CHECK_EQUAL(word[message->length / 8 - 1], payload_word(message->label, message->length));
}

/* Fill a loan with a message that nobody else has made. */
static struct shmq_parcel fill(struct process *self, const struct shmq_hold *loan)
{
    struct shmq_parcel parcel = { payload_bytes(loan->word), self->number << 24 | (self->labels++ & 0xffffff) };

    write_payload(loan->block, parcel.length, parcel.label);
    return parcel;
}

/* ---- coming, going, closing for the dead ----------------------------------------------------------------- */

static void close_as(uint32_t slot)
{
    struct shmq_actor dead;

    shmq_actor_init(&dead, &arena.map, slot, shmq_process_epoch(shmq_process_load(&arena.map, slot)));
    shmq_close(&dead);
}

/* Close for whoever is dead in this slot. */
static void recover(struct process *self, uint32_t slot)
{
    if (shmq_process_is_free(&arena.map, slot) || !take_lock(slot, self->number))
        return;
    if (!shmq_process_is_free(&arena.map, slot)) {
        close_as(slot);
        self->counts[CLOSED_FOR]++;
    }
    drop_lock(slot);
}

static void sweep(struct process *self)
{
    for (uint32_t slot = 0; slot < SLOTS; slot++)
        if (slot != self->actor.slot)
            recover(self, slot);
}

static void set_name(char *text, uint32_t number) { snprintf(text, 8, "p%u", number); }

static void attach(struct process *self)
{
    uint32_t slot = below(self, SLOTS), depth = 1 + below(self, 80);
    char name[8];

    while (!take_lock(slot, self->number))
        slot = (slot + 1) % SLOTS;
    if (!shmq_process_is_free(&arena.map, slot)) {
        close_as(slot);
        self->counts[CLOSED_FOR]++;
    }
    set_name(name, self->number);
    shmq_actor_init(&self->actor, &arena.map, slot, 0);
    shmq_spin_init(&self->spin);
    shmq_process_enter(&self->actor, name, self->number, 1, 1);
    shmq_cache_resize(&self->actor);
    self->inbox.open = shmq_queue_open_inbox(&self->actor, name, depth, &self->inbox.ref) == SHMQ_OK;
}

/* ---- loans ----------------------------------------------------------------------------------------------- */

static uint32_t random_order(struct process *self)
{
    return below(self, 4) ? below(self, 3) : below(self, LARGEST_ORDER + 1);
}

/* Get a block, waiting a moment where there is none. */
static bool borrow(struct process *self, struct shmq_hold *loan)
{
    uint64_t bytes = (uint64_t)(1 + below(self, 2)) << (GRANULE_SHIFT + random_order(self)) >> 1;
    struct shmq_wait_point point = shmq_starved(&arena.map);
    int result = shmq_loan(&self->actor, bytes, loan);

    if (result == SHMQ_NO_BLOCKS) {
        uint32_t seq = shmq_wait_announce(point);

        self->counts[STARVED]++;
        result = shmq_loan(&self->actor, bytes, loan);
        if (result == SHMQ_NO_BLOCKS) {
            shmq_wait_sleep(&arena.map, point, seq, NAP_NS);
            result = shmq_loan(&self->actor, bytes, loan);
        }
    }
    CHECK(result == SHMQ_OK || result == SHMQ_NO_BLOCKS);
    return result == SHMQ_OK;
}

static void op_borrow(struct process *self)
{
    if (self->loan_count < LOANS && borrow(self, &self->loan[self->loan_count]))
        self->loan_count++;
}

static void give_back(struct process *self, struct shmq_hold *hold)
{
    CHECK_EQUAL(shmq_release(&self->actor, hold), SHMQ_OK);
}

static void op_give_back(struct process *self)
{
    if (self->loan_count)
        give_back(self, &self->loan[--self->loan_count]);
}

/* A loan to send: one at hand, or a new one. */
static bool lend(struct process *self, struct shmq_hold *loan)
{
    if (!self->loan_count || below(self, 2))
        return borrow(self, loan);
    *loan = self->loan[--self->loan_count];
    return true;
}

/* ---- waiting --------------------------------------------------------------------------------------------- */

static void nap(struct process *self, const struct shmq_queue_ref *ref, bool receiver)
{
    if (below(self, 2) ? shmq_await_spin(&arena.map, ref, receiver, 20000, &self->spin)
                       : shmq_await_burst(&arena.map, ref, receiver))
        return;
    self->counts[SLEPT] += shmq_await_sleep(&arena.map, ref, receiver, NAP_NS) != SHMQ_OK;
    shmq_await_leave(&arena.map, ref, receiver);
}

/* ---- messages -------------------------------------------------------------------------------------------- */

/* Somebody's inbox, or a named queue that this process knows. */
static bool random_target(struct process *self, struct shmq_queue_ref *ref)
{
    struct named *named = &self->named[below(self, NAMES)];
    char name[8];

    if (!below(self, 4)) {
        set_name(name, below(self, THREADS));
        return shmq_queue_find_inbox(&arena.map, name, ref) == SHMQ_OK;
    }
    *ref = named->ref;
    return named->open;
}

static void op_send(struct process *self)
{
    struct shmq_queue_ref ref;
    struct shmq_parcel parcel;
    struct shmq_hold loan;
    int result;

    if (!random_target(self, &ref) || !lend(self, &loan))
        return;
    parcel = fill(self, &loan);
    result = shmq_send_or_drop(&self->actor, &ref, &loan, &parcel);
    if (result == SHMQ_FULL) {
        nap(self, &ref, false);
        result = shmq_send_or_drop(&self->actor, &ref, &loan, &parcel);
    }
    CHECK(result == SHMQ_OK || result == SHMQ_FULL || result == SHMQ_CLOSED || result == SHMQ_SHUT
        || result == SHMQ_DROPPED);
    self->counts[SENT] += result == SHMQ_OK;
    if (result != SHMQ_OK)
        give_back(self, &loan);
}

static void take(struct process *self, struct named *from)
{
    struct shmq_message *message = &self->held[self->held_count];
    int result;

    if (!from->open || self->held_count == HELD)
        return;
    result = shmq_receive(&self->actor, &from->ref, message);
    if (result == SHMQ_EMPTY && !below(self, 4)) {
        nap(self, &from->ref, true);
        result = shmq_receive(&self->actor, &from->ref, message);
    }
    if (result == SHMQ_CLOSED)
        from->open = false;
    if (result != SHMQ_OK)
        return;
    CHECK_EQUAL(message->length, shmq_length_bytes(message->length));
    check_payload(message);
    self->held_count++;
    self->counts[RECEIVED]++;
    self->counts[REDELIVERED] += message->deliveries > 0;
    self->counts[TICKETS] += shmq_is_ticket(message->hold.word);
}

static void op_receive(struct process *self)
{
    struct named *named = &self->named[below(self, NAMES)];

    if (named->claimed)
        take(self, named);
}

static void op_receive_inbox(struct process *self) { take(self, &self->inbox); }

static void op_receive_news(struct process *self) { take(self, &self->news); }

/* Out of the hands, in any order. */
static struct shmq_message drop_held(struct process *self)
{
    uint32_t at = below(self, self->held_count);
    struct shmq_message message = self->held[at];

    check_payload(&message);
    self->held[at] = self->held[--self->held_count];
    return message;
}

static void op_release(struct process *self)
{
    if (self->held_count) {
        struct shmq_message message = drop_held(self);

        give_back(self, &message.hold);
    }
}

static void op_edit(struct process *self)
{
    struct shmq_message message;

    if (!self->held_count || self->loan_count == LOANS)
        return;
    message = drop_held(self);
    if (shmq_edit(&self->actor, &message.hold) != SHMQ_OK) { /* others hold it, too */
        give_back(self, &message.hold);
        return;
    }
    write_payload(message.hold.block, payload_bytes(message.hold.word), 0);
    self->loan[self->loan_count++] = message.hold;
    self->counts[EDITED]++;
}

static void op_forward(struct process *self)
{
    struct shmq_queue_ref ref;
    struct shmq_message message;

    if (!self->held_count || !random_target(self, &ref))
        return;
    message = drop_held(self);
    if (!shmq_is_ticket(message.hold.word) && shmq_forward_or_drop(&self->actor, &ref, &message) == SHMQ_OK)
        self->counts[FORWARDED]++;
    else
        give_back(self, &message.hold);
}

/* ---- queues ---------------------------------------------------------------------------------------------- */

static const char *const queue_names[NAMES] = { "shared", "exclusive", "latest" };
static const bool queue_shared[NAMES] = { true, false, true };
static const enum shmq_policy queue_policy[NAMES] = { SHMQ_POLICY_BLOCK, SHMQ_POLICY_BLOCK, SHMQ_POLICY_DROP_OLDEST };

static void op_open(struct process *self)
{
    uint32_t name = below(self, NAMES), depth = 1 + below(self, 100);
    struct shmq_queue_spec spec = { SHMQ_KIND_WORK, SHMQ_POLICY_BLOCK, depth, queue_names[name], 0, 0 };
    struct named *named = &self->named[name];
    uint64_t holder;

    if (!named->open) {
        named->claimed = false;
        named->open = shmq_queue_open(&self->actor, &spec, true, &named->ref) == SHMQ_OK;
    }
    if (named->open && !named->claimed) {
        int result = shmq_queue_claim(&self->actor, &named->ref, queue_shared[name], queue_policy[name], &holder);

        named->claimed = result == SHMQ_OK;
    } else if (named->open && !queue_shared[name]) {
        named->claimed = false;
        shmq_queue_unclaim(&self->actor, &named->ref);
    }
}

static void op_end_queue(struct process *self)
{
    struct named *named = &self->named[below(self, NAMES)];

    if (!named->open || below(self, 4))
        return;
    if (!below(self, 4)) {
        shmq_queue_shut(&self->actor, &named->ref);
        return;
    }
    self->counts[DELETED] += shmq_queue_delete(&self->actor, &named->ref) == SHMQ_OK;
    named->open = false;
}

/* ---- a topic --------------------------------------------------------------------------------------------- */

static void op_subscribe(struct process *self)
{
    static const enum shmq_policy policies[] = { SHMQ_POLICY_BLOCK, SHMQ_POLICY_DROP_OLDEST, SHMQ_POLICY_DROP_NEWEST };
    enum shmq_policy policy = policies[below(self, 3)];
    uint32_t topic;

    if (self->news.open) {
        if (!below(self, 4)) {
            CHECK_EQUAL(shmq_unsubscribe(&self->actor, &self->news.ref), SHMQ_OK);
            self->news.open = false;
        }
        return;
    }
    CHECK_EQUAL(shmq_topic_open(&self->actor, "news", &topic), SHMQ_OK);
    self->news.open = shmq_subscribe(&self->actor, topic, 2 + below(self, 20), policy, &self->news.ref) == SHMQ_OK;
}

static void op_publish(struct process *self)
{
    struct shmq_publication publication;
    struct shmq_parcel parcel;
    struct shmq_hold loan;
    uint32_t topic;

    if (!lend(self, &loan))
        return;
    parcel = fill(self, &loan);
    CHECK_EQUAL(shmq_topic_open(&self->actor, "news", &topic), SHMQ_OK);
    shmq_publisher_init(&self->publisher, topic);
    CHECK_EQUAL(shmq_publish_start(&self->actor, &self->publisher, &loan, &parcel, &publication), SHMQ_OK);
    if (shmq_publish_try(&self->actor, &self->publisher, &publication) == SHMQ_FULL) {
        nap(self, &self->publisher.ref[shmq_publication_pending(&publication, 0)], false);
        shmq_publish_try(&self->actor, &self->publisher, &publication);
    }
    shmq_publish_finish(&self->actor, &self->publisher, &publication);
    self->counts[PUBLISHED]++;
}

/* ---- a life ---------------------------------------------------------------------------------------------- */

static void op_tidy(struct process *self)
{
    struct shmq_census census;

    if (below(self, 2))
        shmq_cache_flush(&self->actor);
    else if (below(self, 2))
        shmq_buddy_merge(&self->actor);
    else
        shmq_census_take(&census, &arena.map);
    shmq_cache_resize(&self->actor);
}

typedef void operation(struct process *self);

/* As often as it stands here. */
static operation *const operations[] = {
    op_send, op_send, op_send, op_send, op_receive, op_receive, op_receive, op_receive, op_receive_inbox,
    op_receive_news, op_receive_news, op_release, op_release, op_release, op_release, op_borrow, op_give_back, op_edit,
    op_forward, op_forward, op_open, op_open, op_end_queue, op_subscribe, op_publish, op_tidy, sweep,
};

static void forget_hands(struct process *self)
{
    memset(self->named, 0, sizeof self->named);
    self->inbox.open = self->news.open = false;
    self->loan_count = self->held_count = 0;
}

/* Come, work, and go: politely, or by leaving everything as it is, which also any write may be the last of. */
static void live(struct process *self)
{
    forget_hands(self);
    self->life.writes_left = below(self, 3) ? 1 + below(self, 4000) : 0;
    if (setjmp(self->life.grave) == 0) {
        attach(self);
        while (self->operations++ < OPERATIONS && below(self, 400))
            operations[below(self, ARENA_COUNT(operations))](self);
        if (below(self, 2)) {
            shmq_cache_flush(&self->actor);
            shmq_close(&self->actor);
        }
    } else {
        self->counts[DIED]++;
    }
    drop_all_locks(self->number);
}

static void *run(void *argument)
{
    struct process *self = (struct process *)argument;

    threaded_self = &self->life;
    while (self->operations < OPERATIONS)
        live(self);
    return NULL;
}

/* ---- the test -------------------------------------------------------------------------------------------- */

static void start_all(void)
{
    for (uint32_t i = 0; i < THREADS; i++) {
        memset(&processes[i], 0, sizeof processes[i]);
        processes[i].number = i;
        processes[i].life.chance = i + 1;
        CHECK_EQUAL(pthread_create(&processes[i].thread, NULL, run, &processes[i]), 0);
    }
}

static void join_all(void)
{
    for (uint32_t i = 0; i < THREADS; i++)
        CHECK_EQUAL(pthread_join(processes[i].thread, NULL), 0);
}

/* Whoever was left dead is closed for; queues are deleted. Then everything must be as in a new region. */
static void check_the_end(void)
{
    struct shmq_actor janitor;

    for (uint32_t slot = 0; slot < SLOTS; slot++)
        close_as(slot);
    arena_enter(&janitor, 0);
    for (uint32_t name = 0; name < NAMES; name++) {
        struct shmq_queue_ref ref;

        arena_open(&janitor, queue_names[name], 1, &ref);
        CHECK_EQUAL(shmq_queue_delete(&janitor, &ref), SHMQ_OK);
    }
    shmq_close(&janitor);
    CHECK_EQUAL(janitor.corrupt, 0);
    arena_check_no_processes();
    arena_check_no_queues();
    arena_check_all_free();
}

static void check_that_all_of_it_happened(void)
{
    for (uint32_t count = 0; count < COUNTS; count++) {
        uint64_t sum = 0;

        for (uint32_t i = 0; i < THREADS; i++)
            sum += processes[i].counts[count];
        printf("%llu %s, ", (unsigned long long)sum, count_names[count]);
        CHECK(sum >= ENOUGH);
    }
}

static void threads_that_do_everything_at_once_and_die_leave_a_region_as_new(void)
{
    arena_make(GRANULE_SHIFT, GRANULES, SLOTS, 16);
    arena.map.ops = &real_ops;
    memset(lock, 0, sizeof lock);
    start_all();
    join_all();
    check_the_end();
    check_that_all_of_it_happened();
}

int main(int argc, char **argv)
{
    static const struct check_test tests[] = {
        CHECK_TEST(threads_that_do_everything_at_once_and_die_leave_a_region_as_new),
    };

    if (threaded_weaken())
        printf("weakened: %s\n", getenv("SHMQ_WEAKEN"));
    return check_main(argc, argv, tests, ARENA_COUNT(tests), NULL);
}
