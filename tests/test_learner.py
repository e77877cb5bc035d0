"""The learner on a tiny network: the loop, what it answers, how it stops."""

import gc
import os
import signal
import threading
import weakref

import numpy as np
import pytest
from PIL import Image
from tiny import LABELS, LOSSES, first, photos, second, tiny, tiny_learner, tiny_loaders

from mlclassify import _core
from mlclassify.callbacks import Callback
from mlclassify.data.block import DataBlock, ImageBlock, MultiCategoryBlock
from mlclassify.data.split import EndSplitter
from mlclassify.functional import nn
from mlclassify.learner import Learner
from mlclassify.losses import BCEWithLogitsLossFlat, FocalLossFlat
from mlclassify.metrics import APScoreMulti, accuracy_multi
from mlclassify.optim import Adam
from mlclassify.plot import RIGHT, WRONG
from mlclassify.prediction import Prediction
from mlclassify.rng import set_seed
from mlclassify.tensor import Tensor, TensorMultiCategory
from mlclassify.vision.augment import Normalize, Resize, aug_transforms
from mlclassify.vision.learner import cnn_learner, vision_learner
from mlclassify.vision.models import create_model

pytestmark = pytest.mark.usefixtures("quiet")


@pytest.fixture
def quiet(monkeypatch):
    monkeypatch.setenv("MLCLASSIFY_PROGRESS", "0")


def state(learn):
    return {name: value.tobytes() for name, value in learn.model.state_dict().items()}


# --- training

def test_training_learns(capsys):
    learn = tiny_learner(80, 16, metrics=[accuracy_multi, APScoreMulti()])
    before = learn.validate()
    learn.fit_one_cycle(6, 1e-2)
    after = learn.validate()
    assert after[0] < before[0] * 0.9
    assert learn.recorder.values[-1][1:] == pytest.approx(list(after))
    assert capsys.readouterr().out.count("\n") == 7


def test_same_seed_same_bits():
    one, two, other = (tiny_learner(seed=s) for s in (3, 3, 4))
    for learn in (one, two, other):
        learn.fit(2, 1e-2)
    assert state(one) == state(two)
    assert state(one) != state(other)


def test_a_dropped_learner_is_gone_at_once():
    learn = tiny_learner()
    learn.fit(1, 1e-2)
    learner, model = weakref.ref(learn), weakref.ref(learn.model)
    gc.disable()
    try:
        del learn
        assert learner() is None and model() is None
    finally:
        gc.enable()


def test_threads_change_no_bit():
    before, ends = _core.get_num_threads(), []
    try:
        for n in (1, 2):
            _core.set_num_threads(n)
            learn = tiny_learner()
            learn.fit(1, 1e-2)
            ends.append(state(learn))
    finally:
        _core.set_num_threads(before)
    assert ends[0] == ends[1]


def test_a_step_is_forward_loss_backward_step():
    learn = tiny_learner(10, 8)
    twin = tiny_learner(10, 8)
    learn.fit(1, 1e-2)
    model, opt = twin.model, Adam(twin.model.net, 3, lr=1e-2)
    for batch in twin.dls.train.stream(twin.seed, 0):
        logits = model.forward(batch.x, True, twin.seed, 0, batch.position)
        _, gradient = twin.loss_func.value_and_grad(logits, batch.y)
        model.backward(gradient)
        opt.step()
    assert state(learn) == state(twin)


def test_epochs_are_counted_over_all_fits():
    learn, keys = tiny_learner(), []
    stream = learn.dls.train.stream
    learn.dls.train.stream = lambda seed, epoch: keys.append((seed, epoch)) or stream(seed, epoch)
    learn.fit(2)
    learn.fit_one_cycle(1)
    assert keys == [(7, 0), (7, 1), (7, 2)] and learn.epochs_begun == 3


def test_fine_tune_freezes_a_pretrained_model(shared):
    golden = np.load(shared("golden/schedule.npz"))["fine_tune"]
    learn, seen = tiny_learner(30, 8), []
    learn.model.load_state_dict(learn.model.state_dict())

    class Spy(Callback):
        order = 45

        def before_batch(self):
            if learn.training:
                hypers = [[h[k] for k in ("lr", "mom", "sqr_mom", "eps", "wd")]
                          for h in learn.opt.hypers]
                seen.append((hypers, len(learn.model.trainable)))

    with learn.no_logging():
        learn.fine_tune(4, cbs=Spy())
    assert len(learn.dls.train) == 3
    np.testing.assert_allclose([h for h, _ in seen], golden, rtol=1e-6)
    everything = len(learn.model.parameters())
    assert [n == everything for _, n in seen] == [False] * 3 + [True] * 12


