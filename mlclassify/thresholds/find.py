"""The search for thresholds."""

import warnings
from dataclasses import dataclass
from functools import partial

import numpy as np

from mlclassify import _core
from mlclassify.arrays import as_array, as_matrix, as_uint8_mask, refuse
from mlclassify.checks import MLClassifyWarning, check_choice
from mlclassify.rng import check_seed
from mlclassify.thresholds.cuts import Part, as_thresholds, f1_of
from mlclassify.thresholds.folds import check_folds, deal
from mlclassify.thresholds.methods import METHODS, WITH_FBR, choose_fbr, scutfbr

FEW = 10  # positives, below which a label is warned of
COLUMNS = [("support", np.int64), ("threshold", np.float32), ("f1_before", np.float64),
           ("f1_after", np.float64), ("spread", np.float64)]


@dataclass(frozen=True, eq=False)
class FoundThresholds:
    """What `find_thresholds` chose, and how far that is to be trusted.

    Attributes
    ----------
    thresholds : float32 (L,)
        A label is predicted where its score is above, strictly.
    table : structured ndarray (L,)
        Of each label, ``support``: photos that have it; ``threshold``; ``f1_before`` and
        ``f1_after``: its F1 on the scores that were given at the threshold in use and at the new
        one; ``spread``: between which thresholds the folds chose, highest less lowest.
        ``pandas.DataFrame(table)`` shows it.
    by_fold : float64 (K, L)
        What each fold chose.
    start : float32 (L,)
        The thresholds in use that it was compared with.
    fbr : float64 (L,) or None
        Of the methods that have one.
    """

    thresholds: np.ndarray
    table: np.ndarray
    by_fold: np.ndarray
    start: np.ndarray
    fbr: np.ndarray | None

    def __repr__(self):
        before, after = (self.table[name].mean() for name in ("f1_before", "f1_after"))
        return (f"FoundThresholds({len(self.thresholds)} labels, macro F1 {before:.4f} -> "
                f"{after:.4f})")


def find_thresholds(scores, targs, *, method="scut", folds=None, pooled=False, fbr=None, seed=0,
                    start=None):
    """Choose a threshold for each label from scores of photos that were not trained on.

    Only thresholds between two different scores are tried, and all of them: every method works on
    sorted columns. A fold chooses from its own photos, and the threshold is the mean over folds.

    Parameters
    ----------
    scores : array_like (N, L) or (N,)
        Probabilities, logits or margins, finite, as float32: of a validation set, or out of fold.
    targs : array_like of the same shape
        0 and 1.
    method : str
        By macro F1: "scut", each label's own best F1; "smoothed", the same by (1 + 2 tp) / (1 + 2
        tp + fp + fn); "scutfbr0" and "scutfbr1", a label whose best F1 is at most `fbr` is never
        predicted, or only above its highest score; "svm1", scutfbr1 with the fbr of each label
        chosen here; "global", one threshold for all labels.
        By micro F1: "micro", the best that thresholds can have; "cyclic", one label after the other.
        By the mean F1 of photos: "cyclic_samples". By macro and micro F1 together: "micromacro".
        By number: "pcut", as many photos as have the label; "rcut", as many as have it among their
        k highest scores.
    folds : int or array_like (N,) of int, optional
        The number of folds, dealt by `stratified_folds`, or the fold of each photo, as where scores
        are out of fold. Default: 3.
    pooled : bool
        Choose from all photos at once instead; folds then only say how far choices differ.
    fbr : float or array_like (L,), optional
        For "scutfbr0" and "scutfbr1", in [0, 1]. Default: of 0.1, 0.2, ... 0.8 the one with the
        highest F1 on each fold at the thresholds of the others.
    seed : int
        Of the folds dealt here.
    start : float or array_like (L,), optional
        The thresholds in use, which "scut" and its variants, "micro" and "cyclic" keep where nothing
        is better. Default: 0.5 where all scores lie in [0, 1], as probabilities do, else 0, as of
        logits and margins.

    Returns
    -------
    FoundThresholds
        Of scores that all lie in [0, 1], thresholds beyond are -inf (always) or inf (never).

    Raises
    ------
    ValueError
        A score is not finite, a target not 0 or 1, shapes differ, or an option is none.
    TypeError
        An argument holds no numbers.

    Warns
    -----
    MLClassifyWarning
        A label has no photo, none in some fold, or fewer than 10.

    Examples
    --------
    >>> scores = np.repeat([[0.1, 0.9], [0.3, 0.4], [0.45, 0.2]], 10, axis=0)
    >>> targs = np.repeat([[0, 1], [1, 1], [1, 0]], 10, axis=0)
    >>> found = find_thresholds(scores, targs)
    >>> found, found.thresholds
    (FoundThresholds(2 labels, macro F1 0.3333 -> 1.0000), array([0.2, 0.3], dtype=float32))
    """
    fn = "find_thresholds"
    check_choice(fn, "method", method, (*METHODS, *WITH_FBR))
    scores, targets = _matrices(fn, scores, targs)
    rows, labels = scores.shape
    low, high = scores.min(), scores.max()
    if not np.isfinite(low) or not np.isfinite(high):
        refuse(~np.isfinite(scores), "scores", fn, "be finite", scores)
    probabilities = low >= 0 and high <= 1
    start = _per_label(fn, "start", (0.5 if probabilities else 0) if start is None else start,
                       labels).astype(np.float32)
    fold = check_folds(fn, "folds", 3 if folds is None else folds, rows)
    seed = check_seed(fn, seed)
    if fbr is not None:
        fbr = _check_fbr(fn, fbr, method, labels)
    if np.ndim(fold) == 0:
        fold = deal(targets, fold, seed)
    parts = _parts(scores, targets, start, fold)
    support = np.stack([part.targets.sum(axis=0) for part in parts])
    _warn(fn, support, pooled)
    choose = METHODS.get(method)
    if method in WITH_FBR:
        fbr = choose_fbr(parts, WITH_FBR[method]) if fbr is None else fbr
        choose = partial(scutfbr, fbr=fbr, never=WITH_FBR[method])
    by_fold = choose(parts)
    found = choose([Part(scores, targets, start)])[0] if pooled else by_fold.mean(axis=0)
    if probabilities:
        found = np.where(found < 0, -np.inf, np.where(found > 1, np.inf, found))
    found = as_thresholds(found)
    table = np.empty(labels, COLUMNS)
    table["support"], table["threshold"] = support.sum(axis=0), found
    table["f1_before"], table["f1_after"] = (_f1(scores, targets, t) for t in (start, found))
    highest, lowest = by_fold.max(axis=0), by_fold.min(axis=0)
    table["spread"] = np.subtract(highest, lowest, out=np.zeros(labels), where=highest != lowest)
    return FoundThresholds(found, table, by_fold, start, fbr)


