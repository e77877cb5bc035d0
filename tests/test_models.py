"""Networks: names, shapes, groups, starts, and the numbers of torch."""

import numpy as np
import pytest
from PIL import Image
from reference import Network, random_state
from tiny import photos, tiny, tiny_loaders

from mlclassify import _core
from mlclassify.arrays import images_to_c
from mlclassify.gradcam import grad_cam
from mlclassify.learner import load_learner
from mlclassify.losses import BCEWithLogitsLossFlat
from mlclassify.optim import Adam
from mlclassify.tensor import Tensor
from mlclassify.vision.augment import imagenet_stats
from mlclassify.vision.backbones import (
    ARCHS,
    efficientnet_b0,
    mobilenetv3_large_100,
    resnet18,
    resnet34,
    resnet50,
    resnet101,
)
from mlclassify.vision.learner import vision_learner
from mlclassify.vision.models import create_classifier, create_model
from mlclassify.weights import ModelFileError, read_tensors


@pytest.fixture(scope="module")
def imagenet(shared):
    return read_tensors(shared("weights/resnet18-imagenet.safetensors"), "test")[0]


def test_classifier_has_torchvisions_names_and_sizes(imagenet):
    state = create_classifier(resnet18).state_dict()
    wanted = {k: v.shape for k, v in imagenet.items() if not k.endswith("num_batches_tracked")}
    assert {k: v.shape for k, v in state.items()} == wanted
    assert len(wanted) == 102
    assert create_classifier(resnet18).num_parameters == 11_689_512


# Counted on torchvision's and timm's own: tensors of the ImageNet classifier, and numbers that it
# learns.
SIZES = [(resnet34, 182, 21_797_672), (resnet50, 267, 25_557_032), (resnet101, 522, 44_549_160),
         (mobilenetv3_large_100, 266, 5_483_032), (efficientnet_b0, 311, 5_288_548)]


@pytest.mark.parametrize("arch, tensors, parameters", SIZES)
def test_other_backbones_have_the_sizes_of_torchvision_and_timm(arch, tensors, parameters):
    model = create_classifier(arch)
    assert len(model.state_dict()) == tensors and model.num_parameters == parameters
    assert ARCHS[arch.name] is arch


def test_a_bottleneck_has_torchvisions_names_and_shapes():
    shapes = {k: v.shape for k, v in create_classifier(resnet50).parameters().items()}
    assert {k: v for k, v in shapes.items() if "conv" in k and k.startswith("layer2.0")} == {
        "layer2.0.conv1.weight": (128, 256, 1, 1), "layer2.0.conv2.weight": (128, 128, 3, 3),
        "layer2.0.conv3.weight": (512, 128, 1, 1),
    }
    assert shapes["layer1.0.downsample.0.weight"] == (256, 64, 1, 1)
    assert shapes["layer2.0.downsample.0.weight"] == (512, 256, 1, 1)
    assert shapes["layer2.0.bn3.weight"] == (512,) and "layer1.1.downsample.0.weight" not in shapes


@pytest.mark.parametrize("arch", [resnet34, resnet50, mobilenetv3_large_100, efficientnet_b0])
def test_other_backbones_compute_their_definition(arch, rng):
    layers = arch.layers()
    net = _core.Net(list(layers), 3)
    state = random_state(net, rng)
    net.load_state_dict({k: v.astype(np.float32) for k, v in state.items()})
    x = rng.normal(size=(2, 3, 48, 40))
    want = Network(layers, state).forward(x)
    got = net.forward(images_to_c(x)).reshape(want.shape)
    assert np.abs(got - want).max() <= 2e-5 * np.abs(want).max()


MOBILE = [mobilenetv3_large_100, efficientnet_b0]


