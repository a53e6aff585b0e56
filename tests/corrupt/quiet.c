/* SPDX-License-Identifier: MIT */
/* quiet [MUTATIONS [SEED [ROUND]]]: shared memory is damaged while peers work in it, one after the other in one thread,
 * so that a seed stands for the very same run. In each round a sound region is restored, then some words are damaged
 * before operations, between them, or between two of their accesses; all operations run. ROUND: only that one.
 *
 * A mutation counts once an operation has read the damaged word. Errors are results that there are; an access outside
 * of the region, a write where nobody writes, an operation without an end, memory without a bound end the run.
 */
#ifndef _GNU_SOURCE
#define _GNU_SOURCE
#endif
#define SHMQ_INBOX_DEPTH 8u             /* whoever recovers looks at each slot */

#include "watched.h"

#include <sys/resource.h>
#include <sys/time.h>
#include <time.h>

#include "acts.h"
#include "counts.h"
#include "sound.h"

#define ROUNDS_OF_A_REGION 4096u
#define RESIDENT_MOST (300ull << 20)
#define SECONDS_OF_AN_OPERATION 10u
#define DAMAGES_MOST 64u

static uint64_t seed, round_number;
static uint32_t damaged[16 * DAMAGES_MOST], damaged_count; /* words of this round */
static uint32_t elsewhere[16 * DAMAGES_MOST], elsewhere_count; /* of a payload or of the lock file … */
static uint32_t elsewhere_aim[16 * DAMAGES_MOST];
static uint64_t done[ACT_COUNT], digest, written;
static uint64_t results[COUNTS], errors[COUNTS];
static size_t context_name;            /* where in region_doing the operation's name stands */
static volatile uint64_t acts_begun;

/* ---- what a failure tells ---------------------------------------------------------------------------------- */

static void name_round(void)
{
    context_name = (size_t)snprintf(region_doing, REGION_DOING, "quiet 1 %llu %llu, operation ",
        (unsigned long long)seed, (unsigned long long)round_number);
}

static void name_act(const char *name) { strcpy(region_doing + context_name, name); }

/* Each second of the processor's time. */
static void look_for_a_hang(int number)
{
    static uint64_t seen;
    static uint32_t same;

    (void)number;
    same = seen == acts_begun ? same + 1 : 0;
    seen = acts_begun;
    if (same < SECONDS_OF_AN_OPERATION)
        return;
    check_failed(__FILE__, __LINE__, "an operation that ends");
}

static void watch_for_hangs(void)
{
    struct itimerval second = { { 1, 0 }, { 1, 0 } };

    (void)signal(SIGPROF, look_for_a_hang);
    CHECK_EQUAL(setitimer(ITIMER_PROF, &second, NULL), 0);
}

static void check_memory(void)
{
    unsigned long long size, resident;
    FILE *statm = fopen("/proc/self/statm", "r");

    CHECK(statm && fscanf(statm, "%llu %llu", &size, &resident) == 2);
    fclose(statm);
    CHECK(resident * SHMQ_PAGE < RESIDENT_MOST);
}

/* ---- what is counted --------------------------------------------------------------------------------------- */

static void damage_noted(uint64_t index, uint32_t aim, uint64_t old)
{
    (void)old;
    if (damaged_count == sizeof damaged / sizeof damaged[0])
        return;
    written++;
    damaged[damaged_count++] = (uint32_t)index;
    watched_damage[index] = (uint8_t)(aim + 1);
    for (uint32_t qid = 0; qid < target.map->geometry.queues; qid++)
        place_damaged |= index * 8 == target.map->geometry.queue_at + qid * sizeof(struct shmq_queue)
            + offsetof(struct shmq_queue, place);
}

static void damage_noted_elsewhere(uint64_t index, uint32_t aim)
{
    written++;
    if (elsewhere_count == sizeof elsewhere / sizeof elsewhere[0])
        return;
    elsewhere[elsewhere_count] = (uint32_t)index;
    elsewhere_aim[elsewhere_count++] = aim;
}

static void forget_damage(void)
{
    for (uint32_t i = 0; i < damaged_count; i++)
        watched_damage[damaged[i]] = 0;
    damaged_count = elsewhere_count = 0;
}

/* A word that lies in no mapping of ours was read. */
static void read_elsewhere(enum table table, uint64_t index, bool any)
{
    for (uint32_t i = 0; i < elsewhere_count; i++)
        if (aims[elsewhere_aim[i]].table == table && (any || elsewhere[i] == index)) {
            watched_read[elsewhere_aim[i]]++;
            elsewhere[i] = elsewhere[--elsewhere_count];
            elsewhere_aim[i--] = elsewhere_aim[elsewhere_count];
        }
}

static void act_read_payload(uint64_t index) { read_elsewhere(TABLE_DATA, index, false); }

static void act_noted(int result)
{
    digest = (digest ^ (uint32_t)result) * 0x100000001b3ull;
    count_result(result, results, errors);
}

static uint64_t counted(void)
{
    uint64_t total = 0;

    for (uint32_t aim = 0; aim < AIM_COUNT; aim++)
        total += watched_read[aim];
    return total;
}

/* ---- a round ----------------------------------------------------------------------------------------------- */

static bool files_used;                 /* in this round */

/* What only those read who open files is left alone where nobody does; where somebody does, every second aim is of that
 * kind. What makes many walks long is aimed at more seldom. */
