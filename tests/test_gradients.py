"""Gradients: those of the net against ``reference.py``, and those against central differences.

The second half closes the chain: the definition's own backward is checked by nothing but its
forward, in float64.
"""

import numpy as np
import pytest
from reference import ACTIVATIONS, LAYERS, Network, nhwc, random_state, small_resnet

from mlclassify import _core

# --- definitions against central differences


def differences(function, x, step=1e-6):
    """d function / dx by central differences; x is changed in place and restored."""
    gradient = np.zeros_like(x)
    for i in np.ndindex(x.shape):
        kept = x[i]
        values = []
        for sign in (1, -1):
            x[i] = kept + sign * step
            values.append(function())
        x[i] = kept
        gradient[i] = (values[0] - values[1]) / (2 * step)
    return gradient


CASES = {  # id: kind, shapes of the inputs, shapes of the parameters, options
    "conv": ("conv", [(2, 3, 5, 4)], {"weight": (2, 3, 3, 3)}, {"kernel": 3, "padding": 1}),
    "conv stride 2": ("conv", [(2, 2, 6, 5)], {"weight": (3, 2, 3, 3)},
                      {"kernel": 3, "stride": 2, "padding": 1}),
    "conv stride 3 kernel 2": ("conv", [(1, 2, 7, 8)], {"weight": (3, 2, 2, 2)},
                               {"kernel": 2, "stride": 3}),
    "conv 1x1": ("conv", [(2, 3, 3, 3)], {"weight": (4, 3, 1, 1)}, {"kernel": 1}),
    "depthwise": ("depthwise", [(2, 3, 5, 4)], {"weight": (3, 1, 3, 3), "bias": (3,)},
                  {"kernel": 3, "padding": 1}),
    "depthwise stride 2": ("depthwise", [(2, 2, 7, 6)], {"weight": (2, 1, 5, 5)},
                           {"kernel": 5, "stride": 2, "padding": 2}),
    "linear": ("linear", [(3, 4, 1, 1)], {"weight": (2, 4), "bias": (2,)}, {}),
    "linear no bias": ("linear", [(3, 4, 1, 1)], {"weight": (2, 4)}, {}),
    "batchnorm": ("batchnorm", [(3, 2, 3, 2)], {"weight": (2,), "bias": (2,)}, {}),
    "batchnorm relu": ("batchnorm", [(3, 2, 3, 2)], {"weight": (2,), "bias": (2,)}, {"relu": True}),
    "batchnorm residual relu": ("batchnorm", [(3, 2, 2, 2), (3, 2, 2, 2)],
                                {"weight": (2,), "bias": (2,)}, {"relu": True}),
    "conv with a bias": ("conv", [(2, 3, 4, 4)], {"weight": (2, 3, 2, 2), "bias": (2,)},
                         {"kernel": 2, "stride": 2}),
    "linear of pixels": ("linear", [(2, 4, 3, 2)], {"weight": (2, 4), "bias": (2,)}, {}),
    "layernorm": ("layernorm", [(2, 5, 3, 2)], {"weight": (5,), "bias": (5,)}, {"eps": 1e-3}),
    "layerscale": ("layerscale", [(2, 5, 3, 2), (2, 5, 3, 2)], {"gamma": (5,)}, {}),
    "batchnorm silu": ("batchnorm", [(3, 2, 3, 2)], {"weight": (2,), "bias": (2,)},
                       {"act": "silu"}),
    "linear of a convolution's shape": ("linear", [(3, 4, 1, 1)],
                                        {"weight": (2, 4, 1, 1), "bias": (2,)}, {"kernel": 1}),
    "relu": ("relu", [(2, 3, 3, 2)], {}, {}),
    "scale": ("scale", [(2, 3, 3, 2), (2, 3, 1, 1)], {}, {}),
    **{f"activation {act}": ("activation", [(2, 3, 3, 2)], {}, {"act": act})
       for act in ACTIVATIONS[1:]},
    "dropout": ("dropout", [(2, 3, 3, 2)], {}, {"p": 0.4}),
    "maxpool": ("maxpool", [(2, 2, 5, 6)], {}, {"kernel": 3, "stride": 2, "padding": 1}),
    "avgpool": ("avgpool", [(2, 3, 3, 2)], {}, {}),
    "concatpool": ("concatpool", [(2, 3, 3, 2)], {}, {}),
}


