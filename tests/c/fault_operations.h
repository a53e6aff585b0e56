/* SPDX-License-Identifier: MIT */
/* The operations whose system calls are made to fail, each with what must be there before and what undoes it.
 *
 * A process that died is one that lets go of its files and its lock, and writes nothing: the kernel does no more.
 */
#ifndef FAULT_OPERATIONS_H
#define FAULT_OPERATIONS_H

#include "faults.h"

#include <grp.h>

#include "shmq/anonymous.h"
#include "shmq/await.h"
#include "shmq/channel.h"

#define OPERATIONS_CUT 8192 /* bytes left of a data file that is cut */
#define OPERATIONS_TEAM 54321

/* `act` returns SHMQ_OK or an error code with *error; where it went well, `undo` undoes it. `tidy` undoes `prepare`. */
struct operation {
    const char *name;
    void (*prepare)(void);
    int (*act)(struct shmq_error *error);
    void (*undo)(void);
    void (*tidy)(void);
    bool alone;             /* nothing lies in the directory before, nor after a failure */
    const char *always;     /* a call that is refused all the time, to get where another is made; or NULL */
};

static struct shmq_region subject;  /* what the operation opens, or closes */
static struct shmq_region kept;     /* another attachment to the same region */
static int handed[SHMQ_HANDED_FILES];

static void op_nothing(void) { }

/* Which stays: somebody has named it. */
static void op_directory(void) { CHECK_EQUAL(mkdir(world_directory, 0700), 0); }

/* ---- messages -------------------------------------------------------------------------------------------- */

static int op_open_queue(struct shmq_region *region, const char *name, uint32_t depth, struct shmq_queue_ref *ref)
{
    struct shmq_queue_spec spec;

    memset(&spec, 0, sizeof spec);
    spec.kind = SHMQ_KIND_WORK;
    spec.policy = SHMQ_POLICY_BLOCK;
    spec.depth = depth;
    spec.name = name;
    return shmq_queue_open(&region->self, &spec, true, ref);
}

static void op_send(struct shmq_region *region, const struct shmq_queue_ref *ref, uint32_t number)
{
    struct shmq_parcel parcel = { sizeof number, number };
    struct shmq_hold loan;

    CHECK_EQUAL(shmq_loan(&region->self, sizeof number, &loan), SHMQ_OK);
    memcpy(shmq_payload(&region->map, loan.block), &number, sizeof number);
    CHECK_EQUAL(shmq_send(&region->self, ref, &loan, &parcel), SHMQ_OK);
}

static void op_receive(struct shmq_region *region, const struct shmq_queue_ref *ref, uint32_t number)
{
    struct shmq_message message;

    CHECK_EQUAL(shmq_receive(&region->self, ref, &message), SHMQ_OK);
    CHECK_EQUAL(message.label, number);
    CHECK(!memcmp(shmq_payload(&region->map, message.hold.block), &number, sizeof number));
    CHECK_EQUAL(shmq_release(&region->self, &message.hold), SHMQ_OK);
}

/* All that a region is for. Who only receives looks at it. */
static void op_use(struct shmq_region *region)
{
    struct shmq_queue_ref ref;

    world_verify(region);
    if (region->receive_only)
        return;
    CHECK_EQUAL(op_open_queue(region, "q", 4, &ref), SHMQ_OK);
    op_send(region, &ref, 7);
    op_receive(region, &ref, 7);
}

static void op_use_and_close(void)
{
    op_use(&subject);
    shmq_region_close(&subject);
}

static void op_close_kept(void)
{
    op_use(&kept);
    shmq_region_close(&kept);
}

/* ---- what lies there before ------------------------------------------------------------------------------ */

static void op_keep(void) { world_open(&kept, "alpha"); }

/* A region whose only process died, of which the kernel has kept the files. */
static void op_leave_dead(const char *name)
{
    struct shmq_region dead;

    world_open(&dead, name);
    shmq_region_forget(&dead);
}

static void op_dead_alpha(void) { op_leave_dead("alpha"); }

/* As a maker leaves it that dies before the region has its name. */
static void op_leave_half_made(const char *name)
{
    struct shmq_directory directory;
    struct shmq_making making;
    struct shmq_error error;
    void *page = NULL;

    CHECK_EQUAL(shmq_directory_open(&directory, NULL, false, true, &error), SHMQ_OK);
    CHECK_EQUAL(shmq_making_begin(&making, &directory, 0600, name, &error), SHMQ_OK);
    CHECK_EQUAL(shmq_making_hold(&making, &page, &error), SHMQ_OK);
    shmq_lock_drop(&page);
    shmq_os_close(making.dir);
    shmq_directory_close(&directory);
}

static void op_leftovers(void)
{
    op_leave_dead("beta");
    op_leave_half_made("gamma");
}

static void op_live_and_leftovers(void)
{
    op_keep();
    op_leftovers();
}

