# SPDX-License-Identifier: MIT
from libc.stdint cimport uint32_t, uint64_t

from shmq._attachment cimport Attachment, Lease
from shmq._c cimport shmq_array_type, shmq_hold
from shmq._endpoint cimport Endpoint


cdef class Sender(Endpoint):
    cdef int post(self, shmq_hold *hold, uint64_t length, uint32_t label, object timeout) except -1
    cdef int post_slowly(self, shmq_hold *hold, uint64_t length, uint32_t label, object timeout) except -1
    cdef int lend(self, uint64_t nbytes, object timeout, shmq_hold *hold) except -1
    cdef object lend_for(self, uint64_t nbytes, object timeout, shmq_hold *hold)
    cdef uint64_t describe(self, shmq_hold *hold, const shmq_array_type *kind) except? 0
    cdef int lend_slowly(self, uint64_t nbytes, object timeout, shmq_hold *hold) except -1
    cdef object send_bytes(self, const void *data, uint64_t nbytes, uint32_t label, object timeout)
    cdef object send_buffer(self, object data, uint32_t label, object timeout)
    cdef object send_loan(self, Loan loan, object timeout)


cdef class Loan:
    cdef Attachment region
    cdef Sender sender
    cdef shmq_hold hold
    cdef uint64_t length            # as it will be sent: bytes, and whether an envelope describes them
    cdef uint32_t number            # the label
    cdef Lease lease                # made when the first view is taken
    cdef object root                # hidden array, so that views derived from `handed_out` can be counted
    cdef object handed_out
    cdef bint held

    cdef int refuse(self) except -1
    cdef Lease view(self)
    cdef int check_views(self) except -1
    cdef int put(self, object index, object value) except -1
    cdef void freeze(self, bint frozen) noexcept
    cdef void sent(self) noexcept
    cdef void drop_views(self) noexcept
    cdef void give_back(self) noexcept
