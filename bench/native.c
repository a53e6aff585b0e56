/* SPDX-License-Identifier: MIT */
/* The native figures: round trip and one-way rate of 8-byte messages between two processes on two cores, beside a
 * cache-line probe taken before and after each. Payloads differ and are checked.
 *
 *     native [runs]      one line a run, then the medians as ratios to the probe
 */
#include "../shmq/probe.h"
#include "shmq/shmq.h"

#include <stdio.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#define ROUND_TRIPS 300000u
#define ONE_WAY 5000000u
#define MAX_RUNS 99

enum { PING, PONG, QUEUES };

struct end {
    struct shmq_region region;
    struct shmq_queue_ref queue[QUEUES];
};

struct figures {
    double probe, round_trip, round_trip_p99, one_way;
};

static uint64_t times[ROUND_TRIPS];

static void fail(const char *what, int result)
{
    fprintf(stderr, "native: %s: %s\n", what, shmq_strerror(result));
    exit(1);
}

static void open_end(struct end *end, const char *name, int core)
{
    static const char *const names[QUEUES] = { "ping", "pong" };
    struct shmq_region_options options = { 0 };
    struct shmq_error error;

    shmq_probe_pin(core);
    options.name = name;
    if (shmq_region_open(&end->region, &options, &error)) {
        fprintf(stderr, "native: %s: %s\n", error.path, shmq_error_text(error.code));
        exit(1);
    }
    shmq_cache_resize(&end->region.self);
    for (int i = 0; i < QUEUES; i++) {
        struct shmq_queue_spec spec = { SHMQ_KIND_WORK, SHMQ_POLICY_BLOCK, 1024, names[i], 0, 0 };
        int result = shmq_queue_open(&end->region.self, &spec, true, &end->queue[i]);

        if (result)
            fail("open a queue", result);
    }
}

/* Send eight bytes, waiting for space. */
static void send(struct end *end, int queue, uint64_t value)
{
    struct shmq_actor *self = &end->region.self;
    struct shmq_parcel parcel = { sizeof value, 0 };
    struct shmq_hold loan;
    int result;

    while ((result = shmq_loan(self, sizeof value, &loan)) == SHMQ_NO_BLOCKS)
        shmq_pause();
    if (result)
        fail("loan", result);
    memcpy(shmq_payload(self->map, loan.block), &value, sizeof value);
    while ((result = shmq_send(self, &end->queue[queue], &loan, &parcel)) == SHMQ_FULL)
        shmq_await_room(self->map, &end->queue[queue], 1000);
    if (result)
        fail("send", result);
}

/* Receive eight bytes, spinning. */
static uint64_t receive(struct end *end, int queue)
{
    struct shmq_actor *self = &end->region.self;
    struct shmq_message message;
    uint64_t value;
    int result;

    while ((result = shmq_receive(self, &end->queue[queue], &message)) == SHMQ_EMPTY)
        shmq_await_burst(self->map, &end->queue[queue], true);
    if (result)
        fail("receive", result);
    memcpy(&value, shmq_payload(self->map, message.hold.block), sizeof value);
    shmq_release(self, &message.hold);
    return value;
}

static void expect(uint64_t value, uint64_t expected)
{
    if (value == expected)
        return;
    fprintf(stderr, "native: received %llu instead of %llu\n", (unsigned long long)value, (unsigned long long)expected);
    exit(1);
}

static void serve(const char *name, int core)
{
    struct end end;

    open_end(&end, name, core);
    for (uint64_t i = 0; i < ROUND_TRIPS; i++)
        send(&end, PONG, receive(&end, PING) + 1);
    for (uint64_t i = 0; i < ONE_WAY; i++)
        expect(receive(&end, PING), i * 3);
    send(&end, PONG, 0);
    shmq_region_close(&end.region);
    _exit(0);
}

static struct figures measure(struct end *end)
{
    struct figures figures;
    uint64_t start;

    for (uint64_t i = 0; i < ROUND_TRIPS; i++) {
        start = shmq_probe_now();
        send(end, PING, i * 7);
        expect(receive(end, PONG), i * 7 + 1);
        times[i] = shmq_probe_now() - start;
    }
    qsort(times, ROUND_TRIPS, sizeof times[0], shmq_probe_compare);
    figures.round_trip = (double)times[ROUND_TRIPS / 2];
    figures.round_trip_p99 = (double)times[ROUND_TRIPS / 100 * 99];
    start = shmq_probe_now();
    for (uint64_t i = 0; i < ONE_WAY; i++)
        send(end, PING, i * 3);
    receive(end, PONG);
    figures.one_way = (double)(shmq_probe_now() - start) / ONE_WAY;
    return figures;
}

static struct figures run(int number)
{
    char name[64];
    struct end end;
    struct figures figures;
    double before = (double)shmq_probe_run(100000, 0, 1), after;
    pid_t child;
    int status;

    snprintf(name, sizeof name, "bench-native-%d-%d", (int)getpid(), number);
    child = fork();
    if (child < 0) {
        perror("native: fork");
        exit(1);
    }
    if (!child)
        serve(name, 1);
    open_end(&end, name, 0);
    figures = measure(&end);
    waitpid(child, &status, 0);
    shmq_region_close(&end.region);
    if (status)
        exit(1);
    after = (double)shmq_probe_run(100000, 0, 1);
    figures.probe = (before + after) / 2;
    printf("probe %4.0f/%4.0f ns   round trip p50 %4.0f p99 %5.0f ns (%.2f x probe)   "
        "one way %5.1f ns, %.1f M/s (%.2f x probe)\n",
        before, after, figures.round_trip, figures.round_trip_p99, figures.round_trip / figures.probe, figures.one_way,
        1e3 / figures.one_way, figures.one_way / figures.probe);
    return figures;
}

static int compare(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;

    return x < y ? -1 : x > y;
}

int main(int count, char **arguments)
{
    int runs = count > 1 ? atoi(arguments[1]) : 5;
    double round_trip[MAX_RUNS], one_way[MAX_RUNS];

    if (runs < 1 || runs > MAX_RUNS) {
        fprintf(stderr, "usage: native [runs, 1 to %d]\n", MAX_RUNS);
        return 2;
    }
    for (int i = 0; i < runs; i++) {
        struct figures figures = run(i);

        round_trip[i] = figures.round_trip / figures.probe;
        one_way[i] = figures.one_way / figures.probe;
    }
    qsort(round_trip, (size_t)runs, sizeof round_trip[0], compare);
    qsort(one_way, (size_t)runs, sizeof one_way[0], compare);
    printf("median of %d: round trip %.2f x probe, one way %.2f x probe\n", runs, round_trip[runs / 2],
        one_way[runs / 2]);
    return 0;
}
