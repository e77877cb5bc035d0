"""``F`` and ``nn``: the losses and activations of torch that a multi-label notebook calls.

Losses on logits live here once: `F`, `nn`, and the losses of `mlclassify.losses` all come to
`_value`, which makes the one C call for values and gradient together.
"""

from collections.abc import Callable, Iterable, Sequence
from typing import Any, Literal, TypeAlias

import numpy as np

from mlclassify import _core
from mlclassify.arrays import as_array, as_float32, refuse
from mlclassify.checks import check_between, check_choice
from mlclassify.ndtensor import NO_AUTOGRAD, Size, Tensor
from mlclassify.types import AnyArray, ArrayLike, Float32, Float64, Function

Reduction: TypeAlias = Literal["mean", "sum", "none"]
_Arguments: TypeAlias = tuple[tuple[Any, ...], dict[str, Any]]  # of `_value`

_REDUCTIONS = ("mean", "sum", "none")
_BCE = "binary_cross_entropy_with_logits"


class Namespace:
    """Names gathered under one, which for an unknown one says what there is.

    Examples
    --------
    >>> Namespace("nn", Sigmoid=Sigmoid).Linear
    Traceback (most recent call last):
    ...
    AttributeError: nn has no `Linear`; it has Sigmoid. PyTorch is not behind it
    """

    def __init__(self, name: str, **members: Any) -> None:
        self._name = name
        self.__dict__.update(members)

    def __getattr__(self, name: str) -> Any:
        if name.startswith("_"):  # copy and IPython ask for these before anything is set
            raise AttributeError(name)
        raise AttributeError(unknown_name(self._name, name, dir(self)))

    def __dir__(self) -> list[str]:
        return sorted(name for name in self.__dict__ if not name.startswith("_"))

    def __repr__(self) -> str:
        return f"<{self._name}: {', '.join(dir(self))}>"


def unknown_name(space: str, name: str, known: Iterable[str]) -> str:
    """Return the message for a `name` of torch that `space` does not have."""
    return f"{space} has no `{name}`; it has {', '.join(known)}. PyTorch is not behind it"


def check_reduction(fn: str, reduction: Any) -> Any:
    """Return `reduction`, or raise ValueError in the name of `fn`."""
    if not isinstance(reduction, str) or reduction not in _REDUCTIONS:
        raise ValueError(f"{fn}: `reduction` must be one of {_REDUCTIONS}, got {reduction!r}")
    return reduction


def check_weight(name: str, fn: str, weight: ArrayLike | None) -> Float32 | None:
    """Return `weight` as float32, finite and not negative, or None as None."""
    if weight is None:
        return None
    array = as_float32(name, fn, weight)
    refuse(~(np.isfinite(array) & (array >= 0)), name, fn, "be finite and not negative", array)
    return array


def binary_cross_entropy_with_logits(
    input: ArrayLike, target: ArrayLike, weight: ArrayLike | None = None,
    reduction: Reduction = "mean", pos_weight: ArrayLike | None = None
) -> Tensor:
    """Return the binary cross entropy of logits against targets in [0, 1].

    ``l = weight * ((1 - y) * x + (1 + (pos_weight - 1) * y) * log(1 + exp(-x)))``, computed so
    that large logits lose nothing. A NaN logit gives NaN, an infinite one the limit.

    Parameters
    ----------
    input : array_like (..., L)
        Logits x.
    target : array_like, same shape
        Targets y in [0, 1], hard or soft.
    weight : array_like, optional
        Not negative; broadcast to `input`. The mean is over the number of cells all the same.
    reduction : {"mean", "sum", "none"}
    pos_weight : array_like, optional
        Weight of the positive part, one a label: broadcast to `input`.

    Returns
    -------
    float32 Tensor, 0-d, or with "none" of the shape of `input`

    Raises
    ------
    ValueError
        The shapes differ, a target is NaN or outside [0, 1], a weight is negative, infinite or
        NaN, or does not broadcast.

    Examples
    --------
    >>> x, y = [[0.7260, -3.3489, -2.3491]], [[1, 0, 1]]
    >>> binary_cross_entropy_with_logits(x, y)
    tensor(0.9565)
    >>> binary_cross_entropy_with_logits(x, y, reduction="none")
    tensor([[0.3946, 0.0345, 2.4403]])
    """
    core: Function = _core.bce_with_logits
    if weight is None and pos_weight is None and reduction == "mean":
        try:  # what C takes as it is needs no more looking at
            value = core(input, target, None, None, 0, False, True, None, None)
        except (TypeError, ValueError):
            pass  # what it refuses is converted, or refused by name, below
        else:
            return _like(input, value)
    check_reduction(_BCE, reduction)
    weights: dict[str, Any] = {"weight": weight, "pos_weight": pos_weight}
    value, cells, _ = _value(core, _BCE, input, target, reduction, **weights)
    return _like(input, cells if reduction == "none" else value)


