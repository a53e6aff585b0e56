/* SPDX-License-Identifier: MIT */
/* A file of a region is cut, or a hole punched into it, at every point of every operation: before it, at each system
 * call and at each write to shared memory. Nobody dies of it, nobody hangs, and what is left can be removed.
 */
#define SHMQ_SIMULATOR

#include "region_world.h"

#include "shmq/shmq.h"

#define SECONDS 100u    /* for all points of an operation: more is a hang */

/* ---- what is done to a file ------------------------------------------------------------------------------ */

struct harm {
    const char *file;
    uint64_t parts;         /* of the file that are left, in 1,024; 1,025: all, but of holes */
    uint64_t bytes;         /* that are left besides */
};

static const struct harm harms[] = {
    { "admin", 0, 0 }, { "admin", 0, 20480 }, { "data", 0, 0 }, { "admin", 0, 4096 }, { "admin", 512, 0 },
    { "admin", 1025, 0 }, { "data", 0, 4096 }, { "data", 512, 0 }, { "data", 1025, 0 },
};

#define HARMS (sizeof harms / sizeof harms[0])
#define MAIN_HARMS 3        /* for what has hundreds of points */

static const struct harm *harm;
static int harmed;          /* files */

/* Harm the file of a region, or of one that is being made. */
static void harm_one(void *context, const char *entry)
{
    struct stat status;
    char path[512];
    int fd;

    (void)context;
    snprintf(path, sizeof path, "%s/%s/%s", world_directory, entry, harm->file);
    fd = open(path, O_RDWR | O_CLOEXEC);
    if (fd < 0)
        return;
    CHECK_EQUAL(fstat(fd, &status), 0);
    if (harm->parts <= 1024)
        CHECK_EQUAL(ftruncate(fd, (off_t)((uint64_t)status.st_size / 1024 * harm->parts + harm->bytes)), 0);
    else if (status.st_size)
        CHECK_EQUAL(fallocate(fd, FALLOC_FL_KEEP_SIZE | FALLOC_FL_PUNCH_HOLE, 0, status.st_size), 0);
    close(fd);
    harmed++;
}

static void do_harm(void)
{
    int dir = open(world_directory, O_RDONLY | O_DIRECTORY | O_CLOEXEC);

    memset(&world_plan, 0, sizeof world_plan);
    if (dir < 0)
        return;
    CHECK_EQUAL(shmq_os_each_entry(dir, harm_one, NULL), 0);
    close(dir);
}

/* ---- what is under way ----------------------------------------------------------------------------------- */

static struct shmq_region region, peer;
static struct shmq_queue_ref queue, peer_queue, mine, peers;    /* work queues, and subscriptions */
static struct shmq_publisher publisher;
static struct shmq_hold loan;
static struct shmq_message message;

static void open_queue(struct shmq_region *one, struct shmq_queue_ref *ref)
{
    struct shmq_queue_spec spec;
    int result;

    memset(&spec, 0, sizeof spec);
    spec.kind = SHMQ_KIND_WORK;
    spec.policy = SHMQ_POLICY_BLOCK;
    spec.depth = 8;
    spec.name = "queue";
    result = shmq_queue_open(&one->self, &spec, true, ref);
    if (result)
        ref->queue = NULL;
}

/* Whatever the results are: memory that is gone may mean anything. */
static void send_one(struct shmq_region *one, const struct shmq_queue_ref *ref)
{
    struct shmq_parcel parcel = { 100, 1 };
    struct shmq_hold hold;

    if (!ref->queue || shmq_loan(&one->self, 100, &hold) != SHMQ_OK)
        return;
    memset(shmq_payload(&one->map, hold.block), 3, 100);
    if (shmq_send(&one->self, ref, &hold, &parcel) != SHMQ_OK)
        (void)shmq_release(&one->self, &hold);
}

static void receive_one(struct shmq_region *one, const struct shmq_queue_ref *ref)
{
    uint64_t sum = 0;

    if (!ref->queue || shmq_receive(&one->self, ref, &message) != SHMQ_OK)
        return;
    for (uint64_t i = 0; i < shmq_length_bytes(message.length); i++)
        sum += shmq_payload(&one->map, message.hold.block)[i];
    CHECK(sum <= 300);
    (void)shmq_release(&one->self, &message.hold);
}

