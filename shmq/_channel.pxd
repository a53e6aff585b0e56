# SPDX-License-Identifier: MIT
from libc.stdint cimport uint32_t, uint64_t

from shmq._c cimport shmq_hold, shmq_queue_ref, shmq_spin
from shmq._message cimport Message
from shmq._attachment cimport Attachment


cdef class Endpoint:
    cdef readonly Attachment region
    cdef readonly str queue
    cdef shmq_queue_ref ref
    cdef shmq_spin spin
    cdef double fixed_spin          # seconds; negative: learn
    cdef bint is_open
    cdef bint receives

    cdef int check(self) except -1
    cdef int wait(self, uint64_t started, uint64_t deadline, bint *slept) except -1
    cdef int fail(self, int result, bint waited) except -1


cdef class Sender(Endpoint):
    cdef int post(self, shmq_hold *hold, uint64_t length, uint32_t label, object timeout) except -1
    cdef int post_slowly(self, shmq_hold *hold, uint64_t length, uint32_t label, object timeout) except -1
    cdef int lend(self, uint64_t nbytes, object timeout, shmq_hold *hold) except -1
    cdef int lend_slowly(self, uint64_t nbytes, object timeout, shmq_hold *hold) except -1
    cdef object send_bytes(self, const void *data, uint64_t nbytes, uint32_t label, object timeout)
    cdef object send_buffer(self, object data, uint32_t label, object timeout)
    cpdef object _send_loan(self, object loan, object timeout)


cdef class Receiver(Endpoint):
    cdef readonly bint shared

    cdef Message receive_slowly(self, Message message, object timeout)
