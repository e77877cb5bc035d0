/* ReLU and dropout, where they are not part of a batch norm. A task is one row of one image. */
#include "layer.h"

static size_t row_floats(const mlc_tensor *t) { return t->w * t->stride; }

/* --- relu ------------------------------------------------------------------------------------ */

static bool relu_plan(const mlc_layer *layer, const mlc_tensor *const *in, const mlc_tensor *out,
                      mlc_needs *needs)
{
    (void)layer, (void)in, (void)out;
    needs->keeps_output = true;
    return true;
}

static void relu_row(void *context, size_t row)
{
    const mlc_run *run = context;
    mlc_kernel->relu(run->x[0] + tensor_row_at(run->in[0], row),
                     run->y + tensor_row_at(run->out, row), row_floats(run->out));
}

static void relu_row_backward(void *context, size_t row)
{
    const mlc_run *run = context;
    mlc_kernel->relu_backward(
        run->y + tensor_row_at(run->out, row), run->dy + tensor_row_at(run->dout, row),
        run->dx[0] + tensor_row_at(run->din[0], row), row_floats(run->out), run->accumulate[0]);
}

static bool relu_forward(const mlc_run *run)
{
    return mlc_parallel_for(tensor_rows(run->out), relu_row, (void *)run);
}

static bool relu_backward(const mlc_run *run)
{
    return !run->dx[0] || mlc_parallel_for(tensor_rows(run->out), relu_row_backward, (void *)run);
}

const mlc_layer_class mlc_layer_relu = {
    .kind = "relu",
    .min_inputs = 1,
    .max_inputs = 1,
    .declare = mlc_same_channels,
    .shape = mlc_same_shape,
    .plan = relu_plan,
    .forward = relu_forward,
    .backward = relu_backward,
};

/* --- dropout --------------------------------------------------------------------------------- */

static mlc_status dropout_declare(mlc_layer *layer, mlc_error *error)
{
    if (!(layer->options.p >= 0 && layer->options.p < 1))
        return mlc_fail(error, MLC_VALUE, "Net: layer %zu (dropout) must have p in [0, 1), got %g",
                        layer->index, layer->options.p);
    return mlc_same_channels(layer, error);
}

static bool dropout_plan(const mlc_layer *layer, const mlc_tensor *const *in, const mlc_tensor *out,
                         mlc_needs *needs)
{
    (void)layer, (void)in, (void)out, (void)needs;
    return true;
}

/* The key of a row is its image's: position in the epoch, and the layer (and line) as operation, so
 * the mask of a photo does not depend on the batch it comes in. */
static mlc_key row_key(const mlc_run *run, size_t row)
{
    mlc_key key = run->key;
    key.position += (uint32_t)(row / run->out->h);
    key.operation =
        (0x10000u + (uint32_t)run->layer->index) ^ ((uint32_t)(row % run->out->h) << 20);
    return key;
}

static void dropout_row(void *context, size_t row)
{
    const mlc_run *run = context;
    const float *x = run->x[0] + tensor_row_at(run->in[0], row);
    float *y = run->y + tensor_row_at(run->out, row);
    if (run->train)
        mlc_kernel->dropout(x, y, row_floats(run->out), row_key(run, row),
                            (float)run->layer->options.p, false);
    else
        memcpy(y, x, row_floats(run->out) * sizeof *y);
}

static void dropout_row_backward(void *context, size_t row)
{
    const mlc_run *run = context;
    mlc_kernel->dropout(run->dy + tensor_row_at(run->dout, row),
                        run->dx[0] + tensor_row_at(run->din[0], row), row_floats(run->out),
                        row_key(run, row), (float)run->layer->options.p, run->accumulate[0]);
}

static bool dropout_forward(const mlc_run *run)
{
    return mlc_parallel_for(tensor_rows(run->out), dropout_row, (void *)run);
}

static bool dropout_backward(const mlc_run *run)
{
    return !run->dx[0] ||
           mlc_parallel_for(tensor_rows(run->out), dropout_row_backward, (void *)run);
}

const mlc_layer_class mlc_layer_dropout = {
    .kind = "dropout",
    .min_inputs = 1,
    .max_inputs = 1,
    .declare = dropout_declare,
    .shape = mlc_same_shape,
    .plan = dropout_plan,
    .forward = dropout_forward,
    .backward = dropout_backward,
};
