"""Metrics of rankings: how well scores put what is present before what is not, at no threshold.

Logits and probabilities rank alike, and equal scores are one step, so that no order of ties
matters. C counts the scores between those of each label's positives for average precision and ROC
AUC, sorts them for curves and weights, and compares the labels of a photo with each other for the
rest. Names, arguments and values are scikit-learn's
where it has the function; what differs is said where it does.
"""

import warnings
from collections.abc import Callable, Sequence
from typing import Any, Literal, NamedTuple, TypeAlias

import numpy as np

from mlclassify import _core
from mlclassify.arrays import as_array, as_uint8_mask, refuse_nan
from mlclassify.checks import MLClassifyWarning, check_choice, check_whole
from mlclassify.metrics.arguments import (
    AVERAGES,
    Average,
    Scores,
    check_matrices,
    check_weights,
    check_zero_division,
    mean_of_defined,
)
from mlclassify.types import AnyArray, ArrayLike, Float32, Float64, Int64, UInt8

ZeroDivision: TypeAlias = float | Literal["warn"]


class Measure(NamedTuple):
    """A measure of a ranking of photos by one label.

    Attributes
    ----------
    name : str
        Of the function.
    column : int
        Where C puts it.
    undefined : float
        What stands for it where it is 0 / 0 and `zero_division` is "warn".
    lacks, so : str
        Why it is 0 / 0, and what comes of it.
    """

    name: str
    column: int
    undefined: float
    lacks: str
    so: str


AP = Measure("average_precision_score", 0, 0.0, "no positive",
             "each counts 0 (zero_division=np.nan leaves them out)")
AUC = Measure("roc_auc_score", 1, float("nan"), "no positive or no negative",
              "they are left out")


def average_precision_score(
    y_true: ArrayLike, y_score: ArrayLike, *, average: Average = "macro",
    sample_weight: ArrayLike | None = None, zero_division: ZeroDivision = "warn"
) -> Scores:
    """Return the average precision of a ranking, sum of (R_n - R_(n-1)) P_n, ties as one step.

    Parameters
    ----------
    y_true : array_like (N, L) or (N,)
        0 and 1: the labels that are present. A vector is one label.
    y_score : array_like of the same shape
        Higher means more likely.
    average : "macro", "micro", "weighted", "samples" or None
        The mean over labels; that of all cells in one ranking; the mean over labels by how often
        each is present; the mean over photos, whose labels are ranked; or one for each label.
    sample_weight : array_like (N,), optional
        How much each photo counts.
    zero_division : "warn", 0, 1 or nan
        What a label without a positive counts (for "samples", a photo without a label). "warn" is
        0 as in scikit-learn, and names these labels; with nan they are left out of a mean. With 1
        and "samples" this is `label_ranking_average_precision_score`.

    Returns
    -------
    float, or float64 (L,) where `average` is None

    Raises
    ------
    ValueError
        A target is not 0 or 1, a score is NaN, the shapes differ, there is no photo, or weights
        are negative, not finite or all zero.

    Examples
    --------
    >>> average_precision_score([0, 1, 1, 0], [0.1, 0.9, 0.4, 0.6])
    0.8333333333333333
    >>> average_precision_score([[1, 0], [0, 0]], [[2.0, 1.0], [1.0, 2.0]], zero_division=np.nan)
    1.0
    """
    return _score(AP, y_true, y_score, average, sample_weight, zero_division)


def roc_auc_score(
    y_true: ArrayLike, y_score: ArrayLike, *, average: Average = "macro",
    sample_weight: ArrayLike | None = None, zero_division: ZeroDivision = "warn"
) -> Scores:
    """Return the area under the ROC curve: the share of pairs in order, ties a half.

    Parameters
    ----------
    y_true, y_score, average, sample_weight
        As for `average_precision_score`.
    zero_division : "warn", 0, 1 or nan
        What a label counts that all photos have, or none (for "samples", a photo that has all
        labels, or none). "warn" is nan, and names these labels; with nan they are left out of a
        mean, where scikit-learn's mean is NaN.

    Returns
    -------
    float, or float64 (L,) where `average` is None

    Raises
    ------
    ValueError
        As `average_precision_score`.

    Examples
    --------
    >>> roc_auc_score([0, 1, 1, 0], [0.1, 0.9, 0.4, 0.6])
    0.75
    """
    return _score(AUC, y_true, y_score, average, sample_weight, zero_division)


