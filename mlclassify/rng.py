"""Random numbers by key instead of by history.

Every draw is a function of (seed, epoch, position in the epoch, operation, element), computed by
the counter-based generator of ``csrc/base/rng.h``. Nothing is consumed, so the numbers of a photo
depend neither on the number of threads nor on what was drawn before, and nobody's global state is
touched.
"""

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from mlclassify import _core
from mlclassify.ranks import current
from mlclassify.types import Float64, Int64

# What a draw is for. The numbers are part of the recipe of a run: append, never renumber.
SHUFFLE, CROP, FLIP, ROTATE, ZOOM, WARP, BRIGHTNESS, CONTRAST, HEAD_INIT, DRAWING, NOTEBOOK = (
    range(1, 12)
)
MIXUP, CUTMIX = 101, 102
SAMPLE, BATCH_CROP, SATURATION, HUE, ERASE = range(12, 17)
# Dropout, in csrc/nn/layer_pointwise.c, draws with operation 0x10000 + layer: these stay below.

_default_seed: int | None = None


def fresh_seed() -> int:
    """Return a seed from the operating system, below 2**32 so that it is easy to note down."""
    return current().fresh_seed()


def set_seed(seed: int | None) -> None:
    """Make everything that is built from now on without a seed of its own use this one.

    Parameters
    ----------
    seed : int or None
        0 to 2**64 - 1. None goes back to a fresh seed for every object.

    Examples
    --------
    >>> set_seed(7)
    >>> default_seed()
    7
    >>> set_seed(None)
    """
    global _default_seed
    _default_seed = None if seed is None else check_seed("set_seed", seed)


def default_seed() -> int:
    """Return the seed that `set_seed` named, else a fresh one."""
    return fresh_seed() if _default_seed is None else _default_seed


def check_seed(function: str, seed: Any) -> int:
    """Return `seed` as an int, or raise in the name of `function`."""
    if isinstance(seed, (bool, np.bool_)) or not isinstance(seed, (int, np.integer)):
        raise TypeError(f"{function}: `seed` must be an integer, got {seed!r}")
    if not 0 <= seed < 2**64:
        raise ValueError(f"{function}: `seed` must lie in [0, 2**64), got {seed}")
    return int(seed)


def uniforms(seed: int, epoch: int, positions: Sequence[int] | Int64, operation: int,
             k: int) -> Float64:
    """Draw `k` numbers for each of several positions of an epoch.

    Parameters
    ----------
    seed, epoch, operation : int
    positions : sequence of int
        One for each row of the result.
    k : int

    Returns
    -------
    float64 (len(positions), k), in [0, 1)

    Examples
    --------
    >>> a = uniforms(1, 0, [4, 5], ZOOM, 3)
    >>> bool((a[1] == uniforms(1, 0, [5], ZOOM, 3)[0]).all())
    True
    """
    out = np.empty((len(positions), k))
    for row, position in zip(out, positions):
        _core.random_uniform(seed, epoch, int(position), operation, row)
    return out


class KeyedRandom:
    """The part of ``random.Random`` that cropping uses, over one key.

    Parameters
    ----------
    seed, epoch, position, operation : int
        The key. Two generators of one key give the same numbers.

    Examples
    --------
    >>> a, b = KeyedRandom(1, 0, 5, CROP), KeyedRandom(1, 0, 5, CROP)
    >>> a.uniform(0, 1) == b.uniform(0, 1)
    True
    >>> 3 <= a.randint(3, 4) <= 4
    True
    """

    _BLOCK = 32

    def __init__(self, seed: int, epoch: int, position: int, operation: int) -> None:
        self._key = (seed, epoch, position, operation)
        self._numbers: Float64 = np.empty(0)
        self._used = 0

    def random(self) -> float:
        """Return the next number of [0, 1)."""
        if self._used == len(self._numbers):
            self._numbers = np.empty(len(self._numbers) + self._BLOCK)
            _core.random_uniform(*self._key, self._numbers)
        self._used += 1
        return float(self._numbers[self._used - 1])

    def uniform(self, a: float, b: float) -> float:
        """Return a number between `a` and `b`."""
        return a + (b - a) * self.random()

    def beta(self, alpha: float) -> float:
        """Return a number of [0, 1] of the distribution Beta(alpha, alpha)."""
        log_x, log_y = self._log_gamma(alpha), self._log_gamma(alpha)
        return 1 / (1 + math.exp(min(log_y - log_x, 700)))

    def _log_gamma(self, alpha: float) -> float:
        """Return the logarithm of a gamma variate (Marsaglia and Tsang, 2000)."""
        if alpha < 1:
            return self._log_gamma(alpha + 1) + math.log(1 - self.random()) / alpha
        d = alpha - 1 / 3
        while True:
            radius = math.sqrt(-2 * math.log(1 - self.random()))
            z = radius * math.cos(2 * math.pi * self.random())
            v = (1 + z / math.sqrt(9 * d)) ** 3
            u = 1 - self.random()
            if v > 0 and math.log(u) < z * z / 2 + d - d * v + d * math.log(v):
                return math.log(d * v)

    def randint(self, a: int, b: int) -> int:
        """Return an integer of `a` to `b`, both included."""
        return a + int(self.random() * (b - a + 1))
