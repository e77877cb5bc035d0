/* Batch norm, with an optional residual input and an optional ReLU after it:
 *
 *     y = max(0, w xhat + b + residual),   xhat = (x - mean) / sqrt(var + eps)
 *
 * over the pixels of each channel (Ioffe and Szegedy, "Batch normalization", 2015). Training uses
 * the batch's mean and biased variance; the running statistics take the unbiased variance, as in
 * torch. Means are merged from chunks of rows in double by Chan's formula ("Updating formulae and a
 * pairwise algorithm for computing sample variances", 1979), in the order of the chunks. */
#include <math.h>

#include "layer.h"

enum { CHUNK_PIXELS = 256 }; /* float sums of this many shifted values lose nothing that matters */

/* What forward keeps for backward; each array holds `stride` floats. */
typedef struct {
    float *mean, *inverse, *scale, *shift, *variance;
} statistics;

static statistics saved_statistics(const mlc_run *run)
{
    size_t stride = run->out->stride;
    float *at = run->saved;
    return (statistics){at, at + stride, at + 2 * stride, at + 3 * stride, at + 4 * stride};
}

static size_t chunk_rows(const mlc_tensor *t) { return CHUNK_PIXELS / t->w + 1; }
static size_t chunk_count(const mlc_tensor *t)
{
    return (tensor_rows(t) + chunk_rows(t) - 1) / chunk_rows(t);
}
static size_t rows_of_chunk(const mlc_tensor *t, size_t chunk)
{
    size_t first = chunk * chunk_rows(t), left = tensor_rows(t) - first;
    return left < chunk_rows(t) ? left : chunk_rows(t);
}

static mlc_status norm_declare(mlc_layer *layer, mlc_error *error)
{
    mlc_options *o = &layer->options;
    if (!(o->eps > 0) || !(o->momentum >= 0 && o->momentum <= 1))
        return mlc_fail(error, MLC_VALUE,
                        "Net: layer %zu (batchnorm %s) must have eps > 0 and momentum in [0, 1], "
                        "got eps %g, momentum %g",
                        layer->index, layer->name, o->eps, o->momentum);
    layer->out_channels = layer->in_channels;
    layer->weight->ndim = layer->bias->ndim = 1;
    layer->weight->dims[0] = layer->bias->dims[0] = layer->in_channels;
    return MLC_OK;
}

static mlc_status norm_shape(const mlc_layer *layer, const mlc_tensor *const *in, bool train,
                             mlc_tensor *out, mlc_error *error)
{
    const mlc_tensor *x = in[0], *r = layer->input_count > 1 ? in[1] : in[0];
    if (r->h != x->h || r->w != x->w || r->c != x->c)
        return mlc_fail(
            error, MLC_VALUE,
            "Net: the inputs of layer %zu (batchnorm %s) must have one shape, got %zu x "
            "%zu x %zu and %zu x %zu x %zu",
            layer->index, layer->name, x->h, x->w, x->c, r->h, r->w, r->c);
    if (train && x->n * x->h * x->w < 2)
        return mlc_fail(error, MLC_VALUE,
                        "Net.forward: `x` must have more than one value for each channel of layer "
                        "%zu (batchnorm %s) in training, got a batch of 1",
                        layer->index, layer->name);
    *out = (mlc_tensor){.n = x->n, .h = x->h, .w = x->w, .c = x->c};
    return MLC_OK;
}

static bool norm_plan(const mlc_layer *layer, const mlc_tensor *const *in, const mlc_tensor *out,
                      mlc_needs *needs)
{
    needs->keeps_input = true;
    needs->keeps_output = layer->options.relu;
    needs->saved = 5 * out->stride * sizeof(float);
    needs->scratch = 2 * chunk_count(in[0]) * out->stride * sizeof(float);
    needs->scratch_back = needs->scratch + 3 * out->stride * sizeof(float);
    return true;
}

/* --- forward --------------------------------------------------------------------------------- */

/* Sums of chunk i around its own first pixel, into scratch [chunk][sum, square][stride]. */
static void sums_task(void *context, size_t chunk)
{
    const mlc_run *run = context;
    const mlc_tensor *in = run->in[0];
    size_t first = chunk * chunk_rows(in), rows = rows_of_chunk(in, chunk);
    float *sum = (float *)run->scratch + 2 * chunk * in->stride, *square = sum + in->stride;
    const float *shift = run->x[0] + tensor_row_at(in, first);
    memset(sum, 0, 2 * in->stride * sizeof *sum);
    for (size_t r = first; r < first + rows; r++)
        mlc_kernel->norm_sums(run->x[0] + tensor_row_at(in, r), in->w, in->stride, shift, sum,
                              square);
}

