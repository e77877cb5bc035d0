/* Losses and metrics over whole (N, L) matrices: shapes and threads over kernels. */
#ifndef MLC_SCORES_H
#define MLC_SCORES_H

#include "../base/status.h"
#include "../kernels/kernels.h"

void mlc_sigmoid(const float *x, float *y, size_t n);

/* One of the kernels in kernels/losses.c. */
typedef void mlc_loss_kernel(const mlc_loss *job, size_t row, size_t rows, double *sum,
                             bool *outside);

/* *value = the loss of all rows, the sum over the cells whose target is known or with `mean` their
 * mean; the gradient is that of *value. The mean of no cells is NaN, but 0 where all are missing.
 * MLC_VALUE where a target lies outside [0, 1]. */
mlc_status mlc_loss_value(const char *function, mlc_loss_kernel *kernel, mlc_loss *loss,
                          size_t rows, bool mean, double *value, mlc_error *error);

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
