#include "winograd.h"

#include "epilogue.h"

enum {
    POINTS = MLC_WINO_POINTS,
    BLOCK = MLC_WINO_BLOCK,
    PAD = 16,              /* floats between points: without them all 36 fall into one cache set */
    MAX_TILES = 256,       /* of a block */
    MAX_PARTS = 16,        /* partial sums of the weights' gradient, */
    PART_FLOATS = 5 << 19, /* and of all of them together: 10 MB */
    MAX_CHANNELS = 4096,
    SEGMENT = 32,    /* of the sums over channels, where nearly all of the rounding is */
    FEW_TILES = 256, /* predictions of no more read packed weights, */
    GROUP_TILES = 32 /* in groups of so many */
};

/* --- tiles ----------------------------------------------------------------------------------- */

typedef struct {
    size_t n, y, x, rows, cols; /* first pixel; points along each axis */
} tile;

/* A block: tiles sorted so that at each point those that have it are one range. */
typedef struct {
    tile tile[MAX_TILES];
    size_t count, wide_from, wide_to, high_to;
} block;

static bool can_cut(size_t size) { return size >= 3 && size != 5; }
static size_t threes(size_t size) { return (4 - size % 4) % 4; }
static size_t cuts(size_t size) { return (size - 3 * threes(size)) / 4 + threes(size); }
static size_t tile_count(const mlc_tensor *t) { return t->n * cuts(t->h) * cuts(t->w); }

/* Cut i of an axis: its first pixel and its points, fours first. */
static void cut(size_t size, size_t i, size_t *first, size_t *points)
{
    size_t fours = cuts(size) - threes(size);
    *first = i < fours ? 4 * i : 4 * fours + 3 * (i - fours);
    *points = i < fours ? 6 : 5;
}

static tile tile_at(const mlc_tensor *t, size_t index)
{
    size_t wide = cuts(t->w), high = cuts(t->h);
    tile at = {.n = index / wide / high};
    cut(t->h, index / wide % high, &at.y, &at.rows);
    cut(t->w, index % wide, &at.x, &at.cols);
    return at;
}

/* Order: 6 x 5 points, 6 x 6, 5 x 6, 5 x 5. Then column 5 exists for the second and third kind, row
 * 5 for the first two. */
static size_t kind(const tile *t) { return t->rows == 6 ? t->cols == 6 : 2 + (t->cols == 5); }

static void make_block(const mlc_tensor *t, size_t first, size_t count, block *b)
{
    size_t at[5] = {0};
    for (size_t i = 0; i < count; i++) {
        tile one = tile_at(t, first + i);
        at[kind(&one) + 1]++;
    }
    for (size_t k = 1; k < 5; k++) at[k] += at[k - 1];
    b->count = count, b->wide_from = at[1], b->high_to = at[2], b->wide_to = at[3];
    for (size_t i = 0; i < count; i++) {
        tile one = tile_at(t, first + i);
        b->tile[at[kind(&one)]++] = one;
    }
}

/* The tiles of the block that have point p. */
static void range(const block *b, size_t p, size_t *from, size_t *to)
{
    bool last_row = p / 6 == 5, last_col = p % 6 == 5;
    *from = last_col ? b->wide_from : 0;
    *to = last_row ? b->high_to : last_col ? b->wide_to : b->count;
}

/* --- shapes ---------------------------------------------------------------------------------- */

/* The channels of a block of V: the widest that divides them. */
static size_t block_width(size_t channels)
{
    size_t width = BLOCK;
    while (channels % width) width -= MLC_LANES;
    return width;
}

static size_t blocks_of(size_t channels) { return (channels + BLOCK - 1) / BLOCK; }

/* Tiles of a forward block: U, V and M of a point stay in the L2 cache, and few enough for four
 * blocks where that leaves a block the rows of a register tile. */
static size_t forward_tiles(const mlc_tensor *in, const mlc_tensor *out)
{
    size_t depth = in->stride < out->stride ? out->stride : in->stride, tiles = tile_count(in);
    size_t most = depth <= 64 ? 14 : depth <= 128 ? 28 : depth <= 256 ? 32 : 64;
    size_t fair = tiles / 4 < 14 ? 14 : tiles / 4;
    return fair < most ? fair : most;
}

/* Blocks of output channels whose M is there at once. */
static size_t forward_group(const mlc_tensor *in, const mlc_tensor *out)
{
    size_t all = blocks_of(out->stride);
    return in->stride <= 256 ? 1 : all < 4 ? all : 4;
}

static size_t panels_of(size_t columns)
{
    return (columns + mlc_kernel->tile_columns - 1) / mlc_kernel->tile_columns;
}

/* Floats from a point to the next of U, V and M. */
static size_t u_point(size_t depth, size_t columns)
{
    return panels_of(columns) * depth * mlc_kernel->tile_columns + PAD;
}
static size_t v_point(size_t tiles, size_t channels) { return tiles * channels + PAD; }
static size_t m_point(size_t tiles, size_t blocks) { return tiles * blocks * BLOCK + PAD; }

