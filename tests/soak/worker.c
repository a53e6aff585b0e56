/* SPDX-License-Identifier: MIT */
/* worker PAGE: one life of the soak, in the role that its page of the ledger says, until it is killed or has to leave.
 */
#define _GNU_SOURCE
#include <sched.h>

#include "worker.h"

static const char *const passing[3] = { "passing-0", "passing-1", "passing-2" };
static bool read_all;                   /* that there was, after all who send had left */

/* ---- work queues ------------------------------------------------------------------------------------------- */

static void be_sender(void)
{
    open_queues();
    while (go_on(PHASE_RUN))
        (void)send_one(&jobs, WAY_JOBS, 0, true);
}

/* One message at a time, or two. */
static void be_worker(void)
{
    bool first = soak_random(&chance) % 2;

    open_queues();
    while (go_on(PHASE_RUN)) {
        const struct shmq_queue_ref *ref = first ? &jobs : &next;
        enum way way = first ? WAY_JOBS : WAY_NEXT;
        struct got got, second;

        if (!take_or_wait(ref, way, &got))
            continue;
        if (soak_random(&chance) % 4 == 0 && take(ref, way, &second))
            finish(&second);
        finish(&got);
    }
}

static void be_forwarder(void)
{
    open_queues();
    while (go_on(PHASE_RUN)) {
        struct got got;
        int result = SHMQ_FULL;

        if (!take_or_wait(&jobs, WAY_JOBS, &got))
            continue;
        while (result == SHMQ_FULL) {
            note(EVENT_FORWARD, WAY_NEXT, got.message.deliveries, got.life, got.n);
            result = shmq_forward(&region.self, &next, &got.message);
            note(result == SHMQ_OK ? EVENT_FORWARDED : EVENT_KEPT, WAY_NEXT, got.message.deliveries, got.life, got.n);
            if (result == SHMQ_FULL && !go_on(PHASE_RUN))
                break;
            if (result == SHMQ_FULL)
                sleep_for(&next, false);
        }
        if (result != SHMQ_OK)
            finish(&got);
    }
}

/* Makes a new message in the block of the one that it received. */
static void be_editor(void)
{
    open_queues();
    while (go_on(PHASE_RUN)) {
        struct shmq_parcel parcel;
        struct got got;
        uint32_t size;

        if (!take_or_wait(&jobs, WAY_JOBS, &got))
            continue;
        size = (uint32_t)shmq_length_bytes(got.message.length);
        if (size < PAYLOAD_MIN) { /* torn: noted already */
            finish(&got);
            continue;
        }
        note(EVENT_ACK, got.way, got.message.deliveries, got.life, got.n);
        if (shmq_edit(&region.self, &got.message.hold) != SHMQ_OK) {
            note(EVENT_TAKEN, got.way, got.message.deliveries, got.life, got.n);
            continue;
        }
        note(EVENT_ACKED, got.way, got.message.deliveries, got.life, got.n);
        parcel = write_message(&got.message.hold, size);
        (void)send_block(&next, WAY_NEXT, 0, &got.message.hold, &parcel, true);
    }
}

/* Nobody sends any more; what only this worker receives, it receives. */
static void read_to_the_end(const struct shmq_queue_ref *ref, enum way way)
{
    struct got got;

    if (ledger_load(&ledger->phase) != PHASE_END)
        return;
    while (page->count + 2 < LEDGER_EVENTS && take(ref, way, &got))
        drop(&got);
    read_all = page->count + 2 < LEDGER_EVENTS;
}

/* ---- topics ------------------------------------------------------------------------------------------------ */

static uint32_t open_topic(void)
{
    uint32_t topic = 0;

    CHECK_EQUAL(shmq_topic_open(&region.self, "frames", &topic), SHMQ_OK);
    return topic;
}

