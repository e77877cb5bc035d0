"""The methods of choosing thresholds: each from parts of the photos to a threshold for each label.

A method takes a list of K `Part` and returns float64 (K, L), the choice of each part on its own;
`micromacro` alone looks at all parts at once. Of equally good cuts every method takes the one that
predicts least. `Fan and Lin (2007)`_ describe scut, its fbr and cyclic, Yang (SIGIR 2001) rcut and
pcut, `Lin and Lin (CIKM 2023)`_ micromacro and smoothed.

.. _Fan and Lin (2007): https://www.csie.ntu.edu.tw/~cjlin/papers/threshold.pdf
.. _Lin and Lin (CIKM 2023): https://doi.org/10.1145/3583780.3614996
"""

import numpy as np

from mlclassify.thresholds.cuts import Part, f1_of

FBR_GRID = np.arange(1, 9) / 10  # of Fan and Lin's train_one_label.m


def alone(choose):
    """Make a method of a function from one part to its thresholds, float64 (L,)."""
    return lambda parts: np.stack([choose(part) for part in parts])


def scut(part, smooth=0):
    """The best F1 of each label; the threshold in use where nothing is better."""
    best = part.best(smooth)
    return np.where(best.f1 > best.start, best.threshold, part.start)


def smoothed(part):
    """As scut by (1 + 2 tp) / (1 + 2 tp + fp + fn): without a positive, least is best."""
    return scut(part, smooth=1)


def scutfbr(parts, fbr, never):
    """As scut, but a label whose F1 is at most `fbr` (L,) is predicted `never`, or only above the
    highest score of the part."""
    thresholds, scores, top = fbr_choices(parts, never)
    return np.where(scores > fbr, thresholds, top)


def fbr_choices(parts, never):
    """Return of each part and label scut's threshold, its F1, and what replaces it; (K, L)."""
    best = [part.best() for part in parts]
    scores = np.stack([np.maximum(b.f1, b.start) for b in best])
    thresholds = np.stack([np.where(b.f1 > b.start, b.threshold, part.start)
                           for b, part in zip(best, parts)])
    top = np.full_like(scores, np.inf) if never else np.stack([p.scores.max(axis=0) for p in parts])
    return thresholds, scores, top


def choose_fbr(parts, never):
    """Return the fbr (L,) of the highest F1 on each part at the thresholds of the others.

    Of equal ones the highest; the lowest of the grid where every F1 is 0.
    """
    thresholds, scores, top = fbr_choices(parts, never)
    grid = np.where(scores > FBR_GRID[:, None, None], thresholds, top)
    total = np.zeros((len(FBR_GRID), grid.shape[2]))
    for k, part in enumerate(parts):
        present = part.targets.astype(bool)
        for g, tried in enumerate(np.delete(grid, k, axis=1).mean(axis=1).astype(np.float32)):
            said = part.scores > tried
            total[g] += f1_of((said & present).sum(axis=0), said.sum(axis=0), present.sum(axis=0))
    last = len(FBR_GRID) - 1 - np.argmax(total[::-1], axis=0)
    return FBR_GRID[np.where(total.max(axis=0) > 0, last, 0)]


def one(part):
    """The one threshold for all labels of the best macro F1, among all cells' cuts."""
    f1 = f1_of(part.tp, part.predicted, part.positives[:, None])
    gain = np.empty(part.scores.shape)  # of macro F1, by each cell that is predicted too
    np.put_along_axis(gain, part.rows.T, np.diff(f1, axis=1).T, axis=0)
    cells = Part(part.scores.reshape(-1, 1), part.targets.reshape(-1, 1), part.start[:1])
    macro = np.append(0, gain.ravel()[cells.rows[0]].cumsum())
    cut = cells.choose(macro.round(10), label=0)  # sums in another order are as good
    return np.repeat(cells.thresholds(np.array([cut])), len(part.start))


def micro(part):
    """The highest micro F1 that any thresholds have, by Dinkelbach's algorithm.

    Micro F1 is 2 TP / (PP + P), with the positives P constant. While some cuts have a higher one
    than TP / (PP + P), the sum over labels of tp (PP + P) - predicted TP is above 0 for them, and
    its maximum is found label by label. In whole numbers, so it ends at the maximum itself.
    """
    total = part.positives.sum()
    tp, predicted = part.start_tp.sum(), part.start_predicted.sum()
    chosen = None
    while True:
        cuts = part.choose(part.tp * (predicted + total) - part.predicted * tp)
        new_tp, new = part.tp[np.arange(len(cuts)), cuts].sum(), cuts.sum()
        if new_tp * (predicted + total) <= tp * (new + total):
            return part.start.astype(np.float64) if chosen is None else part.thresholds(chosen)
        tp, predicted, chosen = new_tp, new, cuts


