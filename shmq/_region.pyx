# SPDX-License-Identifier: MIT
"""Regions: attach, hand out senders and receivers, tell who holds what, close."""

from libc.stdint cimport uint32_t, uint64_t
from libc.stdlib cimport free, malloc
from libc.string cimport memset

from shmq._attachment cimport Attachment, facts_of, list_into, remove_name
from shmq._c cimport (
    SHMQ_IN_USE, SHMQ_KIND_SUBSCRIBER, SHMQ_KIND_WORK, SHMQ_MISMATCH, SHMQ_NO_INDEX, SHMQ_NO_QUEUES, SHMQ_NO_SPACE,
    SHMQ_OK, SHMQ_POLICY_BLOCK, SHMQ_POLICY_DROP_NEWEST, SHMQ_POLICY_DROP_OLDEST, SHMQ_PROCESS_LIVE,
    shmq_census, shmq_census_take, shmq_claim_epoch, shmq_claim_slot, shmq_holdings, shmq_policy, shmq_process_info,
    shmq_process_info_load, shmq_publisher_init, shmq_queue_claim, shmq_queue_delete, shmq_queue_describe,
    shmq_queue_find_inbox, shmq_queue_info, shmq_queue_open, shmq_queue_ref, shmq_queue_spec, shmq_subscribe,
    shmq_topic_name, shmq_topic_open,
)
from shmq._endpoint cimport Endpoint
from shmq._publisher cimport Publisher
from shmq._receiver cimport Receiver
from shmq._sender cimport Sender
from shmq._types cimport explain, late
from shmq._files cimport (
    SHMQ_ERROR_PERMISSION, SHMQ_HANDED_ADMIN, SHMQ_HANDED_DATA, SHMQ_HANDED_LOCK, SHMQ_REGION_ATTACH,
    SHMQ_REGION_CREATE, SHMQ_REGION_EITHER, shmq_attached, shmq_error, shmq_region_hand, shmq_region_info,
    shmq_region_need_inbox, shmq_region_options, shmq_region_recover, shmq_region_refusal,
)

import os

from shmq import errors, options


cdef shmq_policy policy_of(object overflow) except *:
    """A name of options.OVERFLOW as the core has it."""
    name = options.overflow_policy(overflow)
    if name == "drop_oldest":
        return SHMQ_POLICY_DROP_OLDEST
    return SHMQ_POLICY_DROP_NEWEST if name == "drop_newest" else SHMQ_POLICY_BLOCK


cdef Region open_region(dict given, int how):
    """Create or attach, as `how` says; `given` has been through options.region_options or handed_options."""
    cdef Region region = Region.__new__(Region)
    cdef shmq_region_options wanted
    cdef shmq_error error
    cdef bytes name = given["name"].encode() if given["name"] is not None else None
    cdef bytes directory = given["dir"]
    cdef bytes process = given["process"].encode() if given["process"] is not None else None
    cdef int[3] handed
    cdef int result
    texts = explain()
    memset(&wanted, 0, sizeof(wanted))
    if "filenos" in given:
        handed[SHMQ_HANDED_ADMIN], handed[SHMQ_HANDED_DATA], handed[SHMQ_HANDED_LOCK] = given["filenos"]
    wanted.name = <char *> name if name is not None else NULL
    wanted.directory = <char *> directory if directory is not None else NULL
    wanted.process = <char *> process if process is not None else NULL
    wanted.size = given["size"]
    wanted.granule = given["granule"]
    wanted.max_processes = given["max_processes"]
    wanted.max_queues = given["max_queues"]
    wanted.mode = given["mode"]
    wanted.how = how
    wanted.persist = given["persist"]
    wanted.prefault = given["prefault"]
    wanted.receive_only = given["access"] == "receive"
    wanted.sole_writer = given["sole_writer"]
    result = region.begin(&wanted, handed if "filenos" in given else NULL, &error)
    if result != SHMQ_OK:
        raise texts.region_error(facts_of(&error), given)
    if given["access"] == "both" and region.place.region.receive_only:
        region.close()
        raise texts.receive_only(region)
    return region


