/* SPDX-License-Identifier: MIT */
/* What there is to damage: each field of layout.h, the payload, the lock file. */
#ifndef CORRUPT_AIMS_H
#define CORRUPT_AIMS_H

#include "../c/check.h"
#include "shmq/shmq.h"

/* Which records a field belongs to. */
enum table {
    TABLE_HEADER,
    TABLE_PROCESS,
    TABLE_QUEUE,
    TABLE_NAME,
    TABLE_TOPIC,
    TABLE_BLOCK,
    TABLE_BUDDY,            /* the buddy words of all tiers … */
    TABLE_SPLIT,            /* … and which of them were ever split */
    TABLE_SLOT,
    TABLE_ADMIN,            /* any word of all these */
    TABLE_DATA,
    TABLE_LOCK              /* the lock file */
};

/* The fields of a packed word, as in layout.h. */
struct pack {
    struct { uint8_t shift, width; } field[5];
    uint32_t fields;
};

#define PACK(name, fields, ...) static const struct pack name = { { __VA_ARGS__ }, fields }

PACK(pack_halves, 2, { 0, 32 }, { 32, 32 });
PACK(pack_process, 2, { 0, 2 }, { 32, 32 });
PACK(pack_dir, 2, { 0, 16 }, { 16, 48 });
PACK(pack_hint, 2, { 0, 48 }, { 48, 16 });
PACK(pack_flags, 3, { 0, 16 }, { 16, 16 }, { 32, 32 });
PACK(pack_config, 4, { 0, 8 }, { 8, 8 }, { 24, 16 }, { 40, 16 });
PACK(pack_name, 3, { 0, 8 }, { 24, 8 }, { 56, 8 });
PACK(pack_block, 5, { 0, 16 }, { 16, 16 }, { 32, 3 }, { 35, 5 }, { 40, 24 });
PACK(pack_m, 5, { 0, 24 }, { 24, 24 }, { 48, 16 }, { 32, 16 }, { 0, 32 });
PACK(pack_type, 4, { 0, 8 }, { 8, 8 }, { 16, 8 }, { 32, 32 });
PACK(pack_slot, 3, { 0, 28 }, { 28, 12 }, { 40, 24 });

struct aim {
    const char *name;
    enum table table;
    uint32_t at;            /* bytes from the record's beginning … */
    uint32_t words;         /* … and how many words are one like the other */
    const struct pack *pack;
    uint32_t bytes;         /* of the field, of which those words are the first; 0: it is no record's */
};

