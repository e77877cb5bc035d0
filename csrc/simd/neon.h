/* The v_* vocabulary (simd/scalar.h says what each word means) on 4 lanes: NEON of aarch64. */
#define VN 4
#define TILE_ROWS 6
#define TILE_VECTORS 4
typedef float32x4_t vf;
typedef uint32x4_t vpair;
typedef uint32x4_t vmask;

static inline vf v_load(const float *p) { return vld1q_f32(p); }
static inline vf v_load_bytes(const uint8_t *p)
{
    uint32_t bytes;
    memcpy(&bytes, p, sizeof bytes);
    uint16x8_t wide = vmovl_u8(vcreate_u8(bytes));
    return vcvtq_f32_u32(vmovl_u16(vget_low_u16(wide)));
}
static inline void v_store_bytes(uint8_t *p, vf a)
{
    uint16x4_t words = vmovn_u32(vcvtq_u32_f32(a));
    uint8x8_t bytes = vmovn_u16(vcombine_u16(words, words));
    memcpy(p, &bytes, 4);
}
static inline vf v_load_bf16(const uint16_t *p)
{
    return vreinterpretq_f32_u32(vshll_n_u16(vld1_u16(p), 16));
}
static inline void v_store_bf16(uint16_t *p, vf a)
{
    uint32x4_t bits = vreinterpretq_u32_f32(a), high = vshrq_n_u32(bits, 16);
    uint32x4_t up = vaddq_u32(vdupq_n_u32(0x7fff), vandq_u32(high, vdupq_n_u32(1)));
    uint32x4_t nearest = vshrq_n_u32(vaddq_u32(bits, up), 16);
    uint32x4_t quiet = vorrq_u32(high, vdupq_n_u32(0x40));
    vst1_u16(p, vmovn_u32(vbslq_u32(vceqq_f32(a, a), nearest, quiet)));
}
static inline vpair v_load_pairs(const uint16_t *p) { return vreinterpretq_u32_u16(vld1q_u16(p)); }
static inline vpair v_set_pair(const uint16_t *p)
{
    uint32_t pair;
    memcpy(&pair, p, sizeof pair);
    return vdupq_n_u32(pair);
}
static inline vf v_even(vpair a) { return vreinterpretq_f32_u32(vshlq_n_u32(a, 16)); }
static inline vf v_odd(vpair a)
{
    return vreinterpretq_f32_u32(vandq_u32(a, vdupq_n_u32(0xffff0000)));
}
static inline void v_store(float *p, vf a) { vst1q_f32(p, a); }
static inline void v_stream(float *p, vf a) { vst1q_f32(p, a); }
static inline vf v_set(float a) { return vdupq_n_f32(a); }
static inline vf v_add(vf a, vf b) { return vaddq_f32(a, b); }
static inline vf v_sub(vf a, vf b) { return vsubq_f32(a, b); }
static inline vf v_mul(vf a, vf b) { return vmulq_f32(a, b); }
static inline vf v_div(vf a, vf b) { return vdivq_f32(a, b); }
static inline vf v_fma(vf a, vf b, vf c) { return vfmaq_f32(c, a, b); }
static inline vf v_sqrt(vf a) { return vsqrtq_f32(a); }
static inline vmask v_eq(vf a, vf b) { return vceqq_f32(a, b); }
static inline vmask v_gt(vf a, vf b) { return vcgtq_f32(a, b); }
static inline vmask v_beats(vf a, vf b)
{
    return vandq_u32(vmvnq_u32(vcleq_f32(a, b)), vceqq_f32(b, b));
}
static inline vf v_select(vmask m, vf yes, vf no) { return vbslq_f32(m, yes, no); }
/* Not vmaxq and vminq: those answer NaN where either is, and tell 0 from -0. */
static inline vf v_max(vf a, vf b) { return v_select(v_gt(a, b), a, b); }
static inline vf v_min(vf a, vf b) { return v_select(v_gt(b, a), a, b); }
static inline vf v_abs(vf a) { return vabsq_f32(a); }
static inline vf v_round(vf a) { return vrndnq_f32(a); }

static inline vf v_power2(vf n)
{
    int32x4_t biased = vaddq_s32(vcvtq_s32_f32(n), vdupq_n_s32(127));
    return vreinterpretq_f32_s32(vshlq_n_s32(biased, 23));
}
static inline vf v_scale2(vf a, vf n)
{
    vf half = v_round(v_mul(n, v_set(0.5f)));
    vf scaled = v_mul(v_mul(a, v_power2(half)), v_power2(v_sub(n, half)));
    return v_select(vceqq_f32(n, n), scaled, n);
}
static inline vf v_exponent(vf a)
{
    int32x4_t biased = vreinterpretq_s32_u32(vshrq_n_u32(vreinterpretq_u32_f32(a), 23));
    return vcvtq_f32_s32(vsubq_s32(biased, vdupq_n_s32(127)));
}
static inline vf v_mantissa(vf a)
{
    uint32x4_t bits = vandq_u32(vreinterpretq_u32_f32(a), vdupq_n_u32(0x007fffff));
    return vreinterpretq_f32_u32(vorrq_u32(bits, vdupq_n_u32(0x3f800000)));
}
