"""The post's training run, five seeds, beside fastai's.

    python benchmarks/bears.py BEARS WEIGHTS [--peers PYTHON] [--out FOLDER]

BEARS holds photos in the folders black, grizzly and teddy; the first 100 of each are used, sorted,
split with seed 0, as in the post: 240 to train on, 60 to validate on. WEIGHTS are ImageNet weights
of a ResNet-18 under torchvision's names. PYTHON is the interpreter of an environment with fastai:
then fastai runs the same (benchmarks/peer_fastai.py) in turn with ours, seed by seed, on the same
machine.
"""

import argparse
import json
import os
import platform
import statistics
import subprocess
import sys
import time
from functools import partial
from pathlib import Path

from mlclassify import __version__, _core
from mlclassify.vision.all import (
    APScoreMulti,
    BCEWithLogitsLossFlat,
    Callback,
    DataBlock,
    ImageBlock,
    MultiCategoryBlock,
    Pipeline,
    RandomResizedCrop,
    RandomSplitter,
    accuracy_multi,
    aug_transforms,
    parent_label,
    resnet18,
    vision_learner,
)

LABELS, PER_LABEL = ("black", "grizzly", "teddy"), 100

# What every seed, and the mean of them, has to reach at the end of the run.
EACH = {"valid_loss": (None, 0.27), "accuracy": (0.94, None), "ap": (0.98, None)}
MEAN = {"valid_loss": (None, 0.19), "ap": (0.990, None)}


def photos(folder):
    """Return the first photos of each label, in the order of their names."""
    return [f for label in LABELS for f in sorted((folder / label).iterdir())[:PER_LABEL]]


def one_label(label):
    """Return a label as the list that a multi-label target is."""
    return [label]


def make_learner(folder, weights, seed):
    """Build the post's data and learner."""
    block = DataBlock(
        blocks=(ImageBlock, MultiCategoryBlock),
        get_items=photos,
        splitter=RandomSplitter(valid_pct=0.2, seed=0),
        get_y=Pipeline([parent_label, one_label]),
        item_tfms=RandomResizedCrop(228, min_scale=0.5),
        batch_tfms=aug_transforms(),
    )
    metrics = [partial(accuracy_multi, thresh=0.95), APScoreMulti()]
    return vision_learner(block.dataloaders(folder), resnet18, metrics=metrics, weights=weights,
                          loss_func=BCEWithLogitsLossFlat(), seed=seed)


class Rows(Callback):
    """Keep (valid_loss, accuracy, AP, seconds) of every epoch."""

    order = 90

    def __init__(self):
        self.rows, self._since = [], None

    def before_epoch(self):
        self._since = time.monotonic()

    def after_epoch(self):
        values = [float(v) for v in self.learn.recorder.values[-1]]
        self.rows.append([*values[-3:], time.monotonic() - self._since])


def run(folder, weights, seed):
    """Train once; the rows of all epochs, the frozen one first."""
    learn, rows = make_learner(folder, weights, seed), Rows()
    with learn.no_bar(), learn.no_logging():
        learn.fine_tune(4, cbs=rows)
    return rows.rows


def run_peer(python, folder, weights, seed):
    """The same by fastai, in a process of its own."""
    script = Path(__file__).with_name("peer_fastai.py")
    done = subprocess.run([python, script, folder, weights, str(seed)], check=True,
                          stdout=subprocess.PIPE, text=True)
    return json.loads(done.stdout.splitlines()[-1])


def within(value, bounds):
    low, high = bounds
    return (low is None or value >= low) and (high is None or value <= high)


def summary(rows):
    return dict(zip(("valid_loss", "accuracy", "ap"), rows[-1]))


def check(runs):
    """Return a sentence for every bound that is not reached."""
    ends = [summary(rows) for rows in runs.values()]
    misses = [f"seed {seed}: {name} {summary(rows)[name]:.4f}" for seed, rows in runs.items()
              for name, bounds in EACH.items() if not within(summary(rows)[name], bounds)]
    means = {name: statistics.mean(end[name] for end in ends) for name in MEAN}
    misses += [f"mean {name} {means[name]:.4f}" for name in MEAN
               if not within(means[name], MEAN[name])]
    return misses


