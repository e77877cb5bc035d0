"""What happens around a training step: the events, records, the epoch table, the bar.

A callback is handed a learner and has a method for each event; the learner calls them in the
order of `Callback.order`. The events are fastai's, in fastai's order. What stands on the learner
at each:

=================  ====================================================================
before_fit         ``n_epoch``, ``opt``
before_epoch       ``epoch``, from 0 in each fit
before_train       ``training`` is True
before_batch       ``x``, ``y``, ``iter``; the arrays are the loader's and live for one batch
after_pred         ``pred``, the logits
after_loss         ``loss``, and in training ``loss_grad``, its gradient at the logits
before_backward    last chance to change ``loss_grad``
after_backward     the gradients of the parameters: ``model.net.gradients()``
before_step        clip them here
after_step         parameters have moved
after_batch        (validation has before_batch, after_pred, after_loss and after_batch too)
=================  ====================================================================

After these come after_train, before_validate, after_validate, after_epoch and after_fit.

``CancelBatchException`` and its kin, raised at an event, skip to the end of a batch, a fit and so
on: ``after_cancel_batch`` is called, then ``after_batch``. Gradients of a batch that was cancelled
between backward and step are kept, and those of the next batch are added. ``after_fit`` runs
however a fit ends; ``learn.completed`` then tells whether an error ended it.
"""

from __future__ import annotations

import time
import weakref
from collections.abc import Iterable, Sequence
from importlib import import_module
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np

from mlclassify import markup
from mlclassify.checks import check_whole
from mlclassify.metrics import Metric, unique_names
from mlclassify.plot import Grid, new_axes, new_grid
from mlclassify.progress import format_time, in_notebook, progress_bar
from mlclassify.types import FigSize, Float32, StrPath

if TYPE_CHECKING:
    from pathlib import Path

    from matplotlib.axes import Axes
    from pandas import DataFrame

    from mlclassify.data.loaders import DataLoaders
    from mlclassify.progress import Bar
    from mlclassify.tensor import Tensor, TensorImage, TensorMultiCategory
    from mlclassify.vision.models import Model

EVENTS = (
    "before_fit", "before_epoch", "before_train", "before_batch", "after_pred", "after_loss",
    "before_backward", "after_cancel_backward", "after_backward", "before_step",
    "after_cancel_step", "after_step", "after_cancel_batch", "after_batch", "after_cancel_train",
    "after_train", "before_validate", "after_cancel_validate", "after_validate",
    "after_cancel_epoch", "after_epoch", "after_cancel_fit", "after_fit",
)
# Those that `Callback.run_train` and `run_valid` switch.
_OF_A_BATCH = frozenset(EVENTS[EVENTS.index("before_batch") : EVENTS.index("after_batch") + 1])


class CancelFitException(Exception):
    """Raised by a callback to end a fit early and in order."""


class CancelEpochException(Exception):
    """Raised by a callback to go on with the next epoch."""


class CancelTrainException(Exception):
    """Raised by a callback to go on with validation."""


class CancelValidException(Exception):
    """Raised by a callback to end the validation of an epoch."""


class CancelBatchException(Exception):
    """Raised by a callback to go on with the next batch; gradients that are there are kept."""


class CancelStepException(Exception):
    """Raised by a callback to throw the gradients of a batch away."""


class CancelBackwardException(Exception):
    """Raised by a callback to leave out the backward pass of a batch, and so its step."""


class Fitting(Protocol):
    """What a callback may use of its learner, and what it may set in the middle of a fit."""

    dls: DataLoaders
    model: Model
    loss_func: Any
    opt: Any  # an Optimizer, or what else `opt_func` gave; None before the first fit
    metrics: list[Metric]
    recorder: Recorder
    path: Path
    seed: int

    n_epoch: int
    epoch: int
    n_iter: int
    iter: int
    train_iter: int
    training: bool
    completed: bool
    key: tuple[int, int, int]
    n_photos: int  # of the step, in all processes

    x: TensorImage
    y: TensorMultiCategory
    pred: Tensor
    loss: Any  # what `loss_func` gave, a number; None before it was asked about a batch
    loss_grad: Float32

    def step_is_finite(self) -> bool: ...

    def save(self, file: StrPath, with_opt: bool = True) -> Path: ...

    def load(self, file: StrPath, with_opt: bool = True) -> Any: ...


