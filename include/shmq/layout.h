/* SPDX-License-Identifier: MIT */
/* What lies in shared memory: every record, every packed word, and who writes it.
 *
 * Only fixed-width integers and offsets live there, never a pointer. All words are uint64_t and are read and written
 * through atomics.h. Zeroed memory is a valid region but for the header and the buddy words that `shmq_region_format`
 * sets. The admin segment, in this order (offsets: `shmq_geometry_init` in map.h):
 *
 *     header | process[max_processes] | queue[queues] | name[queues] | topic[max_topics]
 *            | buddy words, one array a tier | split marks, one array a tier | block[granules] | slots[queues][65536]
 *
 * All but the slots is reserved when the region is made; a queue's slots are reserved when the queue is. The data
 * segment is a file and a mapping of its own and holds payload bytes only.
 */
#ifndef SHMQ_LAYOUT_H
#define SHMQ_LAYOUT_H

#include <stddef.h>

#include "atomics.h"

#define SHMQ_MAGIC 0x31514d4853ull /* "SHMQ1", little endian */
#define SHMQ_LAYOUT_VERSION 1u

#define SHMQ_NAME_MAX 100            /* characters of a region, process, queue or topic name */
#define SHMQ_NAME_WORDS 13           /* words that hold such a name, zero-padded */
#define SHMQ_MAX_PROCESSES 1024u
#define SHMQ_MAX_QUEUES 1024u        /* besides the inboxes */
#ifndef SHMQ_INBOX_DEPTH /* a test changes it: whoever recovers looks at each slot */
#define SHMQ_INBOX_DEPTH 1024u       /* of every process's inbox */
#endif
#define SHMQ_MAX_TOPICS 256u
#define SHMQ_MAX_SUBSCRIBERS 120u    /* a topic's; 24 in each of the five ticket words */
#define SHMQ_MAX_DEPTH 65536u
#define SHMQ_MIN_CAPACITY_SHIFT 6    /* 64 slots: what the lap arithmetic's ABA bound assumes */
#define SHMQ_MAX_CAPACITY_SHIFT 16
#define SHMQ_MIN_GRANULE_SHIFT 9
#define SHMQ_MAX_GRANULE_SHIFT 20
#define SHMQ_MAX_GRANULES ((1u << 28) - 1)
#define SHMQ_MAX_TIERS 6             /* 32^6 granules > 2^28 */
#define SHMQ_MAX_ORDERS 28
#define SHMQ_MAX_DIMENSIONS 6
#define SHMQ_PAGE 4096u
#define SHMQ_NO_OWNER 0xffffu

/* Queue indices 0 … max_processes-1 are the inboxes: queue i is process i's. The named queues follow. */

/* ---- packed words ---------------------------------------------------------------------------------------- */

/* Bits [shift, shift + width) of a word. */
static inline uint64_t shmq_field(uint64_t word, unsigned shift, unsigned width)
{
    return (word >> shift) & ((1ull << width) - 1);
}

/* The block word D = gen24 | order5 | state3 | queue16 | owner16: the only truth about who owns a block.
 * queue is qid + 1: of an OWNED block the queue it was received from while it is held, else 0; the topic of a FANOUT
 * one. owner is a process slot; 0 in REQUEUE and FREE. gen counts the block's transitions into QUEUED, OWNED by
 * acknowledgement, and FREE, and wraps. */
enum shmq_state {
    SHMQ_STATE_FREE,
    SHMQ_STATE_OWNED,
    SHMQ_STATE_QUEUED,
    SHMQ_STATE_FANOUT,      /* published: its tickets (M words) say who still wants it */
    SHMQ_STATE_REQUEUE,
    SHMQ_STATE_TICKET       /* never in shared memory: how a subscriber's hold of a FANOUT block is noted (ticket.h) */
};

