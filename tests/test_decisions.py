"""Metrics of decisions against scikit-learn, golden numbers and corner cases."""

import json
import warnings

import numpy as np
import pytest

from mlclassify import metrics
from mlclassify.metrics import (
    accuracy_score,
    brier_score_loss,
    f1_score,
    hamming_loss,
    jaccard_score,
    matthews_corrcoef,
    multilabel_confusion_matrix,
    precision_score,
)

RATIOS = {"f1_score": {}, "fbeta_score": {"beta": 2.0}, "precision_score": {}, "recall_score": {},
          "jaccard_score": {}}
AVERAGES = ["macro", "micro", "weighted", "samples", None]


def draw(rng, rows=157, labels=7):
    """Decisions with a label that is never there, one never decided, one neither; empty rows."""
    y, p = (rng.random((rows, labels)) < 0.3 for _ in range(2))
    y[:, 1], p[:, 2], y[:, 3], p[:, 3] = False, False, False, False
    y[:9], p[4:12] = False, False
    return y, p


def scikit_learns(name, *args, **options):
    """The value of scikit-learn's function, without its warnings."""
    sklearn = pytest.importorskip("sklearn.metrics")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return getattr(sklearn, name)(*args, **options)


@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("zero_division", [0, 1, np.nan])
@pytest.mark.parametrize("average", AVERAGES)
@pytest.mark.parametrize("name", RATIOS)
def test_ratios_are_scikit_learns(rng, name, average, zero_division, weighted):
    if name == "jaccard_score" and np.isnan(zero_division):
        pytest.skip("scikit-learn has no such option here")
    y, p = draw(rng)
    weight = rng.random(len(y)) * (rng.random(len(y)) < 0.8) if weighted else None
    options = {"average": average, "zero_division": zero_division, "sample_weight": weight,
               **RATIOS[name]}
    for labels in (None, [0, 3, 5]):
        got = getattr(metrics, name)(y, p, labels=labels, **options)
        want = scikit_learns(name, y, p, labels=labels, **options)
        np.testing.assert_allclose(got, want, rtol=1e-12)


@pytest.mark.parametrize("beta", [0, 0.5, 1, np.inf])
def test_beta_from_precision_to_recall(rng, beta):
    y, p = draw(rng)
    want = scikit_learns("fbeta_score", y, p, beta=beta, average=None, zero_division=0)
    np.testing.assert_allclose(metrics.fbeta_score(y, p, beta=beta, average=None), want, rtol=1e-12)


def test_jaccard_leaves_out_what_is_not_defined():
    assert jaccard_score([[1, 0]], [[1, 0]], zero_division=np.nan) == 1
    assert np.isnan(jaccard_score([[0, 0]], [[0, 0]], zero_division=np.nan))


@pytest.mark.parametrize("weighted", [False, True])
def test_the_others_are_scikit_learns(rng, weighted):
    y, p = draw(rng)
    weight = {"sample_weight": rng.random(len(y)) if weighted else None}
    for name, options in (("hamming_loss", {}), ("accuracy_score", {}),
                          ("accuracy_score", {"normalize": False}),
                          ("multilabel_confusion_matrix", {}),
                          ("multilabel_confusion_matrix", {"labels": [5, 2]}),
                          ("multilabel_confusion_matrix", {"samplewise": True})):
        got = getattr(metrics, name)(y, p, **options, **weight)
        want = scikit_learns(name, y, p, **options, **weight)
        np.testing.assert_allclose(got, want, rtol=1e-12, atol=1e-12)
        assert np.asarray(got).dtype == np.asarray(want).dtype or not np.ndim(got)


