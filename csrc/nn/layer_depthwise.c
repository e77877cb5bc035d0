/* Depthwise convolution: a filter of its own for each channel, with an optional bias.
 *
 * With input x (N, H, W, C), weights w (C, 1, R, R), stride s and padding p,
 *     y(n, i, j)[c] = b[c] + sum over r, q of x(n, i s + r - p, j s + q - p)[c] w[c][0][r][q].
 *
 * There is nothing to sum over channels, so nothing is gained by a matrix product: rows are
 * filtered directly, the halo of x holds the padding.
 *
 * forward        A row of y at a time. Rows come in chunks that fit in the cache, for the epilogue.
 * backward data  A row of dx at a time, by phases (phases.h): each is a forward row over dy with
 *                the taps that meet it, in turned order.
 * backward       Sums over chunks of rows, fixed by shape, then over the chunks in their order: the
 * weights        same bits for any number of threads. */
#include "bias.h"
#include "epilogue.h"
#include "phases.h"
#include "window.h"

enum {
    CHUNK_PIXELS = 256,      /* of a float sum in the moments, */
    CHUNK_FLOATS = 64 << 10, /* and of what stays in the cache for the epilogue */
    FEW_CHUNKS = 32,         /* for many threads, of small batches too */
    MAX_CHUNKS = 64          /* partial sums of dw */
};

/* --- shapes ---------------------------------------------------------------------------------- */

static mlc_status depthwise_declare(mlc_layer *layer, mlc_error *error)
{
    const mlc_options *o = &layer->options;
    bool known = o->kernel == 3 || o->kernel == 5 || o->kernel == 7;
    if (!known || o->stride < 1 || o->stride > 2 || o->padding >= o->kernel)
        return mlc_fail(error, MLC_VALUE,
                        "Net: layer %zu (depthwise %s) must have kernel 3, 5 or 7, stride 1 or 2 "
                        "and padding < kernel, got kernel %zu, stride %zu, padding %zu",
                        layer->index, layer->name, o->kernel, o->stride, o->padding);
    mlc_param *w = layer->weight;
    layer->out_channels = layer->in_channels;
    w->ndim = 4;
    w->dims[0] = layer->in_channels, w->dims[1] = 1, w->dims[2] = w->dims[3] = o->kernel;
    mlc_bias_declare(layer);
    return MLC_OK;
}

static size_t at_least_1(size_t count) { return count ? count : 1; }

/* Rows of a chunk of the forward pass. */
static size_t chunk_rows(const mlc_tensor *out)
{
    size_t rows = CHUNK_PIXELS / out->w + 1, row = out->w * out->stride;
    if (rows > CHUNK_FLOATS / row) rows = CHUNK_FLOATS / row;
    if (rows > tensor_rows(out) / FEW_CHUNKS) rows = tensor_rows(out) / FEW_CHUNKS;
    return at_least_1(rows);
}

static size_t chunk_count(const mlc_tensor *out)
{
    return (tensor_rows(out) + chunk_rows(out) - 1) / chunk_rows(out);
}

static size_t partial_count(const mlc_tensor *dout)
{
    return tensor_rows(dout) < MAX_CHUNKS ? tensor_rows(dout) : MAX_CHUNKS;
}

/* Floats of a filter of all channels, and after it the bias, as the kernels have them. */
static size_t filter_floats(const mlc_layer *layer)
{
    return layer->options.kernel * layer->options.kernel * mlc_padded(layer->in_channels);
}

static size_t partial_floats(const mlc_layer *layer)
{
    return filter_floats(layer) + mlc_padded(layer->in_channels);
}

static bool depthwise_plan(const mlc_layer *layer, const mlc_tensor *const *in,
                           const mlc_tensor *out, mlc_needs *needs)
{
    const mlc_options *o = &layer->options;
    size_t high = reach(o, in[0]->h, out->h), wide = reach(o, in[0]->w, out->w);
    needs->packs = true;
    needs->halo_in = o->padding;
    needs->halo_dy = high > wide ? high : wide;
    needs->keeps_input = true;
    needs->scratch_back = partial_count(out) * partial_floats(layer) * sizeof(float);
    return mlc_moments_bytes(chunk_count(out), out->stride, &needs->scratch);
}

/* --- packed weights -------------------------------------------------------------------------- */

static size_t depthwise_packed_floats(const mlc_layer *layer, mlc_form form)
{
    (void)form;
    return partial_floats(layer); /* the bias is of use in the first form only */
}

