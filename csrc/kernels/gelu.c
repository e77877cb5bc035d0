/* The Gaussian error linear unit in its exact form, x P(N <= x) (Hendrycks and Gimpel, arXiv
 * 1606.08415), one of the activations. To 8 units in the last place, also in the tail; -infinity
 * gives NaN, as the formula does. */

static inline vf v_gelu(vf x)
{
    vf density;
    return v_mul(x, v_normal(x, &density));
}

static inline vf v_gelu_slope(vf x)
{
    vf density, below = v_normal(x, &density);
    return v_fma(x, density, below);
}
