"""What the tests of notebooks share: running one, and looking at it."""

import base64
import io
import os
import tempfile
from pathlib import Path

import nbformat
from nbclient import NotebookClient
from PIL import Image

FOLDER = Path(__file__).parents[1] / "notebooks"


def read(file):
    """The notebook as it is saved."""
    return nbformat.read(file, as_version=4)


def run(notebook, folder):
    """Execute a notebook in a folder, without progress bars and without times in its metadata."""
    NotebookClient(
        notebook, timeout=900, kernel_name="python3", record_timing=False,
        resources={"metadata": {"path": str(folder)}},
    ).execute()  # fmt: skip
    return notebook


def code_cells(notebook):
    """The cells that are run."""
    return [cell for cell in notebook.cells if cell.cell_type == "code"]


def text_of(cell):
    """All that a cell shows as text."""
    return "".join(o.get("text") or o.get("data", {}).get("text/plain", "") for o in cell.outputs)


def texts(notebook):
    """The texts of all cells, without the names of objects that stand for a picture."""
    return [text_of(cell) for cell in code_cells(notebook)]


def outputs_after(notebook, ending):
    """What the cells whose code ends in `ending` show as text."""
    return [text_of(c) for c in code_cells(notebook) if c.source.splitlines()[-1].endswith(ending)]


def as_html(notebook):
    """Everything that is shown as HTML."""
    shown = (o.get("data", {}) for cell in code_cells(notebook) for o in cell.outputs)
    return [data["text/html"] for data in shown if "text/html" in data]


def figures(notebook):
    """The pictures, decoded."""
    shown = (o.get("data", {}) for cell in code_cells(notebook) for o in cell.outputs)
    pngs = [base64.b64decode(data["image/png"]) for data in shown if "image/png" in data]
    return [Image.open(io.BytesIO(png)) for png in pngs]


def run_and_save(file):
    """Run a notebook in a folder of its own and save it with its outputs."""
    os.environ["MLCLASSIFY_PROGRESS"] = "0"
    with tempfile.TemporaryDirectory() as folder:
        os.environ["TMPDIR"] = folder
        notebook = run(read(file), folder)
    notebook.metadata["language_info"] = {"name": "python"}
    nbformat.write(notebook, file)
