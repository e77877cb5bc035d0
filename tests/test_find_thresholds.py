"""The search for thresholds: golden numbers, brute force, folds, and what is refused."""

import itertools
import json

import numpy as np
import pytest

from mlclassify import metrics
from mlclassify.checks import MLClassifyWarning
from mlclassify.thresholds import find_thresholds, stratified_folds
from mlclassify.thresholds.methods import METHODS, WITH_FBR

pytestmark = pytest.mark.filterwarnings("ignore::mlclassify.checks.MLClassifyWarning")
INF, NAN = float("inf"), float("nan")
SETS = ["birds_lin", "emotions_rbf", "enron_lin", "yeast_lin", "yeast_rbf"]
GOLDEN = {"scut": "scut", "scut_pooled": "scut", "scutfbr.0": "scutfbr0", "scutfbr.1": "scutfbr1",
          "micro_cyclic": "cyclic", "micro_exact": "micro", "micromacro": "micromacro"}


def f1(scores, targets, thresholds, average="macro"):
    return metrics.f1_score(targets, np.asarray(scores) > thresholds, average=average)


def smoothed_f1(scores, targets, t):
    return (1 + 2 * targets[scores > t].sum()) / (1 + (scores > t).sum() + targets.sum())


def tied(rng, rows=12, labels=3, levels=4):
    """Scores with many ties, also with 0 in between, and labels of any frequency."""
    scores = rng.integers(-levels, levels, (rows, labels)) / np.float32(4)
    return scores, (rng.random((rows, labels)) < rng.random(labels)).astype(np.uint8)


def possible(column):
    """A threshold for each set that thresholds can tell apart, the one that predicts least first."""
    distinct = np.unique(column)[::-1]
    return [*distinct.tolist(), -INF]


@pytest.mark.parametrize("name", GOLDEN)
@pytest.mark.parametrize("data", SETS)
def test_golden_thresholds_and_what_they_score(shared, data, name):
    golden = json.loads(shared("mulan/golden.json").read_text())[data]
    scores, targets, fold, test_s, test_y = (
        np.load(shared(f"mulan/scores/{data}/{x}.npy"))
        for x in ("oof_s.f32", "train_y.u8", "fold.u8", "test_s.f32", "test_y.u8"))
    fbr = golden["fbr"][name[-1]] if "fbr" in name else None
    found = find_thresholds(scores, targets, method=GOLDEN[name], folds=fold, fbr=fbr,
                            pooled=name == "scut_pooled").thresholds
    want = np.array([float(t) for t in golden["thr"][name]]).astype(np.float32)
    assert found.dtype == np.float32
    finite = np.isfinite(want)
    np.testing.assert_array_equal(found[~finite], want[~finite])
    np.testing.assert_array_max_ulp(found[finite], want[finite], 1)
    for average in ("macro", "micro"):
        assert f1(test_s, test_y, found, average) == pytest.approx(golden["test"][name][average],
                                                                   abs=1e-12)


@pytest.mark.parametrize("data", SETS)
def test_golden_optima_of_all_scores_together(shared, data):
    golden = json.loads(shared("mulan/golden.json").read_text())[data]["pooled_oof"]
    scores, targets = (np.load(shared(f"mulan/scores/{data}/{x}.npy"))
                       for x in ("oof_s.f32", "train_y.u8"))
    for method, name in (("micro", "exact_micro"), ("cyclic", "cyclic_micro")):
        found = find_thresholds(scores, targets, method=method, pooled=True).thresholds
        assert f1(scores, targets, found, "micro") == pytest.approx(golden[name], abs=1e-12)
    found = find_thresholds(scores, targets, pooled=True).table
    assert found["f1_after"].mean() == pytest.approx(golden["macro_scut"], abs=1e-12)


def test_micro_is_the_best_there_is(rng):
    for _ in range(2000):
        scores, targets = tied(rng, *rng.integers(2, (9, 4)), levels=3)
        found = {m: find_thresholds(scores, targets, method=m, folds=2, pooled=True).thresholds
                 for m in ("micro", "cyclic")}
        positives = targets.sum()
        counts = [[(((c > t) & (y > 0)).sum(), (c > t).sum()) for t in possible(c)]
                  for c, y in zip(scores.T, targets.T)]
        sums = [np.sum(choice, axis=0) for choice in itertools.product(*counts)]
        best = max(2 * tp / (said + positives) if said + positives else 0 for tp, said in sums)
        reached = {m: f1(scores, targets, t, "micro") for m, t in found.items()}
        assert reached["micro"] == pytest.approx(best, abs=1e-15)
        assert reached["cyclic"] <= reached["micro"] + 1e-15