static void merge_channel(const mlc_run *run, size_t c, double *mean, double *variance)
{
    const mlc_tensor *in = run->in[0];
    double count = 0, m = 0, m2 = 0;
    for (size_t chunk = 0; chunk < chunk_count(in); chunk++) {
        const float *sum = (const float *)run->scratch + 2 * chunk * in->stride;
        double n = (double)(rows_of_chunk(in, chunk) * in->w), s = sum[c], q = sum[in->stride + c];
        double shift = run->x[0][tensor_row_at(in, chunk * chunk_rows(in)) + c];
        double delta = shift + s / n - m, total = count + n;
        m2 += q - s * s / n + delta * delta * count * n / total;
        m += delta * n / total;
        count = total;
    }
    *mean = m;
    *variance = m2 > 0 || m2 != m2 ? m2 / count : 0;
}

/* scale and shift of each channel from its mean and variance; zero for padding. */
static void prepare(const mlc_run *run, statistics s)
{
    const mlc_layer *layer = run->layer;
    memset(run->saved, 0, 5 * run->out->stride * sizeof(float));
    for (size_t c = 0; c < layer->in_channels; c++) {
        double mean, variance;
        if (run->train)
            merge_channel(run, c, &mean, &variance);
        else
            mean = layer->mean->value[c], variance = layer->variance->value[c];
        double inverse = 1 / sqrt(variance + layer->options.eps);
        double scale = layer->weight->value[c] * inverse;
        s.mean[c] = (float)mean;
        s.variance[c] = (float)variance;
        s.inverse[c] = (float)inverse;
        s.scale[c] = (float)scale;
        s.shift[c] = (float)(layer->bias->value[c] - mean * scale);
    }
}

static void apply_task(void *context, size_t chunk)
{
    const mlc_run *run = context;
    const mlc_tensor *in = run->in[0], *out = run->out;
    statistics s = saved_statistics(run);
    size_t first = chunk * chunk_rows(in), rows = rows_of_chunk(in, chunk);
    for (size_t r = first; r < first + rows; r++) {
        const float *residual = run->x[1] ? run->x[1] + tensor_row_at(run->in[1], r) : NULL;
        mlc_kernel->norm_apply(run->x[0] + tensor_row_at(in, r), residual, in->w, in->stride,
                               s.scale, s.shift, run->layer->options.relu,
                               run->y + tensor_row_at(out, r));
    }
}

static bool norm_forward(const mlc_run *run)
{
    size_t chunks = chunk_count(run->in[0]);
    if (run->train && !mlc_parallel_for(chunks, sums_task, (void *)run)) return false;
    prepare(run, saved_statistics(run));
    return mlc_parallel_for(chunks, apply_task, (void *)run);
}

static void norm_commit(const mlc_run *run)
{
    const mlc_layer *layer = run->layer;
    statistics s = saved_statistics(run);
    double n = (double)(run->in[0]->n * run->in[0]->h * run->in[0]->w);
    double take = layer->options.momentum, keep = 1 - take, unbiased = n / (n - 1);
    for (size_t c = 0; c < layer->in_channels; c++) {
        layer->mean->value[c] = (float)(keep * layer->mean->value[c] + take * s.mean[c]);
        layer->variance->value[c] =
            (float)(keep * layer->variance->value[c] + take * s.variance[c] * unbiased);
    }
}

/* --- backward -------------------------------------------------------------------------------- */

/* In the forward pass this was y = max(0, scale x + shift + residual), where scale and shift depend
 * on x through mean and variance. With dz = dy where y > 0 and sums over the n pixels of a channel,
 *     db = sum dz,  dw = sum dz xhat,  dx = w inverse (dz - db / n - xhat dw / n),
 * and the residual gets dz. */
