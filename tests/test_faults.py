"""Allocations of the core that fail, one by one, in the extension as it is shipped.

``native/faults.c`` is preloaded into a process that runs ``fault_runs.py``, which says what must
hold after each. Here only some fail; all of them in `make sanitize`.
"""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

SCRIPT = Path(__file__).with_name("sanitize.sh")

pytestmark = pytest.mark.skipif(sys.platform != "linux" or shutil.which("gcc") is None,
                                reason="a library of gcc's, preloaded by Linux")


def faults(*arguments):
    """Run operations; how many allocations of each failed."""
    done = subprocess.run([SCRIPT, "faults", *arguments], check=False, text=True, timeout=300,
                          env=os.environ | {"PYTHON": sys.executable}, capture_output=True)
    assert done.returncode == 0, done.stderr
    return {name: int(count) for name, count in map(str.split, done.stdout.splitlines())}


def test_a_fit_and_a_prediction_without_memory():
    found = faults("fit", "predict", "tune", "load", "--every", "3")
    assert list(found) == ["fit", "predict", "tune", "load"] and min(found.values()) >= 2
