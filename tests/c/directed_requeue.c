/* SPDX-License-Identifier: MIT */
/* Directed tests: messages whose holder or sender died, forwarded messages, and who gets them then. */
#include "sim_directed_tests.h"

static struct sim_process *const victim = &sim_processes[SIM_VICTIM];
static struct sim_process *maker, *worker, *dead;
static struct shmq_queue_ref alpha;
static int result;

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
    SIM_CHECK(sim_count(maker, &maker->named[SIM_ALPHA].ref) == 0,
        "a message of the former incarnation was delivered");
}

void sim_test_holder_of_former_queue(void)
{
    static const struct sim_stop killed = { stage_one_message, receive_alpha, remake_then_kill, check_new_queue_empty,
        SIM_GOES_ON };
    static const struct sim_stop goes_on = { stage_one_message, receive_alpha, remake_alpha, check_new_queue_empty,
        SIM_GOES_ON };

    sim_stop_everywhere(&killed);
    sim_stop_everywhere(&goes_on);
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
    SIM_CHECK(held + sim_count(maker, &alpha) == 3, "not all messages of a dead holder were redelivered");
}

void sim_test_recoverer_dies_requeueing(void)
{
    static const struct sim_stop stop = { stage_dead_holder, recover_dead, NULL, check_all_redelivered, SIM_DIES };

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
    static const struct sim_stop stop = { stage_dead_without_victim, adopt, NULL, check_all_redelivered, SIM_DIES };
    static const struct sim_stop scans = { stage_dead_without_victim, adopt, receive_until_empty,
        check_all_redelivered, SIM_GOES_ON };

    sim_stop_everywhere(&stop);
    sim_stop_everywhere(&scans);
}

/* A receiver scans to the end, and reports it, while the close is under way. */
void sim_test_receiver_scans_during_recovery(void)
{
    static const struct sim_stop stop = { stage_dead_holder, recover_dead, receive_until_empty, check_all_redelivered,
        SIM_GOES_ON };

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
    static const struct sim_stop stop = { stage_dead_holder, recover_dead, delete_alpha, check_nothing_requeued,
        SIM_GOES_ON };
    static const struct sim_stop remade = { stage_dead_holder, recover_dead, remake_alpha, check_new_queue_empty,
        SIM_GOES_ON };

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
    SIM_CHECK(sim_count(maker, &maker->named[SIM_ALPHA].ref) == 1,
        "a stale receiver took or freed the new queue's message");
}

/* The receiver knows the old incarnation; behind its back the new one gets a requeued message. */
void sim_test_stale_receiver_of_requeued(void)
{
    static const struct sim_stop stop = { stage_requeued, receive_alpha, let_dead_hold_another, check_one_redelivered,
        SIM_GOES_ON };

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

    SIM_CHECK(held + sim_count(maker, &alpha) == 2, "a message of a second dead holder is not redelivered");
}

void sim_test_search_goes_round(void)
{
    static const struct sim_stop stop = { stage_search, receive_twice, worker_dies_too, check_both_redelivered,
        SIM_GOES_ON };

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
    static const struct sim_stop stop = { stage_deleted_with_requeued, delete_alpha_self, close_and_loan, NULL,
        SIM_GOES_ON };
    static const struct sim_stop dies = { stage_deleted_with_requeued, delete_alpha_self, close_and_loan, NULL,
        SIM_DIES };

    sim_stop_everywhere(&stop);
    sim_stop_everywhere(&dies);
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
        SIM_CHECK(message->label == first.label && message->position == first.position && message->deliveries == death,
            "after %u deaths: label %u, position %llu, %u deliveries", death, message->label,
            (unsigned long long)message->position, message->deliveries);
        sim_slay(dead);
        sim_recover_all();
    }
    SIM_CHECK(first.position == 1, "the second message of a queue is at position %llu",
        (unsigned long long)first.position);
    sim_wind_up();
}
