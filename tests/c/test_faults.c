/* SPDX-License-Identifier: MIT */
/* Every system call fails, with every errno that it may, wherever an operation makes it.
 *
 * After each failure: the operation has gone well without it, or there is an error that says what failed and why;
 * nothing is left, neither a descriptor, a mapping, a thread nor a file; others use the region; and the operation goes
 * well as soon as the call does. A call that no operation made is a failure of the test.
 */
#include "fault_children.h"

static const struct operation operations[] = {
    { "create", op_directory, op_create, op_use_and_close, op_nothing, true, NULL },
    { "create within a limit", op_directory, op_create_within_a_limit, op_use_and_close, op_nothing, true, NULL },
    { "create to receive", op_directory, op_create_to_receive, op_use_and_close, op_nothing, true, NULL },
    { "create where locks are looked at", op_directory, op_create, op_use_and_close, op_nothing, true, "fstatfs" },
    { "create beside leftovers", op_leftovers, op_either, op_use_and_close, op_nothing, false, NULL },
    { "create beside a rival", op_begin_rival, op_either, op_use_and_close, op_end_rival, false, NULL },
    { "create in a group", op_group_directory, op_open_in_a_group, op_use_and_close, op_end_group_directory, false,
        NULL },
    { "create in place of a dead one", op_dead_alpha, op_either, op_use_and_close, op_nothing, false, NULL },
    { "attach", op_keep, op_attach, op_use_and_close, op_close_kept, false, NULL },
    { "attach to receive", op_keep, op_attach_to_receive, op_use_and_close, op_close_kept, false, NULL },
    { "attach in a dead one's place", op_keep_beside_the_dead, op_attach_as_the_dead, op_use_and_close, op_close_kept,
        false, NULL },
    { "list", op_live_and_leftovers, op_list, op_nothing, op_close_kept, false, NULL },
    { "unlink", op_keep, op_unlink, op_check_unlinked, op_close_unlinked, false, NULL },
    { "close", op_open_subject, op_close, op_nothing, op_nothing, false, NULL },
    { "close beside others", op_open_both, op_close, op_nothing, op_close_kept, false, NULL },
    { "close without descriptors", op_open_and_strip, op_close, op_nothing, op_nothing, false, NULL },
    { "recover", op_keep_beside_the_dead, op_recover, op_check_recovered, op_close_kept, false, NULL },
    { "look for a loss", op_keep, op_look, op_nothing, op_close_kept, false, NULL },
    { "make a queue", op_keep, op_make_queue, op_use_queue, op_close_kept, false, NULL },
    { "make a queue without descriptors", op_keep_and_strip, op_make_queue_without_descriptors,
        op_use_queue, op_close_kept, false, NULL },
    { "make an inbox", op_keep_without_inbox, op_need_inbox, op_nothing, op_close_both, false, NULL },
    { "sleep", op_keep_queue, op_sleep, op_nothing, op_close_kept, false, NULL },
    { "wake", op_keep_queue, op_wake, op_nothing, op_close_kept, false, NULL },
    { "spin", op_keep_queue, op_spin, op_nothing, op_close_kept, false, NULL },
    { "create without a name", op_nothing, op_create_anonymous, op_use_and_close, op_nothing, true, NULL },
    { "create without a name to receive", op_nothing, op_create_anonymous_to_receive, op_use_and_close, op_nothing,
        true, NULL },
    { "create as sole writer", op_nothing, op_create_sole_writer, op_use_and_close, op_nothing, true, NULL },
    { "attach to what was handed on", op_keep_anonymous, op_attach_handed, op_use_and_close, op_close_kept, false,
        NULL },
    { "attach to what was handed on to receive", op_keep_anonymous, op_attach_handed_to_receive, op_use_and_close,
        op_close_kept, false, NULL },
    { "hand on", op_keep_anonymous, op_hand, op_take_handed, op_close_kept, false, NULL },
    { "hand on to receive", op_keep_anonymous, op_hand_to_receive, op_take_handed, op_close_kept, false, NULL },
    { "fork and open", op_keep, op_fork, op_nothing, op_close_kept, false, NULL },
    { "fork and copy", op_keep, op_fork_copies, op_nothing, op_close_kept, false, NULL },
    { "watch forks", op_nothing, op_watch_forks, op_nothing, op_nothing, true, NULL },
    { "install the guard", op_nothing, op_guard_install, op_nothing, op_nothing, true, NULL },
    { "meet a loss", op_nothing, op_meet_a_loss, op_nothing, op_nothing, false, NULL },
    { "pass a signal on", op_nothing, op_pass_a_signal_on, op_nothing, op_nothing, true, NULL },
    { "make a page", op_nothing, op_make_wiped_page, op_unmap_page, op_nothing, true, NULL },
};

