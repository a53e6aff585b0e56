/* SPDX-License-Identifier: MIT */
/* Is there room? Every limit that space.h compares with, made by hand: control groups as files, small file systems. */
#include "os_world.h"

/* ---- control groups -------------------------------------------------------------------------------------- */

/* What /proc/self/cgroup may say, and the group in it. */
static void the_group_of_a_controller_is_found_however_the_lines_are_mixed(void)
{
    static const struct {
        const char *list, *controller, *group;
    } cases[] = {
        { "0::/a\n", "", "/a" },
        { "12:pids:/x\n4:cpu,memory:/a/b\n0::/c\n", "memory", "/a/b" },
        { "12:pids:/x\n4:memory,cpu:/a/b\n0::/c\n", "", "/c" },
        { "4:memory:/a:b\n", "memory", "/a:b" },
        { "4:memory:/", "memory", "/" },
        { "3:memoryless:/no\n2:notmemory:/no\n1:name=memory:/no\n", "memory", NULL },
        { "3:cpu:/0::/no\n", "", NULL },
        { "3:cpu:/:memory:/no\n", "memory", NULL },
        { "3:cpuset:/no\n", "memory", NULL },
        { "3:cpu:/no", "memory", NULL },
        { "broken\n7\n:\n0::/a\n", "", "/a" },
        { "", "", NULL },
    };

    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        char text[128];
        const char *group;

        snprintf(text, sizeof text, "%s", cases[i].list);
        group = shmq_space_group(text, cases[i].controller);
        CHECK(group ? cases[i].group && !strcmp(group, cases[i].group) : !cases[i].group);
    }
}

/* A control group two levels deep, written by hand: the inner has no limit, the outer leaves 30 of 100 bytes, for 10
 * of the 80 in use are page cache. */
static void a_control_group_above_refuses_what_its_limit_does_not_leave(void)
{
    const char *names[] = { "inner/max", "inner/now", "max", "now", "memory.stat", "list" };
    struct shmq_cgroup_files files = { "", directory, "max", "now", "inactive_file", "active_file" };
    struct shmq_error error;

    CHECK_EQUAL(shmq_os_make_directory(dir, "inner"), 0);
    write_text("inner/max", "max\n");
    write_text("inner/now", "60\n");
    write_text("max", "100\n");
    write_text("now", "80\n");
    write_text("memory.stat", "anon 70\ninactive_file 4\nactive_file 6\n");
    write_text("list", "3:cpu:/x\n0::/inner\n");
    CHECK_EQUAL(shmq_space_check_groups(&files, path_of("list"), 30, &error), SHMQ_OK);
    CHECK_EQUAL(shmq_space_check_groups(&files, path_of("list"), 31, &error), SHMQ_ERROR_SPACE);
    CHECK_EQUAL(error.asked, 31);
    CHECK_EQUAL(error.available, 30);
    CHECK_EQUAL(error.found, 70);
    CHECK_EQUAL(error.expected, 100);
    CHECK(!strcmp(error.path, directory));
    CHECK_EQUAL(shmq_space_check_groups(&files, path_of("none"), 31, &error), SHMQ_OK); /* nothing known */
    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++)
        CHECK_EQUAL(shmq_os_unlinkat(dir, names[i], 0), 0);
    CHECK_EQUAL(shmq_os_unlinkat(dir, "inner", AT_REMOVEDIR), 0);
}

static void a_line_of_statistics_is_found_by_its_whole_name(void)
{
    CHECK_EQUAL(shmq_space_line("anon 1\nfile 2\n", "file"), 2);
    CHECK_EQUAL(shmq_space_line("files 1\nfile 2", "file"), 2);
    CHECK_EQUAL(shmq_space_line("files 1\nafile 2\n", "file"), 0);
    CHECK_EQUAL(shmq_space_line("", "file"), 0);
}

static void a_file_with_a_number_has_one_and_any_other_none(void)
{
    const char *const none[] = { "", "max\n", "-1\n", " 7\n" };

    for (size_t i = 0; i < sizeof none / sizeof none[0]; i++) {
        write_text("number", none[i]);
        CHECK_EQUAL(shmq_space_number(path_of("number")), UINT64_MAX);
    }
    write_text("number", "70\n");
    CHECK_EQUAL(shmq_space_number(path_of("number")), 70);
    CHECK_EQUAL(shmq_os_unlinkat(dir, "number", 0), 0);
}

