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

static size_t count_positives(const uint64_t *items, size_t n)
{
    size_t positives = 0;
    for (size_t i = 0; i < n; i++) positives += items[i] & 1;
    return positives;
}

/* How many items have a higher rank, and how many of them are positive. */
static void count_above(const mlc_column *column, uint32_t rank, int64_t *above, int64_t *positives)
{
    size_t from = 0, to = column->rows;
    while (from < to) { /* to the first item that a group above does not hold */
        size_t middle = from + (to - from) / 2;
        if (mlc_item_rank(column->items[middle]) >> MLC_FINE_BITS > rank >> MLC_FINE_BITS)
            from = middle + 1;
        else
            to = middle;
    }
    *above = (int64_t)from;
    *positives = (int64_t)count_positives(column->items, from);
    size_t end = from < column->rows ? mlc_group_end(column, from) : from;
    for (size_t i = from; i < end; i++)
        if (mlc_item_rank(column->items[i]) > rank)
            ++*above, *positives += mlc_item_target(column->items[i]);
}

/* The highest score from item `i` on; all groups before it have been passed. */
static float highest(const mlc_column *column, size_t i)
{
    uint32_t rank = 0;
    for (size_t end = mlc_group_end(column, i); i < end; i++)
        if (mlc_item_rank(column->items[i]) > rank) rank = mlc_item_rank(column->items[i]);
    return mlc_score_of(rank);
}

/* Only below a run with a positive can the fraction be greater than above it. Fractions are
 * compared as products of whole numbers, so that equal ones are equal: with fewer than 2^31 rows
 * these stay below 2^64. */
static void search_visit(void *context, size_t label, mlc_column *column)
{
    const search_job *j = context;
    const uint64_t *items = column->items;
    const size_t n = column->rows;
    const uint64_t positives = count_positives(items, n), smooth = j->smooth;
    uint64_t above = smooth, below = smooth + positives,
             tp = 0; /* above / below: the best so far */
    size_t cut = 0, best_tp = 0;
    for (size_t i = mlc_next_positive(column, 0); i < n; i = mlc_next_positive(column, i)) {
        const size_t end = mlc_run_end(items, i, n);
        tp += count_positives(items + i, end - i);
        i = end;
        const uint64_t new_above = smooth + 2 * tp, new_below = smooth + positives + i;
        if (new_above * below > above * new_below) {
            above = new_above, below = new_below;
            best_tp = tp, cut = i;
        }
    }
    float *edges = j->edges + 2 * label; /* the scores below and above the cut */
    edges[0] = n ? highest(column, cut < n ? cut : n - 1) : NAN;
    edges[1] = cut ? mlc_score_of(mlc_item_rank(items[cut - 1])) : edges[0];
    int64_t *counts = j->counts + label * MLC_CUT_COUNTS;
    counts[MLC_CUT_TP] = (int64_t)best_tp;
    counts[MLC_CUT_PREDICTED] = (int64_t)cut;
    counts[MLC_CUT_POSITIVES] = (int64_t)positives;
    count_above(column, mlc_rank_of(j->start[label]), &counts[MLC_START_PREDICTED],
                &counts[MLC_START_TP]);
}

mlc_status mlc_threshold_search(const float *scores, const uint8_t *targets, size_t rows,
                                size_t labels, const float *start, unsigned smooth, float *edges,
                                int64_t *counts, mlc_error *error)
{
    search_job job = {start, smooth, edges, counts};
    return mlc_columns_visit("threshold_search", scores, targets, rows, labels, MLC_COARSE,
                             search_visit, &job, error);
}
