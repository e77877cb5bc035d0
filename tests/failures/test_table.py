"""The table of docs/failures.md names tests that exist, and all that stand here."""

from pathlib import Path

from doc_tables import DOCS, check_tests_exist, named_tests, names_in

TEXT = (DOCS / "failures.md").read_text()


def test_every_test_of_the_table_exists():
    assert len(named_tests(TEXT)) > 30
    check_tests_exist(TEXT)


def test_every_test_of_a_failure_is_in_the_table():
    here = {test for path in Path(__file__).parent.glob("test_*.py") if path != Path(__file__)
            for test in names_in(path)}
    assert here == {test for file, test in named_tests(TEXT) if file.startswith("failures/")}
