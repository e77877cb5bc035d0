"""A network and photos small enough to train in a fraction of a second, for tests of the learner.

A photo is dark, with a bright patch in the red, green and blue channel for each label it has.
"""

import numpy as np

from mlclassify import export
from mlclassify.data.block import DataBlock
from mlclassify.data.split import EndSplitter
from mlclassify.learner import Learner
from mlclassify.losses import FocalLossFlat
from mlclassify.vision.augment import Normalize, Resize, imagenet_stats
from mlclassify.vision.backbones import ARCHS, Architecture, Layers
from mlclassify.vision.models import create_model

LABELS = ("blue", "green", "red")
LOSSES = [*(loss for loss, *_ in export._LOSSES.values()), FocalLossFlat]  # those on logits
CHANNEL = {"red": 0, "green": 1, "blue": 2}


def tiny_layers():
    """Two convolutions, each with its batch norm, in two groups."""
    layers, x = Layers(), 0
    for name, width in (("conv1", 8), ("layer1.conv", 16)):
        x = layers.conv(x, name, width, 3, 2)
        x = layers.batchnorm(x, name.replace("conv", "bn"), relu=True)
    return layers


tiny = Architecture("tiny", tiny_layers, 16, groups=(("conv1", "bn1"), ("layer1",)))


def register(monkeypatch):
    """Make `tiny` an architecture that files may name."""
    monkeypatch.setitem(ARCHS, "tiny", tiny)


def photos(n, seed=0, size=16):
    """Return n items (uint8 array (size, size, 3), list of labels)."""
    r = np.random.RandomState(seed)
    items = []
    for _ in range(n):
        image = r.randint(0, 60, (size, size, 3)).astype(np.uint8)
        labels = [label for label in LABELS if r.rand() < 0.4]
        for label in labels:
            y, x = r.randint(0, size // 2, 2)
            image[y : y + size // 2, x : x + size // 2, CHANNEL[label]] += 150
        items.append((image, labels))
    return items


def first(item):
    return item[0]


def second(item):
    return item[1]


def tiny_loaders(n=40, bs=8, seed=0, normalize=True, **options):
    """Loaders of n photos, the last fifth for validation."""
    block = DataBlock(get_x=first, get_y=second, splitter=EndSplitter(), item_tfms=Resize(16),
                      batch_tfms=[Normalize.from_stats(*imagenet_stats)] if normalize else None)
    items = [*photos(n - 1, seed), (photos(1)[0][0], list(LABELS))]
    items[0] = (items[0][0], list(LABELS))
    return block.dataloaders(items, bs=bs, **options)


def tiny_learner(n=40, bs=8, model_seed=1, dls=None, **options):
    """A quiet learner with a fresh tiny network."""
    options.setdefault("seed", 7)
    dls = dls or tiny_loaders(n, bs)
    return Learner(dls, create_model(tiny, dls.c, seed=model_seed), **options)