def test_matthews_by_label_and_of_all_cells(rng):
    y, p = draw(rng)
    weight = rng.random(len(y))
    want = [scikit_learns("matthews_corrcoef", a, b, sample_weight=weight)
            for a, b in zip(y.T, p.T)]
    got = matthews_corrcoef(y, p, average=None, sample_weight=weight)
    np.testing.assert_allclose(got, want, rtol=1e-12, atol=1e-15)
    assert matthews_corrcoef(y, p, average="macro", sample_weight=weight) == pytest.approx(
        np.mean(want), abs=1e-12)
    want = scikit_learns("matthews_corrcoef", y.ravel(), p.ravel())
    assert matthews_corrcoef(y, p) == pytest.approx(want, abs=1e-12)


def test_brier_is_the_mean_over_labels(rng):
    y, _ = draw(rng)
    probs, weight = rng.random(y.shape), rng.random(len(y))
    want = [scikit_learns("brier_score_loss", a.astype(int), b, sample_weight=weight)
            for a, b in zip(y.T[:1], probs.T)]
    got = brier_score_loss(y, probs, average=None, sample_weight=weight)
    np.testing.assert_allclose(got[:1], want, rtol=1e-12)
    assert brier_score_loss(y, probs, sample_weight=weight) == pytest.approx(got.mean())


@pytest.mark.parametrize("name", RATIOS)
def test_a_vector_is_one_label(rng, name):
    y, p = rng.random(99) < 0.4, rng.random(99) < 0.4
    want = scikit_learns(name, y, p, **RATIOS[name])
    assert getattr(metrics, name)(y, p, **RATIOS[name]) == pytest.approx(want, abs=1e-12)
    assert getattr(metrics, name)(y[:, None], p[:, None], **RATIOS[name]) == pytest.approx(want)


@pytest.mark.parametrize("rows, labels", [(1, 1), (1, 70), (255, 1), (256, 65), (2000, 131)])
def test_odd_sizes(rng, rows, labels):
    y, p = (rng.random((rows, labels)) < 0.5 for _ in range(2))
    tables = multilabel_confusion_matrix(y, p)
    np.testing.assert_array_equal(tables[:, 1, 1], (y & p).sum(0))
    np.testing.assert_array_equal(tables[:, 0, 1], (~y & p).sum(0))
    np.testing.assert_array_equal(tables.sum((1, 2)), rows)
    assert hamming_loss(y, p) == pytest.approx(np.mean(y != p), abs=1e-15)
    assert accuracy_score(y, p) == (y == p).all(1).mean()


@pytest.mark.parametrize("name", ["emotions_rbf", "yeast_rbf", "yeast_lin", "enron_lin",
                                  "birds_lin"])
def test_golden_numbers(shared, name):
    golden = json.loads(shared("mulan/golden.json").read_text())[name]["golden"]
    folder = shared(f"mulan/scores/{name}")
    scores, y = np.load(folder / "test_s.f32.npy"), np.load(folder / "test_y.u8.npy")
    decided = scores > 0
    for ratio in ("f1", "precision", "recall", "jaccard"):
        for average in ("macro", "micro", "weighted", "samples"):
            got = getattr(metrics, f"{ratio}_score")(y, decided, average=average)
            assert got == pytest.approx(golden[f"{ratio}_{average}"], abs=1e-12)
    assert hamming_loss(y, decided) == pytest.approx(golden["hamming"], abs=1e-12)
    assert accuracy_score(y, decided) == pytest.approx(golden["subset_acc"], abs=1e-12)


def test_corner_cases():
    y, p = [[1, 0], [1, 0]], [[1, 0], [1, 0]]
    for zero, want in ((0, 0.5), (1, 1.0), (np.nan, 1.0)):
        assert f1_score(y, p, zero_division=zero) == want
    assert f1_score([[1, 0], [0, 0]], [[1, 0], [0, 0]], average="samples") == 0.5
    assert jaccard_score(y, p) == 0.5
    assert jaccard_score([[1, 0], [0, 0]], [[1, 0], [0, 0]], average="samples",
                         zero_division=1) == 1.0
    assert hamming_loss([[1, 0]], [[0, 1]]) == 1.0
    # A wrong label is wrong whatever 0 / 0 is.
    assert f1_score([1, 0], [0, 1], zero_division=1) == 0
    assert np.isnan(precision_score([1, 0], [0, 0], zero_division=np.nan))
    # Weights that leave nothing weigh alike, as in scikit-learn.
    assert f1_score([[0, 0]], [[1, 0]], average="weighted", zero_division=1) == 0.5
    assert matthews_corrcoef([1, 1], [1, 0]) == 0


