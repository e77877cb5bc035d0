"""The post's training run, five seeds, beside fastai's.

    python benchmarks/bears.py BEARS WEIGHTS [--peers PYTHON] [--out FOLDER]

BEARS holds photos in the folders black, grizzly and teddy; the first 100 of each are used, sorted,
split with seed 0, as in the post: 240 to train on, 60 to validate on. WEIGHTS are ImageNet weights
of a ResNet-18 under torchvision's names. Every seed is run twice, as it comes and with `exact=True`
(no Winograd), and bears.png shows both. PYTHON is the interpreter of an environment with fastai:
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

from matplotlib.figure import Figure

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
PEER_RATIO = 3.0


def photos(folder):
    """Return the first photos of each label, in the order of their names."""
    return [f for label in LABELS for f in sorted((folder / label).iterdir())[:PER_LABEL]]


def one_label(label):
    """Return a label as the list that a multi-label target is."""
    return [label]


def make_learner(folder, weights, seed, exact):
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
                          loss_func=BCEWithLogitsLossFlat(), seed=seed, exact=exact)


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


def run(folder, weights, seed, exact=False, bf16=False):
    """Train once; the rows of all epochs, the frozen one first, and seconds of `fine_tune`."""
    learn, rows = make_learner(folder, weights, seed, exact), Rows()
    if bf16:
        learn.to_bf16()
    with learn.no_bar(), learn.no_logging():
        since = time.monotonic()
        learn.fine_tune(4, cbs=rows)
    return {"rows": rows.rows, "seconds": time.monotonic() - since}


def run_peer(python, folder, weights, seed):
    """The same by fastai, in a process of its own."""
    script = Path(__file__).with_name("peer_fastai.py")
    done = subprocess.run([python, script, folder, weights, str(seed)], check=True,
                          stdout=subprocess.PIPE, text=True)
    return json.loads(done.stdout.splitlines()[-1])


def within(value, bounds):
    low, high = bounds
    return (low is None or value >= low) and (high is None or value <= high)


def end(run):
    return dict(zip(("valid_loss", "accuracy", "ap"), run["rows"][-1]))


def check(runs):
    """Return a sentence for every bound that is not reached."""
    ends = {seed: end(run) for seed, run in runs.items()}
    misses = [f"seed {seed}: {name} {ends[seed][name]:.4f}" for seed in runs
              for name, bounds in EACH.items() if not within(ends[seed][name], bounds)]
    means = {name: statistics.mean(e[name] for e in ends.values()) for name in MEAN}
    misses += [f"mean {name} {means[name]:.4f}" for name in MEAN
               if not within(means[name], MEAN[name])]
    return misses


def table(runs):
    """Lines of a Markdown table, a seed a line and the mean."""
    lines = [("| seed | valid loss after each epoch | accuracy_multi(.95) | AP (macro) | s frozen "
              "| s an epoch | s in all |"), "|---|---|---|---|---|---|---|"]
    for seed, run in runs.items():
        rows = run["rows"]
        losses = " ".join(f"{r[0]:.3f}".lstrip("0") for r in rows)
        seconds = statistics.median(r[3] for r in rows[1:])
        lines.append(f"| {seed} | {losses} | {rows[-1][1]:.4f} | {rows[-1][2]:.4f} | "
                     f"{rows[0][3]:.1f} | {seconds:.1f} | {run['seconds']:.1f} |")
    everything = [run["rows"] for run in runs.values()]
    loss, accuracy, ap = (statistics.mean(rows[-1][i] for rows in everything) for i in range(3))
    frozen = statistics.median(rows[0][3] for rows in everything)
    epoch = statistics.median(r[3] for rows in everything for r in rows[1:])
    whole = statistics.median(run["seconds"] for run in runs.values())
    lines.append(f"| mean (seconds: median) | ends at {loss:.4f} | {accuracy:.4f} | {ap:.4f} | "
                 f"{frozen:.1f} | {epoch:.1f} | {whole:.1f} |")
    return lines


def ratios(ours, theirs):
    """Seconds of a whole `fine_tune`, theirs over ours, seed by seed."""
    return sorted(theirs[s]["seconds"] / ours[s]["seconds"] for s in ours if s in theirs)


def draw(ours, exact, file):
    """Validation loss and average precision after each epoch, a colour a seed."""
    figure = Figure(figsize=(9, 4), layout="constrained")
    for axes, column, title in zip(figure.subplots(1, 2), (0, 2), ("validation loss", "AP")):
        for i, seed in enumerate(ours):
            for run, style in ((ours[seed], "-"), (exact[seed], "--")):
                values = [row[column] for row in run["rows"]]
                axes.plot(range(len(values)), values, style, color=f"C{i}",
                          label=f"seed {seed}" if style == "-" else None)
        axes.set(title=title, xlabel="epoch", xticks=range(5))
    axes.plot([], [], "k--", label="exact=True")
    axes.legend()
    figure.savefig(file, dpi=110)


def cpu_name():
    """The processor as the system calls it."""
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return platform.processor()
    return next((x.split(":")[1].strip() for x in lines if x.startswith("model name")), "unknown")


def report(ours, exact, theirs, peer):
    """The whole page."""
    lines = ["# The post's run: five seeds, beside fastai", "",
             (f"mlclassify {__version__}, {_core.isa()}, {_core.get_num_threads()} threads of "
              f"{os.cpu_count()} ({cpu_name()}); Python {platform.python_version()}; "
              "`fine_tune(4)`, resnet18, 228 px, batch 64, 240 photos to train on, 60 to validate "
              "on."),
             "", ("Made by `python benchmarks/bears.py BEARS WEIGHTS"
                  f"{' --peers PYTHON' if peer else ''} --out benchmarks/results`. Seconds hold "
                  "training and validation of an epoch; those in all, what comes before and after "
                  "too."),
             "", "## mlclassify", "", *table(ours),
             "", "## mlclassify, exact=True", "", *table(exact),
             "", "![validation loss and average precision](bears.png)"]
    if theirs:
        r = ratios(ours, theirs)
        lines += ["", f"## {peer}, in turn with the above", "", *table(theirs), "",
                  (f"`fine_tune(4)` takes fastai {statistics.median(r):.2f} times as long as us "
                   f"(pairs of runs: {r[0]:.2f} to {r[-1]:.2f}; wanted: {PEER_RATIO}).")]
    misses = check(ours) + [f"exact, {miss}" for miss in check(exact)]
    lines += ["", ("Bounds (each seed: valid loss <= .27, accuracy_multi(.95) >= .94, AP >= .98; "
                   "means: valid loss <= .19, AP >= .990): "
                   + ("all reached." if not misses else f"NOT reached: {'; '.join(misses)}."))]
    return "\n".join(lines) + "\n"


def main():
    a = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    a.add_argument("bears", type=Path)
    a.add_argument("weights", type=Path)
    a.add_argument("--peers", help="Python of an environment with fastai")
    a.add_argument("--seeds", type=int, nargs="+", default=[1, 2, 3, 4, 5])
    a.add_argument("--out", type=Path, help="folder for bears.md, bears.json and bears.png")
    a = a.parse_args()
    ours, exact, theirs, peer = {}, {}, {}, None
    for seed in a.seeds:
        ours[seed] = run(a.bears, a.weights, seed)
        print(f"mlclassify seed {seed}: {ours[seed]}", file=sys.stderr, flush=True)
        if a.peers:
            theirs[seed] = run_peer(a.peers, a.bears, a.weights, seed)
            peer = theirs[seed].pop("peer")
            print(f"{peer} seed {seed}: {theirs[seed]}", file=sys.stderr, flush=True)
        exact[seed] = run(a.bears, a.weights, seed, exact=True)
    page = report(ours, exact, theirs, peer)
    print(page)
    if a.out:
        a.out.mkdir(parents=True, exist_ok=True)
        (a.out / "bears.md").write_text(page)
        runs = {"mlclassify": ours, "exact": exact, "fastai": theirs, "columns":
                ["valid_loss", "accuracy_multi_95", "average_precision", "seconds"]}
        (a.out / "bears.json").write_text(json.dumps(runs, indent=1) + "\n")
        draw(ours, exact, a.out / "bears.png")
    return 1 if check(ours) else 0


if __name__ == "__main__":
    sys.exit(main())
