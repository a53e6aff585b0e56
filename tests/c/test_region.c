/* SPDX-License-Identifier: MIT */
/* Regions, one situation at a time: create, attach, close, end, unlink, list.
 *
 * The tags [H1] … of the design stand at the front of the tests that hold them. Races are made, not hoped for: a
 * process is stopped at a point (region_world.h), others go on, it continues.
 */
#include "region_world.h"

/* ---- create, attach, close ------------------------------------------------------------------------------- */

static void creating_and_closing_leaves_nothing(void)
{
    struct shmq_region region;

    world_open(&region, "alpha");
    world_verify(&region);
    CHECK(world_exists(world_path("alpha/admin")));
    CHECK(world_exists(world_path("alpha/data")));
    CHECK(world_exists(world_path("alpha/lock")));
    shmq_region_close(&region);
    CHECK(!world_exists(world_path("alpha")));
    shmq_region_close(&region); /* closing twice is closing once */
}

static void list_quietly(void) { (void)world_list(); }

static void the_second_to_open_attaches_to_the_region_of_the_first(void)
{
    struct shmq_region_options options = world_options("alpha", SHMQ_REGION_ATTACH);
    struct shmq_region first, second;

    world_open(&first, "alpha");
    memcpy(first.map.data, "hello", 6);
    world_open_with(&second, &options);
    world_verify(&second);
    CHECK_EQUAL(second.id, first.id);
    CHECK_EQUAL(second.self.slot, 1);
    CHECK(!strcmp((char *)second.map.data, "hello"));
    CHECK(second.map.data != first.map.data);
    CHECK_EQUAL(shmq_process_count(&first.map), 2);
    shmq_region_close(&first);
    world_verify(&second);
    world_open(&first, "alpha"); /* the freed slot again, with the next epoch */
    CHECK_EQUAL(first.self.slot, 0);
    CHECK_EQUAL(first.self.epoch, 1);
    shmq_region_close(&second);
    shmq_region_close(&first);
}

static void another_process_sees_what_this_one_wrote(void)
{
    struct shmq_region_options options = world_options("alpha", SHMQ_REGION_ATTACH);
    struct world_holder holder;
    struct shmq_region region;
    struct shmq_process_info info;

    options.process = "tester";
    world_open(&region, "alpha");
    world_hold(&holder, &options);
    shmq_process_info(&region.map, 1, &info);
    CHECK_EQUAL(info.state, SHMQ_PROCESS_LIVE);
    CHECK_EQUAL(info.pid, holder.pid);
    CHECK(info.start_time != 0);
    CHECK(!strcmp(info.name, "tester"));
    world_holder_end(&holder, false);
    shmq_process_info(&region.map, 1, &info);
    CHECK_EQUAL(info.state, SHMQ_PROCESS_FREE);
    shmq_region_close(&region);
}

static void a_process_name_belongs_to_one_process_until_it_leaves_or_dies(void)
{
    struct shmq_region_options options = world_options("alpha", SHMQ_REGION_ATTACH);
    struct world_holder holder;
    struct shmq_region region, other;
    struct shmq_queue_ref inbox;
    struct shmq_error error;

    options.process = "tester";
    world_open(&region, "alpha");
    for (int killed = 0; killed < 2; killed++) {
        world_hold(&holder, &options);
        CHECK_EQUAL(shmq_region_open(&other, &options, &error), SHMQ_ERROR_PROCESS_NAME);
        CHECK_EQUAL(error.pid_count, 1);
        CHECK_EQUAL(error.pids[0], holder.pid);
        CHECK_EQUAL(shmq_queue_find_inbox(&region.map, "tester", &inbox), SHMQ_OK);
        CHECK_EQUAL(inbox.qid, 1);
        world_holder_end(&holder, killed);
        world_open_with(&other, &options); /* who finds the name taken looks whether its owner is dead */
        shmq_region_close(&other);
        CHECK_EQUAL(shmq_queue_find_inbox(&region.map, "tester", &inbox), SHMQ_NOT_FOUND);
    }
    shmq_region_close(&region);
}

static void without_a_name_each_attach_gets_one_of_its_own(void)
{
    struct shmq_region regions[4];
    char name[64];

    for (uint32_t i = 0; i < 4; i++) {
        struct shmq_process_info info;

        world_open(&regions[i], "alpha");
        shmq_process_info(&regions[i].map, i, &info);
        snprintf(name, sizeof name, i ? "pid-%d-%u" : "pid-%d", (int)getpid(), i);
        CHECK(!strcmp(info.name, name));
    }
    for (uint32_t i = 0; i < 4; i++)
        shmq_region_close(&regions[i]);
}

