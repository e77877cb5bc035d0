/* Decisions and ranks counted, over whole (N, L) matrices: what metrics of decisions and streaming
 * metrics are derived from. */
#ifndef MLC_COUNTS_H
#define MLC_COUNTS_H

#include <stddef.h>
#include <stdint.h>

#include "../base/status.h"

/* Of each label, how many rows have it, are decided to have it, and both: counts (3, labels) in the
 * order both, have, decided. A label is there where its byte is not 0. */
mlc_status mlc_label_counts(const uint8_t *targets, const uint8_t *decided, size_t rows,
                            size_t labels, int64_t *counts, mlc_error *error);

/* The same for each row: counts (3, rows). */
void mlc_row_counts(const uint8_t *targets, const uint8_t *decided, size_t rows, size_t labels,
                    int64_t *counts);

/* As mlc_label_counts, with a weight for each row; the order of the sums goes by shape alone. */
mlc_status mlc_label_weights(const uint8_t *targets, const uint8_t *decided, const double *weights,
                             size_t rows, size_t labels, double *sums, mlc_error *error);

/* Add to each label's histogram (labels, 1 << bits, 2), see the kernel count_ranks. No NaN. */
void mlc_rank_histogram(const float *scores, const uint8_t *targets, size_t rows, size_t labels,
                        size_t bits, int64_t *histogram);

/* What a histogram says of a ranking: the value with each bin as one tie, and between which values
 * the true one lies, whatever the order and the ties inside the bins are. */
enum {
    MLC_AP,
    MLC_AP_LOW,
    MLC_AP_HIGH,
    MLC_AUC,
    MLC_AUC_LOW,
    MLC_AUC_HIGH,
    MLC_RANKING_VALUES,
};

/* out (labels, MLC_RANKING_VALUES); NaN where it is not defined: AP without positives, ROC AUC
 * without positives or without negatives. */
void mlc_histogram_ranking(const int64_t *histogram, size_t labels, size_t bins, double *out);

#endif
