"""`DataBlock`, the description of a data set, and the datasets that it builds.

Labels are found and encoded when the data are built, so an unknown label is reported then and not
in the middle of training; photos are decoded each time they are asked for.
"""

from __future__ import annotations

import copy
import operator
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, Self, TypeAlias

import numpy as np

from mlclassify.checks import check_bytes, check_choice, check_function, check_whole
from mlclassify.data.batch import BatchTransform
from mlclassify.data.cache import PhotoCache
from mlclassify.data.counts import pandas
from mlclassify.data.lists import L, listify
from mlclassify.data.loader import (
    BatchTfms,
    DataLoader,
    ItemTfms,
    ItemTransform,
    check_weights,
    class_weights,
    describe,
    make_transforms,
)
from mlclassify.data.loaders import DataLoaders
from mlclassify.data.split import RandomSplitter, Split, Splitter
from mlclassify.data.summary import summarize
from mlclassify.data.transforms import (
    CategoryMap,
    EncodedMultiCategorize,
    MultiCategorize,
    OneHotEncode,
    not_included,
)
from mlclassify.tensor import TensorMultiCategory
from mlclassify.types import ArrayLike, Float32, Float64, Function, StrPath
from mlclassify.vision.image import Enough, Image, PILImage, open_image

if TYPE_CHECKING:
    from pandas import DataFrame

Getter: TypeAlias = Function | Sequence[Function] | None


@dataclass(frozen=True)
class ImageBlock:
    """Says that the input is a photo."""


@dataclass(frozen=True)
class MultiCategoryBlock:
    """Says that the target is any number of labels.

    Parameters
    ----------
    encoded : bool
        `get_y` gives one number for each label of `vocab`, not labels.
    vocab : collection, optional
        The labels, kept in this order. Default: those of the training items, sorted.
    add_na : bool
        Count labels that are not in the vocabulary as a label '#na#', which is put first.
    missing : bool
        With `encoded`, a number may be NaN, where it is not known whether the label is there: train
        with a loss that has ``missing='mask'``.
    """

    encoded: bool = False
    vocab: Iterable[Any] | None = None
    add_na: bool = False
    missing: bool = False

    def categorize(self) -> MultiCategorize | EncodedMultiCategorize:
        """Return a new transform from what `get_y` gives, not set up yet."""
        if not self.encoded:
            if self.missing:
                raise ValueError(
                    "MultiCategoryBlock: `missing` must be False without encoded=True, got True"
                )
            return MultiCategorize(self.vocab, self.add_na)
        if self.add_na:
            raise ValueError(
                "MultiCategoryBlock: `add_na` must be False with encoded=True, got True"
            )
        return EncodedMultiCategorize(self.vocab, self.missing)


