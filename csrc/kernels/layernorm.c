/* Layer norm over the channels of each pixel (Ba, Kiros and Hinton, arXiv 1607.06450). Pixels are
 * `stride` floats apart, of which `channels` count; the rest is zero, and is left so.
 *
 * A sum over channels has MLC_LANES partial sums on every instruction set, added in one order at
 * the end: the same bits on all of them. */

enum { LAYER_PARTS = MLC_LANES / VN };

static inline float layer_total(const vf part[LAYER_PARTS])
{
    float sum[MLC_LANES];
    for (int v = 0; v < LAYER_PARTS; v++) v_store(sum + v * VN, part[v]);
    for (int half = MLC_LANES / 2; half; half /= 2)
        for (int i = 0; i < half; i++) sum[i] += sum[i + half];
    return sum[0];
}

/* Vector v of the MLC_LANES channels from c on, zeros where there is no channel. */
static inline vf layer_keep(vf a, size_t c, int v, size_t channels)
{
    size_t at = c + (size_t)v * VN;
    if (at + VN <= channels) return a;
    return v_keep_n(a, at < channels ? channels - at : 0);
}

static inline void layer_zero(vf part[LAYER_PARTS])
{
    for (int v = 0; v < LAYER_PARTS; v++) part[v] = v_set(0.0f);
}

static inline float layer_mean(const float *x, size_t channels)
{
    vf part[LAYER_PARTS];
    layer_zero(part);
    for (size_t c = 0; c < channels; c += MLC_LANES)
        for (int v = 0; v < LAYER_PARTS; v++) part[v] = v_add(part[v], v_load(x + c + v * VN));
    return layer_total(part) / (float)channels;
}

static inline float layer_variance(const float *x, size_t channels, float mean)
{
    vf part[LAYER_PARTS], origin = v_set(mean);
    layer_zero(part);
    for (size_t c = 0; c < channels; c += MLC_LANES)
        for (int v = 0; v < LAYER_PARTS; v++) {
            vf d = layer_keep(v_sub(v_load(x + c + v * VN), origin), c, v, channels);
            part[v] = v_fma(d, d, part[v]);
        }
    return layer_total(part) / (float)channels;
}

/* y = w xhat + b with xhat = (x - mean) inverse and inverse = 1 / sqrt(variance + eps), by the mean
 * and the biased variance of each pixel, which are kept. y may be x. */
static void layer_norm(const mlc_layer_norm *j)
{
    const float *x = j->x;
    float *y = j->y;
    for (size_t p = 0; p < j->pixels; p++, x += j->stride, y += j->stride) {
        float mean = layer_mean(x, j->channels);
        float inverse = 1.0f / sqrtf(layer_variance(x, j->channels, mean) + j->eps);
        vf origin = v_set(mean), scale = v_set(inverse);
        for (size_t c = 0; c < j->channels; c += MLC_LANES)
            for (int v = 0; v < LAYER_PARTS; v++) {
                size_t k = c + (size_t)v * VN;
                vf xhat = v_mul(v_sub(v_load(x + k), origin), scale);
                vf r = v_fma(xhat, v_load(j->weight + k), v_load(j->bias + k));
                v_store(y + k, layer_keep(r, c, v, j->channels));
            }
        j->mean[p] = mean;
        j->inverse[p] = inverse;
    }
}

/* One pixel: dweight += dy xhat, dbias += dy; the means over channels of dz and of dz xhat, where
 * dz = w dy. */
static inline void layer_sums(const mlc_layer_norm *j, const float *x, const float *dy, float mean,
                              float inverse, float *dz_mean, float *dot_mean)
{
    vf sum[LAYER_PARTS], dot[LAYER_PARTS], origin = v_set(mean), scale = v_set(inverse);
    layer_zero(sum);
    layer_zero(dot);
    for (size_t c = 0; c < j->channels; c += MLC_LANES)
        for (int v = 0; v < LAYER_PARTS; v++) {
            size_t k = c + (size_t)v * VN;
            vf d = v_load(dy + k), xhat = v_mul(v_sub(v_load(x + k), origin), scale);
            vf dz = v_mul(d, v_load(j->weight + k));
            sum[v] = v_add(sum[v], dz);
            dot[v] = v_fma(dz, xhat, dot[v]);
            v_store(j->dweight + k, v_fma(d, xhat, v_load(j->dweight + k)));
            v_store(j->dbias + k, v_add(v_load(j->dbias + k), d));
        }
    *dz_mean = layer_total(sum) / (float)j->channels;
    *dot_mean = layer_total(dot) / (float)j->channels;
}

/* dx (+)= inverse (dz - mean(dz) - xhat mean(dz xhat)) with dz = w dy, and dweight, dbias as above.
 * dx may be dy, or NULL. */
static void layer_norm_backward(const mlc_layer_norm *j)
{
    for (size_t p = 0; p < j->pixels; p++) {
        const float *x = j->x + p * j->stride, *dy = j->dy + p * j->stride;
        float dz_mean, dot_mean;
        layer_sums(j, x, dy, j->mean[p], j->inverse[p], &dz_mean, &dot_mean);
        if (!j->dx) continue;
        float *dx = j->dx + p * j->stride;
        vf origin = v_set(j->mean[p]), scale = v_set(j->inverse[p]);
        vf shift = v_set(dz_mean), slope = v_set(-dot_mean);
        for (size_t c = 0; c < j->channels; c += MLC_LANES)
            for (int v = 0; v < LAYER_PARTS; v++) {
                size_t k = c + (size_t)v * VN;
                vf xhat = v_mul(v_sub(v_load(x + k), origin), scale);
                vf dz = v_sub(v_mul(v_load(dy + k), v_load(j->weight + k)), shift);
                vf r = v_mul(v_fma(xhat, slope, dz), scale);
                r = layer_keep(r, c, v, j->channels);
                v_store(dx + k, j->add ? v_add(v_load(dx + k), r) : r);
            }
    }
}
