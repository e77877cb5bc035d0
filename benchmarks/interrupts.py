"""How long Ctrl-C takes: from the signal to its exception in the code that asked for the work.

    python benchmarks/interrupts.py [--interrupts 100] [--only fit] [--out benchmarks/results]

A ResNet-18 at 224 px, batches of 16, untrained, on drawn photos. A thread sends SIGINT to the
process at a moment drawn evenly from twice the time that one batch takes, again and again; after
each interrupt of a fit the weights must be those of the last whole step. Times are written to
``interrupts.json``, one list for each kind of work and number of threads, and the page is made from
all that is there.
"""

import argparse
import json
import os
import platform
import random
import signal
import threading
import time
from pathlib import Path

import numpy as np

from mlclassify import __version__, _core
from mlclassify.callbacks import Callback
from mlclassify.data.block import DataBlock
from mlclassify.data.split import EndSplitter
from mlclassify.learner import Learner
from mlclassify.vision.augment import Resize, aug_transforms
from mlclassify.vision.backbones import resnet18
from mlclassify.vision.models import create_model

NAMES = ("fit", "predict", "get_preds", "tune")
BS, SIZE, LABELS = 16, 224, ("black", "grizzly", "teddy")


class LastStep(Callback):
    """Keeps the bytes of one large weight as the last whole step left them, and counts steps."""

    NAME = "layer4.1.conv2.weight"

    def __init__(self, net):
        self.net = net
        self.keep()

    def keep(self):
        self.steps, self.weight = self.steps_of_net(), self.bytes_of_net()

    after_step = keep

    def steps_of_net(self):
        state = self.net.optimizer_state()
        return state[self.NAME][0] if self.NAME in state else 0

    def bytes_of_net(self):
        return self.net.parameters()[self.NAME].tobytes()

    def is_whole(self):
        """Whether the net is as after its last step, which may have ended since the last event."""
        return (self.bytes_of_net() == self.weight) == (self.steps_of_net() == self.steps)


def first(item):
    return item[0]


def second(item):
    return item[1]


def make_learner(photos=8 * BS):
    """A learner of noise, an eighth of it for validation."""
    rng = np.random.default_rng(0)
    items = [(rng.integers(0, 256, (240, 320, 3), dtype=np.uint8),
              [label for label in LABELS if rng.random() < 0.5] or [LABELS[0]])
             for _ in range(photos)]  # fmt: skip
    block = DataBlock(get_x=first, get_y=second, splitter=EndSplitter(1 / 8),
                      item_tfms=Resize(SIZE), batch_tfms=aug_transforms())  # fmt: skip
    dls = block.dataloaders(items, bs=BS)
    return Learner(dls, create_model(resnet18, dls.c, seed=1), seed=1), items


def works(learn, items, last):
    """What is interrupted: name -> (function that does one batch and more, what it is)."""
    photo = [item[0] for item in items[:BS]]
    return {
        "fit": (lambda: learn.fit(1000, 1e-4, cbs=last), "`learn.fit`"),
        "predict": (lambda: learn.predict(photo), f"`learn.predict` of {BS} photos, in a loop"),
        "get_preds": (lambda: learn.get_preds(0), "`learn.get_preds` of 112 photos, in a loop"),
        "tune": (lambda: learn.tune_thresholds(ds_idx=0), "`learn.tune_thresholds`, in a loop"),
    }


def interrupted(work, delay):
    """Do the work until Ctrl-C comes `delay` seconds from now; return how long it took to end."""
    sent = []

    def send():
        time.sleep(delay)
        sent.append(time.perf_counter())
        os.kill(os.getpid(), signal.SIGINT)

    sender = threading.Thread(target=send)
    try:
        sender.start()
        while True:
            work()
    except KeyboardInterrupt:
        took = time.perf_counter() - sent[0]
    sender.join()
    return took


def measure(name, count, learn, items):
    """Interrupt one kind of work `count` times; return what is told of it."""
    batch, step = seconds_of_a_batch(learn, name == "fit")
    last = LastStep(learn.model.net)
    work, what = works(learn, items, last)[name]
    draw, took = random.Random(0), []
    for _ in range(count):
        took.append(round(interrupted(work, draw.uniform(0, 2 * batch)), 5))
        if not last.is_whole():
            raise SystemExit(f"{name}: the weights are not those of the last whole step")
        last.keep()
    return {"name": name, "what": what, "batch": batch, "step": step, "took": took,
            "isa": _core.isa(), "threads": _core.get_num_threads(),
            "cpus": len(os.sched_getaffinity(0)), "python": platform.python_version(),
            "version": __version__}  # fmt: skip


def seconds_of_a_batch(learn, train):
    """Seconds of one training batch and of its optimizer's step alone, or of a prediction and 0;
    the best of three."""
    x = learn.dls.train.one_batch()[0]
    y = np.zeros((len(x), len(LABELS)), np.float32)
    if learn.opt is None:
        learn.create_opt()
    times = []
    for _ in range(3):
        since = middle = time.perf_counter()
        logits = learn.model.forward(x, train, 0, 0, 0)
        if train:
            learn.model.backward(learn.loss_func.value_and_grad(logits, y)[1])
            middle = time.perf_counter()
            learn.opt.step()
        end = time.perf_counter()
        times.append((end - since, end - middle if train else 0))
    return tuple(map(min, zip(*times)))


def page(found):
    """Return the results as Markdown."""
    one = next(iter(found.values()))
    lines = [
        "# Ctrl-C", "",
        f"`python benchmarks/interrupts.py`: mlclassify {one['version']}, Python {one['python']}, "
        f"{one['isa']}. ResNet-18 at {SIZE} px,",
        f"batches of {BS}. SIGINT at a random moment; milliseconds from the signal to the "
        "exception in the code that called. After each",
        "one the weights were those of the last whole step. The core looks for a signal every "
        "50 ms; the step of the optimizer alone is never",
        "stopped, as half of one is no state to return to: a signal in it waits for its end.", "",
        "| interrupted | threads | batch, its step | interrupts | median | 90 % | 99 % | longest |",
        "|---|---|---|---|---|---|---|---|",
    ]  # fmt: skip
    for row in sorted(found.values(), key=lambda row: (NAMES.index(row["name"]), row["threads"])):
        ms = np.array(row["took"]) * 1e3
        median, most, nearly = np.percentile(ms, (50, 90, 99))
        step = f", {row['step'] * 1e3:.0f}" if row["step"] else ""
        lines.append(f"| {row['what']} | {row['threads']} | {row['batch'] * 1e3:.0f}{step} ms | "
                     f"{len(ms)} | {median:.0f} | {most:.0f} | {nearly:.0f} | {ms.max():.0f} |")
    return "\n".join(lines) + "\n"


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--interrupts", type=int, default=100)
    parser.add_argument("--only", choices=NAMES)
    parser.add_argument("--out", type=Path, default=Path(__file__).parent / "results")
    options = parser.parse_args()
    signal.signal(signal.SIGINT, signal.default_int_handler)  # a background job has it ignored
    os.environ["MLCLASSIFY_PROGRESS"] = "0"
    learn, items = make_learner()
    file = options.out / "interrupts.json"
    found = json.loads(file.read_text()) if file.exists() else {}
    with learn.no_logging():
        for name in [options.only] if options.only else NAMES:
            measured = measure(name, options.interrupts, learn, items)
            found[f"{name}, {measured['threads']}"] = measured
    file.write_text(json.dumps(found) + "\n")
    (options.out / "interrupts.md").write_text(page(found))
    print(page(found))


if __name__ == "__main__":
    main()
