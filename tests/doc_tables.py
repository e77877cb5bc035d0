"""What the tests of docs/failures.md and docs/fastai.md share: which tests a document names."""

import re
from pathlib import Path

TESTS = Path(__file__).resolve().parent
DOCS = TESTS.parent / "docs"
_NAMED = re.compile(r"\[([\w/]+\.py)::(test_\w+)\]\(\.\./tests/([\w/]+\.py)\)")


def named_tests(text):
    """Return (file, test) of every link to a test; the address must be that of the file."""
    found = _NAMED.findall(text)
    assert len(found) == text.count(".py::"), "a link that is no [file.py::test](../tests/file.py)"
    for shown, test, link in found:
        assert shown == link, f"{shown}::{test} links to {link}"
    return [(shown, test) for shown, test, _ in found]


def names_in(path):
    """Return the names of the tests that a file defines."""
    return re.findall(r"^def (test_\w+)\(", path.read_text(), re.MULTILINE)


def check_tests_exist(text):
    """Check that every test which a document names stands where it says."""
    for file, test in named_tests(text):
        assert test in names_in(TESTS / file), f"{file}::{test}"


def table_rows(text):
    """Return the cells of every row of all tables, without their heads."""
    rows = []
    for table in re.findall(r"(?:^\|.*\|\n)+", text, re.MULTILINE):
        head, line, *body = table.splitlines()
        assert set(line) <= set("|-: "), line
        for row in body:
            cells = [cell.strip() for cell in row.strip("|").split(" | ")]
            assert len(cells) == head.strip("|").count(" | ") + 1, row
            rows.append(cells)
    return rows
