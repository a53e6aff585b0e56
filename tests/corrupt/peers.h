/* SPDX-License-Identifier: MIT */
/* A region with real files and locks, and peers that are in it: each attached for itself, with its own mapping. */
#ifndef CORRUPT_PEERS_H
#define CORRUPT_PEERS_H

#include <signal.h>
#include <sys/mman.h>
#include <sys/wait.h>

#include "../c/watcher.h"
#include "damage.h"

#define REGION_BYTES (1ull << 20)
#define REGION_GRANULE 16384u           /* few of them: whoever recovers looks at each */
#define REGION_PROCESSES 5u
#define REGION_QUEUES 12u
#define PEERS 3u
#define TEN "0123456789"
#define LONGEST TEN TEN TEN TEN TEN TEN TEN TEN TEN TEN /* name that there is */

/* What a process has open, and at hand. */
struct peer {
    struct shmq_region region;
    struct shmq_queue_ref jobs, drops, news, heard; /* a queue for all, two that drop, its subscription */
    struct shmq_publisher publisher;
    struct shmq_hold loan;
    struct shmq_message held, published;
};

#if defined(__SANITIZE_ADDRESS__)
/* What was freed is kept from use for a while; not so much of it that memory without bound would not show. */
const char *__asan_default_options(void);
const char *__asan_default_options(void) { return "quarantine_size_mb=16"; }
#endif

static char region_directory[64];
static struct peer peers[PEERS];

static inline struct shmq_region_options region_options(const char *process, enum shmq_region_how how)
{
    struct shmq_region_options options;

    memset(&options, 0, sizeof options);
    options.name = "alpha";
    options.process = process;
    options.size = how == SHMQ_REGION_ATTACH ? 0 : REGION_BYTES;
    options.granule = REGION_GRANULE;
    options.max_processes = REGION_PROCESSES;
    options.max_queues = REGION_QUEUES;
    options.how = how;
    return options;
}

static inline void region_name_directory(const char *program)
{
    snprintf(region_directory, sizeof region_directory, "/dev/shm/shmq-%s-%d", program, (int)getpid());
    CHECK_EQUAL(setenv("SHMQ_DIR", region_directory, 1), 0);
}

static char *region_doing;              /* what the test is about, for its watcher, too */
#define REGION_DOING 128u

