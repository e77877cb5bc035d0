/* Batch norm over rows of pixels; `channels` is a multiple of MLC_LANES, pixels are `channels`
 * floats apart. */

/* sum[c] += x - shift[c] and square[c] += (x - shift[c])^2 over the pixels. A shift near the mean
 * keeps the squares small, so that float sums of a few hundred pixels lose nothing. */
static void norm_sums(const float *x, size_t pixels, size_t channels, const float *shift,
                      float *sum, float *square)
{
    for (size_t c = 0; c < channels; c += VN) {
        vf s = v_load(sum + c), q = v_load(square + c), origin = v_load(shift + c);
        for (size_t p = 0; p < pixels; p++) {
            vf d = v_sub(v_load(x + p * channels + c), origin);
            s = v_add(s, d);
            q = v_fma(d, d, q);
        }
        v_store(sum + c, s);
        v_store(square + c, q);
    }
}

/* y = x * scale + shift (+ residual), then max(0, .) if relu. y may be x or residual. */
static void norm_apply(const float *x, const float *residual, size_t pixels, size_t channels,
                       const float *scale, const float *shift, int relu, float *y)
{
    vf zero = v_set(0.0f);
    for (size_t p = 0; p < pixels; p++, x += channels, y += channels) {
        for (size_t c = 0; c < channels; c += VN) {
            vf r = v_fma(v_load(x + c), v_load(scale + c), v_load(shift + c));
            if (residual) r = v_add(r, v_load(residual + c));
            v_store(y + c, relu ? v_max(zero, r) : r);
        }
        if (residual) residual += channels;
    }
}

/* In the forward pass this was y = max(0, w (x - mean) inverse + b (+ residual)). If y is given, dy
 * becomes 0 where y <= 0; then sum[c] += dy and dot[c] += dy (x - mean[c]) inverse[c]: the
 * gradients of b and w. */
static void norm_backward_sums(const float *y, const float *x, float *dy, size_t pixels,
                               size_t channels, const float *mean, const float *inverse, float *sum,
                               float *dot)
{
    vf zero = v_set(0.0f);
    for (size_t c = 0; c < channels; c += VN) {
        vf s = v_load(sum + c), t = v_load(dot + c), m = v_load(mean + c), i = v_load(inverse + c);
        for (size_t p = 0; p < pixels; p++) {
            size_t at = p * channels + c;
            vf d = v_load(dy + at);
            if (y) {
                d = v_select(v_gt(v_load(y + at), zero), d, zero);
                v_store(dy + at, d);
            }
            s = v_add(s, d);
            t = v_fma(d, v_mul(v_sub(v_load(x + at), m), i), t);
        }
        v_store(sum + c, s);
        v_store(dot + c, t);
    }
}

/* dx = a dy + b x + c, the whole backward pass once its three sums are known. dx may be dy. */
static void norm_backward(const float *dy, const float *x, size_t pixels, size_t channels,
                          const float *a, const float *b, const float *c, float *dx)
{
    for (size_t p = 0; p < pixels; p++, x += channels, dy += channels, dx += channels) {
        for (size_t k = 0; k < channels; k += VN) {
            vf r = v_fma(v_load(x + k), v_load(b + k), v_load(c + k));
            v_store(dx + k, v_fma(v_load(dy + k), v_load(a + k), r));
        }
    }
}
