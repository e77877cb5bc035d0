"""Losses as fastai has them: a loss of `nn` that flattens, activates and decodes.

A loss has ``__call__(logits, targs)``, ``value_and_grad(logits, targs)`` for training,
``activation`` (logits to probabilities) and ``decodes`` (probabilities to predictions).
"""

import inspect
from collections.abc import Callable
from typing import Any, Protocol, TypeVar

import numpy as np

from mlclassify.arrays import as_array, refuse
from mlclassify.checks import check_between, check_choice, check_has
from mlclassify.functional import (
    AsymmetricLoss,
    Reduction,
    refuse_redefined,
    value_and_grad,
)
from mlclassify.tensor import Tensor, TensorBase, nn, sigmoid
from mlclassify.thresholds import check_thresh, decide
from mlclassify.types import ArrayLike, Float32, Float64, Function

_Function = TypeVar("_Function", bound=Function)

_SMALL_INTS = (np.int8, np.int16, np.int32)


def use_kwargs_dict(keep: bool = False, **kwargs: Any) -> Callable[[_Function], _Function]:
    """Show the names and defaults of ``**kwargs`` in the signature of a function.

    Parameters
    ----------
    keep : bool, default False
        Leave ``**kwargs`` in the signature, too.
    **kwargs
        The names, and the defaults that help and completion show. The call is not changed.

    Returns
    -------
    decorator

    Examples
    --------
    >>> @use_kwargs_dict(keep=True, weight=None)
    ... def loss(x, **kwargs): ...
    >>> inspect.signature(loss)
    <Signature (x, *, weight=None, **kwargs)>
    """

    def decorate(function: _Function) -> _Function:
        signature = inspect.signature(function)
        kinds = inspect.Parameter
        old = list(signature.parameters.values())
        rest = [p for p in old if p.kind is kinds.VAR_KEYWORD]
        named = [p for p in old if p.kind is not kinds.VAR_KEYWORD and p.name not in kwargs]
        shown = [kinds(n, kinds.KEYWORD_ONLY, default=v) for n, v in kwargs.items()]
        new = [*named, *shown, *(rest if keep else [])]
        function.__signature__ = (  # type: ignore[attr-defined]
            signature.replace(parameters=new)
        )
        return function

    return decorate


class BaseLoss:
    """A loss that brings logits and targets into the form which another loss takes.

    Parameters
    ----------
    loss_cls : callable
        Makes the loss that is called in the end, ``loss_cls(*args, **kwargs)``.
    axis : int, default -1
        The dimension of the labels; it is moved to the end.
    flatten : bool, default True
        Hand on flat targets, and logits of shape (cells, L), or flat as well unless `is_2d`.
    floatify : bool, default False
        Make the targets float32; else small integers become int64.
    is_2d : bool, default True
        Keep the labels of the logits apart when flattening.

    Notes
    -----
    A subclass over ``nn.BCEWithLogitsLoss`` can be trained with. One that overrides ``__call__``
    has to bring its own ``value_and_grad``: there is no autograd here.

    Examples
    --------
    >>> BaseLoss(nn.BCEWithLogitsLoss, is_2d=False)
    FlattenedLoss of BCEWithLogitsLoss()
    """

    def __init__(
        self, loss_cls: Function, *args: Any, axis: int = -1, flatten: bool = True,
        floatify: bool = False, is_2d: bool = True, **kwargs: Any
    ) -> None:
        self.func = loss_cls(*args, **kwargs)
        self.axis, self.flatten, self.floatify, self.is_2d = axis, flatten, floatify, is_2d

    def __repr__(self) -> str:
        return f"FlattenedLoss of {self.func}"

    @property
    def reduction(self) -> Reduction:
        """How cells become one number: "mean", "sum" or "none", as the loss within has it."""
        reduction: Reduction = self.func.reduction
        return reduction

    @reduction.setter
    def reduction(self, value: Reduction) -> None:
        self.func.reduction = value

    def __call__(self, inp: ArrayLike, targ: ArrayLike) -> Any:
        return self.func(*self._prepared(inp, targ))

    def value_and_grad(self, inp: ArrayLike, targ: ArrayLike) -> tuple[float, Float32]:
        """Return the loss and its gradient.

        Parameters
        ----------
        inp : array_like (N, L)
            Logits.
        targ : array_like (N, L)

        Returns
        -------
        value : float
        grad : float32 ndarray of the shape of `inp`, C-contiguous

        Raises
        ------
        NotImplementedError
            The gradient of this loss is not known.
        """
        refuse_redefined(self, BaseLoss, "__call__")
        value, grad = value_and_grad(self.func, *self._prepared(inp, targ))
        moved = self._moved(inp).shape
        return value, np.ascontiguousarray(np.swapaxes(grad.reshape(moved), self.axis, -1))

    def _moved(self, x: ArrayLike) -> TensorBase:
        """Return `x` with the labels along its last dimension."""
        x = TensorBase(x)
        if self.axis in (-1, x.ndim - 1):
            return x.contiguous()
        if not -x.ndim <= self.axis < x.ndim:
            raise ValueError(
                f"{type(self).__name__}: `axis` must be a dimension of logits and targets, "
                f"got {self.axis} for shape {tuple(x.shape)}"
            )
        return x.transpose(self.axis, -1).contiguous()

    def _prepared(self, inp: ArrayLike, targ: ArrayLike) -> tuple[TensorBase, TensorBase]:
        x, y = self._moved(inp), self._moved(targ)
        if self.floatify:
            y = y.float()
        elif y.dtype in _SMALL_INTS:
            y = y.long()
        if self.flatten:
            x = x.view(-1, x.shape[-1]) if self.is_2d else x.view(-1)
            y = y.view(-1)
        return x, y

    def activation(self, x: Any) -> Any:
        """Return what the model's output means: here, the output itself."""
        return x

    def decodes(self, x: Any) -> Any:
        """Return the prediction for an activated output: here, the output itself."""
        return x


