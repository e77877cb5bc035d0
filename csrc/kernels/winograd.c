/* Transforms of Winograd's convolutions: F(4x4, 3x3) and F(3x3, 3x3) for stride 1, and what they
 * become for stride 2. ("Arithmetic complexity of computations", 1980; for images: Lavin and Gray,
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
 * Stride 2. Of y_i = g_0 d_{2i} + g_1 d_{2i+1} + g_2 d_{2i+2} the even d meet two taps, which is
 * F(4, 2) on five points, and the odd d meet one, which is a product for each output:
 *     P = a, -a, b, inf, -b           a = 1/2, b = 3/2: float32 loses nothing
 *     y = At (Bt d_even * G (g_0, g_2)) + d_odd g_1                9 products instead of 12
 * All outputs of a tile share the one weight g_1, so U has six points here too, the last of which
 * has a line for each output: in two dimensions 36 matrices of 1, 4 or 16 lines a tile, 81 products
 * instead of 144. Backward with respect to d, each dy_i gives d_{2i+1} its product with g_1, and
 * d_{2i} = g_0 dy_i + g_2 dy_{i-1} is F(4, 2) with the taps turned. A tile of three lacks -b, and
 * one of the last point's lines.
 *
 * Lanes are channels. `line` counts what a tile is transformed into along an axis: the points, and
 * for stride 2 the last one's lines in its place. Line (i, j) is at to[MLC_WINO_LINES i + j], or
 * from[...] of an output. */

#define WINO_A 0.70710678f
#define WINO_B 1.41421356f
#define UNROLL9 _Pragma("GCC unroll 9")
#define INLINE static inline __attribute__((always_inline))

/* --- along one axis, for a tile of n = 4 or 3 outputs ----------------------------------------- */

