/* SPDX-License-Identifier: MIT */
/* The random operations, and how often each comes under each theme. */
#include "sim_plan.h"

static uint32_t random_order(void)
{
    uint32_t order = sim_random(3) ? sim_random(2) : sim_random(sim_plan.largest_order + 1);

    return order <= sim_map.geometry.max_order ? order : sim_map.geometry.max_order;
}

static bool can_loan(const struct sim_process *process) { return process->loan_count < SIM_LOANS; }

/* A queue to send to: anybody's inbox, perhaps an outdated one, or a named queue that I know. */
static const struct shmq_queue_ref *random_target(struct sim_process *process)
{
    if (sim_random(4) < (sim_plan.theme == SIM_MIXED ? 2u : 1u)) {
        struct sim_process *peer = &sim_processes[sim_random(SIM_FIBRES - sim_plan.births_left)];

        return peer->inbox.queue ? &peer->inbox : NULL;
    } else {
        struct sim_opened *opened = &process->named[sim_random(sim_plan.names)];

        return opened->open ? &opened->ref : NULL;
    }
}

static void op_send(struct sim_process *process)
{
    const struct shmq_queue_ref *target = random_target(process);
    struct shmq_queue_ref ref;

    if (!target || !can_loan(process) || sim_do_loan(process, random_order()) != SHMQ_OK)
        return;
    ref = *target;
    if (sim_do_send(process, process->loan_count - 1, &ref) != SHMQ_OK && sim_random(4))
        sim_do_return(process, process->loan_count - 1);
}

static void op_send_kept_loan(struct sim_process *process)
{
    const struct shmq_queue_ref *target = random_target(process);
    struct shmq_queue_ref ref;

    if (!target || !process->loan_count)
        return;
    ref = *target;
    sim_do_send(process, sim_random(process->loan_count), &ref);
}

static void op_loan(struct sim_process *process)
{
    uint32_t slices;

    if (process->loan_count >= SIM_LOANS - 1)
        return;
    slices = sim_random(3);
    sim_do_wait_for_loan(process, random_order(), slices);
}

static void op_return(struct sim_process *process)
{
    if (process->loan_count)
        sim_do_return(process, sim_random(process->loan_count));
}

static void op_receive_inbox(struct sim_process *process)
{
    if (process->held_count < SIM_HELD && process->inbox_state == SIM_INBOX_OPEN)
        sim_do_receive(process, &process->inbox);
}

static struct sim_opened *random_claimed(struct sim_process *process)
{
    struct sim_opened *opened = &process->named[sim_random(sim_plan.names)];

    return opened->open && opened->claim != SIM_UNCLAIMED ? opened : NULL;
}

static void op_receive_named(struct sim_process *process)
{
    struct sim_opened *opened = random_claimed(process);

    if (opened && process->held_count < SIM_HELD && sim_do_receive(process, &opened->ref) == SHMQ_CLOSED)
        opened->open = false;
}

static void op_wait(struct sim_process *process)
{
    struct sim_opened *opened = random_claimed(process);

    if (opened && process->held_count < SIM_HELD)
        sim_do_wait(process, &opened->ref, 1 + sim_random(2));
}

static void op_release(struct sim_process *process)
{
    if (process->held_count)
        sim_do_release(process, sim_random(process->held_count));
}

static void op_edit(struct sim_process *process)
{
    if (process->held_count && can_loan(process))
        sim_do_edit(process, sim_random(process->held_count));
}

static void op_forward(struct sim_process *process)
{
    const struct shmq_queue_ref *target = random_target(process);
    struct shmq_queue_ref ref;
    uint32_t at;

    at = process->held_count ? sim_random(process->held_count) : 0;
    if (!target || !process->held_count || shmq_is_ticket(process->held[at].hold.word))
        return;
    ref = *target;
    if (sim_plan.theme == SIM_OVERFLOW)
        sim_do_forward_or_drop(process, at, &ref);
    else
        sim_do_forward(process, at, &ref);
}

static void op_open(struct sim_process *process)
{
    bool create = sim_random(4) != 0;
    uint32_t depth = 1 + sim_random(sim_plan.deepest);

    sim_do_open(process, sim_random(sim_plan.names), depth, create);
}

static void op_claim(struct sim_process *process)
{
    uint32_t name = sim_random(sim_plan.names);

    if (sim_random(2))
        sim_do_unclaim_outdated(process);
    if (!process->named[name].open)
        return;
    if (process->named[name].claim == SIM_EXCLUSIVE)
        sim_do_unclaim(process, name);
    else if (process->named[name].claim == SIM_UNCLAIMED)
        sim_do_claim(process, name, sim_random(3) != 0);
}

