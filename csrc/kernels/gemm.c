/* The register tiles that every convolution and matrix product is made of.
 *
 * A tile keeps TILE_ROWS x TILE_VECTORS vectors of sums in registers and, for each step of the
 * reduction, loads TILE_VECTORS vectors of one operand and broadcasts TILE_ROWS numbers of the
 * other. The sizes (simd headers) fill the register file: 7 x 4 + 4 of 32 on AVX-512, 6 x 4 + 4 of
 * 32 on NEON, 6 x 2 + 2 of 16 on AVX2; all give more independent chains than the latency of two
 * FMA units needs. Sums run in the order of the reduction, so a tile's result depends on nothing
 * but its operands.
 *
 * The bodies are inlined with a constant number of rows and of vectors: only then can GCC keep
 * `sum` in registers. Fewer vectors than TILE_VECTORS are the end of a row of outputs, which of a
 * layer of few channels is all of it. */

#define UNROLL _Pragma("GCC unroll 8")

static inline __attribute__((always_inline)) void tile_zero(vf sum[TILE_ROWS][TILE_VECTORS],
                                                            const size_t rows, const size_t vectors)
{
    UNROLL
    for (size_t i = 0; i < rows; i++) {
        UNROLL
        for (size_t j = 0; j < vectors; j++) sum[i][j] = v_set(0.0f);
    }
}

/* What sums begin with: zeros, or a bias. */
static inline __attribute__((always_inline)) void tile_start(vf sum[TILE_ROWS][TILE_VECTORS],
                                                             const size_t rows,
                                                             const size_t vectors,
                                                             const float *start)
{
    tile_zero(sum, rows, vectors);
    if (!start) return;
    UNROLL
    for (size_t j = 0; j < vectors; j++) {
        vf from = v_load(start + j * VN);
        UNROLL
        for (size_t i = 0; i < rows; i++) sum[i][j] = from;
    }
}

/* Write or add the sums to `out[i]`. */
static inline __attribute__((always_inline)) void tile_store(vf sum[TILE_ROWS][TILE_VECTORS],
                                                             const size_t rows,
                                                             const size_t vectors,
                                                             float *const *out, bool accumulate)
{
    UNROLL
    for (size_t i = 0; i < rows; i++) {
        UNROLL
        for (size_t j = 0; j < vectors; j++) {
            float *to = out[i] + j * VN;
            v_store(to, accumulate ? v_add(v_load(to), sum[i][j]) : sum[i][j]);
        }
    }
}

/* body(job, rows, vectors) with the constants that the job asks for. */
#if TILE_ROWS > 6
#define BY_ROWS(body, job, vectors)                                                                \
    switch ((job)->rows) {                                                                         \
    case 1: body(job, 1, vectors); break;                                                          \
    case 2: body(job, 2, vectors); break;                                                          \
    case 3: body(job, 3, vectors); break;                                                          \
    case 4: body(job, 4, vectors); break;                                                          \
    case 5: body(job, 5, vectors); break;                                                          \
    case 6: body(job, 6, vectors); break;                                                          \
    case 7: body(job, 7, vectors); break;                                                          \
    }
#elif TILE_ROWS > 4
#define BY_ROWS(body, job, vectors)                                                                \
    switch ((job)->rows) {                                                                         \
    case 1: body(job, 1, vectors); break;                                                          \
    case 2: body(job, 2, vectors); break;                                                          \
    case 3: body(job, 3, vectors); break;                                                          \
    case 4: body(job, 4, vectors); break;                                                          \
    case 5: body(job, 5, vectors); break;                                                          \
    case 6: body(job, 6, vectors); break;                                                          \
    }
#else
#define BY_ROWS(body, job, vectors)                                                                \
    switch ((job)->rows) {                                                                         \
    case 1: body(job, 1, vectors); break;                                                          \
    case 2: body(job, 2, vectors); break;                                                          \
    case 3: body(job, 3, vectors); break;                                                          \
    case 4: body(job, 4, vectors); break;                                                          \
    }
#endif

/* The same with the constant number of vectors that the job's columns are, too. */
#if TILE_VECTORS > 2
#define BY_SIZE(body, job)                                                                         \
    switch ((job)->columns / VN) {                                                                 \
    case 1: BY_ROWS(body, job, 1) break;                                                           \
    case 2: BY_ROWS(body, job, 2) break;                                                           \
    case 3: BY_ROWS(body, job, 3) break;                                                           \
    case 4: BY_ROWS(body, job, 4) break;                                                           \
    }
#else
#define BY_SIZE(body, job)                                                                         \
    switch ((job)->columns / VN) {                                                                 \
    case 1: BY_ROWS(body, job, 1) break;                                                           \
    case 2: BY_ROWS(body, job, 2) break;                                                           \
    }
#endif

/* Sums are written out every `segment` steps: a float sum of a few thousand terms in a row loses
 * twice the digits of one of sums of a few hundred, for 1 % of the time. */
enum { LINE = 64 }; /* bytes of a cache line: how much a step fetches for later */

