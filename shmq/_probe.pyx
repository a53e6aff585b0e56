# SPDX-License-Identifier: MIT
"""The cache-line probe that figures are held against; used by the demonstration and the benchmarks."""

from libc.stdint cimport uint64_t

import os


cdef extern from "probe.h" nogil:
    uint64_t shmq_probe_run(uint64_t rounds, int a, int b)


def cache_line_probe(rounds=100_000):
    """Median ns of a bare cache-line round trip between the first two cores this process may use; nan on one core."""
    cores = sorted(os.sched_getaffinity(0))
    cdef uint64_t count = rounds, median
    cdef int a = cores[0], b
    if len(cores) < 2:
        return float("nan")
    b = cores[1]
    with nogil:
        median = shmq_probe_run(count, a, b)
    return float(median) if median else float("nan")
