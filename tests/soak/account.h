/* SPDX-License-Identifier: MIT */
/* The audit: what the pages of the ledger say, put together, against promise 1.
 *
 * Pages are read in the order in which their workers end, so a message may be received before it is sent, as far as the
 * account knows. Every rule is one that holds in any order:
 *
 *   work queues  a message surely sent is acknowledged, surely or perhaps; surely at most once. `deliveries` goes up
 *                with each delivery, so no two deliveries of it say the same number, and none a larger one than that
 *                which was acknowledged, or handed on.
 *   inboxes      of what one life sends to another a beginning is received, without a hole; all of it, where the
 *                receiver has read to the end.
 *   topics       a subscriber gets of each publisher what follows on the first that it got, without a hole (unless it
 *                drops: then its queue has counted them); each once, in order; all of it, where it subscribed before
 *                and has read to the end.
 *   all          what was refused, or never sent, is not received (a publication that was refused may have reached
 *                some); what is received is whole.
 */
#ifndef SOAK_ACCOUNT_H
#define SOAK_ACCOUNT_H

#include <stdarg.h>

#include "../c/check.h"
#include "ledger.h"

#define ACCOUNT_LIVES (1u << 20)        /* in a round */
#define ACCOUNT_FAULTS_SHOWN 20u

enum sent { SENT_NEVER, SENT_PERHAPS, SENT_SURELY };

struct account_message {
    uint32_t to;            /* the receiver's life, of an inbox */
    uint8_t way;
    uint8_t sent;
    uint8_t received;       /* by an inbox */
    uint8_t heard;          /* by a subscriber */
    uint8_t acked;          /* times, surely … */
    uint8_t maybe_acked;    /* … and perhaps */
    uint8_t acked_stage;    /* 1: after it was handed on, or sent to WAY_NEXT; as the indices below */
    uint8_t last;           /* the largest `deliveries` that may be: that which was acknowledged */
    uint8_t last_before;    /* … before it was handed on */
    uint8_t most[2];        /* the largest seen, on its way and after it was handed on */
    uint32_t seen[2];       /* which have been seen */
};

struct account_life {
    uint32_t role;
    uint32_t count;         /* messages noted … */
    uint32_t capacity;
    uint32_t sure;          /* of a publisher: the last one that was surely published */
    bool read_all;
    bool cut_off;           /* killed while it published: its last event says that it was about to */
    uint64_t ready_ns, first_ns, last_ns, dropped;
    struct account_message *message; /* [n - 1] */
};

/* What one life heard of one publisher. */
struct account_hearing {
    uint32_t by, from, first, last, count;
};

/* The last number that a life got of another by a way; only while that life's page is read. */
struct account_last {
    uint32_t by, n;
};

struct account_tally {
    uint64_t messages, deliveries, redelivered, perhaps, lost, duplicated, torn, disordered, unsent;
};

struct account {
    uint32_t first;         /* the first life of the round */
    uint32_t lives;
    struct account_life *life;
    struct account_last (*last)[WAYS];
    struct account_hearing *hearing;
    uint32_t hearings, hearings_capacity;
    struct account_tally tally;
    uint32_t shown;
};

static inline void *account_grow(void *array, uint64_t old, uint64_t count, uint64_t size)
{
    char *grown = (char *)realloc(array, count * size);

    CHECK(grown);
    memset(grown + old * size, 0, (count - old) * size);
    return grown;
}

static inline void account_begin(struct account *account, uint32_t first)
{
    memset(account, 0, sizeof *account);
    account->first = first;
    account->life = (struct account_life *)calloc(ACCOUNT_LIVES, sizeof *account->life);
    account->last = (struct account_last(*)[WAYS])calloc(ACCOUNT_LIVES, sizeof *account->last);
    CHECK(account->life && account->last);
}

static inline void account_end(struct account *account)
{
    for (uint32_t i = 0; i < account->lives; i++)
        free(account->life[i].message);
    free(account->life);
    free(account->last);
    free(account->hearing);
}

__attribute__((format(printf, 2, 3))) static inline void account_fault(struct account *account, const char *format, ...)
{
    va_list values;

    if (account->shown++ >= ACCOUNT_FAULTS_SHOWN)
        return;
    va_start(values, format);
    vfprintf(stderr, format, values);
    va_end(values);
    fputc('\n', stderr);
}