class Calibrates(Protocol):
    """What makes probabilities of logits, as `mlclassify.calibration.Calibration` does."""

    def __call__(self, logits: ArrayLike, /) -> Tensor:
        """Return probabilities of the shape of `logits`."""

    def to_dict(self) -> dict[str, Any]:
        """Return what JSON can hold."""


class _LogitLossFlat(BaseLoss):
    """What the losses on logits share: how logits decide, and weights from the training targets.

    Attributes
    ----------
    thresh : float32 scalar or (L,)
    calibration : Calibration or None
        Makes the probabilities instead of the sigmoid; see `Learner.calibrate`.
    """

    def __init__(
        self, loss_cls: Function, *args: Any, axis: int, floatify: bool, thresh: ArrayLike,
        **kwargs: Any
    ) -> None:
        self.thresh, self.calibration = thresh, None
        self.balanced = isinstance(kwargs.get("pos_weight"), str)
        kwargs = _with_flatten(type(self).__name__, args, kwargs)
        if self.balanced:
            given = kwargs.pop("pos_weight")
            check_choice(type(self).__name__, "pos_weight", given, ("balanced",))
        super().__init__(loss_cls, *args, axis=axis, floatify=floatify, is_2d=False, **kwargs)

    @property
    def thresh(self) -> Any:
        """The threshold on probabilities, float32 scalar or (L,); setting it checks it."""
        return self._thresh

    @thresh.setter
    def thresh(self, thresh: ArrayLike) -> None:
        self._thresh = check_thresh(type(self).__name__, thresh)

    @property
    def calibration(self) -> Calibrates | None:
        """What makes probabilities of logits instead of the sigmoid, or None."""
        return self._calibration

    @calibration.setter
    def calibration(self, calibration: Calibrates | None) -> None:
        if calibration is not None:
            check_has(type(self).__name__, "calibration", calibration, _CALIBRATION, "to_dict")
        self._calibration = calibration

    def balance(self, targets: ArrayLike) -> None:
        """Set `pos_weight` to the number of absent labels over that of present ones, for each.

        A learner calls this with its training targets where ``pos_weight='balanced'``. A label that
        is always there or never keeps the weight 1.

        Parameters
        ----------
        targets : array_like (N, L)
            In [0, 1]; NaN where it is not known.

        Examples
        --------
        >>> loss = BCEWithLogitsLossFlat(pos_weight="balanced")
        >>> loss.balance([[1, 0], [0, 0], [0, 0]])
        >>> loss.func.pos_weight
        tensor([2., 1.])
        """
        targets = as_array("targets", "balance", targets)
        if targets.ndim != 2 or not len(targets):
            raise ValueError(
                f"balance: `targets` must have shape (N, L), N not 0, got {targets.shape}"
            )
        bad = (targets < 0) | (targets > 1)
        refuse(bad, "targets", "balance", "lie in [0, 1]", targets)
        present: Float64 = np.nansum(targets, axis=0, dtype=np.float64)
        absent: Float64 = np.nansum(1.0 - targets, axis=0, dtype=np.float64)
        both = (present > 0) & (absent > 0)
        ratio = np.divide(absent, present, out=np.ones(len(both)), where=both)
        self.func.pos_weight = Tensor(ratio)

    def _prepared(self, inp: ArrayLike, targ: ArrayLike) -> tuple[TensorBase, TensorBase]:
        if self.balanced and self.func.pos_weight is None:
            raise ValueError(
                f"{type(self).__name__}: `pos_weight` must be numbers by now, got 'balanced'; a "
                "Learner takes them from its training targets, and so does loss.balance(targets)"
            )
        return super()._prepared(inp, targ)

    def activation(self, x: Any) -> Any:
        """Return the probabilities of logits."""
        return sigmoid(x) if self.calibration is None else self.calibration(x)

    def decodes(self, x: Any) -> Tensor:
        """Return which labels are predicted for probabilities, bool, of the same shape."""
        return decide(x, self.thresh)