def _attach_again(name, dir, mode, access, uint64_t region_id):
    """What a pickled region becomes: the same region, or an error."""
    given = options.region_options(name, None, None, access, False, None, mode, dir, False, 128, 256, False)
    cdef Region region = open_region(given, SHMQ_REGION_ATTACH)
    if region.place.region.id != region_id:
        region.close()
        raise explain().another_region(name)
    return region


def _attach_handed(handed, access):
    """What a pickled anonymous region becomes in the process that multiprocessing starts with it."""
    filenos = [one.detach() for one in handed]
    try:
        return Region.from_filenos(filenos, access=access)
    finally:
        for fileno in filenos:
            os.close(fileno)


def open(name, size=None, *, process=None, access="both", persist=False, granule=None, mode=0o600, dir=None,
         prefault=False, max_processes=128, max_queues=256, sole_writer=False):
    """Create the region `name`, or attach to it where it is there already. Any number of processes may race.

    Args:
        name: Letters, digits, `.`, `_` and `-`, at most 100 characters. None: create an anonymous region, which no
            file denotes; see `Region.filenos`.
        size: Bytes of message memory, a number or a text such as "256MiB"; 32 MiB where it is created without. One
            above the size of the region that is there is an error.
        process: This process's name, by which others reach its inbox; `pid-N` where it has none. No other process of
            the region may have it.
        access: "both", or "receive": this process cannot write messages, by no means, because the kernel maps them
            for reading only.
        persist: Keep the region when its last process closes or dies.
        granule: Bytes of the smallest block, a power of two; chosen by size.
        mode: File mode; 0o660 shares with the group of `dir`: its members can attach, and are trusted.
        dir: Directory of regions to use instead of $SHMQ_DIR or the user's own under /dev/shm. One for a group must be
            there, belong to the group and let it in (mode 2770), and keep all others out.
        prefault: Touch all message memory now.
        max_processes: How many may attach at once, up to 1,024.
        max_queues: How many queues it may have, up to 1,024.
        sole_writer: Of an anonymous region: seal it, so that no other process can ever write messages, whatever it
            does and whoever runs it; all others are receive-only.

    Returns:
        A Region.

    Raises:
        RegionSpaceError: Too little shared memory, or a limit: which, what it is, what of it is used.
        RegionVersionError: Made by another version, or smaller than asked for.
        RegionSecurityError: What lies in its place was not made by this user, or with `mode=0o660` by the group.
        RegionPermissionError: This user may not open it.
        RegionFileError: A system call failed for another reason, such as too few descriptors.
        RegionGoneError: Its files were removed or cut meanwhile.
        RegistryFullError: `max_processes` are attached, or this process is to 1,024 regions.
        QueueInUseError: Another process has the name `process`.
        ValueError: An argument out of range.
    """
    given = options.region_options(name, size, process, access, persist, granule, mode, dir, prefault, max_processes,
                                   max_queues, sole_writer)
    return open_region(given, SHMQ_REGION_EITHER)


cdef void note_region(void *context, const shmq_region_info *info) noexcept with gil:
    """Called for each region of a directory."""
    if info.error.code == 0:
        (<list> context).append((
            (<bytes> (<char *> info.name)).decode(errors="replace"), info.size, info.granule, info.attached,
            info.persist, info.creator_pid, info.created_ns / 1e9, info.max_processes, info.max_queues))


