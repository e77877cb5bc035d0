"""Where a list of scores can be cut in two, and the threshold that does it.

A cut stands between two different scores, or above or below all of them: nothing else can be had
from a threshold. Cut i of a column predicts its i highest scores.
"""

from functools import cached_property
from typing import NamedTuple

import numpy as np

from mlclassify import _core


def between(below, above):
    """Return thresholds that `above` exceeds and `below` does not, in the middle where there is one.

    Parameters
    ----------
    below, above : float32 (L,)
        The scores next to each cut; -inf or inf where there is none.

    Returns
    -------
    float64 (L,)
        Where there is one score only, the next number above or below it. `as_thresholds` of them
        separates the two as well.

    Examples
    --------
    >>> between(*np.float32([[0.25, -np.inf], [0.75, -1.0]])).tolist()
    [0.5, -1.0000000000000002]
    """
    low, high = np.asarray(below, np.float64), np.asarray(above, np.float64)
    with np.errstate(invalid="ignore"):
        middle = low + (high - low) / 2
    middle = np.where(middle.astype(np.float32) < above, middle, low)
    middle = np.where(np.isinf(low), np.nextafter(high, -np.inf), middle)
    return np.where(np.isinf(high), np.nextafter(low, np.inf), middle)


def as_thresholds(found):
    """Return thresholds as float32; one just below a score stays below it.

    Examples
    --------
    >>> as_thresholds(np.nextafter([-1.0, 0.5], [-2, 0])) < [-1, 0.5]
    array([ True,  True])
    """
    near = found.astype(np.float32)
    on_score = np.nextafter(near.astype(np.float64), -np.inf) == found
    return np.where(on_score, np.nextafter(near, np.float32(-np.inf)), near)


def f1_of(tp, predicted, positives, smooth=0):
    """Return ``(smooth + 2 tp) / (smooth + predicted + positives)``, 0 / 0 as 0."""
    above, below = smooth + 2 * np.asarray(tp), smooth + np.asarray(predicted) + positives
    return np.divide(above, below, out=np.zeros(np.shape(below)), where=below != 0)


class Best(NamedTuple):
    """The best cut of each label of one part; float64 (L,).

    Attributes
    ----------
    threshold, f1 : ndarray
    start : ndarray
        The F1 of the threshold in use.
    """

    threshold: np.ndarray
    f1: np.ndarray
    start: np.ndarray


class Part:
    """Some rows of scores, and what there is to know of their columns in descending order.

    Parameters
    ----------
    scores : float32 (N, L)
        Finite.
    targets : uint8 (N, L)
    start : float32 (L,)
        The thresholds in use.
    """

    def __init__(self, scores, targets, start):
        self.scores, self.targets, self.start = scores, targets, start

    def best(self, smooth=0):
        """Return the `Best` cuts by F1, of equal ones those that predict least."""
        labels = self.scores.shape[1]
        edges, counts = np.empty((labels, 2), np.float32), np.empty((labels, 5), np.int64)
        _core.threshold_search(self.scores, self.targets, self.start, smooth, edges, counts)
        tp, predicted, positives, start_tp, started = counts.T
        return Best(between(*edges.T), f1_of(tp, predicted, positives, smooth),
                    f1_of(start_tp, started, positives, smooth))

    @cached_property
    def _items(self):
        rows, labels = self.scores.shape
        _core.sorted_columns(self.scores, self.targets, out := np.empty((labels, rows), np.uint64))
        return out

    @cached_property
    def rows(self):
        """int64 (L, N): whose scores they are, from the highest down."""
        return ((self._items & np.uint64(0xFFFFFFFF)) >> np.uint64(1)).astype(np.int64)

    @cached_property
    def sorted(self):
        """float32 (L, N): the scores, from the highest down."""
        return np.take_along_axis(self.scores.T, self.rows, axis=1)

    @cached_property
    def tp(self):
        """int64 (L, N + 1): the positives that each cut predicts."""
        return np.pad((self._items & np.uint64(1)).astype(np.int64), ((0, 0), (1, 0))).cumsum(axis=1)

    @cached_property
    def possible(self):
        """bool (L, N + 1): whether a threshold can make the cut."""
        return np.pad(self.sorted[:, 1:] != self.sorted[:, :-1], ((0, 0), (1, 1)),
                      constant_values=True)

    @property
    def predicted(self):
        """int64 (N + 1,): how many a cut predicts."""
        return np.arange(len(self.scores) + 1)

    @property
    def positives(self):
        """int64 (L,)"""
        return self.tp[:, -1]

    @cached_property
    def start_predicted(self):
        """int64 (L,): how many the thresholds in use predict."""
        return (self.scores > self.start).sum(axis=0)

    @cached_property
    def start_tp(self):
        """int64 (L,): and how many of those are there."""
        return np.take_along_axis(self.tp, self.start_predicted[:, None], axis=1)[:, 0]

    def choose(self, value, label=None):
        """Return the possible cut of the greatest value, of equal ones that which predicts least.

        `value` is (L, N + 1), or (N + 1,) of one label.
        """
        possible = self.possible if label is None else self.possible[label]
        return np.argmax(np.where(possible, value, -np.inf if value.dtype.kind == "f" else
                                  np.iinfo(value.dtype).min), axis=-1)

    def thresholds(self, cuts):
        """Return the threshold of one cut for each label, float64 (L,)."""
        edges = np.pad(self.sorted, ((0, 0), (1, 1)), constant_values=np.float32(np.inf))
        edges[:, -1] = -np.inf
        every = np.arange(len(edges))
        return between(edges[every, cuts + 1], edges[every, cuts])