/* Fewer multiplications, but transforms and four times the weights: worth it for enough channels
 * to spread the transforms over, and enough pixels to spread the weights over. */
bool mlc_winograd_pays(const mlc_tensor *in, const mlc_tensor *out, bool train)
{
    size_t least = in->stride < out->stride ? in->stride : out->stride;
    size_t most = in->stride < out->stride ? out->stride : in->stride;
    size_t pixels = in->n * in->h * in->w;
    if (in->stride % MLC_LANES || out->stride % MLC_LANES || least < 32 || most > MAX_CHANNELS ||
        !can_cut(in->h) || !can_cut(in->w))
        return false;
    return tile_count(in) >= 12 || (!train && pixels >= 32 && least >= 128);
}

bool mlc_winograd_packs(const mlc_tensor *in, const mlc_tensor *out)
{
    size_t tiles = tile_count(in);
    return tiles <= FEW_TILES && tiles <= 64 * blocks_of(out->stride);
}

/* --- weights --------------------------------------------------------------------------------- */

typedef struct {
    const mlc_winograd *job;
    float *u;
    size_t depth, columns; /* input and output channels as this product has them */
    float *taps;
} weights_job;

/* The taps of MLC_LANES input channels from d0 and as many output channels from k0 on, of the
 * product: g[channel][tap][output]; zeros beyond the real ones. */
static void load_taps(const weights_job *w, size_t d0, size_t k0, float g[][9][MLC_LANES])
{
    const mlc_param *weight = w->job->weight;
    bool turned = w->job->turned;
    size_t outs = weight->dims[0], ins = weight->dims[1];
    size_t lanes[2] = {turned ? outs : ins, turned ? ins : outs};
    memset(g, 0, MLC_LANES * sizeof *g);
    for (size_t l = 0; l < MLC_LANES && k0 + l < lanes[1]; l++)
        for (size_t d = 0; d < MLC_LANES && d0 + d < lanes[0]; d++) {
            size_t k = turned ? d0 + d : k0 + l, c = turned ? k0 + l : d0 + d;
            const float *from = weight->value + (k * ins + c) * 9;
            for (size_t t = 0; t < 9; t++) g[d][t][l] = from[turned ? 8 - t : t];
        }
}

/* Transformed taps of one input channel to U[p][panel][d][column], columns from k0 on. */
static void put_weights(const weights_job *w, size_t d, size_t k0, const float *g)
{
    size_t panel = mlc_kernel->tile_columns, point = u_point(w->depth, w->columns);
    float *to = w->u + (k0 / panel * w->depth + d) * panel + k0 % panel;
    if (panel >= MLC_LANES) {
        mlc_kernel->wino_weights(g, to, point);
        return;
    }
    float u[POINTS][MLC_LANES];
    mlc_kernel->wino_weights(g, u[0], MLC_LANES);
    for (size_t l = 0; l < MLC_LANES; l += panel, to += w->depth * panel)
        for (size_t p = 0; p < POINTS; p++) memcpy(to + p * point, u[p] + l, panel * sizeof(float));
}

/* A task: MLC_LANES input channels of the product, all its output channels. */
static void weights_task(void *context, size_t task)
{
    const weights_job *w = context;
    float g[MLC_LANES][9][MLC_LANES];
    for (size_t k0 = 0; k0 < w->columns; k0 += MLC_LANES) {
        load_taps(w, task * MLC_LANES, k0, g);
        for (size_t d = 0; d < MLC_LANES; d++) put_weights(w, task * MLC_LANES + d, k0, g[d][0]);
    }
}

/* Where the packed taps of input channel d and output channels [k, k + MLC_LANES) are. */
static size_t taps_at(size_t depth, size_t d, size_t k) { return (k * depth + d * MLC_LANES) * 9; }

static void pack_task(void *context, size_t task)
{
    const weights_job *w = context;
    size_t d = task * MLC_LANES;
    for (size_t k = 0; k < w->columns; k += MLC_LANES)
        load_taps(w, d, k, (float(*)[9][MLC_LANES])(w->taps + taps_at(w->depth, d, k)));
}

bool mlc_winograd_pack(const mlc_param *weight, size_t in_stride, size_t out_stride, float *taps)
{
    mlc_winograd job = {.weight = weight};
    weights_job w = {.job = &job, .depth = in_stride, .columns = out_stride, .taps = taps};
    return mlc_parallel_for(in_stride / MLC_LANES, pack_task, &w);
}

/* --- forward --------------------------------------------------------------------------------- */

typedef struct {
    const mlc_winograd *job;
    float *u, *zero, *work;
    mlc_moments moments;
    size_t tiles, group, in_width, v_point, m_point, u_point, work_floats;
} forward_job;

