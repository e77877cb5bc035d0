/* Histograms of ranks, and what they say of a ranking. */
#include <math.h>

#include "../base/threads.h"
#include "../isa/select.h"
#include "counts.h"

enum { WIDTH = 16 }; /* labels counted by one task: a cache line of scores */

typedef struct {
    const float *scores;
    const uint8_t *targets;
    size_t rows, labels, bits;
    int64_t *histogram;
} histogram_job;

static void histogram_task(void *context, size_t i)
{
    const histogram_job *j = context;
    size_t from = i * WIDTH, width = j->labels - from < WIDTH ? j->labels - from : WIDTH;
    mlc_kernel->count_ranks(j->scores + from, j->targets + from, j->rows, j->labels, width, j->bits,
                            j->histogram + ((from << j->bits) * 2));
}

void mlc_rank_histogram(const float *scores, const uint8_t *targets, size_t rows, size_t labels,
                        size_t bits, int64_t *histogram)
{
    histogram_job job = {scores, targets, rows, labels, bits, histogram};
    mlc_parallel_for((labels + WIDTH - 1) / WIDTH, histogram_task, &job);
}

typedef struct {
    const int64_t *histogram;
    size_t bins;
    double *out;
} ranking_job;

/* A positive contributes the precision among all scores down to its own and those tied with it. In
 * a bin of p positives and n negatives below T positives and F negatives, that is at most
 * (T + p) / (T + p + F), reached by all p if they are tied above the negatives; and for the i-th of
 * them at least (T + i) / (T + i + F + n), reached if all follow the negatives, one by one. */
static void ranking_label(void *context, size_t label)
{
    const ranking_job *j = context;
    const int64_t(*bin)[2] = (const int64_t(*)[2])j->histogram + label * j->bins;
    double *out = j->out + label * MLC_RANKING_VALUES;
    double tp = 0, fp = 0, ap = 0, ap_low = 0, ap_high = 0, tied = 0, above = 0;
    for (size_t b = j->bins; b-- > 0;) {
        const double n = (double)bin[b][0], p = (double)bin[b][1];
        if (p > 0) {
            ap += p * ((tp + p) / (tp + p + fp + n));
            ap_high += p * ((tp + p) / (tp + p + fp));
            for (int64_t i = 1; i <= bin[b][1]; i++)
                ap_low += (tp + (double)i) / (tp + (double)i + fp + n);
        }
        tied += p * n;
        above += tp * n; /* pairs that no order inside a bin changes */
        tp += p, fp += n;
    }
    out[MLC_AP] = tp > 0 ? ap / tp : NAN;
    out[MLC_AP_LOW] = tp > 0 ? ap_low / tp : NAN;
    out[MLC_AP_HIGH] = tp > 0 ? ap_high / tp : NAN;
    const double pairs = tp > 0 && fp > 0 ? tp * fp : NAN;
    out[MLC_AUC] = (above + 0.5 * tied) / pairs;
    out[MLC_AUC_LOW] = above / pairs;
    out[MLC_AUC_HIGH] = (above + tied) / pairs;
}

void mlc_histogram_ranking(const int64_t *histogram, size_t labels, size_t bins, double *out)
{
    ranking_job job = {histogram, bins, out};
    mlc_parallel_for(labels, ranking_label, &job);
}