/* Tap (r, q) of all channels; padding is zero from the start. */
static void pack_tap(const mlc_layer *layer, size_t r, size_t q, float *to)
{
    size_t kernel = layer->options.kernel;
    const float *from = layer->weight->value + r * kernel + q;
    for (size_t c = 0; c < layer->in_channels; c++) to[c] = from[c * kernel * kernel];
}

/* The taps of phase (a, b) along ascending dy. */
static float *pack_phase(const mlc_layer *layer, size_t a, size_t b, float *to)
{
    size_t line[MAX_KERNEL], column[MAX_KERNEL];
    ptrdiff_t unused[MAX_KERNEL];
    size_t high = phase_taps(&layer->options, a, line, unused);
    size_t wide = phase_taps(&layer->options, b, column, unused);
    for (size_t i = high; i-- > 0;)
        for (size_t j = wide; j-- > 0; to += mlc_padded(layer->in_channels))
            pack_tap(layer, line[i], column[j], to);
    return to;
}

static bool depthwise_pack(mlc_layer *layer, mlc_form form)
{
    const mlc_options *o = &layer->options;
    float *to = layer->packed[form];
    if (form == MLC_BACK) {
        for (size_t phase = 0; phase < o->stride * o->stride; phase++)
            to = pack_phase(layer, phase / o->stride, phase % o->stride, to);
        return true;
    }
    for (size_t r = 0; r < o->kernel; r++)
        for (size_t q = 0; q < o->kernel; q++, to += mlc_padded(layer->in_channels))
            pack_tap(layer, r, q, to);
    if (layer->bias) memcpy(to, layer->bias->value, layer->in_channels * sizeof *to);
    return true;
}

/* --- forward --------------------------------------------------------------------------------- */

/* Where the filter meets the first pixel of row r of the output. */
static size_t row_input(const mlc_layer *layer, const mlc_tensor *in, const mlc_tensor *out,
                        size_t r)
{
    const mlc_options *o = &layer->options;
    size_t row = r % out->h * o->stride + in->halo - o->padding;
    return r / out->h * tensor_image(in) + row * tensor_row(in) +
           (in->halo - o->padding) * in->stride;
}

static void forward_row(const mlc_run *run, size_t r)
{
    const mlc_layer *layer = run->layer;
    const float *weights = layer->packed[MLC_FORWARD];
    mlc_depthwise job = {
        .in = run->x[0] + row_input(layer, run->in[0], run->out, r),
        .in_row = tensor_row(run->in[0]),
        .rows = layer->options.kernel,
        .cols = layer->options.kernel,
        .step = layer->options.stride,
        .weights = weights,
        .bias = layer->bias ? weights + filter_floats(layer) : NULL,
        .pixels = run->out->w,
        .channels = run->out->stride,
        .out = run->y + tensor_row_at(run->out, r),
        .out_step = run->out->stride,
    };
    mlc_kernel->depthwise_row(&job);
}

static mlc_finish finish_of(const mlc_run *run)
{
    return (mlc_finish){
        .epilogue = run->epilogue,
        .moments = mlc_moments_in(run->scratch, chunk_count(run->out), run->out->stride),
        .out = run->out,
        .y = run->y,
    };
}

static void forward_task(void *context, size_t chunk)
{
    const mlc_run *run = context;
    size_t first = chunk * chunk_rows(run->out), left = tensor_rows(run->out) - first;
    size_t rows = left < chunk_rows(run->out) ? left : chunk_rows(run->out);
    for (size_t r = first; r < first + rows; r++) forward_row(run, r);
    if (!run->epilogue) return;
    mlc_finish finish = finish_of(run);
    mlc_finish_chunk(&finish, chunk, first * run->out->w, rows * run->out->w);
}

static bool depthwise_forward(const mlc_run *run)
{
    if (!mlc_parallel_for(chunk_count(run->out), forward_task, (void *)run)) return false;
    if (!run->epilogue) return true;
    mlc_finish finish = finish_of(run);
    mlc_finish_all(&finish);
    return true;
}

/* --- backward: data -------------------------------------------------------------------------- */

