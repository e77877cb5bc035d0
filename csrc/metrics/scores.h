/* Losses and metrics over whole (N, L) matrices: shapes and threads over kernels. */
#ifndef MLC_SCORES_H
#define MLC_SCORES_H

#include "../base/status.h"
#include "../kernels/kernels.h"

void mlc_sigmoid(const float *x, float *y, size_t n);

/* The summed loss of all rows; see mlc_bce. */
double mlc_bce_sum(const mlc_bce *job, size_t rows);

/* Cells where (score > thresh[label]) == (target != 0). */
int64_t mlc_accuracy_count(const float *scores, const uint8_t *targets, const float *thresh,
                           size_t rows, size_t labels);

/* Every label's column, descending: its scores, the rows that they stand in, and how many positives
 * there are down to each, all (labels, rows). Equal scores are neighbours, by row; -0 comes as +0.
 * MLC_VALUE on a NaN score. */
mlc_status mlc_ranked_columns(const float *scores, const uint8_t *targets, size_t rows,
                              size_t labels, float *out_scores, int32_t *out_rows,
                              int32_t *out_positives, mlc_error *error);

#endif
