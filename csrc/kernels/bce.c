/* Binary cross-entropy with logits: loss and gradient in one pass.
 *
 * With weights w, positive weights q, logit x and target t,
 *     loss = w [ (1 - t) x + (1 + (q - 1) t) (log(1 + e^-|x|) + max(-x, 0)) ]
 *     grad = w [ (1 - t) s - q t (1 - s) ] * scale
 * the stable form of -w [ q t log s + (1 - t) log(1 - s) ] with s = sigmoid(x). */

typedef struct {
    vf loss, grad;
} bce_pair;

/* At x = +-inf a product 0 * inf would make NaN of what has a limit: the factor of an infinite x is
 * replaced by exact zeros, so the loss there is 0 or inf and the gradient finite. */
static inline bce_pair v_bce(vf x, vf t, vf w, vf q)
{
    vf zero = v_set(0.0f), one = v_set(1.0f);
    vf e = v_exp(v_sub(zero, v_abs(x)));
    vf absent = v_sub(one, t);
    vf wanted = v_mul(q, t), both = v_add(wanted, absent);
    vf softplus = v_log1p(e);               /* of -|x| */
    vf inverse = v_div(one, v_add(one, e)); /* sigmoid(|x|) */
    vf complement = v_mul(e, inverse);      /* sigmoid(-|x|) */
    vmask negative = v_gt(zero, x);
    vf s = v_select(negative, complement, inverse); /* sigmoid(x), exact in both tails */
    vf not_s = v_select(negative, inverse, complement);
    /* x > 0: (1 - t) x + both softplus;  x < 0: q t |x| + both softplus */
    vf slope = v_select(negative, wanted, absent);
    vf size = v_abs(x);
    vf linear = v_mul(slope, size);
    linear = v_select(v_gt(v_abs(slope), zero), linear,
                      v_select(v_gt(size, v_set(3.4e38f)), zero, linear));
    bce_pair r;
    r.loss = v_mul(w, v_fma(both, softplus, linear));
    r.grad = v_mul(w, v_sub(v_mul(absent, s), v_mul(wanted, not_s)));
    return r;
}

static inline vf bce_load(const float *p, size_t k) { return k == VN ? v_load(p) : v_load_n(p, k); }

/* Rows [row, row + rows) of the job; *sum = their loss, added up in double in a fixed order. */
static void bce(const mlc_bce *job, size_t row, size_t rows, double *sum)
{
    double total = 0;
    for (size_t i = row; i < row + rows; i++) {
        size_t at = i * job->labels;
        for (size_t j = 0; j < job->labels; j += VN) {
            size_t k = job->labels - j < VN ? job->labels - j : VN;
            vf w = v_set(1.0f), q = v_set(1.0f);
            if (job->weight) w = bce_load(job->weight + i * job->weight_stride + j, k);
            if (job->pos_weight) q = bce_load(job->pos_weight + i * job->pos_weight_stride + j, k);
            bce_pair r =
                v_bce(bce_load(job->logits + at + j, k), bce_load(job->targets + at + j, k), w, q);
            float loss[VN];
            v_store(loss, r.loss);
            for (size_t l = 0; l < k; l++) total += (double)loss[l];
            if (job->loss) v_store_n(job->loss + at + j, r.loss, k);
            if (job->grad) v_store_n(job->grad + at + j, v_mul(r.grad, v_set(job->scale)), k);
        }
    }
    *sum = total;
}
