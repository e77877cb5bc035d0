"""Files of other versions: what older ones wrote is read, what later ones wrote names its reader.

The files in tests/fixtures were written by the version that brought their format, and stay.
"""

import json
import math
import re
from pathlib import Path

import numpy as np
import pytest
from tiny import photos, register, tiny_learner

from mlclassify import __version__, checkpoint, export
from mlclassify.learner import load_learner
from mlclassify.vision.augment import AffineWarp, RandomResizedCrop, Resize
from mlclassify.vision.image import Image, resize_pad
from mlclassify.weights import ModelFileError, read_tensors, write_tensors

FIXTURES = Path(__file__).resolve().parent / "fixtures"


@pytest.fixture(autouse=True)
def tiny_is_known(monkeypatch):
    register(monkeypatch)
    monkeypatch.setenv("MLCLASSIFY_PROGRESS", "0")


def test_every_format_has_its_files():
    found = {path.name for path in FIXTURES.glob("*.safetensors")}
    assert found == {*(f"export-{n}.safetensors" for n in range(1, export.FORMAT_VERSION + 1)),
                     *(f"checkpoint-{n}.safetensors"
                       for n in range(1, checkpoint.FORMAT_VERSION + 1))}


@pytest.mark.parametrize("path", sorted(FIXTURES.glob("export-*.safetensors")), ids=str)
def test_an_export_of_each_format_says_what_it_said(path):
    """Sums differ in their last bits between instruction sets; 1e-4 leaves them room."""
    said = json.loads(path.with_suffix(".json").read_text())
    learn = load_learner(path)
    assert list(learn.dls.vocab) == said["vocab"]
    assert (learn.epochs_begun, learn.seed) == (said["epochs_begun"], said["seed"])
    found = [learn.predict(image) for image, _ in photos(**said["photos"])]
    np.testing.assert_allclose([one.probs for one in found], said["probs"], atol=1e-4)
    np.testing.assert_allclose([one.novelty for one in found], said["novelty"], atol=1e-4)
    assert [list(one.labels) for one in found] == said["labels"]


@pytest.mark.parametrize("path", sorted(FIXTURES.glob("checkpoint-*.safetensors")), ids=str)
def test_a_checkpoint_of_each_format_goes_on(path, tmp_path):
    """It is the training of the export beside it, so their weights are the same."""
    learn = tiny_learner(path=tmp_path, model_dir=path.parent).load(path.stem)
    exported = load_learner(path.with_name(path.name.replace("checkpoint", "export")))
    assert learn.epochs_begun == exported.epochs_begun == 3
    for name, value in exported.model.state_dict().items():
        np.testing.assert_array_equal(learn.model.state_dict()[name], value)
    assert learn.opt.state_dict()["state"]
    with learn.no_logging(), learn.no_bar():
        learn.fit(1, 1e-2)
    assert np.isfinite(learn.recorder.losses).all()


# --- later ones

def saved(tmp_path, kind):
    """A file that `kind` wrote, where its metadata keep version and text, and how it is read."""
    learn = tiny_learner(path=tmp_path, model_dir=".")
    if kind == "export":
        return learn.export(), "format_version", "learner", load_learner
    learn.create_opt()
    return learn.save("a"), "checkpoint_version", "training", lambda path: learn.load(path.stem)


@pytest.mark.parametrize("writer, wanted", [
    ("0.3.0", "'mlclassify>=0.3.0'"), ("1.2rc1", "'mlclassify>=1.2rc1'"),
    ("0.3 --upgrade evil", "'mlclassify'"), ("", "'mlclassify'"), (None, "'mlclassify'"),
    (["0.3.0"], "'mlclassify'"), ("9" * 5000, "'mlclassify'"), ("1.0\n", "'mlclassify'"),
])
@pytest.mark.parametrize("kind", ["export", "save"])
def test_a_later_file_names_the_version_to_install(kind, writer, wanted, tmp_path):
    path, version, text, read = saved(tmp_path, kind)
    tensors, metadata = read_tensors(path, "test")
    about = json.loads(metadata[f"mlclassify.{text}"])
    assert about["written_by"] == __version__
    about["written_by"] = writer
    later = {f"mlclassify.{version}": "2", f"mlclassify.{text}": json.dumps(about)}
    write_tensors(path, tensors, metadata | later)
    with pytest.raises(ModelFileError) as caught:
        read(path)
    assert str(caught.value).endswith(
        "version 1, got '2', which a later mlclassify wrote; pip install --upgrade " + wanted)


@pytest.mark.parametrize("text", ["", "[" * 100_000, "[]", "{}", "\0"])
def test_a_later_file_may_say_nothing_of_its_writer(text, tmp_path):
    path, _, _, read = saved(tmp_path, "export")
    tensors, metadata = read_tensors(path, "test")
    write_tensors(path, tensors, metadata | {"mlclassify.format_version": "17",
                                             "mlclassify.learner": text})
    with pytest.raises(ModelFileError, match="got '17', .* pip install --upgrade 'mlclassify'$"):
        read(path)


@pytest.mark.parametrize("found", ["0", "-1", "1.0", "", "two", "²", "9" * 5000])
@pytest.mark.parametrize("kind", ["export", "save"])
def test_what_is_no_version_is_no_later_one(kind, found, tmp_path):
    path, version, _, read = saved(tmp_path, kind)
    tensors, metadata = read_tensors(path, "test")
    write_tensors(path, tensors, metadata | {f"mlclassify.{version}": found})
    with pytest.raises(ModelFileError, match=f"got {re.escape(repr(found))}, which no mlclassify"):
        read(path)


# --- what a file may not ask for

@pytest.mark.parametrize("transform", [
    Resize(10_000), Resize((1, 2**31)), RandomResizedCrop(9000, val_xtra=0.5),
    RandomResizedCrop(224, val_xtra=1e6), AffineWarp([], size=(30_000, 3000)),
])
def test_no_file_makes_photos_larger_than_those_that_are_opened(transform, tmp_path):
    learn = tiny_learner(path=tmp_path)
    tfms = learn.dls.train.batch_tfms if hasattr(transform, "plan") else learn.dls.train.item_tfms
    tfms.append(transform)
    with pytest.raises(ModelFileError, match="photos of at most 89478485 pixels"):
        load_learner(learn.export())


def test_a_long_shape_pads_no_photo_to_more_than_may_be_opened():
    photo = Image.new("RGB", (500, 500))
    with pytest.raises(ValueError, match=r"at most 89478485 pixels .*got \(1, 16384\), which "
                       f"makes {500 * 16384} x 500"):
        resize_pad(photo, (1, 16_384))
    assert resize_pad(photo, (16, math.isqrt(16_384))).size == (128, 16)


def test_limits_are_of_the_library_alone(tmp_path, monkeypatch):
    """Fields that no version writes are refused, be they called as a limit."""
    path, _, text, read = saved(tmp_path, "export")
    tensors, metadata = read_tensors(path, "test")
    about = json.loads(metadata[f"mlclassify.{text}"])
    about["MAX_IMAGE_PIXELS"] = None
    changed = json.dumps(about)
    write_tensors(path, tensors, metadata | {
        f"mlclassify.{text}": changed, "mlclassify.sha256": export.digest(tensors, changed)})
    with pytest.raises(ModelFileError, match="its fields must be"):
        read(path)
    assert Image.MAX_IMAGE_PIXELS == 89_478_485
