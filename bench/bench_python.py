# SPDX-License-Identifier: MIT
"""The figures that Python sees, each beside a cache-line probe and a hand-made spin ring of the same run.

    python bench/bench_python.py [--runs 5] [--only TEXT] [--json FILE]

Two processes, each pinned to a core of its own; default settings and public names only; payloads that differ and are
checked; garbage collection as it comes. Every figure is the median of all its runs, and the figures take turns, so
that whatever the machine does meets them all. A run's round trip is its median one, its rate the whole run's.
"""

import argparse
from collections.abc import Callable
from pathlib import Path
from statistics import median
from typing import Any, NamedTuple

import alone
import loops
import team
from futex import Words, ping_futex, pong_futex
from pair import End, Pair
from report import Line, report
from spin_ring import SpinRing

MIB = 1 << 20
ROUNDS, COUNT, SLEEPING_ROUNDS = 100_000, 400_000, 500
NEAR = 0.2  # microseconds; the host moves the cores, and what is near today may be far in a minute
RING_SLOTS = 1024  # a queue's default depth

Take = Callable[[Pair], float]
Medians = dict[str, float]


# ---- how each kind is taken ---------------------------------------------------------------------------------


def round_trip(ping: Callable[..., Any], pong: Callable[..., Any], nbytes: int) -> Take:
    """Microseconds."""
    return lambda pair: median(pair.run(ping, pong, nbytes, ROUNDS)[0]) / 1e3


def one_way(feed: Callable[..., Any], eat: Callable[..., Any]) -> Take:
    """Million messages of 8 bytes a second."""
    return lambda pair: (COUNT - 1) / pair.run(feed, eat, 8, COUNT)[1] * 1e3


def filled(nbytes: int, count: int) -> Take:
    """Gigabytes a second."""
    return lambda pair: nbytes * (count - 1) / pair.run(loops.feed_filled, loops.eat_filled, nbytes, count)[1]


def on_rings(end: End, loop: Callable[..., Any], number: int, names: list[str]) -> Any:
    """Run a loop of the spin ring on the rings of these names."""
    rings = [SpinRing(8, RING_SLOTS, name) for name in names]
    try:
        return loop(end, 8, number, *rings)
    finally:
        for ring in rings:
            ring.close()


def ping_ring(end: End, *arguments: Any) -> Any:
    return on_rings(end, loops.ping_ring, *arguments)


def pong_ring(end: End, *arguments: Any) -> Any:
    return on_rings(end, loops.pong_ring, *arguments)


def feed_ring(end: End, *arguments: Any) -> Any:
    return on_rings(end, loops.feed_ring, *arguments)


def eat_ring(end: End, *arguments: Any) -> Any:
    return on_rings(end, loops.eat_ring, *arguments)


def with_rings(pair: Pair, here: Callable[..., Any], there: Callable[..., Any], number: int, rings: int) -> Any:
    """Make the rings, run both sides on them, remove the rings."""
    made = [SpinRing(8, RING_SLOTS) for _ in range(rings)]
    try:
        return pair.run(here, there, number, [ring.name for ring in made])
    finally:
        for ring in made:
            ring.close()


def ring_round_trip(pair: Pair) -> float:
    return median(with_rings(pair, ping_ring, pong_ring, ROUNDS, 2)[0]) / 1e3


def ring_one_way(pair: Pair) -> float:
    return (COUNT - 1) / with_rings(pair, feed_ring, eat_ring, COUNT, 1)[1] * 1e3


def asleep(pair: Pair) -> float:
    """A round trip to a receiver that has fallen asleep, in microseconds."""
    return median(pair.run(loops.ping_after_a_pause, loops.pong_in_place, 8, SLEEPING_ROUNDS)[0]) / 1e3


def futex(pair: Pair) -> float:
    words = Words()
    try:
        return median(pair.run(ping_futex, pong_futex, words.name, SLEEPING_ROUNDS)[0]) / 1e3
    finally:
        words.close()


def alone_here(function: Callable[..., float], *arguments: Any) -> Take:
    """What this process does by itself, in the pair's region."""
    return lambda pair: function(pair.region, *arguments)


