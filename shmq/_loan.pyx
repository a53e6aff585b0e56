# SPDX-License-Identifier: MIT
"""Loans: blocks written in place before they are sent; and what all that lend and send have in common."""

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
    Py_REFCNT, SHMQ_HOPE_CACHED, SHMQ_HOPE_NONE, SHMQ_INVALID, SHMQ_LENGTH_ENVELOPE, SHMQ_NO_BLOCKS, SHMQ_OK,
    shmq_array_bytes, shmq_array_type, shmq_block_offset, shmq_block_owner, shmq_blocks_elsewhere, shmq_cache_resize,
    shmq_envelope_write, shmq_hold, shmq_hold_check, shmq_length_bytes, shmq_loan, shmq_payload, shmq_release,
    shmq_starved, shmq_wait_announce, shmq_wait_point, shmq_wait_sleep,
)
from shmq._endpoint cimport Endpoint, check_timeout, deadline_of, place_in
from shmq._files cimport shmq_attached, shmq_os_now, shmq_standing
from shmq._types cimport explain, type_of_payload, type_of_request
from shmq._within cimport within

cdef uint64_t STARVED_SLICE_NS = 5000000   # blocks come back without a wake where a cache kept them
cdef int DROPS_MOST = 65536                # messages dropped for one loan: others may fill as fast as it drops
cdef int CACHE_PATIENCE = 40               # slices to wait for those who only keep blocks at hand


cdef object ZERO = 0


cdef int lend_slowly(Attachment region, uint64_t nbytes, object timeout, shmq_hold *hold) except -1:
    """Out of blocks: reclaim what can be, then wait while others hold some."""
    cdef shmq_attached *place = region.place
    cdef const shmq_standing *standing = region.standing
    cdef uint64_t deadline = deadline_of(timeout)
    cdef shmq_wait_point point = shmq_starved(region.map)
    cdef uint32_t seq
    cdef int result, hope, patience = CACHE_PATIENCE
    shmq_cache_resize(region.actor)  # its share, of as many processes as there are now
    while True:
        seq = shmq_wait_announce(point)
        region.tick(standing, False, True)
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
        place.waiting += 1
        try:
            with nogil:
                shmq_wait_sleep(region.map, point, seq, STARVED_SLICE_NS)
        finally:
            region.go_out(place)
        region.check_same(standing, "a wait that was interrupted")


cdef int lend(Attachment region, uint64_t nbytes, object timeout, shmq_hold *hold) except -1:
    """Get a block of an open region; 1 where that took a while."""
    if shmq_loan(region.actor, nbytes, hold) != SHMQ_OK:
        lend_slowly(region, nbytes, timeout, hold)
        return 1
    return 0


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


