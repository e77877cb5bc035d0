"""Operations of a learner with allocations that fail, one at a time, and what is left after each.

Run with ``native/faults.c`` built and preloaded, see ``test_faults.py``::

    LD_PRELOAD=faults.so python fault_runs.py [OPERATION]... [--every STEP]

Of each operation the first, second, third... allocation that ``_core`` makes fails, until there is
none left to fail; then each from the k-th on. ``objects`` are the bindings with Python's allocator
failing instead. It must raise MemoryError or do its work; leave the
weights, the moments and the predictions as a whole step left them; give back its memory,
descriptors and threads; and work when it is called again. ``--every`` leaves out all k but each
STEP-th. Prints a line of each operation: its name and how many allocations failed.
"""

import argparse
import ctypes
import gc
import os
import sys
import tempfile
import threading

import numpy as np
from reference import nhwc, random_state, small_resnet
from test_schedule import bits
from tiny import photos, tiny, tiny_learner

from mlclassify import _core
from mlclassify.callbacks import Callback
from mlclassify.learner import load_learner
from mlclassify.metrics import APScoreMulti, F1ScoreMulti, RocAucMulti
from mlclassify.vision.backbones import ARCHS
from mlclassify.weights import read_tensors

try:
    import _testcapi  # of CPython's own tests: the only way to its allocator
except ImportError:
    _testcapi = None

IMAGE = photos(1, seed=3)[0][0]


class Faults:
    """The functions of the preloaded library, set to watch the extension's code."""

    def __init__(self):
        library = ctypes.CDLL(None)
        self.arm, self.threads = library.faults_arm, library.faults_threads
        self.count, self.live = library.faults_count, library.faults_live
        self.arm.argtypes = [ctypes.c_size_t, ctypes.c_size_t]
        self.count.restype = self.live.restype = ctypes.c_size_t
        library.faults_watch.argtypes = [ctypes.c_size_t, ctypes.c_size_t]
        library.faults_watch(*self._code())

    @staticmethod
    def _code():
        """Where the extension's code is mapped."""
        with open("/proc/self/maps") as file:
            lines = [line.split() for line in file]
        (code,) = [line[0] for line in lines
                   if line[-1] == os.path.realpath(_core.__file__) and "x" in line[1]]
        return [int(end, 16) for end in code.split("-")]


class Steps(Callback):
    """Notes what the model is after each whole step."""

    def __init__(self):
        self.seen = []

    def after_step(self):
        self.seen.append(model_bits(self.learn))


def model_bits(learn):
    """Weights, running statistics and moments, as bytes."""
    state, moments, *_ = bits(learn)
    return state, moments


def fresh(folder, fits=1):
    """A learner of `fits` epochs, which has predicted nothing yet."""
    learn = tiny_learner(24, 8, path=folder,
                         metrics=[APScoreMulti(), RocAucMulti(), F1ScoreMulti()])
    for _ in range(fits):
        fit(learn)
    return learn


def fit(learn):
    with learn.no_logging(), learn.no_bar():
        learn.fit(1, 1e-2)


def predict(learn):
    return learn.predict(IMAGE).probs.tobytes()


def tune(learn):
    learn.tune_thresholds()
    return np.asarray(learn.loss_func.thresh).tobytes()


def contents(path):
    """What a file holds; the order of its header is nobody's."""
    tensors, about = read_tensors(path, "test")
    return {name: value.tobytes() for name, value in tensors.items()}, about


def save(learn):
    learn.save("again")
    return contents(learn.path / "models" / "again.safetensors")


def load(learn):
    learn.load("kept")


def export(learn):
    return contents(learn.export())


def load_export(learn):
    return load_learner(learn.path / "kept.safetensors").predict(IMAGE).probs.tobytes()


def report(learn):
    return repr(learn.report())


OPERATIONS = {operation.__name__: operation
              for operation in (fit, predict, tune, save, load, export, load_export, report)}


def what_is_open():
    return len(os.listdir("/proc/self/fd")), threading.active_count()


