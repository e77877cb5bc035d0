/* What is measured on the labels of a row. */
#include <math.h>
#include <stdlib.h>

#include "../base/threads.h"
#include "../isa/select.h"
#include "ranking.h"

enum { GRAIN = 1 << 14 /* cells of a task */ };

typedef struct rows_job rows_job;
struct rows_job {
    const float *scores;
    const uint8_t *targets;
    const double *gains;
    size_t rows, labels, chunk;
    double *out;
    void (*measure)(const rows_job *j, size_t row, const mlc_place *place, size_t count);
    float *present;   /* per worker: `labels` */
    mlc_place *place; /* likewise */
};

static void measure_order(const rows_job *j, size_t row, const mlc_place *place, size_t count)
{
    double *out = j->out + row * MLC_ROW_VALUES, precision = 0;
    uint64_t inverted = 0;
    uint32_t last = 0;
    for (size_t k = 0; k < count; k++) {
        precision += (double)place[k].found / place[k].reached;
        inverted += place[k].reached - place[k].found;
        if (place[k].reached > last) last = place[k].reached;
    }
    const uint64_t pairs = (uint64_t)count * (j->labels - count);
    out[MLC_ROW_AP] = count ? precision / (double)count : NAN;
    out[MLC_ROW_COVERAGE] = last;
    out[MLC_ROW_LOSS] = pairs ? (double)inverted / (double)pairs : 0;
}

static void measure_gain(const rows_job *j, size_t row, const mlc_place *place, size_t count)
{
    double sum = 0;
    for (size_t k = 0; k < count; k++)
        sum += (j->gains[place[k].reached] - j->gains[place[k].above]) /
               (place[k].reached - place[k].above);
    j->out[row] = sum;
}

static void rows_task(void *context, size_t index)
{
    const rows_job *j = context;
    float *present = j->present + mlc_worker() * j->labels;
    mlc_place *place = j->place + mlc_worker() * j->labels;
    size_t first = index * j->chunk;
    size_t end = j->rows - first < j->chunk ? j->rows : first + j->chunk;
    for (size_t i = first; i < end; i++) {
        size_t count;
        mlc_kernel->row_places(j->scores + i * j->labels, j->targets + i * j->labels, j->labels,
                               present, place, &count);
        j->measure(j, i, place, count);
    }
}

static mlc_status run_rows(const char *function, rows_job *j, mlc_error *error)
{
    if (j->labels >> 31)
        return mlc_fail(error, MLC_VALUE, "%s: `scores` must have fewer than 2^31 columns, got %zu",
                        function, j->labels);
    size_t workers = (size_t)mlc_threads_get();
    j->chunk = GRAIN / (j->labels + 1) + 1;
    j->present = malloc(workers * j->labels * sizeof *j->present + 1);
    j->place = malloc(workers * j->labels * sizeof *j->place + 1);
    mlc_status status = MLC_OK;
    if (j->present && j->place)
        mlc_parallel_for((j->rows + j->chunk - 1) / j->chunk, rows_task, j);
    else
        status =
            mlc_fail(error, MLC_MEMORY, "%s: no memory to rank %zu labels", function, j->labels);
    free(j->present);
    free(j->place);
    return status;
}

mlc_status mlc_row_ranking(const float *scores, const uint8_t *targets, size_t rows, size_t labels,
                           double *out, mlc_error *error)
{
    rows_job job = {.scores = scores,
                    .targets = targets,
                    .rows = rows,
                    .labels = labels,
                    .out = out,
                    .measure = measure_order};
    return run_rows("row_ranking", &job, error);
}

mlc_status mlc_row_gains(const float *scores, const uint8_t *targets, const double *gains,
                         size_t rows, size_t labels, double *out, mlc_error *error)
{
    rows_job job = {.scores = scores,
                    .targets = targets,
                    .gains = gains,
                    .rows = rows,
                    .labels = labels,
                    .out = out,
                    .measure = measure_gain};
    return run_rows("row_gains", &job, error);
}