static void op_delete(struct sim_process *process)
{
    uint32_t name = sim_random(sim_plan.names);

    if (process->named[name].open && (name || !sim_plan.keeps_alpha))
        sim_do_delete(process, name);
}

static void op_shut(struct sim_process *process)
{
    uint32_t name = sim_random(sim_plan.names);

    if (process->named[name].open && (name || !sim_plan.keeps_alpha))
        sim_do_shut(process, name);
}

static void op_inbox(struct sim_process *process)
{
    if (process->inbox_state == SIM_NO_INBOX)
        sim_do_open_inbox(process, 1 + sim_random(sim_plan.deepest));
    else if (process->inbox_state == SIM_INBOX_CLOSING || !sim_random(4))
        sim_do_close_inbox(process);
}

static void op_recover(struct sim_process *process) { sim_totals.sweeps += sim_sweep(&process->actor); }

static void op_tidy(struct sim_process *process)
{
    if (sim_random(2))
        shmq_cache_flush(&process->actor);
    else
        shmq_buddy_merge(&process->actor);
    sim_operation_end();
}

/* ---- overflow and fan-out ---- */

static enum shmq_policy random_policy(void)
{
    static const enum shmq_policy policies[] = { SHMQ_POLICY_BLOCK, SHMQ_POLICY_DROP_OLDEST, SHMQ_POLICY_DROP_NEWEST };

    return policies[sim_random(3)];
}

static void op_send_or_drop(struct sim_process *process)
{
    const struct shmq_queue_ref *target = random_target(process);
    struct shmq_queue_ref ref;

    if (!target)
        return;
    ref = *target;
    if (sim_random(4) == 0)
        sim_do_make_room(process, &ref);
    if (!can_loan(process) || sim_do_loan(process, random_order()) != SHMQ_OK)
        return;
    if (sim_do_send_or_drop(process, process->loan_count - 1, &ref) != SHMQ_OK && sim_random(4))
        sim_do_return(process, process->loan_count - 1);
}

static void op_claim_as(struct sim_process *process)
{
    uint32_t name = sim_random(sim_plan.names);

    if (process->named[name].open && process->named[name].claim == SIM_UNCLAIMED) {
        enum shmq_policy policy = random_policy();

        sim_do_claim_as(process, name, sim_random(4) != 0, policy);
    }
}

/* A topic that the process knows, once it has opened it. */
static bool random_topic(struct sim_process *process, uint32_t *topic)
{
    *topic = sim_random(sim_plan.topics);
    return process->knows_topic[*topic] || sim_do_topic(process, *topic) == SHMQ_OK;
}

static void op_topic(struct sim_process *process) { sim_do_topic(process, sim_random(sim_plan.topics)); }

static void op_subscribe(struct sim_process *process)
{
    uint32_t at = sim_random(SIM_SUBSCRIPTIONS), topic;

    if (process->subscription[at].state == SIM_UNSUBSCRIBED && random_topic(process, &topic)) {
        enum shmq_policy policy = random_policy();

        sim_do_subscribe(process, at, topic, 1 + sim_random(sim_plan.deepest), policy);
    }
}

static void op_unsubscribe(struct sim_process *process) { sim_do_unsubscribe(process, sim_random(SIM_SUBSCRIPTIONS)); }

static void op_publish(struct sim_process *process)
{
    uint32_t topic;

    if (!random_topic(process, &topic))
        return;
    if (sim_random(8) == 0)
        sim_do_publisher_make_room(process, topic);
    if (!can_loan(process) || sim_do_loan(process, random_order()) != SHMQ_OK)
        return;
    sim_do_publish(process, process->loan_count - 1, topic, sim_random(3));
}

static struct sim_subscription *random_subscription(struct sim_process *process)
{
    struct sim_subscription *subscription = &process->subscription[sim_random(SIM_SUBSCRIPTIONS)];

    return subscription->state == SIM_SUBSCRIBED && process->held_count < SIM_HELD ? subscription : NULL;
}

static void op_receive_published(struct sim_process *process)
{
    struct sim_subscription *subscription = random_subscription(process);

    if (subscription)
        sim_do_receive(process, &subscription->ref);
}

static void op_wait_published(struct sim_process *process)
{
    struct sim_subscription *subscription = random_subscription(process);

    if (subscription)
        sim_do_wait(process, &subscription->ref, 1 + sim_random(2));
}

