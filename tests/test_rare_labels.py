"""The notebook of rare labels runs from top to bottom, and what is saved in it is what it says.

``python tests/test_rare_labels.py`` runs it and saves it with its outputs.
"""

import os
import re
import tempfile
from pathlib import Path

import nbformat
import pytest
from test_notebook import as_html, code_cells, figures, outputs_after, place, run, texts

NOTEBOOK = Path(__file__).parents[1] / "notebooks" / "rare_labels.ipynb"
__all__ = ["place"]  # a fixture


def read():
    """The notebook as it is saved."""
    return nbformat.read(NOTEBOOK, as_version=4)


def scores_of_the_teddy(notebook, row):
    """Threshold, precision, recall, F1 and average precision in the last table."""
    line = next(x for x in texts(notebook)[-1].splitlines() if x.startswith(row))
    return [float(x) for x in line.removeprefix(row).split()]


def check_story(notebook):
    """Check that all is shown, and that what the text says of the numbers is so."""
    assert not [o for cell in code_cells(notebook) for o in cell.outputs
                if o.output_type == "error" or o.get("name") == "stderr"]
    assert len(figures(notebook)) == 6
    assert sum("<th>train_loss</th>" in table for table in as_html(notebook)) == 2
    reports = outputs_after(notebook, "report()")
    assert len(reports) == 4 and all(report.startswith("label ") for report in reports)
    recall = {line.split()[0]: float(line.split()[4]) for line in reports[0].splitlines()[1:4]}
    assert recall["teddy"] == min(recall.values())
    found = outputs_after(notebook, "learn.tune_thresholds()")[0].splitlines()[1:]
    spread = {line.split()[0]: float(line.split()[3]) for line in found}
    assert spread["teddy"] == max(spread.values())
    half, tuned, heavy, heavy_tuned = (scores_of_the_teddy(notebook, row) for row in (
        "plain, at 0.5", "plain, tuned", "balanced, at 0.5", "balanced, tuned"))
    assert heavy[2] > half[2] and heavy[1] < half[1]  # more recall, less precision
    assert tuned[3] >= half[3] and heavy_tuned[3] > heavy[3] and heavy_tuned[0] > 0.5
    assert half[4] == tuned[4] and heavy[4] == heavy_tuned[4]


def test_saved_notebook_tells_its_story():
    notebook = read()
    nbformat.validate(notebook)
    counts = [cell.execution_count for cell in code_cells(notebook)]
    assert counts == list(range(1, len(counts) + 1))
    check_story(notebook)


def test_saved_notebook_holds_nothing_of_the_machine_it_ran_on():
    notebook = read()
    assert NOTEBOOK.stat().st_size < 1_000_000
    assert set(notebook.metadata) == {"kernelspec", "language_info"}
    assert all(not cell.metadata for cell in notebook.cells)
    for cell in code_cells(notebook):
        for output in cell.outputs:
            output.get("data", {}).pop("image/png", None)
    text = nbformat.writes(notebook)
    assert not re.search(r"/(home|root|tmp|work|Users|usr|opt|var)/|[A-Z]:\\\\", text)
    assert not re.search(r"\d{4}-\d\d-\d\d[T ]\d\d:\d\d", text)


@pytest.mark.slow
def test_whole_notebook(place):
    notebook = run(read(), place)
    check_story(notebook)
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