static inline uint64_t shmq_block_word(uint32_t gen, uint32_t order, enum shmq_state state, uint32_t queue,
    uint32_t owner)
{
    return (uint64_t)(gen & 0xffffff) << 40 | (uint64_t)order << 35 | (uint64_t)state << 32
        | (uint64_t)(uint16_t)queue << 16 | (uint16_t)owner;
}

/* The same generation and order, in another state. */
static inline uint64_t shmq_block_move(uint64_t word, enum shmq_state state, uint32_t queue, uint32_t owner)
{
    return (word & ~((1ull << 35) - 1)) | (uint64_t)state << 32 | (uint64_t)(uint16_t)queue << 16 | (uint16_t)owner;
}

/* The next generation, in another state. */
static inline uint64_t shmq_block_next(uint64_t word, enum shmq_state state, uint32_t queue, uint32_t owner)
{
    return shmq_block_move(word + (1ull << 40), state, queue, owner); /* wraps within its 24 bits */
}

static inline uint32_t shmq_block_gen(uint64_t word) { return (uint32_t)(word >> 40); }
static inline uint32_t shmq_block_order(uint64_t word) { return (uint32_t)shmq_field(word, 35, 5); }
static inline uint32_t shmq_block_state(uint64_t word) { return (uint32_t)shmq_field(word, 32, 3); }
static inline uint32_t shmq_block_queue(uint64_t word) { return (uint32_t)shmq_field(word, 16, 16); }
static inline uint32_t shmq_block_owner(uint64_t word) { return (uint32_t)shmq_field(word, 0, 16); }

/* A slot = lap24 | gen12 | value28: the lap it serves, the low bits of the block's generation, block + 1 or 0. */
static inline uint64_t shmq_slot_word(uint32_t lap, uint32_t gen, uint32_t value)
{
    return (uint64_t)(lap & 0xffffff) << 40 | (uint64_t)(gen & 0xfff) << 28 | (value & 0xfffffff);
}

static inline uint64_t shmq_slot_empty(uint32_t lap) { return shmq_slot_word(lap, 0, 0); }
static inline uint32_t shmq_slot_lap(uint64_t word) { return (uint32_t)(word >> 40); }
static inline uint32_t shmq_slot_gen(uint64_t word) { return (uint32_t)shmq_field(word, 28, 12); }
static inline uint32_t shmq_slot_value(uint64_t word) { return (uint32_t)shmq_field(word, 0, 28); }

/* How many laps `a` is ahead of `b`, on the 24-bit circle: negative when it is behind. */
static inline int32_t shmq_lap_distance(uint32_t a, uint32_t b) { return (int32_t)((a - b) << 8) >> 8; }

/* A hint = epoch16 | position48. A hint of another epoch says nothing: start from the queue's base [D2]. */
static inline uint64_t shmq_hint_word(uint32_t epoch, uint64_t position)
{
    return (uint64_t)(uint16_t)epoch << 48 | (position & 0xffffffffffffull);
}

static inline uint32_t shmq_hint_epoch(uint64_t word) { return (uint32_t)(word >> 48); }
static inline uint64_t shmq_hint_position(uint64_t word) { return word & 0xffffffffffffull; }

/* The queue's flags = epoch32 | owner16 | bits16. The epoch counts incarnations of the record. */
enum {
    SHMQ_QUEUE_OPEN = 1,        /* messages may be posted */
    SHMQ_QUEUE_SLEEP = 2,       /* a receiver sleeps or is about to */
    SHMQ_QUEUE_SPACE = 4,       /* a sender waits for space */
    SHMQ_QUEUE_USED = 8,        /* the record is taken */
    SHMQ_QUEUE_SHUT = 16,       /* no more sends; receivers finish what is queued */
    SHMQ_QUEUE_CLOSING = 32,    /* set in the step that clears OPEN; never opened again in this epoch */
    SHMQ_QUEUE_SHARED = 64,     /* the first receiver chose competing receivers … */
    SHMQ_QUEUE_EXCLUSIVE = 128, /* … or a single one */
    SHMQ_QUEUE_BELL = 256,      /* reserved: a waiter has armed the door-bell */
    SHMQ_QUEUE_DROP_OLDEST = 512,   /* a full queue makes room by dropping its oldest message … */
    SHMQ_QUEUE_DROP_NEWEST = 1024   /* … or drops what was to be sent; neither bit: the sender waits */
};

