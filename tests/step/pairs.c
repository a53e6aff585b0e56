/* SPDX-License-Identifier: MIT */
/* pairs [NAME [SAMPLES [SEED [STRIDE]]]]: a victim is killed in each operation (whose name contains NAME), and so
 * is who recovers it; then a survivor recovers both, uses everything, and finds every block and message accounted for.
 *
 * What a process leaves when it dies changes only with what it writes to shared memory and with its system calls: to
 * die before any of the instructions between two of those is the same death. So first every death of the victim meets
 * every death of the recoverer, once each (or each STRIDE-th of one each STRIDE-th of the other, from where SEED says).
 * Then, SAMPLES in all, both are stopped before any instructions, at random, and the recoverer is killed there or
 * frozen while the survivor goes on, in turn. A pair of which one went another way is tried again.
 */
#include "actors.h"

#define SAMPLES 1000u
#define TRIES 10u                       /* of a pair, at most */
#define UNREACHED_PART 10u              /* a failure where more than one of so many pairs was not reached */

struct pairs {
    uint64_t tried;
    uint64_t strayed;                   /* times that one of the two went another way */
    uint64_t unreached;                 /* pairs whose every try strayed */
};

static struct trace way, recovery;      /* the victim's, and its recoverer's */
static uint64_t seed = 1, stride = 1, random_state;
static struct pairs all, sampled;

static uint64_t draw(uint64_t below)
{
    random_state ^= random_state << 13; /* Marsaglia's xorshift64 */
    random_state ^= random_state >> 7;
    random_state ^= random_state << 17;
    return random_state % below;
}

static bool is_due(uint32_t death) { return (death + seed) % stride == 0; }

/* ---- deaths ------------------------------------------------------------------------------------------------- */

/* The first instruction before which it dies the `death`-th of the deaths that differ, from 0. The trace's count: there
 * are fewer. */
static uint32_t first_of(const struct trace *trace, uint32_t death)
{
    uint32_t point = 0;

    while (point < trace->count && !(trace->differs[point] && death-- == 0))
        point++;
    return point;
}

static uint32_t count_deaths(bool due_only)
{
    uint32_t count = 0;

    for (uint32_t death = 0; first_of(&way, death) < way.count; death++)
        count += !due_only || is_due(death);
    return count;
}

static void recoverer(void)
{
    memset(&own, 0, sizeof own);
    scene->stage->join();
    trace_operation(scene->stage->mend);
    scene->stage->part();
}

/* The recoverer joins first: who joins after a death recovers on the way. */
static pid_t begin(pid_t *helper)
{
    scene_begin();
    *helper = trace_start(recoverer);
    return trace_start(victim);
}

/* Beside a recoverer, for a process that is alone may go another way. */
static void record_victim_beside(void)
{
    pid_t helper, child;

    say("recorded beside its recoverer");
    child = begin(&helper);
    trace_record(&way, child, world_changed);
    trace_finish(child);
    trace_finish(helper);
    scene->stage->beside();
    scene_end(0, 2);
}

/* Returns the recoverer, at its beginning. */
static pid_t kill_first(uint32_t victims_point, bool *there)
{
    pid_t helper, child = begin(&helper);

    *there = trace_go(&way, child, victims_point);
    trace_kill(child);
    return helper;
}

static void record_recoverer(uint32_t victims_point)
{
    bool there;
    pid_t helper;

    say("killed before instruction %u, its recovery recorded", victims_point);
    helper = kill_first(victims_point, &there);
    trace_record(&recovery, helper, world_changed);
    trace_finish(helper);
    scene->stage->beside();
    scene_end_killed(there);
}

/* Both return whether the two were where they were to be; what is checked holds anywhere. */
static bool kill_both(uint32_t victims_point, uint32_t point)
{
    bool there, there_too;
    pid_t helper;

    say("killed before instruction %u, and its recoverer before %u", victims_point, point);
    helper = kill_first(victims_point, &there);
    there_too = trace_go(&recovery, helper, point);
    trace_kill(helper);
    survive();
    scene_end_killed(there && there_too);
    return there && there_too;
}

static bool kill_and_freeze(uint32_t victims_point, uint32_t point)
{
    bool there, there_too;
    pid_t helper;

    say("killed before instruction %u, and its recoverer frozen before %u", victims_point, point);
    helper = kill_first(victims_point, &there);
    there_too = trace_go(&recovery, helper, point);
    survive();
    trace_finish(helper);
    scene_end_killed(there && there_too);
    return there && there_too;
}

/* ---- pairs -------------------------------------------------------------------------------------------------- */

