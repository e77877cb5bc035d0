"""What every threshold of a list would do, counted in one pass over the scores."""

from dataclasses import dataclass
from typing import Literal, TypeAlias

import numpy as np

from mlclassify import _core
from mlclassify.arrays import as_float32, as_matrix, as_uint8_mask, refuse
from mlclassify.checks import check_choice
from mlclassify.tensor import linspace
from mlclassify.thresholds.decide import check_thresh
from mlclassify.types import ArrayLike, Float32, Float64, Int64, UInt8

Average: TypeAlias = Literal["macro", "micro"] | None


@dataclass(frozen=True, eq=False)
class ThresholdCurve:
    """Decisions at several thresholds against what is present; see `threshold_curve`.

    Every measure is float64 (T,), one number a threshold; 0 / 0 is 0.

    Attributes
    ----------
    thresholds : float32 (T,)
    tp, fp, fn, tn : int64 (T, L)
        Of each label, how many photos: predicted and present, predicted only, present only,
        neither.
    exact : int64 (T,)
        Photos with every label right.

    Examples
    --------
    >>> curve = threshold_curve([[0.9, 0.2], [0.6, 0.4]], [[1, 0], [0, 0]], [0.5, 0.7])
    >>> curve.fp.tolist(), curve.exact_match().tolist()
    ([[1, 0], [0, 0]], [0.5, 1.0])
    """

    thresholds: Float32
    tp: Int64
    fp: Int64
    fn: Int64
    tn: Int64
    exact: Int64

    def accuracy(self) -> Float64:
        """Return the share of cells decided rightly, as `accuracy_multi` does."""
        cells = self.tp + self.fp + self.fn + self.tn
        return np.asarray((self.tp + self.tn).sum(axis=1) / cells.sum(axis=1))

    def hamming_loss(self) -> Float64:
        """Return the share of cells decided wrongly."""
        cells = self.tp + self.fp + self.fn + self.tn
        return np.asarray((self.fp + self.fn).sum(axis=1) / cells.sum(axis=1))

    def exact_match(self) -> Float64:
        """Return the share of photos with every label right."""
        return self.exact / (self.tp + self.fp + self.fn + self.tn)[:, 0]

    def precision(self, average: Average = "macro") -> Float64:
        """Return TP / (TP + FP).

        Parameters
        ----------
        average : "macro", "micro" or None
            The mean over labels; that of all cells together; or float64 (T, L), one for each label.
        """
        return self._ratio("precision", self.tp, self.tp + self.fp, average)

    def recall(self, average: Average = "macro") -> Float64:
        """Return TP / (TP + FN); `average` as for `precision`."""
        return self._ratio("recall", self.tp, self.tp + self.fn, average)

    def f1(self, average: Average = "macro") -> Float64:
        """Return 2 TP / (2 TP + FP + FN); `average` as for `precision`."""
        return self._ratio("f1", 2 * self.tp, 2 * self.tp + self.fp + self.fn, average)

    def _ratio(self, name: str, above: Int64, below: Int64, average: Average) -> Float64:
        check_choice(f"ThresholdCurve.{name}", "average", average, ("macro", "micro", None))
        if average == "micro":
            return ratio(above.sum(axis=1), below.sum(axis=1))
        scores = ratio(above, below)
        return scores if average is None else scores.mean(axis=1)


def ratio(above: Int64, below: Int64) -> Float64:
    """Return ``above / below``, 0 where `below` is 0."""
    return np.divide(above, below, out=np.zeros(np.shape(below)), where=below != 0)


def threshold_curve(probs: ArrayLike, targs: ArrayLike, thresholds: ArrayLike) -> ThresholdCurve:
    """Count the decisions at every one of several thresholds, of every label.

    One pass over the scores, however many thresholds there are. The counts are those of
    ``probs > float32(t)``, to the last bit.

    Parameters
    ----------
    probs : array_like (N, L) or (N,)
        Probabilities, as float32.
    targs : array_like of the same shape
        A label is present where it is not 0.
    thresholds : array_like (T,)
        In any order.

    Returns
    -------
    ThresholdCurve

    Raises
    ------
    ValueError
        A probability or target is NaN, there is none, shapes differ, or a threshold is none.

    Examples
    --------
    >>> curve = threshold_curve([0.1, 0.4, 0.8], [0, 1, 1], [0.4, 0.3])
    >>> curve.tp.ravel().tolist(), curve.f1().tolist()
    ([1, 2], [0.6666666666666666, 1.0])
    """
    fn = "threshold_curve"
    scores, targets = as_matrix("probs", fn, probs), as_uint8_mask("targs", fn, targs)
    if targets.ndim < 2:
        targets = targets.reshape(-1, 1)
    if targets.shape != scores.shape or not scores.size:
        raise ValueError(f"{fn}: `targs` must have the shape of `probs` {scores.shape}, at least "
                         f"one cell, got {targets.shape}")
    refuse(np.isnan(scores), "probs", fn, "not be NaN", scores)
    return count_curve(scores, targets, np.atleast_1d(check_thresh(fn, thresholds,
                                                                   name="thresholds")))


