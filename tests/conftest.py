"""Fixtures of the whole suite.

Photos, weights and golden numbers are not part of the project: `shared` finds them in the folder
that MLCLASSIFY_TEST_DATA names, else in ../shared/data beside the project.
"""

import os
import signal
from pathlib import Path

import matplotlib
import numpy as np
import pytest

matplotlib.use("Agg")

# A shell starts background jobs with Ctrl-C ignored, and their children inherit that: the tests of
# interrupts must find it as Python sets it up in a terminal.
signal.signal(signal.SIGINT, signal.default_int_handler)

_NAMED = os.environ.get("MLCLASSIFY_TEST_DATA")
_FOLDER = Path(_NAMED) if _NAMED else Path(__file__).resolve().parents[2] / "shared" / "data"


@pytest.fixture(scope="session")
def shared():
    """Function from a relative path to the file or folder of the shared data, or a skip."""

    def find(relative):
        path = _FOLDER / relative
        if path.exists():
            return path
        if _NAMED:
            pytest.fail(f"MLCLASSIFY_TEST_DATA is set but {relative} is not in it")
        pytest.skip(f"no shared test data: {relative} (set MLCLASSIFY_TEST_DATA)")

    return find


@pytest.fixture
def rng():
    """A NumPy generator with a fixed seed."""
    return np.random.default_rng(12345)


@pytest.fixture
def place(tmp_path, monkeypatch):
    """A folder to run in; temporary files go beside it, and no photos are given."""
    for name in ("here", "temporary"):
        (tmp_path / name).mkdir()
    monkeypatch.setenv("TMPDIR", str(tmp_path / "temporary"))
    monkeypatch.setenv("MLCLASSIFY_PROGRESS", "0")
    for name in ("MLCLASSIFY_BEARS", "MLCLASSIFY_WEIGHTS"):
        monkeypatch.delenv(name, raising=False)
    return tmp_path / "here"
