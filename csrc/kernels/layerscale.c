/* The gradients of y = scale x + residual, and sums over pixels; `channels` is a multiple of
 * MLC_LANES, pixels are `channels` floats apart. Forward is norm_apply. */

/* Vectors of channels that a pass over pixels takes together; see kernels/batchnorm.c. */
enum { SCALE_GROUP = 4 };

static inline void scale_backward_group(const mlc_scale_backward *j, size_t c, float *dot,
                                        const int group)
{
    vf sum[SCALE_GROUP], scale[SCALE_GROUP];
    for (int v = 0; v < group; v++) {
        sum[v] = v_load(dot + c + (size_t)v * VN);
        scale[v] = v_load(j->scale + c + (size_t)v * VN);
    }
    for (size_t p = 0; p < j->pixels; p++)
        for (int v = 0; v < group; v++) {
            size_t at = p * j->channels + c + (size_t)v * VN;
            vf d = v_load(j->dy + at);
            sum[v] = v_fma(d, v_load(j->x + at), sum[v]);
            if (j->residual) norm_put(j->residual + at, d, j->add_residual, false);
            if (j->dx) norm_put(j->dx + at, v_mul(d, scale[v]), j->add, false);
        }
    for (int v = 0; v < group; v++) v_store(dot + c + (size_t)v * VN, sum[v]);
}

/* residual = dy, then dx = scale dy, and dot[c] += dy x over the pixels. dx may be dy. */
static void layer_scale_backward(const mlc_scale_backward *j, float *dot)
{
    size_t c = 0, step = SCALE_GROUP * VN;
    for (; c + step <= j->channels; c += step) scale_backward_group(j, c, dot, SCALE_GROUP);
    for (; c < j->channels; c += VN) scale_backward_group(j, c, dot, 1);
}

static inline void bias_sums_group(const float *dy, size_t pixels, size_t channels, float *sum,
                                   const int group)
{
    vf s[SCALE_GROUP];
    for (int v = 0; v < group; v++) s[v] = v_load(sum + v * VN);
    for (size_t p = 0; p < pixels; p++, dy += channels)
        for (int v = 0; v < group; v++) s[v] = v_add(s[v], v_load(dy + v * VN));
    for (int v = 0; v < group; v++) v_store(sum + v * VN, s[v]);
}

/* sum[c] += dy over the pixels: the gradient of a bias. */
static void bias_sums(const float *dy, size_t pixels, size_t channels, float *sum)
{
    size_t c = 0, step = SCALE_GROUP * VN;
    for (; c + step <= channels; c += step)
        bias_sums_group(dy + c, pixels, channels, sum + c, SCALE_GROUP);
    for (; c < channels; c += VN) bias_sums_group(dy + c, pixels, channels, sum + c, 1);
}
