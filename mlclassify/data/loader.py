"""Batches of photos and targets, decoded in threads ahead of their use.

Everything random about a batch follows from (seed, epoch, position in the epoch), so neither the
number of threads nor what was loaded before changes a pixel. `stream` is the trainer's way: its
batches live in two buffers, written in turn. Iterating gives a user copies.
"""

from __future__ import annotations

import math
import operator
from collections import deque
from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import closing
from pathlib import Path
from typing import (
    TYPE_CHECKING,
    Any,
    Literal,
    NamedTuple,
    Protocol,
    TypeAlias,
    TypeVar,
)

import numpy as np

from mlclassify import _core
from mlclassify.checks import check_has, check_whole
from mlclassify.data.batch import (
    BatchPlan,
    BatchTransform,
    make_plan,
    pictures,
    run_plan,
)
from mlclassify.data.cache import PhotoCache
from mlclassify.data.lists import L, listify
from mlclassify.plot import Grid, label_title, show_images
from mlclassify.ranks import part_of
from mlclassify.rng import CROP, SAMPLE, SHUFFLE, KeyedRandom, default_seed, uniforms
from mlclassify.tensor import Tensor, TensorImage, TensorMultiCategory
from mlclassify.types import ArrayLike, Float32, Float64, Int64, UInt8
from mlclassify.vision.image import Draw, Enough, Image

if TYPE_CHECKING:
    from pandas import DataFrame

T = TypeVar("T")



class ItemTransform(Protocol):
    """What a `DataLoader` does to each photo; lower orders first."""

    @property
    def order(self) -> float: ...

    def apply(self, image: Image.Image, draw: Draw, train: bool, /) -> Image.Image: ...


ItemTfms: TypeAlias = (
    ItemTransform | type[ItemTransform] | Iterable[ItemTransform | type[ItemTransform]] | None
)
BatchTfms: TypeAlias = (
    BatchTransform | type[BatchTransform] | Iterable[BatchTransform | type[BatchTransform]] | None
)


class DatasetLike(Protocol):
    """What loaders ask of a dataset; `DataBlock` makes them a `mlclassify.data.block.Dataset`.

    A `DataLoader` by itself needs ``items``, ``vocab``, ``has_labels``, ``image``, ``target``,
    ``name`` and a length.
    """

    @property
    def items(self) -> Sequence[Any]: ...

    @property
    def vocab(self) -> L[Any]: ...

    @property
    def has_labels(self) -> bool: ...

    @property
    def c(self) -> int: ...

    def __len__(self) -> int: ...

    def __getitem__(self, i: int, /) -> tuple[Any, ...]: ...

    def image(self, i: int, enough: Enough | None = None, /) -> Image.Image: ...

    def target(self, i: int, /) -> Float32 | None: ...

    def source(self, i: int, /) -> Any: ...

    def name(self, i: int, /) -> str: ...

    def targets(self) -> Float32: ...

    def labels(self, i: int, /) -> list[Any]: ...

    def new(self, items: Any, with_labels: bool = False) -> DatasetLike: ...

    def to_frame(self) -> DataFrame: ...


class Batch(NamedTuple):
    """One batch of `DataLoader.stream`, good until the batch after the next one.

    Attributes
    ----------
    x : float32 (N, 3, H, W)
        A view of NHWC memory that is used again.
    y : float32 (N, L) or None
    position : int
        Of the first row in the epoch.
    items : list
        What the rows were made from.
    n : int
        Photos in the whole batch, of which these may be a part.
    """

    x: Float32
    y: Float32 | None
    position: int
    items: list[Any]
    n: int


