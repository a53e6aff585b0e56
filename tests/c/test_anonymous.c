/* SPDX-License-Identifier: MIT */
/* Regions without a name: handed on by descriptor, sealed, for receiving only, killed and refused at each call. */
#define SHMQ_SIMULATOR /* each write to shared memory is a point, too */

#include "region_world.h"

#include <sys/socket.h>

#include "shmq/shmq.h"

static void create_with(struct shmq_region *region, const struct shmq_region_options *options)
{
    struct shmq_error error;
    int result = shmq_region_create_anonymous(region, options, &error);

    if (result)
        world_tell(&error);
    CHECK_EQUAL(result, SHMQ_OK);
    CHECK_EQUAL(error.code, 0);
}

static void create(struct shmq_region *region)
{
    struct shmq_region_options options = world_options(NULL, SHMQ_REGION_EITHER);

    create_with(region, &options);
}

static void hand(struct shmq_region *region, bool receive_only, int *handed)
{
    struct shmq_error error;

    CHECK_EQUAL(shmq_region_hand(region, receive_only, handed, &error), SHMQ_OK);
}

static void attach(struct shmq_region *region, const int *handed, bool receive_only)
{
    struct shmq_region_options options = world_options(NULL, SHMQ_REGION_ATTACH);
    struct shmq_error error;
    int result;

    options.receive_only = receive_only;
    result = shmq_region_attach_handed(region, handed, &options, &error);
    if (result)
        world_tell(&error);
    CHECK_EQUAL(result, SHMQ_OK);
}

static struct shmq_error refused(const int *handed, int code)
{
    struct shmq_region_options options = world_options(NULL, SHMQ_REGION_ATTACH);
    struct shmq_region region;
    struct shmq_error error;
    int descriptors = world_descriptors();

    CHECK_EQUAL(shmq_region_attach_handed(&region, handed, &options, &error), code);
    CHECK_EQUAL(error.code, code);
    CHECK(error.what != NULL);
    CHECK(region.map.admin == NULL);
    CHECK_EQUAL(world_descriptors(), descriptors);
    return error;
}

/* ---- messages -------------------------------------------------------------------------------------------- */

static void open_queue(struct shmq_region *region, struct shmq_queue_ref *ref)
{
    struct shmq_queue_spec spec;

    memset(&spec, 0, sizeof spec);
    spec.kind = SHMQ_KIND_WORK;
    spec.policy = SHMQ_POLICY_BLOCK;
    spec.depth = 4;
    spec.name = "q";
    CHECK_EQUAL(shmq_queue_open(&region->self, &spec, true, ref), SHMQ_OK);
}

static void send_number(struct shmq_region *region, uint32_t number)
{
    struct shmq_parcel parcel = { sizeof number, number };
    struct shmq_queue_ref ref;
    struct shmq_hold loan;

    open_queue(region, &ref);
    CHECK_EQUAL(shmq_loan(&region->self, sizeof number, &loan), SHMQ_OK);
    memcpy(shmq_payload(&region->map, loan.block), &number, sizeof number);
    CHECK_EQUAL(shmq_send(&region->self, &ref, &loan, &parcel), SHMQ_OK);
}

static void receive_number(struct shmq_region *region, uint32_t number)
{
    struct shmq_message message;
    struct shmq_queue_ref ref;

    open_queue(region, &ref);
    CHECK_EQUAL(shmq_receive(&region->self, &ref, &message), SHMQ_OK);
    CHECK_EQUAL(message.label, number);
    CHECK(!memcmp(shmq_payload(&region->map, message.hold.block), &number, sizeof number));
    CHECK_EQUAL(shmq_release(&region->self, &message.hold), SHMQ_OK);
}

/* ---- one region ------------------------------------------------------------------------------------------ */

static void a_region_without_a_name_is_shared_by_its_descriptors(void)
{
    struct shmq_region region, other;
    int handed[SHMQ_HANDED_FILES];

    create(&region);
    world_verify(&region);
    hand(&region, false, handed);
    attach(&other, handed, false);
    world_verify(&other);
    CHECK_EQUAL(other.id, region.id);
    CHECK_EQUAL(other.self.slot, 1);
    send_number(&region, 7);
    receive_number(&other, 7);
    send_number(&other, 8);
    receive_number(&region, 8);
    CHECK_EQUAL(world_list(), 0);
    shmq_region_close(&region);
    send_number(&other, 9);
    receive_number(&other, 9);
    shmq_region_close(&other);
}