@pytest.mark.parametrize("arch", MOBILE)
def test_mobile_networks_train_by_their_definition(arch, rng):
    """Logits and all gradients of the networks of ImageNet, against float64."""
    model = create_classifier(arch, 5)
    state = random_state(model.net, rng)
    model.load_state_dict(state)
    network = Network([*arch.layers(), *model.head], state)
    x, g = rng.normal(size=(4, 3, 40, 33)), rng.normal(size=(4, 5)).astype(np.float32)
    got, want = model.forward(images_to_c(x), train=True), network.forward(x, train=True)
    assert np.linalg.norm(got - want) <= 1e-4 * np.linalg.norm(want)
    model.backward(g)
    wanted, gradients = network.backward(g), model.net.gradients()
    assert set(gradients) == set(wanted) - {"x"}
    off = sum(np.square(gradients[name] - wanted[name]).sum() for name in gradients)
    # Where rounding moves a number over a corner of an activation its slope is another's.
    assert off <= 1e-4 * sum(np.square(wanted[name]).sum() for name in gradients)


@pytest.mark.parametrize("arch, tops", [
    (mobilenetv3_large_100, ["blocks", "bn1", "conv_stem"]),
    (efficientnet_b0, ["blocks", "bn1", "bn2", "conv_head", "conv_stem"])])
def test_groups_of_timms_networks_are_fastais(arch, tops):
    """A body and a head; MobileNetV3's convolution after the mean is of the head of ImageNet."""
    groups = create_model(arch, 3).groups
    assert [sorted({name.split(".")[0] for name in g}) for g in groups] == [tops, ["head"]]
    assert len(create_model(arch, 3).parameters()["head.bn1.weight"]) == 2 * arch.features


@pytest.mark.parametrize("arch", MOBILE)
def test_the_start_of_mobile_networks_is_timms(arch):
    """Every convolution He's by outputs, of a depthwise one its own; no biases but zeros."""
    for name, value in create_classifier(arch, seed=3).parameters().items():
        if name.endswith("bias"):
            assert not value.any()
        elif value.ndim == 4 and value.size > 5000:
            depthwise = name.endswith("conv_dw.weight")
            fan = value.shape[2] ** 2 * (1 if depthwise else len(value))
            np.testing.assert_allclose(value.std(), np.sqrt(2 / fan), rtol=0.05)


@pytest.mark.parametrize("arch", MOBILE)
def test_squeezed_widths_are_the_papers(arch):
    """Of what is widened, in multiples of 8 (MobileNetV3); of what comes in (EfficientNet)."""
    found = [len(value) for name, value in create_model(arch, 2).parameters().items()
             if name.endswith("conv_reduce.weight")]
    assert found == {"mobilenetv3_large_100": [24, 32, 32, 120, 168, 168, 240, 240],
                     "efficientnet_b0": [8, 4, 6, 6, 10, 10, 20, 20, 20, 28, 28, 28, 48, 48, 48,
                                         48]}[arch.name]


def test_head_is_fastais():
    model = create_model(resnet18, 3)
    head = {k: v.shape for k, v in model.parameters().items() if k.startswith("head.")}
    assert head == {
        "head.bn1.weight": (1024,), "head.bn1.bias": (1024,), "head.fc1.weight": (512, 1024),
        "head.bn2.weight": (512,), "head.bn2.bias": (512,), "head.fc2.weight": (3, 512),
    }
    assert sum(int(np.prod(s)) for s in head.values()) == 528_896


@pytest.mark.parametrize("arch", [resnet18, resnet50])
def test_groups_are_fastais(arch):
    groups = create_model(arch, 3).groups
    tops = [sorted({name.split(".")[0] for name in group}) for group in groups]
    assert tops == [["bn1", "conv1", "layer1", "layer2"], ["layer3", "layer4"], ["head"]]


# --- numbers

def test_logits_are_torchs(shared, imagenet):
    golden = np.load(shared("golden/resnet18.npz"))
    model = create_classifier(resnet18)
    model.load_state_dict(imagenet)
    got = model(np.random.RandomState(2).randn(4, 3, 96, 96).astype("f4"))
    want = golden["logits_f64"]
    assert isinstance(got, Tensor) and np.abs(got - want).max() <= 2e-5 * np.abs(want).max()


