/* SPDX-License-Identifier: MIT */
/* race [MUTATIONS [SEED]]: peers, each a process of its own, do all that there is to do, at once and in any order,
 * while this process damages their memory: the core as it ships, under the sanitizers. Peers are killed and others
 * come. After some thousand mutations all leave, the region goes, and the next begins.
 *
 * A mutation counts once each kind of operation has begun after it. No peer may end but by its own end: a report of
 * the sanitizers, a signal, a failed check, an operation without an end and memory without a bound end the run.
 */
#ifndef _GNU_SOURCE
#define _GNU_SOURCE
#endif
#define SHMQ_INBOX_DEPTH 8u             /* whoever recovers looks at each slot */

#include <sched.h>
#include <time.h>

#include "../c/check.h"
#include "acts.h"
#include "counts.h"

#define BOUTS_OF_A_REGION 60u
#define BOUT_MOST 200u                  /* mutations that are then taken back, or nothing is left to work in */
#define LOOK_EVERY 512u                 /* mutations between two looks at the peers */
#define RESIDENT_MOST (300ull << 20)
#define SECONDS_OF_AN_OPERATION 10.0    /* of the processor's time … */
#define SECONDS_ON_THE_CLOCK 120.0      /* … or, on a machine that has much else to do, of anybody's */

/* What a peer tells; the page is shared. */
struct told {
    uint64_t begun[ACT_COUNT];          /* operations */
    uint64_t total;
    uint64_t act;                       /* the present one */
    uint64_t joined;
    uint64_t results[COUNTS], errors[COUNTS];
};

/* What this process knows of it. */
struct known {
    pid_t pid;
    uint64_t total;                     /* operations begun at the last look that saw more of them … */
    double processor, clock;            /* … and the times of that look */
};

static struct shared {
    struct told told[PEERS];
    uint64_t stop;
} *shared;

static struct known known[PEERS];
static struct told *mine;               /* in a peer */
static struct shmq_map raw;             /* the region as this process sees it, which is not attached */
static struct target target = { &raw, NULL, -1 };
static uint64_t counted, kills;

static uint64_t shared_load(const uint64_t *word) { return __atomic_load_n(word, __ATOMIC_SEQ_CST); }
static void shared_add(uint64_t *word) { __atomic_fetch_add(word, 1, __ATOMIC_SEQ_CST); }

static void act_noted(int result) { count_result(result, mine->results, mine->errors); }
static void act_read_payload(uint64_t index) { sink = (unsigned char)((uint64_t *)(void *)map()->data)[index]; }

/* The damage of a bout. */
static struct { uint64_t index, old, now; } bout[BOUT_MOST];
static uint32_t bout_count;

static void damage_noted(uint64_t index, uint32_t aim, uint64_t old)
{
    (void)aim;
    if (bout_count == BOUT_MOST)
        return;
    bout[bout_count].index = index;
    bout[bout_count].old = old;
    bout[bout_count++].now = ((uint64_t *)(void *)raw.admin)[index];
}

static void damage_noted_elsewhere(uint64_t index, uint32_t aim) { (void)index, (void)aim; }

static double seconds(clockid_t of)
{
    struct timespec now;

    if (clock_gettime(of, &now))
        return 0;
    return (double)now.tv_sec + (double)now.tv_nsec * 1e-9;
}

/* ---- a peer ------------------------------------------------------------------------------------------------ */

static void peer_work(void)
{
    while (!shared_load(&shared->stop)) {
        uint32_t act = chance_below(ACT_COUNT);

        if (acts[act].files && chance_below(4)) /* they take long */
            continue;
        mine->act = act;
        shared_add(&mine->begun[act]);
        shared_add(&mine->total);
        acts[act].run();
        check_private();
    }
}

/* It cannot always come in any more: then it does without. */
static void peer_live(uint32_t number, uint64_t seed)
{
    char name[16];

    chance_state = seed;
    mine = &shared->told[number];
    me = &peers[0];
    snprintf(name, sizeof name, "peer-%u", number);
    if (peer_join(me, name, (enum shmq_policy)number) == SHMQ_OK) {
        shared_add(&mine->joined);
        peer_work();
    }
    shared_add(&mine->joined);
    if (me->region.map.admin)
        shmq_region_close(&me->region);
    fflush(NULL);
    _exit(0);
}

static void start(uint32_t number, uint64_t seed)
{
    pid_t parent = getpid();

    fflush(NULL);
    known[number].pid = fork();
    CHECK(known[number].pid >= 0);
    if (known[number].pid == 0) {
        watcher_follow(parent, SIGKILL);
        peer_live(number, seed);
    }
    known[number].total = UINT64_MAX;
}