static void a_region_lives_on_in_descriptors_that_are_on_their_way(void)
{
    struct shmq_region region;
    int handed[SHMQ_HANDED_FILES], kept[SHMQ_HANDED_FILES];

    create(&region);
    send_number(&region, 7);
    hand(&region, false, handed);
    for (int i = 0; i < SHMQ_HANDED_FILES; i++)
        kept[i] = dup(handed[i]);
    shmq_region_close(&region);
    attach(&region, kept, false);
    for (int i = 0; i < SHMQ_HANDED_FILES; i++)
        close(kept[i]); /* the region has its own */
    receive_number(&region, 7);
    CHECK_EQUAL(region.self.slot, 0);
    CHECK_EQUAL(region.self.epoch, 1);
    shmq_region_close(&region);
}

static void no_size_can_be_changed(void)
{
    struct shmq_region region;
    int handed[SHMQ_HANDED_FILES];

    create(&region);
    hand(&region, false, handed);
    for (int i = 0; i < SHMQ_HANDED_FILES; i++) {
        CHECK(ftruncate(handed[i], 1 << 30) < 0);
        CHECK_EQUAL(errno, EPERM);
        if (i != SHMQ_HANDED_LOCK)
            CHECK(ftruncate(handed[i], 0) < 0);
        CHECK(fcntl(handed[i], F_ADD_SEALS, F_SEAL_WRITE) < 0);
        CHECK_EQUAL(fcntl(handed[i], F_GETFD), FD_CLOEXEC);
    }
    shmq_region_close(&region);
}

/* All memory is there from the start: what is touched later cannot fail. */
static void all_is_reserved(void)
{
    struct shmq_region region;
    struct stat status;

    create(&region);
    CHECK_EQUAL(fstat(region.files.data, &status), 0);
    CHECK_EQUAL(status.st_blocks * 512, status.st_size);
    CHECK_EQUAL(fstat(region.files.admin, &status), 0);
    CHECK(status.st_blocks * 512 >= (long)region.map.geometry.reserve_size);
    shmq_region_close(&region);
}

static void more_than_the_machine_has_is_refused_before_anything_is_touched(void)
{
    struct shmq_region_options options = world_options(NULL, SHMQ_REGION_EITHER);
    struct shmq_region region;
    struct shmq_error error;

    options.size = 1ull << 46;
    options.granule = 1u << 20;
    CHECK_EQUAL(shmq_region_create_anonymous(&region, &options, &error), SHMQ_ERROR_SPACE);
    CHECK(!strcmp(error.what, "memory"));
    CHECK(error.asked > options.size);
    CHECK(error.available > 0 && error.available < error.asked);
    options.size = 1000;
    CHECK_EQUAL(shmq_region_create_anonymous(&region, &options, &error), SHMQ_ERROR_INVALID);
    options = world_options(NULL, SHMQ_REGION_EITHER);
    options.sole_writer = options.receive_only = true;
    CHECK_EQUAL(shmq_region_create_anonymous(&region, &options, &error), SHMQ_ERROR_INVALID);
}

/* ---- wrong descriptors ------------------------------------------------------------------------------------- */

static void descriptors_that_are_not_one_regions_are_refused(void)
{
    struct shmq_region region, other;
    int handed[SHMQ_HANDED_FILES], mixed[SHMQ_HANDED_FILES], file;

    create(&region);
    create(&other);
    hand(&region, false, handed);
    file = open("/dev/shm", O_TMPFILE | O_RDWR | O_CLOEXEC, 0600);
    CHECK(file >= 0);
    for (int i = 0; i < SHMQ_HANDED_FILES; i++) {
        memcpy(mixed, handed, sizeof mixed);
        mixed[i] = file; /* one that anybody could cut short */
        CHECK(!strcmp(refused(mixed, SHMQ_ERROR_SECURITY).what, "seals"));
        mixed[i] = 987654;
        CHECK_EQUAL(refused(mixed, SHMQ_ERROR_SYSTEM).os_errno, EBADF);
        mixed[i] = handed[(i + 1) % SHMQ_HANDED_FILES];
        CHECK(!strcmp(refused(mixed, SHMQ_ERROR_SECURITY).what, "a file of another kind"));
        hand(&other, false, mixed);
        mixed[i] = handed[i];
        CHECK(!strcmp(refused(mixed, SHMQ_ERROR_SECURITY).what, "a file of another region"));
        memcpy(mixed, handed, sizeof mixed);
        mixed[i] = shmq_os_memfd("shmq-00-admin"); /* not sealed */
        CHECK(!strcmp(refused(mixed, SHMQ_ERROR_SECURITY).what, "seals"));
        close(mixed[i]);
    }
    memcpy(mixed, handed, sizeof mixed);
    mixed[SHMQ_HANDED_ADMIN] = shmq_os_reopen(handed[SHMQ_HANDED_ADMIN], O_RDONLY);
    CHECK(!strcmp(refused(mixed, SHMQ_ERROR_SECURITY).what, "access mode"));
    close(mixed[SHMQ_HANDED_ADMIN]);
    close(file);
    shmq_region_close(&other);
    shmq_region_close(&region);
}

