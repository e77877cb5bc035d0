"""Weights to and from torchvision, timm and fastai: do both sides compute the same logits?

    python benchmarks/exchange.py PYTHON

PYTHON is the interpreter of an environment with torch, torchvision and fastai, and timm if it is to
be judged. For each backbone a network of ours is written, loaded there with ``strict`` (no name may
be missing or too many) and asked; then one of theirs, with random weights and statistics, comes
back. Prints the largest difference of logits or features, as a part of their
largest value.
"""

import json
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np

from mlclassify.data.block import empty_dataloaders
from mlclassify.learner import Learner
from mlclassify.vision.backbones import ARCHS
from mlclassify.vision.models import create_model
from mlclassify.weights import read_tensors, write_tensors

HERE = Path(__file__).parent
LABELS = ["a", "b", "c", "d", "e"]


def main(python):
    with tempfile.TemporaryDirectory() as folder:
        for arch in ARCHS:
            exchange(Path(folder), arch, python)


def exchange(folder, arch, python):
    x = np.random.default_rng(1).normal(size=(2, 3, 96, 96)).astype(np.float32)
    learn = Learner(empty_dataloaders(LABELS), create_model(ARCHS[arch], 5, seed=1), path=folder)
    names, ours = ("torchvision", "timm", "fastai"), {}
    if ARCHS[arch].library == "timm":
        names = names[1:]
    for name in names:
        ours[name] = answer(learn.model, x, name)
        learn.export_weights(f"ours-{name}.safetensors", name)
    write_tensors(folder / "x.safetensors", {"x": x})
    peer = [python, str(HERE / "peer_exchange.py"), str(folder), arch]
    told = subprocess.run(peer, check=True, stdout=subprocess.PIPE).stdout
    versions = json.loads(told.splitlines()[-1])  # what is imported there may print, too
    for name in names:
        if name not in versions:
            print(f"{arch} {name}: not installed there")
            continue
        told, _ = read_tensors(folder / f"answers-{name}.safetensors", "exchange")
        there = difference(ours[name], told["ours"])
        learn.load_weights(f"theirs-{name}.safetensors")
        back = difference(answer(learn.model, x, name), told["theirs"])
        print(f"{arch} {name} {versions[name]}: there {there:.1e}, back {back:.1e}")


def answer(model, x, name):
    """Logits of a whole model; of a backbone, means of its last feature map."""
    if name == "fastai":
        return model(x)
    return model.forward_with_map(x.transpose(0, 2, 3, 1).copy().transpose(0, 3, 1, 2))[1].mean(
        axis=(2, 3))


def difference(ours, theirs):
    return np.abs(np.asarray(ours) - theirs).max() / np.abs(theirs).max()


if __name__ == "__main__":
    main(*sys.argv[1:])
