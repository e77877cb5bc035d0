"""ConvNeXt: timm's names and sizes, its definition, its start, its weights, and what reads it."""

import numpy as np
import onnxruntime
import pytest
from reference import Network, random_state
from test_weight_names import digest
from tiny import LABELS, first, photos, second

from mlclassify import _core
from mlclassify.arrays import images_to_c
from mlclassify.data.block import DataBlock, empty_dataloaders
from mlclassify.data.split import EndSplitter
from mlclassify.gradcam import grad_cam, head_gradient, head_logits
from mlclassify.learner import Learner, load_learner
from mlclassify.vision.augment import Resize
from mlclassify.vision.backbones import (
    ARCHS,
    Architecture,
    _convnext_layers,
    _convnext_top,
    convnext_tiny,
)
from mlclassify.vision.models import create_classifier, create_model
from mlclassify.weights import ModelFileError, read_tensors, write_tensors

small = Architecture("small", lambda: _convnext_layers((1, 1, 2, 1), (8, 19, 24, 40)), 40,
                     (("stem", "stages"),), _convnext_top, "timm", std=0.02)


@pytest.fixture
def known(monkeypatch):
    """Make `small` an architecture that files may name."""
    monkeypatch.setitem(ARCHS, "small", small)


def stirred(model, seed=1):
    """A model as of a training: nothing at its start."""
    model.load_state_dict(random_state(model.net, np.random.default_rng(seed)))
    return model


def distance(got, want):
    """Relative distance in L2."""
    return np.linalg.norm(got - want) / np.linalg.norm(want)


# --- names, sizes, groups, start


def test_names_and_shapes_are_timms():
    """The digests are of the state dicts that timm 1.0.31 has."""
    model = create_classifier(convnext_tiny)
    state = model.state_dict()
    assert len(state) == 182 and model.num_parameters == 28_589_128
    body = {name: value for name, value in state.items() if not name.startswith("head.")}
    assert digest(body) == (178, "b9c96a68250f39a4")
    assert {n: v.shape for n, v in state.items() if n.startswith("head.")} == {
        "head.norm.weight": (768,), "head.norm.bias": (768,), "head.fc.weight": (1000, 768),
        "head.fc.bias": (1000,)}


def test_groups_are_fastais():
    model = create_model(small, 3)
    tops = [sorted({name.split(".")[0] for name in group}) for group in model.groups]
    assert tops == [["stages", "stem"], ["head"]]
    assert model.groups[1] == [n for n in model.parameters() if n.startswith("head.")]


def test_layer_norms_of_a_frozen_body_train_as_fastais():
    model = create_model(small, 3)
    model.freeze()
    body = [name for name in model.trainable if name in model.groups[0]]
    assert len(body) == 2 * (1 + 3 + 5)  # stem, downsampling, blocks; weight and bias
    assert all(".norm." in name or ".downsample.0." in name or name.startswith("stem.1.")
               for name in body)
    model.freeze_to(-1, train_bn=False)
    assert set(model.trainable) == set(model.groups[1])


def test_weight_decay_leaves_norms_and_biases_alone():
    model, without = create_model(small, 3), set()
    model.net.set_trainable(list(model.parameters()))
    before = model.state_dict()
    y = model.forward(images_to_c(np.zeros((2, 3, 32, 32))), train=True)
    model.backward(np.zeros_like(y))
    model.net.sgd_step([0.1] * 2, [0.0] * 2, [0.5] * 2)
    after = model.state_dict()
    without = {n for n in model.parameters() if np.array_equal(before[n], after[n])}
    assert without == {n for n in model.parameters() if n.endswith(".bias") or ".norm." in n
                       or ".bn" in n or ".downsample.0." in n or n.startswith("stem.1.")}