#define SHMQ_QUEUE_POLICY (SHMQ_QUEUE_DROP_OLDEST | SHMQ_QUEUE_DROP_NEWEST)

static inline uint64_t shmq_flags_word(uint32_t epoch, uint32_t owner, uint32_t bits)
{
    return (uint64_t)epoch << 32 | (uint64_t)(uint16_t)owner << 16 | (uint16_t)bits;
}

static inline uint32_t shmq_flags_epoch(uint64_t word) { return (uint32_t)(word >> 32); }
static inline uint32_t shmq_flags_owner(uint64_t word) { return (uint32_t)shmq_field(word, 16, 16); }
static inline uint32_t shmq_flags_bits(uint64_t word) { return (uint32_t)shmq_field(word, 0, 16); }

/* cfg = kind8 | capacity shift8 | unused8 | topic16 | subscriber index16, fixed before the queue is known to others. */
enum shmq_kind { SHMQ_KIND_NONE, SHMQ_KIND_INBOX, SHMQ_KIND_WORK, SHMQ_KIND_SUBSCRIBER };

static inline uint64_t shmq_config_word(enum shmq_kind kind, uint32_t capacity_shift, uint32_t topic, uint32_t index)
{
    return (uint64_t)kind | (uint64_t)capacity_shift << 8 | (uint64_t)(uint16_t)topic << 24
        | (uint64_t)(uint16_t)index << 40;
}

static inline uint32_t shmq_config_kind(uint64_t word) { return (uint32_t)shmq_field(word, 0, 8); }
static inline uint32_t shmq_config_capacity_shift(uint64_t word) { return (uint32_t)shmq_field(word, 8, 8); }
static inline uint32_t shmq_config_topic(uint64_t word) { return (uint32_t)shmq_field(word, 24, 16); }
static inline uint32_t shmq_config_index(uint64_t word) { return (uint32_t)shmq_field(word, 40, 16); }

/* What happens when a queue is full: fixed by its first receiver, as bits of its flags. */
enum shmq_policy { SHMQ_POLICY_BLOCK, SHMQ_POLICY_DROP_OLDEST, SHMQ_POLICY_DROP_NEWEST };

static inline uint32_t shmq_policy_bits(enum shmq_policy policy)
{
    return policy == SHMQ_POLICY_DROP_OLDEST ? SHMQ_QUEUE_DROP_OLDEST
        : policy == SHMQ_POLICY_DROP_NEWEST  ? SHMQ_QUEUE_DROP_NEWEST
                                             : 0;
}

static inline enum shmq_policy shmq_flags_policy(uint64_t flags)
{
    return flags & SHMQ_QUEUE_DROP_OLDEST ? SHMQ_POLICY_DROP_OLDEST
        : flags & SHMQ_QUEUE_DROP_NEWEST  ? SHMQ_POLICY_DROP_NEWEST
                                          : SHMQ_POLICY_BLOCK;
}

/* Who claims a queue = process epoch32 | queue epoch16 | slot16 + 1; 0: nobody. The queue's epoch keeps a handle on an
 * earlier incarnation from giving the present one's claim up. */
static inline uint64_t shmq_claim_word(uint32_t process_epoch, uint32_t queue_epoch, uint32_t slot)
{
    return (uint64_t)process_epoch << 32 | (uint64_t)(uint16_t)queue_epoch << 16 | (uint16_t)(slot + 1);
}

static inline uint32_t shmq_claim_epoch(uint64_t word) { return (uint32_t)(word >> 32); }
static inline uint32_t shmq_claim_slot(uint64_t word) { return (uint32_t)shmq_field(word, 0, 16) - 1; }

