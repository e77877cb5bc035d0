/* Batch norm, with an optional residual input and an optional activation after it:
 *
 *     y = act(w xhat + b + residual),   xhat = (x - mean) / sqrt(var + eps)
 *
 * over the pixels of each channel (Ioffe and Szegedy, "Batch normalization", 2015). Training uses
 * the batch's mean and biased variance; the running statistics take the unbiased variance, as in
 * torch. A convolution before it measures them in its epilogue, and in a prediction does all of
 * this.
 *
 * y is not kept for the layers that read it in backward: rewrite makes it once more. Nor is
 * anything for the activation's slope: without a residual that is as cheap to compute again, with
 * one y is written again for it, whose sign is all that a ReLU needs; so there is no other with a
 * residual.
 *
 * Where processes train together and want common statistics, the moments of x in the forward pass
 * and the sums of the gradient in the backward one are those over all of them: then each process
 * makes of its part what a single one would make of the whole batch. */
#include <math.h>

#include "epilogue.h"

enum { CHUNK_PIXELS = 256 }; /* float sums of this many shifted values lose nothing that matters */

/* What forward keeps for backward; each array holds `stride` floats. */
typedef struct {
    float *mean, *inverse, *scale, *shift, *variance;
    double *pixels; /* how many there were, of all processes */
} statistics;