class Run:
    """One operation, again and again, each time on a learner of its own."""

    def __init__(self, faults, operation, folder):
        self.faults, self.operation, self.folder = faults, operation, folder
        learn = fresh(folder)
        steps = Steps()
        before = model_bits(learn)
        learn.add_cb(steps)
        self.want = operation(learn)
        self.after = bits(learn)
        self.whole = [before, *steps.seen, model_bits(learn)]
        self.answer = predict(learn)

    def once(self, k, many):
        """Let the k-th allocation fail, and `many` - 1 more; whether there was such a one."""
        learn = fresh(self.folder)
        gc.collect()
        found = None
        self.faults.arm(k, many)
        try:
            found = self.operation(learn)
        except MemoryError:
            done = False
        else:
            done = True
        failed = self.faults.count() >= k
        self.faults.arm(0, 0)
        self.check(learn, k, done, failed, found)
        return failed

    def check(self, learn, k, done, failed, found):
        where = f"{self.operation.__name__}, allocation {k}"
        assert done or failed, f"{where}: MemoryError, but none had failed"
        if done:
            assert found == self.want and bits(learn) == self.after, f"{where}: another result"
            assert predict(learn) == self.answer, f"{where}: another prediction"
            return
        now = model_bits(learn)
        assert now in self.whole, f"{where}: the model is half way between two steps"
        clean = fresh(self.folder, 0)
        clean.model.load_state_dict(learn.model.state_dict())
        assert predict(learn) == predict(clean), f"{where}: another prediction"
        again = self.operation(learn)
        if self.operation is not fit:
            assert again == self.want, f"{where}: the next call is another"

    def all(self, every):
        """How many allocations failed, one at a time and all from one on."""
        self.once(2**40, 1)  # what is made once a process is there from now on
        gc.collect()
        live, opened = self.faults.live(), what_is_open()
        total = 0
        for many in (1, 2**40):
            k = 1
            while self.once(k, many):
                k, total = k + every, total + 1
        gc.collect()
        assert self.faults.live() == live, (self.operation.__name__, self.faults.live(), live)
        assert what_is_open() == opened, (self.operation.__name__, what_is_open(), opened)
        return total


def without_threads(faults, folder):
    """Threads that cannot be started change no bit."""
    _core.set_num_threads(4)
    faults.threads(False)
    alone = bits(fresh(folder))
    faults.threads(True)
    assert bits(fresh(folder)) == alone


def bindings():
    """Calls of `_core` that make Python objects, each with what it is called with."""
    rng = np.random.default_rng(0)
    net = _core.Net(small_resnet())
    net.load_state_dict(random_state(net, rng))
    x = nhwc(rng.normal(size=(2, 3, 33, 33)))
    net.backward(np.ones_like(net.forward(x, train=True)))
    net.adam_step([0.1], [0.9], [0.99], [1e-5], [0])
    state = {name: value.copy() for name, value in (net.parameters() | net.buffers()).items()}
    moments = {name: (step, m.copy(), v.copy())
               for name, (step, m, v) in net.optimizer_state().items()}
    scores = rng.normal(size=(50, 5)).astype(np.float32)
    targets, out = (scores > 0).astype(np.uint8), np.empty((5, 2))
    return net, {
        "Net": lambda: _core.Net(small_resnet()), "forward": lambda: net.forward(x),
        "forward, also": lambda: net.forward(x, also="stem"), "parameters": net.parameters,
        "buffers": net.buffers, "gradients": net.gradients, "times": net.times,
        "optimizer_state": net.optimizer_state, "isas": _core.isas,
        "load_state_dict": lambda: net.load_state_dict(state),
        "load_optimizer_state": lambda: net.load_optimizer_state(moments),
        "kernels": lambda: _core.kernels("scalar"), "isa": _core.isa,
        "column_ranking": lambda: _core.column_ranking(scores, targets, None, out),
        "an error": lambda: _core.column_ranking(scores, targets, None, scores)}


def objects(every):
    """Let Python's own allocator fail in the bindings; how many of its allocations failed."""
    net, calls = bindings()
    total = 0

    def bits_of_net():
        return b"".join(value.tobytes() for values in (net.parameters(), net.buffers())
                        for value in values.values())

    before = bits_of_net()
    for name, call in calls.items():
        k, without = 0, 0
        while without < 20:  # what fails may be swallowed by Python, or come after the call
            _testcapi.set_nomemory(k, k + 1)
            try:
                call()
            except MemoryError:
                without, total = 0, total + 1
            except TypeError:
                assert name == "an error"
                without += 1
            else:
                without += 1
            finally:
                _testcapi.remove_mem_hooks()
            k += every
        assert bits_of_net() == before, name
    return total


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("operations", nargs="*",
                        default=[*OPERATIONS, *(["objects"] if _testcapi else [])])
    parser.add_argument("--every", type=int, default=1)
    options = parser.parse_args()
    ARCHS["tiny"] = tiny  # which the files it writes name
    faults = Faults()
    with tempfile.TemporaryDirectory() as folder:
        without_threads(faults, folder)
        learn = fresh(folder)
        learn.save("kept"), learn.export("kept.safetensors")
        del learn
        for name in options.operations:
            failed = (objects(options.every) if name == "objects" else
                      Run(faults, OPERATIONS[name], folder).all(options.every))
            print(name, failed, flush=True)


if __name__ == "__main__":
    sys.exit(main())
