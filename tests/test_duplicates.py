"""Photos that look alike, and the tables of labels that come of them."""

import csv
import io

import numpy as np
import pytest
from PIL import Image, ImageEnhance

from mlclassify.data import duplicates
from mlclassify.data.block import DataBlock
from mlclassify.data.duplicates import Duplicates, difference_hash, find_duplicates
from mlclassify.data.files import get_image_files
from mlclassify.data.lists import L
from mlclassify.data.samples import draw_picture, drawn_bears
from mlclassify.data.table import LabelTable, read_table, table_of_folders
from mlclassify.data.transforms import ColReader
from mlclassify.vision.image import UnreadableImageError


def slow_hash(grey):
    """The definition: a bit for each step to the right, then one for each step downwards."""
    right = [grey[y, x + 1] > grey[y, x] for y in range(8) for x in range(8)]
    down = [grey[y + 1, x] > grey[y, x] for y in range(8) for x in range(8)]
    return np.array(right + down)


def bits(value):
    return np.unpackbits(value.view(np.uint8)).astype(bool)


def test_the_hash_is_its_definition(rng):
    grey = rng.integers(0, 256, (9, 9), np.uint8)
    big = np.kron(grey, np.ones((7, 11), np.uint8))  # each cell a rectangle: its mean is itself
    assert (bits(difference_hash(big)) == slow_hash(grey.astype(int))).all()


@pytest.mark.parametrize("picture", [
    np.zeros((5, 5), np.uint8), np.full((90, 40, 3), 255, np.uint8),
    np.tile(np.uint8([7, 8]), (20, 10)),
])  # fmt: skip
def test_a_picture_of_one_colour_has_no_hash(picture):
    assert difference_hash(picture) is None


def test_pictures_of_any_size_have_one():
    for h, w in ((1, 2), (2, 1), (3, 500), (1000, 2)):
        picture = np.linspace(0, 255, h * w).astype(np.uint8).reshape(h, w)
        assert difference_hash(picture).shape == (2,)


def distance(a, b):
    return int((bits(difference_hash(a)) != bits(difference_hash(b))).sum())


def jpeg(im, **options):
    data = io.BytesIO()
    im.save(data, "JPEG", **options)
    return data.getvalue()


def test_what_is_done_to_a_photo_changes_little():
    im, _ = draw_picture(3, 5, 256)
    others = [draw_picture(3, i, 256)[0] for i in (6, 7, 8)]
    assert distance(im, im.resize((100, 90))) <= 8 and distance(im, jpeg(im, quality=20)) <= 8
    assert distance(im, ImageEnhance.Brightness(im).enhance(1.2)) <= 8
    assert min(distance(im, other) for other in others) > 20


def test_a_large_jpeg_is_decoded_in_part(monkeypatch):
    sizes = []
    read = duplicates.open_image
    monkeypatch.setattr(duplicates, "open_image",
                        lambda fn, enough: sizes.append((im := read(fn, enough)).size) or im)
    im, _ = draw_picture(3, 5, 600)
    assert distance(jpeg(im, quality=95), im) <= 8 and sizes == [(75, 75), (600, 600)]


def test_pairs_are_those_of_every_pair(rng, monkeypatch):
    table = rng.integers(0, 2**63, (60, 2), np.uint64) & np.uint64(0xFFFF00000000FFFF)
    table[7], table[50] = table[3], table[3] ^ np.uint64(5)
    slow = {(i, j) for i in range(60) for j in range(i + 1, 60)
            if int(table[i, 0] ^ table[j, 0]).bit_count()
            + int(table[i, 1] ^ table[j, 1]).bit_count() <= 9}
    assert {(3, 7), (3, 50), (7, 50)} <= slow
    for pairs in (1, 200, 4_000_000):  # compared at a time
        monkeypatch.setattr(duplicates, "_PAIRS", pairs)
        assert set(duplicates._pairs(table, 9)) == slow
    assert list(duplicates._pairs(table[:0], 9)) == []


