"""An ndarray that prints and answers like torch's tensor.

The convention to hold: inside NumPy it is an ordinary array. NumPy's functions are handed plain
arrays (``__array_function__``), ufuncs compute in torch's dtype (``__array_ufunc__``), and what
comes out is a Tensor again, 0-d instead of a NumPy scalar. So methods may follow torch where the
two differ (``max(dim)``, ``sort``, ``transpose``, ``std``, ``size()``) without misleading NumPy.
"""

# Methods differ from ndarray's on purpose, and NumPy's types do not say that its functions return
# the class that they were handed.
# mypy: disable-error-code="override, no-any-return, return-value"

import functools
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import (
    TYPE_CHECKING,
    Any,
    NamedTuple,
    Self,
    SupportsIndex,
    TypeAlias,
    TypeVar,
    overload,
)

import numpy as np
from numpy.typing import DTypeLike

from mlclassify import _core
from mlclassify.arrays import as_array, as_float32
from mlclassify.printing import tensor_repr
from mlclassify.promotion import FLOAT, LONG, loop_dtype, result_dtype
from mlclassify.types import AnyArray, ArrayLike, Function

# A Tensor has methods ``bool``, ``float`` and ``int``, which hide the types of these names.
_Bool: TypeAlias = bool
_Float: TypeAlias = float
_Int: TypeAlias = int
_Dims: TypeAlias = int | list[int] | tuple[int, ...] | None
_Method = TypeVar("_Method", bound=Function)
_TensorT = TypeVar("_TensorT", bound="Tensor")

_TYPE_NAMES = {
    "bool": "Bool", "uint8": "Byte", "int8": "Char", "int16": "Short", "int32": "Int",
    "int64": "Long", "float16": "Half", "float32": "Float", "float64": "Double",
}  # fmt: skip

NO_AUTOGRAD = (
    "there is no autograd here: train with a Learner, "
    "or ask a loss for `value_and_grad(logits, targs)`"
)


class Size(tuple[int, ...]):
    """A shape that prints as torch's.

    Examples
    --------
    >>> Size((4, 1))
    torch.Size([4, 1])
    """

    __slots__ = ()

    def __repr__(self) -> str:
        return f"torch.Size({list(self)})"

    @overload
    def __getitem__(self, index: SupportsIndex) -> int: ...
    @overload
    def __getitem__(self, index: slice) -> "Size": ...
    def __getitem__(self, index: Any) -> Any:
        item = tuple.__getitem__(self, index)
        return Size(item) if isinstance(index, slice) else item

    def numel(self) -> int:
        """Return the number of cells of such a tensor."""
        return int(np.prod(self, dtype=np.int64))


class _CellCount(int):
    """``x.size``: NumPy's number that is also torch's method."""

    _shape: Size

    def __new__(cls, shape: Size) -> Self:
        self = int.__new__(cls, shape.numel())
        self._shape = shape
        return self

    @overload
    def __call__(self, dim: None = None) -> Size: ...
    @overload
    def __call__(self, dim: int) -> int: ...
    def __call__(self, dim: int | None = None) -> Size | int:
        return self._shape if dim is None else self._shape[dim]


class _Pair(NamedTuple):
    values: "Tensor"
    indices: "Tensor"

    def __repr__(self) -> str:
        name = type(self).__name__
        return f"torch.return_types.{name}(\nvalues={self.values!r},\nindices={self.indices!r})"


_PAIRS = {name: type(name, (_Pair,), {"__slots__": ()}) for name in ("max", "min", "sort", "topk")}


def _numpy_names(method: _Method) -> _Method:
    """Let a method that takes `dim` and `keepdim` be called with NumPy's names for them too."""

    @functools.wraps(method)
    def call(self: "Tensor", *args: Any, **kwargs: Any) -> Any:
        for theirs, ours in (("axis", "dim"), ("keepdims", "keepdim")):
            if theirs in kwargs:
                kwargs[ours] = kwargs.pop(theirs)
        return method(self, *args, **kwargs)

    return call


def _unary(ufunc: np.ufunc) -> Callable[[_TensorT], _TensorT]:
    """Make the method that is a ufunc of NumPy in torch's dtypes, and without warnings."""

    def method(self: _TensorT) -> _TensorT:
        return ufunc(self)

    method.__doc__ = _ufunc_doc(ufunc)
    return method


