"""Each target of the fuzzer for a few seconds; `make fuzz` runs them longer, led by coverage.

What libFuzzer leads by the coverage of C is skipped where clang is missing.
"""

import json
import subprocess
import sys
from pathlib import Path

import native
import pytest
from run import CORPUS, TARGETS, corpus_of

HERE = Path(__file__).resolve().parent
pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="limits and alarms of Linux")


def fuzz(target, *options):
    """Return what a run in its own process counted."""
    done = subprocess.run(
        [sys.executable, HERE / "run.py", target, *options],
        text=True,
        capture_output=True,
        check=False,
        timeout=300,
    )
    assert done.returncode == 0, done.stderr[-4000:]
    return json.loads(done.stdout.splitlines()[-1])


@pytest.mark.parametrize("target", TARGETS)
def test_nothing_is_found_soon(target):
    """The corpus and its changes; some are taken and some refused, or nothing was tried."""
    counts = fuzz(target, "--executions", "400")
    assert counts["executions"] >= 400
    assert 0 < counts["taken"] < counts["executions"]


@pytest.mark.slow
@pytest.mark.parametrize("target", TARGETS)
def test_nothing_is_found_later(target):
    counts = fuzz(target, "--seconds", "15", "--seed", "2")
    assert 0 < counts["taken"] < counts["executions"]


@pytest.fixture(scope="module")
def built():
    """The C code as clang builds it for libFuzzer."""
    if why := native.missing():
        pytest.skip(why)
    done = native.script("build", capture_output=True)
    assert done.returncode == 0, done.stderr


@pytest.mark.slow
@pytest.mark.parametrize("target", native.TARGETS)
def test_nothing_is_found_in_c(built, target):
    """The kept inputs, which reach most of what a campaign reached, and a few seconds more."""
    kept = native.run(target)
    assert kept.returncode == 0, kept.stderr[-4000:]
    assert native.reached(kept.stderr)[0] > {"scores": 1000, "image": 300, "net": 1000}[target]
    done = native.run(target, 5, seed=2)
    assert done.returncode == 0, done.stderr[-4000:]
    assert native.executions(done.stderr)[0] > native.executions(kept.stderr)[0] > 20


@pytest.mark.slow
@pytest.mark.parametrize("target", ["core", "net"])
def test_nothing_is_found_through_the_bindings(built, target):
    """Calls from Python, led by what of C they reach."""
    pytest.importorskip("atheris")
    done = native.script("python", HERE / "run.py", target, "--coverage", "--seconds", "5",
                         capture_output=True)  # fmt: skip
    assert done.returncode == 0, done.stderr[-4000:]
    counts = json.loads(done.stdout.splitlines()[-1])
    assert 0 < counts["taken"] < counts["executions"]
    covered, places = native.reached(done.stderr)
    assert 500 < covered < places


BEYOND = """
import ctypes, sys
import numpy as np
from mlclassify import _core
x = np.zeros(1000, np.float32)
light = ctypes.CFUNCTYPE(None, ctypes.c_void_p, ctypes.c_size_t, ctypes.c_float, ctypes.c_float)
kernels = _core.kernels(_core.isas()[int(sys.argv[1])])
light(kernels["light"])(x.ctypes.data, 1001, 0.5, 1)
"""


@pytest.mark.slow
@pytest.mark.parametrize("isa", [0, -1])
def test_a_value_past_the_end_of_an_array_is_found(built, isa):
    """The sanitizer watches the kernels, the slowest and the fastest."""
    pytest.importorskip("atheris")
    done = native.script("python", "-c", BEYOND, str(isa), capture_output=True)
    assert done.returncode and "heap-buffer-overflow" in done.stderr


@pytest.mark.parametrize(
    "fault, says",
    [
        ("raise KeyError('left open')", "KeyError: 'left open'"),
        ("import os; os.kill(os.getpid(), 11)", "Segmentation fault"),
        ("run.signal.alarm(1); run.time.sleep(5)", ""),
    ],
)
def test_a_finding_ends_the_run(fault, says, tmp_path):
    """An exception, a crash and a hang are told, and what caused them is kept."""
    source = f"""
import sys
sys.path.insert(0, {str(HERE)!r})
import run
def bad(data):
    if len(data) % 7 == 3:
        {fault}
run.find_target = lambda name: bad
sys.argv = ["run.py", "table"]
run.main()
"""
    done = subprocess.run(
        [sys.executable, "-c", source],
        text=True,
        capture_output=True,
        check=False,
        timeout=60,
        env={"TMPDIR": str(tmp_path), "PATH": ""},
    )
    assert done.returncode != 0 and says in done.stderr
    (kept,) = tmp_path.iterdir()
    assert str(kept) in done.stderr and len(kept.read_bytes()) % 7 == 3


def test_every_target_has_a_corpus():
    assert {path.name for path in CORPUS.iterdir()} == {
        name for target in TARGETS for name in (target, f"{target}.tokens")
    }
    assert sum(len(data) for target in TARGETS for data in corpus_of(target)) < 100_000
    assert {path.name for path in native.CORPUS.iterdir()} == set(native.TARGETS)
    kept = [path.stat().st_size for path in native.CORPUS.rglob("*") if path.is_file()]
    assert max(kept) <= native.LONGEST and sum(kept) < 50_000


def test_a_campaign_writes_its_page(tmp_path):
    page = tmp_path / "fuzz.md"
    subprocess.run(
        [sys.executable, HERE / "campaign.py", "--seconds", "1", "--out", page, "table", "core"],
        check=True, capture_output=True, timeout=120)  # fmt: skip
    rows = [line.split(" | ") for line in page.read_text().splitlines() if line.startswith("| ")]
    assert [row[0] for row in rows] == ["| target", "| table", "| core"]
    assert all(int(row[2]) > 10 and row[6] == "0 |" for row in rows[1:])
