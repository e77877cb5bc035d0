"""Transforms of photos: crops one by one, then warps, lighting and normalization of whole batches.

An item transform has ``order`` and ``apply(image, draw, train)``. A batch transform has ``order``
and ``plan(batch)``, which writes what it wants into the batch's plan; ``_core.augment`` then does
all of it in one pass, with one resampling. Both have ``config()``, and ``Class(**config)`` makes
the same transform again. Only `Normalize` does anything at validation.

What is drawn, and with which probability, is fastai's.
"""

import math
from numbers import Real

import numpy as np

from mlclassify.arrays import as_array
from mlclassify.rng import BRIGHTNESS, CONTRAST, FLIP, ROTATE, WARP, ZOOM
from mlclassify.vision.image import (
    crop_resize,
    least_crop,
    random_crop_box,
    resize_crop,
    resize_pad,
    resize_squish,
    squish_center_crop,
)

imagenet_stats = ([0.485, 0.456, 0.406], [0.229, 0.224, 0.225])
"""Mean and standard deviation of ImageNet's red, green and blue, of values from 0 to 1."""


class ResizeMethod:
    """Names of the ways of `Resize`."""

    Squish, Crop, Pad = "squish", "crop", "pad"


class PadMode:
    """Names of what `Resize` fills the border with."""

    Zeros, Border, Reflection = "zeros", "border", "reflection"


# --- checks


def _number(name, argument, value, low, high, rule):
    """Return `value` as a float if low <= value <= high, or say what `rule` it breaks."""
    if isinstance(value, bool) or not isinstance(value, Real):
        raise TypeError(f"{name}: `{argument}` must be a number, got {value!r}")
    if not (low <= value <= high and math.isfinite(value)):
        raise ValueError(f"{name}: `{argument}` must {rule}, got {value!r}")
    return float(value)


def _probability(name, argument, value):
    return _number(name, argument, value, 0, 1, "lie in [0, 1]")


def _not_negative(name, argument, value):
    return _number(name, argument, value, 0, math.inf, "be at least 0, and finite")


def _fixed(name, argument, draw):
    """Return a fixed draw, a number or one for each image, as float or list; None stays None."""
    if draw is None:
        return None
    try:
        values = np.asarray(draw, dtype=float)
    except (TypeError, ValueError):
        values = np.full((), np.nan)
    if values.ndim > 1 or not np.isfinite(values).all():
        raise TypeError(
            f"{name}: `{argument}` must be a finite number or a sequence of them, got {draw!r}"
        )
    return values.tolist()


def _size(name, size):
    """Return an image size as (height, width)."""
    pair = tuple(size) if isinstance(size, (list, tuple, np.ndarray)) else (size, size)
    whole = all(isinstance(v, (int, np.integer)) and not isinstance(v, bool) for v in pair)
    if len(pair) != 2 or not whole or min(pair) < 1:
        raise ValueError(
            f"{name}: `size` must be a positive integer or (height, width) of such, got {size!r}"
        )
    return int(pair[0]), int(pair[1])


def _one_of(argument, value, *names):
    """Return a name of a way of `Resize`, or say which there are."""
    if not isinstance(value, str) or value not in names:
        known = ", ".join(map(repr, names[:-1])) + f" or {names[-1]!r}"
        raise ValueError(f"Resize: `{argument}` must be {known}, got {value!r}")
    return value


def _ratio(name, ratio):
    """Return the bounds of width / height as two floats."""
    pair = list(ratio) if isinstance(ratio, (list, tuple, np.ndarray)) else []
    good = len(pair) == 2 and all(isinstance(r, Real) for r in pair)
    if not (good and 0 < pair[0] <= pair[1] < math.inf):
        raise ValueError(f"{name}: `ratio` must be (low, high), 0 < low <= high, got {ratio!r}")
    return [float(r) for r in pair]


class _Configured:
    """A transform that knows the arguments it was made with, named in `_names`."""

    _names = ()

    def config(self):
        """Return the constructor's arguments as a dict that JSON can hold."""
        return {name: getattr(self, name) for name in self._names}

    def __repr__(self):
        arguments = ", ".join(f"{name}={value!r}" for name, value in self.config().items())
        return f"{type(self).__name__}({arguments})"


