/* SPDX-License-Identifier: MIT */
/* reclaim [ROUNDS [GRANULES]]: how long it takes from a SIGKILL until all that the dead process had is back.
 *
 * A process that holds loans and a message, and subscribes, is killed, ROUNDS times for each way in which it is found:
 *
 *   waiting   somebody waits at an empty queue, and has done so before
 *   full, out of blocks, attach, recover()   somebody asks, once the kernel has freed the dead one's lock
 *
 * in regions whose granules have all been split once: all of them free again, then seven eighths in use, a granule a
 * block, each of which whoever recovers looks at; then free ones, but for 65,536 messages that the dead have sent to a
 * queue, or published for eight subscribers. On a quiet machine.
 */
#define _GNU_SOURCE
#include <fcntl.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/wait.h>

#include "../c/check.h"
#include "../c/watcher.h"
#include "shmq/shmq.h"

#define RECLAIM_FD 3
#define RECLAIM_DEPTH 8u
#define RECLAIM_SUBSCRIBERS 8u
#define GRANULE 512u

/* What a victim has sent before: nothing, as much as a queue holds, or as all subscribers of a topic do. */
enum backlog { BACKLOG_NONE, BACKLOG_QUEUE, BACKLOG_TOPIC };

enum find { FIND_WAITING, FIND_FULL, FIND_BLOCKS, FIND_ATTACH, FIND_RECOVER, FINDS };

static const char *const backlog_text[] = { "", ", a queue of 65,536 that the dead had sent",
    ", 65,536 that the dead had published for eight" };
static const char *const find_text[FINDS] = { "somebody waits", "asked: a full queue", "asked: out of blocks",
    "asked: attach", "asked: recover()" };

/* Between the victim and this process. */
struct told {
    uint64_t find;
    uint64_t backlog;       /* what it has sent (enum backlog) */
    uint64_t go;            /* die … */
    uint64_t delay_ns;      /* … after so long */
    uint64_t ready;         /* the victim's process epoch32 | slot + 1 */
    uint64_t died_ns;
};

struct times {
    uint32_t count;
    double ms[1000];
};

static struct told *told;
static struct shmq_region region;
static struct shmq_queue_ref idle, jobs;
static struct times freed, found[FINDS];
static uint64_t chance = 88172645463325252ull;
static const char *program;

static uint64_t load(const uint64_t *word) { return __atomic_load_n(word, __ATOMIC_ACQUIRE); }
static void store(uint64_t *word, uint64_t value) { __atomic_store_n(word, value, __ATOMIC_RELEASE); }

/* ---- what both do ------------------------------------------------------------------------------------------ */

static void open_region(struct shmq_region *which, uint64_t granules, enum shmq_region_how how)
{
    struct shmq_region_options options;
    struct shmq_error error;

    memset(&options, 0, sizeof options);
    options.name = "reclaim";
    options.size = granules * GRANULE;
    options.granule = GRANULE;
    options.how = how;
    if (shmq_region_open(which, &options, &error) != SHMQ_OK) {
        fprintf(stderr, "%s, %s, errno %d\n", shmq_error_text(error.code), error.what, error.os_errno);
        CHECK(false);
    }
}

static void open_queue(struct shmq_region *in, const char *name, uint32_t depth, struct shmq_queue_ref *ref)
{
    struct shmq_queue_spec spec;
    uint64_t holder;

    memset(&spec, 0, sizeof spec);
    spec.kind = SHMQ_KIND_WORK;
    spec.policy = SHMQ_POLICY_BLOCK;
    spec.depth = depth;
    spec.name = name;
    CHECK_EQUAL(shmq_queue_open(&in->self, &spec, true, ref), SHMQ_OK);
    CHECK_EQUAL(shmq_queue_claim(&in->self, ref, true, SHMQ_POLICY_BLOCK, &holder), SHMQ_OK);
}

static int send_one(struct shmq_region *in, const struct shmq_queue_ref *ref)
{
    struct shmq_parcel parcel = { 64, 1 };
    struct shmq_hold loan;
    int result;

    CHECK_EQUAL(shmq_loan(&in->self, 64, &loan), SHMQ_OK);
    result = shmq_send(&in->self, ref, &loan, &parcel);
    if (result != SHMQ_OK)
        CHECK_EQUAL(shmq_release(&in->self, &loan), SHMQ_OK);
    return result;
}