/* A process slot's state = epoch32 | state. */
enum shmq_process_state { SHMQ_PROCESS_FREE, SHMQ_PROCESS_LIVE, SHMQ_PROCESS_DEAD };

static inline uint64_t shmq_process_word(uint32_t epoch, enum shmq_process_state state)
{
    return (uint64_t)epoch << 32 | (uint64_t)state;
}

static inline uint32_t shmq_process_epoch(uint64_t word) { return (uint32_t)(word >> 32); }
static inline uint32_t shmq_process_state(uint64_t word) { return (uint32_t)shmq_field(word, 0, 2); }

/* dir = version48 | qid + 1: the queue that is being named, or SHMQ_DIR_TOPIC + a topic's number, or 0. */
#define SHMQ_DIR_TOPIC 0x8000u

static inline uint64_t shmq_dir_word(uint64_t version, uint32_t queue) { return version << 16 | (uint16_t)queue; }
static inline uint64_t shmq_dir_version(uint64_t word) { return word >> 16; }
static inline uint32_t shmq_dir_queue(uint64_t word) { return (uint32_t)shmq_field(word, 0, 16); }

/* The M words of a queued block: M[0] and M[1] say under which epoch it stands with which queue [D5][D9][H4]. Both
 * carry gentag16, the low bits of the generation they belong to. */
static inline uint64_t shmq_epoch_word(uint32_t gen, uint32_t epoch) { return (uint64_t)(uint16_t)gen << 48 | epoch; }

static inline uint64_t shmq_from_word(uint32_t gen, uint32_t queue, uint32_t epoch)
{
    return (uint64_t)(uint16_t)gen << 48 | (uint64_t)(uint16_t)queue << 32 | epoch;
}

/* The M words of a FANOUT block: gentag16 | seen24 | want24, a bit of each for every subscriber index. want: its ticket
 * is not given back yet; want and seen: it holds the message. */
#define SHMQ_TICKETS 24u            /* in one word */
#define SHMQ_TICKET_WORDS 5u

static inline uint64_t shmq_tickets_word(uint32_t gen, uint32_t want) { return (uint64_t)(uint16_t)gen << 48 | want; }
static inline uint64_t shmq_ticket_want(uint32_t index) { return 1ull << index % SHMQ_TICKETS; }
static inline uint64_t shmq_ticket_seen(uint32_t index) { return 1ull << (SHMQ_TICKETS + index % SHMQ_TICKETS); }
static inline uint32_t shmq_tickets_wanted(uint64_t word) { return (uint32_t)shmq_field(word, 0, SHMQ_TICKETS); }
static inline uint32_t shmq_tickets_seen(uint64_t word)
{
    return (uint32_t)shmq_field(word, SHMQ_TICKETS, SHMQ_TICKETS);
}

/* A topic's entry of a subscriber = queue epoch32 | qid + 1; 0: nobody. */
static inline uint64_t shmq_subscriber_word(uint32_t epoch, uint32_t qid) { return (uint64_t)epoch << 32 | (qid + 1); }
static inline uint32_t shmq_subscriber_epoch(uint64_t word) { return (uint32_t)(word >> 32); }
static inline uint32_t shmq_subscriber_queue(uint64_t word) { return (uint32_t)word - 1; }

static inline uint32_t shmq_tag(uint64_t word) { return (uint32_t)(word >> 48); }
static inline uint32_t shmq_from_queue(uint64_t word) { return (uint32_t)shmq_field(word, 32, 16); }
static inline uint32_t shmq_from_epoch(uint64_t word) { return (uint32_t)word; }

/* length = bytes48 | bits16. */
#define SHMQ_LENGTH_ENVELOPE (1ull << 48) /* the envelope describes the payload */
static inline uint64_t shmq_length_bytes(uint64_t word) { return shmq_field(word, 0, 48); }

/* ---- records --------------------------------------------------------------------------------------------- */

/* One page, written by the creator before the region has a name; later only life, dir, sweep_at, wanted and
 * wanted_seq change. Geometry is copied to private memory at attach and never read from here again. */
