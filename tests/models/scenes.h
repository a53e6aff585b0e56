/* SPDX-License-Identifier: MIT */
/* The scenes: what two or three threads do at once, and what must hold whatever order they do it in. */
#ifndef SCENES_H
#define SCENES_H

#include "stage.h"

#define W stage.world

static void scene_open(uint32_t depth)
{
    struct shmq_queue_spec spec = { SHMQ_KIND_WORK, SHMQ_POLICY_BLOCK, depth, "work", 0, 0 };

    for (uint32_t i = 0; i < STAGE_ACTORS; i++)
        STAGE_REQUIRE(shmq_queue_open(&W.actor[i], &spec, true, &W.ref[i]) == SHMQ_OK);
}

/* A loan for the actor, filled. */
static void scene_loan(unsigned actor, unsigned hold)
{
    STAGE_REQUIRE(shmq_loan(&W.actor[actor], 1, &W.hold[hold]) == SHMQ_OK);
}

static int scene_send(unsigned actor, unsigned hold)
{
    struct shmq_parcel parcel = { 1, 40 + hold };

    return W.result[hold] = shmq_send(&W.actor[actor], &W.ref[actor], &W.hold[hold], &parcel);
}

/* Receive into `hold`; what was sent has label and payload of its hold. */
static int scene_receive(unsigned actor, unsigned hold)
{
    struct shmq_message *message = &W.message[hold];

    W.result[hold] = shmq_receive(&W.actor[actor], &W.ref[actor], message);
    if (W.result[hold] == SHMQ_OK)
        STAGE_REQUIRE(stage_look(message->hold.block) == message->label);
    return W.result[hold];
}

static void scene_queued(unsigned actor, unsigned hold)
{
    scene_loan(actor, hold);
    stage_fill(W.hold[hold].block, 40 + hold);
    STAGE_REQUIRE(scene_send(actor, hold) == SHMQ_OK);
}

static uint32_t scene_state(unsigned hold)
{
    return shmq_block_state(stage.map.block[W.hold[hold].block].word);
}

/* ---- a message goes from one to the other ---- */

static void handover_set_up(void)
{
    scene_open(64);
    scene_loan(0, 0);
}

static void handover_act(unsigned thread)
{
    if (thread == 0) {
        stage_fill(W.hold[0].block, 40);
        STAGE_REQUIRE(scene_send(0, 0) == SHMQ_OK);
    } else {
        scene_receive(1, 1);
        STAGE_REQUIRE(W.result[1] == SHMQ_OK || W.result[1] == SHMQ_EMPTY);
    }
}

static void handover_check(void)
{
    if (W.result[1] == SHMQ_OK)
        STAGE_REQUIRE(W.message[1].label == 40 && W.message[1].sender_slot == 0);
    STAGE_REQUIRE(shmq_receive(&W.actor[1], &W.ref[1], &W.message[2])
        == (W.result[1] == SHMQ_OK ? SHMQ_EMPTY : SHMQ_OK));
}

/* ---- a block that was received and released is written again by another ---- */

static void reuse_set_up(void)
{
    scene_open(64);
    scene_queued(0, 0);
    for (unsigned i = 1; i < STAGE_GRANULES; i++)
        scene_loan(0, i);
}

static void reuse_act(unsigned thread)
{
    if (thread == 1) {
        STAGE_REQUIRE(scene_receive(1, 1) == SHMQ_OK);
        STAGE_REQUIRE(shmq_release(&W.actor[1], &W.message[1].hold) == SHMQ_OK);
    } else {
        W.result[2] = shmq_loan(&W.actor[0], 1, &W.hold[2]);
        if (W.result[2] == SHMQ_OK) {
            stage_fill(W.hold[2].block, 42);
            scene_send(0, 2);
        }
    }
}

static void reuse_check(void)
{
    STAGE_REQUIRE(scene_state(0) == (W.result[2] == SHMQ_OK ? SHMQ_STATE_QUEUED : SHMQ_STATE_FREE));
    STAGE_REQUIRE(W.actor[0].corrupt + W.actor[1].corrupt == 0);
}

