#include "wino_tiles.h"

enum { POINTS = MLC_WINO_POINTS, LINES = MLC_WINO_LINES, SPLIT = 5 };

/* --- cutting --------------------------------------------------------------------------------- */

static bool can_cut(size_t size) { return size >= 3 && size != 5; }
static size_t threes(size_t size) { return (4 - size % 4) % 4; }
static size_t cuts(size_t size) { return (size - 3 * threes(size)) / 4 + threes(size); }

bool mlc_wino_can_cut(const mlc_tensor *grid) { return can_cut(grid->h) && can_cut(grid->w); }

size_t mlc_wino_tile_count(const mlc_tensor *grid)
{
    return grid->n * cuts(grid->h) * cuts(grid->w);
}

/* Cut i of an axis, fours first. */
static void cut(size_t size, size_t i, size_t *first, size_t *pixels)
{
    size_t fours = cuts(size) - threes(size);
    *first = i < fours ? 4 * i : 4 * fours + 3 * (i - fours);
    *pixels = i < fours ? 4 : 3;
}

static mlc_wino_tile tile_at(const mlc_tensor *grid, size_t index)
{
    size_t wide = cuts(grid->w), high = cuts(grid->h);
    mlc_wino_tile at = {.n = index / wide / high};
    cut(grid->h, index / wide % high, &at.y, &at.rows);
    cut(grid->w, index % wide, &at.x, &at.cols);
    return at;
}

/* --- points ---------------------------------------------------------------------------------- */

/* For stride 2 the last point of an axis, SPLIT, has a line for each pixel of the tile. Kinds of
 * points: split along neither axis, along the columns, along the rows, along both. */
static size_t kind_of(size_t stride, size_t p)
{
    return stride == 1 ? 0 : 2 * (p / 6 == SPLIT) + (p % 6 == SPLIT);
}

static size_t lines_of(size_t kind, size_t rows, size_t cols)
{
    return (kind & 2 ? rows : 1) * (kind & 1 ? cols : 1);
}

/* The point that tiles of three lack along an axis. */
static size_t lacking(size_t stride) { return stride == 1 ? 5 : 4; }

/* --- blocks ---------------------------------------------------------------------------------- */

/* Order: 4 x 3, 4 x 4, 3 x 4, 3 x 3. Then the second and third have the points that narrow tiles
 * lack, the first two those that low ones lack. */
static size_t order(const mlc_wino_tile *t)
{
    return t->rows == 4 ? t->cols == 4 : 2 + (t->cols == 3);
}

static void count_lines(mlc_wino_block *b, size_t ends[4])
{
    for (size_t kind = 0; kind < 4; kind++) {
        size_t line = 0;
        for (size_t i = 0; i < b->count; i++) {
            b->tile[i].line[kind] = line;
            line += lines_of(kind, b->tile[i].rows, b->tile[i].cols);
        }
        ends[kind] = line;
    }
}

void mlc_wino_make_block(const mlc_tensor *grid, size_t stride, size_t first, size_t count,
                         mlc_wino_block *b)
{
    size_t all = mlc_wino_tile_count(grid), at[5] = {0}, ends[4];
    b->count = all - first < count ? all - first : count;
    for (size_t i = 0; i < b->count; i++) {
        mlc_wino_tile one = tile_at(grid, first + i);
        at[order(&one) + 1]++;
    }
    for (size_t k = 1; k < 5; k++) at[k] += at[k - 1];
    size_t wide_from = at[1], high_to = at[2], wide_to = at[3];
    for (size_t i = 0; i < b->count; i++) {
        mlc_wino_tile one = tile_at(grid, first + i);
        b->tile[at[order(&one)]++] = one;
    }
    count_lines(b, ends);
    for (size_t p = 0; p < POINTS; p++) {
        bool high = p / 6 == lacking(stride), wide = p % 6 == lacking(stride);
        size_t kind = kind_of(stride, p), to = high ? high_to : wide ? wide_to : b->count;
        size_t from = !wide ? 0 : wide_from < to ? wide_from : to;
        b->from[p] = from < b->count ? b->tile[from].line[kind] : ends[kind];
        b->to[p] = to < b->count ? b->tile[to].line[kind] : ends[kind];
    }
}

/* --- layouts --------------------------------------------------------------------------------- */

mlc_wino_layout mlc_wino_layout_of(size_t stride, size_t tiles, size_t width)
{
    mlc_wino_layout layout = {.stride = stride, .width = width};
    for (size_t p = 0; p < POINTS; p++) {
        layout.point[p] = layout.chunk;
        layout.chunk += tiles * lines_of(kind_of(stride, p), 4, 4) * width + MLC_WINO_PAD;
    }
    return layout;
}

/* The point of line i of a tile of n pixels along an axis, and which line of it that is. */
static size_t point_of(size_t stride, size_t n, size_t i, size_t *line)
{
    size_t single = n + 3 - stride;
    *line = i < single ? 0 : i - single;
    return i < single ? i : SPLIT;
}

