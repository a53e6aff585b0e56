/* SPDX-License-Identifier: MIT */
/* Regions whose files or words others change in the middle of an operation, or of which nothing fits any more: each
 * ends in the result that is true by then, and leaves nothing.
 */
#define SHMQ_SIMULATOR /* each write to shared memory is a point, too */

#include "region_world.h"

#include <sched.h>
#include <sys/mount.h>
#include <sys/resource.h>

#include "shmq/anonymous.h"

/* ---- life ------------------------------------------------------------------------------------------------ */

static struct shmq_region region;
static uint64_t *life;
static int interferences;

/* One attaches and leaves before each try to end the region. */
static void attach_and_leave(void)
{
    ++*life;
    interferences++;
    world_run_at("life_end", 1, attach_and_leave);
}

static void watch_life(void)
{
    interferences = 0;
    life = &region.map.header->life;
    world_run_at("life_end", 1, attach_and_leave);
}

static void who_never_gets_to_end_a_region_leaves_it_to_the_next(void)
{
    struct shmq_region_options options = world_options("alpha", SHMQ_REGION_EITHER);

    world_open_with(&region, &options);
    watch_life();
    shmq_region_close(&region);
    world_at(WORLD_NOTHING, NULL, 0);
    CHECK_EQUAL(interferences, SHMQ_LIFE_TRIES);
    CHECK(world_exists(world_path("alpha/admin")));
    CHECK_EQUAL(world_list(), 0); /* ended by who met it */
    CHECK(!world_exists(world_path("alpha")));
}

static void an_unlink_that_never_gets_to_mark_the_region_removes_it_all_the_same(void)
{
    struct shmq_error error;

    world_open(&region, "alpha");
    watch_life();
    CHECK_EQUAL(shmq_region_unlink("alpha", NULL, false, &error), SHMQ_OK);
    world_at(WORLD_NOTHING, NULL, 0);
    CHECK_EQUAL(interferences, SHMQ_LIFE_TRIES);
    CHECK(!world_exists(world_path("alpha")));
    shmq_region_close(&region);
}

/* Another has ended the region, and its lock file has gone already. */
static void end_and_remove_lock(void)
{
    *life = SHMQ_LIFE_ENDED;
    CHECK_EQUAL(unlink(world_path("alpha/lock")), 0);
}

static void who_finds_no_lock_file_any_more_sees_that_the_region_has_ended(void)
{
    world_open(&region, "alpha");
    life = &region.map.header->life;
    CHECK_EQUAL(close(region.files.lock), 0); /* by the program: only the name leads there */
    world_run_at("openat", 1, end_and_remove_lock);
    shmq_region_close(&region);
    CHECK(world_plan.reached);
    CHECK(!world_exists(world_path("alpha"))); /* what the other had not come to is removed, too */
}

static void remove_lock(void) { CHECK_EQUAL(unlink(world_path("alpha/lock")), 0); }

static void who_finds_no_lock_file_of_a_region_that_goes_on_does_not_end_it(void)
{
    world_open(&region, "alpha");
    CHECK_EQUAL(close(region.files.lock), 0);
    world_run_at("openat", 1, remove_lock);
    shmq_region_close(&region);
    CHECK(world_plan.reached);
    CHECK(world_exists(world_path("alpha/admin")));
    world_unlink("alpha");
}

/* ---- the inbox ------------------------------------------------------------------------------------------- */

/* Before each write: dir names something else, which is no queue. */
static void overwrite_dir(void)
{
    uint64_t *dir = &region.map.header->dir;

    *dir = shmq_dir_word(shmq_dir_version(*dir) + 1, 0x7fff);
    world_run_at("write", 1, overwrite_dir);
}

static void lose_inbox(void)
{
    CHECK_EQUAL(shmq_queue_close(&region.self, &region.inbox), SHMQ_OK);
    shmq_queue_finish_close(&region.self, &region.inbox);
    region.inbox.queue = NULL;
}

