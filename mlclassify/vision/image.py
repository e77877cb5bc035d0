"""Photos from files: decode, turn upright, convert to RGB, crop and resize.

The only module that imports Pillow. Whatever comes in, what leaves `open_image` is an RGB image the
way a person would see it; whatever is wrong with a file, what is raised is one
`UnreadableImageError` that names it. Arguments called `size` are an int (a square) or (height,
width), as in fastai; boxes are (left, top, width, height).
"""

from __future__ import annotations

import math
import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from io import BufferedReader, BytesIO, FileIO
from typing import Any, BinaryIO, Literal, Protocol, Self, TypeAlias, cast

import numpy as np
from PIL import (  # noqa: F401  (a plugin registers its format)
    BmpImagePlugin,
    GifImagePlugin,
    JpegImagePlugin,
    PngImagePlugin,
    UnidentifiedImageError,
    WebPImagePlugin,
)
from PIL import Image as Image  # said twice: other modules have it from here
from PIL import ImageDraw as ImageDraw

from mlclassify.tensor import TensorImage
from mlclassify.types import AnyArray, Float32, StrPath, UInt8

Bytes: TypeAlias = bytes | bytearray | memoryview
PhotoSource: TypeAlias = StrPath | Bytes | BinaryIO | Image.Image | AnyArray
Start: TypeAlias = Callable[[], AbstractContextManager[Image.Image]]  # begins to read
Enough: TypeAlias = Callable[[int, int], bool]
"""``enough(w, h)`` says whether a photo of that size would do."""
ImageSize: TypeAlias = int | Sequence[int]
Box: TypeAlias = tuple[int, int, int, int]
Padding: TypeAlias = Literal["reflection", "border", "zeros"]


class Draw(Protocol):
    """Where the randomness of crops comes from: a `KeyedRandom`, or a `random.Random`."""

    def uniform(self, a: float, b: float, /) -> float: ...

    def randint(self, a: int, b: int, /) -> int: ...


# Pillow goes by a file's first bytes, so a .jpg may reach any of its forty parsers. These five are
# what photos come in; the others are where its security holes keep being found.
FORMATS = ("JPEG", "PNG", "WEBP", "GIF", "BMP")

_EXTENSION: dict[str | None, str] = {"JPEG": ".jpg", "MPO": ".jpg", "PNG": ".png", "WEBP": ".webp"}
_EXTENSION |= {"GIF": ".gif", "BMP": ".bmp"}

# EXIF tag 0x0112: how to undo the way the camera was held.
_ORIENTATION = 0x0112
_UPRIGHT = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
_QUARTER_TURNS = {_UPRIGHT[tag] for tag in (5, 6, 7, 8)}


class UnreadableImageError(OSError):
    """A file or bytes that are no photo, a broken one, or one too large to decode safely."""


# --- reading ---


def open_image(fn: PhotoSource, enough: Enough | None = None) -> Image.Image:
    """Read a photo, upright and in RGB.

    Only the first frame of an animation is read. Transparent parts become white, 16-bit greys are
    scaled to 8 bits, and a photo with more pixels than ``PIL.Image.MAX_IMAGE_PIXELS`` is refused
    before it is decoded.

    Parameters
    ----------
    fn : path, str, bytes, binary file, PIL image, uint8 or float (0 to 1) array, or TensorImage
        Arrays are (H, W), (H, W, 1), (H, W, 3) or (H, W, 4); a `TensorImage` is (C, H, W).
    enough : function, optional
        ``enough(w, h)`` says whether a photo of that size would do. A JPEG file is then decoded at
        the smallest of 1/2, 1/4 and 1/8 of its size that does, which is faster and changes pixels
        a little; anything else is read in full.

    Returns
    -------
    PIL.Image.Image
        A new image of mode RGB.

    Raises
    ------
    FileNotFoundError
        If the path leads nowhere.
    UnreadableImageError
        If it is not a JPEG, PNG, WebP, GIF or BMP photo, is cut short, or is too large.

    Examples
    --------
    >>> open_image(np.zeros((2, 3), np.uint8)).size
    (3, 2)
    """
    if isinstance(fn, Image.Image):
        return _decode(lambda: _checked_copy(fn), "a PIL image")[0]
    if hasattr(fn, "__array__") and not isinstance(fn, (str, bytes)):  # NumPy's texts have it
        return _to_rgb(_from_array(fn))
    return _decode(*_opener(fn), enough)[0]


