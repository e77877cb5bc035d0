"""Metrics of decisions: labels predicted or not, against labels present or not.

C counts three numbers a label, or a photo: how often it is present, is predicted, and both. What
stands here is arithmetic on those counts in float64, with scikit-learn's names, arguments and
values. A vector is one label, judged as by scikit-learn's ``average="binary"``.
"""

from collections.abc import Callable
from typing import Literal, NamedTuple, TypeAlias

import numpy as np

from mlclassify import _core
from mlclassify.arrays import as_array, as_uint8_mask, refuse
from mlclassify.checks import check_choice
from mlclassify.metrics.arguments import (
    AVERAGES,
    Average,
    Scores,
    check_matrices,
    check_weights,
    check_zero_division,
    mean_of_defined,
)
from mlclassify.types import AnyArray, ArrayLike, Float64, UInt8


class Counts(NamedTuple):
    """How often labels are there, of each label or of each photo; sums where photos have weights.

    Attributes
    ----------
    both, there, decided : float64 (L,) or (N,)
    total : float
        What each could be counted at most.
    """

    both: Float64
    there: Float64
    decided: Float64
    total: float


Parts: TypeAlias = Callable[[Counts], tuple[Float64, Float64]]


def f1_score(
    y_true: ArrayLike, y_pred: ArrayLike, *, labels: ArrayLike | None = None,
    average: Average = "macro", sample_weight: ArrayLike | None = None, zero_division: float = 0
) -> Scores:
    """Return the F1 score 2 TP / (2 TP + FP + FN), the harmonic mean of precision and recall.

    Parameters
    ----------
    y_true : array_like (N, L) or (N,)
        0 and 1: the labels that are present.
    y_pred : array_like of the same shape
        0 and 1, or bool: the labels that are predicted, as ``scores > thresh`` gives them.
    labels : array_like of int, optional
        Only these columns count.
    average : "macro", "micro", "weighted", "samples" or None
        The mean over labels; one score of all cells together; the mean over labels by how often
        each is present; the mean over photos of each photo's own score; or one for each label.
    sample_weight : array_like (N,), optional
        How much each photo counts.
    zero_division : 0, 1 or nan
        What 0 / 0 is: the score of a label, or photo, that is neither present nor predicted. 0 is
        LIBSVM's convention, "0/0 is 0 and the number of labels does not shrink", and what
        scikit-learn takes, with a warning, where it is not told. With nan the number of labels does
        shrink: those scores are left out of a mean.

    Returns
    -------
    float, or float64 (L,) where `average` is None

    Raises
    ------
    ValueError
        A cell is not 0 or 1, the shapes differ, there is no photo, or weights are negative, not
        finite or all zero.

    Examples
    --------
    >>> y_true, y_pred = [[1, 0, 0], [1, 1, 0]], [[1, 1, 0], [0, 1, 0]]
    >>> f1_score(y_true, y_pred)
    0.4444444444444444
    >>> f1_score(y_true, y_pred, average=None, zero_division=float("nan"))
    array([0.66666667, 0.66666667,        nan])
    """
    return _score("f1_score", fbeta_parts(1.0), y_true, y_pred, labels, average, sample_weight,
                  zero_division)


def fbeta_score(
    y_true: ArrayLike, y_pred: ArrayLike, *, beta: float, labels: ArrayLike | None = None,
    average: Average = "macro", sample_weight: ArrayLike | None = None, zero_division: float = 0
) -> Scores:
    """Return the F score in which recall weighs `beta` times as much as precision.

    Parameters
    ----------
    beta : float
        At least 0; 0 is precision, inf is recall.
    y_true, y_pred, labels, average, sample_weight, zero_division
        As for `f1_score`.

    Returns
    -------
    float, or float64 (L,) where `average` is None

    Examples
    --------
    >>> fbeta_score([1, 1, 0, 0], [1, 0, 0, 0], beta=0.5)
    0.8333333333333334
    """
    parts = fbeta_parts(check_beta("fbeta_score", beta))
    return _score("fbeta_score", parts, y_true, y_pred, labels, average, sample_weight,
                  zero_division)


