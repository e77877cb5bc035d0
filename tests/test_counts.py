"""Tables of labels, sampling by them, and the trace of a data block."""

import re

import numpy as np
import pandas as pd
import pytest
from PIL import Image
from tiny import photos, tiny_loaders

from mlclassify.data.block import DataBlock, ImageBlock, MultiCategoryBlock
from mlclassify.data.counts import Counts, co_occurrence, label_counts
from mlclassify.data.files import get_image_files, parent_label
from mlclassify.data.loader import DataLoader, class_weights
from mlclassify.data.split import EndSplitter, IndexSplitter
from mlclassify.data.transforms import ColReader
from mlclassify.vision.augment import (
    Normalize,
    RandomResizedCrop,
    Resize,
    aug_transforms,
)
from mlclassify.vision.image import UnreadableImageError

PHOTO = np.zeros((8, 8, 3), np.uint8)


def loaders(labels, valid=(), bs=1, **options):
    block = DataBlock(
        get_x=lambda o: PHOTO,
        get_y=lambda o: o[1],
        item_tfms=Resize(8),
        splitter=IndexSplitter(list(valid)),
    )
    return block.dataloaders(list(enumerate(labels)), bs=bs, **options)


# --- counting


def test_label_counts():
    dls = loaders([["sky"], ["sky", "sun"], [], ["sun"], ["sky"]], valid=[3, 4])
    counts = dls.label_counts()
    assert counts.rows == ["sky", "sun", "(no label)"] and counts.columns == ["train", "valid"]
    assert counts.values.tolist() == [[2, 1], [1, 1], [1, 0]] and counts["sky", "train"] == 2
    assert (np.asarray(counts) == counts.values).all()
    frame = counts.to_frame()
    assert isinstance(frame, pd.DataFrame) and frame.loc["sun", "valid"] == 1
    assert "(no label)" not in loaders([["a"], ["a"]]).label_counts().rows


def test_what_is_not_known_is_not_counted():
    targets = np.array([[np.nan, 1], [0.3, np.nan], [np.nan, 0]])
    assert label_counts(["a", "b"], all=targets).values.tolist() == [[1], [1], [1]]


def test_co_occurrence_is_the_definition(rng):
    targets = (rng.random((50, 6)) < 0.3).astype(np.float32)
    got = co_occurrence(list("abcdef"), targets)
    for i in range(6):
        for j in range(6):
            assert got.values[i, j] == sum(row[i] and row[j] for row in targets)
    assert got["a", "b"] == got["b", "a"] and got.rows == got.columns


def test_co_occurrence_of_each_side():
    dls = loaders([["sky"], ["sky", "sun"], [], ["sun", "sky"], ["sky"]], valid=[3, 4])
    assert dls.co_occurrence().values.tolist() == [[2, 1], [1, 1]]
    assert dls.co_occurrence("valid").values.tolist() == [[2, 1], [1, 1]]
    assert dls.co_occurrence("valid")["sky", "sky"] == 2
    with pytest.raises(ValueError) as caught:
        dls.co_occurrence("test")
    assert str(caught.value) == "co_occurrence: `split` must be 'train' or 'valid', got 'test'"


def test_a_table_is_printed_and_escaped():
    counts = Counts([[1, 2]], ["<img onerror>"], ["train", "valid"])
    assert repr(counts).splitlines() == [
        "                       train   valid",
        "<img onerror>              1       2",
    ]
    assert "<img" not in counts._repr_html_() and "<td>2</td>" in counts._repr_html_()
    with pytest.raises(KeyError) as caught:
        counts["sky", "train"]
    assert caught.value.args[0] == "Counts: `row` must be one of <img onerror>, got 'sky'"
    with pytest.raises(KeyError) as caught:
        counts["<img onerror>", "test"]
    assert caught.value.args[0] == "Counts: `column` must be one of train, valid, got 'test'"


