# SPDX-License-Identifier: MIT
"""The examples run as their first lines say, and do what they claim."""

import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from conftest import ROOT, TIMEOUT, environment

EXAMPLES = sorted((ROOT / "examples").glob("*.py"))


@pytest.mark.parametrize("example", EXAMPLES, ids=lambda path: path.stem)
def test_an_example_is_short(example: Path) -> None:
    assert len(example.read_text().splitlines()) < 60


def test_every_example_is_run_by_a_test() -> None:
    here = Path(__file__).read_text()
    assert [example.name for example in EXAMPLES if f"examples/{example.name}" not in here] == []


@pytest.mark.parametrize("nbytes", ["1", "8", "1048576"])
def test_ping_pong_tells_its_times(python: Callable[..., str], nbytes: str) -> None:
    out = python("examples/ping_pong.py", nbytes, "500")
    assert re.fullmatch(r"500 round trips of [\d,]+ bytes: p50 [\d.]+ µs, p99 [\d.]+ µs\n", out)


def test_the_consumer_sees_every_frame_of_the_producer() -> None:
    """As a user would: two programs, the consumer first."""
    started = [
        subprocess.Popen([sys.executable, *line], env=environment(), cwd=ROOT, stdout=subprocess.PIPE, text=True)
        for line in (["examples/consumer.py"], ["examples/producer.py", "150"])
    ]
    try:
        consumer, producer = (process.communicate(timeout=TIMEOUT)[0] for process in started)
    finally:
        for process in started:
            process.kill()
            process.wait()
    assert producer == "150 frames sent\n"
    assert consumer.splitlines()[0] == "frame 0: spot at row 0, column 0"
    assert consumer.splitlines()[-1] == "150 frames seen, the spot found in 150"
    assert [process.returncode for process in started] == [0, 0]


def test_the_tiles_of_two_workers_make_the_picture(python: Callable[..., str]) -> None:
    assert python("examples/arrays.py", "2", timeout=60).splitlines()[-1].startswith("64 tiles from 2 workers")


def test_what_readers_of_one_signal_see_and_miss_adds_up(python: Callable[..., str]) -> None:
    blocks = 300
    lines = dict(line.split(": ") for line in python("examples/fanout.py", str(blocks), timeout=60).splitlines())
    assert sorted(lines) == ["display", "monitor", "recorder"]
    for reader, line in lines.items():
        found = re.fullmatch(r"(\d+) blocks seen, (\d+) missed, the last was (\d+), peak ([\d.]+)", line)
        assert found
        seen, missed, last = map(int, found.groups()[:3])
        assert seen + missed == blocks
        assert reader == "monitor" or last == blocks - 1
        if reader == "recorder":
            assert (missed, found[4]) == (0, "99.0")


def test_a_frame_passes_three_stages_without_being_copied(python: Callable[..., str]) -> None:
    out = python("examples/pass_it_on.py", "60", timeout=60)
    assert out == "60 of 60 frames are right after 3 stages, 0 were copied on the way\n"


def test_a_bank_answers_each_of_its_clients(python: Callable[..., str]) -> None:
    lines = python("examples/inbox.py", "3", timeout=60).splitlines()
    assert sorted(lines) == ["client-1 has 100", "client-2 has 200", "client-3 has 300"]
