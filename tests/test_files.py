"""Listing photos: the order, what is skipped, and links."""

import os
from pathlib import Path

import pytest

from mlclassify.data.files import (
    get_files,
    get_image_files,
    image_extensions,
    parent_label,
)
from mlclassify.data.lists import L


@pytest.fixture
def make(tmp_path):
    """Make files below tmp_path, return a function that lists what is found."""

    def touch(*names):
        for name in names:
            path = tmp_path / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.touch()
        return tmp_path

    return touch


def names(files, root):
    return [str(f.relative_to(root)) for f in files]


def test_order_is_by_parts_and_code_points(make):
    root = make("b/1.jpg", "a.x/1.jpg", "a/2.jpg", "a/10.jpg", "B/1.jpg", "é/1.jpg", "a/b/1.jpg",
                "z.jpg", "Z.jpg", "a b/1.jpg", "a/B.jpg")  # fmt: skip
    expected = ["B/1.jpg", "Z.jpg", "a/10.jpg", "a/2.jpg", "a/B.jpg", "a/b/1.jpg", "a b/1.jpg",
                "a.x/1.jpg", "b/1.jpg", "z.jpg", "é/1.jpg"]  # fmt: skip
    found = get_image_files(root)
    assert names(found, root) == expected and isinstance(found, L)
    assert all(isinstance(f, Path) for f in found)
    assert get_image_files(str(root)) == found


def test_only_photos_in_any_case(make):
    root = make(
        "a.JPG", "b.jpeg", "c.png", "d.txt", "e.svg", "f.tif", "jpg", "g.tar.webp", "h.jpg~"
    )
    assert names(get_image_files(root), root) == ["a.JPG", "b.jpeg", "c.png", "g.tar.webp"]
    assert names(get_files(root, extensions=".TXT"), root) == ["d.txt"]
    assert len(get_files(root)) == 9
    assert ".jpg" in image_extensions and ".svg" not in image_extensions


def test_hidden_is_skipped(make):
    root = make(".a.jpg", ".ipynb_checkpoints/b.jpg", "c/.d.jpg", "c/e.jpg")
    assert names(get_image_files(root), root) == ["c/e.jpg"]


def test_a_hidden_root_is_not(make):
    root = make(".data/a.jpg")
    assert len(get_image_files(root / ".data")) == 1


def test_recurse_and_folders(make):
    root = make("top.jpg", "train/a/1.jpg", "valid/2.jpg", "test/3.jpg", "train/valid/4.jpg")
    assert names(get_image_files(root, recurse=False), root) == ["top.jpg"]
    assert names(get_image_files(root, folders="valid"), root) == ["valid/2.jpg"]
    found = get_image_files(root, folders=["train", "."])
    assert names(found, root) == ["top.jpg", "train/a/1.jpg", "train/valid/4.jpg"]


def test_loops_of_links_end(make):
    root = make("in/a/1.jpg", "in/b/2.jpg") / "in"
    os.symlink(root, root / "a" / "root")
    os.symlink(root / "b", root / "a" / "to_b")
    os.symlink(root / "a", root / "b" / "to_a")
    os.symlink(root.parent, root / "up")
    os.symlink("itself", root / "itself")
    assert names(get_image_files(root), root) == ["a/1.jpg", "b/2.jpg"]


def test_links_outside_are_followed_once(make, tmp_path_factory):
    root, outside = make("a/1.jpg"), tmp_path_factory.mktemp("outside")
    (outside / "deep").mkdir()
    (outside / "deep" / "2.jpg").touch()
    os.symlink(outside, outside / "deep" / "back")
    os.symlink(outside, root / "z")
    os.symlink(outside, root / "m")
    assert names(get_image_files(root), root) == ["a/1.jpg", "m/deep/2.jpg"]
    assert names(get_files(root, followlinks=False), root) == ["a/1.jpg"]


def test_a_root_that_is_a_link_keeps_its_name(make):
    root = make("real/teddy/1.jpg")
    os.symlink(root / "real", root / "link")
    assert get_image_files(root / "link") == [root / "link" / "teddy" / "1.jpg"]


def test_linked_files_are_files(make):
    root = make("a/1.jpg")
    os.symlink(root / "a" / "1.jpg", root / "2.jpg")
    os.symlink("nowhere", root / "3.jpg")
    assert names(get_image_files(root), root) == ["2.jpg", "3.jpg", "a/1.jpg"]


def test_no_folder_no_list(tmp_path):
    (tmp_path / "a.jpg").touch()
    for path in (tmp_path / "none", tmp_path / "a.jpg"):
        with pytest.raises(FileNotFoundError, match="get_files: `path` must be an existing folder"):
            get_image_files(path)
    os.remove(tmp_path / "a.jpg")
    assert get_image_files(tmp_path) == []


def test_parent_label():
    assert parent_label(Path("bears/grizzly/1.jpg")) == "grizzly" == parent_label("grizzly/1.jpg")


def test_bears(shared):
    files = get_image_files(shared("bears"))
    assert len(files) == 480
    assert files.map(parent_label).unique() == ["black", "grizzly", "teddy"]
