# SPDX-License-Identifier: MIT
"""The demonstration: its parts, and the whole on the real standard library."""

import os
import re
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from conftest import ROOT, TIMEOUT, environment
from helpers import until

import shmq.demo
from shmq import cli
from shmq.demo import pieces, terminal
from shmq.demo.company import Company
from shmq.demo.ways import WAYS


@pytest.fixture
def library(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A small standard library: empty and small files, one in several pieces, and what does not belong."""
    files = {"empty.py": 0, "small.py": 10, "package/large.bin": 3_000_000, "package/even.bin": 1 << 19}
    others = {"site-packages/installed.py": 5, "__pycache__/code.pyc": 5, "package/__pycache__/code.pyc": 5}
    for number, (name, size) in enumerate((files | others).items()):
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(
            bytes((number + index * 7) % 251 for index in range(251)) * (size // 251) + b"!" * (size % 251)
        )
    (tmp_path / "dangling.py").symlink_to(tmp_path / "nowhere")
    monkeypatch.setattr(shmq.demo, "library_path", lambda: str(tmp_path))
    return tmp_path


def test_the_library_is_its_files_without_packages_and_byte_code(library: Path) -> None:
    found = [Path(path).relative_to(library).as_posix() for path in pieces.library_files(str(library))]
    assert found == ["empty.py", "small.py", "package/even.bin", "package/large.bin"]


def test_a_large_file_goes_in_pieces_that_are_the_whole_file(library: Path) -> None:
    large = str(library / "package/large.bin")
    cut = pieces.cut(iter([large]), 1 << 20)
    assert [piece.nbytes for piece in cut] == [1 << 20, 1 << 20, 3_000_000 - (2 << 20)]
    reader = pieces.Reader()
    assert b"".join(reader.read(piece) for piece in cut) == Path(large).read_bytes()


@pytest.mark.parametrize(("size", "count"), [(0, 1), (1, 1), (100, 1), (101, 2), (200, 2)])
def test_every_file_is_at_least_one_piece(tmp_path: Path, size: int, count: int) -> None:
    path = tmp_path / "file"
    path.write_bytes(bytes(size))
    cut = pieces.cut(iter([str(path)]), 100)
    assert len(cut) == count
    assert sum(piece.nbytes for piece in cut) == size


def test_both_ways_of_reading_read_the_same_and_take_time(library: Path) -> None:
    reader = pieces.Reader()
    for piece in pieces.cut(pieces.library_files(str(library)), 1 << 20):
        buffer = bytearray(piece.nbytes)
        reader.read_into(piece, buffer)
        assert buffer == reader.read(piece)
    assert reader.nanoseconds > 0


def test_a_file_that_shrinks_under_the_reader_is_an_error(library: Path) -> None:
    piece = pieces.Piece(str(library / "small.py"), 5, 10)
    with pytest.raises(OSError, match="changed: 5 bytes at 5 where 10 were expected"):
        pieces.Reader().read(piece)
    with pytest.raises(OSError, match="changed"):
        pieces.Reader().read_into(piece, bytearray(10))


@pytest.mark.parametrize("way", [kind.name for kind in WAYS])
def test_each_way_hands_over_every_piece_once_and_answers_pings(library: Path, way: str) -> None:
    plan = pieces.cut(pieces.library_files(str(library)), 1 << 20)
    reader = pieces.Reader()
    with shmq.Region.create("parts", 16 << 20) as region, Company(region.name, plan) as company:
        producer, consumers = company.files(way, lambda sent: None)
        digests = [item for consumer in consumers for item in consumer.digests.items()]
        assert sorted(digests) == [(number, pieces.digest(reader.read(piece))) for number, piece in enumerate(plan)]
        assert producer.cpu >= producer.work > 0
        assert all(consumer.ended > producer.began for consumer in consumers)
        for nbytes in (8, 100_000):
            times = company.round_trips(way, nbytes, 0.01)
            assert len(times) >= 10
            assert min(times) > 0


def test_a_process_that_fails_is_reported_with_its_traceback(library: Path) -> None:
    plan = [pieces.Piece(str(library / "not there"), 0, 8)]
    with (
        shmq.Region.create("failing", 16 << 20) as region,
        Company(region.name, plan) as company,
        pytest.raises(RuntimeError, match=r"process 0 failed:(.|\n)*FileNotFoundError"),
    ):
        company.files("Queue", lambda sent: None)


def test_a_digest_that_differs_is_counted_and_makes_the_exit_status_1(
    library: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    honest = shmq.demo.library.digest
    monkeypatch.setattr(shmq.demo.library, "digest", lambda data: b"" if len(data) == 10 else honest(data))
    assert shmq.demo.run(rounds=1, quick=True) == 1
    assert "shmq: 1 digests differ from the disk's or are missing" in capsys.readouterr().out


@pytest.mark.timeout(180)
def test_the_whole_standard_library_arrives(python: Callable[..., str]) -> None:
    out = python("-m", "shmq", "demo", "--quick", timeout=150)
    files = len({piece.path for piece in pieces.cut(pieces.library_files(pieces.library_path()), 1 << 24)})
    assert f"{files:,} files" in out
    assert re.search(r"All [\d,]+ digests are the disk's own", out)
    for kind in WAYS:
        assert re.search(rf"^ *{kind.name} .* ms ", out, re.MULTILINE)


def test_plain_text_does_without_rich(capsys: pytest.CaptureFixture[str]) -> None:
    out = terminal.PlainTerminal()
    out.table(
        "Title",
        [["", "a", "long"], ["", "", "name"]],
        [["x", "1", "2"], ["longer", "30", ""]],
        lambda row, column: False,
    )
    with out.progress("working", 3) as advance:
        advance(1)
    assert capsys.readouterr().out.splitlines() == [
        "",
        "Title",
        "",
        "           a  long",
        "              name",
        "  ------  --  ----",
        "  x        1     2",
        "  longer  30",
        "",
        "  working",
    ]


@pytest.mark.parametrize("arguments", [[], ["nothing"], ["demo", "--rounds", "0"], ["demo", "--rounds", "x"]])
def test_a_wrong_command_line_is_told_apart(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as stopped:
        cli.main(arguments)
    assert stopped.value.code == 2
    told = capsys.readouterr().err
    assert "usage: shmq" in told
    assert "--rounds" not in arguments or f"'{arguments[-1]}' is not a whole number from 1 up" in told


@pytest.fixture
def running_demo() -> Iterator[subprocess.Popen[str]]:
    """The demonstration after its first round, in a session of its own."""
    command = [sys.executable, "-m", "shmq", "demo"]
    settings = {"stdout": subprocess.PIPE, "stderr": subprocess.STDOUT, "text": True, "start_new_session": True}
    with subprocess.Popen(
        command,
        env=environment(),
        cwd=ROOT,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),  # ignored where tests run in the background
        **settings,
    ) as process:
        seen = ""
        while "round 1" not in seen:
            line = process.stdout.readline()
            assert line, f"the demonstration ended early: {seen}"
            seen += line
        yield process
        process.kill()


def test_ctrl_c_ends_the_demonstration_quietly(running_demo: subprocess.Popen[str]) -> None:
    os.killpg(running_demo.pid, signal.SIGINT)
    out, _ = running_demo.communicate(timeout=TIMEOUT)
    assert running_demo.returncode == 130
    assert "Traceback" not in out


def test_killing_the_demonstration_leaves_nothing_behind(running_demo: subprocess.Popen[str]) -> None:
    running_demo.kill()
    running_demo.communicate(timeout=TIMEOUT)  # until the last process that writes to the pipe has closed it
    until(lambda: shmq.list_regions() == [])  # the kernel frees a dead process's lock some milliseconds later
