# SPDX-License-Identifier: MIT
"""What senders and receivers have in common: a queue, and how to wait for it without keeping the GIL."""

from libc.stdint cimport UINT64_MAX as NEVER, uint64_t

from shmq._attachment cimport Attachment
from shmq._c cimport (
    SHMQ_KIND_INBOX, SHMQ_KIND_WORK, SHMQ_OK,
    shmq_await_sleep, shmq_await_spin, shmq_queue_count, shmq_queue_describe, shmq_queue_info, shmq_queue_ref,
    shmq_queue_ref_init, shmq_spin_init,
)
from shmq._files cimport SHMQ_SWEEP_SOON_NS, shmq_attached, shmq_os_now, shmq_standing
from shmq._types cimport explain

cdef uint64_t SIGNAL_SLICE_NS = 10000000   # an endless spin looks for signals this often

cdef shmq_standing nowhere  # of what was never open, or is closed for good: nobody writes to it


cdef double check_timeout(object timeout) except -1:
    """Seconds, which may be infinite."""
    cdef double seconds = timeout
    if not seconds >= 0:
        raise ValueError(f"timeout is {timeout!r}: give seconds from 0 up, or None to wait for ever")
    return seconds


cdef uint64_t deadline_of(object timeout) except? 0:
    """The clock's reading at which `timeout` seconds are over."""
    cdef double seconds
    if timeout is None:
        return NEVER
    seconds = check_timeout(timeout)
    return NEVER if seconds > 1e9 else shmq_os_now() + <uint64_t> (seconds * 1e9)


cdef Py_ssize_t refuse_index(Py_ssize_t at, Py_ssize_t nbytes) except -1:
    """`at` has had `nbytes` added where it was negative."""
    allowed = f"give {-nbytes} to {nbytes - 1}" if nbytes else "it has none to give"
    raise IndexError(f"index {at - nbytes if at < 0 else at} is out of range for a payload of {nbytes} bytes: "
                     f"{allowed}")


def _open_again(region, kind, queue, settings):
    """What a pickled sender or receiver becomes: another one of the same queue, through the unpickled region."""
    return getattr(region, kind)(queue, **settings)


