"""The learner: data, a model, a loss and an optimizer, and what it answers about photos.

How it trains stands in ``trainer.py``.
"""

import sys
import warnings
from contextlib import closing

import numpy as np

from mlclassify import markup
from mlclassify.calibration import fit_platt, fit_temperature, plot_reliability
from mlclassify.callbacks import ProgressCallback, Recorder
from mlclassify.checkpoint import read_checkpoint, write_checkpoint
from mlclassify.checks import (
    MLClassifyWarning,
    check_choice,
    check_function,
    check_has,
    check_path,
    check_whole,
)
from mlclassify.data.batch import pictures
from mlclassify.data.lists import L
from mlclassify.data.loader import DataLoader
from mlclassify.export import read_learner, write_learner
from mlclassify.losses import BCEWithLogitsLossFlat
from mlclassify.metrics import make_metric, make_report
from mlclassify.metrics.columns import other_thresholds
from mlclassify.novelty import fit_novelty, forward_with_features, photo_names
from mlclassify.optim import Adam, check_hyper
from mlclassify.plot import plot_f1_curves, show_images, verdict_color
from mlclassify.progress import progress
from mlclassify.ranks import current
from mlclassify.rng import check_seed, default_seed, fresh_seed
from mlclassify.selection import as_thresh, f1_curves, find_thresholds
from mlclassify.tensor import Tensor, TensorImage, TensorMultiCategory
from mlclassify.together import sharing
from mlclassify.trainer import Trainer, as_list, view_as
from mlclassify.verdict import decisions, verdict
from mlclassify.vision.augment import Normalize
from mlclassify.vision.models import build_backbone
from mlclassify.weights import ModelFileError, pretrained_tensors

_LISTED = 20  # labels in a table
_DATA = "be DataLoaders, as DataBlock(...).dataloaders(source) gives"
_MODEL = "be a Model, as create_model(arch, n_out) gives; vision_learner(dls, arch) makes both"
_LOADER = "be a DataLoader, as dls.test_dl(files) gives"


class Prediction(tuple):
    """What `Learner.predict` answers: a tuple of exactly (labels, mask, probs).

    Attributes
    ----------
    labels : L of str
    mask : Tensor bool (L,)
    probs : Tensor float32 (L,)
    thresh : float or array (L,)
        The threshold that decided: a label is there where its probability is above it.
    novelty : float or None
        How unlike all training photos the photo is, after `Learner.fit_novelty`; above
        ``learn.novelty.cut`` it gets no label, whatever its probabilities.
    neighbours : L of str
        The training photos that it is most like, the nearest first.
    vocab : L of str
        All labels, in the order of `probs`.
    """

    def __new__(cls, labels, mask, probs, thresh, novelty=None, neighbours=(), vocab=()):
        self = super().__new__(cls, (labels, mask, probs))
        self.labels, self.mask, self.probs, self.thresh = labels, mask, probs, thresh
        self.novelty, self.neighbours, self.vocab = novelty, L(neighbours), L(vocab)
        return self

    def __getnewargs__(self):
        return (*self, self.thresh, self.novelty, list(self.neighbours), list(self.vocab))

    def _repr_html_(self):
        """What a notebook prints of it as text, and under it the most probable labels."""
        decided = decisions(self.vocab, None, self.mask, self.probs, self.thresh)
        decided.sort(key=lambda d: -d.prob)
        rows = [(d.label, f"{d.prob:.4f}", "" if d.thresh is None else f"{d.thresh:.4f}",
                 "✓" if d.named else "") for d in decided[:_LISTED]]
        head = ["label", "probability", "threshold", "named"]
        return markup.preformatted(_pretty(tuple(self))) + markup.table(head, rows) + "".join(
            map(markup.paragraph, self._remarks(len(decided))))

    def _remarks(self, labels):
        if labels > _LISTED:
            yield f"and {labels - _LISTED} less probable labels"
        if self.novelty is not None:
            yield f"novelty {self.novelty:.4f}, most like {', '.join(self.neighbours[:3])}"


