"""ONNX files: what another runtime answers from pixels is what `learn.predict` answers."""

import importlib.util
import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from tiny import photos, register, tiny, tiny_learner, tiny_loaders

from mlclassify import __version__
from mlclassify.arrays import images_to_c
from mlclassify.calibration import Calibration
from mlclassify.data.block import empty_dataloaders
from mlclassify.data.files import get_image_files
from mlclassify.functional import nn
from mlclassify.learner import Learner, load_learner
from mlclassify.losses import BaseLoss, BCEWithLogitsLossFlat
from mlclassify.novelty import Novelty
from mlclassify.onnx import IR_VERSION, OPSET
from mlclassify.vision.augment import (
    CropPad,
    Normalize,
    RandomResizedCrop,
    RandomResizedCropGPU,
    Resize,
    aug_transforms,
    imagenet_stats,
)
from mlclassify.vision.backbones import ARCHS
from mlclassify.vision.image import Image, open_image
from mlclassify.vision.models import build_backbone, create_classifier, create_model

if not os.environ.get("MLCLASSIFY_TEST_DATA"):
    pytest.importorskip("onnx", reason="pip install '.[test]' brings onnx")
    pytest.importorskip("onnxruntime", reason="pip install '.[test]' brings onnxruntime")
import onnx
import onnxruntime

EXAMPLE = Path(__file__).parents[1] / "examples" / "onnx_predict.py"
NORMALIZE = Normalize.from_stats(*imagenet_stats)


@pytest.fixture(autouse=True)
def quiet(monkeypatch):
    register(monkeypatch)
    monkeypatch.setenv("MLCLASSIFY_PROGRESS", "0")


@pytest.fixture(scope="module")
def example():
    """The example as a module."""
    spec = importlib.util.spec_from_file_location("onnx_predict", EXAMPLE)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def learner_of(model, item_tfms=(), batch_tfms=(NORMALIZE,), **options):
    """A learner without photos, as one from a file is."""
    labels = [f"label {i}" for i in range(model.n_out)]
    return Learner(empty_dataloaders(labels, item_tfms, batch_tfms), model, seed=1, **options)


def asked(path, pixels):
    """What onnxruntime answers, by name."""
    session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    return answered(session, pixels)


def answered(session, pixels):
    names = [output.name for output in session.get_outputs()]
    return dict(zip(names, session.run(names, {"pixels": np.stack(pixels)})))


def check_same(learn, found, pixels):
    """Compare what a runtime found with `predict`."""
    for i, want in enumerate(learn.predict(list(pixels))):
        np.testing.assert_allclose(found["probs"][i], want.probs, rtol=0, atol=1e-4)
        np.testing.assert_array_equal(found["mask"][i], want.mask)
        if learn.novelty is not None:
            np.testing.assert_allclose(found["novelty"][i], want.novelty, rtol=0, atol=1e-5)


def stir(model, seed):
    """Give batch norms statistics as of a training, and blocks that keep activations small."""
    r, state = np.random.default_rng(seed), model.state_dict()
    for name, value in state.items():
        if name.endswith("running_mean"):
            state[name] = r.normal(0, 0.1, value.shape)
        elif name.endswith("running_var") or ("bn" in name and name.endswith("weight")):
            state[name] = r.uniform(0.5, 1.5, value.shape)
        elif name.endswith("gamma"):
            state[name] = r.uniform(0.1, 0.5, value.shape)
        elif name.endswith("bias"):
            state[name] = value + r.normal(0, 0.1, value.shape)
    for name in state:
        last_of_block = name.startswith("layer") and name.endswith(
            "bn3.weight" if f"{name[:-10]}bn3.weight" in state else "bn2.weight")
        if last_of_block:
            state[name] = state[name] * 0.2
    model.load_state_dict(state)
    if model.arch.library == "timm":
        settle(model, r)


def settle(model, r):
    """Measure the statistics of a network whose factors would wear the photos away or blow up.

    On noise of many colors and contrasts: were the pictures alike, little differences would count.
    """
    for _ in range(40):
        contrast, color = r.uniform(0, 2, (8, 3, 1, 1)), r.normal(size=(8, 3, 1, 1))
        noise = r.normal(size=(8, 3, 64, 64))
        model.forward(images_to_c(contrast * noise + color), train=True)


