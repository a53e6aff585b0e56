# SPDX-License-Identifier: MIT
"""Error texts of regions and of their files: fact, value, limit, remedy."""

from __future__ import annotations

import errno
import os
import stat

from . import errors
from .wording import (
    KINDS,
    amount_text,
    caller_text,
    owner_text,
    pids_text,
    region_title,
    removal,
    size_text,
    unlinking,
    user_text,
)

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    from ._region import Region

GRANULES_MAX = (1 << 28) - 1  # SHMQ_MAX_GRANULES of include/shmq/layout.h

# enum shmq_error_code of include/shmq/error.h
INVALID, NOT_FOUND, EXISTS, SECURITY, PERMISSION, VERSION, SIZE, DAMAGED, SPACE, REGISTRY_FULL, GONE = range(
    -101, -112, -1
)
PROCESS_NAME = -116
LOST = -117


def region_closed(name: str | None) -> Exception:
    """Something of a region is used after it was closed."""
    anew = "open it again, or " if name is not None else ""
    return ValueError(f"{region_title(name)} has been closed: {anew}keep it open while its handles are used")


def region_error(facts: dict[str, Any], given: dict[str, Any]) -> Exception:
    """The exception for an error of include/shmq/region.h; `given` is what the caller asked for."""
    name, path, what = given.get("name", ""), facts["path"], facts["what"]
    title = region_title(name)
    makers: dict[int, Callable[[], Exception]] = {
        INVALID: lambda: ValueError(invalid_text(facts)),
        NOT_FOUND: lambda: errors.RegionNotFoundError(not_found_text(facts, given)),
        EXISTS: lambda: errors.RegionExistsError(
            f"region {name!r} exists at {path}, made by {pids_text(facts['pids'])}, owner {user_text(facts['owner'])}: "
            f"attach to it with Region.attach or shmq.open, choose another name, or remove it with {unlinking(given)}"
        ),
        SECURITY: lambda: errors.RegionSecurityError(security_text(facts) if name is not None else handed_text(facts)),
        PERMISSION: lambda: errors.RegionPermissionError(
            permission_text(facts) if name is not None else handed_refused_text(facts)
        ),
        VERSION: lambda: errors.RegionVersionError(
            f"{path}: {what} is {facts['found']:#x}, this shmq has {facts['expected']:#x}: use the same version of "
            f"shmq in every process, or {removal(given)}"
        ),
        SIZE: lambda: errors.RegionVersionError(
            f"region {name!r} has {size_text(facts['found'])} ({facts['found']} bytes), asked were "
            f"{size_text(facts['asked'])} ({facts['asked']} bytes); it was made by {pids_text(facts['pids'])}: "
            "open it without size, or let its creator ask for more"
        ),
        DAMAGED: lambda: errors.RegionCorruptError(damaged_text(facts, given)),
        SPACE: lambda: errors.RegionSpaceError(space_text(facts, given)),
        REGISTRY_FULL: lambda: errors.RegistryFullError(
            f"all {facts['expected']} process slots of {title} are taken "
            f"({pids_text(facts['pids'], facts['expected'])}): close some, or create the region with a larger "
            "max_processes"
        ),
        PROCESS_NAME: lambda: errors.QueueInUseError(process_name_text(facts, given)),
        GONE: lambda: errors.RegionGoneError(gone_text(facts, given)),
        LOST: lambda: errors.RegionGoneError(lost_text(facts, given)),
    }
    maker = makers.get(facts["code"])
    if maker:
        return maker()
    if what == "guard":
        return errors.RegistryFullError(
            f"{path if name == '' else title} would be one too many for this process: it guards up to "
            f"{facts['expected']} mappings against SIGBUS, two for each region: close some"
        )
    return errors.RegionFileError(facts["errno"], system_text(facts, name), path)


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
    if what == "size":
        return f"size is {found} bytes: the limit is {expected}, {GRANULES_MAX} granules; ask for less" + (
            ", or for a larger granule" if expected < GRANULES_MAX << 20 else ""
        )
    return f"{what} is {found}: the limit is {expected}; see the arguments of shmq.open"