#define FIELD_BYTES(record, field) ((uint32_t)sizeof(((struct shmq_##record *)0)->field))
#define AIMS(table, record, field, words, pack) \
    { #record "." #field, table, offsetof(struct shmq_##record, field), words, &(pack), FIELD_BYTES(record, field) }
#define AIM(table, record, field, pack) AIMS(table, record, field, 1, pack)
#define AIM_ENVELOPE(field, words, pack)                                                                             \
    { "envelope." #field, TABLE_BLOCK,                                                                               \
        offsetof(struct shmq_block, envelope) + offsetof(struct shmq_envelope, field), words, &(pack),               \
        FIELD_BYTES(envelope, field) }

static const struct aim aims[] = {
    AIM(TABLE_HEADER, header, magic, pack_halves),
    AIM(TABLE_HEADER, header, version, pack_halves),
    AIM(TABLE_HEADER, header, granule_shift, pack_halves),
    AIM(TABLE_HEADER, header, granules, pack_halves),
    AIM(TABLE_HEADER, header, max_processes, pack_halves),
    AIM(TABLE_HEADER, header, max_queues, pack_halves),
    AIM(TABLE_HEADER, header, region_id, pack_halves),
    AIM(TABLE_HEADER, header, persist, pack_halves),
    AIM(TABLE_HEADER, header, creator_pid, pack_halves),
    AIM(TABLE_HEADER, header, created_ns, pack_halves),
    AIM(TABLE_HEADER, header, life, pack_halves),
    AIM(TABLE_HEADER, header, dir, pack_dir),
    AIM(TABLE_HEADER, header, sweep_at, pack_halves),
    AIM(TABLE_HEADER, header, wanted, pack_halves),
    AIM(TABLE_HEADER, header, wanted_seq, pack_halves),
    AIM(TABLE_PROCESS, process, state, pack_process),
    AIM(TABLE_PROCESS, process, pid, pack_halves),
    AIM(TABLE_PROCESS, process, start_time, pack_halves),
    AIM(TABLE_PROCESS, process, pid_namespace, pack_halves),
    AIMS(TABLE_PROCESS, process, name, SHMQ_NAME_WORDS, pack_name),
    AIM(TABLE_PROCESS, process, cached, pack_halves),
    AIM(TABLE_PROCESS, process, buddy_word, pack_halves),
    AIM(TABLE_QUEUE, queue, tail, pack_hint),
    AIM(TABLE_QUEUE, queue, head, pack_hint),
    AIM(TABLE_QUEUE, queue, dropped, pack_hint),
    AIM(TABLE_QUEUE, queue, flags, pack_flags),
    AIM(TABLE_QUEUE, queue, base, pack_hint),
    AIM(TABLE_QUEUE, queue, config, pack_config),
    AIM(TABLE_QUEUE, queue, receivers_seq, pack_halves),
    AIM(TABLE_QUEUE, queue, senders_seq, pack_halves),
    AIM(TABLE_QUEUE, queue, requeued, pack_halves),
    AIM(TABLE_QUEUE, queue, requeued_done, pack_halves),
    AIM(TABLE_QUEUE, queue, claim, pack_flags),
    AIM(TABLE_QUEUE, queue, depth, pack_halves),
    AIM(TABLE_QUEUE, queue, place, pack_config),
    AIMS(TABLE_NAME, name, text, SHMQ_NAME_WORDS, pack_name),
    AIM(TABLE_TOPIC, topic, flags, pack_flags),
    AIMS(TABLE_TOPIC, topic, text, SHMQ_NAME_WORDS, pack_name),
    AIM(TABLE_TOPIC, topic, published, pack_halves),
    AIM(TABLE_TOPIC, topic, indices, pack_halves),
    AIMS(TABLE_TOPIC, topic, subscriber, 6, pack_halves),
    { "buddy words", TABLE_BUDDY, 0, 1, &pack_halves, 0 },
    { "split marks", TABLE_SPLIT, 0, 1, &pack_halves, 0 },
    AIM(TABLE_BLOCK, block, word, pack_block),
    AIM(TABLE_BLOCK, block, length, pack_hint),
    AIM(TABLE_BLOCK, block, label, pack_halves),
    AIMS(TABLE_BLOCK, block, m, SHMQ_TICKET_WORDS, pack_m),
    AIM_ENVELOPE(type, 1, pack_type),
    AIM_ENVELOPE(shape, 3, pack_halves),
    AIM_ENVELOPE(sequence, 1, pack_halves),
    AIM_ENVELOPE(sent_ns, 1, pack_halves),
    AIM_ENVELOPE(sender, 1, pack_halves),
    AIM_ENVELOPE(reply_to, 1, pack_halves),
    { "slots", TABLE_SLOT, 0, 1, &pack_slot, 0 },
    AIM(TABLE_BLOCK, block, word, pack_block), /* what belongs to single messages, again: they are few */
    AIM(TABLE_BLOCK, block, length, pack_hint),
    AIMS(TABLE_BLOCK, block, m, SHMQ_TICKET_WORDS, pack_m),
    AIM_ENVELOPE(type, 1, pack_type),
    { "slots", TABLE_SLOT, 0, 1, &pack_slot, 0 },
    { "any word", TABLE_ADMIN, 0, 1, &pack_halves, 0 },
    { "payload", TABLE_DATA, 0, 1, &pack_halves, 0 },
    { "lock file", TABLE_LOCK, 0, 1, &pack_halves, 0 },
};

#define AIM_COUNT ((uint32_t)(sizeof aims / sizeof aims[0]))

/* What no field has: no aim is needed there. */
static const struct gap {
    enum table table;
    uint32_t at, bytes;
} gaps[] = {
#define GAP(table, record, field) { table, offsetof(struct shmq_##record, field), FIELD_BYTES(record, field) }
    GAP(TABLE_HEADER, header, reserved),
    GAP(TABLE_HEADER, header, separate_life_from_dir),
    GAP(TABLE_HEADER, header, separate_dir_from_sweep),
    GAP(TABLE_HEADER, header, separate_wanted),
    GAP(TABLE_HEADER, header, rest),
    GAP(TABLE_PROCESS, process, reserved),
    GAP(TABLE_QUEUE, queue, separate_tail_from_head),
    GAP(TABLE_QUEUE, queue, separate_head_from_flags),
    GAP(TABLE_QUEUE, queue, reserved_flags_line),
    GAP(TABLE_QUEUE, queue, reserved_cold_line),
    GAP(TABLE_NAME, name, reserved),
#undef GAP
};

static const struct { const char *name; uint32_t bytes; } aim_records[] = {
    [TABLE_HEADER] = { "header", sizeof(struct shmq_header) },
    [TABLE_PROCESS] = { "process", sizeof(struct shmq_process) },
    [TABLE_QUEUE] = { "queue", sizeof(struct shmq_queue) },
    [TABLE_NAME] = { "name", sizeof(struct shmq_name) },
    [TABLE_TOPIC] = { "topic", sizeof(struct shmq_topic) },
    [TABLE_BLOCK] = { "block", sizeof(struct shmq_block) },
};

/* Is this word of the records of that kind one of a field that is aimed at, or of a gap? */
static inline bool aim_knows(enum table table, uint32_t at)
{
    for (uint32_t i = 0; i < AIM_COUNT; i++)
        if (aims[i].table == table && at - aims[i].at < aims[i].bytes)
            return true;
    for (uint32_t i = 0; i < sizeof gaps / sizeof gaps[0]; i++)
        if (gaps[i].table == table && at - gaps[i].at < gaps[i].bytes)
            return true;
    return false;
}

/* Whoever gives a record a new field is told that it has no aim. */
static inline void aims_check_all_are_there(void)
{
    for (uint32_t i = 0; i < AIM_COUNT; i++)
        CHECK(!aims[i].bytes || aims[i].words * 8 <= aims[i].bytes);
    for (enum table table = TABLE_HEADER; table <= TABLE_BLOCK; table++)
        for (uint32_t at = 0; at < aim_records[table].bytes; at += 8)
            if (!aim_knows(table, at)) {
                fprintf(stderr, "aims.h: no aim at byte %u of a %s's record\n", at, aim_records[table].name);
                CHECK(false);
            }
}

/* Do only those read it who attach, list or end a region? */
static inline bool aim_of_files(const struct aim *aim)
{
    return aim->table == TABLE_LOCK
        || (aim->table == TABLE_HEADER && aim->at <= offsetof(struct shmq_header, life));
}

/* Do operations look at 65,536 slots where it is damaged? */
static inline bool aim_makes_walks_long(const struct aim *aim)
{
    return aim->table == TABLE_QUEUE && aim->at == offsetof(struct shmq_queue, place);
}

/* ---- chance ----------------------------------------------------------------------------------------------- */

static uint64_t chance_state;

/* A splitmix64: the same numbers on every machine. */
static inline uint64_t chance(void)
{
    uint64_t z = chance_state += 0x9e3779b97f4a7c15ull;

    z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9ull;
    z = (z ^ z >> 27) * 0x94d049bb133111ebull;
    return z ^ z >> 31;
}

static inline uint32_t chance_below(uint32_t bound) { return (uint32_t)((chance() >> 32) * bound >> 32); }

/* ---- where a field lies ------------------------------------------------------------------------------------ */

#define AIM_FEW 20u                     /* the records at a table's beginning, which are in use */
#define AIM_SLOTS 64u                   /* of a ring here */

/* Of `count` records one; of many more often one that is in use. */
static inline uint64_t aim_record(uint64_t count)
{
    return chance_below((uint32_t)(count > AIM_FEW && chance_below(4) ? AIM_FEW : count));
}

static inline uint64_t aim_tier_word(const struct shmq_map *map, bool split)
{
    const struct shmq_geometry *g = &map->geometry;
    uint32_t tier = chance_below(g->tiers);

    if (split)
        return g->split_at[tier] + 8ull * chance_below((g->word_count[tier] + 63) / 64);
    return g->word_at[tier] + 8ull * chance_below(g->word_count[tier]);
}

/* Byte of the admin segment where one of the aim's words begins. Not of what lies in other files. */
static inline uint64_t aim_place(const struct shmq_map *map, const struct aim *aim)
{
    const struct shmq_geometry *g = &map->geometry;
    uint64_t at = aim->at + 8ull * chance_below(aim->words);

    switch (aim->table) {
    case TABLE_HEADER: return at;
    case TABLE_PROCESS: return g->process_at + at + aim_record(g->max_processes) * sizeof(struct shmq_process);
    case TABLE_QUEUE: return g->queue_at + at + aim_record(g->queues) * sizeof(struct shmq_queue);
    case TABLE_NAME: return g->name_at + at + aim_record(g->queues) * sizeof(struct shmq_name);
    case TABLE_TOPIC: return g->topic_at + at + aim_record(g->max_topics) * sizeof(struct shmq_topic);
    case TABLE_BLOCK: return g->block_at + at + aim_record(g->granules) * sizeof(struct shmq_block);
    case TABLE_BUDDY: return aim_tier_word(map, false);
    case TABLE_SPLIT: return aim_tier_word(map, true);
    case TABLE_SLOT: return shmq_slots_at(map, (uint32_t)aim_record(g->queues)) + 8ull * chance_below(AIM_SLOTS);
    default: return 8ull * chance_below((uint32_t)(g->reserve_size / 8));
    }
}

#endif
