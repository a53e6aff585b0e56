# SPDX-License-Identifier: MIT
cdef extern from "within.h":
    int within "shmq_within"(type context_manager) except -1
