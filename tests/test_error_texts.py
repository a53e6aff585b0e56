# SPDX-License-Identifier: MIT
"""Texts of errors that have no row of their own in docs/errors.md, or that differ for topics, inboxes, regions without
a name or in another directory: true in the situation that they come in, with a remedy that applies there."""

import copy
import ctypes
import errno
import fcntl
import mmap
import os
import pickle
import shutil
import struct
from collections.abc import Callable, Iterator
from contextlib import suppress
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from apart import SHM, Elsewhere, can_mount, forbid, mount, own_mounts, own_shm
from helpers import Partner, drain, small, talk
from telling import (
    ME,
    MIB,
    PAGE,
    QUEUES,
    SMALL,
    harmless,
    poke,
    refused,
    stay,
    tells,
    unlink_as_told,
    words,
    works,
)
from test_space import fill, numbers

import shmq
from shmq import Region, ShmqError

MAP_NORESERVE = 0x4000  # which the module mmap has from Python 3.13 on


@pytest.fixture(scope="module")
def run() -> Iterator[Elsewhere]:
    """Runs a function in another process."""
    elsewhere = Elsewhere()
    yield elsewhere
    elsewhere.close()


# ---- no room left ----------------------------------------------------------------------------------------------


def subscribe_without_room() -> tuple[Exception, bool, int]:
    own_shm("size=4m")
    with shmq.open("r", **{**SMALL, "max_queues": 16}) as region:
        publisher = region.publisher("t")
        filler = fill()
        with harmless(region, folder=SHM):
            error = refused(region.subscriber, "t", depth=2000)
        filler.unlink()
        subscriber = region.subscriber("t", depth=2000)
        return error, publisher.send(b"x") == 1 and drain(subscriber) == [b"x"], ME


@can_mount
def test_a_subscriber_whose_queue_finds_no_memory(run: Elsewhere) -> None:
    error, then_works, user = run(subscribe_without_room)
    text = tells(
        error,
        shmq.RegionSpaceError,
        MemoryError,
        fact="a queue for topic 't' of depth 2000 in region 'r' needs",
        value="but only 0 bytes of 4 MiB",
        limit=f"are free at {SHM}/shmq-{user}/r/admin",
        remedy=("ask for less", "shmq.list_regions", "--shm-size"),
    )
    assert numbers(text) == [2048 * 8, 0]
    assert then_works


def lose_ones_name() -> tuple[Exception, int, bool]:
    """Attach without memory for an inbox; another one gets the name, and memory that is there already."""
    own_shm("size=4m")
    with shmq.open("r", **SMALL):
        first = Region.attach("r")
        filler = fill()
        late = Region.attach("r", process="late")
        first.close()
        with Region.attach("r", process="late") as twin:
            error = refused(lambda: late.inbox)
            late.close()
            filler.unlink()
            Region.attach("r", process="another").close()
            return error, os.getpid(), talk(twin)


@can_mount
def test_an_inbox_whose_name_another_process_has_got_meanwhile(run: Elsewhere) -> None:
    error, pid, good = run(lose_ones_name)
    tells(
        error,
        shmq.QueueInUseError,
        ShmqError,
        fact="process name 'late' is in use in region 'r'",
        value=f"by pid {pid}",
        limit="a name belongs to one process at a time",
        remedy="close the region and open it with another (process=)",
    )
    assert good


def send_to_who_has_no_inbox() -> tuple[Exception, int, bool]:
    own_shm("size=4m")
    with shmq.open("r", process="me", **SMALL) as region:
        filler = fill()
        with Region.attach("r", process="late") as late:
            with harmless(region, folder=SHM):
                error = refused(region.peer, "late")
            filler.unlink()
            inbox = late.inbox
            region.peer("late").send(b"x")
            return error, os.getpid(), drain(inbox) == [b"x"]


@can_mount
def test_a_process_that_had_no_memory_for_its_inbox(run: Elsewhere) -> None:
    error, pid, then_works = run(send_to_who_has_no_inbox)
    tells(
        error,
        shmq.NoReceiver,
        ShmqError,
        fact="is attached to region 'r', but",
        value=f"process 'late' (pid {pid}, slot 1)",
        limit="has no inbox, because it has only just come or had no memory for one",
        remedy=("try again", "free some and let it ask for its inbox (region.inbox)"),
    )
    assert then_works


