"""Drawn bears: a multi-label data set that needs no download.

Black bears, grizzlies and teddies, none to three in a picture. A picture depends on (seed, index)
alone.
"""

import csv
import tempfile
from collections.abc import Iterable
from pathlib import Path
from typing import Literal

import numpy as np

from mlclassify.checks import check_path, check_whole
from mlclassify.data.bears import KINDS
from mlclassify.data.pen import Pen, pick
from mlclassify.data.scenes import paint_scene
from mlclassify.rng import DRAWING, KeyedRandom, check_seed
from mlclassify.types import StrPath
from mlclassify.vision.image import Image

BEARS_CHANCE = (0.14, 0.46, 0.28, 0.12)  # of 0, 1, 2 and 3 bears
TINT = 0.13  # how far a color channel may be from neutral
VALID_EVERY = 5  # every fifth picture is for validation
SUPERSAMPLE = 3


def drawn_bears(
    path: StrPath, n: int, seed: int, layout: Literal["csv", "folders"] = "csv", size: int = 128
) -> Path:
    """Draw a set of pictures of bears and write it to a new folder.

    Parameters
    ----------
    path : str or Path
        The folder to make. It must not exist, or be empty.
    n : int
        How many pictures. Picture `i` is the same for every `n`.
    seed : int
        0 to 2**64 - 1.
    layout : {'csv', 'folders'}
        'csv': ``images/00000.jpg`` ... and ``labels.csv`` with the columns fname, labels (separated
        by spaces; empty where there is no bear) and is_valid (every fifth picture).
        'folders': one bear a picture, in ``black/``, ``grizzly/`` and ``teddy/`` in turn.
    size : int
        Width and height in pixels, at least 16.

    Returns
    -------
    Path
        `path`.

    Raises
    ------
    ValueError
        `n`, `size` or `layout` is out of range.
    FileExistsError
        `path` is there and not empty.

    Examples
    --------
    >>> import tempfile
    >>> path = drawn_bears(Path(tempfile.mkdtemp()) / "bears", n=3, seed=0, size=32)
    >>> [f.name for f in sorted(path.glob("images/*"))]
    ['00000.jpg', '00001.jpg', '00002.jpg']
    >>> (path / "labels.csv").read_text().splitlines()[0]
    'fname,labels,is_valid'
    """
    path = check_path("drawn_bears", "path", path)
    _check(path, n, layout, size)
    check_seed("drawn_bears", seed)
    write = {"csv": _write_csv, "folders": _write_folders}[layout]
    place = path.resolve()
    place.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=".drawing-", dir=place.parent) as unfinished:
        folder = Path(unfinished) / place.name
        folder.mkdir()
        write(folder, n, seed, size)
        if place.exists():
            place.rmdir()
        folder.rename(place)
    return path


def draw_picture(
    seed: int, index: int, size: int = 128, kinds: Iterable[str] | None = None
) -> tuple[Image.Image, list[str]]:
    """Draw one picture of the set.

    Parameters
    ----------
    seed, index : int
    size : int
        Width and height in pixels.
    kinds : sequence of str, optional
        The bears to draw, up to three of 'black', 'grizzly' and 'teddy'. Default: drawn.

    Returns
    -------
    picture : PIL image, RGB
    kinds : list of str
        The labels, sorted, each once.

    Examples
    --------
    >>> picture, kinds = draw_picture(seed=1, index=0, size=32, kinds=["teddy", "teddy"])
    >>> picture.size, kinds
    ((32, 32), ['teddy'])
    """
    check_whole("draw_picture", "size", size, at_least=16)
    rng = KeyedRandom(check_seed("draw_picture", seed), 0, index, DRAWING)
    bears = _draw_kinds(rng)
    if kinds is not None:
        bears = _checked_kinds(kinds)
    canvas = Image.new("RGB", (size * SUPERSAMPLE, size * SUPERSAMPLE))
    paint_scene(Pen(canvas, rng, canvas.width), bears)
    return _tint(canvas.reduce(SUPERSAMPLE), rng), sorted(set(bears))


def _check(path: Path, n: int, layout: str, size: int) -> None:
    check_whole("drawn_bears", "n", n, at_least=1)
    check_whole("drawn_bears", "size", size, at_least=16)
    if not isinstance(layout, str) or layout not in ("csv", "folders"):
        raise ValueError(f"drawn_bears: `layout` must be 'csv' or 'folders', got {layout!r}")
    if path.exists() and (not path.is_dir() or any(path.iterdir())):
        raise FileExistsError(
            f"drawn_bears: `path` must be a new or empty folder, got {str(path)!r}: "
            "remove it or name another"
        )


def _checked_kinds(kinds: Iterable[str]) -> list[str]:
    bears = list(kinds)
    if isinstance(kinds, str) or len(bears) > 3 or not set(bears) <= set(KINDS):
        raise ValueError(
            f"draw_picture: `kinds` must be a list of at most 3 of {', '.join(KINDS)}, "
            f"got {kinds!r}"
        )
    return bears


def _write_csv(folder: Path, n: int, seed: int, size: int) -> None:
    (folder / "images").mkdir()
    with open(folder / "labels.csv", "w", newline="", encoding="utf-8") as file:
        table = csv.writer(file, lineterminator="\n")
        table.writerow(("fname", "labels", "is_valid"))
        for i in range(n):
            picture, kinds = draw_picture(seed, i, size)
            _save(picture, folder / "images" / f"{i:05}.jpg")
            table.writerow((f"{i:05}.jpg", " ".join(kinds), i % VALID_EVERY == VALID_EVERY - 1))


def _write_folders(folder: Path, n: int, seed: int, size: int) -> None:
    for kind in KINDS:
        (folder / kind).mkdir()
    for i in range(n):
        kind = KINDS[i % len(KINDS)]
        _save(draw_picture(seed, i, size, [kind])[0], folder / kind / f"{i:05}.jpg")


def _save(picture: Image.Image, path: Path) -> None:
    picture.save(path, quality=92)


def _draw_kinds(rng: KeyedRandom) -> list[str]:
    """Draw which bears a picture has. Two of a kind make one label."""
    count = int(np.searchsorted(np.cumsum(BEARS_CHANCE), rng.random(), side="right"))
    return [pick(rng, KINDS) for _ in range(min(count, len(BEARS_CHANCE) - 1))]


def _tint(picture: Image.Image, rng: KeyedRandom) -> Image.Image:
    """Light the scene: a factor for each channel and a common one."""
    common = rng.uniform(1 - TINT, 1 + TINT / 2)
    table = []
    for _ in range(3):
        factor = common * rng.uniform(1 - TINT / 2, 1 + TINT / 2)
        table += [min(255, round(v * factor)) for v in range(256)]
    return picture.point(table)
