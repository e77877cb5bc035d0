"""The notebook runs from top to bottom, and what is saved in it is what it says.

``python tests/test_notebook.py`` runs it and saves it with its outputs.
"""

import os
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
    texts,
)

NOTEBOOK = FOLDER / "multi_label_classification.ipynb"
FIRST_OF_THE_DATA = "photos = os.environ"
COLUMNS = ["epoch", "train_loss", "valid_loss", "accuracy_multi", "average_precision_score", "time"]

# The last line of a cell, and what the post printed there.
PRINTED = [
    ("sigmoid_activations", "tensor([[0.6739, 0.0339, 0.0871]])"),
    ("bce_loss", "tensor([[0.3946, 0.0345, 2.4403]])"),
    ('targets.float(), reduction="none")', "tensor([[0.3946, 0.0345, 2.4403]])"),
    ("bce_loss, bce_loss.mean()", "(tensor([0.6932, 0.7479, 0.6743, 0.6262]), tensor(0.6854))"),
    ("BCEWithLogitsLossFlat()(activations, targets)", "TensorBase(0.6854)"),
    (
        "nn.BCEWithLogitsLoss()(activations, targets)",
        (
            "(tensor([[0.6883, 0.6935, 0.8741],\n         [0.7571, 0.7044, 0.8894]]),\n"
            " tensor(0.7678),\n tensor(0.7678))"
        ),
    ),
]
FRAME = """\
                    0         1         2
activations  0.725968 -3.348915 -2.349130
sigmoid      0.673920  0.033931  0.087135
target       1.000000  0.000000  1.000000
loss         0.394644  0.034520  2.440297"""


def check_story(notebook, epochs):
    """Check what holds of every run; `epochs` says how many each training table must have."""
    for cell in code_cells(notebook):
        assert all(o.output_type != "error" for o in cell.outputs), cell.source
        assert all(o.get("name") != "stderr" for o in cell.outputs), cell.source
    check_printed(notebook)
    tables = [table for table in as_html(notebook) if "<th>train_loss</th>" in table]
    assert [re.findall("<th>(.*?)</th>", table) for table in tables] == [COLUMNS] * len(epochs)
    rows = [table.partition("<tbody>")[2].count("<tr>") for table in tables]
    assert rows == epochs
    sizes = [figure.size for figure in figures(notebook)]
    assert len(sizes) == 6  # the loss, a batch, results, a scene, the sweep, three predictions
    assert all(min(size) >= 128 for size in sizes)


def check_printed(notebook):
    """Check the numbers that the post printed."""
    for ending, printed in PRINTED:
        assert outputs_after(notebook, ending)[0] == printed, ending
    assert FRAME in texts(notebook)
    assert "(tensor(0.9565), tensor(0.9565))" in texts(notebook)
    refused = "Target size (torch.Size([4])) must be the same as input size (torch.Size([4, 1]))"
    assert any(text.strip().endswith(refused) for text in texts(notebook))


def test_saved_notebook_tells_its_story():
    notebook = read(NOTEBOOK)
    check_story(notebook, epochs=[12])
    check_trained(notebook)


def test_first_part_runs(place):
    notebook = read(NOTEBOOK)
    sources = [cell.source for cell in notebook.cells]
    data = next(i for i, s in enumerate(sources) if s.startswith(FIRST_OF_THE_DATA))
    notebook.cells = notebook.cells[:data]
    saved = texts(notebook)
    assert texts(run(notebook, place)) == saved
    check_printed(notebook)


@pytest.mark.slow
def test_whole_notebook_on_drawn_bears(place):
    notebook = run(read(NOTEBOOK), place)
    check_story(notebook, epochs=[12])
    assert not list(place.iterdir())
    check_trained(notebook)


def check_trained(notebook):
    """Check what a model that has learnt must show."""
    precision = re.search(r"our model +([\d.]+) +([\d.]+)", "\n".join(texts(notebook)))
    accuracy, macro = map(float, precision.groups())
    assert accuracy >= 0.9 and macro >= 0.93
    at_half, at_high = outputs_after(notebook, "learn.predict(scene)")
    assert at_half.startswith("((#1)") and at_high.startswith("((#0) [], tensor([False, False, F")
    assert "the same predictions to the last bit: True" in "\n".join(texts(notebook))


@pytest.mark.slow
def test_whole_notebook_on_photos(place, shared, monkeypatch):
    photos = place.parent / "photos"
    for folder in sorted(shared("bears").iterdir()):
        (photos / folder.name).mkdir(parents=True)
        for file in sorted(folder.iterdir())[:30]:
            (photos / folder.name / file.name).symlink_to(file)
    monkeypatch.setenv("MLCLASSIFY_BEARS", str(photos))
    monkeypatch.setenv("MLCLASSIFY_WEIGHTS", str(shared("weights/resnet18-imagenet.safetensors")))
    check_story(run(read(NOTEBOOK), place), epochs=[1, 4])
    assert not list(place.iterdir())


def main():
    """Run the notebook on drawn bears and save it with its outputs."""
    for name in ("MLCLASSIFY_BEARS", "MLCLASSIFY_WEIGHTS"):
        os.environ.pop(name, None)
    run_and_save(NOTEBOOK)


if __name__ == "__main__":
    main()
