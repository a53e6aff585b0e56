/* SPDX-License-Identifier: MIT */
/* What a victim does: before its operation, the operation, and after it.
 *
 * Label 1 is the message that it is about. Where the survivor may have been faster, because it went on while the
 * victim was frozen, the victim does without.
 */
#ifndef STEP_ACTS_H
#define STEP_ACTS_H

#include "world.h"

/* What a victim has told. The page is shared with the survivor. */
struct told {
    uint32_t got;           /* times that it received and acknowledged label 1 */
};

static struct member own;
static struct told *told;
static struct shmq_hold loan;
static struct shmq_message held;
static struct shmq_queue_ref other;
static int result;

static void nothing(void) {}

static void check_ok(void) { CHECK_EQUAL(result, SHMQ_OK); }

/* ---- loans and messages ----------------------------------------------------------------------------------- */

static void lend(void) { result = shmq_loan(&own.region.self, WORLD_WORDS * 8, &loan); }

static void give_back(void) { result = shmq_release(&own.region.self, &loan); }

static void give_back_the_loan(void)
{
    check_ok();
    CHECK_EQUAL(shmq_release(&own.region.self, &loan), SHMQ_OK);
}

static void lend_and_write(void) { loan = world_loan(&own, 1); }

static void send_it(void)
{
    struct shmq_parcel parcel = world_parcel(1);

    result = shmq_send(&own.region.self, &own.jobs, &loan, &parcel);
}

static void survivor_sends(void) { world_send(&mine, &mine.jobs, 1); }

static void survivor_sleeps(void) { (void)shmq_wait_announce(shmq_receivers(mine.jobs.queue)); }

static void receive_it(void) { result = shmq_receive(&own.region.self, &own.jobs, &held); }

static void acknowledge(void)
{
    if (result == SHMQ_EMPTY)
        return;
    check_ok();
    world_read(&own.region.map, &held);
    CHECK_EQUAL(held.label, 1);
    CHECK_EQUAL(shmq_release(&own.region.self, &held.hold), SHMQ_OK);
    told->got++;
}

static void hold_it(void)
{
    receive_it();
    check_ok();
}

static void release_it(void) { result = shmq_release(&own.region.self, &held.hold); }

static void count_it(void)
{
    check_ok();
    told->got++;
}

static void edit_it(void) { result = shmq_edit(&own.region.self, &held.hold); }

static void end_edit(void)
{
    check_ok();
    CHECK_EQUAL(shmq_release(&own.region.self, &held.hold), SHMQ_OK);
    told->got++;
}

static void forward_it(void) { result = shmq_forward(&own.region.self, &own.next, &held); }

/* ---- topics ------------------------------------------------------------------------------------------------ */

static void publish_it(void)
{
    struct shmq_parcel parcel = world_parcel(1);
    struct shmq_publication publication;

    result = shmq_publish_start(&own.region.self, &own.publisher, &loan, &parcel, &publication);
    if (result == SHMQ_OK && shmq_publish_try(&own.region.self, &own.publisher, &publication) != SHMQ_OK)
        shmq_publish_finish(&own.region.self, &own.publisher, &publication);
}

static void subscribe_and_publish(void)
{
    world_subscribe(&own);
    world_publish(&own, 1);
}

static void hear_it(void) { result = shmq_receive(&own.region.self, &own.frames, &held); }

static void subscribe_publish_and_hear(void)
{
    subscribe_and_publish();
    hear_it();
    check_ok();
}

static void subscribe_it(void)
{
    result = shmq_subscribe(&own.region.self, own.publisher.topic, 8, SHMQ_POLICY_BLOCK, &own.frames);
}

static void unsubscribe_it(void) { result = shmq_unsubscribe(&own.region.self, &own.frames); }

/* ---- queues ------------------------------------------------------------------------------------------------ */

static int open_other(struct shmq_actor *self, bool create)
{
    struct shmq_queue_spec spec;

    memset(&spec, 0, sizeof spec);
    spec.kind = SHMQ_KIND_WORK;
    spec.policy = SHMQ_POLICY_BLOCK;
    spec.depth = 8;
    spec.name = "other";
    return shmq_queue_open(self, &spec, create, &other);
}