/* ---- two receivers, one message ---- */

static void receivers_set_up(void)
{
    scene_open(64);
    scene_queued(2, 2);
}

static void receivers_act(unsigned thread) { scene_receive(thread, thread); }

static void receivers_check(void)
{
    STAGE_REQUIRE((W.result[0] == SHMQ_OK) + (W.result[1] == SHMQ_OK) == 1);
    STAGE_REQUIRE(shmq_receive(&W.actor[0], &W.ref[0], &W.message[2]) == SHMQ_EMPTY);
}

/* ---- two senders, one queue ---- */

static void senders_set_up(void)
{
    scene_open(64);
    scene_loan(0, 0);
    scene_loan(1, 1);
}

static void senders_act(unsigned thread)
{
    stage_fill(W.hold[thread].block, 40 + thread);
    STAGE_REQUIRE(scene_send(thread, thread) == SHMQ_OK);
}

static void senders_check(void)
{
    STAGE_REQUIRE(shmq_receive(&W.actor[2], &W.ref[2], &W.message[0]) == SHMQ_OK);
    STAGE_REQUIRE(shmq_receive(&W.actor[2], &W.ref[2], &W.message[1]) == SHMQ_OK);
    STAGE_REQUIRE(W.message[0].label + W.message[1].label == 81);
    STAGE_REQUIRE(shmq_receive(&W.actor[2], &W.ref[2], &W.message[2]) == SHMQ_EMPTY);
}

/* ---- depth one: only one message may stand there ---- */

static void depth_set_up(void)
{
    scene_open(1);
    scene_queued(2, 2);
    scene_loan(0, 0);
}

static void depth_act(unsigned thread)
{
    if (thread == 0) {
        stage_fill(W.hold[0].block, 40);
        if (scene_send(0, 0) == SHMQ_OK)
            STAGE_REQUIRE(shmq_block_state(stage_newest(&stage.map.block[W.hold[2].block].word)) != SHMQ_STATE_QUEUED);
    } else if (scene_receive(1, 1) == SHMQ_OK) {
        shmq_release(&W.actor[1], &W.message[1].hold);
    }
}

static void depth_check(void)
{
    STAGE_REQUIRE(W.result[1] == SHMQ_OK && (W.result[0] == SHMQ_OK || W.result[0] == SHMQ_FULL));
    STAGE_REQUIRE(shmq_receive(&W.actor[1], &W.ref[1], &W.message[0])
        == (W.result[0] == SHMQ_OK ? SHMQ_OK : SHMQ_EMPTY));
}

static void depth_two_set_up(void)
{
    scene_open(1);
    scene_loan(0, 0);
    scene_loan(1, 1);
}

static void depth_two_act(unsigned thread)
{
    stage_fill(W.hold[thread].block, 40 + thread);
    scene_send(thread, thread);
}

static void depth_two_check(void)
{
    unsigned second = W.result[1] == SHMQ_OK;

    STAGE_REQUIRE(W.result[second] == SHMQ_OK && W.result[!second] == SHMQ_FULL);
    STAGE_REQUIRE(shmq_receive(&W.actor[2], &W.ref[2], &W.message[2]) == SHMQ_OK
        && W.message[2].label == 40 + second);
    STAGE_REQUIRE(shmq_receive(&W.actor[2], &W.ref[2], &W.message[3]) == SHMQ_EMPTY);
}

/* ---- a slot that a dead taker left: a sender and a receiver clear it at once ---- */

static void stale_set_up(void)
{
    uint64_t *word;

    scene_open(1);
    scene_queued(2, 2);
    word = &stage.map.block[W.hold[2].block].word;
    *word = shmq_block_move(*word, SHMQ_STATE_OWNED, W.ref[2].qid + 1, 2); /* after R1 */
    scene_loan(0, 0);
}

static void stale_act(unsigned thread)
{
    if (thread == 0) {
        stage_fill(W.hold[0].block, 40);
        STAGE_REQUIRE(scene_send(0, 0) == SHMQ_OK);
    } else {
        scene_receive(1, 1);
    }
}

