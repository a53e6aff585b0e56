/* SPDX-License-Identifier: MIT */
/* The guard's functions, called one at a time: what a handler meets only at a moment that no fault can be timed for, or
 * what would end the process that tells of it. Then the look for a loss, where the kernel tells less than usual.
 *
 * Each test runs in a child of its own, because what a signal does is a property of the process.
 */
#include "region_world.h"

#include <linux/filter.h>
#include <linux/seccomp.h>
#include <sys/prctl.h>

static void (*body)(void);

static void run_alone(void) { CHECK_EQUAL(world_reap(world_fork(body)), 0); }

static void around(void (*run)(void))
{
    body = run;
    world_around(run_alone);
}

static struct shmq_region region;

/* The entry of a region's message memory, of 1 MiB, all of it 7. */
static struct shmq_guarded *open_guarded(void)
{
    CHECK_EQUAL(shmq_guard_install(), 0);
    world_open(&region, "alpha");
    memset(region.map.data, 7, WORLD_MIB);
    return shmq_guard_find(region.map.data);
}

static uint64_t address_of(const void *pointer) { return (uint64_t)(uintptr_t)pointer; }

static void cut(uint64_t size) { CHECK_EQUAL(truncate(world_path("alpha/data"), (off_t)size), 0); }

/* ---- the table ------------------------------------------------------------------------------------------- */

