/* Transforms of Winograd's convolution F(4x4, 3x3), and of F(3x3, 3x3), F(3x4, ..) on the same
 * transformed weights. ("Arithmetic complexity of computations", 1980; for images: Lavin and Gray,
 * arXiv:1509.09308.)
 *
 * One dimension. Four outputs y_i = sum_r d_{i+r} g_r are the transpose of the product of two
 * polynomials of degree 3 and 2, which is known from its values at six points. With
 *     P = 0, a, -a, b, inf, -b        a = 1/sqrt(2), b = sqrt(2)
 *     y = At (Bt d * G g)             * element by element: 6 products instead of 12
 *     At_ij = P_j^i,                  for inf: 1 in the last row only
 *     G_j   = (1, P_j, P_j^2) / prod_{m != j} (P_j - P_m),         for inf: (0, 0, 1)
 *     Bt_j  = the coefficients of prod_{m != j} (x - P_m),         for inf: of all the product
 * where m runs over the finite points. These a and b make a b = 1 and a^2 + b^2 = 5/2, so that most
 * coefficients are small: float32 loses one bit against a direct sum, where the points 0, +-1, +-2
 * lose more than two.
 *
 * Two dimensions: the same along rows, then along columns: V = Bt d B, U = G g Gt, M = V * U summed
 * over the input channels, y = At M A. The sum is a matrix product for each of the 36 points.
 *
 * Three outputs. Without the point -b the same holds on five points, except that G_j loses the
 * factor 1 / (P_j + b). So Bt_j is multiplied by P_j + b instead, and one U serves tiles of four
 * and of three outputs: 14 = 4 + 4 + 3 + 3 and 7 = 4 + 3 have no waste.
 *
 * Backward. With respect to d: the same convolution of dy with the weights turned by 180 degrees.
 * With respect to g: y is linear in U, so dM = A dy At, dU = sum over tiles of V dM, dg = Gt dU G.
 *
 * Lanes are channels. Point p = 6 i + j is at distance p * `point` in memory; tiles of three leave
 * theirs out (i or j = 5). */

#define WINO_A 0.70710678f
#define WINO_B 1.41421356f
#define UNROLL6 _Pragma("GCC unroll 6")
#define INLINE static inline __attribute__((always_inline))

/* o = Bt d: n points from n inputs */
INLINE void wino_bt(size_t n, const vf *d, vf *o)
{
    vf a = v_set(WINO_A), b = v_set(WINO_B), two = v_set(-2.0f), half = v_set(-0.5f);
    if (n == 6) {
        vf e = v_fma(two, d[2], d[4]), q = v_sub(v_mul(a, d[3]), v_mul(b, d[1]));
        vf f = v_fma(half, d[2], d[4]), r = v_sub(v_mul(b, d[3]), v_mul(a, d[1]));
        o[0] = v_fma(v_set(-2.5f), d[2], v_add(d[0], d[4]));
        o[1] = v_add(e, q), o[2] = v_sub(e, q);
        o[3] = v_add(f, r), o[5] = v_sub(f, r);
        o[4] = v_fma(v_set(-2.5f), d[3], v_add(d[1], d[5]));
    } else {
        vf u = v_mul(v_set(-1.5f), d[2]);
        o[0] = v_fma(b, d[3], v_fma(two, d[2], v_sub(d[0], v_mul(a, d[1]))));
        o[1] = v_fma(v_set(3 * WINO_A), v_sub(d[3], d[1]), u);
        o[2] = v_fma(a, v_add(d[1], d[3]), u);
        o[3] = v_sub(v_mul(v_set(2 * WINO_B), d[3]), v_mul(b, d[1]));
        o[4] = v_fma(half, d[2], v_add(d[4], v_sub(v_mul(a, d[1]), v_mul(b, d[3]))));
    }
}

