"""`ImageDataLoaders`: loaders in one call, from the places where labels usually stand.

Each is a `DataBlock` that is spelled out in one line; what does not fit any of them is a DataBlock.
"""

from __future__ import annotations

import csv
import operator
import re
from collections.abc import Iterable, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from mlclassify.checks import check_function, check_path
from mlclassify.data.block import DataBlock, ImageBlock, MultiCategoryBlock
from mlclassify.data.counts import pandas
from mlclassify.data.files import RegexLabeller, get_image_files, parent_label
from mlclassify.data.lists import L, listify
from mlclassify.data.loader import BatchTfms, ItemTfms
from mlclassify.data.loaders import DataLoaders
from mlclassify.data.split import (
    ColSplitter,
    GrandparentSplitter,
    RandomSplitter,
    Splitter,
)
from mlclassify.data.stratify import StratifiedSplitter
from mlclassify.data.transforms import ColReader
from mlclassify.types import Function, StrPath

if TYPE_CHECKING:
    from pandas import DataFrame


class ImageDataLoaders(DataLoaders):
    """Loaders of photos from folders, tables, file names or lists.

    All of them take, besides their own arguments:

    ``valid_pct``, ``seed``
        As in `RandomSplitter`.
    ``stratify``
        Split with `StratifiedSplitter` instead: validation gets its part of every label.
    ``vocab``
        The labels, kept in this order. Default: those of the training photos, sorted.
    ``y_block``
        A `MultiCategoryBlock` of your own, instead of `vocab`.
    ``item_tfms``, ``batch_tfms``
        As in `DataBlock`.
    ``**options``
        What `DataBlock.dataloaders` takes: ``bs``, ``val_bs``, ``shuffle``, ``num_workers``,
        ``draft``, ``cache``, ``weights``, ...

    All return `DataLoaders`, and raise what `DataBlock.dataloaders` raises.
    """

    @classmethod
    def from_folder(
        cls,
        path: StrPath,
        train: str = "train",
        valid: str = "valid",
        valid_pct: float | None = None,
        seed: int | None = None,
        vocab: Iterable[Any] | None = None,
        item_tfms: ItemTfms = None,
        batch_tfms: BatchTfms = None,
        *,
        stratify: bool = False,
        y_block: MultiCategoryBlock | None = None,
        **options: Any,
    ) -> DataLoaders:
        """Load a folder for each label, such as ``train/teddy/1.jpg``.

        Parameters
        ----------
        path : path or str
        train, valid : str
            Names of the folders for training and for validation.
        valid_pct : float, optional
            Split at random instead; the folders of labels may then lie anywhere below `path`.
        """
        root, random = check_path("from_folder", "path", path), valid_pct is not None or stratify
        folders = None if random else _folders(root, train=train, valid=valid)
        part = 0.2 if valid_pct is None else valid_pct
        splitter = _splitter(part, seed, stratify) if random else GrandparentSplitter(train, valid)
        block = DataBlock(
            _blocks(y_block, vocab), get_items=partial(get_image_files, folders=folders),
            splitter=splitter, get_y=parent_label, item_tfms=item_tfms, batch_tfms=batch_tfms,
        )  # fmt: skip
        return block.dataloaders(root, path=root, **options)

    @classmethod
    def from_path_func(
        cls,
        path: StrPath,
        fnames: Iterable[StrPath],
        label_func: Function,
        valid_pct: float = 0.2,
        seed: int | None = None,
        item_tfms: ItemTfms = None,
        batch_tfms: BatchTfms = None,
        *,
        vocab: Iterable[Any] | None = None,
        stratify: bool = False,
        y_block: MultiCategoryBlock | None = None,
        **options: Any,
    ) -> DataLoaders:
        """Load files whose labels a function of their path gives.

        Parameters
        ----------
        path : path or str
            Folder for what a learner writes.
        fnames : collection of paths
        label_func : function
            From a path to a label, or a list of them.
        """
        block = DataBlock(
            _blocks(y_block, vocab), splitter=_splitter(valid_pct, seed, stratify),
            get_y=check_function("from_path_func", "label_func", label_func),
            item_tfms=item_tfms, batch_tfms=batch_tfms,
        )  # fmt: skip
        return block.dataloaders(L(fnames), path=path, **options)

    @classmethod
    def from_name_func(
        cls, path: StrPath, fnames: Iterable[StrPath], label_func: Function, **options: Any
    ) -> DataLoaders:
        """As `from_path_func`, with a function of the name alone: ``sun_sky_1.jpg``."""
        check_function("from_name_func", "label_func", label_func)
        return cls.from_path_func(path, fnames, lambda o: label_func(Path(o).name), **options)

    @classmethod
    def from_path_re(
        cls,
        path: StrPath,
        fnames: Iterable[StrPath],
        pat: str | re.Pattern[str],
        **options: Any,
    ) -> DataLoaders:
        """As `from_path_func`, with `RegexLabeller` of `pat`: a label for each file."""
        return cls.from_path_func(path, fnames, RegexLabeller(pat), **options)

    @classmethod
    def from_name_re(
        cls,
        path: StrPath,
        fnames: Iterable[StrPath],
        pat: str | re.Pattern[str],
        **options: Any,
    ) -> DataLoaders:
        """As `from_path_re`, on the name alone."""
        return cls.from_name_func(path, fnames, RegexLabeller(pat), **options)

    @classmethod
    def from_lists(
        cls,
        path: StrPath,
        fnames: Iterable[StrPath],
        labels: Iterable[Any],
        valid_pct: float = 0.2,
        seed: int | None = None,
        y_block: MultiCategoryBlock | None = None,
        item_tfms: ItemTfms = None,
        batch_tfms: BatchTfms = None,
        *,
        vocab: Iterable[Any] | None = None,
        stratify: bool = False,
        **options: Any,
    ) -> DataLoaders:
        """Load files and, in the same order, their labels.

        Parameters
        ----------
        path : path or str
            Folder for what a learner writes.
        fnames : collection of paths
        labels : collection
            For each file a label, a list of them, or nothing. Numbers of an array (N, L) go with
            ``y_block=MultiCategoryBlock(encoded=True, vocab=...)``.
        """
        files, labels = list(fnames), list(labels)
        if len(files) != len(labels):
            raise ValueError(
                f"from_lists: `labels` must be as many as the {len(files)} `fnames`, "
                f"got {len(labels)}"
            )
        block = DataBlock(
            _blocks(y_block, vocab), splitter=_splitter(valid_pct, seed, stratify),
            get_x=operator.itemgetter(0), get_y=operator.itemgetter(1),
            item_tfms=item_tfms, batch_tfms=batch_tfms,
        )  # fmt: skip
        return block.dataloaders(list(zip(files, labels)), path=path, **options)

    @classmethod
    def from_df(
        cls,
        df: DataFrame,
        path: StrPath = ".",
        valid_pct: float = 0.2,
        seed: int | None = None,
        fn_col: str | int = 0,
        folder: StrPath | None = None,
        suff: str = "",
        label_col: str | int | Sequence[str | int] = 1,
        label_delim: str | None = None,
        y_block: MultiCategoryBlock | None = None,
        valid_col: str | int | None = None,
        item_tfms: ItemTfms = None,
        batch_tfms: BatchTfms = None,
        *,
        vocab: Iterable[Any] | None = None,
        stratify: bool = False,
        **options: Any,
    ) -> DataLoaders:
        """Load the rows of a DataFrame: a column of files, and one or more of labels.

        Parameters
        ----------
        df : DataFrame
        path, folder : path or str
            Files lie in ``path/folder``; in `path` if there is no `folder`.
        fn_col : str or int
            Name or position of the column of files.
        suff : str
            Put behind each of them, such as '.jpg'.
        label_col : str, int, or list of them
            The column of labels. Several columns of numbers from 0 to 1 are a label each, NaN where
            it is not known; several of texts hold labels.
        label_delim : str, optional
            What stands between the labels of a cell. Without it a cell is one label.
        valid_col : str or int, optional
            A column that is true in the rows for validation, instead of a random split.
        """
        _check_table(df)
        root = check_path("from_df", "path", path)
        columns = _columns(df, "label_col", label_col)
        (files,) = _columns(df, "fn_col", [fn_col])
        splitter = (
            _splitter(valid_pct, seed, stratify)
            if valid_col is None
            else ColSplitter(*_columns(df, "valid_col", [valid_col]))
        )
        block = DataBlock(
            _blocks(*_table_block(df, columns, label_delim, y_block, vocab)), splitter=splitter,
            get_x=ColReader(files, pref=root if folder is None else root / folder, suff=suff),
            get_y=ColReader(columns, label_delim=label_delim),
            item_tfms=item_tfms, batch_tfms=batch_tfms,
        )  # fmt: skip
        return block.dataloaders(df, path=root, **options)

    @classmethod
    def from_csv(
        cls,
        path: StrPath,
        csv_fname: str = "labels.csv",
        header: Any = "infer",
        delimiter: str | None = None,
        quoting: int = csv.QUOTE_MINIMAL,
        **options: Any,
    ) -> DataLoaders:
        """As `from_df`, of a file in the folder `path` that pandas reads.

        Only an empty cell and 'nan' are missing: a label may be called 'None' or 'NA'.

        Parameters
        ----------
        path : path or str
        csv_fname : str
        header, delimiter, quoting
            As in ``pandas.read_csv``.
        **options
            Arguments of `from_df`.
        """
        file = check_path("from_csv", "path", path) / csv_fname
        if not file.is_file():
            raise FileNotFoundError(f"from_csv: `csv_fname` must be a file in `path`, got {file}")
        df = pandas("from_csv").read_csv(
            file, header=header, sep="," if delimiter is None else delimiter, quoting=quoting,
            keep_default_na=False, na_values=["", "nan", "NaN"],
        )  # fmt: skip
        return cls.from_df(df, path, **options)


