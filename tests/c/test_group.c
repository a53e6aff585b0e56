/* SPDX-License-Identifier: MIT */
/* A directory shared with a group: its members use each other's regions, and clear up after each other.
 *
 * As root only: the members are children that give their rights up. Run by another user, no test does anything.
 */
#include "region_world.h"

#include <grp.h>

#define TEAM 54321
#define POINTS_AT_MOST 2000

static const char *const files[] = { "alpha/admin", "alpha/data", "alpha/lock" };

static void become(uid_t uid, gid_t gid)
{
    CHECK_EQUAL(setgroups(0, NULL), 0);
    CHECK_EQUAL(setresgid(gid, gid, gid), 0);
    CHECK_EQUAL(setresuid(uid, uid, uid), 0);
}

static struct shmq_region_options group_options(enum shmq_region_how how)
{
    struct shmq_region_options options = world_options("alpha", how);

    options.directory = world_directory;
    options.mode = 0660;
    return options;
}

static void member_attaches(void)
{
    struct shmq_region_options options = group_options(SHMQ_REGION_ATTACH);
    struct shmq_region region;
    struct shmq_error error;

    become(1001, TEAM);
    world_open_with(&region, &options);
    world_verify(&region);
    shmq_region_close(&region);
    options.mode = 0600; /* who does not say that the group is trusted does not trust it */
    error = world_refused(&options, SHMQ_ERROR_SECURITY);
    CHECK(!strcmp(error.what, "owner"));
}

static void member_ends(void)
{
    struct shmq_region_options options = group_options(SHMQ_REGION_EITHER);
    struct shmq_region region;

    become(1001, TEAM);
    world_open_with(&region, &options); /* finds a region of another's that nobody is left of */
    CHECK_EQUAL(region.self.slot, 0);
    shmq_region_close(&region);
}

static void stranger_is_refused(void)
{
    struct shmq_region_options options = group_options(SHMQ_REGION_EITHER);
    struct shmq_error error;

    become(1002, 1002);
    error = world_refused(&options, SHMQ_ERROR_PERMISSION);
    CHECK_EQUAL(error.mode, 02770);
    CHECK_EQUAL(error.group, TEAM);
    CHECK_EQUAL(error.uid, 1002);
    CHECK_EQUAL(error.gid, 1002);
    CHECK_EQUAL(error.os_errno, EACCES);
}

static void a_directory_of_the_groups_is_shared_by_its_members_and_nobody_else(void)
{
    struct shmq_region_options options = group_options(SHMQ_REGION_EITHER);
    struct world_holder dead;
    struct shmq_region region;
    struct shmq_error error;
    struct stat status;
    mode_t before;

    before = umask(077);
    world_open_with(&region, &options);
    for (int i = 0; i < 3; i++) {
        CHECK_EQUAL(stat(world_path(files[i]), &status), 0);
        CHECK_EQUAL(status.st_mode & 07777, 0660);
        CHECK_EQUAL(status.st_gid, TEAM);
    }
    CHECK_EQUAL(stat(world_path("alpha"), &status), 0);
    CHECK_EQUAL(status.st_mode & 0777, 0770);
    CHECK_EQUAL(world_reap(world_fork(member_attaches)), 0);
    CHECK_EQUAL(world_reap(world_fork(stranger_is_refused)), 0);
    shmq_region_close(&region);
    CHECK(world_exists(world_directory)); /* it is the group's, not ours to remove */
    world_hold(&dead, &options);
    world_holder_end(&dead, true);
    CHECK_EQUAL(world_reap(world_fork(member_ends)), 0);
    CHECK(!world_exists(world_path("alpha")));
    world_open_with(&region, &options);
    CHECK_EQUAL(shmq_region_unlink("alpha", world_directory, false, &error), SHMQ_OK);
    shmq_region_close(&region);
    CHECK_EQUAL(chmod(world_directory, 02777), 0);
    CHECK_EQUAL(world_refused(&options, SHMQ_ERROR_SECURITY).expected, 02770);
    umask(before);
}

/* ---- whose directory -------------------------------------------------------------------------------------- */

