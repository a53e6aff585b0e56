# SPDX-License-Identifier: MIT
"""Shared memory is damaged while processes use it: every error is one of shmq's, nobody crashes or hangs."""

import mmap
import os
import random
import resource
import struct
import threading
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from helpers import Thread, small

import shmq
from shmq import Region, ShmqError

WORKERS = 3
OPERATIONS = 800  # of each worker
BOUT = 48  # words damaged until what was there is put back: else there would be nothing left to work in
RESIDENT_MOST = 600 << 20
SOON = 0.004
PATIENCE = 240  # seconds on the clock: where much else runs, little is done in many of them

SMALL = {"granule": 16384, "max_processes": 8, "max_queues": 8}


# ---- who writes astray -----------------------------------------------------------------------------------------


class Harm:
    """The files of a region, written by somebody who is not attached to it."""

    def __init__(self, region: Path, seed: int) -> None:
        self._region = region
        self._random = random.Random(seed)
        self._maps: list[mmap.mmap] = []
        self._file = 0
        self._sound = np.empty(0, dtype=np.uint64)
        self.follow()
        self.done = 0

    def follow(self) -> None:
        """Who reads in a damaged word that the region has ended removes it, and the next to come makes a new one."""
        path = self._region / "admin"
        with suppress(FileNotFoundError):  # there is none at the moment
            if path.stat().st_ino != self._file:
                self.end()
                self._begin(path)

    def _begin(self, path: Path) -> None:
        admin, data = self._map(path), self._map(self._region / "data")
        with open(path, "rb") as file:
            self._file = os.fstat(file.fileno()).st_ino
            tables = os.lseek(file.fileno(), 0, os.SEEK_HOLE) // 8
        self._places = [tables, tables, tables, *self._rings(admin, tables)]
        self._admin, self._data, self._sound = admin, data, admin[:tables].copy()

    def _map(self, path: Path) -> Any:
        with open(path, "r+b") as file:
            self._maps.append(mmap.mmap(file.fileno(), 0))
        return np.frombuffer(self._maps[-1], dtype=np.uint64)

    @staticmethod
    def _rings(admin: Any, tables: int) -> list[int]:
        """Where slots begin: each queue has room for 65,536 behind the tables."""
        return [first for first in range(tables, len(admin), 65536) if admin[first]]

    def _value(self, old: int) -> int:
        pick = self._random
        boundary = [0, 1, (1 << 64) - 1, 1 << pick.randrange(64), (1 << pick.randrange(64)) - 1, 64, 65]
        return pick.choice(
            [
                pick.getrandbits(64),
                pick.choice(boundary),
                old ^ 1 << pick.randrange(64),
                old + pick.choice([-1, 1]),
                old & ~(0xFFFF << 16) | pick.choice(boundary) << 16,
                int(self._sound[pick.randrange(len(self._sound))]) + pick.choice([-1, 0, 1]),
            ]
        ) & ((1 << 64) - 1)

    def strike(self) -> None:
        """Damage a word of the tables, of a ring or, seldom, of the payload; two words now and then change places."""
        if self._file == 0:
            return
        words, first, count = self._admin, 0, self._random.choice(self._places)
        if count > len(self._sound):
            first, count = count, 64
        if self._random.randrange(20) == 0:
            words, first, count = self._data, 0, 8192
        at, other = (first + self._random.randrange(count) for _ in range(2))
        if self._random.randrange(10) == 0:
            words[at], words[other] = int(words[other]), int(words[at])
        else:
            words[at] = self._value(int(words[at]))
        self.done += 1

    def mend(self) -> None:
        """Put the tables back as they were: the workers find old words, which is damage, too."""
        self._admin[: len(self._sound)] = self._sound

    def end(self) -> None:
        """Let go of the files."""
        self._file = 0
        self._admin = self._data = self._sound  # a copy, for nobody
        while self._maps:
            self._maps.pop().close()


@contextmanager
def harm(region: Path, seed: int) -> Iterator[Harm]:
    """Damage to come."""
    harm = Harm(region, seed)
    try:
        yield harm
    finally:
        harm.end()


# ---- who works -------------------------------------------------------------------------------------------------