def photo_extension(fn: StrPath | Bytes) -> str:
    """Read a photo in full and return the file extension of the format it really has.

    Parameters
    ----------
    fn : path, str or bytes

    Returns
    -------
    str
        Such as ``'.jpg'``.

    Raises
    ------
    UnreadableImageError
        As `open_image`.
    """
    return _EXTENSION[_decode(*_opener(fn))[1]]


def verify_image(fn: StrPath) -> bool:
    """Tell whether `open_image` can read a file to its last pixel.

    Parameters
    ----------
    fn : path or str

    Returns
    -------
    bool

    Examples
    --------
    >>> verify_image("no_such_file.jpg")
    False
    """
    try:
        open_image(fn)
    except OSError:
        return False
    return True


def _opener(fn: Any) -> tuple[Start, str]:
    """Return (a function that starts reading `fn`, what to call it in a message)."""
    if isinstance(fn, (bytes, bytearray, memoryview)):
        return lambda: Image.open(BytesIO(fn), formats=FORMATS), f"{len(fn)} bytes"
    if isinstance(fn, (str, os.PathLike)):
        _check_file(fn)
        return lambda: _open_file(fn), os.fspath(fn)
    if hasattr(fn, "read"):
        return lambda: Image.open(fn, formats=FORMATS), getattr(fn, "name", "a file object")
    raise TypeError(
        "open_image: `fn` must be a path, bytes, a file, an array or a PIL image, "
        f"got {type(fn).__name__}"
    )


class _Reader(BufferedReader):
    """A file that is asked for no more than it holds: the lengths in a photo may be anything."""

    def __init__(self, fn: StrPath) -> None:
        super().__init__(FileIO(fn))
        self._size = os.fstat(self.fileno()).st_size

    def read(self, size: int | None = -1) -> bytes:
        return super().read(size if size is None else min(size, self._size))


@contextmanager
def _open_file(fn: StrPath) -> Iterator[Image.Image]:
    # Not by its name: Pillow would map some formats, and a map of a file that shrinks is a crash.
    with _Reader(fn) as file, Image.open(file, formats=FORMATS) as im:
        yield im


def _check_file(fn: StrPath) -> None:
    # A pipe or a device would block for ever, so it must not even be opened.
    if not os.path.exists(fn):
        raise _missing(os.fspath(fn))
    if not os.path.isfile(fn):
        raise UnreadableImageError(
            f"open_image: `fn` must name a regular file, got {os.fspath(fn)}"
        )


def _missing(name: str) -> FileNotFoundError:
    return FileNotFoundError(f"open_image: `fn` must name an existing file, got {name}")


def _decode(
    start: Start, name: str, enough: Enough | None = None
) -> tuple[Image.Image, str | None]:
    """Return (upright RGB image, format) of what `start()` opens, or raise with `name`."""
    try:
        with start() as im:
            _check_pixels(im)
            if enough is not None and im.format == "JPEG":
                _draft(im, enough)
            im.load()
            return _upright(im, _to_rgb(im)), im.format
    except UnreadableImageError as error:
        raise UnreadableImageError(f"{error}, got {name}") from None
    except MemoryError:
        raise
    except FileNotFoundError:  # it went away since it was looked for
        raise _missing(name) from None
    except Exception as error:  # Pillow's parsers raise a dozen types on hostile files
        unknown = isinstance(error, UnidentifiedImageError)
        reason = "not recognized as one" if unknown else error
        raise UnreadableImageError(
            f"open_image: `fn` must be a whole {', '.join(FORMATS)} photo, got {name} ({reason})"
        ) from error


