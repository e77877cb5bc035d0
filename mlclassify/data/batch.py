"""What is to be done to a batch of photos, and doing it.

Batch transforms do not touch pixels. Each writes what it wants into one `BatchPlan`; then a single
pass in C flips, rotates, zooms, warps, lights and normalizes.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, Protocol, TypeAlias

import numpy as np

from mlclassify import _core
from mlclassify.rng import KeyedRandom, uniforms
from mlclassify.types import AnyArray, ArrayLike, Float32, Float64, UInt8
from mlclassify.vision.image import Padding, shrink_image

Reading: TypeAlias = Literal["bilinear", "nearest"]
"""How to read between pixels."""


def _zeros() -> Float32:
    return np.zeros(3, np.float32)


def _ones() -> Float32:
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
    size : (int, int) or None
        Height and width of the batch; those of the photos if None.
    border : {'reflection', 'border', 'zeros'}
        What lies outside of a photo.
    mode : {'bilinear', 'nearest'}
        How to read between pixels.
    align_corners : bool
        Else -1 and 1 are the outer edges of the corner pixels.
    lighting : float64 (n, 2) or None
        Column 0 is added to, column 1 multiplies, the logit of every color value.
    tint : float64 (n, 3, 4) or None
        A map of the three logits of a pixel, after the lighting: a matrix, and what is added.
    turn : float64 (n,) or None
        What is added to every hue, as a part of the color circle.
    finish : list of functions
        Each changes the float32 batch (n, h, w, 3) after the normalization.
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
    positions: Sequence[int] | None = None
    homography: Float64 | None = None
    size: Sequence[int] | None = None
    border: Padding = "reflection"
    mode: Reading = "bilinear"
    align_corners: bool = True
    lighting: Float64 | None = None
    tint: Float64 | None = None
    turn: Float64 | None = None
    finish: list[Callable[[Float32], object]] = field(default_factory=list)
    mean: Float32 = field(default_factory=_zeros)
    std: Float32 = field(default_factory=_ones)

    @property
    def out_size(self) -> tuple[int, int]:
        """(height, width) of the batch."""
        h, w = (self.h, self.w) if self.size is None else self.size
        return h, w

    def warp(self, matrices: Float64) -> None:
        """Put a change of coordinates, float64 (n, 3, 3), after those that the plan holds."""
        self.homography = matrices if self.homography is None else self.homography @ matrices

    def light(self, added: Float64, multiplied: Float64) -> None:
        """Add to all logits and multiply them then, each (n,), after what the plan holds."""
        if self.tint is not None:
            scale = multiplied[:, None, None]
            self.tint = np.concatenate(
                [self.tint[..., :3] * scale, (self.tint[..., 3:] + added[:, None, None]) * scale], 2
            )
            return
        a, m = (0.0, 1.0) if self.lighting is None else self.lighting.T
        # ((z + a) m + added) multiplied = (z + a + added / m) m multiplied
        pair = np.broadcast_arrays(a + added / m, m * multiplied, np.empty(self.n))[:2]
        self.lighting = np.stack(pair, 1)

    def mix(self, matrices: Float64) -> None:
        """Mix the logits of a pixel's channels, float64 (n, 3, 3), after what the plan holds."""
        maps = np.eye(3, 4)[None] if self.tint is None else self.tint
        self.tint = matrices @ maps

    def draws(self, operation: int, k: int) -> Float64:
        """Return `k` random numbers for each photo, float64 (n, k) in [0, 1).

        Parameters
        ----------
        operation : int
            What they are for: a constant of `mlclassify.rng`.
        k : int
        """
        return uniforms(self.seed, self.epoch, self.places, operation, k)

    @property
    def places(self) -> Sequence[int]:
        """Positions of the photos in the epoch."""
        return range(self.n) if self.positions is None else self.positions

    def generators(self, operation: int) -> Iterator[KeyedRandom]:
        """Yield a `KeyedRandom` for each photo, of the numbers that `draws` gives."""
        for position in self.places:
            yield KeyedRandom(self.seed, self.epoch, position, operation)


class BatchTransform(Protocol):
    """What a `DataLoader` does to a batch; lower orders first."""

    @property
    def order(self) -> float: ...

    def plan(self, batch: BatchPlan, /) -> None: ...


def make_plan(batch_tfms: Iterable[BatchTransform], **arguments: Any) -> BatchPlan:
    """Return the `BatchPlan` that transforms agree on.

    Parameters
    ----------
    batch_tfms : iterable of batch transforms
        In the order in which they write.
    **arguments
        Of `BatchPlan`.

    Returns
    -------
    BatchPlan
    """
    plan = BatchPlan(**arguments)
    for transform in batch_tfms:
        transform.plan(plan)
    return plan


def run_plan(plan: BatchPlan, images: UInt8, out: Float32) -> Float32:
    """Carry a plan out.

    Parameters
    ----------
    plan : BatchPlan
    images : uint8 (n, h, w, 3)
    out : float32 (n, *plan.out_size, 3)
        Written.

    Returns
    -------
    float32 (n, 3, *plan.out_size)
        `out`, seen with its channels first.
    """
    homography = plan.homography
    if homography is None and plan.out_size != images.shape[1:3]:
        homography = np.tile(np.eye(3), (plan.n, 1, 1))
    if homography is not None and plan.size and plan.n:
        images = shrunk(images, plan.out_size, homography)
    lighting, tint, turn = map(_float32, (plan.lighting, plan.tint, plan.turn))
    _core.augment(
        images, homography, _BORDERS.index(plan.border), plan.mode == "nearest",
        not plan.align_corners, lighting, tint, turn, plan.mean, plan.std, out,
    )  # fmt: skip
    for function in plan.finish:
        function(out)
    return out.transpose(0, 3, 1, 2)


_BORDERS = ("reflection", "border", "zeros")


def _float32(array: AnyArray | None) -> Float32 | None:
    return None if array is None else np.ascontiguousarray(array, np.float32)


def shrunk(images: UInt8, size: tuple[int, int], homography: Float64) -> UInt8:
    """Return photos averaged down to twice `size`, as fastai does: four pixels are read for one.

    Where the plan enlarges a part of the photos by more than that they stay.
    """
    shrink = min(images.shape[1] / size[0], images.shape[2] / size[1]) / 2
    if shrink <= 1 or shrink <= _enlarged(homography):
        return images
    h, w = (max(1, int(side / shrink)) for side in images.shape[1:3])
    return np.stack([shrink_image(image, (h, w)) for image in images])


def _enlarged(homography: Float64) -> float:
    """How far the corners of the batch lie apart in the photos, inverted."""
    corners = np.array([[x, y, 1.0] for x in (-1, 1) for y in (-1, 1)])
    places = corners @ homography.transpose(0, 2, 1)
    xy = places[..., :2] / places[..., 2:]
    return 2 / max(np.ptp(xy), 1e-9)


def undo_normalize(plan: BatchPlan, x: ArrayLike) -> UInt8:
    """Return the pixels of a batch before its normalization, for showing.

    Parameters
    ----------
    plan : BatchPlan
    x : float32 (n, 3, h, w)

    Returns
    -------
    uint8 (n, h, w, 3)
    """
    colors: Float32 = np.asarray(x).transpose(0, 2, 3, 1) * plan.std + plan.mean
    levels: AnyArray = np.rint(colors.clip(0, 1) * 255)
    return levels.astype(np.uint8)


def pictures(batch_tfms: Iterable[BatchTransform], x: ArrayLike) -> UInt8:
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