def count_curve(scores: Float32, targets: UInt8, thresholds: Float32) -> ThresholdCurve:
    """Return the curve of float32 and uint8 (N, L) without NaN."""
    ascending, place = np.unique(thresholds, return_inverse=True)
    counts = np.empty((scores.shape[1], len(ascending) + 1, 2), np.int64)
    exact = np.empty(len(ascending) + 1, np.int64)
    _core.threshold_counts(scores, targets, ascending, counts, exact)
    below = counts.cumsum(axis=1)
    tn, fn = np.moveaxis(below[:, place], 0, 1).transpose(2, 0, 1)
    negatives, positives = below[:, -1].T
    return ThresholdCurve(thresholds, positives - fn, negatives - tn, fn, tn,
                          exact.cumsum()[place])


def sweep(probs: ArrayLike, targs: ArrayLike, thresholds: ArrayLike) -> Float64:
    """Return the share of cells decided rightly at each of several thresholds.

    The curve of the post: `accuracy_multi` for one threshold after the other.

    Parameters
    ----------
    probs : array_like (N, L)
        Probabilities.
    targs : array_like, as many cells
        A label is present where it is not 0.
    thresholds : array_like (T,)

    Returns
    -------
    float64 ndarray (T,)

    Raises
    ------
    ValueError
        A probability or target is NaN, there is none, or their numbers differ.

    Examples
    --------
    >>> sweep([[0.9, 0.2], [0.6, 0.4]], [[1, 0], [0, 0]], [0.5, 0.7])
    array([0.75, 1.  ])
    """
    scores, present = as_float32("probs", "sweep", probs), as_uint8_mask("targs", "sweep", targs)
    thresholds = np.atleast_1d(check_thresh("sweep", thresholds, name="thresholds"))
    if scores.size != present.size or not scores.size:
        raise ValueError(
            f"sweep: `targs` must have as many cells as `probs` ({scores.size}), at least one, "
            f"got {present.size}"
        )
    refuse(np.isnan(scores), "probs", "sweep", "not be NaN", scores)
    columns = scores.shape[-1] if scores.ndim else 1
    scores, present = scores.reshape(-1, columns), present.reshape(-1, columns)
    return count_curve(scores, present, thresholds).accuracy()


def best_threshold(probs: ArrayLike, targs: ArrayLike,
                   thresholds: ArrayLike | None = None) -> float:
    """Return the threshold of highest accuracy, from the middle of the longest best stretch.

    Parameters
    ----------
    probs, targs : array_like (N, L)
        As for `sweep`.
    thresholds : array_like (T,), optional
        Default: the post's ``linspace(0.05, 0.995, 100)``.

    Returns
    -------
    float
        One of `thresholds`, as float32 has it.

    Raises
    ------
    ValueError
        As `sweep`; or there are no thresholds.

    Examples
    --------
    >>> best_threshold([[0.9, 0.2], [0.6, 0.4]], [[1, 0], [0, 0]], [0.1, 0.6, 0.7, 0.8, 0.9])
    0.699999988079071
    """
    given = linspace(0.05, 0.995, 100) if thresholds is None else thresholds
    grid = np.sort(np.atleast_1d(check_thresh("best_threshold", given, name="thresholds")))
    accuracy = sweep(probs, targs, grid)
    best = np.flatnonzero(accuracy == accuracy.max())
    # Neighbours of one stretch have the same distance from their rank.
    _, start, length = np.unique(
        best - np.arange(len(best)), return_index=True, return_counts=True
    )
    longest = np.argmax(length)
    return float(grid[best[start[longest] + (length[longest] - 1) // 2]])
