/* SPDX-License-Identifier: MIT */
/* Directed tests: queues that are closed, drained and shut down behind somebody's back. */
#include "sim_directed_tests.h"

static struct sim_process *const victim = &sim_processes[SIM_VICTIM];
static struct sim_process *owner, *peer, *other;
static struct shmq_queue_ref old_ref;
static uint32_t old_depth;
static int result;

static void stage_alpha_in_use(void)
{
    peer = sim_stage_alpha(old_depth);
    old_ref = peer->named[SIM_ALPHA].ref;
}

static void send_old(struct sim_process *self) { result = sim_post(self, &old_ref); }

/* ---- D4: a queue is closed while messages of it are held ---- */

static void stage_inbox(void)
{
    sim_stage(32);
    owner = sim_player(SIM_VICTIM, 2);
    peer = sim_player(1, 2);
    sim_post(peer, &owner->inbox);
    sim_post(peer, &owner->inbox);
    SIM_AS(owner, sim_fetch(owner, &owner->inbox));
}

static void close_inbox(struct sim_process *self) { sim_do_close_inbox(self); }

static void close_release_reopen(struct sim_process *self)
{
    sim_do_close_inbox(self);
    sim_do_release(self, 0);
    sim_do_close_inbox(self);
    sim_do_open_inbox(self, 3);
}

static void send_to_inbox_behind(void)
{
    result = SIM_AS(peer, sim_post(peer, &owner->inbox));
}

/* While something of it is held the record is taken. */
static void check_record_taken(void)
{
    struct shmq_queue_ref ref;

    if (!owner->attached || !owner->held_count)
        return;
    SIM_CHECK(shmq_flags_bits(owner->inbox.queue->flags) & SHMQ_QUEUE_USED,
        "the record of a queue with a held message is free");
    SIM_AS(owner, result = shmq_queue_open_inbox(&owner->actor, "owner", 2, &ref));
    SIM_CHECK(result == SHMQ_IN_USE, "the record of a queue with a held message could be taken: %d", result);
}

void sim_test_close_with_held(void)
{
    static const struct sim_stop goes_on = { stage_inbox, close_inbox, send_to_inbox_behind, check_record_taken,
        SIM_GOES_ON };
    static const struct sim_stop dies = { stage_inbox, close_inbox, NULL, check_record_taken, SIM_DIES };
    static const struct sim_stop finishes = { stage_inbox, close_release_reopen, send_to_inbox_behind, NULL,
        SIM_GOES_ON };
    static const struct sim_stop finishes_dead = { stage_inbox, close_release_reopen, send_to_inbox_behind, NULL,
        SIM_DIES };

    sim_stop_everywhere(&goes_on);
    sim_stop_everywhere(&dies);
    sim_stop_everywhere(&finishes);
    sim_stop_everywhere(&finishes_dead);
}

/* ---- D10: the recoverer of a dead sender, and the queue is re-made meanwhile ---- */

static void stage_dead_poster(void)
{
    sim_stage(16);
    sim_play(SIM_VICTIM);
    owner = sim_player(1, 2);
    peer = sim_player(2, 2);
    other = sim_player(3, 2);
    SIM_AS(peer, sim_post(peer, &owner->inbox));
    SIM_AS(peer, sim_post(peer, &peer->named[SIM_ALPHA].ref));
    sim_slay(peer);
}

static void recover_peer(struct sim_process *self)
{
    (void)self;
    sim_recover(peer->actor.slot);
}

static void remake_both(void)
{
    SIM_AS(owner, sim_do_close_inbox(owner));
    sim_do_open_inbox(owner, 1);
    sim_remake_alpha(other, 1);
    SIM_AS(other, sim_post(other, &owner->inbox));
}

void sim_test_recoverer_of_poster(void)
{
    static const struct sim_stop goes_on = { stage_dead_poster, recover_peer, remake_both, NULL, SIM_GOES_ON };
    static const struct sim_stop dies = { stage_dead_poster, recover_peer, remake_both, NULL, SIM_DIES };

    sim_stop_everywhere(&goes_on);
    sim_stop_everywhere(&dies);
}