def _binary(ufunc: np.ufunc) -> Callable[[_TensorT, Any], _TensorT]:
    """Make such a method for a ufunc of two operands."""

    def method(self: _TensorT, other: Any) -> _TensorT:
        return ufunc(self, other)

    method.__doc__ = _ufunc_doc(ufunc)
    return method


def _ufunc_doc(ufunc: np.ufunc) -> str:
    return f"Return ``numpy.{ufunc.__name__}``, in torch's dtypes and without warnings."


class Tensor(np.ndarray[Any, np.dtype[Any]]):
    """A NumPy array with torch's looks, promotion and methods.

    Parameters
    ----------
    data : array_like
        Becomes float32, as in ``torch.Tensor(data)``; subclasses keep integers. Usually one writes
        ``tensor(...)``.

    Notes
    -----
    Methods are torch's: they take ``dim`` and ``keepdim``, and return Tensors. There is no
    autograd. ``dtype`` is NumPy's.

    Examples
    --------
    >>> x = Tensor([[0.725968, -3.348915, -2.349130]])
    >>> x.sigmoid()
    tensor([[0.6739, 0.0339, 0.0871]])
    >>> x.shape, x.max(), x.argmax(dim=1)
    (torch.Size([1, 3]), tensor(0.7260), tensor([0]))
    """

    def __new__(cls, data: ArrayLike = ()) -> Self:
        if cls is Tensor and isinstance(data, int):
            raise TypeError(
                f"Tensor: `data` must be a list or an array, got {data}; "
                f"torch.zeros({data}) makes a tensor of that length"
            )
        array = as_array("data", cls.__name__, data)
        wide = cls is Tensor or array.dtype == np.float64
        return _wrap(_cast(array, FLOAT) if wide else array, cls)

    if TYPE_CHECKING:  # what ndarray has, with the class that comes out
        T: Self

        def __add__(self, other: Any) -> Self: ...
        def __radd__(self, other: Any) -> Self: ...
        def __sub__(self, other: Any) -> Self: ...
        def __rsub__(self, other: Any) -> Self: ...
        def __mul__(self, other: Any) -> Self: ...
        def __rmul__(self, other: Any) -> Self: ...
        def __truediv__(self, other: Any) -> Self: ...
        def __rtruediv__(self, other: Any) -> Self: ...
        def __matmul__(self, other: Any) -> Self: ...
        def __and__(self, other: Any) -> Self: ...
        def __or__(self, other: Any) -> Self: ...
        def __xor__(self, other: Any) -> Self: ...
        def __lt__(self, other: Any) -> Self: ...
        def __le__(self, other: Any) -> Self: ...
        def __gt__(self, other: Any) -> Self: ...
        def __ge__(self, other: Any) -> Self: ...
        def __invert__(self) -> Self: ...
        def __neg__(self) -> Self: ...
        def __abs__(self) -> Self: ...
        def __iter__(self) -> Iterator[Self]: ...
        def reshape(self, *shape: Any, **options: Any) -> Self: ...

    # -- what NumPy asks ------------------------------------------------------------------------

    def __array_ufunc__(self, ufunc: np.ufunc, method: str, *inputs: Any, out: Any = (),
                        **kwargs: Any) -> Any:
        if any(_answers_itself(x) for x in inputs):
            return NotImplemented
        classes: list[type[Tensor]] = []
        operands = [_operand(_plain(x, classes)) for x in inputs]
        kwargs = _plain(kwargs, [])
        if out:
            kwargs["out"] = tuple(_plain(list(out), []))
        if method == "__call__" and "dtype" not in kwargs:
            operands = _promoted(ufunc, operands)
        # torch has no warnings for log(0) or 0/0, and neither has a notebook that used it.
        with np.errstate(all="ignore"):
            result = getattr(ufunc, method)(*operands, **kwargs)
        if out:
            return out[0] if len(out) == 1 else out
        return _wrap(result, _widest_class(classes))

    def __array_function__(self, func: Function, types: Iterable[type], args: Iterable[Any],
                           kwargs: Mapping[str, Any]) -> Any:
        classes: list[type[Tensor]] = []
        args, kwargs = _plain(args, classes), _plain(kwargs, classes)
        return _wrap(func(*args, **kwargs), _widest_class(classes))

    def __getitem__(self, index: Any) -> Self:
        item = np.ndarray.__getitem__(self, index)
        if isinstance(item, np.ndarray):
            return item
        index = index if isinstance(index, tuple) else (index,)
        return np.ndarray.__getitem__(self, (*index, ...))

    def __pow__(self, other: Any) -> Self:
        # ndarray's own shortcuts for squares and roots would decide dtypes before the ufunc does.
        return np.power(self, other)

    def __eq__(self, other: Any) -> Self:
        return NotImplemented if other is None or isinstance(other, str) else np.equal(self, other)

    def __ne__(self, other: Any) -> Self:
        foreign = other is None or isinstance(other, str)
        return NotImplemented if foreign else np.not_equal(self, other)

    __hash__ = None

    def __float__(self) -> float:
        return float(self.item())

    def __int__(self) -> int:
        return int(self.item())

    def __repr__(self) -> str:
        return tensor_repr(np.asarray(self), _print_name(type(self)))

    __str__ = __repr__

    def __format__(self, spec: str) -> str:
        if self.ndim == 0 and (spec or type(self) is Tensor):
            return format(self.item(), spec)
        return format(repr(self), spec)

    # -- shape ----------------------------------------------------------------------------------

    @property  # type: ignore[misc]  # NumPy's can be set
    def shape(self) -> Size:
        """The lengths of the dimensions, a `Size`."""
        return Size(np.ndarray.shape.__get__(self))

    @property
    def size(self) -> _CellCount:
        """The number of cells; called, the shape: ``x.size()``, ``x.size(0)``."""
        return _CellCount(self.shape)

    def dim(self) -> _Int:
        """Return the number of dimensions."""
        return self.ndim

    def numel(self) -> _Int:
        """Return the number of cells."""
        return int(self.size)

    nelement = numel

    @overload
    def view(self, *shape: _Int) -> Self: ...
    @overload
    def view(self, shape: tuple[_Int, ...] | list[_Int], /) -> Self: ...
    @overload
    def view(self, *dtype: Any, **options: Any) -> Any: ...
    def view(self, *shape: Any, **kwargs: Any) -> Any:
        """Return the cells in another shape; with a dtype or class, NumPy's ``view``."""
        if kwargs or not shape or not isinstance(shape[0], (int, np.integer, tuple, list)):
            return np.ndarray.view(self, *shape, **kwargs)
        return self.reshape(*shape)

    def flatten(self, start_dim: _Int = 0, end_dim: _Int = -1) -> Self:
        """Return a tensor with the dimensions from `start_dim` to `end_dim` merged."""
        if not self.ndim:
            return self.reshape(1)
        start, end = start_dim % self.ndim, end_dim % self.ndim
        shape = self.shape
        return self.reshape(*shape[:start], shape[start : end + 1].numel(), *shape[end + 1 :])

    @_numpy_names
    def squeeze(self, dim: _Int | None = None) -> Self:
        """Return a view without dimensions of length 1, or without `dim` if it is of length 1."""
        if dim is not None and self.shape[dim] != 1:
            return self
        return np.ndarray.squeeze(self, dim)

    def unsqueeze(self, dim: _Int) -> Self:
        """Return a view with a new dimension of length 1 at `dim`."""
        return np.expand_dims(self, dim)

    def transpose(self, *dims: Any) -> Self:
        """Swap two dimensions; given none or a tuple, permute as NumPy's ``transpose``."""
        return self.swapaxes(*dims) if len(dims) == 2 else np.ndarray.transpose(self, *dims)

    def permute(self, *dims: Any) -> Self:
        """Return a view with the dimensions in the order `dims`."""
        return np.ndarray.transpose(self, *dims)

    def t(self) -> Self:
        """Return the transposed matrix."""
        return self.T

    def expand(self, *sizes: Any) -> Self:
        """Return a read-only view with dimensions of length 1 repeated; -1 keeps a length."""
        sizes = _as_size(sizes)
        old = (1,) * (len(sizes) - self.ndim) + self.shape
        new = tuple(had if wanted == -1 else wanted for had, wanted in zip(old, sizes))
        return np.broadcast_to(self, new)

    def repeat(self, *sizes: Any) -> Self:
        """Return the tensor laid `sizes` times along each dimension, as torch (NumPy: tile)."""
        return np.tile(self, _as_size(sizes))

    def contiguous(self) -> Self:
        """Return the tensor itself where its memory is in C order, else a copy that is."""
        return self if self.flags.c_contiguous else self.copy()

    def clone(self) -> Self:
        """Return a copy."""
        return self.copy()

    # -- dtype and device -----------------------------------------------------------------------

    def to(self, *args: Any, dtype: DTypeLike | None = None, device: object = None) -> Self:
        """Return the tensor in a dtype, in that of another tensor, or on a device (the CPU)."""
        for arg in args:
            if isinstance(arg, str):
                device = arg
            else:
                dtype = arg.dtype if isinstance(arg, np.ndarray) else arg
        check_device("to", device)
        return self if dtype is None else _wrap(_cast(np.asarray(self), dtype), type(self))

    def type(self, dtype: DTypeLike | None = None) -> Any:
        """Return torch's name of the type, or the tensor in `dtype`."""
        if dtype is not None:
            return self.to(dtype)
        return f"torch.{_TYPE_NAMES.get(self.dtype.name, self.dtype.name)}Tensor"

    def float(self) -> Self:
        """Return the tensor as float32."""
        return self.to(FLOAT)

    def double(self) -> Self:
        """Return the tensor as float64."""
        return self.to(np.float64)

    def half(self) -> Self:
        """Return the tensor as float16."""
        return self.to(np.float16)

    def long(self) -> Self:
        """Return the tensor as int64."""
        return self.to(LONG)

    def int(self) -> Self:
        """Return the tensor as int32."""
        return self.to(np.int32)

    def byte(self) -> Self:
        """Return the tensor as uint8."""
        return self.to(np.uint8)

    def bool(self) -> Self:
        """Return whether each cell is not zero."""
        return self.to(np.bool_)

    def cpu(self) -> Self:
        """Return the tensor itself: it is there already."""
        return self

    def cuda(self) -> None:
        """Raise, as the CPU is the only device."""
        check_device("cuda", "cuda")

    def detach(self) -> Self:
        """Return the tensor itself: nothing hangs on it."""
        return self

    def numpy(self) -> AnyArray:
        """Return a plain ndarray that shares the memory."""
        return np.asarray(self)

    def is_floating_point(self) -> _Bool:
        """Return whether the dtype is one of floats."""
        return self.dtype.kind == "f"

    # -- autograd, of which there is none -------------------------------------------------------

    grad = None

    @property
    def requires_grad(self) -> _Bool:
        """False; setting it to True raises."""
        return False

    @requires_grad.setter
    def requires_grad(self, value: _Bool) -> None:
        self.requires_grad_(value)

    def requires_grad_(self, requires_grad: _Bool = True) -> Self:
        """Raise, unless `requires_grad` is False."""
        refuse_autograd("requires_grad_", requires_grad)
        return self

    def backward(self) -> None:
        """Raise, saying what to do instead."""
        refuse_autograd("backward", True)

    # -- cell by cell ---------------------------------------------------------------------------

    def sigmoid(self) -> Self:
        """Return 1 / (1 + exp(-x))."""
        if self.dtype == np.float64:
            return 1 / (1 + np.exp(-self))
        x = as_float32("input", "sigmoid", self)
        out = np.empty_like(x)
        _core.sigmoid(x, out)
        return _wrap(out, type(self))

    exp = _unary(np.exp)
    log = _unary(np.log)
    log1p = _unary(np.log1p)
    log2 = _unary(np.log2)
    sqrt = _unary(np.sqrt)
    square = _unary(np.square)
    tanh = _unary(np.tanh)
    abs = _unary(np.abs)
    neg = _unary(np.negative)
    floor = _unary(np.floor)
    ceil = _unary(np.ceil)
    isnan = _unary(np.isnan)
    isinf = _unary(np.isinf)
    isfinite = _unary(np.isfinite)
    logical_not = _unary(np.logical_not)

    add = _binary(np.add)
    sub = _binary(np.subtract)
    mul = _binary(np.multiply)
    div = _binary(np.true_divide)
    pow = _binary(np.power)
    matmul = _binary(np.matmul)
    maximum = _binary(np.maximum)
    minimum = _binary(np.minimum)
    eq = _binary(np.equal)
    ne = _binary(np.not_equal)
    gt = _binary(np.greater)
    ge = _binary(np.greater_equal)
    lt = _binary(np.less)
    le = _binary(np.less_equal)
    logical_and = _binary(np.logical_and)
    logical_or = _binary(np.logical_or)
    logical_xor = _binary(np.logical_xor)

    def relu(self) -> Self:
        """Return the larger of each cell and 0."""
        return np.maximum(self, 0)

    def round(self, decimals: _Int = 0) -> Self:
        """Return the nearest number with so many decimals, halves to even."""
        return np.round(self, decimals)

    def clamp(self, min: ArrayLike | None = None, max: ArrayLike | None = None) -> Self:
        """Return the cells moved into [`min`, `max`]; None leaves a side open."""
        low = self if min is None else np.maximum(self, min)
        return low if max is None else np.minimum(low, max)

    clip = clamp  # type: ignore[assignment]  # NumPy's is overloaded

    def softmax(self, dim: _Int) -> Self:
        """Return exp(x) divided by its sum along `dim`."""
        shifted = (self - self.amax(dim, keepdim=True)).exp()
        return shifted / shifted.sum(dim, keepdim=True)

    def equal(self, other: ArrayLike) -> _Bool:
        """Return True if shape and all cells are the same, a Python bool."""
        return bool(np.array_equal(self, as_array("other", "equal", other)))

    def allclose(self, other: ArrayLike, rtol: _Float = 1e-05, atol: _Float = 1e-08,
                 equal_nan: _Bool = False) -> _Bool:
        """Return True if all cells are within ``atol + rtol * |other|``, a Python bool."""
        other = as_array("other", "allclose", other)
        return bool(np.allclose(np.asarray(self), other, rtol, atol, equal_nan))

    # -- along dimensions -----------------------------------------------------------------------

    @_numpy_names
    def sum(self, dim: _Dims = None, keepdim: _Bool = False,
            dtype: DTypeLike | None = None) -> Self:
        """Return the sum; floats are added in float64, integers and bools give int64."""
        kind = self.dtype.kind
        own = self.dtype if kind == "f" else LONG
        added = np.float64 if kind == "f" else LONG
        total = np.asarray(self).sum(_dims(dim), dtype=added, keepdims=keepdim)
        return _wrap(_cast(total, dtype or own), type(self))

    @_numpy_names
    def mean(self, dim: _Dims = None, keepdim: _Bool = False,
             dtype: DTypeLike | None = None) -> Self:
        """Return the mean, computed in float64; float32 for integers, NaN for no cells."""
        own = self.dtype if self.dtype.kind == "f" else FLOAT
        total = np.asarray(self).sum(_dims(dim), dtype=np.float64, keepdims=keepdim)
        count = self.numel() / max(total.size, 1)
        with np.errstate(all="ignore"):
            mean = np.divide(total, count)
        return _wrap(_cast(mean, dtype or own), type(self))

    @_numpy_names
    def var(self, dim: _Dims = None, unbiased: _Bool = True, keepdim: _Bool = False) -> Self:
        """Return the variance, over n - 1 unless `unbiased` is False, computed in float64."""
        values = np.asarray(self, dtype=np.float64)
        with np.errstate(all="ignore"):
            away = values - values.mean(_dims(dim), keepdims=True)
            total = (away * away).sum(_dims(dim), keepdims=keepdim)
            spread = np.divide(total, self.numel() / max(total.size, 1) - bool(unbiased))
        return _wrap(_cast(spread, self.dtype if self.dtype.kind == "f" else FLOAT), type(self))

    @_numpy_names
    def std(self, dim: _Dims = None, unbiased: _Bool = True, keepdim: _Bool = False) -> Self:
        """Return the square root of `var`."""
        return self.var(dim, unbiased, keepdim).sqrt()

    @_numpy_names
    def prod(self, dim: _Dims = None, keepdim: _Bool = False) -> Self:
        """Return the product, int64 of integers and bools."""
        dtype = self.dtype if self.dtype.kind == "f" else LONG
        return self._reduced(np.multiply, dim, keepdim, dtype=dtype)

    @_numpy_names
    def cumsum(self, dim: _Int) -> Self:
        """Return the running sum along `dim`."""
        return np.cumsum(self, axis=dim)

    @overload
    def max(self) -> Self: ...
    @overload
    def max(self, dim: AnyArray) -> Self: ...
    @overload
    def max(self, dim: _Int, keepdim: _Bool = False) -> _Pair: ...
    @_numpy_names
    def max(self, dim: Any = None, keepdim: _Bool = False) -> Any:
        """Return the largest cell; with `dim`, (values, indices); with a tensor, the larger."""
        return self._extreme("max", np.maximum, dim, keepdim)

    @overload
    def min(self) -> Self: ...
    @overload
    def min(self, dim: AnyArray) -> Self: ...
    @overload
    def min(self, dim: _Int, keepdim: _Bool = False) -> _Pair: ...
    @_numpy_names
    def min(self, dim: Any = None, keepdim: _Bool = False) -> Any:
        """Return the smallest cell; with `dim`, (values, indices); with a tensor, the smaller."""
        return self._extreme("min", np.minimum, dim, keepdim)

    def _extreme(self, name: str, ufunc: np.ufunc, dim: Any, keepdim: _Bool) -> Any:
        if isinstance(dim, np.ndarray):
            return ufunc(self, dim)
        if dim is None:
            return ufunc.reduce(self, axis=None)
        indices = self._indices(getattr(np, f"arg{name}"), dim, True)
        values = np.take_along_axis(self, indices, dim)
        pair = (values, indices) if keepdim else (values.squeeze(dim), indices.squeeze(dim))
        return _PAIRS[name](*pair)

    @_numpy_names
    def amax(self, dim: _Dims = None, keepdim: _Bool = False) -> Self:
        """Return the largest cell along one or several dimensions."""
        return self._reduced(np.maximum, dim, keepdim)

    @_numpy_names
    def amin(self, dim: _Dims = None, keepdim: _Bool = False) -> Self:
        """Return the smallest cell along one or several dimensions."""
        return self._reduced(np.minimum, dim, keepdim)

    @_numpy_names
    def argmax(self, dim: _Int | None = None, keepdim: _Bool = False) -> Self:
        """Return the index of the first largest cell."""
        return self._indices(np.argmax, dim, keepdim)

    @_numpy_names
    def argmin(self, dim: _Int | None = None, keepdim: _Bool = False) -> Self:
        """Return the index of the first smallest cell."""
        return self._indices(np.argmin, dim, keepdim)

    def _indices(self, function: Function, dim: _Int | None, keepdim: _Bool) -> Self:
        return _wrap(function(np.asarray(self), axis=dim, keepdims=keepdim), type(self))

    @_numpy_names
    def all(self, dim: _Dims = None, keepdim: _Bool = False) -> Self:
        """Return whether every cell is not zero."""
        return self._reduced(np.logical_and, dim, keepdim)

    @_numpy_names
    def any(self, dim: _Dims = None, keepdim: _Bool = False) -> Self:
        """Return whether a cell is not zero."""
        return self._reduced(np.logical_or, dim, keepdim)

    @_numpy_names
    def argsort(self, dim: _Int = -1, descending: _Bool = False) -> Self:
        """Return the indices that sort along `dim`; equal cells keep their order."""
        array = np.asarray(self)
        if descending:  # NaN comes first then, as it counts as the largest
            array = np.flip(array, dim)
            order = array.shape[dim] - 1 - np.argsort(array, axis=dim, kind="stable")
            return _wrap(np.flip(order, dim), type(self))
        return _wrap(np.argsort(array, axis=dim, kind="stable"), type(self))

    @_numpy_names
    def sort(self, dim: _Int = -1, descending: _Bool = False) -> _Pair:
        """Return (values, indices) in order along `dim`; the tensor itself stays as it is."""
        order = self.argsort(dim, descending)
        return _PAIRS["sort"](np.take_along_axis(self, order, dim), order)

    @_numpy_names
    def topk(self, k: _Int, dim: _Int = -1, largest: _Bool = True) -> _Pair:
        """Return (values, indices) of the `k` largest cells along `dim`, largest first."""
        if not 0 <= k <= self.shape[dim]:
            raise ValueError(f"topk: `k` must lie in [0, {self.shape[dim]}], got {k}")
        order = np.take(self.argsort(dim, largest), np.arange(k), axis=dim)
        return _PAIRS["topk"](np.take_along_axis(self, order, dim), order)

    def _reduced(self, ufunc: Any, dim: _Dims, keepdim: _Bool, **options: Any) -> Self:
        return ufunc.reduce(self, axis=_dims(dim), keepdims=keepdim, **options)

    def nonzero(self, as_tuple: _Bool = False) -> Any:
        """Return the indices of the cells that are not zero, int64 (n, dims)."""
        return np.nonzero(self) if as_tuple else np.argwhere(self)


