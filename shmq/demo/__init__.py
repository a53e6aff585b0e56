# SPDX-License-Identifier: MIT
"""The demonstration: a whole standard library handed from process to process, beside the standard library's own ways.

One producer process reads every file of the interpreter's standard library; two consumer processes compete for what
it hands on and hash it. The same three processes do so, by turns, through shmq (a file is read straight into shared
memory and hashed where it lies), through `multiprocessing.Pipe` and through `multiprocessing.Queue`. Every digest is
compared with the disk's. Then the producer and the first consumer play ping-pong.
"""

import math
import os
import platform
from collections.abc import Sequence
from statistics import median
from typing import NamedTuple

from .. import Region, RegionSpaceError
from .._probe import cache_line_probe
from . import pieces as library
from .company import Company, Turn
from .pieces import Piece, cut, library_files, library_path
from .terminal import PlainTerminal, RichTerminal, open_terminal
from .ways import WAYS, InPlace, Kind

MIB = 1 << 20
LARGEST_REGION, SMALLEST_REGION = 256 * MIB, 4 * MIB
PIECES_IN_REGION = 16  # so that producer and consumers never wait for one large piece
SIZES = (8, 1 << 10, 16 << 10, 256 << 10, MIB, 16 * MIB)
QUICK_SIZES = (8, MIB)
SECONDS_A_SIZE, QUICK_SECONDS_A_SIZE = 0.5, 0.1
ENOUGH_FOR_P999 = 1000


class Figures(NamedTuple):
    """One turn of one way, over all processes. Times are in nanoseconds; all but wall are CPU time."""

    wall: int
    handing: int
    hashing: int
    reading: int
    wrong: int


