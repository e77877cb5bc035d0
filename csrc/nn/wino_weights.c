/* Backward-weights by Winograd's algorithm: dU = sum over tiles of V dM, dw = Gt dU G.
 *
 * Few channels: blocks of tiles in a fixed number of parts, each with its own sum of dU, so that a
 * part is a task. Many: dU is too large to have twice. All transform a block of tiles, then a task
 * owns 64 x 64 channels of dU. */
#include "wino_tiles.h"
#include "winograd.h"

enum {
    POINTS = MLC_WINO_POINTS,
    BLOCK = MLC_WINO_BLOCK,
    DU_POINT = BLOCK * BLOCK + MLC_WINO_PAD,
    DU_ITEM = POINTS * DU_POINT,
    MAX_PARTS = 16,        /* partial sums, */
    PART_FLOATS = 5 << 19, /* and all of them together: 10 MB */
    SLICE = 8              /* tiles that a task transforms */
};

typedef struct {
    const mlc_winograd_weights *job;
    mlc_wino_reader input, gradient;
    mlc_wino_layout vl, ml;
    float *zero, *v, *m, *du;
    size_t v_floats, m_floats, tiles, blocks, parts, items, index;
    mlc_wino_block *shared;
} gradient_job;

/* Tiles of a block: V and M of a part's fit the L2 cache; those that all share, the L3. */
static size_t gradient_tiles(const mlc_winograd_weights *job, size_t depth)
{
    if (job->stride == 2) return depth <= 128 ? 14 : 64;
    return depth <= 128 ? 28 : depth <= 256 ? 128 : MLC_WINO_TILES;
}

static gradient_job gradient_layout(const mlc_winograd_weights *job)
{
    size_t in = job->in->stride, out = job->dout->stride, depth = in < out ? out : in;
    size_t all = mlc_wino_tile_count(job->dout), most = gradient_tiles(job, depth);
    gradient_job g = {.job = job,
                      .input = mlc_wino_input(job->stride, false),
                      .gradient = mlc_wino_gradient(job->stride),
                      .tiles = all < most ? all : most};
    g.vl = mlc_wino_layout_of(job->stride, g.tiles, mlc_wino_width(in));
    g.ml = mlc_wino_layout_of(job->stride, g.tiles, BLOCK);
    g.v_floats = in / g.vl.width * g.vl.chunk;
    g.m_floats = mlc_wino_blocks(out) * g.ml.chunk;
    g.blocks = (all + g.tiles - 1) / g.tiles;
    g.items = in / g.vl.width * mlc_wino_blocks(out);
    size_t parts = PART_FLOATS / (g.items * DU_ITEM);
    if (parts > MAX_PARTS) parts = MAX_PARTS;
    g.parts = depth > 128 ? 1 : g.blocks < parts ? g.blocks : parts;
    return g;
}

static void transform(const gradient_job *g, const mlc_wino_block *b, size_t from, size_t to,
                      float *v, float *m)
{
    const mlc_winograd_weights *job = g->job;
    mlc_wino_read(&g->input, job->in, job->x, g->zero, b, from, to, &g->vl, v);
    mlc_wino_read(&g->gradient, job->dout, job->dy, g->zero, b, from, to, &g->ml, m);
}

/* Register tiles over the input channels of an item. One row less than there is room for: here both
 * operands come from memory, and the address of the second takes the last register. */
static size_t outer_groups(const gradient_job *g)
{
    size_t rows = mlc_kernel->tile_rows - 1;
    return (g->vl.width + rows - 1) / rows;
}

/* How many of them fetch the V and M of the next point: all that does not stay in the L2 cache. */
static size_t fetching(const gradient_job *g) { return g->items > 1 ? 8 : 0; }

