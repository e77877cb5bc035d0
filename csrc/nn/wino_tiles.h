/* How Winograd's algorithm cuts a map into tiles, and where their transforms lie.
 *
 * The grid is the smaller map of a convolution, its output. Its axes are cut into tiles of 4 and 3
 * pixels (H = 4 a + 3 b), and tiles in raster order into blocks. A point has a matrix whose lines
 * are the block's tiles (for stride 2, some points have a line for each row, column or pixel of a
 * tile); a transformed block is [channels / width][point][line][width]. */
#ifndef MLC_WINO_TILES_H
#define MLC_WINO_TILES_H

#include "layer.h"

enum {
    MLC_WINO_TILES = 256, /* of a block at most */
    MLC_WINO_PAD = 16     /* floats between points: without, all 36 fall into one cache set */
};

typedef struct {
    size_t n, y, x, rows, cols; /* its pixels on the grid */
    size_t line[4];             /* its first, in the matrices of each of four kinds of points */
} mlc_wino_tile;

/* Tiles are sorted so that those that have a point are one range. */
typedef struct {
    mlc_wino_tile tile[MLC_WINO_TILES];
    size_t count;
    size_t from[MLC_WINO_POINTS], to[MLC_WINO_POINTS]; /* lines of each point */
} mlc_wino_block;

typedef struct {
    size_t stride, width;
    size_t point[MLC_WINO_POINTS]; /* floats to a point's first line */
    size_t chunk;                  /* floats from `width` channels to the next */
} mlc_wino_layout;

/* Which pixels a transform reads: those from `scale` times a tile's first pixel less `before` on,
 * `scale` a pixel of the tile and `more`. */
typedef struct {
    void (*kernel)(const mlc_wino_in *tile);
    size_t scale, before, more;
} mlc_wino_reader;

bool mlc_wino_can_cut(const mlc_tensor *grid);
size_t mlc_wino_tile_count(const mlc_tensor *grid);
/* Tiles [first, first + count) of the grid, as many as there are. */
void mlc_wino_make_block(const mlc_tensor *grid, size_t stride, size_t first, size_t count,
                         mlc_wino_block *block);

/* Of blocks of up to `tiles` tiles. */
mlc_wino_layout mlc_wino_layout_of(size_t stride, size_t tiles, size_t width);

/* Floats to each line of a tile, MLC_WINO_LINES a row, from `shift` floats after the block's
 * beginning; and how much farther those of the next tile are, if it has as many rows and columns.
 */
typedef struct {
    size_t rows, cols, shift;
    size_t at[MLC_WINO_LINES * MLC_WINO_LINES], step[MLC_WINO_LINES * MLC_WINO_LINES];
} mlc_wino_lines;

/* Those of a tile, from those of the tile before it in the block or from zeros. */
void mlc_wino_lines_next(const mlc_wino_layout *layout, const mlc_wino_tile *tile,
                         mlc_wino_lines *lines);

mlc_wino_reader mlc_wino_input(size_t stride, bool turned);
mlc_wino_reader mlc_wino_gradient(size_t stride);
/* Transform tiles [from, to) of a block; zeros, a pixel of them, stand for pixels outside t. */
void mlc_wino_read(const mlc_wino_reader *reader, const mlc_tensor *t, const float *x,
                   const float *zero, const mlc_wino_block *block, size_t from, size_t to,
                   const mlc_wino_layout *layout, float *v);

/* What the products of a block fetch ahead for the next one, spread over them: two runs of memory,
 * one after the other. */
typedef struct {
    const float *at, *end, *then, *then_end;
    size_t step, credit; /* floats that each product has earned, and that are not used yet */
} mlc_wino_later;

/* The place of the next `steps` cache lines, or NULL. */
const float *mlc_wino_fetch(mlc_wino_later *later, size_t steps);
/* Share `index` of `parts` of a tensor: about what block `index` reads. */
void mlc_wino_share(const mlc_tensor *t, const float *x, size_t index, size_t parts,
                    const float **at, const float **end);

static inline size_t mlc_wino_blocks(size_t channels)
{
    return (channels + MLC_WINO_BLOCK - 1) / MLC_WINO_BLOCK;
}

/* The channels of a block of V: the most that divide them. */
static inline size_t mlc_wino_width(size_t channels)
{
    size_t width = MLC_WINO_BLOCK;
    while (channels % width) width -= MLC_LANES;
    return width;
}

#endif
