"""The names of torch that a notebook of the post's kind uses; `vision.all` exports it as ``torch``.

The class is in `ndtensor`, ``F`` and ``nn`` in `functional`; makers of tensors are here. Most
functions of torch are methods as well: those are looked up in `_METHODS` (and dtypes that are
called as Python's types in `_ALIASES`), so that ``torch.sum`` exists without hiding ``sum`` here.
"""

import contextlib
import functools
import math
from collections.abc import Iterable, Sequence
from typing import Any, Literal, Self

import numpy as np
from numpy.typing import DTypeLike

from mlclassify import rng
from mlclassify.arrays import as_array
from mlclassify.functional import (
    BCELoss,
    BCEWithLogitsLoss,
    F,
    Namespace,
    binary_cross_entropy_with_logits,
    binary_cross_entropy_with_logits_value_and_grad,
    nn,
    relu,
    sigmoid,
    unknown_name,
    value_and_grad,
)
from mlclassify.ndtensor import (
    Size,
    Tensor,
    TensorBase,
    TensorImage,
    TensorMultiCategory,
    check_device,
    flatten_check,
    refuse_autograd,
)
from mlclassify.printing import set_printoptions
from mlclassify.promotion import result_dtype
from mlclassify.types import AnyArray, ArrayLike, Float64, Function

float16, float32, float64 = np.dtype(np.float16), np.dtype(np.float32), np.dtype(np.float64)
int8, int16, int32, int64 = (np.dtype(f"int{bits}") for bits in (8, 16, 32, 64))
uint8 = np.dtype(np.uint8)
inf, nan, pi, e = math.inf, math.nan, math.pi, math.e

_ALIASES = {
    "bool": np.dtype(np.bool_), "double": float64, "float": float32, "half": float16,
    "int": int32, "long": int64, "short": int16,
}  # fmt: skip

_METHODS = (
    "abs", "add", "all", "allclose", "amax", "amin", "any", "argmax", "argmin", "argsort", "ceil",
    "clamp", "clip", "clone", "cumsum", "div", "eq", "equal", "exp", "flatten", "floor", "ge",
    "gt", "isfinite", "isinf", "isnan", "le", "log", "log1p", "log2", "logical_and",
    "logical_not", "logical_or", "logical_xor", "lt", "matmul", "max", "maximum", "mean", "min",
    "minimum", "mul", "ne", "neg", "nonzero", "numel", "permute", "pow", "prod", "reshape",
    "round", "softmax", "sort", "sqrt", "square", "squeeze", "std", "sub", "sum", "t", "tanh",
    "topk", "transpose", "unsqueeze", "var",
)  # fmt: skip

__all__ = (
    "BCELoss", "BCEWithLogitsLoss", "F", "Size", "Tensor", "TensorBase", "TensorImage",
    "TensorMultiCategory", "arange", "as_tensor", "binary_cross_entropy_with_logits",
    "binary_cross_entropy_with_logits_value_and_grad", "cat", "cuda", "device", "e", "eye",
    "flatten_check", "float16", "float32", "float64", "from_numpy", "full", "inf", "int16",
    "int32", "int64", "int8", "is_tensor", "linspace", "manual_seed", "nan", "nn", "no_grad",
    "ones", "ones_like", "pi", "rand", "randn", "relu", "set_printoptions", "sigmoid", "stack",
    "tensor", "uint8", "value_and_grad", "where", "zeros", "zeros_like",
)  # fmt: skip


def __getattr__(name: str) -> Any:
    if name in _ALIASES:
        return _ALIASES[name]
    if name in _METHODS:
        return _as_function(name)
    raise AttributeError(unknown_name("torch (mlclassify.tensor)", name, __dir__()))


def __dir__() -> list[str]:
    return sorted({*_ALIASES, *_METHODS, *__all__})


