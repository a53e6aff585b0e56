# SPDX-License-Identifier: MIT
"""Numbers that stand both in the C headers and in Python must be the same."""

import re
from pathlib import Path

import pytest

from shmq import explain, options

HEADERS = Path(__file__).resolve().parent.parent / "include" / "shmq"
IN_PYTHON = {
    "INVALID": explain.INVALID,
    "NOT_FOUND": explain.NOT_FOUND,
    "EXISTS": explain.EXISTS,
    "SECURITY": explain.SECURITY,
    "PERMISSION": explain.PERMISSION,
    "VERSION": explain.VERSION,
    "SIZE": explain.SIZE,
    "CORRUPT": explain.DAMAGED,
    "SPACE": explain.SPACE,
    "REGISTRY_FULL": explain.REGISTRY_FULL,
    "GONE": explain.GONE,
    "LOST": explain.LOST,
}
RESULTS = ("FULL", "EMPTY", "CLOSED", "SHUT", "STALE", "CORRUPT")


@pytest.mark.parametrize("name", IN_PYTHON)
def test_an_error_code_is_the_headers(name: str) -> None:
    found = re.search(rf"SHMQ_ERROR_{name} = (-\d+)", (HEADERS / "error.h").read_text())
    assert found
    assert int(found[1]) == IN_PYTHON[name]


@pytest.mark.parametrize("name", RESULTS)
def test_a_result_is_the_headers(name: str) -> None:
    found = re.search(rf"SHMQ_{name} = (-?\d+)", (HEADERS / "map.h").read_text())
    assert found
    assert int(found[1]) == getattr(explain, name)


def test_the_limits_are_the_headers() -> None:
    layout = (HEADERS / "layout.h").read_text()
    for name, value in (("NAME_MAX", options.NAME_MAX), ("MAX_DEPTH", options.DEPTH_MAX)):
        found = re.search(rf"#define SHMQ_{name} (\d+)", layout)
        assert found
        assert int(found[1]) == value
