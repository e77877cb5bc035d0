/* Pooling: windows of maxima, and the mean (with or without the maximum) of a whole image. */
#include <math.h>

#include "layer.h"
#include "window.h"

enum { MAX_TAPS = 255 };

/* --- maxpool --------------------------------------------------------------------------------- */

static mlc_status max_declare(mlc_layer *layer, mlc_error *error)
{
    const mlc_options *o = &layer->options;
    if (o->kernel < 1 || o->kernel * o->kernel > MAX_TAPS || o->stride < 1 ||
        2 * o->padding > o->kernel)
        return mlc_fail(
            error, MLC_VALUE,
            "Net: layer %zu (maxpool) must have kernel 1 to 15, stride >= 1 and padding "
            "of at most half the kernel, got kernel %zu, stride %zu, padding %zu",
            layer->index, o->kernel, o->stride, o->padding);
    return mlc_same_channels(layer, error);
}

static bool max_plan(const mlc_layer *layer, const mlc_tensor *const *in, const mlc_tensor *out,
                     mlc_needs *needs)
{
    (void)layer, (void)in;
    return mlc_mul(out->n * out->h * out->w, out->stride, &needs->saved);
}

/* Offsets of the window at (y, x) that lie inside the image: padding takes no part in a maximum. */
static size_t window_offsets(const mlc_options *o, const mlc_tensor *t, size_t n, size_t y,
                             size_t x, size_t *offset)
{
    size_t count = 0;
    for (size_t i = 0; i < o->kernel; i++)
        for (size_t j = 0; j < o->kernel; j++) {
            size_t v = y * o->stride + i, u = x * o->stride + j;
            if (v < o->padding || u < o->padding) continue;
            if (v - o->padding >= t->h || u - o->padding >= t->w) continue;
            offset[count++] = tensor_at(t, n, v - o->padding, u - o->padding);
        }
    return count;
}

static void max_row(void *context, size_t row)
{
    const mlc_run *run = context;
    const mlc_tensor *in = run->in[0], *out = run->out;
    size_t offset[MAX_TAPS], n = row / out->h, y = row % out->h;
    const float *window[MAX_TAPS];
    const mlc_epilogue *prologue = run->prologue;
    const float *scale = prologue ? prologue->scale : NULL;
    const float *shift = prologue ? prologue->shift : NULL;
    int act = prologue ? (int)prologue->act : MLC_IDENTITY;
    uint8_t *tap = (uint8_t *)run->saved + row * out->w * out->stride;
    for (size_t x = 0; x < out->w; x++, tap += out->stride) {
        size_t taps = window_offsets(&run->layer->options, in, n, y, x, offset);
        for (size_t t = 0; t < taps; t++) window[t] = run->x[0] + offset[t];
        mlc_kernel->max_window(window, taps, out->stride, scale, shift, act,
                               run->y + tensor_at(out, n, y, x), tap);
    }
}

static bool max_forward(const mlc_run *run)
{
    return mlc_parallel_for(tensor_rows(run->out), max_row, (void *)run);
}

/* Of a window's lines along one axis, [first, last) lie inside the `size` pixels. */
typedef struct {
    size_t first, last;
} lines;

static lines lines_inside(const mlc_options *o, size_t size, size_t at)
{
    size_t start = at * o->stride, end = size + o->padding - start;
    return (lines){.first = start < o->padding ? o->padding - start : 0,
                   .last = end < o->kernel ? end : o->kernel};
}

/* How many windows from `at` on, before `end`, are cut off as the first of them is. */
static size_t alike(const mlc_options *o, size_t size, size_t at, size_t end)
{
    lines like = lines_inside(o, size, at), next = like;
    size_t count = 0;
    while (at + count < end && next.first == like.first && next.last == like.last)
        next = lines_inside(o, size, at + ++count);
    return count;
}

/* dx += what row y of the windows of image n sends to line i of theirs. Taps count the pixels that
 * lie inside the image. */
