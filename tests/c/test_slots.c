/* SPDX-License-Identifier: MIT */
/* Process slots and their byte locks, one situation at a time: taken, held, adopted, recovered, swept.
 *
 * The tags [M4] … of the design stand at the front of the tests that hold them.
 */
#include "region_world.h"

#include <pthread.h>

/* [D6] The mapping holds the lock: closing every descriptor does not give it up, and files that got the descriptors'
 * numbers come to no harm. */
static void d6_the_lock_survives_close_range(void)
{
    struct shmq_region_options options = world_options("alpha", SHMQ_REGION_EITHER);
    pid_t pid;

    fflush(NULL);
    pid = fork();
    if (pid == 0) {
        struct shmq_region region;
        uint64_t offset;
        int kept[8];

        world_open_with(&region, &options);
        CHECK_EQUAL(syscall(SYS_close_range, 3u, ~0u, 0u), 0);
        CHECK_EQUAL(world_list(), 1);
        CHECK_EQUAL(world_listed.attached, 1);
        for (int i = 0; i < 8; i++)
            kept[i] = open("/dev/null", O_RDWR);
        offset = region.map.geometry.slot_at;
        CHECK_EQUAL(region.ops.reserve(region.ops.context, offset, 4096), SHMQ_OK); /* through a new descriptor */
        __atomic_store_n((uint64_t *)(void *)(region.map.admin + offset), 1, __ATOMIC_RELEASE);
        shmq_region_close(&region);
        for (int i = 0; i < 8; i++)
            CHECK(fcntl(kept[i], F_GETFD) >= 0);
        _exit(0);
    }
    CHECK_EQUAL(world_reap(pid), 0);
    CHECK(!world_exists(world_path("alpha")));
}

/* [D6] exec frees the byte: the program that replaces the process, here one that answers, is not attached. */
static void d6_exec_frees_the_byte(void)
{
    struct shmq_region_options options = world_persistent("alpha");
    int down[2], up[2];
    pid_t pid;
    char answer;

    CHECK_EQUAL(pipe2(down, O_CLOEXEC), 0);
    CHECK_EQUAL(pipe2(up, O_CLOEXEC), 0);
    fflush(NULL);
    pid = fork();
    if (pid == 0) {
        struct shmq_region region;

        world_open_with(&region, &options);
        CHECK_EQUAL(dup2(down[0], 0), 0);
        CHECK_EQUAL(dup2(up[1], 1), 1);
        execlp("cat", "cat", (char *)NULL);
        _exit(2);
    }
    close(down[0]);
    close(up[1]);
    CHECK_EQUAL(write(down[1], "!", 1), 1);
    CHECK_EQUAL(read(up[0], &answer, 1), 1);
    CHECK_EQUAL(world_list(), 1);
    CHECK_EQUAL(world_listed.attached, 0);
    close(down[1]); /* its end */
    CHECK_EQUAL(world_reap(pid), 0);
    close(up[0]);
    world_unlink("alpha");
}

/* [D6] A forked child neither holds its parent's byte nor can do anything in its name. */
static void d6_a_forked_child_is_not_attached(void)
{
    struct shmq_region region;
    pid_t pid;

    world_open(&region, "alpha");
    fflush(NULL);
    pid = fork();
    if (pid == 0) {
        struct shmq_error error;

        CHECK_EQUAL(shmq_region_recover(&region, &error), SHMQ_ERROR_FORKED);
        CHECK_EQUAL(error.expected, getppid());
        shmq_region_close(&region);
        _exit(0);
    }
    CHECK_EQUAL(world_reap(pid), 0);
    world_verify(&region);
    CHECK_EQUAL(world_list(), 1);
    shmq_region_close(&region);
}

static int fork_pipe[2];
static bool forking;

