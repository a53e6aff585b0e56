/* SPDX-License-Identifier: MIT */
/* Switching stacks: a few instructions on x86-64, ucontext elsewhere, and the calls that tell AddressSanitizer. */
#include "sim_fibre.h"

#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#if defined(__SANITIZE_ADDRESS__)
#include <sanitizer/asan_interface.h>
#include <sanitizer/common_interface_defs.h>
#endif

#if defined(__x86_64__)

struct place {
    void *stack_pointer;
};

/* Save the callee's registers on this stack, go to the other, restore them there. */
__attribute__((naked, noinline)) static void jump(__attribute__((unused)) struct place *from,
    __attribute__((unused)) const struct place *to)
{
    __asm__("push %rbp; push %rbx; push %r12; push %r13; push %r14; push %r15\n\t"
            "mov %rsp, (%rdi); mov (%rsi), %rsp\n\t"
            "pop %r15; pop %r14; pop %r13; pop %r12; pop %rbx; pop %rbp; ret");
}

static void place_make(struct place *place, unsigned char *stack, size_t bytes, void (*entry)(void))
{
    uint64_t *top = (uint64_t *)(void *)(((uintptr_t)stack + bytes - 64) & ~(uintptr_t)63);

    *--top = 0; /* where a return address would lie: keeps the stack aligned as after a call */
    *--top = (uint64_t)(uintptr_t)entry;
    for (int saved = 0; saved < 6; saved++)
        *--top = 0;
    place->stack_pointer = top;
}

#else

#include <ucontext.h>

struct place {
    ucontext_t context;
};

static void jump(struct place *from, const struct place *to) { swapcontext(&from->context, &to->context); }

static void place_make(struct place *place, unsigned char *stack, size_t bytes, void (*entry)(void))
{
    getcontext(&place->context);
    place->context.uc_stack.ss_sp = stack;
    place->context.uc_stack.ss_size = bytes;
    place->context.uc_link = NULL;
    makecontext(&place->context, entry, 0);
}

#endif

struct sim_stack {
    struct place place;
    unsigned char *bytes;
    void *fake; /* AddressSanitizer's */
};

static struct place main_place;

#if defined(__SANITIZE_ADDRESS__)
static const void *main_bottom;
static size_t main_bytes;
static void *main_fake;
#endif

struct sim_stack *sim_stack_make(struct sim_stack *reuse, void (*entry)(void))
{
    struct sim_stack *stack = reuse;

    if (!stack) {
        stack = calloc(1, sizeof *stack);
        if (stack)
            stack->bytes = malloc(SIM_STACK_BYTES);
        if (!stack || !stack->bytes)
            abort();
    }
#if defined(__SANITIZE_ADDRESS__)
    ASAN_UNPOISON_MEMORY_REGION(stack->bytes, SIM_STACK_BYTES); /* the last fibre died with frames on it */
    stack->fake = NULL;
#endif
    place_make(&stack->place, stack->bytes, SIM_STACK_BYTES, entry);
    return stack;
}

void sim_stack_enter(struct sim_stack *stack)
{
#if defined(__SANITIZE_ADDRESS__)
    __sanitizer_start_switch_fiber(&main_fake, stack->bytes, SIM_STACK_BYTES);
#endif
    jump(&main_place, &stack->place);
#if defined(__SANITIZE_ADDRESS__)
    __sanitizer_finish_switch_fiber(main_fake, NULL, NULL);
#endif
}

void sim_stack_leave(struct sim_stack *stack, int forever)
{
#if defined(__SANITIZE_ADDRESS__)
    __sanitizer_start_switch_fiber(forever ? NULL : &stack->fake, main_bottom, main_bytes);
#else
    (void)forever;
#endif
    jump(&stack->place, &main_place);
    sim_stack_started(stack);
}

void sim_stack_started(struct sim_stack *stack)
{
#if defined(__SANITIZE_ADDRESS__)
    __sanitizer_finish_switch_fiber(stack->fake, &main_bottom, &main_bytes);
#else
    (void)stack;
#endif
}
