# SPDX-License-Identifier: MIT
"""Error texts: fact, value, limit, remedy. Called only when something has gone wrong."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

from . import errors

if TYPE_CHECKING:
    from collections.abc import Callable

    from ._region import Region

# enum shmq_result of include/shmq/map.h
FULL, EMPTY, CLOSED, SHUT, STALE, CORRUPT = 1, 2, -1, -2, -8, -9

# enum shmq_error_code of include/shmq/error.h
INVALID, NOT_FOUND, EXISTS, SECURITY, PERMISSION, VERSION, SIZE, DAMAGED, SPACE, REGISTRY_FULL, GONE = range(
    -101, -112, -1
)
PROCESS_NAME = -115


def size_text(nbytes: int) -> str:
    """Bytes for people: exact where they are few."""
    for unit, factor in (("GiB", 1 << 30), ("MiB", 1 << 20), ("KiB", 1 << 10)):
        if nbytes >= factor:
            return f"{nbytes / factor:.4g} {unit}"
    return f"{nbytes} bytes"


def process_title(pid: int, name: str, slot: int) -> str:
    """How a process is called in texts."""
    return f"{name!r} (pid {pid}, slot {slot})"


def pids_text(pids: list[int]) -> str:
    """A few process numbers, and how many more."""
    shown = ", ".join(str(pid) for pid in pids[:16])
    return f"pid {shown}" if len(pids) == 1 else f"pids {shown}"


# ---- regions ----------------------------------------------------------------------------------------------


def region_error(facts: dict[str, Any], given: dict[str, Any]) -> Exception:
    """The exception for an error of include/shmq/region.h; `given` is what the caller asked for."""
    name, path, what = given.get("name", ""), facts["path"], facts["what"]
    makers: dict[int, Callable[[], Exception]] = {
        INVALID: lambda: ValueError(
            f"{what} is {facts['found']}: the limit is {facts['expected']}; see the arguments of shmq.open"
        ),
        NOT_FOUND: lambda: errors.RegionNotFoundError(
            f"there is no region {name!r} at {path}: start the process that creates it, give Region.attach a timeout, "
            "or use shmq.open, which creates it"
        ),
        EXISTS: lambda: errors.RegionExistsError(
            f"region {name!r} exists at {path}, made by {pids_text(facts['pids'])}, owner uid {facts['owner']}: attach "
            f"to it with Region.attach or shmq.open, choose another name, or remove it with shmq.unlink({name!r})"
        ),
        SECURITY: lambda: errors.RegionSecurityError(security_text(facts)),
        PERMISSION: lambda: errors.RegionPermissionError(
            f"{path}: permission denied (mode {facts['mode']:#o}, owner uid {facts['owner']} gid {facts['group']}; you "
            f"are uid {facts['uid']} gid {facts['gid']}): run as the owner, or share it by group (mode=0o660, dir=)"
        ),
        VERSION: lambda: errors.RegionVersionError(
            f"{path}: {what} is {facts['found']:#x}, this shmq has {facts['expected']:#x}: use the same version of "
            f"shmq in every process, or remove the region with shmq.unlink({name!r})"
        ),
        SIZE: lambda: errors.RegionVersionError(
            f"region {name!r} has {size_text(facts['found'])} ({facts['found']} bytes), asked were "
            f"{size_text(facts['asked'])} ({facts['asked']} bytes); it was made by {pids_text(facts['pids'])}: "
            "open it without size, or let its creator ask for more"
        ),
        DAMAGED: lambda: errors.RegionCorruptError(
            f"{path}: {what} is {facts['found']}, the bound is {facts['expected']}: the region is damaged; remove it "
            f"with shmq.unlink({name!r})"
        ),
        SPACE: lambda: errors.RegionSpaceError(space_text(facts, name)),
        REGISTRY_FULL: lambda: errors.RegistryFullError(
            f"all {facts['expected']} process slots of region {name!r} are taken ({pids_text(facts['pids'])}): close "
            "some, or create the region with a larger max_processes"
        ),
        PROCESS_NAME: lambda: errors.QueueInUseError(
            f"process name {given.get('process')!r} is in use in region {name!r}, by {pids_text(facts['pids'])}: a "
            "name belongs to one process at a time; give another, or none (process=None)"
        ),
        GONE: lambda: errors.RegionGoneError(
            f"{path}: the region's files went away while it was opened, again and again: look for whoever removes them "
            "(systemd's RemoveIPC removes a user's files at logout)"
        ),
    }
    maker = makers.get(facts["code"])
    if maker:
        return maker()
    return errors.RegionFileError(facts["errno"], f"{what} failed: {os.strerror(facts['errno'])}", path)


def security_text(facts: dict[str, Any]) -> str:
    """What lies in the region's place, against what should."""
    what, found, expected = facts["what"], facts["found"], facts["expected"]
    if "mode" in what or "type" in what:
        values = f"found {found:#o}, expected {expected:#o}"
    elif facts["errno"]:
        values = "found a link, a FIFO or something else that is not a plain file of this user"
    else:
        values = f"found {found}, expected {expected}"
    return (
        f"{facts['path']}: {what}: {values}: it was not made by shmq for this user (uid {facts['uid']}); look who put "
        "it there and remove it, or use another directory with SHMQ_DIR or dir="
    )