/* Sealed as it must be, but no region's. */
static void a_memfd_of_another_name_is_refused(void)
{
    static const char *const names[] = { "notes", "shmq-00-notes", "shmq-admin", "shmq-xyz-admin" };
    struct shmq_region region;
    int handed[SHMQ_HANDED_FILES];

    create(&region);
    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++) {
        hand(&region, false, handed);
        handed[SHMQ_HANDED_ADMIN] = shmq_os_memfd(names[i]);
        CHECK_EQUAL(shmq_os_seal(handed[SHMQ_HANDED_ADMIN], SHMQ_MEMFDS_SEALS), 0);
        CHECK(!strcmp(refused(handed, SHMQ_ERROR_SECURITY).what, "a file of another kind"));
        close(handed[SHMQ_HANDED_ADMIN]);
    }
    shmq_region_close(&region);
}

static void a_process_name_that_is_too_long_is_refused_and_any_other_taken(void)
{
    struct shmq_region_options options = world_options(NULL, SHMQ_REGION_ATTACH);
    char name[SHMQ_NAME_MAX + 2] = { 0 };
    int handed[SHMQ_HANDED_FILES];
    struct shmq_region region, other;
    struct shmq_queue_ref inbox;
    struct shmq_error error;

    create(&region);
    hand(&region, false, handed);
    memset(name, 'n', SHMQ_NAME_MAX + 1);
    options.process = name;
    CHECK_EQUAL(shmq_region_attach_handed(&other, handed, &options, &error), SHMQ_ERROR_INVALID);
    CHECK(!strcmp(error.what, "process name"));
    CHECK_EQUAL(error.found, SHMQ_NAME_MAX + 1);
    name[SHMQ_NAME_MAX] = 0;
    CHECK_EQUAL(shmq_region_attach_handed(&other, handed, &options, &error), SHMQ_OK);
    CHECK_EQUAL(shmq_queue_find_inbox(&region.map, name, &inbox), SHMQ_OK);
    CHECK_EQUAL(inbox.qid, other.self.slot);
    shmq_region_close(&other);
    shmq_region_close(&region);
}

static void a_region_that_has_a_name_is_not_handed_on(void)
{
    struct shmq_region region;
    int handed[SHMQ_HANDED_FILES];
    struct shmq_error error;

    world_open(&region, "alpha");
    CHECK_EQUAL(shmq_region_hand(&region, false, handed, &error), SHMQ_ERROR_INVALID);
    CHECK(!strcmp(error.what, "region has a name"));
    shmq_region_close(&region);
}

static void a_descriptor_for_reading_is_made_once(void)
{
    int first[SHMQ_HANDED_FILES], second[SHMQ_HANDED_FILES];
    struct shmq_region region;

    create(&region);
    hand(&region, true, first);
    hand(&region, true, second);
    CHECK(first[SHMQ_HANDED_DATA] != region.files.data);
    CHECK_EQUAL(second[SHMQ_HANDED_DATA], first[SHMQ_HANDED_DATA]);
    CHECK_EQUAL(shmq_os_access_mode(second[SHMQ_HANDED_DATA]), O_RDONLY);
    shmq_region_close(&region);
}

