# SPDX-License-Identifier: MIT
"""The receiving end of a queue, and messages: blocks read in place until they are released."""

cimport cython
from cpython.bytes cimport PyBytes_FromStringAndSize
from cpython.memoryview cimport PyMemoryView_FromObject
from cpython.ref cimport PyObject
from libc.stdint cimport UINT64_MAX as NEVER, uint64_t

from shmq._attachment cimport Lease, array_over, lease_new
from shmq._c cimport (
    Py_REFCNT, SHMQ_EMPTY, SHMQ_OK, SHMQ_POSITION_UNKNOWN,
    shmq_await_leave, shmq_await_spin, shmq_block_offset, shmq_length_bytes, shmq_payload, shmq_process_info,
    shmq_process_info_load, shmq_queue_unclaim, shmq_receive, shmq_release, shmq_spin_learn,
)
from shmq._endpoint cimport Endpoint, check_timeout, deadline_of, place_in
from shmq._files cimport shmq_os_now
from shmq._within cimport within

from shmq import errors


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
        if timeout is not None:
            check_timeout(timeout)
        if not (self.is_open and self.region.is_open):
            self.refuse()
        cdef int result = shmq_receive(self.region.actor, &self.ref, &message.message)
        if result != SHMQ_OK:
            return self.receive_slowly(message, timeout)
        message.region = self.region
        message.held = True
        return message

    def receive_nowait(self):
        """`receive(timeout=0)`."""
        return self.receive(0)

    def receive_many(self, most, timeout=None):
        """Receive what is there, in one call: wait for the first message, take the others without waiting.

        Args:
            most: How many messages at most.
            timeout: Seconds to wait for the first; None waits for ever, 0 not at all.

        Returns:
            A list of 1 to `most` Messages, oldest first; each is held until it is released.

        Raises:
            As `receive`.
        """
        cdef Py_ssize_t left = most
        cdef Message message
        if left < 1:
            raise ValueError(f"most is {most}: ask for at least 1 message")
        found = [self.receive(timeout)]
        while left > 1 and self.is_open and self.region.is_open:  # the list may have cost a garbage collection
            message = Message.__new__(Message)
            if shmq_receive(self.region.actor, &self.ref, &message.message) != SHMQ_OK:
                break
            message.region = self.region
            message.held = True
            found.append(message)
            left -= 1
        return found

    cdef Message receive_slowly(self, Message message, object timeout):
        cdef uint64_t started, deadline
        cdef bint slept = False
        cdef int result
        if timeout is None or timeout != 0:
            for _ in range(4):  # about a microsecond each, before the clock is read or the GIL given up
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
                if result != SHMQ_EMPTY or (deadline != NEVER and shmq_os_now() >= deadline):
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
        if self.is_open and not self.shared and self.region.place.attached:
            shmq_queue_unclaim(self.region.actor, &self.ref)
        self.is_open = False

    def __dealloc__(self):
        if self.is_open and not self.shared and self.region is not None and self.region.place.attached:
            shmq_queue_unclaim(self.region.actor, &self.ref)