/* Addresses of the pixels that a tile reads; zeros stand for those outside. */
static void input_pixels(const mlc_tensor *t, const float *x, const float *zero, const tile *at,
                         const float **pixel)
{
    for (size_t i = 0; i < at->rows; i++)
        for (size_t j = 0; j < at->cols; j++) {
            size_t y = at->y + i, u = at->x + j; /* one too many */
            bool outside = !y || !u || y > t->h || u > t->w;
            pixel[6 * i + j] = outside ? zero : x + tensor_at(t, at->n, y - 1, u - 1);
        }
}

static void transform_inputs(const mlc_tensor *t, const float *x, const float *zero, const block *b,
                             size_t from, size_t to, float *v, size_t tiles)
{
    const float *pixel[POINTS];
    size_t width = block_width(t->stride);
    for (size_t i = from; i < to; i++) {
        input_pixels(t, x, zero, &b->tile[i], pixel);
        mlc_wino_in in = {.pixel = pixel,
                          .rows = b->tile[i].rows,
                          .cols = b->tile[i].cols,
                          .channels = t->stride,
                          .width = width,
                          .v = v + i * width,
                          .point = v_point(tiles, t->stride),
                          .block = tiles * width,
                          .ahead = (b->tile[i].cols - 2) * t->stride};
        mlc_kernel->wino_input(&in);
    }
}

/* What the products of a block fetch ahead for the next one, spread over them: two runs of memory,
 * one after the other. */
typedef struct {
    const float *at, *end, *then, *then_end;
    size_t step, credit; /* floats that each product has earned, and that are not used yet */
} later;

static const float *fetch_later(later *l, size_t steps)
{
    size_t floats = steps * 16;
    if (l->at >= l->end) l->at = l->then, l->end = l->then_end, l->then = l->then_end = NULL;
    l->credit += l->step;
    if (l->at >= l->end || l->credit < floats) return NULL;
    const float *at = l->at;
    l->at += floats;
    l->credit -= floats;
    return at;
}

/* Share `index` of `parts` of a tensor: about what block `index` reads. */
static void share(const mlc_tensor *t, const float *x, size_t index, size_t parts, const float **at,
                  const float **end)
{
    size_t all = t->n * tensor_image(t);
    *at = x + all / parts * index;
    *end = index + 1 < parts ? *at + all / parts : x + all;
}

/* M = V U for one point and one panel of output channels, tiles [from, to). */
static void multiply(const forward_job *f, const float *v, const float *u, float *m, size_t from,
                     size_t to, size_t columns, const ptrdiff_t *offset, const float *next,
                     later *rest)
{
    size_t depth = f->job->in->stride, width = f->in_width, rows = mlc_kernel->tile_rows;
    size_t groups = (to - from + rows - 1) / rows;
    const float *in[8], *stop = next ? next + depth * mlc_kernel->tile_columns : NULL;
    float *out[8];
    for (size_t g = 0, r = from; g < groups; g++) {
        size_t count = (to - r) / (groups - g);
        for (size_t i = 0; i < count; i++)
            in[i] = v + (r + i) * width, out[i] = m + (r + i) * BLOCK;
        mlc_tile tile = {.in = in,
                         .out = out,
                         .rows = count,
                         .columns = columns,
                         .offset = offset,
                         .taps = depth / width,
                         .run = width,
                         .weights = u,
                         .segment = SEGMENT,
                         .ahead = count * width,
                         .later = next < stop ? next : fetch_later(rest, depth)};
        mlc_kernel->gemm_tile(&tile);
        if (next < stop) next += depth * 16;
        r += count;
    }
}

/* Products of all points for the output blocks [first, last). */
static void multiply_group(const forward_job *f, const block *b, const float *v, float *m,
                           size_t first, size_t last, later *rest)
{
    size_t depth = f->job->in->stride, columns = f->job->out->stride;
    size_t panel = mlc_kernel->tile_columns, from, to;
    ptrdiff_t offset[MAX_CHANNELS / MLC_LANES];
    bool streamed = depth * columns > 128 * 128; /* U of a point does not stay in the L2 cache */
    for (size_t t = 0; t < depth / f->in_width; t++)
        offset[t] = (ptrdiff_t)(t * f->tiles * f->in_width);
    size_t end = last * BLOCK < columns ? last * BLOCK : columns;
    for (size_t p = 0; p < POINTS; p++) {
        range(b, p, &from, &to);
        if (from == to) continue;
        for (size_t k = first * BLOCK; k < end; k += panel) {
            const float *u = f->u + p * f->u_point + k / panel * depth * panel;
            const float *next = k + panel < end ? u + depth * panel
                                : p + 1 < POINTS
                                    ? f->u + (p + 1) * f->u_point + first * BLOCK * depth
                                    : NULL;
            float *to_m = m + p * f->m_point + (k / BLOCK - first) * f->tiles * BLOCK + k % BLOCK;
            multiply(f, v + p * f->v_point, u, to_m, from, to, end - k < panel ? end - k : panel,
                     offset, streamed ? next : NULL, rest);
        }
    }
}