def test_a_large_table_shows_its_first_rows_and_its_last():
    counts = Counts(np.arange(60 * 30), [f"r{i}" for i in range(60)], [f"c{i}" for i in range(30)])
    lines = repr(counts).splitlines()
    assert lines[0].split() == [f"c{i}" for i in (*range(19), 29)] and len(lines) == 52
    assert lines[49].startswith("r48") and lines[50].split()[-1] == str(59 * 30 + 29)
    assert lines[51] == "50 of 60 rows, 20 of 30 columns; to_frame() has all"
    assert counts._repr_html_().count("<td>") == 1000 and counts.to_frame().shape == (60, 30)


def test_a_dataset_as_a_frame():
    dls = loaders([["sky"], ["sky", "sun"], []], valid=[2])
    frame = dls.train_ds.to_frame()
    assert frame.columns.tolist() == ["sky", "sun"] and frame.to_numpy().tolist() == [
        [1, 0],
        [1, 1],
    ]
    bare = dls.test_dl([PHOTO]).dataset.to_frame()
    assert bare.shape == (1, 0)


# --- sampling


def test_class_weights_are_those_of_drawing_a_label_first(rng):
    targets = (rng.random((200, 5)) < [0.6, 0.3, 0.1, 0.05, 0.02]).astype(np.float32)
    some = targets.any(axis=1)
    want = np.zeros(200)
    for label in range(5):
        bearers = np.flatnonzero(targets[:, label])
        want[bearers] += some.sum() / 5 / len(bearers)
    want[~some] = 1
    np.testing.assert_allclose(class_weights(targets), want)
    assert want.sum() == pytest.approx(200)


@pytest.mark.parametrize("targets", [np.zeros((3, 2)), np.zeros((3, 0)), np.zeros((0, 2))])
def test_class_weights_without_labels(targets):
    assert class_weights(targets).tolist() == [1.0] * len(targets)


def test_rare_labels_come_as_often_as_common_ones():
    labels = [["sky"]] * 90 + [["owl"]] * 10 + [[]] * 20
    dls = loaders(labels, bs=120, weights="class_aware", drop_last=False)
    plain = loaders(labels, bs=120)
    order = dls.train._order(1, 0)
    counts = np.bincount(order, minlength=120)
    assert len(order) == 120 and counts[90:100].sum() == 50 and counts[:90].sum() == 50
    assert (counts[100:] == 1).all() and set(counts[90:100]) == {5}
    assert sorted(plain.train._order(1, 0)) == list(range(120))
    assert (dls.train._order(1, 0) == order).all() and (dls.train._order(1, 1) != order).any()
    assert len(dls.one_batch()[0]) == 120


def test_every_photo_comes_as_often_as_it_should_or_one_more_or_less():
    weights = np.array([0, 0.3, 1, 2.5, 1.2])
    dl = DataLoader(loaders([["a"]] * 5).train_ds, shuffle=True, weights=weights)
    seen = np.array([np.bincount(dl._order(1, epoch), minlength=5) for epoch in range(400)])
    assert (abs(seen - weights) < 1).all()
    np.testing.assert_allclose(seen.mean(axis=0), weights, atol=0.1)


def test_weights_of_the_items_of_the_source():
    dls = loaders([["a"]] * 4, valid=[1], weights=[1, 5, 0, 2], drop_last=False)
    assert dls.train.weights.tolist() == [1, 0, 2]
    assert dls.valid.weights is None and 1 not in dls.train._order(1, 0)


@pytest.mark.parametrize("weights, message", [
    ("balanced", "dataloaders: `weights` must be None or 'class_aware', got 'balanced'"),
    ([1, 2], "DataLoader: `weights` must be 3 numbers, one for each photo, got shape (2,)"),
    (["1", "2", "3"], "DataLoader: `weights` must be 3 numbers, one for each photo, got <U1"),
    ([1, -1, 0], "DataLoader: `weights` must be finite, at least 0 and not all 0, got -1 to 1"),
    ([0, 0, 0], "DataLoader: `weights` must be finite, at least 0 and not all 0, got 0 to 0"),
    ([1, np.nan, 0],
     "DataLoader: `weights` must be finite, at least 0 and not all 0, got nan to nan"),
])  # fmt: skip
def test_weights_are_checked(weights, message):
    with pytest.raises(ValueError) as caught:
        loaders([["a"]] * 3, weights=weights)
    assert str(caught.value) == message


