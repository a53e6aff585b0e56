# SPDX-License-Identifier: MIT
from shmq._c cimport shmq_array_type


cdef char format_of(const shmq_array_type *type) noexcept
cdef bint type_of_payload(shmq_array_type *type, object data) except -1
cdef int type_of_request(shmq_array_type *type, object shape, object dtype) except -1
cdef object late(str name)
cdef object explain()
