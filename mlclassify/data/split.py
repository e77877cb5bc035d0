"""Which items are for training and which for validation.

A splitter is a function from the items to (training positions, validation positions).
`RandomSplitter` gives the very split that fastai's gives for a seed, without torch and without
touching anyone's random state.
"""

from __future__ import annotations

import operator
from collections.abc import Callable, Iterable, Sized
from numbers import Real
from pathlib import Path
from typing import TYPE_CHECKING, Any, SupportsIndex, TypeAlias

import numpy as np

from mlclassify.checks import check_function, check_path
from mlclassify.data.lists import L, listify
from mlclassify.rng import default_seed
from mlclassify.types import Int64, StrPath

if TYPE_CHECKING:
    from pandas import DataFrame

Split: TypeAlias = tuple[L[int], L[int]]  # training positions, validation positions
Splitter: TypeAlias = Callable[[Any], Split]


def torch_randperm(n: int, seed: int) -> Int64:
    """Return what ``torch.manual_seed(seed); torch.randperm(n)`` gives on a CPU.

    torch shuffles 0..n-1 by swapping position i with one of i..n-1, taken from the next 32-bit
    number of a Mersenne twister (MT19937, seeded as by ``init_genrand``).

    Parameters
    ----------
    n : int
    seed : int
        As torch, only its lowest 32 bits count.

    Returns
    -------
    int64 (n,)

    Examples
    --------
    >>> torch_randperm(10, seed=0).tolist()
    [4, 1, 7, 5, 3, 9, 0, 8, 6, 2]
    """
    twister = np.random.RandomState(seed & 0xFFFFFFFF)
    numbers = twister.randint(0, 2**32, size=max(n - 1, 0), dtype=np.uint32).tolist()
    order = list(range(n))
    for i, number in enumerate(numbers):
        j = i + number % (n - i)
        order[i], order[j] = order[j], order[i]
    return np.array(order, np.int64)


def RandomSplitter(valid_pct: float = 0.2, seed: int | None = None) -> Splitter:
    """Split at random.

    Parameters
    ----------
    valid_pct : float
        Part of the items for validation, in [0, 1]; their number is rounded down.
    seed : int, optional
        The same seed and items give the same split everywhere, and the one of fastai. Default: the
        seed of `set_seed`, else a fresh one.

    Returns
    -------
    function from items to (L of int, L of int)

    Examples
    --------
    >>> RandomSplitter(seed=42)(range(5))
    ([4, 3, 0, 1], [2])
    """
    _check_part("RandomSplitter", valid_pct)
    if seed is not None:
        seed = _integer("RandomSplitter", "seed", seed)

    def split(items: Sized) -> Split:
        order = torch_randperm(len(items), default_seed() if seed is None else seed).tolist()
        cut = int(valid_pct * len(order))
        return L(order[cut:]), L(order[:cut])

    return split


def RandomSubsetSplitter(
    train_sz: float, valid_sz: float, seed: int | None = None
) -> Splitter:
    """Split a random part of the items, and leave out the rest: a quick try on a large set.

    Parameters
    ----------
    train_sz, valid_sz : float
        Part of the items for training and for validation, in (0, 1) and together at most 1; their
        numbers are rounded down.
    seed : int, optional
        As in `RandomSplitter`; the split is the one of fastai here, too.

    Returns
    -------
    function from items to (L of int, L of int)

    Examples
    --------
    >>> RandomSubsetSplitter(0.3, 0.2, seed=0)(range(10))
    ([4, 1, 7], [5, 3])
    """
    name = "RandomSubsetSplitter"
    for argument, part in (("train_sz", train_sz), ("valid_sz", valid_sz)):
        _check_part(name, part, argument)
        if not 0 < part < 1:
            raise ValueError(f"{name}: `{argument}` must lie in (0, 1), got {part}")
    if train_sz + valid_sz > 1:
        raise ValueError(
            f"{name}: `valid_sz` must be at most 1 - train_sz = {1 - train_sz:g}, got {valid_sz}"
        )
    if seed is not None:
        seed = _integer(name, "seed", seed)

    def split(items: Sized) -> Split:
        n, order = len(items), torch_randperm(len(items), default_seed() if seed is None else seed)
        train, valid = int(n * train_sz), int(n * valid_sz)
        return L(order[:train].tolist()), L(order[train : train + valid].tolist())

    return split


