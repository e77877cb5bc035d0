"""Failures while something runs: workers that hang, sizes that wrap, a threshold forgotten."""

import os
import re
import subprocess
import sys
import textwrap
from pathlib import Path

import numpy as np
import pytest
from tiny import LABELS, register, tiny_learner

from mlclassify.interpret import Interpretation
from mlclassify.learner import load_learner

HERE = Path(__file__).resolve().parent


@pytest.fixture(autouse=True)
def quiet(monkeypatch):
    monkeypatch.setenv("MLCLASSIFY_PROGRESS", "0")


def run(source, *arguments):
    """Run a script from standard input, as a notebook's cells are; return its lines."""
    done = subprocess.run(
        [sys.executable, "-", *map(str, arguments)], input=textwrap.dedent(source), text=True,
        capture_output=True, check=False, timeout=60, cwd=HERE.parent,
        env=os.environ | {"MLCLASSIFY_PROGRESS": "0"})
    assert done.returncode == 0, done.stderr
    return done.stdout.splitlines()


# --- worker processes that hang a notebook

WORKERS = """
    import os, threading
    from mlclassify.callbacks import Callback
    from tiny import tiny_learner, tiny_loaders

    class NoProcess(Callback):
        seen = set()

        def after_batch(self):
            self.seen.add(threading.active_count())
            try:
                os.waitpid(-1, os.WNOHANG)
                raise SystemExit("a child process is there")
            except ChildProcessError:
                pass

    learn = tiny_learner(dls=tiny_loaders(40, 4, num_workers=3), cbs=NoProcess())
    with learn.no_logging():
        learn.fit(2)
    print(max(NoProcess.seen) > 1, threading.active_count())
"""


@pytest.mark.skipif(os.name != "posix", reason="waitpid")
def test_workers_are_threads():
    """No fork that inherits locks, no spawn that needs a `__main__` guard; none is left behind."""
    assert run(WORKERS) == ["True 1"]


# --- sizes of convolutions past 2^31

SIZES = """
    import resource, sys
    import numpy as np
    from mlclassify import _core

    x = np.zeros((1, 8192, 8192, 1), np.float32).transpose(0, 3, 1, 2)  # pages of zeros, untouched
    with open("/proc/self/statm") as file:
        used = int(file.read().split()[0]) * resource.getpagesize()
    resource.setrlimit(resource.RLIMIT_AS, (used + (300 << 20),) * 2)
    for kernel in (1, 3):
        for out in (16, 32, 64, 128, 1 << 10, 1 << 20):
            conv = {"out": out, "kernel": kernel, "padding": kernel // 2}
            net = None
            net = _core.Net([("conv", "c", (0,), conv), ("avgpool", "", (1,), {})], 1)
            for train in (False, True):
                try:
                    net.forward(x, train=train)
                    sys.exit("it ran")
                except MemoryError as error:
                    print(out, error)
    try:
        _core.Net([("conv", "a", (0,), {"out": 1 << 20, "kernel": 1}),
                   ("conv", "b", (1,), {"out": 1 << 20, "kernel": 15})], 1)
    except MemoryError as error:
        print(error)
"""


@pytest.mark.skipif(sys.platform != "linux", reason="RLIMIT_AS")
def test_sizes_past_32_bits_are_counted_right():
    """From 2^30 values (2^32 bytes) to 2^46 each is refused with its size, not a rest of it."""
    *refused, weights = run(SIZES)
    assert len(refused) == 24 and weights == "Net: no memory for `b.weight`"
    for line in refused:
        out, size = re.match(r"(\d+) Net.forward: a batch of 1 images of 8192 x 8192 needs "
                             r"([\d.]+) GB and \d+ MB are free; use smaller images$", line).groups()
        least = 8192**2 * int(out) * 4 / 2**30
        assert least <= float(size) <= 1.1 * least + 1, line


# --- a threshold that is not applied in evaluation

@pytest.mark.parametrize("thresh", [0.02, 0.98, [0.99, 0.45, 0.02]])
def test_one_threshold_decides_everywhere(thresh, tmp_path, monkeypatch):
    """Predictions, evaluation, interpretation and the saved model, against `probs > thresh`."""
    register(monkeypatch)
    learn = tiny_learner(60, path=tmp_path)
    with learn.no_logging():
        learn.fit(2, 1e-2)
    learn.loss_func.thresh = thresh
    probs, targets, decided = map(np.asarray, learn.get_preds(with_decoded=True))
    want = probs > np.float32(thresh)
    assert want.any() and not want.all() and (want != (probs > 0.5)).any()
    assert (decided == want).all()
    items = learn.dls.valid_ds.items
    for model in (learn, load_learner(learn.export())):
        assert [list(model.predict(image).mask) for image, _ in items] == want.tolist()
    hits, positives = (want & (targets > 0)).sum(0), (targets > 0).sum(0)
    reports = learn.report(), Interpretation.from_learner(learn).report()
    for report in reports:
        assert np.allclose(report.thresh, thresh)
        assert np.allclose(report.recall, hits / positives)
        assert np.allclose(report.precision, hits / np.maximum(want.sum(0), 1))
    assert list(learn.dls.vocab) == list(LABELS)
