/* Pixels times a factor for each channel, as squeeze-and-excitation has it; `channels` is a
 * multiple of MLC_LANES. */

/* y = x * factor[c]; stream: y need not stay in the cache; it is aligned to MLC_LANES floats. */
static void scale_pixels(const float *x, const float *factor, size_t pixels, size_t channels,
                         int stream, float *y)
{
    for (size_t p = 0; p < pixels; p++, x += channels, y += channels)
        for (size_t c = 0; c < channels; c += VN) {
            vf r = v_mul(v_load(x + c), v_load(factor + c));
            if (stream)
                v_stream(y + c, r);
            else
                v_store(y + c, r);
        }
}

/* Vectors of channels that a pass takes together, as batch norm's. */
enum { SCALE_GROUP = 4 };

static inline void scale_backward_group(const mlc_scale_backward *j, size_t c, const int group)
{
    vf sum[SCALE_GROUP], factor[SCALE_GROUP];
    for (int v = 0; v < group; v++)
        sum[v] = v_set(0.0f), factor[v] = v_load(j->factor + c + (size_t)v * VN);
    for (size_t p = 0; p < j->pixels; p++)
        for (int v = 0; v < group; v++) {
            size_t at = p * j->channels + c + (size_t)v * VN;
            vf dy = v_load(j->dy + at);
            sum[v] = v_fma(dy, v_load(j->x + at), sum[v]);
            if (!j->dx) continue;
            vf d = v_mul(dy, factor[v]);
            v_store(j->dx + at, j->add ? v_add(v_load(j->dx + at), d) : d);
        }
    for (int v = 0; v < group && j->dfactor; v++) {
        float *to = j->dfactor + c + (size_t)v * VN;
        v_store(to, v_add(v_load(to), sum[v]));
    }
}

/* dx (+)= dy factor[c], and dfactor[c] += the sum of dy x over the pixels. */
static void scale_backward(const mlc_scale_backward *j)
{
    size_t c = 0, step = SCALE_GROUP * VN;
    for (; c + step <= j->channels; c += step) scale_backward_group(j, c, SCALE_GROUP);
    for (; c < j->channels; c += VN) scale_backward_group(j, c, 1);
}
