/* Rows are cut into at most CHUNKS equal parts, by shape alone; partial sums are added in their
 * order. */
#include "scores.h"

#include "../base/threads.h"
#include "../isa/select.h"

enum { CHUNKS = 64, GRAIN = 1 << 14 /* elements below which a chunk is not worth a thread */ };

static size_t chunk_rows(size_t rows, size_t row_elements)
{
    size_t least = GRAIN / (row_elements ? row_elements : 1) + 1;
    size_t even = (rows + CHUNKS - 1) / CHUNKS;
    return even > least ? even : least;
}

typedef struct {
    const float *x;
    float *y;
    size_t n, chunk;
} sigmoid_job;

static void sigmoid_chunk(void *context, size_t i)
{
    const sigmoid_job *j = context;
    size_t from = i * j->chunk, n = j->n - from < j->chunk ? j->n - from : j->chunk;
    mlc_kernel->sigmoid(j->x + from, j->y + from, n);
}

void mlc_sigmoid(const float *x, float *y, size_t n)
{
    sigmoid_job job = {x, y, n, chunk_rows(n, 1)};
    mlc_parallel_for((n + job.chunk - 1) / job.chunk, sigmoid_chunk, &job);
}

typedef struct {
    const mlc_bce *bce;
    size_t rows, chunk;
    double sum[CHUNKS];
} bce_job;

static void bce_chunk(void *context, size_t i)
{
    bce_job *j = context;
    size_t from = i * j->chunk, rows = j->rows - from < j->chunk ? j->rows - from : j->chunk;
    mlc_kernel->bce(j->bce, from, rows, &j->sum[i]);
}

double mlc_bce_sum(const mlc_bce *bce, size_t rows)
{
    bce_job job = {.bce = bce, .rows = rows, .chunk = chunk_rows(rows, bce->labels)};
    size_t chunks = (rows + job.chunk - 1) / job.chunk;
    mlc_parallel_for(chunks, bce_chunk, &job);
    double sum = 0;
    for (size_t i = 0; i < chunks; i++) sum += job.sum[i];
    return sum;
}

typedef struct {
    const float *scores, *thresh;
    const uint8_t *targets;
    size_t rows, labels, chunk;
    int64_t count[CHUNKS];
} count_job;

static void count_chunk(void *context, size_t i)
{
    count_job *j = context;
    size_t from = i * j->chunk, rows = j->rows - from < j->chunk ? j->rows - from : j->chunk;
    size_t at = from * j->labels;
    mlc_kernel->count_equal(j->scores + at, j->targets + at, j->thresh, rows, j->labels,
                            &j->count[i]);
}

int64_t mlc_accuracy_count(const float *scores, const uint8_t *targets, const float *thresh,
                           size_t rows, size_t labels)
{
    count_job job = {scores, thresh, targets, rows, labels, chunk_rows(rows, labels), {0}};
    size_t chunks = (rows + job.chunk - 1) / job.chunk;
    mlc_parallel_for(chunks, count_chunk, &job);
    int64_t count = 0;
    for (size_t i = 0; i < chunks; i++) count += job.count[i];
    return count;
}