/* As D10, but the queue is closing already when the recoverer looks, and its drain takes what the recoverer judges. */
static void recover_peer_body(void *argument) { recover_peer(argument); }

static void delete_alpha_body(void *argument) { sim_do_delete(argument, SIM_ALPHA); }

static void stage_closing_target(void)
{
    sim_stage(16);
    sim_player(SIM_VICTIM, 2);
    other = sim_player(1, 2);
    peer = sim_player(2, 2);
    SIM_AS(peer, sim_post(peer, &peer->named[SIM_ALPHA].ref));
    sim_slay(peer);
    sim_spawn(recover_peer_body, victim);
    SIM_CHECK(sim_spawn(delete_alpha_body, other) == 1, "who deletes is the second fibre");
    sim_run_to(1, SHMQ_QC2);
}

/* The recoverer stops everywhere; `deleter` goes on to its end, and the next queue in that record gets a message, with
 * the block that the drain has freed, if it has. */
static void stop_beside_delete(void (*set_up)(void), int deleter)
{
    bool ended = false;

    for (uint64_t accesses = 0; !ended; accesses++) {
        sim_stopped(accesses, 0);
        set_up();
        ended = sim_run(SIM_VICTIM, accesses) == SIM_FINISHED;
        sim_run(deleter, SIM_FOREVER);
        sim_impersonate(other->fibre);
        SIM_CHECK(sim_do_open(other, SIM_ALPHA, 2, true) == SHMQ_OK, "a deleted queue is made again");
        sim_post(other, &other->named[SIM_ALPHA].ref);
        sim_impersonate(SIM_ROOT);
        sim_run(SIM_VICTIM, SIM_FOREVER);
        sim_wind_up();
    }
}

void sim_test_recoverer_beside_drain(void) { stop_beside_delete(stage_closing_target, 1); }

/* The sender posts only after the drain of a deleted queue has passed the slot, and dies. Who looks at the ring first,
 * and then at the flags of the next queue in that record, would leave the block queued for nobody. */
static void post_to_old_body(void *argument) { sim_post(argument, &old_ref); }

static void stage_undrained(void)
{
    sim_stage(16);
    sim_player(SIM_VICTIM, 2);
    peer = sim_player(1, 2);
    other = sim_player(2, 2);
    old_ref = other->named[SIM_ALPHA].ref;
    sim_spawn(recover_peer_body, victim);
    SIM_CHECK(sim_spawn(post_to_old_body, peer) == 1, "the sender is the second fibre");
    SIM_CHECK(sim_spawn(delete_alpha_body, other) == 2, "who deletes is the third fibre");
    sim_run_to(1, SHMQ_S2);
    sim_run_to(2, SHMQ_QC4);
    sim_run(1, 1);
    sim_kill(1);
    sim_slay(peer);
}

void sim_test_recoverer_before_next_queue(void) { stop_beside_delete(stage_undrained, 2); }

/* As D10, but the poster dies between S1 and its take-back while its target is closed behind it. */
static void stage_poster(void)
{
    sim_stage(16);
    sim_player(SIM_VICTIM, 2);
    owner = sim_player(1, 2);
    other = sim_player(2, 2);
    old_ref = owner->inbox;
}

static void kill_and_close(void)
{
    SIM_AS(owner, sim_do_close_inbox(owner));
    sim_do_open_inbox(owner, 4);
    sim_impersonate(SIM_ROOT);
    sim_kill(SIM_VICTIM);
    sim_slay(victim);
}

void sim_test_poster_dies_after_close(void)
{
    static const struct sim_stop stop = { stage_poster, send_old, kill_and_close, NULL, SIM_GOES_ON };

    sim_stop_everywhere(&stop);
}

/* The sender posts only after the queue was closed and drained, and dies before it looks (S3). The recoverer has known
 * the queue while it was open. */
static void stage_late_poster(void)
{
    sim_stage(16);
    sim_player(SIM_VICTIM, 2);
    peer = sim_player(1, 2);
    other = sim_player(2, 2);
    old_ref = other->named[SIM_ALPHA].ref;
}

static void look_then_recover(struct sim_process *self)
{
    sim_fetch(self, &old_ref);
    sim_recover(peer->actor.slot);
}