@functools.cache
def _as_function(name: str) -> Function:
    method = getattr(Tensor, name)

    @functools.wraps(method)
    def function(input: ArrayLike, *args: Any, **kwargs: Any) -> Any:
        return method(as_tensor(input), *args, **kwargs)

    return function


# -- tensors from what the user has ---------------------------------------------------------------


def tensor(data: ArrayLike, *rest: ArrayLike, dtype: DTypeLike | None = None, device: object = None,
           requires_grad: bool = False) -> Tensor:
    """Return a new tensor that holds a copy of the data.

    Parameters
    ----------
    data, *rest : array_like
        Several positionals are the rows of one tensor, as in fastai. Lists of tensors do too.
    dtype : dtype, optional
        Unset: float64 becomes float32, everything else stays.
    device : optional
        "cpu" or None.
    requires_grad : bool
        True raises: there is no autograd here.

    Returns
    -------
    Tensor

    Raises
    ------
    TypeError, ValueError
        The data are not numbers, or rows differ in length.

    Examples
    --------
    >>> tensor([0.9, 0.1], [0.25, 0.5])
    tensor([[0.9000, 0.1000],
            [0.2500, 0.5000]])
    >>> tensor([1, 0, 1]), tensor(0.5), tensor([])
    (tensor([1, 0, 1]), tensor(0.5000), tensor([]))
    """
    check_device("tensor", device)
    refuse_autograd("tensor", requires_grad)
    array = as_array("data", "tensor", (data, *rest) if rest else data)
    if dtype is None:
        dtype = float32 if array.dtype in (np.float64, np.uint16) else array.dtype
    with np.errstate(all="ignore"):
        return _view(array.astype(dtype))


def as_tensor(data: ArrayLike, dtype: DTypeLike | None = None) -> Tensor:
    """Return `data` as a tensor, sharing memory where possible; an array keeps its float64.

    Examples
    --------
    >>> as_tensor(np.zeros(2))
    tensor([0., 0.], dtype=torch.float64)
    """
    if not isinstance(data, np.ndarray):
        return tensor(data, dtype=dtype)
    if isinstance(data, Tensor):
        return data if dtype is None else data.to(dtype)
    array = as_array("data", "as_tensor", data)
    return _view(array if dtype is None else array.astype(dtype, copy=False))


def from_numpy(array: AnyArray) -> Tensor:
    """Return a tensor that shares the memory of an ndarray.

    Raises
    ------
    TypeError
        `array` is no ndarray.

    Examples
    --------
    >>> from_numpy(np.arange(3))
    tensor([0, 1, 2])
    """
    if not isinstance(array, np.ndarray):
        raise TypeError(f"from_numpy: `array` must be an ndarray, got {type(array).__name__}")
    return as_tensor(array)


def is_tensor(obj: object) -> bool:
    """Return whether `obj` is a Tensor of this package.

    Examples
    --------
    >>> is_tensor(tensor(1)), is_tensor(np.ones(1))
    (True, False)
    """
    return isinstance(obj, Tensor)


def _view(array: ArrayLike) -> Tensor:
    return np.ndarray.view(np.asarray(array), Tensor)


# -- tensors of given shape -----------------------------------------------------------------------


def zeros(*size: Any, dtype: DTypeLike = float32) -> Tensor:
    """Return zeros.

    Examples
    --------
    >>> zeros(2, 3).shape, zeros((2, 3)).shape
    (torch.Size([2, 3]), torch.Size([2, 3]))
    """
    return _view(np.zeros(_size(size), dtype))


def ones(*size: Any, dtype: DTypeLike = float32) -> Tensor:
    """Return ones.

    Examples
    --------
    >>> ones(2)
    tensor([1., 1.])
    """
    return _view(np.ones(_size(size), dtype))


def full(size: int | Sequence[int], fill_value: float, dtype: DTypeLike | None = None) -> Tensor:
    """Return a tensor filled with one number, of the dtype that ``tensor(fill_value)`` has.

    Examples
    --------
    >>> full((2,), 7)
    tensor([7, 7])
    """
    value = tensor(fill_value, dtype=dtype)
    return _view(np.full(_size((size,)), value, value.dtype))


