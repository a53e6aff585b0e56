# SPDX-License-Identifier: MIT
"""What the documents point to is there."""

import re
from pathlib import Path

import pytest
from conftest import ROOT

DOCUMENTS = sorted([*ROOT.glob("*.md"), *ROOT.glob("docs/*.md")])


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: path.name)
def test_a_document_names_tests_and_files_that_exist(document: Path) -> None:
    text = document.read_text()
    for name, test in re.findall(r"`(test_\w+\.py)::(\w+)`", text):
        assert f"def {test}(" in (ROOT / "tests" / name).read_text(), f"{name}::{test}"
    for name in re.findall(r"`((?:c|step|soak|corrupt|models)/\w+\.(?:[ch]|cc|py|pml|sh|sed|mk))`", text):
        assert (ROOT / "tests" / name).exists(), name
    for name in re.findall(r"`(test_\w+\.py)`", text):
        assert (ROOT / "tests" / name).exists(), name
    for link in re.findall(r"\]\((?!\w+:|#)([^)#]+)", text):
        assert (document.parent / link).exists(), link


def test_every_row_of_the_errors_has_a_test_and_every_test_of_them_a_row() -> None:
    rows = re.findall(r"^\| (?!situation|---).*\|$", (ROOT / "docs/errors.md").read_text(), re.MULTILINE)
    named = [test for row in rows for test in re.findall(r"`test_error_table(?:_use)?\.py::(\w+)`", row)]
    tests = "".join((ROOT / f"tests/test_error_table{which}.py").read_text() for which in ("", "_use"))
    assert sorted(named) == sorted(re.findall(r"^def (test_\w+)", tests, re.MULTILINE))
    assert [row for row in rows if "::test_" not in row and "not yet" not in row] == []


def test_every_requirement_has_a_row() -> None:
    rows = re.findall(r"^\| ([A-Z]\d+) \|.*\| \S", (ROOT / "docs/requirements.md").read_text(), re.MULTILINE)
    expected = {"H": 6, "M": 12, "B": 4, "A": 3, "P": 13}
    assert rows == [f"{letter}{number + 1}" for letter, count in expected.items() for number in range(count)]