def test_fine_tune_prints_two_tables(capsys):
    learn = tiny_learner(metrics=accuracy_multi)
    learn.fine_tune(2)
    lines = capsys.readouterr().out.splitlines()
    assert [line.split()[0] for line in lines] == ["epoch", "0", "epoch", "0", "1"]
    assert lines[0].split() == ["epoch", "train_loss", "valid_loss", "accuracy_multi", "time"]


def test_fine_tune_never_freezes_what_was_not_pretrained():
    learn, seen = tiny_learner(), []

    class Spy(Callback):
        def before_train(self):
            seen.append(len(learn.model.trainable))

        def before_batch(self):
            assert len({h["lr"] for h in learn.opt.hypers}) == 1

    learn.fine_tune(1, cbs=Spy)
    assert seen == [len(learn.model.parameters())] * 2


def test_frozen_weights_stand_still_and_batch_norms_do_not():
    learn = tiny_learner()
    learn.freeze()
    before = learn.model.state_dict()
    learn.fit(1, 1e-2)
    after = learn.model.state_dict()
    moved = {name for name in before if not np.array_equal(before[name], after[name])}
    assert not any(name.endswith("conv.weight") or name == "conv1.weight" for name in moved)
    assert {"bn1.weight", "layer1.bn.running_mean", "head.fc2.weight"} <= moved


def test_train_bn_false_keeps_frozen_batch_norm_weights():
    learn = tiny_learner(train_bn=False)
    learn.freeze()
    before = learn.model.state_dict()
    learn.fit(1, 1e-2)
    after = learn.model.state_dict()
    assert np.array_equal(before["bn1.weight"], after["bn1.weight"])
    assert not np.array_equal(before["bn1.running_mean"], after["bn1.running_mean"])


def test_weight_decay_leaves_batch_norms_alone():
    for wd_bn_bias in (False, True):
        learn = tiny_learner(wd=1.0, wd_bn_bias=wd_bn_bias, loss_func=Flat())
        learn.model.load_state_dict({k: v + 1 for k, v in learn.model.state_dict().items()})
        before = learn.model.state_dict()
        learn.fit(1, 1e-2)
        after = learn.model.state_dict()
        shrunk = {k for k in before if not k.endswith(("mean", "var"))
                  and not np.array_equal(before[k], after[k])}
        assert {"conv1.weight", "head.fc2.weight"} <= shrunk
        assert ("bn1.weight" in shrunk) == wd_bn_bias


class Flat(BCEWithLogitsLossFlat):
    """A loss without slope, so that only weight decay moves anything."""

    def value_and_grad(self, inp, targ):
        return 1.0, np.zeros(np.shape(inp), np.float32)


def test_freezing_forgets_the_moments():
    one, two = tiny_learner(), tiny_learner()
    for learn in (one, two):
        learn.fit(1, 1e-2)
    one.unfreeze()
    two.create_opt()
    for learn in (one, two):
        learn.fit(1, 1e-2)
    assert state(one) == state(two)


def test_options_of_fit_have_an_effect():
    learn = tiny_learner()
    learn.fit(1, lr=slice(1e-3), wd=0.5)
    assert [h["lr"] for h in learn.opt.hypers] == [1e-4, 1e-4, 1e-3]
    assert learn.opt.hypers[0]["wd"] == 0.5
    old = learn.opt
    learn.fit(1)
    assert learn.opt is old
    learn.fit(1, reset_opt=True)
    assert learn.opt is not old and learn.opt.hypers[0]["wd"] == 0.01
    learn.fit_one_cycle(1, moms=(0.5, 0.4, 0.5))
    assert max(learn.recorder.moms) == 0.5
    other = tiny_learner(lr=0.25, wd=0.125)
    other.create_opt()
    assert (other.opt.hypers[-1]["lr"], other.opt.hypers[-1]["wd"]) == (0.25, 0.125)