struct shmq_header {
    uint64_t magic;
    uint64_t version;       /* layout version32 | layout hash32 */
    uint64_t granule_shift;
    uint64_t granules;
    uint64_t max_processes;
    uint64_t max_queues;    /* named queues, besides the inboxes */
    uint64_t region_id;     /* random: tells a region from another of the same name */
    uint64_t persist;       /* 1: outlives its last process */
    uint64_t creator_pid;
    uint64_t created_ns;    /* wall clock */
    uint64_t reserved[6];
    /* life: attaches so far, or SHMQ_LIFE_ENDED. CASed by who attaches and by who ends the region. If the writer
     * dies: an attach counted by a dead process does no harm; an ended region is removed by whoever meets it. */
    uint64_t life;
    uint64_t separate_life_from_dir[7];
    /* dir: the queue being named. CASed by makers and helpers; if the writer dies, anyone completes it. */
    uint64_t dir;
    uint64_t separate_dir_from_sweep[7];
    /* sweep_at: monotonic ns when the next sweep is due. CASed by who takes it; a value too far ahead counts as due. */
    uint64_t sweep_at;
    /* wanted: 1 while a process waits for blocks; set by the waiter, taken down by who frees. wanted_seq: its futex. */
    uint64_t wanted;
    uint64_t wanted_seq;
    uint64_t separate_wanted[5];
    uint64_t rest[472];
};

#define SHMQ_LIFE_ENDED UINT64_MAX

/* A process slot, its management record. What has no word here is written by the holder of the slot's byte lock between
 * P1 and P2, for display only. state: CASed by the lock's holder; if it dies LIVE, the next holder of the lock
 * closes. */
struct shmq_process {
    uint64_t state;
    uint64_t pid;
    uint64_t start_time;    /* clock ticks since boot, as /proc/PID/stat tells */
    uint64_t pid_namespace;
    uint64_t name[SHMQ_NAME_WORDS];
    uint64_t cached;        /* its own process, for display: blocks32 | granules32 in its cache */
    /* buddy_word: its own process or closer: tier32 | word32 of the buddy word in which it claims, merges or frees
     * blocks; at first 0, the first of tier 0. If the writer dies, close(i) finds there what it had claimed and not
     * entered, or struck out and not freed. */
    uint64_t buddy_word;
    uint64_t reserved[5];
};

/* A queue. tail and head are hints, stored plainly by senders and receivers on lines of their own; a stale or lost one
 * costs a walk, and who follows one sees the slots before it as they were then, on which `depth` rests. The third line
 * is read by all on every message and written on state changes and wakes only. */
struct shmq_queue {
    uint64_t tail;          /* senders: hint of the next position to post at */
    uint64_t separate_tail_from_head[7];
    uint64_t head;          /* receivers: hint of the next position to take */
    uint64_t dropped;       /* who drops: epoch16 | messages dropped48; one who dies in between leaves it short */
    uint64_t separate_head_from_flags[6];
    uint64_t flags;         /* all: see SHMQ_QUEUE_*; the word that opens and closes */
    uint64_t base;          /* maker at Q1: first position of this incarnation */
    uint64_t config;        /* maker at Q1 */
    uint64_t receivers_seq; /* futex of sleeping receivers */
    uint64_t senders_seq;   /* futex of senders waiting for space */
    uint64_t reserved_flags_line[3];
    uint64_t requeued;      /* closers: count of closes that requeued something; never reset */
    uint64_t requeued_done; /* receivers: the count up to which all has been redelivered */
    uint64_t claim;         /* the exclusive receiver, see shmq_claim_word */
    uint64_t depth;         /* maker at Q1: messages it may hold */
    uint64_t place;         /* makers: capacity shift + 1 of the largest slot array ever reserved here; only grows */
    uint64_t reserved_cold_line[3];
};

/* A queue's name, beside the queue; written between Q1 and the CAS of dir. */
struct shmq_name {
    uint64_t text[SHMQ_NAME_WORDS];
    uint64_t reserved[3];
};