def test_logits_of_photos_are_torchs(shared, imagenet):
    golden = np.load(shared("golden/resnet18.npz"))
    mean, std = (np.array(s) for s in imagenet_stats)
    files = [shared(str(f).removeprefix("data/")) for f in golden["photos"]]
    photos = [Image.open(f).convert("RGB") for f in files]
    x = [(np.asarray(p.resize((224, 224), Image.BILINEAR)) / 255 - mean) / std for p in photos]
    model = create_classifier(resnet18)
    model.load_state_dict(imagenet)
    got, want = model(np.array(x).transpose(0, 3, 1, 2)), golden["photo_logits_f64"]
    assert np.abs(got - want).max() <= 2e-5 * np.abs(want).max()


# The numbers of fastai's modules, in a head without dropout.
_BODY = {"0.0": "conv1", "0.1": "bn1", "0.4": "layer1", "0.5": "layer2", "0.6": "layer3",
         "0.7": "layer4", "1.2": "head.bn1", "1.3": "head.fc1", "1.5": "head.bn2",
         "1.6": "head.fc2"}


def our_name(fastais):
    """Return our name of a parameter that fastai calls by number."""
    a, b, rest = fastais.split(".", 2)
    return f"{_BODY[f'{a}.{b}']}.{rest}"


def test_eight_steps_of_training_are_torchs(shared, imagenet):
    golden = np.load(shared("golden/training.npz"))
    model = create_model(resnet18, 3, ps=0.0, body=imagenet)
    r = np.random.RandomState(3)
    linear = {}
    for name in ("head.fc1.weight", "head.fc2.weight"):
        shape = model.parameters()[name].shape
        linear[name] = (r.randn(*shape) * np.sqrt(2 / shape[1])).astype(np.float32)
    model.load_state_dict(linear, strict=False)
    body = model.groups[0] + model.groups[1]
    model.net.set_groups([body, model.groups[2]])
    model.net.set_decay([n for g in model.groups for n in g if not model._is_norm(n)])
    frozen = [n for n in body if not model._is_norm(n)]
    model.net.set_trainable([n for n in model.parameters() if n not in frozen])
    opt, loss_func = Adam(model.net, 2), BCEWithLogitsLossFlat()
    names = [our_name(n) for n in golden["param_names_f64"]]
    r, losses, grads = np.random.RandomState(4), [], {}
    for step in range(8):
        if step == 3:
            model.net.set_trainable(list(model.parameters()))
            opt.clear_state()
        x = r.randn(8, 3, 64, 64)
        y = (r.rand(8, 3) < 0.4).astype(np.float32)
        lr = [1e-4, 1e-3] if step < 3 else [1e-5, 5e-4]
        opt.set_hypers(lr=lr, mom=[0.95, 0.9, 0.87][step % 3])
        logits = model.forward(images_to_c(x), train=True)
        loss, gradient = loss_func.value_and_grad(logits, y)
        model.backward(gradient)
        if step == 3:
            grads = {k: v.copy() for k, v in model.net.gradients().items()}
        if step in (0, 3):
            have = model.net.gradients()
            norms = [np.linalg.norm(have[n].astype(float)) if n in have else 0 for n in names]
            np.testing.assert_allclose(norms, golden[f"grad_norms_step{step}_f64"], rtol=1e-3,
                                       atol=1e-7)
        opt.step()
        losses.append(loss)
    np.testing.assert_allclose(losses, golden["losses_f64"], atol=1e-5)
    assert distance(grads["conv1.weight"], golden["grad_conv1_step3_f64"]) <= 5e-5
    piece = grads["layer4.1.conv2.weight"][:4, :4]
    assert distance(piece, golden["grad_layer4_conv2_step3_slice_f64"]) <= 5e-5
    norms = [np.linalg.norm(model.parameters()[n].astype(float)) for n in names]
    np.testing.assert_allclose(norms, golden["param_norms_end_f64"], rtol=1e-5)
    check_buffers(model, golden)
    logits = model(np.random.RandomState(5).randn(4, 3, 64, 64))
    np.testing.assert_allclose(logits, golden["eval_logits_end_f64"], atol=5e-4)


