"""Callbacks that change a training step: what is learned from, and how far a step goes.

What they draw at random follows from the learner's seed, the training epoch and the position of the
photo in it, as everything random here.
"""

from __future__ import annotations

import math
from collections.abc import Iterable

import numpy as np

from mlclassify.callbacks import (
    Callback,
    CancelBatchException,
    CancelFitException,
)
from mlclassify.checks import check_whole
from mlclassify.optim import check_hyper
from mlclassify.rng import CUTMIX, MIXUP, KeyedRandom
from mlclassify.types import AnyArray, Float32, Int64


class GradientAccumulation(Callback):
    """Step once for several batches, as if they were one.

    Batch norms still see each batch alone. What is left over when a fit ends is dropped.

    Parameters
    ----------
    n_acc : int
        A step is made once so many photos were seen.
    """

    order, run_valid = 6, False

    def __init__(self, n_acc: int = 32) -> None:
        self.n_acc = check_whole("GradientAccumulation", "n_acc", n_acc, at_least=1)

    def before_fit(self) -> None:
        self.count = 0

    def after_loss(self) -> None:
        self.learn.loss_grad *= np.float32(self.learn.n_photos / self.n_acc)

    def before_step(self) -> None:
        self.count += self.learn.n_photos
        if self.count < self.n_acc:
            raise CancelBatchException
        self.count = 0


class GradientClip(Callback):
    """Shorten gradients that are longer than a norm, all parameters together.

    Parameters
    ----------
    max_norm : float
    norm_type : float
        The p of the norm; ``float("inf")`` for the largest number.
    """

    order, run_valid = 11, False

    def __init__(self, max_norm: float = 1.0, norm_type: float = 2.0) -> None:
        self.max_norm = check_hyper(max_norm, "max_norm", "GradientClip")
        self.norm_type = float(norm_type)
        if not self.norm_type > 0:
            raise ValueError(f"GradientClip: `norm_type` must be above 0, got {norm_type!r}")

    def before_step(self) -> None:
        gradients = list(self.learn.model.net.gradients().values())
        shrink = self.max_norm / (self._norm(gradients) + 1e-6)
        if shrink < 1:
            for gradient in gradients:
                gradient *= np.float32(shrink)

    def _norm(self, gradients: Iterable[Float32]) -> float:
        p = self.norm_type
        if math.isinf(p):
            return max(float(abs(g).max()) for g in gradients)
        # NumPy's own sums: those of a BLAS would depend on its threads.
        total = sum(float((abs(g.astype(np.float64)) ** p).sum()) for g in gradients)
        return float(total ** (1 / p))


class TerminateOnNaNCallback(Callback):
    """End a fit in order where a loss or running statistic is not finite, instead of by an error.

    The model stands at the step before either way.
    """

    order, run_valid = -9, False

    def after_loss(self) -> None:
        if not self.learn.step_is_finite():
            print(f"The loss is {float(self.learn.loss)} at step {self.learn.iter} of epoch "
                  f"{self.learn.epoch}: training ends")
            raise CancelFitException


class MixUp(Callback):
    """Train on blends of two photos and of their targets (Zhang et al., "mixup", 2018).

    Each photo of a batch is blended with another of it, by a weight of at least one half.

    Parameters
    ----------
    alpha : float
        The weight is drawn from Beta(alpha, alpha): 0.1 changes little, 1 blends evenly.

    Attributes
    ----------
    lam : float32 (N,)
        The weights of the last batch.
    """

    run_valid = False

    def __init__(self, alpha: float = 0.4) -> None:
        self.alpha = _above_0("MixUp", alpha)

    def before_batch(self) -> None:
        learn, (seed, epoch, position) = self.learn, self.learn.key
        draws = [KeyedRandom(seed, epoch, position + i, MIXUP) for i in range(len(learn.y))]
        others = np.argsort([draw.random() for draw in draws], kind="stable")
        lam = np.array([draw.beta(self.alpha) for draw in draws], np.float32)
        self.lam = np.maximum(lam, 1 - lam)
        # NHWC, as the batch lies in memory.
        _blend(np.asarray(learn.x).transpose(0, 2, 3, 1), others, self.lam[:, None, None, None])
        _blend(np.asarray(learn.y), others, self.lam[:, None])


class CutMix(Callback):
    """Train on photos with a patch of another one, and their targets (Yun et al., "CutMix", 2019).

    Parameters
    ----------
    alpha : float
        The share that stays is drawn from Beta(alpha, alpha), one a batch.

    Attributes
    ----------
    lam : float
        The share of the last batch that stayed.
    box : tuple of 4 ints
        Where the patch was: x1, y1, x2, y2.
    """

    run_valid = False

    def __init__(self, alpha: float = 1.0) -> None:
        self.alpha = _above_0("CutMix", alpha)

    def before_batch(self) -> None:
        learn, draw = self.learn, KeyedRandom(*self.learn.key, CUTMIX)
        h, w = learn.x.shape[2:]
        self.box = x1, y1, x2, y2 = _box(draw, draw.beta(self.alpha), h, w)
        others = np.argsort([draw.random() for _ in range(len(learn.y))], kind="stable")
        patch = np.asarray(learn.x)[:, :, y1:y2, x1:x2]
        patch[...] = patch[others]
        self.lam = 1 - (x2 - x1) * (y2 - y1) / (w * h)
        _blend(np.asarray(learn.y), others, np.float32(self.lam))


def _above_0(function: str, alpha: float) -> float:
    value = check_hyper(alpha, "alpha", function)
    if not value:
        raise ValueError(f"{function}: `alpha` must be above 0, got {alpha!r}")
    return value


def _blend(rows: AnyArray, others: Int64, lam: AnyArray | np.float32) -> None:
    """Make of each row lam of itself and 1 - lam of another, in place; NaN, a label that is not
    known, stays unknown in a blend."""
    change = rows[others]
    change -= rows
    change *= 1 - lam
    rows += change


def _box(draw: KeyedRandom, lam: float, h: int, w: int) -> tuple[int, int, int, int]:
    """Return a patch of about 1 - lam of the photo, as far as it lies in it."""
    cut = math.sqrt(1 - lam)
    half_w, half_h = round(w * cut) // 2, round(h * cut) // 2
    x, y = draw.randint(0, w - 1), draw.randint(0, h - 1)
    return max(x - half_w, 0), max(y - half_h, 0), min(x + half_w, w), min(y + half_h, h)