def binary_cross_entropy_with_logits_value_and_grad(
    input: ArrayLike, target: ArrayLike, weight: ArrayLike | None = None,
    reduction: Reduction = "mean", pos_weight: ArrayLike | None = None
) -> tuple[float, Float32]:
    """Return the loss and its gradient, from one pass over the logits.

    Parameters
    ----------
    input, target, weight, pos_weight
        As in `binary_cross_entropy_with_logits`.
    reduction : {"mean", "sum"}

    Returns
    -------
    value : float
    grad : float32 ndarray of the shape of `input`

    Raises
    ------
    ValueError
        As `binary_cross_entropy_with_logits`; or `reduction` is "none", which leaves no number.

    Examples
    --------
    >>> value, grad = binary_cross_entropy_with_logits_value_and_grad([[0.0, 0.0]], [[1, 0]])
    >>> round(value, 4), grad.tolist()
    (0.6931, [[-0.25, 0.25]])
    """
    weights = {"weight": weight, "pos_weight": pos_weight}
    return _value_and_grad(_core.bce_with_logits, _BCE, input, target, reduction, **weights)


# A Learner may be handed the plain function: it finds the gradient as it does on a loss object.
binary_cross_entropy_with_logits.value_and_grad = (  # type: ignore[attr-defined]
    binary_cross_entropy_with_logits_value_and_grad
)


def _like(input: ArrayLike, value: ArrayLike) -> Tensor:
    """Return `value` as float32 of the class of `input`, at least a Tensor."""
    cls = type(input) if isinstance(input, Tensor) else Tensor
    return np.ndarray.view(np.asarray(value, np.float32), cls)


def _value_and_grad(core: Function, fn: str, input: ArrayLike, target: ArrayLike, reduction: str,
                    **options: Any) -> tuple[float, Float32]:
    if reduction not in ("mean", "sum"):
        raise ValueError(f"{fn}: `reduction` must be 'mean' or 'sum' to train, got {reduction!r}")
    value, _, grad = _value(core, fn, input, target, reduction, want_grad=True, **options)
    return value, grad


def _value(
    core: Function, fn: str, input: ArrayLike, target: ArrayLike, reduction: str, *,
    weight: ArrayLike | None = None, pos_weight: ArrayLike | None = None,
    smoothing: float = 0.0, missing: bool = False, focus: Sequence[float] = (),
    want_grad: bool = False
) -> tuple[float, Any, Any]:
    """Return (value, cells, grad) of a loss of C: cells for "none", grad on request, else None.

    `focus` holds the options of this loss alone, which C takes at the end.
    """
    x, y = as_float32("input", fn, input), as_array("target", fn, target)
    _check_shapes(fn, x, y)
    weights = [
        _as_rows(name, fn, w, x.shape)
        for name, w in (("weight", weight), ("pos_weight", pos_weight))
    ]
    cells = np.empty(x.shape, np.float32) if reduction == "none" else None
    grad = np.empty(x.shape, np.float32) if want_grad else None
    floats = np.asarray(y, dtype=np.float32, order="C")
    try:
        mean = reduction == "mean"
        value = core(x, floats, *weights, smoothing, missing, mean, cells, grad, *focus)
    except ValueError:
        _check_target(fn, y, missing)
        raise
    return value, cells, grad


def _as_rows(name: str, fn: str, weight: ArrayLike | None,
             shape: tuple[int, ...]) -> Float32 | None:
    """Return a weight as C takes it for logits of `shape`: None, (L,) or of that shape."""
    weight = check_weight(name, fn, weight)
    if weight is None:
        return None
    try:
        return np.broadcast_to(weight, shape[-1:] if weight.ndim <= 1 else shape).copy()
    except ValueError as error:
        raise ValueError(
            f"{fn}: `{name}` must broadcast to the shape of `input` {shape}, got {weight.shape}"
        ) from error


