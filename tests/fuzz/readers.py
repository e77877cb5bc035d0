"""What reads files: each target takes bytes, and either refuses them as it says or is right.

A target returns whether it took the bytes. Any exception but those that are documented, and any
assertion that fails here, is a finding.
"""

import atexit
import json
import math
import os
import shutil
import tempfile
import warnings
from pathlib import Path

import numpy as np
from safetensors.numpy import save
from tiny import tiny, tiny_learner

from mlclassify import checkpoint, export
from mlclassify.checkpoint import read_checkpoint
from mlclassify.data import download
from mlclassify.data.table import read_table
from mlclassify.label.session import Session
from mlclassify.learner import load_learner
from mlclassify.vision.backbones import ARCHS
from mlclassify.vision.image import (
    Image,
    UnreadableImageError,
    open_image,
    verify_image,
)
from mlclassify.weights import ModelFileError, read_tensors

os.environ["MLCLASSIFY_PROGRESS"] = "0"
warnings.simplefilter("ignore")  # of Pillow, on odd photos
ARCHS["tiny"] = tiny
# Photos that are large, but legal, take their time; what is to be found are those that are not.
Image.MAX_IMAGE_PIXELS = 1 << 20

FIXTURES = Path(__file__).resolve().parents[1] / "fixtures"
ROOT = Path(tempfile.mkdtemp(prefix="mlclassify-fuzz-"))
atexit.register(shutil.rmtree, ROOT, ignore_errors=True)
PHOTO = np.random.RandomState(0).randint(0, 256, (20, 24, 3), np.uint8)


def _written(name, data):
    path = ROOT / name
    path.write_bytes(data)
    return path


# --- files of tensors


def tensors(data):
    """A file of tensors, as the three readers of such files see it."""
    path, taken = _written("a.safetensors", data), False
    for read in (lambda: read_tensors(path, "fuzz"), lambda: load_learner(path),
                 lambda: read_checkpoint(path)):  # fmt: skip
        try:
            read()
            taken = True
        except ModelFileError as error:
            assert str(path) in str(error)
    return taken


def _kept(name, key):
    found, metadata = read_tensors(FIXTURES / name, "fuzz")
    return found, metadata, metadata[key]


_EXPORT = _kept("export-1.safetensors", export._LEARNER)
_TRAINING = _kept("checkpoint-1.safetensors", checkpoint._TRAINING)


def _with_text(kept, key, hashed, data):
    """Return a whole file whose JSON is `data` and whose hash is right; None if it is no text."""
    found, metadata, _ = kept
    try:
        text = data.decode()
    except UnicodeDecodeError:
        return None
    return save(found, metadata | {key: text, hashed: export.digest(found, text)})


def learner(data):
    """The description of a learner; one that is taken must predict, or say why it does not."""
    whole = _with_text(_EXPORT, export._LEARNER, export._HASH, data)
    if whole is None:
        return False
    path = _written("a.safetensors", whole)
    try:
        learn = load_learner(path)
    except ModelFileError as error:
        assert str(path) in str(error)
        return False
    try:
        said = learn.predict(PHOTO)
    except ValueError:  # transforms that make no batch of this photo
        return True
    except FloatingPointError as error:  # means and deviations that no network was trained on
        assert "activations grew beyond float32" in str(error)
        return True
    probs = np.asarray(said.probs)
    assert probs.shape == (len(learn.dls.vocab),)
    assert np.isnan(probs).all() or ((probs >= 0) & (probs <= 1)).all()
    return True


_learn = tiny_learner(path=ROOT, model_dir=".")


def training(data):
    """The description of a training; one that is refused leaves the learner as it was."""
    whole = _with_text(_TRAINING, checkpoint._TRAINING, checkpoint._HASH, data)
    if whole is None:
        return False
    _written("a.safetensors", whole)
    before = _learn.epochs_begun, _learn.seed
    try:
        _learn.load("a")
        return True
    except (ValueError, KeyError):
        assert (_learn.epochs_begun, _learn.seed) == before
        return False


# --- tables


def table(data):
    """A table of labels; one that is taken is the same after it has been written."""
    try:
        found = read_table(_written("labels.csv", data))
    except ValueError as error:
        assert "read_table: `path` must be a table" in str(error)
        return False
    try:
        found.write(ROOT / "again.csv")
    except ValueError as error:
        assert "`label` must be a text on one line" in str(error)
        return True
    again = read_table(ROOT / "again.csv")
    assert (again.rows, again.others) == (found.rows, found.others)
    return True


def manifest(data):
    """A manifest; one that is taken is the same after it has been written."""
    _written(download.MANIFEST, data)
    try:
        found = download.read_manifest(ROOT)
    except ValueError as error:
        assert "must have no manifest.csv but its own" in str(error)
        return False
    download._write_manifest(ROOT, found)
    assert download.read_manifest(ROOT) == found
    return True


LABELLED = ROOT / "photos"
LABELLED.mkdir()
for _name in ("a.png", "b.png"):
    Image.fromarray(PHOTO).save(LABELLED / _name)


def session(data):
    """Both tables of the label page; what it writes after a decision, it reads."""
    kept, _, dropped = data.partition(b"\n--\n")
    (LABELLED / "labels.csv").write_bytes(kept)
    (LABELLED / "labels.dropped.csv").write_bytes(dropped)
    try:
        page = Session(LABELLED)
    except ValueError:
        return False
    json.dumps(page.state())
    page.decide(0, "keep", ["x"])
    page.decide(1, "drop")
    again = Session(LABELLED)
    assert again.state()["photos"] == page.state()["photos"]
    assert again._table.rows == page._table.rows
    for name in page._table.rows.keys() - {"a.png", "b.png"}:
        assert again._table.others[name] == page._table.others[name]
    return True


# --- photos


_predicts = load_learner(FIXTURES / "export-1.safetensors")


def image(data):
    """A photo; one that is opened is predicted alone and from a loader, the same."""
    path = _written("a.jpg", data)
    try:
        found = open_image(data)
    except UnreadableImageError:
        assert not verify_image(path)
        for use in (lambda: _predicts.predict(data), lambda: _from_loader(path)):
            try:
                use()
                raise AssertionError("what cannot be opened was predicted")
            except UnreadableImageError:
                pass
        return False
    assert found.mode == "RGB" and math.prod(found.size) <= Image.MAX_IMAGE_PIXELS
    assert verify_image(path)
    alone = np.asarray(_predicts.predict(data).probs)
    assert np.isfinite(alone).all()
    np.testing.assert_allclose(_from_loader(path), alone, atol=1e-6)
    return True


def _from_loader(path):
    with _predicts.no_bar():
        return np.asarray(_predicts.get_preds(dl=_predicts.dls.test_dl([path]))[0])[0]
