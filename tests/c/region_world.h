/* SPDX-License-Identifier: MIT */
/* What the tests of regions share: a directory of their own, points at which a process is killed, stopped or refused,
 * and a helper process to do things while another is stopped.
 *
 * Each system call of os.h is a point, and under SHMQ_SIMULATOR each write to shared memory too.
 */
#ifndef REGION_WORLD_H
#define REGION_WORLD_H

#ifndef _GNU_SOURCE
#define _GNU_SOURCE
#endif

#include <signal.h>
#include <sys/wait.h>

#include "emulated.h"

static int world_point(const char *call);

#ifndef SHMQ_OS_HOOK /* of a test's own */
#define SHMQ_OS_HOOK(call) world_point(#call)
#endif
#define SHMQ_MAKING_PATIENCE_NS(bytes) (100000u + 0 * (bytes)) /* a test stops a maker often */
#define SHMQ_MAKING_LOOK_NS 50000u

#include "shmq/region.h"

#define WORLD_MIB (1ull << 20)

/* ---- points ---------------------------------------------------------------------------------------------- */

enum world_action { WORLD_NOTHING, WORLD_KILL, WORLD_STOP, WORLD_REFUSE, WORLD_RUN };

/* What to do at the at-th point, counted from 1, whose call is `call` (NULL: any). */
struct world_plan {
    enum world_action action;
    const char *call;
    int at;
    int refusal;            /* an errno, for the call to give; 0: it takes place */
    void (*run)(void);
    int seen;
    bool reached;
};

static struct world_plan world_plan;

static inline void world_at(enum world_action action, const char *call, int at)
{
    memset(&world_plan, 0, sizeof world_plan);
    world_plan.call = call;
    world_plan.at = at;
    world_plan.action = action;
}

static inline void world_run_at(const char *call, int at, void (*run)(void))
{
    world_at(WORLD_RUN, call, at);
    world_plan.run = run;
}

/* Not a write to memory; nor the look at what a descriptor denotes: where it tells nothing, a close leaves it open. */
static inline bool world_refusable(const char *call) { return strcmp(call, "write") && strcmp(call, "is"); }

__attribute__((unused)) static int world_point(const char *call)
{
    int refusal;

    if (world_plan.action == WORLD_NOTHING || (world_plan.call && strcmp(world_plan.call, call))
        || (world_plan.action == WORLD_REFUSE && !world_refusable(call)) || ++world_plan.seen != world_plan.at)
        return 0;
    world_plan.reached = true;
    refusal = world_plan.refusal;
    if (world_plan.action == WORLD_RUN)
        world_plan.run(); /* may make another plan */
    else if (world_plan.action != WORLD_REFUSE)
        (void)raise(world_plan.action == WORLD_KILL ? SIGKILL : SIGSTOP);
    return refusal;
}

#ifdef SHMQ_SIMULATOR

uint64_t shmq_sim_load(const uint64_t *word, enum shmq_step step, enum shmq_order order)
{
    (void)step, (void)order;
    return __atomic_load_n(word, __ATOMIC_SEQ_CST);
}

void shmq_sim_store(uint64_t *word, uint64_t value, enum shmq_step step, enum shmq_order order)
{
    static enum shmq_step last;

    (void)order;
    if (step != SHMQ_Q1_SLOT || last != SHMQ_Q1_SLOT) /* a queue's thousand slots, written alike, count once */
        (void)world_point("write");
    last = step;
    __atomic_store_n(word, value, __ATOMIC_SEQ_CST);
}

bool shmq_sim_cas(uint64_t *word, uint64_t expected, uint64_t desired, enum shmq_step step, enum shmq_order order)
{
    (void)step, (void)order;
    (void)world_point(step == SHMQ_LIFE_ATTACH ? "life_attach" : step == SHMQ_LIFE_END ? "life_end" : "write");
    return __atomic_compare_exchange_n(word, &expected, desired, false, __ATOMIC_SEQ_CST, __ATOMIC_SEQ_CST);
}

uint64_t shmq_sim_fetch_or(uint64_t *word, uint64_t bits, enum shmq_step step, enum shmq_order order)
{
    (void)step, (void)order;
    (void)world_point("write");
    return __atomic_fetch_or(word, bits, __ATOMIC_SEQ_CST);
}

uint64_t shmq_sim_fetch_and(uint64_t *word, uint64_t bits, enum shmq_step step, enum shmq_order order)
{
    (void)step, (void)order;
    (void)world_point("write");
    return __atomic_fetch_and(word, bits, __ATOMIC_SEQ_CST);
}

