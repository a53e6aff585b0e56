/* SPDX-License-Identifier: MIT */
/* Directed tests: publishing, receiving, dropping and giving back, each stopped while the others go on. */
#include "sim_directed_tests.h"

static struct sim_process *const victim = &sim_processes[SIM_VICTIM];
static struct sim_process *ann, *bob, *peer;
static enum shmq_policy policy;

static void publish(struct sim_process *self) { sim_announce(self); }

static void publish_waiting(struct sim_process *self)
{
    if (sim_do_loan(self, 0) == SHMQ_OK)
        sim_do_publish(self, self->loan_count - 1, 0, 2);
}

static void take_one(struct sim_process *self)
{
    SIM_AS(self, sim_hear(self) == SHMQ_OK ? sim_do_release(self, self->held_count - 1) : (void)0);
}

static void take_all(struct sim_process *self) { sim_impersonate(self->fibre); sim_drain_own(self); }

static void unsubscribe(struct sim_process *self) { SIM_AS(self, sim_do_unsubscribe(self, 0)); }

static void subscribe(struct sim_process *self)
{
    SIM_AS(self, SIM_CHECK(sim_do_subscribe(self, 0, 0, 2, policy) == SHMQ_OK, "subscribing failed"));
}

/* The victim publishes; ann and bob subscribe; a peer publishes, too. Rings have gone round, with `queued` in them. */
static uint32_t queued;

static void stage(void)
{
    sim_stage_topics(32);
    ann = sim_member(1, 2, policy);
    bob = sim_member(2, 2, SHMQ_POLICY_BLOCK);
    peer = sim_member(3, 0, policy);
    sim_member(SIM_VICTIM, 0, policy);
    for (int i = 0; i < 3; i++) {
        SIM_AS(peer, sim_announce(peer));
        take_one(ann);
        take_one(bob);
    }
    sim_impersonate(peer->fibre);
    for (uint32_t i = 0; i < queued; i++)
        sim_announce(peer);
}

static void for_policies(const struct sim_stop *stops, uint32_t count)
{
    for (policy = SHMQ_POLICY_BLOCK; policy <= SHMQ_POLICY_DROP_NEWEST; policy++)
        for (queued = 0; queued <= 2; queued++)
            for (uint32_t i = 0; i < count; i++)
                sim_stop_everywhere(&stops[i]);
}

/* ---- a publisher ---- */

static void others_go_on(void)
{
    take_one(ann);
    SIM_AS(peer, sim_announce(peer));
    take_all(bob);
    SIM_AS(peer, sim_announce(peer));
}

void sim_test_publisher_stops(void)
{
    static const struct sim_stop stops[] = {
        SIM_FATES(stage, publish, others_go_on), SIM_FATES(stage, publish_waiting, others_go_on),
        SIM_FATES(stage, publish, NULL),
    };

    for_policies(stops, SIM_COUNT(stops));
}

/* ann's queue goes, and the next one has its record and its index. */
static void ann_comes_again(void)
{
    uint32_t qid = ann->subscription[0].ref.qid, index = ann->subscription[0].ref.index;

    unsubscribe(ann);
    subscribe(ann);
    SIM_CHECK(ann->subscription[0].ref.qid == qid && ann->subscription[0].ref.index == index,
        "ann has another record or index");
    SIM_AS(peer, sim_announce(peer));
    SIM_AS(peer, sim_announce(peer));
}

/* The record is ann's again, the index bob's: both went, and came in the other order. */
static void both_come_in_turn(void)
{
    unsubscribe(ann);
    unsubscribe(bob);
    subscribe(bob);
    subscribe(ann);
    SIM_CHECK(bob->subscription[0].ref.index == 0 && ann->subscription[0].ref.index == 1, "the indices are others");
    SIM_AS(peer, sim_announce(peer));
    SIM_AS(peer, sim_announce(peer));
}

/* A queue of another kind has the record. */
static void work_queue_comes(void)
{
    uint32_t qid = ann->subscription[0].ref.qid;

    unsubscribe(ann);
    SIM_AS(ann, sim_do_open(ann, SIM_ALPHA, 2, true));
    SIM_CHECK(ann->named[SIM_ALPHA].ref.qid == qid, "alpha has another record");
    SIM_AS(peer, sim_do_open(peer, SIM_ALPHA, 2, false));
    sim_post(peer, &peer->named[SIM_ALPHA].ref);
    sim_post(peer, &peer->named[SIM_ALPHA].ref);
}

