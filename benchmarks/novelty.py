"""How many photos of what was never taught get no label, five seeds of the post's run.

    python benchmarks/novelty.py DATA [--seeds 1 2 3 4 5] [--out FOLDER]

DATA holds `bears` (black, grizzly, teddy), `ood` (maine_coon, cats, other), `corel5k/images` and
`weights/resnet18-imagenet.safetensors`. For each seed the post's learner is fine-tuned and
`fit_novelty` called, at 5 % of the known photos of validation lost; the known photos that no seed
sees, those after the first 100 of each kind, say how many are really lost.
"""

import argparse
import statistics
import sys
from pathlib import Path

import numpy as np
from bears import LABELS, PER_LABEL, make_learner

from mlclassify import __version__

# The mean over seeds has to reach this share of photos without a label.
GOALS = {"maine_coon": 1.0, "cats": 0.90, "other": 0.80}


def groups(data):
    """Return the photos of each kind that is asked about."""
    found = {kind: sorted((data / "ood" / kind).iterdir()) for kind in GOALS}
    found["corel5k, every 12th"] = sorted((data / "corel5k/images").iterdir())[::12]
    found["known, not seen"] = [f for label in LABELS
                                for f in sorted((data / "bears" / label).iterdir())[PER_LABEL:]]
    return found


def silent(learn, files):
    """Return the share of photos without a label."""
    *_, masks = learn.get_preds(dl=learn.dls.test_dl(files), with_decoded=True)
    return float(np.mean(~np.any(masks, axis=1)))


def run(data, seed, kinds):
    """Return for each kind (share without a label before, after) of one learner."""
    learn = make_learner(data / "bears", data / "weights/resnet18-imagenet.safetensors", seed, False)
    with learn.no_bar(), learn.no_logging():
        learn.fine_tune(4)
        before = {kind: silent(learn, files) for kind, files in kinds.items()}
        learn.fit_novelty()
        return {kind: (before[kind], silent(learn, files)) for kind, files in kinds.items()}


def report(runs, kinds):
    """The whole page."""
    lines = ["# Photos that get no label", "",
             (f"mlclassify {__version__}; made by `python benchmarks/novelty.py DATA --out "
              "benchmarks/results`. Share of photos without a label, threshold .5, without and "
              "with `learn.fit_novelty()`; the mean over seeds and the least and most of them."), "",
             "| photos | how many | without | with | spread | goal |", "|---|---|---|---|---|---|"]
    for kind, files in kinds.items():
        without, with_it = (statistics.mean(r[kind][i] for r in runs.values()) for i in (0, 1))
        each = [r[kind][1] for r in runs.values()]
        goal = f">= {GOALS[kind]:.0%}" if kind in GOALS else ""
        lines.append(f"| {kind} | {len(files)} | {without:.1%} | {with_it:.1%} | "
                     f"{min(each):.1%} to {max(each):.1%} | {goal} |")
    return "\n".join([*lines, "", f"Seeds: {', '.join(map(str, runs))}."]) + "\n"


def main():
    a = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    a.add_argument("data", type=Path)
    a.add_argument("--seeds", type=int, nargs="+", default=[1, 2, 3, 4, 5])
    a.add_argument("--out", type=Path, help="folder for novelty.md")
    a = a.parse_args()
    kinds, runs = groups(a.data), {}
    for seed in a.seeds:
        runs[seed] = run(a.data, seed, kinds)
        print(seed, runs[seed], file=sys.stderr, flush=True)
    page = report(runs, kinds)
    print(page)
    if a.out:
        (a.out / "novelty.md").write_text(page)


if __name__ == "__main__":
    main()