_CALIBRATION = "be None or a Calibration, as fit_temperature and fit_platt give"
_OPTIONS = {"weight": None, "reduction": "mean", "pos_weight": None, "flatten": True,
            "label_smoothing": 0.0, "missing": None}


class BCEWithLogitsLossFlat(_LogitLossFlat):
    """Binary cross entropy on logits that accepts any two shapes of as many cells.

    Parameters
    ----------
    *args
        Handed to ``nn.BCEWithLogitsLoss``: `weight`.
    axis : int, default -1
        The dimension of the labels.
    floatify : bool, default True
        Accept integer targets.
    thresh : float or array_like (L,), default 0.5
        Probability above which `decodes` predicts a label; see `thresholds.check_thresh`.
    **kwargs
        `weight`, `reduction` ("mean"), `flatten` (True, but False where a weight a label is given,
        which only fits targets that are not flattened), `pos_weight` (numbers, or "balanced": what
        `balance` finds in the training targets), `label_smoothing` (0.0), and `missing` (None;
        "mask" leaves NaN targets out).

    Raises
    ------
    ValueError
        `flatten` is True with a `pos_weight`, a threshold is none, or a weight is negative.

    Examples
    --------
    >>> loss = BCEWithLogitsLossFlat(thresh=0.95)
    >>> loss([[0.0122], [0.2294], [-0.1563], [-0.1483]], [0.5, 0.29, 0.36, 0.03])
    TensorBase(0.6854)
    >>> loss.decodes([0.5806, 0.0633, 0.8982])
    tensor([False, False, False])
    """

    @use_kwargs_dict(keep=True, **_OPTIONS)
    def __init__(self, *args: Any, axis: int = -1, floatify: bool = True, thresh: ArrayLike = 0.5,
                 **kwargs: Any) -> None:
        super().__init__(
            nn.BCEWithLogitsLoss, *args, axis=axis, floatify=floatify, thresh=thresh, **kwargs
        )


class AsymmetricLossFlat(_LogitLossFlat):
    """`functional.AsymmetricLoss` with what `BCEWithLogitsLossFlat` has around it.

    Parameters
    ----------
    gamma_neg, gamma_pos, clip : float, default 4.0, 1.0 and 0.05
        See `functional.AsymmetricLoss`.
    axis, floatify, thresh, **kwargs
        As `BCEWithLogitsLossFlat` has them.

    Examples
    --------
    >>> AsymmetricLossFlat(gamma_neg=2)([[2.0, -1.0]], [[1, 0]])
    TensorBase(0.0135)
    """

    @use_kwargs_dict(keep=True, **_OPTIONS)
    def __init__(self, gamma_neg: float = 4.0, gamma_pos: float = 1.0, clip: float = 0.05, *,
                 axis: int = -1, floatify: bool = True, thresh: ArrayLike = 0.5,
                 **kwargs: Any) -> None:
        super().__init__(
            AsymmetricLoss, gamma_neg=gamma_neg, gamma_pos=gamma_pos, clip=clip, axis=axis,
            floatify=floatify, thresh=thresh, **kwargs,
        )  # fmt: skip


class FocalLossFlat(AsymmetricLossFlat):
    """The focal loss of every label: binary cross entropy times ``(1 - p_t) ** gamma``.

    `p_t` is the probability of what is true. fastai's class of this name is for one label a photo.
    The `alpha` of Lin et al. is ``weight=1 - alpha, pos_weight=alpha / (1 - alpha)`` here.

    Parameters
    ----------
    gamma : float, default 2.0
    axis, floatify, thresh, **kwargs
        As `BCEWithLogitsLossFlat` has them.

    Examples
    --------
    >>> FocalLossFlat()([[2.0, -1.0]], [[1, 0]])
    TensorBase(0.0122)
    """

    @use_kwargs_dict(keep=True, **_OPTIONS)
    def __init__(self, gamma: float = 2.0, *, axis: int = -1, floatify: bool = True,
                 thresh: ArrayLike = 0.5, **kwargs: Any) -> None:
        gamma = check_between("FocalLossFlat", "gamma", gamma, 0, np.inf)
        super().__init__(
            gamma, gamma, 0.0, axis=axis, floatify=floatify, thresh=thresh, **kwargs
        )


def _with_flatten(name: str, args: tuple[Any, ...], kwargs: dict[str, Any]) -> dict[str, Any]:
    """Return `kwargs` with `flatten` decided by the weights."""
    if kwargs.get("pos_weight") is not None:
        if kwargs.get("flatten"):
            raise ValueError(
                f"{name}: `flatten` must not be True with a `pos_weight`, got True. "
                "`flatten` must be False when using `pos_weight` to avoid a RuntimeError due to "
                "shape mismatch"
            )
        return {**kwargs, "flatten": False}
    weight = args[0] if args else kwargs.get("weight")
    one_a_label = weight is not None and np.size(weight) > 1
    return {"flatten": not one_a_label, **kwargs}