static void what_is_not_guarded_is_neither_lost_nor_told_of_and_is_unmapped_all_the_same(void)
{
    volatile int usable = 1;
    unsigned char pages[1];
    void *plain = mmap(NULL, SHMQ_PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

    CHECK(plain != MAP_FAILED);
    (void)open_guarded();
    shmq_guard_tell(plain, &usable);
    shmq_guard_declare_lost(plain);
    shmq_guard_renewed(plain);
    CHECK(!shmq_guard_lost(plain));
    CHECK(!shmq_guard_mend(address_of(plain)));
    CHECK_EQUAL(usable, 1);
    CHECK(!shmq_region_is_lost(&region)); /* nor is anything else */
    CHECK_EQUAL(mincore(plain, SHMQ_PAGE, pages), 0);
    shmq_guard_unmap(plain, SHMQ_PAGE);
    CHECK(mincore(plain, SHMQ_PAGE, pages) < 0 && errno == ENOMEM);
    shmq_region_close(&region);
}

/* ---- mending --------------------------------------------------------------------------------------------- */

static void what_somebody_does_not_let_go_of_is_not_mended(void)
{
    struct shmq_guarded *entry = open_guarded();

    cut(0);
    entry->busy = 1;
    CHECK(!shmq_guard_mend(address_of(region.map.data)));
    CHECK(!shmq_region_is_lost(&region));
    CHECK_EQUAL(entry->busy, 1); /* it is not ours to let go of */
    entry->busy = 0;
    CHECK(shmq_guard_mend(address_of(region.map.data)));
    CHECK_EQUAL(region.map.data[0], 0);
    shmq_region_close(&region);
}

static struct shmq_guarded *held;

/* As another thread's unmapping ends. */
static void unmap_and_let_go(void)
{
    held->end = 0;
    held->busy = 0;
}

static void what_was_unmapped_while_its_entry_was_waited_for_is_not_mended(void)
{
    uint64_t end;

    held = open_guarded();
    end = held->end;
    cut(0);
    held->busy = 1;
    world_run_at("nanosleep", 1, unmap_and_let_go);
    CHECK(!shmq_guard_mend(address_of(region.map.data)));
    CHECK(world_plan.reached);
    CHECK_EQUAL(held->lost, 0);
    CHECK_EQUAL(held->replaced, end); /* something else may lie there by now */
    CHECK_EQUAL(held->busy, 0);
    held->end = end;
    shmq_region_close(&region);
}

static void refuse(const char *call, int refusal)
{
    world_at(WORLD_REFUSE, call, 1);
    world_plan.refusal = refusal;
}

static void refuse_a_second_mapping(void) { refuse("map_over", ENOMEM); }

static void without_memory_for_zeros_nothing_is_mended_and_the_loss_is_noted(void)
{
    (void)open_guarded();
    cut(0);
    world_run_at("map_over", 1, refuse_a_second_mapping);
    world_plan.refusal = ENOMEM;
    CHECK(!shmq_guard_mend(address_of(region.map.data)));
    CHECK(world_plan.reached);
    CHECK(shmq_region_is_lost(&region));
    world_at(WORLD_NOTHING, NULL, 0);
    CHECK(shmq_guard_mend(address_of(region.map.data)));
    CHECK_EQUAL(region.map.data[WORLD_MIB - 1], 0);
    shmq_region_close(&region);
}

/* ---- signals that are not ours --------------------------------------------------------------------------- */

static int calls;

static void count_call(int number)
{
    CHECK_EQUAL(number, SIGBUS);
    calls++;
}

/* Pass on what was `code`, over who had the signal before; true: the signal does what it does by default now. */
static bool defaults_after(struct shmq_guard_level *level, int code)
{
    struct sigaction now;
    ucontext_t context;
    siginfo_t info;

    memset(&context, 0, sizeof context);
    memset(&info, 0, sizeof info);
    info.si_code = code;
    CHECK(signal(SIGBUS, count_call) != SIG_ERR);
    shmq_guard_pass_on(level, SIGBUS, &info, &context);
    CHECK_EQUAL(sigaction(SIGBUS, NULL, &now), 0);
    return now.sa_handler == SIG_DFL;
}

static void who_ignores_the_signal_does_not_ignore_a_fault(void)
{
    struct shmq_guard_level level;

    memset(&level, 0, sizeof level);
    level.previous.sa_handler = SIG_IGN;
    CHECK(!defaults_after(&level, SI_USER));
    CHECK(!defaults_after(&level, BUS_MCEERR_AO)); /* a page that is broken, and that nobody has touched */
    CHECK(defaults_after(&level, BUS_ADRERR));
    CHECK(defaults_after(&level, BUS_MCEERR_AR)); /* one that somebody has */
    CHECK_EQUAL(calls, 0);
}

static void a_handler_for_one_call_is_not_called_twice(void)
{
    struct shmq_guard_level level;

    memset(&level, 0, sizeof level);
    level.previous.sa_handler = count_call;
    level.previous.sa_flags = (int)SA_RESETHAND;
    CHECK(!defaults_after(&level, BUS_ADRERR));
    CHECK_EQUAL(calls, 1);
    CHECK(defaults_after(&level, BUS_ADRERR));
    CHECK_EQUAL(calls, 1);
}

static bool is_pending(void)
{
    sigset_t pending;

    CHECK_EQUAL(sigpending(&pending), 0);
    return sigismember(&pending, SIGBUS) == 1;
}

static void a_signal_that_was_sent_is_sent_again_and_a_fault_is_not(void)
{
    sigset_t set;

    sigemptyset(&set);
    sigaddset(&set, SIGBUS);
    CHECK_EQUAL(pthread_sigmask(SIG_BLOCK, &set, NULL), 0);
    shmq_guard_default(SIGBUS, true);
    CHECK(!is_pending());
    refuse("raise", EPERM);
    shmq_guard_default(SIGBUS, false);
    CHECK(world_plan.reached && !is_pending());
    world_at(WORLD_NOTHING, NULL, 0);
    shmq_guard_default(SIGBUS, false);
    CHECK(is_pending());
}

static void refuse_to_raise(void) { refuse("raise", EPERM); }

/* Whose handler cannot be changed is killed. Here that is refused, too, or nobody could tell. */
static void where_the_handler_stays_the_process_is_killed(void)
{
    struct sigaction now;

    CHECK(signal(SIGBUS, count_call) != SIG_ERR);
    world_run_at("sigaction", 1, refuse_to_raise);
    world_plan.refusal = EINVAL;
    shmq_guard_default(SIGBUS, true);
    CHECK(world_plan.reached && !strcmp(world_plan.call, "raise"));
    CHECK_EQUAL(sigaction(SIGBUS, NULL, &now), 0);
    CHECK(now.sa_handler == count_call);
    refuse_to_raise();
    shmq_guard_default(SIGKILL, true); /* of which the kernel says so itself */
    CHECK(world_plan.reached);
}

/* From now on the kernel refuses this process to ask for a signal's handler, or else to change it. */
static void forbid(bool asking)
{
    struct sock_filter lines[] = {
        BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)),
        BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_rt_sigaction, 0, 3),
        BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, args[1])), /* the handler to come, or NULL */
        BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, 0, asking ? 0 : 1, asking ? 1 : 0),
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | EPERM),
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
    };
    struct sock_fprog filter = { sizeof lines / sizeof lines[0], lines };

    CHECK_EQUAL(prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0), 0);
    CHECK_EQUAL(prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &filter), 0);
}