def test_no_batch_is_an_error():
    learn = tiny_learner(10, 64, dls=tiny_loaders(10, 64, drop_last=False))
    learn.dls.train.drop_last = True
    with pytest.raises(ValueError, match="at least one batch, got none from 8 photos with batch"):
        learn.fit(1)


# --- stopping

class Raise(Callback):
    """Raise an error once, at an event of a certain step."""

    def __init__(self, event, error, step=2):
        setattr(self, event, lambda: self._maybe(error, step))

    def _maybe(self, error, step):
        if self.learn.training and self.learn.iter == step:
            raise error


@pytest.mark.parametrize("event", ["before_batch", "after_pred", "after_loss", "after_backward"])
def test_an_interrupt_leaves_the_last_whole_step(event):
    learn, twin, ended = tiny_learner(), tiny_learner(), []

    class Ended(Callback):
        def after_fit(self):
            ended.append(self.learn.epoch)

    with pytest.raises(KeyboardInterrupt):
        learn.fit(1, 1e-2, cbs=[Raise(event, KeyboardInterrupt), Ended])
    opt = Adam(twin.model.net, 3, lr=1e-2)
    for step, batch in enumerate(twin.dls.train.stream(twin.seed, 0)):
        if step == 2:
            break
        logits = twin.model.forward(batch.x, True, twin.seed, 0, batch.position)
        twin.model.backward(twin.loss_func.value_and_grad(logits, batch.y)[1])
        opt.step()
    assert state(learn) == state(twin)
    assert ended == [0] and len(learn.recorder.losses) == 2
    learn.fit(1)


def test_an_interrupt_after_the_step_keeps_the_step():
    learn, twin = tiny_learner(), tiny_learner()
    with pytest.raises(KeyboardInterrupt):
        learn.fit(1, 1e-2, cbs=Raise("after_step", KeyboardInterrupt, step=0))
    batch = next(twin.dls.train.stream(twin.seed, 0))
    logits = twin.model.forward(batch.x, True, twin.seed, 0, batch.position)
    twin.model.backward(twin.loss_func.value_and_grad(logits, batch.y)[1])
    Adam(twin.model.net, 3, lr=1e-2).step()
    assert state(learn) == state(twin)


def test_a_rollback_after_a_step_changes_nothing():
    learn = tiny_learner()
    learn.fit(1, 1e-2)
    before = state(learn)
    learn.model.rollback()
    assert state(learn) == before


@pytest.mark.skipif(os.name != "posix", reason="signals of POSIX")
def test_ctrl_c_at_any_time_leaves_a_model_that_works():
    learn = tiny_learner(200, 8)
    for delay in (0.01, 0.03, 0.05):
        timer = threading.Timer(delay, os.kill, (os.getpid(), signal.SIGINT))
        with pytest.raises(KeyboardInterrupt):
            timer.start()
            learn.fit(1000)
        timer.join()
        assert learn.model.first_not_finite() is None
    left = [t for t in threading.enumerate() if t.name.startswith("mlclassify-photo")]
    for thread in left:  # one that was just being started is not waited for, but ends by itself
        thread.join(10)
    assert not any(thread.is_alive() for thread in left)
    learn.fit(1)


def steps_of(learn):
    """Whole steps that the optimizer has taken."""
    return max((step for step, _, _ in learn.model.net.optimizer_state().values()), default=0)


class StopAt(Callback):
    """End a fit as Ctrl-C does, after so many whole steps."""

    def __init__(self, steps):
        self.steps = steps

    def before_batch(self):
        if self.learn.training and self.learn.train_iter == self.steps:
            raise KeyboardInterrupt


@pytest.mark.skipif(os.name != "posix", reason="signals of POSIX")
def test_ctrl_c_at_any_time_leaves_the_bits_of_whole_steps():
    """Wherever it comes, the state is that of a fit that ended after a whole step, which goes on to
    the same bits; no step is half taken, and none is taken that the optimizer does not count."""
    taken = []
    for delay in np.linspace(0.002, 0.06, 12):
        learn, twin = (tiny_learner(200, 8) for _ in range(2))
        timer = threading.Timer(delay, os.kill, (os.getpid(), signal.SIGINT))
        with pytest.raises(KeyboardInterrupt), learn.no_logging():
            timer.start()
            learn.fit(1000, 1e-3)
        timer.join()
        taken.append(steps_of(learn))
        with pytest.raises(KeyboardInterrupt), twin.no_logging():
            twin.fit(1000, 1e-3, cbs=StopAt(taken[-1]))
        assert steps_of(twin) == taken[-1] and state(twin) == state(learn)
        twin.epochs_begun = learn.epochs_begun  # it may have begun an epoch, and not a step of it
        for one in (learn, twin):
            with one.no_logging():
                one.fit(1, 1e-3)
        assert state(twin) == state(learn)
    assert len(set(taken)) > 1


