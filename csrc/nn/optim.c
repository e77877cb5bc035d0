/* The optimizer step over all parameters, cut into blocks of fixed size. */
#include <math.h>

#include "net.h"

enum { BLOCK = 1 << 15 };

typedef struct {
    mlc_param *param;
    mlc_rule rule;
    mlc_adam adam; /* of MLC_ADAM and MLC_RADAM */
    mlc_sgd sgd;
    mlc_lion lion;
} step_job;

static void step_block(void *context, size_t index)
{
    const step_job *job = context;
    const mlc_param *p = job->param;
    size_t from = index * BLOCK, n = p->size - from < BLOCK ? p->size - from : BLOCK;
    float *value = p->value + from, *grad = p->grad + from, *m = p->m + from;
    if (job->rule == MLC_SGD)
        mlc_kernel->sgd(&job->sgd, value, grad, m, n);
    else if (job->rule == MLC_LION)
        mlc_kernel->lion(&job->lion, value, grad, m, n);
    else
        mlc_kernel->adam(&job->adam, value, grad, m, p->v + from, n);
}

/* Debiasing in double, by the momentum of this very step: fastai's schedule changes it. */
static mlc_adam adam_of(const mlc_param *p, const mlc_hypers *h, float keep)
{
    int g = p->group;
    double step = p->step;
    return (mlc_adam){
        .keep = keep,
        .mom = (float)h->mom[g],
        .sqr_mom = (float)h->sqr_mom[g],
        .eps = (float)h->eps[g],
        .rate = (float)(h->lr[g] / (1 - pow(h->mom[g], step))),
        .debias = (float)(1 / (1 - pow(h->sqr_mom[g], step))),
    };
}

/* Adam's rate times the rectification of Liu et al., "On the variance of the adaptive learning rate
 * and beyond", 2020. While the variance of v is not to be had (r <= 5, as fastai has it), the step
 * is that of momentum alone: the root becomes sqrt(v * 0) + 1. */
static mlc_adam radam_of(const mlc_param *p, const mlc_hypers *h, float keep)
{
    mlc_adam job = adam_of(p, h, keep);
    double step = p->step, b = h->sqr_mom[p->group];
    double most = 2 / (1 - b) - 1;
    double r = most - 2 * step * pow(b, step) / (1 - pow(b, step));
    if (r > 5) {
        double rectified = sqrt((r - 4) * (r - 2) * most / ((most - 4) * (most - 2) * r));
        job.rate = (float)(h->lr[p->group] / (1 - pow(h->mom[p->group], step)) * rectified);
    } else {
        job.debias = 0, job.eps = 1;
    }
    return job;
}

static step_job job_of(mlc_param *p, mlc_rule rule, const mlc_hypers *h)
{
    int g = p->group;
    step_job job = {.param = p, .rule = rule};
    float keep = (float)(p->decay ? 1 - h->lr[g] * h->wd[g] : 1);
    if (rule == MLC_SGD)
        job.sgd = (mlc_sgd){keep, (float)h->mom[g], (float)h->lr[g]};
    else if (rule == MLC_LION)
        job.lion = (mlc_lion){keep, (float)h->mom[g], (float)h->sqr_mom[g], (float)h->lr[g]};
    else
        job.adam = rule == MLC_ADAM ? adam_of(p, h, keep) : radam_of(p, h, keep);
    return job;
}

static void step_param(mlc_param *param, mlc_rule rule, const mlc_hypers *hypers)
{
    param->step++;
    step_job job = job_of(param, rule, hypers);
    mlc_parallel_for((param->size + BLOCK - 1) / BLOCK, step_block, &job);
}

static void step_layer(mlc_layer *layer, mlc_rule rule, const mlc_hypers *hypers)
{
    if (layer->bias && layer->bias->trainable) step_param(layer->bias, rule, hypers);
    if (!layer->weight || !layer->weight->trainable) return;
    step_param(layer->weight, rule, hypers);
    for (mlc_form form = 0; form < MLC_FORMS; form++) layer->stale[form] = true;
}

/* A step is never stopped half way: it is short, and half of one is no state to return to. The
 * binding therefore sets no poll function around it. */
mlc_status mlc_net_step(mlc_net *net, mlc_rule rule, const mlc_hypers *hypers, const char *function,
                        mlc_error *error)
{
    mlc_lock_write(&net->lock);
    mlc_status status = mlc_net_whole(net, error);
    if (!status && !net->can_step)
        status = mlc_fail(error, MLC_STATE,
                          "%s: must follow a backward, got none since the last step", function);
    if (!status) {
        for (size_t i = 0; i < net->layer_count; i++) step_layer(&net->layers[i], rule, hypers);
        net->can_step = net->can_undo = false;
    }
    mlc_unlock(&net->lock);
    return status;
}

static void forget(mlc_param *p)
{
    p->step = 0;
    if (p->m) memset(p->m, 0, p->size * sizeof *p->m);
    if (p->v) memset(p->v, 0, p->size * sizeof *p->v);
}

void mlc_net_clear_state(mlc_net *net)
{
    mlc_lock_write(&net->lock);
    for (size_t i = 0; i < net->param_count; i++) forget(&net->params[i]);
    mlc_unlock(&net->lock);
}

/* A moment may be given as the view of itself, so nothing is cleared before all is written. */
void mlc_net_write_state(mlc_net *net, const mlc_kept *kept, size_t count)
{
    for (size_t i = 0; i < net->param_count; i++) net->params[i].step = 0;
    for (size_t i = 0; i < count; i++) {
        mlc_param *p = kept[i].param;
        p->step = kept[i].step;
        memmove(p->m, kept[i].m, p->size * sizeof *p->m);
        memmove(p->v, kept[i].v, p->size * sizeof *p->v);
    }
    for (size_t i = 0; i < net->param_count; i++)
        if (!net->params[i].step) forget(&net->params[i]);
}
