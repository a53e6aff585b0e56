/* SPDX-License-Identifier: MIT */
/* The players of a scene: the survivor, which is this process, a victim, and in pairs one that recovers. */
#ifndef STEP_ACTORS_H
#define STEP_ACTORS_H

#define _GNU_SOURCE
#define SHMQ_INBOX_DEPTH 8u /* short ways */
#define SHMQ_MAKING_PATIENCE_NS(bytes) (2000000u + 0 * (bytes)) /* a maker is frozen thousands of times */
#define SHMQ_MAKING_LOOK_NS 500000u

#include <stdarg.h>
#include <time.h>

#include "../c/watcher.h"
#include "scenes.h"
#include "trace.h"

#define STRAYED_ANEW 5u                 /* times that one goes another way until its way is written down anew */

static const struct scene *scene;

static double seconds(void)
{
    struct timespec now;

    clock_gettime(CLOCK_MONOTONIC, &now);
    return (double)now.tv_sec + (double)now.tv_nsec * 1e-9;
}

/* What a failure tells. */
__attribute__((format(printf, 1, 2))) static void say(const char *format, ...)
{
    va_list values;
    int length = snprintf(check_context, sizeof check_context, "%s, ", scene->name);

    va_start(values, format);
    vsnprintf(check_context + length, sizeof check_context - (size_t)length, format, values);
    va_end(values);
}

static void out_of_time(int signal)
{
    (void)signal;
    fprintf(stderr, "somebody hangs in %s\n", check_context);
    _exit(1);
}

static void actors_begin(void)
{
    world_name();
    watcher_begin(world_directory, SIGKILL, NULL);
    world_begin();
    (void)signal(SIGALRM, out_of_time);
    told = mmap(NULL, sizeof *told, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    CHECK(told != MAP_FAILED);
}

static void victim(void)
{
    memset(&own, 0, sizeof own);
    if (scene->ready) {
        world_join(&own);
        scene->ready();
    }
    trace_operation(scene->operate);
    scene->after();
    shmq_region_close(&own.region);
}

/* The survivor is ready. */
static void scene_begin(void)
{
    memset(told, 0, sizeof *told);
    alarm(TRACE_PATIENCE_S);
    scene->stage->make();
    scene->before();
}

/* The others are gone. */
static void scene_end(uint32_t least, uint32_t most)
{
    uint32_t total;

    scene->stage->finish();
    total = world_got[1] + world_heard[1] + told->got;
    CHECK(total >= least && total <= most);
    world_end();
    alarm(0);
}

static void scene_end_killed(bool there)
{
    scene_end(there ? scene->if_killed.least : 0, there ? scene->if_killed.most : 2);
}

/* The survivor works beside the others, looks for the dead, and works again. */
static void survive(void)
{
    struct shmq_error error;

    scene->stage->beside();
    if (mine.region.map.admin)
        CHECK(shmq_region_recover(&mine.region, &error) >= 0);
    scene->stage->beside();
}

#endif
