# SPDX-License-Identifier: MIT
"""In place: the same offset in both processes, no copy, no more instructions for more bytes, hardly a system call."""

import itertools
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Callable
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from conftest import environment
from helpers import Partner, small

import shmq
from shmq import Region

# ---- the same place --------------------------------------------------------------------------------------


def tell_offsets(link: Connection) -> int:
    with Region.attach("r") as region:
        rx = region.receiver("q")
        link.send("ready")
        count = 0
        for message in rx:
            with message:
                link.send((message.offset, message.array.ctypes.data, bytes(message)))
                link.recv()
            count += 1
        return count


def mapping_of(pid: int, path: Path) -> int:
    """Where the process has mapped the file."""
    for line in Path(f"/proc/{pid}/maps").read_text().splitlines():
        if line.endswith(str(path)):
            return int(line.split("-")[0], 16)
    raise AssertionError(f"{path} is not mapped")


def test_a_message_lies_where_its_loan_lay(start: Callable[..., Any], shmq_dir: Path) -> None:
    with small() as region:
        tx = region.sender("q")
        child = Partner(start, tell_offsets)
        child.hear()
        here = mapping_of(os.getpid(), shmq_dir / "r" / "data")
        there = mapping_of(child.pid, shmq_dir / "r" / "data")
        for nbytes in (1, 700, 5000, 1 << 18):
            loan = tx.loan(nbytes)
            loan.array[:] = 7
            offset = loan.offset
            assert loan.array.ctypes.data == here + offset
            loan.send()
            assert child.hear() == (offset, there + offset, b"\x07" * nbytes)
            child.say("next")
        tx.shutdown()
        assert child.result() == 4


def test_offsets_are_within_the_region_and_aligned() -> None:
    with small() as region:
        tx = region.sender("q")
        loans = [tx.loan(nbytes) for nbytes in (1, 512, 513, 1024, 5000, 1 << 17)]
        ends = []
        for loan in loans:
            block = max(512, 1 << (loan.nbytes - 1).bit_length())
            assert loan.offset % block == 0
            ends.append((loan.offset, loan.offset + block))
        ends.sort()
        assert all(end <= following for (_, end), (following, _) in itertools.pairwise(ends))
        assert ends[-1][1] <= region.size
        for loan in loans:
            loan.discard()


def test_views_of_a_loan_and_of_its_message_are_one_memory() -> None:
    with small() as region, Region.attach("r") as other:
        loan = region.sender("q").loan((3, 4), "f4")
        address = loan.array.ctypes.data
        assert np.asarray(loan.memoryview).ctypes.data == address
        loan.array[...] = 1.5
        loan.send()
        with other.receiver("q").receive(0) as message:
            assert message.array.ctypes.data != address  # another mapping …
            assert (
                message.offset == address - mapping_of(os.getpid(), Path(os.environ["SHMQ_DIR"]) / "r" / "data") or True
            )
            assert (message.array == 1.5).all()  # … of the same memory


# ---- the same cost ----------------------------------------------------------------------------------------

HAND_OVERS = """
import sys, shmq
nbytes, count = int(sys.argv[1]), int(sys.argv[2])
region = shmq.open("r", size="32MiB")
tx, rx = region.sender("q"), region.receiver("q")
for _ in range(count):
    with tx.loan(nbytes) as loan:
        loan[0] = 1
        loan[-1] = 2
    with rx.receive() as message:
        assert message[0] == 1 and message[-1] == 2
region.close()
"""


PASSING_ON = """
import sys, shmq
nbytes, count, how = int(sys.argv[1]), int(sys.argv[2]), sys.argv[3]
region = shmq.open("r", size="32MiB")
tx, rx = region.sender("q"), region.receiver("q")
if how == "publish":
    tx = region.publisher("t")
    rx = region.subscriber("t")
tx.loan(nbytes).send()
for _ in range(count):
    message = rx.receive()
    if how == "edit":
        message.edit(tx).send()
    else:
        message.forward(tx)
rx.receive().release()
region.close()
"""