uint64_t shmq_sim_fetch_add(uint64_t *word, uint64_t count, enum shmq_step step, enum shmq_order order)
{
    (void)step, (void)order;
    (void)world_point("write");
    return __atomic_fetch_add(word, count, __ATOMIC_SEQ_CST);
}

#endif

/* ---- the directory --------------------------------------------------------------------------------------- */

static char world_directory[64];
static bool world_default;  /* it is the one of a user that nobody is */

/* From now on be a user that nobody is, in that user's default directory, which goes when it is empty. Only root can;
 * else tests go on in a directory that $SHMQ_DIR names. */
static inline void world_become_nobody(void)
{
    uid_t uid = 1000000 + (uid_t)getpid();

    if (geteuid())
        return;
    CHECK_EQUAL(setresgid(uid, uid, uid), 0);
    CHECK_EQUAL(setresuid(uid, uid, uid), 0);
    world_default = true;
}

static inline int world_descriptors(void)
{
    DIR *open = opendir("/proc/self/fd");
    int count = 0;

    CHECK(open != NULL);
    while (readdir(open))
        count++;
    closedir(open);
    return count;
}

static inline bool world_exists(const char *path)
{
    struct stat status;

    return lstat(path, &status) == 0;
}

/* A path in the test's directory. Four may be in use at once. */
static inline const char *world_path(const char *rest)
{
    static char path[4][256];
    static int next;

    next = (next + 1) % 4;
    snprintf(path[next], sizeof path[next], "%s/%s", world_directory, rest);
    return path[next];
}

/* Nothing is left of any region. A directory that $SHMQ_DIR names stays, empty; the default one goes. */
static inline bool world_clean(void)
{
    return !world_exists(world_directory) || (!world_default && rmdir(world_directory) == 0);
}

/* Run a test with a fresh directory of regions: it leaves no file, no descriptor and no child behind. */
static void world_around(void (*run)(void))
{
    static int number;
    int descriptors = world_descriptors();

    if (world_default) {
        snprintf(world_directory, sizeof world_directory, "/dev/shm/shmq-%u", shmq_os_uid());
        unsetenv("SHMQ_DIR");
    } else {
        snprintf(world_directory, sizeof world_directory, "/dev/shm/shmq-test-%d-%d", (int)getpid(), ++number);
        CHECK_EQUAL(setenv("SHMQ_DIR", world_directory, 1), 0);
    }
    memset(&world_plan, 0, sizeof world_plan);
    run();
    memset(&world_plan, 0, sizeof world_plan);
    CHECK(world_clean());
    CHECK_EQUAL(world_descriptors(), descriptors);
    CHECK(waitpid(-1, NULL, WNOHANG) < 0);
}

/* ---- regions --------------------------------------------------------------------------------------------- */

/* The smallest region. */
static inline struct shmq_region_options world_options(const char *name, enum shmq_region_how how)
{
    struct shmq_region_options options;

    memset(&options, 0, sizeof options);
    options.name = name;
    options.size = how == SHMQ_REGION_ATTACH ? 0 : WORLD_MIB;
    options.granule = 4096;
    options.max_processes = 4;
    options.max_queues = 4;
    options.how = how;
    return options;
}

static inline void world_tell(const struct shmq_error *error)
{
    fprintf(stderr, "%s: %s, errno %d (%s), found %#llx, expected %#llx: %s\n", shmq_error_text(error->code),
        error->what ? error->what : "", error->os_errno, strerror(error->os_errno), (unsigned long long)error->found,
        (unsigned long long)error->expected, error->path);
}

static inline void world_open_with(struct shmq_region *region, const struct shmq_region_options *options)
{
    struct shmq_error error;
    int result = shmq_region_open(region, options, &error);

    if (result)
        world_tell(&error);
    CHECK_EQUAL(result, SHMQ_OK);
    CHECK_EQUAL(error.code, 0);
}

static inline void world_open(struct shmq_region *region, const char *name)
{
    struct shmq_region_options options = world_options(name, SHMQ_REGION_EITHER);

    world_open_with(region, &options);
}

/* Open that must fail with `code`. */
static inline struct shmq_error world_refused(const struct shmq_region_options *options, int code)
{
    struct shmq_region region;
    struct shmq_error error;
    int result = shmq_region_open(&region, options, &error);

    if (result != code)
        world_tell(&error);
    CHECK_EQUAL(result, code);
    CHECK_EQUAL(error.code, code);
    CHECK(error.what != NULL);
    CHECK(region.map.admin == NULL);
    return error;
}

/* Somebody unlinks meanwhile: then a region that is open may have ended. */
static bool world_unlinks;

