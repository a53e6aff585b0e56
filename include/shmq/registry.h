/* SPDX-License-Identifier: MIT */
/* Process slots: who is attached, under which name, in which incarnation.
 *
 * The truth about life and death is the kernel's byte lock (os.h); what stands here is written by the lock's holder.
 */
#ifndef SHMQ_REGISTRY_H
#define SHMQ_REGISTRY_H

#include "map.h"

/* What a process slot tells of its process, for display. Text may be torn while the slot changes hands. */
struct shmq_process_info {
    uint32_t epoch;
    uint32_t state;         /* enum shmq_process_state */
    uint64_t pid;
    uint64_t start_time;
    uint64_t pid_namespace;
    char name[SHMQ_NAME_WORDS * 8];
};

static inline uint64_t shmq_process_load(const struct shmq_map *map, uint32_t slot)
{
    return shmq_load_acquire(&map->process[slot].state, SHMQ_READ); /* pairs with P2 and C5 */
}

/* A slot that is not free and whose lock somebody else can take belongs to a dead process. */
static inline bool shmq_process_is_free(const struct shmq_map *map, uint32_t slot)
{
    return shmq_process_state(shmq_process_load(map, slot)) == SHMQ_PROCESS_FREE;
}

/* Enter the actor's process into its slot. The caller holds the slot's lock and the slot is FREE.
 * Sets actor->epoch. Wait-free. */
static inline void shmq_process_enter(struct shmq_actor *actor, const char *name, uint64_t pid, uint64_t start_time,
    uint64_t pid_namespace)
{
    struct shmq_process *process = &actor->map->process[actor->slot];

    actor->epoch = shmq_process_epoch(shmq_process_load(actor->map, actor->slot));
    shmq_name_store(process->name, name, SHMQ_P1);
    shmq_store_release(&process->pid, pid, SHMQ_P1);
    shmq_store_release(&process->start_time, start_time, SHMQ_P1);
    shmq_store_release(&process->pid_namespace, pid_namespace, SHMQ_P1);
    shmq_store_release(&process->cached, 0, SHMQ_P_CACHED);
    shmq_store_release(&process->state, shmq_process_word(actor->epoch, SHMQ_PROCESS_LIVE), SHMQ_P2);
}

static inline void shmq_process_info(const struct shmq_map *map, uint32_t slot, struct shmq_process_info *info)
{
    const struct shmq_process *process = &map->process[slot];
    uint64_t state = shmq_process_load(map, slot);

    info->epoch = shmq_process_epoch(state);
    info->state = shmq_process_state(state);
    info->pid = shmq_load_acquire(&process->pid, SHMQ_READ);
    info->start_time = shmq_load_acquire(&process->start_time, SHMQ_READ);
    info->pid_namespace = shmq_load_acquire(&process->pid_namespace, SHMQ_READ);
    shmq_name_load(process->name, info->name);
}

/* How many process slots are LIVE. At least 1: the caller. */
static inline uint32_t shmq_process_count(const struct shmq_map *map)
{
    uint32_t live = 0;

    for (uint32_t slot = 0; slot < map->geometry.max_processes; slot++)
        live += shmq_process_state(shmq_process_load(map, slot)) == SHMQ_PROCESS_LIVE;
    return live ? live : 1;
}

#endif
