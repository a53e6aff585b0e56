/* SPDX-License-Identifier: MIT */
/* Who may change which word to what. */
#include "sim_rules.h"

struct sim_where sim_locate(const uint64_t *word)
{
    const struct shmq_geometry *g = &sim_map.geometry;
    uint64_t at = (uint64_t)((const unsigned char *)word - sim_map.admin);
    struct sim_where where = { SIM_OTHER_WORD, 0, 0, 0, 0, 0, 0, 0 };

    if (at >= g->slot_at) {
        where.target = SIM_SLOT;
        where.qid = (uint32_t)((at - g->slot_at) / (SHMQ_MAX_DEPTH * 8));
        where.slot = (uint32_t)((at - g->slot_at) % (SHMQ_MAX_DEPTH * 8) / 8);
    } else if (at >= g->block_at) {
        where.block = (uint32_t)((at - g->block_at) / sizeof(struct shmq_block));
        if (word == &sim_map.block[where.block].word)
            where.target = SIM_BLOCK_WORD;
        for (where.word = 0; where.word < SHMQ_TICKET_WORDS; where.word++)
            if (word == &sim_map.block[where.block].m[where.word]) {
                where.target = SIM_TICKETS_WORD;
                break;
            }
    } else if (at >= g->queue_at && at < g->name_at) {
        where.qid = (uint32_t)((at - g->queue_at) / sizeof(struct shmq_queue));
        if (word == &sim_map.queue[where.qid].flags)
            where.target = SIM_FLAGS;
        else if (word == &sim_map.queue[where.qid].dropped)
            where.target = SIM_DROPPED;
    } else if (at >= g->topic_at && at < g->word_at[0]) {
        where.topic = (uint32_t)((at - g->topic_at) / sizeof(struct shmq_topic));
        if (word == &sim_map.topic[where.topic].flags)
            where.target = SIM_TOPIC_FLAGS;
        else if (word >= sim_map.topic[where.topic].subscriber)
            where.target = SIM_SUBSCRIBER;
        where.index = (uint32_t)(word - sim_map.topic[where.topic].subscriber);
    } else {
        for (uint32_t tier = 0; tier < g->tiers; tier++)
            if (at >= g->word_at[tier] && at < g->word_at[tier] + 8ull * g->word_count[tier]) {
                where.target = SIM_BUDDY_WORD;
                where.tier = tier;
                where.word = (uint32_t)((at - g->word_at[tier]) / 8);
            }
    }
    return where;
}

#define FOREIGN UINT32_MAX

/* How many tickets of the block's generation are left; FOREIGN where some word is another's. */
static uint32_t wanted(uint32_t block, uint64_t block_word)
{
    uint32_t count = 0;

    for (uint32_t i = 0; i < SHMQ_TICKET_WORDS; i++) {
        uint64_t tickets = sim_map.block[block].m[i];

        if (shmq_tag(tickets) != (shmq_block_gen(block_word) & 0xffff))
            return FOREIGN;
        count += (uint32_t)__builtin_popcount(shmq_tickets_wanted(tickets));
    }
    return count;
}

/* Ownership changes only by the one who holds the owner's identity: its byte lock. Of a published block nobody's
 * ticket is left then, or one: that of who makes it its own. */
