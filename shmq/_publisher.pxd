# SPDX-License-Identifier: MIT
from libc.stdint cimport uint32_t, uint64_t

from shmq._c cimport shmq_audience, shmq_hold, shmq_publication, shmq_publisher
from shmq._loan cimport Lender


cdef class Publisher(Lender):
    cdef shmq_publisher publisher

    cdef shmq_audience look(self) except *
    cdef int post_slowly(self, shmq_publication *publication, object timeout) except -1