# --- one photo


class RandomResizedCrop(_Configured):
    """Train on a random part of each photo; validate on the center of the whole, squished.

    Parameters
    ----------
    size : int or (int, int)
        Height and width of the result, in pixels.
    min_scale, max_scale : float
        Bounds of the part's area, as parts of the photo's.
    ratio : (float, float)
        Bounds of the part's width / height; drawn uniformly in its logarithm.
    val_xtra : float
        At validation the whole photo is squished to a size this much larger (rounded up to a
        multiple of 8 pixels), and its center cut out.

    Examples
    --------
    >>> RandomResizedCrop(228, min_scale=0.5).config()["size"]
    [228, 228]
    """

    order = 1
    _names = ("size", "min_scale", "ratio", "val_xtra", "max_scale")

    def __init__(self, size, min_scale=0.08, ratio=(3 / 4, 4 / 3), val_xtra=0.14, max_scale=1.0):
        name = "RandomResizedCrop"
        self.size = list(_size(name, size))
        self.max_scale = _number(name, "max_scale", max_scale, 1e-6, 1, "lie in (0, 1]")
        rule = f"lie in (0, max_scale = {self.max_scale}]"
        self.min_scale = _number(name, "min_scale", min_scale, 1e-6, self.max_scale, rule)
        self.val_xtra = _not_negative(name, "val_xtra", val_xtra)
        self.ratio = _ratio(name, ratio)

    def apply(self, image, draw, train):
        """Return the cut and resized photo.

        Parameters
        ----------
        image : PIL image, RGB
        draw : object with ``uniform(a, b)`` and ``randint(a, b)``
            Where the randomness comes from; used only in training.
        train : bool

        Returns
        -------
        PIL image, RGB, of `size`
        """
        size = tuple(self.size)
        if not train:
            return squish_center_crop(image, size, self.val_xtra)
        scales = (self.min_scale, self.max_scale)
        box = random_crop_box(*image.size, draw, *scales, tuple(self.ratio))
        return crop_resize(image, box, size)

    def covers(self, w, h):
        """Tell whether a photo of `w` x `h` is so large that training never enlarges a part."""
        width, height = least_crop(w, h, self.min_scale, self.ratio)
        return height >= self.size[0] and width >= self.size[1]


class Resize(_Configured):
    """Bring each photo to one size.

    Parameters
    ----------
    size : int or (int, int)
        Height and width of the result, in pixels.
    method : {'crop', 'squish', 'pad'}
        Cut off what is too much (anywhere in training, evenly at validation), distort, or fill up.
    pad_mode : {'reflection', 'border', 'zeros'}
        What 'pad' fills up with.

    Examples
    --------
    >>> Resize((64, 96), method="squish")
    Resize(size=[64, 96], method='squish', pad_mode='reflection')
    """

    order = 1
    _names = ("size", "method", "pad_mode")

    def __init__(self, size, method="crop", pad_mode="reflection"):
        self.size = list(_size("Resize", size))
        self.method = _one_of("method", method, "crop", "squish", "pad")
        self.pad_mode = _one_of("pad_mode", pad_mode, "reflection", "border", "zeros")

    def apply(self, image, draw, train):
        """Return the resized photo; `image`, `draw` and `train` as in `RandomResizedCrop`."""
        size = tuple(self.size)
        if self.method == "squish":
            return resize_squish(image, size)
        where = (draw.uniform(0, 1), draw.uniform(0, 1)) if train else (0.5, 0.5)
        if self.method == "crop":
            return resize_crop(image, size, where)
        return resize_pad(image, size, self.pad_mode, where)

    def covers(self, w, h):
        """Tell whether a photo of `w` x `h` is so large that it need not be enlarged."""
        reaches = any if self.method == "pad" else all
        return reaches((h >= self.size[0], w >= self.size[1]))


# --- batches: where pixels come from


