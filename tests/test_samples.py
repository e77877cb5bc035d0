"""The drawn bears: the same for a seed, true to their labels, never half written."""

import csv
import hashlib

import numpy as np
import pytest

from mlclassify.data import bears, samples, scenes
from mlclassify.data.samples import (
    BEARS_CHANCE,
    KINDS,
    VALID_EVERY,
    draw_picture,
    drawn_bears,
)
from mlclassify.vision.image import Image


def table(path):
    with open(path / "labels.csv", newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


def digests(path):
    files = sorted(f for f in path.rglob("*") if f.is_file())
    return {str(f.relative_to(path)): hashlib.sha256(f.read_bytes()).hexdigest() for f in files}


def test_a_set_is_complete(tmp_path):
    path = drawn_bears(tmp_path / "deep" / "bears", n=12, seed=3, size=48)
    assert path == tmp_path / "deep" / "bears"
    rows = table(path)
    assert [r["fname"] for r in rows] == [f"{i:05}.jpg" for i in range(12)]
    assert sorted(f.name for f in (path / "images").iterdir()) == [r["fname"] for r in rows]
    assert [f.name for f in path.parent.iterdir()] == ["bears"]
    for row in rows:
        kinds = row["labels"].split()
        assert kinds == sorted(set(kinds)) and set(kinds) <= set(KINDS)
        with Image.open(path / "images" / row["fname"]) as image:
            assert image.format == "JPEG" and image.size == (48, 48) and image.mode == "RGB"


def test_every_fifth_picture_is_for_validation(tmp_path):
    rows = table(drawn_bears(tmp_path / "bears", n=11, seed=3, size=16))
    assert {r["is_valid"] for r in rows} == {"True", "False"}
    assert [i for i, r in enumerate(rows) if r["is_valid"] == "True"] == [4, 9]
    assert VALID_EVERY == 5


def test_the_same_seed_draws_the_same_bytes_whatever_n(tmp_path):
    few, again, many = (
        digests(drawn_bears(tmp_path / name, n, seed=8, size=32))
        for name, n in (("few", 4), ("again", 4), ("many", 7))
    )
    assert few == again
    few.pop("labels.csv")
    assert few.items() <= many.items()
    other = digests(drawn_bears(tmp_path / "other", 4, seed=9, size=32))
    assert not few.items() & other.items()


def test_folders_hold_one_bear_a_picture(tmp_path):
    path = drawn_bears(tmp_path / "bears", n=7, seed=1, layout="folders", size=32)
    found = {k: [f.name for f in sorted((path / k).iterdir())] for k in KINDS}
    assert found == {
        "black": ["00000.jpg", "00003.jpg", "00006.jpg"],
        "grizzly": ["00001.jpg", "00004.jpg"],
        "teddy": ["00002.jpg", "00005.jpg"],
    }
    assert sorted(f.name for f in path.iterdir()) == list(KINDS)


def test_how_many_bears_there_are():
    counts, kinds = np.zeros(4), dict.fromkeys(KINDS, 0)
    for i in range(2000):
        drawn = samples._draw_kinds(samples.KeyedRandom(5, 0, i, samples.DRAWING))
        counts[len(drawn)] += 1
        for kind in drawn:
            kinds[kind] += 1
    assert np.abs(counts / 2000 - BEARS_CHANCE).max() < 0.045
    assert sum(BEARS_CHANCE) == pytest.approx(1)
    share = np.array(list(kinds.values())) / sum(kinds.values())
    assert np.abs(share - 1 / 3).max() < 0.04


@pytest.mark.parametrize("kind", KINDS)
def test_a_bear_covers_a_good_part_of_its_picture(kind, monkeypatch):
    """The picture with a bear against the same one without: at least a ninth differs."""

    def changed(index):
        with_bear = np.asarray(draw_picture(2, index, 64, [kind])[0], dtype=int)
        with monkeypatch.context() as patch:
            patch.setattr(scenes, "paint_bears", lambda pen, kinds, horizon: None)
            patch.setattr(scenes, "THINGS_IN_FRONT", (0, 0))
            patch.setattr(samples, "TINT", 0)
            without = np.asarray(draw_picture(2, index, 64, [kind])[0], dtype=int)
        return (np.abs(with_bear - without).max(-1) > 40).mean()

    assert np.median([changed(i) for i in range(12)]) > 1 / 9


def test_a_color_alone_does_not_tell_the_kinds():
    grizzly, teddy = (np.array(c) for c in (bears.GRIZZLY_COATS, bears.TEDDY_COATS))
    nearest = np.abs(grizzly[:, None] - teddy[None]).max(-1).min(1)
    assert (nearest < 60).sum() >= 3


@pytest.mark.parametrize(
    "change, error, words",
    [
        ({"n": 0}, ValueError, "`n` must be an integer of at least 1, got 0"),
        ({"n": 2.0}, ValueError, "`n` must be an integer of at least 1, got 2.0"),
        ({"size": 8}, ValueError, "`size` must be an integer of at least 16, got 8"),
        ({"layout": "tree"}, ValueError, "`layout` must be 'csv' or 'folders', got 'tree'"),
        ({"seed": -1}, ValueError, "`seed` must lie in"),
        ({"seed": "a"}, TypeError, "`seed` must be an integer, got 'a'"),
    ],
)
def test_wrong_arguments_say_the_rule_and_write_nothing(tmp_path, change, error, words):
    arguments = {"path": tmp_path / "new" / "bears", "n": 2, "seed": 0, "size": 16} | change
    with pytest.raises(error, match=f"^drawn_bears: {words}"):
        drawn_bears(**arguments)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("kinds", ["black", ["panda"], ["teddy"] * 4])
def test_bears_that_cannot_be_drawn(kinds):
    with pytest.raises(ValueError, match="^draw_picture: `kinds` must be a list of at most 3 of"):
        draw_picture(0, 0, 32, kinds)


def test_an_existing_folder_is_kept(tmp_path):
    (tmp_path / "mine.txt").write_text("mine")
    with pytest.raises(FileExistsError, match="^drawn_bears: `path` must be a new or empty folder"):
        drawn_bears(tmp_path, n=1, seed=0, size=16)
    with pytest.raises(FileExistsError, match="must be a new or empty folder"):
        drawn_bears(tmp_path / "mine.txt", n=1, seed=0, size=16)
    assert [f.name for f in tmp_path.iterdir()] == ["mine.txt"]


def test_an_empty_folder_is_used(tmp_path):
    (tmp_path / "bears").mkdir()
    assert len(table(drawn_bears(str(tmp_path / "bears"), n=2, seed=0, size=16))) == 2


def test_an_interrupted_drawing_leaves_nothing(tmp_path, monkeypatch):
    def interrupted(picture, path):
        raise KeyboardInterrupt

    monkeypatch.setattr(samples, "_save", interrupted)
    with pytest.raises(KeyboardInterrupt):
        drawn_bears(tmp_path / "bears", n=2, seed=0, size=16)
    assert list(tmp_path.iterdir()) == []