class Recipe:
    """How an item becomes a photo and a target.

    Parameters
    ----------
    block : MultiCategoryBlock
    get_x : function, optional
        From an item of the source to what `open_image` reads; default the item itself.
    get_y : function, optional
        From an item of the source to its labels.
    like : object, optional
        An item of the source. Only items of its type go through `get_x`; a path or a photo that is
        given to a trained model is read as it is.
    """

    def __init__(
        self,
        block: MultiCategoryBlock,
        get_x: Function | None = None,
        get_y: Function | None = None,
        like: Any = None,
    ) -> None:
        self.get_x, self.get_y, self._type = get_x, get_y, _kind(like)
        self._categorize = block.categorize()
        self._one_hot: OneHotEncode | None = None

    @property
    def vocab(self) -> CategoryMap:
        """The labels, as a `CategoryMap`."""
        return self._categorize.vocab

    def learn_vocab(self, raw: Iterable[Any]) -> Self:
        """Take the vocabulary from what `get_y` gave for the training items, if none was given."""
        if isinstance(self._categorize, MultiCategorize):
            self._categorize.setups(raw)
            self._one_hot = OneHotEncode(len(self.vocab))
        if not len(self.vocab):
            raise ValueError(
                "DataBlock: `get_y` must give at least one label for some training item, got none"
            )
        return self

    def source(self, item: Any) -> Any:
        """What the photo of an item is read from, as `open_image` takes it."""
        if self.get_x is not None and _kind(item) is self._type:
            return _noting("get_x", self.get_x, item)
        return item

    def image(self, item: Any, enough: Enough | None = None) -> Image.Image:
        """The photo of an item, a PIL image; `enough` as in `open_image`."""
        return open_image(self.source(item), enough)

    def raw(self, items: Iterable[Any]) -> list[Any]:
        """What `get_y` gives for each item."""
        if self.get_y is None:
            raise ValueError(
                "test_dl: `with_labels` must be False for a learner that was loaded from a file "
                "(it has no `get_y`), got True"
            )
        return [_noting("get_y", self.get_y, item) for item in items]

    def targets(self, items: list[Any], raw: list[Any]) -> Float32:
        """Encode what `raw` returned: float32 (number of items, number of labels).

        Raises
        ------
        KeyError
            If there are labels outside of the vocabulary: naming one, its item and the way out.
        """
        self._check_known(items, raw)
        rows = [_noting("the labels", self._encode, y, item) for y, item in zip(raw, items)]
        return np.array(rows, np.float32).reshape(len(items), len(self.vocab))

    def _encode(self, y: Any) -> Any:
        target = self._categorize(y)
        return target if self._one_hot is None else self._one_hot(target)

    def _check_known(self, items: list[Any], raw: list[Any]) -> None:
        if not isinstance(self._categorize, MultiCategorize):
            return
        found = [
            (label, item) for y, item in zip(raw, items) for label in self._categorize.unknown(y)
        ]
        if found:
            label, item = found[0]
            labels = L([o for o, _ in found]).unique()
            raise KeyError(
                "DataBlock: `get_y` must give labels that training items have or `vocab` names, "
                f"got {label!r} for {describe(item)} ({len(found)} such in all); choose "
                "StratifiedSplitter, or pass MultiCategoryBlock(vocab=...) with all labels, or "
                f"add_na=True. {not_included(labels)}"
            )


def _noting(what: str, function: Function, value: Any, item: Any = None) -> Any:
    """Call a function of the user; an error gets a note of the item that it was for."""
    try:
        return function(value)
    except Exception as error:
        error.add_note(f"in {what} of {describe(value if item is None else item)}")
        raise


def _kind(item: Any) -> type:
    """A type under which str and all kinds of Path are one."""
    return str if hasattr(item, "__fspath__") else type(item)


class Dataset:
    """Items with their photos and, if they have any, their targets.

    Parameters
    ----------
    items : list
    recipe : Recipe
    targets : float32 (n, L), optional

    Attributes
    ----------
    items : list
    has_labels : bool
    """

    def __init__(
        self, items: list[Any], recipe: Recipe, targets: Float32 | None = None
    ) -> None:
        self.items, self._recipe, self._targets = items, recipe, targets
        self.has_labels = targets is not None

    @property
    def vocab(self) -> L[Any]:
        """The labels, in the order of the targets' columns."""
        return self._recipe.vocab

    @property
    def c(self) -> int:
        """Number of labels."""
        return len(self.vocab)

    def __len__(self) -> int:
        return len(self.items)

    def __getitem__(self, i: int) -> tuple[Any, ...]:
        """(PILImage, TensorMultiCategory) of item `i`; without targets, (PILImage,)."""
        image, target = PILImage.create(self.image(i)), self.target(i)
        if target is None:
            return (image,)
        return image, target.copy().view(TensorMultiCategory)

    def image(self, i: int, enough: Enough | None = None) -> Image.Image:
        """The photo of item `i`: a PIL image, upright, RGB; `enough` as in `open_image`."""
        return self._recipe.image(self.items[i], enough)

    def source(self, i: int) -> Any:
        """What the photo of item `i` is read from: mostly a file."""
        return self._recipe.source(self.items[i])

    def name(self, i: int) -> str:
        """What to call item `i` in a message: its file, if it has one."""
        source = self.source(i)
        return describe(source if isinstance(source, (str, Path)) else self.items[i])

    def targets(self) -> Float32:
        """All targets, float32 (n, L); without labels, none: (0, L)."""
        return np.zeros((0, self.c), np.float32) if self._targets is None else self._targets

    def target(self, i: int) -> Float32 | None:
        """The target of item `i`, float32 (L,); None without targets."""
        return None if self._targets is None else self._targets[i]

    def labels(self, i: int) -> list[Any]:
        """The labels of item `i`, in the order of the vocabulary; a soft label is not one."""
        return [] if not self.has_labels else list(self.vocab[np.flatnonzero(self.target(i) == 1)])

    def to_frame(self) -> DataFrame:
        """Return items and targets as a pandas DataFrame: a row for each photo.

        Columns are the labels; the index says what each photo was made from.
        """
        names = [describe(item) for item in self.items]
        targets = self.targets() if self.has_labels else np.zeros((len(self), 0))
        columns = list(map(str, self.vocab)) if self.has_labels else []
        frame: type[DataFrame] = pandas("to_frame").DataFrame
        return frame(targets, index=names, columns=columns)

    def new(self, items: Any, with_labels: bool = False) -> Dataset:
        """Return a dataset of other items, made into photos and targets in the same way.

        Parameters
        ----------
        items : item or collection of items
        with_labels : bool

        Returns
        -------
        Dataset
        """
        items = _item_list(items)
        targets = self._recipe.targets(items, self._recipe.raw(items)) if with_labels else None
        return Dataset(items, self._recipe, targets)

    def __repr__(self) -> str:
        return f"Dataset: {len(self)} photos, {self.c} labels"


