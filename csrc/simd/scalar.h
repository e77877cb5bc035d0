/* The v_* vocabulary on one lane: the definition of what each word means.
 *
 *   v_stream                   a store to aligned memory that need not pass through the caches
 *   v_max(a, b), v_min(a, b)   a > b ? a : b and a < b ? a : b, so b where either is NaN
 *   v_fma(a, b, c)             a * b + c, rounded once
 *   v_round                    to the nearest integer, halves to even
 *   v_scale2(a, n)             a * 2^n for an integer-valued n of -252 to 254
 *   v_exponent, v_mantissa     x = v_mantissa(x) * 2^v_exponent(x), mantissa in [1, 2), for
 *                              positive normal x
 *   v_load_bytes               VN bytes as floats
 *   v_store_bytes              whole numbers of 0 to 255 as bytes
 *   v_load_bf16                VN numbers of bfloat16 (kernels/bf16.c) as floats
 *   v_store_bf16               floats as bfloat16: the nearest, halves to even; NaN stays NaN
 *   v_load_pairs, v_set_pair   VN pairs of bfloat16, or one pair VN times
 *   v_even, v_odd              the first, the second number of each pair
 *   v_gt(a, b), v_eq(a, b)     a mask, true where a > b, a == b
 *   v_beats(a, b)              the same, true also where a is a NaN and b is not
 *   v_select(mask, yes, no)
 *   VN                         floats in a vector
 *   TILE_ROWS x TILE_VECTORS   the register tile of matrix products
 */
#include <math.h>
#include <stdint.h>
#include <string.h>

#define VN 1
#define TILE_ROWS 4
#define TILE_VECTORS 4
typedef float vf;
typedef uint32_t vpair;
typedef int vmask;

static inline vf v_load(const float *p) { return *p; }
static inline vf v_load_bytes(const uint8_t *p) { return *p; }
static inline void v_store_bytes(uint8_t *p, vf a) { *p = (uint8_t)a; }
static inline vf v_load_bf16(const uint16_t *p)
{
    uint32_t bits = (uint32_t)*p << 16;
    vf a;
    memcpy(&a, &bits, sizeof a);
    return a;
}
static inline void v_store_bf16(uint16_t *p, vf a)
{
    uint32_t bits;
    memcpy(&bits, &a, sizeof bits);
    uint32_t nearest = (bits + 0x7fffu + (bits >> 16 & 1)) >> 16;
    *p = (uint16_t)(a == a ? nearest : bits >> 16 | 0x40u);
}
static inline vpair v_load_pairs(const uint16_t *p) { return (uint32_t)p[1] << 16 | p[0]; }
static inline vpair v_set_pair(const uint16_t *p) { return v_load_pairs(p); }
static inline vf v_even(vpair a)
{
    const uint16_t low = (uint16_t)a;
    return v_load_bf16(&low);
}
static inline vf v_odd(vpair a)
{
    const uint16_t high = (uint16_t)(a >> 16);
    return v_load_bf16(&high);
}
static inline void v_store(float *p, vf a) { *p = a; }
static inline void v_stream(float *p, vf a) { *p = a; }
static inline vf v_set(float a) { return a; }
static inline vf v_add(vf a, vf b) { return a + b; }
static inline vf v_sub(vf a, vf b) { return a - b; }
static inline vf v_mul(vf a, vf b) { return a * b; }
static inline vf v_div(vf a, vf b) { return a / b; }
static inline vf v_fma(vf a, vf b, vf c) { return fmaf(a, b, c); }
static inline vf v_sqrt(vf a) { return sqrtf(a); }
static inline vf v_max(vf a, vf b) { return a > b ? a : b; }
static inline vf v_min(vf a, vf b) { return a < b ? a : b; }
static inline vf v_abs(vf a) { return fabsf(a); }
static inline vf v_round(vf a) { return nearbyintf(a); }
static inline vmask v_gt(vf a, vf b) { return a > b; }
static inline vmask v_eq(vf a, vf b) { return a == b; }
static inline vmask v_beats(vf a, vf b) { return a > b || (a != a && b == b); }
static inline vf v_select(vmask m, vf yes, vf no) { return m ? yes : no; }

static inline vf v_power2(vf n) /* 2^n for n of -126 to 127 */
{
    union {
        uint32_t bits;
        float value;
    } u = {.bits = (uint32_t)((int32_t)n + 127) << 23};
    return u.value;
}
static inline vf v_scale2(vf a, vf n)
{
    if (n != n) return n;
    vf half = nearbyintf(n * 0.5f);
    return a * v_power2(half) * v_power2(n - half);
}
static inline vf v_exponent(vf a)
{
    uint32_t bits;
    memcpy(&bits, &a, sizeof bits);
    return (float)((int32_t)(bits >> 23) - 127);
}
static inline vf v_mantissa(vf a)
{
    uint32_t bits;
    memcpy(&bits, &a, sizeof bits);
    bits = (bits & 0x007fffffu) | 0x3f800000u;
    memcpy(&a, &bits, sizeof bits);
    return a;
}