/* A topic, named once and for the region's life. flags: epoch32 | owner16 | bits16 as a queue's (USED, OPEN, CLOSING);
 * text: written by the maker before N1. If the maker dies before N1, its close frees the record. */
struct shmq_topic {
    uint64_t flags;
    uint64_t text[SHMQ_NAME_WORDS];
    uint64_t published;     /* publishers: messages so far; a number taken by one who died is a gap */
    uint64_t indices;       /* subscribers: entries ever used, raised before Q3; what follows need not be looked at */
    uint64_t subscriber[SHMQ_MAX_SUBSCRIBERS]; /* shmq_subscriber_word; CASed by the queue's owner at Q3 and QC_SUB */
};

/* Describes the payload beyond its length: touched only by messages that use it, valid while length says so.
 * Written by the loan's owner before S1; a torn one is never seen, because its block never becomes QUEUED. */
struct shmq_envelope {
    uint64_t type;          /* kind8 | dimensions8 | dtype kind8 | byte order8 | item size32 */
    uint64_t shape[3];      /* six extents of 32 bits, two a word */
    uint64_t sequence;      /* of a FANOUT block: its number in the topic */
    uint64_t sent_ns;       /* reserved: when it was sent */
    uint64_t sender;        /* of a FANOUT block: its publisher's epoch32 | slot + 1 */
    uint64_t reply_to;      /* reserved: a call's number */
};

/* A block's descriptor. Only the block word decides; the rest belongs to whoever the block word says. */
struct shmq_block {
    uint64_t word;          /* D, see shmq_block_word: CASed by claimers, stored by the owner */
    uint64_t length;        /* owner: payload bytes, and whether the envelope is valid */
    uint64_t label;         /* owner: label32 (low) | deliveries32: how often it was handed out before */
    uint64_t m[SHMQ_TICKET_WORDS]; /* QUEUED life: epoch, from, position, sender; FANOUT life: tickets */
    struct shmq_envelope envelope;
};

enum { SHMQ_M_EPOCH, SHMQ_M_FROM, SHMQ_M_POSITION, SHMQ_M_SENDER };

SHMQ_STATIC_ASSERT(sizeof(struct shmq_header) == SHMQ_PAGE, "the header is a page, so that the tables start on one");
SHMQ_STATIC_ASSERT(offsetof(struct shmq_header, life) % SHMQ_CACHE_LINE == 0,
    "attaching must not disturb dir's readers");
SHMQ_STATIC_ASSERT(offsetof(struct shmq_header, dir) % SHMQ_CACHE_LINE == 0, "naming must not disturb attaching");
SHMQ_STATIC_ASSERT(offsetof(struct shmq_header, sweep_at) % SHMQ_CACHE_LINE == 0,
    "frees read this line on every release");
SHMQ_STATIC_ASSERT(sizeof(struct shmq_process) == 192, "three cache lines, so that slots do not share one");
SHMQ_STATIC_ASSERT(sizeof(struct shmq_queue) == 256, "four cache lines: tail, head, flags, cold");
SHMQ_STATIC_ASSERT(offsetof(struct shmq_queue, head) == 64, "senders and receivers write different lines");
SHMQ_STATIC_ASSERT(offsetof(struct shmq_queue, flags) == 128,
    "flags are read on every message: nothing hot is written beside");
SHMQ_STATIC_ASSERT(sizeof(struct shmq_name) == 128, "two cache lines");
SHMQ_STATIC_ASSERT(sizeof(struct shmq_topic) == 1088, "17 cache lines");
SHMQ_STATIC_ASSERT(offsetof(struct shmq_block, envelope) == 64, "a small message touches one line of its descriptor");
SHMQ_STATIC_ASSERT(sizeof(struct shmq_block) == 128, "a pair of lines, as the prefetcher fetches them");
SHMQ_STATIC_ASSERT(SHMQ_NAME_WORDS * 8 > SHMQ_NAME_MAX, "a name ends with a zero byte");

#endif
