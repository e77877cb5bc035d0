/* 3x3 convolutions of stride 1 and padding 1 by Winograd's algorithm, forward and both halves of
 * backward; kernels/winograd.c derives it.
 *
 * Maps are cut into tiles of 4 and 3 pixels (H = 4 a + 3 b), and tiles in raster order into blocks
 * that are a task each: transform the block's input, multiply at each of the 36 points, transform
 * back. Blocks depend on shapes alone, so results do not depend on threads. */
#ifndef MLC_WINOGRAD_H
#define MLC_WINOGRAD_H

#include "layer.h"

/* Whether a map can be cut so and the algorithm is the faster one, a matter of shape alone. It
 * pays sooner in a prediction than in training, and never later. */
bool mlc_winograd_pays(const mlc_tensor *in, const mlc_tensor *out, bool train);

/* Whether a prediction has so few tiles that it reads packed weights. */
bool mlc_winograd_packs(const mlc_tensor *in, const mlc_tensor *out);

/* [MLC_LANES output channels][input channel][tap][output channel]. */
bool mlc_winograd_pack(const mlc_param *weight, size_t in_stride, size_t out_stride, float *taps);

typedef struct {
    const mlc_tensor *in, *out; /* of one n, h and w; their halos are not read */
    const float *x;
    float *y;
    const mlc_param *weight;
    const float *taps; /* as mlc_winograd_pack wrote them, to be read instead; NULL: none */
    bool turned;       /* backward: the weights' taps and channels change sides */
    bool accumulate;
    const mlc_epilogue *epilogue;
    float *scratch;
    size_t workers; /* that the scratch is for */
} mlc_winograd;

/* y = x * weights. Returns false if stopped half way. */
bool mlc_winograd_run(const mlc_winograd *job);
bool mlc_winograd_scratch(const mlc_tensor *in, const mlc_tensor *out, size_t workers,
                          size_t *bytes);

typedef struct {
    const mlc_tensor *in, *dout;
    const float *x, *dy;
    float *dweight; /* (K, C, 3, 3) */
    bool accumulate;
    float *scratch;
    size_t workers;
} mlc_winograd_weights;

bool mlc_winograd_weights_run(const mlc_winograd_weights *job);
bool mlc_winograd_weights_scratch(const mlc_tensor *in, const mlc_tensor *out, size_t workers,
                                  size_t *bytes);

#endif
