# SPDX-License-Identifier: MIT
"""The sending end of a topic: one block for all who subscribe."""

cimport cython
from libc.stdint cimport UINT64_MAX as NEVER, uint32_t, uint64_t

from shmq._c cimport (
    SHMQ_OK, shmq_audience,
    shmq_await_leave, shmq_hold, shmq_parcel, shmq_publication, shmq_publication_pending, shmq_publish_finish,
    shmq_publish_start, shmq_publish_try, shmq_publisher_init, shmq_publisher_look, shmq_publisher_make_room,
    shmq_publisher_shut, shmq_queue_ref,
)
from shmq._endpoint cimport deadline_of
from shmq._files cimport shmq_os_now, shmq_standing
from shmq._loan cimport Lender


@cython.final
@cython.auto_pickle(False)
cdef class Publisher(Lender):
    """The sending end of a topic. Any number may publish to one topic, from any process.

    A message reaches who subscribes when it is published; all read the same block. A subscriber whose queue is full
    gets it as its own `overflow` says: "block" makes the publisher wait, up to its timeout; the others have the message
    by then. What a subscriber missed, it sees in `Receiver.dropped` and in gaps of `Message.seq`.

    Thread-safety: may be shared between threads.
    """

    cdef tuple recipe(self):
        return "publisher", {}

    cdef int open_again(self) except -1:
        self.region.check_sending()
        shmq_publisher_init(&self.publisher, self.publisher.topic)  # topics stay for the region's life
        return 0

    cdef object answer(self, int reached):
        return reached

    cdef bint make_room(self) noexcept:
        return shmq_publisher_make_room(self.region.actor, &self.publisher)

    cdef int post(self, shmq_hold *hold, uint64_t length, uint32_t label, object timeout) except -1:
        cdef shmq_parcel parcel
        cdef shmq_publication publication
        parcel.length = length
        parcel.label = label
        cdef int result = shmq_publish_start(self.region.actor, &self.publisher, hold, &parcel, &publication)
        if result != SHMQ_OK:
            self.fail(result, False)
        if shmq_publish_try(self.region.actor, &self.publisher, &publication) != SHMQ_OK:
            self.post_slowly(&publication, timeout)
        return publication.reached

    cdef int post_slowly(self, shmq_publication *publication, object timeout) except -1:
        """Some who subscribe with "block" are full: wait for one after the other."""
        cdef const shmq_standing *standing = self.standing
        cdef uint64_t started = shmq_os_now(), deadline
        cdef shmq_queue_ref ref
        cdef bint slept = False
        try:
            deadline = deadline_of(timeout)
            while shmq_publish_try(self.region.actor, &self.publisher, publication) != SHMQ_OK:
                if deadline != NEVER and shmq_os_now() >= deadline:
                    break
                ref = self.publisher.ref[shmq_publication_pending(publication, 0)]
                try:
                    self.wait(&ref, started, deadline, &slept)
                finally:
                    if slept and standing.mapped:
                        shmq_await_leave(self.region.map, &ref, False)
        finally:
            if standing.attached:
                shmq_publish_finish(self.region.actor, &self.publisher, publication)
        if not standing.open:
            self.refuse()  # the room it found was that of memory that had gone
        return 0

    @property
    def subscribers(self):
        """How many subscribe now."""
        return self.look().subscribers

    @property
    def depth(self):
        """How many messages the shallowest queue of a subscriber may hold; 0 where nobody subscribes."""
        return self.look().depth

    def qsize(self):
        """About how many messages stand in the fullest queue of a subscriber."""
        return self.look().waiting

    cdef shmq_audience look(self) except *:
        cdef shmq_audience audience
        if not self.standing.open:
            self.refuse()
        shmq_publisher_look(self.region.map, &self.publisher, &audience)
        return audience

    def shutdown(self):
        """End the stream of all who subscribe now: they receive what is queued, then their loops end.

        Who subscribes later begins a new stream.
        """
        if not self.standing.open:
            self.refuse()
        shmq_publisher_shut(self.region.actor, &self.publisher)
