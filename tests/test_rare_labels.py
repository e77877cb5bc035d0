"""The notebook of rare labels runs from top to bottom, and what is saved in it is what it says.

``python tests/test_rare_labels.py`` runs it and saves it with its outputs.
"""

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
    texts,
)

NOTEBOOK = FOLDER / "rare_labels.ipynb"


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
    notebook = read(NOTEBOOK)
    check_story(notebook)


@pytest.mark.slow
def test_whole_notebook(place):
    notebook = run(read(NOTEBOOK), place)
    check_story(notebook)
    assert not list(place.iterdir())


if __name__ == "__main__":
    run_and_save(NOTEBOOK)
