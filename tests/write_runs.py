"""Everything that is written, by a system that takes less of each write or fails at any of them.

Run with ``native/writes.c`` built and preloaded, see ``test_writes.py``::

    LD_PRELOAD=writes.so python write_runs.py [OPERATION]... [--every STEP]

Each operation replaces a file that is there. First every write takes a few bytes only; then the
first, second, third... write, flush, close and rename is interrupted or fails, too. What comes of
it must be the whole new file; or an error with the system's number that names the file, and the
whole old one; with no rest of either. ``--every`` leaves out all but each STEP-th. Prints a line
of each operation: its name, the writes that it takes, and how many calls failed.
"""

import argparse
import ctypes
import errno
import os
import sys
import tempfile
from pathlib import Path

from PIL import Image
from tiny import photos, tiny, tiny_learner

from mlclassify.data import download
from mlclassify.data.table import LabelTable
from mlclassify.scoring.merge import merge_parts
from mlclassify.scoring.score import score_files
from mlclassify.tracker import CSVLogger
from mlclassify.vision.backbones import ARCHS
from mlclassify.weights import read_tensors

CALLS = ("write", "fsync", "close", "rename")
MOST = 1000  # bytes that a write takes


class System:
    """The functions of the preloaded library."""

    def __init__(self):
        library = ctypes.CDLL(None)
        library.writes_most.argtypes = [ctypes.c_size_t]
        library.writes_fail.argtypes = [ctypes.c_int, ctypes.c_size_t, ctypes.c_int]
        library.writes_count.restype = ctypes.c_size_t
        library.writes_most(MOST)
        self._fail, self._count = library.writes_fail, library.writes_count

    def fail(self, call, k, number):
        """Let the k-th call of this kind fail; 0: none."""
        self._fail(CALLS.index(call), k, number)

    def count(self, call):
        """How many calls of this kind there were since."""
        return self._count(CALLS.index(call))


# --- operations: each writes number `i` of something to a folder, and names the file

_learners = {}


def learner(folder, i):
    """Two learners of other weights, made once."""
    if i not in _learners:
        _learners[i] = tiny_learner(24, 8, model_seed=i, path=folder, model_dir=".")
    return _learners[i]


def save(folder, i):
    learner(folder, i).save("a")
    return folder / "a.safetensors"


def export(folder, i):
    return learner(folder, i).export("b.safetensors")


def export_onnx(folder, i):
    learner(folder, i).export_onnx(folder / "c.onnx")
    return folder / "c.onnx"


def table(folder, i):
    rows = {f"{k}.jpg": [f"label{i}"] for k in range(300)}
    LabelTable(rows).write(folder / "labels.csv")
    return folder / "labels.csv"


def manifest(folder, i):
    rows = {str(k): dict.fromkeys(download.COLUMNS, f"{i}{k}") for k in range(50)}
    download._write_manifest(folder, rows)
    return folder / download.MANIFEST


def history(folder, i):
    log = CSVLogger("history.csv")
    log.learn, log._before = learner(folder, 1), f"{i},0.5\n" * 500
    log._write()
    return folder / "history.csv"


def score(folder, i, resume=False):
    names = [f"{k}.png" for k in range(i, i + 12)]
    (folder / f"names{i}.txt").write_text("\n".join(names))
    score_files(folder / "kept.safetensors", folder / f"names{i}.txt", folder / "part.csv", bs=4,
                folder=folder, resume=resume)
    return folder / "part.csv"


def merge(folder, i):
    merge_parts([folder / f"kept{i}.csv"], folder / "all.csv")
    return folder / "all.csv"


OPERATIONS = {operation.__name__: operation for operation in
              (save, export, export_onnx, table, manifest, history, merge, score)}  # fmt: skip


def contents(path):
    """What a file holds; the order of a header is nobody's."""
    if path.suffix != ".safetensors":
        return path.read_bytes()
    tensors, about = read_tensors(path, "test")
    return {name: value.tobytes() for name, value in tensors.items()}, about


class Run:
    """One operation, again and again, each time over the file of another."""

    def __init__(self, system, operation, folder):
        self.system, self.operation, self.folder = system, operation, folder
        self.path = operation(folder, 2)
        self.new = contents(self.path)
        operation(folder, 1)
        self.old = contents(self.path)
        assert self.old != self.new
        self.files = self.names()

    def names(self):
        return sorted(os.listdir(self.folder))

    def fails(self, call, k, number):
        """Let a call fail; whether there was one."""
        self.system.fail(call, k, number)
        try:
            self.operation(self.folder, 2)
            error = None
        except OSError as found:
            error = found
        there = self.system.count(call) >= k
        self.system.fail(call, 0, 0)
        where = f"{self.operation.__name__}: {call} {k} with {errno.errorcode[number]}: {error!r}"
        assert there or error is None, where
        self.check(call, number, error, where)
        return there

    def check(self, call, number, error, where):
        now = contents(self.path)
        if error is None:
            assert now == self.new, where
        else:
            assert error.errno == number and number != errno.EINTR, where
            assert now == self.old or (now == self.new and self.may_be_new(call)), where
            if self.operation is not score:
                assert self.path.name in str(error), where
                assert self.names() == self.files, where
        if self.operation is score:  # what a run that failed has left is gone on with
            score(self.folder, 2, resume=True)
            assert contents(self.path) == self.new, where
        self.operation(self.folder, 1)
        assert contents(self.path) == self.old and self.names() == self.files, where

    def may_be_new(self, call):
        """Whether the new file may stand there after an error: one of what comes after it."""
        return call == "fsync" or self.operation is score

    def all(self, every):
        """How many writes it takes, and how many calls failed."""
        failed, writes = 0, self.counted()
        for call, numbers in (("write", (errno.EINTR, errno.EIO, errno.ENOSPC)),
                              ("fsync", (errno.EIO, errno.EDQUOT, errno.EINTR)),
                              ("close", (errno.EIO,)), ("rename", (errno.EIO,))):  # fmt: skip
            for number in numbers:
                k = 1
                while self.fails(call, k, number):
                    k, failed = k + every, failed + 1
        return writes, failed

    def counted(self):
        self.system.fail("write", 0, 0)
        self.operation(self.folder, 2)
        assert contents(self.path) == self.new
        return self.system.count("write")


def prepare(folder):
    """What scores are made of, and two parts."""
    for k, (image, _) in enumerate(photos(14)):
        Image.fromarray(image).save(folder / f"{k}.png")
    learner(folder, 1).export("kept.safetensors")
    for i in (1, 2):
        score(folder, i).rename(folder / f"kept{i}.csv")
        (folder / "part.csv.json").rename(folder / f"kept{i}.csv.json")


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("operations", nargs="*", default=list(OPERATIONS))
    parser.add_argument("--every", type=int, default=1)
    options = parser.parse_args()
    ARCHS["tiny"] = tiny  # which the files it writes name
    with tempfile.TemporaryDirectory() as folder:
        folder = Path(folder)
        prepare(folder)
        system = System()
        for name in options.operations:
            print(name, *Run(system, OPERATIONS[name], folder).all(options.every), flush=True)


if __name__ == "__main__":
    sys.exit(main())
