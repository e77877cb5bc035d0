"""Thresholds from scores: against stored answers, and against trying everything."""

import itertools
import json
import warnings

import numpy as np
import pytest
from tiny import photos, register, tiny_learner

from mlclassify import _core
from mlclassify.checks import MLClassifyWarning
from mlclassify.functional import nn
from mlclassify.learner import load_learner
from mlclassify.selection import (
    METHODS,
    _Cuts,
    as_thresh,
    find_thresholds,
    stratified_folds,
)
from mlclassify.vision.all import BCEWithLogitsLossFlat

pytestmark = [pytest.mark.filterwarnings(f"ignore:find_thresholds. {text}") for text in (
    "`targs` should have 10 positives", "`folds` should have a positive of each label")]

SETS = ("emotions_rbf", "yeast_rbf", "yeast_lin", "birds_lin", "enron_lin")
STORED = {
    "scut": {}, "scut_pooled": {"method": "scut", "pooled": True},
    "scutfbr.0": {"method": "scutfbr0"}, "scutfbr.1": {"method": "scutfbr1"},
    "micro_cyclic": {"method": "cyclic"}, "micro_exact": {"method": "micro"},
    "micromacro": {"method": "micromacro"},
}


def f1(scores, targets, thresholds):
    """F1 of each label by its definition, 0 for 0 / 0."""
    answers = []
    for s, y, t in zip(np.asarray(scores).T, np.asarray(targets).T, thresholds):
        tp = sum(a > t and b for a, b in zip(s.tolist(), y.tolist()))
        wrong = sum((a > t) != bool(b) for a, b in zip(s.tolist(), y.tolist()))
        answers.append(2 * tp / (2 * tp + wrong) if tp else 0.0)
    return np.array(answers)


def micro_f1(scores, targets, thresholds):
    predicted = np.asarray(scores, np.float64) > thresholds
    tp = int((predicted & (targets != 0)).sum())
    return 2 * tp / max(int(predicted.sum()) + int(np.sum(targets)), 1)


def samples_f1(scores, targets, thresholds):
    predicted = np.asarray(scores, np.float64) > thresholds
    each = []
    for p, y in zip(predicted, targets != 0):
        size = int(p.sum() + y.sum())
        each.append(2 * int((p & y).sum()) / size if size else 0.0)
    return float(np.mean(each))


def candidates(column):
    """A threshold in each of the places where it makes a difference."""
    values = np.unique(np.asarray(column, np.float64))
    return [values[0] - 1, *((values[1:] + values[:-1]) / 2), values[-1] + 1]


def tied(rng, n, labels):
    """Scores of few values, and targets."""
    scores = rng.integers(0, 4, (n, labels)).astype(np.float32) - 1.5
    return scores, rng.integers(0, 2, (n, labels)).astype(np.uint8)


@pytest.mark.parametrize("name", SETS)
@pytest.mark.parametrize("key", STORED)
def test_stored_thresholds_and_what_they_give(shared, name, key):
    golden = json.loads(shared("mulan/golden.json").read_text())[name]
    arrays = {k: np.load(shared(f"mulan/scores/{name}/{k}.npy"))
              for k in ("oof_s.f32", "train_y.u8", "fold.u8", "test_s.f32", "test_y.u8")}
    options = dict(STORED[key])
    if "pooled" not in options:
        options["folds"] = arrays["fold.u8"]
    if key.startswith("scutfbr"):
        options["fbr"] = golden["fbr"][key[-1]]
    found = find_thresholds(arrays["oof_s.f32"], arrays["train_y.u8"], **options)
    want = np.array([float(t) for t in golden["thr"][key]])
    finite = np.isfinite(want)
    assert (found.thresholds[~finite] == want[~finite]).all()
    np.testing.assert_array_max_ulp(found.thresholds[finite], want[finite], 1)
    test = golden["test"][key]
    macro = f1(arrays["test_s.f32"], arrays["test_y.u8"], found.thresholds).mean()
    micro = micro_f1(arrays["test_s.f32"], arrays["test_y.u8"], found.thresholds)
    assert round(macro, 4) == round(test["macro"], 4) and round(micro, 4) == round(test["micro"], 4)


