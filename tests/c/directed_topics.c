/* SPDX-License-Identifier: MIT */
/* Directed tests: topics and their names, subscriber indices, and who may edit what was published. */
#include "sim_directed_tests.h"

static struct sim_process *const victim = &sim_processes[SIM_VICTIM];
static struct sim_process *ann, *bob, *peer;

/* The victim and bob subscribe, a peer publishes; one message waits for both. */
static void stage_unheard_by_all(void)
{
    sim_stage_topics(32);
    sim_member(SIM_VICTIM, 2, SHMQ_POLICY_BLOCK);
    bob = sim_member(2, 2, SHMQ_POLICY_BLOCK);
    peer = sim_member(3, 0, SHMQ_POLICY_BLOCK);
    SIM_AS(peer, sim_announce(peer));
}

static void stage_held(void)
{
    stage_unheard_by_all();
    SIM_AS(victim, sim_hear(victim));
    SIM_AS(bob, sim_hear(bob));
}

static void bob_releases(void) { SIM_AS(bob, sim_do_release(bob, 0)); }

static void peer_publishes(void)
{
    SIM_AS(peer, sim_announce(peer));
    SIM_AS(peer, sim_announce(peer));
}

/* ---- editing: only who is alone ---- */

static void edit(struct sim_process *self)
{
    if (sim_do_edit(self, 0) == SHMQ_OK)
        sim_do_return(self, self->loan_count - 1);
}

static void edit_and_publish(struct sim_process *self)
{
    if (sim_do_edit(self, 0) == SHMQ_OK)
        sim_do_publish(self, self->loan_count - 1, 0, 0);
}

static void stage_alone(void)
{
    stage_held();
    bob_releases();
}

/* The others hold theirs, want theirs, and have yet to get theirs. */
static void stage_unheard(void)
{
    stage_unheard_by_all();
    SIM_AS(victim, sim_hear(victim));
}

static void bob_hears(void)
{
    SIM_CHECK(SIM_AS(bob, sim_hear(bob)) == SHMQ_OK, "bob hears nothing");
    sim_ledger_check(bob->held_id[0], "while another edits");
}

static void bob_hears_and_releases(void)
{
    bob_hears();
    bob_releases();
    SIM_AS(peer, sim_announce(peer));
}

void sim_test_editor_is_alone(void)
{
    static const struct sim_stop stops[] = {
        SIM_FATES(stage_alone, edit, peer_publishes), SIM_FATES(stage_alone, edit_and_publish, peer_publishes),
        SIM_FATES(stage_held, edit, bob_releases), SIM_FATES(stage_held, edit_and_publish, bob_releases),
        SIM_FATES(stage_unheard, edit, bob_hears), SIM_FATES(stage_unheard, edit_and_publish, bob_hears_and_releases),
    };

    for (uint32_t i = 0; i < SIM_COUNT(stops); i++)
        sim_stop_everywhere(&stops[i]);
}

/* While a publisher is stopped between two posts, who has got the message does not have it alone. */
static int edited;

static void ann_edits(void)
{
    edited = SHMQ_EMPTY;
    if (SIM_AS(ann, sim_hear(ann)) == SHMQ_OK) {
        edited = sim_do_edit(ann, 0);
        if (edited == SHMQ_OK)
            sim_do_return(ann, 0);
    }
}

static void check_not_alone(void)
{
    SIM_CHECK(edited != SHMQ_OK, "a message is edited in place that another is still to get");
}

static void stage_publisher(void)
{
    sim_stage_topics(32);
    ann = sim_member(1, 2, SHMQ_POLICY_BLOCK);
    bob = sim_member(2, 2, SHMQ_POLICY_BLOCK);
    sim_member(SIM_VICTIM, 0, SHMQ_POLICY_BLOCK);
}

static void publish(struct sim_process *self) { sim_announce(self); }

void sim_test_editor_beside_publisher(void)
{
    static const struct sim_stop stops[] = {
        { stage_publisher, publish, ann_edits, check_not_alone, SIM_GOES_ON },
        { stage_publisher, publish, ann_edits, NULL, SIM_DIES_RECOVERED },
    };

    for (uint32_t i = 0; i < SIM_COUNT(stops); i++)
        sim_stop_everywhere(&stops[i]);
}

/* ---- subscriber indices ---- */

/* The victim unsubscribes while it holds a message; whoever subscribes meanwhile has another index. */
static void unsubscribe(struct sim_process *self) { sim_do_unsubscribe(self, 0); }

static void unsubscribe_in_full(struct sim_process *self)
{
    sim_do_unsubscribe(self, 0);
    sim_do_release(self, 0);
    sim_do_unsubscribe(self, 0);
}

