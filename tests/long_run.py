"""Train, predict, tune, save, fail and be interrupted, over and over, and watch what grows.

    python tests/long_run.py [--minutes 30] [--out benchmarks/results]

One cycle is what a notebook does in a morning, with a network of two convolutions. After each one
the process is looked at: resident memory, open descriptors, threads, and the blocks of memory that
Python has handed out. The slope of each is fitted from the first fifth on, when everything has been
used once; its error comes from means of ten stretches, which depend little on each other.
"""

import argparse
import contextlib
import gc
import json
import os
import platform
import sys
import tempfile
import time
import warnings
from array import array
from pathlib import Path

import matplotlib
import numpy as np
from matplotlib import pyplot as plt
from PIL import Image
from tiny import LABELS, photos, tiny

from mlclassify import __version__, _core
from mlclassify.callbacks import Callback
from mlclassify.checks import MLClassifyWarning
from mlclassify.data.block import DataBlock
from mlclassify.data.split import EndSplitter
from mlclassify.interpret import Interpretation
from mlclassify.learner import Learner, load_learner
from mlclassify.metrics import APScoreMulti, accuracy_multi
from mlclassify.vision.augment import Normalize, Resize, aug_transforms, imagenet_stats
from mlclassify.vision.backbones import ARCHS
from mlclassify.vision.models import create_model

WATCHED = {"rss": ("resident memory", "kB"), "fds": ("open descriptors", ""),
           "threads": ("threads", ""), "blocks": ("blocks of Python's memory", "")}
STRETCHES = 10


# --- one cycle

