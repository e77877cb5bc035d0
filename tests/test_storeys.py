"""The house: a part uses only parts to its left.

Both orders stand here as tables; every `#include` and every `import` of the package is checked
against them. Names in one set are neighbours and may not use each other.
"""

import ast
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]

C_STOREYS = [
    {"base"},
    {"simd"},
    {"kernels"},
    {"isa"},
    {"metrics", "nn", "image"},
    {"python"},
]

PYTHON_STOREYS = [
    {"_core", "types"},
    {"wholefile"},
    {"arrays", "checks", "progress", "markup", "ranks"},
    {"rng", "printing", "promotion", "weight_names"},
    {"ndtensor"},
    {"functional"},
    {"tensor"},
    {"thresholds"},
    {"losses", "metrics", "selection", "plot", "verdict", "weights", "optim"},
    {"calibration", "vision.image"},
    {"data"},
    {"vision.backbones"},
    {"prediction", "label", "vision.augment", "vision.models"},
    {"callbacks", "novelty", "gradcam"},
    {"schedule", "tracker", "steps", "loggers", "together"},
    {"export"},
    {"checkpoint", "onnx", "trainer"},
    {"inference"},
    {"learner"},
    {"interpret", "scoring"},
    {"vision.learner"},
    {"vision.all", "sklearn"},
    {"cli"},
    {"__main__"},
]

# Inside the folders that are one storey, in the same way.
INNER_STOREYS = {
    "cli": [
        {"plain", "labelled"},
        {"training", "asking"},
        {"photos", "machine", "demo", "scale", "launch", "rank"},
    ],
    "data": [
        {"lists"},
        {"files"},
        {"split"},
        {"transforms"},
        {"batch", "stratify", "counts", "cache"},
        {"loader"},
        {"summary", "loaders"},
        {"block"},
        {"sources"},
        {"fetch", "duplicates", "pen"},
        {"search", "table"},
        {"download"},
        {"scrape"},
        {"bears"},
        {"scenes"},
        {"samples"},
    ],
    "label": [
        {"session"},
        {"server"},
    ],
    "scoring": [
        {"lists", "parquet"},
        {"parts"},
        {"journal", "merge"},
        {"score"},
        {"scorer"},
    ],
    "thresholds": [
        {"decide"},
        {"curve"},
    ],
    "metrics": [
        {"arguments"},
        {"ranking", "decisions", "streaming"},
        {"columns", "report"},
    ],
}


def level(storeys, name):
    for i, storey in enumerate(storeys):
        if name in storey:
            return i
    raise AssertionError(f"`{name}` stands in no storey: add it to tests/test_storeys.py")


def may_use(storeys, user, used):
    return user == used or level(storeys, used) < level(storeys, user)


def c_files():
    return sorted(p for p in (ROOT / "csrc").rglob("*") if p.suffix in {".c", ".h", ".def"})


@pytest.mark.parametrize("path", c_files(), ids=lambda p: str(p.relative_to(ROOT)))
def test_includes_point_left(path):
    storey = path.relative_to(ROOT / "csrc").parts[0]
    for name in re.findall(r'^\s*#include "([^"]+)"', path.read_text(), re.MULTILINE):
        target = (path.parent / name).resolve()
        assert target.exists(), f"{path.name} includes {name}, which does not exist"
        used = target.relative_to(ROOT / "csrc").parts[0]
        # A family of kernels is text that isa/ compiles: it stands on what isa/ included before.
        assert may_use(C_STOREYS, storey, used), f"{storey}/{path.name} includes {used}/"


def test_python_h_stays_in_python():
    for path in c_files():
        if "python" not in path.relative_to(ROOT / "csrc").parts:
            assert "Python.h" not in path.read_text(), f"{path} includes Python.h"


def test_threads_stay_in_base():
    for path in c_files():
        if path.stem != "threads":
            assert "pthread" not in path.read_text(), f"{path} uses threads of its own"


def python_files():
    return sorted(p for p in (ROOT / "mlclassify").rglob("*.py") if p.name != "__init__.py")


def modules_imported(path):
    """Dotted names below mlclassify that the file imports, anywhere in it."""
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            yield from (alias.name.split(".", 1)[1] for alias in node.names
                        if alias.name.startswith("mlclassify."))
        elif isinstance(node, ast.ImportFrom):
            assert not node.level, f"{path} has a relative import"
            if node.module == "mlclassify":
                yield from (alias.name for alias in node.names)
            elif node.module and node.module.startswith("mlclassify."):
                yield from targets(node)


def targets(node):
    """`from mlclassify.vision import image` names vision.image; other names are inside a module."""
    module = node.module.split(".", 1)[1]
    for alias in node.names:
        inner = ROOT / "mlclassify" / module.replace(".", "/") / f"{alias.name}.py"
        yield f"{module}.{alias.name}" if inner.exists() else module


def storey_of(module):
    folder = module.split(".")[0]
    return folder if folder in INNER_STOREYS else module


@pytest.mark.parametrize("path", python_files(), ids=lambda p: str(p.relative_to(ROOT)))
def test_imports_point_left(path):
    module = ".".join(path.relative_to(ROOT / "mlclassify").with_suffix("").parts)
    for used in set(modules_imported(path)):
        user_storey, used_storey = storey_of(module), storey_of(used)
        if user_storey == used_storey and user_storey in INNER_STOREYS:
            inner = module.split(".")[1], used.split(".")[1]
            assert may_use(INNER_STOREYS[user_storey], *inner), f"{module} imports {used}"
        else:
            assert may_use(PYTHON_STOREYS, user_storey, used_storey), f"{module} imports {used}"


def test_pillow_has_one_door():
    for path in python_files():
        if path.name != "image.py":
            assert not re.search(r"^\s*(import|from) PIL\b", path.read_text(), re.MULTILINE), path


def test_no_pickle():
    for path in python_files():
        text = path.read_text()
        assert not re.search(r"\b(import|from) (pickle|cloudpickle|dill|joblib)\b", text)
        assert "allow_pickle=True" not in text
