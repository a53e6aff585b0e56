# SPDX-License-Identifier: MIT
"""What every test gets: a directory of its own for regions, found empty at the end, and processes that cannot hang."""

import gc
import multiprocessing
import os
import shutil
import subprocess
import sys
import tempfile
import traceback
from collections.abc import Callable, Iterator
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import pytest
from helpers import small

import shmq
from shmq import Region

ROOT = Path(__file__).resolve().parent.parent
TIMEOUT = 30.0


@pytest.fixture(autouse=True)
def shmq_dir(monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """The directory where this test's regions are, in this process and in its children. Nothing may be left in it."""
    folder = Path(tempfile.mkdtemp(prefix="shmq-test-", dir="/dev/shm"))
    monkeypatch.setenv("SHMQ_DIR", str(folder))
    yield folder
    gc.collect()
    left = sorted(str(path.relative_to(folder)) for path in folder.rglob("*"))
    shutil.rmtree(folder, ignore_errors=True)
    assert not left, f"left in shared memory: {left}"


class Child:
    """A process that runs one function of a test module."""

    def __init__(self, function: Callable[..., Any], arguments: tuple[Any, ...]) -> None:
        context = multiprocessing.get_context("spawn")
        self._answer, theirs = context.Pipe(duplex=False)
        self.process = context.Process(target=_run, args=(theirs, function, arguments), daemon=True)
        self.process.start()
        theirs.close()

    @property
    def pid(self) -> int:
        """The process's number."""
        assert self.process.pid is not None
        return self.process.pid

    def result(self, timeout: float = TIMEOUT) -> Any:
        """What the function returned.

        Raises:
            AssertionError: It raised (with its traceback), the process died, or the time is over.
        """
        try:
            if not self._answer.poll(timeout):
                raise AssertionError(f"no result within {timeout} s")
            done, answer = self._answer.recv()
        except EOFError:
            self.process.join(timeout)
            raise AssertionError(f"the process died with exit code {self.process.exitcode}") from None
        assert done, f"the process raised:\n{answer}"
        self.process.join(timeout)
        assert self.process.exitcode == 0, f"exit code {self.process.exitcode} after the result"
        return answer

    def kill(self) -> None:
        """SIGKILL, and wait until it is gone."""
        self.process.kill()
        self.process.join(TIMEOUT)

    def close(self) -> None:
        """Kill it if it still runs, and free what the parent holds of it."""
        self.kill()
        self.process.close()
        self._answer.close()


def _run(answer: Connection, function: Callable[..., Any], arguments: tuple[Any, ...]) -> None:
    try:
        result = (True, function(*arguments))
    except BaseException:
        result = (False, traceback.format_exc())
    answer.send(result)


@pytest.fixture
def start(shmq_dir: Path) -> Iterator[Callable[..., Child]]:
    """`start(function, *arguments)` runs a module-level function in a fresh process and returns a `Child`.

    Children still there at the test's end are killed.
    """
    children: list[Child] = []

    def start(function: Callable[..., Any], *arguments: Any) -> Child:
        children.append(Child(function, arguments))
        return children[-1]

    yield start
    for child in children:
        child.close()


def environment() -> dict[str, str]:
    """For subprocesses: they find the package, whether it is installed or not, and are as silent as can be."""
    return {**os.environ, "PYTHONPATH": str(ROOT), "PYTHONDONTWRITEBYTECODE": "1", "NO_COLOR": "1", "COLUMNS": "80"}


@pytest.fixture
def python(shmq_dir: Path) -> Callable[..., str]:
    """`python(*arguments)` runs this interpreter and returns its standard output; any failure fails the test."""

    def python(*arguments: str, status: int = 0, timeout: float = TIMEOUT) -> str:
        command = [sys.executable, *arguments]
        done = subprocess.run(command, env=environment(), cwd=ROOT, capture_output=True, text=True, timeout=timeout)
        assert done.returncode == status, f"exit status {done.returncode}\n{done.stdout}\n{done.stderr}"
        assert not done.stderr, done.stderr
        return done.stdout

    return python


@pytest.fixture(params=["named", "anonymous"])
def region(request: pytest.FixtureRequest) -> Iterator[Region]:
    """A region of either kind."""
    with small() if request.param == "named" else shmq.open(None, "1MiB") as region:
        yield region
