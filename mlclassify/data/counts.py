"""How many photos bear each label, and which labels come together."""

from __future__ import annotations

import html
from collections.abc import Iterable
from importlib import import_module
from types import ModuleType
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import DTypeLike

from mlclassify.types import AnyArray, ArrayLike

if TYPE_CHECKING:
    from pandas import DataFrame

NO_LABEL = "(no label)"


class Counts:
    """A table of numbers of photos with names at its sides.

    Parameters
    ----------
    values : int array (R, C)
    rows, columns : list of str

    Attributes
    ----------
    values : int64 (R, C)
    rows, columns : list of str

    Examples
    --------
    >>> counts = Counts([[3, 1], [2, 0]], ["sky", "sun"], ["train", "valid"])
    >>> counts["sky", "train"]
    3
    >>> counts
                           train   valid
    sky                        3       1
    sun                        2       0
    """

    def __init__(
        self, values: ArrayLike, rows: Iterable[object], columns: Iterable[object]
    ) -> None:
        self.rows, self.columns = list(map(str, rows)), list(map(str, columns))
        self.values = np.array(values, np.int64).reshape(len(self.rows), len(self.columns))

    def __getitem__(self, names: tuple[object, object]) -> int:
        """The number (int) at (row, column), by their names."""
        row, column = names
        return int(
            self.values[
                self._place("row", self.rows, row), self._place("column", self.columns, column)
            ]
        )

    @staticmethod
    def _place(side: str, names: list[str], name: object) -> int:
        try:
            return names.index(str(name))
        except ValueError:
            known = ", ".join(names[:20]) + (", ..." if len(names) > 20 else "")
            raise KeyError(f"Counts: `{side}` must be one of {known}, got {name!r}") from None

    def __array__(self, dtype: DTypeLike | None = None, copy: bool | None = None) -> AnyArray:
        return np.array(self.values, dtype)

    def to_frame(self) -> DataFrame:
        """Return the table as a pandas DataFrame."""
        frame: type[DataFrame] = pandas("to_frame").DataFrame
        return frame(self.values.copy(), index=self.rows, columns=self.columns)

    def __repr__(self) -> str:
        head, body, left_out = self._shown()
        widths = [max(7, len(name)) for name in head]
        lines = [_line(name, cells, widths) for name, *cells in [("", *head), *body]]
        return "\n".join(lines + ([left_out] if left_out else []))

    def _repr_html_(self) -> str:
        # Labels are names of folders that someone else may have chosen: text, not HTML.
        head, body, left_out = self._shown()
        names = "".join(f"<th>{html.escape(name)}</th>" for name in ("", *head))
        rows = "".join(
            f"<tr><th>{html.escape(name)}</th>" + "".join(f"<td>{n}</td>" for n in row) + "</tr>"
            for name, *row in body
        )
        return f"<table><tr>{names}</tr>{rows}</table><p>{left_out}</p>"

    def _shown(self) -> tuple[list[str], list[tuple[Any, ...]], str]:
        """Return names of columns, (name, *numbers) of rows, and a sentence of what is left out."""
        rows, columns = _some(len(self.rows), _ROWS), _some(len(self.columns), _COLUMNS)
        values = self.values[np.ix_(rows, columns)].tolist()
        body = [(self.rows[i], *row) for i, row in zip(rows, values)]
        whole = len(rows) == len(self.rows) and len(columns) == len(self.columns)
        r, c = self.values.shape
        left_out = f"{len(rows)} of {r} rows, {len(columns)} of {c} columns; to_frame() has all"
        return [self.columns[k] for k in columns], body, "" if whole else left_out


_ROWS, _COLUMNS = 50, 20  # that a table shows


def _some(n: int, most: int) -> list[int]:
    """Return positions to show: all, or the first ones and the last."""
    return list(range(n)) if n <= most else [*range(most - 1), n - 1]


def _line(name: str, cells: Iterable[object], widths: Iterable[int]) -> str:
    return f"{name:<20} " + " ".join(f"{cell:>{width}}" for cell, width in zip(cells, widths))


def label_counts(vocab: Iterable[object], **targets: ArrayLike) -> Counts:
    """Count the photos of each label.

    Parameters
    ----------
    vocab : collection
    **targets : float32 (n, L)
        By the names of the columns; what is above 0 counts, NaN does not.

    Returns
    -------
    Counts
        A row for each label, and one for the photos without a label where there are any.

    Examples
    --------
    >>> label_counts(["sky", "sun"], train=np.array([[1, 0], [0, 0], [1, 0.5]]))
                           train
    sky                        2
    sun                        1
    (no label)                 1
    """
    marked = [np.asarray(t) > 0 for t in targets.values()]
    rows = np.stack([m.sum(axis=0) for m in marked], 1)
    none = [(~m.any(axis=1)).sum() for m in marked]
    if not any(none):
        return Counts(rows, vocab, targets)
    return Counts(np.concatenate([rows, [none]]), [*vocab, NO_LABEL], targets)


def co_occurrence(vocab: Iterable[object], targets: ArrayLike) -> Counts:
    """Count the photos that bear two labels, of every two.

    Parameters
    ----------
    vocab : collection
    targets : float32 (n, L)

    Returns
    -------
    Counts
        As many rows and columns as labels; on the diagonal, the photos of each.

    Examples
    --------
    >>> co_occurrence(["sky", "sun"], np.array([[1, 0], [0, 0], [1, 1]]))["sky", "sun"]
    1
    """
    marked = (np.asarray(targets) > 0).astype(np.float32)  # BLAS; exact below 2**24 photos
    return Counts(np.rint(marked.T @ marked), vocab, vocab)


def pandas(function: str) -> ModuleType:
    """Return the module pandas, or say how to install it."""
    try:
        return import_module("pandas")
    except ModuleNotFoundError as error:
        raise ModuleNotFoundError(
            f"{function}: needs pandas, which is not installed; pip install 'mlclassify[notebook]'"
        ) from error
