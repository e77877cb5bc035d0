/* Elementwise kernels. Lengths are free; y may be x in each. */

/* y = 1 / (1 + e^-x), with all digits in both tails: with e = e^-|x|, which never overflows, it is
 * 1 / (1 + e) for x >= 0 and e / (1 + e) below. */
static inline vf v_sigmoid(vf x)
{
    vf e = v_exp(v_sub(v_set(0.0f), v_abs(x)));
    vf denominator = v_add(v_set(1.0f), e);
    return v_div(v_select(v_gt(v_set(0.0f), x), e, v_set(1.0f)), denominator);
}

static void sigmoid(const float *x, float *y, size_t n)
{
    size_t i = 0;
    for (; i + VN <= n; i += VN) v_store(y + i, v_sigmoid(v_load(x + i)));
    if (i < n) v_store_n(y + i, v_sigmoid(v_load_n(x + i, n - i)), n - i);
}

/* y = max(x, 0); NaN stays NaN. */
static void relu(const float *x, float *y, size_t n)
{
    vf zero = v_set(0.0f);
    size_t i = 0;
    for (; i + VN <= n; i += VN) v_store(y + i, v_max(zero, v_load(x + i)));
    if (i < n) v_store_n(y + i, v_max(zero, v_load_n(x + i, n - i)), n - i);
}

/* dx (+)= dy where y > 0, else 0; y is the output of the forward pass. */
static void relu_backward(const float *y, const float *dy, float *dx, size_t n, int accumulate)
{
    for (size_t i = 0; i < n; i++) {
        float d = y[i] > 0.0f ? dy[i] : 0.0f;
        dx[i] = accumulate ? dx[i] + d : d;
    }
}

/* y (+)= x / (1 - p) where the element's own random number is >= p, else 0. Backward is the same
 * call on gradients: the mask is drawn again from its key instead of being kept. */
static void dropout(const float *x, float *y, size_t n, mlc_key key, float p, int accumulate)
{
    float scale = 1.0f / (1.0f - p);
    for (size_t i = 0; i < n; i += 4) {
        mlc_words words = mlc_rng_words(key, (uint32_t)(i / 4));
        for (size_t k = 0; k < 4 && i + k < n; k++) {
            float kept = mlc_rng_float(words.word[k]) >= p ? x[i + k] * scale : 0.0f;
            y[i + k] = accumulate ? y[i + k] + kept : kept;
        }
    }
}
