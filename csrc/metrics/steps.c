/* Labels are taken in blocks, as columns.c takes them: a row's scores of a block are a cache line,
 * read once. A label's positives, sorted, are the marks that its rows are counted between. */
#include "steps.h"

#include <float.h>
#include <math.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#include "../base/arena.h"
#include "../base/threads.h"
#include "../isa/select.h"
#include "counts.h"
#include "label_blocks.h"

enum {
    LINE = 16,       /* scores in a cache line */
    CELLS = 1 << 16, /* at most; fewer for few positives */
};

typedef struct {
    const float *scores;
    const uint8_t *targets;
    size_t rows, labels, block;
    size_t column, list; /* scores from one column to the next, room for positives */
    mlc_steps_visit *visit;
    void *context;
    char *work; /* per worker */
    size_t bytes;
    bool *nan; /* per block */
} steps_job;

/* A worker's memory: a block's columns and positives, and what one label at a time needs. */
typedef struct {
    uint64_t *positives, *spare;
    float *columns;
    mlc_step *steps;
    uint32_t *ranks, *cells, *counts;
} workspace;

/* Enough that most rows are alone with no positive, not more than there are rows. */
static size_t cells_for(size_t positives, size_t rows)
{
    size_t cells = 16;
    while (cells < 8 * positives && cells < rows && cells < CELLS) cells *= 2;
    return cells;
}

/* The next `bytes` at `base`, which may be NULL: then only their number counts. */
static void *take(char *base, size_t *at, size_t bytes)
{
    void *taken = base ? base + *at : NULL;
    *at += bytes;
    return taken;
}

/* The workspace at `base`; its size, also where there is none yet and `base` is NULL. */
static size_t workspace_at(const steps_job *j, char *base, workspace *w)
{
    size_t at = 0, cells = cells_for(j->list, j->rows);
    w->columns = take(base, &at, j->block * j->column * sizeof *w->columns);
    w->positives = take(base, &at, j->block * j->list * sizeof *w->positives);
    w->spare = take(base, &at, j->list * sizeof *w->spare);
    w->steps = take(base, &at, j->list * sizeof *w->steps);
    w->ranks = take(base, &at, 3 * j->list * sizeof *w->ranks);
    w->cells = take(base, &at, cells * sizeof *w->cells);
    w->counts = take(base, &at, 6 * (j->list + 1) * sizeof *w->counts);
    return (at + MLC_ALIGN - 1) / MLC_ALIGN * MLC_ALIGN;
}

/* The distinct scores of the sorted positives, the highest first; reached and above are open. */
static size_t distinct(const uint64_t *sorted, size_t positives, mlc_step *steps)
{
    size_t count = 0;
    for (size_t i = 0; i < positives; i++) {
        const uint32_t rank = (uint32_t)(sorted[i] >> 32);
        if (!count || steps[count - 1].rank != rank) steps[count++].rank = rank;
        steps[count - 1].found = (uint32_t)i + 1;
    }
    return count;
}

static float clamped(float score) { return fminf(fmaxf(score, -FLT_MAX), FLT_MAX); }

/* Even cells from the lowest mark to the highest, as far as they are finite, and one below. */
static void scale_cells(mlc_marks *marks, size_t cells)
{
    const float high = clamped(mlc_score_of(marks->ranks[marks->count - 1]));
    marks->lowest = clamped(mlc_score_of(marks->ranks[0]));
    const double span = (double)high - (double)marks->lowest;
    marks->scale = (float)fmin((double)(cells - 2) / span, FLT_MAX);
    marks->last = (float)(cells - 1);
}

/* Fill the cells; returns how many marks are in the one that has most. */
static size_t fill_cells(const mlc_marks *marks, uint32_t *cells, size_t size)
{
    uint32_t most = 0, sum = 0;
    memset(cells, 0, size * sizeof *cells);
    for (size_t k = 0; k < marks->count; k++)
        cells[mlc_mark_cell(marks, mlc_score_of(marks->ranks[k]))]++;
    for (size_t c = 0; c < size; c++) {
        const uint32_t here = cells[c];
        cells[c] = 2 * sum + (here > 0);
        sum += here;
        most = here > most ? here : most;
    }
    return most;
}

