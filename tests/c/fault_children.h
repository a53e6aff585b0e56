/* SPDX-License-Identifier: MIT */
/* More operations whose system calls are made to fail: of regions without a name, of forked children, of the guard.
 *
 * What happens in a child it tells through memory that it shares with its parent; it ends well or by SIGBUS.
 */
#ifndef FAULT_CHILDREN_H
#define FAULT_CHILDREN_H

#include "fault_operations.h"
#include "leaks.h"

/* What a child has come to. */
struct op_report {
    int result;
    bool told;              /* else it did not get so far */
    struct shmq_error error;
};

static struct op_report *op_report;

static inline void op_start_reports(void)
{
    op_report = (struct op_report *)mmap(NULL, sizeof *op_report, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS,
        -1, 0);
    CHECK(op_report != MAP_FAILED);
}

/* Run `body` in a child. Returns the signal that ended it, or 0. */
static int op_in_child(void (*body)(void))
{
    int status;
    pid_t pid;

    memset(op_report, 0, sizeof *op_report);
    fflush(NULL);
    pid = fork();
    CHECK(pid >= 0);
    if (pid == 0) {
        body();
        _exit(0);
    }
    CHECK_EQUAL(waitpid(pid, &status, 0), pid);
    if (WIFSIGNALED(status))
        return WTERMSIG(status);
    CHECK_EQUAL(WEXITSTATUS(status), 0);
    return 0;
}

static void op_tell(int result, const struct shmq_error *error)
{
    op_report->result = result;
    op_report->error = *error;
    op_report->told = true;
}

/* ---- regions without a name ------------------------------------------------------------------------------ */

static int op_create_anonymous_as(bool receive_only, bool sole_writer, struct shmq_error *error)
{
    struct shmq_region_options options = world_options(NULL, SHMQ_REGION_CREATE);

    options.receive_only = receive_only;
    options.sole_writer = sole_writer;
    return shmq_region_create_anonymous(&subject, &options, error);
}

static int op_create_anonymous(struct shmq_error *error) { return op_create_anonymous_as(false, false, error); }
static int op_create_anonymous_to_receive(struct shmq_error *error)
{
    return op_create_anonymous_as(true, false, error);
}

static int op_create_sole_writer(struct shmq_error *error) { return op_create_anonymous_as(false, true, error); }

static void op_keep_anonymous(void)
{
    struct shmq_region_options options = world_options(NULL, SHMQ_REGION_CREATE);
    struct shmq_error error;

    CHECK_EQUAL(shmq_region_create_anonymous(&kept, &options, &error), SHMQ_OK);
    CHECK_EQUAL(shmq_region_hand(&kept, false, handed, &error), SHMQ_OK);
}

static int op_attach_handed_as(bool receive_only, struct shmq_error *error)
{
    struct shmq_region_options options = world_options(NULL, SHMQ_REGION_ATTACH);

    options.receive_only = receive_only;
    return shmq_region_attach_handed(&subject, handed, &options, error);
}

static int op_attach_handed(struct shmq_error *error) { return op_attach_handed_as(false, error); }
static int op_attach_handed_to_receive(struct shmq_error *error) { return op_attach_handed_as(true, error); }

static int op_hand(struct shmq_error *error) { return shmq_region_hand(&kept, false, handed, error); }
static int op_hand_to_receive(struct shmq_error *error) { return shmq_region_hand(&kept, true, handed, error); }

/* Who is handed the descriptors can use them; those for reading are the region's own to close. */
static void op_take_handed(void)
{
    struct shmq_region_options options = world_options(NULL, SHMQ_REGION_ATTACH);
    struct shmq_error error;

    CHECK_EQUAL(shmq_region_attach_handed(&subject, handed, &options, &error), SHMQ_OK);
    op_use_and_close();
    shmq_files_close_one(&kept.files.data_read, &kept.files.data_identity);
}

/* ---- forked children ------------------------------------------------------------------------------------- */

/* The child's copies, which it can do without; a region opened anew, which it must be told of. */
static void op_be_a_child(void)
{
    struct shmq_error error;
    int result = op_either(&error);

    faults_stop();
    op_tell(result, &error);
    if (result == SHMQ_OK)
        op_use_and_close();
    shmq_region_close(&kept); /* the parent's */
}