/* As where there was no memory for it when the region was opened. */
static void lose_inbox(struct shmq_region *region)
{
    CHECK_EQUAL(shmq_queue_close(&region->self, &region->inbox), SHMQ_OK);
    shmq_queue_finish_close(&region->self, &region->inbox);
    region->inbox.queue = NULL;
}

static void refuse_inbox_twice(struct shmq_region *region)
{
    for (int asked = 0; asked < 2; asked++) {
        struct shmq_error error;

        CHECK_EQUAL(shmq_region_need_inbox(region, &error), SHMQ_ERROR_PROCESS_NAME);
        CHECK(error.what != NULL);
        CHECK(region->inbox.queue == NULL);
    }
}

static void an_inbox_that_cannot_be_had_is_refused_each_time(void)
{
    struct shmq_region_options options = world_options("alpha", SHMQ_REGION_ATTACH);
    struct shmq_region first, second;
    struct shmq_error error;
    uint64_t depth, flags;

    world_open(&first, "alpha");
    options.process = "tester";
    world_open_with(&second, &options);
    lose_inbox(&second);
    shmq_name_store(first.map.name[0].text, "tester", SHMQ_READ); /* the first's has the name … */
    refuse_inbox_twice(&second);
    depth = first.map.queue[0].depth;
    flags = first.map.queue[1].flags;
    first.map.queue[0].depth = 0;               /* … or is no queue that can be, and the second's is taken */
    first.map.queue[1].flags |= SHMQ_QUEUE_USED;
    refuse_inbox_twice(&second);
    first.map.queue[0].depth = depth;
    first.map.queue[1].flags = flags;
    shmq_name_store(first.map.name[0].text, "first", SHMQ_READ);
    CHECK_EQUAL(shmq_region_need_inbox(&second, &error), SHMQ_OK);
    CHECK_EQUAL(second.inbox.qid, 1);
    shmq_region_close(&second);
    shmq_region_close(&first);
}

static void an_exclusive_create_refuses_a_name_that_is_taken(void)
{
    struct shmq_region_options options = world_options("alpha", SHMQ_REGION_CREATE);
    struct shmq_region region;
    struct shmq_error error;

    world_open_with(&region, &options);
    error = world_refused(&options, SHMQ_ERROR_EXISTS);
    CHECK(!strcmp(error.path, world_path("alpha")));
    CHECK_EQUAL(error.pids[0], getpid());
    CHECK_EQUAL(error.owner, getuid());
    world_verify(&region);
    shmq_region_close(&region);
}

static void attaching_refuses_a_name_that_is_not_there(void)
{
    struct shmq_region_options options = world_options("alpha", SHMQ_REGION_ATTACH);
    struct shmq_region region;
    struct shmq_error error = world_refused(&options, SHMQ_ERROR_NOT_FOUND);

    CHECK(!strcmp(error.path, world_directory));
    CHECK(world_clean()); /* nor made for the purpose */
    world_open(&region, "beta");
    error = world_refused(&options, SHMQ_ERROR_NOT_FOUND);
    CHECK(!strcmp(error.path, world_path("alpha")));
    shmq_region_close(&region);
}

static void a_persistent_region_outlives_its_last_process(void)
{
    struct shmq_region_options options = world_persistent("alpha");
    struct shmq_region region;
    uint64_t id;

    world_open_with(&region, &options);
    id = region.id;
    memcpy(region.map.data, "hello", 6);
    shmq_region_close(&region);
    CHECK_EQUAL(world_list(), 1);
    CHECK_EQUAL(world_listed.attached, 0);
    CHECK(world_listed.persist);
    world_open(&region, "alpha"); /* without asking for persistence: it is the creator's choice */
    CHECK_EQUAL(region.id, id);
    CHECK(!strcmp((char *)region.map.data, "hello"));
    shmq_region_close(&region);
    CHECK(world_exists(world_path("alpha/admin")));
    world_unlink("alpha");
}

static void a_larger_size_than_is_there_is_refused_with_both(void)
{
    struct shmq_region_options options = world_options("alpha", SHMQ_REGION_EITHER);
    struct shmq_region region, second;
    struct shmq_error error;

    world_open(&region, "alpha");
    options.size = 2 * WORLD_MIB;
    error = world_refused(&options, SHMQ_ERROR_SIZE);
    CHECK_EQUAL(error.asked, 2 * WORLD_MIB);
    CHECK_EQUAL(error.found, WORLD_MIB);
    CHECK_EQUAL(error.pids[0], getpid());
    options.size = WORLD_MIB - 1;
    options.how = SHMQ_REGION_ATTACH;
    options.size = 0;
    options.granule = 512; /* the creator's choice stands */
    world_open_with(&second, &options);
    CHECK_EQUAL(second.map.geometry.granule_shift, 12);
    shmq_region_close(&second);
    shmq_region_close(&region);
}