/* In place, or a copy where others want it, too. What is edited may be published again. */
static void op_edit_published(struct sim_process *process)
{
    uint32_t topic;

    if (!process->held_count || !can_loan(process))
        return;
    if (sim_do_edit(process, sim_random(process->held_count)) != SHMQ_OK) {
        if (sim_do_loan(process, 0) == SHMQ_OK)
            sim_do_release(process, process->held_count - 1);
    } else if (sim_random(2) && random_topic(process, &topic)) {
        sim_do_publish(process, process->loan_count - 1, topic, 0);
    }
}

typedef void operation(struct sim_process *process);

/* As often as it stands here. */
static operation *const mixed[] = {
    op_send, op_send, op_send, op_send, op_send_kept_loan, op_loan, op_return, op_receive_inbox, op_receive_inbox,
    op_receive_named, op_receive_named, op_receive_named, op_release, op_release, op_release, op_edit, op_forward,
    op_forward, op_open, op_claim, op_claim, op_delete, op_shut, op_inbox, op_recover, op_recover, op_tidy, op_wait,
};

static operation *const traffic[] = {
    op_send, op_send, op_send, op_send, op_receive_named, op_receive_named, op_receive_named, op_receive_named,
        op_release,
    op_release, op_release, op_forward, op_forward, op_receive_inbox, op_wait, op_claim, op_recover,
};

static operation *const naming[] = {
    op_open, op_open, op_open, op_delete, op_delete, op_claim, op_claim, op_send, op_send, op_receive_named,
        op_receive_named,
    op_release, op_forward, op_shut, op_inbox, op_recover, op_wait,
};

static operation *const recovery[] = {
    op_send, op_send, op_receive_named, op_receive_named, op_receive_named, op_forward, op_forward, op_release,
        op_recover,
    op_recover, op_recover, op_open, op_open, op_delete, op_delete, op_claim, op_claim, op_inbox, op_edit,
};

static operation *const blocks[] = {
    op_loan, op_loan, op_loan, op_return, op_return, op_return, op_tidy, op_send, op_receive_inbox, op_release,
        op_recover,
};

/* Few messages in few hands, from one dead holder to the next. */
static operation *const handover[] = {
    op_receive_named, op_receive_named, op_forward, op_forward, op_forward, op_recover, op_recover, op_send, op_release,
};

static operation *const ending[] = {
    op_send, op_send, op_send, op_receive_named, op_receive_named, op_receive_named, op_release, op_release, op_release,
        op_shut,
    op_open, op_claim, op_recover, op_wait,
};

static operation *const fanout[] = {
    op_publish, op_publish, op_publish, op_publish, op_receive_published, op_receive_published, op_receive_published,
    op_receive_published, op_wait_published, op_release, op_release, op_release, op_edit_published, op_subscribe,
    op_subscribe, op_unsubscribe, op_recover, op_recover, op_tidy,
};

static operation *const subscribing[] = {
    op_topic, op_subscribe, op_subscribe, op_subscribe, op_unsubscribe, op_unsubscribe, op_unsubscribe, op_publish,
    op_publish, op_receive_published, op_receive_published, op_edit_published, op_release, op_recover, op_recover,
    op_open, op_delete,
};

static operation *const overflow[] = {
    op_send_or_drop, op_send_or_drop, op_send_or_drop, op_send_or_drop, op_receive_named, op_receive_named, op_release,
    op_release, op_claim_as, op_claim_as, op_open, op_open, op_delete, op_publish, op_publish, op_receive_published,
    op_subscribe, op_unsubscribe, op_recover, op_forward, op_wait,
};

static const struct { operation *const *list; uint32_t count; } themes[SIM_THEMES] = {
    { mixed, sizeof mixed / sizeof mixed[0] }, { traffic, sizeof traffic / sizeof traffic[0] },
    { naming, sizeof naming / sizeof naming[0] }, { recovery, sizeof recovery / sizeof recovery[0] },
    { blocks, sizeof blocks / sizeof blocks[0] }, { handover, sizeof handover / sizeof handover[0] },
    { ending, sizeof ending / sizeof ending[0] }, { fanout, sizeof fanout / sizeof fanout[0] },
    { subscribing, sizeof subscribing / sizeof subscribing[0] }, { overflow, sizeof overflow / sizeof overflow[0] },
};

void sim_operate(struct sim_process *process)
{
    themes[sim_plan.theme].list[sim_random(themes[sim_plan.theme].count)](process);
}