class Datasets:
    """The training and the validation dataset.

    Attributes
    ----------
    items : list
    splits : (L of int, L of int)
        Positions in `items`.
    train, valid : Dataset
    """

    def __init__(self, items: list[Any], splits: Split, recipe: Recipe) -> None:
        self.items, self.splits = items, splits
        parts = [[items[i] for i in split] for split in splits]
        raws = [recipe.raw(part) for part in parts]
        recipe.learn_vocab(raws[0])
        self.train, self.valid = (
            Dataset(part, recipe, recipe.targets(part, raw)) for part, raw in zip(parts, raws)
        )

    @property
    def vocab(self) -> L[Any]:
        """The labels, in the order of the targets' columns."""
        return self.train.vocab

    @property
    def c(self) -> int:
        """Number of labels."""
        return len(self.vocab)

    def __repr__(self) -> str:
        return f"Datasets: {len(self.train)} + {len(self.valid)} photos, {self.c} labels"


class DataBlock:
    """The description of a data set: where items, photos and labels come from.

    Parameters
    ----------
    blocks : (ImageBlock, MultiCategoryBlock), optional
        Called or not.
    get_items : function, optional
        From the source to its items; default the source itself, a list or a DataFrame.
    splitter : function, optional
        From the items to (training positions, validation positions). Default `RandomSplitter()`.
    get_x : function, optional
        From an item to what `open_image` reads; default the item itself.
    get_y : function
        From an item to its labels: a list, a single text, or nothing.
    item_tfms : item transform or collection of them, optional
    batch_tfms : batch transform or collection of them, optional
    """

    get_y: Function
    item_tfms: list[ItemTransform]
    batch_tfms: list[BatchTransform]

    def __init__(
        self,
        blocks: Iterable[Any] | None = None,
        *,
        get_items: Function | None = None,
        splitter: Splitter | None = None,
        get_x: Getter = None,
        get_y: Getter = None,
        item_tfms: ItemTfms = None,
        batch_tfms: BatchTfms = None,
        **unknown: Any,
    ) -> None:
        if unknown:
            names = ", ".join(unknown)
            raise TypeError(
                f"DataBlock: got what it does not know. invalid keyword arguments: {names}"
            )
        self.blocks = _check_blocks(blocks)
        self.get_items = _optional("get_items", get_items)
        self.splitter: Splitter = _optional("splitter", splitter) or RandomSplitter()
        self.get_x, labeller = _getter("get_x", get_x), _getter("get_y", get_y)
        if labeller is None:
            raise ValueError(
                "DataBlock: `get_y` must be a function from an item to its labels, got None; "
                "with a folder for each label that is parent_label"
            )
        self.get_y = labeller
        self.item_tfms = make_transforms("item_tfms", item_tfms)
        self.batch_tfms = make_transforms("batch_tfms", batch_tfms)

    def new(self, item_tfms: ItemTfms = None, batch_tfms: BatchTfms = None) -> DataBlock:
        """Return the same description with other transforms.

        Parameters
        ----------
        item_tfms, batch_tfms : transform or collection of them, optional
            Kept where not given.

        Returns
        -------
        DataBlock
        """
        other = copy.copy(self)
        if item_tfms is not None:
            other.item_tfms = make_transforms("item_tfms", item_tfms)
        if batch_tfms is not None:
            other.batch_tfms = make_transforms("batch_tfms", batch_tfms)
        return other

    def datasets(self, source: Any) -> Datasets:
        """Find and split the items, and encode their labels.

        Parameters
        ----------
        source : object
            What `get_items` takes; without it, a collection of items or a DataFrame.

        Returns
        -------
        Datasets

        Raises
        ------
        ValueError
            If there are no items, or none to train on.
        KeyError
            If validation items have labels that no training item has.
        """
        found, items = self.find(source)
        return self.encode(items, self.split(found, items))

    def find(self, source: Any) -> tuple[Any, list[Any]]:
        """Return (what `get_items` found, the list of items); refuse none at all."""
        found = source if self.get_items is None else self.get_items(source)
        items = _item_list(found)
        if not items:
            raise ValueError(
                f"DataBlock: `source` must hold at least one item, got none in {describe(source)}"
            )
        return found, items

    def split(self, found: Any, items: list[Any]) -> Split:
        """Return (training positions, validation positions) by the splitter, checked."""
        items_or_table = found if hasattr(found, "iloc") else items
        splitter: Function = self.splitter
        if getattr(splitter, "needs_labels", False):
            labels = self._recipe(items).raw(items)
            return _check_splits(splitter(items_or_table, labels), len(items))
        return _check_splits(splitter(items_or_table), len(items))

    def encode(self, items: list[Any], splits: Split) -> Datasets:
        """Return the `Datasets` of items that are split."""
        return Datasets(items, splits, self._recipe(items))

    def _recipe(self, items: list[Any]) -> Recipe:
        return Recipe(self.blocks[1], self.get_x, self.get_y, like=items[0])

    def summary(self, source: Any, bs: int = 4, show_batch: bool = False) -> None:
        """Print every step from the source to a batch; an error names its step and its item.

        Parameters
        ----------
        source : object
            As in `datasets`.
        bs : int
            Training photos to make a batch of.
        show_batch : bool
            Draw it, too.

        Raises
        ------
        Exception
            What the step raised, with a note of the step and the item that it failed for.
        """
        summarize(self, source, check_whole("summary", "bs", bs, at_least=1), show_batch)

    def dataloaders(
        self,
        source: Any,
        path: StrPath = ".",
        bs: int = 64,
        val_bs: int | None = None,
        shuffle: bool = True,
        val_shuffle: bool = False,
        drop_last: bool | None = None,
        num_workers: int | None = None,
        draft: bool = False,
        cache: int | str | None = None,
        weights: Literal["class_aware"] | ArrayLike | None = None,
    ) -> DataLoaders:
        """Build the loaders of training and validation.

        Parameters
        ----------
        source : object
            As in `datasets`.
        path : path or str
            Folder for what a learner writes.
        bs, val_bs : int
            Photos in a batch of training, and of validation if that differs.
        shuffle, val_shuffle : bool
            Another order in each epoch.
        drop_last : bool, optional
            Leave out a last training batch that is not full. Default: as `shuffle`.
        num_workers : int, optional
            See `DataLoader`.
        draft : bool
            Decode large JPEGs at a part of their size in training; see `DataLoader`.
        cache : int or str, optional
            Bytes of memory, or a text such as '500MB', for keeping decoded photos from one epoch
            to the next: training and validation share it. A photo of 500 x 375 takes 0.75 MB.
        weights : 'class_aware' or float array (number of items,), optional
            How often training photos come, in proportion. 'class_aware' draws a label first and
            then one of its photos, so that rare labels come as often as common ones (which they
            gain by, and common ones lose a little); photos without a label keep their part. An
            epoch is as long as without.

        Returns
        -------
        DataLoaders

        Raises
        ------
        ValueError
            As `datasets`, and if there are fewer training items than `bs` with `drop_last`.
        """
        kept = None if cache is None else PhotoCache(check_bytes("dataloaders", "cache", cache))
        data = self.datasets(source)
        train_weights = _training_weights(weights, data)
        options: dict[str, Any] = {
            "item_tfms": self.item_tfms, "batch_tfms": self.batch_tfms,
            "num_workers": num_workers, "cache": kept,
        }  # fmt: skip
        train = DataLoader(data.train, bs, shuffle, shuffle if drop_last is None else drop_last,
                           train=True, draft=draft, weights=train_weights, **options)  # fmt: skip
        valid = DataLoader(data.valid, bs if val_bs is None else val_bs, val_shuffle,
                           **options)  # fmt: skip
        if not len(train):
            raise ValueError(
                f"dataloaders: `bs` must be at most the {train.n} training photos, got {bs}; pass "
                f"bs={train.n} or less, or drop_last=False"
            )
        return DataLoaders(train, valid, path)


