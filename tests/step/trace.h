/* SPDX-License-Identifier: MIT */
/* A child's operation, one machine instruction at a time.
 *
 * The child marks where its operation begins and ends. A first child is stepped through it, and the way is written
 * down; each further child goes the same way, and is stopped before its n-th instruction. Single steps are slow (some
 * 25 µs on a virtual machine), so a child runs to a breakpoint near its goal and is stepped from there.
 */
#ifndef TRACE_H
#define TRACE_H

#include <signal.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/ptrace.h>
#include <sys/user.h>
#include <sys/wait.h>

#include "../c/check.h"

#ifndef __x86_64__
#error "written for x86-64: breakpoints and registers are its own"
#endif

#define TRACE_MAX (1u << 20)            /* instructions of an operation, at most */
#define TRACE_PLACES (1u << 16)         /* different ones; a power of two */
#define TRACE_BREAK 0xccu               /* int3 */

/* The way that an operation takes. */
struct trace {
    uint64_t *address;                  /* of each instruction, in the order of execution */
    uint32_t *visit;                    /* how often it had been at that address, this time included */
    uint32_t count;
};

extern const char trace_end[];

/* Run an operation between two marks; a tracer is told of both. */
__attribute__((noinline, noclone)) static void trace_operation(void (*operation)(void))
{
    __asm__ volatile("int3");
    operation();
    __asm__ volatile(".globl trace_end\ntrace_end: int3");
}

/* ---- one child -------------------------------------------------------------------------------------------- */

/* Wait until the child has stopped at a trap. False: it has ended, well. */
static inline bool trace_wait(pid_t child)
{
    int status;

    for (;;) {
        CHECK_EQUAL(waitpid(child, &status, 0), child);
        if (!WIFSTOPPED(status) || WSTOPSIG(status) != SIGCHLD) /* of a child of its own, before its operation */
            break;
        CHECK_EQUAL(ptrace(PTRACE_CONT, child, 0, 0), 0);
    }
    if (WIFEXITED(status)) {
        CHECK_EQUAL(WEXITSTATUS(status), 0);
        return false;
    }
    if (WIFSIGNALED(status))
        CHECK_EQUAL(WTERMSIG(status), 0);
    CHECK_EQUAL(WSTOPSIG(status), SIGTRAP);
    return true;
}

static inline uint64_t trace_at(pid_t child)
{
    return (uint64_t)ptrace(PTRACE_PEEKUSER, child, offsetof(struct user_regs_struct, rip), 0);
}

static inline void trace_move(pid_t child, uint64_t address)
{
    CHECK_EQUAL(ptrace(PTRACE_POKEUSER, child, offsetof(struct user_regs_struct, rip), address), 0);
}

static inline void trace_step(pid_t child)
{
    CHECK_EQUAL(ptrace(PTRACE_SINGLESTEP, child, 0, 0), 0);
    CHECK(trace_wait(child));
}

/* Let it run to its next trap. False: it has ended, well. */
static inline bool trace_continue(pid_t child)
{
    CHECK_EQUAL(ptrace(PTRACE_CONT, child, 0, 0), 0);
    return trace_wait(child);
}

/* Start a child that is stopped at the beginning of its operation. */
static inline pid_t trace_start(void (*body)(void))
{
    pid_t child;

    fflush(NULL);
    child = fork();
    CHECK(child >= 0);
    if (child == 0) {
        CHECK_EQUAL(ptrace(PTRACE_TRACEME, 0, 0, 0), 0);
        body();
        _exit(0);
    }
    CHECK(trace_wait(child));
    CHECK_EQUAL(ptrace(PTRACE_SETOPTIONS, child, 0, PTRACE_O_EXITKILL), 0);
    return child;
}

