/* Labels are sorted in blocks: a row's scores of a block are one cache line, read once. Each label
 * is sorted by itself, so blocks may go by the number of threads. */
#include "columns.h"

#include <stdbool.h>
#include <stdlib.h>

#include "../base/arena.h"
#include "../base/threads.h"
#include "../isa/select.h"
#include "label_blocks.h"

enum { LINE = 8 }; /* items in a cache line */

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

mlc_status mlc_columns_visit(const char *function, const float *scores, const uint8_t *targets,
                             size_t rows, size_t labels, mlc_column_visit *visit, void *context,
                             mlc_error *error)
{
    mlc_status status = mlc_check_rows(function, rows, error);
    if (status) return status;
    columns_job job = {.scores = scores,
                       .targets = targets,
                       .rows = rows,
                       .labels = labels,
                       .column = mlc_apart(rows, LINE),
                       .visit = visit,
                       .context = context};
    size_t workers = (size_t)mlc_threads_get();
    job.block = mlc_label_block(rows, labels, sizeof *job.work, workers);
    size_t blocks = (labels + job.block - 1) / job.block;
    if (workers > blocks) workers = blocks;
    job.work = malloc(workers * (job.block + 1) * job.column * sizeof *job.work + 1);
    job.nan = calloc(blocks + 1, sizeof *job.nan);
    if (!job.work || !job.nan) {
        status = mlc_fail(error, MLC_MEMORY, "%s: no memory to sort %zu scores", function, rows);
        goto done;
    }
    mlc_parallel_limit(blocks, workers, sort_block, &job);
    status = mlc_check_nan(function, job.nan, blocks, error);
done:
    free(job.work);
    free(job.nan);
    return status;
}
