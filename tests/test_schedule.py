"""Schedules and the search for a learning rate, beside fastai 2.8.12's own numbers."""

import os
from functools import partial

import numpy as np
import pytest
from tiny import tiny_learner

from mlclassify.callbacks import Callback, CancelBatchException
from mlclassify.schedule import (
    SuggestionMethod,
    minimum,
    slide,
    steep,
    suggest,
    valley,
    warm_restarts,
)


@pytest.fixture(autouse=True)
def quiet(monkeypatch):
    monkeypatch.setenv("MLCLASSIFY_PROGRESS", "0")


def bits(learn):
    """Everything that training moves, as bytes."""
    state = {name: value.tobytes() for name, value in learn.model.state_dict().items()}
    kept = learn.model.net.optimizer_state()
    moments = {name: (step, m.tobytes(), v.tobytes()) for name, (step, m, v) in kept.items()}
    hypers = None if learn.opt is None else learn.opt.hypers
    return state, moments, hypers, learn.epochs_begun, learn.model.trainable


def fit(method, *args, **kwargs):
    """The learner after a fit of 4 steps an epoch."""
    learn = tiny_learner(40, 8)
    with learn.no_logging():
        getattr(learn, method)(*args, **kwargs)
    return learn


# --- schedules

def test_flat_cos_is_fastais():
    learn = fit("fit_flat_cos", 2, slice(1e-3, 1e-2))
    assert learn.recorder.lrs == pytest.approx([0.01] * 7 + [0.00500005], rel=1e-9)
    assert set(learn.recorder.moms) == {0.9}


def test_arguments_of_flat_cos():
    assert fit("fit_flat_cos", 2, 1e-2, pct_start=0.5).recorder.lrs[4:] == pytest.approx(
        [0.01, 0.00853554, 0.00500005, 0.00146456], rel=1e-4)
    assert fit("fit_flat_cos", 2, 1e-2, div_final=2).recorder.lrs[-1] == pytest.approx(0.0075)
    assert fit("fit_flat_cos", 1).recorder.lrs[0] == 1e-3
    assert fit("fit_flat_cos", 1, wd=0.5).opt.hypers[0]["wd"] == 0.5


def test_sgdr_is_fastais():
    n, scheduler = warm_restarts([1e-3, 1e-2], 2, 2, 2)
    want = [0.01, 0.008535533905932738, 0.005, 0.001464466094067262, 0.01, 0.009619397796916706,
            0.008535533905932738, 0.006913417594324662, 0.004999999063732429,
            0.0030865828381745506, 0.001464466094067262, 0.0003806016208557153]
    assert n == 6
    got = [[f(t / 12) for f in scheduler.schedules["lr"]] for t in range(12)]
    np.testing.assert_allclose(got, [[w / 10, w] for w in want], rtol=1e-5)


def test_arguments_of_sgdr():
    learn = fit("fit_sgdr", 2, 1, 1e-2, cycle_mult=1)
    assert learn.recorder.lrs[:4] == pytest.approx(learn.recorder.lrs[4:])
    assert [row[0] for row in fit("fit_sgdr", 2, 1).recorder.rows] == [0, 1, 2]
    assert fit("fit_sgdr", 1, 2, wd=0.5).opt.hypers[0]["wd"] == 0.5