/* Who is still full when this worker has to leave does without. */
static void publish_one(struct shmq_publisher *publisher)
{
    uint32_t size = payload_size(&chance);
    struct shmq_publication publication;
    struct shmq_parcel parcel;
    struct shmq_hold loan;
    bool all;

    if (!lend(size, &loan))
        return;
    parcel = write_message(&loan, size);
    ledger_store(&page->last_ns, shmq_os_now());
    if (parcel.label == 1)
        ledger_store(&page->first_ns, page->last_ns);
    note(EVENT_SEND, WAY_TOPIC, 0, 0, parcel.label);
    CHECK_EQUAL(shmq_publish_start(&region.self, publisher, &loan, &parcel, &publication), SHMQ_OK);
    while (!(all = shmq_publish_try(&region.self, publisher, &publication) == SHMQ_OK) && go_on(PHASE_RUN))
        sleep_for(&publisher->ref[shmq_publication_pending(&publication, 0)], false);
    if (!all)
        shmq_publish_finish(&region.self, publisher, &publication);
    note(all ? EVENT_SENT : EVENT_REFUSED, WAY_TOPIC, 0, 0, parcel.label);
}

static void be_publisher(void)
{
    static struct shmq_publisher publisher;

    shmq_publisher_init(&publisher, open_topic());
    while (go_on(PHASE_RUN)) {
        publish_one(&publisher);
        if (soak_random(&chance) % 8 == 0) { /* give the others a turn */
            beat();
            (void)sched_yield();
        }
    }
}

static void subscribe(enum shmq_policy policy)
{
    uint32_t topic = open_topic(), depth = 1 + (uint32_t)(soak_random(&chance) % SOAK_DEPTH);
    struct shmq_queue_ref frames;
    struct got got;

    CHECK_EQUAL(shmq_subscribe(&region.self, topic, depth, policy, &frames), SHMQ_OK);
    ledger_store(&page->ready_ns, shmq_os_now());
    while (go_on(PHASE_STOP))
        if (take_or_wait(&frames, WAY_TOPIC, &got))
            drop(&got);
    read_to_the_end(&frames, WAY_TOPIC);
    ledger_store(&page->dropped, shmq_queue_dropped(&frames));
    if (soak_random(&chance) % 2)
        CHECK_EQUAL(shmq_unsubscribe(&region.self, &frames), SHMQ_OK);
}

static void be_subscriber(void) { subscribe(SHMQ_POLICY_BLOCK); }
static void be_lossy(void) { subscribe(SHMQ_POLICY_DROP_OLDEST); }

/* ---- inboxes ----------------------------------------------------------------------------------------------- */

static void inbox_name(uint64_t life, char *name) { snprintf(name, 32, "life-%llu", (unsigned long long)life); }

/* NOT_FOUND and CLOSED: it is gone. */
static int send_to(uint64_t life, bool wait)
{
    struct shmq_queue_ref inbox;
    char name[32];

    inbox_name(life, name);
    if (shmq_queue_find_inbox(&region.map, name, &inbox) != SHMQ_OK)
        return SHMQ_NOT_FOUND;
    return send_one(&inbox, WAY_INBOX, (uint32_t)life, wait);
}

/* Some answerer, or 0. */
static uint64_t some_answerer(void)
{
    uint32_t start = (uint32_t)(soak_random(&chance) % LEDGER_PAGES);

    for (uint32_t i = 0; i < LEDGER_PAGES; i++) {
        const struct page *other = &ledger->page[(start + i) % LEDGER_PAGES];

        if (ledger_load(&other->role) == ROLE_ANSWERER && ledger_load(&other->attached))
            return ledger_load(&other->life);
    }
    return 0;
}

static void be_requester(void)
{
    struct got got;

    while (go_on(PHASE_RUN)) {
        uint64_t answerer = some_answerer();

        if (answerer)
            (void)send_to(answerer, true);
        if (take_or_wait(&region.inbox, WAY_INBOX, &got))
            drop(&got);
    }
}

/* Answers whoever asks, and does not wait for those who do not listen. */
static void be_answerer(void)
{
    struct got got;

    while (go_on(PHASE_STOP))
        if (take_or_wait(&region.inbox, WAY_INBOX, &got)) {
            (void)send_to(got.life, false);
            drop(&got);
        }
    read_to_the_end(&region.inbox, WAY_INBOX);
}

/* ---- queues and regions that come and go ------------------------------------------------------------------- */

static void be_maker(void)
{
    while (go_on(PHASE_RUN)) {
        struct shmq_queue_ref ref;
        struct got got;

        if (open_queue(passing[soak_random(&chance) % 3], &ref) != SHMQ_OK)
            continue; /* deleted since it was opened */
        for (uint64_t count = soak_random(&chance) % 4; count > 0; count--)
            (void)send_one(&ref, WAY_PASSING, 0, false);
        for (uint64_t count = soak_random(&chance) % 4; count > 0 && take(&ref, WAY_PASSING, &got); count--)
            finish(&got);
        if (soak_random(&chance) % 2)
            (void)shmq_queue_delete(&region.self, &ref);
    }
}

