/* Pooling; `channels` is a multiple of MLC_LANES. */

static inline vf window_value(const float *x, const float *scale, const float *shift, int act)
{
    if (!scale) return v_load(x);
    return v_activate(act, v_fma(v_load(x), v_load(scale), v_load(shift)));
}

/* y[c] = the largest window[t][c], tap[c] = the first t that has it; a NaN wins, as in torch. If
 * scale is given, of act(scale x + shift) instead. taps <= 255. */
static void max_window(const float *const *window, size_t taps, size_t channels, const float *scale,
                       const float *shift, int act, float *y, uint8_t *tap)
{
    for (size_t c = 0; c < channels; c += VN) {
        const float *a = scale ? scale + c : NULL, *b = scale ? shift + c : NULL;
        vf best = window_value(window[0] + c, a, b, act), from = v_set(0.0f), at = from;
        for (size_t t = 1; t < taps; t++) {
            vf x = window_value(window[t] + c, a, b, act);
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

/* Pixels are summed this many vectors of channels together, as batch norm's are. */
enum { POOL_GROUP = 4 };

static inline void sum_pixels_group(const float *x, size_t pixels, size_t channels, float *sum,
                                    const int group)
{
    vf s[POOL_GROUP];
    for (int v = 0; v < group; v++) s[v] = v_set(0.0f);
    for (size_t p = 0; p < pixels; p++, x += channels)
        for (int v = 0; v < group; v++) s[v] = v_add(s[v], v_load(x + v * VN));
    for (int v = 0; v < group; v++) v_store(sum + v * VN, v_add(v_load(sum + v * VN), s[v]));
}

/* sum[c] += the sum of x over the pixels */
static void sum_pixels(const float *x, size_t pixels, size_t channels, float *sum)
{
    size_t c = 0, step = POOL_GROUP * VN;
    for (; c + step <= channels; c += step)
        sum_pixels_group(x + c, pixels, channels, sum + c, POOL_GROUP);
    for (; c < channels; c += VN) sum_pixels_group(x + c, pixels, channels, sum + c, 1);
}

/* dx (+)= d[c] at every pixel */
static void spread_pixels(const float *d, size_t pixels, size_t channels, int accumulate, float *dx)
{
    for (size_t p = 0; p < pixels; p++, dx += channels)
        for (size_t c = 0; c < channels; c += VN)
            v_store(dx + c, accumulate ? v_add(v_load(dx + c), v_load(d + c)) : v_load(d + c));
}