/* ---- the victim -------------------------------------------------------------------------------------------- */

static void take_all_blocks(void)
{
    struct shmq_hold loan;

    for (uint32_t order = region.map.geometry.max_order + 1; order-- > 0;)
        while (shmq_loan(&region.self, (uint64_t)GRANULE << order, &loan) == SHMQ_OK)
            continue;
}

/* To all who subscribe to "backlog". False: they are full. */
static bool publish_one(void)
{
    struct shmq_parcel parcel = { 64, 1 };
    struct shmq_publication publication;
    struct shmq_publisher publisher;
    struct shmq_hold loan;
    uint32_t topic = 0;
    bool done;

    CHECK_EQUAL(shmq_topic_open(&region.self, "backlog", &topic), SHMQ_OK);
    shmq_publisher_init(&publisher, topic);
    memset(&publication, 0, sizeof publication);
    CHECK_EQUAL(shmq_loan(&region.self, 64, &loan), SHMQ_OK);
    CHECK_EQUAL(shmq_publish_start(&region.self, &publisher, &loan, &parcel, &publication), SHMQ_OK);
    done = shmq_publish_try(&region.self, &publisher, &publication) == SHMQ_OK;
    shmq_publish_finish(&region.self, &publisher, &publication);
    return done;
}

static void be_victim(void)
{
    struct shmq_queue_ref frames, backlog;
    struct shmq_message message;
    struct shmq_hold loan;
    uint32_t topic = 0;
    uint64_t until;

    open_region(&region, 0, SHMQ_REGION_ATTACH);
    open_queue(&region, "jobs", RECLAIM_DEPTH, &jobs);
    if (told->backlog == BACKLOG_QUEUE) {
        open_queue(&region, "backlog", SHMQ_MAX_DEPTH, &backlog);
        while (send_one(&region, &backlog) == SHMQ_OK)
            continue;
    }
    if (told->backlog == BACKLOG_TOPIC)
        while (publish_one())
            continue;
    CHECK_EQUAL(shmq_topic_open(&region.self, "frames", &topic), SHMQ_OK);
    CHECK_EQUAL(shmq_subscribe(&region.self, topic, RECLAIM_DEPTH, SHMQ_POLICY_BLOCK, &frames), SHMQ_OK);
    CHECK_EQUAL(send_one(&region, &jobs), SHMQ_OK);
    CHECK_EQUAL(shmq_receive(&region.self, &jobs, &message), SHMQ_OK);
    CHECK_EQUAL(shmq_loan(&region.self, 100000, &loan), SHMQ_OK);
    if (told->find == FIND_BLOCKS)
        take_all_blocks();
    store(&told->ready, (uint64_t)region.self.epoch << 32 | (region.self.slot + 1));
    while (!load(&told->go))
        shmq_os_pause(100000);
    until = shmq_os_now() + told->delay_ns;
    while (shmq_os_now() < until)
        shmq_os_pause(200000);
    store(&told->died_ns, shmq_os_now());
    (void)raise(SIGKILL);
}

static pid_t start_victim(enum find find, enum backlog backlog)
{
    pid_t child, parent = getpid();

    memset(told, 0, sizeof *told);
    told->find = find;
    told->backlog = backlog;
    chance = chance * 6364136223846793005ull + 1442695040888963407ull;
    if (find == FIND_WAITING) /* it waits already */
        told->delay_ns = 60000000 + (chance >> 33) % 50000000;
    child = vfork();
    if (child == 0) {
        watcher_follow(parent, SIGKILL);
        (void)execl(program, program, "victim", (char *)NULL);
        _exit(127);
    }
    CHECK(child > 0);
    while (!load(&told->ready)) {
        CHECK_EQUAL(waitpid(child, NULL, WNOHANG), 0);
        shmq_os_pause(100000);
    }
    return child;
}

/* ---- who finds it ------------------------------------------------------------------------------------------ */

static bool is_back(void)
{
    return shmq_process_epoch(shmq_process_load(&region.map, (uint32_t)told->ready - 1)) != told->ready >> 32;
}

static void note(struct times *times, uint64_t since)
{
    CHECK(times->count < sizeof times->ms / sizeof times->ms[0]);
    times->ms[times->count++] = (double)(shmq_os_now() - since) * 1e-6;
}