def test_groups_are_joined():
    assert duplicates._joined(7, [(0, 1), (3, 4), (4, 1), (5, 6)]) == [[0, 1, 3, 4], [5, 6]]


@pytest.fixture
def bears(tmp_path):
    """Folders of labels; one photo is under two labels, one twice under one, one plain."""
    folder = drawn_bears(tmp_path / "bears", 9, seed=1, layout="folders", size=96)
    with Image.open(folder / "black" / "00000.jpg") as im:
        im.resize((60, 60)).save(folder / "teddy" / "small.png")
        im.save(folder / "black" / "worse.jpg", quality=60)
    for name in ("red", "blue"):
        Image.new("RGB", (30, 30), name).save(folder / "grizzly" / f"{name}.png")
    return folder


def relative(folder, fns):
    return [str(fn.relative_to(folder)) for fn in fns]


def test_find_duplicates(bears):
    found = find_duplicates(get_image_files(bears))
    assert isinstance(found, Duplicates) and len(found) == 1
    assert set(relative(bears, found.groups[0])) == {
        "black/00000.jpg", "black/worse.jpg", "teddy/small.png"}  # fmt: skip
    sizes = found.groups[0].map(lambda fn: fn.stat().st_size)
    assert sizes == sorted(sizes, reverse=True) and found.extras() == found.groups[0][1:]
    assert found.label_rows() == [(found.groups[0][0], ["black", "teddy"])]
    assert repr(found).splitlines() == [
        "1 groups of photos that look alike", ", ".join(map(str, found.groups[0]))]  # fmt: skip
    assert len(find_duplicates(get_image_files(bears), max_distance=0).groups) <= 1
    assert len(find_duplicates(get_image_files(bears), max_distance=128).groups[0]) == 11
    assert len(find_duplicates([])) == 0


def test_duplicates_are_drawn(bears):
    axes = find_duplicates(get_image_files(bears)).show(max_n=2)
    assert next(ax.get_title() for ax in axes.flat).startswith("0: ") and axes.size == 2
    axes.flat[0].figure.clear()


def test_a_broken_photo_is_named(bears):
    (bears / "black" / "broken.jpg").write_bytes(b"\xff\xd8 no photo")
    with pytest.raises(UnreadableImageError, match="black/broken.jpg"):
        find_duplicates(get_image_files(bears))
    with pytest.raises(ValueError) as caught:
        find_duplicates([], max_distance=-1)
    assert str(caught.value) == (
        "find_duplicates: `max_distance` must be an integer of at least 0, got -1"
    )


def test_the_doubles_of_a_real_scrape(shared):
    found = find_duplicates(get_image_files(shared("bears")))
    names = {frozenset((fn.parent.name, fn.stem[-3:]) for fn in group) for group in found.groups}
    assert {frozenset({("black", "169"), ("grizzly", "122")}),
            frozenset({("teddy", "072"), ("teddy", "151")}),
            frozenset({("grizzly", "092"), ("grizzly", "185")})} <= names and len(names) < 6
    assert found.label_rows().map(lambda row: row[1]) == [["black", "grizzly"]]


# --- tables ---


def test_a_photo_under_two_labels_is_a_row_with_both(bears):
    table = table_of_folders(bears)
    first = relative(bears, find_duplicates(get_image_files(bears)).groups[0])[0]
    assert len(table.rows) == 11 and table.rows[first] == ["black", "teddy"]
    assert table.rows["grizzly/00001.jpg"] == ["grizzly"]
    table.write(bears / "labels.csv")
    with open(bears / "labels.csv", newline="") as file:
        rows = list(csv.DictReader(file))
    block = DataBlock(get_x=ColReader("fname", pref=bears),
                      get_y=ColReader("labels", label_delim=" "))
    data = block.datasets(L(rows))
    assert list(data.vocab) == ["black", "grizzly", "teddy"] and len(data.items) == 11


