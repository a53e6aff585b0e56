/* SPDX-License-Identifier: MIT */
/* Switching stacks: a few instructions of each processor, and the calls that tell AddressSanitizer. */
#include "sim_fibre.h"

#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#if defined(__SANITIZE_ADDRESS__)
#include <sanitizer/asan_interface.h>
#include <sanitizer/common_interface_defs.h>
#endif

struct place {
    uint64_t *stack_pointer;
};

/* Save the callee's registers on this stack, go to the other, restore them there. Not swapcontext, which asks the
 * kernel
 * for the signal mask at each switch: random schedules would take five times as long. */
void sim_stack_jump(struct place *from, const struct place *to);

/* What a jump leaves on a stack, in words: how many, and which is the address where to go on. */
#if defined(__x86_64__)

enum { FRAME_WORDS = 8, FRAME_ENTRY = 6 }; /* six registers, the address, and 0 where its caller's would lie */

__asm__(".pushsection .text\n\t"
        ".globl sim_stack_jump; .type sim_stack_jump, @function; .p2align 4\n"
        "sim_stack_jump:\n\t"
        "push %rbp; push %rbx; push %r12; push %r13; push %r14; push %r15\n\t"
        "mov %rsp, (%rdi); mov (%rsi), %rsp\n\t"
        "pop %r15; pop %r14; pop %r13; pop %r12; pop %rbx; pop %rbp; ret\n\t"
        ".size sim_stack_jump, . - sim_stack_jump\n\t"
        ".popsection");

#elif defined(__aarch64__)

enum { FRAME_WORDS = 20, FRAME_ENTRY = 11 }; /* x19 … x29, the address (x30), the low halves of v8 … v15 */

__asm__(".pushsection .text\n\t"
        ".globl sim_stack_jump; .type sim_stack_jump, %function; .p2align 4\n"
        "sim_stack_jump:\n\t"
        "sub sp, sp, #160\n\t"
        "stp x19, x20, [sp]; stp x21, x22, [sp, #16]; stp x23, x24, [sp, #32]; stp x25, x26, [sp, #48]\n\t"
        "stp x27, x28, [sp, #64]; stp x29, x30, [sp, #80]; stp d8, d9, [sp, #96]; stp d10, d11, [sp, #112]\n\t"
        "stp d12, d13, [sp, #128]; stp d14, d15, [sp, #144]\n\t"
        "mov x9, sp; str x9, [x0]; ldr x9, [x1]; mov sp, x9\n\t"
        "ldp x19, x20, [sp]; ldp x21, x22, [sp, #16]; ldp x23, x24, [sp, #32]; ldp x25, x26, [sp, #48]\n\t"
        "ldp x27, x28, [sp, #64]; ldp x29, x30, [sp, #80]; ldp d8, d9, [sp, #96]; ldp d10, d11, [sp, #112]\n\t"
        "ldp d12, d13, [sp, #128]; ldp d14, d15, [sp, #144]\n\t"
        "add sp, sp, #160; ret\n\t"
        ".size sim_stack_jump, . - sim_stack_jump\n\t"
        ".popsection");

#else
#error "shmq runs on x86-64 and aarch64; for another processor, write its jump here"
#endif

/* A stack from which a jump goes on at entry. */
static void place_make(struct place *place, unsigned char *stack, size_t bytes, void (*entry)(void))
{
    uint64_t *top = (uint64_t *)(void *)(((uintptr_t)stack + bytes) & ~(uintptr_t)63);

    place->stack_pointer = top - FRAME_WORDS;
    memset(place->stack_pointer, 0, FRAME_WORDS * sizeof *top);
    place->stack_pointer[FRAME_ENTRY] = (uint64_t)(uintptr_t)entry;
}

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
    sim_stack_jump(&main_place, &stack->place);
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
    sim_stack_jump(&stack->place, &main_place);
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
