/* SPDX-License-Identifier: MIT */
/* Files that are not what a region's maker made: each is refused with what was found against what was expected.
 *
 * The tests that need other users' files run as root only.
 */
#include "region_world.h"

#include <sched.h>
#include <sys/mount.h>

static struct shmq_region_options attach_options(void) { return world_options("alpha", SHMQ_REGION_ATTACH); }

/* A persistent region with nobody attached, to be tampered with. */
static void make_region(void)
{
    struct shmq_region_options options = world_options("alpha", SHMQ_REGION_EITHER);
    struct shmq_region region;

    options.persist = true;
    world_open_with(&region, &options);
    shmq_region_close(&region);
}

/* Whatever was done to it, unlink removes it. */
static void unlink_region(void)
{
    struct shmq_error error;
    int result = shmq_region_unlink("alpha", NULL, false, &error);

    if (result)
        world_tell(&error);
    CHECK_EQUAL(result, SHMQ_OK);
    CHECK(!world_exists(world_path("alpha")));
}

static struct shmq_error refused(int code, const char *what, const char *path)
{
    struct shmq_region_options options = attach_options();
    struct shmq_error error = world_refused(&options, code);

    if (strcmp(error.what, what) || strcmp(error.path, path))
        world_tell(&error);
    CHECK(!strcmp(error.what, what));
    CHECK(!strcmp(error.path, path));
    options.how = SHMQ_REGION_EITHER; /* nor is it replaced by a new region */
    (void)world_refused(&options, code);
    return error;
}

static const char *const files[] = { "alpha/admin", "alpha/data", "alpha/lock" };

/* ---- what stands in the place of a file ------------------------------------------------------------------ */

static void a_symlink_in_place_of_a_file_is_refused(void)
{
    for (int i = 0; i < 3; i++) {
        struct shmq_error error;

        make_region();
        CHECK_EQUAL(rename(world_path(files[i]), world_path("elsewhere")), 0);
        CHECK_EQUAL(symlink(world_path("elsewhere"), world_path(files[i])), 0);
        error = refused(SHMQ_ERROR_SECURITY, "file type", world_path(files[i]));
        CHECK_EQUAL(error.found, S_IFLNK);
        CHECK_EQUAL(error.expected, S_IFREG);
        CHECK_EQUAL(unlink(world_path("elsewhere")), 0);
        unlink_region();
    }
}

static void a_fifo_in_place_of_a_file_is_refused_and_blocks_nobody(void)
{
    for (int i = 0; i < 3; i++) {
        make_region();
        CHECK_EQUAL(unlink(world_path(files[i])), 0);
        CHECK_EQUAL(mkfifo(world_path(files[i]), 0600), 0);
        CHECK_EQUAL(refused(SHMQ_ERROR_SECURITY, "file type", world_path(files[i])).found, S_IFIFO);
        unlink_region();
    }
}

static void a_directory_in_place_of_a_file_is_refused(void)
{
    for (int i = 0; i < 3; i++) {
        make_region();
        CHECK_EQUAL(unlink(world_path(files[i])), 0);
        CHECK_EQUAL(mkdir(world_path(files[i]), 0700), 0);
        CHECK_EQUAL(refused(SHMQ_ERROR_SECURITY, "file type", world_path(files[i])).found, S_IFDIR);
        CHECK_EQUAL(rmdir(world_path(files[i])), 0);
        unlink_region();
    }
}

static void a_second_link_to_a_file_is_refused(void)
{
    for (int i = 0; i < 3; i++) {
        make_region();
        CHECK_EQUAL(link(world_path(files[i]), world_path("second")), 0);
        CHECK_EQUAL(refused(SHMQ_ERROR_SECURITY, "link count", world_path(files[i])).found, 2);
        CHECK_EQUAL(unlink(world_path("second")), 0);
        unlink_region();
    }
}

static void a_file_that_others_or_the_group_may_open_is_refused(void)
{
    static const uint32_t modes[] = { 0620, 0640, 0604, 0602, 0660, 0601 };

    for (int i = 0; i < 6; i++) {
        struct shmq_error error;

        make_region();
        CHECK_EQUAL(chmod(world_path(files[i % 3]), modes[i]), 0);
        error = refused(SHMQ_ERROR_SECURITY, "mode", world_path(files[i % 3]));
        CHECK_EQUAL(error.found, modes[i]);
        CHECK_EQUAL(error.expected, 0600);
        unlink_region();
    }
}

