/* SPDX-License-Identifier: MIT */
/* The audit reads memory plainly: nobody runs meanwhile. */
#include "sim_audit.h"

#include "sim_process.h"

static uint64_t block_word(uint32_t block) { return sim_map.block[block].word; }

static bool queue_open_at(uint32_t qid, uint32_t epoch)
{
    uint64_t flags = sim_map.queue[qid].flags;

    return (shmq_flags_bits(flags) & SHMQ_QUEUE_OPEN) && shmq_flags_epoch(flags) == epoch;
}

/* ---- block words ---- */

/* How many slots of the queue name the block in this generation. */
static uint32_t times_in_ring(uint32_t qid, uint32_t block, uint32_t gen)
{
    const struct shmq_queue *queue = &sim_map.queue[qid];
    uint32_t capacity = 1u << shmq_config_capacity_shift(queue->config);
    uint32_t times = 0;

    for (uint32_t i = 0; i < capacity; i++) {
        uint64_t slot = shmq_map_slots(&sim_map, qid)[i];

        times += shmq_slot_value(slot) == block + 1 && shmq_slot_gen(slot) == (gen & 0xfff);
    }
    return times;
}

static void audit_owned(uint32_t block, uint64_t word, sim_hands *hands)
{
    struct sim_hand hand = hands(shmq_block_owner(word), block);

    SIM_CHECK(hand.times == 1, "audit: block %u (order %u, queue %u) is owned by process %u, which has it %u times",
        block, shmq_block_order(word), shmq_block_queue(word), shmq_block_owner(word), hand.times);
    if (!shmq_block_queue(word) && hand.queue && !queue_open_at(hand.queue - 1, hand.epoch))
        return; /* a forward failed, and the queue it was held from had gone */
    SIM_CHECK(hand.queue == shmq_block_queue(word), "audit: block %u is held from queue %u, its word says %u", block,
        hand.queue, shmq_block_queue(word));
}

static void audit_queued(uint32_t block, uint64_t word)
{
    uint32_t qid = shmq_block_queue(word) - 1;
    uint64_t epoch_word = sim_map.block[block].m[SHMQ_M_EPOCH];
    uint32_t times;

    SIM_CHECK(qid < sim_map.geometry.queues, "audit: block %u is queued nowhere (%u)", block, qid);
    SIM_CHECK(shmq_tag(epoch_word) == (shmq_block_gen(word) & 0xffff),
        "audit: block %u is queued with a foreign epoch word", block);
    SIM_CHECK(queue_open_at(qid, (uint32_t)epoch_word),
        "audit: block %u is queued in queue %u, which is not open at its epoch %u", block, qid, (uint32_t)epoch_word);
    times = times_in_ring(qid, block, shmq_block_gen(word));
    SIM_CHECK(times == 1, "audit: block %u is queued and stands %u times in the ring of queue %u", block, times, qid);
}

static void audit_requeue(uint32_t block, uint64_t word)
{
    uint32_t qid = shmq_block_queue(word) - 1;
    const struct shmq_block *record = &sim_map.block[block];
    const struct shmq_queue *queue = &sim_map.queue[qid];
    uint32_t epoch = shmq_from_queue(record->m[SHMQ_M_FROM]) == qid + 1 ? shmq_from_epoch(record->m[SHMQ_M_FROM])
                                                                         : (uint32_t)record->m[SHMQ_M_EPOCH];

    SIM_CHECK(qid < sim_map.geometry.queues, "audit: block %u is requeued nowhere (%u)", block, qid);
    SIM_CHECK(queue_open_at(qid, epoch), "audit: block %u is requeued for queue %u, which is not open at its epoch %u",
        block, qid, epoch);
    SIM_CHECK(queue->requeued != queue->requeued_done,
        "audit: block %u is requeued for queue %u and no receiver will look", block, qid);
}