static void stale_check(void)
{
    STAGE_REQUIRE(W.result[1] == SHMQ_OK || W.result[1] == SHMQ_EMPTY);
    STAGE_REQUIRE(shmq_receive(&W.actor[1], &W.ref[1], &W.message[2])
        == (W.result[1] == SHMQ_OK ? SHMQ_EMPTY : SHMQ_OK));
}

/* ---- a send meets the end of its queue ---- */

static void delete_set_up(void)
{
    scene_open(64);
    scene_loan(0, 0);
}

static void delete_act(unsigned thread)
{
    if (thread == 0) {
        stage_fill(W.hold[0].block, 40);
        scene_send(0, 0);
    } else {
        STAGE_REQUIRE(shmq_queue_delete(&W.actor[1], &W.ref[1]) == SHMQ_OK);
    }
}

static void delete_check(void)
{
    if (W.result[0] == SHMQ_OK)
        STAGE_REQUIRE(scene_state(0) == SHMQ_STATE_FREE);
    else
        STAGE_REQUIRE(W.result[0] == SHMQ_CLOSED && scene_state(0) == SHMQ_STATE_OWNED
            && shmq_release(&W.actor[0], &W.hold[0]) == SHMQ_OK);
}

/* ---- a send meets a shut-down: the receiver ends only when nothing is left ---- */

static void shut_act(unsigned thread)
{
    if (thread == 0) {
        stage_fill(W.hold[0].block, 40);
        scene_send(0, 0);
    } else {
        STAGE_REQUIRE(shmq_queue_shut(&W.actor[1], &W.ref[1]) == SHMQ_OK);
    }
}

static void shut_check(void)
{
    STAGE_REQUIRE(shmq_receive(&W.actor[1], &W.ref[1], &W.message[1])
        == (W.result[0] == SHMQ_OK ? SHMQ_OK : SHMQ_SHUT));
    if (W.result[0] != SHMQ_OK)
        STAGE_REQUIRE(W.result[0] == SHMQ_SHUT && scene_state(0) == SHMQ_STATE_OWNED);
}

static void last_act(unsigned thread)
{
    if (thread == 0) {
        stage_fill(W.hold[0].block, 40);
        STAGE_REQUIRE(scene_send(0, 0) == SHMQ_OK);
        STAGE_REQUIRE(shmq_queue_set_shut(&W.ref[0]) == SHMQ_OK);
    } else {
        scene_receive(1, 1);
        STAGE_REQUIRE(W.result[1] != SHMQ_SHUT);
    }
}

static void last_check(void) { STAGE_REQUIRE(W.result[1] == SHMQ_OK || W.result[1] == SHMQ_EMPTY); }

/* ---- sleepers: a wake that is missed is a deadlock ---- */

static void scene_receive_or_sleep(unsigned actor, unsigned hold)
{
    bool slept = false;

    while (scene_receive(actor, hold) == SHMQ_EMPTY) {
        shmq_await_sleep(&stage.map, &W.ref[actor], true, UINT64_MAX);
        slept = true;
    }
    if (slept)
        shmq_await_leave(&stage.map, &W.ref[actor], true);
    STAGE_REQUIRE(W.result[hold] == SHMQ_OK);
}

static void sleeper_act(unsigned thread)
{
    if (thread == 0) {
        stage_fill(W.hold[0].block, 40);
        STAGE_REQUIRE(scene_send(0, 0) == SHMQ_OK);
    } else {
        scene_receive_or_sleep(1, 1);
    }
}

static void sleeper_check(void) { STAGE_REQUIRE(W.result[1] == SHMQ_OK); }

/* Only the wait: it comes to its end whatever the other does, and then what it waited for is there. */
static void wake_act(unsigned thread)
{
    if (thread == 0)
        STAGE_REQUIRE(scene_send(0, 0) == SHMQ_OK);
    else
        shmq_await_sleep(&stage.map, &W.ref[1], true, UINT64_MAX);
}

