/* Windows of options.kernel pixels that a layer moves over its input. */
#ifndef MLC_WINDOW_H
#define MLC_WINDOW_H

#include "layer.h"

/* The shape of the output, of layer->out_channels; MLC_VALUE where no window has room. */
mlc_status mlc_window_shape(const mlc_layer *layer, const mlc_tensor *const *in, bool train,
                            mlc_tensor *out, mlc_error *error);

#endif
