"""What a Learner takes as metrics: the columns of the epoch table.

A `Metric` gathers over the batches of a validation pass: it is handed the learner after each batch
and reads its `pred` (logits) and `y`. Functions given to a learner are wrapped in `AvgMetric`.
"""

import inspect
from collections.abc import Sequence
from functools import partial
from typing import Any, Literal, NoReturn, Protocol

import numpy as np

from mlclassify import _core
from mlclassify.arrays import as_float32, as_matrix, as_uint8_mask, refuse
from mlclassify.checks import check_choice, check_function
from mlclassify.metrics.arguments import (
    AVERAGES,
    Average,
    Scores,
    check_weights,
    check_zero_division,
)
from mlclassify.metrics.decisions import (
    Counts,
    Parts,
    average_ratio,
    check_beta,
    check_columns,
    count_labels,
    count_photos,
    fbeta_parts,
    hamming_of,
    jaccard_parts,
    matthews_of,
    precision_parts,
    recall_parts,
)
from mlclassify.metrics.ranking import (
    AP,
    AUC,
    Measure,
    ZeroDivision,
    average_precision_score,
    averaged,
    measured,
    roc_auc_score,
    warn_undefined,
)
from mlclassify.tensor import Tensor, TensorBase
from mlclassify.thresholds import check_thresh
from mlclassify.types import AnyArray, ArrayLike, Float32, Float64, Function, UInt8


class Validated(Protocol):
    """What metrics read of a Learner, after each batch of a validation pass."""

    @property
    def pred(self) -> Any:
        """The logits of the batch, (n, L)."""

    @property
    def y(self) -> Any:
        """Its targets, (n, L)."""

    @property
    def dls(self) -> Any:
        """What the batches come from; its ``vocab`` names the labels, where it has one."""


def accuracy_multi(inp: ArrayLike, targ: ArrayLike, thresh: ArrayLike = 0.5,
                   sigmoid: bool = True) -> TensorBase:
    """Return the share of cells, photos times labels, that are right.

    A label is predicted where its score is above `thresh`, and present where its target is not 0.
    The mean of one minus the Hamming loss: predicting nothing scores high where labels are rare.

    Parameters
    ----------
    inp : array_like (N, L) or any shape
        Logits; probabilities with ``sigmoid=False``.
    targ : array_like
        As many numbers as `inp`, in the same order.
    thresh : float or array_like (L,)
        A probability, or one for each label.
    sigmoid : bool
        Whether to make probabilities of `inp` first.

    Returns
    -------
    TensorBase float32 ()

    Raises
    ------
    ValueError
        The sizes differ, a score is NaN, or `thresh` has not one number for each label.

    Examples
    --------
    >>> accuracy_multi([[2.0, -1.0], [0.5, 3.0]], [[1, 0], [0, 1]])
    TensorBase(0.7500)
    """
    fn = "accuracy_multi"
    scores = as_float32("inp", fn, inp)
    targets = as_uint8_mask("targ", fn, targ)
    if scores.size != targets.size:
        raise ValueError(
            f"{fn}: `targ` must have as many numbers as `inp`, got {targets.shape} "
            f"for {scores.shape}"
        )
    refuse(np.isnan(scores), "inp", fn, "not be NaN", scores)
    cuts = np.atleast_1d(_cuts(fn, thresh, sigmoid))
    if cuts.ndim != 1 or (len(cuts) != 1 and scores.shape[-1:] != cuts.shape):
        raise ValueError(
            f"{fn}: `thresh` must be a number or have one for each label, got shape "
            f"{cuts.shape} for `inp` of {scores.shape}"
        )
    if not scores.size:
        return TensorBase(np.float32("nan"))
    if sigmoid:
        _core.sigmoid(scores, scores := np.empty_like(scores))
    shape = (-1, len(cuts))
    right = _core.accuracy_count(scores.reshape(shape), targets.reshape(shape), cuts)
    return TensorBase(np.float32(right / scores.size))


def _cuts(fn: str, thresh: ArrayLike, sigmoid: bool) -> Any:
    """Return thresholds as float32; only those on probabilities have a range to lie in."""
    if sigmoid:
        return check_thresh(fn, thresh)
    cuts = as_float32("thresh", fn, thresh)
    refuse(np.isnan(cuts), "thresh", fn, "not be NaN", cuts)
    return cuts


