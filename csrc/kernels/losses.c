/* Losses on logits: value and gradient in one pass.
 *
 * With weights w, positive weights q, logit x, target t in [0, 1] and s = sigmoid(x), each is
 *     w [ q t L(x) + (1 - t) M(x) ]
 *     binary cross-entropy:  L = -log s                  M = -log(1 - s)
 *     asymmetric:            L = -(1 - s)^g log s        M = -p^h log(1 - p), p = max(s - m, 0)
 * The second is the asymmetric loss of Ridnik et al. (ICCV 2021) with g = gamma_pos, h = gamma_neg
 * and m = clip, and for g = h and m = 0 the focal loss of Lin et al. (ICCV 2017). Before that,
 * label smoothing by a moves a target to (1 - a) t + a / 2, and a missing target, NaN, leaves 0. */

typedef struct {
    vf loss, grad;
} v_cell;

/* What all losses are made of: e^-|x|, log(1 + e^-|x|), and the sigmoid exact in both tails. */
typedef struct {
    vf size, softplus, s, not_s; /* |x|, log(1 + e^-|x|), s, 1 - s */
    vmask negative;
} v_logit;

static inline v_logit v_logit_of(vf x)
{
    vf zero = v_set(0.0f), one = v_set(1.0f);
    v_logit r = {.size = v_abs(x), .negative = v_gt(zero, x)};
    vf e = v_exp(v_sub(zero, r.size));
    vf larger = v_div(one, v_add(one, e)), smaller = v_mul(e, larger);
    r.softplus = v_log1p(e);
    r.s = v_select(r.negative, smaller, larger);
    r.not_s = v_select(r.negative, larger, smaller);
    return r;
}

/* c * v, where 0 * inf is 0: what an infinite logit is multiplied with has a limit. */
static inline vf v_times(vf c, vf v)
{
    vf finite = v_min(v_set(3.4e38f), v); /* in this order a NaN stays */
    return v_mul(c, v_select(v_eq(c, v_set(0.0f)), finite, v));
}

static inline v_cell v_bce(const mlc_loss *job, vf x, vf t, vf w, vf q)
{
    (void)job;
    v_logit l = v_logit_of(x);
    vf wanted = v_mul(q, t), absent = v_sub(v_set(1.0f), t);
    /* x > 0: (1 - t) x + both softplus;  x < 0: q t |x| + both softplus */
    vf linear = v_times(v_select(l.negative, wanted, absent), l.size);
    return (v_cell){
        .loss = v_mul(w, v_fma(v_add(wanted, absent), l.softplus, linear)),
        .grad = v_mul(w, v_sub(v_mul(absent, l.s), v_mul(wanted, l.not_s))),
    };
}

/* e^(-exponent * minus_log): a power of what has that logarithm. */
static inline vf v_power(vf exponent, vf minus_log)
{
    return v_exp(v_sub(v_set(0.0f), v_times(exponent, minus_log)));
}

/* dL/dx = -(1 - s)^g [(1 - s) - g s log s]
 * dM/dx = p^h s (1 - s) [1 / (1 - p) - h log(1 - p) / p] */
static inline v_cell v_asymmetric(const mlc_loss *job, vf x, vf t, vf w, vf q)
{
    vf zero = v_set(0.0f), one = v_set(1.0f), m = v_set(job->clip);
    vf g = v_set(job->gamma_pos), h = v_set(job->gamma_neg);
    v_logit l = v_logit_of(x);
    vf log_s = v_add(l.softplus, v_select(l.negative, l.size, zero)); /* these are -log */
    vf log_not_s = v_add(l.softplus, v_select(l.negative, zero, l.size));

    vf wanted = v_mul(v_mul(q, t), v_power(g, log_not_s));
    vf loss = v_times(wanted, log_s);
    vf grad = v_mul(wanted, v_fma(g, v_times(l.s, log_s), l.not_s));

    vf log_p = log_s, log_not_p = log_not_s; /* without a clip p is s, */
    vf over_not_p = l.s, over_p = l.not_s;   /* s (1 - s) / (1 - p) and s (1 - s) / p */
    vf absent = v_sub(one, t);
    if (job->clip > 0) {
        vf p = v_max(zero, v_sub(l.s, m)), not_p = v_min(one, v_add(l.not_s, m));
        vf slope = v_mul(l.s, l.not_s);
        vmask counts = v_gt(p, zero);
        log_p = v_sub(zero, v_log(v_select(counts, p, one)));
        log_not_p = v_sub(zero, v_log(not_p));
        over_not_p = v_div(slope, not_p), over_p = v_div(slope, v_select(counts, p, one));
        absent = v_select(counts, absent, zero);
    }
    absent = v_mul(absent, v_power(h, log_p));
    loss = v_add(loss, v_times(absent, log_not_p));
    grad = v_sub(v_mul(absent, v_fma(h, v_times(over_p, log_not_p), over_not_p)), grad);
    vmask number = v_eq(x, x); /* v_log takes a NaN for a number */
    return (v_cell){v_select(number, v_mul(w, loss), x), v_select(number, v_mul(w, grad), x)};
}