def list_regions(dir=None):
    """The regions of this user; what nobody is left of is swept away first.

    Args:
        dir: Directory of regions to look at instead of $SHMQ_DIR or the user's own. One that lets its group in is
            taken for the group's, whose members are trusted.

    Returns:
        A list of RegionInfo, by name; what lies there and is no sound region is left out.

    Raises:
        RegionSecurityError: The directory was not made by this user, and is not that of a group of its.
        RegionPermissionError: This user may not open the directory.
        RegionFileError: Too few descriptors to look at every region.
    """
    cdef shmq_error error
    cdef bytes directory = options.directory(dir)
    RegionInfo = late("info").RegionInfo
    texts = explain()
    found = []
    if list_into(note_region, <void *> found, <char *> directory if directory is not None else NULL, &error) != SHMQ_OK:
        raise texts.region_error(facts_of(&error), {})
    return sorted(RegionInfo(*one) for one in found)


def unlink(str name not None, missing_ok=False, *, dir=None):
    """Remove the name of a region; who is attached goes on undisturbed, and the memory goes with the last of them.

    Args:
        missing_ok: Do not mind if there is none.
        dir: Directory of regions to look in. One that lets its group in is taken for the group's: any member may
            unlink.

    Raises:
        RegionNotFoundError: There is none, unless `missing_ok`.
        RegionSecurityError: The directory, or the region's own, was not made by this user or a group of its.
        RegionPermissionError: This user may not open it, or may not remove anything there.
    """
    cdef shmq_error error
    cdef bytes directory = options.directory(dir)
    cdef bytes text = options.region_name(name).encode()
    texts = explain()
    if remove_name(text, <char *> directory if directory is not None else NULL, missing_ok, &error) != SHMQ_OK:
        raise texts.region_error(facts_of(&error), {"name": name, "dir": directory, "unlinks": True})