class Metric:
    """What a column of the epoch table is computed by.

    A subclass has `reset`, `accumulate`, and the properties `name` and `value`; `thresh` is what
    it decides by, None where it does not decide.
    """

    name: str = "metric"
    thresh: Any = None

    def reset(self) -> None:
        """Forget everything, before a validation pass."""

    def accumulate(self, learn: Validated) -> None:
        """Take in the batch of which the learner holds `pred` and `y`."""

    @property
    def value(self) -> Any:
        """The number for the table, or None where there was no batch."""
        return None

    @property
    def long_name(self) -> str:
        """A name that tells apart two metrics of the same `name`."""
        return self.name


class AvgMetric(Metric):
    """The mean over photos of a function of (logits, targets).

    Parameters
    ----------
    func : function
        Gives a number for a batch; a ``functools.partial`` is fine.
    name : str, optional
        Of the column; default the function's own.
    """

    def __init__(self, func: Function, name: str | None = None) -> None:
        self.func, self._given_name = check_function("AvgMetric", "func", func), name
        self.reset()

    def reset(self) -> None:
        self._total, self._count = 0.0, 0

    def accumulate(self, learn: Validated) -> None:
        n = len(learn.y)
        self._total += float(self.func(learn.pred, learn.y)) * n
        self._count += n

    @property
    def value(self) -> float | None:
        return self._total / self._count if self._count else None

    @property
    def thresh(self) -> Any:
        """The argument `thresh` of the function, as it is bound or by default."""
        try:
            argument = inspect.signature(self.func).parameters.get("thresh")
        except ValueError:  # a builtin without a signature
            return None
        if argument is None or argument.default is inspect.Parameter.empty:
            return None
        return argument.default

    @property
    def name(self) -> str:  # type: ignore[override]  # a plain attribute in other metrics
        return self._given_name or function_name(self.func)

    @property
    def long_name(self) -> str:
        keywords = getattr(self.func, "keywords", None)
        if self._given_name or not keywords:
            return self.name
        inside = ", ".join(f"{k}={_brief(v)}" for k, v in keywords.items())
        return f"{self.name}({inside})"

    def __repr__(self) -> str:
        return f"AvgMetric({self.long_name})"


class AccumMetric(Metric):
    """A function of all targets and predictions of a validation pass together.

    Parameters
    ----------
    func : function
        Called as scikit-learn's metrics are: ``func(targets, predictions, **kwargs)``.
    activation : "no" or "sigmoid"
        Applied to the logits.
    thresh : float or array_like (L,), optional
        Predictions become whether they are above it.
    flatten : bool
        Whether both are flattened before `func` gets them.
    invert_arg : bool
        Whether `func` takes predictions first.
    name : str, optional
        Of the column; default the function's own.
    **kwargs
        Go on to `func`.
    """

    def __init__(
        self, func: Function, activation: Literal["no", "sigmoid"] = "no",
        thresh: ArrayLike | None = None, flatten: bool = True, invert_arg: bool = False,
        name: str | None = None, **kwargs: Any
    ) -> None:
        check_choice("AccumMetric", "activation", activation, ("no", "sigmoid"))
        self.func, self.activation = check_function("AccumMetric", "func", func), activation
        self.thresh = None if thresh is None else _cuts("AccumMetric", thresh, sigmoid=False)
        self.flatten, self.invert_arg, self.kwargs = flatten, invert_arg, kwargs
        self._given_name = name
        self.reset()

    def reset(self) -> None:
        self._preds: list[Float32] = []
        self._targets: list[AnyArray] = []

    def accumulate(self, learn: Validated) -> None:
        # Copies: the loader writes its next batch over this one.
        self._preds.append(np.array(learn.pred, np.float32))
        self._targets.append(np.array(learn.y))

    @property
    def value(self) -> Any:
        if not self._preds:
            return None
        preds, targets = np.concatenate(self._preds), np.concatenate(self._targets)
        return self._compute(self._decided(preds), targets)

    def _decided(self, preds: AnyArray) -> AnyArray:
        if self.activation == "sigmoid":
            _core.sigmoid(preds, preds)
        if self.thresh is not None:
            if self.thresh.shape not in ((), (1,), preds.shape[-1:]):
                raise ValueError(
                    f"AccumMetric: `thresh` must be a number or have shape {preds.shape[-1:]}, "
                    f"got {self.thresh.shape}"
                )
            preds = preds > self.thresh
        return preds

    def _compute(self, preds: AnyArray, targets: AnyArray) -> Any:
        both = [x.ravel() if self.flatten else x for x in (targets, preds)]
        both = [np.ndarray.view(x, Tensor) for x in both]
        return self.func(*(both[::-1] if self.invert_arg else both), **self.kwargs)

    @property
    def name(self) -> str:  # type: ignore[override]  # a plain attribute in other metrics
        return self._given_name or function_name(self.func)

    @property
    def long_name(self) -> str:
        options = {"thresh": self.thresh} if self.thresh is not None else {}
        inside = ", ".join(f"{k}={_brief(v)}" for k, v in {**options, **self.kwargs}.items())
        return f"{self.name}({inside})" if inside and not self._given_name else self.name

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.long_name})"


