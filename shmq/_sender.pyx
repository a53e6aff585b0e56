# SPDX-License-Identifier: MIT
"""The sending end of a queue."""

cimport cython
from libc.stdint cimport UINT64_MAX as NEVER, uint32_t, uint64_t

from shmq._c cimport (
    SHMQ_DROPPED, SHMQ_FULL, SHMQ_KIND_INBOX, SHMQ_OK,
    shmq_await_leave, shmq_await_room, shmq_forward, shmq_forward_or_drop, shmq_hold, shmq_make_room, shmq_message,
    shmq_parcel, shmq_queue_shut, shmq_receive, shmq_release, shmq_send, shmq_send_or_drop, shmq_spin_learn,
)
from shmq._endpoint cimport deadline_of
from shmq._files cimport shmq_os_now, shmq_standing
from shmq._loan cimport DROPPED, Lender

cdef uint32_t BRIEF_LOOKS = 500            # some microseconds, before the clock is read or the GIL given up


@cython.final
@cython.auto_pickle(False)
cdef class Sender(Lender):
    """The sending end of a queue. Any number may send to one queue, from any process.

    Thread-safety: may be shared between threads.
    """

    cdef tuple recipe(self):
        return ("peer", {}) if self.ref.kind == SHMQ_KIND_INBOX else ("sender", {"depth": self.ref.depth})

    cdef bint make_room(self) noexcept:
        return shmq_make_room(self.region.actor, &self.ref)

    cdef int post(self, shmq_hold *hold, uint64_t length, uint32_t label, object timeout) except -1:
        cdef shmq_parcel parcel
        parcel.length = length
        parcel.label = label
        if shmq_send(self.region.actor, &self.ref, hold, &parcel) != SHMQ_OK:
            return self.post_slowly(hold, &parcel, NULL, timeout)
        return 1

    cdef int pass_on(self, shmq_message *message, object timeout) except -1:
        """Forward a message held from a queue, as `post` sends a loan; it stays held where that fails."""
        if shmq_forward(self.region.actor, &self.ref, message) != SHMQ_OK:
            return self.post_slowly(NULL, NULL, message, timeout)
        return 1

    cdef int attempt(self, shmq_hold *hold, const shmq_parcel *parcel, shmq_message *message) noexcept:
        """As the queue's policy says, which its first receiver may fix only while this sender waits."""
        if message != NULL:
            return shmq_forward_or_drop(self.region.actor, &self.ref, message)
        return shmq_send_or_drop(self.region.actor, &self.ref, hold, parcel)

    cdef int post_slowly(self, shmq_hold *hold, const shmq_parcel *parcel, shmq_message *message,
                         object timeout) except -1:
        """Once more, for a loan or a message; what fails is still the caller's."""
        cdef const shmq_standing *standing = self.standing
        cdef uint64_t started, deadline
        cdef bint slept = False
        cdef int result
        result = self.attempt(hold, parcel, message)
        if (result == SHMQ_FULL and timeout is None and self.fixed_spin < 0
                and shmq_await_room(self.region.map, &self.ref, BRIEF_LOOKS)):
            result = self.attempt(hold, parcel, message)
        if result == SHMQ_FULL:
            started = shmq_os_now()
            deadline = deadline_of(timeout)
            try:
                while True:
                    result = self.attempt(hold, parcel, message)
                    if result != SHMQ_FULL or (deadline != NEVER and shmq_os_now() >= deadline):
                        break
                    self.wait(&self.ref, started, deadline, &slept)
            finally:
                if slept and standing.mapped:
                    shmq_await_leave(self.region.map, &self.ref, False)
            if result == SHMQ_OK:
                shmq_spin_learn(&self.spin, shmq_os_now() - started)
        if not standing.open:
            self.refuse()  # the room it found was that of memory that had gone
        if result == SHMQ_OK:
            return 1
        if result == SHMQ_DROPPED:
            return DROPPED
        self.fail(result, timeout is None or timeout != 0)

    def shutdown(self, immediate=False):
        """No more can be sent; receivers finish what is queued, then their loops end.

        Args:
            immediate: Receivers get nothing more either: what is queued is dropped.

        Raises:
            ValueError: It is a process's inbox: that is its process's own.
        """
        cdef shmq_message dropped
        if not self.standing.open:
            self.refuse()
        if self.ref.kind == SHMQ_KIND_INBOX:
            raise ValueError(f"{self.queue!r} is the inbox of a process: only that process can end it, by closing the "
                             "region")
        cdef int result = shmq_queue_shut(self.region.actor, &self.ref)
        if result != SHMQ_OK:
            self.fail(result, False)
        if immediate:
            while shmq_receive(self.region.actor, &self.ref, &dropped) == SHMQ_OK:
                shmq_release(self.region.actor, &dropped.hold)