class DataLoader:
    """Batches of a dataset.

    Parameters
    ----------
    dataset : Dataset
        Has ``items``, ``vocab``, ``has_labels``, ``image(i)``, ``target(i)`` and a length; for
        `draft`, ``image(i, enough)`` as `open_image` has it.
    bs : int
        Photos in a batch.
    shuffle : bool
        Another order in each epoch.
    drop_last : bool
        Leave out a last batch that is not full.
    item_tfms : item transform or collection of them
        Applied to each photo; the last one of a class counts. They must make all of one size.
    batch_tfms : batch transform or collection of them
        Applied to each batch.
    train : bool
        Whether transforms behave randomly, as for training.
    num_workers : int, optional
        Threads that decode; 0 decodes in the caller's. Default: as many as the kernels use, but at
        most 16.
    draft : bool
        In training, decode a JPEG at 1/2, 1/4 or 1/8 of its size where the first item transform
        still need not enlarge what it cuts out. That is faster for large photos and changes pixels
        a little. Validation and prediction see photos decoded in full, always.
    cache : PhotoCache, optional
        Keeps decoded photos for the next epochs; pixels are the same with and without it. A file
        that is changed meanwhile is not read again.
    weights : float array (n,), optional
        How often each photo comes, in proportion, with `shuffle`: an epoch has as many photos as
        the dataset, and one of twice the mean weight comes twice.
    """

    item_tfms: list[ItemTransform]
    batch_tfms: list[BatchTransform]

    def __init__(
        self,
        dataset: DatasetLike,
        bs: int = 64,
        shuffle: bool = False,
        drop_last: bool = False,
        item_tfms: ItemTfms = (),
        batch_tfms: BatchTfms = (),
        train: bool = False,
        num_workers: int | None = None,
        draft: bool = False,
        cache: PhotoCache | None = None,
        weights: ArrayLike | None = None,
    ) -> None:
        self.dataset, self.shuffle, self.drop_last, self.train = dataset, shuffle, drop_last, train
        self.bs = check_whole("DataLoader", "bs", bs, at_least=1)
        self.item_tfms = make_transforms("item_tfms", item_tfms)
        self.batch_tfms = make_transforms("batch_tfms", batch_tfms)
        if num_workers is None:
            num_workers = min(16, _core.get_num_threads())
        self.num_workers = check_whole("DataLoader", "num_workers", num_workers, at_least=0)
        if not isinstance(draft, (bool, np.bool_)):
            raise ValueError(f"DataLoader: `draft` must be True or False, got {draft!r}")
        if cache is not None:
            check_has("DataLoader", "cache", cache, "be a PhotoCache", "get")
        self.draft, self.cache = bool(draft), cache
        self.weights = None if weights is None else check_weights(weights, len(dataset))
        if weights is not None and not shuffle:
            raise ValueError("DataLoader: `weights` must be None with shuffle=False, got weights")
        self._own = object()  # what is this loader's in a cache that it shares
        self._passes = 0

    def new(self, dataset: DatasetLike | None = None, **changes: Any) -> DataLoader:
        """Return a loader that differs in some of its arguments.

        Parameters
        ----------
        dataset : Dataset, optional
            Instead of this one's; weights are not kept then.
        **changes
            Arguments of `DataLoader`; others stay as they are.

        Returns
        -------
        DataLoader
        """
        names = ("bs", "shuffle", "drop_last", "item_tfms", "batch_tfms", "train", "num_workers",
                 "draft", "cache", "weights")  # fmt: skip
        unknown = changes.keys() - set(names)
        if unknown:
            raise TypeError(
                f"new: arguments must be of {', '.join(names)}, got {', '.join(sorted(unknown))}"
            )
        kept = {name: getattr(self, name) for name in names}
        if dataset is not None:
            kept["weights"] = None
        return DataLoader(self.dataset if dataset is None else dataset, **{**kept, **changes})

    @property
    def n(self) -> int:
        """Number of photos."""
        return len(self.dataset)

    @property
    def vocab(self) -> L[Any]:
        """The labels, in the order of the targets' columns."""
        return self.dataset.vocab

    @property
    def has_labels(self) -> bool:
        """Whether the photos have targets."""
        return self.dataset.has_labels

    @property
    def smallest_batch(self) -> int:
        """Number of photos in the smallest batch of an epoch."""
        rest = 0 if self.drop_last else self.n % self.bs
        return rest or min(self.bs, self.n)

    def __len__(self) -> int:
        return self.n // self.bs if self.drop_last else math.ceil(self.n / self.bs)

    def __repr__(self) -> str:
        what = "training" if self.train else "validation"
        return f"DataLoader: {self.n} photos in {batches_text(self)}, {what} transforms"

    def stream(
        self, seed: int, epoch: int, part: tuple[int, int] = (0, 1)
    ) -> Generator[Batch, None, None]:
        """Load one epoch, the next batch being decoded while one is used.

        Closing the generator leaves no thread behind.

        Parameters
        ----------
        seed, epoch : int
            The key of the order and of all that is random.
        part : (int, int)
            Which of how many parts of each batch to load, as `mlclassify.ranks.part_of` cuts them.

        Yields
        ------
        Batch

        Raises
        ------
        OSError
            Naming the file, if a photo is missing or cannot be read.
        ValueError
            If the item transforms leave photos of several sizes.
        """
        order = self._order(seed, epoch)[: len(self) * self.bs]
        return self._stream(order, seed, epoch, self.bs, part)

    def __iter__(self) -> Iterator[tuple[Tensor, ...]]:
        """Yield (TensorImage, TensorMultiCategory), copies; without targets, (TensorImage,)."""
        with closing(self.stream(*self._next_key())) as batches:
            for batch in batches:
                yield _for_user(batch)

    def one_batch(self) -> tuple[Tensor, ...]:
        """Return the first batch of an epoch, as iterating would.

        Raises
        ------
        ValueError
            If there is no batch.
        """
        if not len(self):
            raise self._no_batch("one_batch")
        key = self._next_key()
        return _for_user(self._first(self._order(*key)[: self.bs], *key))

    def show_batch(
        self,
        b: tuple[Any, ...] | None = None,
        max_n: int = 9,
        unique: bool = False,
        nrows: int | None = None,
        ncols: int | None = None,
        figsize: tuple[float, float] | None = None,
    ) -> Grid:
        """Draw photos of a batch, titled with their labels.

        Parameters
        ----------
        b : (TensorImage, TensorMultiCategory), optional
            A batch; default the first of an epoch.
        max_n : int
            Photos to draw.
        unique : bool
            One photo `max_n` times, as the random transforms change it.
        nrows, ncols : int, optional
        figsize : (float, float), optional
            Inches.

        Returns
        -------
        ndarray of matplotlib Axes
        """
        check_whole("show_batch", "max_n", max_n, at_least=1)
        if b is None:
            if not self.n:
                raise self._no_batch("show_batch")
            key = self._next_key()
            order = self._order(*key)
            order = np.repeat(order[:1], max_n) if unique else order[: min(self.bs, max_n)]
            b = _for_user(self._first(order, *key))
        _check_batch(b)
        x, y = np.asarray(b[0])[:max_n], np.asarray(b[1])[:max_n] if len(b) > 1 else None
        titles = None if y is None else [self._title(row) for row in y]
        images = pictures(self.batch_tfms, x)
        return show_images(images, titles, nrows=nrows, ncols=ncols, figsize=figsize)

    def _no_batch(self, function: str) -> ValueError:
        return ValueError(
            f"{function}: the loader must hold a batch, got {self.n} photos for batches of "
            f"{self.bs}. This DataLoader does not contain any batches"
        )

    def _title(self, target: Float32) -> str:
        return label_title(self.vocab[np.flatnonzero(target == 1)])

    def _next_key(self) -> tuple[int, int]:
        self._passes += 1
        return default_seed(), self._passes - 1

    def _order(self, seed: int, epoch: int) -> Int64:
        """Positions in the dataset, int64 (n,), in the order of an epoch."""
        if not self.shuffle:
            return np.arange(self.n)
        order = np.argsort(uniforms(seed, epoch, [0], SHUFFLE, self.n)[0], kind="stable")
        return order if self.weights is None else self._sampled(self.weights, seed, epoch)[order]

    def _sampled(self, weights: Float64, seed: int, epoch: int) -> Int64:
        """Positions in proportion to the weights: each photo comes as often as it should, but for
        what is left of a whole number, which is drawn."""
        ends = np.cumsum(weights)
        steps = (np.arange(self.n) + uniforms(seed, epoch, [0], SAMPLE, 1)[0]) / self.n
        places: Int64 = np.searchsorted(ends, steps * ends[-1], side="right").clip(max=self.n - 1)
        return places

    def _first(self, order: Int64, seed: int, epoch: int) -> Batch:
        """The items at `order` as one batch."""
        with closing(self._stream(order, seed, epoch, bs=len(order))) as batches:
            return next(batches)

    def _stream(
        self, order: Int64, seed: int, epoch: int, bs: int, part: tuple[int, int] = (0, 1)
    ) -> Generator[Batch, None, None]:
        """Yield the items at `order` in batches of `bs`, or a part of each."""
        whole = [range(p, min(p + bs, len(order))) for p in range(0, len(order), bs)]
        chunks = [part_of(batch, *part) for batch in whole]
        buffers = _Buffers(max(map(len, chunks), default=0))

        def photo(position: int) -> UInt8:
            return self._photo(int(order[position]), KeyedRandom(seed, epoch, position, CROP))

        with closing(_ahead(photo, chunks, self.num_workers)) as decoded:
            for batch, chunk, photos in zip(whole, chunks, decoded):
                rows = order[chunk.start : chunk.stop].tolist()
                if not rows:
                    yield self._batch(np.empty((0, 3, 0, 0), np.float32), rows, chunk, batch)
                    continue
                pixels = buffers.fill(photos, rows, self.dataset)
                h, w = pixels.shape[1:3]
                plan = self._plan(h, w, chunk, seed, epoch)
                out = buffers.ready(len(pixels), plan.out_size)
                yield self._batch(run_plan(plan, pixels, out), rows, chunk, batch)

    def _photo(self, i: int, draw: KeyedRandom) -> UInt8:
        """Decode item `i` and transform it: uint8 (H, W, 3)."""
        def read(enough: Enough | None) -> Image.Image:
            return self.dataset.image(i) if enough is None else self.dataset.image(i, enough)

        # Asked for each photo, for a user may set other item transforms at any time.
        enough = self._enough()
        im = read(enough) if self.cache is None else self.cache.get((self._own, i), read, enough)
        try:
            for transform in self.item_tfms:
                im = transform.apply(im, draw, self.train)
            return np.asarray(im)
        except Exception as error:
            error.add_note(f"while transforming {self.dataset.name(i)}")
            raise

    def _enough(self) -> Enough | None:
        """What tells which size a photo may be decoded at, or None for the full size."""
        first = self.item_tfms[0] if self.train and self.draft and self.item_tfms else None
        return getattr(first, "covers", None)

    def _plan(self, h: int, w: int, positions: range, seed: int, epoch: int) -> BatchPlan:
        return make_plan(
            self.batch_tfms, n=len(positions), h=h, w=w, train=self.train, seed=seed, epoch=epoch,
            positions=positions,
        )  # fmt: skip

    def _batch(self, x: Float32, rows: list[int], chunk: range, whole: range) -> Batch:
        y = None
        if self.has_labels:
            targets: list[Any] = [self.dataset.target(i) for i in rows]
            y = np.stack(targets) if rows else np.empty((0, len(self.vocab)), np.float32)
        return Batch(x, y, chunk.start, [self.dataset.items[i] for i in rows], len(whole))