/* NULL: no such life can be. */
static inline struct account_life *account_life(struct account *account, uint32_t life)
{
    if (life < account->first || life >= account->first + account->lives)
        return NULL;
    return &account->life[life - account->first];
}

static inline struct account_message *account_message(struct account *account, uint32_t life, uint32_t n)
{
    struct account_life *of = account_life(account, life);

    if (!of || n < 1 || n > LEDGER_EVENTS)
        return NULL;
    if (n > of->capacity) {
        uint32_t capacity = n + n / 2 + 8;

        of->message = (struct account_message *)account_grow(of->message, of->capacity, capacity, sizeof *of->message);
        of->capacity = capacity;
    }
    if (n > of->count)
        of->count = n;
    return &of->message[n - 1];
}

/* ---- one page ---------------------------------------------------------------------------------------------- */

static inline void account_hear(struct account *account, uint32_t by, uint32_t from, uint32_t n)
{
    struct account_hearing *hearing = account->hearing;

    for (uint32_t i = account->hearings; i > 0 && hearing[i - 1].by == by; i--)
        if (hearing[i - 1].from == from) {
            hearing[i - 1].last = n;
            hearing[i - 1].count++;
            return;
        }
    if (account->hearings == account->hearings_capacity) {
        account->hearings_capacity = account->hearings * 2 + 64;
        hearing = (struct account_hearing *)account_grow(hearing, account->hearings, account->hearings_capacity,
            sizeof *hearing);
        account->hearing = hearing;
    }
    hearing[account->hearings++] = (struct account_hearing) { by, from, n, n, 1 };
}

/* What one life gets of another by one way comes in order; what is delivered again may come late, and forwarders may
 * overtake each other. */
static inline void account_order(struct account *account, uint32_t by, uint32_t role, enum way way, uint32_t from,
    uint32_t n)
{
    struct account_last *last = &account->last[from - account->first][way];
    uint32_t before = last->by == by ? last->n : 0;

    *last = (struct account_last) { by, n };
    if (n <= before) {
        account->tally.disordered++;
        account_fault(account, "disordered: life %u got %u/%u after %u/%u", by, from, n, from, before);
    } else if (way == WAY_TOPIC && role == ROLE_SUBSCRIBER && before && n != before + 1) {
        account->tally.lost += n - before - 1;
        account_fault(account, "lost: subscriber %u got %u/%u, then %u/%u", by, from, before, from, n);
    }
    if (way == WAY_TOPIC)
        account_hear(account, by, from, n);
}

static inline void account_got(struct account *account, uint32_t by, uint32_t role, uint64_t event)
{
    enum way way = event_way(event);
    uint32_t from = event_life(event), n = event_n(event), deliveries = event_deliveries(event);
    uint32_t stage = way == WAY_NEXT;
    struct account_message *message = account_message(account, from, n);

    if (!message) {
        account->tally.torn++;
        account_fault(account, "torn: life %u got %u/%u, which cannot be", by, from, n);
        return;
    }
    account->tally.deliveries++;
    account->tally.redelivered += deliveries > 0;
    if ((way == WAY_JOBS && deliveries == 0) || way >= WAY_INBOX)
        account_order(account, by, role, way, from, n);
    if (way == WAY_TOPIC) {
        message->heard = 1;
        return;
    }
    if (way == WAY_INBOX ? message->received++ : message->seen[stage] >> (deliveries & 31) & 1) {
        account->tally.duplicated++;
        account_fault(account, "duplicated: life %u got %u/%u again, by way %u, deliveries %u", by, from, n, way,
            deliveries);
    }
    message->seen[stage] |= 1u << (deliveries & 31);
    if (deliveries > message->most[stage])
        message->most[stage] = (uint8_t)deliveries;
}

