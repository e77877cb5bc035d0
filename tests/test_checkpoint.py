"""Saved training: the same bits after a stop, and files that do not fit."""

import json

import numpy as np
import pytest
from test_schedule import bits
from tiny import tiny_learner

from mlclassify import checkpoint
from mlclassify.checks import MLClassifyWarning
from mlclassify.optim import SGD
from mlclassify.tracker import SaveModelCallback
from mlclassify.weights import ModelFileError, read_tensors, write_tensors


@pytest.fixture(autouse=True)
def quiet(monkeypatch):
    monkeypatch.setenv("MLCLASSIFY_PROGRESS", "0")


def learner(path, **options):
    return tiny_learner(40, 8, path=path, **options)


def test_a_fit_that_was_stopped_goes_on_to_the_bit(tmp_path, capsys):
    whole = learner(tmp_path)
    whole.freeze()
    whole.fit_one_cycle(4, 1e-2, cbs=SaveModelCallback(every_epoch=True, with_opt=True))
    again = learner(tmp_path, model_seed=5, seed=99)
    assert again.load("model_1") is again
    assert again.epochs_begun == 2 and again.seed == 7
    again.fit_one_cycle(4, 1e-2, start_epoch=2)
    assert bits(again) == bits(whole)
    capsys.readouterr()


def test_saving_and_loading_is_the_same_state(tmp_path):
    learn = learner(tmp_path)
    learn.fit(1, 1e-2)
    path = learn.save("a.b")
    assert path == tmp_path / "models" / "a.b.safetensors" and path.exists()
    assert [p.name for p in path.parent.iterdir()] == ["a.b.safetensors"]
    before = bits(learn)
    learn.fit(1, 1e-1)
    assert bits(learn.load("a.b")) == before


def test_without_the_optimizer(tmp_path):
    learn = learner(tmp_path, model_dir="kept")
    learn.fit(1, 1e-2)
    weights = bits(learn)[0]
    path = learn.save("w", with_opt=False)
    assert path.parent == tmp_path / "kept"
    learn.fit(1, 1e-1)
    moments, epochs = bits(learn)[1], learn.epochs_begun
    learn.load("w", with_opt=False)
    assert bits(learn)[:2] == (weights, moments) and learn.epochs_begun == epochs
    with pytest.warns(MLClassifyWarning, match="was saved without an optimizer; training starts"):
        learn.load("w")
    learn.save("both")
    assert bits(learner(tmp_path, model_dir="kept").load("both", with_opt=False))[1] == {}


def test_a_learner_that_was_never_trained_has_weights_only(tmp_path):
    learn = learner(tmp_path)
    learn.save("start")
    assert checkpoint.read_checkpoint(tmp_path / "models/start.safetensors").optimizer is None


def test_loading_forgets_the_novelty(tmp_path):
    learn = learner(tmp_path)
    learn.save("a", with_opt=False)
    learn.fit_novelty(k=2)
    with pytest.warns(MLClassifyWarning, match="load: another set of weights changes the feat"):
        learn.load("a", with_opt=False)
    assert learn.novelty is None


def rewritten(path, change):
    """The file with its JSON changed, and a hash that fits."""
    tensors, metadata = read_tensors(path, "test")
    about = json.loads(metadata["mlclassify.training"])
    change(about, tensors)
    metadata["mlclassify.training"] = text = json.dumps(about)
    metadata["mlclassify.sha256"] = checkpoint.digest(tensors, text)
    write_tensors(path, tensors, metadata)


@pytest.mark.parametrize("change, message", [
    (lambda a, t: a.update(vocab=["x", "y", "z"]),
     "must have the labels ['blue', 'green', 'red'], got ['x', 'y', 'z']"),
    (lambda a, t: a["optimizer"].update(name="Adamax"),
     "must fit this learner: its optimizer must be Adam, got Adamax"),
    (lambda a, t: a["optimizer"]["hypers"].pop(),
     "must fit this learner: Adam: `lr` must have 3 values, one a group, got 2"),
    (lambda a, t: a["optimizer"].update(trainable=["no"]), "must fit this learner: "),
    (lambda a, t: t.pop("conv1.weight"), "must fit this learner: load_state_dict: `state` must "),
    (lambda a, t: t.pop("optimizer.m.head.fc2.weight"), "must describe a training that this "),
    (lambda a, t: a["optimizer"].update(seed=-1), "must describe a training that this version "),
    (lambda a, t: a["optimizer"].update(epochs_begun=-1), "its epochs_begun must lie in [0, 2**3"),
    (lambda a, t: a["optimizer"]["state"].update({"head.fc2.weight": -3}),
     "must fit this learner: "),
    (lambda a, t: t.update(x=np.zeros(2)), "its tensors must be float32"),
    (lambda a, t: a.pop("vocab"), "must describe a training that this version knows: 'vocab'"),
])
def test_a_file_that_does_not_fit_changes_nothing(tmp_path, change, message):
    learn = learner(tmp_path)
    learn.freeze()
    learn.fit(1, 1e-2)
    rewritten(learn.save("a"), change)
    learn.unfreeze()
    learn.fit(1, 1e-2)
    before = bits(learn)
    with pytest.raises(ModelFileError) as caught:
        learn.load("a")
    assert str(caught.value).startswith("load: '") and message in str(caught.value)
    assert bits(learn) == before


def test_another_optimizer_is_refused(tmp_path):
    learn = learner(tmp_path)
    learn.fit(1, 1e-2)
    learn.save("a")
    other = learner(tmp_path, opt_func=SGD)
    before = bits(other)
    with pytest.raises(ModelFileError, match="its optimizer must be SGD, got Adam"):
        other.load("a")
    assert bits(other) == before and other.opt is None


def test_files_of_another_kind(tmp_path):
    learn = learner(tmp_path)
    with pytest.raises(FileNotFoundError, match="load: there is no file .*nothing.safetensors"):
        learn.load("nothing")
    path = learn.save("a")
    write_tensors(path, learn.model.state_dict())
    with pytest.raises(ModelFileError, match="must be a file that learn.save wrote; load_learner"):
        learn.load("a")
    learn.save("a")
    tensors, metadata = read_tensors(path, "test")
    write_tensors(path, tensors, metadata | {"mlclassify.checkpoint_version": "9"})
    wrong = "must have checkpoint version 1, got '9', which a later"
    with pytest.raises(ModelFileError, match=wrong):
        learn.load("a")
    tensors["conv1.weight"][:] = 0
    write_tensors(path, tensors, metadata)
    with pytest.raises(ModelFileError, match="must match its own hash; it is damaged or was"):
        learn.load("a")
    path.write_bytes(path.read_bytes()[:-1])
    with pytest.raises(ModelFileError, match="must be a whole safetensors file"):
        learn.load("a")
