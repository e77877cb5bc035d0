"""Streaming scores: bounds that hold, shards that add up, counts that are exact at edges."""

import numpy as np
import pytest
import reference

from mlclassify.metrics import StreamingScores, multilabel_confusion_matrix

KINDS = {
    "logits": lambda r, shape: r.normal(size=shape) * 3,
    "probabilities": lambda r, shape: r.random(shape),
    "rare": lambda r, shape: 1e-6 * r.random(shape),
    "ties": lambda r, shape: r.integers(-3, 4, shape),
    "near ties": lambda r, shape: 1 + r.integers(0, 20, shape) * 1e-3,
    "all tied": lambda r, shape: np.zeros(shape),
    "strange": lambda r, shape: r.choice([-np.inf, np.inf, 0.0, -0.0, 1e-42, -1e-42], shape),
}


def filled(scores, targs, bits=14):
    stream = StreamingScores(scores.shape[1], bits)
    for part in np.array_split(np.arange(len(scores)), 3):
        stream.update(scores[part], targs[part])
    return stream


def auc(scores, targs):
    """The share of pairs in order, ties a half, by its definition."""
    s, t = np.asarray(scores, np.float32), np.asarray(targs, bool)
    above, below = s[t][:, None], s[~t]
    return np.mean((above > below) + 0.5 * (above == below))


@pytest.mark.parametrize("bits", [10, 12, 14, 20])
@pytest.mark.parametrize("kind", KINDS)
def test_the_truth_lies_between_the_bounds(rng, kind, bits):
    scores = KINDS[kind](rng, (300, 4)).astype(np.float32)
    targs = rng.random(scores.shape) < (0.3, 0.02, 0.98, 0.5)
    targs[0], targs[1] = True, False
    stream = filled(scores, targs, bits)
    for got, definition in ((stream.average_precision(None), reference.average_precision),
                            (stream.roc_auc(None), auc)):
        truth = [definition(scores[:, i], targs[:, i]) for i in range(4)]
        assert (got.low <= got.value + 1e-12).all() and (got.value <= got.high + 1e-12).all()
        assert (got.low <= truth + np.float64(1e-12)).all()
        assert (truth <= got.high + np.float64(1e-12)).all()


def test_bounds_are_tight_with_enough_bits(rng):
    scores = rng.normal(size=(2000, 3)).astype(np.float32)
    targs = rng.random(scores.shape) < 0.2
    widths = [np.ptp(filled(scores, targs, bits).average_precision()) for bits in (10, 14, 18)]
    assert widths[0] > widths[1] > widths[2] and widths[2] < 0.002


def test_scores_of_few_bits_are_exact(rng):
    scores = np.round(rng.random((500, 3)) * 16) / 16
    targs = rng.random(scores.shape) < 0.4
    got = filled(scores, targs).roc_auc(None)
    truth = [auc(s, t) for s, t in zip(scores.T, targs.T)]
    np.testing.assert_allclose(got.value, truth, atol=1e-12)


def test_averages(rng):
    scores, targs = rng.normal(size=(200, 3)), rng.random((200, 3)) < 0.3
    targs[:, 2] = False
    stream = filled(scores, targs)
    each = stream.average_precision(None)
    assert np.isnan(each.value[2]) and np.isnan(stream.roc_auc(None).low[2])
    assert stream.average_precision().value == pytest.approx(each.value[:2].mean())
    micro = stream.average_precision("micro")
    truth = reference.average_precision(scores.astype(np.float32).ravel(), targs.ravel())
    assert micro.low <= truth <= micro.high
    assert np.isnan(StreamingScores(2).roc_auc()).all()


def test_shards_add_up_to_one_pass(rng):
    scores, targs = rng.normal(size=(500, 17)), rng.random((500, 17)) < 0.3
    whole, parts = filled(scores, targs), [filled(scores[i::3], targs[i::3]) for i in range(3)]
    for part in parts[1:]:
        parts[0].merge(part)
    assert len(parts[0]) == len(whole) == 500
    for name in ("average_precision", "roc_auc"):
        for a, b in zip(getattr(whole, name)(None), getattr(parts[0], name)(None)):
            assert a.tobytes() == b.tobytes()
    assert whole.nbytes == 17 * 2**18