def run(rounds: int = 3, quick: bool = False) -> int:
    """Run the demonstration and print what it found.

    Args:
        rounds: How often each way takes its turn at the files and at ping-pong.
        quick: Fewer sizes and shorter turns.

    Returns:
        The exit status: 0, or 1 if a single digest differs from the disk's.
    """
    out = open_terminal()
    try:
        region = _create_region()
    except RegionSpaceError as error:
        out.say(f"shmq demo: {error}", "red")
        return 1
    with region:
        largest = 1 << ((region.size // PIECES_IN_REGION).bit_length() - 1)
        plan = cut(library_files(library_path()), largest)
        _introduce(out, plan, largest, region.size)
        expected = _digests(out, plan)
        with Company(str(region.name), plan) as company:
            figures = _hand_files(out, company, expected, rounds)
            sizes = [size for size in (QUICK_SIZES if quick else SIZES) if size <= region.size // 2]
            seconds = (QUICK_SECONDS_A_SIZE if quick else SECONDS_A_SIZE) / rounds
            samples, probes = _play(out, company, sizes, rounds, seconds)
    _show_files(out, plan, figures)
    _show_ping(out, sizes, samples, probes)
    return _verdict(out, plan, figures)


def _create_region() -> Region:
    """A region as large as is useful and fits into half of what is free."""
    folder = os.environ.get("SHMQ_DIR") or "/dev/shm"
    while not os.path.isdir(folder):
        folder = os.path.dirname(folder) or "."
    file_system = os.statvfs(folder)
    size = min(LARGEST_REGION, file_system.f_bavail * file_system.f_frsize // 2)
    size = max(SMALLEST_REGION, 1 << (max(size, 1).bit_length() - 1))
    while True:
        try:
            return Region.create(f"demo-{os.getpid()}", size)
        except RegionSpaceError:  # a limit that the file system does not tell
            if size <= SMALLEST_REGION:
                raise
            size //= 2


def _introduce(out: PlainTerminal | RichTerminal, plan: Sequence[Piece], largest: int, size: int) -> None:
    files = len({piece.path for piece in plan})
    nbytes = sum(piece.nbytes for piece in plan)
    out.say()
    out.say(f"shmq: {files:,} files, {nbytes / 1e6:.1f} MB, from one process to two others", "bold")
    out.say()
    out.say(f"  the files    Python {platform.python_version()}'s own library, {library_path()}")
    out.say(f"  the region   {size // MIB} MiB of shared memory; a file above {_size(largest)} goes in pieces")
    out.say(f"  the machine  {_cpu_model()}, {len(os.sched_getaffinity(0))} cores, Linux {platform.release()}")
    out.say()
    out.say("  One process reads each file straight into shared memory. Two others take what")
    out.say("  comes, hash it where it lies (SHA-256) and give the memory back. By turns the")
    out.say("  same three do the same with multiprocessing's Pipe (send_bytes) and Queue.")
    out.say()


def _digests(out: PlainTerminal | RichTerminal, plan: Sequence[Piece]) -> list[bytes]:
    """What the disk says: the digest of every piece."""
    reader = library.Reader()
    digests = []
    with out.progress("hashing from the disk, to compare with", len(plan)) as advance:
        for number, piece in enumerate(plan):
            digests.append(library.digest(reader.read(piece)))
            if number % 64 == 0:
                advance(number)
    return digests


def _hand_files(
    out: PlainTerminal | RichTerminal, company: Company, expected: Sequence[bytes], rounds: int
) -> dict[str, list[Figures]]:
    """Let each way take its turn, in an order that shifts from round to round."""
    figures: dict[str, list[Figures]] = {kind.name: [] for kind in WAYS}
    for number in range(rounds):
        for kind in _in_turn(number):
            with out.progress(f"round {number + 1} of {rounds}, {kind.name}", len(expected)) as advance:
                producer, consumers = company.files(kind.name, advance)
            figures[kind.name].append(_figures(producer, consumers, expected))
    return figures


def _in_turn(number: int) -> list[Kind]:
    shift = number % len(WAYS)
    return [*WAYS[shift:], *WAYS[:shift]]


def _figures(producer: Turn, consumers: Sequence[Turn], expected: Sequence[bytes]) -> Figures:
    digests: dict[int, bytes] = {}
    for consumer in consumers:
        digests.update(consumer.digests)
    hashing = sum(consumer.work for consumer in consumers)
    cpu = producer.cpu + sum(consumer.cpu for consumer in consumers)
    return Figures(
        wall=max(consumer.ended for consumer in consumers) - producer.began,
        handing=cpu - hashing - producer.work,
        hashing=hashing,
        reading=producer.work,
        wrong=sum(digests.get(number) != value for number, value in enumerate(expected)),
    )


def _play(
    out: PlainTerminal | RichTerminal, company: Company, sizes: Sequence[int], rounds: int, seconds: float
) -> tuple[dict[tuple[str, int], list[int]], list[float]]:
    """Ping-pong at every size, with the cache-line probe before each round."""
    samples: dict[tuple[str, int], list[int]] = {(kind.name, size): [] for kind in WAYS for size in sizes}
    probes = []
    done = 0
    with out.progress("ping-pong", rounds * len(samples)) as advance:
        for number in range(rounds):
            probes.append(cache_line_probe())
            for size in sizes:
                for kind in _in_turn(number):
                    samples[kind.name, size] += company.round_trips(kind.name, size, seconds)
                    advance(done := done + 1)
    return samples, probes


# ---- what is printed ----------------------------------------------------------------------------------------


def _show_files(out: PlainTerminal | RichTerminal, plan: Sequence[Piece], figures: dict[str, list[Figures]]) -> None:
    nbytes = sum(piece.nbytes for piece in plan)
    rows = []
    for name, taken in figures.items():
        handing, wall = median(turn.handing for turn in taken), median(turn.wall for turn in taken)
        rows.append(
            [
                name,
                f"{handing / 1e6:,.0f} ms",
                f"{handing / len(plan) / 1e3:,.1f} µs",
                f"{median(turn.hashing for turn in taken) / 1e6:,.0f} ms",
                f"{median(turn.reading for turn in taken) / 1e6:,.0f} ms",
                f"{wall / 1e6:,.0f} ms",
                f"{nbytes / wall * 1e3:,.0f}",
                f"{sum(len(plan) - turn.wrong for turn in taken):,}",
            ]
        )
    header = [["", "hand-over", "a message", "hashing", "reading", "wall", "MB/s", "digests right"]]
    out.table(f"Every file once: {len(plan):,} messages", header, rows, lambda row, column: row == 0)
    turns = len(figures[InPlace.name])
    out.say(f"  Median of {turns}. Hand-over, hashing and reading are CPU time of all three processes;", "dim")
    out.say("  hand-over is all that was neither hashing nor reading, spinning included.", "dim")


def _show_ping(
    out: PlainTerminal | RichTerminal,
    sizes: Sequence[int],
    samples: dict[tuple[str, int], list[int]],
    probes: Sequence[float],
) -> None:
    rows = []
    for size in sizes:
        row = [_size(size)]
        for kind in WAYS:
            times = sorted(samples[kind.name, size])
            row += [_microseconds(times[len(times) * part // 1000]) for part in (500, 990)]
            row.append(_microseconds(times[len(times) * 999 // 1000]) if len(times) >= ENOUGH_FOR_P999 else "–")
        rows.append(row)
    header = [
        ["", *(text for kind in WAYS for text in (kind.name, "", ""))],
        ["", *(("p50", "p99", "p99.9") * len(WAYS))],
    ]
    out.table("There and back, µs", header, rows, lambda row, column: 1 <= column <= 3)
    out.say(f"  First and last byte written and read on both sides; no p99.9 below {ENOUGH_FOR_P999:,} rounds.", "dim")
    probe = median(probes)
    if math.isnan(probe):
        out.say("  All on one core: there is no cache line that travels to compare with.", "dim")
        return
    ratio = median(samples[InPlace.name, sizes[0]]) / probe
    out.say(f"  In this run a bare cache line goes from core to core and back in {probe:,.0f} ns;", "dim")
    out.say(f"  shmq's {_size(sizes[0])} take {ratio:.1f} times that.", "dim")


def _verdict(out: PlainTerminal | RichTerminal, plan: Sequence[Piece], figures: dict[str, list[Figures]]) -> int:
    wrong = {name: sum(turn.wrong for turn in turns) for name, turns in figures.items()}
    total = sum(len(turns) for turns in figures.values()) * len(plan)
    out.say()
    for name, count in wrong.items():
        if count:
            out.say(f"  {name}: {count:,} digests differ from the disk's or are missing", "bold red")
    if any(wrong.values()):
        return 1
    out.say(f"  All {total:,} digests are the disk's own.", "bold green")
    out.say()
    return 0


def _size(nbytes: int) -> str:
    for unit, name in ((MIB, "MiB"), (1 << 10, "KiB")):
        if nbytes >= unit:
            return f"{nbytes // unit} {name}"
    return f"{nbytes} B"


def _microseconds(nanoseconds: float) -> str:
    micro = nanoseconds / 1e3
    return f"{micro:,.2f}" if micro < 10 else f"{micro:,.1f}" if micro < 100 else f"{micro:,.0f}"


def _cpu_model() -> str:
    try:
        with open("/proc/cpuinfo") as file:
            return next(line.split(":")[1].strip() for line in file if line.startswith(("model name", "Hardware")))
    except (OSError, StopIteration):
        return platform.machine()
