"""The only owner of thresholds: what is tuned is what decides.

A threshold is on probabilities, a float32 scalar or one a label, in [0, 1] or -inf (always) or
+inf (never), and it is exceeded strictly: a label is predicted where ``p > thresh``.
"""

import numpy as np

from mlclassify import _core
from mlclassify.arrays import as_array, as_float32, as_uint8_mask, refuse
from mlclassify.tensor import Tensor, as_tensor, linspace


def check_thresh(function, thresh, n_labels=None, name="thresh"):
    """Return a threshold as float32, or raise in the name of `function`.

    Parameters
    ----------
    function : str
    thresh : float or array_like (L,)
    n_labels : int, optional
        How many a threshold a label must be.
    name : str
        Of the argument, for the message.

    Returns
    -------
    float32 scalar or ndarray (L,)
        The nearest float32 to each, as torch compares; -inf and inf stay.

    Raises
    ------
    ValueError
        A threshold is NaN, finite and outside [0, 1], or their number is wrong.
    TypeError
        `thresh` holds no numbers.

    Examples
    --------
    >>> float(check_thresh("f", 0.5)), check_thresh("f", [0.25, np.inf], n_labels=2)
    (0.5, array([0.25,  inf], dtype=float32))
    >>> check_thresh("BCEWithLogitsLossFlat", 95)
    Traceback (most recent call last):
    ...
    ValueError: BCEWithLogitsLossFlat: `thresh` must lie in [0, 1] or be -inf or inf, got 95
    """
    array = as_array(name, function, thresh)
    if array.dtype.kind == "b":
        raise TypeError(f"{function}: `{name}` must hold numbers, got {thresh!r}")
    wrong = ~((array >= 0) & (array <= 1) | np.isinf(array))
    refuse(wrong, name, function, "lie in [0, 1] or be -inf or inf", array)
    many = array.ndim == 1 and len(array) > 0 and n_labels in (None, len(array))
    if array.ndim and not many:
        wanted = "(L,)" if n_labels is None else f"({n_labels},)"
        raise ValueError(
            f"{function}: `{name}` must be one number or have shape {wanted}, got {array.shape}"
        )
    return array.astype(np.float32)[()]


def decide(probs, thresh):
    """Return which labels are predicted: ``probs > thresh``, strictly.

    Parameters
    ----------
    probs : array_like (..., L)
        Probabilities. NaN is never predicted.
    thresh : float or (L,)

    Returns
    -------
    bool Tensor of the shape of `probs`

    Raises
    ------
    ValueError
        As `check_thresh`.

    Examples
    --------
    >>> decide([[0.5806, 0.0633, 0.8982]], 0.5)
    tensor([[ True, False,  True]])
    >>> decide([0.5, 0.5, 0.5], [0.4, 0.5, 0.6])
    tensor([ True, False, False])
    """
    probs = probs if isinstance(probs, Tensor) else as_tensor(as_float32("probs", "decide", probs))
    thresh = check_thresh("decide", thresh, n_labels=probs.shape[-1] if probs.ndim else 1)
    return probs > (thresh if probs.ndim or not thresh.ndim else thresh[0])


def sweep(probs, targs, thresholds):
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
    scores = as_float32("probs", "sweep", probs).reshape(-1, 1)
    present = as_uint8_mask("targs", "sweep", targs).reshape(-1, 1)
    thresholds = np.atleast_1d(check_thresh("sweep", thresholds, name="thresholds"))
    if len(scores) != len(present) or not len(scores):
        raise ValueError(
            f"sweep: `targs` must have as many cells as `probs` ({len(scores)}), at least one, "
            f"got {len(present)}"
        )
    refuse(np.isnan(scores), "probs", "sweep", "not be NaN", scores)
    counts = [_core.accuracy_count(scores, present, t) for t in thresholds[:, None]]
    return np.array(counts, dtype=np.float64) / len(scores)


def best_threshold(probs, targs, thresholds=None):
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