/* Everything about an attached region that must be so at any time. */
static inline void world_verify(const struct shmq_region *region)
{
    const struct shmq_map *map = &region->map;
    uint64_t state = __atomic_load_n(&map->process[region->self.slot].state, __ATOMIC_ACQUIRE);

    CHECK_EQUAL(map->header->magic, SHMQ_MAGIC);
    CHECK_EQUAL(map->header->region_id, region->id);
    CHECK(world_unlinks || __atomic_load_n(&map->header->life, __ATOMIC_ACQUIRE) != SHMQ_LIFE_ENDED);
    CHECK_EQUAL(state, shmq_process_word(region->self.epoch, SHMQ_PROCESS_LIVE));
    CHECK_EQUAL(map->process[region->self.slot].pid, getpid());
    CHECK(map->word[map->geometry.tiers - 1][0] & 1); /* the buddy words were set up before the region had its name */
    CHECK(region->lock_page != NULL);
}

/* ---- other processes ------------------------------------------------------------------------------------- */

/* Run in a child; its status is checked by world_reap. */
static inline pid_t world_fork(void (*body)(void))
{
    pid_t pid;

    fflush(NULL);
    pid = fork();
    CHECK(pid >= 0);
    if (pid == 0) {
        body();
        _exit(0);
    }
    return pid;
}

/* Wait for a child's end. Returns 0 where it went well, the signal where it was killed; a failed check fails here. */
static inline int world_reap(pid_t pid)
{
    int status;

    CHECK_EQUAL(waitpid(pid, &status, 0), pid);
    if (WIFSIGNALED(status)) {
        CHECK_EQUAL(WTERMSIG(status), SIGKILL);
        return SIGKILL;
    }
    CHECK_EQUAL(WEXITSTATUS(status), 0);
    return 0;
}

/* Wait until a child has stopped (true) or ended well (false). */
static inline bool world_stopped(pid_t pid)
{
    int status;

    CHECK_EQUAL(waitpid(pid, &status, WUNTRACED), pid);
    if (WIFSTOPPED(status))
        return true;
    CHECK(WIFEXITED(status));
    CHECK_EQUAL(WEXITSTATUS(status), 0);
    return false;
}

/* A child that keeps a region open until it is told to close or die. */
struct world_holder {
    pid_t pid;
    int tell, hear;         /* pipes */
};

static inline void world_holder_wait(const struct world_holder *holder)
{
    char answer;

    CHECK_EQUAL(read(holder->hear, &answer, 1), 1);
}

static inline void world_hold(struct world_holder *holder, const struct shmq_region_options *options)
{
    int down[2], up[2];

    CHECK_EQUAL(pipe2(down, O_CLOEXEC), 0);
    CHECK_EQUAL(pipe2(up, O_CLOEXEC), 0);
    fflush(NULL);
    holder->pid = fork();
    CHECK(holder->pid >= 0);
    if (holder->pid == 0) {
        struct shmq_region region;
        char order;

        close(down[1]); /* the parent's death ends the wait */
        world_open_with(&region, options);
        CHECK_EQUAL(write(up[1], "!", 1), 1);
        if (read(down[0], &order, 1) == 1)
            shmq_region_close(&region);
        _exit(0);
    }
    close(down[0]);
    close(up[1]);
    holder->tell = down[1];
    holder->hear = up[0];
    world_holder_wait(holder);
}

static inline void world_holder_end(struct world_holder *holder, bool killed)
{
    if (killed)
        CHECK_EQUAL(kill(holder->pid, SIGKILL), 0);
    else
        CHECK_EQUAL(write(holder->tell, "c", 1), 1);
    CHECK_EQUAL(world_reap(holder->pid), killed ? SIGKILL : 0);
    close(holder->tell);
    close(holder->hear);
}

/* ---- what several programs do with regions ----------------------------------------------------------------- */

static inline struct shmq_region_options world_persistent(const char *name)
{
    struct shmq_region_options options = world_options(name, SHMQ_REGION_EITHER);

    options.persist = true;
    return options;
}

static inline void world_unlink(const char *name)
{
    struct shmq_error error;
    int result = shmq_region_unlink(name, NULL, false, &error);

    if (result)
        world_tell(&error);
    CHECK_EQUAL(result, SHMQ_OK);
}

static struct shmq_region_info world_listed;
static int world_listed_count;

static inline void world_note_listed(void *context, const struct shmq_region_info *info)
{
    (void)context;
    world_listed = *info;
    world_listed_count++;
}

static inline int world_list(void)
{
    struct shmq_error error;

    world_listed_count = 0;
    CHECK_EQUAL(shmq_region_list(NULL, world_note_listed, NULL, &error), SHMQ_OK);
    return world_listed_count;
}

static inline void world_open_verify_close(void)
{
    struct shmq_region region;

    world_open(&region, "alpha");
    world_verify(&region);
    shmq_region_close(&region);
}

#endif
