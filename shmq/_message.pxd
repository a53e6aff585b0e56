# SPDX-License-Identifier: MIT
from shmq._attachment cimport Attachment, Lease
from shmq._c cimport shmq_message


cdef class Message:
    cdef Attachment region
    cdef shmq_message message
    cdef Lease lease                # made when the first view is taken
    cdef bint held

    cdef int check(self) except -1
    cdef Lease view(self)
    cdef void give_back(self) noexcept


cdef Py_ssize_t index_in(object index, Py_ssize_t nbytes) except -1
