"""Splitters; the random one against numbers of torch."""

import random

import numpy as np
import pandas as pd
import pytest

from mlclassify.data.lists import L
from mlclassify.data.split import (
    ColSplitter,
    EndSplitter,
    FileSplitter,
    FuncSplitter,
    GrandparentSplitter,
    IndexSplitter,
    MaskSplitter,
    RandomSplitter,
    RandomSubsetSplitter,
    torch_randperm,
)
from mlclassify.rng import set_seed


def test_randperm_is_torchs():
    assert torch_randperm(10, 0).tolist() == [4, 1, 7, 5, 3, 9, 0, 8, 6, 2]
    assert torch_randperm(10, 42).tolist() == [2, 6, 1, 8, 4, 5, 0, 9, 3, 7]
    assert torch_randperm(0, 0).tolist() == [] and torch_randperm(1, 0).tolist() == [0]
    # torch keeps the lowest 32 bits, and counts negative seeds down from 2**64.
    assert (torch_randperm(20, 2**32 + 5) == torch_randperm(20, 5)).all()
    assert (torch_randperm(20, -1) == torch_randperm(20, 2**64 - 1)).all()
    for n in (2, 33, 1000):
        assert sorted(torch_randperm(n, 3).tolist()) == list(range(n))


def test_random_split_is_fastais():
    train, valid = RandomSplitter(valid_pct=0.2, seed=0)(range(300))
    assert len(train) == 240 and len(valid) == 60
    assert valid[:20] == [44, 120, 71, 270, 111, 139, 145, 29, 105, 75,
                          221, 157, 144, 46, 154, 296, 228, 130, 92, 61]  # fmt: skip
    assert train[:10] == [79, 126, 271, 285, 38, 110, 214, 28, 204, 220]
    assert isinstance(train, L) and type(train[0]) is int


def test_random_split_touches_no_global_state():
    random.seed(1)
    np.random.seed(1)
    expected = random.Random(1).random(), np.random.RandomState(1).rand()
    RandomSplitter(seed=0)(range(10))
    RandomSplitter()(range(10))
    assert (random.random(), np.random.rand()) == expected


def test_without_a_seed_the_split_follows_set_seed():
    split = RandomSplitter()
    assert split(range(100)) != split(range(100))
    set_seed(3)
    try:
        assert split(range(100)) == split(range(100)) == RandomSplitter(seed=3)(range(100))
    finally:
        set_seed(None)


@pytest.mark.parametrize("n, part, size", [(7, 0.2, 1), (4, 0.2, 0), (10, 0.35, 3), (5, 1, 5)])
def test_the_part_is_rounded_down(n, part, size):
    for splitter in (RandomSplitter(part, seed=0), EndSplitter(part)):
        train, valid = splitter(range(n))
        assert len(valid) == size and sorted(train + valid) == list(range(n))


@pytest.mark.parametrize("part", [-0.1, 1.1, float("nan")])
def test_the_part_is_checked(part):
    for splitter in (RandomSplitter, EndSplitter):
        with pytest.raises(ValueError, match=rf"{splitter.__name__}: `valid_pct` must lie in"):
            splitter(part)


def test_seed_must_be_an_integer():
    with pytest.raises(TypeError, match="RandomSplitter: `seed` must be an integer, got 0.5"):
        RandomSplitter(seed=0.5)


def test_end():
    assert EndSplitter(0.25)(range(8)) == (L.range(6), L(6, 7))
    assert EndSplitter(0.25, valid_last=False)(range(8)) == (L.range(2, 8), L(0, 1))


@pytest.mark.parametrize("chosen", [[1, 3], (1, 3), np.array([1, 3]), L(1, 3), {1, 3}])
def test_index(chosen):
    assert IndexSplitter(chosen)("abcde") == (L(0, 2, 4), L(1, 3))


def test_index_is_checked():
    assert IndexSplitter(1)("abc") == (L(0, 2), L(1)) and IndexSplitter([1, 1])("ab")[1] == [1]
    for wrong in (3, -1):
        with pytest.raises(IndexError, match=f"`valid_idx` must lie in 0 to 2, got {wrong}"):
            IndexSplitter([wrong])("abc")
    with pytest.raises(TypeError, match="IndexSplitter: `valid_idx` must be an integer, got 'a'"):
        IndexSplitter("a")