static void an_inbox_that_cannot_be_named_for_damage_is_a_corrupt_region(void)
{
    struct shmq_error error;

    world_open(&region, "alpha");
    CHECK_EQUAL(shmq_region_need_inbox(&region, &error), SHMQ_OK); /* it has one */
    lose_inbox();
    overwrite_dir();
    CHECK_EQUAL(shmq_region_need_inbox(&region, &error), SHMQ_ERROR_CORRUPT);
    CHECK(!strcmp(error.what, "dir"));
    world_at(WORLD_NOTHING, NULL, 0);
    CHECK(region.inbox.queue == NULL);
    CHECK_EQUAL(shmq_region_need_inbox(&region, &error), SHMQ_OK);
    shmq_region_close(&region);
}

static void an_empty_process_name_is_none(void)
{
    struct shmq_region_options options = world_options("alpha", SHMQ_REGION_EITHER);
    struct shmq_process_info info;
    char name[64];

    options.process = "";
    world_open_with(&region, &options);
    shmq_process_info(&region.map, 0, &info);
    snprintf(name, sizeof name, "pid-%d", (int)getpid());
    CHECK(!strcmp(info.name, name));
    shmq_region_close(&region);
}

/* ---- locks ----------------------------------------------------------------------------------------------- */

/* As on a file system that maps another file than the one that was opened. */
static void lose_the_lock(void) { shmq_lock_drop(&region.lock_page); }

static void a_file_system_that_forgets_the_lock_of_a_mapping_is_refused(void)
{
    struct shmq_region_options options = world_options("alpha", SHMQ_REGION_EITHER);
    struct shmq_error error;

    world_run_at("fstatfs", 1, lose_the_lock);
    world_plan.refusal = EIO; /* of what file system it is */
    CHECK_EQUAL(shmq_region_open(&region, &options, &error), SHMQ_ERROR_SYSTEM);
    CHECK(world_plan.reached);
    CHECK_EQUAL(error.os_errno, ENOLCK);
    CHECK(!strcmp(error.what, "byte lock"));
    CHECK(!strcmp(error.path, world_directory));
    CHECK(!world_exists(world_path("alpha")));
}

/* ---- a child with its parent's pid ------------------------------------------------------------------------ */

static void find_out_that_it_is_a_child(void)
{
    struct shmq_error error;

    CHECK_EQUAL(shmq_region_recover(&region, &error), SHMQ_ERROR_FORKED);
    CHECK_EQUAL(error.found, 1);
    CHECK_EQUAL(error.expected, 1);
    shmq_region_close(&region);
}

/* The first process of a pid namespace opens a region, and forks the first one of another. */
static void open_and_fork_into_another_namespace(void)
{
    world_open(&region, "alpha");
    CHECK_EQUAL(getpid(), 1);
    CHECK_EQUAL(unshare(CLONE_NEWPID), 0);
    CHECK_EQUAL(world_reap(world_fork(find_out_that_it_is_a_child)), 0);
    CHECK_EQUAL(shmq_process_state(region.map.process[0].state), SHMQ_PROCESS_LIVE);
    shmq_region_close(&region);
}

static void fork_into_a_namespace(void)
{
    CHECK_EQUAL(unshare(CLONE_NEWPID), 0);
    CHECK_EQUAL(world_reap(world_fork(open_and_fork_into_another_namespace)), 0);
}

static void a_child_that_has_its_parents_pid_in_another_namespace_is_not_attached(void)
{
    if (geteuid())
        return;
    CHECK_EQUAL(world_reap(world_fork(fork_into_a_namespace)), 0);
    CHECK(!world_exists(world_path("alpha")));
}

/* ---- what cannot be removed ------------------------------------------------------------------------------ */

