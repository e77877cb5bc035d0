"""What is handed out: a source distribution that builds, a small wheel, and what it installs."""

import os
import re
import subprocess
import sys
import tarfile
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
LARGEST = 3_000_000  # bytes of a wheel

pytestmark = pytest.mark.slow


def run(*command, **options):
    done = subprocess.run([str(c) for c in command], check=False, text=True, stdout=subprocess.PIPE,
                          stderr=subprocess.STDOUT, **options)
    assert done.returncode == 0, done.stdout
    return done.stdout


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """The wheel that `make wheel` makes of the source distribution, and that."""
    folder = tmp_path_factory.mktemp("wheel")
    run("make", "wheel", f"RUN={sys.executable}", "BUILT=", f"DIST={folder}", cwd=ROOT)
    [wheel], [sdist] = folder.glob("*.whl"), folder.glob("*.tar.gz")
    return wheel, sdist


def test_the_wheel_is_small_and_of_one_python(made):
    wheel, _ = made
    assert wheel.stat().st_size < LARGEST
    tag = f"cp{sys.version_info.major}{sys.version_info.minor}"
    # manylinux: auditwheel found nothing in it that an old Linux has not
    assert re.fullmatch(rf"mlclassify-[\w.]+-{tag}-{tag}-manylinux[\w.]+\.whl", wheel.name)


def test_the_wheel_holds_the_package_and_nothing_else(made):
    with zipfile.ZipFile(made[0]) as file:
        names = file.namelist()
    assert {name.split("/")[0] for name in names} == {
        "mlclassify", *{n.split("/")[0] for n in names if ".dist-info/" in n}}
    data = {"mlclassify/py.typed", "mlclassify/_core.pyi", "mlclassify/label/label.html"}
    assert data <= set(names)
    modules = {str(p.relative_to(ROOT)) for p in ROOT.glob("mlclassify/**/*.py")}
    assert modules == {name for name in names if name.endswith(".py")}


def test_the_source_distribution_holds_what_it_is_built_and_tested_of(made):
    with tarfile.open(made[1]) as file:
        names = {name.partition("/")[2] for name in file.getnames()}
    for folder in ("csrc", "tests", "docs"):
        if (ROOT / ".git").exists():
            assert set(run("git", "ls-files", folder, cwd=ROOT).split()) <= names


def test_what_is_installed_trains_and_predicts(made, tmp_path):
    site = tmp_path / "site"
    run(sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--no-index", "--target",
        site, made[0])
    environment = {**os.environ, "PYTHONPATH": str(site), "MLCLASSIFY_PROGRESS": "0"}
    said = run(sys.executable, "-c", "import mlclassify; print(mlclassify.__file__)", cwd=tmp_path,
               env=environment)
    assert said.strip() == str(site / "mlclassify/__init__.py")
    said = run(sys.executable, "-m", "mlclassify", "demo", "--out", "demo", cwd=tmp_path,
               env=environment)
    assert "loaded again, it predicts the same" in said