def _folders(root: Path, **names: str) -> list[str]:
    """Return the names of folders that must be there."""
    for argument, name in ((a, name) for a, given in names.items() for name in listify(given)):
        if not (root / name).is_dir():
            raise FileNotFoundError(
                f"from_folder: `{argument}` must name a folder in `path`, got {name!r}, which is "
                f"not in {root}; split at random with valid_pct=0.2"
            )
    return [name for given in names.values() for name in listify(given)]


def _splitter(valid_pct: float, seed: int | None, stratify: bool) -> Splitter:
    return (StratifiedSplitter if stratify else RandomSplitter)(valid_pct, seed)


def _blocks(
    y_block: MultiCategoryBlock | None, vocab: Iterable[Any] | None
) -> tuple[type[ImageBlock], MultiCategoryBlock]:
    if y_block is None:
        return ImageBlock, MultiCategoryBlock(vocab=vocab)
    if vocab is not None:
        raise ValueError(
            f"ImageDataLoaders: `vocab` must be None with a `y_block` of your own, got {vocab!r}"
        )
    return ImageBlock, y_block


def _check_table(df: Any) -> None:
    if not (hasattr(df, "iloc") and hasattr(df, "columns")):
        raise TypeError(f"from_df: `df` must be a DataFrame, got {type(df).__name__}")


