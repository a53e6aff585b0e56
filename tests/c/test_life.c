/* SPDX-License-Identifier: MIT */
/* Births and deaths of regions, with real processes: races, and a kill, a stop and a refusal at every point.
 *
 * A point is a system call of os.h or, under SHMQ_SIMULATOR, a write to shared memory. Whatever happened, the next to
 * open the region succeeds, and afterwards nothing is left.
 */
#include "region_world.h"

#include <sched.h>

static void open_verify_close(void)
{
    struct shmq_region region;

    world_open(&region, "alpha");
    world_verify(&region);
    shmq_region_close(&region);
}

static void ignore_region(void *context, const struct shmq_region_info *info) { (void)context, (void)info; }

static void list_all(void)
{
    struct shmq_error error;

    CHECK_EQUAL(shmq_region_list(NULL, ignore_region, NULL, &error), SHMQ_OK);
}

static void unlink_if_there(void)
{
    struct shmq_error error;
    int result = shmq_region_unlink("alpha", NULL, true, &error);

    if (result)
        world_tell(&error);
    CHECK_EQUAL(result, SHMQ_OK);
}

static void open_recover_close(void)
{
    struct shmq_region region;
    struct shmq_error error;

    world_open(&region, "alpha");
    CHECK(shmq_region_recover(&region, &error) >= 0);
    world_verify(&region);
    shmq_region_close(&region);
}

/* ---- what there is before -------------------------------------------------------------------------------- */

static struct world_holder holder;

static void nothing(void) {}

static void hold_region(bool persist)
{
    struct shmq_region_options options = world_options("alpha", SHMQ_REGION_EITHER);

    options.persist = persist;
    world_hold(&holder, &options);
}

static void a_live_region(void) { hold_region(false); }

static void end_live_region(void) { world_holder_end(&holder, false); }

static void a_dead_region(void)
{
    hold_region(false);
    world_holder_end(&holder, true);
}

static void a_dead_persistent_region(void)
{
    hold_region(true);
    world_holder_end(&holder, true);
}

static void a_live_region_with_a_dead_process(void)
{
    struct world_holder dead;

    hold_region(false);
    dead = holder;
    hold_region(false);
    world_holder_end(&dead, true); /* slot 0 is dead, slot 1 lives */
}

static void a_dead_maker(void)
{
    world_at(WORLD_KILL, "renameat2", 1);
    CHECK_EQUAL(world_reap(world_fork(open_verify_close)), SIGKILL);
    world_at(WORLD_NOTHING, NULL, 0);
}

/* What the victim does, and in which situation. */
struct scene {
    const char *name;
    void (*before)(void);
    void (*victim)(void);
    void (*after)(void);
    size_t meanwhiles;      /* how many of the table below it is stopped with */
};

static const struct scene scenes[] = {
    { "open, where there is nothing", nothing, open_verify_close, nothing, 4 },
    { "open a live region", a_live_region, open_verify_close, end_live_region, 3 },
    { "open a dead region", a_dead_region, open_verify_close, nothing, 2 },
    { "open a dead persistent region", a_dead_persistent_region, open_verify_close, unlink_if_there, 3 },
    { "open beside a dead maker", a_dead_maker, open_verify_close, nothing, 4 },
    { "recover a dead process", a_live_region_with_a_dead_process, open_recover_close, end_live_region, 1 },
    { "list beside a dead region", a_dead_region, list_all, nothing, 1 },
    { "list beside a dead maker", a_dead_maker, list_all, nothing, 2 },
    { "unlink a live region", a_live_region, unlink_if_there, end_live_region, 2 },
    { "unlink a dead persistent region", a_dead_persistent_region, unlink_if_there, unlink_if_there, 1 },
};

#define SCENES (sizeof scenes / sizeof scenes[0])
#define POINTS_AT_MOST 2000

static void set_context(const struct scene *scene, const char *what, int point)
{
    snprintf(check_context, sizeof check_context, "%s: %s at point %d", scene->name, what, point);
}

