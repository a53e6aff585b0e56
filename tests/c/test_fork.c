/* SPDX-License-Identifier: MIT */
/* Forked children: what they see of their parent's regions, what they cannot do to them, and that they attach anew,
 * forked at whatever moment of whatever another thread does. */
#define _GNU_SOURCE
#define SHMQ_SIMULATOR /* each write to shared memory is a point, too */

#include <pthread.h>

#include "region_world.h"

#include "shmq/shmq.h"

/* ---- messages ---------------------------------------------------------------------------------------------- */

static void open_queue(struct shmq_region *region, const char *name, struct shmq_queue_ref *ref)
{
    struct shmq_queue_spec spec;

    memset(&spec, 0, sizeof spec);
    spec.kind = SHMQ_KIND_WORK;
    spec.policy = SHMQ_POLICY_BLOCK;
    spec.depth = 4;
    spec.name = name;
    CHECK_EQUAL(shmq_queue_open(&region->self, &spec, true, ref), SHMQ_OK);
}

static void send_number(struct shmq_region *region, const char *queue, uint32_t number)
{
    struct shmq_parcel parcel;
    struct shmq_queue_ref ref;
    struct shmq_hold loan;

    memset(&parcel, 0, sizeof parcel);
    parcel.length = sizeof number;
    parcel.label = number;
    open_queue(region, queue, &ref);
    CHECK_EQUAL(shmq_loan(&region->self, sizeof number, &loan), SHMQ_OK);
    memcpy(shmq_payload(&region->map, loan.block), &number, sizeof number);
    CHECK_EQUAL(shmq_send(&region->self, &ref, &loan, &parcel), SHMQ_OK);
}

static void receive_number(struct shmq_region *region, const char *queue, uint32_t number)
{
    struct shmq_message message;
    struct shmq_queue_ref ref;

    open_queue(region, queue, &ref);
    CHECK_EQUAL(shmq_receive(&region->self, &ref, &message), SHMQ_OK);
    CHECK_EQUAL(message.label, number);
    CHECK(!memcmp(shmq_payload(&region->map, message.hold.block), &number, sizeof number));
    CHECK_EQUAL(shmq_release(&region->self, &message.hold), SHMQ_OK);
}

/* ---- what a child sees --------------------------------------------------------------------------------------- */

static struct shmq_region region;

static void open_alpha(struct shmq_region *opened)
{
    struct shmq_region_options options = world_options("alpha", SHMQ_REGION_EITHER);

    options.process = NULL;
    world_open_with(opened, &options);
}

static void scribble(void)
{
    CHECK(!strcmp((char *)region.map.data, "the parent's"));
    memset(region.map.data, 0xaa, region.map.geometry.data_size);
    memset(region.map.admin, 0xaa, region.map.geometry.reserve_size);
    CHECK_EQUAL(region.map.data[5], 0xaa);
}

/* [M5] Also a child that dies of what it scribbled over leaves the parent's alone. */
static void m5_a_child_writes_to_pages_of_its_own(void)
{
    open_alpha(&region);
    memcpy(region.map.data, "the parent's", 13);
    CHECK_EQUAL(world_reap(world_fork(scribble)), 0);
    CHECK(!strcmp((char *)region.map.data, "the parent's"));
    world_verify(&region);
    send_number(&region, "q", 3);
    receive_number(&region, "q", 3);
    shmq_region_close(&region);
}

static int other_file;

static void see_zeros(void)
{
    for (int i = 0; i < 100; i++)
        CHECK_EQUAL(region.map.data[i] | region.map.admin[i], 0);
    region.map.data[0] = region.map.admin[0] = 1; /* reaches nobody */
    shmq_region_close(&region);
    CHECK(fcntl(other_file, F_GETFD) >= 0); /* not its to close */
}