class _Drawn(_Configured):
    """A batch transform with random numbers of its own, keyed by `operation`.

    With ``batch=True`` all images of a batch share the numbers of the first.
    """

    operation = None

    def _uniforms(self, batch, k):
        """Return k columns of n numbers of [0, 1)."""
        u = batch.draws(self.operation, k)
        return np.broadcast_to(u[:1], u.shape).T if self.batch else u.T

    def _or_fixed(self, argument, drawn):
        """Return `drawn`, or the fixed numbers that the argument of this name gave."""
        fixed = getattr(self, argument)
        if fixed is None or isinstance(fixed, float):
            return drawn if fixed is None else np.full(len(drawn), fixed)
        if len(fixed) < len(drawn):
            raise ValueError(
                f"{type(self).__name__}: `{argument}` must have a number for each of the "
                f"{len(drawn)} images of a batch, got {len(fixed)}"
            )
        return np.array(fixed[: len(drawn)])


class _Affine(_Drawn):
    """A batch transform that is a 3x3 matrix for each image, on square coordinates."""

    order = 30

    def plan(self, batch):
        """Put this transform after those that the plan holds already (training only)."""
        AffineWarp([self]).plan(batch)


def _identity(n):
    return np.tile(np.eye(3), (n, 1, 1))


class Flip(_Affine):
    """Mirror left and right with probability `p`.

    Parameters
    ----------
    p : float
    draw : float or sequence of float, optional
        1 for an image to flip, 0 for one to leave: instead of the random choice that `p` is
        applied to. As in fastai the result is still kept with probability `p` only.
    batch : bool
        One choice for the whole batch.

    Examples
    --------
    >>> Flip().config()
    {'p': 0.5, 'draw': None, 'batch': False}
    """

    operation = FLIP
    _names = ("p", "draw", "batch")

    def __init__(self, p=0.5, draw=None, batch=False):
        self.p = _probability("Flip", "p", p)
        self.draw = _fixed("Flip", "draw", draw)
        self.batch = bool(batch)

    def matrices(self, batch):
        """Return float64 (n, 3, 3): output coordinates to input ones."""
        (u,) = self._uniforms(batch, 1)
        flip = np.where(u < self.p, self._or_fixed("draw", np.ones(batch.n)), 0)
        m = _identity(batch.n)
        m[:, 0, 0] = 1 - 2 * flip
        return m


class Dihedral(_Affine):
    """One of the eight symmetries of a square, uniformly, with probability `p`.

    Parameters
    ----------
    p : float
    draw : float or sequence of float, optional
        Fixed symmetries, 0 to 7: 1 mirrors left and right, 2 mirrors up and down, 4 swaps rows
        and columns first; their sums do both.
    batch : bool
        One choice for the whole batch.
    """

    operation = FLIP
    _names = ("p", "draw", "batch")

    def __init__(self, p=0.5, draw=None, batch=False):
        self.p = _probability("Dihedral", "p", p)
        self.draw = _fixed("Dihedral", "draw", draw)
        self.batch = bool(batch)

    def matrices(self, batch):
        """Return float64 (n, 3, 3): output coordinates to input ones."""
        u, which = self._uniforms(batch, 2)
        which = np.where(u < self.p, self._or_fixed("draw", np.floor(8 * which)), 0).astype(int)
        x, y, swap = 1.0 - 2 * (which & 1), 1.0 - (which & 2), which >> 2 & 1
        m = _identity(batch.n)
        m[:, 0, 0], m[:, 0, 1] = x * (1 - swap), x * swap
        m[:, 1, 0], m[:, 1, 1] = y * swap, y * (1 - swap)
        return m


class Rotate(_Affine):
    """Turn by -`max_deg` to `max_deg` degrees with probability `p`.

    Parameters
    ----------
    max_deg : float
    p : float
    draw : float or sequence of float, optional
        Fixed angles in degrees, counterclockwise.
    batch : bool
        One angle for the whole batch.
    """

    operation = ROTATE
    _names = ("max_deg", "p", "draw", "batch")

    def __init__(self, max_deg=10, p=0.5, draw=None, batch=False):
        self.max_deg = _not_negative("Rotate", "max_deg", max_deg)
        self.p = _probability("Rotate", "p", p)
        self.draw = _fixed("Rotate", "draw", draw)
        self.batch = bool(batch)

    def matrices(self, batch):
        """Return float64 (n, 3, 3): output coordinates to input ones."""
        u, angle = self._uniforms(batch, 2)
        angle = self._or_fixed("draw", self.max_deg * (2 * angle - 1))
        angle = np.deg2rad(np.where(u < self.p, angle, 0))
        m = _identity(batch.n)
        m[:, 0, 0] = m[:, 1, 1] = np.cos(angle)
        m[:, 0, 1], m[:, 1, 0] = np.sin(angle), -np.sin(angle)
        return m


