"""What a model is worth, label by label, in one table."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from mlclassify import markup
from mlclassify.arrays import as_matrix, as_uint8_mask
from mlclassify.metrics.decisions import f1_score, precision_score, recall_score
from mlclassify.metrics.ranking import average_precision_score
from mlclassify.types import ArrayLike, Float64, Int64


@dataclass
class Report:
    """Scores of each label, and of all cells; its repr is a table.

    Attributes
    ----------
    labels : list of str
    support : int (L,)
        Photos that have the label.
    thresh : float64 (L,)
    precision, recall, f1 : float64 (L,)
        At the threshold; 0 for 0 / 0.
    average_precision : float64 (L,)
        At no threshold; NaN for a label that no photo has.
    accuracy, accuracy_of_nothing : float
        The share of cells decided rightly, and what predicting no label at all would get.
    others : dict
        Metrics of a learner that decide by another threshold: {name: threshold}.
    """

    labels: list[str]
    support: Int64
    thresh: Float64
    precision: Float64
    recall: Float64
    f1: Float64
    average_precision: Float64
    accuracy: float
    accuracy_of_nothing: float
    others: dict[str, Any] = field(default_factory=dict)

    def __repr__(self) -> str:
        width = max(len(label) for label in [*self.labels, "label", "mean"])
        lines = [f"{'label':<{width}} support thresh precision recall    f1    AP"]
        for label, support, thresh, scores in self._rows():
            lines.append(f"{label:<{width}} {support:>7} {thresh:>6} {_line(scores)}")
        return "\n".join([*lines, *self._remarks()])

    def _repr_html_(self) -> str:
        head = ["label", "support", "thresh", "precision", "recall", "f1", "AP"]
        rows = [(*start, *(f"{score:.3f}" for score in scores)) for *start, scores in self._rows()]
        return markup.table(head, rows) + "".join(map(markup.paragraph, self._remarks()))

    def _rows(self) -> Iterator[tuple[str, Any, str, list[Any]]]:
        """Yield label, support, threshold as text and scores; at last their means."""
        columns = (self.precision, self.recall, self.f1, self.average_precision)
        for label, support, thresh, *scores in zip(self.labels, self.support, self.thresh,
                                                   *columns):
            yield label, support, f"{thresh:.3f}", scores
        means = [np.nanmean(c) if not np.isnan(c).all() else np.nan for c in columns]
        yield "mean", self.support.sum(), "", means

    def _remarks(self) -> list[str]:
        return [f"accuracy {self.accuracy:.4f}; predicting nothing: "
                f"{self.accuracy_of_nothing:.4f}",
                *(f"{name} decides by {_brief(thresh)} instead"
                  for name, thresh in self.others.items())]


def _brief(thresh: Any) -> str:
    return f"{thresh:g}" if np.ndim(thresh) == 0 else "thresholds of its own"


def _line(scores: Iterable[float]) -> str:
    return "{:>9.3f} {:>6.3f} {:>5.3f} {:>5.3f}".format(*scores)


def make_report(
    probs: ArrayLike, targs: ArrayLike, decided: ArrayLike, thresh: ArrayLike,
    labels: Sequence[object], others: dict[str, Any] | None = None
) -> Report:
    """Judge decisions, and the probabilities that they were made from.

    Parameters
    ----------
    probs : array_like (N, L)
    targs : array_like (N, L)
        0 and 1.
    decided : array_like bool (N, L)
    thresh : float or array_like (L,)
        What decided, for the table.
    labels : list of str
    others : dict, optional
        Metrics that decide by another threshold, for the table.

    Returns
    -------
    Report

    Raises
    ------
    ValueError
        Shapes differ, a probability is NaN, or a target is not 0 or 1.

    Examples
    --------
    >>> make_report([[0.9], [0.2]], [[1], [0]], [[1], [0]], 0.5, ["bear"])
    label support thresh precision recall    f1    AP
    bear        1  0.500     1.000  1.000 1.000 1.000
    mean        1            1.000  1.000 1.000 1.000
    accuracy 1.0000; predicting nothing: 0.5000
    """
    fn = "report"
    probs, targets = as_matrix("probs", fn, probs), as_uint8_mask("targs", fn, targs, strict=True)
    decided = as_uint8_mask("decided", fn, decided, strict=True)
    if not probs.shape == targets.shape == decided.shape or probs.shape[1] != len(labels):
        raise ValueError(
            f"{fn}: `targs` and `decided` must have the shape of `probs`, a column for each of "
            f"{len(labels)} labels, got {targets.shape} and {decided.shape} for {probs.shape}"
        )
    return Report(
        [str(label) for label in labels], targets.sum(axis=0, dtype=np.int64),
        np.broadcast_to(np.asarray(thresh, np.float64), len(labels)),
        precision_score(targets, decided, average=None),
        recall_score(targets, decided, average=None), f1_score(targets, decided, average=None),
        average_precision_score(targets, probs, average=None, zero_division=np.nan),
        float(np.mean(targets == decided)), float(np.mean(targets == 0)), others or {},
    )  # fmt: skip
