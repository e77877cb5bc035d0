"""What a ``_core.Net`` does: shapes, modes, statistics, freezing, steps, state, order of calls."""

import gc
import re
import subprocess
import sys
import weakref
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
import reference
from reference import Network, nhwc, random_state, small_resnet

from mlclassify import _core


def relative(got, want):
    return np.linalg.norm(np.asarray(got, np.float64) - want) / max(np.linalg.norm(want), 1e-30)


def make(spec, rng, channels=3):
    """A net with drawn weights, and the float64 network of the same."""
    net = _core.Net(spec, channels)
    state = random_state(net, rng)
    net.load_state_dict(state)
    return net, Network(spec, state)


def images(rng, n=4, side=20, channels=3):
    return nhwc(rng.normal(size=(n, channels, side, side)))


def snapshot(net):
    """Copies of every parameter and running statistic."""
    return {name: value.copy() for name, value in (net.parameters() | net.buffers()).items()}


def same(a, b):
    return [name for name in a if a[name].tobytes() == b[name].tobytes()]


def step(net, x, lr=1e-2, groups=1, accumulate=False, **key):
    """One whole training step with a gradient that depends on nothing but the output's shape."""
    y = net.forward(x, train=True, **key)
    net.backward(np.linspace(-1, 1, y.size, dtype=np.float32).reshape(y.shape), accumulate)
    net.adam_step(*([value] * groups for value in (lr, 0.9, 0.99, 1e-5, 0.01)))
    return y


def trains_alike(net, network, x, rng, bound, gradient_bound):
    """One training pass of both; outputs and gradients agree."""
    y, want = net.forward(x, train=True), network.forward(x, train=True)
    assert relative(y, want) < bound
    g = rng.normal(size=y.shape).astype(np.float32)
    net.backward(g)
    grads = network.backward(g)
    for name, got in net.gradients().items():
        assert relative(got, grads[name]) < gradient_bound, name


# --- the specification

CONV = {"out": 8, "kernel": 3, "stride": 1, "padding": 1}
KINDS = ("conv, linear, depthwise, batchnorm, layernorm, layerscale, relu, activation, scale, "
         "dropout, maxpool, avgpool, concatpool")


def conv_rule(**change):
    o = CONV | change
    return (f"Net: layer 0 (conv c) must have out >= 1, kernel 1 to 15, stride 1 to kernel + 7 and "
            f"padding < kernel, got out {o['out']}, kernel {o['kernel']}, stride {o['stride']}, "
            f"padding {o['padding']}")


def depthwise_rule(**change):
    o = {"kernel": 3, "stride": 1, "padding": 1} | change
    return (f"Net: layer 0 (depthwise d) must have kernel 3, 5 or 7, stride 1 or 2 and padding < "
            f"kernel, got kernel {o['kernel']}, stride {o['stride']}, padding {o['padding']}")


def pool_rule(kernel, stride, padding):
    return (f"Net: layer 0 (maxpool) must have kernel 1 to 15, stride >= 1 and padding of at most "
            f"half the kernel, got kernel {kernel}, stride {stride}, padding {padding}")


@pytest.mark.parametrize("layers, message", [
    ([("convolution", "c", (0,), {})],
     f"Net: the kind of layer 0 must be one of {KINDS}, got 'convolution'"),
    ([("relu", "", (), {})], "Net: layer 0 (relu) must have 1 to 1 inputs, got 0"),
    ([("relu", "", (0, 0), {})], "Net: layer 0 (relu) must have 1 to 1 inputs, got 2"),
    ([("batchnorm", "n", (0, 0, 0), {})], "Net: a layer must have at most 2 inputs, got 3"),
    ([("relu", "", (1,), {})],
     "Net: layer 0 (relu) must read a tensor made before it, 0 to 0, got 1"),
    ([("relu", "", (0,), {}), ("relu", "", (2,), {})],
     "Net: layer 1 (relu) must read a tensor made before it, 0 to 1, got 2"),
    ([("conv", "", (0,), CONV)], "Net: layer 0 (conv) must have a name of 1 to 80 bytes"),
    ([("conv", "c" * 81, (0,), CONV)], "Net: layer 0 (conv) must have a name of 1 to 80 bytes"),
    ([("conv", "c", (0,), CONV), ("conv", "c", (1,), CONV)],
     "Net: the name of layer 1 must be its own, got 'c' for two"),
    ([("conv", "c", (0,), CONV | {"out": 0})], conv_rule(out=0)),
    ([("conv", "c", (0,), {"out": 3})], conv_rule(out=3, kernel=0, padding=0)),
    ([("conv", "c", (0,), CONV | {"kernel": 16})], conv_rule(kernel=16)),
    ([("conv", "c", (0,), CONV | {"stride": 0})], conv_rule(stride=0)),
    ([("conv", "c", (0,), CONV | {"stride": 11})], conv_rule(stride=11)),
    ([("conv", "c", (0,), CONV | {"padding": 3})], conv_rule(padding=3)),
    ([("depthwise", "d", (0,), {"kernel": 4})], depthwise_rule(kernel=4, padding=0)),
    ([("depthwise", "d", (0,), {"kernel": 3, "stride": 3})], depthwise_rule(stride=3, padding=0)),
    ([("depthwise", "d", (0,), {"kernel": 5, "padding": 5})], depthwise_rule(kernel=5, padding=5)),
    ([("linear", "l", (0,), {})], "Net: layer 0 (linear l) must have out >= 1, got 0"),
    ([("batchnorm", "n", (0,), {"eps": 0})],
     "Net: layer 0 (batchnorm n) must have eps > 0 and momentum in [0, 1], got eps 0, momentum "
     "0.1"),
    ([("batchnorm", "n", (0,), {"momentum": float("nan")})],
     "Net: layer 0 (batchnorm n) must have eps > 0 and momentum in [0, 1], got eps 1e-05, momentum "
     "nan"),
    ([("layernorm", "n", (0,), {"eps": 0})],
     "Net: layer 0 (layernorm n) must have eps > 0, got 0"),
    ([("layerscale", "s", (0,), {})], "Net: layer 0 (layerscale) must have 2 to 2 inputs, got 1"),
    ([("layerscale", "s", (0, 0), {"bias": True})],
     "Net: layer 0 (layerscale s) must have no bias"),
    ([("batchnorm", "n", (0, 0), {"act": "silu"})],
     "Net: layer 0 (batchnorm n) must have no activation but relu where it adds a residual"),
    ([("batchnorm", "n", (0,), {"act": "hardsigmoid"})],
     "Net: layer 0 (batchnorm n) must have an activation that is 0 at 0; an activation layer does "
     "sigmoids"),
    ([("activation", "", (0,), {})], "Net: layer 0 (activation) must have act, got none"),
    ([("scale", "", (0,), {})], "Net: layer 0 (scale) must have 2 to 2 inputs, got 1"),
    ([("dropout", "", (0,), {"p": 1})], "Net: layer 0 (dropout) must have p in [0, 1), got 1"),
    ([("dropout", "", (0,), {"p": -0.5})],
     "Net: layer 0 (dropout) must have p in [0, 1), got -0.5"),
    ([("maxpool", "", (0,), {})], pool_rule(0, 1, 0)),
    ([("maxpool", "", (0,), {"kernel": 16})], pool_rule(16, 1, 0)),
    ([("maxpool", "", (0,), {"kernel": 3, "stride": 0})], pool_rule(3, 0, 0)),
    ([("maxpool", "", (0,), {"kernel": 3, "padding": 2})], pool_rule(3, 1, 2)),
    ([], "Net: `spec` must have 1 to 4096 layers and `channels` 1 to 4096, got 0 and 3"),
])
def test_a_spec_that_breaks_a_rule(layers, message):
    with pytest.raises(ValueError) as error:
        _core.Net(layers)
    assert str(error.value) == message


