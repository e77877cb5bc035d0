"""Rankings and counts of more photos than memory holds, with bounds that are true."""

from typing import Any, Literal, NamedTuple, TypeAlias

import numpy as np

from mlclassify import _core
from mlclassify.arrays import as_matrix, as_uint8_mask, refuse
from mlclassify.checks import check_choice, check_whole
from mlclassify.types import ArrayLike, Float32, Float64, Int64

Average: TypeAlias = Literal["macro", "micro"] | None


class Bounded(NamedTuple):
    """A value and between which numbers the true one lies.

    Attributes
    ----------
    value, low, high : float or ndarray
    """

    value: Any
    low: Any
    high: Any


class StreamingScores:
    """Scores counted in histograms, a batch at a time, in memory that does not grow.

    A score falls into a bin by the upper bits of its float32, so bins are narrow near 0 and wide
    far from it: with 14 bits, 1/32 of the power of two below the score. What the order of scores
    inside a bin could change is what lies between the bounds that every answer carries. Of scores
    with at most ``bits - 9`` bits of mantissa, as float16 with 19 bits, the values are exact.

    Parameters
    ----------
    n_labels : int
    bits : int
        Of a score that are kept, 10 to 24. Histograms take ``n_labels * 2 ** (bits + 4)`` bytes:
        256 KB a label with 14.

    Attributes
    ----------
    n_labels, bits : int
    nbytes : int
        The memory of the histograms.

    Examples
    --------
    >>> stream = StreamingScores(1)
    >>> stream.update([[0.1], [0.9]], [[0], [1]])
    >>> stream.update([[0.4], [0.6]], [[1], [0]])
    >>> len(stream), stream.average_precision()
    (4, Bounded(value=0.8333333333333333, low=0.8333333333333333, high=0.8333333333333333))
    """

    def __init__(self, n_labels: int, bits: int = 14) -> None:
        self.n_labels = check_whole("StreamingScores", "n_labels", n_labels, at_least=1)
        self.bits = check_whole("StreamingScores", "bits", bits, at_least=10)
        if self.bits > 24:
            raise ValueError(f"StreamingScores: `bits` must lie in [10, 24], got {bits}")
        self._histogram = np.zeros((self.n_labels, 1 << self.bits, 2), np.int64)
        self._rows = 0

    def __len__(self) -> int:
        """Return how many photos were counted."""
        return self._rows

    @property
    def nbytes(self) -> int:
        return self._histogram.nbytes

    def update(self, scores: ArrayLike, targs: ArrayLike) -> None:
        """Count a batch.

        Parameters
        ----------
        scores : array_like (N, L) or (N,)
            Logits or probabilities, as float32; the same kind in every batch.
        targs : array_like of the same shape
            0 and 1.

        Raises
        ------
        ValueError
            A score is NaN, a target is not 0 or 1, or a shape is wrong.
        """
        fn = "StreamingScores.update"
        scores = as_matrix("scores", fn, scores)
        targets = as_uint8_mask("targs", fn, targs, strict=True)
        if scores.shape[1] != self.n_labels:
            raise ValueError(f"{fn}: `scores` must have {self.n_labels} columns, got shape "
                             f"{scores.shape}")
        if targets.reshape(len(targets), -1).shape != scores.shape:
            raise ValueError(f"{fn}: `targs` must have the shape of `scores`, got {targets.shape} "
                             f"for {scores.shape}")
        refuse(np.isnan(scores), "scores", fn, "not be NaN", scores)
        _core.rank_histogram(scores, targets.reshape(scores.shape), self._histogram)
        self._rows += len(scores)

    def merge(self, other: "StreamingScores") -> None:
        """Add what `other` counted: the same as if its batches had come here.

        Raises
        ------
        ValueError
            It has another number of labels or of bits.

        Examples
        --------
        >>> one, two = StreamingScores(1), StreamingScores(1)
        >>> one.update([0.5, 2.0], [0, 1])
        >>> two.update([1.0], [0])
        >>> one.merge(two)
        >>> len(one), one.roc_auc().value
        (3, 1.0)
        """
        shape = getattr(other, "n_labels", None), getattr(other, "bits", None)
        if shape != (self.n_labels, self.bits):
            raise ValueError(
                f"StreamingScores.merge: `other` must have {self.n_labels} labels and {self.bits} "
                f"bits, got {shape[0]} and {shape[1]}"
            )
        self._histogram += other._histogram
        self._rows += other._rows

    def average_precision(self, average: Average = "macro") -> Bounded:
        """Return the average precision, and between which numbers it lies.

        The value counts each bin as one tie. The bounds are those of the best and the worst that
        any order and any ties inside the bins could give, up to float64 rounding.

        Parameters
        ----------
        average : "macro", "micro" or None
            The mean over the labels that have a positive; that of all cells in one ranking; or one
            for each label, NaN without a positive.

        Returns
        -------
        Bounded
        """
        return self._ranking("average_precision", average, 0)

    def roc_auc(self, average: Average = "macro") -> Bounded:
        """Return the area under the ROC curve, and between which numbers it lies.

        Parameters
        ----------
        average : "macro", "micro" or None
            As for `average_precision`; a label without a positive or a negative has none.

        Returns
        -------
        Bounded
        """
        return self._ranking("roc_auc", average, 3)

    def _ranking(self, name: str, average: Average, column: int) -> Bounded:
        check_choice(f"StreamingScores.{name}", "average", average, ("macro", "micro", None))
        histogram = self._histogram
        if average == "micro":
            histogram = histogram.sum(axis=0, keepdims=True)
        _core.histogram_ranking(histogram, out := np.empty((len(histogram), 6)))
        values = out[:, column : column + 3]
        if average is None:
            return Bounded(*values.T.copy())
        defined = values[~np.isnan(values[:, 0])]
        return Bounded(*(defined.mean(axis=0) if len(defined) else np.full(3, np.nan)).tolist())

    def confusion(self, thresh: ArrayLike) -> Bounded:
        """Return a table [[TN, FP], [FN, TP]] for each label, of ``scores > thresh``.

        Where `thresh` is the number between two bins, as 0, 0.5 and all others of few significant
        bits are, tables are exact and the three are equal. Else the value is that of the nearest
        such number below, and cells lie between `low` and `high`.

        Parameters
        ----------
        thresh : float or array_like (L,)
            On the scores as they were given.

        Returns
        -------
        Bounded of int64 (L, 2, 2)

        Examples
        --------
        >>> stream = StreamingScores(1)
        >>> stream.update([0.25, 0.5, 0.75], [0, 0, 1])
        >>> stream.confusion(0.5).value.tolist()
        [[[2, 0], [0, 1]]]
        """
        fn = "StreamingScores.confusion"
        thresh = as_matrix("thresh", fn, np.atleast_1d(thresh)).ravel()
        refuse(np.isnan(thresh), "thresh", fn, "not be NaN", thresh)
        if len(thresh) not in (1, self.n_labels):
            raise ValueError(f"{fn}: `thresh` must be one number or have shape "
                             f"({self.n_labels},), got ({len(thresh)},)")
        places = np.broadcast_to(_places(thresh), self.n_labels)
        below = places >> (32 - self.bits)
        exact = places == below << (32 - self.bits)
        most = self._above(below)
        least = self._above(below + ~exact)
        total = self._histogram.sum(axis=1)
        cells = [np.stack([total - said, said], axis=-1) for said in (most, least)]
        return Bounded(cells[0], np.minimum(*cells), np.maximum(*cells))

    def best_f1(self) -> tuple[Float64, Bounded]:
        """Return the threshold of the best F1 of each label, among those between two bins.

        Of equal ones the highest. The F1 is exact there; that of a threshold inside a bin could be
        greater, up to `high`.

        Returns
        -------
        thresholds : float64 (L,)
            Infinite for a label without a positive.
        f1 : Bounded of float64 (L,)

        Examples
        --------
        >>> stream = StreamingScores(1)
        >>> stream.update([0.2, 0.4, 0.6, 0.8], [0, 1, 0, 1])
        >>> thresholds, f1 = stream.best_f1()
        >>> bool(0.2 < thresholds[0] < 0.4), f1.value
        (True, array([0.8]))
        """
        found = [_best_edge(histogram) for histogram in self._histogram]
        edges, value, high = (np.array(column) for column in zip(*found))
        never = edges == 1 << self.bits
        below = _scores_at((edges << (32 - self.bits)) - 1).astype(np.float64)
        below[np.isnan(below)] = -np.inf  # there is no float below the bin of -inf
        return np.where(never, np.inf, below), Bounded(value, value, high)

    def _above(self, first: Int64) -> Int64:
        """Of each label, how many negatives and positives lie in the bins from `first` on."""
        return np.stack([h[b:].sum(axis=0) for h, b in zip(self._histogram, first)])