static inline __attribute__((always_inline)) void tile_body(const mlc_tile *tile, const size_t rows,
                                                            const size_t vectors)
{
    vf sum[TILE_ROWS][TILE_VECTORS];
    const float *w = tile->weights;
    bool accumulate = tile->accumulate;
    const char *later = (const char *)(tile->later ? tile->later : w);
    size_t left = tile->segment;
    tile_start(sum, rows, vectors, tile->start);
    for (size_t t = 0; t < tile->taps; t++) {
        const float *in[TILE_ROWS];
        UNROLL
        for (size_t i = 0; i < rows; i++) in[i] = tile->in[i] + tile->offset[t];
        const char *ahead = (const char *)(in[0] + tile->ahead);
        for (size_t k = 0; k < tile->run;) {
            size_t end = tile->run - k < left ? tile->run : k + left;
            left -= end - k;
            for (; k < end; k++, w += TILE_VECTORS * VN, ahead += LINE / 2, later += LINE) {
                vf b[TILE_VECTORS];
                __builtin_prefetch(ahead, 0, 3);
                __builtin_prefetch(later, 0, 2);
                UNROLL
                for (size_t j = 0; j < vectors; j++) b[j] = v_load(w + j * VN);
                UNROLL
                for (size_t i = 0; i < rows; i++) {
                    vf a = v_set(in[i][k]);
                    UNROLL
                    for (size_t j = 0; j < vectors; j++) sum[i][j] = v_fma(a, b[j], sum[i][j]);
                }
            }
            if (left) continue;
            tile_store(sum, rows, vectors, tile->out, accumulate);
            tile_zero(sum, rows, vectors);
            accumulate = true;
            left = tile->segment;
        }
    }
    if (left < tile->segment || !accumulate) tile_store(sum, rows, vectors, tile->out, accumulate);
}

static void gemm_tile(const mlc_tile *tile) { BY_SIZE(tile_body, tile) }

static inline __attribute__((always_inline)) void dots_body(const mlc_dots *dots, const size_t rows,
                                                            const size_t vectors)
{
    vf sum[TILE_ROWS][TILE_VECTORS];
    const uint16_t *w = dots->weights;
    bool accumulate = dots->accumulate;
    tile_start(sum, rows, vectors, dots->start);
    for (size_t from = 0; from < dots->run; from += dots->segment) {
        size_t left = dots->run - from;
        size_t end = from + (left < dots->segment ? left : dots->segment);
        for (size_t k = from; k < end; k += 2, w += 2 * TILE_VECTORS * VN) {
            vpair b[TILE_VECTORS];
            UNROLL
            for (size_t j = 0; j < vectors; j++) b[j] = v_load_pairs(w + 2 * j * VN);
            UNROLL
            for (size_t i = 0; i < rows; i++) {
                vpair a = v_set_pair(dots->in + i * dots->in_step + k);
                UNROLL
                for (size_t j = 0; j < vectors; j++) sum[i][j] = v_dot(a, b[j], sum[i][j]);
            }
        }
        tile_store(sum, rows, vectors, dots->out, accumulate);
        tile_zero(sum, rows, vectors);
        accumulate = true;
    }
}

static void gemm_dots(const mlc_dots *dots) { BY_SIZE(dots_body, dots) }

/* Pixels that are fetched before they are needed: steps over many channels are too wide for the
 * machine to foresee. */
enum { AHEAD = 8 };

static inline __attribute__((always_inline)) void outer_body(const mlc_outer *o, const size_t rows,
                                                             const size_t vectors)
{
    vf sum[TILE_ROWS][TILE_VECTORS];
    const char *later = (const char *)(o->later || !o->segments ? o->later : o->b[0]);
    UNROLL
    for (size_t i = 0; i < rows; i++) {
        UNROLL
        for (size_t j = 0; j < vectors; j++)
            __builtin_prefetch(o->out + i * o->out_step + j * VN, 1);
    }
    tile_zero(sum, rows, vectors);
    for (size_t s = 0; s < o->segments; s++) {
        const float *a = o->a[s], *b = o->b[s];
        for (size_t p = 0; p < o->pixels; p++, a += o->a_step, b += o->b_step, later += LINE) {
            vf v[TILE_VECTORS];
            __builtin_prefetch(later, 0, 2);
            __builtin_prefetch(a + AHEAD * o->a_step + rows - 1);
            __builtin_prefetch(a + rows - 1 + 16, 0, 2);
            UNROLL
            for (size_t j = 0; j < vectors; j++) {
                __builtin_prefetch(b + AHEAD * o->b_step + j * VN);
                v[j] = v_load(b + j * VN);
            }
            UNROLL
            for (size_t i = 0; i < rows; i++) {
                vf x = v_set(a[i]);
                UNROLL
                for (size_t j = 0; j < vectors; j++) sum[i][j] = v_fma(x, v[j], sum[i][j]);
            }
        }
    }
    float *out[TILE_ROWS];
    UNROLL
    for (size_t i = 0; i < rows; i++) out[i] = o->out + i * o->out_step;
    tile_store(sum, rows, vectors, out, o->accumulate);
}

static void gemm_outer(const mlc_outer *outer) { BY_SIZE(outer_body, outer) }

#undef BY_SIZE
#undef BY_ROWS