#define OPERATIONS (sizeof operations / sizeof operations[0])

/* ---- others ---------------------------------------------------------------------------------------------- */

/* A process that opens "alpha", uses and closes it as often as it is asked to. */
static pid_t visitor;
static int visitor_ask, visitor_answer;

static void visit_when_asked(int asked, int answer)
{
    char order;

    while (read(asked, &order, 1) == 1) {
        struct shmq_region region;

        world_open(&region, "alpha");
        op_use(&region);
        shmq_region_close(&region);
        CHECK_EQUAL(write(answer, "!", 1), 1);
    }
    _exit(0);
}

static void start_visitor(void)
{
    int down[2], up[2];

    CHECK_EQUAL(pipe2(down, O_CLOEXEC), 0);
    CHECK_EQUAL(pipe2(up, O_CLOEXEC), 0);
    fflush(NULL);
    visitor = fork();
    CHECK(visitor >= 0);
    if (visitor == 0) {
        close(down[1]);
        close(up[0]);
        faults = NULL;
        visit_when_asked(down[0], up[1]);
    }
    close(down[0]);
    close(up[1]);
    visitor_ask = down[1];
    visitor_answer = up[0];
}

static void end_visitor(void)
{
    close(visitor_ask);
    close(visitor_answer);
    CHECK_EQUAL(world_reap(visitor), 0);
}

/* In a region of the group's the files are not the visitor's to trust. */
static void be_visited(const struct operation *operation)
{
    char answer;

    if (operation->prepare == op_group_directory)
        return;
    CHECK_EQUAL(write(visitor_ask, "?", 1), 1);
    CHECK_EQUAL(read(visitor_answer, &answer, 1), 1);
}

/* ---- what an error may say ------------------------------------------------------------------------------- */

static bool one_of(int value, const int *values)
{
    for (; *values; values++)
        if (*values == value)
            return true;
    return false;
}

/* May a call that failed with `refusal` end in that error? */
static bool explains(const struct shmq_error *error, int refusal)
{
    static const int permission[] = { EACCES, EPERM, EROFS, 0 }, space[] = { ENOSPC, EDQUOT, ENOMEM, 0 };
    static const int security[] = { ELOOP, ENOTDIR, ENXIO, EISDIR, 0 }, gone[] = { ENOENT, EEXIST, ENOTEMPTY, 0 };
    static const int held[] = { EAGAIN, EACCES, 0 };
    bool is_gone;

    if (refusal == ESTALE)
        refusal = ENOENT;
    is_gone = one_of(refusal, gone) || faults_denied();
    if (!strcmp(faults->name, "seals") && refusal == EINVAL && error->code == SHMQ_ERROR_SECURITY)
        return true; /* it is said to be no memfd */
    if (!strcmp(faults->name, "lock") && one_of(refusal, held)) /* another process is said to hold the byte */
        return error->code == SHMQ_ERROR_REGISTRY_FULL || error->code == SHMQ_ERROR_GONE;
    if (faults_denied() && error->os_errno != refusal) /* what comes of that may fail, too */
        return error->os_errno == 0 || error->os_errno == ENOENT || error->os_errno == ENOTEMPTY
            || error->os_errno == EBADF;
    if (error->os_errno == 0) /* a fact of the region's, which a call has told by failing */
        return (error->code == SHMQ_ERROR_NOT_FOUND || error->code == SHMQ_ERROR_GONE) && is_gone;
    if (error->os_errno != refusal)
        return false;
    switch (error->code) {
    case SHMQ_ERROR_SYSTEM: return true;
    case SHMQ_ERROR_PERMISSION: return one_of(refusal, permission);
    case SHMQ_ERROR_SPACE: return one_of(refusal, space);
    case SHMQ_ERROR_SECURITY: return one_of(refusal, security);
    case SHMQ_ERROR_NOT_FOUND:
    case SHMQ_ERROR_GONE: return is_gone;
    default: return false;
    }
}

static void judge(int result, const struct shmq_error *error)
{
    bool no_files = !strcmp(faults->name, "getrandom") || !strcmp(faults->name, "atfork");
    bool placed = *error->path || no_files;
    bool good = result == error->code && error->what && *error->what && placed
        && strcmp(shmq_error_text(result), "no error") && explains(error, faults->refusal);

    if (!good)
        world_tell(error);
    CHECK(good);
}

