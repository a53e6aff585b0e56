# SPDX-License-Identifier: MIT
from libc.stdint cimport uint64_t

from shmq._attachment cimport Attachment
from shmq._c cimport shmq_queue_ref, shmq_spin
from shmq._files cimport shmq_standing


cdef class Endpoint:
    cdef readonly Attachment region
    cdef readonly str queue
    cdef shmq_queue_ref ref
    cdef shmq_spin spin
    cdef double fixed_spin          # seconds; negative: learn
    cdef shmq_standing *standing    # of the attachment that `ref` belongs to; of none where it is closed
    cdef bint is_open               # nobody has closed it; a forked child opens it anew
    cdef bint receives

    cdef int refuse(self) except -1
    cdef int open_again(self) except -1
    cdef void begin(self, Attachment region, str queue, double spin) noexcept
    cdef void shut(self) noexcept
    cdef int wait(self, const shmq_queue_ref *ref, uint64_t started, uint64_t deadline, bint *slept) except -1
    cdef tuple recipe(self)
    cdef int fail(self, int result, bint waited) except -1


cdef double check_timeout(object timeout) except -1
cdef uint64_t deadline_of(object timeout) except? 0
cdef Py_ssize_t refuse_index(Py_ssize_t at, Py_ssize_t nbytes) except -1


cdef inline Py_ssize_t place_in(Py_ssize_t at, Py_ssize_t nbytes) except -1:
    """A byte's place from an index as Python counts. Runs no Python code."""
    if at < 0:
        at += nbytes
    if at < 0 or at >= nbytes:
        return refuse_index(at, nbytes)
    return at
