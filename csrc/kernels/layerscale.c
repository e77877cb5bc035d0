/* The gradients of y = scale x + residual; `channels` is a multiple of MLC_LANES, pixels are
 * `channels` floats apart. Forward is norm_apply. */

/* Vectors of channels that a pass over pixels takes together; see kernels/batchnorm.c. */
enum { LAYERSCALE_GROUP = 4 };

static inline void layerscale_group(const mlc_layerscale *j, size_t c, float *dot, const int group)
{
    vf sum[LAYERSCALE_GROUP], scale[LAYERSCALE_GROUP];
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
static void layer_scale_backward(const mlc_layerscale *j, float *dot)
{
    size_t c = 0, step = LAYERSCALE_GROUP * VN;
    for (; c + step <= j->channels; c += step) layerscale_group(j, c, dot, LAYERSCALE_GROUP);
    for (; c < j->channels; c += VN) layerscale_group(j, c, dot, 1);
}
