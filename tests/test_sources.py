"""`ImageDataLoaders`: every source gives the photos, labels and split that its files say."""

from functools import partial
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import pytest
from PIL import Image
from tiny import tiny

from mlclassify.data import counts
from mlclassify.data.block import MultiCategoryBlock
from mlclassify.data.files import RegexLabeller, get_image_files
from mlclassify.data.samples import drawn_bears
from mlclassify.data.sources import ImageDataLoaders
from mlclassify.data.split import RandomSplitter
from mlclassify.data.stratify import StratifiedSplitter
from mlclassify.interpret import Interpretation
from mlclassify.learner import Learner, load_learner
from mlclassify.metrics import accuracy_multi
from mlclassify.vision.augment import Normalize, Resize, aug_transforms, imagenet_stats
from mlclassify.vision.backbones import resnet18
from mlclassify.vision.learner import vision_learner
from mlclassify.vision.models import create_model

NAMES = [
    "sky_1",
    "sun_2",
    "sky-sun_3",
    "sun_4",
    "sky_5",
    "sky-owl_6",
    "owl_7",
    "sun_8",
    "sky_9",
    "owl_0",
]
LABELS = [name.split("_")[0].split("-") for name in NAMES]
SMALL = {"item_tfms": Resize(8), "bs": 2}


@pytest.fixture
def folder(tmp_path):
    """Ten photos that say their labels in their names, each of a grey of its own."""
    (tmp_path / "photos").mkdir()
    for i, name in enumerate(NAMES):
        Image.new("RGB", (10, 9), (20 * i, 20 * i, 20 * i)).save(
            tmp_path / "photos" / f"{name}.png"
        )
    return tmp_path


def files(folder):
    return [folder / "photos" / f"{name}.png" for name in NAMES]


def table(**columns):
    return pd.DataFrame({"file": NAMES, "labels": [" ".join(y) for y in LABELS], **columns})


def check(dls, folder, split):
    """Photos and labels of both sides are those of the positions in `split`."""
    assert dls.vocab == ["owl", "sky", "sun"]
    for dl, part in zip((dls.train, dls.valid), split):
        assert dl.n == len(part)
        for k, i in enumerate(part):
            assert set(dl.dataset.labels(k)) == set(LABELS[i])
            assert np.asarray(dl.dataset.image(k))[0, 0, 0] == 20 * i
    assert dls.one_batch()[0].shape == (2, 3, 8, 8)


def by_name(dls):
    """Targets of the training photos, in the order of `NAMES`."""
    place = [NAMES.index(row.iloc[0]) for row in dls.train_ds.items]
    return dls.train_ds.targets()[np.argsort(place)]


def labels_of(name):
    return name.split("_")[0].split("-")


def test_from_df(folder):
    dls = ImageDataLoaders.from_df(
        table(),
        folder,
        folder="photos",
        suff=".png",
        label_delim=" ",
        seed=3,
        valid_pct=0.3,
        **SMALL,
    )
    check(dls, folder, RandomSplitter(0.3, seed=3)(NAMES))
    assert dls.path == folder


def test_columns_by_name_and_place(folder):
    df = table(path=[f"photos/{name}.png" for name in NAMES])[["labels", "path"]]
    for fn_col, label_col in (("path", "labels"), (1, 0), (-1, ["labels"])):
        dls = ImageDataLoaders.from_df(
            df, folder, fn_col=fn_col, label_col=label_col, label_delim=" ", seed=3, **SMALL
        )
        check(dls, folder, RandomSplitter(0.2, seed=3)(NAMES))


def test_a_column_of_validation(folder):
    df = table(is_valid=[i in (2, 6) for i in range(10)], part=list("tttttvvttt"))
    for col in ("is_valid", 2):
        dls = ImageDataLoaders.from_df(
            df, folder / "photos", suff=".png", label_delim=" ", valid_col=col, **SMALL
        )
        check(dls, folder, ([0, 1, 3, 4, 5, 7, 8, 9], [2, 6]))


