#include "bias.h"

#include "chunks.h"

void mlc_bias_declare(mlc_layer *layer)
{
    if (layer->bias) layer->bias->ndim = 1, layer->bias->dims[0] = layer->out_channels;
}

bool mlc_bias_scratch(const mlc_tensor *out, size_t *bytes)
{
    return mlc_chunk_sums_bytes(out, 1, bytes);
}

static void sums_task(void *context, size_t chunk)
{
    const mlc_run *run = context;
    const mlc_tensor *dout = run->dout;
    float *sum = mlc_chunk_sums(run->scratch, dout, 1, chunk);
    size_t end = mlc_chunk_end(dout, chunk);
    for (size_t r = mlc_chunk_first(dout, chunk); r < end; r++)
        mlc_kernel->sum_pixels(run->dy + tensor_row_at(dout, r), dout->w, dout->stride, sum);
}

bool mlc_bias_backward(const mlc_run *run)
{
    mlc_param *bias = run->layer->bias;
    if (!bias || !bias->trainable) return true;
    if (!mlc_parallel_for(mlc_chunks(run->dout), sums_task, (void *)run)) return false;
    mlc_chunk_grad(run, run->dout, 1, 0, bias);
    return true;
}
