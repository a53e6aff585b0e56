# SPDX-License-Identifier: MIT
"""What several tests share: hearing from other processes, waiting for facts, breaking files. Nothing here sleeps for luck."""

import multiprocessing
import os
import signal
import threading
import time
from collections.abc import Callable
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import pytest

import shmq

TIMEOUT = 20.0
AT_ONCE = 1.0  # seconds within which something that happens "at once" must be seen, on a busy machine

BAD_TIMEOUTS = [-1, -0.001, float("nan"), float("-inf")]
BAD_LABELS = [-1, 1 << 32, 1 << 64, -(1 << 70)]

as_root = pytest.mark.skipif(os.geteuid() != 0, reason="needs root, to make files of another user")


def pipe() -> tuple[Connection, Connection]:
    """Two ends to talk through with a process that `start` starts: keep one, pass the other."""
    return multiprocessing.get_context("spawn").Pipe()


def hear(link: Connection, timeout: float = TIMEOUT) -> Any:
    """The next word of the other process; none in time fails the test."""
    assert link.poll(timeout), f"no word within {timeout} s"
    return link.recv()


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