class TensorBase(Tensor):
    """fastai's Tensor, which says so when it prints: ``TensorBase(0.6854)``."""


class TensorImage(TensorBase):
    """A batch of images, (N, 3, H, W)."""


class TensorMultiCategory(TensorBase):
    """Which labels are present: float32 (N, L) of 0 and 1 (or in between), or a list of indices."""


def flatten_check(inp: ArrayLike, targ: ArrayLike) -> tuple[TensorBase, TensorBase]:
    """Return both as flat `TensorBase`, the first step of a metric written as fastai's.

    Parameters
    ----------
    inp, targ : array_like
        Of as many cells.

    Raises
    ------
    AssertionError
        The numbers of cells differ: the type that fastai raises.

    Examples
    --------
    >>> flatten_check([[1.0, 2.0]], [[1], [0]])
    (TensorBase([1., 2.]), TensorBase([1, 0]))
    """
    flat = [TensorBase(x).contiguous().view(-1) for x in (inp, targ)]
    if len(flat[0]) != len(flat[1]):
        raise AssertionError(
            "flatten_check: `targ` must have as many cells as `inp` "
            f"({len(flat[0])}), got {len(flat[1])}"
        )
    return tuple(flat)


def check_device(fn: str, device: object) -> None:
    """Raise ValueError in the name of `fn` unless `device` is None or the CPU."""
    if device is not None and str(device) != "cpu":
        raise ValueError(f"{fn}: `device` must be 'cpu', the only one here, got {str(device)!r}")


