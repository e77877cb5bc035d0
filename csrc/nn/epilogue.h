/* What happens to a convolution's output while it is in the cache, and the moments of channels.
 *
 * Moments come from float sums over chunks of pixels, each around the chunk's own first pixel, so
 * that the squares stay small; chunks are fixed by shape, may be filled by different threads, and
 * are merged in double in their order: the same bits for any number of threads. */
#ifndef MLC_EPILOGUE_H
#define MLC_EPILOGUE_H

#include "layer.h"

typedef struct {
    size_t chunks, stride;
    size_t *pixels; /* of each chunk */
    float *sums;    /* [chunk][shift, sum, square][stride] */
} mlc_moments;

/* Bytes of scratch for them; false on overflow. */
bool mlc_moments_bytes(size_t chunks, size_t stride, size_t *bytes);
mlc_moments mlc_moments_in(void *scratch, size_t chunks, size_t stride);

/* Every chunk is begun once, with its first pixel, by the thread that then adds its pixels. */
void mlc_moments_begin(const mlc_moments *moments, size_t chunk, const float *first);
/* Pixels one after another, `stride` floats each. */
void mlc_moments_add(const mlc_moments *moments, size_t chunk, const float *x, size_t pixels);
/* Mean and biased variance of each channel, from all chunks. */
void mlc_moments_merge(const mlc_moments *moments, size_t channels, double *mean, double *variance);

/* y = act(x) of pixels one after another of a tensor like t; channels that it does not have stay
 * zero, which a sigmoid of them would not. y may be x. */
void mlc_activate(mlc_activation act, const mlc_tensor *t, const float *x, float *y, size_t pixels);

/* An epilogue at work on the tensor `out` at y. */
typedef struct {
    const mlc_epilogue *epilogue;
    mlc_moments moments; /* if the epilogue wants mean and variance */
    const mlc_tensor *out;
    float *y;
} mlc_finish;

/* The chunk's pixels [first, first + count) have been computed; counted image by image, row by row.
 */
void mlc_finish_chunk(const mlc_finish *finish, size_t chunk, size_t first, size_t count);
/* All of them have. */
void mlc_finish_all(const mlc_finish *finish);

#endif
