"""Metrics of rankings against scikit-learn, slow definitions, golden numbers and corner cases."""

import json
import warnings
from types import SimpleNamespace

import numpy as np
import pytest
import reference

from mlclassify import metrics
from mlclassify.metrics import (
    APScoreMulti,
    MLClassifyWarning,
    RocAucMulti,
    average_precision_score,
    coverage_error,
    label_ranking_average_precision_score,
    label_ranking_loss,
    ndcg_score,
    precision_at_k,
    precision_recall_curve,
    recall_at_k,
    roc_auc_score,
)

AVERAGES = ["macro", "micro", "weighted", "samples", None]
BY_PHOTO = ["label_ranking_average_precision_score", "coverage_error", "label_ranking_loss",
            "ndcg_score"]
KINDS = {
    "normal": lambda r, shape: r.normal(size=shape).astype(np.float32),
    "ties": lambda r, shape: r.integers(-2, 3, shape),
    "all tied": lambda r, shape: np.zeros(shape),
    "close float64": lambda r, shape: 1 + r.integers(0, 50, shape) * 1e-12,
    "beyond float32": lambda r, shape: r.normal(size=shape) * 1e100,
    "denormal": lambda r, shape: (r.integers(-9, 9, shape) * 1e-45).astype(np.float32),
}


def draw(rng, kind="normal", rows=83, labels=7):
    """Targets, every label in some photo and not in all, photos with all and without; scores."""
    y = rng.random((rows, labels)) < 0.3
    y[0], y[1], y[2:5] = True, False, False
    return y, KINDS[kind](rng, (rows, labels))


def scikit_learns(name, *args, **options):
    """The value of scikit-learn's function, without its warnings."""
    sklearn = pytest.importorskip("sklearn.metrics")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return getattr(sklearn, name)(*args, **options)


@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("average", AVERAGES)
@pytest.mark.parametrize("kind", KINDS)
def test_scores_of_labels_are_scikit_learns(rng, kind, average, weighted):
    y, s = draw(rng, kind)
    weight = rng.random(len(y)) * (rng.random(len(y)) < 0.8) if weighted else None
    options = {"average": average, "sample_weight": weight}
    got = average_precision_score(y, s, zero_division=0, **options)
    np.testing.assert_allclose(got, scikit_learns("average_precision_score", y.astype(int), s,
                                                  **options), rtol=1e-12)
    if average == "samples":  # scikit-learn's is NaN with a photo that has no label
        y = y[5:] & (np.arange(7) > 0) | (np.arange(7) == 1)
        s, options["sample_weight"] = s[5:], None if weight is None else weight[5:]
    got = roc_auc_score(y, s, **options)
    np.testing.assert_allclose(got, scikit_learns("roc_auc_score", y.astype(int), s, **options),
                               rtol=1e-12)


@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("name", BY_PHOTO)
def test_scores_of_photos_are_scikit_learns(rng, name, kind, weighted):
    y, s = draw(rng, kind)
    weight = rng.random(len(y)) if weighted else None
    want = scikit_learns(name, y.astype(int), s, sample_weight=weight)
    assert getattr(metrics, name)(y, s, sample_weight=weight) == pytest.approx(want, rel=1e-12)


@pytest.mark.parametrize("k", [1, 3, 7])
@pytest.mark.parametrize("kind", ["normal", "ties"])
def test_ndcg_at_k_is_scikit_learns(rng, kind, k):
    y, s = draw(rng, kind)
    assert ndcg_score(y, s, k=k) == pytest.approx(scikit_learns("ndcg_score", y, s, k=k), rel=1e-12)