def cyclic(part):
    """Micro F1, one label after the other, until a round over all labels changes nothing."""
    total, labels = part.positives.sum(), len(part.start)
    cuts, tp = part.start_predicted.copy(), part.start_tp.copy()
    moved, again = np.zeros(labels, bool), True
    while again:
        again = False
        for l in range(labels):
            others_tp, others = tp.sum() - tp[l], cuts.sum() - cuts[l]
            value = f1_of(others_tp + part.tp[l], others + part.predicted, total)
            best = part.choose(value, l)
            if value[best] > value[cuts[l]]:
                cuts[l], tp[l] = best, part.tp[l, best]
                moved[l] = again = True
    return np.where(moved, part.thresholds(cuts), part.start)


def cyclic_samples(part):
    """As cyclic for the mean over photos of each photo's F1."""
    present, said = part.targets.astype(bool), part.scores > part.start
    there, cuts = present.sum(axis=1), part.start_predicted.copy()
    moved, again = np.zeros(len(cuts), bool), True
    while again:
        again = False
        for l in range(len(cuts)):
            said[:, l] = False
            tp, predicted = (said & present).sum(axis=1), said.sum(axis=1)
            gain = f1_of(tp + present[:, l], predicted + 1, there) - f1_of(tp, predicted, there)
            value = np.append(0, gain[part.rows[l]].cumsum())
            best = part.choose(value, l)
            if value[best] > value[cuts[l]] + 1e-9:  # more than sums in another order differ
                cuts[l] = best
                moved[l] = again = True
            said[part.rows[l, : cuts[l]], l] = True
    return np.where(moved, part.thresholds(cuts), part.start)


def micromacro(parts):
    """Macro and micro F1 together, the most frequent label first (Lin and Lin 2023).

    Label n adds to the mean of n scores what its own F1 is divided by n; the micro F1 is that of
    the labels so far, over all parts.
    """
    cuts = np.zeros((len(parts), len(parts[0].start)), np.int64)
    tp = predicted = positives = 0
    frequency = sum(part.positives for part in parts)
    for n, l in enumerate(np.argsort(-frequency, kind="stable"), 1):
        for k, part in enumerate(parts):
            macro = f1_of(part.tp[l], part.predicted, part.positives[l])
            both = f1_of(part.tp[l] + tp, part.predicted + predicted, part.positives[l] + positives)
            cuts[k, l] = part.choose(macro / n + both, l)
        tp += sum(part.tp[l, cut] for part, cut in zip(parts, cuts[:, l]))
        predicted, positives = predicted + cuts[:, l].sum(), positives + frequency[l]
    return np.stack([part.thresholds(c) for part, c in zip(parts, cuts)])


def pcut(part):
    """As many photos as have the label."""
    return quota(part, part.positives)


def rcut(part):
    """As many photos as have the label among their k highest scores, for the k of the best micro F1.

    Naming the k labels of highest score is no decision by thresholds: these name each label as
    often as that would.
    """
    labels = np.argsort(-part.scores, axis=1, kind="stable")
    tp = np.take_along_axis(part.targets, labels, axis=1).sum(axis=0).cumsum()
    predicted = len(labels) * np.arange(1, len(tp) + 1)
    k = np.argmax(f1_of(tp, predicted, tp[-1])) + 1
    return quota(part, np.bincount(labels[:, :k].ravel(), minlength=len(tp)))


def quota(part, wanted):
    """Predict `wanted` (L,) photos of each label, or as near to that as ties allow."""
    return part.thresholds(part.choose(-np.abs(part.predicted - wanted[:, None])))


METHODS = {
    "global": alone(one),
    "scut": alone(scut),
    "smoothed": alone(smoothed),
    "cyclic": alone(cyclic),
    "cyclic_samples": alone(cyclic_samples),
    "micro": alone(micro),
    "micromacro": micromacro,
    "rcut": alone(rcut),
    "pcut": alone(pcut),
}
WITH_FBR = {"scutfbr0": True, "scutfbr1": False, "svm1": False}  # whether below fbr is never