def precision_score(
    y_true: ArrayLike, y_pred: ArrayLike, *, labels: ArrayLike | None = None,
    average: Average = "macro", sample_weight: ArrayLike | None = None, zero_division: float = 0
) -> Scores:
    """Return the precision TP / (TP + FP): how much of what is predicted is present.

    Parameters
    ----------
    y_true, y_pred, labels, average, sample_weight, zero_division
        As for `f1_score`; 0 / 0 is where nothing is predicted.

    Returns
    -------
    float, or float64 (L,) where `average` is None

    Examples
    --------
    >>> precision_score([1, 1, 0, 0], [1, 0, 1, 0])
    0.5
    """
    return _score("precision_score", precision_parts, y_true, y_pred, labels, average,
                  sample_weight, zero_division)


def recall_score(
    y_true: ArrayLike, y_pred: ArrayLike, *, labels: ArrayLike | None = None,
    average: Average = "macro", sample_weight: ArrayLike | None = None, zero_division: float = 0
) -> Scores:
    """Return the recall TP / (TP + FN): how much of what is present is predicted.

    Parameters
    ----------
    y_true, y_pred, labels, average, sample_weight, zero_division
        As for `f1_score`; 0 / 0 is where nothing is present.

    Returns
    -------
    float, or float64 (L,) where `average` is None

    Examples
    --------
    >>> recall_score([1, 1, 1, 1], [1, 0, 1, 1])
    0.75
    """
    return _score("recall_score", recall_parts, y_true, y_pred, labels, average, sample_weight,
                  zero_division)


def jaccard_score(
    y_true: ArrayLike, y_pred: ArrayLike, *, labels: ArrayLike | None = None,
    average: Average = "macro", sample_weight: ArrayLike | None = None, zero_division: float = 0
) -> Scores:
    """Return the Jaccard index TP / (TP + FP + FN), intersection over union.

    Parameters
    ----------
    y_true, y_pred, labels, average, sample_weight, zero_division
        As for `f1_score`.

    Returns
    -------
    float, or float64 (L,) where `average` is None

    Examples
    --------
    >>> jaccard_score([[1, 1, 0]], [[1, 0, 1]], average="samples")
    0.3333333333333333
    """
    return _score("jaccard_score", jaccard_parts, y_true, y_pred, labels, average, sample_weight,
                  zero_division)


def hamming_loss(y_true: ArrayLike, y_pred: ArrayLike, *,
                 sample_weight: ArrayLike | None = None) -> float:
    """Return the share of cells, photos times labels, that are wrong.

    Parameters
    ----------
    y_true, y_pred, sample_weight
        As for `f1_score`.

    Returns
    -------
    float

    Examples
    --------
    >>> hamming_loss([[1, 0], [0, 1]], [[1, 1], [0, 1]])
    0.25
    """
    return hamming_of(_label_counts("hamming_loss", y_true, y_pred, None, sample_weight))


def accuracy_score(y_true: ArrayLike, y_pred: ArrayLike, *, normalize: bool = True,
                   sample_weight: ArrayLike | None = None) -> float:
    """Return the exact match ratio: the share of photos with every label right.

    As scikit-learn's function of this name does; `accuracy_multi` is the share of cells.

    Parameters
    ----------
    y_true, y_pred, sample_weight
        As for `f1_score`.
    normalize : bool
        False gives the number, or the summed weight, of these photos instead of their share.

    Returns
    -------
    float

    Examples
    --------
    >>> accuracy_score([[1, 0], [0, 1]], [[1, 1], [0, 1]])
    0.5
    """
    fn = "accuracy_score"
    targets, decided = check_decisions(fn, y_true, y_pred, None)
    weights = check_weights(fn, sample_weight, len(targets))
    counts = count_photos(targets, decided)
    right = (counts.both == counts.there) & (counts.both == counts.decided)
    right = right if weights is None else right * weights
    return float(right.sum() / (_total(weights, len(targets)) if normalize else 1))


def matthews_corrcoef(y_true: ArrayLike, y_pred: ArrayLike, *,
                      average: Literal["micro", "macro"] | None = "micro",
                      sample_weight: ArrayLike | None = None) -> Scores:
    """Return Matthews' correlation of what is predicted and what is present, in [-1, 1].

    Parameters
    ----------
    y_true, y_pred, sample_weight
        As for `f1_score`.
    average : "micro", "macro" or None
        All cells in one table, which is scikit-learn's function on flattened arrays; the mean over
        labels; or one for each label. It is 0 where one of the two is constant.

    Returns
    -------
    float, or float64 (L,) where `average` is None

    Examples
    --------
    >>> matthews_corrcoef([1, 1, 0, 0], [0, 0, 1, 1])
    -1.0
    """
    fn = "matthews_corrcoef"
    check_choice(fn, "average", average, ("micro", "macro", None))
    return matthews_of(_label_counts(fn, y_true, y_pred, None, sample_weight), average)


