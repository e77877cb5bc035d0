/* Pixels of one row: resampling through a homography, lighting, normalization. Rows are RGB
 * triples, 8 bits in, float out. */

enum { WARP_CHUNK = 128 }; /* pixels whose source positions are held at once; a multiple of VN */

/* Position `t` on a line of pixels 0..last, reflected at the centers of the border pixels: the
 * triangle wave of period 2 last, |t - 2 last round(t / (2 last))|. What rounding or a NaN would
 * put outside is clamped, so the result always lies in [0, last]. */
static inline vf v_reflect(vf t, float last)
{
    float period = 2 * last;
    vf waves = v_round(v_mul(t, v_set(last > 0 ? 1 / period : 0)));
    vf folded = v_abs(v_fma(waves, v_set(-period), t));
    return v_min(v_max(folded, v_set(0)), v_set(last)); /* v_max makes 0 of a NaN */
}

/* Source positions of the pixels (first..first + n, row), n <= WARP_CHUNK; see warp_row. */
static void warp_positions(const double *map, size_t row, size_t first, size_t n, float last_x,
                           float last_y, float *xs, float *ys)
{
    static const float ramp[MLC_LANES] = {0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15};
    vf step_x = v_set((float)map[0]), start_x = v_set((float)(map[1] * (double)row + map[2]));
    vf step_y = v_set((float)map[3]), start_y = v_set((float)(map[4] * (double)row + map[5]));
    vf step_w = v_set((float)map[6]), start_w = v_set((float)(map[7] * (double)row + map[8]));
    for (size_t i = 0; i < n; i += VN) {
        vf column = v_add(v_load(ramp), v_set((float)(first + i)));
        vf w = v_fma(step_w, column, start_w);
        vf x = v_div(v_fma(step_x, column, start_x), w);
        vf y = v_div(v_fma(step_y, column, start_y), w);
        vmask defined = v_gt(v_abs(w), v_set(0));
        v_store(xs + i, v_reflect(v_select(defined, x, column), last_x));
        v_store(ys + i, v_reflect(v_select(defined, y, v_set((float)row)), last_y));
    }
}

/* One pixel at (x, y), bilinear, as part of 1; 0 <= x <= width - 1 and 0 <= y <= height - 1. */
static inline void bilinear(const uint8_t *image, size_t height, size_t width, float x, float y,
                            float *out)
{
    size_t left = (size_t)x, top = (size_t)y;
    const uint8_t *a = image + 3 * (top * width + left);
    size_t right = left + 1 < width ? 3 : 0, below = top + 1 < height ? 3 * width : 0;
    float fx = x - (float)left, low = (y - (float)top) * (1.0f / 255), high = 1.0f / 255 - low;
    float wb = high * fx, wa = high - wb, wd = low * fx, wc = low - wd;
    const uint8_t *b = a + right, *c = a + below, *d = c + right;
    for (int k = 0; k < 3; k++) {
        float upper = wa * (float)a[k] + wb * (float)b[k];
        out[k] = upper + (wc * (float)c[k] + wd * (float)d[k]);
    }
}

/* out (width, 3) = row `row` of `image` (height, width, 3), resampled, from 0 to 1: output pixel
 * (j, row) is the input at (x / w, y / w) with (x, y, w) = map (j, row, 1), `map` a row-major 3x3
 * matrix in pixels; reflected at the borders. Where w is 0 or NaN the pixel keeps its place. No
 * value of `map` makes this read outside of the image. height, width of 1 to 2^24. */
static void warp_row(const uint8_t *image, size_t height, size_t width, const double *map,
                     size_t row, float *out)
{
    float xs[WARP_CHUNK], ys[WARP_CHUNK];
    for (size_t first = 0; first < width; first += WARP_CHUNK) {
        size_t n = width - first < WARP_CHUNK ? width - first : WARP_CHUNK;
        warp_positions(map, row, first, n, (float)(width - 1), (float)(height - 1), xs, ys);
        for (size_t i = 0; i < n; i++, out += 3) bilinear(image, height, width, xs[i], ys[i], out);
    }
}

/* x = sigmoid((logit(x) + add) * multiply), x clamped to [1e-7, 1 - 1e-7] first: fastai's lighting,
 * where `add` is the logit of a brightness and `multiply` a contrast. In place. */
static inline vf v_light(vf x, vf add, vf multiply)
{
    x = v_min(v_max(x, v_set(1e-7f)), v_set(1 - 1e-7f));
    vf logit = v_log(v_div(x, v_sub(v_set(1), x)));
    return v_sigmoid(v_mul(v_add(logit, add), multiply));
}

static void light(float *x, size_t n, float add, float multiply)
{
    vf a = v_set(add), m = v_set(multiply);
    size_t i = 0;
    for (; i + VN <= n; i += VN) v_store(x + i, v_light(v_load(x + i), a, m));
    if (i < n) v_store_n(x + i, v_light(v_load_n(x + i, n - i), a, m), n - i);
}

/* x = (x - mean) / std over n floats of RGB triples, in place. `mean` and `std` are repeated to
 * 3 MLC_LANES floats, so that a vector starting at any multiple of VN finds its channels. */
static void normalize(float *x, size_t n, const float *mean, const float *std)
{
    size_t i = 0, at = 0;
    for (; i + VN <= n; i += VN) {
        v_store(x + i, v_div(v_sub(v_load(x + i), v_load(mean + at)), v_load(std + at)));
        at = at + VN < 3 * MLC_LANES ? at + VN : 0;
    }
    for (; i < n; i++, at++) x[i] = (x[i] - mean[at]) / std[at];
}

/* out[i] = table[x[i]][channel of i] over `pixels` RGB triples; `table` is (256, 3). */
static void look_up(const uint8_t *x, size_t pixels, const float *table, float *out)
{
    for (size_t i = 0; i < 3 * pixels; i += 3) {
        out[i] = table[3 * x[i]];
        out[i + 1] = table[3 * x[i + 1] + 1];
        out[i + 2] = table[3 * x[i + 2] + 2];
    }
}
