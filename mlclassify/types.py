"""The types that the signatures of the package speak of; nothing here does anything."""

import os
from collections.abc import Callable
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import ArrayLike, NDArray

__all__ = [
    "AnyArray", "ArrayLike", "Bools", "FigSize", "FloatArray", "Float32", "Float64", "Function",
    "Int64", "StrPath", "UInt8",
]

Float32: TypeAlias = NDArray[np.float32]
Float64: TypeAlias = NDArray[np.float64]
FloatArray: TypeAlias = NDArray[np.floating[Any]]
Int64: TypeAlias = NDArray[np.int64]
UInt8: TypeAlias = NDArray[np.uint8]
Bools: TypeAlias = NDArray[np.bool_]
AnyArray: TypeAlias = NDArray[Any]

FigSize: TypeAlias = tuple[float, float]  # inches of a figure
StrPath: TypeAlias = str | os.PathLike[str]
Function: TypeAlias = Callable[..., Any]
