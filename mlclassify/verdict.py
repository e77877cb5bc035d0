"""What was decided about a photo, label by label, in words: the titles of pictures of results."""

from collections.abc import Collection, Sequence
from typing import Any, NamedTuple

import numpy as np

from mlclassify.types import ArrayLike

_LINES = 5  # of a title
_LETTERS = 24  # of a label in it


class Decision(NamedTuple):
    """What was decided about one label of one photo.

    Attributes
    ----------
    label : str
    there : bool or None
        Whether the photo has it; None where that is not known.
    named : bool
        Whether it got it.
    prob : float
    thresh : float or None
        What `prob` had to be above; None where nothing is known of it.

    Examples
    --------
    >>> print(Decision("black", True, False, 0.31, 0.5))
    ✗ black 0.31 ≤ 0.50, missed
    """

    label: str
    there: bool | None
    named: bool
    prob: float
    thresh: float | None = None

    @property
    def wrong(self) -> bool:
        """Whether it is known to be there and was not named, or the other way round."""
        return self.there is not None and self.there != self.named

    @property
    def distance(self) -> float:
        """How far the probability is from the truth; NaN where that is not known."""
        return abs(self.prob - self.there) if self.there is not None else float("nan")

    def __str__(self) -> str:
        mark = "?" if self.there is None else "✗" if self.wrong else "✓"
        return f"{mark} {self.plain()}"

    def plain(self) -> str:
        """Return the text without its tick or cross."""
        name = self.label if len(self.label) <= _LETTERS else self.label[: _LETTERS - 1] + "…"
        return f"{name} {_compared(self.prob, self.thresh)}{self._why()}"

    def _why(self) -> str:
        if not self.wrong:
            return ""
        if self.named:
            return ", not there"
        novel = self.thresh is not None and self.prob > self.thresh
        return ", missed as novel" if novel else ", missed"


def _compared(prob: float, thresh: float | None) -> str:
    """Return the two numbers with as many digits as it takes to see which one is larger."""
    if thresh is None:
        return f"{prob:.2f}"
    digits = 2
    while prob != thresh and digits < 9 and f"{prob:.{digits}f}" == f"{thresh:.{digits}f}":
        digits += 1
    return f"{prob:.{digits}f} {'>' if prob > thresh else '≤'} {thresh:.{digits}f}"


def decisions(labels: Collection[object], target: ArrayLike | None, named: ArrayLike,
              probs: ArrayLike, thresh: ArrayLike | None = None) -> list[Decision]:
    """Return a `Decision` for each label of one photo.

    Parameters
    ----------
    labels : sequence of L str
    target : array_like (L,) or None
        1 where the label is there and 0 where it is not; anything else is not known.
    named : array_like (L,)
        1 or True where the photo got it.
    probs : array_like (L,)
    thresh : float or array_like (L,), optional

    Returns
    -------
    list of L Decision

    Examples
    --------
    >>> decisions(["black"], [1], [True], [0.75], 0.5)
    [Decision(label='black', there=True, named=True, prob=0.75, thresh=0.5)]
    """
    n = len(labels)
    truth: list[Any] = [None] * n if target is None else np.asarray(target).tolist()
    cuts = [None] * n if thresh is None else np.broadcast_to(thresh, n).tolist()
    there = [{0: False, 1: True}.get(t) for t in truth]
    columns: tuple[Any, Any] = (named, probs)
    return [Decision(str(label), known, bool(got == 1), float(prob), cut)
            for label, known, got, prob, cut in zip(labels, there, *columns, cuts)]


def verdict(decided: Sequence[Decision]) -> str:
    """Return the lines of a title: the labels that a photo has or got, the most wrong ones first.

    Parameters
    ----------
    decided : list of Decision
        Of one photo.

    Returns
    -------
    str
        Five lines at most; without ticks and crosses where no label is known.

    Examples
    --------
    >>> print(verdict(decisions(["a", "b", "c"], [1, 0, 0], [True, True, False], [0.9, 0.6, 0.1])))
    ✗ b 0.60, not there
    ✓ a 0.90
    >>> verdict(decisions(["a"], [0], [False], [0.2])), verdict(decisions(["a"], None, [0], [0.2]))
    ('✓ (none)', '(none)')
    """
    judged = any(d.there is not None for d in decided)
    shown = sorted((d for d in decided if d.there or d.named),
                   key=lambda d: -d.distance if d.wrong else 0)
    lines = [str(d) if judged else d.plain() for d in shown]
    if len(lines) > _LINES:
        lines[_LINES - 1 :] = [f"and {len(lines) - _LINES + 1} more"]
    return "\n".join(lines) or ("✓ (none)" if judged else "(none)")
