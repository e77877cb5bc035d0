/* Tails and elementary functions, written once over the v_* words. Every instruction set does the
 * same operations in the same order with the same rounding, so pointwise results are the same bits
 * on all of them, and element i never depends on how many elements there are. */

/* The first k <= VN elements: a load padded with zeros, a store of k. */
static inline vf v_load_n(const float *p, size_t k)
{
    if (k == VN) return v_load(p);
    float buffer[VN] = {0};
    for (size_t i = 0; i < k; i++) buffer[i] = p[i];
    return v_load(buffer);
}
static inline void v_store_n(float *p, vf a, size_t k)
{
    if (k == VN) {
        v_store(p, a);
        return;
    }
    float buffer[VN];
    v_store(buffer, a);
    for (size_t i = 0; i < k; i++) p[i] = buffer[i];
}
/* The first k elements, zeros for the rest. */
static inline vf v_keep_n(vf a, size_t k)
{
    static const float lane[16] = {0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15};
    return v_select(v_gt(v_set((float)k), v_load(lane)), a, v_set(0.0f));
}

#ifndef V_DOT
/* c plus the products of both numbers of each pair, the odd one's first and each sum rounded: what
 * machines that have an instruction for it compute, which may take denormals for 0. */
static inline vf v_dot(vpair a, vpair b, vf c)
{
    return v_fma(v_even(a), v_even(b), v_fma(v_odd(a), v_odd(b), c));
}
#endif

/* e^x for x <= 0; 0 below -104, where the result would round to 0; NaN for NaN.
 * x = n ln2 + r with |r| <= ln2 / 2; then the Taylor sum of e^r to r^7, whose remainder is below
 * r^8 / 8! < 6e-9. ln2 in two parts (the first with 9 bits) keeps n * ln2_high exact. */
static inline vf v_exp(vf x)
{
    x = v_max(v_set(-104.0f), x); /* in this order a NaN stays */
    vf n = v_round(v_mul(x, v_set(1.44269504f)));
    vf r = v_fma(n, v_set(-0.693359375f), x);
    r = v_fma(n, v_set(2.12194440e-4f), r);
    vf p = v_set(1.0f / 5040);
    p = v_fma(p, r, v_set(1.0f / 720));
    p = v_fma(p, r, v_set(1.0f / 120));
    p = v_fma(p, r, v_set(1.0f / 24));
    p = v_fma(p, r, v_set(1.0f / 6));
    p = v_fma(p, r, v_set(0.5f));
    p = v_fma(p, r, v_set(1.0f));
    p = v_fma(p, r, v_set(1.0f));
    return v_scale2(p, n);
}

/* 2 atanh(s) = 2 (s + s^3/3 + s^5/5 + ...) for |s| <= 1/3: eight terms leave less than
 * 2 s^17 / 17 < 1e-9 of relative error. Twice atanh is a logarithm: ln((1+s) / (1-s)). */
static inline vf v_two_atanh(vf s)
{
    vf z = v_mul(s, s), p = v_set(1.0f / 15);
    p = v_fma(p, z, v_set(1.0f / 13));
    p = v_fma(p, z, v_set(1.0f / 11));
    p = v_fma(p, z, v_set(1.0f / 9));
    p = v_fma(p, z, v_set(1.0f / 7));
    p = v_fma(p, z, v_set(1.0f / 5));
    p = v_fma(p, z, v_set(1.0f / 3));
    vf twice = v_add(s, s);
    return v_fma(v_mul(twice, z), p, twice);
}

/* ln(1 + x) for x in [0, 1], exact to a few ulp for the smallest x too: s = x / (2 + x). */
static inline vf v_log1p(vf x) { return v_two_atanh(v_div(x, v_add(x, v_set(2.0f)))); }

/* ln(x) for positive normal x: the mantissa is brought into [sqrt(1/2), sqrt(2)). */
static inline vf v_log(vf x)
{
    vf n = v_exponent(x), m = v_mantissa(x);
    vmask high = v_gt(m, v_set(1.41421356f));
    m = v_select(high, v_mul(m, v_set(0.5f)), m);
    n = v_select(high, v_add(n, v_set(1.0f)), n);
    vf s = v_div(v_sub(m, v_set(1.0f)), v_add(m, v_set(1.0f)));
    vf small = v_fma(n, v_set(-2.12194440e-4f), v_two_atanh(s));
    return v_fma(n, v_set(0.693359375f), small);
}

/* The normal distribution: P(N <= x) = (1 + erf(x / sqrt 2)) / 2, and its density.
 *
 * The tail beyond a = |x| is density times Mills' ratio, which is a polynomial in t = 1 / (1 + p a)
 * (Hastings, "Approximations for Digital Computers", 1955, sheets 43 to 46). These coefficients are
 * fitted to float64 values for a up to 14.6 in the relative minimax sense, to 3e-8; with the
 * rounding of floats, tail and density have a relative error below 1e-6, also where they are tiny.
 * e^h with h = -a^2 / 2 takes what h lost in rounding as a factor 1 + lost. Beyond 14.4 both are 0,
 * to which they would round; NaN for NaN. */
static inline vf v_normal(vf x, vf *density)
{
    vf a = v_min(v_set(16.0f), v_abs(x)); /* in this order a NaN stays */
    vf half = v_mul(v_set(-0.5f), a), h = v_mul(half, a);
    vf lost = v_fma(half, a, v_sub(v_set(0.0f), h)), e = v_exp(h);
    e = v_fma(e, lost, e);
    vf t = v_div(v_set(1.0f), v_fma(a, v_set(0.35f), v_set(1.0f)));
    vf p = v_set(-0.028305819f);
    p = v_fma(p, t, v_set(0.13961947f));
    p = v_fma(p, t, v_set(-0.24601437f));
    p = v_fma(p, t, v_set(0.14700526f));
    p = v_fma(p, t, v_set(-0.013670908f));
    p = v_fma(p, t, v_set(0.10082976f));
    p = v_fma(p, t, v_set(0.12130943f));
    p = v_fma(p, t, v_set(0.13957657f));
    p = v_fma(p, t, v_set(0.13965195f));
    p = v_fma(p, t, v_set(-1.3783027e-6f));
    vf tail = v_mul(e, p);
    *density = v_mul(e, v_set(0.39894228f)); /* 1 / sqrt(2 pi) */
    return v_select(v_gt(x, v_set(0.0f)), v_sub(v_set(1.0f), tail), tail);
}
