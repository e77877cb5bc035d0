"""The optimizers.

Each holds one value of every hyper-parameter for each parameter group; the arithmetic is in C
(``csrc/nn/optim.c``).
"""

import math
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, TypeAlias

from mlclassify._core import Net
from mlclassify.checks import check_whole
from mlclassify.types import AnyArray

Hyper: TypeAlias = float | slice | Sequence[float] | AnyArray
HYPERS = ("lr", "mom", "sqr_mom", "eps", "wd")


def spread(value: Hyper, n: int, name: str = "lr", function: str = "Adam") -> list[float]:
    """Return one float for each of `n` parameter groups, the first group first.

    Parameters
    ----------
    value : float, slice or sequence
        ``slice(a)`` gives the last group a and the others a / 10, ``slice(a, b)`` goes from a to
        b in equal factors; a sequence must have one value for each group.
    n : int
    name, function : str
        How messages call the value and who wanted it.

    Returns
    -------
    list of n floats

    Examples
    --------
    >>> spread(slice(0.5), 3)
    [0.05, 0.05, 0.5]
    >>> [round(x, 9) for x in spread(slice(1e-5, 1e-3), 3)]
    [1e-05, 0.0001, 0.001]
    """
    if isinstance(value, slice):
        values = _spread_slice(value, n, name, function)
    else:
        values = _repeated(value, n)
    if len(values) != n:
        raise ValueError(
            f"{function}: `{name}` must have {n} values, one a group, got {len(values)}"
        )
    return [check_hyper(v, name, function) for v in values]


def _repeated(value: Any, n: int) -> list[Any]:
    """Return what a sequence holds, or anything else `n` times."""
    if not isinstance(value, str) and hasattr(value, "__len__") and getattr(value, "ndim", True):
        return list(value)
    return [value] * n


def _spread_slice(value: slice, n: int, name: str, function: str) -> list[float]:
    if value.stop is None or value.step is not None:
        raise ValueError(
            f"{function}: `{name}` must be slice(last) or slice(first, last), got {value}"
        )
    stop = check_hyper(value.stop, name, function)
    if value.start is None:
        return [stop / 10] * (n - 1) + [stop]
    start = check_hyper(value.start, name, function)
    if not start or not stop:
        raise ValueError(f"{function}: `{name}` must be a slice of numbers above 0, got {value}")
    if n == 1:
        return [stop]
    return [start * (stop / start) ** (i / (n - 1)) for i in range(n)]


def check_hyper(value: Any, name: str, function: str = "Adam") -> float:
    """Return `value` as a float, or say in the name of `function` which rule it breaks."""
    try:
        given: Any = None if isinstance(value, str) else value
        number = float(given)
    except (TypeError, ValueError):
        raise TypeError(f"{function}: `{name}` must be a number, got {value!r}") from None
    if not (math.isfinite(number) and number >= 0):
        raise ValueError(f"{function}: `{name}` must be finite and not negative, got {number}")
    if name in ("mom", "sqr_mom", "moms") and number >= 1:
        raise ValueError(f"{function}: `{name}` must lie in [0, 1), got {number}")
    return number


