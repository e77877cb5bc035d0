"""The tables of docs/ that name tests: all of them exist, and all that stand here are named."""

import re
from pathlib import Path

import pytest

TESTS = Path(__file__).resolve().parents[1]
TABLES = {"failures.md": 35, "threat_model.md": 50}  # the page: how many tests it names at least


def named(page):
    """(name that is shown, test, file that is linked to) of every test that a page names."""
    return re.findall(r"\[([\w/]+\.py)::(test_\w+)\]\(\.\./tests/([\w/]+\.py)\)",
                      (TESTS.parent / "docs" / page).read_text())


def names_in(path):
    return re.findall(r"^def (test_\w+)\(", path.read_text(), re.M)


@pytest.mark.parametrize("page", TABLES)
def test_every_test_of_a_table_exists(page):
    found = named(page)
    assert len(found) >= TABLES[page]
    for shown, test, link in found:
        assert shown == link and test in names_in(TESTS / link), f"{shown}::{test}"


def test_every_page_that_names_tests_is_checked():
    pages = {path.name for path in (TESTS.parent / "docs").glob("*.md") if named(path.name)}
    assert pages == TABLES.keys()


def test_every_promise_has_its_test():
    """A row of the threat model without one would be a promise that nobody keeps."""
    lines = (TESTS.parent / "docs" / "threat_model.md").read_text().splitlines()
    rows = [line for line in lines if line.startswith("| ") and "| held by |" not in line]
    assert len(rows) > 30
    for row in rows:
        assert "::test_" in row.rsplit("|", 2)[1], row


def test_every_test_of_a_failure_is_in_the_table():
    here = {test for path in Path(__file__).parent.glob("test_*.py") if path != Path(__file__)
            for test in names_in(path)}
    found = named("failures.md")
    assert here == {test for shown, test, _ in found if shown.startswith("failures/")}
