# SPDX-License-Identifier: MIT
"""record.py FIGURES TABLE COMMIT: add a run's figures to the table as a row, and add all rows up."""

import json
import sys
from datetime import date
from pathlib import Path

COUNTS = ["kills", "python_kills", "frozen", "messages"]
COUNTS += ["lost", "duplicated", "torn", "disordered", "leaked", "hung", "crashed"]
TOTAL = "| all |"


def row(figures: dict[str, float], commit: str) -> str:
    cells = [date.today().isoformat(), commit]
    cells += [f"{figures[name]:,}" for name in COUNTS]
    cells += [f"{figures[name]:.1f}" for name in ("p50_ms", "p99_ms", "max_ms")]
    cells += [f"{figures['seconds'] / 60:.1f}"]
    return "| " + " | ".join(cells) + " |"


def cells_of(line: str) -> list[str]:
    return [cell.strip().replace(",", "") for cell in line.strip().strip("|").split("|")]


def add_up(rows: list[str]) -> str:
    """Counts and minutes are added, of the longest times it is the longest; a median of medians would say nothing."""
    table = [cells_of(line) for line in rows]
    counts = [f"{sum(int(cells[2 + i]) for cells in table):,}" for i in range(len(COUNTS))]
    longest = max(float(cells[-2]) for cells in table)
    minutes = sum(float(cells[-1]) for cells in table)
    cells = [f"{len(rows)} runs", *counts, "", "", f"{longest:.1f}", f"{minutes:.1f}"]
    return TOTAL + " " + " | ".join(cells) + " |"


def main(figures: str, table: str, commit: str) -> None:
    path = Path(table)
    lines = [line for line in path.read_text().splitlines() if not line.startswith(TOTAL)]
    lines.append(row(json.loads(Path(figures).read_text()), commit))
    lines.append(add_up([line for line in lines if line.startswith("| 2")]))
    path.write_text("\n".join(lines) + "\n")


if __name__ == "__main__":
    main(*sys.argv[1:])
