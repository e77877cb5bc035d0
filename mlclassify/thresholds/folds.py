"""Photos dealt into folds in which every label is about equally frequent."""

import numpy as np

from mlclassify.arrays import as_array, as_uint8_mask
from mlclassify.checks import check_whole
from mlclassify.rng import FOLDS, check_seed, uniforms


def stratified_folds(targs, n_folds=3, seed=0):
    """Deal photos into folds by iterative stratification.

    The label with the fewest photos left is dealt first, each of its photos to the fold that lacks
    this label most, of these to the one that lacks photos most, of these by lot (Sechidis,
    Tsoumakas and Vlahavas, ECML PKDD 2011). Photos without labels come last.

    Parameters
    ----------
    targs : array_like (N, L) or (N,)
        0 and 1.
    n_folds : int
        2 to N.
    seed : int
        The same folds everywhere for the same seed.

    Returns
    -------
    int64 (N,)
        The fold of each photo, 0 to ``n_folds - 1``.

    Raises
    ------
    ValueError
        A target is not 0 or 1, or there are fewer photos than folds.

    Examples
    --------
    >>> targs = [[1, 0], [1, 0], [1, 1], [0, 1]]
    >>> folds = stratified_folds(targs, 2)
    >>> [np.sum(targs, axis=0, where=(folds == k)[:, None]).tolist() for k in (0, 1)] in (
    ...     [[1, 1], [2, 1]], [[2, 1], [1, 1]])
    True
    """
    fn = "stratified_folds"
    targets = as_uint8_mask("targs", fn, targs, strict=True)
    targets = targets.reshape(len(targets), -1)
    return deal(targets, check_folds(fn, "n_folds", n_folds, len(targets)), check_seed(fn, seed))


def check_folds(fn, name, folds, rows):
    """Return a number of folds as an int, or the fold of each of `rows` photos as 0, 1, ..."""
    array = as_array(name, fn, folds)
    if array.ndim == 0:
        number = check_whole(fn, name, folds, at_least=2)
        if number > rows:
            raise ValueError(f"{fn}: `{name}` must be at most the number of photos ({rows}), got "
                             f"{number}")
        return number
    if array.shape != (rows,):
        raise ValueError(f"{fn}: `{name}` must be one number or have shape ({rows},), got "
                         f"{array.shape}")
    if array.dtype.kind not in "iu":
        raise TypeError(f"{fn}: `{name}` must hold integers, got {array.dtype}")
    names, place = np.unique(array, return_inverse=True)
    if len(names) < 2:
        raise ValueError(f"{fn}: `{name}` must name at least 2 folds, got {len(names)}")
    return place


def deal(targets, n_folds, seed):
    """Return the fold of each row of uint8 (N, L)."""
    present = targets.astype(bool)
    lots = uniforms(seed, 0, [0], FOLDS, len(present))[0]
    by_lot = np.argsort(lots, kind="stable")
    fold, left = np.full(len(present), -1), present.sum(axis=0)
    lacks_label = np.repeat(left[None] / n_folds, n_folds, axis=0)
    lacks_photos = np.full(n_folds, len(present) / n_folds)
    while left.any():
        label = np.argmin(np.where(left > 0, left, len(present) + 1))
        for row in by_lot[present[by_lot, label] & (fold[by_lot] < 0)]:
            fold[row] = k = _neediest(lacks_label[:, label], lacks_photos, lots[row])
            lacks_label[k] -= present[row]
            lacks_photos[k] -= 1
            left -= present[row]
    for row in by_lot[fold[by_lot] < 0]:
        fold[row] = k = _neediest(lacks_photos, lacks_photos, lots[row])
        lacks_photos[k] -= 1
    return fold


def _neediest(lacks, lacks_photos, lot):
    """The fold that lacks most, of equal ones the second number most, of these the lot's."""
    best = np.flatnonzero(lacks == lacks.max())
    if len(best) > 1:
        photos = lacks_photos[best]
        best = best[photos == photos.max()]
    return best[int(lot * len(best))]
