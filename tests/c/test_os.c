/* SPDX-License-Identifier: MIT */
/* The system calls behind os.h, lock.h and error.h, one at a time. */
#include "os_world.h"

#include <signal.h>
#include <sys/prctl.h>
#include <sys/sendfile.h>
#include <sys/time.h>

/* ---- files ----------------------------------------------------------------------------------------------- */

static void every_descriptor_is_closed_on_exec(void)
{
    int file = make_file("file"), again = shmq_os_reopen(file, O_RDWR);

    CHECK(fcntl(file, F_GETFD) & FD_CLOEXEC);
    CHECK(fcntl(again, F_GETFD) & FD_CLOEXEC);
    CHECK(fcntl(dir, F_GETFD) & FD_CLOEXEC);
    close(again);
    close(file);
    CHECK_EQUAL(shmq_os_unlinkat(dir, "file", 0), 0);
}

static void a_symlink_is_not_opened_and_a_fifo_does_not_block(void)
{
    int fd;

    CHECK_EQUAL(symlinkat("/dev/null", dir, "link"), 0);
    CHECK_EQUAL(mkfifoat(dir, "fifo", 0600), 0);
    CHECK_EQUAL(shmq_os_openat(dir, "link", O_RDWR, 0), -ELOOP);
    CHECK_EQUAL(shmq_os_openat(dir, "fifo", O_WRONLY, 0), -ENXIO);
    fd = shmq_os_openat(dir, "fifo", O_RDONLY, 0);
    CHECK(fd >= 0);
    close(fd);
    CHECK_EQUAL(shmq_os_unlinkat(dir, "link", 0), 0);
    CHECK_EQUAL(shmq_os_unlinkat(dir, "fifo", 0), 0);
}

static void a_rename_does_not_replace(void)
{
    CHECK_EQUAL(shmq_os_make_directory(dir, "old"), 0);
    CHECK_EQUAL(shmq_os_make_directory(dir, "new"), 0);
    CHECK_EQUAL(shmq_os_rename_new(dir, "new", "old"), -EEXIST); /* though a plain rename would: it is empty */
    CHECK_EQUAL(shmq_os_unlinkat(dir, "old", AT_REMOVEDIR), 0);
    CHECK_EQUAL(shmq_os_rename_new(dir, "new", "old"), 0);
    CHECK_EQUAL(shmq_os_unlinkat(dir, "old", AT_REMOVEDIR), 0);
}

static void nothing_but_that_file_has_its_identity(void)
{
    int file = make_file("file"), other = make_file("other");
    struct shmq_identity identity;

    CHECK_EQUAL(shmq_os_identify(file, &identity), 0);
    CHECK(shmq_os_is(file, &identity));
    CHECK(!shmq_os_is(other, &identity));
    CHECK(!shmq_os_is(-1, &identity));
    CHECK_EQUAL(dup2(other, file), file); /* the same number, another file */
    CHECK(!shmq_os_is(file, &identity));
    close(file);
    CHECK(!shmq_os_is(file, &identity));
    close(other);
    CHECK_EQUAL(shmq_os_unlinkat(dir, "file", 0), 0);
    CHECK_EQUAL(shmq_os_unlinkat(dir, "other", 0), 0);
}

static void a_file_without_a_name_opens_again(void)
{
    int file = make_file("file"), path, again;
    struct shmq_identity identity;

    CHECK_EQUAL(shmq_os_identify(file, &identity), 0);
    path = shmq_os_openat(dir, "file", O_PATH, 0);
    CHECK_EQUAL(shmq_os_unlinkat(dir, "file", 0), 0);
    close(file);
    again = shmq_os_reopen(path, O_RDWR);
    CHECK(shmq_os_is(again, &identity));
    CHECK_EQUAL(shmq_os_lock(again, 3), 0);
    close(again);
    close(path);
}

static void ignore_signal(int signal) { (void)signal; }

