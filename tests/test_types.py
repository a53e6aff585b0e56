# SPDX-License-Identifier: MIT
"""The type stubs say what the compiled modules have, and what they say is of use; `make lint` runs mypy.stubtest."""

import ast
import importlib
import importlib.util
import os
import subprocess
import sys
from pathlib import Path

import pytest
from conftest import ROOT

PACKAGE = ROOT / "shmq"
COMPILED = sorted(path.stem for path in PACKAGE.glob("*.pyx"))

mypy = pytest.mark.skipif(not importlib.util.find_spec("mypy"), reason="needs mypy: make lint installs it")


def stub_names(body: list[ast.stmt], prefix: str = "") -> set[str]:
    """What a stub declares: functions, classes and, with a dot, what classes have."""
    found = set()
    for statement in body:
        if isinstance(statement, (ast.FunctionDef, ast.ClassDef)) and not statement.name.startswith("_"):
            found.add(prefix + statement.name)
        if isinstance(statement, ast.ClassDef):
            found |= stub_names(statement.body, f"{statement.name}.")
    return found


def real_names(module_name: str) -> set[str]:
    """What a compiled module has of its own, in the same form."""
    module = importlib.import_module(f"shmq.{module_name}")
    found = set()
    for name, value in vars(module).items():
        if name.startswith("_") or getattr(value, "__module__", None) != module.__name__:
            continue
        found.add(name)
        if isinstance(value, type):
            found |= {f"{name}.{attribute}" for attribute in vars(value) if not attribute.startswith("_")}
    return found


@pytest.mark.parametrize("name", COMPILED)
def test_a_stub_declares_exactly_what_its_module_has(name: str) -> None:
    declared = stub_names(ast.parse((PACKAGE / f"{name}.pyi").read_text()).body)
    assert declared == real_names(name)


def test_the_package_says_that_it_is_typed() -> None:
    assert (PACKAGE / "py.typed").exists()
    assert '"py.typed", "*.pyi"' in (ROOT / "pyproject.toml").read_text()


def run(*command: str) -> str:
    done = subprocess.run(
        [sys.executable, "-m", *command],
        cwd=ROOT,
        env={**os.environ, "MYPYPATH": str(ROOT), "PYTHONPATH": str(ROOT), "NO_COLOR": "1"},
        capture_output=True,
        text=True,
        timeout=55,
    )
    return done.stdout + done.stderr if done.returncode else ""


USES = """
from typing import Any, Optional
import numpy as np
import numpy.typing as npt
from typing_extensions import assert_type
import shmq

with shmq.open("r", size="1MiB") as region:
    assert_type(region, shmq.Region)
    tx, rx = region.sender("q"), region.receiver("q", shared=True)
    with tx.loan((2, 3), "f4", label=1) as loan:
        assert_type(loan.array, npt.NDArray[Any])
        assert_type(loan[0], int)
        loan[0:2] = b"ab"
        loan[1] = 3
    assert_type(tx.send(np.zeros(3)), bool)
    tx.send(loan.memoryview)
    for message in rx:
        with message:
            assert_type(message, shmq.Message)
            assert_type(message[0], int)
            assert_type(message[1:], bytes)
            assert_type(message.sender, Optional[str])
            tx.send(message)
            memoryview(message)
    publisher, subscriber = region.publisher("t"), region.subscriber("t", depth=5, overflow="drop_oldest")
    assert_type(publisher, shmq.Publisher)
    assert_type(subscriber, shmq.Receiver)
    assert_type(publisher.send(b"x", label=1, timeout=0), int)
    assert_type(publisher.send_nowait(np.zeros(3)), int)
    assert_type(publisher.subscribers, int)
    assert_type(publisher.loan(5).send(), int)
    assert_type(tx.send(publisher.loan(5)), bool)
    assert_type(tx.send_many([b"x", tx.loan(5), np.zeros(3)]), int)
    assert_type(subscriber.dropped, int)
    assert_type(subscriber.qsize(), int)
    assert_type(subscriber.receive_many(5, 0), list[shmq.Message])
    message = subscriber.receive(0)
    assert_type(message.edit(), shmq.Loan)
    assert_type(message.edit(publisher, timeout=0), shmq.Loan)
    assert_type(message.forward(tx), bool)
    assert_type(message.forward(publisher, timeout=0), int)
    publisher.shutdown()
    assert_type(region.process, str)
    assert_type(region.inbox, shmq.Receiver)
    assert_type(region.peer("somebody"), shmq.Sender)
    assert_type(region.processes()[0].pid, int)
    assert_type(shmq.list_regions()[0].name, str)
try:
    rx.receive(timeout=None)
except (shmq.Empty, shmq.ShutDown, shmq.ShmqError) as error:
    print(error)
"""

MISUSES = {
    "tx.send('text')": "arg-type",
    "tx.send(b'x', timeout='1')": "arg-type",
    "tx.loan(5, label='1')": "call-overload",
    "tx.loan((2, 3))": "call-overload",
    "rx.receive(b'1')": "arg-type",
    "rx.receive(0).label = 5": "misc",
    "rx.receive(0)[0] = 5": "index",
    "region.receiver('q', overflow='drop')": "arg-type",
    "region.subscriber('t', overflow='drop')": "arg-type",
    "region.subscriber('t', shared=True)": "call-arg",
    "region.publisher('t', depth=3)": "call-arg",
    "rx.receive(0).forward(rx)": "arg-type",
    "rx.receive(0).forward()": "call-arg",
    "rx.receive(0).edit('q')": "arg-type",
    "region.inbox.send(b'x')": "attr-defined",
    "rx.dropped = 5": "misc",
    "shmq.Message(5)": "arg-type",
    "shmq.open(5)": "arg-type",
    "region.nothing": "attr-defined",
}


@mypy
def test_mypy_understands_a_program_that_uses_everything(tmp_path: Path) -> None:
    (tmp_path / "uses.py").write_text(USES)
    assert run("mypy", "--strict", "--config-file=", str(tmp_path / "uses.py")) == ""


@mypy
def test_mypy_refuses_what_would_fail(tmp_path: Path) -> None:
    lines = ["import shmq", "region = shmq.open('r')", "tx, rx = region.sender('q'), region.receiver('q')", *MISUSES]
    (tmp_path / "misuses.py").write_text("\n".join(lines) + "\n")
    found = run("mypy", "--strict", "--config-file=", str(tmp_path / "misuses.py"))
    for number, (text, kind) in enumerate(MISUSES.items(), 4):
        reports = [line for line in found.splitlines() if f"misuses.py:{number}: error" in line]
        assert any(f"[{kind}]" in line for line in reports), f"{text}: {reports}"
