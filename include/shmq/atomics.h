/* SPDX-License-Identifier: MIT */
/* Every access to shared memory goes through here; nothing else uses __atomic.
 *
 * The order is in the function's name, so that each use shows it. The last argument names the step (steps.h): it
 * costs nothing in a release build, and under SHMQ_SIMULATOR it lets the simulator stop, kill or alter exactly
 * that access. There are no bare fences, because ThreadSanitizer does not understand them. Every shared write is a
 * release or stronger: after a SIGKILL the kernel's exit path orders the rest, so only the compiler must be held.
 */
#ifndef SHMQ_ATOMICS_H
#define SHMQ_ATOMICS_H

#include <stdbool.h>
#include <stdint.h>

#include "steps.h"

#define SHMQ_CACHE_LINE 64

#if defined(__cplusplus)
#define SHMQ_STATIC_ASSERT static_assert
#else
#define SHMQ_STATIC_ASSERT _Static_assert
#endif

SHMQ_STATIC_ASSERT(__GCC_ATOMIC_LLONG_LOCK_FREE == 2, "a slot is a 64-bit word that every process can CAS lock-free");

/* A path that is rarely taken: a call, so that it costs the usual path neither registers nor stack. */
#define SHMQ_SELDOM static __attribute__((noinline, cold, unused))

/* A path that every message takes: inlined however often it is named, or a second, seldom caller would cost a call. */
#define SHMQ_OFTEN static inline __attribute__((always_inline))

/* Spinning politely: lets the sibling hardware thread run and saves power. */
static inline void shmq_pause(void)
{
#if defined(__x86_64__) || defined(__i386__)
    __builtin_ia32_pause();
#elif defined(__aarch64__)
    __asm__ __volatile__("yield" ::: "memory");
#endif
}

/* Ask for a line that is about to be written, so that it comes for writing at once and not first for reading. GCC's
 * builtin means the plain prefetch on baseline x86-64; the instruction is a no-op where a processor lacks it. */
static inline void shmq_prefetch_write(const void *line)
{
#if defined(__x86_64__)
    __asm__ __volatile__("prefetchw %0" ::"m"(*(const char *)line));
#else
    __builtin_prefetch(line, 1);
#endif
}

static inline void shmq_prefetch_read(const void *line) { __builtin_prefetch(line, 0); }

#ifdef SHMQ_SIMULATOR

enum shmq_order { SHMQ_RELAXED, SHMQ_ACQUIRE, SHMQ_RELEASE, SHMQ_ACQ_REL, SHMQ_SEQ_CST };

/* The simulator performs the access itself: it may switch to another process before it, kill the process after a
 * write, or replace the access by a mutant. */
uint64_t shmq_sim_load(const uint64_t *word, enum shmq_step step, enum shmq_order order);
void shmq_sim_store(uint64_t *word, uint64_t value, enum shmq_step step, enum shmq_order order);
bool shmq_sim_cas(uint64_t *word, uint64_t expected, uint64_t desired, enum shmq_step step, enum shmq_order order);
uint64_t shmq_sim_fetch_or(uint64_t *word, uint64_t bits, enum shmq_step step, enum shmq_order order);
uint64_t shmq_sim_fetch_and(uint64_t *word, uint64_t bits, enum shmq_step step, enum shmq_order order);
uint64_t shmq_sim_fetch_add(uint64_t *word, uint64_t count, enum shmq_step step, enum shmq_order order);

#define SHMQ_DO_LOAD(word, step, simulated, order) return shmq_sim_load(word, step, simulated)
#define SHMQ_DO_STORE(word, value, step, simulated, order) shmq_sim_store(word, value, step, simulated)
#define SHMQ_DO_CAS(word, expected, desired, step, simulated, order) \
    return shmq_sim_cas(word, expected, desired, step, simulated)
#define SHMQ_DO_FETCH(operation, word, value, step, simulated, order) \
    return shmq_sim_fetch_##operation(word, value, step, simulated)

#else

#define SHMQ_DO_LOAD(word, step, simulated, order) \
    (void)(step);                                  \
    return __atomic_load_n(word, order)
#define SHMQ_DO_STORE(word, value, step, simulated, order) \
    (void)(step);                                          \
    __atomic_store_n(word, value, order)