static int output_then(const mlc_winograd *job)
{
    if (job->accumulate) return MLC_WINO_ADD;
    if (!job->epilogue) return MLC_WINO_STORE;
    return job->epilogue->scale ? MLC_WINO_NORM : MLC_WINO_SUMS;
}

static size_t block_pixels(const block *b)
{
    size_t pixels = 0;
    for (size_t i = 0; i < b->count; i++) pixels += (b->tile[i].rows - 2) * (b->tile[i].cols - 2);
    return pixels;
}

static void transform_outputs(const forward_job *f, const block *b, size_t index, const float *m,
                              size_t first, size_t last)
{
    const mlc_winograd *job = f->job;
    const mlc_tensor *t = job->out;
    size_t k = first * BLOCK, end = last * BLOCK < t->stride ? last * BLOCK : t->stride;
    mlc_wino_out out = {.point = f->m_point,
                        .block = f->tiles * BLOCK,
                        .channels = end - k,
                        .row = tensor_row(t),
                        .pixel = t->stride,
                        .then = output_then(job),
                        .stream = tensor_outgrows_cache(t)};
    const mlc_epilogue *e = job->epilogue;
    if (out.then == MLC_WINO_SUMS) {
        out.origin = f->moments.sums + 3 * index * t->stride + k;
        out.sum = out.origin + t->stride, out.square = out.sum + t->stride;
        f->moments.pixels[index] = block_pixels(b);
        memset(out.sum, 0, (end - k) * sizeof(float));
        memset(out.square, 0, (end - k) * sizeof(float));
    } else if (out.then == MLC_WINO_NORM) {
        out.scale = e->scale + k, out.shift = e->shift + k, out.relu = e->relu;
        if (e->residual)
            out.residual_row = tensor_row(e->like), out.residual_pixel = e->like->stride;
    }
    for (size_t i = 0; i < b->count; i++) {
        const tile *at = &b->tile[i];
        out.m = m + i * BLOCK;
        out.rows = at->rows, out.cols = at->cols;
        out.y = job->y + tensor_at(t, at->n, at->y, at->x) + k;
        out.first = i == 0;
        if (out.residual_row)
            out.residual = e->residual + tensor_at(e->like, at->n, at->y, at->x) + k;
        mlc_kernel->wino_output(&out);
    }
}

static size_t forward_blocks(const mlc_tensor *in, const forward_job *f)
{
    return (tile_count(in) + f->tiles - 1) / f->tiles;
}

static later next_inputs(const forward_job *f, size_t index, size_t products)
{
    later l = {0};
    size_t blocks = forward_blocks(f->job->in, f);
    if (index + 1 < blocks) share(f->job->in, f->job->x, index + 1, blocks, &l.at, &l.end);
    l.step = (size_t)(l.end - l.at) / products + 16;
    return l;
}

static void forward_task(void *context, size_t index)
{
    const forward_job *f = context;
    const mlc_winograd *job = f->job;
    size_t first = index * f->tiles, all = tile_count(job->in), outs = blocks_of(job->out->stride);
    float *v = f->work + mlc_worker() * f->work_floats, *m = v + POINTS * f->v_point;
    block b;
    make_block(job->in, first, all - first < f->tiles ? all - first : f->tiles, &b);
    transform_inputs(job->in, job->x, f->zero, &b, 0, b.count, v, f->tiles);
    size_t rows = (b.count + mlc_kernel->tile_rows - 1) / mlc_kernel->tile_rows;
    later rest = next_inputs(f, index, POINTS * rows * panels_of(job->out->stride));
    for (size_t k = 0; k < outs; k += f->group) {
        size_t end = k + f->group < outs ? k + f->group : outs;
        multiply_group(f, &b, v, m, k, end, &rest);
        transform_outputs(f, &b, index, m, k, end);
    }
}

static void forward_layout(const mlc_tensor *in, const mlc_tensor *out, forward_job *f)
{
    f->tiles = forward_tiles(in, out);
    f->group = forward_group(in, out);
    f->in_width = block_width(in->stride);
    f->u_point = u_point(in->stride, out->stride);
    f->v_point = v_point(f->tiles, in->stride);
    f->m_point = m_point(f->tiles, f->group);
    f->work_floats = POINTS * (f->v_point + f->m_point);
}

/* --- forward, few tiles ---------------------------------------------------------------------- */

/* A photo alone: few tiles, and reading the weights is a good part of the work. Tiles are
 * transformed first, in groups; a task is a group and a block of output channels. It makes U of a
 * few input channels at a time in the cache, from packed weights, and uses it up: a quarter of U's
 * memory is read, and U itself is nowhere. */
typedef struct {
    forward_job f; /* a worker's memory: M, then U */
    float *v;
    block group[FEW_TILES / GROUP_TILES];
    size_t groups, step, u_point; /* step: input channels of U at a time */
} few_job;

