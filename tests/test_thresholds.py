"""Thresholds: what is accepted, the strict decision, and the post's sweep."""

import numpy as np
import pytest

from mlclassify import metrics
from mlclassify import tensor as torch
from mlclassify.tensor import Tensor, tensor
from mlclassify.thresholds import (
    best_threshold,
    check_thresh,
    decide,
    sweep,
    threshold_curve,
)

INF, NAN = float("inf"), float("nan")


@pytest.mark.parametrize("thresh", [0, 0.0, 1, 0.95, INF, -INF, np.float64(0.1), tensor(0.5)])
def test_one_threshold(thresh):
    checked = check_thresh("f", thresh)
    assert checked.dtype == np.float32 and checked.ndim == 0 and checked == np.float32(thresh)


@pytest.mark.parametrize("thresh", [[0.1, 0.2], (0, INF), np.array([0.5, 1]), tensor([0.1, 0.2])])
def test_a_threshold_a_label(thresh):
    checked = check_thresh("f", thresh, n_labels=2)
    assert type(checked) is np.ndarray and checked.dtype == np.float32
    np.testing.assert_array_equal(checked, np.asarray(thresh, np.float32))


def test_checked_threshold_is_a_copy():
    mine = np.array([0.1, 0.2], np.float32)
    checked = check_thresh("f", mine)
    mine[0] = 9
    assert checked[0] == np.float32(0.1)


RULE = r"f: `thresh` must lie in \[0, 1\] or be -inf or inf, got "


@pytest.mark.parametrize(
    "thresh, n_labels, error, message",
    [
        (95, None, ValueError, RULE + "95$"),
        (-0.1, None, ValueError, RULE + "-0.1$"),
        (1 + 1e-12, None, ValueError, RULE + "1.000000000001"),
        (NAN, None, ValueError, RULE + "nan$"),
        ([0.5, NAN], 2, ValueError, RULE + "nan at index 1$"),
        ([0.5, 0.5], 3, ValueError, r"or have shape \(3,\), got \(2,\)$"),
        ([[0.5]], None, ValueError, r"or have shape \(L,\), got \(1, 1\)$"),
        ("0.5", None, TypeError, "must hold numbers, got '0.5'"),
        (None, None, TypeError, "must hold numbers, got None"),
        (True, None, TypeError, "must hold numbers, got True"),
    ],
)
def test_refused_thresholds(thresh, n_labels, error, message):
    with pytest.raises(error, match=message):
        check_thresh("f", thresh, n_labels)


def test_decide_is_strict():
    mask = decide([[0.5, np.nextafter(np.float32(0.5), np.float32(1)), 0.4]], 0.5)
    assert type(mask) is Tensor and mask.dtype == bool and mask.tolist() == [[False, True, False]]
    assert decide(tensor([0.1]), 0.1).tolist() == [False]


def test_decide_always_and_never():
    probs = tensor([[0.0, 1.0, 1.0]])
    assert decide(probs, -INF).all() and not decide(probs, INF).any()
    assert decide(probs, [-INF, INF, 0.5]).tolist() == [[True, False, True]]
    assert not decide(tensor([NAN]), -INF).any()


def test_decide_shapes():
    assert decide(0.7, 0.5).item() is True and decide(0.7, [0.8]).item() is False
    assert decide(np.full((2, 3), 0.7), [0.6, 0.7, 0.8]).tolist() == [[True, False, False]] * 2
    with pytest.raises(ValueError, match=r"decide: `thresh` must .* shape \(3,\), got \(2,\)"):
        decide(np.full((2, 3), 0.7), [0.6, 0.7])


def accuracy(probs, targs, t):
    """The definition of the post's metric."""
    return np.mean((np.asarray(probs, np.float32) > np.float32(t)) == (np.asarray(targs) != 0))


def test_sweep_is_the_metric_at_each_threshold(rng):
    probs = rng.random((40, 3)).astype(np.float32)
    targs = (rng.random((40, 3)) < probs).astype(np.float32)
    xs = torch.linspace(0.05, 0.995, 100)
    expected = [accuracy(probs, targs, x) for x in xs]
    np.testing.assert_allclose(sweep(probs, targs, xs), expected, rtol=0, atol=1e-15)
    np.testing.assert_array_equal(sweep(probs, targs.ravel().astype(bool), xs), expected)
    assert sweep(probs, targs, 0.5).shape == (1,) and sweep(probs, targs, [-INF, INF]).sum() == 1


def test_sweep_at_a_tie_is_strict():
    assert sweep([0.25], [1], [0.25, 0.125]).tolist() == [0.0, 1.0]


@pytest.mark.parametrize(
    "probs, targs, thresholds, message",
    [
        ([[0.5]], [[1, 0]], [0.5], r"sweep: `targs` must have as many cells as `probs` \(1\)"),
        ([], [], [0.5], "at least one, got 0"),
        ([NAN], [1], [0.5], "sweep: `probs` must not be NaN, got nan at index"),
        ([0.5], [NAN], [0.5], "sweep: `targs` must not be NaN"),
        ([0.5], [1], [50], r"sweep: `thresholds` must lie in \[0, 1\]"),
    ],
)
def test_sweep_refuses(probs, targs, thresholds, message):
    with pytest.raises(ValueError, match=message):
        sweep(probs, targs, thresholds)