@pytest.mark.parametrize("layers, shape, train, message", [
    ([("conv", "c", (0,), {"out": 8, "kernel": 7, "padding": 1})], (1, 3, 4, 9), False,
     "Net: the input of layer 0 (conv c) must be at least 5 pixels on each side, got 4 x 9"),
    ([("depthwise", "d", (0,), {"kernel": 7, "padding": 1})], (1, 3, 4, 9), False,
     "Net: the input of layer 0 (depthwise d) must be at least 5 pixels on each side, got 4 x 9"),
    ([("maxpool", "", (0,), {"kernel": 3})], (1, 3, 3, 2), False,
     "Net: the input of layer 0 (maxpool) must be at least 3 pixels on each side, got 3 x 2"),
    ([("avgpool", "", (0,), {}), ("layerscale", "s", (0, 1), {})], (2, 3, 4, 4), False,
     "Net: the inputs of layer 1 (layerscale s) must have one shape, got 4 x 4 x 3 and 1 x 1 x 3"),
    ([("conv", "c", (0,), CONV), ("avgpool", "", (1,), {}), ("scale", "", (0, 2), {})],
     (2, 3, 4, 4), False,
     "Net: the second input of layer 2 (scale) must be 1 x 1 x 3, got 1 x 1 x 8"),
    ([("avgpool", "", (0,), {}), ("batchnorm", "n", (0, 1), {})], (2, 3, 4, 4), False,
     "Net: the inputs of layer 1 (batchnorm n) must have one shape, got 4 x 4 x 3 and 1 x 1 x 3"),
    ([("avgpool", "", (0,), {}), ("batchnorm", "n", (1,), {})], (1, 3, 4, 4), True,
     "Net.forward: `x` must have more than one value for each channel of layer 1 (batchnorm n) in "
     "training, got a batch of 1"),
])
def test_a_batch_that_a_layer_cannot_take(layers, shape, train, message):
    net = _core.Net(layers)
    with pytest.raises(ValueError) as error:
        net.forward(nhwc(np.zeros(shape)), train=train)
    assert str(error.value) == message


def test_options_have_their_defaults():
    net = _core.Net([("conv", "c", (0,), {"out": 4, "kernel": 3}), ("batchnorm", "n", (1,), {}),
                     ("avgpool", "", (2,), {}), ("linear", "l", (3,), {"out": 2})])
    shapes = {name: value.shape for name, value in net.parameters().items()}
    assert shapes == {
        "c.weight": (4, 3, 3, 3), "n.weight": (4,), "n.bias": (4,), "l.weight": (2, 4)}
    assert {name: value.shape for name, value in net.buffers().items()} == {
        "n.running_mean": (4,), "n.running_var": (4,)}
    assert net.forward(nhwc(np.zeros((1, 3, 5, 5)))).shape == (1, 2)


def test_a_new_net_is_zero_but_for_what_scales():
    net = _core.Net(small_resnet())
    ones = ("_bn.weight", "running_var")
    for name, value in (net.parameters() | net.buffers()).items():
        assert (value == (1 if name.endswith(ones) else 0)).all(), name


# --- forward

@pytest.mark.parametrize("side", [1, 2, 3, 5, 7, 13, 17, 31])
@pytest.mark.parametrize("channels", [1, 3, 15, 16, 17, 100])
def test_convolution_of_odd_sizes(side, channels, rng):
    for kernel, stride, padding, batch in ((1, 1, 0, 7), (2, 2, 1, 3), (3, 1, 1, 2), (3, 2, 1, 1),
                                           (5, 3, 2, 2), (7, 2, 3, 1)):
        spec = [("conv", "c", (0,), {"out": channels, "kernel": kernel, "stride": stride,
                                     "padding": padding})]
        net, network = make(spec, rng, channels)
        x = images(rng, batch, side, channels)
        y, want = net.forward(x), network.forward(x)
        assert y.shape == want.shape and y.dtype == np.float32
        assert relative(y, want) < 2e-6


@pytest.mark.parametrize("side", [13, 20, 31, 40])
@pytest.mark.parametrize("batch", [1, 2, 3, 7])
def test_evaluation_of_a_residual_network(side, batch, rng):
    net, network = make(small_resnet(), rng)
    x = images(rng, batch, side)
    assert relative(net.forward(x), network.forward(x)) < 5e-6