class Zoom(_Affine):
    """Enlarge by a factor between `min_zoom` and `max_zoom`, about a random point.

    Parameters
    ----------
    min_zoom, max_zoom : float
    p : float
        Probability of a zoom; the point is always drawn.
    draw : float or sequence of float, optional
        Fixed factors.
    draw_x, draw_y : float or sequence of float, optional
        Fixed points, from 0 (left, top) to 1.
    batch : bool
        One zoom for the whole batch.
    """

    operation = ZOOM
    _names = ("min_zoom", "max_zoom", "p", "draw", "draw_x", "draw_y", "batch")

    def __init__(
        self, min_zoom=1.0, max_zoom=1.1, p=0.5, draw=None, draw_x=None, draw_y=None, batch=False
    ):
        rule = "be above 0, and finite"
        self.min_zoom = _number("Zoom", "min_zoom", min_zoom, 1e-3, math.inf, rule)
        rule = f"be at least min_zoom = {self.min_zoom}, and finite"
        self.max_zoom = _number("Zoom", "max_zoom", max_zoom, self.min_zoom, math.inf, rule)
        self.p = _probability("Zoom", "p", p)
        self.draw = _fixed("Zoom", "draw", draw)
        self.draw_x = _fixed("Zoom", "draw_x", draw_x)
        self.draw_y = _fixed("Zoom", "draw_y", draw_y)
        self.batch = bool(batch)

    def matrices(self, batch):
        """Return float64 (n, 3, 3): output coordinates to input ones."""
        u, zoom, x, y = self._uniforms(batch, 4)
        zoom = self._or_fixed("draw", self.min_zoom + (self.max_zoom - self.min_zoom) * zoom)
        s = 1 / np.where(u < self.p, zoom, 1)
        m = _identity(batch.n)
        m[:, 0, 0] = m[:, 1, 1] = s
        m[:, 0, 2] = (1 - s) * (2 * self._or_fixed("draw_x", x) - 1)
        m[:, 1, 2] = (1 - s) * (2 * self._or_fixed("draw_y", y) - 1)
        return m


_CORNERS = np.array([[-1.0, -1], [-1, 1], [1, -1], [1, 1]])


class Warp(_Affine):
    """Tilt the photo in perspective, sideways and upwards, each with probability `p`.

    Parameters
    ----------
    magnitude : float
        Bound of the tilts, in [0, 0.5): together, tilts of a half fold the photo to a triangle.
    p : float
    draw_x, draw_y : float or sequence of float, optional
        Fixed tilts, in (-0.5, 0.5).
    batch : bool
        One tilt for the whole batch.
    """

    operation = WARP
    _names = ("magnitude", "p", "draw_x", "draw_y", "batch")

    def __init__(self, magnitude=0.2, p=0.5, draw_x=None, draw_y=None, batch=False):
        most = np.nextafter(0.5, 0)
        self.magnitude = _number("Warp", "magnitude", magnitude, 0, most, "lie in [0, 0.5)")
        self.p = _probability("Warp", "p", p)
        self.draw_x, self.draw_y = _tilt("draw_x", draw_x), _tilt("draw_y", draw_y)
        self.batch = bool(batch)

    def matrices(self, batch):
        """Return float64 (n, 3, 3): output coordinates to input ones."""
        u, x, v, y = self._uniforms(batch, 4)
        x = np.where(u < self.p, self._or_fixed("draw_x", self.magnitude * (2 * x - 1)), 0)
        y = np.where(v < self.p, self._or_fixed("draw_y", self.magnitude * (2 * y - 1)), 0)
        places = [(-1 - y, -1 - x), (-1 + y, 1 + x), (1 + y, -1 + x), (1 - y, 1 - x)]
        return _homographies(np.moveaxis(np.array(places), 2, 0))


