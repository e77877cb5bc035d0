"""Transforms of photos: crops one by one, then warps, light, colors and normalization of batches.

An item transform has ``order`` and ``apply(image, draw, train)``. A batch transform has ``order``
and ``plan(batch)``, which writes what it wants into the batch's plan; ``_core.augment`` then does
all of it in one pass, with one resampling. Both have ``config()``, and ``Class(**config)`` makes
the same transform again. At validation only `Normalize` and what sets the size do anything.

What is drawn, and with which probability, is fastai's; each photo draws for itself.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import partial
from numbers import Real
from typing import Any, Final, Literal, Self, TypeAlias, TypedDict, TypeVar, Unpack

import numpy as np

from mlclassify.arrays import as_array
from mlclassify.checks import check_whole
from mlclassify.data.batch import BatchPlan, BatchTransform, Reading
from mlclassify.data.loaders import DataLoaders
from mlclassify.rng import (
    BATCH_CROP,
    BRIGHTNESS,
    CONTRAST,
    ERASE,
    FLIP,
    HUE,
    ROTATE,
    SATURATION,
    WARP,
    ZOOM,
    KeyedRandom,
    uniforms,
)
from mlclassify.types import ArrayLike, Float32, Float64
from mlclassify.vision.image import (
    Box,
    Draw,
    Image,
    ImageSize,
    Padding,
    central_box,
    crop_pad,
    crop_resize,
    least_crop,
    random_crop_box,
    resize_crop,
    resize_pad,
    resize_squish,
    squish_center_crop,
)

Fixed: TypeAlias = float | Sequence[float] | None
"""What takes the place of random numbers: one for all images, or one for each."""

_Text = TypeVar("_Text", bound=str)


class Grid(TypedDict, total=False):
    """Arguments of the resampling of a batch, as in `AffineWarp`."""

    size: ImageSize | None
    mode: Reading
    pad_mode: Padding
    align_corners: bool


imagenet_stats = ([0.485, 0.456, 0.406], [0.229, 0.224, 0.225])
"""Mean and standard deviation of ImageNet's red, green and blue, of values from 0 to 1."""


_PAD_MODES = ("reflection", "border", "zeros")


class ResizeMethod:
    """Names of the ways of `Resize`."""

    Squish: Final = "squish"
    Crop: Final = "crop"
    Pad: Final = "pad"


class PadMode:
    """Names of what lies outside of a photo."""

    Zeros: Final = "zeros"
    Border: Final = "border"
    Reflection: Final = "reflection"


# --- checks


def _number(
    name: str, argument: str, value: float, low: float, high: float, rule: str
) -> float:
    """Return `value` as a float if low <= value <= high, or say what `rule` it breaks."""
    if isinstance(value, bool) or not isinstance(value, Real):
        raise TypeError(f"{name}: `{argument}` must be a number, got {value!r}")
    if not (low <= value <= high and math.isfinite(value)):
        raise ValueError(f"{name}: `{argument}` must {rule}, got {value!r}")
    return float(value)


def _probability(name: str, argument: str, value: float) -> float:
    return _number(name, argument, value, 0, 1, "lie in [0, 1]")


def _not_negative(name: str, argument: str, value: float) -> float:
    return _number(name, argument, value, 0, math.inf, "be at least 0, and finite")


def _fixed(name: str, argument: str, draw: Fixed) -> float | list[float] | None:
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
    fixed: float | list[float] = values.tolist()
    return fixed


def _size(name: str, size: Any) -> tuple[int, int]:
    """Return an image size as (height, width)."""
    pair = tuple(size) if isinstance(size, (list, tuple, np.ndarray)) else (size, size)
    whole = all(isinstance(v, (int, np.integer)) and not isinstance(v, bool) for v in pair)
    if len(pair) != 2 or not whole or min(pair) < 1:
        raise ValueError(
            f"{name}: `size` must be a positive integer or (height, width) of such, got {size!r}"
        )
    return int(pair[0]), int(pair[1])


def _one_of(name: str, argument: str, value: _Text, *names: str) -> _Text:
    """Return a name of a way to do something, or say which there are."""
    if not isinstance(value, str) or value not in names:
        known = ", ".join(map(repr, names[:-1])) + f" or {names[-1]!r}"
        raise ValueError(f"{name}: `{argument}` must be {known}, got {value!r}")
    return value


