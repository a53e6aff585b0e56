# SPDX-License-Identifier: MIT
from cpython.ref cimport PyObject
from libc.stdint cimport uint32_t, uint64_t

from shmq._c cimport shmq_actor, shmq_array_type, shmq_hold, shmq_map
from shmq._files cimport shmq_attached, shmq_error, shmq_region_options, shmq_region_visit, shmq_standing

# What shmq._arrays does with numpy's C API; it sets this when numpy is first needed.
cdef struct array_api:
    object (*over)(Lease lease, object base)    # a new array over the lease, kept alive by `base`
    object (*root)(Lease lease)                 # a new array of no use but as a base; its own is the lease
    void (*freeze)(object array, bint frozen) noexcept


cdef class Attachment:
    cdef shmq_attached *place       # C memory, which outlives the interpreter
    cdef shmq_standing *standing    # the place's: what is true now, and false in a forked child
    cdef readonly str name          # None: anonymous
    cdef shmq_actor *actor          # of this process; the GIL guards it
    cdef const shmq_map *map
    cdef bint is_closed             # nobody may use it any more
    cdef bint retreated             # closed, but views keep the process slot
    cdef PyObject *first_lease      # all leases, linked: they keep the mapping
    cdef Py_ssize_t recovered       # dead processes whose slots this one gave back
    cdef uint64_t look_at           # the clock's reading at which a wait looks for a loss again
    cdef object __weakref__

    cdef dict given(self)
    cdef int check(self) except -1
    cdef int refuse_lost(self) except -1
    cdef int look_for_loss(self) noexcept
    cdef int check_memory(self) except -1
    cdef bint is_parents(self, const shmq_standing *standing) noexcept
    cdef int check_same(self, const shmq_standing *standing, str what) except -1
    cdef int attach_again(self) except -1
    cdef int part(self) except -1
    cdef void drop(self, shmq_attached *place) noexcept
    cdef void take(self, shmq_attached *place) noexcept
    cdef uint32_t pins(self, uint32_t *blocks) noexcept
    cdef int warn_undelivered(self) except -1
    cdef int check_sending(self) except -1
    cdef int begin(self, const shmq_region_options *wanted, const int *handed, shmq_error *error) except? -1
    cdef void settle(self) noexcept
    cdef int tick(self, const shmq_standing *standing, bint slept, bint held_up) except -1
    cdef void go_out(self, shmq_attached *place) noexcept
    cdef int recover_dead(self) except -1
    cdef int note_recovered(self, int recovered) noexcept


cdef class Lease:
    cdef Attachment region
    cdef shmq_standing *standing    # of the attachment that it was made under
    cdef shmq_hold hold
    cdef PyObject *previous         # neighbours in the region's list of leases
    cdef PyObject *next
    cdef bint owns                  # the block goes back when the last view dies
    cdef bint has_handle            # a message or loan refers to it, besides views
    cdef PyObject *root             # the loan's hidden array and the one it hands out, while it lives
    cdef PyObject *handed_out
    cdef bint writable
    cdef unsigned char *data
    cdef Py_ssize_t nbytes
    cdef shmq_array_type type
    cdef int dimensions
    cdef Py_ssize_t shape[6]
    cdef Py_ssize_t strides[6]
    cdef char format[4]

    cdef int fill(self, Py_buffer *buffer, int flags) except -1
    cdef void describe(self) noexcept
    cdef bint is_pinned(self) noexcept


cdef dict facts_of(shmq_error *error)
cdef int list_into(shmq_region_visit *visit, void *context, const char *directory, shmq_error *error) noexcept
cdef int remove_name(const char *name, const char *directory, bint missing_ok, shmq_error *error) noexcept
cdef Lease lease_new(Attachment region, shmq_hold hold, uint64_t length, bint writable)
cdef object array_over(Lease lease, object base)
cdef object array_root(Lease lease)
cdef void array_freeze(object array, bint frozen) noexcept
cdef void set_array_api(array_api api) noexcept