cdef class Region(Attachment):
    """A shared region of memory that this process is attached to.

    Whoever may write its files may also cut them or punch holes into them. Then whatever is done with the region, its
    handles and messages raises RegionGoneError; views read zeros where memory is gone. Such a region can be closed.

    Thread-safety: may be shared between threads.
    """

    def __init__(self):
        raise TypeError("use shmq.open, Region.create or Region.attach")

    @classmethod
    def create(cls, name, size=None, *, process=None, access="both", persist=False, granule=None, mode=0o600, dir=None,
               prefault=False, max_processes=128, max_queues=256, sole_writer=False):
        """Create a region that must not exist yet; with name None one without a name.

        Arguments and errors as for `shmq.open`.

        Raises:
            RegionExistsError: There is one of that name.
        """
        given = options.region_options(name, size, process, access, persist, granule, mode, dir, prefault,
                                       max_processes, max_queues, sole_writer)
        return open_region(given, SHMQ_REGION_CREATE)

    @classmethod
    def attach(cls, name, *, timeout=0, process=None, access="both", mode=0o600, dir=None):
        """Attach to a region that must exist. Arguments and errors as for `shmq.open`.

        Args:
            timeout: Seconds to wait for somebody to create it; None waits for ever.
            mode: 0o660 where the region is shared with the group of `dir`: this process trusts its members, too.

        Raises:
            RegionNotFoundError: There is none, in time.
        """
        if name is None:
            raise TypeError("name is None: attach to an anonymous region with Region.from_filenos")
        given = options.region_options(name, None, process, access, False, None, mode, dir, False, 128, 256, False)
        return options.until(timeout, lambda: open_region(given, SHMQ_REGION_ATTACH), errors.RegionNotFoundError)

    @classmethod
    def from_filenos(cls, filenos, *, process=None, access=None, prefault=False):
        """Attach to the anonymous region that descriptors denote, wherever they came from.

        Args:
            filenos: The three that `filenos` returned, or as they were received from another process, in that order.
                They stay the caller's, to be closed or used again: the region keeps duplicates.
            process: This process's name, for `Region.processes` and `Message.sender`.
            access: "both" or "receive" as for `shmq.open`; None takes what the descriptors allow.
            prefault: Touch all message memory now.

        Returns:
            A Region.

        Raises:
            RegionSecurityError: They are not the descriptors of one anonymous region.
            RegionPermissionError: access is "both" and they only allow to receive.
            RegionVersionError: Made by another version.
            RegistryFullError: `max_processes` are attached.
            RegionFileError: One of them is not open.
            ValueError: Not three numbers, or an argument out of range.
        """
        return open_region(options.handed_options(filenos, process, access, prefault), SHMQ_REGION_ATTACH)

    def filenos(self, access=None):
        """The descriptors of an anonymous region, to be handed on to a process that is to attach.

        multiprocessing does it unasked: a region, sender or receiver can be an argument of a Process that is started
        with spawn or forkserver. By hand, over a Unix socket, a descriptor travels as one of the receiving process's::

            socket.send_fds(connection, [b"-"], region.filenos())

            _, filenos, _, _ = socket.recv_fds(connection, 1, 3)
            region = Region.from_filenos(filenos)
            for fileno in filenos:
                os.close(fileno)

        Args:
            access: "receive" hands on a descriptor that cannot write messages. Another user who gets it cannot open
                the memory for writing again; a process of the same user could if it meant to, but for a region made
                with `sole_writer`. None: as this process has it.

        Returns:
            A tuple of three ints, admin, data and lock. They stay the region's and are closed with it. Who has one
            keeps the memory, even where no process is attached.

        Raises:
            ValueError: The region has a name, or has been closed.
            RegionPermissionError: access is "both" and this process can only receive.
            RegionFileError: The program has closed one of them.
        """
        if access is None:
            access = self.access
        return self.hand(options.access_to(access) == "receive")

    cdef tuple hand(self, bint receive_only):
        cdef shmq_error error
        cdef int[3] handed = [-1, -1, -1]
        cdef int result
        self.check()
        if self.name is not None:
            raise ValueError(f"region {self.name!r} is not anonymous: attach to it by its name")
        result = shmq_region_hand(&self.place.region, receive_only, handed, &error)
        if result == SHMQ_ERROR_PERMISSION:
            raise explain().receive_only(self)
        if result != SHMQ_OK:
            raise explain().region_error(facts_of(&error), {"name": None})
        return handed[SHMQ_HANDED_ADMIN], handed[SHMQ_HANDED_DATA], handed[SHMQ_HANDED_LOCK]

    def __reduce__(self):
        self.check()
        if self.name is not None:
            directory = None
            if not self.place.region.directory.per_user:
                directory = os.fsdecode(<char *> self.place.region.directory.path)
            mode = 0o660 if self.place.region.directory.shared else 0o600
            return _attach_again, (self.name, directory, mode, self.access, self.place.region.id)
        from multiprocessing import context, reduction
        if context.get_spawning_popen() is None:
            raise explain().not_for_pickle(self)
        return _attach_handed, (tuple([reduction.DupFd(fileno) for fileno in self.filenos()]), self.access)

    cdef int open_queue(self, Endpoint end, str queue, uint32_t depth) except -1:
        """Find or make the queue and let `end` denote it."""
        cdef shmq_queue_spec spec
        cdef shmq_error error
        cdef bytes text = options.queue_name(queue).encode()
        cdef int result
        self.check_memory()
        spec.kind = SHMQ_KIND_WORK
        spec.policy = SHMQ_POLICY_BLOCK  # its first receiver fixes another
        spec.depth = depth
        spec.name = text
        result = shmq_queue_open(self.actor, &spec, True, &end.ref)
        if result == SHMQ_NO_QUEUES:
            self.recover_dead()  # one of them, or who is just making this queue, may have the last record
            result = shmq_queue_open(self.actor, &spec, True, &end.ref)
        if result != SHMQ_OK:
            self.check_memory()
        if result == SHMQ_NO_QUEUES:
            raise explain().queues_full(self, f"queue {queue!r}")
        if result == SHMQ_NO_SPACE:
            shmq_region_refusal(&self.place.region, &error)
            raise explain().no_slots(self.given(), f"queue {queue!r} of depth {depth}", facts_of(&error))
        if result != SHMQ_OK:
            raise explain().cannot_open(self, f"queue {queue!r}")
        return 0

    def sender(self, str queue not None, *, depth=None):
        """The sending end of a work queue, made if it is missing.

        Args:
            queue: Its name: letters, digits, `.`, `_`, `-` and `/`, at most 100 characters.
            depth: How many messages it may hold, 1 to 65,536, where this makes it; 1,024 by default.

        Returns:
            A Sender. Any number may send to one queue.

        Raises:
            RegistryFullError: The region has `max_queues` queues already.
            RegionSpaceError: No shared memory is left for the queue's slots.
            RegionPermissionError: The region was opened with access="receive".
            ValueError: A name or depth out of range.
        """
        cdef Sender sender = Sender.__new__(Sender)
        self.check_sending()
        self.open_queue(sender, queue, options.queue_depth(depth if depth is not None else 1024))
        sender.begin(self, queue, -1)
        return sender

    def receiver(self, str queue not None, *, depth=1024, overflow="block", bint shared=False, spin=None):
        """The receiving end of a work queue, made if it is missing.

        Args:
            queue: Its name: letters, digits, `.`, `_`, `-` and `/`, at most 100 characters.
            depth: How many messages it may hold, 1 to 65,536, where this makes it.
            overflow: What happens when it is full: "block", the sender waits; "drop_oldest" makes room, also where no
                block is free; "drop_newest" drops what was to be sent. Fixed by the first receiver.
            shared: Compete with other receivers; each message goes to one. Fixed by the first receiver.
            spin: Seconds to spin before sleeping; None learns it, up to 100 µs; inf never asks the kernel.

        Returns:
            A Receiver.

        Raises:
            QueueInUseError: Another receiver has claimed the queue, or the first one has fixed another `shared` or
                `overflow`.
            RegistryFullError: The region has `max_queues` queues already.
            RegionSpaceError: No shared memory is left for the queue's slots.
            ValueError: A name, depth or spin out of range.
        """
        cdef Receiver receiver = Receiver.__new__(Receiver)
        cdef double seconds = options.spin_seconds(spin)
        receiver.policy = policy_of(overflow)
        receiver.shared = shared
        receiver.receives = True
        self.open_queue(receiver, queue, options.queue_depth(depth))
        self._claim(receiver, queue)
        receiver.begin(self, queue, seconds)
        return receiver

    def _claim(self, Receiver receiver not None, str queue):
        """Let the receiver have the queue that it denotes, for itself or among others."""
        cdef uint64_t holder = 0
        cdef int result = shmq_queue_claim(self.actor, &receiver.ref, receiver.shared, receiver.policy, &holder)
        if result == SHMQ_IN_USE and self.recover_dead() > 0:
            result = shmq_queue_claim(self.actor, &receiver.ref, receiver.shared, receiver.policy, &holder)
        if result != SHMQ_OK:
            self.check_memory()
        if result == SHMQ_IN_USE:
            title = self.holder_name(holder)
            raise explain().queue_in_use(queue, title)
        if result == SHMQ_MISMATCH:
            raise explain().terms_mismatch(self, queue, receiver.shared, options.OVERFLOW[receiver.policy])
        if result != SHMQ_OK:
            raise errors.QueueClosedError(f"queue {queue!r} was deleted while it was being opened: open it again")

    cdef uint32_t open_topic(self, str topic) except? 0xFFFFFFFF:
        """The topic's number."""
        cdef bytes text = options.topic_name(topic).encode()
        cdef uint32_t number = 0
        cdef int result
        self.check_memory()
        result = shmq_topic_open(self.actor, text, &number)
        if result == SHMQ_NO_QUEUES:
            self.recover_dead()  # one of them, or who is just making this topic, may have the last record
            result = shmq_topic_open(self.actor, text, &number)
        if result != SHMQ_OK:
            self.check_memory()
        if result == SHMQ_NO_QUEUES:
            raise explain().topics_full(self, topic)
        if result != SHMQ_OK:
            raise explain().cannot_open(self, f"topic {topic!r}")
        return number

    def publisher(self, str topic not None):
        """The sending end of a topic, made if it is missing; it stays for the region's life.

        Args:
            topic: Its name: letters, digits, `.`, `_`, `-` and `/`, at most 100 characters.

        Returns:
            A Publisher. Any number may publish to one topic.

        Raises:
            RegistryFullError: The region has as many topics as it can, a quarter of `max_queues`.
            RegionPermissionError: The region was opened with access="receive".
            ValueError: A name out of range.
        """
        cdef Publisher publisher = Publisher.__new__(Publisher)
        self.check_sending()
        shmq_publisher_init(&publisher.publisher, self.open_topic(topic))
        publisher.begin(self, topic, -1)
        return publisher

    def subscriber(self, str topic not None, *, depth=1024, overflow="block", spin=None):
        """Subscribe to a topic, made if it is missing: what is published from now on arrives in a queue of one's own.

        Args:
            topic: Its name: letters, digits, `.`, `_`, `-` and `/`, at most 100 characters.
            depth: How many messages may wait, 1 to 65,536.
            overflow: What happens when that many wait: "block", publishers wait; "drop_oldest" makes room, also where
                no block is free and this subscriber keeps most messages waiting; "drop_newest".
            spin: Seconds to spin before sleeping; None learns it, up to 100 µs; inf never asks the kernel.

        Returns:
            A Receiver; closing it unsubscribes. Messages that are held stay.

        Raises:
            RegistryFullError: The topic has 120 subscribers, or the region all the queues or topics that it can.
            RegionSpaceError: No shared memory is left for the queue's slots.
            ValueError: A name, depth or spin out of range.
        """
        cdef Receiver receiver = Receiver.__new__(Receiver)
        cdef double seconds = options.spin_seconds(spin)
        cdef shmq_policy policy = policy_of(overflow)
        cdef shmq_error error
        cdef uint32_t slots = options.queue_depth(depth), number = self.open_topic(topic)
        cdef int result = shmq_subscribe(self.actor, number, slots, policy, &receiver.ref)
        if result in (SHMQ_NO_QUEUES, SHMQ_NO_INDEX):
            self.recover_dead()
            result = shmq_subscribe(self.actor, number, slots, policy, &receiver.ref)
        if result != SHMQ_OK:
            self.check_memory()
        if result == SHMQ_NO_INDEX:
            raise explain().subscribers_full(self, topic)
        if result == SHMQ_NO_QUEUES:
            raise explain().queues_full(self, f"a subscriber of topic {topic!r}")
        if result == SHMQ_NO_SPACE:
            shmq_region_refusal(&self.place.region, &error)
            raise explain().no_slots(self.given(), f"a queue for topic {topic!r} of depth {slots}", facts_of(&error))
        if result != SHMQ_OK:
            raise explain().cannot_open(self, f"a subscriber of topic {topic!r}")
        receiver.receives = True
        receiver.policy = policy
        receiver.begin(self, topic, seconds)
        return receiver

    @property
    def process(self):
        """The name of this process in the region, by which others reach its inbox."""
        cdef shmq_process_info info
        self.check()
        shmq_process_info_load(self.map, self.actor.slot, &info)
        return info.name.decode("ascii", "replace")

    @property
    def inbox(self):
        """This process's inbox: a Receiver of what others send to its name, see `peer`. A new one at each look.

        Raises:
            RegionSpaceError: There was no memory for it when the region was opened, nor is there now.
            QueueInUseError: The same, and another process has got the name since.
        """
        cdef Receiver receiver = Receiver.__new__(Receiver)
        cdef shmq_error error
        self.check()
        if shmq_region_need_inbox(&self.place.region, &error) != SHMQ_OK:
            given = self.given() | {"attached": True, "process": self.process}
            raise explain().region_error(facts_of(&error), given)
        receiver.ref = self.place.region.inbox
        receiver.receives = True
        receiver.begin(self, self.process, -1)
        return receiver

    def peer(self, str process not None):
        """The sending end of another process's inbox.

        Args:
            process: The name it attached with; `Message.sender` tells the sender's.

        Returns:
            A Sender. Once the process has left or died, it raises PeerDied.

        Raises:
            NoReceiver: No process of that name is attached.
            RegionPermissionError: The region was opened with access="receive".
            ValueError: A name out of range.
        """
        cdef Sender sender = Sender.__new__(Sender)
        cdef bytes text = options.process_name(process).encode()
        self.check_sending()
        self.recover_dead()
        if shmq_queue_find_inbox(self.map, text, &sender.ref) != SHMQ_OK:
            self.check_memory()
            raise explain().no_peer(self, process)
        sender.begin(self, process, -1)
        return sender

    cdef str holder_name(self, uint64_t claim):
        cdef shmq_process_info info
        cdef uint32_t slot = shmq_claim_slot(claim)
        texts = explain()
        self.check()
        if slot >= self.map.geometry.max_processes:
            return "another receiver"
        shmq_process_info_load(self.map, slot, &info)
        return texts.process_title(info.pid, info.name.decode("ascii", "replace"), slot)

    def delete_queue(self, str name not None):
        """Delete a queue and free what is in it; its senders and receivers get QueueClosedError.

        Raises:
            ValueError: There is no queue of that name.
        """
        cdef shmq_queue_ref ref
        cdef shmq_queue_spec spec
        cdef bytes text = options.queue_name(name).encode()
        self.check()
        memset(&ref, 0, sizeof(ref))
        memset(&spec, 0, sizeof(spec))
        spec.kind = SHMQ_KIND_WORK
        spec.name = text
        if shmq_queue_open(self.actor, &spec, False, &ref) != SHMQ_OK:
            self.check_memory()
            raise ValueError(f"{explain().region_title(self.name)} has no queue {name!r}: region.stats()['queues'] "
                             "tells which there are")
        shmq_queue_delete(self.actor, &ref)

    def recover(self):
        """Look for dead processes now and give back what they held; waits and full queues do so by themselves.

        Returns:
            How many were recovered.

        Raises:
            RegionFileError: The locks cannot be looked at, for too few descriptors, say: nobody is declared dead.
        """
        cdef shmq_error error
        cdef int recovered
        self.check()
        recovered = shmq_region_recover(&self.place.region, &error)
        if recovered < 0:
            raise explain().region_error(facts_of(&error), self.given())
        return self.note_recovered(recovered)

    def processes(self):
        """Who is attached and holds what: a list of ProcessInfo, exact when nothing moves.

        `loans` and `held` count blocks being written and messages not released, `cached` free blocks at hand, `bytes`
        all of them in whole blocks.
        """
        ProcessInfo = late("info").ProcessInfo  # Python code: before the look, not after it
        return [ProcessInfo(**one) for one in self.look(True)]

    cdef object look(self, bint processes):
        """Count, while nobody can unmap the region: what is made on the way may run finalizers that close it."""
        cdef shmq_census *census
        cdef shmq_attached *place
        self.check()
        census = <shmq_census *> malloc(sizeof(shmq_census))
        if census == NULL:
            raise MemoryError
        place = self.place
        place.waiting += 1
        try:
            shmq_census_take(census, self.map)
            found = self.count_processes(census) if processes else self.count_all(census)
            if not self.is_closed:
                self.check()  # what was counted may be gone
            return found
        finally:
            free(census)
            self.go_out(place)

    cdef list count_processes(self, const shmq_census *census):
        cdef shmq_process_info info
        cdef const shmq_holdings *holdings
        cdef uint32_t slot
        found = []
        queues = self.list_queues()
        for slot in range(self.map.geometry.max_processes):
            shmq_process_info_load(self.map, slot, &info)
            if info.state != SHMQ_PROCESS_LIVE:
                continue
            holdings = &census.process[slot]
            found.append({
                "pid": info.pid, "name": info.name.decode("ascii", "replace"), "slot": slot,
                "loans": max(0, <int> (holdings.loans - holdings.cached)), "held": holdings.held,
                "cached": holdings.cached, "bytes": holdings.bytes,
                "queues": [queue["name"] for queue in queues if shmq_claim_slot(queue["claim"]) == slot
                           and shmq_claim_epoch(queue["claim"]) == info.epoch],
            })
        return found

    cdef list list_queues(self):
        """The open named queues, as dicts."""
        cdef shmq_queue_info info
        cdef uint32_t qid
        found = []
        for qid in range(self.map.geometry.max_processes, self.map.geometry.queues):
            if shmq_queue_describe(self.map, qid, &info) and info.kind == SHMQ_KIND_WORK:
                found.append({
                    "name": info.name.decode("ascii", "replace"), "depth": info.depth, "queued": info.count,
                    "claim": info.claim, "shared": info.shared, "shut": info.shut, "dropped": info.dropped,
                    "overflow": options.OVERFLOW[info.policy],
                })
        return found

    cdef dict list_topics(self):
        """The topics and their subscribers' queues."""
        cdef shmq_queue_info info
        cdef uint32_t number
        cdef char text[104]
        found = {number: (text.decode("ascii", "replace"), []) for number in range(self.map.geometry.max_topics)
                 if shmq_topic_name(self.map, number, text) == SHMQ_OK}
        for number in range(self.map.geometry.max_processes, self.map.geometry.queues):
            if not shmq_queue_describe(self.map, number, &info):
                continue
            if info.kind == SHMQ_KIND_SUBSCRIBER and info.topic in found:
                found[info.topic][1].append({
                    "slot": info.owner, "depth": info.depth, "queued": info.count, "dropped": info.dropped,
                    "overflow": options.OVERFLOW[info.policy],
                })
        return dict(found.values())

    def stats(self):
        """Counts over the whole region, exact when nothing moves: a dict of sizes in bytes and numbers."""
        return self.look(False)

    cdef dict count_all(self, const shmq_census *census):
        return {
            "size": self.map.geometry.data_size,
            "granule": 1 << self.map.geometry.granule_shift,
            "largest_block": 1 << (self.map.geometry.max_order + self.map.geometry.granule_shift),
            "used_bytes": census.used_bytes,
            "free_bytes": self.map.geometry.data_size - census.used_bytes,
            "queued": census.queued,
            "queued_bytes": census.queued_bytes,
            "requeued": census.requeued,
            "corrupt": self.actor.corrupt,
            "recovered": self.recovered,
            "max_queues": self.map.geometry.max_queues,
            "max_processes": self.map.geometry.max_processes,
            "queues": {queue["name"]: {
                "depth": queue["depth"], "queued": queue["queued"], "shared": queue["shared"], "shut": queue["shut"],
                "claimed": queue["claim"] != 0, "dropped": queue["dropped"], "overflow": queue["overflow"],
            } for queue in self.list_queues()},
            "max_topics": self.map.geometry.max_topics,
            "topics": self.list_topics(),
        }

    cdef int has_been_open(self) except -1:
        return self.check() if self.place == NULL else 0

    @property
    def size(self):
        """Bytes of message memory."""
        self.has_been_open()
        return self.place.region.map.geometry.data_size

    @property
    def granule(self):
        """Bytes of the smallest block."""
        self.has_been_open()
        return 1 << self.place.region.map.geometry.granule_shift

    @property
    def access(self):
        """"both", or "receive" where this process cannot write messages."""
        self.has_been_open()
        return "receive" if self.place.region.receive_only else "both"

    @property
    def closed(self):
        """Whether it has been closed."""
        return self.is_closed

    def __repr__(self):
        name = repr(self.name) if self.name is not None else "anonymous"
        usable = self.standing.open or self.is_parents(self.standing)
        state = ", closed" if self.is_closed else "" if usable else ", gone"
        return f"<shmq.Region {name}, {self.size} bytes{state}>"