static void a_foreign_owner_is_refused(void)
{
    if (geteuid())
        return;
    for (int i = 0; i < 3; i++) {
        struct shmq_error error;

        make_region();
        CHECK_EQUAL(chown(world_path(files[i]), 12345, (gid_t)-1), 0);
        error = refused(SHMQ_ERROR_SECURITY, "owner", world_path(files[i]));
        CHECK_EQUAL(error.found, 12345);
        CHECK_EQUAL(error.expected, geteuid());
        CHECK_EQUAL(error.owner, 12345);
        unlink_region();
    }
}

static void a_file_that_this_user_may_not_open_is_a_permission_error(void)
{
    struct shmq_region_options options = attach_options();
    struct shmq_error error;

    make_region();
    world_at(WORLD_REFUSE, "openat", 4); /* root may open anything. The 4th: the directory, ".", the region, admin */
    world_plan.refusal = EACCES;
    error = world_refused(&options, SHMQ_ERROR_PERMISSION);
    CHECK_EQUAL(error.os_errno, EACCES);
    CHECK(!strcmp(error.path, world_path("alpha/admin")));
    CHECK_EQUAL(error.mode, 0600);
    CHECK_EQUAL(error.uid, geteuid());
    CHECK_EQUAL(error.gid, getegid());
    unlink_region();
}

/* ---- directories ----------------------------------------------------------------------------------------- */

static void a_region_that_is_no_directory_is_refused(void)
{
    CHECK_EQUAL(mkdir(world_directory, 0700), 0);
    CHECK_EQUAL(symlink("/tmp", world_path("alpha")), 0);
    CHECK_EQUAL(refused(SHMQ_ERROR_SECURITY, "file type", world_path("alpha")).found, S_IFLNK);
    CHECK_EQUAL(unlink(world_path("alpha")), 0);
    CHECK_EQUAL(mkfifo(world_path("alpha"), 0600), 0);
    CHECK_EQUAL(refused(SHMQ_ERROR_SECURITY, "file type", world_path("alpha")).found, S_IFIFO);
    CHECK_EQUAL(unlink(world_path("alpha")), 0);
    make_region();
    CHECK_EQUAL(chmod(world_path("alpha"), 0750), 0);
    CHECK_EQUAL(refused(SHMQ_ERROR_SECURITY, "mode", world_path("alpha")).expected, 0700);
    CHECK_EQUAL(chmod(world_path("alpha"), 0700), 0);
    unlink_region();
}

static void a_directory_of_regions_that_is_not_this_users_own_is_refused(void)
{
    CHECK_EQUAL(symlink("/tmp", world_directory), 0);
    CHECK_EQUAL(refused(SHMQ_ERROR_SECURITY, "file type", world_directory).found, S_IFLNK);
    CHECK_EQUAL(unlink(world_directory), 0);
    CHECK_EQUAL(mkdir(world_directory, 0700), 0);
    CHECK_EQUAL(chmod(world_directory, 01777), 0);
    CHECK_EQUAL(refused(SHMQ_ERROR_SECURITY, "mode", world_directory).found, 01777);
    CHECK_EQUAL(chmod(world_directory, 0700), 0);
    if (geteuid() == 0) {
        CHECK_EQUAL(chown(world_directory, 12345, (gid_t)-1), 0);
        CHECK_EQUAL(refused(SHMQ_ERROR_SECURITY, "owner", world_directory).found, 12345);
    }
    CHECK_EQUAL(rmdir(world_directory), 0);
}

static void a_directory_below_one_that_is_not_there_is_not_found(void)
{
    struct shmq_region_options options = world_options("alpha", SHMQ_REGION_EITHER);

    CHECK_EQUAL(setenv("SHMQ_DIR", "/dev/shm/no/such", 1), 0);
    CHECK(!strcmp(world_refused(&options, SHMQ_ERROR_NOT_FOUND).path, "/dev/shm/no/such"));
}

static struct shmq_error refused_in(const char *directory, int code)
{
    struct shmq_region_options options = world_options("alpha", SHMQ_REGION_EITHER);

    options.directory = directory;
    return world_refused(&options, code);
}