@pytest.mark.parametrize("name", SETS)
def test_stored_optima_of_all_scores(shared, name):
    golden = json.loads(shared("mulan/golden.json").read_text())[name]["pooled_oof"]
    scores = np.load(shared(f"mulan/scores/{name}/oof_s.f32.npy"))
    targets = np.load(shared(f"mulan/scores/{name}/train_y.u8.npy"))
    for method, key in (("micro", "exact_micro"), ("cyclic", "cyclic_micro")):
        found = find_thresholds(scores, targets, method=method, pooled=True)
        assert micro_f1(scores, targets, found.thresholds) == pytest.approx(golden[key], abs=1e-12)
    found = find_thresholds(scores, targets, pooled=True)
    assert found.after.mean() == pytest.approx(golden["macro_scut"], abs=1e-12)


def test_micro_is_the_best_of_all_combinations():
    rng = np.random.default_rng(0)
    for _ in range(2000):
        scores, targets = tied(rng, rng.integers(1, 7), rng.integers(1, 4))
        found = find_thresholds(scores, targets, method="micro", pooled=True).thresholds
        best = max(micro_f1(scores, targets, np.array(t))
                   for t in itertools.product(*(candidates(c) for c in scores.T)))
        assert micro_f1(scores, targets, found) == pytest.approx(best, abs=1e-12)
        cyclic = find_thresholds(scores, targets, method="cyclic", pooled=True).thresholds
        assert micro_f1(scores, targets, cyclic) <= best + 1e-12


def test_scut_is_the_best_of_each_label_and_keeps_the_start_otherwise():
    rng = np.random.default_rng(1)
    for _ in range(300):
        scores, targets = tied(rng, rng.integers(1, 9), 2)
        found = find_thresholds(scores, targets, pooled=True)
        for label in range(2):
            column, y = scores[:, label : label + 1], targets[:, label : label + 1]
            best = max(f1(column, y, [t])[0] for t in candidates(column))
            assert f1(column, y, found.thresholds[[label]])[0] == pytest.approx(best)
            if f1(column, y, [0.0])[0] == best:
                assert found.thresholds[label] == 0
        np.testing.assert_allclose(found.after, f1(scores, targets, found.thresholds))
        np.testing.assert_allclose(found.before, f1(scores, targets, [0.0, 0.0]))


def test_global_is_the_best_single_threshold_for_macro_f1():
    rng = np.random.default_rng(2)
    for _ in range(300):
        scores, targets = tied(rng, rng.integers(1, 9), 3)
        found = find_thresholds(scores, targets, method="global", pooled=True).thresholds
        assert len(set(found.tolist())) == 1
        best = max(f1(scores, targets, [t] * 3).mean() for t in candidates(scores.ravel()))
        assert f1(scores, targets, found).mean() == pytest.approx(best)


@pytest.mark.parametrize("method, measure", [("cyclic", micro_f1), ("cyclic_samples", samples_f1)])
def test_cyclic_methods_end_where_no_single_label_gains(method, measure):
    rng = np.random.default_rng(3)
    for _ in range(200):
        scores, targets = tied(rng, rng.integers(2, 9), 3)
        found = find_thresholds(scores, targets, method=method, pooled=True).thresholds
        here = measure(scores, targets, found)
        assert here >= measure(scores, targets, np.zeros(3)) - 1e-12
        for label, t in itertools.product(range(3), candidates(scores.ravel())):
            other = found.copy()
            other[label] = t
            assert measure(scores, targets, other) <= here + 1e-5


def test_pcut_predicts_each_label_as_often_as_it_is_there():
    rng = np.random.default_rng(4)
    scores = rng.normal(size=(50, 6)).astype(np.float32)
    targets = (rng.random((50, 6)) < np.linspace(0, 1, 6)).astype(np.uint8)
    found = find_thresholds(scores, targets, method="pcut", pooled=True).thresholds
    assert ((scores > found).sum(axis=0) == targets.sum(axis=0)).all()


