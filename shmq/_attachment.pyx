# SPDX-License-Identifier: MIT
"""What a process has of a region: its slot, its mapping, and the leases that keep both while somebody looks."""

cimport cython
from cpython.buffer cimport PyBUF_FORMAT, PyBUF_ND, PyBUF_STRIDES, PyBUF_WRITABLE
from cpython.exc cimport PyErr_CheckSignals
from cpython.ref cimport PyObject
from libc.stdint cimport uint32_t, uint64_t
from libc.stdlib cimport free, malloc
from libc.string cimport memset

from shmq._c cimport (
    Py_REFCNT, SHMQ_LENGTH_ENVELOPE, SHMQ_OK, shmq_block_offset, shmq_cache_flush, shmq_cache_resize, shmq_close_except,
    shmq_envelope_read, shmq_length_bytes, shmq_payload, shmq_process_count, shmq_release, shmq_undelivered,
    shmq_wake_everybody,
)
from shmq._files cimport (
    SHMQ_ERROR_GONE, SHMQ_ERROR_NOT_FOUND, SHMQ_REGION_ATTACH, SHMQ_SWEEP_NS, SHMQ_SWEEP_SOON_NS,
    shmq_attached, shmq_error, shmq_fork_disown, shmq_guard_install, shmq_os_now, shmq_region,
    shmq_region_attach_handed, shmq_region_create_anonymous, shmq_region_hand, shmq_region_list, shmq_region_look,
    shmq_region_open, shmq_region_options, shmq_region_recover, shmq_region_sweep_due, shmq_region_tell_loss,
    shmq_region_unlink, shmq_region_visit, shmq_standing,
)
from shmq._types cimport explain, format_of

from shmq.errors import ForkedHandleError, RegionCorruptError


cdef extern from "attached.h" nogil:
    shmq_attached *shmq_attached_new()
    void shmq_attached_add(shmq_attached *one)
    void shmq_attached_leave(shmq_attached *one)
    void shmq_attached_unmap(shmq_attached *one)
    bint shmq_attached_inherited(const shmq_attached *one)
    void shmq_attached_free(shmq_attached *one)


cdef uint64_t LOOK_NS = 25000000  # a wait looks for lost memory this often: after every whole slice of sleep

cdef shmq_standing nowhere  # of what was never open: nobody writes to it

cdef array_api arrays
arrays.over = NULL


cdef void set_array_api(array_api api) noexcept:
    """Called by shmq._arrays when it is loaded."""
    global arrays
    arrays = api


cdef object array_over(Lease lease, object base):
    """The leased payload as an ndarray, in place, kept alive by `base`: the lease, or the root of a loan."""
    if arrays.over == NULL:
        import shmq._arrays  # noqa: F401  numpy, on first use
    return arrays.over(lease, base)


cdef object array_root(Lease lease):
    """The hidden array of a loan. numpy collapses the base of every derived view to it, so they can be counted."""
    if arrays.over == NULL:
        import shmq._arrays  # noqa: F401
    return arrays.root(lease)


cdef void array_freeze(object array, bint frozen) noexcept:
    """Make an array read-only, or writable again."""
    arrays.freeze(array, frozen)


cdef dict facts_of(shmq_error *error):
    """The C side's error as plain Python, for explain.py."""
    return {
        "code": error.code,
        "errno": error.os_errno,
        "what": error.what.decode() if error.what != NULL else "",
        "found": error.found,
        "expected": error.expected,
        "asked": error.asked,
        "available": error.available,
        "uid": error.uid,
        "gid": error.gid,
        "owner": error.owner,
        "group": error.group,
        "mode": error.mode,
        "type": error.type,
        "links": error.links,
        "pids": [error.pids[i] for i in range(error.pid_count)],
        "path": (<bytes> (<char *> error.path)).decode(errors="replace"),
    }


cdef int list_into(shmq_region_visit *visit, void *context, const char *directory, shmq_error *error) noexcept:
    """Call `visit` for each region; a result of the core."""
    shmq_guard_install()  # what is listed may be cut meanwhile
    return shmq_region_list(directory, visit, context, error)


cdef int remove_name(const char *name, const char *directory, bint missing_ok, shmq_error *error) noexcept:
    """Unlink a region; a result of the core."""
    shmq_guard_install()
    return shmq_region_unlink(name, directory, missing_ok, error)


