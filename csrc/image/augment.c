/* Augmentation of a batch, a task for each band of rows.
 *
 * Coordinates are normalized as torch's grid_sample has it: -1 and 1 are the centers of the first
 * and the last pixel, or with `edges` (align_corners=False) their outer edges. A homography takes
 * output coordinates (x, y, 1) to input ones; kernels get it between pixels. Without one and
 * without a mix of channels, a value depends on its byte and channel only, so 256 values are made
 * and looked up. */
#include "augment.h"

#include <string.h>

#include "../base/threads.h"
#include "../isa/select.h"

enum { BAND_ROWS = 16, CHANNELS = 3 };

typedef struct {
    const mlc_augment *job;
    size_t bands;                                                /* in an image */
    float mean[CHANNELS * MLC_LANES], std[CHANNELS * MLC_LANES]; /* repeated */
    float bytes[256 * CHANNELS];                                 /* each as part of 255 */
} plan;

static size_t min_size(size_t a, size_t b) { return a < b ? a : b; }

/* Light, color and normalize `pixels` RGB triples of image `at`. */
static void finish(const plan *p, size_t at, float *x, size_t pixels)
{
    const mlc_augment *job = p->job;
    size_t n = CHANNELS * pixels;
    if (job->lighting) mlc_kernel->light(x, n, job->lighting[2 * at], job->lighting[2 * at + 1]);
    if (job->tint) mlc_kernel->tint(x, pixels, job->tint + 12 * at);
    if (job->turn) mlc_kernel->turn_hue(x, pixels, job->turn[at]);
    mlc_kernel->normalize(x, n, p->mean, p->std);
}

/* A line of n pixels: normalized v = step pixel + start. The only pixel of a line is at 0, as
 * torch's affine_grid has it. */
static void line_of(size_t n, bool edges, double *step, double *start)
{
    if (edges) {
        *step = 2 / (double)n;
        *start = 1 / (double)n - 1;
    } else {
        *step = n > 1 ? 2 / (double)(n - 1) : 0;
        *start = n > 1 ? -1 : 0;
    }
}

/* map = (normalized -> input pixels) h (output pixels -> normalized), with an input pixel of
 * (v span + last) / 2. */
static void map_between_pixels(const mlc_augment *job, const double *h, double *map)
{
    double step_x, start_x, step_y, start_y;
    double last[2] = {(double)(job->width - 1), (double)(job->height - 1)};
    double rim = job->edges ? 1 : 0;
    line_of(job->out_width, job->edges, &step_x, &start_x);
    line_of(job->out_height, job->edges, &step_y, &start_y);
    for (size_t r = 0; r < 3; r++, h += 3) {
        map[3 * r] = h[0] * step_x;
        map[3 * r + 1] = h[1] * step_y;
        map[3 * r + 2] = h[0] * start_x + h[1] * start_y + h[2];
    }
    for (int r = 0; r < 2; r++)
        for (int k = 0; k < 3; k++)
            map[3 * r + k] = (map[3 * r + k] * (last[r] + rim) + map[6 + k] * last[r]) / 2;
}

static void warp_band(const plan *p, size_t at, size_t first, size_t last)
{
    const mlc_augment *job = p->job;
    size_t row_floats = CHANNELS * job->out_width;
    float *out = job->out + (at * job->out_height + first) * row_floats;
    double map[9];
    mlc_warp warp = {.image = job->images + at * job->height * job->width * CHANNELS,
                     .height = job->height,
                     .width = job->width,
                     .map = map,
                     .out_width = job->out_width,
                     .border = job->border,
                     .margin = job->edges ? 0.5f : 0,
                     .nearest = job->nearest};
    map_between_pixels(job, job->homography + 9 * at, map);
    for (size_t row = first; row < last; row++, out += row_floats) {
        mlc_kernel->warp_row(&warp, row, out);
        finish(p, at, out, job->out_width);
    }
}

static void look_up_band(const plan *p, size_t at, size_t first, size_t last)
{
    const mlc_augment *job = p->job;
    size_t start = (at * job->height + first) * job->width * CHANNELS;
    size_t pixels = (last - first) * job->width;
    bool mixed = job->tint || job->turn;
    float table[256 * CHANNELS];
    if (!mixed) {
        memcpy(table, p->bytes, sizeof table);
        finish(p, at, table, 256);
    }
    mlc_kernel->look_up(job->images + start, pixels, mixed ? p->bytes : table, job->out + start);
    if (mixed) finish(p, at, job->out + start, pixels);
}

static void run_band(void *context, size_t index)
{
    const plan *p = context;
    size_t at = index / p->bands, first = index % p->bands * BAND_ROWS;
    size_t last = min_size(first + BAND_ROWS, p->job->out_height);
    (p->job->homography ? warp_band : look_up_band)(p, at, first, last);
}

void mlc_augment_run(const mlc_augment *job)
{
    plan p = {.job = job, .bands = (job->out_height + BAND_ROWS - 1) / BAND_ROWS};
    for (int value = 0; value < 256; value++)
        for (int c = 0; c < CHANNELS; c++) p.bytes[value * CHANNELS + c] = (float)value / 255;
    for (int i = 0; i < CHANNELS * MLC_LANES; i++) {
        p.mean[i] = job->mean[i % CHANNELS];
        p.std[i] = job->std[i % CHANNELS];
    }
    mlc_parallel_for(job->count * p.bands, run_band, &p);
}