static void options_out_of_range_are_refused_with_the_bound(void)
{
    static const char *const names[] = { "", ".", "..", ".new-x", "a/b", "a b", "\xc3\xa9", "a\n" };
    struct shmq_region_options options;
    struct shmq_error error;
    char name[SHMQ_NAME_MAX + 2];

    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++) {
        options = world_options(names[i], SHMQ_REGION_EITHER);
        CHECK(!strcmp(world_refused(&options, SHMQ_ERROR_INVALID).what, "name"));
    }
    options = world_options(NULL, SHMQ_REGION_EITHER);
    (void)world_refused(&options, SHMQ_ERROR_INVALID);
    memset(name, 'a', sizeof name - 1);
    name[sizeof name - 1] = 0;
    options = world_options(name, SHMQ_REGION_EITHER);
    error = world_refused(&options, SHMQ_ERROR_INVALID);
    CHECK_EQUAL(error.found, SHMQ_NAME_MAX + 1);
    CHECK_EQUAL(error.expected, SHMQ_NAME_MAX);
    options = world_options("alpha", SHMQ_REGION_EITHER);
    options.process = name;
    (void)world_refused(&options, SHMQ_ERROR_INVALID);
    options = world_options("alpha", SHMQ_REGION_EITHER);
    options.size = WORLD_MIB - 1;
    CHECK_EQUAL(world_refused(&options, SHMQ_ERROR_INVALID).expected, WORLD_MIB);
    options = world_options("alpha", SHMQ_REGION_EITHER);
    options.size = UINT64_MAX;
    CHECK(!strcmp(world_refused(&options, SHMQ_ERROR_INVALID).what, "size"));
    options.granule = 0; /* not the largest one suits it */
    error = world_refused(&options, SHMQ_ERROR_INVALID);
    CHECK(!strcmp(error.what, "size"));
    CHECK_EQUAL(error.expected, (uint64_t)SHMQ_MAX_GRANULES << SHMQ_MAX_GRANULE_SHIFT);
    options = world_options("alpha", SHMQ_REGION_EITHER);
    options.granule = 256;
    CHECK_EQUAL(world_refused(&options, SHMQ_ERROR_INVALID).expected, 512);
    options.granule = 2 << 20;
    CHECK_EQUAL(world_refused(&options, SHMQ_ERROR_INVALID).expected, 1 << 20);
    options.granule = 5000;
    (void)world_refused(&options, SHMQ_ERROR_INVALID);
    options = world_options("alpha", SHMQ_REGION_EITHER);
    options.max_processes = SHMQ_MAX_PROCESSES + 1;
    CHECK_EQUAL(world_refused(&options, SHMQ_ERROR_INVALID).expected, SHMQ_MAX_PROCESSES);
    options = world_options("alpha", SHMQ_REGION_EITHER);
    options.max_queues = SHMQ_MAX_QUEUES + 1;
    (void)world_refused(&options, SHMQ_ERROR_INVALID);
    options = world_options("alpha", SHMQ_REGION_EITHER);
    options.mode = 0644;
    (void)world_refused(&options, SHMQ_ERROR_INVALID);
    options.mode = 0660; /* without a directory of the group's */
    (void)world_refused(&options, SHMQ_ERROR_INVALID);
    options = world_options("alpha", SHMQ_REGION_EITHER);
    options.directory = "relative";
    CHECK(!strcmp(world_refused(&options, SHMQ_ERROR_INVALID).what, "absolute path of the directory"));
    CHECK(world_clean()); /* nothing was touched */
}

static void the_longest_name_works(void)
{
    char name[SHMQ_NAME_MAX + 1];
    struct shmq_region region;

    memset(name, 'a', SHMQ_NAME_MAX);
    name[SHMQ_NAME_MAX] = 0;
    world_open(&region, name);
    CHECK_EQUAL(world_list(), 1);
    CHECK(!strcmp(world_listed.name, name));
    shmq_region_close(&region);
}

/* What a region would be, without making it. */
static struct shmq_geometry planned(uint64_t size, uint64_t granule)
{
    struct shmq_region_options options;
    struct shmq_facts plan;
    struct shmq_error error;

    memset(&options, 0, sizeof options);
    options.name = "alpha";
    options.size = size;
    options.granule = granule;
    CHECK_EQUAL(shmq_region_plan(&options, &plan, &error), SHMQ_OK);
    return plan.geometry;
}