def distance(got, want):
    """Relative distance in L2."""
    return np.linalg.norm(got - want) / np.linalg.norm(want)


def check_buffers(model, golden):
    buffers = model.net.buffers()
    for name, want in zip(golden["buffer_names_f64"], golden["buffer_norms_end_f64"]):
        if not name.endswith("num_batches_tracked"):
            got = np.linalg.norm(buffers[our_name(name)].astype(float))
            assert got == pytest.approx(want, rel=1e-5), name


# --- starting

def test_the_start_is_that_of_torchvision_and_fastai():
    state = create_model(resnet18, 3, seed=1).state_dict()

    def std(name):
        return state[name].astype(float).std()

    assert std("conv1.weight") == pytest.approx(np.sqrt(2 / (64 * 49)), rel=0.03)
    assert std("layer4.1.conv2.weight") == pytest.approx(np.sqrt(2 / (512 * 9)), rel=0.01)
    assert std("head.fc1.weight") == pytest.approx(0.0442, rel=0.01)
    assert std("head.fc2.weight") == pytest.approx(0.0625, rel=0.1)
    assert abs(state["head.fc1.weight"].mean()) < 1e-3
    for name, value in state.items():
        if "bn" in name or "downsample.1" in name:
            ends = {"weight": 1, "running_var": 1, "running_mean": 0,
                    "bias": np.float32(1e-3) if name.startswith("head.") else 0}
            assert (value == ends[name.rpartition(".")[2]]).all(), name


def test_the_start_is_normal():
    values = create_model(tiny, 400, seed=3).state_dict()["head.fc2.weight"].ravel() / 0.0625
    for cut, share in ((0, 0.5), (1, 0.8413), (2, 0.9772), (3, 0.99865)):
        assert (values < cut).mean() == pytest.approx(share, abs=0.003)
    assert np.isfinite(values).all()


def test_the_start_follows_from_the_seed():
    a, b, c = (create_model(tiny, 3, seed=s).state_dict() for s in (1, 1, 2))
    assert all(np.array_equal(a[k], b[k]) for k in a)
    assert not np.array_equal(a["conv1.weight"], c["conv1.weight"])


def test_the_head_starts_alike_with_and_without_a_body():
    body = create_model(tiny, 7, seed=5).state_dict()
    a, b = create_model(tiny, 3, seed=1), create_model(tiny, 3, seed=1, body=body)
    assert np.array_equal(a.parameters()["head.fc1.weight"], b.parameters()["head.fc1.weight"])
    assert np.array_equal(b.parameters()["conv1.weight"], body["conv1.weight"])
    assert (a.pretrained, b.pretrained) == (False, True)


# --- weights

def test_state_dict_is_a_copy():
    model = create_model(tiny, 3)
    state = model.state_dict()
    state["conv1.weight"][:] = 9
    assert not (model.parameters()["conv1.weight"] == 9).any()
    with pytest.raises(ValueError, match="read-only"):
        model.parameters()["conv1.weight"][:] = 9


def test_load_state_dict():
    model, state = create_model(tiny, 3, seed=1), create_model(tiny, 3, seed=2).state_dict()
    extra = {"bn1.num_batches_tracked": np.array(3)}
    assert model.load_state_dict({**state, **extra}) == ([], [])
    assert all(np.array_equal(v, state[k]) for k, v in model.state_dict().items())
    some = {"conv1.weight": state["conv1.weight"].astype(np.float64), "fc.bias": np.ones(3)}
    missing, unexpected = model.load_state_dict(some, strict=False)
    assert unexpected == ["fc.bias"] and len(missing) == len(state) - 1