RANKINGS = {AP: average_precision_score, AUC: roc_auc_score}


class RankingMetric(AccumMetric):
    """A metric of the rankings of a whole validation pass; a subclass has `measure`."""

    measure: Measure

    def __init__(
        self, sigmoid: bool, average: Average, sample_weight: ArrayLike | None,
        zero_division: ZeroDivision
    ) -> None:
        own = type(self).__name__
        super().__init__(RANKINGS[self.measure], "sigmoid" if sigmoid else "no", flatten=False)
        self.kwargs = {"average": check_choice(own, "average", average, AVERAGES)}
        self.sample_weight = check_weights(own, sample_weight)
        self.zero_division = check_zero_division(own, zero_division, warn=True)
        self._reported: set[int] = set()
        self._vocab: Any = None

    def accumulate(self, learn: Validated) -> None:
        super().accumulate(learn)
        self._vocab = getattr(learn.dls, "vocab", None)

    def _compute(self, preds: AnyArray, targets: AnyArray) -> Scores:
        average = self.kwargs["average"]
        values, weights = measured(self.measure, targets, preds, average, self.sample_weight)
        undefined = set(np.flatnonzero(np.isnan(values)).tolist()) - self._reported
        if self.zero_division == "warn" and undefined:
            self._reported |= undefined
            named = self._vocab and average not in ("samples", "micro")
            names = [self._vocab[i] if named else i for i in sorted(undefined)]
            warn_undefined(self.measure, average, names, stacklevel=4)
        return averaged(self.measure, values, average, weights, self.zero_division)


class APScoreMulti(RankingMetric):
    """`average_precision_score` of a validation pass.

    Parameters
    ----------
    sigmoid : bool
        False ranks the logits. True ranks their float32 sigmoids as fastai does, in which
        logits above about 17 tie.
    average, zero_division
        As in `average_precision_score`. A label without a positive is reported once.
    pos_label : 1
        What a present label is; nothing else is taken.
    sample_weight : array_like (N,), optional
        A weight for each photo of a validation pass.
    """

    measure = AP

    def __init__(
        self, sigmoid: bool = False, average: Average = "macro", pos_label: int = 1,
        sample_weight: ArrayLike | None = None, zero_division: ZeroDivision = "warn"
    ) -> None:
        check_pos_label("APScoreMulti", pos_label)
        super().__init__(sigmoid, average, sample_weight, zero_division)


class RocAucMulti(RankingMetric):
    """`roc_auc_score` of a validation pass.

    Parameters
    ----------
    sigmoid, average, sample_weight, zero_division
        As for `APScoreMulti` and `roc_auc_score`.
    """

    measure = AUC

    def __init__(
        self, sigmoid: bool = False, average: Average = "macro",
        sample_weight: ArrayLike | None = None, zero_division: ZeroDivision = "warn"
    ) -> None:
        super().__init__(sigmoid, average, sample_weight, zero_division)


