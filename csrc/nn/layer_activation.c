/* Activations where they are not part of a batch norm. A convolution or linear layer before one
 * does it in its epilogue in a prediction. y is not kept for the layers that read it in backward:
 * rewrite makes it once more. A task is one row of one image. */
#include "epilogue.h"

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
    needs->rewrites = true;
    return true;
}

static void activation_row(void *context, size_t row)
{
    const mlc_run *run = context;
    mlc_activate(run->layer->options.act, run->out, run->x[0] + tensor_row_at(run->in[0], row),
                 run->y + tensor_row_at(run->out, row), run->out->w);
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
    return !run->y || mlc_parallel_for(tensor_rows(run->out), activation_row, (void *)run);
}

static void activation_fold(const mlc_run *run, mlc_epilogue *epilogue)
{
    *epilogue = (mlc_epilogue){.act = run->layer->options.act};
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
    .activation = true,
    .declare = activation_declare,
    .shape = mlc_same_shape,
    .plan = activation_plan,
    .forward = activation_forward,
    .backward = activation_backward,
    .fold = activation_fold,
    .rewrite = activation_forward,
};