# --- the network


@pytest.mark.parametrize("arch", [
    "resnet18", *(pytest.param(name, marks=pytest.mark.slow)
                  for name in ("resnet34", "resnet50", "resnet101", "mobilenetv3_large_100",
                               "efficientnet_b0", "convnext_tiny")),
])
def test_a_hundred_random_batches(arch, tmp_path):
    model = create_model(ARCHS[arch], 5, seed=3)
    stir(model, seed=4)
    learn = learner_of(model, path=tmp_path)
    session = onnxruntime.InferenceSession(str(learn.export_onnx()))
    r, seen = np.random.default_rng(5), []
    for i in range(100):
        h, w = ((48, 48), (64, 40))[i % 2]
        pixels = r.integers(0, 256, (1 + i % 3, h, w, 3), np.uint8)
        found = answered(session, pixels)
        x = normalized(pixels)
        np.testing.assert_allclose(found["probs"], learn.loss_func.activation(model(x)),
                                   rtol=0, atol=1e-4)
        seen.append(found["probs"])
    assert np.concatenate(seen).std(axis=0).min() > 1e-3  # they depend on the pixels
    check_same(learn, found, pixels)


def normalized(pixels):
    """The definition: float64, of (N, H, W, 3)."""
    mean, std = (np.array(v) for v in imagenet_stats)
    return ((pixels / 255 - mean) / std).transpose(0, 3, 1, 2)


@pytest.mark.parametrize("arch", [
    "resnet18", *(pytest.param(name, marks=pytest.mark.slow)
                  for name in ("resnet34", "resnet50", "resnet101", "mobilenetv3_large_100",
                               "efficientnet_b0", "convnext_tiny")),
])
def test_photos_of_every_backbone(arch, shared, tmp_path):
    model, backbone = create_model(ARCHS[arch], 5, seed=3), build_backbone(ARCHS[arch])
    backbone.start(seed=5)
    for i, network in enumerate((model, backbone)):
        stir(network, seed=i)
    learn = learner_of(model, [RandomResizedCrop(80)], path=tmp_path)
    files = list(get_image_files(shared("bears/teddy"))[:12])
    taught = learn._features(learn.dls.test_dl(files[:8]), backbone)
    learn.novelty = Novelty(taught, files[:8], 0.01, k=2, backbone=backbone)
    transform = learn.dls.valid.item_tfms[0]
    pixels = [np.asarray(transform.apply(open_image(f), None, False)) for f in files]
    found = asked(learn.export_onnx(), pixels)
    for i, want in enumerate(learn.predict(files)):
        np.testing.assert_allclose(found["probs"][i], want.probs, rtol=0, atol=1e-4)
        np.testing.assert_allclose(found["novelty"][i], want.novelty, rtol=0, atol=1e-5)
        np.testing.assert_array_equal(found["mask"][i], want.mask)
    assert (found["novelty"][:8] < 0.9).all()


@pytest.mark.parametrize("arch", ["resnet18", "mobilenetv3_large_100", "efficientnet_b0"])
def test_the_network_of_imagenet(arch, tmp_path):
    model = create_classifier(ARCHS[arch], 7, seed=2)
    stir(model, seed=3)
    learn = learner_of(model, [Resize(32)], path=tmp_path)
    pixels = np.random.default_rng(0).integers(0, 256, (2, 32, 32, 3), np.uint8)
    check_same(learn, asked(learn.export_onnx(), pixels), pixels)