/* dU of item (64 input, 64 output channels) and one block of tiles, at every point. */
static void outer_products(const gradient_job *g, const mlc_wino_block *b, const float *v,
                           const float *m, size_t item, float *du, bool accumulate,
                           mlc_wino_later *rest)
{
    size_t outs = mlc_wino_blocks(g->job->dout->stride), c = item / outs, k = item % outs;
    size_t left = g->job->dout->stride - k * BLOCK, columns = left < BLOCK ? left : BLOCK;
    size_t panel = mlc_kernel->tile_columns < BLOCK ? mlc_kernel->tile_columns : BLOCK;
    size_t width = g->vl.width, groups = outer_groups(g);
    for (size_t p = 0; p < POINTS; p++) {
        size_t lines = b->to[p] - b->from[p], after = p + 1 < POINTS ? p + 1 : p;
        const float *a = v + c * g->vl.chunk + g->vl.point[p] + b->from[p] * width;
        const float *d = m + k * g->ml.chunk + g->ml.point[p] + b->from[p] * BLOCK;
        const float *next_a = a + g->vl.point[after] - g->vl.point[p];
        const float *next_d = d + g->ml.point[after] - g->ml.point[p];
        for (size_t q = 0; q < columns; q += panel)
            for (size_t i = 0, r = 0; i < groups; i++) {
                size_t count = (width - r) / (groups - i);
                const float *at = a + r, *bt = d + q;
                const float *next = i < 4 ? next_a + i * lines * 16 : next_d + (i - 4) * lines * 16;
                mlc_outer outer = {
                    .a = &at,
                    .b = &bt,
                    .segments = 1,
                    .pixels = lines,
                    .a_step = width,
                    .b_step = BLOCK,
                    .rows = count,
                    .columns = columns - q < panel ? columns - q : panel,
                    .out = du + p * DU_POINT + r * BLOCK + q,
                    .out_step = BLOCK,
                    .accumulate = accumulate,
                    .later = q == 0 && i < fetching(g) ? next : mlc_wino_fetch(rest, lines)};
                mlc_kernel->gemm_outer(&outer);
                r += count;
            }
    }
}

/* Gradients of MLC_LANES input channels from c0 and as many output channels from k0 on:
 * dg[output][9 input + tap] to its place in (K, C, 3, 3). */
static void put_gradients(const mlc_winograd_weights *job, size_t c0, size_t k0,
                          float dg[][MLC_LANES * 9])
{
    size_t ins = job->in->c - c0 < MLC_LANES ? job->in->c - c0 : MLC_LANES;
    for (size_t k = 0; k < MLC_LANES && k0 + k < job->dout->c; k++) {
        float *to = job->dweight + ((k0 + k) * job->in->c + c0) * 9;
        for (size_t i = 0; i < 9 * ins; i++) to[i] = job->accumulate ? to[i] + dg[k][i] : dg[k][i];
    }
}

/* The weights of an item's input channels [c, c + MLC_LANES), from the sum of the parts at `du`. */
static void finish_slice(const gradient_job *g, const float *du, size_t item, size_t c)
{
    const mlc_winograd_weights *job = g->job;
    size_t outs = mlc_wino_blocks(job->dout->stride), k0 = item % outs * BLOCK;
    size_t c0 = item / outs * g->vl.width + c;
    void (*backward)(const float *, size_t, size_t, size_t, float *) =
        job->stride == 1 ? mlc_kernel->wino_weights_backward : mlc_kernel->wino_s2_weights_backward;
    for (size_t k = 0; k < BLOCK && k0 + k < job->dout->c && c0 < job->in->c; k += MLC_LANES) {
        float dg[MLC_LANES][MLC_LANES * 9], one[9][MLC_LANES];
        for (size_t i = 0; i < MLC_LANES; i++) {
            backward(du + (c + i) * BLOCK + k, DU_POINT, g->parts, g->items * DU_ITEM, one[0]);
            for (size_t l = 0; l < MLC_LANES; l++)
                for (size_t t = 0; t < 9; t++) dg[l][9 * i + t] = one[t][l];
        }
        put_gradients(job, c0, k0 + k, dg);
    }
}

/* The input and the gradient of the next block of a part. */
static mlc_wino_later next_tiles(const gradient_job *g, size_t index, size_t last)
{
    mlc_wino_later l = {0};
    if (index + 1 == last) return l;
    mlc_wino_share(g->job->in, g->job->x, index + 1, g->blocks, &l.at, &l.end);
    mlc_wino_share(g->job->dout, g->job->dy, index + 1, g->blocks, &l.then, &l.then_end);
    size_t floats = (size_t)(l.end - l.at) + (size_t)(l.then_end - l.then);
    size_t groups = outer_groups(g), products = groups > fetching(g) ? groups - fetching(g) : 1;
    /* NOLINTNEXTLINE(clang-analyzer-core.DivideZero): there is at least one item of each */
    l.step = floats / (POINTS * g->items * products) + 16;
    return l;
}

