"""Choosing thresholds from scores, exactly: every cut that the scores allow is looked at.

Scores are those of photos that the model was not trained on: of a validation set, or out-of-fold. A
cut lies between two neighbouring scores of a label that differ, or beyond the ends; whatever is
above its threshold, strictly, is predicted. Where cuts are equally good, the one that predicts
least is taken.

The methods and their names are those of Yang (2001), "A study of thresholding strategies for text
categorization", Fan and Lin (2007), "A study on threshold selection for multi-label
classification", and Lin and Lin (2023), "On the thresholding strategy for infrequent labels".
"""

import warnings
from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Literal, TypeAlias, TypeVar, get_args

import numpy as np
from numpy.typing import DTypeLike, NDArray

from mlclassify import _core
from mlclassify.arrays import as_array, as_matrix, as_uint8_mask, refuse, refuse_nan
from mlclassify.checks import MLClassifyWarning, check_choice, check_whole
from mlclassify.progress import progress
from mlclassify.types import AnyArray, ArrayLike, Bools, Float32, Float64, Int64, UInt8

T = TypeVar("T")

FBR_GRID = np.arange(1, 9) / 10  # of Fan and Lin's code
FEW_POSITIVES = 10  # below, a label's threshold is mostly luck
_TOLERANCE = 1e-6  # of the cyclic methods: gain of a sweep, of the first value

Method: TypeAlias = Literal[
    "scut", "scutfbr0", "scutfbr1", "svm1", "smoothed", "micromacro", "global", "micro", "cyclic",
    "cyclic_samples", "pcut", "rcut",
]
METHODS: tuple[Method, ...] = get_args(Method)


@dataclass
class FoundThresholds:
    """What `find_thresholds` found; as an array it is the thresholds.

    Attributes
    ----------
    thresholds : float64 (L,)
        On the scale of the scores; infinite: never predicted.
    support : int (L,)
        Photos that have the label.
    before, after : float64 (L,)
        F1 at the threshold that was there before, and at the one found, on the same scores: `after`
        has seen them and flatters itself.
    spread : float64 (L,)
        Standard deviation of the thresholds that the folds chose.
    labels : list of str
        Their names; numbers where none are known.
    """

    thresholds: Float64
    support: Int64
    before: Float64
    after: Float64
    spread: Float64
    labels: list[str]

    def __array__(self, dtype: DTypeLike | None = None, copy: bool | None = None) -> AnyArray:
        return np.array(self.thresholds, dtype=dtype)

    def __repr__(self) -> str:
        width = max(len(label) for label in [*self.labels, "label"])
        lines = [f"{'label':<{width}} support threshold   spread F1 before  after"]
        columns = zip(self.labels, self.support, self.thresholds, self.spread, self.before,
                      self.after)
        for label, *row in columns:
            numbers = "{:>7} {:>9.4f} {:>8.4f} {:>9.3f} {:>6.3f}".format(*row)
            lines.append(f"{label:<{width}} {numbers}")
        return "\n".join(lines)