@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("kind", KINDS)
def test_curves_are_scikit_learns(rng, kind, weighted):
    y, s = draw(rng, kind)
    weight = rng.random(len(y)) * (rng.random(len(y)) < 0.8) if weighted else None
    for label, curve in enumerate(precision_recall_curve(y, s, sample_weight=weight)):
        want = scikit_learns("precision_recall_curve", y[:, label], s[:, label],
                             sample_weight=weight)
        for ours, theirs in zip(curve, want):
            np.testing.assert_allclose(ours, theirs, rtol=1e-12)
        assert curve.thresholds.dtype == s.dtype
        one = precision_recall_curve(y[:, label], s[:, label], sample_weight=weight)
        np.testing.assert_array_equal(one.precision, curve.precision)


@pytest.mark.parametrize("kind", KINDS)
def test_their_definitions(rng, kind):
    y, s = draw(rng, kind, rows=40)
    aps, aucs = (f(y, s, average=None) for f in (average_precision_score, roc_auc_score))
    for label in range(7):
        assert aps[label] == pytest.approx(reference.average_precision(s[:, label], y[:, label]))
        assert aucs[label] == pytest.approx(reference.roc_auc(s[:, label], y[:, label]))
    rows = np.array([reference.row_ranking(*row) for row in zip(s, y)])
    for i, name in enumerate(BY_PHOTO[:3]):
        want = np.nan_to_num(rows[:, i], nan=1.0).mean()
        assert getattr(metrics, name)(y, s) == pytest.approx(want, rel=1e-12)
    for k in (1, 2, 7):
        want = np.array([reference.found_at_k(*row, k) for row in zip(s, y)])
        assert precision_at_k(y, s, k) == pytest.approx(np.mean(want) / k, rel=1e-12)
        recall = want / np.maximum(y.sum(1), 1)
        assert recall_at_k(y, s, k) == pytest.approx(np.mean(recall), rel=1e-12)
        for zero in (1, np.nan):
            full = np.where(y.any(1), recall, zero)
            assert recall_at_k(y, s, k, zero_division=zero) == pytest.approx(np.nanmean(full))


# What a map of scores to even cells could stumble over, from a uniform draw.
UNEVEN = {
    "even": lambda u: u,
    "probabilities": lambda u: u**9,
    "infinite": lambda u: np.where(u < 0.2, -np.inf, np.where(u > 0.9, np.inf, u)),
    "only infinite": lambda u: np.where(u < 0.9, -np.inf, np.inf),
    "widest": lambda u: np.float32(3.4e38) * (2 * u - 1),
    "all exponents": lambda u: np.float32(2) ** (250 * u - 140) * np.sign(u - 0.5),
    "least": lambda u: np.round(u * 40 - 20) * np.float32(1e-45),
    "far outlier": lambda u: np.where(u > 0.99, 1e30, 1 + np.round(u * 300) * 2.0**-23),
    "zeros": lambda u: np.where(u < 0.5, -0.0, np.where(u < 0.8, 0.0, u)),
}


@pytest.mark.parametrize("share", [0.0, 0.003, 0.05, 0.5, 1.0])
@pytest.mark.parametrize("kind", UNEVEN)
def test_positives_are_counted_between_however_scores_lie(rng, kind, share):
    for rows, labels in ((1, 3), (40, 17), (1400, 2)):
        s = UNEVEN[kind](rng.random((rows, labels))).astype(np.float32)
        y = rng.random((rows, labels)) < share
        options = {"average": None, "zero_division": np.nan}
        aps = average_precision_score(y, s, **options)
        aucs = roc_auc_score(y, s, **options)
        ones = {"sample_weight": np.ones(rows), **options}  # these are sorted
        np.testing.assert_allclose(aps, average_precision_score(y, s, **ones), rtol=1e-12)
        np.testing.assert_allclose(aucs, roc_auc_score(y, s, **ones), rtol=1e-12)
        for label in range(labels if rows < 100 else 1):
            want = reference.average_precision(s[:, label], y[:, label])
            np.testing.assert_allclose(aps[label], want, rtol=1e-12)
            if 0 < y[:, label].sum() < rows:
                want = reference.roc_auc(s[:, label], y[:, label])
                np.testing.assert_allclose(aucs[label], want, rtol=1e-12)