def test_every_kind_of_layer_has_a_case():
    assert {kind for kind, *_ in CASES.values()} == set(LAYERS)


@pytest.mark.parametrize("case", CASES)
def test_the_definition_of_backward_is_the_derivative_of_forward(case, rng):
    kind, shapes, param_shapes, options = CASES[case]
    inputs = [rng.normal(size=shape) for shape in shapes]
    params = {name: rng.normal(size=shape) for name, shape in param_shapes.items()}

    def run():
        buffers = {"running_mean": np.zeros(2), "running_var": np.ones(2)}
        return LAYERS[kind](inputs, params, options, train=True, buffers=buffers, index=3,
                            key=(1, 2, 3))

    y, backward = run()
    dy = rng.normal(size=y.shape)
    dinputs, dparams = backward(dy)
    assert len(dinputs) == len(inputs) and set(dparams) == set(params)
    for x, dx in [*zip(inputs, dinputs), *((params[name], dparams[name]) for name in params)]:
        want = differences(lambda: (run()[0] * dy).sum(), x)
        np.testing.assert_allclose(dx, want, rtol=0, atol=2e-8 * max(1, abs(want).max()))


# --- the net against the definitions

def relative(got, want):
    """Relative error in the L2 norm."""
    return np.linalg.norm(np.asarray(got, np.float64) - want) / max(np.linalg.norm(want), 1e-30)


def compare(spec, shape, rng, bound=2e-5):
    """Forward, backward and running statistics of one training batch; returns the net."""
    net = _core.Net(spec, shape[1])
    state = random_state(net, rng)
    net.load_state_dict(state)
    network, x = Network(spec, state), rng.normal(size=shape).astype(np.float32)
    y = net.forward(nhwc(x), train=True, seed=5, epoch=6, position=7)
    want = network.forward(x, train=True, key=(5, 6, 7))
    assert y.shape == want.shape and relative(y, want) < bound
    dy = rng.normal(size=want.shape).astype(np.float32)
    net.backward(dy if dy.ndim == 2 else nhwc(dy))
    grads = network.backward(dy)
    assert set(net.gradients()) == set(net.parameters())
    for name, got in net.gradients().items():
        assert relative(got, grads[name]) < bound, f"gradient of {name}"
    for name, got in net.buffers().items():
        assert relative(got, network.state[name]) < bound, name
    return net


def after_conv(*layers, out=19):
    """Layers above a 1x1 convolution, whose weight gradient shows the gradient they pass on."""
    return [("conv", "probe", (0,), {"out": out, "kernel": 1}), *layers]


# Kinds without parameters whose inputs are of one shape need no test of their own here.
PLAIN = [case for case, (_, shapes, params, _) in CASES.items()
         if not params and len(set(shapes)) == 1]


@pytest.mark.parametrize("h, w", [(5, 6), (9, 17)])
@pytest.mark.parametrize("case", PLAIN)
def test_plain_layers(case, h, w, rng):
    kind, shapes, _, options = CASES[case]
    compare(after_conv((kind, "layer", (1,) * len(shapes), options)), (2, 3, h, w), rng)


SIDES = [(1, 1), (2, 3), (5, 2), (7, 13), (17, 5), (31, 31)]


def fitting(windows):
    """Every window with every size of an image that it fits into."""
    return [(kernel, stride, padding, h, w) for kernel, stride, padding in windows
            for h, w in SIDES if min(h, w) + 2 * padding >= kernel]


@pytest.mark.parametrize("kernel, stride, padding, h, w", fitting([
    (1, 1, 0), (1, 2, 0), (1, 3, 0), (2, 1, 0), (2, 1, 1), (2, 2, 0), (2, 3, 1), (3, 1, 0),
    (3, 1, 1), (3, 1, 2), (3, 2, 1), (3, 3, 1), (3, 5, 2), (5, 1, 2), (5, 2, 0), (7, 1, 3),
    (7, 2, 3), (7, 3, 6)]))
def test_conv(kernel, stride, padding, h, w, rng):
    options = {"kernel": kernel, "stride": stride, "padding": padding}
    spec = after_conv(("conv", "c", (1,), {"out": 21} | options))
    compare(spec, (2, 3, h, w), rng)


@pytest.mark.parametrize("channels", [1, 3, 15, 16, 17, 100])
@pytest.mark.parametrize("out", [1, 15, 16, 17, 100])
@pytest.mark.parametrize("batch", [1, 3])
def test_conv_channels(channels, out, batch, rng):
    spec = after_conv(("conv", "c", (1,), {"out": out, "kernel": 3, "stride": 2, "padding": 1}),
                      out=channels)
    compare(spec, (batch, channels, 7, 5), rng)


