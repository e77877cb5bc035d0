"""Callbacks that hand the numbers of a fit to programs that draw them: TensorBoard and W&B.

Neither package is needed by anything else; each is imported when a fit begins.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from mlclassify.callbacks import Callback, import_extra
from mlclassify.checks import check_path
from mlclassify.ranks import current
from mlclassify.types import StrPath


class NumbersCallback(Callback):
    """Base: gathers the numbers of every step and every epoch; a subclass has `write`.

    Of a step: ``train_loss``, smoothed, ``raw_loss`` and the hyper-parameters of each parameter
    group, as ``lr_0``. Of an epoch: the columns of its table that are numbers.

    Attributes
    ----------
    step : int
        Training steps since the callback was made, in all fits.
    """

    order = 70
    in_lr_find = False
    step = 0

    def __call__(self, event: str) -> None:
        if current().rank == 0:  # one log for a group of processes
            super().__call__(event)

    def after_batch(self) -> None:
        learn = self.learn
        if not learn.training or learn.loss is None:
            return
        self.step += 1
        numbers = {"train_loss": learn.recorder.smooth_loss, "raw_loss": float(learn.loss)}
        for i, group in enumerate(learn.opt.hypers):
            numbers.update({f"{name}_{i}": value for name, value in group.items()})
        self.write(numbers)

    def after_epoch(self) -> None:
        recorder = self.learn.recorder
        columns = zip(recorder.metric_names[1:-1], recorder.values[-1])
        self.write({name: float(value) for name, value in columns
                    if name != "train_loss" and value is not None and np.ndim(value) == 0})

    def write(self, numbers: Mapping[str, Any]) -> None:
        """Hand on a dict from names to floats, of step `self.step`."""
        raise NotImplementedError


class TensorBoardCallback(NumbersCallback):
    """Write the numbers of fits for TensorBoard; needs the package ``tensorboardX``.

    Parameters
    ----------
    log_dir : str or Path, optional
        Relative to ``learn.path``; default ``runs``. ``tensorboard --logdir`` takes it.

    Examples
    --------
    ``learn.fine_tune(4, cbs=TensorBoardCallback("runs/first"))``
    """

    _writer: Any = None

    def __init__(self, log_dir: StrPath = "runs") -> None:
        self.log_dir = check_path("TensorBoardCallback", "log_dir", log_dir)

    def before_fit(self) -> None:
        writers = import_extra("tensorboardX", "tensorboardX")
        self._writer = writers.SummaryWriter(str(self.learn.path / self.log_dir))

    def write(self, numbers: Mapping[str, Any]) -> None:
        for name, value in numbers.items():
            self._writer.add_scalar(name, value, self.step)

    def after_fit(self) -> None:
        if self._writer is not None:
            self._writer.close()
            self._writer = None


class WandbCallback(NumbersCallback):
    """Log the numbers of fits to the run of Weights & Biases that ``wandb.init()`` began.

    Examples
    --------
    ``wandb.init(project="bears"); learn.fine_tune(4, cbs=WandbCallback())``
    """

    _run: Any = None

    def before_fit(self) -> None:
        self._run = import_extra("wandb", "wandb").run
        if self._run is None:
            raise ValueError("WandbCallback: a run must have begun before the fit, got none; call "
                             "wandb.init() first")
        learn = self.learn
        self._run.config.update({
            "arch": learn.model.arch.name, "labels": [str(label) for label in learn.dls.vocab],
            "loss_func": repr(learn.loss_func), "bs": learn.dls.train.bs, "seed": learn.seed,
        }, allow_val_change=True)

    def write(self, numbers: Mapping[str, Any]) -> None:
        self._run.log({"epoch": self.learn.epoch, **numbers})
