"""A model that is asked about photos: about one, all of a loader, or each several times.

A photo goes one way, whoever asks: a loader gives its batch, the model its logits, the loss says
what they mean and decides, and a novelty has the last word.
"""

from __future__ import annotations

from contextlib import closing
from typing import TYPE_CHECKING, Any, Literal, TypeAlias, overload

import numpy as np

from mlclassify.checks import check_function, check_has, check_whole
from mlclassify.data.counts import pandas
from mlclassify.data.lists import L
from mlclassify.data.loader import BatchTfms, DataLoader, DatasetLike, ItemTfms
from mlclassify.novelty import forward_with_features, photo_names
from mlclassify.optim import check_hyper
from mlclassify.prediction import Prediction
from mlclassify.progress import progress
from mlclassify.tensor import Tensor, TensorImage, TensorMultiCategory
from mlclassify.trainer import Trainer, as_list, view_as
from mlclassify.types import ArrayLike, Float32, Function
from mlclassify.verdict import Decision, decisions
from mlclassify.vision.augment import normalizations
from mlclassify.vision.image import PhotoSource
from mlclassify.vision.models import Model

if TYPE_CHECKING:
    from pandas import DataFrame

# Targets (N, L), None where the photos have no labels: `Any` spares a check who knows that they do.
Targets: TypeAlias = TensorMultiCategory | Any

_LOADER = "be a DataLoader, as dls.test_dl(files) gives"