static void defaults_suit_the_size(void)
{
    CHECK_EQUAL(planned(0, 0).data_size, 32 * WORLD_MIB);
    CHECK_EQUAL(planned(0, 0).granule_shift, 9);
    CHECK_EQUAL(planned(0, 0).max_processes, 128);
    CHECK_EQUAL(planned(0, 0).max_queues, 256);
    CHECK_EQUAL(planned(64 * WORLD_MIB - 1, 0).granule_shift, 9);
    CHECK_EQUAL(planned(64 * WORLD_MIB, 0).granule_shift, 10);
    CHECK_EQUAL(planned(1024 * WORLD_MIB, 0).granule_shift, 12);
    CHECK_EQUAL(planned(1ull << 40, 0).granule_shift, 13); /* 2^28 blocks of 4 KiB are one too many */
    CHECK_EQUAL(planned((1ull << 40) - 4096, 0).granule_shift, 12);
    CHECK_EQUAL(planned(WORLD_MIB + 1, 4096).data_size, WORLD_MIB + 4096); /* rounded up to a whole granule */
}

/* ---- end ------------------------------------------------------------------------------------------------- */

static void a_region_ends_when_its_only_process_is_killed_and_another_region_is_opened(void)
{
    struct shmq_region_options options = world_options("alpha", SHMQ_REGION_EITHER);
    struct world_holder holder;
    struct shmq_region region;

    world_hold(&holder, &options);
    world_holder_end(&holder, true);
    CHECK(world_exists(world_path("alpha/admin")));
    world_open(&region, "beta");
    CHECK(!world_exists(world_path("alpha")));
    shmq_region_close(&region);
}

static void listing_ends_what_killed_processes_left_and_tells_of_the_rest(void)
{
    struct shmq_region_options options = world_options("alpha", SHMQ_REGION_EITHER);
    struct world_holder holder;
    struct shmq_region region;

    CHECK_EQUAL(world_list(), 0);
    world_hold(&holder, &options);
    world_open(&region, "beta");
    CHECK_EQUAL(world_list(), 2);
    world_holder_end(&holder, true);
    CHECK_EQUAL(world_list(), 1);
    CHECK(!strcmp(world_listed.name, "beta"));
    CHECK_EQUAL(world_listed.error.code, 0);
    CHECK_EQUAL(world_listed.id, region.id);
    CHECK_EQUAL(world_listed.size, WORLD_MIB);
    CHECK_EQUAL(world_listed.granule, 4096);
    CHECK_EQUAL(world_listed.creator_pid, getpid());
    CHECK_EQUAL(world_listed.attached, 1);
    CHECK_EQUAL(world_listed.max_processes, 4);
    CHECK(!world_listed.persist);
    CHECK(!world_exists(world_path("alpha")));
    shmq_region_close(&region);
}

/* [M10] Nobody is left: the next does not inherit what they had, it starts over. */
static void m10_a_region_whose_processes_were_all_killed_is_made_anew(void)
{
    struct shmq_region_options options = world_options("alpha", SHMQ_REGION_EITHER);
    struct world_holder first, second;
    struct shmq_region region;
    uint64_t id;

    world_hold(&first, &options);
    world_hold(&second, &options);
    world_open(&region, "alpha");
    id = region.id;
    memcpy(region.map.data, "hello", 6);
    shmq_region_close(&region);
    world_holder_end(&first, true);
    world_holder_end(&second, true);
    world_open(&region, "alpha");
    world_verify(&region);
    CHECK(region.id != id);
    CHECK_EQUAL(region.map.data[0], 0);
    CHECK_EQUAL(region.self.slot, 0);
    shmq_region_close(&region);
    options.how = SHMQ_REGION_CREATE;
    world_hold(&first, &options);
    world_holder_end(&first, true);
    world_open_with(&region, &options); /* exclusive: what is dead does not count */
    shmq_region_close(&region);
    options.how = SHMQ_REGION_ATTACH;
    (void)world_refused(&options, SHMQ_ERROR_NOT_FOUND);
}

/* [M9] An ended region that its remover left half-way, at each of its steps, is removed by whoever meets it. */
static void m9_a_half_removed_region_is_removed_by_who_meets_it(void)
{
    struct shmq_region_options options = world_options("alpha", SHMQ_REGION_ATTACH);
    bool killed = true;
    int step;

    for (step = 1; killed; step++) { /* data, lock, admin, the name */
        world_at(WORLD_KILL, "unlinkat", step);
        killed = world_reap(world_fork(world_open_verify_close)) != 0;
        world_at(WORLD_NOTHING, NULL, 0);
        if (step % 2)
            (void)world_refused(&options, SHMQ_ERROR_NOT_FOUND);
        else
            world_open_verify_close();
        CHECK(!world_exists(world_path("alpha")));
    }
    CHECK_EQUAL(step, 6);
}

