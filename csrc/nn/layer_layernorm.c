/* Layer norm over the channels of each pixel, as timm's LayerNorm2d and torch's LayerNorm of
 * channels-last:
 *
 *     y = w xhat + b,   xhat = (x - mean) / sqrt(var + eps)
 *
 * with mean and biased variance of the pixel's own channels. y is not kept for the layers that read
 * it in backward: rewrite makes it once more. */
#include "bias.h"
#include "chunks.h"

enum { DWEIGHT, DBIAS, SUMS };

static mlc_status norm_declare(mlc_layer *layer, mlc_error *error)
{
    if (!(layer->options.eps > 0))
        return mlc_fail(error, MLC_VALUE, "Net: layer %zu (layernorm %s) must have eps > 0, got %g",
                        layer->index, layer->name, layer->options.eps);
    layer->out_channels = layer->in_channels;
    layer->weight->ndim = 1, layer->weight->dims[0] = layer->in_channels;
    mlc_bias_declare(layer);
    return MLC_OK;
}

static bool norm_plan(const mlc_layer *layer, const mlc_tensor *const *in, const mlc_tensor *out,
                      mlc_needs *needs)
{
    (void)layer;
    needs->keeps_input = true;
    needs->rewrites = true;
    return mlc_mul(tensor_rows(in[0]), 2 * sizeof(float), &needs->saved) &&
           mlc_mul(needs->saved, in[0]->w, &needs->saved) &&
           mlc_chunk_sums_bytes(out, SUMS, &needs->scratch_back);
}

/* Row r of x; of every pixel forward keeps its mean, and after all means its 1 / deviation. */
static mlc_layer_norm row_of(const mlc_run *run, size_t r)
{
    const mlc_layer *layer = run->layer;
    const mlc_tensor *in = run->in[0];
    float *mean = run->saved;
    return (mlc_layer_norm){
        .x = run->x[0] + tensor_row_at(in, r),
        .weight = layer->weight->value,
        .bias = layer->bias->value,
        .pixels = in->w,
        .stride = in->stride,
        .channels = in->c,
        .eps = (float)layer->options.eps,
        .mean = mean + r * in->w,
        .inverse = mean + (tensor_rows(in) + r) * in->w,
    };
}

static void forward_task(void *context, size_t chunk)
{
    const mlc_run *run = context;
    size_t end = mlc_chunk_end(run->out, chunk);
    for (size_t r = mlc_chunk_first(run->out, chunk); r < end; r++) {
        mlc_layer_norm row = row_of(run, r);
        row.y = run->y + tensor_row_at(run->out, r);
        mlc_kernel->layer_norm(&row);
    }
}

static bool norm_forward(const mlc_run *run)
{
    return mlc_parallel_for(mlc_chunks(run->out), forward_task, (void *)run);
}

static void backward_task(void *context, size_t chunk)
{
    const mlc_run *run = context;
    float *sums = mlc_chunk_sums(run->scratch, run->out, SUMS, chunk);
    size_t end = mlc_chunk_end(run->out, chunk);
    for (size_t r = mlc_chunk_first(run->out, chunk); r < end; r++) {
        mlc_layer_norm row = row_of(run, r);
        row.dy = run->dy + tensor_row_at(run->dout, r);
        if (run->dx[0]) row.dx = run->dx[0] + tensor_row_at(run->din[0], r);
        row.add = run->accumulate[0];
        row.dweight = sums + DWEIGHT * run->out->stride;
        row.dbias = sums + DBIAS * run->out->stride;
        mlc_kernel->layer_norm_backward(&row);
    }
}

static bool norm_backward(const mlc_run *run)
{
    if (!mlc_parallel_for(mlc_chunks(run->out), backward_task, (void *)run)) return false;
    mlc_chunk_grad(run, run->out, SUMS, DWEIGHT, run->layer->weight);
    mlc_chunk_grad(run, run->out, SUMS, DBIAS, run->layer->bias);
    return true;
}

const mlc_layer_class mlc_layer_layernorm = {
    .kind = "layernorm",
    .min_inputs = 1,
    .max_inputs = 1,
    .weight = true,
    .scales = true,
    .shifts = true,
    .declare = norm_declare,
    .shape = mlc_same_shape,
    .plan = norm_plan,
    .forward = norm_forward,
    .backward = norm_backward,
    .rewrite = norm_forward,
};
