# SPDX-License-Identifier: MIT
"""A region in a directory of its own for every benchmark, and two pinned processes for those that need them."""

import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from pair import Pair

import shmq


@pytest.fixture(scope="module", autouse=True)
def shmq_dir() -> Iterator[Path]:
    """Where the regions of this module's benchmarks are."""
    with (
        tempfile.TemporaryDirectory(prefix="shmq-bench-", dir="/dev/shm") as folder,
        pytest.MonkeyPatch.context() as patch,
    ):
        patch.setenv("SHMQ_DIR", folder)
        yield Path(folder)


@pytest.fixture
def region() -> Iterator[shmq.Region]:
    """A region that only this process is attached to."""
    with shmq.Region.create("bench", "64MiB") as region:
        yield region


@pytest.fixture(scope="module")
def pair(shmq_dir: Path) -> Iterator[Pair]:
    """Two processes on two cores."""
    with Pair() as pair:
        yield pair