/* Looks until the kernel has freed the lock. */
static uint64_t await_lock(void)
{
    int fd = shmq_files_open_lock(&region.files);

    CHECK(fd >= 0);
    while (!load(&told->died_ns) || shmq_os_locked(fd, (uint32_t)told->ready - 1, 1) == 1)
        shmq_os_yield(NULL);
    shmq_os_close(fd);
    note(&freed, told->died_ns);
    return shmq_os_now();
}

static void wait_at(const struct shmq_queue_ref *ref, bool receiver, uint64_t slice, uint64_t interval)
{
    (void)shmq_await_sleep(&region.map, ref, receiver, slice);
    (void)shmq_region_sweep_due(&region, shmq_os_now(), interval);
    shmq_await_leave(&region.map, ref, receiver);
}

/* As who sends does: a little sleep first, so that somebody has looked since the queue was full. */
static void find_at_full_queue(void)
{
    struct shmq_message message;

    while (send_one(&region, &idle) == SHMQ_OK)
        continue;
    (void)await_lock();
    store(&told->died_ns, shmq_os_now()); /* from the question on */
    while (!is_back())
        wait_at(&idle, false, SHMQ_SWEEP_SOON_NS, SHMQ_SWEEP_SOON_NS);
    note(&found[FIND_FULL], told->died_ns);
    while (shmq_receive(&region.self, &idle, &message) == SHMQ_OK)
        CHECK_EQUAL(shmq_release(&region.self, &message.hold), SHMQ_OK);
}

/* As who lends does: at once. */
static void find_without_blocks(void)
{
    uint64_t asked = await_lock();
    struct shmq_error error;
    struct shmq_hold loan;

    CHECK_EQUAL(shmq_loan(&region.self, 100000, &loan), SHMQ_NO_BLOCKS);
    CHECK_EQUAL(shmq_region_recover(&region, &error), 1);
    CHECK_EQUAL(shmq_loan(&region.self, 100000, &loan), SHMQ_OK);
    note(&found[FIND_BLOCKS], asked);
    CHECK_EQUAL(shmq_release(&region.self, &loan), SHMQ_OK);
}

static void find_by_attach(void)
{
    static struct shmq_region other;
    uint64_t asked = await_lock();

    open_region(&other, 0, SHMQ_REGION_ATTACH);
    CHECK(is_back());
    note(&found[FIND_ATTACH], asked);
    shmq_region_close(&other);
}

static void find_by_recover(void)
{
    uint64_t asked = await_lock();
    struct shmq_error error;

    CHECK_EQUAL(shmq_region_recover(&region, &error), 1);
    note(&found[FIND_RECOVER], asked);
    CHECK(is_back());
}

static void find_waiting(void)
{
    while (!is_back())
        wait_at(&idle, true, SHMQ_SLICE_NS, SHMQ_SWEEP_NS);
    note(&found[FIND_WAITING], told->died_ns);
}

static void (*const find_it[FINDS])(void) = { find_waiting, find_at_full_queue, find_without_blocks, find_by_attach,
    find_by_recover };

static void play(enum find find, enum backlog backlog)
{
    pid_t child = start_victim(find, backlog);
    struct shmq_message message;
    int status;

    store(&told->go, 1);
    find_it[find]();
    CHECK_EQUAL(waitpid(child, &status, 0), child);
    CHECK(WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL);
    CHECK(is_back());
    CHECK_EQUAL(shmq_receive(&region.self, &jobs, &message), SHMQ_OK); /* what the victim held */
    CHECK_EQUAL(message.deliveries, 1);
    CHECK_EQUAL(shmq_release(&region.self, &message.hold), SHMQ_OK);
}

/* ------------------------------------------------------------------------------------------------------------- */

static int compare(const void *left, const void *right)
{
    double a = *(const double *)left, b = *(const double *)right;

    return a < b ? -1 : a > b;
}

static void tell(const char *what, struct times *times)
{
    qsort(times->ms, times->count, sizeof times->ms[0], compare);
    printf("  %-30s p50 %7.2f ms, p99 %7.2f ms, max %7.2f ms\n", what, times->ms[times->count / 2],
        times->ms[(times->count - 1) * 99 / 100], times->ms[times->count - 1]);
    times->count = 0;
}

