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

#endif