static void check_block_word(const struct sim_write *write, uint32_t block)
{
    uint32_t from = shmq_block_state(write->before), to = shmq_block_state(write->after);
    bool legal = false;

    if (from == SHMQ_STATE_FREE || from == SHMQ_STATE_REQUEUE)
        legal = to == SHMQ_STATE_OWNED;
    else if (from == SHMQ_STATE_QUEUED)
        legal = to == SHMQ_STATE_OWNED;
    else if (from == SHMQ_STATE_OWNED)
        legal = sim_holds_lock(shmq_block_owner(write->before));
    else if (from == SHMQ_STATE_FANOUT)
        legal = to == SHMQ_STATE_OWNED && wanted(block, write->before) == (write->step == SHMQ_T_ALONE);
    if (to == SHMQ_STATE_FANOUT)
        legal = legal && from == SHMQ_STATE_OWNED && wanted(block, write->after)
            && wanted(block, write->after) != FOREIGN;
    if (to == SHMQ_STATE_OWNED || to == SHMQ_STATE_QUEUED || to == SHMQ_STATE_FANOUT)
        legal = legal && sim_holds_lock(shmq_block_owner(write->after));
    SIM_CHECK(legal, "step %s: block %u goes from %llx to %llx, which its writer may not do",
        sim_step_name(write->step), block, (unsigned long long)write->before, (unsigned long long)write->after);
}

/* The head of the unit that a lower word divides. */
static uint32_t unit_head(const struct sim_where *where) { return where->word << 5 * (where->tier + 1); }

static bool owned_by_writer(uint32_t block)
{
    uint64_t word = sim_map.block[block].word;

    return shmq_block_state(word) == SHMQ_STATE_OWNED && sim_holds_lock(shmq_block_owner(word));
}

/* A node's bit belongs to the owner of its head; the ACTIVE bit to the owner of the unit. */
static void check_buddy_word(const struct sim_write *write, const struct sim_where *where)
{
    uint64_t changed = write->before ^ write->after;

    if (write->step == SHMQ_CREATE)
        return;
    if (changed & SHMQ_WORD_ACTIVE) {
        SIM_CHECK(owned_by_writer(unit_head(where)),
            "step %s: word %u/%u goes from %llx to %llx by one who does not own its unit",
            sim_step_name(write->step), where->tier, where->word, (unsigned long long)write->before,
            (unsigned long long)write->after);
        SIM_CHECK((write->before | write->after) == SHMQ_WORD_ACTIVE, "step %s: word %u/%u goes from %llx to %llx",
            sim_step_name(write->step),
            where->tier, where->word, (unsigned long long)write->before, (unsigned long long)write->after);
        return;
    }
    for (uint64_t bits = changed; bits; bits &= bits - 1) {
        uint32_t bit = (uint32_t)__builtin_ctzll(bits);
        uint32_t head = shmq_node_head(where->tier, where->word, 5 - shmq_log2(bit), bit);

        SIM_CHECK(head < sim_map.geometry.granules && owned_by_writer(head),
            "step %s: node %u of word %u/%u changes by one who does not own block %u", sim_step_name(write->step), bit,
            where->tier, where->word, head);
        SIM_CHECK(!(write->after >> bit & 1) || !(write->before & sim_map.conflict[bit]),
            "step %s: node %u of word %u/%u is set over %llx", sim_step_name(write->step), bit, where->tier,
            where->word, (unsigned long long)write->before);
    }
}

/* A slot goes EMPTY(lap) -> FULL(lap) -> EMPTY(lap + 1); only a maker rewrites it. */
static void check_slot(const struct sim_write *write, const struct sim_where *where)
{
    uint32_t before = shmq_slot_lap(write->before), after = shmq_slot_lap(write->after);
    bool filled = shmq_slot_value(write->before) == 0 && after == before;
    bool cleared = shmq_slot_value(write->after) == 0 && after == ((before + 1) & 0xffffff);

    if (write->step == SHMQ_Q1_SLOT)
        return;
    SIM_CHECK(shmq_slot_value(write->before) ? cleared : filled, "step %s: slot %u of queue %u goes from %llx to %llx",
        sim_step_name(write->step), where->slot, where->qid, (unsigned long long)write->before,
        (unsigned long long)write->after);
}

static bool is_work(uint32_t qid) { return shmq_config_kind(sim_map.queue[qid].config) == SHMQ_KIND_WORK; }

static bool same_name(uint32_t a, uint32_t b)
{
    return memcmp(sim_map.name[a].text, sim_map.name[b].text, sizeof sim_map.name[a].text) == 0;
}