static void few_layout(const mlc_tensor *in, few_job *w)
{
    forward_job *f = &w->f;
    size_t all = tile_count(in);
    w->groups = (all + GROUP_TILES - 1) / GROUP_TILES;
    f->tiles = (all + w->groups - 1) / w->groups;
    f->in_width = block_width(in->stride);
    f->v_point = v_point(f->tiles, in->stride);
    f->m_point = m_point(f->tiles, 1);
    w->step = f->in_width > SEGMENT && f->in_width % SEGMENT == 0 ? SEGMENT : f->in_width;
    w->u_point = u_point(w->step, BLOCK);
    f->work_floats = POINTS * (f->m_point + w->u_point);
}

static size_t few_floats(const few_job *w, size_t depth)
{
    return depth + w->groups * POINTS * w->f.v_point;
}

static float *group_inputs(const few_job *w, size_t group)
{
    return w->v + group * POINTS * w->f.v_point;
}

/* A task of the first step: one tile. */
static void few_inputs(void *context, size_t tile)
{
    const few_job *w = context;
    const mlc_winograd *job = w->f.job;
    size_t group = tile / w->f.tiles, i = tile % w->f.tiles;
    transform_inputs(job->in, job->x, w->f.zero, &w->group[group], i, i + 1, group_inputs(w, group),
                     w->f.tiles);
}

/* U of input channels [c, c + step) and the output channels of block k. */
static void few_weights(const few_job *w, size_t c, size_t k, size_t columns, float *u)
{
    const mlc_winograd *job = w->f.job;
    weights_job part = {.job = job, .u = u, .depth = w->step, .columns = BLOCK};
    for (size_t i = 0; i < columns; i += MLC_LANES)
        for (size_t d = 0; d < w->step; d++)
            put_weights(&part, d, i, job->taps + taps_at(job->in->stride, c + d, k * BLOCK + i));
}

/* M += V U for the input channels [c, c + step) at point p and one panel. */
static void few_multiply(const few_job *w, size_t group, size_t p, size_t c, const float *u,
                         float *m, size_t columns, const float *later)
{
    const forward_job *f = &w->f;
    size_t width = f->in_width, rows = mlc_kernel->tile_rows, from, to;
    range(&w->group[group], p, &from, &to);
    const float *v = group_inputs(w, group) + p * f->v_point + c / width * f->tiles * width +
                     c % width,
                *in[8];
    float *out[8];
    ptrdiff_t offset = 0;
    for (size_t r = from, left = (to - from + rows - 1) / rows; left; left--, later = NULL) {
        size_t count = (to - r) / left;
        for (size_t i = 0; i < count; i++)
            in[i] = v + (r + i) * width, out[i] = m + (r + i) * BLOCK;
        mlc_tile tile = {.in = in,
                         .out = out,
                         .rows = count,
                         .columns = columns,
                         .offset = &offset,
                         .taps = 1,
                         .run = w->step,
                         .weights = u,
                         .segment = SEGMENT,
                         .accumulate = c > 0,
                         .ahead = count * width,
                         .later = later};
        mlc_kernel->gemm_tile(&tile);
        r += count;
    }
}

/* Of the packed weights that U is made from after input channel c, the part that the products of
 * point p fetch. */
static const float *next_taps(const few_job *w, size_t p, size_t c, size_t k, size_t columns)
{
    size_t depth = w->f.job->in->stride, runs = columns / MLC_LANES, parts = POINTS / runs;
    if (c + w->step >= depth) return NULL;
    return w->f.job->taps + taps_at(depth, c + w->step, k * BLOCK + p / parts * MLC_LANES) +
           p % parts * w->step * 9 * MLC_LANES / parts;
}

/* A task of the second step: one block of output channels and one group. */
static void few_task(void *context, size_t task)
{
    const few_job *w = context;
    const forward_job *f = &w->f;
    size_t k = task / w->groups, group = task % w->groups;
    size_t depth = f->job->in->stride, rest = f->job->out->stride - k * BLOCK;
    size_t columns = rest < BLOCK ? rest : BLOCK, panel = mlc_kernel->tile_columns;
    float *m = f->work + mlc_worker() * f->work_floats, *u = m + POINTS * f->m_point;
    for (size_t c = 0; c < depth; c += w->step) {
        few_weights(w, c, k, columns, u);
        for (size_t p = 0; p < POINTS; p++)
            for (size_t i = 0; i < columns; i += panel)
                few_multiply(w, group, p, c, u + p * w->u_point + i * w->step,
                             m + p * f->m_point + i, columns - i < panel ? columns - i : panel,
                             next_taps(w, p, c, k, columns));
    }
    transform_outputs(f, &w->group[group], 0, m, k, k + 1);
}

