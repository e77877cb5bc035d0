/* The v_* vocabulary of AVX-512 F with its instruction for products of bfloat16. */
#include "avx512.h"

#define V_DOT
static inline vf v_dot(vpair a, vpair b, vf c)
{
    return _mm512_dpbf16_ps(c, (__m512bh)a, (__m512bh)b);
}
