/* Labels are sorted in blocks: a row's scores of a block are one cache line, read once. Each label
 * is sorted by itself, so blocks may go by the number of threads. */
#include "columns.h"

#include <stdbool.h>
#include <stdlib.h>

#include "../base/arena.h"
#include "../base/threads.h"
#include "../isa/select.h"

enum {
    BLOCK = 16,       /* labels */
    LINE = 8,         /* items in a cache line */
    LARGE = 64 << 20, /* bytes: a thread's workspace is kept below by narrower blocks */
};

typedef struct {
    const float *scores;
    const uint8_t *targets;
    size_t rows, labels, block, column; /* items from one column to the next */
    mlc_column_visit *visit;
    void *context;
    uint64_t *work; /* per worker: a block's columns, then one spare */
    bool *nan;      /* per block */
} columns_job;

static void sort_block(void *context, size_t index)
{
    const columns_job *j = context;
    size_t first = index * j->block;
    size_t width = j->labels - first < j->block ? j->labels - first : j->block;
    uint64_t *items = j->work + mlc_worker() * (j->block + 1) * j->column;
    uint64_t *spare = items + j->block * j->column;
    mlc_kernel->column_items(j->scores + first, j->targets + first, 0, j->rows, j->labels, width,
                             items, j->column, &j->nan[index]);
    for (size_t l = 0; l < width && !j->nan[index]; l++) {
        uint64_t *sorted;
        mlc_kernel->sort_descending(items + l * j->column, spare, j->rows, &sorted);
        j->visit(j->context, first + l, sorted, j->rows);
    }
}

/* Columns lie an odd number of cache lines apart, so that they do not compete for the same sets. */
static size_t column_step(size_t rows)
{
    return (rows / LINE | 1) * LINE + (rows % LINE ? 2 * LINE : 0);
}

mlc_status mlc_columns_visit(const char *function, const float *scores, const uint8_t *targets,
                             size_t rows, size_t labels, mlc_column_visit *visit, void *context,
                             mlc_error *error)
{
    if (rows >> 31)
        return mlc_fail(error, MLC_VALUE, "%s: `scores` must have fewer than 2^31 rows, got %zu",
                        function, rows);
    columns_job job = {.scores = scores,
                       .targets = targets,
                       .rows = rows,
                       .labels = labels,
                       .block = BLOCK,
                       .column = column_step(rows),
                       .visit = visit,
                       .context = context};
    size_t workers = (size_t)mlc_threads_get();
    while (job.block > 1 && (job.block * rows > LARGE / sizeof *job.work ||
                             (workers > 1 && job.block * workers * 4 > labels)))
        job.block /= 2;
    size_t blocks = (labels + job.block - 1) / job.block;
    if (workers > blocks) workers = blocks;
    job.work = malloc(workers * (job.block + 1) * job.column * sizeof *job.work + 1);
    job.nan = calloc(blocks + 1, sizeof *job.nan);
    mlc_status status = MLC_OK;
    if (!job.work || !job.nan) {
        status = mlc_fail(error, MLC_MEMORY, "%s: no memory to sort %zu scores", function, rows);
        goto done;
    }
    mlc_parallel_limit(blocks, workers, sort_block, &job);
    for (size_t b = 0; b < blocks; b++)
        if (job.nan[b]) status = MLC_VALUE;
    if (status) mlc_fail(error, status, "%s: `scores` must not hold NaN, got NaN", function);
done:
    free(job.work);
    free(job.nan);
    return status;
}