/* o = Bt d: n + 2 points from as many inputs */
INLINE void wino_bt(size_t n, const vf *d, vf *o)
{
    vf a = v_set(WINO_A), b = v_set(WINO_B), two = v_set(-2.0f), half = v_set(-0.5f);
    if (n == 4) {
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

/* y = At m: n outputs from n + 2 points */
INLINE void wino_at(size_t n, const vf *m, vf *y)
{
    vf s = v_add(m[1], m[2]), d = v_mul(v_set(WINO_A), v_sub(m[1], m[2]));
    if (n == 4) {
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

/* m = A y: n + 2 points from n gradients of outputs */
INLINE void wino_a(size_t n, const vf *y, vf *m)
{
    vf half = v_set(0.5f), two = v_set(2.0f), e = v_fma(half, y[2], y[0]);
    m[0] = y[0];
    if (n == 4) {
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

/* Stride 2: o = Bt d: n + 1 points from the inputs d[0], d[step], ... that meet two taps */
INLINE void wino_s2_bt(size_t n, const vf *d, size_t step, vf *o)
{
    vf d0 = d[0], d1 = d[step], d2 = d[2 * step], d3 = d[3 * step];
    if (n == 4) {
        vf half = v_set(0.5f), more = v_set(1.5f), d4 = d[4 * step];
        vf q = v_fma(v_set(-2.25f), d1, d3), p = v_fma(v_set(-2.25f), d0, d2);
        vf r = v_fma(v_set(-0.25f), d1, d3), s = v_fma(v_set(-0.25f), d0, d2);
        o[0] = v_fma(half, p, q), o[1] = v_fma(v_set(-0.5f), p, q);
        o[2] = v_fma(more, s, r), o[4] = v_fma(v_set(-1.5f), s, r);
        o[3] = v_fma(v_set(0.5625f), d0, v_fma(v_set(-2.5f), d2, d4));
    } else {
        vf u = v_fma(v_set(-2.0f), d1, d2);
        o[0] = v_fma(v_set(-1.5f), d0, v_mul(v_set(2.0f), v_sub(d2, d1)));
        o[1] = v_fma(v_set(0.75f), d0, u);
        o[2] = v_fma(v_set(-0.75f), d0, v_mul(v_set(3.0f), d2));
        o[3] = v_fma(v_set(-1.5f), d2, v_fma(v_set(0.375f), d0, v_fma(v_set(-0.25f), d1, d3)));
    }
}

/* y = At m, written `step` apart */
INLINE void wino_s2_at(size_t n, const vf *m, size_t step, vf *y)
{
    vf half = v_set(0.5f), more = v_set(1.5f), quarter = v_set(0.25f), nine = v_set(2.25f);
    vf s = v_add(m[0], m[1]), d = v_mul(half, v_sub(m[0], m[1]));
    if (n == 4) {
        vf t = v_add(m[2], m[4]), e = v_mul(more, v_sub(m[2], m[4]));
        y[0] = v_add(s, t);
        y[step] = v_add(d, e);
        y[2 * step] = v_fma(nine, t, v_mul(quarter, s));
        y[3 * step] = v_fma(quarter, d, v_fma(nine, e, m[3]));
    } else {
        y[0] = v_add(s, m[2]);
        y[step] = v_fma(more, m[2], d);
        y[2 * step] = v_fma(quarter, s, v_fma(nine, m[2], m[3]));
    }
}

/* Inputs: the even ones to points, the odd ones as they are. */
INLINE void wino_s2_input_lines(size_t n, const vf *d, vf *o)
{
    wino_s2_bt(n, d, 2, o);
    UNROLL9 for (size_t i = 0; i < n; i++) o[n + 1 + i] = d[2 * i + 1];
}

/* n outputs from n + 1 points and n lines of the last one */
INLINE void wino_s2_outputs(size_t n, const vf *m, vf *y)
{
    wino_s2_at(n, m, 1, y);
    UNROLL9 for (size_t i = 0; i < n; i++) y[i] = v_add(y[i], m[n + 1 + i]);
}

/* m = A y, and y as it is */
INLINE void wino_s2_gradient_lines(size_t n, const vf *y, vf *m)
{
    vf quarter = v_set(0.25f), nine = v_set(2.25f), e = v_fma(quarter, y[2], y[0]);
    if (n == 4) {
        vf q = v_mul(v_set(0.5f), v_fma(quarter, y[3], y[1])), f = v_fma(nine, y[2], y[0]);
        vf r = v_mul(v_set(1.5f), v_fma(nine, y[3], y[1]));
        m[0] = v_add(e, q), m[1] = v_sub(e, q);
        m[2] = v_add(f, r), m[4] = v_sub(f, r);
        m[3] = y[3];
    } else {
        vf q = v_mul(v_set(0.5f), y[1]);
        m[0] = v_add(e, q), m[1] = v_sub(e, q);
        m[2] = v_fma(nine, y[2], v_fma(v_set(1.5f), y[1], y[0]));
        m[3] = y[2];
    }
    UNROLL9 for (size_t i = 0; i < n; i++) m[n + 1 + i] = y[i];
}

/* Backward with respect to d: n + 1 of dy, of which the first n also meet g_1. */
INLINE void wino_s2_back_input_lines(size_t n, const vf *y, vf *o)
{
    wino_s2_bt(n, y, 1, o);
    UNROLL9 for (size_t i = 0; i < n; i++) o[n + 1 + i] = y[i];
}

/* and the 2 n pixels of d: one of the single tap, one of the two, in turn. */
INLINE void wino_s2_back_outputs(size_t n, const vf *m, vf *d)
{
    wino_s2_at(n, m, 2, d + 1);
    UNROLL9 for (size_t i = 0; i < n; i++) d[2 * i] = m[n + 1 + i];
}

/* u = G (g_0, g_2), g_1 */
INLINE void wino_s2_g(const vf *g, vf *u)
{
    vf q = v_mul(v_set(0.5f), g[0]), r = v_mul(v_set(0.25f), g[2]);
    vf s = v_mul(v_set(1.0f / 6), g[0]), t = v_mul(v_set(0.25f), g[2]);
    u[0] = v_sub(v_set(0.0f), v_add(q, r)), u[1] = v_sub(q, r);
    u[2] = v_add(s, t), u[4] = v_sub(t, s);
    u[3] = g[2], u[5] = g[1];
}

/* g = Gt u */
INLINE void wino_s2_gt(const vf *u, vf *g)
{
    vf sixth = v_set(1.0f / 6), quarter = v_set(0.25f);
    g[0] = v_fma(v_set(0.5f), v_sub(u[1], u[0]), v_mul(sixth, v_sub(u[2], u[4])));
    g[1] = u[5];
    g[2] = v_fma(quarter, v_sub(v_add(u[2], u[4]), v_add(u[0], u[1])), u[3]);
}

/* --- along both ------------------------------------------------------------------------------ */

/* What is done along an axis; which of them is known when compiling. */
enum { INPUT, GRADIENT, OUTPUT, S2_INPUT, S2_GRADIENT, S2_OUTPUT, S2_BACK_INPUT, S2_BACK_OUTPUT };

INLINE void along(int what, size_t n, const vf *in, vf *out)
{
    switch (what) {
    case INPUT: wino_bt(n, in, out); break;
    case GRADIENT: wino_a(n, in, out); break;
    case OUTPUT: wino_at(n, in, out); break;
    case S2_INPUT: wino_s2_input_lines(n, in, out); break;
    case S2_GRADIENT: wino_s2_gradient_lines(n, in, out); break;
    case S2_OUTPUT: wino_s2_outputs(n, in, out); break;
    case S2_BACK_INPUT: wino_s2_back_input_lines(n, in, out); break;
    case S2_BACK_OUTPUT: wino_s2_back_outputs(n, in, out); break;
    }
}

/* Pixels of a tile of n outputs along an axis, and its lines. */
INLINE size_t pixels_of(int what, size_t n)
{
    switch (what) {
    case INPUT: return n + 2;
    case S2_INPUT: return 2 * n + 1;
    case S2_BACK_INPUT: return n + 1;
    case S2_BACK_OUTPUT: return 2 * n;
    default: return n;
    }
}
INLINE size_t lines_of(int what, size_t n) { return what < S2_INPUT ? n + 2 : 2 * n + 1; }

/* Pixels at the beginning of the next tile that are this one's last. */
INLINE size_t shared_pixels(int what)
{
    return what == INPUT ? 2 : what == S2_INPUT || what == S2_BACK_INPUT ? 1 : 0;
}

/* body(tile, rows, cols, ...) with the constants that let the compiler unroll it */
#define WINO_BY_SIZE(body, tile, ...)                                                              \
    do {                                                                                           \
        if ((tile)->rows == 4 && (tile)->cols == 4)                                                \
            body(tile, 4, 4, __VA_ARGS__);                                                         \
        else if ((tile)->rows == 4)                                                                \
            body(tile, 4, 3, __VA_ARGS__);                                                         \
        else if ((tile)->cols == 4)                                                                \
            body(tile, 3, 4, __VA_ARGS__);                                                         \
        else                                                                                       \
            body(tile, 3, 3, __VA_ARGS__);                                                         \
    } while (0)

/* --- pixels into lines ----------------------------------------------------------------------- */

INLINE void input_vector(const mlc_wino_in *t, size_t rows, size_t cols, int what, size_t c,
                         float *v)
{
    vf half[MLC_WINO_LINES][MLC_WINO_LINES], line[MLC_WINO_LINES], out[MLC_WINO_LINES];
    size_t high = pixels_of(what, rows), wide = pixels_of(what, cols);
    UNROLL9 for (size_t i = 0; i < high; i++)
    {
        const float *const *pixel = t->pixel + MLC_WINO_LINES * i;
        UNROLL9 for (size_t j = 0; j < wide; j++)
        {
            line[j] = v_load(pixel[j] + c);
            if (j >= shared_pixels(what)) __builtin_prefetch(pixel[j] + c + t->ahead, 0, 3);
        }
        along(what, cols, line, half[i]);
    }
    UNROLL9 for (size_t j = 0; j < lines_of(what, cols); j++)
    {
        const size_t *to = t->to + j;
        UNROLL9 for (size_t i = 0; i < high; i++) line[i] = half[i][j];
        along(what, rows, line, out);
        UNROLL9 for (size_t i = 0; i < lines_of(what, rows); i++)
            v_store(v + to[MLC_WINO_LINES * i], out[i]);
    }
}

INLINE void input_body(const mlc_wino_in *t, size_t rows, size_t cols, int what)
{
    float *v = t->v;
    for (size_t from = 0; from < t->channels; from += t->width, v += t->block) {
        size_t width = t->channels - from < t->width ? t->channels - from : t->width;
        for (size_t c = 0; c < width; c += VN) input_vector(t, rows, cols, what, from + c, v + c);
    }
}

/* V = Bt d B, of a tile's input */
static void wino_input(const mlc_wino_in *tile) { WINO_BY_SIZE(input_body, tile, INPUT); }
/* dM = A dy At, of the gradient of its outputs */
static void wino_gradient(const mlc_wino_in *tile) { WINO_BY_SIZE(input_body, tile, GRADIENT); }
/* The same of stride 2. */
static void wino_s2_input(const mlc_wino_in *tile) { WINO_BY_SIZE(input_body, tile, S2_INPUT); }
static void wino_s2_gradient(const mlc_wino_in *tile)
{
    WINO_BY_SIZE(input_body, tile, S2_GRADIENT);
}
/* V of the gradient of outputs, that of the input is made from. */
static void wino_s2_back_input(const mlc_wino_in *tile)
{
    WINO_BY_SIZE(input_body, tile, S2_BACK_INPUT);
}

/* --- lines into pixels: y = At M A ----------------------------------------------------------- */

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

INLINE void output_vector(const mlc_wino_out *t, size_t rows, size_t cols, int what, int then,
                          size_t c)
{
    vf half[MLC_WINO_LINES][MLC_WINO_LINES], line[MLC_WINO_LINES], out[MLC_WINO_LINES];
    vf sum[2] = {v_set(0.0f), v_set(0.0f)};
    const float *m = t->m + c / MLC_WINO_BLOCK * t->block + c % MLC_WINO_BLOCK;
    UNROLL9 for (size_t j = 0; j < lines_of(what, cols); j++)
    {
        const size_t *from = t->from + j;
        UNROLL9 for (size_t i = 0; i < lines_of(what, rows); i++) line[i] =
            v_load(m + from[MLC_WINO_LINES * i]);
        along(what, rows, line, half[j]);
    }
    UNROLL9 for (size_t i = 0; i < pixels_of(what, rows); i++)
    {
        if (what == S2_BACK_OUTPUT && i >= t->high) break;
        UNROLL9 for (size_t j = 0; j < lines_of(what, cols); j++) line[j] = half[j][i];
        along(what, cols, line, out);
        if (then == MLC_WINO_SUMS && t->first && i == 0) v_store(t->origin + c, out[0]);
        UNROLL9 for (size_t j = 0; j < pixels_of(what, cols);
                     j++) if (what != S2_BACK_OUTPUT || j < t->wide)
            put_output(t, then, i, j, c, out[j], sum);
    }
    if (then != MLC_WINO_SUMS) return;
    v_store(t->sum + c, v_add(v_load(t->sum + c), sum[0]));
    v_store(t->square + c, v_add(v_load(t->square + c), sum[1]));
}

INLINE void output_body(const mlc_wino_out *t, size_t rows, size_t cols, int what, int then)
{
    for (size_t c = 0; c < t->channels; c += VN) output_vector(t, rows, cols, what, then, c);
}

INLINE void output_then(const mlc_wino_out *tile, int what)
{
    switch (tile->then) {
    case MLC_WINO_STORE: WINO_BY_SIZE(output_body, tile, what, MLC_WINO_STORE); break;
    case MLC_WINO_ADD: WINO_BY_SIZE(output_body, tile, what, MLC_WINO_ADD); break;
    case MLC_WINO_SUMS: WINO_BY_SIZE(output_body, tile, what, MLC_WINO_SUMS); break;
    case MLC_WINO_NORM: WINO_BY_SIZE(output_body, tile, what, MLC_WINO_NORM); break;
    }
}

static void wino_output(const mlc_wino_out *tile) { output_then(tile, OUTPUT); }
static void wino_s2_output(const mlc_wino_out *tile) { output_then(tile, S2_OUTPUT); }
/* The gradient of the input, `high` by `wide` pixels of it; stored or added. */
static void wino_s2_back_output(const mlc_wino_out *tile)
{
    if (tile->then == MLC_WINO_ADD)
        WINO_BY_SIZE(output_body, tile, S2_BACK_OUTPUT, MLC_WINO_ADD);
    else
        WINO_BY_SIZE(output_body, tile, S2_BACK_OUTPUT, MLC_WINO_STORE);
}

/* --- weights: U = G g Gt and dg = Gt dU G ---------------------------------------------------- */

INLINE void to_points(int stride, const vf *g, vf *u)
{
    if (stride == 1)
        wino_g(g, u);
    else
        wino_s2_g(g, u);
}

INLINE void to_taps(int stride, const vf *u, vf *g)
{
    if (stride == 1)
        wino_gt(u, g);
    else
        wino_s2_gt(u, g);
}

INLINE void weights_body(const float *g, float *u, size_t point, int stride)
{
    for (size_t l = 0; l < MLC_LANES; l += VN) {
        vf half[6][3], line[6];
        UNROLL9 for (size_t s = 0; s < 3; s++)
        {
            vf column[3], out[6];
            UNROLL9 for (size_t r = 0; r < 3; r++) column[r] =
                v_load(g + (3 * r + s) * MLC_LANES + l);
            to_points(stride, column, out);
            UNROLL9 for (size_t i = 0; i < 6; i++) half[i][s] = out[i];
        }
        UNROLL9 for (size_t i = 0; i < 6; i++)
        {
            to_points(stride, half[i], line);
            UNROLL9 for (size_t j = 0; j < 6; j++) v_store(u + (6 * i + j) * point + l, line[j]);
        }
    }
}

/* g[tap][MLC_LANES], taps in rows of three; u MLC_LANES floats at each point */
static void wino_weights(const float *g, float *u, size_t point) { weights_body(g, u, point, 1); }
static void wino_s2_weights(const float *g, float *u, size_t point)
{
    weights_body(g, u, point, 2);
}

INLINE void weights_backward_body(const float *u, size_t point, size_t parts, size_t part, float *g,
                                  int stride)
{
    for (size_t l = 0; l < MLC_LANES; l += VN) {
        vf half[6][3], line[6], out[3];
        UNROLL9 for (size_t i = 0; i < 6; i++)
        {
            UNROLL9 for (size_t j = 0; j < 6; j++)
            {
                line[j] = v_load(u + (6 * i + j) * point + l);
                for (size_t k = 1; k < parts; k++)
                    line[j] = v_add(line[j], v_load(u + k * part + (6 * i + j) * point + l));
            }
            to_taps(stride, line, half[i]);
        }
        UNROLL9 for (size_t s = 0; s < 3; s++)
        {
            UNROLL9 for (size_t i = 0; i < 6; i++) line[i] = half[i][s];
            to_taps(stride, line, out);
            UNROLL9 for (size_t r = 0; r < 3; r++) v_store(g + (3 * r + s) * MLC_LANES + l, out[r]);
        }
    }
}

/* The other way: dg[tap][MLC_LANES] from the sum of `parts` gradients of U, `part` floats apart. */
static void wino_weights_backward(const float *u, size_t point, size_t parts, size_t part, float *g)
{
    weights_backward_body(u, point, parts, part, g, 1);
}
static void wino_s2_weights_backward(const float *u, size_t point, size_t parts, size_t part,
                                     float *g)
{
    weights_backward_body(u, point, parts, part, g, 2);
}
