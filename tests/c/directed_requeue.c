/* SPDX-License-Identifier: MIT */
/* Directed tests: messages whose holder or sender died, forwarded messages, and who gets them then. */
#include "sim_directed_tests.h"

static struct sim_process *const victim = &sim_processes[SIM_VICTIM];
static struct sim_process *maker, *worker, *target, *dead;
static struct shmq_queue_ref alpha;
static int result;

/* How many messages alpha still gives; they are released. */
static uint32_t count_alpha(struct sim_process *process, const struct shmq_queue_ref *ref)
{
    uint32_t count = 0;

    sim_impersonate(process->fibre);
    while (sim_fetch(process, ref) == SHMQ_OK) {
        sim_do_release(process, process->held_count - 1);
        count++;
    }
    return count;
}

/* ---- D5: a held message, and its queue is re-made ---- */

static void stage_one_message(void)
{
    sim_stage(16);
    maker = sim_player(1, 2);
    sim_player(SIM_VICTIM, 2);
    alpha = maker->named[SIM_ALPHA].ref;
    SIM_AS(maker, sim_post(maker, &alpha));
}

static void receive_alpha(struct sim_process *self) { result = sim_fetch(self, &alpha); }

static void remake_alpha(void) { sim_remake_alpha(maker, 2); }

static void slay_and_recover(void)
{
    sim_impersonate(SIM_ROOT);
    sim_kill(SIM_VICTIM);
    sim_slay(victim);
    sim_recover_all();
}

static void remake_then_kill(void)
{
    remake_alpha();
    slay_and_recover();
}

static void check_new_queue_empty(void)
{
    SIM_CHECK(count_alpha(maker, &maker->named[SIM_ALPHA].ref) == 0,
        "a message of the former incarnation was delivered");
}

