/* A batch of photos -> what the network sees: one resampling, light and colors, normalization. */
#ifndef MLC_AUGMENT_H
#define MLC_AUGMENT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

typedef struct {
    const uint8_t *images; /* (count, height, width, 3); height, width >= 1 */
    size_t count, height, width;
    const double *homography; /* (count, 3, 3), see image/augment.c; NULL: no resampling */
    int border;               /* mlc_border */
    bool nearest;             /* the nearest pixel instead of a blend of four */
    bool edges;               /* -1 and 1 are the edges of the border pixels, not their centers */
    const float *lighting;    /* (count, 2): added to the logit, then multiplied; NULL: none */
    const float *tint;        /* (count, 3, 4): a map of the logits of a pixel; NULL: none */
    const float *turn;        /* (count): of the color circle, added to hues; NULL: none */
    const float *mean, *std;  /* (3) */
    float *out;               /* (count, out_height, out_width, 3) */
    size_t out_height, out_width; /* those of the images without a homography */
} mlc_augment;

void mlc_augment_run(const mlc_augment *job);

#endif