static void nothing(void) {}

/* Small, because there will be thousands. */
static struct shmq_region_options small_options(void)
{
    struct shmq_region_options options = world_options("alpha", SHMQ_REGION_EITHER);

    options.size = WORLD_MIB;
    options.granule = 4096;
    return options;
}

static void open_small(struct shmq_region *one)
{
    struct shmq_region_options options = small_options();

    world_open_with(one, &options);
}

static void two_attached(void)
{
    memset(&queue, 0, sizeof queue);
    memset(&peer_queue, 0, sizeof peer_queue);
    open_small(&region);
    open_small(&peer);
    open_queue(&region, &queue);
    open_queue(&peer, &peer_queue);
    send_one(&region, &queue);
    send_one(&peer, &peer_queue);
    receive_one(&region, &queue);
}

static void one_attached(void)
{
    two_attached();
    shmq_region_close(&peer);
}

static void a_loan(void)
{
    two_attached();
    CHECK_EQUAL(shmq_loan(&region.self, 100, &loan), SHMQ_OK);
}

static void a_full_cache(void)
{
    a_loan();
    shmq_cache_resize(&region.self);
    CHECK_EQUAL(shmq_release(&region.self, &loan), SHMQ_OK);
    CHECK(region.self.cache.blocks > 0);
}

static void a_topic(void)
{
    uint32_t topic;

    two_attached();
    CHECK_EQUAL(shmq_topic_open(&region.self, "topic", &topic), SHMQ_OK);
    shmq_publisher_init(&publisher, topic);
    CHECK_EQUAL(shmq_subscribe(&region.self, topic, 1, SHMQ_POLICY_DROP_OLDEST, &mine), SHMQ_OK);
    CHECK_EQUAL(shmq_subscribe(&peer.self, topic, 1, SHMQ_POLICY_BLOCK, &peers), SHMQ_OK);
}

static void publish_one(void)
{
    struct shmq_parcel parcel = { 100, 1 };
    struct shmq_publication publication;
    struct shmq_hold hold;

    if (shmq_loan(&region.self, 100, &hold) != SHMQ_OK)
        return;
    memset(shmq_payload(&region.map, hold.block), 3, 100);
    if (shmq_publish_start(&region.self, &publisher, &hold, &parcel, &publication) != SHMQ_OK)
        (void)shmq_release(&region.self, &hold);
    else if (shmq_publish_try(&region.self, &publisher, &publication) == SHMQ_FULL)
        shmq_publish_finish(&region.self, &publisher, &publication);
}

static void a_published_message(void)
{
    a_topic();
    publish_one();
}

static void a_held_message(void)
{
    two_attached();
    CHECK_EQUAL(shmq_receive(&region.self, &queue, &message), SHMQ_OK);
}

static void a_dead_process(void)
{
    struct shmq_region_options options = small_options();
    struct world_holder dead;

    two_attached();
    world_hold(&dead, &options);
    world_holder_end(&dead, true);
}

static void a_dead_region(void)
{
    struct shmq_region_options options = small_options();
    struct world_holder dead;

    world_hold(&dead, &options);
    world_holder_end(&dead, true);
}

/* Open, with whatever result; then what was opened is used. */
static void open_and_use(void)
{
    struct shmq_region_options options = small_options();
    struct shmq_queue_ref ref;
    struct shmq_error error;
    struct shmq_region one;
    int result = shmq_region_open(&one, &options, &error);

    CHECK(result == SHMQ_OK || (result == error.code && result <= SHMQ_ERROR_INVALID && result >= SHMQ_ERROR_LOST
        && error.what));
    if (result != SHMQ_OK)
        return;
    CHECK(!shmq_region_is_lost(&one)); /* else it would have been told */
    memset(&ref, 0, sizeof ref);
    open_queue(&one, &ref);
    send_one(&one, &ref);
    receive_one(&one, &ref);
    shmq_region_close(&one);
}