/* ---- a look at it ------------------------------------------------------------------------------------------ */

static void tell(uint32_t number)
{
    snprintf(region_doing, REGION_DOING, "race, peer %u (process %d), operation %s", number, (int)known[number].pid,
        acts[shared->told[number].act].name);
}

static void check_ended(uint32_t number, int status)
{
    tell(number);
    CHECK(WIFEXITED(status) && WEXITSTATUS(status) == 0);
    known[number].pid = 0;
}

static void check_memory(uint32_t number)
{
    unsigned long long size, resident;
    char path[64];
    FILE *statm;

    snprintf(path, sizeof path, "/proc/%d/statm", (int)known[number].pid);
    statm = fopen(path, "r");
    CHECK(statm && fscanf(statm, "%llu %llu", &size, &resident) == 2);
    fclose(statm);
    CHECK(resident * SHMQ_PAGE < RESIDENT_MOST);
}

/* Is it on its way, and within bounds? */
static void look_at(uint32_t number)
{
    uint64_t total = shared_load(&shared->told[number].total);
    clockid_t of;
    int status;

    if (!known[number].pid)
        return;
    if (waitpid(known[number].pid, &status, WNOHANG) == known[number].pid) {
        check_ended(number, status);
        return;
    }
    tell(number);
    check_memory(number);
    CHECK_EQUAL(clock_getcpuclockid(known[number].pid, &of), 0);
    if (total != known[number].total) {
        known[number].total = total;
        known[number].processor = seconds(of);
        known[number].clock = seconds(CLOCK_MONOTONIC);
    }
    CHECK(seconds(of) - known[number].processor < SECONDS_OF_AN_OPERATION);
    CHECK(seconds(CLOCK_MONOTONIC) - known[number].clock < SECONDS_ON_THE_CLOCK);
}

static bool anybody(void)
{
    for (uint32_t i = 0; i < PEERS; i++)
        if (known[i].pid)
            return true;
    return false;
}

static void look_at_all(void)
{
    for (uint32_t i = 0; i < PEERS; i++)
        look_at(i);
}

/* SIGKILL to one, wherever it is; another comes. */
static void kill_one(uint64_t seed)
{
    uint32_t number = chance_below(PEERS);
    int status;

    if (!known[number].pid)
        return;
    CHECK_EQUAL(kill(known[number].pid, SIGKILL), 0);
    CHECK_EQUAL(waitpid(known[number].pid, &status, 0), known[number].pid);
    if (!WIFSIGNALED(status) || WTERMSIG(status) != SIGKILL)
        check_ended(number, status);
    kills++;
    start(number, seed);
}

/* ---- the region -------------------------------------------------------------------------------------------- */

static void *map_file(const char *name, uint64_t bytes, int *fd)
{
    char path[sizeof region_directory + 32];
    void *address;

    snprintf(path, sizeof path, "%s/alpha/%s", region_directory, name);
    *fd = open(path, O_RDWR | O_CLOEXEC);
    CHECK(*fd >= 0);
    if (!bytes)
        return NULL;
    address = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_SHARED, *fd, 0);
    CHECK(address != MAP_FAILED);
    return address;
}

static int admin_fd, data_fd;

/* It outlives whoever is attached to it, and this process is not. */
static void make(void)
{
    struct shmq_region_options options = region_options("maker", SHMQ_REGION_CREATE);
    struct shmq_geometry geometry;
    struct shmq_region region;
    struct shmq_error error;
    void *admin, *data;

    options.persist = true;
    CHECK_EQUAL(shmq_region_open(&region, &options, &error), SHMQ_OK);
    geometry = region.map.geometry;
    shmq_region_close(&region);
    admin = map_file("admin", geometry.admin_size, &admin_fd);
    data = map_file("data", geometry.data_size, &data_fd);
    (void)map_file("lock", 0, &target.lock);
    shmq_map_init(&raw, &geometry, admin, data, NULL);
}

static void unmake(void)
{
    struct shmq_error error;

    munmap(raw.admin, raw.geometry.admin_size);
    munmap(raw.data, raw.geometry.data_size);
    close(admin_fd);
    close(data_fd);
    close(target.lock);
    CHECK_EQUAL(shmq_region_unlink("alpha", NULL, true, &error), SHMQ_OK);
    CHECK(access(region_directory, F_OK) < 0 || rmdir(region_directory) == 0);
}

/* Did somebody take the damage for its end, and remove its files? */
static bool has_ended(void)
{
    struct stat status;

    return fstat(admin_fd, &status) || status.st_nlink == 0;
}

