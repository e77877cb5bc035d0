"""What holds of every notebook as it is saved; what each tells has a file of tests of its own."""

import re

import nbformat
import pytest
from notebook_runs import FOLDER, code_cells, read

each_notebook = pytest.mark.parametrize(
    "file", sorted(FOLDER.glob("*.ipynb")), ids=lambda file: file.stem)


@each_notebook
def test_it_was_run_from_top_to_bottom(file):
    notebook = read(file)
    nbformat.validate(notebook)
    counts = [cell.execution_count for cell in code_cells(notebook)]
    assert counts == list(range(1, len(counts) + 1))


@each_notebook
def test_it_holds_no_path_no_date_and_no_widget_of_where_it_ran(file):
    notebook = read(file)
    assert file.stat().st_size < 1_000_000
    assert set(notebook.metadata) == {"kernelspec", "language_info"}
    assert all(not cell.metadata for cell in notebook.cells)
    for cell in code_cells(notebook):
        for output in cell.outputs:
            assert "application/vnd.jupyter.widget-view+json" not in output.get("data", {})
            output.get("data", {}).pop("image/png", None)
            output.get("data", {}).pop("image/jpeg", None)
    text = nbformat.writes(notebook)
    assert not re.search(r"/(home|root|tmp|work|Users|usr|opt|var)/|[A-Z]:\\\\", text)
    assert not re.search(r"\d{4}-\d\d-\d\d[T ]\d\d:\d\d", text)
