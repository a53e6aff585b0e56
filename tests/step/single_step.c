/* SPDX-License-Identifier: MIT */
/* single_step [NAME [STRIDE]]: each operation (whose name contains NAME), stopped before each of its machine
 * instructions (of those that take more than 5,000 before each STRIDE-th; of an instruction that repeats itself, as rep
 * movsb does, not at each repetition), and there
 *
 *   killed: a survivor recovers it, uses everything, and finds every block and message accounted for;
 *   frozen: the survivor does all that without it, then it goes on, and everything is accounted for again.
 */
#define _GNU_SOURCE
#include <time.h>

#include "trace.h"
#include "world.h"

#define LONG 5000u                      /* instructions of an operation that takes its time */
#define STRAYED_MOST 20u                /* times in a row that a victim goes another way than the one written down */

/* What a victim has and tells. The page is shared with the survivor. */
struct told {
    uint32_t got;           /* times that it received and acknowledged label 1 */
};

static struct member own;
static struct told *told;
static struct shmq_hold loan;
static struct shmq_message held;
static int result;

/* An operation, and how often label 1 is to be received in all: by the survivor from queues and from the topic, and by
 * the victim. */
struct scene {
    const char *name;
    void (*before)(void);   /* the survivor, before the victim is born */
    void (*ready)(void);    /* the victim, before its operation; NULL: it is not even attached */
    void (*operate)(void);
    void (*after)(void);    /* the victim, after it */
    struct { uint32_t least, most; } if_killed, if_frozen;
};

static void nothing(void) {}

/* ---- loans and messages ----------------------------------------------------------------------------------- */

static void lend(void) { result = shmq_loan(&own.region.self, WORLD_WORDS * 8, &loan); }

static void give_back(void) { result = shmq_release(&own.region.self, &loan); }

static void check_ok(void) { CHECK_EQUAL(result, SHMQ_OK); }

static void give_back_the_loan(void)
{
    check_ok();
    CHECK_EQUAL(shmq_release(&own.region.self, &loan), SHMQ_OK);
}

static void lend_and_write(void) { loan = world_loan(&own, 1); }

static void send_it(void)
{
    struct shmq_parcel parcel = world_parcel(1);

    result = shmq_send(&own.region.self, &own.jobs, &loan, &parcel);
}

static void survivor_sends(void) { world_send(&mine, &mine.jobs, 1); }

static void survivor_sleeps(void) { (void)shmq_wait_announce(shmq_receivers(mine.jobs.queue)); }

static void receive_it(void) { result = shmq_receive(&own.region.self, &own.jobs, &held); }

/* The survivor may have been faster while the victim was frozen. */
static void acknowledge(void)
{
    if (result == SHMQ_EMPTY)
        return;
    check_ok();
    world_read(&own.region.map, &held);
    CHECK_EQUAL(held.label, 1);
    CHECK_EQUAL(shmq_release(&own.region.self, &held.hold), SHMQ_OK);
    told->got++;
}

static void hold_it(void)
{
    receive_it();
    check_ok();
}

static void release_it(void) { result = shmq_release(&own.region.self, &held.hold); }

static void count_it(void)
{
    check_ok();
    told->got++;
}

static void edit_it(void) { result = shmq_edit(&own.region.self, &held.hold); }

static void end_edit(void)
{
    check_ok();
    CHECK_EQUAL(shmq_release(&own.region.self, &held.hold), SHMQ_OK);
    told->got++;
}

static void forward_it(void) { result = shmq_forward(&own.region.self, &own.next, &held); }

/* ---- topics ------------------------------------------------------------------------------------------------ */

static void publish_it(void)
{
    struct shmq_parcel parcel = world_parcel(1);
    struct shmq_publication publication;

    result = shmq_publish_start(&own.region.self, &own.publisher, &loan, &parcel, &publication);
    if (result == SHMQ_OK && shmq_publish_try(&own.region.self, &own.publisher, &publication) != SHMQ_OK)
        shmq_publish_finish(&own.region.self, &own.publisher, &publication);
}

static void subscribe_and_publish(void)
{
    world_subscribe(&own);
    world_publish(&own, 1);
}

static void hear_it(void) { result = shmq_receive(&own.region.self, &own.frames, &held); }

static void subscribe_publish_and_hear(void)
{
    subscribe_and_publish();
    hear_it();
    check_ok();
}

static void subscribe_it(void)
{
    result = shmq_subscribe(&own.region.self, own.publisher.topic, 8, SHMQ_POLICY_BLOCK, &own.frames);
}

static void unsubscribe_it(void) { result = shmq_unsubscribe(&own.region.self, &own.frames); }