def write_photos(folder):
    """Forty photos as files, named by their labels, and one that ends in the middle."""
    for i, (pixels, labels) in enumerate(photos(40)):
        labels = list(LABELS) if i in (0, 39) else labels
        Image.fromarray(pixels).save(folder / f"{i:02}-{'-'.join(labels)}.jpg", quality=95)
    cut = (folder / f"00-{'-'.join(LABELS)}.jpg").read_bytes()
    (folder / "cut.jpeg").write_bytes(cut[: len(cut) // 2])


def labels_of(file):
    return [label for label in LABELS if label in file.stem]


class Interrupt(Callback):
    def after_backward(self):
        if self.learn.iter == 2:
            raise KeyboardInterrupt


def cycle(folder, seed):
    """A model's life, with the mistakes that are made in it; return the losses of its training."""
    block = DataBlock(get_items=lambda path: sorted(path.glob("*.jpg")), get_y=labels_of,
                      splitter=EndSplitter(), item_tfms=Resize(16),
                      batch_tfms=[*aug_transforms(), Normalize.from_stats(*imagenet_stats)])
    dls = block.dataloaders(folder, bs=8, num_workers=2, cache="1MB" if seed % 2 else None)
    learn = Learner(dls, create_model(tiny, dls.c, seed=seed), seed=seed, path=folder,
                    metrics=[accuracy_multi, APScoreMulti()])
    with learn.no_logging():
        learn.fit_one_cycle(2, 1e-2)
        losses = list(learn.recorder.losses)
        learn.lr_find(show_plot=False, num_it=10)
        with contextlib.suppress(KeyboardInterrupt):
            learn.fit(1, 1e-2, cbs=Interrupt)
    learn.tune_thresholds()
    learn.calibrate()
    learn.fit_novelty(lost=0.5)
    ask(learn, folder)
    learn.save("state")
    learn.export("model.safetensors")
    ask(load_learner(folder / "model.safetensors"), folder)
    return losses


def ask(learn, folder):
    """All that is asked of a model, and what it must refuse."""
    files = sorted(folder.glob("*.jpg"))
    one, several = learn.predict(files[0]), learn.predict(files[:5])
    assert one[1].tolist() == several[0][1].tolist()
    repr(learn), learn._repr_html_(), one._repr_html_()
    if learn.dls.valid.n:
        learn.validate(), learn.get_preds(with_input=True, with_decoded=True, with_loss=True)
        learn.tta(n=2), learn.report(), Interpretation.from_learner(learn).report()
        learn.show_results(max_n=2, shuffle=False)
        plt.close("all")
    for wrong in (folder / "cut.jpeg", folder / "none.jpg", b"no photo", np.full((3, 3), np.nan)):
        try:
            learn.predict(wrong)
        except (OSError, TypeError, ValueError):
            continue
        raise AssertionError(f"{wrong!r} was taken for a photo")


# --- what is watched

def look():
    """Look at this process: the numbers of WATCHED, in its order."""
    gc.collect()
    status = dict(line.split(":", 1) for line in Path("/proc/self/status").read_text().splitlines())
    return (int(status["VmRSS"].split()[0]), len(os.listdir("/proc/self/fd")),
            int(status["Threads"]), sys.getallocatedblocks())


def run(seconds):
    """Cycle for some time; return a list of samples, each with its time and cycle.

    They are kept as plain numbers meanwhile: objects would be what grows.
    """
    os.environ["MLCLASSIFY_PROGRESS"] = "0"
    matplotlib.use("Agg")
    _core.set_num_threads(2)  # on any machine, so that there is a pool
    ARCHS["tiny"] = tiny
    numbers, row, since = array("d"), 1 + len(WATCHED), time.monotonic()
    try:
        with tempfile.TemporaryDirectory() as name, warnings.catch_warnings():
            warnings.simplefilter("ignore", MLClassifyWarning)  # so few photos, for a threshold
            write_photos(Path(name))
            while not numbers or numbers[-row] < seconds:
                losses = cycle(Path(name), len(numbers) // row % 4)
                assert np.isfinite(losses).all()
                numbers.extend((time.monotonic() - since, *look()))
    finally:
        del ARCHS["tiny"]
    rows = [numbers[i : i + row] for i in range(0, len(numbers), row)]
    return [{"cycle": i, "seconds": round(seen[0], 2), **dict(zip(WATCHED, map(int, seen[1:])))}
            for i, seen in enumerate(rows, 1)]


def settled(samples):
    """The samples from which slopes are taken."""
    return samples[len(samples) // 5 :]


def slope(samples, what):
    """Return growth a cycle and its standard error, of means of STRETCHES stretches."""
    parts = np.array_split(np.arange(len(samples)), STRETCHES)
    x = np.array([np.mean([samples[i]["cycle"] for i in part]) for part in parts])
    y = np.array([np.mean([samples[i][what] for i in part]) for part in parts])
    x = x - x.mean()
    growth = (x @ y) / (x @ x)
    left = y - y.mean() - growth * x
    return round(growth, 9) + 0.0, np.sqrt(left @ left / (STRETCHES - 2) / (x @ x))


def steady(samples, what):
    """Return the growth a cycle of the stretch that grew least: what leaks grows in all of them."""
    ends = [(samples[part[0]], samples[part[-1]])
            for part in np.array_split(np.arange(len(samples)), STRETCHES)]
    return min((b[what] - a[what]) / max(1, b["cycle"] - a["cycle"]) for a, b in ends)


# --- the page

def page(samples, about):
    """Return the results as Markdown."""
    after = settled(samples)
    lines = [
        "# A long run", "",
        f"`make long-run MINUTES={about['minutes']:g}`: mlclassify {about['version']}, Python "
        f"{about['python']}, {about['isa']}, {about['pool']} thread(s) on {about['cpus']} CPU(s).",
        f"{samples[-1]['cycle']} cycles in {samples[-1]['seconds'] / 60:.1f} minutes; each trains, "
        "searches a rate, is interrupted, tunes, calibrates,",
        "fits a novelty, predicts, shows results, refuses four things that are no photos, saves, "
        "exports, loads", "and predicts again (`tests/long_run.py`).", "",
        f"Slopes are those of cycles {after[0]['cycle']} to {after[-1]['cycle']}, with standard "
        "errors. What leaks in a cycle grows in every",
        "stretch of them: of ten stretches, the one that grew least bounds it, where a slope may "
        "be a few steps of the allocator.", "",
        "| | first cycle | settled | last cycle | most | 1000 cycles: slope | least growth |",
        "|---|---|---|---|---|---|---|",
    ]
    for what, (name, unit) in WATCHED.items():
        values, (growth, error) = [s[what] for s in after], slope(after, what)
        numbers = (samples[0][what], values[0], values[-1], max(values))
        least = steady(after, what)
        lines.append(f"| {name}{unit and f', {unit}'} | {' | '.join(f'{n:,}' for n in numbers)} | "
                     f"{1000 * growth:.1f} ± {1000 * error:.1f} | {1000 * least:.1f} |")
    lines += ["", "![](long_run.png)", ""]
    lines += ["| minutes | cycle | kB | descriptors | threads | blocks |",
              "|---|---|---|---|---|---|"]
    for at in np.linspace(0, len(samples) - 1, 16).round().astype(int):
        s = samples[at]
        lines.append(f"| {s['seconds'] / 60:.1f} | {s['cycle']} | {s['rss']:,} | {s['fds']} | "
                     f"{s['threads']} | {s['blocks']:,} |")
    return "\n".join(lines) + "\n"


def draw(samples, file):
    """Draw everything that is watched over the minutes."""
    minutes = [s["seconds"] / 60 for s in samples]
    figure, axes = plt.subplots(len(WATCHED), 1, sharex=True, figsize=(8, 7), layout="constrained")
    for ax, (what, (name, unit)) in zip(axes, WATCHED.items()):
        values = [s[what] for s in samples]
        ax.plot(minutes, values, lw=1)
        ax.set_title(f"{name}{unit and f', {unit}'}", fontsize=9, loc="left")
        ax.set_ylim(0, 1.2 * max(values))
    axes[-1].set_xlabel("minutes")
    figure.savefig(file, dpi=80)


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--minutes", type=float, default=30)
    parser.add_argument("--out", type=Path,
                        default=Path(__file__).resolve().parents[1] / "benchmarks" / "results")
    options = parser.parse_args()
    samples = run(60 * options.minutes)
    about = {"minutes": options.minutes, "version": __version__, "isa": _core.isa(),
             "python": platform.python_version(), "pool": _core.get_num_threads(),
             "cpus": len(os.sched_getaffinity(0))}
    thin = [*samples[: -1 : max(1, len(samples) // 500)], samples[-1]]
    (options.out / "long_run.json").write_text(json.dumps({"about": about, "samples": thin}) + "\n")
    (options.out / "long_run.md").write_text(page(samples, about))
    draw(samples, options.out / "long_run.png")
    print(page(samples, about))


if __name__ == "__main__":
    main()
