/* SPDX-License-Identifier: MIT */
/* The guard against SIGBUS: memory is taken away under live mappings, and faults that are not ours go where they went.
 *
 * Each test runs in a child of its own, because what a signal does is a property of the process.
 */
#include "region_world.h"

#include <pthread.h>
#include <sched.h>
#include <setjmp.h>
#include <sys/mount.h>

static void (*body)(void);

static void run_alone(void) { CHECK_EQUAL(world_reap(world_fork(body)), 0); }

static void around(void (*run)(void))
{
    body = run;
    world_around(run_alone);
}

static uint64_t page(void) { return (uint64_t)sysconf(_SC_PAGESIZE); }

static volatile int replacements; /* calls of mmap by the handler, which the compiler does not see coming */

static void count_replacement(void)
{
    replacements++;
    world_run_at("map_over", 1, count_replacement);
}

static void count_replacements(void)
{
    replacements = 0;
    world_run_at("map_over", 1, count_replacement);
    __atomic_signal_fence(__ATOMIC_SEQ_CST);
}

/* A region of 1 MiB of message memory, all of it 7, in a process with the guard. */
static void open_guarded(struct shmq_region *region)
{
    CHECK_EQUAL(shmq_guard_install(), 0);
    world_open(region, "alpha");
    memset(region->map.data, 7, region->map.geometry.data_size);
}

static void cut(const char *file, uint64_t size) { CHECK_EQUAL(truncate(world_path(file), (off_t)size), 0); }

static void punch(const char *file, uint64_t offset, uint64_t bytes)
{
    int fd = open(world_path(file), O_RDWR);

    CHECK(fd >= 0);
    CHECK_EQUAL(fallocate(fd, FALLOC_FL_KEEP_SIZE | FALLOC_FL_PUNCH_HOLE, (off_t)offset, (off_t)bytes), 0);
    close(fd);
}

/* Read it now, whatever was read there before. */
static int byte_at(const void *address) { return *(const volatile unsigned char *)address; }

/* A mapping of ours that has nothing to do with regions; the next access to it is a SIGBUS. */
static unsigned char *foreign_page(void)
{
    char path[] = "/dev/shm/shmq-test-foreign-XXXXXX";
    int fd = mkstemp(path);
    unsigned char *found;

    CHECK(fd >= 0);
    CHECK_EQUAL(unlink(path), 0);
    CHECK_EQUAL(ftruncate(fd, 4096), 0);
    found = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    CHECK(found != MAP_FAILED);
    CHECK_EQUAL(ftruncate(fd, 0), 0);
    close(fd);
    return found;
}

/* The signal that ends a child which does this. */
static int end_of(void (*dying)(void))
{
    int status;
    pid_t pid;

    fflush(NULL);
    pid = fork();
    CHECK(pid >= 0);
    if (pid == 0) {
        struct rlimit none = { 0, 0 };

        CHECK_EQUAL(setrlimit(RLIMIT_CORE, &none), 0);
        dying();
        _exit(0);
    }
    CHECK_EQUAL(waitpid(pid, &status, 0), pid);
    if (WIFEXITED(status))
        CHECK_EQUAL(WEXITSTATUS(status), 0);
    return WIFSIGNALED(status) ? WTERMSIG(status) : 0;
}

/* ---- what is read, and what others see ------------------------------------------------------------------- */

static void what_was_cut_off_reads_zeros_and_the_rest_what_it_was(void)
{
    const uint64_t sizes[] = { 0, 1, 4096, 4097, WORLD_MIB / 2, WORLD_MIB - 1 };

    for (int i = 0; i < 6; i++) {
        struct shmq_region region;
        uint64_t at = 0;

        open_guarded(&region);
        cut("alpha/data", sizes[i]);
        CHECK(!shmq_region_is_lost(&region)); /* nobody has looked yet */
        while (at < WORLD_MIB && byte_at(region.map.data + at) == 7)
            at++;
        CHECK_EQUAL(at, sizes[i]);
        while (at < WORLD_MIB && byte_at(region.map.data + at) == 0)
            at++;
        CHECK_EQUAL(at, WORLD_MIB);
        CHECK_EQUAL(shmq_region_is_lost(&region), shmq_round_up(sizes[i], page()) < WORLD_MIB);
        shmq_region_close(&region);
    }
}

static void pages_in_front_of_the_cut_stay_shared_and_those_behind_it_are_ones_own(void)
{
    struct shmq_region region, other;

    open_guarded(&region);
    world_open(&other, "alpha");
    cut("alpha/data", WORLD_MIB / 2);
    region.map.data[WORLD_MIB - 1] = 1;
    CHECK(shmq_region_is_lost(&region));
    CHECK(!shmq_region_is_lost(&other));
    region.map.data[WORLD_MIB / 2 - 1] = 2;
    CHECK_EQUAL(other.map.data[WORLD_MIB / 2 - 1], 2);
    CHECK_EQUAL(byte_at(other.map.data + WORLD_MIB - 1), 0);
    CHECK(shmq_region_is_lost(&other)); /* by an access of its own */
    CHECK_EQUAL(region.map.data[WORLD_MIB - 1], 1);
    CHECK_EQUAL(region.map.header->magic, SHMQ_MAGIC); /* the other segment is untouched */
    shmq_region_close(&other);
    shmq_region_close(&region);
}

