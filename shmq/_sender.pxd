# SPDX-License-Identifier: MIT
from shmq._c cimport shmq_hold, shmq_message, shmq_parcel
from shmq._loan cimport Lender


cdef class Sender(Lender):
    cdef int pass_on(self, shmq_message *message, object timeout) except -1
    cdef int attempt(self, shmq_hold *hold, const shmq_parcel *parcel, shmq_message *message) noexcept
    cdef int post_slowly(self, shmq_hold *hold, const shmq_parcel *parcel, shmq_message *message,
                         object timeout) except -1
