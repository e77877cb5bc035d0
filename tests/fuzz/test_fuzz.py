"""Each target of the fuzzer for a few seconds; `make fuzz` runs them longer, led by coverage."""

import json
import subprocess
import sys
from pathlib import Path

import pytest
from run import CORPUS, TARGETS, corpus_of

HERE = Path(__file__).resolve().parent
pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="limits and alarms of Linux")


def fuzz(target, *options):
    """Return what a run in its own process counted."""
    done = subprocess.run([sys.executable, HERE / "run.py", target, *options], text=True,
                          capture_output=True, check=False, timeout=300)
    assert done.returncode == 0, done.stderr[-4000:]
    return json.loads(done.stdout.splitlines()[-1])


@pytest.mark.parametrize("target", TARGETS)
def test_nothing_is_found_soon(target):
    """The corpus and 400 changes of it; some are taken and some refused, or it would try nothing."""
    counts = fuzz(target, "--executions", "400")
    assert counts["executions"] >= 400
    assert 0 < counts["taken"] < counts["executions"]


@pytest.mark.slow
@pytest.mark.parametrize("target", TARGETS)
def test_nothing_is_found_later(target):
    counts = fuzz(target, "--seconds", "15", "--seed", "2")
    assert 0 < counts["taken"] < counts["executions"]


@pytest.mark.parametrize("fault, says", [
    ("raise KeyError('left open')", "KeyError: 'left open'"),
    ("import os; os.kill(os.getpid(), 11)", "Segmentation fault"),
    ("run.signal.alarm(1); run.time.sleep(5)", ""),
])
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
    done = subprocess.run([sys.executable, "-c", source], text=True, capture_output=True,
                          check=False, timeout=60, env={"TMPDIR": str(tmp_path), "PATH": ""})
    assert done.returncode != 0 and says in done.stderr
    (kept,) = tmp_path.iterdir()
    assert str(kept) in done.stderr and len(kept.read_bytes()) % 7 == 3


def test_every_target_has_a_corpus():
    assert {path.name for path in CORPUS.iterdir()} == {
        name for target in TARGETS for name in (target, f"{target}.tokens")}
    assert sum(len(data) for target in TARGETS for data in corpus_of(target)) < 100_000