static void who_attaches_to_what_has_ended_and_cannot_be_removed_finds_no_region(void)
{
    struct shmq_region_options options = world_options("alpha", SHMQ_REGION_EITHER);
    struct shmq_region other;
    struct shmq_error error;

    world_open_with(&region, &options);
    region.map.header->life = SHMQ_LIFE_ENDED;
    options.how = SHMQ_REGION_ATTACH;
    options.size = 0;
    world_at(WORLD_REFUSE, "unlinkat", 1);
    world_plan.refusal = EROFS;
    CHECK_EQUAL(shmq_region_open(&other, &options, &error), SHMQ_ERROR_NOT_FOUND);
    CHECK(world_plan.reached);
    world_at(WORLD_NOTHING, NULL, 0);
    shmq_region_close(&region);
    CHECK_EQUAL(world_list(), 0);
    CHECK(!world_exists(world_path("alpha")));
}

/* ---- making ---------------------------------------------------------------------------------------------- */

static void open_and_close(const char *name)
{
    world_open(&region, name);
    shmq_region_close(&region);
}

static void make_beta(void) { open_and_close("beta"); }

static void wait_in_vain(void) { CHECK(!"the maker waits for another"); }

static void who_makes_a_region_does_not_wait_for_the_maker_of_another(void)
{
    pid_t maker;

    world_at(WORLD_STOP, "fallocate", 1);
    maker = world_fork(make_beta);
    CHECK(world_stopped(maker));
    world_run_at("nanosleep", 1, wait_in_vain);
    world_open(&region, "alpha");
    world_at(WORLD_NOTHING, NULL, 0);
    shmq_region_close(&region);
    CHECK_EQUAL(kill(maker, SIGCONT), 0);
    CHECK_EQUAL(world_reap(maker), 0);
}

/* Somebody is at work in a directory whose name is too short to be of any region. */
static void who_makes_a_region_does_not_wait_for_a_making_without_a_name(void)
{
    int fd;

    CHECK_EQUAL(mkdir(world_directory, 0700), 0);
    CHECK_EQUAL(mkdir(world_path(".new-x"), 0700), 0);
    fd = open(world_path(".new-x/lock"), O_RDWR | O_CREAT | O_CLOEXEC, 0600);
    CHECK_EQUAL(shmq_os_lock(fd, SHMQ_LOCK_MAKING), 0);
    world_run_at("nanosleep", 1, wait_in_vain);
    world_open(&region, "alpha");
    world_at(WORLD_NOTHING, NULL, 0);
    CHECK(world_exists(world_path(".new-x/lock"))); /* nor does it remove it */
    shmq_region_close(&region);
    close(fd);
    CHECK_EQUAL(world_list(), 0);
    CHECK(!world_exists(world_path(".new-x")));
}

static void refuse_next_fstat(void)
{
    world_at(WORLD_REFUSE, "fstat", 1);
    world_plan.refusal = EIO;
}

static void space_that_cannot_be_counted_is_still_an_error_of_space(void)
{
    struct shmq_region_options options = world_options("alpha", SHMQ_REGION_EITHER);
    struct shmq_error error;

    world_run_at("fallocate", 1, refuse_next_fstat);
    world_plan.refusal = ENOSPC;
    error = world_refused(&options, SHMQ_ERROR_SPACE);
    CHECK(world_plan.reached);
    CHECK_EQUAL(error.asked, WORLD_MIB);
    CHECK(!world_exists(world_path("alpha")));
}

/* ---- limits ---------------------------------------------------------------------------------------------- */

#ifndef __SANITIZE_ADDRESS__ /* it maps memory of its own at any time */
static void limit_memory(rlim_t bytes, struct rlimit *before)
{
    struct rlimit limit;

    CHECK_EQUAL(getrlimit(RLIMIT_AS, before), 0);
    limit = *before;
    limit.rlim_cur = bytes;
    CHECK_EQUAL(setrlimit(RLIMIT_AS, &limit), 0);
}

