/* The Gaussian error linear unit in its exact form, x P(N <= x) (Hendrycks and Gimpel, arXiv
 * 1606.08415). Lengths are free. An infinite x that is not just passed on gives a NaN, as the
 * formula does and torch. */

/* y = x P(N <= x). y may be x. */
static inline vf v_gelu(vf x)
{
    vf density;
    return v_mul(x, v_normal(x, &density));
}

static void gelu(const float *x, float *y, size_t n)
{
    size_t i = 0;
    for (; i + VN <= n; i += VN) v_store(y + i, v_gelu(v_load(x + i)));
    if (i < n) v_store_n(y + i, v_gelu(v_load_n(x + i, n - i)), n - i);
}

static inline vf v_gelu_slope(vf x)
{
    vf density, below = v_normal(x, &density);
    return v_fma(x, density, below);
}

/* dx (+)= dy (P(N <= x) + x density(x)). dx may be dy. */
static void gelu_backward(const float *x, const float *dy, float *dx, size_t n, int accumulate)
{
    size_t i = 0;
    for (; i + VN <= n; i += VN) {
        vf d = v_mul(v_load(dy + i), v_gelu_slope(v_load(x + i)));
        v_store(dx + i, accumulate ? v_add(v_load(dx + i), d) : d);
    }
    if (i == n) return;
    vf d = v_mul(v_load_n(dy + i, n - i), v_gelu_slope(v_load_n(x + i, n - i)));
    v_store_n(dx + i, accumulate ? v_add(v_load_n(dx + i, n - i), d) : d, n - i);
}
