"""Probabilities that mean what they say: temperature, Platt's scaling, and how far off they are.

A calibration maps logits x to ``sigmoid(scale * x + shift)``, for all labels or for each. It is
fitted on photos that the model was not trained on. Everywhere here NaN targets are not known and
left out.
"""

from __future__ import annotations

import warnings
from typing import TYPE_CHECKING, Any, Literal, Self, TypeAlias

import numpy as np

from mlclassify.arrays import as_array, refuse
from mlclassify.checks import MLClassifyWarning, check_choice, check_whole
from mlclassify.plot import new_axes
from mlclassify.tensor import Tensor
from mlclassify.types import ArrayLike, Bools, Float64, Int64

if TYPE_CHECKING:
    from matplotlib.axes import Axes

Strategy: TypeAlias = Literal["uniform", "quantile"]

TEMPERATURES = (0.01, 100.0)
_STEPS, _TOLERANCE, _ROUNDING = 100, 1e-14, 1e-13  # the last two of the loss


class Calibration:
    """What was fitted: a number each for all labels, or one a label.

    Parameters
    ----------
    scale, shift : float or array_like (L,)
        Finite; both of one shape.

    Attributes
    ----------
    scale, shift : float64 ndarray, () or (L,)

    Examples
    --------
    >>> halved = Calibration(0.5, 0.0)
    >>> halved([[2.0, -2.0]])
    tensor([[0.7311, 0.2689]])
    >>> Calibration.from_dict(halved.to_dict())
    Calibration(scale=0.5, shift=0)
    """

    def __init__(self, scale: ArrayLike, shift: ArrayLike) -> None:
        self.scale, self.shift = (
            np.array(as_array(name, "Calibration", value), np.float64)
            for name, value in (("scale", scale), ("shift", shift))
        )
        for name, array in (("scale", self.scale), ("shift", self.shift)):
            refuse(~np.isfinite(array), name, "Calibration", "be finite", array)
        if self.scale.ndim > 1 or self.scale.shape != self.shift.shape:
            raise ValueError(
                "Calibration: `scale` and `shift` must be numbers or both of shape (L,), "
                f"got {self.scale.shape} and {self.shift.shape}"
            )

    def __repr__(self) -> str:
        shown = (np.array2string(a, precision=4, threshold=6) if a.ndim else f"{a:g}"
                 for a in (self.scale, self.shift))
        return "Calibration(scale={}, shift={})".format(*shown)

    def __call__(self, logits: ArrayLike) -> Tensor:
        """Return calibrated probabilities, a float32 Tensor of the shape of `logits` (..., L)."""
        x = as_array("logits", "Calibration", logits).astype(np.float64)
        if self.scale.ndim and x.shape[-1:] != self.scale.shape:
            raise ValueError(
                f"Calibration: `logits` must have {len(self.scale)} labels along the last "
                f"dimension, got shape {x.shape}"
            )
        return Tensor(_sigmoid(self.scale * x + self.shift))

    def to_dict(self) -> dict[str, Any]:
        """Return what JSON can hold."""
        return {"scale": self.scale.tolist(), "shift": self.shift.tolist()}

    @classmethod
    def from_dict(cls, saved: Any) -> Self:
        """Undo `to_dict`; ValueError or TypeError for anything else."""
        if not isinstance(saved, dict) or set(saved) != {"scale", "shift"}:
            raise ValueError(f"Calibration: `saved` must have scale and shift, got {saved!r}")
        return cls(**saved)