class BatchedMetric(Metric):
    """What the metrics below share: thresholds, columns and weights; sums instead of predictions.

    A subclass has `_add`, which takes in the scores, targets and weights of a batch.
    """

    def __init__(
        self, thresh: ArrayLike | None, sigmoid: bool, labels: ArrayLike | None,
        sample_weight: ArrayLike | None
    ) -> None:
        own = type(self).__name__
        self.thresh = None if thresh is None else _cuts(own, thresh, sigmoid)
        self.sigmoid = sigmoid
        self.labels = None if labels is None else check_columns(own, labels)
        self.sample_weight = check_weights(own, sample_weight)
        self.reset()

    def reset(self) -> None:
        self._photos = 0
        self._sums: Any = None

    def accumulate(self, learn: Validated) -> None:
        own = type(self).__name__
        scores = as_matrix("pred", own, learn.pred)
        targets = as_uint8_mask("y", own, learn.y, strict=True).reshape(scores.shape)
        refuse(np.isnan(scores), "pred", own, "not be NaN", scores)
        if self.sigmoid:
            _core.sigmoid(scores, scores := np.empty_like(scores))
        if self.thresh is not None:
            if self.thresh.shape not in ((), (1,), scores.shape[1:]):
                raise ValueError(f"{own}: `thresh` must be a number or have shape "
                                 f"{scores.shape[1:]}, got {self.thresh.shape}")
            scores = (scores > self.thresh).view(np.uint8)
        if self.labels is not None:
            columns = check_columns(own, self.labels, scores.shape[1])
            scores = np.ascontiguousarray(scores[:, columns])
            targets = np.ascontiguousarray(targets[:, columns])
        end = self._photos + len(scores)
        given = self.sample_weight
        if given is not None and len(given) < end:
            self._refuse_weights(f"at least {end}", len(given))
        weights = None if given is None else given[self._photos : end]
        self._photos = end
        self._add(scores, targets, weights)

    def _add(self, scores: Any, targets: UInt8, weights: Float64 | None) -> None:
        raise NotImplementedError

    def _check_weights_used_up(self) -> None:
        if self.sample_weight is not None and len(self.sample_weight) != self._photos:
            self._refuse_weights(self._photos, len(self.sample_weight))

    def _refuse_weights(self, photos: object, given: int) -> NoReturn:
        raise ValueError(
            f"{type(self).__name__}: `sample_weight` must have one number for each photo of the "
            f"validation pass ({photos}), got {given}"
        )

    def _options(self) -> dict[str, Any]:
        """Return what tells apart two metrics of one class."""
        return {} if self.thresh is None else {"thresh": self.thresh}

    @property
    def long_name(self) -> str:
        inside = ", ".join(f"{k}={_brief(v)}" for k, v in self._options().items())
        return f"{self.name}({inside})" if inside else self.name

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.long_name})"


class DecisionMetric(BatchedMetric):
    """A metric of decisions, which keeps counts: three numbers a label.

    A subclass has `name` and `_of(counts)`.
    """

    def _add(self, scores: UInt8, targets: UInt8, weights: Float64 | None) -> None:
        # A batch may weigh nothing, which only a whole pass may not.
        counts = count_labels(targets, scores, weights)
        self._sums = counts if self._sums is None else Counts(
            *(a + b for a, b in zip(self._sums, counts)))

    @property
    def value(self) -> Any:
        if self._sums is None:
            return None
        self._check_weights_used_up()
        return self._of(self._sums)

    def _of(self, counts: Counts) -> Scores:
        raise NotImplementedError


class RatioMetric(DecisionMetric):
    """Metrics with the averages of `f1_score`; a subclass has `name` and `_parts()`."""

    def __init__(
        self, thresh: ArrayLike = 0.5, sigmoid: bool = True, labels: ArrayLike | None = None,
        pos_label: int = 1, average: Average = "macro", sample_weight: ArrayLike | None = None,
        zero_division: float = 0
    ) -> None:
        own = type(self).__name__
        check_pos_label(own, pos_label)
        self.average = check_choice(own, "average", average, AVERAGES)
        self.zero_division = check_zero_division(own, zero_division)
        super().__init__(thresh, sigmoid, labels, sample_weight)

    def _add(self, scores: UInt8, targets: UInt8, weights: Float64 | None) -> None:
        if self.average != "samples":
            super()._add(scores, targets, weights)
            return
        counts = count_photos(targets, scores)
        if self._sums is not None:
            pairs = zip(self._sums[:3], counts[:3])
            both, there, decided = (np.concatenate(pair) for pair in pairs)
            counts = Counts(both, there, decided, counts.total)
        self._sums = counts

    def _of(self, counts: Counts) -> Scores:
        weights = self.sample_weight if self.average == "samples" else None
        return average_ratio(self._parts(), counts, self.average, self.zero_division, weights)

    def _parts(self) -> Parts:
        raise NotImplementedError

    def _options(self) -> dict[str, Any]:
        return {**super()._options(), "average": self.average}


