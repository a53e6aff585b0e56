# SPDX-License-Identifier: MIT
from libc.stdint cimport uint32_t, uint64_t

from shmq._attachment cimport Attachment
from shmq._c cimport shmq_census
from shmq._endpoint cimport Endpoint


cdef class Region(Attachment):
    cdef int has_been_open(self) except -1
    cdef tuple hand(self, bint receive_only)
    cdef str holder_name(self, uint64_t claim)
    cdef uint32_t open_topic(self, str topic) except? 0xFFFFFFFF
    cdef int open_queue(self, Endpoint end, str queue, uint32_t depth) except -1
    cdef object look(self, bint processes)
    cdef list count_processes(self, const shmq_census *census)
    cdef dict count_all(self, const shmq_census *census)
    cdef list list_queues(self)
    cdef dict list_topics(self)
