#include "winograd.h"

#include "wino_forward.h"

enum {
    POINTS = MLC_WINO_POINTS,
    BLOCK = MLC_WINO_BLOCK,
    MAX_CHANNELS = 4096,
};

/* --- shapes ---------------------------------------------------------------------------------- */

/* Tiles of a block: U, V and M of a point stay in the L2 cache, and few enough for four blocks
 * where that leaves a block the rows of a register tile. */
static size_t forward_tiles(const mlc_winograd *job)
{
    size_t in = job->in->stride, out = job->out->stride, depth = in < out ? out : in;
    size_t most = depth <= 64 ? 14 : depth <= 128 ? 28 : depth <= 256 ? 32 : 64;
    size_t fair = mlc_wino_tile_count(mlc_wino_grid(job)) / 4;
    if (job->stride == 2) most = 14; /* of up to 16 lines each */
    if (fair < 14) fair = 14;
    return fair < most ? fair : most;
}

/* Blocks of output channels whose M is there at once. */
static size_t forward_group(const mlc_winograd *job)
{
    size_t all = mlc_wino_blocks(job->out->stride);
    return job->in->stride <= 256 ? 1 : all < 4 ? all : 4;
}

static size_t panels_of(size_t columns)
{
    return (columns + mlc_kernel->tile_columns - 1) / mlc_kernel->tile_columns;
}

/* Fewer multiplications, but transforms and four times the weights: worth it for enough channels
 * to spread the transforms over, and enough pixels to spread the weights over. */
bool mlc_winograd_pays(const mlc_tensor *in, const mlc_tensor *out, size_t stride, bool train)
{
    size_t least = in->stride < out->stride ? in->stride : out->stride;
    size_t most = in->stride < out->stride ? out->stride : in->stride;
    size_t pixels = out->n * out->h * out->w;
    if (in->stride % MLC_LANES || out->stride % MLC_LANES || least < 32 || most > MAX_CHANNELS ||
        stride > 2 || !mlc_wino_can_cut(out))
        return false;
    return mlc_wino_tile_count(out) >= 12 || (!train && pixels >= 32 && least >= 128);
}

bool mlc_winograd_packs(const mlc_tensor *out)
{
    size_t tiles = mlc_wino_tile_count(out);
    return tiles <= MLC_WINO_FEW && tiles <= 64 * mlc_wino_blocks(out->stride);
}

/* --- weights --------------------------------------------------------------------------------- */

typedef struct {
    const mlc_param *weight;
    bool turned;
    size_t stride, depth, columns; /* input and output channels as this product has them */
    float *to;
} weights_job;

/* A task: MLC_LANES input channels of the product, all its output channels. */
static void weights_task(void *context, size_t task)
{
    const weights_job *w = context;
    float taps[MLC_LANES][9][MLC_LANES];
    for (size_t k = 0; k < w->columns; k += MLC_LANES) {
        mlc_wino_load_taps(w->weight, w->turned, task * MLC_LANES, k, taps);
        for (size_t d = 0; d < MLC_LANES; d++)
            mlc_wino_put_weights(w->stride, taps[d][0], task * MLC_LANES + d, k, w->depth,
                                 w->columns, w->to);
    }
}

static void pack_task(void *context, size_t task)
{
    const weights_job *w = context;
    size_t d = task * MLC_LANES;
    for (size_t k = 0; k < w->columns; k += MLC_LANES)
        mlc_wino_load_taps(w->weight, false, d, k,
                           (float(*)[9][MLC_LANES])(w->to + mlc_wino_taps_at(w->depth, d, k)));
}

bool mlc_winograd_pack(const mlc_param *weight, size_t in_stride, size_t out_stride, float *taps)
{
    weights_job w = {.weight = weight, .depth = in_stride, .columns = out_stride, .to = taps};
    return mlc_parallel_for(in_stride / MLC_LANES, pack_task, &w);
}

/* --- products -------------------------------------------------------------------------------- */

typedef struct {
    mlc_wino_forward f; /* a worker's memory: V, then M */
    float *u;
    size_t group, u_point;
} forward_job;

static size_t v_floats(const mlc_wino_forward *f)
{
    return f->job->in->stride / f->v.width * f->v.chunk;
}

static forward_job forward_layout(const mlc_winograd *job)
{
    forward_job w = {.f = mlc_wino_forward_of(job, forward_tiles(job)),
                     .group = forward_group(job),
                     .u_point = mlc_wino_u_point(job->in->stride, job->out->stride)};
    w.f.work_floats = v_floats(&w.f) + w.group * w.f.m.chunk;
    return w;
}

static size_t forward_blocks(const forward_job *w)
{
    return (mlc_wino_tile_count(w->f.grid) + w->f.tiles - 1) / w->f.tiles;
}