/* Each ticket is in the ring of its subscriber's open queue, or held by that subscriber's process. */
static void audit_ticket(uint32_t block, uint64_t word, uint32_t topic, uint32_t index)
{
    uint64_t entry = sim_map.topic[topic].subscriber[index];
    uint32_t qid = shmq_subscriber_queue(entry);
    bool seen = sim_map.block[block].m[index / SHMQ_TICKETS] & shmq_ticket_seen(index);
    uint32_t times;

    SIM_CHECK(entry && qid < sim_map.geometry.queues
            && shmq_flags_epoch(sim_map.queue[qid].flags) == shmq_subscriber_epoch(entry),
        "audit: block %u has a ticket of subscriber %u, which is nobody", block, index);
    if (seen) {
        SIM_CHECK(sim_process_holds_ticket(shmq_flags_owner(sim_map.queue[qid].flags), block, index),
            "audit: block %u is held by subscriber %u, whose process does not have it", block, index);
        return;
    }
    SIM_CHECK(queue_open_at(qid, shmq_subscriber_epoch(entry)),
        "audit: block %u waits for subscriber %u, whose queue is not open", block, index);
    times = times_in_ring(qid, block, shmq_block_gen(word));
    SIM_CHECK(times == 1, "audit: block %u waits for subscriber %u and stands %u times in its queue", block, index,
        times);
}

static void audit_published(uint32_t block, uint64_t word)
{
    uint32_t topic = shmq_block_queue(word) - 1, tickets = 0;

    SIM_CHECK(topic < sim_map.geometry.max_topics, "audit: block %u is published nowhere (%u)", block, topic);
    for (uint32_t index = 0; index < SHMQ_MAX_SUBSCRIBERS; index++) {
        uint64_t of_word = sim_map.block[block].m[index / SHMQ_TICKETS];

        SIM_CHECK(shmq_tag(of_word) == (shmq_block_gen(word) & 0xffff), "audit: block %u has another's tickets", block);
        SIM_CHECK(of_word & shmq_ticket_want(index) || !(of_word & shmq_ticket_seen(index)),
            "audit: block %u is seen by subscriber %u, which does not want it", block, index);
        if (!(of_word & shmq_ticket_want(index)))
            continue;
        audit_ticket(block, word, topic, index);
        tickets++;
    }
    SIM_CHECK(tickets, "audit: block %u is published and nobody has a ticket", block);
}

static bool node_set(uint32_t block, uint32_t order)
{
    struct shmq_node node = shmq_node_of(&sim_map, block, order);

    return sim_map.word[node.tier][node.word] >> node.bit & 1;
}

static void audit_block(uint32_t block, sim_hands *hands)
{
    uint64_t word = block_word(block);

    if (shmq_block_state(word) == SHMQ_STATE_FREE)
        return;
    SIM_CHECK(shmq_block_plausible(&sim_map, block, word), "audit: block %u has the word %llx", block,
        (unsigned long long)word);
    SIM_CHECK(node_set(block, shmq_block_order(word)), "audit: block %u (word %llx) has no node bit", block,
        (unsigned long long)word);
    switch (shmq_block_state(word)) {
    case SHMQ_STATE_OWNED:
        audit_owned(block, word, hands);
        break;
    case SHMQ_STATE_QUEUED:
        audit_queued(block, word);
        break;
    case SHMQ_STATE_REQUEUE:
        audit_requeue(block, word);
        break;
    case SHMQ_STATE_FANOUT:
        audit_published(block, word);
        break;
    default:
        sim_fail("audit: block %u in state %u", block, shmq_block_state(word));
    }
}

/* ---- buddy words ---- */

static uint32_t level_of(uint32_t bit) { return 5 - shmq_log2(bit); }

static bool active(uint32_t tier, uint32_t word) { return sim_map.word[tier][word] & SHMQ_WORD_ACTIVE; }