def space_text(facts: dict[str, Any], name: str) -> str:
    """Which limit leaves too little memory."""
    asked, available, what = facts["asked"], facts["available"], facts["what"]
    text = f"region {name!r} needs {size_text(asked)} ({asked} bytes)" if asked else f"region {name!r} finds no space"
    if what == "RLIMIT_FSIZE":
        return (
            f"{text}, but the limit on a file's size (RLIMIT_FSIZE) is {facts['expected']} bytes: raise it (ulimit -f)"
        )
    if what == "memory control group":
        return (
            f"{text}, but the memory control group of this process allows {facts['expected']} bytes and has "
            f"{facts['found']} in use: ask for less, or raise its memory limit"
        )
    if what == "mmap":
        return (
            f"{text}, but the kernel refuses the mapping: raise the limit on address space (ulimit -v), or ask for less"
        )
    return (
        f"{text}, but only {size_text(available)} ({available} bytes) are free at {facts['path']}: ask for a smaller "
        "size, free some (shmq.list_regions), or enlarge the file system (Docker: --shm-size)"
    )


# ---- queues -----------------------------------------------------------------------------------------------


def queue_error(result: int, end: Any, waited: bool) -> None:
    """Raise what a result of the core means for a sender or receiver."""
    queue, depth = end.queue, end.depth
    if result == FULL:
        raise errors.Full(
            f"queue {queue!r} holds its {depth} messages"
            + (" and none was received in time" if waited else "")
            + f"{no_receiver(end)}: receive faster, wait longer (timeout), or make it deeper (depth, up to 65536)"
        )
    if result == EMPTY:
        raise errors.Empty(
            f"queue {queue!r} (depth {depth}) is empty"
            + (" and nothing came in time" if waited else "")
            + ": wait longer (timeout), or check that a sender runs"
        )
    if result == SHUT:
        raise errors.ShutDown(f"queue {queue!r} has been shut down: open another queue, or delete this one first")
    if result == CLOSED and end._peer:
        slot, epoch = end._peer
        raise errors.PeerDied(
            f"process {queue!r} (slot {slot}, epoch {epoch}) has left or died, and its inbox with it: ask "
            "region.processes() who is there, and region.peer(name) again once it is back"
        )
    if result == CLOSED:
        raise errors.QueueClosedError(f"queue {queue!r} was deleted while this handle was open: open it again")
    if result == STALE:
        raise errors.RegionCorruptError(
            f"the block of this handle (queue {queue!r}) was taken away: another process wrote astray in the region"
        )
    raise errors.RegionCorruptError(f"queue {queue!r}: unexpected result {result}: shared memory has been damaged")


def no_receiver(end: Any) -> str:
    """Whether a full queue has anyone to empty it."""
    return "" if end._has_receiver else ", and no receiver is attached"