class F1ScoreMulti(RatioMetric):
    """`f1_score` of a validation pass; "samples" keeps three numbers a photo, the rest a label.

    Parameters
    ----------
    thresh : float or array_like (L,)
        A label is predicted where its probability (logit, without `sigmoid`) is above it.
    sigmoid : bool
        Whether to make probabilities of the logits first.
    labels : array_like of int, optional
        Only these columns count.
    pos_label : 1
        What a present label is; labels are present or not, so nothing else is taken.
    average, zero_division
        As in `f1_score`.
    sample_weight : array_like (N,), optional
        A weight for each photo of a validation pass.

    Examples
    --------
    >>> from types import SimpleNamespace
    >>> metric = F1ScoreMulti(thresh=0.5)
    >>> metric.accumulate(SimpleNamespace(pred=[[2.0, -1.0]], y=[[1, 0]]))
    >>> metric.name, metric.value
    ('f1_score', 0.5)
    """

    name = "f1_score"

    def _parts(self) -> Parts:
        return fbeta_parts(1.0)


class PrecisionMulti(RatioMetric):
    """`precision_score` of a validation pass.

    Parameters
    ----------
    thresh, sigmoid, labels, pos_label, average, sample_weight, zero_division
        As for `F1ScoreMulti`.
    """

    name = "precision_score"

    def _parts(self) -> Parts:
        return precision_parts


class RecallMulti(RatioMetric):
    """`recall_score` of a validation pass.

    Parameters
    ----------
    thresh, sigmoid, labels, pos_label, average, sample_weight, zero_division
        As for `F1ScoreMulti`.
    """

    name = "recall_score"

    def _parts(self) -> Parts:
        return recall_parts


class JaccardMulti(RatioMetric):
    """`jaccard_score` of a validation pass.

    Parameters
    ----------
    thresh, sigmoid, labels, pos_label, average, sample_weight, zero_division
        As for `F1ScoreMulti`.
    """

    name = "jaccard_score"

    def _parts(self) -> Parts:
        return jaccard_parts


class FBetaMulti(RatioMetric):
    """`fbeta_score` of a validation pass.

    Parameters
    ----------
    beta : float
        How much more recall weighs than precision.
    thresh, sigmoid, labels, pos_label, average, sample_weight, zero_division
        As for `F1ScoreMulti`.
    """

    name = "fbeta_score"

    def __init__(
        self, beta: float, thresh: ArrayLike = 0.5, sigmoid: bool = True,
        labels: ArrayLike | None = None, pos_label: int = 1, average: Average = "macro",
        sample_weight: ArrayLike | None = None, zero_division: float = 0
    ) -> None:
        self.beta = check_beta("FBetaMulti", beta)
        super().__init__(thresh, sigmoid, labels, pos_label, average, sample_weight, zero_division)

    def _parts(self) -> Parts:
        return fbeta_parts(self.beta)

    def _options(self) -> dict[str, Any]:
        return {"beta": self.beta, **super()._options()}


class HammingLossMulti(DecisionMetric):
    """`hamming_loss` of a validation pass.

    Parameters
    ----------
    thresh, sigmoid, labels, sample_weight
        As for `F1ScoreMulti`.
    """

    name = "hamming_loss"

    def __init__(
        self, thresh: ArrayLike = 0.5, sigmoid: bool = True, labels: ArrayLike | None = None,
        sample_weight: ArrayLike | None = None
    ) -> None:
        super().__init__(thresh, sigmoid, labels, sample_weight)

    def _of(self, counts: Counts) -> float:
        return hamming_of(counts)


class MatthewsCorrCoefMulti(DecisionMetric):
    """`matthews_corrcoef` of a validation pass, of all cells as one table.

    Parameters
    ----------
    thresh, sigmoid, sample_weight
        As for `F1ScoreMulti`.
    average : "micro", "macro" or None
        As in `matthews_corrcoef`.
    """

    name = "matthews_corrcoef"

    def __init__(
        self, thresh: ArrayLike = 0.5, sigmoid: bool = True, sample_weight: ArrayLike | None = None,
        average: Literal["micro", "macro"] | None = "micro"
    ) -> None:
        self.average = check_choice("MatthewsCorrCoefMulti", "average", average,
                                    ("micro", "macro", None))
        super().__init__(thresh, sigmoid, None, sample_weight)

    def _of(self, counts: Counts) -> Scores:
        return matthews_of(counts, self.average)

    def _options(self) -> dict[str, Any]:
        return {**super()._options(), "average": self.average}


