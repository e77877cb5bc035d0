"""Events and their order, the record of a fit, the table and the bar."""

import subprocess
import sys
from types import SimpleNamespace

import numpy as np
import pytest
from tiny import tiny_learner

from mlclassify import callbacks
from mlclassify.callbacks import (
    EVENTS,
    Callback,
    CancelFitException,
    EpochTable,
    ProgressCallback,
    Recorder,
    format_cell,
    format_row,
    format_time,
    progress_bar,
)
from mlclassify.metrics import accuracy_multi
from mlclassify.schedule import ParamScheduler, one_cycle


class StandIn(SimpleNamespace):
    """As much of a learner as a callback looks at, and weakly referable as a learner is."""


@pytest.fixture(autouse=True)
def quiet(monkeypatch):
    monkeypatch.setenv("MLCLASSIFY_PROGRESS", "0")


def spy(order, log, label=""):
    """A callback that notes every event."""
    cb = Callback()
    cb.order = order
    for event in EVENTS:
        setattr(cb, event, lambda event=event: log.append(label + event))
    return cb


def test_events_come_in_their_order():
    log = []
    learn = tiny_learner(25, 8)
    with learn.no_logging():
        learn.fit(2, cbs=spy(0, log))
    step = ["before_batch", "after_pred", "after_loss", "before_backward", "after_backward",
            "before_step", "after_step", "after_batch"]
    look = ["before_batch", "after_pred", "after_loss", "after_batch"]
    epoch = ["before_epoch", "before_train", *step, *step, "after_train",
             "before_validate", *look, "after_validate", "after_epoch"]
    assert log == ["before_fit", *epoch, *epoch, "after_fit"]


def test_callbacks_are_called_by_order():
    log = []
    learn = tiny_learner(cbs=[spy(70, log, "c "), spy(-1, log, "a ")])
    learn.add_cbs(spy(55, log, "b "))
    with learn.no_logging():
        learn.fit(1)
    assert log[:3] == ["a before_fit", "b before_fit", "c before_fit"]
    assert [cb.order for cb in learn.cbs] == [-1, 50, 55, 60, 70]


def test_callbacks_of_a_fit_leave_with_it():
    learn, log = tiny_learner(), []
    before = list(learn.cbs)
    with learn.no_logging():
        learn.fit(1, cbs=spy(0, log))
    assert learn.cbs == before
    learn.add_cbs(Callback)
    learn.remove_cbs(learn.cbs[0])
    assert learn.cbs == before


@pytest.mark.parametrize("error", [CancelFitException, RuntimeError, KeyboardInterrupt])
def test_after_fit_runs_however_a_fit_ends(error):
    log = []
    learn = tiny_learner()

    class Stop(Callback):
        def after_batch(self):
            raise error

    with learn.no_logging():
        if error is CancelFitException:
            learn.fit(3, cbs=[Stop, spy(-1, log)])
        else:
            with pytest.raises(error):
                learn.fit(3, cbs=[Stop, spy(-1, log)])
    assert log.count("after_fit") == 1 and log.count("after_batch") == 1


def test_gradients_can_be_clipped_between_backward_and_step():
    class Clip(Callback):
        def after_backward(self):
            for gradient in self.learn.model.net.gradients().values():
                gradient[:] = 0

    learn = tiny_learner(wd=0)
    before = {k: v.copy() for k, v in learn.model.parameters().items()}
    with learn.no_logging():
        learn.fit(1, 1e-2, cbs=Clip)
    for name, value in learn.model.parameters().items():
        assert np.array_equal(value, before[name])


# --- the record

def fed(losses):
    """A stand-in whose recorder was shown the losses of training steps."""
    learn = StandIn(training=True, metrics=[], epoch=0, loss=0.0,
                    opt=SimpleNamespace(hypers=[{"lr": 1.0, "mom": 0.5}]))
    recorder = learn.recorder = Recorder()
    recorder.learn = learn
    recorder.before_fit()
    for learn.loss in losses:
        recorder.after_batch()
    return learn


