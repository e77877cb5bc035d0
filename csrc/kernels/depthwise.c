/* Depthwise convolution: each channel is filtered by itself, so vectors lie along channels.
 * `channels` is a multiple of MLC_LANES.
 *
 * A block of pixels of a row keeps its sums in registers, beside one filter row: every input that
 * is loaded serves all the outputs it reaches. An output adds its taps up in the order of the
 * filter, wherever the block begins, so blocks may differ between instruction sets. The bodies are
 * inlined with constant sizes: only then can GCC keep the sums in registers. */

#define UNROLL_ALL _Pragma("GCC unroll 32")

enum { DEPTHWISE_COLS = 7, DEPTHWISE_BLOCK = TILE_ROWS, DEPTHWISE_DY = 4 };

/* Whether input `p` of a block meets tap `q` in output `i`. */
#define MEETS(p, q, i) ((p) == (i) * step + (q))

static inline
    __attribute__((always_inline)) void depthwise_block(const mlc_depthwise *j, size_t x, size_t c,
                                                        const size_t pixels, const size_t cols,
                                                        const size_t step)
{
    vf sum[DEPTHWISE_BLOCK], start = j->bias ? v_load(j->bias + c) : v_set(0.0f);
    const float *in = j->in + x * step * j->channels + c, *w = j->weights + c;
    UNROLL_ALL
    for (size_t i = 0; i < pixels; i++) sum[i] = start;
    for (size_t r = 0; r < j->rows; r++, in += j->in_row, w += cols * j->channels) {
        vf tap[DEPTHWISE_COLS];
        UNROLL_ALL
        for (size_t q = 0; q < cols; q++) tap[q] = v_load(w + q * j->channels);
        UNROLL_ALL
        for (size_t p = 0; p < (pixels - 1) * step + cols; p++) {
            vf v = v_load(in + p * j->channels);
            UNROLL_ALL
            for (size_t i = 0; i < pixels; i++) {
                UNROLL_ALL
                for (size_t q = 0; q < cols; q++)
                    if (MEETS(p, q, i)) sum[i] = v_fma(v, tap[q], sum[i]);
            }
        }
    }
    float *out = j->out + x * j->out_step + c;
    UNROLL_ALL
    for (size_t i = 0; i < pixels; i++, out += j->out_step)
        v_store(out, j->accumulate ? v_add(v_load(out), sum[i]) : sum[i]);
}

static inline __attribute__((always_inline)) void
depthwise_body(const mlc_depthwise *j, const size_t cols, const size_t step)
{
    size_t x = 0;
    for (; x + DEPTHWISE_BLOCK <= j->pixels; x += DEPTHWISE_BLOCK)
        for (size_t c = 0; c < j->channels; c += VN)
            depthwise_block(j, x, c, DEPTHWISE_BLOCK, cols, step);
    for (; x < j->pixels; x++)
        for (size_t c = 0; c < j->channels; c += VN) depthwise_block(j, x, c, 1, cols, step);
}

/* out(x)[c] (+)= bias[c] + sum over r < rows, q < cols of in(r, x step + q)[c] weights[r][q][c].
 * (cols, step) is one of those below. */
static void depthwise_row(const mlc_depthwise *j)
{
    switch (2 * j->cols + j->step) {
    case 2 * 1 + 1: depthwise_body(j, 1, 1); break;
    case 2 * 2 + 1: depthwise_body(j, 2, 1); break;
    case 2 * 3 + 1: depthwise_body(j, 3, 1); break;
    case 2 * 4 + 1: depthwise_body(j, 4, 1); break;
    case 2 * 5 + 1: depthwise_body(j, 5, 1); break;
    case 2 * 7 + 1: depthwise_body(j, 7, 1); break;
    case 2 * 3 + 2: depthwise_body(j, 3, 2); break;
    case 2 * 5 + 2: depthwise_body(j, 5, 2); break;
    case 2 * 7 + 2: depthwise_body(j, 7, 2); break;
    }
}

