"""Splits that give training and validation their share of every label.

A random split of a set with rare labels leaves some of them out of one side. These deal the photos
of the rarest label first (`mlclassify.selection.stratified_folds`), so each side gets its part of
every label as far as whole photos allow, and a label of one photo goes to training.
"""

import math
from collections.abc import Callable, Iterable, Iterator, Sequence, Sized
from numbers import Real
from typing import Any

import numpy as np

from mlclassify.checks import check_between, check_function
from mlclassify.data.lists import L
from mlclassify.data.split import Split, Splitter
from mlclassify.data.transforms import label_list
from mlclassify.rng import check_seed, default_seed
from mlclassify.selection import stratified_folds
from mlclassify.types import Bools


class StratifiedSplitter:
    """Split so that validation gets its part of the photos of every label.

    Parameters
    ----------
    valid_pct : float
        Part of the items for validation, in [0, 1). Photos are whole and labels come together, so
        their number may differ by a few.
    seed : int, optional
        Decides where both sides are in equal need. Default: the seed of `set_seed`, else a fresh
        one.
    get_y : function, optional
        From an item to its labels. A `DataBlock` passes the labels that its own `get_y` gives.

    Examples
    --------
    >>> labels = [["sun", "sky"], ["sky"], ["sun"], ["sky", "sun"], [], [], ["owl"], []]
    >>> train, valid = StratifiedSplitter(0.25, seed=0, get_y=lambda o: o)(labels)
    >>> len(train), [labels[i] for i in valid]
    (6, [['sky', 'sun'], []])
    """

    needs_labels = True

    def __init__(
        self,
        valid_pct: float = 0.2,
        seed: int | None = None,
        get_y: Callable[[Any], Any] | None = None,
    ) -> None:
        name = "StratifiedSplitter"
        self.valid_pct = check_between(name, "valid_pct", valid_pct, 0, 1)
        self.seed = None if seed is None else check_seed(name, seed)
        self.get_y = None if get_y is None else check_function(name, "get_y", get_y)

    def __call__(self, items: Iterable[Any], labels: Iterable[Any] | None = None) -> Split:
        """Return (L of training positions, L of validation positions).

        Parameters
        ----------
        items : collection
        labels : collection, optional
            What each item's labels are, for a splitter without `get_y`.
        """
        if self.get_y is not None:
            labels = [self.get_y(item) for item in items]
        elif labels is None:
            raise ValueError(
                "StratifiedSplitter: `get_y` must be a function from an item to its labels outside "
                "of a DataBlock, got None"
            )
        shares = [1 - self.valid_pct, self.valid_pct]
        seed = default_seed() if self.seed is None else self.seed
        train, valid = _dealt(labels, shares, seed)
        return train, valid

    def __repr__(self) -> str:
        return f"StratifiedSplitter(valid_pct={self.valid_pct}, seed={self.seed})"


def TrainTestSplitter(
    test_size: float | None = 0.2,
    random_state: int | None = None,
    stratify: Sequence[Any] | None = None,
    train_size: float | None = None,
    shuffle: bool = True,
) -> Splitter:
    """Split as scikit-learn's ``train_test_split`` does.

    Parameters
    ----------
    test_size, train_size : float or int, optional
        Part of the items for validation and for training (rounded up, and down), or their number.
        Without one of them it is what the other leaves.
    random_state : int, optional
        A seed; the split is the one of scikit-learn. Default: the seed of `set_seed`, else a fresh
        one.
    stratify : collection, optional
        Each item's label, or list of labels: both sides get their part of every one.
    shuffle : bool
        At random; else the first items are for training and the next ones for validation.

    Returns
    -------
    function from items to (L of int, L of int)

    Examples
    --------
    >>> TrainTestSplitter(test_size=0.3, random_state=0)(range(10))
    ([9, 1, 6, 7, 3, 0, 5], [2, 8, 4])
    """
    name = "TrainTestSplitter"
    for argument, size in (("test_size", test_size), ("train_size", train_size)):
        _check_size(name, argument, size)
    if random_state is not None:
        random_state = check_seed(name, random_state)
    if stratify is not None and not shuffle:
        raise ValueError(f"{name}: `stratify` must be None with shuffle=False, got labels")

    def split(items: Sized) -> Split:
        n = len(items)
        train, test = _sizes(name, n, train_size, test_size)
        seed = default_seed() if random_state is None else random_state
        if stratify is not None:
            _check_length(name, stratify, n)
            shares = [train / n, test / n, 1 - (train + test) / n]
            chosen, held_out, _ = _dealt(stratify, shares, seed)
            return chosen, held_out
        if not shuffle:
            return L.range(train), L.range(train, train + test)
        order = np.random.RandomState(seed & 0xFFFFFFFF).permutation(n).tolist()
        return L(order[test : test + train]), L(order[:test])

    return split


def _dealt(labels: Iterable[Any], shares: list[float], seed: int) -> Iterator[L[int]]:
    """Yield the positions of each part."""
    folds = stratified_folds(_matrix(labels), np.clip(shares, 0, 1).tolist(), seed)
    for part in range(len(shares)):
        yield L(np.flatnonzero(folds == part).tolist())


def _matrix(labels: Iterable[Any]) -> Bools:
    """Return labels as a mask, bool (N, L)."""
    lists = [label_list(y) for y in labels]
    place = {label: k for k, label in enumerate(dict.fromkeys(o for y in lists for o in y))}
    mask = np.zeros((len(lists), len(place)), bool)
    for row, y in zip(mask, lists):
        row[[place[o] for o in y]] = True
    return mask


def _check_size(name: str, argument: str, size: Any) -> None:
    good = isinstance(size, (Real, np.integer)) and not isinstance(size, bool)
    whole = good and float(size) == int(size) and not isinstance(size, float)
    if size is not None and not (good and (size >= 1 if whole else 0 < size < 1)):
        raise ValueError(
            f"{name}: `{argument}` must lie in (0, 1), or be a number of items, got {size!r}"
        )


def _sizes(
    name: str, n: int, train_size: float | None, test_size: float | None
) -> tuple[int, int]:
    """Return the numbers of items to train on and to test on."""
    test = _count(test_size, n, math.ceil)
    train = _count(train_size, n, math.floor)
    if test is None:
        test = math.ceil(0.25 * n) if train is None else n - train
    train = n - test if train is None else train
    if train < 1 or test < 0 or train + test > n:
        raise ValueError(
            f"{name}: `test_size` and `train_size` must leave items to train on and be at most the "
            f"{n} there are, got {test} and {train}"
        )
    return train, test


def _count(size: float | None, n: int, round_: Callable[[float], int]) -> int | None:
    if size is None:
        return None
    return round_(size * n) if isinstance(size, float) else int(size)


def _check_length(name: str, stratify: Sized, n: int) -> None:
    if len(stratify) != n:
        raise ValueError(
            f"{name}: `stratify` must have labels for each of {n} items, got {len(stratify)}"
        )