static void frequent_signals_do_not_keep_a_reservation_from_ending(void)
{
    struct itimerval timer = { { 0, 200 }, { 0, 200 } }, off = { { 0, 0 }, { 0, 0 } };
    struct sigaction action;
    struct stat status;
    int file = make_file("file");

    memset(&action, 0, sizeof action);
    action.sa_handler = ignore_signal;
    CHECK_EQUAL(sigaction(SIGALRM, &action, NULL), 0);
    CHECK_EQUAL(shmq_os_truncate(file, 64 << 20), 0);
    CHECK_EQUAL(setitimer(ITIMER_REAL, &timer, NULL), 0);
    CHECK_EQUAL(shmq_os_reserve(file, 4096, 16 << 20), 0);
    CHECK_EQUAL(setitimer(ITIMER_REAL, &off, NULL), 0);
    CHECK_EQUAL(shmq_os_fstat(file, &status), 0);
    CHECK_EQUAL(status.st_blocks * 512, 16 << 20); /* all of that, and none of the hole */
    close(file);
    CHECK_EQUAL(shmq_os_unlinkat(dir, "file", 0), 0);
}

static void a_file_gets_its_name_when_all_is_done_to_it(void)
{
    int file = shmq_os_openat(dir, ".", O_RDWR | O_TMPFILE, 0600), other;
    struct shmq_identity identity;
    struct stat status;

    CHECK_EQUAL(shmq_os_identify(file, &identity), 0);
    CHECK_EQUAL(shmq_os_fchmod(file, 0660), 0);
    CHECK_EQUAL(shmq_os_name(file, dir, "file"), 0);
    CHECK_EQUAL(shmq_os_fstatat(dir, "file", &status), 0);
    CHECK(shmq_os_same(&status, &identity));
    CHECK_EQUAL(status.st_mode & 07777, 0660);
    CHECK_EQUAL(status.st_nlink, 1);
    other = shmq_os_openat(dir, ".", O_RDWR | O_TMPFILE, 0600);
    CHECK_EQUAL(shmq_os_name(other, dir, "file"), -EEXIST);
    close(other);
    close(file);
    CHECK_EQUAL(shmq_os_unlinkat(dir, "file", 0), 0);
}

static void count_entry(void *context, const char *name)
{
    CHECK(!strcmp(name, "one") || !strcmp(name, "two"));
    CHECK_EQUAL(shmq_os_unlinkat(dir, name, AT_REMOVEDIR), 0); /* removing while reading is allowed */
    ++*(int *)context;
}

static void ignore_entry(void *context, const char *name) { (void)context, (void)name; }

static void each_entry_of_a_directory_is_visited_once(void)
{
    int count = 0;

    CHECK_EQUAL(shmq_os_make_directory(dir, "one"), 0);
    CHECK_EQUAL(shmq_os_make_directory(dir, "two"), 0);
    CHECK_EQUAL(shmq_os_each_entry(dir, count_entry, &count), 0);
    refused_call = "readdir"; /* the rest cannot be read: that is not the end */
    CHECK_EQUAL(shmq_os_each_entry(dir, ignore_entry, NULL), -EIO);
    refused_call = NULL;
    CHECK_EQUAL(count, 2);
}

static void a_refused_call_returns_its_errno(void)
{
    struct stat status;
    void *address;

    refused_call = "openat";
    CHECK_EQUAL(shmq_os_openat(dir, "none", O_RDWR, 0), -EIO);
    refused_call = "fstat";
    CHECK_EQUAL(shmq_os_fstat(dir, &status), -EIO);
    refused_call = "mmap";
    CHECK_EQUAL(shmq_os_map(dir, 4096, PROT_READ, &address), -EIO);
    CHECK(address == NULL);
    refused_call = NULL;
    CHECK_EQUAL(shmq_os_openat(dir, "none", O_RDWR, 0), -ENOENT);
    CHECK_EQUAL(shmq_os_map(dir, 4096, PROT_READ, &address), -ENODEV);
}

/* ---- byte locks ------------------------------------------------------------------------------------------ */

