/* What thresholds do to decisions, over whole (N, L) matrices. A score decides for its label where
 * it is above the threshold, strictly. */
#ifndef MLC_THRESHOLDS_H
#define MLC_THRESHOLDS_H

#include <stddef.h>
#include <stdint.h>

#include "../base/status.h"

/* Every threshold in one pass. counts (labels, count + 1, 2): how many of a label's scores lie
 * above so many of the thresholds, where it is absent and where it is present. exact (count + 1):
 * the sum of its first t + 1 entries is how many rows threshold t decides without a mistake. Scores
 * are not NaN. MLC_VALUE unless thresholds ascend (equal ones may follow each other), MLC_MEMORY.
 */
mlc_status mlc_threshold_counts(const float *scores, const uint8_t *targets, size_t rows,
                                size_t labels, const float *thresholds, size_t count,
                                int64_t *counts, int64_t *exact, mlc_error *error);

/* What the search finds for a label: true and all positives, and predictions. */
enum {
    MLC_CUT_TP,
    MLC_CUT_PREDICTED,
    MLC_CUT_POSITIVES,
    MLC_START_TP, /* the same at the threshold that was given */
    MLC_START_PREDICTED,
    MLC_CUT_COUNTS,
};

/* Of every label, the cut between two different scores (or above or below all) that has the
 * greatest (smooth + 2 tp) / (smooth + predicted + positives), F1 where smooth is 0; of equal ones
 * that which predicts least; 0 / 0 is 0. edges (labels, 2): the scores next below and above the
 * cut, both the same where nothing or everything is predicted; NaN without rows. counts (labels,
 * MLC_CUT_COUNTS), with start (labels). smooth is 0 or 1. MLC_VALUE on a NaN score, MLC_MEMORY. */
mlc_status mlc_threshold_search(const float *scores, const uint8_t *targets, size_t rows,
                                size_t labels, const float *start, unsigned smooth, float *edges,
                                int64_t *counts, mlc_error *error);

#endif
