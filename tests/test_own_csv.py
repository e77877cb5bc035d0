"""The notebook about a table of one's own: what is saved in it is what it says.

``python tests/test_own_csv.py`` runs it and saves it with its outputs.
"""

import re

import pytest
from notebook_runs import (
    FOLDER,
    as_html,
    code_cells,
    figures,
    outputs_after,
    read,
    run,
    run_and_save,
)

NOTEBOOK = FOLDER / "own_csv.ipynb"


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


def test_saved_notebook_tells_its_story():
    notebook = read(NOTEBOOK)
    check_story(notebook)


def test_rare_labels_come_more_often():
    (shown,) = outputs_after(read(NOTEBOOK), "pd.DataFrame(seen, index=dls.vocab).astype(int)")
    rare = next(line.split() for line in shown.splitlines() if line.startswith("teddy"))
    assert int(rare[2]) > 2 * int(rare[1])


@pytest.mark.slow
def test_whole_notebook(place):
    check_story(run(read(NOTEBOOK), place))
    assert not list(place.iterdir())


if __name__ == "__main__":
    run_and_save(NOTEBOOK)
