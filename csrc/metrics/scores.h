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
mlc_status mlc_loss_value(const char *function, mlc_loss_kernel *kernel, mlc_loss *job, size_t rows,
                          bool mean, double *value, mlc_error *error);

/* Cells where (score > thresh[label]) == (target != 0). */
int64_t mlc_accuracy_count(const float *scores, const uint8_t *targets, const float *thresh,
                           size_t rows, size_t labels);

/* out[l] = average precision of label l: the sum over distinct scores, from the highest, of
 * (recall gained) x (precision there). Equal scores are one step, -0 equals +0. NaN for a label
 * without positives. MLC_VALUE on a NaN score. */
mlc_status mlc_average_precision(const float *scores, const uint8_t *targets, size_t rows,
                                 size_t labels, double *out, mlc_error *error);

#endif