def find_thresholds(
    scores: ArrayLike, targs: ArrayLike, *, method: Method = "scut", folds: ArrayLike | None = None,
    pooled: bool = False, fbr: ArrayLike | None = None, seed: int = 0, start: ArrayLike = 0.0,
    bar: bool = True,
) -> FoundThresholds:
    """Choose a threshold for every label: the mean of those that each fold of the photos chooses.

    Parameters
    ----------
    scores : array_like (N, L)
        Logits, probabilities or other decision values; float32 decides.
    targs : array_like (N, L)
        0 and 1.
    method : str
        - ``'scut'``: the best F1 of each label.
        - ``'scutfbr0'``, ``'scutfbr1'``: as scut, but where a fold's best F1 is not above `fbr`,
          the label is never predicted there (0), or only above all of the fold's scores (1).
        - ``'svm1'``: scutfbr1 with the `fbr` of each label that does best on the folds left out.
        - ``'smoothed'``: as scut by (1 + 2 TP) / (1 + 2 TP + FP + FN), which asks more of cuts that
          predict much for labels with few positives.
        - ``'micromacro'``: from the most frequent label on, the sum of its part of macro-F1 and of
          the micro-F1 of the labels so far.
        - ``'global'``: one threshold for all, of the best macro-F1.
        - ``'micro'``: the best micro-F1 there is (Dinkelbach's iteration, exact).
        - ``'cyclic'``, ``'cyclic_samples'``: label by label for micro-F1, or for the mean F1 of the
          photos, until nothing gains.
        - ``'pcut'``: each label as often as it is there.
        - ``'rcut'``: each label as often as it is among the k highest of a photo, for the k whose
          labels have the best micro-F1. (Naming these k is no decision by thresholds.)
    folds : array_like (N,), optional
        The fold that each photo belongs to; default three, stratified by all labels
        (`stratified_folds`).
    pooled : bool
        Whether to take all photos for one fold.
    fbr : float or array_like (L,), optional
        For scutfbr0 and scutfbr1; default chosen as in svm1.
    seed : int
        Of the folds that are made.
    start : float or array_like (L,)
        The threshold that decides before: 0 for logits, .5 for probabilities. The methods of scut
        and smoothed keep it where no cut is better, cyclic ones begin there.
    bar : bool
        Show a progress bar.

    Returns
    -------
    FoundThresholds

    Raises
    ------
    ValueError
        Shapes differ, there is no photo, a score or threshold is NaN, a target is not 0 or 1, or an
        argument does not belong to the method.

    Warns
    -----
    MLClassifyWarning
        Labels have fewer than 10 positives; what is found for them is mostly luck. Or others have
        none in one of the folds.

    Examples
    --------
    >>> scores = [[0.9], [0.7], [0.4], [0.3], [0.2]] * 4
    >>> targs = [[1], [1], [1], [0], [0]] * 4
    >>> float(find_thresholds(scores, targs, start=0.5, pooled=True).thresholds[0])
    0.3500000089406967
    """
    fn = "find_thresholds"
    scores, targets = _matrices(fn, scores, targs)
    check_choice(fn, "method", method, METHODS)
    if fbr is not None and method not in ("scutfbr0", "scutfbr1"):
        raise ValueError(f"{fn}: `fbr` must be left out with method={method!r}, got {fbr!r}")
    if pooled and folds is not None:
        raise ValueError(f"{fn}: `folds` must be left out with pooled=True, got {folds!r}")
    start = _per_label(fn, "start", start, scores.shape[1])
    before, support = _f1_and_support(scores, targets, start)
    _warn_few(fn, support)
    parts = _fold_parts(fn, scores, targets, folds, pooled, seed)
    _warn_gaps(fn, support, parts)
    each = _by_fold(fn, method, parts, fbr, start, bar)
    found = _mean(each)
    return FoundThresholds(found, support, before, _f1_at(scores, targets, found), _spread(each),
                           [str(i) for i in range(len(found))])


def f1_curves(scores: ArrayLike, targs: ArrayLike, thresholds: ArrayLike) -> Float64:
    """Return F1 of every label at every threshold, 0 for 0 / 0.

    Parameters
    ----------
    scores, targs : array_like (N, L)
        As in `find_thresholds`.
    thresholds : array_like (T,)

    Returns
    -------
    float64 (T, L)

    Examples
    --------
    >>> f1_curves([[0.9], [0.2]], [[1], [0]], [0.1, 0.5, 0.95])
    array([[0.66666667],
           [1.        ],
           [0.        ]])
    """
    cuts = _Cuts(*_matrices("f1_curves", scores, targs))
    thresholds = as_array("thresholds", "f1_curves", thresholds).astype(np.float64)
    curves = [f1[cuts.n - np.searchsorted(ranked[::-1].astype(np.float64), thresholds, "right")]
              for f1, ranked in zip(cuts.f1(), cuts.ranked)]
    return np.stack(curves, axis=1)


