"""Writes that take less than they were given, are interrupted or fail, one by one.

``native/writes.c`` is preloaded into a process that runs ``write_runs.py``, which says what must
hold after each. Of the longer files only some calls fail here, and all of them in the slow suite.
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
OPERATIONS = ("save", "export", "export_onnx", "table", "manifest", "history", "merge", "score")


def writes(*arguments):
    """Run operations; of each, how many writes it takes, and how many calls failed."""
    done = subprocess.run([SCRIPT, "writes", *arguments], check=False, text=True, timeout=300,
                          env=os.environ | {"PYTHON": sys.executable}, capture_output=True)
    assert done.returncode == 0, done.stderr
    lines = [line.split() for line in done.stdout.splitlines()]
    return {name: (int(count), int(failed)) for name, count, failed in lines}


def test_a_file_is_whole_or_the_old_one_whatever_a_write_does():
    found = writes("--every", "9")
    assert tuple(found) == OPERATIONS
    for name, (count, failed) in found.items():
        assert count >= 1 and failed >= 6, name
    assert min(found[name][0] for name in ("save", "export", "export_onnx", "table")) >= 5


@pytest.mark.slow
def test_each_write_may_be_the_one_that_fails():
    found = writes()
    for name, (count, failed) in found.items():
        assert failed >= 3 * count + 5, name  # three ways, and flushes, closes, renames