static void a_path_of_a_directory_may_end_in_slashes_and_is_not_too_long(void)
{
    struct shmq_region_options options = world_options("alpha", SHMQ_REGION_EITHER);
    char path[SHMQ_PATH_MAX + 1];
    struct shmq_region region;
    struct shmq_error error;

    options.directory = world_path("//");
    world_open_with(&region, &options);
    CHECK(!strcmp(region.directory.path, world_directory));
    shmq_region_close(&region);
    CHECK(!strcmp(refused_in("//", SHMQ_ERROR_SECURITY).path, "/"));
    memset(path, '/', sizeof path);
    path[SHMQ_PATH_MAX] = 0;
    error = refused_in(path, SHMQ_ERROR_INVALID);
    CHECK(!strcmp(error.what, "length of the directory's path"));
    CHECK_EQUAL(error.found, SHMQ_PATH_MAX);
    CHECK_EQUAL(error.expected, SHMQ_PATH_MAX - 1);
    path[SHMQ_PATH_MAX - 1] = 0;
    CHECK(!strcmp(refused_in(path, SHMQ_ERROR_SECURITY).path, "/"));
    CHECK_EQUAL(rmdir(world_directory), 0);
}

/* What a directory that cannot be made would lie in tells why; and where that tells nothing, the refusal does. */
static const char *then_refuse;
static int then_at;

static void refuse_then(void)
{
    world_at(WORLD_REFUSE, then_refuse, then_at);
    world_plan.refusal = EMFILE;
}

static void a_directory_that_cannot_be_made_is_refused_by_what_it_would_lie_in(void)
{
    struct shmq_error error;

    world_at(WORLD_REFUSE, "mkdirat", 1);
    world_plan.refusal = EROFS;
    error = refused_in("/shmq-test-none", SHMQ_ERROR_PERMISSION);
    CHECK(!strcmp(error.path, "/"));
    CHECK(!strcmp(error.what, "mkdir"));
    CHECK_EQUAL(error.os_errno, EROFS);
    CHECK_EQUAL(error.type, S_IFDIR);
    for (int i = 0; i < 2; i++) {
        then_refuse = i ? "fstat" : "openat";
        then_at = i ? 1 : 2; /* the directory itself, then the one above */
        world_run_at("mkdirat", 1, refuse_then);
        world_plan.refusal = EROFS;
        error = refused_in("/shmq-test-none", SHMQ_ERROR_PERMISSION);
        CHECK(world_plan.reached);
        CHECK(!strcmp(error.path, "/shmq-test-none"));
        CHECK_EQUAL(error.os_errno, EROFS);
        CHECK_EQUAL(error.type, 0);
    }
}

static void an_entry_that_cannot_be_made_is_an_error_also_where_the_directory_tells_nothing(void)
{
    struct shmq_region_options options = world_options("alpha", SHMQ_REGION_EITHER);
    struct shmq_error error;

    then_refuse = "fstat";
    then_at = 1;
    CHECK_EQUAL(mkdir(world_directory, 0700), 0);
    world_run_at("mkdirat", 2, refuse_then); /* the directory is there; in it */
    world_plan.refusal = EACCES;
    error = world_refused(&options, SHMQ_ERROR_PERMISSION);
    CHECK(world_plan.reached);
    CHECK(!strcmp(error.what, "mkdir"));
    CHECK_EQUAL(error.os_errno, EACCES);
    CHECK_EQUAL(error.type, 0);
    CHECK_EQUAL(rmdir(world_directory), 0);
}

static void a_directory_that_was_made_and_cannot_be_opened_stays_if_it_was_named(void)
{
    struct shmq_region_options options = world_options("alpha", SHMQ_REGION_EITHER);

    world_at(WORLD_REFUSE, "openat", 1);
    world_plan.refusal = EMFILE;
    CHECK_EQUAL(world_refused(&options, SHMQ_ERROR_SYSTEM).os_errno, EMFILE);
    CHECK_EQUAL(rmdir(world_directory), 0);
}

static void what_is_not_a_region_is_left_alone(void)
{
    struct shmq_region region;
    int fd;

    CHECK_EQUAL(mkdir(world_directory, 0700), 0);
    fd = open(world_path("notes.txt"), O_RDWR | O_CREAT, 0600);
    CHECK_EQUAL(mkdir(world_path(".hidden"), 0700), 0);
    world_open(&region, "alpha");
    shmq_region_close(&region);
    CHECK(world_exists(world_path("notes.txt")));
    CHECK(world_exists(world_path(".hidden")));
    close(fd);
    CHECK_EQUAL(unlink(world_path("notes.txt")), 0);
    CHECK_EQUAL(rmdir(world_path(".hidden")), 0);
    CHECK_EQUAL(rmdir(world_directory), 0);
}