class PrecisionRecallCurve(NamedTuple):
    """Precision and recall at every threshold of one label.

    Attributes
    ----------
    precision, recall : float64 (T + 1,)
        Of ``score >= thresholds``; the last are 1 and 0, where nothing is predicted.
    thresholds : ndarray (T,)
        The distinct scores, ascending.
    """

    precision: Float64
    recall: Float64
    thresholds: AnyArray


def precision_recall_curve(
    y_true: ArrayLike, y_score: ArrayLike, *, sample_weight: ArrayLike | None = None
) -> Any:
    """Return precision and recall at every threshold.

    Parameters
    ----------
    y_true, y_score, sample_weight
        As for `average_precision_score`.

    Returns
    -------
    PrecisionRecallCurve, or a list of one for each label where `y_true` is (N, L)
        The recall of a label without a positive is 1, as in scikit-learn, with a warning.

    Raises
    ------
    ValueError
        As `average_precision_score`.

    Examples
    --------
    >>> precision, recall, thresholds = precision_recall_curve([0, 1, 1], [0.1, 0.4, 0.4])
    >>> precision, recall, thresholds
    (array([0.66666667, 1.        , 1.        ]), array([1., 1., 0.]), array([0.1, 0.4]))
    """
    fn = "precision_recall_curve"
    targets, scores, weights = _checked(fn, y_true, y_score, sample_weight)
    rows, labels = targets.shape
    length, row = np.empty(labels, np.int64), np.empty((labels, rows), np.int64)
    positive, all_ = np.empty((2, labels, rows))
    _core.column_curve(_as_float32(scores, 0), targets, weights, length, row, positive, all_)
    curves, absent = [], []
    for label, n in enumerate(length):
        above, total = (x[label, :n][::-1] for x in (positive, all_))
        if not above[0]:
            absent.append(label)
        recall = above / above[0] if above[0] else np.ones(n)
        curves.append(PrecisionRecallCurve(np.append(above / total, 1.0), np.append(recall, 0.0),
                                           scores[row[label, :n][::-1], label]))
    if absent:
        _warn(fn, None, absent, AP.lacks, "their recall is 1", stacklevel=3)
    return curves[0] if np.ndim(y_true) == 1 else curves


def label_ranking_average_precision_score(
    y_true: ArrayLike, y_score: ArrayLike, *, sample_weight: ArrayLike | None = None
) -> float:
    """Return LRAP, the mean over photos of the precision of their rankings down to each label.

    Parameters
    ----------
    y_true : array_like (N, L)
        0 and 1. A photo with no label, or with all, counts 1.
    y_score : array_like (N, L)
        Higher means more likely.
    sample_weight : array_like (N,), optional
        How much each photo counts.

    Returns
    -------
    float

    Raises
    ------
    ValueError
        As `average_precision_score`.

    Examples
    --------
    >>> label_ranking_average_precision_score([[1, 0, 0], [0, 0, 1]], [[3, 1, 2], [3, 2, 1]])
    0.6666666666666666
    """
    fn = "label_ranking_average_precision_score"
    precision, weights = _row_values(fn, y_true, y_score, sample_weight, 0)
    return mean_of_defined(np.nan_to_num(precision, nan=1.0), weights)


def coverage_error(
    y_true: ArrayLike, y_score: ArrayLike, *, sample_weight: ArrayLike | None = None
) -> float:
    """Return how far down one must go, in the mean, to find all labels of a photo.

    The best is the mean number of labels of a photo.

    Parameters
    ----------
    y_true, y_score, sample_weight
        As for `label_ranking_average_precision_score`; a photo with no label counts 0.

    Returns
    -------
    float

    Examples
    --------
    >>> coverage_error([[1, 0, 0], [0, 0, 1]], [[3, 1, 2], [3, 2, 1]])
    2.0
    """
    return mean_of_defined(*_row_values("coverage_error", y_true, y_score, sample_weight, 1))


def label_ranking_loss(
    y_true: ArrayLike, y_score: ArrayLike, *, sample_weight: ArrayLike | None = None
) -> float:
    """Return the mean share of pairs of labels, one present and one not, in the wrong order.

    Parameters
    ----------
    y_true, y_score, sample_weight
        As for `label_ranking_average_precision_score`; a photo without such pairs counts 0, and a
        tie is wrong.

    Returns
    -------
    float

    Examples
    --------
    >>> label_ranking_loss([[1, 0, 0], [0, 0, 1]], [[3, 1, 2], [3, 2, 1]])
    0.5
    """
    return mean_of_defined(*_row_values("label_ranking_loss", y_true, y_score, sample_weight, 2))