class _Buffers:
    """Memory for the pixels of one batch, and for two batches that are ready for the network."""

    def __init__(self, bs: int) -> None:
        self._bs = bs
        self._pixels: UInt8 | None = None
        self._ready: deque[Float32] = deque()

    def fill(self, photos: list[UInt8], rows: list[int], dataset: DatasetLike) -> UInt8:
        """Return photos, which are `rows` of a dataset, as uint8 (N, H, W, 3)."""
        shape = photos[0].shape
        for k, photo in enumerate(photos):
            if photo.shape != shape:
                raise ValueError(
                    "DataLoader: `item_tfms` must make all photos one size, "
                    f"got {_size(shape)} for {dataset.name(rows[0])} and {_size(photo.shape)} for "
                    f"{dataset.name(rows[k])}; add Resize(224) or RandomResizedCrop(224)"
                )
        if self._pixels is None or self._pixels.shape[1:] != shape:
            self._pixels = np.empty((self._bs, *shape), np.uint8)
        return np.stack(photos, out=self._pixels[: len(photos)])

    def ready(self, n: int, size: tuple[int, int]) -> Float32:
        """Return float32 (n, *size, 3) to write."""
        if not self._ready or self._ready[0].shape[1:3] != size:
            shape = (self._bs, *size, 3)
            self._ready = deque(np.empty(shape, np.float32) for _ in range(2))
        self._ready.rotate()
        return self._ready[0][:n]