def test_the_start_is_timms():
    state = create_model(convnext_tiny, 3, seed=1).state_dict()
    for name, value in state.items():
        if name.startswith("head."):
            continue
        if name.endswith(".gamma"):
            assert (value == np.float32(1e-6)).all(), name
        elif name.endswith(".bias"):
            assert (value == 0).all(), name
        elif value.ndim == 1:
            assert (value == 1).all(), name
        else:
            assert value.std() == pytest.approx(0.02, rel=0.05), name
    assert state["head.fc1.weight"].std() == pytest.approx(np.sqrt(2 / 1536), rel=0.01)


# --- numbers


@pytest.mark.parametrize("h, w", [(64, 64), (96, 70), (33, 47)])
def test_it_computes_its_definition(h, w, rng):
    """Sizes that the patches do not fill leave rows and columns unread, as timm's do."""
    layers = small.layers()
    layers.add("concatpool", "pool", len(layers))
    net = _core.Net(list(layers), 3)
    state = random_state(net, rng)
    net.load_state_dict(state)
    network, x = Network(layers, state), rng.normal(size=(2, 3, h, w)).astype(np.float32)
    want = network.forward(x, train=True)
    assert distance(net.forward(images_to_c(x)), want) < 2e-6
    assert distance(net.forward(images_to_c(x), train=True), want) < 2e-6
    g = rng.normal(size=want.shape).astype(np.float32)
    net.backward(g)
    grads = network.backward(g)
    assert set(net.gradients()) == set(net.parameters())
    for name, got in net.gradients().items():
        assert distance(got, grads[name]) < 2e-5, name


def test_the_head_of_imagenet_computes_its_definition(rng):
    model = stirred(create_classifier(small, 7))
    x = rng.normal(size=(3, 3, 64, 64)).astype(np.float32)
    layers = small.layers()
    _convnext_top(layers, len(layers), 7)
    assert distance(model(x), Network(layers, model.state_dict()).forward(x)) < 5e-6


def test_gradients_are_the_same_bits_for_any_threads(rng):
    model, results = stirred(create_model(small, 3, ps=0.0)), []
    x, g = images_to_c(rng.normal(size=(5, 3, 72, 64))), rng.normal(size=(5, 3)).astype(np.float32)
    before = _core.get_num_threads()
    try:
        for threads in (1, 2, 3, 7):
            _core.set_num_threads(threads)
            model.forward(x, train=True)
            model.backward(g)
            results.append({n: v.tobytes() for n, v in model.net.gradients().items()})
    finally:
        _core.set_num_threads(before)
    assert all(result == results[0] for result in results)


# --- weights of others


def learner(seed=1, path="."):
    model = create_model(small, 5, seed=seed)
    return Learner(empty_dataloaders(list("abcde")), model, seed=1, path=path)


@pytest.mark.parametrize("names", [None, "timm", "fastai"])
def test_weights_go_out_and_come_back(names, tmp_path):
    learn, other = learner(path=tmp_path), learner(seed=2, path=tmp_path)
    stirred(learn.model)
    other.load_weights(learn.export_weights("out.safetensors", names))
    for name, value in other.model.state_dict().items():
        kept = name.startswith("head.") and names != "fastai"
        assert np.array_equal(value, learn.model.state_dict()[name]) != kept, name


def test_the_last_norm_of_timms_head_is_left_out(tmp_path):
    """Of a network of timm's, and of a learner of fastai's, which has it and never runs it."""
    learn, norm = learner(path=tmp_path), {"norm.weight": np.ones(40), "norm.bias": np.ones(40)}
    own = dict(stirred(learn.model).state_dict())
    body = {name: value for name, value in own.items() if not name.startswith("head.")}
    write_tensors(tmp_path / "timm.safetensors", body | {
        f"head.{name}": value for name, value in norm.items()} | {"head.fc.bias": np.ones(9)})
    fastais, _ = read_tensors(learn.export_weights(names="fastai"), "test")
    write_tensors(tmp_path / "fastai.safetensors", fastais | {
        f"0.model.head.{name}": value for name, value in norm.items()})
    for file, part in (("timm", body), ("fastai", own)):
        other = learner(seed=2, path=tmp_path).load_weights(f"{file}.safetensors")
        for name, value in part.items():
            np.testing.assert_array_equal(other.model.state_dict()[name], value)


