"""Data blocks: from a folder or a table to labels, targets and loaders; label transforms."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from mlclassify.data.block import (
    DataBlock,
    ImageBlock,
    MultiCategoryBlock,
    empty_dataloaders,
)
from mlclassify.data.files import get_image_files, parent_label
from mlclassify.data.lists import L
from mlclassify.data.split import ColSplitter, EndSplitter, IndexSplitter, RandomSplitter
from mlclassify.data.transforms import (
    CategoryMap,
    ColReader,
    EncodedMultiCategorize,
    MultiCategorize,
    OneHotEncode,
    Pipeline,
    Transform,
    label_list,
)
from mlclassify.tensor import TensorImage, TensorMultiCategory
from mlclassify.vision.augment import Resize
from mlclassify.vision.image import (
    PILImage,
    UnreadableImageError,
    crop_resize,
    open_image,
    random_crop_box,
)


def get_label_list(some_label):
    return [some_label]


class Crop:
    """The item transform of the post, small."""

    order = 1

    def apply(self, image, draw, train):
        return crop_resize(image, random_crop_box(*image.size, draw, min_scale=0.5), 16)


@pytest.fixture
def bears(tmp_path):
    """Nine photos below three folders, as the post has them."""
    for k, label in enumerate(("grizzly", "black", "teddy")):
        (tmp_path / label).mkdir()
        for i in range(3):
            Image.new("RGB", (20, 12 + i), (80 * k, 10 * i, 0)).save(tmp_path / label / f"{i}.png")
    return tmp_path


def block(**changes):
    options = {
        "blocks": (ImageBlock, MultiCategoryBlock),
        "get_items": get_image_files,
        "splitter": RandomSplitter(valid_pct=0.25, seed=0),
        "get_y": Pipeline([parent_label, get_label_list]),
        "item_tfms": Crop(),
    }
    return DataBlock(**{**options, **changes})


def table(tmp_path, **columns):
    for i in range(4):
        Image.new("RGB", (8, 8), (60 * i, 0, 0)).save(tmp_path / f"{i}.png")
    return pd.DataFrame({"fname": [f"{i}.png" for i in range(4)], **columns})


# --- as in the post ---


def test_the_post(bears):
    dls = block().dataloaders(bears, bs=3)
    assert dls.vocab == ["black", "grizzly", "teddy"] and dls.c == 3
    assert (dls.train.n, dls.valid.n, len(dls.train), len(dls.valid)) == (7, 2, 2, 1)
    assert dls.train.train and not dls.valid.train and dls.train.shuffle and not dls.valid.shuffle
    x, y = dls.one_batch()
    assert type(x) is TensorImage and type(y) is TensorMultiCategory
    assert tuple(x.shape) == (3, 3, 16, 16) and tuple(y.shape) == (3, 3)
    axes = np.ravel(dls.show_batch(max_n=3, nrows=1))
    assert {a.get_title() for a in axes} <= {"black", "grizzly", "teddy"}


def test_targets_are_those_of_the_files(bears):
    data = block().datasets(bears)
    train, valid = RandomSplitter(0.25, seed=0)(range(9))
    files = get_image_files(bears)
    assert data.items == files and data.splits == (train, valid)
    for ds, split in ((data.train, train), (data.valid, valid)):
        assert ds.items == files[split] and len(ds) == len(split)
        for i, file in enumerate(files[split]):
            label = file.parent.name
            assert ds.labels(i) == [label] and list(ds.vocab[ds.target(i) == 1]) == [label]
            assert ds.image(i).size == open_image(file).size
    assert data.train.targets().dtype == np.float32 and data.train.targets().shape == (7, 3)
    assert repr(data) == "Datasets: 7 + 2 photos, 3 labels"


def test_an_item_of_a_dataset(bears):
    data = block().datasets(bears)
    image, target = data.train[0]
    assert isinstance(image, PILImage) and type(target) is TensorMultiCategory
    assert len(data.train.new([data.items[0]])[0]) == 1
    target[:] = 0
    assert data.train.target(0).sum() == 1


@pytest.mark.parametrize(
    "blocks", [(ImageBlock, MultiCategoryBlock), (ImageBlock(), MultiCategoryBlock()), None]
)
def test_blocks_may_be_called_or_not(bears, blocks):
    assert block(blocks=blocks).datasets(bears).vocab == ["black", "grizzly", "teddy"]


def test_a_bare_label_is_one_label(bears):
    data = block(get_y=parent_label).datasets(bears)
    assert data.vocab == ["black", "grizzly", "teddy"]
    assert block(get_y=[parent_label]).datasets(bears).vocab == data.vocab


def test_no_labels_are_legal(bears):
    def get_y(o):
        return {"black": None, "grizzly": "", "teddy": ["bear", "toy", "toy"]}[o.parent.name]

    dls = block(get_y=get_y).dataloaders(bears, bs=2)
    assert dls.vocab == ["bear", "toy"]
    assert sorted(set(map(tuple, dls.train_ds.targets().tolist()))) == [(0, 0), (1, 1)]
    assert "(no label)" in repr(dls)


# --- labels that validation alone has ---


def rare(o):
    return "moon" if o.name == "2.png" and o.parent.name == "teddy" else "sun"


def test_a_label_of_validation_only_is_reported_when_the_data_are_built(bears):
    with pytest.raises(KeyError) as caught:
        block(get_y=rare, splitter=IndexSplitter([8, 0])).dataloaders(bears)
    message = caught.value.args[0]
    assert "'moon'" in message and str(bears / "teddy" / "2.png") in message
    assert "MultiCategoryBlock(vocab=...)" in message and "add_na=True" in message
    assert message.endswith("Labels 'moon' were not included in the training dataset")


def test_the_ways_out(bears):
    rare_valid = {"get_y": rare, "splitter": IndexSplitter([8, 0])}
    named = block(blocks=(ImageBlock, MultiCategoryBlock(vocab=["sun", "moon"])), **rare_valid)
    data = named.datasets(bears)
    assert data.vocab == ["sun", "moon"] and data.valid.targets().tolist() == [[0, 1], [1, 0]]
    data = block(blocks=(ImageBlock, MultiCategoryBlock(add_na=True)), **rare_valid).datasets(bears)
    assert data.vocab == ["#na#", "sun"] and data.valid.labels(0) == ["#na#"]
    data = block(get_y=rare, splitter=IndexSplitter([0, 1])).datasets(bears)
    assert data.vocab == ["moon", "sun"]


def test_a_given_vocabulary_must_hold_the_labels_of_training_too(bears):
    with pytest.raises(KeyError, match="got 'grizzly' for .*Labels 'grizzly' were not included"):
        block(blocks=(ImageBlock, MultiCategoryBlock(vocab=["black", "teddy"]))).datasets(bears)


def test_one_block_builds_several_data_sets(bears):
    both = block(get_y=lambda o: o.name)
    assert len(both.datasets(bears).vocab) == 3
    for file in bears.rglob("2.png"):
        file.unlink()
    assert both.datasets(bears).vocab == ["0.png", "1.png"]


# --- tables ---


def test_a_table_of_labels(tmp_path):
    df = table(tmp_path, labels=["sun sky", "", "sky", "sky"], is_valid=[False, False, True, False])
    db = DataBlock(
        get_x=ColReader("fname", pref=tmp_path),
        get_y=ColReader("labels", label_delim=" "),
        splitter=ColSplitter(),
        item_tfms=Crop,
    )
    dls = db.dataloaders(df, bs=2)
    assert dls.vocab == ["sky", "sun"] and dls.valid.n == 1
    assert dls.train_ds.targets().tolist() == [[1, 1], [0, 0], [1, 0]]
    assert dls.valid_ds.image(0).getpixel((0, 0)) == (120, 0, 0)
    assert len(dls.test_dl(df).one_batch()) == 1
    assert dls.test_dl(df, with_labels=True).dataset.targets().shape == (4, 2)
    # What a trained model is asked about is a file, not a row.
    assert dls.test_dl([tmp_path / "3.png"]).dataset.image(0).getpixel((0, 0)) == (180, 0, 0)


def test_a_table_of_numbers(tmp_path):
    df = table(tmp_path, sky=[1, 0, 1, 1], sun=[0, 0.5, 1, 0])
    blocks = (ImageBlock, MultiCategoryBlock(encoded=True, vocab=["sky", "sun"]))
    db = DataBlock(blocks, get_x=lambda r: tmp_path / r["fname"], get_y=ColReader(["sky", "sun"]),
                   splitter=EndSplitter(0.25))  # fmt: skip
    data = db.datasets(df)
    assert data.train.targets().tolist() == [[1, 0], [0, 0.5], [1, 1]]
    assert data.train.labels(1) == [] and data.train.labels(2) == ["sky", "sun"]


def test_errors_of_the_users_functions_name_the_item(bears):
    with pytest.raises(ZeroDivisionError) as caught:
        block(get_y=lambda o: 1 / 0).datasets(bears)
    first = RandomSplitter(0.25, seed=0)(range(9))[0][0]
    assert caught.value.__notes__ == [f"in get_y of {get_image_files(bears)[first]}"]
    data = block(get_x=lambda o: 1 / 0).datasets(bears)
    with pytest.raises(ZeroDivisionError) as caught:
        data.valid.image(0)
    assert caught.value.__notes__ == [f"in get_x of {data.valid.items[0]}"]


@pytest.mark.parametrize(
    "numbers, words", [([1], r"2 numbers .* got shape \(1,\)"), ([0, 2], r"in \[0, 1\]")]
)
def test_wrong_numbers_name_the_row(tmp_path, numbers, words):
    blocks = (ImageBlock, MultiCategoryBlock(encoded=True, vocab=["sky", "sun"]))
    db = DataBlock(blocks, get_y=lambda r: numbers, splitter=EndSplitter(0.25))
    with pytest.raises(ValueError, match=words) as caught:
        db.datasets(table(tmp_path))
    assert caught.value.__notes__ == ["in the labels of row 0"]


# --- loaders ---


def test_fewer_photos_than_a_batch_are_reported_at_once(bears):
    with pytest.raises(
        ValueError, match="dataloaders: `bs` must be at most the 7 training photos, got 64"
    ):
        block().dataloaders(bears)
    assert len(block().dataloaders(bears, bs=7).train) == 1
    assert len(block().dataloaders(bears, drop_last=False).train) == 1
    assert len(block().dataloaders(bears, shuffle=False).train) == 1


def test_options_of_loaders(bears):
    dls = block().dataloaders(bears, path="out", bs=2, val_bs=1, shuffle=False, val_shuffle=True,
                              drop_last=True, num_workers=0)  # fmt: skip
    assert dls.path == Path("out") and (dls.train.bs, dls.valid.bs) == (2, 1)
    assert not dls.train.shuffle and dls.valid.shuffle and dls.train.drop_last
    assert not dls.valid.drop_last and dls.train.num_workers == dls.valid.num_workers == 0


@pytest.mark.parametrize("kind", ["path", "text", "bytes", "array", "image"])
def test_test_dl_reads_what_can_be_opened(bears, kind):
    file = bears / "teddy" / "1.png"
    item = {"path": file, "text": str(file), "bytes": file.read_bytes(), "image": open_image(file)}
    item["array"] = np.asarray(item["image"])
    dls = block().dataloaders(bears, bs=2)
    for items in ([item[kind]], item[kind]):
        dl = dls.test_dl(items)
        assert dl.n == 1 and not dl.has_labels and not dl.train and dl.bs == dls.valid.bs
        (x,) = dl.one_batch()
        np.testing.assert_allclose(np.asarray(x)[0, :, 5, 5] * 255, [160, 10, 0], atol=1e-3)


def test_draft_is_of_the_training_loader_and_the_cache_of_both(bears):
    block = DataBlock(get_items=get_image_files, get_y=parent_label, item_tfms=Resize(8))
    dls = block.dataloaders(bears, bs=2, draft=True, cache="1 MB")
    assert dls.train.draft and not dls.valid.draft and dls.train.cache is dls.valid.cache
    assert dls.train.cache.budget == 1_000_000
    other = dls.test_dl([np.zeros((9, 9, 3), np.uint8)])
    assert not other.draft and other.cache is None
    plain = block.dataloaders(bears, bs=2)
    assert not plain.train.draft and plain.train.cache is None


@pytest.mark.parametrize("wrong", [0, -1, 1.5, "much", "5", "1 TB", True, "0MB"])
def test_a_budget_of_a_cache_is_checked(bears, wrong):
    block = DataBlock(get_items=get_image_files, get_y=parent_label, item_tfms=Resize(8))
    with pytest.raises(ValueError, match="dataloaders: `cache` must be bytes as an integer of at "
                                         "least 1, or a text such as '500MB'"):  # fmt: skip
        block.dataloaders(bears, bs=2, cache=wrong)


def test_test_dl_with_labels(bears):
    dl = block().dataloaders(bears, bs=2).test_dl(get_image_files(bears), with_labels=True, bs=4)
    assert dl.bs == 4 and dl.has_labels and dl.dataset.targets().sum(0).tolist() == [3, 3, 3]
    cached = block().dataloaders(bears, bs=2, cache="1MB", num_workers=3, val_shuffle=True)
    plain = cached.test_dl(get_image_files(bears))
    assert (plain.num_workers, plain.cache, plain.shuffle, plain.bs) == (3, None, False, 2)
    assert cached.test_dl(get_image_files(bears), num_workers=0).num_workers == 0
    unknown = bears / "panda" / "1.png"
    with pytest.raises(KeyError, match="'panda' were not included in the training dataset"):
        block().dataloaders(bears, bs=2).test_dl([unknown], with_labels=True)


def test_get_x_is_for_items_of_the_source_alone(bears):
    names = [f"{label}/{i}" for label in ("black", "teddy") for i in range(3)]
    db = DataBlock(
        (ImageBlock, MultiCategoryBlock(vocab=["black", "teddy"])),
        get_x=lambda o: bears / f"{o}.png",
        get_y=lambda o: o.split("/")[0],
        splitter=EndSplitter(0.5),
    )
    dls = db.dataloaders(names, bs=2)
    assert dls.test_dl(["teddy/0"]).dataset.image(0).size == (20, 12)
    assert dls.test_dl([(bears / "teddy/0.png").read_bytes()]).dataset.image(0).size == (20, 12)


def test_an_unreadable_photo_is_named(bears):
    bad = bears / "black" / "1.png"
    bad.write_text("<html>")
    dls = block(splitter=IndexSplitter([0])).dataloaders(bears, bs=4)
    with pytest.raises(UnreadableImageError, match=str(bad)):
        list(dls.train)


def test_new_changes_transforms(bears):
    other = block().new(item_tfms=[])
    assert other.item_tfms == [] and len(block().new(batch_tfms=[]).item_tfms) == 1
    assert other.datasets(bears).vocab == ["black", "grizzly", "teddy"]


def test_loaders_without_photos():
    dls = empty_dataloaders(["b", "a"], item_tfms=Crop(), bs=4)
    assert dls.vocab == ["b", "a"] and dls.train.n == dls.valid.n == 0 and len(dls.train) == 0
    (x,) = dls.test_dl([np.zeros((30, 30, 3), np.uint8)]).one_batch()
    assert tuple(x.shape) == (1, 3, 16, 16) and "0 photos" in repr(dls)
    with pytest.raises(ValueError, match="test_dl: `with_labels` must be False"):
        dls.test_dl(["a.jpg"], with_labels=True)


# --- what is refused ---


def test_several_functions_need_a_pipeline():
    for name in ("get_x", "get_y"):
        with pytest.raises(
            ValueError, match=f"`{name}` must be one function, got 2.*in a `Pipeline`"
        ):
            block(**{name: [parent_label, get_label_list]})


def test_unknown_arguments():
    with pytest.raises(TypeError, match="invalid keyword arguments: get_z"):
        block(get_z=1)


@pytest.mark.parametrize(
    "blocks", [(ImageBlock,), (MultiCategoryBlock, ImageBlock), (ImageBlock, str), ImageBlock]
)
def test_other_blocks(blocks):
    with pytest.raises(
        ValueError, match=r"`blocks` must be \(ImageBlock, MultiCategoryBlock\), got"
    ):
        block(blocks=blocks)


def test_get_y_is_needed():
    with pytest.raises(ValueError, match="DataBlock: `get_y` must be a function .* parent_label"):
        block(get_y=None)


def test_empty_and_missing_folders(tmp_path):
    with pytest.raises(
        ValueError, match=f"`source` must hold at least one item, got none in {tmp_path}"
    ):
        block().dataloaders(tmp_path)
    with pytest.raises(FileNotFoundError, match="must be an existing folder"):
        block().dataloaders(tmp_path / "none")


@pytest.mark.parametrize(
    "splits, error, words",
    [
        (([], [0]), ValueError, "leave items to train on, got none of 9"),
        (([0], [1], [2]), ValueError, "got 3 lists"),
        (([0], [9]), IndexError, "validation positions below 9, got 9"),
        (([-1], [0]), IndexError, "training positions below 9, got -1"),
    ],
)
def test_wrong_splits(bears, splits, error, words):
    with pytest.raises(error, match=f"DataBlock: `splitter` must .*{words}"):
        block(splitter=lambda items: splits).datasets(bears)


def test_no_label_at_all(bears):
    with pytest.raises(ValueError, match="`get_y` must give at least one label"):
        block(get_y=lambda o: []).datasets(bears)


def test_encoded_needs_a_vocabulary(bears):
    with pytest.raises(TypeError, match="MultiCategoryBlock: `vocab` must name"):
        block(blocks=(ImageBlock, MultiCategoryBlock(encoded=True))).datasets(bears)
    with pytest.raises(ValueError, match="`add_na` must be False with encoded=True"):
        block(blocks=(ImageBlock, MultiCategoryBlock(True, ["a"], True))).datasets(bears)


# --- label transforms ---


def test_label_lists():
    assert label_list(["b", "a", "b"]) == ["b", "a"] and label_list({"b", "a"}) == ["a", "b"]
    assert (
        label_list(float("nan")) == label_list([]) == label_list([""]) == label_list([None]) == []
    )
    assert label_list(3) == [3] and label_list(L("a")) == ["a"] and label_list(("a",)) == ["a"]
    found = label_list(np.array(["a", "b"]))
    assert found == ["a", "b"] and type(found[0]) is str


def test_category_map():
    vocab = CategoryMap(["b", "a", "b"])
    assert vocab == ["a", "b"] and vocab.o2i == {"a": 0, "b": 1} and isinstance(vocab, L)
    assert CategoryMap(["b", "a"], sort=False) == ["b", "a"]
    assert CategoryMap(["b", "#na#"], add_na=True) == ["#na#", "b"]
    assert vocab.map_objs(["b", "a"]) == [1, 0] and vocab.map_ids([1, 1]) == ["b", "b"]
    assert vocab[np.array([1])] == ["b"] and CategoryMap(vocab) == vocab
    with pytest.raises(TypeError, match="one sortable type, got int and str"):
        CategoryMap(["a", 1])


def test_a_vocabulary_may_be_that_of_other_loaders():
    items = [(Image.new("RGB", (4, 4)), y) for y in (["b"], ["a", "c"], [], ["a"])]
    block = DataBlock(get_x=lambda o: o[0], get_y=lambda o: o[1], splitter=EndSplitter(0.25))
    vocab = block.dataloaders(items, bs=1).vocab
    again = DataBlock((ImageBlock, MultiCategoryBlock(vocab=vocab)), get_x=lambda o: o[0],
                      get_y=lambda o: o[1], splitter=EndSplitter(0.25))
    dls = again.dataloaders(items[1:], bs=1)
    assert dls.vocab == ["a", "b", "c"]
    assert dls.train_ds.targets().tolist() == [[1, 0, 1], [0, 0, 0], [1, 0, 0]]


def test_multi_categorize():
    t = MultiCategorize()
    with pytest.raises(ValueError, match="`vocab` must be given, or `setups` called"):
        t(["a"])
    t.setups([["b"], "a", [], None])
    assert t.vocab == ["a", "b"] and t(["b", "a"]).tolist() == [1, 0] and t("b").tolist() == [1]
    assert t(None).dtype == np.int64 and t.decode([1]) == ["b"]
    with pytest.raises(KeyError, match="Labels 'x', 'y' were not included in the training dataset"):
        t(["x", "a", "y"])
    fixed = MultiCategorize(vocab=["z", "a"])
    fixed.setups([["q"]])
    assert fixed.vocab == ["z", "a"]
    lenient = MultiCategorize(vocab=["z"], add_na=True)
    assert lenient(["q", "z", "p"]).tolist() == [0, 1]


def test_one_hot():
    t = OneHotEncode(3)
    assert t([2, 0]).tolist() == [1, 0, 1] and t([]).tolist() == [0, 0, 0]
    assert t.decode(np.array([1, 0.7, 1])).tolist() == [0, 2] and t.decode(
        [True, False]
    ).tolist() == [0]
    both = Pipeline([t, MultiCategorize(vocab=["a", "b", "c"])])
    assert both(["c"]).tolist() == [0, 0, 1] and both.decode(np.array([1, 1, 0])) == ["a", "b"]


def test_encoded():
    t = EncodedMultiCategorize(["a", "b"])
    assert t([True, 0]).tolist() == [1, 0] and t(L(1, 0.25)).dtype == np.float32
    assert t.decode([1, 0]) == ["a"]
    with pytest.raises(ValueError, match=r"must give numbers in \[0, 1\]"):
        t([float("nan"), 0])
    holed = EncodedMultiCategorize(["a", "b"], missing=True)
    assert np.isnan(holed([float("nan"), 1])).tolist() == [True, False]
    with pytest.raises(ValueError, match=r"must give numbers in \[0, 1\]"):
        holed([float("nan"), 2])
    with pytest.raises(ValueError, match="`missing` must be False without encoded=True, got True"):
        MultiCategoryBlock(missing=True).categorize()


def test_transforms_act_on_their_split():
    t = Transform(lambda x: x + 1, lambda x: x - 1, split_idx=0)
    assert t(1) == 1 and t(1, split_idx=0) == 2 and t(1, split_idx=1) == 1 and t.decode(1, 0) == 0
    assert Pipeline(t, split_idx=0)(1) == 2 and Pipeline(t)(1) == 1


def test_pipelines_run_in_order():
    class Double(Transform):
        order = 5

        def encodes(self, x):
            return 2 * x

        def decodes(self, x):
            return x / 2

    class Add(Transform):
        order = -1

        def encodes(self, x):
            return x + 1

        def decodes(self, x):
            return x - 1

    p = Pipeline([Double, str, int, Add()])
    assert p(3) == 8 and repr(p) == "Pipeline: Add -> str -> int -> Double" and len(p) == 4
    assert Pipeline([Double, Add]).decode(8) == 3 and Pipeline()(7) == 7 and Pipeline(p)(3) == 8
    assert isinstance(p[0], Add) and Pipeline([parent_label, get_label_list])("a/b/1.jpg") == ["b"]
    with pytest.raises(TypeError, match="Pipeline: `funcs` must be functions or Transforms, got 3"):
        Pipeline([3])


def test_col_reader():
    row = pd.Series({"f": "1", "y": " sun  sky ", "n": 3})
    assert (
        ColReader("f", pref=Path("a/b"), suff=".jpg")(row) == "a/b/1.jpg"
        and ColReader("n")(row) == 3
    )
    assert (
        ColReader("y", label_delim=" ")(row) == ["sun", "sky"] and ColReader(1)(row) == " sun  sky "
    )
    assert (
        ColReader("y", label_delim=" ")({"y": float("nan")})
        == ColReader("y", label_delim=";")({"y": ""})
        == []
    )
    assert ColReader(["n", 0])(row) == [3, "1"]
    named = next(pd.DataFrame({"y": ["a"]}).itertuples())
    assert ColReader("y")(named) == "a" and ColReader(0)(named) == 0
    both = {"y": "sun sky", "z": "owl"}
    assert ColReader(["y", "z"], label_delim=" ")(both) == ["sun", "sky", "owl"]
    assert repr(ColReader("y", label_delim=" ")) == "ColReader('y', label_delim=' ')"
    assert repr(ColReader([0, "f"], suff=".jpg")) == "ColReader([0, 'f'], suff='.jpg')"
    rule = "ColReader: `label_delim` must be a text that is not empty"
    with pytest.raises(ValueError, match=rule):
        ColReader("y", label_delim="")


def test_corel(shared):
    root = shared("corel5k")
    df = pd.read_csv(root / "labels_top40.csv")
    df = pd.concat([df[df.is_valid][:40], df[~df.is_valid][:400]])
    dls = DataBlock(
        get_x=ColReader("fname", pref=root / "images"),
        get_y=ColReader("labels", label_delim=" "),
        splitter=ColSplitter(),
        item_tfms=Crop(),
    ).dataloaders(df, bs=32)
    assert dls.train.n == 400 and dls.valid.n == 40
    x, y = dls.one_batch()
    assert tuple(x.shape) == (32, 3, 16, 16) and 1 <= float(np.asarray(y).sum(1).mean()) <= 5


def test_photos_of_the_post(shared):
    dls = block(splitter=RandomSplitter(valid_pct=0.2, seed=0)).dataloaders(shared("bears"))
    assert dls.vocab == ["black", "grizzly", "teddy"] and (dls.train.n, dls.valid.n) == (384, 96)
    assert len(dls.train) == 6 and tuple(dls.one_batch()[0].shape) == (64, 3, 16, 16)


def test_photos_without_labels_stay_and_are_shown(tmp_path, monkeypatch):
    """However a source says that there is none: None, an empty list or text, NaN of a table."""
    monkeypatch.setenv("MLCLASSIFY_PROGRESS", "0")
    nothing = [None, [], "", float("nan"), (), np.array([])]
    rows = [("a",), *nothing, "b", ["b", "a"]] * 2
    items = list(range(len(rows)))
    for i in items:
        Image.new("RGB", (40, 40), (i * 10, 0, 0)).save(tmp_path / f"{i}.png")
    block = DataBlock(blocks=(ImageBlock, MultiCategoryBlock), splitter=IndexSplitter(items[9:]),
                      get_x=lambda i: tmp_path / f"{i}.png", get_y=lambda i: rows[i],
                      item_tfms=Resize(32))
    dls = block.dataloaders(items, bs=9, shuffle=False, drop_last=False)
    assert list(dls.vocab) == ["a", "b"]
    want = [[1, 0]] + [[0, 0]] * 6 + [[0, 1], [1, 1]]
    np.testing.assert_array_equal(dls.train.one_batch()[1], want)
    titles = [ax.get_title() for ax in dls.valid.show_batch(max_n=9).flat]
    assert titles == ["a"] + ["(none)"] * 6 + ["b", "a;b"]