def test_each_label_gets_its_best_cut(rng):
    for _ in range(300):
        scores, targets = tied(rng, rows=rng.integers(2, 20))
        scut = find_thresholds(scores, targets, folds=2, pooled=True)
        smoothed = find_thresholds(scores, targets, method="smoothed", folds=2, pooled=True)
        for l, (c, y) in enumerate(zip(scores.T, targets.T)):
            best = max(f1(c, y, t) for t in possible(c))
            assert scut.table["f1_after"][l] == pytest.approx(best, abs=1e-15)
            assert f1(c, y, scut.thresholds[l]) == scut.table["f1_after"][l]
            assert f1(c, y, scut.start[l]) == scut.table["f1_before"][l]
            want = max(smoothed_f1(c, y, t) for t in possible(c))
            assert smoothed_f1(c, y, smoothed.thresholds[l]) == want


def test_global_is_the_best_one_threshold(rng):
    for _ in range(300):
        scores, targets = tied(rng, rows=rng.integers(2, 20))
        found = find_thresholds(scores, targets, method="global", folds=2, pooled=True).thresholds
        assert len(set(found.tolist())) == 1
        best = max(f1(scores, targets, t) for t in possible(scores))
        assert f1(scores, targets, found) == pytest.approx(best, abs=1e-12)


def test_cyclic_cannot_be_bettered_by_one_label(rng):
    for method, average in (("cyclic", "micro"), ("cyclic_samples", "samples")):
        for _ in range(100):
            scores, targets = tied(rng)
            result = find_thresholds(scores, targets, method=method, folds=2, pooled=True)
            reached = f1(scores, targets, result.thresholds, average)
            assert reached >= f1(scores, targets, result.start, average) - 1e-12
            for l in range(3):
                for t in possible(scores[:, l]):
                    changed = np.where(np.arange(3) == l, np.float32(t), result.thresholds)
                    assert f1(scores, targets, changed, average) <= reached + 1e-12


def test_cuts_by_number(rng):
    scores, targets = rng.random((60, 4)), (rng.random((60, 4)) < [0.1, 0.5, 0.9, 1]).astype(int)
    said = scores > find_thresholds(scores, targets, method="pcut", pooled=True).thresholds
    assert said.sum(axis=0).tolist() == targets.sum(axis=0).tolist()
    first = np.argsort(-scores, axis=1)

    def top(k):
        return (np.argsort(first, axis=1) < k).astype(int)

    best = max(range(1, 5), key=lambda k: metrics.f1_score(targets, top(k), average="micro"))
    said = scores > find_thresholds(scores, targets, method="rcut", pooled=True).thresholds
    assert said.sum(axis=0).tolist() == top(best).sum(axis=0).tolist()


def test_a_label_below_fbr_is_hardly_ever_predicted():
    scores = np.array([0.1, 0.2, 0.3, 0.4] * 2)[:, None]
    targets, fold = [1, 0, 0, 0] * 2, [0] * 4 + [1] * 4
    found = {fbr: [find_thresholds(scores, targets, method=m, folds=fold, fbr=fbr).thresholds[0]
                   for m in ("scutfbr0", "scutfbr1")] for fbr in (0.39, 0.4)}
    least = np.nextafter(np.float32(0.1), np.float32(0))
    assert found == {0.39: [least, least], 0.4: [INF, np.float32(0.4)]}  # F1 is 2 / 5


def test_fbr_is_chosen_on_the_other_folds(rng):
    scores, targets = rng.normal(size=(300, 3)), rng.random((300, 3)) < [0.03, 0.1, 0.5]
    scores += targets * [0.3, 1, 3]
    fold = np.arange(300) % 3
    result = find_thresholds(scores, targets, method="svm1", folds=fold)
    assert set(result.fbr.tolist()) <= {k / 10 for k in range(1, 9)}
    for l in range(3):
        s, y = scores[:, [l]], targets[:, [l]]
        total = {}
        for fbr in np.arange(1, 9) / 10:
            each = find_thresholds(s, y, method="scutfbr1", folds=fold, fbr=fbr).by_fold
            total[fbr] = sum(f1(s[fold == k].astype(np.float32), y[fold == k],
                                np.delete(each, k, axis=0).mean()) for k in range(3))
        best = max(total.values())
        assert result.fbr[l] == (max(f for f in total if total[f] == best) if best else 0.1)
    again = find_thresholds(scores, targets, method="scutfbr1", folds=fold, fbr=result.fbr)
    np.testing.assert_array_equal(again.thresholds, result.thresholds)