def zeros_like(input: ArrayLike, dtype: DTypeLike | None = None) -> Tensor:
    """Return zeros of the shape and dtype of `input`.

    Examples
    --------
    >>> zeros_like(tensor([1, 2]))
    tensor([0, 0])
    """
    return _view(np.zeros_like(as_tensor(input).numpy(), dtype))


def ones_like(input: ArrayLike, dtype: DTypeLike | None = None) -> Tensor:
    """Return ones of the shape and dtype of `input`.

    Examples
    --------
    >>> ones_like(tensor([0.5, 2]))
    tensor([1., 1.])
    """
    return _view(np.ones_like(as_tensor(input).numpy(), dtype))


def eye(n: int, m: int | None = None, dtype: DTypeLike = float32) -> Tensor:
    """Return the unit matrix, (n, n) or (n, m).

    Examples
    --------
    >>> eye(2)
    tensor([[1., 0.],
            [0., 1.]])
    """
    return _view(np.eye(n, m, dtype=dtype))


def arange(start: float, end: float | None = None, step: float = 1,
           dtype: DTypeLike | None = None) -> Tensor:
    """Return the numbers from `start` (or 0) up to and without `end`.

    Examples
    --------
    >>> arange(3), arange(1, 2, 0.5)
    (tensor([0, 1, 2]), tensor([1.0000, 1.5000]))
    """
    start, end = (0, start) if end is None else (start, end)
    array = np.arange(start, end, step)
    return _view(array.astype(dtype or (float32 if array.dtype.kind == "f" else int64)))