def test_without_a_delimiter_a_cell_is_one_label(folder):
    dls = ImageDataLoaders.from_df(table(), folder / "photos", suff=".png", valid_pct=0, **SMALL)
    assert dls.vocab == ["owl", "sky", "sky owl", "sky sun", "sun"]


def test_columns_of_numbers_are_labels(folder):
    one_hot = {name: [int(name in y) for y in LABELS] for name in ("sun", "owl", "sky")}
    df = table(**one_hot)
    dls = ImageDataLoaders.from_df(
        df, folder / "photos", suff=".png", label_col=list(one_hot), valid_pct=0.2, seed=1, **SMALL
    )
    assert dls.vocab == ["sun", "owl", "sky"]
    rows = list(RandomSplitter(0.2, seed=1)(NAMES)[0])
    assert (dls.train_ds.targets() == df[list(one_hot)].to_numpy()[rows]).all()
    assert (dls.train_ds.targets().sum(axis=0) > 0).all()


def test_numbers_that_are_not_known_stay_nan(folder):
    df = table(sun=[1, np.nan] * 5, sky=0.5)
    dls = ImageDataLoaders.from_df(
        df, folder / "photos", suff=".png", label_col=["sun", "sky"], valid_pct=0, **SMALL
    )
    np.testing.assert_array_equal(by_name(dls), df[["sun", "sky"]])
    with pytest.raises(ValueError) as caught:
        ImageDataLoaders.from_df(df, folder, label_col=["sun", "sky"], vocab=["a", "b"])
    assert str(caught.value) == (
        "from_df: `vocab` must be None where several columns of numbers are the labels, got "
        "['a', 'b']"
    )


def test_columns_of_texts_hold_labels(folder):
    df = table(first=[y[0] for y in LABELS], second=[y[1] if y[1:] else None for y in LABELS])
    dls = ImageDataLoaders.from_df(
        df, folder / "photos", suff=".png", seed=3, label_col=["first", "second"], **SMALL
    )
    check(dls, folder, RandomSplitter(0.2, seed=3)(NAMES))


def test_one_column_of_numbers_with_a_block_of_ones_own(folder):
    df = table(sun=[int("sun" in y) for y in LABELS])
    dls = ImageDataLoaders.from_df(
        df,
        folder / "photos",
        suff=".png",
        label_col="sun",
        valid_pct=0,
        y_block=MultiCategoryBlock(encoded=True, vocab=["sun"]),
        **SMALL,
    )
    assert by_name(dls).tolist() == [[float("sun" in y)] for y in LABELS]


def test_columns_without_names(folder):
    df = table(sun=[int("sun" in y) for y in LABELS], sky=[int("sky" in y) for y in LABELS])
    df.columns = [7, 8, 9, 3]
    for label_col in ([9, 3], [2, -1]):
        dls = ImageDataLoaders.from_df(df, folder / "photos", suff=".png", fn_col=7, valid_pct=0,
                                       label_col=label_col, **SMALL)  # fmt: skip
        assert dls.vocab == [9, 3]
        np.testing.assert_array_equal(by_name(dls), df[[9, 3]])


def test_columns_of_one_name_are_told_apart_by_place(folder):
    df = table(sun=[int("sun" in y) for y in LABELS], sky=[int("sky" in y) for y in LABELS])
    df.columns = ["file", "sky", "sun", "sky"]
    common = {"path": folder / "photos", "suff": ".png", "valid_pct": 0, **SMALL}
    dls = ImageDataLoaders.from_df(df, label_col=[2, 3], **common)
    assert dls.vocab == ["sun", "sky"]
    np.testing.assert_array_equal(by_name(dls), df.iloc[:, 2:])
    with pytest.raises(ValueError) as caught:
        ImageDataLoaders.from_df(df, label_col=["sun", "sky"], **common)
    assert str(caught.value) == (
        "from_df: `label_col` must name one column, got 'sky', which 2 are called; give its "
        "position"
    )