/* Each granule is a block of its own once; the first `kept` stay so. */
static void split_all(uint64_t kept)
{
    uint32_t granules = region.map.geometry.granules;
    struct shmq_hold *loan = (struct shmq_hold *)malloc(granules * sizeof *loan);

    CHECK(loan);
    for (uint32_t i = 0; i < granules; i++)
        CHECK_EQUAL(shmq_loan(&region.self, GRANULE, &loan[i]), SHMQ_OK);
    for (uint32_t i = (uint32_t)kept; i < granules; i++)
        CHECK_EQUAL(shmq_release(&region.self, &loan[i]), SHMQ_OK);
    shmq_cache_flush(&region.self);
    shmq_buddy_merge(&region.self);
    free(loan);
}

static void measure(uint64_t granules, uint64_t used, enum backlog backlog, uint32_t rounds)
{
    struct shmq_queue_ref subscriber[RECLAIM_SUBSCRIBERS];
    uint32_t topic = 0;

    open_region(&region, granules, SHMQ_REGION_CREATE);
    open_queue(&region, "idle", RECLAIM_DEPTH, &idle);
    open_queue(&region, "jobs", RECLAIM_DEPTH, &jobs);
    split_all(used);
    for (uint32_t i = 0; backlog == BACKLOG_TOPIC && i < RECLAIM_SUBSCRIBERS; i++) {
        CHECK_EQUAL(shmq_topic_open(&region.self, "backlog", &topic), SHMQ_OK);
        CHECK_EQUAL(shmq_subscribe(&region.self, topic, SHMQ_MAX_DEPTH, SHMQ_POLICY_BLOCK, &subscriber[i]), SHMQ_OK);
    }
    for (uint32_t i = 0; i < rounds; i++)
        for (enum find find = 0; find < FINDS; find++)
            play(find, backlog);
    shmq_region_close(&region);
    printf("%llu granules, %llu in use%s, %u deaths each\n", (unsigned long long)granules, (unsigned long long)used,
        backlog_text[backlog], rounds);
    tell("the kernel frees the lock", &freed);
    for (enum find find = 0; find < FINDS; find++)
        tell(find_text[find], &found[find]);
    fflush(stdout);
}

int main(int argc, char **argv)
{
    static const uint64_t granules[] = { 10000, 100000, 1000000 };
    uint32_t rounds = argc > 1 ? (uint32_t)strtoul(argv[1], NULL, 10) : 100;
    uint64_t only = argc > 2 ? strtoull(argv[2], NULL, 10) : 0;
    char directory[64];
    int fd;

    program = argv[0];
    if (argc > 1 && !strcmp(argv[1], "victim")) {
        told = (struct told *)mmap(NULL, sizeof *told, PROT_READ | PROT_WRITE, MAP_SHARED, RECLAIM_FD, 0);
        CHECK(told != MAP_FAILED);
        be_victim();
    }
    CHECK(rounds >= 1 && rounds * FINDS <= sizeof freed.ms / sizeof freed.ms[0]);
    snprintf(directory, sizeof directory, "/dev/shm/shmq-reclaim-%d", (int)getpid());
    CHECK_EQUAL(setenv("SHMQ_DIR", directory, 1), 0);
    watcher_begin(directory, SIGKILL, NULL);
    fd = memfd_create("reclaim", 0);
    CHECK(fd >= 0 && ftruncate(fd, sizeof *told) == 0 && (fd == RECLAIM_FD || dup2(fd, RECLAIM_FD) == RECLAIM_FD));
    told = (struct told *)mmap(NULL, sizeof *told, PROT_READ | PROT_WRITE, MAP_SHARED, RECLAIM_FD, 0);
    CHECK(told != MAP_FAILED);
    for (uint32_t i = 0; i < 3; i++)
        if (!only || granules[i] == only) {
            measure(granules[i], 0, BACKLOG_NONE, rounds);
            measure(granules[i], granules[i] / 8 * 7, BACKLOG_NONE, rounds);
            if (granules[i] > 2 * SHMQ_MAX_DEPTH) {
                measure(granules[i], 0, BACKLOG_QUEUE, rounds);
                measure(granules[i], 0, BACKLOG_TOPIC, rounds);
            }
        }
    CHECK_EQUAL(rmdir(directory), 0);
    return 0;
}