def _check_shapes(fn: str, input: AnyArray, target: AnyArray) -> None:
    if target.shape != input.shape:
        raise ValueError(
            f"{fn}: `target` must have the shape of `input` (BCEWithLogitsLossFlat flattens both), "
            f"got {target.shape}. Target size ({Size(target.shape)}) must be the same as "
            f"input size ({Size(input.shape)})"
        )


def _check_target(fn: str, target: AnyArray, missing: bool = False) -> None:
    bad = ~((target >= 0) & (target <= 1))
    bad = bad & ~np.isnan(target) if missing else bad
    refuse(bad, "target", fn, "lie in [0, 1]", target)


def binary_cross_entropy(input: ArrayLike, target: ArrayLike, weight: ArrayLike | None = None,
                         reduction: Reduction = "mean") -> Tensor:
    """Return the binary cross entropy of probabilities; its logarithms stop at -100, as torch's.

    Parameters
    ----------
    input : array_like
        Probabilities. On logits use `binary_cross_entropy_with_logits`: it loses nothing.
    target, weight, reduction
        As there.

    Returns
    -------
    float32 Tensor, 0-d, or with "none" of the shape of `input`

    Raises
    ------
    ValueError
        A probability lies outside [0, 1]; else as there. NaN stays NaN.

    Examples
    --------
    >>> binary_cross_entropy([0.5, 0.25], [1.0, 0.0])
    tensor(0.4904)
    """
    fn = "binary_cross_entropy"
    check_reduction(fn, reduction)
    p, y = as_float32("input", fn, input), as_array("target", fn, target)
    refuse((p < 0) | (p > 1), "input", fn, "lie in [0, 1], as probabilities do", p)
    _check_shapes(fn, p, y)
    _check_target(fn, y)
    weight = check_weight("weight", fn, weight)
    p, y = p.astype(np.float64), y.astype(np.float64)
    with np.errstate(divide="ignore"):
        cells = -(y * np.maximum(np.log(p), -100) + (1 - y) * np.maximum(np.log1p(-p), -100))
    cells = cells if weight is None else _times(cells, weight)
    total = {"none": cells, "sum": cells.sum(), "mean": cells.sum() / max(cells.size, 1)}
    result = np.nan if reduction == "mean" and not cells.size else total[reduction]
    cls = type(input) if isinstance(input, Tensor) else Tensor
    return np.ndarray.view(np.asarray(result, dtype=np.float32), cls)


def _times(cells: Float64, weight: Float32) -> Float64:
    try:
        return cells * np.broadcast_to(weight, cells.shape)
    except ValueError as error:
        raise ValueError(
            "binary_cross_entropy: `weight` must broadcast to the shape of `input` "
            f"{cells.shape}, got {weight.shape}"
        ) from error


def sigmoid(input: ArrayLike) -> Tensor:
    """Return 1 / (1 + exp(-x)) of an array_like, a Tensor of the same shape.

    Examples
    --------
    >>> sigmoid([0.0, 2.0])
    tensor([0.5000, 0.8808])
    """
    return _as_floats("sigmoid", input).sigmoid()


def relu(input: ArrayLike) -> Tensor:
    """Return the larger of each cell and 0, a Tensor of the same shape.

    Examples
    --------
    >>> relu([-1.0, 2.0])
    tensor([0., 2.])
    """
    return _as_floats("relu", input).relu()


def _as_floats(fn: str, x: ArrayLike) -> Tensor:
    return x if isinstance(x, Tensor) else np.ndarray.view(as_float32("input", fn, x), Tensor)


def one_hot(tensor: ArrayLike, num_classes: int = -1) -> Tensor:
    """Return int64 (..., num_classes) with 1 at each class index of `tensor`.

    Parameters
    ----------
    tensor : array_like of int
    num_classes : int, default -1
        -1: one more than the largest index.

    Raises
    ------
    TypeError
        `tensor` holds something else than integers.
    ValueError
        An index is negative, or not below `num_classes`.

    Examples
    --------
    >>> one_hot([0, 2])
    tensor([[1, 0, 0],
            [0, 0, 1]])
    """
    index = as_array("tensor", "one_hot", tensor)
    if index.dtype.kind not in "iu":
        raise TypeError(f"one_hot: `tensor` must hold integers, got {index.dtype}")
    classes = int(index.max(initial=-1)) + 1 if num_classes == -1 else num_classes
    refuse((index < 0) | (index >= classes), "tensor", "one_hot", f"lie in [0, {classes})", index)
    hot = (index[..., None] == np.arange(classes)).astype(np.int64)
    return np.ndarray.view(hot, Tensor)