def EndSplitter(valid_pct: float = 0.2, valid_last: bool = True) -> Splitter:
    """Take the validation items from one end.

    Parameters
    ----------
    valid_pct : float
        Part of the items, in [0, 1]; their number is rounded down.
    valid_last : bool
        From the end, else from the start.

    Returns
    -------
    function from items to (L of int, L of int)

    Examples
    --------
    >>> EndSplitter(0.4)("abcde"), EndSplitter(0.4, valid_last=False)("abcde")
    (([0, 1, 2], [3, 4]), ([2, 3, 4], [0, 1]))
    """
    _check_part("EndSplitter", valid_pct)

    def split(items: Sized) -> Split:
        cut = int(valid_pct * len(items))
        if valid_last:
            return L.range(len(items) - cut), L.range(len(items) - cut, len(items))
        return L.range(cut, len(items)), L.range(cut)

    return split


def IndexSplitter(valid_idx: SupportsIndex | Iterable[SupportsIndex]) -> Splitter:
    """Take the items at given positions for validation.

    Parameters
    ----------
    valid_idx : int or collection of int

    Returns
    -------
    function from items to (L of int, L of int)

    Examples
    --------
    >>> IndexSplitter([3, 1])("abcde")
    ([0, 2, 4], [3, 1])
    """
    array = hasattr(valid_idx, "__array__")
    many = np.asarray(valid_idx).ravel().tolist() if array else listify(valid_idx)
    valid = L([_integer("IndexSplitter", "valid_idx", i) for i in many])

    def split(items: Sized) -> Split:
        outside = valid.filter(lambda i: not 0 <= i < len(items))
        if len(outside):
            raise IndexError(
                f"IndexSplitter: `valid_idx` must lie in 0 to {len(items) - 1}, got {outside[0]}"
            )
        taken = set(valid)
        return L.range(len(items)).filter(lambda i: i not in taken), valid.unique()

    return split


def MaskSplitter(mask: Iterable[Any]) -> Splitter:
    """Take the items whose value in `mask` is true for validation.

    Parameters
    ----------
    mask : sequence of bool
        One for each item.

    Returns
    -------
    function from items to (L of int, L of int)

    Examples
    --------
    >>> MaskSplitter([True, False, True])("abc")
    ([1], [0, 2])
    """
    if not hasattr(mask, "__iter__") or isinstance(mask, (str, bytes)):
        raise TypeError(f"MaskSplitter: `mask` must be a sequence of bool, got {mask!r}")
    marks = L(mask, use_list=True)

    def split(items: Sized) -> Split:
        if len(marks) != len(items):
            raise ValueError(
                f"MaskSplitter: `mask` must have a value for each of {len(items)} items, "
                f"got {len(marks)}"
            )
        return marks.argwhere(negate=True), marks.argwhere()

    return split


def FuncSplitter(func: Callable[[Any], object]) -> Splitter:
    """Take the items for which `func` holds for validation.

    Parameters
    ----------
    func : function from an item to bool

    Returns
    -------
    function from items to (L of int, L of int)

    Examples
    --------
    >>> FuncSplitter(str.isupper)("aBc")
    ([0, 2], [1])
    """
    check_function("FuncSplitter", "func", func)
    return lambda items: MaskSplitter([bool(func(o)) for o in items])(items)


