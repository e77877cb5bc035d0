"""The optimizer and the schedules of its learning rate and momentum.

`Adam` holds one value of every hyper-parameter for each parameter group; the arithmetic is in C
(``csrc/nn/optim.c``). A schedule is a function of the position in a fit, from 0 to 1. Step t of T
stands at t / T, so the end of a schedule itself is never used, as in fastai.
"""

import math

from mlclassify.checks import check_whole

HYPERS = ("lr", "mom", "sqr_mom", "eps", "wd")


def cosine(start, end, position):
    """Move from `start` to `end` along half a cosine.

    Examples
    --------
    >>> round(cosine(0.0, 1.0, 0.25), 6)
    0.146447
    """
    return start + (1 - math.cos(math.pi * position)) * (end - start) / 2


def combined_cosine(pct_start, start, middle, end):
    """Return the schedule that rises to `middle` until `pct_start` and then goes on to `end`.

    Parameters
    ----------
    pct_start : float
        Where the first half ends, in (0, 1).
    start, middle, end : float

    Returns
    -------
    function of a position in [0, 1]

    Examples
    --------
    >>> lr = combined_cosine(0.25, 0.04, 1.0, 0.0)
    >>> lr(0.0), lr(0.25), round(lr(0.625), 6)
    (0.04, 1.0, 0.5)
    """
    if not 0 < check_hyper(pct_start, "pct_start", "fit_one_cycle") < 1:
        raise ValueError(f"fit_one_cycle: `pct_start` must lie in (0, 1), got {pct_start!r}")

    def schedule(position):
        if position < pct_start:
            return cosine(start, middle, position / pct_start)
        return cosine(middle, end, (position - pct_start) / (1 - pct_start))

    return schedule


def spread(value, n, name="lr", function="Adam"):
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
    elif not isinstance(value, str) and hasattr(value, "__len__") and getattr(value, "ndim", 1):
        values = list(value)
    else:
        values = [value] * n
    if len(values) != n:
        raise ValueError(
            f"{function}: `{name}` must have {n} values, one a group, got {len(values)}"
        )
    return [check_hyper(v, name, function) for v in values]


def _spread_slice(value, n, name, function):
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


def check_hyper(value, name, function="Adam"):
    """Return `value` as a float, or say in the name of `function` which rule it breaks."""
    try:
        number = float(None if isinstance(value, str) else value)
    except (TypeError, ValueError):
        raise TypeError(f"{function}: `{name}` must be a number, got {value!r}") from None
    if not (math.isfinite(number) and number >= 0):
        raise ValueError(f"{function}: `{name}` must be finite and not negative, got {number}")
    if name in ("mom", "sqr_mom", "moms") and number >= 1:
        raise ValueError(f"{function}: `{name}` must lie in [0, 1), got {number}")
    return number


class Adam:
    """Adam with decoupled weight decay, as fastai's ``Adam``.

    For each parameter p with gradient g, in this order: p *= 1 - lr wd (not on batch norm and
    biases), m = mom m + (1 - mom) g, v = sqr_mom v + (1 - sqr_mom) g^2, then
    p -= lr / (1 - mom^t) m / (sqrt(v / (1 - sqr_mom^t)) + eps) with t the number of steps so far.

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

    def __init__(self, net, n_groups, lr=1e-3, mom=0.9, sqr_mom=0.99, eps=1e-5, wd=0.01):
        self._net = net
        self.n_groups = check_whole("Adam", "n_groups", n_groups, at_least=1)
        self._values = {}
        self.set_hypers(lr=lr, mom=mom, sqr_mom=sqr_mom, eps=eps, wd=wd)

    @property
    def hypers(self):
        """One dict of hyper-parameters for each group."""
        return [{name: self._values[name][i] for name in HYPERS} for i in range(self.n_groups)]

    def set_hypers(self, **values):
        """Set some of lr, mom, sqr_mom, eps and wd: a float for all groups, or one for each."""
        unknown = sorted(set(values) - set(HYPERS))
        if unknown:
            raise TypeError(f"Adam: the hyper-parameters are {', '.join(HYPERS)}, got {unknown[0]}")
        new = {name: spread(value, self.n_groups, name) for name, value in values.items()}
        self._values.update(new)

    def step(self):
        """Move every trainable parameter once; consumes the gradients and leaves them zero."""
        self._net.adam_step(*(self._values[name] for name in HYPERS))

    def clear_state(self):
        """Forget the moments and the number of steps."""
        self._net.clear_state()

    def __repr__(self):
        lrs = ", ".join(f"{lr:g}" for lr in self._values["lr"])
        return f"Adam(lr=[{lrs}], wd={self._values['wd'][-1]:g})"
