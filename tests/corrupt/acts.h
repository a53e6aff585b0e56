/* SPDX-License-Identifier: MIT */
/* What peers do with queues, processes and files; and the list of all that they do. */
#ifndef CORRUPT_ACTS_H
#define CORRUPT_ACTS_H

#include "messages.h"

/* ---- queues ------------------------------------------------------------------------------------------------ */

static void act_names(void)
{
    static const char *const names[] = { "jobs", "drops", "fresh", LONGEST };
    struct shmq_queue_spec spec = { SHMQ_KIND_WORK, SHMQ_POLICY_BLOCK, 1 + chance_below(60), names[chance_below(4)], 0,
        0 };
    struct shmq_queue_ref ref;

    if (!mind(shmq_queue_open(self(), &spec, chance_below(4), &ref)))
        return;
    CHECK(ref.depth && ref.depth <= SHMQ_MAX_DEPTH && ref.qid < map()->geometry.queues);
    receive_some(&ref);
    if (chance_below(3) == 0)
        mind(shmq_queue_delete(self(), &ref));
}

static void act_claim(void)
{
    const struct shmq_queue_ref *ref = usable(some_queue());
    uint64_t holder = 0;

    if (mind(shmq_queue_claim(self(), ref, chance_below(2), SHMQ_POLICY_BLOCK, &holder)))
        shmq_queue_unclaim(self(), ref);
}

static void act_shut(void)
{
    if (chance_below(2))
        mind(shmq_queue_shut(self(), usable(&me->news)));
    else
        shmq_publisher_shut(self(), &me->publisher);
}

static void act_peer(void)
{
    static const char *const names[] = { "ann", "bob", "cid", "dead", "late" };
    struct shmq_queue_ref ref;
    struct shmq_parcel parcel = { 10, 3 };
    struct shmq_hold loan;

    if (!mind(shmq_queue_find_inbox(map(), names[chance_below(5)], &ref)) || !borrow(10, &loan))
        return;
    if (!mind(shmq_send(self(), &ref, &loan, &parcel)))
        mind(shmq_release(self(), &loan));
}

static void act_inbox(void)
{
    struct shmq_error error;
    struct shmq_queue_ref inbox = me->region.inbox;

    if (!inbox.queue)
        return;
    if (mind(shmq_queue_close(self(), &inbox)) || chance_below(2)) {
        shmq_queue_finish_close(self(), &inbox);
        me->region.inbox.queue = NULL;
    }
    for (int asked = 0; asked < 2; asked++)
        if (mind_error(shmq_region_need_inbox(&me->region, &error), &error))
            CHECK_EQUAL(me->region.inbox.qid, self()->slot);
        else
            CHECK(!me->region.inbox.queue);
}

/* ---- waiting ----------------------------------------------------------------------------------------------- */

static void act_wait(void)
{
    const struct shmq_queue_ref *ref = usable(some_queue());
    bool receiver = chance_below(2);
    struct shmq_spin spin;

    shmq_spin_init(&spin);
    if (!shmq_await_spin(map(), ref, receiver, 2000, &spin))
        mind(shmq_await_sleep(map(), ref, receiver, 1000000));
    shmq_await_leave(map(), ref, receiver);
    (void)shmq_await_room(map(), ref, 3);
    (void)shmq_wait_announce(shmq_starved(map()));
    shmq_wait_leave(shmq_starved(map()));
}

static void act_wake(void) { shmq_wake_everybody(map()); }

/* ---- looking around ---------------------------------------------------------------------------------------- */

static void act_look(void)
{
    static struct shmq_census census;
    char topic[SHMQ_NAME_WORDS * 8];
    struct shmq_process_info process;
    struct shmq_queue_info queue;

    shmq_census_take(&census, map());
    CHECK(census.used_bytes <= (map()->geometry.data_size << 6)); /* as many blocks as granules, each the largest */
    for (uint32_t qid = 0; qid < map()->geometry.queues; qid++)
        if (shmq_queue_describe(map(), qid, &queue))
            CHECK(queue.depth <= SHMQ_MAX_DEPTH && queue.count <= queue.depth && strlen(queue.name) <= SHMQ_NAME_MAX);
    for (uint32_t slot = 0; slot < map()->geometry.max_processes; slot++) {
        shmq_process_info(map(), slot, &process);
        CHECK(strlen(process.name) <= SHMQ_NAME_MAX);
    }
    for (uint32_t number = 0; number < map()->geometry.max_topics; number++)
        if (shmq_topic_name(map(), number, topic) == SHMQ_OK)
            CHECK(strlen(topic) <= SHMQ_NAME_MAX);
}

static void act_count(void)
{
    struct shmq_audience audience;

    (void)shmq_blocks_elsewhere(self());
    (void)shmq_undelivered(map());
    (void)shmq_queue_count(usable(&me->jobs));
    (void)shmq_process_count(map());
    shmq_publisher_look(map(), &me->publisher, &audience);
    CHECK(audience.subscribers <= SHMQ_MAX_SUBSCRIBERS);
}

