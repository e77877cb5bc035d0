"""What a threshold may be, and the strict decision."""

from typing import Any

import numpy as np

from mlclassify.arrays import as_array, as_float32, refuse
from mlclassify.tensor import Tensor, as_tensor
from mlclassify.types import ArrayLike


def check_thresh(function: str, thresh: ArrayLike, n_labels: int | None = None,
                 name: str = "thresh") -> Any:
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


def decide(probs: ArrayLike, thresh: ArrayLike) -> Tensor:
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
    x: Tensor = (
        probs if isinstance(probs, Tensor) else as_tensor(as_float32("probs", "decide", probs))
    )
    cut = check_thresh("decide", thresh, n_labels=x.shape[-1] if x.ndim else 1)
    named: Tensor = x > (cut if x.ndim or not cut.ndim else cut[0])
    return named