def small_mlp(width=20, also=()):
    """What a block of ConvNeXt has above its depthwise convolution, of every pixel."""
    return [("conv", "stem", (0,), {"out": width, "kernel": 4, "stride": 4, "bias": True}),
            ("layernorm", "norm", (1,), {"eps": 1e-6}),
            ("linear", "fc1", (2,), {"out": 4 * width, "bias": True}),
            ("activation", "", (3,), {"act": "gelu"}),
            ("linear", "fc2", (4,), {"out": width, "bias": True}),
            ("layerscale", "scale", (5, 1), {}), *also]


# With two readers of what fc1 and fc2 write, these write it, and gelu and scale read it.
@pytest.mark.parametrize("also", [
    (), [("linear", "more", (3,), {"out": 20}), ("layerscale", "sum", (7, 5), {})]])
@pytest.mark.parametrize("side", [4, 20, 31])
def test_a_prediction_with_gelu_and_layerscale_in_epilogues(also, side, rng):
    net, network = make(small_mlp(also=also), rng)
    x = images(rng, 3, side)
    first = net.forward(x)
    assert relative(first, network.forward(x)) < 5e-6
    trained = net.forward(x, train=True)
    assert relative(trained, first) < 1e-6


def test_a_pixel_that_is_not_finite_stays_alone_in_layernorm(rng):
    net, _ = make(small_mlp(), rng)
    x = images(rng, 2, 12).copy(order="K")
    clean = net.forward(x)
    x[1, 0, 5, 5] = np.inf
    y = net.forward(x)
    assert np.isnan(y[1, :, 1, 1]).all()
    y[1, :, 1, 1] = clean[1, :, 1, 1]
    assert y.tobytes() == clean.tobytes()


def test_images_come_out_as_a_view_of_nhwc_memory(rng):
    net, _ = make([("conv", "c", (0,), {"out": 5, "kernel": 1})], rng)
    y = net.forward(images(rng, 2, 3))
    assert y.shape == (2, 5, 3, 3) and y.transpose(0, 2, 3, 1).flags.c_contiguous
    assert net.forward(images(rng, 2, 1)).shape == (2, 5)


def test_training_mode_differs_from_evaluation_and_leaves_it_deterministic(rng):
    net, network = make(small_resnet(), rng)
    x = images(rng)
    first, trained = net.forward(x), net.forward(x, train=True)
    net.rollback()
    assert relative(trained, network.forward(x, train=True)) < 2e-5
    assert relative(trained, first) > 1e-2
    assert net.forward(x).tobytes() == first.tobytes()


def test_evaluation_writes_nothing(rng):
    net, _ = make(small_resnet(), rng)
    before = snapshot(net)
    x = images(rng)
    kept = x.copy()
    net.forward(x)
    assert len(same(before, snapshot(net))) == len(before) and (x == kept).all()


def test_an_image_does_not_depend_on_its_batch_in_evaluation(rng):
    net, _ = make(small_resnet(), rng)
    x = images(rng, 7)
    whole = net.forward(x)
    for i in range(7):
        assert net.forward(x[i : i + 1]).tobytes() == whole[i].tobytes()


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_what_is_not_finite_comes_out_of_its_own_image_only(value, rng):
    net, _ = make(small_resnet(), rng)
    x = images(rng, 3).copy(order="K")
    clean = net.forward(x)
    x[1, 0, 5, 5] = value
    y = net.forward(x)
    assert np.isnan(y[1]).all()
    assert y[[0, 2]].tobytes() == clean[[0, 2]].tobytes()


# --- plans

def test_plans_of_several_shapes_in_turn_give_what_fresh_nets_give(rng):
    state = random_state(_core.Net(small_resnet()), rng)
    shapes = [(1, 20), (3, 20), (2, 31), (5, 17), (4, 24), (6, 16), (2, 40)]
    batches = [images(rng, *shape) for shape in shapes]

    def fresh():
        net = _core.Net(small_resnet())
        net.load_state_dict(state)
        return net

    net = fresh()
    for _ in range(2):
        for x in [*batches, *batches[::-1]]:
            assert net.forward(x).tobytes() == fresh().forward(x).tobytes()
            if len(x) > 1:
                assert (net.forward(x, train=True, seed=1).tobytes()
                        == fresh().forward(x, train=True, seed=1).tobytes())
                net.rollback()


def test_training_on_several_shapes_in_turn_repeats_bit_for_bit(rng):
    state = random_state(_core.Net(small_resnet()), rng)
    batches = [images(rng, n, side) for n, side in ((4, 20), (3, 31), (4, 20), (6, 16), (4, 20))]
    ends = []
    for predict in (False, True):  # predictions in between change nothing
        net = _core.Net(small_resnet())
        net.load_state_dict(state)
        for i, x in enumerate(batches):
            if predict:
                net.forward(batches[0][:2])
            step(net, x, position=i)
        ends.append(snapshot(net))
    assert len(same(*ends)) == len(ends[0])


# --- running statistics

def test_running_statistics_take_the_unbiased_variance(rng):
    net = _core.Net([("batchnorm", "n", (0,), {"momentum": 0.25})], 5)
    x = images(rng, 3, 4, 5) * 3 + 2
    net.forward(x, train=True)
    mean, var = x.mean((0, 2, 3), dtype=float), x.astype(float).var((0, 2, 3), ddof=1)
    np.testing.assert_allclose(net.buffers()["n.running_mean"], 0.25 * mean, rtol=1e-6)
    np.testing.assert_allclose(net.buffers()["n.running_var"], 0.75 + 0.25 * var, rtol=1e-6)


def test_the_variance_of_shifted_values_keeps_its_digits(rng):
    """Sums of squares would leave nothing of a variance of 1 around 10 000."""
    net = _core.Net([("batchnorm", "n", (0,), {"momentum": 1.0})], 3)
    x = nhwc(10_000 + rng.normal(size=(4, 3, 40, 40)))
    net.forward(x, train=True)
    want = x.astype(float).var((0, 2, 3), ddof=1)
    np.testing.assert_allclose(net.buffers()["n.running_var"], want, rtol=1e-5)


