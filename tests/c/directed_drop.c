/* SPDX-License-Identifier: MIT */
/* Directed tests: work queues that drop, and who waits for a publication or for room for one. */
#include "sim_directed_tests.h"

static struct sim_process *const victim = &sim_processes[SIM_VICTIM];
static struct sim_process *ann, *bob, *peer;
static struct shmq_queue_ref alpha;
static enum shmq_policy policy;
static int result;

/* ---- a work queue that drops ---- */

static struct sim_process *player(int fibre)
{
    struct sim_process *process = sim_play(fibre);

    SIM_CHECK(sim_do_open(process, SIM_ALPHA, 2, true) == SHMQ_OK, "alpha could not be opened");
    SIM_CHECK(sim_do_claim_as(process, SIM_ALPHA, true, policy) == SHMQ_OK, "alpha could not be claimed");
    return process;
}

/* alpha is full. */
static void stage_full(void)
{
    sim_stage(32);
    bob = player(2);
    peer = player(3);
    player(SIM_VICTIM);
    alpha = bob->named[SIM_ALPHA].ref;
    sim_impersonate(peer->fibre);
    for (int i = 0; i < 3; i++) {
        sim_post(peer, &alpha);
        sim_fetch(peer, &alpha);
        sim_do_release(peer, 0);
    }
    sim_post(peer, &alpha);
    sim_post(peer, &alpha);
}

static void send(struct sim_process *self)
{
    struct shmq_queue_ref ref = alpha;

    if (sim_do_loan(self, 0) != SHMQ_OK)
        return;
    result = sim_do_send_or_drop(self, self->loan_count - 1, &ref);
    if (result != SHMQ_OK)
        sim_do_return(self, self->loan_count - 1);
}

static void bob_takes_one(void)
{
    SIM_AS(bob, result = sim_fetch(bob, &alpha));
    if (result == SHMQ_OK)
        sim_do_release(bob, bob->held_count - 1);
}

static void bob_takes_and_peer_sends(void)
{
    bob_takes_one();
    SIM_AS(peer, send(peer));
    send(peer);
}

static void alpha_is_made_again(void)
{
    SIM_AS(bob, sim_do_delete(bob, SIM_ALPHA));
    SIM_CHECK(sim_do_open(bob, SIM_ALPHA, 2, true) == SHMQ_OK && bob->named[SIM_ALPHA].ref.qid == alpha.qid,
        "alpha has another record");
    sim_do_claim_as(bob, SIM_ALPHA, true, SHMQ_POLICY_BLOCK);
    SIM_AS(peer, sim_do_open(peer, SIM_ALPHA, 2, false));
    sim_post(peer, &peer->named[SIM_ALPHA].ref);
    sim_post(peer, &peer->named[SIM_ALPHA].ref);
}

static void check_kept(void)
{
    struct shmq_queue_ref *ref = &bob->named[SIM_ALPHA].ref;

    SIM_CHECK(!shmq_queue_dropped(ref), "a queue that drops nothing has counted a drop");
    SIM_CHECK(sim_count(bob, ref) == 2, "a sender to the former alpha has dropped a message of the next");
}

void sim_test_dropping_sender_stops(void)
{
    static const struct sim_stop stops[] = {
        SIM_FATES(stage_full, send, bob_takes_and_peer_sends), SIM_FATES(stage_full, send, NULL),
        { stage_full, send, alpha_is_made_again, check_kept, SIM_GOES_ON },
        { stage_full, send, alpha_is_made_again, check_kept, SIM_DIES_RECOVERED },
    };

    for (policy = SHMQ_POLICY_DROP_OLDEST; policy <= SHMQ_POLICY_DROP_NEWEST; policy++)
        for (uint32_t i = 0; i < SIM_COUNT(stops); i++)
            sim_stop_everywhere(&stops[i]);
}

/* ---- the policy is fixed once ---- */

static enum shmq_policy other_policy;

static void stage_unclaimed(void)
{
    sim_stage(16);
    bob = sim_play(2);
    sim_do_open(bob, SIM_ALPHA, 2, true);
    sim_play(SIM_VICTIM);
    sim_do_open(victim, SIM_ALPHA, 2, false);
}

static void claim(struct sim_process *self) { result = sim_do_claim_as(self, SIM_ALPHA, true, policy); }

static void bob_claims(void) { SIM_AS(bob, sim_do_claim_as(bob, SIM_ALPHA, true, other_policy)); }

static void check_one_policy(void)
{
    bool both = result == SHMQ_OK && bob->named[SIM_ALPHA].claim == SIM_SHARED;

    SIM_CHECK(!both || policy == other_policy, "two receivers have fixed two policies");
    SIM_CHECK(result == SHMQ_OK || policy != other_policy, "the same policy is refused");
}

