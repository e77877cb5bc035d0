"""The seam between a net and the processes that train it together: sums and what is ready.

Here the peers are threads, each with a net of its own and a part of the batch; the reference is one
net with the whole batch. Real processes: tests/test_together.py.
"""

import threading
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

from mlclassify.arrays import images_to_c
from mlclassify.vision.backbones import Architecture, Layers
from mlclassify.vision.models import create_model

LABELS = 5


def body():
    """A stem whose gradient is made by rows, a residual, a projection: all that batch norms do."""
    layers = Layers()
    x = layers.conv(0, "conv1", 16, 7, 2)
    x = layers.batchnorm(x, "bn1", relu=True)
    x = layers.add("maxpool", "maxpool", x, kernel=3, stride=2, padding=1)
    y = layers.conv(x, "layer1.conv1", 16, 3, 1)
    y = layers.batchnorm(y, "layer1.bn1", relu=True)
    y = layers.conv(y, "layer1.conv2", 16, 3, 1)
    return layers_end(layers, layers.batchnorm(y, "layer1.bn2", residual=x, relu=True))


def layers_end(layers, x):
    x = layers.conv(x, "layer2.conv", 32, 3, 2)
    layers.batchnorm(x, "layer2.bn", relu=True)
    return layers


ARCH = Architecture("peers", body, 32, groups=(("conv1", "bn1"), ("layer1", "layer2")))


def model():
    return create_model(ARCH, LABELS, seed=3)


def batch(n=8):
    r = np.random.RandomState(0)
    x = r.standard_normal((n, 3, 32, 32)).astype(np.float32) + 2
    return images_to_c(x), r.standard_normal((n, LABELS)).astype(np.float32)


class Threads:
    """Sums over threads in their order, as ranks would."""

    def __init__(self, size):
        self.barrier, self.parts = threading.Barrier(size, timeout=60), [None] * size

    def sum_of(self, rank):
        def add_up(values):
            self.parts[rank] = values.copy()
            self.barrier.wait()
            total = np.sum(self.parts, axis=0)
            self.barrier.wait()
            values[...] = total

        return add_up


def trained_alone(x, gradient):
    one = model()
    logits = one.forward(x, True, seed=1, position=0)
    one.backward(gradient)
    return logits, one


def trained_together(x, gradient, cuts):
    """Return logits, models of the ranks whose parts of the batch end at `cuts`."""
    threads = Threads(len(cuts))
    parts = [slice(a, b) for a, b in zip([0, *cuts], cuts)]
    models = [model() for _ in parts]

    def train(rank):
        part, add_up = parts[rank], threads.sum_of(rank)
        mine = images_to_c(np.array(x[part]))
        logits = models[rank].forward(mine, True, seed=1, position=part.start, sum=add_up)
        models[rank].backward(np.ascontiguousarray(gradient[part]), sum=add_up)
        return logits

    with ThreadPoolExecutor(len(parts)) as pool:
        return np.concatenate(list(pool.map(train, range(len(parts))))), models


@pytest.mark.parametrize("cuts", [(4, 8), (3, 8), (2, 4, 6, 8)])
def test_parts_with_common_statistics_are_the_whole_batch(cuts):
    x, gradient = batch()
    logits, one = trained_alone(x, gradient)
    together, models = trained_together(x, gradient, cuts)
    np.testing.assert_allclose(together, logits, rtol=0, atol=1e-4)
    own = one.net.gradients()
    for name, value in own.items():
        parts = np.array([m.net.gradients()[name] for m in models])
        large = np.abs(parts).sum(axis=0).max()  # some gradients are 0 but for rounding
        np.testing.assert_allclose(parts.sum(axis=0), value, rtol=0, atol=1e-4 * large,
                                   err_msg=name)
    for name, value in one.net.buffers().items():
        for m in models:
            np.testing.assert_allclose(m.net.buffers()[name], value, rtol=1e-5, atol=1e-6,
                                       err_msg=name)


