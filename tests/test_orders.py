# SPDX-License-Identifier: MIT
"""Every label in a comment about memory order names a step of the algorithm, and one that some code takes."""

import re
from pathlib import Path

HEADERS = Path(__file__).resolve().parent.parent / "include" / "shmq"
STEPS = set(re.findall(r"X\((\w+),", (HEADERS / "steps.h").read_text()))
TEXTS = {header.name: header.read_text() for header in HEADERS.glob("*.h") if header.name != "steps.h"}
LABEL = re.compile(r"\b[A-Z][A-Z0-9]*(?:_[A-Z0-9]+)*\b")


def test_whatever_a_load_pairs_with_is_a_step_that_is_taken() -> None:
    taken = {step for text in TEXTS.values() for step in re.findall(r"\bSHMQ_(\w+)\b", text)}
    pairs = [(name, words) for name, text in TEXTS.items() for words in re.findall(r"pairs with ([^*:.;]+)", text)]
    assert len(pairs) > 30
    for name, words in pairs:
        labels = set(LABEL.findall(words)) - {"CAS"}
        assert labels, f"{name}: pairs with {words!r}: with which step?"
        assert labels <= STEPS & taken, f"{name}: pairs with {sorted(labels - (STEPS & taken))}, which no code takes"


def test_every_step_is_taken_somewhere() -> None:
    taken = {step for text in TEXTS.values() for step in re.findall(r"\bSHMQ_(\w+)\b", text)}
    assert sorted(STEPS - taken) == []
