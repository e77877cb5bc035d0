"""What happens around a training step: records, the epoch table, the bar, schedules.

A callback is handed a learner and has a method for each event; the learner calls them in the
order of `Callback.order`. What stands on the learner at each event:

=================  ====================================================================
before_fit         ``n_epoch``, ``opt``
before_epoch       ``epoch``, from 0 in each fit
before_train       ``training`` is True
before_batch       ``x``, ``y``, ``iter``; the arrays are the loader's and live for one batch
after_pred         ``pred``, the logits
after_loss         ``loss``
after_backward     the gradients: clip or accumulate them here
after_step         parameters have moved
after_batch        (validation has before_batch, after_pred, after_loss and after_batch too)
after_train, before_validate, after_validate, after_epoch, after_fit
=================  ====================================================================

``after_fit`` runs however a fit ends.
"""

import html
import os
import sys
import time
import warnings
import weakref

from mlclassify.checks import check_whole
from mlclassify.metrics import unique_names
from mlclassify.optim import check_hyper, combined_cosine
from mlclassify.plot import new_axes

EVENTS = (
    "before_fit", "before_epoch", "before_train", "before_batch", "after_pred", "after_loss",
    "after_backward", "after_step", "after_batch", "after_train", "before_validate",
    "after_validate", "after_epoch", "after_fit",
)


class CancelFitException(Exception):
    """Raised by a callback to end a fit early and in order."""


class Callback:
    """Base of all callbacks: every event does nothing.

    Attributes
    ----------
    order : int
        Callbacks with a lower one are called first.
    learn : Learner or None
        Set while the callback belongs to a learner; held weakly, so that a learner that is dropped
        gives back its gigabytes at once.
    """

    order = 0
    _learn = None

    @property
    def learn(self):
        return None if self._learn is None else self._learn()

    @learn.setter
    def learn(self, learn):
        self._learn = None if learn is None else weakref.ref(learn)

    def before_fit(self):
        """Before the first epoch."""

    def before_epoch(self):
        """Before an epoch trains."""

    def before_train(self):
        """Before the training batches of an epoch."""

    def before_batch(self):
        """Before a batch is used."""

    def after_pred(self):
        """After the logits of a batch."""

    def after_loss(self):
        """After the loss of a batch."""

    def after_backward(self):
        """After the gradients of a batch."""

    def after_step(self):
        """After the parameters have moved."""

    def after_batch(self):
        """After a batch was used."""

    def after_train(self):
        """After the training batches of an epoch."""

    def before_validate(self):
        """Before the validation batches."""

    def after_validate(self):
        """After the validation batches."""

    def after_epoch(self):
        """After an epoch has trained and validated."""

    def after_fit(self):
        """After the last epoch, an error or an interrupt."""

    def __repr__(self):
        return type(self).__name__


class ParamScheduler(Callback):
    """Set hyper-parameters before every training batch.

    Parameters
    ----------
    schedules : dict of str to list of functions, or to one function
        By name of the hyper-parameter: a function of the position in the fit, 0 to 1, or one
        for each parameter group.
    """

    order = 40

    def __init__(self, schedules):
        if not isinstance(schedules, dict):
            raise TypeError(f"ParamScheduler: `schedules` must be a dict, got {schedules!r}")
        self.schedules = schedules

    def before_batch(self):
        if not self.learn.training:
            return
        position = self.position()
        self.learn.opt.set_hypers(**{
            name: [f(position) for f in s] if isinstance(s, list) else s(position)
            for name, s in self.schedules.items()
        })

    def position(self):
        """Return how much of the fit lies behind, in [0, 1)."""
        learn = self.learn
        n = learn.n_iter
        return (learn.epoch * n + learn.iter) / (learn.n_epoch * n)


