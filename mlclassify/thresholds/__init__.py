"""The only owner of thresholds: what is tuned is what decides.

A threshold is on probabilities, a float32 scalar or one a label, in [0, 1] or -inf (always) or
+inf (never), and it is exceeded strictly: a label is predicted where ``p > thresh``. `decide` says
so; `curve` counts what every threshold of a list would do.
"""

from mlclassify.thresholds.curve import (
    ThresholdCurve,
    best_threshold,
    sweep,
    threshold_curve,
)
from mlclassify.thresholds.decide import check_thresh, decide

__all__ = [
    "ThresholdCurve",
    "best_threshold",
    "check_thresh",
    "decide",
    "sweep",
    "threshold_curve",
]
