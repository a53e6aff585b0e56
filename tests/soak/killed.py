# SPDX-License-Identifier: MIT
"""killed.py SOAK WORKER: whoever of the soak itself is ended in the midst of it, nobody and nothing stays."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

PATIENCE = 30.0


class Soak(NamedTuple):
    """A soak that runs, and has killed some already."""

    process: subprocess.Popen[bytes]  # the watcher
    controller: int
    directory: Path


def children(pid: int) -> list[int]:
    try:
        return [int(word) for word in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]
    except FileNotFoundError:
        return []


def parent_of(pid: int) -> int:
    """0: there is no such process."""
    try:
        return int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[1])
    except (FileNotFoundError, ProcessLookupError):
        return 0


def workers(program: str) -> list[int]:
    """All that run this program, whoever is their parent now."""
    found = []
    for entry in Path("/proc").glob("[0-9]*"):
        try:
            if (entry / "cmdline").read_bytes().split(b"\0")[0].decode() == program:
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


def start(soak: str, worker: str) -> Soak:
    process = subprocess.Popen([soak, worker, "1000000", "120"], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    directory = Path(f"/dev/shm/shmq-soak-{process.pid}")
    wait_for("a region", lambda: (directory / "round-0").exists())
    controller = children(process.pid)[0]
    wait_for("workers", lambda: len(workers(worker)) > 5)
    return Soak(process, controller, directory)


def check_end(soak: Soak, worker: str, victim: str) -> None:
    soak.process.wait(PATIENCE)
    assert soak.process.returncode != 0
    wait_for(f"{victim} ended: no controller", lambda: parent_of(soak.controller) == 0)
    wait_for(f"{victim} ended: no worker", lambda: not workers(worker))
    wait_for(f"{victim} ended: no directory", lambda: not soak.directory.exists())
    print(f"{victim} was ended: nobody and nothing is left")


def main(soak: str, worker: str) -> None:
    worker = os.path.abspath(worker)
    for victim, number in [
        ("the controller", signal.SIGKILL),
        ("the watcher", signal.SIGKILL),
        ("the watcher", signal.SIGINT),
        ("the controller", signal.SIGTERM),
    ]:
        running = start(soak, worker)
        os.kill(running.controller if victim == "the controller" else running.process.pid, number)
        check_end(running, worker, f"{victim}, by {number.name},")


if __name__ == "__main__":
    main(*sys.argv[1:])
