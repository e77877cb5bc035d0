"""How many photos of what was never taught get no label, and how many known ones that costs.

    python benchmarks/novelty.py DATA [--seeds 1 2 3 4 5] [--keep FOLDER] [--out FOLDER]

DATA holds `bears` (black, grizzly, teddy), `ood` (maine_coon, cats, other), `corel5k` (images,
labels.csv) and `weights/resnet18-imagenet.safetensors`. For each seed the post's learner is
fine-tuned. Scores and cuts are compared on every fourth photo of Corel5k that shows no bear, and on
the known photos that no seed sees, those after the first 100 of each kind; `ood` has no say in what
is chosen. With `--keep` the features of a seed are written to a folder, and read if they are there.
"""

import argparse
import csv
import statistics
import sys
from pathlib import Path

import numpy as np
from bears import LABELS, PER_LABEL, make_learner

from mlclassify import __version__
from mlclassify.novelty import (
    Novelty,
    choose_cut,
    conformal_cut,
    fit_novelty,
    forward_with_features,
)
from mlclassify.vision.models import build_backbone
from mlclassify.weights import pretrained_tensors

# The mean over seeds has to reach this share of photos without a label.
GOALS = {"maine_coon": 1.0, "cats": 0.90, "other": 0.80}
UNKNOWN, UNSEEN = "corel5k without bears, every 4th", "known, not seen"
BEASTS = set("cat tiger fox coyote wolf lion lynx cougar leopard dog elk deer caribou moose horses "
             "foals mare bulls zebra elephant rodent squirrel antelope goat cow sheep rabbit "
             "porcupine giraffe mule".split())
K, SHARES, DRAWS = 5, (0.05, 0.10), 1000


# --- features

def corel(data):
    """Return (file, whether it shows a beast) of the photos of Corel5k without bears."""
    with (data / "corel5k/labels.csv").open(newline="") as file:
        labels = {row["fname"]: set(row["labels"].split()) for row in csv.DictReader(file)}
    files = sorted((data / "corel5k/images").iterdir())[::4]
    return [(f, bool(labels[f.name] & BEASTS)) for f in files if "bear" not in labels[f.name]]


def groups(data):
    """Return the photos of each kind that is asked about."""
    found = {kind: sorted((data / "ood" / kind).iterdir()) for kind in GOALS}
    found[UNKNOWN] = [file for file, _ in corel(data)]
    found[UNSEEN] = [f for label in LABELS
                     for f in sorted((data / "bears" / label).iterdir())[PER_LABEL:]]
    return found


def forward(learn, backbone, dl):
    """Return logits and features of the photos of a loader, float64, as `fit_novelty` has them."""
    pairs = [[np.array(a, np.float64) for a in forward_with_features(learn.model, backbone, b.x)]
             for b in dl.stream(learn.seed, 0)]
    return [np.concatenate(arrays) for arrays in zip(*pairs)]


def train(data, seed, kinds):
    """Return {(kind, "logits" or "features"): array} of one learner, its own photos too."""
    weights = data / "weights/resnet18-imagenet.safetensors"
    learn = make_learner(data / "bears", weights, seed, exact=False)
    with learn.no_bar(), learn.no_logging():
        learn.fine_tune(4)
    backbone = build_backbone(learn.model.arch)
    backbone.load_body(*pretrained_tensors("resnet18", weights))
    loaders = {kind: learn.dls.test_dl(files) for kind, files in kinds.items()}
    plain = learn.dls.test_dl([Path(item) for item in learn.dls.train.dataset.items])
    found = {}
    for kind, dl in {"taught": plain, "held out": learn.dls.valid, **loaders}.items():
        found[kind, "logits"], found[kind, "features"] = forward(learn, backbone, dl)
    found["taught", "labels"] = np.array(learn.dls.train.dataset.targets()).argmax(axis=1)
    return found


