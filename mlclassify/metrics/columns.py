"""What a Learner takes as metrics: the columns of the epoch table.

A `Metric` gathers over the batches of a validation pass: it is handed the learner after each batch
and reads its `pred` (logits) and `y`. Functions given to a learner are wrapped in `AvgMetric`.
"""

from functools import partial

import numpy as np

from mlclassify import _core
from mlclassify.arrays import as_float32, as_uint8_mask, refuse
from mlclassify.checks import check_choice, check_function
from mlclassify.metrics.ranking import (
    average_precision_score,
    averaged,
    label_precisions,
    warn_absent,
)
from mlclassify.tensor import Tensor, TensorBase
from mlclassify.thresholds import check_thresh


def accuracy_multi(inp, targ, thresh=0.5, sigmoid=True):
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


def _cuts(fn, thresh, sigmoid):
    """Return thresholds as float32; only those on probabilities have a range to lie in."""
    if sigmoid:
        return check_thresh(fn, thresh)
    cuts = as_float32("thresh", fn, thresh)
    refuse(np.isnan(cuts), "thresh", fn, "not be NaN", cuts)
    return cuts


class Metric:
    """What a column of the epoch table is computed by.

    A subclass has `reset`, `accumulate`, and the properties `name` and `value`.
    """

    name = "metric"

    def reset(self):
        """Forget everything, before a validation pass."""

    def accumulate(self, learn):
        """Take in the batch of which the learner holds `pred` and `y`."""

    @property
    def value(self):
        """The number for the table, or None where there was no batch."""
        return None

    @property
    def long_name(self):
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

    def __init__(self, func, name=None):
        self.func, self._given_name = check_function("AvgMetric", "func", func), name
        self.reset()

    def reset(self):
        self._total, self._count = 0.0, 0

    def accumulate(self, learn):
        n = len(learn.y)
        self._total += float(self.func(learn.pred, learn.y)) * n
        self._count += n

    @property
    def value(self):
        return self._total / self._count if self._count else None

    @property
    def name(self):
        return self._given_name or function_name(self.func)

    @property
    def long_name(self):
        keywords = getattr(self.func, "keywords", None)
        if self._given_name or not keywords:
            return self.name
        inside = ", ".join(f"{k}={_brief(v)}" for k, v in keywords.items())
        return f"{self.name}({inside})"

    def __repr__(self):
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

    def __init__(self, func, activation="no", thresh=None, flatten=True, invert_arg=False,
                 name=None, **kwargs):
        check_choice("AccumMetric", "activation", activation, ("no", "sigmoid"))
        self.func, self.activation = check_function("AccumMetric", "func", func), activation
        self.thresh = None if thresh is None else _cuts("AccumMetric", thresh, sigmoid=False)
        self.flatten, self.invert_arg, self.kwargs = flatten, invert_arg, kwargs
        self._given_name = name
        self.reset()

    def reset(self):
        self._preds, self._targets = [], []

    def accumulate(self, learn):
        # Copies: the loader writes its next batch over this one.
        self._preds.append(np.array(learn.pred, np.float32))
        self._targets.append(np.array(learn.y))

    @property
    def value(self):
        if not self._preds:
            return None
        preds, targets = np.concatenate(self._preds), np.concatenate(self._targets)
        return self._compute(self._decided(preds), targets)

    def _decided(self, preds):
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

    def _compute(self, preds, targets):
        both = [x.ravel() if self.flatten else x for x in (targets, preds)]
        both = [np.ndarray.view(x, Tensor) for x in both]
        return self.func(*(both[::-1] if self.invert_arg else both), **self.kwargs)

    @property
    def name(self):
        return self._given_name or function_name(self.func)

    @property
    def long_name(self):
        options = {"thresh": self.thresh} if self.thresh is not None else {}
        inside = ", ".join(f"{k}={_brief(v)}" for k, v in {**options, **self.kwargs}.items())
        return f"{self.name}({inside})" if inside and not self._given_name else self.name

    def __repr__(self):
        return f"{type(self).__name__}({self.long_name})"


class APScoreMulti(AccumMetric):
    """Average precision over a whole validation pass, the mean over labels.

    Parameters
    ----------
    sigmoid : bool
        False ranks the logits. True ranks their float32 sigmoids as fastai does, in which
        logits above about 17 tie.
    average, absent
        As in `average_precision_score`. A label without a positive is reported once.
    """

    def __init__(self, sigmoid=False, average="macro", absent="zero"):
        check_choice("APScoreMulti", "average", average, ("macro", None))
        check_choice("APScoreMulti", "absent", absent, ("zero", "skip"))
        super().__init__(average_precision_score, "sigmoid" if sigmoid else "no", flatten=False)
        self.kwargs = {"average": average, "absent": absent}
        self._reported, self._vocab = set(), None

    def accumulate(self, learn):
        super().accumulate(learn)
        self._vocab = getattr(learn.dls, "vocab", None)

    def _compute(self, preds, targets):
        precisions = label_precisions(targets, preds, **self.kwargs)
        missing = set(np.flatnonzero(np.isnan(precisions)).tolist()) - self._reported
        if self.kwargs["absent"] == "zero" and missing:
            self._reported |= missing
            names = [str(self._vocab[i] if self._vocab else i) for i in sorted(missing)]
            warn_absent(self.name, names, stacklevel=4)
        return averaged(precisions, **self.kwargs)


def function_name(func):
    """Return what a function is called, through any ``functools.partial`` around it."""
    while isinstance(func, partial):
        func = func.func
    return getattr(func, "__name__", type(func).__name__)


def _brief(value):
    if isinstance(value, float):
        return f"{value:g}"
    return str(value) if np.ndim(value) == 0 else "..."


def make_metric(m):
    """Return a `Metric`: the one given, one of the class given, or one of the function given."""
    if isinstance(m, type):
        m = m()
    if isinstance(m, Metric):
        return m
    if not callable(m):
        raise TypeError(f"Learner: `metrics` must hold functions or Metric objects, got {m!r}")
    return AvgMetric(m)


def unique_names(metrics):
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