def _columns(df: DataFrame, argument: str, cols: Any) -> list[str | int]:
    """Return columns as `ColReader` takes them: by a text that names no other, or by position."""
    names = df.columns.tolist()
    found: list[str | int] = []
    for col in listify(cols):
        if col not in names and not (isinstance(col, int) and -len(names) <= col < len(names)):
            raise KeyError(
                f"from_df: `{argument}` must name a column of {', '.join(map(str, names))}, or its "
                f"position, got {col!r}"
            )
        if names.count(col) > 1:
            raise ValueError(
                f"from_df: `{argument}` must name one column, got {col!r}, which "
                f"{names.count(col)} are called; give its position"
            )
        place = names.index(col) if col in names else range(len(names))[col]
        name = names[place]
        found.append(name if isinstance(name, str) and names.count(name) == 1 else place)
    return found


def _table_block(
    df: DataFrame,
    columns: list[str | int],
    label_delim: str | None,
    y_block: MultiCategoryBlock | None,
    vocab: Iterable[Any] | None,
) -> tuple[MultiCategoryBlock | None, Iterable[Any] | None]:
    """Return (y_block, vocab): several columns of numbers are targets that stand there already."""
    numbers = len(columns) > 1 and label_delim is None and y_block is None
    names = df.columns.tolist()
    table = df.iloc[:, [c if isinstance(c, int) else names.index(c) for c in columns]]
    if not (numbers and all(kind.kind in "biuf" for kind in table.dtypes)):
        return y_block, vocab
    if vocab is not None:
        raise ValueError(
            "from_df: `vocab` must be None where several columns of numbers are the labels, "
            f"got {vocab!r}"
        )
    missing = bool(np.isnan(table.to_numpy(np.float64)).any())
    return MultiCategoryBlock(encoded=True, vocab=table.columns, missing=missing), None
