"""Metrics against scikit-learn and fastai's definitions."""

from functools import partial
from types import SimpleNamespace

import numpy as np
import pytest

from mlclassify.metrics import (
    AccumMetric,
    APScoreMulti,
    AvgMetric,
    Metric,
    MLClassifyWarning,
    accuracy_multi,
    average_precision_score,
    make_metric,
    unique_names,
)
from mlclassify.tensor import tensor


def batch(pred, y, vocab=("a", "b", "c")):
    """What a metric is handed after a validation batch."""
    return SimpleNamespace(pred=np.asarray(pred, np.float32), y=np.asarray(y, np.float32),
                           dls=SimpleNamespace(vocab=list(vocab)))


def accuracy_by_definition(inp, targ, thresh, sigmoid):
    p = 1 / (1 + np.exp(-np.asarray(inp, float))) if sigmoid else np.asarray(inp, float)
    return np.mean((p > thresh) == (np.asarray(targ) != 0))


# --- accuracy_multi

@pytest.mark.parametrize("sigmoid", [True, False])
@pytest.mark.parametrize("thresh", [0.0, 0.2, 0.5, 0.95, 1.0])
def test_accuracy_is_its_definition(rng, sigmoid, thresh):
    inp, targ = rng.normal(size=(37, 5)), rng.random((37, 5)) < 0.3
    want = accuracy_by_definition(inp, targ, thresh, sigmoid)
    assert float(accuracy_multi(inp, targ, thresh, sigmoid)) == pytest.approx(want, abs=1e-7)


def test_accuracy_prints_as_fastais():
    activations = tensor([[0.0122, 0.001, 0.5], [0.2294, 0.3, 0.75]])
    assert repr(accuracy_multi(activations, tensor([1, 0, 1], [0, 0, 1]))) == "TensorBase(0.5000)"


def test_accuracy_counts_a_threshold_as_exceeded_strictly():
    assert float(accuracy_multi([[0.5]], [[0]], thresh=0.5, sigmoid=False)) == 1
    assert float(accuracy_multi([[0.0]], [[0]], thresh=0.5)) == 1


def test_accuracy_of_a_threshold_for_each_label(rng):
    inp, targ, cuts = rng.random((20, 3)), rng.random((20, 3)) < 0.5, [0.1, 0.5, 0.9]
    want = accuracy_by_definition(inp, targ, cuts, False)
    assert float(accuracy_multi(inp, targ, cuts, sigmoid=False)) == pytest.approx(want)


def test_accuracy_flattens_as_fastai_does():
    assert float(accuracy_multi([[1.0], [-1.0], [1.0]], [1, 0, 0])) == pytest.approx(2 / 3)


def test_accuracy_counts_soft_targets_as_present():
    assert float(accuracy_multi([[3.0, 3.0]], [[0.2, 1.0]])) == 1


def test_accuracy_takes_a_tensor_for_a_threshold():
    assert float(accuracy_multi([[0.3]], [[1]], thresh=tensor(0.25), sigmoid=False)) == 1


def test_the_sweep_of_the_post(shared):
    golden = np.load(shared("golden/bears_seed2.npz"))
    preds, targs = golden["preds"], golden["targs"]
    for thresh in np.linspace(0.05, 0.995, 100, dtype=np.float32):
        want = np.mean((preds > thresh) == (targs > 0))
        got = accuracy_multi(preds, targs, thresh=thresh, sigmoid=False)
        assert float(got) == pytest.approx(want)


def test_accuracy_of_nothing_is_nan():
    assert np.isnan(accuracy_multi(np.empty((0, 3)), np.empty((0, 3))))


# --- average precision

CASES = {
    "random": lambda r: (r.random((200, 4)) < 0.3, r.normal(size=(200, 4))),
    "ties": lambda r: (r.random((200, 4)) < 0.3, r.integers(0, 5, (200, 4))),
    "all tied": lambda r: (r.random((50, 3)) < 0.5, np.zeros((50, 3))),
    "all positive": lambda r: (np.ones((9, 2)), r.normal(size=(9, 2))),
    "one photo": lambda r: (np.ones((1, 3)), r.normal(size=(1, 3))),
    "saturated": lambda r: (r.random((60, 3)) < 0.4, r.normal(size=(60, 3)) * 100),
    "close float64": lambda r: (r.random((60, 3)) < 0.4, 1 + r.normal(size=(60, 3)) * 1e-10),
    "beyond float32": lambda r: (r.random((60, 3)) < 0.4, r.normal(size=(60, 3)) * 1e100),
}


@pytest.mark.parametrize("case", CASES)
@pytest.mark.parametrize("average", ["macro", None])
def test_average_precision_is_scikit_learns(rng, case, average):
    sklearn = pytest.importorskip("sklearn.metrics")
    y, s = CASES[case](rng)
    y[0] = 1
    want = sklearn.average_precision_score(np.asarray(y, int), s, average=average)
    np.testing.assert_allclose(average_precision_score(y, s, average=average), want, rtol=1e-12)


def test_average_precision_of_one_label(rng):
    sklearn = pytest.importorskip("sklearn.metrics")
    y, s = rng.random(50) < 0.5, rng.random(50)
    want = sklearn.average_precision_score(y, s)
    assert average_precision_score(y, s) == pytest.approx(want, abs=1e-12)