@pytest.mark.parametrize("kind", ["normal", "ties"])
def test_what_must_not_matter_does_not(rng, kind):
    y, s = draw(rng, kind)
    order, columns = rng.permutation(len(y)), rng.permutation(y.shape[1])
    for name in ("average_precision_score", "roc_auc_score", *BY_PHOTO):
        score = getattr(metrics, name)
        want = pytest.approx(score(y, s), rel=1e-12)
        assert score(y[order], s[order]) == want
        assert score(y[:, columns], s[:, columns]) == want
        for change in (np.exp, np.arctan, lambda x: 3.0 * x - 2):
            assert score(y, change(s.astype(np.float64))) == want
        assert score(np.tile(y, (2, 1)), np.tile(s, (2, 1))) == want
        assert score(y, s, sample_weight=np.full(len(y), 2.0)) == want


@pytest.mark.parametrize("kind", KINDS)
def test_average_precision_of_photos_is_lrap(rng, kind):
    y, s = draw(rng, kind)
    weight = rng.random(len(y))
    lrap = label_ranking_average_precision_score(y, s, sample_weight=weight)
    ap = average_precision_score(y, s, average="samples", sample_weight=weight, zero_division=1)
    assert ap == pytest.approx(lrap, rel=1e-12)


def test_all_tied_is_the_prevalence(rng):
    y = rng.random((50, 4)) < 0.4
    got = average_precision_score(y, np.ones(y.shape), average=None, zero_division=0)
    np.testing.assert_allclose(got, y.mean(0), rtol=1e-12)


@pytest.mark.parametrize("name", ["emotions_rbf", "yeast_rbf", "yeast_lin", "enron_lin",
                                  "birds_lin"])
def test_golden_numbers(shared, name):
    golden = json.loads(shared("mulan/golden.json").read_text())[name]["golden"]
    folder = shared(f"mulan/scores/{name}")
    s, y = np.load(folder / "test_s.f32.npy"), np.load(folder / "test_y.u8.npy")
    got = {f"ap_{a}": average_precision_score(y, s, average=a, zero_division=0)
           for a in AVERAGES[:4]}
    got["auc_macro_defined"] = roc_auc_score(y, s, zero_division=np.nan)
    got["auc_micro"] = roc_auc_score(y, s, average="micro")
    got["lrap"] = label_ranking_average_precision_score(y, s)
    got["coverage_error"] = coverage_error(y, s)
    got["ranking_loss"] = label_ranking_loss(y, s)
    for key, value in got.items():
        assert value == pytest.approx(golden[key], abs=1e-12), key
    each = average_precision_score(y, s, average=None, zero_division=0)
    np.testing.assert_allclose(each, golden["ap_none"], atol=1e-12)
    defined = roc_auc_score(y, s, average=None, zero_division=np.nan)
    assert np.isfinite(defined).sum() == golden["auc_n_defined"]


# --- corner cases, in the order of the shared list

def silent(call):
    with pytest.warns(MLClassifyWarning):
        return call()


def test_corner_cases_of_average_precision():
    ap = average_precision_score
    assert silent(lambda: ap([0, 0, 0], [0.1, 0.2, 0.3])) == 0
    assert ap([1, 1, 1], [0.1, 0.2, 0.3]) == 1
    assert ap([0, 1, 0, 0], [0.5] * 4) == 0.25
    assert ap([1], [0.3]) == 1
    # Infinite scores are scores here: they rank, and tie with each other.
    assert ap([0, 1, 1], [-np.inf, np.inf, np.inf]) == 1
    assert ap([0, 1], [np.inf, np.inf]) == 0.5
    assert ap([0, 1], [0.0, -0.0]) == ap([1, 0], [0.0, -0.0]) == 0.5
    y, s = [[1, 0], [0, 0]], [[0.9, 0.1], [0.2, 0.3]]
    assert silent(lambda: ap(y, s)) == 0.5
    assert silent(lambda: ap(y, s, average="weighted")) == 1
    assert silent(lambda: ap([[0, 0], [0, 0]], s, average="weighted")) == 0
    assert silent(lambda: ap(y, s, average="samples")) == 0.5
    assert silent(lambda: ap([1, 0], [0.9, 0.1], sample_weight=[0, 1])) == 0
    assert ap([True, False], [0.9, 0.1]) == 1
    assert ap([0, 1, 1, 0], np.float16([0.1, 0.9, 0.4, 0.6])) == pytest.approx(5 / 6, rel=1e-15)
    assert ap([[1], [0]], [[0.1], [0.9]]) == 0.5