def test_other_tables_may_have_their_columns_elsewhere(folder):
    dls = ImageDataLoaders.from_df(table(), folder / "photos", suff=".png", label_delim=" ",
                                   **SMALL)  # fmt: skip
    turned = table()[["labels", "file"]]
    rows = dls.test_dl(turned, with_labels=True)
    assert [set(rows.dataset.labels(i)) for i in range(10)] == [set(y) for y in LABELS]
    assert np.asarray(rows.dataset.image(3))[0, 0, 0] == 60


def test_vocab_and_stratify(folder):
    dls = ImageDataLoaders.from_df(
        table(),
        folder / "photos",
        suff=".png",
        label_delim=" ",
        vocab=["sun", "sky", "owl", "elk"],
        stratify=True,
        seed=2,
        valid_pct=0.3,
        **SMALL,
    )
    assert dls.vocab == ["sun", "sky", "owl", "elk"]
    want = StratifiedSplitter(0.3, 2, get_y=lambda y: y)(LABELS)
    assert [NAMES.index(row["file"]) for row in dls.valid_ds.items] == list(want[1])


def test_from_csv(folder, monkeypatch):
    df = table(is_valid=[i in (2, 6) for i in range(10)])
    df.to_csv(folder / "labels.csv", index=False)
    df.to_csv(folder / "other.tsv", index=False, header=False, sep="\t")
    common = {"folder": "photos", "suff": ".png", "label_delim": " ", "valid_col": 2, **SMALL}
    split = [0, 1, 3, 4, 5, 7, 8, 9], [2, 6]
    check(ImageDataLoaders.from_csv(folder, **common), folder, split)
    check(
        ImageDataLoaders.from_csv(folder, "other.tsv", header=None, delimiter="\t", **common),
        folder,
        split,
    )
    with pytest.raises(FileNotFoundError) as caught:
        ImageDataLoaders.from_csv(folder, "no.csv")
    assert str(caught.value) == (
        f"from_csv: `csv_fname` must be a file in `path`, got {folder / 'no.csv'}"
    )


def test_what_is_missing_in_a_csv(folder):
    lines = ["file,labels,sun", "sky_1,NA,1", "sun_2,,nan", "owl_7,None sky,0", "sun_4,sky,"]
    (folder / "labels.csv").write_text("\n".join(lines))
    common = {"folder": "photos", "suff": ".png", "valid_pct": 0, **SMALL}
    dls = ImageDataLoaders.from_csv(folder, label_delim=" ", **common)
    assert dls.vocab == ["NA", "None", "sky"]
    assert by_name(dls).tolist() == [[1, 0, 0], [0, 0, 0], [0, 0, 1], [0, 1, 1]]
    (folder / "labels.csv").write_text("file,sun,sky\nsky_1,1,0\nsun_2,nan,1\nowl_7,,0\n")
    dls = ImageDataLoaders.from_csv(folder, label_col=["sun", "sky"], **common)
    np.testing.assert_array_equal(by_name(dls), [[1, 0], [np.nan, 1], [np.nan, 0]])


def test_pandas_is_asked_for_by_name(folder, monkeypatch):
    (folder / "labels.csv").write_text("file,labels\n")

    def missing(name):
        raise ModuleNotFoundError(name)

    monkeypatch.setattr(counts, "import_module", missing)
    with pytest.raises(ModuleNotFoundError) as caught:
        ImageDataLoaders.from_csv(folder)
    assert str(caught.value) == (
        "from_csv: needs pandas, which is not installed; pip install 'mlclassify[notebook]'"
    )