static void add_line(const mlc_run *run, size_t n, size_t y, size_t i, float *dx)
{
    const mlc_options *o = &run->layer->options;
    const mlc_tensor *in = run->in[0], *out = run->dout;
    const float *dy = run->dy + tensor_at(out, n, y, 0);
    const uint8_t *tap = (const uint8_t *)run->saved + (n * out->h + y) * out->w * out->stride;
    size_t line = i - lines_inside(o, in->h, y).first;
    for (size_t x = 0, count; x < out->w; x += count) {
        lines across = lines_inside(o, in->w, x);
        size_t taps = across.last - across.first;
        count = alike(o, in->w, x, out->w);
        mlc_kernel->max_window_backward(dy + x * out->stride, tap + x * out->stride, count,
                                        line * taps, taps, o->stride * in->stride, in->stride,
                                        dx + (x * o->stride + across.first - o->padding) *
                                                 in->stride);
    }
}

/* dx += row `row` of the gradient. */
static void add_row(const mlc_run *run, size_t row, float *dx)
{
    const mlc_options *o = &run->layer->options;
    size_t n = row / run->in[0]->h, v = row % run->in[0]->h + o->padding;
    size_t y = v < o->kernel ? 0 : (v - o->kernel) / o->stride + 1;
    for (; y < run->dout->h && y * o->stride <= v; y++) add_line(run, n, y, v - y * o->stride, dx);
}

static void max_make_row(const mlc_run *run, size_t row, float *dx)
{
    memset(dx, 0, run->in[0]->w * run->in[0]->stride * sizeof *dx);
    add_row(run, row, dx);
}

static void max_row_backward(void *context, size_t row)
{
    const mlc_run *run = context;
    float *dx = run->dx[0] + tensor_row_at(run->din[0], row);
    if (run->accumulate[0])
        add_row(run, row, dx);
    else
        max_make_row(run, row, dx);
}

static bool max_backward(const mlc_run *run)
{
    return !run->dx[0] || mlc_parallel_for(tensor_rows(run->in[0]), max_row_backward, (void *)run);
}

const mlc_layer_class mlc_layer_maxpool = {
    .kind = "maxpool",
    .min_inputs = 1,
    .max_inputs = 1,
    .prologue = true,
    .declare = max_declare,
    .shape = mlc_window_shape,
    .plan = max_plan,
    .forward = max_forward,
    .backward = max_backward,
    .make_row = max_make_row,
};

/* --- whole images: avgpool is the mean, concatpool the maximum, then the mean ----------------- */

static mlc_status twice_channels(mlc_layer *layer, mlc_error *error)
{
    (void)error;
    layer->out_channels = 2 * layer->in_channels;
    return MLC_OK;
}

static mlc_status image_shape(const mlc_layer *layer, const mlc_tensor *const *in, bool train,
                              mlc_tensor *out, mlc_error *error)
{
    (void)train, (void)error;
    *out = (mlc_tensor){.n = in[0]->n, .h = 1, .w = 1, .c = layer->out_channels};
    return MLC_OK;
}

/* Saved for each image: sums, maxima, and the pixel of each maximum. */
static bool image_plan(const mlc_layer *layer, const mlc_tensor *const *in, const mlc_tensor *out,
                       mlc_needs *needs)
{
    (void)layer, (void)out;
    return mlc_mul(in[0]->n * in[0]->stride, 3 * sizeof(float), &needs->saved);
}

static uint32_t *max_pixels(const mlc_run *run, size_t n)
{
    return (uint32_t *)run->saved + (3 * n + 2) * run->in[0]->stride;
}

static void image_pool(void *context, size_t n)
{
    const mlc_run *run = context;
    const mlc_tensor *in = run->in[0];
    float *sum = (float *)run->saved + 3 * n * in->stride, *max = sum + in->stride;
    float *y = run->y + tensor_at(run->out, n, 0, 0);
    uint32_t *at = max_pixels(run, n);
    for (size_t c = 0; c < in->stride; c++) sum[c] = 0, max[c] = -INFINITY, at[c] = 0;
    for (size_t row = 0; row < in->h; row++)
        mlc_kernel->sum_and_max(run->x[0] + tensor_at(in, n, row, 0), in->w, in->stride,
                                (uint32_t)(row * in->w), sum, max, at);
    memset(y, 0, run->out->stride * sizeof *y);
    memcpy(y, max, in->c * sizeof *y);
    for (size_t c = 0; c < in->c; c++) y[in->c + c] = sum[c] / (float)(in->h * in->w);
}