def test_weights_need_shuffling():
    with pytest.raises(ValueError) as caught:
        loaders([["a"]] * 3, weights=[1, 1, 1], shuffle=False)
    assert str(caught.value) == "DataLoader: `weights` must be None with shuffle=False, got weights"


# --- loaders anew


def test_new_loaders():
    dls = tiny_loaders(draft=True)
    new = dls.new(bs=4, item_tfms=Resize(24), num_workers=0, shuffle=False)
    assert new.one_batch()[0].shape == (4, 3, 24, 24) and new.train.draft
    assert (new.train.shuffle, new.valid.bs, new.valid.num_workers) == (False, 4, 0)
    assert (
        type(new.train.batch_tfms[0]) is Normalize and not dls.new(batch_tfms=[]).train.batch_tfms
    )
    assert dls.new(4, 6).valid.bs == 6 and dls.new(val_bs=6).train.bs == dls.train.bs
    assert dls.train.bs == 8 and dls.one_batch()[0].shape == (8, 3, 16, 16)
    assert new.path == dls.path and new.vocab == dls.vocab


def test_a_new_loader():
    dls = tiny_loaders(weights="class_aware")
    new = dls.train.new(train=False, shuffle=True)
    assert not new.train and (new.weights == dls.train.weights).all()
    other = dls.train.new(dls.valid_ds, drop_last=False)
    assert other.n == dls.valid.n and other.weights is None
    with pytest.raises(TypeError) as caught:
        dls.new(batch_size=3)
    assert str(caught.value) == (
        "new: arguments must be of bs, shuffle, drop_last, item_tfms, batch_tfms, train, "
        "num_workers, draft, cache, weights, got batch_size"
    )


# --- the trace


@pytest.fixture
def bears(tmp_path):
    for k, label in enumerate(("black", "grizzly")):
        (tmp_path / label).mkdir()
        for i in range(4):
            Image.new("RGB", (20, 12 + i), (80 * k, 10 * i, 0)).save(tmp_path / label / f"{i}.png")
    return tmp_path


def block(**changes):
    options = {
        "get_items": get_image_files,
        "get_y": parent_label,
        "splitter": IndexSplitter([0, 5]),
        "item_tfms": RandomResizedCrop(16),
        "batch_tfms": aug_transforms(),
    }
    return DataBlock(**{**options, **changes})


def test_summary_tells_every_step(bears, capsys):
    block().summary(bears)
    lines = capsys.readouterr().out.splitlines()
    want = [
        "Items",
        f"  get_image_files: 8, the first is {bears}/black/0.png",
        "  IndexSplitter: 6 to train on, 2 to validate on",
        "Labels",
        f"  get_y = parent_label: 'black' for {bears}/black/1.png",
        "  vocabulary: 2 labels: black, grizzly",
        f"The first training photo, {bears}/black/1.png",
        "  open_image: 20 x 13",
        "  RandomResizedCrop(size=[16, 16], min_scale=0.08, ratio=[0.75, 1.3333333333333333], "
        "val_xtra=0.14, max_scale=1.0): 16 x 16",
        "  target: [1.0, 0.0] = ['black']",
        "A batch of the first 4 training photos",
        "  stack: uint8 (4, 16, 16, 3)",
    ]
    assert lines[: len(want)] == want
    assert [re.match(r"  (\w+)\(.*: planned$", line)[1] for line in lines[len(want) : -1]] == [
        "AffineWarp",
        "Lighting",
    ]
    assert re.fullmatch(
        r"  batch: photos float32 \(4, 3, 16, 16\) from \S+ to \S+, targets float32 "
        r"\(4, 2\) with 1 labels a photo",
        lines[-1],
    )