def queue_in_use(queue: str, holder: str) -> Exception:
    """A second claim on a queue."""
    return errors.QueueInUseError(
        f"queue {queue!r} is claimed by {holder}: use another queue, close that receiver, or make every receiver with "
        "shared=True"
    )


def terms_mismatch(region: Region, queue: str, shared: bool, overflow: str) -> Exception:
    """The first receiver fixes whether a queue is shared, and its policy."""
    first = region.stats()["queues"].get(queue, {"shared": not shared, "overflow": overflow})
    return errors.QueueInUseError(
        f"queue {queue!r} was first received with shared={first['shared']}, overflow={first['overflow']!r}, this asks "
        f"for shared={shared}, overflow={overflow!r}: use the same for every receiver of a queue, or delete it first"
    )


def no_peer(region: Region, process: str) -> Exception:
    """Nobody has that name."""
    names = ", ".join(sorted(repr(info.name) for info in region.processes())[:8])
    return errors.NoReceiver(
        f"no process named {process!r} is attached to region {region.name!r} (there are {names}): start it with "
        f"process={process!r}, wait until it is there, or check the name"
    )


def topics_full(region: Region, topic: str) -> Exception:
    """Every topic record is taken."""
    return errors.RegistryFullError(
        f"topic {topic!r} finds no place: all {region.stats()['max_topics']} topics of region {region.name!r} are in "
        "use, a quarter of max_queues; topics stay for the region's life: create it with a larger max_queues"
    )


def subscribers_full(region: Region, topic: str) -> Exception:
    """Every subscriber index is taken."""
    return errors.RegistryFullError(
        f"topic {topic!r} of region {region.name!r} has its 120 subscribers: close some, or publish to two topics"
    )


def queues_full(region: Region, queue: str) -> Exception:
    """Every queue record is taken."""
    stats = region.stats()
    names = ", ".join(sorted(stats["queues"])[:8])
    return errors.RegistryFullError(
        f"queue {queue!r} finds no place: all {stats['max_queues']} queues of region {region.name!r} are in use "
        f"({names}, …): delete some with delete_queue, or create the region with a larger max_queues"
    )


def no_slots(region: Region, queue: str, depth: int) -> Exception:
    """The file system has no room for a queue's slots."""
    return errors.RegionSpaceError(
        f"queue {queue!r} of depth {depth} needs {size_text(max(64, depth) * 8)} of shared memory and the file system "
        f"of region {region.name!r} has none left: free some (shmq.list_regions), or enlarge it (Docker: --shm-size)"
    )


def queue_corrupt(region: Region, queue: str) -> Exception:
    """A queue's record holds what nobody writes."""
    return errors.RegionCorruptError(
        f"the record of queue {queue!r} in region {region.name!r} is damaged: delete the queue, or make the region anew"
    )


# ---- blocks -----------------------------------------------------------------------------------------------


def too_large(region: Region, nbytes: int) -> Exception:
    """No block can be that large."""
    largest = region.stats()["largest_block"]
    return ValueError(
        f"{nbytes} bytes asked, the largest block of region {region.name!r} has {largest} bytes "
        f"({size_text(largest)}): send it in pieces, or create a larger region"
    )


def out_of_blocks(region: Region, nbytes: int) -> Exception:
    """Who holds the memory."""
    stats = region.stats()
    lines = [
        f"{nbytes} bytes asked; {stats['free_bytes']} of {stats['size']} bytes of region {region.name!r} are free, but "
        "not in one block of that size; the rest is held by:"
    ]
    for one in sorted(region.processes(), key=lambda info: -info.bytes):
        lines.append(
            f"  {process_title(one.pid, one.name, one.slot)}: {one.loans} loans, {one.held} messages held, "
            f"{one.cached} cached, {size_text(one.bytes)}"
        )
    if stats["queued"]:
        lines.append(f"  queues: {stats['queued']} messages, {size_text(stats['queued_bytes'])}")
    if stats["requeued"]:
        lines.append(f"  dead receivers: {stats['requeued']} messages, to be redelivered")
    lines.append("release messages and drop their views, send or discard loans, or create a larger region")
    return errors.OutOfBlocks("\n".join(lines))