/* A task: one part of the blocks, all channels. */
static void part_task(void *context, size_t part)
{
    const gradient_job *g = context;
    float *v = g->v + mlc_worker() * g->v_floats, *m = g->m + mlc_worker() * g->m_floats;
    float *du = g->du + part * g->items * DU_ITEM;
    size_t first = part * g->blocks / g->parts, last = (part + 1) * g->blocks / g->parts;
    mlc_wino_block b;
    for (size_t i = first; i < last; i++) {
        mlc_wino_later rest = next_tiles(g, i, last);
        mlc_wino_make_block(g->job->dout, g->job->stride, i * g->tiles, g->tiles, &b);
        transform(g, &b, 0, b.count, v, m);
        for (size_t item = 0; item < g->items; item++)
            outer_products(g, &b, v, m, item, du + item * DU_ITEM, i > first, &rest);
    }
}

/* Tasks of one block that all share: its tiles in slices, then the items. */
static void slice_task(void *context, size_t slice)
{
    const gradient_job *g = context;
    size_t from = slice * SLICE, count = g->shared->count;
    transform(g, g->shared, from, from + SLICE < count ? from + SLICE : count, g->v, g->m);
}

static void item_task(void *context, size_t item)
{
    const gradient_job *g = context;
    float *du = g->du + (g->blocks > 1 ? item : mlc_worker()) * DU_ITEM;
    mlc_wino_later none = {0};
    outer_products(g, g->shared, g->v, g->m, item, du, g->index > 0, &none);
    if (g->index + 1 < g->blocks) return;
    for (size_t c = 0; c < g->vl.width; c += MLC_LANES) finish_slice(g, du, item, c);
}

/* A task of the last step where there are parts: MLC_LANES input channels of an item. */
static void finish_task(void *context, size_t task)
{
    const gradient_job *g = context;
    size_t slices = g->vl.width / MLC_LANES, item = task / slices;
    finish_slice(g, g->du + item * DU_ITEM, item, task % slices * MLC_LANES);
}

static size_t gradient_copies(const gradient_job *g) { return g->parts > 1 ? g->job->workers : 1; }

bool mlc_winograd_weights_scratch(const mlc_winograd_weights *job, size_t *bytes)
{
    gradient_job g = gradient_layout(job);
    size_t work, pixel = job->in->stride > job->dout->stride ? job->in->stride : job->dout->stride;
    bool single = g.parts == 1 && g.blocks == 1; /* then dU is finished where it is made */
    size_t rest = pixel + (single ? job->workers : g.parts * g.items) * DU_ITEM;
    return mlc_mul(gradient_copies(&g), g.v_floats + g.m_floats, &work) &&
           mlc_add(work, rest, &work) && mlc_mul(work, sizeof(float), bytes);
}

bool mlc_winograd_weights_run(const mlc_winograd_weights *job)
{
    mlc_wino_block b;
    gradient_job g = gradient_layout(job);
    size_t copies = gradient_copies(&g), depth = job->in->stride;
    g.shared = &b;
    g.zero = job->scratch;
    g.v = g.zero + (depth > job->dout->stride ? depth : job->dout->stride);
    g.m = g.v + copies * g.v_floats;
    g.du = g.m + copies * g.m_floats;
    memset(g.zero, 0, (size_t)(g.v - g.zero) * sizeof(float));
    if (g.parts > 1)
        return mlc_parallel_limit(g.parts, job->workers, part_task, &g) &&
               mlc_parallel_for(g.items * (g.vl.width / MLC_LANES), finish_task, &g);
    for (g.index = 0; g.index < g.blocks; g.index++) {
        mlc_wino_make_block(job->dout, job->stride, g.index * g.tiles, g.tiles, &b);
        if (!mlc_parallel_for((b.count + SLICE - 1) / SLICE, slice_task, &g) ||
            !mlc_parallel_limit(g.items, job->workers, item_task, &g))
            return false;
    }
    return true;
}