def run(data, seed, kinds, keep):
    """As `train`, from the folder `keep` if it has been there before."""
    file = keep and keep / f"novelty{seed}.npz"
    if file and file.exists():
        with np.load(file) as kept:
            return {tuple(name.split("/")): kept[name] for name in kept.files}
    found = train(data, seed, kinds)
    if file:
        np.savez(file, **{"/".join(name): array for name, array in found.items()})
    return found


# --- scores: the larger the more novel

PARTS = {"maxima": (0, 1), "means": (1, 2), "both": (0, 2), "both, before": (2, 4),
         "both, of two bodies": (0, 4)}


def part(name):
    """Return a function that cuts a part out of features, at length 1."""
    def cut(features):
        begin, end = (features.shape[1] * quarter // 4 for quarter in PARTS[name])
        return unit(features[:, begin:end])
    return cut


def unit(x):
    return x / np.linalg.norm(x, axis=1, keepdims=True)


def nearest(which, k, kth=False):
    """1 - cosine to the k nearest training photos, the mean or that of the k-th."""
    def score(run, kind):
        cosines = part(which)(run[kind, "features"]) @ part(which)(run["taught", "features"]).T
        top = -np.partition(-cosines, k - 1, axis=1)[:, :k]
        return 1 - (top[:, k - 1] if kth else top.mean(axis=1))
    return score


def shrunk_covariance(residuals):
    """Return a covariance shrunk to a multiple of the identity.

    By how much: Ledoit and Wolf 2004, "A well-conditioned estimator for large-dimensional
    covariance matrices".
    """
    n, p = residuals.shape
    sample = residuals.T @ residuals / n
    target = np.trace(sample) / p * np.eye(p)
    noise = (np.sum((residuals**2).sum(axis=1) ** 2) / n - np.sum(sample**2)) / n
    share = min(1.0, noise / np.sum((sample - target) ** 2))
    return share * target + (1 - share) * sample


def distances(asked, means, covariance):
    """Squared Mahalanobis distance to the nearest of some means."""
    inverse = np.linalg.inv(covariance)
    apart = [asked - mean for mean in means]
    return np.min([((a @ inverse) * a).sum(axis=1) for a in apart], axis=0)


def mahalanobis(which, labelled):
    """To the nearest class mean, or to the mean of all photos."""
    def score(run, kind):
        taught, asked = (part(which)(run[k, "features"]) for k in ("taught", kind))
        labels = run["taught", "labels"] if labelled else np.zeros(len(taught), int)
        means = np.array([taught[labels == c].mean(axis=0) for c in np.unique(labels)])
        return distances(asked, means, shrunk_covariance(taught - means[labels]))
    return score


def relative(which):
    """Ren et al. 2021: Mahalanobis to the class less that to all photos, shrunk alike."""
    def score(run, kind):
        taught, asked = (part(which)(run[k, "features"]) for k in ("taught", kind))
        labels = run["taught", "labels"]
        means = np.array([taught[labels == c].mean(axis=0) for c in np.unique(labels)])
        within, between = shrunk_covariance(taught - means[labels]), np.cov(means[labels].T)
        everywhere = distances(asked, [taught.mean(axis=0)], within + between)
        return distances(asked, means, within) - everywhere
    return score


def softplus_energy(run, kind):
    """Wang et al. 2021, of several labels: minus the sum of log(1 + e^logit)."""
    return -np.logaddexp(0, run[kind, "logits"]).sum(axis=1)


def guided(run, kind):
    """Park et al. 2023: cosine times energy."""
    return softplus_energy(run, kind) * (1 - nearest("both", K)(run, kind))


def spread_sum(run, kind):
    """Cosine score and half an energy, each in standard deviations of the held out photos."""
    cosine, energy = nearest("both", K), softplus_energy
    return (cosine(run, kind) / cosine(run, "held out").std()
            + 0.5 * energy(run, kind) / energy(run, "held out").std())


KEPT = f"mean cosine to {K} nearest, both, of two bodies"
SCORES = {
    **{f"cosine to the {k}-th nearest, means": nearest("means", k, True) for k in (1, 5, 10, 20)},
    **{f"mean cosine to {k} nearest, means": nearest("means", k) for k in (5, 10, 20)},
    **{f"mean cosine to {k} nearest, maxima": nearest("maxima", k) for k in (5, 10, 20)},
    **{f"mean cosine to {k} nearest, both": nearest("both", k) for k in (1, K, 10, 20)},
    **{f"mean cosine to {k} nearest, {w}": nearest(w, k)
       for w in ("both, before", "both, of two bodies") for k in (1, K, 10, 20)},
    **{f"Mahalanobis, classes, {w}": mahalanobis(w, True)
       for w in ("means", "both", "both, of two bodies")},
    **{f"Mahalanobis, one Gaussian, {w}": mahalanobis(w, False) for w in ("means", "both")},
    **{f"relative Mahalanobis, {w}": relative(w) for w in ("means", "both")},
    "energy, sum of softplus": softplus_energy,
    "energy, log-sum-exp": lambda run, kind: -np.logaddexp.reduce(run[kind, "logits"], axis=1),
    "largest logit": lambda run, kind: -run[kind, "logits"].max(axis=1),
    f"mean cosine to {K} nearest, both, times energy": guided,
    f"mean cosine to {K} nearest, both, plus half an energy": spread_sum,
}


def auroc(known, unknown):
    """Return the chance that an unknown photo scores above a known one, ties half."""
    below, upto = (np.searchsorted(np.sort(known), unknown, side) for side in ("left", "right"))
    return float(np.mean(below + upto) / 2 / len(known))


def judged(score, run, beasts):
    """Return shares of unknown photos above 95 % of the unseen known ones, and the AUROC."""
    known, unknown = score(run, UNSEEN), score(run, UNKNOWN)
    novel = unknown > np.sort(known)[-1 - int(0.05 * len(known))]
    return novel.mean(), novel[beasts].mean(), auroc(known, unknown), auroc(known, unknown[beasts])


def score_table(runs, beasts):
    rows = {name: np.array([judged(score, run, beasts) for run in runs.values()])
            for name, score in SCORES.items()}
    lines = ["| score | without a label | seeds | of them beasts | AUROC | beasts |",
             "|---|---|---|---|---|---|"]
    for name, row in sorted(rows.items(), key=lambda item: -item[1][:, 0].mean()):
        (novel, beast, area, beast_area), mark = row.mean(axis=0), "**" if name == KEPT else ""
        lines.append(f"| {mark}{name}{mark} | {novel:.1%} | {row[:, 0].min():.1%} to "
                     f"{row[:, 0].max():.1%} | {beast:.1%} | {area:.4f} | {beast_area:.4f} |")
    return lines


# --- cuts

def held_out_share(held_out, left_out, lost):
    """No more than the share of the held out photos: the rule before this one."""
    return np.sort(held_out)[len(held_out) - 1 - int(lost * len(held_out))]


CUTS = {
    "at most that share of the held out": held_out_share,
    "conformal, held out alone": lambda held_out, left_out, lost: conformal_cut(held_out, lost),
    "**conformal, held out and training photos**": choose_cut,
}


def redrawn(rule, run, lost):
    """Return shares of known photos lost, and of unknown ones found, over draws of the held out.

    The network saw neither the 60 nor the other 180: any 60 of them might have been held out.
    """
    known = Novelty(run["taught", "features"], [""] * len(run["taught", "features"]), np.inf, K)
    fresh = known.scores(np.concatenate([run[k, "features"] for k in ("held out", UNSEEN)]))
    left_out, unknown = known.left_out_scores(), known.scores(run[UNKNOWN, "features"])
    n, shares, rng = len(run["held out", "features"]), [], np.random.default_rng(0)
    for _ in range(DRAWS):
        held_out, new = np.split(rng.permutation(fresh), [n])
        cut = rule(held_out, left_out, lost)
        shares.append((np.mean(new > cut), np.mean(unknown > cut)))
    return np.array(shares)


def cut_table(runs):
    lines = [("| promised | rule | lost, mean | standard deviation | 95 of 100 draws "
              "| unknown found |"), "|---|---|---|---|---|---|"]
    for lost in SHARES:
        for name, rule in CUTS.items():
            both = np.concatenate([redrawn(rule, run, lost) for run in runs.values()])
            low, high = np.quantile(both[:, 0], (0.025, 0.975))
            (mean, found), spread = both.mean(axis=0), both[:, 0].std()
            lines.append(f"| {lost:.0%} | {name} | {mean:.1%} | {spread:.1%} "
                         f"| {low:.1%} to {high:.1%} | {found:.1%} |")
    return lines


# --- what comes of it

def silent(run, kind, lost=None, alone=False):
    """Return the share of photos without a label at .5, and `fit_novelty` if there is a `lost`."""
    labelled = np.any(run[kind, "logits"] > 0, axis=1)
    if lost is not None:
        cut = part("both" if alone else "both, of two bodies")
        taught, held_out, asked = (cut(run[k, "features"]) for k in ("taught", "held out", kind))
        novelty = fit_novelty(taught, [""] * len(taught), held_out, lost, K)
        labelled &= ~novelty.is_novel(asked)
    return 1 - labelled.mean()


def final_table(runs, kinds):
    ways = [(lost, False) for lost in SHARES] + [(SHARES[0], True)]
    names = [f"fit_novelty({lost:.2f}{', pretrained=False' * alone})" for lost, alone in ways]
    lines = [f"| photos | how many | without | {' | seeds | '.join(names)} | seeds | goal |",
             f"|---|---|---|{'---|' * (2 * len(ways) + 1)}"]
    for kind, files in kinds.items():
        cells = [f"{statistics.mean(silent(run, kind) for run in runs.values()):.1%}"]
        for way in ways:
            each = [silent(run, kind, *way) for run in runs.values()]
            cells += [f"{statistics.mean(each):.1%}", f"{min(each):.1%} to {max(each):.1%}"]
        goal = f">= {GOALS[kind]:.0%}" if kind in GOALS else ""
        lines.append(f"| {kind} | {len(files)} | {' | '.join(cells)} | {goal} |")
    return lines


def report(runs, kinds, beasts):
    """The whole page."""
    return "\n".join([
        "# Photos that get no label", "",
        f"mlclassify {__version__}; made by `python benchmarks/novelty.py DATA --out "
        f"benchmarks/results`; seeds {', '.join(map(str, runs))} of the post's run: 240 photos to "
        "train on, 60 held out.", "",
        "Share of photos without a label at threshold .5, without and with "
        "`learn.fit_novelty(lost)`: the mean over seeds, and the least and most of them.", "",
        *final_table(runs, kinds), "",
        "## Scores", "",
        f"Share of the {len(beasts)} unknown photos (Corel5k without bears; {beasts.sum()} show "
        "other beasts) above a cut that 5 % of the 180 known photos exceed that no seed saw; mean, "
        "least and most over seeds. Cosines of the maxima and the means of the last feature map, "
        "or of both, each at length 1; of the trained body, of the body before training, or of "
        "two bodies, these two. In bold what is kept.", "",
        *score_table(runs, beasts), "",
        "## Cuts", "",
        "Share of known photos lost, where 60 of the 240 that the network never saw are drawn to "
        f"be held out and the cut is judged on the other 180: {DRAWS} draws a seed.", "",
        *cut_table(runs)]) + "\n"


def main():
    a = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    a.add_argument("data", type=Path)
    a.add_argument("--seeds", type=int, nargs="+", default=[1, 2, 3, 4, 5])
    a.add_argument("--keep", type=Path, help="folder of features, to be read again")
    a.add_argument("--out", type=Path, help="folder for novelty.md")
    a = a.parse_args()
    kinds, runs = groups(a.data), {}
    for seed in a.seeds:
        runs[seed] = run(a.data, seed, kinds, a.keep)
        print(f"seed {seed} has its features", file=sys.stderr, flush=True)
    page = report(runs, kinds, np.array([beast for _, beast in corel(a.data)]))
    print(page)
    if a.out:
        (a.out / "novelty.md").write_text(page)


if __name__ == "__main__":
    main()