def in_a_crowd(processes: int, queues: int) -> Take:
    """Microseconds of a hand-over within one process, in a region of so many processes and queues."""

    def take(pair: Pair) -> float:
        with alone.crowd(processes, queues) as region:
            return min(alone.hand_over(region, COUNT // 10) for _ in range(10))

    return take


def two_to_one(many: bool) -> Take:
    return lambda pair: team.many_to_one(pair.region, 2, COUNT // 2, many)


def one_to_three(copied: bool) -> Take:
    return lambda pair: team.publish_filled(pair.region, 3, MIB, 10_000, copied)


# ---- the table ----------------------------------------------------------------------------------------------


class Figure(NamedTuple):
    """What is taken, and what it has to reach, given the medians of all."""

    name: str
    unit: str
    take: Take
    sign: str = ""
    bound: Callable[[Medians], float] = lambda medians: 0.0


PROBE = "bare cache line, round trip"
RING, RING_ONE_WAY = "spin ring, round trip, 8 B", "spin ring, one way"
IN_PLACE = "round trip, in place, 8 B"
FORWARD, FEW = "forward, 8 B", "hand-over, 2 processes, 1 queue"
FUTEX = "bare futex, round trip"

FIGURES = [
    Figure(PROBE, "µs", lambda pair: pair.probe() / 1e3),
    Figure(RING, "µs", ring_round_trip),
    Figure(
        "round trip, bytes, 8 B",
        "µs",
        round_trip(loops.ping_bytes, loops.pong_bytes, 8),
        "≤",
        lambda medians: min(0.48, medians[RING]),
    ),
    Figure(IN_PLACE, "µs", round_trip(loops.ping_in_place, loops.pong_in_place, 8), "≤", lambda _: 0.60),
    Figure(
        "round trip, in place with `with`, 8 B",
        "µs",
        round_trip(loops.ping_with, loops.pong_with, 8),
        "≤",
        lambda _: 0.75,
    ),
    Figure(
        "round trip, through .array, 8 B", "µs", round_trip(loops.ping_array, loops.pong_array, 8), "≤", lambda _: 1.0
    ),
    Figure(
        "round trip, in place, 16 MiB",
        "µs",
        round_trip(loops.ping_in_place, loops.pong_in_place, 16 * MIB),
        "≤",
        lambda medians: 1.15 * medians[IN_PLACE],
    ),
    Figure(RING_ONE_WAY, "M/s", ring_one_way),
    Figure(
        "one way, in place",
        "M/s",
        one_way(loops.feed_in_place, loops.eat_in_place),
        "≥",
        lambda medians: max(6.5, medians[RING_ONE_WAY]),
    ),
    Figure(
        "one way, bytes",
        "M/s",
        one_way(loops.feed_bytes, loops.eat_bytes),
        "≥",
        lambda medians: max(7, medians[RING_ONE_WAY]),
    ),
    Figure("one way, bytes, receiver slower", "M/s", one_way(loops.feed_bytes, loops.eat_slowly)),
    Figure("one way, receive_many", "M/s", one_way(loops.feed_many, loops.eat_many), "≥", lambda _: 10.0),
    Figure("memcpy, 1 MiB", "GB/s", lambda pair: loops.memcpy_rate(MIB, 2000)),
    Figure("memcpy, 16 MiB", "GB/s", lambda pair: loops.memcpy_rate(16 * MIB, 100)),
    Figure("whole payload, 1 MiB", "GB/s", filled(MIB, 2000), "≥", lambda medians: 0.85 * medians["memcpy, 1 MiB"]),
    Figure(
        "whole payload, 16 MiB", "GB/s", filled(16 * MIB, 100), "≥", lambda medians: 0.70 * medians["memcpy, 16 MiB"]
    ),
    Figure(FUTEX, "µs", futex),
    Figure(
        "round trip to a sleeping receiver, 8 B",
        "µs",
        asleep,
        "≤",
        lambda medians: 1.2 * medians[FUTEX],
    ),
    Figure(FORWARD, "µs", alone_here(alone.forward, 8, ROUNDS)),
    Figure(
        "forward, 16 MiB",
        "µs",
        alone_here(alone.forward, 16 * MIB, ROUNDS),
        "≤",
        lambda medians: 1.15 * medians[FORWARD],
    ),
    Figure("edit and send, 8 B", "µs", alone_here(alone.edit, 8, ROUNDS)),
    Figure("edit and send, 16 MiB", "µs", alone_here(alone.edit, 16 * MIB, ROUNDS)),
    Figure("loan and discard, 1 B to 1 MiB mixed", "µs", alone_here(alone.lend_mixed, ROUNDS)),
    Figure(
        "open an existing region", "µs", lambda pair: median(alone.open_existing(pair.region, 200)), "≤", lambda _: 200
    ),
    Figure(FEW, "µs", in_a_crowd(2, 1)),
    Figure(
        "hand-over, 1,024 processes, 1,000 queues",
        "µs",
        in_a_crowd(alone.PROCESSES, alone.QUEUES),
        "≤",
        lambda medians: 1.05 * medians[FEW],
    ),
    Figure("two to one, bytes", "M/s", two_to_one(many=False)),
    Figure("two to one, send_many to receive_many", "M/s", two_to_one(many=True), "≥", lambda _: 5),
    Figure("publish 1 MiB, filled in place, to 3", "/s", one_to_three(copied=False), "≥", lambda _: 45_000),
    Figure("publish 1 MiB, copied in, to 3", "/s", one_to_three(copied=True)),
    Figure("publish 1 MiB, copied in, to 3, one process", "/s", alone_here(alone.publish_copied, 3, MIB, 3000)),
]


def take(figures: list[Figure], runs: int) -> list[Line]:
    """Take every figure `runs` times, by turns."""
    values: dict[str, list[float]] = {figure.name: [] for figure in figures}
    with Pair() as pair:
        for _ in range(runs):
            for figure in figures:
                values[figure.name].append(figure.take(pair))
    near = sum(probe < NEAR for probe in values[PROBE])
    print(f"The cores were near (a cache line there and back in less than {NEAR} µs) in {near} of {runs} runs.")
    medians = {name: median(taken) for name, taken in values.items()}
    lines = []
    for figure in figures:
        taken = values[figure.name]
        ratio = median(value / probe for value, probe in zip(taken, values[PROBE], strict=True))
        probes = ratio if figure.unit == "µs" else 0.0
        lines.append(Line(figure.name, figure.unit, taken, figure.sign, figure.bound(medians), probes))
    return lines


def main() -> None:
    """Take, print, save."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--runs", type=int, default=5, help="how often each figure is taken (default: 5)")
    parser.add_argument(
        "--only", default="", help="only the figures with this in their name, and what they are compared to"
    )
    parser.add_argument("--json", type=Path, help="where to save the figures")
    options = parser.parse_args()
    rivals = {PROBE, RING, RING_ONE_WAY, IN_PLACE, FUTEX, FORWARD, FEW, "memcpy, 1 MiB", "memcpy, 16 MiB"}
    report(
        take([figure for figure in FIGURES if options.only in figure.name or figure.name in rivals], options.runs),
        options.json,
    )


if __name__ == "__main__":
    main()
