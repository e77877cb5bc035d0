"""The notebook of saying nothing runs from top to bottom, and what is saved in it is what it says.

``python tests/test_saying_nothing.py`` runs it and saves it with its outputs.
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

NOTEBOOK = FOLDER / "saying_nothing.ipynb"
KINDS = ["page", "keypad", "chart", "night"]


def rows_of(html):
    """The table in a cell's HTML: from the name of each row to its numbers."""
    body = html.partition("<tbody>")[2]
    found = {}
    for row in body.split("<tr>")[1:]:
        name, *cells = re.findall(r"<t[hd]>([^<]*)</t[hd]>", row)
        found[name] = [float(cell) for cell in cells if cell]
    return found


def table_with(notebook, column):
    """The table of the strange kinds that has this column."""
    tables = [html for html in as_html(notebook) if "<th>page</th>" in html]
    (html,) = (html for html in tables if f"<th>{column}</th>" in html)
    return rows_of(html)


def check_photos_without_labels(notebook):
    """Without them in training a scene without a bear gets a label, with them mostly not."""
    said = outputs_after(notebook, 'scenes without a bear get a label")')
    before, after = (int(re.search(r"(\d+)% of 16 scenes", text)[1]) for text in said)
    assert before >= 80 and after <= 60
    counts = outputs_after(notebook, "label_counts()")
    lines = [line.split() for text in counts for line in text.splitlines() if "(no label)" in line]
    assert [line[2:] for line in lines] == [["6", "0"], ["55", "16"]]


def check_strange_photos(notebook):
    """They are named and sure at first, and silent afterwards, the more so the more it may cost."""
    named = table_with(notebook, "named")
    assert list(named) == KINDS and sum(share for (share,) in named.values()) >= 0.9 * len(KINDS)
    sure = table_with(notebook, "half below")
    assert all(sure[kind][1] > 0.9 for kind in ("bears", "page", "keypad"))
    costs = table_with(notebook, "known lost")
    assert list(costs) == ["0.02", "0.05", "0.10", "0.20"]
    for less, more in zip(list(costs.values()), list(costs.values())[1:]):
        assert all(a <= b for a, b in zip(less, more))
    assert all(lost <= 2 * float(name) + 0.05 for name, (lost, *_) in costs.items())
    _, page, keypad, _, night = costs["0.20"]
    assert page >= 0.9 and keypad >= 0.9 and night < 0.5


def check_answers(notebook):
    """`predict` says nothing and why, and the loaded model says the same."""
    (answer,) = outputs_after(notebook, "answer")
    assert answer.startswith("((#0) [], tensor([False, False, False])")
    (cut,) = re.findall(r"cut=([\d.]+)", outputs_after(notebook, "learn.fit_novelty(lost=0.1)")[0])
    (told,) = re.findall(r"novelty ([\d.]+), most like drawn/images/\d+\.jpg, ",
                         "".join(as_html(notebook)))
    assert float(told) > float(cut)
    (kept,) = outputs_after(notebook, "loaded.novelty")
    assert kept == f"Novelty(480 photos, cut={cut}, k=5)"
    lines = outputs_after(notebook, "scratch.cleanup()")[0].splitlines()
    page, keypad, bears = (re.fullmatch(r"(\[.*\]) ([\d.]+) (True|False)", x) for x in lines)
    assert page[1] == keypad[1] == "[]" and bears[1] != "[]"
    assert min(float(page[2]), float(keypad[2])) > float(cut) > float(bears[2])
    assert page[3] == keypad[3] == bears[3] == "True"  # loaded, it scores to the bit as before


def check_story(notebook):
    assert not [o for cell in code_cells(notebook) for o in cell.outputs
                if o.output_type == "error" or o.get("name") == "stderr"]
    assert len(figures(notebook)) == 6 and all(min(f.size) >= 100 for f in figures(notebook))
    check_photos_without_labels(notebook)
    check_strange_photos(notebook)
    check_answers(notebook)


def test_saved_notebook_tells_its_story():
    notebook = read(NOTEBOOK)
    check_story(notebook)


@pytest.mark.slow
def test_whole_notebook(place):
    check_story(run(read(NOTEBOOK), place))
    assert not list(place.iterdir())


if __name__ == "__main__":
    run_and_save(NOTEBOOK)