def table(runs):
    """Lines of a Markdown table, a seed a line and the mean."""
    lines = ["| seed | valid loss after each epoch | accuracy_multi(.95) | AP (macro) | s frozen | "
             "s an epoch |", "|---|---|---|---|---|---|"]
    for seed, rows in runs.items():
        losses = " ".join(f"{r[0]:.3f}".lstrip("0") for r in rows)
        seconds = statistics.median(r[3] for r in rows[1:])
        lines.append(f"| {seed} | {losses} | {rows[-1][1]:.4f} | {rows[-1][2]:.4f} | "
                     f"{rows[0][3]:.1f} | {seconds:.1f} |")
    ends = [rows[-1] for rows in runs.values()]
    loss, accuracy, ap = (statistics.mean(e[i] for e in ends) for i in range(3))
    frozen = statistics.median(rows[0][3] for rows in runs.values())
    epoch = statistics.median(r[3] for rows in runs.values() for r in rows[1:])
    lines.append(f"| mean (seconds: median) | ends at {loss:.4f} | {accuracy:.4f} | {ap:.4f} | "
                 f"{frozen:.1f} | {epoch:.1f} |")
    return lines


def ratios(ours, theirs):
    """Seconds of an unfrozen epoch, theirs over ours, seed by seed."""
    pairs = [(statistics.median(r[3] for r in theirs[s][1:]),
              statistics.median(r[3] for r in ours[s][1:])) for s in ours if s in theirs]
    return sorted(a / b for a, b in pairs)


def cpu_name():
    """The processor as the system calls it."""
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return platform.processor()
    return next((x.split(":")[1].strip() for x in lines if x.startswith("model name")), "unknown")


def report(ours, theirs, peer):
    """The whole page."""
    lines = ["# The post's run: five seeds, beside fastai", "",
             f"mlclassify {__version__}, {_core.isa()}, {_core.get_num_threads()} threads of "
             f"{os.cpu_count()} ({cpu_name()}); Python {platform.python_version()}; "
             "`fine_tune(4)`, resnet18, 228 px, batch 64, 240 photos to train on, 60 to validate "
             "on.",
             "", "Made by `python benchmarks/bears.py BEARS WEIGHTS"
             f"{' --peers PYTHON' if peer else ''} --out benchmarks/results`. Seconds hold "
             "training and validation of an epoch.", "", "## mlclassify", "", *table(ours)]
    if theirs:
        r = ratios(ours, theirs)
        lines += ["", f"## {peer}, in turn with the above", "", *table(theirs), "",
                  f"An epoch of fastai takes {statistics.median(r):.2f} times as long as ours "
                  f"(pairs of runs: {r[0]:.2f} to {r[-1]:.2f})."]
    misses = check(ours)
    lines += ["", "Bounds (each seed: valid loss <= .27, accuracy_multi(.95) >= .94, AP >= .98; "
              "means: valid loss <= .19, AP >= .990): "
              + ("all reached." if not misses else "NOT reached: " + "; ".join(misses) + ".")]
    return "\n".join(lines) + "\n"


def main():
    a = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    a.add_argument("bears", type=Path)
    a.add_argument("weights", type=Path)
    a.add_argument("--peers", help="Python of an environment with fastai")
    a.add_argument("--seeds", type=int, nargs="+", default=[1, 2, 3, 4, 5])
    a.add_argument("--out", type=Path, help="folder for bears.md and bears.json")
    a = a.parse_args()
    ours, theirs, peer = {}, {}, None
    for seed in a.seeds:
        ours[seed] = run(a.bears, a.weights, seed)
        print(f"mlclassify seed {seed}: {ours[seed][-1]}", file=sys.stderr, flush=True)
        if a.peers:
            answer = run_peer(a.peers, a.bears, a.weights, seed)
            theirs[seed], peer = answer["rows"], answer["peer"]
            print(f"{peer} seed {seed}: {theirs[seed][-1]}", file=sys.stderr, flush=True)
    page = report(ours, theirs, peer)
    print(page)
    if a.out:
        a.out.mkdir(parents=True, exist_ok=True)
        (a.out / "bears.md").write_text(page)
        runs = {"mlclassify": ours, "fastai": theirs, "columns":
                ["valid_loss", "accuracy_multi_95", "average_precision", "seconds"]}
        (a.out / "bears.json").write_text(json.dumps(runs, indent=1) + "\n")
    return 1 if check(ours) else 0


if __name__ == "__main__":
    sys.exit(main())