class Predictor(Trainer):
    """What a `Learner` inherits: predictions and what is computed of them.

    It has no data of its own, as `Trainer` has none.
    """

    def validate(self, ds_idx: int = 1, dl: DataLoader | None = None) -> L[Any]:
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

    @overload
    def get_preds(self, ds_idx: int = 1, dl: DataLoader | None = None,
                  with_input: Literal[False] = False, with_decoded: Literal[False] = False,
                  with_loss: Literal[False] = False,
                  act: Function | None = None) -> tuple[Tensor, Targets]: ...
    @overload
    def get_preds(self, ds_idx: int = 1, dl: DataLoader | None = None, with_input: bool = False,
                  with_decoded: bool = False, with_loss: bool = False,
                  act: Function | None = None) -> tuple[Any, ...]: ...
    def get_preds(self, ds_idx: int = 1, dl: DataLoader | None = None, with_input: bool = False,
                  with_decoded: bool = False, with_loss: bool = False,
                  act: Function | None = None) -> tuple[Any, ...]:
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
        activation: Function = getattr(self.loss_func, "activation", same) if act is None else act
        preds = activation(logits)
        answer: list[Any] = [inputs] if with_input else []
        answer += [preds, targets]
        if with_decoded:
            answer.append(self._decide(preds, features))
        if with_loss:
            answer.append(self._losses(logits, targets))
        return tuple(answer)

    def get_preds_frame(self, ds_idx: int = 1, dl: DataLoader | None = None,
                        label_delim: str = ";") -> DataFrame:
        """Return what the model says of every photo of a loader as a table, with names.

        Parameters
        ----------
        ds_idx, dl
            Of what photos, as in `get_preds`.
        label_delim : str
            Between two labels in the column ``named``.

        Returns
        -------
        DataFrame
            A row for each photo, named by its file, relative to ``learn.path`` where it lies there;
            a column with the probabilities of each label, and ``named``: the labels that were
            decided for.

        Examples
        --------
        ``learn.get_preds_frame(dl=learn.dls.test_dl(files)).to_csv("found.csv")``
        """
        dl = self.loader(ds_idx, dl)
        preds, _, masks = self.get_preds(dl=dl, with_decoded=True)
        photos = photo_names(map(dl.dataset.source, range(len(dl.dataset))), self.path)
        frame: DataFrame = pandas("get_preds_frame").DataFrame(
            np.asarray(preds), photos, self._labels()
        )
        frame.index.name = "photo"
        named = [label_delim.join(map(str, self._names(row))) for row in masks]
        frame.insert(len(frame.columns), "named", named, allow_duplicates=True)
        return frame

    def loader(self, ds_idx: int = 1, dl: DataLoader | None = None) -> DataLoader:
        """Return the loader that arguments such as those of `get_preds` mean."""
        if dl is not None:
            check_has("Learner", "dl", dl, _LOADER, "stream", "dataset")
            return dl
        if not isinstance(ds_idx, (int, np.integer)) or ds_idx not in (0, 1):
            raise ValueError(f"Learner: `ds_idx` must be 0 or 1, got {ds_idx!r}")
        if ds_idx == 1:
            return self.dls.valid
        return plain_loader(self.dls.train, self.dls.train.dataset)

    def _collect(
        self, dl: DataLoader, with_input: bool, show: bool, epoch: int = 0
    ) -> tuple[TensorImage | None, Tensor, TensorMultiCategory | None, Float32 | None]:
        """Run the model over a loader; nothing on the learner changes, so threads may share it.

        Returns inputs, logits, targets, and body features if there is a novelty to judge by them.
        """
        inputs, logits, targets = [], [], list[Any]()  # targets hold None where there are no labels
        features: list[Float32] = []
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
            raise ValueError(
                "get_preds: `dl` must hold at least one photo, got none; a learner that was loaded "
                "has none: assign `learn.dls`, or give `dl`"
            )
        return (
            view_as(np.concatenate(inputs), TensorImage) if with_input else None,
            self._finite(view_as(np.concatenate(logits), Tensor)),
            None if targets[0] is None else view_as(np.concatenate(targets), TensorMultiCategory),
            np.concatenate(features) if features else None,
        )

    def _finite(self, logits: Tensor) -> Tensor:
        """Return the logits; NaN would be taken for a photo without labels."""
        good = np.isfinite(logits)
        if good.all():
            return logits
        name, norm = self.model.first_not_finite(), self.model.first_norm_not_finite()
        cause = "the activations grew beyond float32; compare `Normalize` with that of the training"
        if name:
            cause = f"the parameter {name} holds NaN or infinity; load weights that were whole"
        elif norm:
            cause = f"the statistics of {norm} hold NaN or infinity; load weights that were whole"
        raise FloatingPointError(
            f"Learner: the logits must be finite, got {logits[~good][0]}: {cause}"
        )

    def _features(self, dl: DataLoader, backbone: Model | None) -> Float32:
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

    def _decide(self, preds: Tensor, features: Float32 | None) -> Any:
        """Return the decisions of the loss, none for what is like nothing that was taught."""
        mask = getattr(self.loss_func, "decodes", same)(preds)
        if features is not None and self.novelty is not None:
            mask[self.novelty.is_novel(features)] = False
        return mask

    def _losses(self, logits: Tensor, targets: Tensor | None) -> Tensor:
        """Return the loss of each photo, the mean over its labels."""
        if targets is None:
            raise ValueError("get_preds: `dl` must have labels when with_loss=True, got none")
        loss = self.loss_func
        each = [float(loss(logits[i : i + 1], targets[i : i + 1])) for i in range(len(logits))]
        return view_as(np.array(each, np.float32), Tensor)

    @overload
    def predict(self, item: list[Any] | L[Any]) -> L[Prediction]: ...
    @overload
    def predict(self, item: PhotoSource) -> Prediction: ...
    def predict(self, item: Any) -> Any:
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
        why: list[dict[str, Any]] = [{}] * len(probs)
        if features is not None and self.novelty is not None:
            why = [{"novelty": float(score), "neighbours": near} for score, near in
                   zip(self.novelty.scores(features), self.novelty.neighbours(features))]
        thresh = getattr(loss, "thresh", None)
        told = [Prediction(self._names(mask[i]), mask[i], probs[i], thresh, vocab=self.dls.vocab,
                           **why[i])
                for i in range(len(probs))]
        return L(told) if several else told[0]

    @overload
    def tta(self, ds_idx: int = 1, dl: DataLoader | None = None, n: int = 4,
            item_tfms: ItemTfms = None, batch_tfms: BatchTfms = None, beta: float = 0.25,
            use_max: bool = False) -> tuple[Tensor, Targets]: ...
    @overload
    def tta(self, ds_idx: int = 1, dl: DataLoader | None = None, n: int = 4,
            item_tfms: ItemTfms = None, batch_tfms: BatchTfms = None, *, beta: None,
            use_max: Literal[False] = False) -> tuple[tuple[Tensor, Tensor], Targets]: ...
    def tta(self, ds_idx: int = 1, dl: DataLoader | None = None, n: int = 4,
            item_tfms: ItemTfms = None, batch_tfms: BatchTfms = None, beta: float | None = 0.25,
            use_max: bool = False) -> tuple[Any, Targets]:
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
        act = getattr(self.loss_func, "activation", same)
        turns = [act(self._collect(random, False, self._progress.bar, epoch=i)[1])
                 for i in range(n)]
        plain, targets = self.get_preds(dl=dl)
        if use_max:
            return np.maximum.reduce([plain, *turns]), targets
        augmented = sum(turns[1:], turns[0]) / n
        if beta is None:
            return (augmented, plain), targets
        return augmented + (plain - augmented) * beta, targets

    def _names(self, row: ArrayLike) -> L[str]:
        """Return the labels that are there in a row of 0 and 1."""
        there = np.asarray(row) == 1  # at once: scalars of a Tensor are slow
        return L([label for label, named in zip(self.dls.vocab, there) if named])

    def decisions(self, target: ArrayLike | None, mask: ArrayLike,
                  probs: ArrayLike) -> list[Decision]:
        """Return what was decided about each label of one photo, as `verdict.decisions`."""
        return decisions(self.dls.vocab, target, mask, probs,
                         getattr(self.loss_func, "thresh", None))

    def _labels(self) -> list[str]:
        return [str(label) for label in self.dls.vocab]


def plain_loader(dl: DataLoader, dataset: DatasetLike) -> DataLoader:
    """Return a loader of `dataset` as `dl` would load it, in order and without augmentation."""
    return DataLoader(dataset, dl.bs, item_tfms=dl.item_tfms, batch_tfms=dl.batch_tfms,
                      num_workers=dl.num_workers)


def same(x: Any) -> Any:
    """Return x: what logits become where a loss does not say what they mean."""
    return x
