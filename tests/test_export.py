"""Saved learners: the same bits after loading, and nothing but whole files of this library."""

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import load_file
from tiny import LOSSES, photos, register, tiny_learner, tiny_loaders

from mlclassify import export
from mlclassify.data.block import DataBlock
from mlclassify.data.loaders import DataLoaders
from mlclassify.functional import nn
from mlclassify.learner import load_learner
from mlclassify.losses import BaseLoss, BCEWithLogitsLossFlat
from mlclassify.vision.augment import Normalize, Resize, aug_transforms
from mlclassify.weights import ModelFileError, read_tensors, write_tensors


@pytest.fixture(autouse=True)
def tiny_is_known(monkeypatch):
    register(monkeypatch)
    monkeypatch.setenv("MLCLASSIFY_PROGRESS", "0")


@pytest.fixture
def learn(tmp_path):
    """A learner that has learned a little."""
    learn = tiny_learner(path=tmp_path, loss_func=BCEWithLogitsLossFlat(thresh=[0.3, 0.5, np.inf]))
    with learn.no_logging():
        learn.fit(1, 1e-2)
    return learn


def test_a_loaded_learner_predicts_the_same_bits(learn, tmp_path):
    path = learn.export("bears.safetensors")
    assert path == tmp_path / "bears.safetensors"
    loaded = load_learner(path)
    for image, _ in photos(5, seed=4):
        ours, theirs = learn.predict(image), loaded.predict(image)
        assert list(ours.labels) == list(theirs.labels)
        for a, b in zip(ours[1:], theirs[1:]):
            np.testing.assert_array_equal(a, b)
        np.testing.assert_array_equal(ours.thresh, theirs.thresh)


def test_functions_of_a_notebook_need_not_be_there_to_load(tmp_path):
    block = DataBlock(get_x=lambda item: item[0], get_y=lambda item: item[1],
                      splitter=lambda items: (range(8), [8, 9]), item_tfms=Resize(16))
    learn = tiny_learner(dls=block.dataloaders(photos(10), bs=4), path=tmp_path)
    learn.export("lambdas.safetensors")
    image, _ = photos(1, seed=4)[0]
    np.save(tmp_path / "image.npy", image)
    asking = (
        "import numpy as np; from tiny import tiny; from mlclassify.vision.backbones import ARCHS; "
        "ARCHS['tiny'] = tiny; from mlclassify.learner import load_learner; "
        "told = load_learner('lambdas.safetensors').predict(np.load('image.npy')); "
        "print(told.probs.tolist())"
    )
    root = Path(__file__).parents[1]
    told = subprocess.run([sys.executable, "-c", asking], cwd=tmp_path, check=True, text=True,
                          capture_output=True, env={**os.environ, "PYTHONPATH": os.pathsep.join(
                              [str(root), str(root / "tests")])})  # fmt: skip
    assert json.loads(told.stdout) == learn.predict(image).probs.tolist()


@pytest.mark.parametrize("exact", [False, True])
def test_a_loaded_learner_convolves_in_the_same_way(learn, exact):
    old = learn.model
    learn.model = export.build_model(old.arch, 3, exact=exact)
    learn.model.load_state_dict(old.state_dict())
    assert load_learner(learn.export()).model.exact is exact


def test_a_file_without_exact_is_read(learn):
    path = learn.export()
    tensors, metadata = read_tensors(path, "test")
    config = json.loads(metadata[export._LEARNER])
    del config["exact"]
    text = json.dumps(config)
    metadata.update({export._LEARNER: text, export._HASH: export.digest(tensors, text)})
    write_tensors(path, tensors, metadata)
    assert load_learner(path).model.exact is False


def test_what_a_file_keeps(learn):
    for t in aug_transforms():
        learn.dls.add_batch_tfm(t)
    loaded = load_learner(learn.export())
    assert list(loaded.dls.vocab) == list(learn.dls.vocab)
    assert loaded.seed == learn.seed and loaded.epochs_begun == 1
    assert loaded.loss_func.thresh.tolist() == learn.loss_func.thresh.tolist()
    assert loaded.model.ps == learn.model.ps and loaded.model.pretrained
    for kind in ("item_tfms", "batch_tfms"):
        for part in ("train", "valid"):
            ours, theirs = (getattr(getattr(x.dls, part), kind) for x in (learn, loaded))
            assert [(type(t), t.config()) for t in ours] == [(type(t), t.config()) for t in theirs]
    for name, value in learn.model.state_dict().items():
        np.testing.assert_array_equal(loaded.model.state_dict()[name], value)


def test_a_file_is_safetensors_and_json(learn):
    tensors, metadata = read_tensors(learn.export(), "test")
    assert load_file(learn.export()).keys() == tensors.keys() == learn.model.state_dict().keys()
    described = json.loads(metadata["mlclassify.learner"])
    assert described["arch"] == "tiny" and described["vocab"] == ["blue", "green", "red"]
    assert described["loss"]["thresh"] == [float(np.float32(0.3)), 0.5, "inf"]
    assert ["Normalize", Normalize([0.485, 0.456, 0.406], [0.229, 0.224, 0.225]).config()] in (
        described["batch_tfms"])
    assert metadata["mlclassify.format_version"] == "1"


