"""Callbacks that change a training step: mixing, accumulating, clipping; and cancelled steps."""

import numpy as np
import pytest
from tiny import tiny_learner, tiny_loaders

from mlclassify import _core
from mlclassify.callbacks import (
    Callback,
    CancelBackwardException,
    CancelBatchException,
    CancelEpochException,
    CancelFitException,
    CancelStepException,
    CancelTrainException,
    CancelValidException,
)
from mlclassify.losses import BCEWithLogitsLossFlat
from mlclassify.optim import SGD
from mlclassify.rng import MIXUP, KeyedRandom
from mlclassify.steps import (
    CutMix,
    GradientAccumulation,
    GradientClip,
    MixUp,
    TerminateOnNaNCallback,
)


@pytest.fixture(autouse=True)
def quiet(monkeypatch):
    monkeypatch.setenv("MLCLASSIFY_PROGRESS", "0")


class Look(Callback):
    """Keep the batches before and after the other callbacks, and the gradients of each step."""

    order, run_valid = 50, False

    def __init__(self):
        self.x, self.y, self.gradients = [], [], []

    def before_batch(self):
        self.x.append(np.array(self.learn.x))
        self.y.append(np.array(self.learn.y))

    def before_step(self):
        gradients = self.learn.model.net.gradients().values()
        self.gradients.append(np.concatenate([g.ravel() for g in gradients]))


def fit(cbs, n_epoch=1, learner=None, **options):
    learn, look = learner or tiny_learner(40, 8, **options), Look()
    with learn.no_logging():
        learn.fit(n_epoch, 1e-2, cbs=[*cbs, look])
    return learn, look


def state(learn):
    return {name: value.tobytes() for name, value in learn.model.state_dict().items()}


# --- mixing

class Weights(Callback):
    run_valid = False

    def __init__(self, mix):
        self.mix, self.seen = mix, []

    def after_batch(self):
        self.seen.append(np.array(self.mix.lam))


def test_mixup_blends_photos_and_targets():
    mix = MixUp(0.4)
    weights = Weights(mix)
    (_, plain), (_, mixed) = fit([]), fit([mix, weights])
    for x, y, got_x, got_y, lam in zip(plain.x, plain.y, mixed.x, mixed.y, weights.seen):
        assert (lam >= 0.5).all() and (lam <= 1).all() and lam.shape == (8,)
        found = []
        for i in range(8):
            fits = [j for j in range(8)
                    if np.allclose(x[i] * lam[i] + x[j] * (1 - lam[i]), got_x[i], atol=1e-5)]
            assert fits
            found.append(fits[0])
        want = y * lam[:, None] + y[found] * (1 - lam[:, None])
        np.testing.assert_allclose(got_y, want, atol=1e-6)
    assert any(not np.array_equal(a, b) for a, b in zip(plain.y, mixed.y))


def test_cutmix_pastes_a_patch():
    cut = CutMix()
    boxes = []

    class Note(Callback):
        run_valid = False

        def after_batch(self):
            boxes.append((cut.box, cut.lam))

    (_, plain), (_, mixed) = fit([], 3), fit([cut, Note()], 3)
    pasted = 0
    for x, y, got_x, got_y, (box, lam) in zip(plain.x, plain.y, mixed.x, mixed.y, boxes):
        x1, y1, x2, y2 = box
        assert lam == pytest.approx(1 - (x2 - x1) * (y2 - y1) / 256)
        outside = np.ones((16, 16), bool)
        outside[y1:y2, x1:x2] = False
        np.testing.assert_array_equal(got_x[:, :, outside], x[:, :, outside])
        if outside.all():
            continue
        pasted += 1
        patch = x[:, :, y1:y2, x1:x2]
        others = [next(j for j in range(8) if np.array_equal(patch[j], got)) for got in
                  got_x[:, :, y1:y2, x1:x2]]
        assert sorted(others) == list(range(8)) or len(patch[0, 0].ravel()) < 4
        np.testing.assert_allclose(got_y, y * lam + y[others] * (1 - lam), atol=1e-6)
    assert pasted >= 3