/* A process that will close the region, when told, and stop between its look at the locks and its CAS of life. */
static struct world_holder ender;

static void stop_at_next_close(void) { world_at(WORLD_STOP, "close", 1); }

static void hold_and_stop_when_ending(void)
{
    struct shmq_region_options options = world_options("alpha", SHMQ_REGION_EITHER);

    world_run_at("locked", 1, stop_at_next_close); /* the descriptor that it looked through */
    world_hold(&ender, &options);
    world_at(WORLD_NOTHING, NULL, 0);
}

static void let_the_ender_look(void)
{
    CHECK_EQUAL(write(ender.tell, "c", 1), 1);
    CHECK(world_stopped(ender.pid));
}

static void let_the_ender_end(void)
{
    CHECK_EQUAL(kill(ender.pid, SIGCONT), 0);
    CHECK_EQUAL(world_reap(ender.pid), 0);
    close(ender.tell);
    close(ender.hear);
}

static uint64_t ended_id;

static void let_the_ender_end_before_the_attach(void)
{
    let_the_ender_end();
    ended_id = 1;
}

static void let_the_ender_look_and_end(void)
{
    let_the_ender_look();
    world_run_at("life_attach", 1, let_the_ender_end_before_the_attach);
}

/* [H1] The last process closes and ends the region between an attacher's look at the locks, which passes, and its
 * CAS of life, with its byte held: the attacher starts over. */
static void h1_who_locked_a_byte_of_an_ended_region_starts_over(void)
{
#ifdef SHMQ_SIMULATOR
    struct shmq_region region;

    hold_and_stop_when_ending();
    ended_id = 0;
    world_run_at("lock", 1, let_the_ender_look_and_end);
    world_open(&region, "alpha");
    CHECK_EQUAL(ended_id, 1);
    world_verify(&region);
    CHECK_EQUAL(region.self.slot, 0);
    CHECK(world_exists(world_path("alpha/admin")));
    shmq_region_close(&region);
#else
    (void)let_the_ender_look_and_end; /* this build has no point at the CAS of life */
#endif
}

/* [H1] The same, but the attacher is faster than the ender's CAS, which fails. */
static void h1_who_attached_after_the_enders_look_is_not_ended(void)
{
    struct shmq_region region;

    hold_and_stop_when_ending();
    world_run_at("lock", 1, let_the_ender_look);
    world_open(&region, "alpha");
    CHECK_EQUAL(region.self.slot, 0);
    let_the_ender_end();
    world_verify(&region);
    CHECK(world_exists(world_path("alpha/admin")));
    shmq_region_close(&region);
}

static void open_stop_close(void)
{
    struct shmq_region region;

    world_open(&region, "alpha");
    (void)raise(SIGSTOP);
    shmq_region_close(&region);
}

/* [H1] And that one is killed at once: the ender's CAS fails, it looks again, and nobody is left. */
static void h1_an_ender_whose_cas_failed_looks_again(void)
{
    pid_t attacher;

    hold_and_stop_when_ending();
    world_at(WORLD_STOP, "lock", 1);
    attacher = world_fork(open_stop_close);
    world_at(WORLD_NOTHING, NULL, 0);
    CHECK(world_stopped(attacher));
    let_the_ender_look();
    CHECK_EQUAL(kill(attacher, SIGCONT), 0);
    CHECK(world_stopped(attacher)); /* attached */
    CHECK_EQUAL(kill(attacher, SIGKILL), 0);
    CHECK_EQUAL(world_reap(attacher), SIGKILL);
    let_the_ender_end();
    CHECK(!world_exists(world_path("alpha")));
}

static void let_the_last_close(void) { world_holder_end(&ender, false); }

/* The last process closes while an attacher holds a byte, so it leaves the end to the attacher, which then fails. */
static void who_fails_to_attach_ends_the_region_in_the_last_ones_place(void)
{
    struct shmq_region_options options = world_options("alpha", SHMQ_REGION_EITHER);

    world_hold(&ender, &options);
    world_run_at("mmap", 3, let_the_last_close); /* after data and admin: the page that is to hold the lock */
    world_plan.refusal = ENOMEM;
    CHECK_EQUAL(world_refused(&options, SHMQ_ERROR_SYSTEM).os_errno, ENOMEM);
    CHECK(!world_exists(world_path("alpha")));
}