def test_a_loss_that_is_not_finite_stops_training():
    learn = tiny_learner()

    class Poison(Callback):
        def before_batch(self):
            if learn.training and learn.iter == 1:
                learn.x[0, 0, 0, 0] = np.nan

    with pytest.raises(FloatingPointError) as caught:
        learn.fit(1, 1e-2, cbs=Poison)
    text = str(caught.value)
    assert text.startswith("fit: the loss must be finite, got nan at step 1 of epoch 0: its photos")
    assert learn.model.first_not_finite() is None
    assert np.isfinite(learn.model.state_dict()["bn1.running_mean"]).all()


def test_a_parameter_that_is_not_finite_is_named():
    learn = tiny_learner()
    weights = learn.model.state_dict()
    weights["layer1.conv.weight"][0, 0, 0, 0] = np.inf
    learn.model.load_state_dict(weights)
    with pytest.raises(FloatingPointError, match="parameter layer1.conv.weight holds"):
        learn.fit(1)


@pytest.mark.parametrize("layer, named", [("conv1", "bn1"), ("layer1.conv", "layer1.bn")])
def test_the_layer_where_activations_overflow_is_named(layer, named):
    learn = tiny_learner()
    weights = learn.model.state_dict()
    weights[f"{layer}.weight"][:] = 3e38
    learn.model.load_state_dict(weights)
    before = state(learn)
    with pytest.raises(FloatingPointError) as caught:
        learn.fit(1)
    assert str(caught.value) == (
        "fit: the loss must be finite, got nan at step 0 of epoch 0: the activations grew beyond "
        f"float32, first seen by {named}; a smaller lr may help. The model stands at the step "
        "before")
    assert state(learn) == before


def test_nothing_of_an_unreadable_photo_is_trained_on(tmp_path):
    (tmp_path / "broken.jpg").write_bytes(b"\xff\xd8 no photo")
    learn = tiny_learner()
    with pytest.raises(OSError, match="broken.jpg"):
        learn.predict(tmp_path / "broken.jpg")


# --- asking

def test_get_preds_is_the_model_on_the_validation_photos():
    learn = tiny_learner(23, 4)
    preds, targs = learn.get_preds()
    logits = np.concatenate([learn.model(x) for x, _ in learn.dls.valid])
    np.testing.assert_array_equal(preds, learn.loss_func.activation(logits))
    np.testing.assert_array_equal(targs, learn.dls.valid_ds.targets())
    assert isinstance(preds, Tensor) and isinstance(targs, TensorMultiCategory)


def test_get_preds_returns_what_is_asked_for():
    learn = tiny_learner(23, 4, loss_func=BCEWithLogitsLossFlat(thresh=0.6))
    x, preds, targs, decoded, losses = learn.get_preds(
        with_input=True, with_decoded=True, with_loss=True)
    assert x.shape == (4, 3, 16, 16) and decoded.dtype == bool
    np.testing.assert_array_equal(decoded, np.asarray(preds) > np.float32(0.6))
    p, y = np.asarray(preds, float), np.asarray(targs, float)
    want = -(y * np.log(p) + (1 - y) * np.log(1 - p)).mean(axis=1)
    np.testing.assert_allclose(losses, want, rtol=1e-4)
    logits = learn.get_preds(act=lambda x: x)[0]
    np.testing.assert_allclose(1 / (1 + np.exp(-np.asarray(logits, float))), p, rtol=1e-5)


def test_get_preds_of_training_photos_are_in_order_and_complete():
    dls = tiny_loaders(23, 4)
    for t in aug_transforms():
        dls.add_batch_tfm(t)
    learn = tiny_learner(dls=dls)
    preds, targs = learn.get_preds(ds_idx=0)
    np.testing.assert_array_equal(targs, dls.train_ds.targets())
    np.testing.assert_array_equal(preds, learn.get_preds(ds_idx=0)[0])


