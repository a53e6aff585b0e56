/* SPDX-License-Identifier: MIT */
/* single_step [NAME [STRIDE]]: each operation (whose name contains NAME), stopped before each of its machine
 * instructions (or before each STRIDE-th; of an instruction that repeats itself, as rep movsb does, not at each
 * repetition), and there
 *
 *   killed: a survivor recovers it, uses everything, and finds every block and message accounted for;
 *   frozen: the survivor does all that without it, then it goes on, and everything is accounted for again.
 */
#include "actors.h"

#define STRAYED_MOST 60u                /* times in a row that a victim goes another way than the one written down */
#define UNREACHED_MOST 2u               /* of 1000 points: a failure where more were not reached */

static uint64_t visited, strayed, unreached; /* a point is visited twice */

/* Both return whether the victim was where it was to be; what is checked holds anywhere. */
static bool kill_at(const struct trace *trace, uint32_t point)
{
    pid_t child;
    bool there;

    say("killed before instruction %u", point);
    scene_begin();
    child = trace_start(victim);
    there = trace_go(trace, child, point);
    trace_kill(child);
    survive();
    scene_end_killed(there);
    return there;
}

static bool freeze_at(const struct trace *trace, uint32_t point)
{
    pid_t child;
    bool there;

    say("frozen before instruction %u", point);
    scene_begin();
    child = trace_start(victim);
    there = trace_go(trace, child, point);
    survive(); /* others may have died, this one has not */
    trace_finish(child);
    scene_end(scene->if_frozen.least, scene->if_frozen.most);
    return there;
}

static void record_victim(struct trace *trace)
{
    pid_t child;

    say("recorded");
    scene_begin();
    child = trace_start(victim);
    trace_record(trace, child, world_changed);
    trace_finish(child);
    scene->stage->beside();
    scene_end(0, 2);
}

/* Go there; where the way was another one, once more, or along a way that is recorded anew. */
static void visit(struct trace *trace, uint32_t point, bool (*do_at)(const struct trace *trace, uint32_t point))
{
    visited++;
    for (uint32_t tries = 1; tries <= STRAYED_MOST && point < trace->count; tries++) {
        if (do_at(trace, point))
            return;
        strayed++;
        if (tries % STRAYED_ANEW == 0)
            record_victim(trace);
    }
    unreached += point < trace->count; /* else the way is shorter by now, and has no such point */
}

/* Returns how many points it stopped at. */
static uint64_t play(struct trace *trace, uint32_t stride)
{
    uint64_t points = 0;

    record_victim(trace);
    for (uint32_t point = 0; point < trace->count; point += stride) {
        visit(trace, point, kill_at);
        visit(trace, point, freeze_at);
        points++;
    }
    return points;
}

int main(int argc, char **argv)
{
    uint32_t stride = argc > 2 ? (uint32_t)strtoul(argv[2], NULL, 0) : 1;
    uint64_t points = 0;
    double start = seconds();
    struct trace trace;

    actors_begin();
    trace_make(&trace);
    for (scene = scenes; scene < scenes + sizeof scenes / sizeof scenes[0]; scene++) {
        double begun = seconds();
        uint64_t missed = unreached;

        if (argc > 1 && !strstr(scene->name, argv[1]))
            continue;
        points += play(&trace, stride);
        printf("%-26s %6u instructions, %.1f s; %llu points not reached\n", scene->name, trace.count, seconds() - begun,
            (unsigned long long)(unreached - missed));
        fflush(stdout);
    }
    CHECK(points); /* else no operation has such a name */
    printf("killed and frozen before %llu instructions (%llu not reached; %llu times another way was taken), %.1f s\n",
        (unsigned long long)points, (unsigned long long)unreached, (unsigned long long)strayed, seconds() - start);
    if (unreached > UNREACHED_MOST && unreached * 1000 > visited * UNREACHED_MOST) {
        fprintf(stderr, "too many points were not reached, in %u tries each: %llu of %llu, more than %u in 1000\n",
            STRAYED_MOST, (unsigned long long)unreached, (unsigned long long)visited, UNREACHED_MOST);
        return 1;
    }
    return 0;
}