/* A set node must be someone's block, a split unit, or lie beyond the end. */
static void audit_node(uint32_t tier, uint32_t word, uint32_t bit)
{
    uint32_t level = level_of(bit);
    uint32_t head = shmq_node_head(tier, word, level, bit);
    uint64_t owner;

    if ((uint64_t)head + (1u << (5 * tier + level)) > sim_map.geometry.granules)
        return;
    if (level == 0 && tier > 0 && active(tier - 1, head >> 5 * tier))
        return;
    owner = block_word(head);
    SIM_CHECK(shmq_block_state(owner) != SHMQ_STATE_FREE && shmq_block_order(owner) == 5 * tier + level,
        "audit: node %u of word %u/%u is set, block %u says %llx", bit, tier, word, head, (unsigned long long)owner);
}

static void audit_word(uint32_t tier, uint32_t word)
{
    uint64_t tree = sim_map.word[tier][word];

    if (!(tree & SHMQ_WORD_ACTIVE)) {
        SIM_CHECK(!tree, "audit: word %u/%u is inactive and holds %llx", tier, word, (unsigned long long)tree);
        return;
    }
    for (uint32_t bit = 1; bit < 64; bit++) {
        if (!(tree >> bit & 1))
            continue;
        SIM_CHECK(!(tree & sim_map.conflict[bit] & ~(1ull << bit)), "audit: overlapping nodes in word %u/%u: %llx",
            tier, word, (unsigned long long)tree);
        audit_node(tier, word, bit);
    }
    if (tier == sim_map.geometry.tiers - 1)
        return;
    SIM_CHECK(sim_map.word[tier + 1][word / 32] >> (32 + word % 32) & 1,
        "audit: word %u/%u is active, its unit is not taken", tier, word);
    SIM_CHECK(sim_map.split[tier][word / 64] >> word % 64 & 1, "audit: word %u/%u is active and was never marked split",
        tier, word);
}

/* ---- queues ---- */

/* In an open queue no slot is stale once nobody is inside an operation. In one that is closed or shut down the slot
 * of a
 * sender that took its block back may be: nobody posts there any more, and the next maker rewrites it. */
static void audit_slots(uint32_t qid)
{
    const struct shmq_queue *queue = &sim_map.queue[qid];
    uint32_t bits = shmq_flags_bits(queue->flags);
    uint32_t place = (uint32_t)queue->place;

    for (uint32_t i = 0; place && i < 1u << (place - 1); i++) {
        uint64_t slot = shmq_map_slots(&sim_map, qid)[i];
        uint32_t value = shmq_slot_value(slot);
        uint64_t word;

        if (!value)
            continue;
        SIM_CHECK(value <= sim_map.geometry.granules, "audit: slot %u of queue %u names block %u", i, qid, value - 1);
        word = block_word(value - 1);
        if (shmq_config_kind(queue->config) == SHMQ_KIND_SUBSCRIBER) /* who dropped from it may have died on the way */
            continue;
        SIM_CHECK(!(bits & SHMQ_QUEUE_OPEN) || (bits & SHMQ_QUEUE_SHUT) || (shmq_block_state(word) == SHMQ_STATE_QUEUED
            && shmq_block_queue(word) == qid + 1),
            "audit: slot %u of queue %u (flags %llx) still names block %u, which says %llx", i, qid,
            (unsigned long long)queue->flags, value - 1, (unsigned long long)word);
    }
}

/* A work queue is open under a name that somebody gave, whole. */
static void audit_name(uint32_t qid)
{
    char text[SHMQ_NAME_WORDS * 8];

    shmq_name_load(sim_map.name[qid].text, text);
    for (uint32_t name = 0; name < SIM_NAMES; name++)
        if (strcmp(text, sim_name(name)) == 0)
            return;
    sim_fail("audit: queue %u is open under a name that nobody gave: %s", qid, text);
}

