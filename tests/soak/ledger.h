/* SPDX-License-Identifier: MIT */
/* What the soak's processes note, in memory of their own that shmq does not know: the truth that the audit believes.
 *
 * Each worker has a *page*. Before an operation it notes what it is about to do, after it that it is done: plain
 * stores, which survive its SIGKILL. So of everything a killed worker did it is known whether it was done, or perhaps
 * done (one thing at most: its last). The controller reads the page once the worker is dead, and gives it to the next.
 *
 * A message is named by the *life* that sent it (each exec of a worker is a new one) and its number n, from 1.
 * tests/soak/worker.py knows the layout, too: 64-bit words, and nothing else. It compares `number` with what it knows.
 */
#ifndef SOAK_LEDGER_H
#define SOAK_LEDGER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define LEDGER_FD 3                     /* where a worker finds it */
#define LEDGER_PAGES 32u
#define LEDGER_EVENTS 16374u            /* in a page; who has noted nearly so many leaves */
#define LEDGER_TEXT 10u                 /* words of a name */

enum phase {
    PHASE_RUN,
    PHASE_STOP,             /* who sends leaves */
    PHASE_END               /* who receives leaves, once it has read all */
};

#define SOAK_ROLES(ROLE)                                                                                            \
    ROLE(SENDER, "sender") ROLE(WORKER, "worker") ROLE(FORWARDER, "forwarder") ROLE(EDITOR, "editor")               \
    ROLE(PUBLISHER, "publisher") ROLE(SUBSCRIBER, "subscriber") ROLE(LOSSY, "subscriber that drops")                \
    ROLE(REQUESTER, "requester") ROLE(ANSWERER, "answerer") ROLE(MAKER, "maker of queues")                          \
    ROLE(OPENER, "opener") ROLE(DRAINER, "drainer")

enum role {
#define ROLE(name, text) ROLE_##name,
    SOAK_ROLES(ROLE)
#undef ROLE
    ROLES
};

/* Where a message goes. */
enum way { WAY_JOBS, WAY_NEXT, WAY_PASSING, WAY_INBOX, WAY_TOPIC, WAYS };

enum event {
    EVENT_NONE,
    EVENT_SEND,             /* about to send: life is the receiver's where that is an inbox */
    EVENT_SENT,             /* … done */
    EVENT_REFUSED,          /* … certainly not done */
    EVENT_GOT,              /* received, whole */
    EVENT_ACK,              /* about to acknowledge, by a release or an edit */
    EVENT_ACKED,
    EVENT_FORWARD,          /* about to hand on to WAY_NEXT */
    EVENT_FORWARDED,
    EVENT_KEPT,             /* … certainly not done: still held */
    EVENT_TAKEN,            /* it had been held, and was somebody else's before it was given back */
    EVENT_TORN,             /* received, and not as it was sent */
    EVENT_LEFT              /* the last: holds nothing, closes; n: it has read all that only it could receive */
};

/* An event = kind4 | way4 | deliveries8 | life24 | n24. */
static inline uint64_t event_word(enum event event, enum way way, uint32_t deliveries, uint32_t life, uint32_t n)
{
    return (uint64_t)event << 60 | (uint64_t)way << 56 | (uint64_t)(deliveries & 0xff) << 48
        | (uint64_t)(life & 0xffffff) << 24 | (n & 0xffffff);
}

static inline enum event event_kind(uint64_t word) { return (enum event)(word >> 60); }
static inline enum way event_way(uint64_t word) { return (enum way)(word >> 56 & 0xf); }
static inline uint32_t event_deliveries(uint64_t word) { return (uint32_t)(word >> 48 & 0xff); }
static inline uint32_t event_life(uint64_t word) { return (uint32_t)(word >> 24 & 0xffffff); }
static inline uint32_t event_n(uint64_t word) { return (uint32_t)(word & 0xffffff); }

/* One worker's. The first three words are the controller's, and written before the worker is started. */
struct page {
    uint64_t life;
    uint64_t role;
    uint64_t seed;
    uint64_t attached;      /* process epoch32 | process slot + 1, once attached; a Python worker says no more than 1 */
    uint64_t beat;          /* goes up while the worker gets on */
    uint64_t ready_ns;      /* of a subscriber: it has subscribed */
    uint64_t first_ns;      /* of a publisher: before its first publication … */
    uint64_t last_ns;       /* … and before its latest */
    uint64_t dropped;       /* of a subscriber that has read to the end: what its queue says that it dropped */
    uint64_t count;         /* events noted: raised after each */
    uint64_t event[LEDGER_EVENTS];
};

#define LEDGER_NUMBERS 43u

struct ledger {
    uint64_t phase;
    char directory[LEDGER_TEXT * 8];
    char region[LEDGER_TEXT * 8];
    uint64_t number[LEDGER_NUMBERS]; /* ledger_describe's */
    struct page page[LEDGER_PAGES];
};

_Static_assert(offsetof(struct ledger, page) == 512, "pages begin on a cache line");

/* What worker.py has copied, in its order. */
static inline void ledger_describe(struct ledger *ledger)
{
    const uint64_t numbers[] = {
        LEDGER_PAGES, sizeof(struct page) / 8, offsetof(struct ledger, page) / 8, LEDGER_EVENTS,
        offsetof(struct ledger, directory) / 8, offsetof(struct ledger, region) / 8, LEDGER_TEXT,
        offsetof(struct page, life) / 8, offsetof(struct page, role) / 8, offsetof(struct page, seed) / 8,
        offsetof(struct page, attached) / 8, offsetof(struct page, beat) / 8, offsetof(struct page, ready_ns) / 8,
        offsetof(struct page, first_ns) / 8, offsetof(struct page, last_ns) / 8, offsetof(struct page, dropped) / 8,
        offsetof(struct page, count) / 8, offsetof(struct page, event) / 8,
        PHASE_RUN, PHASE_STOP, PHASE_END, ROLE_ANSWERER, ROLE_DRAINER,
        WAY_JOBS, WAY_NEXT, WAY_PASSING, WAY_INBOX, WAY_TOPIC,
        EVENT_SEND, EVENT_SENT, EVENT_REFUSED, EVENT_GOT, EVENT_ACK, EVENT_ACKED, EVENT_FORWARD, EVENT_FORWARDED,
        EVENT_KEPT, EVENT_TAKEN, EVENT_TORN, EVENT_LEFT,
    };

    _Static_assert(sizeof numbers < sizeof ledger->number, "a 0 follows on the last");
    for (uint32_t i = 0; i < sizeof numbers / sizeof numbers[0]; i++)
        ledger->number[i] = numbers[i];
}

static inline void ledger_store(uint64_t *word, uint64_t value) { __atomic_store_n(word, value, __ATOMIC_RELEASE); }
static inline uint64_t ledger_load(const uint64_t *word) { return __atomic_load_n(word, __ATOMIC_ACQUIRE); }

static inline void ledger_note(struct page *page, uint64_t event)
{
    ledger_store(&page->event[page->count], event);
    ledger_store(&page->count, page->count + 1);
}

#endif