static void a_file_that_is_missing_is_an_error_and_not_a_loop(void)
{
    make_region();
    CHECK_EQUAL(unlink(world_path("alpha/data")), 0);
    CHECK_EQUAL(refused(SHMQ_ERROR_GONE, "open", world_path("alpha/data")).os_errno, ENOENT);
    unlink_region();
    make_region();
    CHECK_EQUAL(unlink(world_path("alpha/lock")), 0);
    CHECK_EQUAL(refused(SHMQ_ERROR_GONE, "open", world_path("alpha/lock")).os_errno, ENOENT);
    unlink_region();
}

static void a_directory_without_admin_is_what_a_remover_left(void)
{
    struct shmq_region region;

    make_region();
    CHECK_EQUAL(unlink(world_path("alpha/admin")), 0);
    world_open(&region, "alpha");
    world_verify(&region);
    CHECK_EQUAL(region.self.slot, 0);
    shmq_region_close(&region);
}

/* ---- the header ------------------------------------------------------------------------------------------ */

/* Overwrite a word of the header; attaching says so. */
static struct shmq_error tampered(size_t offset, uint64_t value, int code, const char *what)
{
    struct shmq_error error;
    int fd;

    make_region();
    fd = open(world_path("alpha/admin"), O_RDWR);
    CHECK_EQUAL(pwrite(fd, &value, sizeof value, (off_t)offset), sizeof value);
    close(fd);
    error = refused(code, what, world_path("alpha/admin"));
    unlink_region();
    return error;
}

static void a_header_that_no_maker_wrote_is_refused_with_field_value_and_bound(void)
{
    struct shmq_error error = tampered(offsetof(struct shmq_header, magic), 0, SHMQ_ERROR_CORRUPT, "magic");

    CHECK_EQUAL(error.expected, SHMQ_MAGIC);
    error = tampered(offsetof(struct shmq_header, granule_shift), 8, SHMQ_ERROR_CORRUPT, "granule shift");
    CHECK_EQUAL(error.found, 8);
    CHECK_EQUAL(error.expected, SHMQ_MIN_GRANULE_SHIFT);
    error = tampered(offsetof(struct shmq_header, granule_shift), 12 | 1ull << 32, SHMQ_ERROR_CORRUPT, "granule shift");
    CHECK_EQUAL(error.expected, SHMQ_MAX_GRANULE_SHIFT); /* not cut to 32 bits before it is looked at */
    (void)tampered(offsetof(struct shmq_header, granules), 0, SHMQ_ERROR_CORRUPT, "granules");
    (void)tampered(offsetof(struct shmq_header, granules), UINT64_MAX, SHMQ_ERROR_CORRUPT, "granules");
    error = tampered(offsetof(struct shmq_header, granules), 257, SHMQ_ERROR_CORRUPT, "file size");
    CHECK(error.found < error.expected);
    (void)tampered(offsetof(struct shmq_header, max_processes), 1025, SHMQ_ERROR_CORRUPT, "max processes");
    (void)tampered(offsetof(struct shmq_header, max_processes), 1ull << 32 | 4, SHMQ_ERROR_CORRUPT, "max processes");
    (void)tampered(offsetof(struct shmq_header, max_queues), 0, SHMQ_ERROR_CORRUPT, "max queues");
    (void)tampered(offsetof(struct shmq_header, max_queues), 5, SHMQ_ERROR_CORRUPT, "file size");
    (void)tampered(offsetof(struct shmq_header, persist), 2, SHMQ_ERROR_CORRUPT, "persist");
    error = tampered(offsetof(struct shmq_header, life), UINT64_MAX - 1, SHMQ_ERROR_CORRUPT, "life");
    CHECK_EQUAL(error.found, UINT64_MAX - 1); /* the next attach would have ended it */
}

static void another_version_is_refused_with_both(void)
{
    uint64_t other = shmq_header_version() + (1ull << 32);
    struct shmq_error error = tampered(offsetof(struct shmq_header, version), other, SHMQ_ERROR_VERSION, "layout");

    CHECK_EQUAL(error.found, other);
    CHECK_EQUAL(error.expected, shmq_header_version());
    error = tampered(offsetof(struct shmq_header, version), shmq_header_version() ^ 1, SHMQ_ERROR_VERSION, "layout");
    CHECK_EQUAL(error.found ^ error.expected, 1);
}

