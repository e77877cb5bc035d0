/* The shape of an image batch inside an arena: NHWC, channels padded with zeros to `stride`, and a
 * border of `halo` zero pixels on each side, so that a window over the edge reads zeros instead of
 * asking where it is. */
#ifndef MLC_TENSOR_H
#define MLC_TENSOR_H

#include <string.h>

#include "../base/arena.h"
#include "../kernels/kernels.h"

typedef struct {
    size_t n, h, w, c;
    size_t stride; /* floats from a pixel to the next */
    size_t halo;
} mlc_tensor;

static inline size_t mlc_padded(size_t channels)
{
    return (channels + MLC_LANES - 1) / MLC_LANES * MLC_LANES;
}

static inline size_t tensor_row(const mlc_tensor *t) { return (t->w + 2 * t->halo) * t->stride; }
static inline size_t tensor_image(const mlc_tensor *t)
{
    return (t->h + 2 * t->halo) * tensor_row(t);
}

/* Offset of pixel (y, x) of image n; y = x = 0 is the first pixel inside the halo. */
static inline size_t tensor_at(const mlc_tensor *t, size_t n, size_t y, size_t x)
{
    return n * tensor_image(t) + (y + t->halo) * tensor_row(t) + (x + t->halo) * t->stride;
}

/* Kernels may read, never write, a tile past the last pixel. */
enum { MLC_SLACK = 4 * MLC_LANES * sizeof(float) };

static inline bool tensor_bytes(const mlc_tensor *t, size_t *bytes)
{
    size_t h, w, floats;
    return mlc_add(t->h, 2 * t->halo, &h) && mlc_add(t->w, 2 * t->halo, &w) &&
           mlc_mul(h, w, &floats) && mlc_mul(floats, t->n, &floats) &&
           mlc_mul(floats, t->stride, &floats) && mlc_mul(floats, sizeof(float), bytes) &&
           mlc_add(*bytes, MLC_SLACK, bytes);
}

/* Whether it does not stay in the cache: who writes it need not pass through that. */
static inline bool tensor_outgrows_cache(const mlc_tensor *t)
{
    enum { CACHE_FLOATS = 8 << 20 };
    return t->n * tensor_image(t) > CACHE_FLOATS;
}

static inline void tensor_clear_halo(const mlc_tensor *t, float *data)
{
    if (!t->halo) return;
    size_t row = tensor_row(t), side = t->halo * t->stride;
    for (size_t n = 0; n < t->n; n++, data += tensor_image(t)) {
        memset(data, 0, t->halo * row * sizeof *data);
        memset(data + (t->h + t->halo) * row, 0, t->halo * row * sizeof *data);
        for (size_t y = t->halo; y < t->h + t->halo; y++) {
            memset(data + y * row, 0, side * sizeof *data);
            memset(data + (y + 1) * row - side, 0, side * sizeof *data);
        }
    }
}

/* Rows are the unit of pointwise work: row r is (image r / h, line r % h). */
static inline size_t tensor_rows(const mlc_tensor *t) { return t->n * t->h; }
static inline size_t tensor_row_at(const mlc_tensor *t, size_t r)
{
    return tensor_at(t, r / t->h, r % t->h, 0);
}

#endif
