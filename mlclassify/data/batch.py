"""What is to be done to a batch of photos, and doing it.

Batch transforms do not touch pixels. Each writes what it wants into one `BatchPlan`; then a single
pass in C flips, rotates, zooms, warps, lights and normalizes.
"""

from dataclasses import dataclass, field

import numpy as np

from mlclassify import _core
from mlclassify.rng import uniforms


def _zeros():
    return np.zeros(3, np.float32)


def _ones():
    return np.ones(3, np.float32)


@dataclass
class BatchPlan:
    """What the batch transforms want done to `n` photos of `h` x `w`.

    Attributes
    ----------
    n, h, w : int
    train : bool
        Whether random changes are wanted.
    seed, epoch : int
        The key of random numbers, with `positions`.
    positions : sequence of int
        Of the photos in the epoch; 0 to n - 1 if not given.
    homography : float64 (n, 3, 3) or None
        From output to input coordinates, both in [-1, 1] with the centers of the corner pixels at
        the corners.
    lighting : float32 (n, 2) or None
        Column 0 is added to, column 1 multiplies, the logit of every color value.
    mean, std : float32 (3,)
        What is subtracted from colors in [0, 1], and what they are divided by then.

    Examples
    --------
    >>> plan = BatchPlan(2, 64, 64, train=True, seed=1)
    >>> plan.draws(operation=3, k=4).shape
    (2, 4)
    """

    n: int
    h: int
    w: int
    train: bool = False
    seed: int = 0
    epoch: int = 0
    positions: object = None
    homography: object = None
    lighting: object = None
    mean: np.ndarray = field(default_factory=_zeros)
    std: np.ndarray = field(default_factory=_ones)

    def draws(self, operation, k):
        """Return `k` random numbers for each photo, float64 (n, k) in [0, 1).

        Parameters
        ----------
        operation : int
            What they are for: a constant of `mlclassify.rng`.
        k : int
        """
        positions = range(self.n) if self.positions is None else self.positions
        return uniforms(self.seed, self.epoch, positions, operation, k)


def make_plan(batch_tfms, **plan):
    """Return the `BatchPlan` that transforms agree on.

    Parameters
    ----------
    batch_tfms : iterable of batch transforms
        In the order in which they write.
    **plan
        Arguments of `BatchPlan`.

    Returns
    -------
    BatchPlan
    """
    plan = BatchPlan(**plan)
    for transform in batch_tfms:
        transform.plan(plan)
    return plan


def run_plan(plan, images, out):
    """Carry a plan out.

    Parameters
    ----------
    plan : BatchPlan
    images : uint8 (n, h, w, 3)
    out : float32 (n, h, w, 3)
        Written.

    Returns
    -------
    float32 (n, 3, h, w)
        `out`, seen with its channels first.
    """
    _core.augment(images, plan.homography, plan.lighting, plan.mean, plan.std, out)
    return out.transpose(0, 3, 1, 2)


def undo_normalize(plan, x):
    """Return the pixels of a batch before its normalization, for showing.

    Parameters
    ----------
    plan : BatchPlan
    x : float32 (n, 3, h, w)

    Returns
    -------
    uint8 (n, h, w, 3)
    """
    colors = np.asarray(x).transpose(0, 2, 3, 1) * plan.std + plan.mean
    return np.rint(colors.clip(0, 1) * 255).astype(np.uint8)


def pictures(batch_tfms, x):
    """Return the pixels of a batch that these transforms made, for showing.

    Parameters
    ----------
    batch_tfms : iterable of batch transforms
    x : float32 (n, 3, h, w)

    Returns
    -------
    uint8 (n, h, w, 3)
    """
    n, _, h, w = np.shape(x)
    return undo_normalize(make_plan(batch_tfms, n=n, h=h, w=w), x)
