"""Calibration: against grid searches, brute force and definitions written out."""

import json
import subprocess
import sys
from itertools import pairwise

import numpy as np
import pytest

from mlclassify.calibration import (
    Calibration,
    expected_calibration_error,
    fit_platt,
    fit_temperature,
    plot_reliability,
    reliability_curve,
)
from mlclassify.checks import MLClassifyWarning
from mlclassify.tensor import Tensor

NAN, INF = float("nan"), float("inf")


@pytest.fixture(autouse=True)
def close_figures():
    yield
    if "matplotlib.pyplot" in sys.modules:
        sys.modules["matplotlib.pyplot"].close("all")


def drawn(rng, n=400, scale=(1.0, 2.0, 0.5), shift=(0.0, -1.0, 0.5)):
    """Logits, and targets of which sigmoid(scale x + shift) is the true probability."""
    x = rng.normal(scale=2, size=(n, len(scale)))
    p = 1 / (1 + np.exp(-(np.array(scale) * x + np.array(shift))))
    return x, (rng.random(p.shape) < p).astype(float)


def log_loss(scale, shift, x, t):
    """The summed log loss of each label, from its definition."""
    with np.errstate(over="ignore"):
        p = 1 / (1 + np.exp(-(scale * x + shift)))
    return -(t * np.log(p) + (1 - t) * np.log1p(-p)).sum(0)


# -- temperature


def test_the_temperature_is_the_best_of_a_grid(rng):
    x, t = drawn(rng)
    fitted = fit_temperature(x, t)
    assert fitted.scale.shape == () and fitted.shift == 0
    near = fitted.scale * np.linspace(0.99, 1.01, 201)
    losses = [log_loss(s, 0, x, t).sum() for s in near]
    assert np.argmin(losses) == 100
    each = fit_temperature(x, t, per_label=True)
    assert each.scale.shape == (3,) and not each.shift.any()
    for label in range(3):
        column = x[:, [label]], t[:, [label]]
        assert fit_temperature(*column).scale == pytest.approx(each.scale[label], rel=1e-10)


def test_a_temperature_that_was_put_in_comes_out(rng):
    x, t = drawn(rng, 20000, (1.0,) * 3, (0.0,) * 3)
    for temperature in (0.25, 1.0, 4.0):
        assert 1 / fit_temperature(x * temperature, t).scale == pytest.approx(temperature, rel=0.05)


def test_scores_without_a_mistake_have_no_temperature():
    with pytest.warns(MLClassifyWarning, match=r"fit_temperature: no temperature of \[0.01, 100\]"):
        assert fit_temperature([[1.0], [-1.0]], [[1], [0]]).scale == pytest.approx(100)
    with pytest.warns(MLClassifyWarning, match=r"for the labels \[1\]"):
        fitted = fit_temperature([[1.0, 1], [-1, -1], [1, 1]], [[1, 0], [0, 1], [0, 0]], True)
    assert fitted.scale[1] == pytest.approx(0.01)


# -- Platt


def test_platt_is_where_the_gradient_vanishes(rng):
    x, t = drawn(rng)
    fitted = fit_platt(x, t)
    present, absent = t.sum(0), (1 - t).sum(0)
    smooth = np.where(t == 1, (present + 1) / (present + 2), 1 / (absent + 2))
    p = 1 / (1 + np.exp(-(fitted.scale * x + fitted.shift)))
    np.testing.assert_allclose((p - smooth).sum(0), 0, atol=1e-6)
    np.testing.assert_allclose(((p - smooth) * x).sum(0), 0, atol=1e-6)
    best = log_loss(fitted.scale, fitted.shift, x, smooth)
    for da, db in ((1e-3, 0), (-1e-3, 0), (0, 1e-3), (0, -1e-3)):
        assert (log_loss(fitted.scale + da, fitted.shift + db, x, smooth) > best).all()


def test_platt_finds_what_was_put_in(rng):
    x, t = drawn(rng, 50000)
    fitted = fit_platt(x, t)
    np.testing.assert_allclose(fitted.scale, [1, 2, 0.5], rtol=0.06)
    np.testing.assert_allclose(fitted.shift, [0, -1, 0.5], atol=0.06)