/* Slot 0 is dead, and has the process name that the next one asks for; slot 1 lives. */
static void op_keep_beside_the_dead(void)
{
    struct shmq_region_options options = world_options("alpha", SHMQ_REGION_EITHER);
    struct shmq_region dead;

    options.process = "worker";
    world_open_with(&dead, &options);
    op_keep();
    shmq_region_forget(&dead);
}

/* ---- open ------------------------------------------------------------------------------------------------ */

static int op_open(enum shmq_region_how how, bool receive_only, const char *process, struct shmq_error *error)
{
    struct shmq_region_options options = world_options("alpha", how);

    options.receive_only = receive_only;
    options.process = process;
    options.prefault = receive_only; /* now and then: it takes longer than all the rest */
    return shmq_region_open(&subject, &options, error);
}

static int op_create(struct shmq_error *error) { return op_open(SHMQ_REGION_CREATE, false, NULL, error); }
static int op_create_to_receive(struct shmq_error *error) { return op_open(SHMQ_REGION_CREATE, true, NULL, error); }
static int op_either(struct shmq_error *error) { return op_open(SHMQ_REGION_EITHER, false, NULL, error); }
static int op_attach(struct shmq_error *error) { return op_open(SHMQ_REGION_ATTACH, false, NULL, error); }
static int op_attach_to_receive(struct shmq_error *error) { return op_open(SHMQ_REGION_ATTACH, true, NULL, error); }
static int op_attach_as_the_dead(struct shmq_error *error)
{
    return op_open(SHMQ_REGION_ATTACH, false, "worker", error);
}

/* With a limit on address space, which is then compared with what is in use. */
static int op_create_within_a_limit(struct shmq_error *error)
{
    const struct rlimit none = { RLIM_INFINITY, RLIM_INFINITY }, limit = { 1ull << 46, RLIM_INFINITY };
    int result;

    CHECK_EQUAL(setrlimit(RLIMIT_AS, &limit), 0);
    result = op_create(error);
    CHECK_EQUAL(setrlimit(RLIMIT_AS, &none), 0);
    return result;
}

/* The directory belongs to somebody else where only root can arrange that, and lets our group in. */
static void op_group_directory(void)
{
    const gid_t team = OPERATIONS_TEAM;

    CHECK_EQUAL(mkdir(world_directory, 0700), 0);
    if (geteuid() == 0) {
        CHECK_EQUAL(setgroups(1, &team), 0);
        CHECK_EQUAL(chown(world_directory, OPERATIONS_TEAM, team), 0);
    }
    CHECK_EQUAL(chmod(world_directory, 02770), 0);
}

static int op_open_in_a_group(struct shmq_error *error)
{
    struct shmq_region_options options = world_options("alpha", SHMQ_REGION_EITHER);

    options.directory = world_directory;
    options.mode = 0660;
    return shmq_region_open(&subject, &options, error);
}

/* The directory as it was before; the harness looks whether it is empty. */
static void op_end_group_directory(void)
{
    if (geteuid() == 0) {
        CHECK_EQUAL(setgroups(0, NULL), 0);
        CHECK_EQUAL(chown(world_directory, 0, 0), 0);
    }
    CHECK_EQUAL(chmod(world_directory, 0700), 0);
}

/* A maker of the same region that began earlier and does not go on. */
static struct shmq_making op_rival;
static struct shmq_directory op_rival_directory;
static void *op_rival_page;

static void op_begin_rival(void)
{
    struct shmq_error error;

    CHECK_EQUAL(shmq_directory_open(&op_rival_directory, NULL, false, true, &error), SHMQ_OK);
    CHECK_EQUAL(shmq_making_begin(&op_rival, &op_rival_directory, 0600, "alpha", &error), SHMQ_OK);
    CHECK_EQUAL(shmq_making_hold(&op_rival, &op_rival_page, &error), SHMQ_OK);
}

static void op_end_rival(void)
{
    shmq_making_abandon(&op_rival);
    shmq_lock_drop(&op_rival_page);
    shmq_os_close(op_rival.dir);
    shmq_directory_close(&op_rival_directory);
}

/* ---- list, unlink, close --------------------------------------------------------------------------------- */

static int op_listed;
static struct shmq_error op_listed_error;

static void op_note(void *context, const struct shmq_region_info *info)
{
    (void)context;
    CHECK(!strcmp(info->name, "alpha") || info->error.code);
    op_listed += !strcmp(info->name, "alpha");
    if (info->error.code)
        op_listed_error = info->error;
}

/* A region of which no more than its name could be told is an error here. */
static int op_list(struct shmq_error *error)
{
    int result;

    op_listed = 0;
    memset(&op_listed_error, 0, sizeof op_listed_error);
    result = shmq_region_list(NULL, op_note, NULL, error);
    if (result == SHMQ_OK) {
        CHECK(op_listed == 1 || (op_listed == 0 && faults_denied()));
        *error = op_listed_error;
    }
    return result ? result : error->code;
}

