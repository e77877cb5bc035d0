"""The adapters of TensorBoard and W&B, on stand-ins for the packages that record their calls."""

import sys
from types import ModuleType, SimpleNamespace

import numpy as np
import pytest
from tiny import tiny_learner

from mlclassify.callbacks import Callback
from mlclassify.loggers import NumbersCallback, TensorBoardCallback, WandbCallback
from mlclassify.metrics import F1ScoreMulti, accuracy_multi


@pytest.fixture(autouse=True)
def quiet(monkeypatch):
    monkeypatch.setenv("MLCLASSIFY_PROGRESS", "0")


class Writer:
    """Records what a SummaryWriter is told."""

    made = None

    def __init__(self, folder):
        self.folder, self.scalars, self.closed = folder, [], False
        Writer.made.append(self)

    def add_scalar(self, name, value, step):
        assert not self.closed and isinstance(value, float)
        self.scalars.append((name, value, step))

    def close(self):
        self.closed = True

    def named(self, name):
        return [(value, step) for n, value, step in self.scalars if n == name]


@pytest.fixture
def writers(monkeypatch):
    monkeypatch.setitem(sys.modules, "tensorboardX", ModuleType("tensorboardX"))
    sys.modules["tensorboardX"].SummaryWriter = Writer
    Writer.made = []
    return Writer.made


class Raw(Callback):
    """Keeps the losses of the batches."""

    def __init__(self):
        self.seen = []

    def after_batch(self):
        if self.learn.training:
            self.seen.append(float(self.learn.loss))


def learner(tmp_path):
    return tiny_learner(40, 8, metrics=[accuracy_multi, F1ScoreMulti(average=None)], path=tmp_path)


def test_tensorboard_is_told_every_number(tmp_path, writers):
    learn, raw = learner(tmp_path), Raw()
    board = TensorBoardCallback("logs/one")
    with learn.no_logging():
        learn.fit_one_cycle(2, 1e-2, cbs=[board, raw])
    writer, = writers
    assert writer.folder == str(tmp_path / "logs" / "one") and writer.closed
    steps = list(range(1, 9))
    assert writer.named("train_loss") == list(zip(learn.recorder.losses, steps))
    assert writer.named("raw_loss") == list(zip(raw.seen, steps))
    last = len(learn.opt.hypers) - 1
    assert writer.named(f"lr_{last}") == list(zip(learn.recorder.lrs, steps))
    assert writer.named(f"mom_{last}") == list(zip(learn.recorder.moms, steps))
    values = learn.recorder.values
    assert writer.named("valid_loss") == [(values[0][1], 4), (values[1][1], 8)]
    assert writer.named("accuracy_multi") == [(float(values[0][2]), 4), (float(values[1][2]), 8)]
    assert not writer.named("f1_score")  # an array, a number for each label
    with learn.no_logging():
        learn.fit(1, cbs=board)
    assert [step for _, step in writers[1].named("raw_loss")] == [9, 10, 11, 12]


def test_a_fit_that_fails_closes_the_file(tmp_path, writers):
    class Stop(Callback):
        def after_step(self):
            raise RuntimeError("stop")

    learn = learner(tmp_path)
    with learn.no_logging(), pytest.raises(RuntimeError, match="stop"):
        learn.fit(1, cbs=[TensorBoardCallback(), Stop()])
    assert writers[0].closed and writers[0].folder == str(tmp_path / "runs")


def test_a_search_for_a_rate_is_not_logged(tmp_path, writers):
    learn = learner(tmp_path)
    learn.add_cb(TensorBoardCallback())
    learn.lr_find(num_it=20, show_plot=False, suggest_funcs=None)
    assert not writers


@pytest.fixture
def wandb(monkeypatch):
    module = ModuleType("wandb")
    logged, config = [], {}
    module.run = SimpleNamespace(
        log=lambda numbers: logged.append(numbers), logged=logged, told=config,
        config=SimpleNamespace(update=lambda new, allow_val_change: config.update(new)))
    monkeypatch.setitem(sys.modules, "wandb", module)
    return module


def test_wandb_is_told_every_number(tmp_path, wandb):
    learn, raw = learner(tmp_path), Raw()
    with learn.no_logging():
        learn.fit(2, 1e-2, cbs=[WandbCallback(), raw])
    assert wandb.run.told == {
        "arch": "tiny", "labels": ["blue", "green", "red"], "bs": 8, "seed": 7,
        "loss_func": "FlattenedLoss of BCEWithLogitsLoss()"}
    steps = [told for told in wandb.run.logged if "raw_loss" in told]
    epochs = [told for told in wandb.run.logged if "raw_loss" not in told]
    assert [told["raw_loss"] for told in steps] == raw.seen
    assert [told["train_loss"] for told in steps] == learn.recorder.losses
    assert [told["epoch"] for told in steps] == [0] * 4 + [1] * 4
    assert all(told["lr_0"] == 1e-2 for told in steps)
    assert epochs == [{"epoch": i, "valid_loss": values[1], "accuracy_multi": float(values[2])}
                      for i, values in enumerate(learn.recorder.values)]


def test_wandb_needs_a_run(tmp_path, wandb):
    wandb.run = None
    learn = learner(tmp_path)
    before = learn.model.state_dict()
    with pytest.raises(ValueError) as caught:
        learn.fit(1, cbs=WandbCallback())
    assert str(caught.value) == ("WandbCallback: a run must have begun before the fit, got none; "
                                 "call wandb.init() first")
    after = learn.model.state_dict()
    assert all(np.array_equal(before[name], after[name]) for name in before)


@pytest.mark.parametrize("callback, package", [(TensorBoardCallback, "tensorboardX"),
                                               (WandbCallback, "wandb")])
def test_a_package_that_is_not_there_is_named(tmp_path, monkeypatch, callback, package):
    monkeypatch.setitem(sys.modules, package, None)
    with pytest.raises(ModuleNotFoundError) as caught:
        learner(tmp_path).fit(1, cbs=callback())
    assert caught.value.__notes__ == [f"pip install {package} brings it"]


def test_messages():
    with pytest.raises(TypeError) as caught:
        TensorBoardCallback(3)
    assert str(caught.value) == "TensorBoardCallback: `log_dir` must be a path or str, got 3"
    with pytest.raises(NotImplementedError):
        NumbersCallback().write({})