static void a_group_that_this_process_is_not_in_is_refused_unless_the_directory_is_its_own(void)
{
    struct shmq_region_options options = group_options(SHMQ_REGION_EITHER);
    struct shmq_region region;
    struct shmq_error error;
    int count = 0;

    CHECK_EQUAL(chown(world_directory, 1001, TEAM), 0); /* root may open it; but who made it chose the group */
    error = world_refused(&options, SHMQ_ERROR_SECURITY);
    CHECK(!strcmp(error.what, "group of the directory"));
    CHECK_EQUAL(error.found, TEAM);
    CHECK_EQUAL(error.expected, getegid());
    CHECK_EQUAL(error.owner, 1001);
    CHECK_EQUAL(error.type, S_IFDIR);
    CHECK_EQUAL(shmq_region_list(world_directory, world_note_listed, &count, &error), SHMQ_ERROR_SECURITY);
    CHECK_EQUAL(shmq_region_unlink("alpha", world_directory, false, &error), SHMQ_ERROR_SECURITY);
    CHECK_EQUAL(chown(world_directory, 0, TEAM), 0);
    world_open_with(&region, &options);
    shmq_region_close(&region);
}

static void a_directory_that_keeps_its_group_out_is_refused(void)
{
    static const uint32_t modes[] = { 0700, 02700, 02710, 02740 };
    struct shmq_region_options options = group_options(SHMQ_REGION_EITHER);

    for (int i = 0; i < 4; i++) {
        struct shmq_error error;

        CHECK_EQUAL(chmod(world_directory, modes[i]), 0);
        error = world_refused(&options, SHMQ_ERROR_PERMISSION);
        CHECK(!strcmp(error.what, "group of the directory"));
        CHECK_EQUAL(error.mode, modes[i]);
    }
}

static void a_file_of_another_group_is_refused(void)
{
    struct shmq_region_options options = group_options(SHMQ_REGION_EITHER);
    struct shmq_region region;

    world_open_with(&region, &options);
    for (int i = 0; i < 3; i++) {
        struct shmq_error error;

        CHECK_EQUAL(chown(world_path(files[i]), (uid_t)-1, TEAM + 1), 0);
        error = world_refused(&options, SHMQ_ERROR_SECURITY);
        CHECK(!strcmp(error.what, "group"));
        CHECK(!strcmp(error.path, world_path(files[i])));
        CHECK_EQUAL(error.found, TEAM + 1);
        CHECK_EQUAL(error.expected, TEAM);
        CHECK_EQUAL(chown(world_path(files[i]), (uid_t)-1, TEAM), 0);
    }
    shmq_region_close(&region);
}

static void a_groups_directory_is_never_made(void)
{
    struct shmq_region_options options = group_options(SHMQ_REGION_EITHER);

    CHECK_EQUAL(rmdir(world_directory), 0);
    CHECK(!strcmp(world_refused(&options, SHMQ_ERROR_NOT_FOUND).what, "directory of the group"));
    CHECK(!world_exists(world_directory));
}

/* ---- deaths ----------------------------------------------------------------------------------------------- */

static int point;

static void member_opens_and_closes(void)
{
    struct shmq_region_options options = group_options(SHMQ_REGION_EITHER);
    struct shmq_region region;

    world_open_with(&region, &options);
    world_verify(&region);
    shmq_region_close(&region);
}

static void one_dies(void)
{
    become(1001, TEAM);
    umask(077);
    world_at(WORLD_KILL, NULL, point);
    member_opens_and_closes();
}

static void another_comes(void)
{
    become(1002, TEAM);
    member_opens_and_closes();
}

/* Nothing is left: neither of the region nor of its making. */
static void check_empty(void)
{
    CHECK_EQUAL(rmdir(world_directory), 0);
    CHECK_EQUAL(mkdir(world_directory, 0700), 0);
    CHECK_EQUAL(chown(world_directory, 0, TEAM), 0);
    CHECK_EQUAL(chmod(world_directory, 02770), 0);
}