/* An empty directory of regions may be left, where its remover was killed: it goes with the next. */
static void check_nothing_is_left(void)
{
    if (!world_clean())
        list_all();
    CHECK(world_clean());
}

/* ---- kill ------------------------------------------------------------------------------------------------ */

static uint64_t points;

/* Kill the victim at its n-th point. False: it had none. */
static bool kill_at(const struct scene *scene, int point)
{
    bool killed;

    set_context(scene, "killed", point);
    scene->before();
    world_at(WORLD_KILL, NULL, point);
    killed = world_reap(world_fork(scene->victim)) != 0;
    world_at(WORLD_NOTHING, NULL, 0);
    open_verify_close(); /* the next to come */
    scene->after();
    check_nothing_is_left();
    return killed;
}

static void a_process_killed_at_any_point_is_in_nobodys_way(void)
{
    for (size_t i = 0; i < SCENES; i++) {
        int point = 1;

        while (point < POINTS_AT_MOST && kill_at(&scenes[i], point))
            point++;
        CHECK(point > 1 && point < POINTS_AT_MOST);
        points += (uint64_t)point - 1;
    }
    printf("%llu kills ", (unsigned long long)points);
}

/* ---- stop ------------------------------------------------------------------------------------------------ */

static struct shmq_region kept_open;

static void keep_open(void) { world_open(&kept_open, "alpha"); }

static void close_kept(void)
{
    world_verify(&kept_open);
    shmq_region_close(&kept_open);
}

/* What others do while the victim is stopped, and after it has gone on to its end. */
struct meanwhile {
    const char *name;
    void (*act)(void);
    void (*then)(void);
};

static const struct meanwhile meanwhiles[] = {
    { "stopped while another opens and closes", open_verify_close, nothing },
    { "stopped while another opens, to close later", keep_open, close_kept },
    { "stopped while another unlinks", unlink_if_there, nothing },
    { "stopped while another lists", list_all, nothing },
};

/* Stop the victim at its n-th point, let others go on, let it continue: it must do what it would have. */
static bool stop_at(const struct scene *scene, const struct meanwhile *meanwhile, int point)
{
    bool stopped;
    pid_t victim;

    set_context(scene, meanwhile->name, point);
    world_unlinks = meanwhile->act == unlink_if_there || scene->victim == unlink_if_there;
    scene->before();
    world_at(WORLD_STOP, NULL, point);
    victim = world_fork(scene->victim);
    world_at(WORLD_NOTHING, NULL, 0);
    stopped = world_stopped(victim);
    if (stopped) {
        meanwhile->act();
        CHECK_EQUAL(kill(victim, SIGCONT), 0);
        CHECK_EQUAL(world_reap(victim), 0);
        meanwhile->then();
    }
    open_verify_close();
    scene->after();
    CHECK(world_clean()); /* nobody died: it is gone without help */
    world_unlinks = false;
    return stopped;
}

static uint64_t stop_everywhere(const struct scene *scene, size_t first, size_t last)
{
    uint64_t stops = 0;

    for (size_t i = first; i < last; i++) {
        int point = 1;

        while (point < POINTS_AT_MOST && stop_at(scene, &meanwhiles[i], point))
            point++;
        CHECK(point > 1 && point < POINTS_AT_MOST);
        stops += (uint64_t)point - 1;
    }
    return stops;
}

static void a_process_stopped_at_any_point_is_in_nobodys_way_and_goes_on(void)
{
    uint64_t stops = 0;

    for (size_t i = 0; i < SCENES; i++)
        stops += stop_everywhere(&scenes[i], 0, scenes[i].meanwhiles);
    printf("%llu stops ", (unsigned long long)stops);
}

static void a_maker_stopped_at_any_point_finds_even_its_directory_gone(void)
{
    printf("%llu stops ", (unsigned long long)stop_everywhere(&scenes[0], 0, 1));
}