/* Each in a way that it can be really called. */
static void a_call_that_the_kernel_refuses_returns_its_errno(void)
{
    struct shmq_identity identity;
    uint64_t words[2] = { 0, 0 };

    CHECK_EQUAL(shmq_os_fchmod(-1, 0600), -EBADF);
    CHECK_EQUAL(shmq_os_fchgrp(-1, 0), -EBADF);
    CHECK_EQUAL(shmq_os_truncate(-1, 0), -EBADF);
    CHECK_EQUAL(shmq_os_identify(-1, &identity), -EBADF);
    CHECK_EQUAL(shmq_os_locked(-1, 0, 1), -EBADF);
    CHECK_EQUAL(shmq_os_seal(-1, F_SEAL_GROW), -EBADF);
    CHECK_EQUAL(shmq_os_keep_from_children((char *)words + 1, SHMQ_PAGE), -EINVAL);
    CHECK_EQUAL(shmq_os_limit(-1), UINT64_MAX);
    CHECK(!shmq_os_on_tmpfs(-1));
    CHECK_EQUAL(shmq_os_sleep(NULL, (uint64_t *)(void *)((char *)words + 1), 0, 0), SHMQ_TIMEOUT);
}

static void only_a_tmpfs_is_one(void)
{
    int proc = open("/proc", O_RDONLY | O_CLOEXEC);

    CHECK(shmq_os_on_tmpfs(dir));
    CHECK(!shmq_os_on_tmpfs(proc));
    close(proc);
}

static void a_text_is_read_as_far_as_there_is_room(void)
{
    char text[4];

    CHECK_EQUAL(shmq_os_read_text("/proc/version", text, sizeof text), 3);
    CHECK(!strcmp(text, "Lin"));
}

static void a_byte_belongs_to_one_open_file_description(void)
{
    int one = make_file("lock"), two = shmq_os_openat(dir, "lock", O_RDWR, 0);

    CHECK_EQUAL(shmq_os_lock(one, 7), 0);
    CHECK_EQUAL(shmq_os_lock(two, 7), -EAGAIN); /* of the same process, too */
    CHECK_EQUAL(shmq_os_lock(two, 8), 0);
    CHECK_EQUAL(shmq_os_locked(one, 0, 8), 0); /* its own does not count */
    CHECK_EQUAL(shmq_os_locked(one, 0, 9), 1);
    CHECK_EQUAL(shmq_os_locked(two, 0, 8), 1);
    CHECK_EQUAL(shmq_os_locked(two, 0, 7), 0);
    shmq_os_unlock(one, 7);
    CHECK_EQUAL(shmq_os_lock(two, 7), 0);
    close(one);
    close(two);
    CHECK_EQUAL(shmq_os_unlinkat(dir, "lock", 0), 0);
}

static void a_mapping_holds_the_byte_until_it_is_dropped(void)
{
    int one = make_file("lock"), two = shmq_os_openat(dir, "lock", O_RDWR, 0);
    void *page;

    CHECK_EQUAL(shmq_os_lock(one, 7), 0);
    shmq_lock_guard_enter();
    CHECK_EQUAL(shmq_lock_keep(one, &page), 0);
    close(one);
    shmq_lock_guard_leave();
    CHECK_EQUAL(shmq_os_locked(two, 7, 1), 1);
    shmq_lock_drop(&page);
    CHECK(page == NULL);
    CHECK_EQUAL(shmq_os_locked(two, 7, 1), 0); /* at once: the next line of a close looks */
    close(two);
    CHECK_EQUAL(shmq_os_unlinkat(dir, "lock", 0), 0);
}

/* [M4] A descriptor that probes is closed in a forked child, so that the parent's death frees what it had locked. */
static void m4_a_forked_child_closes_the_probes_of_its_parent(void)
{
    int two, status, ready[2];
    struct shmq_lock_probe probe;
    pid_t parent, child;

    close(make_file("lock"));
    CHECK_EQUAL(pipe(ready), 0);
    parent = fork();
    if (parent == 0) {
        CHECK_EQUAL(shmq_lock_watch_forks(), 0);
        shmq_lock_guard_enter();
        shmq_lock_probe_begin(&probe, shmq_os_openat(dir, "lock", O_RDWR, 0));
        shmq_lock_guard_leave();
        CHECK_EQUAL(shmq_os_lock(probe.fd, 5), 0);
        child = fork();
        if (child == 0) {
            CHECK(fcntl(probe.fd, F_GETFD) < 0);
            CHECK_EQUAL(write(ready[1], &child, sizeof child), sizeof child);
            pause();
        }
        CHECK_EQUAL(write(ready[1], &child, sizeof child), sizeof child);
        pause();
    }
    two = shmq_os_openat(dir, "lock", O_RDWR, 0);
    for (int i = 0; i < 2; i++) {
        pid_t told;

        CHECK_EQUAL(read(ready[0], &told, sizeof told), sizeof told);
        child = told ? told : child;
    }
    CHECK_EQUAL(shmq_os_locked(two, 5, 1), 1);
    CHECK_EQUAL(kill(parent, SIGKILL), 0);
    CHECK_EQUAL(waitpid(parent, &status, 0), parent);
    CHECK_EQUAL(shmq_os_locked(two, 5, 1), 0); /* though the child lives */
    CHECK_EQUAL(kill(child, SIGKILL), 0);
    close(two);
    close(ready[0]);
    close(ready[1]);
    CHECK_EQUAL(shmq_os_unlinkat(dir, "lock", 0), 0);
}