def test_a_loaded_learner_trains_on(learn):
    learn.export()
    loaded = load_learner(learn.path / "export.safetensors")
    loaded.dls = learn.dls
    for one in (learn, loaded):
        one.create_opt()
        with one.no_logging():
            one.fit(1, 1e-2)
    for name, value in learn.model.state_dict().items():
        np.testing.assert_array_equal(loaded.model.state_dict()[name], value)


def test_a_loaded_learner_has_no_photos_of_its_own(learn):
    loaded = load_learner(learn.export())
    assert isinstance(loaded.dls, DataLoaders) and loaded.dls.train.n == 0
    with pytest.raises(ValueError, match="must hold at least one batch"):
        loaded.fit(1)
    with pytest.raises(ValueError, match="`dls` must have the labels"):
        loaded.dls = _renamed(tiny_loaders())


def _renamed(dls):
    dls.train.dataset.vocab.items[0] = "cat"
    return dls


def test_saving_over_a_loaded_file(learn):
    path = learn.export()
    loaded = load_learner(path)
    loaded.path = learn.path
    assert loaded.export() == path
    image = photos(1)[0][0]
    np.testing.assert_array_equal(load_learner(path).predict(image)[2], learn.predict(image)[2])


def test_a_failed_save_leaves_the_old_file(learn, monkeypatch):
    path = learn.export()
    before = path.read_bytes()

    def full(_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match="No space"):
        learn.export()
    assert path.read_bytes() == before
    assert [p.name for p in learn.path.iterdir()] == [path.name]


@pytest.mark.parametrize("options", [
    {"thresh": 0.95}, {"thresh": [0.1, 0.2, 0.3]}, {"thresh": -np.inf}, {"reduction": "sum"},
    {"pos_weight": [1.0, 2.0, 3.0]}, {"weight": [1.0, 0.0, 0.5]}, {"label_smoothing": 0.1},
    {"pos_weight": "balanced", "missing": "mask"}, {"reduction": "sum", "flatten": False},
])
@pytest.mark.parametrize("cls", LOSSES)
def test_losses_come_back(cls, options, tmp_path):
    learn = tiny_learner(path=tmp_path, loss_func=cls(**options))
    loaded = load_learner(learn.export()).loss_func
    assert repr(loaded) == repr(learn.loss_func) and loaded.func.missing == options.get("missing")
    logits, targets = np.random.RandomState(1).randn(5, 3), np.eye(5, 3)
    for ours, theirs in zip(learn.loss_func.value_and_grad(logits, targets),
                            loaded.value_and_grad(logits, targets)):
        np.testing.assert_array_equal(ours, theirs)
    np.testing.assert_array_equal(loaded.thresh, learn.loss_func.thresh)
    assert np.shape(loaded.thresh) == np.shape(learn.loss_func.thresh)


class OfThePost(BaseLoss):
    """The loss that the post prints, as a notebook defines it."""

    def __init__(self, *args, axis=-1, floatify=True, thresh=0.5, **kwargs):
        super().__init__(nn.BCEWithLogitsLoss, *args, axis=axis, floatify=floatify, is_2d=False,
                         **kwargs)
        self.thresh = thresh

    def decodes(self, x):
        return x > self.thresh

    def activation(self, x):
        return 1 / (1 + (-x).exp())


class Contrary(OfThePost):
    def decodes(self, x):
        return x <= self.thresh


def test_a_loss_of_ones_own(tmp_path):
    learn = tiny_learner(path=tmp_path, loss_func=OfThePost(thresh=0.75))
    loaded = load_learner(learn.export())
    assert type(loaded.loss_func) is BCEWithLogitsLossFlat and loaded.loss_func.thresh == 0.75


def test_a_file_may_leave_out_what_losses_have_learnt_since(tmp_path):
    path = tiny_learner(path=tmp_path, loss_func=BCEWithLogitsLossFlat(thresh=0.75)).export()

    def as_before(described):
        for name in ("name", "label_smoothing", "missing"):
            del described["loss"][name]

    forge(path, as_before)
    assert load_learner(path).loss_func.thresh == 0.75


@pytest.mark.parametrize("loss", [nn.BCEWithLogitsLoss(), lambda x, y: 0, Contrary()])
def test_a_loss_that_no_file_can_hold(loss, tmp_path):
    learn = tiny_learner(path=tmp_path, loss_func=loss)
    with pytest.raises(ValueError, match="export: `loss_func` must .* a file holds no functions"):
        learn.export()
    assert not list(tmp_path.iterdir())


def test_a_transform_that_no_file_can_hold(learn):
    class Resize2(Resize):
        pass

    learn.dls.train.item_tfms = [Resize2(16)]
    known = "CropPad, RandomResizedCrop, Resize"
    with pytest.raises(ValueError, match=f"must be one of {known}, got Resize2"):
        learn.export()


# --- files that are not whole

