/* SPDX-License-Identifier: MIT */
/* Directed tests: one process is stopped at every access of an operation, something happens behind its back, it goes
 * on or dies there; then all is checked as after any schedule. Each test names the tags of docs/design.md it
 * answers. */
#ifndef SIM_DIRECTED_H
#define SIM_DIRECTED_H

#include "sim_windup.h"

enum { SIM_ALPHA, SIM_BETA, SIM_GAMMA, SIM_DELTA };

/* The stopped process is fibre 0; its peers are played by the main program as fibres 1 …, or run as fibres. */
#define SIM_VICTIM 0

struct sim_directed {
    const char *tags;
    const char *name;           /* a sentence */
    void (*run)(void);
};

extern const struct sim_directed sim_directed_tests[];
uint32_t sim_directed_count(void);
/* Returns the number of stops it made. Fails loudly. */
uint64_t sim_directed_run(const struct sim_directed *test);
const struct sim_directed *sim_directed_find(const char *name);

/* ---- for those who write tests ---- */

/* A fresh world: `granules` blocks, 6 process slots, 4 named queues, rings as small as they can be. */
void sim_stage(uint32_t granules);
/* The same with room for 8 queues and 2 topics. */
void sim_stage_topics(uint32_t granules);
/* Fibre `fibre` attaches, played, and knows the first topic; `depth` 0: it does not subscribe. Subscribed as its 0. */
struct sim_process *sim_member(int fibre, uint32_t depth, enum shmq_policy policy);
/* Publish one granule to the first topic, waiting for nobody. Returns how many it reached. */
uint32_t sim_announce(struct sim_process *process);
/* Receive from its subscription 0; what is received is held last. */
int sim_hear(struct sim_process *process);
/* Fibre `fibre` attaches, played; opens its inbox and alpha, both of this depth, and claims alpha as one of many. */
struct sim_process *sim_player(int fibre, uint32_t depth);
/* A player does something: the main program impersonates it for the call. */
#define SIM_AS(process, call) (sim_impersonate((process)->fibre), (call))
/* Send one granule / receive; results as in the header, what is received is held last. */
int sim_post(struct sim_process *process, const struct shmq_queue_ref *ref);
int sim_fetch(struct sim_process *process, const struct shmq_queue_ref *ref);
/* What this player's operation, run as fibre 0 for so many accesses, leaves when it dies. Returns whether it had ended.
 * Fibre 0 is the victim's again afterwards. */
bool sim_die_after(struct sim_process *process, sim_body *operation, uint64_t accesses);
/* The player dies: locks are freed, nobody has recovered it yet. */
void sim_slay(struct sim_process *process);
/* alpha is deleted and made again in the same record, by `process`. */
void sim_remake_alpha(struct sim_process *process, uint32_t depth);

/* Stages alpha as used for more than a lap: the victim and one more player, fibre 1, which is returned, know it. */
struct sim_process *sim_stage_alpha(uint32_t depth);
/* How many messages a queue still gives to this player; they are released. */
uint32_t sim_count(struct sim_process *process, const struct shmq_queue_ref *ref);

/* One test: set_up, then the victim makes n accesses, `behind` happens, the victim goes on to its end, check. For
 * n = 0, 1, … until the victim ends within n. Any of the functions may be NULL but the victim's. */
struct sim_stop {
    void (*set_up)(void);
    void (*victim)(struct sim_process *self);
    void (*behind)(void);
    void (*check)(void);
    enum { SIM_GOES_ON, SIM_DIES, SIM_DIES_RECOVERED } fate; /* it is killed at its stop, recovered, before `behind` */
};

void sim_stop_everywhere(const struct sim_stop *stop);

#define SIM_COUNT(array) (sizeof(array) / sizeof((array)[0]))
/* A stop with each fate, and no check but the usual one. */
#define SIM_FATES(set_up, victim, behind)               \
    { set_up, victim, behind, NULL, SIM_GOES_ON },      \
    { set_up, victim, behind, NULL, SIM_DIES },         \
    { set_up, victim, behind, NULL, SIM_DIES_RECOVERED }

/* A test that makes its own stops tells where it is. */
void sim_stopped(uint64_t first, uint64_t second);

/* How far the victim had got, for the checks: whether its operation had ended before `behind`. */
extern bool sim_victim_ended;

#endif