void sim_test_publisher_meets_next_subscriber(void)
{
    static const struct sim_stop stops[] = {
        SIM_FATES(stage, publish, ann_comes_again), SIM_FATES(stage, publish, both_come_in_turn),
        SIM_FATES(stage, publish, work_queue_comes),
    };

    for_policies(stops, SIM_COUNT(stops));
}

/* The victim posts after ann's queue was drained, and takes its ticket back; before it clears its slot the next ring
 * has
 * a message there. */
static void publish_body(void *argument) { sim_announce(argument); }

void sim_test_publisher_comes_late(void)
{
    queued = 0;
    for (policy = SHMQ_POLICY_BLOCK; policy <= SHMQ_POLICY_DROP_NEWEST; policy++)
        for (uint32_t messages = 0; messages <= 2; messages++) {
            sim_stopped((uint64_t)policy, messages);
            stage();
            sim_impersonate(SIM_ROOT);
            sim_spawn(publish_body, victim);
            sim_run_to(SIM_VICTIM, SHMQ_S2);
            unsubscribe(ann);
            sim_impersonate(SIM_ROOT);
            sim_run_to(SIM_VICTIM, SHMQ_T_UNPOST);
            subscribe(ann);
            sim_impersonate(peer->fibre);
            for (uint32_t i = 0; i < messages; i++)
                sim_announce(peer);
            sim_impersonate(SIM_ROOT);
            SIM_CHECK(sim_run(SIM_VICTIM, SIM_FOREVER) == SIM_FINISHED, "the publisher does not end");
            sim_wind_up();
        }
}

/* ---- what is dropped is counted where it was dropped ---- */

static void ann_comes_again_idle(void)
{
    unsubscribe(ann);
    subscribe(ann);
}

static void check_not_counted(void)
{
    uint64_t dropped = shmq_queue_dropped(&ann->subscription[0].ref);

    SIM_CHECK(!dropped, "a queue that was just made has dropped %llu messages", (unsigned long long)dropped);
}

static void give_up(struct sim_process *self) { sim_announce(self); }

void sim_test_drop_counted_late(void)
{
    static const struct sim_stop stop = { stage, give_up, ann_comes_again_idle, check_not_counted, SIM_GOES_ON };

    queued = 2;
    for (policy = SHMQ_POLICY_BLOCK; policy <= SHMQ_POLICY_DROP_NEWEST; policy++)
        sim_stop_everywhere(&stop);
}

/* ---- an unsubscription against a publication ---- */

static void stage_subscriber(void)
{
    sim_stage_topics(32);
    sim_member(SIM_VICTIM, 2, policy);
    bob = sim_member(2, 2, SHMQ_POLICY_BLOCK);
    peer = sim_member(3, 0, policy);
    sim_impersonate(peer->fibre);
    for (uint32_t i = 0; i < queued; i++)
        sim_announce(peer);
}

static void leave_topic(struct sim_process *self) { sim_do_unsubscribe(self, 0); }

static void peer_publishes(void)
{
    SIM_AS(peer, sim_announce(peer));
    take_one(bob);
    SIM_AS(peer, sim_announce(peer));
}

static void another_subscribes(void)
{
    if (bob->subscription[1].state == SIM_UNSUBSCRIBED)
        SIM_AS(bob, sim_do_subscribe(bob, 1, 0, 2, policy));
    peer_publishes();
}

void sim_test_unsubscriber_stops(void)
{
    static const struct sim_stop stops[] = {
        SIM_FATES(stage_subscriber, leave_topic, peer_publishes),
        SIM_FATES(stage_subscriber, leave_topic, another_subscribes),
        SIM_FATES(stage, publish, ann_comes_again_idle),
    };

    for_policies(stops, SIM_COUNT(stops));
}

/* ---- a subscriber ---- */

static void hear(struct sim_process *self)
{
    if (sim_hear(self) == SHMQ_OK)
        sim_do_release(self, self->held_count - 1);
}

