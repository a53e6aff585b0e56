# SPDX-License-Identifier: MIT
"""What callers may say, checked once: names, sizes, depths, timeouts. Each refusal tells the value and the rule."""

from __future__ import annotations

import operator
import os
import time

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from typing import Any, TypeVar

    _T = TypeVar("_T")

UNITS = {"": 1, "b": 1, "kib": 1 << 10, "mib": 1 << 20, "gib": 1 << 30, "tib": 1 << 40}
UNITS |= {"kb": 10**3, "mb": 10**6, "gb": 10**9, "tb": 10**12, "k": 1 << 10, "m": 1 << 20, "g": 1 << 30, "t": 1 << 40}
NAME_CHARACTERS = frozenset("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789._-")
NAME_MAX = 100
DEPTH_MAX = 65536
POLL_SECONDS = 0.001


def name_of(what: str, name: str, also: str = "") -> str:
    """A valid name, unchanged."""
    if not isinstance(name, str):
        raise TypeError(f"{what} name is {name!r}, a {type(name).__name__}: give a str")
    if not 0 < len(name) <= NAME_MAX or not NAME_CHARACTERS.union(also).issuperset(name) or name in (".", ".."):
        raise ValueError(
            f"{what} name {name!r} ({len(name)} characters): use 1 to {NAME_MAX} of A-Z a-z 0-9 . _ -"
            + (f" {also}" if also else "")
        )
    return name


def region_name(name: str) -> str:
    """A valid region name, unchanged."""
    name = name_of("region", name)
    if name.startswith("."):
        raise ValueError(f"region name {name!r}: it may not begin with a dot, which is kept for regions being made")
    return name


def process_name(name: str) -> str:
    """A valid process name, unchanged."""
    return name_of("process", name)


def queue_name(name: str) -> str:
    """A valid queue name, unchanged."""
    return name_of("queue", name, "/")


def topic_name(name: str) -> str:
    """A valid topic name, unchanged."""
    return name_of("topic", name, "/")


def directory(dir: str | os.PathLike[str] | None) -> bytes | None:
    """The directory of regions as the core wants it; None for this user's own."""
    if dir is None:
        return None
    path = os.fsencode(os.path.abspath(dir))
    if b"\0" in path:
        raise ValueError(f"dir is {dir!r}: a path has no null character; give one without")
    return path


def byte_size(what: str, size: int | str | None) -> int:
    """Bytes from a number or from a text such as "256MiB"; 0 for None."""
    if size is None:
        return 0
    if isinstance(size, str):
        text = size.strip().lower()
        digits = text.rstrip("abcdefghijklmnopqrstuvwxyz ")
        factor = UNITS.get(text[len(digits) :].strip())
        try:
            number = int(float(digits) * (factor or 0))
        except (ValueError, OverflowError):
            factor = None
        if factor is None:
            raise ValueError(f'{what} is {size!r}: give bytes as a number, or a text such as "256MiB" or "1.5GiB"')
    else:
        number = operator.index(size)
    if not 0 < number < 2**63:
        raise ValueError(f"{what} is {size!r} ({number} bytes): give at least 1 byte and less than 2**63")
    return number


def queue_depth(depth: int) -> int:
    """A valid depth, unchanged."""
    depth = operator.index(depth)
    if not 1 <= depth <= DEPTH_MAX:
        raise ValueError(f"depth is {depth}: a queue holds 1 to {DEPTH_MAX} messages")
    return depth


def spin_seconds(spin: float | None) -> float:
    """Seconds to spin; negative where it is to be learnt."""
    if spin is None:
        return -1.0
    if not spin >= 0:
        raise ValueError(f"spin is {spin!r}: give seconds from 0 up, or None to learn it")
    return float(spin)


OVERFLOW = ("block", "drop_oldest", "drop_newest")


def overflow_policy(overflow: str) -> str:
    """A valid policy, unchanged."""
    if overflow not in OVERFLOW:
        raise ValueError(f"overflow is {overflow!r}: give one of {', '.join(OVERFLOW)}")
    return overflow


def whole_number(what: str, number: int, least: int, most: int) -> int:
    """A number within its bounds, unchanged."""
    number = operator.index(number)
    if not least <= number <= most:
        raise ValueError(f"{what} is {number}: give {least} to {most}")
    return number


