"""Decoded photos that are kept for the next epoch."""

from __future__ import annotations

import threading
from collections.abc import Callable, Hashable

from mlclassify.vision.image import Enough, Image


class PhotoCache:
    """Decoded photos, kept up to a budget of memory; threads and loaders may share it.

    The first to come stay: in an order that is shuffled for each epoch, giving one up for another
    would only cost time.

    Parameters
    ----------
    budget : int
        Bytes.

    Attributes
    ----------
    used : int
        Bytes that are kept.

    Examples
    --------
    >>> import numpy as np
    >>> from mlclassify.vision.image import open_image
    >>> cache = PhotoCache(10_000_000)
    >>> photo = np.zeros((375, 500, 3), np.uint8)
    >>> cache.get("a", lambda enough: open_image(photo, enough)).size, cache.used
    ((500, 375), 754024)
    """

    def __init__(self, budget: int) -> None:
        self.budget, self.used = budget, 0
        self._kept: dict[Hashable, _Kept] = {}
        self._lock = threading.Lock()

    def get(
        self,
        key: Hashable,
        read: Callable[[Enough | None], Image.Image],
        enough: Enough | None = None,
    ) -> Image.Image:
        """Return the photo of `key`, a PIL image, which is ``read(enough)`` where none is kept.

        Item transforms may paint on what they get, so it is a copy. `enough` is as in `open_image`;
        a photo that was kept when it answered otherwise is read again, and replaced.
        """
        with self._lock:
            kept = self._kept.get(key)
        if kept is None or not kept.serves(enough):
            answers = None if enough is None else _Answers(enough)
            stale, kept = kept, _Kept(read(answers), answers)  # unlocked: other threads decode
            if not self._keep(key, kept, stale):
                return kept.im
        return kept.im.copy()

    def _keep(self, key: Hashable, new: _Kept, stale: _Kept | None) -> bool:
        """Keep a photo if it fits; tell whether it is kept, so that nobody else may have it."""
        with self._lock:
            if self._kept.get(key) is not stale:  # another thread was faster
                return False
            if stale is not None:
                del self._kept[key]
                self.used -= stale.size
            if self.used + new.size > self.budget:
                return False
            self._kept[key] = new
            self.used += new.size
        return True


class _Answers:
    """An `enough` that notes what it answered: a draft depends on nothing else of it."""

    def __init__(self, enough: Enough) -> None:
        self._enough = enough
        self.given: dict[tuple[int, int], bool] = {}

    def __call__(self, w: int, h: int) -> bool:
        self.given[w, h] = answer = self._enough(w, h)
        return answer


class _Kept:
    """A decoded photo, and the answers that its size follows from; None if nobody was asked."""

    def __init__(self, im: Image.Image, answers: _Answers | None) -> None:
        self.im, self._answers = im, answers
        # Pillow stores RGB in 4 bytes and a pointer for each row; the rest is the Python objects.
        self.size = im.height * (4 * im.width + 8) + 1024

    def serves(self, enough: Enough | None) -> bool:
        """Tell whether reading with `enough` would give these pixels."""
        if enough is None or self._answers is None:
            return enough is self._answers
        return all(enough(*size) == answer for size, answer in self._answers.given.items())