def linspace(start: float, end: float, steps: int, dtype: DTypeLike = float32) -> Tensor:
    """Return `steps` evenly spaced numbers from `start` to `end`, both included.

    As in torch the first half counts up from `start` and the second down from `end`, in the
    precision of the result, so that the ends are exact.

    Examples
    --------
    >>> linspace(0.05, 0.995, 100)[:3]
    tensor([0.0500, 0.0595, 0.0691])

    Raises
    ------
    ValueError
        `steps` is negative.
    """
    if steps < 0:
        raise ValueError(f"linspace: `steps` must not be negative, got {steps}")
    compute: Any = np.dtype(dtype).type if np.dtype(dtype).kind == "f" else np.float64
    start, end = compute(start), compute(end)
    if steps == 1:
        return _view(np.array([start], dtype))
    step = (end - start) / compute(steps - 1)
    i = np.arange(steps)
    up, down = start + step * i.astype(compute), end - step * (steps - 1 - i).astype(compute)
    return _view(np.where(i < steps // 2, up, down).astype(dtype))


def _size(size: tuple[Any, ...]) -> tuple[int, ...]:
    several = len(size) == 1 and isinstance(size[0], (tuple, list))
    return tuple(size[0]) if several else size


# -- random numbers -------------------------------------------------------------------------------


class _Stream:
    """Which draw of a seed comes next: unlike a Learner's, a notebook's draws have a history."""

    seed: int | None = None
    draws = 0

    @classmethod
    def uniforms(cls, size: tuple[int, ...], k: int) -> Float64:
        """Return the next `k` float64 arrays of shape `size`, in [0, 1)."""
        seed = rng.default_seed()
        if seed != cls.seed:
            cls.seed, cls.draws = seed, 0
        count = math.prod(size)
        numbers = rng.uniforms(seed, 0, [cls.draws], rng.NOTEBOOK, k * count)
        cls.draws += 1
        return numbers.reshape(k, *size)


def manual_seed(seed: int) -> None:
    """Start the random numbers of `rand` and `randn`, and of all built from now on, at `seed`.

    Parameters
    ----------
    seed : int
        As for `mlclassify.set_seed`. The numbers are not those of PyTorch.

    Examples
    --------
    >>> manual_seed(1)
    >>> a = rand(3)
    >>> manual_seed(1)
    >>> a.equal(rand(3))
    True
    >>> rng.set_seed(None)
    """
    rng.set_seed(seed)
    _Stream.seed = None


def rand(*size: Any) -> Tensor:
    """Return float32 numbers evenly drawn from [0, 1).

    Examples
    --------
    >>> rand(2, 3).shape
    torch.Size([2, 3])
    """
    # Rounding to float32 could reach 1: keep the 24 bits that it holds.
    return _view((np.floor(_Stream.uniforms(_size(size), 1)[0] * 2**24) / 2**24).astype(float32))


def randn(*size: Any) -> Tensor:
    """Return float32 numbers drawn from the normal distribution of mean 0 and variance 1.

    Examples
    --------
    >>> randn(1, 3).shape
    torch.Size([1, 3])
    """
    # Box and Muller 1958; 1 - u lies in (0, 1], where the logarithm is finite.
    u, angle = _Stream.uniforms(_size(size), 2)
    return _view((np.sqrt(-2 * np.log1p(-u)) * np.cos(2 * np.pi * angle)).astype(float32))


# -- several tensors ------------------------------------------------------------------------------


def cat(tensors: Iterable[ArrayLike], dim: int = 0) -> Tensor:
    """Join tensors along a dimension, in the dtype to which they promote.

    Examples
    --------
    >>> cat([tensor([0.5]), tensor([1, 2])])
    tensor([0.5000, 1.0000, 2.0000])
    """
    return _joined(np.concatenate, tensors, dim)


def stack(tensors: Iterable[ArrayLike], dim: int = 0) -> Tensor:
    """Join tensors of one shape along a new dimension.

    Examples
    --------
    >>> stack([tensor(0.5), tensor(1.0)])
    tensor([0.5000, 1.0000])
    """
    return _joined(np.stack, tensors, dim)


def _joined(function: Any, tensors: Iterable[ArrayLike], dim: int) -> Tensor:
    parts = [as_tensor(x) for x in tensors]
    if not parts:
        raise ValueError(f"{function.__name__}: `tensors` must hold at least one, got none")
    dtype = result_dtype(parts)
    joined: Tensor = function([x.to(dtype) for x in parts], dim)
    return joined


def where(condition: ArrayLike, input: ArrayLike | None = None,
          other: ArrayLike | None = None) -> Any:
    """Return `input` where `condition` holds, else `other`; alone, the indices where it holds.

    Examples
    --------
    >>> where(tensor([True, False]), tensor([1, 2]), 0.5)
    tensor([1.0000, 0.5000])
    """
    condition = as_tensor(condition)
    if input is None and other is None:
        return condition.nonzero(as_tuple=True)
    if input is None or other is None:
        raise TypeError("where: `input` and `other` must be given both or neither, got one")
    sides = [x if isinstance(x, (bool, int, float)) else as_tensor(x) for x in (input, other)]
    dtype = result_dtype(sides)
    return np.where(condition, *(as_tensor(x).to(dtype) for x in sides))


# -- what has no effect here, so that a notebook's line runs --------------------------------------


class no_grad(contextlib.ContextDecorator):
    """A context (or decorator) in which no gradients are recorded, as everywhere here.

    Examples
    --------
    >>> with no_grad():
    ...     tensor(1) + 1
    tensor(2)
    """

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> Literal[False]:
        return False


def device(name: object) -> str:
    """Return "cpu", or raise ValueError for any other device.

    Examples
    --------
    >>> device("cuda" if cuda.is_available() else "cpu")
    'cpu'
    """
    check_device("device", name)
    return "cpu"


def _no_cuda() -> bool:
    """Return False: there is no GPU code here."""
    return False


cuda = Namespace("torch.cuda", is_available=_no_cuda)