#define SIDE_BYTES (1ull << 20)

/* `size` is 0 of the region that the controller has made. */
static void open_region(struct shmq_region *which, const char *name, const char *process, uint64_t size)
{
    struct shmq_region_options options;
    struct shmq_error error;

    memset(&options, 0, sizeof options);
    options.name = name;
    options.directory = ledger->directory;
    options.process = process;
    options.how = size ? SHMQ_REGION_EITHER : SHMQ_REGION_ATTACH;
    options.size = size;
    options.max_processes = 16;
    options.max_queues = 8;
    if (shmq_region_open(which, &options, &error) == SHMQ_OK)
        return;
    fprintf(stderr, "opening %s: %s, %s, errno %d\n", name, shmq_error_text(error.code), error.what, error.os_errno);
    CHECK(false);
}

/* Opens the region a second time, or one that exists while somebody has it open, and does something there. */
static void be_opener(void)
{
    static const char *const names[3] = { "side-0", "side-1", "side-2" };
    static struct shmq_region other;

    while (go_on(PHASE_RUN)) {
        bool again = soak_random(&chance) % 4 == 0;
        struct shmq_hold loan;

        if (again)
            open_region(&other, ledger->region, NULL, 0);
        else
            open_region(&other, names[soak_random(&chance) % 3], NULL, SIDE_BYTES);
        if (shmq_loan(&other.self, 4096, &loan) == SHMQ_OK && soak_random(&chance) % 2) {
            memset(shmq_payload(&other.map, loan.block), 1, 4096);
            CHECK_EQUAL(shmq_release(&other.self, &loan), SHMQ_OK);
        }
        beat();
        shmq_region_close(&other);
    }
}

/* The last of a round: receives what others have left. It attaches, so it recovers them; that is enough. */
static void be_drainer(void)
{
    static const char *const names[] = { "jobs", "next", "passing-0", "passing-1", "passing-2" };

    for (uint32_t i = 0; i < 5; i++) {
        struct shmq_queue_ref ref;
        struct got got;

        CHECK_EQUAL(open_queue(names[i], &ref), SHMQ_OK);
        while (take(&ref, i < 2 ? (enum way)i : WAY_PASSING, &got)) {
            beat();
            finish(&got);
        }
    }
}

/* ------------------------------------------------------------------------------------------------------------- */

static void (*const be[ROLES])(void) = {
    [ROLE_SENDER] = be_sender,
    [ROLE_WORKER] = be_worker,
    [ROLE_FORWARDER] = be_forwarder,
    [ROLE_EDITOR] = be_editor,
    [ROLE_PUBLISHER] = be_publisher,
    [ROLE_SUBSCRIBER] = be_subscriber,
    [ROLE_LOSSY] = be_lossy,
    [ROLE_REQUESTER] = be_requester,
    [ROLE_ANSWERER] = be_answerer,
    [ROLE_MAKER] = be_maker,
    [ROLE_OPENER] = be_opener,
    [ROLE_DRAINER] = be_drainer,
};

int main(int argc, char **argv)
{
    char process[32];

    CHECK_EQUAL(argc, 2);
    ledger = (struct ledger *)mmap(NULL, sizeof *ledger, PROT_READ | PROT_WRITE, MAP_SHARED, LEDGER_FD, 0);
    CHECK(ledger != MAP_FAILED);
    page = &ledger->page[strtoul(argv[1], NULL, 10)];
    chance = page->seed;
    CHECK(page->role < ROLES);
    snprintf(check_context, sizeof check_context, "life %llu, role %llu", (unsigned long long)page->life,
        (unsigned long long)page->role);
    inbox_name(page->life, process);
    open_region(&region, ledger->region, process, 0);
    ledger_store(&page->attached, (uint64_t)region.self.epoch << 32 | (region.self.slot + 1));
    be[page->role]();
    note(EVENT_LEFT, WAY_JOBS, 0, 0, read_all);
    shmq_region_close(&region);
    return 0;
}