/* ---- the run ----------------------------------------------------------------------------------------------- */

static uint64_t operations(void)
{
    uint64_t total = 0;

    for (uint32_t i = 0; i < PEERS; i++)
        total += shared_load(&shared->told[i].total);
    return total;
}

/* How often each kind of operation has begun. */
static void survey(uint64_t *begun)
{
    for (uint32_t act = 0; act < ACT_COUNT; act++) {
        begun[act] = 0;
        for (uint32_t i = 0; i < PEERS; i++)
            begun[act] += shared_load(&shared->told[i].begun[act]);
    }
}

static bool all_have_begun_since(const uint64_t *since)
{
    uint64_t now[ACT_COUNT];

    survey(now);
    for (uint32_t act = 0; act < ACT_COUNT; act++)
        if (now[act] == since[act])
            return false;
    return true;
}

/* Let an operation begin, if one is about to: a peer may have no processor to begin it on. */
static void wait_for_an_operation(void)
{
    uint64_t seen = operations();

    for (uint32_t looks = 0; looks < 50 && operations() == seen; looks++)
        for (uint32_t i = 0; i < 20; i++)
            shmq_pause();
}

/* Damage some words while the peers work; wait until each kind of operation has begun since; take the damage back. */
static uint32_t play_bout(void)
{
    uint32_t most = 1 + chance_below(BOUT_MOST - 1), done = 0;
    uint64_t *words = (uint64_t *)(void *)raw.admin, since[ACT_COUNT];

    for (bout_count = 0; done < most;) {
        uint32_t aim = chance_below(AIM_COUNT);

        if (aim_makes_walks_long(&aims[aim]) && chance_below(8))
            continue;
        done += damage(&target, aim);
        wait_for_an_operation();
    }
    survey(since);
    for (uint32_t looks = 1; !all_have_begun_since(since); looks++) {
        sched_yield();
        if (looks % LOOK_EVERY == 0)
            look_at_all();
        if (!anybody() || has_ended())
            return 0;
    }
    while (bout_count-- > 0)
        if (words[bout[bout_count].index] == bout[bout_count].now)
            words[bout[bout_count].index] = bout[bout_count].old;
    return done;
}

static void damage_while_they_work(uint64_t seed)
{
    for (uint32_t bouts = 0; bouts < BOUTS_OF_A_REGION && anybody() && !has_ended(); bouts++) {
        counted += play_bout();
        look_at_all();
        if (chance_below(20) == 0)
            kill_one(seed + bouts);
    }
}

static void play(uint64_t seed)
{
    chance_state = seed;
    make();
    shared->stop = 0;
    for (uint32_t i = 0; i < PEERS; i++) {
        shared->told[i].joined = 0;
        start(i, seed * 100 + i);
    }
    for (uint32_t i = 0; i < PEERS; i++) /* each begins in a sound region */
        while (known[i].pid && !shared_load(&shared->told[i].joined)) {
            sched_yield();
            look_at(i);
        }
    damage_while_they_work(seed);
    __atomic_store_n(&shared->stop, 1, __ATOMIC_SEQ_CST);
    while (anybody()) {
        look_at_all();
        sched_yield();
    }
    unmake();
}

static void report(uint64_t seed, double spent)
{
    uint64_t results[COUNTS] = { 0 }, errors[COUNTS] = { 0 };

    for (uint32_t i = 0; i < PEERS; i++)
        for (uint32_t n = 0; n < COUNTS; n++) {
            results[n] += shared->told[i].results[n];
            errors[n] += shared->told[i].errors[n];
        }
    printf("%llu mutations while peers worked, %.0f a second; %llu operations, %llu peers killed; seed %llu\n",
        (unsigned long long)counted, (double)counted / spent, (unsigned long long)operations(),
        (unsigned long long)kills, (unsigned long long)seed);
    printf("count racing: %llu\n", (unsigned long long)counted);
    tell_counts(0, operations(), results, errors);
}

int main(int argc, char **argv)
{
    uint64_t mutations = argc > 1 ? strtoull(argv[1], NULL, 0) : 100000;
    uint64_t seed = argc > 2 ? strtoull(argv[2], NULL, 0) : 1;
    double begun = seconds(CLOCK_MONOTONIC);

    region_name_directory("race");
    region_watch();
    unlink_one_in = 20000;
    shared = (struct shared *)mmap(NULL, sizeof *shared, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    CHECK(shared != MAP_FAILED);
    for (uint64_t number = 0; counted < mutations; number++)
        play(seed * 1000003 + number);
    report(seed, seconds(CLOCK_MONOTONIC) - begun);
    return 0;
}
