# SPDX-License-Identifier: MIT
"""Senders and receivers: one crossing into C a call; waits leave the GIL to others."""

cimport cython
from cpython.buffer cimport PyBUF_C_CONTIGUOUS, PyBUF_FORMAT, PyBuffer_Release, PyObject_GetBuffer
from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_CheckExact, PyBytes_GET_SIZE
from libc.stdint cimport uint32_t, uint64_t
from libc.string cimport memcpy, memset

from shmq._c cimport (
    SHMQ_CLOSED, SHMQ_EMPTY, SHMQ_FULL, SHMQ_INTERRUPTED, SHMQ_INVALID, SHMQ_LENGTH_ENVELOPE, SHMQ_NO_BLOCKS, SHMQ_OK,
    SHMQ_SHUT, SHMQ_SLICE_NS, SHMQ_STALE, SHMQ_TIMEOUT,
    shmq_array_bytes, shmq_array_type, shmq_await_leave, shmq_await_sleep, shmq_await_spin, shmq_blocks_elsewhere,
    shmq_buddy_merge, shmq_cache_flush, shmq_envelope_write, shmq_hold, shmq_loan, shmq_message, shmq_parcel, shmq_payload,
    shmq_queue_count, shmq_queue_shut, shmq_queue_unclaim, shmq_receive, shmq_release, shmq_send, shmq_spin_init,
    shmq_spin_learn, shmq_starved, shmq_wait_announce, shmq_wait_point, shmq_wait_sleep,
)
from shmq._files cimport shmq_os_now
from shmq._loan cimport Loan
from shmq._message cimport Message
from shmq._attachment cimport Attachment
from shmq._types cimport type_of_buffer, type_of_request

from shmq import errors, explain

cdef uint64_t FOREVER = 0xFFFFFFFFFFFFFFFFull
cdef uint64_t STARVED_SLICE_NS = 5000000   # blocks come back without a wake where a cache kept them
cdef uint64_t SIGNAL_SLICE_NS = 10000000   # an endless spin looks for signals this often


cdef uint64_t deadline_of(object timeout) except? 0:
    """The clock's reading at which `timeout` seconds are over."""
    cdef double seconds
    if timeout is None:
        return FOREVER
    seconds = timeout
    if not seconds >= 0:
        raise ValueError(f"timeout is {timeout!r}: give seconds from 0 up, or None to wait for ever")
    if seconds > 1e9:
        return FOREVER
    return shmq_os_now() + <uint64_t> (seconds * 1e9)


cdef uint32_t label_of(object label) except? 0xFFFFFFFF:
    cdef long long number = label
    if not 0 <= number <= 0xFFFFFFFF:
        raise ValueError(f"label is {number}: give a whole number from 0 to 2**32 - 1")
    return <uint32_t> number