static void whatever_a_killed_member_leaves_another_member_clears_away(void)
{
    bool killed = true;

    for (point = 1; killed; point++) {
        snprintf(check_context, sizeof check_context, "a member killed at point %d", point);
        CHECK(point < POINTS_AT_MOST);
        killed = world_reap(world_fork(one_dies)) == SIGKILL;
        CHECK_EQUAL(world_reap(world_fork(another_comes)), 0);
        check_empty();
    }
    CHECK(point > 20);
    printf("%d kills ", point - 2);
}

static void one_stops(void)
{
    become(1001, TEAM);
    umask(077);
    world_at(WORLD_STOP, NULL, point);
    member_opens_and_closes();
}

static void a_member_stopped_at_any_point_goes_on_after_another_has_come_and_gone(void)
{
    bool stopped = true;

    for (point = 1; stopped; point++) {
        pid_t one = world_fork(one_stops);

        snprintf(check_context, sizeof check_context, "a member stopped at point %d", point);
        CHECK(point < POINTS_AT_MOST);
        stopped = world_stopped(one);
        CHECK_EQUAL(world_reap(world_fork(another_comes)), 0);
        if (stopped) {
            CHECK_EQUAL(kill(one, SIGCONT), 0);
            CHECK_EQUAL(world_reap(one), 0);
        }
        check_empty();
    }
    CHECK(point > 20);
    printf("%d stops ", point - 2);
}

static void one_is_refused(void)
{
    struct shmq_region_options options = group_options(SHMQ_REGION_EITHER);
    struct shmq_region region;
    struct shmq_error error;
    int result;

    become(1001, TEAM);
    world_at(WORLD_REFUSE, NULL, point);
    world_plan.refusal = EPERM;
    result = shmq_region_open(&region, &options, &error);
    if (result == SHMQ_OK)
        shmq_region_close(&region);
    else
        CHECK(result != SHMQ_ERROR_AGAIN && result != SHMQ_ERROR_LEFT && error.what && error.os_errno == EPERM);
    if (!world_plan.reached)
        raise(SIGKILL);
}

static void a_member_that_is_refused_anything_leaves_nothing_half_made(void)
{
    bool done = false;

    for (point = 1; !done; point++) {
        snprintf(check_context, sizeof check_context, "a member refused at point %d", point);
        CHECK(point < POINTS_AT_MOST);
        done = world_reap(world_fork(one_is_refused)) == SIGKILL;
        if (!done)
            CHECK_EQUAL(world_reap(world_fork(another_comes)), 0); /* whom a refused unlink leaves something to do */
        check_empty();
    }
    CHECK(point > 20);
    printf("%d refusals ", point - 2);
}

/* In a directory of the group's. */
static void around(void (*run)(void))
{
    mode_t before = umask(022);

    CHECK_EQUAL(mkdir(world_directory, 0700), 0);
    CHECK_EQUAL(chown(world_directory, 0, TEAM), 0);
    CHECK_EQUAL(chmod(world_directory, 02770), 0);
    run();
    umask(before);
}

static void (*running)(void);

static void run_around(void) { around(running); }

static void around_all(void (*run)(void))
{
    running = run;
    if (geteuid() == 0)
        world_around(run_around);
    else
        printf("skipped: needs root, to be other users ");
}

int main(int argc, char **argv)
{
    static const struct check_test tests[] = {
        CHECK_TEST(a_directory_of_the_groups_is_shared_by_its_members_and_nobody_else),
        CHECK_TEST(a_group_that_this_process_is_not_in_is_refused_unless_the_directory_is_its_own),
        CHECK_TEST(a_directory_that_keeps_its_group_out_is_refused),
        CHECK_TEST(a_file_of_another_group_is_refused),
        CHECK_TEST(a_groups_directory_is_never_made),
        CHECK_TEST(whatever_a_killed_member_leaves_another_member_clears_away),
        CHECK_TEST(a_member_stopped_at_any_point_goes_on_after_another_has_come_and_gone),
        CHECK_TEST(a_member_that_is_refused_anything_leaves_nothing_half_made),
    };

    return check_main(argc, argv, tests, sizeof tests / sizeof tests[0], around_all);
}
