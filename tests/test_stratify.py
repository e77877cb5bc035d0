"""Splits that keep every label's share; scikit-learn's split, from numbers of scikit-learn."""

import numpy as np
import pytest

from mlclassify.data.block import DataBlock
from mlclassify.data.lists import L
from mlclassify.data.split import RandomSplitter
from mlclassify.data.stratify import StratifiedSplitter, TrainTestSplitter
from mlclassify.rng import set_seed
from mlclassify.selection import stratified_folds


def labels(n=400, seed=0):
    """Labels from common to rare, together at random; some photos have none."""
    rng = np.random.default_rng(seed)
    parts = {"sky": 0.5, "sun": 0.2, "owl": 0.04, "elk": 0.02}
    return [[name for name, part in parts.items() if rng.random() < part] for _ in range(n)]


def share(given, split):
    """The part of each label's photos that validation got."""
    count = {
        name: [sum(name in given[i] for i in part) for part in split]
        for name in ("sky", "sun", "owl", "elk")
    }
    return {name: valid / (train + valid) for name, (train, valid) in count.items()}


def same(o):
    return o


@pytest.mark.parametrize("part", [0.1, 0.25, 0.5])
def test_validation_gets_its_part_of_every_label(part):
    given = labels()
    split = StratifiedSplitter(part, seed=1, get_y=same)(given)
    assert sorted(split[0] + split[1]) == list(range(400))
    assert abs(len(split[1]) - 400 * part) <= 4
    for name, got in share(given, split).items():
        bearers = sum(name in y for y in given)
        assert abs(got - part) <= 1.5 / bearers, name


def test_a_random_split_does_not():
    given = labels()
    off = [
        max(abs(v - 0.25) for v in share(given, s(given)).values())
        for s in (StratifiedSplitter(0.25, 1, same), RandomSplitter(0.25, seed=1))
    ]
    assert off[0] < off[1] / 2


def test_a_label_of_one_photo_is_for_training():
    given = [["sky"]] * 9 + [["owl"]]
    for seed in range(20):
        train, _ = StratifiedSplitter(0.2, seed, same)(given)
        assert 9 in train


def test_nothing_for_validation():
    assert StratifiedSplitter(0, 1, same)(labels(5)) == (L.range(5), [])


def test_seeds_of_a_stratified_split():
    given, split = labels(), StratifiedSplitter(get_y=same)
    assert StratifiedSplitter(seed=1, get_y=same)(given) != StratifiedSplitter(seed=2, get_y=same)(
        given
    )
    set_seed(3)
    try:
        assert split(given) == split(given) == StratifiedSplitter(seed=3, get_y=same)(given)
    finally:
        set_seed(None)


def test_a_data_block_gives_the_splitter_its_labels():
    given = [(i, y) for i, y in enumerate(labels(100))]
    block = DataBlock(get_y=lambda o: o[1], splitter=StratifiedSplitter(0.25, seed=1))
    want = StratifiedSplitter(0.25, 1, same)([y for _, y in given])
    assert block.datasets(given).splits == want
    assert repr(block.splitter) == "StratifiedSplitter(valid_pct=0.25, seed=1)"


def test_arguments_of_the_stratified_splitter():
    with pytest.raises(ValueError) as caught:
        StratifiedSplitter()(["a"])
    assert str(caught.value) == (
        "StratifiedSplitter: `get_y` must be a function from an item to its labels outside of a "
        "DataBlock, got None"
    )
    with pytest.raises(ValueError) as caught:
        StratifiedSplitter(1)
    assert str(caught.value) == "StratifiedSplitter: `valid_pct` must lie in [0, 1), got 1"
    with pytest.raises(TypeError) as caught:
        StratifiedSplitter(seed=0.5)
    assert str(caught.value) == "StratifiedSplitter: `seed` must be an integer, got 0.5"
    with pytest.raises(TypeError) as caught:
        StratifiedSplitter(get_y="labels")
    assert str(caught.value) == "StratifiedSplitter: `get_y` must be a function, got 'labels'"


# --- folds of given sizes