def as_thresh(probs: ArrayLike, thresholds: ArrayLike) -> Float32:
    """Round thresholds on probabilities to what a loss takes, every decision on `probs` as before.

    Parameters
    ----------
    probs : array_like (N, L)
        What the thresholds were chosen on.
    thresholds : array_like (L,)

    Returns
    -------
    float32 (L,)
        In [0, 1], -inf (always) or inf (never).

    Examples
    --------
    >>> as_thresh([[0.25, 1.0], [0.75, 0.5]], [0.5, 1.0000001])
    array([0.5, inf], dtype=float32)
    """
    probs = as_matrix("probs", "as_thresh", probs)
    thresholds = as_array("thresholds", "as_thresh", thresholds)
    above = probs.astype(np.float64) > thresholds
    low = np.where(above, -np.inf, probs).max(axis=0, initial=-np.inf).astype(np.float32)
    high = np.where(above, probs, np.inf).min(axis=0, initial=np.inf).astype(np.float32)
    rounded = np.maximum(thresholds.astype(np.float32), low)
    rounded = np.where(rounded < high, rounded, np.nextafter(high, np.float32(-np.inf)))
    rounded = np.where(thresholds == np.inf, np.float32(np.inf), rounded)
    return np.where(rounded > 1, np.float32(np.inf),
                    np.where(rounded < 0, np.float32(-np.inf), rounded)).astype(np.float32)


def stratified_folds(targs: ArrayLike, n_folds: int | Sequence[float] = 3, seed: int = 0) -> Int64:
    """Deal photos into folds so that each has its share of every label, rare ones first.

    Sechidis, Tsoumakas and Vlahavas (2011), "On the stratification of multi-label data".

    Parameters
    ----------
    targs : array_like (N, L)
        0 and 1.
    n_folds : int or sequence of float
        How many folds of one size; or the part of the photos that each fold is to get, such as
        ``[0.8, 0.2]``.
    seed : int
        Decides where folds are in equal need.

    Returns
    -------
    int ndarray (N,)
        From 0 to the number of folds - 1.

    Examples
    --------
    >>> stratified_folds([[1, 0], [1, 0], [0, 1], [0, 1]], 2).tolist()
    [1, 0, 0, 1]
    """
    fn = "stratified_folds"
    shares = _shares(fn, n_folds)
    targets = as_uint8_mask("targs", fn, targs, strict=True).astype(bool)
    if targets.ndim != 2:
        raise ValueError(f"{fn}: `targs` must have shape (N, L), got {targets.shape}")
    rng = np.random.default_rng(seed)
    n = len(targets)
    folds, left = np.full(n, -1), np.ones(n, bool)
    photos, wanted = n * shares, np.outer(shares, targets.sum(axis=0))
    while left.any():
        remaining = (targets & left[:, None]).sum(axis=0)
        if not remaining.any():
            break
        label = min(np.flatnonzero(remaining), key=lambda k: remaining[k])
        for i in np.flatnonzero(targets[:, label] & left).tolist():
            _deal(i, wanted[:, label], photos, rng, folds)
            wanted[folds[i]] -= targets[i]
            left[i] = False
    for i in np.flatnonzero(left).tolist():
        _deal(i, photos, photos, rng, folds)
    return folds


def _shares(fn: str, n_folds: int | Sequence[float]) -> Float64:
    """Return the part of the photos that each fold gets, float64."""
    if np.ndim(n_folds) == 0:
        n_folds = check_whole(fn, "n_folds", n_folds, at_least=1)
        return np.full(n_folds, 1 / n_folds)
    shares = as_array("n_folds", fn, n_folds).astype(np.float64)
    if shares.ndim != 1 or not (shares >= 0).all() or not np.isclose(shares.sum(), 1):
        raise ValueError(f"{fn}: `n_folds` must be an integer, or parts that add up to 1, got "
                         f"{shares.tolist()}")
    return shares


def _deal(i: int, need: Float64, photos: Float64, rng: "np.random.Generator", folds: Int64) -> None:
    """Give photo i to the fold in most need: of the label, then of photos, then by chance."""
    order = np.lexsort((rng.random(len(need)), -photos, -need))
    folds[i] = order[0]
    photos[order[0]] -= 1


# --- arguments

def _matrices(fn: str, scores: ArrayLike, targs: ArrayLike) -> tuple[Float32, UInt8]:
    targets = as_uint8_mask("targs", fn, targs, strict=True)
    scores = as_matrix("scores", fn, scores)
    targets = targets if targets.ndim == 2 else targets.reshape(len(targets), -1)
    if scores.shape != targets.shape or not scores.size:
        raise ValueError(
            f"{fn}: `targs` must have the shape of `scores`, (N, L) with at least one cell, got "
            f"{targets.shape} for {scores.shape}"
        )
    refuse_nan("scores", fn, scores)
    return scores, np.ascontiguousarray(targets)


