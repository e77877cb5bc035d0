"""Schedules of hyper-parameters, and the search for a learning rate.

A schedule is a function of the position in a fit, from 0 to 1. Step t of T stands at t / T, so the
end of a schedule itself is never used, as in fastai.
"""

from __future__ import annotations

import math
from collections import namedtuple
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any, TypeAlias

import numpy as np

from mlclassify.callbacks import Callback, CancelFitException, CancelValidException
from mlclassify.checks import check_function, check_whole
from mlclassify.optim import Hyper, check_hyper, spread
from mlclassify.types import Float32, Function

Schedule: TypeAlias = Callable[[float], float]  # of the position in a fit, 0 to 1
Functions: TypeAlias = Function | list[Function] | tuple[Function, ...] | None
Suggestion: TypeAlias = tuple[float, tuple[float, float]]  # a rate, and the point to mark


def cosine(start: float, end: float, position: float) -> float:
    """Move from `start` to `end` along half a cosine.

    Examples
    --------
    >>> round(cosine(0.0, 1.0, 0.25), 6)
    0.146447
    """
    return start + (1 - math.cos(math.pi * position)) * (end - start) / 2


def combined_cosine(pct_start: float, start: float, middle: float, end: float,
                    function: str = "fit_one_cycle") -> Schedule:
    """Return the schedule that rises to `middle` until `pct_start` and then goes on to `end`.

    Parameters
    ----------
    pct_start : float
        Where the first half ends, in (0, 1).
    start, middle, end : float
    function : str
        Who wanted it, for messages.

    Returns
    -------
    function of a position in [0, 1]

    Examples
    --------
    >>> lr = combined_cosine(0.25, 0.04, 1.0, 0.0)
    >>> lr(0.0), lr(0.25), round(lr(0.625), 6)
    (0.04, 1.0, 0.5)
    """
    if not 0 < check_hyper(pct_start, "pct_start", function) < 1:
        raise ValueError(f"{function}: `pct_start` must lie in (0, 1), got {pct_start!r}")

    def schedule(position: float) -> float:
        if position < pct_start:
            return cosine(start, middle, position / pct_start)
        return cosine(middle, end, (position - pct_start) / (1 - pct_start))

    return schedule


class ParamScheduler(Callback):
    """Set hyper-parameters before every training batch.

    Parameters
    ----------
    schedules : dict of str to list of functions, or to one function
        By name of the hyper-parameter: a function of the position in the fit, 0 to 1, or one
        for each parameter group.
    """

    order = 40

    def __init__(self, schedules: Mapping[str, Schedule | list[Schedule]]) -> None:
        if not isinstance(schedules, dict):
            raise TypeError(f"ParamScheduler: `schedules` must be a dict, got {schedules!r}")
        self.schedules = schedules

    def before_batch(self) -> None:
        if not self.learn.training:
            return
        position = self.position()
        self.learn.opt.set_hypers(**{
            name: [f(position) for f in s] if isinstance(s, list) else s(position)
            for name, s in self.schedules.items()
        })

    def position(self) -> float:
        """Return how much of the fit lies behind, in [0, 1)."""
        learn = self.learn
        n = learn.n_iter
        return (learn.epoch * n + learn.iter) / (learn.n_epoch * n)


def one_cycle(lrs: Sequence[float], div: float, div_final: float, pct_start: float,
              moms: Sequence[float]) -> ParamScheduler:
    """Return the `ParamScheduler` of one cycle.

    Parameters
    ----------
    lrs : list of floats
        The peak of each parameter group.
    div, div_final : float
        The start and the end are the peak divided by these.
    pct_start : float
        Where the peak stands.
    moms : sequence of 3 floats
        Momentum at the start, the peak and the end.
    """
    for name, value in (("div", div), ("div_final", div_final)):
        if not check_hyper(value, name, "fit_one_cycle"):
            raise ValueError(f"fit_one_cycle: `{name}` must be above 0, got {value!r}")
    if not isinstance(moms, (list, tuple)) or len(moms) != 3:
        raise ValueError(f"fit_one_cycle: `moms` must be 3 numbers, got {moms!r}")
    start, middle, end = (check_hyper(mom, "moms", "fit_one_cycle") for mom in moms)
    return ParamScheduler({
        "lr": [combined_cosine(pct_start, lr / div, lr, lr / div_final) for lr in lrs],
        "mom": combined_cosine(pct_start, start, middle, end),
    })


