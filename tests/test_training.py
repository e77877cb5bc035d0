"""Eight training steps of ResNet-18 with fastai's head, beside the same in torch.

The recipe stands in the README of the golden numbers; this runs it on the bare engine. float32
torch is itself off its float64 by 3.5e-6 in the losses and 7.5e-5 in the last logits.
"""

import numpy as np
import pytest
from reference import nhwc
from safetensors.numpy import load_file

from mlclassify import _core

STEPS, FROZEN_STEPS, BATCH, LABELS = 8, 3, 8, 3


class Spec(list):
    """Layers from the first to the last; each call returns the tensor that its layer writes."""

    def __call__(self, kind, name, *inputs, **options):
        self.append((kind, name, inputs, options))
        return len(self)


def block(add, x, name, width, stride):
    y = add("conv", f"{name}.conv1", x, out=width, kernel=3, stride=stride, padding=1)
    y = add("batchnorm", f"{name}.bn1", y, relu=True)
    y = add("conv", f"{name}.conv2", y, out=width, kernel=3, padding=1)
    if stride > 1:
        x = add("conv", f"{name}.downsample.0", x, out=width, kernel=1, stride=stride)
        x = add("batchnorm", f"{name}.downsample.1", x)
    return add("batchnorm", f"{name}.bn2", y, x, relu=True)


def resnet18_with_head():
    add = Spec()
    x = add("conv", "conv1", 0, out=64, kernel=7, stride=2, padding=3)
    x = add("batchnorm", "bn1", x, relu=True)
    x = add("maxpool", "", x, kernel=3, stride=2, padding=1)
    for stage, width in enumerate((64, 128, 256, 512), 1):
        x = block(add, x, f"layer{stage}.0", width, 1 if stage == 1 else 2)
        x = block(add, x, f"layer{stage}.1", width, 1)
    x = add("batchnorm", "head.bn1", add("concatpool", "", x))
    x = add("relu", "", add("linear", "head.fc1", x, out=512))
    add("linear", "head.fc2", add("batchnorm", "head.bn2", x), out=LABELS)
    return list(add)


BODY_PARTS = {"0.0": "conv1", "0.1": "bn1", "0.4": "layer1", "0.5": "layer2", "0.6": "layer3",
              "0.7": "layer4", "1.2": "head.bn1", "1.3": "head.fc1", "1.5": "head.bn2",
              "1.6": "head.fc2"}


def our_name(numbered):
    """fastai's Sequential counts its parts: 0.4.1.bn2.weight is layer1.1.bn2.weight."""
    return BODY_PARTS[numbered[:3]] + numbered[3:]


class Run:
    """The recipe, run once; what the tests compare."""

    def __init__(self, weights, names):
        self.net = _core.Net(resnet18_with_head())
        self.names = names
        self.losses, self.logits, self.grad_norms = [], [], {}
        self.start(weights)
        draws = np.random.RandomState(4)
        for step in range(STEPS):
            x = draws.randn(BATCH, 3, 64, 64)
            y = (draws.rand(BATCH, LABELS) < 0.4).astype(np.float32)
            self.step(step, nhwc(x), y)

    def start(self, weights):
        state = {name: value for name, value in weights.items()
                 if not name.startswith("fc.") and not name.endswith("num_batches_tracked")}
        draws = np.random.RandomState(3)
        for name, shape in (("fc1", (512, 1024)), ("fc2", (LABELS, 512))):
            start = draws.randn(*shape) * np.sqrt(2 / shape[1])
            state[f"head.{name}.weight"] = start.astype(np.float32)
        for name, size in (("bn1", 1024), ("bn2", 512)):
            state[f"head.{name}.bias"] = np.full(size, 1e-3, np.float32)
        self.net.load_state_dict(state)
        parameters = self.net.parameters()
        body = [name for name in parameters if not name.startswith("head.")]
        norms = {name[: -len(".running_var")] for name in self.net.buffers()}
        weights_only = [name for name in parameters if name.rsplit(".", 1)[0] not in norms]
        self.net.set_groups([body, [name for name in parameters if name not in body]])
        self.net.set_decay(weights_only)
        self.net.set_trainable([n for n in parameters if n not in body or n not in weights_only])

    def step(self, step, x, y):
        if step == FROZEN_STEPS:
            self.net.set_trainable(list(self.net.parameters()))
            self.net.clear_state()
        logits = self.net.forward(x, train=True)
        grad = np.empty_like(logits)
        total = _core.bce_with_logits(logits, y, None, None, 0, False, True, None, grad)
        self.losses.append(total)
        self.logits.append(logits)
        self.net.backward(grad)
        if step in (0, FROZEN_STEPS):
            self.keep_gradients(step)
        lr = [1e-4, 1e-3] if step < FROZEN_STEPS else [1e-5, 5e-4]
        mom = (0.95, 0.9, 0.87)[step % 3]
        self.net.adam_step(lr, [mom] * 2, [0.99] * 2, [1e-5] * 2, [0.01] * 2)

    def keep_gradients(self, step):
        grads = self.net.gradients()
        self.grad_norms[step] = [norm(grads[n]) if n in grads else 0.0 for n in self.names]
        if step == FROZEN_STEPS:
            self.conv1 = grads["conv1.weight"].copy()
            self.slice = grads["layer4.1.conv2.weight"][:4, :4].copy()


def norm(x):
    return np.linalg.norm(x.astype(np.float64))


@pytest.fixture(scope="module")
def golden(shared):
    return np.load(shared("golden/training.npz"))


@pytest.fixture(scope="module")
def run(shared, golden):
    weights = load_file(shared("weights/resnet18-imagenet.safetensors"))
    return Run(weights, [our_name(name) for name in golden["param_names_f64"]])


def test_the_names_are_all_of_ours(run):
    assert set(run.names) == set(run.net.parameters())


def test_losses(run, golden):
    np.testing.assert_allclose(run.losses, golden["losses_f64"], rtol=0, atol=1e-5)


def test_logits_of_every_step(run, golden):
    np.testing.assert_allclose(run.logits, golden["logits_f64"], rtol=0, atol=5e-4)


@pytest.mark.parametrize("step", [0, FROZEN_STEPS])
def test_gradient_norms(run, golden, step):
    want = golden[f"grad_norms_step{step}_f64"]
    np.testing.assert_allclose(run.grad_norms[step], want, rtol=2e-4, atol=1e-7)


def test_two_gradients_in_full(run, golden):
    for got, name in ((run.conv1, "grad_conv1_step3_f64"),
                      (run.slice, "grad_layer4_conv2_step3_slice_f64")):
        assert norm(got - golden[name]) <= 5e-5 * norm(golden[name]), name


def test_parameters_at_the_end(run, golden):
    got = [norm(run.net.parameters()[name]) for name in run.names]
    np.testing.assert_allclose(got, golden["param_norms_end_f64"], rtol=1e-5)


def test_running_statistics_at_the_end(run, golden):
    kept = {our_name(name): want for name, want in
            zip(golden["buffer_names_f64"], golden["buffer_norms_end_f64"])
            if not name.endswith("num_batches_tracked")}
    got = {name: norm(value) for name, value in run.net.buffers().items()}
    assert got == pytest.approx(kept, rel=1e-5)


def test_evaluation_at_the_end(run, golden):
    x = nhwc(np.random.RandomState(5).randn(4, 3, 64, 64))
    np.testing.assert_allclose(run.net.forward(x), golden["eval_logits_end_f64"], rtol=0, atol=5e-4)