static void a_file_of_another_size_is_refused_with_both(void)
{
    static const uint64_t sizes[] = { 0, 4095, 4096, 1 << 20 };
    struct shmq_region_options options = attach_options();
    struct stat status;
    struct shmq_error error;

    for (int i = 0; i < 4; i++) {
        make_region();
        CHECK_EQUAL(truncate(world_path("alpha/admin"), (off_t)sizes[i]), 0);
        error = refused(SHMQ_ERROR_CORRUPT, "file size", world_path("alpha/admin"));
        CHECK_EQUAL(error.found, sizes[i]);
        unlink_region();
    }
    make_region();
    CHECK_EQUAL(stat(world_path("alpha/admin"), &status), 0);
    CHECK_EQUAL(truncate(world_path("alpha/admin"), status.st_size + 1), 0);
    error = world_refused(&options, SHMQ_ERROR_CORRUPT);
    CHECK_EQUAL(error.expected, status.st_size);
    unlink_region();
    make_region();
    CHECK_EQUAL(truncate(world_path("alpha/data"), WORLD_MIB - 4096), 0);
    error = refused(SHMQ_ERROR_CORRUPT, "file size", world_path("alpha/data"));
    CHECK_EQUAL(error.found, WORLD_MIB - 4096);
    CHECK_EQUAL(error.expected, WORLD_MIB);
    unlink_region();
}

static struct shmq_region_info listed;

static void note_listed(void *context, const struct shmq_region_info *info)
{
    listed = *info;
    ++*(int *)context;
}

static void a_corrupt_region_is_listed_with_its_error(void)
{
    struct shmq_error error;
    int count = 0;

    make_region();
    CHECK_EQUAL(truncate(world_path("alpha/admin"), 0), 0);
    CHECK_EQUAL(shmq_region_list(NULL, note_listed, &count, &error), SHMQ_OK);
    CHECK_EQUAL(count, 1);
    CHECK(!strcmp(listed.name, "alpha"));
    CHECK_EQUAL(listed.error.code, SHMQ_ERROR_CORRUPT);
    unlink_region();
}

static void the_umask_takes_nothing_away(void)
{
    mode_t before = umask(077);
    struct shmq_region region;
    struct stat status;

    world_open(&region, "alpha");
    for (int i = 0; i < 3; i++) {
        CHECK_EQUAL(stat(world_path(files[i]), &status), 0);
        CHECK_EQUAL(status.st_mode & 07777, 0600);
    }
    umask(before);
    CHECK_EQUAL(stat(world_path("alpha"), &status), 0);
    CHECK_EQUAL(status.st_mode & 07777, 0700);
    shmq_region_close(&region);
    CHECK(world_clean());
}

/* ---- room ------------------------------------------------------------------------------------------------ */

/* In a file system of its own, 8 MiB large. */
static void open_more_than_there_is(void)
{
    struct shmq_region_options options = world_options("alpha", SHMQ_REGION_EITHER);
    struct shmq_region region;
    struct shmq_error error;

    CHECK_EQUAL(unshare(CLONE_NEWNS), 0);
    CHECK_EQUAL(mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL), 0);
    CHECK_EQUAL(mount("tmpfs", "/dev/shm", "tmpfs", 0, "size=8m"), 0);
    options.size = 9 * WORLD_MIB;
    error = world_refused(&options, SHMQ_ERROR_SPACE);
    CHECK(!strcmp(error.what, "file system"));
    CHECK(error.asked > 9 * WORLD_MIB);
    CHECK(error.available <= 8 * WORLD_MIB && error.available > 7 * WORLD_MIB);
    CHECK_EQUAL(error.expected, 8 * WORLD_MIB);
    CHECK(world_clean());
    options.size = 7 * WORLD_MIB;
    world_open_with(&region, &options);
    memset(region.map.data, 1, region.map.geometry.data_size); /* reserved: no SIGBUS */
    CHECK_EQUAL(region.ops.reserve(region.ops.context, region.map.geometry.slot_at, 2 * WORLD_MIB), SHMQ_NO_SPACE);
    shmq_region_close(&region);
    CHECK(world_clean());
}