def damaged_text(facts: dict[str, Any], given: dict[str, Any]) -> str:
    """A field of the header, or the word that names queues, holds what nobody writes."""
    path, what = facts["path"], facts["what"]
    if what == "dir":
        return (
            f"{path}: no inbox can be opened, because the word that names queues is overwritten again and again: look "
            f"for a process that writes astray, then {removal(given)}"
        )
    bound = f"the bound is {facts['expected']}"
    return f"{path}: {what} is {facts['found']}, {bound}: the region is damaged; {removal(given)}"


def process_name_text(facts: dict[str, Any], given: dict[str, Any]) -> str:
    """Another process has the name that this one asked for, or would get."""
    name = given.get("process")
    if given.get("attached"):
        remedy = "close the region and open it with another (process=)"
    else:
        remedy = "give another (process=)" + (", or none" if name else "")
    return (
        f"process name {name or f'pid-{os.getpid()}'!r} is in use in {region_title(given['name'])}, by "
        f"{pids_text(facts['pids'])}: a name belongs to one process at a time; {remedy}"
    )


def gone_text(facts: dict[str, Any], given: dict[str, Any]) -> str:
    """A file of the region cannot be found, although nobody has ended the region."""
    path, name = facts["path"], given.get("name")
    if given.get("attached"):
        anew = "open it anew" if name is not None else "attach anew with Region.from_filenos"
        return (
            f"{path}: the program has closed the descriptor that {region_title(name)} had of it, and no name leads to "
            f"it any more, so a new queue can get no memory: close the region, {anew}, and look what closes descriptors"
        )
    if name is None:
        return f"{path}: the region is marked as ended, which no process does: it is damaged; {removal(given)}"
    return (
        f"{path} is missing, or went away again and again while {region_title(name)} was opened: look for whoever "
        "removes files there (systemd's RemoveIPC removes a user's files from /dev/shm at logout), and remove what is "
        f"left with {unlinking(given, 'missing_ok=True')}"
    )


def not_found_text(facts: dict[str, Any], given: dict[str, Any]) -> str:
    """No region, or no place for one."""
    path, name = facts["path"], given.get("name", "")
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
    if given.get("unlinks"):
        return (
            f"there is no region {name!r} at {path} to unlink: look which there are (shmq.list_regions), or give "
            "missing_ok=True"
        )
    return (
        f"there is no region {name!r} at {path}: start the process that creates it, give Region.attach a longer "
        "timeout, or use shmq.open, which creates it"
    )


def lost_text(facts: dict[str, Any], given: dict[str, Any]) -> str:
    """What has become of the memory of an open region."""
    name = given["name"]
    path, what, found, expected = facts["path"], facts["what"], facts["found"], facts["expected"]
    if what == "file size":
        fact = f"has {found} bytes, expected {expected}: it was truncated by force"
    elif what == "memory":
        fact = f"has {found} bytes of memory behind it, expected {expected} or more: a hole was punched into it"
    elif what == "magic":
        fact = (
            f"begins with zeros, expected {expected:#x}: it was written over, a hole was punched into it, or it was "
            "truncated by force and grew again"
        )
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
    unlink = unlinking(given, "missing_ok=True")  # the last to close has removed it
    left = f"remove what is left with {unlink}" if facts["links"] else "which has no name any more"
    return (
        f"{path} {fact} while region {name!r} was in use: what lay there is lost. Close the region, {left}, open it "
        "anew, and look who changes files there (systemd's RemoveIPC removes a user's files from /dev/shm at logout)"
    )