static void probes_end_in_any_order(void)
{
    struct shmq_lock_probe probe[3];

    close(make_file("lock"));
    shmq_lock_guard_enter();
    for (int i = 0; i < 3; i++)
        shmq_lock_probe_begin(&probe[i], shmq_os_openat(dir, "lock", O_RDWR, 0));
    shmq_lock_guard_leave();
    shmq_lock_probe_end(&probe[1]); /* neither the first of the list nor the last */
    CHECK(shmq_lock_guard()->probes == &probe[2] && probe[2].next == &probe[0]);
    shmq_lock_probe_end(&probe[0]);
    shmq_lock_probe_end(&probe[2]);
    CHECK(shmq_lock_guard()->probes == NULL);
    for (int i = 0; i < 3; i++)
        CHECK(fcntl(probe[i].fd, F_GETFD) < 0);
    CHECK_EQUAL(shmq_os_unlinkat(dir, "lock", 0), 0);
}

/* A signal handler forks in the middle of a probe, and the child returns to it: its number may be a file of its own. */
static void a_child_forked_in_the_middle_of_a_probe_ends_it_and_closes_nothing_else(void)
{
    struct shmq_lock_probe probe;
    pid_t child;
    int status;

    CHECK_EQUAL(shmq_lock_watch_forks(), 0);
    close(make_file("lock"));
    shmq_lock_guard_enter();
    shmq_lock_probe_begin(&probe, shmq_os_openat(dir, "lock", O_RDWR, 0));
    shmq_lock_guard_leave();
    child = fork();
    CHECK(child >= 0);
    if (child == 0) {
        CHECK_EQUAL(fcntl(dir, F_DUPFD_CLOEXEC, probe.fd), probe.fd);
        shmq_lock_probe_end(&probe);
        CHECK(fcntl(probe.fd, F_GETFD) >= 0);
        _exit(0);
    }
    CHECK_EQUAL(waitpid(child, &status, 0), child);
    CHECK_EQUAL(status, 0);
    shmq_lock_probe_end(&probe);
    CHECK(fcntl(probe.fd, F_GETFD) < 0);
    CHECK_EQUAL(shmq_os_unlinkat(dir, "lock", 0), 0);
}

/* ---- children of all kinds --------------------------------------------------------------------------------- */

static void expect_child(pid_t child)
{
    int status;

    CHECK(child > 0);
    CHECK_EQUAL(waitpid(child, &status, 0), child);
    CHECK_EQUAL(status, 0);
}

/* As _Fork does: no handler runs. */
static pid_t fork_without_handlers(void) { return (pid_t)syscall(SYS_clone, SIGCHLD, NULL, NULL, NULL, NULL); }

static void enter_and_leave(void)
{
    shmq_lock_guard_enter();
    shmq_lock_guard_leave();
}

static void fork_and_enter(void)
{
    pid_t child = fork();

    if (child == 0) {
        alarm(20);
        enter_and_leave();
        _exit(0);
    }
    expect_child(child);
}

/* Threads that come at once, or a child that does not know, register again. */
static void handlers_that_are_registered_twice_do_their_work_once(void)
{
    pid_t child = fork();

    if (child == 0) {
        alarm(20);
        CHECK_EQUAL(shmq_lock_watch_forks(), 0);
        shmq_lock_guard()->watching = 0;
        CHECK_EQUAL(shmq_lock_watch_forks(), 0);
        child = fork();
        if (child == 0) {
            alarm(20);
            enter_and_leave();
            fork_and_enter();
            _exit(0);
        }
        expect_child(child);
        enter_and_leave();
        _exit(0);
    }
    expect_child(child);
}