/* ---- making ---------------------------------------------------------------------------------------------- */

/* A child that opens "alpha" and stops at a point; it goes on to close it. */
static pid_t stopped_opener(const char *call, int at)
{
    pid_t pid;

    world_at(WORLD_STOP, call, at);
    pid = world_fork(world_open_verify_close);
    world_at(WORLD_NOTHING, NULL, 0);
    CHECK(world_stopped(pid));
    return pid;
}

static void go_on(pid_t pid)
{
    CHECK_EQUAL(kill(pid, SIGCONT), 0);
    CHECK_EQUAL(world_reap(pid), 0);
}

static char found_making[256];

static void note_making(void *context, const char *entry)
{
    (void)context;
    if (shmq_making_is_name(entry))
        snprintf(found_making, sizeof found_making, "%s", entry);
}

static const char *making_name(void)
{
    int dir = shmq_os_openat(AT_FDCWD, world_directory, O_RDONLY | O_DIRECTORY, 0);

    found_making[0] = 0;
    if (dir >= 0) {
        CHECK_EQUAL(shmq_os_each_entry(dir, note_making, NULL), 0);
        close(dir);
    }
    return found_making[0] ? found_making : NULL;
}

/* [H2] A maker is stopped between making `lock` and locking it, and a remover takes its directory for a dead one's. */
static void h2_a_maker_whose_lock_file_was_removed_starts_over(void)
{
    pid_t maker = stopped_opener("lock", 1);

    CHECK(making_name() != NULL);
    list_quietly();
    CHECK(making_name() == NULL);
    go_on(maker);
}

/* [H2] The same, while the remover holds the byte. */
static void h2_a_maker_that_finds_its_byte_taken_starts_over(void)
{
    pid_t maker = stopped_opener("lock", 1), remover;

    world_at(WORLD_STOP, "unlinkat", 1);
    remover = world_fork(list_quietly);
    world_at(WORLD_NOTHING, NULL, 0);
    CHECK(world_stopped(remover));
    go_on(maker);
    go_on(remover);
    CHECK(making_name() == NULL);
}

/* [H2] A remover keeps the byte until its last unlink: nobody else takes the directory for free meanwhile. */
static void h2_a_remover_keeps_the_byte_until_its_last_unlink(void)
{
    pid_t maker = stopped_opener("renameat2", 1), remover;

    CHECK_EQUAL(kill(maker, SIGKILL), 0);
    CHECK_EQUAL(world_reap(maker), SIGKILL);
    world_at(WORLD_STOP, "unlinkat", 3); /* data and admin are gone, lock is next */
    remover = world_fork(list_quietly);
    world_at(WORLD_NOTHING, NULL, 0);
    CHECK(world_stopped(remover));
    list_quietly();
    CHECK(making_name() != NULL);
    world_open_verify_close(); /* and nobody waits for it */
    CHECK_EQUAL(kill(remover, SIGKILL), 0);
    CHECK_EQUAL(world_reap(remover), SIGKILL);
    CHECK(making_name() != NULL);
    list_quietly();
    CHECK(making_name() == NULL);
}

/* [H2] A remover that opened the lock file while the region was being made, and locks it when the maker has finished
 * and gone and another process is attached, leaves the region alone. */
static void h2_a_late_remover_leaves_a_region_that_got_its_name(void)
{
    struct shmq_region region;
    pid_t maker, remover;

    world_at(WORLD_STOP, "renameat2", 1);
    maker = world_fork(open_stop_close);
    CHECK(world_stopped(maker));
    world_at(WORLD_STOP, "lock", 1);
    remover = world_fork(list_quietly);
    CHECK(world_stopped(remover));
    world_at(WORLD_NOTHING, NULL, 0);
    CHECK_EQUAL(kill(maker, SIGCONT), 0);
    CHECK(world_stopped(maker)); /* it has the region open */
    world_open(&region, "alpha");
    go_on(maker);
    go_on(remover);
    world_verify(&region);
    CHECK(world_exists(world_path("alpha/admin")));
    CHECK(world_exists(world_path("alpha/lock")));
    CHECK(world_exists(world_path("alpha/data")));
    shmq_region_close(&region);
}

static void a_maker_that_dies_is_swept_by_the_next_of_any_region(void)
{
    pid_t maker = stopped_opener("renameat2", 1);
    struct shmq_region region;

    CHECK_EQUAL(kill(maker, SIGKILL), 0);
    CHECK_EQUAL(world_reap(maker), SIGKILL);
    CHECK(making_name() != NULL);
    world_open(&region, "beta");
    CHECK(making_name() == NULL);
    shmq_region_close(&region);
}