def flat_cosine(lrs: Sequence[float], div_final: float, pct_start: float) -> ParamScheduler:
    """Return the `ParamScheduler` of a constant rate that falls along a cosine at the end.

    Parameters
    ----------
    lrs : list of floats
        Of each parameter group.
    div_final : float
        The end is the rate divided by this.
    pct_start : float
        Where the fall begins.
    """
    function = "fit_flat_cos"
    if not check_hyper(div_final, "div_final", function):
        raise ValueError(f"{function}: `div_final` must be above 0, got {div_final!r}")
    return ParamScheduler({
        "lr": [combined_cosine(pct_start, lr, lr, lr / div_final, function) for lr in lrs]
    })


def warm_restarts(lrs: Sequence[float], n_cycles: int, cycle_len: int,
                  cycle_mult: int) -> tuple[int, ParamScheduler]:
    """Return how many epochs cycles of falling rates take, and their `ParamScheduler`.

    Parameters
    ----------
    lrs : list of floats
        Where each cycle starts, of each parameter group; it falls to 0 along a cosine.
    n_cycles, cycle_len, cycle_mult : int
        The first takes `cycle_len` epochs, each other `cycle_mult` times as many as the last.

    Returns
    -------
    n_epoch : int
    ParamScheduler
    """
    for name, value in (("n_cycles", n_cycles), ("cycle_len", cycle_len),
                        ("cycle_mult", cycle_mult)):
        check_whole("fit_sgdr", name, value, at_least=1)
    ends: list[int] = np.cumsum([cycle_len * cycle_mult**i for i in range(n_cycles)]).tolist()

    def falling(lr: float, position: float) -> float:
        epoch = position * ends[-1]
        # Positions are sums of fractions: what is a hair before a start is the start.
        cycle = min(sum(epoch >= end - 1e-9 * end for end in ends), n_cycles - 1)
        start = ends[cycle - 1] if cycle else 0
        return cosine(lr, 0.0, max(epoch - start, 0) / (ends[cycle] - start))

    return ends[-1], ParamScheduler({"lr": [partial(falling, lr) for lr in lrs]})


class LRFinder(ParamScheduler):
    """Let the learning rate grow exponentially, and stop where the loss has exploded.

    Parameters
    ----------
    start_lrs, end_lrs : list of floats
        Of each parameter group.
    num_it : int
        Steps.
    stop_div : bool
        Whether to stop once the smoothed loss is four times its least.
    """

    order = 55  # after Recorder, whose smoothed loss it looks at

    def __init__(self, start_lrs: Sequence[float], end_lrs: Sequence[float], num_it: int,
                 stop_div: bool) -> None:
        super().__init__({"lr": [partial(_exponential, start, end)
                                 for start, end in zip(start_lrs, end_lrs)]})
        self.num_it, self.stop_div, self._best = num_it, stop_div, math.inf

    def position(self) -> float:
        return self.learn.train_iter / self.num_it

    def after_loss(self) -> None:
        if not math.isfinite(self.learn.loss):
            raise CancelFitException  # the step is undone, and no later one would come back

    def after_batch(self) -> None:
        loss = self.learn.recorder.smooth_loss
        if loss is None:  # all batches so far were cancelled before they had one
            loss = math.inf
        self._best = min(self._best, loss)
        exploded = self.stop_div and loss > 4 * self._best
        if exploded or self.learn.train_iter >= self.num_it:
            raise CancelFitException

    def before_validate(self) -> None:
        raise CancelValidException


def _exponential(start: float, end: float, position: float) -> float:
    rate: float = start * (end / start) ** position
    return rate


def check_search(
    start_lr: Hyper, end_lr: Hyper, num_it: int, suggest_funcs: Functions, n_groups: int
) -> tuple[list[float], list[float], int, list[Function]]:
    """Check the arguments of `Learner.lr_find`.

    Returns
    -------
    start_lrs, end_lrs : list of floats
    num_it : int
    suggest_funcs : list of functions
    """
    ends = []
    for name, value in (("start_lr", start_lr), ("end_lr", end_lr)):
        ends.append(spread(value, n_groups, name, "lr_find"))
        if not all(ends[-1]):
            raise ValueError(f"lr_find: `{name}` must be above 0, got {value!r}")
    starts, stops = ends
    check_whole("lr_find", "num_it", num_it, at_least=6)
    if isinstance(suggest_funcs, (list, tuple)):
        functions = list(suggest_funcs)
    else:
        functions = [] if suggest_funcs is None else [suggest_funcs]
    for function in functions:
        check_function("lr_find", "suggest_funcs", function)
    names = [_name(function) for function in functions]
    if len(set(names)) < len(names):
        raise ValueError(f"lr_find: `suggest_funcs` must have names of their own, got {names}")
    return starts, stops, num_it, functions