cdef class Attachment:
    """The part of a Region that messages, loans, senders and receivers lean on. Not public."""

    def __cinit__(self):
        self.standing = &nowhere  # as one that has been closed, until it is open, however it was made
        self.is_closed = True

    cdef int begin(self, const shmq_region_options *wanted, const int *handed, shmq_error *error) except? -1:
        """Attach or create; without a name to what was handed. A result of the core; on SHMQ_OK everything is open."""
        cdef shmq_attached *before = self.place
        cdef shmq_attached *place = shmq_attached_new()
        cdef int result
        if place == NULL:
            raise MemoryError
        shmq_guard_install()  # each time: somebody may have taken the signal since
        with nogil:
            if handed:
                result = shmq_region_attach_handed(&place.region, handed, wanted, error)
            elif wanted.name:
                result = shmq_region_open(&place.region, wanted, error)
            else:
                result = shmq_region_create_anonymous(&place.region, wanted, error)
        if result != SHMQ_OK:
            shmq_attached_free(place)
            return result
        shmq_attached_add(place)
        if before == NULL:
            self.name = wanted.name.decode() if wanted.name else None
        elif self.place != before or self.is_closed or place.region.id != before.region.id:
            self.drop(place)
            return SHMQ_ERROR_GONE
        else:
            self.part()
        self.take(place)
        return result

    cdef void drop(self, shmq_attached *place) noexcept:
        """What has just been opened is not wanted: another thread was faster, or it is another region."""
        shmq_attached_leave(place)
        shmq_attached_unmap(place)
        shmq_attached_free(place)

    cdef void take(self, shmq_attached *place) noexcept:
        """Be what has just been opened."""
        self.place = place
        self.standing = place.standing
        self.is_closed = False
        self.actor = &place.region.self
        self.map = &place.region.map
        shmq_region_tell_loss(&place.region, &place.standing.open)
        shmq_cache_resize(self.actor)

    cdef int part(self) except -1:
        """In a forked child: leave what was the parent's to its views, which keep it mapped, and to nobody else."""
        cdef Attachment past = Attachment.__new__(Attachment)
        cdef PyObject *lease = self.first_lease
        past.name = self.name
        past.place = self.place
        past.standing = self.standing
        past.first_lease = lease
        past.is_closed = True
        self.place = NULL
        self.first_lease = NULL
        while lease:
            (<Lease> lease).region = past
            lease = (<Lease> lease).next
        return 0

    cdef int attach_again(self) except -1:
        """In a forked child, at the first use: attach as a process of its own, to the same region or to none."""
        cdef shmq_region *parents = &self.place.region
        cdef shmq_region_options wanted
        cdef shmq_error error
        cdef bint per_user = parents.directory.per_user
        cdef int[3] handed
        cdef bytes name = self.name.encode() if self.name is not None else None
        cdef bytes directory = <char *> parents.directory.path
        cdef int result
        shmq_fork_disown(&parents.estate)
        memset(&wanted, 0, sizeof(wanted))
        wanted.receive_only = parents.receive_only
        wanted.how = SHMQ_REGION_ATTACH
        if name is not None:
            wanted.name = name
            wanted.directory = directory  # by its path, also where it is the user's own: SHMQ_DIR may be another by now
            wanted.mode = 0o660 if parents.directory.shared else 0o600
            result = self.begin(&wanted, NULL, &error)
            if result == SHMQ_OK:
                self.place.region.directory.per_user = per_user
        else:
            result = shmq_region_hand(parents, parents.receive_only, handed, &error)
            if result == SHMQ_OK:
                result = self.begin(&wanted, handed, &error)
        if self.standing.open:
            return 0
        if self.is_closed:
            raise explain().region_closed(self.name)
        if result == SHMQ_ERROR_NOT_FOUND or result == SHMQ_ERROR_GONE:
            raise explain().ended_since_fork(self.name)
        raise explain().region_error(facts_of(&error), self.given())

    cdef dict given(self):
        """What this region was opened with, for error texts: where it lies, if that is not the user's own directory."""
        cdef bytes directory = None
        if self.name is not None and not self.place.region.directory.per_user:
            directory = <char *> self.place.region.directory.path
        return {"name": self.name, "dir": directory}

    cdef int check(self) except -1:
        """Be usable, or raise."""
        if self.standing.open:
            return 0
        if self.is_closed:
            raise explain().region_closed(self.name)
        return self.attach_again() if shmq_attached_inherited(self.place) else self.refuse_lost()

    cdef int check_same(self, const shmq_standing *standing, str what) except -1:
        """Raise unless the attachment is still that which something belongs to."""
        if standing.open:
            return 0
        if self.is_parents(standing):
            raise ForkedHandleError(f"{what} belongs to the parent that this process was forked from: leave it to the "
                                    f"parent; {explain().region_title(self.name)}, its senders and its receivers work "
                                    "here, too")
        return self.check()

    cdef bint is_parents(self, const shmq_standing *standing) noexcept:
        """Does what was made under `standing` belong to the process that this one was forked from?"""
        return not self.is_closed and (standing != self.standing or shmq_attached_inherited(self.place))

    cdef int check_sending(self) except -1:
        """Refuse where message data can only be read."""
        self.check()
        if self.place.region.receive_only:
            raise explain().receive_only(self)
        return 0

    cdef int refuse_lost(self) except -1:
        cdef shmq_error error
        shmq_region_look(&self.place.region, &error)
        raise explain().region_error(facts_of(&error), self.given())

    cdef int look_for_loss(self) noexcept:
        """See by a look at the files whether memory is gone; then `standing.open` falls."""
        cdef shmq_error error
        return shmq_region_look(&self.place.region, &error) if self.standing.mapped else 0

    cdef int check_memory(self) except -1:
        """Before anything else is blamed: is the memory still there?"""
        self.look_for_loss()
        return self.check()

    cdef int tick(self, const shmq_standing *standing, bint slept, bint held_up) except -1:
        """Between two tries of a wait that began under `standing`: signals, memory that went away, and who died.

        Who is `held_up`, by a full queue or for want of blocks, looks for the dead soon.
        """
        cdef uint64_t now, interval
        PyErr_CheckSignals()
        now = shmq_os_now()
        if now >= self.look_at:
            self.look_at = now + LOOK_NS
            self.look_for_loss()
        self.check_same(standing, "a wait that was interrupted")
        if slept and self.actor.cache.blocks:
            shmq_cache_flush(self.actor)  # others may need what this process only keeps at hand
        interval = SHMQ_SWEEP_SOON_NS if held_up else SHMQ_SWEEP_NS
        self.note_recovered(shmq_region_sweep_due(&self.place.region, now, interval))
        return 0

    cdef void go_out(self, shmq_attached *place) noexcept:
        """A thread that had counted itself as waiting has come out."""
        place.waiting -= 1
        if self.is_closed:
            self.settle()

    cdef int note_recovered(self, int recovered) noexcept:
        if recovered <= 0:  # none, or an error that the next try will meet again
            return 0
        self.recovered += recovered
        shmq_cache_resize(self.actor)
        return recovered

    cdef int recover_dead(self) except -1:
        cdef shmq_error error
        return self.note_recovered(shmq_region_recover(&self.place.region, &error))

    cdef uint32_t pins(self, uint32_t *blocks) noexcept:
        """How many blocks live views pin; which, where `blocks` is given."""
        cdef PyObject *lease = self.first_lease
        cdef uint32_t count = 0
        while lease:
            if (<Lease> lease).is_pinned():
                if blocks:
                    blocks[count] = (<Lease> lease).hold.block
                count += 1
            lease = (<Lease> lease).next
        return count

    cdef void settle(self) noexcept:
        """Once closed: leave as soon as no view and no wait needs the region, unmap once no lease is left."""
        cdef uint32_t count
        cdef uint32_t *blocks
        if self.place == NULL or not self.is_closed:
            return
        if self.place.waiting and not shmq_attached_inherited(self.place):
            return
        if self.standing.attached:
            count = self.pins(NULL)
            if count == 0:
                shmq_attached_leave(self.place)
            elif not self.retreated:
                blocks = <uint32_t *> malloc(count * sizeof(uint32_t))
                if blocks:  # else everything stays until the last view dies
                    self.pins(blocks)
                    shmq_close_except(self.actor, blocks, count)
                    free(blocks)
                    self.retreated = True
        if not self.standing.attached and not self.first_lease and self.place.region.map.admin:
            shmq_attached_unmap(self.place)

    cdef int warn_undelivered(self) except -1:
        """The last process of a region that is not to persist takes what nobody received with it."""
        cdef uint64_t left
        if self.place.region.persist:
            return 0
        if shmq_process_count(self.map) > 1 and (self.recover_dead() == 0 or shmq_process_count(self.map) > 1):
            return 0
        left = shmq_undelivered(self.map)
        if left:
            import warnings
            title, many = explain().region_title(self.name), "messages" if left > 1 else "message"
            warnings.warn(f"{title} is closed by its last process with {left} {many} undelivered: lost now; open it "
                          "with persist=True to keep what is not received", ResourceWarning, stacklevel=1)
        return 0

    def close(self):
        """Leave the region; harmless when repeated.

        Messages held are given up: those of a queue go to another receiver. Blocks that live views pin, and with them
        the process slot, stay until the last view dies. A region that is not `persist` is gone with its last process.

        Warns:
            ResourceWarning: It was the last process, and messages were left that nobody had received.
        """
        if self.is_closed:
            return
        try:
            if self.standing.open:
                self.warn_undelivered()
        finally:
            self.standing.open = False
            self.is_closed = True
            if self.place.waiting and self.standing.attached:
                shmq_wake_everybody(self.map)  # threads of this process among them: they find it closed
            self.settle()

    def __copy__(self):
        raise TypeError(f"cannot copy {self!r}: use this one, or open another")

    def __deepcopy__(self, memo):
        return self.__copy__()

    def __enter__(self):
        self.check()
        return self

    def __exit__(self, kind, value, traceback):
        self.close()

    def __dealloc__(self):
        if self.place == NULL:
            return
        self.standing.open = False
        self.is_closed = True
        self.settle()
        if not self.place.region.map.admin:
            shmq_attached_free(self.place)