static void make_lines(const mlc_wino_layout *layout, const mlc_wino_tile *tile,
                       mlc_wino_lines *lines)
{
    size_t stride = layout->stride, point[LINES], line[LINES];
    size_t high = stride * tile->rows + 3 - stride, wide = stride * tile->cols + 3 - stride;
    for (size_t j = 0; j < wide; j++) point[j] = point_of(stride, tile->cols, j, &line[j]);
    for (size_t i = 0; i < high; i++) {
        size_t down, p = 6 * point_of(stride, tile->rows, i, &down);
        for (size_t j = 0; j < wide; j++) {
            size_t kind = kind_of(stride, p + point[j]);
            size_t at = tile->line[kind] + down * (kind & 1 ? tile->cols : 1) + line[j];
            lines->at[LINES * i + j] = layout->point[p + point[j]] + at * layout->width;
            lines->step[LINES * i + j] = lines_of(kind, tile->rows, tile->cols) * layout->width;
        }
    }
    lines->rows = tile->rows, lines->cols = tile->cols, lines->shift = 0;
}

void mlc_wino_lines_next(const mlc_wino_layout *layout, const mlc_wino_tile *tile,
                         mlc_wino_lines *lines)
{
    if (tile->rows != lines->rows || tile->cols != lines->cols) {
        make_lines(layout, tile, lines);
        return;
    }
    if (layout->stride == 1)
        lines->shift += layout->width; /* all have one line a tile */
    else
        for (size_t i = 0; i < LINES * LINES; i++) lines->at[i] += lines->step[i];
}

/* --- reading --------------------------------------------------------------------------------- */

mlc_wino_reader mlc_wino_input(size_t stride, bool turned)
{
    if (stride == 1) return (mlc_wino_reader){mlc_kernel->wino_input, 1, 1, 2};
    if (turned) return (mlc_wino_reader){mlc_kernel->wino_s2_back_input, 1, 0, 1};
    return (mlc_wino_reader){mlc_kernel->wino_s2_input, 2, 1, 1};
}

mlc_wino_reader mlc_wino_gradient(size_t stride)
{
    if (stride == 1) return (mlc_wino_reader){mlc_kernel->wino_gradient, 1, 0, 0};
    return (mlc_wino_reader){mlc_kernel->wino_s2_gradient, 1, 0, 0};
}

/* Addresses of the pixels that a tile reads. */
static void pixels_of(const mlc_wino_reader *r, const mlc_tensor *t, const float *x,
                      const float *zero, const mlc_wino_tile *tile, const float **pixel)
{
    size_t high = r->scale * tile->rows + r->more, wide = r->scale * tile->cols + r->more;
    size_t top = r->scale * tile->y, left = r->scale * tile->x; /* `before` too many */
    for (size_t i = 0; i < high; i++) {
        bool inside = top + i >= r->before && top + i < t->h + r->before;
        const float *row = x + (inside ? tensor_at(t, tile->n, top + i - r->before, 0) : 0);
        for (size_t j = 0; j < wide; j++) {
            size_t u = left + j - r->before; /* beyond all widths if before the first */
            pixel[LINES * i + j] = inside && u < t->w ? row + u * t->stride : zero;
        }
    }
}

void mlc_wino_read(const mlc_wino_reader *reader, const mlc_tensor *t, const float *x,
                   const float *zero, const mlc_wino_block *block, size_t from, size_t to,
                   const mlc_wino_layout *layout, float *v)
{
    const float *pixel[LINES * LINES];
    mlc_wino_lines lines = {0};
    for (size_t i = from; i < to; i++) {
        const mlc_wino_tile *tile = &block->tile[i];
        pixels_of(reader, t, x, zero, tile, pixel);
        mlc_wino_lines_next(layout, tile, &lines);
        mlc_wino_in in = {.pixel = pixel,
                          .to = lines.at,
                          .rows = tile->rows,
                          .cols = tile->cols,
                          .channels = t->stride,
                          .width = layout->width,
                          .v = v + lines.shift,
                          .block = layout->chunk,
                          .ahead = reader->scale * tile->cols * t->stride};
        reader->kernel(&in);
    }
}

/* --- fetching ahead -------------------------------------------------------------------------- */

const float *mlc_wino_fetch(mlc_wino_later *l, size_t steps)
{
    size_t floats = steps * 16;
    if (l->at >= l->end) l->at = l->then, l->end = l->then_end, l->then = l->then_end = NULL;
    l->credit += l->step;
    if (l->at >= l->end || l->credit < floats) return NULL;
    const float *at = l->at;
    l->at += floats;
    l->credit -= floats;
    return at;
}

void mlc_wino_share(const mlc_tensor *t, const float *x, size_t index, size_t parts,
                    const float **at, const float **end)
{
    size_t all = t->n * tensor_image(t);
    *at = x + all / parts * index;
    *end = index + 1 < parts ? *at + all / parts : x + all;
}