static void *fork_all_the_time(void *unused)
{
    while (__atomic_load_n(&forking, __ATOMIC_ACQUIRE)) {
        if (fork() == 0) { /* lives until the test ends, with whatever it inherited */
            char end;

            close(fork_pipe[1]);
            _exit(read(fork_pipe[0], &end, 1) == 0 ? 0 : 1);
        }
    }
    return unused;
}

/* [M4] Children forked by another thread at any moment of an open, a probe or a close inherit no lock: each close
 * of the last process ends the region although they all live. */
static void m4_children_forked_in_the_middle_keep_no_region_alive(void)
{
    pthread_t thread;

    CHECK_EQUAL(pipe2(fork_pipe, O_CLOEXEC), 0);
    __atomic_store_n(&forking, true, __ATOMIC_RELEASE);
    CHECK_EQUAL(pthread_create(&thread, NULL, fork_all_the_time, NULL), 0);
    for (int round = 0; round < 150; round++) {
        world_open_verify_close();
        CHECK(!world_exists(world_path("alpha")));
    }
    __atomic_store_n(&forking, false, __ATOMIC_RELEASE);
    CHECK_EQUAL(pthread_join(thread, NULL), 0);
    close(fork_pipe[0]);
    close(fork_pipe[1]);
    while (waitpid(-1, NULL, 0) > 0)
        ;
}

static uint32_t forker_task;    /* the thread's id, once it is about to fork; it forks when told */
static bool fork_now, has_forked;
static pid_t forked_child;

static void *fork_once(void *unused)
{
    __atomic_store_n(&forker_task, (uint32_t)syscall(SYS_gettid), __ATOMIC_SEQ_CST);
    while (!__atomic_load_n(&fork_now, __ATOMIC_SEQ_CST))
        ;
    forked_child = fork();
    if (forked_child == 0) {
        alarm(20); /* should the test fail, nobody kills it */
        pause();
    }
    __atomic_store_n(&has_forked, true, __ATOMIC_SEQ_CST);
    return unused;
}

/* Is the thread asleep? */
static bool forker_sleeps(void)
{
    char path[64], text[512];
    const char *state;

    snprintf(path, sizeof path, "/proc/self/task/%u/stat", forker_task);
    CHECK(shmq_os_read_text(path, text, sizeof text) > 0);
    state = strrchr(text, ')');
    return state && state[2] == 'S';
}

/* The lock's page is mapped, and a child would inherit it. Go on when the fork has taken place, or waits. */
static void fork_in_the_middle(void)
{
    __atomic_store_n(&fork_now, true, __ATOMIC_SEQ_CST);
    while (!__atomic_load_n(&has_forked, __ATOMIC_SEQ_CST) && !forker_sleeps())
        ;
}

/* [M4] The same, at the one moment that matters. */
static void m4_fork_waits_until_children_cannot_inherit_the_lock(void)
{
    struct shmq_region region;
    pthread_t thread;

    CHECK_EQUAL(pthread_create(&thread, NULL, fork_once, NULL), 0);
    while (!__atomic_load_n(&forker_task, __ATOMIC_SEQ_CST))
        ;
    world_run_at("madvise", 1, fork_in_the_middle);
    world_open(&region, "alpha");
    CHECK(world_plan.reached);
    CHECK_EQUAL(pthread_join(thread, NULL), 0);
    shmq_region_close(&region);
    CHECK(!world_exists(world_path("alpha"))); /* though the child lives */
    CHECK_EQUAL(kill(forked_child, SIGKILL), 0);
    CHECK_EQUAL(world_reap(forked_child), SIGKILL);
}

/* [U5] A slot that is held for a moment by who probes it is not taken for used up. */
static int prober;

static void u5_let_go(void) { shmq_os_unlock(prober, 1); }

