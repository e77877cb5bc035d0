/* Scores as unsigned integers in the same order, and back. -0 and +0 have one rank; a NaN has one
 * too, which means nothing: who ranks refuses NaN before. */
#ifndef MLC_RANK_H
#define MLC_RANK_H

#include <stdint.h>
#include <string.h>

static inline uint32_t mlc_rank_of(float score)
{
    uint32_t bits;
    score += 0.0f; /* -0 becomes +0 */
    memcpy(&bits, &score, sizeof bits);
    /* Flip all bits of negatives, the sign of others. */
    return bits ^ ((uint32_t)((int32_t)bits >> 31) | 0x80000000u);
}

static inline float mlc_score_of(uint32_t rank)
{
    uint32_t bits = rank & 0x80000000u ? rank & 0x7fffffffu : ~rank;
    float score;
    memcpy(&score, &bits, sizeof score);
    return score;
}

#endif