/* [M5] The program closed the descriptors, and the numbers are files of its own by now. */
static void m5_a_child_that_cannot_find_the_files_sees_zeros(void)
{
    char byte;

    open_alpha(&region);
    memset(region.map.data, 7, 4096);
    other_file = open("/dev/shm", O_TMPFILE | O_RDWR | O_CLOEXEC, 0600);
    CHECK_EQUAL(ftruncate(other_file, 1 << 24), 0);
    CHECK_EQUAL(pwrite(other_file, "another's", 9, 0), 9);
    CHECK(dup3(other_file, region.files.data, O_CLOEXEC) >= 0);
    CHECK(dup3(other_file, region.files.admin, O_CLOEXEC) >= 0);
    CHECK_EQUAL(world_reap(world_fork(see_zeros)), 0);
    CHECK_EQUAL(region.map.data[0], 7);
    CHECK_EQUAL(pread(other_file, &byte, 1, 0), 1);
    CHECK_EQUAL(byte, 'a');
    world_verify(&region);
    close(region.files.data);
    close(region.files.admin);
    close(other_file);
    shmq_region_close(&region);
}

static int refusals;

/* Refuse the next, too. */
static void refuse_more(void)
{
    if (--refusals == 0)
        return;
    world_run_at("copy_over", 1, refuse_more);
    world_plan.refusal = ENOMEM;
}

static void see_the_copy(void) { CHECK_EQUAL(region.map.data[0], 7); }

static void see_zero(void) { CHECK_EQUAL(region.map.data[0], 0); }

static void end_well(int signal)
{
    (void)signal;
    _exit(0);
}

static void see_no_mapping(void)
{
    CHECK(signal(SIGSEGV, end_well) != SIG_ERR);
    CHECK_EQUAL(region.map.data[0], -1); /* whatever can be read there is too much */
}

/* No memory for a copy to write to: one to read. Not even that: zeros, or nothing. Never the shared mapping. */
static void a_child_without_memory_gets_less_and_never_the_shared_mapping(void)
{
    void (*const see[5])(void) = { see_the_copy, see_the_copy, see_zero, see_zero, see_no_mapping };

    open_alpha(&region);
    region.map.data[0] = 7;
    for (int count = 0; count < 5; count++) {
        refusals = count;
        if (count) {
            world_run_at("copy_over", 2, refuse_more); /* after the admin segment's */
            world_plan.refusal = ENOMEM;
        }
        CHECK_EQUAL(world_reap(world_fork(see[count])), 0);
        world_at(WORLD_NOTHING, NULL, 0);
    }
    CHECK_EQUAL(region.map.data[0], 7);
    shmq_region_close(&region);
}

static int gate[2];

static void outlive(void)
{
    char byte;

    close(gate[1]);
    CHECK_EQUAL(read(gate[0], &byte, 1), 0); /* until the parent's end is closed */
    CHECK(!strcmp((char *)region.map.data, "kept"));
    region.map.data[0] = 'w';
    shmq_region_close(&region);
    CHECK(!world_exists(world_path("alpha")));
}

/* What a child inherited stays readable when the region has ended and its files are gone. */
static void a_child_that_outlives_the_region_still_reads_what_it_inherited(void)
{
    pid_t pid;

    CHECK_EQUAL(pipe2(gate, O_CLOEXEC), 0);
    open_alpha(&region);
    strcpy((char *)region.map.data, "kept");
    pid = world_fork(outlive);
    shmq_region_close(&region);
    CHECK(!world_exists(world_path("alpha")));
    close(gate[1]);
    CHECK_EQUAL(world_reap(pid), 0);
    close(gate[0]);
}

static void see_an_unlinked_region(void)
{
    struct shmq_region_options options = world_options("alpha", SHMQ_REGION_ATTACH);

    CHECK(!strcmp((char *)region.map.data, "kept"));
    shmq_region_close(&region);
    (void)world_refused(&options, SHMQ_ERROR_NOT_FOUND);
}

static void a_child_reads_a_region_whose_name_is_gone(void)
{
    open_alpha(&region);
    strcpy((char *)region.map.data, "kept");
    world_unlink("alpha");
    CHECK_EQUAL(world_reap(world_fork(see_an_unlinked_region)), 0);
    shmq_region_close(&region);
}

static void see_the_loss(void)
{
    alarm(20); /* a fault that nobody mends repeats for ever */
    CHECK_EQUAL(region.map.data[0], 7);
    CHECK_EQUAL(region.map.data[SHMQ_PAGE], 0);
    CHECK_EQUAL(region.map.data[8 * SHMQ_PAGE], 0);
    CHECK(shmq_region_is_lost(&region));
    shmq_region_close(&region);
}

