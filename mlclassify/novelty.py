"""What a learner was taught, and whether a photo is like any of it.

A classifier names what it knows in whatever it is shown: nothing in its logits says that a photo is
of another kind. What does is the distance of the photo's body features from those of the training
photos, in cosine, to the k-th nearest of them (Sun et al. 2022, "Out-of-distribution detection with
deep nearest neighbors"). The features are means of the last feature map: its maxima, which the head
reads too, told less of the unknown photos apart.
"""

from pathlib import Path

import numpy as np

from mlclassify.arrays import as_matrix, refuse
from mlclassify.checks import check_whole


class Novelty:
    """The features of the training photos, and how far from them a known photo may be.

    Parameters
    ----------
    features : array_like (M, F)
        Of the training photos; kept at length 1.
    names : list of M str
        Of the training photos.
    cut : float
        A photo is novel where its score is above this.
    k : int
        Which neighbour the score goes by.

    Raises
    ------
    ValueError
        A feature is not finite, or there are fewer photos than `k`.

    Examples
    --------
    >>> known = Novelty([[1, 0], [2, 0.1], [1, 0.3]], ["a.jpg", "b.jpg", "c.jpg"], cut=0.1, k=2)
    >>> known.is_novel([[3, 0.3], [0, 1]])
    array([False,  True])
    >>> known.neighbours([[3, 0.3]])
    [['b.jpg', 'a.jpg']]
    """

    def __init__(self, features, names, cut, k=10):
        self.features = _unit(features)
        self.names = [str(name) for name in names]
        self.k = check_whole("Novelty", "k", k, at_least=1)
        if len(self.names) != len(self.features):
            raise ValueError(
                f"Novelty: `names` must be as many as `features` ({len(self.features)}), got "
                f"{len(self.names)}"
            )
        if len(self.features) < self.k:
            raise ValueError(
                f"Novelty: `features` must be of at least k = {self.k} photos, got "
                f"{len(self.features)}"
            )
        self.cut = float(cut)

    def scores(self, features):
        """Return 1 - cosine to the k-th nearest training photo, float64 (N,), in [0, 2]."""
        return 1 + np.partition(-self._cosines(features), self.k - 1, axis=1)[:, self.k - 1]

    def is_novel(self, features):
        """Return which of N photos are like nothing that was taught, bool (N,)."""
        return self.scores(features) > self.cut

    def neighbours(self, features):
        """Return for each of N photos the names of its k nearest training photos, nearest first."""
        order = np.argsort(-self._cosines(features), axis=1, kind="stable")[:, : self.k]
        return [[self.names[i] for i in row] for row in order]

    def _cosines(self, features):
        unit = _unit(features)
        if unit.shape[1] != self.features.shape[1]:
            raise ValueError(
                f"Novelty: `features` must have {self.features.shape[1]} columns, got "
                f"{unit.shape[1]}"
            )
        return unit.astype(np.float64) @ self.features.T.astype(np.float64)

    def __repr__(self):
        return f"Novelty({len(self.names)} photos, cut={self.cut:.4f}, k={self.k})"


def fit_novelty(features, names, held_out, lost=0.05, k=10):
    """Return a `Novelty` that takes at most the share `lost` of known photos for novel.

    Parameters
    ----------
    features : array_like (M, F)
        Body features of the training photos.
    names : list of M str
    held_out : array_like (N, F)
        Of known photos that were not trained on: the cut is chosen on them.
    lost : float
        In [0, 1).
    k : int
        Which neighbour the score goes by.

    Returns
    -------
    Novelty

    Raises
    ------
    ValueError
        There are no held out photos, fewer training photos than `k`, or `lost` is out of range.

    Examples
    --------
    >>> fit_novelty([[1, 0], [1, 0.1]], ["a", "b"], [[1, 0.05], [1, 0.5]], lost=0.5, k=1)
    Novelty(2 photos, cut=0.0012, k=1)
    """
    if isinstance(lost, bool) or not isinstance(lost, (int, float)) or not 0 <= lost < 1:
        raise ValueError(f"fit_novelty: `lost` must lie in [0, 1), got {lost!r}")
    novelty = Novelty(features, names, np.inf, k)
    if not len(held_out):
        raise ValueError(
            "fit_novelty: `held_out` must hold at least one photo, got none; the cut is chosen on "
            "photos that were not trained on"
        )
    scores = np.sort(novelty.scores(held_out))
    novelty.cut = float(scores[len(scores) - 1 - int(lost * len(scores))])
    return novelty


def photo_names(items, folder):
    """Name photos for people: files relative to `folder` where they lie in it.

    Examples
    --------
    >>> photo_names([Path("bears/a.jpg"), Path("b.jpg"), None], "bears")
    ['a.jpg', 'b.jpg', 'item 2']
    """
    return [_name(item, i, Path(folder)) for i, item in enumerate(items)]


def _name(item, i, folder):
    if not isinstance(item, (str, Path)):
        return f"item {i}"
    path = Path(item)
    return (path.relative_to(folder) if path.is_relative_to(folder) else path).as_posix()


def _unit(features):
    """Return features at length 1, float32 (N, F); without direction, all zeros, they stay so."""
    features = as_matrix("features", "Novelty", features)
    refuse(~np.isfinite(features), "features", "Novelty", "be finite", features)
    lengths = np.linalg.norm(features.astype(np.float64), axis=1, keepdims=True)
    return (features / np.where(lengths, lengths, 1)).astype(np.float32)
