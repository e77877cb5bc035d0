/* Activations: functions of one number, and their slopes. Every name of mlc_activation:
 *
 *     identity x        relu max(0, x)        sigmoid s(x) = 1 / (1 + e^-x)        silu x s(x)
 *     hardsigmoid h(x) = min(6, max(0, x + 3)) / 6        hardswish x h(x)        gelu x P(N <= x)
 *
 * (silu: Elfwing et al., arXiv:1702.03118; the hard ones: Howard et al., arXiv:1905.02244.) A slope
 * at a corner is that of the flat side. NaN stays NaN. Callers give `act` as a constant wherever a
 * loop is hot. */

static inline vf v_hardsigmoid(vf x)
{
    vf t = v_max(v_set(0.0f), v_add(x, v_set(3.0f)));
    return v_mul(v_min(v_set(6.0f), t), v_set(1.0f / 6));
}

static inline __attribute__((always_inline)) vf v_activate(const int act, vf x)
{
    switch (act) {
    case MLC_RELU: return v_max(v_set(0.0f), x);
    case MLC_SIGMOID: return v_sigmoid(x);
    case MLC_SILU: return v_mul(x, v_sigmoid(x));
    case MLC_HARDSIGMOID: return v_hardsigmoid(x);
    case MLC_HARDSWISH: return v_mul(x, v_hardsigmoid(x));
    case MLC_GELU: return v_gelu(x);
    }
    return x;
}

/* s(x) and s(-x), each with all its digits. */
static inline void v_sigmoids(vf x, vf *there, vf *not_there)
{
    vf e = v_exp(v_sub(v_set(0.0f), v_abs(x))), one = v_set(1.0f);
    vf whole = v_div(one, v_add(one, e)), rest = v_mul(e, whole);
    vmask below = v_gt(v_set(0.0f), x);
    *there = v_select(below, rest, whole);
    *not_there = v_select(below, whole, rest);
}

/* `inside` where |x| < 3, else 0 below and `above` above; NaN stays NaN. */
static inline vf v_hard_slope(vf x, vf inside, vf above)
{
    vf high = v_select(v_gt(v_set(3.0f), x), inside, above);
    vf low = v_select(v_eq(x, x), v_set(0.0f), x);
    return v_select(v_gt(x, v_set(-3.0f)), high, low);
}

static inline __attribute__((always_inline)) vf v_slope(const int act, vf x)
{
    vf one = v_set(1.0f), zero = v_set(0.0f), s, r;
    switch (act) {
    case MLC_RELU: return v_select(v_gt(x, zero), one, zero);
    case MLC_SIGMOID: v_sigmoids(x, &s, &r); return v_mul(s, r);
    case MLC_SILU: v_sigmoids(x, &s, &r); return v_fma(v_mul(x, s), r, s);
    case MLC_HARDSIGMOID: return v_hard_slope(x, v_set(1.0f / 6), zero);
    case MLC_HARDSWISH: return v_hard_slope(x, v_fma(x, v_set(1.0f / 3), v_set(0.5f)), one);
    case MLC_GELU: return v_gelu_slope(x);
    }
    return one;
}

#define BY_ACTIVATION(act, body, ...)                                                              \
    switch (act) {                                                                                 \
    case MLC_RELU: body(MLC_RELU, __VA_ARGS__); break;                                             \
    case MLC_SIGMOID: body(MLC_SIGMOID, __VA_ARGS__); break;                                       \
    case MLC_SILU: body(MLC_SILU, __VA_ARGS__); break;                                             \
    case MLC_HARDSIGMOID: body(MLC_HARDSIGMOID, __VA_ARGS__); break;                               \
    case MLC_HARDSWISH: body(MLC_HARDSWISH, __VA_ARGS__); break;                                   \
    case MLC_GELU: body(MLC_GELU, __VA_ARGS__); break;                                             \
    default: body(MLC_IDENTITY, __VA_ARGS__);                                                      \
    }

static inline __attribute__((always_inline)) void activate_body(const int act, const float *x,
                                                                float *y, size_t n)
{
    size_t i = 0;
    for (; i + VN <= n; i += VN) v_store(y + i, v_activate(act, v_load(x + i)));
    if (i < n) v_store_n(y + i, v_activate(act, v_load_n(x + i, n - i)), n - i);
}

/* y = act(x); y may be x. */
static void activate(const float *x, float *y, size_t n, int act)
{
    BY_ACTIVATION(act, activate_body, x, y, n)
}

static inline vf v_passed(const int act, vf x, vf dy, vf there, int accumulate)
{
    vf d = v_mul(dy, v_slope(act, x));
    return accumulate ? v_add(there, d) : d;
}

static inline __attribute__((always_inline)) void activate_backward_body(const int act,
                                                                         const float *x,
                                                                         const float *dy, float *dx,
                                                                         size_t n, int accumulate)
{
    size_t i = 0, rest;
    for (; i + VN <= n; i += VN)
        v_store(dx + i, v_passed(act, v_load(x + i), v_load(dy + i), v_load(dx + i), accumulate));
    if (!(rest = n - i)) return;
    vf last = v_passed(act, v_load_n(x + i, rest), v_load_n(dy + i, rest), v_load_n(dx + i, rest),
                       accumulate);
    v_store_n(dx + i, last, rest);
}

/* dx (+)= dy times the slope of act at x; dx may be dy. */
static void activate_backward(const float *x, const float *dy, float *dx, size_t n, int act,
                              int accumulate)
{
    BY_ACTIVATION(act, activate_backward_body, x, dy, dx, n, accumulate)
}