static void who_may_map_too_little_cannot_attach(void)
{
    struct shmq_region_options options = world_options("alpha", SHMQ_REGION_EITHER), unnamed = options;
    struct shmq_region anonymous, other;
    int handed[SHMQ_HANDED_FILES] = { -1, -1, -1 }, results[2];
    struct shmq_error errors[2];
    struct rlimit before;

    unnamed.name = NULL;
    world_open_with(&region, &options);
    CHECK_EQUAL(shmq_region_create_anonymous(&anonymous, &unnamed, &errors[0]), SHMQ_OK);
    CHECK_EQUAL(shmq_region_hand(&anonymous, false, handed, &errors[0]), SHMQ_OK);
    limit_memory(WORLD_MIB, &before);
    results[0] = shmq_region_open(&other, &options, &errors[0]);
    results[1] = shmq_region_attach_handed(&other, handed, &unnamed, &errors[1]);
    CHECK_EQUAL(setrlimit(RLIMIT_AS, &before), 0);
    for (int i = 0; i < 2; i++) {
        CHECK_EQUAL(results[i], SHMQ_ERROR_SPACE);
        CHECK(!strcmp(errors[i].what, "RLIMIT_AS"));
        CHECK_EQUAL(errors[i].expected, WORLD_MIB);
    }
    shmq_region_close(&anonymous);
    shmq_region_close(&region);
}
#endif

/* A machine that does not say how much memory it has left. */
static void create_where_nothing_is_told(void)
{
    struct shmq_region_options options = world_options(NULL, SHMQ_REGION_EITHER);
    struct shmq_error error;

    CHECK_EQUAL(unshare(CLONE_NEWNS), 0);
    CHECK_EQUAL(mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL), 0);
    CHECK_EQUAL(mount("/proc/version", "/proc/meminfo", NULL, MS_BIND, NULL), 0);
    CHECK_EQUAL(shmq_memfds_free_memory(), UINT64_MAX);
    CHECK_EQUAL(shmq_region_create_anonymous(&region, &options, &error), SHMQ_OK);
    shmq_region_close(&region);
}

static void where_the_memory_left_is_not_told_a_region_is_made(void)
{
    if (geteuid())
        return;
    CHECK_EQUAL(world_reap(world_fork(create_where_nothing_is_told)), 0);
}

int main(int argc, char **argv)
{
    static const struct check_test tests[] = {
        CHECK_TEST(who_never_gets_to_end_a_region_leaves_it_to_the_next),
        CHECK_TEST(an_unlink_that_never_gets_to_mark_the_region_removes_it_all_the_same),
        CHECK_TEST(who_finds_no_lock_file_any_more_sees_that_the_region_has_ended),
        CHECK_TEST(who_finds_no_lock_file_of_a_region_that_goes_on_does_not_end_it),
        CHECK_TEST(an_inbox_that_cannot_be_named_for_damage_is_a_corrupt_region),
        CHECK_TEST(an_empty_process_name_is_none),
        CHECK_TEST(a_file_system_that_forgets_the_lock_of_a_mapping_is_refused),
        CHECK_TEST(a_child_that_has_its_parents_pid_in_another_namespace_is_not_attached),
        CHECK_TEST(who_attaches_to_what_has_ended_and_cannot_be_removed_finds_no_region),
        CHECK_TEST(who_makes_a_region_does_not_wait_for_the_maker_of_another),
        CHECK_TEST(who_makes_a_region_does_not_wait_for_a_making_without_a_name),
        CHECK_TEST(space_that_cannot_be_counted_is_still_an_error_of_space),
#ifndef __SANITIZE_ADDRESS__
        CHECK_TEST_NEEDS(who_may_map_too_little_cannot_attach, emulated_address_space),
#endif
        CHECK_TEST(where_the_memory_left_is_not_told_a_region_is_made),
    };

    return check_main(argc, argv, tests, sizeof tests / sizeof tests[0], world_around);
}
