"""What the sanitizers and valgrind say of the core: a part of `make sanitize`, which runs all.

Skipped where gcc's sanitizers or valgrind are missing.
"""

import os
import subprocess
import sys
from pathlib import Path

import pytest

SCRIPT = Path(__file__).with_name("sanitize.sh")
# The files whose tests reach most of the C code in the least time.
SUITES = ("net", "augment", "image", "losses", "optim", "ranking", "counts", "thresholds")

pytestmark = pytest.mark.slow


def script(*arguments, **environment):
    return subprocess.run(
        [SCRIPT, *arguments], check=False, text=True, stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT, env=os.environ | {"PYTHON": sys.executable} | environment)


@pytest.fixture(scope="module", autouse=True)
def tools():
    check = script("check")
    if check.returncode:
        pytest.skip(check.stdout.strip())


@pytest.fixture(scope="module")
def sanitized(tmp_path_factory):
    """Function that runs Python with the sanitized package: what ended it, and what was said."""
    built = script("build")
    assert built.returncode == 0, built.stdout

    def run(*arguments):
        folder = tmp_path_factory.mktemp("reports")
        done = script("python", *arguments, REPORTS=str(folder))
        return done.returncode, done.stdout + "".join(f.read_text() for f in folder.iterdir())

    return run


BEYOND = """
import ctypes
import numpy as np
from mlclassify import _core
x = np.zeros(1000, np.float32)
light = ctypes.CFUNCTYPE(None, ctypes.c_void_p, ctypes.c_size_t, ctypes.c_float, ctypes.c_float)
light(_core.kernels("scalar")["light"])(x.ctypes.data, 1001, 0.5, 1)
"""


def test_a_value_past_the_end_of_an_array_is_reported(sanitized):
    code, said = sanitized("-c", BEYOND)
    assert code and "heap-buffer-overflow" in said and "pixels.c" in said


@pytest.mark.parametrize("suite", SUITES)
def test_the_suite_has_no_report(sanitized, suite):
    code, said = sanitized("-m", "pytest", "-q", "-p", "no:cacheprovider", "--capture=sys",
                           "-m", "not slow", f"tests/test_{suite}.py")
    assert code == 0, said


def test_threads_have_no_races():
    done = script("threads", "scalar")
    assert done.returncode == 0 and "all holds" in done.stdout, done.stdout


def test_nothing_is_read_before_it_is_written_and_nothing_is_lost():
    done = script("memcheck", "avx2")
    assert done.returncode == 0 and "all holds" in done.stdout, done.stdout
