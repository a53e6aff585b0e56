# SPDX-License-Identifier: MIT
"""Error texts: fact, value, limit, remedy. Called only when something has gone wrong, but imported with the first
region, when there still are descriptors and memory: so it is light."""

from __future__ import annotations

import errno
import os
import stat

from . import errors

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    from ._region import Region

# enum shmq_result of include/shmq/map.h
FULL, EMPTY, CLOSED, SHUT, STALE, CORRUPT = 1, 2, -1, -2, -8, -9

# enum shmq_error_code of include/shmq/error.h
INVALID, NOT_FOUND, EXISTS, SECURITY, PERMISSION, VERSION, SIZE, DAMAGED, SPACE, REGISTRY_FULL, GONE = range(
    -101, -112, -1
)
PROCESS_NAME = -116
LOST = -117


def size_text(nbytes: int) -> str:
    """Bytes for people: exact where they are few."""
    for unit, factor in (("GiB", 1 << 30), ("MiB", 1 << 20), ("KiB", 1 << 10)):
        if nbytes >= factor:
            return f"{nbytes / factor:.4g} {unit}"
    return f"{nbytes} bytes"


def process_title(pid: int, name: str, slot: int) -> str:
    """How a process is called in texts."""
    return f"{name!r} (pid {pid}, slot {slot})"


def region_title(name: str | None) -> str:
    """How a region is called in texts."""
    return f"region {name!r}" if name is not None else "the anonymous region"


def removal(name: str | None) -> str:
    """How to get rid of a region that cannot be used."""
    return f"remove it with shmq.unlink({name!r})" if name is not None else "create another one"


def pids_text(pids: list[int]) -> str:
    """A few process numbers, and how many more."""
    shown = ", ".join(str(pid) for pid in pids[:16])
    return f"pid {shown}" if len(pids) == 1 else f"pids {shown}"


# ---- whose a file is ---------------------------------------------------------------------------------------

KINDS = {
    stat.S_IFREG: "a plain file",
    stat.S_IFDIR: "a directory",
    stat.S_IFLNK: "a symbolic link",
    stat.S_IFIFO: "a FIFO",
    stat.S_IFSOCK: "a socket",
    stat.S_IFCHR: "a character device",
    stat.S_IFBLK: "a block device",
}


def user_text(uid: int) -> str:
    """A user by number and, where the system knows it, by name."""
    try:
        import pwd

        return f"uid {uid} ({pwd.getpwuid(uid).pw_name})"
    except (ImportError, KeyError, OSError):
        return f"uid {uid}"


def group_text(gid: int) -> str:
    """A group by number and, where the system knows it, by name."""
    try:
        import grp

        return f"gid {gid} ({grp.getgrgid(gid).gr_name})"
    except (ImportError, KeyError, OSError):
        return f"gid {gid}"


def owner_text(facts: dict[str, Any]) -> str:
    """Whose the file is, and what others may do with it."""
    return f"{user_text(facts['owner'])}, {group_text(facts['group'])}, mode {facts['mode']:#o}"


def caller_text(facts: dict[str, Any]) -> str:
    """Who asked."""
    groups = sorted(set(os.getgroups()) - {facts["gid"]})
    also = f" and of the groups {', '.join(str(gid) for gid in groups[:16])}" if groups else ""
    return f"{user_text(facts['uid'])}, {group_text(facts['gid'])}{also}"


# ---- regions ----------------------------------------------------------------------------------------------


