"""Training that keeps its activations as bfloat16: gradients, memory, bits, files, messages."""

import json

import numpy as np
import pytest
import reference
from reference import Network, nhwc, random_state, small_resnet
from tiny import photos, register, tiny_learner

from mlclassify import _core, export
from mlclassify.callbacks import Callback, CancelFitException
from mlclassify.gradcam import grad_cam
from mlclassify.learner import load_learner
from mlclassify.vision.backbones import resnet18, resnet50
from mlclassify.vision.models import create_classifier
from mlclassify.weights import read_tensors, write_tensors

HALF = 2.0**-8  # of a number, bfloat16 loses no more


@pytest.fixture(autouse=True)
def as_it_was(monkeypatch):
    monkeypatch.setenv("MLCLASSIFY_PROGRESS", "0")
    register(monkeypatch)
    before = _core.get_num_threads()
    yield
    _core.set_num_threads(before)


def chain(width=32):
    """Convolutions of both algorithms and both strides, each under a batch norm."""
    layers = []
    for i, (kernel, stride) in enumerate([(3, 1), (3, 1), (3, 2), (1, 1), (5, 1)]):
        x = len(layers)
        layers += [("conv", f"c{i}", (x,), {"out": width, "kernel": kernel, "stride": stride,
                                            "padding": kernel // 2}),
                   ("batchnorm", f"n{i}", (x + 1,), {"relu": True})]
    return [*layers, ("avgpool", "", (len(layers),), {}),
            ("linear", "fc", (len(layers) + 1,), {"out": 4, "bias": True})]


def blocks(count=7, width=16):
    """Residual blocks one after another, the first with a batch norm beside it; borders differ."""
    layers = [("conv", "stem", (0,), {"out": width, "kernel": 3, "padding": 1}),
              ("batchnorm", "stem_bn", (1,), {"relu": True}),
              ("conv", "down", (2,), {"out": width, "kernel": 1}),
              ("batchnorm", "down_bn", (3,), {})]
    before, beside = 2, 4
    for i in range(count):
        x, kernel = len(layers), 1 + 2 * (i % 2)
        layers += [("conv", f"a{i}", (before,), {"out": width, "kernel": kernel,
                                                 "padding": kernel // 2}),
                   ("batchnorm", f"a{i}_bn", (x + 1,), {"relu": True}),
                   ("conv", f"b{i}", (x + 2,), {"out": width, "kernel": 1}),
                   ("batchnorm", f"b{i}_bn", (x + 3, beside), {"relu": i != 4})]
        before = beside = x + 4
    return [*layers, ("avgpool", "", (before,), {}),
            ("linear", "fc", (len(layers) + 1,), {"out": 4, "bias": True})]


def images(seed=0, n=6, side=17):
    """Whose numbers bfloat16 has."""
    x = np.random.default_rng(seed).normal(size=(n, 3, side, side)).astype(np.float32)
    return nhwc(reference.widen(reference.narrow(x)))


def passed(spec, bf16, x, trainable=None, exact=False):
    """The output and all gradients of a training pass, and the state it began with."""
    net = _core.Net(spec, 3, exact)
    state = random_state(net, np.random.default_rng(1))
    net.load_state_dict(state)
    net.set_bf16(bf16)
    if trainable is not None:
        net.set_trainable(trainable)
    y = net.forward(x, train=True, seed=5)
    net.backward(gradient_for(y))
    return y, {name: g.copy() for name, g in net.gradients().items()}, state


def gradient_for(y):
    return np.random.default_rng(2).normal(size=y.shape).astype(np.float32)


def relative(got, want):
    return np.linalg.norm(np.asarray(got, np.float64) - want) / np.linalg.norm(want)


def norm_of_a_copy(inputs, params, options, **_):
    """A batch norm of pixels kept as bfloat16, of which it measures what they were."""
    x, axes = inputs[0], (0, 2, 3)
    w, b = (params[name].reshape(1, -1, 1, 1) for name in ("weight", "bias"))
    inverse = 1 / np.sqrt(x.var(axes, keepdims=True) + 1e-5)
    xhat = (reference.widen(reference.narrow(x)) - x.mean(axes, keepdims=True)) * inverse
    z = w * xhat + b + sum(inputs[1:])
    on = z > 0 if options.get("relu") else np.ones_like(z, dtype=bool)

    def backward(dy):
        dz = np.where(on, dy, 0)
        rest = xhat * (dz * xhat).mean(axes, keepdims=True) + dz.mean(axes, keepdims=True)
        return ([w * inverse * (dz - rest), dz][: len(inputs)],
                {"weight": (dz * xhat).sum(axes), "bias": dz.sum(axes)})

    return np.where(on, z, 0), backward


def rounded(x):
    """Of float64, that are nearly float32."""
    return reference.widen(reference.narrow(x)).astype(float)


def conv_of_rounded(inputs, params, options, **_):
    """A convolution that rounds what it multiplies; for its weights, the input alone is."""
    near = params | {"weight": rounded(params["weight"])}
    y, data = reference.conv([rounded(inputs[0])], near, options)
    _, weights = reference.conv([rounded(inputs[0])], params, options)
    return y, lambda dy: (data(rounded(dy))[0], weights(dy)[1])


WIDE = {"out": 64, "kernel": 1}


def two_products(channels, options, rounds, exact=False):
    """The output of two convolutions and the gradient of the first one's weights: what a net says,
    and what its definition does, where the second convolution rounds what it multiplies or not."""
    spec = [("conv", "a", (0,), WIDE | {"out": channels}), ("conv", "b", (1,), options)]
    x = nhwc(np.random.default_rng(0).normal(size=(3, 48, 7, 9)))
    net = _core.Net(spec, 48, exact)
    state = random_state(net, np.random.default_rng(1))
    net.load_state_dict(state)
    net.set_bf16(True)
    y = net.forward(x, train=True)
    dy = nhwc(gradient_for(y))
    net.backward(dy)
    weight = {"weight": state["a.weight"].astype(float)}
    params = {name[2:]: value.astype(float) for name, value in state.items() if name[0] == "b"}
    a, _ = reference.conv([x.astype(float)], weight, spec[0][3])
    b, data = (conv_of_rounded if rounds else reference.conv)([a], params, options)
    _, weights = reference.conv([rounded(x)], weight, spec[0][3])  # which reads the copy of x
    return (y, net.gradients()["a.weight"]), (b, weights(data(dy.astype(float))[0][0])[1]["weight"])


@pytest.mark.parametrize("channels, options, rounds", [
    (64, WIDE, True), (80, WIDE | {"stride": 2}, True),
    (64, WIDE | {"out": 333, "bias": True}, True),
    (48, WIDE, False), (64, WIDE | {"out": 48}, False),
    (64, WIDE | {"kernel": 5, "padding": 2}, False)])
def test_wide_products_of_maps_are_of_rounded_numbers(channels, options, rounds):
    found, want = two_products(channels, options, rounds)
    _, other = two_products(channels, options, not rounds)
    for each, near, far in zip(found, want, other):
        assert relative(each, near) < 0.03 * HALF  # a number in thousands rounds to another one
        assert relative(each, far) > 0.3 * HALF


@pytest.mark.parametrize("act", ["gelu", "silu"])
def test_what_a_product_activates_it_rounds_then(act):
    spec = [("linear", "a", (0,), {"out": 128, "bias": True}),
            ("activation", "", (1,), {"act": act}), ("linear", "b", (2,), {"out": 80})]
    net, x = _core.Net(spec, 64), nhwc(np.random.default_rng(0).normal(size=(3, 64, 7, 9)))
    state = random_state(net, np.random.default_rng(1))
    net.load_state_dict(state)
    net.set_bf16(True)
    wide = {name: value.astype(float) for name, value in state.items()}
    first, _ = reference.linear([rounded(x)], {"weight": rounded(wide["a.weight"]),
                                               "bias": wide["a.bias"]}, {})
    between, _ = reference.LAYERS["activation"]([first], {}, {"act": act})
    want, plain = (reference.linear([round_(between)], {"weight": round_(wide["b.weight"])}, {})[0]
                   for round_ in (rounded, lambda x: x))
    y = net.forward(x, train=True)
    assert relative(y, want) < 0.03 * HALF and relative(y, plain) > 0.3 * HALF


def test_an_exact_net_rounds_no_products():
    found, want = two_products(64, WIDE, False, exact=True)
    assert all(relative(each, near) < 1e-6 for each, near in zip(found, want))


# A batch norm that is written again is written over the one before it, few of them at a time.
@pytest.mark.parametrize("spec", [chain(), blocks()], ids=["chain", "blocks"])
def test_a_pass_is_that_of_a_network_with_rounded_activations(monkeypatch, spec):
    x = images()
    y, grads, state = passed(spec, True, x)
    monkeypatch.setitem(reference.LAYERS, "batchnorm", norm_of_a_copy)
    network = Network(spec, state)
    assert relative(y, network.forward(x, train=True)) < 1e-3
    wants = network.backward(gradient_for(y))
    _, plain, _ = passed(spec, False, x)
    for name, g in grads.items():
        # Sums that round otherwise make one number in some thousands the next bfloat16.
        assert relative(g, wants[name]) < 2 * HALF, name
    assert np.mean([relative(g, wants[name]) for name, g in plain.items()]) > 4 * HALF


@pytest.mark.parametrize("exact", [False, True])
def test_a_residual_net_learns_nearly_what_float32_does(exact):
    x = images(side=40)
    y, grads, _ = passed(small_resnet(32), True, x, exact=exact)
    want, wants, _ = passed(small_resnet(32), False, x, exact=exact)
    assert 0 < relative(y, want.astype(float)) < 8 * HALF
    together = [np.concatenate([g.ravel() for g in each.values()]) for each in (grads, wants)]
    # Of all that ReLUs let through some parts in a thousand are others.
    assert 0 < relative(together[0], together[1].astype(float)) < 0.15


def test_layers_that_take_no_copies_read_floats():
    conv = {"out": 16, "kernel": 3, "padding": 1}
    spec = [("conv", "a", (0,), conv), ("relu", "", (1,), {}), ("conv", "b", (2,), conv),
            ("maxpool", "", (3,), {"kernel": 2, "stride": 2}), ("dropout", "", (4,), {"p": 0.2}),
            ("conv", "c", (5,), conv), ("batchnorm", "n", (6, 5), {"relu": True}),
            ("relu", "", (7,), {}), ("avgpool", "", (8,), {}),
            ("linear", "fc", (9,), {"out": 3})]
    x = images(side=12)
    y, grads, _ = passed(spec, True, x)
    want, wants, _ = passed(spec, False, x)
    assert relative(y, want.astype(float)) < HALF
    for name, g in grads.items():
        assert relative(g, wants[name].astype(float)) < 0.1, name


def test_head_and_predictions_stay_float32():
    spec = [("linear", "fc", (0,), {"out": 5, "bias": True})]
    x = nhwc(np.random.default_rng(0).normal(size=(4, 3, 1, 1)))
    (y, grads, _), (want, wants, _) = passed(spec, True, x), passed(spec, False, x)
    assert y.tobytes() == want.tobytes()
    assert all(g.tobytes() == wants[name].tobytes() for name, g in grads.items())
    net, x = _core.Net(small_resnet(32)), images(side=40)
    net.load_state_dict(random_state(net, np.random.default_rng(1)))
    before = net.forward(x)
    net.set_bf16(True)
    assert net.forward(x).tobytes() == before.tobytes()


@pytest.mark.parametrize("bf16", [False, True])
@pytest.mark.parametrize("spec", [small_resnet(32), blocks()], ids=["residual", "blocks"])
def test_what_is_frozen_changes_no_other_gradient(bf16, spec):
    x = images(side=40)
    _, whole, _ = passed(spec, bf16, x)
    names = list(whole)
    for trainable in names[-3:], names[::2], names[1::3], names[5:6], names[12:13]:
        _, some, _ = passed(spec, bf16, x, trainable)
        assert set(some) == set(trainable)
        for name in trainable:
            assert some[name].tobytes() == whole[name].tobytes(), name


@pytest.mark.parametrize("spec", [chain(), small_resnet(32), blocks()],
                         ids=["chain", "residual", "blocks"])
def test_the_same_bits_for_any_number_of_threads(spec):
    results = []
    for threads in (1, 2, 5):
        _core.set_num_threads(threads)
        y, grads, _ = passed(spec, True, images(side=40))
        results.append(y.tobytes() + b"".join(g.tobytes() for g in grads.values()))
    assert len(set(results)) == 1


def test_a_change_holds_from_the_next_forward_on():
    x, results = images(), []
    for change in False, True:
        net = _core.Net(chain())
        net.load_state_dict(random_state(net, np.random.default_rng(1)))
        y = net.forward(x, train=True)
        net.set_bf16(change)
        net.backward(gradient_for(y))
        results.append(b"".join(g.tobytes() for g in net.gradients().values()))
        net.set_bf16(False)
        assert net.forward(x, train=True).tobytes() == y.tobytes()
    assert len(set(results)) == 1


@pytest.mark.parametrize("arch, share", [(resnet18, 0.57), (resnet50, 0.5)])
def test_a_step_takes_half_of_the_memory(arch, share):
    model = create_classifier(arch, 3)
    whole, alone = model.net.memory(64, 224, 224, train=True), model.net.memory(64, 224, 224)
    model.set_bf16(True)
    assert model.net.memory(64, 224, 224, train=True) < share * whole
    assert model.net.memory(64, 224, 224) == alone < whole


@pytest.mark.parametrize("sizes, error, message", [
    ((0, 8, 8), ValueError, "Net.memory: `n` must be at least 1, got 0"),
    ((1, -1, 8), ValueError, "Net.memory: `h` must lie in [0, 1048576], got -1"),
    ((1, 8, 1.5), TypeError, "Net.memory: `w` must be an integer, got 1.5"),
])
def test_sizes_that_make_no_sense(sizes, error, message):
    with pytest.raises(error, match="^" + message.replace("[", r"\[")):
        _core.Net(chain()).memory(*sizes)


# --- learners and files

def state_of(learn):
    moments = learn.model.net.optimizer_state()
    return ({k: v.tobytes() for k, v in learn.model.state_dict().items()},
            {k: (step, m.tobytes(), v.tobytes()) for k, (step, m, v) in moments.items()})


def test_to_bf16_and_back_keep_what_was_learned():
    learn = tiny_learner()
    learn.fit(1)
    before = state_of(learn)
    assert learn.to_bf16() is learn and learn.model.bf16 and state_of(learn) == before
    assert learn.to_fp32() is learn and not learn.model.bf16 and state_of(learn) == before


def test_a_fit_in_bf16_is_reproducible_and_another():
    runs = []
    for learn in tiny_learner(), tiny_learner().to_bf16(), tiny_learner().to_bf16():
        learn.fit(2)
        runs.append((state_of(learn), learn.recorder.values[-1][0]))
    assert runs[1] == runs[2] and runs[0][0] != runs[1][0]
    assert abs(runs[0][1] - runs[1][1]) < 0.05 * runs[0][1]


def test_what_reads_a_trained_model_reads_float32():
    learn = tiny_learner(80, 16).to_bf16()
    learn.fit(2)
    (image, _), x = photos(1, seed=4)[0], learn.dls.valid.one_batch()[0]
    seen = []
    for _ in range(2):
        learn.fit_novelty(k=3)
        said, heat = learn.predict(image), grad_cam(learn.model, x, label=1)
        seen.append((said.probs.tolist(), said.novelty, heat.tobytes(), learn.validate()))
        learn.to_fp32()
    assert heat.max() > 0 and seen[0] == seen[1]


def test_an_interrupt_leaves_the_last_whole_step():
    class StopAt(Callback):
        def after_backward(self):
            if self.learn.training and self.learn.iter == 2:
                raise KeyboardInterrupt

    class CancelAt(Callback):
        def before_batch(self):
            if self.learn.training and self.learn.iter == 2:
                raise CancelFitException

    learn, twin = tiny_learner(80, 16).to_bf16(), tiny_learner(80, 16).to_bf16()
    with pytest.raises(KeyboardInterrupt):
        learn.fit(1, cbs=StopAt())
    twin.fit(1, cbs=CancelAt())
    assert state_of(learn) == state_of(twin)
    learn.fit(1)
    assert learn.model.first_not_finite() is None


def test_a_model_file_says_how_to_train(tmp_path):
    learn = tiny_learner(path=tmp_path).to_bf16()
    loaded = load_learner(learn.export())
    assert loaded.model.bf16 is True
    image, _ = photos(1, seed=4)[0]
    assert loaded.predict(image).probs.tolist() == learn.to_fp32().predict(image).probs.tolist()
    assert load_learner(learn.export()).model.bf16 is False


def test_a_file_without_bf16_is_read(tmp_path):
    path = tiny_learner(path=tmp_path).to_bf16().export()
    tensors, metadata = read_tensors(path, "test")
    config = json.loads(metadata[export._LEARNER])
    del config["bf16"]
    text = json.dumps(config)
    metadata.update({export._LEARNER: text, export._HASH: export.digest(tensors, text)})
    write_tensors(path, tensors, metadata)
    assert load_learner(path).model.bf16 is False


def test_the_summary_says_so():
    told = "activations in training: bfloat16"
    learn = tiny_learner()
    assert told not in learn.summary() and told in learn.to_bf16().summary()


def test_float16_is_refused():
    refused = (r"^Learner.to_fp16: float16 is not there; learn.to_bf16\(\) takes as little memory, "
               r"and needs no scaling of the loss$")
    with pytest.raises(NotImplementedError, match=refused):
        tiny_learner().to_fp16()