def _matrices(fn, scores, targs):
    scores, targets = as_matrix("scores", fn, scores), as_uint8_mask("targs", fn, targs, strict=True)
    targets = targets[:, None] if targets.ndim == 1 else targets
    if targets.shape != scores.shape:
        raise ValueError(f"{fn}: `targs` must have the shape of `scores`, got {targets.shape} for "
                         f"{scores.shape}")
    if len(scores) < 2 or not scores.shape[1]:
        raise ValueError(f"{fn}: `scores` must have at least two photos and one label, got shape "
                         f"{scores.shape}")
    return scores, targets


def _per_label(fn, name, value, labels):
    """Return one number, or one a label, as float64 (L,)."""
    array = as_array(name, fn, value).astype(np.float64)
    if array.shape not in ((), (labels,)):
        raise ValueError(f"{fn}: `{name}` must be one number or have shape ({labels},), got "
                         f"{array.shape}")
    refuse(np.isnan(array), name, fn, "not be NaN", array)
    return np.broadcast_to(array, labels)


def _check_fbr(fn, fbr, method, labels):
    if method not in ("scutfbr0", "scutfbr1"):
        raise ValueError(f"{fn}: `fbr` must be None for method {method!r}, got {fbr!r}")
    fbr = _per_label(fn, "fbr", fbr, labels)
    refuse((fbr < 0) | (fbr > 1), "fbr", fn, "lie in [0, 1]", fbr)
    return fbr


def _parts(scores, targets, start, fold):
    """The rows of each fold, one fold after the other."""
    order = np.argsort(fold, kind="stable")
    ends = np.cumsum(np.bincount(fold))[:-1]
    together = (np.split(x[order], ends) for x in (scores, targets))
    return [Part(*part, start) for part in zip(*together)]


def _f1(scores, targets, thresholds):
    said = (scores > thresholds).view(np.uint8)
    _core.label_counts(targets, said, counts := np.empty((3, len(thresholds)), np.int64))
    tp, there, predicted = counts
    return f1_of(tp, predicted, there)


def _warn(fn, support, pooled):
    """Name the labels, each once, of which too little is known."""
    total = support.sum(axis=0)
    none = total == 0
    gaps = ~none & (support == 0).any(axis=0) & (not pooled)
    few = ~none & ~gaps & (total < FEW)
    for which, text in (
        (none, "no photo here has the labels {}: nothing is known of their thresholds"),
        (gaps, "in some folds no photo has the labels {}: such folds cannot choose for them"),
        (few, f"fewer than {FEW} photos have the labels {{}}: their thresholds are guesses"),
    ):
        names = [str(i) for i in np.flatnonzero(which)]
        if names:
            shown = ", ".join(names[:10]) + (", ..." if len(names) > 10 else "")
            warnings.warn(f"{fn}: {text.format(shown)}", MLClassifyWarning, stacklevel=3)
