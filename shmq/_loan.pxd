# SPDX-License-Identifier: MIT
from libc.stdint cimport uint32_t, uint64_t

from shmq._attachment cimport Attachment, Lease
from shmq._c cimport shmq_array_type, shmq_hold
from shmq._endpoint cimport Endpoint
from shmq._files cimport shmq_standing

cdef enum:
    DROPPED = -2    # what Lender.post returns where the policy of a full queue dropped the message


cdef class Lender(Endpoint):
    cdef int post(self, shmq_hold *hold, uint64_t length, uint32_t label, object timeout) except -1
    cdef object answer(self, int reached)
    cdef bint make_room(self) noexcept
    cdef int lend(self, uint64_t nbytes, object timeout, shmq_hold *hold) except -1
    cdef object lend_for(self, uint64_t nbytes, object timeout, shmq_hold *hold)
    cdef uint64_t describe(self, shmq_hold *hold, const shmq_array_type *kind) except? 0
    cdef object send_bytes(self, const void *data, uint64_t nbytes, uint32_t label, object timeout)
    cdef object send_buffer(self, object data, uint32_t label, object timeout)
    cdef object send_hold(self, shmq_hold *hold, uint64_t length, uint32_t label, object timeout)
    cdef object hand_over(self, Loan loan, uint32_t label, object timeout)
    cdef object send_loan(self, Loan loan, object timeout)
    cdef void free(self, shmq_hold *hold) noexcept


cdef class Loan:
    cdef Attachment region
    cdef shmq_standing *standing    # of the attachment that lent it
    cdef Lender sender              # None: edited for nobody in particular
    cdef shmq_hold hold
    cdef uint64_t length            # as it will be sent: bytes, and whether an envelope describes them
    cdef uint32_t number            # the label
    cdef Lease lease                # made when the first view is taken
    cdef object root                # hidden array, so that views derived from `handed_out` can be counted
    cdef object handed_out
    cdef bint held

    cdef int refuse(self) except -1
    cdef Lease view(self)
    cdef Lender target(self)
    cdef int check_views(self) except -1
    cdef int put(self, object index, object value) except -1
    cdef void freeze(self, bint frozen) noexcept
    cdef void not_sent(self) noexcept
    cdef void sent(self) noexcept
    cdef void drop_views(self) noexcept
    cdef void give_back(self) noexcept


cdef Loan loan_new(Attachment region, Lender sender, shmq_hold hold, uint64_t length, uint32_t label)
cdef int lend(Attachment region, uint64_t nbytes, object timeout, shmq_hold *hold) except -1