static void a_damaged_header_is_refused(void)
{
    struct shmq_region region;
    int handed[SHMQ_HANDED_FILES];
    uint64_t granules;

    create(&region);
    hand(&region, false, handed);
    region.map.header->version ^= 1;
    (void)refused(handed, SHMQ_ERROR_VERSION);
    region.map.header->version ^= 1;
    granules = region.map.header->granules;
    region.map.header->granules = 0;
    (void)refused(handed, SHMQ_ERROR_CORRUPT);
    region.map.header->granules = granules - 1;
    (void)refused(handed, SHMQ_ERROR_CORRUPT);
    region.map.header->granules = granules;
    region.map.header->life = SHMQ_LIFE_ENDED;
    (void)refused(handed, SHMQ_ERROR_GONE);
    region.map.header->life = 1;
    region.map.header->persist = 0; /* it ends for nobody all the same */
    {
        struct shmq_region other;

        attach(&other, handed, false);
        shmq_region_close(&other);
    }
    shmq_region_close(&region);
}

static void a_full_registry_names_who_is_in_it(void)
{
    struct shmq_region region, others[3];
    int handed[SHMQ_HANDED_FILES];

    create(&region);
    hand(&region, false, handed);
    for (int i = 0; i < 3; i++)
        attach(&others[i], handed, false);
    CHECK_EQUAL(refused(handed, SHMQ_ERROR_REGISTRY_FULL).pid_count, 4);
    for (int i = 0; i < 3; i++)
        shmq_region_close(&others[i]);
    shmq_region_close(&region);
}

/* ---- death ------------------------------------------------------------------------------------------------- */

static struct shmq_region shared;
static int shared_handed[SHMQ_HANDED_FILES];

static void attach_send_receive_close(void)
{
    struct shmq_region region;

    attach(&region, shared_handed, false);
    send_number(&region, 1);
    receive_number(&region, 1);
    shmq_region_close(&region);
}

/* The victim dies at each system call and at each write; who is left recovers it, and the next comes in. */
static void a_process_killed_at_any_point_is_recovered_by_who_is_left(void)
{
    bool killed = true;
    int point;

    create(&shared);
    hand(&shared, false, shared_handed);
    for (point = 1; killed; point++) {
        struct shmq_error error;

        snprintf(check_context, sizeof check_context, "killed at point %d", point);
        world_at(WORLD_KILL, NULL, point);
        killed = world_reap(world_fork(attach_send_receive_close)) != 0;
        world_at(WORLD_NOTHING, NULL, 0);
        CHECK(shmq_region_recover(&shared, &error) >= 0);
        CHECK_EQUAL(shmq_process_count(&shared.map), 1);
        while (shmq_undelivered(&shared.map))
            receive_number(&shared, 1);
        CHECK_EQUAL(world_reap(world_fork(attach_send_receive_close)), 0);
        CHECK_EQUAL(shmq_undelivered(&shared.map), 0);
    }
    CHECK(point > 40);
    shmq_region_close(&shared);
}

static void hold_until_killed(void)
{
    struct shmq_region region;

    attach(&region, shared_handed, false);
    send_number(&region, 1);
    (void)raise(SIGKILL);
}

/* Nobody was left: the next to come takes the dead process's slot. */
static void a_region_whose_processes_all_died_goes_on_with_the_next(void)
{
    int kept[SHMQ_HANDED_FILES];

    create(&shared);
    hand(&shared, false, shared_handed);
    for (int i = 0; i < SHMQ_HANDED_FILES; i++)
        shared_handed[i] = kept[i] = dup(shared_handed[i]);
    shmq_region_close(&shared);
    CHECK_EQUAL(world_reap(world_fork(hold_until_killed)), SIGKILL);
    attach(&shared, kept, false);
    CHECK_EQUAL(shared.self.slot, 0);
    CHECK_EQUAL(shmq_process_count(&shared.map), 1);
    receive_number(&shared, 1);
    for (int i = 0; i < SHMQ_HANDED_FILES; i++)
        close(kept[i]);
    shmq_region_close(&shared);
}

/* A child that lives on with every descriptor keeps no byte of its parent's. */
static void descriptors_that_were_handed_on_hold_no_lock(void)
{
    int down[2], told;
    pid_t parent, child;

    create(&shared);
    hand(&shared, false, shared_handed);
    CHECK_EQUAL(pipe2(down, O_CLOEXEC), 0);
    fflush(NULL);
    parent = fork();
    if (parent == 0) {
        struct shmq_region region;

        attach(&region, shared_handed, false);
        child = fork();
        if (child == 0) {
            alarm(20); /* should the test fail, nobody kills it */
            pause();
        }
        CHECK_EQUAL(write(down[1], &child, sizeof child), (long)sizeof child);
        (void)raise(SIGKILL);
    }
    CHECK_EQUAL(read(down[0], &child, sizeof child), (long)sizeof child);
    CHECK_EQUAL(world_reap(parent), SIGKILL);
    {
        struct shmq_error error;

        CHECK_EQUAL(shmq_region_recover(&shared, &error), 1);
    }
    CHECK_EQUAL(kill(child, SIGKILL), 0);
    told = shmq_process_count(&shared.map);
    CHECK_EQUAL(told, 1);
    close(down[0]);
    close(down[1]);
    shmq_region_close(&shared);
}