static void make_a_queue(void)
{
    struct shmq_queue_spec spec;
    struct shmq_queue_ref ref;

    memset(&spec, 0, sizeof spec);
    spec.kind = SHMQ_KIND_WORK;
    spec.policy = SHMQ_POLICY_BLOCK;
    spec.depth = 8;
    spec.name = "another";
    (void)shmq_queue_open(&region.self, &spec, true, &ref);
}

static void claim_and_unclaim(void)
{
    uint64_t holder;

    if (shmq_queue_claim(&region.self, &queue, false, SHMQ_POLICY_BLOCK, &holder) == SHMQ_OK)
        shmq_queue_unclaim(&region.self, &queue);
}

static void delete_the_queue(void) { (void)shmq_queue_delete(&region.self, &queue); }
static void shut_the_queue(void) { (void)shmq_queue_shut(&region.self, &queue); }
static void send(void) { send_one(&region, &queue); }
static void receive(void) { receive_one(&region, &queue); }
static void flush(void) { shmq_cache_flush(&region.self); }
static void close_one(void) { shmq_region_close(&region); }

static void send_the_loan(void)
{
    struct shmq_parcel parcel = { 100, 1 };

    if (shmq_send(&region.self, &queue, &loan, &parcel) != SHMQ_OK)
        (void)shmq_release(&region.self, &loan);
}

static void subscribe_and_unsubscribe(void)
{
    struct shmq_queue_ref ref;
    uint32_t topic;

    if (shmq_topic_open(&region.self, "topic", &topic) == SHMQ_OK
        && shmq_subscribe(&region.self, topic, 2, SHMQ_POLICY_BLOCK, &ref) == SHMQ_OK)
        (void)shmq_unsubscribe(&region.self, &ref);
}

static void publish(void)
{
    publish_one();
    publish_one(); /* the second finds both queues full */
}

static void receive_published_and_edit(void)
{
    if (shmq_receive(&region.self, &mine, &message) != SHMQ_OK)
        return;
    (void)shmq_edit(&region.self, &message.hold);
    (void)shmq_release(&region.self, &message.hold);
}

static void forward(void)
{
    if (shmq_forward(&region.self, &queue, &message) != SHMQ_OK)
        (void)shmq_release(&region.self, &message.hold);
}

static void wait_and_leave(void)
{
    (void)shmq_await_sleep(&region.map, &queue, true, 1000);
    shmq_await_leave(&region.map, &queue, true);
    (void)shmq_await_spin(&region.map, &queue, false, 1000, NULL);
}

static void keep_a_block_and_close(void)
{
    if (shmq_receive(&region.self, &queue, &message) == SHMQ_OK)
        shmq_close_except(&region.self, &message.hold.block, 1);
    shmq_region_close(&region);
}

static void recover(void)
{
    struct shmq_error error;

    (void)shmq_region_recover(&region, &error);
}

static void count(void)
{
    static struct shmq_census census;
    struct shmq_queue_info info;

    shmq_census_take(&census, &region.map);
    (void)shmq_undelivered(&region.map);
    (void)shmq_blocks_elsewhere(&region.self);
    for (uint32_t qid = 0; qid < region.map.geometry.queues; qid++)
        (void)shmq_queue_describe(&region.map, qid, &info);
}

static void list_all(void) { CHECK(world_list() <= 1); }

static void unlink_it(void)
{
    struct shmq_error error;

    CHECK_EQUAL(shmq_region_unlink("alpha", NULL, true, &error), SHMQ_OK);
}

struct scene {
    const char *name;
    void (*before)(void);
    void (*run)(void);
    size_t harms;
};

