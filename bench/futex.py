# SPDX-License-Identifier: MIT
"""A round trip of bare futexes: what two processes that sleep for each other can reach at best."""

import ctypes
import platform
import time
from multiprocessing.shared_memory import SharedMemory

from pair import End

NUMBER = {"x86_64": 202, "aarch64": 98}[platform.machine()]
WAIT, WAKE = 0, 1
THERE, BACK = 0, 64  # bytes: a cache line each


class Words:
    """Two words in shared memory that two processes wake each other by."""

    def __init__(self, name: str | None = None) -> None:
        self._memory = SharedMemory(name, create=name is None, size=4096)
        self._made = name is None
        self.name = self._memory.name
        self.there = ctypes.c_uint32.from_buffer(self._memory.buf, THERE)
        self.back = ctypes.c_uint32.from_buffer(self._memory.buf, BACK)

    def close(self) -> None:
        """Give the memory up; the maker removes it."""
        del self.there, self.back
        self._memory.close()
        if self._made:
            self._memory.unlink()


_syscall = ctypes.CDLL(None, use_errno=True).syscall


def _set_and_wake(word: ctypes.c_uint32, value: int) -> None:
    word.value = value
    _syscall(NUMBER, ctypes.byref(word), WAKE, 1, None, None, 0)


def _wait_for(word: ctypes.c_uint32, value: int) -> None:
    while word.value != value:
        _syscall(NUMBER, ctypes.byref(word), WAIT, (value - 1) & 0xFFFFFFFF, None, None, 0)


def ping_futex(end: End, name: str, rounds: int) -> list[int]:
    """The nanoseconds of each round trip."""
    words = Words(name)
    times = []
    for number in range(1, rounds + 1):
        start = time.perf_counter_ns()
        _set_and_wake(words.there, number)
        _wait_for(words.back, number)
        times.append(time.perf_counter_ns() - start)
    words.close()
    return times


def pong_futex(end: End, name: str, rounds: int) -> None:
    words = Words(name)
    for number in range(1, rounds + 1):
        _wait_for(words.there, number)
        _set_and_wake(words.back, number)
    words.close()
