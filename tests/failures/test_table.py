"""The tables of failures and of promises name tests that exist, and all that stand here."""

from pathlib import Path

import pytest
from doc_tables import DOCS, check_tests_exist, named_tests, names_in

PAGES = {"failures.md": 35, "threat_model.md": 50}  # the page: how many tests it names at least


@pytest.mark.parametrize("page", PAGES)
def test_every_test_of_a_table_exists(page):
    text = (DOCS / page).read_text()
    assert len(named_tests(text)) >= PAGES[page]
    check_tests_exist(text)


def test_every_test_of_a_failure_is_in_the_table():
    here = {test for path in Path(__file__).parent.glob("test_*.py") if path != Path(__file__)
            for test in names_in(path)}
    named = named_tests((DOCS / "failures.md").read_text())
    assert here == {test for file, test in named if file.startswith("failures/")}