static unsigned inherited;

static void note_inherited(void) { inherited++; }

/* A fork that began before the handlers were registered, or one of _Fork, while a thread of the parent was in the
 * guard: the child starts over. */
static void a_child_without_handlers_starts_over_with_the_guard(void)
{
    struct shmq_lock_guard *guard = shmq_lock_guard();
    struct shmq_lock_probe probe;
    pid_t child;

    CHECK_EQUAL(shmq_lock_watch_forks(), 0);
    close(make_file("lock"));
    shmq_lock_guard_enter();
    shmq_lock_probe_begin(&probe, shmq_os_openat(dir, "lock", O_RDWR, 0));
    guard->in_child[SHMQ_LOCK_HEIR_PROGRAM] = note_inherited;
    inherited = 0;
    child = fork_without_handlers();
    if (child == 0) {
        alarm(20);
        enter_and_leave();
        CHECK_EQUAL(inherited, 1);
        CHECK(guard->probes == NULL && fcntl(probe.fd, F_GETFD) < 0);
        CHECK_EQUAL(guard->owner, shmq_os_pid());
        enter_and_leave();
        CHECK_EQUAL(inherited, 1);
        CHECK(guard->watching != shmq_os_pid()); /* it may be that they were not registered when it was forked */
        CHECK_EQUAL(shmq_lock_watch_forks(), 0);
        CHECK_EQUAL(guard->watching, shmq_os_pid());
        fork_and_enter();
        _exit(0);
    }
    guard->in_child[SHMQ_LOCK_HEIR_PROGRAM] = NULL;
    shmq_lock_guard_leave();
    expect_child(child);
    shmq_lock_probe_end(&probe);
    CHECK_EQUAL(inherited, 0);
    CHECK_EQUAL(shmq_os_unlinkat(dir, "lock", 0), 0);
}

/* How a C library may call the handlers in a child. */
static void both_registrations(void)
{
    shmq_lock_in_child();
    CHECK_EQUAL(inherited, 1);
    enter_and_leave();
    shmq_lock_in_child();
}

static void another_librarys_handler_first_which_opens_a_region(void)
{
    enter_and_leave();
    CHECK_EQUAL(inherited, 1);
    shmq_lock_in_child();
}

static void without_the_first_handler(void)
{
    shmq_lock_guard()->forking = false;
    shmq_lock_in_child();
}

static void with_its_parents_pid_in_another_namespace(void)
{
    shmq_lock_guard()->owner = shmq_os_pid();
    shmq_lock_in_child();
}

static void each_way_through_the_handlers_starts_over_once(void)
{
    static void (*const ways[])(void) = { both_registrations, another_librarys_handler_first_which_opens_a_region,
        without_the_first_handler, with_its_parents_pid_in_another_namespace };
    struct shmq_lock_guard *guard = shmq_lock_guard();

    CHECK_EQUAL(shmq_lock_watch_forks(), 0);
    guard->in_child[SHMQ_LOCK_HEIR_PROGRAM] = note_inherited;
    inherited = 0;
    shmq_lock_before_fork();
    shmq_lock_before_fork(); /* they are registered twice, or a handler of a signal forks in the middle of a fork */
    for (size_t i = 0; i < sizeof ways / sizeof ways[0]; i++) {
        pid_t child = fork_without_handlers();

        if (child == 0) {
            alarm(20);
            ways[i]();
            CHECK_EQUAL(inherited, 1);
            fork_and_enter();
            _exit(0);
        }
        expect_child(child);
    }
    shmq_lock_in_parent();
    CHECK(pthread_mutex_trylock(&guard->mutex) == EBUSY && guard->forking);
    shmq_lock_in_parent();
    enter_and_leave();
    shmq_lock_in_parent(); /* of handlers that were registered in the middle of the fork */
    enter_and_leave();
    fork_and_enter();
    CHECK_EQUAL(inherited, 0);
    guard->in_child[SHMQ_LOCK_HEIR_PROGRAM] = NULL;
}

static void finish_starting(void) { shmq_private_store(&shmq_lock_guard()->owner, shmq_os_pid()); }

