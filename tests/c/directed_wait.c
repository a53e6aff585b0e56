/* SPDX-License-Identifier: MIT */
/* Directed tests: nobody sleeps while there is something to have. Here a sleeper wakes only by being woken: whoever
 * is still asleep at the end was forgotten. */
#include "sim_directed_tests.h"

#define SLEEPERS 2
#define ENDLESS 1000000u

static struct sim_process *sender;
static struct shmq_queue_ref alpha;

static void stage_sleepers(uint32_t depth)
{
    sim_stage(16);
    for (int fibre = 0; fibre < SLEEPERS; fibre++)
        sim_player(fibre, depth);
    sender = sim_player(SLEEPERS, depth);
    alpha = sender->named[SIM_ALPHA].ref;
    sim_impersonate(SIM_ROOT);
}

static void wait_for_one(void *argument)
{
    struct sim_process *self = argument;
    bool slept = false;

    while (sim_do_receive(self, &alpha) == SHMQ_EMPTY) {
        slept = true;
        shmq_await_sleep(&sim_map, &alpha, true, SHMQ_SLICE_NS);
    }
    if (slept)
        shmq_await_leave(&sim_map, &alpha, true);
    sim_operation_end();
}

/* Sleeps once and goes, whether there was something or not. */
static void wait_and_give_up(void *argument)
{
    (void)argument;
    shmq_await_sleep(&sim_map, &alpha, true, SHMQ_SLICE_NS);
    shmq_await_leave(&sim_map, &alpha, true);
    sim_operation_end();
}

static void post(void)
{
    SIM_CHECK(SIM_AS(sender, sim_post(sender, &alpha)) == SHMQ_OK, "no room to send");
    sim_impersonate(SIM_ROOT);
}

/* Let everybody run who is not asleep. */
static void run_awake(void)
{
    bool moved;

    do {
        moved = false;
        for (int fibre = 0; fibre < SLEEPERS; fibre++)
            if (sim_state(fibre) == SIM_READY) {
                sim_run(fibre, ENDLESS);
                SIM_CHECK(sim_state(fibre) != SIM_READY, "a waiter does not end");
                moved = true;
            }
    } while (moved);
}

static void check_none_asleep(void)
{
    for (int fibre = 0; fibre < SLEEPERS; fibre++)
        SIM_CHECK(sim_state(fibre) == SIM_FINISHED, "receiver %d sleeps and there is something to have", fibre);
}

/* Two fall asleep at any point, two messages come at any point of that. */
void sim_test_two_sleepers_two_posts(void)
{
    bool ended = false;

    for (uint64_t first = 0; !ended; first++) {
        bool second_ended = false;

        for (uint64_t second = 0; !second_ended; second++) {
            sim_stopped(first, second);
            stage_sleepers(4);
            sim_spawn(wait_for_one, &sim_processes[0]);
            sim_spawn(wait_for_one, &sim_processes[1]);
            ended = sim_run(0, first) == SIM_ASLEEP;
            second_ended = sim_run(1, second) == SIM_ASLEEP;
            post();
            post();
            run_awake();
            check_none_asleep();
            sim_wind_up();
        }
    }
}

/* Both asleep, one post; the other post comes at any point of the first sleeper's waking. */
void sim_test_post_while_a_sleeper_wakes(void)
{
    bool ended = false;

    for (uint64_t accesses = 0; !ended; accesses++) {
        sim_stopped(accesses, 0);
        stage_sleepers(4);
        for (int fibre = 0; fibre < SLEEPERS; fibre++) {
            sim_spawn(wait_for_one, &sim_processes[fibre]);
            sim_run(fibre, ENDLESS);
        }
        post();
        ended = sim_run(0, accesses) == SIM_FINISHED;
        post();
        run_awake();
        check_none_asleep();
        sim_wind_up();
    }
}

/* The one that is woken goes without taking anything: it passes the wake on. */
void sim_test_woken_one_gives_up(void)
{
    bool ended = false;

    for (uint64_t accesses = 0; !ended; accesses++) {
        sim_stopped(accesses, 0);
        stage_sleepers(4);
        sim_spawn(wait_and_give_up, &sim_processes[0]);
        sim_spawn(wait_for_one, &sim_processes[1]);
        for (int fibre = 0; fibre < SLEEPERS; fibre++)
            sim_run(fibre, ENDLESS);
        post();
        ended = sim_run(0, accesses) == SIM_FINISHED;
        run_awake();
        check_none_asleep();
        sim_wind_up();
    }
}

