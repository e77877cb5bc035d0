"""What a user has in hand becomes what C takes; C itself refuses rather than converts.

Lists, float64, strided views, pandas columns and torch tensors (by ``__array__`` or DLPack) come
in; C-contiguous plain arrays of one dtype go out. A copy is made only where it is needed. Every
function is handed the name of the argument and of the caller, for its message.
"""

from typing import Any

import numpy as np

from mlclassify.types import AnyArray, ArrayLike, Float32, UInt8


def as_array(name: str, fn: str, x: Any) -> AnyArray:
    """Return `x` as a plain ndarray of numbers, of whatever dtype it has.

    Parameters
    ----------
    name, fn : str
        The argument and the function that the message names.
    x : array_like, torch tensor, or list of such

    Returns
    -------
    ndarray of bool, int, uint or float, sharing memory with `x` where that is possible

    Raises
    ------
    TypeError
        `x` holds something else than numbers.
    ValueError
        The rows of a list differ in length.

    Examples
    --------
    >>> as_array("x", "f", [[1, 2], [3, 4]]).shape
    (2, 2)
    >>> as_array("x", "f", "bear")
    Traceback (most recent call last):
    ...
    TypeError: f: `x` must hold numbers, got 'bear'
    """
    try:
        array = _convert(x)
    except ValueError as error:
        raise ValueError(
            f"{fn}: `{name}` must have rows of one length, got {_short(x)}"
        ) from error
    if array.dtype.kind not in "biuf":
        raise TypeError(f"{fn}: `{name}` must hold numbers, got {_short(x)}")
    return array


def _convert(x: Any) -> AnyArray:
    if isinstance(x, (list, tuple)) and any(_is_foreign(item) for item in x):
        return np.stack([_convert(item) for item in x])
    if _is_foreign(x):
        # A torch tensor that wants gradients or lives elsewhere refuses to be an array.
        for method in ("detach", "cpu"):
            x = getattr(x, method)() if hasattr(x, method) else x
        if not hasattr(x, "__array__"):
            return np.from_dlpack(x)
    return np.asarray(x)


def _is_foreign(x: object) -> bool:
    """Whether `x` is an array of another library."""
    if isinstance(x, (np.ndarray, np.generic)):
        return False
    return hasattr(x, "__dlpack__") or hasattr(x, "__array__")


def _short(x: object) -> str:
    text = repr(x)
    return text if len(text) <= 60 else f"{text[:57]}..."


def as_float32(name: str, fn: str, x: ArrayLike) -> Float32:
    """Return `x` as a C-contiguous float32 ndarray of the same shape.

    float64 beyond the range of float32 becomes infinite. Raises as `as_array` does.

    Examples
    --------
    >>> as_float32("x", "f", [1, 2]).dtype
    dtype('float32')
    """
    with np.errstate(over="ignore"):
        return np.asarray(as_array(name, fn, x), dtype=np.float32, order="C")


def as_matrix(name: str, fn: str, x: ArrayLike) -> Float32:
    """Return `x` as C-contiguous float32 (N, L); a vector is N photos with one label each.

    Raises
    ------
    ValueError
        `x` has no or more than two dimensions. Else as `as_array`.

    Examples
    --------
    >>> as_matrix("scores", "f", [0.5, 1.5, 2.5]).shape
    (3, 1)
    """
    array = as_float32(name, fn, x)
    if array.ndim not in (1, 2):
        raise ValueError(f"{fn}: `{name}` must have shape (N, L) or (N,), got {array.shape}")
    return array if array.ndim == 2 else array[:, None]


def as_uint8_mask(name: str, fn: str, x: ArrayLike, strict: bool = False) -> UInt8:
    """Return which cells of `x` are not zero, as C-contiguous uint8 0 and 1 of the same shape.

    It shares memory with `x` where `x` is that already.

    Parameters
    ----------
    name, fn : str
        The argument and the function that the message names.
    x : array_like
        A label is present where it is not 0, as fastai's ``targ.bool()`` has it.
    strict : bool, default False
        Refuse everything but 0 and 1, for metrics that have no meaning on soft targets.

    Raises
    ------
    ValueError
        A cell is NaN, or with `strict` neither 0 nor 1. Else as `as_array`.

    Examples
    --------
    >>> as_uint8_mask("targs", "f", [0.0, 0.3, 1.0])
    array([0, 1, 1], dtype=uint8)
    """
    array = as_array(name, fn, x)
    if array.dtype in (bool, np.uint8) and (not array.size or array.max() <= 1):
        return np.asarray(array, order="C").view(np.uint8)  # what most targets are: no copy
    refuse(np.isnan(array), name, fn, "not be NaN", array)
    if strict:
        refuse((array != 0) & (array != 1), name, fn, "hold only 0 and 1", array)
    return np.asarray(array != 0, dtype=np.uint8, order="C")


def refuse(bad: ArrayLike, name: str, fn: str, rule: str, array: AnyArray) -> None:
    """Raise ValueError at the first cell of `array` where the mask `bad` is set.

    Examples
    --------
    >>> x = np.array([1.0, -2.0])
    >>> refuse(x < 0, "weight", "f", "not be negative", x)
    Traceback (most recent call last):
    ...
    ValueError: f: `weight` must not be negative, got -2.0 at index 1
    """
    if not np.any(bad):
        return
    place = tuple(int(i) for i in np.argwhere(bad)[0])
    where = f" at index {place[0] if len(place) == 1 else place}" if place else ""
    raise ValueError(f"{fn}: `{name}` must {rule}, got {array[place].item()}{where}")


def refuse_nan(name: str, fn: str, array: AnyArray) -> None:
    """Raise ValueError at the first NaN of `array`.

    Examples
    --------
    >>> refuse_nan("scores", "f", np.array([1.0, np.nan]))
    Traceback (most recent call last):
    ...
    ValueError: f: `scores` must not be NaN, got nan at index 1
    """
    with np.errstate(invalid="ignore"):
        highest = array.max(initial=-np.inf) if array.dtype.kind == "f" else 0.0
    if np.isnan(highest):  # one pass that allocates nothing finds out
        refuse(np.isnan(array), name, fn, "not be NaN", array)


def images_to_c(x: ArrayLike) -> Float32:
    """Return a batch of images as float32 (N, 3, H, W), a transposed view of NHWC memory.

    Parameters
    ----------
    x : array_like (N, 3, H, W)
        Of any dtype and memory layout.

    Returns
    -------
    float32 (N, 3, H, W)
        `x` itself where it already has that layout, else a copy.

    Raises
    ------
    ValueError
        `x` has another shape.

    Examples
    --------
    >>> images_to_c(np.zeros((2, 3, 8, 8))).transpose(0, 2, 3, 1).flags.c_contiguous
    True
    """
    array = as_array("x", "images_to_c", x)
    if array.ndim != 4 or array.shape[1] != 3:
        raise ValueError(f"images_to_c: `x` must have shape (N, 3, H, W), got {array.shape}")
    nhwc = np.ascontiguousarray(array.transpose(0, 2, 3, 1), dtype=np.float32)
    return nhwc.transpose(0, 3, 1, 2)
