"""Labelled photos as the commands find them: a folder with a table, or folders named by label."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from mlclassify.data.block import Dataset, MultiCategoryBlock, Recipe
from mlclassify.data.files import get_image_files, parent_label
from mlclassify.data.loader import DataLoader
from mlclassify.data.split import IndexSplitter, RandomSplitter, Split
from mlclassify.data.table import read_table
from mlclassify.types import StrPath

if TYPE_CHECKING:
    from mlclassify.learner import Learner
    from mlclassify.metrics import Report


class Labelled:
    """Photos below a folder, with their labels and the split that belongs to them.

    Parameters
    ----------
    source : Path
        The folder.
    csv_fname : Path, optional
        The table, relative to `source`; default ``labels.csv`` if it is there, else each photo has
        the label that its folder is named by.
    label_delim : str
    folder : str
        Of the photos in the table, relative to `source`.
    valid_pct : float
    seed : int
        With `valid_pct`, of the split; a column ``is_valid`` of the table goes before.

    Attributes
    ----------
    items : list of Path
    """

    def __init__(self, source: Path, csv_fname: StrPath | None = None, label_delim: str = " ",
                 folder: str = "", valid_pct: float = 0.2, seed: int = 0) -> None:
        self._split = RandomSplitter(valid_pct, seed)
        table = source / ("labels.csv" if csv_fname is None else csv_fname)
        if csv_fname is None and not table.exists():
            self.items = list(get_image_files(source))
            self._labels = {str(fn): [parent_label(fn)] for fn in self.items}
        else:
            found = read_table(table, label_delim)
            self.items = [Path(source, folder, name) for name in found.rows]
            self._labels = dict(zip(map(str, self.items), found.rows.values()))
            marks = [found.others.get(name, {}).get("is_valid") for name in found.rows]
            if any(marks):
                valid = [i for i, mark in enumerate(marks) if _is_true(mark)]
                self._split = IndexSplitter(valid)

    def labels(self, fn: StrPath) -> list[str]:
        """Return the labels of a photo."""
        return self._labels[str(fn)]

    def split(self, items: Sequence[Any]) -> Split:
        """Return the positions of the photos to train on, and of those to judge by."""
        return self._split(items)

    def loader(self, learn: Learner, part: Literal["valid", "train", "all"]) -> DataLoader:
        """Return a loader of these photos for a learner, in its transforms and labels.

        Parameters
        ----------
        learn : Learner
        part : {'valid', 'train', 'all'}
        """
        chosen = self.items
        if part != "all":
            chosen = [self.items[i] for i in self.split(self.items)[part == "valid"]]
        if not chosen:
            raise ValueError(f"mlclassify: `part` must hold photos, got none in {part!r}")
        block, valid = MultiCategoryBlock(vocab=list(learn.dls.vocab)), learn.dls.valid
        recipe = Recipe(block, None, self.labels, like=chosen[0]).learn_vocab([])
        dataset = Dataset(chosen, recipe, recipe.targets(chosen, recipe.raw(chosen)))
        return DataLoader(dataset, valid.bs, item_tfms=valid.item_tfms, batch_tfms=valid.batch_tfms)


def _is_true(mark: object) -> bool:
    return str(mark).strip().lower() in ("true", "1", "yes")


def as_json(value: Any) -> Any:
    """Return a value as JSON can say it: arrays as lists, and what is not finite as None.

    Examples
    --------
    >>> as_json({"thresh": np.float32([0.5, np.inf]), "support": np.int64(3)})
    {'thresh': [0.5, None], 'support': 3}
    """
    if isinstance(value, dict):
        return {str(key): as_json(item) for key, item in value.items()}
    if isinstance(value, np.ndarray):
        return as_json(value.tolist())
    if isinstance(value, (list, tuple)):
        return [as_json(item) for item in value]
    if isinstance(value, (float, np.floating)):
        return float(value) if np.isfinite(value) else None
    return value.item() if isinstance(value, np.generic) else value


def columns(table: Any, *names: str) -> list[dict[str, Any]]:
    """Return an object whose attributes are columns as a list with an object for each label."""
    cells = zip(table.labels, *(np.asarray(getattr(table, name)).tolist() for name in names))
    return [dict(zip(("label", *names), row)) for row in cells]


def report_json(report: Report) -> dict[str, Any]:
    """Return a `Report` as JSON has it."""
    names = ("support", "thresh", "precision", "recall", "f1", "average_precision")
    return {
        "labels": columns(report, *names), "accuracy": report.accuracy,
        "accuracy_of_nothing": report.accuracy_of_nothing,
    }  # fmt: skip