def multilabel_confusion_matrix(
    y_true: ArrayLike, y_pred: ArrayLike, *, sample_weight: ArrayLike | None = None,
    labels: ArrayLike | None = None, samplewise: bool = False
) -> AnyArray:
    """Return a table [[TN, FP], [FN, TP]] for each label.

    Parameters
    ----------
    y_true, y_pred, sample_weight, labels
        As for `f1_score`.
    samplewise : bool
        A table for each photo instead.

    Returns
    -------
    int64 (L, 2, 2) or (N, 2, 2); float64 with `sample_weight`

    Examples
    --------
    >>> multilabel_confusion_matrix([[1, 0], [0, 1]], [[1, 1], [0, 1]]).tolist()
    [[[1, 0], [0, 1]], [[0, 1], [0, 1]]]
    """
    fn = "multilabel_confusion_matrix"
    targets, decided = check_decisions(fn, y_true, y_pred, labels)
    weights = check_weights(fn, sample_weight, len(targets))
    if samplewise:
        counts = count_photos(targets, decided)
        tables = _tables(counts) * (1 if weights is None else weights[:, None, None])
    else:
        tables = _tables(count_labels(targets, decided, weights))
    return tables.astype(np.int64) if weights is None else tables


def brier_score_loss(y_true: ArrayLike, y_proba: ArrayLike, *,
                     average: Literal["macro"] | None = "macro",
                     sample_weight: ArrayLike | None = None) -> Scores:
    """Return the mean squared difference of probabilities and labels.

    The one metric here that wants probabilities: it is 0 for certainty that is right. For several
    labels it is their mean, where scikit-learn has no such function (it adds up columns that are
    classes).

    Parameters
    ----------
    y_true : array_like (N, L) or (N,)
        0 and 1.
    y_proba : array_like of the same shape
        Probabilities, in [0, 1].
    average : "macro" or None
        The mean over labels, or one for each.
    sample_weight : array_like (N,), optional

    Returns
    -------
    float, or float64 (L,) where `average` is None

    Examples
    --------
    >>> brier_score_loss([0, 1], [0.5, 0.75])
    0.15625
    """
    fn = "brier_score_loss"
    check_choice(fn, "average", average, ("macro", None))
    probs = as_array("y_proba", fn, y_proba)
    refuse(np.isnan(probs), "y_proba", fn, "not be NaN", probs)
    refuse((probs < 0) | (probs > 1), "y_proba", fn,
           "lie in [0, 1] (of logits: their sigmoid)", probs)
    targets = as_uint8_mask("y_true", fn, y_true, strict=True)
    targets, probs = check_matrices(fn, targets, probs, "y_proba")
    weights = check_weights(fn, sample_weight, len(targets))
    errors = np.average((probs.astype(np.float64) - targets) ** 2, axis=0, weights=weights)
    return errors if average is None else float(errors.mean())


# --- what the functions share with the columns of a learner

def fbeta_parts(beta: float) -> Parts:
    """Return the function from counts to numerator and denominator of F beta."""
    if np.isposinf(beta):
        return recall_parts
    square = beta * beta
    return lambda c: ((1 + square) * c.both, square * c.there + c.decided)


def precision_parts(counts: Counts) -> tuple[Float64, Float64]:
    return counts.both, counts.decided


def recall_parts(counts: Counts) -> tuple[Float64, Float64]:
    return counts.both, counts.there


def jaccard_parts(counts: Counts) -> tuple[Float64, Float64]:
    return counts.both, counts.there + counts.decided - counts.both


def average_ratio(parts: Parts, counts: Counts, average: Average, zero_division: float,
                  weights: Float64 | None = None) -> Scores:
    """Return the ratio of the two `parts` of `counts`, averaged.

    `counts` is of photos for "samples", where `weights` are theirs, else of labels.
    """
    if average == "micro":
        both, there, decided = (np.array([x.sum()]) for x in counts[:3])
        counts = Counts(both, there, decided, counts.total)
    above, below = parts(counts)
    scores = np.full(len(above), float(zero_division))
    np.divide(above, below, out=scores, where=below != 0)
    if average is None:
        return scores
    return mean_of_defined(scores, counts.there if average == "weighted" else weights)


def hamming_of(counts: Counts) -> float:
    wrong = counts.there + counts.decided - 2 * counts.both
    return float(wrong.sum() / (counts.total * len(wrong)))


