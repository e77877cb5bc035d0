"""The post's training run with activations kept as bfloat16, five seeds, beside float32.

    python benchmarks/bf16.py BEARS WEIGHTS OUT [--seeds N ...] [--kinds float32 bfloat16]

BEARS and WEIGHTS as in bears.py. Each seed is run twice in turn, as it comes and after
`learn.to_bf16()`, and added to OUT/bf16.json; OUT/bf16.md and bf16.png show all that is there.
So the runs may be made one at a time, and `--seeds` alone makes the page again.
"""

import argparse
import json
import os
import platform
import statistics
import sys
from pathlib import Path

from bears import EACH, cpu_name, end, run, within
from matplotlib.figure import Figure

from mlclassify import __version__, _core
from mlclassify.vision.backbones import resnet18, resnet50
from mlclassify.vision.models import create_classifier

KINDS = {"float32": "-", "bfloat16": "--"}


def draw(runs, file):
    """Validation loss and average precision after each epoch, a colour a seed."""
    figure = Figure(figsize=(9, 4), layout="constrained")
    for axes, column, title in zip(figure.subplots(1, 2), (0, 2), ("validation loss", "AP")):
        for kind, style in KINDS.items():
            for i, (seed, done) in enumerate(sorted(runs[kind].items())):
                values = [row[column] for row in done["rows"]]
                axes.plot(range(len(values)), values, style, color=f"C{i}",
                          label=f"seed {seed}" if style == "-" else None)
        axes.set(title=title, xlabel="epoch", xticks=range(5))
    axes.plot([], [], "k--", label="bfloat16")
    axes.legend()
    figure.savefig(file, dpi=110)


def table(runs):
    """Lines of a table, a run a line."""
    lines = ["| seed | kept as | valid loss after each epoch | accuracy_multi(.95) | AP (macro) |",
             "|---|---|---|---|---|"]
    for seed in sorted(runs["float32"].keys() | runs["bfloat16"].keys()):
        for kind in KINDS:
            if seed in runs[kind]:
                rows = runs[kind][seed]["rows"]
                losses = " ".join(f"{row[0]:.3f}".lstrip("0") for row in rows)
                lines.append(f"| {seed} | {kind} | {losses} | {rows[-1][1]:.4f} | "
                             f"{rows[-1][2]:.4f} |")
    for kind in KINDS:
        loss, accuracy, ap = (statistics.mean(done["rows"][-1][i] for done in runs[kind].values())
                              for i in range(3))
        lines.append(f"| mean | {kind} | ends at {loss:.4f} | {accuracy:.4f} | {ap:.4f} |")
    return lines


def memory():
    """Lines of a table: what a training step works in, besides the parameters."""
    lines = ["| batch of 64, 224 px | float32 | bfloat16 | |", "|---|---|---|---|"]
    for arch in (resnet18, resnet50):
        model, sizes = create_classifier(arch, 3), []
        for bf16 in (False, True):
            model.set_bf16(bf16)
            sizes.append(model.net.memory(64, 224, 224, train=True))
        lines.append(f"| {arch.name} | {sizes[0] / 1e6:.0f} MB | {sizes[1] / 1e6:.0f} MB | "
                     f"{sizes[1] / sizes[0]:.2f} |")
    return lines


def difference(runs):
    """How far the two ends of a seed are apart, beside how far seeds are."""
    loss = {kind: {seed: end(done)["valid_loss"] for seed, done in runs[kind].items()}
            for kind in KINDS}
    both = loss["float32"].keys() & loss["bfloat16"].keys()
    apart = [abs(loss["float32"][s] - loss["bfloat16"][s]) for s in both]
    seeds = max(loss["float32"].values()) - min(loss["float32"].values())
    return (f"The last validation losses of a seed are {statistics.mean(apart):.4f} apart on "
            f"average ({max(apart):.4f} at most); those of float32's seeds lie {seeds:.4f} from "
            "lowest to highest.")


def report(runs):
    """The whole page."""
    missed = [f"{kind} seed {seed}: {name}" for kind in KINDS for seed, done in runs[kind].items()
              for name, bounds in EACH.items() if not within(end(done)[name], bounds)]
    return "\n".join([
        "# Activations kept as bfloat16", "",
        (f"mlclassify {__version__}, {_core.isa()} ({cpu_name()}); Python "
         f"{platform.python_version()}; `fine_tune(4)`, resnet18, 228 px, batch 64, 240 photos to "
         "train on, 60 to validate on; the number of threads changes nothing. Made by `python "
         "benchmarks/bf16.py BEARS WEIGHTS benchmarks/results`."),
        "", *table(runs),
        "", "![validation loss and average precision](bf16.png)", "", difference(runs),
        "", ("Bounds of each seed (valid loss <= .27, accuracy_multi(.95) >= .94, AP >= .98): "
             + (f"NOT reached: {'; '.join(missed)}." if missed else "all reached.")),
        "", "## Memory of a training step", "", *memory(), ""])


def main():
    a = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    a.add_argument("bears", type=Path)
    a.add_argument("weights", type=Path)
    a.add_argument("out", type=Path)
    a.add_argument("--seeds", type=int, nargs="*", default=[1, 2, 3, 4, 5])
    a.add_argument("--kinds", nargs="+", choices=KINDS, default=list(KINDS))
    a = a.parse_args()
    file = a.out / "bf16.json"
    runs = json.loads(file.read_text()) if file.exists() else {kind: {} for kind in KINDS}
    for seed in map(str, a.seeds):
        for kind in a.kinds:
            done = run(a.bears, a.weights, int(seed), bf16=kind == "bfloat16")
            print(kind, seed, done, os.getloadavg(), file=sys.stderr, flush=True)
            # Seconds are left to benchmarks/engine.py.
            runs[kind][seed] = {"rows": [row[:3] for row in done["rows"]]}
        file.write_text(json.dumps(runs, indent=1) + "\n")
    if not all(runs.values()):
        return
    (a.out / "bf16.md").write_text(report(runs))
    draw(runs, a.out / "bf16.png")


if __name__ == "__main__":
    main()
