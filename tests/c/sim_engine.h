/* SPDX-License-Identifier: MIT */
/* What the scheduler (sim.c) and the accesses (sim_access.c) know of a fibre. Private to those two. */
#ifndef SIM_ENGINE_H
#define SIM_ENGINE_H

#include "sim.h"
#include "sim_fibre.h"

#define SIM_BUFFERED 8   /* plain stores that a processor may keep to itself */
#define SIM_REMEMBERED 64

/* A write that has not reached memory yet. */
struct sim_pending {
    uint64_t *word;
    uint64_t value;         /* what to store, or the operand */
    uint64_t expected;      /* of a CAS */
    enum { SIM_STORE, SIM_CAS, SIM_OR, SIM_AND, SIM_ADD } operation;
    enum shmq_step step;
};

struct sim_fibre {
    enum sim_state state;
    struct sim_stack *stack;
    sim_body *body;
    void *argument;

    uint64_t budget;        /* accesses that sim_run still allows */
    bool stop_at_step;      /* sim_run_to: stop before an access under stop_step */
    enum shmq_step stop_step;
    uint64_t stalled_until; /* turn */
    uint64_t wake_at;       /* turn; of a sleeper */
    const uint64_t *sleeping_on;
    bool timed_out;

    uint64_t accesses;
    uint64_t writes;
    uint64_t crash_after;   /* effective writes; 0: never */
    struct sim_trigger {    /* the n-th time that a step comes; n = 0: never */
        enum shmq_step step;
        uint32_t occurrence;
    } crash_at, stall_at;
    uint32_t stall_later;   /* how many accesses after stall_at; counts down once it has come */
    bool stall_armed;

    /* the x86 store buffer: oldest first */
    struct sim_pending buffer[SIM_BUFFERED];
    uint32_t buffered;

    /* mutants */
    enum shmq_step last_write; /* under which step the last write was */
    bool delayed;           /* SIM_SWAP_NEXT: `late` waits for the next write */
    struct sim_pending late;
    struct { const uint64_t *word; uint64_t value; } remembered[SIM_REMEMBERED]; /* SIM_STALE_LOAD */
};

/* Where the main program acts, outside all fibres. */
extern struct sim_fibre sim_main_fibre;
/* The fibre that runs, or sim_main_fibre. */
extern struct sim_fibre *sim_running;
extern bool sim_store_buffer;

/* Called before each access: perhaps somebody else's turn. */
void sim_point(enum shmq_step step);
/* Called after each effective write: perhaps the end. */
void sim_crash_point(enum shmq_step step);

/* From sim_access.c. Let everything in the store buffer reach memory. */
void sim_buffer_drain(struct sim_fibre *fibre);
/* Let the oldest buffered store reach memory. */
void sim_buffer_drain_one(struct sim_fibre *fibre);

#endif