def test_get_preds_as_a_table(tmp_path):
    learn = tiny_learner(loss_func=BCEWithLogitsLossFlat(thresh=[0.4, 0.5, 0.6]), path=tmp_path)
    files = [tmp_path / "sub" / f"{i}.png" for i in range(5)]
    (tmp_path / "sub").mkdir()
    for file, (image, _) in zip(files, photos(5, seed=3)):
        Image.fromarray(image).save(file)
    frame = learn.get_preds_frame(dl=learn.dls.test_dl(files), label_delim=" + ")
    assert list(frame.index) == [f"sub/{i}.png" for i in range(5)]
    assert list(frame.columns) == [*LABELS, "named"]
    told = learn.predict(files)
    np.testing.assert_allclose(frame[list(LABELS)], [p.probs for p in told], atol=1e-6)
    assert list(frame["named"]) == [" + ".join(p.labels) for p in told]
    assert len(set(frame["named"])) > 1
    own = learn.get_preds_frame(ds_idx=0)
    assert len(own) == learn.dls.train.n and own.index[3] == "item 3"
    np.testing.assert_array_equal(own[list(LABELS)], learn.get_preds(0)[0])


def test_get_preds_without_labels():
    learn = tiny_learner()
    preds, targs = learn.get_preds(dl=learn.dls.test_dl([image for image, _ in photos(5)]))
    assert preds.shape == (5, 3) and targs is None


def test_predict_is_the_validation_path(tmp_path):
    learn = tiny_learner()
    image = learn.dls.valid_ds.items[0][0]
    Image.fromarray(image).save(tmp_path / "a.png")
    path = tmp_path / "a.png"
    want = learn.get_preds()[0][0]
    for item in (path, str(path), Image.open(path), image, path.read_bytes()):
        np.testing.assert_array_equal(learn.predict(item)[2], want)


def test_predict_answers_labels_mask_and_probabilities():
    learn = tiny_learner()
    answer = learn.predict(photos(1)[0][0])
    labels, mask, probs = answer
    assert isinstance(answer, Prediction) and len(answer) == 3
    assert answer.thresh == 0.5 and answer.labels is labels
    np.testing.assert_array_equal(mask, np.asarray(probs) > 0.5)
    assert list(labels) == [v for v, there in zip(LABELS, mask) if there]
    assert mask.dtype == bool and probs.dtype == np.float32


def test_a_new_threshold_decides_at_once():
    learn = tiny_learner()
    image = photos(1)[0][0]
    probs = learn.predict(image)[2]
    learn.loss_func = BCEWithLogitsLossFlat(thresh=np.inf)
    assert repr(learn.predict(image)) == f"([], tensor([False, False, False]), {probs!r})"
    learn.loss_func.thresh = [-np.inf, np.inf, -np.inf]
    answer = learn.predict(image)
    assert list(answer.labels) == ["blue", "red"]
    assert answer.thresh.tolist() == [-np.inf, np.inf, -np.inf]


def test_predict_displays_as_fastais():
    pretty = pytest.importorskip("IPython.lib.pretty").pretty
    learn = tiny_learner(loss_func=BCEWithLogitsLossFlat(thresh=[-np.inf, np.inf, -np.inf]))
    text = pretty(learn.predict(photos(1)[0][0]))
    assert text.startswith("((#2) ['blue','red'],\n tensor([ True, False,  True]),\n tensor([")


def test_each_learner_has_its_own_loss():
    dls = tiny_loaders()
    one, two = tiny_learner(dls=dls), tiny_learner(dls=dls)
    one.loss_func.thresh = 0.9
    assert two.loss_func.thresh == 0.5


def test_a_plain_loss_trains_and_predicts_logits():
    learn = tiny_learner(loss_func=nn.BCEWithLogitsLoss())
    learn.fit(1)
    preds = learn.get_preds()[0]
    np.testing.assert_array_equal(preds, learn.get_preds(act=lambda x: x)[0])


def test_threads_predict_side_by_side():
    learn = tiny_learner()
    images = [image for image, _ in photos(8, seed=3)]
    want, got = [learn.predict(i)[2].tolist() for i in images], [None] * len(images)

    def ask(k):
        got[k] = learn.predict(images[k])[2].tolist()

    threads = [threading.Thread(target=ask, args=(k,)) for k in range(len(images))]
    for t in threads:
        t.start()
    for t in threads:
        t.join()
    assert got == want