static void audit_queue(uint32_t qid)
{
    const struct shmq_queue *queue = &sim_map.queue[qid];
    uint32_t bits = shmq_flags_bits(queue->flags);
    uint32_t owner = shmq_flags_owner(queue->flags);

    audit_slots(qid);
    if (queue->claim) {
        uint32_t slot = shmq_claim_slot(queue->claim);

        SIM_CHECK(slot < sim_map.geometry.max_processes, "audit: queue %u is claimed by process %u", qid, slot);
        SIM_CHECK(!(bits & SHMQ_QUEUE_OPEN)
                || sim_map.process[slot].state == shmq_process_word(shmq_claim_epoch(queue->claim), SHMQ_PROCESS_LIVE),
            "audit: queue %u is claimed by process %u, which is gone", qid, slot);
    }
    if (!(bits & SHMQ_QUEUE_USED)) {
        SIM_CHECK(!(bits & ~(uint32_t)(SHMQ_QUEUE_SLEEP | SHMQ_QUEUE_SPACE)),
            "audit: unused queue %u has the flags %llx", qid, (unsigned long long)queue->flags);
        return;
    }
    SIM_CHECK(bits & (SHMQ_QUEUE_OPEN | SHMQ_QUEUE_CLOSING), "audit: queue %u was built and never opened (flags %llx)",
        qid, (unsigned long long)queue->flags);
    if ((bits & SHMQ_QUEUE_OPEN) && shmq_config_kind(queue->config) == SHMQ_KIND_WORK)
        audit_name(qid);
    if ((bits & SHMQ_QUEUE_OPEN) && shmq_config_kind(queue->config) == SHMQ_KIND_SUBSCRIBER)
        SIM_CHECK(sim_map.topic[shmq_config_topic(queue->config)].subscriber[shmq_config_index(queue->config)]
                == shmq_subscriber_word(shmq_flags_epoch(queue->flags), qid),
            "audit: queue %u is open and not subscribed", qid);
    if (owner != SHMQ_NO_OWNER)
        SIM_CHECK(shmq_process_state(sim_map.process[owner].state) == SHMQ_PROCESS_LIVE,
            "audit: queue %u belongs to process %u, which is gone", qid, owner);
}

/* A topic is open under a name that somebody gave, and its subscribers are there. */
static void audit_topic(uint32_t topic)
{
    const struct shmq_topic *record = &sim_map.topic[topic];
    char text[SHMQ_NAME_WORDS * 8];
    bool known = false;

    shmq_name_load(record->text, text);
    for (uint32_t name = 0; name < SIM_TOPICS; name++)
        known = known || strcmp(text, sim_topic_name(name)) == 0;
    SIM_CHECK(!(record->flags & SHMQ_QUEUE_USED) || (record->flags & SHMQ_QUEUE_OPEN && known),
        "audit: topic %u has the flags %llx and the name %s", topic, (unsigned long long)record->flags, text);
    for (uint32_t index = 0; index < SHMQ_MAX_SUBSCRIBERS; index++) {
        uint64_t entry = record->subscriber[index], config;
        uint32_t qid = shmq_subscriber_queue(entry);

        if (!entry || sim_world_is_crowd(entry))
            continue;
        SIM_CHECK(index < record->indices && qid < sim_map.geometry.queues
                && shmq_flags_epoch(sim_map.queue[qid].flags) == shmq_subscriber_epoch(entry)
                && sim_map.queue[qid].flags & SHMQ_QUEUE_USED,
            "audit: subscriber %u of topic %u is queue %u, which is not there", index, topic, qid);
        config = sim_map.queue[qid].config;
        SIM_CHECK(shmq_config_kind(config) == SHMQ_KIND_SUBSCRIBER && shmq_config_topic(config) == topic
                && shmq_config_index(config) == index,
            "audit: subscriber %u of topic %u is queue %u, which says otherwise", index, topic, qid);
    }
}