static const struct scene scenes[] = {
    { "open, where there is nothing", nothing, open_and_use, MAIN_HARMS },
    { "open a live region", two_attached, open_and_use, MAIN_HARMS },
    { "open a dead region", a_dead_region, open_and_use, MAIN_HARMS },
    { "open beside a dead process", a_dead_process, open_and_use, MAIN_HARMS },
    { "make a queue", two_attached, make_a_queue, HARMS },
    { "claim a queue", two_attached, claim_and_unclaim, HARMS },
    { "delete a queue", two_attached, delete_the_queue, HARMS },
    { "shut a queue down", two_attached, shut_the_queue, HARMS },
    { "send", two_attached, send, HARMS },
    { "send a loan", a_loan, send_the_loan, HARMS },
    { "receive", two_attached, receive, HARMS },
    { "forward", a_held_message, forward, HARMS },
    { "subscribe", two_attached, subscribe_and_unsubscribe, HARMS },
    { "publish", a_topic, publish, HARMS },
    { "receive what was published", a_published_message, receive_published_and_edit, HARMS },
    { "flush the cache", a_full_cache, flush, HARMS },
    { "wait", two_attached, wait_and_leave, HARMS },
    { "recover a dead process", a_dead_process, recover, HARMS },
    { "count", two_attached, count, HARMS },
    { "list a live region", two_attached, list_all, HARMS },
    { "list a dead region", a_dead_region, list_all, HARMS },
    { "unlink", two_attached, unlink_it, HARMS },
    { "close, not the last", two_attached, close_one, HARMS },
    { "close with subscriptions", a_published_message, close_one, MAIN_HARMS },
    { "close, as the last", one_attached, close_one, HARMS },
    { "close but for a block, as the last", one_attached, keep_a_block_and_close, HARMS },
};

#define SCENES (sizeof scenes / sizeof scenes[0])

/* What those do who are still there, and then they leave, too. */
static void go_on(void)
{
    if (region.map.admin) {
        send_one(&region, &queue);
        receive_one(&region, &queue);
        count();
        shmq_region_close(&region);
    }
    if (peer.map.admin) {
        send_one(&peer, &peer_queue);
        receive_one(&peer, &peer_queue);
        shmq_region_close(&peer);
    }
}

static void clear_away(void)
{
    struct shmq_error error;

    CHECK_EQUAL(shmq_region_unlink("alpha", NULL, true, &error), SHMQ_OK);
    CHECK(world_clean());
    open_small(&region); /* a new one is as good as ever */
    open_queue(&region, &queue);
    CHECK(queue.queue != NULL);
    shmq_region_close(&region);
    CHECK(world_clean());
}

/* Harm at point `at`, 0: before it; false: the operation has not that many. */
static bool harm_at(const struct scene *scene, int at)
{
    bool reached;

    memset(&region, 0, sizeof region);
    memset(&peer, 0, sizeof peer);
    scene->before();
    if (at == 0)
        do_harm();
    else
        world_run_at(NULL, at, do_harm);
    scene->run();
    reached = world_plan.action == WORLD_NOTHING;
    memset(&world_plan, 0, sizeof world_plan);
    go_on();
    clear_away();
    return reached;
}

static const struct scene *scene;

static void harm_everywhere(void)
{
    int points = 0;

    (void)alarm(SECONDS);
    CHECK_EQUAL(shmq_guard_install(), 0);
    for (size_t i = 0; i < scene->harms; i++) {
        bool reached = true;

        harm = &harms[i];
        harmed = 0;
        for (int at = 0; reached; at++) {
            snprintf(check_context, sizeof check_context, "%s; of %s %d/1024 + %d are left; point %d", scene->name,
                harm->file, (int)harm->parts, (int)harm->bytes, at);
            reached = harm_at(scene, at);
            points += reached;
        }
        CHECK(harmed > 0);
    }
    printf("%s: %d points\n", scene->name, points);
    fflush(stdout);
}

static void at_every_point_of_every_operation_a_file_may_be_cut(void)
{
    printf("\n");
    for (size_t i = 0; i < SCENES; i++) {
        scene = &scenes[i];
        CHECK_EQUAL(world_reap(world_fork(harm_everywhere)), 0);
    }
}

int main(int argc, char **argv)
{
    static const struct check_test tests[] = {
        CHECK_TEST(at_every_point_of_every_operation_a_file_may_be_cut),
    };

    return check_main(argc, argv, tests, sizeof tests / sizeof tests[0], world_around);
}
