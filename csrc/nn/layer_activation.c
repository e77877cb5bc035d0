/* Activations where they are not part of a batch norm. A task is one row of one image; padded
 * channels, of which sigmoids would not stay zero, are cleared. */
#include "layer.h"

static mlc_status activation_declare(mlc_layer *layer, mlc_error *error)
{
    if (layer->options.act == MLC_IDENTITY)
        return mlc_fail(error, MLC_VALUE, "Net: layer %zu (activation) must have act, got none",
                        layer->index);
    return mlc_same_channels(layer, error);
}

static bool activation_plan(const mlc_layer *layer, const mlc_tensor *const *in,
                            const mlc_tensor *out, mlc_needs *needs)
{
    (void)layer, (void)in, (void)out;
    needs->keeps_input = true;
    return true;
}

static void activation_row(void *context, size_t row)
{
    const mlc_run *run = context;
    const mlc_tensor *out = run->out;
    float *y = run->y + tensor_row_at(out, row);
    mlc_kernel->activate(run->x[0] + tensor_row_at(run->in[0], row), y, out->w * out->stride,
                         run->layer->options.act);
    for (size_t x = 0; x < out->w && out->c < out->stride; x++, y += out->stride)
        memset(y + out->c, 0, (out->stride - out->c) * sizeof *y);
}

static void activation_row_backward(void *context, size_t row)
{
    const mlc_run *run = context;
    mlc_kernel->activate_backward(
        run->x[0] + tensor_row_at(run->in[0], row), run->dy + tensor_row_at(run->dout, row),
        run->dx[0] + tensor_row_at(run->din[0], row), run->out->w * run->out->stride,
        run->layer->options.act, run->accumulate[0]);
}

static bool activation_forward(const mlc_run *run)
{
    return mlc_parallel_for(tensor_rows(run->out), activation_row, (void *)run);
}

static bool activation_backward(const mlc_run *run)
{
    return !run->dx[0] ||
           mlc_parallel_for(tensor_rows(run->out), activation_row_backward, (void *)run);
}

const mlc_layer_class mlc_layer_activation = {
    .kind = "activation",
    .min_inputs = 1,
    .max_inputs = 1,
    .declare = activation_declare,
    .shape = mlc_same_shape,
    .plan = activation_plan,
    .forward = activation_forward,
    .backward = activation_backward,
};