@cython.final
@cython.no_gc
@cython.freelist(64)
cdef class Lease:
    """Keeps a block, and the memory that it lies in, while a view of it lives. Not public."""

    cdef void describe(self) noexcept:
        """Fill in format and strides after `type` has been set."""
        cdef Py_ssize_t step = self.type.item_size
        cdef int i, at = 0
        self.dimensions = self.type.dimensions
        for i in range(self.dimensions - 1, -1, -1):
            self.shape[i] = self.type.shape[i]
            self.strides[i] = step
            step *= self.shape[i]
        memset(self.format, 0, sizeof(self.format))
        if self.type.byte_order == b">":
            self.format[at] = b">"
            at += 1
        if self.type.kind == b"c":
            self.format[at] = b"Z"
            at += 1
        self.format[at] = format_of(&self.type)

    cdef int fill(self, Py_buffer *buffer, int flags) except -1:
        if flags & PyBUF_WRITABLE and not self.writable:
            raise BufferError("a received message, or a loan that was sent, is read-only: take .copy() to write")
        if not self.format[0]:
            raise BufferError(f"elements of kind {chr(self.type.kind)!r} and {self.type.item_size} bytes have no "
                              "format in the buffer protocol: use .array, or bytes()")
        buffer.buf = self.data
        buffer.obj = self
        buffer.len = self.nbytes
        buffer.readonly = not self.writable
        buffer.itemsize = self.type.item_size
        buffer.ndim = self.dimensions
        buffer.format = self.format if flags & PyBUF_FORMAT else NULL
        buffer.shape = self.shape if flags & PyBUF_ND else NULL
        buffer.strides = self.strides if flags & PyBUF_STRIDES == PyBUF_STRIDES else NULL
        buffer.suboffsets = NULL
        buffer.internal = NULL
        if not flags & PyBUF_ND:  # a plain run of bytes was asked for
            buffer.ndim = 1
            buffer.itemsize = 1
        return 0

    def __getbuffer__(self, Py_buffer *buffer, int flags):
        self.fill(buffer, flags)

    cdef bint is_pinned(self) noexcept:
        """Does a view live, other than the handle itself and the arrays that only it holds?"""
        if not self.owns:
            return False
        if self.root and Py_REFCNT(self.root) == 2 and Py_REFCNT(self.handed_out) == 1:
            return Py_REFCNT(<PyObject *> self) > self.has_handle + 1
        return Py_REFCNT(<PyObject *> self) > self.has_handle

    def __dealloc__(self):
        if self.region is None:
            return
        if self.previous:
            (<Lease> self.previous).next = self.next
        else:
            self.region.first_lease = self.next
        if self.next:
            (<Lease> self.next).previous = self.previous
        if self.owns and self.standing.attached:
            shmq_release(self.region.actor, &self.hold)
        if self.region.is_closed:
            self.region.settle()


