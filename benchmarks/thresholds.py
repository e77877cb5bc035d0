"""Thresholds by every method on Corel5k, and what choosing them takes beside scikit-learn.

    python benchmarks/thresholds.py COREL WEIGHTS [--seed 1] [--epochs 4] [--out FOLDER]

COREL holds `images` and `labels_top40.csv` (fname, labels, is_valid); WEIGHTS are ImageNet weights
of a ResNet-18. A fifth of the 4,500 training photos is held out of training and thresholds are
chosen on it; the 499 test photos judge them. The time is that of `find_thresholds` on scores drawn
at random, and of the loop over `precision_recall_curve` that finds the same cuts, in turn.
"""

import argparse
import csv
import statistics
import time
import warnings
from pathlib import Path

import numpy as np
import sklearn
from sklearn.metrics import precision_recall_curve

from mlclassify import __version__, _core
from mlclassify.metrics.decisions import f1_score
from mlclassify.selection import METHODS, find_thresholds
from mlclassify.vision.all import (
    DataBlock,
    ImageBlock,
    MultiCategoryBlock,
    RandomSplitter,
    Resize,
    aug_transforms,
    resnet18,
    vision_learner,
)

ROWS, LABELS, FOLDS, ROUNDS = 10_000, 80, 3, 9


def read(folder):
    """Return (training items, test items), each (file, list of labels)."""
    with open(folder / "labels_top40.csv", newline="") as file:
        rows = list(csv.DictReader(file))
    items = [(folder / "images" / r["fname"], r["labels"].split(), r["is_valid"] == "True")
             for r in rows]
    return [i[:2] for i in items if not i[2]], [i[:2] for i in items if i[2]]


def first(item):
    return item[0]


def second(item):
    return item[1]


def scores_of(folder, weights, seed, epochs):
    """Fine-tune; return probabilities and targets of the held out photos, and of the test's."""
    train, test = read(folder)
    block = DataBlock(blocks=(ImageBlock, MultiCategoryBlock), get_x=first, get_y=second,
                      splitter=RandomSplitter(valid_pct=0.2, seed=0), item_tfms=Resize((128, 192)),
                      batch_tfms=aug_transforms(max_rotate=0))
    dls = block.dataloaders(train, bs=64)
    learn = vision_learner(dls, resnet18, weights=weights, seed=seed)
    with learn.no_bar():
        learn.fine_tune(epochs)
        held_out = [np.asarray(a) for a in learn.get_preds()]
        asked = learn.get_preds(dl=dls.test_dl([first(item) for item in test]))[0]
    vocab = list(dls.vocab)
    targets = np.array([[label in labels for label in vocab] for _, labels in test], np.uint8)
    return held_out, (np.asarray(asked), targets)


def judge(probs, targets, thresholds):
    decided = probs.astype(np.float64) > thresholds
    return [f1_score(targets, decided, average=a) for a in ("macro", "micro", "samples")]


def table(held_out, test):
    """Lines of a Markdown table, a method a line."""
    lines = ["| thresholds | macro-F1 | micro-F1 | F1 by photo |", "|---|---|---|---|"]
    probs, targets = held_out
    rows = {"all .5": 0.5}
    for method in METHODS:
        rows[method] = find_thresholds(probs, targets, method=method, start=0.5).thresholds
    rows["scut, pooled"] = find_thresholds(probs, targets, pooled=True, start=0.5).thresholds
    rows["global, pooled"] = find_thresholds(probs, targets, method="global", pooled=True,
                                             start=0.5).thresholds
    for name, thresholds in rows.items():
        scores = " | ".join(f"{s:.3f}" for s in judge(*test, thresholds))
        lines.append(f"| {name} | {scores} |")
    return lines


def peer(scores, targets, folds):
    """The best F1 cut of each label and fold, as one would find it with scikit-learn."""
    found = np.empty((FOLDS, LABELS))
    for k in range(FOLDS):
        for label in range(LABELS):
            rows = folds == k
            p, r, t = precision_recall_curve(targets[rows, label], scores[rows, label])
            f1 = 2 * p * r / np.maximum(p + r, 1e-12)
            found[k, label] = t[np.argmax(f1[:-1])]
    return found.mean(axis=0)


def times(threads):
    """Say how long choosing takes on so many threads, and the loop over scikit-learn, in turn."""
    rng = np.random.default_rng(0)
    targets = (rng.random((ROWS, LABELS)) < 0.05).astype(np.uint8)
    scores = (rng.normal(size=targets.shape) + 1.5 * targets).astype(np.float32)
    folds = np.arange(ROWS) % FOLDS
    before, pairs = _core.get_num_threads(), []
    _core.set_num_threads(threads)
    find_thresholds(scores, targets, folds=folds)  # the first call starts threads
    for _ in range(ROUNDS):
        start = time.perf_counter()
        find_thresholds(scores, targets, folds=folds)
        middle = time.perf_counter()
        peer(scores, targets, folds)
        pairs.append((middle - start, time.perf_counter() - middle))
    _core.set_num_threads(before)
    ratios = sorted(theirs / ours for ours, theirs in pairs)
    ours, theirs = (statistics.median(column) for column in zip(*pairs))
    return (f"{threads} threads {1e3 * ours:.2f} ms, the loop {1e3 * theirs:.0f} ms, "
            f"{statistics.median(ratios):.0f} times as long ({ratios[0]:.0f} to {ratios[-1]:.0f})")


def main():
    a = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    a.add_argument("corel", type=Path)
    a.add_argument("weights", type=Path)
    a.add_argument("--seed", type=int, default=1)
    a.add_argument("--epochs", type=int, default=4)
    a.add_argument("--out", type=Path, help="folder for thresholds.md")
    a = a.parse_args()
    warnings.simplefilter("ignore")  # some of the 40 labels are rare in what is held out
    timed = "; ".join(times(n).replace("1 threads", "1 thread") for n in (2, 1))
    lines = [
        "# Thresholds by every method", "",
        (f"mlclassify {__version__}, {_core.get_num_threads()} threads; made by `python "
         "benchmarks/thresholds.py COREL WEIGHTS --out benchmarks/results`: resnet18, 192 x 128, "
         f"`fine_tune({a.epochs})`, seed {a.seed}; chosen on a fifth of the training photos, "
         "judged on the 499 test photos of Corel5k, its 40 most frequent labels."), "",
        *table(*scores_of(a.corel, a.weights, a.seed, a.epochs)), "",
        (f"scut, {LABELS} labels, {ROWS} rows, {FOLDS} folds, beside a loop over scikit-learn "
         f"{sklearn.__version__}'s `precision_recall_curve`, {ROUNDS} rounds in turn: {timed}."),
    ]
    page = "\n".join(lines) + "\n"
    print(page)
    if a.out:
        (a.out / "thresholds.md").write_text(page)


if __name__ == "__main__":
    main()