static void who_finds_another_thread_starting_over_waits_for_it(void)
{
    struct shmq_lock_guard *guard = shmq_lock_guard();

    CHECK_EQUAL(shmq_lock_watch_forks(), 0);
    guard->in_child[SHMQ_LOCK_HEIR_PROGRAM] = note_inherited;
    inherited = 0;
    guard->owner = shmq_os_pid() | SHMQ_LOCK_STARTING;
    watched_call = "sched_yield";
    meanwhile = finish_starting;
    enter_and_leave();
    watched_call = NULL;
    CHECK_EQUAL(inherited, 0);
    guard->owner = (shmq_os_pid() + 1) | SHMQ_LOCK_STARTING; /* of a parent, a thread of which was at it */
    enter_and_leave();
    CHECK_EQUAL(inherited, 1);
    guard->in_child[SHMQ_LOCK_HEIR_PROGRAM] = NULL;
}

static void who_cannot_have_forks_watched_is_told_and_tries_again(void)
{
    struct shmq_lock_guard *guard = shmq_lock_guard();

    guard->watching = 0;
    refused_call = "atfork";
    CHECK_EQUAL(shmq_lock_watch_forks(), -EIO);
    CHECK_EQUAL(guard->watching, 0);
    refused_call = NULL;
    CHECK_EQUAL(shmq_lock_watch_forks(), 0);
    CHECK_EQUAL(guard->watching, shmq_os_pid());
}

/* ---- sleep ----------------------------------------------------------------------------------------------- */

static uint64_t *shared_word(void)
{
    uint64_t *word = (uint64_t *)mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);

    CHECK(word != MAP_FAILED);
    return word;
}

static void a_sleep_ends_at_once_on_another_value_and_else_in_time(void)
{
    uint64_t *word = shared_word(), before;

    *word = 0xffffffff00000005u; /* only the low half counts */
    CHECK_EQUAL(shmq_os_sleep(NULL, word, 4, UINT64_MAX), SHMQ_OK);
    before = shmq_os_now();
    CHECK_EQUAL(shmq_os_sleep(NULL, word, 5, 2000000), SHMQ_TIMEOUT);
    CHECK(shmq_os_now() - before >= 2000000);
    munmap(word, 4096);
}

static void a_signal_interrupts_a_sleep(void)
{
    struct itimerval timer = { { 0, 1000 }, { 0, 1000 } }, off = { { 0, 0 }, { 0, 0 } }; /* repeated: none is missed */
    struct sigaction action;
    uint64_t *word = shared_word();

    memset(&action, 0, sizeof action);
    action.sa_handler = ignore_signal;
    CHECK_EQUAL(sigaction(SIGALRM, &action, NULL), 0);
    CHECK_EQUAL(setitimer(ITIMER_REAL, &timer, NULL), 0);
    CHECK_EQUAL(shmq_os_sleep(NULL, word, 0, 60000000000u), SHMQ_INTERRUPTED);
    CHECK_EQUAL(setitimer(ITIMER_REAL, &off, NULL), 0);
    munmap(word, 4096);
}

static void a_wake_reaches_another_process(void)
{
    uint64_t *word = shared_word();
    pid_t child = fork();
    int status;

    if (child == 0)
        _exit(shmq_os_sleep(NULL, word, 0, 60000000000u) == SHMQ_OK ? 0 : 1);
    while (waitpid(child, &status, WNOHANG) == 0) { /* wakes again: it may not have slept yet */
        shmq_os_wake(NULL, word, UINT32_MAX);
        sched_yield();
    }
    CHECK_EQUAL(status, 0);
    munmap(word, 4096);
}

/* ---- facts ----------------------------------------------------------------------------------------------- */

static void the_start_time_does_not_trip_over_the_name(void)
{
    uint64_t before = shmq_os_start_time();

    CHECK(before != 0);
    CHECK_EQUAL(prctl(PR_SET_NAME, "a) 1 2 (b", 0, 0, 0), 0);
    CHECK_EQUAL(shmq_os_start_time(), before);
    CHECK(shmq_os_pid_namespace() != 0);
    refused_call = "read_text";
    CHECK_EQUAL(shmq_os_start_time(), 0);
    refused_call = NULL;
}