def test_rollback_restores_the_statistics_of_a_step_not_taken(rng):
    net, _ = make(small_resnet(), rng)
    x = images(rng)
    step(net, x)
    before = snapshot(net)
    y = net.forward(x, train=True)
    assert len(same(before, snapshot(net))) == len(net.parameters())
    net.backward(np.ones_like(y))
    net.rollback()
    assert len(same(before, snapshot(net))) == len(before)
    with pytest.raises(RuntimeError, match="must follow a backward"):
        net.adam_step([0.1], [0.9], [0.99], [1e-5], [0])


def test_rollback_undoes_every_forward_since_the_last_step(rng):
    net, _ = make(small_resnet(), rng)
    before = snapshot(net)
    for _ in range(3):
        y = net.forward(images(rng), train=True)
        net.backward(np.ones_like(y), accumulate=True)
    net.rollback()
    assert len(same(before, snapshot(net))) == len(before)


def test_rollback_after_a_step_does_nothing(rng):
    net, _ = make(small_resnet(), rng)
    step(net, images(rng))
    after = snapshot(net)
    net.rollback()
    assert len(same(after, snapshot(net))) == len(after)


def test_rollback_leaves_statistics_that_were_loaded_since(rng):
    net, _ = make(small_resnet(), rng)
    net.forward(images(rng), train=True)
    loaded = np.full(20, 7, np.float32)
    net.load_state_dict({"stem_bn.running_mean": loaded})
    net.rollback()
    assert (net.buffers()["stem_bn.running_mean"] == loaded).all()


# --- training: gradients, freezing, groups

def test_accumulate_adds_and_a_plain_backward_replaces(rng):
    net, _ = make(small_resnet(p=0.0), rng)
    x, total = images(rng, 6), None
    for accumulate in (False, True, True):
        y = net.forward(x, train=True)
        net.backward(np.ones_like(y), accumulate=accumulate)
        if total is None:
            once = total = {name: g.copy() for name, g in net.gradients().items()}
        else:
            total = {name: total[name] + once[name] for name in total}
    for name, g in net.gradients().items():
        np.testing.assert_allclose(g, total[name], rtol=2e-6, atol=1e-6 * abs(once[name]).max())
    y = net.forward(x, train=True)
    net.backward(np.ones_like(y))
    assert len(same(once, net.gradients())) == len(once)


def test_backward_does_not_change_its_gradient(rng):
    net, _ = make(small_resnet(), rng)
    y = net.forward(images(rng), train=True)
    g = rng.normal(size=y.shape).astype(np.float32)
    kept = g.copy()
    net.backward(g)
    assert (g == kept).all()


FROZEN = ["stem.weight", "a1.weight", "b_down.weight", "fc1.bias", "a2_bn.weight"]


def test_a_frozen_parameter_keeps_its_bits_and_the_others_their_gradients(rng):
    net, _ = make(small_resnet(), rng)
    x = images(rng, 5)
    y = net.forward(x, train=True)
    net.backward(np.ones_like(y))
    free = {name: g.copy() for name, g in net.gradients().items()}
    net.rollback()
    net.set_trainable([name for name in net.parameters() if name not in FROZEN])
    net.forward(x, train=True)
    net.backward(np.ones_like(y))
    assert set(net.gradients()) == set(free) - set(FROZEN)
    assert len(same(net.gradients(), free)) == len(free) - len(FROZEN)
    before = snapshot(net)
    net.adam_step([0.1], [0.9], [0.99], [1e-5], [0.01])
    unchanged = set(same(before, snapshot(net)))
    assert unchanged == set(FROZEN) | set(net.buffers())


def test_a_frozen_body_has_no_gradients_but_moves_its_statistics(rng):
    net, _ = make(small_resnet(), rng)
    head = [name for name in net.parameters() if name.startswith("fc")]
    net.set_trainable(head)
    before = snapshot(net)
    step(net, images(rng))
    assert set(net.parameters()) - set(same(before, snapshot(net))) == set(head)
    assert not set(same(before, snapshot(net))) & set(net.buffers())
    assert set(net.gradients()) == set(head)


def test_nothing_to_train(rng):
    net, _ = make(small_resnet(), rng)
    net.set_trainable([])
    before = snapshot(net)
    step(net, images(rng))
    assert net.gradients() == {}
    assert set(same(before, snapshot(net))) == set(net.parameters())


def test_an_unknown_name_changes_no_mark(rng):
    net, _ = make(small_resnet(), rng)
    net.set_trainable(["fc2.weight"])
    for method in (net.set_trainable, net.set_decay):
        with pytest.raises(KeyError, match="must name parameters of this net, got 'fc3.weight'"):
            method(["fc1.weight", "fc3.weight"])
    assert set(net.gradients()) == {"fc2.weight"}


def test_groups_have_their_own_numbers(rng):
    net, _ = make(small_resnet(), rng)
    names = list(net.parameters())
    net.set_groups([names[:5], names[5:]])
    before = snapshot(net)
    y = net.forward(images(rng), train=True)
    net.backward(np.ones_like(y))
    net.adam_step([0, 1e-2], [0.9, 0.9], [0.99, 0.99], [1e-5, 1e-5], [0.01, 0.01])
    assert set(same(before, snapshot(net))) & set(names) == set(names[:5])


@pytest.mark.parametrize("change, error, message", [
    (lambda names: [names[1:]], ValueError,
     "must name every parameter, got none with 'stem.weight'"),
    (lambda names: [names, ["nobody"]], KeyError, "must name parameters of this net, got 'nobody'"),
    (lambda names: [], ValueError, "must be 1 to 64 lists, got 0"),
    (lambda names: [names] * 65, ValueError, "must be 1 to 64 lists, got 65"),
])
def test_groups_are_all_set_or_none(change, error, message, rng):
    net, _ = make(small_resnet(), rng)
    names = list(net.parameters())
    net.set_groups([names[:5], names[5:]])
    with pytest.raises(error, match=message):
        net.set_groups(change(names))
    before = snapshot(net)
    step(net, images(rng), groups=2, lr=0)
    assert set(same(before, snapshot(net))) == set(names)


def test_decay_is_for_the_named_only(rng):
    net, _ = make(small_resnet(), rng)
    net.set_decay(["fc1.weight"])
    y = net.forward(images(rng), train=True)
    net.backward(np.zeros_like(y))
    before = snapshot(net)
    net.adam_step([0.1], [0.9], [0.99], [1e-5], [0.5])
    after = snapshot(net)
    assert set(net.parameters()) - set(same(before, after)) == {"fc1.weight"}
    np.testing.assert_allclose(after["fc1.weight"], before["fc1.weight"] * 0.95, rtol=1e-6)