def security_text(facts: dict[str, Any]) -> str:
    """What lies in the region's place, against what should."""
    what, found, expected, kind = facts["what"], facts["found"], facts["expected"], facts["type"]
    if not kind:  # not even the place can be looked at
        return (
            f"{facts['path']}: {os.strerror(facts['errno']).lower()} ({what}): something above it is no directory, or "
            "links lead in a circle; look what lies there, or use another directory (SHMQ_DIR, dir=)"
        )
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
    whose = f"{KINDS.get(kind, 'something')} of {owner_text(facts)}"
    return (
        f"{facts['path']}: {what}: {values} ({whose}); it was not made by shmq for {user_text(facts['uid'])}: "
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
    if facts["owner"] != facts["uid"] and facts["uid"] != 0:
        return f"ask its owner or root to remove it, or {elsewhere}"
    return f"look who put it there and remove it, or {elsewhere}"


def handed_refused_text(facts: dict[str, Any]) -> str:
    """The kernel refuses to make the memory of an anonymous region, or what a descriptor of one should allow."""
    reason = f"{facts['path']}: {facts['what']}: {os.strerror(facts['errno'])}"
    if facts["what"] in ("memfd_create", "chmod", "seal"):
        return f"{reason}: a sandbox (seccomp) forbids sealed memory without a name: let it, or give the region a name"
    return (
        f"{reason}: this process may not open what the descriptor denotes: ask who handed it on for another one, or "
        "look what sandbox forbids it"
    )


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
    it = "its directory" if what in ("renameat2", "unlink", "chmod", "chown") else "it"
    whose = f"{it} belongs to {owner_text(facts)}" if known else "a directory above it keeps you out"
    return f"{path}: {reason} ({what}): {whose}; you are {caller_text(facts)}: {permission_remedy(facts)}"


def permission_remedy(facts: dict[str, Any]) -> str:
    """What to do about rights that are missing."""
    mode, what = facts["mode"], "rwx" if facts["type"] == stat.S_IFDIR else "rw"
    needed = 0o7 if what == "rwx" else 0o6
    if facts["errno"] == errno.EROFS:
        return "use a directory on a file system that can be written to (SHMQ_DIR, dir=)"
    if facts["type"] and facts["owner"] == facts["uid"] and mode >> 6 & needed != needed:
        return f"it is yours: give yourself the right (chmod u+{what})"
    if facts["type"] and facts["owner"] != facts["uid"] and not mode & 0o7:
        is_member = facts["group"] in (facts["gid"], *os.getgroups())
        if is_member and mode >> 3 & needed != needed:
            return f"ask its owner to give the group the right (chmod g+{what})"
        if not is_member and mode & 0o050 == 0o050:
            return "run as the owner, or be in its group (and say mode=0o660 with dir=, in every process)"
    return "run as the owner, or share a directory by group (chmod 2770; dir= and mode=0o660, in every process)"


def system_text(facts: dict[str, Any], name: str | None) -> str:
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
    if number == errno.EBADF:
        return f"{text}: hand on descriptors that are open"
    if number == errno.ENAMETOOLONG:
        return f"{text}: a file system takes 255 bytes between two slashes; give a shorter one (SHMQ_DIR, dir=)"
    if number == errno.ENOMEM:
        return (
            f"{text}: free some memory, or raise the limit on address space (ulimit -v) or on mappings (sysctl "
            "vm.max_map_count)"
        )
    if name is None and number == errno.ENOENT:
        return f"{text}: /proc/self/fd is not there, and an anonymous region needs it: mount /proc, or give it a name"
    if name is None:
        return f"{text}: look what the system's log says of it, or give the region a name"
    return f"{text}: look what the system's log says of it, or use a directory on a tmpfs (SHMQ_DIR, dir=)"


def space_text(facts: dict[str, Any], given: dict[str, Any]) -> str:
    """Which limit leaves too little memory for a region."""
    name = given.get("name", "")
    if facts["what"] == "RLIMIT_FSIZE":
        return (
            f"{region_title(name)} needs a file of {amount_text(facts['asked'])}, but the limit on a file's size is "
            f"{facts['expected']} bytes (RLIMIT_FSIZE): raise it (ulimit -f), or ask for a smaller size, max_queues or "
            "max_processes"
        )
    if facts["what"] == "inodes":
        return (
            f"{region_title(name)} needs {facts['asked']} files and directories (inodes), but only "
            f"{facts['available']} of {facts['expected']} are free in the file system of {facts['path']}: remove some "
            "files, or mount it with a larger nr_inodes"
        )
    if given.get("attached"):  # the region is there, the inbox is not
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
            f"{facts['found']} bytes are in use: raise it (ulimit -v), or let the region be made smaller (size, "
            "max_queues, max_processes)"
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