def refuse_autograd(fn: str, requires_grad: bool) -> None:
    """Raise NotImplementedError in the name of `fn` if gradients are asked for."""
    if requires_grad:
        raise NotImplementedError(f"{fn}: {NO_AUTOGRAD}")


def _print_name(cls: type[Tensor]) -> str:
    return "tensor" if cls is Tensor else cls.__name__


def _as_size(sizes: tuple[Any, ...]) -> tuple[int, ...]:
    """Return the ints of ``f(2, 3)`` and ``f((2, 3))`` alike."""
    several = len(sizes) == 1 and isinstance(sizes[0], (tuple, list))
    return tuple(sizes[0]) if several else sizes


def _dims(dim: _Dims) -> int | tuple[int, ...] | None:
    return tuple(dim) if isinstance(dim, list) else dim


def _cast(array: ArrayLike, dtype: DTypeLike) -> AnyArray:
    with np.errstate(all="ignore"):
        return np.asarray(array).astype(dtype, copy=False)


def _plain(x: Any, classes: list[type[Tensor]]) -> Any:
    """Return `x` with every Tensor in it as a plain ndarray; their classes join `classes`."""
    if isinstance(x, Tensor):
        classes.append(type(x))
        return np.asarray(x)
    if type(x) in (list, tuple):
        return type(x)(_plain(item, classes) for item in x)
    if type(x) is dict:
        return {key: _plain(value, classes) for key, value in x.items()}
    return x