def test_the_file(tmp_path):
    learn = tiny_learner(path=tmp_path, loss_func=BCEWithLogitsLossFlat(thresh=[.25, np.inf, .5]))
    learn.fit_novelty(0.2, k=3)
    path = learn.export_onnx("tiny.onnx")
    assert path == tmp_path / "tiny.onnx"
    model = onnx.load(path)
    onnx.checker.check_model(model, full_check=True)
    assert (model.opset_import[0].version, model.ir_version) == (OPSET, IR_VERSION)
    weights = {t.name: onnx.numpy_helper.to_array(t) for t in model.graph.initializer}
    for name, value in learn.model.state_dict().items():
        np.testing.assert_array_equal(weights[name], value)
    told = {p.key.removeprefix("mlclassify."): p.value for p in model.metadata_props}
    assert told["version"] == __version__ and told["arch"] == "tiny"
    read = {k: json.loads(v) for k, v in told.items() if k not in ("version", "arch")}
    assert read["vocab"] == ["blue", "green", "red"]
    assert read["thresh"] == [0.25, "inf", 0.5] and read["size"] == [16, 16]
    assert read["item_tfms"] == [["Resize", Resize(16).config()]]
    assert read["novelty"] == {"cut": learn.novelty.cut, "k": 3, "names": learn.novelty.names}
    (pixels,) = model.graph.input
    dims = pixels.type.tensor_type.shape.dim
    assert dims[0].dim_param == "N" and [d.dim_value for d in dims[1:]] == [16, 16, 3]


# --- what decides


def trained(tmp_path, **options):
    learn = tiny_learner(path=tmp_path, **options)
    with learn.no_logging():
        learn.fit(3, 1e-2)
    return learn


def test_thresholds_and_calibration(tmp_path):
    learn = trained(tmp_path)
    learn.loss_func.thresh = [0.3, -np.inf, np.inf]
    learn.loss_func.calibration = Calibration([0.5, 2.0, 1.0], [0.1, -0.2, 0.3])
    pixels = [image for image, _ in photos(8, seed=2)]
    found = asked(learn.export_onnx(), pixels)
    check_same(learn, found, pixels)
    assert found["mask"][:, 1].all() and not found["mask"][:, 2].any()
    assert set(found) == {"probs", "mask"}


def test_a_calibration_for_all_labels(tmp_path):
    learn = trained(tmp_path)
    learn.loss_func.calibration = Calibration(0.25, 0.5)
    pixels = [image for image, _ in photos(4, seed=2)]
    check_same(learn, asked(learn.export_onnx(), pixels), pixels)


def test_novelty(tmp_path):
    learn = trained(tmp_path, loss_func=BCEWithLogitsLossFlat(thresh=0.0))
    learn.fit_novelty(0.2, k=3)
    r = np.random.default_rng(1)
    known = [image for image, _ in photos(6, seed=2)]
    novel = list(r.integers(0, 256, (6, 16, 16, 3), np.uint8))
    black = [np.zeros((16, 16, 3), np.uint8)]
    found = asked(learn.export_onnx(), known + novel + black)
    check_same(learn, found, known + novel + black)
    is_novel = found["novelty"] > learn.novelty.cut
    assert is_novel.any() and not is_novel.all()
    np.testing.assert_array_equal(found["mask"].any(axis=1), ~is_novel)


def test_features_of_length_0_are_like_nothing(tmp_path):
    learn = tiny_learner(path=tmp_path)
    learn.fit_novelty(0.2, k=3)
    state = learn.model.state_dict()
    for part in ("weight", "bias"):
        state[f"layer1.bn.{part}"][:] = 0
    learn.model.load_state_dict(state)
    (pixels, _), = photos(1)
    found = asked(learn.export_onnx(), [pixels])
    assert found["novelty"].tolist() == [1.0] == [learn.predict(pixels).novelty]


# --- from pixels to images


@pytest.mark.parametrize("batch_tfms", [
    aug_transforms(size=12),
    aug_transforms(size=(20, 9), mode="nearest"),
    aug_transforms(size=24, align_corners=False, pad_mode="border"),
    [RandomResizedCropGPU(14, valid_scale=0.6)],
    [RandomResizedCropGPU((5, 30), ratio=(1, 1))],
    [RandomResizedCropGPU(5)],  # averaged before
], ids=str)
def test_batch_transforms_that_resize(batch_tfms, tmp_path):
    learn = learner_of(create_model(tiny, 3, seed=2), [Resize((32, 40))],
                       [*batch_tfms, NORMALIZE], path=tmp_path)
    pixels = np.random.default_rng(3).integers(0, 256, (4, 32, 40, 3), np.uint8)
    check_same(learn, asked(learn.export_onnx(), pixels), pixels)


