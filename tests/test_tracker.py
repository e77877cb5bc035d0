"""Callbacks that watch a fit, fed with losses that are made up."""

import numpy as np
import pytest
from tiny import tiny_learner

from mlclassify import tracker
from mlclassify.callbacks import Callback
from mlclassify.metrics import accuracy_multi
from mlclassify.tracker import (
    CSVLogger,
    EarlyStoppingCallback,
    ReduceLROnPlateau,
    SaveModelCallback,
    ShowGraphCallback,
    TrackerCallback,
)


@pytest.fixture(autouse=True)
def quiet(monkeypatch):
    monkeypatch.setenv("MLCLASSIFY_PROGRESS", "0")


class Say(Callback):
    """Make the validation loss of each epoch what is wanted, before anybody watches it."""

    order = 51

    def __init__(self, *losses):
        self.losses = losses

    def after_epoch(self):
        self.learn.recorder.values[-1][1] = self.losses[self.learn.epoch]


def fit(losses, cb, **options):
    learn = tiny_learner(20, 8, **options)
    with learn.no_logging():
        learn.fit(len(losses), 1e-2, cbs=[Say(*losses), cb])
    return learn


def epochs(learn):
    return len(learn.recorder.rows)


@pytest.mark.parametrize("losses, options, want", [
    ([3, 2, 2, 1], {}, 3),
    ([3, 2, 2, 1], {"patience": 2}, 4),
    ([3, 2, 1.8, 1], {"min_delta": 0.5}, 3),
    ([1, 2, 3, 3], {"comp": np.greater}, 4),
    ([1, 2, 3, 3, 3], {"comp": np.greater, "min_delta": 2}, 2),
    ([float("nan"), 2, 1, 1], {}, 1),
])
def test_early_stopping(losses, options, want, capsys):
    assert epochs(fit(losses, EarlyStoppingCallback(**options))) == want
    told = capsys.readouterr().out
    if want < len(losses):
        since = want - 1 - options.get("patience", 1)
        assert told == f"No improvement since epoch {since}: early stopping\n"


def test_a_metric_should_grow():
    cb = TrackerCallback("accuracy_multi")
    assert cb.comp is np.greater and TrackerCallback("error_rate").comp is np.less
    learn = fit([1, 1], cb, metrics=accuracy_multi)
    assert cb.best == max(v[2] for v in learn.recorder.values)


def test_the_best_value_may_outlive_a_fit():
    for reset, want in ((True, 2), (False, 1)):
        cb = TrackerCallback(reset_on_fit=reset)
        learn = fit([1], cb)
        with learn.no_logging():
            learn.fit(1, cbs=[Say(2), cb])
        assert cb.best == want


def test_the_rate_is_reduced(capsys):
    learn = fit([3, 3, 3, 3, 3], ReduceLROnPlateau(factor=4, min_lr=1e-3))
    assert learn.recorder.lrs[::2] == pytest.approx([1e-2, 1e-2, 2.5e-3, 1e-3, 1e-3])
    assert capsys.readouterr().out == ("Epoch 1: reducing lr to 0.0025\n"
                                       "Epoch 2: reducing lr to 0.001\n")
    learn = fit([3, 3, 3, 3, 3], ReduceLROnPlateau(patience=2))
    assert learn.recorder.lrs[::2] == pytest.approx([1e-2] * 3 + [1e-3] * 2)


def still(preds, targs):
    """A metric that never improves."""
    return 0.5


def test_what_is_watched_may_be_a_metric(tmp_path, capsys):
    falls = [4, 3, 2, 1]
    assert epochs(fit(falls, EarlyStoppingCallback("still"), metrics=still)) == 2
    assert epochs(fit(falls, EarlyStoppingCallback(), metrics=still)) == 4
    learn = fit(falls, ReduceLROnPlateau("still"), metrics=still)
    assert learn.recorder.lrs[::2] == pytest.approx([1e-2, 1e-2, 1e-3, 1e-4])
    capsys.readouterr()
    fit(falls, SaveModelCallback("still"), metrics=still, path=tmp_path)
    assert capsys.readouterr().out == (
        "Better model found at epoch 0 with still value: 0.5.\n")


def state(learn):
    return {name: value.tobytes() for name, value in learn.model.state_dict().items()}


class Keep(Callback):
    order = 64

    def before_fit(self):
        self.states = []

    def after_epoch(self):
        self.states.append(state(self.learn))


def saved_fit(tmp_path, losses, **options):
    cb, keep = SaveModelCallback(**options), Keep()
    learn = tiny_learner(20, 8, path=tmp_path)
    with learn.no_logging():
        learn.fit(len(losses), 1e-2, cbs=[Say(*losses), cb, keep])
    return learn, cb, keep.states, sorted(p.stem for p in (tmp_path / "models").iterdir())