Y = [[1, 0], [0, 1]]


@pytest.mark.parametrize("call, message", [
    (lambda: f1_score(Y, [[0.5, 1], [0, 1]]),
     "f1_score: `y_pred` must hold decisions, 0 and 1 (of scores: scores > thresh), got 0.5 at "
     "index (0, 0)"),
    (lambda: f1_score(Y, [[1, 1], [0, np.nan]]),
     "f1_score: `y_pred` must hold decisions, 0 and 1 (of scores: scores > thresh), got nan at "
     "index (1, 1)"),
    (lambda: f1_score([[0.5, 1], [0, 1]], Y),
     "f1_score: `y_true` must hold only 0 and 1, got 0.5 at index (0, 0)"),
    (lambda: f1_score([[np.nan, 1], [0, 1]], Y),
     "f1_score: `y_true` must not be NaN, got nan at index (0, 0)"),
    (lambda: f1_score(Y, [1, 0]),
     "f1_score: `y_pred` must have the shape of `y_true`, got (2,) for (2, 2)"),
    (lambda: f1_score([[Y]], [[Y]]),
     "f1_score: `y_true` must have shape (N, L) or (N,), got (1, 1, 2, 2)"),
    (lambda: hamming_loss(np.zeros((0, 3)), np.zeros((0, 3))),
     "hamming_loss: `y_true` must have at least one photo and one label, got shape (0, 3)"),
    (lambda: f1_score(Y, Y, average="binary"),
     "f1_score: `average` must be 'macro' or 'micro' or 'weighted' or 'samples' or None, got "
     "'binary'"),
    (lambda: matthews_corrcoef(Y, Y, average="samples"),
     "matthews_corrcoef: `average` must be 'micro' or 'macro' or None, got 'samples'"),
    (lambda: f1_score(Y, Y, zero_division="warn"),
     "f1_score: `zero_division` must hold numbers, got 'warn'"),
    (lambda: f1_score(Y, Y, zero_division=2),
     "f1_score: `zero_division` must be 0, 1 or nan, got 2"),
    (lambda: metrics.fbeta_score(Y, Y, beta=-1),
     "fbeta_score: `beta` must be a number of at least 0, got -1"),
    (lambda: accuracy_score(Y, Y, sample_weight=[1]),
     "accuracy_score: `sample_weight` must have shape (2,), got (1,)"),
    (lambda: accuracy_score(Y, Y, sample_weight=[1, -1]),
     "accuracy_score: `sample_weight` must be finite and not negative, got -1.0 at index 1"),
    (lambda: accuracy_score(Y, Y, sample_weight=[0, 0]),
     "accuracy_score: `sample_weight` must not be 0 everywhere, got 2 zeros"),
    (lambda: f1_score(Y, Y, labels=[0, 2]),
     "f1_score: `labels` must lie in [0, 1], got 2 at index 1"),
    (lambda: f1_score(Y, Y, labels=[]),
     "f1_score: `labels` must be a list of numbers of columns, got []"),
    (lambda: brier_score_loss(Y, [[3.5, 0], [0, 1]]),
     "brier_score_loss: `y_proba` must lie in [0, 1] (of logits: their sigmoid), got 3.5 at index "
     "(0, 0)"),
])
def test_messages(call, message):
    with pytest.raises((ValueError, TypeError)) as caught:
        call()
    assert str(caught.value) == message
