"""The types of the package, as mypy reads them, and of what a user writes with it."""

import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
WRONG = """from mlclassify.vision.all import Learner, load_learner
learn: Learner = load_learner("bears.safetensors")
learn.fit("many")
learn.predict("bear.jpg").label
learn.calibrate("magic")
"""


def checked(*arguments):
    """Whether mypy, as set in pyproject.toml, finds nothing; and what it says."""
    command = [sys.executable, "-m", "mypy", "--no-color-output", *arguments]
    run = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    return run.returncode == 0, run.stdout + run.stderr


def test_the_package_has_the_types_it_says():
    pytest.importorskip("mypy")
    good, said = checked()
    assert good, said


def test_a_user_has_the_types_of_what_the_package_gives():
    pytest.importorskip("mypy")
    good, said = checked("tests/typed_user.py")
    assert good, said


def test_a_user_is_told_what_does_not_fit(tmp_path):
    pytest.importorskip("mypy")
    file = tmp_path / "wrong_user.py"
    file.write_text(WRONG)
    _, said = checked(str(file))
    lines = [line for line in said.splitlines() if file.name in line]
    assert [line.split(":")[1] for line in lines] == ["3", "4", "5"], said


def test_what_the_user_writes_runs(tmp_path, monkeypatch):
    import typed_user

    monkeypatch.setenv("MLCLASSIFY_PROGRESS", "0")
    worst, told = typed_user.main(tmp_path)
    assert len(worst) == 3 and len(told) == 40
