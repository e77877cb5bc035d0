#include "wino_forward.h"

enum { POINTS = MLC_WINO_POINTS, BLOCK = MLC_WINO_BLOCK, MAX_ROWS = 8 /* of a register tile */ };

const mlc_tensor *mlc_wino_grid(const mlc_winograd *job)
{
    return job->turned ? job->in : job->out;
}

mlc_wino_forward mlc_wino_forward_of(const mlc_winograd *job, size_t tiles)
{
    return (mlc_wino_forward){
        .job = job,
        .grid = mlc_wino_grid(job),
        .reader = mlc_wino_input(job->stride, job->turned),
        .v = mlc_wino_layout_of(job->stride, tiles, mlc_wino_width(job->in->stride)),
        .m = mlc_wino_layout_of(job->stride, tiles, BLOCK),
        .tiles = tiles,
    };
}

/* --- U --------------------------------------------------------------------------------------- */

size_t mlc_wino_u_point(size_t depth, size_t columns)
{
    size_t panel = mlc_kernel->tile_columns;
    return (columns + panel - 1) / panel * depth * panel + MLC_WINO_PAD;
}

void mlc_wino_load_taps(const mlc_param *weight, bool turned, size_t d0, size_t k0,
                        float taps[][9][MLC_LANES])
{
    size_t outs = weight->dims[0], ins = weight->dims[1];
    size_t lanes[2] = {turned ? outs : ins, turned ? ins : outs};
    memset(taps, 0, MLC_LANES * sizeof *taps);
    for (size_t l = 0; l < MLC_LANES && k0 + l < lanes[1]; l++)
        for (size_t d = 0; d < MLC_LANES && d0 + d < lanes[0]; d++) {
            size_t k = turned ? d0 + d : k0 + l, c = turned ? k0 + l : d0 + d;
            const float *from = weight->value + (k * ins + c) * 9;
            for (size_t t = 0; t < 9; t++) taps[d][t][l] = from[turned ? 8 - t : t];
        }
}

void mlc_wino_put_weights(size_t stride, const float *taps, size_t d, size_t k, size_t depth,
                          size_t columns, float *u)
{
    size_t panel = mlc_kernel->tile_columns, point = mlc_wino_u_point(depth, columns);
    float *to = u + (k / panel * depth + d) * panel + k % panel, at[POINTS][MLC_LANES];
    bool whole = panel >= MLC_LANES;
    (stride == 1 ? mlc_kernel->wino_weights : mlc_kernel->wino_s2_weights)(
        taps, whole ? to : at[0], whole ? point : MLC_LANES);
    for (size_t l = 0; !whole && l < MLC_LANES; l += panel, to += depth * panel)
        for (size_t p = 0; p < POINTS; p++)
            memcpy(to + p * point, at[p] + l, panel * sizeof(float));
}

/* --- products -------------------------------------------------------------------------------- */

size_t mlc_wino_groups(size_t lines)
{
    return (lines + mlc_kernel->tile_rows - 1) / mlc_kernel->tile_rows;
}

/* Lines go to register tiles as evenly as they can. */
void mlc_wino_multiply(const mlc_wino_product *p)
{
    size_t groups = mlc_wino_groups(p->lines), steps = p->taps * p->run;
    const float *in[MAX_ROWS], *next = p->next;
    float *out[MAX_ROWS];
    for (size_t g = 0, r = 0; g < groups; g++) {
        size_t count = (p->lines - r) / (groups - g);
        for (size_t i = 0; i < count; i++)
            in[i] = p->v + (r + i) * p->width, out[i] = p->m + (r + i) * BLOCK;
        mlc_tile tile = {.in = in,
                         .out = out,
                         .rows = count,
                         .columns = p->columns,
                         .offset = p->offset,
                         .taps = p->taps,
                         .run = p->run,
                         .weights = p->weights,
                         .segment = MLC_WINO_SEGMENT,
                         .accumulate = p->accumulate,
                         .ahead = count * p->width,
                         .later = next < p->stop ? next : mlc_wino_fetch(p->rest, steps)};
        mlc_kernel->gemm_tile(&tile);
        if (next < p->stop) next += steps * 16;
        r += count;
    }
}

/* --- outputs --------------------------------------------------------------------------------- */

int mlc_wino_then(const mlc_winograd *job)
{
    if (job->accumulate) return MLC_WINO_ADD;
    if (!job->epilogue) return MLC_WINO_STORE;
    if (job->epilogue->scale) return MLC_WINO_NORM;
    return job->epilogue->mean ? MLC_WINO_SUMS : MLC_WINO_STORE;
}

static size_t block_pixels(const mlc_wino_block *b)
{
    size_t pixels = 0;
    for (size_t i = 0; i < b->count; i++) pixels += b->tile[i].rows * b->tile[i].cols;
    return pixels;
}

static size_t least(size_t a, size_t b) { return a < b ? a : b; }

void mlc_wino_outputs(const mlc_wino_forward *f, const mlc_wino_block *b, size_t chunk,
                      const float *m, size_t first, size_t last)
{
    const mlc_winograd *job = f->job;
    const mlc_tensor *t = job->out;
    size_t k = first * BLOCK, end = least(last * BLOCK, t->stride);
    size_t scale = job->turned ? job->stride : 1;
    mlc_wino_lines lines = {0};
    mlc_wino_out out = {.from = lines.at,
                        .block = f->m.chunk,
                        .channels = end - k,
                        .row = tensor_row(t),
                        .pixel = t->stride,
                        .then = mlc_wino_then(job),
                        .stream = tensor_outgrows_cache(t)};
    const mlc_epilogue *e = job->epilogue;
    if (out.then == MLC_WINO_SUMS) {
        out.origin = f->moments.sums + 3 * chunk * t->stride + k;
        out.sum = out.origin + t->stride, out.square = out.sum + t->stride;
        f->moments.pixels[chunk] = block_pixels(b);
        memset(out.sum, 0, (end - k) * sizeof(float));
        memset(out.square, 0, (end - k) * sizeof(float));
    } else if (out.then == MLC_WINO_NORM) {
        out.scale = e->scale + k, out.shift = e->shift + k, out.relu = e->act == MLC_RELU;
        if (e->residual)
            out.residual_row = tensor_row(e->like), out.residual_pixel = e->like->stride;
    }
    void (*kernel)(const mlc_wino_out *) = scale == 2         ? mlc_kernel->wino_s2_back_output
                                           : job->stride == 2 ? mlc_kernel->wino_s2_output
                                                              : mlc_kernel->wino_output;
    for (size_t i = 0; i < b->count; i++) {
        const mlc_wino_tile *at = &b->tile[i];
        size_t y = scale * at->y, x = scale * at->x;
        mlc_wino_lines_next(&f->m, at, &lines);
        out.m = m + lines.shift;
        out.rows = at->rows, out.cols = at->cols;
        out.high = least(scale * at->rows, t->h - y), out.wide = least(scale * at->cols, t->w - x);
        out.y = job->y + tensor_at(t, at->n, y, x) + k;
        out.first = i == 0;
        if (out.residual_row) out.residual = e->residual + tensor_at(e->like, at->n, y, x) + k;
        kernel(&out);
    }
}
