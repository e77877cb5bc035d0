"""What a learner gets wrong, and why: the worst photos, tables, curves and maps for each label."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any, Literal, Self, TypeAlias, overload

import numpy as np

from mlclassify.checks import check_has, check_whole
from mlclassify.data.batch import pictures
from mlclassify.data.lists import L, listify
from mlclassify.data.loader import DataLoader
from mlclassify.gradcam import grad_cam
from mlclassify.inference import plain_loader
from mlclassify.learner import Learner
from mlclassify.metrics import (
    Report,
    average_precision_score,
    make_report,
    precision_recall_curve,
    roc_auc_score,
)
from mlclassify.novelty import photo_names
from mlclassify.plot import (
    Grid,
    plot_counts,
    plot_heat,
    plot_histograms,
    plot_label_curves,
    plot_tables,
    show_images,
    verdict_color,
)
from mlclassify.tensor import Tensor
from mlclassify.types import (
    AnyArray,
    ArrayLike,
    FigSize,
    Float64,
    Function,
    Int64,
    UInt8,
)
from mlclassify.verdict import Decision, verdict
from mlclassify.vision.image import PhotoSource

if TYPE_CHECKING:
    from matplotlib.axes import Axes

Labels: TypeAlias = str | Sequence[str] | None  # which to show; None for the most wrong

_NOTHING = "(nothing)"
_LOSS = "say which labels are there (decodes), as BCEWithLogitsLossFlat does"
_LETTERS = 30  # of a file's name in a title


class Interpretation:
    """What a learner said of photos whose labels are known; made by `from_learner`.

    Pictures of labels take `labels`, a name or a list of names; without it they show all labels, or
    where there are more than `max_n`, those with the most wrong decisions. A target that is neither
    0 nor 1 counts nowhere.

    Attributes
    ----------
    learn : Learner
    dl : DataLoader
        Of the photos, in order and without augmentation.
    photos : list of N str
        Their names, relative to the path of the learner.
    vocab : list of L str
    preds, targs : Tensor float32 (N, L)
    decoded : Tensor bool (N, L)
        What was named.
    losses : Tensor float32 (N,)
    """

    def __init__(self, learn: Learner, dl: DataLoader, preds: Tensor, targs: Tensor,
                 decoded: Tensor, losses: Tensor) -> None:
        self.learn, self.dl = learn, dl
        self.vocab = [str(label) for label in learn.dls.vocab]
        self.photos = photo_names(map(dl.dataset.source, range(dl.n)), learn.path)
        self.preds, self.targs, self.decoded, self.losses = preds, targs, decoded, losses
        self._named = np.asarray(decoded, bool)
        self._there, self._absent = np.asarray(targs) == 1, np.asarray(targs) == 0
        self._missed, self._wrongly = self._there & ~self._named, self._absent & self._named

    @classmethod
    def from_learner(cls, learn: Learner, ds_idx: int = 1, dl: DataLoader | None = None,
                     act: Function | None = None) -> Self:
        """Ask a learner about labelled photos.

        Parameters
        ----------
        learn : Learner
        ds_idx, dl, act
            As in `Learner.get_preds`.

        Returns
        -------
        Interpretation

        Raises
        ------
        TypeError
            The loss does not say which labels are there.
        ValueError
            The photos have no labels.

        Examples
        --------
        ``interp = Interpretation.from_learner(learn); interp.plot_top_losses(9)``
        """
        check_has("Interpretation", "learn.loss_func", learn.loss_func, _LOSS, "decodes")
        dl = learn.loader(ds_idx, dl)
        dl = plain_loader(dl, dl.dataset)
        if not dl.has_labels:
            raise ValueError("Interpretation: `dl` must have labels, got photos without; see "
                             "with_labels of dls.test_dl")
        answer: tuple[Any, ...] = learn.get_preds(dl=dl, with_decoded=True, with_loss=True, act=act)
        return cls(learn, dl, *answer)

    # --- photos

    @overload
    def top_losses(self, k: int | None = None, largest: bool = True,
                   items: Literal[False] = False) -> tuple[Tensor, L[int]]: ...
    @overload
    def top_losses(self, k: int | None = None, largest: bool = True, *,
                   items: Literal[True]) -> tuple[Tensor, L[int], L[Any]]: ...
    def top_losses(self, k: int | None = None, largest: bool = True, items: bool = False) -> Any:
        """Return the largest losses, and of which photos they are.

        Parameters
        ----------
        k : int, optional
            How many; default all.
        largest : bool
            False begins with the smallest.
        items : bool
            Whether to return what the photos were read from, too.

        Returns
        -------
        losses : Tensor float32 (k,)
        indices : L of int
        items : L, if asked for
        """
        k = len(self.losses) if k is None else check_whole("top_losses", "k", k, at_least=1)
        losses = np.asarray(self.losses)
        order = np.argsort(-losses if largest else losses, kind="stable")[:k].tolist()
        found = Tensor(losses[order]), L(order)
        return (*found, L([self.dl.dataset.items[i] for i in order])) if items else found

    def decisions(self, i: int) -> list[Decision]:
        """Return a `verdict.Decision` for each label of photo `i`."""
        return self.learn.decisions(self.targs[i], self.decoded[i], self.preds[i])

    def offender(self, i: int) -> Decision | None:
        """Return the decision about photo `i` whose probability is furthest from the truth.

        Returns
        -------
        verdict.Decision, or None where no label of the photo is known
        """
        known = [d for d in self.decisions(i) if d.there is not None]
        return max(known, key=lambda d: d.distance, default=None)

    def plot_top_losses(self, k: int = 9, largest: bool = True, nrows: int | None = None,
                        ncols: int | None = None, figsize: FigSize | None = None) -> Grid:
        """Draw the photos of the largest losses: the loss, the label that is furthest off, and
        what was decided.

        Parameters
        ----------
        k, largest
            As in `top_losses`.
        nrows, ncols, figsize
            As in ``plot.show_images``.

        Returns
        -------
        ndarray of Axes
        """
        k = check_whole("plot_top_losses", "k", k, at_least=1)
        _, order, items = self.top_losses(k, largest, items=True)
        decided = [self.decisions(i) for i in order]
        titles = [self._headline(i) + "\n" + verdict(row) for i, row in zip(order, decided)]
        colors = [verdict_color(row) for row in decided]
        return show_images(self._photos(items), titles, colors, nrows, ncols, figsize)

    def _headline(self, i: int) -> str:
        worst = self.offender(i)
        which = f": {worst.label} {worst.prob:.2f}" if worst else ""
        return f"{_end_of(self.photos[i])}\nloss {float(self.losses[i]):.3f}{which}"

    def _photos(self, items: Iterable[Any]) -> UInt8:
        few = plain_loader(self.dl, self.dl.dataset.new(list(items)))
        return np.concatenate([pictures(few.batch_tfms, batch[0]) for batch in few])

    def plot_grad_cam(self, i: int, label: str | None = None, ax: Axes | None = None,
                      figsize: FigSize | None = None) -> Axes:
        """Draw where in photo `i` the evidence for a label lies, as `plot_grad_cam`."""
        i = check_whole("plot_grad_cam", "i", i, at_least=0)
        if i >= len(self.losses):
            raise ValueError(f"plot_grad_cam: `i` must be below {len(self.losses)}, got {i}")
        return plot_grad_cam(self.learn, self.dl.dataset.items[i], label, ax, figsize)

    # --- labels

    def confusion_matrix(self) -> Int64:
        """Return a table for each label, as scikit-learn's ``multilabel_confusion_matrix``.

        Returns
        -------
        int64 ndarray (L, 2, 2)
            [[true negatives, false positives], [false negatives, true positives]].
        """
        named = self._named
        cells = (self._absent & ~named, self._wrongly, self._missed, self._there & named)
        return np.stack([c.sum(axis=0) for c in cells], axis=1).reshape(-1, 2, 2)

    def plot_confusion_matrix(self, labels: Labels = None, max_n: int = 12,
                              normalize: bool = False, nrows: int | None = None,
                              ncols: int | None = None, figsize: FigSize | None = None) -> Grid:
        """Draw the table of each label.

        Parameters
        ----------
        labels, max_n
            Which labels.
        normalize : bool
            Whether to write shares of the rows instead of counts.
        nrows, ncols, figsize
            As in ``plot.show_images``.

        Returns
        -------
        ndarray of Axes
        """
        at, names = self._chosen("plot_confusion_matrix", labels, max_n)
        return plot_tables(self.confusion_matrix()[at], names, normalize, nrows, ncols, figsize)

    def plot_precision_recall(self, labels: Labels = None, max_n: int = 10,
                              ax: Axes | None = None, figsize: FigSize | None = None) -> Axes:
        """Draw precision over recall of each label, with a dot where it is decided.

        Parameters
        ----------
        labels, max_n
            Which labels; those that no photo has are left out.
        ax : matplotlib Axes, optional
        figsize : tuple of 2 floats, optional
            Inches of a new figure.

        Returns
        -------
        Axes
        """
        fn = "plot_precision_recall"
        at, names = self._with_both(fn, *self._chosen(fn, labels, max_n), absent=False)
        curves, dots, told = [], [], []
        for i, name in zip(at, names):
            targets, scores = self._known(i)
            precision, recall, _ = precision_recall_curve(targets, scores)
            curves.append((recall, precision))
            told.append(f"{name} (AP {average_precision_score(targets, scores):.3f})")
            (_, wrongly), (missed, found) = self.confusion_matrix()[i]
            dots.append((found / (found + missed), found / (found + wrongly))
                        if found + wrongly else None)
        ax = plot_label_curves(curves, told, dots, ax, figsize or (6, 5), "steps-post",
                               loc="lower left")
        ax.set(xlabel="recall", ylabel="precision", xlim=(-0.02, 1.02), ylim=(-0.02, 1.02))
        return ax

    def plot_roc(self, labels: Labels = None, max_n: int = 10, ax: Axes | None = None,
                 figsize: FigSize | None = None) -> Axes:
        """Draw the share of photos with a label that are found over that of others taken for it.

        Parameters
        ----------
        labels, max_n, ax, figsize
            As in `plot_precision_recall`; labels that all photos have are left out, too.

        Returns
        -------
        Axes
        """
        at, names = self._with_both("plot_roc", *self._chosen("plot_roc", labels, max_n))
        curves, dots, told = [], [], []
        for i, name in zip(at, names):
            targets, scores = self._known(i)
            curves.append(roc_curve(targets, scores))
            told.append(f"{name} (AUC {roc_auc_score(targets, scores):.3f})")
            (right, wrongly), (missed, found) = self.confusion_matrix()[i]
            dots.append((wrongly / (wrongly + right), found / (found + missed)))
        ax = plot_label_curves(curves, told, dots, ax, figsize or (6, 5),
                               loc="lower right")
        ax.plot([0, 1], [0, 1], linestyle=":", color="0.5", zorder=0)
        ax.set(xlabel="false positive rate", ylabel="true positive rate (recall)",
               xlim=(-0.02, 1.02), ylim=(-0.02, 1.02))
        return ax

    def plot_probabilities(self, labels: Labels = None, max_n: int = 9, bins: int = 20,
                           nrows: int | None = None, ncols: int | None = None,
                           figsize: FigSize | None = None) -> Grid:
        """Draw how probable each label was called where it is there and where it is not, and its
        threshold.

        Parameters
        ----------
        labels, max_n
            Which labels.
        bins : int
        nrows, ncols, figsize
            As in ``plot.show_images``.

        Returns
        -------
        ndarray of Axes
        """
        fn = "plot_probabilities"
        at, names = self._chosen(fn, labels, max_n)
        bins, probs = check_whole(fn, "bins", bins, at_least=1), np.asarray(self.preds)
        thresh = getattr(self.learn.loss_func, "thresh", np.nan)
        present = [probs[self._there[:, i], i] for i in at]
        absent = [probs[self._absent[:, i], i] for i in at]
        return plot_histograms(present, absent, np.broadcast_to(thresh, len(self.vocab))[at],
                               names, bins, nrows, ncols, figsize)

    # --- errors that come together

    def error_counts(self) -> Int64:
        """Return on how many photos one label was missed and another wrongly named.

        Returns
        -------
        int64 ndarray (L + 1, L + 1)
            The missed label by the one that was wrongly named. The last row counts wrong names
            where nothing was missed, the last column what was missed where nothing wrong was named.
        """
        only_wrong = ~self._missed.any(axis=1) & self._wrongly.any(axis=1)
        only_missed = self._missed.any(axis=1) & ~self._wrongly.any(axis=1)
        missed = np.column_stack([self._missed, only_wrong]).astype(np.int64)
        counts: Int64 = missed.T @ np.column_stack([self._wrongly, only_missed])
        return counts

    def most_confused(self, min_val: int = 1) -> list[tuple[str, str, int]]:
        """Return which labels were missed where others were named, the most frequent first.

        Parameters
        ----------
        min_val : int
            On how many photos, at least.

        Returns
        -------
        list of (missed label, wrong label, count)
        """
        check_whole("most_confused", "min_val", min_val, at_least=1)
        counts = self.error_counts()[:-1, :-1]
        pairs = [(self.vocab[i], self.vocab[j], int(n)) for (i, j), n in np.ndenumerate(counts)
                 if n >= min_val]
        return sorted(pairs, key=lambda pair: -pair[2])

    def plot_error_counts(self, labels: Labels = None, max_n: int = 12, ax: Axes | None = None,
                          figsize: FigSize | None = None) -> Axes:
        """Draw `error_counts`: what was missed, and what was named on the same photos.

        Parameters
        ----------
        labels, max_n
            Which labels.
        ax : matplotlib Axes, optional
        figsize : tuple of 2 floats, optional
            Inches of a new figure.

        Returns
        -------
        Axes
        """
        at, names = self._chosen("plot_error_counts", labels, max_n)
        at, names = [*at, -1], [*names, _NOTHING]
        ax = plot_counts(self.error_counts()[np.ix_(at, at)], names, names, ax, figsize)
        ax.set(xlabel="wrongly named", ylabel="missed")
        return ax

    def report(self) -> Report:
        """Return the table of `Learner.report` for these photos."""
        thresh = getattr(self.learn.loss_func, "thresh", np.nan)
        return make_report(self.preds, self.targs, self.decoded, thresh, self.vocab)

    def print_classification_report(self) -> None:
        """Print `report`."""
        print(self.report())

    # --- shared

    def _chosen(self, fn: str, labels: Labels, max_n: int) -> tuple[list[int], list[str]]:
        """Return the columns of the labels to show, and their names."""
        check_whole(fn, "max_n", max_n, at_least=1)
        if labels is not None:
            at = [find_label(fn, "labels", self.vocab, label) for label in listify(labels)]
            if not at:
                raise ValueError(f"{fn}: `labels` must name at least one label, got none")
        else:
            errors = (self._missed | self._wrongly).sum(axis=0)
            at = sorted(np.argsort(-errors, kind="stable")[:max_n].tolist())
        return at, [self.vocab[i] for i in at]

    def _with_both(self, fn: str, at: list[int], names: list[str],
                   absent: bool = True) -> tuple[list[int], list[str]]:
        """Leave out labels that no photo has, or all have."""
        kept = [i for i in at if self._there[:, i].any()
                and (not absent or self._absent[:, i].any())]
        if not kept:
            rule = "some photos have and others lack" if absent else "some photos have"
            raise ValueError(f"{fn}: `labels` must hold one that {rule}, got {', '.join(names)}")
        return kept, [self.vocab[i] for i in kept]

    def _known(self, i: int) -> tuple[UInt8, AnyArray]:
        """Return targets (0 and 1) and probabilities of a label where it is known."""
        known = self._there[:, i] | self._absent[:, i]
        return self._there[known, i].astype(np.uint8), np.asarray(self.preds)[known, i]

    def __repr__(self) -> str:
        wrong = (self._missed | self._wrongly).any(axis=1).sum()
        return (f"Interpretation of {len(self.losses)} photos, {len(self.vocab)} labels: "
                f"{self._missed.sum()} missed, {self._wrongly.sum()} wrongly named, on {wrong} "
                "photos")


ClassificationInterpretation = Interpretation


def _end_of(name: str) -> str:
    return name if len(name) <= _LETTERS else "…" + name[1 - _LETTERS :]


def roc_curve(targets: ArrayLike, scores: ArrayLike) -> tuple[Float64, Float64]:
    """Return the points of a ROC curve, from (0, 0) to (1, 1).

    Parameters
    ----------
    targets : array_like (N,)
        0 and 1, both of them.
    scores : array_like (N,)

    Returns
    -------
    false positive rate, true positive rate : float64 ndarrays
        One point for each distinct score, and the first.

    Examples
    --------
    >>> roc_curve([0, 1, 1], [0.1, 0.4, 0.1])
    (array([0., 0., 1.]), array([0. , 0.5, 1. ]))
    """
    targets, scores = np.asarray(targets, bool), np.asarray(scores)
    order = np.argsort(-scores, kind="stable")
    ends = np.append(np.flatnonzero(np.diff(scores[order])), len(order) - 1)
    found, wrongly = (np.append(0, np.cumsum(t[order])[ends]) for t in (targets, ~targets))
    return wrongly / wrongly[-1], found / found[-1]


def plot_grad_cam(learn: Learner, item: PhotoSource, label: str | None = None,
                  ax: Axes | None = None, figsize: FigSize | None = None) -> Axes:
    """Draw where in a photo the evidence for a label lies, as the network sees the photo.

    Parameters
    ----------
    learn : Learner
    item : str, Path, bytes, PIL image or uint8 array (H, W, 3)
    label : str, optional
        Default the most probable one.
    ax : matplotlib Axes, optional
    figsize : tuple of 2 floats, optional
        Inches of a new figure.

    Returns
    -------
    Axes

    Notes
    -----
    Grad-CAM of the last feature map, 7 x 7 for photos of 224 pixels: it shows regions, not edges.

    Examples
    --------
    ``plot_grad_cam(learn, "bear.jpg", "teddy")``
    """
    vocab = [str(name) for name in learn.dls.vocab]
    wanted = None if label is None else find_label("plot_grad_cam", "label", vocab, label)
    dl = learn.dls.test_dl([item])
    with learn.no_bar():
        x, probs, _ = learn.get_preds(dl=dl, with_input=True)
    column = int(np.argmax(probs[0])) if wanted is None else wanted
    heat = grad_cam(learn.model, x, column)[0]
    title = f"{vocab[column]} {float(probs[0, column]):.2f}"
    if not heat.any():
        title += ": nothing speaks for it"
    return plot_heat(pictures(dl.batch_tfms, x)[0], heat, title, ax, figsize)


def find_label(function: str, argument: str, vocab: Sequence[str], label: object) -> int:
    """Return the column of a label, or say which ones there are.

    Examples
    --------
    >>> find_label("plot_grad_cam", "label", ["black", "teddy"], "teddy")
    1
    >>> find_label("plot_grad_cam", "label", ["black", "teddy"], "cat")
    Traceback (most recent call last):
    ...
    ValueError: plot_grad_cam: `label` must be one of black, teddy, got 'cat'
    """
    if str(label) not in vocab:
        more = f" and {len(vocab) - 10} more" if len(vocab) > 10 else ""
        raise ValueError(f"{function}: `{argument}` must be one of {', '.join(vocab[:10])}{more}, "
                         f"got {label!r}")
    return vocab.index(str(label))
