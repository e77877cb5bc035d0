/* A map (N, H, W, C) times a number for each image and channel, (N, 1, 1, C): what squeeze-and-
 * excitation (Hu et al., arXiv:1709.01507) ends with.
 *
 * y is not kept for the layers that read it in backward: rewrite makes it once more. The gradient
 * of a number is a sum over an image, a row after the other by one task. */
#include "layer.h"

static mlc_status scale_shape(const mlc_layer *layer, const mlc_tensor *const *in, bool train,
                              mlc_tensor *out, mlc_error *error)
{
    if (in[1]->h != 1 || in[1]->w != 1 || in[1]->c != in[0]->c)
        return mlc_fail(error, MLC_VALUE,
                        "Net: the second input of layer %zu (scale) must be 1 x 1 x %zu, got %zu x "
                        "%zu x %zu",
                        layer->index, in[0]->c, in[1]->h, in[1]->w, in[1]->c);
    return mlc_same_shape(layer, in, train, out, error);
}

static bool scale_plan(const mlc_layer *layer, const mlc_tensor *const *in, const mlc_tensor *out,
                       mlc_needs *needs)
{
    (void)layer, (void)in, (void)out;
    needs->keeps_input = needs->keeps_second = true;
    needs->rewrites = true;
    return true;
}

/* Where the numbers of image n are, of a tensor of numbers. */
static size_t numbers_at(const mlc_tensor *t, size_t n) { return tensor_at(t, n, 0, 0); }

static void scale_row(void *context, size_t row)
{
    const mlc_run *run = context;
    const mlc_tensor *out = run->out;
    mlc_kernel->scale_pixels(run->x[0] + tensor_row_at(run->in[0], row),
                             run->x[1] + numbers_at(run->in[1], row / out->h), out->w, out->stride,
                             tensor_outgrows_cache(out), run->y + tensor_row_at(out, row));
}

static bool scale_forward(const mlc_run *run)
{
    return mlc_parallel_for(tensor_rows(run->out), scale_row, (void *)run);
}

static void scale_image_backward(void *context, size_t n)
{
    const mlc_run *run = context;
    const mlc_tensor *in = run->in[0];
    float *dfactor = run->dx[1] ? run->dx[1] + numbers_at(run->din[1], n) : NULL;
    if (dfactor && !run->accumulate[1]) memset(dfactor, 0, in->stride * sizeof *dfactor);
    for (size_t row = n * in->h; row < (n + 1) * in->h; row++) {
        mlc_scale_backward job = {
            .x = run->x[0] + tensor_row_at(in, row),
            .dy = run->dy + tensor_row_at(run->dout, row),
            .factor = run->x[1] + numbers_at(run->in[1], n),
            .pixels = in->w,
            .channels = in->stride,
            .dx = run->dx[0] ? run->dx[0] + tensor_row_at(run->din[0], row) : NULL,
            .dfactor = dfactor,
            .add = run->accumulate[0],
        };
        mlc_kernel->scale_backward(&job);
    }
}

static bool scale_backward(const mlc_run *run)
{
    return (!run->dx[0] && !run->dx[1]) ||
           mlc_parallel_for(run->in[0]->n, scale_image_backward, (void *)run);
}

const mlc_layer_class mlc_layer_scale = {
    .kind = "scale",
    .min_inputs = 2,
    .max_inputs = 2,
    .declare = mlc_same_channels,
    .shape = scale_shape,
    .plan = scale_plan,
    .forward = scale_forward,
    .backward = scale_backward,
    .rewrite = scale_forward,
};
