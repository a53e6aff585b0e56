/* SPDX-License-Identifier: MIT */
/* The cache-line probe: what a bare round trip between two cores costs now. Every figure of a benchmark is held
 * against one taken in the same run, because the host moves the cores. */
#ifndef SHMQ_PROBE_H
#define SHMQ_PROBE_H

#ifndef _GNU_SOURCE
#define _GNU_SOURCE
#endif
#include <pthread.h>
#include <sched.h>
#include <stdint.h>
#include <stdlib.h>
#include <time.h>

#include "shmq/atomics.h"

/* Two words on lines of their own: one thread writes ping and reads pong, the other the reverse. */
struct shmq_probe {
    uint64_t ping;
    uint64_t separate_ping_from_pong[63];
    uint64_t pong;
    uint64_t separate_pong_from_rest[63];
    uint64_t rounds;
    int core;
};

static inline uint64_t shmq_probe_now(void)
{
    struct timespec time;

    clock_gettime(CLOCK_MONOTONIC, &time);
    return (uint64_t)time.tv_sec * 1000000000u + (uint64_t)time.tv_nsec;
}

static inline void shmq_probe_pin(int core)
{
    cpu_set_t cores;

    CPU_ZERO(&cores);
    CPU_SET(core, &cores);
    sched_setaffinity(0, sizeof cores, &cores);
}

static inline void *shmq_probe_echo(void *argument)
{
    struct shmq_probe *probe = (struct shmq_probe *)argument;

    shmq_probe_pin(probe->core);
    for (uint64_t i = 1; i <= probe->rounds; i++) {
        while (__atomic_load_n(&probe->ping, __ATOMIC_ACQUIRE) != i)
            shmq_pause();
        __atomic_store_n(&probe->pong, i, __ATOMIC_RELEASE);
    }
    return NULL;
}

static inline int shmq_probe_compare(const void *a, const void *b)
{
    uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;

    return x < y ? -1 : x > y;
}

/* Median ns of `rounds` round trips between cores a and b; 0 where no memory or thread is to be had. The caller's
 * affinity is restored. */
static inline uint64_t shmq_probe_run(uint64_t rounds, int a, int b)
{
    struct shmq_probe *probe = (struct shmq_probe *)aligned_alloc(64, sizeof *probe);
    uint64_t *times = (uint64_t *)malloc(rounds * sizeof *times), median = 0;
    cpu_set_t before;
    pthread_t echo;

    sched_getaffinity(0, sizeof before, &before);
    if (probe && times && rounds) {
        probe->ping = probe->pong = 0;
        probe->rounds = rounds;
        probe->core = b;
        if (pthread_create(&echo, NULL, shmq_probe_echo, probe) == 0) {
            shmq_probe_pin(a);
            for (uint64_t i = 1; i <= rounds; i++) {
                uint64_t start = shmq_probe_now();

                __atomic_store_n(&probe->ping, i, __ATOMIC_RELEASE);
                while (__atomic_load_n(&probe->pong, __ATOMIC_ACQUIRE) != i)
                    shmq_pause();
                times[i - 1] = shmq_probe_now() - start;
            }
            pthread_join(echo, NULL);
            qsort(times, rounds, sizeof *times, shmq_probe_compare);
            median = times[rounds / 2];
        }
    }
    sched_setaffinity(0, sizeof before, &before);
    free(probe);
    free(times);
    return median;
}

#endif