/* The file was cut before the fork, and the parent has zeros of its own there; or it has not met the loss yet. */
static void a_child_reads_zeros_where_memory_went_away(void)
{
    for (int met = 0; met < 2; met++) {
        CHECK_EQUAL(shmq_guard_install(), 0);
        open_alpha(&region);
        region.map.data[0] = region.map.data[SHMQ_PAGE] = region.map.data[8 * SHMQ_PAGE] = 7;
        CHECK_EQUAL(ftruncate(region.files.data, SHMQ_PAGE), 0);
        if (met)
            CHECK_EQUAL(region.map.data[8 * SHMQ_PAGE], 0);
        CHECK_EQUAL(world_reap(world_fork(see_the_loss)), 0);
        shmq_region_close(&region);
    }
}

/* ---- before anything is open ------------------------------------------------------------------------------- */

static void refuse(const char *call)
{
    world_at(WORLD_REFUSE, call, 1);
    world_plan.refusal = ENOMEM;
}

static void check_refusal(int result, const struct shmq_error *error)
{
    CHECK(world_plan.reached);
    CHECK_EQUAL(result, SHMQ_ERROR_SYSTEM);
    CHECK_EQUAL(error->code, SHMQ_ERROR_SYSTEM);
    CHECK_EQUAL(error->os_errno, ENOMEM);
    CHECK(!strcmp(error->what, "pthread_atfork"));
    CHECK(!world_exists(world_directory));
    CHECK_EQUAL(shmq_lock_guard()->watching, 0);
}

/* Its children would keep what they inherit. Comes first: afterwards forks are watched. */
static void who_cannot_watch_forks_opens_nothing_and_tries_again(void)
{
    struct shmq_region_options options = world_options("alpha", SHMQ_REGION_EITHER);
    struct shmq_region_options unnamed = world_options(NULL, SHMQ_REGION_CREATE);
    const int handed[SHMQ_HANDED_FILES] = { -1, -1, -1 };
    struct shmq_error error;

    CHECK_EQUAL(shmq_lock_guard()->watching, 0);
    refuse("atfork");
    check_refusal(shmq_region_open(&region, &options, &error), &error);
    CHECK(region.map.admin == NULL);
    refuse("atfork");
    check_refusal(shmq_region_create_anonymous(&region, &unnamed, &error), &error);
    CHECK(region.map.admin == NULL);
    refuse("atfork");
    check_refusal(shmq_region_attach_handed(&region, handed, &unnamed, &error), &error);
    CHECK(region.map.admin == NULL);
    refuse("atfork");
    check_refusal(shmq_region_list(NULL, world_note_listed, NULL, &error), &error);
    refuse("atfork");
    check_refusal(shmq_region_unlink("alpha", NULL, true, &error), &error);
    refuse("atfork");
    CHECK_EQUAL(shmq_guard_install(), -ENOMEM);
    world_at(WORLD_NOTHING, NULL, 0);
    m5_a_child_writes_to_pages_of_its_own();
    CHECK_EQUAL(shmq_lock_guard()->watching, shmq_os_pid());
}

/* ---- what a child does --------------------------------------------------------------------------------------- */

static void use_and_leave(void)
{
    struct shmq_error error;
    int descriptors = world_descriptors();

    CHECK_EQUAL(shmq_region_recover(&region, &error), SHMQ_ERROR_FORKED);
    shmq_region_close(&region);
    CHECK(world_descriptors() < descriptors);
    open_alpha(&region);
    world_verify(&region);
    send_number(&region, "child's", 4);
    receive_number(&region, "child's", 4);
    receive_number(&region, "q", 1);
    send_number(&region, "q", 2);
    shmq_region_close(&region);
}

static void a_child_attaches_anew_and_works_with_its_parent(void)
{
    open_alpha(&region);
    send_number(&region, "q", 1);
    CHECK_EQUAL(world_reap(world_fork(use_and_leave)), 0);
    receive_number(&region, "q", 2);
    CHECK_EQUAL(shmq_process_count(&region.map), 1);
    shmq_region_close(&region);
}

static void fork_again(void) { CHECK_EQUAL(world_reap(world_fork(use_and_leave)), 0); }