static void all_that_was_cut_off_is_replaced_at_once_from_whatever_side_it_is_read(void)
{
    for (int backward = 0; backward < 2; backward++) {
        struct shmq_region region;

        open_guarded(&region);
        cut("alpha/data", 4096);
        count_replacements();
        for (uint64_t at = 0; at < WORLD_MIB; at += 512)
            (void)byte_at(region.map.data + (backward ? WORLD_MIB - 1 - at : at));
        CHECK_EQUAL(replacements, 1);
        shmq_region_close(&region);
    }
}

static void a_second_cut_replaces_what_it_took_and_keeps_what_was_written_since(void)
{
    struct shmq_region region;

    open_guarded(&region);
    cut("alpha/data", WORLD_MIB / 2);
    count_replacements();
    region.map.data[WORLD_MIB - 1] = 9;
    cut("alpha/data", 8192);
    CHECK_EQUAL(byte_at(region.map.data + 8191), 7);
    CHECK_EQUAL(byte_at(region.map.data + 8192), 0);
    CHECK_EQUAL(byte_at(region.map.data + WORLD_MIB / 2 - 1), 0);
    CHECK_EQUAL(byte_at(region.map.data + WORLD_MIB - 1), 9);
    CHECK_EQUAL(replacements, 2);
    shmq_region_close(&region);
}

static void a_thread_whose_fault_was_mended_by_another_wipes_nothing_out(void)
{
    struct shmq_region region;
    uint64_t at;

    open_guarded(&region);
    at = (uint64_t)(uintptr_t)region.map.data;
    cut("alpha/data", 0);
    region.map.data[0] = 9;
    CHECK(shmq_guard_mend(at)); /* what a handler does that had to wait for the other one */
    CHECK_EQUAL(byte_at(region.map.data), 9);
    CHECK(!shmq_guard_mend((uint64_t)(uintptr_t)&region));
    shmq_region_close(&region);
    CHECK(!shmq_guard_mend(at));
}

static void where_the_program_closed_the_descriptors_page_after_page_is_replaced(void)
{
    struct shmq_region region;
    int zeros = open("/dev/zero", O_RDWR);

    open_guarded(&region);
    CHECK_EQUAL(dup2(zeros, region.files.data), region.files.data); /* another file's by now */
    close(zeros);
    cut("alpha/data", WORLD_MIB - 4 * page());
    count_replacements();
    for (uint64_t at = 0; at < WORLD_MIB; at += page())
        CHECK_EQUAL(byte_at(region.map.data + at), at < WORLD_MIB - 4 * page() ? 7 : 0);
    CHECK_EQUAL(replacements, 4);
    CHECK_EQUAL(close(region.files.data), 0);
    shmq_region_close(&region);
}

/* In a file system of its own, which others have filled. */
static void a_hole_on_a_full_file_system_costs_its_page_only(void)
{
    struct shmq_region region;
    struct shmq_error error;
    int filler;

    if (geteuid())
        return;
    CHECK_EQUAL(unshare(CLONE_NEWNS), 0);
    CHECK_EQUAL(mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL), 0);
    CHECK_EQUAL(mount("tmpfs", "/dev/shm", "tmpfs", 0, "size=8m"), 0);
    open_guarded(&region);
    punch("alpha/data", 8192, page());
    filler = open("/dev/shm/filler", O_RDWR | O_CREAT, 0600);
    CHECK_EQUAL(fallocate(filler, 0, 0, 4 * WORLD_MIB), 0);
    for (off_t at = 4 * WORLD_MIB; fallocate(filler, 0, at, 4096) == 0; at += 4096)
        ;
    CHECK_EQUAL(byte_at(region.map.data + 8191), 7);
    CHECK(!shmq_region_is_lost(&region));
    CHECK_EQUAL(byte_at(region.map.data + 8192), 0);
    CHECK(shmq_region_is_lost(&region));
    CHECK_EQUAL(byte_at(region.map.data + 8192 + page()), 7);
    CHECK_EQUAL(shmq_region_look(&region, &error), SHMQ_ERROR_LOST);
    CHECK(!strcmp(error.what, "memory"));
    CHECK_EQUAL(error.found, WORLD_MIB - page());
    CHECK_EQUAL(error.expected, WORLD_MIB);
    CHECK(!strcmp(error.path, world_path("alpha/data")));
    close(filler);
    CHECK_EQUAL(unlink("/dev/shm/filler"), 0);
    shmq_region_close(&region);
    CHECK(world_clean());
}

