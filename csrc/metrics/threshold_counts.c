/* Every threshold in one pass: each worker counts rows into histograms of its own, which are added.
 * They hold integers, so that nothing depends on who counted what. */
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#include "../base/arena.h"
#include "../base/threads.h"
#include "../isa/select.h"
#include "thresholds.h"

enum {
    CELLS = 1 << MLC_GRID_BITS,
    GRAIN = 1 << 15, /* scores a task */
};

typedef struct {
    const float *scores;
    const uint8_t *targets;
    size_t rows, labels, chunk;
    mlc_grid grid;
    size_t size; /* entries of a worker's histograms */
    uint32_t *work;
} above_job;

static void above_chunk(void *context, size_t i)
{
    const above_job *j = context;
    size_t from = i * j->chunk, rows = j->rows - from < j->chunk ? j->rows - from : j->chunk;
    uint32_t *counts = j->work + mlc_worker() * j->size;
    int32_t *exact = (int32_t *)(counts + j->size - j->grid.count - 1);
    mlc_kernel->count_above(j->scores + from * j->labels, j->targets + from * j->labels, rows,
                            j->labels, &j->grid, counts, exact);
}

/* The ranks of thresholds, padded, and how many of them each cell of upper bits begins after. */
static size_t grid_fill(const float *thresholds, size_t count, uint32_t *ranks, uint32_t *first)
{
    size_t t = 0, most = 0, step = 0;
    for (size_t i = 0; i < count; i++) ranks[i] = mlc_rank_of(thresholds[i]);
    memset(ranks + count, 0xff, (count + 1) * sizeof *ranks);
    for (size_t cell = 0; cell < CELLS; cell++) {
        size_t begin = t;
        first[cell] = (uint32_t)t;
        while (t < count && ranks[t] >> (32 - MLC_GRID_BITS) == cell) t++;
        most = t - begin > most ? t - begin : most;
    }
    while (most >= 2 * step && most) step = step ? 2 * step : 1;
    return step;
}

static void merge(const above_job *j, size_t workers, int64_t *counts, int64_t *exact)
{
    const size_t cells = j->size - j->grid.count - 1;
    memset(counts, 0, cells * sizeof *counts);
    memset(exact, 0, (j->grid.count + 1) * sizeof *exact);
    for (size_t w = 0; w < workers; w++) {
        const uint32_t *part = j->work + w * j->size;
        for (size_t i = 0; i < cells; i++) counts[i] += part[i];
        for (size_t t = 0; t <= j->grid.count; t++) exact[t] += (int32_t)part[cells + t];
    }
}

static mlc_status check(size_t rows, const float *thresholds, size_t count, mlc_error *error)
{
    if (rows >> 31 || count >> 31)
        return mlc_fail(error, MLC_VALUE,
                        "threshold_counts: `%s` must have fewer than 2^31 rows, got %zu",
                        rows >> 31 ? "scores" : "thresholds", rows >> 31 ? rows : count);
    for (size_t i = 0; i < count; i++)
        if (!(thresholds[i] >= thresholds[i ? i - 1 : 0]))
            return mlc_fail(error, MLC_VALUE,
                            "threshold_counts: `thresholds` must ascend, got %g after %g",
                            (double)thresholds[i], (double)thresholds[i ? i - 1 : 0]);
    return MLC_OK;
}

mlc_status mlc_threshold_counts(const float *scores, const uint8_t *targets, size_t rows,
                                size_t labels, const float *thresholds, size_t count,
                                int64_t *counts, int64_t *exact, mlc_error *error)
{
    mlc_status status = check(rows, thresholds, count, error);
    if (status) return status;
    above_job job = {.scores = scores, .targets = targets, .rows = rows, .labels = labels};
    job.chunk = GRAIN / (labels ? labels : 1) + 1;
    size_t chunks = (rows + job.chunk - 1) / job.chunk, threads = (size_t)mlc_threads_get();
    size_t workers = chunks < threads ? chunks : threads, entries;
    bool fits = mlc_mul(labels, 2 * (count + 1), &job.size);
    job.size += count + 1;
    fits = fits && mlc_mul(workers + 1, job.size, &entries);
    uint32_t *ranks = malloc((2 * count + 1) * sizeof *ranks);
    uint32_t *first = malloc(CELLS * sizeof *first);
    job.work = fits ? calloc(entries, sizeof *job.work) : NULL;
    if (!ranks || !first || !job.work) {
        status = mlc_fail(error, MLC_MEMORY, "threshold_counts: no memory to count %zu thresholds",
                          count);
        goto done;
    }
    job.grid = (mlc_grid){ranks, first, count, grid_fill(thresholds, count, ranks, first)};
    mlc_parallel_limit(chunks, workers, above_chunk, &job);
    merge(&job, workers, counts, exact);
done:
    free(ranks);
    free(first);
    free(job.work);
    return status;
}