static void wake_check(void)
{
    STAGE_REQUIRE(shmq_receive(&W.actor[1], &W.ref[1], &W.message[1]) == SHMQ_OK);
}

static void room_act(unsigned thread)
{
    if (thread == 1) {
        STAGE_REQUIRE(scene_receive(1, 1) == SHMQ_OK);
        return;
    }
    stage_fill(W.hold[0].block, 40);
    while (scene_send(0, 0) == SHMQ_FULL)
        shmq_await_sleep(&stage.map, &W.ref[0], false, UINT64_MAX);
}

static void room_check(void) { STAGE_REQUIRE(W.result[0] == SHMQ_OK && W.result[1] == SHMQ_OK); }

static void room_wake_act(unsigned thread)
{
    if (thread == 1)
        STAGE_REQUIRE(scene_receive(1, 1) == SHMQ_OK);
    else
        shmq_await_sleep(&stage.map, &W.ref[0], false, UINT64_MAX);
}

static void room_wake_check(void) { STAGE_REQUIRE(scene_send(0, 0) == SHMQ_OK); }

static void two_sleepers_act(unsigned thread)
{
    if (thread == 2) {
        stage_fill(W.hold[0].block, 40);
        STAGE_REQUIRE(scene_send(2, 0) == SHMQ_OK);
        stage_fill(W.hold[3].block, 43);
        STAGE_REQUIRE(scene_send(2, 3) == SHMQ_OK);
    } else {
        scene_receive_or_sleep(thread, 1 + thread);
    }
}

static void two_sleepers_set_up(void)
{
    scene_open(64);
    scene_loan(2, 0);
    scene_loan(2, 3);
}

static void two_sleepers_check(void) { STAGE_REQUIRE(W.result[1] == SHMQ_OK && W.result[2] == SHMQ_OK); }

static void told_act(unsigned thread)
{
    if (thread == 0) {
        STAGE_REQUIRE(shmq_queue_shut(&W.actor[0], &W.ref[0]) == SHMQ_OK);
        return;
    }
    while (scene_receive(1, 1) == SHMQ_EMPTY)
        shmq_await_sleep(&stage.map, &W.ref[1], true, UINT64_MAX);
}

static void told_check(void) { STAGE_REQUIRE(W.result[1] == SHMQ_SHUT); }

/* ---- publishing ---- */

/* The second subscriber has index `second`. */
static void topic_set_up(unsigned subscribers, uint32_t second)
{
    uint32_t topic = 0;
    uint64_t *entry;

    STAGE_REQUIRE(shmq_topic_open(&W.actor[2], "topic", &topic) == SHMQ_OK);
    entry = stage.map.topic[topic].subscriber;
    for (uint32_t i = 1; i < second; i++)
        entry[i] = UINT64_MAX;
    for (unsigned i = 0; i < subscribers; i++)
        STAGE_REQUIRE(shmq_subscribe(&W.actor[1 - i], topic, 64, SHMQ_POLICY_BLOCK, &W.ref[1 - i]) == SHMQ_OK);
    for (uint32_t i = 1; i < second; i++)
        entry[i] = 0;
    shmq_publisher_init(&W.publisher, topic);
}

static void scene_publish(unsigned actor, unsigned hold)
{
    struct shmq_parcel parcel = { 1, 40 + hold };
    struct shmq_publication publication = {};

    stage_fill(W.hold[hold].block, 40 + hold);
    STAGE_REQUIRE(shmq_publish_start(&W.actor[actor], &W.publisher, &W.hold[hold], &parcel, &publication) == SHMQ_OK);
    STAGE_REQUIRE(shmq_publish_try(&W.actor[actor], &W.publisher, &publication) == SHMQ_OK);
    W.count = publication.reached;
}

static void publish_set_up(void)
{
    topic_set_up(1, 1);
    scene_loan(0, 0);
}

static void publish_act(unsigned thread)
{
    if (thread == 0)
        scene_publish(0, 0);
    else if (scene_receive(1, 1) == SHMQ_OK)
        STAGE_REQUIRE(shmq_release(&W.actor[1], &W.message[1].hold) == SHMQ_OK);
}