static bool run_few(const mlc_winograd *job)
{
    few_job w = {.f = {.job = job, .zero = job->scratch}};
    few_layout(job->in, &w);
    w.v = w.f.zero + job->in->stride;
    w.f.work = w.v + w.groups * POINTS * w.f.v_point;
    memset(w.f.zero, 0, job->in->stride * sizeof(float));
    size_t all = tile_count(job->in), tasks = w.groups * blocks_of(job->out->stride);
    for (size_t i = 0; i < w.groups; i++) {
        size_t first = i * w.f.tiles;
        make_block(job->in, first, all - first < w.f.tiles ? all - first : w.f.tiles, &w.group[i]);
    }
    return mlc_parallel_for(all, few_inputs, &w) &&
           mlc_parallel_limit(tasks, job->workers, few_task, &w);
}

static bool few_scratch(const mlc_tensor *in, size_t workers, size_t *bytes)
{
    few_job w;
    few_layout(in, &w);
    return mlc_mul(workers, w.f.work_floats, bytes) &&
           mlc_add(*bytes, few_floats(&w, in->stride), bytes) &&
           mlc_mul(*bytes, sizeof(float), bytes);
}

/* --- forward, both --------------------------------------------------------------------------- */

bool mlc_winograd_scratch(const mlc_tensor *in, const mlc_tensor *out, size_t workers,
                          size_t *bytes)
{
    forward_job f;
    size_t work, moments, few = 0;
    forward_layout(in, out, &f);
    if (mlc_winograd_packs(in, out) && !few_scratch(in, workers, &few)) return false;
    bool fits = mlc_mul(workers, f.work_floats, &work) &&
                mlc_add(work, POINTS * f.u_point + in->stride, &work) &&
                mlc_mul(work, sizeof(float), bytes) &&
                mlc_moments_bytes(forward_blocks(in, &f), out->stride, &moments) &&
                mlc_add(*bytes, moments, bytes);
    if (fits && few > *bytes) *bytes = few;
    return fits;
}

bool mlc_winograd_run(const mlc_winograd *job)
{
    if (job->taps) return run_few(job);
    forward_job f = {.job = job, .u = job->scratch};
    forward_layout(job->in, job->out, &f);
    f.zero = f.u + POINTS * f.u_point;
    size_t blocks = forward_blocks(job->in, &f);
    f.work = f.zero + job->in->stride;
    f.moments = mlc_moments_in(f.work + job->workers * f.work_floats, blocks, job->out->stride);
    memset(f.zero, 0, job->in->stride * sizeof(float));
    weights_job w = {job, f.u, job->in->stride, job->out->stride, NULL};
    if (!mlc_parallel_for(w.depth / MLC_LANES, weights_task, &w) ||
        !mlc_parallel_limit(blocks, job->workers, forward_task, &f))
        return false;
    if (output_then(job) == MLC_WINO_SUMS)
        mlc_moments_merge(&f.moments, job->out->c, job->epilogue->mean, job->epilogue->variance);
    return true;
}

/* --- backward: weights ----------------------------------------------------------------------- */

/* Few channels: blocks of tiles in a fixed number of parts, each with its own sum of dU, so that a
 * part is a task. Many: dU is too large to have twice. All transform a block of tiles, then a task
 * owns 64 x 64 channels of dU. */
typedef struct {
    const mlc_winograd_weights *job;
    float *zero, *v, *m, *du;
    size_t tiles, blocks, parts, in_width, v_point, m_point, items, index;
    block *shared;
} gradient_job;

enum { DU_POINT = BLOCK * BLOCK + PAD, DU_ITEM = POINTS * DU_POINT };

static void gradient_layout(const mlc_tensor *in, const mlc_tensor *out, gradient_job *g)
{
    size_t depth = in->stride < out->stride ? out->stride : in->stride, all = tile_count(in);
    bool own = depth <= 128;
    size_t most = own ? 28 : depth <= 256 ? 128 : MAX_TILES;
    g->tiles = all < most ? all : most;
    g->blocks = (all + g->tiles - 1) / g->tiles;
    g->in_width = block_width(in->stride);
    g->v_point = v_point(g->tiles, in->stride);
    g->m_point = m_point(g->tiles, blocks_of(out->stride));
    g->items = in->stride / g->in_width * blocks_of(out->stride);
    size_t parts = PART_FLOATS / (g->items * DU_ITEM);
    if (parts > MAX_PARTS) parts = MAX_PARTS;
    g->parts = !own ? 1 : g->blocks < parts ? g->blocks : parts;
}