static void post_late_and_die(void)
{
    int poster = sim_spawn(post_to_old_body, peer);

    SIM_CHECK(&sim_processes[poster] == peer, "the poster is the second fibre");
    sim_run_to(poster, SHMQ_S2);
    SIM_AS(other, sim_do_delete(other, SIM_ALPHA));
    sim_run(poster, 1);
    sim_kill(poster);
    sim_slay(peer);
}

void sim_test_late_poster_dies(void)
{
    static const struct sim_stop stop = { stage_late_poster, look_then_recover, post_late_and_die, NULL, SIM_GOES_ON };

    sim_stop_everywhere(&stop);
}

/* ---- D11: a post against a close, each stopped everywhere ---- */

static void close_behind(void)
{
    SIM_AS(owner, sim_do_close_inbox(owner));
}

static void check_closed_or_freed(void)
{
    SIM_CHECK(result == SHMQ_OK || result == SHMQ_CLOSED, "a send to a queue that closes returned %d", result);
}

static void post_behind(void)
{
    SIM_AS(peer, sim_post(peer, &owner->inbox));
}

void sim_test_post_against_close(void)
{
    static const struct sim_stop sender = { stage_poster, send_old, close_behind, check_closed_or_freed, SIM_GOES_ON };
    static const struct sim_stop closer = { stage_inbox, close_inbox, post_behind, NULL, SIM_GOES_ON };

    sim_stop_everywhere(&sender);
    sim_stop_everywhere(&closer);
}

static void stage_dead_owner(void)
{
    sim_stage(16);
    sim_play(SIM_VICTIM);
    owner = sim_player(1, 2);
    peer = sim_player(2, 2);
    SIM_AS(peer, sim_post(peer, &owner->inbox));
    sim_slay(owner);
}

static void recover_owner(struct sim_process *self)
{
    (void)self;
    sim_recover(owner->actor.slot);
}

void sim_test_post_against_recovery(void)
{
    static const struct sim_stop stop = { stage_dead_owner, recover_owner, post_behind, NULL, SIM_GOES_ON };

    sim_stop_everywhere(&stop);
}

/* ---- M1: shut down during a send ---- */

static uint32_t drained;

static void shut_and_leave(void)
{
    drained = 0;
    SIM_AS(peer, sim_do_shut(peer, SIM_ALPHA));
    while (sim_fetch(peer, &peer->named[SIM_ALPHA].ref) == SHMQ_OK) {
        sim_do_release(peer, 0);
        drained++;
    }
}

static void check_shut(void)
{
    SIM_CHECK(result == SHMQ_SHUT || (result == SHMQ_OK && drained == 1),
        "shut down during a send: it returned %d, the receivers had %u messages before they left", result, drained);
}

void sim_test_shut_during_send(void)
{
    static const struct sim_stop stop = { stage_alpha_in_use, send_old, shut_and_leave, check_shut, SIM_GOES_ON };

    old_depth = 2;
    sim_stop_everywhere(&stop);
}

static void receive_until_shut(struct sim_process *self)
{
    for (int empty = 0; empty < 3; empty += result == SHMQ_EMPTY) {
        result = sim_fetch(self, &old_ref);
        if (result == SHMQ_OK)
            sim_do_release(self, 0);
        else if (result != SHMQ_EMPTY)
            break;
    }
}

static void send_then_shut(void)
{
    SIM_AS(peer, sim_post(peer, &old_ref));
    sim_do_shut(peer, SIM_ALPHA);
}

/* A receiver that is told SHUT leaves nothing behind. */
static void check_nothing_left(void)
{
    if (result == SHMQ_SHUT)
        SIM_CHECK(SIM_AS(peer, sim_fetch(peer, &old_ref)) == SHMQ_SHUT, "a receiver left and a message stayed");
}

void sim_test_shut_during_receive(void)
{
    static const struct sim_stop stop = { stage_alpha_in_use, receive_until_shut, send_then_shut, check_nothing_left,
        SIM_GOES_ON };

    old_depth = 2;
    sim_stop_everywhere(&stop);
}