def region_error(facts: dict[str, Any], given: dict[str, Any]) -> Exception:
    """The exception for an error of include/shmq/region.h; `given` is what the caller asked for."""
    name, path, what = given.get("name", ""), facts["path"], facts["what"]
    title = region_title(name)
    makers: dict[int, Callable[[], Exception]] = {
        INVALID: lambda: ValueError(invalid_text(facts)),
        NOT_FOUND: lambda: errors.RegionNotFoundError(not_found_text(facts, name)),
        EXISTS: lambda: errors.RegionExistsError(
            f"region {name!r} exists at {path}, made by {pids_text(facts['pids'])}, owner {user_text(facts['owner'])}: "
            "attach to it with Region.attach or shmq.open, choose another name, or remove it with "
            f"shmq.unlink({name!r})"
        ),
        SECURITY: lambda: errors.RegionSecurityError(security_text(facts) if name is not None else handed_text(facts)),
        PERMISSION: lambda: errors.RegionPermissionError(
            permission_text(facts) if name is not None else handed_refused_text(facts)
        ),
        VERSION: lambda: errors.RegionVersionError(
            f"{path}: {what} is {facts['found']:#x}, this shmq has {facts['expected']:#x}: use the same version of "
            f"shmq in every process, or {removal(name)}"
        ),
        SIZE: lambda: errors.RegionVersionError(
            f"region {name!r} has {size_text(facts['found'])} ({facts['found']} bytes), asked were "
            f"{size_text(facts['asked'])} ({facts['asked']} bytes); it was made by {pids_text(facts['pids'])}: "
            "open it without size, or let its creator ask for more"
        ),
        DAMAGED: lambda: errors.RegionCorruptError(
            f"{path}: {what} is {facts['found']}, the bound is {facts['expected']}: the region is damaged; "
            f"{removal(name)}"
        ),
        SPACE: lambda: errors.RegionSpaceError(space_text(facts, name)),
        REGISTRY_FULL: lambda: errors.RegistryFullError(
            f"all {facts['expected']} process slots of {title} are taken ({pids_text(facts['pids'])}): close "
            "some, or create the region with a larger max_processes"
        ),
        PROCESS_NAME: lambda: errors.QueueInUseError(
            f"process name {given.get('process') or f'pid-{os.getpid()}'!r} is in use in {title}, by "
            f"{pids_text(facts['pids'])}: a name belongs to one process at a time; give another (process=)"
            + (", or none" if given.get("process") else "")
        ),
        GONE: lambda: errors.RegionGoneError(
            f"{path}: the region is marked as ended, which no process does: it is damaged; {removal(name)}"
            if name is None
            else f"{path}: the region's files went away while it was opened, again and again: look for whoever removes "
            "them (systemd's RemoveIPC removes a user's files at logout)"
        ),
        LOST: lambda: errors.RegionGoneError(lost_text(facts, name)),
    }
    maker = makers.get(facts["code"])
    if maker:
        return maker()
    if what == "guard":
        return errors.RegistryFullError(
            f"{path if name == '' else title} would be one too many for this process: it guards up to "
            f"{facts['expected']} mappings against SIGBUS, two for each region: close some"
        )
    return errors.RegionFileError(facts["errno"], system_text(facts), path)


def invalid_text(facts: dict[str, Any]) -> str:
    """An option that the core refuses."""
    what, found, expected = facts["what"], facts["found"], facts["expected"]
    if what == "absolute path of the directory":
        return (
            f"the directory of regions is {facts['path']!r}: give an absolute path (SHMQ_DIR, dir=), which means the "
            "same in every process"
        )
    if what == "length of the directory's path":
        return f"{what} is {found} bytes: the limit is {expected}; give a shorter one (SHMQ_DIR, dir=)"
    return f"{what} is {found}: the limit is {expected}; see the arguments of shmq.open"


def not_found_text(facts: dict[str, Any], name: str) -> str:
    """No region, or no place for one."""
    path = facts["path"]
    if facts["what"] == "parent of the directory":
        return (
            f"the directory of regions {path} cannot be made: {os.path.dirname(path)} is not there; make it, or name "
            "another with SHMQ_DIR or dir="
        )
    if facts["what"] == "directory of the group":
        return (
            f"there is no directory {path} for region {name!r}: a group's is made by hand, so that it is the group's "
            f"(mkdir {path}; chgrp GROUP {path}; chmod 2770 {path})"
        )
    return (
        f"there is no region {name!r} at {path}: start the process that creates it, give Region.attach a timeout, or "
        "use shmq.open, which creates it"
    )


def lost_text(facts: dict[str, Any], name: str | None) -> str:
    """What has become of the memory of an open region."""
    path, what, found, expected = facts["path"], facts["what"], facts["found"], facts["expected"]
    if what == "file size":
        fact = f"has {found} bytes, expected {expected}: it was truncated by force"
    elif what == "memory":
        fact = f"has {found} bytes of memory behind it, expected {expected} or more: a hole was punched into it"
    elif what == "magic":
        fact = f"begins with zeros, expected {expected:#x}: a hole was punched into it"
    else:
        fact = (
            f"has lost pages, although it has {found} bytes, expected {expected}: it was truncated by force and grew "
            "again, or a hole was punched into it and the file system has no memory to fill it"
        )
    if name is None:
        return (
            f"{path} {fact} while the region was in use: what lay there is lost. Close the region, create another one, "
            "and look which of the processes that were handed its descriptors does so"
        )
    left = f"remove what is left with shmq.unlink({name!r})" if facts["links"] else "which has no name any more"
    return (
        f"{path} {fact} while region {name!r} was in use: what lay there is lost. Close the region, {left}, open it "
        "anew, and look who changes files there (systemd's RemoveIPC removes a user's files from /dev/shm at logout)"
    )