/* An event that says what became of a message of this life, or of one that it held. `open`: it was the page's last. */
static inline void account_event(struct account *account, uint32_t by, uint32_t role, uint64_t event, bool open)
{
    enum event kind = event_kind(event);
    bool own = kind == EVENT_SEND || kind == EVENT_SENT || kind == EVENT_REFUSED;
    struct account_message *message = NULL;

    if (kind == EVENT_GOT) {
        account_got(account, by, role, event);
        return;
    }
    if (kind == EVENT_TAKEN) {
        account->tally.duplicated++;
        account_fault(account, "duplicated: life %u held %u/%u, which somebody else had, too", by, event_life(event),
            event_n(event));
        return;
    }
    if (kind == EVENT_TORN) {
        account->tally.torn++;
        account_fault(account, "torn: life %u, by way %u, says %u/%u", by, event_way(event), event_life(event),
            event_n(event));
        return;
    }
    message = account_message(account, own ? by : event_life(event), event_n(event));
    if (!message)
        return; /* torn, and counted when it was received */
    if (own) {
        message->way = (uint8_t)event_way(event);
        message->to = event_life(event);
        message->sent = kind == EVENT_SENT ? SENT_SURELY : kind == EVENT_SEND ? SENT_PERHAPS : SENT_NEVER;
        if (kind == EVENT_SENT && event_way(event) == WAY_TOPIC)
            account_life(account, by)->sure = event_n(event);
        account_life(account, by)->cut_off = open && kind == EVENT_SEND && event_way(event) == WAY_TOPIC;
    } else if (kind == EVENT_ACKED) {
        message->acked++;
        message->acked_stage = event_way(event) == WAY_NEXT;
        message->last = (uint8_t)event_deliveries(event);
    } else if (kind == EVENT_FORWARDED) {
        message->last_before = (uint8_t)(event_deliveries(event) + 1);
    } else if (kind == EVENT_ACK && open) {
        message->maybe_acked++;
    }
}

/* A worker has ended: read its page. */
static inline void account_read(struct account *account, const struct page *page)
{
    struct account_life *life = account_life(account, (uint32_t)page->life);

    CHECK(life);
    life->role = (uint32_t)page->role;
    life->ready_ns = page->ready_ns;
    life->first_ns = page->first_ns;
    life->last_ns = page->last_ns;
    life->dropped = page->dropped;
    for (uint64_t i = 0; i < page->count; i++) {
        if (event_kind(page->event[i]) == EVENT_LEFT)
            life->read_all = event_n(page->event[i]);
        else
            account_event(account, (uint32_t)page->life, life->role, page->event[i], i + 1 == page->count);
    }
}

/* ---- the round has ended ------------------------------------------------------------------------------------ */

static inline void account_judge_queued(struct account *account, uint32_t life, uint32_t n)
{
    const struct account_message *message = account_message(account, life, n);
    bool again = message->acked
        && (message->most[0] > message->last || message->most[1] > message->last
            || (message->seen[1] && !message->acked_stage));

    again |= message->last_before && message->most[0] + 1 > message->last_before;
    if (message->sent == SENT_SURELY && !message->acked && !message->maybe_acked && message->way != WAY_PASSING) {
        account->tally.lost++;
        account_fault(account, "lost: %u/%u, by way %u, seen %x and %x", life, n, message->way, message->seen[0],
            message->seen[1]);
    }
    if (message->acked > 1 || again) {
        account->tally.duplicated++;
        account_fault(account, "duplicated: %u/%u acknowledged %u times, at delivery %u; seen %x and %x", life, n,
            message->acked, message->last, message->seen[0], message->seen[1]);
    }
    if (message->sent == SENT_NEVER && (message->seen[0] || message->seen[1])) {
        account->tally.unsent++;
        account_fault(account, "received but not sent: %u/%u", life, n);
    }
}

/* A hole in what the life sent to another; `hole[to]` is who left one there last. */
static inline void account_judge_inbox(struct account *account, uint32_t life, uint32_t n, uint32_t *hole)
{
    const struct account_message *message = account_message(account, life, n);
    const struct account_life *to = account_life(account, message->to);

    if (message->received && message->sent == SENT_NEVER) {
        account->tally.unsent++;
        account_fault(account, "received but not sent: %u/%u", life, n);
    }
    if (!to || message->sent != SENT_SURELY)
        return;
    if (!message->received)
        hole[message->to - account->first] = life;
    if (message->received ? hole[message->to - account->first] == life : to->read_all) {
        account->tally.lost++;
        account_fault(account, "lost: %u/%u or one before it, to the inbox of %u", life, n, message->to);
    }
}