static void act_memory(void)
{
    shmq_cache_resize(self());
    CHECK(self()->cache.limit >= 1);
    shmq_cache_flush(self());
    shmq_buddy_merge(self());
}

/* ---- processes --------------------------------------------------------------------------------------------- */

static void act_recover(void)
{
    struct shmq_error error;
    int recovered = shmq_region_recover(&me->region, &error);

    CHECK(recovered <= (int)REGION_PROCESSES);
    if (recovered < 0)
        mind_error(recovered, &error);
    else
        act_noted(SHMQ_OK);
}

static void act_sweep(void)
{
    act_noted(shmq_region_sweep_due(&me->region, map()->ops->now(map()->ops->context), SHMQ_SWEEP_SOON_NS) < 0
            ? SHMQ_CORRUPT : SHMQ_OK);
}

/* Leave with views alive, then altogether, and enter the slot anew; all without the files. */
static void act_close(void)
{
    uint32_t kept[2] = { me->held.hold.block, me->published.hold.block };
    struct shmq_actor *actor = self();

    if (chance_below(2))
        shmq_close_except(actor, kept, 2);
    shmq_close(actor);
    shmq_actor_init(actor, map(), actor->slot, 0);
    shmq_process_enter(actor, "again", 1, 1, 1);
    mind(shmq_queue_open_inbox(actor, "again", SHMQ_INBOX_DEPTH, &me->region.inbox));
    me->region.inbox.queue = NULL; /* whatever it is: this peer does without */
    me->heard.queue = NULL;
    memset(&me->loan, 0, sizeof me->loan);
    memset(&me->held, 0, sizeof me->held);
    memset(&me->published, 0, sizeof me->published);
}

/* ---- with the files ---------------------------------------------------------------------------------------- */

static struct shmq_region late;         /* who attaches in the middle of it all, and leaves again */

static void act_attach(void)
{
    struct shmq_region_options options = region_options(chance_below(2) ? "late" : NULL, SHMQ_REGION_ATTACH);
    struct shmq_hold loan;
    struct shmq_error error;

    if (!mind_error(shmq_region_open(&late, &options, &error), &error))
        return;
    if (mind(shmq_loan(&late.self, 600, &loan)))
        mind(shmq_release(&late.self, &loan));
    (void)shmq_region_is_lost(&late);
    mind_error(shmq_region_look(&late, &error), &error);
    late.persist = true; /* its end is not the region's: the others go on */
    shmq_region_close(&late);
}

static void count_region(void *context, const struct shmq_region_info *info)
{
    CHECK(strlen(info->name) <= SHMQ_NAME_MAX);
    ++*(int *)context;
}

static void act_list(void)
{
    struct shmq_error error;
    int regions = 0;

    mind_error(shmq_region_list(NULL, count_region, &regions, &error), &error);
}

static uint32_t unlink_one_in;          /* … that it might: the region's name is gone then, and nobody else comes */

static void act_unlink(void)
{
    struct shmq_error error;

    if (chance_below(unlink_one_in) == 0)
        mind_error(shmq_region_unlink("alpha", NULL, chance_below(2), &error), &error);
}

/* What a process keeps for itself is sound, whatever it was told: free blocks at hand are blocks that can be. */
static inline void check_private(void)
{
    const struct shmq_cache *cache = &self()->cache;

    for (uint32_t order = 0; order < SHMQ_MAX_ORDERS; order++) {
        CHECK(cache->count[order] <= (order <= map()->geometry.max_order ? SHMQ_CACHE_SLOTS : 0));
        for (uint32_t i = 0; i < cache->count[order]; i++)
            CHECK(shmq_block_plausible(map(), cache->block[order][i], (uint64_t)order << 35));
    }
}

struct act {
    const char *name;
    void (*run)(void);
    bool files;             /* it opens and maps files */
};

#define ACT(name) { #name, act_##name, false }
#define ACT_FILES(name) { #name, act_##name, true }

static const struct act acts[] = {
    ACT(loan), ACT(send), ACT(send_or_drop), ACT(receive), ACT(receive_inbox), ACT(receive_dropped), ACT(hold),
    ACT(old_handles), ACT(no_handles), ACT(room), ACT(publish), ACT(hear), ACT(subscribe), ACT(names), ACT(claim),
    ACT(shut), ACT(peer), ACT(inbox), ACT(wait), ACT(wake), ACT(look), ACT(count), ACT(memory), ACT(recover),
    ACT(sweep), ACT(close), ACT_FILES(attach), ACT_FILES(list),
    ACT_FILES(unlink),
};

#define ACT_COUNT ((uint32_t)(sizeof acts / sizeof acts[0]))

#endif