/* ---- one failure ----------------------------------------------------------------------------------------- */

/* Who cannot tell what a descriptor denotes leaves it open, lest it be another file of the program's by now. */
static void close_what_was_left_open(void)
{
    int count;
    struct dirent **entries = leaks_entries("/proc/self/fd", &count);

    for (int i = 0; i < count; i++) {
        char path[300], target[300] = { 0 };

        snprintf(path, sizeof path, "/proc/self/fd/%s", entries[i]->d_name);
        if (readlink(path, target, sizeof target - 1) > 0
            && (strstr(target, world_directory) || strstr(target, "memfd:shmq-")))
            close(atoi(entries[i]->d_name));
        free(entries[i]);
    }
    free(entries);
}

static struct leaks leaks_at_rest, leaks_before, leaks_after;

static void check_leaks(const struct leaks *before, bool files)
{
    const char *found;

    leaks_look(&leaks_after);
    found = leaks_found(before, &leaks_after, files);
    if (found)
        fprintf(stderr, "%s", found);
    CHECK(!found);
}

/* Files that nobody could remove are left to the next to come. */
static bool files_may_be_left(void)
{
    return !strcmp(faults->name, "unlinkat") || (!strcmp(faults->name, "identify") && faults->lasting);
}

/* The operation failed: the error says why, nothing is left, others go on, and it goes well without the failure. True:
 * it has been done now. */
static bool check_failure(const struct operation *operation, int result, struct shmq_error *error)
{
    judge(result, error);
    if (strcmp(faults->name, "is"))
        check_leaks(&leaks_before, operation->alone && !files_may_be_left());
    be_visited(operation);
    faults->always = NULL;
    result = operation->act(error);
    if (result == SHMQ_ERROR_NOT_FOUND && faults_denied())
        return false; /* it has been removed, for no file could be found in it */
    if (result)
        world_tell(error);
    CHECK_EQUAL(result, SHMQ_OK);
    return true;
}

/* Nothing is left of anything. What could not be removed goes with the next to look. */
static void check_nothing_is_left(void)
{
    (void)world_list();
    (void)rmdir(world_directory);
    CHECK(!world_exists(world_directory));
    if (faults->name && !strcmp(faults->name, "is"))
        close_what_was_left_open();
    check_leaks(&leaks_at_rest, true);
}

static void end_operation(const struct operation *operation, bool done)
{
    if (done)
        operation->undo();
    world_unlinks = faults_denied();
    operation->tidy();
    world_unlinks = false;
    check_nothing_is_left();
}

/* Make the operation's at-th call fail. */
static void fail_at(const struct operation *operation, enum faults_mode mode, int at, int refusal)
{
    struct shmq_error error;
    int result;

    operation->prepare();
    leaks_look(&leaks_before);
    faults->always = operation->always;
    faults_refuse(mode, at, refusal);
    result = operation->act(&error);
    faults_stop();
    CHECK(faults->reached);
    if (result == SHMQ_OK)
        be_visited(operation);
    end_operation(operation, result == SHMQ_OK || check_failure(operation, result, &error));
}

/* ---- all failures of an operation ------------------------------------------------------------------------ */

static uint64_t fail_with_each_errno(const struct operation *operation, struct faults_call *call, int at)
{
    uint64_t failures = 0;

    for (int i = 0; i < FAULTS_ERRNOS && call->errnos[i]; i++) {
        for (int mode = FAULTS_ONCE; mode <= FAULTS_FROM_THERE_ON; mode++) {
            if (mode == FAULTS_FROM_THERE_ON && call->errnos[i] == EINTR)
                continue; /* which is tried again */
            snprintf(check_context, sizeof check_context, "%s: call %d, %s: %s, %s", operation->name, at, call->name,
                strerror(call->errnos[i]), mode == FAULTS_ONCE ? "once" : "from there on");
            fail_at(operation, (enum faults_mode)mode, at, call->errnos[i]);
            failures++;
        }
    }
    call->failed += failures;
    return failures;
}

/* Its calls, where none fails. Returns how many. */
static int trace_calls(const struct operation *operation)
{
    struct shmq_error error;
    int result;

    snprintf(check_context, sizeof check_context, "%s: without a failure", operation->name);
    operation->prepare();
    faults_trace(operation->always);
    result = operation->act(&error);
    faults_stop();
    if (result)
        world_tell(&error);
    CHECK_EQUAL(result, SHMQ_OK);
    end_operation(operation, true);
    return faults->traced;
}