def _best_edge(histogram: Int64) -> tuple[int, float, float]:
    """Return the bin from which on to predict, the F1 of that, and what F1 no cut exceeds.

    A cut inside a bin gains most where it takes the bin's positives and none of its negatives.
    """
    bins = len(histogram)
    from_here = np.vstack([histogram[::-1].cumsum(axis=0)[::-1], np.zeros((1, 2), np.int64)])
    positives, said = from_here[0, 1], from_here.sum(axis=1)
    if not positives:
        return bins, 0.0, 0.0
    f1 = 2 * from_here[:, 1] / (said + positives)
    own = histogram[:, 1]
    most = 2 * (from_here[1:, 1] + own) / (said[1:] + own + positives)
    edge = bins - int(np.argmax(f1[::-1]))
    return edge, float(f1[edge]), float(max(most.max(), f1[edge]))


def _scores_at(places: Int64) -> Float32:
    """Return the floats of places that `_places` gave, float32."""
    signed = places - 2**31
    bits = np.where(signed < 0, -signed | 0x80000000, signed)
    return bits.astype(np.uint32).view(np.float32)


def _places(scores: Float32) -> Int64:
    """Return floats as integers in the same order, -0 as 0, of which bins hold the upper bits."""
    bits = scores.view(np.int32).astype(np.int64)
    return 2**31 + np.where(bits < 0, -(bits & 0x7FFFFFFF), bits)
