# SPDX-License-Identifier: MIT
from shmq._attachment cimport Attachment, Lease
from shmq._c cimport shmq_message
from shmq._endpoint cimport Endpoint


cdef class Receiver(Endpoint):
    cdef readonly bint shared

    cdef Message receive_slowly(self, Message message, object timeout)


cdef class Message:
    cdef Attachment region
    cdef shmq_message message
    cdef Lease lease                # made when the first view is taken
    cdef bint held

    cdef int refuse(self) except -1
    cdef Lease view(self)
    cdef bytes payload(self)
    cdef void give_back(self) noexcept
