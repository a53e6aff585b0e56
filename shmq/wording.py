# SPDX-License-Identifier: MIT
"""How error texts call things: amounts, processes, regions, files, and whose they are."""

from __future__ import annotations

import os
import stat

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable
    from typing import Any


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
    """How a region is called in texts; "" is one of many."""
    if name is None:
        return "the anonymous region"
    return f"region {name!r}" if name else "a region"


def unlinking(given: dict[str, Any], *options: str) -> str:
    """The call that removes the name of the region in question, wherever it lies."""
    folder = given.get("dir")
    if folder is not None and os.fsdecode(folder) != os.environ.get("SHMQ_DIR"):
        options += (f"dir={os.fsdecode(folder)!r}",)
    return f"shmq.unlink({', '.join((repr(given['name']), *options))})"


def removal(given: dict[str, Any]) -> str:
    """How to get rid of a region that cannot be used."""
    return f"remove it with {unlinking(given)}" if given.get("name") is not None else "create another one"


def pids_text(pids: list[int], count: int = 1) -> str:
    """The numbers of `count` processes, as far as they are known."""
    known = list(dict.fromkeys(pids))
    if not known:
        return "processes that come or go"
    shown = ", ".join(str(pid) for pid in known)
    return f"pid {shown}" if len(known) == 1 else f"pids {shown}" + (", and others" if count > len(pids) else "")


def some(names: Iterable[str]) -> str:
    """The first few names, and a sign that there are more."""
    listed = sorted(names)
    return ", ".join(repr(name) for name in listed[:8]) + (", …" if len(listed) > 8 else "")


def amount_text(nbytes: int) -> str:
    """Bytes for people, and exactly."""
    return f"{size_text(nbytes)} ({nbytes} bytes)" if nbytes >= 1024 else f"{nbytes} bytes"


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
