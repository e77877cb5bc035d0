/* The most multiply-adds that a core can do: independent chains of them, all in registers.
 * Compiled and loaded by engine.py. A probe runs `rounds` rounds and returns what it summed, which
 * keeps it from being optimised away; a round is CHAINS * bytes / 4 multiply-adds. */

enum { CHAINS = 12 };

#define PROBE(name, bytes, target)                                                                 \
    target float name(long rounds)                                                                 \
    {                                                                                              \
        typedef float vec __attribute__((vector_size(bytes)));                                     \
        vec zero = {0}, sum[CHAINS], by = zero + 0.999f, plus = zero + 0.001f;                     \
        for (int i = 0; i < CHAINS; i++) sum[i] = zero + (float)(i + 2);                           \
        for (long r = 0; r < rounds; r++)                                                          \
            _Pragma("GCC unroll 12") for (int i = 0; i < CHAINS; i++) sum[i] = sum[i] * by + plus; \
        for (int i = 1; i < CHAINS; i++) sum[0] += sum[i];                                         \
        return sum[0][0];                                                                          \
    }

#if defined(__x86_64__)
PROBE(fma_avx512, 64, __attribute__((target("avx512f"))))
PROBE(fma_avx2, 32, __attribute__((target("avx2,fma"))))
#else
PROBE(fma_neon, 16, )
#endif
