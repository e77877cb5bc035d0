/* Pixels of one row: resampling through a homography, lighting, colors, normalization. Rows are RGB
 * triples, 8 bits in, float out. */

enum { WARP_CHUNK = 128 }; /* pixels whose source positions are held at once; a multiple of VN */

/* Position `t` on a line of pixels 0..last, reflected `margin` outside of the border pixels'
 * centers: the triangle wave of period 2 (last + 2 margin). What rounding, the margin or a NaN
 * would put outside is clamped, so the result always lies in [0, last]. */
static inline vf v_reflect(vf t, float last, float margin)
{
    float period = 2 * (last + 2 * margin);
    vf from = v_add(t, v_set(margin));
    vf waves = v_round(v_mul(from, v_set(period > 0 ? 1 / period : 0)));
    vf folded = v_abs(v_fma(waves, v_set(-period), from));
    return v_min(v_max(v_sub(folded, v_set(margin)), v_set(0)), v_set(last)); /* NaN becomes 0 */
}

/* Position `t` as one to read at: inside, or for zeros at most a pixel outside. */
static inline vf v_inside(vf t, float last, const mlc_warp *job)
{
    float rim = job->border == MLC_ZEROS ? 1 : 0;
    vf at = job->border == MLC_REFLECT
                ? v_reflect(t, last, job->margin)
                : v_min(v_max(t, v_set(-rim)), v_set(last + rim)); /* v_max makes -rim of a NaN */
    return job->nearest ? v_round(at) : at;
}