def test_rcut_predicts_each_label_as_often_as_the_k_best_of_a_photo_name_it():
    rng = np.random.default_rng(4)
    for p in (0.05, 0.3, 0.9):
        scores = rng.normal(size=(50, 6)).astype(np.float32)
        targets = (rng.random((50, 6)) < p).astype(np.uint8)
        place = np.argsort(np.argsort(-scores, axis=1), axis=1)
        top = [(place < k).astype(np.uint8) for k in range(1, 7)]
        best = max(top, key=lambda named: micro_f1(named, targets, 0.5))
        found = find_thresholds(scores, targets, method="rcut", pooled=True).thresholds
        assert ((scores > found).sum(axis=0) == best.sum(axis=0)).all()


@pytest.mark.parametrize("method", ["scut", "smoothed"])
def test_the_search_in_c_is_that_of_all_cuts(method):
    rng = np.random.default_rng(6)
    for n in (1, 2, 9, 700):
        for levels in (1, 2, 40, 10**6):
            scores = rng.integers(-levels, levels, (n, 5)).astype(np.float32) / np.float32(levels)
            if levels == 1:
                scores = np.ldexp(scores + np.float32(0.5), rng.integers(-148, 128, scores.shape))
            targets = (rng.random((n, 5)) < [0, 0.02, 0.3, 0.9, 1]).astype(np.uint8)
            cuts, extra, start = _Cuts(scores, targets), int(method == "smoothed"), 0.1
            thresholds, best, before = cuts.best_f1(start, extra)
            f1 = cuts.f1(extra)
            at = cuts.best(f1)
            np.testing.assert_array_equal(thresholds, cuts.thresholds(at))
            np.testing.assert_array_equal(best, f1[np.arange(5), at])
            np.testing.assert_array_equal(before, f1[np.arange(5), cuts.at(start)])


def test_svm1_takes_the_fbr_that_does_best_on_the_fold_left_out():
    rng = np.random.default_rng(5)
    scores = rng.normal(size=(90, 5)).astype(np.float32)
    targets = (scores + rng.normal(size=scores.shape) * 2 > 2).astype(np.uint8)
    folds = np.arange(90) % 3
    found = find_thresholds(scores, targets, method="svm1", folds=folds).thresholds
    grid, totals = np.arange(1, 9) / 10, np.zeros((8, 5))
    for k in range(3):
        rest = folds != k
        for g, fbr in enumerate(grid):
            t = find_thresholds(scores[rest], targets[rest], method="scutfbr1", folds=folds[rest],
                                fbr=fbr).thresholds
            totals[g] += f1(scores[~rest], targets[~rest], t)
    best = [max(g for g in range(8) if column[g] == column.max()) if column.max() else 0
            for column in totals.T]
    want = find_thresholds(scores, targets, method="scutfbr1", folds=folds, fbr=grid[best])
    np.testing.assert_array_equal(found, want.thresholds)


def test_smoothed_predicts_nothing_where_there_is_nothing():
    scores = np.arange(-5.0, 15)[:, None]
    found = find_thresholds(scores, np.zeros((20, 1)), method="smoothed", pooled=True).thresholds
    assert not (scores > found).any()


def test_a_threshold_between_neighbouring_numbers_keeps_the_upper_one():
    low = np.float32(0.7)
    high = np.nextafter(low, np.float32(1))
    scores, targets = np.array([[low], [high]] * 10), np.array([[0], [1]] * 10)
    found = find_thresholds(scores, targets, pooled=True).thresholds
    assert (scores.astype(np.float64) > found).tolist() == (targets != 0).tolist()
    assert (scores > as_thresh(scores, found)).tolist() == (targets != 0).tolist()


@pytest.mark.parametrize("values", [(-np.inf, np.inf), (-np.inf, 0), (0, np.inf), (-0.0, 0.0)])
def test_infinite_scores_and_zeros(values):
    scores, targets = np.array([values] * 10).reshape(-1, 1), np.array([[0, 1]] * 10).reshape(-1, 1)
    found = find_thresholds(scores, targets, pooled=True)
    assert found.after[0] == (1 if values[0] != values[1] else pytest.approx(2 / 3))


