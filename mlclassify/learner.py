"""The learner: data, a model, a loss and an optimizer; how it is judged, tuned, shown and saved.

How it trains stands in ``trainer.py``, how it answers about photos in ``inference.py``.
"""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, NoReturn, Self, TypeAlias

import numpy as np

from mlclassify import markup
from mlclassify.calibration import (
    Calibration,
    fit_platt,
    fit_temperature,
    plot_reliability,
)
from mlclassify.callbacks import ProgressCallback, Recorder
from mlclassify.checkpoint import Checkpoint, read_checkpoint, write_checkpoint
from mlclassify.checks import (
    MLClassifyWarning,
    check_choice,
    check_function,
    check_has,
    check_path,
    check_whole,
)
from mlclassify.data.batch import pictures
from mlclassify.data.loader import DataLoader
from mlclassify.data.loaders import DataLoaders
from mlclassify.export import Saved, parse_learner, read_learner, write_learner
from mlclassify.inference import Predictor, plain_loader, same
from mlclassify.losses import BCEWithLogitsLossFlat
from mlclassify.metrics import Metric, Report, make_metric, make_report
from mlclassify.metrics.columns import other_thresholds
from mlclassify.novelty import Novelty, fit_novelty, photo_names
from mlclassify.onnx import write_onnx
from mlclassify.optim import Adam, Hyper
from mlclassify.plot import Grid, plot_f1_curves, show_images, verdict_color
from mlclassify.ranks import current
from mlclassify.rng import check_seed, default_seed, fresh_seed
from mlclassify.selection import (
    FoundThresholds,
    Method,
    as_thresh,
    f1_curves,
    find_thresholds,
)
from mlclassify.together import sharing
from mlclassify.trainer import Cbs, as_list
from mlclassify.types import FigSize, Function, StrPath
from mlclassify.verdict import verdict
from mlclassify.vision.augment import add_normalization, normalizations
from mlclassify.vision.models import Model, build_backbone
from mlclassify.weight_names import has_head, named_as, named_as_here
from mlclassify.weights import (
    ModelFileError,
    named_place,
    pretrained_tensors,
    read_tensors,
    write_tensors,
)

if TYPE_CHECKING:
    from matplotlib.axes import Axes

# Each a Metric or a function of (predictions, targets); a list of both is one of objects to mypy.
Metrics: TypeAlias = Metric | Function | Sequence[Any] | None

_LISTED = 20  # labels in a table
_DATA = "be DataLoaders, as DataBlock(...).dataloaders(source) gives"
_MODEL = "be a Model, as create_model(arch, n_out) gives; vision_learner(dls, arch) makes both"


class Summary(str):
    """A text that a notebook shows line by line."""

    __slots__ = ()

    def __repr__(self) -> str:
        return str(self)