def suggest(functions: Sequence[Function], lrs: Sequence[float], losses: Sequence[float],
            num_it: int) -> tuple[Any, list[tuple[str, float, float]]]:
    """Ask functions for a learning rate.

    Parameters
    ----------
    functions : list of functions
        ``f(lrs, losses, num_it)`` gives a rate and the point (rate, loss) to mark, as `valley`.
    lrs, losses : sequences of floats
        Of every step; the first tenth and the last five are left out.
    num_it : int

    Returns
    -------
    SuggestedLRs
        A named tuple, one rate for each function.
    points : list of (name, rate, loss)
    """
    xs, ys = (np.array(x[num_it // 10 : -5], np.float32) for x in (lrs, losses))
    if len(xs) < 2:
        raise ValueError(
            "lr_find: the search must last at least 2 steps beyond the first tenth and the last 5 "
            f"to suggest a rate, got {len(xs)} before the loss exploded; lower start_lr or end_lr"
        )
    found = [(_name(f), *f(xs, ys, num_it)) for f in functions]
    # mypy wants the names of a namedtuple written out; these are those of the functions.
    answer = namedtuple("SuggestedLRs", [name for name, _, _ in found])  # type: ignore[misc]
    return answer(*(lr for _, lr, _ in found)), [(name, *point) for name, _, point in found]


def _name(function: Any) -> str:
    return str((function.func if isinstance(function, partial) else function).__name__)


def valley(lrs: Float32, losses: Float32, num_it: int) -> Suggestion:
    """Suggest a rate half way down the longest valley of the losses, as fastai.

    Parameters
    ----------
    lrs, losses : float32 (n,)
    num_it : int
        Not used: functions of this kind are all called alike.

    Returns
    -------
    lr : float
    point : (float, float)
        Where it stands in the plot.

    Examples
    --------
    >>> lrs = np.float32([1, 2, 4, 8, 16, 32, 64, 128, 256])
    >>> valley(lrs, np.float32([9, 8, 7, 6, 5, 4, 3, 2, 8]), 9)
    (4.0, (4.0, 7.0))
    """
    # The longest falling subsequence that ends at each loss.
    lengths = [1]
    for i in range(1, len(losses)):
        above = [length for length, loss in zip(lengths, losses) if losses[i] < loss]
        lengths.append(max(above, default=0) + 1)
    end = int(np.argmax(lengths))
    start = end - lengths[end] if lengths[end] > 1 else 0
    third = (end - start) / 3
    at = start + int(third) + int(third / 2)
    return _point(lrs[at], losses[at])


def steep(lrs: Float32, losses: Float32, num_it: int) -> Suggestion:
    """Suggest the rate where the loss falls fastest over the logarithm of the rate, as fastai.

    Parameters and result are those of `valley`.
    """
    slopes = np.diff(losses) / np.diff(np.log(lrs))
    at = int(np.argmin(slopes))
    return _point(lrs[at], losses[at])


def minimum(lrs: Float32, losses: Float32, num_it: int) -> Suggestion:
    """Suggest a tenth of the rate where the loss is least, as fastai.

    Parameters and result are those of `valley`; the point is the minimum itself.
    """
    at = int(np.argmin(losses))
    lr, point = _point(lrs[at], losses[at])
    return lr / 10, point


def slide(lrs: Float32, losses: Float32, num_it: int, lr_diff: int = 15, thresh: float = 0.005,
          adjust_value: float = 1.0) -> Suggestion:
    """Suggest by sliding an interval down from the largest rates, as fastai.

    It stops where the slopes of the losses at its ends differ by less than `thresh`.

    Parameters
    ----------
    lrs, losses, num_it
        As of `valley`.
    lr_diff : int
        The length of the interval in steps, less than there are.
    thresh : float
    adjust_value : float
        What the rate found is multiplied by.

    Returns
    -------
    lr, point
        As of `valley`.
    """
    if not 1 <= lr_diff < len(losses):
        raise ValueError(f"slide: `lr_diff` must lie in [1, {len(losses)}), for so many steps are "
                         f"left, got {lr_diff!r}")
    slopes, right = np.gradient(losses), -1
    left = right - lr_diff
    found = lrs[left]
    while left >= -len(losses) and abs(slopes[right] - slopes[left]) > thresh:
        found = lrs[left]
        right, left = right - 1, left - 1
    lr = float(found) * adjust_value
    return lr, (lr, float(np.interp(np.log10(lr), np.log10(lrs), losses)))


def _point(lr: float, loss: float) -> Suggestion:
    return float(lr), (float(lr), float(loss))


class SuggestionMethod:
    """fastai's names of the functions that suggest a rate."""

    Valley, Slide, Minimum, Steep = map(staticmethod, (valley, slide, minimum, steep))
