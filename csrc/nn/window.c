#include "window.h"

mlc_status mlc_window_shape(const mlc_layer *layer, const mlc_tensor *const *in, bool train,
                            mlc_tensor *out, mlc_error *error)
{
    const mlc_options *o = &layer->options;
    size_t h = in[0]->h + 2 * o->padding, w = in[0]->w + 2 * o->padding;
    bool named = layer->class->weight;
    (void)train;
    if (h < o->kernel || w < o->kernel) /* so there is less padding than kernel */
        return mlc_fail(error, MLC_VALUE,
                        "Net: the input of layer %zu (%s%s%s) must be at least %zu pixels on each "
                        "side, got %zu x %zu",
                        layer->index, layer->class->kind, named ? " " : "",
                        named ? layer->name : "", o->kernel - 2 * o->padding, in[0]->h, in[0]->w);
    *out = (mlc_tensor){.n = in[0]->n,
                        .h = (h - o->kernel) / o->stride + 1,
                        .w = (w - o->kernel) / o->stride + 1,
                        .c = layer->out_channels};
    return MLC_OK;
}