class Callback:
    """Base of all callbacks: every event does nothing.

    What a callback does not have itself, it takes from its learner: ``self.epoch`` is
    ``self.learn.epoch``. To set something, name the learner.

    Attributes
    ----------
    order : int
        Callbacks with a lower one are called first.
    run : bool
        False leaves the callback out until the fit ends.
    run_train, run_valid : bool
        Whether the events of training batches and of validation batches reach it.
    in_lr_find : bool
        Whether it takes part in `Learner.lr_find`, whose training is undone.
    learn : Learner or None
        Set while the callback belongs to a learner; held weakly, so that a learner that is dropped
        gives back its gigabytes at once.
    """

    order: int = 0
    run, run_train, run_valid, in_lr_find = True, True, True, True
    _learn: weakref.ref[Fitting] | None = None

    @property
    def learn(self) -> Fitting:
        # At every event there is one; that there may be None is for who asks at other times.
        return None if self._learn is None else self._learn()  # type: ignore[return-value]

    @learn.setter
    def learn(self, learn: Fitting | None) -> None:
        self._learn = None if learn is None else weakref.ref(learn)

    def __getattr__(self, name: str) -> Any:
        # Only what neither the object nor its class has comes here.
        if not name.startswith("_") and self.learn is not None and hasattr(self.learn, name):
            return getattr(self.learn, name)
        raise AttributeError(f"{type(self).__name__} has no attribute {name!r}, nor has its "
                             "learner")

    def __call__(self, event: str) -> None:
        """Call the method of an event, unless it is switched off."""
        wanted = True
        if event in _OF_A_BATCH:
            wanted = self.run_train if self.learn.training else self.run_valid
        if self.run and wanted:
            getattr(self, event)()
        if event == "after_fit":
            self.run = True

    def before_fit(self) -> None:
        """Before the first epoch."""

    def before_epoch(self) -> None:
        """Before an epoch trains."""

    def before_train(self) -> None:
        """Before the training batches of an epoch."""

    def before_batch(self) -> None:
        """Before a batch is used."""

    def after_pred(self) -> None:
        """After the logits of a batch."""

    def after_loss(self) -> None:
        """After the loss of a batch."""

    def before_backward(self) -> None:
        """Before the gradients of a batch."""

    def after_cancel_backward(self) -> None:
        """After a CancelBackwardException."""

    def after_backward(self) -> None:
        """After the gradients of a batch."""

    def before_step(self) -> None:
        """Before the parameters move."""

    def after_cancel_step(self) -> None:
        """After a CancelStepException."""

    def after_step(self) -> None:
        """After the parameters have moved."""

    def after_cancel_batch(self) -> None:
        """After a CancelBatchException."""

    def after_batch(self) -> None:
        """After a batch was used."""

    def after_cancel_train(self) -> None:
        """After a CancelTrainException."""

    def after_train(self) -> None:
        """After the training batches of an epoch."""

    def before_validate(self) -> None:
        """Before the validation batches."""

    def after_cancel_validate(self) -> None:
        """After a CancelValidException."""

    def after_validate(self) -> None:
        """After the validation batches."""

    def after_cancel_epoch(self) -> None:
        """After a CancelEpochException."""

    def after_epoch(self) -> None:
        """After an epoch has trained and validated."""

    def after_cancel_fit(self) -> None:
        """After a CancelFitException."""

    def after_fit(self) -> None:
        """After the last epoch, an error or an interrupt."""

    def __repr__(self) -> str:
        return type(self).__name__