static int op_unlink(struct shmq_error *error) { return shmq_region_unlink("alpha", NULL, true, error); }

static void op_check_unlinked(void) { CHECK(!world_exists(world_path("alpha")) || faults_denied()); }

static void op_close_unlinked(void)
{
    world_unlinks = true;
    op_close_kept();
    world_unlinks = false;
}

static void op_open_subject(void) { world_open(&subject, "alpha"); }

static void op_open_both(void)
{
    op_keep();
    op_open_subject();
}

/* The program closed the descriptors. */
static void op_open_and_strip(void)
{
    op_open_subject();
    close(subject.files.dir);
    close(subject.files.admin);
    close(subject.files.lock);
}

static int op_close(struct shmq_error *error)
{
    if (!subject.map.admin)
        op_open_subject(); /* it has been closed before: with a failure a close goes on */
    shmq_region_close(&subject);
    shmq_error_clear(error);
    return SHMQ_OK;
}

static int op_recover(struct shmq_error *error)
{
    int result = shmq_region_recover(&kept, error);

    return result < 0 ? result : SHMQ_OK;
}

static void op_check_recovered(void)
{
    struct shmq_error error;

    (void)shmq_region_recover(&kept, &error); /* where the byte looked held, the dead looked alive */
    CHECK_EQUAL(shmq_process_count(&kept.map), 1);
}

static int op_look(struct shmq_error *error) { return shmq_region_look(&kept, error); }

/* ---- memory for a queue's slots -------------------------------------------------------------------------- */

static struct shmq_queue_ref op_queue;

static int op_make_queue(struct shmq_error *error)
{
    int result = op_open_queue(&kept, "deep", SHMQ_MAX_DEPTH, &op_queue);

    if (result == SHMQ_OK)
        return SHMQ_OK;
    CHECK_EQUAL(result, SHMQ_NO_SPACE);
    shmq_region_refusal(&kept, error);
    return error->code;
}

static void op_use_queue(void)
{
    op_send(&kept, &op_queue, 3);
    op_receive(&kept, &op_queue, 3);
}

/* The program closes descriptors of the region's. */
static void op_strip(void)
{
    shmq_files_close_one(&kept.files.dir, &kept.files.dir_identity);
    shmq_files_close_one(&kept.files.admin, &kept.files.admin_identity);
}

static void op_keep_and_strip(void)
{
    op_keep();
    op_strip();
}

/* What was opened again meanwhile may stay open. */
static int op_make_queue_without_descriptors(struct shmq_error *error)
{
    int result = op_make_queue(error);

    if (result) {
        faults_stop();
        op_strip();
    }
    return result;
}

/* When the region was opened there was no memory for its inbox. */
static void op_keep_without_inbox(void)
{
    world_open(&subject, "alpha");
    faults->always = "fallocate";
    faults_refuse(FAULTS_ONCE, FAULTS_TRACE, 0);
    op_keep();
    faults_stop();
    faults->always = NULL;
    CHECK(kept.inbox.queue == NULL);
}

static int op_need_inbox(struct shmq_error *error)
{
    int result = shmq_region_need_inbox(&kept, error);

    if (result == SHMQ_OK)
        CHECK(kept.inbox.queue != NULL);
    return result;
}

static void op_close_both(void)
{
    op_use_and_close();
    op_close_kept();
}

/* ---- sleep and wake -------------------------------------------------------------------------------------- */

static void op_keep_queue(void)
{
    op_keep();
    CHECK_EQUAL(op_open_queue(&kept, "q", 4, &op_queue), SHMQ_OK);
}

/* What the kernel refuses looks like a sleep that has ended; then there is still nothing to receive. */
static int op_sleep(struct shmq_error *error)
{
    int expected = SHMQ_TIMEOUT, result = shmq_await_sleep(&kept.map, &op_queue, true, 1000);

    shmq_error_clear(error);
    if (faults->reached)
        expected = faults->refusal == EAGAIN ? SHMQ_OK : faults->refusal == EINTR ? SHMQ_INTERRUPTED : SHMQ_TIMEOUT;
    CHECK_EQUAL(result, expected);
    shmq_await_leave(&kept.map, &op_queue, true);
    return SHMQ_OK;
}

/* Somebody has announced that he sleeps. */
static int op_wake(struct shmq_error *error)
{
    shmq_error_clear(error);
    (void)shmq_wait_announce(shmq_receivers(op_queue.queue));
    op_send(&kept, &op_queue, 5);
    op_receive(&kept, &op_queue, 5);
    return SHMQ_OK;
}

static int op_spin(struct shmq_error *error)
{
    struct shmq_spin spin;

    shmq_error_clear(error);
    shmq_spin_init(&spin);
    spin.alone_ns = 0;
    CHECK(!shmq_await_spin(&kept.map, &op_queue, true, 1000, &spin));
    return SHMQ_OK;
}

#endif