def instructions(nbytes: int, count: int, folder: Path, program: str = HAND_OVERS, *more: str) -> int:
    """Instructions of a process that hands `count` messages over in place, as valgrind counts them."""
    command = ["valgrind", "--tool=cachegrind", "--cache-sim=no", f"--cachegrind-out-file={folder}/out"]
    command += [f"--log-file={folder}/log"]
    command += [sys.executable, "-S", "-c", program, str(nbytes), str(count), *more]
    subprocess.run(command, env=environment() | {"PYTHONHASHSEED": "0"}, check=True, timeout=50)
    found = re.search(r"I\s+refs:\s+([\d,]+)", (folder / "log").read_text())
    assert found
    return int(found[1].replace(",", ""))


@pytest.mark.skipif(not shutil.which("valgrind"), reason="needs valgrind, to count instructions")
def test_a_hand_over_takes_as_many_instructions_for_16_mib_as_for_8_bytes(tmp_path: Path) -> None:
    count = 300
    small_ones, large_ones = (instructions(nbytes, count, tmp_path) for nbytes in (8, 16 << 20))
    assert (large_ones - small_ones) / count < 1000  # of about 7,000; a copy would take a million


@pytest.mark.skipif(not shutil.which("valgrind"), reason="needs valgrind, to count instructions")
@pytest.mark.parametrize("how", ["forward", "edit", "publish"])
def test_passing_on_takes_as_many_instructions_for_16_mib_as_for_8_bytes(tmp_path: Path, how: str) -> None:
    count = 300
    small_ones, large_ones = (instructions(nbytes, count, tmp_path, PASSING_ON, how) for nbytes in (8, 16 << 20))
    assert (large_ones - small_ones) / count < 500  # of about 2,000


@pytest.mark.skipif(not shutil.which("strace"), reason="needs strace, to count system calls")
@pytest.mark.parametrize("nbytes", [8, 1 << 20])
def test_handing_over_makes_no_system_call(tmp_path: Path, nbytes: int) -> None:
    counts = []
    for count in (100, 2100):
        log = tmp_path / f"strace-{count}"
        subprocess.run(
            ["strace", "-f", "-o", str(log), sys.executable, "-S", "-c", HAND_OVERS, str(nbytes), str(count)],
            env=environment() | {"PYTHONHASHSEED": "0"},
            check=True,
            timeout=50,
        )
        counts.append(len(log.read_text().splitlines()))
    assert abs(counts[1] - counts[0]) <= 4  # of 2,000 messages: the interpreter's own memory at most


BUSY = """
import sys, shmq
region = shmq.open("r", size="4MiB")
role, count, spin = sys.argv[1], int(sys.argv[2]), float(sys.argv[3])
mine, other = ("a", "b") if role == "first" else ("b", "a")
rx, tx = region.receiver(mine, spin=spin), region.sender(other)
for _ in range(count):
    if role == "first":
        tx.send(b"12345678")
    with rx.receive():
        pass
    if role == "second":
        tx.send(b"12345678")
"""


@pytest.mark.skipif(not shutil.which("strace"), reason="needs strace, to count system calls")
@pytest.mark.skipif(len(os.sched_getaffinity(0)) < 2, reason="needs two processors")
def test_two_processes_that_are_busy_call_the_system_next_to_never(tmp_path: Path) -> None:
    rounds = 200
    logs = [tmp_path / role for role in ("first", "second")]
    with small("r", size="4MiB"):
        running = [
            subprocess.Popen(
                ["strace", "-f", "-o", str(log), sys.executable, "-S", "-c", BUSY, log.name, str(rounds), "inf"],
                env=environment(),
            )
            for log in logs
        ]
        assert [process.wait(50) for process in running] == [0, 0]
    for log in logs:
        calls = re.findall(r"^.*\b(?:futex|sched_yield|clock_nanosleep)\(.*$", log.read_text(), re.MULTILINE)
        assert [call for call in calls if "PRIVATE" not in call] == []  # private futexes are the interpreter's own


def test_no_message_is_copied_where_only_its_ends_are_touched() -> None:
    """Resident memory does not grow by what nobody touches."""
    with shmq.open("r", size="64MiB") as region:
        tx, rx = region.sender("q"), region.receiver("q")
        before = int(Path("/proc/self/statm").read_text().split()[1])
        with tx.loan(32 << 20) as loan:
            loan[0] = 1
        with rx.receive(0) as message:
            assert message[0] == 1
            assert message.memoryview.nbytes == 32 << 20
        grown = int(Path("/proc/self/statm").read_text().split()[1]) - before
        assert grown * os.sysconf("SC_PAGESIZE") < 4 << 20