@pytest.mark.parametrize("method, args, options, message", [
    ("fit_flat_cos", (1,), {"div_final": 0}, "fit_flat_cos: `div_final` must be above 0, got 0"),
    ("fit_flat_cos", (1,), {"pct_start": 1},
     "fit_flat_cos: `pct_start` must lie in (0, 1), got 1"),
    ("fit_sgdr", (0, 1), {}, "fit_sgdr: `n_cycles` must be an integer of at least 1, got 0"),
    ("fit_sgdr", (1, 1.5), {}, "fit_sgdr: `cycle_len` must be an integer of at least 1, got 1.5"),
    ("fit_sgdr", (1, 1), {"cycle_mult": 0},
     "fit_sgdr: `cycle_mult` must be an integer of at least 1, got 0"),
    ("fit", (2,), {"start_epoch": 2}, "fit: `start_epoch` must be below n_epoch, 2, got 2"),
    ("fit", (2,), {"start_epoch": -1},
     "fit: `start_epoch` must be an integer of at least 0, got -1"),
    ("lr_find", (0,), {}, "lr_find: `start_lr` must be above 0, got 0"),
    ("lr_find", (), {"end_lr": -1.0},
     "lr_find: `end_lr` must be finite and not negative, got -1.0"),
    ("lr_find", (), {"num_it": 5}, "lr_find: `num_it` must be an integer of at least 6, got 5"),
    ("lr_find", (), {"suggest_funcs": [valley, partial(valley)]},
     "lr_find: `suggest_funcs` must have names of their own, got ['valley', 'valley']"),
])
def test_messages(method, args, options, message):
    learn = tiny_learner()
    before = bits(learn)
    with pytest.raises(ValueError) as caught:
        getattr(learn, method)(*args, **options)
    assert str(caught.value) == message
    assert bits(learn) == before


@pytest.mark.parametrize("method, args", [
    ("fit", (4, 1e-2)), ("fit_one_cycle", (4, 1e-2)), ("fit_flat_cos", (4, 1e-2)),
    ("fit_sgdr", (2, 1, 1e-2, 3))])
def test_a_fit_may_start_at_an_epoch(method, args):
    whole = fit(method, *args)
    rest = fit(method, *args, start_epoch=2)
    assert [row[0] for row in rest.recorder.rows] == [2, 3]
    assert rest.recorder.lrs == whole.recorder.lrs[8:]


# --- suggestions

def searched():
    """Rates and losses as a search has them: a dent, and then the explosion."""
    i = np.arange(85)
    lrs = 1e-7 * 1e8 ** ((i + 10) / 100)
    losses = 0.7 - 0.3 * np.exp(-(((i - 60) / 14) ** 2)) + 0.02 * np.sin(i * 1.7)
    return np.float32(lrs), np.float32(losses + (i > 72) * (i - 72) ** 2 * 0.02)


@pytest.mark.parametrize("function, want, point", [
    (valley, 0.0063095735386013985, (0.0063095735386013985, 0.5164)),
    (steep, 0.010964781977236271, (0.010964781977236271, 0.4833)),
    (minimum, 0.005754399299621582, (0.05754399299621582, 0.3863)),
    (slide, 0.001737800776027143, (0.001737800776027143, 0.6163936374559961)),
])
def test_suggestions_are_fastais(function, want, point):
    lr, where = function(*searched(), 100)
    assert lr == pytest.approx(want, rel=1e-7) and where == pytest.approx(point, abs=5e-5)
    assert getattr(SuggestionMethod, function.__name__.capitalize()) is function


def test_slide_has_arguments():
    lr = slide(*searched(), 100)[0]
    assert slide(*searched(), 100, adjust_value=0.5)[0] == lr / 2
    assert slide(*searched(), 100, thresh=0.5)[0] > lr != slide(*searched(), 100, lr_diff=3)[0]
    with pytest.raises(ValueError, match=r"slide: `lr_diff` must lie in \[1, 85\), for so many"):
        slide(*searched(), 100, lr_diff=85)


def test_a_search_without_steps_says_so():
    with pytest.raises(ValueError) as caught:
        suggest([valley], [1.0] * 16, [1.0] * 16, 100)
    assert str(caught.value) == (
        "lr_find: the search must last at least 2 steps beyond the first tenth and the last 5 to "
        "suggest a rate, got 1 before the loss exploded; lower start_lr or end_lr")


# --- the search

@pytest.mark.parametrize("trained", [False, True])
def test_lr_find_leaves_everything_as_it_was(trained, tmp_path, capsys):
    learn, twin = tiny_learner(path=tmp_path), tiny_learner()
    for each in (learn, twin):
        if trained:
            each.fit_one_cycle(1, 1e-2)
    before, cbs = bits(learn), list(learn.cbs)
    capsys.readouterr()
    found = learn.lr_find()
    assert capsys.readouterr().out == "" and list(tmp_path.iterdir()) == []
    assert bits(learn) == before and learn.cbs == cbs
    assert found._fields == ("valley",) and 1e-7 < found.valley < 10
    assert repr(found) == f"SuggestedLRs(valley={found.valley!r})"
    for each in (learn, twin):
        each.fit(1, 1e-2)
    assert bits(learn) == bits(twin)