def test_the_best_model_is_kept_and_loaded(tmp_path, capsys):
    learn, cb, states, files = saved_fit(tmp_path, [3, 1, 2])
    assert state(learn) == states[1] and files == ["model"]
    assert cb.last_saved_path == tmp_path / "models" / "model.safetensors"
    assert capsys.readouterr().out == (
        "Better model found at epoch 0 with valid_loss value: 3.\n"
        "Better model found at epoch 1 with valid_loss value: 1.\n")
    assert learn.epochs_begun == 3
    learn, *_ = saved_fit(tmp_path, [3, 1, 2], with_opt=True)
    assert learn.epochs_begun == 2


def test_other_ways_to_save(tmp_path):
    learn, _, states, files = saved_fit(tmp_path / "a", [3, 1, 2], every_epoch=2, fname="m")
    assert files == ["m_0", "m_2"] and state(learn) == states[2]
    learn, _, states, _ = saved_fit(tmp_path / "b", [3, 1, 2], at_end=True)
    assert state(learn) == states[2] == state(learn.load("model", with_opt=False))


def test_after_an_error_nothing_is_loaded(tmp_path):
    class Stop(Callback):
        def after_step(self):
            if self.epoch == 1:
                raise KeyboardInterrupt

    learn = tiny_learner(20, 8, path=tmp_path)
    cb = SaveModelCallback()
    with learn.no_logging(), pytest.raises(KeyboardInterrupt):
        learn.fit(2, 1e-2, cbs=[cb, Stop])
    best = state(learn)
    assert cb.last_saved_path.exists() and state(learn.load("model", False)) != best


def test_a_search_for_a_rate_saves_nothing(tmp_path):
    learn = tiny_learner(path=tmp_path, cbs=[SaveModelCallback(), CSVLogger(), ShowGraphCallback()])
    learn.lr_find(show_plot=False)
    assert list(tmp_path.iterdir()) == []


# --- log and graph

def test_the_log_is_the_table(tmp_path):
    pytest.importorskip("pandas")
    cb = CSVLogger("log/a.csv")
    learn = fit([1, 2], cb, path=tmp_path)
    assert [p.name for p in (tmp_path / "log").iterdir()] == ["a.csv"]
    frame, table = learn.recorder.to_frame(), cb_frame(learn, cb)
    assert list(table.columns) == learn.recorder.metric_names and list(table.epoch) == [0, 1]
    np.testing.assert_array_equal(table.train_loss, frame.train_loss)
    assert list(frame.time) == list(table.time)


def cb_frame(learn, cb):
    with learn.added_cbs(cb):
        return cb.read_log()


def test_the_log_may_be_appended_to(tmp_path):
    for append, want in ((False, 1), (True, 2), (False, 1)):
        cb = CSVLogger(append=append)
        learn = fit([1], cb, path=tmp_path)
        assert len(cb_frame(learn, cb)) == want
    with pytest.raises(ValueError) as caught:
        fit([1], CSVLogger(append=True), path=tmp_path, metrics=accuracy_multi)
    assert str(caught.value).startswith(
        "CSVLogger: `fname` must be a table with the columns ['epoch', 'train_loss', 'valid_loss', "
        "'accuracy_multi', 'time'] where append=True, got ['epoch', 'train_loss', 'valid_loss', ")


def test_a_graph_of_the_losses(monkeypatch):
    cb = ShowGraphCallback()
    fit([1, 2, 1], cb)
    assert cb.ax.get_xlim() == (0, 6) and len(cb.ax.lines[0].get_xdata()) == 6
    assert cb.ax.lines[1].get_ydata()[-1] == 2 or len(cb.ax.lines[1].get_ydata()) == 3
    display = pytest.importorskip("IPython.display")
    shown = []

    class Handle:
        def update(self, picture):
            shown.append(picture.data[:4])

    monkeypatch.setattr(tracker, "in_notebook", lambda: True)
    monkeypatch.setattr(display, "display",
                        lambda picture, display_id: Handle().update(picture) or Handle())
    fit([1, 2], ShowGraphCallback())
    assert shown == [b"\x89PNG"] * 2


@pytest.mark.parametrize("make, message", [
    (lambda: fit([1], EarlyStoppingCallback("f1")),
     "EarlyStoppingCallback: `monitor` must be a column of the epoch table, train_loss, "
     "valid_loss, got 'f1'"),
    (lambda: fit([None], EarlyStoppingCallback()),
     "EarlyStoppingCallback: `monitor` must be a column of numbers, got None in valid_loss"),
    (lambda: EarlyStoppingCallback(patience=0),
     "EarlyStoppingCallback: `patience` must be an integer of at least 1, got 0"),
    (lambda: TrackerCallback(min_delta=-1),
     "TrackerCallback: `min_delta` must be finite and not negative, got -1.0"),
    (lambda: ReduceLROnPlateau(factor=1), "ReduceLROnPlateau: `factor` must be above 1, got 1"),
    (lambda: SaveModelCallback(every_epoch=True, at_end=True),
     "SaveModelCallback: `at_end` must be False with every_epoch, got True"),
])
def test_messages(make, message):
    with pytest.raises(ValueError) as caught:
        make()
    assert str(caught.value) == message