# --- Adam

def linear_net(start):
    out, channels = start.shape
    net = _core.Net([("linear", "fc", (0,), {"out": out})], channels)
    net.load_state_dict({"fc.weight": start.astype(np.float32)})
    return net


def give_gradient(net, gradient):
    out, channels = gradient.shape
    net.forward(nhwc(np.zeros((1, channels, 1, 1))), train=True)
    net.backward(np.zeros((1, out), np.float32))
    net.gradients()["fc.weight"][...] = gradient


def test_adam_follows_the_golden_trajectory(shared):
    golden = np.load(shared("golden/adam.npz"))
    net = linear_net(golden["p0"])
    for gradient, lr, mom, want in zip(*(golden[k] for k in ("grads", "lr", "mom", "trajectory"))):
        give_gradient(net, gradient)
        net.adam_step([lr], [mom], [0.99], [1e-5], [0.01])
        np.testing.assert_allclose(net.parameters()["fc.weight"], want, rtol=5e-6, atol=5e-6)
        assert not net.gradients()["fc.weight"].any()


@pytest.mark.parametrize("shape", [(1, 1), (3, 5), (200, 333)])
def test_adam_is_its_definition_with_every_number_its_own(shape, rng):
    p = rng.normal(size=shape).astype(np.float32).astype(np.float64)
    net, m, v = linear_net(p), np.zeros(shape), np.zeros(shape)
    for t, (lr, mom, sqr_mom, eps, wd) in enumerate(
            [(0.1, 0.9, 0.99, 1e-5, 0.1), (0.01, 0.5, 0.9, 1e-3, 0), (0.2, 0, 0, 1e-8, 0.01)], 1):
        g = rng.normal(size=shape)
        give_gradient(net, g)
        net.adam_step([lr], [mom], [sqr_mom], [eps], [wd])
        p, m, v = reference.adam_step(p, g, m, v, t, lr, mom, sqr_mom, eps, wd)
        np.testing.assert_allclose(net.parameters()["fc.weight"], p, rtol=5e-6, atol=5e-6)


def test_clear_state_forgets_moments_and_steps(rng):
    p, g = rng.normal(size=(2, 5, 7))
    fresh, used = linear_net(p), linear_net(p)
    for _ in range(3):
        give_gradient(used, g * 5)
        used.adam_step([0.1], [0.9], [0.99], [1e-5], [0])
    used.clear_state()
    used.load_state_dict({"fc.weight": p.astype(np.float32)})
    for net in (fresh, used):
        give_gradient(net, g)
        net.adam_step([0.1], [0.9], [0.99], [1e-5], [0])
    assert not same(fresh.parameters(), {"fc.weight": p.astype(np.float32)})
    assert same(fresh.parameters(), used.parameters()) == ["fc.weight"]


def test_a_step_is_seen_by_the_next_forward_and_backward(rng):
    """Weights are kept in packed forms too; neither may lag behind."""
    net, network = make(small_resnet(p=0.0), rng)
    step(net, images(rng, 6), lr=0.05)
    network = Network(small_resnet(p=0.0), snapshot(net))
    trains_alike(net, network, images(rng, 6), rng, 5e-5, 2e-4)


# --- state

def test_load_state_dict_is_all_or_nothing(rng):
    net, _ = make(small_resnet(), rng)
    before, x = snapshot(net), images(rng)
    y = net.forward(x)
    good = {name: value + 1 for name, value in before.items()}
    for bad, error in (({"nobody": good["stem.weight"]}, KeyError),
                       ({"fc2.weight": np.zeros((3, 3), np.float32)}, ValueError),
                       ({"fc2.weight": good["fc2.weight"].astype(np.float64)}, TypeError),
                       ({7: good["stem.weight"]}, KeyError)):
        state = {name: value for name, value in good.items() if name not in bad} | bad
        with pytest.raises(error):
            net.load_state_dict(state)
        assert len(same(before, snapshot(net))) == len(before)
        assert net.forward(x).tobytes() == y.tobytes()


def test_load_state_dict_writes_what_is_named_and_refreshes(rng):
    net, _ = make(small_resnet(), rng)
    before, x = snapshot(net), images(rng)
    net.load_state_dict({"stem.weight": before["stem.weight"] * 2, "stem_bn.running_var":
                         before["stem_bn.running_var"] * 2})
    changed = set(before) - set(same(before, snapshot(net)))
    assert changed == {"stem.weight", "stem_bn.running_var"}
    want = Network(small_resnet(), snapshot(net)).forward(x)
    assert relative(net.forward(x), want) < 5e-6
    net.load_state_dict({})
    net.load_state_dict(before)
    assert len(same(before, snapshot(net))) == len(before)


def test_views_are_read_only_live_and_keep_the_net(rng):
    net, _ = make(small_resnet(), rng)
    views = net.parameters() | net.buffers()
    for value in views.values():
        with pytest.raises(ValueError, match="read-only"):
            value[...] = 0
        with pytest.raises(ValueError, match="WRITEABLE"):
            value.flags.writeable = True
    kept = snapshot(net)
    gradients = net.gradients()
    net.load_state_dict({"fc2.bias": np.full(5, 3, np.float32)})
    assert (views["fc2.bias"] == 3).all()
    del net
    gc.collect()
    _ = [np.empty(100_000) for _ in range(20)]  # would reuse the memory if it were free
    assert len(same(kept, views)) == len(kept) - 1
    gradients["fc2.bias"][...] = 1
    assert (gradients["fc2.bias"] == 1).all()


def test_a_net_is_freed_with_its_last_view():
    gone = []

    class Marked(np.ndarray):
        pass

    net = _core.Net(small_resnet())
    view = net.parameters()["fc2.weight"]
    assert view.base is net
    marked = view.view(Marked)
    weakref.finalize(marked, gone.append, True)
    del net, view, marked
    gc.collect()
    assert gone == [True]


# --- dropout