static bool image_forward(const mlc_run *run)
{
    return mlc_parallel_for(run->in[0]->n, image_pool, (void *)run);
}

static void image_pool_backward(void *context, size_t n)
{
    const mlc_run *run = context;
    const mlc_tensor *in = run->din[0];
    const float *dy = run->dy + tensor_at(run->dout, n, 0, 0), *dmean = dy + in->c;
    const uint32_t *at = max_pixels(run, n);
    float share = 1.0f / (float)(in->h * in->w);
    for (size_t p = 0; p < in->h * in->w; p++) {
        float *dx = run->dx[0] + tensor_at(in, n, p / in->w, p % in->w);
        for (size_t c = 0; c < in->stride; c++) {
            float d = c < in->c ? dmean[c] * share : 0.0f;
            if (c < in->c && at[c] == p) d += dy[c];
            dx[c] = run->accumulate[0] ? dx[c] + d : d;
        }
    }
}

static bool image_backward(const mlc_run *run)
{
    return !run->dx[0] || mlc_parallel_for(run->din[0]->n, image_pool_backward, (void *)run);
}

static bool mean_plan(const mlc_layer *layer, const mlc_tensor *const *in, const mlc_tensor *out,
                      mlc_needs *needs)
{
    (void)layer, (void)in;
    return mlc_mul(out->n * out->stride, sizeof(float), &needs->scratch_back);
}

static void image_mean(void *context, size_t n)
{
    const mlc_run *run = context;
    const mlc_tensor *in = run->in[0];
    float *y = run->y + tensor_at(run->out, n, 0, 0);
    memset(y, 0, in->stride * sizeof *y);
    for (size_t row = 0; row < in->h; row++)
        mlc_kernel->sum_pixels(run->x[0] + tensor_at(in, n, row, 0), in->w, in->stride, y);
    for (size_t c = 0; c < in->c; c++) y[c] /= (float)(in->h * in->w);
}

static bool mean_forward(const mlc_run *run)
{
    return mlc_parallel_for(run->in[0]->n, image_mean, (void *)run);
}

/* What every pixel of image n gets. */
static float *pixel_share(const mlc_run *run, size_t n)
{
    return (float *)run->scratch + n * run->din[0]->stride;
}

static void mean_row_backward(void *context, size_t row)
{
    const mlc_run *run = context;
    const mlc_tensor *in = run->din[0];
    mlc_kernel->spread_pixels(pixel_share(run, row / in->h), in->w, in->stride, run->accumulate[0],
                              run->dx[0] + tensor_row_at(in, row));
}

static bool mean_backward(const mlc_run *run)
{
    if (!run->dx[0]) return true;
    const mlc_tensor *in = run->din[0];
    for (size_t n = 0; n < in->n; n++) {
        const float *dy = run->dy + tensor_at(run->dout, n, 0, 0);
        float *share = pixel_share(run, n), part = 1.0f / (float)(in->h * in->w);
        for (size_t c = 0; c < in->stride; c++) share[c] = dy[c] * part;
    }
    return mlc_parallel_for(tensor_rows(in), mean_row_backward, (void *)run);
}

const mlc_layer_class mlc_layer_avgpool = {
    .kind = "avgpool",
    .min_inputs = 1,
    .max_inputs = 1,
    .declare = mlc_same_channels,
    .shape = image_shape,
    .plan = mean_plan,
    .forward = mean_forward,
    .backward = mean_backward,
};

const mlc_layer_class mlc_layer_concatpool = {
    .kind = "concatpool",
    .min_inputs = 1,
    .max_inputs = 1,
    .declare = twice_channels,
    .shape = image_shape,
    .plan = image_plan,
    .forward = image_forward,
    .backward = image_backward,
};