static void read_a_strange_stat(void)
{
    const char *const strange[] = { "1 no name", "1 (a)", "1 (a) S 0 0 0 0\n" };

    for (size_t i = 0; i < sizeof strange / sizeof strange[0]; i++) {
        write_text("stat", strange[i]);
        CHECK_EQUAL(mount(path_of("stat"), "/proc/self/stat", NULL, MS_BIND, NULL), 0);
        CHECK_EQUAL(shmq_os_start_time(), 0);
        CHECK_EQUAL(umount("/proc/self/stat"), 0);
    }
    CHECK_EQUAL(shmq_os_unlinkat(dir, "stat", 0), 0);
}

static void look_without_proc(void)
{
    CHECK_EQUAL(mount("tmpfs", "/proc", "tmpfs", 0, NULL), 0);
    CHECK_EQUAL(shmq_os_start_time(), 0);
    CHECK_EQUAL(shmq_os_pid_namespace(), 0);
    CHECK_EQUAL(shmq_os_address_space(), 0);
}

static void what_proc_does_not_tell_is_zero(void)
{
    with_mounts_of_its_own(read_a_strange_stat);
    with_mounts_of_its_own(look_without_proc);
}

static void a_process_is_in_its_own_group_and_in_all_that_it_was_put_in(void)
{
    gid_t groups[64];
    int count = getgroups(64, groups);

    CHECK(shmq_os_in_group(shmq_os_gid()));
    for (int i = 0; i < count; i++)
        CHECK(shmq_os_in_group(groups[i]));
    CHECK(!shmq_os_in_group(4000000000u));
}

static void a_limit_is_told_and_none_is_the_largest_number(void)
{
    struct rlimit before, limit;

    CHECK_EQUAL(getrlimit(RLIMIT_CORE, &before), 0);
    limit = before;
    limit.rlim_cur = 0;
    CHECK_EQUAL(setrlimit(RLIMIT_CORE, &limit), 0);
    CHECK_EQUAL(shmq_os_limit(RLIMIT_CORE), 0);
    CHECK_EQUAL(setrlimit(RLIMIT_CORE, &before), 0);
    CHECK_EQUAL(getrlimit(RLIMIT_AS, &before), 0);
    CHECK_EQUAL(shmq_os_limit(RLIMIT_AS), before.rlim_cur == RLIM_INFINITY ? UINT64_MAX : before.rlim_cur);
    CHECK(shmq_os_address_space() > 1 << 20);
}

static void an_empty_variable_is_none(void)
{
    CHECK_EQUAL(setenv("SHMQ_TEST", "", 1), 0);
    CHECK(shmq_os_environment("SHMQ_TEST") == NULL);
    CHECK_EQUAL(setenv("SHMQ_TEST", "x", 1), 0);
    CHECK(shmq_os_environment("SHMQ_TEST") != NULL);
    CHECK(shmq_os_environment("SHMQ_TEST_NOT_THERE") == NULL);
}

/* Arguments of a program that only tells, by its exit status, whether it trusts a variable. */
#define TRUSTING "does it trust its environment?"

static void trust_no_environment_with_more_rights(void)
{
    char *const plain[] = { "test_os", TRUSTING, NULL };
    char program[128];
    int from = open("/proc/self/exe", O_RDONLY | O_CLOEXEC), to, status;
    struct stat size;
    pid_t child;

    CHECK_EQUAL(mount("tmpfs", directory, "tmpfs", 0, "mode=755"), 0); /* where set-uid programs may be */
    snprintf(program, sizeof program, "%s/program", directory);
    to = open(program, O_WRONLY | O_CREAT | O_CLOEXEC, 0755);
    CHECK(to >= 0 && fstat(from, &size) == 0);
    for (off_t at = 0; at < size.st_size;)
        CHECK(sendfile(to, from, &at, (size_t)(size.st_size - at)) > 0);
    close(to);
    CHECK_EQUAL(setenv("SHMQ_TEST", "x", 1), 0);
    for (int more = 0; more < 2; more++) {
        if (more) {
            CHECK_EQUAL(chown(program, 1000001, 1000001), 0);
            CHECK_EQUAL(chmod(program, 04755), 0);
        }
        child = fork();
        CHECK(child >= 0);
        if (child == 0) {
            execv(program, plain);
            abort();
        }
        CHECK_EQUAL(waitpid(child, &status, 0), child);
        CHECK(WIFEXITED(status));
        CHECK_EQUAL(WEXITSTATUS(status), more ? 2 : 3);
    }
}