def test_presizing_to_the_pixel(tmp_path):
    """Averaged from 200 to 120 and resampled to 60: only what is rounded may differ."""
    learn = learner_of(create_model(tiny, 3, seed=2), [Resize((200, 230))],
                       [*aug_transforms(size=60), NORMALIZE], path=tmp_path)
    pixels = np.random.default_rng(3).integers(0, 256, (1, 200, 230, 3), np.uint8)
    learn.export_onnx()
    model = onnx.load(tmp_path / "export.onnx")
    model.graph.output.append(onnx.helper.make_tensor_value_info("images", 1, None))
    session = onnxruntime.InferenceSession(model.SerializeToString())
    (images,) = session.run(["images"], {"pixels": pixels})
    with learn.no_bar():
        (want, *_) = learn.get_preds(dl=learn.dls.test_dl(list(pixels)), with_input=True)
    np.testing.assert_allclose(images, want, rtol=0, atol=1e-4)


ITEM_TFMS = [
    [Resize((30, 50))], [Resize((50, 30), "squish")],
    *([Resize((40, 33), "pad", mode)] for mode in ("reflection", "border", "zeros")),
    [RandomResizedCrop((44, 28))], [RandomResizedCrop(20, val_xtra=0.0)],
    [CropPad((60, 20))], [CropPad(90, "border"), Resize(32)], [],
]


@pytest.mark.parametrize("item_tfms", ITEM_TFMS, ids=str)
@pytest.mark.parametrize("shape", [(41, 67), (90, 35), (45, 45)])
def test_the_example_prepares_photos_as_predict_does(example, item_tfms, shape, tmp_path):
    learn = learner_of(create_model(tiny, 3, seed=2), item_tfms, path=tmp_path)
    file = tmp_path / "photo.png"
    Image.fromarray(np.random.default_rng(1).integers(0, 256, (*shape, 3), np.uint8)).save(file)
    labels, probs, novelty = example.Model(learn.export_onnx()).predict(file)
    want = learn.predict(file)
    np.testing.assert_allclose(probs, want.probs, rtol=0, atol=1e-5)
    assert labels == list(want.labels) and novelty is None


READABLE = ["exif_orient6.jpg", "rgba.png", "la.png", "gray16.png", "palette_trns.png", "cmyk.jpg",
            "webp_named.jpg", "animated.gif", "bilevel.png", "3000x3.png"]


def test_the_example_reads_what_predict_reads(example, shared, tmp_path):
    learn = learner_of(create_model(tiny, 3, seed=2), [Resize(32)], path=tmp_path)
    model = example.Model(learn.export_onnx())
    for name in READABLE:
        file = shared(f"torture/made/{name}")
        labels, probs, _ = model.predict(file)
        want = learn.predict(file)
        np.testing.assert_allclose(probs, want.probs, rtol=0, atol=1e-5, err_msg=name)
        assert labels == list(want.labels)


@pytest.fixture(scope="module")
def bears(shared, tmp_path_factory):
    """A learner of pretrained features that knows some bears, as loaded from its file."""
    from mlclassify.data.block import DataBlock
    from mlclassify.data.files import parent_label
    from mlclassify.data.split import RandomSplitter
    from mlclassify.vision.learner import vision_learner

    files = [f for kind in ("black", "grizzly", "teddy")
             for f in get_image_files(shared(f"bears/{kind}"))[:16]]
    block = DataBlock(get_y=parent_label, splitter=RandomSplitter(0.25, seed=1),
                      item_tfms=Resize(128), batch_tfms=aug_transforms(size=96))
    learn = vision_learner(block.dataloaders(files, bs=12), ARCHS["resnet18"], seed=1,
                           weights=shared("weights/resnet18-imagenet.safetensors"))
    with learn.no_bar(), learn.no_logging():
        learn.fit(3, 3e-3)
        learn.calibrate()
        learn.fit_novelty(0.1)
    assert learn.novelty.backbone is not None
    path = tmp_path_factory.mktemp("bears") / "bears.safetensors"
    learn.export(path)
    return load_learner(path)