def test_validate_on_another_loader():
    learn = tiny_learner(metrics=[accuracy_multi])
    dl = learn.dls.test_dl(learn.dls.valid_ds.items, with_labels=True, bs=3)
    assert list(learn.validate(dl=dl)) == pytest.approx(list(learn.validate()), rel=1e-6)
    assert learn.validate(ds_idx=0)[0] != learn.validate()[0]


def test_show_results():
    learn = tiny_learner(loss_func=BCEWithLogitsLossFlat(thresh=np.inf))
    axes = learn.show_results(max_n=4, shuffle=False, ncols=4)
    assert axes.shape == (1, 4)
    probs = np.asarray(learn.get_preds()[0])
    for k, ax in enumerate(axes.flat):
        there = np.flatnonzero(learn.dls.valid_ds.target(k))
        lines = {f"✗ {LABELS[i]} {probs[k, i]:.2f} ≤ inf, missed" for i in there}
        assert set(ax.get_title().split("\n")) == (lines or {"✓ (none)"})
        assert ax.title.get_color() == (WRONG if lines else RIGHT)
    shown = np.asarray(axes[0, 0].images[0].get_array())
    np.testing.assert_allclose(shown / 255, learn.dls.valid_ds.items[0][0] / 255, atol=0.02)


def test_show_results_of_photos_without_labels():
    learn = tiny_learner()
    images = [image for image, _ in photos(3, seed=3)]
    axes = learn.show_results(dl=learn.dls.test_dl(images), shuffle=False, nrows=1, figsize=(6, 2))
    for image, ax in zip(images, axes.flat):
        told = learn.predict(image)
        lines = [f"{label} {told.probs[LABELS.index(label)]:.2f} > 0.50" for label in told.labels]
        assert ax.get_title() == ("\n".join(lines) or "(none)")
        assert ax.title.get_color() == "black"
    assert axes[0, 0].figure.get_size_inches().tolist() == [6, 2]


def test_other_data_of_the_same_labels():
    learn = tiny_learner(dls=tiny_loaders(normalize=True))
    other = tiny_loaders(seed=5, normalize=False)
    learn.dls = other
    assert [type(t) for t in other.train.batch_tfms] == [Normalize]
    learn.fit(1)


def test_metrics_may_be_changed():
    learn = tiny_learner()
    assert len(learn.validate()) == 1
    learn.metrics = [accuracy_multi, APScoreMulti]
    assert len(learn.validate()) == 3


def test_seed_of_the_learner():
    set_seed(11)
    try:
        assert tiny_learner(seed=None).seed == 11
    finally:
        set_seed(None)
    assert tiny_learner(seed=5).seed == 5
    assert "seed=5" in repr(tiny_learner(seed=5))


def test_repr():
    text = repr(tiny_learner(metrics=accuracy_multi))
    assert text.startswith("Learner(tiny for 3 labels: ")
    for part in ("BCEWithLogitsLoss", "thresh=0.5", "accuracy_multi", "seed=7"):
        assert part in text


# --- losses for imbalance and for missing labels

def test_balanced_weights_come_from_the_training_photos():
    learn = tiny_learner(loss_func=BCEWithLogitsLossFlat(pos_weight="balanced"))
    targets = learn.dls.train.dataset.targets()
    want = (1 - targets).sum(0) / targets.sum(0)
    np.testing.assert_allclose(learn.loss_func.func.pos_weight, want, rtol=1e-6)
    learn.fit(1)
    later = FocalLossFlat(pos_weight="balanced")
    learn.loss_func = later
    np.testing.assert_allclose(later.func.pos_weight, want, rtol=1e-6)


@pytest.mark.parametrize("cls", LOSSES)
def test_training_where_labels_are_missing(cls):
    hidden = np.random.default_rng(3).random((80, 3)) < 0.3
    rows = [np.isin(LABELS, labels).astype(np.float32) for _, labels in photos(80)]
    items = [(x[0], np.where(gap, np.nan, y)) for x, y, gap in zip(photos(80), rows, hidden)]
    blocks = ImageBlock, MultiCategoryBlock(encoded=True, vocab=LABELS, missing=True)
    block = DataBlock(
        blocks, get_x=first, get_y=second, splitter=EndSplitter(), item_tfms=Resize(16)
    )
    learn = tiny_learner(dls=block.dataloaders(items, bs=8), loss_func=cls(missing="mask"))
    with learn.no_logging(), learn.no_bar():
        learn.fit(6, 0.01)
    losses = [row[1] for row in learn.recorder.values]
    assert np.isfinite(losses).all() and losses[-1] < 0.8 * losses[0]
    refused = tiny_learner(dls=learn.dls)
    with pytest.raises(ValueError, match=r"`target` must lie in \[0, 1\], got nan"):
        refused.fit(1)