static inline const struct account_hearing *account_heard(const struct account *account, uint32_t by, uint32_t from)
{
    for (uint32_t i = 0; i < account->hearings; i++)
        if (account->hearing[i].by == by && account->hearing[i].from == from)
            return &account->hearing[i];
    return NULL;
}

/* A subscriber that has read to the end, and drops nothing, has the end of what each published since it was there. */
static inline void account_judge_topic(struct account *account, uint32_t subscriber)
{
    const struct account_life *to = account_life(account, subscriber);

    for (uint32_t i = 0; i < account->lives; i++) {
        const struct account_life *from = &account->life[i];
        const struct account_hearing *heard;

        if (from->role != ROLE_PUBLISHER || !from->sure || from->last_ns <= to->ready_ns)
            continue;
        heard = account_heard(account, subscriber, account->first + i);
        if (heard ? heard->last < from->sure || (from->first_ns > to->ready_ns && heard->first != 1)
                  : from->first_ns > to->ready_ns || from->sure == from->count) {
            account->tally.lost++;
            account_fault(account, "lost: subscriber %u got %u to %u of %u's, which published %u", subscriber,
                heard ? heard->first : 0, heard ? heard->last : 0, account->first + i, from->sure);
        }
    }
}

/* One that drops has counted what it misses of those that it heard, but for one that each publisher which was killed
 * while it published may have dropped and not counted yet. */
static inline void account_judge_lossy(struct account *account, uint32_t subscriber)
{
    const struct account_life *to = account_life(account, subscriber);
    uint64_t missed = 0, uncounted = 0;

    for (uint32_t i = 0; i < account->lives; i++) {
        const struct account_life *from = &account->life[i];
        const struct account_hearing *heard;

        if (from->role != ROLE_PUBLISHER || from->last_ns <= to->ready_ns)
            continue;
        uncounted += from->cut_off;
        heard = account_heard(account, subscriber, account->first + i);
        if (heard && heard->last < from->sure)
            missed += from->sure - heard->last;
        if (heard)
            missed += heard->last - heard->first + 1 - heard->count;
    }
    if (missed > to->dropped + uncounted) {
        account->tally.lost += missed - to->dropped;
        account_fault(account, "lost: subscriber %u dropped %llu, and misses %llu", subscriber,
            (unsigned long long)to->dropped, (unsigned long long)missed);
    }
}

/* What was heard was published, or begun to be: of one that was refused some may have got it before. */
static inline void account_judge_heard(struct account *account, uint32_t life, uint32_t n)
{
    const struct account_message *message = account_message(account, life, n);

    if (!message->heard || message->way == WAY_TOPIC)
        return;
    account->tally.unsent++;
    account_fault(account, "heard but not published: %u/%u", life, n);
}

/* Every page has been read. */
static inline void account_judge(struct account *account)
{
    uint32_t *hole = (uint32_t *)calloc(ACCOUNT_LIVES, sizeof *hole);

    CHECK(hole);
    for (uint32_t i = 0; i < account->lives; i++) {
        struct account_life *life = &account->life[i];
        uint32_t number = account->first + i;

        for (uint32_t n = 1; n <= life->count; n++) {
            account->tally.messages += life->message[n - 1].sent == SENT_SURELY;
            account->tally.perhaps += life->message[n - 1].sent == SENT_PERHAPS;
            if (life->message[n - 1].way == WAY_INBOX)
                account_judge_inbox(account, number, n, hole);
            else if (life->message[n - 1].way != WAY_TOPIC)
                account_judge_queued(account, number, n);
            account_judge_heard(account, number, n);
        }
        if (life->role == ROLE_SUBSCRIBER && life->read_all)
            account_judge_topic(account, number);
        if (life->role == ROLE_LOSSY && life->read_all)
            account_judge_lossy(account, number);
    }
    free(hole);
}

static inline uint64_t account_faults(const struct account_tally *tally)
{
    return tally->lost + tally->duplicated + tally->torn + tally->disordered + tally->unsent;
}

#endif