def _tilt(argument, draw):
    draw = _fixed("Warp", argument, draw)
    if draw is not None and np.abs(draw).max(initial=0) >= 0.5:
        raise ValueError(f"Warp: `{argument}` must lie in (-0.5, 0.5), got {draw}")
    return draw


def _homographies(places):
    """Return matrices (n, 3, 3) that take each four `places` (n, 4, 2) to the input's corners.

    With the last element 1, X (g x + h y + 1) = a x + b y + c and the same for Y: eight linear
    equations for the other eight.
    """
    n = len(places)
    rows = np.zeros((n, 4, 2, 8))
    rows[:, :, 0, 0:3] = rows[:, :, 1, 3:6] = np.concatenate((places, np.ones((n, 4, 1))), 2)
    rows[..., 6:8] = -_CORNERS[..., None] * places[:, :, None, :]
    corners = np.broadcast_to(_CORNERS.reshape(8, 1), (n, 8, 1))
    found = np.linalg.solve(rows.reshape(n, 8, 8), corners)[..., 0]
    return np.concatenate((found, np.ones((n, 1))), 1).reshape(n, 3, 3)


class _Composed(_Configured):
    """Several transforms of `_classes` that act as one, made from them or from their configs."""

    _names = ("parts",)
    _classes = ()

    def __init__(self, parts):
        self._parts = _made(type(self).__name__, parts, self._classes)

    @property
    def parts(self):
        """The parts as [class name, config] pairs."""
        return [[type(part).__name__, part.config()] for part in self._parts]


class AffineWarp(_Composed):
    """Flips, turns, zooms and warps of one batch as one resampling.

    Parameters
    ----------
    parts : list
        Of `Flip`, `Dihedral`, `Rotate`, `Zoom`, `Warp`; or of their [class name, config] pairs.
        The affine ones act in this order, then the warps, as in fastai.

    Examples
    --------
    >>> t = AffineWarp([Flip(p=1.0), Rotate(max_deg=5)])
    >>> AffineWarp(**t.config()).config() == t.config()
    True
    """

    order = 30
    _classes = (Flip, Dihedral, Rotate, Zoom, Warp)

    def plan(self, batch):
        """Put this transform after those that the plan holds already (training only)."""
        if not batch.train:
            return
        affine, warp = _identity(batch.n), _identity(batch.n)
        for part in self._parts:
            if isinstance(part, Warp):
                warp = part.matrices(batch) @ warp
            else:
                affine = affine @ part.matrices(batch)
        # The parts think in squares: in a photo a turn must not stretch.
        affine[:, 0, 1] *= batch.h / batch.w
        affine[:, 1, 0] *= batch.w / batch.h
        own = warp @ affine
        batch.homography = own if batch.homography is None else batch.homography @ own


def _made(name, parts, classes):
    """Return parts as objects of one of `classes`, made from [class name, config] where needed."""
    by_name = {c.__name__: c for c in classes}
    made = []
    for part in parts:
        if not isinstance(part, classes):
            pair = isinstance(part, (list, tuple)) and len(part) == 2
            if not (pair and part[0] in by_name):
                raise TypeError(f"{name}: `parts` must be of {', '.join(by_name)}, got {part!r}")
            part = by_name[part[0]](**part[1])
        made.append(part)
    return made


# --- batches: light


class _Light(_Drawn):
    """A batch transform on logits of pixel values: (logit + added) * multiplied."""

    order = 40
    _names = ("max_lighting", "p", "draw", "batch")

    def __init__(self, max_lighting=0.2, p=0.75, draw=None, batch=False):
        name, below_one = type(self).__name__, np.nextafter(1, 0)
        rule = "lie in [0, 1)"
        self.max_lighting = _number(name, "max_lighting", max_lighting, 0, below_one, rule)
        self.p = _probability(name, "p", p)
        self.draw = _fixed(name, "draw", draw)
        self.batch = bool(batch)

    def plan(self, batch):
        """Put this transform after those that the plan holds already (training only)."""
        Lighting([self]).plan(batch)


