/* 3x3 convolutions of stride 1 and 2 and padding 1 by Winograd's algorithm, forward and both halves
 * of backward; kernels/winograd.c derives it, wino_tiles.h cuts maps into blocks of tiles.
 *
 * A block is a task: transform its input, multiply at each of the 36 points, transform back. Blocks
 * depend on shapes alone, so results do not depend on threads. */
#ifndef MLC_WINOGRAD_H
#define MLC_WINOGRAD_H

#include "layer.h"

/* Whether the map `out` of a convolution of `in` can be cut so and the algorithm is the faster one,
 * a matter of shape alone. It pays sooner in a prediction than in training, and never later. */
bool mlc_winograd_pays(const mlc_tensor *in, const mlc_tensor *out, size_t stride, bool train);

/* Whether a prediction has so few tiles that it reads packed weights. */
bool mlc_winograd_packs(const mlc_tensor *out);

/* [MLC_LANES output channels][input channel][tap][output channel]. */
bool mlc_winograd_pack(const mlc_param *weight, size_t in_stride, size_t out_stride, float *taps);

typedef struct {
    size_t stride;
    const mlc_tensor *in, *out; /* their halos are not read */
    const float *x;
    float *y;
    const mlc_param *weight;
    const float *taps; /* as mlc_winograd_pack wrote them, to be read instead; NULL: none */
    bool turned; /* backward: y is the gradient of what the convolution read, x of its output */
    bool accumulate;
    const mlc_epilogue *epilogue; /* forward only */
    float *scratch;
    size_t workers; /* that the scratch is for */
} mlc_winograd;

/* y = x * weights. Returns false if stopped half way. */
bool mlc_winograd_run(const mlc_winograd *job);
/* Of a job's stride, in, out, turned and workers. */
bool mlc_winograd_scratch(const mlc_winograd *job, size_t *bytes);

typedef struct {
    size_t stride;
    const mlc_tensor *in, *dout;
    const float *x, *dy;
    float *dweight; /* (K, C, 3, 3) */
    bool accumulate;
    float *scratch;
    size_t workers;
} mlc_winograd_weights;

bool mlc_winograd_weights_run(const mlc_winograd_weights *job);
/* Of a job's stride, in, dout and workers. */
bool mlc_winograd_weights_scratch(const mlc_winograd_weights *job, size_t *bytes);

#endif
