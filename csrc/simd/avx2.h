/* The v_* vocabulary (simd/scalar.h says what each word means) on 8 lanes: AVX2 and FMA. */
#define VN 8
#define TILE_ROWS 6
#define TILE_VECTORS 2
typedef __m256 vf;
typedef __m256i vpair;
typedef __m256 vmask;

static inline vf v_load(const float *p) { return _mm256_loadu_ps(p); }
static inline vf v_load_bytes(const uint8_t *p)
{
    return _mm256_cvtepi32_ps(_mm256_cvtepu8_epi32(_mm_loadl_epi64((const __m128i *)p)));
}
static inline void v_store_bytes(uint8_t *p, vf a)
{
    __m256i n = _mm256_cvtps_epi32(a);
    __m128i words = _mm_packus_epi32(_mm256_castsi256_si128(n), _mm256_extracti128_si256(n, 1));
    _mm_storel_epi64((__m128i *)p, _mm_packus_epi16(words, words));
}
static inline vf v_load_bf16(const uint16_t *p)
{
    __m256i half = _mm256_cvtepu16_epi32(_mm_loadu_si128((const __m128i *)p));
    return _mm256_castsi256_ps(_mm256_slli_epi32(half, 16));
}
static inline void v_store_bf16(uint16_t *p, vf a)
{
    __m256i bits = _mm256_castps_si256(a), high = _mm256_srli_epi32(bits, 16);
    __m256i odd = _mm256_and_si256(high, _mm256_set1_epi32(1));
    __m256i up = _mm256_add_epi32(bits, _mm256_add_epi32(_mm256_set1_epi32(0x7fff), odd));
    __m256i nearest = _mm256_srli_epi32(up, 16);
    __m256i quiet = _mm256_or_si256(high, _mm256_set1_epi32(0x40));
    __m256i nan = _mm256_castps_si256(_mm256_cmp_ps(a, a, _CMP_UNORD_Q));
    __m256i words = _mm256_blendv_epi8(nearest, quiet, nan);
    _mm_storeu_si128((__m128i *)p, _mm_packus_epi32(_mm256_castsi256_si128(words),
                                                    _mm256_extracti128_si256(words, 1)));
}
static inline vpair v_load_pairs(const uint16_t *p)
{
    return _mm256_loadu_si256((const __m256i *)p);
}
static inline vpair v_set_pair(const uint16_t *p)
{
    int pair;
    memcpy(&pair, p, sizeof pair);
    return _mm256_set1_epi32(pair);
}
static inline vf v_even(vpair a) { return _mm256_castsi256_ps(_mm256_slli_epi32(a, 16)); }
static inline vf v_odd(vpair a)
{
    return _mm256_castsi256_ps(_mm256_and_si256(a, _mm256_set1_epi32((int)0xffff0000)));
}
static inline void v_store(float *p, vf a) { _mm256_storeu_ps(p, a); }
static inline void v_stream(float *p, vf a) { _mm256_stream_ps(p, a); }
static inline vf v_set(float a) { return _mm256_set1_ps(a); }
static inline vf v_add(vf a, vf b) { return _mm256_add_ps(a, b); }
static inline vf v_sub(vf a, vf b) { return _mm256_sub_ps(a, b); }
static inline vf v_mul(vf a, vf b) { return _mm256_mul_ps(a, b); }
static inline vf v_div(vf a, vf b) { return _mm256_div_ps(a, b); }
static inline vf v_fma(vf a, vf b, vf c) { return _mm256_fmadd_ps(a, b, c); }
static inline vf v_sqrt(vf a) { return _mm256_sqrt_ps(a); }
static inline vf v_max(vf a, vf b) { return _mm256_max_ps(a, b); }
static inline vf v_min(vf a, vf b) { return _mm256_min_ps(a, b); }
static inline vf v_abs(vf a) { return _mm256_andnot_ps(_mm256_set1_ps(-0.0f), a); }
static inline vf v_round(vf a)
{
    return _mm256_round_ps(a, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC);
}
static inline vmask v_eq(vf a, vf b) { return _mm256_cmp_ps(a, b, _CMP_EQ_OQ); }
static inline vmask v_gt(vf a, vf b) { return _mm256_cmp_ps(a, b, _CMP_GT_OQ); }
static inline vmask v_beats(vf a, vf b)
{
    return _mm256_and_ps(_mm256_cmp_ps(a, b, _CMP_NLE_UQ), _mm256_cmp_ps(b, b, _CMP_ORD_Q));
}
static inline vf v_select(vmask m, vf yes, vf no) { return _mm256_blendv_ps(no, yes, m); }

static inline vf v_power2(vf n)
{
    __m256i biased = _mm256_add_epi32(_mm256_cvtps_epi32(n), _mm256_set1_epi32(127));
    return _mm256_castsi256_ps(_mm256_slli_epi32(biased, 23));
}
static inline vf v_scale2(vf a, vf n)
{
    vf half = v_round(v_mul(n, v_set(0.5f)));
    vf scaled = v_mul(v_mul(a, v_power2(half)), v_power2(v_sub(n, half)));
    return _mm256_blendv_ps(scaled, n, _mm256_cmp_ps(n, n, _CMP_UNORD_Q));
}
static inline vf v_exponent(vf a)
{
    __m256i biased = _mm256_srli_epi32(_mm256_castps_si256(a), 23);
    return _mm256_cvtepi32_ps(_mm256_sub_epi32(biased, _mm256_set1_epi32(127)));
}
static inline vf v_mantissa(vf a)
{
    __m256i bits = _mm256_and_si256(_mm256_castps_si256(a), _mm256_set1_epi32(0x007fffff));
    return _mm256_castsi256_ps(_mm256_or_si256(bits, _mm256_set1_epi32(0x3f800000)));
}