def one_cycle(lrs, div, div_final, pct_start, moms):
    """Return the `ParamScheduler` of one cycle.

    Parameters
    ----------
    lrs : list of floats
        The peak of each parameter group.
    div, div_final : float
        The start and the end are the peak divided by these.
    pct_start : float
        Where the peak stands.
    moms : sequence of 3 floats
        Momentum at the start, the peak and the end.
    """
    for name, value in (("div", div), ("div_final", div_final)):
        if not check_hyper(value, name, "fit_one_cycle"):
            raise ValueError(f"fit_one_cycle: `{name}` must be above 0, got {value!r}")
    if not isinstance(moms, (list, tuple)) or len(moms) != 3:
        raise ValueError(f"fit_one_cycle: `moms` must be 3 numbers, got {moms!r}")
    moms = [check_hyper(mom, "moms", "fit_one_cycle") for mom in moms]
    return ParamScheduler({
        "lr": [combined_cosine(pct_start, lr / div, lr, lr / div_final) for lr in lrs],
        "mom": combined_cosine(pct_start, *moms),
    })


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
    lrs, moms : list of float
        Of the last parameter group, at each step.
    iters : list of int
        The number of steps after each epoch.
    row : list
        The last epoch's row of the table, time included.
    """

    order = 50
    beta = 0.98

    def __init__(self):
        self._start()

    def before_fit(self):
        self._start()
        self.metric_names = ["epoch", "train_loss", "valid_loss",
                             *unique_names(self.learn.metrics), "time"]

    def _start(self):
        self.values, self.losses, self.lrs, self.moms, self.iters = [], [], [], [], []
        self._weighted = 0.0

    def before_epoch(self):
        self._started = time.monotonic()
        self.valid_loss = None

    def before_validate(self):
        self.reset()

    def reset(self):
        """Start the sums of a validation pass."""
        self._loss_sum, self._count = 0.0, 0
        for metric in self.learn.metrics:
            metric.reset()

    def after_batch(self):
        if self.learn.training:
            self._after_step()
        else:
            self._after_valid_batch()

    def _after_step(self):
        hypers = self.learn.opt.hypers[-1]
        self.lrs.append(hypers["lr"])
        self.moms.append(hypers["mom"])
        self._weighted = self.beta * self._weighted + (1 - self.beta) * float(self.learn.loss)
        # An average that began at 0 is too small by this factor.
        self.losses.append(self._weighted / (1 - self.beta ** (len(self.losses) + 1)))

    def _after_valid_batch(self):
        n = len(self.learn.y)
        self._loss_sum += float(self.learn.loss) * n
        self._count += n
        for metric in self.learn.metrics:
            metric.accumulate(self.learn)

    def after_validate(self):
        self.valid_loss = self._loss_sum / self._count if self._count else None

    @property
    def smooth_loss(self):
        """The training loss, averaged over the last fifty steps or so; None before the first."""
        return self.losses[-1] if self.losses else None

    def validation_values(self):
        """Return the validation loss and the metrics of the last validation pass."""
        return [self.valid_loss, *(metric.value for metric in self.learn.metrics)]

    def after_epoch(self):
        values = [self.smooth_loss, *self.validation_values()]
        self.values.append(values)
        self.iters.append(len(self.losses))
        seconds = time.monotonic() - self._started
        self.row = [self.learn.epoch, *values, format_time(seconds)]

    def plot_loss(self, skip_start=5, with_valid=True, ax=None):
        """Draw the training loss of every step and the validation loss of every epoch.

        Parameters
        ----------
        skip_start : int
            How many steps at the start to leave out.
        with_valid : bool
        ax : matplotlib Axes, optional

        Returns
        -------
        Axes
        """
        check_whole("plot_loss", "skip_start", skip_start, at_least=0)
        ax = new_axes(ax)
        ax.plot(range(skip_start, len(self.losses)), self.losses[skip_start:], label="train")
        if with_valid:
            shown = [(i, v[1]) for i, v in zip(self.iters, self.values)
                     if i > skip_start and v[1] is not None]
            ax.plot([i for i, _ in shown], [v for _, v in shown], "o-", label="valid")
        ax.set_xlabel("step")
        ax.set_ylabel("loss")
        ax.legend()
        return ax

    def plot_sched(self, axes=None):
        """Draw learning rate and momentum of every step.

        Parameters
        ----------
        axes : sequence of 2 matplotlib Axes, optional

        Returns
        -------
        sequence of 2 Axes
        """
        if axes is None:
            from matplotlib import pyplot

            axes = pyplot.subplots(1, 2, figsize=(10, 4))[1]
        for ax, name, values in zip(axes, ("lr", "mom"), (self.lrs, self.moms)):
            ax.plot(values)
            ax.set_xlabel("step")
            ax.set_ylabel(name)
        return axes


class ProgressCallback(Callback):
    """Show a bar over the batches and the table of epochs.

    Attributes
    ----------
    bar, table : bool
        Whether each is shown. ``MLCLASSIFY_PROGRESS=0`` in the environment hides the bar.
    """

    order = 60
    bar, table = True, True
    _open, _rows = None, None

    def before_fit(self):
        self._rows = EpochTable(self.learn.recorder.metric_names) if self.table else None

    def before_train(self):
        self._start("train", self.learn.n_iter)

    def before_validate(self):
        self._start("valid", self.learn.n_iter)

    def _start(self, what, total):
        self.close()
        self._open = progress_bar(what, total, self.bar)

    def after_batch(self):
        if self._open is None:
            return
        if self.learn.training:
            self._open.set_postfix_str(f"{self.learn.recorder.smooth_loss:.4f}", refresh=False)
        self._open.update()

    def after_train(self):
        self.close()

    def after_validate(self):
        self.close()

    def after_epoch(self):
        if self._rows is not None:
            self._rows.add(self.learn.recorder.row)

    def after_fit(self):
        self.close()
        self._rows = None

    def close(self):
        """Take the bar away, if there is one."""
        if self._open is not None:
            self._open.close()
            self._open = None


def progress_bar(what, total, wanted=True):
    """Return a tqdm bar over batches, or None where none is wanted.

    In a terminal it goes to stderr and is left out where that is no terminal.
    """
    if not wanted or os.environ.get("MLCLASSIFY_PROGRESS") == "0":
        return None
    with warnings.catch_warnings():
        # Without ipywidgets tqdm warns, and then falls back to text as it should.
        warnings.filterwarnings("ignore", message=".*IProgress not found.*")
        from tqdm.auto import tqdm
    return tqdm(total=total, desc=what, leave=False, disable=None)


def format_time(seconds):
    """Return whole seconds as MM:SS, or H:MM:SS from an hour on.

    Examples
    --------
    >>> format_time(7.9), format_time(3661)
    ('00:07', '1:01:01')
    """
    minutes, seconds = divmod(int(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02d}:{seconds:02d}" if hours else f"{minutes:02d}:{seconds:02d}"


def format_cell(value):
    """Return a cell of the table: floats with six decimals, everything else as it prints."""
    try:
        return f"{value:.6f}" if not isinstance(value, (int, str)) else str(value)
    except (TypeError, ValueError):
        return str(value)


def format_row(cells, names):
    """Return a line of text, each cell right-aligned under its name.

    Examples
    --------
    >>> print(format_row(["epoch", "time"], ["epoch", "time"]))
       epoch      time
    >>> print(format_row([0, "00:07"], ["epoch", "time"]))
           0     00:07
    """
    cells = (format_cell(c) for c in cells)
    return "  ".join(cell.rjust(max(len(name), 8)) for cell, name in zip(cells, names))


class EpochTable:
    """The table of a fit: printed line by line, or one HTML table that grows in a notebook.

    Parameters
    ----------
    names : list of str
        The columns.
    """

    def __init__(self, names):
        self.names, self.rows, self._handle = names, [], None
        if in_notebook():
            from IPython.display import display

            self._handle = display(self._bundle(), raw=True, display_id=True)
        else:
            print(format_row(names, names), flush=True)

    def add(self, row):
        """Show another row."""
        self.rows.append(row)
        if self._handle is not None:
            self._handle.update(self._bundle(), raw=True)
        else:
            print(format_row(row, self.names), flush=True)

    def _bundle(self):
        """Return the table as HTML, and as text for where HTML is not shown."""
        lines = [format_row(row, self.names) for row in (self.names, *self.rows)]
        return {"text/html": self.to_html(), "text/plain": "\n".join(lines)}

    def to_html(self):
        """Return the table as HTML; names are escaped, for they may come from anywhere."""
        head = "".join(f"<th>{html.escape(str(n))}</th>" for n in self.names)
        rows = "".join(
            "<tr>" + "".join(f"<td>{html.escape(format_cell(c))}</td>" for c in row) + "</tr>"
            for row in self.rows
        )
        return (f'<table border="1" class="dataframe"><thead><tr style="text-align: left;">{head}'
                f"</tr></thead><tbody>{rows}</tbody></table>")


def in_notebook():
    """Return whether a notebook's kernel runs this, so that HTML is shown."""
    ipython = sys.modules.get("IPython")
    shell = ipython.get_ipython() if ipython else None
    return hasattr(shell, "kernel")
