# SPDX-License-Identifier: MIT
"""How figures are printed and saved."""

import json
from collections.abc import Sequence
from pathlib import Path
from statistics import median
from typing import NamedTuple

from machine import describe


class Line(NamedTuple):
    """One figure: all its runs, and what it has to reach where something was promised."""

    name: str
    unit: str
    runs: Sequence[float]
    sign: str = ""  # "≤" or "≥"
    bound: float = 0.0
    probes: float = 0.0  # of a time: how many cache-line round trips of its own run it was, the median


def met(line: Line) -> bool:
    """Whether the median keeps to the bound."""
    value = median(line.runs)
    return not line.sign or (value <= line.bound if line.sign == "≤" else value >= line.bound)


def number(value: float) -> str:
    """Three significant digits, and no exponent where there is room."""
    return f"{value:,.0f}" if abs(value) >= 100 else f"{value:.3g}"


def report(lines: Sequence[Line], path: Path | None = None) -> None:
    """Print a table, and save everything with the machine's description if there is a path."""
    source = describe()
    print(", ".join(f"{key} {value}" for key, value in source.items()))
    width = max(len(line.name) for line in lines)
    print(f"\n{'':{width}}  {'median':>9} {'least':>9} {'most':>9}  {'× probe':>8}  {'must':>9}")
    for line in lines:
        bound = f"{line.sign} {number(line.bound)}" if line.sign else ""
        cells = [number(value) for value in (median(line.runs), min(line.runs), max(line.runs))]
        probes = f"{line.probes:.2f}" if line.probes else ""
        verdict = "" if met(line) else "  missed"
        values = " ".join(f"{cell:>9}" for cell in cells)
        print(f"{line.name:{width}}  {values}  {probes:>8}  {bound:>9}  {line.unit}{verdict}")
    if path:
        path.parent.mkdir(parents=True, exist_ok=True)
        figures = {line.name: {**line._asdict(), "median": median(line.runs), "met": met(line)} for line in lines}
        path.write_text(json.dumps({**source, "figures": figures}, indent=1, ensure_ascii=False) + "\n")
        print(f"\nsaved to {path}")