static void publish_check(void)
{
    STAGE_REQUIRE(W.count == 1);
    if (W.result[1] != SHMQ_OK)
        STAGE_REQUIRE(shmq_receive(&W.actor[1], &W.ref[1], &W.message[1]) == SHMQ_OK
            && shmq_release(&W.actor[1], &W.message[1].hold) == SHMQ_OK);
    STAGE_REQUIRE(shmq_receive(&W.actor[1], &W.ref[1], &W.message[1]) == SHMQ_EMPTY);
    STAGE_REQUIRE(W.actor[1].cache.blocks || scene_state(0) == SHMQ_STATE_FREE);
}

static void publish_receive_act(unsigned thread)
{
    if (thread == 0)
        scene_publish(0, 0);
    else
        scene_receive(1, 1);
}

static void publish_receive_check(void)
{
    STAGE_REQUIRE(W.count == 1 && (W.result[1] == SHMQ_OK || W.result[1] == SHMQ_EMPTY));
    STAGE_REQUIRE(shmq_receive(&W.actor[1], &W.ref[1], &W.message[2])
        == (W.result[1] == SHMQ_OK ? SHMQ_EMPTY : SHMQ_OK));
}

static void unsubscribe_act(unsigned thread)
{
    if (thread == 0)
        scene_publish(0, 0);
    else
        STAGE_REQUIRE(shmq_unsubscribe(&W.actor[1], &W.ref[1]) == SHMQ_OK);
}

static void unsubscribe_check(void)
{
    STAGE_REQUIRE(scene_state(0) == SHMQ_STATE_FREE);
    STAGE_REQUIRE(W.actor[0].corrupt + W.actor[1].corrupt == 0);
}

/* Two subscribers hold one message. */
static void scene_held(uint32_t second)
{
    topic_set_up(2, second);
    scene_loan(2, 0);
    scene_publish(2, 0);
    STAGE_REQUIRE(W.count == 2 && scene_receive(0, 2) == SHMQ_OK && scene_receive(1, 3) == SHMQ_OK);
    for (unsigned i = 1; i < STAGE_GRANULES; i++)
        STAGE_REQUIRE(shmq_loan(&W.actor[2], 1, &W.hold[1]) == SHMQ_OK);
}

static void held_set_up(void) { scene_held(1); }
static void held_apart_set_up(void) { scene_held(SHMQ_TICKETS); }

/* Both look at it and release it; who is the last frees it, and whoever then gets the block may write. */
static void last_ticket_act(unsigned thread)
{
    uint32_t block = W.hold[0].block;

    STAGE_REQUIRE(stage_look(block) == 40);
    STAGE_REQUIRE(shmq_release(&W.actor[thread], &W.message[2 + thread].hold) == SHMQ_OK);
    W.result[thread] = shmq_loan(&W.actor[thread], 1, &W.hold[2 + thread]);
    if (W.result[thread] == SHMQ_OK)
        stage_fill(block, 50 + thread);
}

static void last_ticket_check(void)
{
    STAGE_REQUIRE((W.result[0] == SHMQ_OK) + (W.result[1] == SHMQ_OK) == 1);
    STAGE_REQUIRE(W.actor[0].corrupt + W.actor[1].corrupt == 0);
}

static void give_back_act(unsigned thread)
{
    STAGE_REQUIRE(stage_look(W.hold[0].block) == 40);
    STAGE_REQUIRE(shmq_release(&W.actor[thread], &W.message[2 + thread].hold) == SHMQ_OK);
}

static void give_back_check(void)
{
    STAGE_REQUIRE(scene_state(0) == SHMQ_STATE_FREE && W.actor[0].corrupt + W.actor[1].corrupt == 0);
    STAGE_REQUIRE(shmq_loan(&W.actor[2], 1, &W.hold[1]) == SHMQ_OK && W.hold[1].block == W.hold[0].block);
}