def test_load_state_dict_is_all_or_nothing():
    model = create_model(tiny, 3, seed=1)
    before, other = model.state_dict(), create_model(tiny, 3, seed=2).state_dict()
    for bad in ({**other, "head.fc2.weight": np.ones((4, 512))}, {**other, "fc.bias": np.ones(3)},
                {k: v for k, v in other.items() if k != "conv1.weight"}):
        with pytest.raises(ValueError, match="load_state_dict: `state` must"):
            model.load_state_dict(bad)
        assert all(np.array_equal(v, before[k]) for k, v in model.state_dict().items())


def test_a_body_that_does_not_fit_is_named():
    body = create_model(tiny, 3).state_dict()
    missing = r"tiny: w.safetensors must hold all .* 'bn1.bias' missing"
    with pytest.raises(ModelFileError, match=missing):
        create_model(tiny, 3, body={k: v for k, v in body.items() if k != "bn1.bias"},
                     source="w.safetensors")
    shape = r"conv1.weight of shape \(8, 3, 3, 3\), got \(8,\)"
    with pytest.raises(ModelFileError, match=shape):
        create_model(tiny, 3, body={**body, "conv1.weight": np.ones(8)}, source="w.safetensors")


# --- freezing

@pytest.mark.parametrize("n, groups", [(0, 3), (1, 2), (2, 1), (-1, 1), (-3, 3)])
def test_freeze_to(n, groups):
    model = create_model(tiny, 3)
    model.freeze_to(n, train_bn=False)
    assert model.trainable == [name for g in model.groups[3 - groups :] for name in g]
    assert set(model.net.gradients()) == set(model.trainable)


def test_batch_norms_of_frozen_groups_train():
    model = create_model(tiny, 3)
    model.freeze()
    assert set(model.trainable) - set(model.groups[2]) == {
        "bn1.weight", "bn1.bias", "layer1.bn.weight", "layer1.bn.bias"}
    model.unfreeze()
    assert set(model.trainable) == set(model.parameters())


def test_repr():
    model = create_model(resnet18, 3)
    model.freeze()
    assert repr(model) == ("resnet18 for 3 labels: 11,705,408 parameters, "
                           "538,496 of them training")
    assert ARCHS["resnet18"] is resnet18
    assert repr(resnet18).startswith("Architecture(name='resnet18'")


# --- whole learners of them


@pytest.mark.parametrize("arch", [arch.name for arch in MOBILE])
def test_a_learner_of_a_mobile_network(arch, tmp_path, monkeypatch):
    """Named by a str: trained, frozen and not, saved both ways, and asked for all that it tells."""
    monkeypatch.setenv("MLCLASSIFY_PROGRESS", "0")
    dls = tiny_loaders(24, 8)
    learn = vision_learner(dls, arch, pretrained=False, seed=3, path=tmp_path)
    before = learn.model.state_dict()
    learn.fine_tune(1, freeze_epochs=1)
    after = learn.model.state_dict()
    assert [name for name in before if np.array_equal(before[name], after[name])] == []
    learn.save("half")
    again = vision_learner(dls, arch, pretrained=False, seed=4, path=tmp_path).load("half")
    pictures = [item[0] for item in photos(3, seed=9)]
    learn.fit_novelty(0.2, k=3, pretrained=False)
    again.novelty = learn.novelty
    loaded = load_learner(learn.export("whole.safetensors"))
    for got, plain, want in zip(loaded.predict(pictures), again.predict(pictures),
                                learn.predict(pictures)):
        np.testing.assert_array_equal(got.probs, want.probs)
        np.testing.assert_array_equal(plain.probs, want.probs)
        assert got.novelty == want.novelty
    lines = str(learn.summary()).splitlines()
    assert [line.split()[1:5] for line in lines if line.startswith("blocks.0.0.conv_dw")] == [
        ["depthwise", "16" if arch.startswith("mobile") else "32", "x", "8"]]
    heat = grad_cam(learn.model, np.zeros((1, 3, 64, 64), np.float32), 0)
    assert heat.shape == (1, 2, 2) and np.isfinite(heat).all()
