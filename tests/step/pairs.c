/* SPDX-License-Identifier: MIT */
/* pairs [NAME [SAMPLES [SEED [STRIDE]]]]: a victim is killed in each operation (whose name contains NAME), and so
 * is who recovers it; then a survivor recovers both, uses everything, and finds every block and message accounted for.
 *
 * What a process leaves when it dies changes only with what it writes to shared memory and with its system calls: to
 * die before any of the instructions between two of those is the same death. So first every death of the victim meets
 * every death of the recoverer, once each (or each STRIDE-th of one each STRIDE-th of the other, from where SEED says).
 * Then, SAMPLES in all, both are stopped before any instructions, at random, and the recoverer is killed there or
 * frozen while the survivor goes on, in turn.
 */
#include "actors.h"

#define SAMPLES 1000u

static uint64_t seed = 1, stride = 1, random_state;
static uint64_t all, sampled, strayed;

static uint64_t draw(uint64_t below)
{
    random_state ^= random_state << 13; /* Marsaglia's xorshift64 */
    random_state ^= random_state >> 7;
    random_state ^= random_state << 17;
    return random_state % below;
}

static bool is_due(uint32_t death) { return (death + seed) % stride == 0; }

static void recoverer(void)
{
    memset(&own, 0, sizeof own);
    scene->stage->join();
    trace_operation(scene->stage->mend);
    scene->stage->part();
}

/* The recoverer joins first: who joins after a death recovers on the way. */
static pid_t begin(const struct trace *way, uint32_t victims_point, bool *there)
{
    pid_t helper, child;

    scene_begin();
    helper = trace_start(recoverer);
    child = trace_start(victim);
    *there = trace_go(way, child, victims_point);
    trace_kill(child);
    return helper;
}

static void record_recoverer(const struct trace *way, uint32_t victims_point, struct trace *recovery)
{
    bool there;
    pid_t helper;

    say("killed before instruction %u, its recovery recorded", victims_point);
    helper = begin(way, victims_point, &there);
    trace_record(recovery, helper, world_changed);
    trace_finish(helper);
    scene->stage->beside();
    scene_end_killed(there);
}

static void kill_both(const struct trace *way, uint32_t victims_point, const struct trace *recovery, uint32_t point)
{
    bool there, there_too;
    pid_t helper;

    say("killed before instruction %u, and its recoverer before %u", victims_point, point);
    helper = begin(way, victims_point, &there);
    there_too = trace_go(recovery, helper, point);
    trace_kill(helper);
    survive();
    scene_end_killed(there && there_too);
    strayed += !there || !there_too;
}

static void kill_and_freeze(const struct trace *way, uint32_t victims_point, const struct trace *recovery,
    uint32_t point)
{
    bool there, there_too;
    pid_t helper;

    say("killed before instruction %u, and its recoverer frozen before %u", victims_point, point);
    helper = begin(way, victims_point, &there);
    there_too = trace_go(recovery, helper, point);
    survive();
    trace_finish(helper);
    scene_end_killed(there && there_too);
    strayed += !there || !there_too;
}

static uint32_t count_due_deaths(const struct trace *way)
{
    uint32_t death = 0, due = is_due(death);

    for (uint32_t i = 1; i < way->count; i++)
        due += way->differs[i] && is_due(++death);
    return due;
}

/* The victim has died before some instruction from `first` to `last`: it makes no difference before which. */
static void meet(const struct trace *way, uint32_t first, uint32_t last, uint64_t samples)
{
    static struct trace recovery;

    if (!recovery.address)
        trace_make(&recovery);
    record_recoverer(way, first, &recovery);
    for (uint32_t point = 0, death = 0; point < recovery.count; point++)
        if (recovery.differs[point] && is_due(death++)) {
            kill_both(way, first, &recovery, point);
            all++;
        }
    for (uint64_t i = 0; i < samples; i++) {
        uint32_t victims_point = first + (uint32_t)draw(last - first + 1), point = (uint32_t)draw(recovery.count);

        (i % 2 ? kill_and_freeze : kill_both)(way, victims_point, &recovery, point);
        sampled++;
    }
}

static uint32_t last_of(const struct trace *way, uint32_t first)
{
    while (first + 1 < way->count && !way->differs[first + 1])
        first++;
    return first;
}

static void play(uint64_t samples)
{
    static struct trace way;
    uint64_t meetings;
    uint32_t last, death = 0, met = 0;

    if (!way.address)
        trace_make(&way);
    record_victim(&way);
    meetings = count_due_deaths(&way);
    for (uint32_t first = 0; first < way.count; first = last + 1) {
        last = last_of(&way, first);
        if (is_due(death++)) {
            meet(&way, first, last, samples / meetings + (samples % meetings > met));
            met++;
        }
    }
}

int main(int argc, char **argv)
{
    const struct scene *end = scenes + sizeof scenes / sizeof scenes[0];
    uint64_t samples = argc > 2 ? strtoull(argv[2], NULL, 0) : SAMPLES;
    uint64_t plays = 0;
    double start = seconds();

    seed = argc > 3 ? strtoull(argv[3], NULL, 0) : 1;
    stride = argc > 4 ? strtoull(argv[4], NULL, 0) : 1;
    CHECK(stride);
    random_state = (seed + 1) * 0x9e3779b97f4a7c15ull | 1;
    actors_begin();
    for (scene = scenes; scene < end; scene++)
        plays += argc < 2 || strstr(scene->name, argv[1]);
    CHECK(plays); /* else no operation has such a name */
    for (scene = scenes; scene < end; scene++) {
        uint64_t before = all;
        double begun = seconds();

        if (argc > 1 && !strstr(scene->name, argv[1]))
            continue;
        play(samples / plays);
        printf("%-26s %6llu pairs of deaths, %.1f s\n", scene->name, (unsigned long long)(all - before),
            seconds() - begun);
        fflush(stdout);
    }
    printf("victim and recoverer killed: %llu pairs of deaths (stride %llu); "
        "%llu pairs of instructions (seed %llu); %llu times another way was taken; %.1f s\n",
        (unsigned long long)all, (unsigned long long)stride, (unsigned long long)sampled, (unsigned long long)seed,
        (unsigned long long)strayed, seconds() - start);
    return 0;
}