static void a_stopped_maker_holds_nobody_up_for_ever(void)
{
    pid_t maker = stopped_opener("fallocate", 1);
    struct shmq_region region;

    world_open(&region, "alpha");
    CHECK(making_name() != NULL); /* it is at work, so nobody removes it */
    go_on(maker); /* attaches to the region that is there */
    CHECK(making_name() == NULL);
    world_verify(&region);
    shmq_region_close(&region);
}

static pid_t waited_for;

static void let_the_rival_finish(void)
{
    CHECK_EQUAL(kill(waited_for, SIGCONT), 0);
    CHECK(world_stopped(waited_for)); /* now it has the region open */
}

static void a_maker_waits_for_one_that_began_earlier(void)
{
    struct shmq_region region;

    world_at(WORLD_STOP, "fallocate", 1);
    waited_for = world_fork(open_stop_close);
    CHECK(world_stopped(waited_for));
    world_run_at("nanosleep", 1, let_the_rival_finish);
    world_open(&region, "alpha");
    CHECK(world_plan.reached);
    CHECK_EQUAL(region.self.slot, 1); /* it made none itself */
    go_on(waited_for);
    shmq_region_close(&region);
}

/* ---- unlink ---------------------------------------------------------------------------------------------- */

static void unlinking_disturbs_nobody_attached(void)
{
    struct shmq_region_options options = world_options("alpha", SHMQ_REGION_EITHER);
    struct world_holder dead;
    struct shmq_region old, anew;
    struct shmq_error error;

    world_open_with(&old, &options);
    world_hold(&dead, &options);
    world_unlink("alpha");
    CHECK(!world_exists(world_path("alpha")));
    world_open_with(&anew, &options);
    CHECK(anew.id != old.id);
    CHECK_EQUAL(anew.self.slot, 0);
    world_holder_end(&dead, true);
    CHECK_EQUAL(shmq_region_recover(&old, &error), 1); /* though the lock file has no name any more */
    CHECK_EQUAL(old.ops.reserve(old.ops.context, old.map.geometry.slot_at, 4096), SHMQ_OK);
    CHECK_EQUAL(shmq_process_state(old.map.process[0].state), SHMQ_PROCESS_LIVE);
    shmq_region_close(&old); /* goes through the old directory: the new region of that name is safe */
    world_verify(&anew);
    CHECK(world_exists(world_path("alpha/admin")));
    shmq_region_close(&anew);
}

/* Where the file system is not known to keep a lock for a mapping, it is asked. */
static void a_maker_looks_whether_its_byte_is_held(void)
{
    struct shmq_region_options options = world_options("alpha", SHMQ_REGION_EITHER);
    struct shmq_region region;
    struct shmq_error error;

    world_at(WORLD_REFUSE, "fstatfs", 1); /* of a file system that does not tell what it is: the byte is held */
    world_plan.refusal = EIO;
    CHECK_EQUAL(shmq_region_open(&region, &options, &error), SHMQ_OK);
    CHECK(world_plan.reached);
    world_at(WORLD_NOTHING, NULL, 0);
    world_verify(&region);
    shmq_region_close(&region);
}

/* Else who attaches between the mark and the removal would share a region with nobody. */
static void what_cannot_be_marked_as_ended_is_not_unlinked(void)
{
    static const struct {
        const char *call;
        int at, refusal;
    } refused[] = { { "openat", 1, EMFILE }, { "openat", 2, EMFILE }, { "openat", 3, EMFILE }, { "openat", 3, ENFILE },
        { "mmap", 1, ENOMEM } };
    struct shmq_region_options options = world_persistent("alpha");
    struct shmq_region region;

    world_open_with(&region, &options);
    shmq_region_close(&region);
    for (size_t i = 0; i < sizeof refused / sizeof refused[0]; i++) {
        struct shmq_error error;

        world_at(WORLD_REFUSE, refused[i].call, refused[i].at);
        world_plan.refusal = refused[i].refusal;
        CHECK(shmq_region_unlink("alpha", NULL, false, &error) < 0);
        CHECK(world_plan.reached);
        CHECK_EQUAL(error.os_errno, refused[i].refusal);
        world_at(WORLD_NOTHING, NULL, 0);
        world_open_with(&region, &options);
        CHECK_EQUAL(region.self.slot, 0);
        shmq_region_close(&region);
    }
    world_unlink("alpha");
}