@cython.auto_pickle(False)
cdef class Lender(Endpoint):
    """What senders and publishers have in common: they lend blocks, and send them or copies."""

    cdef int open_again(self) except -1:
        self.region.check_sending()
        return Endpoint.open_again(self)

    cdef int post(self, shmq_hold *hold, uint64_t length, uint32_t label, object timeout) except -1:
        """Hand the block over, waiting where that is asked. How many it reaches; DROPPED: it is still the caller's.

        Raises where it fails; whether the block is then still the caller's, its block word tells.
        """
        raise NotImplementedError

    cdef object answer(self, int reached):
        """What `send` returns."""
        return True

    cdef bint make_room(self) noexcept:
        """No block is free: drop an old message where those who receive have said so. False: there is none."""
        return False

    cdef int lend(self, uint64_t nbytes, object timeout, shmq_hold *hold) except -1:
        """Get a block; 1 where that took a while."""
        cdef int result, drops = DROPS_MOST
        if not self.standing.open:
            self.refuse()
        result = shmq_loan(self.region.actor, nbytes, hold)
        if result == SHMQ_OK:
            return 0
        if result == SHMQ_NO_BLOCKS and self.region.recover_dead() > 0:  # before a message is lost for their sake
            result = shmq_loan(self.region.actor, nbytes, hold)
        while result == SHMQ_NO_BLOCKS and drops and self.make_room():
            drops -= 1
            result = shmq_loan(self.region.actor, nbytes, hold)
        if result == SHMQ_OK:
            return 1
        lend_slowly(self.region, nbytes, timeout, hold)
        if not self.standing.open:  # closed meanwhile
            self.free(hold)
            self.refuse()
        return 1

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
        loan.standing = self.standing
        loan.sender = self
        loan.length = length
        loan.held = True  # from here on the loan gives the block back
        if dtype is not None:
            loan.length |= self.describe(&loan.hold, &kind)
        return loan

    cdef object send_loan(self, Loan loan, object timeout):
        cdef int reached
        if not self.standing.open:
            self.refuse()
        if loan.lease is not None:
            loan.check_views()
            loan.freeze(True)  # before the wait: nobody may take a writable view meanwhile
        loan.held = False  # no other thread can send it while this one waits
        try:
            reached = self.post(&loan.hold, loan.length, loan.number, timeout)
        except BaseException:
            loan.not_sent()
            raise
        if reached == DROPPED:
            loan.not_sent()
            return False
        loan.sent()
        return self.answer(reached)

    def send(self, data, *, label=0, timeout=None):
        """Send a copy of `data`: one copy into shared memory, none after. A loan is handed over instead.

        Args:
            data: bytes, or anything with the buffer protocol; arrays arrive with their shape and type. A Loan of this
                region, as `Loan.send` does; its own label stays where none is given.
            label: A number from 0 to 2**32 - 1 that travels with the message.
            timeout: Seconds to wait for a block and for space; None waits for ever, 0 not at all. There is no
                waiting for blocks that are all in this process's own hands, or only cached by idle others.

        Returns:
            True; False where the queue's policy dropped it. A publisher: how many subscribers it reached.

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
        if type(data) is Loan and (<Loan> data).region is self.region:
            return self.hand_over(data, number, timeout)
        return self.send_buffer(data, number, timeout)

    cdef object hand_over(self, Loan loan, uint32_t label, object timeout):
        if not (loan.held and loan.standing.open):
            loan.refuse()
        if label:
            loan.number = label
        return self.send_loan(loan, timeout)

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
            How many were sent: all, but for those that the queue's policy dropped.

        Raises:
            As `send`, and whatever iterating raises. What was queued before stays queued: the exception's attribute
            `sent` says how many.
        """
        cdef uint32_t number = label_of(label)
        cdef object left = None if timeout is None else check_timeout(timeout)
        cdef uint64_t deadline = deadline_of(left)
        cdef Py_ssize_t sent = 0
        if not self.standing.open:
            self.refuse()
        try:
            for item in items:
                if PyBytes_CheckExact(item):
                    sent += self.send_bytes(PyBytes_AS_STRING(item), PyBytes_GET_SIZE(item), number, left) is not False
                elif type(item) is Loan and (<Loan> item).region is self.region:
                    sent += self.hand_over(item, number, left) is not False
                else:
                    sent += self.send_buffer(item, number, left) is not False
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
        return self.send_hold(&hold, nbytes, label, timeout)

    cdef object send_hold(self, shmq_hold *hold, uint64_t length, uint32_t label, object timeout):
        """Send a block that nobody has a handle of; it is freed where that fails."""
        cdef int reached
        try:
            reached = self.post(hold, length, label, timeout)
        except BaseException:
            self.free(hold)
            raise
        if reached == DROPPED:
            self.free(hold)
            return False
        return self.answer(reached)

    cdef void free(self, shmq_hold *hold) noexcept:
        """Give a block back that was lent; not in a child that was forked while its parent waited to send it."""
        if self.region.standing.attached and shmq_block_owner(hold.word) == self.region.actor.slot:
            shmq_release(self.region.actor, hold)

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
            if described:
                try:
                    length |= self.describe(&hold, &kind)
                except BaseException:
                    self.free(&hold)
                    raise
            return self.send_hold(&hold, length, label, timeout)
        finally:
            PyBuffer_Release(&buffer)


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
        raise TypeError("loans come from Sender.loan, Publisher.loan or Message.edit")

    cdef int refuse(self) except -1:
        """Somebody uses the handle after it, or its region, was closed."""
        if not self.held:
            raise ValueError(f"the loan (label {self.number}) has been sent or discarded: take another one")
        return self.region.check_same(self.standing, f"the loan (label {self.number})")

    cdef Lease view(self):
        if not (self.held and self.standing.open):
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

    cdef void not_sent(self) noexcept:
        """It is this loan's still, or again; unless it has gone where it was to go and only the waiting failed."""
        if self.standing.attached and shmq_hold_check(self.region.actor, &self.hold) != SHMQ_OK:
            self.sent()
            return
        self.held = True
        if self.lease is not None:
            self.lease.hold = self.hold
            self.freeze(False)

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
        elif self.standing.attached:
            shmq_release(self.region.actor, &self.hold)

    def send(self, timeout=None):
        """Hand the block to the queue; its arrays are read-only from then on.

        Args:
            timeout: Seconds to wait for space; None waits for ever, 0 not at all.

        Returns:
            True; False where the queue's policy dropped it: the loan is still yours. A publisher's: how many
            subscribers it reached, and it is not yours any more.

        Raises:
            Full: No space in time; the loan is still yours.
            ShutDown: The queue was shut down; the loan is still yours.
            QueueClosedError: The queue was deleted; the loan is still yours.
            BufferError: Other writable views of it live; the loan is still yours.
            ValueError: It was sent or discarded before; or it was edited for nobody in particular (`Message.edit`
                without a sender): send it with `Sender.send`.
        """
        if timeout is not None:
            timeout = check_timeout(timeout)  # may run Python code: look after it
        if not (self.held and self.standing.open):
            self.refuse()
        return self.target().send_loan(self, timeout)

    def send_nowait(self):
        """`send(timeout=0)`."""
        if not (self.held and self.standing.open):
            self.refuse()
        return self.target().send_loan(self, 0)

    cdef Lender target(self):
        if self.sender is None:
            raise ValueError(f"the loan (label {self.number}) was edited for nobody in particular: pass it to "
                             "Sender.send, or name the sender when you edit, message.edit(tx)")
        return self.sender

    def discard(self):
        """Give the block back unsent; harmless when repeated."""
        if self.held:
            self.give_back()

    def __enter__(self):
        if not (self.held and self.standing.open):
            self.refuse()
        return self

    def __exit__(self, kind, value, traceback):
        if not self.held:
            return
        if kind is None:
            if not (self.held and self.standing.open):
                self.refuse()
            if self.target().send_loan(self, None) is False:
                self.give_back()  # dropped
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
        if not (self.held and self.standing.open):
            self.refuse()
        return shmq_length_bytes(self.length)

    def __getitem__(self, index):
        cdef Py_ssize_t at, start, stop, step
        if isinstance(index, slice):
            start, stop, step = index.indices(len(self))  # may run Python code: look again after it
            if not (self.held and self.standing.open):
                self.refuse()
            if step != 1:
                return bytes([self[at] for at in range(start, stop, step)])
            return PyBytes_FromStringAndSize(<char *> shmq_payload(self.region.map, self.hold.block) + start,
                                             max(stop - start, 0))
        at = index  # may run Python code
        if not (self.held and self.standing.open):
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
        if not (self.held and self.standing.open):
            self.refuse()
        shmq_payload(self.region.map, self.hold.block)[place_in(at, shmq_length_bytes(self.length))] = byte

    cdef int put(self, object index, object value) except -1:
        """Copy bytes into a slice of the payload."""
        cdef Py_ssize_t start, stop, step
        cdef Py_buffer source
        start, stop, step = index.indices(len(self))
        PyObject_GetBuffer(value, &source, PyBUF_C_CONTIGUOUS)
        try:
            if not (self.held and self.standing.open):
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
        if not (self.held and self.standing.open):
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
        if not (self.held and self.standing.open):
            self.refuse()
        return shmq_block_offset(self.region.map, self.hold.block)

    def __repr__(self):
        if not self.held or self.region.is_closed:
            return "<shmq.Loan sent or discarded>"
        if not self.standing.open:
            whose = "the parent" if self.region.is_parents(self.standing) else "a region that is gone"
            return f"<shmq.Loan of {whose}>"
        return f"<shmq.Loan {shmq_length_bytes(self.length)} bytes at offset {self.offset}, label {self.number}>"


within(Loan)


cdef Loan loan_new(Attachment region, Lender sender, shmq_hold hold, uint64_t length, uint32_t label):
    """A loan of a block that the caller owns, which the loan owns from now on."""
    cdef Loan loan = Loan.__new__(Loan)
    loan.region = region
    loan.standing = region.standing
    loan.sender = sender
    loan.hold = hold
    loan.length = length
    loan.number = label
    loan.held = True
    return loan