def fit_temperature(logits: ArrayLike, targs: ArrayLike, per_label: bool = False) -> Calibration:
    """Fit the temperature T of ``sigmoid(logits / T)`` (Guo et al., ICML 2017) by least log loss.

    Parameters
    ----------
    logits : array_like (N, L)
        Of photos that were not trained on.
    targs : array_like (N, L)
        In [0, 1]; NaN where it is not known.
    per_label : bool
        One temperature a label instead of one for all.

    Returns
    -------
    Calibration
        ``1 / T`` is its `scale`. T stays in [0.01, 100]; a warning says where it would leave.

    Raises
    ------
    ValueError
        The shapes differ, nothing is known, a logit is not finite, a target outside [0, 1].

    Examples
    --------
    >>> fit_temperature([[2.0], [2.0], [2.0], [-2.0]], [[1], [1], [0], [0]])
    Calibration(scale=0.549306, shift=0)
    """
    fn = "fit_temperature"
    x, t, known = _checked(fn, "logits", logits, targs)
    if not per_label:
        x, t, known = x.reshape(-1, 1), t.reshape(-1, 1), known.reshape(-1, 1)
    scale, shift = _newton(x, t, known, with_shift=False)
    larger, smaller = (x > 0) & (t > 0) | (x < 0) & (t < 1), (x > 0) & (t < 1) | (x < 0) & (t > 0)
    scale = np.where((smaller & known).any(0), scale, np.inf)  # what each cell asks for
    scale = np.where((larger & known).any(0), scale, 0.0)
    low, high = (1 / limit for limit in reversed(TEMPERATURES))
    bounded = np.clip(scale, low, high)
    _warn(fn, bounded != scale, per_label,
          "no temperature of [0.01, 100] is best: scores that part the labels without a mistake "
          "want 0, scores that order them the wrong way infinity")
    return Calibration(bounded, shift) if per_label else Calibration(bounded[0], shift[0])


def fit_platt(logits: ArrayLike, targs: ArrayLike) -> Calibration:
    """Fit ``sigmoid(scale * logits + shift)`` to each label by least log loss (Platt, 1999).

    As there, n present labels count as ``(n + 1) / (n + 2)`` and n absent ones as ``1 / (n + 2)``,
    so that scores which part the labels without a mistake have a best fit too.

    Parameters
    ----------
    logits, targs
        As in `fit_temperature`.

    Returns
    -------
    Calibration
        A label that is always there, or never, keeps its probabilities, with a warning. A warning
        names labels whose scores order the photos the wrong way, too.

    Raises
    ------
    ValueError
        As in `fit_temperature`.

    Examples
    --------
    >>> fit_platt([[2.0], [1.0], [-1.0], [0.5]], [[1], [1], [0], [0]])
    Calibration(scale=[0.8442], shift=[-0.5467])
    """
    fn = "fit_platt"
    x, t, known = _checked(fn, "logits", logits, targs)
    present, absent = (t * known).sum(0), ((1 - t) * known).sum(0)
    smoothed = t * (present + 1) / (present + 2) + (1 - t) / (absent + 2)
    scale, shift = _newton(x, smoothed, known, with_shift=True)
    one_kind = (present == 0) | (absent == 0)
    scale[one_kind], shift[one_kind] = 1, 0
    _warn(fn, one_kind, True, "always there or never, so they are left as they are")
    _warn(fn, scale < 0, True, "their scores order the photos the wrong way")
    return Calibration(scale, shift)


def expected_calibration_error(
    probs: ArrayLike, targs: ArrayLike, *, n_bins: int = 15, strategy: Strategy = "uniform",
    average: Literal["macro"] | None = "macro"
) -> Any:
    """Return how far probabilities are from what happens, in bins of each label.

    The sum over bins of ``n_bin / N * |mean probability - share of present labels|``.

    Parameters
    ----------
    probs : array_like (N, L)
    targs : array_like (N, L)
        0 and 1; NaN where it is not known.
    n_bins : int, default 15
    strategy : {"uniform", "quantile"}
        Bins of equal width: ``[k / n_bins, (k + 1) / n_bins)``, the last with 1. Or cut at the
        quantiles of each label's probabilities, so that about as many fall into each; equal ones
        into one.
    average : {"macro", None}
        The mean over labels, or one number a label, NaN where none is known.

    Returns
    -------
    float, or float64 ndarray (L,)

    Raises
    ------
    ValueError
        The shapes differ, nothing is known, a probability lies outside [0, 1] or a target is
        something else than 0 and 1.

    Examples
    --------
    >>> round(expected_calibration_error([[0.875], [0.875], [0.125]], [[1], [0], [0]]), 6)
    0.291667
    """
    fn = "expected_calibration_error"
    check_choice(fn, "average", average, ("macro", None))
    count, prob, present = _bins(fn, probs, targs, n_bins, strategy)
    total = count.sum(1)
    errors = np.full(len(total), np.nan)
    np.divide(np.abs(prob - present).sum(1), total, out=errors, where=total > 0)
    return errors if average is None else float(np.nanmean(errors))


