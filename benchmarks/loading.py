"""What loading costs beside training: decode, crop and augmentation of 500 x 375 JPEGs.

    python benchmarks/loading.py BEARS WEIGHTS

BEARS holds photos in the folders black, grizzly and teddy; 240 of them are written anew, 500 x 375
and 2000 x 1500 (quality 90), to a temporary folder. WEIGHTS are ImageNet weights of a ResNet-18. A
line names what was done to all 240 photos: wall and CPU seconds, medians of `REPEATS`.
"""

import argparse
import itertools
import platform
import statistics
import tempfile
import time
from pathlib import Path

import numpy as np
import PIL
from PIL import Image, features

from mlclassify import __version__, _core
from mlclassify.vision.all import (
    DataBlock,
    RandomResizedCrop,
    aug_transforms,
    get_image_files,
    resnet18,
    vision_learner,
)
from mlclassify.vision.image import open_image

N, BS, REPEATS = 240, 64, 3
SIZES = {"500 x 375": (500, 375), "2000 x 1500": (2000, 1500)}


def write_photos(source, folder, size):
    """Write N of the photos in `source`, of `size`, and return the bytes of one on average."""
    files = itertools.islice(itertools.cycle(get_image_files(source)), N)
    for i, file in enumerate(files):
        label = folder / "abc"[i % 3]
        label.mkdir(parents=True, exist_ok=True)
        open_image(file).resize(size, Image.Resampling.BICUBIC).save(label / f"{i}.jpg", quality=90)
    return sum(f.stat().st_size for f in get_image_files(folder)) // N


def make_loaders(folder, batch_tfms=(), **options):
    """All photos for training."""
    block = DataBlock(
        get_items=get_image_files, get_y=lambda f: f.parent.name,
        splitter=lambda items: (range(len(items)), []),
        item_tfms=RandomResizedCrop(228, min_scale=0.5), batch_tfms=batch_tfms,
    )  # fmt: skip
    return block.dataloaders(folder, bs=BS, drop_last=False, **options)


def measure(function):
    """Return the median (wall, CPU) seconds of `function(i)` for i = 1, 2 and so on."""
    times = []
    for i in range(1, REPEATS + 1):
        wall, cpu = time.perf_counter(), time.process_time()
        function(i)
        times.append((time.perf_counter() - wall, time.process_time() - cpu))
    return [statistics.median(column) for column in zip(*times)]


def load(dl, epoch):
    """Load one epoch and do nothing with it."""
    for _ in dl.stream(0, epoch):
        pass


def report(name, wall, cpu):
    print(f"{name:<44} {wall:7.3f} {cpu:7.3f} {N / wall:9.0f}", flush=True)


def measure_loading(folder, size):
    """The kinds of loading, each alone."""
    report(f"{size}: decode, crop, copy", *measure(lambda i: load(make_loaders(folder).train, i)))
    full = make_loaders(folder, aug_transforms())
    report(f"{size}: the same and augmentation", *measure(lambda i: load(full.train, i)))
    draft = make_loaders(folder, aug_transforms(), draft=True)
    report(f"{size}: all that, draft=True", *measure(lambda i: load(draft.train, i)))
    cached = make_loaders(folder, aug_transforms(), cache="4GB")
    load(cached.train, 0)
    report(f"{size}: all that, from the cache", *measure(lambda i: load(cached.train, i)))


def measure_steps(folder, weights):
    """An epoch of training, its photos loaded beside it, and in memory before."""
    learn = vision_learner(make_loaders(folder, aug_transforms()), resnet18, weights=weights)
    learn.unfreeze()
    batches = [(np.array(b.x), b.y) for b in learn.dls.train.stream(0, 0)]

    def step(x, y, epoch, position):
        logits = learn.model.forward(x, train=True, seed=0, epoch=epoch, position=position)
        _, gradient = learn.loss_func.value_and_grad(logits, y)
        learn.model.backward(gradient)

    def in_memory(epoch):
        for k, (x, y) in enumerate(batches):
            step(x, y, epoch, k * BS)

    def loading(epoch):
        for b in learn.dls.train.stream(0, epoch):
            step(b.x, b.y, epoch, b.position)

    in_memory(0)
    pairs = [(measure_once(in_memory, i), measure_once(loading, i)) for i in range(REPEATS)]
    without, beside = ([statistics.median(t) for t in zip(*column)] for column in zip(*pairs))
    report("training, photos in memory", *without)
    report("training, loading beside it", *beside)
    shares = sorted(b[0] / a[0] - 1 for a, b in pairs)
    print("loading adds, of an epoch's wall time: " + ", ".join(f"{s:.1%}" for s in shares))


def measure_once(function, i):
    wall, cpu = time.perf_counter(), time.process_time()
    function(i)
    return time.perf_counter() - wall, time.process_time() - cpu


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("bears", type=Path)
    parser.add_argument("weights", type=Path)
    args = parser.parse_args()
    print(f"mlclassify {__version__}, Pillow {PIL.__version__} with libjpeg-turbo "
          f"{features.version('libjpeg_turbo')}, NumPy {np.__version__}, Python "
          f"{platform.python_version()}, {_core.get_num_threads()} threads")
    print(f"{f'{N} photos, bs {BS}, 228 px':<44} {'wall s':>7} {'CPU s':>7} {'photos/s':>9}")
    with tempfile.TemporaryDirectory() as folder:
        for size, pixels in SIZES.items():
            each = write_photos(args.bears, Path(folder) / size, pixels)
            print(f"{size}: {each // 1000} kB a photo")
            measure_loading(Path(folder) / size, size)
        measure_steps(Path(folder) / "500 x 375", args.weights)


if __name__ == "__main__":
    main()