/* ---- queues ------------------------------------------------------------------------------------------------ */

static struct shmq_queue_ref other;

static int open_other(struct shmq_actor *self, bool create)
{
    struct shmq_queue_spec spec;

    memset(&spec, 0, sizeof spec);
    spec.kind = SHMQ_KIND_WORK;
    spec.policy = SHMQ_POLICY_BLOCK;
    spec.depth = 8;
    spec.name = "other";
    return shmq_queue_open(self, &spec, create, &other);
}

static void open_it(void) { result = open_other(&own.region.self, true); }

static void survivor_makes_other(void)
{
    CHECK_EQUAL(open_other(&mine.region.self, true), SHMQ_OK);
    world_send(&mine, &other, 1);
}

static void find_other(void) { CHECK_EQUAL(open_other(&own.region.self, false), SHMQ_OK); }

static void delete_it(void) { result = shmq_queue_delete(&own.region.self, &other); }

static void sleep_a_while(void)
{
    if (!shmq_await_burst(&own.region.map, &own.jobs, true))
        (void)shmq_await_sleep(&own.region.map, &own.jobs, true, 100000);
    shmq_await_leave(&own.region.map, &own.jobs, true);
}

/* ---- processes --------------------------------------------------------------------------------------------- */

static void hold_much(void)
{
    hold_it();
    lend_and_write();
    world_subscribe(&own);
}

/* A third process dies with a loan, a message and a subscription; whoever attaches after that would recover it. */
static void somebody_dies(void)
{
    int status;
    pid_t child = fork();

    CHECK(child >= 0);
    if (child == 0) {
        world_join(&own);
        hold_much();
        (void)raise(SIGKILL);
    }
    CHECK_EQUAL(waitpid(child, &status, 0), child);
    CHECK(WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL);
}

static void recover(void)
{
    struct shmq_error error;

    result = shmq_region_recover(&own.region, &error) >= 0 ? SHMQ_OK : SHMQ_CORRUPT;
}

static void attach(void) { result = world_try_open(&own.region, SHMQ_REGION_ATTACH); }

static void leave(void) { shmq_region_close(&own.region); }

static const struct scene scenes[] = {
    { "loan", nothing, nothing, lend, give_back_the_loan, { 0, 0 }, { 0, 0 } },
    { "give a loan back", nothing, lend_and_write, give_back, check_ok, { 0, 0 }, { 0, 0 } },
    { "send", nothing, lend_and_write, send_it, check_ok, { 0, 1 }, { 1, 1 } },
    { "send to a sleeper", survivor_sleeps, lend_and_write, send_it, check_ok, { 0, 1 }, { 1, 1 } },
    { "receive", survivor_sends, nothing, receive_it, acknowledge, { 1, 1 }, { 1, 1 } },
    { "receive nothing", nothing, nothing, receive_it, NULL, { 0, 0 }, { 0, 0 } },
    { "release", survivor_sends, hold_it, release_it, count_it, { 0, 1 }, { 1, 1 } },
    { "edit", survivor_sends, hold_it, edit_it, end_edit, { 0, 1 }, { 1, 1 } },
    { "forward", survivor_sends, hold_it, forward_it, check_ok, { 1, 1 }, { 1, 1 } },
    { "publish", nothing, lend_and_write, publish_it, check_ok, { 0, 1 }, { 1, 1 } },
    { "receive a publication", nothing, subscribe_and_publish, hear_it, acknowledge, { 1, 1 }, { 2, 2 } },
    { "release a publication", nothing, subscribe_publish_and_hear, release_it, count_it, { 1, 1 }, { 2, 2 } },
    { "subscribe", nothing, nothing, subscribe_it, check_ok, { 0, 0 }, { 0, 0 } },
    { "unsubscribe", nothing, subscribe_and_publish, unsubscribe_it, check_ok, { 1, 1 }, { 1, 1 } },
    { "open a new queue", nothing, nothing, open_it, check_ok, { 0, 0 }, { 0, 0 } },
    { "delete a queue", survivor_makes_other, find_other, delete_it, check_ok, { 0, 1 }, { 0, 0 } },
    { "wait", nothing, nothing, sleep_a_while, NULL, { 0, 0 }, { 0, 0 } },
    { "recover", survivor_sends, somebody_dies, recover, check_ok, { 1, 1 }, { 1, 1 } },
    { "attach", nothing, NULL, attach, check_ok, { 0, 0 }, { 0, 0 } },
    { "close", survivor_sends, hold_much, leave, NULL, { 1, 1 }, { 1, 1 } },
};

