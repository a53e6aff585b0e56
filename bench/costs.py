# SPDX-License-Identifier: MIT
"""What shmq costs beside time: system calls, an idle processor, an import, administrative memory.

    python bench/costs.py [--json FILE]

System calls are counted by the kernel, or by strace (see calls.py); where neither can, the output says so.
"""

import argparse
import contextlib
import multiprocessing
import os
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import calls
import loops
from pair import Pair
from report import Line, report

import shmq

HERE = Path(__file__).resolve().parent
RUNS = 5
IDLE_SECONDS = 10.0
FEW, MANY = 20_000, 1_020_000
A_HANDFUL = 1e-5  # by which the start and end of two processes differ from run to run: 20 calls in a million rounds


# ---- system calls -------------------------------------------------------------------------------------------


def ping_many(spin: str, rounds: str) -> None:
    """What is counted: round trips in place between two pinned processes."""
    with Pair("8MiB", float(spin) if spin else None) as pair:
        pair.run(loops.keep_up, loops.pong_in_place, 8, int(rounds))


def calls_per_message(spin: str) -> float:
    """System calls of both processes a message, start and end of the processes taken off."""
    few, many = (_count_calls(spin, rounds) for rounds in (FEW, MANY))
    return (many - few) / (2 * (MANY - FEW))


def _count_calls(spin: str, rounds: int) -> int:
    command = [sys.executable, "-c", f"import costs; costs.ping_many({spin!r}, '{rounds}')"]
    return calls.count(command, HERE, {**os.environ, "PYTHONPATH": str(HERE.parent)})


# ---- an idle receiver ---------------------------------------------------------------------------------------


def idle_share(region_name: str, number: int) -> float:
    """CPU seconds a second of a receiver that waits for nothing, in a process of its own."""
    with shmq.Region.attach(region_name) as region:
        receiver = region.receiver(f"idle-{number}")
        with contextlib.suppress(shmq.Empty):
            receiver.receive(timeout=0.01)  # what a first time-out imports is no part of waiting
        wall, cpu = time.perf_counter(), time.process_time()
        try:
            receiver.receive(timeout=IDLE_SECONDS)
        except shmq.Empty:
            return (time.process_time() - cpu) / (time.perf_counter() - wall)
        raise RuntimeError("a message came from nowhere")


def idle_shares() -> list[float]:
    """That of several at once."""
    name = f"idle-{os.getpid()}"
    with shmq.Region.create(name, "8MiB"), multiprocessing.get_context("spawn").Pool(RUNS) as pool:
        return pool.starmap(idle_share, [(name, number) for number in range(RUNS)], chunksize=1)


# ---- import -------------------------------------------------------------------------------------------------


def import_milliseconds(runs: int = 20) -> list[float]:
    """How much longer an interpreter that imports shmq lives than a bare one, by turns; compiled as when installed."""
    environment = {**os.environ, "PYTHONPATH": str(HERE.parent)}
    environment.pop("PYTHONDONTWRITEBYTECODE", None)

    def life(code: str) -> float:
        start = time.perf_counter()
        subprocess.run([sys.executable, "-S", "-c", code], check=True, env=environment)
        return (time.perf_counter() - start) * 1e3

    life("import shmq")
    return [-life("pass") + life("import shmq") for _ in range(runs)]


# ---- administrative memory ----------------------------------------------------------------------------------


def admin_bytes(granule: int, size: int) -> int:
    """Bytes that the admin segment of a region without queues really takes."""
    name = f"admin-{os.getpid()}"
    folder = tempfile.mkdtemp(prefix="shmq-bench-", dir="/dev/shm")
    before = os.environ.get("SHMQ_DIR")
    os.environ["SHMQ_DIR"] = folder
    try:
        with shmq.Region.create(name, size, granule=granule):
            return (Path(folder) / name / "admin").stat().st_blocks * 512
    finally:
        if before is None:
            del os.environ["SHMQ_DIR"]
        else:
            os.environ["SHMQ_DIR"] = before
        shutil.rmtree(folder, ignore_errors=True)


TABLES = 0.3 * (1 << 20)


def admin_share(granule: int, size: int = 64 << 20) -> float:
    """Per cent of the data segment, beyond the tables of the default limits."""
    return max(0.0, (admin_bytes(granule, size) - TABLES) / size * 100)


def take() -> list[Line]:
    """Every cost."""
    lines = []
    idle = [share * 100 for share in idle_shares()]
    lines.append(Line(f"receiver that waits {IDLE_SECONDS:.0f} s for nothing", "% CPU", idle, "≤", 0.1))
    lines.append(Line("import shmq, above the bare interpreter", "ms", import_milliseconds(), "≤", 8))
    for granule, bound in ((512, 30), (1024, 15), (4096, 5)):
        lines.append(Line(f"admin segment at granules of {granule} B", "% of data", [admin_share(granule)], "≤", bound))
    counter = calls.how()
    if counter:
        for spin, what, bound in (("", "defaults", 1e-4), ("inf", "spin=inf", A_HANDFUL)):
            counts = [calls_per_message(spin) for _ in range(RUNS)]
            lines.append(Line(f"system calls a message, both busy, {what} ({counter})", "", counts, "≤", bound))
    else:
        print("the kernel's counter cannot be read, and strace is not installed: system calls are not counted")
    return lines


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--json", type=Path, help="where to save the figures")
    report(take(), parser.parse_args().json)