/* y = At m: n - 2 outputs from n points */
INLINE void wino_at(size_t n, const vf *m, vf *y)
{
    vf s = v_add(m[1], m[2]), d = v_mul(v_set(WINO_A), v_sub(m[1], m[2]));
    if (n == 6) {
        vf t = v_add(m[3], m[5]), e = v_mul(v_set(WINO_B), v_sub(m[3], m[5]));
        y[0] = v_add(m[0], v_add(s, t));
        y[1] = v_add(d, e);
        y[2] = v_fma(v_set(2.0f), t, v_mul(v_set(0.5f), s));
        y[3] = v_fma(v_set(0.5f), d, v_fma(v_set(2.0f), e, m[4]));
    } else {
        y[0] = v_add(m[0], v_add(s, m[3]));
        y[1] = v_fma(v_set(WINO_B), m[3], d);
        y[2] = v_fma(v_set(0.5f), s, v_fma(v_set(2.0f), m[3], m[4]));
    }
}

/* m = A y: n points from n - 2 gradients of outputs */
INLINE void wino_a(size_t n, const vf *y, vf *m)
{
    vf half = v_set(0.5f), two = v_set(2.0f), e = v_fma(half, y[2], y[0]);
    m[0] = y[0];
    if (n == 6) {
        vf q = v_mul(v_set(WINO_A), v_fma(half, y[3], y[1])), f = v_fma(two, y[2], y[0]);
        vf r = v_mul(v_set(WINO_B), v_fma(two, y[3], y[1]));
        m[1] = v_add(e, q), m[2] = v_sub(e, q);
        m[3] = v_add(f, r), m[5] = v_sub(f, r);
        m[4] = y[3];
    } else {
        vf q = v_mul(v_set(WINO_A), y[1]);
        m[1] = v_add(e, q), m[2] = v_sub(e, q);
        m[3] = v_fma(two, y[2], v_fma(v_set(WINO_B), y[1], y[0]));
        m[4] = y[2];
    }
}

/* u = G g: 6 points from 3 weights */
INLINE void wino_g(const vf *g, vf *u)
{
    vf third = v_set(1.0f / 3), e = v_fma(v_set(-2.0f / 3), g[0], v_mul(v_set(-1.0f / 3), g[2]));
    vf f = v_fma(v_set(1.0f / 6), g[0], v_mul(third, g[2]));
    vf q = v_mul(v_set(WINO_A * 2 / 3), g[1]), r = v_mul(v_set(WINO_B / 6), g[1]);
    u[0] = g[0], u[4] = g[2];
    u[1] = v_sub(e, q), u[2] = v_add(e, q);
    u[3] = v_add(f, r), u[5] = v_sub(f, r);
}

/* g = Gt u */
INLINE void wino_gt(const vf *u, vf *g)
{
    vf s = v_add(u[1], u[2]), t = v_add(u[3], u[5]);
    g[0] = v_fma(v_set(1.0f / 6), t, v_fma(v_set(-2.0f / 3), s, u[0]));
    g[1] = v_fma(v_set(WINO_A * 2 / 3), v_sub(u[2], u[1]),
                 v_mul(v_set(WINO_B / 6), v_sub(u[3], u[5])));
    g[2] = v_fma(v_set(1.0f / 3), v_sub(t, s), u[4]);
}

/* body(rows, cols, ...) with the constants that let the compiler unroll it */
#define WINO_BY_SIZE(body, tile)                                                                   \
    do {                                                                                           \
        if ((tile)->rows == 6 && (tile)->cols == 6)                                                \
            body(tile, 6, 6);                                                                      \
        else if ((tile)->rows == 6)                                                                \
            body(tile, 6, 5);                                                                      \
        else if ((tile)->cols == 6)                                                                \
            body(tile, 5, 6);                                                                      \
        else                                                                                       \
            body(tile, 5, 5);                                                                      \
    } while (0)

/* --- input: V = Bt d B ----------------------------------------------------------------------- */