@pytest.mark.parametrize("dtype", [np.float16, np.float32])
def test_the_threshold_separates_neighbours(dtype):
    for low in (0.1, 0.5, 1 - 2**-11, 0.0, -0.25, 3.0, -1e-7):
        low = dtype(low)
        high = np.nextafter(low, dtype(INF))
        scores = np.array([low, high] * 2)[:, None]
        found = find_thresholds(scores, [0, 1] * 2, folds=2, pooled=True, start=9).thresholds
        assert (scores > found).ravel().tolist() == [False, True] * 2
        found = find_thresholds(scores, [1, 1] * 2, folds=2, pooled=True, start=9).thresholds
        assert (scores > found).all()


def test_thresholds_of_probabilities_are_thresholds_of_a_loss():
    scores, targets = np.array([[0, 1], [1, 0]] * 4), np.array([[1, 0], [1, 0]] * 4)
    found = find_thresholds(scores, targets, method="pcut", pooled=True).thresholds
    assert found.tolist() == [-INF, INF]
    assert find_thresholds(scores - 5, targets, method="pcut", pooled=True).thresholds[0] < -5


@pytest.mark.parametrize("method", [*METHODS, *WITH_FBR])
def test_every_method_answers_in_one_form(rng, method):
    scores = rng.random((90, 5)).astype(np.float32)
    targets = (rng.random((90, 5)) < scores * [1, 0.8, 0.5, 0.2, 0]).astype(np.uint8)
    result = find_thresholds(scores, targets, method=method)
    for found in (result, find_thresholds(scores, targets, method=method, pooled=True)):
        assert found.thresholds.shape == (5,) and found.thresholds.dtype == np.float32
        assert not np.isnan(found.thresholds).any() and found.by_fold.shape == (3, 5)
        table = found.table
        np.testing.assert_array_equal(table["support"], targets.sum(axis=0))
        np.testing.assert_array_equal(table["threshold"], found.thresholds)
        for name, t in (("f1_before", 0.5), ("f1_after", found.thresholds)):
            np.testing.assert_allclose(table[name], f1(scores, targets, t, None), atol=1e-15)
        spread = table["spread"]
        assert (spread >= 0).all()
        np.testing.assert_array_equal(spread == 0, (found.by_fold == found.by_fold[0]).all(axis=0))
    order = np.random.default_rng(0).permutation(90)
    fold = stratified_folds(targets)
    again = find_thresholds(scores[order], targets[order], method=method, folds=fold[order])
    np.testing.assert_array_equal(again.thresholds, result.thresholds)


def test_a_vector_is_one_label():
    found = find_thresholds([0.1, 0.2, 0.7, 0.8], [0, 0, 1, 1], folds=[5, 9, 5, 9])
    np.testing.assert_allclose(found.thresholds, [0.5])
    assert repr(found) == "FoundThresholds(1 labels, macro F1 1.0000 -> 1.0000)"


def test_the_threshold_in_use_stays_where_nothing_is_better():
    scores, targets = [0.1, 0.2, 0.7, 0.8], [0, 0, 1, 1]
    for start, want in ((None, 0.5), (0.3, 0.3), ([0.6], 0.6), (0.75, 0.45)):
        found = find_thresholds(scores, targets, pooled=True, folds=2, start=start).thresholds
        np.testing.assert_allclose(found, [want], rtol=1e-6)
    logits = np.array(scores) * 10 - 5
    assert find_thresholds(logits, targets, folds=2, pooled=True).thresholds.tolist() == [0]


# --- folds

def test_folds_share_every_label_out(rng):
    targets = (rng.random((400, 12)) < np.linspace(0.01, 0.5, 12)).astype(np.uint8)
    fold = stratified_folds(targets, 4, seed=3)
    sizes = np.bincount(fold)
    assert len(sizes) == 4 and sizes.sum() == 400 and np.ptp(sizes) <= 12
    shares = np.stack([targets[fold == k].sum(axis=0) for k in range(4)])
    assert (np.abs(shares - targets.sum(axis=0) / 4) <= 5).all()
    assert (np.ptp(shares[:, :8], axis=0) <= 1).all()  # the rare ones are dealt first
    np.testing.assert_array_equal(fold, stratified_folds(targets, 4, seed=3))
    assert (fold != stratified_folds(targets, 4, seed=4)).any()
    rare = np.zeros((30, 1))
    rare[:3] = 1
    assert sorted(stratified_folds(rare)[:3].tolist()) == [0, 1, 2]
    assert np.bincount(stratified_folds(np.zeros((30, 2)))).tolist() == [10, 10, 10]