static void hear_and_keep(struct sim_process *self) { sim_hear(self); }

void sim_test_subscriber_stops(void)
{
    static const struct sim_stop stops[] = {
        SIM_FATES(stage_subscriber, hear, peer_publishes), SIM_FATES(stage_subscriber, hear_and_keep, peer_publishes),
        SIM_FATES(stage_subscriber, hear, NULL),
    };

    for_policies(stops, SIM_COUNT(stops));
}

/* ---- two that give back the last tickets ---- */

static void stage_held(void)
{
    policy = SHMQ_POLICY_BLOCK;
    queued = 1;
    stage_subscriber();
    SIM_AS(victim, sim_hear(victim));
    SIM_AS(bob, sim_hear(bob));
}

static void release(struct sim_process *self) { sim_do_release(self, 0); }

static void bob_releases(void) { SIM_AS(bob, sim_do_release(bob, 0)); }

static void check_given_back(void)
{
    sim_recover_all();
    SIM_CHECK(!sim_audit_leaks(), "a block is left after its last ticket");
}

void sim_test_last_two_release(void)
{
    static const struct sim_stop stops[] = {
        { stage_held, release, bob_releases, check_given_back, SIM_GOES_ON },
        { stage_held, release, bob_releases, check_given_back, SIM_DIES },
        { stage_held, release, bob_releases, check_given_back, SIM_DIES_RECOVERED },
    };

    for (uint32_t i = 0; i < SIM_COUNT(stops); i++)
        sim_stop_everywhere(&stops[i]);
}

/* ---- a generation that agrees in the 16 bits that a ticket has ---- */

/* The block of the victim's message comes round: dropped, freed, and published again, under a generation that differs
 * by 65,536. `others`: with the tickets of others. */
static bool others;

static void come_round(void)
{
    uint32_t block = SHMQ_NO_OWNER, gen = 0;

    for (uint32_t i = 0; i < sim_map.geometry.granules; i++)
        if (shmq_block_state(sim_map.block[i].word) == SHMQ_STATE_FANOUT) {
            block = i;
            gen = shmq_block_gen(sim_map.block[i].word);
        }
    if (block == SHMQ_NO_OWNER)
        return;
    take_all(bob);
    if (others)
        unsubscribe(bob);
    SIM_AS(peer, sim_announce(peer)); /* of depth 1, so that the message is dropped */
    if (shmq_block_state(sim_map.block[block].word) != SHMQ_STATE_FREE)
        return;
    sim_map.block[block].word = shmq_block_word(gen + 0xffff, 0, SHMQ_STATE_FREE, 0, 0);
    for (uint32_t i = 0; i < 3 && shmq_block_gen(sim_map.block[block].word) != ((gen + 0x10000) & 0xffffff); i++) {
        SIM_AS(peer, sim_announce(peer));
        take_all(bob);
    }
}

static void stage_round(void)
{
    sim_stage_topics(2);
    policy = SHMQ_POLICY_DROP_OLDEST;
    sim_member(SIM_VICTIM, 1, policy);
    bob = sim_member(2, 2, policy);
    peer = sim_member(3, 0, policy);
    SIM_AS(peer, sim_announce(peer));
}

static void publish_round(struct sim_process *self) { sim_announce(self); }

static void stage_dropper(void)
{
    stage_round();
    ann = sim_member(1, 0, policy);
}

void sim_test_generation_comes_round(void)
{
    static const struct sim_stop stops[] = {
        { stage_round, hear, come_round, NULL, SIM_GOES_ON },
        { stage_dropper, publish_round, come_round, NULL, SIM_GOES_ON },
    };

    for (uint32_t i = 0; i < 2 * SIM_COUNT(stops); i++) {
        others = i % 2;
        sim_stop_everywhere(&stops[i / 2]);
    }
}

/* ---- the recoverers of publishers and subscribers ---- */

static struct sim_process *dead;
static uint64_t publisher_stop;
static bool publisher_ended;

static void recover_dead(struct sim_process *self)
{
    (void)self;
    sim_recover(dead->actor.slot);
}