def test_quotes_of_a_csv(folder):
    (folder / "labels.csv").write_text('file,labels\nsky_1,"sky\nsun_2,sun\n')
    dls = ImageDataLoaders.from_csv(
        folder, quoting=3, folder="photos", suff=".png", valid_pct=0, **SMALL
    )
    assert dls.vocab == ['"sky', "sun"]


def test_from_name_func(folder):
    for name in ("from_name_func", "from_path_func"):
        make = getattr(ImageDataLoaders, name)
        labels = labels_of if name == "from_name_func" else lambda p: labels_of(Path(p).name)
        dls = make(folder, files(folder), labels, valid_pct=0.3, seed=4, **SMALL)
        check(dls, folder, RandomSplitter(0.3, seed=4)(NAMES))
        assert dls.path == folder


def test_from_name_and_path_re(folder):
    names = files(folder)[:2] + files(folder)[6:]
    for make, pattern in (
        (ImageDataLoaders.from_name_re, r"^(\w+)_\d"),
        (ImageDataLoaders.from_path_re, r"photos/([a-z]+)_"),
    ):
        dls = make(folder, names, pattern, seed=1, **SMALL)
        train = [dls.train_ds.labels(k) for k in range(dls.train.n)]
        assert train == [[Path(o).name.split("_")[0]] for o in dls.train_ds.items]
    with pytest.raises(ValueError, match="must match every item, got 'sky-"):
        ImageDataLoaders.from_name_re(folder, files(folder), r"^([a-z]+)_\d", **SMALL)


def test_regex_labeller():
    assert RegexLabeller("(b.)")("aabc") == "bc"
    with pytest.raises(ValueError) as caught:
        RegexLabeller("(b.)", match=True)("aabc")
    assert str(caught.value) == ("RegexLabeller: `pat` = '(b.)' must match every item, got 'aabc'")
    assert repr(RegexLabeller("(b.)")) == "RegexLabeller('(b.)')"
    with pytest.raises(ValueError) as caught:
        RegexLabeller("b.")
    assert str(caught.value) == (
        "RegexLabeller: `pat` must have a group (in parentheses) around the label, got 'b.'"
    )
    with pytest.raises(ValueError) as caught:
        RegexLabeller("(b")
    assert str(caught.value) == (
        "RegexLabeller: `pat` must be a regular expression, got '(b' (missing ), unterminated "
        "subpattern at position 0)"
    )


def test_from_lists(folder):
    dls = ImageDataLoaders.from_lists(folder, files(folder), LABELS, 0.3, 4, **SMALL)
    check(dls, folder, RandomSplitter(0.3, seed=4)(NAMES))
    numbers = np.eye(10)[:, :3]
    dls = ImageDataLoaders.from_lists(
        folder,
        files(folder),
        numbers,
        0,
        **SMALL,
        y_block=MultiCategoryBlock(encoded=True, vocab=["a", "b", "c"]),
    )
    order = [item[0].stem for item in dls.train_ds.items]
    assert (dls.train_ds.targets() == numbers[[NAMES.index(name) for name in order]]).all()
    with pytest.raises(ValueError) as caught:
        ImageDataLoaders.from_lists(folder, files(folder), LABELS[:3])
    assert str(caught.value) == "from_lists: `labels` must be as many as the 10 `fnames`, got 3"