static void bob_subscribes_again(void)
{
    uint32_t index = victim->subscription[0].ref.index;

    SIM_AS(bob, SIM_CHECK(sim_do_subscribe(bob, 1, 0, 1, SHMQ_POLICY_BLOCK) == SHMQ_OK, "subscribing failed"));
    SIM_CHECK(!victim->held_count || bob->subscription[1].ref.index != index,
        "a subscriber index is used again while a message is held under it");
    SIM_AS(peer, sim_announce(peer));
}

void sim_test_index_while_held(void)
{
    static const struct sim_stop stops[] = {
        SIM_FATES(stage_held, unsubscribe, peer_publishes), SIM_FATES(stage_held, unsubscribe_in_full, peer_publishes),
        { stage_held, unsubscribe, bob_subscribes_again, NULL, SIM_GOES_ON },
        { stage_held, unsubscribe_in_full, bob_subscribes_again, NULL, SIM_GOES_ON },
    };

    for (uint32_t i = 0; i < SIM_COUNT(stops); i++)
        sim_stop_everywhere(&stops[i]);
}

/* Subscribing, with so many indices free, while another subscribes or leaves. */
static uint32_t free_indices;

static void stage_crowded(void)
{
    sim_stage_topics(32);
    sim_world_crowd(0);
    for (uint32_t i = 0; i < free_indices; i++)
        sim_map.topic[0].subscriber[23 + 48 * i] = 0; /* in different words */
    bob = sim_member(2, 0, SHMQ_POLICY_BLOCK);
    peer = sim_member(3, 0, SHMQ_POLICY_BLOCK);
    sim_member(SIM_VICTIM, 0, SHMQ_POLICY_BLOCK);
}

static int subscribed;

static void subscribe(struct sim_process *self)
{
    subscribed = sim_do_subscribe(self, 0, 0, 1, SHMQ_POLICY_BLOCK);
}

static void bob_subscribes(void)
{
    SIM_AS(bob, sim_do_subscribe(bob, 0, 0, 1, SHMQ_POLICY_DROP_OLDEST));
    peer_publishes();
}

static void bob_subscribes_and_leaves(void)
{
    bob_subscribes();
    SIM_AS(bob, sim_do_unsubscribe(bob, 0));
}

static void check_subscribed(void)
{
    uint32_t taken = 0;

    for (uint32_t qid = 0; qid < sim_map.geometry.queues; qid++)
        taken += sim_map.queue[qid].flags & SHMQ_QUEUE_USED ? 1 : 0;
    SIM_CHECK(subscribed != SHMQ_NO_INDEX || taken == (bob->subscription[0].state != SIM_UNSUBSCRIBED),
        "who found no index keeps a queue");
    SIM_CHECK(subscribed == SHMQ_OK || free_indices < 2, "no index is found where one is free");
}

void sim_test_no_index_left(void)
{
    static const struct sim_stop stops[] = {
        { stage_crowded, subscribe, bob_subscribes, check_subscribed, SIM_GOES_ON },
        { stage_crowded, subscribe, bob_subscribes_and_leaves, check_subscribed, SIM_GOES_ON },
        { stage_crowded, subscribe, bob_subscribes_and_leaves, NULL, SIM_DIES },
        { stage_crowded, subscribe, bob_subscribes, NULL, SIM_DIES_RECOVERED },
    };

    for (free_indices = 0; free_indices < 3; free_indices++)
        for (uint32_t i = 0; i < SIM_COUNT(stops); i++)
            sim_stop_everywhere(&stops[i]);
}

/* The count of indices in use covers all, whoever raises it last. */
static void stage_unsubscribed(void)
{
    sim_stage_topics(32);
    bob = sim_member(2, 0, SHMQ_POLICY_BLOCK);
    peer = sim_member(3, 0, SHMQ_POLICY_BLOCK);
    sim_member(SIM_VICTIM, 0, SHMQ_POLICY_BLOCK);
}

static void bob_subscribes_twice(void)
{
    SIM_AS(bob, sim_do_subscribe(bob, 0, 0, 1, SHMQ_POLICY_BLOCK));
    sim_do_subscribe(bob, 1, 0, 1, SHMQ_POLICY_BLOCK);
    sim_do_unsubscribe(bob, 0); /* so that its index is free for the victim */
}

static void check_all_met(void)
{
    uint32_t subscribers = victim->attached ? 2 : 1;

    SIM_CHECK(SIM_AS(peer, sim_announce(peer)) >= subscribers,
        "a subscriber is not met by who publishes after it came");
}