class Recorder(Callback):
    """Keep what a fit shows: losses, metrics and the schedule.

    Attributes
    ----------
    metric_names : list of str
        The columns of the table.
    values : list of lists
        For each epoch train_loss, valid_loss and the metrics.
    losses : list of float
        The smoothed training loss after each step.
    hps : dict of str to list of float
        Every hyper-parameter of the last parameter group, at each batch.
    lrs, moms : list of float
        Two of them.
    iters : list of int
        The number of steps after each epoch.
    rows : list of lists
        The table: `values` with the epoch before and the time behind.
    """

    order = 50
    beta = 0.98

    def __init__(self) -> None:
        self._start()

    def _start(self) -> None:
        self.values: list[list[Any]] = []
        self.rows: list[list[Any]] = []
        self.losses: list[float] = []
        self.iters: list[int] = []
        self.hps: dict[str, list[float]] = {}
        self._weighted = 0.0

    def before_fit(self) -> None:
        self._start()
        self.hps = {name: [] for name in self.learn.opt.hypers[-1]}
        self.metric_names = ["epoch", "train_loss", "valid_loss",
                             *unique_names(self.learn.metrics), "time"]

    def before_epoch(self) -> None:
        self._started = time.monotonic()
        self.valid_loss: float | None = None
        self._loss_sum, self._count = 0.0, 0

    def before_validate(self) -> None:
        self.reset()

    def reset(self) -> None:
        """Start the sums of a validation pass."""
        self._loss_sum, self._count = 0.0, 0
        for metric in self.learn.metrics:
            metric.reset()

    def after_batch(self) -> None:
        if self.learn.training:
            self._after_step()
        else:
            self._after_valid_batch()

    def _after_step(self) -> None:
        if self.learn.loss is None:
            return  # the batch was cancelled before it had one
        for name, value in self.learn.opt.hypers[-1].items():
            self.hps[name].append(value)
        self._weighted = self.beta * self._weighted + (1 - self.beta) * float(self.learn.loss)
        # An average that began at 0 is too small by this factor.
        self.losses.append(self._weighted / (1 - self.beta ** (len(self.losses) + 1)))

    def _after_valid_batch(self) -> None:
        if self.learn.loss is None:
            return
        n = len(self.learn.y)
        self._loss_sum += float(self.learn.loss) * n
        self._count += n
        for metric in self.learn.metrics:
            metric.accumulate(self.learn)

    def after_validate(self) -> None:
        self.valid_loss = self._loss_sum / self._count if self._count else None

    @property
    def smooth_loss(self) -> float | None:
        """The training loss, averaged over the last fifty steps or so; None before the first."""
        return self.losses[-1] if self.losses else None

    def validation_values(self) -> list[Any]:
        """Return the validation loss and the metrics of the last validation pass."""
        seen = self._count > 0  # nothing is, where a callback cancelled the validation
        return [self.valid_loss, *(m.value if seen else None for m in self.learn.metrics)]

    def after_epoch(self) -> None:
        values = [self.smooth_loss, *self.validation_values()]
        self.values.append(values)
        self.iters.append(len(self.losses))
        seconds = time.monotonic() - self._started
        self.rows.append([self.learn.epoch, *values, format_time(seconds)])

    @property
    def lrs(self) -> list[float]:
        return self.hps.get("lr", [])

    @property
    def moms(self) -> list[float]:
        return self.hps.get("mom", [])

    def to_frame(self) -> DataFrame:
        """Return the table of the last fit as a pandas DataFrame, one row for each epoch.

        Examples
        --------
        ``learn.recorder.to_frame().to_csv("run.csv", index=False)``
        """
        pandas = import_extra("pandas")
        table: DataFrame = pandas.DataFrame(self.rows,
                                            columns=getattr(self, "metric_names", None))
        return table

    def _repr_html_(self) -> str | None:
        """The table of the last fit; without one, the text stands."""
        if not self.rows:
            return None
        return markup.table(self.metric_names, [map(format_cell, row) for row in self.rows])

    def plot_loss(self, skip_start: int = 5, with_valid: bool = True, log: bool = False,
                  show_epochs: bool = False, ax: Axes | None = None,
                  figsize: FigSize | None = None) -> Axes:
        """Draw the training loss of every step and the validation loss of every epoch.

        Parameters
        ----------
        skip_start : int
            How many steps at the start to leave out.
        with_valid : bool
        log : bool
            Whether both axes are logarithmic.
        show_epochs : bool
            Whether to mark where an epoch ends.
        ax : matplotlib Axes, optional
        figsize : tuple of 2 floats, optional
            Inches of a new figure.

        Returns
        -------
        Axes
        """
        check_whole("plot_loss", "skip_start", skip_start, at_least=0)
        ax = new_axes(ax, figsize)
        ax.plot(range(skip_start, len(self.losses)), self.losses[skip_start:], label="train")
        if with_valid:
            shown = [(i, v[1]) for i, v in zip(self.iters, self.values)
                     if i > skip_start and v[1] is not None]
            ax.plot([i for i, _ in shown], [v for _, v in shown], "o-", label="valid")
        if show_epochs:
            for i in self.iters:
                ax.axvline(i, color="0.5", linestyle=":")
        if log:
            ax.set_xscale("log")
            ax.set_yscale("log")
        ax.set_xlabel("step")
        ax.set_ylabel("loss")
        ax.legend()
        return ax

    def plot_sched(self, keys: str | Iterable[str] = ("lr", "mom"),
                   figsize: FigSize | None = None,
                   axes: Sequence[Axes] | None = None) -> Sequence[Axes]:
        """Draw hyper-parameters of every step.

        Parameters
        ----------
        keys : str or sequence of str
            Which, of the last parameter group.
        figsize : tuple of 2 floats, optional
            Inches; default 5 by 4 a picture.
        axes : sequence of matplotlib Axes, optional
            One for each key.

        Returns
        -------
        sequence of Axes
        """
        keys = [keys] if isinstance(keys, str) else list(keys)
        unknown = [key for key in keys if key not in self.hps]
        if unknown:
            raise ValueError("plot_sched: `keys` must be hyper-parameters of the last fit, "
                             f"{', '.join(self.hps) or 'of which there was none'}, "
                             f"got {unknown[0]!r}")
        if axes is None:
            from matplotlib import pyplot

            figsize = figsize or (5 * len(keys), 4)
            axes = pyplot.subplots(1, len(keys), figsize=figsize, squeeze=False,
                                   layout="constrained")[1][0]
        for ax, key in zip(axes, keys):
            ax.plot(self.hps[key])
            ax.set_xlabel("step")
            ax.set_ylabel(key)
        return axes

    def plot_metrics(self, nrows: int | None = None, ncols: int | None = None,
                     figsize: FigSize | None = None) -> Grid:
        """Draw the losses of every epoch, and each metric that is a number.

        Parameters
        ----------
        nrows, ncols, figsize
            As in ``plot.show_images``.

        Returns
        -------
        ndarray of Axes

        Raises
        ------
        ValueError
            There was no whole epoch in the last fit.
        """
        if not self.rows:
            raise ValueError("plot_metrics: the last fit must have a whole epoch, got none")
        columns = dict(zip(self.metric_names, zip(*self.rows)))
        shown = [name for name in self.metric_names[3:-1] if np.ndim(columns[name][-1]) == 0]
        axes = new_grid(1 + len(shown), nrows, ncols, figsize, each=(4, 3))
        for name in self.metric_names[1:3]:
            axes.flat[0].plot(*_numbers(columns["epoch"], columns[name]), "o-", label=name)
        axes.flat[0].legend()
        for ax, name in zip(axes.flat[1:], shown):
            ax.plot(*_numbers(columns["epoch"], columns[name]), "o-")
        for ax, name in zip(axes.flat, ["loss", *shown]):
            ax.set(xlabel="epoch", title=name)
            ax.xaxis.get_major_locator().set_params(integer=True)
        return axes

    def plot_lr_find(self, skip_end: int = 5,
                     suggestions: Sequence[tuple[str, float, float]] = (),
                     ax: Axes | None = None, figsize: FigSize | None = None) -> Axes:
        """Draw the loss over the learning rate of `Learner.lr_find`.

        Parameters
        ----------
        skip_end : int
            How many steps at the end to leave out.
        suggestions : sequence of (name, learning rate, loss)
            Points to mark.
        ax : matplotlib Axes, optional
        figsize : tuple of 2 floats, optional
            Inches of a new figure.

        Returns
        -------
        Axes
        """
        shown = len(self.lrs) - check_whole("plot_lr_find", "skip_end", skip_end, at_least=0)
        ax = new_axes(ax, figsize)
        ax.plot(self.lrs[: max(shown, 0)], self.losses[: max(shown, 0)])
        for name, lr, loss in suggestions:
            ax.plot([lr], [loss], "o", label=name)
        ax.set_xlabel("learning rate")
        ax.set_ylabel("loss")
        ax.set_xscale("log")
        if len(suggestions):
            ax.legend()
        return ax