static bool meet_at(uint32_t victims_death, uint32_t death)
{
    uint32_t first = first_of(&way, victims_death), point = first_of(&recovery, death);

    return first < way.count && point < recovery.count && kill_both(first, point);
}

/* The victim dies before some instruction: it makes no difference before which until its next death. */
static bool meet_anywhere(uint32_t victims_death, uint32_t sample)
{
    uint32_t first = first_of(&way, victims_death), next = first_of(&way, victims_death + 1);

    if (first == way.count)
        return false;
    first += (uint32_t)draw(next - first);
    return (sample % 2 ? kill_and_freeze : kill_both)(first, (uint32_t)draw(recovery.count));
}

/* Let them meet; where either went another way, once more, or along ways that are recorded anew. */
static void visit(uint32_t victims_death, uint32_t other, bool (*meet)(uint32_t victims_death, uint32_t other),
    struct pairs *pairs)
{
    pairs->tried++;
    for (uint32_t tries = 1; !meet(victims_death, other); tries++) {
        pairs->strayed++;
        if (tries == TRIES) {
            pairs->unreached++;
            return;
        }
        if (tries % STRAYED_ANEW == 0) {
            record_victim_beside();
            if (first_of(&way, victims_death) == way.count) { /* of this way it dies fewer deaths */
                pairs->unreached++;
                return;
            }
            record_recoverer(first_of(&way, victims_death));
        }
    }
}

/* The victim has died its `victims_death`-th death. */
static void meet_all(uint32_t victims_death, uint64_t samples)
{
    record_recoverer(first_of(&way, victims_death));
    for (uint32_t death = 0; first_of(&recovery, death) < recovery.count; death++)
        if (is_due(death))
            visit(victims_death, death, meet_at, &all);
    for (uint32_t sample = 0; sample < samples; sample++)
        visit(victims_death, sample, meet_anywhere, &sampled);
}

static void play(uint64_t samples)
{
    uint64_t meetings;
    uint32_t met = 0;

    record_victim_beside();
    meetings = count_deaths(true);
    if (!meetings) {
        meet_all((uint32_t)draw(count_deaths(false)), samples);
        return;
    }
    for (uint32_t death = 0; first_of(&way, death) < way.count; death++)
        if (is_due(death)) {
            meet_all(death, samples / meetings + (samples % meetings > met));
            met++;
        }
}

static uint64_t unreached(void) { return all.unreached + sampled.unreached; }

int main(int argc, char **argv)
{
    const struct scene *end = scenes + sizeof scenes / sizeof scenes[0];
    uint64_t samples = argc > 2 ? strtoull(argv[2], NULL, 0) : SAMPLES;
    uint64_t plays = 0, played = 0;
    double start = seconds();

    seed = argc > 3 ? strtoull(argv[3], NULL, 0) : 1;
    stride = argc > 4 ? strtoull(argv[4], NULL, 0) : 1;
    CHECK(stride);
    random_state = (seed + 1) * 0x9e3779b97f4a7c15ull | 1;
    actors_begin();
    trace_make(&way);
    trace_make(&recovery);
    for (scene = scenes; scene < end; scene++)
        plays += argc < 2 || strstr(scene->name, argv[1]);
    CHECK(plays); /* else no operation has such a name */
    for (scene = scenes; scene < end; scene++) {
        uint64_t before = all.tried, share = samples * (played + 1) / plays - samples * played / plays;
        uint64_t missed = unreached();
        double begun = seconds();

        if (argc > 1 && !strstr(scene->name, argv[1]))
            continue;
        play(share);
        played++;
        printf("%-26s %6llu pairs of deaths, %.1f s; %llu pairs not reached\n", scene->name,
            (unsigned long long)(all.tried - before), seconds() - begun,
            (unsigned long long)(unreached() - missed));
        fflush(stdout);
    }
    printf("victim and recoverer killed: %llu pairs of deaths (stride %llu; %llu pairs not reached; %llu times another "
        "way was taken); %llu pairs of instructions (seed %llu; %llu not reached; %llu times another way); %.1f s\n",
        (unsigned long long)all.tried, (unsigned long long)stride, (unsigned long long)all.unreached,
        (unsigned long long)all.strayed, (unsigned long long)sampled.tried, (unsigned long long)seed,
        (unsigned long long)sampled.unreached, (unsigned long long)sampled.strayed, seconds() - start);
    if (unreached() * UNREACHED_PART > all.tried + sampled.tried) {
        fprintf(stderr, "too many pairs were not reached, in %u tries each: %llu, more than one in %u\n", TRIES,
            (unsigned long long)unreached(), UNREACHED_PART);
        return 1;
    }
    return 0;
}