static void transform_gradients(const gradient_job *g, const block *b, size_t from, size_t to,
                                float *m)
{
    const mlc_tensor *t = g->job->dout;
    const float *pixel[POINTS];
    size_t whole = t->stride / BLOCK * BLOCK, rest = t->stride - whole;
    for (size_t i = from; i < to; i++) {
        const tile *at = &b->tile[i];
        for (size_t y = 0; y + 2 < at->rows; y++)
            for (size_t x = 0; x + 2 < at->cols; x++)
                pixel[6 * y + x] = g->job->dy + tensor_at(t, at->n, at->y + y, at->x + x);
        mlc_wino_in in = {.pixel = pixel,
                          .rows = at->rows,
                          .cols = at->cols,
                          .channels = whole,
                          .width = BLOCK,
                          .v = m + i * BLOCK,
                          .point = g->m_point,
                          .block = g->tiles * BLOCK,
                          .ahead = (at->cols - 2) * t->stride};
        if (whole) mlc_kernel->wino_gradient(&in);
        if (!rest) continue;
        for (size_t p = 0; p < POINTS; p++)
            if (p / 6 + 2 < at->rows && p % 6 + 2 < at->cols) pixel[p] += whole;
        in.channels = in.width = rest;
        in.v += whole / BLOCK * in.block;
        mlc_kernel->wino_gradient(&in);
    }
}

/* Register tiles over the input channels of an item. One row less than there is room for: here both
 * operands come from memory, and the address of the second takes the last register. */
static size_t outer_groups(const gradient_job *g)
{
    size_t rows = mlc_kernel->tile_rows - 1;
    return (g->in_width + rows - 1) / rows;
}

/* How many of them fetch the V and M of the next point: all that does not stay in the L2 cache. */
static size_t fetching(const gradient_job *g) { return g->items > 1 ? 8 : 0; }

/* dU of item (64 input, 64 output channels) and one block of tiles, at every point. */
static void outer_products(const gradient_job *g, const block *b, const float *v, const float *m,
                           size_t item, float *du, bool accumulate, later *rest)
{
    size_t outs = blocks_of(g->job->dout->stride), c = item / outs, k = item % outs, from, to;
    size_t left = g->job->dout->stride - k * BLOCK, columns = left < BLOCK ? left : BLOCK;
    size_t panel = mlc_kernel->tile_columns < BLOCK ? mlc_kernel->tile_columns : BLOCK;
    size_t groups = outer_groups(g);
    for (size_t p = 0; p < POINTS; p++) {
        range(b, p, &from, &to);
        const float *a = v + p * g->v_point + (c * g->tiles + from) * g->in_width;
        const float *d = m + p * g->m_point + (k * g->tiles + from) * BLOCK;
        for (size_t q = 0; q < columns; q += panel)
            for (size_t i = 0, r = 0; i < groups; i++) {
                size_t count = (g->in_width - r) / (groups - i);
                const float *at = a + r, *bt = d + q;
                const float *next = i < 4 ? a + g->v_point + i * g->tiles * 16
                                          : d + g->m_point + (i - 4) * g->tiles * 16;
                mlc_outer outer = {
                    .a = &at,
                    .b = &bt,
                    .segments = 1,
                    .pixels = to - from,
                    .a_step = g->in_width,
                    .b_step = BLOCK,
                    .rows = count,
                    .columns = columns - q < panel ? columns - q : panel,
                    .out = du + p * DU_POINT + r * BLOCK + q,
                    .out_step = BLOCK,
                    .accumulate = accumulate,
                    .later = q == 0 && i < fetching(g) ? next : fetch_later(rest, to - from)};
                mlc_kernel->gemm_outer(&outer);
                r += count;
            }
    }
}

static void gradient_block(const gradient_job *g, size_t index, block *b)
{
    size_t all = tile_count(g->job->in), first = index * g->tiles;
    make_block(g->job->in, first, all - first < g->tiles ? all - first : g->tiles, b);
}

/* Gradients of MLC_LANES input channels from c0 and as many output channels from k0 on:
 * dg[output][input][tap] to its place in (K, C, 3, 3). */
static void put_gradients(const mlc_winograd_weights *job, size_t c0, size_t k0,
                          float dg[][MLC_LANES][9])
{
    size_t ins = job->in->c - c0 < MLC_LANES ? job->in->c - c0 : MLC_LANES;
    for (size_t k = 0; k < MLC_LANES && k0 + k < job->dout->c; k++) {
        float *to = job->dweight + ((k0 + k) * job->in->c + c0) * 9;
        for (size_t i = 0; i < 9 * ins; i++)
            to[i] = job->accumulate ? to[i] + dg[k][0][i] : dg[k][0][i];
    }
}

/* The weights of an item's input channels [c, c + MLC_LANES), from the sum of the parts at `du`. */
static void finish_slice(const gradient_job *g, const float *du, size_t item, size_t c)
{
    const mlc_winograd_weights *job = g->job;
    size_t outs = blocks_of(job->dout->stride), k0 = item % outs * BLOCK;
    size_t c0 = item / outs * g->in_width + c;
    for (size_t k = 0; k < BLOCK && k0 + k < job->dout->c && c0 < job->in->c; k += MLC_LANES) {
        float dg[MLC_LANES][MLC_LANES][9], one[9][MLC_LANES];
        for (size_t i = 0; i < MLC_LANES; i++) {
            mlc_kernel->wino_weights_backward(du + (c + i) * BLOCK + k, DU_POINT, g->parts,
                                              g->items * DU_ITEM, one[0]);
            for (size_t l = 0; l < MLC_LANES; l++)
                for (size_t t = 0; t < 9; t++) dg[l][i][t] = one[t][l];
        }
        put_gradients(job, c0, k0 + k, dg);
    }
}