void sim_test_holder_of_former_queue(void)
{
    static const struct sim_stop killed = { stage_one_message, receive_alpha, remake_then_kill, check_new_queue_empty,
        false, false };
    static const struct sim_stop goes_on = { stage_one_message, receive_alpha, remake_alpha, check_new_queue_empty,
        false, false };

    sim_stop_everywhere(&killed);
    sim_stop_everywhere(&goes_on);
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
    count_alpha(maker, &alpha);
    count_alpha(target, &target_ref);
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
    static const struct sim_stop killed = { stage_forward, forward, NULL, check_forwarded, true, true };

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

static void recover_forwarder(struct sim_process *self)
{
    (void)self;
    sim_recover(dead->actor.slot);
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
    static const struct sim_stop killed = { stage_dead_forwarder, recover_forwarder, NULL, check_forwarded_once, true,
        false };

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
    count_alpha(maker, &alpha);
    SIM_CHECK(sim_messages[forwarded].acknowledged, "a forward failed, its holder died, the message is lost");
}

void sim_test_forward_to_one_that_goes(void)
{
    static const struct sim_stop stop = { stage_forward, forward, target_goes, check_came_back, false, false };

    for (mode = 0; mode < 16; mode += EPOCHS_DIFFER)
        sim_stop_everywhere(&stop);
}

/* A message of a deleted queue is forwarded to the queue that has its record now: its death gives it to nobody. */
static void stage_forward_to_successor(void)
{
    stage_one_message();
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
    static const struct sim_stop killed = { stage_forward_to_successor, forward, NULL, check_not_requeued, true, true };
    static const struct sim_stop goes_on = { stage_forward_to_successor, forward, NULL, check_not_requeued, false,
        false };

    for (mode = 0; mode <= TO_FULL; mode++) {
        sim_stop_everywhere(&killed);
        sim_stop_everywhere(&goes_on);
    }
}

/* ---- D13, U16, M3: a close that requeues ---- */

static void stage_holder(bool with_victim)
{
    sim_stage(16);
    maker = sim_player(1, 4);
    dead = sim_player(2, 4);
    if (with_victim)
        sim_play(SIM_VICTIM);
    alpha = maker->named[SIM_ALPHA].ref;
    for (int i = 0; i < 3; i++) {
        SIM_AS(maker, sim_post(maker, &alpha));
        SIM_AS(dead, sim_fetch(dead, &alpha));
    }
    SIM_AS(dead, sim_do_close_inbox(dead)); /* it leaves no queue */
    sim_slay(dead);
}

static void stage_dead_holder(void) { stage_holder(true); }
static void stage_dead_without_victim(void) { stage_holder(false); }

static void recover_dead(struct sim_process *self)
{
    (void)self;
    sim_recover(dead->actor.slot);
}

static void check_all_redelivered(void)
{
    uint32_t held = maker->held_count;

    sim_recover_all();
    SIM_CHECK(held + count_alpha(maker, &alpha) == 3, "not all messages of a dead holder were redelivered");
}

void sim_test_recoverer_dies_requeueing(void)
{
    static const struct sim_stop stop = { stage_dead_holder, recover_dead, NULL, check_all_redelivered, true, false };

    sim_stop_everywhere(&stop);
}

static void receive_until_empty(void)
{
    sim_impersonate(maker->fibre);
    while (sim_fetch(maker, &alpha) == SHMQ_OK)
        continue;
}

/* Whoever attaches takes over the dead one's slot: nothing of its own would be closed later and repair it. */
static void adopt(struct sim_process *self)
{
    sim_process_attach(self, SIM_VICTIM);
    SIM_CHECK(self->actor.slot == dead->actor.slot, "another slot was free");
}

void sim_test_adopter_dies_requeueing(void)
{
    static const struct sim_stop stop = { stage_dead_without_victim, adopt, NULL, check_all_redelivered, true, false };
    static const struct sim_stop scans = { stage_dead_without_victim, adopt, receive_until_empty, check_all_redelivered,
        false, false };

    sim_stop_everywhere(&stop);
    sim_stop_everywhere(&scans);
}

/* A receiver scans to the end, and reports it, while the close is under way. */
void sim_test_receiver_scans_during_recovery(void)
{
    static const struct sim_stop stop = { stage_dead_holder, recover_dead, receive_until_empty, check_all_redelivered,
        false, false };

    sim_stop_everywhere(&stop);
}

static void delete_alpha(void) { SIM_AS(maker, sim_do_delete(maker, SIM_ALPHA)); }

static void check_nothing_requeued(void)
{
    for (uint32_t block = 0; block < sim_map.geometry.granules; block++)
        SIM_CHECK(shmq_block_state(sim_map.block[block].word) != SHMQ_STATE_REQUEUE,
            "block %u is requeued for a deleted queue", block);
}

void sim_test_delete_during_recovery(void)
{
    static const struct sim_stop stop = { stage_dead_holder, recover_dead, delete_alpha, check_nothing_requeued, false,
        false };
    static const struct sim_stop remade = { stage_dead_holder, recover_dead, remake_alpha, check_new_queue_empty, false,
        false };

    sim_stop_everywhere(&stop);
    sim_stop_everywhere(&remade);
}

/* ---- H5, M2: receivers that look for requeued messages ---- */

static void stage_requeued(void)
{
    stage_dead_holder();
    sim_recover_all();
}

static void let_dead_hold_another(void)
{
    sim_remake_alpha(maker, 4);
    sim_player(2, 4);
    SIM_AS(maker, sim_post(maker, &maker->named[SIM_ALPHA].ref));
    SIM_AS(dead, sim_fetch(dead, &maker->named[SIM_ALPHA].ref));
    sim_slay(dead);
    sim_recover_all();
}

static void check_one_redelivered(void)
{
    SIM_CHECK(count_alpha(maker, &maker->named[SIM_ALPHA].ref) == 1,
        "a stale receiver took or freed the new queue's message");
}

/* The receiver knows the old incarnation; behind its back the new one gets a requeued message. */
void sim_test_stale_receiver_of_requeued(void)
{
    static const struct sim_stop stop = { stage_requeued, receive_alpha, let_dead_hold_another, check_one_redelivered,
        false, false };

    sim_stop_everywhere(&stop);
}

/* Another dies while a receiver's search is under way: its message may lie where the search has been. */
static void stage_search(void)
{
    sim_stage(16);
    maker = sim_player(1, 4);
    dead = sim_player(2, 4);
    worker = sim_player(3, 4);
    sim_play(SIM_VICTIM);
    alpha = maker->named[SIM_ALPHA].ref;
    SIM_AS(maker, sim_post(maker, &alpha));
    SIM_AS(maker, sim_post(maker, &alpha));
    SIM_AS(worker, sim_fetch(worker, &alpha)); /* the lower block */
    SIM_AS(dead, sim_fetch(dead, &alpha));
    sim_slay(dead);
    sim_recover_all();
}

static void receive_twice(struct sim_process *self)
{
    sim_fetch(self, &alpha);
    sim_fetch(self, &alpha);
}

static void worker_dies_too(void)
{
    sim_slay(worker);
    sim_recover_all();
}

static void check_both_redelivered(void)
{
    uint32_t held = victim->attached ? victim->held_count : 0;

    SIM_CHECK(held + count_alpha(maker, &alpha) == 2, "a message of a second dead holder is not redelivered");
}

void sim_test_search_goes_round(void)
{
    static const struct sim_stop stop = { stage_search, receive_twice, worker_dies_too, check_both_redelivered, false,
        false };

    sim_stop_everywhere(&stop);
}

/* ---- H5: two who free the same outdated message ---- */

/* Of alpha one message is requeued; another process is dead, so that its close meets it. */
static void stage_deleted_with_requeued(void)
{
    stage_requeued();
    worker = sim_player(3, 4);
    sim_slay(worker);
}

static void delete_alpha_self(struct sim_process *self)
{
    if (sim_do_open(self, SIM_ALPHA, 1, false) == SHMQ_OK)
        sim_do_delete(self, SIM_ALPHA);
}

/* The close frees it, and somebody has the block at once. */
static void close_and_loan(void)
{
    sim_recover_all();
    sim_impersonate(maker->fibre);
    while (maker->loan_count < SIM_LOANS && sim_do_loan(maker, 0) == SHMQ_OK)
        continue;
}

void sim_test_two_free_one_requeued(void)
{
    static const struct sim_stop stop = { stage_deleted_with_requeued, delete_alpha_self, close_and_loan, NULL, false,
        false };
    static const struct sim_stop dies = { stage_deleted_with_requeued, delete_alpha_self, close_and_loan, NULL, true,
        false };

    sim_stop_everywhere(&stop);
    sim_stop_everywhere(&dies);
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
    static const struct sim_stop killed = { stage_dead_sender, recover_forwarder, NULL, audit_now, true, true };

    for (sender_stop = 0, sender_ended = false; !sender_ended; sender_stop++)
        sim_stop_everywhere(&killed);
}

/* ---- what a redelivered message tells of itself ---- */

void sim_test_redelivery_tells(void)
{
    struct shmq_message first;

    sim_stopped(0, 0);
    sim_stage(16);
    maker = sim_player(1, 4);
    alpha = maker->named[SIM_ALPHA].ref;
    for (int i = 0; i < 3; i++)
        SIM_AS(maker, sim_post(maker, &alpha));
    SIM_AS(maker, sim_fetch(maker, &alpha));
    sim_do_release(maker, 0);
    for (uint32_t death = 0; death < 4; death++) {
        const struct shmq_message *message;

        dead = sim_player(2, 4);
        SIM_CHECK(sim_fetch(dead, &alpha) == SHMQ_OK, "no message after %u deaths", death);
        message = &dead->held[0];
        if (death == 0)
            first = *message;
        SIM_CHECK(message->label == first.label && message->position == first.position && message->deliveries == death
                && message->redelivered == (death > 0),
            "after %u deaths: label %u, position %llu, %u deliveries", death, message->label,
            (unsigned long long)message->position, message->deliveries);
        sim_slay(dead);
        sim_recover_all();
    }
    SIM_CHECK(first.position == 1, "the second message of a queue is at position %llu",
        (unsigned long long)first.position);
    sim_wind_up();
}

/* ---- a requeued message goes and comes back, the same in its word, while somebody looks at it ---- */

static uint64_t worker_writes;
static bool worker_ended;

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
    worker_ended = worker_ended || sim_run(fibre, SIM_FOREVER) == SIM_FINISHED;
    sim_slay(worker);
    for (uint32_t slot = 0; slot < sim_map.geometry.max_processes; slot++)
        if (slot == worker->actor.slot)
            sim_recover(slot);
}

static void recover_all_self(struct sim_process *self) { sim_sweep(&self->actor); }

static void check_not_lost(void)
{
    sim_recover_all();
    count_alpha(maker, &alpha);
    count_alpha(maker, &maker->inbox);
    SIM_CHECK(sim_messages[1].acknowledged || victim->held_count, "a requeued message is lost");
}

void sim_test_requeued_goes_and_comes_back(void)
{
    static const struct sim_stop closer = { stage_requeued_and_dead, recover_all_self, worker_forwards_and_dies,
        check_not_lost, false, false };
    static const struct sim_stop receiver = { stage_requeued_and_dead, receive_alpha, worker_forwards_and_dies,
        check_not_lost, false, false };

    for (worker_writes = 1, worker_ended = false; worker_writes < 20; worker_writes++) {
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
        check_not_lost, false, false };

    for (worker_writes = 1; worker_writes < 20; worker_writes++)
        sim_stop_everywhere(&closer);
}
