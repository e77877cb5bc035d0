#include "epilogue.h"

/* --- moments --------------------------------------------------------------------------------- */

bool mlc_moments_bytes(size_t chunks, size_t stride, size_t *bytes)
{
    size_t chunk = sizeof(size_t);
    return mlc_mul(3 * sizeof(float), stride, bytes) && mlc_add(*bytes, chunk, bytes) &&
           mlc_mul(*bytes, chunks, bytes) && mlc_add(*bytes, MLC_ALIGN, bytes);
}

mlc_moments mlc_moments_in(void *scratch, size_t chunks, size_t stride)
{
    float *sums = scratch;
    return (mlc_moments){.chunks = chunks,
                         .stride = stride,
                         .pixels = (size_t *)(sums + 3 * chunks * stride),
                         .sums = sums};
}

static float *chunk_at(const mlc_moments *m, size_t chunk)
{
    return m->sums + 3 * chunk * m->stride;
}

void mlc_moments_begin(const mlc_moments *m, size_t chunk, const float *first)
{
    float *shift = chunk_at(m, chunk);
    memcpy(shift, first, m->stride * sizeof *shift);
    memset(shift + m->stride, 0, 2 * m->stride * sizeof *shift);
    m->pixels[chunk] = 0;
}

void mlc_moments_add(const mlc_moments *m, size_t chunk, const float *x, size_t pixels)
{
    float *shift = chunk_at(m, chunk), *sum = shift + m->stride, *square = sum + m->stride;
    mlc_kernel->norm_sums(x, pixels, m->stride, shift, sum, square);
    m->pixels[chunk] += pixels;
}

/* Chan, Golub and LeVeque, "Updating formulae and a pairwise algorithm for computing sample
 * variances" (1979), for MLC_LANES channels from `c` on. */
static void merge_lanes(const mlc_moments *m, size_t c, double *mean, double *variance)
{
    double count = 0, square[MLC_LANES] = {0};
    for (int l = 0; l < MLC_LANES; l++) mean[l] = 0;
    for (size_t chunk = 0; chunk < m->chunks; chunk++) {
        const float *shift = chunk_at(m, chunk) + c, *s = shift + m->stride, *q = s + m->stride;
        double n = (double)m->pixels[chunk], total = count + n;
        double each = 1 / n, part = n / total, cross = count * part;
        for (int l = 0; l < MLC_LANES; l++) {
            double sum = (double)s[l];
            double delta = (double)shift[l] + sum * each - mean[l];
            square[l] += (double)q[l] - sum * sum * each + delta * delta * cross;
            mean[l] += delta * part;
        }
        count = total;
    }
    for (int l = 0; l < MLC_LANES; l++) /* rounding may go below 0; a NaN stays one */
        variance[l] = square[l] < 0 ? 0 : square[l] / count;
}

void mlc_moments_merge(const mlc_moments *m, size_t channels, double *mean, double *variance)
{
    for (size_t c = 0; c < channels; c += MLC_LANES) {
        double a[MLC_LANES], b[MLC_LANES];
        size_t lanes = channels - c < MLC_LANES ? channels - c : MLC_LANES;
        merge_lanes(m, c, a, b);
        memcpy(mean + c, a, lanes * sizeof *a);
        memcpy(variance + c, b, lanes * sizeof *b);
    }
}

/* --- epilogues ------------------------------------------------------------------------------- */

void mlc_activate(mlc_activation act, const mlc_tensor *t, const float *x, float *y, size_t pixels)
{
    mlc_kernel->activate(x, y, pixels * t->stride, act);
    for (size_t p = 0; p < pixels && t->c < t->stride; p++, y += t->stride)
        memset(y + t->c, 0, (t->stride - t->c) * sizeof *y);
}

/* `pixels` of one row, the first of them pixel x of row r. */
static void finish_row(const mlc_finish *f, size_t chunk, size_t r, size_t x, size_t pixels)
{
    const mlc_epilogue *e = f->epilogue;
    size_t stride = f->out->stride;
    float *y = f->y + tensor_row_at(f->out, r) + x * stride;
    if (e->mean) mlc_moments_add(&f->moments, chunk, y, pixels);
    if (e->slope_at) {
        const float *at = e->slope_at + tensor_row_at(e->like, r) + x * stride;
        mlc_kernel->activate_backward(at, y, y, pixels * stride, e->act, false);
        return;
    }
    if (!e->scale) {
        if (e->act) mlc_activate(e->act, f->out, y, y, pixels);
        return;
    }
    const float *residual =
        e->residual ? e->residual + tensor_row_at(e->like, r) + x * stride : NULL;
    mlc_kernel->norm_apply(y, residual, pixels, stride, e->scale, e->shift, e->act, false, y);
}

void mlc_finish_chunk(const mlc_finish *f, size_t chunk, size_t first, size_t count)
{
    size_t w = f->out->w, x = first % w, r = first / w;
    if (f->epilogue->mean)
        mlc_moments_begin(&f->moments, chunk, f->y + tensor_row_at(f->out, r) + x * f->out->stride);
    for (; count; x = 0, r++) {
        size_t pixels = w - x < count ? w - x : count;
        finish_row(f, chunk, r, x, pixels);
        count -= pixels;
    }
}

void mlc_finish_all(const mlc_finish *f)
{
    const mlc_epilogue *e = f->epilogue;
    if (e->mean) mlc_moments_merge(&f->moments, f->out->c, e->mean, e->variance);
}