/* Epochs only grow, what is closing is not opened again, and a name opens once. */
static void check_flags(const struct sim_write *write, uint32_t qid)
{
    uint32_t step_up = shmq_flags_epoch(write->after) - shmq_flags_epoch(write->before);
    bool opens = write->after & ~write->before & SHMQ_QUEUE_OPEN;

    SIM_CHECK(step_up <= 1, "step %s: queue %u goes from %llx to %llx", sim_step_name(write->step), qid,
        (unsigned long long)write->before, (unsigned long long)write->after);
    if (!opens)
        return;
    SIM_CHECK(!(write->before & SHMQ_QUEUE_CLOSING), "step %s: queue %u is opened while it closes",
        sim_step_name(write->step), qid);
    for (uint32_t other = sim_map.geometry.max_processes; other < sim_map.geometry.queues; other++)
        SIM_CHECK(!is_work(qid) || other == qid || !(sim_map.queue[other].flags & SHMQ_QUEUE_OPEN) || !is_work(other)
                || !same_name(qid, other),
            "step %s: queues %u and %u are open under one name", sim_step_name(write->step), qid, other);
}

/* The same of topics; one that was opened stays. */
static void check_topic_flags(const struct sim_write *write, uint32_t topic)
{
    const char *step = sim_step_name(write->step);

    SIM_CHECK(!(write->before & SHMQ_QUEUE_OPEN), "step %s: topic %u was open and is touched", step, topic);
    SIM_CHECK(shmq_flags_epoch(write->after) - shmq_flags_epoch(write->before) <= 1,
        "step %s: topic %u goes from %llx to %llx", step, topic, (unsigned long long)write->before,
        (unsigned long long)write->after);
    if (!(write->after & SHMQ_QUEUE_OPEN))
        return;
    SIM_CHECK(!(write->before & SHMQ_QUEUE_CLOSING), "step %s: topic %u is opened while it is given up", step, topic);
    for (uint32_t other = 0; other < sim_map.geometry.max_topics; other++)
        SIM_CHECK(other == topic || !(sim_map.topic[other].flags & SHMQ_QUEUE_OPEN)
                || memcmp(sim_map.topic[other].text, sim_map.topic[topic].text, sizeof sim_map.topic[topic].text) != 0,
            "step %s: topics %u and %u are open under one name", step, topic, other);
}

/* An entry is made, and taken out, by who acts for the owner of its queue. */
static void check_subscriber(const struct sim_write *write, uint32_t topic, uint32_t index)
{
    uint64_t entry = write->after ? write->after : write->before;
    uint32_t qid = shmq_subscriber_queue(entry);

    SIM_CHECK(!write->after || !write->before, "step %s: subscriber %u of topic %u is replaced",
        sim_step_name(write->step), index, topic);
    SIM_CHECK(qid < sim_map.geometry.queues
            && shmq_flags_epoch(sim_map.queue[qid].flags) == shmq_subscriber_epoch(entry)
            && sim_holds_lock(shmq_flags_owner(sim_map.queue[qid].flags)),
        "step %s: subscriber %u of topic %u, queue %u, is entered or taken out by another", sim_step_name(write->step),
        index, topic, qid);
}

void sim_rules_check(const struct sim_write *write, const struct sim_where *where)
{
    if (write->before == write->after)
        return;
    if (where->target == SIM_BLOCK_WORD)
        check_block_word(write, where->block);
    else if (where->target == SIM_BUDDY_WORD)
        check_buddy_word(write, where);
    else if (where->target == SIM_FLAGS)
        check_flags(write, where->qid);
    else if (where->target == SIM_SLOT)
        check_slot(write, where);
    else if (where->target == SIM_TOPIC_FLAGS)
        check_topic_flags(write, where->topic);
    else if (where->target == SIM_SUBSCRIBER)
        check_subscriber(write, where->topic, where->index);
}