def test_corner_cases_of_the_others():
    assert np.isnan(silent(lambda: roc_auc_score([0, 0], [0.1, 0.2])))
    assert roc_auc_score([0, 1], [0.5, 0.5]) == 0.5
    lrap = label_ranking_average_precision_score
    assert lrap([[0, 0], [1, 1]], [[0.1, 0.2], [0.3, 0.4]]) == 1
    assert lrap([[1, 0, 0]], [[0.5, 0.5, 0.5]]) == pytest.approx(1 / 3)
    assert coverage_error([[0, 0], [1, 0]], [[0.1, 0.2], [0.9, 0.1]]) == 0.5
    assert coverage_error([[1, 0, 0]], [[0.5, 0.5, 0.5]]) == 3
    assert label_ranking_loss([[1, 0, 0]], [[0.5, 0.5, 0.1]]) == 0.5
    assert ndcg_score([[0, 0]], [[0.1, 0.2]]) == 0
    # Labels that tie for a place share it.
    assert precision_at_k([[1, 0, 0]], [[1, 1, 0]], 1) == 0.5


def test_what_is_not_defined_is_named_once_or_not_at_all():
    y, s = np.zeros((3, 12), int), np.arange(36).reshape(3, 12)
    y[:, 0], y[0, 1] = 1, 1
    with pytest.warns(MLClassifyWarning) as caught:
        assert average_precision_score(y, s) == pytest.approx((1 + 1 / 3) / 12)
    assert [str(w.message) for w in caught] == [
        "average_precision_score: labels 2, 3, 4, 5, 6, 7, 8, 9, 10, 11 have no positive here; "
        "each counts 0 (zero_division=np.nan leaves them out)"]
    assert caught[0].filename == __file__
    with pytest.warns(MLClassifyWarning) as caught:
        assert roc_auc_score(y, s) == 0
    assert str(caught[0].message) == (
        "roc_auc_score: labels 0, 2, 3, 4, 5, 6, 7, 8, 9, 10, ... have no positive or no negative "
        "here; they are left out")
    with pytest.warns(MLClassifyWarning, match="photos 0 have no positive here; each counts 0"):
        average_precision_score([[0, 0]], [[1, 2]], average="samples")
    with pytest.warns(MLClassifyWarning, match="all labels together have no positive"):
        average_precision_score([[0, 0]], [[1, 2]], average="micro")
    with pytest.warns(MLClassifyWarning, match="labels 1 have no positive here; their recall is 1"):
        curves = precision_recall_curve([[1, 0], [0, 0]], [[2, 1], [1, 2]])
    assert curves[1].recall.tolist() == [1, 1, 0] and curves[1].precision.tolist() == [0, 0, 1]
    for zero, want in ((0, 0.5), (1, 1.0), (np.nan, 1.0)):
        assert average_precision_score([[1, 0], [0, 0]], [[2, 1], [1, 2]],
                                       zero_division=zero) == want
    each = average_precision_score([[1, 0], [0, 0]], [[2, 1], [1, 2]], average=None,
                                   zero_division=np.nan)
    assert each[0] == 1 and np.isnan(each[1])


# --- columns of a learner

def passed(metric, logits, y, vocab=None):
    metric.reset()
    for part in np.array_split(np.arange(len(y)), 3):
        metric.accumulate(SimpleNamespace(pred=logits[part], y=y[part].astype(np.float32),
                                          dls=SimpleNamespace(vocab=vocab)))
    return metric.value


