/* The optimizer's pass over the parameters. */

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
