"""What is handed out: a source distribution that builds, a small wheel, and what it installs."""

import json
import os
import re
import shutil
import subprocess
import sys
import tarfile
import zipfile
from importlib.metadata import files
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
    for folder in ("csrc", "tests", "docs", "benchmarks"):
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


@pytest.fixture
def bare(tmp_path):
    """Function that makes an environment with these distributions, copies of what is here, alone.

    It returns a function that runs a program of that environment, which finds no other.
    """

    def make(*distributions, path=""):
        place = tmp_path / "bare"
        run(sys.executable, "-m", "venv", "--without-pip", place)
        [site] = place.glob("lib/python*/site-packages")
        for file in (file for name in distributions for file in files(name)):
            if ".." not in file.parts and file.suffix != ".pyc":
                (site / file).parent.mkdir(parents=True, exist_ok=True)
                shutil.copy(file.locate(), site / file)
        env = {"PATH": f"{place / 'bin'}:{path}", "MLCLASSIFY_PROGRESS": "0", "HOME": str(tmp_path)}

        def program(name, *arguments, **more):
            return run(place / "bin" / name, *arguments, cwd=tmp_path, env={**env, **more})

        return program

    return make


def test_a_bare_environment_without_a_compiler_is_enough(made, bare, tmp_path):
    program = bare("numpy", "pillow", "safetensors", "tqdm")
    run(sys.executable, "-m", "pip", "--python", tmp_path / "bare", "install", "--quiet",
        "--no-index", made[0], cwd=tmp_path, env={"PATH": ""})  # and check its dependencies
    there = program("python", "-c", "import importlib.metadata as m; "
                    "print(*sorted(d.name.lower() for d in m.distributions()))")
    assert there.split() == ["mlclassify", "numpy", "pillow", "safetensors", "tqdm"]
    assert json.loads(program("mlclassify", "info", "--json"))["mlclassify"]
    program("python", "-c", "from mlclassify.data.samples import drawn_bears; "
            "drawn_bears('b', 30, seed=1, size=40)")
    program("mlclassify", "train", "b", "--folder", "images", "--size", "32", "--bs", "8",
            "--epochs", "1", "--no-pretrained", "--out", "m.safetensors")
    [told] = json.loads(program("mlclassify", "predict", "m.safetensors", "b/images/00000.jpg",
                                "--json"))
    assert set(told["probs"]) == {"black", "grizzly", "teddy"}


def test_the_source_builds_with_setuptools_numpy_and_a_compiler(made, bare, tmp_path):
    with tarfile.open(made[1]) as file:
        file.extractall(tmp_path / "source", filter="data")
    [source] = (tmp_path / "source").iterdir()
    program = bare("numpy", "setuptools", path=os.environ["PATH"])
    build = (f"import os; os.chdir({str(source)!r}); "
             "from setuptools.build_meta import build_wheel; build_wheel('.')")
    program("python", "-c", build, MLCLASSIFY_CFLAGS="-O0")  # of what a build needs, -O3 is no part
    [wheel] = source.glob("*.whl")
    with zipfile.ZipFile(wheel) as file:
        assert any(re.fullmatch(r"mlclassify/_core\..*\.so", name) for name in file.namelist())
