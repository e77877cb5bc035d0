/* How well scores put what is there before what is not: of each label over the rows, and of each
 * row over its labels. Equal scores are one step; -0 equals +0. */
#ifndef MLC_RANKING_H
#define MLC_RANKING_H

#include <stddef.h>
#include <stdint.h>

#include "../base/status.h"

/* Average precision is the sum over distinct scores, from the highest, of (recall gained) x
 * (precision there); NaN without positives. ROC AUC is the share of pairs of a positive and a
 * negative that are in order, ties a half; NaN without one of them. */
enum { MLC_COLUMN_AP, MLC_COLUMN_AUC, MLC_COLUMN_VALUES };

/* out (labels, MLC_COLUMN_VALUES). `weights` of rows are finite and not negative, or NULL: ones.
 * MLC_VALUE on a NaN score, MLC_MEMORY. */
mlc_status mlc_column_ranking(const float *scores, const uint8_t *targets, const double *weights,
                              size_t rows, size_t labels, double *out, mlc_error *error);

/* A step for each distinct score of each label, from the highest, that adds weight: a row that has
 * the score, and the weight of all positives and of all rows down to it. Each is (labels, rows), of
 * which length[l] are written. Fails as above. */
typedef struct {
    int64_t *length, *row;
    double *positive, *all;
} mlc_curve;

mlc_status mlc_column_curve(const float *scores, const uint8_t *targets, const double *weights,
                            size_t rows, size_t labels, const mlc_curve *curve, mlc_error *error);

/* Of a row: its average precision, NaN where no label is there; down to which place, the last of
 * its tie, one must go to find all that are there; the share of pairs of a label that is there and
 * one that is not which are out of order or tied, 0 where there are none. */
enum { MLC_ROW_AP, MLC_ROW_COVERAGE, MLC_ROW_LOSS, MLC_ROW_VALUES };

/* out (rows, MLC_ROW_VALUES). Scores are not NaN. MLC_VALUE on 2^31 labels or more, MLC_MEMORY. */
mlc_status mlc_row_ranking(const float *scores, const uint8_t *targets, size_t rows, size_t labels,
                           double *out, mlc_error *error);

/* out[row] = what its labels that are there gain, when `gains` (labels + 1) says how much the first
 * 0, 1, 2... places give together, and ties share what their places give. Fails as above. */
mlc_status mlc_row_gains(const float *scores, const uint8_t *targets, const double *gains,
                         size_t rows, size_t labels, double *out, mlc_error *error);

#endif
