/* A number for each output channel that a layer adds to all pixels. */
#ifndef MLC_BIAS_H
#define MLC_BIAS_H

#include "layer.h"

/* The shape of a layer's bias, if it has one. */
void mlc_bias_declare(mlc_layer *layer);

/* Bytes of scratch_back for its gradient where the layer writes `out`; false on overflow. */
bool mlc_bias_scratch(const mlc_tensor *out, size_t *bytes);

/* The gradient of the layer's bias, if it is trained: dy summed over all pixels. False if stopped
 * half way. */
bool mlc_bias_backward(const mlc_run *run);

#endif