/* ---- refuse ---------------------------------------------------------------------------------------------- */

/* How many mappings of this test's files there are. */
static int mappings(void)
{
    static char text[1 << 20];
    int count = 0;

    CHECK(shmq_os_read_text("/proc/self/maps", text, sizeof text) > 0);
    for (const char *at = text; (at = strstr(at, world_directory)) != NULL; at++)
        count++;
    return count;
}

/* Open, in this process, with the n-th system call refused; whatever is opened is closed again. */
static bool refuse_at(const struct scene *scene, int refusal, int point)
{
    struct shmq_region_options options = world_options("alpha", SHMQ_REGION_EITHER);
    struct shmq_region region;
    struct shmq_error error;
    bool reached;
    int descriptors, result;

    set_context(scene, strerror(refusal), point);
    scene->before();
    descriptors = world_descriptors();
    world_at(WORLD_REFUSE, NULL, point);
    world_plan.refusal = refusal;
    result = shmq_region_open(&region, &options, &error);
    if (result) {
        CHECK(result != SHMQ_ERROR_AGAIN && result == error.code && error.what && error.os_errno == refusal);
        CHECK(result != SHMQ_ERROR_SECURITY && result != SHMQ_ERROR_CORRUPT && result != SHMQ_ERROR_GONE);
    } else {
        world_verify(&region);
        shmq_region_close(&region);
    }
    reached = world_plan.reached;
    world_at(WORLD_NOTHING, NULL, 0);
    CHECK_EQUAL(world_descriptors(), descriptors);
    CHECK_EQUAL(mappings(), 0);
    open_verify_close();
    scene->after();
    check_nothing_is_left();
    return reached;
}

static void a_system_call_that_is_refused_is_an_error_and_leaks_nothing(void)
{
    static const int refusals[] = { ENOMEM, EACCES, ENOSPC, EMFILE };
    uint64_t refused = 0;

    for (size_t i = 0; i < 5; i++) /* the scenes whose victim opens */
        for (size_t k = 0; k < (i ? 1 : sizeof refusals / sizeof refusals[0]); k++) {
            int point = 1;

            while (point < POINTS_AT_MOST && refuse_at(&scenes[i], refusals[k], point))
                point++;
            CHECK(point > 1 && point < POINTS_AT_MOST);
            refused += (uint64_t)point - 1;
        }
    printf("%llu refusals ", (unsigned long long)refused);
}

/* ---- races ----------------------------------------------------------------------------------------------- */

#define RACERS 8
#define RACE_ROUNDS 160

/* What the racers tell each other, outside any region. */
struct race {
    uint64_t id[RACERS];    /* the region that a racer has open; 0: none, or it is about to close */
    uint64_t made;          /* regions seen new */
    uint64_t arrived;       /* at the start of a round */
};

static struct race *race;
static int racer;

/* While two have the region open, it is the same region, and what one writes the other reads. */
static void race_once(int round)
{
    struct shmq_region_options options = world_options("alpha", SHMQ_REGION_EITHER);
    struct shmq_region region;
    uint64_t *witness;

    options.max_processes = 2 * RACERS; /* who dies or probes holds a slot a moment longer */
    world_open_with(&region, &options);
    __atomic_store_n(&race->id[racer], region.id, __ATOMIC_SEQ_CST);
    world_verify(&region);
    witness = (uint64_t *)(void *)region.map.data + 512 * racer;
    CHECK_EQUAL(*(uint64_t *)(void *)(region.map.data + region.map.geometry.data_size - 8), 0); /* whole, and fresh */
    __atomic_store_n(witness, region.id, __ATOMIC_SEQ_CST);
    for (int other = 0; other < RACERS; other++) {
        uint64_t id = __atomic_load_n(&race->id[other], __ATOMIC_SEQ_CST);

        CHECK(id == 0 || id == region.id);
    }
    if (region.self.slot == 0 && region.self.epoch == 0)
        __atomic_fetch_add(&race->made, 1, __ATOMIC_SEQ_CST);
    if (round % 3 == 0)
        list_all();
    for (int i = 0; i < 4 * (round % 4); i++) /* let others come */
        sched_yield();
    world_verify(&region);
    CHECK_EQUAL(__atomic_load_n(witness, __ATOMIC_SEQ_CST), region.id);
    __atomic_store_n(&race->id[racer], 0, __ATOMIC_SEQ_CST);
    shmq_region_close(&region);
}