def test_training_loss_is_smoothed_and_debiased(rng):
    losses = rng.random(200)
    got = fed(losses).recorder.losses
    for k in (0, 1, 10, 199):
        weights = 0.98 ** np.arange(k, -1, -1)
        assert got[k] == pytest.approx((weights * losses[: k + 1]).sum() / weights.sum())


def test_validation_loss_is_the_mean_over_photos():
    learn = fed([])
    recorder, learn.training = learn.recorder, False
    recorder.before_validate()
    for n, learn.loss in ((3, 1.0), (1, 5.0)):
        learn.y = np.zeros((n, 2))
        recorder.after_batch()
    recorder.after_validate()
    assert recorder.validation_values() == [2.0]


def test_a_fit_is_recorded():
    learn = tiny_learner(40, 8, metrics=accuracy_multi)
    with learn.no_logging():
        learn.fit_one_cycle(2, 1e-2)
    r = learn.recorder
    assert r.metric_names == ["epoch", "train_loss", "valid_loss", "accuracy_multi", "time"]
    assert len(r.losses) == len(r.lrs) == len(r.moms) == 8 and r.iters == [4, 8]
    assert [len(v) for v in r.values] == [3, 3] and [row[0] for row in r.rows] == [0, 1]
    assert r.lrs[0] == pytest.approx(1e-2 / 25) and max(r.lrs) == pytest.approx(1e-2)
    assert r.moms[0] == 0.95 and min(r.moms) == pytest.approx(0.85)
    assert r.values[0][0] == r.losses[3]


def test_plots_of_the_record():
    recorder = fed(np.linspace(1, 0, 20)).recorder
    recorder.values, recorder.iters = [[0.5, 0.4], [0.3, 0.2]], [10, 20]
    ax = recorder.plot_loss(skip_start=4)
    train, valid = ax.lines
    assert train.get_xdata()[0] == 4 and len(train.get_xdata()) == 16
    assert valid.get_xydata().tolist() == [[10, 0.4], [20, 0.2]]
    assert len(recorder.plot_loss(with_valid=False).lines) == 1
    assert [ax.get_ylabel() for ax in recorder.plot_sched()] == ["lr", "mom"]
    mine = recorder.plot_loss(ax=ax)
    assert mine is ax


# --- schedules

def test_a_schedule_sees_the_position_in_the_fit():
    set_to = []
    learn = StandIn(training=True, epoch=1, iter=2, n_epoch=2, n_iter=4,
                            opt=SimpleNamespace(set_hypers=lambda **kw: set_to.append(kw)))
    cb = ParamScheduler({"lr": [lambda p: p, lambda p: 2 * p], "mom": lambda p: -p})
    cb.learn = learn
    cb.before_batch()
    learn.training = False
    cb.before_batch()
    assert set_to == [{"lr": [0.75, 1.5], "mom": -0.75}]


def test_one_cycle_ends():
    cb = one_cycle([1.0, 2.0], 25.0, 1e5, 0.25, (0.95, 0.85, 0.95))
    starts, peaks, ends = ([f(p) for f in cb.schedules["lr"]] for p in (0, 0.25, 1))
    assert starts == pytest.approx([0.04, 0.08])
    assert peaks == pytest.approx([1.0, 2.0])
    assert ends == pytest.approx([1e-5, 2e-5])
    assert cb.schedules["mom"](0.25) == pytest.approx(0.85)


# --- the table

def test_cells():
    assert [format_cell(c) for c in (0, 0.5, None, "00:07", float("nan"))] == [
        "0", "0.500000", "None", "00:07", "nan"]
    assert format_cell(np.float32(0.25)) == "0.250000"
    assert format_cell(np.array([0.5, 1.0])) == "[0.5 1. ]"
    assert (format_time(59.9), format_time(600), format_time(3600)) == ("00:59", "10:00", "1:00:00")


