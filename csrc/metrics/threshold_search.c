/* The search for thresholds: a visitor of sorted columns, which goes down them and predicts one run
 * of equal scores more at a time. */
#include <math.h>

#include "columns.h"
#include "thresholds.h"

typedef struct {
    const float *start;
    uint64_t smooth;
    float *edges;
    int64_t *counts;
} search_job;

/* How many items have a higher rank. */
static size_t items_above(const uint64_t *items, size_t n, uint32_t rank)
{
    size_t from = 0;
    while (from < n) {
        size_t middle = from + (n - from) / 2;
        if (mlc_item_rank(items[middle]) > rank)
            from = middle + 1;
        else
            n = middle;
    }
    return from;
}

static size_t count_positives(const uint64_t *items, size_t n)
{
    size_t positives = 0;
    for (size_t i = 0; i < n; i++) positives += items[i] & 1;
    return positives;
}

/* Only below a run with a positive can the fraction be greater than above it. Fractions are
 * compared as products of whole numbers, so that equal ones are equal: with fewer than 2^31 rows
 * these stay below 2^64. */
static void search_visit(void *context, size_t label, uint64_t *items, size_t n)
{
    const search_job *j = context;
    const uint64_t positives = count_positives(items, n), smooth = j->smooth;
    uint64_t above = smooth, below = smooth + positives,
             tp = 0; /* above / below: the best so far */
    size_t cut = 0, best_tp = 0, started = items_above(items, n, mlc_rank_of(j->start[label]));
    for (size_t i = mlc_next_positive(items, 0, n); i < n; i = mlc_next_positive(items, i, n)) {
        const size_t end = mlc_run_end(items, i, n);
        tp += count_positives(items + i, end - i);
        i = end;
        const uint64_t new_above = smooth + 2 * tp, new_below = smooth + positives + i;
        if (new_above * below > above * new_below) {
            above = new_above, below = new_below;
            best_tp = tp, cut = i;
        }
    }
    j->edges[2 * label] = n ? mlc_score_of(mlc_item_rank(items[cut < n ? cut : n - 1])) : NAN;
    j->edges[2 * label + 1] = n ? mlc_score_of(mlc_item_rank(items[cut ? cut - 1 : 0])) : NAN;
    int64_t *counts = j->counts + label * MLC_CUT_COUNTS;
    counts[MLC_CUT_TP] = (int64_t)best_tp;
    counts[MLC_CUT_PREDICTED] = (int64_t)cut;
    counts[MLC_CUT_POSITIVES] = (int64_t)positives;
    counts[MLC_START_TP] = (int64_t)count_positives(items, started);
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