def _per_label(fn: str, name: str, value: ArrayLike, n_labels: int) -> Float64:
    """Return one number, or one for each label, as float64 (L,)."""
    array = as_array(name, fn, value).astype(np.float64)
    if array.shape not in ((), (n_labels,)):
        raise ValueError(f"{fn}: `{name}` must be one number or have shape ({n_labels},), got "
                         f"{array.shape}")
    refuse(np.isnan(array), name, fn, "not be NaN", array)
    return np.broadcast_to(array, n_labels)


def _warn_few(fn: str, support: Int64) -> None:
    few = np.flatnonzero(support < FEW_POSITIVES)
    if len(few):
        named = ", ".join(str(i) for i in few[:10]) + (" and others" if len(few) > 10 else "")
        warnings.warn(
            f"{fn}: `targs` should have {FEW_POSITIVES} positives of each label for a threshold to "
            f"mean something, got fewer of label {named}",
            MLClassifyWarning, stacklevel=3,
        )


def _warn_gaps(fn: str, support: Int64, parts: "list[_Cuts]") -> None:
    """Name the labels of which a fold has nothing to choose by, but for those of `_warn_few`."""
    least = np.min([part.support() for part in parts], axis=0)
    gaps = np.flatnonzero((least == 0) & (support >= FEW_POSITIVES))
    if len(gaps):
        named = ", ".join(str(i) for i in gaps[:10]) + (" and others" if len(gaps) > 10 else "")
        warnings.warn(f"{fn}: `folds` should have a positive of each label in each fold, got one "
                      f"without label {named}", MLClassifyWarning, stacklevel=3)


def _fold_parts(
    fn: str, scores: Float32, targets: UInt8, folds: ArrayLike | None, pooled: bool, seed: int
) -> "list[_Cuts]":
    """Return the cuts of each fold."""
    if pooled:
        return [_Cuts(scores, targets)]
    if folds is None:
        folds = stratified_folds(targets, 3, seed)
    folds = as_array("folds", fn, folds)
    if folds.shape != (len(scores),):
        raise ValueError(f"{fn}: `folds` must have shape ({len(scores)},), got {folds.shape}")
    place = np.searchsorted(np.unique(folds), folds)
    photos = (np.flatnonzero(place == k) for k in range(place.max() + 1))
    return [_Cuts(scores.take(i, axis=0), targets.take(i, axis=0)) for i in photos]


# --- cuts

class _Cuts:
    """All cuts of all labels: after the i highest scores, i from 0 to N, where they may be made.

    Columns are sorted when a method asks for them; `best_f1` needs no more than its C.

    Attributes
    ----------
    ranked : float32 (L, N)
        The scores, from the highest down.
    rows : int32 (L, N)
        Whose they are.
    tp : (L, N + 1)
        True positives above cut i, of the i that are predicted.
    allowed : bool (L, N + 1)
        Not between equal scores.
    """

    def __init__(self, scores: Float32, targets: UInt8) -> None:
        self.scores, self.targets = scores, targets
        self.n, self.n_labels = scores.shape
        self.predicted = np.arange(self.n + 1.0)

    @cached_property
    def _columns(self) -> tuple[Float32, NDArray[np.int32], Float64]:
        ranked = np.empty((self.n_labels, self.n), np.float32)
        rows, tp = np.empty((2, self.n_labels, self.n), np.int32)
        _core.ranked_columns(self.scores, self.targets, ranked, rows, tp)
        return ranked, rows, np.concatenate([np.zeros((self.n_labels, 1)), tp], axis=1)

    @property
    def ranked(self) -> Float32:
        return self._columns[0]

    @property
    def rows(self) -> NDArray[np.int32]:
        return self._columns[1]

    @property
    def tp(self) -> Float64:
        return self._columns[2]

    @property
    def positives(self) -> Float64:
        return self.tp[:, -1:]

    def support(self) -> Int64:
        """Return how many have each label, int64 (L,)."""
        out = np.empty((3, self.n_labels), np.int64)
        _core.label_counts(self.targets, self.targets, out)
        return np.asarray(out[0])

    @cached_property
    def allowed(self) -> Bools:
        return np.pad(self.ranked[:, 1:] != self.ranked[:, :-1], ((0, 0), (1, 1)),
                      constant_values=True)

    def best_f1(self, start: Float64, extra: int = 0) -> tuple[Float64, Float64, Float64]:
        """Return (thresholds of the best `f1`, their f1, that of `start`), float64 (L,)."""
        edges = np.empty((self.n_labels, 2), np.float32)
        counts = np.empty((self.n_labels, 5), np.int64)
        _core.threshold_search(self.scores, self.targets, _as_float32(start, self.n_labels), extra,
                               edges, counts)
        tp, cuts, positives, start_tp, started = counts.T
        below, above = edges.T.astype(np.float64)
        return (_between(below, above, cuts, self.n),
                _ratio(extra + 2 * tp, extra + cuts + positives),
                _ratio(extra + 2 * start_tp, extra + started + positives))

    def f1(self, extra: int = 0) -> Float64:
        """F1 of every cut, (extra + 2 TP) / (extra + predicted + positives), 0 for 0 / 0."""
        return _ratio(extra + 2 * self.tp, extra + self.predicted + self.positives)

    def best(self, values: Float64) -> Int64:
        """Return the first allowed cut of the highest value in each row of (L, N + 1)."""
        return np.asarray(np.argmax(np.where(self.allowed, values, -np.inf), axis=1))

    def thresholds(self, cuts: Int64) -> Float64:
        """Return what lies between the scores around each cut, float64 (L,)."""
        labels, last = np.arange(self.n_labels), self.n - 1
        above = self.ranked[labels, np.clip(cuts - 1, 0, last)].astype(np.float64)
        below = self.ranked[labels, np.clip(cuts, 0, last)].astype(np.float64)
        return _between(below, above, cuts, self.n)

    def at(self, thresholds: Float64) -> Int64:
        """Return how many of each label are above its threshold."""
        return np.asarray((self.scores > _as_float32(thresholds, self.n_labels)).sum(axis=0))