def test_the_table_of_the_post(capsys):
    names = ["epoch", "train_loss", "valid_loss", "accuracy_multi", "average_precision_score",
             "time"]
    table = EpochTable(names)
    table.add([0, 1.037557, 0.579388, 0.783333, 0.868948, "00:07"])
    assert capsys.readouterr().out == (
        "   epoch  train_loss  valid_loss  accuracy_multi  average_precision_score      time\n"
        "       0    1.037557    0.579388        0.783333                 0.868948     00:07\n"
    )
    assert format_row([1, 2], ["a", "b"]) == "       1         2"


class Handle:
    """What IPython gives for a display that can be updated."""

    def __init__(self):
        self.shown = []

    def update(self, data, raw):
        assert raw
        self.shown.append(data)


def test_the_table_in_a_notebook_is_updated_in_place(monkeypatch, capsys):
    display = pytest.importorskip("IPython.display")
    handle = Handle()
    monkeypatch.setattr(callbacks, "in_notebook", lambda: True)
    monkeypatch.setattr(display, "display",
                        lambda data, raw, display_id: handle.update(data, raw) or handle)
    table = EpochTable(["epoch", "<img onerror=x>"])
    table.add([0, 0.5])
    assert len(handle.shown) == 2 and capsys.readouterr().out == ""
    assert handle.shown[1]["text/plain"].split() == ["epoch", "<img", "onerror=x>", "0", "0.500000"]
    assert handle.shown[1]["text/html"] == (
        '<table border="1" class="dataframe"><thead><tr style="text-align: left;"><th>epoch</th>'
        "<th>&lt;img onerror=x&gt;</th></tr></thead><tbody><tr><td>0</td><td>0.500000</td></tr>"
        "</tbody></table>"
    )


def test_a_notebook_is_known_by_its_kernel(monkeypatch):
    assert not callbacks.in_notebook()
    shell = SimpleNamespace(kernel=object())
    monkeypatch.setitem(sys.modules, "IPython", SimpleNamespace(get_ipython=lambda: shell))
    assert callbacks.in_notebook()
    del shell.kernel
    assert not callbacks.in_notebook()


def test_no_logging_and_no_bar(capsys):
    learn = tiny_learner()
    with learn.no_logging():
        learn.fit(1)
    assert capsys.readouterr().out == ""
    with learn.no_bar():
        assert not learn._progress.bar
        learn.fit(1)
    assert learn._progress.bar and len(capsys.readouterr().out.splitlines()) == 2


# --- the bar

class Bar:
    def __init__(self):
        self.steps, self.texts, self.closed = 0, [], False

    def update(self):
        self.steps += 1

    def set_postfix_str(self, text, refresh):
        self.texts.append(text)

    def close(self):
        self.closed = True


def test_the_bar_counts_batches_and_says_the_loss(monkeypatch):
    bars = []

    def made(what, total, wanted):
        bars.append((what, total, Bar()))
        return bars[-1][2]

    monkeypatch.setattr(callbacks, "progress_bar", made)
    learn = tiny_learner(40, 8)
    with learn.no_logging():
        learn.fit(1)
    assert [(what, total) for what, total, _ in bars] == [("train", 4), ("valid", 1)]
    assert [bar.steps for _, _, bar in bars] == [4, 1] and all(bar.closed for _, _, bar in bars)
    assert bars[0][2].texts == [f"{loss:.4f}" for loss in learn.recorder.losses]


def test_the_bar_can_be_switched_off(monkeypatch):
    assert progress_bar("train", 3) is None
    monkeypatch.delenv("MLCLASSIFY_PROGRESS")
    assert progress_bar("train", 3, wanted=False) is None
    bar = progress_bar("train", 3)
    assert bar.total == 3
    bar.close()


def test_a_bar_that_is_open_is_closed_after_the_fit():
    cb = ProgressCallback()
    cb._open = bar = Bar()
    cb.after_fit()
    assert bar.closed


def test_tqdm_is_not_imported_before_a_fit():
    code = "import sys, mlclassify.callbacks; print('tqdm' in sys.modules)"
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert out.stdout.strip() == "False"