class _Loss:
    """What the losses of `nn` share: a checked weight and reduction."""

    def __init__(self, weight: ArrayLike | None = None, *, reduction: Reduction = "mean") -> None:
        name = type(self).__name__
        self.reduction = check_reduction(name, reduction)
        self.weight = _as_tensor(check_weight("weight", name, weight))

    def __call__(self, input: ArrayLike, target: ArrayLike) -> Tensor:
        return self.forward(input, target)

    def forward(self, input: ArrayLike, target: ArrayLike) -> Tensor:
        raise NotImplementedError

    def __repr__(self) -> str:
        return f"{type(self).__name__}()"


def _as_tensor(array: Float32 | None) -> Tensor | None:
    return None if array is None else np.ndarray.view(array, Tensor)


class _LogitLoss(_Loss):
    """What the losses on logits share: their options, and the call of C."""

    def __init__(self, weight: ArrayLike | None = None, *, reduction: Reduction = "mean",
                 pos_weight: ArrayLike | None = None, label_smoothing: float = 0.0,
                 missing: Literal["mask"] | None = None) -> None:
        name = type(self).__name__
        super().__init__(weight, reduction=reduction)
        self.pos_weight = _as_tensor(check_weight("pos_weight", name, pos_weight))
        self.label_smoothing = check_between(name, "label_smoothing", label_smoothing, 0, 1)
        self.missing = check_choice(name, "missing", missing, (None, "mask"))

    def _core(self) -> tuple[Function, str]:
        """Return the function of C, and the name for its messages."""
        raise NotImplementedError

    def _arguments(self, input: ArrayLike, target: ArrayLike) -> _Arguments:
        options = {"weight": self.weight, "pos_weight": self.pos_weight,
                   "smoothing": self.label_smoothing, "missing": self.missing == "mask"}
        return (*self._core(), input, target, self.reduction), options

    def forward(self, input: ArrayLike, target: ArrayLike) -> Tensor:
        """Return the loss, as calling the object does."""
        args, options = self._arguments(input, target)
        value, cells, _ = _value(*args, **options)
        return _like(input, cells if self.reduction == "none" else value)

    def value_and_grad(self, input: ArrayLike, target: ArrayLike) -> tuple[float, Float32]:
        """Return (float, float32 gradient of the shape of `input`)."""
        refuse_redefined(self, _LogitLoss, "forward", "__call__")
        args, options = self._arguments(input, target)
        return _value_and_grad(*args, **options)


class BCEWithLogitsLoss(_LogitLoss):
    """`binary_cross_entropy_with_logits` as an object.

    Parameters
    ----------
    weight, pos_weight : array_like, optional
    reduction : {"mean", "sum", "none"}
    label_smoothing : float, default 0.0
        Targets y become ``(1 - label_smoothing) * y + label_smoothing / 2``.
    missing : {None, "mask"}
        "mask" leaves cells out whose target is NaN: the loss and the gradient are 0 there, and the
        mean is over the others. It is 0 where none is left. None refuses them.

    Examples
    --------
    >>> BCEWithLogitsLoss(reduction="sum")([0.0122, 0.2294], [0.5, 0.29])
    tensor(1.4411)
    >>> BCEWithLogitsLoss(missing="mask")([0.0, 4.0], [1.0, float("nan")])
    tensor(0.6931)
    """

    def _core(self) -> tuple[Function, str]:
        return _core.bce_with_logits, _BCE