class Brightness(_Light):
    """Add to the logits of the pixels the logit of a number about 0.5, with probability `p`.

    Parameters
    ----------
    max_lighting : float
        The number is drawn from 0.5 (1 - max_lighting) to 0.5 (1 + max_lighting); in [0, 1).
    p : float
    draw : float or sequence of float, optional
        Fixed numbers; 0.5 changes nothing.
    batch : bool
        One number for the whole batch.
    """

    operation = BRIGHTNESS

    def change(self, batch):
        """Return what is added to the logits and what they are then multiplied by, each (n,)."""
        u, x = self._uniforms(batch, 2)
        level = self._or_fixed("draw", 0.5 * (1 + self.max_lighting * (2 * x - 1)))
        level = np.where(u < self.p, level, 0.5)
        return np.log(level / (1 - level)), np.ones(batch.n)


class Contrast(_Light):
    """Multiply the logits of the pixels by a number about 1, with probability `p`.

    Parameters
    ----------
    max_lighting : float
        The number is drawn from 1 - max_lighting to 1 / (1 - max_lighting), uniformly in its
        logarithm; in [0, 1).
    p : float
    draw : float or sequence of float, optional
        Fixed numbers; 1 changes nothing.
    batch : bool
        One number for the whole batch.
    """

    operation = CONTRAST

    def change(self, batch):
        """Return what is added to the logits and what they are then multiplied by, each (n,)."""
        u, x = self._uniforms(batch, 2)
        factor = self._or_fixed("draw", np.exp(math.log(1 - self.max_lighting) * (2 * x - 1)))
        return np.zeros(batch.n), np.where(u < self.p, factor, 1)


class Lighting(_Composed):
    """Brightness and contrast of one batch, in one pass.

    Parameters
    ----------
    parts : list
        Of `Brightness` and `Contrast`, or of their [class name, config] pairs; acting in this
        order.

    Examples
    --------
    >>> t = Lighting([Brightness(), Contrast(max_lighting=0.4)])
    >>> Lighting(**t.config()).config() == t.config()
    True
    """

    order = 40
    _classes = (Brightness, Contrast)

    def plan(self, batch):
        """Put this transform after those that the plan holds already (training only)."""
        if not batch.train:
            return
        pairs = batch.lighting
        add, multiply = (0.0, 1.0) if pairs is None else pairs.astype(np.float64).T
        for part in self._parts:
            more, factor = part.change(batch)
            # ((z + add) multiply + more) factor = (z + add + more / multiply) multiply factor
            add, multiply = add + more / multiply, multiply * factor
        batch.lighting = np.stack(np.broadcast_arrays(add, multiply, np.empty(batch.n))[:2], 1)
        batch.lighting = batch.lighting.astype(np.float32)


class Normalize(_Configured):
    """Subtract a mean from each channel and divide by a standard deviation, always.

    Parameters
    ----------
    mean, std : sequence of 3 float
        Of red, green and blue, for values from 0 to 1.

    Examples
    --------
    >>> Normalize.from_stats(*imagenet_stats)
    Normalize(mean=[0.485, 0.456, 0.406], std=[0.229, 0.224, 0.225])
    """

    order = 99
    _names = ("mean", "std")

    def __init__(self, mean, std):
        self.mean, self.std = (self._channels(n, v) for n, v in (("mean", mean), ("std", std)))
        if min(self.std) <= 0:
            raise ValueError(f"Normalize: `std` must be above 0, got {self.std}")

    @classmethod
    def from_stats(cls, mean, std):
        """Return a transform for these statistics, such as ``*imagenet_stats``."""
        return cls(mean, std)

    @staticmethod
    def _channels(argument, values):
        array = as_array(argument, "Normalize", values)
        if array.shape != (3,) or not np.isfinite(array).all():
            raise ValueError(f"Normalize: `{argument}` must be 3 finite numbers, got {values!r}")
        return [float(v) for v in array]

    def plan(self, batch):
        """Write the statistics into the plan."""
        batch.mean = np.array(self.mean, dtype=np.float32)
        batch.std = np.array(self.std, dtype=np.float32)


# --- the usual set

# Arguments of fastai's aug_transforms that have one value here.
_ONE_VALUE = {
    "size": None, "mode": "bilinear", "pad_mode": "reflection", "align_corners": True,
    "min_scale": 1.0,
}  # fmt: skip


