# SPDX-License-Identifier: MIT
from shmq._attachment cimport Attachment, Lease
from shmq._c cimport shmq_hold, shmq_message, shmq_policy
from shmq._endpoint cimport Endpoint
from shmq._files cimport shmq_standing
from shmq._loan cimport Lender


cdef class Receiver(Endpoint):
    cdef readonly bint shared
    cdef shmq_policy policy

    cdef Message receive_slowly(self, Message message, object timeout)
    cdef void give_up(self) noexcept


cdef class Message:
    cdef Attachment region
    cdef shmq_standing *standing    # of the attachment that received it
    cdef shmq_message message
    cdef Lease lease                # made when the first view is taken
    cdef bint held

    cdef int refuse(self) except -1
    cdef Lease view(self)
    cdef int alone(self, str what) except -1
    cdef int check_target(self, Lender tx) except -1
    cdef int copy_block(self, shmq_hold *hold, object timeout) except -1
    cdef bint own(self) except -1
    cdef bytes payload(self)
    cdef void give_back(self) noexcept
