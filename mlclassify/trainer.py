"""The loop that trains a model on data, and validates it.

A training step is four lines, each one call of C: forward, loss, backward, step. Everything else
that happens around it is a callback. What a random draw gives depends on the learner's seed, on
how many training epochs it has begun, and on where the photo stands in the epoch.
"""

from __future__ import annotations

import math
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing, contextmanager
from typing import TYPE_CHECKING, Any, Self, TypeAlias, TypeVar

import numpy as np

from mlclassify.arrays import images_to_c
from mlclassify.callbacks import (
    Callback,
    CancelBackwardException,
    CancelBatchException,
    CancelEpochException,
    CancelFitException,
    CancelStepException,
    CancelTrainException,
    CancelValidException,
    Fitting,
    ProgressCallback,
)
from mlclassify.checks import (
    MLClassifyWarning,
    check_whole,
)
from mlclassify.optim import Hyper, check_hyper, spread
from mlclassify.schedule import (
    Functions,
    LRFinder,
    check_search,
    flat_cosine,
    one_cycle,
    suggest,
    valley,
    warm_restarts,
)
from mlclassify.tensor import Tensor, TensorImage, TensorMultiCategory
from mlclassify.together import Alone
from mlclassify.types import AnyArray, Function

if TYPE_CHECKING:
    from mlclassify.data.loader import Batch, DataLoader
    from mlclassify.novelty import Novelty

Cbs: TypeAlias = Callback | type[Callback] | Sequence[Callback | type[Callback]] | None
_Tensor = TypeVar("_Tensor", bound=Tensor)