static void u5_a_slot_that_is_being_probed_is_tried_again(void)
{
    struct shmq_region_options options = world_options("alpha", SHMQ_REGION_EITHER);
    struct shmq_region first, second;

    options.max_processes = 2;
    world_open_with(&first, &options);
    prober = shmq_files_open_lock(&first.files);
    CHECK_EQUAL(shmq_os_lock(prober, 1), 0);
    world_run_at("nanosleep", 3, u5_let_go); /* while the opener waits for the third time */
    world_open(&second, "alpha");
    CHECK_EQUAL(second.self.slot, 1);
    close(prober);
    shmq_region_close(&second);
    shmq_region_close(&first);
}

static void a_full_registry_tells_who_is_in_it(void)
{
    struct shmq_region_options options = world_options("alpha", SHMQ_REGION_EITHER);
    struct world_holder holder;
    struct shmq_region first, third;
    struct shmq_error error;

    options.max_processes = 2;
    world_open_with(&first, &options);
    world_hold(&holder, &options);
    error = world_refused(&options, SHMQ_ERROR_REGISTRY_FULL);
    CHECK_EQUAL(error.expected, 2);
    CHECK_EQUAL(error.pid_count, 2);
    CHECK_EQUAL(error.pids[0], getpid());
    CHECK_EQUAL(error.pids[1], holder.pid);
    world_holder_end(&holder, false);
    world_open_with(&third, &options);
    shmq_region_close(&third);
    shmq_region_close(&first);
}

static void the_slot_of_a_dead_process_is_adopted(void)
{
    struct shmq_region_options options = world_options("alpha", SHMQ_REGION_EITHER);
    struct world_holder holder;
    struct shmq_region first, second;

    options.max_processes = 2;
    world_open_with(&first, &options);
    __atomic_store_n(&first.map.header->sweep_at, shmq_os_now() + SHMQ_SWEEP_NS, __ATOMIC_RELEASE);
    world_hold(&holder, &options);
    world_holder_end(&holder, true);
    CHECK_EQUAL(shmq_process_state(first.map.process[1].state), SHMQ_PROCESS_LIVE); /* so it seems */
    world_open_with(&second, &options);
    world_verify(&second);
    CHECK_EQUAL(second.self.slot, 1);
    CHECK_EQUAL(second.self.epoch, 1);
    shmq_region_close(&second);
    shmq_region_close(&first);
}

static void recover_closes_the_dead_and_nobody_else(void)
{
    struct shmq_region_options options = world_options("alpha", SHMQ_REGION_EITHER);
    struct world_holder dead, alive;
    struct shmq_region region;
    struct shmq_error error;

    world_open_with(&region, &options);
    world_hold(&dead, &options);
    world_hold(&alive, &options);
    CHECK_EQUAL(shmq_region_recover(&region, &error), 0);
    world_holder_end(&dead, true);
    CHECK_EQUAL(shmq_region_recover(&region, &error), 1);
    CHECK_EQUAL(region.map.process[1].state, shmq_process_word(1, SHMQ_PROCESS_FREE));
    CHECK_EQUAL(region.map.process[2].state, shmq_process_word(0, SHMQ_PROCESS_LIVE));
    CHECK_EQUAL(shmq_region_recover(&region, &error), 0);
    world_verify(&region);
    world_holder_end(&alive, false);
    shmq_region_close(&region);
}

static uint32_t recovered_in_all;

static void *recover_in_a_thread(void *context)
{
    struct shmq_error error;
    int recovered = shmq_region_recover((struct shmq_region *)context, &error);

    CHECK(recovered >= 0);
    __atomic_fetch_add(&recovered_in_all, (uint32_t)recovered, __ATOMIC_SEQ_CST);
    return NULL;
}

