# SPDX-License-Identifier: MIT
"""The sending end of a queue, and loans: blocks written in place before they are sent."""

cimport cython
from cpython.buffer cimport PyBUF_C_CONTIGUOUS, PyBuffer_Release, PyObject_GetBuffer
from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_CheckExact, PyBytes_FromStringAndSize, PyBytes_GET_SIZE
from cpython.long cimport PyLong_AsLongLongAndOverflow, PyLong_CheckExact
from cpython.memoryview cimport PyMemoryView_FromObject
from cpython.number cimport PyNumber_Index
from cpython.ref cimport PyObject
from libc.stdint cimport UINT64_MAX as NEVER, int64_t, uint32_t, uint64_t
from libc.string cimport memcpy

from shmq._attachment cimport Attachment, Lease, array_freeze, array_over, array_root, lease_new
from shmq._c cimport (
    Py_REFCNT, SHMQ_FULL, SHMQ_HOPE_CACHED, SHMQ_HOPE_NONE, SHMQ_INVALID, SHMQ_LENGTH_ENVELOPE, SHMQ_OK,
    shmq_array_bytes, shmq_array_type, shmq_await_leave, shmq_await_room, shmq_block_offset, shmq_blocks_elsewhere,
    shmq_cache_resize, shmq_envelope_write, shmq_hold, shmq_length_bytes, shmq_loan, shmq_message, shmq_parcel,
    shmq_payload, shmq_queue_shut, shmq_receive, shmq_release, shmq_send, shmq_spin_learn, shmq_starved,
    shmq_wait_announce, shmq_wait_point, shmq_wait_sleep,
)
from shmq._endpoint cimport Endpoint, check_timeout, deadline_of, place_in
from shmq._files cimport shmq_os_now
from shmq._types cimport explain, type_of_payload, type_of_request
from shmq._within cimport within

cdef uint32_t BRIEF_LOOKS = 500            # some microseconds, before the clock is read or the GIL given up
cdef uint64_t STARVED_SLICE_NS = 5000000   # blocks come back without a wake where a cache kept them
cdef int CACHE_PATIENCE = 40               # slices to wait for those who only keep blocks at hand


cdef object ZERO = 0


cdef uint32_t label_of(object label) except? 0xFFFFFFFF:
    if label is ZERO:
        return 0
    number = PyNumber_Index(label)
    if not 0 <= number <= 0xFFFFFFFF:
        raise ValueError(f"label is {number}: give a whole number from 0 to 2**32 - 1")
    return number


cdef int byte_of(object value) except -1:
    cdef int overflow
    cdef long long number
    if not PyLong_CheckExact(value):
        value = PyNumber_Index(value)
    number = PyLong_AsLongLongAndOverflow(value, &overflow)
    if overflow or number < 0 or number > 255:
        raise ValueError(f"byte is {value}: give a whole number from 0 to 255")
    return <int> number


cdef uint64_t size_of(object what, Attachment region) except? 0xFFFFFFFFFFFFFFFF:
    """Bytes of a loan."""
    cdef int overflow
    cdef long long small
    if PyLong_CheckExact(what):
        small = PyLong_AsLongLongAndOverflow(what, &overflow)
        if small >= 0 and not overflow:
            return small
    cdef object number = PyNumber_Index(what)
    if number < 0:
        raise ValueError(f"a loan of {number} bytes: give a number from 0 up")
    if number >= 1 << 63:
        raise explain().too_large(region, number)
    return number