static uint32_t choose_aim(void)
{
    bool wanted = files_used && chance_below(2);
    uint32_t aim;

    do
        aim = chance_below(AIM_COUNT);
    while (aim_of_files(&aims[aim]) != wanted || (aim_makes_walks_long(&aims[aim]) && chance_below(8)));
    return aim;
}

static void damage_some(uint32_t count)
{
    while (count--)
        damage(&target, choose_aim());
}

/* In the middle of an operation. */
static void intrude(void)
{
    watched_intruder = NULL; /* nobody intrudes on the intruder */
    damage_some(1);
    watched_until = chance_below(60);
    watched_intruder = damaged_count < DAMAGES_MOST ? intrude : NULL;
}

static void run(uint32_t act)
{
    name_act(acts[act].name);
    acts_begun++;
    watched_accesses = 0;
    watched_maps = acts[act].files;
    me = &peers[chance_below(PEERS)];
    if (acts[act].files) { /* it reads the header's and the lock's files by system calls */
        read_elsewhere(TABLE_LOCK, 0, true);
        for (uint64_t index = 0; index < offsetof(struct shmq_header, reserved) / 8; index++)
            watched_see(index);
    }
    acts[act].run();
    check_private();
    done[act]++;
}

/* The i-th of the words of the tables, and then of the rings. */
static uint64_t *any_word(uint64_t i)
{
    uint64_t tables = target.map->geometry.reserve_size / 8;

    if (i < tables)
        return damage_word(&target, i * 8);
    i -= tables;
    return shmq_map_slots(target.map, (uint32_t)(i / SLOTS_KEPT)) + i % SLOTS_KEPT;
}

/* All of both segments is zeros, ones, noise or words that belong elsewhere. None of it counts: there is too much. */
static void ruin(void)
{
    const struct shmq_geometry *g = &target.map->geometry;
    uint64_t tables = g->reserve_size / 8, kind = chance_below(4);

    for (uint64_t i = 0; i < tables + g->queues * SLOTS_KEPT; i++)
        *any_word(i) = kind == 0 ? 0 : kind == 1 ? UINT64_MAX : kind == 2 ? chance()
                                                                        : sound[chance_below((uint32_t)tables)];
    memset(target.map->data, (int)kind - 1, g->data_size);
    place_damaged = true;
}

enum manner { MANNER_BEFORE, MANNER_BETWEEN, MANNER_WITHIN, MANNERS };

/* All operations, in any order; those with files now and then, for they take long. */
static void play(void)
{
    uint32_t order[ACT_COUNT], most = 1u << chance_below(6);
    enum manner manner = (enum manner)chance_below(MANNERS);

    files_used = chance_below(12) == 0;
    for (uint32_t i = 0; i < ACT_COUNT; i++) {
        uint32_t other = chance_below(i + 1);

        order[i] = order[other];
        order[other] = i;
    }
    if (chance_below(500) == 0)
        ruin();
    else if (manner == MANNER_BEFORE)
        damage_some(most);
    watched_until = chance_below(200);
    for (uint32_t i = 0; i < ACT_COUNT; i++) {
        if (acts[order[i]].files && !files_used)
            continue;
        if (manner == MANNER_BETWEEN)
            damage_some(chance_below(1 + most / 8) + 1);
        watched_intruder = manner == MANNER_WITHIN && !acts[order[i]].files ? intrude : NULL;
        run(order[i]);
        watched_intruder = NULL;
    }
}

static void play_round(uint64_t number)
{
    round_number = number;
    name_round();
    chance_state = seed * 0x9e3779b97f4a7c15ull ^ number;
    clock_now = 1000000000;
    play();
    name_act("restore");
    forget_damage();
    restore();
    if (number % 256 == 0)
        check_memory();
}

/* ---- the run ----------------------------------------------------------------------------------------------- */

static void report(double seconds)
{
    uint64_t operations = 0;

    for (uint32_t i = 0; i < ACT_COUNT; i++)
        operations += done[i];
    printf("%llu mutations of %llu written were read, %.0f a second; %llu operations, %llu accesses; seed %llu, digest "
           "%016llx\n", (unsigned long long)counted(), (unsigned long long)written, (double)counted() / seconds,
        (unsigned long long)operations, (unsigned long long)watched_total, (unsigned long long)seed,
        (unsigned long long)digest);
    tell_counts(counted(), operations, results, errors);
    for (uint32_t aim = 0; getenv("SHMQ_AIMS") && aim < AIM_COUNT; aim++)
        printf("%-24s %llu\n", aims[aim].name, (unsigned long long)watched_read[aim]);
}

static double seconds(void)
{
    struct timespec now;

    clock_gettime(CLOCK_MONOTONIC, &now);
    return (double)now.tv_sec + (double)now.tv_nsec * 1e-9;
}

int main(int argc, char **argv)
{
    uint64_t mutations = argc > 1 ? strtoull(argv[1], NULL, 0) : 100000, number = 0;
    double start = seconds();

    aims_check_all_are_there();
    seed = argc > 2 ? strtoull(argv[2], NULL, 0) : 1;
    if (argc > 3)
        number = strtoull(argv[3], NULL, 0);
    region_name_directory("corrupt");
    region_watch();
    unlink_one_in = 40;
    watch_for_hangs();
    for (uint64_t rounds = 0; rounds == 0 || (argc <= 3 && counted() < mutations); rounds++, number++) {
        if (rounds == 0 || rounds % ROUNDS_OF_A_REGION == 0 || has_ended()) {
            if (rounds)
                unmake();
            make();
        }
        play_round(number);
    }
    unmake();
    report(seconds() - start);
    return 0;
}