def test_the_rates_of_the_search_are_fastais():
    learn = tiny_learner()
    learn.lr_find(num_it=20, stop_div=False, show_plot=False, suggest_funcs=None)
    want = [1e-7 * 1e8 ** (t / 20) for t in range(len(learn.recorder.lrs))]
    assert learn.recorder.lrs == pytest.approx(want) and 15 < len(want) <= 20
    assert learn.recorder.values == [[pytest.approx(learn.recorder.losses[i - 1]), None]
                                     for i in learn.recorder.iters]


def test_arguments_of_lr_find():
    learn = tiny_learner()
    run = partial(learn.lr_find, show_plot=False)
    assert run(suggest_funcs=None) is None
    found = run(1e-4, 1e-1, num_it=40, suggest_funcs=(steep, partial(slide, lr_diff=3)))
    assert found._fields == ("steep", "slide")
    assert learn.recorder.lrs[0] == pytest.approx(1e-4) and len(learn.recorder.lrs) == 40
    run(slice(1e-6, 1e-4), num_it=8, suggest_funcs=None)
    assert learn.recorder.lrs[0] == pytest.approx(1e-4)
    steps = {}
    for stop in (True, False):
        learn.loss_func.value_and_grad = Growing()
        run(suggest_funcs=None, stop_div=stop)
        steps[stop] = len(learn.recorder.losses)
    assert steps[True] < steps[False] == 100


class Growing:
    """A loss that explodes, whatever the model says."""

    loss = 1.0

    def __call__(self, logits, targets):
        self.loss *= 1.2
        return self.loss, np.zeros(logits.shape, np.float32)


def test_lr_find_draws_what_it_suggests(monkeypatch):
    learn, drawn = tiny_learner(), []
    plot = learn.recorder.plot_lr_find
    monkeypatch.setattr(learn.recorder, "plot_lr_find",
                        lambda **kw: drawn.append(plot(**kw)) or drawn[-1])
    found = learn.lr_find(suggest_funcs=[valley, minimum])
    losses, *points = drawn[0].lines
    assert len(losses.get_xdata()) == len(learn.recorder.lrs) - 5
    assert [p.get_label() for p in points] == ["valley", "minimum"]
    assert points[0].get_xdata()[0] == found.valley and drawn[0].get_xscale() == "log"
    learn.lr_find(show_plot=False)
    assert len(drawn) == 1
    assert len(plot(skip_end=0, ax=drawn[0]).lines[-1].get_xdata()) == len(learn.recorder.lrs)


@pytest.mark.parametrize("error", [KeyboardInterrupt, RuntimeError])
def test_a_search_that_is_stopped_is_undone(error):
    class Stop(Callback):
        def after_step(self):
            if self.iter == 2:
                raise error

    learn = tiny_learner(cbs=Stop)
    before = bits(learn)
    with pytest.raises(error):
        learn.lr_find()
    assert bits(learn) == before


def test_a_search_ends_where_the_loss_is_not_finite():
    learn = tiny_learner()

    class Poison(Callback):
        def before_batch(self):
            if self.train_iter == 30:
                self.learn.x[0, 0, 0, 0] = np.nan

    before = bits(learn)
    with learn.added_cbs(Poison):
        learn.lr_find(stop_div=False, show_plot=False)
    assert len(learn.recorder.losses) == 30 and bits(learn) == before


def test_a_search_goes_on_where_a_callback_leaves_its_first_batches_out():
    class LeaveOut(Callback):
        def before_batch(self):
            if self.train_iter < 3:
                raise CancelBatchException

    learn = tiny_learner(cbs=LeaveOut)
    learn.lr_find(num_it=20, stop_div=False, show_plot=False)
    assert len(learn.recorder.losses) == 20 - 3


def test_callbacks_may_stay_out_of_the_search():
    seen = []

    class Out(Callback):
        in_lr_find = False

        def after_batch(self):
            seen.append(os.getpid())

    learn = tiny_learner(cbs=Out)
    learn.lr_find(show_plot=False)
    assert seen == []
