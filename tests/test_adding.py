"""What DESIGN.md says under "To add X, edit Y": a toy of each kind, added in those places."""

import os
import re
import shutil
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import pytest
from doc_tables import table_rows
from toys import TOYS, USE, USE_ONNX

ROOT = Path(__file__).resolve().parents[1]
DESIGN = (ROOT / "DESIGN.md").read_text()
ROWS = dict(table_rows(DESIGN.partition("## To add X, edit Y")[2].partition("\n## ")[0]))


def places(row):
    """Return (patterns of paths, whether each must be edited) of each part of a row."""
    for part in row.split("; "):
        names = [code for code in re.findall("`([^`]+)`", part) if re.search(r"\.\w+$|/$", code)]
        if names:
            needed = not part.startswith(("if ", "unless "))
            yield re.compile("|".join(map(pattern, names))), needed


def pattern(name):
    """Return the pattern of a path of the table, from the root; <words> stand for any word."""
    head = name.partition("<")[0]
    bases = [base for base in ("csrc/", "mlclassify/", "") if any((ROOT / base).glob(f"{head}*"))]
    assert len(bases) == 1, f"`{name}` must be in csrc/, in mlclassify/ or a path from the root"
    return re.sub("<[a-z]+>", r"\\w+", re.escape(bases[0] + name))


@pytest.mark.parametrize("row", ROWS)
def test_every_place_of_the_table_exists(row):
    assert list(places(ROWS[row]))


@pytest.mark.parametrize("row", TOYS)
def test_a_toy_stands_where_the_table_says(row):
    edited, named = {edit.path for edit in TOYS[row]}, list(places(ROWS[row]))
    for place, needed in named:
        found = [path for path in edited if place.fullmatch(path)]
        assert found or not needed, f"{row}: nothing is added to {place.pattern}"
    for path in edited:
        assert any(place.fullmatch(path) for place, _ in named), f"{row}: the table lacks {path}"


# --- the toys

def copy_with_toys(folder):
    """Copy the project without what was built, and add the toys."""
    leave = shutil.ignore_patterns(".*", "build", "dist", "demo", "*.so", "*.egg-info",
                                   "__pycache__", "results")
    shutil.copytree(ROOT, folder, ignore=leave)
    for edit in (edit for edits in TOYS.values() for edit in edits):
        add(folder / edit.path, edit)


def add(file, edit):
    old = file.read_text() if file.exists() else ""
    if edit.before:
        assert old.count(edit.before) == 1, f"{edit.path}: {edit.before!r} must stand there once"
        file.write_text(old.replace(edit.before, edit.text + edit.before))
    else:
        file.write_text(old + edit.text)


def run(folder, *arguments, **environment):
    """Run Python in the copy; returns what it printed."""
    own = {"PYTHONPATH": os.pathsep.join((str(folder), str(folder / "tests"))),
           "MLCLASSIFY_PROGRESS": "0", **environment}
    done = subprocess.run([sys.executable, *arguments], cwd=folder, env=os.environ | own, text=True,
                          stdout=subprocess.PIPE, stderr=subprocess.STDOUT, check=False)
    assert done.returncode == 0, done.stdout[-6000:]
    return done.stdout


TESTS = {  # what each toy is found by
    "test_kernels.py": (r"test_elementwise_is_its_definition\[.*toy_halve",
                        r"test_a_loss_is_its_definition\[.*toy_squared",
                        r"test_every_kernel_has_its_definition_and_its_test\[toy_",
                        r"test_gemm_tile_is_a_matrix_product\[.*toy\]"),
    "test_gradients.py": (r"test_plain_layers\[toy_halve",
                          r"test_the_definition_of_backward_is_the_derivative_of_forward\[toy_"),
    "test_boundary.py": (r"test_good_arguments_are_taken\[toy_squared_with_logits",
                         r"test_a_wrong_argument\[toy_squared_with_logits",
                         r"test_every_function_is_covered"),
    "test_losses.py": (r"test_toy_loss_and_gradient",
                       r"test_missing_labels_are_left_out\[.*ToyLossFlat"),
    "test_export.py": (r"test_losses_come_back\[ToyLossFlat",),
    "test_messages.py": (r"test_message\[export: `loss_func` must be one of ToyLossFlat",),
    "test_storeys.py": (r"test_includes_point_left\[csrc/isa/toy.c",),
    "test_features_table.py": (r"test_every_splitter_transform_callback_loss_and_optimizer",),
    "test_star_import.py": (r"test_every_name_exists",),
}  # fmt: skip


@pytest.mark.slow
def test_a_toy_of_each_kind(tmp_path):
    """Added to a copy in the places of the table, they build, are tested, train and are saved."""
    folder = tmp_path / "copy"
    copy_with_toys(folder)
    run(folder, "setup.py", "-q", "build_ext", "--inplace", MLCLASSIFY_CFLAGS="-O1")
    files = [f"tests/{name}" for name in TESTS]
    said = run(folder, "-m", "pytest", "-v", "-p", "no:cacheprovider", *files, "-m", "not slow",
               "-k", "toy or every_ or includes or nothing_is_defined")
    for wanted in (test for tests in TESTS.values() for test in tests):
        assert re.search(rf"{wanted}.* PASSED", said), f"no {wanted} was run"
    whole = USE + (USE_ONNX if find_spec("onnx") and find_spec("onnxruntime") else "")
    table = run(folder, "-c", whole, MLCLASSIFY_ISA="toy")
    assert "toy_score" in table, table