def security_text(facts: dict[str, Any]) -> str:
    """What lies in the region's place, against what should."""
    what, found, expected, kind = facts["what"], facts["found"], facts["expected"], facts["type"]
    if what == "file type":
        values = f"found {KINDS.get(found, oct(found))}, expected {KINDS[expected]}"
    elif what == "mode":
        values = f"found {found:#o}, expected {expected:#o}"
    elif what == "group of the directory":
        values = f"found {found}, expected {expected} or another group of this process"
    elif what in ("owner", "group", "link count"):
        values = f"found {found}, expected {expected}"
    else:
        values = f"{os.strerror(facts['errno'])}: found {KINDS.get(kind, 'something')}, expected a file of this user"
    whose = f" ({KINDS.get(kind, 'something')} of {owner_text(facts)})" if kind else ""
    return (
        f"{facts['path']}: {what}: {values}{whose}; it was not made by shmq for {user_text(facts['uid'])}: "
        f"{security_remedy(facts)}"
    )


def security_remedy(facts: dict[str, Any]) -> str:
    """What to do about a file that is not trusted."""
    elsewhere = "use another directory (SHMQ_DIR, dir=)"
    mode, what = facts["mode"], facts["what"]
    group_only = mode & 0o70 and not mode & 0o7 and facts["type"] == stat.S_IFDIR
    if what == "mode" and group_only and facts["expected"] & 0o70:
        return f"members could not remove each other's regions: take the sticky bit away (chmod -t), or {elsewhere}"
    if what in ("mode", "owner") and group_only:
        elsewhere = f"if a group shares it, give it as dir= with mode=0o660, or {elsewhere}"
    if what == "mode":
        return f"look what others did to it, then set the mode (chmod {facts['expected']:o}), or {elsewhere}"
    if what == "group of the directory":
        return f"join that group or let the directory's owner choose one of yours (chgrp), or {elsewhere}"
    if what == "link count":
        return f"find its other name (find -samefile) and remove both, or {elsewhere}"
    if facts["type"] and facts["owner"] != facts["uid"] and facts["uid"] != 0:
        return f"ask its owner or root to remove it, or {elsewhere}"
    return f"look who put it there and remove it, or {elsewhere}"


def handed_refused_text(facts: dict[str, Any]) -> str:
    """The kernel refuses what a descriptor should allow."""
    reason = os.strerror(facts["errno"])
    return f"{facts['path']}: {facts['what']}: {reason}: ask who handed the descriptors on for others"


def handed_text(facts: dict[str, Any]) -> str:
    """What is wrong with a descriptor, against what should be."""
    what, found, expected = facts["what"], facts["found"], facts["expected"]
    values = f": found {found:#x}, expected {expected:#x}" if found != expected else ""
    return (
        f"{facts['path']}: {what}{values}: this is not what Region.filenos of one region gave: hand its three "
        "descriptors on together, in their order"
    )


def receive_only(region: Region) -> Exception:
    """Something that writes message data was asked of a region that can only be read."""
    if region.name is not None:
        remedy = 'open it with access="both"'
    else:
        remedy = "ask its creator for descriptors that may write (filenos without access, no sole_writer)"
    return errors.RegionPermissionError(
        f'{region_title(region.name)} is open with access="receive", where the kernel lets this process write no '
        f"message: {remedy}"
    )


def not_for_pickle(region: Region) -> Exception:
    """An anonymous region is pickled, and nobody is there to take its descriptors."""
    return TypeError(
        f"cannot pickle {region_title(region.name)} here: it is what its descriptors are, which travel only while "
        "multiprocessing starts a process with spawn or forkserver; pass it as an argument of that Process, or hand "
        "Region.filenos on by hand, or use a region with a name"
    )