def _between(below: Float64, above: Float64, cuts: Int64, n: int) -> Float64:
    """Return what lies between the scores around cuts of n; beyond the ends, next to the last."""
    with np.errstate(invalid="ignore"):
        between = below + (above - below) / 2
    # Infinite scores have no middle; a middle that rounds up to the score above would lose it.
    between = np.where(np.isfinite(between) & (between < above), between, below)
    between = np.where(cuts == 0, np.nextafter(above, np.inf), between)
    return np.where(cuts == n, np.nextafter(below, -np.inf), between)


def _as_float32(thresholds: ArrayLike, n_labels: int) -> Float32:
    """Return the float32 next below each threshold, or itself: both decide float32 scores alike."""
    thresholds = np.broadcast_to(np.asarray(thresholds, np.float64), n_labels)
    with np.errstate(over="ignore"):
        near = thresholds.astype(np.float32)
    return np.where(near > thresholds, np.nextafter(near, np.float32(-np.inf)), near)


def _ratio(above: AnyArray, below: AnyArray) -> Float64:
    """Divide, 0 for 0 / 0."""
    return np.divide(above, below, out=np.zeros(np.broadcast(above, below).shape), where=below > 0)


def _pick(values: Float64, cuts: Int64) -> Float64:
    return values[np.arange(len(cuts)), cuts]


# --- methods

def _by_fold(fn: str, method: str, parts: list[_Cuts], fbr: ArrayLike | None, start: Float64,
             bar: bool) -> Float64:
    """Return the thresholds of each fold, (folds, L)."""
    if method == "micromacro":
        return _micromacro(parts, bar)
    if method in _ALONE:
        return np.array([_ALONE[method](part, start) for part in _watched(parts, bar)])
    extra = 1 if method == "smoothed" else 0
    found, values = zip(*(_scut(part, start, extra) for part in _watched(parts, bar)))
    if method in ("scut", "smoothed"):
        return np.array(found)
    never = method == "scutfbr0"
    if fbr is None:
        fbr = _best_fbr(parts, found, values, never)
    else:
        fbr = _per_label(fn, "fbr", fbr, parts[0].n_labels)
    return np.array([_raised(p, t, v, fbr, never) for p, t, v in zip(parts, found, values)])


def _watched(items: Collection[T], bar: bool) -> Iterator[T]:
    """Yield folds or labels, one step of a progress bar each."""
    with progress("tune", len(items), bar) as step:
        for item in items:
            yield item
            step()


