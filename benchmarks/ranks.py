"""What summing over processes costs on this machine, and a training step with and without it.

    mlclassify launch -n 2 benchmarks/ranks.py
    OMPI_MCA_btl=self,tcp mlclassify launch -n 2 benchmarks/ranks.py

Medians of several rounds, of the slowest rank; `fit` is the line latency + bytes / bandwidth
through the smallest and the largest sum. The second form sends everything through TCP on the
loopback instead of shared memory. docs/clusters.md plans with these figures.
"""

import statistics
import time
from functools import partial

import numpy as np

from mlclassify._core import get_num_threads
from mlclassify.arrays import images_to_c
from mlclassify.ranks import current
from mlclassify.together import sharing
from mlclassify.vision.backbones import resnet18
from mlclassify.vision.models import create_model

SIZES = (8, 1 << 10, 16 << 10, 256 << 10, 4 << 20, 44 << 20)
SIDE, PHOTOS = 128, 8  # of the step that is timed: photos of each rank


def median(function, rounds):
    """Return the median time of a call, which all ranks begin together; of the slowest rank."""
    times = []
    for _ in range(rounds + 1):
        current().wait()
        began = time.perf_counter()
        function()
        times.append(time.perf_counter() - began)
    mine = np.array([statistics.median(times[1:])])
    ranks = current()
    return float(ranks.gather_rows(mine, ranks.size).max()) if ranks.size > 1 else float(mine[0])


def add_up(values):
    current().begin_sum(values).Wait()


def sums():
    """Print the time of a sum of each size."""
    seconds = {}
    for size in SIZES:
        values = np.ones(size // 4, np.float32)
        seconds[size] = median(partial(add_up, values), 5 if size > 1e6 else 30)
        print(f"sum of {size:>9} bytes: {seconds[size] * 1e6:10.0f} us")
    small, large = SIZES[0], SIZES[-1]
    rate = (large - small) / (seconds[large] - seconds[small])
    print(f"fit: {seconds[small] * 1e6:.0f} us + bytes / {rate / 1e9:.2f} GB/s")


def steps():
    """Print the time of forward and backward: as alone, and together in both ways."""
    model = create_model(resnet18, 10, seed=1)
    r = np.random.RandomState(current().rank)
    x = images_to_c(r.standard_normal((PHOTOS, 3, SIDE, SIDE)).astype(np.float32))
    gradient = r.standard_normal((PHOTOS, 10)).astype(np.float32)

    def alone():
        model.forward(x, True)
        model.backward(gradient)

    def together(sync_bn):
        way = sharing(sync_bn)
        model.forward(x, True, sum=way.sum)
        way.backward(model, gradient, False)

    for name, step in (("no sums", alone), ("local batch norms", lambda: together(False)),
                       ("synchronised batch norms", lambda: together(True))):
        print(f"resnet18, {PHOTOS} photos of {SIDE}, {name}: {median(step, 4) * 1e3:.0f} ms")


print(f"{current().size} ranks of {get_num_threads()} threads")
if current().size > 1:
    sums()
steps()