def ended_since_fork(name: str | None) -> Exception:
    """A forked child uses a handle on a region that is not there any more."""
    return errors.RegionGoneError(
        f"{region_title(name)}, which this process has from the parent that it was forked from, has ended since or "
        "lost its name: use it before the others have left, or create another one with shmq.open"
    )


def another_region(name: str) -> Exception:
    """A handle denotes a region that is no more, and its name another one."""
    return errors.RegionGoneError(
        f"region {name!r}, which this handle denotes, has ended, and another one has its name: open that by its name"
    )


def permission_text(facts: dict[str, Any]) -> str:
    """What this user may not do, with what, and who may."""
    path, what, known = facts["path"], facts["what"], facts["type"]
    if what == "group of the directory":
        return (
            f"{path} belongs to {owner_text(facts)}: mode=0o660 shares regions with its group, and its mode keeps that "
            "group out: let it in (chmod 2770), or leave mode at 0o600"
        )
    reason = os.strerror(facts["errno"]).lower()
    it = "its directory" if what in ("renameat2", "unlink", "chmod") else "it"
    whose = f"{it} belongs to {owner_text(facts)}" if known else "a directory above it keeps you out"
    if facts["errno"] == errno.EROFS:
        remedy = "use a directory on a file system that can be written to (SHMQ_DIR, dir=)"
    else:
        remedy = "run as the owner, or share a directory by group (chmod 2770; dir= and mode=0o660, in every process)"
    return f"{path}: {reason} ({what}): {whose}; you are {caller_text(facts)}: {remedy}"


def system_text(facts: dict[str, Any]) -> str:
    """A system call that failed for a reason of its own."""
    number = facts["errno"]
    text = f"{facts['what']} failed: {os.strerror(number)}"
    if number == errno.EMFILE:
        return (
            f"{text}: the limit of this process is {facts['expected']} (RLIMIT_NOFILE); close some files, or raise it "
            "(ulimit -n)"
        )
    if number == errno.ENFILE:
        return f"{text}: the limit is the whole system's; raise it (sysctl fs.file-max)"
    if number == errno.ENOLCK and facts["what"] == "byte lock":
        return (
            "the file system of this directory does not keep the lock of a file that is mapped and closed (overlayfs, "
            "a container's own, is one such), so nobody could tell who is alive: use a directory on another, such as "
            "/dev/shm (SHMQ_DIR, dir=)"
        )
    if number == errno.EBADF and facts["what"] == "descriptor of the region":
        return (
            "this program has closed the region's own descriptor, by which alone it can be handed on, or used after a "
            "fork: find what closes it (os.close, os.closerange), and create the region after that"
        )
    if number in (errno.ENOTEMPTY, errno.EISDIR):
        return f"{text}: something that is no file of a region lies there; look what it is, and move or remove it"
    return text


def space_text(facts: dict[str, Any], name: str | None) -> str:
    """Which limit leaves too little memory for a region."""
    if facts["what"] == "RLIMIT_FSIZE":
        return (
            f"{region_title(name)} needs a file of {amount_text(facts['asked'])}, but the limit on a file's size is "
            f"{facts['expected']} bytes (RLIMIT_FSIZE): raise it (ulimit -f), or ask for a smaller size, max_queues or "
            "max_processes"
        )
    if facts["what"] == "inodes":
        return (
            f"region {name!r} needs {facts['asked']} files and directories (inodes), but only {facts['available']} of "
            f"{facts['expected']} are free in the file system of {facts['path']}: remove some files, or mount it with "
            "a larger nr_inodes"
        )
    if name is not None and facts["path"].endswith(f"/{name}/admin"):  # the region is there, the inbox is not
        return limit_text(f"the inbox of this process in {region_title(name)}", facts)
    return limit_text(region_title(name), facts)