def dropout_net(p, channels=40):
    return _core.Net([("dropout", "", (0,), {"p": p})], channels)


@pytest.mark.parametrize("p", [0.0, 0.1, 0.5, 0.9])
def test_dropout_keeps_and_scales(p):
    x = nhwc(np.ones((50, 40, 5, 5)))
    y = dropout_net(p).forward(x, train=True, seed=3)
    kept = (y != 0).mean()
    assert abs(kept - (1 - p)) < 4 * np.sqrt(p * (1 - p) / y.size) + 1e-12
    np.testing.assert_allclose(y[y != 0], 1 / (1 - p), rtol=1e-6)
    assert (dropout_net(p).forward(x) == 1).all()


def test_the_mask_of_an_image_belongs_to_its_key(rng):
    net, x = dropout_net(0.5), images(rng, 6, 5, 40)
    key = {"seed": 1, "epoch": 2, "position": 100}
    whole = net.forward(x, train=True, **key)
    for i in range(6):
        alone = net.forward(x[i : i + 1], train=True, **(key | {"position": 100 + i}))
        assert alone.tobytes() == whole[i : i + 1].tobytes()
    for change in ({"seed": 2}, {"epoch": 3}, {"position": 101}, {"seed": 1 + 2**32}):
        other = net.forward(x, train=True, **(key | change))
        assert 0.4 < ((other == 0) == (whole == 0)).mean() < 0.6


def test_two_dropouts_of_a_net_have_masks_of_their_own(rng):
    net = _core.Net([("dropout", "", (0,), {"p": 0.5}), ("dropout", "", (1,), {"p": 0.5})], 40)
    kept = (net.forward(nhwc(np.ones((20, 40, 3, 3))), train=True) != 0).mean()
    assert abs(kept - 0.25) < 0.02


# --- order of calls

NO_FORWARD = ("Net.backward: must follow a forward(..., train=True), got none since the last "
              "backward")
NO_BACKWARD = "Net.adam_step: must follow a backward, got none since the last step"


def refused(message, function, *args):
    with pytest.raises(RuntimeError) as error:
        function(*args)
    assert str(error.value) == message


def test_calls_out_of_order_are_refused(rng):
    net, _ = make(small_resnet(), rng)
    x, g = images(rng), np.ones((4, 5), np.float32)
    hypers = [[0.1], [0.9], [0.99], [1e-5], [0.0]]
    refused(NO_FORWARD, net.backward, g)
    refused(NO_BACKWARD, net.adam_step, *hypers)
    net.forward(x)
    refused(NO_FORWARD, net.backward, g)
    net.forward(x, train=True)
    refused(NO_BACKWARD, net.adam_step, *hypers)
    net.backward(g)
    refused(NO_FORWARD, net.backward, g)
    net.adam_step(*hypers)
    refused(NO_BACKWARD, net.adam_step, *hypers)
    net.forward(x, train=True)
    net.rollback()
    refused(NO_FORWARD, net.backward, g)


def test_a_prediction_between_forward_and_backward_changes_nothing(rng):
    nets = [make(small_resnet(), np.random.default_rng(1))[0] for _ in range(2)]
    x = images(rng)
    for net, predict in zip(nets, (False, True)):
        y = net.forward(x, train=True)
        if predict:
            net.forward(x)
            net.forward(x[:2])
        net.backward(np.ones_like(y))
    assert len(same(nets[0].gradients(), nets[1].gradients())) == len(nets[0].gradients())


def test_a_batch_too_large_for_memory_says_so():
    """268 TB: more than a process can address, so nothing is touched."""
    spec = [("conv", "c", (0,), {"out": 2**20, "kernel": 1}), ("avgpool", "", (1,), {})]
    net = _core.Net(spec, 1)
    with pytest.raises(MemoryError, match=r"^Net.forward: a batch of 1 images of 8000 x 8000 needs "
                       r"\d+.\d GB and \d+.\d GB are free; use smaller images$"):
        net.forward(np.zeros((1, 8000, 8000, 1), np.float32).transpose(0, 3, 1, 2))
    assert net.forward(np.zeros((1, 1, 1, 1), np.float32)).shape == (1, 2**20)


LIMITED = """
import re, resource, sys
import numpy as np
from mlclassify import _core
net = _core.Net([("conv", "c", (0,), {"out": 256, "kernel": 1}), ("relu", "", (1,), {}),
                 ("avgpool", "", (2,), {})], 1)
x = np.zeros((400, 40, 40, 1), np.float32).transpose(0, 3, 1, 2)
net.forward(x[:1])
with open("/proc/self/statm") as file:
    used = int(file.read().split()[0]) * resource.getpagesize()
resource.setrlimit(resource.RLIMIT_AS, (used + (300 << 20),) * 2)
try:
    net.forward(x, train=True)
except MemoryError as error:
    print(error)
    fits = int(re.search(r"batch of (\\d+) would fit", str(error))[1])
    print(net.forward(x[: fits * 9 // 10], train=True).shape[1])
"""


@pytest.mark.skipif(sys.platform != "linux", reason="RLIMIT_AS")
def test_the_largest_batch_that_fits_is_named():
    ran = subprocess.run([sys.executable, "-c", LIMITED], capture_output=True, text=True,
                         check=True, timeout=60)
    message, outputs = ran.stdout.splitlines()
    assert re.fullmatch(r"Net.forward: a batch of 400 images of 40 x 40 needs \d.\d GB and \d+ MB "
                        r"are free; a batch of \d+ would fit", message)
    assert outputs == "256"


def test_a_tensor_that_backward_writes_again(rng):
    """Batch norms in a row, read by several layers; frozen, the first reader runs no backward."""
    conv = {"out": 19, "kernel": 3, "padding": 1}
    spec = [("conv", "a", (0,), conv), ("batchnorm", "a1", (1,), {"relu": True}),
            ("batchnorm", "a2", (2,), {"relu": True}), ("batchnorm", "a3", (1,), {}),
            ("conv", "b", (3,), conv), ("conv", "c", (3,), conv),
            ("batchnorm", "c1", (6, 4), {"relu": True}), ("batchnorm", "sum", (5, 7), {}),
            ("avgpool", "", (8,), {}), ("linear", "fc", (9,), {"out": 3})]
    net, network = make(spec, rng)
    x = images(rng, side=9)
    assert relative(net.forward(x), network.forward(x, train=False)) < 2e-5
    for trained in (list(net.parameters()), ["b.weight", "fc.weight"], ["a2.bias"]):
        net.set_trainable(trained)
        trains_alike(net, network, x, rng, 2e-5, 2e-5)