static void install_without_asking(void)
{
    forbid(true);
    CHECK_EQUAL(shmq_guard_install(), -EPERM);
}

static void install_without_changing(void)
{
    struct sigaction now;

    forbid(false);
    CHECK_EQUAL(shmq_guard_install(), -EPERM);
    CHECK_EQUAL(sigaction(SIGBUS, NULL, &now), 0);
    CHECK(!shmq_guard_is_ours(&now));
}

static void where_a_sandbox_keeps_the_signal_from_us_its_errno_comes_back(void)
{
    CHECK_EQUAL(world_reap(world_fork(install_without_asking)), 0);
    CHECK_EQUAL(world_reap(world_fork(install_without_changing)), 0);
}

/* ---- looking for a loss ---------------------------------------------------------------------------------- */

static void only_on_a_tmpfs_less_memory_than_before_is_a_loss(void)
{
    struct shmq_error error;

    (void)open_guarded();
    CHECK_EQUAL(fallocate(region.files.data, FALLOC_FL_KEEP_SIZE | FALLOC_FL_PUNCH_HOLE, 0, SHMQ_PAGE), 0);
    refuse("fstatfs", ENOSYS);
    CHECK_EQUAL(shmq_region_look(&region, &error), SHMQ_OK);
    CHECK(world_plan.reached);
    world_at(WORLD_NOTHING, NULL, 0);
    CHECK_EQUAL(shmq_region_look(&region, &error), SHMQ_ERROR_LOST);
    CHECK(!strcmp(error.what, "memory"));
    shmq_region_close(&region);
}

/* Its descriptor is closed, or another file's. */
static void a_look_at_what_the_program_closed_goes_by_what_accesses_have_met(void)
{
    for (int other = 0; other < 2; other++) {
        struct shmq_error error;

        (void)open_guarded();
        if (other)
            CHECK_EQUAL(dup2(region.files.dir, region.files.data), region.files.data);
        else
            CHECK_EQUAL(close(region.files.data), 0);
        cut(0);
        CHECK_EQUAL(shmq_region_look(&region, &error), SHMQ_OK);
        CHECK_EQUAL(*(volatile unsigned char *)region.map.data, 0);
        CHECK_EQUAL(shmq_region_look(&region, &error), SHMQ_ERROR_LOST);
        CHECK(!strcmp(error.what, "pages"));
        if (other)
            CHECK_EQUAL(close(region.files.data), 0);
        shmq_region_close(&region);
    }
}

int main(int argc, char **argv)
{
    static const struct check_test tests[] = {
        CHECK_TEST(what_is_not_guarded_is_neither_lost_nor_told_of_and_is_unmapped_all_the_same),
        CHECK_TEST(what_somebody_does_not_let_go_of_is_not_mended),
        CHECK_TEST(what_was_unmapped_while_its_entry_was_waited_for_is_not_mended),
        CHECK_TEST(without_memory_for_zeros_nothing_is_mended_and_the_loss_is_noted),
        CHECK_TEST(who_ignores_the_signal_does_not_ignore_a_fault),
        CHECK_TEST(a_handler_for_one_call_is_not_called_twice),
        CHECK_TEST_NEEDS(a_signal_that_was_sent_is_sent_again_and_a_fault_is_not, emulated_pending),
        CHECK_TEST(where_the_handler_stays_the_process_is_killed),
        CHECK_TEST_NEEDS(where_a_sandbox_keeps_the_signal_from_us_its_errno_comes_back, emulated_kernel),
        CHECK_TEST(only_on_a_tmpfs_less_memory_than_before_is_a_loss),
        CHECK_TEST(a_look_at_what_the_program_closed_goes_by_what_accesses_have_met),
    };

    return check_main(argc, argv, tests, sizeof tests / sizeof tests[0], around);
}
