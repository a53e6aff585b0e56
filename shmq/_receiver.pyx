# SPDX-License-Identifier: MIT
"""The receiving end of a queue, and messages: blocks read in place until they are released."""

cimport cython
from cpython.bytes cimport PyBytes_FromStringAndSize
from cpython.memoryview cimport PyMemoryView_FromObject
from cpython.ref cimport PyObject
from libc.stdint cimport UINT64_MAX as NEVER, uint64_t
from libc.string cimport memcpy

from shmq._attachment cimport Lease, array_over, lease_new
from shmq._c cimport (
    Py_REFCNT, SHMQ_EMPTY, SHMQ_KIND_INBOX, SHMQ_KIND_SUBSCRIBER, SHMQ_KIND_WORK, SHMQ_LENGTH_ENVELOPE, SHMQ_OK,
    SHMQ_POSITION_UNKNOWN, SHMQ_SHARED_BLOCK,
    shmq_await_burst, shmq_await_leave, shmq_block_offset, shmq_edit, shmq_envelope_copy, shmq_hold, shmq_hold_check,
    shmq_is_ticket, shmq_length_bytes, shmq_payload, shmq_process_info, shmq_process_info_load,
    shmq_queue_dropped, shmq_queue_unclaim, shmq_receive, shmq_release, shmq_spin_learn,
    shmq_unsubscribe,
)
from shmq._endpoint cimport Endpoint, check_timeout, deadline_of, place_in
from shmq._files cimport shmq_os_now, shmq_standing
from shmq._loan cimport DROPPED, Lender, lend, loan_new
from shmq._sender cimport Sender
from shmq._types cimport explain
from shmq._within cimport within

from shmq import errors, options
from shmq.errors import RegionCorruptError


