/* What the two ways forward share, by blocks (winograd.c) and for few tiles (wino_few.c): U, the
 * transformed weights, the product with it, and the output's transform. */
#ifndef MLC_WINO_FORWARD_H
#define MLC_WINO_FORWARD_H

#include "epilogue.h"
#include "wino_tiles.h"
#include "winograd.h"

enum {
    MLC_WINO_SEGMENT = 32, /* of the sums over channels, where nearly all of the rounding is */
    MLC_WINO_FEW = 256     /* tiles: predictions of no more read packed weights */
};

typedef struct {
    const mlc_winograd *job;
    const mlc_tensor *grid; /* of the convolution's outputs */
    mlc_wino_reader reader;
    mlc_wino_layout v, m;
    mlc_moments moments;
    float *zero, *work; /* a pixel of zeros; a memory of work_floats for each worker */
    size_t tiles, work_floats;
} mlc_wino_forward;

/* All but the memory, for blocks of up to `tiles` tiles. */
mlc_wino_forward mlc_wino_forward_of(const mlc_winograd *job, size_t tiles);
const mlc_tensor *mlc_wino_grid(const mlc_winograd *job);

/* U is [point][panel][input channel][tile_columns]; the floats from a point to the next. */
size_t mlc_wino_u_point(size_t depth, size_t columns);
/* Taps of one input channel, [tap][MLC_LANES], into U: channel d of `depth`, columns from k on. */
void mlc_wino_put_weights(size_t stride, const float *taps, size_t d, size_t k, size_t depth,
                          size_t columns, float *u);
/* The taps of MLC_LANES input channels from d on and as many output channels from k on, as the
 * product has them; zeros beyond the real ones. */
void mlc_wino_load_taps(const mlc_param *weight, bool turned, size_t d, size_t k,
                        float taps[][9][MLC_LANES]);
/* Where the packed taps of input channel d and output channels [k, k + MLC_LANES) are. */
static inline size_t mlc_wino_taps_at(size_t depth, size_t d, size_t k)
{
    return (k * depth + d * MLC_LANES) * 9;
}

/* A product for one point and one panel: `lines` lines of V, `width` floats apart, and as many of
 * M, MLC_WINO_BLOCK apart; the rest as in mlc_tile. */
typedef struct {
    const float *v;
    float *m;
    size_t lines, width, columns;
    const ptrdiff_t *offset;
    size_t taps, run;
    const float *weights;
    bool accumulate;
    const float *next, *stop; /* fetched for later, and then what `rest` has */
    mlc_wino_later *rest;
} mlc_wino_product;

void mlc_wino_multiply(const mlc_wino_product *product);
/* Register tiles of so many lines. */
size_t mlc_wino_groups(size_t lines);

/* What becomes of the job's outputs: MLC_WINO_... */
int mlc_wino_then(const mlc_winograd *job);
/* Outputs of a block, channels of the blocks [first, last); `chunk` of the moments. */
void mlc_wino_outputs(const mlc_wino_forward *f, const mlc_wino_block *block, size_t chunk,
                      const float *m, size_t first, size_t last);

bool mlc_wino_few_run(const mlc_winograd *job);
bool mlc_wino_few_scratch(const mlc_winograd *job, size_t *bytes);

#endif