static void edit_act(unsigned thread)
{
    uint32_t block = W.hold[0].block;

    STAGE_REQUIRE(stage_look(block) == 40);
    if (thread == 0)
        STAGE_REQUIRE(shmq_release(&W.actor[0], &W.message[2].hold) == SHMQ_OK);
    else if ((W.result[1] = shmq_edit(&W.actor[1], &W.message[3].hold)) == SHMQ_OK)
        stage_fill(block, 51);
}

static void edit_check(void)
{
    STAGE_REQUIRE(W.result[1] == SHMQ_OK || W.result[1] == SHMQ_SHARED_BLOCK);
    STAGE_REQUIRE(shmq_release(&W.actor[1], &W.message[3].hold) == SHMQ_OK && scene_state(0) == SHMQ_STATE_FREE);
}

/* ---- what a dead receiver held ---- */

static struct shmq_closer scene_closer;

/* Actor 2 died holding a message, before it had looked at it. */
static void requeue_set_up(void)
{
    scene_open(64);
    scene_queued(0, 0);
    STAGE_REQUIRE(scene_receive(2, 2) == SHMQ_OK);
}

static void scene_requeue(void)
{
    uint32_t block = W.hold[0].block;

    memset(scene_closer.requeued, 0, sizeof scene_closer.requeued);
    scene_closer.as = &W.actor[2];
    shmq_closer_settle_held(&scene_closer, block, W.message[2].hold.word, W.ref[2].qid);
    shmq_closer_announce(&scene_closer);
}

static void requeue_act(unsigned thread)
{
    if (thread == 0)
        scene_requeue();
    else if (scene_receive(1, 1) == SHMQ_OK)
        stage_fill(W.hold[0].block, 41); /* nobody else has it */
}

static void requeue_check(void)
{
    if (W.result[1] != SHMQ_OK)
        STAGE_REQUIRE(W.result[1] == SHMQ_EMPTY && shmq_receive(&W.actor[1], &W.ref[1], &W.message[1]) == SHMQ_OK);
    STAGE_REQUIRE(W.message[1].deliveries == 1);
    STAGE_REQUIRE(shmq_receive(&W.actor[1], &W.ref[1], &W.message[1]) == SHMQ_EMPTY);
}

static void requeue_sleeper_act(unsigned thread)
{
    if (thread == 0)
        scene_requeue();
    else
        scene_receive_or_sleep(1, 1);
}

static void requeue_wake_act(unsigned thread)
{
    if (thread == 0)
        scene_requeue();
    else
        shmq_await_sleep(&stage.map, &W.ref[1], true, UINT64_MAX);
}

static void requeue_delete_act(unsigned thread)
{
    if (thread == 0)
        scene_requeue();
    else
        STAGE_REQUIRE(shmq_queue_delete(&W.actor[1], &W.ref[1]) == SHMQ_OK);
}

static void requeue_delete_check(void) { STAGE_REQUIRE(scene_state(0) == SHMQ_STATE_FREE); }

static void requeued_set_up(void)
{
    requeue_set_up();
    scene_requeue();
}

static void requeued_act(unsigned thread)
{
    if (scene_receive(thread, thread) == SHMQ_OK)
        stage_fill(W.hold[0].block, 41);
}

/* ---- counts ---- */

static void count_set_up(void) { scene_open(64); }
static void count_act(unsigned thread) { shmq_queue_count_drop(&W.ref[thread]); }
static void count_check(void) { STAGE_REQUIRE(shmq_queue_dropped(&W.ref[0]) == 2); }

/* ---- three at once ---- */

static void trio_set_up(void)
{
    scene_open(64);
    scene_loan(0, 0);
    scene_loan(1, 1);
}

static void trio_act(unsigned thread)
{
    if (thread == 2)
        scene_receive(2, 2);
    else
        senders_act(thread);
}

static void trio_check(void)
{
    int got = W.result[2] == SHMQ_OK;

    while (shmq_receive(&W.actor[2], &W.ref[2], &W.message[3]) == SHMQ_OK)
        got++;
    STAGE_REQUIRE(got == 2);
}

