/* SPDX-License-Identifier: MIT */
/* The region and the kernel around it. */
#include "sim_world.h"

#include <sys/mman.h>

struct shmq_map sim_map;

static unsigned char *admin;
static unsigned char data[SIM_GRANULES << SHMQ_MIN_GRANULE_SHIFT];
static uint64_t admin_bytes;
static uint64_t reserved[SIM_PROCESSES + SIM_QUEUES]; /* bytes of each queue's slots that may be used */
static int lock_holder[SIM_PROCESSES];

/* ---- what the core asks of the operating system ---- */

static int reserve(void *context, uint64_t offset, uint64_t bytes)
{
    uint64_t at = offset - sim_map.geometry.slot_at;
    uint64_t queue = at / (SHMQ_MAX_DEPTH * 8);
    uint64_t end = at % (SHMQ_MAX_DEPTH * 8) + bytes;

    (void)context;
    sim_system_call();
    if (offset < sim_map.geometry.slot_at || queue >= sim_map.geometry.queues || end > SHMQ_MAX_DEPTH * 8)
        sim_fail("reserves %llu bytes at %llu, which is no slot array", (unsigned long long)bytes,
            (unsigned long long)offset);
    if (end > reserved[queue])
        reserved[queue] = end;
    return SHMQ_OK;
}

static int sleep_on(void *context, uint64_t *word, uint32_t expected, uint64_t ns)
{
    (void)context;
    return sim_sleep(word, expected, ns) ? SHMQ_TIMEOUT : SHMQ_OK;
}

static void wake(void *context, uint64_t *word, uint32_t sleepers)
{
    (void)context;
    sim_wake(word, sleepers);
}

static uint64_t now(void *context)
{
    (void)context;
    return sim_now();
}

/* Each access is a turn of its own anyway. */
static void yield(void *context) { (void)context; }

static const struct shmq_ops ops = { reserve, sleep_on, wake, now, yield, NULL };

/* ---- the region ---- */

static void admin_allocate(uint64_t bytes)
{
    if (bytes <= admin_bytes)
        return;
    if (admin)
        munmap(admin, admin_bytes);
    admin = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (admin == MAP_FAILED)
        sim_fail("no memory for a region of %llu bytes", (unsigned long long)bytes);
    admin_bytes = bytes;
}

/* Let counters that wrap start close to it. */
static void age(const struct sim_shape *shape)
{
    for (uint32_t qid = 0; qid < sim_map.geometry.queues; qid++) {
        struct shmq_queue *queue = &sim_map.queue[qid];

        queue->flags = shmq_flags_word(shape->first_epoch, 0, 0);
        if (!shape->first_lap)
            continue;
        queue->place = sim_min_capacity_shift + 1;
        for (uint32_t slot = 0; slot < 1u << sim_min_capacity_shift; slot++)
            shmq_map_slots(&sim_map, qid)[slot] = shmq_slot_empty(shape->first_lap);
        reserved[qid] = 8ull << sim_min_capacity_shift;
    }
    for (uint32_t slot = 0; slot < sim_map.geometry.max_processes; slot++)
        sim_map.process[slot].state = shmq_process_word(shape->first_epoch, SHMQ_PROCESS_FREE);
    if (shape->first_gen)
        for (uint32_t block = 0; block < sim_map.geometry.granules; block++)
            sim_map.block[block].word = shmq_block_word(shape->first_gen, 0, SHMQ_STATE_FREE, 0, 0);
}

void sim_world_make(const struct sim_shape *shape)
{
    struct shmq_geometry geometry;

    for (uint32_t qid = 0; qid < SIM_PROCESSES + SIM_QUEUES; qid++) {
        if (reserved[qid] && qid < sim_map.geometry.queues)
            memset(shmq_map_slots(&sim_map, qid), 0, reserved[qid]);
        reserved[qid] = 0;
    }
    if (shape->processes > SIM_PROCESSES || shape->queues > SIM_QUEUES || shape->granules > SIM_GRANULES
        || shmq_geometry_init(&geometry, SHMQ_MIN_GRANULE_SHIFT, shape->granules, shape->processes,
        shape->queues) != SHMQ_OK)
        sim_fail("bad shape of a simulated region");
    admin_allocate(geometry.admin_size);
    memset(admin, 0, geometry.reserve_size);
    shmq_map_init(&sim_map, &geometry, admin, data, &ops);
    shmq_buddy_format(&sim_map);
    age(shape);
    for (uint32_t slot = 0; slot < SIM_PROCESSES; slot++)
        lock_holder[slot] = SIM_NOBODY;
    sim_impersonate(SIM_ROOT);
}

