# SPDX-License-Identifier: MIT
"""Error texts: fact, value, limit, remedy. Called only when something has gone wrong, but imported with the first
region, when there still are descriptors and memory: so it is light.

Here those of queues, topics, inboxes and blocks; those of regions are passed on."""

from __future__ import annotations

from . import errors
from .explain_region import (
    SPACE,
    another_region,
    ended_since_fork,
    limit_text,
    not_for_pickle,
    receive_only,
    region_closed,
    region_error,
)
from .wording import process_title, region_title, size_text, some

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from ._region import Region

__all__ = [
    "another_region",
    "ended_since_fork",
    "not_for_pickle",
    "receive_only",
    "region_closed",
    "region_error",
    "region_title",
]

DEPTH_MAX = 65536  # SHMQ_MAX_DEPTH of include/shmq/layout.h

# enum shmq_result of include/shmq/map.h
FULL, EMPTY, CLOSED, SHUT, STALE, CORRUPT = 1, 2, -1, -2, -8, -9


# ---- queues -----------------------------------------------------------------------------------------------


def queue_error(result: int, end: Any, waited: bool) -> None:
    """Raise what a result of the core means for a sender or receiver."""
    what, queue = end._what, end.queue
    if result == FULL:
        raise errors.Full(full_text(end, waited))
    if result == EMPTY:
        raise errors.Empty(
            f"{what} {queue!r} (depth {end.depth}) is empty"
            + (" and nothing came in time" if waited else "")
            + ": wait longer (timeout), or check that a sender runs"
        )
    if result == SHUT:
        anew = "use another queue, or delete this one (delete_queue) and open it anew"
        raise errors.ShutDown(f"{what} {queue!r} has been shut down: {anew if what == 'queue' else 'subscribe anew'}")
    if result == CLOSED and end._peer:
        slot, epoch = end._peer
        raise errors.PeerDied(
            f"process {queue!r} (slot {slot}, epoch {epoch}) has left or died, and its inbox with it: ask "
            "region.processes() who is there, and region.peer(name) again once it is back"
        )
    if result == CLOSED:
        its = what if what == "queue" else f"the queue of {what}"
        raise errors.QueueClosedError(f"{its} {queue!r} was deleted while this handle was open: open it again")
    astray = "look for a process that writes astray, and make the region anew"
    if result == STALE:
        raise errors.RegionCorruptError(f"the block of this handle ({what} {queue!r}) was taken away: {astray}")
    raise errors.RegionCorruptError(f"{what} {queue!r}: unexpected result {result} of the core: {astray}")


def full_text(end: Any, waited: bool) -> str:
    """A queue has no room for another message."""
    what, received = end._what, end._has_receiver
    remedies = ["receive faster" if received else "start a receiver", "wait longer (timeout)"]
    if what == "queue" and end.depth < DEPTH_MAX:
        remedies.append(f"or delete it and make it deeper (depth, up to {DEPTH_MAX})")
    return (
        f"{what} {end.queue!r} holds its {end.depth} messages"
        + (" and none was received in time" if waited else "")
        + ("" if received else ", and no receiver is attached")
        + f": {', '.join(remedies)}"
    )


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
        f"for shared={shared}, overflow={overflow!r}: use the same for every receiver of a queue, or delete it first "
        "(delete_queue)"
    )


def no_peer(region: Region, process: str) -> Exception:
    """Nobody has an inbox of that name."""
    title, there = region_title(region.name), {info.name: info for info in region.processes()}
    if process in there:
        info = there[process]
        return errors.NoReceiver(
            f"process {process_title(info.pid, process, info.slot)} is attached to {title}, but has no inbox, because "
            "it has only just come or had no memory for one: try again, or free some and let it ask for its inbox "
            "(region.inbox)"
        )
    return errors.NoReceiver(
        f"no process named {process!r} is attached to {title} (there are {some(there)}): start it with "
        f"process={process!r}, wait until it is there, or check the name"
    )


def topics_full(region: Region, topic: str) -> Exception:
    """Every topic record is taken."""
    stats = region.stats()
    return errors.RegistryFullError(
        f"topic {topic!r} finds no place: all {stats['max_topics']} topics of {region_title(region.name)}, a quarter "
        f"of max_queues, are in use ({some(stats['topics'])}), and stay for the region's life: use one of them, or "
        "create the region with a larger max_queues"
    )


def subscribers_full(region: Region, topic: str) -> Exception:
    """Every subscriber index is taken."""
    return errors.RegistryFullError(
        f"topic {topic!r} of {region_title(region.name)} has its 120 subscribers: close some, or publish to two topics"
    )


def queues_full(region: Region, what: str) -> Exception:
    """Every queue record is taken: by queues, by subscribers, and by those who closed but still hold messages."""
    stats = region.stats()
    subscribed = {topic: len(subscribers) for topic, subscribers in stats["topics"].items() if subscribers}
    count = sum(subscribed.values())
    held = max(0, stats["max_queues"] - len(stats["queues"]) - count)
    users, remedies = [], []
    if stats["queues"]:
        users.append(f"the queues {some(stats['queues'])}")
        remedies.append("delete some with delete_queue")
    if subscribed:
        users.append(f"{count} by subscribers of {some(subscribed)}")
        remedies.append("close some subscribers")
    if held:
        users.append(f"{held} by closed subscribers whose messages are still held")
        remedies.append("release their messages")
    return errors.RegistryFullError(
        f"{what} finds no place: all {stats['max_queues']} queues of {region_title(region.name)} are in use "
        f"({'; '.join(users)}): {', '.join(remedies)}, or create the region with a larger max_queues"
    )


def no_slots(given: dict[str, Any], what: str, facts: dict[str, Any]) -> Exception:
    """A queue's slots find no room."""
    if facts["code"] == SPACE:
        return errors.RegionSpaceError(limit_text(f"{what} in {region_title(given['name'])}", facts))
    return region_error(facts, {**given, "attached": True})


def cannot_open(region: Region, what: str) -> Exception:
    """A name cannot be settled: somebody overwrites the words that do it."""
    return errors.RegionCorruptError(
        f"{what} cannot be opened in {region_title(region.name)}: its record, or the word that names queues, is "
        "overwritten again and again: look for a process that writes astray, and make the region anew"
    )


# ---- blocks -----------------------------------------------------------------------------------------------


def too_large(region: Region, nbytes: int) -> Exception:
    """No block can be that large."""
    largest = region.stats()["largest_block"]
    return ValueError(
        f"{nbytes} bytes asked, the largest block of {region_title(region.name)} has {largest} bytes "
        f"({size_text(largest)}): send it in pieces, or create a larger region"
    )


def out_of_blocks(region: Region, nbytes: int) -> Exception:
    """Who holds the memory."""
    stats = region.stats()
    free, pieces = stats["free_bytes"], ", but not in one block of that size"
    lines = [
        f"{nbytes} bytes asked; {free} of {stats['size']} bytes of {region_title(region.name)} are free"
        f"{pieces if free >= nbytes else ''}; the rest is held by:"
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
    lines.append("receive and release messages, drop their views, send or discard loans, or create a larger region")
    return errors.OutOfBlocks("\n".join(lines))