def test_every_changed_byte_is_noticed(learn):
    path = learn.export()
    data = path.read_bytes()
    r = np.random.RandomState(0)
    for place in [*range(0, 400, 7), *r.randint(0, len(data), 60), len(data) - 1]:
        changed = bytearray(data)
        changed[place] ^= 1 << r.randint(8)
        path.write_bytes(changed)
        with pytest.raises(ModelFileError, match="export.safetensors"):
            load_learner(path)


def test_every_cut_is_noticed(learn):
    path = learn.export()
    data = path.read_bytes()
    for n in (0, 1, 8, 100, 2000, len(data) // 2, len(data) - 1):
        path.write_bytes(data[:n])
        with pytest.raises(ModelFileError, match="export.safetensors"):
            load_learner(path)


def test_foreign_files_are_named(learn, tmp_path):
    weights = tmp_path / "weights.safetensors"
    write_tensors(weights, learn.model.state_dict())
    with pytest.raises(ModelFileError, match=r"weights.safetensors.*vision_learner\(weights="):
        load_learner(weights)
    with pytest.raises(FileNotFoundError, match="nowhere.safetensors"):
        load_learner(tmp_path / "nowhere.safetensors")


def test_a_later_format_is_refused(learn, monkeypatch):
    monkeypatch.setattr(export, "FORMAT_VERSION", 2)
    path = learn.export()
    monkeypatch.undo()
    with pytest.raises(ModelFileError, match="must have format version 1, got '2'"):
        load_learner(path)


def forge(path, change):
    """Change the description in a file and give it the hash that belongs to it."""
    tensors, metadata = read_tensors(path, "test")
    described = json.loads(metadata[export._LEARNER])
    described = change(described) or described
    text = described if isinstance(described, str) else json.dumps(described)
    metadata[export._LEARNER] = text
    metadata[export._HASH] = export.digest(tensors, text)
    write_tensors(path, tensors, metadata)


FORGED = {
    "unknown architecture": lambda d: d.update(arch="os.system"),
    "unknown transform": lambda d: d.update(item_tfms=[["eval", {"size": 3}]]),
    "an item transform among the others": lambda d: d.update(batch_tfms=[["Resize", {"size": 3}]]),
    "unknown argument": lambda d: d.update(item_tfms=[["Resize", {"path": "/etc"}]]),
    "bad argument": lambda d: d.update(item_tfms=[["Resize", {"size": -3}]]),
    "more labels than outputs": lambda d: d["vocab"].append("x"),
    "many labels": lambda d: d.update(vocab=[str(i) for i in range(100000)]),
    "a label twice": lambda d: d.update(vocab=["a", "a", "b"]),
    "a label that is empty": lambda d: d.update(vocab=["a", "", "b"]),
    "labels that are no texts": lambda d: d.update(vocab=[1, 2, 3]),
    "threshold": lambda d: d["loss"].update(thresh=95),
    "thresholds of other labels": lambda d: d["loss"].update(thresh=[0.5, 0.5]),
    "threshold that is a text": lambda d: d["loss"].update(thresh="__import__"),
    "reduction": lambda d: d["loss"].update(reduction="none of these"),
    "negative weight": lambda d: d["loss"].update(weight=[-1.0]),
    "extra loss field": lambda d: d["loss"].update(cls="x"),
    "unknown loss": lambda d: d["loss"].update(name="eval"),
    "another loss's field": lambda d: d["loss"].update(clip=0.1),
    "smoothing": lambda d: d["loss"].update(label_smoothing=3),
    "what is missing": lambda d: d["loss"].update(missing=["mask"]),
    "balance without targets": lambda d: d["loss"].update(pos_weight="balanced"),
    "seed": lambda d: d.update(seed=-1),
    "epochs": lambda d: d.update(epochs_begun=2**40),
    "dropout": lambda d: d.update(ps=1.5),
    "type": lambda d: d.update(seed="7"),
    "missing field": lambda d: d.pop("vocab") and None,
    "extra field": lambda d: d.update(policy="trust me"),
    "no object": lambda d: "[1, 2]",
    "no JSON": lambda d: "{",
    "deep JSON": lambda d: "[" * 100000,
}


@pytest.mark.parametrize("what", FORGED)
def test_a_forged_description_is_refused(learn, what):
    path = learn.export()
    forge(path, FORGED[what])
    with pytest.raises(ModelFileError, match="export.safetensors' must describe a learner"):
        load_learner(path)


@pytest.mark.parametrize("change", [
    lambda t: t.pop("bn1.weight"), lambda t: t.update(extra=np.ones(2, np.float32)),
    lambda t: t.update({"bn1.weight": np.ones(9, np.float32)}),
    lambda t: t.update({"bn1.weight": np.ones(8, np.int32)}), lambda t: t.pop("head.fc2.weight"),
])
def test_forged_tensors_are_refused(learn, change):
    path = learn.export()
    tensors, metadata = read_tensors(path, "test")
    change(tensors)
    metadata[export._HASH] = export.digest(tensors, metadata[export._LEARNER])
    write_tensors(path, tensors, metadata)
    with pytest.raises(ModelFileError, match="export.safetensors' must describe a learner"):
        load_learner(path)