def FileSplitter(fname: StrPath) -> Splitter:
    """Take the files that a text file names, one a line, for validation.

    Parameters
    ----------
    fname : path or str
        Names without folders, such as ``7.jpg``. Blanks around them and empty lines do not count.

    Returns
    -------
    function from paths to (L of int, L of int)

    Raises
    ------
    FileNotFoundError
        If there is no such file.
    """
    path = check_path("FileSplitter", "fname", fname)
    if not path.is_file():
        raise FileNotFoundError(f"FileSplitter: `fname` must be an existing file, got {path}")
    names = {line.strip() for line in path.read_text(encoding="utf-8").splitlines()} - {""}

    def split(items: Iterable[StrPath]) -> Split:
        mask = [Path(o).name in names for o in items]
        if not any(mask):
            raise ValueError(
                f"FileSplitter: `fname` must name at least one of {len(mask)} items by its file "
                f"name, got none in {path}"
            )
        return MaskSplitter(mask)(items)

    return split


def GrandparentSplitter(
    train_name: str | Iterable[str] = "train", valid_name: str | Iterable[str] = "valid"
) -> Splitter:
    """Split by the folder above a file's folder: ``train/teddy/1.jpg``, ``valid/teddy/2.jpg``.

    Parameters
    ----------
    train_name, valid_name : str or collection of str
        Files below none of them are left out.

    Returns
    -------
    function from items to (L of int, L of int)

    Examples
    --------
    >>> GrandparentSplitter()(["train/teddy/1.jpg", "valid/teddy/2.jpg", "test/teddy/3.jpg"])
    ([0], [1])
    """

    def split(items: Iterable[StrPath]) -> Split:
        names = [Path(o).parent.parent.name for o in items]
        train, valid = (
            L([i for i, name in enumerate(names) if name in listify(wanted)])
            for wanted in (train_name, valid_name)
        )
        return train, valid

    return split


def ColSplitter(col: str | int = "is_valid", on: Any = None) -> Splitter:
    """Split the rows of a DataFrame by a column.

    Parameters
    ----------
    col : str or int
        Name or position of a column that is true (or 1) in the rows for validation.
    on : object, or list of them, optional
        The value or values that mark a row for validation, in a column that is not true or false.

    Returns
    -------
    function from a DataFrame to (L of int, L of int)
    """

    def split(items: DataFrame) -> Split:
        if not hasattr(items, "iloc"):
            raise TypeError(f"ColSplitter: `items` must be a DataFrame, got {type(items).__name__}")
        column = _column(items, col)
        if on is not None:
            return MaskSplitter([value in listify(on) for value in column])(items)
        # A column of texts would otherwise be all true, "False" included.
        strange = [value for value in column if value not in (0, 1)]
        if strange:
            raise ValueError(
                f"ColSplitter: column {col!r} must be true or false in each row, "
                f"got {strange[0]!r}; name the values of validation rows with `on`"
            )
        return MaskSplitter(column)(items)

    return split


def _column(table: DataFrame, col: str | int) -> list[Any]:
    """Return a column of a DataFrame, by name or position, as a list."""
    try:
        return (table.iloc[:, col] if isinstance(col, int) else table[col]).tolist()
    except (KeyError, IndexError, TypeError, ValueError, AttributeError):
        names = ", ".join(map(str, table.columns))
        raise KeyError(
            f"ColSplitter: `col` must name a column of {names}, or its position, got {col!r}"
        ) from None


def _check_part(function: str, part: float, name: str = "valid_pct") -> None:
    if isinstance(part, bool) or not isinstance(part, Real):
        raise TypeError(f"{function}: `{name}` must be a number in [0, 1], got {part!r}")
    if not 0 <= part <= 1:
        raise ValueError(f"{function}: `{name}` must lie in [0, 1], got {part}")


def _integer(function: str, name: str, value: SupportsIndex) -> int:
    try:
        return operator.index(value)
    except TypeError:
        raise TypeError(f"{function}: `{name}` must be an integer, got {value!r}") from None