def test_rounded_thresholds_decide_alike():
    rng = np.random.default_rng(6)
    for _ in range(200):
        probs = rng.choice([*rng.random(5).astype(np.float32).tolist(), 0.0, 1.0], (8, 3))
        probs = probs.astype(np.float32)
        near = [*rng.random(3), 0.0, 1.0, -0.1, 1.1, *probs.ravel()[:3], np.inf]
        thresholds = rng.choice(near, 3)
        rounded = as_thresh(probs, thresholds)
        assert ((probs > rounded) == (probs.astype(np.float64) > thresholds)).all()
        assert (((rounded >= 0) & (rounded <= 1)) | np.isinf(rounded)).all()


def test_folds_have_their_share_of_every_label():
    rng = np.random.default_rng(7)
    targets = (rng.random((300, 8)) < np.geomspace(0.02, 0.5, 8)).astype(np.uint8)
    folds = stratified_folds(targets, 3, seed=1)
    assert np.ptp(np.bincount(folds, minlength=3)) <= 6
    counts = np.array([targets[folds == k].sum(axis=0) for k in range(3)])
    assert (np.ptp(counts, axis=0) <= np.maximum(2, 0.2 * counts.mean(axis=0))).all()
    np.testing.assert_array_equal(folds, stratified_folds(targets, 3, seed=1))


@pytest.mark.parametrize("method", METHODS)
def test_every_method_takes_odd_sizes(method):
    rng = np.random.default_rng(8)
    for n, labels in ((3, 1), (7, 5), (40, 17)):
        scores, targets = rng.normal(size=(n, labels)), rng.integers(0, 2, (n, labels))
        found = find_thresholds(scores, targets, method=method, seed=2)
        again = find_thresholds(scores, targets, method=method, seed=2)
        assert found.thresholds.shape == (labels,) and found.thresholds.dtype == np.float64
        np.testing.assert_array_equal(found.thresholds, again.thresholds)
        assert repr(found).count("\n") == labels


ONE = np.tile([[0.2], [0.8]], (10, 1)), np.tile([[0], [1]], (10, 1))


@pytest.mark.parametrize("change, message", [
    ({"scores": [[0.1], [np.nan]], "targs": [[0], [1]]},
     r"`scores` must not be NaN, got nan at index \(1, 0\)"),
    ({"targs": [[0], [0.5]] * 10}, r"`targs` must hold only 0 and 1, got 0.5 at index \(1, 0\)"),
    ({"targs": [[0], [1]]}, r"`targs` must have the shape of `scores`, \(N, L\) with at least one "
                            r"cell, got \(2, 1\) for \(20, 1\)"),
    ({"method": "best"}, "`method` must be 'scut' or .*, got 'best'"),
    ({"fbr": 0.5}, "`fbr` must be left out with method='scut', got 0.5"),
    ({"folds": [0, 1]}, r"`folds` must have shape \(20,\), got \(2,\)"),
    ({"folds": [0] * 20, "pooled": True}, r"`folds` must be left out with pooled=True, got \[0"),
    ({"start": [0.5, 0.5]}, r"`start` must be one number or have shape \(1,\), got \(2,\)"),
    ({"start": np.nan}, "`start` must not be NaN, got nan"),
    ({"method": "scutfbr1", "fbr": [0.1, 0.2]},
     r"`fbr` must be one number or have shape \(1,\), got \(2,\)"),
    ({"method": "svm1", "pooled": True},
     "`folds` must be at least two to choose `fbr` by, got one"),
])
def test_messages(change, message):
    scores, targs = change.pop("scores", ONE[0]), change.pop("targs", ONE[1])
    with pytest.raises(ValueError, match=f"^find_thresholds: {message}"):
        find_thresholds(scores, targs, **change)


def test_labels_with_few_positives_are_named():
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        find_thresholds(*ONE)
    with pytest.warns(MLClassifyWarning, match=(
            "^find_thresholds: `targs` should have 10 positives of each label for a threshold to "
            "mean something, got fewer of label 1$")):
        find_thresholds(np.zeros((20, 2)), np.repeat([[1, 0]], 20, axis=0))


def test_labels_that_a_fold_does_not_have_are_named():
    with pytest.warns(MLClassifyWarning, match=(
            "^find_thresholds: `folds` should have a positive of each label in each fold, got one "
            "without label 0$")):
        find_thresholds(*ONE, folds=[0, 1] * 10)


