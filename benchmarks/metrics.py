"""Metrics beside scikit-learn's: rankings, one thread of ours.

    PYTHONPATH=. python benchmarks/metrics.py [--rounds N]

wants scikit-learn in the same environment. Both take the same arrays (float32 scores, uint8
targets, one in twenty present) in turn, in one process, and must agree to 1e-9. A row's times are
medians over the rounds, its ratio that of the medians, its spread the smallest and the largest of
one round.
"""

import argparse
import platform
import statistics
import time
import warnings

import numpy as np
import sklearn
import sklearn.metrics
from bears import cpu_name

from mlclassify import __version__, _core, get_num_threads, metrics, set_num_threads

# What is compared: the function, its arguments, photos, labels, dtype of scores, and the least
# ratio that was promised for it.
ROWS = [
    ("average_precision_score", {}, 10_000, 80, np.float32, 25),
    ("average_precision_score", {}, 1_000, 1_000, np.float32, 40),
    ("average_precision_score", {}, 100_000, 80, np.float32, 25),
    ("average_precision_score", {}, 10_000, 80, np.float64, None),
    ("average_precision_score", {"average": "micro"}, 10_000, 80, np.float32, None),
    ("roc_auc_score", {}, 10_000, 80, np.float32, None),
    ("label_ranking_average_precision_score", {}, 10_000, 80, np.float32, 50),
    ("coverage_error", {}, 10_000, 80, np.float32, None),
    ("label_ranking_loss", {}, 10_000, 80, np.float32, None),
    ("ndcg_score", {}, 10_000, 80, np.float32, None),
]


def seconds(function, *args, **options):
    start = time.perf_counter()
    value = function(*args, **options)
    return time.perf_counter() - start, value


def measure(name, options, photos, labels, dtype, rounds):
    """Return the times of theirs and ours, a pair for each round."""
    rng = np.random.default_rng(0)
    scores = rng.normal(size=(photos, labels)).astype(dtype)
    targets = (rng.random((photos, labels)) < 0.05).astype(np.uint8)
    targets[0] = 1
    pairs = []
    for _ in range(rounds + 1):
        theirs, want = seconds(getattr(sklearn.metrics, name), targets, scores, **options)
        ours, got = seconds(getattr(metrics, name), targets, scores, **options)
        assert abs(got - want) < 1e-9, (name, got, want)
        pairs.append((theirs, ours))
    return pairs[1:]  # the first warms both up


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--rounds", type=int, default=5)
    rounds = parser.parse_args().rounds
    warnings.simplefilter("ignore")  # photos without labels
    set_num_threads(1)
    print(f"mlclassify {__version__} ({_core.isa()}), {get_num_threads()} thread; scikit-learn "
          f"{sklearn.__version__}, NumPy {np.__version__}, Python {platform.python_version()}; "
          f"{cpu_name()}; {rounds} rounds.\n")
    print("| | photos x labels | scores | theirs ms | ours ms | ratio | spread | at least |")
    print("|---|---|---|---|---|---|---|---|")
    for name, options, photos, labels, dtype, least in ROWS:
        pairs = measure(name, options, photos, labels, dtype, rounds)
        theirs, ours = (statistics.median(x) for x in zip(*pairs))
        ratios = [a / b for a, b in pairs]
        what = f"{name} {options.get('average', '')}".strip()
        print(f"| {what} | {photos:,} x {labels:,} | {np.dtype(dtype)} | {theirs * 1e3:.1f} | "
              f"{ours * 1e3:.2f} | {theirs / ours:.0f} | {min(ratios):.0f} to {max(ratios):.0f} | "
              f"{least or ''} |", flush=True)


if __name__ == "__main__":
    main()
