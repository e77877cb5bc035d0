/* Labels are sorted in blocks: a row's scores of a block are one cache line, read once. Each label
 * is sorted by itself, so blocks may go by the number of threads. */
#include "columns.h"

#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#include "../base/arena.h"
#include "../base/threads.h"
#include "../isa/select.h"

enum {
    BLOCK = 16,       /* labels */
    LINE = 8,         /* items in a cache line */
    LARGE = 64 << 20, /* bytes: a thread's workspace is kept below by narrower blocks */
    FEW = 16,         /* items that are sorted by insertion */
};

typedef struct {
    const float *scores;
    const uint8_t *targets;
    size_t rows, labels, block, column; /* items from one column to the next */
    mlc_order order;
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
        uint64_t *own = items + l * j->column, *sorted;
        mlc_kernel->sort_descending(own, spare, j->rows, j->order == MLC_COARSE, &sorted);
        mlc_column column = {sorted, sorted == own ? spare : own, j->rows,
                             j->order == MLC_COARSE ? 0 : j->rows};
        j->visit(j->context, first + l, &column);
    }
}

/* Columns lie an odd number of cache lines apart, so that they do not compete for the same sets. */
static size_t column_step(size_t rows)
{
    return (rows / LINE | 1) * LINE + (rows % LINE ? 2 * LINE : 0);
}

mlc_status mlc_columns_visit(const char *function, const float *scores, const uint8_t *targets,
                             size_t rows, size_t labels, mlc_order order, mlc_column_visit *visit,
                             void *context, mlc_error *error)
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
                       .order = order,
                       .visit = visit,
                       .context = context};
    size_t workers = (size_t)mlc_threads_get();
    while (job.block > 1 && (job.block * rows > LARGE / sizeof *job.work ||
                             (workers > 1 && job.block * workers * 2 > labels)))
        job.block /= 2;
    size_t blocks = (labels + job.block - 1) / job.block;
    if (workers > blocks) workers = blocks;
    mlc_arena work = {0};
    mlc_status status =
        mlc_arena_new(&work, workers * (job.block + 1) * job.column * sizeof *job.work + 1, error);
    job.work = (uint64_t *)work.base;
    job.nan = calloc(blocks + 1, sizeof *job.nan);
    if (status || !job.nan) {
        status = mlc_fail(error, MLC_MEMORY, "%s: no memory to sort %zu scores", function, rows);
        goto done;
    }
    mlc_parallel_limit(blocks, workers, sort_block, &job);
    for (size_t b = 0; b < blocks; b++)
        if (job.nan[b]) status = MLC_VALUE;
    if (status) mlc_fail(error, status, "%s: `scores` must not hold NaN, got NaN", function);
done:
    mlc_arena_free(&work);
    free(job.nan);
    return status;
}

static uint32_t group_of(uint64_t item) { return mlc_item_rank(item) >> MLC_FINE_BITS; }

size_t mlc_group_end(const mlc_column *column, size_t i)
{
    size_t end = i + 1;
    while (end < column->rows && group_of(column->items[end]) == group_of(column->items[i])) end++;
    return end;
}

static void insertion_sort(uint64_t *items, size_t n)
{
    for (size_t i = 1; i < n; i++) {
        const uint64_t item = items[i];
        size_t at = i;
        for (; at > 0 && mlc_item_rank(items[at - 1]) < mlc_item_rank(item); at--)
            items[at] = items[at - 1];
        items[at] = item;
    }
}

/* Sort the group of item `i` wholly, from `settled` on if it began before; returns its start. */
static size_t settle(mlc_column *column, size_t i)
{
    size_t start = i, end = mlc_group_end(column, i);
    uint64_t *items = column->items, *sorted;
    while (start > column->settled && group_of(items[start - 1]) == group_of(items[i])) start--;
    column->settled = end;
    if (end - start <= FEW) {
        insertion_sort(items + start, end - start);
        return start;
    }
    mlc_kernel->sort_descending(items + start, column->spare, end - start, false, &sorted);
    if (sorted != items + start) memcpy(items + start, sorted, (end - start) * sizeof *items);
    return start;
}

static size_t find_positive(const mlc_column *column, size_t i)
{
    const uint64_t *items = column->items;
    for (; i + 8 <= column->rows; i += 8) {
        uint64_t any = 0;
        for (size_t k = 0; k < 8; k++) any |= items[i + k];
        if (any & 1) break;
    }
    while (i < column->rows && !mlc_item_target(items[i])) i++;
    return i;
}

size_t mlc_next_positive(mlc_column *column, size_t i)
{
    i = find_positive(column, i);
    if (i == column->rows || i < column->settled) return i;
    return find_positive(column, settle(column, i));
}