def test_ranked_columns_are_sorted_columns():
    rng = np.random.default_rng(9)
    scores, targets = tied(rng, 33, 18)
    ranked, rows = np.empty((18, 33), np.float32), np.empty((18, 33), np.int32)
    positives = np.empty((18, 33), np.int32)
    _core.ranked_columns(scores, targets, ranked, rows, positives)
    for label in range(18):
        order = np.argsort(-scores[:, label], kind="stable")
        np.testing.assert_array_equal(rows[label], order)
        np.testing.assert_array_equal(ranked[label], scores[order, label])
        np.testing.assert_array_equal(positives[label], np.cumsum(targets[order, label]))


# --- the learner

@pytest.fixture
def learn(tmp_path, monkeypatch):
    monkeypatch.setenv("MLCLASSIFY_PROGRESS", "0")
    register(monkeypatch)
    learn = tiny_learner(80, 16, path=tmp_path)
    with learn.no_logging():
        learn.fit(2, 1e-2)
    return learn


def test_what_is_tuned_decides_and_is_saved(learn):
    probs, targets = learn.get_preds()
    found = learn.tune_thresholds(pooled=True)
    assert found.labels == ["blue", "green", "red"] and repr(found).count("\n") == 3
    thresh = learn.loss_func.thresh
    assert thresh.dtype == np.float32 and not (thresh == 0.5).all()
    *_, masks = learn.get_preds(with_decoded=True)
    np.testing.assert_array_equal(masks, np.asarray(probs, np.float64) > found.thresholds)
    np.testing.assert_allclose(f1(probs, targets, thresh), found.after)
    assert (found.after >= found.before).all() and (found.after > found.before).any()
    loaded = load_learner(learn.export())
    for image, _ in photos(6, seed=3):
        ours, theirs = learn.predict(image), loaded.predict(image)
        np.testing.assert_array_equal(ours.mask, np.asarray(ours.probs) > thresh)
        np.testing.assert_array_equal(ours.mask, theirs.mask)
        np.testing.assert_array_equal(theirs.thresh, thresh)


def test_a_report_is_the_definitions(learn):
    learn.tune_thresholds()
    probs, targets, masks = (np.asarray(a) for a in learn.get_preds(with_decoded=True))
    report = learn.report()
    np.testing.assert_allclose(report.f1, f1(probs, targets, learn.loss_func.thresh))
    tp = (masks & (targets != 0)).sum(axis=0)
    np.testing.assert_allclose(report.precision, tp / np.maximum(masks.sum(axis=0), 1))
    np.testing.assert_allclose(report.recall, tp / targets.sum(axis=0))
    assert report.accuracy == np.mean(masks == targets)
    assert report.accuracy_of_nothing == np.mean(targets == 0)
    lines = repr(report).splitlines()
    assert len(lines) == 6 and [line.split()[0] for line in lines[1:4]] == ["blue", "green", "red"]


def test_the_plot_has_a_curve_and_a_dot_for_each_label(learn):
    learn.tune_thresholds(pooled=True)
    probs, targets = learn.get_preds()
    ax = learn.plot_thresholds()
    curves, dots = ax.lines[::2], ax.lines[1::2]
    assert [line.get_label() for line in curves] == ["blue", "green", "red"]
    assert [float(d.get_xdata()[0]) for d in dots] == learn.loss_func.thresh.tolist()
    for i, line in enumerate(curves):
        for x, y in list(zip(*line.get_data()))[::20]:
            assert y == f1(probs[:, i : i + 1], targets[:, i : i + 1], [x])[0]


def test_tuning_says_what_it_needs(learn):
    files = [image for image, _ in photos(2)]
    with pytest.raises(ValueError, match="tune_thresholds: `dl` must have labels, got photos wit"):
        learn.tune_thresholds(dl=learn.dls.test_dl(files))
    learn.loss_func = nn.BCEWithLogitsLoss()
    with pytest.raises(TypeError, match="tune_thresholds: `learn.loss_func` must decide by a thr"):
        learn.tune_thresholds()
    learn.loss_func = BCEWithLogitsLossFlat(thresh=0.9)
    assert learn.tune_thresholds("micro").thresholds.shape == (3,)
