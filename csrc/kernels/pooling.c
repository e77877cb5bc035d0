/* Pooling; `channels` is a multiple of MLC_LANES. */

static inline vf window_value(const float *x, const float *scale, const float *shift, int relu)
{
    if (!scale) return v_load(x);
    vf y = v_fma(v_load(x), v_load(scale), v_load(shift));
    return relu ? v_max(v_set(0.0f), y) : y;
}

/* y[c] = the largest window[t][c], tap[c] = the first t that has it; a NaN wins, as in torch. If
 * scale is given, of scale x + shift instead, and of max(0, that) if relu. taps <= 255. */
static void max_window(const float *const *window, size_t taps, size_t channels, const float *scale,
                       const float *shift, int relu, float *y, uint8_t *tap)
{
    for (size_t c = 0; c < channels; c += VN) {
        const float *a = scale ? scale + c : NULL, *b = scale ? shift + c : NULL;
        vf best = window_value(window[0] + c, a, b, relu), from = v_set(0.0f), at = from;
        for (size_t t = 1; t < taps; t++) {
            vf x = window_value(window[t] + c, a, b, relu);
            vmask wins = v_beats(x, best);
            at = v_add(at, v_set(1.0f));
            best = v_select(wins, x, best);
            from = v_select(wins, at, from);
        }
        v_store(y + c, best);
        v_store_bytes(tap + c, from);
    }
}

static inline __attribute__((always_inline)) void
windows_backward(const float *dy, const uint8_t *tap, size_t windows, size_t first, size_t taps,
                 size_t step, size_t channels, float *dx)
{
    for (size_t p = 0; p < windows; p++, dy += channels, tap += channels, dx += step)
        for (size_t c = 0; c < channels; c += VN) {
            vf d = v_load(dy + c), here = v_load_bytes(tap + c);
            for (size_t t = 0; t < taps; t++) {
                float *to = dx + t * channels + c;
                vmask mine = v_eq(here, v_set((float)(first + t)));
                v_store(to, v_add(v_load(to), v_select(mine, d, v_set(0.0f))));
            }
        }
}

/* dx[tap[c] - first][c] += dy[c] where that is one of `taps` pixels, for `windows` of them that are
 * `step` floats of dx apart. */
static void max_window_backward(const float *dy, const uint8_t *tap, size_t windows, size_t first,
                                size_t taps, size_t step, size_t channels, float *dx)
{
    if (taps == 3)
        windows_backward(dy, tap, windows, first, 3, step, channels, dx);
    else
        windows_backward(dy, tap, windows, first, taps, step, channels, dx);
}

/* sum[c] += x; where x is larger than max[c] (or is the first NaN) it replaces it and at[c] becomes
 * first + its pixel. */
static void sum_and_max(const float *x, size_t pixels, size_t channels, uint32_t first, float *sum,
                        float *max, uint32_t *at)
{
    for (size_t p = 0; p < pixels; p++, x += channels) {
        for (size_t c = 0; c < channels; c++) {
            int wins = (x[c] > max[c]) | ((x[c] != x[c]) & (max[c] == max[c]));
            sum[c] += x[c];
            max[c] = wins ? x[c] : max[c];
            at[c] = wins ? first + (uint32_t)p : at[c];
        }
    }
}