def _ratio(name: str, ratio: Any) -> list[float]:
    """Return the bounds of width / height as two floats."""
    pair = list(ratio) if isinstance(ratio, (list, tuple, np.ndarray)) else []
    good = len(pair) == 2 and all(isinstance(r, Real) for r in pair)
    if not (good and 0 < pair[0] <= pair[1] < math.inf):
        raise ValueError(f"{name}: `ratio` must be (low, high), 0 < low <= high, got {ratio!r}")
    return [float(r) for r in pair]


class _Configured:
    """A transform that knows the arguments it was made with, named in `_names`."""

    _names: tuple[str, ...] = ()

    def config(self) -> dict[str, Any]:
        """Return the constructor's arguments as a dict that JSON can hold."""
        return {name: getattr(self, name) for name in self._names}

    def __repr__(self) -> str:
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

    def __init__(
        self,
        size: ImageSize,
        min_scale: float = 0.08,
        ratio: Sequence[float] = (3 / 4, 4 / 3),
        val_xtra: float = 0.14,
        max_scale: float = 1.0,
    ) -> None:
        name = "RandomResizedCrop"
        self.size = list(_size(name, size))
        self.max_scale = _number(name, "max_scale", max_scale, 1e-6, 1, "lie in (0, 1]")
        rule = f"lie in (0, max_scale = {self.max_scale}]"
        self.min_scale = _number(name, "min_scale", min_scale, 1e-6, self.max_scale, rule)
        self.val_xtra = _not_negative(name, "val_xtra", val_xtra)
        self.ratio = _ratio(name, ratio)

    def apply(self, image: Image.Image, draw: Draw, train: bool) -> Image.Image:
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

    def covers(self, w: int, h: int) -> bool:
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

    def __init__(
        self,
        size: ImageSize,
        method: Literal["crop", "squish", "pad"] = "crop",
        pad_mode: Padding = "reflection",
    ) -> None:
        self.size = list(_size("Resize", size))
        self.method = _one_of("Resize", "method", method, "crop", "squish", "pad")
        self.pad_mode = _one_of("Resize", "pad_mode", pad_mode, *_PAD_MODES)

    def apply(self, image: Image.Image, draw: Draw, train: bool) -> Image.Image:
        """Return the resized photo; `image`, `draw` and `train` as in `RandomResizedCrop`."""
        size = tuple(self.size)
        if self.method == "squish":
            return resize_squish(image, size)
        where = (draw.uniform(0, 1), draw.uniform(0, 1)) if train else (0.5, 0.5)
        if self.method == "crop":
            return resize_crop(image, size, where)
        return resize_pad(image, size, self.pad_mode, where)

    def covers(self, w: int, h: int) -> bool:
        """Tell whether a photo of `w` x `h` is so large that it need not be enlarged."""
        reaches = any if self.method == "pad" else all
        return reaches((h >= self.size[0], w >= self.size[1]))


class CropPad(_Configured):
    """Cut each photo to one size around its center, or pad it evenly; never resize it.

    Parameters
    ----------
    size : int or (int, int)
        Height and width of the result, in pixels.
    pad_mode : {'zeros', 'border', 'reflection'}
        What a smaller photo is filled up with.

    Examples
    --------
    >>> CropPad(64)
    CropPad(size=[64, 64], pad_mode='zeros')
    """

    order = 0
    _names = ("size", "pad_mode")

    def __init__(self, size: ImageSize, pad_mode: Padding = "zeros") -> None:
        self.size = list(_size("CropPad", size))
        self.pad_mode = _one_of("CropPad", "pad_mode", pad_mode, *_PAD_MODES)

    def apply(self, image: Image.Image, draw: Draw, train: bool) -> Image.Image:
        """Return the cut or padded photo; `image`, `draw`, `train` as in `RandomResizedCrop`."""
        return crop_pad(image, tuple(self.size), self.pad_mode)


# --- batches: where pixels come from

_GRID: dict[str, Any] = {
    "size": None, "mode": "bilinear", "pad_mode": "reflection", "align_corners": True
}  # fmt: skip