def _ahead(
    function: Callable[[int], T], chunks: Sequence[range], num_workers: int
) -> Generator[list[T], None, None]:
    """Yield the list of `function`'s values for every chunk, working ahead in threads."""
    if not num_workers or sum(map(len, chunks)) == 1:  # to start a thread takes a while
        for chunk in chunks:
            yield [function(position) for position in chunk]
        return
    # One batch ahead is enough, unless a batch has too few photos to keep the threads busy.
    ahead = max(1, math.ceil(2 * num_workers / max(map(len, chunks), default=1)))
    pool = ThreadPoolExecutor(num_workers, "mlclassify-photo")
    waiting: deque[list[Future[T]]] = deque()
    try:
        for chunk in chunks:
            waiting.append([pool.submit(function, position) for position in chunk])
            if len(waiting) > ahead:
                yield [future.result() for future in waiting.popleft()]
        while waiting:
            yield [future.result() for future in waiting.popleft()]
    finally:
        pool.shutdown(wait=True, cancel_futures=True)


def check_weights(weights: ArrayLike, n: int) -> Float64:
    """Return one weight for each of `n` photos, float64, or say what is wrong with them."""
    array = np.asarray(weights)
    if array.shape != (n,) or array.dtype.kind not in "biuf":
        got = f"shape {array.shape}" if array.shape != (n,) else f"{array.dtype}"
        raise ValueError(
            f"DataLoader: `weights` must be {n} numbers, one for each photo, got {got}"
        )
    array = array.astype(np.float64)
    if not (np.isfinite(array).all() and (array >= 0).all() and (array > 0).any()):
        raise ValueError(
            "DataLoader: `weights` must be finite, at least 0 and not all 0, got "
            f"{array.min():g} to {array.max():g}"
        )
    return array