INLINE void input_body(const mlc_wino_in *t, size_t rows, size_t cols)
{
    for (size_t from = 0; from < t->channels; from += t->width) {
        for (size_t c = from; c < from + t->width; c += VN) {
            vf half[6][6], line[6], out[6];
            float *v = t->v + from / t->width * t->block + c - from;
            UNROLL6 for (size_t i = 0; i < rows; i++)
            {
                UNROLL6 for (size_t j = 0; j < cols; j++)
                {
                    line[j] = v_load(t->pixel[6 * i + j] + c);
                    if (j > 1) __builtin_prefetch(t->pixel[6 * i + j] + c + t->ahead, 0, 3);
                }
                wino_bt(cols, line, half[i]);
            }
            UNROLL6 for (size_t j = 0; j < cols; j++)
            {
                UNROLL6 for (size_t i = 0; i < rows; i++) line[i] = half[i][j];
                wino_bt(rows, line, out);
                UNROLL6 for (size_t i = 0; i < rows; i++)
                    v_store(v + (6 * i + j) * t->point, out[i]);
            }
        }
    }
}

static void wino_input(const mlc_wino_in *tile) { WINO_BY_SIZE(input_body, tile); }

/* --- gradient: dM = A dy At ------------------------------------------------------------------ */

INLINE void gradient_body(const mlc_wino_in *t, size_t rows, size_t cols)
{
    for (size_t from = 0; from < t->channels; from += t->width) {
        for (size_t c = from; c < from + t->width; c += VN) {
            vf half[4][6], line[6], out[6];
            float *v = t->v + from / t->width * t->block + c - from;
            UNROLL6 for (size_t i = 0; i < rows - 2; i++)
            {
                UNROLL6 for (size_t j = 0; j < cols - 2; j++)
                {
                    line[j] = v_load(t->pixel[6 * i + j] + c);
                    __builtin_prefetch(t->pixel[6 * i + j] + c + t->ahead, 0, 3);
                }
                wino_a(cols, line, half[i]);
            }
            UNROLL6 for (size_t j = 0; j < cols; j++)
            {
                UNROLL6 for (size_t i = 0; i < rows - 2; i++) line[i] = half[i][j];
                wino_a(rows, line, out);
                UNROLL6 for (size_t i = 0; i < rows; i++)
                    v_store(v + (6 * i + j) * t->point, out[i]);
            }
        }
    }
}

/* As wino_input on a tile of rows - 2 by cols - 2 pixels of dy. */
static void wino_gradient(const mlc_wino_in *tile) { WINO_BY_SIZE(gradient_body, tile); }

/* --- output: y = At M A ---------------------------------------------------------------------- */

/* A tensor larger than the cache is stored past it: nobody reads it soon, and a plain store would
 * first fetch what it overwrites. (The locked instructions between tasks order these stores.) */
INLINE void store_output(const mlc_wino_out *t, float *to, vf y)
{
    if (t->stream)
        v_stream(to, y);
    else
        v_store(to, y);
}

/* What happens to one vector of outputs at (i, j): an enum's case is chosen when compiling. */
INLINE void put_output(const mlc_wino_out *t, int then, size_t i, size_t j, size_t c, vf y, vf *sum)
{
    float *to = t->y + i * t->row + j * t->pixel + c;
    if (then == MLC_WINO_ADD) y = v_add(v_load(to), y);
    if (then == MLC_WINO_SUMS) {
        vf d = v_sub(y, v_load(t->origin + c));
        sum[0] = v_add(sum[0], d);
        sum[1] = v_fma(d, d, sum[1]);
    }
    if (then == MLC_WINO_NORM) {
        y = v_fma(y, v_load(t->scale + c), v_load(t->shift + c));
        if (t->residual)
            y = v_add(y, v_load(t->residual + i * t->residual_row + j * t->residual_pixel + c));
        if (t->relu) y = v_max(v_set(0.0f), y);
    }
    store_output(t, to, y);
}