@pytest.mark.parametrize("average", AVERAGES)
def test_columns_are_the_functions(rng, average):
    y, s = draw(rng)
    weight = rng.random(len(y))
    for metric, score in ((APScoreMulti, average_precision_score), (RocAucMulti, roc_auc_score)):
        options = {"average": average, "sample_weight": weight, "zero_division": 0}
        column = metric(**options)
        np.testing.assert_array_equal(passed(column, s, y), score(y, s, **options))
        assert column.name == score.__name__
    assert RocAucMulti().long_name == "roc_auc_score(average=macro)"


def test_a_column_names_a_label_once():
    logits, y = np.float32([[1, 2], [2, 1], [3, 3]]), np.array([[1, 0], [0, 0], [1, 0]])
    metric = RocAucMulti()
    with pytest.warns(MLClassifyWarning, match="labels teddy have no positive or no negative"):
        assert passed(metric, logits, y, ["black", "teddy"]) == 0.5
    assert passed(metric, logits, y, ["black", "teddy"]) == 0.5


# --- messages

Y = [[1, 0], [0, 1]]


@pytest.mark.parametrize("call, message", [
    (lambda: average_precision_score([[0.9, 0.1]], [[1, 2]]),
     "average_precision_score: `y_true` must hold only 0 and 1, got 0.9 at index (0, 0)"),
    (lambda: average_precision_score([1, -1], [1, 2]),
     "average_precision_score: `y_true` must hold only 0 and 1, got -1 at index 1"),
    (lambda: average_precision_score([1, 0], [1, np.nan]),
     "average_precision_score: `y_score` must not be NaN, got nan at index 1"),
    (lambda: roc_auc_score(Y, [[1, 2], [np.nan, 1]]),
     "roc_auc_score: `y_score` must not be NaN, got nan at index (1, 0)"),
    (lambda: roc_auc_score(Y, [[1, 2]]),
     "roc_auc_score: `y_score` must have the shape of `y_true`, got (1, 2) for (2, 2)"),
    (lambda: average_precision_score([], []),
     "average_precision_score: `y_true` must have at least one photo and one label, got shape "
     "(0,)"),
    (lambda: average_precision_score(Y, Y, sample_weight=[1, -1]),
     "average_precision_score: `sample_weight` must be finite and not negative, got -1.0 at index "
     "1"),
    (lambda: coverage_error(Y, Y, sample_weight=[0, 0]),
     "coverage_error: `sample_weight` must not be 0 everywhere, got 2 zeros"),
    (lambda: label_ranking_loss(Y, Y, sample_weight=[1, 1, 1]),
     "label_ranking_loss: `sample_weight` must have shape (2,), got (3,)"),
    (lambda: label_ranking_average_precision_score([1, 0], [1, 2]),
     "label_ranking_average_precision_score: `y_true` must have shape (N, L), got (2,)"),
    (lambda: average_precision_score(Y, Y, zero_division="skip"),
     "average_precision_score: `zero_division` must be 'warn', 0, 1 or nan, got 'skip'"),
    (lambda: recall_at_k(Y, Y, 1, zero_division=3),
     "recall_at_k: `zero_division` must be 0, 1 or nan, got 3"),
    (lambda: precision_at_k(Y, Y, 3),
     "precision_at_k: `k` must be at most the number of labels, 2, got 3"),
    (lambda: ndcg_score(Y, Y, k=0), "ndcg_score: `k` must be an integer of at least 1, got 0"),
    (lambda: APScoreMulti(pos_label=0),
     "APScoreMulti: `pos_label` must be 1, for labels are present or not, got 0"),
    (lambda: RocAucMulti(sample_weight=[-1]),
     "RocAucMulti: `sample_weight` must be finite and not negative, got -1.0 at index 0"),
])
def test_messages(call, message):
    with pytest.raises(ValueError) as caught:
        call()
    assert str(caught.value) == message