def test_photos(bears, shared, tmp_path):
    """The example alone, in a Python that has no mlclassify: the labels of `predict`."""
    files = [f for kind in ("bears/grizzly", "bears/teddy", "ood/cats", "ood/other")
             for f in get_image_files(shared(kind))[-8:]]
    path = bears.export_onnx(tmp_path / "bears.onnx")
    code = ("import sys; sys.modules['mlclassify'] = None; import json, runpy\n"
            "model = runpy.run_path(sys.argv[1])['Model'](sys.argv[2])\n"
            "for file in sys.argv[3:]:\n"
            "    labels, probs, novelty = model.predict(file)\n"
            "    print(json.dumps([labels, probs.tolist(), novelty]))")
    run = subprocess.run([sys.executable, "-c", code, EXAMPLE, path, *files], text=True,
                         capture_output=True, timeout=100, cwd=tmp_path)
    assert run.returncode == 0, run.stderr
    answers = [json.loads(line) for line in run.stdout.splitlines()]
    assert len(answers) == len(files)
    for (labels, probs, novelty), want in zip(answers, bears.predict(files)):
        assert labels == list(want.labels)
        np.testing.assert_allclose(probs, want.probs, rtol=0, atol=1e-4)
        np.testing.assert_allclose(novelty, want.novelty, rtol=0, atol=1e-5)
    assert 8 < sum(bool(labels) for labels, *_ in answers) < len(files)


def test_the_example_prints(example, tmp_path, capsys):
    learn = trained(tmp_path)
    learn.fit_novelty(0.2)
    (pixels, _), = photos(1, seed=5)
    Image.fromarray(pixels).save(tmp_path / "photo.png")
    example.main(learn.export_onnx(), tmp_path / "photo.png")
    out = capsys.readouterr().out
    assert out.startswith(f"{tmp_path / 'photo.png'}: ") and "novelty" in out
    assert all(label in out for label in learn.dls.vocab)


# --- refused


def test_without_onnx(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "onnx", None)
    with pytest.raises(ImportError, match=r"pip install 'mlclassify\[onnx\]'"):
        tiny_learner(path=tmp_path).export_onnx()
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("name, kind, message", [
    ("model.safetensors", ValueError, "must end in .onnx"),
    ("none/model.onnx", FileNotFoundError, "folder that exists"),
    (3, TypeError, "path or str"),
])
def test_file_names(tmp_path, name, kind, message):
    with pytest.raises(kind, match=f"export_onnx: `fname` must .*{message}|{message}"):
        tiny_learner(path=tmp_path).export_onnx(name)


def test_a_write_that_fails_leaves_the_old_file(tmp_path, monkeypatch):
    learn = tiny_learner(path=tmp_path)
    path = learn.export_onnx()
    old = path.read_bytes()

    def full(handle):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match="export_onnx: `fname` must be a place.*No space") as caught:
        learn.export_onnx()
    assert caught.value.errno == 28
    assert path.read_bytes() == old and list(tmp_path.iterdir()) == [path]


class Square(BCEWithLogitsLossFlat):
    """A loss that decides in its own way."""

    def activation(self, x):
        return super().activation(x) ** 2


@pytest.mark.parametrize("loss", [Square(), BaseLoss(nn.BCEWithLogitsLoss)])
def test_losses_that_decide_otherwise(tmp_path, loss):
    with pytest.raises(ValueError, match="export_onnx: `loss_func` must decide"):
        tiny_learner(path=tmp_path, loss_func=loss).export_onnx()


def test_batch_transforms_need_photos_of_one_size(tmp_path):
    learn = learner_of(create_model(tiny, 3), [], aug_transforms(size=12), path=tmp_path)
    with pytest.raises(ValueError, match="export_onnx: `item_tfms` must bring all photos to one"):
        learn.export_onnx()


class Darken:
    """Changes colors at validation, too."""

    order = 50

    def plan(self, batch):
        batch.light(np.full(batch.n, -1.0), np.ones(batch.n))


def test_batch_transforms_that_change_colors(tmp_path):
    learn = tiny_learner(path=tmp_path, dls=tiny_loaders())
    learn.dls.add_batch_tfm(Darken())
    with pytest.raises(ValueError, match="export_onnx: `batch_tfms` must only resize"):
        learn.export_onnx()


def test_a_graph_beyond_the_format(tmp_path, monkeypatch):
    monkeypatch.setattr("mlclassify.onnx._LARGEST", 1000)
    with pytest.raises(ValueError, match="export_onnx: `learn` must fit into a file of 2 GiB"):
        tiny_learner(path=tmp_path).export_onnx()
