"""Callbacks that watch a fit: stop early, keep the best model, lower the rate, log and draw.

Those that watch compare a column of the epoch table, by default the validation loss, with the best
so far.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np

from mlclassify.callbacks import Callback, CancelFitException, import_extra
from mlclassify.checks import check_function, check_path, check_whole
from mlclassify.optim import check_hyper
from mlclassify.progress import in_notebook
from mlclassify.ranks import current
from mlclassify.types import StrPath
from mlclassify.wholefile import open_table, table_text, write_file

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from pandas import DataFrame

Comparison: TypeAlias = Callable[[float, float], Any]  # whether the first is better


class TrackerCallback(Callback):
    """Base of those that watch a column of the epoch table.

    Parameters
    ----------
    monitor : str
        Name of the column.
    comp : function, optional
        ``comp(new, best)`` says whether a value is better; default ``numpy.less`` for a loss or an
        error, else ``numpy.greater``.
    min_delta : float
        By how much it must be better.
    reset_on_fit : bool
        Whether each fit starts without a best value.

    Attributes
    ----------
    best : float or None
    new_best : bool
        Whether the last epoch gave it.
    """

    order = 60
    in_lr_find = False

    def __init__(self, monitor: str = "valid_loss", comp: Comparison | None = None,
                 min_delta: float = 0.0, reset_on_fit: bool = True) -> None:
        self.monitor, self.reset_on_fit = str(monitor), reset_on_fit
        self.best: float | None = None
        if comp is None:
            loss = "loss" in self.monitor or "error" in self.monitor
            comp = np.less if loss else np.greater
        self.comp = check_function(self._who(), "comp", comp)
        self.min_delta = check_hyper(min_delta, "min_delta", self._who())

    def _who(self) -> str:
        return type(self).__name__

    def before_fit(self) -> None:
        columns = self.learn.recorder.metric_names[1:-1]
        if self.monitor not in columns:
            raise ValueError(f"{self._who()}: `monitor` must be a column of the epoch table, "
                             f"{', '.join(columns)}, got {self.monitor!r}")
        self._column = columns.index(self.monitor)
        if self.reset_on_fit:
            self.best = None

    def after_epoch(self) -> None:
        value = self.learn.recorder.values[-1][self._column]
        if value is None or np.ndim(value):
            raise ValueError(f"{self._who()}: `monitor` must be a column of numbers, got {value!r} "
                             f"in {self.monitor}")
        needed = value + self.min_delta if self.comp is np.less else value - self.min_delta
        first = self.best is None and not np.isnan(value)
        self.new_best = bool(first or (self.best is not None and self.comp(needed, self.best)))
        if self.new_best:
            self.best = value


class _Patient(TrackerCallback):
    """A tracker that does something after so many epochs without a new best value."""

    def __init__(self, monitor: str, comp: Comparison | None, min_delta: float, patience: int,
                 reset_on_fit: bool) -> None:
        super().__init__(monitor, comp, min_delta, reset_on_fit)
        self.patience = check_whole(self._who(), "patience", patience, at_least=1)

    def before_fit(self) -> None:
        self.wait = 0
        super().before_fit()

    def after_epoch(self) -> None:
        super().after_epoch()
        self.wait = 0 if self.new_best else self.wait + 1
        if self.wait >= self.patience:
            self.out_of_patience()

    def out_of_patience(self) -> None:
        """Do what is to be done after `patience` epochs that got no better."""
        raise NotImplementedError


class EarlyStoppingCallback(_Patient):
    """End a fit that does not get better any more.

    Parameters
    ----------
    monitor, comp, min_delta, reset_on_fit
        As in `TrackerCallback`.
    patience : int
        After how many epochs without a better value.
    """

    order = TrackerCallback.order + 3

    def __init__(self, monitor: str = "valid_loss", comp: Comparison | None = None,
                 min_delta: float = 0.0, patience: int = 1, reset_on_fit: bool = True) -> None:
        super().__init__(monitor, comp, min_delta, patience, reset_on_fit)

    def out_of_patience(self) -> None:
        print(f"No improvement since epoch {self.learn.epoch - self.wait}: early stopping")
        raise CancelFitException


class ReduceLROnPlateau(_Patient):
    """Lower the learning rate of a fit that does not get better any more.

    For `Learner.fit`: the other fits set the rate themselves.

    Parameters
    ----------
    monitor, comp, min_delta, reset_on_fit
        As in `TrackerCallback`.
    patience : int
        After how many epochs without a better value, each time.
    factor : float
        What the rates are divided by.
    min_lr : float
        None goes below this.
    """

    order = TrackerCallback.order + 2

    def __init__(self, monitor: str = "valid_loss", comp: Comparison | None = None,
                 min_delta: float = 0.0, patience: int = 1, factor: float = 10.0,
                 min_lr: float = 0.0, reset_on_fit: bool = True) -> None:
        super().__init__(monitor, comp, min_delta, patience, reset_on_fit)
        self.factor = check_hyper(factor, "factor", self._who())
        self.min_lr = check_hyper(min_lr, "min_lr", self._who())
        if self.factor <= 1:
            raise ValueError(f"{self._who()}: `factor` must be above 1, got {factor!r}")

    def out_of_patience(self) -> None:
        opt, self.wait = self.learn.opt, 0
        before = [group["lr"] for group in opt.hypers]
        opt.set_hypers(lr=[max(lr / self.factor, self.min_lr) for lr in before])
        now = opt.hypers[-1]["lr"]
        if now < before[-1]:
            print(f"Epoch {self.learn.epoch}: reducing lr to {now}")


class SaveModelCallback(TrackerCallback):
    """Keep the best model of a fit in a file, and load it when the fit is over.

    Parameters
    ----------
    monitor, comp, min_delta, reset_on_fit
        As in `TrackerCallback`.
    fname : str
        As in `Learner.save`.
    every_epoch : bool or int
        Save after each epoch, or each so many epochs, as ``fname_0``, ``fname_1`` ...; nothing is
        loaded then.
    at_end : bool
        Save the last model instead of loading the best.
    with_opt : bool
        Whether the optimizer is saved, too, so that training can go on from the file.

    Attributes
    ----------
    last_saved_path : Path or None
        In this fit.
    """

    order = TrackerCallback.order + 1

    def __init__(self, monitor: str = "valid_loss", comp: Comparison | None = None,
                 min_delta: float = 0.0, fname: StrPath = "model",
                 every_epoch: bool | int = False, at_end: bool = False, with_opt: bool = False,
                 reset_on_fit: bool = True) -> None:
        super().__init__(monitor, comp, min_delta, reset_on_fit)
        self.fname = check_path(self._who(), "fname", fname)
        self.every_epoch = every_epoch and check_whole(self._who(), "every_epoch",
                                                       int(every_epoch), at_least=1)
        if every_epoch and at_end:
            raise ValueError(f"{self._who()}: `at_end` must be False with every_epoch, got True")
        self.at_end, self.with_opt = at_end, with_opt
        self.last_saved_path: Path | None = None

    def before_fit(self) -> None:
        super().before_fit()
        self.last_saved_path = None

    def _save(self, name: Path) -> None:
        self.last_saved_path = self.learn.save(name, with_opt=self.with_opt)

    def after_epoch(self) -> None:
        epoch = self.learn.epoch
        if self.every_epoch:
            if epoch % self.every_epoch == 0:
                self._save(self.fname.with_name(f"{self.fname.name}_{epoch}"))
            return
        super().after_epoch()
        if self.new_best:
            print(f"Better model found at epoch {epoch} with {self.monitor} value: {self.best}.")
            self._save(self.fname)

    def after_fit(self) -> None:
        if not self.learn.completed:  # an error: the model stays at its last whole step
            return
        if self.at_end:
            self._save(self.fname)
        elif not self.every_epoch and self.last_saved_path is not None:
            self.learn.load(self.fname, with_opt=self.with_opt)


class CSVLogger(Callback):
    """Write the epoch table to a file, whole after each epoch.

    Parameters
    ----------
    fname : str or Path
        Relative to ``learn.path``.
    append : bool
        Whether to go on in a file that is there, which must have the same columns.
    """

    order = 61
    in_lr_find = False

    def __init__(self, fname: StrPath = "history.csv", append: bool = False) -> None:
        self.fname, self.append = check_path("CSVLogger", "fname", fname), append

    @property
    def path(self) -> Path:
        """Where the file is."""
        return self.learn.path / self.fname

    def before_fit(self) -> None:
        names, self._before = self.learn.recorder.metric_names, ""
        if self.append and self.path.exists():
            with open_table(self.path, "CSVLogger") as file:
                self._before = file.read()
            columns = next(csv.reader(io.StringIO(self._before)), [])
            if columns != names:
                raise ValueError(f"CSVLogger: `fname` must be a table with the columns {names} "
                                 f"where append=True, got {columns} in {str(self.path)!r}")
        else:
            self._before = _csv_line(names)
        self._write()

    def after_epoch(self) -> None:
        self._before += _csv_line(self.learn.recorder.rows[-1])
        self._write()

    def _write(self) -> None:
        with current().one_writes() as mine:
            if mine:
                self.path.parent.mkdir(parents=True, exist_ok=True)
                write_file(self.path, self._before.encode())

    def read_log(self) -> DataFrame:
        """Return the table as a pandas DataFrame."""
        table: DataFrame = import_extra("pandas").read_csv(self.path)
        return table


def _csv_line(cells: Iterable[object]) -> str:
    return table_text([cells])


class ShowGraphCallback(Callback):
    """Draw the losses while they come: in a notebook a picture that grows after each epoch.

    Attributes
    ----------
    ax : matplotlib Axes or None
        The picture of the last fit; there outside of notebooks, too.
    """

    order = 65
    in_lr_find = False
    ax: Axes | None = None

    def before_fit(self) -> None:
        figure = import_extra("matplotlib.figure").Figure(figsize=(6, 4))
        self.ax = figure.add_subplot()
        self._handle: Any = None
        self._ends: list[int] = []

    def after_epoch(self) -> None:
        learn, ax = self.learn, self.ax
        assert ax is not None  # noqa: S101  before_fit has made it
        self._ends.append(len(learn.recorder.losses))
        ax.clear()
        learn.recorder.plot_loss(skip_start=0, ax=ax)
        # As far as the fit will go, so that the curve stands still while it grows.
        left = (learn.n_epoch - 1 - learn.epoch) * len(learn.dls.train)
        ax.set_xlim(0, max(self._ends[-1] + left, 1))
        ax.set_ylim(bottom=0)
        if in_notebook():
            self._show(ax.figure)

    def _show(self, figure: Any) -> None:
        from IPython.display import Image, display

        png = io.BytesIO()
        figure.savefig(png, format="png")
        picture = Image(data=png.getvalue())
        if self._handle is None:
            self._handle = display(picture, display_id=True)
        else:
            self._handle.update(picture)