@pytest.mark.parametrize("trained", [
    ["b.weight", "e.weight", "b1.bias", "fc.weight"], ["t.bias"], ["r.weight"], None])
def test_a_sum_that_backward_writes_again(trained, rng):
    """From a residual that is kept as long as anybody may ask first; and from one written again."""
    conv = {"out": 19, "kernel": 3, "padding": 1}
    spec = [("conv", "a", (0,), conv), ("conv", "r", (0,), conv),
            ("batchnorm", "r1", (2,), {}), ("batchnorm", "t", (1, 3), {"relu": True}),
            ("batchnorm", "u", (2, 4), {"relu": True}), ("conv", "b", (5,), conv),
            ("batchnorm", "b1", (6,), {"relu": True}), ("conv", "e", (7,), conv),
            ("conv", "c", (5,), conv), ("batchnorm", "sum", (8, 9), {"relu": True}),
            ("maxpool", "", (10,), {"kernel": 2, "stride": 2}),
            ("avgpool", "", (11,), {}), ("linear", "fc", (12,), {"out": 3})]
    net, network = make(spec, rng)
    x = images(rng, side=9)
    net.set_trainable(trained or list(net.parameters()))
    y, want = net.forward(x, train=True), network.forward(x, train=True)
    assert relative(y, want) < 2e-5
    g = rng.normal(size=y.shape).astype(np.float32)
    net.backward(g)
    grads = network.backward(g)
    for name, got in net.gradients().items():
        assert relative(got, grads[name]) < 2e-5, name