static mlc_marks marks_of(const mlc_step *steps, size_t count, size_t rows, uint32_t *ranks,
                          uint32_t *cells)
{
    mlc_marks marks = {.ranks = ranks, .cells = cells, .count = count, .step = 1};
    const size_t size = cells_for(count, rows);
    for (size_t k = 0; k < count; k++) ranks[k] = steps[count - 1 - k].rank;
    scale_cells(&marks, size);
    const size_t most = fill_cells(&marks, cells, size);
    while (most >= 2 * marks.step) marks.step *= 2;
    memset(ranks + count, 0xff, 2 * marks.step * sizeof *ranks);
    return marks;
}

static void count_label(const workspace *w, const float *scores, size_t rows, size_t count)
{
    const size_t size = 2 * count + 2;
    const mlc_marks marks = marks_of(w->steps, count, rows, w->ranks, w->cells);
    mlc_kernel->count_between(scores, rows, &marks, w->counts, w->counts + size);
    uint32_t reached = 0;
    for (size_t k = 0, b = 2 * count; k < count; k++, b -= 2) {
        w->steps[k].above = reached += w->counts[b];
        w->steps[k].reached = reached += w->counts[b - 1];
    }
}

static void steps_block(void *context, size_t index)
{
    const steps_job *j = context;
    const size_t from = index * j->block;
    const size_t width = j->labels - from < j->block ? j->labels - from : j->block;
    size_t found[MLC_LABEL_BLOCK];
    workspace w;
    workspace_at(j, j->work + mlc_worker() * j->bytes, &w);
    mlc_kernel->column_scores(j->scores + from, j->targets + from, j->rows, j->labels, width,
                              w.columns, j->column, w.positives, j->list, found, &j->nan[index]);
    for (size_t l = 0; l < width && !j->nan[index]; l++) {
        mlc_steps steps = {w.columns + l * j->column, j->rows, w.steps, 0, found[l]};
        uint64_t *sorted;
        mlc_kernel->sort_descending(w.positives + l * j->list, w.spare, found[l], &sorted);
        steps.count = distinct(sorted, found[l], w.steps);
        if (steps.count) count_label(&w, steps.scores, j->rows, steps.count);
        j->visit(j->context, from + l, &steps);
    }
}

/* The positives of the label that has most. */
static mlc_status most_positives(const char *function, const steps_job *j, size_t *most,
                                 mlc_error *error)
{
    int64_t *counts = malloc(3 * j->labels * sizeof *counts + 1);
    *most = 0;
    if (!counts)
        return mlc_fail(error, MLC_MEMORY, "%s: no memory to count %zu labels", function,
                        j->labels);
    mlc_status status = mlc_label_counts(j->targets, j->targets, j->rows, j->labels, counts, error);
    for (size_t l = 0; l < j->labels && !status; l++)
        *most = (size_t)counts[l] > *most ? (size_t)counts[l] : *most;
    free(counts);
    return status;
}

static mlc_status run(const char *function, steps_job *j, size_t workers, size_t blocks,
                      mlc_error *error)
{
    mlc_arena work = {0};
    mlc_status status = MLC_OK;
    j->nan = calloc(blocks + 1, sizeof *j->nan);
    if (!j->nan || mlc_arena_new(&work, workers * j->bytes, error))
        status = mlc_fail(error, MLC_MEMORY, "%s: no memory to rank %zu scores", function, j->rows);
    j->work = work.base;
    if (!status) mlc_parallel_limit(blocks, workers, steps_block, j);
    if (!status) status = mlc_check_nan(function, j->nan, blocks, error);
    free(j->nan);
    mlc_arena_free(&work);
    return status;
}

mlc_status mlc_steps_of(const char *function, const float *scores, const uint8_t *targets,
                        size_t rows, size_t labels, mlc_steps_visit *visit, void *context,
                        mlc_error *error)
{
    mlc_status status = mlc_check_rows(function, rows, error);
    if (status) return status;
    steps_job job = {.scores = scores,
                     .targets = targets,
                     .rows = rows,
                     .labels = labels,
                     .column = mlc_apart(rows, LINE),
                     .visit = visit,
                     .context = context};
    size_t most, workers = (size_t)mlc_threads_get();
    status = most_positives(function, &job, &most, error);
    if (status) return status;
    job.block = mlc_label_block(rows, labels, sizeof *scores, workers);
    job.list = mlc_apart(most + 1, LINE / 2);
    const size_t blocks = (labels + job.block - 1) / job.block;
    if (workers > blocks) workers = blocks;
    workspace none;
    job.bytes = workspace_at(&job, NULL, &none);
    return run(function, &job, workers, blocks, error);
}