def use_up_the_mappings() -> tuple[Exception, Exception, bool]:
    """As many mappings as the kernel allows a process: of one, every second page gets rights of its own."""
    shmq.open("r", persist=True, **SMALL).close()
    limit = int(Path("/proc/sys/vm/max_map_count").read_text())
    pages = mmap.mmap(-1, limit * PAGE, mmap.MAP_PRIVATE | MAP_NORESERVE)
    at, protect = ctypes.addressof(ctypes.c_char.from_buffer(pages)), ctypes.CDLL(None).mprotect
    for page in range(0, limit, 2):
        if protect(ctypes.c_void_p(at + page * PAGE), PAGE, mmap.PROT_READ):
            break
    last = []
    with suppress(OSError):
        while True:
            last.append(mmap.mmap(-1, PAGE))  # shared, so that neighbours do not become one
    attach, unlink = refused(Region.attach, "r"), refused(shmq.unlink, "r")
    assert protect(ctypes.c_void_p(at), ctypes.c_size_t(limit * PAGE), mmap.PROT_READ) == 0
    good = works()
    shmq.unlink("r")
    return attach, unlink, good


def test_a_mapping_that_the_kernel_refuses(run: Elsewhere) -> None:
    attach, unlink, good = run(use_up_the_mappings)
    for error, nbytes in ((attach, MIB), (unlink, PAGE)):
        tells(
            error,
            shmq.RegionSpaceError,
            MemoryError,
            fact=("region 'r' needs a mapping", "the kernel refuses it"),
            value=f"({nbytes} bytes)",
            limit="Cannot allocate memory",
            remedy=("ulimit -v", "sysctl vm.max_map_count"),
        )
    assert good


# ---- what the kernel, or a sandbox, refuses --------------------------------------------------------------------


def create_forbidden(call: str, number: int, name: str | None) -> Exception:
    forbid(call, number)
    with harmless():
        return refused(shmq.open, name, **SMALL)


@pytest.mark.parametrize(
    ("call", "number", "name", "kind", "also", "parts"),
    [
        ("fallocate", errno.EIO, "r", "RegionFileError", OSError, ("system's log", "on a tmpfs (SHMQ_DIR, dir=)")),
        ("fallocate", errno.EIO, None, "RegionFileError", OSError, ("system's log", "give the region a name")),
        ("renameat2", errno.EINVAL, "r", "RegionFileError", OSError, ("system's log", "on a tmpfs (SHMQ_DIR, dir=)")),
        ("renameat2", errno.ENOMEM, "r", "RegionFileError", OSError, ("free some memory", "ulimit -v")),
        ("memfd_create", errno.ENFILE, None, "RegionFileError", OSError, ("the whole system's", "fs.file-max")),
        ("fallocate", errno.EDQUOT, "r", "RegionSpaceError", MemoryError, ("region 'r' needs", "the user's quota")),
        ("fallocate", errno.ENOMEM, None, "RegionSpaceError", MemoryError, ("anonymous region needs", "ask for less")),
        ("memfd_create", errno.EPERM, None, "RegionPermissionError", PermissionError, ("sandbox", "give the region a")),
        ("memfd_create", errno.EACCES, None, "RegionPermissionError", PermissionError, ("sandbox (seccomp)", "a name")),
    ],
)
def test_a_system_call_that_fails(
    run: Elsewhere, call: str, number: int, name: str | None, kind: str, also: type, parts: tuple[str, ...]
) -> None:
    error = run(create_forbidden, call, number, name)
    tells(error, getattr(shmq, kind), also, fact=call, value=os.strerror(number), limit=call, remedy=parts)
    if isinstance(error, shmq.RegionFileError):
        assert error.errno == number
        assert error.filename.startswith("memfd:" if name is None else os.environ["SHMQ_DIR"])


def test_descriptors_that_are_not_open() -> None:
    with harmless():
        error = refused(Region.from_filenos, [999_999] * 3)
    tells(
        error,
        shmq.RegionFileError,
        OSError,
        fact="descriptor failed",
        value="memfd:admin",
        limit="Bad file descriptor",
        remedy="hand on descriptors that are open",
    )


FIRST_FULL = """
import resource, shmq, sys
resource.setrlimit(resource.RLIMIT_NOFILE, (3, 64))
for module in ("queue", "_queue"):
    sys.modules.pop(module, None)
try:
    shmq.Full
except shmq.RegionFileError as error:
    print(error)
resource.setrlimit(resource.RLIMIT_NOFILE, (64, 64))
print(shmq.Full.__name__)
"""