@pytest.mark.parametrize("kernel, stride, padding, h, w", fitting([
    (3, 1, 1), (3, 2, 1), (5, 1, 2), (5, 2, 2), (7, 1, 3), (7, 2, 3), (3, 1, 0), (3, 1, 2),
    (5, 2, 0), (7, 2, 6), (3, 2, 2)]))
@pytest.mark.parametrize("bias", [False, True])
def test_depthwise(kernel, stride, padding, h, w, bias, rng):
    options = {"kernel": kernel, "stride": stride, "padding": padding, "bias": bias}
    compare(after_conv(("depthwise", "d", (1,), options)), (2, 3, h, w), rng)


@pytest.mark.parametrize("channels", [3, 16, 100])
@pytest.mark.parametrize("batch", [1, 5])
def test_depthwise_between_batch_norms(channels, batch, rng):
    """Its epilogue measures and applies one, and it reads what backward writes again of another."""
    spec = after_conv(("batchnorm", "a", (1,), {"relu": True}),
                      ("depthwise", "d", (2,), {"kernel": 5, "stride": 2, "padding": 2}),
                      ("batchnorm", "b", (3,), {"relu": True}),
                      ("depthwise", "e", (4,), {"kernel": 3, "padding": 1}),
                      ("batchnorm", "c", (5, 4), {}), out=channels)
    net = compare(spec, (batch, 3, 15, 17), rng, 1e-4)
    x = rng.normal(size=(batch, 3, 15, 17)).astype(np.float32)
    state = {k: v.copy() for k, v in (net.parameters() | net.buffers()).items()}
    assert relative(net.forward(nhwc(x)), Network(spec, state).forward(x)) < 2e-5


def test_depthwise_of_images(rng):
    """Read as they come, three channels a pixel, by the other layer."""
    spec = [("depthwise", "d", (0,), {"kernel": 3, "padding": 1}),
            ("conv", "c", (0,), {"out": 3, "kernel": 1}), ("batchnorm", "n", (1, 2), {})]
    compare(spec, (2, 3, 9, 8), rng)


@pytest.mark.parametrize("act", ACTIVATIONS[1:])
@pytest.mark.parametrize("side", [1, 5])
def test_activation(act, side, rng):
    compare(after_conv(("activation", "", (1,), {"act": act})), (3, 2, side, side + 1), rng)


@pytest.mark.parametrize("act", [act for act in ACTIVATIONS[1:] if "sigmoid" not in act])
def test_batchnorm_and_activation(act, rng):
    """Also above a convolution whose epilogue it is in a prediction, and under a maximum."""
    spec = after_conv(("batchnorm", "a", (1,), {"act": act}),
                      ("conv", "c", (2,), {"out": 40, "kernel": 3, "padding": 1}),
                      ("batchnorm", "b", (3,), {"act": act}),
                      ("maxpool", "", (4,), {"kernel": 3, "stride": 2, "padding": 1}), out=40)
    net = compare(spec, (3, 3, 14, 15), rng, 1e-4)
    x = rng.normal(size=(3, 3, 14, 15)).astype(np.float32)
    state = {k: v.copy() for k, v in (net.parameters() | net.buffers()).items()}
    assert relative(net.forward(nhwc(x)), Network(spec, state).forward(x)) < 2e-5


def excite(out, squeezed, residual=False):
    """A map, tensor 3, and squeeze-and-excitation of it."""
    return after_conv(("batchnorm", "n", (1,), {"act": "silu"}),
                      ("depthwise", "d", (2,), {"kernel": 3, "padding": 1}),
                      ("avgpool", "", (3,), {}),
                      ("linear", "reduce", (4,), {"out": squeezed, "bias": True, "kernel": 1}),
                      ("activation", "", (5,), {"act": "silu"}),
                      ("linear", "expand", (6,), {"out": out, "bias": True, "kernel": 1}),
                      ("activation", "", (7,), {"act": "sigmoid"}),
                      ("scale", "", (3, 8), {}),
                      ("conv", "after", (9,), {"out": 5, "kernel": 1}), out=out)


