/* The search for thresholds: down the steps of a label, for only below a score that a positive has
 * can a cut be the best. */
#include <math.h>

#include "../isa/select.h"
#include "steps.h"
#include "thresholds.h"

typedef struct {
    const float *start;
    uint64_t smooth;
    float *edges;
    int64_t *counts;
} search_job;

static const mlc_step ABOVE_ALL = {0};

/* The step below which to cut, or ABOVE_ALL. Fractions are compared as products of whole numbers,
 * so that equal ones are equal: with fewer than 2^31 rows these stay below 2^64. */
static const mlc_step *best_step(const mlc_steps *ranked, uint64_t smooth)
{
    uint64_t above = smooth, below = smooth + ranked->positives; /* the best fraction so far */
    const mlc_step *best = &ABOVE_ALL;
    for (size_t k = 0; k < ranked->count; k++) {
        const mlc_step *step = &ranked->steps[k];
        const uint64_t new_above = smooth + 2 * (uint64_t)step->found;
        const uint64_t new_below = smooth + ranked->positives + step->reached;
        if (new_above * below > above * new_below) {
            above = new_above, below = new_below;
            best = step;
        }
    }
    return best;
}

/* How many positives are above a score. */
static size_t positives_above(const mlc_steps *ranked, float score)
{
    size_t k = 0;
    while (k < ranked->count && ranked->steps[k].rank > mlc_rank_of(score)) k++;
    return k ? ranked->steps[k - 1].found : 0;
}

/* The scores next below and above a cut. */
static void edges_of(const mlc_steps *ranked, const mlc_step *cut, float *edges)
{
    const float limit = cut->reached ? mlc_score_of(cut->rank) : NAN;
    edges[0] = edges[1] = limit;
    if (cut->reached < ranked->rows)
        mlc_kernel->highest_below(ranked->scores, ranked->rows, limit, &edges[0]);
    if (!cut->reached) edges[1] = edges[0];
}

static void search_visit(void *context, size_t label, const mlc_steps *ranked)
{
    const search_job *j = context;
    const mlc_step *cut = best_step(ranked, j->smooth);
    int64_t *counts = j->counts + label * MLC_CUT_COUNTS;
    edges_of(ranked, cut, j->edges + 2 * label);
    counts[MLC_CUT_TP] = cut->found;
    counts[MLC_CUT_PREDICTED] = cut->reached;
    counts[MLC_CUT_POSITIVES] = (int64_t)ranked->positives;
    counts[MLC_START_TP] = (int64_t)positives_above(ranked, j->start[label]);
    mlc_kernel->count_over(ranked->scores, ranked->rows, j->start[label],
                           &counts[MLC_START_PREDICTED]);
}

mlc_status mlc_threshold_search(const float *scores, const uint8_t *targets, size_t rows,
                                size_t labels, const float *start, unsigned smooth, float *edges,
                                int64_t *counts, mlc_error *error)
{
    search_job job = {start, smooth, edges, counts};
    return mlc_steps_of("threshold_search", scores, targets, rows, labels, search_visit, &job,
                        error);
}