def test_names_of_fastai():
    learn = learner()
    from mlclassify.weight_names import named_as

    names = set(named_as(learn.model.state_dict(), "fastai", "test"))
    assert {"0.model.stem.0.weight", "0.model.stages.0.blocks.0.gamma", "1.8.weight"} <= names


def test_a_file_that_lacks_a_gamma(tmp_path):
    state = create_model(small, 3).state_dict()
    del state["stages.2.blocks.1.gamma"]
    lacking = (r"small: w must hold all weights of the backbone under timm's names, got "
               r"'stages.2.blocks.1.gamma' missing")
    with pytest.raises(ModelFileError, match=lacking):
        create_model(small, 3, body=state, source="w")


# --- what reads the network


def trained(path="."):
    block = DataBlock(get_x=first, get_y=second, splitter=EndSplitter(), item_tfms=Resize(32))
    items = [(image, list(LABELS)[: i % 3 + 1]) for i, (image, _) in enumerate(photos(40))]
    dls = block.dataloaders(items, bs=8)
    model = stirred(create_model(small, len(LABELS), seed=3))
    learn = Learner(dls, model, lr=1e-3, seed=7, path=path)
    with learn.no_logging(), learn.no_bar():
        learn.fit(2)
    return learn


def test_a_learner_trains_saves_and_explains(known, tmp_path):
    learn = trained(tmp_path)
    losses = learn.recorder.losses
    assert np.mean(losses[-4:]) < np.mean(losses[:4])
    text = str(learn.summary())
    assert "stages.2.blocks.1.mlp.fc1" in text and "layerscale" in text
    photo = learn.dls.valid_ds[0][0]
    learn.fit_novelty(0.2, k=3)
    want = learn.predict(photo)
    learn.export("m.safetensors")
    got = load_learner(tmp_path / "m.safetensors").predict(photo)
    np.testing.assert_array_equal(got.probs, want.probs)
    assert got.novelty == want.novelty


def test_the_class_activation_map(rng):
    model = stirred(create_model(small, 3))
    assert model.last_map == "stages.3.blocks.0"
    x = rng.normal(size=(2, 3, 64, 96)).astype(np.float32)
    heat = grad_cam(model, x, 1)
    assert heat.shape == (2, 2, 3) and heat.any()


def test_the_gradient_of_imagenets_head_is_that_of_finite_differences(rng):
    model, feature_map = stirred(create_classifier(small, 4)), rng.normal(size=(2, 40, 2, 3))
    gradient, step = head_gradient(model, feature_map, 2), 1e-6
    for at in rng.integers(0, feature_map.size, 40):
        near = np.zeros(feature_map.size)
        near[at] = step
        near = near.reshape(feature_map.shape)
        up, down = (head_logits(model, feature_map + s * near)[0][:, 2].sum() for s in (1, -1))
        assert gradient.flat[at] == pytest.approx((up - down) / (2 * step), rel=1e-5, abs=1e-8)


@pytest.mark.parametrize("make", [create_model, create_classifier])
def test_onnx(make, tmp_path):
    model = stirred(make(small, 5), seed=2)
    learn = Learner(empty_dataloaders(list("abcde")), model, seed=1, path=tmp_path)
    session = onnxruntime.InferenceSession(str(learn.export_onnx()))
    r, seen = np.random.default_rng(5), []
    for i in range(6):
        pixels = r.integers(0, 256, (1 + i % 3, 64, 32 + 32 * (i % 2), 3), np.uint8)
        found = session.run(["probs"], {"pixels": pixels})[0]
        x = (pixels / 255).transpose(0, 3, 1, 2)
        np.testing.assert_allclose(found, learn.loss_func.activation(model(x)), rtol=0, atol=1e-4)
        seen.append(found)
    assert np.concatenate(seen).std(axis=0).min() > 1e-3  # they depend on the pixels