static uint64_t fail_everywhere(const struct operation *operation)
{
    static const char *trace[FAULTS_TRACE];
    int calls = trace_calls(operation);
    uint64_t failures = 0;

    memcpy(trace, faults->trace, sizeof trace);
    for (int at = 1; at <= calls; at++)
        failures += fail_with_each_errno(operation, faults_find(trace[at - 1]), at);
    printf("\n    %s: %d calls, %llu failures", operation->name, calls, (unsigned long long)failures);
    fflush(stdout);
    return failures;
}

/* The first call that no operation has made, or NULL. */
static const char *never_failed(void)
{
    for (size_t i = 0; i < FAULTS_CALLS; i++)
        if (!faults_calls[i].failed && (geteuid() == 0 || !faults_calls[i].for_root))
            return faults_calls[i].name;
    return NULL;
}

static void start(void)
{
    start_visitor();
    leaks_look(&leaks_at_rest);
}

static void every_call_of_every_operation_fails_and_nothing_is_left_of_it(void)
{
    uint64_t failures = 0;

    start();
    for (size_t i = 0; i < OPERATIONS; i++)
        failures += fail_everywhere(&operations[i]);
    end_visitor();
    printf("\n    %llu failures in all ", (unsigned long long)failures);
    if (never_failed())
        fprintf(stderr, "%s: no operation makes that call\n", never_failed());
    CHECK(!never_failed());
}

/* ---- the test itself ------------------------------------------------------------------------------------- */

static int sabotage, left_memfd; /* the latter is open anyway, and not mapped */

/* An operation that does something wrong where its first call fails. */
static int do_wrong(struct shmq_error *error)
{
    int result = op_create(error);
    void *page;

    if (!faults->reached || result == SHMQ_OK)
        return result;
    switch (sabotage) {
    case 1: CHECK(dup(0) >= 0); break;
    case 2: CHECK_EQUAL(shmq_os_map(left_memfd, SHMQ_PAGE, PROT_READ, &page), 0); break;
    case 3: close(open(world_path("left"), O_CREAT | O_WRONLY, 0600)); break;
    case 4: error->os_errno++; break;
    case 5: error->what = NULL; break;
    case 6: error->code = result = SHMQ_ERROR_AGAIN; break;
    case 7: error->code = result = SHMQ_ERROR_SECURITY; break;
    case 8: memset(&subject, 0, sizeof subject); return SHMQ_OK; /* there is none to undo */
    case 9: op_leave_half_made("alpha"); break;
    default: break;
    }
    return result;
}

static void fail_at_the_first_call(void)
{
    const struct operation wrong = { "wrong", op_directory, do_wrong, op_use_and_close, op_nothing, true, NULL };

    if (sabotage)
        CHECK(freopen("/dev/null", "w", stderr) != NULL);
    fail_at(&wrong, FAULTS_ONCE, 1, EPERM);
}

/* Its status, or the signal that ended it. */
static int status_of(void (*body)(void))
{
    int status;
    pid_t pid;

    fflush(NULL);
    pid = fork();
    CHECK(pid >= 0);
    if (pid == 0) {
        left_memfd = shmq_os_memfd("shmq-left");
        CHECK_EQUAL(shmq_os_truncate(left_memfd, SHMQ_PAGE), 0);
        start();
        body();
        end_visitor();
        _exit(0);
    }
    CHECK_EQUAL(waitpid(pid, &status, 0), pid);
    return status;
}

static void an_operation_that_does_something_wrong_is_found_out(void)
{
    for (sabotage = 0; sabotage <= 9; sabotage++) {
        snprintf(check_context, sizeof check_context, "sabotage %d", sabotage);
        if (sabotage)
            CHECK(status_of(fail_at_the_first_call) != 0);
        else
            CHECK_EQUAL(status_of(fail_at_the_first_call), 0);
        (void)unlink(world_path("left"));
        (void)world_list();
        (void)rmdir(world_directory);
    }
    CHECK(never_failed() != NULL); /* nothing has been tried yet */
}

int main(int argc, char **argv)
{
    static const struct check_test tests[] = {
        CHECK_TEST(an_operation_that_does_something_wrong_is_found_out),
        CHECK_TEST(every_call_of_every_operation_fails_and_nothing_is_left_of_it),
    };

    faults_start();
    op_start_reports();
    return check_main(argc, argv, tests, sizeof tests / sizeof tests[0], world_around);
}
