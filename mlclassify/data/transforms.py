"""Functions on the way from an item to its labels, and from labels to the target of training.

A target is float32 (L,), one cell for each label of the vocabulary. No labels at all are legal:
such a photo teaches what none of the labels looks like.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any, SupportsIndex

import numpy as np

from mlclassify.arrays import as_float32
from mlclassify.data.lists import L, listify
from mlclassify.types import ArrayLike, Float32, Int64, StrPath

NOTHING = "#na#"  # what stands for unknown labels with add_na, as in fastai


class Transform:
    """A function with an order and, if it has one, a way back.

    Parameters
    ----------
    enc, dec : function, optional
        Do and undo; a subclass writes the methods `encodes` and `decodes` instead.
    split_idx : {None, 0, 1}
        Act on both splits, on training only, or on validation only.
    order : float, optional
        A `Pipeline` runs the lower ones first.

    Examples
    --------
    >>> double = Transform(lambda x: 2 * x, lambda x: x / 2)
    >>> double(4), double.decode(4)
    (8, 2.0)
    """

    order: float = 0
    split_idx: int | None = None

    def __init__(
        self,
        enc: Callable[[Any], Any] | None = None,
        dec: Callable[[Any], Any] | None = None,
        split_idx: int | None = None,
        order: float | None = None,
    ) -> None:
        for name, function in (("encodes", enc), ("decodes", dec)):
            if function is not None:
                setattr(self, name, function)
        if split_idx is not None:
            self.split_idx = split_idx
        if order is not None:
            self.order = order

    def encodes(self, x: Any) -> Any:
        """Return what becomes of `x`."""
        return x

    def decodes(self, x: Any) -> Any:
        """Return what `x` was."""
        return x

    def __call__(self, x: Any, split_idx: int | None = None) -> Any:
        return self.encodes(x) if self._acts(split_idx) else x

    def decode(self, x: Any, split_idx: int | None = None) -> Any:
        """Undo `__call__`."""
        return self.decodes(x) if self._acts(split_idx) else x

    def _acts(self, split_idx: int | None) -> bool:
        return self.split_idx is None or self.split_idx == split_idx

    def __repr__(self) -> str:
        function = self.__dict__.get("encodes")
        return getattr(function, "__name__", None) or type(function or self).__name__


def as_transform(f: Callable[..., Any]) -> Transform:
    """Return `f` as a `Transform`: itself, an instance of a class, or a function wrapped.

    Parameters
    ----------
    f : Transform, class or function

    Returns
    -------
    Transform

    Raises
    ------
    TypeError
        If it cannot be called.

    Examples
    --------
    >>> as_transform(str.upper)("a")
    'A'
    """
    if isinstance(f, type) and issubclass(f, Transform):
        return f()
    if isinstance(f, Transform):
        return f
    if not callable(f):
        raise TypeError(f"Pipeline: `funcs` must be functions or Transforms, got {f!r}")
    return Transform(f, order=getattr(f, "order", None))


class Pipeline:
    """Several functions as one, in their order; undone backwards.

    Parameters
    ----------
    funcs : function, Transform, or collection of them, optional
    split_idx : {None, 0, 1}
        Which split the data are of, for transforms that act on one only.

    Examples
    --------
    >>> p = Pipeline([str.strip, str.upper])
    >>> p(" a "), p
    ('A', Pipeline: strip -> upper)
    """

    fs: L[Transform]

    def __init__(self, funcs: Any = None, split_idx: int | None = None) -> None:
        if isinstance(funcs, Pipeline):
            funcs = funcs.fs
        self.fs = L([as_transform(f) for f in listify(funcs)]).sorted("order")
        self.split_idx = split_idx

    def __call__(self, x: Any) -> Any:
        for f in self.fs:
            x = f(x, split_idx=self.split_idx)
        return x

    def decode(self, x: Any) -> Any:
        """Undo `__call__`, the last function first."""
        for f in reversed(self.fs):
            x = f.decode(x, split_idx=self.split_idx)
        return x

    def __len__(self) -> int:
        return len(self.fs)

    def __getitem__(self, i: SupportsIndex) -> Transform:
        return self.fs[i]

    def __repr__(self) -> str:
        return f"Pipeline: {' -> '.join(map(repr, self.fs))}"


# --- labels ---


def label_list(y: Any) -> list[Any]:
    """Return labels as a list: a text is one label, and None, NaN, '' and [] are none.

    Parameters
    ----------
    y : object
        What a `get_y` gave for one item.

    Returns
    -------
    list
        Each label once, in order; those of a set sorted.

    Examples
    --------
    >>> label_list("black"), label_list(["a", "b", "a"]), label_list(None), label_list("")
    (['black'], ['a', 'b'], [], [])
    """
    if isinstance(y, (set, frozenset)):
        y = sorted(y, key=str)
    many = np.ravel(y).tolist() if hasattr(y, "__array__") else listify(y)
    # NumPy's own scalars would print as np.str_('black').
    many = [o.item() if isinstance(o, np.generic) else o for o in many]
    # NaN is how a DataFrame says that a cell is empty; it alone differs from itself.
    return list(dict.fromkeys(o for o in many if o is not None and o != "" and o == o))


class CategoryMap(L[Any]):
    """The vocabulary: labels by position, and positions by label.

    Parameters
    ----------
    col : collection
        Labels, repeats allowed.
    sort : bool
        Sort them, else keep the order of first appearance.
    add_na : bool
        Put '#na#' first, for labels that are not in it.

    Attributes
    ----------
    o2i : dict
        From label to position.

    Examples
    --------
    >>> vocab = CategoryMap(["teddy", "black", "teddy"])
    >>> vocab, vocab.o2i["teddy"]
    (['black', 'teddy'], 1)
    """

    def __init__(self, col: Any, sort: bool = True, add_na: bool = False) -> None:
        labels = label_list(col)
        if sort:
            labels = _sorted_labels(labels)
        if add_na:
            labels = [NOTHING, *(o for o in labels if o != NOTHING)]
        super().__init__(labels)
        self.o2i = self.val2idx()

    def map_objs(self, labels: Iterable[Any]) -> L[int]:
        """Positions (L of int) of `labels`."""
        return L([self.o2i[o] for o in labels])

    def map_ids(self, ids: Iterable[Any]) -> L[Any]:
        """Labels (L) at the positions `ids`."""
        return L([self.items[int(i)] for i in ids])


def _sorted_labels(labels: list[Any]) -> list[Any]:
    try:
        return sorted(labels)
    except TypeError:
        kinds = sorted({type(o).__name__ for o in labels})
        raise TypeError(
            f"MultiCategorize: labels must be of one sortable type, got {' and '.join(kinds)}; "
            "make `get_y` return texts"
        ) from None


class MultiCategorize(Transform):
    """Labels to their positions in the vocabulary.

    Parameters
    ----------
    vocab : collection, optional
        Kept in its order. Default: the labels that `setups` sees, sorted.
    add_na : bool
        Put '#na#' first in the vocabulary; a label that is not in it then counts as '#na#'.

    Examples
    --------
    >>> t = MultiCategorize()
    >>> t.setups([["teddy"], ["black", "teddy"], []])
    >>> t(["teddy", "black"]), t.decode([0]), t.vocab
    (array([1, 0]), ['black'], ['black', 'teddy'])
    """

    order = 1

    def __init__(self, vocab: Iterable[Any] | None = None, add_na: bool = False) -> None:
        super().__init__()
        self.add_na = add_na
        self._vocab = None if vocab is None else CategoryMap(vocab, sort=False, add_na=add_na)

    @property
    def vocab(self) -> CategoryMap:
        """The labels by position; ValueError as long as there are none."""
        if self._vocab is None:
            raise ValueError(
                "MultiCategorize: `vocab` must be given, or `setups` called, before labels are "
                "looked up, got None"
            )
        return self._vocab

    def setups(self, items: Iterable[Any]) -> None:
        """Take the vocabulary from the labels of the training items, unless one was given.

        Parameters
        ----------
        items : collection of what `get_y` gives
        """
        if self._vocab is None:
            self._vocab = CategoryMap(L(items).map(label_list).concat(), add_na=self.add_na)

    def unknown(self, labels: Any) -> list[Any]:
        """The labels (list) that `encodes` would refuse."""
        return [] if self.add_na else [o for o in label_list(labels) if o not in self.vocab.o2i]

    def encodes(self, labels: Any) -> Int64:
        """Positions, int64 (number of labels,); KeyError for an unknown label."""
        unknown = self.unknown(labels)
        if unknown:
            raise KeyError(not_included(unknown))
        ids = [self.vocab.o2i.get(o, 0) for o in label_list(labels)]
        return np.array(list(dict.fromkeys(ids)), np.int64)

    def decodes(self, ids: Iterable[Any]) -> L[Any]:
        """Labels (L) at positions."""
        return self.vocab.map_ids(ids)


def not_included(labels: Iterable[Any]) -> str:
    """The sentence with which fastai refuses labels."""
    names = ", ".join(f"'{o}'" for o in labels)
    return f"Labels {names} were not included in the training dataset"


class OneHotEncode(Transform):
    """Positions to a target with 1 there and 0 elsewhere.

    Parameters
    ----------
    c : int
        Number of labels.

    Examples
    --------
    >>> OneHotEncode(3)([0, 2])
    array([1., 0., 1.], dtype=float32)
    """

    order = 2

    def __init__(self, c: int) -> None:
        super().__init__()
        self.c = c

    def encodes(self, ids: Iterable[int]) -> Float32:
        """Target, float32 (c,)."""
        target = np.zeros(self.c, np.float32)
        target[list(ids)] = 1
        return target

    def decodes(self, target: ArrayLike) -> Int64:
        """Positions, int64, where the target is 1; a soft label is not."""
        return np.flatnonzero(np.asarray(target) == 1)


class EncodedMultiCategorize(Transform):
    """Targets that are numbers already, such as the 0/1 columns of a table. Soft labels may be.

    Parameters
    ----------
    vocab : collection
        The label of each number, kept in its order.
    missing : bool
        Whether NaN is allowed, for what is not known.

    Examples
    --------
    >>> EncodedMultiCategorize(["a", "b"])([1, 0.5])
    array([1. , 0.5], dtype=float32)
    """

    order = 1

    def __init__(self, vocab: Iterable[Any] | None, missing: bool = False) -> None:
        super().__init__()
        if vocab is None:
            raise TypeError(
                "MultiCategoryBlock: `vocab` must name the label of each number with "
                "encoded=True, got None"
            )
        self.vocab, self.missing = CategoryMap(vocab, sort=False), missing

    def encodes(self, numbers: Any) -> Float32:
        """Target, float32 (number of labels,); ValueError unless that many in [0, 1]."""
        given = numbers if hasattr(numbers, "__array__") else listify(numbers)
        target = np.atleast_1d(as_float32("get_y", "MultiCategoryBlock", given))
        if target.shape != (len(self.vocab),):
            raise ValueError(
                f"MultiCategoryBlock: `get_y` must give {len(self.vocab)} numbers with "
                f"encoded=True, one for each label of `vocab`, got shape {target.shape}"
            )
        known = target[~np.isnan(target)] if self.missing else target
        if not ((known >= 0) & (known <= 1)).all():
            raise ValueError(
                "MultiCategoryBlock: `get_y` must give numbers in [0, 1] with encoded=True, "
                f"got {target.tolist()}"
            )
        return target

    def decodes(self, target: ArrayLike) -> L[Any]:
        """Labels (L) where the target is 1."""
        return self.vocab.map_ids(np.flatnonzero(np.asarray(target) == 1))


class ColReader:
    """Read columns of a row of a table.

    Parameters
    ----------
    cols : str, int, or collection of them
        Names or positions; several give an `L`, of all their labels with `label_delim`.
    pref, suff : path or str
        Put before and after what is read, such as a folder and '.jpg'.
    label_delim : str, optional
        Cut what is read into labels at this text. Blanks around a label, empty labels and NaN are
        dropped.

    Examples
    --------
    >>> row = {"file": "7", "labels": "sun sky"}
    >>> ColReader("file", pref="photos/", suff=".jpg")(row)
    'photos/7.jpg'
    >>> ColReader("labels", label_delim=" ")(row)
    ['sun', 'sky']
    """

    order = 0

    def __init__(
        self,
        cols: str | int | Iterable[str | int],
        pref: StrPath = "",
        suff: StrPath = "",
        label_delim: str | None = None,
    ) -> None:
        self.cols = listify(cols)
        self.pref = pref if isinstance(pref, str) else str(pref) + "/"
        self.suff, self.label_delim = suff, label_delim
        if label_delim is not None and not (isinstance(label_delim, str) and label_delim):
            raise ValueError(
                f"ColReader: `label_delim` must be a text that is not empty, got {label_delim!r}"
            )

    def __call__(self, row: Any) -> Any:
        values = [self._read(row, col) for col in self.cols]
        if len(values) == 1:
            return values[0]
        return L(values) if self.label_delim is None else L(values).concat()

    def __repr__(self) -> str:
        cols = self.cols[0] if len(self.cols) == 1 else self.cols
        given = {"pref": self.pref, "suff": self.suff, "label_delim": self.label_delim}
        options = "".join(f", {name}={value!r}" for name, value in given.items() if value)
        return f"ColReader({cols!r}{options})"

    def _read(self, row: Any, col: str | int) -> Any:
        value = _cell(row, col)
        if self.label_delim is not None:
            labels = [] if value is None or value != value else str(value).split(self.label_delim)
            return [o for o in (label.strip() for label in labels) if o]
        return f"{self.pref}{value}{self.suff}" if self.pref or self.suff else value


def _cell(row: Any, col: str | int) -> Any:
    try:
        if isinstance(col, int):
            return row.iloc[col] if hasattr(row, "iloc") else row[col]
        return getattr(row, col) if col in getattr(row, "_fields", ()) else row[col]
    except (KeyError, IndexError, TypeError):
        names = ", ".join(map(str, getattr(row, "_fields", None) or _keys(row)))
        raise KeyError(
            f"ColReader: `cols` must name columns{names and ' of ' + names}, got {col!r}"
        ) from None


def _keys(row: Any) -> Iterable[Any]:
    return row.keys() if hasattr(row, "keys") else ()
