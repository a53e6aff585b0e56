/* SPDX-License-Identifier: MIT */
/* Directed tests: messages that are forwarded, or sent by one who dies before the post. */
#include "sim_directed_tests.h"

static struct sim_process *const victim = &sim_processes[SIM_VICTIM];
static struct sim_process *maker, *worker, *target, *dead;
static struct shmq_queue_ref alpha;
static int result;

static void receive_alpha(struct sim_process *self) { result = sim_fetch(self, &alpha); }

static void recover_dead(struct sim_process *self)
{
    (void)self;
    sim_recover(dead->actor.slot);
}

/* ---- D9, H4: forwarding ---- */

enum { TO_FULL = 1, TO_WORK = 2, TO_SAME = 4, EPOCHS_DIFFER = 8 };

static uint32_t mode;
static struct shmq_queue_ref target_ref;
static uint32_t forwarded;  /* the message's number */

static void stage_forward(void)
{
    sim_stage(16);
    maker = sim_player(1, 2);
    target = sim_player(3, 2);
    if (mode & EPOCHS_DIFFER)
        sim_remake_alpha(maker, 2);
    SIM_AS(target, sim_do_open(target, SIM_ALPHA, 2, false));
    sim_player(SIM_VICTIM, 2);
    alpha = maker->named[SIM_ALPHA].ref;
    SIM_AS(target, sim_do_open(target, SIM_BETA, 2, true));
    target_ref = mode & TO_SAME ? alpha : mode & TO_WORK ? target->named[SIM_BETA].ref : target->inbox;
    SIM_AS(maker, sim_post(maker, &alpha));
    SIM_AS(victim, sim_fetch(victim, &alpha));
    forwarded = victim->held_id[0];
    if (mode & TO_FULL)
        while (SIM_AS(maker, sim_post(maker, &target_ref)) == SHMQ_OK)
            continue;
}

static void forward(struct sim_process *self)
{
    struct shmq_queue_ref ref = target_ref;

    result = sim_do_forward(self, 0, &ref);
}

/* Somebody gets it, whoever died. */
static void check_forwarded(void)
{
    sim_count(maker, &alpha);
    sim_count(target, &target_ref);
    SIM_CHECK(victim->attached || sim_messages[forwarded].acknowledged, "a forwarded message is lost");
}

static void for_all_modes(const struct sim_stop *stop)
{
    for (mode = 0; mode < 16; mode++)
        if ((mode & (TO_WORK | TO_SAME)) != (TO_WORK | TO_SAME))
            sim_stop_everywhere(stop);
}

void sim_test_forwarder_dies(void)
{
    static const struct sim_stop killed = { stage_forward, forward, NULL, check_forwarded, SIM_DIES_RECOVERED };

    for_all_modes(&killed);
}

/* The forwarder dies at some access, its recoverer at some other. */
static uint64_t forwarder_stop;
static bool forwarder_ended;

static void forward_body(void *argument) { forward(argument); }

static void stage_dead_forwarder(void)
{
    stage_forward();
    dead = victim;
    forwarder_ended = sim_die_after(dead, forward_body, forwarder_stop);
}

static void check_forwarded_once(void)
{
    sim_recover_all();
    check_forwarded();
}

static void for_all_forwarder_stops(const struct sim_stop *stop)
{
    for (forwarder_stop = 0, forwarder_ended = false; !forwarder_ended; forwarder_stop++)
        sim_stop_everywhere(stop);
}

void sim_test_forwarder_and_recoverer_die(void)
{
    static const struct sim_stop killed = { stage_dead_forwarder, recover_dead, NULL, check_forwarded_once, SIM_DIES };

    for (mode = 0; mode < 16; mode++)
        if ((mode & (TO_WORK | TO_SAME)) != (TO_WORK | TO_SAME))
            for_all_forwarder_stops(&killed);
}

/* The target goes while a live forwarder is stopped; it then dies holding what came back. */
static void target_goes(void)
{
    sim_slay(target);
    sim_recover_all();
}

static void check_came_back(void)
{
    if (result == SHMQ_OK)
        return;
    SIM_CHECK(victim->held_count == 1, "a failed forward does not give the message back");
    sim_slay(victim);
    sim_recover_all();
    sim_count(maker, &alpha);
    SIM_CHECK(sim_messages[forwarded].acknowledged, "a forward failed, its holder died, the message is lost");
}

void sim_test_forward_to_one_that_goes(void)
{
    static const struct sim_stop stop = { stage_forward, forward, target_goes, check_came_back, SIM_GOES_ON };

    for (mode = 0; mode < 16; mode += EPOCHS_DIFFER)
        sim_stop_everywhere(&stop);
}

/* A message of a deleted queue is forwarded to the queue that has its record now: its death gives it to nobody. */
static void stage_forward_to_successor(void)
{
    sim_stage(16);
    maker = sim_player(1, 2);
    sim_player(SIM_VICTIM, 2);
    alpha = maker->named[SIM_ALPHA].ref;
    SIM_AS(maker, sim_post(maker, &alpha));
    SIM_AS(victim, sim_fetch(victim, &alpha));
    forwarded = victim->held_id[0];
    sim_remake_alpha(maker, 2);
    target_ref = maker->named[SIM_ALPHA].ref;
    if (mode & TO_FULL)
        while (SIM_AS(maker, sim_post(maker, &target_ref)) == SHMQ_OK)
            continue;
}