/* Products of all points for the output blocks [first, last). */
static void multiply_group(const forward_job *w, const mlc_wino_block *b, const float *v, float *m,
                           size_t first, size_t last, mlc_wino_later *rest)
{
    const mlc_wino_layout *vl = &w->f.v, *ml = &w->f.m;
    size_t depth = w->f.job->in->stride, columns = w->f.job->out->stride;
    size_t panel = mlc_kernel->tile_columns;
    ptrdiff_t offset[MAX_CHANNELS / MLC_LANES];
    /* U does not stay in the L2 cache beside V and M. */
    bool streamed = w->f.job->stride == 2 || depth * columns > 128 * 128;
    for (size_t t = 0; t < depth / vl->width; t++) offset[t] = (ptrdiff_t)(t * vl->chunk);
    size_t end = last * BLOCK < columns ? last * BLOCK : columns;
    for (size_t p = 0; p < POINTS; p++) {
        size_t lines = b->to[p] - b->from[p];
        if (!lines) continue;
        const float *from = v + vl->point[p] + b->from[p] * vl->width;
        float *to = m + ml->point[p] + b->from[p] * BLOCK;
        for (size_t k = first * BLOCK; k < end; k += panel) {
            const float *u = w->u + p * w->u_point + k / panel * depth * panel;
            const float *next = k + panel < end ? u + depth * panel
                                : p + 1 < POINTS
                                    ? w->u + (p + 1) * w->u_point + first * BLOCK * depth
                                    : NULL;
            mlc_wino_product product = {.v = from,
                                        .m = to + (k / BLOCK - first) * ml->chunk + k % BLOCK,
                                        .lines = lines,
                                        .width = vl->width,
                                        .columns = end - k < panel ? end - k : panel,
                                        .offset = offset,
                                        .taps = depth / vl->width,
                                        .run = vl->width,
                                        .weights = u,
                                        .rest = rest};
            if (streamed && next) product.next = next, product.stop = next + depth * panel;
            mlc_wino_multiply(&product);
        }
    }
}

/* --- blocks ---------------------------------------------------------------------------------- */

static mlc_wino_later next_inputs(const forward_job *w, const mlc_wino_block *b, size_t index)
{
    mlc_wino_later l = {0};
    const mlc_winograd *job = w->f.job;
    size_t blocks = forward_blocks(w), products = 0;
    for (size_t p = 0; p < POINTS; p++) products += mlc_wino_groups(b->to[p] - b->from[p]);
    products *= panels_of(job->out->stride);
    if (index + 1 < blocks) mlc_wino_share(job->in, job->x, index + 1, blocks, &l.at, &l.end);
    l.step = (size_t)(l.end - l.at) / products + 16;
    return l;
}

static void forward_task(void *context, size_t index)
{
    const forward_job *w = context;
    const mlc_wino_forward *f = &w->f;
    const mlc_winograd *job = f->job;
    size_t outs = mlc_wino_blocks(job->out->stride);
    float *v = f->work + mlc_worker() * f->work_floats, *m = v + v_floats(f);
    mlc_wino_block b;
    mlc_wino_make_block(f->grid, job->stride, index * f->tiles, f->tiles, &b);
    mlc_wino_read(&f->reader, job->in, job->x, f->zero, &b, 0, b.count, &f->v, v);
    mlc_wino_later rest = next_inputs(w, &b, index);
    for (size_t k = 0; k < outs; k += w->group) {
        size_t end = k + w->group < outs ? k + w->group : outs;
        multiply_group(w, &b, v, m, k, end, &rest);
        mlc_wino_outputs(f, &b, index, m, k, end);
    }
}

bool mlc_winograd_scratch(const mlc_winograd *job, size_t *bytes)
{
    forward_job w = forward_layout(job);
    size_t work, moments, few = 0;
    if (mlc_winograd_packs(job->out) && !job->turned && !mlc_wino_few_scratch(job, &few))
        return false;
    bool fits = mlc_mul(job->workers, w.f.work_floats, &work) &&
                mlc_add(work, POINTS * w.u_point + job->in->stride, &work) &&
                mlc_mul(work, sizeof(float), bytes) &&
                mlc_moments_bytes(forward_blocks(&w), job->out->stride, &moments) &&
                mlc_add(*bytes, moments, bytes);
    if (fits && few > *bytes) *bytes = few;
    return fits;
}

bool mlc_winograd_run(const mlc_winograd *job)
{
    if (job->taps) return mlc_wino_few_run(job);
    forward_job w = forward_layout(job);
    w.u = job->scratch;
    w.f.zero = w.u + POINTS * w.u_point;
    w.f.work = w.f.zero + job->in->stride;
    size_t blocks = forward_blocks(&w), depth = job->in->stride;
    w.f.moments =
        mlc_moments_in(w.f.work + job->workers * w.f.work_floats, blocks, job->out->stride);
    memset(w.f.zero, 0, depth * sizeof(float));
    weights_job weights = {job->weight, job->turned, job->stride, depth, job->out->stride, w.u};
    if (!mlc_parallel_for(depth / MLC_LANES, weights_task, &weights) ||
        !mlc_parallel_limit(blocks, job->workers, forward_task, &w))
        return false;
    if (mlc_wino_then(job) == MLC_WINO_SUMS)
        mlc_moments_merge(&w.f.moments, job->out->c, job->epilogue->mean, job->epilogue->variance);
    return true;
}