@cython.final
@cython.no_gc_clear  # a collector would clear the region before __dealloc__ can give the claim up
@cython.auto_pickle(False)
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
        cdef double seconds = 0
        if timeout is not None:
            seconds = check_timeout(timeout)  # no arithmetic of the caller's from here on
        if not self.standing.open:
            self.refuse()
        cdef int result = shmq_receive(self.region.actor, &self.ref, &message.message)
        if result != SHMQ_OK:
            return self.receive_slowly(message, None if timeout is None else seconds)
        message.region = self.region
        message.standing = self.standing
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
        while left > 1 and self.standing.open:  # the list may have cost a garbage collection
            message = Message.__new__(Message)
            if shmq_receive(self.region.actor, &self.ref, &message.message) != SHMQ_OK:
                break
            message.region = self.region
            message.standing = self.standing
            message.held = True
            found.append(message)
            left -= 1
        return found

    cdef Message receive_slowly(self, Message message, object timeout):
        cdef const shmq_standing *standing = self.standing
        cdef uint64_t started, deadline
        cdef bint slept = False
        cdef int result
        if timeout is None or timeout != 0:
            for _ in range(4):  # about a microsecond each, before the clock is read or the GIL given up
                if shmq_await_burst(self.region.map, &self.ref, True):
                    result = shmq_receive(self.region.actor, &self.ref, &message.message)
                    if result == SHMQ_OK:
                        message.region = self.region
                        message.standing = self.standing
                        message.held = True
                        return message
        started = shmq_os_now()
        deadline = deadline_of(timeout)
        try:
            while True:
                result = shmq_receive(self.region.actor, &self.ref, &message.message)
                if result != SHMQ_EMPTY or (deadline != NEVER and shmq_os_now() >= deadline):
                    break
                self.wait(&self.ref, started, deadline, &slept)
        finally:
            if slept and standing.mapped:
                shmq_await_leave(self.region.map, &self.ref, True)
        if result != SHMQ_OK:
            self.fail(result, timeout is None or timeout != 0)
        shmq_spin_learn(&self.spin, shmq_os_now() - started)
        message.region = self.region
        message.standing = self.standing
        message.held = True
        return message

    cdef tuple recipe(self):
        settings = {
            "depth": self.ref.depth, "overflow": options.OVERFLOW[self.policy],
            "spin": self.fixed_spin if self.fixed_spin >= 0 else None,
        }
        if self.ref.kind == SHMQ_KIND_INBOX:
            raise TypeError(f"cannot pickle the inbox of process {self.queue!r}: another process has its own, and "
                            "sends to this one through region.peer")
        if self.ref.kind == SHMQ_KIND_SUBSCRIBER:
            return "subscriber", settings
        settings["shared"] = self.shared
        return "receiver", settings

    cdef int open_again(self) except -1:
        """In a forked child: a claim of its own, a subscription of its own from now on, its own inbox."""
        cdef Receiver other
        if self.ref.kind == SHMQ_KIND_WORK:
            Endpoint.open_again(self)
            self.region._claim(self, self.queue)
            return 0
        if self.ref.kind == SHMQ_KIND_INBOX:
            other = self.region.inbox
        else:
            other = self.region.subscriber(self.queue, depth=self.ref.depth, overflow=options.OVERFLOW[self.policy])
        if not self.is_open or self.standing == self.region.standing:  # another thread was faster: `other` is given up
            return 0
        self.queue = other.queue
        self.ref = other.ref
        other.shut()  # what it had is this one's
        return 0

    def __iter__(self):
        return self

    def __next__(self):
        try:
            return self.receive()
        except errors.ShutDown:
            raise StopIteration from None

    @property
    def dropped(self):
        """How many messages the queue's policy has dropped so far.

        Of a subscriber also those that a publisher gave up waiting for; each drop leaves a gap in `Message.seq`.
        """
        if not self.standing.open:
            self.refuse()
        return shmq_queue_dropped(&self.ref)

    cdef void give_up(self) noexcept:
        """What the queue loses with this handle: its claim; a subscriber's queue goes altogether, an inbox nothing."""
        if not self.standing.attached:
            return
        if self.ref.kind == SHMQ_KIND_SUBSCRIBER:
            shmq_unsubscribe(self.region.actor, &self.ref)
        elif not self.shared and self.ref.kind == SHMQ_KIND_WORK:
            shmq_queue_unclaim(self.region.actor, &self.ref)

    def close(self):
        """Give the handle and its claim on the queue up, or unsubscribe; harmless when repeated."""
        self.give_up()
        self.shut()

    def __dealloc__(self):
        if self.region is not None:
            self.give_up()


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
        return self.region.check_same(self.standing, f"the message (label {self.message.label})")

    cdef Lease view(self):
        if not (self.held and self.standing.open):
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
        elif self.standing.attached:
            shmq_release(self.region.actor, &self.message.hold)

    cdef int alone(self, str what) except -1:
        """Before the block changes hands nobody may look at it any more."""
        if self.lease is None:
            return 0
        if Py_REFCNT(<PyObject *> self.lease) > 1:
            raise BufferError(f"{Py_REFCNT(<PyObject *> self.lease) - 1} views of the message live: drop them before "
                              f"{what}; the message is still yours")
        self.lease.has_handle = self.lease.owns = False
        self.lease = None
        return 0

    cdef int check_target(self, Lender tx) except -1:
        if not (self.held and self.standing.open):
            self.refuse()
        if tx is None:
            return 0
        if not tx.is_open:
            tx.refuse()
        if tx.region is not self.region:
            texts = explain()
            same = tx.region.name is not None and tx.region.name == self.region.name
            other = "another opening of the region" if same else texts.region_title(tx.region.name)
            raise ValueError(f"{tx!r} belongs to {other}, the message to {texts.region_title(self.region.name)}: pass "
                             "a copy on with tx.send(message)")
        if not tx.standing.open:
            tx.refuse()
        return 0

    cdef int copy_block(self, shmq_hold *hold, object timeout) except -1:
        """A block of this process's own with the same content."""
        cdef uint64_t nbytes = shmq_length_bytes(self.message.length)
        lend(self.region, nbytes, timeout, hold)
        if not (self.held and self.standing.open):  # meanwhile
            if self.standing.attached:
                shmq_release(self.region.actor, hold)
            self.refuse()
        memcpy(shmq_payload(self.region.map, hold.block), shmq_payload(self.region.map, self.message.hold.block),
               nbytes)
        if self.message.length & SHMQ_LENGTH_ENVELOPE:
            shmq_envelope_copy(&self.region.map.block[hold.block], &self.region.map.block[self.message.hold.block])
        return 0

    cdef bint own(self) except -1:
        """Acknowledge the message and make its block this process's own; False where other subscribers have it, too."""
        cdef int result = shmq_edit(self.region.actor, &self.message.hold)
        if result != SHMQ_OK and result != SHMQ_SHARED_BLOCK:
            self.region.check_memory()
            raise RegionCorruptError(f"the block of the message (label {self.message.label}) was taken away: "
                                     "look for a process that writes astray, and make the region anew")
        return result == SHMQ_OK

    def edit(self, Lender tx=None, *, timeout=None):
        """Turn the message into a loan of the same block, to modify and pass on; in place, whatever its size.

        The message is acknowledged: nobody is ever redelivered a half-modified one. A published message that other
        subscribers have, too, is copied.

        Args:
            tx: Where the loan is sent, by `Loan.send` or on leaving its `with`; None: pass it to some `send` later.
            timeout: Seconds to wait for a block where it must be copied; None waits, 0 not at all.

        Returns:
            A Loan with the payload, type and label of the message, which is released.

        Raises:
            BufferError: Views of the message live; it is still yours.
            OutOfBlocks: No block for the copy in time; the message is still yours.
            RegionPermissionError: The region was opened with access="receive"; the message is still yours.
            ValueError: The message was released, or `tx` belongs to another region.
        """
        cdef shmq_hold hold
        if timeout is not None:
            timeout = check_timeout(timeout)
        self.check_target(tx)
        self.region.check_sending()
        self.alone("editing it")
        if self.own():
            self.held = False
            return loan_new(self.region, tx, self.message.hold, self.message.length, self.message.label)
        self.copy_block(&hold, timeout)
        self.give_back()
        return loan_new(self.region, tx, hold, self.message.length, self.message.label)

    def forward(self, Lender tx not None, *, timeout=None):
        """Hand the message on, untouched and in place; its payload, type and label stay.

        If this process dies on the way, the message goes back to the queue that it was received from. One that is
        published, or that came from a topic, is acknowledged first; where other subscribers have it, it is copied.

        Args:
            tx: A Sender or Publisher of the same region.
            timeout: Seconds to wait for space; None waits for ever, 0 not at all.

        Returns:
            True; False where the queue's policy dropped it: the message is still yours. A publisher: how many
            subscribers it reached.

        Raises:
            BufferError: Views of the message live; it is still yours.
            Full: No space in time; the message is still yours.
            ShutDown: The queue was shut down; the message is still yours.
            QueueClosedError: The queue was deleted; the message is still yours.
            PeerDied: The process with that inbox has gone; the message is still yours.
            ValueError: The message was released, or `tx` belongs to another region.
        """
        cdef shmq_hold hold
        cdef int reached
        if timeout is not None:
            timeout = check_timeout(timeout)
        self.check_target(tx)
        self.alone("forwarding it")
        if (type(tx) is not Sender or shmq_is_ticket(self.message.hold.word)) and not self.own():
            self.copy_block(&hold, timeout)
            answer = tx.send_hold(&hold, self.message.length, self.message.label, timeout)
            if answer is not False and self.held:
                self.give_back()
            return answer
        self.held = False  # no other thread can pass it on while this one waits
        try:
            if type(tx) is Sender:
                reached = (<Sender> tx).pass_on(&self.message, timeout)
            else:
                reached = tx.post(&self.message.hold, self.message.length, self.message.label, timeout)
        except BaseException:
            self.held = (self.standing.attached  # the region may have been closed during the wait
                         and shmq_hold_check(self.region.actor, &self.message.hold) == SHMQ_OK)
            raise
        if reached == DROPPED:
            self.held = True
            return False
        return tx.answer(reached)

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
        if not (self.held and self.standing.open):
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
        if not (self.held and self.standing.open):
            self.refuse()
        return shmq_length_bytes(self.message.length)

    cdef bytes payload(self):
        if not (self.held and self.standing.open):
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
            if not (self.held and self.standing.open):
                self.refuse()
            return PyBytes_FromStringAndSize(
                <char *> shmq_payload(self.region.map, self.message.hold.block) + start, max(stop - start, 0))
        at = index  # may run Python code
        if not (self.held and self.standing.open):
            self.refuse()
        nbytes = shmq_length_bytes(self.message.length)
        return shmq_payload(self.region.map, self.message.hold.block)[place_in(at, nbytes)]

    def copy(self):
        """The payload as a writable numpy array of its own, outside shared memory."""
        return self.array.copy()

    @property
    def label(self):
        """The number that the sender gave it."""
        if not (self.held and self.standing.open):
            self.refuse()
        return self.message.label

    @property
    def seq(self):
        """Its place in the queue, counting from 0: what was dropped or taken back leaves gaps.

        Of a published message its number in the topic: what this subscriber has missed leaves gaps, and messages of
        several publishers may overtake each other.
        None for a redelivered message whose first receiver died before it had noted the place.
        """
        if not (self.held and self.standing.open):
            self.refuse()
        return self.message.position if self.message.position != SHMQ_POSITION_UNKNOWN else None

    @property
    def sender(self):
        """Name of the process that sent it, None where it is no longer attached."""
        if not (self.held and self.standing.open):
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
        """Whether an earlier receiver died holding it: of this queue, or of one that it was forwarded from."""
        if not (self.held and self.standing.open):
            self.refuse()
        return self.message.deliveries != 0

    @property
    def deliveries(self):
        """How often it has been handed out since it was sent: 1, and 1 more for each receiver that died holding it."""
        if not (self.held and self.standing.open):
            self.refuse()
        return self.message.deliveries + 1

    @property
    def nbytes(self):
        """Bytes of payload."""
        if not (self.held and self.standing.open):
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
        if not (self.held and self.standing.open):
            self.refuse()
        return shmq_block_offset(self.region.map, self.message.hold.block)

    def __repr__(self):
        if not self.held or self.region.is_closed:
            return "<shmq.Message released>"
        if not self.standing.open:
            whose = "the parent" if self.region.is_parents(self.standing) else "a region that is gone"
            return f"<shmq.Message of {whose}>"
        return (f"<shmq.Message {shmq_length_bytes(self.message.length)} bytes at offset {self.offset}, "
                f"label {self.message.label}, seq {self.seq}>")


within(Message)