/* [D7] Threads of one process that recover at once close each dead process once. */
static void d7_two_threads_recover_each_dead_process_once(void)
{
    struct shmq_region_options options = world_options("alpha", SHMQ_REGION_EITHER);
    struct shmq_region region;

    world_open_with(&region, &options);
    for (uint32_t round = 1; round <= 50; round++) {
        struct world_holder dead[3];
        pthread_t thread[2];

        for (int i = 0; i < 3; i++)
            world_hold(&dead[i], &options);
        for (int i = 0; i < 3; i++)
            world_holder_end(&dead[i], true);
        recovered_in_all = 0;
        for (int i = 0; i < 2; i++)
            CHECK_EQUAL(pthread_create(&thread[i], NULL, recover_in_a_thread, &region), 0);
        for (int i = 0; i < 2; i++)
            CHECK_EQUAL(pthread_join(thread[i], NULL), 0);
        CHECK_EQUAL(recovered_in_all, 3);
        for (int slot = 1; slot < 4; slot++)
            CHECK_EQUAL(region.map.process[slot].state, shmq_process_word(round, SHMQ_PROCESS_FREE));
    }
    shmq_region_close(&region);
}

static struct shmq_region *faster;

static void let_the_faster_recover(void)
{
    struct shmq_error error;

    CHECK_EQUAL(shmq_region_recover(faster, &error), 1);
}

static void a_dead_process_that_another_recovered_meanwhile_is_not_counted_again(void)
{
    struct shmq_region_options options = world_options("alpha", SHMQ_REGION_EITHER);
    struct world_holder dead;
    struct shmq_region region, other;
    struct shmq_error error;

    world_open_with(&region, &options);
    world_open_with(&other, &options);
    world_hold(&dead, &options);
    world_holder_end(&dead, true);
    faster = &other;
    world_run_at("lock", 2, let_the_faster_recover); /* the slot of `other`, then the dead one's */
    CHECK_EQUAL(shmq_region_recover(&region, &error), 0);
    CHECK_EQUAL(region.map.process[2].state, shmq_process_word(1, SHMQ_PROCESS_FREE));
    shmq_region_close(&other);
    shmq_region_close(&region);
}

static int attached_pipe[2], dead_pipe[2];

/* Attach; once told that another has died, recover it and die half-way through, or with its byte held. */
static void recover_and_die(void)
{
    struct shmq_region_options options = world_options("alpha", SHMQ_REGION_ATTACH);
    struct shmq_region region;
    struct shmq_error error;
    char byte;

    options.process = NULL;
    world_open_with(&region, &options);
    CHECK_EQUAL(write(attached_pipe[1], "!", 1), 1);
    CHECK_EQUAL(read(dead_pipe[0], &byte, 1), 1);
#ifdef SHMQ_SIMULATOR
    world_at(WORLD_KILL, "write", 2);
#else
    world_at(WORLD_KILL, "unlock", 1);
#endif
    (void)shmq_region_recover(&region, &error);
}

static void recovery_goes_on_where_a_killed_recoverer_stopped(void)
{
    struct shmq_region_options options = world_options("alpha", SHMQ_REGION_EITHER);
    struct world_holder dead;
    struct shmq_region region;
    struct shmq_error error;
    pid_t recoverer;
    char byte;

    CHECK_EQUAL(pipe2(attached_pipe, O_CLOEXEC), 0);
    CHECK_EQUAL(pipe2(dead_pipe, O_CLOEXEC), 0);
    world_open_with(&region, &options);
    recoverer = world_fork(recover_and_die); /* slot 1 */
    CHECK_EQUAL(read(attached_pipe[0], &byte, 1), 1);
    world_hold(&dead, &options);
    world_holder_end(&dead, true);
    CHECK_EQUAL(write(dead_pipe[1], "!", 1), 1);
    CHECK_EQUAL(world_reap(recoverer), SIGKILL);
#ifdef SHMQ_SIMULATOR
    CHECK_EQUAL(shmq_process_state(region.map.process[2].state), SHMQ_PROCESS_DEAD);
    CHECK_EQUAL(shmq_region_recover(&region, &error), 2); /* the recoverer, too */
#else
    CHECK_EQUAL(shmq_region_recover(&region, &error), 1);
#endif
    CHECK_EQUAL(region.map.process[2].state, shmq_process_word(1, SHMQ_PROCESS_FREE));
    shmq_region_close(&region);
    for (int i = 0; i < 2; i++) {
        close(attached_pipe[i]);
        close(dead_pipe[i]);
    }
}