/* ---- refusals ---------------------------------------------------------------------------------------------- */

static const char *const calls[] = { "memfd_create", "fchmod", "ftruncate", "fallocate", "mmap", "seal", "reopen",
    "lock",
    "madvise", "seals", "fstat", "duplicate", "access_mode", "readlink", "pread", "fstatvfs", "getrandom" };

/* Every call that can fail does, and nothing is left: no descriptor, no mapping, no lock. */
static void a_refused_call_is_an_error_and_leaves_nothing(void)
{
    struct shmq_region_options options = world_options(NULL, SHMQ_REGION_EITHER);
    int handed[SHMQ_HANDED_FILES], refusals = 0;

    create(&shared);
    hand(&shared, false, handed);
    for (size_t i = 0; i < sizeof calls / sizeof calls[0]; i++) {
        for (int making = 0; making < 2; making++) {
            for (int at = 1;; at++) {
                struct shmq_region region;
                struct shmq_error error;
                int descriptors = world_descriptors(), result;

                snprintf(check_context, sizeof check_context, "%s refused, time %d, making %d", calls[i], at, making);
                world_at(WORLD_REFUSE, calls[i], at);
                world_plan.refusal = EIO;
                result = making ? shmq_region_create_anonymous(&region, &options, &error)
                                : shmq_region_attach_handed(&region, handed, &options, &error);
                if (!world_plan.reached) {
                    world_at(WORLD_NOTHING, NULL, 0);
                    CHECK_EQUAL(result, SHMQ_OK);
                    shmq_region_close(&region);
                    break;
                }
                world_at(WORLD_NOTHING, NULL, 0);
                refusals++;
                if (result == SHMQ_OK) { /* where it can do without, such as the access mode for a mapping to write */
                    CHECK(region.map.admin != NULL);
                    shmq_region_close(&region);
                } else {
                    CHECK_EQUAL(error.code, result);
                    CHECK(region.map.admin == NULL);
                }
                CHECK_EQUAL(world_descriptors(), descriptors);
                CHECK_EQUAL(shmq_process_count(&shared.map), 1);
            }
        }
    }
    CHECK(refusals > 30);
    shmq_region_close(&shared);
}

/* ---- receiving only ------------------------------------------------------------------------------------------ */

static unsigned char *volatile target;

/* Does the kernel refuse every write through this mapping? */
static void check_receive_only(const struct shmq_region *region)
{
    pid_t pid;
    int status;

    CHECK(region->receive_only);
    target = region->map.data;
    fflush(NULL);
    pid = fork();
    if (pid == 0) {
        (void)signal(SIGSEGV, SIG_DFL); /* a sanitizer has a handler of its own */
        *target = 1;
        _exit(0);
    }
    CHECK_EQUAL(waitpid(pid, &status, 0), pid);
    CHECK(WIFSIGNALED(status) && WTERMSIG(status) == SIGSEGV);
    CHECK(mprotect(region->map.data, SHMQ_PAGE, PROT_READ | PROT_WRITE) < 0);
    CHECK_EQUAL(errno, EACCES);
}

static void who_only_receives_cannot_write_messages(void)
{
    struct shmq_region region, receiver, second;
    struct shmq_error error;
    int handed[SHMQ_HANDED_FILES], again[SHMQ_HANDED_FILES];

    create(&region);
    for (int how = 0; how < 2; how++) { /* handed a descriptor for reading; or asking to, with one for writing */
        hand(&region, how == 0, handed);
        attach(&receiver, handed, how == 1);
        check_receive_only(&receiver);
        send_number(&region, 5);
        receive_number(&receiver, 5);
        hand(&receiver, true, handed);
        attach(&second, handed, false); /* hands on no more than it has */
        check_receive_only(&second);
        shmq_region_close(&second);
        if (how == 0)
            CHECK_EQUAL(shmq_region_hand(&receiver, false, again, &error), SHMQ_ERROR_PERMISSION);
        shmq_region_close(&receiver);
    }
    CHECK(!region.receive_only);
    shmq_region_close(&region);
}