def access_to(access: str) -> str:
    """A valid access, unchanged."""
    if access not in ("both", "receive"):
        raise ValueError(f'access is {access!r}: give "both", or "receive" to be unable to write messages')
    return access


def check_anonymous(
    name: str | None,
    access: str,
    persist: bool,
    mode: int,
    dir: str | os.PathLike[str] | None,
    sole_writer: bool,
) -> None:
    """Refuse what a region without a name cannot have, and what only such a one can."""
    if name is not None:
        if sole_writer:
            raise ValueError(f"sole_writer with name {name!r}: only an anonymous region (name None) can be sealed")
        return
    for option, given, said in (
        ("persist", persist, persist),
        ("mode", mode != 0o600, f"{mode:#o}"),
        ("dir", dir is not None, dir),
    ):
        if given:
            raise ValueError(
                f"{option} is {said} and name is None: an anonymous region lies in no directory, and lasts "
                "as long as anybody has its descriptors; give it a name, or leave that out"
            )
    if sole_writer and access == "receive":
        raise ValueError('sole_writer with access="receive": then nobody could write a message; leave one of them out')


def handed(filenos: Iterable[int]) -> tuple[int, int, int]:
    """The descriptors of an anonymous region."""
    found = tuple(operator.index(number) for number in filenos)
    if len(found) != 3 or min(found) < 0 or max(found) >= 2**31:
        raise ValueError(
            f"filenos is {found}: give the three numbers that Region.filenos returned or that were received"
        )
    return found


def handed_options(filenos: Iterable[int], process: str | None, access: str | None, prefault: bool) -> dict[str, Any]:
    """The arguments of `Region.from_filenos`, checked."""
    return {
        "name": None,
        "filenos": handed(filenos),
        "process": process_name(process) if process is not None else None,
        "access": access_to(access) if access is not None else None,
        "prefault": bool(prefault),
        "size": 0,
        "granule": 0,
        "max_processes": 0,
        "max_queues": 0,
        "mode": 0,
        "dir": None,
        "persist": False,
        "sole_writer": False,
    }


def region_options(
    name: str | None,
    size: int | str | None,
    process: str | None,
    access: str,
    persist: bool,
    granule: int | str | None,
    mode: int,
    dir: str | os.PathLike[str] | None,
    prefault: bool,
    max_processes: int,
    max_queues: int,
    sole_writer: bool,
) -> dict[str, Any]:
    """The arguments of `shmq.open`, checked."""
    access = access_to(access)
    mode = operator.index(mode)
    check_anonymous(name, access, persist, mode, dir, sole_writer)
    if mode not in (0o600, 0o660):
        raise ValueError(f"mode is {mode:#o}: give 0o600, or 0o660 with a directory of the group's own as dir=")
    if mode == 0o660 and dir is None:
        raise ValueError("mode is 0o660 without dir=: this user's own directory keeps the group out; name another")
    grain = byte_size("granule", granule)
    if grain and (grain & (grain - 1) or not 512 <= grain <= 1 << 20):
        raise ValueError(f"granule is {grain} bytes: give a power of two from 512 to {1 << 20}")
    nbytes = byte_size("size", size)
    if size is not None and nbytes < 1 << 20:
        raise ValueError(f"size is {nbytes} bytes: a region has at least {1 << 20} (1 MiB)")
    return {
        "name": region_name(name) if name is not None else None,
        "size": nbytes,
        "process": process_name(process) if process is not None else None,
        "access": access,
        "sole_writer": bool(sole_writer),
        "persist": bool(persist),
        "granule": grain,
        "mode": mode,
        "dir": directory(dir),
        "prefault": bool(prefault),
        "max_processes": whole_number("max_processes", max_processes, 1, 1024),
        "max_queues": whole_number("max_queues", max_queues, 1, 1024),
    }


def until(timeout: float | None, attempt: Callable[[], _T], missing: type[BaseException]) -> _T:
    """Repeat `attempt` until it does not raise `missing`, or `timeout` seconds are over."""
    if timeout is not None and not timeout >= 0:
        raise ValueError(f"timeout is {timeout!r}: give seconds from 0 up, or None to wait for ever")
    end = None if timeout is None else time.monotonic() + timeout
    while True:
        try:
            return attempt()
        except missing:
            if end is not None and time.monotonic() >= end:
                raise
        time.sleep(POLL_SECONDS)