/* Visit `address` so many times; it is stopped there. False: it has come to the end of its operation before. */
static inline bool trace_break(pid_t child, uint64_t address, uint32_t visits)
{
    long kept = ptrace(PTRACE_PEEKTEXT, child, address, 0);

    while (visits--) {
        CHECK_EQUAL(ptrace(PTRACE_POKETEXT, child, address, (kept & ~0xffl) | TRACE_BREAK), 0);
        CHECK(trace_continue(child));
        CHECK_EQUAL(ptrace(PTRACE_POKETEXT, child, address, kept), 0);
        if (trace_at(child) == (uint64_t)(uintptr_t)trace_end + 1) {
            trace_move(child, (uint64_t)(uintptr_t)trace_end);
            return false;
        }
        CHECK_EQUAL(trace_at(child), address + 1);
        trace_move(child, address);
        if (visits)
            trace_step(child);
    }
    return true;
}

/* ---- the way ---------------------------------------------------------------------------------------------- */

static inline uint32_t trace_visits(uint64_t address)
{
    static struct { uint64_t address; uint32_t visits; } place[TRACE_PLACES];
    uint32_t i = (uint32_t)(address * 0x9e3779b97f4a7c15ull >> 48) % TRACE_PLACES;

    if (!address) {
        memset(place, 0, sizeof place);
        return 0;
    }
    while (place[i].address && place[i].address != address)
        i = (i + 1) % TRACE_PLACES;
    place[i].address = address;
    return ++place[i].visits;
}

/* Step a child from the beginning of its operation to the end, and write down where it was. */
static inline void trace_record(struct trace *trace, pid_t child)
{
    uint64_t address;

    trace_visits(0);
    trace->count = 0;
    while ((address = trace_at(child)) != (uint64_t)(uintptr_t)trace_end) {
        CHECK(trace->count < TRACE_MAX);
        trace->address[trace->count] = address;
        trace->visit[trace->count++] = trace_visits(address);
        trace_step(child);
    }
}

/* Is it one of many repetitions of one instruction (rep), and neither of the first two, nor the last, nor each 64th? */
static inline bool trace_repeats(const struct trace *trace, uint32_t at)
{
    uint64_t address = trace->address[at];

    return at >= 2 && at + 1 < trace->count && trace->visit[at] % 64 && trace->address[at - 1] == address
        && trace->address[at - 2] == address && trace->address[at + 1] == address;
}

/* From where to step to instruction `goal`: a breakpoint hit costs about as much as four steps. */
static inline uint32_t trace_anchor(const struct trace *trace, uint32_t goal)
{
    uint32_t best = goal;
    uint64_t least = 4ull * trace->visit[goal];

    for (uint32_t at = goal; at-- && goal - at < least;) {
        uint64_t cost = 4ull * trace->visit[at] + (goal - at);

        if (cost < least) {
            best = at;
            least = cost;
        }
    }
    return best;
}

/* A child that is stopped at the beginning goes on until just before instruction `goal`. False: it has gone another
 * way, because the clock or the kernel said something else, and is somewhere within its operation, or at its end. */
static inline bool trace_go(const struct trace *trace, pid_t child, uint32_t goal)
{
    uint32_t anchor = trace_anchor(trace, goal);

    if (anchor && !trace_break(child, trace->address[anchor], trace->visit[anchor]))
        return false;
    for (; anchor < goal && trace_at(child) != (uint64_t)(uintptr_t)trace_end; anchor++)
        trace_step(child);
    return trace_at(child) == trace->address[goal];
}

/* It dies where it stands. */
static inline void trace_kill(pid_t child)
{
    int status;

    CHECK_EQUAL(kill(child, SIGKILL), 0);
    CHECK_EQUAL(waitpid(child, &status, 0), child);
    CHECK(WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL);
}

/* It goes on to the end of its operation, and to its own. */
static inline void trace_finish(pid_t child)
{
    CHECK(trace_continue(child));
    CHECK_EQUAL(trace_at(child), (uint64_t)(uintptr_t)trace_end + 1);
    CHECK(!trace_continue(child));
}

#endif
