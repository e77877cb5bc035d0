/* A batch of photos -> what the network sees: one resampling, lighting, normalization. */
#ifndef MLC_AUGMENT_H
#define MLC_AUGMENT_H

#include <stddef.h>
#include <stdint.h>

typedef struct {
    const uint8_t *images; /* (count, height, width, 3); height, width >= 1 */
    size_t count, height, width;
    const double *homography; /* (count, 3, 3), see image/augment.c; NULL: no resampling */
    const float *lighting;    /* (count, 2): added to the logit, then multiplied; NULL: none */
    const float *mean, *std;  /* (3) */
    float *out;               /* (count, height, width, 3) */
} mlc_augment;

void mlc_augment_run(const mlc_augment *job);

#endif