/* One whose usage nobody tells refuses nothing; one that is over its limit refuses all, whatever is cache. */
static void a_control_group_says_what_it_leaves_as_far_as_its_files_tell(void)
{
    const char *names[] = { "max", "now", "memory.stat" };
    struct shmq_cgroup_files files = { "", directory, "max", "now", "inactive_file", "active_file" };
    struct shmq_error error;

    write_text("max", "100\n");
    CHECK_EQUAL(shmq_space_check_group(&files, directory, 1000, &error), SHMQ_OK);
    write_text("now", "120\n");
    CHECK_EQUAL(shmq_space_check_group(&files, directory, 1, &error), SHMQ_ERROR_SPACE);
    CHECK_EQUAL(error.available, 0);
    CHECK_EQUAL(error.found, 120);
    write_text("memory.stat", "inactive_file 100\nactive_file 100\n"); /* counted later than the usage */
    CHECK_EQUAL(shmq_space_check_group(&files, directory, 101, &error), SHMQ_ERROR_SPACE);
    CHECK_EQUAL(error.available, 100);
    CHECK_EQUAL(error.found, 0);
    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++)
        CHECK_EQUAL(shmq_os_unlinkat(dir, names[i], 0), 0);
}

static void a_group_whose_path_cannot_be_told_refuses_nothing(void)
{
    struct shmq_cgroup_files files = { "", "", "max", "now", "inactive_file", "active_file" };
    struct shmq_error error;
    char text[2 * SHMQ_PATH_MAX];

    snprintf(text, sizeof text, "0::/%0*d\n", SHMQ_PATH_MAX, 0);
    write_text("list", text);
    CHECK_EQUAL(shmq_space_check_groups(&files, path_of("list"), UINT64_MAX, &error), SHMQ_OK);
    write_text("list", "0::not/there");
    CHECK_EQUAL(shmq_space_check_groups(&files, path_of("list"), UINT64_MAX, &error), SHMQ_OK);
    write_text("list", "3:cpu:/x\n");
    CHECK_EQUAL(shmq_space_check_groups(&files, path_of("list"), UINT64_MAX, &error), SHMQ_OK);
    CHECK_EQUAL(shmq_os_unlinkat(dir, "list", 0), 0);
}

static void put(const char *path, const char *text)
{
    int fd = open(path, O_WRONLY | O_CREAT | O_CLOEXEC, 0600);

    CHECK_EQUAL(write(fd, text, strlen(text)), (ssize_t)strlen(text));
    close(fd);
}

static void ask_both_versions(void)
{
    struct shmq_error error;

    CHECK_EQUAL(mount("tmpfs", "/sys/fs/cgroup", "tmpfs", 0, NULL), 0);
    write_text("list", "4:memory:/one\n0::/two\n");
    CHECK_EQUAL(mount(path_of("list"), "/proc/self/cgroup", NULL, MS_BIND, NULL), 0);
    CHECK_EQUAL(shmq_os_unlinkat(dir, "list", 0), 0);
    CHECK_EQUAL(shmq_space_check_memory(1 << 20, &error), SHMQ_OK);
    CHECK_EQUAL(mkdir("/sys/fs/cgroup/memory", 0700), 0);
    put("/sys/fs/cgroup/memory/memory.limit_in_bytes", "1000000\n");
    put("/sys/fs/cgroup/memory/memory.usage_in_bytes", "0\n");
    CHECK_EQUAL(shmq_space_check_memory(1 << 20, &error), SHMQ_ERROR_SPACE);
    CHECK(!strcmp(error.path, "/sys/fs/cgroup/memory"));
    CHECK_EQUAL(mkdir("/sys/fs/cgroup/two", 0700), 0);
    put("/sys/fs/cgroup/two/memory.max", "1000000\n");
    put("/sys/fs/cgroup/two/memory.current", "0\n");
    CHECK_EQUAL(shmq_space_check_memory(1 << 20, &error), SHMQ_ERROR_SPACE);
    CHECK(!strcmp(error.path, "/sys/fs/cgroup/two"));
    CHECK_EQUAL(shmq_space_check_memory(SHMQ_SPACE_SMALL, &error), SHMQ_OK); /* nobody asks for so little */
}

static void the_limits_of_both_versions_of_control_groups_count(void) { with_mounts_of_its_own(ask_both_versions); }

/* ---- other limits ---------------------------------------------------------------------------------------- */

static void limit_mappings(uint64_t bytes)
{
    struct rlimit limit;

    CHECK_EQUAL(getrlimit(RLIMIT_AS, &limit), 0);
    limit.rlim_cur = bytes;
    CHECK_EQUAL(setrlimit(RLIMIT_AS, &limit), 0);
}

