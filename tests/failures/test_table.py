"""The table of docs/failures.md names tests that exist, and all that stand here."""

import re
from pathlib import Path

TESTS = Path(__file__).resolve().parents[1]
NAMED = re.findall(r"\[([\w/]+\.py)::(test_\w+)\]\(\.\./tests/([\w/]+\.py)\)",
                   (TESTS.parent / "docs" / "failures.md").read_text())


def names_in(path):
    return re.findall(r"^def (test_\w+)\(", path.read_text(), re.M)


def test_every_test_of_the_table_exists():
    assert len(NAMED) > 30
    for shown, test, link in NAMED:
        assert shown == link and test in names_in(TESTS / link), f"{shown}::{test}"


def test_every_test_of_a_failure_is_in_the_table():
    here = {test for path in Path(__file__).parent.glob("test_*.py") if path != Path(__file__)
            for test in names_in(path)}
    assert here == {test for shown, test, _ in NAMED if shown.startswith("failures/")}