def reliability_curve(
    probs: ArrayLike, targs: ArrayLike, *, n_bins: int = 10, strategy: Strategy = "uniform"
) -> tuple[Float64, Float64, Int64]:
    """Return, of all labels together, what was said and what happened in each bin.

    Parameters
    ----------
    probs, targs, n_bins, strategy
        As in `expected_calibration_error`. A vector, or one column, is one label.

    Returns
    -------
    prob, present : float64 ndarray (bins,)
        Mean probability and share of present labels; bins without a probability are left out.
    count : int64 ndarray (bins,)

    Examples
    --------
    >>> reliability_curve([0.5, 0.5, 0.25], [1, 0, 0])
    (array([0.25, 0.5 ]), array([0. , 0.5]), array([1, 2]))
    """
    fn = "reliability_curve"
    p, t = as_array("probs", fn, probs), as_array("targs", fn, targs)
    if p.shape == t.shape:  # else the message is of the shapes as they came
        p, t = p.reshape(-1), t.reshape(-1)
    count, prob, present = (a[0] for a in _bins(fn, p, t, n_bins, strategy))
    full = count > 0
    return prob[full] / count[full], present[full] / count[full], count[full]


def plot_reliability(
    probs: ArrayLike, targs: ArrayLike, *, n_bins: int = 10, strategy: Strategy = "uniform",
    ax: Axes | None = None, figsize: tuple[float, float] | None = None
) -> Axes:
    """Draw `reliability_curve`: calibrated probabilities lie on the diagonal.

    The area of a point is the share of probabilities in its bin.

    Parameters
    ----------
    probs, targs, n_bins, strategy
        As in `reliability_curve`.
    ax : matplotlib Axes, optional
    figsize : tuple of 2 floats, optional
        Inches of a new figure.

    Returns
    -------
    Axes
    """
    prob, present, count = reliability_curve(probs, targs, n_bins=n_bins, strategy=strategy)
    ax = new_axes(ax, figsize or (5, 5))
    ax.plot([0, 1], [0, 1], linestyle="--", color="0.5")
    ax.plot(prob, present)
    ax.scatter(prob, present, s=400 * count / count.sum())
    ax.set_xlabel("probability")
    ax.set_ylabel("share of present labels")
    return ax


# --- shared


def _sigmoid(z: Float64) -> Float64:
    """The sigmoid in float64, without overflow."""
    return np.exp(-np.logaddexp(0, -z))


def _checked(fn: str, name: str, x: ArrayLike, targs: ArrayLike) -> tuple[Float64, Float64, Bools]:
    """Return (x, targets, known) as float64 (N, L), targets 0 where they are not known."""
    x, t = as_array(name, fn, x).astype(np.float64), as_array("targs", fn, targs).astype(np.float64)
    if x.ndim not in (1, 2) or x.shape != t.shape:
        raise ValueError(
            f"{fn}: `{name}` and `targs` must have one shape (N, L) or (N,), "
            f"got {x.shape} and {t.shape}"
        )
    refuse(~np.isfinite(x), name, fn, "be finite", x)
    refuse((t < 0) | (t > 1), "targs", fn, "lie in [0, 1]", t)
    known = ~np.isnan(t)
    if not known.any():
        raise ValueError(f"{fn}: `targs` must hold a target that is known, got none")
    columns = (-1, x.shape[1] if x.ndim == 2 else 1)
    t = np.where(known, t, 0.0)
    return x.reshape(columns), t.reshape(columns), known.reshape(columns)


def _warn(fn: str, where: Bools, per_label: bool, what: str) -> None:
    if np.any(where):
        labels = f" for the labels {np.flatnonzero(where).tolist()}" if per_label else ""
        warnings.warn(f"{fn}: {what}{labels}", MLClassifyWarning, stacklevel=3)