def _numbers(epochs: Iterable[int], values: Iterable[Any]) -> tuple[list[int], list[Any]]:
    """Return epochs and values where there is one: an epoch may be cancelled before it has."""
    there = [(e, v) for e, v in zip(epochs, values) if v is not None]
    return [e for e, _ in there], [v for _, v in there]


class ProgressCallback(Callback):
    """Show a bar over the batches and the table of epochs.

    Attributes
    ----------
    bar, table : bool
        Whether each is shown. ``MLCLASSIFY_PROGRESS=0`` in the environment hides the bar.
    """

    order = 60
    bar, table = True, True
    _open: Bar | None = None
    _rows: EpochTable | None = None

    def before_fit(self) -> None:
        self._rows = EpochTable(self.learn.recorder.metric_names) if self.table else None

    def before_train(self) -> None:
        self._start("train", self.learn.n_iter)

    def before_validate(self) -> None:
        self._start("valid", self.learn.n_iter)

    def _start(self, what: str, total: int) -> None:
        self.close()
        self._open = progress_bar(what, total, self.bar)

    def after_batch(self) -> None:
        if self._open is None:
            return
        if self.learn.training and self.learn.recorder.losses:
            self._open.set_postfix_str(f"{self.learn.recorder.smooth_loss:.4f}", refresh=False)
        self._open.update()

    def after_train(self) -> None:
        self.close()

    def after_validate(self) -> None:
        self.close()

    def after_epoch(self) -> None:
        if self._rows is not None:
            self._rows.add(self.learn.recorder.rows[-1])

    def after_fit(self) -> None:
        self.close()
        self._rows = None

    def close(self) -> None:
        """Take the bar away, if there is one."""
        if self._open is not None:
            self._open.close()
            self._open = None