def precision_at_k(
    y_true: ArrayLike, y_score: ArrayLike, k: int, *, sample_weight: ArrayLike | None = None
) -> float:
    """Return the share of the `k` labels with the highest scores that are present.

    Parameters
    ----------
    y_true, y_score, sample_weight
        As for `label_ranking_average_precision_score`.
    k : int
        From 1 to the number of labels. Where labels tie for the last places, it is the mean over
        their orders.

    Returns
    -------
    float
        The mean over photos.

    Examples
    --------
    >>> precision_at_k([[1, 0, 0], [0, 0, 1]], [[3, 1, 2], [3, 2, 1]], 1)
    0.5
    """
    gain, _, weights = _gains("precision_at_k", y_true, y_score, k, np.ones, sample_weight)
    return mean_of_defined(gain / k, weights)


def recall_at_k(
    y_true: ArrayLike, y_score: ArrayLike, k: int, *, sample_weight: ArrayLike | None = None,
    zero_division: float = 0
) -> float:
    """Return the share of a photo's labels that are among the `k` with the highest scores.

    Parameters
    ----------
    y_true, y_score, k, sample_weight
        As for `precision_at_k`.
    zero_division : 0, 1 or nan
        What a photo with no label counts; with nan it is left out.

    Returns
    -------
    float
        The mean over photos.

    Examples
    --------
    >>> recall_at_k([[1, 1, 0], [0, 0, 1]], [[3, 1, 2], [3, 2, 1]], 1)
    0.25
    """
    fn = "recall_at_k"
    zero = check_zero_division(fn, zero_division)
    gain, _, weights = _gains(fn, y_true, y_score, k, np.ones, sample_weight)
    present = np.count_nonzero(as_array("y_true", fn, y_true), axis=1)
    recall = np.divide(gain, present, out=np.full(len(gain), zero), where=present > 0)
    return mean_of_defined(recall, weights)


def ndcg_score(
    y_true: ArrayLike, y_score: ArrayLike, *, k: int | None = None,
    sample_weight: ArrayLike | None = None
) -> float:
    """Return the normalised discounted cumulative gain: place i of a ranking gives 1 / log2(i + 1).

    Parameters
    ----------
    y_true, y_score, sample_weight
        As for `label_ranking_average_precision_score`; a photo with no label counts 0.
    k : int, optional
        Only the `k` highest scores give something, from 1 to the number of labels. Ties give the
        mean over their orders.

    Returns
    -------
    float
        The mean over photos.

    Examples
    --------
    >>> ndcg_score([[1, 0], [0, 1]], [[2, 1], [3, 3]])
    0.9077324383928644
    """
    gain, best, weights = _gains("ndcg_score", y_true, y_score, k, _discounts, sample_weight)
    return mean_of_defined(np.divide(gain, best, out=np.zeros(len(gain)), where=best > 0), weights)


# --- what the functions share with the columns of a learner

def measured(
    measure: Measure, y_true: ArrayLike, y_score: ArrayLike, average: Average,
    sample_weight: ArrayLike | None
) -> tuple[Float64, Float64 | None]:
    """Return a measure of each label, photo or all cells, NaN where it is 0 / 0, and how much
    each counts in a mean."""
    targets, scores, weights = _checked(measure.name, y_true, y_score, sample_weight)
    if average == "micro":
        each = None if weights is None else np.repeat(weights, targets.shape[1])
        return _columns(measure, targets.reshape(-1, 1), scores.reshape(-1, 1), each), None
    if average == "samples":
        return _columns(measure, np.ascontiguousarray(targets.T), scores.T, None), weights
    support = None
    if average == "weighted":
        support = (np.ones(len(targets)) if weights is None else weights) @ targets
    return _columns(measure, targets, scores, weights), support


def averaged(measure: Measure, values: Float64, average: Average, weights: Float64 | None,
             zero_division: ZeroDivision) -> Scores:
    """Return what `measured` gave, with 0 / 0 as `zero_division` says, averaged."""
    zero = measure.undefined if zero_division == "warn" else zero_division
    values = np.where(np.isnan(values), zero, values)
    return values if average is None else mean_of_defined(values, weights)


def warn_undefined(measure: Measure, average: Average, names: Sequence[object] | Int64,
                   stacklevel: int) -> None:
    """Warn that the labels, or photos, `names` are 0 / 0."""
    _warn(measure.name, average, names, measure.lacks, measure.so, stacklevel + 1)


def _warn(
    fn: str, average: Average, names: Sequence[object] | Int64, lacks: str, so: str,
    stacklevel: int
) -> None:
    shown = ", ".join(str(n) for n in names[:10]) + (", ..." if len(names) > 10 else "")
    who = {"samples": f"photos {shown} have", "micro": "all labels together have"}.get(
        average or "macro", f"labels {shown} have")
    warnings.warn(f"{fn}: {who} {lacks} here; {so}", MLClassifyWarning, stacklevel=stacklevel)