static void more_than_the_file_system_holds_is_refused_with_the_sizes(void)
{
    if (geteuid())
        return;
    CHECK_EQUAL(world_reap(world_fork(open_more_than_there_is)), 0);
}

static void space_that_others_took_meanwhile_is_refused_with_the_sizes(void)
{
    struct shmq_region_options options = world_options("alpha", SHMQ_REGION_EITHER);
    struct shmq_error error;

    world_at(WORLD_REFUSE, "fallocate", 1);
    world_plan.refusal = ENOSPC;
    error = world_refused(&options, SHMQ_ERROR_SPACE);
    CHECK_EQUAL(error.asked, WORLD_MIB);
    CHECK(error.available > 0);
    CHECK(world_clean());
}

static struct world_holder rival;

static void let_a_rival_be_faster(void)
{
    struct shmq_region_options options = world_options("alpha", SHMQ_REGION_EITHER);

    world_at(WORLD_NOTHING, NULL, 0);
    world_hold(&rival, &options);
}

static void space_that_another_took_for_the_same_region_is_no_error(void)
{
    struct shmq_region region;

    world_run_at("fallocate", 1, let_a_rival_be_faster);
    world_plan.refusal = ENOSPC;
    world_open(&region, "alpha");
    world_verify(&region);
    CHECK_EQUAL(region.self.slot, 1);
    shmq_region_close(&region);
    world_holder_end(&rival, false);
}

static void prefaulting_maps_the_data_now(void)
{
    struct shmq_region_options options = world_options("alpha", SHMQ_REGION_EITHER);
    unsigned char resident[256];
    struct shmq_region region;
    size_t pages = 0;

    options.prefault = true;
    world_open_with(&region, &options);
    CHECK_EQUAL(mincore(region.map.data, WORLD_MIB, resident), 0);
    for (size_t i = 0; i < sizeof resident; i++)
        pages += resident[i] & 1;
    CHECK_EQUAL(pages, sizeof resident);
    shmq_region_close(&region);
}

int main(int argc, char **argv)
{
    static const struct check_test tests[] = {
        CHECK_TEST(a_symlink_in_place_of_a_file_is_refused),
        CHECK_TEST(a_fifo_in_place_of_a_file_is_refused_and_blocks_nobody),
        CHECK_TEST(a_directory_in_place_of_a_file_is_refused),
        CHECK_TEST(a_second_link_to_a_file_is_refused),
        CHECK_TEST(a_file_that_others_or_the_group_may_open_is_refused),
        CHECK_TEST(a_foreign_owner_is_refused),
        CHECK_TEST(a_file_that_this_user_may_not_open_is_a_permission_error),
        CHECK_TEST(a_region_that_is_no_directory_is_refused),
        CHECK_TEST(a_directory_of_regions_that_is_not_this_users_own_is_refused),
        CHECK_TEST(a_directory_below_one_that_is_not_there_is_not_found),
        CHECK_TEST(a_path_of_a_directory_may_end_in_slashes_and_is_not_too_long),
        CHECK_TEST(a_directory_that_cannot_be_made_is_refused_by_what_it_would_lie_in),
        CHECK_TEST(an_entry_that_cannot_be_made_is_an_error_also_where_the_directory_tells_nothing),
        CHECK_TEST(a_directory_that_was_made_and_cannot_be_opened_stays_if_it_was_named),
        CHECK_TEST(what_is_not_a_region_is_left_alone),
        CHECK_TEST(a_file_that_is_missing_is_an_error_and_not_a_loop),
        CHECK_TEST(a_directory_without_admin_is_what_a_remover_left),
        CHECK_TEST(a_header_that_no_maker_wrote_is_refused_with_field_value_and_bound),
        CHECK_TEST(another_version_is_refused_with_both),
        CHECK_TEST(a_file_of_another_size_is_refused_with_both),
        CHECK_TEST(a_corrupt_region_is_listed_with_its_error),
        CHECK_TEST(the_umask_takes_nothing_away),
        CHECK_TEST(more_than_the_file_system_holds_is_refused_with_the_sizes),
        CHECK_TEST(space_that_others_took_meanwhile_is_refused_with_the_sizes),
        CHECK_TEST(space_that_another_took_for_the_same_region_is_no_error),
        CHECK_TEST_NEEDS(prefaulting_maps_the_data_now, emulated_populate),
    };

    return check_main(argc, argv, tests, sizeof tests / sizeof tests[0], world_around);
}