@pytest.mark.parametrize("x", [
    [[100.0], [99.0], [-50.0]], [[1e6], [-1e6], [-1e6]], [[1e-6], [-1e-6], [-1e-6]],
    [[3.0], [3.0], [3.0]], [[0.0], [0.0], [0.0]], [[500.0], [500.001], [500.0]],
])  # fmt: skip
def test_platt_has_a_finite_fit_for_any_scores(x):
    fitted = fit_platt(x, [[1], [0], [0]] if x[0] == x[1] else [[1], [1], [0]])
    assert np.isfinite(fitted.scale) and np.isfinite(fitted.shift)
    probs = fitted(x)
    assert ((probs > 0) & (probs < 1)).all()


def test_platt_leaves_labels_of_one_kind_alone():
    x, t = [[1.0, 2, 1], [0, 1, -1], [1, 1, 1]], [[1, 0, 0], [0, 0, 1], [1, 0, 0]]
    with pytest.warns(MLClassifyWarning) as caught:
        fitted = fit_platt(x, t)
    assert [str(w.message) for w in caught] == [
        "fit_platt: always there or never, so they are left as they are for the labels [1]",
        "fit_platt: their scores order the photos the wrong way for the labels [2]",
    ]
    assert fitted.scale[1] == 1 and fitted.shift[1] == 0 and fitted.scale[2] < 0


def test_targets_that_are_not_known_are_left_out(rng):
    x, t = drawn(rng)
    holed, kept = t.copy(), np.arange(len(t)) % 3 != 0
    holed[~kept] = NAN
    for fit in (fit_temperature, fit_platt):
        ours, without = fit(x, holed), fit(x[kept], t[kept])
        np.testing.assert_allclose(ours.scale, without.scale, rtol=1e-9)
        np.testing.assert_allclose(ours.shift, without.shift, rtol=1e-9, atol=1e-12)


# -- the object


def test_a_calibration_maps_logits(rng):
    calibration = Calibration([1, 2, 0.5], [0, 1, -1])
    x = rng.normal(size=(5, 3)).astype(np.float32)
    probs = calibration(x)
    assert type(probs) is Tensor and probs.dtype == np.float32 and probs.shape == (5, 3)
    np.testing.assert_allclose(
        probs, 1 / (1 + np.exp(-(x.astype(float) * [1, 2, 0.5] + [0, 1, -1]))), rtol=1e-6
    )
    assert calibration(x[0]).equal(probs[0])
    assert Calibration(1, 0)([INF, -INF, 1e9]).tolist() == [1, 0, 1]


def test_a_calibration_goes_through_json(rng):
    x, t = drawn(rng, 50)
    for calibration in (fit_temperature(x, t), fit_temperature(x, t, True), fit_platt(x, t)):
        back = Calibration.from_dict(json.loads(json.dumps(calibration.to_dict())))
        np.testing.assert_array_equal(back.scale, calibration.scale)
        np.testing.assert_array_equal(back.shift, calibration.shift)
        assert repr(back) == repr(calibration)


# -- errors and curves


def error_by_hand(p, t, edges):
    """One label's expected calibration error; the last bin holds its upper edge."""
    total = 0.0
    for low, high in pairwise(edges):
        inside = (p >= low) & ((p < high) | (high == edges[-1]))
        if inside.any():
            total += inside.mean() * abs(p[inside].mean() - t[inside].mean())
    return total


@pytest.mark.parametrize("n_bins", [1, 4, 15])
def test_expected_calibration_error(rng, n_bins):
    p, t = rng.integers(0, 33, (200, 4)) / 32, rng.integers(0, 2, (200, 4)).astype(float)
    for strategy in ("uniform", "quantile"):
        want = []
        for a, b in zip(p.T, t.T):
            inner = np.arange(n_bins + 1) / n_bins
            edges = inner if strategy == "uniform" else np.quantile(a, inner)
            want.append(error_by_hand(a, b, np.r_[-INF, edges[1:-1], INF]))
        options = {"n_bins": n_bins, "strategy": strategy}
        got = expected_calibration_error(p, t, average=None, **options)
        np.testing.assert_allclose(got, want, rtol=1e-12)
        assert expected_calibration_error(p, t, **options) == pytest.approx(np.mean(want))