class Trainer(Fitting):
    """What a `Learner` inherits: callbacks, fits, the search for a learning rate, freezing.

    It has no data of its own: ``dls``, ``model``, ``loss_func``, ``opt`` and the rest are the
    learner's.
    """

    cbs: list[Callback]
    opt_func: Function
    lr: Hyper
    wd: float | None
    train_bn: bool
    moms: Sequence[float]
    epochs_begun: int
    novelty: Novelty | None
    loss: Any
    _progress: ProgressCallback
    _sharing: Alone

    # --- callbacks

    def add_cbs(self, cbs: Cbs) -> None:
        """Add callbacks, objects or classes."""
        for cb in as_list(cbs):
            cb = cb() if isinstance(cb, type) else cb
            if not isinstance(cb, Callback):
                raise TypeError(f"Learner: `cbs` must hold Callback objects, got {cb!r}")
            cb.learn = self
            self.cbs.append(cb)
        self.cbs.sort(key=lambda cb: cb.order)

    add_cb = add_cbs

    def remove_cbs(self, cbs: Cbs) -> None:
        """Take callbacks away again; a class takes all of its objects."""
        for cb in as_list(cbs):
            gone = [own for own in self.cbs
                    if own is cb or (isinstance(cb, type) and isinstance(own, cb))]
            if not gone:
                raise ValueError(f"remove_cbs: `cbs` must be of this learner, got {cb!r}")
            self.cbs = [own for own in self.cbs if not any(own is g for g in gone)]

    remove_cb = remove_cbs

    @contextmanager
    def added_cbs(self, cbs: Cbs) -> Iterator[Self]:
        """Have more callbacks inside a with block."""
        before = list(self.cbs)
        try:
            self.add_cbs(cbs)
            yield self
        finally:
            self.cbs = before

    @contextmanager
    def removed_cbs(self, cbs: Cbs) -> Iterator[Self]:
        """Have fewer callbacks inside a with block."""
        before = list(self.cbs)
        try:
            self.remove_cbs(cbs)
            yield self
        finally:
            self.cbs = before

    def _event(self, name: str) -> None:
        for cb in list(self.cbs):
            cb(name)

    def _with_events(self, part: Callable[[], object], name: str,
                     cancelled: type[Exception]) -> None:
        """Before and after a part of a fit; what a callback cancels ends it there, in order."""
        try:
            self._event(f"before_{name}")
            part()
        except cancelled:
            self._event(f"after_cancel_{name}")
        self._event(f"after_{name}")

    @contextmanager
    def no_bar(self) -> Iterator[Self]:
        """Show no progress bars inside a with block."""
        with _set(self._progress, "bar", False):
            yield self

    @contextmanager
    def no_logging(self) -> Iterator[Self]:
        """Show no epoch table inside a with block."""
        with _set(self._progress, "table", False):
            yield self

    # --- what is trained

    def create_opt(self) -> None:
        """Make a new optimizer, without memory of earlier steps."""
        options = {} if self.wd is None else {"wd": self.wd}
        net = self.model.net
        self.opt = self.opt_func(net, len(self.model.groups), lr=self.lr, **options)
        self.opt.clear_state()

    def freeze_to(self, n: int) -> None:
        """Train the parameter groups from `n` on, and start the optimizer afresh."""
        self.model.freeze_to(n, self.train_bn)
        if self.opt is not None:
            self.opt.clear_state()

    def freeze(self) -> None:
        """Train only the last group, the head."""
        self.freeze_to(-1)

    def unfreeze(self) -> None:
        """Train everything."""
        self.freeze_to(0)

    # --- training

    def fit(self, n_epoch: int, lr: Hyper | None = None, wd: float | None = None,
            cbs: Cbs = None, reset_opt: bool = False, start_epoch: int = 0) -> None:
        """Train for some epochs at a constant learning rate, validating after each.

        Parameters
        ----------
        n_epoch : int
        lr : float or slice, optional
            Default ``learn.lr``; a slice is spread over the parameter groups.
        wd : float, optional
            Weight decay, from now on.
        cbs : Callback or list of them, optional
            For this fit only.
        reset_opt : bool
            Whether to make a new optimizer first.
        start_epoch : int
            Where to go on with a fit that was stopped: this many epochs are left out, as if they
            had been trained; see `load`.

        Raises
        ------
        FloatingPointError
            The loss or a running statistic became NaN or infinite; the model stands at the step
            before. Or the last step of an epoch made a parameter so.
        KeyboardInterrupt
            As it came; the model stands at its last whole step.
        """
        n_epoch = check_whole("fit", "n_epoch", n_epoch, at_least=1)
        if check_whole("fit", "start_epoch", start_epoch, at_least=0) >= n_epoch:
            raise ValueError(f"fit: `start_epoch` must be below n_epoch, {n_epoch}, got "
                             f"{start_epoch!r}")
        self._check_can_train()
        if self.opt is None or reset_opt:
            self.create_opt()
        lrs = self._rates(lr, "lr", "fit")
        self.opt.set_hypers(lr=lrs, **({} if wd is None else {"wd": wd}))
        self._forget_what_was_fitted("fit: training")
        with self.added_cbs(cbs):
            self._fit(n_epoch, start_epoch)

    def _rates(self, lr: Hyper | None, name: str, function: str) -> list[float]:
        return spread(self.lr if lr is None else lr, len(self.model.groups), name, function)

    def fit_one_cycle(self, n_epoch: int, lr_max: Hyper | None = None, div: float = 25.0,
                      div_final: float = 1e5, pct_start: float = 0.25, wd: float | None = None,
                      moms: Sequence[float] | None = None, cbs: Cbs = None,
                      reset_opt: bool = False, start_epoch: int = 0) -> None:
        """Train while the learning rate rises to `lr_max` and falls again, along cosines.

        Parameters
        ----------
        n_epoch : int
        lr_max : float or slice, optional
            Default ``learn.lr``; a slice is spread over the parameter groups.
        div, div_final : float
            The rate starts at ``lr_max / div`` and ends at ``lr_max / div_final``.
        pct_start : float
            Where in the fit the peak stands.
        moms : tuple of 3 floats, optional
            Default ``learn.moms``.
        wd, cbs, reset_opt, start_epoch
            As in `fit`.
        """
        lrs = self._rates(lr_max, "lr_max", "fit_one_cycle")
        schedule = one_cycle(lrs, div, div_final, pct_start,
                             self.moms if moms is None else moms)
        self.fit(n_epoch, lrs, wd, [schedule, *as_list(cbs)], reset_opt, start_epoch)

    def fit_flat_cos(self, n_epoch: int, lr: Hyper | None = None, div_final: float = 1e5,
                     pct_start: float = 0.75, wd: float | None = None, cbs: Cbs = None,
                     reset_opt: bool = False, start_epoch: int = 0) -> None:
        """Train at a constant learning rate that falls along a cosine at the end.

        Parameters
        ----------
        n_epoch : int
        lr : float or slice, optional
            Default ``learn.lr``; a slice is spread over the parameter groups.
        div_final : float
            The rate ends at ``lr / div_final``.
        pct_start : float
            Where in the fit it begins to fall.
        wd, cbs, reset_opt, start_epoch
            As in `fit`.
        """
        lrs = self._rates(lr, "lr", "fit_flat_cos")
        schedule = flat_cosine(lrs, div_final, pct_start)
        self.fit(n_epoch, lrs, wd, [schedule, *as_list(cbs)], reset_opt, start_epoch)

    def fit_sgdr(self, n_cycles: int, cycle_len: int, lr_max: Hyper | None = None,
                 cycle_mult: int = 2, cbs: Cbs = None, reset_opt: bool = False,
                 wd: float | None = None, start_epoch: int = 0) -> None:
        """Train in cycles: the learning rate falls to 0 along a cosine, and starts again.

        Loshchilov and Hutter, "SGDR: stochastic gradient descent with warm restarts", 2017.

        Parameters
        ----------
        n_cycles : int
        cycle_len : int
            Epochs of the first cycle.
        lr_max : float or slice, optional
            Default ``learn.lr``; a slice is spread over the parameter groups.
        cycle_mult : int
            How many times as long each cycle is as the one before.
        cbs, reset_opt, wd, start_epoch
            As in `fit`.
        """
        lrs = self._rates(lr_max, "lr_max", "fit_sgdr")
        n_epoch, schedule = warm_restarts(lrs, n_cycles, cycle_len, cycle_mult)
        self.fit(n_epoch, lrs, wd, [schedule, *as_list(cbs)], reset_opt, start_epoch)

    def lr_find(self, start_lr: Hyper = 1e-7, end_lr: Hyper = 10, num_it: int = 100,
                stop_div: bool = True, show_plot: bool = True,
                suggest_funcs: Functions = valley) -> Any:
        """Look for a learning rate: train while it grows, until the loss explodes; then undo it.

        The model, the optimizer and all that is random stand as before, to the bit, and no file is
        written. ``learn.recorder`` holds the rates and the losses.

        Parameters
        ----------
        start_lr, end_lr : float or slice
            Of the first and (about) the last step.
        num_it : int
            Steps.
        stop_div : bool
            Whether to stop once the smoothed loss is four times its least.
        show_plot : bool
            Whether to draw the losses and the suggestions (`Recorder.plot_lr_find`).
        suggest_funcs : function or list of them, optional
            `valley`, `steep`, `slide`, `minimum`.

        Returns
        -------
        SuggestedLRs
            A named tuple, one rate for each function; None without functions.

        Raises
        ------
        ValueError
            The loss exploded before there was anything to choose from.

        Examples
        --------
        ``learn.fine_tune(4, base_lr=learn.lr_find().valley)``
        """
        start, end, num_it, functions = check_search(start_lr, end_lr, num_it, suggest_funcs,
                                                     len(self.model.groups))
        self._check_can_train()
        kept = [cb for cb in self.cbs if cb.in_lr_find]
        with self._undone(), self.no_logging(), _set(self, "cbs", kept):
            self.add_cbs(LRFinder(start, end, num_it, stop_div))
            self._fit(num_it // len(self.dls.train) + 1)
        found, points = None, list[tuple[str, float, float]]()
        if functions:
            found, points = suggest(functions, self.recorder.lrs, self.recorder.losses, num_it)
        if show_plot:
            self.recorder.plot_lr_find(suggestions=points)
        return found

    @contextmanager
    def _undone(self) -> Iterator[None]:
        """Undo what a with block does to the model, the optimizer and the count of epochs."""
        own_opt, epochs, weights = self.opt, self.epochs_begun, self.model.state_dict()
        if self.opt is None:
            self.create_opt()
        state, opt = self.opt.state_dict(), self.opt
        try:
            yield
        finally:
            self.model.net.load_state_dict(weights)
            opt.load_state_dict(state)
            self.opt, self.epochs_begun = own_opt, epochs

    def fine_tune(self, epochs: int, base_lr: float = 2e-3, freeze_epochs: int = 1,
                  lr_mult: float = 100, pct_start: float = 0.3, div: float = 5.0,
                  **kwargs: Any) -> None:
        """Train the head first, then everything, as fastai's ``fine_tune``.

        A model that was not pretrained has nothing worth keeping still: it is never frozen, and
        all of its groups learn at one rate.

        Parameters
        ----------
        epochs : int
            With everything unfrozen.
        base_lr : float
            Of the head at first; half of it afterwards.
        freeze_epochs : int
            With only the head (and batch norms) training.
        lr_mult : float
            By how much slower the first group learns than the head afterwards.
        pct_start, div
            Of the second stage, as in `fit_one_cycle`.
        **kwargs
            `div_final`, `wd`, `moms` and `cbs` of `fit_one_cycle`, for both stages.
        """
        check_whole("fine_tune", "epochs", epochs, at_least=1)
        check_whole("fine_tune", "freeze_epochs", freeze_epochs, at_least=1)
        if not check_hyper(lr_mult, "lr_mult", "fine_tune"):
            raise ValueError(f"fine_tune: `lr_mult` must be above 0, got {lr_mult}")
        rate = check_hyper(base_lr, "base_lr", "fine_tune")
        first: Hyper = rate
        second: Hyper = rate / 2
        if self.model.pretrained:
            self.freeze()
            first, second = slice(rate), slice(rate / 2 / lr_mult, rate / 2)
        else:
            self.unfreeze()
        self.fit_one_cycle(freeze_epochs, first, pct_start=0.99, **kwargs)
        self.unfreeze()
        self.fit_one_cycle(epochs, second, pct_start=pct_start, div=div, **kwargs)

    def _forget_what_was_fitted(self, what: str) -> None:
        """Forget what was fitted to features and logits of the model as it was."""
        for owner, name, fitted, again in (
            (self, "novelty", "features that `learn.novelty`", "fit_novelty"),
            (self.loss_func, "calibration", "logits that the calibration", "calibrate"),
        ):
            if getattr(owner, name, None) is not None:
                setattr(owner, name, None)
                warnings.warn(
                    f"{what} changes the {fitted} was fitted to, so it is forgotten; call "
                    f"learn.{again}() again",
                    MLClassifyWarning, stacklevel=4,
                )

    def _check_can_train(self) -> None:
        if not callable(getattr(self.loss_func, "value_and_grad", None)):
            raise TypeError(
                "fit: `loss_func` must have value_and_grad(logits, targets), as "
                f"BCEWithLogitsLossFlat has, got {self.loss_func!r}"
            )
        train = self.dls.train
        if not len(train):
            raise ValueError(
                "fit: the training loader must hold at least one batch, got none from "
                f"{train.n} photos with batch size {train.bs}. This DataLoader does not "
                "contain any batches"
            )
        if train.smallest_batch == 1 and self.model.needs_pairs:
            raise ValueError(
                "fit: the training loader must give no batch of one photo, which batch norm cannot "
                f"be trained with, got {train.n} photos with batch size {train.bs}; choose another "
                "bs, or drop_last=True"
            )
        self._sharing.check(self)

    def _fit(self, n_epoch: int, start_epoch: int = 0) -> None:
        self.n_epoch, self.training, self.completed, self.train_iter = n_epoch, True, False, 0
        self._pending = False  # whether there are gradients that the next ones are added to
        try:
            try:
                self._event("before_fit")
                for self.epoch in range(start_epoch, n_epoch):
                    self._with_events(self._epoch, "epoch", CancelEpochException)
            except CancelFitException:
                self._event("after_cancel_fit")
            self._sharing.settle(self.model)
            self.completed = True
        finally:
            self._event("after_fit")

    def _epoch(self) -> None:
        self._key, self.epochs_begun = self.epochs_begun, self.epochs_begun + 1
        self.training, self.n_iter = True, len(self.dls.train)
        self._with_events(self._train_batches, "train", CancelTrainException)
        self._sharing.settle(self.model)
        self._validate(self.dls.valid, trained=True)

    def _train_batches(self) -> None:
        with closing(self._sharing.stream(self.dls.train, self.seed, self._key)) as batches:
            for self.iter, batch in enumerate(batches):
                self._train_batch(batch)

    def _train_batch(self, batch: Batch) -> None:
        self._take(batch)
        self.key = (self.seed, self._key, batch.position)
        try:
            self._event("before_batch")
            self._step()
        except CancelBatchException:
            self._event("after_cancel_batch")
        except BaseException:
            # Batch norms have moved in the forward pass: a step is taken whole or not at all.
            self.model.rollback()
            self._pending = False
            raise
        self.train_iter += 1
        self._event("after_batch")

    def _take(self, batch: Batch) -> None:
        self.x, self.y = view_as(batch.x, TensorImage), _targets(batch)
        self.n_photos, self.loss = batch.n, None

    def _step(self) -> None:
        logits = self.model.forward(images_to_c(self.x), True, *self.key, sum=self._sharing.sum)
        self.pred = view_as(logits, Tensor)
        self._event("after_pred")
        loss, gradient = self.loss_func.value_and_grad(self.pred, self.y)
        self.loss, self.loss_grad = self._sharing.whole_loss(
            self.loss_func, loss, gradient, self.y
        )
        self._event("after_loss")
        self._check_loss()
        fresh = []

        def backward() -> None:
            self._sharing.backward(self.model, self.loss_grad, self._pending)
            self._pending = True
            fresh.append(True)

        def step() -> None:
            self.opt.step()
            self._pending = False

        self._with_events(backward, "backward", CancelBackwardException)
        if fresh:
            self._with_events(step, "step", CancelStepException)
            self._pending = False

    def step_is_finite(self) -> bool:
        """Whether loss and running statistics are: a variance may overflow before the loss does."""
        return math.isfinite(self.loss) and self.model.first_norm_not_finite() is None

    def _check_loss(self) -> None:
        if self.step_is_finite():
            return
        name = self.model.first_not_finite()
        if not np.isfinite(self.x).all():
            cause = "its photos hold NaN or infinity"
        elif name:
            cause = f"the parameter {name} holds NaN or infinity"
        else:
            norm = self.model.first_norm_not_finite()
            where = f", first seen by {norm}" if norm else ""
            cause = f"the activations grew beyond float32{where}; a smaller lr may help"
        got = f"loss must be finite, got {float(self.loss)}"
        if math.isfinite(self.loss):
            got = "running statistics must be finite, got a variance that is not"
        raise FloatingPointError(
            f"fit: the {got} at step {self.iter} of epoch {self.epoch}: {cause}. The model stands "
            "at the step before"
        )

    def _check_parameters(self) -> None:
        """The loss of a step judges the step before it; nothing has judged the last one yet."""
        if name := self.model.first_not_finite():
            raise FloatingPointError(
                f"fit: the parameters must be finite, got NaN or infinity in {name} after step "
                f"{self.iter}, the last of epoch {self.epoch}; a smaller lr may help, and "
                "learn.load brings back what was saved"
            )

    def _validate(self, dl: DataLoader, trained: bool = False) -> None:
        self.training, self.n_iter = False, len(dl)

        def part() -> None:
            if trained:
                self._check_parameters()
            self._validate_batches(dl)

        self._with_events(part, "validate", CancelValidException)

    def _validate_batches(self, dl: DataLoader) -> None:
        with closing(self._sharing.stream(dl, self.seed, 0)) as batches:
            for self.iter, batch in enumerate(batches):
                self._take(batch)
                try:
                    self._event("before_batch")
                    logits, y = self._sharing.predict(self.model, self.x, self.y, batch.n)
                    self.pred, self.y = view_as(logits, Tensor), view_as(y, TensorMultiCategory)
                    self._event("after_pred")
                    self.loss = float(self.loss_func(self.pred, self.y))
                    self._event("after_loss")
                except CancelBatchException:
                    self._event("after_cancel_batch")
                self._event("after_batch")


def view_as(array: AnyArray, kind: type[_Tensor]) -> _Tensor:
    """Return an array as a kind of Tensor, whose own `view` is torch's."""
    return np.ndarray.view(array, kind)


def _targets(batch: Batch) -> TensorMultiCategory:
    if batch.y is None:
        raise ValueError("Learner: `dl` must have labels, got photos without; see with_labels")
    return view_as(batch.y, TensorMultiCategory)


def as_list(x: Any) -> list[Any]:
    """Return x in a list, None as an empty one."""
    if x is None:
        return []
    return list(x) if isinstance(x, (list, tuple)) else [x]


@contextmanager
def _set(owner: object, name: str, value: object) -> Iterator[None]:
    before = getattr(owner, name)
    setattr(owner, name, value)
    try:
        yield
    finally:
        setattr(owner, name, before)