static void the_maker_may_only_receive_and_hand_writing_on(void)
{
    struct shmq_region_options options = world_options(NULL, SHMQ_REGION_EITHER);
    struct shmq_region region, sender;
    int handed[SHMQ_HANDED_FILES];

    options.receive_only = true;
    create_with(&region, &options);
    check_receive_only(&region);
    hand(&region, false, handed);
    attach(&sender, handed, false);
    CHECK(!sender.receive_only);
    send_number(&sender, 5);
    receive_number(&region, 5);
    shmq_region_close(&sender);
    shmq_region_close(&region);
}

/* The program has closed a descriptor of the region's, and opened a file of its own. */
static void what_took_a_descriptors_number_is_not_handed_on(void)
{
    struct shmq_region region;
    struct shmq_error error;
    int handed[SHMQ_HANDED_FILES];

    for (int which = 0; which < SHMQ_HANDED_FILES; which++) {
        create(&region);
        hand(&region, false, handed);
        CHECK(dup3(STDOUT_FILENO, handed[which], O_CLOEXEC) >= 0);
        for (int receive_only = 0; receive_only < 2; receive_only++) {
            CHECK_EQUAL(shmq_region_hand(&region, receive_only, handed, &error), SHMQ_ERROR_SYSTEM);
            CHECK_EQUAL(error.os_errno, EBADF);
            CHECK(strstr(error.path, shmq_memfds_file(which)));
        }
        shmq_region_close(&region);
        close(handed[which]);
    }
}

static void reopen_for_writing(void)
{
    CHECK_EQUAL(setresuid(54321, 54321, 54321), 0);
    CHECK_EQUAL(shmq_os_reopen(shared_handed[SHMQ_HANDED_DATA], O_RDWR), -EACCES);
    CHECK_EQUAL(fchmod(shared_handed[SHMQ_HANDED_DATA], 0666) < 0 ? errno : 0, EPERM);
    attach(&shared, shared_handed, false);
    check_receive_only(&shared);
    shmq_region_close(&shared);
}

/* Another user stays with the descriptor for reading that it was handed, and can work with it. */
static void another_user_cannot_get_more_access_than_was_handed_on(void)
{
    struct shmq_region region;

    if (geteuid()) {
        printf("(not root: left out) ");
        return;
    }
    create(&region);
    hand(&region, true, shared_handed);
    CHECK_EQUAL(world_reap(world_fork(reopen_for_writing)), 0);
    shmq_region_close(&region);
}

/* Whoever asks, root too, and with the descriptor that the maker itself has. */
static void a_sole_writer_is_the_only_one_for_ever(void)
{
    struct shmq_region_options options = world_options(NULL, SHMQ_REGION_EITHER);
    struct shmq_region region, receiver;
    int handed[SHMQ_HANDED_FILES], fd;

    options.sole_writer = true;
    create_with(&region, &options);
    hand(&region, false, handed);
    attach(&receiver, handed, false);
    check_receive_only(&receiver);
    send_number(&region, 5);
    receive_number(&receiver, 5);
    fd = handed[SHMQ_HANDED_DATA];
    CHECK(mmap(NULL, SHMQ_PAGE, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0) == MAP_FAILED);
    CHECK_EQUAL(errno, EPERM);
    CHECK(pwrite(fd, "x", 1, 0) < 0);
    CHECK(fallocate(fd, 1 | 2, 0, SHMQ_PAGE) < 0); /* no hole either */
    shmq_region_close(&receiver);
    shmq_region_close(&region);
}

static void a_named_region_can_be_received_from_only(void)
{
    struct shmq_region_options options = world_options("alpha", SHMQ_REGION_EITHER);
    struct shmq_region region, receiver;

    for (int created = 0; created < 2; created++) { /* attached to, or created by who will not write */
        if (!created)
            world_open(&region, "alpha");
        options.receive_only = true;
        world_open_with(&receiver, &options);
        if (created)
            world_open(&region, "alpha");
        check_receive_only(&receiver);
        CHECK(!region.receive_only);
        send_number(&region, 5);
        receive_number(&receiver, 5);
        shmq_region_close(&receiver);
        shmq_region_close(&region);
    }
}

/* ---- over a socket ------------------------------------------------------------------------------------------- */

static int socket_ends[2];