/* The input and the gradient of the next block of a part. */
static later next_tiles(const gradient_job *g, size_t index, size_t last)
{
    later l = {0};
    if (index + 1 == last) return l;
    share(g->job->in, g->job->x, index + 1, g->blocks, &l.at, &l.end);
    share(g->job->dout, g->job->dy, index + 1, g->blocks, &l.then, &l.then_end);
    size_t floats = (size_t)(l.end - l.at) + (size_t)(l.then_end - l.then);
    size_t groups = outer_groups(g), products = groups > fetching(g) ? groups - fetching(g) : 1;
    l.step = floats / (POINTS * g->items * products) + 16;
    return l;
}

/* A task: one part of the blocks, all channels. */
static void part_task(void *context, size_t part)
{
    const gradient_job *g = context;
    const mlc_winograd_weights *job = g->job;
    float *v = g->v + mlc_worker() * POINTS * g->v_point;
    float *m = g->m + mlc_worker() * POINTS * g->m_point;
    float *du = g->du + part * g->items * DU_ITEM;
    size_t first = part * g->blocks / g->parts, last = (part + 1) * g->blocks / g->parts;
    block b;
    for (size_t i = first; i < last; i++) {
        later rest = next_tiles(g, i, last);
        gradient_block(g, i, &b);
        transform_inputs(job->in, job->x, g->zero, &b, 0, b.count, v, g->tiles);
        transform_gradients(g, &b, 0, b.count, m);
        for (size_t item = 0; item < g->items; item++)
            outer_products(g, &b, v, m, item, du + item * DU_ITEM, i > first, &rest);
    }
}

enum { SLICE = 8 };

/* Tasks of one block that all share: its tiles in slices, then the items. */
static void slice_task(void *context, size_t slice)
{
    const gradient_job *g = context;
    const block *b = g->shared;
    size_t from = slice * SLICE, to = from + SLICE < b->count ? from + SLICE : b->count;
    transform_inputs(g->job->in, g->job->x, g->zero, b, from, to, g->v, g->tiles);
    transform_gradients(g, b, from, to, g->m);
}

static void item_task(void *context, size_t item)
{
    const gradient_job *g = context;
    float *du = g->du + (g->blocks > 1 ? item : mlc_worker()) * DU_ITEM;
    later none = {0};
    outer_products(g, g->shared, g->v, g->m, item, du, g->index > 0, &none);
    if (g->index + 1 < g->blocks) return;
    for (size_t c = 0; c < g->in_width; c += MLC_LANES) finish_slice(g, du, item, c);
}

/* A task of the last step where there are parts: MLC_LANES input channels of an item. */
static void finish_task(void *context, size_t task)
{
    const gradient_job *g = context;
    size_t slices = g->in_width / MLC_LANES, item = task / slices;
    finish_slice(g, g->du + item * DU_ITEM, item, task % slices * MLC_LANES);
}

static size_t gradient_copies(const gradient_job *g, size_t workers)
{
    return g->parts > 1 ? workers : 1;
}

bool mlc_winograd_weights_scratch(const mlc_tensor *in, const mlc_tensor *out, size_t workers,
                                  size_t *bytes)
{
    gradient_job g;
    size_t work;
    gradient_layout(in, out, &g);
    bool single = g.parts == 1 && g.blocks == 1; /* then dU is finished where it is made */
    size_t rest = in->stride + (single ? workers : g.parts * g.items) * DU_ITEM;
    return mlc_mul(gradient_copies(&g, workers), POINTS * (g.v_point + g.m_point), &work) &&
           mlc_add(work, rest, &work) && mlc_mul(work, sizeof(float), bytes);
}

bool mlc_winograd_weights_run(const mlc_winograd_weights *job)
{
    block b;
    gradient_job g = {.job = job, .zero = job->scratch, .shared = &b};
    gradient_layout(job->in, job->dout, &g);
    size_t copies = gradient_copies(&g, job->workers);
    g.v = g.zero + job->in->stride;
    g.m = g.v + copies * POINTS * g.v_point;
    g.du = g.m + copies * POINTS * g.m_point;
    memset(g.zero, 0, job->in->stride * sizeof(float));
    if (g.parts > 1)
        return mlc_parallel_limit(g.parts, job->workers, part_task, &g) &&
               mlc_parallel_for(g.items * (g.in_width / MLC_LANES), finish_task, &g);
    for (g.index = 0; g.index < g.blocks; g.index++) {
        gradient_block(&g, g.index, &b);
        if (!mlc_parallel_for((b.count + SLICE - 1) / SLICE, slice_task, &g) ||
            !mlc_parallel_limit(g.items, job->workers, item_task, &g))
            return false;
    }
    return true;
}