@cython.final
@cython.no_gc
@cython.freelist(256)
cdef class Message:
    """A received message, read in place and read-only.

    A live view (array, memoryview, slice of either) pins the block: `release` gives up the handle, and the block goes
    back when the last view dies. Dropping the message releases it. As a context manager it is released on leaving.
    `len`, indexing and `bytes()` speak bytes; `.array` and the buffer protocol speak the typed array that was sent.

    Thread-safety: one thread at a time.
    """

    def __init__(self):
        raise TypeError("messages come from Receiver.receive")

    cdef int refuse(self) except -1:
        """Somebody uses the handle after it, or its region, was closed."""
        if not self.held:
            raise ValueError(f"the message (label {self.message.label}) has been released: take what you need before, "
                             "or keep a view")
        return self.region.check()

    cdef Lease view(self):
        if not (self.held and self.region.is_open):
            self.refuse()
        if self.lease is None:
            self.lease = lease_new(self.region, self.message.hold, self.message.length, False)
        return self.lease

    cdef void give_back(self) noexcept:
        """Give up the handle: with no view alive the block goes back now."""
        self.held = False
        if self.lease is not None:
            self.lease.has_handle = False
            self.lease = None
        elif self.region.place.attached:
            shmq_release(self.region.actor, &self.message.hold)

    def release(self, *, bint strict=False):
        """Give the message back; harmless when repeated.

        Args:
            strict: Raise instead where views still pin the block.

        Raises:
            BufferError: `strict`, and views live; the message stays held.
        """
        if not self.held:
            return
        if strict and self.lease is not None and Py_REFCNT(<PyObject *> self.lease) > 1:
            raise BufferError(
                f"{Py_REFCNT(<PyObject *> self.lease) - 1} views of the message live: drop them first, or release "
                "without strict=True, which gives the block back when the last one dies")
        self.give_back()

    def __enter__(self):
        if not (self.held and self.region.is_open):
            self.refuse()
        return self

    def __exit__(self, kind, value, traceback):
        if self.held:
            self.give_back()

    def __dealloc__(self):
        if self.held:
            self.give_back()

    @property
    def array(self):
        """The payload as a read-only numpy array of the type and shape that was sent, in place."""
        cdef Lease lease = self.view()
        return array_over(lease, lease)

    @property
    def memoryview(self):
        """The payload as a read-only memoryview, in place."""
        return PyMemoryView_FromObject(self.view())

    def __getbuffer__(self, Py_buffer *buffer, int flags):
        self.view().fill(buffer, flags)

    def __releasebuffer__(self, Py_buffer *buffer):
        pass  # the lease keeps count; that there is one tells numpy to keep the buffer and not this object

    def __len__(self):
        if not (self.held and self.region.is_open):
            self.refuse()
        return shmq_length_bytes(self.message.length)

    cdef bytes payload(self):
        if not (self.held and self.region.is_open):
            self.refuse()
        return PyBytes_FromStringAndSize(<char *> shmq_payload(self.region.map, self.message.hold.block),
                                         shmq_length_bytes(self.message.length))

    def __bytes__(self):
        return self.payload()

    def tobytes(self):
        """A copy of the payload, as `bytes(message)` but quicker."""
        return self.payload()

    def __getitem__(self, index):
        cdef Py_ssize_t at, start, stop, step, nbytes
        if isinstance(index, slice):
            start, stop, step = index.indices(len(self))  # may run Python code: look again after it
            if step != 1:
                return self.payload()[index]
            if not (self.held and self.region.is_open):
                self.refuse()
            return PyBytes_FromStringAndSize(
                <char *> shmq_payload(self.region.map, self.message.hold.block) + start, max(stop - start, 0))
        at = index  # may run Python code
        if not (self.held and self.region.is_open):
            self.refuse()
        nbytes = shmq_length_bytes(self.message.length)
        return shmq_payload(self.region.map, self.message.hold.block)[place_in(at, nbytes)]

    def copy(self):
        """The payload as a writable numpy array of its own, outside shared memory."""
        return self.array.copy()

    @property
    def label(self):
        """The number that the sender gave it."""
        if not (self.held and self.region.is_open):
            self.refuse()
        return self.message.label

    @property
    def seq(self):
        """Its place in the queue, counting from 0: what was dropped or taken back leaves gaps.

        None for a redelivered message whose first receiver died before it had noted the place.
        """
        if not (self.held and self.region.is_open):
            self.refuse()
        return self.message.position if self.message.position != SHMQ_POSITION_UNKNOWN else None

    @property
    def sender(self):
        """Name of the process that sent it, None where it is no longer attached."""
        if not (self.held and self.region.is_open):
            self.refuse()
        cdef shmq_process_info info
        if self.message.sender_slot >= self.region.map.geometry.max_processes:
            return None
        shmq_process_info_load(self.region.map, self.message.sender_slot, &info)
        if info.epoch != self.message.sender_epoch:
            return None
        return info.name.decode("ascii", "replace")

    @property
    def redelivered(self):
        """Whether an earlier receiver died holding it."""
        if not (self.held and self.region.is_open):
            self.refuse()
        return self.message.redelivered

    @property
    def deliveries(self):
        """How often it has been handed out, this time included."""
        if not (self.held and self.region.is_open):
            self.refuse()
        return self.message.deliveries + 1

    @property
    def nbytes(self):
        """Bytes of payload."""
        if not (self.held and self.region.is_open):
            self.refuse()
        return shmq_length_bytes(self.message.length)

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
        return shmq_block_offset(self.region.map, self.message.hold.block)

    def __repr__(self):
        if not self.held or not self.region.is_open:
            return "<shmq.Message released>"
        return (f"<shmq.Message {shmq_length_bytes(self.message.length)} bytes at offset {self.offset}, "
                f"label {self.message.label}, seq {self.seq}>")


within(Message)
