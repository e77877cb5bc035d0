/* Counter-based random numbers: Philox4x32-10 (Salmon, Moraes, Dror, Shaw, "Parallel random
 * numbers: as easy as 1, 2, 3", SC 2011, section 3.3 and table 2). A number is a function of its
 * key and counter, so no state is kept and no order of drawing matters. */
#ifndef MLC_RNG_H
#define MLC_RNG_H

#include <stdint.h>

/* What a draw belongs to. `element` counts blocks of four 32-bit words. */
typedef struct {
    uint64_t seed;
    uint32_t epoch, position, operation;
} mlc_key;

typedef struct {
    uint32_t word[4];
} mlc_words;

static inline mlc_words mlc_rng_words(mlc_key key, uint32_t element)
{
    uint32_t k0 = (uint32_t)key.seed, k1 = (uint32_t)(key.seed >> 32);
    mlc_words x = {{element, key.position, key.epoch, key.operation}};
    for (int round = 0; round < 10; round++) {
        uint64_t p0 = (uint64_t)0xD2511F53u * x.word[0];
        uint64_t p1 = (uint64_t)0xCD9E8D57u * x.word[2];
        mlc_words y = {{(uint32_t)(p1 >> 32) ^ x.word[1] ^ k0, (uint32_t)p1,
                        (uint32_t)(p0 >> 32) ^ x.word[3] ^ k1, (uint32_t)p0}};
        x = y;
        k0 += 0x9E3779B9u; /* golden ratio and sqrt(3) - 1, the paper's Weyl constants */
        k1 += 0xBB67AE85u;
    }
    return x;
}

/* 53 random bits as a double in [0, 1). */
static inline double mlc_rng_double(uint32_t high, uint32_t low)
{
    return (double)((((uint64_t)high << 32) | low) >> 11) * 0x1p-53;
}

/* 24 random bits as a float in [0, 1). */
static inline float mlc_rng_float(uint32_t word) { return (float)(word >> 8) * 0x1p-24f; }

#endif
