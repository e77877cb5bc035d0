/* Batch norm over rows of pixels; `channels` is a multiple of MLC_LANES, pixels are `channels`
 * floats apart. */

/* A pass over pixels takes this many vectors of channels together: whole cache lines one after
 * another, and enough sums at a time to hide the latency of an addition. */
enum { NORM_GROUP = 4 };

static inline void norm_sums_group(const float *x, size_t pixels, size_t channels,
                                   const float *shift, float *sum, float *square, const int group)
{
    vf s[NORM_GROUP], q[NORM_GROUP], origin[NORM_GROUP];
    for (int v = 0; v < group; v++) {
        s[v] = v_load(sum + v * VN);
        q[v] = v_load(square + v * VN);
        origin[v] = v_load(shift + v * VN);
    }
    for (size_t p = 0; p < pixels; p++, x += channels)
        for (int v = 0; v < group; v++) {
            vf d = v_sub(v_load(x + v * VN), origin[v]);
            s[v] = v_add(s[v], d);
            q[v] = v_fma(d, d, q[v]);
        }
    for (int v = 0; v < group; v++) {
        v_store(sum + v * VN, s[v]);
        v_store(square + v * VN, q[v]);
    }
}

/* sum[c] += x - shift[c] and square[c] += (x - shift[c])^2 over the pixels. A shift near the mean
 * keeps the squares small, so that float sums of a few hundred pixels lose nothing. */
static void norm_sums(const float *x, size_t pixels, size_t channels, const float *shift,
                      float *sum, float *square)
{
    size_t c = 0, step = NORM_GROUP * VN;
    for (; c + step <= channels; c += step)
        norm_sums_group(x + c, pixels, channels, shift + c, sum + c, square + c, NORM_GROUP);
    for (; c < channels; c += VN)
        norm_sums_group(x + c, pixels, channels, shift + c, sum + c, square + c, 1);
}

/* Of x, or of its copy in bf16 where that is given. */
static inline vf norm_load(const float *x, const uint16_t *copy, size_t at)
{
    return copy ? v_load_bf16(copy + at) : v_load(x + at);
}

static inline __attribute__((always_inline)) void
norm_apply_body(const int act, const mlc_norm_rewrite *j, const int stream)
{
    for (size_t p = 0; p < j->pixels; p++)
        for (size_t c = 0; c < j->channels; c += VN) {
            size_t at = p * j->channels + c;
            vf x = norm_load(j->x, j->x_copy, at);
            vf r = v_fma(x, v_load(j->scale + c), v_load(j->shift + c));
            if (j->residual || j->residual_copy)
                r = v_add(r, norm_load(j->residual, j->residual_copy, at));
            r = v_activate(act, r);
            if (stream)
                v_stream(j->y + at, r);
            else
                v_store(j->y + at, r);
        }
}

/* y = act(x * scale + shift (+ residual)). y may be x or residual. stream: y need not stay in the
 * cache; it is aligned to MLC_LANES floats. */
static void norm_apply(const float *x, const float *residual, size_t pixels, size_t channels,
                       const float *scale, const float *shift, int act, int stream, float *y)
{
    mlc_norm_rewrite job = {.x = x,
                            .residual = residual,
                            .pixels = pixels,
                            .channels = channels,
                            .scale = scale,
                            .shift = shift,
                            .y = y};
    if (stream)
        BY_ACTIVATION(act, norm_apply_body, &job, 1)
    else
        BY_ACTIVATION(act, norm_apply_body, &job, 0)
}

/* The same where x or residual may be a copy in bf16. */
static void norm_rewrite(const mlc_norm_rewrite *job)
{
    mlc_norm_rewrite own = *job; /* which no store can change: it is read once */
    if (own.stream)
        BY_ACTIVATION(own.act, norm_apply_body, &own, 1)
    else
        BY_ACTIVATION(own.act, norm_apply_body, &own, 0)
}