/* The queue is shut down between the post and the look after it, and the sender dies while it takes its block back. */
static void send_old_body(void *argument) { result = sim_post(argument, &old_ref); }

void sim_test_death_after_shut(void)
{
    bool ended = false;

    old_depth = 2;
    for (uint64_t writes = 1; !ended; writes++) {
        sim_stopped(writes, 0);
        stage_alpha_in_use();
        sim_impersonate(SIM_ROOT);
        sim_spawn(send_old_body, victim);
        sim_run_to(SIM_VICTIM, SHMQ_S3);
        SIM_AS(peer, sim_do_shut(peer, SIM_ALPHA));
        sim_crash_soon(SIM_VICTIM, writes);
        sim_impersonate(SIM_ROOT);
        ended = sim_run(SIM_VICTIM, SIM_FOREVER) == SIM_FINISHED;
        if (!ended)
            sim_slay(victim);
        sim_wind_up();
    }
}

/* ---- a block is taken back out of order while a receiver's hint lags ---- */

static void receive_and_release_body(void *argument)
{
    struct sim_process *self = argument;

    if (sim_fetch(self, &old_ref) == SHMQ_OK)
        sim_do_release(self, 0);
}

/* One receiver stores its hint late; a sender posts while the queue is shut down and takes its block back. */
static void take_back_beside_lagging_hint(uint32_t passed, uint32_t queued)
{
    const struct shmq_queue_ref *ref;
    uint32_t count = 0;

    stage_alpha_in_use();
    other = sim_player(2, old_depth);
    ref = &peer->named[SIM_ALPHA].ref;
    SIM_AS(peer, sim_post(peer, ref));
    sim_impersonate(SIM_ROOT);
    sim_spawn(receive_and_release_body, victim);
    sim_run_to(SIM_VICTIM, SHMQ_R2_HEAD);
    sim_impersonate(peer->fibre);
    for (uint32_t i = 0; i < passed; i++) {
        sim_post(peer, ref);
        sim_fetch(peer, ref);
        sim_do_release(peer, 0);
    }
    for (uint32_t i = 0; i < queued; i++)
        sim_post(peer, ref);
    sim_impersonate(SIM_ROOT);
    SIM_CHECK(sim_spawn(send_old_body, &sim_processes[1]) == 1, "the sender is the second fibre");
    sim_run_to(1, SHMQ_S3);
    SIM_AS(other, sim_do_shut(other, SIM_ALPHA));
    sim_impersonate(SIM_ROOT);
    sim_run(1, SIM_FOREVER);
    sim_run(SIM_VICTIM, SIM_FOREVER);
    sim_impersonate(other->fibre);
    while (sim_fetch(other, ref) == SHMQ_OK) {
        sim_do_release(other, 0);
        count++;
    }
    SIM_CHECK(count == queued + (result == SHMQ_OK), "%u messages were queued at a shut down, %u came",
        queued + (result == SHMQ_OK), count);
    sim_wind_up();
}

void sim_test_take_back_beside_lagging_hint(void)
{
    for (old_depth = 2; old_depth <= 4; old_depth++)
        for (uint32_t passed = 0; passed < 12; passed++)
            for (uint32_t queued = 0; queued < old_depth; queued++) {
                sim_stopped(old_depth * 100 + passed, queued);
                take_back_beside_lagging_hint(passed, queued);
            }
}

/* ---- a stray bit on a free record ---- */

static void stage_without_inbox(void)
{
    stage_inbox();
    sim_impersonate(owner->fibre);
    sim_do_release(owner, 0);
    old_ref = owner->inbox;
    sim_do_close_inbox(owner);
}

static void reopen_inbox(struct sim_process *self) { sim_do_open_inbox(self, 1); }

/* Somebody who waited for the former incarnation announces, a little late. */
static void announce_late(void)
{
    shmq_wait_announce(shmq_receivers(old_ref.queue));
    shmq_wait_leave(shmq_senders(old_ref.queue));
}

void sim_test_stray_bit_on_free_record(void)
{
    static const struct sim_stop stop = { stage_without_inbox, reopen_inbox, announce_late, NULL, SIM_GOES_ON };

    sim_stop_everywhere(&stop);
}