static void a_childs_child_does_so_too(void)
{
    open_alpha(&region);
    send_number(&region, "q", 1);
    CHECK_EQUAL(world_reap(world_fork(fork_again)), 0);
    receive_number(&region, "q", 2);
    shmq_region_close(&region);
}

/* The region's slot is its parent's, whose death must be seen although the child lives with all that it inherited. */
static void a_living_child_does_not_keep_its_dead_parent_attached(void)
{
    struct shmq_error error;
    pid_t parent, child;
    int told[2];

    CHECK_EQUAL(pipe2(told, O_CLOEXEC), 0);
    open_alpha(&region);
    fflush(NULL);
    parent = fork();
    if (parent == 0) {
        struct shmq_region own;

        open_alpha(&own);
        send_number(&own, "q", 9);
        child = fork();
        if (child == 0) {
            alarm(20); /* should the test fail, nobody kills it */
            pause();
        }
        CHECK_EQUAL(write(told[1], &child, sizeof child), (long)sizeof child);
        (void)raise(SIGKILL);
    }
    CHECK_EQUAL(read(told[0], &child, sizeof child), (long)sizeof child);
    CHECK_EQUAL(world_reap(parent), SIGKILL);
    CHECK_EQUAL(shmq_region_recover(&region, &error), 1);
    receive_number(&region, "q", 9);
    CHECK_EQUAL(kill(child, SIGKILL), 0);
    close(told[0]);
    close(told[1]);
    shmq_region_close(&region);
    CHECK(!world_exists(world_path("alpha")));
}

/* ---- at every moment ----------------------------------------------------------------------------------------- */

static struct shmq_region elder;    /* open all the time, and inherited by every child */
static uint32_t forker_task;
static bool has_forked;
static pid_t forked_child;

/* The child: copies of whatever the other thread was in the middle of, and a region to attach to. */
static void work_as_a_child(void)
{
    struct shmq_queue_ref ref;
    char queue[32];

    memset(&world_plan, 0, sizeof world_plan);
    alarm(20);
    memset(elder.map.data, 0x55, elder.map.geometry.data_size);
    shmq_region_close(&elder);
    open_alpha(&elder);
    world_verify(&elder);
    snprintf(queue, sizeof queue, "child-%d", (int)getpid());
    send_number(&elder, queue, 11);
    receive_number(&elder, queue, 11);
    open_queue(&elder, queue, &ref);
    CHECK_EQUAL(shmq_queue_delete(&elder.self, &ref), SHMQ_OK);
    shmq_region_close(&elder);
    _exit(0);
}

static void *fork_here(void *unused)
{
    __atomic_store_n(&forker_task, (uint32_t)syscall(SYS_gettid), __ATOMIC_SEQ_CST);
    forked_child = fork();
    if (forked_child == 0)
        work_as_a_child();
    __atomic_store_n(&has_forked, true, __ATOMIC_SEQ_CST);
    return unused;
}

static bool forker_sleeps(void)
{
    uint32_t task = __atomic_load_n(&forker_task, __ATOMIC_SEQ_CST);
    char path[64], text[512];
    const char *state;
    FILE *file;

    snprintf(path, sizeof path, "/proc/self/task/%u/stat", task);
    file = task ? fopen(path, "r") : NULL; /* not through os.h, whose calls are points */
    if (!file)
        return false;
    text[fread(text, 1, sizeof text - 1, file)] = 0;
    fclose(file);
    state = strrchr(text, ')');
    return state && state[2] == 'S';
}

static pthread_t forker;

/* Another thread forks at this very point, or, where this one holds the guard, waits for its turn. */
static void fork_in_another_thread(void)
{
    __atomic_store_n(&forker_task, 0, __ATOMIC_SEQ_CST);
    __atomic_store_n(&has_forked, false, __ATOMIC_SEQ_CST);
    CHECK_EQUAL(pthread_create(&forker, NULL, fork_here, NULL), 0);
    while (!__atomic_load_n(&has_forked, __ATOMIC_SEQ_CST) && !forker_sleeps())
        ;
}

static void open_work_close(void)
{
    struct shmq_region own;
    struct shmq_error error;

    open_alpha(&own);
    send_number(&own, "work", 6);
    CHECK(shmq_region_recover(&own, &error) >= 0);
    receive_number(&own, "work", 6);
    shmq_region_close(&own);
}