/* The gradient before the activation, at float `at` of the row, of channels from c on. */
static inline __attribute__((always_inline)) vf norm_dz(const int act, const mlc_norm_backward *j,
                                                        size_t at, size_t c)
{
    vf zero = v_set(0.0f), d = v_load(j->dy + at);
    if (act == MLC_IDENTITY) return j->y ? v_select(v_gt(v_load(j->y + at), zero), d, zero) : d;
    vf y = v_fma(norm_load(j->x, j->copy, at), v_load(j->scale + c), v_load(j->shift + c));
    if (act == MLC_RELU) return v_select(v_gt(y, zero), d, zero);
    return v_mul(d, v_slope(act, y));
}

static inline __attribute__((always_inline)) void
norm_backward_sums_group(const int act, const mlc_norm_backward *j, size_t c, float *sum,
                         float *dot, const int group)
{
    vf s[NORM_GROUP], t[NORM_GROUP], m[NORM_GROUP], inverse[NORM_GROUP];
    for (int v = 0; v < group; v++) {
        size_t k = c + (size_t)v * VN;
        s[v] = v_load(sum + k), t[v] = v_load(dot + k);
        m[v] = v_load(j->mean + k), inverse[v] = v_load(j->inverse + k);
    }
    for (size_t p = 0; p < j->pixels; p++)
        for (int v = 0; v < group; v++) {
            size_t k = c + (size_t)v * VN, at = p * j->channels + k;
            vf d = norm_dz(act, j, at, k);
            s[v] = v_add(s[v], d);
            t[v] = v_fma(d, v_mul(v_sub(norm_load(j->x, j->copy, at), m[v]), inverse[v]), t[v]);
        }
    for (int v = 0; v < group; v++) {
        v_store(sum + c + (size_t)v * VN, s[v]);
        v_store(dot + c + (size_t)v * VN, t[v]);
    }
}

static inline __attribute__((always_inline)) void
norm_backward_sums_body(const int act, const mlc_norm_backward *j, float *sum, float *dot)
{
    size_t c = 0, step = NORM_GROUP * VN;
    for (; c + step <= j->channels; c += step)
        norm_backward_sums_group(act, j, c, sum, dot, NORM_GROUP);
    for (; c < j->channels; c += VN) norm_backward_sums_group(act, j, c, sum, dot, 1);
}

/* sum[c] += dz and dot[c] += dz (x - mean[c]) inverse[c]: the gradients of b and w where forward
 * was y = act(w (x - mean) inverse + b (+ residual)). */
static void norm_backward_sums(const mlc_norm_backward *j, float *sum, float *dot)
{
    BY_ACTIVATION(j->act, norm_backward_sums_body, j, sum, dot)
}

static inline void norm_put(float *to, vf value, int add, int stream)
{
    if (add)
        v_store(to, v_add(v_load(to), value));
    else if (stream)
        v_stream(to, value);
    else
        v_store(to, value);
}

static inline __attribute__((always_inline)) void norm_backward_body(const int act,
                                                                     const mlc_norm_backward *job)
{
    const mlc_norm_backward own = *job, *j = &own; /* which no store can change */
    for (size_t p = 0; p < j->pixels; p++)
        for (size_t c = 0; c < j->channels; c += VN) {
            size_t at = p * j->channels + c;
            vf dz = norm_dz(act, j, at, c);
            if (j->residual) norm_put(j->residual + at, dz, j->add_residual, j->stream);
            if (!j->dx) continue;
            vf r = v_fma(norm_load(j->x, j->copy, at), v_load(j->b + c), v_load(j->c + c));
            norm_put(j->dx + at, v_fma(dz, v_load(j->a + c), r), j->add, j->stream);
        }
}

/* residual = dz, then dx = a dz + b x + c. They may be one array. */
static void norm_backward(const mlc_norm_backward *j)
{
    BY_ACTIVATION(j->act, norm_backward_body, j)
}