@pytest.mark.parametrize("thresh", [0, 0.5, -0.5, 0.75, np.inf, -np.inf, -0.0])
def test_counts_are_exact_between_bins(rng, thresh):
    scores, targs = np.round(rng.normal(size=(400, 3)), 1), rng.random((400, 3)) < 0.4
    scores[:40] = rng.choice([0.0, -0.0, 0.5, -0.5, 0.75, np.inf, -np.inf], (40, 3))
    got = filled(scores, targs).confusion(thresh)
    want = multilabel_confusion_matrix(targs, scores.astype(np.float32) > thresh)
    for tables in got:
        np.testing.assert_array_equal(tables, want)


def test_counts_are_bounded_elsewhere(rng):
    scores, targs = rng.random((4000, 3)), rng.random((4000, 3)) < 0.4
    thresh = np.float32([0.123, 0.51, 0.95])
    got = filled(scores, targs).confusion(thresh)
    want = multilabel_confusion_matrix(targs, scores.astype(np.float32) > thresh)
    assert (got.low <= want).all() and (want <= got.high).all() and (got.low < got.high).any()
    assert (got.value.sum((1, 2)) == 4000).all()


@pytest.mark.parametrize("call, message", [
    (lambda s: StreamingScores(0),
     "StreamingScores: `n_labels` must be an integer of at least 1, got 0"),
    (lambda s: StreamingScores(2, bits=25),
     "StreamingScores: `bits` must lie in [10, 24], got 25"),
    (lambda s: s.update([[0.5, np.nan]], [[0, 1]]),
     "StreamingScores.update: `scores` must not be NaN, got nan at index (0, 1)"),
    (lambda s: s.update([[0.5, 0.1]], [[0, 0.5]]),
     "StreamingScores.update: `targs` must hold only 0 and 1, got 0.5 at index (0, 1)"),
    (lambda s: s.update([[0.5]], [[0]]),
     "StreamingScores.update: `scores` must have 2 columns, got shape (1, 1)"),
    (lambda s: s.update([[0.5, 0.1]], [[0]]),
     "StreamingScores.update: `targs` must have the shape of `scores`, got (1, 1) for (1, 2)"),
    (lambda s: s.merge(StreamingScores(2, bits=12)),
     "StreamingScores.merge: `other` must have 2 labels and 14 bits, got 2 and 12"),
    (lambda s: s.roc_auc("weighted"),
     "StreamingScores.roc_auc: `average` must be 'macro' or 'micro' or None, got 'weighted'"),
    (lambda s: s.confusion(np.nan),
     "StreamingScores.confusion: `thresh` must not be NaN, got nan at index 0"),
    (lambda s: s.confusion([0.1, 0.2, 0.3]),
     "StreamingScores.confusion: `thresh` must be one number or have shape (2,), got (3,)"),
])
def test_messages(call, message):
    with pytest.raises(ValueError) as caught:
        call(StreamingScores(2))
    assert str(caught.value) == message


def f1_of(scores, targets, thresh):
    """F1 of one label at one threshold, 0 for 0 / 0."""
    said = scores > thresh
    total = said.sum() + targets.sum()
    return 2 * (said & (targets > 0)).sum() / total if total else 0.0


@pytest.mark.parametrize("scale", [1, -5, 1e-3])
@pytest.mark.parametrize("bits", [12, 20])
def test_the_best_f1_is_that_of_its_threshold_and_bounded(rng, scale, bits):
    scores = (rng.normal(size=(300, 4)) * scale).astype(np.float32)
    scores[:, 1] = scores[:, 1].round()  # ties
    targets = (rng.random((300, 4)) < [0.5, 0.2, 0.03, 0]).astype(np.uint8)
    thresholds, f1 = filled(scores, targets, bits).best_f1()
    for label, (column, target) in enumerate(zip(scores.T, targets.T)):
        best = max(f1_of(column, target, t) for t in [-np.inf, *column])
        assert f1.value[label] == f1.low[label] == f1_of(column, target, thresholds[label])
        assert f1.value[label] <= best + 1e-12 and best <= f1.high[label] + 1e-12
        if bits == 20:
            assert best - f1.value[label] < 0.02
    assert thresholds[3] == np.inf and f1.high[3] == 0


def test_of_equal_cuts_the_highest_is_the_best():
    stream = StreamingScores(1)
    stream.update([4.0, 3.0, 2.0, 1.0], [1, 0, 0, 1])
    thresholds, f1 = stream.best_f1()
    assert f1.value[0] == 2 / 3 and 3 < thresholds[0] < 4  # so is that of all four