static inline void region_watch(void)
{
    region_doing = (char *)mmap(NULL, REGION_DOING, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    CHECK(region_doing != MAP_FAILED);
    watcher_begin(region_directory, SIGKILL, region_doing);
}

/* ---- of a sound region ------------------------------------------------------------------------------------- */

static inline int peer_open_queue(struct peer *peer, const char *name, uint32_t depth, enum shmq_policy policy,
    struct shmq_queue_ref *ref)
{
    struct shmq_queue_spec spec = { SHMQ_KIND_WORK, SHMQ_POLICY_BLOCK, depth, name, 0, 0 };
    struct shmq_actor *self = &peer->region.self;
    uint64_t holder;
    int result = shmq_queue_open(self, &spec, true, ref);

    return result ? result : shmq_queue_claim(self, ref, true, policy, &holder);
}

/* Attach, and open what there is. SHMQ_OK, or what kept it from that: in a sound region nothing does. */
static inline int peer_join(struct peer *peer, const char *name, enum shmq_policy policy)
{
    struct shmq_region_options options = region_options(name, SHMQ_REGION_EITHER);
    struct shmq_actor *self = &peer->region.self;
    struct shmq_error error;
    uint32_t topic = 0;
    int result;

    memset(peer, 0, sizeof *peer);
    if ((result = shmq_region_open(&peer->region, &options, &error)))
        return result;
    if ((result = peer_open_queue(peer, "jobs", 6, SHMQ_POLICY_BLOCK, &peer->jobs))
        || (result = peer_open_queue(peer, "drops", 3, SHMQ_POLICY_DROP_OLDEST, &peer->drops))
        || (result = peer_open_queue(peer, "news", 3, SHMQ_POLICY_DROP_NEWEST, &peer->news))
        || (result = shmq_topic_open(self, "frames", &topic))
        || (result = shmq_subscribe(self, topic, 2, policy, &peer->heard)))
        return result;
    shmq_publisher_init(&peer->publisher, topic);
    peer->region.self.cache.limit = 8;
    return SHMQ_OK;
}

static inline void peer_send(struct peer *peer, const struct shmq_queue_ref *ref, bool array)
{
    struct shmq_array_type type = { 'f', '<', 8, 2, { 3, 5 } };
    struct shmq_parcel parcel = { 120, 77 };
    struct shmq_hold loan;

    CHECK_EQUAL(shmq_loan(&peer->region.self, 120, &loan), SHMQ_OK);
    if (array) {
        parcel.length |= SHMQ_LENGTH_ENVELOPE;
        CHECK_EQUAL(shmq_envelope_write(&peer->region.map.block[loan.block], &type), SHMQ_OK);
    }
    CHECK_EQUAL(shmq_send(&peer->region.self, ref, &loan, &parcel), SHMQ_OK);
}

static inline void peer_publish(struct peer *peer)
{
    struct shmq_parcel parcel = { 100, 7 };
    struct shmq_publication publication;
    struct shmq_hold loan;

    CHECK_EQUAL(shmq_loan(&peer->region.self, 100, &loan), SHMQ_OK);
    CHECK_EQUAL(shmq_publish_start(&peer->region.self, &peer->publisher, &loan, &parcel, &publication), SHMQ_OK);
    (void)shmq_publish_try(&peer->region.self, &peer->publisher, &publication);
    shmq_publish_finish(&peer->region.self, &peer->publisher, &publication);
}

static inline void peer_hear(struct peer *peer)
{
    struct shmq_message message;

    CHECK_EQUAL(shmq_receive(&peer->region.self, &peer->heard, &message), SHMQ_OK);
    CHECK_EQUAL(shmq_release(&peer->region.self, &message.hold), SHMQ_OK);
}

/* It dies as it is: with its messages, its loan and its subscription. */
static inline void peer_die(struct peer *peer)
{
    CHECK_EQUAL(shmq_loan(&peer->region.self, 700, &peer->loan), SHMQ_OK);
    CHECK_EQUAL(shmq_receive_queued(&peer->region.self, &peer->jobs, &peer->held), SHMQ_OK);
    shmq_region_forget(&peer->region);
}

/* Everything that a region can have at a time: loans, a cache, messages queued, held, to be redelivered, published and
 * published to one that died, announcements, a claim. */
static inline void peers_populate(struct peer *dead)
{
    struct shmq_queue_spec spec = { SHMQ_KIND_WORK, SHMQ_POLICY_BLOCK, 5, LONGEST, 0, 0 };
    struct shmq_actor *self = &peers[0].region.self;
    struct shmq_queue_ref own;
    struct shmq_error error;
    uint64_t holder;

    peer_send(&peers[0], &peers[0].jobs, false);
    CHECK_EQUAL(peer_join(dead, "dead", SHMQ_POLICY_BLOCK), SHMQ_OK);
    peer_die(dead);
    CHECK_EQUAL(shmq_region_recover(&peers[0].region, &error), 1); /* what it held is to be redelivered */
    peer_send(&peers[0], &peers[0].jobs, true);
    CHECK_EQUAL(shmq_receive_queued(self, &peers[0].jobs, &peers[0].held), SHMQ_OK);
    CHECK_EQUAL(peer_join(dead, "dead", SHMQ_POLICY_BLOCK), SHMQ_OK);
    peer_send(&peers[1], &peers[1].jobs, false);
    peer_send(dead, &dead->jobs, true);
    peer_send(dead, &dead->jobs, false);
    peer_publish(&peers[1]);
    CHECK_EQUAL(shmq_receive(self, &peers[0].heard, &peers[0].published), SHMQ_OK); /* soon it alone holds it */
    peer_hear(&peers[1]);
    peer_hear(&peers[2]);
    peer_hear(dead);
    peer_publish(dead);
    peer_send(&peers[1], &peers[0].region.inbox, false);
    peer_send(&peers[1], &peers[1].drops, false);
    CHECK_EQUAL(shmq_receive(&dead->region.self, &dead->heard, &dead->published), SHMQ_OK);
    peer_die(dead);
    CHECK_EQUAL(shmq_loan(self, 700, &peers[0].loan), SHMQ_OK);
    CHECK_EQUAL(shmq_queue_open(&peers[1].region.self, &spec, true, &own), SHMQ_OK);
    CHECK_EQUAL(shmq_queue_claim(&peers[1].region.self, &own, false, SHMQ_POLICY_BLOCK, &holder), SHMQ_OK);
    peers[0].jobs.queue->flags |= SHMQ_QUEUE_SLEEP | SHMQ_QUEUE_SPACE;
}

#endif
