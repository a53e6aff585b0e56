# SPDX-License-Identifier: MIT
"""What the tests of errors share: reading a text, following its remedy, and looking that nothing was lost or left."""

import ctypes
import os
import re
import struct
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import numpy as np
from apart import descriptors, tree
from helpers import talk

import shmq
from shmq import Region

MIB = 1 << 20
PAGE = 4096
SMALL: dict[str, Any] = {"size": MIB, "max_processes": 4, "max_queues": 8}
ME = os.getuid()

Texts = str | tuple[str, ...]


def refused(call: Callable[..., Any], *arguments: Any, **options: Any) -> Exception:
    """What a call raises, without the frames that it was raised in: they would keep views alive."""
    try:
        call(*arguments, **options)
    except Exception as error:
        return error.with_traceback(None)
    raise AssertionError("nothing was refused")


def tells(error: Exception, kind: type, also: type, *, fact: Texts, value: Texts, limit: Texts, remedy: Texts) -> str:
    """Is the error of exactly that class, which is one of the standard library's, too; and does its text say what
    happened, what was found or asked, what the bound is or who holds it, and what to do? Returns the text."""
    text = str(error)
    assert type(error) is kind, f"{type(error).__name__}: {text}"
    assert issubclass(kind, also)
    assert issubclass(kind, shmq.ShmqError) or kind is also
    for what, parts in (("fact", fact), ("value", value), ("limit", limit), ("remedy", remedy)):
        for part in (parts,) if isinstance(parts, str) else parts:
            assert part in text, f"{what}: {part!r} is not in {text!r}"
    return text


def account(region: Region) -> Any:
    """What is held, queued and open: all that a call which fails must leave as it was."""
    stats = region.stats()
    kept = ("queued", "queued_bytes", "requeued", "corrupt", "queues", "topics")
    return [(one.pid, one.loans, one.held, one.queues) for one in region.processes()], [stats[name] for name in kept]


@contextmanager
def harmless(*regions: Region, folder: Path | None = None) -> Iterator[None]:
    """What fails in here loses and leaves nothing: no message, no loan, no queue, no file, no descriptor."""

    def look() -> Any:
        place = folder or Path(os.environ["SHMQ_DIR"])
        return [account(region) for region in regions], tree(place), descriptors()

    before = look()
    yield
    assert look() == before


def unlink_as_told(text: str) -> None:
    """Follow the remedy of a text to the letter."""
    call = re.search(r"shmq\.unlink\([^()]*\)", text)
    assert call, text
    eval(call.group(), {"shmq": shmq})


def works(**options: Any) -> bool:
    """Can the region be opened and used?"""
    with shmq.open("r", **{**SMALL, **options}) as region:
        return talk(region)


def stay(link: Connection, name: str) -> None:
    with Region.attach("r", process=name):
        link.send("there")
        link.recv()


# ---- what others may do to a region ----------------------------------------------------------------------------


def poke(path: Path, word: int, value: int) -> None:
    """Write over a word of a file, as any process of the same user may."""
    with path.open("r+b") as file:
        file.seek(8 * word)
        file.write(struct.pack("<Q", value))


def words(path: Path) -> Any:
    return np.fromfile(path, "<u8")


def punch(fileno: int, offset: int, nbytes: int) -> None:
    keep_size_punch_hole = 3
    span = ctypes.c_long(offset), ctypes.c_long(nbytes)
    assert ctypes.CDLL(None).fallocate(fileno, keep_size_punch_hole, *span) == 0


QUEUES = range(4864 // 8, (4864 + 12 * 256) // 8)  # the words of the queues' records in a region as SMALL says
