"""mlclassify's side of benchmarks/engine.py; see worker.py for how it is talked to."""

import statistics
import tempfile
from functools import partial
from pathlib import Path

import numpy as np
from worker import serve, timed

from mlclassify import __version__, _core
from mlclassify.optim import Adam
from mlclassify.vision.all import (
    BCEWithLogitsLossFlat,
    DataBlock,
    ImageBlock,
    MultiCategoryBlock,
    Pipeline,
    RandomResizedCrop,
    aug_transforms,
    load_learner,
    parent_label,
    vision_learner,
)
from mlclassify.vision.backbones import ARCHS
from mlclassify.vision.models import create_classifier

LABELS = 3


class Training:
    """A network with everything that a training step needs."""

    def __init__(self, arch, batch, side, bf16):
        rng = np.random.default_rng(0)
        # As the loader gives them: (N, 3, H, W), a view of NHWC memory.
        self.x = rng.standard_normal((batch, side, side, 3), np.float32).transpose(0, 3, 1, 2)
        self.y = (rng.random((batch, LABELS)) > 0.5).astype(np.float32)
        self.model, self.loss = create_classifier(arch, LABELS), BCEWithLogitsLossFlat()
        self.model.set_bf16(bf16)
        self.opt = Adam(self.model.net, len(self.model.groups), lr=1e-4)

    def step(self):
        logits = self.model.forward(self.x, train=True)
        _, gradient = self.loss.value_and_grad(logits, self.y)
        self.model.backward(gradient)
        self.opt.step()

    def infer(self):
        self.model.forward(self.x)


def predictor(arch, folder):
    """Return a prediction of a photo by a learner that was saved and loaded."""
    block = DataBlock(blocks=(ImageBlock, MultiCategoryBlock), get_items=photos,
                      get_y=Pipeline([parent_label, one_label]),
                      item_tfms=RandomResizedCrop(228, min_scale=0.5),
                      batch_tfms=aug_transforms())
    learn = vision_learner(block.dataloaders(folder, bs=2), arch, pretrained=False,
                           loss_func=BCEWithLogitsLossFlat())
    with tempfile.TemporaryDirectory() as scratch:
        learn.export(Path(scratch, "model.safetensors"))
        loaded = load_learner(Path(scratch, "model.safetensors"))
    return partial(loaded.predict, photos(folder)[0])


def photos(folder):
    return sorted(Path(folder).glob("*/*.jpg"))


def one_label(label):
    return [label]


def convolutions(arch, side):
    """Return {name: (C, K, kernel, stride, output side)} of the convolutions of a backbone."""
    shapes, found = [(3, side)], {}
    for kind, name, inputs, options in arch.layers():
        channels, width = shapes[inputs[0]]
        if kind in ("conv", "maxpool"):
            kernel, stride = options["kernel"], options["stride"]
            width = (width + 2 * options["padding"] - kernel) // stride + 1
            if kind == "conv":
                found[name] = (channels, options["out"], kernel, stride, width)
                channels = options["out"]
        shapes.append((channels, width))
    return found


def layer_times(training, shapes):
    """Return the turn that gives seconds of (forward, backward-data, backward-weights) by shape.

    Backward-weights is what a backward pass takes longer than one with all convolutions frozen.
    """
    model = training.model
    everything = list(model.trainable)
    others = [name for name in everything if name.removesuffix(".weight") not in shapes]

    def steps(trainable):
        model.net.set_trainable(trainable)
        training.step()
        return {name: (forward, backward) for name, _, forward, backward in model.net.times()}

    def turn():
        whole, frozen = steps(everything), steps(others)
        by_shape = {}
        for name, shape in shapes.items():
            forward, backward = whole[name]
            data = frozen[name][1]
            by_shape.setdefault(shape, []).append((forward, data, backward - data))
        return {"layers": [[*shape, len(times), *map(statistics.mean, zip(*times))]
                           for shape, times in by_shape.items()]}

    turn()
    return turn


def prepare(side):
    if side["arch"] not in ARCHS:
        raise LookupError(f"mlclassify has no {side['arch']}")
    arch = ARCHS[side["arch"]]
    about = {"version": f"mlclassify {__version__}", "isa": _core.isa(),
             "threads": _core.get_num_threads()}
    if side["task"] == "predict":
        return about, timed(predictor(arch, side["photos"]), repeats=30, warm_up=5)
    training = Training(arch, side["batch"], side["side"], side["bf16"])
    if side["task"] == "layers":
        return about, layer_times(training, convolutions(arch, side["side"]))
    if side["task"] == "infer":
        return about, timed(training.infer, repeats=3, warm_up=2)
    return about, timed(training.step, repeats=3, warm_up=2)


if __name__ == "__main__":
    serve(prepare)