/* A child is forked at each system call and at each write of an open, a send, a receive, a recovery and a close that
 * another thread is in the middle of. Each child attaches and works; the thread's work goes on; nothing is left. */
static void a_child_forked_at_any_moment_of_another_threads_work_attaches_and_works(void)
{
    struct shmq_hold loan;
    int point;

    open_alpha(&elder);
    CHECK_EQUAL(shmq_loan(&elder.self, 4096, &loan), SHMQ_OK); /* no child's scribbling must reach it */
    strcpy((char *)shmq_payload(&elder.map, loan.block), "the elder's");
    for (point = 1;; point++) {
        snprintf(check_context, sizeof check_context, "forked at point %d", point);
        world_run_at(NULL, point, fork_in_another_thread);
        open_work_close();
        if (!world_plan.reached)
            break;
        world_at(WORLD_NOTHING, NULL, 0);
        CHECK_EQUAL(pthread_join(forker, NULL), 0);
        CHECK_EQUAL(world_reap(forked_child), 0);
        CHECK_EQUAL(shmq_process_count(&elder.map), 1);
    }
    world_at(WORLD_NOTHING, NULL, 0);
    printf("%d points ", point - 1);
    CHECK(point > 100);
    CHECK(!strcmp((char *)shmq_payload(&elder.map, loan.block), "the elder's"));
    shmq_region_close(&elder);
}

/* The address sanitizer's allocator takes no part in a fork: a child may find it locked by an absent thread. */
#ifndef __SANITIZE_ADDRESS__

static bool forking;

static void *work_all_the_time(void *count)
{
    while (__atomic_load_n(&forking, __ATOMIC_SEQ_CST)) {
        open_work_close();
        ++*(int *)count;
    }
    return NULL;
}

/* The same at moments of chance, with children that live at once. */
static void children_forked_in_a_loop_while_a_thread_works_all_attach_and_work(void)
{
    pthread_t worker;
    int rounds = 0;

    open_alpha(&elder);
    __atomic_store_n(&forking, true, __ATOMIC_SEQ_CST);
    CHECK_EQUAL(pthread_create(&worker, NULL, work_all_the_time, &rounds), 0);
    for (int round = 0; round < 100; round++) {
        pid_t pids[2]; /* of four process slots one is the elder's, one the worker's, if no child keeps that locked */

        for (int i = 0; i < 2; i++)
            pids[i] = world_fork(work_as_a_child);
        for (int i = 0; i < 2; i++)
            CHECK_EQUAL(world_reap(pids[i]), 0);
    }
    __atomic_store_n(&forking, false, __ATOMIC_SEQ_CST);
    CHECK_EQUAL(pthread_join(worker, NULL), 0);
    CHECK(rounds > 0);
    CHECK_EQUAL(shmq_process_count(&elder.map), 1);
    shmq_region_close(&elder);
}

#endif

int main(int argc, char **argv)
{
    static const struct check_test tests[] = {
        CHECK_TEST(who_cannot_watch_forks_opens_nothing_and_tries_again),
        CHECK_TEST(m5_a_child_writes_to_pages_of_its_own),
        CHECK_TEST(m5_a_child_that_cannot_find_the_files_sees_zeros),
        CHECK_TEST(a_child_without_memory_gets_less_and_never_the_shared_mapping),
        CHECK_TEST_NEEDS(a_child_that_outlives_the_region_still_reads_what_it_inherited, emulated_dontfork),
        CHECK_TEST(a_child_reads_a_region_whose_name_is_gone),
        CHECK_TEST(a_child_reads_zeros_where_memory_went_away),
        CHECK_TEST(a_child_attaches_anew_and_works_with_its_parent),
        CHECK_TEST(a_childs_child_does_so_too),
        CHECK_TEST_NEEDS(a_living_child_does_not_keep_its_dead_parent_attached, emulated_dontfork),
        CHECK_TEST(a_child_forked_at_any_moment_of_another_threads_work_attaches_and_works),
#ifndef __SANITIZE_ADDRESS__
        CHECK_TEST_NEEDS(children_forked_in_a_loop_while_a_thread_works_all_attach_and_work, emulated_dontfork),
#endif
    };

    return check_main(argc, argv, tests, sizeof tests / sizeof tests[0], world_around);
}
