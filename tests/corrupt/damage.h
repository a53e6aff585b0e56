/* SPDX-License-Identifier: MIT */
/* What is written where it should not be: noise, boundaries, another field's value, the other of two words. */
#ifndef CORRUPT_DAMAGE_H
#define CORRUPT_DAMAGE_H

#include "aims.h"

/* Where to write, and what a sound region looked like, for values that belong elsewhere. */
struct target {
    const struct shmq_map *map;
    const uint64_t *sound;  /* the admin segment without slots, or NULL: take what stands there now */
    int lock;               /* the lock file's descriptor, or -1 */
};

/* The program notes that damage for this aim was done to a word of the admin segment, and what it had been. */
static void damage_noted(uint64_t index, uint32_t aim, uint64_t old);
/* … and of a payload or the lock file. */
static void damage_noted_elsewhere(uint64_t index, uint32_t aim);

/* 0, 1, all ones, the powers of two and their neighbours, the largest block and its neighbours. */
static inline uint64_t damage_boundary(const struct shmq_map *map)
{
    uint64_t power = 1ull << chance_below(64);

    switch (chance_below(8)) {
    case 0: return 0;
    case 1: return 1;
    case 2: return UINT64_MAX;
    case 3: return power;
    case 4: return power + 1;
    case 5: return power - 1;
    case 6: return (uint64_t)map->geometry.granules + chance_below(3) - 1;
    default: return (1ull << map->geometry.max_order) + chance_below(3) - 1;
    }
}

/* One field of a packed word is another. */
static inline uint64_t damage_field(const struct pack *pack, uint64_t old, uint64_t value)
{
    uint32_t i = chance_below(pack->fields);
    uint64_t mask = ((1ull << pack->field[i].width) - 1) << pack->field[i].shift;

    return (old & ~mask) | (value << pack->field[i].shift & mask);
}

static inline uint64_t damage_bytes(uint64_t old)
{
    for (uint32_t bytes = 1 + chance_below(3); bytes; bytes--) {
        uint32_t shift = 8 * chance_below(8);

        old = (old & ~(0xffull << shift)) | (chance() & 0xff) << shift;
    }
    return old;
}

/* A value that stands somewhere else, or nearly so. */
static inline uint64_t damage_of_another(const struct target *target)
{
    const struct shmq_map *map = target->map;
    uint32_t aim;
    uint64_t at;

    do
        aim = chance_below(AIM_COUNT);
    while (aims[aim].table >= TABLE_SLOT);
    at = aim_place(map, &aims[aim]);
    return (target->sound ? target->sound[at / 8] : *(uint64_t *)(void *)(map->admin + at)) + chance_below(3) - 1;
}

static inline uint64_t damage_value(const struct target *target, const struct pack *pack, uint64_t old)
{
    switch (chance_below(10)) {
    case 0: return chance();
    case 1: return damage_bytes(old);
    case 2: return damage_boundary(target->map);
    case 3:
    case 4: return damage_field(pack, old, damage_boundary(target->map));
    case 5:
    case 6: return damage_field(pack, old, chance());
    case 7: return damage_of_another(target);
    case 8: return old ^ 1ull << chance_below(64);
    default: return old + (chance_below(2) ? 1 : -1);
    }
}

static inline uint64_t *damage_word(const struct target *target, uint64_t at)
{
    return (uint64_t *)(void *)(target->map->admin + at);
}

static inline void damage_set(const struct target *target, uint32_t aim, uint64_t at, uint64_t value)
{
    uint64_t old = *damage_word(target, at);

    *damage_word(target, at) = value;
    damage_noted(at / 8, aim, old);
}

/* The payload; the kernel keeps nobody from writing there. */
static inline void damage_payload(const struct target *target, uint32_t aim)
{
    uint64_t *words = (uint64_t *)(void *)target->map->data;
    uint64_t index = (aim_record(target->map->geometry.granules) << target->map->geometry.granule_shift) / 8
        + chance_below(4);

    words[index] = damage_value(target, aims[aim].pack, words[index]);
    damage_noted_elsewhere(index, aim);
}

static inline void damage_lock_file(const struct target *target, uint32_t aim)
{
    uint64_t value = damage_boundary(target->map), at = 8ull * chance_below(SHMQ_PAGE / 8);

    if (target->lock < 0 || pwrite(target->lock, &value, sizeof value, (off_t)at) != (ssize_t)sizeof value)
        return;
    damage_noted_elsewhere(at / 8, aim);
}

/* Damage one word, or two that change places. Returns how many. */
static inline uint32_t damage(const struct target *target, uint32_t aim)
{
    uint64_t at, other;

    if (aims[aim].table == TABLE_DATA || aims[aim].table == TABLE_LOCK) {
        (aims[aim].table == TABLE_DATA ? damage_payload : damage_lock_file)(target, aim);
        return 1;
    }
    at = aim_place(target->map, &aims[aim]);
    if (chance_below(10) == 0) {
        uint64_t here = *damage_word(target, at), there;

        other = aim_place(target->map, &aims[chance_below(4) ? aim : chance_below(AIM_COUNT - 2)]);
        there = *damage_word(target, other);
        damage_set(target, aim, at, there);
        damage_set(target, aim, other, here);
        return 2;
    }
    damage_set(target, aim, at, damage_value(target, aims[aim].pack, *damage_word(target, at)));
    return 1;
}

#endif