static void where_no_more_mappings_are_allowed_the_whole_segment_is_replaced(void)
{
    struct shmq_region region;
    uint64_t bytes = 200000 * page(), made = 0;
    unsigned char *space;

    open_guarded(&region);
    shmq_os_close(region.files.data); /* so that it would be one page in the middle: three mappings where one was */
    cut("alpha/data", WORLD_MIB / 2);
    space = mmap(NULL, bytes, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    CHECK(space != MAP_FAILED);
    while (made < bytes && mprotect(space + made, page(), PROT_READ) == 0) /* each time two mappings more */
        made += 2 * page();
    if (made < bytes) {
        count_replacements();
        CHECK_EQUAL(byte_at(region.map.data + WORLD_MIB / 4 * 3), 0);
        CHECK_EQUAL(byte_at(region.map.data), 0);
        CHECK_EQUAL(replacements, 2);
    }
    CHECK_EQUAL(munmap(space, bytes), 0);
    shmq_region_close(&region);
}

static void the_flag_falls_with_the_first_page_that_is_lost(void)
{
    struct shmq_region region, other;
    volatile int usable = 1, others = 1, late = 1;

    open_guarded(&region);
    world_open(&other, "beta");
    shmq_region_tell_loss(&region, &usable);
    shmq_region_tell_loss(&other, &others);
    cut("alpha/admin", region.map.geometry.admin_size / 2);
    CHECK_EQUAL(usable, 1);
    (void)byte_at(region.map.admin + region.map.geometry.admin_size - 1);
    CHECK_EQUAL(usable, 0);
    CHECK_EQUAL(others, 1);
    shmq_region_tell_loss(&region, &late);
    CHECK_EQUAL(late, 0);
    shmq_region_close(&other);
    shmq_region_close(&region);
}

static void a_look_finds_what_no_access_has_met(void)
{
    struct shmq_region region;
    struct shmq_error error;
    volatile int usable = 1;

    open_guarded(&region);
    shmq_region_tell_loss(&region, &usable);
    CHECK_EQUAL(shmq_region_look(&region, &error), SHMQ_OK);
    cut("alpha/data", 8192);
    CHECK_EQUAL(shmq_region_look(&region, &error), SHMQ_ERROR_LOST);
    CHECK(!strcmp(error.what, "file size"));
    CHECK(!strcmp(error.path, world_path("alpha/data")));
    CHECK_EQUAL(error.found, 8192);
    CHECK_EQUAL(error.expected, WORLD_MIB);
    CHECK_EQUAL(error.links, 1);
    CHECK_EQUAL(usable, 0);
    cut("alpha/data", WORLD_MIB); /* grown again: what was there is lost all the same */
    CHECK_EQUAL(shmq_region_look(&region, &error), SHMQ_ERROR_LOST);
    CHECK(!strcmp(error.what, "memory"));
    memset(region.map.data, 0, WORLD_MIB);
    CHECK_EQUAL(shmq_region_look(&region, &error), SHMQ_ERROR_LOST);
    CHECK(!strcmp(error.what, "pages"));
    shmq_region_close(&region);
}

static void a_header_of_zeros_is_found_and_a_hole_that_was_there_before_is_not_taken_for_a_new_one(void)
{
    struct shmq_region region, late;
    struct shmq_error error;

    open_guarded(&region);
    punch("alpha/data", 0, 4096);
    world_open(&late, "alpha");
    CHECK_EQUAL(shmq_region_look(&late, &error), SHMQ_OK);
    CHECK_EQUAL(shmq_region_look(&region, &error), SHMQ_ERROR_LOST);
    CHECK(!strcmp(error.what, "memory"));
    punch("alpha/admin", 0, page());
    CHECK_EQUAL(byte_at(late.map.admin), 0); /* fills the hole */
    for (int i = 0; i < 2; i++) { /* it is told again, not only when it is found */
        CHECK_EQUAL(shmq_region_look(&late, &error), SHMQ_ERROR_LOST);
        CHECK(!strcmp(error.what, "magic"));
        CHECK(!strcmp(error.path, world_path("alpha/admin")));
    }
    shmq_region_close(&late);
    shmq_region_close(&region);
}

static unsigned char *written;

static void write_there(void)
{
    CHECK(signal(SIGSEGV, SIG_DFL) != SIG_ERR); /* a sanitizer may have taken it */
    *(volatile unsigned char *)written = 1;
}

static void what_could_only_be_read_can_only_be_read_when_it_is_gone(void)
{
    struct shmq_region_options options = world_options("alpha", SHMQ_REGION_ATTACH);
    struct shmq_region region, reader;

    open_guarded(&region);
    options.receive_only = true;
    world_open_with(&reader, &options);
    cut("alpha/data", 4096);
    CHECK_EQUAL(byte_at(reader.map.data), 7);
    CHECK_EQUAL(byte_at(reader.map.data + WORLD_MIB - 1), 0);
    CHECK(shmq_region_is_lost(&reader));
    written = reader.map.data;
    CHECK_EQUAL(end_of(write_there), SIGSEGV);
    written = reader.map.data + WORLD_MIB - 1;
    CHECK_EQUAL(end_of(write_there), SIGSEGV);
    shmq_region_close(&reader);
    shmq_region_close(&region);
}

/* ---- a region goes on, or ends --------------------------------------------------------------------------- */

static void reserving_memory_does_not_let_a_cut_file_grow(void)
{
    struct shmq_region region;
    struct stat status;

    open_guarded(&region);
    cut("alpha/admin", 4096);
    CHECK_EQUAL(region.ops.reserve(region.ops.context, region.map.geometry.slot_at, 8192), SHMQ_OK);
    CHECK_EQUAL(stat(world_path("alpha/admin"), &status), 0);
    CHECK_EQUAL(status.st_size, 4096);
    shmq_region_close(&region);
}

static void closing_a_lost_region_frees_the_byte_and_leaves_nothing(void)
{
    const char *const names[] = { "alpha/admin", "alpha/data" };

    for (int i = 0; i < 8; i++) {
        struct shmq_region region;
        uint64_t size;

        open_guarded(&region);
        size = i < 4 ? region.map.geometry.admin_size : region.map.geometry.data_size;
        cut(names[i / 4], i % 4 == 0 ? 0 : i % 4 == 1 ? 4096 : i % 4 == 2 ? 20480 : size / 2);
        shmq_region_close(&region);
        CHECK(!world_exists(world_path("alpha")));
    }
}

/* 0: the byte of the slot is free, or -errno. */
static int try_byte(int fd, uint32_t slot)
{
    int result = shmq_os_lock(fd, slot);

    if (result == 0)
        shmq_os_unlock(fd, slot);
    return result;
}

static void closing_a_lost_region_keeps_it_for_those_who_are_attached(void)
{
    struct shmq_region_options options = world_options("alpha", SHMQ_REGION_EITHER);
    struct shmq_region region;
    struct world_holder holder;
    int fd;

    world_hold(&holder, &options);
    open_guarded(&region);
    fd = open(world_path("alpha/lock"), O_RDWR);
    CHECK(fd >= 0);
    cut("alpha/data", 4096);
    (void)byte_at(region.map.data + WORLD_MIB - 1);
    CHECK_EQUAL(region.self.slot, 1);
    CHECK_EQUAL(try_byte(fd, 1), -EAGAIN);
    shmq_region_close(&region);
    CHECK_EQUAL(try_byte(fd, 1), 0);
    CHECK_EQUAL(try_byte(fd, 0), -EAGAIN);
    close(fd);
    CHECK(world_exists(world_path("alpha/lock")));
    world_holder_end(&holder, false);
    CHECK(!world_exists(world_path("alpha")));
}

static void closing_a_lost_region_does_not_touch_a_newer_one_of_its_name(void)
{
    for (int admin = 0; admin < 2; admin++) {
        struct shmq_region region, newer;
        struct shmq_error error;
        char file[64];

        open_guarded(&region);
        snprintf(file, sizeof file, "/proc/self/fd/%d", admin ? region.files.admin : region.files.data);
        world_unlink("alpha");
        world_open(&newer, "alpha");
        CHECK(newer.id != region.id);
        CHECK_EQUAL(truncate(file, 0), 0);
        (void)byte_at(admin ? region.map.admin : region.map.data);
        CHECK(shmq_region_is_lost(&region));
        CHECK_EQUAL(shmq_region_look(&region, &error), SHMQ_ERROR_LOST);
        CHECK_EQUAL(error.links, 0);
        shmq_region_close(&region);
        world_verify(&newer);
        CHECK(world_exists(world_path("alpha/admin")));
        shmq_region_close(&newer);
    }
}

static void an_end_that_was_decided_on_a_lost_page_does_not_count(void)
{
    struct shmq_region region;
    struct shmq_directory directory;
    struct shmq_files files;
    struct shmq_facts facts;
    struct shmq_error error;
    struct shmq_region_options options = world_persistent("alpha");

    CHECK_EQUAL(shmq_guard_install(), 0);
    world_open_with(&region, &options);
    shmq_region_close(&region);
    CHECK_EQUAL(shmq_directory_open(&directory, NULL, false, false, &error), SHMQ_OK);
    shmq_files_init(&files, "alpha");
    CHECK_EQUAL(shmq_life_find(&files, &directory, &facts, &error), SHMQ_OK);
    CHECK_EQUAL(shmq_life_end_file(&files, &facts, false), 1);
    cut("alpha/admin", 0);
    CHECK_EQUAL(shmq_life_end_file(&files, &facts, false), -ESTALE);
    CHECK_EQUAL(shmq_life_end_file(&files, &facts, true), -ESTALE);
    shmq_files_close(&files);
    shmq_directory_close(&directory);
    world_unlink("alpha");
}

/* ---- the table ------------------------------------------------------------------------------------------- */

static void be_killed_in_alpha(void)
{
    struct shmq_region region;

    world_open(&region, "alpha");
    raise(SIGKILL);
}

static void check_table_is_full(const struct shmq_error *error)
{
    CHECK(!strcmp(error->what, "guard"));
    CHECK_EQUAL(error->os_errno, EMFILE);
    CHECK_EQUAL(error->expected, SHMQ_GUARD_MAX);
}

static int fill_the_table(void **address)
{
    int fd = memfd_create("pages", MFD_CLOEXEC);

    CHECK_EQUAL(ftruncate(fd, 4096), 0);
    for (uint32_t i = 0; i < SHMQ_GUARD_MAX; i++)
        CHECK_EQUAL(shmq_guard_map(fd, 4096, PROT_READ, &address[i]), 0);
    return fd;
}

/* To end a region takes a mapping, too. */
static void with_a_full_table_no_region_is_ended(void)
{
    static void *address[SHMQ_GUARD_MAX];
    struct shmq_region_options options = world_options("alpha", SHMQ_REGION_ATTACH);
    struct shmq_error error;
    int fd;

    CHECK_EQUAL(world_reap(world_fork(be_killed_in_alpha)), SIGKILL);
    fd = fill_the_table(address);
    error = world_refused(&options, SHMQ_ERROR_SYSTEM);
    check_table_is_full(&error);
    CHECK_EQUAL(shmq_region_unlink("alpha", NULL, false, &error), SHMQ_ERROR_SYSTEM);
    check_table_is_full(&error);
    shmq_guard_unmap(address[7], 4096);
    (void)world_refused(&options, SHMQ_ERROR_NOT_FOUND);
    CHECK(world_clean());
    close(fd);
}

static void a_process_can_guard_so_many_mappings_and_no_more(void)
{
    static void *address[SHMQ_GUARD_MAX];
    struct shmq_region_options options = world_options("alpha", SHMQ_REGION_EITHER);
    struct shmq_error error;
    struct shmq_region region;
    int fd = fill_the_table(address);

    error = world_refused(&options, SHMQ_ERROR_SYSTEM);
    check_table_is_full(&error);
    CHECK(world_clean());
    shmq_guard_unmap(address[7], 4096);
    (void)world_refused(&options, SHMQ_ERROR_SYSTEM); /* it takes two */
    CHECK(world_clean());
    shmq_guard_unmap(address[SHMQ_GUARD_MAX - 1], 4096);
    world_open(&region, "alpha");
    CHECK_EQUAL(shmq_guard()->count, SHMQ_GUARD_MAX);
    shmq_region_close(&region);
    close(fd);
}

static void a_region_that_was_closed_is_not_guarded_any_more(void)
{
    struct shmq_region region;

    open_guarded(&region);
    CHECK(shmq_guard_find(region.map.admin) != NULL && shmq_guard_find(region.map.data) != NULL);
    shmq_region_close(&region);
    for (uint32_t i = 0; i < SHMQ_GUARD_MAX; i++)
        CHECK_EQUAL(shmq_guard()->entry[i].end, 0);
}

static struct shmq_region shared_region;
static bool threads_end;

static void *read_at_random(void *seed)
{
    uint64_t random = (uint64_t)(uintptr_t)seed;

    while (!__atomic_load_n(&threads_end, __ATOMIC_ACQUIRE)) {
        random = random * 6364136223846793005ull + 1442695040888963407ull;
        CHECK_EQUAL(byte_at(shared_region.map.data + (random >> 20) % WORLD_MIB) & ~7, 0);
    }
    return NULL;
}

static void threads_that_meet_the_loss_at_once_all_go_on_while_others_open_and_close(void)
{
    pthread_t thread[4];

    for (int round = 0; round < 20; round++) {
        struct shmq_region region;
        uint64_t size = WORLD_MIB;

        open_guarded(&shared_region);
        __atomic_store_n(&threads_end, false, __ATOMIC_RELEASE);
        for (uintptr_t i = 0; i < 4; i++)
            CHECK_EQUAL(pthread_create(&thread[i], NULL, read_at_random, (void *)(i + 1)), 0);
        while (size) {
            size = size / 2 / 4096 * 4096;
            cut("alpha/data", size);
            world_open(&region, "beta");
            world_verify(&region);
            shmq_region_close(&region);
        }
        while (!shmq_region_is_lost(&shared_region))
            sched_yield();
        __atomic_store_n(&threads_end, true, __ATOMIC_RELEASE);
        for (int i = 0; i < 4; i++)
            CHECK_EQUAL(pthread_join(thread[i], NULL), 0);
        shmq_region_close(&shared_region);
    }
}

static void read_what_was_cut(void)
{
    CHECK_EQUAL(byte_at(shared_region.map.data + WORLD_MIB - 1), 0);
    CHECK_EQUAL(byte_at(shared_region.map.admin), 0);
    CHECK(shmq_region_is_lost(&shared_region));
    shmq_region_close(&shared_region);
}

static void a_forked_child_is_guarded_too(void)
{
    pid_t before, after;
    int go[2];
    char word;

    CHECK_EQUAL(pipe2(go, O_CLOEXEC), 0);
    open_guarded(&shared_region);
    before = fork();
    CHECK(before >= 0);
    if (before == 0) {
        CHECK_EQUAL(read(go[0], &word, 1), 1);
        read_what_was_cut();
        _exit(0);
    }
    cut("alpha/data", 4096);
    cut("alpha/admin", 0);
    CHECK_EQUAL(write(go[1], "!", 1), 1);
    CHECK_EQUAL(world_reap(before), 0);
    after = world_fork(read_what_was_cut);
    CHECK_EQUAL(world_reap(after), 0);
    CHECK(!shmq_region_is_lost(&shared_region)); /* it is the children that met it */
    shmq_region_close(&shared_region);
    close(go[0]);
    close(go[1]);
}

static void a_child_that_was_forked_while_a_handler_was_at_work_waits_for_nobody(void)
{
    pid_t pid;
    uint64_t started;

    open_guarded(&shared_region);
    cut("alpha/data", 4096);
    shmq_guard_find(shared_region.map.data)->busy = 1; /* as a thread in the handler leaves it */
    started = shmq_os_now();
    pid = fork();
    CHECK(pid >= 0);
    if (pid == 0) {
        CHECK_EQUAL(byte_at(shared_region.map.data + WORLD_MIB - 1), 0);
        shmq_region_close(&shared_region);
        _exit(shmq_os_now() - started > 500000000); /* a wait would take a second */
    }
    CHECK_EQUAL(world_reap(pid), 0);
    shmq_guard_find(shared_region.map.data)->busy = 0;
    shmq_region_close(&shared_region);
}

static void an_unmapping_waits_for_the_handler_but_not_for_ever(void)
{
    struct shmq_region region;
    uint64_t started;

    open_guarded(&region);
    shmq_guard_find(region.map.data)->busy = 1;
    started = shmq_os_now();
    shmq_region_close(&region);
    CHECK(shmq_os_now() - started > 500000000);
}

/* ---- faults and signals that are not ours ---------------------------------------------------------------- */

static sigjmp_buf back;
static volatile int caught[8], caught_count;
static siginfo_t caught_info;
static sigset_t caught_mask;
static const void *caught_frame;

static void note(int which)
{
    caught[caught_count++ % 8] = which;
    caught_frame = __builtin_frame_address(0);
    CHECK_EQUAL(pthread_sigmask(SIG_BLOCK, NULL, &caught_mask), 0);
}

static void plain_handler(int number)
{
    CHECK_EQUAL(number, SIGBUS);
    note(1);
    siglongjmp(back, 1);
}

static void full_handler(int number, siginfo_t *info, void *context)
{
    CHECK_EQUAL(number, SIGBUS);
    CHECK(context != NULL);
    caught_info = *info;
    note(2);
    siglongjmp(back, 1);
}

static void returning_handler(int number)
{
    (void)number;
    note(3);
}

/* Take the signal as a program does that knows nothing of us. */
static void take(void (*plain)(int), void (*full)(int, siginfo_t *, void *), int flags)
{
    struct sigaction action;

    memset(&action, 0, sizeof action);
    if (full)
        action.sa_sigaction = full;
    else
        action.sa_handler = plain;
    action.sa_flags = flags | (full ? SA_SIGINFO : 0);
    sigaddset(&action.sa_mask, SIGUSR1);
    CHECK_EQUAL(sigaction(SIGBUS, &action, NULL), 0);
    caught_count = 0;
}

static void fault(void)
{
    unsigned char *foreign = foreign_page();

    if (sigsetjmp(back, 1) == 0) {
        (void)byte_at(foreign + 8);
        CHECK(!"a fault that nobody handles goes on");
    }
    if (caught[(caught_count - 1) % 8] == 2)
        CHECK(caught_info.si_addr == foreign + 8);
    CHECK_EQUAL(munmap(foreign, 4096), 0);
}

static void faults_elsewhere_go_to_the_handler_that_was_there_before(void)
{
    struct shmq_region region;

    for (int round = 0; round < 3; round++) {
        take(plain_handler, full_handler, 0);
        if (round == 0)
            open_guarded(&region);
        else
            CHECK_EQUAL(shmq_guard_install(), 0);
        fault();
        CHECK_EQUAL(caught_count, 1);
        CHECK_EQUAL(caught[0], 2);
        CHECK_EQUAL(caught_info.si_code, BUS_ADRERR);
        take(plain_handler, NULL, 0);
        CHECK_EQUAL(shmq_guard_install(), 0);
        fault();
        fault();
        CHECK_EQUAL(caught_count, 2);
        CHECK_EQUAL(caught[0], 1);
    }
    cut("alpha/data", 0);
    CHECK_EQUAL(byte_at(region.map.data), 0);
    CHECK_EQUAL(caught_count, 2);
    shmq_region_close(&region);
}

static void the_handler_before_runs_with_the_signals_blocked_that_it_asked_for(void)
{
    sigset_t blocked;

    sigemptyset(&blocked);
    sigaddset(&blocked, SIGUSR2);
    CHECK_EQUAL(pthread_sigmask(SIG_BLOCK, &blocked, NULL), 0);
    for (int nodefer = 0; nodefer < 2; nodefer++) {
        take(plain_handler, NULL, nodefer ? SA_NODEFER : 0);
        CHECK_EQUAL(shmq_guard_install(), 0);
        fault();
        CHECK_EQUAL(sigismember(&caught_mask, SIGBUS), !nodefer);
        CHECK_EQUAL(sigismember(&caught_mask, SIGUSR1), 1);
        CHECK_EQUAL(sigismember(&caught_mask, SIGUSR2), 1);
        CHECK_EQUAL(sigismember(&caught_mask, SIGTERM), 0);
        CHECK_EQUAL(pthread_sigmask(SIG_BLOCK, NULL, &caught_mask), 0);
        CHECK_EQUAL(sigismember(&caught_mask, SIGBUS), 0);
    }
}

static void handlers_run_on_the_alternate_stack_where_there_is_one(void)
{
    static unsigned char stack[65536];
    stack_t alternate;

    memset(&alternate, 0, sizeof alternate);
    alternate.ss_sp = stack;
    alternate.ss_size = sizeof stack;
    CHECK_EQUAL(sigaltstack(&alternate, NULL), 0);
    take(plain_handler, NULL, SA_ONSTACK);
    CHECK_EQUAL(shmq_guard_install(), 0);
    fault();
    CHECK((uintptr_t)caught_frame - (uintptr_t)stack < sizeof stack);
}

static void fault_and_die(void) { (void)byte_at(foreign_page()); }
static void send_oneself(void) { CHECK_EQUAL(raise(SIGBUS), 0); }
static void be_sent(void) { CHECK_EQUAL(kill(getpid(), SIGBUS), 0); }

static void send_oneself_two(void)
{
    send_oneself();
    send_oneself(); /* the first one has not changed what becomes of it */
}

static void unhandled_ones_do_what_they_do_without_the_guard(void)
{
    take(SIG_DFL, NULL, 0);
    CHECK_EQUAL(shmq_guard_install(), 0);
    CHECK_EQUAL(end_of(fault_and_die), SIGBUS);
    CHECK_EQUAL(end_of(send_oneself), SIGBUS);
    CHECK_EQUAL(end_of(be_sent), SIGBUS);
    take(SIG_IGN, NULL, 0);
    CHECK_EQUAL(shmq_guard_install(), 0);
    CHECK_EQUAL(end_of(fault_and_die), SIGBUS); /* the kernel lets nobody ignore it */
    CHECK_EQUAL(end_of(send_oneself_two), 0);
    CHECK_EQUAL(end_of(be_sent), 0);
    take(returning_handler, NULL, 0);
    CHECK_EQUAL(shmq_guard_install(), 0);
    CHECK_EQUAL(end_of(send_oneself), 0);
    be_sent();
    CHECK_EQUAL(caught_count, 1);
}

static void send_twice(void)
{
    send_oneself();
    CHECK_EQUAL(caught_count, 1);
    send_oneself();
}

static void a_handler_for_one_call_is_called_once(void)
{
    take(returning_handler, NULL, (int)SA_RESETHAND);
    CHECK_EQUAL(shmq_guard_install(), 0);
    CHECK_EQUAL(end_of(send_twice), SIGBUS);
    CHECK_EQUAL(end_of(fault_and_die), SIGBUS); /* and not called for ever: it returns to the fault */
}

static void a_sent_signal_with_the_address_of_a_region_is_not_taken_for_a_fault(void)
{
    struct shmq_region region;
    siginfo_t info;

    take(returning_handler, NULL, 0);
    open_guarded(&region);
    memset(&info, 0, sizeof info);
    info.si_signo = SIGBUS;
    info.si_code = SI_QUEUE;
    info.si_addr = region.map.data;
    CHECK_EQUAL(syscall(SYS_rt_sigqueueinfo, getpid(), SIGBUS, &info), 0);
    CHECK_EQUAL(caught_count, 1);
    CHECK(!shmq_region_is_lost(&region));
    shmq_region_close(&region);
}

static void errno_survives_a_mended_fault(void)
{
    struct shmq_region region;

    open_guarded(&region);
    cut("alpha/data", 0);
    CHECK_EQUAL(close(region.files.data), 0); /* what the handler asks of it fails */
    errno = 1234;
    __atomic_signal_fence(__ATOMIC_SEQ_CST); /* or the compiler takes it for unchanged */
    (void)byte_at(region.map.data);
    __atomic_signal_fence(__ATOMIC_SEQ_CST);
    CHECK_EQUAL(errno, 1234);
    shmq_region_close(&region);
}

/* Handlers that chain to whom they took the signal from, as we do. */
static struct sigaction before_taker[2];

static void chain_on(int taker, int number, siginfo_t *info, void *context)
{
    const struct sigaction *previous = &before_taker[taker];

    note(100 + taker);
    if (previous->sa_flags & SA_SIGINFO)
        previous->sa_sigaction(number, info, context);
    else
        previous->sa_handler(number);
}

static void taker_0(int number, siginfo_t *info, void *context) { chain_on(0, number, info, context); }
static void taker_1(int number, siginfo_t *info, void *context) { chain_on(1, number, info, context); }

static void take_and_chain(int taker, void (*handler)(int, siginfo_t *, void *))
{
    struct sigaction action;

    memset(&action, 0, sizeof action);
    action.sa_sigaction = handler;
    action.sa_flags = SA_SIGINFO;
    CHECK_EQUAL(sigaction(SIGBUS, &action, &before_taker[taker]), 0);
}

static void who_took_the_signal_since_is_called_and_may_call_us_back(void)
{
    struct shmq_region region;

    take(plain_handler, NULL, 0);
    open_guarded(&region);
    take_and_chain(0, taker_0);
    CHECK_EQUAL(shmq_guard_install(), 0);
    take_and_chain(1, taker_1);
    CHECK_EQUAL(shmq_guard_install(), 0);
    CHECK_EQUAL(shmq_guard_install(), 0); /* it is ours: nothing to do */
    fault();
    CHECK_EQUAL(caught_count, 3);
    CHECK_EQUAL(caught[0], 101);
    CHECK_EQUAL(caught[1], 100);
    CHECK_EQUAL(caught[2], 1);
    cut("alpha/data", 0);
    CHECK_EQUAL(byte_at(region.map.data), 0); /* by the level on top, without anybody else */
    CHECK_EQUAL(caught_count, 3);
    shmq_region_close(&region);
}

static void who_takes_the_signal_and_gives_it_back_over_and_over_uses_nothing_up(void)
{
    struct shmq_region region;

    open_guarded(&region);
    for (int round = 0; round < 100; round++) {
        take_and_chain(0, taker_0);
        CHECK_EQUAL(shmq_guard_install(), 0);
        CHECK_EQUAL(sigaction(SIGBUS, &before_taker[0], NULL), 0);
        CHECK_EQUAL(shmq_guard_install(), 0);
    }
    cut("alpha/data", 0);
    CHECK_EQUAL(byte_at(region.map.data), 0);
    shmq_region_close(&region);
}

static void after_so_many_different_takers_the_signal_stays_theirs(void)
{
    struct sigaction action;

    for (uint32_t taker = 0; taker <= SHMQ_GUARD_LEVELS; taker++) {
        memset(&action, 0, sizeof action);
        action.sa_handler = returning_handler;
        sigaddset(&action.sa_mask, SIGRTMIN + (int)taker);
        CHECK_EQUAL(sigaction(SIGBUS, &action, NULL), 0);
        CHECK_EQUAL(shmq_guard_install(), taker < SHMQ_GUARD_LEVELS ? 0 : -EBUSY);
    }
    CHECK_EQUAL(sigaction(SIGBUS, NULL, &action), 0);
    CHECK(action.sa_handler == returning_handler);
}

int main(int argc, char **argv)
{
    static const struct check_test tests[] = {
        CHECK_TEST(what_was_cut_off_reads_zeros_and_the_rest_what_it_was),
        CHECK_TEST(pages_in_front_of_the_cut_stay_shared_and_those_behind_it_are_ones_own),
        CHECK_TEST(all_that_was_cut_off_is_replaced_at_once_from_whatever_side_it_is_read),
        CHECK_TEST(a_second_cut_replaces_what_it_took_and_keeps_what_was_written_since),
        CHECK_TEST(a_thread_whose_fault_was_mended_by_another_wipes_nothing_out),
        CHECK_TEST(where_the_program_closed_the_descriptors_page_after_page_is_replaced),
        CHECK_TEST(a_hole_on_a_full_file_system_costs_its_page_only),
        CHECK_TEST(where_no_more_mappings_are_allowed_the_whole_segment_is_replaced),
        CHECK_TEST(the_flag_falls_with_the_first_page_that_is_lost),
        CHECK_TEST(a_look_finds_what_no_access_has_met),
        CHECK_TEST(a_header_of_zeros_is_found_and_a_hole_that_was_there_before_is_not_taken_for_a_new_one),
        CHECK_TEST(what_could_only_be_read_can_only_be_read_when_it_is_gone),
        CHECK_TEST(reserving_memory_does_not_let_a_cut_file_grow),
        CHECK_TEST(closing_a_lost_region_frees_the_byte_and_leaves_nothing),
        CHECK_TEST(closing_a_lost_region_keeps_it_for_those_who_are_attached),
        CHECK_TEST(closing_a_lost_region_does_not_touch_a_newer_one_of_its_name),
        CHECK_TEST(an_end_that_was_decided_on_a_lost_page_does_not_count),
        CHECK_TEST(a_process_can_guard_so_many_mappings_and_no_more),
        CHECK_TEST(with_a_full_table_no_region_is_ended),
        CHECK_TEST(a_region_that_was_closed_is_not_guarded_any_more),
        CHECK_TEST(threads_that_meet_the_loss_at_once_all_go_on_while_others_open_and_close),
        CHECK_TEST(a_forked_child_is_guarded_too),
        CHECK_TEST(a_child_that_was_forked_while_a_handler_was_at_work_waits_for_nobody),
        CHECK_TEST(an_unmapping_waits_for_the_handler_but_not_for_ever),
        CHECK_TEST(faults_elsewhere_go_to_the_handler_that_was_there_before),
        CHECK_TEST(the_handler_before_runs_with_the_signals_blocked_that_it_asked_for),
        CHECK_TEST(handlers_run_on_the_alternate_stack_where_there_is_one),
        CHECK_TEST(unhandled_ones_do_what_they_do_without_the_guard),
        CHECK_TEST(a_handler_for_one_call_is_called_once),
        CHECK_TEST(a_sent_signal_with_the_address_of_a_region_is_not_taken_for_a_fault),
        CHECK_TEST(errno_survives_a_mended_fault),
        CHECK_TEST(who_took_the_signal_since_is_called_and_may_call_us_back),
        CHECK_TEST(who_takes_the_signal_and_gives_it_back_over_and_over_uses_nothing_up),
        CHECK_TEST(after_so_many_different_takers_the_signal_stays_theirs),
    };

    return check_main(argc, argv, tests, sizeof tests / sizeof tests[0], around);
}