class Worker:
    """Does all that there is to do in a region, in any order; errors of shmq are counted, others escape."""

    def __init__(self, seed: int) -> None:
        self._random = random.Random(seed)
        self.seen: Counter[str] = Counter()
        self._region: Region | None = None
        self._held: list[Any] = []

    def run(self, operations: int) -> dict[str, int]:
        """That many operations. How often each kind of error was met."""
        for _ in range(operations):
            act = self._random.choice(self.ACTS)
            try:
                act(self)
                self.seen["ok"] += 1
            except ShmqError as error:
                self.seen[type(error).__name__ if str(error) else "an error that says nothing"] += 1
        self._leave()
        size = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
        assert size < RESIDENT_MOST, f"{size} bytes of memory"
        return dict(self.seen)

    @property
    def region(self) -> Region:
        """Attached now."""
        if self._region is None or self._region.closed:
            self._region = shmq.open("r")
        return self._region

    def _leave(self) -> None:
        self._held.clear()
        if self._region is not None:
            self._region.close()
        self._region = None

    def _sender(self) -> Any:
        return self.region.sender(self._random.choice(["jobs", "drops"]))

    def _receive(self, receiver: Any) -> None:
        message = receiver.receive(timeout=SOON)
        self._held.append(message)
        del self._held[:-3]
        facts = (message.label, message.seq, message.sender, message.redelivered, message.nbytes, message.offset)
        assert len(facts) == 6
        assert len(bytes(message)) == len(message) == message.nbytes <= self.region.size
        what = self._random.randrange(5)
        if what == 0:
            assert message.array.nbytes == message.nbytes
        elif what == 1:
            message.forward(self._sender(), timeout=0)
        elif what == 2:
            message.edit(self._sender(), timeout=0).send(timeout=0)
        elif what == 3:
            message.release()

    def send(self) -> None:
        """Bytes, an array, or a loan."""
        what = self._random.randrange(3)
        if what == 0:
            self._sender().send(b"x" * self._random.choice([0, 5, 20000]), timeout=SOON)
        elif what == 1:
            self._sender().send(np.arange(12.0).reshape(3, 4), timeout=SOON)
        else:
            with self._sender().loan(100, timeout=0) as loan:
                loan[:] = b"y" * 100

    def receive(self) -> None:
        """From a queue that all share."""
        self._receive(self.region.receiver("jobs", shared=True))

    def receive_dropping(self) -> None:
        """From one that drops its oldest."""
        self._receive(self.region.receiver("drops", shared=True, depth=3, overflow="drop_oldest"))

    def receive_alone(self) -> None:
        """From one that somebody else may have claimed."""
        with self.region.receiver("own") as receiver:
            self._receive(receiver)

    def publish(self) -> None:
        """To whoever subscribes."""
        publisher = self.region.publisher("frames")
        publisher.send(b"frame", timeout=SOON)
        assert publisher.subscribers <= 120

    def subscribe(self) -> None:
        """And hear oneself."""
        policy = self._random.choice(["block", "drop_oldest", "drop_newest"])
        with self.region.subscriber("frames", depth=2, overflow=policy) as receiver:
            self.region.publisher("frames").send(b"frame", timeout=SOON)
            self._receive(receiver)
            assert receiver.dropped >= 0

    def address(self) -> None:
        """Other processes by their names."""
        for info in self.region.processes():
            if shmq_name(info.name):
                self.region.peer(info.name).send(b"hello", timeout=0)
        self._receive(self.region.inbox)

    def delete(self) -> None:
        """A queue, which may be there."""
        with suppress(ValueError):  # as documented: there is none
            self.region.delete_queue(self._random.choice(["own", "fresh"]))
        self.region.sender("fresh").send(b"fresh", timeout=0)

    def shut(self) -> None:
        """A queue and a topic, down."""
        self.region.sender("fresh").shutdown()
        self.region.publisher("frames").shutdown()

    def look(self) -> None:
        """At everything."""
        stats = self.region.stats()
        assert len(stats["queues"]) <= 8
        assert repr(self.region)
        assert len(self.region.process) <= 100
        self.region.recover()
        shmq.list_regions()

    def come_again(self) -> None:
        """Leave, and attach anew; now and then only to receive."""
        self._leave()
        self._region = shmq.open("r", access=self._random.choice(["both", "both", "receive"]))

    ACTS = (send, send, receive, receive, receive_dropping, receive_alone, publish, subscribe, address, delete, shut)
    ACTS += (look, come_again)


def shmq_name(name: str) -> bool:
    """Can a process have this name? Others cannot be asked for."""
    return 0 < len(name) <= 100 and all(one.isascii() and (one.isalnum() or one in "._-") for one in name)


def work(seed: int, operations: int) -> dict[str, int]:
    """In a process of its own."""
    return Worker(seed).run(operations)


