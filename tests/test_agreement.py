# SPDX-License-Identifier: MIT
"""Numbers that stand both in the C headers and in Python must be the same."""

import re
from pathlib import Path

import pytest

from shmq import explain, explain_region, options

HEADERS = Path(__file__).resolve().parent.parent / "include" / "shmq"
IN_PYTHON = {
    "INVALID": explain_region.INVALID,
    "NOT_FOUND": explain_region.NOT_FOUND,
    "EXISTS": explain_region.EXISTS,
    "SECURITY": explain_region.SECURITY,
    "PERMISSION": explain_region.PERMISSION,
    "VERSION": explain_region.VERSION,
    "SIZE": explain_region.SIZE,
    "CORRUPT": explain_region.DAMAGED,
    "SPACE": explain_region.SPACE,
    "REGISTRY_FULL": explain_region.REGISTRY_FULL,
    "GONE": explain_region.GONE,
    "LOST": explain_region.LOST,
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