/* A helper may have died between Q2 and N2: then dir names a queue that is open, and the next comer settles it. */
static void audit_dir(void)
{
    uint32_t qid = shmq_dir_queue(sim_map.header->dir) - 1;
    uint32_t topic = shmq_dir_queue(sim_map.header->dir) - SHMQ_DIR_TOPIC;

    if (topic < sim_map.geometry.max_topics)
        SIM_CHECK(sim_map.topic[topic].flags & SHMQ_QUEUE_OPEN, "audit: dir still names topic %u", topic);
    else if (shmq_dir_queue(sim_map.header->dir))
        SIM_CHECK(qid < sim_map.geometry.queues && (sim_map.queue[qid].flags & SHMQ_QUEUE_OPEN),
            "audit: dir still names queue %u", qid);
}

void sim_audit(sim_hands *hands)
{
    sim_totals.audits++;
    for (uint32_t block = 0; block < sim_map.geometry.granules; block++)
        audit_block(block, hands);
    for (uint32_t tier = 0; tier < sim_map.geometry.tiers; tier++)
        for (uint32_t word = 0; word < sim_map.geometry.word_count[tier]; word++)
            audit_word(tier, word);
    for (uint32_t qid = 0; qid < sim_map.geometry.queues; qid++)
        audit_queue(qid);
    for (uint32_t topic = 0; topic < sim_map.geometry.max_topics; topic++)
        audit_topic(topic);
    audit_dir();
}

/* ---- the end ---- */

/* What formatting left in a buddy word, worked out from the geometry alone. */
static uint64_t formatted_word(uint32_t tier, uint32_t word)
{
    uint32_t granules = sim_map.geometry.granules;
    uint32_t unit_granules = 1u << 5 * tier;
    uint32_t span = unit_granules * 32;
    uint32_t begin = word * span;
    uint64_t tree = SHMQ_WORD_ACTIVE;

    if (tier < sim_map.geometry.tiers - 1 && (begin + span <= granules))
        return 0;
    for (uint32_t unit = 0; unit < 32; unit++)
        if (begin + (unit + 1) * unit_granules > granules)
            tree |= 1ull << (32 + unit);
    return tree;
}

uint32_t sim_audit_leaks(void)
{
    uint32_t leaks = 0;

    for (uint32_t block = 0; block < sim_map.geometry.granules; block++)
        leaks += shmq_block_state(block_word(block)) != SHMQ_STATE_FREE;
    return leaks;
}

static void audit_free_block(uint32_t block)
{
    uint64_t word = block_word(block);

    SIM_CHECK(shmq_block_state(word) == SHMQ_STATE_FREE,
        "leak: block %u (message %u): state %u, owner %u, queue %u, order %u, M %llx %llx", block,
        (uint32_t)sim_map.block[block].label, shmq_block_state(word), shmq_block_owner(word), shmq_block_queue(word),
        shmq_block_order(word), (unsigned long long)sim_map.block[block].m[0],
        (unsigned long long)sim_map.block[block].m[1]);
}

void sim_audit_empty(void)
{
    for (uint32_t block = 0; block < sim_map.geometry.granules; block++)
        audit_free_block(block);
    for (uint32_t tier = 0; tier < sim_map.geometry.tiers; tier++)
        for (uint32_t word = 0; word < sim_map.geometry.word_count[tier]; word++)
            SIM_CHECK(sim_map.word[tier][word] == formatted_word(tier, word), "at the end word %u/%u is %llx, not %llx",
                tier, word,
                (unsigned long long)sim_map.word[tier][word], (unsigned long long)formatted_word(tier, word));
    for (uint32_t qid = 0; qid < sim_map.geometry.queues; qid++)
        SIM_CHECK(!(shmq_flags_bits(sim_map.queue[qid].flags) & SHMQ_QUEUE_USED),
            "at the end queue %u has the flags %llx", qid, (unsigned long long)sim_map.queue[qid].flags);
    for (uint32_t topic = 0; topic < sim_map.geometry.max_topics; topic++)
        for (uint32_t index = 0; index < SHMQ_MAX_SUBSCRIBERS; index++)
            SIM_CHECK(!sim_map.topic[topic].subscriber[index]
                    || sim_world_is_crowd(sim_map.topic[topic].subscriber[index]),
                "at the end topic %u has subscriber %u", topic, index);
}