class Learner(Predictor):
    """Train a model on data, and ask it about photos.

    Parameters
    ----------
    dls : DataLoaders
    model : Model
    loss_func : loss, optional
        Default a new ``BCEWithLogitsLossFlat``. May be assigned at any time: its `activation` and
        `decodes`, and so its threshold, are looked up when they are needed.
    opt_func : function
        ``opt_func(net, n_groups, lr=...)`` gives the optimizer.
    lr : float or slice
        What `fit` and `fit_one_cycle` use when they are given none.
    cbs : Callback, or list of them
    metrics : function or Metric, or list of them
        Computed on the validation photos after each epoch, from logits.
    path : str or Path, optional
        Folder of relative file names; default that of `dls`.
    model_dir : str or Path
        Folder of `save` and `load`, relative to `path`.
    wd : float, optional
        Weight decay; default the optimizer's own, 0.01.
    wd_bn_bias : bool
        Whether it reaches batch norms and biases too.
    train_bn : bool
        Whether batch norms of frozen groups are trained.
    moms : tuple of 3 floats
        Momentum at the start, the peak and the end of one cycle.
    seed : int, optional
        Default that of `set_seed`, else a fresh one; the repr shows it.

    Attributes
    ----------
    recorder : Recorder
        Losses, metrics and schedule of the last fit.
    epochs_begun : int
        Training epochs since the learner was made, in all fits.
    novelty : Novelty or None
        What `fit_novelty` found; None switches it off. Training does, too.
    """

    def __init__(self, dls: DataLoaders, model: Model, loss_func: Any = None,
                 opt_func: Function = Adam, lr: Hyper = 1e-3, cbs: Cbs = None,
                 metrics: Metrics = None, path: StrPath | None = None,
                 model_dir: StrPath = "models", wd: float | None = None,
                 wd_bn_bias: bool = False, train_bn: bool = True,
                 moms: Sequence[float] = (0.95, 0.85, 0.95), seed: int | None = None) -> None:
        self.model = check_has("Learner", "model", model, _MODEL, "forward", "set_decay")
        self._dls: DataLoaders = check_has("Learner", "dls", dls, _DATA, "train", "valid", "vocab")
        self.loss_func = BCEWithLogitsLossFlat() if loss_func is None else loss_func
        self.opt_func = check_function("Learner", "opt_func", opt_func)
        self.lr, self.wd, self.opt = lr, wd, None
        self.train_bn, self.moms = train_bn, moms
        self.metrics = metrics
        self.path = check_path("Learner", "path", dls.path if path is None else path)
        self.model_dir = check_path("Learner", "model_dir", model_dir)
        self.seed = default_seed() if seed is None else check_seed("Learner", seed)
        self.epochs_begun = 0
        self.novelty: Novelty | None = None
        self.recorder, self._progress, self.cbs = Recorder(), ProgressCallback(), []
        self.add_cbs([self.recorder, self._progress, *as_list(cbs)])
        model.set_decay(wd_bn_bias)
        self.distribute()

    def to_bf16(self) -> Self:
        """Train with activations that are kept as bfloat16: half the memory for a step.

        Weights, optimizer, statistics and all sums stay float32, and so does `predict`. It is kept
        in model files and needs no special machine; one with AVX512-BF16 trains nets of many 1 x 1
        convolutions faster by it, to the same bits.

        Returns
        -------
        Learner
            Itself.

        See Also
        --------
        mlclassify.vision.models.Model.set_bf16 : What is kept.

        Examples
        --------
        ``vision_learner(dls, resnet18).to_bf16().fine_tune(4)``
        """
        self.model.set_bf16(True)
        return self

    def to_fp32(self) -> Self:
        """Keep activations as float32, as a learner does from the beginning.

        Returns
        -------
        Learner
            Itself.
        """
        self.model.set_bf16(False)
        return self

    def to_fp16(self, *args: object, **kwargs: object) -> NoReturn:
        """Refuse: float16 has too few exponents to do without scaling the loss.

        Raises
        ------
        NotImplementedError
            Always; it names `to_bf16`.
        """
        raise NotImplementedError(
            "Learner.to_fp16: float16 is not there; learn.to_bf16() takes as little memory, and "
            "needs no scaling of the loss"
        )

    def distribute(self, sync_bn: bool = True) -> Self:
        """Choose how the processes that `mlclassify launch` started share this learner's training.

        A learner does so by itself, with the default; in a script that runs alone nothing changes.

        Parameters
        ----------
        sync_bn : bool
            Whether batch norms use the statistics of the whole batch: then the losses are those of
            one process, up to rounding, for any number of them. Else each process uses those of its
            part: fewer messages, and what each learns from is noisier.

        Returns
        -------
        Learner
            This one.

        Examples
        --------
        ``learn.distribute(sync_bn=False).fine_tune(4)``
        """
        if not isinstance(sync_bn, (bool, np.bool_)):
            raise ValueError(f"distribute: `sync_bn` must be True or False, got {sync_bn!r}")
        self._sharing = sharing(bool(sync_bn))
        return self

    @property
    def metrics(self) -> list[Metric]:
        """The metrics, as a list of `Metric`."""
        return self._metrics

    @metrics.setter
    def metrics(self, metrics: Metrics) -> None:
        self._metrics = [make_metric(m) for m in as_list(metrics)]

    @property
    def dls(self) -> DataLoaders:
        """The data; other data of the same labels may be assigned, to train or validate on."""
        return self._dls

    @dls.setter
    def dls(self, dls: DataLoaders) -> None:
        check_has("Learner", "dls", dls, _DATA, "train", "valid", "vocab")
        if list(dls.vocab) != list(self._dls.vocab):
            raise ValueError(
                f"Learner: `dls` must have the labels {list(self._dls.vocab)}, "
                f"got {list(dls.vocab)}"
            )
        for transform in normalizations(self._dls):
            add_normalization(dls, transform)
        self._dls = dls

    @property
    def loss_func(self) -> Any:
        """The loss; one with ``pos_weight='balanced'`` is shown the training targets."""
        return self._loss_func

    @loss_func.setter
    def loss_func(self, loss_func: Any) -> None:
        if getattr(loss_func, "balanced", False):
            loss_func.balance(self.dls.train.dataset.targets())
        self._loss_func = loss_func

    def tune_thresholds(self, method: Method = "scut", ds_idx: int = 1,
                        dl: DataLoader | None = None, **options: Any) -> FoundThresholds:
        """Choose a threshold for every label, from photos that were not trained on.

        They are written to ``learn.loss_func.thresh``: `predict`, `show_results` and the decisions
        of `get_preds` go by them from here on, and `export` saves them.

        Parameters
        ----------
        method : str
            As in `find_thresholds`.
        ds_idx, dl
            Of what photos, as in `get_preds`; training photos are too easy to choose by.
        **options
            `folds`, `pooled`, `fbr` and `seed` of `find_thresholds`.

        Returns
        -------
        FoundThresholds
            With F1 before and after, and how far the folds agree; its repr is a table.

        Raises
        ------
        TypeError
            The loss has no threshold.
        ValueError
            The photos have no labels, or as `find_thresholds`.

        Examples
        --------
        ``learn.tune_thresholds(); learn.export("bears.safetensors")``
        """
        loss = self.loss_func
        if not (hasattr(loss, "thresh") and hasattr(loss, "activation")):
            raise TypeError(
                "tune_thresholds: `learn.loss_func` must decide by a threshold on probabilities, "
                f"as BCEWithLogitsLossFlat does, got {loss!r}"
            )
        probs, targets = self._labelled("tune_thresholds", ds_idx, dl)
        found = find_thresholds(probs, targets, method=method, start=loss.thresh,
                                bar=self._progress.bar, **options)
        found.labels = [str(label) for label in self.dls.vocab]
        loss.thresh = as_thresh(probs, found.thresholds)
        return found

    def calibrate(self, method: Literal["temperature", "platt"] = "temperature",
                  ds_idx: int = 1, dl: DataLoader | None = None, **options: Any) -> Calibration:
        """Make probabilities mean what they say: of photos with .8, eight in ten have the label.

        What is fitted is written to ``learn.loss_func.calibration``: from here on `predict`,
        `get_preds` and all that decides go by it, and `export` saves it. It changes no ranking, so
        no average precision, and thresholds stay the numbers that they are: those that were chosen
        for each label are best chosen again. Training forgets it.

        Parameters
        ----------
        method : "temperature" or "platt"
            One number for all labels (`fit_temperature`), or two for each (`fit_platt`).
        ds_idx, dl
            Of what photos, as in `get_preds`; not those that were trained on.
        **options
            `per_label` of `fit_temperature`.

        Returns
        -------
        Calibration

        Raises
        ------
        TypeError
            The loss makes no probabilities of logits, or takes no calibration.
        ValueError
            The photos have no labels, or as `fit_temperature`.

        Examples
        --------
        ``learn.calibrate(); learn.tune_thresholds(); learn.plot_reliability()``
        """
        loss = self.loss_func
        if not hasattr(loss, "calibration"):
            raise TypeError("calibrate: `learn.loss_func` must be a loss on logits, as "
                            f"BCEWithLogitsLossFlat is, got {loss!r}")
        check_choice("calibrate", "method", method, ("temperature", "platt"))
        logits, targets = self._labelled("calibrate", ds_idx, dl, act=same)
        fit = fit_platt if method == "platt" else fit_temperature
        loss.calibration = found = fit(logits, targets, **options)
        if np.ndim(loss.thresh):
            warnings.warn(
                "calibrate: the thresholds of `learn.loss_func` were chosen for other "
                "probabilities; call learn.tune_thresholds() again",
                MLClassifyWarning, stacklevel=2,
            )
        return found

    def plot_reliability(self, ds_idx: int = 1, dl: DataLoader | None = None,
                         **options: Any) -> Axes:
        """Draw what share of the photos has a label over how probable it was said to be.

        Parameters
        ----------
        ds_idx, dl
            Of what photos, as in `get_preds`.
        **options
            `n_bins`, `strategy`, `ax` and `figsize` of `calibration.plot_reliability`.

        Returns
        -------
        Axes
        """
        return plot_reliability(*self._labelled("plot_reliability", ds_idx, dl), **options)

    def _labelled(
        self, fn: str, ds_idx: int, dl: DataLoader | None, **options: Any
    ) -> tuple[Any, ...]:
        """Return what `get_preds` does, refusing photos without labels."""
        answer = self.get_preds(ds_idx, dl, **options)
        if answer[1] is None:
            raise ValueError(f"{fn}: `dl` must have labels, got photos without")
        return answer

    def report(self, ds_idx: int = 1, dl: DataLoader | None = None) -> Report:
        """Judge every label: precision, recall, F1, average precision, support and threshold.

        The line of the accuracy says what a model that never names anything would get: with many
        labels and few of them on a photo that is much. Metrics of the epoch table that decide by
        another threshold than `predict` are named below it.

        Parameters
        ----------
        ds_idx, dl
            On what photos, as in `get_preds`.

        Returns
        -------
        Report
            Its repr is a table; its attributes are arrays.
        """
        probs, targets, masks = self._labelled("report", ds_idx, dl, with_decoded=True)
        thresh = getattr(self.loss_func, "thresh", np.nan)
        return make_report(probs, targets, masks, thresh, list(self.dls.vocab),
                           other_thresholds(self.metrics, thresh))

    def plot_thresholds(self, ds_idx: int = 1, dl: DataLoader | None = None,
                        ax: Axes | None = None, figsize: FigSize | None = None) -> Axes:
        """Draw F1 of every label over the threshold, and where the label's own threshold is.

        Parameters
        ----------
        ds_idx, dl
            On what photos, as in `get_preds`.
        ax : matplotlib Axes, optional
        figsize : tuple of 2 floats, optional
            Inches of a new figure.

        Returns
        -------
        Axes
        """
        probs, targets = self._labelled("plot_thresholds", ds_idx, dl)
        thresholds = np.linspace(0, 1, 201)
        labels = list(self.dls.vocab)
        chosen = np.broadcast_to(getattr(self.loss_func, "thresh", np.nan), len(labels))
        curves = f1_curves(probs, targets, thresholds)
        return plot_f1_curves(thresholds, curves, labels, chosen, ax, figsize)

    def fit_novelty(
        self,
        lost: float = 0.05,
        k: int = 5,
        pretrained: bool | None = None,
        weights: StrPath | None = None,
    ) -> Novelty:
        """Learn what the training photos look like, so that `predict` can say that it knows none.

        From here on `predict`, `show_results` and the decisions of `get_preds` give no label to a
        photo that is further from all training photos than known ones are: by the mean cosine of
        its body features to the `k` nearest of theirs. The features are kept with the model, and
        exported.

        Training makes the body blind to what does not tell its labels apart, so the body as it was
        before is asked as well: a second one, which takes as much time in each prediction and as
        much room in the file.

        Parameters
        ----------
        lost : float
            In (0, 1): the share of known photos that may be taken for novel, for the sake of those
            that are. It is a promise for new photos of the kind of the validation photos, on
            average over draws of photos; `mlclassify.novelty.choose_cut` says how it is kept.
        k : int
            How many neighbours count.
        pretrained : bool, optional
            Whether the body before training is asked, too; default where the model began with
            pretrained weights.
        weights : str or Path, optional
            The weights of that body, as in `vision_learner`; default those it began with.

        Returns
        -------
        Novelty
            Also ``learn.novelty``.

        Raises
        ------
        ValueError
            There are no validation photos, no more than `k` training photos, or `lost` is out of
            range or below what so few photos can tell.
        FileNotFoundError
            The weights are not where they were; the message says the ways out.

        Examples
        --------
        ``learn.fit_novelty(); learn.predict("cat.jpg").novelty > learn.novelty.cut``
        """
        backbone = self._untrained_backbone(pretrained, weights)
        dataset = self.dls.train.dataset
        known, held_out = (self._features(self.loader(i, None), backbone) for i in (0, 1))
        names = photo_names(map(dataset.source, range(len(dataset))), self.path)
        self.novelty = fit_novelty(known, names, held_out, lost, k, backbone)
        return self.novelty

    def _untrained_backbone(
        self, pretrained: bool | None, weights: StrPath | None
    ) -> Model | None:
        """Return the body of the model with the weights it began with, or None."""
        if weights is not None and pretrained is False:
            raise ValueError(
                f"fit_novelty: `weights` must be None with pretrained=False, got {weights!r}"
            )
        weights = self.model.weights_file if weights is None else weights
        if pretrained is None:
            pretrained = weights is not None
        if not pretrained:
            return None
        arch = self.model.arch
        tensors, source = pretrained_tensors(arch.name, weights, "fit_novelty", arch.library)
        backbone = build_backbone(arch, self.model.exact)
        backbone.load_body(tensors, str(source))
        return backbone

    def show_results(self, ds_idx: int = 1, dl: DataLoader | None = None, max_n: int = 9,
                     shuffle: bool = True, nrows: int | None = None, ncols: int | None = None,
                     figsize: FigSize | None = None) -> Grid:
        """Draw photos under what was decided: a tick or a cross for each label that is there or
        was named, with its probability and the threshold.

        Parameters
        ----------
        ds_idx, dl
            As in `get_preds`.
        max_n : int
            How many photos.
        shuffle : bool
            Whether to choose them at random instead of from the start.
        nrows, ncols, figsize
            As in ``plot.show_images``.

        Returns
        -------
        ndarray of Axes
        """
        dl, max_n = self.loader(ds_idx, dl), check_whole("show_results", "max_n", max_n, 1)
        order = np.arange(dl.n)
        if shuffle:
            order = np.random.default_rng(fresh_seed()).permutation(order)
        items = [dl.dataset.items[int(i)] for i in order[:max_n]]
        few = plain_loader(dl, dl.dataset.new(items, dl.has_labels))
        with self.no_bar():
            x, probs, targets, masks = self.get_preds(dl=few, with_input=True, with_decoded=True)
        targets = [None] * len(x) if targets is None else targets
        decided = [self.decisions(*row) for row in zip(targets, masks, probs)]
        colors = [verdict_color(row, dl.has_labels) for row in decided]
        titles = [verdict(row) for row in decided]
        return show_images(pictures(few.batch_tfms, x), titles, colors, nrows, ncols, figsize)

    def summary(self) -> Summary:
        """Describe the model: every layer with the shape of its output and what it learns.

        Returns
        -------
        Summary
            A str that prints as the table it is.
        """
        dl = self.loader(1 if self.dls.valid.n else 0, None)
        one_photo = plain_loader(dl, dl.dataset.new(dl.dataset.items[:1], False))
        with closing(one_photo.stream(0, 0)) as one:
            h, w = next(one).x.shape[2:]
        model, trained = self.model, set(self.model.trainable)
        lines = [f"{model.arch.name} (input {self.dls.train.bs} x 3 x {h} x {w})",
                 f"{'layer':<28} {'kind':<12} {'output':<18} {'parameters':>12}  trained"]
        for name, kind, shape in model.net.shapes(1, h, w):
            own = {n: v.size for n, v in model.parameters().items() if n.rpartition(".")[0] == name}
            told = f"{sum(own.values()):>12,}  {'yes' if trained & set(own) else 'no'}"
            lines.append(f"{name or '-':<28} {kind:<12} {' x '.join(map(str, shape)):<18} "
                         f"{told if own else ''}".rstrip())
        sizes = {name: value.size for name, value in model.parameters().items()}
        moving = sum(sizes[name] for name in trained)
        total = sum(sizes.values())
        opt = repr(self.opt) if self.opt else getattr(self.opt_func, "__name__", self.opt_func)
        kept = ["activations in training: bfloat16"] if model.bf16 else []
        lines += ["", f"parameters: {total:,}, of them trained: {moving:,}, frozen: "
                  f"{total - moving:,}", f"optimizer: {opt}", f"loss: {self.loss_func!r}",
                  *kept, "callbacks: " + ", ".join(map(repr, self.cbs))]
        return Summary("\n".join(lines))

    # --- files

    def save(self, file: StrPath, with_opt: bool = True) -> Path:
        """Save the weights, and what training needs to go on: a safetensors file.

        Parameters
        ----------
        file : str or Path
            Its name, without suffix, relative to ``learn.path / learn.model_dir``.
        with_opt : bool
            Whether to save the optimizer, what is frozen, the seed and the count of epochs, too.

        Returns
        -------
        Path

        Examples
        --------
        ``learn.save("before")``; later ``learn.load("before")``
        """
        path = self._model_file(file, "save")
        optimizer = None
        if with_opt and self.opt is not None:
            optimizer = {
                **self.opt.state_dict(), "name": type(self.opt).__name__,
                "trainable": list(self.model.trainable), "seed": self.seed,
                "epochs_begun": self.epochs_begun,
            }
        with current().one_writes() as mine:
            if mine:
                write_checkpoint(path, self.model.state_dict(), self._labels(), optimizer)
        return path

    def load(self, file: StrPath, with_opt: bool = True) -> Self:
        """Load what `save` saved, all of it or nothing.

        A fit that was stopped goes on to the bit: ``SaveModelCallback(every_epoch=True,
        with_opt=True)`` while it runs; then, in a new learner, ``learn.load("model_2");
        learn.fit_one_cycle(10, start_epoch=3)``.

        Parameters
        ----------
        file : str or Path
            As in `save`.
        with_opt : bool
            Whether to load the optimizer and the rest of training, too.

        Returns
        -------
        Learner
            This one.

        Raises
        ------
        FileNotFoundError
        ModelFileError
            The file is damaged, foreign, or of another model, optimizer or set of labels.
        """
        path = self._model_file(file, "load")
        saved = read_checkpoint(path)
        if saved.vocab != self._labels():
            raise ModelFileError(f"load: {str(path)!r} must have the labels {self._labels()}, got "
                                 f"{saved.vocab}")
        if with_opt and saved.optimizer is None:
            warnings.warn(f"load: {str(path)!r} was saved without an optimizer; training starts "
                          "afresh from its weights", MLClassifyWarning, stacklevel=2)
        try:
            self._restore(saved, with_opt and saved.optimizer is not None)
        except (KeyError, TypeError, ValueError) as error:
            raise ModelFileError(f"load: {str(path)!r} must fit this learner: {error}") from error
        self._forget_what_was_fitted("load: another set of weights")
        return self

    def _restore(self, saved: Checkpoint, with_opt: bool) -> None:
        """Write a checkpoint into the learner; on an error nothing has changed."""
        before, own_opt = self.model.state_dict(), self.opt
        pretrained, trainable = self.model.pretrained, self.model.trainable
        self.model.load_state_dict(saved.weights)
        training = saved.optimizer
        if not with_opt or training is None:
            return
        try:
            if own_opt is None:
                self.create_opt()
            if training["name"] != type(self.opt).__name__:
                raise ValueError(f"its optimizer must be {type(self.opt).__name__}, got "
                                 f"{training['name']}")
            self.model.set_trainable(training["trainable"])
            self.opt.load_state_dict(training)
        except BaseException:
            self.model.net.load_state_dict(before)
            self.model.set_trainable(trainable)
            self.model.pretrained, self.opt = pretrained, own_opt
            raise
        self.seed, self.epochs_begun = training["seed"], training["epochs_begun"]

    def _model_file(self, file: StrPath, function: str) -> Path:
        path = self.path / self.model_dir / check_path(function, "file", file)
        return path.with_name(f"{path.name}.safetensors")

    def export(self, fname: StrPath = "export.safetensors") -> Path:
        """Save what predicting needs, in one file that runs no code when it is loaded.

        Weights, labels, thresholds, calibration and the rest of the loss, transforms with the
        normalization,
        what `fit_novelty` found, and the seed; not the data, the metrics and the optimizer.

        Parameters
        ----------
        fname : str or Path
            Relative to ``learn.path``; must end in ``.safetensors``.

        Returns
        -------
        Path
        """
        path = self.path / check_path("export", "fname", fname)
        with current().one_writes() as mine:
            if mine:
                write_learner(self, path)
        return path

    def export_weights(self, fname: StrPath = "weights.safetensors",
                       names: str | None = None) -> Path:
        """Save the weights alone, under the names that other libraries have for them.

        Parameters
        ----------
        fname : str or Path
            Relative to ``learn.path``; must end in ``.safetensors``.
        names : {'torchvision', 'timm', 'fastai'}, optional
            The first two name the backbone, and the head is left out; fastai names the whole model
            of its ``vision_learner``. None: torchvision's of a ResNet, timm's of other backbones,
            which torchvision calls otherwise.

        Returns
        -------
        Path

        Examples
        --------
        ``learn.export_weights("body.safetensors", "timm")``; then, with timm,
        ``timm.create_model("resnet18", num_classes=0, checkpoint_path="body.safetensors")``. timm's
        ConvNeXt has a last norm in its head, which no body holds: there, ``load_state_dict(...,
        strict=False)``, which leaves it as it is.
        """
        path = self.path / check_path("export_weights", "fname", fname)
        tensors = named_as(self.model.state_dict(), names, "export_weights")
        with named_place("export_weights", path, ".safetensors"):
            write_tensors(path, tensors, {"format": "pt"})
        return path

    def load_weights(self, fname: StrPath) -> Self:
        """Load weights that another library trained, all of them or none.

        Parameters
        ----------
        fname : str or Path
            A safetensors file, relative to ``learn.path``, with the names of `export_weights`. One
            of fastai, ``safetensors.torch.save_file(learn.model.state_dict(), fname)`` there, holds
            a head, too: its labels must come in the order of ``learn.dls.vocab``, which no file of
            weights says. From a file without a head the backbone is loaded, and the head stays.

        Returns
        -------
        Learner
            This one.

        Raises
        ------
        FileNotFoundError
        ModelFileError
            The file is damaged, or of another model or number of labels.
        """
        path = self.path / check_path("load_weights", "fname", fname)
        tensors = named_as_here(read_tensors(path, "load_weights")[0])
        if has_head(tensors):
            try:
                self.model.load_state_dict(tensors)
            except (TypeError, ValueError) as error:
                raise ModelFileError(
                    f"load_weights: {str(path)!r} must fit this learner: {error}"
                ) from error
        else:
            self.model.load_body(tensors, repr(str(path)))
        self._forget_what_was_fitted("load_weights: another set of weights")
        return self

    def export_onnx(self, fname: StrPath = "export.onnx") -> Path:
        """Save the learner for other runtimes: an ONNX file from pixels to decisions.

        Its input is `pixels`, uint8 (N, H, W, 3): photos in RGB, decoded and brought to their size
        by whoever asks; ``examples/onnx_predict.py`` does that with Pillow and NumPy alone. Its
        outputs are `probs`, float32 (N, L); `mask`, bool (N, L), which labels they have, by the
        thresholds and the novelty; and, after `fit_novelty`, `novelty`, float32 (N,). Labels,
        thresholds, size and item transforms are JSON texts in its metadata; `mlclassify.onnx` has
        a list.

        Parameters
        ----------
        fname : str or Path
            Relative to ``learn.path``; must end in ``.onnx``.

        Returns
        -------
        Path

        Raises
        ------
        ImportError
            onnx is not installed: ``pip install 'mlclassify[onnx]'``.
        ValueError
            The loss or a transform is none that a graph can hold.

        Examples
        --------
        ``learn.export_onnx("bears.onnx")``
        """
        path = self.path / check_path("export_onnx", "fname", fname)
        write_onnx(self, path)
        return path

    def __repr__(self) -> str:
        metrics = ", ".join(repr(m) for m in self.metrics)
        return (f"Learner({self.model!r}\n  loss_func={self.loss_func!r}, "
                f"thresh={_brief(getattr(self.loss_func, 'thresh', None))}\n"
                f"  metrics=[{metrics}]\n  seed={self.seed}, epochs_begun={self.epochs_begun})")

    def _repr_html_(self) -> str:
        loss = self.loss_func
        fitted: dict[str, Any] = {
            "threshold": getattr(loss, "thresh", None), "novelty": self.novelty,
            "calibration": getattr(loss, "calibration", None),
        }  # fmt: skip
        if np.ndim(fitted["threshold"]):
            fitted["threshold"] = ", ".join(f"{label} {t:.4f}" for label, t in zip(
                self._labels()[:_LISTED], fitted["threshold"]))
        rows = [("model", self.model), ("loss", loss), *fitted.items(),
                ("metrics", ", ".join(map(repr, self.metrics))),
                ("optimizer", self.opt), ("seed", self.seed), ("epochs begun", self.epochs_begun),
                ("photos", f"{self.dls.train.n} to train on, {self.dls.valid.n} to validate on")]
        shown = [(what, value) for what, value in rows if value is not None and str(value)]
        return markup.table(["Learner", ""], shown)


def load_learner(fname: StrPath) -> Learner:
    """Load what `Learner.export` saved.

    Parameters
    ----------
    fname : str or Path

    Returns
    -------
    Learner
        Predicts the same bits; its loaders are empty. To train it on, assign `dls`.

    Raises
    ------
    FileNotFoundError
    ModelFileError
        The file is damaged, foreign, or of a format that this version does not know.
    """
    return _restored(read_learner(check_path("load_learner", "fname", fname)))


def learner_from_bytes(data: bytes) -> Learner:
    """Load a learner from the contents of a file, as `load_learner` does.

    Parameters
    ----------
    data : bytes
        Of ``export.learner_to_bytes``, or of a file of `Learner.export`.

    Returns
    -------
    Learner

    Raises
    ------
    ModelFileError
    """
    return _restored(parse_learner(data, f"{len(data)} bytes"))


def _restored(saved: Saved) -> Learner:
    learn = Learner(saved.dls, saved.model, saved.loss_func, seed=saved.seed)
    learn.epochs_begun, learn.novelty = saved.epochs_begun, saved.novelty
    return learn


def _brief(thresh: Any) -> Any:
    if np.ndim(thresh) == 0:
        return thresh
    return [round(float(t), 4) for t in thresh[:10]]
