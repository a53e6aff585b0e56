/* SPDX-License-Identifier: MIT */
/* Fibres: a stack and the place where it stopped. */
#ifndef SIM_FIBRE_H
#define SIM_FIBRE_H

#include <stddef.h>

#define SIM_STACK_BYTES (256u * 1024)

struct sim_stack;

/* A stack on which entry() will run; `reuse` may be one whose fibre will never run again. entry must not return. */
struct sim_stack *sim_stack_make(struct sim_stack *reuse, void (*entry)(void));
/* From the main stack to a fibre's … */
void sim_stack_enter(struct sim_stack *stack);
/* … and back. After `forever` it is not entered again. */
void sim_stack_leave(struct sim_stack *stack, int forever);
/* The first thing a new fibre does. */
void sim_stack_started(struct sim_stack *stack);

#endif
