/* Augmentation of a batch, a task for each band of rows.
 *
 * Coordinates are normalized as torch's grid_sample(align_corners=True) has it: -1 and 1 are the
 * centers of the first and the last pixel. A homography takes output coordinates (x, y, 1) to input
 * ones; kernels get it between pixels. Without one, a value depends on its byte and channel only,
 * so 256 values are made and looked up. */
#include "augment.h"

#include "../base/threads.h"
#include "../isa/select.h"

enum { BAND_ROWS = 16, CHANNELS = 3 };

typedef struct {
    const mlc_augment *job;
    size_t bands;                                                /* in an image */
    float mean[CHANNELS * MLC_LANES], std[CHANNELS * MLC_LANES]; /* repeated */
} plan;

static size_t min_size(size_t a, size_t b) { return a < b ? a : b; }

/* Light and normalize n floats of RGB triples of image `at`. */
static void finish(const plan *p, size_t at, float *x, size_t n)
{
    const float *lighting = p->job->lighting;
    if (lighting) mlc_kernel->light(x, n, lighting[2 * at], lighting[2 * at + 1]);
    mlc_kernel->normalize(x, n, p->mean, p->std);
}

/* map = (normalized -> input pixels) h (output pixels -> normalized). With pixel = (v + 1) last / 2
 * and v = 2 pixel / last - 1; the only pixel of a line is at 0, as torch's affine_grid has it. */
static void map_between_pixels(const double *h, size_t height, size_t width, double *map)
{
    double last_x = (double)(width - 1), last_y = (double)(height - 1);
    double step_x = width > 1 ? 2 / last_x : 0, start_x = width > 1 ? -1 : 0;
    double step_y = height > 1 ? 2 / last_y : 0, start_y = height > 1 ? -1 : 0;
    for (int r = 0; r < 3; r++, h += 3, map += 3) {
        map[0] = h[0] * step_x;
        map[1] = h[1] * step_y;
        map[2] = h[0] * start_x + h[1] * start_y + h[2];
    }
    map -= 9;
    for (int k = 0; k < 3; k++) {
        map[k] = (map[k] + map[6 + k]) * last_x / 2;
        map[3 + k] = (map[3 + k] + map[6 + k]) * last_y / 2;
    }
}

static void warp_band(const plan *p, size_t at, size_t first, size_t last)
{
    const mlc_augment *job = p->job;
    size_t row_floats = CHANNELS * job->width;
    const uint8_t *image = job->images + at * job->height * row_floats;
    float *out = job->out + (at * job->height + first) * row_floats;
    double map[9];
    map_between_pixels(job->homography + 9 * at, job->height, job->width, map);
    for (size_t row = first; row < last; row++, out += row_floats) {
        mlc_kernel->warp_row(image, job->height, job->width, map, row, out);
        finish(p, at, out, row_floats);
    }
}

static void look_up_band(const plan *p, size_t at, size_t first, size_t last)
{
    const mlc_augment *job = p->job;
    float table[256 * CHANNELS];
    for (int i = 0; i < 256 * CHANNELS; i++) table[i] = (float)(i / CHANNELS) / 255;
    finish(p, at, table, 256 * CHANNELS);
    size_t start = (at * job->height + first) * job->width * CHANNELS;
    mlc_kernel->look_up(job->images + start, (last - first) * job->width, table, job->out + start);
}

static void run_band(void *context, size_t index)
{
    const plan *p = context;
    size_t at = index / p->bands, first = index % p->bands * BAND_ROWS;
    size_t last = min_size(first + BAND_ROWS, p->job->height);
    (p->job->homography ? warp_band : look_up_band)(p, at, first, last);
}

void mlc_augment_run(const mlc_augment *job)
{
    plan p = {.job = job, .bands = (job->height + BAND_ROWS - 1) / BAND_ROWS};
    for (int i = 0; i < CHANNELS * MLC_LANES; i++) {
        p.mean[i] = job->mean[i % CHANNELS];
        p.std[i] = job->std[i % CHANNELS];
    }
    mlc_parallel_for(job->count * p.bands, run_band, &p);
}
