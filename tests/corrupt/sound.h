/* SPDX-License-Identifier: MIT */
/* A sound region and its peers, all in one thread: made, restored after each round of damage, and left. */
#ifndef CORRUPT_SOUND_H
#define CORRUPT_SOUND_H

#include "peers.h"

#define SLOTS_KEPT AIM_SLOTS

/* The moment before the damage. */
static struct peer sound_peers[PEERS];
static uint64_t *sound;                 /* the admin segment up to the slots … */
static uint64_t sound_slots[REGION_PROCESSES + REGION_QUEUES][SLOTS_KEPT]; /* … and the rings */

static struct target target;
static uint64_t clock_now;
static bool place_damaged;              /* somebody may have believed that a ring is longer */

/* ---- an operating system without surprises ----------------------------------------------------------------- */

static int calm_reserve(void *context, uint64_t offset, uint64_t bytes)
{
    (void)context, (void)offset, (void)bytes;
    return chance_below(16) ? SHMQ_OK : SHMQ_NO_SPACE;
}

static int calm_sleep(void *context, uint64_t *word, uint32_t expected, uint64_t ns)
{
    (void)context, (void)word, (void)expected;
    clock_now += ns;
    return SHMQ_TIMEOUT;
}

static void calm_wake(void *context, uint64_t *word, uint32_t sleepers) { (void)context, (void)word, (void)sleepers; }
static uint64_t calm_now(void *context) { (void)context; return clock_now += 100; }
static void calm_yield(void *context) { (void)context; }

/* ---- the region -------------------------------------------------------------------------------------------- */

/* What differs from run to run is made the same. */
static void make_alike(void)
{
    const struct shmq_map *map = target.map;

    map->header->region_id = 0x1234567890abcdef;
    map->header->creator_pid = map->header->created_ns = 1234567;
    map->header->sweep_at = 0;
    for (uint32_t slot = 0; slot < REGION_PROCESSES; slot++) {
        map->process[slot].pid = 1000 + slot;
        map->process[slot].start_time = map->process[slot].pid_namespace = 4026531836u;
    }
}

static void keep(void)
{
    for (uint32_t qid = 0; qid < target.map->geometry.queues; qid++)
        memcpy(sound_slots[qid], shmq_map_slots(target.map, qid), sizeof sound_slots[qid]);
    free(sound);
    sound = (uint64_t *)malloc(target.map->geometry.reserve_size);
    CHECK(sound != NULL);
    memcpy(sound, target.map->admin, target.map->geometry.reserve_size);
    memcpy(sound_peers, peers, sizeof peers);
    target.sound = sound;
}

static void make(void)
{
    static const char *const names[PEERS] = { "ann", "bob", "cid" };
    static struct peer dead;
    char path[sizeof region_directory + 16];

    watched_base[PEERS] = &dead.region.map.admin;
    watched_maps = true;
    for (uint32_t i = 0; i < PEERS; i++)
        CHECK_EQUAL(peer_join(&peers[i], names[i], (enum shmq_policy)i), SHMQ_OK);
    peers_populate(&dead);
    for (uint32_t i = 0; i < PEERS; i++) {
        struct shmq_ops calm = { calm_reserve, calm_sleep, calm_wake, calm_now, calm_yield, NULL };

        peers[i].region.ops = calm;
        watched_base[i] = &peers[i].region.map.admin;
    }
    watched_maps = false;
    watched_base[PEERS] = &late.map.admin;
    target.map = &peers[0].region.map;
    snprintf(path, sizeof path, "%s/alpha/lock", region_directory);
    target.lock = open(path, O_RDWR | O_CLOEXEC);
    CHECK(target.lock >= 0);
    make_alike();
    keep();
    watched_still = offsetof(struct shmq_header, life);
    watched_damage = (uint8_t *)calloc(watched_bytes = target.map->geometry.admin_size, 1);
    CHECK(watched_damage != NULL);
}

/* Give back what lies behind the rings: somebody believed that they are longer. */
static void punch(void)
{
    for (uint32_t qid = 0; qid < target.map->geometry.queues; qid++)
        CHECK_EQUAL(fallocate(peers[0].region.files.admin, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE,
            (off_t)(shmq_slots_at(target.map, qid) + SHMQ_PAGE), SHMQ_MAX_DEPTH * 8 - SHMQ_PAGE), 0);
}

static void restore(void)
{
    if (place_damaged) {
        punch();
        for (uint32_t qid = 0; qid < target.map->geometry.queues; qid++)
            memset(shmq_map_slots(target.map, qid), 0, SHMQ_PAGE);
    }
    place_damaged = false;
    for (uint32_t qid = 0; qid < target.map->geometry.queues; qid++)
        memcpy(shmq_map_slots(target.map, qid), sound_slots[qid], sizeof sound_slots[qid]);
    memcpy(target.map->admin, sound, target.map->geometry.reserve_size);
    memcpy(peers, sound_peers, sizeof peers);
}

/* Did somebody take the damage for its end, and remove its files? */
static bool has_ended(void)
{
    struct stat status;

    return shmq_os_fstat(peers[0].region.files.admin, &status) == 0 && status.st_nlink == 0;
}

/* The sound region is left as any is, and nothing remains. */
static void unmake(void)
{
    struct shmq_error error;

    watched_maps = true;
    free(watched_damage);
    watched_damage = NULL;
    watched_still = 0;
    close(target.lock);
    CHECK(shmq_region_recover(&peers[0].region, &error) == 1);
    for (uint32_t i = 0; i < PEERS; i++)
        shmq_region_close(&peers[i].region);
    CHECK(access(region_directory, F_OK) < 0 || rmdir(region_directory) == 0);
}

#endif
