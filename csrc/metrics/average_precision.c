/* Average precision: one radix sort a label, then one pass over its distinct scores. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "../base/arena.h"
#include "../base/threads.h"
#include "../isa/select.h"
#include "scores.h"

enum { LANES = 16 }; /* labels worked on at once, each with its own workspace */

typedef struct {
    const float *scores;
    const uint8_t *targets;
    size_t rows, labels, lanes;
    double *out;
    uint64_t *work; /* per lane: items, then spare */
    bool nan[LANES];
} ap_job;

/* Floats as unsigned integers in the same order: flip all bits of negatives, the sign of others. */
static uint32_t rank_of(float x)
{
    uint32_t bits;
    x += 0.0f; /* -0 becomes +0 */
    memcpy(&bits, &x, sizeof bits);
    return bits & 0x80000000u ? ~bits : bits | 0x80000000u;
}

/* `items` hold (rank << 32 | target), ranks descending. */
static double precision_of(const uint64_t *items, size_t n)
{
    double sum = 0;
    size_t positives = 0;
    for (size_t i = 0; i < n;) {
        size_t before = positives, first = i;
        do positives += items[i] & 1;
        while (++i < n && items[i] >> 32 == items[first] >> 32);
        if (positives > before)
            sum += (double)(positives - before) * ((double)positives / (double)i);
    }
    return positives ? sum / (double)positives : NAN;
}

static void ap_lane(void *context, size_t lane)
{
    ap_job *j = context;
    uint64_t *items = j->work + 2 * lane * j->rows, *spare = items + j->rows;
    for (size_t l = lane; l < j->labels; l += j->lanes) {
        for (size_t i = 0; i < j->rows; i++) {
            float score = j->scores[i * j->labels + l];
            if (score != score) j->nan[lane] = true;
            items[i] = (uint64_t)rank_of(score) << 32 | (j->targets[i * j->labels + l] != 0);
        }
        mlc_kernel->sort_descending(items, spare, j->rows);
        j->out[l] = precision_of(items, j->rows);
    }
}

mlc_status mlc_average_precision(const float *scores, const uint8_t *targets, size_t rows,
                                 size_t labels, double *out, mlc_error *error)
{
    ap_job job = {.scores = scores, .targets = targets, .rows = rows, .labels = labels, .out = out};
    job.lanes = labels < LANES ? labels : LANES;
    size_t items;
    if (!mlc_mul(2 * job.lanes, rows + 1, &items) || !mlc_mul(items, sizeof *job.work, &items) ||
        !(job.work = malloc(items + 1)))
        return mlc_fail(error, MLC_MEMORY, "average_precision: no memory to sort %zu scores", rows);
    mlc_parallel_for(job.lanes, ap_lane, &job);
    free(job.work);
    for (size_t i = 0; i < job.lanes; i++)
        if (job.nan[i])
            return mlc_fail(error, MLC_VALUE,
                            "average_precision: `scores` must not hold NaN, got NaN");
    return MLC_OK;
}