def _pretty(answer):
    """Return how a notebook prints something: an `L` with its length, where IPython prints it."""
    pretty = getattr(sys.modules.get("IPython.lib.pretty"), "pretty", repr)
    return pretty(answer)


class Summary(str):
    """A text that a notebook shows line by line."""

    __slots__ = ()

    def __repr__(self):
        return str(self)


class Learner(Trainer):
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

    def __init__(self, dls, model, loss_func=None, opt_func=Adam, lr=1e-3, cbs=None, metrics=None,
                 path=None, model_dir="models", wd=None, wd_bn_bias=False, train_bn=True,
                 moms=(0.95, 0.85, 0.95), seed=None):
        self.model = check_has("Learner", "model", model, _MODEL, "forward", "set_decay")
        self._dls = check_has("Learner", "dls", dls, _DATA, "train", "valid", "vocab")
        self.loss_func = BCEWithLogitsLossFlat() if loss_func is None else loss_func
        self.opt_func = check_function("Learner", "opt_func", opt_func)
        self.lr, self.wd, self.opt = lr, wd, None
        self.train_bn, self.moms = train_bn, moms
        self.metrics = metrics
        self.path = check_path("Learner", "path", dls.path if path is None else path)
        self.model_dir = check_path("Learner", "model_dir", model_dir)
        self.seed = default_seed() if seed is None else check_seed("Learner", seed)
        self.epochs_begun, self.novelty = 0, None
        self.recorder, self._progress, self.cbs = Recorder(), ProgressCallback(), []
        self.add_cbs([self.recorder, self._progress, *as_list(cbs)])
        model.set_decay(wd_bn_bias)
        self.distribute()

    def distribute(self, sync_bn=True):
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
    def metrics(self):
        """The metrics, as a list of `Metric`."""
        return self._metrics

    @metrics.setter
    def metrics(self, metrics):
        self._metrics = [make_metric(m) for m in as_list(metrics)]

    @property
    def dls(self):
        """The data; other data of the same labels may be assigned, to train or validate on."""
        return self._dls

    @dls.setter
    def dls(self, dls):
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
    def loss_func(self):
        """The loss; one with ``pos_weight='balanced'`` is shown the training targets."""
        return self._loss_func

    @loss_func.setter
    def loss_func(self, loss_func):
        if getattr(loss_func, "balanced", False):
            loss_func.balance(self.dls.train.dataset.targets())
        self._loss_func = loss_func

    # --- asking

    def validate(self, ds_idx=1, dl=None):
        """Return the loss and the metrics on a loader, by default the validation one.

        Parameters
        ----------
        ds_idx : int
            0 for the training photos, without augmentation, 1 for the validation ones.
        dl : DataLoader, optional
            Of labelled photos.

        Returns
        -------
        L of float
        """
        try:
            self._validate(self.loader(ds_idx, dl))
        finally:
            self._progress.close()
        return L(self.recorder.validation_values())

    def get_preds(self, ds_idx=1, dl=None, with_input=False, with_decoded=False, with_loss=False,
                  act=None):
        """Return what the model says of every photo of a loader, in its order.

        Parameters
        ----------
        ds_idx : int
            0 for the training photos, without augmentation, 1 for the validation ones.
        dl : DataLoader, optional
            For instance ``dls.test_dl(files)``.
        with_input, with_decoded, with_loss : bool
            What to return besides.
        act : function, optional
            From logits to predictions; default the `activation` of the loss, if it has one.

        Returns
        -------
        tuple of Tensors
            inputs (N, 3, H, W) if asked for; predictions float32 (N, L): probabilities, under
            the default loss; targets (N, L), None where there are no labels; decisions bool
            (N, L) if asked for; losses float32 (N,) if asked for.
        """
        dl = self.loader(ds_idx, dl)
        if act is not None:
            check_function("get_preds", "act", act)
        inputs, logits, targets, features = self._collect(dl, with_input, self._progress.bar)
        preds = (act or getattr(self.loss_func, "activation", _same))(logits)
        answer = [inputs] if with_input else []
        answer += [preds, targets]
        if with_decoded:
            answer.append(self._decide(preds, features))
        if with_loss:
            answer.append(self._losses(logits, targets))
        return tuple(answer)

    def loader(self, ds_idx=1, dl=None):
        """Return the loader that arguments such as those of `get_preds` mean."""
        if dl is not None:
            return check_has("Learner", "dl", dl, _LOADER, "stream", "dataset")
        if not isinstance(ds_idx, (int, np.integer)) or ds_idx not in (0, 1):
            raise ValueError(f"Learner: `ds_idx` must be 0 or 1, got {ds_idx!r}")
        if ds_idx == 1:
            return self.dls.valid
        return plain_loader(self.dls.train, self.dls.train.dataset)

    def _collect(self, dl, with_input, show, epoch=0):
        """Run the model over a loader; nothing on the learner changes, so threads may share it.

        Returns inputs, logits, targets, and body features if there is a novelty to judge by them.
        """
        inputs, logits, targets, features = [], [], [], []
        with (
            progress("predict", len(dl), show) as step,
            closing(dl.stream(self.seed, epoch)) as batches,
        ):
            for batch in batches:
                if self.novelty is None:
                    logits.append(self.model.forward(batch.x))
                else:
                    for kept, new in zip((logits, features), forward_with_features(
                            self.model, self.novelty.backbone, batch.x)):
                        kept.append(new)
                # Copies: the loader writes its next batch over this one.
                targets.append(None if batch.y is None else np.array(batch.y))
                if with_input:
                    inputs.append(np.array(batch.x))
                step()
        if not logits:
            raise ValueError("get_preds: `dl` must hold at least one photo, got none")
        return (
            view_as(np.concatenate(inputs), TensorImage) if with_input else None,
            view_as(np.concatenate(logits), Tensor),
            None if targets[0] is None else view_as(np.concatenate(targets), TensorMultiCategory),
            np.concatenate(features) if features else None,
        )

    def _decide(self, preds, features):
        """Return the decisions of the loss, none for what is like nothing that was taught."""
        mask = getattr(self.loss_func, "decodes", _same)(preds)
        if features is not None:
            mask[self.novelty.is_novel(features)] = False
        return mask

    def _losses(self, logits, targets):
        """Return the loss of each photo, the mean over its labels."""
        if targets is None:
            raise ValueError("get_preds: `dl` must have labels when with_loss=True, got none")
        loss = self.loss_func
        each = [float(loss(logits[i : i + 1], targets[i : i + 1])) for i in range(len(logits))]
        return view_as(np.array(each, np.float32), Tensor)

    def predict(self, item):
        """Say which labels a photo has.

        Parameters
        ----------
        item : str, Path, bytes, PIL image or uint8 array (H, W, 3), or a list of them
            A list goes through the network in batches.

        Returns
        -------
        Prediction, or L of them for a list
            A tuple (labels, mask, probs); also says the threshold that decided, and, after
            `fit_novelty`, how novel the photo is. Several threads may ask at a time.
        """
        loss = self.loss_func
        if not (hasattr(loss, "activation") and hasattr(loss, "decodes")):
            raise TypeError(
                "predict: `learn.loss_func` must say what its logits mean (activation, decodes), "
                f"as BCEWithLogitsLossFlat does, got {loss!r}"
            )
        several = isinstance(item, (list, L))
        if several and not len(item):
            return L()
        dl = self.dls.test_dl(item if several else [item])
        _, logits, _, features = self._collect(dl, False, several and self._progress.bar)
        probs = loss.activation(logits)
        mask = self._decide(probs, features)
        why = [{}] * len(probs)
        if features is not None:
            why = [{"novelty": float(score), "neighbours": near} for score, near in
                   zip(self.novelty.scores(features), self.novelty.neighbours(features))]
        thresh = getattr(loss, "thresh", None)
        told = [Prediction(self._names(mask[i]), mask[i], probs[i], thresh, vocab=self.dls.vocab,
                           **why[i])
                for i in range(len(probs))]
        return L(told) if several else told[0]

    def tta(self, ds_idx=1, dl=None, n=4, item_tfms=None, batch_tfms=None, beta=0.25,
            use_max=False):
        """Predict by test time augmentation: several times, as in training, and once without.

        Parameters
        ----------
        ds_idx, dl
            Of what photos, as in `get_preds`.
        n : int
            How many times with augmentation.
        item_tfms, batch_tfms : transform or list of them, optional
            Instead of those of the data; normalization stays.
        beta : float or None
            The share of the prediction without augmentation; None returns both.
        use_max : bool
            The largest probability of all, instead of means.

        Returns
        -------
        preds : Tensor float32 (N, L), or with beta=None a tuple (augmented, plain) of them
        targets : Tensor float32 (N, L) or None

        Examples
        --------
        ``probs, targets = learn.tta(); accuracy_multi(probs, targets, sigmoid=False)``
        """
        check_whole("tta", "n", n, at_least=1)
        if beta is not None and check_hyper(beta, "beta", "tta") > 1:
            raise ValueError(f"tta: `beta` must lie in [0, 1], or be None, got {beta!r}")
        dl = self.loader(ds_idx, dl)
        random = DataLoader(
            dl.dataset, dl.bs, train=True, num_workers=dl.num_workers,
            item_tfms=dl.item_tfms if item_tfms is None else item_tfms,
            batch_tfms=dl.batch_tfms if batch_tfms is None else
            [*as_list(batch_tfms), *normalizations(self.dls)],
        )
        act = getattr(self.loss_func, "activation", _same)
        turns = [act(self._collect(random, False, self._progress.bar, epoch=i)[1])
                 for i in range(n)]
        plain, targets = self.get_preds(dl=dl)
        if use_max:
            return np.maximum.reduce([plain, *turns]), targets
        augmented = sum(turns[1:], turns[0]) / n
        if beta is None:
            return (augmented, plain), targets
        return augmented + (plain - augmented) * beta, targets

    def tune_thresholds(self, method="scut", ds_idx=1, dl=None, **options):
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
        found = find_thresholds(probs, targets, method=method, start=loss.thresh, **options)
        found.labels = [str(label) for label in self.dls.vocab]
        loss.thresh = as_thresh(probs, found.thresholds)
        return found

    def calibrate(self, method="temperature", ds_idx=1, dl=None, **options):
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
        logits, targets = self._labelled("calibrate", ds_idx, dl, act=_same)
        fit = fit_platt if method == "platt" else fit_temperature
        loss.calibration = fit(logits, targets, **options)
        if np.ndim(loss.thresh):
            warnings.warn(
                "calibrate: the thresholds of `learn.loss_func` were chosen for other "
                "probabilities; call learn.tune_thresholds() again",
                MLClassifyWarning, stacklevel=2,
            )
        return loss.calibration

    def plot_reliability(self, ds_idx=1, dl=None, **options):
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

    def _labelled(self, fn, ds_idx, dl, **options):
        """Return what `get_preds` does, refusing photos without labels."""
        answer = self.get_preds(ds_idx, dl, **options)
        if answer[1] is None:
            raise ValueError(f"{fn}: `dl` must have labels, got photos without")
        return answer

    def report(self, ds_idx=1, dl=None):
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

    def plot_thresholds(self, ds_idx=1, dl=None, ax=None, figsize=None):
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

    def fit_novelty(self, lost=0.05, k=5, pretrained=None, weights=None):
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
        known, held_out = (self._features(self.loader(i, None), backbone) for i in (0, 1))
        names = photo_names(self.dls.train.dataset.items, self.path)
        self.novelty = fit_novelty(known, names, held_out, lost, k, backbone)
        return self.novelty

    def _untrained_backbone(self, pretrained, weights):
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
        tensors, source = pretrained_tensors(self.model.arch.name, weights, "fit_novelty")
        backbone = build_backbone(self.model.arch, self.model.exact)
        backbone.load_body(tensors, str(source))
        return backbone

    def _features(self, dl, backbone):
        """Return the body features of the photos of a loader, in its order and plain."""
        found = []
        with (
            progress("features", len(dl), self._progress.bar) as step,
            closing(dl.stream(self.seed, 0)) as batches,
        ):
            for batch in batches:
                found.append(forward_with_features(self.model, backbone, batch.x)[1])
                step()
        return np.concatenate(found) if found else np.empty((0, 0), np.float32)

    def _names(self, row):
        """Return the labels that are there in a row of 0 and 1."""
        return L([label for label, there in zip(self.dls.vocab, row) if there == 1])

    def show_results(self, ds_idx=1, dl=None, max_n=9, shuffle=True, nrows=None, ncols=None,
                     figsize=None):
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

    def decisions(self, target, mask, probs):
        """Return what was decided about each label of one photo, as `verdict.decisions`."""
        return decisions(self.dls.vocab, target, mask, probs,
                         getattr(self.loss_func, "thresh", None))

    def summary(self):
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
        lines += ["", f"parameters: {total:,}, of them trained: {moving:,}, frozen: "
                  f"{total - moving:,}", f"optimizer: {opt}", f"loss: {self.loss_func!r}",
                  "callbacks: " + ", ".join(map(repr, self.cbs))]
        return Summary("\n".join(lines))

    # --- files

    def save(self, file, with_opt=True):
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

    def load(self, file, with_opt=True):
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

    def _restore(self, saved, with_opt):
        """Write a checkpoint into the learner; on an error nothing has changed."""
        before, own_opt = self.model.state_dict(), self.opt
        pretrained, trainable = self.model.pretrained, self.model.trainable
        self.model.load_state_dict(saved.weights)
        if not with_opt:
            return
        training = saved.optimizer
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

    def _model_file(self, file, function):
        path = self.path / self.model_dir / check_path(function, "file", file)
        return path.with_name(f"{path.name}.safetensors")

    def _labels(self):
        return [str(label) for label in self.dls.vocab]

    def export(self, fname="export.safetensors"):
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

    def __repr__(self):
        metrics = ", ".join(repr(m) for m in self.metrics)
        return (f"Learner({self.model!r}\n  loss_func={self.loss_func!r}, "
                f"thresh={_brief(getattr(self.loss_func, 'thresh', None))}\n"
                f"  metrics=[{metrics}]\n  seed={self.seed}, epochs_begun={self.epochs_begun})")

    def _repr_html_(self):
        loss = self.loss_func
        fitted = {"threshold": getattr(loss, "thresh", None), "novelty": self.novelty,
                  "calibration": getattr(loss, "calibration", None)}
        if np.ndim(fitted["threshold"]):
            fitted["threshold"] = ", ".join(f"{label} {t:.4f}" for label, t in zip(
                self._labels()[:_LISTED], fitted["threshold"]))
        rows = [("model", self.model), ("loss", loss), *fitted.items(),
                ("metrics", ", ".join(map(repr, self.metrics))),
                ("optimizer", self.opt), ("seed", self.seed), ("epochs begun", self.epochs_begun),
                ("photos", f"{self.dls.train.n} to train on, {self.dls.valid.n} to validate on")]
        shown = [(what, value) for what, value in rows if value is not None and str(value)]
        return markup.table(["Learner", ""], shown)


def load_learner(fname):
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
    saved = read_learner(check_path("load_learner", "fname", fname))
    learn = Learner(saved.dls, saved.model, saved.loss_func, seed=saved.seed)
    learn.epochs_begun, learn.novelty = saved.epochs_begun, saved.novelty
    return learn


def normalizations(dls):
    """Return the `Normalize` transforms of the loaders."""
    return [t for t in dls.train.batch_tfms if isinstance(t, Normalize)]


def add_normalization(dls, transform):
    """Normalize the images of both loaders, unless they are already."""
    if not normalizations(dls):
        dls.add_batch_tfm(transform)


def plain_loader(dl, dataset):
    """Return a loader of `dataset` as `dl` would load it, in order and without augmentation."""
    return DataLoader(dataset, dl.bs, item_tfms=dl.item_tfms, batch_tfms=dl.batch_tfms,
                      num_workers=dl.num_workers)


def _same(x):
    return x


def _brief(thresh):
    if np.ndim(thresh) == 0:
        return thresh
    return [round(float(t), 4) for t in thresh[:10]]
