# SPDX-License-Identifier: MIT
"""Loans: blocks that a sender writes in place before it sends them."""

cimport cython
from cpython.bytes cimport PyBytes_FromStringAndSize
from cpython.memoryview cimport PyMemoryView_FromObject
from cpython.ref cimport PyObject
from libc.stdint cimport uint64_t
from libc.string cimport memcpy

from shmq._c cimport shmq_block_offset, shmq_length_bytes, shmq_payload, shmq_release
from shmq._attachment cimport Lease, array_over, lease_new
from shmq._message cimport index_in


cdef extern from "Python.h":
    Py_ssize_t Py_REFCNT(PyObject *object)


@cython.final
@cython.no_gc
@cython.freelist(64)
cdef class Loan:
    """A block to write a message in, in place; nobody else sees it before it is sent.

    `array` and `memoryview` write straight into shared memory. As a context manager it is sent on leaving, and
    discarded where an exception leaves. A dropped loan is discarded. `len`, indexing and slices speak bytes.

    Thread-safety: one thread at a time; two threads cannot both send it.
    """

    def __init__(self):
        raise TypeError("loans come from Sender.loan")

    cdef int check(self) except -1:
        if not self.held:
            raise ValueError("the loan has been sent or discarded: take another one")
        if not self.region.is_open:
            raise ValueError("the region has been closed, and the loan with it")
        return 0

    cdef Lease view(self):
        self.check()
        if self.lease is None:
            self.lease = lease_new(self.region, self.hold, self.length, True)
        return self.lease

    cdef int check_views(self) except -1:
        """Before the block changes hands nobody may still write to it."""
        cdef Py_ssize_t derived = 0
        if self.lease is None:
            return 0
        if self.root is not None:
            derived = Py_REFCNT(<PyObject *> self.root) - 2  # mine, and handed_out's base
        derived += Py_REFCNT(<PyObject *> self.lease) - 1 - (self.root is not None)
        if derived > 0:
            raise BufferError(
                f"{derived} writable views of the loan live (slices of .array, memoryviews): drop them first; "
                "the loan is still yours")
        return 0

    cdef int sent(self) except -1:
        """The block is the receiver's: whoever kept the array may not write to it any more."""
        self.held = False
        if self.handed_out is not None and Py_REFCNT(<PyObject *> self.handed_out) > 1:
            self.handed_out.flags.writeable = False
        if self.lease is not None:
            self.lease.owns = False
            self.lease = None
            self.handed_out = None
            self.root = None
        return 0

    cdef void give_back(self) noexcept:
        self.held = False
        if self.lease is not None:  # the block goes back when the last view dies
            self.lease.has_handle = False
            self.lease = None
            self.handed_out = None
            self.root = None
        elif self.region.attached:
            shmq_release(self.region.actor, &self.hold)

    def send(self, timeout=None):
        """Hand the block to the queue; its arrays are read-only from then on.

        Args:
            timeout: Seconds to wait for space; None waits for ever, 0 not at all.

        Returns:
            True; False where the queue's policy dropped it.

        Raises:
            Full: No space in time; the loan is still yours.
            ShutDown: The queue was shut down; the loan is still yours.
            BufferError: Other writable views of it live; the loan is still yours.
            ValueError: It was sent or discarded before.
        """
        self.check()
        return self.sender._send_loan(self, timeout)

    def send_nowait(self):
        """`send(timeout=0)`."""
        self.check()
        return self.sender._send_loan(self, 0)

    def discard(self):
        """Give the block back unsent; harmless when repeated."""
        if self.held:
            self.give_back()

    def __enter__(self):
        self.check()
        return self

    def __exit__(self, kind, value, traceback):
        if not self.held:
            return
        if kind is None:
            self.check()
            self.sender._send_loan(self, None)
        else:
            self.give_back()

    def __dealloc__(self):
        if self.held:
            self.give_back()

    @property
    def array(self):
        """The block as a writable numpy array of the type and shape it was lent for, in place."""
        cdef Lease lease = self.view()
        if self.root is None:
            self.root = array_over(lease)
            self.handed_out = self.root.view()
        return self.handed_out

    @property
    def memoryview(self):
        """The block as a writable memoryview, in place."""
        return PyMemoryView_FromObject(self.view())

    def __getbuffer__(self, Py_buffer *buffer, int flags):
        self.view().fill(buffer, flags)

    def __len__(self):
        self.check()
        return shmq_length_bytes(self.length)

    def __getitem__(self, index):
        self.check()
        cdef Py_ssize_t nbytes = shmq_length_bytes(self.length)
        cdef unsigned char *data = shmq_payload(self.region.map, self.hold.block)
        if isinstance(index, slice):
            return PyBytes_FromStringAndSize(<char *> data, nbytes)[index]
        return data[index_in(index, nbytes)]

    def __setitem__(self, index, value):
        self.check()
        cdef Py_ssize_t nbytes = shmq_length_bytes(self.length), start, stop, step
        cdef unsigned char *data = shmq_payload(self.region.map, self.hold.block)
        cdef const unsigned char[::1] source
        if not isinstance(index, slice):
            data[index_in(index, nbytes)] = value
            return
        start, stop, step = index.indices(nbytes)
        source = value
        if step != 1 or source.shape[0] != max(stop - start, 0):
            raise ValueError(f"cannot put {source.shape[0]} bytes into a slice of {len(range(start, stop, step))}")
        if source.shape[0]:
            memcpy(data + start, &source[0], source.shape[0])

    @property
    def label(self):
        """The number that travels with the message."""
        return self.number

    @property
    def nbytes(self):
        """Bytes of payload."""
        self.check()
        return shmq_length_bytes(self.length)

    @property
    def shape(self):
        """Extents of the array."""
        cdef Lease lease = self.view()
        return tuple([lease.shape[i] for i in range(lease.dimensions)])

    @property
    def dtype(self):
        """numpy dtype of the array."""
        return self.array.dtype

    @property
    def offset(self):
        """Where the payload lies: bytes from the start of the data segment, the same in every process."""
        self.check()
        return shmq_block_offset(self.region.map, self.hold.block)

    def __repr__(self):
        if not self.held or not self.region.is_open:
            return "<shmq.Loan sent or discarded>"
        return f"<shmq.Loan {shmq_length_bytes(self.length)} bytes at offset {self.offset}, label {self.number}>"
