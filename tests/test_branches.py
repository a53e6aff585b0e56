# SPDX-License-Identifier: MIT
"""`make coverage` notices a branch that no test takes, and one that is wrongly listed as such."""

from __future__ import annotations

from branches import ROOT, UNTAKEN, differences, listed, merge, untaken


def of_gcov(header, line, counts, function="f"):
    """What gcov tells of one line of a header; of one in several functions it names none."""
    branches = [{"count": count} for count in counts]
    found = {"line_number": line, "count": 1, "branches": branches}
    if function:
        found["function_name"] = function
    return {"file": f"include/shmq/{header}", "lines": [found]}


def line_of(header, number):
    return (ROOT / "include/shmq" / header).read_text().splitlines()[number - 1]


def test_a_branch_is_taken_if_any_program_takes_it():
    merged = merge([of_gcov("wait.h", 1, [0, 3]), of_gcov("wait.h", 1, [2, 0])])
    assert not untaken(merged)


def test_of_programs_with_more_branches_in_a_line_those_count_that_leave_fewest():
    merged = merge([of_gcov("wait.h", 1, [1, 0, 0, 1]), of_gcov("wait.h", 1, [1, 0])])
    assert list(untaken(merged).values()) == [1]


def test_of_a_line_that_is_inlined_in_several_functions_a_branch_is_taken_if_any_copy_takes_it():
    copies = [of_gcov("wait.h", 1, [5, 0, 3, 0], None), of_gcov("wait.h", 1, [1, 0, 0, 2, 4, 0], None)]
    assert not untaken(merge(copies))
    copies = [of_gcov("wait.h", 1, [5, 0, 3, 0], None), of_gcov("wait.h", 1, [1, 0], "shmq_wait")]
    assert untaken(merge(copies)) == {("wait.h", "-", line_of("wait.h", 1)): 1}


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