/* The pixels of phase (a, b) in row r of dx, which is of phase a. */
static void phase_row(const mlc_run *run, size_t r, size_t a, size_t b)
{
    const mlc_options *o = &run->layer->options;
    const mlc_tensor *in = run->din[0], *dout = run->dout;
    size_t line[MAX_KERNEL], high, wide;
    ptrdiff_t down[MAX_KERNEL], right[MAX_KERNEL];
    high = phase_taps(o, a, line, down);
    wide = phase_taps(o, b, line, right);
    /* NOLINTNEXTLINE(clang-analyzer-core.*): no stride is as large as a kernel: high, wide > 0 */
    ptrdiff_t y = (ptrdiff_t)(r % in->h / o->stride) + down[high - 1], x = right[wide - 1];
    mlc_depthwise job = {
        .in = run->dy + tensor_at(dout, r / in->h, 0, 0) + y * (ptrdiff_t)tensor_row(dout) +
              x * (ptrdiff_t)dout->stride,
        .in_row = tensor_row(dout),
        .rows = high,
        .cols = wide,
        .step = 1,
        .weights = run->layer->packed[MLC_BACK] + taps_before(o, a, b) * dout->stride,
        .pixels = phase_pixels(in->w, b, o->stride),
        .channels = in->stride,
        .out = run->dx[0] + tensor_row_at(in, r) + b * in->stride,
        .out_step = o->stride * in->stride,
        .accumulate = run->accumulate[0],
    };
    mlc_kernel->depthwise_row(&job);
}

static void data_task(void *context, size_t r)
{
    const mlc_run *run = context;
    size_t s = run->layer->options.stride;
    for (size_t b = 0; b < s; b++) phase_row(run, r, r % run->din[0]->h % s, b);
}

/* --- backward: weights ----------------------------------------------------------------------- */

static void weights_task(void *context, size_t chunk)
{
    const mlc_run *run = context;
    const mlc_layer *layer = run->layer;
    const mlc_tensor *dout = run->dout;
    size_t rows = tensor_rows(dout), chunks = partial_count(dout);
    float *sums = (float *)run->scratch + chunk * partial_floats(layer);
    memset(sums, 0, partial_floats(layer) * sizeof *sums);
    for (size_t r = chunk * rows / chunks; r < (chunk + 1) * rows / chunks; r++) {
        mlc_depthwise_weights job = {
            .x = run->x[0] + row_input(layer, run->in[0], dout, r),
            .dy = run->dy + tensor_row_at(dout, r),
            .x_row = tensor_row(run->in[0]),
            .cols = layer->options.kernel,
            .step = layer->options.stride,
            .pixels = dout->w,
            .channels = dout->stride,
            .dweights = sums,
            .dbias = layer->bias ? sums + filter_floats(layer) : NULL,
        };
        mlc_kernel->depthwise_weights(&job);
    }
}

/* The chunks' sums at number `at` of theirs. */
static double sum_of(const mlc_run *run, size_t at)
{
    const float *sums = (const float *)run->scratch + at;
    double sum = 0;
    for (size_t chunk = 0; chunk < partial_count(run->dout); chunk++)
        sum += (double)sums[chunk * partial_floats(run->layer)];
    return sum;
}

static void put_gradient(const mlc_run *run, mlc_param *param, size_t i, double value)
{
    if (!param->trainable) return;
    if (run->accumulate_params) value += (double)param->grad[i];
    param->grad[i] = (float)value;
}

/* A task is a channel: its filter, and its bias. */
static void reduce_task(void *context, size_t c)
{
    const mlc_run *run = context;
    const mlc_layer *layer = run->layer;
    size_t taps = layer->options.kernel * layer->options.kernel;
    for (size_t t = 0; t < taps; t++)
        put_gradient(run, layer->weight, c * taps + t, sum_of(run, t * run->dout->stride + c));
    if (layer->bias) put_gradient(run, layer->bias, c, sum_of(run, filter_floats(layer) + c));
}

static bool backward_params(const mlc_run *run)
{
    return mlc_parallel_for(partial_count(run->dout), weights_task, (void *)run) &&
           mlc_parallel_for(run->layer->in_channels, reduce_task, (void *)run);
}

static bool depthwise_backward(const mlc_run *run)
{
    const mlc_param *weight = run->layer->weight, *bias = run->layer->bias;
    bool trains = weight->trainable || (bias && bias->trainable);
    if (trains && !backward_params(run)) return false;
    return !run->dx[0] || mlc_parallel_for(tensor_rows(run->din[0]), data_task, (void *)run);
}

const mlc_layer_class mlc_layer_depthwise = {
    .kind = "depthwise",
    .min_inputs = 1,
    .max_inputs = 1,
    .weight = true,
    .epilogue = true,
    .declare = depthwise_declare,
    .shape = mlc_window_shape,
    .plan = depthwise_plan,
    .forward = depthwise_forward,
    .backward = depthwise_backward,
    .packed_floats = depthwise_packed_floats,
    .pack = depthwise_pack,
};
