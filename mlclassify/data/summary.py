"""What `DataBlock.summary` prints: every step from source to batch, and the one that fails."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, Protocol, TypeAlias, TypeVar

import numpy as np

from mlclassify.data.batch import BatchTransform, make_plan
from mlclassify.data.lists import L
from mlclassify.data.loader import DataLoader, DatasetLike, ItemTransform, describe
from mlclassify.data.split import Split, Splitter
from mlclassify.rng import CROP, KeyedRandom
from mlclassify.types import Function
from mlclassify.vision.image import Image

T = TypeVar("T")
_Photos: TypeAlias = list[tuple[str, Image.Image]]  # what each is of, and the photo

_SHOWN = 10  # labels that a line names


class DatasetsLike(Protocol):
    """What a block makes of a source; `mlclassify.data.block.Datasets` is it."""

    @property
    def train(self) -> DatasetLike: ...

    @property
    def vocab(self) -> L[Any]: ...

    @property
    def c(self) -> int: ...


class BlockLike(Protocol):
    """The steps of a `DataBlock`, which stands on this module."""

    get_items: Function | None
    splitter: Splitter
    get_y: Function
    item_tfms: list[ItemTransform]
    batch_tfms: list[BatchTransform]

    def find(self, source: Any) -> tuple[Any, list[Any]]: ...

    def split(self, found: Any, items: list[Any]) -> Split: ...

    def encode(self, items: list[Any], splits: Split) -> DatasetsLike: ...


class Trace:
    """Runs steps, a line of print for each.

    Examples
    --------
    >>> Trace().step("double", "of 2", lambda: 4, str)
      double: 4
    4
    >>> try:
    ...     Trace().step("divide", "1 by 0", lambda: 1 / 0, str)
    ... except ZeroDivisionError as error:
    ...     print(*error.__notes__)
    DataBlock.summary: the step `divide` failed for 1 by 0
    """

    def step(
        self,
        name: str,
        item: str,
        run: Callable[[], T],
        show: Callable[[T], object] | None = None,
    ) -> T:
        """Return ``run()``; print what `show` makes of it, or name the step and the item."""
        try:
            result = run()
        except Exception as error:
            error.add_note(f"DataBlock.summary: the step `{name}` failed for {item}")
            raise
        if show is not None:
            print(f"  {name}: {show(result)}")
        return result


def summarize(block: BlockLike, source: Any, bs: int, show_batch: bool) -> None:
    """Do what `DataBlock.summary` says; `block` is the DataBlock."""
    trace = Trace()
    data = _datasets(trace, block, source)
    rows = range(min(bs, len(data.train)))
    photos = _photos(trace, data.train, block.item_tfms, rows)
    print(f"A batch of the first {len(rows)} training photos")
    trace.step("stack", "the photos above", lambda: _stack(photos), lambda shape: f"uint8 {shape}")
    _plans(trace, block.batch_tfms, photos)
    dl = DataLoader(data.train, len(rows), item_tfms=block.item_tfms, batch_tfms=block.batch_tfms,
                    train=True)  # fmt: skip
    batch = trace.step("batch", "the photos above", dl.one_batch, _batch_line)
    if show_batch:
        dl.show_batch(batch)


def _datasets(trace: Trace, block: BlockLike, source: Any) -> DatasetsLike:
    found, items = _items(trace, block, source)
    every = f"the {len(items)} items"
    splits = trace.step(name_of(block.splitter, "splitter"), every,
                        lambda: block.split(found, items), _split_line)  # fmt: skip
    print("Labels")
    first = items[splits[0][0]]
    trace.step(f"get_y = {name_of(block.get_y, 'get_y')}", describe(first),
               lambda: block.get_y(first), lambda y: f"{y!r} for {describe(first)}")  # fmt: skip
    return trace.step("vocabulary", every, lambda: block.encode(items, splits), _vocab_line)


def _items(trace: Trace, block: BlockLike, source: Any) -> tuple[Any, list[Any]]:
    print("Items")
    return trace.step(name_of(block.get_items, "the source itself"), describe(source),
                      lambda: block.find(source), _items_line)  # fmt: skip


def _items_line(found: tuple[Any, list[Any]]) -> str:
    return f"{len(found[1])}, the first is {describe(found[1][0])}"


def _split_line(splits: Split) -> str:
    return f"{len(splits[0])} to train on, {len(splits[1])} to validate on"


def _vocab_line(data: DatasetsLike) -> str:
    names = ", ".join(map(str, L(data.vocab)[:_SHOWN]))
    return f"{data.c} labels: {names}{', ...' if data.c > _SHOWN else ''}"


def _photos(
    trace: Trace, dataset: DatasetLike, item_tfms: Sequence[ItemTransform], rows: range
) -> _Photos:
    """Return (name, transformed photo) of `rows`; the first one is told aloud."""
    names = [describe(dataset.items[i]) for i in rows]
    print(f"The first training photo, {names[0]}")
    first = _photo(trace, dataset, item_tfms, 0, _size)
    trace.step("target", names[0], lambda: dataset.targets()[0],
               lambda y: f"{y.tolist()[:_SHOWN]} = {list(dataset.labels(0))}")  # fmt: skip
    return list(zip(names, [first, *(_photo(trace, dataset, item_tfms, i) for i in rows[1:])]))


def _photo(
    trace: Trace,
    dataset: DatasetLike,
    item_tfms: Sequence[ItemTransform],
    i: int,
    show: Callable[[Image.Image], str] | None = None,
) -> Image.Image:
    item, draw = describe(dataset.items[i]), KeyedRandom(0, 0, i, CROP)
    image = trace.step("open_image", item, lambda: dataset.image(i), show)
    for t in item_tfms:
        image = trace.step(repr(t), item, partial(t.apply, image, draw, True), show)
    return image


def _stack(photos: _Photos) -> tuple[int, int, int, int]:
    """Return the shape of all photos, which must be of one size."""
    first, image = photos[0]
    for item, other in photos:
        if other.size != image.size:
            raise ValueError(
                f"DataBlock: `item_tfms` must make all photos one size, got {_size(image)} for "
                f"{first} and {_size(other)} for {item}; add Resize(224) or RandomResizedCrop(224)"
            )
    return len(photos), image.height, image.width, 3


def _plans(
    trace: Trace, batch_tfms: Sequence[BatchTransform], photos: _Photos
) -> None:
    n, height, width, _ = _stack(photos)
    plan = {"n": n, "h": height, "w": width, "train": True}
    for k, transform in enumerate(batch_tfms):
        trace.step(
            repr(transform),
            f"a batch of {len(photos)}",
            partial(make_plan, batch_tfms[: k + 1], **plan),
            lambda plan: "planned",
        )


def name_of(function: Function | None, otherwise: str) -> str:
    """Return what to call a function of the user."""
    if function is None:
        return otherwise
    name = getattr(function, "__qualname__", None)
    return name.split(".<locals>")[0] if name else repr(function)


def _size(image: Image.Image) -> str:
    return f"{image.width} x {image.height}"


def _batch_line(batch: Sequence[Any]) -> str:
    x, y = (np.asarray(part) for part in batch)
    return (
        f"photos {x.dtype} {x.shape} from {x.min():.3g} to {x.max():.3g}, targets {y.dtype} "
        f"{y.shape} with {np.mean((y > 0).sum(axis=1)):.3g} labels a photo"
    )