/* Sums go over lanes, cell j of a line to lane j % LOSS_LANES, on every instruction set. */
enum { LOSS_LANES = 16 };

typedef v_cell v_loss(const mlc_loss *job, vf x, vf t, vf w, vf q);

typedef struct {
    double lanes[LOSS_LANES];
    vf inside; /* 1 as long as all targets lay in [0, 1] */
} loss_sums;

/* k cells from cell `at` on, which stand at `column` of their line. */
static inline void loss_cells(const mlc_loss *job, v_loss *value, size_t at, size_t column,
                              size_t k, loss_sums *sums)
{
    vf zero = v_set(0.0f), one = v_set(1.0f), w = one, q = one;
    size_t at_w = job->weight_stride ? at : column, at_q = job->pos_weight_stride ? at : column;
    if (job->weight) w = v_load_n(job->weight + at_w, k);
    if (job->pos_weight) q = v_load_n(job->pos_weight + at_q, k);
    vf t = v_load_n(job->targets + at, k);
    vmask known = v_eq(t, t);
    if (job->missing) t = v_select(known, t, zero);
    vf clamped = v_max(zero, v_min(one, t));
    sums->inside = v_select(v_eq(clamped, t), sums->inside, zero);
    t = v_fma(t, v_set(1.0f - job->smoothing), v_set(0.5f * job->smoothing));
    v_cell r = value(job, v_load_n(job->logits + at, k), t, w, q);
    if (job->missing) r = (v_cell){v_select(known, r.loss, zero), v_select(known, r.grad, zero)};
    float loss[VN];
    v_store(loss, r.loss);
    double *lane = sums->lanes + column % LOSS_LANES;
    for (size_t l = 0; l < k; l++) lane[l] += (double)loss[l];
    if (job->loss) v_store_n(job->loss + at, r.loss, k);
    if (job->grad) v_store_n(job->grad + at, v_mul(r.grad, v_set(job->scale)), k);
}

/* Rows [row, row + rows) of the job; without weights of the labels they are one long line. */
static inline void loss_rows(const mlc_loss *caller, v_loss *value, size_t row, size_t rows,
                             double *sum, bool *outside)
{
    const mlc_loss copy = *caller,
                   *job = &copy; /* which no store can reach: it stays in registers */
    bool by_label =
        (job->weight && !job->weight_stride) || (job->pos_weight && !job->pos_weight_stride);
    size_t lines = by_label ? rows : 1, length = by_label ? job->labels : rows * job->labels;
    loss_sums sums = {.inside = v_set(1.0f)};
    for (size_t i = 0, at = row * job->labels; i < lines; i++, at += length) {
        size_t j = 0;
        for (; j + VN <= length; j += VN) loss_cells(job, value, at + j, j, VN, &sums);
        if (j < length) loss_cells(job, value, at + j, j, length - j, &sums);
    }
    float inside[VN];
    v_store(inside, sums.inside);
    *sum = 0, *outside = false;
    for (size_t l = 0; l < LOSS_LANES; l++) *sum += sums.lanes[l];
    for (size_t l = 0; l < VN; l++) *outside |= inside[l] != 1.0f;
}

/* *sum = the loss of rows [row, row + rows), added up in double in a fixed order; *outside: whether
 * a target lies outside [0, 1], or is NaN and not allowed to be missing. */
static void bce(const mlc_loss *job, size_t row, size_t rows, double *sum, bool *outside)
{
    loss_rows(job, v_bce, row, rows, sum, outside);
}

static void asymmetric(const mlc_loss *job, size_t row, size_t rows, double *sum, bool *outside)
{
    loss_rows(job, v_asymmetric, row, rows, sum, outside);
}