def test_from_folder(tmp_path):
    for i, label in enumerate(("owl", "sky")):
        for part, n in (("train", 3), ("valid", 1), ("test", 2)):
            for k in range(n):
                (tmp_path / part / label).mkdir(parents=True, exist_ok=True)
                Image.new("RGB", (9, 9), (100 * i, k, 0)).save(tmp_path / part / label / f"{k}.png")
    dls = ImageDataLoaders.from_folder(tmp_path, **SMALL)
    assert (dls.train.n, dls.valid.n, dls.vocab) == (6, 2, ["owl", "sky"])
    dls = ImageDataLoaders.from_folder(tmp_path, train="test", valid=["valid", "train"], **SMALL)
    assert (dls.train.n, dls.valid.n) == (4, 8)
    with pytest.raises(FileNotFoundError) as caught:
        ImageDataLoaders.from_folder(tmp_path, valid="val")
    assert str(caught.value) == (
        "from_folder: `valid` must name a folder in `path`, got 'val', which is not in "
        f"{tmp_path}; split at random with valid_pct=0.2"
    )
    dls = ImageDataLoaders.from_folder(tmp_path, valid_pct=0.25, seed=1, **SMALL)
    assert (dls.train.n, dls.valid.n) == (9, 3)
    assert dls.train_ds.items == [
        get_image_files(tmp_path)[i] for i in RandomSplitter(0.25, seed=1)(range(12))[0]
    ]
    dls = ImageDataLoaders.from_folder(
        tmp_path, stratify=True, seed=1, vocab=["sky", "owl"], **SMALL
    )
    assert (dls.train.n, dls.vocab) == (10, ["sky", "owl"])
    assert dls.label_counts().values.tolist() == [[5, 1], [5, 1]]


def test_photos_of_a_table_are_named_by_their_files(folder, monkeypatch):
    monkeypatch.setenv("MLCLASSIFY_PROGRESS", "0")
    dls = ImageDataLoaders.from_df(table(), folder, folder="photos", suff=".png", label_delim=" ",
                                   valid_pct=0.3, seed=1, **SMALL)  # fmt: skip
    names = {f"photos/{name}.png" for name in NAMES}
    learn = Learner(dls, create_model(tiny, dls.c, seed=1))
    known = set(learn.fit_novelty(lost=0.5, k=2).names)
    judged = set(Interpretation.from_learner(learn).photos)
    assert (len(known), len(judged)) == (7, 3) and known | judged == names
    Image.new("RGB", (10, 5)).save(folder / "photos" / "owl_0.png")
    dls = ImageDataLoaders.from_df(table(is_valid=np.arange(10) < 5), folder, folder="photos",
                                   suff=".png", label_delim=" ", valid_col="is_valid", bs=5)
    with pytest.raises(ValueError, match=r"all photos one size, got .*photos[/\\]owl_0\.png"):
        dls.one_batch()
    dls.train.item_tfms = [Failing()]
    with pytest.raises(ZeroDivisionError) as caught:
        dls.one_batch()
    assert caught.value.__notes__[0].endswith(".png")


class Failing:
    """An item transform that cannot be applied."""

    order = 1

    def apply(self, image, draw, train):
        return 1 / 0


def test_transforms_and_options_go_through(folder):
    dls = ImageDataLoaders.from_name_func(
        folder,
        files(folder),
        labels_of,
        item_tfms=Resize(6),
        val_bs=5,
        bs=3,
        shuffle=False,
        batch_tfms=Normalize.from_stats(*imagenet_stats),
        num_workers=0,
        seed=1,
    )
    assert (dls.train.bs, dls.valid.bs, dls.train.shuffle, dls.train.num_workers) == (
        3,
        5,
        False,
        0,
    )
    assert dls.one_batch()[0].shape == (3, 3, 6, 6) and type(dls.valid.batch_tfms[0]) is Normalize
    with pytest.raises(TypeError, match="unexpected keyword argument 'batch_size'"):
        ImageDataLoaders.from_name_func(folder, files(folder), labels_of, batch_size=4)