def _draft(im: Image.Image, enough: Enough) -> None:
    """Have a JPEG decoded at the smallest scale of which `enough` says that it does."""
    # enough() asks about the photo as it is seen, and a quarter turn swaps its sides.
    turned = _turn(im) in _QUARTER_TURNS
    for scale in (8, 4, 2):
        w, h = -(-im.width // scale), -(-im.height // scale)
        if enough(*((h, w) if turned else (w, h))):
            im.draft(None, (max(1, im.width // scale), max(1, im.height // scale)))
            return


def _checked_copy(im: Image.Image) -> Image.Image:
    # An image of Image.open is decoded by being copied, so its size is checked before.
    _check_pixels(im)
    return im.copy()


def _check_pixels(im: Image.Image) -> None:
    limit = Image.MAX_IMAGE_PIXELS
    if limit is not None and im.width * im.height > limit:
        raise UnreadableImageError(
            f"open_image: `fn` must have at most {limit} pixels (PIL.Image.MAX_IMAGE_PIXELS; "
            f"this one has {im.width} x {im.height})"
        )


def _to_rgb(im: Image.Image) -> Image.Image:
    """Return a new RGB image; what shows through `im` is white."""
    if im.mode.startswith("I;16"):
        # 65535 = 257 * 255: adding half of 257 rounds to the nearest 8-bit grey.
        grey = (np.asarray(im).astype(np.uint32) + 128) // 257
        return Image.fromarray(grey.astype(np.uint8)).convert("RGB")
    if not im.has_transparency_data:
        return im.copy() if im.mode == "RGB" else im.convert("RGB")
    im = im.convert("RGBA")
    return Image.alpha_composite(Image.new("RGBA", im.size, "white"), im).convert("RGB")


def _upright(im: Image.Image, rgb: Image.Image) -> Image.Image:
    """Return `rgb` turned the way the EXIF data of `im` ask for."""
    rgb.info = {}  # or whoever opens the result again would turn it again
    method = _turn(im)
    return rgb if method is None else rgb.transpose(method)


def _turn(im: Image.Image) -> Image.Transpose | None:
    """Return the transposition that makes `im` upright, or None; broken EXIF data ask nothing."""
    try:
        return _UPRIGHT.get(im.getexif().get(_ORIENTATION, 1))
    except Exception:  # getexif lets the parser's errors of any type through
        return None


def _from_array(fn: Any) -> Image.Image:
    a = np.asarray(fn)
    if isinstance(fn, TensorImage) and a.ndim == 3:
        a = a.transpose(1, 2, 0)
    if a.ndim == 3 and a.shape[2] == 1:
        a = a[:, :, 0]
    if 0 in a.shape or not (a.ndim == 2 or (a.ndim == 3 and a.shape[2] in (3, 4))):
        raise ValueError(
            "open_image: `fn` must have shape (H, W), (H, W, 1), (H, W, 3) or (H, W, 4), "
            f"got {np.shape(fn)}; an array of channels first is a TensorImage"
        )
    return Image.fromarray(np.ascontiguousarray(_bytes(a)))


def _bytes(a: AnyArray) -> UInt8:
    if a.dtype == np.uint8:
        return a
    if a.dtype == np.bool_:
        return a.astype(np.uint8) * np.uint8(255)
    if a.dtype.kind != "f":
        raise TypeError(f"open_image: `fn` must be uint8, bool or float, got {a.dtype}")
    if not (a.min() >= 0 and a.max() <= 1):  # false for NaN, too
        raise ValueError(
            f"open_image: `fn` as floats must lie in [0, 1], got {a.min():g} to {a.max():g}"
        )
    levels: AnyArray = np.rint(a * 255)
    return levels.astype(np.uint8)


# --- what a notebook does with an image ---


class PILImage(Image.Image):
    """An RGB photo that says its mode and size when it is printed.

    Examples
    --------
    >>> PILImage.create(np.zeros((374, 500, 3), np.uint8))
    PILImage mode=RGB size=500x374
    """

    @classmethod
    def create(cls, fn: PhotoSource) -> Self:
        """Read `fn` as `open_image` does; returns a `PILImage`."""
        im = open_image(fn)
        # Pillow has no constructor from another image; this one is ours alone, so it may change.
        im.__class__ = cls
        return cast(Self, im)

    @property
    def shape(self) -> tuple[int, int]:
        """(height, width)."""
        return self.height, self.width

    def __repr__(self) -> str:
        return f"{type(self).__name__} mode={self.mode} size={self.width}x{self.height}"


def to_thumb(im: Image.Image, h: int, w: int | None = None) -> Image.Image:
    """Return a copy that fits into `h` x `w`, aspect ratio kept, never enlarged.

    Also a method of every PIL image: ``Image.open(file).to_thumb(128)``.

    Parameters
    ----------
    im : PIL.Image.Image
    h : int
    w : int, optional
        `h` if not given.

    Returns
    -------
    PIL.Image.Image

    Examples
    --------
    >>> Image.new("RGB", (200, 100)).to_thumb(50).size
    (50, 25)
    """
    thumb = im.copy()
    thumb.thumbnail((h if w is None else w, h))
    return thumb


Image.Image.to_thumb = to_thumb  # type: ignore[attr-defined]  # Pillow's class has none


# --- crop and resize, to fastai's boxes ---


def width_height(function: str, size: ImageSize) -> tuple[int, int]:
    """Return (width, height) of a `size` argument, which is an int or (height, width).

    Parameters
    ----------
    function : str
        Who asks, for the message.
    size : int or (int, int)

    Returns
    -------
    (int, int)

    Examples
    --------
    >>> width_height("Resize", (2, 3))
    (3, 2)
    """
    pair = (size, size) if isinstance(size, (int, np.integer)) else size
    try:
        h, w = (int(n) for n in pair if n == int(n))
    except (TypeError, ValueError):
        h = w = 0
    if h < 1 or w < 1:
        raise ValueError(
            f"{function}: `size` must be a positive integer or (height, width), got {size!r}"
        )
    return w, h


def random_crop_box(
    w: int,
    h: int,
    draw: Draw,
    min_scale: float = 0.08,
    max_scale: float = 1.0,
    ratio: Sequence[float] = (3 / 4, 4 / 3),
) -> Box:
    """Draw the box of a random resized crop.

    Ten attempts at an area and an aspect ratio that fit; then the center, as much of it as the
    ratio allows.

    Parameters
    ----------
    w, h : int
        Size of the photo.
    draw : object with uniform(a, b) and randint(a, b)
        `mlclassify.rng.KeyedRandom` or `random.Random`.
    min_scale, max_scale : float
        Bounds of the area, as parts of the whole.
    ratio : (float, float)
        Bounds of width / height.

    Returns
    -------
    (int, int, int, int)
        Left, top, width, height.

    Examples
    --------
    >>> import random
    >>> random_crop_box(500, 375, random.Random(0), min_scale=0.5)
    (116, 3, 381, 363)
    """
    for _ in range(10):
        area = draw.uniform(min_scale, max_scale) * w * h
        aspect = math.exp(draw.uniform(math.log(ratio[0]), math.log(ratio[1])))
        width, height = round(math.sqrt(area * aspect)), round(math.sqrt(area / aspect))
        # A sliver of a photo may round to no pixel at all; Pillow would refuse such a box.
        if 0 < width <= w and 0 < height <= h:
            return draw.randint(0, w - width), draw.randint(0, h - height), width, height
    return central_box(w, h, ratio)


def least_crop(
    w: int, h: int, min_scale: float = 0.08, ratio: Sequence[float] = (3 / 4, 4 / 3)
) -> tuple[int, int]:
    """Return the least (width, height) of the boxes that `random_crop_box` may draw.

    Parameters
    ----------
    w, h, min_scale, ratio
        As there.

    Returns
    -------
    (int, int)

    Examples
    --------
    >>> least_crop(500, 375, min_scale=0.5)
    (265, 265)
    """
    area = min_scale * w * h
    _, _, width, height = central_box(w, h, ratio)
    return (
        min(width, round(math.sqrt(area * ratio[0]))),
        min(height, round(math.sqrt(area / ratio[1]))),
    )


def central_box(w: int, h: int, ratio: Sequence[float]) -> Box:
    """Return the largest central box whose width / height lies within `ratio`.

    Parameters
    ----------
    w, h : int
    ratio : (float, float)

    Returns
    -------
    (int, int, int, int)
        Left, top, width, height.

    Examples
    --------
    >>> central_box(500, 100, (3 / 4, 4 / 3))
    (183, 0, 133, 100)
    """
    width, height = w, h
    if w / h < ratio[0]:
        height = max(1, int(w / ratio[0]))
    elif w / h > ratio[1]:
        width = max(1, int(h * ratio[1]))
    return (w - width) // 2, (h - height) // 2, width, height


def crop_resize(im: Image.Image, box: Box, size: ImageSize) -> Image.Image:
    """Cut a box out of a photo and resize it (bilinear, antialiased).

    Parameters
    ----------
    im : PIL.Image.Image
    box : (int, int, int, int)
        Left, top, width, height, inside the photo.
    size : int or (int, int)
        Of the result.

    Returns
    -------
    PIL.Image.Image

    Examples
    --------
    >>> crop_resize(Image.new("RGB", (9, 9)), (1, 1, 4, 4), (2, 3)).size
    (3, 2)
    """
    left, top, width, height = box
    right, bottom = left + width, top + height
    if not (0 <= left < right <= im.width and 0 <= top < bottom <= im.height):
        raise ValueError(
            f"crop_resize: `box` must lie inside the photo of {im.width} x {im.height}, got {box}"
        )
    size = width_height("crop_resize", size)
    return im.crop((left, top, right, bottom)).resize(size, Image.Resampling.BILINEAR)


def squish_center_crop(
    im: Image.Image, size: ImageSize, val_xtra: float = 0.14
) -> Image.Image:
    """Resize the whole photo to a little more than `size`, out of shape, and cut the center.

    What `RandomResizedCrop` does outside training. The extra is `val_xtra` of the longer side,
    rounded up to a multiple of 8: 228 is cut out of 260.

    Parameters
    ----------
    im : PIL.Image.Image
    size : int or (int, int)
    val_xtra : float

    Returns
    -------
    PIL.Image.Image

    Examples
    --------
    >>> squish_center_crop(Image.new("RGB", (300, 200)), 228).size
    (228, 228)
    """
    w, h = width_height("squish_center_crop", size)
    extra = math.ceil(max(w, h) * val_xtra / 8) * 8
    im = im.resize((w + extra, h + extra), Image.Resampling.BILINEAR)
    return im.crop((extra // 2, extra // 2, extra // 2 + w, extra // 2 + h))


def resize_squish(im: Image.Image, size: ImageSize) -> Image.Image:
    """Resize the whole photo, aspect ratio given up.

    Parameters
    ----------
    im : PIL.Image.Image
    size : int or (int, int)

    Returns
    -------
    PIL.Image.Image

    Examples
    --------
    >>> resize_squish(Image.new("RGB", (300, 200)), (10, 20)).size
    (20, 10)
    """
    return im.resize(width_height("resize_squish", size), Image.Resampling.BILINEAR)


def shrink_image(pixels: UInt8, size: ImageSize) -> UInt8:
    """Average pixels down to a smaller size.

    Parameters
    ----------
    pixels : uint8 (H, W, 3)
    size : int or (int, int)

    Returns
    -------
    uint8 (h, w, 3)

    Examples
    --------
    >>> shrink_image(np.arange(12, dtype=np.uint8).reshape(2, 2, 3), 1).tolist()
    [[[5, 6, 7]]]
    """
    size = width_height("shrink_image", size)
    return np.asarray(Image.fromarray(pixels).resize(size, Image.Resampling.BOX))


def shrink_weights(n: int, size: int) -> Float32:
    """Return by what `shrink_image` multiplies a line of `n` pixels for each of `size`.

    Parameters
    ----------
    n, size : int

    Returns
    -------
    float32 (size, n)

    Examples
    --------
    >>> shrink_weights(4, 2).tolist()
    [[0.5, 0.5, 0.0, 0.0], [0.0, 0.0, 0.5, 0.5]]
    """
    lines = Image.fromarray(np.eye(n, dtype=np.float32))
    return np.asarray(lines.resize((n, size), Image.Resampling.BOX))


def crop_pad(
    im: Image.Image,
    size: ImageSize,
    pad_mode: Padding = "zeros",
    position: tuple[float, float] = (0.5, 0.5),
) -> Image.Image:
    """Cut a photo to `size` where it is larger, and pad it where it is smaller; never resize it.

    Parameters
    ----------
    im : PIL.Image.Image
    size : int or (int, int)
    pad_mode : {'zeros', 'border', 'reflection'}
    position : (float, float)
        Where the cut lies, from 0 (left, top) to 1 (right, bottom); padding is even.

    Returns
    -------
    PIL.Image.Image

    Examples
    --------
    >>> crop_pad(Image.new("RGB", (300, 20)), 64).size
    (64, 64)
    """
    w, h = width_height("crop_pad", size)
    left, top = (int(p * max(0, n)) for p, n in zip(position, (im.width - w, im.height - h)))
    im = im.crop((left, top, left + min(w, im.width), top + min(h, im.height)))
    extra = ((h - im.height) // 2, (w - im.width) // 2)
    padding = [(e, n - e) for e, n in zip(extra, (h - im.height, w - im.width))]
    if not any(map(any, padding)):
        return im
    return Image.fromarray(
        np.pad(np.asarray(im), [*padding, (0, 0)], mode=_pad_mode("crop_pad", pad_mode))
    )


def resize_crop(
    im: Image.Image, size: ImageSize, position: tuple[float, float] = (0.5, 0.5)
) -> Image.Image:
    """Cut the largest box of `size`'s shape out of a photo and resize it.

    Parameters
    ----------
    im : PIL.Image.Image
    size : int or (int, int)
    position : (float, float)
        Where the box lies, from 0 (left, top) to 1 (right, bottom).

    Returns
    -------
    PIL.Image.Image

    Examples
    --------
    >>> resize_crop(Image.new("RGB", (300, 200)), 64).size
    (64, 64)
    """
    w, h = width_height("resize_crop", size)
    scale = min(im.width / w, im.height / h)
    width, height = max(1, int(scale * w)), max(1, int(scale * h))
    left, top = int(position[0] * (im.width - width)), int(position[1] * (im.height - height))
    return crop_resize(im, (left, top, width, height), size)


def _check_padded(function: str, size: object, w: int, h: int) -> None:
    """Refuse a shape so long that a photo padded to it takes more memory than one may."""
    limit = Image.MAX_IMAGE_PIXELS
    if limit is not None and w * h > limit:
        raise ValueError(
            f"{function}: `size` must have a shape that pads the photo to at most {limit} pixels "
            f"(PIL.Image.MAX_IMAGE_PIXELS), got {size!r}, which makes {w} x {h}"
        )


_NumPyMode: TypeAlias = Literal["constant", "edge", "reflect"]
_PAD_MODES: dict[str, _NumPyMode] = {
    "zeros": "constant", "border": "edge", "reflection": "reflect"
}  # fmt: skip


def _pad_mode(function: str, pad_mode: str) -> _NumPyMode:
    """Return NumPy's name of a way to pad."""
    if pad_mode not in _PAD_MODES:
        raise ValueError(
            f"{function}: `pad_mode` must be one of {', '.join(_PAD_MODES)}, got {pad_mode!r}"
        )
    return _PAD_MODES[pad_mode]


def resize_pad(
    im: Image.Image,
    size: ImageSize,
    pad_mode: Padding = "reflection",
    position: tuple[float, float] = (0.5, 0.5),
) -> Image.Image:
    """Pad a photo to `size`'s shape and resize it: the whole photo stays in sight, unsquished.

    Parameters
    ----------
    im : PIL.Image.Image
    size : int or (int, int)
    pad_mode : {'reflection', 'border', 'zeros'}
    position : (float, float)
        Where the photo lies within the padding, from 0 (left, top) to 1 (right, bottom).

    Returns
    -------
    PIL.Image.Image

    Examples
    --------
    >>> resize_pad(Image.new("RGB", (300, 200)), 64).size
    (64, 64)
    """
    mode = _pad_mode("resize_pad", pad_mode)
    w, h = width_height("resize_pad", size)
    scale = max(im.width / w, im.height / h)
    # int() may land one pixel short of the photo, which must not be cut.
    extra_w = max(0, int(scale * w) - im.width)
    extra_h = max(0, int(scale * h) - im.height)
    left, top = int(position[0] * extra_w), int(position[1] * extra_h)
    _check_padded("resize_pad", size, im.width + extra_w, im.height + extra_h)
    padding = ((top, extra_h - top), (left, extra_w - left), (0, 0))
    padded = np.pad(np.asarray(im), padding, mode=mode)
    return Image.fromarray(padded).resize((w, h), Image.Resampling.BILINEAR)