def test_average_precision_of_fastais_run(shared):
    sklearn = pytest.importorskip("sklearn.metrics")
    golden = np.load(shared("golden/bears_seed2.npz"))
    want = sklearn.average_precision_score(golden["targs"], golden["preds"])
    assert average_precision_score(golden["targs"], golden["preds"]) == pytest.approx(want, 1e-12)


def test_a_label_without_a_positive_counts_zero_and_is_reported():
    y, s = [[1, 0], [0, 0]], [[0.9, 0.1], [0.2, 0.3]]
    with pytest.warns(MLClassifyWarning, match="labels 1 have no positive here; each counts 0"):
        assert average_precision_score(y, s) == 0.5
    assert average_precision_score(y, s, zero_division=np.nan) == 1.0
    skipped = average_precision_score(y, s, average=None, zero_division=np.nan)
    assert skipped[0] == 1 and np.isnan(skipped[1])


def test_no_positive_at_all():
    assert np.isnan(average_precision_score([0, 0], [0.1, 0.2], zero_division=np.nan))


# --- columns of the table

def test_avg_metric_is_the_mean_over_photos():
    metric = AvgMetric(lambda pred, y: pred.mean())
    assert metric.value is None
    for pred in ([[1.0], [1.0], [1.0]], [[5.0]]):
        metric.accumulate(batch(pred, np.zeros_like(pred)))
    assert metric.value == 2.0
    metric.reset()
    assert metric.value is None


def test_accum_metric_sees_everything_at_once(rng):
    seen = []
    metric = AccumMetric(lambda targs, preds, k: seen.append((targs.shape, preds.shape)) or k,
                         k=3.5, flatten=False)
    for n in (4, 2):
        metric.accumulate(batch(rng.random((n, 3)), rng.random((n, 3))))
    assert metric.value == 3.5 and seen == [((6, 3), (6, 3))]


def test_accum_metric_keeps_copies():
    b = batch([[1.0]], [[1.0]])
    metric = AccumMetric(lambda t, p: float(p.sum()))
    metric.accumulate(b)
    b.pred[:] = 9
    assert metric.value == 1.0


def test_accum_metric_options():
    b = batch([[-1.0, 2.0, 0.0]], [[0, 1, 1]])

    def call(targs, preds):
        return targs.tolist(), preds.tolist()

    def value(**options):
        metric = AccumMetric(call, **options)
        metric.accumulate(b)
        return metric.value

    assert value() == ([0, 1, 1], [-1, 2, 0])
    assert value(flatten=False) == ([[0, 1, 1]], [[-1, 2, 0]])
    assert value(invert_arg=True) == ([-1, 2, 0], [0, 1, 1])
    np.testing.assert_allclose(value(activation="sigmoid")[1], [0.26894143, 0.880797, 0.5])
    assert value(activation="sigmoid", thresh=0.5)[1] == [False, True, False]
    assert value(thresh=0)[1] == [False, True, False]


def test_ap_score_ranks_logits():
    metric = APScoreMulti()
    logits, y = [[20.0], [30.0], [10.0]], [[0], [1], [0]]
    metric.accumulate(batch(logits, y, "a"))
    assert metric.name == "average_precision_score"
    assert metric.value == 1.0
    as_fastai = APScoreMulti(sigmoid=True)
    as_fastai.accumulate(batch(logits, y, "a"))
    assert as_fastai.value == 0.5


def test_ap_score_names_an_absent_label_once():
    metric = APScoreMulti()
    metric.accumulate(batch([[1.0, 2.0, 0.5]], [[1, 1, 0]]))
    with pytest.warns(MLClassifyWarning, match="labels c have no positive here;") as caught:
        assert metric.value == pytest.approx(2 / 3)
    assert len(caught) == 1
    assert metric.value == pytest.approx(2 / 3)


def test_ap_score_options():
    b = batch([[1.0, 2.0, 0.5]], [[1, 1, 0]])
    for options, want in (({"zero_division": np.nan}, 1.0),
                          ({"average": None, "zero_division": np.nan}, None)):
        metric = APScoreMulti(**options)
        metric.accumulate(b)
        value = metric.value
        assert value == want if want else np.isnan(value[2])


def test_names_of_columns():
    two = [partial(accuracy_multi, thresh=t) for t in (0.5, 0.95)]
    assert unique_names([make_metric(two[1])]) == ["accuracy_multi"]
    names = unique_names([make_metric(m) for m in (*two, APScoreMulti)])
    assert names == ["accuracy_multi(thresh=0.5)", "accuracy_multi(thresh=0.95)",
                     "average_precision_score"]
    same = [make_metric(accuracy_multi) for _ in range(3)]
    assert unique_names(same) == ["accuracy_multi", "accuracy_multi_2", "accuracy_multi_3"]
    assert unique_names([AvgMetric(two[0], name="half"), make_metric(two[1])]) == [
        "half", "accuracy_multi"]


def test_a_metric_of_ones_own():
    class Count(Metric):
        name = "count"

        def reset(self):
            self.n = 0

        def accumulate(self, learn):
            self.n += len(learn.y)

        @property
        def value(self):
            return self.n

    metric = make_metric(Count)
    metric.reset()
    metric.accumulate(batch([[1.0]], [[1]]))
    assert metric.value == 1 and make_metric(metric) is metric