def _grid(name: str, given: Mapping[str, Any]) -> dict[str, Any]:
    """Return checked arguments of the resampling, those that are not as in `_GRID`."""
    unknown = given.keys() - _GRID.keys()
    if unknown:
        raise TypeError(
            f"{name}: further arguments must be of {', '.join(_GRID)}, got "
            f"{', '.join(sorted(unknown))}"
        )
    grid = {**_GRID, **given}
    if grid["size"] is not None:
        grid["size"] = list(_size(name, grid["size"]))
    _one_of(name, "mode", grid["mode"], "bilinear", "nearest")
    _one_of(name, "pad_mode", grid["pad_mode"], *_PAD_MODES)
    grid["align_corners"] = bool(grid["align_corners"])
    return {key: value for key, value in grid.items() if value != _GRID[key]}


class _Resampling(_Configured):
    """A batch transform with arguments of the resampling, `grid`, kept where they differ."""

    grid: dict[str, Any]

    def config(self) -> dict[str, Any]:
        """Return the constructor's arguments as a dict that JSON can hold."""
        return {**super().config(), **self.grid}

    def _plan_grid(self, batch: BatchPlan) -> None:
        batch.size = self.grid.get("size", batch.size)
        batch.mode = self.grid.get("mode", batch.mode)
        batch.border = self.grid.get("pad_mode", batch.border)
        batch.align_corners = self.grid.get("align_corners", batch.align_corners)


class _Drawn(_Configured):
    """A batch transform with random numbers of its own, keyed by `operation`.

    With ``batch=True`` all images of a batch share the numbers of the first.
    """

    operation: int
    batch: bool

    def _uniforms(self, batch: BatchPlan, k: int) -> Float64:
        """Return k columns of n numbers of [0, 1)."""
        u = batch.draws(self.operation, k)
        return np.broadcast_to(u[:1], u.shape).T if self.batch else u.T

    def _or_fixed(self, argument: str, drawn: Float64) -> Float64:
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


class _Affine(_Drawn, _Resampling):
    """A batch transform that is a 3x3 matrix for each image, on square coordinates."""

    order = 30

    def plan(self, batch: BatchPlan) -> None:
        """Put this transform after those that the plan holds already (training only)."""
        AffineWarp([self]).plan(batch)