/* Source positions of the pixels (first..first + n, row), n <= WARP_CHUNK; see warp_row. */
static void warp_positions(const mlc_warp *job, size_t row, size_t first, size_t n, float *xs,
                           float *ys)
{
    static const float ramp[MLC_LANES] = {0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15};
    const double *map = job->map;
    float last_x = (float)(job->width - 1), last_y = (float)(job->height - 1);
    vf step_x = v_set((float)map[0]), start_x = v_set((float)(map[1] * (double)row + map[2]));
    vf step_y = v_set((float)map[3]), start_y = v_set((float)(map[4] * (double)row + map[5]));
    vf step_w = v_set((float)map[6]), start_w = v_set((float)(map[7] * (double)row + map[8]));
    for (size_t i = 0; i < n; i += VN) {
        vf column = v_add(v_load(ramp), v_set((float)(first + i)));
        vf w = v_fma(step_w, column, start_w);
        vf x = v_div(v_fma(step_x, column, start_x), w);
        vf y = v_div(v_fma(step_y, column, start_y), w);
        vmask defined = v_gt(v_abs(w), v_set(0));
        v_store(xs + i, v_inside(v_select(defined, x, column), last_x, job));
        v_store(ys + i, v_inside(v_select(defined, y, v_set((float)row)), last_y, job));
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

/* One pixel of an image that is black outside; -1 <= x <= width and -1 <= y <= height. */
static inline void bilinear_on_black(const uint8_t *image, size_t height, size_t width, float x,
                                     float y, float *out)
{
    size_t right = (size_t)(x + 1), below = (size_t)(y + 1); /* of the four pixels, from 0 */
    float fx = x + 1 - (float)right, fy = y + 1 - (float)below;
    float across[2] = {1 - fx, fx}, down[2] = {(1 - fy) / 255, fy / 255};
    out[0] = out[1] = out[2] = 0;
    for (size_t j = 0; j < 2; j++) {
        for (size_t i = 0; i < 2; i++) {
            if (below + j < 1 || below + j > height || right + i < 1 || right + i > width) continue;
            const uint8_t *pixel = image + 3 * ((below + j - 1) * width + right + i - 1);
            for (int k = 0; k < 3; k++) out[k] += down[j] * across[i] * (float)pixel[k];
        }
    }
}

/* out (out_width, 3) = row `row` of a photo, resampled, from 0 to 1: output pixel (j, row) is the
 * input at (x / w, y / w) with (x, y, w) = map (j, row, 1). Where w is 0 or NaN a pixel keeps its
 * place. No value of `map` makes this read outside of the image. */
static void warp_row(const mlc_warp *job, size_t row, float *out)
{
    float xs[WARP_CHUNK], ys[WARP_CHUNK];
    for (size_t first = 0; first < job->out_width; first += WARP_CHUNK) {
        size_t n = job->out_width - first < WARP_CHUNK ? job->out_width - first : WARP_CHUNK;
        warp_positions(job, row, first, n, xs, ys);
        if (job->border == MLC_ZEROS) {
            for (size_t i = 0; i < n; i++, out += 3)
                bilinear_on_black(job->image, job->height, job->width, xs[i], ys[i], out);
        } else {
            for (size_t i = 0; i < n; i++, out += 3)
                bilinear(job->image, job->height, job->width, xs[i], ys[i], out);
        }
    }
}

/* x = sigmoid((logit(x) + add) * multiply), x clamped to [1e-7, 1 - 1e-7] first: fastai's lighting,
 * where `add` is the logit of a brightness and `multiply` a contrast. In place. */
static inline vf v_log_odds(vf x)
{
    x = v_min(v_max(x, v_set(1e-7f)), v_set(1 - 1e-7f));
    return v_log(v_div(x, v_sub(v_set(1), x)));
}

static inline vf v_light(vf x, vf add, vf multiply)
{
    return v_sigmoid(v_mul(v_add(v_log_odds(x), add), multiply));
}

static void light(float *x, size_t n, float add, float multiply)
{
    vf a = v_set(add), m = v_set(multiply);
    size_t i = 0;
    for (; i + VN <= n; i += VN) v_store(x + i, v_light(v_load(x + i), a, m));
    if (i < n) v_store_n(x + i, v_light(v_load_n(x + i, n - i), a, m), n - i);
}

/* Colors of up to PLANE_CHUNK pixels, a line for each channel. */
enum { PLANE_CHUNK = 128 }; /* a multiple of VN */

static void to_planes(const float *x, size_t n, float planes[3][PLANE_CHUNK])
{
    for (size_t i = 0; i < n; i++)
        for (int k = 0; k < 3; k++) planes[k][i] = x[3 * i + (size_t)k];
    for (size_t i = n; i < PLANE_CHUNK && i % VN; i++)
        for (int k = 0; k < 3; k++) planes[k][i] = 0;
}

static void from_planes(float planes[3][PLANE_CHUNK], size_t n, float *x)
{
    for (size_t i = 0; i < n; i++)
        for (int k = 0; k < 3; k++) x[3 * i + (size_t)k] = planes[k][i];
}

/* VN pixels: the sigmoid of `map` (3, 4), a matrix and a column that is added, of their logits. */
static inline void tint_vector(float planes[3][PLANE_CHUNK], size_t i, const float *map)
{
    vf logit[3];
    for (int k = 0; k < 3; k++) logit[k] = v_log_odds(v_load(planes[k] + i));
    for (int k = 0; k < 3; k++, map += 4) {
        vf sum = v_fma(v_set(map[0]), logit[0], v_set(map[3]));
        sum = v_fma(v_set(map[1]), logit[1], sum);
        v_store(planes[k] + i, v_sigmoid(v_fma(v_set(map[2]), logit[2], sum)));
    }
}

/* x = sigmoid(M logit(x) + t) over RGB triples, with map = (M | t), (3, 4); x is clamped as in
 * light. In place. */
static void tint(float *x, size_t pixels, const float *map)
{
    float planes[3][PLANE_CHUNK];
    for (size_t first = 0; first < pixels; first += PLANE_CHUNK) {
        size_t n = pixels - first < PLANE_CHUNK ? pixels - first : PLANE_CHUNK;
        to_planes(x + 3 * first, n, planes);
        for (size_t i = 0; i < n; i += VN) tint_vector(planes, i, map);
        from_planes(planes, n, x + 3 * first);
    }
}

/* VN pixels turned on the color circle. With the hue h in sixths of it, red, green and blue lie
 * h, h - 2 and h - 4 from their own peaks, each 2 wide; value and chroma stay. */
static inline void turn_hue_vector(float planes[3][PLANE_CHUNK], size_t i, float sixths)
{
    vf r = v_load(planes[0] + i), g = v_load(planes[1] + i), b = v_load(planes[2] + i);
    vf high = v_max(r, v_max(g, b)), chroma = v_sub(high, v_min(r, v_min(g, b)));
    vf scale = v_div(v_set(1), v_max(chroma, v_set(1e-20f)));
    vf of_blue = v_fma(v_sub(r, g), scale, v_set(4)),
       of_green = v_fma(v_sub(b, r), scale, v_set(2));
    vf of_red = v_mul(v_sub(g, b), scale);
    vf h = v_select(v_eq(high, r), of_red, v_select(v_eq(high, g), of_green, of_blue));
    for (int k = 0; k < 3; k++) {
        vf u = v_add(h, v_set(sixths - 2 * (float)k)); /* from the peak of channel k */
        u = v_abs(v_fma(v_round(v_mul(u, v_set(1.0f / 6))), v_set(-6), u));
        vf down = v_min(v_max(v_sub(u, v_set(1)), v_set(0)), v_set(1));
        v_store(planes[k] + i, v_fma(v_sub(v_set(0), chroma), down, high));
    }
}

/* Hues of RGB triples in [0, 1], turned by `turn` of the color circle, 1 being all of it: fastai's
 * change of H in HSV. In place. */
static void turn_hue(float *x, size_t pixels, float turn)
{
    float planes[3][PLANE_CHUNK];
    for (size_t first = 0; first < pixels; first += PLANE_CHUNK) {
        size_t n = pixels - first < PLANE_CHUNK ? pixels - first : PLANE_CHUNK;
        to_planes(x + 3 * first, n, planes);
        for (size_t i = 0; i < n; i += VN) turn_hue_vector(planes, i, 6 * turn);
        from_planes(planes, n, x + 3 * first);
    }
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
