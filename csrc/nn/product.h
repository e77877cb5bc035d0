/* A matrix product whose rows are the pixels of a grid: what forward and both halves of backward of
 * every convolution and linear layer come down to.
 *
 *   out(n, y, x)[0..columns) = sum over taps t, k < run of in(n, y, x)[offset[t] + k] * w[t][k][..]
 *
 * Weights are in panels of tile_columns output channels: [panel][tap][run][tile_columns]. Or they
 * are bfloat16, and the input is rounded to that: [panel][run / 2][tile_columns][2] of one tap. */
#ifndef MLC_PRODUCT_H
#define MLC_PRODUCT_H

#include "epilogue.h"

typedef struct {
    size_t image, row, pixel; /* steps in floats */
} mlc_steps;

typedef struct {
    size_t n, h, w;
    const float *in;
    float *out;
    mlc_steps in_steps, out_steps;
    const ptrdiff_t *offset;
    size_t taps, run, columns;
    const float *weights;
    const uint16_t *rounded; /* instead of `weights` */
    const float *start;      /* `columns` floats that every sum starts from; NULL: zeros */
    bool accumulate;
    /* What happens to the input first, of one tap of all its channels, else MLC_IDENTITY. What
     * comes of that, or of rounding, goes to `room`: MLC_PRODUCT_PIXELS x run floats for each of
     * `workers` threads. */
    mlc_activation act;
    float *room;
    size_t workers;
    const mlc_finish *finish; /* of the output, a chunk for each block; NULL: none */
} mlc_product;

enum { MLC_PRODUCTS = 4, MLC_PRODUCT_PIXELS = 84 /* at most, of a task */ };

/* Up to MLC_PRODUCTS that read the same input, side by side; one alone where it has a finish. */
bool mlc_product_run(const mlc_product *products, size_t count);

/* Blocks that a product of so many pixels is cut into. */
size_t mlc_product_blocks(size_t pixels);

/* Bytes of the room that so many threads need for pixels of `run` numbers; false on overflow. */
bool mlc_product_room(size_t run, size_t workers, size_t *bytes);

/* Numbers of packed weights for that many columns. */
size_t mlc_product_weights(size_t taps, size_t run, size_t columns);

#endif