static void a_directory_that_is_named_is_listed_if_it_is_there(void)
{
    struct shmq_region region;
    struct shmq_error error;

    world_listed_count = 0;
    CHECK_EQUAL(shmq_region_list(world_path("none"), world_note_listed, NULL, &error), SHMQ_OK);
    CHECK_EQUAL(shmq_region_unlink("alpha", world_path("none"), true, &error), SHMQ_OK);
    CHECK_EQUAL(world_listed_count, 0);
    world_open(&region, "alpha");
    CHECK_EQUAL(shmq_region_list(world_directory, world_note_listed, NULL, &error), SHMQ_OK);
    CHECK_EQUAL(world_listed_count, 1);
    CHECK_EQUAL(world_listed.id, region.id);
    shmq_region_close(&region);
}

static void unlinking_what_is_not_there_is_an_error_unless_it_may_be_missing(void)
{
    struct shmq_region region;
    struct shmq_error error;

    CHECK_EQUAL(shmq_region_unlink("alpha", NULL, false, &error), SHMQ_ERROR_NOT_FOUND);
    CHECK_EQUAL(shmq_region_unlink("alpha", NULL, true, &error), SHMQ_OK);
    CHECK_EQUAL(error.code, 0);
    world_open(&region, "beta");
    CHECK_EQUAL(shmq_region_unlink("alpha", NULL, false, &error), SHMQ_ERROR_NOT_FOUND);
    CHECK_EQUAL(shmq_region_unlink("alpha", NULL, true, &error), SHMQ_OK);
    CHECK_EQUAL(shmq_region_unlink("../beta", NULL, true, &error), SHMQ_ERROR_INVALID);
    shmq_region_close(&region);
}

int main(int argc, char **argv)
{
    static const struct check_test tests[] = {
        CHECK_TEST(creating_and_closing_leaves_nothing),
        CHECK_TEST(a_maker_looks_whether_its_byte_is_held),
        CHECK_TEST(the_second_to_open_attaches_to_the_region_of_the_first),
        CHECK_TEST(another_process_sees_what_this_one_wrote),
        CHECK_TEST(a_process_name_belongs_to_one_process_until_it_leaves_or_dies),
        CHECK_TEST(without_a_name_each_attach_gets_one_of_its_own),
        CHECK_TEST(an_inbox_that_cannot_be_had_is_refused_each_time),
        CHECK_TEST(an_exclusive_create_refuses_a_name_that_is_taken),
        CHECK_TEST(attaching_refuses_a_name_that_is_not_there),
        CHECK_TEST(a_persistent_region_outlives_its_last_process),
        CHECK_TEST(a_larger_size_than_is_there_is_refused_with_both),
        CHECK_TEST(options_out_of_range_are_refused_with_the_bound),
        CHECK_TEST(the_longest_name_works),
        CHECK_TEST(defaults_suit_the_size),
        CHECK_TEST(a_region_ends_when_its_only_process_is_killed_and_another_region_is_opened),
        CHECK_TEST(listing_ends_what_killed_processes_left_and_tells_of_the_rest),
        CHECK_TEST(m10_a_region_whose_processes_were_all_killed_is_made_anew),
        CHECK_TEST(m9_a_half_removed_region_is_removed_by_who_meets_it),
        CHECK_TEST(h1_who_locked_a_byte_of_an_ended_region_starts_over),
        CHECK_TEST(h1_who_attached_after_the_enders_look_is_not_ended),
        CHECK_TEST(h1_an_ender_whose_cas_failed_looks_again),
        CHECK_TEST(who_fails_to_attach_ends_the_region_in_the_last_ones_place),
        CHECK_TEST(h2_a_maker_whose_lock_file_was_removed_starts_over),
        CHECK_TEST(h2_a_maker_that_finds_its_byte_taken_starts_over),
        CHECK_TEST(h2_a_remover_keeps_the_byte_until_its_last_unlink),
        CHECK_TEST(h2_a_late_remover_leaves_a_region_that_got_its_name),
        CHECK_TEST(a_maker_that_dies_is_swept_by_the_next_of_any_region),
        CHECK_TEST(a_stopped_maker_holds_nobody_up_for_ever),
        CHECK_TEST(a_maker_waits_for_one_that_began_earlier),
        CHECK_TEST(unlinking_disturbs_nobody_attached),
        CHECK_TEST(what_cannot_be_marked_as_ended_is_not_unlinked),
        CHECK_TEST(a_directory_that_is_named_is_listed_if_it_is_there),
        CHECK_TEST(unlinking_what_is_not_there_is_an_error_unless_it_may_be_missing),
    };

    return check_main(argc, argv, tests, sizeof tests / sizeof tests[0], world_around);
}