def test_parts_with_their_own_statistics_are_not():
    x, gradient = batch()
    logits, _ = trained_alone(x, gradient)
    apart = np.concatenate([model().forward(images_to_c(np.array(x[part])), True, seed=1,
                                            position=part.start)
                            for part in (slice(0, 4), slice(4, 8))])
    assert abs(apart - logits).max() > 0.01


def test_large_means_keep_their_variance():
    x, gradient = batch()
    x = images_to_c(np.asarray(x) + 1000)
    logits, _ = trained_alone(x, gradient)
    together, _ = trained_together(x, gradient, (4, 8))
    # float32 itself keeps 6e-5 of a number of this size.
    np.testing.assert_allclose(together, logits, rtol=0, atol=5e-3)


def test_one_part_is_the_whole_to_the_bit():
    x, gradient = batch()
    logits, one = trained_alone(x, gradient)
    same = model()
    assert (same.forward(x, True, seed=1, sum=None) == logits).all()
    same.backward(gradient, ready=lambda layer: None)
    for name, value in one.net.gradients().items():
        assert (same.net.gradients()[name] == value).all(), name


def test_ready_tells_each_layer_once_and_its_gradients_are_complete():
    x, gradient = batch()
    m = model()
    m.forward(x, True)
    gradients, seen = m.net.gradients(), {}
    m.backward(gradient, ready=lambda layer: seen.update({layer: [
        gradients[f"{layer}.{part}"].copy() for part in ("weight", "bias")
        if f"{layer}.{part}" in gradients]}))
    layers = list(dict.fromkeys(name.rpartition(".")[0] for name in gradients))
    assert list(seen) == layers[::-1]
    for layer, copies in seen.items():
        now = [gradients[f"{layer}.{p}"] for p in ("weight", "bias") if f"{layer}.{p}" in gradients]
        for copy, value in zip(copies, now):
            assert (copy == value).all(), layer


def test_ready_leaves_out_what_is_frozen():
    x, gradient = batch()
    m = model()
    m.set_trainable(["bn1.weight", *(n for n in m.parameters() if n.startswith("head"))])
    m.forward(x, True)
    seen = []
    m.backward(gradient, ready=seen.append)
    assert "bn1" in seen and "conv1" not in seen and "layer1.conv1" not in seen


class Lost(Exception):
    pass


def test_an_error_of_sum_stops_the_forward_pass_and_changes_nothing():
    x, gradient = batch()
    m, calls = model(), []
    before = {name: value.copy() for name, value in m.net.buffers().items()}

    def lost(values):
        calls.append(len(values))
        if len(calls) == 3:
            raise Lost("rank 2 does not answer")

    with pytest.raises(Lost, match="rank 2"):
        m.forward(x, True, sum=lost)
    assert len(calls) == 3
    for name, value in m.net.buffers().items():
        assert (value == before[name]).all()
    m.forward(x, True)
    m.backward(gradient)


@pytest.mark.parametrize("which", ["sum", "ready"])
def test_an_error_in_the_backward_pass_rolls_back(which):
    x, gradient = batch()
    m = model()
    before = {name: value.copy() for name, value in m.net.buffers().items()}

    def lost(_):
        raise Lost

    m.forward(x, True)
    with pytest.raises(Lost):
        m.backward(gradient, **{which: lost})
    for name, value in m.net.buffers().items():
        assert (value == before[name]).all()
    with pytest.raises(RuntimeError, match="must follow a forward"):
        m.backward(gradient)


def test_what_sum_keeps_is_a_copy():
    x, _ = batch()
    m, kept = model(), []
    logits = m.forward(x, True, sum=kept.append)
    for values in kept:
        values[...] = np.nan
    assert np.isfinite(logits).all() and np.isfinite(m.forward(x, True)).all()


def test_functions_are_checked():
    x, gradient = batch()
    m = model()
    with pytest.raises(TypeError, match="Net.forward: `sum` must be a function or None, got 3"):
        m.forward(x, True, sum=3)
    m.forward(x, True)
    with pytest.raises(TypeError, match="Net.backward: `ready` must be a function or None"):
        m.backward(gradient, ready="no")