static void race_on(void)
{
    for (int round = 0; round < RACE_ROUNDS; round++) {
        if (round % 2) { /* every other round all start at once, with nothing there */
            __atomic_fetch_add(&race->arrived, 1, __ATOMIC_SEQ_CST);
            while (__atomic_load_n(&race->arrived, __ATOMIC_SEQ_CST) < (uint64_t)RACERS * (uint64_t)(round / 2 + 1))
                sched_yield();
        }
        race_once(round);
    }
}

static void eight_processes_that_open_and_close_at_once_share_one_region(void)
{
    pid_t pids[RACERS];

    race = (struct race *)mmap(NULL, sizeof *race, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    CHECK(race != MAP_FAILED);
    for (racer = 0; racer < RACERS; racer++)
        pids[racer] = world_fork(race_on);
    for (int i = 0; i < RACERS; i++)
        CHECK_EQUAL(world_reap(pids[i]), 0);
    CHECK(race->made >= RACE_ROUNDS / 2);
    printf("%llu regions made in %d rounds ", (unsigned long long)race->made, RACERS * RACE_ROUNDS);
    munmap(race, sizeof *race);
}

static uint32_t chance_state;

static uint32_t chance(uint32_t below)
{
    chance_state = chance_state * 1664525u + 1013904223u;
    return (uint32_t)((uint64_t)(chance_state >> 8) * below >> 24);
}

#define KILLED_ROUNDS 300

static void open_until_killed(void)
{
    world_at(WORLD_KILL, NULL, 1 + (int)chance(400));
    for (;;)
        open_verify_close();
}

/* Four processes that open and close, each killed at a point of chance, over and over. */
static void processes_killed_while_others_open_leave_one_region_or_none(void)
{
    pid_t pids[4];

    chance_state = 20240229;
    for (int i = 0; i < 4; i++)
        pids[i] = world_fork(open_until_killed);
    for (int round = 0; round < KILLED_ROUNDS; round++) {
        CHECK_EQUAL(world_reap(pids[round % 4]), SIGKILL);
        (void)chance(2); /* so that no two children count to the same number */
        pids[round % 4] = world_fork(open_until_killed);
        if (round % 16 == 0)
            open_verify_close();
    }
    for (int i = 0; i < 4; i++)
        CHECK_EQUAL(world_reap(pids[i]), SIGKILL);
    open_verify_close();
    check_nothing_is_left();
}

int main(int argc, char **argv)
{
    static const struct check_test named[] = {
        CHECK_TEST(a_process_stopped_at_any_point_is_in_nobodys_way_and_goes_on),
    };
    static const struct check_test tests[] = {
        CHECK_TEST(a_process_killed_at_any_point_is_in_nobodys_way),
        CHECK_TEST(a_maker_stopped_at_any_point_finds_even_its_directory_gone),
        CHECK_TEST(a_system_call_that_is_refused_is_an_error_and_leaks_nothing),
        CHECK_TEST(eight_processes_that_open_and_close_at_once_share_one_region),
        CHECK_TEST(processes_killed_while_others_open_leave_one_region_or_none),
    };

    if (argc < 2 || strstr(named[0].name, argv[1])) /* in a directory that stays … */
        (void)check_main(argc, argv, named, 1, world_around);
    world_become_nobody(); /* … and in one that goes whenever it is empty */
    return check_main(argc, argv, tests, sizeof tests / sizeof tests[0], world_around);
}