static void crowd_act(unsigned thread)
{
    if (thread == 0)
        handover_act(0);
    else
        scene_receive(thread, thread);
}

static void crowd_check(void)
{
    int got = (W.result[1] == SHMQ_OK) + (W.result[2] == SHMQ_OK);

    while (shmq_receive(&W.actor[1], &W.ref[1], &W.message[3]) == SHMQ_OK)
        got++;
    STAGE_REQUIRE(got == 1);
}

#undef W

/* name, threads, preemptions at most (ALL: every schedule), in `orders full`, parts */
#define ALL (-1)
static const struct stage_scene scenes[] = {
    { "hand over", 2, ALL, ALL, handover_set_up, handover_act, handover_check },
    { "reuse", 2, ALL, ALL, reuse_set_up, reuse_act, reuse_check },
    { "two receivers", 2, ALL, ALL, receivers_set_up, receivers_act, receivers_check },
    { "two senders", 2, ALL, ALL, senders_set_up, senders_act, senders_check },
    { "depth one", 2, ALL, ALL, depth_set_up, depth_act, depth_check },
    { "two senders, depth one", 2, ALL, ALL, depth_two_set_up, depth_two_act, depth_two_check },
    { "stale slot", 2, ALL, ALL, stale_set_up, stale_act, stale_check },
    { "send and delete", 2, ALL, ALL, delete_set_up, delete_act, delete_check },
    { "send and shut down", 2, ALL, ALL, delete_set_up, shut_act, shut_check },
    { "the last message", 2, ALL, ALL, handover_set_up, last_act, last_check },
    { "sleeping receiver", 2, 4, 10, handover_set_up, sleeper_act, sleeper_check },
    { "a receiver is woken", 2, ALL, ALL, handover_set_up, wake_act, wake_check },
    { "sleeping sender", 2, 4, 9, depth_set_up, room_act, room_check },
    { "a sender is woken", 2, 4, ALL, depth_set_up, room_wake_act, room_wake_check },
    { "sleeper is told", 2, ALL, ALL, count_set_up, told_act, told_check },
    { "publish", 2, ALL, ALL, publish_set_up, publish_act, publish_check },
    { "publish and receive", 2, ALL, ALL, publish_set_up, publish_receive_act, publish_receive_check },
    { "publish and unsubscribe", 2, 4, 9, publish_set_up, unsubscribe_act, unsubscribe_check },
    { "two give back", 2, ALL, ALL, held_set_up, give_back_act, give_back_check },
    { "two give back in two words", 2, 5, ALL, held_apart_set_up, give_back_act, give_back_check },
    { "last ticket", 2, 3, 8, held_set_up, last_ticket_act, last_ticket_check },
    { "last tickets of two words", 2, 3, 8, held_apart_set_up, last_ticket_act, last_ticket_check },
    { "edit", 2, ALL, ALL, held_set_up, edit_act, edit_check },
    { "requeue", 2, ALL, ALL, requeue_set_up, requeue_act, requeue_check },
    { "requeue and a sleeper", 2, 3, ALL, requeue_set_up, requeue_sleeper_act, sleeper_check },
    { "requeue wakes", 2, ALL, ALL, requeue_set_up, requeue_wake_act, wake_check },
    { "requeue and delete", 2, ALL, ALL, requeue_set_up, requeue_delete_act, requeue_delete_check },
    { "two receivers, one requeued", 2, ALL, ALL, requeued_set_up, requeued_act, receivers_check },
    { "drops are counted", 2, ALL, ALL, count_set_up, count_act, count_check },
    { "two senders, a receiver", 3, 2, 3, trio_set_up, trio_act, trio_check },
    { "a sender, two receivers", 3, 2, 3, handover_set_up, crowd_act, crowd_check },
    { "two sleepers, two messages", 3, 1, 2, two_sleepers_set_up, two_sleepers_act, two_sleepers_check },
};
#undef ALL
#define SCENES (sizeof scenes / sizeof scenes[0])

#endif