/* ---- one victim -------------------------------------------------------------------------------------------- */

static const struct scene *scene;
static const char *fate;
static uint32_t point;

static void victim(void)
{
    memset(&own, 0, sizeof own);
    if (scene->ready) {
        world_join(&own);
        scene->ready();
    }
    trace_operation(scene->operate);
    if (scene->after)
        scene->after();
    shmq_region_close(&own.region);
}

static void out_of_time(int signal)
{
    (void)signal;
    fprintf(stderr, "%s: the survivor hangs beside a victim %s before instruction %u\n", scene->name, fate, point);
    _exit(1);
}

static pid_t begin(void)
{
    memset(told, 0, sizeof *told);
    snprintf(check_context, sizeof check_context, "%s, %s before instruction %u", scene->name, fate, point);
    alarm(20);
    world_make();
    scene->before();
    return trace_start(victim);
}

/* A queue that the victim made, or had to delete, may be there or not. */
static void delete_other(void)
{
    if (open_other(&mine.region.self, false) != SHMQ_OK)
        return;
    world_drain_one(&other, world_got);
    CHECK_EQUAL(shmq_queue_delete(&mine.region.self, &other), SHMQ_OK);
}

static void end(uint32_t least, uint32_t most)
{
    uint32_t total;

    delete_other();
    world_audit_and_close();
    total = world_got[1] + world_heard[1] + told->got;
    CHECK(total >= least && total <= most);
    world_end();
    alarm(0);
}

static void record(struct trace *trace)
{
    pid_t child;

    fate = "recorded";
    point = 0;
    child = begin();
    trace_record(trace, child);
    trace_finish(child);
    end(scene->if_frozen.least, scene->if_frozen.most);
}

/* Both return whether the victim was where it was to be; what is checked holds anywhere. */
static bool kill_at(const struct trace *trace)
{
    struct shmq_error error;
    pid_t child;
    bool there;

    fate = "killed";
    child = begin();
    there = trace_go(trace, child, point);
    trace_kill(child);
    world_exercise();
    CHECK(shmq_region_recover(&mine.region, &error) >= 0);
    world_exercise();
    end(there ? scene->if_killed.least : 0, there ? scene->if_killed.most : 2);
    return there;
}

static bool freeze_at(const struct trace *trace)
{
    struct shmq_error error;
    pid_t child;
    bool there;

    fate = "frozen";
    child = begin();
    there = trace_go(trace, child, point);
    world_exercise();
    CHECK(shmq_region_recover(&mine.region, &error) >= 0); /* others may have died, this one has not */
    world_exercise();
    trace_finish(child);
    end(scene->if_frozen.least, scene->if_frozen.most);
    return there;
}

static uint64_t strayed, unreached;

/* Go there; where the way was another one, once more. */
static void visit(const struct trace *trace, bool (*do_at)(const struct trace *trace))
{
    for (uint32_t tries = 0; tries < STRAYED_MOST; tries++) {
        if (do_at(trace))
            return;
        strayed++;
    }
    unreached++;
}

static double seconds(void)
{
    struct timespec now;

    clock_gettime(CLOCK_MONOTONIC, &now);
    return (double)now.tv_sec + (double)now.tv_nsec * 1e-9;
}

int main(int argc, char **argv)
{
    uint32_t stride = argc > 2 ? (uint32_t)strtoul(argv[2], NULL, 0) : 1;
    uint64_t points = 0;
    double start = seconds();
    struct trace trace;

    world_begin();
    (void)signal(SIGALRM, out_of_time);
    trace.address = calloc(TRACE_MAX, sizeof *trace.address);
    trace.visit = calloc(TRACE_MAX, sizeof *trace.visit);
    told = mmap(NULL, sizeof *told, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    CHECK(trace.address && trace.visit && told != MAP_FAILED);
    for (scene = scenes; scene < scenes + sizeof scenes / sizeof scenes[0]; scene++) {
        double begun = seconds();

        if (argc > 1 && !strstr(scene->name, argv[1]))
            continue;
        record(&trace);
        for (point = 0; point < trace.count; point += trace.count > LONG ? stride : 1) {
            if (trace_repeats(&trace, point))
                continue;
            visit(&trace, kill_at);
            visit(&trace, freeze_at);
            points++;
        }
        printf("%-24s %6u instructions, %.1f s\n", scene->name, trace.count, seconds() - begun);
        fflush(stdout);
    }
    printf("killed and frozen before %llu instructions (%llu not reached; %llu times another way was taken), %.1f s\n",
        (unsigned long long)points, (unsigned long long)unreached, (unsigned long long)strayed, seconds() - start);
    return 0;
}
