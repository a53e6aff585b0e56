# SPDX-License-Identifier: MIT
"""`make coverage` notices a branch that no test takes, and one that is wrongly listed as such."""

from __future__ import annotations

from branches import UNTAKEN, differences, listed, merge, untaken


def of_gcov(header, line, counts):
    """What gcov tells of one line of a header."""
    branches = [{"count": count} for count in counts]
    found = {"line_number": line, "count": 1, "function_name": "f", "branches": branches}
    return {"file": f"include/shmq/{header}", "lines": [found]}


def test_a_branch_is_taken_if_any_program_takes_it():
    merged = merge([of_gcov("wait.h", 1, [0, 3]), of_gcov("wait.h", 1, [2, 0])])
    assert not untaken(merged)


def test_of_programs_with_more_branches_in_a_line_those_count_that_leave_fewest():
    merged = merge([of_gcov("wait.h", 1, [1, 0, 0, 1]), of_gcov("wait.h", 1, [1, 0])])
    assert list(untaken(merged).values()) == [1]


def test_other_files_do_not_count():
    assert not merge([{**of_gcov("wait.h", 1, [0]), "file": "tests/c/check.h"}])


def test_what_is_not_taken_must_be_listed_and_what_is_listed_must_not_be_taken():
    key = ("wait.h", "f", "if (a)")
    assert not differences({key: 1}, {key: (1, "why")})
    assert "1 not taken" in differences({key: 2}, {key: (1, "why")})[0]
    assert "1 listed, but taken" in differences({key: 1}, {key: (2, "why")})[0]
    assert "not taken" in differences({key: 1}, {})[0]
    assert "listed, but taken" in differences({}, {key: (1, "why")})[0]


def test_the_list_can_be_read_and_gives_reasons():
    known = listed(UNTAKEN.read_text())
    assert known
    assert all(branches > 0 and why for branches, why in known.values())