def _wrap(result: Any, cls: type[Tensor]) -> Any:
    """Return `result` with every array or scalar of numbers in it as a `cls`."""
    if isinstance(result, (np.ndarray, np.generic)) and result.dtype.kind in "biuf":
        return np.ndarray.view(np.asarray(result), cls)
    if isinstance(result, tuple):
        items = [_wrap(item, cls) for item in result]
        return type(result)(*items) if hasattr(result, "_fields") else tuple(items)
    return [_wrap(item, cls) for item in result] if type(result) is list else result


def _widest_class(classes: list[type[Tensor]]) -> type[Tensor]:
    """Return the most special of `classes`; TensorBase where none of two is."""
    best = classes[0] if classes else Tensor
    for cls in classes[1:]:
        if issubclass(cls, best):
            best = cls
        elif not issubclass(best, cls):
            best = TensorBase
    return best


def _answers_itself(x: object) -> bool:
    """Whether `x` (a pandas column, say) has its own way with ufuncs."""
    return hasattr(type(x), "__array_ufunc__") and not isinstance(x, (np.ndarray, np.generic))


def _operand(x: Any) -> Any:
    """Return an operand of a ufunc as an array or a Python number."""
    if isinstance(x, (bool, int, float, np.ndarray)) and not isinstance(x, np.generic):
        return x
    return x.item() if isinstance(x, np.generic) else as_array("operand", "tensor", x)


def _promoted(ufunc: np.ufunc, inputs: list[Any]) -> list[Any]:
    """Return the arrays among `inputs` in the dtype of the computation; numbers adapt to it."""
    dtype = loop_dtype(ufunc, result_dtype(inputs))
    return [_cast(x, dtype) if isinstance(x, np.ndarray) else x for x in inputs]
