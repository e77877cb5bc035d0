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

#endif