static void check_not_requeued(void)
{
    SIM_CHECK(sim_messages[forwarded].requeues == 0 || sim_messages[forwarded].posts > 1,
        "a message of a deleted queue was requeued in the next incarnation");
}

void sim_test_forward_to_successor(void)
{
    static const struct sim_stop killed = { stage_forward_to_successor, forward, NULL, check_not_requeued,
        SIM_DIES_RECOVERED };
    static const struct sim_stop goes_on = { stage_forward_to_successor, forward, NULL, check_not_requeued,
        SIM_GOES_ON };

    for (mode = 0; mode <= TO_FULL; mode++) {
        sim_stop_everywhere(&killed);
        sim_stop_everywhere(&goes_on);
    }
}

/* ---- F0: a sender dies before it posted, and so does its recoverer ---- */

static uint64_t sender_stop;
static bool sender_ended;

static void post_alpha_body(void *argument) { sim_post(argument, &alpha); }

static void stage_dead_sender(void)
{
    sim_stage(16);
    maker = sim_player(1, 2);
    dead = sim_player(SIM_VICTIM, 2);
    alpha = maker->named[SIM_ALPHA].ref;
    sender_ended = sim_die_after(dead, post_alpha_body, sender_stop);
}

static void audit_now(void) { sim_processes_audit(); }

void sim_test_sender_and_recoverer_die(void)
{
    static const struct sim_stop killed = { stage_dead_sender, recover_dead, NULL, audit_now, SIM_DIES_RECOVERED };

    for (sender_stop = 0, sender_ended = false; !sender_ended; sender_stop++)
        sim_stop_everywhere(&killed);
}

/* ---- a requeued message goes and comes back, the same in its word, while somebody looks at it ---- */

static uint64_t worker_writes;

static void stage_requeued_and_dead(void)
{
    sim_stage(16);
    maker = sim_player(1, 4);
    dead = sim_player(3, 4);
    worker = sim_player(2, 4);
    sim_play(SIM_VICTIM);
    alpha = maker->named[SIM_ALPHA].ref;
    target_ref = maker->inbox;
    SIM_AS(maker, sim_post(maker, &alpha));
    SIM_AS(worker, sim_fetch(worker, &alpha));
    sim_slay(worker);
    sim_recover_all();
    worker = sim_player(2, 4);
    sim_slay(dead);
}

/* A worker takes it, begins to forward it and dies. */
static void take_forward_die_body(void *argument)
{
    struct sim_process *self = argument;
    struct shmq_queue_ref ref = target_ref;

    if (sim_fetch(self, &alpha) == SHMQ_OK)
        sim_do_forward(self, 0, &ref);
}

static void worker_forwards_and_dies(void)
{
    int fibre, idle = sim_spawn(post_alpha_body, maker);

    SIM_CHECK(idle == 1, "the second fibre stands for the maker and does nothing");
    fibre = sim_spawn(take_forward_die_body, worker);
    SIM_CHECK(&sim_processes[fibre] == worker, "the worker is the third fibre");
    sim_crash_after(fibre, worker_writes);
    sim_run(fibre, SIM_FOREVER);
    sim_slay(worker);
    sim_recover(worker->actor.slot);
}

static void recover_all_self(struct sim_process *self) { sim_sweep(&self->actor); }

static void check_not_lost(void)
{
    sim_recover_all();
    sim_count(maker, &alpha);
    sim_count(maker, &maker->inbox);
    SIM_CHECK(sim_messages[1].acknowledged || victim->held_count, "a requeued message is lost");
}

void sim_test_requeued_goes_and_comes_back(void)
{
    static const struct sim_stop closer = { stage_requeued_and_dead, recover_all_self, worker_forwards_and_dies,
        check_not_lost, SIM_GOES_ON };
    static const struct sim_stop receiver = { stage_requeued_and_dead, receive_alpha, worker_forwards_and_dies,
        check_not_lost, SIM_GOES_ON };

    for (worker_writes = 1; worker_writes < 20; worker_writes++) {
        sim_stop_everywhere(&closer);
        sim_stop_everywhere(&receiver);
    }
}

/* The same while a closer requeues it. */
static void stage_dead_holder_of_one(void)
{
    sim_stage(16);
    maker = sim_player(1, 4);
    worker = sim_player(2, 4);
    dead = sim_player(3, 4);
    sim_play(SIM_VICTIM);
    alpha = maker->named[SIM_ALPHA].ref;
    target_ref = maker->inbox;
    SIM_AS(maker, sim_post(maker, &alpha));
    SIM_AS(dead, sim_fetch(dead, &alpha));
    sim_slay(dead);
    alpha.queue->requeued++; /* somebody else's close: receivers look */
}

void sim_test_requeueing_goes_and_comes_back(void)
{
    static const struct sim_stop closer = { stage_dead_holder_of_one, recover_dead, worker_forwards_and_dies,
        check_not_lost, SIM_GOES_ON };

    for (worker_writes = 1; worker_writes < 20; worker_writes++)
        sim_stop_everywhere(&closer);
}
