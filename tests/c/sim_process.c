/* SPDX-License-Identifier: MIT */
/* What simulated processes have in hand, and how they come and go. */
#include "sim_process.h"

struct sim_process sim_processes[SIM_FIBRES];
struct sim_process sim_root;

/* As long as names may be, and different only in the last word. */
#define LONG "----------------------------------------------------------------------------------------------- "

static const char *const names[SIM_NAMES] = { LONG "alfa", LONG "beta", LONG "gama", LONG "delt" };

const char *sim_name(uint32_t name) { return names[name]; }

void sim_processes_reset(void)
{
    for (int fibre = 0; fibre < SIM_FIBRES; fibre++)
        sim_processes[fibre].attached = false;
    memset(&sim_root, 0, sizeof sim_root);
    sim_root.fibre = SIM_ROOT;
    sim_attach_at(&sim_root.actor, sim_map.geometry.max_processes - 1);
    sim_root.attached = true;
}

/* ---- what is in hand ---- */

static void count_hand(const struct sim_process *process, uint32_t block, struct sim_hand *hand)
{
    const struct shmq_cache *cache = &process->actor.cache;

    for (uint32_t order = 0; order <= sim_map.geometry.max_order; order++)
        for (uint32_t i = 0; i < cache->count[order]; i++)
            hand->times += cache->block[order][i] == block;
    for (uint32_t i = 0; i < process->loan_count; i++)
        hand->times += process->loan[i].block == block;
    for (uint32_t i = 0; i < process->held_count; i++)
        if (process->held[i].hold.block == block && !shmq_is_ticket(process->held[i].hold.word)) {
            hand->times++;
            hand->queue = process->held[i].qid + 1;
            hand->epoch = process->held[i].epoch;
        }
}

static void audit_cached(const struct sim_process *process)
{
    const struct shmq_cache *cache = &process->actor.cache;

    SIM_CHECK(sim_map.process[process->actor.slot].cached == ((uint64_t)cache->blocks << 32 | cache->granules),
        "process %u caches %u blocks and says %llx", process->actor.slot, cache->blocks,
        (unsigned long long)sim_map.process[process->actor.slot].cached);
}

void sim_processes_audit(void)
{
    audit_cached(&sim_root);
    for (int fibre = 0; fibre < SIM_FIBRES; fibre++)
        if (sim_processes[fibre].attached)
            audit_cached(&sim_processes[fibre]);
    sim_audit(sim_process_hand);
}

struct sim_hand sim_process_hand(uint32_t slot, uint32_t block)
{
    struct sim_hand hand = { 0, 0, 0 };

    if (sim_root.actor.slot == slot)
        count_hand(&sim_root, block, &hand);
    for (int fibre = 0; fibre < SIM_FIBRES; fibre++)
        if (sim_processes[fibre].attached && sim_processes[fibre].actor.slot == slot)
            count_hand(&sim_processes[fibre], block, &hand);
    return hand;
}

static bool holds_ticket(const struct sim_process *process, uint32_t block, uint32_t index)
{
    for (uint32_t i = 0; i < process->held_count; i++)
        if (process->held[i].hold.block == block && shmq_is_ticket(process->held[i].hold.word)
            && (process->lingers || shmq_ticket_of(block, process->held[i].hold.word).index == index))
            return true;
    return false;
}

bool sim_process_holds_ticket(uint32_t slot, uint32_t block, uint32_t index)
{
    if (sim_root.actor.slot == slot)
        return holds_ticket(&sim_root, block, index);
    for (int fibre = 0; fibre < SIM_FIBRES; fibre++)
        if (sim_processes[fibre].attached && sim_processes[fibre].actor.slot == slot)
            return holds_ticket(&sim_processes[fibre], block, index);
    return false;
}

void sim_process_died(int fibre)
{
    sim_locks_of_dead(fibre);
    sim_ledger_forget_holder(fibre);
    sim_processes[fibre].attached = false;
}

void sim_process_attach(struct sim_process *process, int fibre)
{
    memset(process, 0, sizeof *process);
    process->fibre = fibre;
    process->attached = sim_attach(&process->actor);
}

void sim_process_leave(struct sim_process *process)
{
    process->attached = false; /* from here on nothing is in its hands */
    sim_ledger_forget_holder(process->fibre);
    sim_detach(&process->actor);
}

/* Ascending, as shmq_close_except wants them. */
static void insert(uint32_t *sorted, uint32_t count, uint32_t block)
{
    uint32_t at = count;

    for (; at && sorted[at - 1] > block; at--)
        sorted[at] = sorted[at - 1];
    sorted[at] = block;
}

void sim_process_close_but_views(struct sim_process *process)
{
    uint32_t kept[SIM_HELD + SIM_LOANS], count = 0;

    for (uint32_t i = 0; i < process->loan_count; i++)
        insert(kept, count++, process->loan[i].block);
    while (process->held_count > 2) /* not all: what is given up goes to others */
        sim_ledger_released(process->held_id[--process->held_count]);
    for (uint32_t i = 0; i < process->held_count; i++)
        insert(kept, count++, process->held[i].hold.block);
    memset(process->named, 0, sizeof process->named);
    memset(&process->outdated, 0, sizeof process->outdated);
    memset(process->subscription, 0, sizeof process->subscription);
    process->inbox_state = SIM_NO_INBOX;
    process->lingers = true;
    shmq_close_except(&process->actor, kept, count);
    sim_operation_end();
}

void sim_process_abandon(struct sim_process *process)
{
    sim_system_call();
    sim_process_died(process->fibre);
}