void sim_test_policy_is_decided_once(void)
{
    static const struct sim_stop stop = { stage_unclaimed, claim, bob_claims, check_one_policy, SIM_GOES_ON };

    for (policy = SHMQ_POLICY_BLOCK; policy <= SHMQ_POLICY_DROP_NEWEST; policy++)
        for (other_policy = SHMQ_POLICY_BLOCK; other_policy <= SHMQ_POLICY_DROP_NEWEST; other_policy++)
            sim_stop_everywhere(&stop);
}

/* ---- waiting ---- */

/* ann's queue is full. */
static void stage_topic(void)
{
    sim_stage_topics(32);
    ann = sim_member(1, 1, SHMQ_POLICY_BLOCK);
    bob = sim_member(2, 2, SHMQ_POLICY_BLOCK);
    peer = sim_member(3, 0, SHMQ_POLICY_BLOCK);
    sim_member(SIM_VICTIM, 2, SHMQ_POLICY_BLOCK);
    SIM_AS(peer, sim_announce(peer));
}

static void publish_and_wait(struct sim_process *self)
{
    sim_do_loan(self, 0);
    sim_do_publish(self, self->loan_count - 1, 0, 2);
}

static void publish_body(void *argument) { publish_and_wait(argument); }

static void ann_receives(void)
{
    SIM_CHECK(SIM_AS(ann, sim_hear(ann)) == SHMQ_OK, "ann hears nothing");
    sim_do_release(ann, 0);
}

static void ann_unsubscribes(void) { SIM_AS(ann, sim_do_unsubscribe(ann, 0)); }

static void ann_dies(void)
{
    sim_slay(ann);
    sim_recover_all();
}

static void nothing_happens(void) { sim_time_out(SIM_VICTIM); }

void sim_test_waiting_publisher(void)
{
    static void (*const events[])(void) = { ann_receives, ann_unsubscribes, ann_dies, nothing_happens };

    for (uint32_t i = 0; i < SIM_COUNT(events); i++) {
        sim_stopped(i, 0);
        stage_topic();
        sim_impersonate(SIM_ROOT);
        sim_spawn(publish_body, victim);
        SIM_CHECK(sim_run(SIM_VICTIM, SIM_FOREVER) == SIM_ASLEEP, "the publisher does not wait for room");
        events[i]();
        sim_impersonate(SIM_ROOT);
        SIM_CHECK(sim_state(SIM_VICTIM) == SIM_READY, "a publisher sleeps on although it need not wait (%u)", i);
        while (sim_run(SIM_VICTIM, SIM_FOREVER) == SIM_ASLEEP)
            sim_time_out(SIM_VICTIM);
        sim_wind_up();
    }
}

static void stop_while_waiting(void)
{
    if (ann->subscription[0].state == SIM_SUBSCRIBED)
        ann_receives();
}

void sim_test_waiting_publisher_stops(void)
{
    static const struct sim_stop stops[] = {
        SIM_FATES(stage_topic, publish_and_wait, stop_while_waiting),
        SIM_FATES(stage_topic, publish_and_wait, ann_unsubscribes),
    };

    for (uint32_t i = 0; i < SIM_COUNT(stops); i++)
        sim_stop_everywhere(&stops[i]);
}

static void wait_body(void *argument)
{
    struct sim_process *self = argument;

    result = sim_do_wait(self, &self->subscription[0].ref, 1);
}

/* A subscriber stops at every access of its wait; a publication comes then. Nobody sleeps while a message is there. */
void sim_test_waiting_subscriber(void)
{
    enum sim_state state;
    bool slept = false;

    for (uint64_t accesses = 0; !slept; accesses++) {
        sim_stopped(accesses, 0);
        stage_topic();
        SIM_AS(victim, sim_hear(victim));
        sim_do_release(victim, 0);
        ann_receives();
        sim_impersonate(SIM_ROOT);
        sim_spawn(wait_body, victim);
        slept = sim_run(SIM_VICTIM, accesses) == SIM_ASLEEP;
        SIM_AS(peer, sim_announce(peer));
        sim_impersonate(SIM_ROOT);
        state = sim_run(SIM_VICTIM, SIM_FOREVER);
        SIM_CHECK(state == SIM_FINISHED && result == SHMQ_OK, "a subscriber sleeps on beside a message (%d)", result);
        sim_wind_up();
    }
}

/* The publisher stops at every access; a subscriber falls asleep then. */
static void subscriber_waits(void)
{
    SIM_CHECK(sim_spawn(wait_body, ann) == 1, "ann is the second fibre");
    sim_run(1, SIM_FOREVER);
}

static void check_awake(void)
{
    SIM_CHECK(sim_state(1) != SIM_ASLEEP || !sim_alive(1), "a subscriber sleeps on beside a message");
    sim_run(1, SIM_FOREVER);
}

static void stage_empty(void)
{
    stage_topic();
    ann_receives();
}

static void publish(struct sim_process *self) { sim_announce(self); }

void sim_test_publisher_beside_sleeper(void)
{
    static const struct sim_stop stop = { stage_empty, publish, subscriber_waits, check_awake, SIM_GOES_ON };

    sim_stop_everywhere(&stop);
}