class Optimizer:
    """Hyper-parameters for each group, and the step in C that goes by them; the base of all.

    Parameters
    ----------
    net : _core.Net
        Owner of parameters, gradients and moments.
    n_groups : int
        Number of the parameter groups of `net`.
    **hypers : float, slice or sequence
        All of `names`. A slice is spread over the groups, see `spread`.

    Attributes
    ----------
    names : tuple of str
        The hyper-parameters, in the order in which `step` hands them on.
    """

    names: tuple[str, ...] = HYPERS

    def __init__(self, net: Net, n_groups: int, **hypers: Hyper) -> None:
        self._net, self._who = net, type(self).__name__
        self.n_groups = check_whole(self._who, "n_groups", n_groups, at_least=1)
        self._values: dict[str, list[float]] = {}
        self.set_hypers(**hypers)

    @property
    def hypers(self) -> list[dict[str, float]]:
        """One dict of hyper-parameters for each group."""
        return [{name: self._values[name][i] for name in self.names} for i in range(self.n_groups)]

    def set_hypers(self, **values: Hyper) -> None:
        """Set some of the hyper-parameters: a float for all groups, or one for each."""
        unknown = sorted(set(values) - set(self.names))
        if unknown:
            raise TypeError(f"{self._who}: the hyper-parameters are {', '.join(self.names)}, "
                            f"got {unknown[0]}")
        new = {name: spread(v, self.n_groups, name, self._who) for name, v in values.items()}
        self._values.update(new)

    def step(self) -> None:
        """Move every trainable parameter once; consumes the gradients and leaves them zero."""
        raise NotImplementedError("Optimizer: `step` must be defined by the class of an optimizer")

    def clear_state(self) -> None:
        """Forget the moments and the number of steps."""
        self._net.clear_state()

    def state_dict(self) -> dict[str, Any]:
        """Return a copy of what a later run needs to go on from here.

        Returns
        -------
        dict
            ``'hypers'``: as `hypers`; ``'state'``: by name of each parameter that was stepped
            (number of steps, first moment, second moment).
        """
        state = {name: (step, m.copy(), v.copy())
                 for name, (step, m, v) in self._net.optimizer_state().items()}
        return {"hypers": self.hypers, "state": state}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Go on from what `state_dict` gave.

        Raises
        ------
        KeyError, TypeError, ValueError
            It is of another network or optimizer; nothing has changed.
        """
        hypers = state["hypers"]
        values = {name: [group[name] for group in hypers] for name in self.names}
        checked = {name: spread(v, self.n_groups, name, self._who) for name, v in values.items()}
        self._net.load_optimizer_state(state["state"])
        self._values = checked

    def _hand_on(self, *names: str) -> Iterator[list[float]]:
        return (self._values[name] for name in names or self.names)

    def __repr__(self) -> str:
        lrs = ", ".join(f"{lr:g}" for lr in self._values["lr"])
        return f"{self._who}(lr=[{lrs}], wd={self._values['wd'][-1]:g})"


class Adam(Optimizer):
    """Adam with decoupled weight decay, as fastai's ``Adam``.

    For each parameter p with gradient g, where t is the number of steps so far, in this order::

        p *= 1 - lr wd                    (not on batch norm and biases)
        m = mom m + (1 - mom) g
        v = sqr_mom v + (1 - sqr_mom) g^2
        p -= lr / (1 - mom^t) m / (sqrt(v / (1 - sqr_mom^t)) + eps)

    Parameters
    ----------
    net : _core.Net
        Owner of parameters, gradients and moments.
    n_groups : int
        Number of the parameter groups of `net`.
    lr : float, slice or sequence
        A slice is spread over the groups, see `spread`.
    mom, sqr_mom, eps, wd : float or sequence
        Defaults are fastai's.
    """

    def __init__(self, net: Net, n_groups: int, lr: Hyper = 1e-3, mom: Hyper = 0.9,
                 sqr_mom: Hyper = 0.99, eps: Hyper = 1e-5, wd: Hyper = 0.01) -> None:
        super().__init__(net, n_groups, lr=lr, mom=mom, sqr_mom=sqr_mom, eps=eps, wd=wd)

    def step(self) -> None:
        self._net.adam_step(*self._hand_on())


class RAdam(Optimizer):
    """Adam whose first steps are those of momentum alone, as fastai's ``RAdam``.

    While too few gradients were seen to know their variance (Liu et al., 2020), v is not divided
    by; afterwards the rate is that of Adam times a factor that goes to 1.

    Parameters
    ----------
    net, n_groups, lr, mom, sqr_mom, eps, wd
        As in `Adam`; weight decay is off by default, as in fastai.
    """

    def __init__(self, net: Net, n_groups: int, lr: Hyper = 1e-3, mom: Hyper = 0.9,
                 sqr_mom: Hyper = 0.99, eps: Hyper = 1e-5, wd: Hyper = 0.0) -> None:
        super().__init__(net, n_groups, lr=lr, mom=mom, sqr_mom=sqr_mom, eps=eps, wd=wd)

    def step(self) -> None:
        self._net.radam_step(*self._hand_on())


class SGD(Optimizer):
    """Stochastic gradient descent with decoupled weight decay, as fastai's ``SGD``.

    For each parameter p with gradient g, in this order::

        p *= 1 - lr wd                    (not on batch norm and biases)
        m = mom m + g
        p -= lr m

    Parameters
    ----------
    net, n_groups, lr, wd
        As in `Adam`; weight decay is off by default, as in fastai.
    mom : float or sequence
        Made with 0, it goes without momentum whatever a schedule sets, as in fastai:
        ``opt_func=partial(SGD, mom=0.9)`` has momentum.
    """

    names = ("lr", "mom", "wd")

    def __init__(self, net: Net, n_groups: int, lr: Hyper = 1e-3, mom: Hyper = 0.0,
                 wd: Hyper = 0.0) -> None:
        super().__init__(net, n_groups, lr=lr, mom=mom, wd=wd)
        self._plain = not any(self._values["mom"])

    def step(self) -> None:
        lr, mom, wd = self._hand_on()
        self._net.sgd_step(lr, [0.0] * self.n_groups if self._plain else mom, wd)


class Lion(Optimizer):
    """Steps of one length, in the direction of the sign of a moving mean (Chen et al., 2023).

    For each parameter p with gradient g, in this order::

        p *= 1 - lr wd                    (not on batch norm and biases)
        p -= lr sign(mom m + (1 - mom) g)
        m = sqr_mom m + (1 - sqr_mom) g

    It wants a tenth of Adam's learning rate.

    Parameters
    ----------
    net, n_groups, lr, wd
        As in `Adam`.
    mom, sqr_mom : float or sequence
        The paper's beta1 and beta2, under the names that schedules know.
    """

    names = ("lr", "mom", "sqr_mom", "wd")

    def __init__(self, net: Net, n_groups: int, lr: Hyper = 1e-4, mom: Hyper = 0.9,
                 sqr_mom: Hyper = 0.99, wd: Hyper = 0.01) -> None:
        super().__init__(net, n_groups, lr=lr, mom=mom, sqr_mom=sqr_mom, wd=wd)

    def step(self) -> None:
        self._net.lion_step(*self._hand_on())
