"""The notebook about a table of one's own: what is saved in it is what it says.

``python tests/test_own_csv.py`` runs it and saves it with its outputs.
"""

import os
import re
import tempfile
from pathlib import Path

import nbformat
import pytest
from test_notebook import as_html, code_cells, figures, outputs_after, place, run  # noqa: F401

NOTEBOOK = Path(__file__).parents[1] / "notebooks" / "own_csv.ipynb"


def read():
    """The notebook as it is saved."""
    return nbformat.read(NOTEBOOK, as_version=4)


def check_story(notebook):
    """Check what holds of every run."""
    for cell in code_cells(notebook):
        assert all(o.output_type != "error" for o in cell.outputs), cell.source
        assert all(o.get("name") != "stderr" for o in cell.outputs), cell.source
    assert len(figures(notebook)) == 2 and all(min(f.size) >= 128 for f in figures(notebook))
    (failed,) = outputs_after(notebook, "print(error.__notes__[-1])")
    assert failed.endswith("DataBlock.summary: the step `open_image` failed for row 2\n")
    tables = [table for table in as_html(notebook) if "<th>train_loss</th>" in table]
    assert len(tables) == 1 and tables[0].partition("<tbody>")[2].count("<tr>") == 10
    assert float(re.findall(r"<td>([\d.]+)</td>", tables[0])[-2]) >= 0.7  # average precision


def test_saved_notebook_is_executed_in_order():
    notebook = read()
    nbformat.validate(notebook)
    counts = [cell.execution_count for cell in code_cells(notebook)]
    assert counts == list(range(1, len(counts) + 1))
    check_story(notebook)


def test_rare_labels_come_more_often():
    (shown,) = outputs_after(read(), "pd.DataFrame(seen, index=dls.vocab).astype(int)")
    rare = next(line.split() for line in shown.splitlines() if line.startswith("teddy"))
    assert int(rare[2]) > 2 * int(rare[1])


def test_saved_notebook_holds_nothing_of_the_machine_it_ran_on():
    notebook = read()
    assert NOTEBOOK.stat().st_size < 1_000_000
    assert all(not cell.metadata for cell in notebook.cells)
    for cell in code_cells(notebook):
        for output in cell.outputs:
            output.get("data", {}).pop("image/png", None)
    text = nbformat.writes(notebook)
    assert not re.search(r"/(home|root|tmp|work|Users|usr|opt|var)/|[A-Z]:\\\\", text)


@pytest.mark.slow
def test_whole_notebook(place):  # noqa: F811
    check_story(run(read(), place))
    assert not list(place.iterdir())


def main():
    """Run the notebook and save it with its outputs."""
    os.environ["MLCLASSIFY_PROGRESS"] = "0"
    with tempfile.TemporaryDirectory() as folder:
        os.environ["TMPDIR"] = folder
        notebook = run(read(), folder)
    notebook.metadata["language_info"] = {"name": "python"}
    nbformat.write(notebook, NOTEBOOK)


if __name__ == "__main__":
    main()