@pytest.mark.parametrize("mix", [MixUp, CutMix])
def test_mixing_is_drawn_by_key(mix):
    before, ends = _core.get_num_threads(), []
    global_state = np.random.get_state()[1].tobytes()
    try:
        for threads in (1, 2):
            _core.set_num_threads(threads)
            ends.append(state(fit([mix()], 2)[0]))
    finally:
        _core.set_num_threads(before)
    assert ends[0] == ends[1] != state(fit([], 2)[0])
    assert ends[0] != state(fit([mix(alpha=3.0)], 2)[0])
    assert ends[0] != state(fit([mix()], 2, seed=8)[0])
    assert np.random.get_state()[1].tobytes() == global_state


def test_the_weights_have_their_distribution():
    for alpha in (0.4, 1.0, 3.0):
        draws = np.array([KeyedRandom(1, 0, i, MIXUP).beta(alpha) for i in range(4000)])
        assert 0 <= draws.min() and draws.max() <= 1
        assert draws.mean() == pytest.approx(0.5, abs=0.02)
        assert draws.var() == pytest.approx(1 / (4 * (2 * alpha + 1)), rel=0.06)
    assert {KeyedRandom(1, 0, i, MIXUP).beta(1e-3) > 0.5 for i in range(50)} == {True, False}


def test_validation_is_not_mixed_and_losses_take_what_is_unknown():
    learn, _ = fit([])
    mixed, _ = fit([MixUp()], learner=tiny_learner(40, 8))
    for each in (learn, mixed):
        assert each.recorder.values[-1][1] == pytest.approx(each.validate()[0])
    dls = tiny_loaders(40, 8)
    target = dls.train.dataset.target
    dls.train.dataset.target = lambda i: np.where([i % 2, 0, 0], np.nan, target(i)).astype("f4")
    learn, look = fit([MixUp()], learner=tiny_learner(
        dls=dls, loss_func=BCEWithLogitsLossFlat(missing="mask")))
    assert np.isnan(look.y[0][:, 0]).any() and np.isfinite(look.y[0][:, 1:]).all()


# --- accumulating and clipping

@pytest.mark.parametrize("photos, steps", [(16, 2), (32, 1), (1, 4), (12, 2)])
def test_gradients_are_accumulated(photos, steps):
    taken = []

    class Count(Callback):
        def after_step(self):
            taken.append(self.iter)

    learn, _look = fit([GradientAccumulation(photos), Count()])
    assert len(taken) == steps and len(learn.recorder.losses) == 4


def test_accumulated_gradients_are_those_of_one_batch():
    plain, acc = (tiny_learner(40, bs, opt_func=SGD) for bs in (8, 8))
    # With weights that do not move, the gradients of two batches can be told apart.
    with plain.no_logging(), acc.no_logging():
        one, two = Look(), Look()
        one.order = two.order = 5
        plain.fit(1, 0.0, cbs=one)
        acc.fit(1, 0.0, cbs=[GradientAccumulation(16), two])
    first, both = one.gradients, two.gradients
    np.testing.assert_allclose(both[1], (first[0] + first[1]) / 2, rtol=1e-4, atol=1e-7)
    np.testing.assert_allclose(both[2], first[2] / 2, rtol=1e-4, atol=1e-7)


def test_a_stop_while_accumulating_is_undone():
    class Stop(Callback):
        def after_batch(self):
            if self.training and self.iter == 2:
                raise KeyboardInterrupt

        def before_batch(self):
            if self.training and self.epoch:
                raise KeyboardInterrupt

    learn = tiny_learner(40, 8)
    with learn.no_logging(), pytest.raises(KeyboardInterrupt):
        learn.fit(2, 1e-2, cbs=[GradientAccumulation(16), Stop])
    learn.model.rollback()
    after = state(learn)
    learn.model.rollback()
    assert state(learn) == after


@pytest.mark.parametrize("p", [1.0, 2.0, float("inf")])
def test_gradients_are_clipped(p):
    _, plain = fit([])
    _, clipped = fit([GradientClip(1e-3, p)])
    norm = np.linalg.norm(plain.gradients[0].astype(float), p)
    assert norm > 1e-3
    np.testing.assert_allclose(clipped.gradients[0],
                               plain.gradients[0] * (1e-3 / (norm + 1e-6)), rtol=1e-4, atol=1e-9)
    assert state(fit([GradientClip(1e6)])[0]) == state(fit([])[0])


# --- stopping