def work_in_a_child(seed: int, operations: int) -> dict[str, int]:
    """In a child that is forked while its parent is attached and holds messages, and then in the parent."""
    worker = Worker(seed)
    for _ in range(20):
        with suppress(ShmqError):
            worker.receive()
    child = os.fork()
    if child == 0:
        status = 1
        try:
            worker.run(operations)
            status = 0
        finally:
            os._exit(status)
    status = os.waitpid(child, 0)[1]
    assert status == 0, f"the child ended with status {status:#x}"
    return worker.run(operations)


def strike_until(told: threading.Event, harm: Harm) -> None:
    """Damage and mend, as fast as can be, whatever region has the name."""
    while not told.is_set():
        for _ in range(BOUT):
            harm.strike()
        harm.mend()
        harm.follow()


@pytest.mark.timeout(PATIENCE + 60)
@pytest.mark.parametrize("seed", [1, 2])
def test_whatever_is_written_while_processes_work_every_error_is_one_of_shmqs(
    shmq_dir: Path, start: Callable[..., Any], seed: int
) -> None:
    told = threading.Event()
    with small(persist=True, **SMALL) as region:
        region.receiver("jobs", shared=True)
        region.sender("jobs").send(np.arange(3))
        with harm(shmq_dir / "r", seed) as hurt:
            writer = Thread(strike_until, told, hurt)
            try:
                workers = [start(work, seed * 100 + number, OPERATIONS) for number in range(WORKERS)]
                workers.append(start(work_in_a_child, seed * 100 + WORKERS, OPERATIONS // 2))
                results = [worker.result(PATIENCE) for worker in workers]
            finally:
                told.set()
                writer.result()
            assert hurt.done > 1000
    shmq.unlink("r", missing_ok=True)  # who read of its end has removed it
    assert all(sum(result.values()) for result in results)
    kinds = {name for result in results for name in result}
    assert "an error that says nothing" not in kinds
    assert {"ok", "RegionCorruptError"} < kinds, "nothing was ever wrong"


def stumble(seed: int, operations: int) -> dict[str, int]:
    """As if an error that is none of shmq's escaped."""
    worker = Worker(seed)
    worker.ACTS = (lambda worker: np.dtype("|S-1"),)
    return worker.run(operations)


def test_an_error_that_is_none_of_shmqs_would_be_seen(start: Callable[..., Any]) -> None:
    with pytest.raises(AssertionError, match=r"TypeError: data type '.S-1' not understood"):
        start(stumble, 1, 1).result()


# ---- one word at a time ----------------------------------------------------------------------------------------


TYPE = ord("S") | 2 << 8 | ord("|") << 16 | 8 << 32  # of a two-dimensional array of eight bytes an element


@contextmanager
def an_empty_array_whose_envelope_says(folder: Path, type_word: int, *shape: int) -> Iterator[shmq.Message]:
    """Received from somebody who writes astray."""
    with small(**SMALL) as region:
        receiver = region.receiver("q")
        region.sender("q").send(np.zeros((0, 2), dtype="S8"))
        with open(folder / "r" / "admin", "r+b") as file, mmap.mmap(file.fileno(), 0) as words:
            at = words.find(TYPE.to_bytes(8, "little"))
            words[at : at + 32] = struct.pack("<Q6I", type_word, *shape, *[0] * (6 - len(shape)))
        with receiver.receive(timeout=0) as message:
            yield message


@pytest.mark.parametrize("size", [0, 1 << 31, (1 << 32) - 4, (1 << 32) - 1])
@pytest.mark.parametrize("kind", "SUfV")
def test_an_element_that_no_array_has_is_corrupt(shmq_dir: Path, kind: str, size: int) -> None:
    word = ord(kind) | 2 << 8 | ord("<") << 16 | size << 32
    with an_empty_array_whose_envelope_says(shmq_dir, word, 0, 2) as message:
        for look in (lambda: message.array, lambda: message.dtype, lambda: message.shape, message.copy):
            with pytest.raises(shmq.RegionCorruptError):
                look()
        assert bytes(message) == b""


def test_a_shape_that_no_array_has_is_corrupt_though_one_extent_is_0(shmq_dir: Path) -> None:
    huge = (1 << 32) - 1
    word = TYPE & ~(0xFF << 8) | 6 << 8
    with an_empty_array_whose_envelope_says(shmq_dir, word, 0, huge, huge, huge, huge, huge) as message:
        with pytest.raises(shmq.RegionCorruptError):
            assert message.array
        assert bytes(message) == b""
