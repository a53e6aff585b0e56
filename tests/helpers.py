# SPDX-License-Identifier: MIT
"""What several tests share: talking with other processes, and waiting for facts, never for a time."""

import gc
import multiprocessing
import os
import signal
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import shmq

gc.collect()
gc.freeze()  # what is loaded by now stays; so every test can collect its own garbage quickly

TIMEOUT = 20.0
AT_ONCE = 1.0  # seconds within which something that happens "at once" must be seen, on a busy machine

BAD_TIMEOUTS = [-1, -0.001, float("nan"), float("-inf")]
BAD_LABELS = [-1, 1 << 32, 1 << 64, -(1 << 70)]

as_root = pytest.mark.skipif(os.geteuid() != 0, reason="needs root, to make files of another user")


class Partner:
    """A process that runs a function of a test module and talks: the function gets a connection, then the arguments."""

    def __init__(self, start: Callable[..., Any], function: Callable[..., Any], *arguments: Any) -> None:
        self._link, theirs = multiprocessing.get_context("spawn").Pipe()
        self._child = start(function, theirs, *arguments)
        theirs.close()  # so that its death is heard
        self.pid: int = self._child.pid

    def hear(self, timeout: float = TIMEOUT) -> Any:
        """Its next word. None in time, its death, or an exception in it fails the test."""
        assert self._link.poll(timeout), f"no word within {timeout} s"
        try:
            return self._link.recv()
        except (EOFError, ConnectionResetError):
            raise AssertionError(f"it ended without a word, with the result {self.result()!r}") from None

    def say(self, word: Any) -> None:
        """Send it a word."""
        self._link.send(word)

    def result(self) -> Any:
        """What the function returned; what it raised fails the test."""
        return self._child.result(TIMEOUT)

    def kill(self) -> None:
        """SIGKILL, and wait until it is gone."""
        self._child.kill()


def until(fact: Callable[[], Any], timeout: float = TIMEOUT) -> Any:
    """Look until `fact()` is true, and return it; fails the test when the time is over."""
    end = time.monotonic() + timeout
    while not (found := fact()):
        assert time.monotonic() < end, f"not so within {timeout} s"
        time.sleep(0.0005)
    return found


def is_asleep(pid: int, thread: int | None = None) -> bool:
    """Does a thread (else the main one) of the process sleep in the kernel?"""
    stat = Path(f"/proc/{pid}/task/{thread or pid}/stat").read_text()
    return stat.rpartition(")")[2].split()[0] == "S"


def interrupt(pid: int) -> float:
    """SIGINT to a process once its main thread sleeps; the clock's reading at that moment."""
    until(lambda: is_asleep(pid))
    os.kill(pid, signal.SIGINT)
    return time.monotonic()


class Thread(threading.Thread):
    """A thread whose result, or exception, is handed back."""

    def __init__(self, function: Callable[..., Any], *arguments: Any) -> None:
        super().__init__(daemon=True)
        self._work = function, arguments
        self._result: Any = None
        self._error: BaseException | None = None
        self.start()

    def run(self) -> None:
        function, arguments = self._work
        try:
            self._result = function(*arguments)
        except BaseException as error:
            self._error = error

    def is_asleep(self) -> bool:
        """Does it sleep in the kernel?"""
        return self.native_id is not None and is_asleep(os.getpid(), self.native_id)

    def is_running(self) -> bool:
        """Does it run, or could it? Not one that waits for the interpreter's lock."""
        try:
            return self.native_id is not None and not is_asleep(os.getpid(), self.native_id)
        except (FileNotFoundError, ProcessLookupError):
            return False  # it has ended

    def result(self, timeout: float = TIMEOUT) -> Any:
        """What the function returned; what it raised is raised here."""
        self.join(timeout)
        assert not self.is_alive(), f"the thread still runs after {timeout} s"
        if self._error is not None:
            raise self._error
        return self._result


def small(name: str = "r", **options: Any) -> shmq.Region:
    """A small region, made or attached to."""
    return shmq.open(name, **{"size": "1MiB", **options})


def held(region: shmq.Region) -> tuple[int, int]:
    """Loans and messages that this process holds."""
    for info in region.processes():
        if info.pid == os.getpid():
            return info.loans, info.held
    raise AssertionError("this process is not attached")


def drain(receiver: shmq.Receiver) -> list[bytes]:
    """Receive and release all that is queued."""
    found = []
    while receiver.qsize():
        with receiver.receive_nowait() as message:
            found.append(bytes(message))
    return found


def talk(region: shmq.Region, queue: str = "q") -> bool:
    """Does a message go from here to here?"""
    region.sender(queue).send(b"x" * 5000)
    return drain(region.receiver(queue, shared=True)) == [b"x" * 5000]


def all_free(region: shmq.Region) -> bool:
    """Is every block back? One as large as the region can only be lent when all have merged again."""
    region.publisher("whole").loan(region.size, timeout=0).discard()
    return held(region) == (0, 0)
