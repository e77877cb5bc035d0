"""The two loaders of a training: of the photos to learn from, and of those to validate on."""

from __future__ import annotations

from typing import Any, Literal, Self, SupportsIndex

from mlclassify import markup
from mlclassify.checks import check_choice, check_path
from mlclassify.data.batch import BatchTransform
from mlclassify.data.counts import NO_LABEL, Counts, co_occurrence, label_counts
from mlclassify.data.lists import L
from mlclassify.data.loader import DataLoader, DatasetLike, batches_text, make_transforms
from mlclassify.losses import BCEWithLogitsLossFlat
from mlclassify.plot import Grid
from mlclassify.tensor import Tensor
from mlclassify.types import StrPath

_TRAINING_ONLY = ("shuffle", "drop_last", "draft", "weights")
_LISTED = 20  # labels that the text of a DataLoaders shows


class DataLoaders:
    """The training and the validation loader of one set of labels.

    Parameters
    ----------
    train, valid : DataLoader
    path : path or str
        Folder for what a learner writes.
    """

    def __init__(self, train: DataLoader, valid: DataLoader, path: StrPath = ".") -> None:
        self.train, self.valid = train, valid
        self.path = check_path("DataLoaders", "path", path)

    def __getitem__(self, i: SupportsIndex) -> DataLoader:
        return (self.train, self.valid)[i]

    @property
    def train_ds(self) -> DatasetLike:
        """The dataset of training."""
        return self.train.dataset

    @property
    def valid_ds(self) -> DatasetLike:
        """The dataset of validation."""
        return self.valid.dataset

    @property
    def vocab(self) -> L[Any]:
        """The labels, in the order of the targets' columns."""
        return self.train.vocab

    @property
    def c(self) -> int:
        """Number of labels."""
        return len(self.vocab)

    @property
    def loss_func(self) -> BCEWithLogitsLossFlat:
        """A new loss for these data: each learner has its own, and so its own threshold."""
        return BCEWithLogitsLossFlat()

    def one_batch(self) -> tuple[Tensor, ...]:
        """As `DataLoader.one_batch` of the training loader."""
        return self.train.one_batch()

    def show_batch(
        self,
        b: tuple[Any, ...] | None = None,
        max_n: int = 9,
        unique: bool = False,
        nrows: int | None = None,
        ncols: int | None = None,
        figsize: tuple[float, float] | None = None,
    ) -> Grid:
        """As `DataLoader.show_batch` of the training loader."""
        return self.train.show_batch(b, max_n, unique, nrows, ncols, figsize)

    def test_dl(
        self,
        items: Any,
        with_labels: bool = False,
        bs: int | None = None,
        num_workers: int | None = None,
    ) -> DataLoader:
        """Return a loader of other items, with the transforms of validation.

        Parameters
        ----------
        items : item or collection of items
            What the data were built from, or anything that `open_image` reads.
        with_labels : bool
            Find their labels, too.
        bs, num_workers : int, optional
            Default: those of the validation loader.

        Returns
        -------
        DataLoader
        """
        given = {"bs": bs, "num_workers": num_workers}
        return self.valid.new(
            self.valid.dataset.new(items, with_labels), shuffle=False, drop_last=False, cache=None,
            **{name: value for name, value in given.items() if value is not None},
        )  # fmt: skip

    def new(
        self, bs: int | None = None, val_bs: int | None = None, **changes: Any
    ) -> Self:
        """Return loaders of the same photos that differ in some arguments.

        Parameters
        ----------
        bs, val_bs : int, optional
            Photos in a batch; `val_bs` is `bs` where only that is given.
        **changes
            ``item_tfms``, ``batch_tfms``, ``num_workers``, ``cache`` of `DataLoader` for both
            loaders; ``shuffle``, ``drop_last``, ``draft``, ``weights`` for that of training. Batch
            transforms that are given take the place of all, `Normalize` too: a learner that is
            made of the new loaders adds it again.

        Returns
        -------
        DataLoaders
        """
        both = {k: v for k, v in changes.items() if k not in _TRAINING_ONLY}
        train = dict(changes, **({} if bs is None else {"bs": bs}))
        size = bs if val_bs is None else val_bs
        valid = dict(both, **({} if size is None else {"bs": size}))
        return type(self)(self.train.new(**train), self.valid.new(**valid), self.path)

    def label_counts(self) -> Counts:
        """Count the photos of each label in training and in validation.

        Returns
        -------
        Counts
            Prints as a table; ``counts["sky", "train"]`` is one number, ``counts.values`` the
            array, ``counts.to_frame()`` a DataFrame.
        """
        train, valid = (dl.dataset.targets() for dl in (self.train, self.valid))
        return label_counts(self.vocab, train=train, valid=valid)

    def co_occurrence(self, split: Literal["train", "valid"] = "train") -> Counts:
        """Count the photos that bear two labels, of every two.

        Parameters
        ----------
        split : {'train', 'valid'}

        Returns
        -------
        Counts
            As many rows and columns as labels; on the diagonal, the photos of each.
        """
        check_choice("co_occurrence", "split", split, ("train", "valid"))
        return co_occurrence(self.vocab, getattr(self, split).dataset.targets())

    def add_batch_tfm(self, transform: BatchTransform) -> None:
        """Add a batch transform to both loaders; it takes the place of one of its class.

        Parameters
        ----------
        transform : batch transform
        """
        for dl in (self.train, self.valid):
            dl.batch_tfms = make_transforms("batch_tfms", [*dl.batch_tfms, transform])

    def __repr__(self) -> str:
        lines = [self._headline()]
        for name, *counts in [("label", "train", "valid"), *self._counts()]:
            lines.append(f"{name:<20} {counts[0]:>7} {counts[1]:>7}")
        return "\n".join([*lines, *self._unlisted()])

    def _repr_html_(self) -> str:
        return (markup.paragraph(self._headline())
                + markup.table(["label", "train", "valid"], self._counts())
                + markup.paragraph("".join(self._unlisted())))

    def _headline(self) -> str:
        return (
            f"DataLoaders: {self.train.n} photos to train on ({batches_text(self.train)}), "
            f"{self.valid.n} to validate on ({batches_text(self.valid)}), {self.c} labels"
        )

    def _counts(self) -> list[tuple[Any, ...]]:
        """Rows (label, photos that bear it in training, in validation), the last for no label."""
        counts = self.label_counts()
        rows = [(name, *row) for name, row in zip(counts.rows, counts.values.tolist())]
        return rows[: min(_LISTED, self.c)] + [row for row in rows[self.c :] if row[0] == NO_LABEL]

    def _unlisted(self) -> list[str]:
        return [f"and {self.c - _LISTED} more labels"] if self.c > _LISTED else []