def _log_loss(a: Float64, b: Float64, x: Float64, t: Float64, known: Bools) -> Float64:
    z = a * x + b
    return np.asarray(((np.logaddexp(0, z) - t * z) * known).sum(0))


def _newton(x: Float64, t: Float64, known: Bools, with_shift: bool) -> tuple[Float64, Float64]:
    """Return the `scale` and `shift` (L,) of least log loss of each column, by Newton's method.

    The loss is convex in both. Scores are centred and brought to one size first, so that the start,
    probabilities of 1/2, is a good one; a step is halved until the loss falls as Armijo asks, or
    by less than its sum is rounded.
    """
    count = np.maximum(known.sum(0), 1)
    center = (x * known).sum(0) / count * with_shift
    x = (x - center) * known
    size = np.sqrt((x * x).sum(0) / count)
    size[size == 0] = 1
    x = x / size
    a, b = np.zeros((2, x.shape[1]))
    loss = _log_loss(a, b, x, t, known)
    for _ in range(_STEPS):
        step_a, step_b, gain = _direction(a, b, x, t, known, with_shift)
        length, short = np.ones_like(a), np.ones_like(a, bool)
        while short.any() and length.min() > 1e-12:
            after = _log_loss(a - length * step_a, b - length * step_b, x, t, known)
            short = ~(after <= loss * (1 + _ROUNDING) - 1e-4 * length * gain)
            length[short] /= 2
        length[short] = 0  # no better within rounding
        a, b = a - length * step_a, b - length * step_b
        loss = np.where(short, loss, after)
        if not (~short & (gain > _TOLERANCE * loss)).any():
            break
    return a / size, b - a / size * center


def _direction(
    a: Float64, b: Float64, x: Float64, t: Float64, known: Bools, with_shift: bool
) -> tuple[Float64, Float64 | float, Float64]:
    """Return Newton's step for a and for b, and by how much the loss would fall to first order."""
    p = _sigmoid(a * x + b)
    residual, curve = (p - t) * known, p * (1 - p) * known
    da, haa = (residual * x).sum(0), (curve * x * x).sum(0) + np.finfo(float).tiny
    if not with_shift:
        return da / haa, 0.0, da * da / haa
    db, hab, hbb = residual.sum(0), (curve * x).sum(0), curve.sum(0) + np.finfo(float).tiny
    ratio = hab / hbb
    rest = np.maximum(haa - ratio * hab, 1e-12 * hbb)  # not 0 where all scores are equal
    step_a = (da - ratio * db) / rest
    step_b = (db - hab * step_a) / hbb
    return step_a, step_b, da * step_a + db * step_b


def _bins(fn: str, probs: ArrayLike, targs: ArrayLike, n_bins: int,
          strategy: Strategy) -> tuple[Int64, Float64, Float64]:
    """Return of each label and bin (L, n_bins): count, sum of probabilities, of present labels."""
    n_bins = check_whole(fn, "n_bins", n_bins, at_least=1)
    check_choice(fn, "strategy", strategy, ("uniform", "quantile"))
    p, t, known = _checked(fn, "probs", probs, targs)
    refuse((p < 0) | (p > 1), "probs", fn, "lie in [0, 1] (of logits: their sigmoid)", p)
    refuse((t != 0) & (t != 1), "targs", fn, "hold only 0, 1 and NaN", t)
    if strategy == "uniform":
        bins = np.minimum((p * n_bins).astype(np.int64), n_bins - 1)
    else:
        bins = np.stack([_quantile_bins(*column, n_bins) for column in zip(p.T, known.T)], axis=1)
    at = (np.arange(p.shape[1]) * n_bins + bins)[known]
    size = p.shape[1] * n_bins
    count: Int64 = np.bincount(at, minlength=size).reshape(-1, n_bins)
    prob, present = (np.asarray(np.bincount(at, w, size).reshape(-1, n_bins), np.float64)
                     for w in (p[known], t[known]))
    return count, prob, present


def _quantile_bins(p: Float64, known: Bools, n_bins: int) -> Int64:
    if not known.any():
        return np.zeros(len(p), np.int64)
    edges = np.quantile(p[known], np.arange(1, n_bins) / n_bins)
    return np.searchsorted(edges, p, side="right")
