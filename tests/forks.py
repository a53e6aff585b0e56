# SPDX-License-Identifier: MIT
"""Forked children, for tests."""

import os
import signal
import sys
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import Any

from helpers import until

from shmq import Region

TIMEOUT = 20


def fork(function: Callable[..., Any], *arguments: Any, how: Callable[[], int] = os.fork) -> int:
    """Run a function in a forked child, which ends by os._exit. Returns the child's number."""
    sys.stdout.flush()
    sys.stderr.flush()
    pid = how()
    if pid == 0:
        status = 1
        try:
            signal.signal(signal.SIGALRM, signal.SIG_DFL)
            signal.alarm(TIMEOUT)
            function(*arguments)
            status = 0
        except BaseException:
            traceback.print_exc()
            sys.stderr.flush()
        finally:
            os._exit(status)
    return pid


def reap(pid: int) -> None:
    """Wait for a child's end; a failure in it fails the test."""
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0


def in_child(function: Callable[..., Any], *arguments: Any, how: Callable[[], int] = os.fork) -> None:
    """Run a function in a forked child; what it raises fails the test."""
    reap(fork(function, *arguments, how=how))


def mapped(path: str) -> int:
    """How many mappings this process has of files whose name contains `path`."""
    return sum(path in line for line in Path("/proc/self/maps").read_text().splitlines())


def ended(pid: int) -> bool:
    """Has the process ended, reaped or not?"""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] in "ZX"
    except (FileNotFoundError, ProcessLookupError):
        return True


def kill(pid: int) -> None:
    """SIGKILL, and wait for the end; not for the ends of pipes that its children have, too."""
    os.kill(pid, signal.SIGKILL)
    until(lambda: ended(pid))


def pids(region: Region) -> list[int]:
    return [info.pid for info in region.processes()]
