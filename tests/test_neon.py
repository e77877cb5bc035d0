"""NEON, on a machine that need not have it: ``emulate_neon.sh`` builds and runs the package.

Skipped where the cross compiler, the emulator or the arm64 Python that it fetches is missing.
"""

import hashlib
import os
import subprocess
from pathlib import Path

import pytest
from test_reproducible import as_it_was, bears, one  # noqa: F401  fixtures

SCRIPT = Path(__file__).with_name("emulate_neon.sh")
# Left out: what takes minutes of emulated NumPy, and a test that starts Python as a child, which an
# emulated one cannot.
EMULATED = "not 3x3_of_odd_sizes and not nearly_as_exact and not largest_batch and not 520-64"
SUITES = ("kernels", "net", "gradients", "augment", "optim")

pytestmark = pytest.mark.slow


def script(*arguments):
    env = {name: value for name, value in os.environ.items() if name != "MLCLASSIFY_ISA"}
    return subprocess.run([SCRIPT, *arguments], check=False, env=env, text=True,
                          stdout=subprocess.PIPE, stderr=subprocess.STDOUT)


@pytest.fixture(scope="module")
def emulated():
    """Function that runs the emulated Python with the package built for it; what it printed."""
    check = script("check")
    if check.returncode:
        pytest.skip(check.stdout.strip())

    def run(*arguments):
        done = script("python", *arguments)
        assert done.returncode == 0, done.stdout
        return done.stdout

    built = script("build")
    assert built.returncode == 0, built.stdout
    return run


def test_neon_is_the_default_on_aarch64(emulated):
    assert emulated("-c", "from mlclassify import _core; print(_core.isas(), _core.isa())") == (
        "['scalar', 'neon'] neon\n")


@pytest.mark.parametrize("suite", SUITES)
def test_the_suite_passes_on_neon(emulated, suite):
    emulated("-m", "pytest", "-q", "-p", "no:cacheprovider", "-m", "not slow", "-k", EMULATED,
             f"tests/test_{suite}.py")


def digest(run):
    return {name: hashlib.sha256(value).hexdigest() for name, value in sorted(run.items())}


RUN = """
import sys
sys.path.insert(0, "tests")
from pathlib import Path
from test_neon import digest
from test_reproducible import bits, run
from mlclassify.vision.backbones import ARCHS
from tiny import tiny
ARCHS["tiny"] = tiny
print(digest(bits(run(Path(sys.argv[1]), path=sys.argv[1]))))
"""


def test_a_training_run_leaves_the_same_bits_as_on_this_machine(emulated, bears, one):  # noqa: F811
    assert emulated("-c", RUN, str(bears)).splitlines()[-1] == str(digest(one))
