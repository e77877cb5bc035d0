"""What a learner was taught, and whether a photo is like any of it.

A classifier names what it knows in whatever it is shown: nothing in its logits says that a photo is
of another kind. What does is the distance of the photo's body features from those of the training
photos, in cosine, to the nearest of them (after Sun et al. 2022, "Out-of-distribution detection
with deep nearest neighbors"; a mean of k is steadier than the k-th). Training makes the body blind
to what tells its labels from nothing, so the body as it was before is asked as well, if there is
one. ``benchmarks/novelty.py`` has this beside other scores. The cut is one of conformal prediction:
a rank among the scores of known photos, so no distribution is assumed.
"""

import math
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from mlclassify.arrays import as_matrix, refuse
from mlclassify.checks import check_between, check_whole
from mlclassify.types import AnyArray, ArrayLike, Bools, Float32, Float64, StrPath
from mlclassify.vision.models import Model

_ROUNDING = 1e-6  # a photo alone rounds otherwise than in a batch, and one known lies on the cut
_BLOCK = 512  # photos whose cosines to all training photos are in memory at a time


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
        How many nearest neighbours the score goes by.
    backbone : Model, optional
        The untrained body whose features follow those of the trained one (`forward_with_features`).

    Raises
    ------
    ValueError
        A feature is not finite, `cut` is NaN, or there are fewer photos than `k`.

    Examples
    --------
    >>> known = Novelty([[1, 0], [2, 0.1], [1, 0.3]], ["a.jpg", "b.jpg", "c.jpg"], cut=0.1, k=2)
    >>> known.is_novel([[3, 0.3], [0, 1]])
    array([False,  True])
    >>> known.neighbours([[3, 0.3]])
    [['b.jpg', 'a.jpg']]
    """

    def __init__(self, features: ArrayLike, names: Iterable[object], cut: float, k: int = 5,
                 backbone: Model | None = None) -> None:
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
        self.cut, self.backbone = float(cut), backbone
        if math.isnan(self.cut):
            raise ValueError("Novelty: `cut` must be a number, got nan")

    def scores(self, features: ArrayLike) -> Float64:
        """Return 1 - mean cosine to the k nearest training photos, float64 (N,), in [0, 2]."""
        blocks = self._cosines(self._checked(features))
        return np.concatenate([np.empty(0), *map(self._score, blocks)])

    def left_out_scores(self) -> Float64:
        """Return the score of each training photo against all the others, float64 (M,).

        Raises
        ------
        ValueError
            The others are fewer than `k`.

        Examples
        --------
        >>> Novelty([[1, 0], [1, 0], [0, 1]], ["a", "b", "c"], cut=0.1, k=1).left_out_scores()
        array([0., 0., 1.])
        """
        if len(self.names) <= self.k:
            raise ValueError(
                f"Novelty: `features` must be of at least k + 1 = {self.k + 1} photos where one is "
                f"left out, got {len(self.names)}"
            )
        scores = []
        for i, cosines in enumerate(self._cosines(self.features)):
            np.fill_diagonal(cosines[:, i * _BLOCK :], -np.inf)
            scores.append(self._score(cosines))
        return np.concatenate(scores)

    def is_novel(self, features: ArrayLike) -> Bools:
        """Return which of N photos are like nothing that was taught, bool (N,)."""
        return self.scores(features) > self.cut

    def neighbours(self, features: ArrayLike) -> list[list[str]]:
        """Return for each of N photos the names of its k nearest training photos, nearest first."""
        return [
            [self.names[i] for i in row]
            for cosines in self._cosines(self._checked(features))
            for row in np.argsort(-cosines, axis=1, kind="stable")[:, : self.k]
        ]

    def _score(self, cosines: Float64) -> Float64:
        nearest = np.partition(-cosines, self.k - 1, axis=1)[:, : self.k]
        return np.asarray(1 + nearest.mean(axis=1))

    def _cosines(self, unit: Float32) -> Iterator[Float64]:
        """Yield the cosines of a block of photos to all training photos, float64 (n, M)."""
        taught = self.features.T.astype(np.float64)
        for i in range(0, len(unit), _BLOCK):
            yield unit[i : i + _BLOCK].astype(np.float64) @ taught

    def _checked(self, features: ArrayLike) -> Float32:
        unit = _unit(features)
        if unit.shape[1] != self.features.shape[1]:
            raise ValueError(
                f"Novelty: `features` must have {self.features.shape[1]} columns, got "
                f"{unit.shape[1]}"
            )
        return unit

    def __repr__(self) -> str:
        return f"Novelty({len(self.names)} photos, cut={self.cut:.4f}, k={self.k})"


def forward_with_features(model: Model, backbone: Model | None,
                          x: Float32) -> tuple[Float32, Float32]:
    """Run a model on a batch; return its logits, and the features that photos are compared by.

    Parameters
    ----------
    model : Model
    backbone : Model or None
        As in `Novelty`.
    x : float32 (N, 3, H, W)
        As batches come.

    Returns
    -------
    logits : float32 (N, L)
    features : float32 (N, F)
        Maxima and means of the last feature map, each at length 1, of one body or both: a cosine
        is the mean of those of the two or four.
    """
    logits, features = model.forward_with_features(x)
    if backbone is None:
        return logits, features
    return logits, np.concatenate([features, backbone.forward_with_features(x)[1]], axis=1)


def fit_novelty(features: ArrayLike, names: Iterable[object], held_out: Sequence[Any] | AnyArray,
                lost: float = 0.05, k: int = 5, backbone: Model | None = None) -> Novelty:
    """Return a `Novelty` that takes the share `lost` of known photos for novel.

    Parameters
    ----------
    features : array_like (M, F)
        Body features of the training photos.
    names : list of M str
    held_out : array_like (N, F)
        Of known photos that were not trained on.
    lost : float
        In (0, 1): the share that `choose_cut` promises for photos of the same kind.
    k : int
        How many nearest neighbours the score goes by.
    backbone : Model, optional
        Kept with the result, as in `Novelty`.

    Returns
    -------
    Novelty

    Raises
    ------
    ValueError
        There are no held out photos, no more than `k` training photos, or `lost` is out of range
        or below what so few photos can tell.

    Examples
    --------
    >>> fit_novelty([[1, 0], [1, 0.1]], ["a", "b"], [[1, 0.05], [1, 0.5]], lost=0.25, k=1)
    Novelty(2 photos, cut=0.0655, k=1)
    """
    lost = check_between("fit_novelty", "lost", lost, 0, 1)
    novelty = Novelty(features, names, np.inf, k, backbone)
    if not len(held_out):
        raise ValueError(
            "fit_novelty: `held_out` must hold at least one photo, got none; the cut is chosen on "
            "photos that were not trained on"
        )
    cut = choose_cut(novelty.scores(held_out), novelty.left_out_scores(), lost)
    novelty.cut = cut + _ROUNDING
    return novelty


def choose_cut(held_out: Sequence[float] | Float64, left_out: Sequence[float] | Float64,
               lost: float) -> float:
    """Return the cut above which the share `lost` of known photos is, on average over draws.

    It is `conformal_cut` of all scores. By those held out alone the promise would be exact, but
    hang on few: the third largest of 60 loses 5 % on average, and 1 to 12 % in 95 of 100 draws.
    Training photos are as far from each other as from new ones only while the network has not
    learned them by heart; so where the held out photos contradict the cut (that many above it have
    a chance below 10 %), it is theirs alone. Training photos nearer by less than that, 0.6 to 0.8
    times in a simulation with 60 held out, cost up to 1.4 times the share promised.

    Parameters
    ----------
    held_out : array_like (N,)
        Scores of known photos that were not trained on.
    left_out : array_like (M,)
        Of the training photos, each against the others.
    lost : float
        In (0, 1).

    Returns
    -------
    float

    Examples
    --------
    >>> choose_cut([0.1, 0.2, 0.3], [0.1, 0.2, 0.4], lost=0.3)
    0.3
    >>> choose_cut([0.5, 0.6, 0.7, 0.8], [0.0] * 26, lost=0.25)
    0.8
    """
    cut = conformal_cut(np.concatenate([held_out, left_out]), lost)
    above = int(np.sum(np.asarray(held_out) > cut))
    if _chance(len(held_out), above, lost) < 0.1:
        cut = conformal_cut(held_out, lost)
    return cut


def conformal_cut(scores: ArrayLike, lost: float) -> float:
    """Return the score that one more of the same kind exceeds with a chance of at most `lost`.

    Of n + 1 exchangeable scores each is as likely to be among the ``m = floor(lost * (n + 1))``
    largest, so the m-th largest of n is exceeded by the next with chance m / (n + 1), whatever
    their distribution, on average over draws of all of them (Bates et al. 2023, "Testing for
    outliers with conformal p-values").

    Parameters
    ----------
    scores : array_like (n,)
    lost : float
        In [1 / (n + 1), 1).

    Returns
    -------
    float

    Raises
    ------
    ValueError
        `lost` is below 1 / (n + 1): that little n scores cannot tell.

    Examples
    --------
    >>> conformal_cut([0.1, 0.4, 0.2, 0.3], lost=0.4)
    0.3
    """
    scores = np.sort(np.asarray(scores, np.float64))
    above = math.floor(lost * (len(scores) + 1) + 1e-9)  # 0.05 * 60 is 3, rounded or not
    if not above:
        raise ValueError(
            f"fit_novelty: `lost` must be at least 1 / {len(scores) + 1} with {len(scores)} known "
            f"photos, got {lost}"
        )
    return float(scores[-above])


def _chance(n: int, least: int, p: float) -> float:
    """Return the chance of at least `least` of n, each there with chance p in (0, 1)."""
    def log_chance(i: int) -> float:
        ways = math.lgamma(n + 1) - math.lgamma(i + 1) - math.lgamma(n - i + 1)
        return ways + i * math.log(p) + (n - i) * math.log1p(-p)

    return sum(math.exp(log_chance(i)) for i in range(least, n + 1))


def photo_names(sources: Iterable[object], folder: StrPath) -> list[str]:
    """Name photos for people: files relative to `folder` where they lie in it.

    Parameters
    ----------
    sources : iterable
        What the photos are read from, as `open_image` takes it.
    folder : str or Path

    Returns
    -------
    list of str

    Examples
    --------
    >>> photo_names([Path("bears/a.jpg"), Path("b.jpg"), None], "bears")
    ['a.jpg', 'b.jpg', 'item 2']
    """
    return [_name(source, i, Path(folder)) for i, source in enumerate(sources)]


def _name(source: object, i: int, folder: Path) -> str:
    if not isinstance(source, (str, Path)):
        return f"item {i}"
    path = Path(source)
    return (path.relative_to(folder) if path.is_relative_to(folder) else path).as_posix()


def _unit(features: ArrayLike) -> Float32:
    """Return features at length 1, float32 (N, F); without direction, all zeros, they stay so."""
    features = as_matrix("features", "Novelty", features)
    refuse(~np.isfinite(features), "features", "Novelty", "be finite", features)
    lengths = np.linalg.norm(features.astype(np.float64), axis=1, keepdims=True)
    return (features / np.where(lengths, lengths, 1)).astype(np.float32)