@cython.final
cdef class Sender(Endpoint):
    """The sending end of a queue. Any number may send to one queue, from any process.

    Thread-safety: may be shared between threads.
    """

    cdef int post(self, shmq_hold *hold, uint64_t length, uint32_t label, object timeout) except -1:
        cdef shmq_parcel parcel
        parcel.length = length
        parcel.label = label
        cdef int result = shmq_send(self.region.actor, &self.ref, hold, &parcel)
        if result != SHMQ_OK:
            return self.post_slowly(hold, length, label, timeout)
        return 0

    cdef int post_slowly(self, shmq_hold *hold, uint64_t length, uint32_t label, object timeout) except -1:
        """Send once more, waiting for space; raises where that fails, and the block is still the caller's."""
        cdef shmq_parcel parcel
        cdef uint64_t started, deadline
        cdef bint slept = False
        cdef int result
        parcel.length = length
        parcel.label = label
        if timeout is None and self.fixed_spin < 0 and shmq_await_room(self.region.map, &self.ref, BRIEF_LOOKS):
            result = shmq_send(self.region.actor, &self.ref, hold, &parcel)
            if result == SHMQ_OK:
                return 0
        started = shmq_os_now()
        deadline = deadline_of(timeout)
        try:
            while True:
                result = shmq_send(self.region.actor, &self.ref, hold, &parcel)
                if result != SHMQ_FULL or (deadline != NEVER and shmq_os_now() >= deadline):
                    break
                self.wait(started, deadline, &slept)
        finally:
            if slept and self.region.mapped:
                shmq_await_leave(self.region.map, &self.ref, False)
        if result != SHMQ_OK:
            self.fail(result, timeout is None or timeout != 0)
        shmq_spin_learn(&self.spin, shmq_os_now() - started)
        return 0

    cdef int lend(self, uint64_t nbytes, object timeout, shmq_hold *hold) except -1:
        """Get a block; 1 where that took a while."""
        if not (self.is_open and self.region.is_open):
            self.refuse()
        if shmq_loan(self.region.actor, nbytes, hold) != SHMQ_OK:
            self.lend_slowly(nbytes, timeout, hold)
            return 1
        return 0

    cdef object lend_for(self, uint64_t nbytes, object timeout, shmq_hold *hold):
        """Lend, and return what is left of the timeout for sending."""
        cdef uint64_t started = shmq_os_now() if timeout is not None and timeout != 0 else 0
        if self.lend(nbytes, timeout, hold) and started:
            return max(0, timeout - (shmq_os_now() - started) * 1e-9)
        return timeout

    cdef uint64_t describe(self, shmq_hold *hold, const shmq_array_type *kind) except? 0:
        """Write the envelope of a block just lent; what the length word says of it."""
        if shmq_envelope_write(&self.region.map.block[hold.block], kind) != SHMQ_OK:
            raise ValueError(f"elements of kind {chr(kind.kind)!r} and {kind.item_size} bytes cannot be described: "
                             "they must be numbers, booleans or strings of fixed width; send anything else as bytes")
        return SHMQ_LENGTH_ENVELOPE

    cdef int lend_slowly(self, uint64_t nbytes, object timeout, shmq_hold *hold) except -1:
        """Out of blocks: reclaim what can be, then wait while others hold some."""
        cdef Attachment region = self.region
        cdef uint64_t deadline = deadline_of(timeout)
        cdef shmq_wait_point point = shmq_starved(region.map)
        cdef uint32_t seq
        cdef int result, hope, patience = CACHE_PATIENCE
        shmq_cache_resize(region.actor)  # its share, of as many processes as there are now
        while True:
            seq = shmq_wait_announce(point)
            region.tick(False)
            result = shmq_loan(region.actor, nbytes, hold)
            if result == SHMQ_OK:
                return 0
            if result == SHMQ_INVALID:
                raise explain().too_large(region, nbytes)
            hope = shmq_blocks_elsewhere(region.actor)
            patience = patience - 1 if hope == SHMQ_HOPE_CACHED else CACHE_PATIENCE
            if shmq_os_now() >= deadline or hope == SHMQ_HOPE_NONE or patience == 0:
                if region.recover_dead() == 0:
                    raise explain().out_of_blocks(region, nbytes)
                continue
            region.waiting += 1
            try:
                with nogil:
                    shmq_wait_sleep(region.map, point, seq, STARVED_SLICE_NS)
            finally:
                region.waiting -= 1
                if not region.is_open:
                    region.settle()
            if not (self.is_open and self.region.is_open):
                self.refuse()

    def loan(self, what, dtype=None, *, label=0, timeout=None):
        """Lend a block to write a message in, in place.

        Args:
            what: Bytes of payload; with `dtype`, the extents of an array (a number or a tuple, at most 6).
            dtype: Element type of fixed width, anything that numpy.dtype takes.
            label: A number from 0 to 2**32 - 1 that travels with the message.
            timeout: Seconds to wait for a block; None waits while others hold blocks, 0 not at all. There is no
                waiting for blocks that are all in this process's own hands, or only cached by idle others.

        Returns:
            A Loan; its content is undefined.

        Raises:
            OutOfBlocks: No block in time, or all are in this process's own hands; the text names the holders.
            ValueError: Larger than any block, or an argument out of range.
        """
        cdef Loan loan = Loan.__new__(Loan)
        cdef shmq_array_type kind
        cdef uint64_t length
        if timeout is not None:
            timeout = check_timeout(timeout)
        if dtype is None:
            length = size_of(what, self.region)
        else:
            type_of_request(&kind, what, dtype)
            length = shmq_array_bytes(&kind)
        loan.number = label_of(label)
        self.lend(length, timeout, &loan.hold)
        loan.region = self.region
        loan.sender = self
        loan.length = length
        loan.held = True  # from here on the loan gives the block back
        if dtype is not None:
            loan.length |= self.describe(&loan.hold, &kind)
        return loan

    cdef object send_loan(self, Loan loan, object timeout):
        if not (self.is_open and self.region.is_open):
            self.refuse()
        if loan.lease is not None:
            loan.check_views()
            loan.freeze(True)  # before the wait: nobody may take a writable view meanwhile
        loan.held = False  # no other thread can send it while this one waits
        try:
            self.post(&loan.hold, loan.length, loan.number, timeout)
        except BaseException:
            loan.held = True
            if loan.lease is not None:
                loan.lease.hold = loan.hold
                loan.freeze(False)
            raise
        loan.sent()
        return True

    def send(self, data, *, label=0, timeout=None):
        """Send a copy of `data`: one copy into shared memory, none after.

        Args:
            data: bytes, or anything with the buffer protocol; arrays arrive with their shape and type.
            label: A number from 0 to 2**32 - 1 that travels with the message.
            timeout: Seconds to wait for a block and for space; None waits for ever, 0 not at all. There is no
                waiting for blocks that are all in this process's own hands, or only cached by idle others.

        Returns:
            True; False where the queue's policy dropped it.

        Raises:
            Full: No space in time.
            OutOfBlocks: No block in time.
            ShutDown: The queue was shut down.
            QueueClosedError: The queue was deleted.
            ValueError: Larger than any block, or an argument out of range.
        """
        cdef uint32_t number = label_of(label)
        if timeout is not None:
            timeout = check_timeout(timeout)  # a plain float: no arithmetic of the caller's from here on
        if PyBytes_CheckExact(data):
            return self.send_bytes(PyBytes_AS_STRING(data), PyBytes_GET_SIZE(data), number, timeout)
        return self.send_buffer(data, number, timeout)

    def send_nowait(self, data, *, label=0):
        """`send(data, timeout=0)`."""
        return self.send(data, label=label, timeout=0)

    def send_many(self, items, *, label=0, timeout=None):
        """Send a copy of each item, in order, in one call.

        Args:
            items: An iterable of what `send` takes.
            label: As for `send`, the same for all.
            timeout: Seconds that all together may wait for blocks and space; None waits for ever, 0 not at all.

        Returns:
            How many were queued: all, but for those that the queue's policy dropped.

        Raises:
            As `send`, and whatever iterating raises. What was queued before stays queued: the exception's attribute
            `sent` says how many.
        """
        cdef uint32_t number = label_of(label)
        cdef uint64_t deadline = deadline_of(timeout)
        cdef Py_ssize_t sent = 0
        cdef object left = None if timeout is None else check_timeout(timeout)
        if not (self.is_open and self.region.is_open):
            self.refuse()
        try:
            for item in items:
                if PyBytes_CheckExact(item):
                    sent += self.send_bytes(PyBytes_AS_STRING(item), PyBytes_GET_SIZE(item), number, left) is True
                else:
                    sent += self.send_buffer(item, number, left) is True
                if deadline != NEVER and left:
                    left = max(0, <int64_t> (deadline - shmq_os_now())) * 1e-9
        except BaseException as error:
            error.sent = sent
            raise
        return sent

    cdef object send_bytes(self, const void *data, uint64_t nbytes, uint32_t label, object timeout):
        cdef shmq_hold hold
        timeout = self.lend_for(nbytes, timeout, &hold)
        memcpy(shmq_payload(self.region.map, hold.block), data, nbytes)
        try:
            self.post(&hold, nbytes, label, timeout)
        except BaseException:
            if self.region.place.attached:
                shmq_release(self.region.actor, &hold)
            raise
        return True

    cdef object send_buffer(self, object data, uint32_t label, object timeout):
        cdef Py_buffer buffer
        cdef shmq_array_type kind
        cdef shmq_hold hold
        cdef uint64_t length
        cdef int described
        described = type_of_payload(&kind, data)
        try:
            PyObject_GetBuffer(data, &buffer, PyBUF_C_CONTIGUOUS)
        except (ValueError, BufferError):  # not contiguous: numpy's and memoryview's own copies are
            data = data.copy(order="C") if hasattr(data, "copy") else memoryview(data).tobytes()
            PyObject_GetBuffer(data, &buffer, PyBUF_C_CONTIGUOUS)
        try:
            length = buffer.len
            timeout = self.lend_for(length, timeout, &hold)
            memcpy(shmq_payload(self.region.map, hold.block), buffer.buf, buffer.len)
            try:
                if described:
                    length |= self.describe(&hold, &kind)
                self.post(&hold, length, label, timeout)
            except BaseException:
                if self.region.place.attached:
                    shmq_release(self.region.actor, &hold)
                raise
        finally:
            PyBuffer_Release(&buffer)
        return True

    def shutdown(self, immediate=False):
        """No more can be sent; receivers finish what is queued, then their loops end.

        Args:
            immediate: Receivers get nothing more either: what is queued is dropped.
        """
        cdef shmq_message dropped
        if not (self.is_open and self.region.is_open):
            self.refuse()
        cdef int result = shmq_queue_shut(self.region.actor, &self.ref)
        if result != SHMQ_OK:
            self.fail(result, False)
        if immediate:
            while shmq_receive(self.region.actor, &self.ref, &dropped) == SHMQ_OK:
                shmq_release(self.region.actor, &dropped.hold)


