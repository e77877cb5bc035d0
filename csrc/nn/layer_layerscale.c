/* A factor for each channel, and a residual added to what it scales (Touvron et al., "Going deeper
 * with image transformers", 2021):
 *
 *     y = gamma x + residual
 *
 * A convolution or linear layer before it does it in its epilogue in a prediction. */
#include "chunks.h"

static mlc_status scale_declare(mlc_layer *layer, mlc_error *error)
{
    if (layer->bias)
        return mlc_fail(error, MLC_VALUE, "Net: layer %zu (layerscale %s) must have no bias",
                        layer->index, layer->name);
    layer->out_channels = layer->in_channels;
    layer->weight->ndim = 1, layer->weight->dims[0] = layer->in_channels;
    return MLC_OK;
}

static mlc_status scale_shape(const mlc_layer *layer, const mlc_tensor *const *in, bool train,
                              mlc_tensor *out, mlc_error *error)
{
    const mlc_tensor *x = in[0], *r = in[1];
    if (r->h != x->h || r->w != x->w || r->c != x->c)
        return mlc_fail(error, MLC_VALUE,
                        "Net: the inputs of layer %zu (layerscale %s) must have one shape, got %zu "
                        "x %zu x %zu and %zu x %zu x %zu",
                        layer->index, layer->name, x->h, x->w, x->c, r->h, r->w, r->c);
    return mlc_same_shape(layer, in, train, out, error);
}

static bool scale_plan(const mlc_layer *layer, const mlc_tensor *const *in, const mlc_tensor *out,
                       mlc_needs *needs)
{
    (void)layer, (void)in;
    needs->keeps_input = true;
    needs->saved = out->stride * sizeof(float);
    return mlc_chunk_sums_bytes(out, 1, &needs->scratch_back);
}

/* What is added besides the residual: zeros. */
static const float *no_shift(const mlc_run *run)
{
    return memset(run->saved, 0, run->out->stride * sizeof(float));
}

static void forward_task(void *context, size_t chunk)
{
    const mlc_run *run = context;
    const mlc_tensor *in = run->in[0], *out = run->out;
    bool stream = tensor_outgrows_cache(out);
    size_t end = mlc_chunk_end(out, chunk);
    for (size_t r = mlc_chunk_first(out, chunk); r < end; r++)
        mlc_kernel->norm_apply(run->x[0] + tensor_row_at(in, r),
                               run->x[1] + tensor_row_at(run->in[1], r), in->w, in->stride,
                               run->layer->weight->value, run->saved, false, stream,
                               run->y + tensor_row_at(out, r));
}

static bool scale_forward(const mlc_run *run)
{
    no_shift(run);
    return mlc_parallel_for(mlc_chunks(run->out), forward_task, (void *)run);
}

static void scale_fold(const mlc_run *run, mlc_epilogue *epilogue)
{
    *epilogue = (mlc_epilogue){.scale = run->layer->weight->value,
                               .shift = no_shift(run),
                               .residual = run->x[1],
                               .like = run->in[1]};
}

static void backward_task(void *context, size_t chunk)
{
    const mlc_run *run = context;
    float *dot = mlc_chunk_sums(run->scratch, run->out, 1, chunk);
    size_t end = mlc_chunk_end(run->out, chunk);
    for (size_t r = mlc_chunk_first(run->out, chunk); r < end; r++) {
        mlc_layerscale row = {
            .x = run->x[0] + tensor_row_at(run->in[0], r),
            .dy = run->dy + tensor_row_at(run->dout, r),
            .scale = run->layer->weight->value,
            .pixels = run->out->w,
            .channels = run->out->stride,
            .add = run->accumulate[0],
            .add_residual = run->accumulate[1],
        };
        if (run->dx[0]) row.dx = run->dx[0] + tensor_row_at(run->din[0], r);
        if (run->dx[1]) row.residual = run->dx[1] + tensor_row_at(run->din[1], r);
        mlc_kernel->layer_scale_backward(&row, dot);
    }
}

static bool scale_backward(const mlc_run *run)
{
    if (!mlc_parallel_for(mlc_chunks(run->out), backward_task, (void *)run)) return false;
    mlc_chunk_grad(run, run->out, 1, 0, run->layer->weight);
    return true;
}

const mlc_layer_class mlc_layer_layerscale = {
    .kind = "layerscale",
    .min_inputs = 2,
    .max_inputs = 2,
    .weight = true,
    .weight_name = "gamma",
    .scales = true,
    .declare = scale_declare,
    .shape = scale_shape,
    .plan = scale_plan,
    .forward = scale_forward,
    .backward = scale_backward,
    .fold = scale_fold,
};