cdef class Endpoint:
    """What senders and receivers have in common: a queue and how to wait for it."""

    def __init__(self):
        raise TypeError("senders and receivers come from a Region")

    cdef int check(self) except -1:
        if not self.is_open:
            raise ValueError(f"this {type(self).__name__.lower()} of queue {self.queue!r} has been closed")
        return self.region.check()

    cdef int wait(self, uint64_t started, uint64_t deadline, bint *slept) except -1:
        """Wait a while for the queue to change; returns so that the caller can try again.

        Spins at first, then sleeps a slice at a time. Between slices it looks for signals and for dead processes.
        """
        cdef Attachment region = self.region
        cdef uint64_t now = shmq_os_now(), spin_until = started, limit
        cdef bint news
        if self.fixed_spin < 0:
            spin_until += self.spin.budget_ns
        elif self.fixed_spin > 1e9:
            spin_until = FOREVER
        else:
            spin_until += <uint64_t> (self.fixed_spin * 1e9)
        if spin_until > deadline:
            spin_until = deadline
        limit = deadline - now if deadline > now else 0
        region.waiting += 1
        try:
            if now < spin_until:
                with nogil:
                    news = shmq_await_spin(region.map, &self.ref, self.receives,
                                           min(spin_until - now, SIGNAL_SLICE_NS))
                if not news:
                    region.tick(False)
            else:
                with nogil:
                    shmq_await_sleep(region.map, &self.ref, self.receives, limit)
                slept[0] = True
                region.tick(True)
        finally:
            region.waiting -= 1
            if not region.is_open:
                region.settle()
        return self.check()

    cdef int fail(self, int result, bint waited) except -1:
        """Raise what a result of the core means here."""
        explain.queue_error(result, self, waited)
        return 0

    def close(self):
        """Give the handle up; harmless when repeated. The queue and what is in it stay."""
        self.is_open = False

    def __enter__(self):
        self.check()
        return self

    def __exit__(self, *exc):
        self.close()

    @property
    def depth(self):
        """How many messages the queue may hold."""
        return self.ref.depth

    def qsize(self):
        """About how many messages stand in the queue."""
        self.check()
        return shmq_queue_count(&self.ref)

    @property
    def closed(self):
        """Whether the handle, or its region, has been closed."""
        return not self.is_open or not self.region.is_open

    def __repr__(self):
        return f"<shmq.{type(self).__name__} of {self.queue!r}{' closed' if self.closed else ''}>"


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
        cdef uint64_t started = shmq_os_now(), deadline = deadline_of(timeout)
        cdef bint slept = False
        cdef int result
        parcel.length = length
        parcel.label = label
        try:
            while True:
                result = shmq_send(self.region.actor, &self.ref, hold, &parcel)
                if result != SHMQ_FULL or (deadline != FOREVER and shmq_os_now() >= deadline):
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
        self.check()
        if shmq_loan(self.region.actor, nbytes, hold) != SHMQ_OK:
            return self.lend_slowly(nbytes, timeout, hold)
        return 0

    cdef int lend_slowly(self, uint64_t nbytes, object timeout, shmq_hold *hold) except -1:
        """Out of blocks: reclaim what can be, then wait while others hold some."""
        cdef Attachment region = self.region
        cdef uint64_t deadline = deadline_of(timeout)
        cdef shmq_wait_point point = shmq_starved(region.map)
        cdef uint32_t seq
        cdef int result
        while True:
            seq = shmq_wait_announce(point)
            shmq_cache_flush(region.actor)
            region.tick(False)
            result = shmq_loan(region.actor, nbytes, hold)
            if result == SHMQ_NO_BLOCKS:
                shmq_buddy_merge(region.actor)
                result = shmq_loan(region.actor, nbytes, hold)
            if result == SHMQ_OK:
                return 0
            if result == SHMQ_INVALID:
                raise explain.too_large(region, nbytes)
            if shmq_os_now() >= deadline or not shmq_blocks_elsewhere(region.actor):
                if region.recover_dead() == 0:
                    raise explain.out_of_blocks(region, nbytes)
                continue
            region.waiting += 1
            try:
                with nogil:
                    shmq_wait_sleep(region.map, point, seq, STARVED_SLICE_NS)
            finally:
                region.waiting -= 1
                if not region.is_open:
                    region.settle()
            self.check()

    def loan(self, what, dtype=None, *, label=0, timeout=None):
        """Lend a block to write a message in, in place.

        Args:
            what: Bytes of payload; with `dtype`, the extents of an array (a number or a tuple, at most 6).
            dtype: Element type of fixed width, anything that numpy.dtype takes.
            label: A number from 0 to 2**32 - 1 that travels with the message.
            timeout: Seconds to wait for a block; None waits while others hold blocks, 0 not at all.

        Returns:
            A Loan; its content is undefined.

        Raises:
            OutOfBlocks: No block in time, or all are in this process's own hands; the text names the holders.
            ValueError: Larger than any block, or an argument out of range.
        """
        cdef Loan loan = Loan.__new__(Loan)
        cdef shmq_array_type kind
        cdef uint64_t length
        cdef long long nbytes
        if dtype is None:
            nbytes = what
            if nbytes < 0:
                raise ValueError(f"a loan of {nbytes} bytes: give a number from 0 up")
            length = nbytes
        else:
            type_of_request(&kind, what, dtype)
            length = shmq_array_bytes(&kind)
        loan.number = label_of(label) if label else 0
        self.lend(length, timeout, &loan.hold)
        if dtype is not None:
            if shmq_envelope_write(&self.region.map.block[loan.hold.block], &kind) != SHMQ_OK:
                shmq_release(self.region.actor, &loan.hold)
                raise ValueError(f"an array of shape {what!r} and type {dtype!r} cannot be described: "
                                 "at most 6 extents below 2**32, elements of fixed width")
            length |= SHMQ_LENGTH_ENVELOPE
        loan.region = self.region
        loan.sender = self
        loan.length = length
        loan.held = True
        return loan

    cpdef object _send_loan(self, object given, object timeout):
        cdef Loan loan = given
        self.check()
        if loan.lease is not None:
            loan.check_views()
        loan.held = False  # no other thread can send it while this one waits
        try:
            self.post(&loan.hold, loan.length, loan.number, timeout)
        except BaseException:
            loan.held = True
            if loan.lease is not None:
                loan.lease.hold = loan.hold
            raise
        loan.sent()
        return True

    def send(self, data, *, label=0, timeout=None):
        """Send a copy of `data`: one copy into shared memory, none after.

        Args:
            data: bytes, or anything with the buffer protocol; arrays arrive with their shape and type.
            label: A number from 0 to 2**32 - 1 that travels with the message.
            timeout: Seconds to wait for a block and for space; None waits for ever, 0 not at all.

        Returns:
            True; False where the queue's policy dropped it.

        Raises:
            Full: No space in time.
            OutOfBlocks: No block in time.
            ShutDown: The queue was shut down.
            ValueError: Larger than any block.
        """
        cdef uint32_t number = label_of(label) if label else 0
        if PyBytes_CheckExact(data):
            return self.send_bytes(PyBytes_AS_STRING(data), PyBytes_GET_SIZE(data), number, timeout)
        return self.send_buffer(data, number, timeout)

    def send_nowait(self, data, *, label=0):
        """`send(data, timeout=0)`."""
        return self.send(data, label=label, timeout=0)

    cdef object send_bytes(self, const void *data, uint64_t nbytes, uint32_t label, object timeout):
        cdef shmq_hold hold
        self.lend(nbytes, timeout, &hold)
        memcpy(shmq_payload(self.region.map, hold.block), data, nbytes)
        try:
            self.post(&hold, nbytes, label, timeout)
        except BaseException:
            if self.region.attached:
                shmq_release(self.region.actor, &hold)
            raise
        return True

    cdef object send_buffer(self, object data, uint32_t label, object timeout):
        cdef Py_buffer buffer
        cdef shmq_array_type kind
        cdef shmq_hold hold
        cdef uint64_t length
        cdef int described
        try:
            PyObject_GetBuffer(data, &buffer, PyBUF_C_CONTIGUOUS | PyBUF_FORMAT)
        except (ValueError, BufferError):
            data = memoryview(data).tobytes() if not hasattr(data, "__array__") else data.copy(order="C")
            PyObject_GetBuffer(data, &buffer, PyBUF_C_CONTIGUOUS | PyBUF_FORMAT)
        try:
            described = type_of_buffer(&buffer, &kind)
            length = buffer.len
            self.lend(length, timeout, &hold)
            memcpy(shmq_payload(self.region.map, hold.block), buffer.buf, buffer.len)
            if described and shmq_envelope_write(&self.region.map.block[hold.block], &kind) == SHMQ_OK:
                length |= SHMQ_LENGTH_ENVELOPE
            try:
                self.post(&hold, length, label, timeout)
            except BaseException:
                if self.region.attached:
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
        self.check()
        cdef int result = shmq_queue_shut(self.region.actor, &self.ref)
        if result != SHMQ_OK:
            self.fail(result, False)
        if immediate:
            while shmq_receive(self.region.actor, &self.ref, &dropped) == SHMQ_OK:
                shmq_release(self.region.actor, &dropped.hold)