static void address_space_is_refused_to_the_byte_and_before_the_kernel_does(void)
{
    struct rlimit before;
    struct shmq_geometry geometry;
    struct shmq_error error;
    uint64_t used = shmq_os_address_space();

    CHECK_EQUAL(shmq_geometry_init(&geometry, 12, 256, 4, 4), 0);
    CHECK_EQUAL(getrlimit(RLIMIT_AS, &before), 0);
    limit_mappings(used + (1 << 20));
    CHECK_EQUAL(shmq_space_check_mappings(1 << 20, &error), SHMQ_OK);
    CHECK_EQUAL(shmq_space_check_mappings((1 << 20) + 1, &error), SHMQ_ERROR_SPACE);
    CHECK_EQUAL(error.available, 1 << 20);
    CHECK_EQUAL(shmq_space_check(dir, &geometry, &error), SHMQ_ERROR_SPACE);
    CHECK(!strcmp(error.what, "RLIMIT_AS"));
    limit_mappings(used - SHMQ_PAGE); /* less than is in use already */
    CHECK_EQUAL(shmq_space_check_mappings(1, &error), SHMQ_ERROR_SPACE);
    CHECK_EQUAL(error.available, 0);
    CHECK_EQUAL(error.found, used);
    CHECK_EQUAL(setrlimit(RLIMIT_AS, &before), 0);
}

static void use_up_the_inodes(void)
{
    struct shmq_error error;
    int fd;

    CHECK_EQUAL(mount("tmpfs", directory, "tmpfs", 0, "nr_inodes=2"), 0); /* its own, and one */
    fd = open(directory, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    CHECK(fd >= 0);
    shmq_error_set_os(&error, "mkdir", -ENOSPC);
    CHECK_EQUAL(shmq_space_blame_file(fd, 7, &error), SHMQ_ERROR_SPACE);
    CHECK(!strcmp(error.what, "inodes"));
    CHECK_EQUAL(error.asked, SHMQ_SPACE_FILES);
    CHECK_EQUAL(error.available, 1);
    CHECK_EQUAL(error.expected, 2);
    CHECK_EQUAL(error.os_errno, ENOSPC);
    close(fd);
}

static void a_file_system_without_inodes_is_told_from_a_full_one(void)
{
    struct shmq_error error;

    with_mounts_of_its_own(use_up_the_inodes);
    shmq_error_set_os(&error, "mkdir", -ENOSPC);
    CHECK_EQUAL(shmq_space_blame_file(dir, 7, &error), SHMQ_ERROR_SPACE);
    CHECK(!strcmp(error.what, "file system"));
    CHECK_EQUAL(error.asked, 7);
}

static void where_the_room_cannot_be_told_the_error_says_what_was_asked(void)
{
    struct shmq_error error;

    refused_call = "fstatvfs";
    CHECK_EQUAL(shmq_space_blame_memory(dir, 7, -ENOSPC, &error), SHMQ_ERROR_SPACE);
    CHECK(!strcmp(error.what, "fallocate"));
    CHECK_EQUAL(error.os_errno, ENOSPC);
    CHECK_EQUAL(error.asked, 7);
    refused_call = NULL;
}

static void a_file_beyond_the_limit_is_refused_before_the_signal(void)
{
    struct rlimit before, limit;
    struct shmq_geometry geometry;
    struct shmq_error error;

    CHECK_EQUAL(shmq_geometry_init(&geometry, 12, 256, 4, 4), 0);
    CHECK_EQUAL(shmq_space_check(dir, &geometry, &error), SHMQ_OK);
    CHECK_EQUAL(getrlimit(RLIMIT_FSIZE, &before), 0);
    limit = before;
    limit.rlim_cur = 1 << 20;
    CHECK_EQUAL(setrlimit(RLIMIT_FSIZE, &limit), 0);
    CHECK_EQUAL(shmq_space_check(dir, &geometry, &error), SHMQ_ERROR_SPACE);
    CHECK_EQUAL(setrlimit(RLIMIT_FSIZE, &before), 0);
    CHECK(!strcmp(error.what, "RLIMIT_FSIZE"));
    CHECK_EQUAL(error.asked, geometry.admin_size); /* mostly a hole, but its length counts */
    CHECK_EQUAL(error.available, 1 << 20);
}

int main(int argc, char **argv)
{
    static const struct check_test tests[] = {
        CHECK_TEST(the_group_of_a_controller_is_found_however_the_lines_are_mixed),
        CHECK_TEST(a_control_group_above_refuses_what_its_limit_does_not_leave),
        CHECK_TEST(a_line_of_statistics_is_found_by_its_whole_name),
        CHECK_TEST(a_file_with_a_number_has_one_and_any_other_none),
        CHECK_TEST(a_control_group_says_what_it_leaves_as_far_as_its_files_tell),
        CHECK_TEST(a_group_whose_path_cannot_be_told_refuses_nothing),
        CHECK_TEST(the_limits_of_both_versions_of_control_groups_count),
        CHECK_TEST_NEEDS(address_space_is_refused_to_the_byte_and_before_the_kernel_does, emulated_address_space),
        CHECK_TEST(a_file_system_without_inodes_is_told_from_a_full_one),
        CHECK_TEST(where_the_room_cannot_be_told_the_error_says_what_was_asked),
        CHECK_TEST(a_file_beyond_the_limit_is_refused_before_the_signal),
    };

    return check_main(argc, argv, tests, sizeof tests / sizeof tests[0], around);
}