@pytest.mark.parametrize("out, squeezed", [(1, 1), (16, 4), (33, 17)])
@pytest.mark.parametrize("h, w", [(3, 2), (5, 1), (7, 13)])
@pytest.mark.parametrize("batch", [2, 5])
def test_squeeze_and_excitation(out, squeezed, h, w, batch, rng):
    compare(excite(out, squeezed), (batch, 3, h, w), rng, 1e-4)


@pytest.mark.parametrize("spec", [
    [("scale", "", (1, 2), {})], [("scale", "", (3, 2), {})]], ids=["once", "of what is scaled"])
def test_scale_of_a_map_that_others_read(spec, rng):
    """Gradients are added to what another reader has written, of the map and of the numbers."""
    spec = after_conv(("avgpool", "", (1,), {}), ("scale", "", (1, 2), {}), *spec,
                      ("batchnorm", "n", (4, 1), {}), ("scale", "", (5, 2), {}))
    compare(spec, (3, 2, 6, 5), rng, 1e-4)


# --- Winograd: what of a 3x3 convolution it takes, and what it leaves

@pytest.mark.parametrize("side", [1, 2, 3, 5, 7, 13, 17, 31])
@pytest.mark.parametrize("channels", [15, 33, 100])
@pytest.mark.parametrize("batch", [1, 2, 3, 7])
def test_conv_3x3_of_odd_sizes(side, channels, batch, rng):
    """Sizes on both sides of the choice between Winograd and direct sums."""
    spec = after_conv(("conv", "c", (1,), {"out": channels + 8, "kernel": 3, "padding": 1}),
                      out=channels)
    compare(spec, (batch, 2, side, side + batch), rng)


@pytest.mark.parametrize("side", [1, 2, 3, 5, 7, 13, 17, 31])
@pytest.mark.parametrize("channels", [15, 33, 100])
@pytest.mark.parametrize("batch", [1, 2, 7])
def test_conv_3x3_of_odd_sizes_and_stride_2(side, channels, batch, rng):
    spec = after_conv(("conv", "c", (1,), {"out": channels + 8, "kernel": 3, "stride": 2,
                                           "padding": 1}), out=channels)
    compare(spec, (batch, 2, side, side + batch), rng)


@pytest.mark.parametrize("h, w, ins, outs, batch", [
    (3, 4, 32, 80, 20), (6, 57, 48, 33, 3), (29, 15, 160, 300, 1), (14, 14, 260, 130, 5),
    (7, 7, 520, 64, 70), (8, 9, 64, 520, 6), (57, 57, 64, 64, 2)])
@pytest.mark.parametrize("stride", [1, 2])
def test_winograd_blocks(h, w, ins, outs, batch, stride, rng):
    """Block widths of 16, 32, 48 and 64, partial last blocks, one and several parts and blocks.

    For stride 2, maps of even and of odd sides that have outputs of these sizes.
    """
    h, w = (h, w) if stride == 1 else (2 * h, 2 * w - 1)
    spec = after_conv(("conv", "c", (1,), {"out": outs, "kernel": 3, "stride": stride,
                                           "padding": 1}), out=ins)
    compare(spec, (batch, 2, h, w), rng)


def windows(x):
    """The nine neighbours of every pixel of (N, H, W, C), zeros outside: (9, N, H, W, C)."""
    _n, h, w, _c = x.shape
    padded = np.pad(x, ((0, 0), (1, 1), (1, 1), (0, 0)))
    return np.stack([padded[:, r : r + h, s : s + w] for r in range(3) for s in range(3)])


def running_sum(a, b):
    """sum_i a[i] b[i] as a float32 loop of fused multiply-adds makes it."""
    total = np.zeros(np.broadcast_shapes(a.shape[1:], b.shape[1:]), np.float32)
    for x, y in zip(a.astype(np.float64), b.astype(np.float64)):
        total = (total + x * y).astype(np.float32)
    return total


def conv_step(exact, x, g, dy, stride):
    """y (N, H, W, K), d one (C, C) and dw (K, C, 3, 3) of a 3x3 convolution of x = one(x)."""
    c = x.shape[3]
    net = _core.Net([("conv", "one", (0,), {"out": c, "kernel": 1}),
                     ("conv", "c", (1,), {"out": len(g), "kernel": 3, "stride": stride,
                                          "padding": 1})], c, exact)
    net.load_state_dict({"one.weight": np.eye(c, dtype=np.float32).reshape(c, c, 1, 1),
                         "c.weight": g})
    y = net.forward(x.transpose(0, 3, 1, 2), train=True)
    net.backward(dy.transpose(0, 3, 1, 2))
    grads = net.gradients()
    return y.transpose(0, 2, 3, 1), grads["one.weight"][:, :, 0, 0], grads["c.weight"]