@cython.final
cdef class Receiver(Endpoint):
    """The receiving end of a queue. Iterating yields messages until the queue is shut down and empty.

    Thread-safety: may be shared between threads; each message goes to one of them.
    """

    def receive(self, timeout=None):
        """Receive the oldest message, in place.

        Args:
            timeout: Seconds to wait; None waits for ever, 0 not at all.

        Returns:
            A Message, held until it is released.

        Raises:
            Empty: Nothing came in time.
            ShutDown: The queue was shut down and is empty.
            QueueClosedError: The queue was deleted.
        """
        cdef Message message = Message.__new__(Message)
        self.check()
        cdef int result = shmq_receive(self.region.actor, &self.ref, &message.message)
        if result != SHMQ_OK:
            return self.receive_slowly(message, timeout)
        message.region = self.region
        message.held = True
        return message

    def receive_nowait(self):
        """`receive(timeout=0)`."""
        return self.receive(0)

    cdef Message receive_slowly(self, Message message, object timeout):
        cdef uint64_t started, deadline
        cdef bint slept = False
        cdef int result, burst
        if timeout is None or timeout != 0:
            for burst in range(4):  # about a microsecond each, before the clock is read or the GIL given up
                if shmq_await_spin(self.region.map, &self.ref, True, 0):
                    result = shmq_receive(self.region.actor, &self.ref, &message.message)
                    if result == SHMQ_OK:
                        message.region = self.region
                        message.held = True
                        return message
        started = shmq_os_now()
        deadline = deadline_of(timeout)
        try:
            while True:
                result = shmq_receive(self.region.actor, &self.ref, &message.message)
                if result != SHMQ_EMPTY or (deadline != FOREVER and shmq_os_now() >= deadline):
                    break
                self.wait(started, deadline, &slept)
        finally:
            if slept and self.region.mapped:
                shmq_await_leave(self.region.map, &self.ref, True)
        if result != SHMQ_OK:
            self.fail(result, timeout is None or timeout != 0)
        shmq_spin_learn(&self.spin, shmq_os_now() - started)
        message.region = self.region
        message.held = True
        return message

    def __iter__(self):
        return self

    def __next__(self):
        try:
            return self.receive()
        except errors.ShutDown:
            raise StopIteration from None

    def close(self):
        """Give the handle and its claim on the queue up; harmless when repeated."""
        if self.is_open and not self.shared and self.region.attached:
            shmq_queue_unclaim(self.region.actor, &self.ref)
        self.is_open = False

    def __dealloc__(self):
        if self.is_open and not self.shared and self.region is not None and self.region.attached:
            shmq_queue_unclaim(self.region.actor, &self.ref)
