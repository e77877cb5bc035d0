/* Counts of decisions. Rows are cut into at most CHUNKS equal parts, by shape alone, each with
 * sums of its own; these are added in their order. */
#include "counts.h"

#include <stdlib.h>
#include <string.h>

#include "../base/arena.h"
#include "../base/threads.h"
#include "../isa/select.h"

enum {
    CHUNKS = 16,
    GRAIN = 1 << 17, /* cells below which a chunk is not worth a thread */
    COUNTS = 3,
};

typedef struct {
    const uint8_t *targets, *decided;
    const double *weights; /* NULL: counts */
    size_t rows, labels, chunk;
    void *parts; /* per chunk: int64_t or double (COUNTS, labels) */
} counts_job;

static size_t chunk_rows(size_t rows, size_t labels)
{
    size_t least = GRAIN / (labels ? labels : 1) + 1, even = (rows + CHUNKS - 1) / CHUNKS;
    return even > least ? even : least;
}

static void counts_chunk(void *context, size_t i)
{
    const counts_job *j = context;
    size_t from = i * j->chunk, rows = j->rows - from < j->chunk ? j->rows - from : j->chunk;
    const uint8_t *targets = j->targets + from * j->labels,
                  *decided = j->decided + from * j->labels;
    size_t part = i * COUNTS * j->labels;
    if (j->weights)
        mlc_kernel->weigh_labels(targets, decided, j->weights + from, rows, j->labels,
                                 (double *)j->parts + part);
    else
        mlc_kernel->count_labels(targets, decided, rows, j->labels, (int64_t *)j->parts + part);
}

/* Run all chunks into new, zeroed parts, which are the caller's to free. */
static mlc_status run_counts(counts_job *j, size_t *chunks, mlc_error *error)
{
    size_t size;
    j->chunk = chunk_rows(j->rows, j->labels);
    *chunks = (j->rows + j->chunk - 1) / j->chunk;
    if (!mlc_mul(*chunks + 1, j->labels, &size) ||
        !(j->parts = calloc(size + 1, COUNTS * sizeof(int64_t))))
        return mlc_fail(error, MLC_MEMORY, "label_counts: no memory to count %zu labels",
                        j->labels);
    mlc_parallel_for(*chunks, counts_chunk, j);
    return MLC_OK;
}

mlc_status mlc_label_counts(const uint8_t *targets, const uint8_t *decided, size_t rows,
                            size_t labels, int64_t *counts, mlc_error *error)
{
    counts_job job = {.targets = targets, .decided = decided, .rows = rows, .labels = labels};
    size_t chunks, n = COUNTS * labels;
    mlc_status status = run_counts(&job, &chunks, error);
    if (status) return status;
    const int64_t *parts = job.parts;
    memset(counts, 0, n * sizeof *counts);
    for (size_t i = 0; i < chunks; i++)
        for (size_t k = 0; k < n; k++) counts[k] += parts[i * n + k];
    free(job.parts);
    return MLC_OK;
}

mlc_status mlc_label_weights(const uint8_t *targets, const uint8_t *decided, const double *weights,
                             size_t rows, size_t labels, double *sums, mlc_error *error)
{
    counts_job job = {targets, decided, weights, rows, labels, 0, NULL};
    size_t chunks, n = COUNTS * labels;
    mlc_status status = run_counts(&job, &chunks, error);
    if (status) return status;
    const double *parts = job.parts;
    memset(sums, 0, n * sizeof *sums);
    for (size_t i = 0; i < chunks; i++)
        for (size_t k = 0; k < n; k++) sums[k] += parts[i * n + k];
    free(job.parts);
    return MLC_OK;
}

typedef struct {
    const uint8_t *targets, *decided;
    size_t rows, labels, chunk;
    int64_t *counts;
} rows_job;

static void rows_chunk(void *context, size_t i)
{
    const rows_job *j = context;
    size_t from = i * j->chunk, rows = j->rows - from < j->chunk ? j->rows - from : j->chunk;
    mlc_kernel->count_rows(j->targets + from * j->labels, j->decided + from * j->labels, rows,
                           j->labels, j->counts + from, j->rows);
}

void mlc_row_counts(const uint8_t *targets, const uint8_t *decided, size_t rows, size_t labels,
                    int64_t *counts)
{
    rows_job job = {targets, decided, rows, labels, chunk_rows(rows, labels), counts};
    mlc_parallel_for((rows + job.chunk - 1) / job.chunk, rows_chunk, &job);
}