def test_an_error_that_cannot_be_made_for_want_of_a_descriptor(python: Callable[..., str]) -> None:
    text, then = python("-c", FIRST_FULL).splitlines()
    for part in ("the module queue cannot be imported", "the limit of this process is 3 (RLIMIT_NOFILE)", "ulimit -n"):
        assert part in text
    assert then == "Full"


def attach_behind_a_closed_door() -> list[Exception]:
    """Byte locks are taken through /proc/self/fd."""
    region = shmq.open(None, **SMALL)
    filenos = region.filenos()
    forbid("openat", errno.EACCES)
    return [refused(Region.from_filenos, filenos), refused(shmq.open, None, **SMALL)]


def test_descriptors_whose_lock_may_not_be_opened(run: Elsewhere) -> None:
    for error in run(attach_behind_a_closed_door):
        tells(
            error,
            shmq.RegionPermissionError,
            PermissionError,
            fact="this process may not open what the descriptor denotes",
            value="memfd:lock",
            limit="Permission denied",
            remedy=("ask who handed it on for another one", "look what sandbox forbids it"),
        )


def attach_without_proc() -> list[Exception]:
    region = shmq.open(None, **SMALL)
    filenos = region.filenos()
    own_mounts()
    mount("tmpfs", Path("/proc"), "tmpfs")
    return [refused(Region.from_filenos, filenos), refused(shmq.open, None, **SMALL)]


@can_mount
def test_a_system_without_proc(run: Elsewhere) -> None:
    for error in run(attach_without_proc):
        tells(
            error,
            shmq.RegionFileError,
            OSError,
            fact="/proc/self/fd is not there",
            value="memfd:",
            limit="an anonymous region needs it",
            remedy=("mount /proc", "give it a name"),
        )


# ---- a directory that cannot be one ----------------------------------------------------------------------------