/* What `pixels` of dy from x on add to the sums of the taps of `rows` filter rows. */
static inline __attribute__((always_inline)) void
depthwise_outer(const mlc_depthwise_weights *j, size_t r, size_t x, size_t c,
                vf sum[3][DEPTHWISE_COLS], const size_t rows, const size_t pixels,
                const size_t cols, const size_t step)
{
    vf dy[DEPTHWISE_DY];
    const float *from = j->dy + x * j->channels + c;
    UNROLL_ALL
    for (size_t i = 0; i < pixels; i++) dy[i] = v_load(from + i * j->channels);
    UNROLL_ALL
    for (size_t k = 0; k < rows; k++) {
        const float *in = j->x + (r + k) * j->x_row + x * step * j->channels + c;
        UNROLL_ALL
        for (size_t p = 0; p < (pixels - 1) * step + cols; p++) {
            vf v = v_load(in + p * j->channels);
            UNROLL_ALL
            for (size_t i = 0; i < pixels; i++) {
                UNROLL_ALL
                for (size_t q = 0; q < cols; q++)
                    if (MEETS(p, q, i)) sum[k][q] = v_fma(v, dy[i], sum[k][q]);
            }
        }
    }
}

/* Filter rows [r, r + rows), of one vector of channels, over all pixels. */
static inline __attribute__((always_inline)) void
depthwise_taps(const mlc_depthwise_weights *j, size_t r, size_t c, const size_t rows,
               const size_t cols, const size_t step)
{
    vf sum[3][DEPTHWISE_COLS];
    size_t x = 0;
    UNROLL_ALL
    for (size_t k = 0; k < rows; k++) {
        UNROLL_ALL
        for (size_t q = 0; q < cols; q++) sum[k][q] = v_set(0.0f);
    }
    for (; x + DEPTHWISE_DY <= j->pixels; x += DEPTHWISE_DY)
        depthwise_outer(j, r, x, c, sum, rows, DEPTHWISE_DY, cols, step);
    for (; x < j->pixels; x++) depthwise_outer(j, r, x, c, sum, rows, 1, cols, step);
    float *to = j->dweights + r * cols * j->channels + c;
    UNROLL_ALL
    for (size_t k = 0; k < rows; k++) {
        UNROLL_ALL
        for (size_t q = 0; q < cols; q++, to += j->channels)
            v_store(to, v_add(v_load(to), sum[k][q]));
    }
}

static inline void depthwise_bias(const mlc_depthwise_weights *j, size_t c)
{
    vf sum = v_set(0.0f);
    const float *dy = j->dy + c;
    for (size_t x = 0; x < j->pixels; x++, dy += j->channels) sum = v_add(sum, v_load(dy));
    v_store(j->dbias + c, v_add(v_load(j->dbias + c), sum));
}

/* All rows of a 3 x 3 filter fit in the registers together, of larger ones a row does. */
static inline __attribute__((always_inline)) void
depthwise_weights_body(const mlc_depthwise_weights *j, const size_t cols, const size_t step)
{
    const size_t rows = cols == 3 ? 3 : 1;
    for (size_t c = 0; c < j->channels; c += VN) {
        for (size_t r = 0; r < cols; r += rows) depthwise_taps(j, r, c, rows, cols, step);
        if (j->dbias) depthwise_bias(j, c);
    }
}

/* dweights[r][q][c] += sum over x < pixels of in(r, x step + q)[c] dy(x)[c], and dbias[c] += sum of
 * dy(x)[c] if it is given. (cols, step) is one of those below; there are as many rows. */
static void depthwise_weights(const mlc_depthwise_weights *j)
{
    switch (2 * j->cols + j->step) {
    case 2 * 3 + 1: depthwise_weights_body(j, 3, 1); break;
    case 2 * 5 + 1: depthwise_weights_body(j, 5, 1); break;
    case 2 * 7 + 1: depthwise_weights_body(j, 7, 1); break;
    case 2 * 3 + 2: depthwise_weights_body(j, 3, 2); break;
    case 2 * 5 + 2: depthwise_weights_body(j, 5, 2); break;
    case 2 * 7 + 2: depthwise_weights_body(j, 7, 2); break;
    }
}

#undef MEETS
#undef UNROLL_ALL