bool sim_world_is_crowd(uint64_t entry) { return entry == shmq_subscriber_word(1, SHMQ_NO_OWNER); }

void sim_world_crowd(uint32_t free_indices)
{
    for (uint32_t topic = 0; topic < sim_map.geometry.max_topics; topic++) {
        struct shmq_topic *record = &sim_map.topic[topic];

        record->indices = SHMQ_MAX_SUBSCRIBERS;
        for (uint32_t index = 0; index < SHMQ_MAX_SUBSCRIBERS; index++)
            record->subscriber[index] = shmq_subscriber_word(1, SHMQ_NO_OWNER);
        for (uint32_t i = 0; i < free_indices; i++)
            record->subscriber[sim_random(SHMQ_MAX_SUBSCRIBERS)] = 0;
    }
}

/* ---- byte locks ---- */

static int played = SIM_ROOT;

int sim_identity(void) { return sim_current() == SIM_NOBODY ? played : sim_current(); }

void sim_impersonate(int identity) { played = identity; }

bool sim_lock(uint32_t slot)
{
    sim_system_call();
    if (lock_holder[slot] != SIM_NOBODY)
        return false;
    lock_holder[slot] = sim_identity();
    return true;
}

void sim_unlock(uint32_t slot)
{
    sim_system_call();
    lock_holder[slot] = SIM_NOBODY;
}

bool sim_holds_lock(uint32_t slot)
{
    return slot < SIM_PROCESSES && lock_holder[slot] == sim_identity();
}

void sim_locks_of_dead(int fibre)
{
    for (uint32_t slot = 0; slot < SIM_PROCESSES; slot++)
        if (lock_holder[slot] == fibre)
            lock_holder[slot] = SIM_NOBODY;
}

/* ---- coming, going, cleaning up ---- */

/* close(slot), by the holder of its lock. */
static void close_as(uint32_t slot)
{
    struct shmq_actor dead;

    shmq_actor_init(&dead, &sim_map, slot, shmq_process_epoch(shmq_process_load(&sim_map, slot)));
    shmq_close(&dead);
    sim_operation_end();
}

static void enter(struct shmq_actor *actor, uint32_t slot)
{
    if (!shmq_process_is_free(&sim_map, slot))
        close_as(slot);
    shmq_actor_init(actor, &sim_map, slot, 0);
    shmq_process_enter(actor, "simulated", 1, 1, 1);
    sim_operation_end();
}

bool sim_attach(struct shmq_actor *actor)
{
    for (uint32_t slot = 0; slot < sim_map.geometry.max_processes; slot++)
        if (sim_lock(slot)) {
            enter(actor, slot);
            return true;
        }
    return false;
}

void sim_attach_at(struct shmq_actor *actor, uint32_t slot)
{
    if (!sim_lock(slot))
        sim_fail("process slot %u is not free", slot);
    enter(actor, slot);
}

void sim_detach(struct shmq_actor *actor)
{
    shmq_cache_flush(actor);
    shmq_close(actor);
    sim_operation_end();
    sim_unlock(actor->slot);
}

bool sim_recover(uint32_t slot)
{
    bool dead;

    if (shmq_process_is_free(&sim_map, slot) || !sim_lock(slot))
        return false;
    dead = !shmq_process_is_free(&sim_map, slot); /* it may have been closed while I took the lock */
    if (dead)
        close_as(slot);
    sim_unlock(slot);
    return dead;
}

uint32_t sim_sweep(const struct shmq_actor *self)
{
    uint32_t closed = 0;

    for (uint32_t slot = 0; slot < sim_map.geometry.max_processes; slot++)
        if (slot != self->slot)
            closed += sim_recover(slot);
    return closed;
}