@cython.final
@cython.no_gc
@cython.freelist(64)
cdef class Loan:
    """A block to write a message in, in place; nobody else sees it before it is sent.

    `array` and `memoryview` write straight into shared memory. As a context manager it is sent on leaving, and
    discarded where an exception leaves. A dropped loan is discarded. `len`, indexing and slices speak bytes.

    Views of the loan are counted, and those of its array, too; what is taken *from the ndarray* by other means (a
    memoryview or tensor of it) cannot be seen: take `memoryview` from the loan itself, drop such views before sending.

    Thread-safety: one thread at a time; two threads cannot both send it.
    """

    def __init__(self):
        raise TypeError("loans come from Sender.loan")

    cdef int refuse(self) except -1:
        """Somebody uses the handle after it, or its region, was closed."""
        if not self.held:
            raise ValueError(f"the loan (label {self.number}) has been sent or discarded: take another one")
        return self.region.check()

    cdef Lease view(self):
        if not (self.held and self.region.is_open):
            self.refuse()
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

    cdef void freeze(self, bint frozen) noexcept:
        """Let nobody write through the arrays any more, nor make them writable again; or undo that."""
        self.lease.writable = not frozen
        if self.root is not None:
            array_freeze(self.handed_out, frozen)
            array_freeze(self.root, frozen)

    cdef void sent(self) noexcept:
        """The block is the receiver's."""
        self.held = False
        if self.lease is not None:
            self.lease.owns = False
            self.drop_views()

    cdef void drop_views(self) noexcept:
        self.lease.has_handle = False
        self.lease.root = self.lease.handed_out = NULL
        self.lease = None
        self.handed_out = None
        self.root = None

    cdef void give_back(self) noexcept:
        self.held = False
        if self.lease is not None:  # the block goes back when the last view dies
            self.drop_views()
        elif self.region.place.attached:
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
            QueueClosedError: The queue was deleted; the loan is still yours.
            BufferError: Other writable views of it live; the loan is still yours.
            ValueError: It was sent or discarded before.
        """
        if not (self.held and self.region.is_open):
            self.refuse()
        if timeout is not None:
            timeout = check_timeout(timeout)
        return self.sender.send_loan(self, timeout)

    def send_nowait(self):
        """`send(timeout=0)`."""
        if not (self.held and self.region.is_open):
            self.refuse()
        return self.sender.send_loan(self, 0)

    def discard(self):
        """Give the block back unsent; harmless when repeated."""
        if self.held:
            self.give_back()

    def __enter__(self):
        if not (self.held and self.region.is_open):
            self.refuse()
        return self

    def __exit__(self, kind, value, traceback):
        if not self.held:
            return
        if kind is None:
            if not (self.held and self.region.is_open):
                self.refuse()
            self.sender.send_loan(self, None)
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
            self.root = array_root(lease)
            self.handed_out = array_over(lease, self.root)
            lease.root, lease.handed_out = <PyObject *> self.root, <PyObject *> self.handed_out
        return self.handed_out

    @property
    def memoryview(self):
        """The block as a writable memoryview, in place."""
        return PyMemoryView_FromObject(self.view())

    def __getbuffer__(self, Py_buffer *buffer, int flags):
        self.view().fill(buffer, flags)

    def __releasebuffer__(self, Py_buffer *buffer):
        pass  # the lease keeps count; that there is one tells numpy to keep the buffer and not this object

    def __len__(self):
        if not (self.held and self.region.is_open):
            self.refuse()
        return shmq_length_bytes(self.length)

    def __getitem__(self, index):
        cdef Py_ssize_t at, start, stop, step
        if isinstance(index, slice):
            start, stop, step = index.indices(len(self))  # may run Python code: look again after it
            if not (self.held and self.region.is_open):
                self.refuse()
            if step != 1:
                return bytes([self[at] for at in range(start, stop, step)])
            return PyBytes_FromStringAndSize(<char *> shmq_payload(self.region.map, self.hold.block) + start,
                                             max(stop - start, 0))
        at = index  # may run Python code
        if not (self.held and self.region.is_open):
            self.refuse()
        return shmq_payload(self.region.map, self.hold.block)[place_in(at, shmq_length_bytes(self.length))]

    def __setitem__(self, index, value):
        cdef Py_ssize_t at
        cdef int byte
        if isinstance(index, slice):
            self.put(index, value)
            return
        at = index  # this and the next may run Python code: look after them
        byte = byte_of(value)
        if not (self.held and self.region.is_open):
            self.refuse()
        shmq_payload(self.region.map, self.hold.block)[place_in(at, shmq_length_bytes(self.length))] = byte

    cdef int put(self, object index, object value) except -1:
        """Copy bytes into a slice of the payload."""
        cdef Py_ssize_t start, stop, step
        cdef Py_buffer source
        start, stop, step = index.indices(len(self))
        PyObject_GetBuffer(value, &source, PyBUF_C_CONTIGUOUS)
        try:
            if not (self.held and self.region.is_open):
                self.refuse()
            if step != 1 or source.len != max(stop - start, 0):
                raise ValueError(f"cannot put {source.len} bytes into a slice of {len(range(start, stop, step))}: "
                                 "give as many as it has, in steps of 1")
            memcpy(shmq_payload(self.region.map, self.hold.block) + start, source.buf, source.len)
        finally:
            PyBuffer_Release(&source)
        return 0

    @property
    def label(self):
        """The number that travels with the message."""
        return self.number

    @property
    def nbytes(self):
        """Bytes of payload."""
        if not (self.held and self.region.is_open):
            self.refuse()
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
        if not (self.held and self.region.is_open):
            self.refuse()
        return shmq_block_offset(self.region.map, self.hold.block)

    def __repr__(self):
        if not self.held or not self.region.is_open:
            return "<shmq.Loan sent or discarded>"
        return f"<shmq.Loan {shmq_length_bytes(self.length)} bytes at offset {self.offset}, label {self.number}>"


within(Loan)