static void open_it(void) { result = open_other(&own.region.self, true); }

static void survivor_opens_other(void) { CHECK_EQUAL(open_other(&mine.region.self, true), SHMQ_OK); }

static void survivor_makes_other(void)
{
    survivor_opens_other();
    world_send(&mine, &other, 1);
}

static void find_other(void) { CHECK_EQUAL(open_other(&own.region.self, false), SHMQ_OK); }

static void delete_it(void) { result = shmq_queue_delete(&own.region.self, &other); }

static void claim_it(void)
{
    uint64_t holder;

    result = shmq_queue_claim(&own.region.self, &other, false, SHMQ_POLICY_BLOCK, &holder);
}

/* The queue is full of labels of the victim's own, which drops its oldest for one more. */
static void survivor_makes_other_to_drop(void)
{
    uint64_t holder;

    survivor_opens_other();
    CHECK_EQUAL(shmq_queue_claim(&mine.region.self, &other, true, SHMQ_POLICY_DROP_OLDEST, &holder), SHMQ_OK);
}

static void fill_other(void)
{
    find_other();
    for (uint64_t i = 0; i < other.depth; i++)
        world_send(&own, &other, 2);
    lend_and_write();
}

static void send_and_drop(void)
{
    struct shmq_parcel parcel = world_parcel(1);

    result = shmq_send_or_drop(&own.region.self, &other, &loan, &parcel);
}

static void make_room(void) { result = shmq_make_room(&own.region.self, &other) ? SHMQ_OK : SHMQ_EMPTY; }

static void sleep_a_while(void)
{
    if (!shmq_await_burst(&own.region.map, &own.jobs, true))
        (void)shmq_await_sleep(&own.region.map, &own.jobs, true, 100000);
    shmq_await_leave(&own.region.map, &own.jobs, true);
}

/* ---- processes --------------------------------------------------------------------------------------------- */

static void hold_much(void)
{
    hold_it();
    lend_and_write();
    world_subscribe(&own);
}

static void die_in_child(void (*body)(void))
{
    int status;
    pid_t child = fork();

    CHECK(child >= 0);
    if (child == 0) {
        body();
        (void)raise(SIGKILL);
    }
    CHECK_EQUAL(waitpid(child, &status, 0), child);
    CHECK(WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL);
}

static void join_and_hold_much(void)
{
    world_join(&own);
    hold_much();
}

/* A third process dies with a loan, a message and a subscription; whoever attaches after that would recover it. */
static void somebody_dies(void) { die_in_child(join_and_hold_much); }

static void recover(void)
{
    struct shmq_error error;

    result = shmq_region_recover(&own.region, &error) >= 0 ? SHMQ_OK : SHMQ_CORRUPT;
}

static void attach(void) { result = world_try_open(&own.region, "alpha", SHMQ_REGION_ATTACH); }

static void leave(void) { shmq_region_close(&own.region); }

/* ---- regions ----------------------------------------------------------------------------------------------- */

static void open_region(void) { result = world_try_open(&own.region, "alpha", SHMQ_REGION_EITHER); }

/* The survivor is in the same region. */
static void greet(void)
{
    check_ok();
    world_open_queue(&own, "jobs", &own.jobs);
    world_send(&own, &own.jobs, 1);
}

static void unlink_it(void)
{
    struct shmq_error error;

    result = shmq_region_unlink("alpha", NULL, true, &error);
}

static void open_beta(void) { CHECK_EQUAL(world_try_open(&own.region, "beta", SHMQ_REGION_CREATE), SHMQ_OK); }

static void somebody_leaves_beta(void) { die_in_child(open_beta); }

static void count_region(void *context, const struct shmq_region_info *info)
{
    (void)info;
    ++*(int *)context;
}

static void list_them(void)
{
    struct shmq_error error;
    int regions = 0;

    result = shmq_region_list(NULL, count_region, &regions, &error);
}

static void check_attached_or_gone(void)
{
    CHECK(result == SHMQ_OK || result == SHMQ_ERROR_NOT_FOUND);
}

#endif
