# SPDX-License-Identifier: MIT
from libc.stdint cimport uint32_t, uint64_t

from shmq._c cimport shmq_hold
from shmq._attachment cimport Attachment, Lease


cdef class Loan:
    cdef Attachment region
    cdef object sender              # the Sender that lent it
    cdef shmq_hold hold
    cdef uint64_t length            # as it will be sent: bytes, and whether an envelope describes them
    cdef uint32_t number            # the label
    cdef Lease lease                # made when the first view is taken
    cdef object root                # hidden array, so that views derived from `handed_out` can be counted
    cdef object handed_out
    cdef bint held

    cdef int check(self) except -1
    cdef Lease view(self)
    cdef int check_views(self) except -1
    cdef int sent(self) except -1
    cdef void give_back(self) noexcept