def test_the_error_leaves_out_what_is_not_known(rng):
    p, t = rng.random((60, 3)), rng.integers(0, 2, (60, 3)).astype(float)
    t[::2, 0], t[:, 1] = NAN, NAN
    each = expected_calibration_error(p, t, average=None)
    assert each[0] == pytest.approx(expected_calibration_error(p[1::2, 0], t[1::2, 0]))
    assert np.isnan(each[1]) and expected_calibration_error(p, t) == np.mean(each[[0, 2]])
    quantile = expected_calibration_error(p, t, average=None, strategy="quantile")
    alone = expected_calibration_error(p[1::2, 0], t[1::2, 0], strategy="quantile")
    assert quantile[0] == pytest.approx(alone) and np.isnan(quantile[1])


def test_calibration_makes_the_error_smaller(rng):
    x, t = drawn(rng, 20000)
    raw = expected_calibration_error(1 / (1 + np.exp(-x)), t)
    fitted = expected_calibration_error(fit_platt(x, t)(x), t)
    assert fitted < 0.02 < 0.1 * raw + 0.02 and fitted < 0.3 * raw


def test_reliability_curve(rng):
    prob, present, count = reliability_curve([[0.0, 0.05], [0.95, 1.0]], [[0, 1], [1, NAN]])
    assert prob.tolist() == [0.025, 0.95] and present.tolist() == [0.5, 1]
    assert count.tolist() == [2, 1] and count.dtype == np.int64
    ax = plot_reliability([0.05, 0.05, 0.95], [0, 1, 1], n_bins=10)
    assert ax.lines[1].get_xydata().tolist() == [[0.05, 0.5], [0.95, 1.0]]
    assert ax.collections[0].get_sizes().tolist() == pytest.approx([800 / 3, 400 / 3])
    assert ax.get_xlabel() == "probability"
    assert plot_reliability([0.5], [1], ax=ax) is ax
    small = plot_reliability([0.5], [1], figsize=(2, 1))
    assert small.figure.get_size_inches().tolist() == [2, 1]


def test_matplotlib_is_imported_when_something_is_drawn():
    code = "import sys, mlclassify.calibration; print('matplotlib' in sys.modules)"
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert run.stdout == "False\n"


@pytest.mark.parametrize("call, message", [
    (lambda: fit_temperature([[1.0]], [1]),
     r"fit_temperature: `logits` and `targs` must have one shape .*, got \(1, 1\) and \(1,\)$"),
    (lambda: fit_platt(1.0, 1), r"must have one shape .*, got \(\) and \(\)$"),
    (lambda: fit_platt([[NAN]], [[1]]), r"`logits` must be finite, got nan at index \(0, 0\)$"),
    (lambda: fit_platt([INF], [1]), "fit_platt: `logits` must be finite, got inf at index 0$"),
    (lambda: fit_platt([[0.0]], [[2]]), r"`targs` must lie in \[0, 1\], got 2.0 at index"),
    (lambda: fit_temperature([[0.0]], [[NAN]]), "`targs` must hold a target that is known, got n"),
    (lambda: fit_temperature([], []), "fit_temperature: `targs` must hold a target that is"),
    (lambda: expected_calibration_error([1.5], [1]), r"`probs` must lie in \[0, 1\] \(of logits"),
    (lambda: expected_calibration_error([1, 0], [0.5, 0]), "`targs` must hold only 0, 1 and NaN"),
    (lambda: expected_calibration_error([1], [1], n_bins=0), "`n_bins` must be an integer of at"),
    (lambda: expected_calibration_error([1], [1], strategy="log"), "`strategy` must be 'uni"),
    (lambda: expected_calibration_error([1], [1], average="micro"), "`average` must be 'macro' or"),
    (lambda: reliability_curve([0.5], [1, 0]), r"got \(1,\) and \(2,\)$"),
    (lambda: Calibration([1, 2], 0), r"both of shape \(L,\), got \(2,\) and \(\)$"),
    (lambda: Calibration(NAN, 0), "Calibration: `scale` must be finite, got nan$"),
    (lambda: Calibration("a", 0), "Calibration: `scale` must hold numbers, got 'a'$"),
    (lambda: Calibration([1, 1], [0, 0])([[1.0, 2, 3]]), r"must have 2 labels .* shape \(1, 3\)$"),
    (lambda: Calibration.from_dict({"scale": 1}), "`saved` must have scale and shift, got {'scale"),
])  # fmt: skip
def test_calibration_refuses(call, message):
    with pytest.raises((ValueError, TypeError), match=message):
        call()
