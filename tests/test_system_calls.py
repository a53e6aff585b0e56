# SPDX-License-Identifier: MIT
"""Every system call of the core goes through SHMQ_SYSTEM, where tests/c/test_faults.c makes it fail."""

from __future__ import annotations

import pathlib
import re

import pytest

HEADERS = sorted(pathlib.Path(__file__).parent.parent.glob("include/shmq/*.h"))

# What enters the kernel and may be refused, and memory. Not here: clock_gettime, sysconf, getpid and their like, which
# do not fail; pthread_sigmask and pthread_mutex_lock, which fail only for a caller's mistake.
CALL = re.compile(
    r"""(?<![\w.>])(
    open|openat|close|opendir|fdopendir|closedir|readdir|read|pread|write|pwrite|readlink|readlinkat|fopen|scandir
    |stat|fstat|lstat|fstatat|statfs|fstatfs|statvfs|fstatvfs|chmod|fchmod|fchmodat|chown|fchown|fchownat
    |mkdir|mkdirat|rmdir|unlink|unlinkat|rename|renameat|link|linkat|symlink|symlinkat|ftruncate|truncate|fallocate
    |mmap|munmap|mprotect|mremap|madvise|msync|mlock|mincore|fcntl|flock|ioctl|dup|dup2|dup3|pipe|pipe2
    |fork|vfork|execve|kill|raise|abort|sigaction|signal|sigaltstack|sigprocmask|prctl|getgroups|getrlimit|setrlimit
    |getrandom|nanosleep|usleep|sleep|poll|select|sched_yield|syscall|socket|sendmsg|recvmsg|malloc|calloc|realloc
    |pthread_atfork
    )\(""",
    re.VERBOSE,
)
SEAM = re.compile(r"SHMQ_SYSTEM(?:_ALWAYS)?\(")


def past_the_seam(text: str) -> list[str]:
    """The calls that are made anywhere else, each with its line."""
    text = re.sub(r"/\*.*?\*/", lambda comment: re.sub(r"[^\n]", " ", comment[0]), text, flags=re.DOTALL)
    text = re.sub(r'"[^"\n]*"', '""', text)
    inside: set[int] = set()
    for seam in SEAM.finditer(text):
        depth, at = 1, seam.end()
        while depth:
            depth += (text[at] == "(") - (text[at] == ")")
            at += 1
        inside.update(range(seam.end(), at))
    calls = [call for call in CALL.finditer(text) if call.start() not in inside]
    return [f"{text.count(chr(10), 0, call.start()) + 1}: {call[1]}" for call in calls]


@pytest.mark.parametrize("header", HEADERS, ids=lambda header: header.name)
def test_no_call_is_made_past_the_seam(header):
    assert not past_the_seam(header.read_text())


def test_a_call_past_the_seam_is_found():
    text = "int a = close(fd); /* close(fd) */ SHMQ_SYSTEM(open, -1, open(path, (mode_t)0));"
    assert past_the_seam(text) == ["1: close"]
    text = 'x = shmq_os_close(fd); printf("close(1)");\nSHMQ_SYSTEM_ALWAYS(close, close(fd)), read(a, b, c)'
    assert past_the_seam(text) == ["2: read"]
