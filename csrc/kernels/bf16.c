/* Numbers kept as bfloat16, the upper half of a float: its sign and exponent, and 8 bits of its
 * mantissa with the one that is not written. */

/* y = x rounded to the nearest, halves to even; a NaN stays one, of the same sign. */
static void narrow(const float *x, uint16_t *y, size_t n)
{
    size_t i = 0;
    for (; i + VN <= n; i += VN) v_store_bf16(y + i, v_load(x + i));
    if (i == n) return;
    uint16_t rest[VN];
    v_store_bf16(rest, v_load_n(x + i, n - i));
    memcpy(y + i, rest, (n - i) * sizeof *y);
}

/* y = x, which is exact. */
static void widen(const uint16_t *x, float *y, size_t n)
{
    size_t i = 0;
    for (; i + VN <= n; i += VN) v_store(y + i, v_load_bf16(x + i));
    if (i == n) return;
    uint16_t rest[VN] = {0};
    memcpy(rest, x + i, (n - i) * sizeof *x);
    v_store_n(y + i, v_load_bf16(rest), n - i);
}