def _scut(part: _Cuts, start: Float64, extra: int) -> tuple[Float64, Float64]:
    """Return (thresholds, their F1) of a fold; `start` where nothing is better."""
    thresholds, f1, before = part.best_f1(start, extra)
    return np.where(f1 > before, thresholds, start), np.maximum(f1, before)


def _raised(part: _Cuts, thresholds: Float64, values: Float64, fbr: Float64,
            never: bool) -> Float64:
    """Raise the thresholds of labels whose value is not above `fbr`."""
    high = np.inf if never else part.scores.max(axis=0).astype(np.float64)
    return np.where(values > fbr, thresholds, high)


def _best_fbr(parts: list[_Cuts], found: Sequence[Float64], values: Sequence[Float64],
              never: bool) -> Float64:
    """Return the fbr of each label that gives the best F1 on the folds left out, summed.

    The largest of equals; the smallest of the grid where none predicts anything right.
    """
    if len(parts) < 2:
        raise ValueError(
            "find_thresholds: `folds` must be at least two to choose `fbr` by, got one"
        )
    totals = np.zeros((len(FBR_GRID), parts[0].n_labels))
    for k, held_out in enumerate(parts):
        others = [i for i in range(len(parts)) if i != k]
        for g, fbr in enumerate(FBR_GRID):
            mean = _mean([_raised(parts[i], found[i], values[i], fbr, never) for i in others])
            totals[g] += _f1_at(held_out.scores, held_out.targets, mean)
    last = len(FBR_GRID) - 1 - np.argmax(totals[::-1], axis=0)
    return FBR_GRID[np.where(totals.max(axis=0) > 0, last, 0)]


def _micromacro(parts: list[_Cuts], bar: bool) -> Float64:
    """Lin and Lin's: a label's F1 over the labels so far, and micro-F1 with those before it."""
    support: Float64 = np.sum([part.positives[:, 0] for part in parts], axis=0)
    found = np.empty((len(parts), len(support)))
    tp = predicted = positives = 0.0
    order = np.argsort(-support, kind="stable").tolist()
    for done, label in enumerate(_watched(order, bar), start=1):
        best = []
        for k, part in enumerate(parts):
            own, own_positives = part.tp[label], part.positives[label]
            micro = _ratio(2 * (own + tp), part.predicted + predicted + own_positives + positives)
            value = _ratio(2 * own, part.predicted + own_positives) / done + micro
            cut = int(np.argmax(np.where(part.allowed[label], value, -np.inf)))
            best.append((own[cut], cut, own_positives[0]))
            cuts = np.zeros(len(support), np.int64)
            cuts[label] = cut
            found[k, label] = part.thresholds(cuts)[label]
        tp, predicted, positives = (a + sum(b) for a, b in zip((tp, predicted, positives),
                                                                 zip(*best)))
    return found


# --- methods that look at a fold alone, from (cuts, start) to thresholds

def _global(part: _Cuts, start: Float64) -> Float64:
    """The one threshold of the best macro-F1: every step down one label's column changes one F1."""
    gains = np.diff(part.f1(), axis=1).ravel()
    flat = part.ranked.ravel()
    order = np.argsort(-flat, kind="stable")
    flat = flat[order]
    total = np.concatenate([[0.0], np.cumsum(gains[order])])
    total[1:-1][flat[1:] == flat[:-1]] = -np.inf
    pooled = _Cuts(flat[:, None], np.zeros((len(flat), 1), np.uint8))
    return np.full(part.n_labels, pooled.thresholds(np.array([np.argmax(total)]))[0])


def _micro(part: _Cuts, start: Float64) -> Float64:
    """The cuts of the best micro-F1 of all: Dinkelbach (1967), on nonlinear fractional programming.

    F = 2 TP / (predicted + positives) is above q exactly where 2 TP - q (predicted + positives) is
    above 0, which is a sum over labels: each is maximized alone, and q goes up to what that gives.
    """
    positives, q = part.positives.sum(), -1.0
    better = 0.0
    while better > q:
        q = better
        cuts = part.best(2 * part.tp - q * part.predicted)
        better = 2 * _pick(part.tp, cuts).sum() / max(cuts.sum() + positives, 1)
    return part.thresholds(cuts)


