"""What tests/test_together.py runs under `mlclassify launch`: a training of the tiny network.

Each rank writes what it has seen to OUT/RANK.npz; what it prints and saves is rank 0's alone.
"""

import argparse
import os
import signal
from pathlib import Path

import numpy as np
from tiny import LABELS, first, photos, second, tiny, tiny_learner

from mlclassify._core import get_num_threads
from mlclassify.callbacks import Callback
from mlclassify.data.block import DataBlock
from mlclassify.data.split import EndSplitter
from mlclassify.metrics import F1ScoreMulti, accuracy_multi
from mlclassify.optim import SGD
from mlclassify.ranks import current
from mlclassify.rng import fresh_seed
from mlclassify.steps import GradientAccumulation
from mlclassify.tracker import CSVLogger, SaveModelCallback
from mlclassify.vision.augment import (
    Normalize,
    RandomResizedCrop,
    aug_transforms,
    imagenet_stats,
)
from mlclassify.vision.backbones import ARCHS


class Steps(Callback):
    """Notes the loss of every step; at the one named, a rank does what is asked for."""

    def __init__(self, rank=None, step=None, how=None):
        self.rank, self.step, self.how, self.losses = rank, step, how, []

    def after_loss(self):
        if not self.learn.training:
            return
        self.losses.append(float(self.learn.loss))
        if current().rank == self.rank and len(self.losses) == self.step:
            if self.how == "raise":
                raise ZeroDivisionError("photo 13 brings bad luck")
            os.kill(os.getpid(), signal.SIGKILL)


def options():
    parser = argparse.ArgumentParser()
    parser.add_argument("out", type=Path)
    parser.add_argument("--local", action="store_true")
    parser.add_argument("--accumulate", type=int)
    parser.add_argument("--other", help="what is different on rank 1")
    parser.add_argument("--bs", type=int, default=8)
    parser.add_argument("--buckets", type=int)
    parser.add_argument("--bf16", action="store_true")
    parser.add_argument("--fail", nargs=3)
    return parser.parse_args()


def loaders(bs):
    """All that is random about a photo is drawn by its place in the epoch."""
    block = DataBlock(get_x=first, get_y=second, splitter=EndSplitter(),
                      item_tfms=RandomResizedCrop(16, min_scale=0.5),
                      batch_tfms=[*aug_transforms(), Normalize.from_stats(*imagenet_stats)])
    return block.dataloaders([*photos(42), (photos(1)[0][0], list(LABELS))], bs=bs)


def main():
    o = options()
    ARCHS["tiny"] = tiny  # so that a file may name it
    rank, size = current().rank, current().size
    steps = Steps(int(o.fail[0]), int(o.fail[1]), o.fail[2]) if o.fail else Steps()
    cbs = [steps, CSVLogger(), SaveModelCallback(fname="best")]
    if o.accumulate:
        cbs.append(GradientAccumulation(o.accumulate))
    odd = o.other if rank == 1 else None
    learn = tiny_learner(dls=loaders(o.bs), metrics=[accuracy_multi, F1ScoreMulti()], opt_func=SGD,
                         path=o.out, seed=8 if odd == "seed" else 7,
                         model_seed=2 if odd == "weights" else 1)
    learn.distribute(sync_bn=not o.local)
    if o.bf16:
        learn.to_bf16()
    if o.buckets and size > 1:
        learn._sharing.bucket_bytes = o.buckets
    learn.fit(2, 0.01, cbs=cbs)
    valid, losses = learn.recorder.values, list(steps.losses)
    steps.losses.clear()
    learn.lr_find(num_it=12, show_plot=False, suggest_funcs=None)
    saved = learn.export(o.out / "model.safetensors")
    assert saved.exists()
    print(f"trained by {size}")
    weights = {f"weights.{name}": value for name, value in learn.model.state_dict().items()}
    np.savez(o.out / f"{rank}.npz", losses=losses, valid=valid, threads=get_num_threads(),
             preds=learn.get_preds()[0], search=learn.recorder.losses, seeds=[fresh_seed()],
             size=size, net=os.readlink("/proc/self/ns/net"), **weights)


if __name__ == "__main__":
    main()