def matthews_of(counts: Counts, average: str | None) -> Scores:
    both, there, decided, total = counts
    if average == "micro":
        total = total * len(both)
        both, there, decided = (np.array([x.sum()]) for x in counts[:3])
    above = both * total - there * decided
    below = np.sqrt(there * (total - there)) * np.sqrt(decided * (total - decided))
    scores = np.zeros(len(both))
    np.divide(above, below, out=scores, where=below != 0)
    return scores if average is None else float(scores.mean())


def count_labels(targets: UInt8, decided: UInt8, weights: Float64 | None = None) -> Counts:
    """Return the `Counts` of each column of two uint8 matrices."""
    labels = targets.shape[1]
    if weights is None:
        _core.label_counts(targets, decided, whole := np.empty((3, labels), np.int64))
        out = whole.astype(np.float64)
    else:
        _core.label_weights(targets, decided, weights, out := np.empty((3, labels)))
    return Counts(out[0], out[1], out[2], _total(weights, len(targets)))


def count_photos(targets: UInt8, decided: UInt8) -> Counts:
    """Return the `Counts` of each row of two uint8 matrices."""
    _core.row_counts(targets, decided, out := np.empty((3, len(targets)), np.int64))
    both, there, said = out.astype(np.float64)
    return Counts(both, there, said, float(targets.shape[1]))


def _total(weights: Float64 | None, rows: int) -> float:
    return float(rows) if weights is None else float(weights.sum())


def check_decisions(fn: str, y_true: ArrayLike, y_pred: ArrayLike,
                    labels: ArrayLike | None) -> tuple[UInt8, UInt8]:
    """Return both as C-contiguous uint8 (N, L) of the columns `labels`."""
    targets = as_uint8_mask("y_true", fn, y_true, strict=True)
    decided = as_array("y_pred", fn, y_pred)
    refuse((decided != 0) & (decided != 1), "y_pred", fn,
           "hold decisions, 0 and 1 (of scores: scores > thresh)", decided)
    targets, decided = check_matrices(fn, targets, as_uint8_mask("y_pred", fn, decided), "y_pred")
    if labels is None:
        return targets, decided
    columns = check_columns(fn, labels, targets.shape[1])
    return np.ascontiguousarray(targets[:, columns]), np.ascontiguousarray(decided[:, columns])


def check_columns(fn: str, labels: ArrayLike, n_labels: int | None = None) -> AnyArray:
    """Return the numbers of columns, each in [0, n_labels) where that is known."""
    columns = as_array("labels", fn, labels)
    if columns.dtype.kind not in "iu" or columns.ndim != 1 or not columns.size:
        raise ValueError(f"{fn}: `labels` must be a list of numbers of columns, got {labels!r}")
    wrong = columns < 0 if n_labels is None else (columns < 0) | (columns >= n_labels)
    rule = "not be negative" if n_labels is None else f"lie in [0, {n_labels - 1}]"
    refuse(wrong, "labels", fn, rule, columns)
    return columns


def check_beta(fn: str, beta: float) -> float:
    """Return `beta` as a float of at least 0, or inf."""
    number = as_array("beta", fn, beta)
    if number.ndim or not number >= 0:
        raise ValueError(f"{fn}: `beta` must be a number of at least 0, got {beta!r}")
    return float(number)


def _label_counts(fn: str, y_true: ArrayLike, y_pred: ArrayLike, labels: ArrayLike | None,
                  sample_weight: ArrayLike | None) -> Counts:
    targets, decided = check_decisions(fn, y_true, y_pred, labels)
    return count_labels(targets, decided, check_weights(fn, sample_weight, len(targets)))


def _score(
    fn: str, parts: Parts, y_true: ArrayLike, y_pred: ArrayLike, labels: ArrayLike | None,
    average: Average, sample_weight: ArrayLike | None, zero_division: float
) -> Scores:
    check_choice(fn, "average", average, AVERAGES)
    zero = check_zero_division(fn, zero_division)
    if average != "samples":
        counts = _label_counts(fn, y_true, y_pred, labels, sample_weight)
        return average_ratio(parts, counts, average, zero)
    targets, decided = check_decisions(fn, y_true, y_pred, labels)
    weights = check_weights(fn, sample_weight, len(targets))
    return average_ratio(parts, count_photos(targets, decided), average, zero, weights)


def _tables(counts: Counts) -> Float64:
    both, there, decided, total = counts
    cells = [total - there - decided + both, decided - both, there - both, both]
    return np.stack(cells, axis=1).reshape(-1, 2, 2)