def stem(kernel=7, out=19, below=()):
    """Layers whose gradients are made row by row, under what sums them."""
    conv = {"out": out, "kernel": kernel, "stride": 2, "padding": kernel // 2}
    return [*below, ("conv", "c", (len(below),), conv),
            ("batchnorm", "n", (len(below) + 1,), {"relu": True}),
            ("maxpool", "", (len(below) + 2,), {"kernel": 3, "stride": 2, "padding": 1}),
            ("avgpool", "", (len(below) + 3,), {}),
            ("linear", "fc", (len(below) + 4,), {"out": 5, "bias": True})]


def check_bits_for_any_threads(spec, batch, side, rng, bound):
    """Gradients are near the definition's, and the same bits for 1, 2, 3 and 7 threads."""
    before = _core.get_num_threads()
    net, network = make(spec, rng)
    x = images(rng, batch, side)
    want = network.forward(x, train=True)
    g = rng.normal(size=want.shape).astype(np.float32)
    grads, results = network.backward(g), []
    try:
        for threads in (1, 2, 3, 7):
            _core.set_num_threads(threads)
            net.forward(x, train=True)
            net.backward(g)
            results.append({name: got.tobytes() for name, got in net.gradients().items()})
    finally:
        _core.set_num_threads(before)
    assert all(result == results[0] for result in results)
    for name, got in net.gradients().items():
        assert relative(got, grads[name]) < bound, name


@pytest.mark.parametrize("kernel, below", [
    (7, ()), (3, ()), (1, ()), (3, [("conv", "first", (0,), {"out": 6, "kernel": 2})])])
@pytest.mark.parametrize("batch, side", [(1, 9), (2, 23), (3, 67), (7, 12)])
def test_a_stem_has_the_same_bits_for_any_threads(kernel, below, batch, side, rng):
    check_bits_for_any_threads(stem(kernel, below=below), batch, side, rng, 5e-5)


@pytest.mark.parametrize("batch, side", [(1, 9), (3, 67), (5, 32)])
def test_an_mlp_has_the_same_bits_for_any_threads(batch, side, rng):
    spec = small_mlp(also=[("avgpool", "", (6,), {})])
    check_bits_for_any_threads(spec, batch, side, rng, 2e-5)


@pytest.mark.parametrize("trained", [
    ["fc1.weight"], ["fc1.bias", "fc2.bias"], ["fc2.weight"], ["norm.weight"], ["scale.gamma"],
    ["stem.weight", "stem.bias"]])
def test_an_mlp_partly_frozen(trained, rng):
    net, _ = make(small_mlp(also=[("avgpool", "", (6,), {})]), rng)
    x = images(rng, 3, 21)
    free = {}
    for names in (list(net.parameters()), trained):
        net.set_trainable(names)
        y = net.forward(x, train=True)
        net.backward(np.linspace(-1, 1, y.size, dtype=np.float32).reshape(y.shape))
        free = free or {name: g.copy() for name, g in net.gradients().items()}
    assert set(net.gradients()) == set(trained)
    assert len(same(net.gradients(), free)) == len(trained)


def test_threads_may_change_between_forward_and_backward(rng):
    before = _core.get_num_threads()
    net, _ = make(stem(), rng)
    x, results = images(rng, 4, 40), []
    try:
        for first, then in ((1, 1), (1, 7), (7, 1)):
            _core.set_num_threads(first)
            y = net.forward(x, train=True)
            _core.set_num_threads(then)
            net.backward(np.ones_like(y))
            results.append({name: got.tobytes() for name, got in net.gradients().items()})
    finally:
        _core.set_num_threads(before)
    assert results[1] == results[2] == results[0]


@pytest.mark.parametrize("trained", [
    ["c.weight"], ["n.weight"], ["n.bias", "fc.bias"], ["fc.bias"]])
def test_a_stem_partly_frozen(trained, rng):
    net, _ = make(stem(), rng)
    x = images(rng, 3, 21)
    step = np.linspace(-1, 1, 15, dtype=np.float32).reshape(3, 5)
    net.forward(x, train=True)
    net.backward(step)
    free = {name: g.copy() for name, g in net.gradients().items()}
    net.set_trainable(trained)
    net.forward(x, train=True)
    net.backward(step)
    assert set(net.gradients()) == set(trained)
    assert len(same(net.gradients(), free)) == len(trained)
    net.forward(x, train=True)
    net.backward(step, accumulate=True)
    for name, got in net.gradients().items():
        assert relative(got, 2 * free[name]) < 1e-5


def test_a_broadcast_batch_is_refused(rng):
    net, _ = make(small_resnet(), rng)
    with pytest.raises(ValueError, match="must be a transposed view of contiguous"):
        net.forward(np.broadcast_to(np.zeros((1, 3, 1, 1), np.float32), (4, 3, 9, 9)))


# --- times


def test_times_are_of_the_last_training_pass(rng):
    net, _ = make(small_resnet(), rng)
    spec = [(name, kind) for kind, name, *_ in small_resnet()]
    assert [t[:2] for t in net.times()] == spec
    assert not any(forward or backward for *_, forward, backward in net.times())
    x = images(rng)
    y = net.forward(x, train=True)
    assert all(forward > 0 and backward == 0 for *_, forward, backward in net.times())
    net.backward(y)
    passed = net.times()
    assert all(forward > 0 and backward > 0 for *_, forward, backward in passed)
    net.forward(x)
    assert net.times() == passed


# --- predictions of few photos, which read packed weights

# (channels, outputs, height, width, photos): whole and partial blocks of channels, one group of
# tiles and several, every kind of tile, sums over 16, 32 and 48 channels at a time.
FEW = [(64, 64, 15, 15, 1), (128, 128, 29, 30, 1), (256, 256, 14, 15, 2), (512, 512, 8, 8, 1),
       (512, 130, 7, 7, 1), (48, 260, 7, 9, 5), (80, 100, 6, 11, 2), (130, 145, 4, 4, 2)]


def single_conv(channels, out, exact=False, extra=()):
    """A 3x3 convolution of `channels` inputs, with batch norm and a residual."""
    return _core.Net([("conv", "one", (0,), {"out": channels, "kernel": 1}),
                      ("conv", "other", (0,), {"out": out, "kernel": 1}),
                      ("conv", "c", (1,), {"out": out, "kernel": 3, "padding": 1}),
                      ("batchnorm", "n", (3, 2), {"relu": True}), *extra], 3, exact)


@pytest.fixture
def any_threads():
    before = _core.get_num_threads()
    yield _core.set_num_threads
    _core.set_num_threads(before)


@pytest.mark.parametrize("channels, out, h, w, n", FEW)
def test_few_photos_are_predicted_as_by_direct_sums(channels, out, h, w, n, rng, any_threads):
    net, exact = single_conv(channels, out), single_conv(channels, out, exact=True)
    state = random_state(net, rng)
    net.load_state_dict(state)
    exact.load_state_dict(state)
    x, answers = nhwc(rng.normal(size=(n, 3, h, w))), []
    for threads in (1, 2, 3, 7):
        any_threads(threads)
        answers.append(net.forward(x))
    assert all(a.tobytes() == answers[0].tobytes() for a in answers)
    want = exact.forward(x)
    assert relative(answers[0], want) < 2e-6
    assert (answers[0] != want).any(), "both took the same way"


def test_packed_weights_follow_training_and_loading(rng):
    head = (("avgpool", "", (4,), {}), ("linear", "fc", (5,), {"out": 2}))
    net = single_conv(128, 128, extra=head)
    net.load_state_dict(random_state(net, rng))
    one, batch = images(rng, 1, 14), images(rng, 4, 14)

    def fresh():
        again = single_conv(128, 128, extra=head)
        again.load_state_dict(snapshot(net))
        return again.forward(one).tobytes()

    answers = [net.forward(one).tobytes()]
    for _ in range(2):
        step(net, batch)
        answers.append(net.forward(one).tobytes())
        assert answers[-1] == fresh()
    net.load_state_dict(random_state(net, rng))
    answers.append(net.forward(one).tobytes())
    assert answers[-1] == fresh()
    assert len(set(answers)) == 4


def test_threads_that_predict_first_at_the_same_time(rng):
    net = single_conv(128, 128)
    net.load_state_dict(random_state(net, rng))
    x = [images(rng, 1, side) for side in (14, 15, 14, 16)]
    with ThreadPoolExecutor(4) as pool:
        side_by_side = list(pool.map(net.forward, 5 * x))
    for got, one in zip(side_by_side, 5 * x):
        assert got.tobytes() == net.forward(one).tobytes()


def test_depthwise_has_the_same_bits_for_any_threads(rng, any_threads):
    spec = [("conv", "a", (0,), {"out": 40, "kernel": 1}),
            ("depthwise", "d", (1,), {"kernel": 5, "stride": 2, "padding": 2, "bias": True}),
            ("batchnorm", "n", (2,), {"relu": True}), ("avgpool", "", (3,), {})]
    net, _ = make(spec, rng)
    x, results = images(rng, 7, 33), []
    for threads in (1, 2, 3, 7):
        any_threads(threads)
        y = net.forward(x, train=True)
        net.backward(np.ones_like(y))
        grads = b"".join(g.tobytes() for g in net.gradients().values())
        net.rollback()
        results.append((y.tobytes(), grads, net.forward(x).tobytes()))
    assert all(result == results[0] for result in results)


@pytest.mark.parametrize("trained", [["d.bias"], ["d.weight"], ["a.weight"]])
def test_depthwise_partly_frozen(trained, rng):
    spec = [("conv", "a", (0,), {"out": 5, "kernel": 1}),
            ("depthwise", "d", (1,), {"kernel": 3, "padding": 1, "bias": True}),
            ("avgpool", "", (2,), {})]
    net, network = make(spec, rng)
    net.set_trainable(trained)
    x = images(rng, 3, 6)
    trains_alike(net, network, x, rng, 1e-5, 1e-5)
    once = {name: g.copy() for name, g in net.gradients().items()}
    assert set(once) == set(trained)
    g = np.ones((3, 5), np.float32)
    net.forward(x, train=True)
    net.backward(g)
    first = {name: g.copy() for name, g in net.gradients().items()}
    net.forward(x, train=True)
    net.backward(g, accumulate=True)
    for name, got in net.gradients().items():
        assert relative(got, 2 * first[name]) < 1e-6