class BrierScoreMulti(BatchedMetric):
    """`brier_score_loss` of a validation pass, the mean over labels.

    Parameters
    ----------
    thresh : float or array_like (L,), optional
        Judge decisions instead of probabilities, which gives the Hamming loss.
    sigmoid : bool
        Whether to make probabilities of the logits first.
    sample_weight : array_like (N,), optional
        As for `F1ScoreMulti`.
    """

    name = "brier_score_loss"

    def __init__(
        self, thresh: ArrayLike | None = None, sigmoid: bool = True,
        sample_weight: ArrayLike | None = None
    ) -> None:
        super().__init__(thresh, sigmoid, None, sample_weight)

    def _add(self, scores: Float32, targets: UInt8, weights: Float64 | None) -> None:
        outside = (scores < 0) | (scores > 1)
        refuse(outside, "pred", "BrierScoreMulti", "lie in [0, 1] where `sigmoid` is False", scores)
        errors = ((scores.astype(np.float64) - targets) ** 2).mean(axis=1)
        weights = np.ones(len(errors)) if weights is None else weights
        total, weight = self._sums or (0.0, 0.0)
        self._sums = total + float((errors * weights).sum()), weight + float(weights.sum())

    @property
    def value(self) -> float | None:
        if self._sums is None:
            return None
        self._check_weights_used_up()
        total, weight = self._sums
        return float(total / weight)


def check_pos_label(own: str, pos_label: object) -> None:
    """Refuse what fastai's argument of this name could mean for labels of another kind."""
    if pos_label != 1:
        raise ValueError(f"{own}: `pos_label` must be 1, for labels are present or not, got "
                         f"{pos_label!r}")


def function_name(func: Function) -> str:
    """Return what a function is called, through any ``functools.partial`` around it."""
    while isinstance(func, partial):
        func = func.func
    return getattr(func, "__name__", type(func).__name__)


def _brief(value: Any) -> str:
    if isinstance(value, float):
        return f"{value:g}"
    return str(value) if np.ndim(value) == 0 else "..."


def make_metric(m: Metric | type[Metric] | Function) -> Metric:
    """Return a `Metric`: the one given, one of the class given, or one of the function given."""
    if isinstance(m, type):
        m = m()
    if isinstance(m, Metric):
        return m
    if not callable(m):
        raise TypeError(f"Learner: `metrics` must hold functions or Metric objects, got {m!r}")
    return AvgMetric(m)


def other_thresholds(metrics: Sequence[Metric], thresh: ArrayLike) -> dict[str, Any]:
    """Return the metrics that decide by another threshold than `thresh`: {column name: theirs}.

    Examples
    --------
    >>> other_thresholds([AvgMetric(accuracy_multi), APScoreMulti()], 0.95)
    {'accuracy_multi': 0.5}
    """
    thresh = np.asarray(thresh, np.float32)
    return {name: m.thresh for name, m in zip(unique_names(metrics), metrics)
            if m.thresh is not None
            and not np.all(np.asarray(m.thresh, np.float32) == thresh)}


def unique_names(metrics: Sequence[Metric]) -> list[str]:
    """Return a column name for each metric, no two alike.

    Examples
    --------
    >>> two = [AvgMetric(partial(accuracy_multi, thresh=t)) for t in (0.5, 0.95)]
    >>> unique_names(two)
    ['accuracy_multi(thresh=0.5)', 'accuracy_multi(thresh=0.95)']
    >>> unique_names([two[0], APScoreMulti()])
    ['accuracy_multi', 'average_precision_score']
    """
    short = [m.name for m in metrics]
    names = [m.long_name if short.count(m.name) > 1 else m.name for m in metrics]
    out = []
    for name in names:
        tries = [name, *(f"{name}_{k}" for k in range(2, len(names) + 1))]
        out.append(next(t for t in tries if t not in out))
    return out
