# SPDX-License-Identifier: MIT
"""Which branches of the C core no test takes.

Reads what gcov knows of the programs in a folder, all built with --coverage and run, and merges it: a branch counts as
taken if any program took it. tests/untaken.txt names those that none takes, each with the reason; what stands there
and is taken, or is not there and is not taken, is a failure.

    python tests/branches.py FOLDER [--list]
"""

from __future__ import annotations

import argparse
import collections
import json
import math
import pathlib
import subprocess
import sys

ROOT = pathlib.Path(__file__).parent.parent
UNTAKEN = ROOT / "tests/untaken.txt"
PENDING = "No test takes it yet."


def notes(folder: pathlib.Path):
    """What gcov says of each program, one source file at a time."""
    for data in sorted(folder.glob("*.gcda")):
        command = ["gcov", "--json-format", "--branch-probabilities", "--stdout", data.name]
        text = subprocess.run(command, cwd=folder, check=True, capture_output=True, text=True).stdout
        for line in text.splitlines():
            yield from json.loads(line)["files"]


def folded(ways: list[list[int]]) -> list[int]:
    """Of a line's copies in several functions one: they are what the numbers of its branches have in common."""
    length = math.gcd(*map(len, ways))
    return [sum(sum(way[at::length]) for way in ways) for at in range(length)]


def merge(files) -> dict[str, dict[int, dict]]:
    """By header and line: was it run, its function, and of each branch how often it was taken.

    Programs that reach the kernel, or memory, through a hook have more branches in a line than others have: each
    number of branches is merged for itself, and the one with fewest left over counts. A function that is inlined
    wherever it is named has no name for gcov, and each of its lines the branches of all its copies, one after the
    other: there a branch is taken if any copy takes it.
    """
    merged: dict = collections.defaultdict(dict)
    for file in files:
        path = pathlib.PurePath(file["file"])
        if path.parent.name != "shmq" or path.parent.parent.name != "include":
            continue
        for line in file["lines"]:
            function = line.get("function_name", "")
            at = merged[path.name].setdefault(line["line_number"], {"count": 0, "function": function, "ways": {}})
            at["count"] += line["count"]
            if at["function"] != function:
                at["function"] = ""
            taken = [branch["count"] for branch in line["branches"]]
            before = at["ways"].get(len(taken), [0] * len(taken))
            at["ways"][len(taken)] = [one + other for one, other in zip(before, taken, strict=True)]
    for lines in merged.values():
        for at in lines.values():
            ways = [way for way in at["ways"].values() if way] or [[]]
            if not at["function"]:
                ways = [folded(ways)]
            at["branches"] = min(ways, key=lambda way: way.count(0))
    return merged


def untaken(merged) -> dict[tuple[str, str, str], int]:
    """By header, function and text of the line: how many of its branches nobody takes."""
    found: dict = collections.Counter()
    for header, lines in merged.items():
        text = (ROOT / "include/shmq" / header).read_text().splitlines()
        for number, at in lines.items():
            if at["branches"].count(0):
                found[header, at["function"] or "-", text[number - 1].strip()] += at["branches"].count(0)
    return dict(found)


def listed(text: str) -> dict[tuple[str, str, str], tuple[int, str]]:
    """The same from the list, and why: three lines each, the first `header function branches`; # begins a comment."""
    lines = [line.strip() for line in text.splitlines() if line.strip() and not line.startswith("#")]
    known = {}
    for head, line, why in zip(lines[::3], lines[1::3], lines[2::3], strict=True):
        header, function, branches = head.split()
        known[header, function, line] = int(branches), why
    return known


def differences(found, known) -> list[str]:
    """What the list does not say, or says and is not so."""
    told = []
    for key in sorted(found.keys() | known.keys()):
        expected = known[key][0] if key in known else 0
        if found.get(key, 0) > expected:
            told.append(f"{key[0]}: {key[1]}: {found[key] - expected} not taken: {key[2]}")
        elif found.get(key, 0) < expected:
            told.append(f"{key[0]}: {key[1]}: {expected - found.get(key, 0)} listed, but taken or gone: {key[2]}")
    return told


def table(merged) -> list[str]:
    """Per header: lines and branches, taken and in all."""
    rows, total = [], [0, 0, 0, 0]
    for header, lines in sorted(merged.items()):
        branches = [taken for at in lines.values() for taken in at["branches"]]
        row = [
            sum(at["count"] > 0 for at in lines.values()),
            len(lines),
            len(branches) - branches.count(0),
            len(branches),
        ]
        rows.append(f"{header:22} lines {row[0]:5} of {row[1]:5}   branches {row[2]:5} of {row[3]:5}")
        total = [one + other for one, other in zip(total, row, strict=True)]
    rows.append(f"{'all':22} lines {total[0]:5} of {total[1]:5}   branches {total[2]:5} of {total[3]:5}")
    return rows


def as_list(found) -> str:
    """The list that would fit, without its reasons."""
    return "\n".join(
        f"{header} {function} {branches}\n    {line}\n    {PENDING}\n"
        for (header, function, line), branches in sorted(found.items())
    )


def main() -> int:
    """Print the figures; 1 where the list is not right."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", type=pathlib.Path)
    parser.add_argument(
        "--list", action="store_true", help="print the branches that are not taken, as the list has them"
    )
    given = parser.parse_args()
    merged = merge(notes(given.folder))
    found = untaken(merged)
    if given.list:
        print(as_list(found))
        return 0
    known = listed(UNTAKEN.read_text())
    print("\n".join(table(merged)))
    pending = sum(branches for branches, why in known.values() if why == PENDING)
    never = sum(branches for branches, _ in known.values()) - pending
    print(f"listed: {never} branches that cannot be taken, {pending} that no test takes yet")
    wrong = differences(found, known)
    print("\n".join(wrong))
    return bool(wrong)


if __name__ == "__main__":
    sys.exit(main())