static statistics saved_statistics(const mlc_run *run)
{
    size_t stride = run->out->stride;
    float *at = run->saved;
    return (statistics){at,
                        at + stride,
                        at + 2 * stride,
                        at + 3 * stride,
                        at + 4 * stride,
                        (double *)(at + 5 * stride)};
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
    if (o->act > MLC_RELU && layer->input_count > 1)
        return mlc_fail(error, MLC_VALUE,
                        "Net: layer %zu (batchnorm %s) must have no activation but relu where it "
                        "adds a residual",
                        layer->index, layer->name);
    if (o->act == MLC_SIGMOID || o->act == MLC_HARDSIGMOID) /* channels beyond c stay zero */
        return mlc_fail(error, MLC_VALUE,
                        "Net: layer %zu (batchnorm %s) must have an activation that is 0 at 0; an "
                        "activation layer does sigmoids",
                        layer->index, layer->name);
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

/* Mean and variance of each channel, and the number of pixels; whole vectors, for what follows. */
static size_t shared_doubles(const mlc_tensor *t) { return 2 * t->stride + MLC_LANES; }

static bool norm_plan(const mlc_layer *layer, const mlc_tensor *const *in, const mlc_tensor *out,
                      mlc_needs *needs)
{
    needs->keeps_input = true;
    needs->keeps_output = layer->options.act && layer->input_count > 1;
    needs->rewrites = needs->over_second = true;
    needs->in_place = true;
    needs->dy_rows = 1;
    needs->saved = 5 * out->stride * sizeof(float) + sizeof(double);
    needs->scratch_back = (2 * chunk_count(in[0]) + 3) * out->stride * sizeof(float) +
                          2 * out->stride * sizeof(double);
    return mlc_moments_bytes(chunk_count(in[0]), out->stride, &needs->scratch) &&
           mlc_add(needs->scratch, shared_doubles(out) * sizeof(double), &needs->scratch);
}

/* --- forward --------------------------------------------------------------------------------- */

static mlc_moments moments_of(const mlc_run *run)
{
    double *shared = run->scratch;
    return mlc_moments_in(shared + shared_doubles(run->in[0]), chunk_count(run->in[0]),
                          run->in[0]->stride);
}

static void sums_task(void *context, size_t chunk)
{
    const mlc_run *run = context;
    const mlc_tensor *in = run->in[0];
    mlc_moments moments = moments_of(run);
    size_t first = chunk * chunk_rows(in), rows = rows_of_chunk(in, chunk);
    mlc_moments_begin(&moments, chunk, run->x[0] + tensor_row_at(in, first));
    for (size_t r = first; r < first + rows; r++)
        mlc_moments_add(&moments, chunk, run->x[0] + tensor_row_at(in, r), in->w);
}

/* Mean and variance of x where its writer has not measured them. */
static bool measure(const mlc_run *run, double *mean, double *variance)
{
    mlc_moments moments = moments_of(run);
    if (!mlc_parallel_for(chunk_count(run->in[0]), sums_task, (void *)run)) return false;
    mlc_moments_merge(&moments, run->layer->in_channels, mean, variance);
    return true;
}

/* Of the mean and variance of this process's pixels make those of all processes' pixels, and count
 * these; the three lie one after another. Sums are around the running mean, which all have alike:
 * in double nothing that matters is lost then. */
/* NOLINTNEXTLINE(readability-non-const-parameter): the sum writes it, behind mean and variance */
static bool share_moments(const mlc_run *run, double *mean, double *variance, double *pixels)
{
    const float *origin = run->layer->mean->value;
    size_t channels = run->layer->in_channels, stride = run->in[0]->stride;
    for (size_t c = 0; c < stride; c++) {
        double shift = c < channels ? mean[c] - (double)origin[c] : 0;
        double square = c < channels ? variance[c] + shift * shift : 0;
        mean[c] = shift * *pixels;
        variance[c] = square * *pixels;
    }
    if (!run->peers->sum(run->peers->context, mean, 2 * stride + 1)) return false;
    for (size_t c = 0; c < channels; c++) {
        double shift = mean[c] / *pixels, rest = variance[c] / *pixels - shift * shift;
        mean[c] = (double)origin[c] + shift;
        variance[c] = rest < 0 ? 0 : rest; /* rounding may go below 0; a NaN stays one */
    }
    return true;
}

static bool has_shared_sums(const mlc_run *run) { return run->peers && run->peers->sum; }

/* Mean and variance of the batch, and the number of its pixels, one after another in scratch. */
static bool batch_moments(const mlc_run *run)
{
    const mlc_tensor *in = run->in[0];
    double *mean = run->scratch, *variance = mean + in->stride, *pixels = variance + in->stride;
    *pixels = (double)(in->n * in->h * in->w);
    if (run->mean) {
        memcpy(mean, run->mean, run->layer->in_channels * sizeof *mean);
        memcpy(variance, run->variance, run->layer->in_channels * sizeof *variance);
    } else if (!measure(run, mean, variance)) {
        return false;
    }
    return !has_shared_sums(run) || share_moments(run, mean, variance, pixels);
}

/* scale and shift of each channel from its mean and variance (NULL: the running ones); zero for
 * padding. */
static void prepare(const mlc_run *run, const double *means, const double *variances)
{
    const mlc_layer *layer = run->layer;
    statistics s = saved_statistics(run);
    memset(run->saved, 0, 5 * run->out->stride * sizeof(float));
    for (size_t c = 0; c < layer->in_channels; c++) {
        double mean = means ? means[c] : (double)layer->mean->value[c];
        double variance = variances ? variances[c] : (double)layer->variance->value[c];
        double inverse = 1 / sqrt(variance + layer->options.eps);
        double scale = layer->weight->value[c] * inverse;
        s.mean[c] = (float)mean;
        s.variance[c] = (float)variance;
        s.inverse[c] = (float)inverse;
        s.scale[c] = (float)scale;
        s.shift[c] = (float)(layer->bias->value[c] - mean * scale);
    }
}

/* Row r of input k: of its copy, if there is one, both forward and backward: so the ReLU lets the
 * same through. */
static const float *value_row(const mlc_run *run, size_t k, size_t r)
{
    return run->x[k] && !run->copy[k] ? run->x[k] + tensor_row_at(run->in[k], r) : NULL;
}

static const uint16_t *copy_row(const mlc_run *run, size_t k, size_t r)
{
    return run->copy[k] ? run->copy[k] + r * run->in[k]->w * run->in[k]->stride : NULL;
}

static void apply_task(void *context, size_t chunk)
{
    const mlc_run *run = context;
    const mlc_tensor *in = run->in[0], *out = run->out;
    statistics s = saved_statistics(run);
    size_t first = chunk * chunk_rows(in), rows = rows_of_chunk(in, chunk);
    mlc_norm_rewrite row = {.pixels = in->w,
                            .channels = in->stride,
                            .scale = s.scale,
                            .shift = s.shift,
                            .act = run->layer->options.act,
                            .stream = tensor_outgrows_cache(out)};
    for (size_t r = first; r < first + rows; r++) {
        row.x = value_row(run, 0, r), row.x_copy = copy_row(run, 0, r);
        row.residual = value_row(run, 1, r), row.residual_copy = copy_row(run, 1, r);
        row.y = run->y + tensor_row_at(out, r);
        mlc_kernel->norm_rewrite(&row);
    }
}

static bool norm_apply(const mlc_run *run)
{
    return mlc_parallel_for(chunk_count(run->in[0]), apply_task, (void *)run);
}

static bool norm_forward(const mlc_run *run)
{
    const double *mean = run->scratch, *variance = mean + run->in[0]->stride;
    if (!run->train) {
        prepare(run, NULL, NULL);
    } else {
        if (!batch_moments(run)) return false;
        prepare(run, mean, variance);
        *saved_statistics(run).pixels = variance[run->in[0]->stride];
    }
    return !run->y || norm_apply(run);
}

static void norm_fold(const mlc_run *run, mlc_epilogue *epilogue)
{
    statistics s = saved_statistics(run);
    if (!run->train) prepare(run, NULL, NULL);
    *epilogue = (mlc_epilogue){.scale = s.scale,
                               .shift = s.shift,
                               .residual = run->x[1],
                               .like = run->in[1],
                               .act = run->layer->options.act};
}

static void norm_commit(const mlc_run *run)
{
    const mlc_layer *layer = run->layer;
    statistics s = saved_statistics(run);
    double n = *s.pixels;
    double take = layer->options.momentum, keep = 1 - take, unbiased = n / (n - 1);
    for (size_t c = 0; c < layer->in_channels; c++) {
        layer->mean->value[c] = (float)(keep * layer->mean->value[c] + take * s.mean[c]);
        layer->variance->value[c] =
            (float)(keep * layer->variance->value[c] + take * s.variance[c] * unbiased);
    }
}

/* --- backward -------------------------------------------------------------------------------- */

/* In the forward pass this was y = act(z), z = scale x + shift + residual, where scale and shift
 * depend on x through mean and variance. With dz = dy act'(z) and sums over the n pixels,
 *     db = sum dz,  dw = sum dz xhat,  dx = w inverse (dz - db / n - xhat dw / n),
 * and the residual gets dz. Two passes: the sums, and what follows from them. */
static mlc_norm_backward row_of(const mlc_run *run, size_t r, float *made)
{
    const mlc_tensor *in = run->in[0];
    mlc_activation act = run->layer->options.act;
    bool by_sign = act && run->layer->input_count > 1; /* of y, as there is a residual */
    statistics s = saved_statistics(run);
    return (mlc_norm_backward){
        .x = value_row(run, 0, r),
        .copy = copy_row(run, 0, r),
        .dy = mlc_dy_row(run, r, made),
        .y = by_sign ? run->y + tensor_row_at(run->out, r) : NULL,
        .act = by_sign ? MLC_IDENTITY : (int)act,
        .scale = s.scale,
        .shift = s.shift,
        .pixels = in->w,
        .channels = in->stride,
        .mean = s.mean,
        .inverse = s.inverse,
    };
}

static void backward_sums_task(void *context, size_t chunk)
{
    const mlc_run *run = context;
    const mlc_tensor *in = run->in[0];
    size_t first = chunk * chunk_rows(in), rows = rows_of_chunk(in, chunk);
    float *sum = (float *)run->scratch + 2 * chunk * in->stride, *dot = sum + in->stride;
    memset(sum, 0, 2 * in->stride * sizeof *sum);
    for (size_t r = first; r < first + rows; r++) {
        mlc_norm_backward row = row_of(run, r, mlc_rows_at(run, 1));
        mlc_kernel->norm_backward_sums(&row, sum, dot);
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

/* db and dw of this process's part, into the gradients and, for all channels one after another, to
 * `sums`. */
static void merge_sums(const mlc_run *run, double *sums)
{
    const mlc_tensor *in = run->in[0];
    memset(sums, 0, 2 * in->stride * sizeof *sums);
    for (size_t c = 0; c < run->layer->in_channels; c++) {
        double db = 0, dw = 0;
        for (size_t chunk = 0; chunk < chunk_count(in); chunk++) {
            const float *sum = (const float *)run->scratch + 2 * chunk * in->stride;
            db += sum[c];
            dw += sum[in->stride + c];
        }
        set_grad(run->layer->bias, c, db, run->accumulate_params);
        set_grad(run->layer->weight, c, dw, run->accumulate_params);
        sums[c] = db;
        sums[in->stride + c] = dw;
    }
}

static bool finish_sums(const mlc_run *run)
{
    const mlc_tensor *in = run->in[0];
    statistics s = saved_statistics(run);
    float *a = coefficients(run), *b = a + in->stride, *shift = b + in->stride;
    double *db = (double *)(shift + in->stride), *dw = db + in->stride, n = *s.pixels;
    merge_sums(run, db);
    if (has_shared_sums(run) && !run->peers->sum(run->peers->context, db, 2 * in->stride))
        return false;
    memset(a, 0, 3 * in->stride * sizeof *a);
    for (size_t c = 0; c < run->layer->in_channels; c++) {
        double slope = -(double)s.scale[c] * s.inverse[c] * dw[c] / n;
        a[c] = s.scale[c];
        b[c] = (float)slope;
        shift[c] = (float)(-(double)s.scale[c] * db[c] / n - slope * s.mean[c]);
    }
    return true;
}

static mlc_norm_backward apply_row_of(const mlc_run *run, size_t r, float *made)
{
    mlc_norm_backward row = row_of(run, r, made);
    row.a = coefficients(run);
    row.b = row.a + row.channels;
    row.c = row.b + row.channels;
    return row;
}

/* From the last chunk to the first: what the sums have read last is still in the cache. */
static void backward_apply_task(void *context, size_t index)
{
    const mlc_run *run = context;
    const mlc_tensor *in = run->in[0];
    size_t chunk = chunk_count(in) - 1 - index;
    size_t first = chunk * chunk_rows(in), rows = rows_of_chunk(in, chunk);
    bool stream = tensor_outgrows_cache(in) && run->dx[0] != run->dy; /* dy is in the cache */
    for (size_t r = first; r < first + rows; r++) {
        mlc_norm_backward row = apply_row_of(run, r, mlc_rows_at(run, 1));
        row.add = run->accumulate[0], row.add_residual = run->accumulate[1];
        row.stream = stream;
        if (run->dx[0]) row.dx = run->dx[0] + tensor_row_at(run->din[0], r);
        if (run->dx[1]) row.residual = run->dx[1] + tensor_row_at(run->din[1], r);
        mlc_kernel->norm_backward(&row);
    }
}

static void norm_make_row(const mlc_run *run, size_t r, float *dx)
{
    mlc_norm_backward row = apply_row_of(run, r, dx);
    row.dx = dx;
    mlc_kernel->norm_backward(&row);
}

static bool backward_pass(const mlc_run *run, mlc_task *task)
{
    size_t chunks = chunk_count(run->in[0]);
    size_t workers = run->maker ? run->workers : chunks;
    return mlc_parallel_limit(chunks, workers, task, (void *)run);
}

static bool norm_backward(const mlc_run *run)
{
    if (!backward_pass(run, backward_sums_task) || !finish_sums(run)) return false;
    return (!run->dx[0] && !run->dx[1]) || backward_pass(run, backward_apply_task);
}

const mlc_layer_class mlc_layer_batchnorm = {
    .kind = "batchnorm",
    .min_inputs = 1,
    .max_inputs = 2,
    .weight = true,
    .statistics = true,
    .scales = true,
    .shifts = true,
    .reads_copy = true,
    .declare = norm_declare,
    .shape = norm_shape,
    .plan = norm_plan,
    .forward = norm_forward,
    .backward = norm_backward,
    .commit = norm_commit,
    .fold = norm_fold,
    .rewrite = norm_apply,
    .make_row = norm_make_row,
};
