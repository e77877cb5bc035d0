"""The answer about one photo."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Iterator
from typing import Any, Self

from mlclassify import markup
from mlclassify.data.lists import L
from mlclassify.tensor import Tensor
from mlclassify.verdict import decisions

_LISTED = 20  # labels in a table


class Prediction(tuple[L[str], Tensor, Tensor]):
    """What `Learner.predict` answers: a tuple of exactly (labels, mask, probs).

    Attributes
    ----------
    labels : L of str
    mask : Tensor bool (L,)
    probs : Tensor float32 (L,)
    thresh : float or array (L,)
        The threshold that decided: a label is there where its probability is above it.
    novelty : float or None
        How unlike all training photos the photo is, after `Learner.fit_novelty`; above
        ``learn.novelty.cut`` it gets no label, whatever its probabilities.
    neighbours : L of str
        The training photos that it is most like, the nearest first.
    vocab : L of str
        All labels, in the order of `probs`.
    """

    labels: L[str]
    mask: Tensor
    probs: Tensor
    thresh: Any
    novelty: float | None
    neighbours: L[str]
    vocab: L[Any]

    def __new__(cls, labels: L[str], mask: Tensor, probs: Tensor, thresh: Any,
                novelty: float | None = None, neighbours: Iterable[str] = (),
                vocab: Iterable[Any] = ()) -> Self:
        self = super().__new__(cls, (labels, mask, probs))
        self.labels, self.mask, self.probs, self.thresh = labels, mask, probs, thresh
        self.novelty, self.neighbours, self.vocab = novelty, L(neighbours), L(vocab)
        return self

    def __getnewargs__(self) -> Any:
        return (*self, self.thresh, self.novelty, list(self.neighbours), list(self.vocab))

    def _repr_html_(self) -> str:
        """What a notebook prints of it as text, and under it the most probable labels."""
        decided = decisions(self.vocab, None, self.mask, self.probs, self.thresh)
        decided.sort(key=lambda d: -d.prob)
        rows = [(d.label, f"{d.prob:.4f}", "" if d.thresh is None else f"{d.thresh:.4f}",
                 "✓" if d.named else "") for d in decided[:_LISTED]]
        head = ["label", "probability", "threshold", "named"]
        return markup.preformatted(_pretty(tuple(self))) + markup.table(head, rows) + "".join(
            map(markup.paragraph, self._remarks(len(decided))))

    def _remarks(self, labels: int) -> Iterator[str]:
        if labels > _LISTED:
            yield f"and {labels - _LISTED} less probable labels"
        if self.novelty is not None:
            yield f"novelty {self.novelty:.4f}, most like {', '.join(self.neighbours[:3])}"


def _pretty(answer: object) -> str:
    """Return how a notebook prints something: an `L` with its length, where IPython prints it."""
    pretty = getattr(sys.modules.get("IPython.lib.pretty"), "pretty", repr)
    return str(pretty(answer))