def _score(
    measure: Measure, y_true: ArrayLike, y_score: ArrayLike, average: Average,
    sample_weight: ArrayLike | None, zero_division: ZeroDivision
) -> Scores:
    check_choice(measure.name, "average", average, AVERAGES)
    zero_division = check_zero_division(measure.name, zero_division, warn=True)
    values, weights = measured(measure, y_true, y_score, average, sample_weight)
    undefined = np.flatnonzero(np.isnan(values))
    if zero_division == "warn" and len(undefined):
        warn_undefined(measure, average, undefined, stacklevel=4)
    return averaged(measure, values, average, weights, zero_division)


def _columns(measure: Measure, targets: UInt8, scores: AnyArray,
             weights: Float64 | None) -> Float64:
    _core.column_ranking(_as_float32(scores, 0), targets, weights,
                         out := np.empty((targets.shape[1], 2)))
    return out[:, measure.column].copy()


def _row_values(
    fn: str, y_true: ArrayLike, y_score: ArrayLike, sample_weight: ArrayLike | None, column: int
) -> tuple[Float64, Float64 | None]:
    """Return one of what C measures of each photo, and the photos' weights."""
    targets, scores, weights = _checked_rows(fn, y_true, y_score, sample_weight)
    _core.row_ranking(_as_float32(scores, 1), targets, out := np.empty((len(targets), 3)))
    return out[:, column], weights


def _gains(
    fn: str, y_true: ArrayLike, y_score: ArrayLike, k: int | None,
    gains: Callable[[int], Float64], sample_weight: ArrayLike | None
) -> tuple[Float64, Float64, Float64 | None]:
    """Return what the first `k` places give each photo, at best would give it, and its weight."""
    targets, scores, weights = _checked_rows(fn, y_true, y_score, sample_weight)
    labels = targets.shape[1]
    if k is not None and check_whole(fn, "k", k, at_least=1) > labels:
        raise ValueError(f"{fn}: `k` must be at most the number of labels, {labels}, got {k}")
    places = np.append(0.0, np.cumsum(gains(labels)))
    if k is not None:
        places[k:] = places[k]
    _core.row_gains(_as_float32(scores, 1), targets, places, out := np.empty(len(targets)))
    return out, places[np.count_nonzero(targets, axis=1)], weights


def _discounts(labels: int) -> Float64:
    return 1 / np.log2(np.arange(2, labels + 2))


def _checked(
    fn: str, y_true: ArrayLike, y_score: ArrayLike, sample_weight: ArrayLike | None
) -> tuple[UInt8, AnyArray, Float64 | None]:
    """Return targets as uint8 (N, L), scores of any dtype (N, L) without NaN, and weights."""
    targets = as_uint8_mask("y_true", fn, y_true, strict=True)
    scores = as_array("y_score", fn, y_score)
    refuse_nan("y_score", fn, scores)
    targets, scores = check_matrices(fn, targets, scores, "y_score")
    return targets, scores, check_weights(fn, sample_weight, len(targets))


def _checked_rows(
    fn: str, y_true: ArrayLike, y_score: ArrayLike, sample_weight: ArrayLike | None
) -> tuple[UInt8, AnyArray, Float64 | None]:
    if np.ndim(y_true) != 2:
        raise ValueError(f"{fn}: `y_true` must have shape (N, L), got {np.shape(y_true)}")
    return _checked(fn, y_true, y_score, sample_weight)


def _as_float32(scores: AnyArray, axis: int) -> Float32:
    """Return scores as C takes them, which compares them along `axis`.

    Scores that float32 would merge become float32s in the same order.
    """
    if scores.dtype in (np.float32, np.float16, bool):
        return np.ascontiguousarray(scores, np.float32)
    with np.errstate(over="ignore"):
        single = np.ascontiguousarray(scores, np.float32)
    if (single == scores).all():
        return single
    lines = np.ascontiguousarray(scores if axis else scores.T)
    order = np.argsort(lines, axis=1)
    ordered = np.take_along_axis(lines, order, axis=1)
    ranks = np.zeros(lines.shape, np.int32)
    np.cumsum(ordered[:, 1:] != ordered[:, :-1], axis=1, out=ranks[:, 1:])
    # Positive floats are in the order of their bits; these begin with the least normal one.
    np.put_along_axis(found := np.empty_like(ranks), order, ranks + 0x00800000, axis=1)
    return np.ascontiguousarray((found if axis else found.T).view(np.float32))