static int op_fork(struct shmq_error *error)
{
    CHECK_EQUAL(op_in_child(op_be_a_child), 0);
    CHECK(op_report->told);
    *error = op_report->error;
    return op_report->result;
}

/* The child has no shared mapping, whatever it was refused. */
static void op_look_for_shared_mappings(void)
{
    CHECK_EQUAL(leaks_count_lines("/proc/self/maps", " rw-s"), 2); /* the plan of faults, and the report */
    _exit(0);
}

static int op_fork_copies(struct shmq_error *error)
{
    shmq_error_clear(error);
    CHECK_EQUAL(op_in_child(op_look_for_shared_mappings), 0);
    return SHMQ_OK;
}

static void op_watch_forks_for_the_first_time(void)
{
    struct shmq_error error;

    shmq_lock_guard()->watching = 0; /* as it is before: this child does not fork */
    shmq_error_clear(&error);
    op_tell(shmq_fork_prepare(&error), &error);
}

static int op_watch_forks(struct shmq_error *error)
{
    CHECK_EQUAL(op_in_child(op_watch_forks_for_the_first_time), 0);
    *error = op_report->error;
    return op_report->result;
}

/* ---- the guard ------------------------------------------------------------------------------------------- */

/* An errno is all that there is to tell. */
static int op_guard_install(struct shmq_error *error)
{
    int result;

    CHECK(signal(SIGBUS, SIG_DFL) != SIG_ERR);
    result = shmq_guard_install();
    shmq_error_clear(error);
    if (result) {
        CHECK(faults->reached);
        CHECK_EQUAL(result, -faults->refusal);
        shmq_error_set_os(error, "sigaction", result);
        snprintf(error->path, sizeof error->path, "-");
    }
    return error->code;
}

/* Read what was cut off: zeros, while there is memory for them. */
static void op_read_what_was_cut(void)
{
    enum faults_mode mode = faults->mode;

    faults_stop();
    CHECK_EQUAL(shmq_guard_install(), 0);
    op_open_subject();
    CHECK_EQUAL(truncate(world_path("alpha/data"), OPERATIONS_CUT), 0);
    faults->mode = mode;
    CHECK_EQUAL(*(volatile unsigned char *)(subject.map.data + 2 * OPERATIONS_CUT), 0);
    faults_stop();
    CHECK(shmq_guard_lost(subject.map.data));
    shmq_region_close(&subject);
}

/* Without memory even for one mapping over all of it, the signal does what it does without a guard. */
static int op_meet_a_loss(struct shmq_error *error)
{
    enum faults_mode mode = faults->mode;
    int signal = op_in_child(op_read_what_was_cut);

    faults->mode = mode;
    shmq_error_clear(error);
    if (signal) {
        CHECK_EQUAL(signal, SIGBUS);
        CHECK(mode == FAULTS_FROM_THERE_ON && !strcmp(faults->name, "map_over"));
    }
    return SHMQ_OK;
}

static void op_be_sent_a_signal(void)
{
    enum faults_mode mode = faults->mode;

    faults_stop();
    CHECK_EQUAL(shmq_guard_install(), 0);
    faults->mode = mode;
    CHECK_EQUAL(kill(getpid(), SIGBUS), 0);
}

/* A signal that was sent ends who does not handle it, somehow. Where it cannot be sent again it is lost. */
static int op_pass_a_signal_on(struct shmq_error *error)
{
    int expected = SIGBUS, signal = op_in_child(op_be_sent_a_signal);

    shmq_error_clear(error);
    if (faults->reached)
        expected = strcmp(faults->name, "raise") ? SIGKILL : 0;
    CHECK_EQUAL(signal, expected);
    return SHMQ_OK;
}

/* What an attachment's standing lies in. */
static void *op_page;

static int op_make_wiped_page(struct shmq_error *error)
{
    int result = shmq_os_wiped_page(&op_page);

    shmq_error_clear(error);
    if (result) {
        CHECK(op_page == NULL);
        shmq_error_set_os(error, "mmap", result);
        snprintf(error->path, sizeof error->path, "-");
    }
    return error->code;
}

static void op_unmap_page(void) { shmq_os_unmap(op_page, SHMQ_PAGE); }

#endif
