# SPDX-License-Identifier: MIT
"""Hand-overs between two processes on two cores: the time of a whole run of them."""

from collections.abc import Callable
from statistics import median
from typing import Any

import loops
import pytest
from pair import Pair

Benchmark = Any
ROUNDS = 20_000


@pytest.mark.parametrize(
    ("ping", "pong"),
    [
        (loops.ping_bytes, loops.pong_bytes),
        (loops.ping_in_place, loops.pong_in_place),
        (loops.ping_with, loops.pong_with),
        (loops.ping_array, loops.pong_array),
    ],
    ids=["bytes", "in place", "with", "array"],
)
def test_round_trips_of_8_bytes(
    benchmark: Benchmark, pair: Pair, ping: Callable[..., Any], pong: Callable[..., Any]
) -> None:
    times, _ = benchmark.pedantic(pair.run, (ping, pong, 8, ROUNDS), rounds=5, warmup_rounds=1)
    benchmark.extra_info["p50 µs"] = median(times) / 1e3


def test_round_trips_of_16_mib_in_place(benchmark: Benchmark, pair: Pair) -> None:
    arguments = (loops.ping_in_place, loops.pong_in_place, 16 << 20, ROUNDS)
    times, _ = benchmark.pedantic(pair.run, arguments, rounds=5, warmup_rounds=1)
    benchmark.extra_info["p50 µs"] = median(times) / 1e3


@pytest.mark.parametrize(
    ("feed", "eat"),
    [
        (loops.feed_bytes, loops.eat_bytes),
        (loops.feed_in_place, loops.eat_in_place),
        (loops.feed_bytes, loops.eat_slowly),
    ],
    ids=["bytes", "in place", "receiver slower"],
)
def test_one_way(benchmark: Benchmark, pair: Pair, feed: Callable[..., Any], eat: Callable[..., Any]) -> None:
    _, nanoseconds = benchmark.pedantic(pair.run, (feed, eat, 8, ROUNDS * 5), rounds=5, warmup_rounds=1)
    benchmark.extra_info["M/s"] = ROUNDS * 5 / nanoseconds * 1e3
