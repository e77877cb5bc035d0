/* Rows are cut into at most CHUNKS equal parts, by shape alone; partial sums are added in their
 * order. */
#include "scores.h"

#include <math.h>

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
    mlc_loss_kernel *kernel;
    const mlc_loss *loss;
    size_t rows, chunk;
    double sum[CHUNKS];
    bool outside[CHUNKS];
} loss_job;

static void loss_chunk(void *context, size_t i)
{
    loss_job *j = context;
    size_t from = i * j->chunk, rows = j->rows - from < j->chunk ? j->rows - from : j->chunk;
    j->kernel(j->loss, from, rows, &j->sum[i], &j->outside[i]);
}

static mlc_status refuse_target(const char *function, const mlc_loss *job, size_t cells,
                                mlc_error *error)
{
    size_t i = 0;
    while (i + 1 < cells && ((job->targets[i] >= 0 && job->targets[i] <= 1) ||
                             (job->missing && job->targets[i] != job->targets[i])))
        i++;
    return mlc_fail(error, MLC_VALUE,
                    "%s: `targets` must lie in [0, 1], got %g at row %zu, label %zu", function,
                    (double)job->targets[i], i / job->labels, i % job->labels);
}

/* What the gradient of the sum is multiplied with. */
static double loss_scale(const mlc_loss *job, size_t cells, bool mean)
{
    size_t known = cells;
    if (!mean) return 1;
    if (!cells) return NAN;
    if (job->missing)
        for (size_t i = 0; i < cells; i++) known -= job->targets[i] != job->targets[i];
    return known ? 1.0 / (double)known : 1;
}

mlc_status mlc_loss_value(const char *function, mlc_loss_kernel *kernel, mlc_loss *loss,
                          size_t rows, bool mean, double *value, mlc_error *error)
{
    size_t cells = rows * loss->labels;
    double scale = loss_scale(loss, cells, mean), sum = 0;
    bool outside = false;
    loss->scale = (float)scale;
    loss_job job = {
        .kernel = kernel, .loss = loss, .rows = rows, .chunk = chunk_rows(rows, loss->labels)};
    size_t chunks = (rows + job.chunk - 1) / job.chunk;
    mlc_parallel_for(chunks, loss_chunk, &job);
    for (size_t i = 0; i < chunks; i++) sum += job.sum[i], outside |= job.outside[i];
    if (outside) return refuse_target(function, loss, cells, error);
    *value = sum * scale;
    return MLC_OK;
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