/* One times out and goes at any point of another's falling asleep, which must not be forgotten by the next post. */
void sim_test_leaver_beside_a_sleeper(void)
{
    bool ended = false;

    for (uint64_t accesses = 0; !ended; accesses++) {
        sim_stopped(accesses, 0);
        stage_sleepers(4);
        sim_spawn(wait_and_give_up, &sim_processes[0]);
        sim_spawn(wait_for_one, &sim_processes[1]);
        sim_run(0, ENDLESS);
        sim_time_out(0);
        ended = sim_run(0, accesses) == SIM_FINISHED;
        sim_run(1, ENDLESS);
        sim_run(0, ENDLESS);
        post();
        run_awake();
        check_none_asleep();
        sim_wind_up();
    }
}

/* ---- senders that wait for space, receivers that wait for the end ---- */

static void wait_for_space(void *argument)
{
    struct sim_process *self = argument;
    bool slept = false;

    sim_do_loan(self, 0);
    while (sim_do_send(self, 0, &alpha) == SHMQ_FULL) {
        slept = true;
        shmq_await_sleep(&sim_map, &alpha, false, SHMQ_SLICE_NS);
    }
    if (slept)
        shmq_await_leave(&sim_map, &alpha, false);
    sim_operation_end();
}

static void take(void)
{
    SIM_CHECK(SIM_AS(sender, sim_fetch(sender, &alpha)) == SHMQ_OK, "nothing to receive");
    sim_impersonate(SIM_ROOT);
}

void sim_test_senders_wait_for_space(void)
{
    bool ended = false;

    for (uint64_t first = 0; !ended; first++) {
        sim_stopped(first, 0);
        stage_sleepers(2);
        post();
        post();
        sim_spawn(wait_for_space, &sim_processes[0]);
        sim_spawn(wait_for_space, &sim_processes[1]);
        ended = sim_run(0, first) == SIM_ASLEEP;
        sim_run(1, ENDLESS);
        take();
        take();
        run_awake();
        check_none_asleep();
        sim_wind_up();
    }
}

static void wait_for_end(void *argument)
{
    struct sim_process *self = argument;
    bool slept = false;
    int result;

    while ((result = sim_do_receive(self, &alpha)) == SHMQ_EMPTY) {
        slept = true;
        shmq_await_sleep(&sim_map, &alpha, true, SHMQ_SLICE_NS);
    }
    SIM_CHECK(result == SHMQ_SHUT || result == SHMQ_CLOSED, "waiting for the end returned %d", result);
    if (slept)
        shmq_await_leave(&sim_map, &alpha, true);
    sim_operation_end();
}

static void end_by(void (*end)(void))
{
    bool ended = false;

    for (uint64_t first = 0; !ended; first++) {
        sim_stopped(first, 0);
        stage_sleepers(2);
        sim_spawn(wait_for_end, &sim_processes[0]);
        sim_spawn(wait_for_end, &sim_processes[1]);
        ended = sim_run(0, first) == SIM_ASLEEP;
        sim_run(1, ENDLESS);
        end();
        sim_impersonate(SIM_ROOT);
        run_awake();
        check_none_asleep();
        sim_wind_up();
    }
}

static void shut(void) { SIM_AS(sender, sim_do_shut(sender, SIM_ALPHA)); }
static void delete(void) { SIM_AS(sender, sim_do_delete(sender, SIM_ALPHA)); }

void sim_test_end_wakes_sleepers(void)
{
    end_by(shut);
    end_by(delete);
}

/* A receiver dies holding a message while others sleep: its close wakes them for the redelivery. */
static void hold(void)
{
    post();
    SIM_AS(sender, sim_fetch(sender, &alpha));
    post();
    SIM_AS(sender, sim_fetch(sender, &alpha));
    sim_impersonate(SIM_ROOT);
}

void sim_test_redelivery_wakes_sleepers(void)
{
    bool ended = false;

    for (uint64_t first = 0; !ended; first++) {
        sim_stopped(first, 0);
        stage_sleepers(2);
        hold();
        sim_spawn(wait_for_one, &sim_processes[0]);
        sim_spawn(wait_for_one, &sim_processes[1]);
        ended = sim_run(0, first) == SIM_ASLEEP;
        sim_run(1, ENDLESS);
        sim_slay(sender);
        sim_recover_all();
        run_awake();
        check_none_asleep();
        sim_wind_up();
    }
}

