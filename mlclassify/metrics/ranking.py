"""Metrics of rankings: how well scores put what is present before what is not, at no threshold."""

import warnings

import numpy as np

from mlclassify import _core
from mlclassify.arrays import as_array, as_matrix, as_uint8_mask, refuse
from mlclassify.checks import MLClassifyWarning, check_choice


def average_precision_score(y_true, y_score, average="macro", absent="zero"):
    """Return the average precision of a ranking, sum of (R_n - R_(n-1)) P_n, ties as one step.

    The arguments stand as in scikit-learn's function of this name, and the numbers are its.

    Parameters
    ----------
    y_true : array_like (N, L) or (N,)
        0 and 1.
    y_score : array_like of the same shape
        Higher means more likely; logits and probabilities rank alike.
    average : "macro" or None
        The mean over labels, or one number for each.
    absent : "zero" or "skip"
        What a label without a positive counts: 0 as in scikit-learn, with a warning; or nothing
        (NaN where `average` is None).

    Returns
    -------
    float, or float64 (L,) where `average` is None

    Examples
    --------
    >>> average_precision_score([0, 1, 1, 0], [0.1, 0.9, 0.4, 0.6])
    0.8333333333333333
    """
    fn = "average_precision_score"
    precisions = label_precisions(y_true, y_score, average, absent)
    missing = np.flatnonzero(np.isnan(precisions))
    if absent == "zero" and len(missing):
        warn_absent(fn, [str(i) for i in missing], stacklevel=3)
    return averaged(precisions, average, absent)


def label_precisions(y_true, y_score, average="macro", absent="zero"):
    """Check the arguments of `average_precision_score`; float64 (L,), NaN without a positive."""
    fn = "average_precision_score"
    check_choice(fn, "average", average, ("macro", None))
    check_choice(fn, "absent", absent, ("zero", "skip"))
    targets = as_uint8_mask("y_true", fn, y_true, strict=True)
    scores = _ranks(as_array("y_score", fn, y_score))
    if scores.shape != targets.shape:
        raise ValueError(
            f"{fn}: `y_score` must have the shape of `y_true`, got {scores.shape} "
            f"for {targets.shape}"
        )
    scores = as_matrix("y_score", fn, scores)
    refuse(np.isnan(scores), "y_score", fn, "not be NaN", scores)
    out = np.empty(scores.shape[1])
    _core.average_precision(scores, targets.reshape(scores.shape), out)
    return out


def _ranks(scores):
    """Return scores that float32 would merge as their ranks, which it can tell apart."""
    if scores.dtype in (np.float32, np.float16, bool) or np.isnan(scores).any():
        return scores
    with np.errstate(over="ignore"):
        if (scores.astype(np.float32) == scores).all():
            return scores
    columns = scores.reshape(len(scores), -1)
    ranks = [np.unique(column, return_inverse=True)[1] for column in columns.T]
    return np.stack(ranks, axis=1).reshape(scores.shape)


def averaged(precisions, average, absent):
    if absent == "zero":
        precisions = np.nan_to_num(precisions)
    if average is None:
        return precisions
    present = precisions[~np.isnan(precisions)]
    return float(present.mean()) if len(present) else float("nan")


def warn_absent(fn, names, stacklevel):
    shown = ", ".join(names[:10]) + (", ..." if len(names) > 10 else "")
    warnings.warn(
        f"{fn}: no photo here has the labels {shown}; each counts 0 in the mean. "
        "absent='skip' leaves them out",
        MLClassifyWarning, stacklevel=stacklevel,
    )