GRIDS = {
    "the post's": np.linspace(0.05, 0.995, 100, dtype=np.float32),
    "one": [0.5],
    "no order, some twice": [0.75, 0.1, 0.5, 0.1, INF, -INF, 0.0, 1.0],
    "close together": np.nextafter(np.float32(0.5), np.float32(1)) + np.arange(9) * 2.0**-24,
}


@pytest.mark.parametrize("grid", GRIDS)
@pytest.mark.parametrize("shape", [(1, 1), (40, 3), (700, 90)])
def test_a_curve_is_the_comparison_at_each_threshold(rng, grid, shape):
    thresholds = np.asarray(GRIDS[grid])
    probs = rng.random(shape).astype(np.float32)
    probs.ravel()[::3] = rng.choice(np.clip(thresholds, 0, 1), len(probs.ravel()[::3]))
    targs = rng.random(shape) < probs / max(1, shape[1] / 4)
    curve = threshold_curve(probs, targs, thresholds)
    np.testing.assert_array_equal(curve.thresholds, thresholds.astype(np.float32))
    for i, t in enumerate(thresholds):
        said = probs > np.float32(t)
        for name, want in (("tp", said & targs), ("fp", said & ~targs), ("fn", ~said & targs),
                           ("tn", ~said & ~targs)):
            np.testing.assert_array_equal(getattr(curve, name)[i], want.sum(axis=0))
        assert curve.exact[i] == (said == targs).all(axis=1).sum()


def test_measures_of_a_curve_are_those_of_its_decisions(rng):
    probs = rng.random((50, 4)).astype(np.float32)
    targs = (rng.random((50, 4)) < probs * [1, 0.5, 0, 0.1]).astype(np.uint8)
    thresholds = [0.2, 0.6, INF]
    curve = threshold_curve(probs, targs, thresholds)
    for i, t in enumerate(thresholds):
        said = (probs > np.float32(t)).astype(np.uint8)
        assert curve.accuracy()[i] == pytest.approx(np.mean(said == targs))
        assert curve.hamming_loss()[i] == pytest.approx(metrics.hamming_loss(targs, said))
        assert curve.exact_match()[i] == pytest.approx(metrics.accuracy_score(targs, said))
        for name in ("precision", "recall", "f1"):
            for average in ("macro", "micro", None):
                want = getattr(metrics, f"{name}_score")(targs, said, average=average)
                np.testing.assert_allclose(getattr(curve, name)(average)[i], want, rtol=1e-12)


@pytest.mark.parametrize("probs, targs, thresholds, message", [
    ([[0.5]], [[1, 0]], [0.5],
     "`targs` must have the shape of `probs` (1, 1), at least one cell, got (1, 2)"),
    ([], [], [0.5],
     "`targs` must have the shape of `probs` (0, 1), at least one cell, got (0, 1)"),
    ([0.5, NAN], [1, 0], [0.5], "`probs` must not be NaN, got nan at index (1, 0)"),
    ([0.5], [1], [50],
     "`thresholds` must lie in [0, 1] or be -inf or inf, got 50 at index 0"),
])
def test_a_curve_refuses(probs, targs, thresholds, message):
    with pytest.raises(ValueError) as caught:
        threshold_curve(probs, targs, thresholds)
    assert str(caught.value) == f"threshold_curve: {message}"


def test_best_threshold_is_the_middle_of_the_best_stretch():
    probs, targs = [0.2, 0.4, 0.8], [0, 0, 1]
    grid = [0.1, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9]  # right on all three at 0.4 to 0.7
    assert best_threshold(probs, targs, grid) == float(np.float32(0.5))
    assert best_threshold(probs, targs, grid[::-1]) == float(np.float32(0.5))
    assert best_threshold(probs, targs, [0.45]) == float(np.float32(0.45))


def test_best_threshold_prefers_the_longest_stretch():
    probs, targs = [0.25, 0.45, 0.55], [1, 0, 1]  # two of three at 0.1 to 0.2, and at 0.5
    grid = [0.1, 0.2, 0.3, 0.46, 0.48, 0.5, 0.6]
    assert best_threshold(probs, targs, grid) == float(np.float32(0.48))


def test_best_threshold_attains_the_best_accuracy(rng):
    for _ in range(5):
        probs, targs = rng.random((30, 4)), rng.random((30, 4)) < 0.4
        best = best_threshold(probs, targs)
        xs = torch.linspace(0.05, 0.995, 100)
        assert accuracy(probs, targs, best) == max(accuracy(probs, targs, x) for x in xs)
        assert np.float32(best) in xs.numpy()


def test_best_threshold_needs_thresholds():
    with pytest.raises(ValueError, match=r"best_threshold: `thresholds` must .*, got \(0,\)"):
        best_threshold([0.5], [1], [])