/* [U12] One process takes each interval's sweep; a turn absurdly far ahead does not end all sweeping. */
static void u12_a_sweep_far_ahead_counts_as_due(void)
{
    struct shmq_region_options options = world_options("alpha", SHMQ_REGION_EITHER);
    struct world_holder dead;
    struct shmq_region region;
    uint64_t *sweep_at, now = 1000 * SHMQ_SWEEP_NS;

    world_open_with(&region, &options);
    world_hold(&dead, &options);
    world_holder_end(&dead, true);
    sweep_at = &region.map.header->sweep_at;
    *sweep_at = now + 1;
    CHECK_EQUAL(shmq_region_sweep_due(&region, now, SHMQ_SWEEP_NS), 0);
    *sweep_at = now + SHMQ_SWEEP_NS;
    CHECK_EQUAL(shmq_region_sweep_due(&region, now, SHMQ_SWEEP_NS), 0); /* just taken by another */
    *sweep_at = now + SHMQ_SWEEP_NS + 1;
    CHECK_EQUAL(shmq_region_sweep_due(&region, now, SHMQ_SWEEP_NS), 1); /* nobody can have taken it so far ahead */
    CHECK_EQUAL(*sweep_at, now + SHMQ_SWEEP_NS);
    *sweep_at = UINT64_MAX;
    CHECK(shmq_sweep_take(&region.map, now, SHMQ_SWEEP_NS));
    CHECK(!shmq_sweep_take(&region.map, now, SHMQ_SWEEP_NS)); /* once an interval */
    CHECK(!shmq_sweep_take(&region.map, now + SHMQ_SWEEP_NS - 1, SHMQ_SWEEP_NS));
    CHECK(shmq_sweep_take(&region.map, now + SHMQ_SWEEP_NS, SHMQ_SWEEP_NS));
    now += SHMQ_SWEEP_NS;
    CHECK(!shmq_sweep_take(&region.map, now + SHMQ_SWEEP_SOON_NS - 1, SHMQ_SWEEP_SOON_NS));
    CHECK(shmq_sweep_take(&region.map, now + SHMQ_SWEEP_SOON_NS, SHMQ_SWEEP_SOON_NS)); /* who is held up */
    CHECK_EQUAL(*sweep_at, now + SHMQ_SWEEP_SOON_NS + SHMQ_SWEEP_NS);
    shmq_region_close(&region);
}

int main(int argc, char **argv)
{
    static const struct check_test tests[] = {
        CHECK_TEST(d6_the_lock_survives_close_range),
        CHECK_TEST(d6_exec_frees_the_byte),
        CHECK_TEST(d6_a_forked_child_is_not_attached),
        CHECK_TEST_NEEDS(m4_children_forked_in_the_middle_keep_no_region_alive, emulated_dontfork),
        CHECK_TEST_NEEDS(m4_fork_waits_until_children_cannot_inherit_the_lock, emulated_dontfork),
        CHECK_TEST(u5_a_slot_that_is_being_probed_is_tried_again),
        CHECK_TEST(a_full_registry_tells_who_is_in_it),
        CHECK_TEST(the_slot_of_a_dead_process_is_adopted),
        CHECK_TEST(recover_closes_the_dead_and_nobody_else),
        CHECK_TEST(d7_two_threads_recover_each_dead_process_once),
        CHECK_TEST(a_dead_process_that_another_recovered_meanwhile_is_not_counted_again),
        CHECK_TEST(recovery_goes_on_where_a_killed_recoverer_stopped),
        CHECK_TEST(u12_a_sweep_far_ahead_counts_as_due),
    };

    return check_main(argc, argv, tests, sizeof tests / sizeof tests[0], world_around);
}