def test_arguments_of_summary(bears, capsys, monkeypatch):
    shown = []
    monkeypatch.setattr(DataLoader, "show_batch", lambda self, b: shown.append(b[0].shape))
    block().summary(bears, bs=2, show_batch=True)
    assert shown == [(2, 3, 16, 16)] and "the first 2 training" in capsys.readouterr().out
    with pytest.raises(ValueError, match="summary: `bs` must be an integer of at least 1, got 0"):
        block().summary(bears, bs=0)


def broken(name):
    def function(o):
        raise RuntimeError(f"broken {name}")

    function.__qualname__ = name
    return function


class Broken:
    order = 50

    def apply(self, image, draw, train):
        raise RuntimeError("broken apply")

    def plan(self, batch):
        raise RuntimeError("broken plan")

    def __repr__(self):
        return "Broken()"


@pytest.mark.parametrize("changes, step, item", [
    ({"get_items": broken("listing")}, "listing", "{0}"),
    ({"splitter": broken("cut")}, "cut", "the 8 items"),
    ({"get_y": broken("name_it")}, "get_y = name_it", "{0}/black/1.png"),
    ({"blocks": (ImageBlock, MultiCategoryBlock(vocab=["owl"]))}, "vocabulary",
     "the 8 items"),
    ({"get_x": broken("photo_of")}, "open_image", "{0}/black/1.png"),
    ({"item_tfms": Broken()}, "Broken()", "{0}/black/1.png"),
    ({"item_tfms": None}, "stack", "the photos above"),
    ({"batch_tfms": Broken()}, "Broken()", "a batch of 4"),
])  # fmt: skip
def test_summary_names_the_step_that_fails(bears, capsys, changes, step, item):
    with pytest.raises((RuntimeError, KeyError, ValueError)) as caught:
        block(**changes).summary(bears)
    assert caught.value.__notes__[-1] == (
        f"DataBlock.summary: the step `{step}` failed for {item.format(bears)}"
    )


def test_summary_names_the_file_that_fails(bears, capsys):
    (bears / "black" / "3.png").write_bytes(b"no photo")
    with pytest.raises(UnreadableImageError) as caught:
        block().summary(bears)
    assert caught.value.__notes__[-1] == (
        f"DataBlock.summary: the step `open_image` failed for {bears}/black/3.png"
    )


def test_summary_says_which_photos_differ_in_size(bears, capsys):
    with pytest.raises(ValueError) as caught:
        block(item_tfms=None).summary(bears)
    assert str(caught.value) == (
        "DataBlock: `item_tfms` must make all photos one size, got 20 x 13 for "
        f"{bears}/black/1.png and 20 x 14 for {bears}/black/2.png; add Resize(224) or "
        "RandomResizedCrop(224)"
    )


def test_summary_of_a_table_and_of_arrays(capsys):
    items = photos(6)
    DataBlock(get_x=lambda o: o[0], get_y=lambda o: o[1], splitter=EndSplitter()).summary(items)
    assert "  the source itself: 6, the first is" in capsys.readouterr().out
    table = pd.DataFrame({"file": ["no.jpg"] * 4, "labels": "sky sun"})
    block = DataBlock(get_x=ColReader("file"), get_y=ColReader("labels", label_delim=" "),
                      splitter=IndexSplitter([0]))  # fmt: skip
    with pytest.raises(FileNotFoundError) as caught:
        block.summary(table)
    lines = capsys.readouterr().out.splitlines()
    assert lines[1] == "  the source itself: 4, the first is row 0"
    assert lines[4].endswith(": ['sky', 'sun'] for row 1")
    assert caught.value.__notes__[-1] == (
        "DataBlock.summary: the step `open_image` failed for row 1"
    )
    with pytest.raises(ValueError) as caught:
        block.datasets(table[:0])
    assert str(caught.value) == (
        "DataBlock: `source` must hold at least one item, got none in DataFrame of shape (0, 2)"
    )