static void a_program_with_more_rights_than_its_caller_trusts_no_variable(void)
{
    with_mounts_of_its_own(trust_no_environment_with_more_rights);
}

/* ---- errors ---------------------------------------------------------------------------------------------- */

static void every_error_code_has_a_text(void)
{
    for (int code = SHMQ_ERROR_LOST; code <= SHMQ_ERROR_INVALID; code++)
        CHECK(strcmp(shmq_error_text(code), "no error"));
    CHECK(!strcmp(shmq_error_text(0), "no error"));
}

static void an_error_names_so_many_processes_and_no_more(void)
{
    struct shmq_error error;

    shmq_error_clear(&error);
    for (uint64_t pid = 1; pid <= SHMQ_ERROR_PIDS + 1; pid++)
        shmq_error_add_pid(&error, pid);
    CHECK_EQUAL(error.pid_count, SHMQ_ERROR_PIDS);
    CHECK_EQUAL(error.pids[SHMQ_ERROR_PIDS - 1], SHMQ_ERROR_PIDS);
}

int main(int argc, char **argv)
{
    static const struct check_test tests[] = {
        CHECK_TEST(every_descriptor_is_closed_on_exec),
        CHECK_TEST(a_symlink_is_not_opened_and_a_fifo_does_not_block),
        CHECK_TEST(a_rename_does_not_replace),
        CHECK_TEST(nothing_but_that_file_has_its_identity),
        CHECK_TEST(a_file_without_a_name_opens_again),
        CHECK_TEST(frequent_signals_do_not_keep_a_reservation_from_ending),
        CHECK_TEST(a_file_gets_its_name_when_all_is_done_to_it),
        CHECK_TEST(each_entry_of_a_directory_is_visited_once),
        CHECK_TEST(a_refused_call_returns_its_errno),
        CHECK_TEST(a_call_that_the_kernel_refuses_returns_its_errno),
        CHECK_TEST(only_a_tmpfs_is_one),
        CHECK_TEST(a_text_is_read_as_far_as_there_is_room),
        CHECK_TEST(a_byte_belongs_to_one_open_file_description),
        CHECK_TEST(a_mapping_holds_the_byte_until_it_is_dropped),
        CHECK_TEST(m4_a_forked_child_closes_the_probes_of_its_parent),
        CHECK_TEST(probes_end_in_any_order),
        CHECK_TEST(a_child_forked_in_the_middle_of_a_probe_ends_it_and_closes_nothing_else),
        CHECK_TEST(handlers_that_are_registered_twice_do_their_work_once),
        CHECK_TEST(a_child_without_handlers_starts_over_with_the_guard),
        CHECK_TEST(each_way_through_the_handlers_starts_over_once),
        CHECK_TEST(who_finds_another_thread_starting_over_waits_for_it),
        CHECK_TEST(who_cannot_have_forks_watched_is_told_and_tries_again),
        CHECK_TEST(a_sleep_ends_at_once_on_another_value_and_else_in_time),
        CHECK_TEST(a_signal_interrupts_a_sleep),
        CHECK_TEST(a_wake_reaches_another_process),
        CHECK_TEST(the_start_time_does_not_trip_over_the_name),
        CHECK_TEST_NEEDS(what_proc_does_not_tell_is_zero, emulated_stat),
        CHECK_TEST(a_process_is_in_its_own_group_and_in_all_that_it_was_put_in),
        CHECK_TEST(a_limit_is_told_and_none_is_the_largest_number),
        CHECK_TEST(an_empty_variable_is_none),
        CHECK_TEST_NEEDS(a_program_with_more_rights_than_its_caller_trusts_no_variable, emulated_kernel),
        CHECK_TEST(every_error_code_has_a_text),
        CHECK_TEST(an_error_names_so_many_processes_and_no_more),
    };

    if (argc > 1 && !strcmp(argv[1], TRUSTING))
        _exit(shmq_os_environment("SHMQ_TEST") ? 3 : 2); /* at once: a sanitizer would look at more than it may */
    return check_main(argc, argv, tests, sizeof tests / sizeof tests[0], around);
}