cdef class Endpoint:
    """What senders and receivers have in common: a queue and how to wait for it."""

    def __cinit__(self):
        self.standing = &nowhere  # as one that has been closed, however it was made

    def __init__(self):
        raise TypeError("senders and receivers come from a Region")

    cdef int refuse(self) except -1:
        """The handle cannot be used as it is: it, or its region, was closed; or a forked child has it from its parent
        and attaches anew, after which it can."""
        while not self.standing.open:
            if not self.is_open:
                raise ValueError(f"this {type(self).__name__.lower()} of {self._what} {self.queue!r} has been closed: "
                                 "keep it open, or make another one from its region")
            self.region.check()  # other threads may run: one may close this handle, or open it again, meanwhile
            if self.is_open and self.standing != self.region.standing:
                self.open_again()
                if self.is_open:
                    self.standing = self.region.standing
        return 0

    cdef int open_again(self) except -1:
        """In a forked child, which is attached by now: denote the same queue there."""
        cdef shmq_queue_ref here
        cdef int result = shmq_queue_ref_init(self.region.map, self.ref.qid, self.ref.epoch, &here)
        if result != SHMQ_OK:
            self.fail(result, False)
        self.ref = here
        return 0

    cdef int wait(self, const shmq_queue_ref *ref, uint64_t started, uint64_t deadline, bint *slept) except -1:
        """Wait a while for a queue to change; returns so that the caller can try again. `ref` is the caller's own copy.

        Spins at first, then sleeps a slice at a time. Between slices it looks for signals and for dead processes;
        who finds a queue full sleeps a little first, so that somebody has looked since the queue was full.
        """
        cdef Attachment region = self.region
        cdef shmq_attached *place = region.place
        cdef const shmq_standing *standing = self.standing
        cdef uint64_t now = shmq_os_now(), spin_until = started, limit
        cdef bint news
        if self.fixed_spin < 0:
            spin_until += self.spin.budget_ns
        elif self.fixed_spin > 1e9:
            spin_until = NEVER
        else:
            spin_until += <uint64_t> (self.fixed_spin * 1e9)
        if spin_until > deadline:
            spin_until = deadline
        limit = deadline - now if deadline > now else 0
        place.waiting += 1
        try:
            if now < spin_until:
                with nogil:
                    news = shmq_await_spin(region.map, ref, self.receives,
                                           min(spin_until - now, SIGNAL_SLICE_NS),
                                           &self.spin if self.fixed_spin <= 1e9 else NULL)
                if not news:
                    region.tick(standing, False, not self.receives)
            else:
                if not self.receives and not slept[0]:
                    limit = min(limit, SHMQ_SWEEP_SOON_NS)
                with nogil:
                    shmq_await_sleep(region.map, ref, self.receives, limit)
                slept[0] = True
                region.tick(standing, True, not self.receives)
        finally:
            region.go_out(place)
        if not self.standing.open:
            self.refuse()
        return 0

    cdef tuple recipe(self):
        """How another process opens the same: the Region's method, and what it takes besides the name."""
        raise NotImplementedError

    def __reduce__(self):
        if not self.standing.open:
            self.refuse()
        kind, settings = self.recipe()
        return _open_again, (self.region, kind, self.queue, settings)

    def __copy__(self):
        raise TypeError(f"cannot copy {self!r}: use this one, or open another")

    def __deepcopy__(self, memo):
        return self.__copy__()

    cdef int fail(self, int result, bint waited) except -1:
        """Raise what a result of the core means here: of memory that is gone, nothing but that."""
        if result < 0:
            self.region.check_memory()
        self.region.check()
        explain().queue_error(result, self, waited)
        return 0

    def close(self):
        """Give the handle up; harmless when repeated. The queue and what is in it stay."""
        self.shut()

    cdef void begin(self, Attachment region, str queue, double spin) noexcept:
        """Be usable; `ref` denotes the queue already."""
        self.region = region
        self.standing = region.standing
        self.queue = queue
        self.fixed_spin = spin
        shmq_spin_init(&self.spin)
        self.is_open = True

    cdef void shut(self) noexcept:
        """Not be usable any more."""
        self.is_open = False
        self.standing = &nowhere

    def __enter__(self):
        if not self.standing.open:
            self.refuse()
        return self

    def __exit__(self, *exc):
        self.close()

    @property
    def depth(self):
        """How many messages the queue may hold."""
        return self.ref.depth

    def qsize(self):
        """About how many messages stand in the queue."""
        if not self.standing.open:
            self.refuse()
        return shmq_queue_count(&self.ref)

    @property
    def closed(self):
        """Whether the handle, or its region, has been closed."""
        return not self.is_open or self.region.is_closed

    @property
    def _what(self):
        """What the handle is an end of, for error texts."""
        if self.ref.kind == SHMQ_KIND_INBOX:
            return "inbox"
        return "queue" if self.ref.kind == SHMQ_KIND_WORK else "topic"

    @property
    def _has_receiver(self):
        """Whether somebody receives from the queue, as far as it can be told."""
        cdef shmq_queue_info info
        if not self.standing.open:  # meanwhile: error texts are written when much may have happened
            return False
        if self.ref.kind != SHMQ_KIND_WORK:
            return True
        if not shmq_queue_describe(self.region.map, self.ref.qid, &info):
            return False
        return bool(info.shared or info.claim)

    @property
    def _peer(self):
        """Of a sender to another process's inbox: its process slot and the inbox's epoch; else None."""
        return (self.ref.qid, self.ref.epoch) if self.ref.kind == SHMQ_KIND_INBOX and not self.receives else None

    def __repr__(self):
        return f"<shmq.{type(self).__name__} of {self.queue!r}{' closed' if self.closed else ''}>"