# --- the factory

def test_vision_learner_from_scratch_is_normalized_and_not_frozen():
    dls = tiny_loaders(normalize=False)
    learn = vision_learner(dls, tiny, pretrained=False, seed=2)
    for dl in (dls.train, dls.valid):
        assert [type(t) for t in dl.batch_tfms] == [Normalize]
    assert len(learn.model.trainable) == len(learn.model.parameters())
    assert not learn.model.pretrained and learn.seed == 2
    vision_learner(dls, tiny, pretrained=False)
    assert len(dls.train.batch_tfms) == 1
    bare = tiny_loaders(normalize=False)
    vision_learner(bare, tiny, pretrained=False, normalize=False)
    assert bare.train.batch_tfms == []


def test_vision_learner_pretrained_is_frozen(tmp_path):
    from mlclassify.weights import write_tensors

    body = create_model(tiny, 5, seed=9).state_dict()
    write_tensors(tmp_path / "tiny.safetensors", body)
    learn = cnn_learner(tiny_loaders(), tiny, weights=tmp_path, seed=2, ps=0.25)
    now = learn.model.state_dict()
    np.testing.assert_array_equal(now["conv1.weight"], body["conv1.weight"])
    assert now["head.fc2.weight"].shape == (3, 512)
    assert learn.model.pretrained and learn.model.ps == 0.25
    assert set(learn.model.trainable) == {
        n for n in now if n.startswith(("head.", "bn1")) or ".bn." in n
    } - set(learn.model.net.buffers())


def test_learners_of_one_seed_start_alike():
    one, two, other = (vision_learner(tiny_loaders(), tiny, pretrained=False, seed=s)
                       for s in (1, 1, 2))
    assert state(one) == state(two) != state(other)


def test_learner_directly():
    dls = tiny_loaders()
    learn = Learner(dls, create_model(tiny, 3), path="somewhere")
    assert str(learn.path) == "somewhere"


# --- the real thing

@pytest.mark.slow
def test_the_bears_of_the_post(shared):
    from functools import partial

    from mlclassify.data.block import DataBlock, ImageBlock, MultiCategoryBlock
    from mlclassify.data.files import parent_label
    from mlclassify.data.lists import L
    from mlclassify.data.split import RandomSplitter
    from mlclassify.data.transforms import Pipeline
    from mlclassify.vision.augment import RandomResizedCrop
    from mlclassify.vision.backbones import resnet18

    bears = shared("bears")
    kinds = ("black", "grizzly", "teddy")
    files = L([f for kind in kinds for f in sorted((bears / kind).iterdir())[:100]])
    block = DataBlock(blocks=(ImageBlock, MultiCategoryBlock), get_items=lambda path: files,
                      splitter=RandomSplitter(valid_pct=0.2, seed=0),
                      get_y=Pipeline([parent_label, lambda label: [label]]),
                      item_tfms=RandomResizedCrop(228, min_scale=0.5), batch_tfms=aug_transforms())
    learn = cnn_learner(block.dataloaders(bears), resnet18, seed=1,
                        weights=shared("weights/resnet18-imagenet.safetensors"),
                        metrics=[partial(accuracy_multi, thresh=0.95), APScoreMulti()])
    learn.fine_tune(4)
    _, valid_loss, accuracy, precision = learn.recorder.values[-1]
    assert valid_loss <= 0.27 and accuracy >= 0.94 and precision >= 0.98
    learn.fit_novelty()
    for kind, at_least in (("maine_coon", 1), ("cats", 0.8), ("other", 0.75)):
        strangers = learn.dls.test_dl(sorted(shared(f"ood/{kind}").iterdir()))
        *_, masks = learn.get_preds(dl=strangers, with_decoded=True)
        assert np.mean(~np.any(masks, axis=1)) >= at_least, kind
