/* The search for thresholds: visitors of sorted columns, which go down them and predict one run of
 * equal scores more at a time. */
#include <math.h>
#include <stdbool.h>
#include <string.h>

#include "columns.h"
#include "thresholds.h"

typedef struct {
    const float *start;
    uint64_t smooth;
    float *edges;
    int64_t *counts;
} search_job;

/* Fractions are compared as products of whole numbers, so that equal ones are equal: with fewer than
 * 2^31 rows these stay below 2^64. */
static void search_visit(void *context, size_t label, uint64_t *items, size_t n)
{
    const search_job *j = context;
    const uint32_t start = mlc_rank_of(j->start[label]);
    const uint64_t smooth = j->smooth;
    uint64_t positives = 0, tp = 0, cut = 0, best_tp = 0, start_tp = 0, started = 0;
    for (size_t i = 0; i < n; i++) positives += items[i] & 1;
    uint64_t above = smooth, below = smooth + positives; /* of the best cut */
    for (size_t i = 0; i < n; i++) {
        tp += items[i] & 1;
        bool last = i + 1 == n || mlc_item_rank(items[i + 1]) != mlc_item_rank(items[i]);
        if (mlc_item_rank(items[i]) > start) start_tp = tp, started = i + 1;
        uint64_t new_above = smooth + 2 * tp, new_below = smooth + positives + i + 1;
        if (last && new_above * below > above * new_below) {
            above = new_above, below = new_below;
            best_tp = tp, cut = i + 1;
        }
    }
    j->edges[2 * label] = cut < n ? mlc_score_of(mlc_item_rank(items[cut])) : -INFINITY;
    j->edges[2 * label + 1] = cut ? mlc_score_of(mlc_item_rank(items[cut - 1])) : INFINITY;
    int64_t *counts = j->counts + label * MLC_CUT_COUNTS;
    counts[MLC_CUT_TP] = (int64_t)best_tp;
    counts[MLC_CUT_PREDICTED] = (int64_t)cut;
    counts[MLC_CUT_POSITIVES] = (int64_t)positives;
    counts[MLC_START_TP] = (int64_t)start_tp;
    counts[MLC_START_PREDICTED] = (int64_t)started;
}

mlc_status mlc_threshold_search(const float *scores, const uint8_t *targets, size_t rows,
                                size_t labels, const float *start, unsigned smooth, float *edges,
                                int64_t *counts, mlc_error *error)
{
    search_job job = {start, smooth, edges, counts};
    return mlc_columns_visit("threshold_search", scores, targets, rows, labels, search_visit, &job,
                             error);
}

static void copy_visit(void *context, size_t label, uint64_t *items, size_t n)
{
    memcpy((uint64_t *)context + label * n, items, n * sizeof *items);
}

mlc_status mlc_sorted_columns(const float *scores, const uint8_t *targets, size_t rows,
                              size_t labels, uint64_t *items, mlc_error *error)
{
    return mlc_columns_visit("sorted_columns", scores, targets, rows, labels, copy_visit, items,
                             error);
}