def aug_transforms(
    mult=1.0,
    do_flip=True,
    flip_vert=False,
    max_rotate=10.0,
    min_zoom=1.0,
    max_zoom=1.1,
    max_lighting=0.2,
    max_warp=0.2,
    p_affine=0.75,
    p_lighting=0.75,
    xtra_tfms=None,
    batch=False,
    **others,
):
    """Return the usual batch transforms for photos: flip, turn, zoom, warp, and light.

    Parameters
    ----------
    mult : float
        Factor on `max_rotate`, `max_lighting` and `max_warp`.
    do_flip : bool
        Mirror left and right every second time.
    flip_vert : bool
        With `do_flip`: any of the eight symmetries of a square instead.
    max_rotate : float
        Degrees.
    min_zoom, max_zoom : float
    max_lighting, max_warp : float
        0 for none. After multiplication with `mult`, in [0, 1) and [0, 0.5).
    p_affine, p_lighting : float
        Probability of each of turn, zoom, warp; of each of brightness and contrast.
    xtra_tfms : batch transform or list of them, optional
    batch : bool
        The same numbers for all images of a batch.
    **others
        fastai's other arguments are accepted with the only values they have here: ``size=None``,
        ``mode='bilinear'``, ``pad_mode='reflection'``, ``align_corners=True``, ``min_scale=1.0``.

    Returns
    -------
    list of batch transforms

    Raises
    ------
    TypeError
        An argument is not supported.

    Examples
    --------
    >>> [type(t).__name__ for t in aug_transforms()]
    ['AffineWarp', 'Lighting']
    >>> aug_transforms(max_lighting=0, do_flip=False, max_warp=0, max_zoom=1)
    [AffineWarp(parts=[['Rotate', {'max_deg': 10.0, 'p': 0.75, 'draw': None, 'batch': False}]])]
    """
    _refuse_others(others)
    for name, value in (("mult", mult), ("max_rotate", max_rotate), ("min_zoom", min_zoom),
                        ("max_zoom", max_zoom), ("max_lighting", max_lighting),
                        ("max_warp", max_warp)):  # fmt: skip
        _not_negative("aug_transforms", name, value)
    affine, light = [], []
    if do_flip:
        affine.append((Dihedral if flip_vert else Flip)(p=0.5, batch=batch))
    if max_warp * mult:
        affine.append(Warp(max_warp * mult, p=p_affine, batch=batch))
    if max_rotate * mult:
        affine.append(Rotate(max_rotate * mult, p=p_affine, batch=batch))
    if (min_zoom, max_zoom) != (1, 1):
        affine.append(Zoom(min_zoom, max_zoom, p=p_affine, batch=batch))
    if max_lighting * mult:
        light = [t(max_lighting * mult, p=p_lighting, batch=batch) for t in (Brightness, Contrast)]
    chosen = [AffineWarp(affine)] if affine else []
    return chosen + ([Lighting(light)] if light else []) + _extra(xtra_tfms)


def _extra(xtra_tfms):
    if xtra_tfms is None:
        return []
    several = list(xtra_tfms) if isinstance(xtra_tfms, (list, tuple)) else [xtra_tfms]
    for t in several:
        if not hasattr(t, "plan"):
            raise TypeError(
                "aug_transforms: `xtra_tfms` must be a batch transform or a list of them, "
                f"got {t!r}"
            )
    return several


def _refuse_others(others):
    for name, value in others.items():
        if name not in _ONE_VALUE:
            raise TypeError(
                f"aug_transforms: `{name}` must be left out, got {value!r}; it takes mult, do_flip,"
                " flip_vert, max_rotate, min_zoom, max_zoom, max_lighting, max_warp, p_affine,"
                " p_lighting, xtra_tfms, batch"
            )
        same = value == _ONE_VALUE[name]
        if not (isinstance(same, bool) and same):
            raise TypeError(
                f"aug_transforms: `{name}` must be {_ONE_VALUE[name]!r}, got {value!r}: photos get "
                "their size in item_tfms (Resize, RandomResizedCrop), and are resampled bilinearly "
                "with reflection at the borders"
            )