/* Whoever looks through the indices in use meets each entry, also that of a subscription that is still being made. */
static void check_covered(void)
{
    const struct shmq_topic *topic = &sim_map.topic[0];

    for (uint32_t index = 0; index < SHMQ_MAX_SUBSCRIBERS; index++)
        SIM_CHECK(!topic->subscriber[index] || index < topic->indices, "entry %u lies beyond the %llu in use", index,
            (unsigned long long)topic->indices);
}

void sim_test_subscribers_come_at_once(void)
{
    static const struct sim_stop stops[] = {
        { stage_unsubscribed, subscribe, check_covered, NULL, SIM_GOES_ON },
        { stage_unsubscribed, subscribe, bob_subscribes_twice, check_all_met, SIM_GOES_ON },
        { stage_unsubscribed, subscribe, bob_subscribes_twice, check_all_met, SIM_DIES },
        { stage_unsubscribed, subscribe, bob_subscribes_twice, check_all_met, SIM_DIES_RECOVERED },
    };

    for (uint32_t i = 0; i < SIM_COUNT(stops); i++)
        sim_stop_everywhere(&stops[i]);
}

/* ---- the names and numbers of topics ---- */

static void stage_no_topic(void)
{
    sim_stage_topics(16);
    sim_play(SIM_VICTIM);
    bob = sim_play(2);
    peer = sim_play(3);
}

static void open_topic(struct sim_process *self) { sim_do_topic(self, 0); }

static void bob_opens_the_same(void) { SIM_AS(bob, sim_do_topic(bob, 0)); }

static void bob_opens_another(void)
{
    SIM_AS(bob, sim_do_topic(bob, 1));
    SIM_AS(peer, sim_do_topic(peer, 0));
}

static void check_one_number(void)
{
    if (!bob->knows_topic[0])
        return;
    SIM_CHECK(SIM_AS(peer, sim_do_topic(peer, 0)) == SHMQ_OK
            && sim_publisher(peer, 0)->topic == sim_publisher(bob, 0)->topic, "one topic has two numbers");
    if (victim->attached)
        SIM_CHECK(sim_publisher(victim, 0)->topic == sim_publisher(bob, 0)->topic, "one topic has two numbers");
}

void sim_test_topic_has_one_number(void)
{
    static const struct sim_stop stops[] = {
        { stage_no_topic, open_topic, bob_opens_the_same, check_one_number, SIM_GOES_ON },
        { stage_no_topic, open_topic, bob_opens_the_same, check_one_number, SIM_DIES },
        { stage_no_topic, open_topic, bob_opens_the_same, check_one_number, SIM_DIES_RECOVERED },
        SIM_FATES(stage_no_topic, open_topic, bob_opens_another),
    };

    for (uint32_t i = 0; i < SIM_COUNT(stops); i++)
        sim_stop_everywhere(&stops[i]);
}

/* dir names the topic of a maker that died; while the victim helps, the maker is recovered and its record made another
 * topic's. */
static void open_body(void *argument) { open_topic(argument); }

static void stage_pending_topic(void)
{
    int maker;

    sim_stage_topics(16);
    bob = sim_play(2);
    peer = sim_play(3);
    ann = sim_play(1);
    sim_play(SIM_VICTIM);
    sim_impersonate(SIM_ROOT);
    sim_spawn(open_body, victim);
    maker = sim_spawn(open_body, ann);
    sim_run_to(maker, SHMQ_Q_TOPIC_OPEN);
    sim_kill(maker);
    sim_slay(ann);
    sim_reset(1);
}

static void recover_and_make_another(void)
{
    sim_recover_all();
    SIM_AS(bob, sim_do_topic(bob, 1));
    SIM_AS(peer, sim_do_topic(peer, 0));
}

static void open_second(struct sim_process *self) { sim_do_topic(self, 1); }

static void recover_maker(struct sim_process *self)
{
    (void)self;
    sim_recover(ann->actor.slot);
}

void sim_test_helper_of_former_topic(void)
{
    static const struct sim_stop stops[] = {
        { stage_pending_topic, open_topic, recover_and_make_another, NULL, SIM_GOES_ON },
        { stage_pending_topic, open_second, recover_and_make_another, NULL, SIM_GOES_ON },
        SIM_FATES(stage_pending_topic, recover_maker, bob_opens_the_same),
        SIM_FATES(stage_pending_topic, recover_maker, bob_opens_another),
        SIM_FATES(stage_pending_topic, open_topic, bob_opens_another),
    };

    for (uint32_t i = 0; i < SIM_COUNT(stops); i++)
        sim_stop_everywhere(&stops[i]);
}
