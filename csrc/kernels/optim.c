/* The optimizers' passes over the parameters. Each leaves the gradients zero. */

/* Adam with decoupled weight decay as fastai defines it (Loshchilov and Hutter, "Decoupled weight
 * decay regularization", 2019; eps outside the root and after the debiasing):
 *     p *= keep;  m = mom m + (1 - mom) g;  v = sqr_mom v + (1 - sqr_mom) g^2
 *     p -= rate m / (sqrt(v debias) + eps);  g = 0 */
static inline vf v_adam(const mlc_adam *job, vf p, vf g, vf *m, vf *v)
{
    *m = v_fma(v_set(job->mom), *m, v_mul(v_set(1.0f - job->mom), g));
    *v = v_fma(v_set(job->sqr_mom), *v, v_mul(v_set(1.0f - job->sqr_mom), v_mul(g, g)));
    vf root = v_add(v_sqrt(v_mul(*v, v_set(job->debias))), v_set(job->eps));
    vf step = v_div(v_mul(v_set(job->rate), *m), root);
    return v_sub(v_mul(p, v_set(job->keep)), step);
}

static void adam(const mlc_adam *job, float *p, float *g, float *m, float *v, size_t n)
{
    for (size_t i = 0; i < n; i += VN) {
        size_t k = n - i < VN ? n - i : VN;
        vf vm = v_load_n(m + i, k), vv = v_load_n(v + i, k);
        v_store_n(p + i, v_adam(job, v_load_n(p + i, k), v_load_n(g + i, k), &vm, &vv), k);
        v_store_n(m + i, vm, k);
        v_store_n(v + i, vv, k);
        v_store_n(g + i, v_set(0.0f), k);
    }
}

/* Stochastic gradient descent with momentum, without dampening, as fastai's and torch's:
 *     p *= keep;  m = mom m + g;  p -= rate m;  g = 0 */
static void sgd(const mlc_sgd *job, float *p, float *g, float *m, size_t n)
{
    for (size_t i = 0; i < n; i += VN) {
        size_t k = n - i < VN ? n - i : VN;
        vf mean = v_fma(v_set(job->mom), v_load_n(m + i, k), v_load_n(g + i, k));
        vf kept = v_mul(v_load_n(p + i, k), v_set(job->keep));
        v_store_n(p + i, v_sub(kept, v_mul(v_set(job->rate), mean)), k);
        v_store_n(m + i, mean, k);
        v_store_n(g + i, v_set(0.0f), k);
    }
}

/* -1, 0 or 1; 0 for NaN. */
static inline vf v_sign(vf a)
{
    vf zero = v_set(0.0f);
    vf negative = v_select(v_gt(zero, a), v_set(-1.0f), zero);
    return v_select(v_gt(a, zero), v_set(1.0f), negative);
}

/* Lion (Chen et al., "Symbolic discovery of optimization algorithms", 2023):
 *     p *= keep;  p -= rate sign(mom m + (1 - mom) g);  m = late_mom m + (1 - late_mom) g;  g = 0
 */
static void lion(const mlc_lion *job, float *p, float *g, float *m, size_t n)
{
    for (size_t i = 0; i < n; i += VN) {
        size_t k = n - i < VN ? n - i : VN;
        vf vg = v_load_n(g + i, k), vm = v_load_n(m + i, k);
        vf way = v_fma(v_set(job->mom), vm, v_mul(v_set(1.0f - job->mom), vg));
        vf kept = v_mul(v_load_n(p + i, k), v_set(job->keep));
        v_store_n(p + i, v_sub(kept, v_mul(v_set(job->rate), v_sign(way))), k);
        vf late = v_mul(v_set(1.0f - job->late_mom), vg);
        v_store_n(m + i, v_fma(v_set(job->late_mom), vm, late), k);
        v_store_n(g + i, v_set(0.0f), k);
    }
}
