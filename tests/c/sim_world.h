/* SPDX-License-Identifier: MIT */
/* A simulated region: its memory, the kernel's byte locks, and how processes come, go and clean up after each other. */
#ifndef SIM_WORLD_H
#define SIM_WORLD_H

#include "sim.h"

#include "shmq/await.h"
#include "shmq/channel.h"
#include "shmq/envelope.h"
#include "shmq/names.h"
#include "shmq/publish.h"
#include "shmq/recover.h"

#define SIM_PROCESSES 8
#define SIM_QUEUES 24       /* named */
#define SIM_GRANULES 4096
#define SIM_ROOT (-2)       /* holds a lock as the main program */

struct sim_shape {
    uint32_t granules;
    uint32_t processes;
    uint32_t queues;        /* named */
    uint32_t first_lap;     /* what the slots hold at the beginning: near 2^24 to see laps wrap */
    uint32_t first_epoch;   /* of queues and processes */
    uint32_t first_gen;     /* of blocks */
};

extern struct shmq_map sim_map;

/* A fresh region. */
void sim_world_make(const struct sim_shape *shape);
/* Of every topic all subscriber indices are taken, by nobody who can be found, but for so many chosen at random. */
void sim_world_crowd(uint32_t free_indices);
/* Is this what sim_world_crowd wrote? */
bool sim_world_is_crowd(uint64_t entry);

/* Who acts now: the fibre that runs; SIM_ROOT for the main program, unless it plays another process. */
int sim_identity(void);
/* The main program acts as this fibre from now on, or as itself again (SIM_ROOT). */
void sim_impersonate(int identity);

/* The kernel's lock on byte `slot`, held by the current fibre or by the main program. */
bool sim_lock(uint32_t slot);
void sim_unlock(uint32_t slot);
/* Does whoever runs now hold the lock, and with it the slot's identity? */
bool sim_holds_lock(uint32_t slot);
/* The kernel frees what a dead fibre had locked. */
void sim_locks_of_dead(int fibre);

/* Attach: take a slot, close what its last process left, enter. False: every slot is taken. */
bool sim_attach(struct shmq_actor *actor);
/* Attach at this slot, which must be free. */
void sim_attach_at(struct shmq_actor *actor, uint32_t slot);
/* Leave politely. */
void sim_detach(struct shmq_actor *actor);

/* Close for every dead process found. Returns how many. */
uint32_t sim_sweep(const struct shmq_actor *self);
/* Close for the process of this slot if it is dead and nobody else is at it. */
bool sim_recover(uint32_t slot);

#endif
