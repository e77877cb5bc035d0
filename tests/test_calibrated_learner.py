"""Calibration in a learner: fitted on logits, used by all that decides, saved, and forgotten."""

import numpy as np
import pytest
from tiny import photos, register, tiny_learner

from mlclassify import export
from mlclassify.calibration import Calibration, expected_calibration_error, fit_platt
from mlclassify.checks import MLClassifyWarning
from mlclassify.functional import nn
from mlclassify.learner import load_learner
from mlclassify.losses import BCEWithLogitsLossFlat
from mlclassify.weights import ModelFileError, read_tensors, write_tensors

pytestmark = pytest.mark.filterwarnings("ignore:find_thresholds. `targs` should have 10 positives")


@pytest.fixture
def learn(tmp_path, monkeypatch):
    monkeypatch.setenv("MLCLASSIFY_PROGRESS", "0")
    register(monkeypatch)
    learn = tiny_learner(80, 16, path=tmp_path)
    with learn.no_logging():
        learn.fit(2, 1e-2)
    return learn


def logits_of(learn):
    logits, targets = learn.get_preds(act=lambda x: x)
    return np.asarray(logits, np.float64), np.asarray(targets)


def test_probabilities_are_those_of_the_fit_everywhere(learn):
    logits, targets = logits_of(learn)
    before, _ = learn.get_preds()
    found = learn.calibrate("platt")
    want = fit_platt(logits, targets)
    np.testing.assert_array_equal(found.scale, want.scale)
    probs, _, masks = learn.get_preds(with_decoded=True)
    np.testing.assert_allclose(probs, 1 / (1 + np.exp(-(want.scale * logits + want.shift))),
                               rtol=1e-5)
    np.testing.assert_array_equal(masks, np.asarray(probs) > 0.5)
    assert not np.allclose(probs, before)
    for (image, _), row in zip(learn.dls.valid_ds.items, probs):
        np.testing.assert_array_equal(learn.predict(image).probs, row)
    learn.loss_func.calibration = None
    np.testing.assert_array_equal(learn.get_preds()[0], before)


def test_a_temperature_leaves_rankings_and_one_half_as_they_are(learn):
    before, _, masks = learn.get_preds(with_decoded=True)
    found = learn.calibrate()
    assert found.scale.shape == () and found.shift == 0
    assert learn.calibrate(per_label=True).scale.shape == (3,)
    after, _, same = learn.get_preds(with_decoded=True)
    np.testing.assert_array_equal(masks, same)
    np.testing.assert_array_equal(np.argsort(before, axis=0, kind="stable"),
                                  np.argsort(after, axis=0, kind="stable"))


def test_thresholds_are_tuned_on_what_was_calibrated(learn):
    learn.tune_thresholds(pooled=True)
    with pytest.warns(MLClassifyWarning, match="^calibrate: the thresholds of `learn.loss_func` we"
                                               "re chosen for other probabilities; call learn.tun"):
        learn.calibrate("platt")
    found = learn.tune_thresholds(pooled=True)
    probs, _, masks = learn.get_preds(with_decoded=True)
    np.testing.assert_array_equal(masks, np.asarray(probs, np.float64) > found.thresholds)


def test_a_file_keeps_it(learn):
    learn.calibrate("platt")
    loaded = load_learner(learn.export())
    assert repr(loaded.loss_func.calibration) == repr(learn.loss_func.calibration)
    for image, _ in photos(5, seed=3):
        np.testing.assert_array_equal(learn.predict(image).probs, loaded.predict(image).probs)


@pytest.mark.parametrize("forged", [
    '{"scale": [1.0, 2.0], "shift": [0.0, 0.0]}', '{"scale": NaN, "shift": 0.0}', '{"scale": 1.0}',
    '{"scale": "x", "shift": 0.0}', "3",
])
def test_a_forged_one_is_refused(learn, forged):
    path = learn.export()
    tensors, metadata = read_tensors(path, "test")
    text = metadata[export._LEARNER].replace('"calibration": null', f'"calibration": {forged}')
    assert text != metadata[export._LEARNER]
    metadata.update({export._LEARNER: text, export._HASH: export.digest(tensors, text)})
    write_tensors(path, tensors, metadata)
    with pytest.raises(ModelFileError, match="must describe a learner"):
        load_learner(path)


def test_training_forgets_it(learn):
    learn.calibrate()
    with learn.no_logging(), pytest.warns(MLClassifyWarning, match=(
            "^fit: training changes the logits that the calibration was fitted to, so it is "
            r"forgotten; call learn.calibrate\(\) again$")):
        learn.fit(1)
    assert learn.loss_func.calibration is None


def test_the_plot_is_the_curve_of_what_predict_says(learn):
    learn.calibrate()
    ax = learn.plot_reliability(n_bins=4)
    probs, targets = (np.asarray(a, np.float64).ravel() for a in learn.get_preds())
    x, y = ax.lines[1].get_data()
    bins = np.minimum((probs * 4).astype(int), 3)
    full = np.unique(bins)
    np.testing.assert_allclose(x, [probs[bins == b].mean() for b in full])
    np.testing.assert_allclose(y, [targets[bins == b].mean() for b in full])
    assert expected_calibration_error(*learn.get_preds()) >= 0


def test_calibrating_says_what_it_needs(learn):
    with pytest.raises(ValueError, match="calibrate: `method` must be .*temperature.*got 'isoto"):
        learn.calibrate("isotonic")
    with pytest.raises(ValueError, match="calibrate: `dl` must have labels, got photos without"):
        learn.calibrate(dl=learn.dls.test_dl([image for image, _ in photos(2)]))
    with pytest.raises((TypeError, ValueError), match="BCEWithLogitsLossFlat: `calibration` must "
                                                      "be None or a Calibration, .*, got float"):
        learn.loss_func.calibration = 2.0
    learn.loss_func = nn.BCEWithLogitsLoss()
    with pytest.raises(TypeError, match="calibrate: `learn.loss_func` must be a loss on logits"):
        learn.calibrate()


def test_a_calibration_of_ones_own():
    loss = BCEWithLogitsLossFlat()
    loss.calibration = Calibration(2.0, 1.0)
    assert float(loss.activation(np.float32([0.5]))[0]) == pytest.approx(1 / (1 + np.exp(-2.0)))


def test_a_report_names_metrics_that_decide_by_another_threshold(learn):
    from mlclassify.metrics import F1ScoreMulti, accuracy_multi

    learn.metrics = [accuracy_multi, F1ScoreMulti(thresh=0.25)]
    assert list(learn.report().others) == ["f1_score"]
    learn.loss_func.thresh = 0.75
    report = learn.report()
    assert report.others == {"accuracy_multi": 0.5, "f1_score": 0.25}
    assert repr(report).endswith("accuracy_multi decides by 0.5 instead\nf1_score decides by 0.25 "
                                 "instead")
    learn.loss_func.thresh = [0.25, 0.25, 0.25]
    assert list(learn.report().others) == ["accuracy_multi"]