def import_extra(name: str, brought_by: str = "'mlclassify[notebook]'") -> Any:
    """Import a package that only some need, or say how to install it."""
    try:
        return import_module(name)
    except ModuleNotFoundError as error:
        error.add_note(f"pip install {brought_by} brings it")
        raise


def format_cell(value: Any) -> str:
    """Return a cell of the table: floats with six decimals, everything else as it prints."""
    try:
        return f"{value:.6f}" if not isinstance(value, (int, str)) else str(value)
    except (TypeError, ValueError):
        return str(value)


def format_row(cells: Iterable[Any], names: Iterable[str]) -> str:
    """Return a line of text, each cell right-aligned under its name.

    Examples
    --------
    >>> print(format_row(["epoch", "time"], ["epoch", "time"]))
       epoch      time
    >>> print(format_row([0, "00:07"], ["epoch", "time"]))
           0     00:07
    """
    texts = map(format_cell, cells)
    return "  ".join(text.rjust(max(len(name), 8)) for text, name in zip(texts, names))


class EpochTable:
    """The table of a fit: printed line by line, or one HTML table that grows in a notebook.

    Parameters
    ----------
    names : list of str
        The columns.
    """

    def __init__(self, names: list[str]) -> None:
        self.names = names
        self.rows: list[list[Any]] = []
        self._handle: Any = None
        if in_notebook():
            from IPython.display import display

            self._handle = display(self._bundle(), raw=True, display_id=True)
        else:
            print(format_row(names, names), flush=True)

    def add(self, row: list[Any]) -> None:
        """Show another row."""
        self.rows.append(row)
        if self._handle is not None:
            self._handle.update(self._bundle(), raw=True)
        else:
            print(format_row(row, self.names), flush=True)

    def _bundle(self) -> dict[str, str]:
        """Return the table as HTML, and as text for where HTML is not shown."""
        lines = [format_row(row, self.names) for row in (self.names, *self.rows)]
        return {"text/html": self.to_html(), "text/plain": "\n".join(lines)}

    def to_html(self) -> str:
        """Return the table as HTML; names are escaped, for they may come from anywhere."""
        return markup.table(self.names, [map(format_cell, row) for row in self.rows])
