"""What a Learner takes: fastai's metrics of decisions against scikit-learn, batch by batch."""

from functools import partial
from types import SimpleNamespace

import numpy as np
import pytest
from tiny import tiny_learner

from mlclassify import metrics
from mlclassify.metrics import (
    AccumMetric,
    APScoreMulti,
    AvgMetric,
    BrierScoreMulti,
    F1ScoreMulti,
    FBetaMulti,
    HammingLossMulti,
    MatthewsCorrCoefMulti,
    Metric,
    accuracy_multi,
    make_metric,
    unique_names,
)

RATIOS = {"F1ScoreMulti": "f1_score", "FBetaMulti": "fbeta_score", "JaccardMulti": "jaccard_score",
          "PrecisionMulti": "precision_score", "RecallMulti": "recall_score"}


def batch(pred, y):
    return SimpleNamespace(pred=np.asarray(pred, np.float32), y=np.asarray(y, np.float32),
                           dls=SimpleNamespace(vocab=None))


def passed(metric, logits, y, size=13):
    """The value after a validation pass."""
    metric.reset()
    for i in range(0, len(y), size):
        metric.accumulate(batch(logits[i : i + size], y[i : i + size]))
    return metric.value


@pytest.fixture
def scored(rng):
    logits, y = rng.normal(size=(100, 5)).astype(np.float32), rng.random((100, 5)) < 0.4
    return logits, y.astype(np.float32), 1 / (1 + np.exp(-logits.astype(np.float64)))


@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("average", ["macro", "micro", "weighted", "samples", None])
@pytest.mark.parametrize("name", RATIOS)
def test_ratios_are_scikit_learns(scored, rng, name, average, weighted):
    sklearn = pytest.importorskip("sklearn.metrics")
    logits, y, probs = scored
    weight = rng.random(100) if weighted else None
    beta = {"beta": 0.5} if name == "FBetaMulti" else {}
    metric = getattr(metrics, name)(**beta, thresh=0.6, average=average, sample_weight=weight)
    want = getattr(sklearn, RATIOS[name])(y, probs > 0.6, **beta, average=average,
                                          sample_weight=weight, zero_division=0)
    for _ in range(2):
        np.testing.assert_allclose(passed(metric, logits, y), want, rtol=1e-12)
    assert metric.name == RATIOS[name]


@pytest.mark.parametrize("weighted", [False, True])
def test_hamming_matthews_and_brier(scored, rng, weighted):
    sklearn = pytest.importorskip("sklearn.metrics")
    logits, y, probs = scored
    weight = rng.random(100) if weighted else None
    each = None if weight is None else np.repeat(weight, 5)
    flat = y.ravel().astype(int), (probs > 0.5).ravel()
    options = {"sample_weight": weight}
    want = sklearn.hamming_loss(y, probs > 0.5, sample_weight=weight)
    assert passed(HammingLossMulti(**options), logits, y) == pytest.approx(want, abs=1e-12)
    assert passed(BrierScoreMulti(0.5, **options), logits, y) == pytest.approx(want, abs=1e-12)
    want = sklearn.matthews_corrcoef(*flat, sample_weight=each)
    assert passed(MatthewsCorrCoefMulti(**options), logits, y) == pytest.approx(want, abs=1e-12)
    want = sklearn.brier_score_loss(flat[0], probs.ravel(), sample_weight=each)
    assert passed(BrierScoreMulti(**options), logits, y) == pytest.approx(want, abs=1e-6)
    macro = passed(MatthewsCorrCoefMulti(average=None, **options), logits, y)
    assert macro.shape == (5,)


def test_options(scored):
    logits, y, probs = scored
    want = metrics.f1_score(y, logits > 0.1, labels=[1, 3])
    assert passed(F1ScoreMulti(0.1, sigmoid=False, labels=[1, 3]), logits, y) == want
    cuts = [0.3, 0.4, 0.5, 0.6, 0.7]
    assert passed(F1ScoreMulti(cuts), logits, y) == metrics.f1_score(y, probs > cuts)
    nothing = passed(F1ScoreMulti(1.0, zero_division=np.nan), logits, np.zeros_like(y))
    assert np.isnan(nothing) and F1ScoreMulti().value is None and BrierScoreMulti().value is None


def test_a_threshold_is_exceeded_strictly():
    assert passed(F1ScoreMulti(0.5), [[0.0], [1.0]], [[0], [1]]) == 1


def test_memory_does_not_grow(scored):
    logits, y, _ = scored
    metric = F1ScoreMulti()
    for _ in range(3):
        metric.accumulate(batch(logits, y))
        assert sum(np.size(x) for x in metric._sums) == 3 * 5 + 1