def test_folds_of_given_parts():
    targets = np.random.default_rng(0).random((1000, 5)) < [0.5, 0.3, 0.1, 0.05, 0.02]
    parts = [0.6, 0.3, 0.1]
    folds = stratified_folds(targets, parts)
    for fold, part in enumerate(parts):
        assert abs((folds == fold).sum() - 1000 * part) <= 3
        bearers = targets[folds == fold].sum(axis=0)
        np.testing.assert_allclose(bearers, part * targets.sum(axis=0), atol=1.5)
    assert (stratified_folds(targets, 3) == stratified_folds(targets, [1 / 3] * 3)).all()


@pytest.mark.parametrize(
    "parts, got", [([0.5, 0.6], "[0.5, 0.6]"), ([1.5, -0.5], "[1.5, -0.5]"), ([], "[]")]
)
def test_parts_of_folds_are_checked(parts, got):
    with pytest.raises(ValueError) as caught:
        stratified_folds([[1], [0]], parts)
    assert str(caught.value) == (
        f"stratified_folds: `n_folds` must be an integer, or parts that add up to 1, got {got}"
    )


# --- scikit-learn's


def test_the_split_is_scikit_learns():
    # sklearn.model_selection.train_test_split(range(10), test_size=.3, random_state=0)
    assert TrainTestSplitter(0.3, 0)(range(10)) == ([9, 1, 6, 7, 3, 0, 5], [2, 8, 4])
    # ... of range(5), test_size=.33, random_state=42: the example of its documentation
    assert TrainTestSplitter(0.33, 42)(range(5)) == ([2, 0, 3], [1, 4])


def test_sizes_are_parts_or_numbers():
    def sizes(**options):
        return tuple(len(part) for part in TrainTestSplitter(random_state=1, **options)(range(11)))

    assert sizes() == (8, 3) and sizes(test_size=4) == (7, 4)
    assert sizes(test_size=0.2, train_size=0.5) == (5, 3) and sizes(train_size=2) == (2, 3)
    assert sizes(test_size=None, train_size=0.5) == (5, 6)
    assert sizes(test_size=None) == (8, 3)
    train, test = TrainTestSplitter(2, 1, train_size=3)(range(11))
    assert len(set(train) | set(test)) == 5


def test_without_shuffling_the_first_items_train():
    assert TrainTestSplitter(0.4, shuffle=False)("abcde") == ([0, 1, 2], [3, 4])


def test_random_state():
    assert TrainTestSplitter(random_state=1)(range(50)) != TrainTestSplitter(random_state=2)(
        range(50)
    )
    set_seed(5)
    try:
        assert TrainTestSplitter()(range(50)) == TrainTestSplitter(random_state=5)(range(50))
    finally:
        set_seed(None)


def test_stratify():
    given = labels()
    train, test = TrainTestSplitter(0.25, 1, stratify=given)(given)
    assert sorted(train + test) == list(range(400))
    assert all(abs(got - 0.25) < 0.1 for got in share(given, (train, test)).values())
    train, test = TrainTestSplitter(0.2, 1, stratify=["a"] * 8 + ["b"] * 2, train_size=0.5)(
        range(10)
    )
    assert len(train) == 5 and len(test) == 2 and not set(train) & set(test)


@pytest.mark.parametrize(
    "options, message",
    [
        ({"test_size": 1.5}, "`test_size` must lie in (0, 1), or be a number of items, got 1.5"),
        ({"test_size": 0}, "`test_size` must lie in (0, 1), or be a number of items, got 0"),
        (
            {"train_size": "all"},
            "`train_size` must lie in (0, 1), or be a number of items, got 'all'",
        ),
        ({"test_size": True}, "`test_size` must lie in (0, 1), or be a number of items, got True"),
        (
            {"stratify": ["a"], "shuffle": False},
            "`stratify` must be None with shuffle=False, got labels",
        ),
        ({"stratify": ["a"]}, "`stratify` must have labels for each of 4 items, got 1"),
        (
            {"test_size": 3, "train_size": 2},
            "`test_size` and `train_size` must leave items to train on "
            "and be at most the 4 there are, got 3 and 2",
        ),
        (
            {"test_size": 4},
            "`test_size` and `train_size` must leave items to train on and be at most "
            "the 4 there are, got 4 and 0",
        ),
    ],
)
def test_wrong_arguments(options, message):
    with pytest.raises(ValueError) as caught:
        TrainTestSplitter(**options)("abcd")
    assert str(caught.value) == f"TrainTestSplitter: {message}"


def test_random_state_is_an_integer():
    with pytest.raises(TypeError):
        TrainTestSplitter(random_state="a")
