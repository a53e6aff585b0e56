# SPDX-License-Identifier: MIT
"""killed.py SOAK WORKER [QUIET [SINGLE_STEP]]: whoever of a test is ended in its midst, nobody and nothing stays."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

PATIENCE = 30.0
WATCHER, TEST = "the watcher", "the test"
ENDS = [(WATCHER, signal.SIGKILL), (WATCHER, signal.SIGTERM), (WATCHER, signal.SIGINT), (TEST, signal.SIGKILL)]


class Program(NamedTuple):
    """A test that has a watcher."""

    command: list[str]
    name: str  # of its directory
    inside: str  # what is there once it has begun
    crowd: tuple[str, int]  # a program, and how many run it in the midst of the test
    ends: list[tuple[str, signal.Signals]]


class Run(NamedTuple):
    """A test that runs, and is in the midst of it."""

    watcher: subprocess.Popen[bytes]
    test: int
    directory: Path


def children(pid: int) -> list[int]:
    try:
        return [int(word) for word in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]
    except FileNotFoundError:
        return []


def running(programs: list[str]) -> list[int]:
    """All that run one of these, whoever is their parent now."""
    found = []
    for entry in Path("/proc").glob("[0-9]*"):
        try:
            if (entry / "cmdline").read_bytes().split(b"\0")[0].decode() in programs:
                found.append(int(entry.name))
        except (FileNotFoundError, ProcessLookupError):
            continue
    return found


def wait_for(what: str, condition: Callable[[], bool]) -> None:
    until = time.monotonic() + PATIENCE
    while not condition():
        if time.monotonic() > until:
            sys.exit(f"after {PATIENCE} s still not: {what}")
        time.sleep(0.01)


@contextmanager
def started(program: Program) -> Iterator[Run]:
    """Whoever of them is left at the end is killed; the workers and victims die with the test."""
    watcher = subprocess.Popen(program.command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    test = 0
    try:
        directory = Path(f"/dev/shm/shmq-{program.name}-{watcher.pid}")
        wait_for("a region", lambda: (directory / program.inside).exists())
        _heir, test, *_ = children(watcher.pid)
        wait_for("a crowd", lambda: len(running([program.crowd[0]])) >= program.crowd[1])
        yield Run(watcher, test, directory)
    finally:
        watcher.kill()
        watcher.wait()
        if test in running(program.command[:1]):
            os.kill(test, signal.SIGKILL)


def check_end(run: Run, program: Program, ended: str) -> None:
    run.watcher.wait(PATIENCE)
    assert run.watcher.returncode != 0
    wait_for(f"{ended} ended: nobody", lambda: not running([program.command[0], program.crowd[0]]))
    wait_for(f"{ended} ended: no directory", lambda: not run.directory.exists())
    print(f"{program.name}: {ended} was ended: nobody and nothing is left")


def main(*paths: str) -> None:
    soak, worker, *others = map(os.path.abspath, paths)
    programs = [
        Program([soak, worker, "1000000", "120"], "soak", "round-0", (worker, 6), [*ENDS, (TEST, signal.SIGTERM)]),
        *(Program([quiet, "10000000"], "corrupt", "alpha", (quiet, 3), ENDS) for quiet in others[:1]),
        *(Program([step], "step", "alpha", (step, 4), ENDS) for step in others[1:]),
    ]
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.SIG_DFL)  # else whoever ignores them hands that on
    for program in programs:
        for victim, number in program.ends:
            with started(program) as run:
                os.kill(run.test if victim == TEST else run.watcher.pid, number)
                check_end(run, program, f"{victim}, by {number.name},")


if __name__ == "__main__":
    main(*sys.argv[1:])