def _training_weights(weights: ArrayLike | None, data: Datasets) -> Float64 | None:
    """Return the weights of the training photos, or None."""
    if isinstance(weights, str):
        check_choice("dataloaders", "weights", weights, (None, "class_aware"))
        return class_weights(data.train.targets())
    if weights is None:
        return None
    return check_weights(weights, len(data.items))[list(data.splits[0])]


def empty_dataloaders(
    vocab: Iterable[Any],
    item_tfms: ItemTfms = (),
    batch_tfms: BatchTfms = (),
    bs: int = 64,
    path: StrPath = ".",
) -> DataLoaders:
    """Return loaders without photos, for a learner that only predicts.

    Parameters
    ----------
    vocab : collection
        The labels, kept in this order.
    item_tfms, batch_tfms : collection of transforms
    bs : int
    path : path or str

    Returns
    -------
    DataLoaders
    """
    recipe = Recipe(MultiCategoryBlock(vocab=vocab)).learn_vocab([])
    dataset = Dataset([], recipe, np.zeros((0, len(recipe.vocab)), np.float32))
    train, valid = (
        DataLoader(dataset, bs, train=train, item_tfms=item_tfms, batch_tfms=batch_tfms)
        for train in (True, False)
    )
    return DataLoaders(train, valid, path)


