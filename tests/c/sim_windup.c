/* SPDX-License-Identifier: MIT */
/* Winding up. */
#include "sim_windup.h"

void sim_recover_all(void)
{
    sim_impersonate(SIM_ROOT);
    for (int round = 0; sim_sweep(&sim_root.actor); round++)
        SIM_CHECK(round < 10, "recovery does not end");
}

void sim_drain_named(uint32_t name)
{
    const struct shmq_queue *queue;

    if (sim_do_open(&sim_root, name, 1, false) != SHMQ_OK)
        return;
    while (sim_do_receive(&sim_root, &sim_root.named[name].ref) == SHMQ_OK)
        sim_do_release(&sim_root, sim_root.held_count - 1);
    queue = sim_root.named[name].ref.queue;
    SIM_CHECK(queue->requeued == queue->requeued_done,
        "queue %u was searched and still says that something is requeued", sim_root.named[name].ref.qid);
}

static void empty_hands(struct sim_process *process)
{
    while (process->held_count)
        sim_do_release(process, 0);
    while (process->loan_count)
        sim_do_return(process, 0);
}

static void drain_inbox(struct sim_process *process)
{
    do
        empty_hands(process);
    while (process->inbox_state == SIM_INBOX_OPEN && sim_do_receive(process, &process->inbox) == SHMQ_OK);
}

static void drain_subscriptions(struct sim_process *process)
{
    for (uint32_t at = 0; at < SIM_SUBSCRIPTIONS; at++) {
        struct sim_subscription *subscription = &process->subscription[at];

        while (subscription->state == SIM_SUBSCRIBED && sim_do_receive(process, &subscription->ref) == SHMQ_OK)
            empty_hands(process);
        if (subscription->state == SIM_UNSUBSCRIBING)
            sim_do_unsubscribe(process, at);
    }
}

void sim_drain_own(struct sim_process *process)
{
    drain_inbox(process);
    drain_subscriptions(process);
}

static void for_each_left(void (*act)(struct sim_process *process))
{
    for (int fibre = 0; fibre < SIM_FIBRES; fibre++)
        if (sim_processes[fibre].attached) {
            sim_impersonate(fibre);
            act(&sim_processes[fibre]);
        }
    sim_impersonate(SIM_ROOT);
}

void sim_wind_up(void)
{
    sim_recover_all();
    sim_processes_audit();
    for (uint32_t name = 0; name < SIM_NAMES; name++)
        sim_drain_named(name);
    empty_hands(&sim_root);
    for_each_left(sim_drain_own);
    sim_ledger_settle();
    for_each_left(sim_process_leave);
    for (uint32_t name = 0; name < SIM_NAMES; name++)
        if (sim_root.named[name].open)
            sim_do_delete(&sim_root, name);
    shmq_cache_flush(&sim_root.actor);
    for (uint32_t tier = 0; tier < sim_map.geometry.tiers; tier++)
        shmq_buddy_merge(&sim_root.actor); /* a merged lower word may let the next tier's merge */
    sim_audit_empty();
}

struct sim_process *sim_play(int fibre)
{
    struct sim_process *process = &sim_processes[fibre];

    sim_impersonate(fibre);
    sim_process_attach(process, fibre);
    SIM_CHECK(process->attached, "no process slot for fibre %d", fibre);
    process->actor.cache.limit = 0;
    return process;
}
