/* What is measured on a label's sorted column. */
#include <math.h>

#include "columns.h"
#include "ranking.h"
#include "steps.h"

typedef struct {
    const double *weights;
    double *out;
} ranking_job;

static void rank_visit(void *context, size_t label, const mlc_steps *ranked)
{
    const ranking_job *j = context;
    double *out = j->out + label * MLC_COLUMN_VALUES, precision = 0;
    const uint64_t positives = ranked->positives, n = ranked->rows;
    uint64_t before = 0, inverted = 0; /* half pairs: two for a wrong order, one for a tie */
    for (size_t k = 0; k < ranked->count; k++) {
        const mlc_step *step = &ranked->steps[k];
        const uint64_t found = step->found - before, tied = step->reached - step->above - found;
        precision += (double)found * ((double)step->found / step->reached);
        inverted += found * (2 * (step->above - before) + tied);
        before = step->found;
    }
    const uint64_t halves = 2 * positives * (n - positives);
    out[MLC_COLUMN_AP] = positives ? precision / (double)positives : NAN;
    out[MLC_COLUMN_AUC] = halves ? (double)(halves - inverted) / (double)halves : NAN;
}

static void weighted_visit(void *context, size_t label, uint64_t *items, size_t n)
{
    const ranking_job *j = context;
    double *out = j->out + label * MLC_COLUMN_VALUES, precision = 0, ordered = 0;
    double above[2] = {0, 0}; /* the weight of negatives and of positives */
    for (size_t i = 0; i < n;) {
        double run[2] = {0, 0};
        for (size_t end = mlc_run_end(items, i, n); i < end; i++)
            run[mlc_item_target(items[i])] += j->weights[mlc_item_row(items[i])];
        ordered += above[1] * run[0] + 0.5 * run[1] * run[0];
        above[0] += run[0], above[1] += run[1];
        if (run[1] > 0) precision += run[1] * (above[1] / (above[1] + above[0]));
    }
    out[MLC_COLUMN_AP] = above[1] > 0 ? precision / above[1] : NAN;
    out[MLC_COLUMN_AUC] = above[0] > 0 && above[1] > 0 ? ordered / above[1] / above[0] : NAN;
}

mlc_status mlc_column_ranking(const float *scores, const uint8_t *targets, const double *weights,
                              size_t rows, size_t labels, double *out, mlc_error *error)
{
    ranking_job job = {weights, out};
    if (weights)
        return mlc_columns_visit("column_ranking", scores, targets, rows, labels, weighted_visit,
                                 &job, error);
    return mlc_steps_of("column_ranking", scores, targets, rows, labels, rank_visit, &job, error);
}

typedef struct {
    const double *weights;
    mlc_curve curve;
} curve_job;

static void curve_visit(void *context, size_t label, uint64_t *items, size_t n)
{
    const curve_job *j = context;
    const size_t base = label * n;
    double positive = 0, all = 0;
    size_t steps = 0;
    for (size_t i = 0; i < n;) {
        const double before = all;
        for (size_t end = mlc_run_end(items, i, n); i < end; i++) {
            double weight = j->weights ? j->weights[mlc_item_row(items[i])] : 1;
            all += weight;
            positive += mlc_item_target(items[i]) ? weight : 0;
        }
        if (!(all > before)) continue;
        j->curve.row[base + steps] = (int64_t)mlc_item_row(items[i - 1]);
        j->curve.positive[base + steps] = positive;
        j->curve.all[base + steps++] = all;
    }
    j->curve.length[label] = (int64_t)steps;
}

mlc_status mlc_column_curve(const float *scores, const uint8_t *targets, const double *weights,
                            size_t rows, size_t labels, const mlc_curve *curve, mlc_error *error)
{
    curve_job job = {weights, *curve};
    return mlc_columns_visit("column_curve", scores, targets, rows, labels, curve_visit, &job,
                             error);
}
