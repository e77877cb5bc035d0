/* A table of kernels for each instruction set. Kernels are pure: one thread, no allocation, no
 * error, no aliasing between an input and an output unless the contract allows it. */
#ifndef MLC_KERNELS_H
#define MLC_KERNELS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "../base/rank.h"
#include "../base/rng.h"

/* Channels of every image and gradient of the engine are padded with zeros to a multiple of this,
 * the widest vector, so that channel loops have no tails. */
enum { MLC_LANES = 16 };

/* What may follow a sum; see kernels/activations.c. */
typedef enum {
    MLC_IDENTITY,
    MLC_RELU,
    MLC_SIGMOID,
    MLC_SILU,
    MLC_HARDSIGMOID,
    MLC_HARDSWISH,
    MLC_GELU,
    MLC_ACTIVATIONS
} mlc_activation;

/* A loss of (rows, labels) matrices; see kernels/losses.c. */
typedef struct {
    const float *logits, *targets;
    const float *weight, *pos_weight; /* NULL: ones */
    size_t labels;
    size_t weight_stride, pos_weight_stride; /* 0: one row for all */
    float smoothing;
    bool missing;                     /* NaN targets are left out */
    float gamma_neg, gamma_pos, clip; /* of the asymmetric loss */
    float scale;                      /* of the gradient */
    float *loss, *grad;               /* NULL: not wanted */
} mlc_loss;

/* Thresholds by rank, and where to look for them; see kernels/counts.c. */
enum { MLC_GRID_BITS = 16 };
typedef struct {
    const uint32_t *ranks; /* `count` that ascend, then `step` times UINT32_MAX */
    const uint32_t *first; /* by the upper MLC_GRID_BITS of a rank: how many thresholds have less */
    size_t count, step;    /* 0 or a power of 2: fewer than 2 * step have the same upper bits */
} mlc_grid;

/* Scores to count between, by rank, and where to look for them; see kernels/counts.c. A cell never
 * falls as the score rises: difference, product with a positive number, sum and cut to a whole
 * number all keep the order. What is below `lowest` is in cell 0, but for rounding. */
typedef struct {
    const uint32_t *ranks; /* `count` that ascend, then 2 * `step` times UINT32_MAX */
    const uint32_t *cells; /* twice how many ranks lie in lower ones, and 1 if some lie in this */
    size_t count, step;    /* a power of 2: fewer than 2 * step ranks lie in one cell */
    float lowest, scale, last; /* finite; scale is above 0 */
} mlc_marks;

static inline uint32_t mlc_mark_cell(const mlc_marks *marks, float score)
{
    float cell = (score - marks->lowest) * marks->scale + 1;
    cell = cell > 0 ? cell : 0;
    return (uint32_t)(int32_t)(cell < marks->last ? cell : marks->last);
}

/* Where a label of a row stands: how many labels have a higher score, how many one at least as
 * high, and how many of the latter are there; see row_places in kernels/sort.c. */
typedef struct {
    uint32_t above, reached, found;
} mlc_place;

/* out[i][0..columns) = sum over t < taps, k < run of in[i][offset[t] + k] * weights[t][k][0..),
 * for each of `rows` <= tile_rows pixels; `weights` holds tile_columns floats a step. */
typedef struct {
    const float *const *in;
    float *const *out;
    size_t rows, columns;
    const ptrdiff_t *offset;
    size_t taps, run;
    const float *weights;
    const float *start; /* `columns` floats that every sum starts from; NULL: zeros */
    size_t segment;     /* steps between two stores of the sums, at least 1 */
    bool accumulate;    /* add to out instead of writing it */
    size_t ahead;       /* the next call's rows: floats from in[0]; fetched into the L1 cache */
    const float *later; /* what a later call reads, fetched into the L2 cache; NULL: nothing */
} mlc_tile;

/* The same of one tap, of rows of bfloat16 and with weights of it: of each two steps
 * [tile_columns][2]; `run` and `segment` are even. Sums are float32. */
typedef struct {
    const uint16_t *in;
    size_t in_step;
    float *const *out;
    size_t rows, columns, run;
    const uint16_t *weights;
    const float *start;
    size_t segment;
    bool accumulate;
} mlc_dots;

/* out[i][0..columns) (+)= sum over segments s, pixels p of
 * a[s][p * a_step + i] * b[s][p * b_step + 0..columns), for i < rows <= tile_rows. */
typedef struct {
    const float *const *a, *const *b;
    size_t segments, pixels;
    size_t a_step, b_step;
    size_t rows, columns;
    float *out;
    size_t out_step;
    bool accumulate;
    const float *later; /* as of mlc_tile */
} mlc_outer;

/* A row of a depthwise convolution, and what a row of its gradient says of the weights; see
 * kernels/depthwise.c. Pixels of `in`, x and dy are `channels` floats apart; `step` is 1 or 2. */
typedef struct {
    const float *in;
    size_t in_row, rows, cols, step; /* in_row: floats from a row to the next */
    const float *weights;            /* [rows][cols][channels] */
    const float *bias;               /* NULL: none */
    size_t pixels, channels;
    float *out;
    size_t out_step; /* floats from a pixel to the next */
    bool accumulate; /* add to out instead of writing it */
} mlc_depthwise;

typedef struct {
    const float *x, *dy;
    size_t x_row, cols, step;
    size_t pixels, channels;
    float *dweights, *dbias; /* [cols][cols][channels]; [channels], NULL: not wanted */
} mlc_depthwise_weights;

/* Winograd's transforms; see kernels/winograd.c. Channels of transformed tiles come in blocks. */
enum { MLC_WINO_POINTS = 36, MLC_WINO_LINES = 9, MLC_WINO_BLOCK = 64 };