class AsymmetricLoss(_LogitLoss):
    """The asymmetric loss of Ridnik et al. (ICCV 2021): what is easy counts less, by two powers.

    With ``s = sigmoid(x)`` and ``p = max(s - clip, 0)``, a cell's loss is
    ``-y * (1 - s)**gamma_pos * log(s) - (1 - y) * p**gamma_neg * log(1 - p)``, and the gradient
    is that of all of it. With equal powers and no clip it is the focal loss of Lin et al. (ICCV
    2017).

    Parameters
    ----------
    gamma_neg, gamma_pos : float, default 4.0 and 1.0
        Powers for labels that are not there and for those that are.
    clip : float in [0, 1), default 0.05
        An absent label whose probability is not above it costs nothing.
    weight, reduction, pos_weight, label_smoothing, missing
        As `BCEWithLogitsLoss` has them.

    Examples
    --------
    >>> AsymmetricLoss()([[2.0, -1.0]], [[1, 0]])
    tensor(0.0078)
    """

    def __init__(self, gamma_neg: float = 4.0, gamma_pos: float = 1.0, clip: float = 0.05,
                 **options: Any) -> None:
        super().__init__(**options)
        name = type(self).__name__
        self.gamma_neg = check_between(name, "gamma_neg", gamma_neg, 0, np.inf)
        self.gamma_pos = check_between(name, "gamma_pos", gamma_pos, 0, np.inf)
        self.clip = check_between(name, "clip", clip, 0, 1)

    def __repr__(self) -> str:
        return (f"AsymmetricLoss(gamma_neg={self.gamma_neg:g}, gamma_pos={self.gamma_pos:g}, "
                f"clip={self.clip:g})")

    def _arguments(self, input: ArrayLike, target: ArrayLike) -> _Arguments:
        args, options = super()._arguments(input, target)
        return args, {**options, "focus": (self.gamma_neg, self.gamma_pos, self.clip)}

    def _core(self) -> tuple[Function, str]:
        return _core.asymmetric_with_logits, "AsymmetricLoss"


class BCELoss(_Loss):
    """`binary_cross_entropy` as an object. It has no gradient here: train on logits.

    Examples
    --------
    >>> BCELoss()([0.5, 0.25], [1.0, 0.0])
    tensor(0.4904)
    """

    def forward(self, input: ArrayLike, target: ArrayLike) -> Tensor:
        """Return the loss, as calling the object does."""
        return binary_cross_entropy(input, target, self.weight, self.reduction)


class Sigmoid:
    """`sigmoid` as an object.

    Examples
    --------
    >>> Sigmoid()([0.0])
    tensor([0.5000])
    """

    def __call__(self, input: ArrayLike) -> Tensor:
        return sigmoid(input)

    def __repr__(self) -> str:
        return "Sigmoid()"


def refuse_redefined(loss: object, base: type[Any], *methods: str) -> None:
    """Raise NotImplementedError if the gradient of `base` is not that of `loss`.

    That is so where a subclass redefines one of `methods`, which compute the loss, and leaves
    ``value_and_grad`` as `base` has it.
    """
    cls: Any = type(loss)
    if cls.value_and_grad is not base.value_and_grad:
        return
    changed = [m for m in methods if getattr(cls, m) is not getattr(base, m)]
    if changed:
        raise NotImplementedError(
            f"value_and_grad: `{cls.__name__}` must define its own value_and_grad(logits, targs), "
            f"as it redefines {changed[0]}; {NO_AUTOGRAD}"
        )


def value_and_grad(loss_func: Any, logits: ArrayLike, targs: ArrayLike) -> tuple[float, Float32]:
    """Return the value and the gradient of any loss that knows its gradient.

    Parameters
    ----------
    loss_func : object with ``value_and_grad``, or the function `binary_cross_entropy_with_logits`
    logits, targs : array_like (N, L)

    Returns
    -------
    value : float
    grad : float32 ndarray (N, L)

    Raises
    ------
    NotImplementedError
        The loss knows no gradient, and nothing here could derive it.

    Examples
    --------
    >>> value_and_grad(BCELoss(), [[0.5]], [[1.0]])
    Traceback (most recent call last):
    ...
    NotImplementedError: value_and_grad: `loss_func` must know its gradient, got BCELoss(); there \
is no autograd here: train with a Learner, or ask a loss for `value_and_grad(logits, targs)`
    """
    known: Callable[..., tuple[float, Float32]] | None = getattr(loss_func, "value_and_grad", None)
    if known is None:
        raise NotImplementedError(
            f"value_and_grad: `loss_func` must know its gradient, got {loss_func!r}; {NO_AUTOGRAD}"
        )
    return known(logits, targs)


F = Namespace(
    "F",
    binary_cross_entropy=binary_cross_entropy,
    binary_cross_entropy_with_logits=binary_cross_entropy_with_logits,
    one_hot=one_hot,
    relu=relu,
    sigmoid=sigmoid,
)
nn = Namespace(
    "nn", BCELoss=BCELoss, BCEWithLogitsLoss=BCEWithLogitsLoss, Sigmoid=Sigmoid, functional=F
)