# --- what is refused, what is warned of

S, Y = [[0.1, 0.9], [0.8, 0.2], [0.3, 0.4]], [[0, 1], [1, 0], [0, 0]]


@pytest.mark.parametrize("options, message", [
    ({"scores": [[0.1, NAN], [0.2, 0.3], [0, 1]]}, "`scores` must be finite, got nan at index (0, 1)"),
    ({"scores": [[0.1, 0], [-INF, 0.3], [0, 1]]}, "`scores` must be finite, got -inf at index (1, 0)"),
    ({"targs": [[0, 1], [1, 0]]}, "`targs` must have the shape of `scores`, got (2, 2) for (3, 2)"),
    ({"targs": [[0, 1], [1, 0], [0, 0.5]]}, "`targs` must hold only 0 and 1, got 0.5 at index (2, 1)"),
    ({"targs": [[0, 1], [1, 0], [0, NAN]]}, "`targs` must not be NaN, got nan at index (2, 1)"),
    ({"scores": [[0.5]], "targs": [[1]]},
     "`scores` must have at least two photos and one label, got shape (1, 1)"),
    ({"method": "best"},
     "`method` must be 'global' or 'scut' or 'smoothed' or 'cyclic' or "
     "'cyclic_samples' or 'micro' or 'micromacro' or 'rcut' or 'pcut' or 'scutfbr0' or 'scutfbr1' "
     "or 'svm1', got 'best'"),
    ({"folds": 1}, "`folds` must be an integer of at least 2, got 1"),
    ({"folds": 4}, "`folds` must be at most the number of photos (3), got 4"),
    ({"folds": [0, 1]}, "`folds` must be one number or have shape (3,), got (2,)"),
    ({"folds": [7, 7, 7]}, "`folds` must name at least 2 folds, got 1"),
    ({"folds": [0.0, 1.0, 2.0]}, "`folds` must hold integers, got float64"),
    ({"start": [0.5] * 3}, "`start` must be one number or have shape (2,), got (3,)"),
    ({"start": NAN}, "`start` must not be NaN, got nan"),
    ({"fbr": 0.1}, "`fbr` must be None for method 'scut', got 0.1"),
    ({"fbr": 0.1, "method": "svm1"}, "`fbr` must be None for method 'svm1', got 0.1"),
    ({"fbr": [0.1], "method": "scutfbr1"}, "`fbr` must be one number or have shape (2,), got (1,)"),
    ({"fbr": [0.1, 2], "method": "scutfbr0"}, "`fbr` must lie in [0, 1], got 2.0 at index 1"),
    ({"seed": -1}, "`seed` must lie in [0, 2**64), got -1"),
    ({"seed": "0"}, "`seed` must be an integer, got '0'"),
])
def test_messages(options, message):
    with pytest.raises((ValueError, TypeError)) as caught:
        find_thresholds(**{"scores": S, "targs": Y, "folds": 2, **options})
    assert str(caught.value) == f"find_thresholds: {message}"


def test_labels_of_which_little_is_known_are_named_once():
    targets = np.zeros((60, 5), int)
    targets[:2, 1], targets[::10, 2], targets[::6, 3], targets[::2, 4] = 1, 1, 1, 1
    scores, fold = np.linspace(0, 1, 300).reshape(60, 5), np.arange(60) // 20
    with pytest.warns(MLClassifyWarning) as caught:
        result = find_thresholds(scores, targets, folds=fold)
    assert [str(w.message) for w in caught] == [
        "find_thresholds: no photo here has the labels 0: nothing is known of their thresholds",
        "find_thresholds: in some folds no photo has the labels 1: such folds cannot choose for them",
        "find_thresholds: fewer than 10 photos have the labels 2: their thresholds are guesses",
    ]
    assert {w.filename for w in caught} == {__file__}
    assert result.thresholds[0] == 0.5 and (result.by_fold[1:, 1] == 0.5).all()
    with pytest.warns(MLClassifyWarning, match="fewer than 10 photos have the labels 1, 2:"):
        find_thresholds(scores, targets, folds=fold, pooled=True)
