"""Metrics: how good the labels are, as functions of arrays and as columns of the epoch table.

`decisions` judges labels that were decided, `ranking` the scores before that, `streaming` both in
bounded memory; `columns` holds what a Learner takes.
"""

from mlclassify.checks import MLClassifyWarning
from mlclassify.metrics.columns import (
    AccumMetric,
    APScoreMulti,
    AvgMetric,
    BrierScoreMulti,
    F1ScoreMulti,
    FBetaMulti,
    HammingLossMulti,
    JaccardMulti,
    MatthewsCorrCoefMulti,
    Metric,
    PrecisionMulti,
    RecallMulti,
    accuracy_multi,
    make_metric,
    unique_names,
)
from mlclassify.metrics.decisions import (
    accuracy_score,
    brier_score_loss,
    f1_score,
    fbeta_score,
    hamming_loss,
    jaccard_score,
    matthews_corrcoef,
    multilabel_confusion_matrix,
    precision_score,
    recall_score,
)
from mlclassify.metrics.ranking import average_precision_score
from mlclassify.metrics.report import Report, make_report
from mlclassify.metrics.streaming import Bounded, StreamingScores

__all__ = [
    "APScoreMulti",
    "AccumMetric",
    "AvgMetric",
    "Bounded",
    "BrierScoreMulti",
    "F1ScoreMulti",
    "FBetaMulti",
    "HammingLossMulti",
    "JaccardMulti",
    "MLClassifyWarning",
    "MatthewsCorrCoefMulti",
    "Metric",
    "PrecisionMulti",
    "RecallMulti",
    "Report",
    "StreamingScores",
    "accuracy_multi",
    "accuracy_score",
    "average_precision_score",
    "brier_score_loss",
    "f1_score",
    "fbeta_score",
    "hamming_loss",
    "jaccard_score",
    "make_metric",
    "make_report",
    "matthews_corrcoef",
    "multilabel_confusion_matrix",
    "precision_score",
    "recall_score",
    "unique_names",
]