@pytest.mark.parametrize("side, channels, outs, batch, stride", [
    (56, 64, 64, 1, 1), (28, 128, 128, 1, 1), (14, 256, 256, 2, 1), (7, 512, 512, 12, 1),
    (57, 64, 64, 1, 1), (15, 256, 256, 2, 1), (56, 64, 128, 1, 2), (28, 128, 256, 1, 2),
    (14, 256, 512, 4, 2), (57, 64, 128, 1, 2), (29, 128, 256, 1, 2)])
def test_winograd_is_nearly_as_exact_as_a_direct_sum(side, channels, outs, batch, stride, rng):
    x = np.maximum(rng.normal(size=(batch, side, side, channels)), 0).astype(np.float32)
    after = -(-side // stride)
    dy = rng.normal(size=(batch, after, after, outs)).astype(np.float32)
    g = (rng.normal(size=(outs, channels, 3, 3)) / np.sqrt(9 * channels)).astype(np.float32)
    y, done, dw = conv_step(False, x, g, dy, stride)
    exact = conv_step(True, x, g, dy, stride)
    assert all((a != b).any() for a, b in zip((y, done, dw), exact)), "both took the same way"

    k = slice(0, 16)  # a float32 loop is slow: some channels, and some pixels of the forward pass
    around, filters = windows(x)[:, :, ::stride, ::stride], g.reshape(outs, channels, 9)
    near = np.moveaxis(around[:, 0, after // 2], 2, 0).reshape(channels * 9, after, 1)
    taps = np.moveaxis(filters[k], 0, 2).reshape(channels * 9, 1, 16)
    want = (near[..., 0].T.astype(float) @ taps[:, 0].astype(float))
    direct = relative(running_sum(near, taps), want)
    assert relative(y[0, after // 2, :, k], want) <= 2.5 * direct

    pixels = around[..., k].reshape(9, -1, 16)
    flat = dy[..., k].reshape(-1, 16)
    want = np.einsum("tpc,pk->kct", pixels.astype(float), flat.astype(float), optimize=True)
    direct = relative(running_sum(pixels[4, :, None, :], flat[:, :, None]), want[..., 4])
    assert relative(dw[k, k].reshape(16, 16, 9), want) <= 2.5 * direct

    turned = filters[:, :, ::-1].astype(float)
    spread = np.zeros((batch, side, side, outs))
    spread[:, ::stride, ::stride] = dy
    dx = sum(w.reshape(-1, outs) @ turned[:, :, t] for t, w in enumerate(windows(spread)))
    assert relative(done, dx.T @ x.reshape(-1, channels).astype(float)) <= 1.5e-6


@pytest.mark.parametrize("relu", [False, True])
@pytest.mark.parametrize("residual", [False, True])
@pytest.mark.parametrize("h, w", [(1, 2), (2, 3), (7, 13), (31, 17)])
def test_batchnorm(relu, residual, h, w, rng):
    inputs = (1, 2) if residual else (1,)
    spec = after_conv(("conv", "other", (0,), {"out": 19, "kernel": 1}),
                      ("batchnorm", "n", inputs, {"relu": relu, "eps": 1e-3, "momentum": 0.3}))
    compare(spec, (7, 3, h, w), rng)


def test_batchnorm_of_a_tensor_and_itself(rng):
    compare(after_conv(("batchnorm", "n", (1, 1), {"relu": True})), (2, 3, 4, 5), rng)


def test_batchnorm_of_the_images(rng):
    compare([("batchnorm", "n", (0,), {"relu": True})], (4, 3, 6, 5), rng)


@pytest.mark.parametrize("kernel, stride, padding, h, w", fitting([
    (1, 1, 0), (2, 2, 0), (2, 1, 1), (3, 2, 1), (3, 1, 1), (3, 3, 0), (5, 1, 2), (7, 3, 3),
    (2, 5, 0)]))
def test_maxpool(kernel, stride, padding, h, w, rng):
    options = {"kernel": kernel, "stride": stride, "padding": padding}
    compare(after_conv(("maxpool", "", (1,), options)), (3, 2, h, w), rng)


@pytest.mark.parametrize("relu", [False, True])
@pytest.mark.parametrize("below", ["images", "conv", "batchnorm"])
@pytest.mark.parametrize("readers", [1, 2])
def test_maxpool_of_a_batchnorm(relu, below, readers, rng):
    start = {"images": [], "conv": after_conv(),
             "batchnorm": after_conv(("batchnorm", "m", (1,), {"relu": True}))}[below]
    x = len(start)
    pool = ("maxpool", "", (x + 1,), {"kernel": 3, "stride": 2, "padding": 1})
    spec = [*start, ("batchnorm", "n", (x,), {"relu": relu}), *[pool] * readers,
            ("batchnorm", "sum", (x + 2, x + 1 + readers), {})]
    # A batch norm takes back the scale of one below it: that gradient is what cancelling leaves.
    compare(spec, (3, 3, 9, 6), rng, bound=5e-5 if below == "batchnorm" else 2e-5)


@pytest.mark.parametrize("kind, options", [
    ("relu", {}), ("dropout", {"p": 0.4}), ("dropout", {"p": 0.0}), ("avgpool", {}),
    ("concatpool", {})])
@pytest.mark.parametrize("h, w", [(1, 1), (2, 3), (7, 13)])
@pytest.mark.parametrize("channels", [1, 16, 17])
def test_layers_without_parameters(kind, options, h, w, channels, rng):
    compare(after_conv((kind, "", (1,), options), out=channels), (3, 2, h, w), rng)


@pytest.mark.parametrize("batch, inputs, out", [(1, 1, 1), (2, 3, 16), (3, 17, 100), (7, 100, 15)])
@pytest.mark.parametrize("bias", [False, True])
def test_linear(batch, inputs, out, bias, rng):
    spec = after_conv(("linear", "fc", (1,), {"out": out, "bias": bias}), out=inputs)
    compare(spec, (batch, 5, 1, 1), rng)


@pytest.mark.parametrize("h, w", [(1, 1), (2, 3), (7, 13), (31, 17)])
@pytest.mark.parametrize("inputs, out", [(3, 16), (17, 100), (70, 15)])
@pytest.mark.parametrize("bias", [False, True])
def test_linear_of_every_pixel(h, w, inputs, out, bias, rng):
    spec = after_conv(("linear", "fc", (1,), {"out": out, "bias": bias}), out=inputs)
    compare(spec, (3, 2, h, w), rng)


@pytest.mark.parametrize("act", ACTIVATIONS[1:])
@pytest.mark.parametrize("h, w", [(1, 1), (7, 13), (31, 31)])
def test_linear_goes_through_an_activation(act, h, w, rng):
    spec = after_conv(("linear", "a", (1,), {"out": 33, "bias": True}),
                      ("activation", "", (2,), {"act": act}),
                      ("linear", "b", (3,), {"out": 17}), ("batchnorm", "n", (4,), {}))
    compare(spec, (3, 2, h, w), rng, bound=5e-5)


@pytest.mark.parametrize("before", [
    ("batchnorm", "n", (1,), {}), ("layernorm", "n", (1,), {}), ("dropout", "", (1,), {"p": 0.3})])
def test_linear_goes_through_an_activation_of_what_is_written_again(before, rng):
    spec = after_conv(before, ("activation", "", (2,), {"act": "silu"}),
                      ("linear", "b", (3,), {"out": 17, "bias": True}))
    compare(spec, (3, 2, 9, 5), rng)


@pytest.mark.parametrize("readers", ["of the activation", "of what it reads"])
def test_linear_leaves_an_activation_with_other_readers_alone(readers, rng):
    more = 3 if readers == "of the activation" else 2
    spec = after_conv(("linear", "a", (1,), {"out": 33, "bias": True}),
                      ("activation", "", (2,), {"act": "gelu"}), ("linear", "b", (3,), {"out": 33}),
                      ("layerscale", "sum", (4, more), {}))
    compare(spec, (3, 2, 7, 5), rng)


@pytest.mark.parametrize("kernel, stride, padding", [
    (1, 1, 0), (2, 2, 0), (3, 1, 1), (4, 4, 0), (5, 3, 2), (7, 2, 3)])
@pytest.mark.parametrize("first", [False, True])
def test_conv_with_a_bias(kernel, stride, padding, first, rng):
    """Of the images, too; a 3x3 with one is not Winograd's."""
    conv = {"out": 35, "kernel": kernel, "stride": stride, "padding": padding, "bias": True}
    spec = [("conv", "c", (0,), conv)] if first else after_conv(("conv", "c", (1,), conv), out=33)
    compare(spec, (3, 3, 13, 9), rng)


@pytest.mark.parametrize("channels", [1, 3, 16, 17, 100])
@pytest.mark.parametrize("h, w", [(1, 1), (2, 3), (7, 13), (31, 17)])
def test_layernorm(channels, h, w, rng):
    spec = after_conv(("layernorm", "n", (1,), {"eps": 1e-2}), out=channels)
    compare(spec, (3, 3, h, w), rng)


def test_layernorm_of_the_images(rng):
    compare([("layernorm", "n", (0,), {})], (4, 3, 6, 5), rng)


@pytest.mark.parametrize("h, w", [(1, 1), (2, 3), (7, 13), (31, 17)])
def test_layerscale(h, w, rng):
    spec = after_conv(("conv", "other", (0,), {"out": 19, "kernel": 1}),
                      ("layerscale", "s", (1, 2), {}))
    compare(spec, (3, 3, h, w), rng)


def test_layerscale_of_a_tensor_and_itself(rng):
    compare(after_conv(("layerscale", "s", (1, 1), {})), (2, 3, 4, 5), rng)


def test_linear_of_the_input_itself(rng):
    compare([("linear", "fc", (0,), {"out": 3, "bias": True})], (4, 5, 1, 1), rng)


CONSUMERS = {
    "batchnorm": ("batchnorm", "y", (1,), {"relu": True}),
    "conv": ("conv", "y", (1,), {"out": 19, "kernel": 3, "padding": 1}),
    "strided conv above": ("conv", "y", (1,), {"out": 19, "kernel": 1, "stride": 1}),
    "relu": ("relu", "", (1,), {}),
    "gelu": ("activation", "", (1,), {"act": "gelu"}),
    "layernorm": ("layernorm", "y", (1,), {}),
    "linear": ("linear", "y", (1,), {"out": 19, "bias": True}),
    "layerscale": ("layerscale", "y", (1, 1), {}),
    "dropout": ("dropout", "", (1,), {"p": 0.2}),
    "maxpool": ("maxpool", "", (1,), {"kernel": 3, "stride": 1, "padding": 1}),
}


@pytest.mark.parametrize("first", CONSUMERS)
@pytest.mark.parametrize("second", CONSUMERS)
def test_a_tensor_with_two_readers_gets_both_gradients(first, second, rng):
    a, b = CONSUMERS[first], CONSUMERS[second]
    b = (b[0], b[1] and "z", *b[2:])
    # A batch norm takes back what only shifts or scales the channels below it.
    scaled = {"layernorm", "linear", "layerscale"} & {first, second}
    total = ("layerscale", {}) if scaled else ("batchnorm", {"relu": True})
    spec = after_conv(a, b, (total[0], "sum", (2, 3), total[1]))
    compare(spec, (3, 2, 7, 5), rng)


@pytest.mark.parametrize("pool", ["avgpool", "concatpool"])
def test_a_pooled_tensor_with_a_second_reader(pool, rng):
    """The pool reads what a convolution reads too, whose result is pooled and added."""
    spec = after_conv(
        (pool, "", (1,), {}), ("conv", "c", (1,), {"out": 19, "kernel": 3, "padding": 1}),
        (pool, "", (3,), {}), ("batchnorm", "sum", (2, 4), {}))
    compare(spec, (4, 2, 6, 5), rng)


def test_convolutions_that_share_an_input_with_different_borders(rng):
    spec = after_conv(
        ("conv", "wide", (1,), {"out": 17, "kernel": 5, "padding": 2, "stride": 2}),
        ("conv", "narrow", (1,), {"out": 17, "kernel": 1, "stride": 2}),
        ("batchnorm", "sum", (3, 2), {"relu": True}))
    compare(spec, (2, 3, 9, 7), rng)


# Batches of at least 5: the batch norm of two pooled images makes +-1 of any difference between
# them, and its gradient is what cancellation leaves.
@pytest.mark.parametrize("side, batch", [(17, 5), (31, 6), (40, 5), (13, 7)])
def test_a_residual_network(side, batch, rng):
    compare(small_resnet(), (batch, 3, side, side + 2), rng, bound=5e-5)


def test_a_residual_network_of_many_channels(rng):
    compare(small_resnet(width=70), (6, 3, 24, 24), rng, bound=5e-5)