INLINE void output_body(const mlc_wino_out *t, size_t rows, size_t cols, int then)
{
    for (size_t c = 0; c < t->channels; c += VN) {
        vf half[6][4], line[6], out[4], sum[2] = {v_set(0.0f), v_set(0.0f)};
        const float *m = t->m + c / MLC_WINO_BLOCK * t->block + c % MLC_WINO_BLOCK;
        UNROLL6 for (size_t j = 0; j < cols; j++)
        {
            UNROLL6 for (size_t i = 0; i < rows; i++) line[i] = v_load(m + (6 * i + j) * t->point);
            wino_at(rows, line, half[j]);
        }
        UNROLL6 for (size_t i = 0; i < rows - 2; i++)
        {
            UNROLL6 for (size_t j = 0; j < cols; j++) line[j] = half[j][i];
            wino_at(cols, line, out);
            if (then == MLC_WINO_SUMS && t->first && i == 0) v_store(t->origin + c, out[0]);
            UNROLL6 for (size_t j = 0; j < cols - 2; j++) put_output(t, then, i, j, c, out[j], sum);
        }
        if (then != MLC_WINO_SUMS) continue;
        v_store(t->sum + c, v_add(v_load(t->sum + c), sum[0]));
        v_store(t->square + c, v_add(v_load(t->square + c), sum[1]));
    }
}

INLINE void output_plain(const mlc_wino_out *t, size_t rows, size_t cols)
{
    output_body(t, rows, cols, MLC_WINO_STORE);
}
INLINE void output_add(const mlc_wino_out *t, size_t rows, size_t cols)
{
    output_body(t, rows, cols, MLC_WINO_ADD);
}
INLINE void output_sums(const mlc_wino_out *t, size_t rows, size_t cols)
{
    output_body(t, rows, cols, MLC_WINO_SUMS);
}
INLINE void output_norm(const mlc_wino_out *t, size_t rows, size_t cols)
{
    output_body(t, rows, cols, MLC_WINO_NORM);
}

static void wino_output(const mlc_wino_out *tile)
{
    switch (tile->then) {
    case MLC_WINO_STORE: WINO_BY_SIZE(output_plain, tile); break;
    case MLC_WINO_ADD: WINO_BY_SIZE(output_add, tile); break;
    case MLC_WINO_SUMS: WINO_BY_SIZE(output_sums, tile); break;
    case MLC_WINO_NORM: WINO_BY_SIZE(output_norm, tile); break;
    }
}

/* --- weights: U = G g Gt and dg = Gt dU G ---------------------------------------------------- */

/* g[tap][MLC_LANES], taps in rows of three; u MLC_LANES floats at each point */
static void wino_weights(const float *g, float *u, size_t point)
{
    for (size_t l = 0; l < MLC_LANES; l += VN) {
        vf half[6][3], line[6];
        UNROLL6 for (size_t s = 0; s < 3; s++)
        {
            vf column[3], out[6];
            UNROLL6 for (size_t r = 0; r < 3; r++) column[r] =
                v_load(g + (3 * r + s) * MLC_LANES + l);
            wino_g(column, out);
            UNROLL6 for (size_t i = 0; i < 6; i++) half[i][s] = out[i];
        }
        UNROLL6 for (size_t i = 0; i < 6; i++)
        {
            wino_g(half[i], line);
            UNROLL6 for (size_t j = 0; j < 6; j++) v_store(u + (6 * i + j) * point + l, line[j]);
        }
    }
}

/* The other way: dg[tap][MLC_LANES] from the sum of `parts` gradients of U, `part` floats apart. */
static void wino_weights_backward(const float *u, size_t point, size_t parts, size_t part, float *g)
{
    for (size_t l = 0; l < MLC_LANES; l += VN) {
        vf half[6][3], line[6], out[3];
        UNROLL6 for (size_t i = 0; i < 6; i++)
        {
            UNROLL6 for (size_t j = 0; j < 6; j++)
            {
                line[j] = v_load(u + (6 * i + j) * point + l);
                for (size_t k = 1; k < parts; k++)
                    line[j] = v_add(line[j], v_load(u + k * part + (6 * i + j) * point + l));
            }
            wino_gt(line, half[i]);
        }
        UNROLL6 for (size_t s = 0; s < 3; s++)
        {
            UNROLL6 for (size_t i = 0; i < 6; i++) line[i] = half[i][s];
            wino_gt(line, out);
            UNROLL6 for (size_t r = 0; r < 3; r++) v_store(g + (3 * r + s) * MLC_LANES + l, out[r]);
        }
    }
}