def test_a_directory_below_something_that_is_none(shmq_dir: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (shmq_dir / "file").touch()
    (shmq_dir / "circle").symlink_to("circle")
    for above, reason in (("file", "not a directory"), ("circle", "too many levels of symbolic links")):
        monkeypatch.setenv("SHMQ_DIR", f"{shmq_dir}/{above}/regions")
        for call in (shmq.open, Region.attach):
            with harmless(folder=shmq_dir):
                error = refused(call, "r")
            tells(
                error,
                shmq.RegionSecurityError,
                PermissionError,
                fact=reason,
                value=f"{shmq_dir}/{above}/regions",
                limit="something above it is no directory, or links lead in a circle",
                remedy=("look what lies there", "another directory (SHMQ_DIR, dir=)"),
            )
        (shmq_dir / above).unlink()


def test_a_directory_whose_name_is_too_long(shmq_dir: Path) -> None:
    with harmless():
        error = refused(shmq.open, "r", dir=shmq_dir / ("x" * 256))
    tells(
        error,
        shmq.RegionFileError,
        OSError,
        fact="mkdir failed: File name too long",
        value="x" * 256,
        limit="255 bytes between two slashes",
        remedy="give a shorter one (SHMQ_DIR, dir=)",
    )
    with small(dir=shmq_dir / ("x" * 255)) as region:
        assert talk(region)
    (shmq_dir / ("x" * 255)).rmdir()


# ---- regions in another directory: the remedy reaches them -----------------------------------------------------


def lose_in(folder: str) -> tuple[Exception, bool]:
    region = shmq.open("r", dir=folder, **SMALL)
    other = shmq.open("r", dir=folder, **SMALL)
    os.truncate(Path(folder, "r", "data"), 0)
    error = refused(region.sender, "q")
    region.close()
    unlink_as_told(str(error))
    good = works(dir=folder)
    other.close()
    return error, good


def damage(place: Path) -> type:
    poke(place / "admin", 3, 0)
    return shmq.RegionCorruptError


def change_version(place: Path) -> type:
    poke(place / "admin", 1, 7)
    return shmq.RegionVersionError


def remove_the_lock(place: Path) -> type:
    (place / "lock").unlink()
    return shmq.RegionGoneError


@pytest.mark.parametrize("spoil", [damage, change_version, remove_the_lock])
def test_a_remedy_names_the_directory_where_that_is_not_the_usual_one(
    shmq_dir: Path, spoil: Callable[[Path], type]
) -> None:
    folder = shmq_dir / "mine"
    small(persist=True, dir=folder, **SMALL).close()
    kind = spoil(folder / "r")
    with harmless():
        error = refused(Region.attach, "r", dir=folder)
    assert type(error) is kind
    assert f"dir='{folder}')" in str(error)
    unlink_as_told(str(error))
    assert works(dir=folder)
    folder.rmdir()


def test_a_remedy_for_lost_memory_names_the_directory_too(shmq_dir: Path, start: Callable[..., Any]) -> None:
    error, good = start(lose_in, str(shmq_dir / "mine")).result()
    assert type(error) is shmq.RegionGoneError
    assert f"shmq.unlink('r', missing_ok=True, dir='{shmq_dir}/mine')" in str(error)
    assert good
    (shmq_dir / "mine").rmdir()


# ---- slots and queues that are used up -------------------------------------------------------------------------


def test_process_slots_that_nobody_stands_in_yet(shmq_dir: Path) -> None:
    """Whoever attaches holds a slot's lock before the slot has his number."""
    small(persist=True, max_processes=1).close()
    with (shmq_dir / "r" / "lock").open("r+b") as lock:
        fcntl.fcntl(lock, fcntl.F_OFD_SETLK, struct.pack("hhqqi4x", fcntl.F_WRLCK, 0, 0, 1, 0))
        error = refused(Region.attach, "r")
        tells(
            error,
            shmq.RegistryFullError,
            ShmqError,
            fact="process slots of region 'r' are taken",
            value="(processes that come or go)",
            limit="all 1 process slots",
            remedy=("close some", "a larger max_processes"),
        )
    Region.attach("r").close()
    shmq.unlink("r")


def test_more_processes_than_a_text_names(start: Callable[..., Any]) -> None:
    with small(max_processes=20):
        other = Partner(start, stay, "other")
        other.hear()
        regions = [Region.attach("r") for _ in range(18)]
        text = str(refused(Region.attach, "r"))
        assert f"all 20 process slots of region 'r' are taken (pids {os.getpid()}, {other.pid}, and others)" in text
        other.say("go")
        other.result()
        assert len(regions[0].processes()) == 19


def test_queues_that_subscribers_take_up_and_messages_that_they_hold_after_closing() -> None:
    with small(max_queues=3) as region:
        publisher, first, second = region.publisher("t"), region.subscriber("t"), region.subscriber("t")
        region.sender("q")
        with harmless(region):
            error = refused(region.subscriber, "t")
        tells(
            error,
            shmq.RegistryFullError,
            ShmqError,
            fact="a subscriber of topic 't' finds no place",
            value="in use (the queues 'q'; 2 by subscribers of 't')",
            limit="all 3 queues of region 'r'",
            remedy=("delete some with delete_queue, close some subscribers", "a larger max_queues"),
        )
        publisher.send(b"held")
        message = first.receive(0)
        first.close()
        with harmless(region):
            error = refused(region.receiver, "another")
        tells(
            error,
            shmq.RegistryFullError,
            ShmqError,
            fact="queue 'another' finds no place",
            value="(the queues 'q'; 1 by subscribers of 't'; 1 by closed subscribers whose messages are still held)",
            limit="all 3 queues of region 'r'",
            remedy="release their messages",
        )
        message.release()
        assert talk(region, "another")
        assert drain(second) == [b"held"]


def test_many_names_are_not_all_listed() -> None:
    with small(max_queues=40, process="me") as region:
        for number in range(40):
            region.sender(f"queue-{number:02}")
        text = str(refused(region.sender, "another"))
        assert "'queue-07', …)" in text
        assert "queue-08" not in text
        others = [Region.attach("r", process=f"process-{number}") for number in range(8)]
        text = str(refused(region.peer, "nobody"))
        assert "'process-6', …)" in text
        assert "process-7" not in text
        for number in range(10):
            region.publisher(f"topic-{number}")
        text = str(refused(region.publisher, "one"))
        assert "'topic-7', …)" in text
        assert "topic-8" not in text
        assert len(others) == 8


def test_a_region_without_a_name_is_called_so_in_every_text() -> None:
    region = Region.create(None, MIB, max_queues=1, process="me")
    region.publisher("t")
    subscriber = region.subscriber("t")
    calls: list[tuple[Callable[[], Any], type, str]] = [
        (lambda: region.publisher("u"), shmq.RegistryFullError, "all 1 topics of the anonymous region"),
        (lambda: region.sender("q"), shmq.RegistryFullError, "all 1 queues of the anonymous region are in use"),
        (lambda: region.peer("you"), shmq.NoReceiver, "is attached to the anonymous region (there are 'me')"),
        (lambda: region.delete_queue("q"), ValueError, "the anonymous region has no queue 'q'"),
        (lambda: region.sender("q").loan(2 * MIB), shmq.RegistryFullError, "the anonymous region"),
        (lambda: region.publisher("t").loan(2 * MIB), ValueError, "the largest block of the anonymous region"),
        (lambda: Region.from_filenos(region.filenos(), process="me"), shmq.QueueInUseError, "in the anonymous region"),
    ]
    for call, kind, part in calls:
        error = refused(call)
        assert type(error) is kind
        assert part in str(error)
        assert "None" not in str(error)
    subscriber.close()
    region.close()
    error = refused(region.stats)
    assert str(error) == "the anonymous region has been closed: keep it open while its handles are used"


# ---- the program has closed a descriptor of the region's -------------------------------------------------------


def close_ours_of(path: str) -> None:
    """As daemons do that close all descriptors."""
    for fileno in map(int, os.listdir("/proc/self/fd")):
        with suppress(OSError):
            if os.readlink(f"/proc/self/fd/{fileno}") == path:
                os.close(fileno)


def make_a_queue_without_admin(how: str) -> tuple[Exception, bool, bool]:
    folder = Path(os.environ["SHMQ_DIR"], "own")
    region = shmq.open(None, **SMALL) if how == "anonymous" else shmq.open("r", dir=folder, **SMALL)
    region.sender("q")
    filenos = [os.dup(fileno) for fileno in region.filenos()] if how == "anonymous" else []
    if how == "anonymous":
        os.close(region.filenos()[0])
    else:
        close_ours_of(f"{folder}/r/admin")
    if how == "still there":
        return ShmqError(), talk(region), talk(region, "new")  # it is opened again
    if how == "unlinked":
        shmq.unlink("r", dir=folder)
    elif how == "directory gone":
        shutil.rmtree(folder)
    with harmless(region):
        error = refused(region.sender, "new")
    good = talk(region)
    region.close()
    if how == "anonymous":
        with Region.from_filenos(filenos) as anew:
            return error, good, talk(anew, "new")
    return error, good, works(dir=folder)


@pytest.mark.parametrize("how", ["still there", "unlinked", "directory gone", "anonymous"])
def test_a_descriptor_of_the_region_that_the_program_has_closed(
    shmq_dir: Path, start: Callable[..., Any], how: str
) -> None:
    error, good, anew = start(make_a_queue_without_admin, how).result()
    assert good
    assert anew
    if how != "still there":
        tells(
            error,
            shmq.RegionGoneError,
            ShmqError,
            fact="the program has closed the descriptor that",
            value="memfd:admin" if how == "anonymous" else f"{shmq_dir}/own/r/admin",
            limit="no name leads to it any more, so a new queue can get no memory",
            remedy="attach anew with Region.from_filenos" if how == "anonymous" else "close the region, open it anew",
        )
    if how != "anonymous":
        (shmq_dir / "own").rmdir()


# ---- words that were written over ------------------------------------------------------------------------------


def test_damage_to_a_region_without_a_name() -> None:
    region = Region.create(None, **SMALL)
    admin = Path(f"/proc/self/fd/{region.filenos()[0]}")
    header = words(admin)[:32]
    ended = (1 << 64) - 1
    for word, value, kind, parts in (
        (1, 7, shmq.RegionVersionError, ("layout is 0x7, this shmq has", "or create another one")),
        (3, 0, shmq.RegionCorruptError, ("granules is 0, the bound is 1:", "create another one")),
        (16, ended, shmq.RegionGoneError, ("the region is marked as ended, which no process does", "create another")),
    ):
        poke(admin, word, value)
        error = refused(Region.from_filenos, region.filenos())
        poke(admin, word, int(header[word]))
        assert type(error) is kind
        for part in ("memfd:", *parts):
            assert part in str(error)
    Region.from_filenos(region.filenos()).close()
    region.close()


def block_word(admin: Path, before: Any) -> int:
    """Where the block word lies that has become this process's (slot 0) since."""
    after = words(admin)
    for word in map(int, (before != after).nonzero()[0]):
        state, owner = int(after[word]) >> 32 & 7, int(after[word]) & 0xFFFF
        if state == 1 and owner == 0 and word % 16 == 0 and word not in QUEUES:
            return word
    raise AssertionError("no block has been lent")


def test_a_block_that_was_taken_away(shmq_dir: Path) -> None:
    admin = shmq_dir / "r" / "admin"
    region = shmq.open("r", **SMALL)
    subscriber = region.subscriber("t")
    for end, what in ((region.sender("q"), "queue 'q'"), (region.publisher("t"), "topic 't'")):
        before = words(admin)
        loan = end.loan(MIB // 4)  # too large for a cache
        word = block_word(admin, before)
        mine = int(words(admin)[word])
        poke(admin, word, mine ^ 1 << 60)
        error = refused(loan.send)
        tells(
            error,
            shmq.RegionCorruptError,
            ShmqError,
            fact=f"the block of this handle ({what}) was taken away",
            value=what,
            limit="taken away",
            remedy=("look for a process that writes astray", "make the region anew"),
        )
        poke(admin, word, mine)
        loan.discard()
    region.sender("q").send(bytes(MIB // 4), label=9)
    before = words(admin)
    message = region.receiver("q").receive(0)
    word = block_word(admin, before)
    mine = int(words(admin)[word])
    poke(admin, word, mine ^ 1 << 60)
    error = refused(message.edit)
    assert type(error) is shmq.RegionCorruptError
    for part in ("the block of the message (label 9) was taken away", "look for a process that writes astray", "anew"):
        assert part in str(error)
    poke(admin, word, mine)
    assert bytes(message) == bytes(MIB // 4)
    message.release()
    subscriber.close()
    region.close()


def test_a_claim_by_a_process_that_cannot_be(shmq_dir: Path) -> None:
    with shmq.open("r", **SMALL) as region:
        rx = region.receiver("q")
        admin = shmq_dir / "r" / "admin"
        claim = QUEUES.start + 4 * 32 + 26  # of the first queue, behind the inboxes
        poke(admin, claim, int(words(admin)[claim]) | 0xFFFF)  # by a process slot that there is none of
        error = refused(region.receiver, "q")
        tells(
            error,
            shmq.QueueInUseError,
            ShmqError,
            fact="queue 'q' is claimed by",
            value="another receiver",
            limit="claimed",
            remedy=("use another queue", "shared=True"),
        )
        rx.close()


def lose_the_header() -> Exception:
    region = shmq.open("r", **SMALL)
    poke(Path(os.environ["SHMQ_DIR"], "r", "admin"), 0, 0)
    error = refused(region.sender, "q")
    region.close()
    return error


def lose_pages_and_get_others() -> Exception:
    """The file is cut, somebody reads what is gone, the file grows again and is filled."""
    region = shmq.open("r", **SMALL)
    path = Path(os.environ["SHMQ_DIR"], "r", "data")
    loan = region.sender("q").loan(MIB)
    view = loan.array
    view[:] = 7
    os.truncate(path, 0)
    assert not view.any()
    with path.open("r+b") as file:
        os.posix_fallocate(file.fileno(), 0, MIB)
    error = refused(region.sender, "new")
    assert not view.any()
    del view
    loan.discard()
    region.close()
    return error


@pytest.mark.parametrize(
    ("lose", "file", "fact", "value", "limit"),
    [
        (lose_the_header, "admin", "it was written over", "begins with zeros", "expected 0x"),
        (lose_pages_and_get_others, "data", "and grew again", f"although it has {MIB} bytes", f"expected {MIB}"),
    ],
)
def test_memory_that_was_lost_in_other_ways(
    shmq_dir: Path,
    start: Callable[..., Any],
    lose: Callable[[], Exception],
    file: str,
    fact: str,
    value: str,
    limit: str,
) -> None:
    error = start(lose).result()
    tells(
        error,
        shmq.RegionGoneError,
        ShmqError,
        fact=(f"{shmq_dir}/r/{file} ", fact, "while region 'r' was in use"),
        value=value,
        limit=limit,
        remedy=("Close the region", "open it anew", "look who changes files there"),
    )
    unlink_as_told(str(error))
    assert works()


# ---- handles ---------------------------------------------------------------------------------------------------


def test_a_queue_that_is_as_deep_as_can_be_is_not_told_to_be_deeper() -> None:
    with small(size=40 * MIB) as region:
        tx = region.sender("q", depth=65536)
        assert tx.send_many([b""] * 65536) == 65536
        error = refused(tx.send, b"x", timeout=0)
        text = (
            "queue 'q' holds its 65536 messages, and no receiver is attached: start a receiver, wait longer (timeout)"
        )
        assert str(error) == text
        region.delete_queue("q")


def test_an_inbox_that_is_full_is_not_told_to_be_deeper() -> None:
    with small(process="me") as region:
        tx = region.peer("me")
        assert tx.send_many([b""] * 1024) == 1024
        with harmless(region):
            error = refused(tx.send, b"x", timeout=0)
        assert str(error) == "inbox 'me' holds its 1024 messages: receive faster, wait longer (timeout)"
        region.inbox.receive(0).release()
        assert tx.send(b"x", timeout=0) is True
        drain(region.inbox)


def hold_until_killed(link: Connection) -> None:
    region = Region.attach("r")
    message = region.receiver("q").receive(20)
    link.send(len(message))
    link.recv()


def test_messages_of_dead_receivers_are_among_what_takes_up_the_memory(start: Callable[..., Any]) -> None:
    with small() as region:
        region.sender("q").send(bytes(MIB // 2))
        holder = Partner(start, hold_until_killed)
        assert holder.hear() == MIB // 2
        holder.kill()
        region.recover()
        tx = region.sender("other")
        with harmless(region):
            error = refused(tx.loan, MIB, timeout=0)
        tells(
            error,
            shmq.OutOfBlocks,
            MemoryError,
            fact=f"{MIB} bytes asked; {MIB // 2} of {MIB} bytes of region 'r' are free; the rest is held by:",
            value=f"{MIB} bytes",
            limit="dead receivers: 1 messages, to be redelivered",
            remedy="receive and release messages",
        )
        with region.receiver("q").receive(0) as message:
            assert message.redelivered
        tx.loan(MIB, timeout=0).discard()


def test_a_region_that_is_free_in_pieces() -> None:
    with small() as region:
        loans = [region.sender("q").loan(MIB // 4) for _ in range(4)]
        loans[0].discard()
        loans[2].discard()
        text = str(refused(region.sender("q").loan, MIB // 2, timeout=0))
        half = f"{MIB // 2} bytes asked; {MIB // 2} of {MIB} bytes of region 'r' are free"
        assert text.startswith(f"{half}, but not in one block of that size; the rest is held by:")
        loans[1].discard()
        region.sender("q").loan(MIB // 2, timeout=0).discard()


def test_a_queue_that_was_deleted() -> None:
    with small() as region:
        tx, rx = region.sender("q"), region.receiver("q")
        loan = tx.loan(4)
        region.delete_queue("q")
        for call in (lambda: tx.send(b"x"), loan.send, rx.receive, tx.shutdown):
            with harmless(region):
                error = refused(call)
            tells(
                error,
                shmq.QueueClosedError,
                ShmqError,
                fact="was deleted while this handle was open",
                value="queue 'q'",
                limit="deleted",
                remedy="open it again",
            )
        loan.discard()
        assert talk(region)
        error = refused(region.delete_queue, "none")
        tells(
            error,
            ValueError,
            ValueError,
            fact="region 'r' has no queue",
            value="'none'",
            limit="region 'r'",
            remedy="region.stats()['queues'] tells which there are",
        )
        assert list(region.stats()["queues"]) == ["q"]


@pytest.mark.parametrize("index", [12, 100, -13, -100])
def test_an_index_that_is_out_of_range_is_told_as_it_was_given(index: int) -> None:
    with small() as region:
        tx, rx = region.sender("q"), region.receiver("q")
        loan = tx.loan(12)
        errors = [refused(lambda: loan[index])]
        loan.send()
        with rx.receive(0) as message:
            errors.append(refused(lambda: message[index]))
        for error in errors:
            assert type(error) is IndexError
            assert str(error) == f"index {index} is out of range for a payload of 12 bytes: give -12 to 11"
        tx.send(b"")
        with rx.receive(0) as empty:
            text = f"index {index} is out of range for a payload of 0 bytes: it has none to give"
            assert str(refused(lambda: empty[index])) == text


def test_elements_that_the_buffer_protocol_has_no_format_for() -> None:
    with small() as region:
        region.sender("q").send(np.array([b"ab", b"cd"]))
        with region.receiver("q").receive(0) as message:
            error = refused(lambda: message.memoryview)
            assert type(error) is BufferError
            text = "elements of kind 'S' and 2 bytes have no format in the buffer protocol: use .array, or bytes()"
            assert str(error) == text
            assert message.array.tolist() == [b"ab", b"cd"]
            assert bytes(message) == b"abcd"


def test_who_only_receives_is_told_how_to_write() -> None:
    with small(), Region.attach("r", access="receive") as region:
        with harmless(region):
            error = refused(region.sender, "q")
        tells(
            error,
            shmq.RegionPermissionError,
            PermissionError,
            fact="where the kernel lets this process write no message",
            value="region 'r'",
            limit='open with access="receive"',
            remedy='open it with access="both"',
        )
        with shmq.open("r", access="both") as writer:
            assert talk(writer)
    with Region.create(None, MIB) as region, Region.from_filenos(region.filenos("receive")) as receiver:
        with harmless(receiver):
            error = refused(receiver.publisher, "t")
        tells(
            error,
            shmq.RegionPermissionError,
            PermissionError,
            fact="where the kernel lets this process write no message",
            value="the anonymous region",
            limit='open with access="receive"',
            remedy="ask its creator for descriptors that may write (filenos without access, no sole_writer)",
        )
        with Region.from_filenos(region.filenos()) as writer:
            assert talk(writer)


def misuse(region: Region) -> list[tuple[Callable[[], Any], type, str]]:
    """Calls that the standard library has no special class for, and all that their texts say."""
    tx = region.sender("q")
    loan = tx.loan(8)
    copies = "use this one, or open another"
    numbers_only = "cannot be sent: they must be numbers or booleans of fixed width; send anything else as bytes"
    return [
        (lambda: tx.loan((2, -1), "u1"), ValueError, "extent -1 of shape (2, -1): give numbers from 0 to 2**32 - 1"),
        (
            lambda: tx.loan((1 << 32,), "u1"),
            ValueError,
            "extent 4294967296 of shape (4294967296,): give numbers from 0 to 2**32 - 1",
        ),
        (
            lambda: tx.send(memoryview(bytes(8)).cast("P")),
            ValueError,
            f"elements of format 'P' {numbers_only}",
        ),
        (
            lambda: tx.loan(1, "O"),
            ValueError,
            "dtype object cannot be sent: elements must be numbers, booleans or strings of fixed width; send anything "
            "else as bytes",
        ),
        (
            lambda: loan.__setitem__(slice(0, 4), b"123456"),
            ValueError,
            "cannot put 6 bytes into a slice of 4: give as many as it has, in steps of 1",
        ),
        (
            lambda: loan.__setitem__(slice(0, 8, 2), b"1234"),
            ValueError,
            "cannot put 4 bytes into a slice of 4: give as many as it has, in steps of 1",
        ),
        (lambda: loan.__setitem__(0, 256), ValueError, "byte is 256: give a whole number from 0 to 255"),
        (lambda: loan.__setitem__(0, -1), ValueError, "byte is -1: give a whole number from 0 to 255"),
        (lambda: copy.copy(region), TypeError, f"cannot copy {region!r}: {copies}"),
        (lambda: copy.deepcopy(tx), TypeError, f"cannot copy {tx!r}: {copies}"),
        (lambda: shmq.open(5), TypeError, "region name is 5, a int: give a str"),  # type: ignore[arg-type]
        (lambda: shmq.open("s", process=b"p"), TypeError, "process name is b'p', a bytes: give a str"),  # type: ignore[arg-type]
        (Region, TypeError, "use shmq.open, Region.create or Region.attach"),
        (shmq.Sender, TypeError, "senders and receivers come from a Region"),
        (shmq.Loan, TypeError, "loans come from Sender.loan, Publisher.loan or Message.edit"),
        (shmq.Message, TypeError, "messages come from Receiver.receive"),
        (
            lambda: shmq.open(None, sole_writer=True, access="receive"),
            ValueError,
            'sole_writer with access="receive": then nobody could write a message; leave one of them out',
        ),
        (
            lambda: shmq.open("s", sole_writer=True),
            ValueError,
            "sole_writer with name 's': only an anonymous region (name None) can be sealed",
        ),
        (
            lambda: shmq.open("s", access="send"),  # type: ignore[arg-type]
            ValueError,
            'access is \'send\': give "both", or "receive" to be unable to write messages',
        ),
        (
            lambda: shmq.open("s", mode=0o660),
            ValueError,
            "mode is 0o660 without dir=: this user's own directory keeps the group out; name another",
        ),
        (
            lambda: Region.from_filenos([1, 2]),
            ValueError,
            "filenos is (1, 2): give the three numbers that Region.filenos returned or that were received",
        ),
        (region.filenos, ValueError, "region 'r' is not anonymous: attach to it by its name"),
        (
            lambda: region.peer(region.process).shutdown(),
            ValueError,
            f"'pid-{os.getpid()}' is the inbox of a process: only that process can end it, by closing the region",
        ),
        (
            lambda: pickle.dumps(region.inbox),
            TypeError,
            f"cannot pickle the inbox of process 'pid-{os.getpid()}': another process has its own, and sends to this "
            "one through region.peer",
        ),
    ]


def test_misuse_is_told_with_what_was_given_and_what_to_give() -> None:
    with small() as region:
        for call, kind, text in misuse(region):
            with harmless(region):
                error = refused(call)
            assert type(error) is kind
            assert str(error) == text
