"""Photos that are in a folder twice, or nearly: other sizes, compressions and shades of one photo.

A photo's difference hash says, for each of 8 x 8 places of its thumbnail, whether it gets brighter
to the right and whether it does downwards. Of 1,980 photos (two million pairs) six pairs differ in
at most 8 of these 128 bits; of the same photos at half the size, at JPEG quality 30 or a quarter
brighter, 19 in 20 do. Of mirrored and cropped photos few do.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from mlclassify.checks import check_whole
from mlclassify.data.files import parent_label
from mlclassify.data.lists import L
from mlclassify.plot import Grid, show_images
from mlclassify.progress import progress
from mlclassify.types import StrPath
from mlclassify.vision.image import Image, PhotoSource, open_image

_UInt64: TypeAlias = NDArray[np.uint64]

MAX_DISTANCE = 8  # of 128 bits
_SIDE = 8
_LEAST_SPREAD = 3  # grey levels; less is a picture of one colour, whose hash would be of noise
_PAIRS = 4_000_000  # compared at a time
_THREADS = 8


def difference_hash(fn: PhotoSource) -> _UInt64 | None:
    """Return the difference hash of a photo.

    Parameters
    ----------
    fn : path, or what else `open_image` reads

    Returns
    -------
    uint64 (2,) or None
        Bits of the steps to the right, and of those downwards; None for a picture of one colour.

    Examples
    --------
    >>> ramp = np.arange(90, dtype=np.uint8).reshape(1, 90).repeat(90, axis=0)
    >>> difference_hash(ramp)
    array([18446744073709551615,                    0], dtype=uint64)
    """
    # A JPEG is decoded at an eighth where that leaves enough for the thumbnail.
    im = open_image(fn, lambda w, h: min(w, h) >= 8 * _SIDE)
    small = im.convert("L").resize((_SIDE + 1, _SIDE + 1), Image.Resampling.BOX)
    grey = np.asarray(small, np.int16)
    if grey.max() - grey.min() < _LEAST_SPREAD:
        return None
    right, down = np.diff(grey[:-1], axis=1) > 0, np.diff(grey[:, :-1], axis=0) > 0
    return np.packbits(np.stack([right, down])).view(np.uint64)


@dataclass(frozen=True)
class Duplicates:
    """Groups of photos that look alike; the repr lists them.

    Attributes
    ----------
    groups : L of L of Path
        Each of at least two photos, the largest file first.
    """

    groups: L[L[Path]]

    def extras(self) -> L[Path]:
        """All photos but the first of each group, as an L: what could be deleted."""
        return L([fn for group in self.groups for fn in group[1:]])

    def label_rows(self) -> L[tuple[Path, list[str]]]:
        """The photos that are in folders of several labels, as an L of (Path, list of labels)."""
        found = [(group[0], group_labels(group)) for group in self.groups]
        return L([(fn, labels) for fn, labels in found if len(labels) > 1])

    def show(self, max_n: int = 16, figsize: tuple[float, float] | None = None) -> Grid:
        """Draw the first `max_n` photos, group by group; returns a Grid of Axes."""
        check_whole("show", "max_n", max_n, at_least=1)
        shown = [(i, fn) for i, group in enumerate(self.groups) for fn in group][:max_n]
        titles = [f"{i}: {parent_label(fn)}/{fn.name[:12]}" for i, fn in shown]
        return show_images([open_image(fn) for _, fn in shown], titles, figsize=figsize)

    def __len__(self) -> int:
        return len(self.groups)

    def __repr__(self) -> str:
        lines = [", ".join(map(str, group)) for group in self.groups]
        return "\n".join([f"{len(self)} groups of photos that look alike", *lines])


def group_labels(group: Iterable[StrPath]) -> list[str]:
    """Return the labels that photos have by their folders, sorted, each once.

    Examples
    --------
    >>> group_labels(["teddy/1.jpg", "black/2.jpg", "teddy/3.jpg"])
    ['black', 'teddy']
    """
    return sorted({parent_label(fn) for fn in group})


def find_duplicates(fns: Iterable[StrPath], max_distance: int = MAX_DISTANCE) -> Duplicates:
    """Find photos that look alike, whatever their size, format and compression.

    Every photo is compared with every other: 10,000 take seconds beyond decoding, 100,000 minutes.

    Parameters
    ----------
    fns : collection of paths
    max_distance : int
        In how many of 128 bits the hashes of two photos may differ; 0 finds copies only. Photos
        that are joined by others between them are one group.

    Returns
    -------
    Duplicates

    Raises
    ------
    FileNotFoundError, UnreadableImageError
        Naming the file; `verify_images` finds them all.

    Examples
    --------
    ``find_duplicates(get_image_files("bears")).extras().map(Path.unlink)``
    """
    files = L(fns).map(Path)
    check_whole("find_duplicates", "max_distance", max_distance, at_least=0)
    hashes = _hashes(files)
    known = [i for i, value in enumerate(hashes) if value is not None]
    table = np.array([hashes[i] for i in known], np.uint64).reshape(len(known), 2)
    groups = [sorted((files[known[i]] for i in group), key=_largest_first)
              for group in _joined(len(known), _pairs(table, max_distance))]
    return Duplicates(L([L(group) for group in sorted(groups)]))


def _largest_first(fn: Path) -> tuple[int, Path]:
    return -fn.stat().st_size, fn


def _hashes(fns: L[Path]) -> list[_UInt64 | None]:
    pool = ThreadPoolExecutor(_THREADS, "mlclassify-hash")
    try:
        with progress("compare", len(fns)) as step:
            return [(value, step())[0] for value in pool.map(difference_hash, fns)]
    finally:
        pool.shutdown(wait=True, cancel_futures=True)


def _pairs(table: _UInt64, most: int) -> Iterator[tuple[int, int]]:
    """Yield the pairs of rows, uint64 (N, 2), that differ in at most `most` bits."""
    n = len(table)
    rows = max(1, _PAIRS // max(n, 1))
    for start in range(0, n, rows):
        block = table[start : start + rows, None] ^ table[None, start:]
        near = np.argwhere(np.bitwise_count(block).sum(axis=2) <= most)
        yield from ((start + i, start + j) for i, j in near.tolist() if i < j)


def _joined(n: int, pairs: Iterable[tuple[int, int]]) -> list[list[int]]:
    """Return the groups, of at least two, that pairs of the numbers below `n` make."""
    leader = list(range(n))

    def find(i: int) -> int:
        while leader[i] != i:
            leader[i] = i = leader[leader[i]]
        return i

    for i, j in pairs:
        leader[find(i)] = find(j)
    groups: dict[int, list[int]] = {}
    for i in range(n):
        groups.setdefault(find(i), []).append(i)
    return [group for group in groups.values() if len(group) > 1]