def test_mask_and_function():
    assert MaskSplitter(np.array([True, False]))("ab") == (L(1), L(0))
    assert FuncSplitter(lambda o: o > 1)([1, 2, 3]) == (L(0), L(1, 2))
    with pytest.raises(ValueError, match="MaskSplitter: `mask` must have a value for each of 2"):
        MaskSplitter([True])("ab")


def test_grandparent():
    files = ["d/train/a/1", "d/valid/a/2", "d/test/a/3", "d/train/b/4"]
    assert GrandparentSplitter()(files) == (L(0, 3), L(1))
    assert GrandparentSplitter("test", ("train", "valid"))(files) == (L(2), L(0, 1, 3))


def test_column():
    df = pd.DataFrame({"is_valid": [False, True, False], "part": ["a", "b", "c"], "n": [0, 1, 1]})
    assert ColSplitter()(df) == (L(0, 2), L(1)) and ColSplitter(0)(df) == (L(0, 2), L(1))
    assert ColSplitter("n")(df) == (L(0), L(1, 2)) and ColSplitter("part", on="b")(df)[1] == [1]
    assert ColSplitter("part", on=["b", "c"])(df) == (L(0), L(1, 2))


def test_column_of_texts_is_not_taken_for_true():
    df = pd.DataFrame({"is_valid": ["False", "True"]})
    with pytest.raises(
        ValueError, match="'is_valid' must be true or false in each row, got 'False'"
    ):
        ColSplitter()(df)
    with pytest.raises(ValueError, match="got nan"):
        ColSplitter()(pd.DataFrame({"is_valid": [1.0, float("nan")]}))
    with pytest.raises(TypeError, match="ColSplitter: `items` must be a DataFrame, got list"):
        ColSplitter()([1])


def test_a_random_subset_is_fastais():
    # torch.randperm(10) after manual_seed(0) is 4 1 7 5 3 9 0 8 6 2.
    assert RandomSubsetSplitter(0.35, 0.25, seed=0)(range(10)) == (L(4, 1, 7), L(5, 3))
    split = RandomSubsetSplitter(0.5, 0.5)
    assert split(range(100)) != split(range(100))
    set_seed(3)
    try:
        assert split(range(100)) == RandomSubsetSplitter(0.5, 0.5, seed=3)(range(100))
    finally:
        set_seed(None)


@pytest.mark.parametrize("sizes, message", [
    ((0, 0.5), "`train_sz` must lie in (0, 1), got 0"),
    ((0.5, 1), "`valid_sz` must lie in (0, 1), got 1"),
    ((0.5, 1.5), "`valid_sz` must lie in [0, 1], got 1.5"),
    ((0.75, 0.5), "`valid_sz` must be at most 1 - train_sz = 0.25, got 0.5"),
])  # fmt: skip
def test_parts_of_a_subset_are_checked(sizes, message):
    with pytest.raises(ValueError) as caught:
        RandomSubsetSplitter(*sizes)
    assert str(caught.value) == f"RandomSubsetSplitter: {message}"
    with pytest.raises(TypeError, match="RandomSubsetSplitter: `seed` must be an integer, got 'a'"):
        RandomSubsetSplitter(0.5, 0.5, seed="a")


def test_files_that_a_file_names(tmp_path):
    listed = tmp_path / "valid.txt"
    listed.write_text("2.jpg \n\n3.jpg\nnot_here.jpg\n")
    files = [f"a/{i}.jpg" for i in range(5)]
    assert FileSplitter(listed)(files) == (L(0, 1, 4), L(2, 3))
    assert FileSplitter(str(listed))([tmp_path / "3.jpg", tmp_path / "4.jpg"]) == (L(1), L(0))
    with pytest.raises(ValueError) as caught:
        FileSplitter(listed)(["a/7.jpg"])
    assert str(caught.value) == (
        "FileSplitter: `fname` must name at least one of 1 items by its file name, got none in "
        f"{listed}"
    )
    with pytest.raises(FileNotFoundError) as caught:
        FileSplitter(tmp_path / "no.txt")
    assert str(caught.value) == (
        f"FileSplitter: `fname` must be an existing file, got {tmp_path / 'no.txt'}"
    )
    with pytest.raises(TypeError, match="FileSplitter: `fname` must be a path or str, got 3"):
        FileSplitter(3)
