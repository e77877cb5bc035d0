"""What metrics of decisions and of rankings ask of their arguments, and how both take means."""

from typing import Any, Literal, TypeAlias

import numpy as np

from mlclassify.arrays import as_array, refuse
from mlclassify.types import AnyArray, ArrayLike, Float64, UInt8

Average: TypeAlias = Literal["macro", "micro", "weighted", "samples"] | None
Scores: TypeAlias = Any  # a float, or float64 (L,) where the average is None

AVERAGES = ("macro", "micro", "weighted", "samples", None)


def check_matrices(fn: str, targets: UInt8, other: AnyArray, name: str) -> tuple[UInt8, AnyArray]:
    """Return two arrays of one shape, (N, L) or (N,), as (N, L); neither N nor L is 0."""
    if targets.ndim not in (1, 2):
        raise ValueError(f"{fn}: `y_true` must have shape (N, L) or (N,), got {targets.shape}")
    if other.shape != targets.shape:
        raise ValueError(f"{fn}: `{name}` must have the shape of `y_true`, got {other.shape} "
                         f"for {targets.shape}")
    if not targets.size:
        raise ValueError(f"{fn}: `y_true` must have at least one photo and one label, got shape "
                         f"{targets.shape}")
    return targets.reshape(len(targets), -1), other.reshape(len(targets), -1)


def check_weights(fn: str, weights: ArrayLike | None, rows: int | None = None) -> Float64 | None:
    """Return weights of photos as float64 (N,), or None."""
    if weights is None:
        return None
    weights = np.ascontiguousarray(as_array("sample_weight", fn, weights), np.float64)
    if weights.ndim != 1 or (rows is not None and len(weights) != rows):
        wanted = "(N,)" if rows is None else f"({rows},)"
        raise ValueError(f"{fn}: `sample_weight` must have shape {wanted}, got {weights.shape}")
    refuse(~(weights >= 0) | np.isinf(weights), "sample_weight", fn,
           "be finite and not negative", weights)
    if not weights.any():
        raise ValueError(f"{fn}: `sample_weight` must not be 0 everywhere, got {len(weights)} "
                         "zeros")
    return weights


def check_zero_division(fn: str, value: Any, warn: bool = False) -> Any:
    """Return `value`: 0, 1 or nan, and "warn" where that is asked for."""
    if warn and isinstance(value, str):
        number = np.asarray(0.0 if value == "warn" else 2.0)
    else:
        number = as_array("zero_division", fn, value)
    if number.ndim or not (number in (0, 1) or np.isnan(number)):
        rule = "'warn', 0, 1 or nan" if warn else "0, 1 or nan"
        raise ValueError(f"{fn}: `zero_division` must be {rule}, got {value!r}")
    return value if isinstance(value, str) else float(number)


def mean_of_defined(scores: Float64, weights: AnyArray | None = None) -> float:
    """Return the mean of the scores that are not NaN, or NaN.

    Like scikit-learn's, weights that leave nothing weigh alike.
    """
    defined = ~np.isnan(scores)
    if not defined.any():
        return float("nan")
    weights = None if weights is None else weights[defined]
    if weights is not None and not weights.sum():
        weights = None
    return float(np.average(scores[defined], weights=weights))