def test_a_loss_that_is_not_finite_may_end_the_fit_in_order(capsys):
    class Poison(Callback):
        run_valid = False

        def before_batch(self):
            if self.iter == 1:
                self.learn.x[0, 0, 0, 0] = np.nan

    learn, _ = fit([Poison(), TerminateOnNaNCallback()])
    assert learn.completed and len(learn.recorder.losses) == 1
    assert learn.model.first_not_finite() is None
    assert capsys.readouterr().out == ("The loss is nan at step 1 of epoch 0: training ends\n")


class Cancel(Callback):
    """Raise an error at an event of the second training step, and note what comes after."""

    order = -1

    def __init__(self, event, error):
        self.log, self.event, self.error = [], event, error

    def __call__(self, event):
        self.log.append(event)
        # `iter` is not there before the first batch.
        if event == self.event and getattr(self.learn, "iter", 1) == 1 and self.learn.training:
            self.event = None
            raise self.error


@pytest.mark.parametrize("event, error, then, steps", [
    ("before_batch", CancelBatchException, ["after_cancel_batch", "after_batch"], 3),
    ("before_step", CancelBatchException, ["after_cancel_batch", "after_batch"], 3),
    ("before_step", CancelStepException, ["after_cancel_step", "after_step", "after_batch"], 3),
    ("before_backward", CancelBackwardException,
     ["after_cancel_backward", "after_backward", "after_batch"], 3),
    ("after_loss", CancelTrainException, ["after_cancel_train", "after_train"], 1),
    ("before_batch", CancelEpochException, ["after_cancel_epoch", "after_epoch"], 1),
    ("before_batch", CancelFitException, ["after_cancel_fit", "after_fit"], 1),
])
def test_what_is_cancelled_ends_in_order(event, error, then, steps):
    cancel, stepped = Cancel(event, error), []

    class Count(Callback):
        def after_step(self):
            stepped.append(self.iter)

    learn, _ = fit([cancel, Count()])
    at = len(cancel.log) - cancel.log[::-1].index(then[0]) - 1
    assert cancel.log[at : at + len(then)] == then
    # A step that was cancelled has an after_step, as in fastai.
    assert len(stepped) == steps + (error is CancelStepException)
    assert learn.completed and learn.model.first_not_finite() is None
    with learn.no_logging():
        learn.fit(1)


def test_validation_may_be_cancelled():
    class NoValidation(Callback):
        def before_validate(self):
            raise CancelValidException

    learn, _ = fit([NoValidation()])
    assert learn.recorder.values[0][1] is None


def test_a_callback_may_be_switched_off():
    class Count(Callback):
        seen = 0

        def before_batch(self):
            self.seen += 1

    counts = []
    for options in ({}, {"run_valid": False}, {"run_train": False}, {"run": False}):
        cb = Count()
        for name, value in options.items():
            setattr(cb, name, value)
        fit([cb])
        counts.append(cb.seen)
        assert cb.run
    assert counts == [5, 4, 1, 0]


def test_callbacks_come_and_go_in_with_blocks():
    learn = tiny_learner()
    before = list(learn.cbs)
    with learn.added_cbs(MixUp) as same:
        assert same is learn and len(learn.cbs) == len(before) + 1
        with learn.removed_cbs(MixUp):
            assert learn.cbs == before
        assert len(learn.cbs) == len(before) + 1
    assert learn.cbs == before


def test_a_callback_takes_what_it_lacks_from_its_learner():
    learn = tiny_learner()
    cb = Callback()
    with pytest.raises(AttributeError, match="Callback has no attribute 'dls', nor has its lear"):
        cb.dls
    learn.add_cb(cb)
    assert cb.dls is learn.dls and not hasattr(cb, "no_such_thing")


@pytest.mark.parametrize("make, message", [
    (lambda: MixUp(0), "MixUp: `alpha` must be above 0, got 0"),
    (lambda: CutMix(-1), "CutMix: `alpha` must be finite and not negative, got -1.0"),
    (lambda: GradientAccumulation(0),
     "GradientAccumulation: `n_acc` must be an integer of at least 1, got 0"),
    (lambda: GradientClip(-1.0), "GradientClip: `max_norm` must be finite and not negative, got "
                                 "-1.0"),
    (lambda: GradientClip(1.0, 0), "GradientClip: `norm_type` must be above 0, got 0"),
])
def test_messages(make, message):
    with pytest.raises(ValueError) as caught:
        make()
    assert str(caught.value) == message