static void backward_sums_task(void *context, size_t chunk)
{
    const mlc_run *run = context;
    const mlc_tensor *in = run->in[0];
    statistics s = saved_statistics(run);
    size_t first = chunk * chunk_rows(in), rows = rows_of_chunk(in, chunk);
    float *sum = (float *)run->scratch + 2 * chunk * in->stride, *dot = sum + in->stride;
    memset(sum, 0, 2 * in->stride * sizeof *sum);
    for (size_t r = first; r < first + rows; r++) {
        const float *y = run->layer->options.relu ? run->y + tensor_row_at(run->out, r) : NULL;
        float *dy = run->dy + tensor_row_at(run->dout, r);
        mlc_kernel->norm_backward_sums(y, run->x[0] + tensor_row_at(in, r), dy, in->w, in->stride,
                                       s.mean, s.inverse, sum, dot);
        if (!run->dx[1]) continue;
        float *residual = run->dx[1] + tensor_row_at(run->din[1], r);
        if (run->accumulate[1])
            mlc_kernel->add_into(dy, residual, in->w * in->stride);
        else
            memcpy(residual, dy, in->w * in->stride * sizeof *dy);
    }
}

static void set_grad(mlc_param *param, size_t c, double value, bool accumulate)
{
    if (!param->trainable) return;
    param->grad[c] = (float)(accumulate ? (double)param->grad[c] + value : value);
}

/* The three coefficients of dx = a dz + b x + c, after the chunks' sums in scratch. */
static float *coefficients(const mlc_run *run)
{
    return (float *)run->scratch + 2 * chunk_count(run->in[0]) * run->in[0]->stride;
}

static void finish_sums(const mlc_run *run)
{
    const mlc_tensor *in = run->in[0];
    statistics s = saved_statistics(run);
    float *a = coefficients(run), *b = a + in->stride, *shift = b + in->stride;
    double n = (double)(in->n * in->h * in->w);
    memset(a, 0, 3 * in->stride * sizeof *a);
    for (size_t c = 0; c < run->layer->in_channels; c++) {
        double db = 0, dw = 0;
        for (size_t chunk = 0; chunk < chunk_count(in); chunk++) {
            const float *sum = (const float *)run->scratch + 2 * chunk * in->stride;
            db += sum[c];
            dw += sum[in->stride + c];
        }
        set_grad(run->layer->bias, c, db, run->accumulate_params);
        set_grad(run->layer->weight, c, dw, run->accumulate_params);
        double slope = -(double)s.scale[c] * s.inverse[c] * dw / n;
        a[c] = s.scale[c];
        b[c] = (float)slope;
        shift[c] = (float)(-(double)s.scale[c] * db / n - slope * s.mean[c]);
    }
}

static void backward_apply_task(void *context, size_t chunk)
{
    const mlc_run *run = context;
    const mlc_tensor *in = run->in[0];
    const float *a = coefficients(run), *b = a + in->stride, *c = b + in->stride;
    size_t first = chunk * chunk_rows(in), rows = rows_of_chunk(in, chunk);
    for (size_t r = first; r < first + rows; r++)
        mlc_kernel->norm_backward(run->dy + tensor_row_at(run->dout, r),
                                  run->x[0] + tensor_row_at(in, r), in->w, in->stride, a, b, c,
                                  run->dx[0] + tensor_row_at(run->din[0], r));
}

/* The same, added to what other readers of x have left; dy is ours to work in. */
static void accumulate_task(void *context, size_t chunk)
{
    const mlc_run *run = context;
    const mlc_tensor *in = run->in[0];
    const float *a = coefficients(run), *b = a + in->stride, *c = b + in->stride;
    size_t first = chunk * chunk_rows(in), rows = rows_of_chunk(in, chunk);
    for (size_t r = first; r < first + rows; r++) {
        float *dy = run->dy + tensor_row_at(run->dout, r);
        mlc_kernel->norm_backward(dy, run->x[0] + tensor_row_at(in, r), in->w, in->stride, a, b, c,
                                  dy);
        mlc_kernel->add_into(dy, run->dx[0] + tensor_row_at(run->din[0], r), in->w * in->stride);
    }
}

static bool norm_backward(const mlc_run *run)
{
    size_t chunks = chunk_count(run->in[0]);
    if (!mlc_parallel_for(chunks, backward_sums_task, (void *)run)) return false;
    finish_sums(run);
    if (!run->dx[0]) return true;
    return mlc_parallel_for(chunks, run->accumulate[0] ? accumulate_task : backward_apply_task,
                            (void *)run);
}

const mlc_layer_class mlc_layer_batchnorm = {
    .kind = "batchnorm",
    .min_inputs = 1,
    .max_inputs = 2,
    .weight = true,
    .statistics = true,
    .declare = norm_declare,
    .shape = norm_shape,
    .plan = norm_plan,
    .forward = norm_forward,
    .backward = norm_backward,
    .commit = norm_commit,
};