/* The publisher died after so many accesses; the victim recovers it. */
static void stage_dead_publisher(void)
{
    stage();
    dead = victim;
    publisher_ended = sim_die_after(dead, publish_body, publisher_stop);
}

void sim_test_recoverer_of_publisher(void)
{
    static const struct sim_stop stops[] = {
        { stage_dead_publisher, recover_dead, ann_comes_again, NULL, SIM_GOES_ON },
        { stage_dead_publisher, recover_dead, others_go_on, NULL, SIM_GOES_ON },
        { stage_dead_publisher, recover_dead, others_go_on, NULL, SIM_DIES },
    };

    policy = SHMQ_POLICY_BLOCK;
    queued = 1;
    for (publisher_stop = 0, publisher_ended = false; !publisher_ended; publisher_stop++)
        for (uint32_t i = 0; i < SIM_COUNT(stops); i++)
            sim_stop_everywhere(&stops[i]);
}

/* What the dead one had published has been received meanwhile, and the block is being published by another. */
static void stage_published_again(void)
{
    queued = 0;
    stage();
    unsubscribe(bob);
    dead = peer;
    SIM_AS(dead, sim_announce(dead));
    sim_slay(dead);
}

static void publish_the_block_again(void)
{
    uint32_t block = SIM_AS(ann, sim_hear(ann) == SHMQ_OK ? ann->held[ann->held_count - 1].hold.block : 0);

    SIM_AS(ann, sim_do_release(ann, ann->held_count - 1));
    sim_impersonate(SIM_ROOT);
    SIM_CHECK(sim_spawn(publish_body, ann) == 1, "who publishes again is the second fibre");
    sim_run_to(1, SHMQ_S2);
    SIM_CHECK(shmq_block_state(sim_map.block[block].word) == SHMQ_STATE_FANOUT, "another block was published");
}

static void hear_it(void)
{
    sim_run(1, SIM_FOREVER);
    SIM_CHECK(SIM_AS(ann, sim_hear(ann)) == SHMQ_OK, "what a living process publishes was taken back");
}

void sim_test_recoverer_beside_publisher(void)
{
    static const struct sim_stop stop = { stage_published_again, recover_dead, publish_the_block_again, hear_it,
        SIM_GOES_ON };

    policy = SHMQ_POLICY_BLOCK;
    sim_stop_everywhere(&stop);
}

/* It holds one message, and another waits for it. */
static void stage_dead_subscriber(void)
{
    policy = SHMQ_POLICY_BLOCK;
    queued = 2;
    stage();
    SIM_AS(ann, sim_hear(ann));
    dead = ann;
    sim_slay(ann);
}

static void others_go_on_without_ann(void)
{
    SIM_AS(peer, sim_announce(peer));
    take_all(bob);
    SIM_AS(bob, sim_do_subscribe(bob, 1, 0, 2, policy));
    SIM_AS(peer, sim_announce(peer));
}

void sim_test_recoverer_of_subscriber(void)
{
    static const struct sim_stop stops[] = { SIM_FATES(stage_dead_subscriber, recover_dead, others_go_on_without_ann) };

    for (uint32_t i = 0; i < SIM_COUNT(stops); i++)
        sim_stop_everywhere(&stops[i]);
}

/* A subscriber that also publishes died on its way; the victim recovers it and dies, too. */
static uint64_t subscriber_stop;
static bool subscriber_ended;

static void hear_body(void *argument) { hear(argument); }

static void stage_subscriber_died_hearing(void)
{
    policy = SHMQ_POLICY_BLOCK;
    queued = 2;
    stage_subscriber();
    dead = victim;
    subscriber_ended = sim_die_after(dead, hear_body, subscriber_stop);
}

void sim_test_subscriber_and_recoverer_die(void)
{
    static const struct sim_stop stops[] = {
        { stage_subscriber_died_hearing, recover_dead, peer_publishes, NULL, SIM_DIES },
        { stage_subscriber_died_hearing, recover_dead, another_subscribes, NULL, SIM_GOES_ON },
    };

    for (subscriber_stop = 0, subscriber_ended = false; !subscriber_ended; subscriber_stop++)
        for (uint32_t i = 0; i < SIM_COUNT(stops); i++)
            sim_stop_everywhere(&stops[i]);
}
