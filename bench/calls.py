# SPDX-License-Identifier: MIT
"""How many system calls a command makes, with all that it starts.

The kernel's own counter tells, where this user may read it (root, with tracefs mounted at /sys/kernel/tracing): it
costs the command nothing. `strace` stops a process at every call. Of two processes that wait for each other the second
then waits longer, and calls in its turn: so a count by strace is an upper bound.
"""

import ctypes
import os
import platform
import re
import shutil
import struct
import subprocess
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path

EVENT = Path("/sys/kernel/tracing/events/raw_syscalls/sys_enter/id")
PERF_EVENT_OPEN = {"x86_64": 298, "aarch64": 241}
TRACEPOINT, INHERIT, ATTRIBUTE_BYTES = 2, 1 << 1, 112  # PERF_TYPE_TRACEPOINT; struct perf_event_attr


def how() -> str:
    """What counts: "perf", "strace", or "" where neither can."""
    try:
        os.close(_counter())
        return "perf"
    except (OSError, KeyError):
        return "strace" if shutil.which("strace") else ""


def count(command: Sequence[str], cwd: Path, environment: Mapping[str, str]) -> int:
    """The system calls of a command and of the processes that it starts and waits for."""
    return _by_strace(command, cwd, environment) if how() == "strace" else _by_perf(command, cwd, environment)


def _counter() -> int:
    """A descriptor that counts for this thread, and for what it starts from now on."""
    settings = struct.pack("IIQQQQQ", TRACEPOINT, ATTRIBUTE_BYTES, int(EVENT.read_text()), 0, 0, 0, INHERIT)
    attribute = ctypes.create_string_buffer(settings, ATTRIBUTE_BYTES)
    libc = ctypes.CDLL(None, use_errno=True)
    descriptor: int = libc.syscall(PERF_EVENT_OPEN[platform.machine()], attribute, 0, -1, -1, 0)
    if descriptor < 0:
        raise OSError(ctypes.get_errno(), "perf_event_open")
    return descriptor


def _by_perf(command: Sequence[str], cwd: Path, environment: Mapping[str, str]) -> int:
    descriptor = _counter()
    try:
        subprocess.run(command, check=True, cwd=cwd, env=environment)
        return int(struct.unpack("Q", os.read(descriptor, 8))[0])  # those of this process are the same each time
    finally:
        os.close(descriptor)


def _by_strace(command: Sequence[str], cwd: Path, environment: Mapping[str, str]) -> int:
    with tempfile.NamedTemporaryFile("r", suffix=".strace") as summary:
        traced = ["strace", "-f", "-c", "-U", "calls,name", "-o", summary.name, *command]
        subprocess.run(traced, check=True, cwd=cwd, env=environment)
        return sum(int(line.split()[0]) for line in summary if re.match(r"\s*\d+\s+(?!total)\w+", line))
