/* SPDX-License-Identifier: MIT */
/* Topics: opened, subscribed to, published under. */
#include "sim_process.h"
#include "sim_tickets.h"

/* As long as names may be, and different only in the last word. */
#define LONG "----------------------------------------------------------------------------------------------- "

static const char *const names[SIM_TOPICS] = { LONG "left", LONG "rigt", LONG "back" };

static struct shmq_publisher publishers[SIM_FIBRES + 1][SIM_TOPICS]; /* by process; of the main program */

const char *sim_topic_name(uint32_t topic) { return names[topic]; }

struct shmq_publisher *sim_publisher(struct sim_process *process, uint32_t topic)
{
    SIM_CHECK(process->knows_topic[topic], "the test does not know topic %u", topic);
    return &publishers[process == &sim_root ? SIM_FIBRES : process - sim_processes][topic];
}

int sim_do_topic(struct sim_process *process, uint32_t topic)
{
    uint32_t number;
    int result = shmq_topic_open(&process->actor, names[topic], &number);
    bool known = process->knows_topic[topic];

    sim_operation_end();
    SIM_CHECK(result == SHMQ_OK || (result == SHMQ_NO_QUEUES && !known), "opening topic %s returned %d", names[topic],
        result);
    if (result != SHMQ_OK)
        return result;
    process->knows_topic[topic] = true;
    SIM_CHECK(!known || sim_publisher(process, topic)->topic == number, "topic %s was %u and is %u", names[topic],
        sim_publisher(process, topic)->topic, number);
    if (!known)
        shmq_publisher_init(sim_publisher(process, topic), number);
    return result;
}

int sim_do_subscribe(struct sim_process *process, uint32_t at, uint32_t topic, uint32_t depth, enum shmq_policy policy)
{
    struct sim_subscription *subscription = &process->subscription[at];
    uint32_t number = sim_publisher(process, topic)->topic;
    int result = shmq_subscribe(&process->actor, number, depth, policy, &subscription->ref);

    sim_operation_end();
    SIM_CHECK(subscription->state == SIM_UNSUBSCRIBED, "the test subscribes twice");
    SIM_CHECK(result == SHMQ_OK || result == SHMQ_NO_QUEUES || result == SHMQ_NO_INDEX, "subscribing returned %d",
        result);
    if (result == SHMQ_OK)
        subscription->state = SIM_SUBSCRIBED;
    return result;
}

void sim_do_unsubscribe(struct sim_process *process, uint32_t at)
{
    struct sim_subscription *subscription = &process->subscription[at];

    if (subscription->state == SIM_SUBSCRIBED) {
        int result = shmq_unsubscribe(&process->actor, &subscription->ref);

        SIM_CHECK(result == SHMQ_OK, "unsubscribing returned %d", result);
        subscription->state = SIM_UNSUBSCRIBING;
    }
    sim_operation_end();
    if (subscription->state == SIM_UNSUBSCRIBED || sim_held_from(process, &subscription->ref))
        return;
    subscription->state = SIM_UNSUBSCRIBED;
    SIM_CHECK(shmq_flags_epoch(shmq_queue_flags(&sim_map, subscription->ref.qid)) != subscription->ref.epoch,
        "who has unsubscribed and holds nothing keeps its queue");
}

/* Post to all that have room, and wait for the others. */
static void post_all(struct sim_process *process, const struct shmq_publisher *publisher,
    struct shmq_publication *publication, uint32_t id, uint32_t slices)
{
    int result = shmq_publish_try(&process->actor, publisher, publication);

    for (; result == SHMQ_FULL && slices; slices--) {
        const struct shmq_queue_ref *ref = &publisher->ref[shmq_publication_pending(publication, 0)];

        shmq_await_sleep(&sim_map, ref, false, SHMQ_SLICE_NS);
        result = shmq_publish_try(&process->actor, publisher, publication);
        shmq_await_leave(&sim_map, ref, false);
    }
    if (result == SHMQ_OK)
        return;
    sim_tickets_given_up(id);
    shmq_publish_finish(&process->actor, publisher, publication);
}

void sim_do_publisher_make_room(struct sim_process *process, uint32_t topic)
{
    sim_ledger_may_drop(true);
    (void)shmq_publisher_make_room(&process->actor, sim_publisher(process, topic));
    sim_operation_end();
    sim_ledger_may_drop(false);
}

uint32_t sim_do_publish(struct sim_process *process, uint32_t at, uint32_t topic, uint32_t slices)
{
    struct shmq_publisher *publisher = sim_publisher(process, topic);
    struct shmq_hold loan = sim_loan_remove(process, at);
    uint32_t id = sim_ledger_new(loan.block, shmq_block_order(loan.word));
    struct shmq_parcel parcel = sim_make_parcel(id);
    struct shmq_publication publication;
    int result;

    sim_tickets_new(id);
    sim_ledger_may_drop(true);
    result = shmq_publish_start(&process->actor, publisher, &loan, &parcel, &publication);
    SIM_CHECK(result == SHMQ_OK, "publishing message %u returned %d", id, result);
    sim_tickets_started(id, publisher, &publication);
    post_all(process, publisher, &publication, id, slices);
    sim_operation_end();
    SIM_CHECK(shmq_publication_pending(&publication, 0) == SHMQ_MAX_SUBSCRIBERS, "a publication is still pending");
    sim_tickets_finished(id, publication.reached);
    sim_ledger_may_drop(false);
    return publication.reached;
}