#define SHMQ_DO_CAS(word, expected, desired, step, simulated, order) \
    (void)(step);                                                    \
    return __atomic_compare_exchange_n(word, &expected, desired, false, order, __ATOMIC_ACQUIRE)
#define SHMQ_DO_FETCH(operation, word, value, step, simulated, order) \
    (void)(step);                                                     \
    return __atomic_fetch_##operation(word, value, order)

#endif

static inline uint64_t shmq_load_relaxed(const uint64_t *word, enum shmq_step step)
{
    SHMQ_DO_LOAD(word, step, SHMQ_RELAXED, __ATOMIC_RELAXED);
}

static inline uint64_t shmq_load_acquire(const uint64_t *word, enum shmq_step step)
{
    SHMQ_DO_LOAD(word, step, SHMQ_ACQUIRE, __ATOMIC_ACQUIRE);
}

static inline uint64_t shmq_load_seq_cst(const uint64_t *word, enum shmq_step step)
{
    SHMQ_DO_LOAD(word, step, SHMQ_SEQ_CST, __ATOMIC_SEQ_CST);
}

static inline void shmq_store_release(uint64_t *word, uint64_t value, enum shmq_step step)
{
    SHMQ_DO_STORE(word, value, step, SHMQ_RELEASE, __ATOMIC_RELEASE);
}

static inline bool shmq_cas_acq_rel(uint64_t *word, uint64_t expected, uint64_t desired, enum shmq_step step)
{
    SHMQ_DO_CAS(word, expected, desired, step, SHMQ_ACQ_REL, __ATOMIC_ACQ_REL);
}

static inline bool shmq_cas_seq_cst(uint64_t *word, uint64_t expected, uint64_t desired, enum shmq_step step)
{
    SHMQ_DO_CAS(word, expected, desired, step, SHMQ_SEQ_CST, __ATOMIC_SEQ_CST);
}

static inline uint64_t shmq_fetch_or_acq_rel(uint64_t *word, uint64_t bits, enum shmq_step step)
{
    SHMQ_DO_FETCH(or, word, bits, step, SHMQ_ACQ_REL, __ATOMIC_ACQ_REL);
}

static inline uint64_t shmq_fetch_and_acq_rel(uint64_t *word, uint64_t bits, enum shmq_step step)
{
    SHMQ_DO_FETCH(and, word, bits, step, SHMQ_ACQ_REL, __ATOMIC_ACQ_REL);
}

static inline uint64_t shmq_fetch_or_seq_cst(uint64_t *word, uint64_t bits, enum shmq_step step)
{
    SHMQ_DO_FETCH(or, word, bits, step, SHMQ_SEQ_CST, __ATOMIC_SEQ_CST);
}

static inline uint64_t shmq_fetch_and_seq_cst(uint64_t *word, uint64_t bits, enum shmq_step step)
{
    SHMQ_DO_FETCH(and, word, bits, step, SHMQ_SEQ_CST, __ATOMIC_SEQ_CST);
}

static inline uint64_t shmq_fetch_add_seq_cst(uint64_t *word, uint64_t count, enum shmq_step step)
{
    SHMQ_DO_FETCH(add, word, count, step, SHMQ_SEQ_CST, __ATOMIC_SEQ_CST);
}

/* Words of this process's own memory, which its other threads and a signal handler read: no step of the algorithm, so
 * the simulator does not meet them. All seq_cst: nowhere on the usual path. */
static inline uint64_t shmq_private_load(const uint64_t *word) { return __atomic_load_n(word, __ATOMIC_SEQ_CST); }

static inline void shmq_private_store(uint64_t *word, uint64_t value)
{
    __atomic_store_n(word, value, __ATOMIC_SEQ_CST);
}

static inline bool shmq_private_cas(uint64_t *word, uint64_t expected, uint64_t desired)
{
    return __atomic_compare_exchange_n(word, &expected, desired, false, __ATOMIC_SEQ_CST, __ATOMIC_SEQ_CST);
}

#undef SHMQ_DO_LOAD
#undef SHMQ_DO_STORE
#undef SHMQ_DO_CAS
#undef SHMQ_DO_FETCH

#endif