static void receive_descriptors_and_answer(void)
{
    char space[CMSG_SPACE(sizeof shared_handed)], byte;
    struct iovec part = { &byte, 1 };
    struct msghdr message;
    struct cmsghdr *control;
    struct shmq_region region;
    int handed[SHMQ_HANDED_FILES];

    memset(&message, 0, sizeof message);
    message.msg_iov = &part;
    message.msg_iovlen = 1;
    message.msg_control = space;
    message.msg_controllen = sizeof space;
    CHECK_EQUAL(recvmsg(socket_ends[1], &message, MSG_CMSG_CLOEXEC), 1);
    control = CMSG_FIRSTHDR(&message);
    CHECK(control && control->cmsg_type == SCM_RIGHTS && control->cmsg_len == CMSG_LEN(sizeof handed));
    memcpy(handed, CMSG_DATA(control), sizeof handed);
    attach(&region, handed, false);
    receive_number(&region, 7);
    send_number(&region, 8);
    shmq_region_close(&region);
}

/* The child was there before the region, so it has inherited nothing. */
static void descriptors_travel_over_a_socket(void)
{
    char space[CMSG_SPACE(sizeof shared_handed)], byte = '!';
    struct iovec part = { &byte, 1 };
    struct msghdr message;
    struct cmsghdr *control;
    struct shmq_region region;
    pid_t pid;

    CHECK_EQUAL(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, socket_ends), 0);
    pid = world_fork(receive_descriptors_and_answer);
    create(&region);
    send_number(&region, 7);
    hand(&region, false, shared_handed);
    memset(&message, 0, sizeof message);
    memset(space, 0, sizeof space);
    message.msg_iov = &part;
    message.msg_iovlen = 1;
    message.msg_control = space;
    message.msg_controllen = sizeof space;
    control = CMSG_FIRSTHDR(&message);
    control->cmsg_level = SOL_SOCKET;
    control->cmsg_type = SCM_RIGHTS;
    control->cmsg_len = CMSG_LEN(sizeof shared_handed);
    memcpy(CMSG_DATA(control), shared_handed, sizeof shared_handed);
    CHECK_EQUAL(sendmsg(socket_ends[0], &message, 0), 1);
    CHECK_EQUAL(world_reap(pid), 0);
    receive_number(&region, 8);
    shmq_region_close(&region);
    close(socket_ends[0]);
    close(socket_ends[1]);
}

int main(int argc, char **argv)
{
    static const struct check_test tests[] = {
        CHECK_TEST(a_region_without_a_name_is_shared_by_its_descriptors),
        CHECK_TEST(a_region_lives_on_in_descriptors_that_are_on_their_way),
        CHECK_TEST(no_size_can_be_changed),
        CHECK_TEST(all_is_reserved),
        CHECK_TEST(more_than_the_machine_has_is_refused_before_anything_is_touched),
        CHECK_TEST(descriptors_that_are_not_one_regions_are_refused),
        CHECK_TEST(a_memfd_of_another_name_is_refused),
        CHECK_TEST(a_process_name_that_is_too_long_is_refused_and_any_other_taken),
        CHECK_TEST(a_region_that_has_a_name_is_not_handed_on),
        CHECK_TEST(a_descriptor_for_reading_is_made_once),
        CHECK_TEST(a_damaged_header_is_refused),
        CHECK_TEST(a_full_registry_names_who_is_in_it),
        CHECK_TEST(a_process_killed_at_any_point_is_recovered_by_who_is_left),
        CHECK_TEST(a_region_whose_processes_all_died_goes_on_with_the_next),
        CHECK_TEST_NEEDS(descriptors_that_were_handed_on_hold_no_lock, emulated_dontfork),
        CHECK_TEST(a_refused_call_is_an_error_and_leaves_nothing),
        CHECK_TEST(who_only_receives_cannot_write_messages),
        CHECK_TEST(the_maker_may_only_receive_and_hand_writing_on),
        CHECK_TEST(what_took_a_descriptors_number_is_not_handed_on),
        CHECK_TEST(another_user_cannot_get_more_access_than_was_handed_on),
        CHECK_TEST(a_sole_writer_is_the_only_one_for_ever),
        CHECK_TEST(a_named_region_can_be_received_from_only),
        CHECK_TEST(descriptors_travel_over_a_socket),
    };

    return check_main(argc, argv, tests, sizeof tests / sizeof tests[0], world_around);
}