/* One tile into its lines: channel c of line (i, j) to v[c / width * block + c % width + to]. */
typedef struct {
    const float *const *pixel; /* the tile's pixels, MLC_WINO_LINES addresses a row */
    const size_t *to;          /* floats from v to each line, MLC_WINO_LINES a row */
    size_t rows, cols;         /* outputs of the tile: 3 or 4 along each axis */
    size_t channels, width;    /* multiples of MLC_LANES */
    float *v;
    size_t block;
    size_t ahead; /* the next tile's pixels: floats from these; fetched into the L1 cache */
} mlc_wino_in;

/* What becomes of the outputs: stored, added to y, stored and summed, normalized and stored. */
enum { MLC_WINO_STORE, MLC_WINO_ADD, MLC_WINO_SUMS, MLC_WINO_NORM };

/* The lines of one tile into its pixels; blocks are of MLC_WINO_BLOCK channels. */
typedef struct {
    const float *m;
    const size_t *from; /* floats from m to each line, MLC_WINO_LINES a row */
    size_t block, rows, cols, channels;
    float *y;
    size_t row, pixel; /* steps of y in floats */
    size_t high, wide; /* wino_s2_back_output: pixels that are there, of 2 rows by 2 cols */
    bool stream;       /* y need not stay in the cache; it is aligned to MLC_LANES floats */
    int then;
    float *origin, *sum, *square;          /* SUMS: sums of y - origin and its square; */
    bool first;                            /* the first tile makes its first pixel the origin */
    const float *scale, *shift, *residual; /* NORM: y scale + shift + residual, or without */
    size_t residual_row, residual_pixel;
    bool relu;
} mlc_wino_out;

/* Batch norm backward over a row of pixels; see kernels/batchnorm.c. dz is the gradient before the
 * activation: dy where y > 0 if y is given, else dy times the slope of act at scale x + shift. x is
 * a row of floats, or one of bf16 where `copy` is given. */
typedef struct {
    const float *x, *dy, *y, *scale, *shift;
    const uint16_t *copy;
    size_t pixels, channels;
    const float *mean, *inverse; /* for the sums */
    const float *a, *b, *c;      /* for the rest */
    float *dx, *residual;        /* NULL: not wanted */
    int add, add_residual;       /* add to dx, to residual, instead of writing it */
    int stream; /* dx and residual need not stay in the cache; aligned to MLC_LANES floats */
    int act;    /* mlc_activation; not with y */
} mlc_norm_backward;

/* Layer norm over the channels of pixels, and its backward; see kernels/layernorm.c. */
typedef struct {
    const float *x, *weight, *bias;
    size_t pixels, stride, channels; /* stride: a multiple of MLC_LANES less than those more */
    float eps;
    float *mean, *inverse; /* of each pixel; forward writes them, backward reads them */
    float *y;              /* forward */
    const float *dy;       /* backward, and so the rest */
    float *dx;             /* NULL: not wanted */
    float *dweight, *dbias;
    int add; /* add to dx instead of writing it */
} mlc_layer_norm;

/* Backward of a scale of each channel and a residual; see kernels/layerscale.c. */
typedef struct {
    const float *x, *dy, *scale;
    size_t pixels, channels;
    float *dx, *residual;  /* NULL: not wanted */
    int add, add_residual; /* add to dx, to residual, instead of writing it */
} mlc_layerscale;

/* Backward of scale_pixels over a row; see kernels/scale.c. */
typedef struct {
    const float *x, *dy, *factor;
    size_t pixels, channels;
    float *dx, *dfactor; /* NULL: not wanted */
    bool add;            /* add to dx instead of writing it */
} mlc_scale_backward;

/* norm_apply of rows where each of x and residual is floats or a copy in bf16. */
typedef struct {
    const float *x, *residual;
    const uint16_t *x_copy, *residual_copy; /* instead of x, of residual; NULL: none */
    size_t pixels, channels;
    const float *scale, *shift;
    int act, stream; /* mlc_activation */
    float *y;
} mlc_norm_rewrite;

/* One Adam update; see kernels/optim.c. */
typedef struct {
    float keep; /* 1 - lr * wd, or 1 */
    float mom, sqr_mom, eps;
    float rate;   /* lr / (1 - mom^step) */
    float debias; /* 1 / (1 - sqr_mom^step) */
} mlc_adam;

/* One update of stochastic gradient descent with momentum, and one of Lion. */
typedef struct {
    float keep; /* 1 - lr * wd, or 1 */
    float mom, rate;
} mlc_sgd;

typedef struct {
    float keep; /* 1 - lr * wd, or 1 */
    float mom, late_mom, rate;
} mlc_lion;

/* What lies outside of an image. */
typedef enum {
    MLC_REFLECT, /* the image, reflected at its first and last pixels */
    MLC_CLAMP,   /* the nearest pixel of the border */
    MLC_ZEROS,   /* black */
} mlc_border;

/* A resampling of a photo; see warp_row in kernels/pixels.c. */
typedef struct {
    const uint8_t *image; /* (height, width, 3); height, width of 1 to 2^24 */
    size_t height, width;
    const double *map; /* output to input pixels, a row-major 3x3 matrix */
    size_t out_width;
    int border;   /* mlc_border */
    float margin; /* 0: reflected at the centers of the border pixels, 0.5: at their edges */
    bool nearest; /* the nearest pixel instead of a blend of four */
} mlc_warp;

typedef struct {
    const char *isa;
    size_t lanes, tile_rows, tile_columns;
#define KERNEL(name, parameters) void(*name) parameters;
#include "kernels.def"
#undef KERNEL
} mlc_kernels;

#endif
