/* A photo alone: few tiles, and reading the weights is a good part of the work. Tiles are
 * transformed first, in groups; a task is a group and a block of output channels. It makes U of a
 * few input channels at a time in the cache, from packed weights, and uses it up: a quarter of U's
 * memory is read, and U itself is nowhere. */
#include "wino_forward.h"

enum {
    POINTS = MLC_WINO_POINTS,
    BLOCK = MLC_WINO_BLOCK,
    SEGMENT = MLC_WINO_SEGMENT,
    GROUP_TILES = 32,
    MAX_GROUPS = MLC_WINO_FEW / GROUP_TILES,
};

typedef struct {
    mlc_wino_forward f; /* a worker's memory: M, then U */
    float *v;
    mlc_wino_block group[MAX_GROUPS];
    size_t groups, v_floats, step, u_point; /* step: input channels of U at a time */
} few_job;

static void few_layout(const mlc_winograd *job, few_job *w)
{
    size_t all = mlc_wino_tile_count(mlc_wino_grid(job)), depth = job->in->stride;
    w->groups = (all + GROUP_TILES - 1) / GROUP_TILES;
    w->f = mlc_wino_forward_of(job, (all + w->groups - 1) / w->groups);
    size_t width = w->f.v.width;
    w->v_floats = depth / width * w->f.v.chunk;
    w->step = width > SEGMENT && width % SEGMENT == 0 ? SEGMENT : width;
    w->u_point = mlc_wino_u_point(w->step, BLOCK);
    w->f.work_floats = w->f.m.chunk + POINTS * w->u_point;
}

/* A task of the first step: one tile. */
static void input_task(void *context, size_t tile)
{
    const few_job *w = context;
    const mlc_winograd *job = w->f.job;
    size_t group = tile / w->f.tiles, i = tile % w->f.tiles;
    mlc_wino_read(&w->f.reader, job->in, job->x, w->f.zero, &w->group[group], i, i + 1, &w->f.v,
                  w->v + group * w->v_floats);
}

/* U of input channels [c, c + step) and the output channels of block k. */
static void make_u(const few_job *w, size_t c, size_t k, size_t columns, float *u)
{
    const mlc_winograd *job = w->f.job;
    for (size_t i = 0; i < columns; i += MLC_LANES)
        for (size_t d = 0; d < w->step; d++)
            mlc_wino_put_weights(
                job->stride, job->taps + mlc_wino_taps_at(job->in->stride, c + d, k * BLOCK + i), d,
                i, w->step, BLOCK, u);
}

/* M += V U for the input channels [c, c + step) at point p and one panel. */
static void multiply(const few_job *w, size_t group, size_t p, size_t c, const float *u, float *m,
                     size_t columns, const float *later)
{
    const mlc_wino_layout *vl = &w->f.v;
    const mlc_wino_block *b = &w->group[group];
    size_t width = vl->width, at = c / width * vl->chunk + vl->point[p] + c % width;
    ptrdiff_t offset = 0;
    mlc_wino_later none = {0};
    mlc_wino_product product = {.v = w->v + group * w->v_floats + at + b->from[p] * width,
                                .m = m + b->from[p] * BLOCK,
                                .lines = b->to[p] - b->from[p],
                                .width = width,
                                .columns = columns,
                                .offset = &offset,
                                .taps = 1,
                                .run = w->step,
                                .weights = u,
                                .accumulate = c > 0,
                                .next = later,
                                .stop = later ? later + 1 : NULL, /* one product fetches it all */
                                .rest = &none};
    mlc_wino_multiply(&product);
}

/* Of the packed weights that U is made from after input channel c, the part that the products of
 * point p fetch. */
static const float *next_taps(const few_job *w, size_t p, size_t c, size_t k, size_t columns)
{
    size_t depth = w->f.job->in->stride, runs = columns / MLC_LANES, parts = POINTS / runs;
    if (c + w->step >= depth) return NULL;
    return w->f.job->taps +
           mlc_wino_taps_at(depth, c + w->step, k * BLOCK + p / parts * MLC_LANES) +
           p % parts * w->step * 9 * MLC_LANES / parts;
}

/* A task of the second step: one block of output channels and one group. */
static void output_task(void *context, size_t task)
{
    const few_job *w = context;
    const mlc_wino_forward *f = &w->f;
    size_t k = task / w->groups, group = task % w->groups;
    size_t depth = f->job->in->stride, rest = f->job->out->stride - k * BLOCK;
    size_t columns = rest < BLOCK ? rest : BLOCK, panel = mlc_kernel->tile_columns;
    float *m = f->work + mlc_worker() * f->work_floats, *u = m + f->m.chunk;
    for (size_t c = 0; c < depth; c += w->step) {
        make_u(w, c, k, columns, u);
        for (size_t p = 0; p < POINTS; p++)
            for (size_t i = 0; i < columns; i += panel)
                multiply(w, group, p, c, u + p * w->u_point + i * w->step, m + f->m.point[p] + i,
                         columns - i < panel ? columns - i : panel, next_taps(w, p, c, k, columns));
    }
    mlc_wino_outputs(f, &w->group[group], 0, m, k, k + 1);
}

bool mlc_wino_few_run(const mlc_winograd *job)
{
    few_job w;
    few_layout(job, &w);
    w.f.zero = job->scratch;
    w.v = w.f.zero + job->in->stride;
    w.f.work = w.v + w.groups * w.v_floats;
    memset(w.f.zero, 0, job->in->stride * sizeof(float));
    size_t all = mlc_wino_tile_count(w.f.grid);
    for (size_t i = 0; i < w.groups; i++)
        mlc_wino_make_block(w.f.grid, job->stride, i * w.f.tiles, w.f.tiles, &w.group[i]);
    return mlc_parallel_for(all, input_task, &w) &&
           mlc_parallel_limit(w.groups * mlc_wino_blocks(job->out->stride), job->workers,
                              output_task, &w);
}

bool mlc_wino_few_scratch(const mlc_winograd *job, size_t *bytes)
{
    few_job w;
    few_layout(job, &w);
    return mlc_mul(job->workers, w.f.work_floats, bytes) &&
           mlc_add(*bytes, job->in->stride + w.groups * w.v_floats, bytes) &&
           mlc_mul(*bytes, sizeof(float), bytes);
}
