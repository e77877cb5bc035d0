"""Kill a training with SIGKILL at random moments, resume it, and look at every file each time.

``python tests/kills.py --kills 200 --out PAGE.md``. The training saves a checkpoint, a model, a
table of labels and a manifest after each epoch. Whatever a kill leaves must hold, bit for bit, what
the same training wrote after some epoch when nobody killed it; and it must go on from there to the
same last files. Each is read back, too, which checks its hash.
"""

import argparse
import hashlib
import json
import os
import platform
import random
import shutil
import signal
import sys
import tempfile
import time
from pathlib import Path

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE))

import numpy as np  # noqa: E402
from tiny import tiny, tiny_learner  # noqa: E402

import mlclassify  # noqa: E402
from mlclassify.callbacks import Callback  # noqa: E402
from mlclassify.checkpoint import read_checkpoint  # noqa: E402
from mlclassify.data import download  # noqa: E402
from mlclassify.data.table import LabelTable, read_table  # noqa: E402
from mlclassify.export import digest  # noqa: E402
from mlclassify.learner import load_learner  # noqa: E402
from mlclassify.vision.backbones import ARCHS  # noqa: E402
from mlclassify.weights import read_tensors  # noqa: E402

EPOCHS = 6
READERS = {  # in the order in which an epoch writes them
    "training.safetensors": read_checkpoint,
    "model.safetensors": load_learner,
    "labels.csv": read_table,
    "manifest.csv": lambda path: download.read_manifest(path.parent),
}


class SaveAll(Callback):
    """Write one file of each kind after an epoch, and call `seen` when they are there."""

    def __init__(self, seen):
        self.seen = seen

    def after_epoch(self):
        self.learn.save("training")
        write_others(self.learn, self.learn.epoch)
        self.seen()


def write_others(learn, epoch):
    learn.export("model.safetensors")
    rows = {f"{i}.jpg": [f"epoch{epoch}"] for i in range(500)}
    LabelTable(rows).write(learn.path / "labels.csv")
    cells = dict.fromkeys(download.COLUMNS, str(epoch))
    rows = {i: cells | {"url": f"http://host/{i}"} for i in range(500)}
    download._write_manifest(learn.path, rows)


def train(folder, seen=lambda: None):
    """Train from what stands in the folder, if anything does, to the end."""
    learn = tiny_learner(24, 6, path=folder, model_dir=".")
    if (folder / "training.safetensors").exists():
        learn.load("training")
    if learn.epochs_begun == EPOCHS:  # killed between the last checkpoint and the others
        write_others(learn, EPOCHS - 1)
        return
    with learn.no_logging(), learn.no_bar():
        learn.fit_one_cycle(EPOCHS, 1e-2, start_epoch=learn.epochs_begun, cbs=SaveAll(seen))


def content(path):
    """Return the hash of all that a file holds; safetensors puts metadata in any order."""
    if path.suffix == ".csv":
        return hashlib.sha256(path.read_bytes()).hexdigest()
    tensors, metadata = read_tensors(path, "content")
    return digest(tensors, json.dumps(metadata, sort_keys=True))


def uninterrupted(folder):
    """Return the contents of each file after each epoch, and how long an epoch takes."""
    contents, start = {name: [] for name in READERS}, time.perf_counter()

    def seen():
        for name, epochs in contents.items():
            epochs.append(content(folder / name))

    train(folder, seen)
    assert all(len(set(epochs)) == EPOCHS for epochs in contents.values())
    return contents, (time.perf_counter() - start) / EPOCHS


def train_and_kill(folder, delay):
    """Train in a child for so many seconds; return whether it was done before it was killed."""
    child = os.fork()
    if child == 0:
        code = 1
        try:
            train(folder)
            code = 0
        finally:
            os._exit(code)
    time.sleep(delay)
    os.kill(child, signal.SIGKILL)
    status = os.waitpid(child, 0)[1]
    if status not in (0, signal.SIGKILL):
        raise RuntimeError(f"the training ended with status {status}")
    return status == 0


def check(folder, contents, before):
    """Compare each file with the uninterrupted training; return the epoch of each that is there."""
    found = {}
    for name, read in READERS.items():
        path = folder / name
        if not path.exists():
            assert name not in before, f"{name} is gone"
            continue
        now = content(path)
        assert now in contents[name], f"{name} is of no epoch"
        found[name] = contents[name].index(now)
        assert found[name] >= before.get(name, 0), f"{name} went back"
        read(path)
    return found


def run(kills, seed, root):
    """Kill so many trainings, one after the other resumed; return what was counted."""
    draw, counts = (
        random.Random(seed),
        dict.fromkeys(
            ("kills", "while a file was written", "with a file of each kind", "trainings finished"),
            0,
        ),
    )
    (root / "whole").mkdir()
    contents, epoch = uninterrupted(root / "whole")
    folder, before = root / "killed", {}
    folder.mkdir()
    while counts["kills"] < kills:
        done = train_and_kill(folder, draw.uniform(0, 2.5 * epoch))
        before = check(folder, contents, before)
        if not done:
            counts["kills"] += 1
            counts["while a file was written"] += bool(list(folder.glob(".*.tmp")))
            counts["with a file of each kind"] += len(before) == len(READERS)
            continue
        counts["trainings finished"] += 1
        assert set(before.values()) == {EPOCHS - 1}, "the last files differ"
        left = {path.name for path in folder.iterdir()} - set(READERS)
        assert not left, f"{left} was left"
        shutil.rmtree(folder)
        folder.mkdir()
        before = {}
    return counts


PAGE = """# Trainings that were killed

`python tests/kills.py --kills {kills} --seed {seed}`: a training of {epochs} epochs saves a
checkpoint, a model, a table of labels and a manifest after each, is killed with SIGKILL at a random
moment, and resumed from what it left, again and again. After each kill every file was compared with
those of the same training when nobody killed it, and read back, which checks its hash.

mlclassify {version}, NumPy {numpy}, Python {python}, {system}; {minutes:.1f} minutes.

| | |
|---|---|
{rows}

Every file was, to the bit, that of a whole epoch, none was lost or went back, every training that
finished had the files of the uninterrupted one to the bit, and no temporary file was left beside
them.
"""


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--kills", type=int, default=200)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--out", type=Path, help="the page of results to write")
    options, start = parser.parse_args(), time.monotonic()
    ARCHS["tiny"] = tiny
    os.environ["MLCLASSIFY_PROGRESS"] = "0"
    with tempfile.TemporaryDirectory() as root:
        counts = run(options.kills, options.seed, Path(root))
    print(json.dumps(counts))
    if options.out:
        options.out.write_text(
            PAGE.format(
                kills=options.kills,
                seed=options.seed,
                epochs=EPOCHS,
                numpy=np.__version__,
                version=mlclassify.__version__,
                python=platform.python_version(),
                system=platform.system(),
                minutes=(time.monotonic() - start) / 60,
                rows="\n".join(f"| {name} | {count} |" for name, count in counts.items()),
            )
        )


if __name__ == "__main__":
    main()