def _pcut(part: _Cuts, start: Float64) -> Float64:
    """Predict each label as often as it is there, or as nearly as ties allow."""
    return part.thresholds(part.best(-np.abs(part.predicted - part.positives)))


def _rcut(part: _Cuts, start: Float64) -> Float64:
    """Predict each label as often as it is among the k highest, for the k of the best micro-F1."""
    order = np.argsort(-part.scores, axis=1, kind="stable")
    tp = np.take_along_axis(part.targets, order, axis=1).sum(axis=0, dtype=np.float64).cumsum()
    named = part.n * np.arange(1.0, part.n_labels + 1)
    k = 1 + np.argmax(_ratio(2 * tp, named + tp[-1]))
    wanted = np.bincount(order[:, :k].ravel(), minlength=part.n_labels)
    return part.thresholds(part.best(-np.abs(part.predicted - wanted[:, None])))


def _cyclic_micro(part: _Cuts, start: Float64) -> Float64:
    return _cyclic(part, _micro_values, start)


def _cyclic_samples(part: _Cuts, start: Float64) -> Float64:
    return _cyclic(part, _sample_values, start)


def _cyclic(part: _Cuts, values_of: Callable[[_Cuts, Int64, int], Float64],
            start: Float64) -> Float64:
    """Move one label's cut at a time to where the measure is highest, while it gains."""
    cuts, thresholds = part.at(start), np.broadcast_to(start, part.n_labels).astype(np.float64)
    first: Any = None
    last: Any = None
    while True:
        for label in range(part.n_labels):
            values = values_of(part, cuts, label)
            now = values[cuts[label]]
            first = now if first is None else first
            last = now if last is None else last
            best = int(np.argmax(np.where(part.allowed[label], values, -np.inf)))
            if values[best] > now:
                cuts[label] = best
                thresholds[label] = part.thresholds(cuts)[label]
                now = values[best]
        if now - last <= _TOLERANCE * max(first, _TOLERANCE):
            return thresholds
        last = now


def _micro_values(part: _Cuts, cuts: Int64, label: int) -> Float64:
    """Micro-F1 with each cut of one label, the others as they are."""
    others = np.arange(part.n_labels) != label
    tp = _pick(part.tp, cuts)[others].sum()
    return _ratio(2 * (part.tp[label] + tp),
                  part.predicted + cuts[others].sum() + part.positives.sum())


def _sample_values(part: _Cuts, cuts: Int64, label: int) -> Float64:
    """Mean F1 of the photos with each cut of one label: predicting it changes one photo's F1."""
    targets = part.targets.astype(np.float64)
    mask = np.zeros((part.n, part.n_labels))
    for k in np.flatnonzero(np.arange(part.n_labels) != label):
        mask[part.rows[k, : cuts[k]], k] = 1
    tp, size = (mask * targets).sum(axis=1), mask.sum(axis=1) + targets.sum(axis=1)
    without, with_it = _ratio(2 * tp, size), _ratio(2 * (tp + targets[:, label]), size + 1)
    gain = (with_it - without)[part.rows[label]]
    return np.asarray((without.sum() + np.concatenate([[0.0], np.cumsum(gain)])) / part.n)


_ALONE = {"global": _global, "micro": _micro, "pcut": _pcut, "rcut": _rcut, "cyclic": _cyclic_micro,
          "cyclic_samples": _cyclic_samples}


# --- judging

def _f1_and_support(scores: Float32, targets: UInt8, thresholds: Float64) -> tuple[Float64, Int64]:
    """F1 of each label where scores are above thresholds, 0 for 0 / 0, and how many there are."""
    labels = scores.shape[1]
    predicted = (scores > _as_float32(thresholds, labels)).view(np.uint8)
    _core.label_counts(targets, predicted, counts := np.empty((3, labels), np.int64))
    tp, there, said = counts
    return _ratio(2.0 * tp, there + said), there


def _f1_at(scores: Float32, targets: UInt8, thresholds: Float64) -> Float64:
    return _f1_and_support(scores, targets, thresholds)[0]


def _mean(each: Float64 | list[Float64]) -> Float64:
    return np.asarray(np.mean(each, axis=0))


def _spread(each: Float64) -> Float64:
    with np.errstate(invalid="ignore"):
        return np.asarray(np.std(each, axis=0))
