"""What a user may write and what types it has: `test_types.py` runs it and has mypy read it."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any, assert_type

import numpy as np
from numpy.typing import ArrayLike

from mlclassify.data.lists import L
from mlclassify.metrics import Report
from mlclassify.novelty import Novelty
from mlclassify.plot import Grid
from mlclassify.selection import FoundThresholds
from mlclassify.vision.all import (
    BCEWithLogitsLossFlat,
    Callback,
    CancelFitException,
    DataLoaders,
    EarlyStoppingCallback,
    F1ScoreMulti,
    ImageDataLoaders,
    Interpretation,
    Learner,
    MixUp,
    Prediction,
    Recorder,
    Resize,
    Tensor,
    accuracy_multi,
    drawn_bears,
    load_learner,
    resnet18,
    vision_learner,
)


class StopAt(Callback):
    """End a fit where the training loss is low enough."""

    def __init__(self, loss: float) -> None:
        self.enough = loss

    def after_epoch(self) -> None:
        loss = self.learn.recorder.smooth_loss
        assert_type(loss, float | None)
        if loss is not None and loss < self.enough:
            raise CancelFitException


def share_named(probs: ArrayLike, targets: ArrayLike) -> float:
    """A metric of one's own."""
    return float(np.mean(np.asarray(probs) > 0))


def load(folder: Path) -> DataLoaders:
    path = drawn_bears(folder / "bears", 80, seed=1, layout="folders", size=32)
    dls = ImageDataLoaders.from_folder(path, valid_pct=0.5, seed=1, item_tfms=Resize(32), bs=8)
    assert_type(dls, DataLoaders)
    assert_type(dls.show_batch(max_n=2), Grid)
    return dls


def train(dls: DataLoaders) -> Learner:
    metrics = [accuracy_multi, F1ScoreMulti(average="micro"), share_named]
    learn = vision_learner(dls, resnet18, pretrained=False, metrics=metrics, cbs=MixUp(0.2),
                           loss_func=BCEWithLogitsLossFlat(thresh=0.4), seed=1)
    assert_type(learn, Learner)
    learn.fit_one_cycle(1, slice(1e-4, 1e-3), cbs=[StopAt(0.01), EarlyStoppingCallback()])
    learn.fit(1, lr=1e-3, wd=0.01)
    assert_type(learn.recorder, Recorder)
    assert_type(learn.recorder.losses, list[float])
    assert_type(learn.save("last"), Path)
    return assert_type(learn.load("last"), Learner)


def judge(learn: Learner) -> list[str]:
    found = learn.tune_thresholds("scut")
    assert_type(found, FoundThresholds)
    assert_type(learn.fit_novelty(lost=0.2), Novelty)
    assert_type(learn.report(), Report)
    probs, targets = learn.get_preds()
    assert_type(probs, Tensor)
    inputs, probs, targets, masks = learn.get_preds(with_input=True, with_decoded=True)
    interp = Interpretation.from_learner(learn)
    assert_type(interp, Interpretation)
    losses, order = interp.top_losses(3)
    assert_type(order, L[int])
    return [interp.photos[i] for i in order]


def ask(learn: Learner, photos: Sequence[Path]) -> list[str]:
    one = learn.predict(photos[0])
    assert_type(one, Prediction)
    labels, mask, probs = one
    assert_type(labels, L[str])
    assert_type(mask, Tensor)
    assert_type(one.probs, Tensor)
    assert_type(one.novelty, float | None)
    assert_type(one.thresh, Any)
    many = learn.predict(list(photos))
    assert_type(many, L[Prediction])
    return [";".join(told.labels) for told in many]


def keep(learn: Learner) -> Learner:
    file = learn.export("bears.safetensors")
    assert_type(file, Path)
    again = load_learner(file)
    assert_type(again, Learner)
    return again


def main(folder: Path) -> tuple[list[str], list[str]]:
    learn = train(load(folder))
    worst = judge(learn)
    photos = [Path(item) for item in learn.dls.valid.dataset.items]
    told = ask(learn, photos)
    assert ask(keep(learn), photos) == told
    return worst, told