def test_the_threshold_can_be_read():
    assert F1ScoreMulti(0.25).thresh == 0.25 and HammingLossMulti().thresh == 0.5
    assert F1ScoreMulti([0.25, 0.5]).thresh.tolist() == [0.25, 0.5]
    assert make_metric(partial(accuracy_multi, thresh=0.75)).thresh == 0.75
    assert make_metric(accuracy_multi).thresh == 0.5
    assert AccumMetric(max, thresh=0.5).thresh == 0.5
    for metric in (Metric(), APScoreMulti(), BrierScoreMulti(), AvgMetric(lambda p, y: 0),
                   AvgMetric(max)):
        assert metric.thresh is None


def test_columns_have_names_of_their_own():
    many = [F1ScoreMulti(0.5), F1ScoreMulti(0.75), FBetaMulti(2), FBetaMulti(0.5),
            make_metric(HammingLossMulti), BrierScoreMulti()]
    assert unique_names(many) == [
        "f1_score(thresh=0.5, average=macro)", "f1_score(thresh=0.75, average=macro)",
        "fbeta_score(beta=2, thresh=0.5, average=macro)",
        "fbeta_score(beta=0.5, thresh=0.5, average=macro)", "hamming_loss", "brier_score_loss"]
    assert repr(many[0]) == "F1ScoreMulti(f1_score(thresh=0.5, average=macro))"


def test_columns_of_a_learner():
    every = [F1ScoreMulti, FBetaMulti(2), metrics.PrecisionMulti, metrics.RecallMulti,
             metrics.JaccardMulti, HammingLossMulti, MatthewsCorrCoefMulti, BrierScoreMulti,
             accuracy_multi]
    learn = tiny_learner(20, 8, metrics=every)
    _, *values = learn.validate()
    probs, targs = learn.get_preds()
    said = np.asarray(probs) > 0.5
    assert values[0] == metrics.f1_score(targs, said)
    assert values[6] == metrics.matthews_corrcoef(targs, said)
    assert values[7] == pytest.approx(metrics.brier_score_loss(targs, probs), abs=1e-6)
    assert values[5] == pytest.approx(1 - values[8], abs=1e-6)


@pytest.mark.parametrize("make, message", [
    (lambda: F1ScoreMulti(95),
     "F1ScoreMulti: `thresh` must lie in [0, 1] or be -inf or inf, got 95"),
    (lambda: F1ScoreMulti(pos_label=0),
     "F1ScoreMulti: `pos_label` must be 1, for labels are present or not, got 0"),
    (lambda: F1ScoreMulti(average="binary"),
     "F1ScoreMulti: `average` must be 'macro' or 'micro' or 'weighted' or 'samples' or None, got "
     "'binary'"),
    (lambda: F1ScoreMulti(labels=[-1]),
     "F1ScoreMulti: `labels` must not be negative, got -1 at index 0"),
    (lambda: FBetaMulti(-1), "FBetaMulti: `beta` must be a number of at least 0, got -1"),
    (lambda: passed(F1ScoreMulti([0.5, 0.5]), [[1.0]], [[1]]),
     "F1ScoreMulti: `thresh` must be a number or have shape (1,), got (2,)"),
    (lambda: passed(F1ScoreMulti(), [[np.nan]], [[1]]),
     "F1ScoreMulti: `pred` must not be NaN, got nan at index (0, 0)"),
    (lambda: passed(F1ScoreMulti(), [[1.0]], [[0.9]]),
     "F1ScoreMulti: `y` must hold only 0 and 1, got 0.8999999761581421 at index (0, 0)"),
    (lambda: passed(F1ScoreMulti(sample_weight=[1]), [[1.0]] * 2, [[1]] * 2),
     "F1ScoreMulti: `sample_weight` must have one number for each photo of the validation pass "
     "(at least 2), got 1"),
    (lambda: passed(F1ScoreMulti(sample_weight=[1, 1, 1]), [[1.0]] * 2, [[1]] * 2),
     "F1ScoreMulti: `sample_weight` must have one number for each photo of the validation pass "
     "(2), got 3"),
    (lambda: passed(BrierScoreMulti(sigmoid=False), [[1.5]], [[1]]),
     "BrierScoreMulti: `pred` must lie in [0, 1] where `sigmoid` is False, got 1.5 at index "
     "(0, 0)"),
])
def test_messages(make, message):
    with pytest.raises(ValueError) as caught:
        make()
    assert str(caught.value) == message