cdef Lease lease_new(Attachment region, shmq_hold hold, uint64_t length, bint writable):
    """A lease over a block that the caller holds; it owns the block from now on."""
    cdef Lease lease = Lease.__new__(Lease)
    cdef uint64_t nbytes = shmq_length_bytes(length)
    if length & SHMQ_LENGTH_ENVELOPE:
        if shmq_envelope_read(&region.map.block[hold.block], nbytes, &lease.type) != SHMQ_OK:
            region.check_memory()
            raise RegionCorruptError(
                f"the message at offset {shmq_block_offset(region.map, hold.block)} describes an array that its "
                f"{nbytes} bytes cannot be; read it with bytes(message), and look for a process that writes astray")
    else:
        lease.type.kind = b"u"
        lease.type.byte_order = b"|"
        lease.type.item_size = 1
        lease.type.dimensions = 1
        lease.type.shape[0] = nbytes
    lease.region = region
    lease.standing = region.standing
    lease.hold = hold
    lease.owns = True
    lease.writable = writable
    lease.data = shmq_payload(region.map, hold.block)
    lease.nbytes = nbytes
    lease.has_handle = True
    lease.describe()
    lease.next = region.first_lease
    if lease.next:
        (<Lease> lease.next).previous = <PyObject *> lease
    region.first_lease = <PyObject *> lease
    return lease