def test_a_table_keeps_what_it_does_not_know(tmp_path):
    text = "fname,is_valid,labels,note\n1.jpg,True,a b,\"x, \"\"y\"\"\"\n2.jpg,False,,\n"
    (tmp_path / "labels.csv").write_text("\ufeff" + text)
    table = read_table(tmp_path / "labels.csv")
    assert table.rows == {"1.jpg": ["a", "b"], "2.jpg": []} and table.labels() == ["a", "b"]
    table.rows["3.jpg"] = ["c"]
    table.write(tmp_path / "labels.csv")
    assert (tmp_path / "labels.csv").read_text() == (
        "fname,labels,is_valid,note\n1.jpg,a b,True,\"x, \"\"y\"\"\"\n2.jpg,,False,\n3.jpg,c,,\n"
    )


def test_other_delimiters(tmp_path):
    LabelTable({"1.jpg": ["polar bear", "sea"]}, ";").write(tmp_path / "a.csv")
    assert read_table(tmp_path / "a.csv", ";").rows == {"1.jpg": ["polar bear", "sea"]}
    assert (tmp_path / "a.csv").read_text().splitlines()[1] == "1.jpg,polar bear;sea"


def test_labels_go_through_a_table_unchanged(tmp_path):
    """What a spreadsheet takes for a formula, too: a table is read back as it was written."""
    labels = ["=1+1", "@SUM(A1)", "+1", "-1", "=HYPERLINK(\"http://x\")", "\"", "a,b", "é"]
    LabelTable({f"{i}.jpg": [label] for i, label in enumerate(labels)}, " ").write(
        tmp_path / "labels.csv")
    read = read_table(tmp_path / "labels.csv")
    assert list(read.rows.values()) == [[label] for label in labels]


@pytest.mark.parametrize("label", ["polar bear", "", " a", "a\nb", None])
def test_a_label_that_cannot_be_read_again_is_not_written(tmp_path, label):
    with pytest.raises(ValueError) as caught:
        LabelTable({"1.jpg": [label]}).write(tmp_path / "a.csv")
    assert str(caught.value) == (
        "LabelTable.write: `label` must be a text on one line without the delimiter ' ', got "
        f"{label!r}; choose another label_delim"
    )
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("name", [
    "a\rb.jpg", "a\nb.jpg", "a\r\nb.jpg", '"', ",", "\0", "'", "\u2028"])
def test_a_table_keeps_names_of_any_kind(tmp_path, name):
    """A carriage return alone ends a line for readers; writers of Python 3.11 do not quote it."""
    table = LabelTable({name: ["sea"], "2.jpg": []}, others={name: {"note": name}, "2.jpg": {}})
    table.write(tmp_path / "a.csv")
    found = read_table(tmp_path / "a.csv")
    assert found.rows == table.rows and found.others[name] == {"note": name}


@pytest.mark.parametrize("data, got", [
    (b"", "columns that are missing"),
    (b"file,labels\n1,a\n", "columns file, labels"),
    (b"fname,labels\n\xff,a\n", "'utf-8' codec can't decode byte 0xff in position 13: invalid "
                                "start byte"),
    (b"fname,labels\n1,a\n2,b\n1,c\n", "there are two rows of '1'"),
    (b"fname,labels\n1,a,b\n", "the row of '1' has more cells than there are columns"),
    (b"fname,labels\n1," + b"a" * 200_000, "field larger than field limit (131072)"),
])  # fmt: skip
def test_a_file_that_is_no_table_of_labels(tmp_path, data, got):
    path = tmp_path / "a.csv"
    path.write_bytes(data)
    with pytest.raises(ValueError) as caught:
        read_table(path)
    assert str(caught.value) == (
        f"read_table: `path` must be a table with columns fname and labels, got {str(path)!r} "
        f"({got})"
    )
    with pytest.raises(FileNotFoundError):
        read_table(tmp_path / "none.csv")
    with pytest.raises(ValueError, match="read_table: `label_delim` must be a text that is not"):
        read_table(path, "")