def limit_text(who: str, facts: dict[str, Any]) -> str:
    """Which limit leaves too little memory."""
    asked, what, path = amount_text(facts["asked"]), facts["what"], facts["path"]
    if what == "memory control group":
        return (
            f"{who} needs {asked} with what the kernel keeps of it, but the memory control group {path} allows "
            f"{facts['expected']} bytes and has {facts['found']} in use, which leaves "
            f"{amount_text(facts['available'])}: ask for less, or raise its limit (Docker: --memory)"
        )
    if what == "RLIMIT_AS":
        return (
            f"{who} needs {asked} of address space, but its limit is {facts['expected']} bytes (RLIMIT_AS) and "
            f"{facts['found']} bytes are in use: raise it (ulimit -v), or ask for less (size, max_queues, "
            "max_processes)"
        )
    if what == "mmap":
        return (
            f"{who} needs a mapping of {asked}, and the kernel refuses it ({os.strerror(facts['errno'])}): raise the "
            "limit on address space (ulimit -v) or on mappings (sysctl vm.max_map_count), or ask for less"
        )
    if what == "file system":
        return (
            f"{who} needs {asked}, but only {amount_text(facts['available'])} of {size_text(facts['expected'])} are "
            f"free at {path}: ask for less, free some (shmq.list_regions), or enlarge the file system (Docker: "
            "--shm-size)"
        )
    if what == "memory":
        return (
            f"{who} needs {asked}, but the machine has only {amount_text(facts['available'])} left: ask for a smaller "
            "size, or free some"
        )
    return (
        f"{who} needs {asked} at {path}, and the kernel refuses it ({what}: {os.strerror(facts['errno'])}): ask for "
        "less, free some (shmq.list_regions), or raise the user's quota or the system's limit"
    )


def amount_text(nbytes: int) -> str:
    """Bytes for people, and exactly."""
    return f"{size_text(nbytes)} ({nbytes} bytes)" if nbytes >= 1024 else f"{nbytes} bytes"


# ---- queues -----------------------------------------------------------------------------------------------


def queue_error(result: int, end: Any, waited: bool) -> None:
    """Raise what a result of the core means for a sender or receiver."""
    what, queue = end._what, end.queue
    if result == FULL:
        deeper = ", or make it deeper (depth, up to 65536)" if what == "queue" else ""
        raise errors.Full(
            f"{what} {queue!r} holds its {end.depth} messages"
            + (" and none was received in time" if waited else "")
            + f"{no_receiver(end)}: receive faster, wait longer (timeout){deeper}"
        )
    if result == EMPTY:
        raise errors.Empty(
            f"{what} {queue!r} (depth {end.depth}) is empty"
            + (" and nothing came in time" if waited else "")
            + ": wait longer (timeout), or check that a sender runs"
        )
    if result == SHUT:
        remedy = "open another queue, or delete this one first" if what == "queue" else "subscribe anew"
        raise errors.ShutDown(f"{what} {queue!r} has been shut down: {remedy}")
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
        f"no process named {process!r} is attached to {region_title(region.name)} (there are {names}): start it with "
        f"process={process!r}, wait until it is there, or check the name"
    )


def topics_full(region: Region, topic: str) -> Exception:
    """Every topic record is taken."""
    return errors.RegistryFullError(
        f"topic {topic!r} finds no place: all {region.stats()['max_topics']} topics of {region_title(region.name)} "
        "are in use, a quarter of max_queues; topics stay for the region's life: create it with a larger max_queues"
    )


def subscribers_full(region: Region, topic: str) -> Exception:
    """Every subscriber index is taken."""
    return errors.RegistryFullError(
        f"topic {topic!r} of {region_title(region.name)} has its 120 subscribers: close some, or publish to two topics"
    )


def queues_full(region: Region, queue: str) -> Exception:
    """Every queue record is taken."""
    stats = region.stats()
    names = ", ".join(sorted(stats["queues"])[:8])
    return errors.RegistryFullError(
        f"queue {queue!r} finds no place: all {stats['max_queues']} queues of {region_title(region.name)} are in use "
        f"({names}, …): delete some with delete_queue, or create the region with a larger max_queues"
    )


def no_slots(region: str | None, queue: str, depth: int, facts: dict[str, Any]) -> Exception:
    """The slots of a queue, which is described, find no room."""
    if facts["code"] == SPACE:
        return errors.RegionSpaceError(limit_text(f"{queue} of depth {depth} in {region_title(region)}", facts))
    return region_error(facts, {"name": region})


def queue_corrupt(region: Region, queue: str) -> Exception:
    """A queue's record holds what nobody writes."""
    return errors.RegionCorruptError(
        f"the record of queue {queue!r} in {region_title(region.name)} is damaged: delete the queue, or make the "
        "region anew"
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
    lines = [
        f"{nbytes} bytes asked; {stats['free_bytes']} of {stats['size']} bytes of {region_title(region.name)} are free,"
        " but not in one block of that size; the rest is held by:"
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