def _identity(n: int) -> Float64:
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
    **grid
        ``size``, ``mode``, ``pad_mode``, ``align_corners`` as in `AffineWarp`.

    Examples
    --------
    >>> Flip().config()
    {'p': 0.5, 'draw': None, 'batch': False}
    """

    operation = FLIP
    _names = ("p", "draw", "batch")

    def __init__(
        self, p: float = 0.5, draw: Fixed = None, batch: bool = False, **grid: Unpack[Grid]
    ) -> None:
        self.p = _probability("Flip", "p", p)
        self.draw = _fixed("Flip", "draw", draw)
        self.batch, self.grid = bool(batch), _grid("Flip", grid)

    def matrices(self, batch: BatchPlan) -> Float64:
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
    **grid
        ``size``, ``mode``, ``pad_mode``, ``align_corners`` as in `AffineWarp`.
    """

    operation = FLIP
    _names = ("p", "draw", "batch")

    def __init__(
        self, p: float = 0.5, draw: Fixed = None, batch: bool = False, **grid: Unpack[Grid]
    ) -> None:
        self.p = _probability("Dihedral", "p", p)
        self.draw = _fixed("Dihedral", "draw", draw)
        self.batch, self.grid = bool(batch), _grid("Dihedral", grid)

    def matrices(self, batch: BatchPlan) -> Float64:
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
    **grid
        ``size``, ``mode``, ``pad_mode``, ``align_corners`` as in `AffineWarp`.
    """

    operation = ROTATE
    _names = ("max_deg", "p", "draw", "batch")

    def __init__(
        self,
        max_deg: float = 10,
        p: float = 0.5,
        draw: Fixed = None,
        batch: bool = False,
        **grid: Unpack[Grid],
    ) -> None:
        self.max_deg = _not_negative("Rotate", "max_deg", max_deg)
        self.p = _probability("Rotate", "p", p)
        self.draw = _fixed("Rotate", "draw", draw)
        self.batch, self.grid = bool(batch), _grid("Rotate", grid)

    def matrices(self, batch: BatchPlan) -> Float64:
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
    **grid
        ``size``, ``mode``, ``pad_mode``, ``align_corners`` as in `AffineWarp`.
    """

    operation = ZOOM
    _names = ("min_zoom", "max_zoom", "p", "draw", "draw_x", "draw_y", "batch")

    def __init__(
        self,
        min_zoom: float = 1.0,
        max_zoom: float = 1.1,
        p: float = 0.5,
        draw: Fixed = None,
        draw_x: Fixed = None,
        draw_y: Fixed = None,
        batch: bool = False,
        **grid: Unpack[Grid],
    ) -> None:
        rule = "be above 0, and finite"
        self.min_zoom = _number("Zoom", "min_zoom", min_zoom, 1e-3, math.inf, rule)
        rule = f"be at least min_zoom = {self.min_zoom}, and finite"
        self.max_zoom = _number("Zoom", "max_zoom", max_zoom, self.min_zoom, math.inf, rule)
        self.p = _probability("Zoom", "p", p)
        self.draw = _fixed("Zoom", "draw", draw)
        self.draw_x = _fixed("Zoom", "draw_x", draw_x)
        self.draw_y = _fixed("Zoom", "draw_y", draw_y)
        self.batch, self.grid = bool(batch), _grid("Zoom", grid)

    def matrices(self, batch: BatchPlan) -> Float64:
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
    **grid
        ``size``, ``mode``, ``pad_mode``, ``align_corners`` as in `AffineWarp`.
    """

    operation = WARP
    _names = ("magnitude", "p", "draw_x", "draw_y", "batch")

    def __init__(
        self,
        magnitude: float = 0.2,
        p: float = 0.5,
        draw_x: Fixed = None,
        draw_y: Fixed = None,
        batch: bool = False,
        **grid: Unpack[Grid],
    ) -> None:
        most = np.nextafter(0.5, 0)
        self.magnitude = _number("Warp", "magnitude", magnitude, 0, most, "lie in [0, 0.5)")
        self.p = _probability("Warp", "p", p)
        self.draw_x, self.draw_y = _tilt("draw_x", draw_x), _tilt("draw_y", draw_y)
        self.batch, self.grid = bool(batch), _grid("Warp", grid)

    def matrices(self, batch: BatchPlan) -> Float64:
        """Return float64 (n, 3, 3): output coordinates to input ones."""
        u, x, v, y = self._uniforms(batch, 4)
        x = np.where(u < self.p, self._or_fixed("draw_x", self.magnitude * (2 * x - 1)), 0)
        y = np.where(v < self.p, self._or_fixed("draw_y", self.magnitude * (2 * y - 1)), 0)
        places = [(-1 - y, -1 - x), (-1 + y, 1 + x), (1 + y, -1 + x), (1 - y, 1 - x)]
        return _homographies(np.moveaxis(np.array(places), 2, 0))


def _tilt(argument: str, draw: Fixed) -> float | list[float] | None:
    fixed = _fixed("Warp", argument, draw)
    if fixed is not None and np.abs(fixed).max(initial=0) >= 0.5:
        raise ValueError(f"Warp: `{argument}` must lie in (-0.5, 0.5), got {fixed}")
    return fixed


def _homographies(places: Float64) -> Float64:
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
    _classes: tuple[type[_Configured], ...] = ()

    def __init__(self, parts: Iterable[Any]) -> None:
        self._parts = _made(type(self).__name__, parts, self._classes)

    @property
    def parts(self) -> list[list[Any]]:
        """The parts as [class name, config] pairs."""
        return [[type(part).__name__, part.config()] for part in self._parts]


class AffineWarp(_Composed, _Resampling):
    """Flips, turns, zooms and warps of one batch as one resampling.

    Parameters
    ----------
    parts : list
        Of `Flip`, `Dihedral`, `Rotate`, `Zoom`, `Warp`; or of their [class name, config] pairs.
        The affine ones act in this order, then the warps, as in fastai.
    size : int or (int, int), optional
        Height and width of the batch, at validation too; default those of the photos. Photos of
        more than twice the size are averaged first.
    mode : {'bilinear', 'nearest'}
    pad_mode : {'reflection', 'border', 'zeros'}
        What lies outside of a photo.
    align_corners : bool
        Whether corners of the batch are centers of pixels, or their outer edges.

    All transforms of a batch are one resampling: what one of them says of it, others follow.

    Examples
    --------
    >>> t = AffineWarp([Flip(p=1.0), Rotate(max_deg=5)])
    >>> AffineWarp(**t.config()).config() == t.config()
    True
    """

    order = 30
    _classes = (Flip, Dihedral, Rotate, Zoom, Warp)

    def __init__(self, parts: Iterable[Any], **grid: Unpack[Grid]) -> None:
        super().__init__(parts)
        of_parts = {key: value for part in self._parts for key, value in part.grid.items()}
        self.grid = {**of_parts, **_grid("AffineWarp", grid)}

    def plan(self, batch: BatchPlan) -> None:
        """Put this transform after those that the plan holds already, in training; set the size."""
        self._plan_grid(batch)
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
        batch.warp(warp @ affine)


class RandomResizedCropGPU(_Configured):
    """Enlarge a random part of each photo of a batch; at validation, the center.

    The part and what other transforms do are one resampling, on pixels that are there already:
    photos come in larger than they are wanted (``Resize(460)``), and are cut once ("presizing").

    Parameters
    ----------
    size : int or (int, int)
        Height and width of the batch.
    min_scale, max_scale : float
        Bounds of the part's area, as parts of the photo's.
    ratio : (float, float)
        Bounds of the part's width / height.
    mode : {'bilinear', 'nearest'}
    valid_scale : float
        At validation, the part of each side that is left; in (0, 1].

    Examples
    --------
    >>> RandomResizedCropGPU(224, min_scale=0.75).config()["size"]
    [224, 224]
    """

    order = 30
    _names = ("size", "min_scale", "ratio", "mode", "valid_scale", "max_scale")

    def __init__(
        self,
        size: ImageSize,
        min_scale: float = 0.08,
        ratio: Sequence[float] = (3 / 4, 4 / 3),
        mode: Reading = "bilinear",
        valid_scale: float = 1.0,
        max_scale: float = 1.0,
    ) -> None:
        name = "RandomResizedCropGPU"
        self.size = list(_size(name, size))
        self.max_scale = _number(name, "max_scale", max_scale, 1e-6, 1, "lie in (0, 1]")
        rule = f"lie in (0, max_scale = {self.max_scale}]"
        self.min_scale = _number(name, "min_scale", min_scale, 1e-6, self.max_scale, rule)
        self.ratio = _ratio(name, ratio)
        self.mode = _one_of(name, "mode", mode, "bilinear", "nearest")
        self.valid_scale = _number(name, "valid_scale", valid_scale, 1e-6, 1, "lie in (0, 1]")

    def plan(self, batch: BatchPlan) -> None:
        """Put the cut after what the plan holds already, and set the size."""
        batch.size = self.size
        if self.mode != "bilinear":
            batch.mode = self.mode
        boxes = self._drawn(batch) if batch.train else [self._center(batch)] * batch.n
        batch.warp(np.array([_box_matrix(box, batch) for box in boxes]).reshape(-1, 3, 3))

    def _drawn(self, batch: BatchPlan) -> list[Box]:
        scales = (self.min_scale, self.max_scale)
        return [
            random_crop_box(batch.w, batch.h, draw, *scales, tuple(self.ratio))
            for draw in batch.generators(BATCH_CROP)
        ]

    def _center(self, batch: BatchPlan) -> Box:
        _, _, w, h = central_box(batch.w, batch.h, self.ratio)
        w, h = (max(1, int(side * self.valid_scale)) for side in (w, h))
        return (batch.w - w) // 2, (batch.h - h) // 2, w, h


def _box_matrix(box: Box, batch: BatchPlan) -> Float64:
    """Return the matrix from a batch to a box (left, top, width, height) of its photos."""
    m = np.eye(3)
    for k, side in enumerate((batch.w, batch.h)):
        first, n = box[k], box[k + 2]
        if batch.align_corners:
            last = max(1, side - 1)
            m[k, k], m[k, 2] = (n - 1) / last, (2 * first + n - 1 - (side - 1)) / last
        else:
            m[k, k], m[k, 2] = n / side, (2 * first + n - side) / side
    return m


def _made(name: str, parts: Iterable[Any], classes: tuple[type[Any], ...]) -> list[Any]:
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


# --- batches: light and colors


class _Light(_Drawn):
    """A batch transform on logits of pixel values."""

    order = 40
    _names = ("max_lighting", "p", "draw", "batch")

    change: Callable[[BatchPlan], None]  # a method of each kind of light

    def __init__(
        self,
        max_lighting: float = 0.2,
        p: float = 0.75,
        draw: Fixed = None,
        batch: bool = False,
    ) -> None:
        name, below_one = type(self).__name__, np.nextafter(1, 0)
        rule = "lie in [0, 1)"
        self.max_lighting = _number(name, "max_lighting", max_lighting, 0, below_one, rule)
        self.p = _probability(name, "p", p)
        self.draw = _fixed(name, "draw", draw)
        self.batch = bool(batch)

    def plan(self, batch: BatchPlan) -> None:
        """Put this transform after those that the plan holds already (training only)."""
        if batch.train:
            self.change(batch)

    def _factors(self, batch: BatchPlan) -> Float64:
        """Return factors about 1, (n,), drawn uniformly in their logarithm."""
        u, x = self._uniforms(batch, 2)
        factor = self._or_fixed("draw", np.exp(math.log(1 - self.max_lighting) * (2 * x - 1)))
        return np.where(u < self.p, factor, 1)


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

    def change(self, batch: BatchPlan) -> None:
        """Write what is added to the logits into the plan."""
        u, x = self._uniforms(batch, 2)
        level = self._or_fixed("draw", 0.5 * (1 + self.max_lighting * (2 * x - 1)))
        level = np.where(u < self.p, level, 0.5)
        batch.light(np.log(level / (1 - level)), np.ones(batch.n))


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

    def change(self, batch: BatchPlan) -> None:
        """Write what the logits are multiplied by into the plan."""
        batch.light(np.zeros(batch.n), self._factors(batch))


_GREY = np.array([0.2989, 0.587, 0.114])  # the parts of red, green and blue, as fastai has them


class Saturation(_Light):
    """Bring the logits of a pixel nearer to their grey or farther from it, with probability `p`.

    Parameters
    ----------
    max_lighting : float
        The factor on the distance is drawn as that of `Contrast`; in [0, 1).
    p : float
    draw : float or sequence of float, optional
        Fixed factors; 1 changes nothing, 0 leaves greys.
    batch : bool
        One factor for the whole batch.
    """

    operation = SATURATION

    def change(self, batch: BatchPlan) -> None:
        """Write how the logits of a pixel are mixed into the plan."""
        s = self._factors(batch)[:, None, None]
        batch.mix(s * np.eye(3) + (1 - s) * _GREY)


class Hue(_Drawn):
    """Turn the color circle, with probability `p`; after all transforms of light.

    Parameters
    ----------
    max_hue : float
        A number is drawn from 1 - max_hue to 1 / (1 - max_hue), uniformly in its logarithm, and
        added to the hue, of which 1 is the whole circle; in [0, 1).
    p : float
    draw : float or sequence of float, optional
        Fixed numbers; 0 changes nothing.
    batch : bool
        One number for the whole batch.

    Examples
    --------
    >>> Hue().config()
    {'max_hue': 0.1, 'p': 0.75, 'draw': None, 'batch': False}
    """

    order, operation = 40, HUE
    _names = ("max_hue", "p", "draw", "batch")

    def __init__(
        self, max_hue: float = 0.1, p: float = 0.75, draw: Fixed = None, batch: bool = False
    ) -> None:
        below_one = np.nextafter(1, 0)
        self.max_hue = _number("Hue", "max_hue", max_hue, 0, below_one, "lie in [0, 1)")
        self.p = _probability("Hue", "p", p)
        self.draw = _fixed("Hue", "draw", draw)
        self.batch = bool(batch)

    def plan(self, batch: BatchPlan) -> None:
        """Add to the turn that the plan holds already (training only)."""
        if not batch.train:
            return
        u, x = self._uniforms(batch, 2)
        turn = self._or_fixed("draw", np.exp(math.log(1 - self.max_hue) * (2 * x - 1)))
        turn = np.where(u < self.p, turn, 0)
        batch.turn = turn if batch.turn is None else batch.turn + turn


class Lighting(_Composed):
    """Brightness, contrast and saturation of one batch, in one pass.

    Parameters
    ----------
    parts : list
        Of `Brightness`, `Contrast` and `Saturation`, or of their [class name, config] pairs; acting
        in this order.

    Examples
    --------
    >>> t = Lighting([Brightness(), Contrast(max_lighting=0.4)])
    >>> Lighting(**t.config()).config() == t.config()
    True
    """

    order = 40
    _classes = (Brightness, Contrast, Saturation)

    def plan(self, batch: BatchPlan) -> None:
        """Put this transform after those that the plan holds already (training only)."""
        for part in self._parts:
            part.plan(batch)


class Normalize(_Configured):
    """Subtract a mean from each channel and divide by a standard deviation, always.

    Parameters
    ----------
    mean, std : sequence of 3 float
        Of red, green and blue, for values from 0 to 1; finite as float32, deviations normal.

    Examples
    --------
    >>> Normalize.from_stats(*imagenet_stats)
    Normalize(mean=[0.485, 0.456, 0.406], std=[0.229, 0.224, 0.225])
    """

    order = 99
    _names = ("mean", "std")

    def __init__(self, mean: ArrayLike, std: ArrayLike) -> None:
        self.mean, self.std = (self._channels(n, v) for n, v in (("mean", mean), ("std", std)))
        if min(self.std) < np.finfo(np.float32).tiny:  # the core divides in float32
            raise ValueError(f"Normalize: `std` must be above 0, got {self.std}")

    @classmethod
    def from_stats(cls, mean: ArrayLike, std: ArrayLike) -> Self:
        """Return a transform for these statistics, such as ``*imagenet_stats``."""
        return cls(mean, std)

    @staticmethod
    def _channels(argument: str, values: ArrayLike) -> list[float]:
        array = as_array(argument, "Normalize", values)
        if array.shape != (3,) or not (np.abs(array) <= np.finfo(np.float32).max).all():
            raise ValueError(f"Normalize: `{argument}` must be 3 finite numbers, got {values!r}")
        return [float(v) for v in array]

    def plan(self, batch: BatchPlan) -> None:
        """Write the statistics into the plan."""
        batch.mean = np.array(self.mean, dtype=np.float32)
        batch.std = np.array(self.std, dtype=np.float32)


class RandomErasing(_Configured):
    """Put noise of mean 0 and deviation 1 into rectangles, after the normalization, in training.

    Parameters
    ----------
    p : float
        Probability for a photo.
    sl, sh : float
        Bounds of the area of all its rectangles, as parts of the photo's; 0 <= sl <= sh <= 1.
    min_aspect : float
        The aspect ratio is drawn from this to its inverse, uniformly in its logarithm; in (0, 1].
    max_count : int
        At most so many rectangles.

    Examples
    --------
    >>> RandomErasing()
    RandomErasing(p=0.5, sl=0.0, sh=0.3, min_aspect=0.3, max_count=1)
    """

    order = 100
    _names = ("p", "sl", "sh", "min_aspect", "max_count")

    def __init__(
        self,
        p: float = 0.5,
        sl: float = 0.0,
        sh: float = 0.3,
        min_aspect: float = 0.3,
        max_count: int = 1,
    ) -> None:
        name = "RandomErasing"
        self.p = _probability(name, "p", p)
        self.sh = _number(name, "sh", sh, 0, 1, "lie in [0, 1]")
        self.sl = _number(name, "sl", sl, 0, self.sh, f"lie in [0, sh = {self.sh}]")
        self.min_aspect = _number(name, "min_aspect", min_aspect, 1e-6, 1, "lie in (0, 1]")
        self.max_count = check_whole(name, "max_count", max_count, at_least=1)

    def plan(self, batch: BatchPlan) -> None:
        """Have the rectangles filled at the end (training only)."""
        if batch.train:
            batch.finish.append(partial(self._erase, batch))

    def _erase(self, batch: BatchPlan, out: Float32) -> None:
        h, w = out.shape[1:3]
        for image, position, draw in zip(out, batch.places, batch.generators(ERASE)):
            boxes = self._boxes(h, w, draw) if draw.random() < self.p else []
            if boxes:
                skip = 2 + 4 * self.max_count  # numbers that the boxes may take
                u = uniforms(batch.seed, batch.epoch, [position], ERASE, skip + image.size + 1)[0]
                noise = _normals(u[skip:])[: image.size].reshape(image.shape)
                for box in boxes:
                    image[box] = noise[box]

    def _boxes(self, h: int, w: int, draw: KeyedRandom) -> list[tuple[slice, slice]]:
        count = draw.randint(1, self.max_count)
        return [self._box(h, w, h * w / count, draw) for _ in range(count)]

    def _box(self, h: int, w: int, area: float, draw: KeyedRandom) -> tuple[slice, slice]:
        area *= draw.uniform(self.sl, self.sh)
        wide = math.log(self.min_aspect)
        aspect = math.exp(draw.uniform(wide, -wide))
        return _span(area * aspect, h, draw), _span(area / aspect, w, draw)


def _span(square: float, side: int, draw: KeyedRandom) -> slice:
    """Return a slice of a side that is the root of `square` long, anywhere."""
    n = round(math.sqrt(square))
    start = draw.randint(0, max(0, side - n))
    return slice(start, start + n)


def _normals(u: Float64) -> Float64:
    """Return normal numbers of uniform ones (Box and Muller, 1958), one fewer if they are odd."""
    radius, angle = u[: len(u) // 2], u[len(u) // 2 : 2 * (len(u) // 2)]
    radius = np.sqrt(-2 * np.log1p(-radius))
    angle = 2 * np.pi * angle
    return np.concatenate([radius * np.cos(angle), radius * np.sin(angle)])


# --- the usual set


def aug_transforms(
    mult: float = 1.0,
    do_flip: bool = True,
    flip_vert: bool = False,
    max_rotate: float = 10.0,
    min_zoom: float = 1.0,
    max_zoom: float = 1.1,
    max_lighting: float = 0.2,
    max_warp: float = 0.2,
    p_affine: float = 0.75,
    p_lighting: float = 0.75,
    xtra_tfms: BatchTransform | Sequence[BatchTransform] | None = None,
    size: ImageSize | None = None,
    mode: Reading = "bilinear",
    pad_mode: Padding = "reflection",
    align_corners: bool = True,
    batch: bool = False,
    min_scale: float = 1.0,
) -> list[BatchTransform]:
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
    size, mode, pad_mode, align_corners
        As in `AffineWarp`.
    batch : bool
        The same numbers for all images of a batch.
    min_scale : float
        Below 1, with `size`: cut a square part of at least this part of each photo's area
        (`RandomResizedCropGPU`).

    Returns
    -------
    list of batch transforms

    Examples
    --------
    >>> [type(t).__name__ for t in aug_transforms()]
    ['AffineWarp', 'Lighting']
    >>> [type(t).__name__ for t in aug_transforms(size=224, min_scale=0.75)]
    ['AffineWarp', 'RandomResizedCropGPU', 'Lighting']
    >>> aug_transforms(max_lighting=0, do_flip=False, max_warp=0, max_zoom=1)
    [AffineWarp(parts=[['Rotate', {'max_deg': 10.0, 'p': 0.75, 'draw': None, 'batch': False}]])]
    """
    for name, value in (("mult", mult), ("max_rotate", max_rotate), ("min_zoom", min_zoom),
                        ("max_zoom", max_zoom), ("max_lighting", max_lighting),
                        ("max_warp", max_warp)):  # fmt: skip
        _not_negative("aug_transforms", name, value)
    grid = _grid("aug_transforms", {"size": size, "mode": mode, "pad_mode": pad_mode,
                                    "align_corners": align_corners})  # fmt: skip
    affine: list[_Affine] = []
    chosen: list[BatchTransform] = []
    if do_flip:
        affine.append((Dihedral if flip_vert else Flip)(p=0.5, batch=batch))
    if max_warp * mult:
        affine.append(Warp(max_warp * mult, p=p_affine, batch=batch))
    if max_rotate * mult:
        affine.append(Rotate(max_rotate * mult, p=p_affine, batch=batch))
    if (min_zoom, max_zoom) != (1, 1):
        affine.append(Zoom(min_zoom, max_zoom, p=p_affine, batch=batch))
    crop = [_presizing_crop(grid.pop("size", None), min_scale)] if min_scale != 1 else []
    if affine or grid:
        chosen.append(AffineWarp(affine, **grid))
    chosen += crop
    if max_lighting * mult:
        chosen.append(Lighting([t(max_lighting * mult, p=p_lighting, batch=batch)
                                for t in (Brightness, Contrast)]))
    return chosen + _extra(xtra_tfms)


def _presizing_crop(size: ImageSize | None, min_scale: float) -> RandomResizedCropGPU:
    if size is None:
        raise ValueError(
            "aug_transforms: `size` must be the size of the batch with min_scale below 1, got None"
        )
    return RandomResizedCropGPU(size, min_scale, ratio=(1, 1))


def _extra(xtra_tfms: Any) -> list[BatchTransform]:
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


def normalizations(dls: DataLoaders) -> list[Normalize]:
    """Return the `Normalize` transforms of the loaders."""
    return [t for t in dls.train.batch_tfms if isinstance(t, Normalize)]


def add_normalization(dls: DataLoaders, transform: Normalize) -> None:
    """Normalize the images of both loaders, unless they are already."""
    if not normalizations(dls):
        dls.add_batch_tfm(transform)
