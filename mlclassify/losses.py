"""Losses as fastai has them: a loss of `nn` that flattens, activates and decodes.

A loss has ``__call__(logits, targs)``, ``value_and_grad(logits, targs)`` for training,
``activation`` (logits to probabilities) and ``decodes`` (probabilities to predictions).
"""

import inspect

import numpy as np

from mlclassify.functional import refuse_redefined, value_and_grad
from mlclassify.tensor import TensorBase, nn, sigmoid
from mlclassify.thresholds import check_thresh, decide

_SMALL_INTS = (np.int8, np.int16, np.int32)


def use_kwargs_dict(keep=False, **kwargs):
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

    def decorate(function):
        signature = inspect.signature(function)
        kinds = inspect.Parameter
        old = list(signature.parameters.values())
        rest = [p for p in old if p.kind is kinds.VAR_KEYWORD]
        named = [p for p in old if p.kind is not kinds.VAR_KEYWORD and p.name not in kwargs]
        shown = [kinds(n, kinds.KEYWORD_ONLY, default=v) for n, v in kwargs.items()]
        new = [*named, *shown, *(rest if keep else [])]
        function.__signature__ = signature.replace(parameters=new)
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
        self, loss_cls, *args, axis=-1, flatten=True, floatify=False, is_2d=True, **kwargs
    ):
        self.func = loss_cls(*args, **kwargs)
        self.axis, self.flatten, self.floatify, self.is_2d = axis, flatten, floatify, is_2d

    def __repr__(self):
        return f"FlattenedLoss of {self.func}"

    @property
    def reduction(self):
        """How cells become one number: "mean", "sum" or "none", as the loss within has it."""
        return self.func.reduction

    @reduction.setter
    def reduction(self, value):
        self.func.reduction = value

    def __call__(self, inp, targ):
        return self.func(*self._prepared(inp, targ))

    def value_and_grad(self, inp, targ):
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

    def _moved(self, x):
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

    def _prepared(self, inp, targ):
        inp, targ = self._moved(inp), self._moved(targ)
        if self.floatify:
            targ = targ.float()
        elif targ.dtype in _SMALL_INTS:
            targ = targ.long()
        if self.flatten:
            inp = inp.view(-1, inp.shape[-1]) if self.is_2d else inp.view(-1)
            targ = targ.view(-1)
        return inp, targ

    def activation(self, x):
        """Return what the model's output means: here, the output itself."""
        return x

    def decodes(self, x):
        """Return the prediction for an activated output: here, the output itself."""
        return x


class BCEWithLogitsLossFlat(BaseLoss):
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
        `weight`, `reduction` ("mean"), `pos_weight`, `flatten` (True, but False where a weight a
        label is given, which only fits targets that are not flattened).

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

    @use_kwargs_dict(keep=True, weight=None, reduction="mean", pos_weight=None, flatten=True)
    def __init__(self, *args, axis=-1, floatify=True, thresh=0.5, **kwargs):
        self.thresh = thresh
        super().__init__(
            nn.BCEWithLogitsLoss, *args, axis=axis, floatify=floatify, is_2d=False,
            **_with_flatten(args, kwargs),
        )  # fmt: skip

    @property
    def thresh(self):
        """The threshold on probabilities, float32 scalar or (L,); setting it checks it."""
        return self._thresh

    @thresh.setter
    def thresh(self, thresh):
        self._thresh = check_thresh("BCEWithLogitsLossFlat", thresh)

    def activation(self, x):
        """Return the probabilities of logits."""
        return sigmoid(x)

    def decodes(self, x):
        """Return which labels are predicted for probabilities, bool, of the same shape."""
        return decide(x, self.thresh)


def _with_flatten(args, kwargs):
    """Return `kwargs` with `flatten` decided by the weights."""
    if kwargs.get("pos_weight") is not None:
        if kwargs.get("flatten"):
            raise ValueError(
                "BCEWithLogitsLossFlat: `flatten` must not be True with a `pos_weight`, got True. "
                "`flatten` must be False when using `pos_weight` to avoid a RuntimeError due to "
                "shape mismatch"
            )
        return {**kwargs, "flatten": False}
    weight = args[0] if args else kwargs.get("weight")
    one_a_label = weight is not None and np.size(weight) > 1
    return {"flatten": not one_a_label, **kwargs}