/* ---- whoever has something to tell is stopped at every step, and sleepers fall asleep meanwhile ---- */

/* Fibre 2 acts; a sleeper runs whenever it can, at each of the actor's stops. */
static void actor_against_sleeper(sim_body *actor, sim_body *sleeper, void (*prepare)(void))
{
    bool ended = false;

    for (uint64_t accesses = 0; !ended; accesses++)
        for (uint64_t fallen = 0; fallen < 24; fallen++) {
            sim_stopped(accesses, fallen);
            stage_sleepers(2);
            if (prepare)
                prepare();
            sim_spawn(sleeper, &sim_processes[0]);
            sim_spawn(sleeper, &sim_processes[1]);
            sim_spawn(actor, sender);
            sim_run(0, ENDLESS);
            sim_run(1, fallen);
            ended = sim_run(SLEEPERS, accesses) == SIM_FINISHED;
            run_awake();
            sim_run(SLEEPERS, ENDLESS);
            run_awake();
            check_none_asleep();
            sim_wind_up();
        }
}

static void shut_body(void *argument) { sim_do_shut(argument, SIM_ALPHA); }
static void delete_body(void *argument) { sim_do_delete(argument, SIM_ALPHA); }

static void send_two_body(void *argument)
{
    SIM_CHECK(sim_post(argument, &alpha) == SHMQ_OK && sim_post(argument, &alpha) == SHMQ_OK, "no room to send");
}

static void fill(void)
{
    post();
    post();
}

static void take_two_body(void *argument)
{
    SIM_CHECK(sim_fetch(argument, &alpha) == SHMQ_OK && sim_fetch(argument, &alpha) == SHMQ_OK, "nothing to receive");
}

void sim_test_ends_stop_beside_sleepers(void)
{
    actor_against_sleeper(shut_body, wait_for_end, NULL);
    actor_against_sleeper(delete_body, wait_for_end, NULL);
}

void sim_test_sends_stop_beside_sleepers(void) { actor_against_sleeper(send_two_body, wait_for_one, NULL); }
void sim_test_takes_stop_beside_sleepers(void) { actor_against_sleeper(take_two_body, wait_for_space, fill); }

/* ---- W2 before W3, and both before the wake ---- */

static void send_one_body(void *argument) { SIM_CHECK(sim_post(argument, &alpha) == SHMQ_OK, "no room to send"); }

static void nothing(void *argument) { (void)argument; }

/* One sleeper, one sender, each stopped everywhere. */
void sim_test_one_sleeper_one_send(void)
{
    bool ended = false;

    for (uint64_t accesses = 0; !ended; accesses++)
        for (uint64_t fallen = 0; fallen < 24; fallen++) {
            sim_stopped(accesses, fallen);
            stage_sleepers(2);
            sim_spawn(wait_for_one, &sim_processes[0]);
            sim_spawn(nothing, &sim_processes[1]);
            sim_spawn(send_one_body, sender);
            sim_run(0, fallen);
            ended = sim_run(SLEEPERS, accesses) == SIM_FINISHED;
            run_awake();
            sim_run(SLEEPERS, ENDLESS);
            run_awake();
            check_none_asleep();
            sim_wind_up();
        }
}

/* Somebody announced and died; another takes the message that the sender is waking for; a third falls asleep. */
static bool announced_by_the_dead(uint64_t accesses, uint64_t fallen)
{
    struct sim_process *taker;
    bool ended;

    sim_stopped(accesses, fallen);
    stage_sleepers(2);
    taker = sim_player(SLEEPERS + 1, 2);
    shmq_wait_announce(shmq_receivers(alpha.queue));
    sim_impersonate(SIM_ROOT);
    sim_spawn(wait_for_one, &sim_processes[0]);
    sim_spawn(nothing, &sim_processes[1]);
    sim_spawn(send_one_body, sender);
    ended = sim_run(SLEEPERS, accesses) == SIM_FINISHED;
    SIM_AS(taker, sim_fetch(taker, &alpha));
    sim_impersonate(SIM_ROOT);
    sim_run(0, fallen);
    sim_run(SLEEPERS, ENDLESS);
    run_awake();
    post();
    run_awake();
    check_none_asleep();
    sim_wind_up();
    return ended;
}

void sim_test_announcement_of_the_dead(void)
{
    bool ended = false;

    for (uint64_t accesses = 0; !ended; accesses++)
        for (uint64_t fallen = 0; fallen < 24; fallen++)
            ended = announced_by_the_dead(accesses, fallen);
}