def _item_list(items: Any) -> list[Any]:
    """Items as a list; those of a DataFrame are its rows, and a path or a photo is one item."""
    if hasattr(items, "iloc") and hasattr(items, "columns"):
        return [items.iloc[i] for i in range(len(items))]
    return listify(items)


def _check_blocks(blocks: Iterable[Any] | None) -> tuple[ImageBlock, MultiCategoryBlock]:
    given = (ImageBlock, MultiCategoryBlock) if blocks is None else tuple(listify(blocks))
    made = tuple(b() if isinstance(b, type) else b for b in given)
    if [type(b) for b in made] != [ImageBlock, MultiCategoryBlock]:
        names = ", ".join(getattr(b, "__name__", repr(b)) for b in given)
        raise ValueError(
            f"DataBlock: `blocks` must be (ImageBlock, MultiCategoryBlock), got ({names})"
        )
    return made


def _getter(name: str, functions: Getter) -> Function | None:
    """Return the one function among `functions`, or None."""
    several = [functions] if callable(functions) else listify(functions)
    if len(several) > 1:
        raise ValueError(
            f"DataBlock: `{name}` must be one function, got {len(several)}. If you wanted to "
            "compose several transforms in your getter don't forget to wrap them in a `Pipeline`."
        )
    return _optional(name, several[0] if several else None)


def _optional(name: str, function: Function | None) -> Function | None:
    return None if function is None else check_function("DataBlock", name, function)


def _check_splits(splits: Any, n: int) -> Split:
    rule = "must return (training positions, validation positions), two lists of integers"
    try:
        parts = [L([operator.index(i) for i in split]) for split in splits]
    except TypeError:
        got = describe(splits)
        raise ValueError(f"DataBlock: `splitter` {rule}, got {got}") from None
    if len(parts) != 2:
        raise ValueError(f"DataBlock: `splitter` {rule}, got {len(parts)} lists")
    train, valid = parts
    for name, split in (("training", train), ("validation", valid)):
        outside = split.filter(lambda i: not 0 <= i < n)
        if len(outside):
            raise IndexError(
                f"DataBlock: `splitter` must return {name} positions below {n}, got {outside[0]}"
            )
    if not len(train):
        raise ValueError(f"DataBlock: `splitter` must leave items to train on, got none of {n}")
    return train, valid
