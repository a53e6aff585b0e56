/* SPDX-License-Identifier: MIT */
/* How often each result was met, as record.sh reads it: "count WHAT: NUMBER". */
#ifndef CORRUPT_COUNTS_H
#define CORRUPT_COUNTS_H

#include "shmq/shmq.h"

#define COUNTS 32u

static inline void count_result(int result, uint64_t *results, uint64_t *errors)
{
    if (result <= SHMQ_ERROR_INVALID)
        errors[SHMQ_ERROR_INVALID - result]++;
    else
        results[result - SHMQ_NO_INDEX]++;
}

static inline void tell_counts(uint64_t mutations, uint64_t operations, const uint64_t *results, const uint64_t *errors)
{
    static const char *const names[] = { "no index", "mismatch", "invalid", "corrupt", "stale", "in use", "not found",
        "no space", "no queues", "no blocks", "shut", "closed" };

    printf("count mutations: %llu\ncount operations: %llu\n", (unsigned long long)mutations,
        (unsigned long long)operations);
    for (int i = 0; i < SHMQ_OK - SHMQ_NO_INDEX; i++)
        if (results[i])
            printf("count %s: %llu\n", names[i], (unsigned long long)results[i]);
    for (int code = SHMQ_ERROR_INVALID; code >= SHMQ_ERROR_LOST; code--)
        if (errors[SHMQ_ERROR_INVALID - code])
            printf("count %s: %llu\n", shmq_error_text(code), (unsigned long long)errors[SHMQ_ERROR_INVALID - code]);
}

#endif
