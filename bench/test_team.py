# SPDX-License-Identifier: MIT
"""Hand-overs among more than two processes; where there are fewer cores than processes, they share them."""

from typing import Any

import pytest
import team

import shmq

Benchmark = Any


@pytest.mark.parametrize("nbytes", [8, 1 << 20])
@pytest.mark.parametrize("subscribers", [1, 3])
def test_publishing_filled_payloads(benchmark: Benchmark, region: shmq.Region, subscribers: int, nbytes: int) -> None:
    rate = benchmark.pedantic(team.publish_filled, (region, subscribers, nbytes, 3000), rounds=1)
    benchmark.extra_info["messages a second"] = rate


@pytest.mark.parametrize("senders", [1, 2, 3])
def test_many_to_one(benchmark: Benchmark, region: shmq.Region, senders: int) -> None:
    benchmark.extra_info["M/s"] = benchmark.pedantic(team.many_to_one, (region, senders, 100_000), rounds=1)
