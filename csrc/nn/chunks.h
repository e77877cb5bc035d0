/* Sums of channels over all pixels of a tensor: float sums over chunks of rows, fixed by shape and
 * filled by any threads, which are added up in double in their order: the same bits for any number
 * of threads. A chunk has `kinds` sums of each channel, [chunk][kind][stride]. */
#ifndef MLC_CHUNKS_H
#define MLC_CHUNKS_H

#include "layer.h"

enum { MLC_CHUNK_PIXELS = 256 }; /* float sums of so many numbers lose nothing that matters */

static inline size_t mlc_chunk_rows(const mlc_tensor *t) { return MLC_CHUNK_PIXELS / t->w + 1; }
static inline size_t mlc_chunks(const mlc_tensor *t)
{
    return (tensor_rows(t) + mlc_chunk_rows(t) - 1) / mlc_chunk_rows(t);
}

/* A chunk's rows: from the first to before the end. */
static inline size_t mlc_chunk_first(const mlc_tensor *t, size_t chunk)
{
    return chunk * mlc_chunk_rows(t);
}
static inline size_t mlc_chunk_end(const mlc_tensor *t, size_t chunk)
{
    size_t end = mlc_chunk_first(t, chunk + 1), rows = tensor_rows(t);
    return end < rows ? end : rows;
}

/* Bytes of all sums; false on overflow. */
static inline bool mlc_chunk_sums_bytes(const mlc_tensor *t, size_t kinds, size_t *bytes)
{
    return mlc_mul(mlc_chunks(t), kinds * sizeof(float), bytes) &&
           mlc_mul(*bytes, t->stride, bytes);
}

/* Where a chunk's sums are, which this sets to 0. */
static inline float *mlc_chunk_sums(void *scratch, const mlc_tensor *t, size_t kinds, size_t chunk)
{
    float *sums = (float *)scratch + chunk * kinds * t->stride;
    return memset(sums, 0, kinds * t->stride * sizeof *sums);
}

/* All chunks' sums of one kind become the gradient of `param`, a number for each channel. */
static inline void mlc_chunk_grad(const mlc_run *run, const mlc_tensor *t, size_t kinds,
                                  size_t kind, mlc_param *param)
{
    const float *sums = (const float *)run->scratch + kind * t->stride;
    for (size_t from = 0; param->trainable && from < param->size; from += MLC_LANES) {
        double sum[MLC_LANES] = {0};
        for (size_t chunk = 0; chunk < mlc_chunks(t); chunk++)
            for (size_t l = 0; l < MLC_LANES; l++)
                sum[l] += (double)sums[chunk * kinds * t->stride + from + l];
        for (size_t l = 0; l < MLC_LANES && from + l < param->size; l++) {
            float *to = &param->grad[from + l];
            *to = (float)(run->accumulate_params ? (double)*to + sum[l] : sum[l]);
        }
    }
}

#endif