@pytest.mark.parametrize("make, error, message", [
    (lambda: ImageDataLoaders.from_df([1]), TypeError,
     "from_df: `df` must be a DataFrame, got list"),
    (lambda: ImageDataLoaders.from_df(table(), label_col="tags"), KeyError,
     "from_df: `label_col` must name a column of file, labels, or its position, got 'tags'"),
    (lambda: ImageDataLoaders.from_df(table(), fn_col=2), KeyError,
     "from_df: `fn_col` must name a column of file, labels, or its position, got 2"),
    (lambda: ImageDataLoaders.from_df(table(), valid_col="is_valid"), KeyError,
     "from_df: `valid_col` must name a column of file, labels, or its position, got 'is_valid'"),
    (lambda: ImageDataLoaders.from_df(table(), y_block=MultiCategoryBlock, vocab=["a"]), ValueError,
     "ImageDataLoaders: `vocab` must be None with a `y_block` of your own, got ['a']"),
    (lambda: ImageDataLoaders.from_name_func(".", [], "label"), TypeError,
     "from_name_func: `label_func` must be a function, got 'label'"),
    (lambda: ImageDataLoaders.from_path_func(".", [], "label"), TypeError,
     "from_path_func: `label_func` must be a function, got 'label'"),
    (lambda: ImageDataLoaders.from_folder(3), TypeError,
     "from_folder: `path` must be a path or str, got 3"),
])  # fmt: skip
def test_wrong_arguments(make, error, message):
    with pytest.raises(error) as caught:
        make()
    assert caught.value.args[0] == message


def test_a_learner_predicts_from_every_source(folder):
    dls = ImageDataLoaders.from_df(
        table(), folder, folder="photos", suff=".png", label_delim=" ", seed=3, **SMALL
    )
    rows = dls.test_dl(table()[:4], with_labels=True)
    assert rows.dataset.labels(2) == ["sky", "sun"] and next(iter(rows))[0].shape == (2, 3, 8, 8)
    paths = dls.test_dl(files(folder)[:3])
    assert next(iter(paths))[0].shape == (2, 3, 8, 8) and not paths.has_labels


def test_corel(shared):
    """The CSV of fastai's lesson: `labels` and `is_valid`, some photos without labels."""
    dls = ImageDataLoaders.from_csv(
        shared("corel5k"),
        "labels_top40.csv",
        folder="images",
        label_delim=" ",
        valid_col="is_valid",
        item_tfms=Resize(32),
        bs=8,
    )
    assert (dls.train.n, dls.valid.n, dls.c) == (4500, 499, 40)
    df = pd.read_csv(shared("corel5k/labels_top40.csv"), keep_default_na=False)
    counts = dls.label_counts()
    for name in dls.vocab:
        assert counts[name, "valid"] == sum(name in y.split() for y in df.labels[df.is_valid])
    assert counts["(no label)", "train"] + counts["(no label)", "valid"] == 182
    assert dls.one_batch()[0].shape == (8, 3, 32, 32)


def test_the_lesson(tmp_path, monkeypatch):
    """fastai's lesson for several labels, small: a CSV, presizing, training, predictions."""
    monkeypatch.setenv("MLCLASSIFY_PROGRESS", "0")
    path = drawn_bears(tmp_path / "bears", 40, seed=1, size=48)
    df = pd.read_csv(path / "labels.csv", keep_default_na=False)
    dls = ImageDataLoaders.from_df(
        df, path, folder="images", valid_col="is_valid", label_delim=" ", bs=16,
        item_tfms=Resize(48), batch_tfms=aug_transforms(size=32, min_scale=0.75),
    )  # fmt: skip
    dls.show_batch(max_n=4)
    metric = partial(accuracy_multi, thresh=0.5)
    learn = vision_learner(dls, resnet18, pretrained=False, metrics=metric)
    with learn.no_bar(), learn.no_logging():
        learn.fit_one_cycle(1, 3e-3)
    learn.show_results(max_n=4)
    plt.close("all")
    _, mask, probs = learn.predict(path / "images" / "00000.jpg")
    assert mask.shape == probs.shape == (3,)
    learn.export(tmp_path / "bears.safetensors")
    again = load_learner(tmp_path / "bears.safetensors")
    rows, _ = learn.get_preds(dl=learn.dls.test_dl(df[:5]))
    files, _ = again.get_preds(dl=again.dls.test_dl(get_image_files(path)[:5]))
    np.testing.assert_array_equal(rows, files)
