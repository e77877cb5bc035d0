"""Which dtype a result has, by torch's rules rather than NumPy's.

bool < integers < floats. Tensors with dimensions decide; a tensor without any, and after it a
Python number, counts only where it is of a higher kind. Python floats are float32, Python ints
int64, and integers divided, or handed to exp, give float32.
"""

import functools
from collections.abc import Sequence
from typing import Any, TypeAlias

import numpy as np

DType: TypeAlias = np.dtype[Any]

FLOAT: DType
LONG: DType
BOOL: DType
FLOAT, LONG, BOOL = np.dtype(np.float32), np.dtype(np.int64), np.dtype(np.bool_)
_KIND = {"b": 0, "i": 1, "u": 1, "f": 2}


def result_dtype(operands: Sequence[Any]) -> DType:
    """Return the dtype in which torch computes with `operands`.

    Parameters
    ----------
    operands : sequence of ndarray, NumPy scalar, or Python number

    Returns
    -------
    dtype

    Examples
    --------
    >>> result_dtype([np.ones(2, np.int64), 0.5])
    dtype('float32')
    >>> result_dtype([np.ones(2, np.float32), np.float64(0.5), np.array(0.5)])
    dtype('float32')
    >>> result_dtype([np.ones(2, np.uint8), 1])
    dtype('uint8')
    """
    arrays = [x for x in operands if isinstance(x, np.ndarray)]
    numbers = [_number_dtype(x) for x in operands if not isinstance(x, np.ndarray)]
    with_dims = _widest([x.dtype for x in arrays if x.ndim])
    without = _widest([x.dtype for x in arrays if not x.ndim])
    dtype = _yield_to(_yield_to(with_dims, without), _widest(numbers))
    assert dtype is not None  # noqa: S101  there are operands
    return dtype


def _number_dtype(x: Any) -> DType:
    if isinstance(x, (bool, np.bool_)):
        return BOOL
    return LONG if isinstance(x, (int, np.integer)) else FLOAT


def _widest(dtypes: Sequence[DType]) -> DType | None:
    return functools.reduce(promote, dtypes) if dtypes else None


def _yield_to(strong: DType | None, weak: DType | None) -> DType | None:
    """Return `strong`, unless `weak` is of a higher kind."""
    if strong is None or weak is None:
        return weak if strong is None else strong
    return promote(strong, weak) if _KIND[weak.kind] > _KIND[strong.kind] else strong


def promote(a: DType, b: DType) -> DType:
    """Return the dtype that holds both as torch sees it: an integer never widens a float.

    Examples
    --------
    >>> promote(np.dtype("int64"), np.dtype("float32"))
    dtype('float32')
    """
    if "f" in (a.kind, b.kind) and a.kind != b.kind:
        return a if a.kind == "f" else b
    return np.promote_types(a, b)


@functools.cache
def loop_dtype(ufunc: np.ufunc, dtype: DType) -> DType:
    """Return the dtype in which `ufunc` runs for operands of `dtype`.

    float32 where NumPy would turn integers into some other float, else `dtype`.

    Examples
    --------
    >>> loop_dtype(np.true_divide, LONG), loop_dtype(np.add, LONG)
    (dtype('float32'), dtype('int64'))
    """
    if dtype.kind == "f":
        return dtype
    wanted = (dtype,) * ufunc.nin + (None,) * ufunc.nout
    try:
        resolved = ufunc.resolve_dtypes(wanted)
    except TypeError:  # no loop for it: the call itself will say so
        return dtype
    return FLOAT if resolved[ufunc.nin].kind == "f" else dtype