def class_weights(targets: ArrayLike) -> Float64:
    """Return weights with which every label comes equally often, as far as labels come apart.

    Class-aware sampling: a label is drawn, then one of its photos; photos without a label keep
    their part.

    Parameters
    ----------
    targets : float32 (n, L)

    Returns
    -------
    float64 (n,)

    Examples
    --------
    >>> class_weights(np.array([[1, 0], [1, 0], [1, 0], [1, 0], [0, 1], [0, 1]])).tolist()
    [0.75, 0.75, 0.75, 0.75, 1.5, 1.5]
    """
    marked = np.asarray(targets) > 0
    counts, some = marked.sum(axis=0), marked.any(axis=1)
    each = (marked / np.maximum(counts, 1)).sum(axis=1) * (some.sum() / max(1, (counts > 0).sum()))
    # A photo of several labels counts for each of them; the sum over photos is their number.
    return np.where(some, each, 1.0)


def _check_batch(b: Any) -> None:
    if not isinstance(b, tuple) or not b or np.ndim(b[0]) != 4 or len(b[0]) == 0:
        raise TypeError(
            "show_batch: `b` must be a batch (images, targets), as dls.one_batch() gives, "
            f"got {describe(b)}"
        )


def _for_user(batch: Batch) -> tuple[Tensor, ...]:
    x = np.array(batch.x).view(TensorImage)  # order 'K': still NHWC memory
    return (x,) if batch.y is None else (x, np.array(batch.y).view(TensorMultiCategory))


def describe(item: Any) -> str:
    """Return the name of an item for a message, at most 100 characters.

    Parameters
    ----------
    item : object

    Returns
    -------
    str

    Examples
    --------
    >>> describe(Path("teddy/1.jpg"))
    'teddy/1.jpg'
    """
    if isinstance(item, (str, Path)):
        return str(item)
    if hasattr(item, "iloc") and not hasattr(item, "columns"):
        return f"row {item.name}"
    if hasattr(item, "__array__") or isinstance(item, bytes):
        return f"{type(item).__name__} of shape {np.shape(item)}"
    text = repr(item)
    return text if len(text) <= 100 else text[:97] + "..."


_METHOD = {"item_tfms": "apply", "batch_tfms": "plan"}


def make_transforms(
    argument: Literal["item_tfms", "batch_tfms"], transforms: ItemTfms | BatchTfms
) -> list[Any]:
    """Return transforms as a list in their order: classes called, the last of each class kept.

    Parameters
    ----------
    argument : {'item_tfms', 'batch_tfms'}
    transforms : transform, class, collection of them, or None

    Returns
    -------
    list

    Raises
    ------
    TypeError
        If something is not a transform of that kind.
    """
    made = [t() if isinstance(t, type) else t for t in listify(transforms)]
    for t in made:
        if not callable(getattr(t, _METHOD[argument], None)):
            raise TypeError(
                f"DataLoader: `{argument}` must hold transforms with a method "
                f"`{_METHOD[argument]}`, got {t!r}; RandomResizedCrop and Resize go to "
                "`item_tfms`, what aug_transforms() returns to `batch_tfms`"
            )
    by_class = {type(t): t for t in made}
    return sorted(by_class.values(), key=operator.attrgetter("order"))


def _size(shape: Sequence[int]) -> str:
    return f"{shape[1]} x {shape[0]}"


def batches_text(dl: DataLoader) -> str:
    """Say how many batches a loader gives, and of what size."""
    return f"{len(dl)} {'batch' if len(dl) == 1 else 'batches'} of {dl.bs}"
