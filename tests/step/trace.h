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
#include "../c/watcher.h"

#ifndef __x86_64__
#error "written for x86-64: breakpoints and registers are its own"
#endif

#define TRACE_MAX (1u << 20)            /* instructions of an operation, at most */
#define TRACE_PLACES (1u << 16)         /* different ones; a power of two */
#define TRACE_STOPS 1000u               /* of children … */
#define TRACE_PATIENCE_S 20u            /* … take less than this, even where the machine has much else to do */

/* The way that an operation takes. */
struct trace {
    uint64_t *address;                  /* of each instruction, in the order of execution */
    bool *seen;                         /* it had been there before */
    bool *differs;                      /* who dies before it leaves something else than who dies one earlier */
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

/* Wait until the child has stopped at a trap. False: it has ended, well. Who hangs is found by an alarm; who is on its
 * way, stop after stop, is given further time. */
static inline bool trace_wait(pid_t child)
{
    static uint32_t stops;
    int status;

    if (++stops % TRACE_STOPS == 0)
        alarm(TRACE_PATIENCE_S);
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

/* The length of a string instruction that repeats itself, with rep in front; 0: it is another one. A child is a fork of
 * its tracer: the code is in both at the same place. */
static inline unsigned trace_repeats(uint64_t address)
{
    const unsigned char *code = (const unsigned char *)(uintptr_t)address;
    unsigned wide = (code[1] & 0xf0u) == 0x40u;

    if ((code[0] & 0xfeu) != 0xf2u)
        return 0;
    switch (code[1 + wide] & 0xfeu) {
    case 0xa4: case 0xa6: case 0xaa: case 0xac: case 0xae: /* movs, cmps, stos, lods, scas */
        return 2 + wide;
    default:
        return 0;
    }
}

static inline bool trace_is_system_call(uint64_t address)
{
    const unsigned char *code = (const unsigned char *)(uintptr_t)address;

    return code[0] == 0x0f && code[1] == 0x05;
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
    pid_t child, tracer = getpid();

    fflush(NULL);
    child = fork();
    CHECK(child >= 0);
    if (child == 0) {
        watcher_follow(tracer, SIGKILL);
        CHECK_EQUAL(ptrace(PTRACE_TRACEME, 0, 0, 0), 0);
        body();
        _exit(0);
    }
    CHECK(trace_wait(child));
    CHECK_EQUAL(ptrace(PTRACE_SETOPTIONS, child, 0, PTRACE_O_EXITKILL), 0);
    return child;
}

/* Debug register 0 is an address to stop before, register 7 turns it on. */
static inline void trace_debug(pid_t child, unsigned number, uint64_t value)
{
    size_t offset = offsetof(struct user, u_debugreg) + number * sizeof(uint64_t);

    CHECK_EQUAL(ptrace(PTRACE_POKEUSER, child, offset, value), 0);
}

/* Let it run until it is before `address`. False: it has come to the end of its operation before. */
static inline bool trace_run_to(pid_t child, uint64_t address)
{
    trace_debug(child, 0, address);
    trace_debug(child, 7, 1);
    CHECK(trace_continue(child));
    trace_debug(child, 7, 0);
    if (trace_at(child) == address)
        return true;
    CHECK_EQUAL(trace_at(child), (uint64_t)(uintptr_t)trace_end + 1);
    trace_move(child, (uint64_t)(uintptr_t)trace_end);
    return false;
}

/* One instruction, with all its repetitions. */
static inline void trace_step(pid_t child)
{
    uint64_t address = trace_at(child);
    unsigned length = trace_repeats(address);

    CHECK_EQUAL(ptrace(PTRACE_SINGLESTEP, child, 0, 0), 0);
    CHECK(trace_wait(child));
    if (length && trace_at(child) == address)
        CHECK(trace_run_to(child, address + length));
}

/* Come to `address` so many times. False as above. */
static inline bool trace_come_to(pid_t child, uint64_t address, uint32_t times)
{
    bool there = true;

    while (there && times--) {
        if (trace_at(child) == address) /* it would stop where it stands */
            trace_step(child);
        there = trace_at(child) == address || trace_run_to(child, address);
    }
    return there;
}

/* ---- the way ---------------------------------------------------------------------------------------------- */

static inline void trace_make(struct trace *trace)
{
    trace->address = calloc(TRACE_MAX, sizeof *trace->address);
    trace->seen = calloc(TRACE_MAX, sizeof *trace->seen);
    trace->differs = calloc(TRACE_MAX, sizeof *trace->differs);
    CHECK(trace->address && trace->seen && trace->differs);
}

/* Has this been asked of the address before, since 0 was asked? */
static inline bool trace_met(uint64_t address)
{
    static uint64_t place[TRACE_PLACES];
    uint32_t i = (uint32_t)(address * 0x9e3779b97f4a7c15ull >> 48) % TRACE_PLACES;

    if (!address)
        memset(place, 0, sizeof place);
    while (place[i] && place[i] != address)
        i = (i + 1) % TRACE_PLACES;
    if (place[i] == address)
        return true;
    place[i] = address;
    return false;
}

/* Step a child from the beginning of its operation to the end, and write down where it was. What it leaves when it
 * dies is shared memory, about which `changed` tells whether it is another than at the last call, and what the kernel
 * knows, which only system calls change. */
static inline void trace_record(struct trace *trace, pid_t child, bool (*changed)(void))
{
    uint64_t address;
    bool differs = true;

    (void)trace_met(0);
    trace->count = 0;
    (void)changed();
    while ((address = trace_at(child)) != (uint64_t)(uintptr_t)trace_end) {
        CHECK(trace->count < TRACE_MAX);
        trace->address[trace->count] = address;
        trace->differs[trace->count] = differs;
        trace->seen[trace->count++] = trace_met(address);
        trace_step(child);
        differs = changed() || trace_is_system_call(address);
    }
}

/* How often the instruction at `goal` is executed after `from`, up to and with `goal`. */
static inline uint32_t trace_times(const struct trace *trace, uint32_t from, uint32_t goal)
{
    uint32_t times = 0;

    while (++from <= goal)
        times += trace->address[from] == trace->address[goal];
    return times;
}

/* The last instruction up to `goal` that is at its place for the first time. */
static inline uint32_t trace_landmark(const struct trace *trace, uint32_t goal)
{
    while (trace->seen[goal])
        goal--;
    return goal;
}

/* From where to step to `goal`, on the way from `landmark`: to stop at an address costs about as much as a step. */
static inline uint32_t trace_anchor(const struct trace *trace, uint32_t landmark, uint32_t goal)
{
    uint32_t best = landmark, least = goal - landmark;

    for (uint32_t at = goal; at > landmark && goal - at < least; at--) {
        uint32_t cost = goal - at + trace_times(trace, landmark, at);

        if (cost < least) {
            best = at;
            least = cost;
        }
    }
    return best;
}

/* A child that is stopped at the beginning goes on until just before instruction `goal`. Between anchor and goal the
 * way may be a little longer or shorter, where a number has another count of digits. False: it has gone another way,
 * because the clock or the kernel said something else, and is somewhere within its operation, or at its end. */
static inline bool trace_go(const struct trace *trace, pid_t child, uint32_t goal)
{
    uint32_t landmark = trace_landmark(trace, goal), anchor = trace_anchor(trace, landmark, goal);
    uint32_t times = trace_times(trace, anchor, goal), most = 2 * (goal - anchor) + 1000;

    if (landmark && !trace_come_to(child, trace->address[landmark], 1))
        return false;
    if (anchor > landmark
        && !trace_come_to(child, trace->address[anchor], trace_times(trace, landmark, anchor)))
        return false;
    while (times && most-- && trace_at(child) != (uint64_t)(uintptr_t)trace_end) {
        trace_step(child);
        times -= trace_at(child) == trace->address[goal];
    }
    return times == 0 && trace_at(child) == trace->address[goal];
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
