/* The Gaussian error linear unit, x P(N <= x). A convolution or linear layer before it does it in
 * its epilogue in a prediction. y is not kept for the layers that read it in backward: rewrite
 * makes it once more. A task is one row of one image. */
#include "layer.h"

static bool gelu_plan(const mlc_layer *layer, const mlc_tensor *const *in, const mlc_tensor *out,
                      mlc_needs *needs)
{
    (void)layer, (void)in, (void)out;
    needs->keeps_input = true;
    needs->rewrites = true;
    return true;
}

static size_t row_floats(const mlc_tensor *t) { return t->w * t->stride; }

static void forward_row(void *context, size_t row)
{
    const mlc_run *run = context;
    mlc_kernel->gelu(run->x[0] + tensor_row_at(run->in[0], row),
                     run->y + tensor_row_at(run->out, row), row_floats(run->out));
}

static bool gelu_forward(const mlc_run *run)
{
    return mlc_parallel_for(tensor_rows(run->out), forward_row, (void *)run);
}

static void gelu_fold(const mlc_run *run, mlc_epilogue *epilogue)
{
    (void)run;
    *epilogue = (mlc_epilogue){.gelu = true};
}

static void backward_row(void *context, size_t row)
{
    const mlc_run *run = context;
    mlc_kernel->gelu_backward(
        run->x[0] + tensor_row_at(run->in[0], row), run->dy + tensor_row_at(run->dout, row),
        run->dx[0] + tensor_row_at(run->din[0], row), row_floats(run->out), run->accumulate[0]);
}

static bool gelu_backward(const mlc_run *run)
{
    return !run->dx[0] || mlc_parallel_for(tensor_rows(run->out), backward_row, (void *)run);
}

const mlc_layer_class mlc_layer_gelu = {
    .kind = "gelu",
    .min_inputs = 1,
    .max_inputs = 1,
    .declare = mlc_same_channels,
    .shape = mlc_same_shape,
    .plan = gelu_plan,
    .forward = gelu_forward,
    .backward = gelu_backward,
    .fold = gelu_fold,
    .rewrite = gelu_forward,
};
