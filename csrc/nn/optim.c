/* The optimizer step over all parameters, cut into blocks of fixed size. */
#include <math.h>

#include "net.h"

enum { BLOCK = 1 << 15 };

typedef struct {
    mlc_param *param;
    mlc_adam adam;
} adam_job;

static void adam_block(void *context, size_t index)
{
    const adam_job *job = context;
    const mlc_param *p = job->param;
    size_t from = index * BLOCK, n = p->size - from < BLOCK ? p->size - from : BLOCK;
    mlc_kernel->adam(&job->adam, p->value + from, p->grad + from, p->m + from, p->v + from, n);
}

/* Debiasing in double, by the momentum of this very step: fastai's schedule changes it. */
static mlc_adam adam_of(const mlc_param *p, const mlc_hypers *h)
{
    int g = p->group;
    double step = p->step;
    return (mlc_adam){
        .keep = (float)(p->decay ? 1 - h->lr[g] * h->wd[g] : 1),
        .mom = (float)h->mom[g],
        .sqr_mom = (float)h->sqr_mom[g],
        .eps = (float)h->eps[g],
        .rate = (float)(h->lr[g] / (1 - pow(h->mom[g], step))),
        .debias = (float)(1 / (1 - pow(h->sqr_mom[g], step))),
    };
}

static void step_param(mlc_param *param, const mlc_hypers *hypers)
{
    param->step++;
    adam_job job = {param, adam_of(param, hypers)};
    mlc_parallel_for((param->size + BLOCK - 1) / BLOCK, adam_block, &job);
}

static void step_layer(mlc_layer *layer, const mlc_hypers *hypers)
{
    if (layer->bias && layer->bias->trainable) step_param(layer->bias, hypers);
    if (!layer->weight || !layer->weight->trainable) return;
    step_param(layer->weight, hypers);
    for (mlc_form form = 0; form < MLC_FORMS; form++) layer->stale[form] = true;
}

/* A step is never stopped half way: it is short, and half of one is no state to return to. The
 * binding therefore sets no poll function around it. */
mlc_status mlc_net_adam_step(mlc_net *net, const mlc_hypers *hypers, mlc_error *error)
{
    mlc_status status = MLC_OK;
    mlc_lock_write(&net->lock);
    if (!net->can_step) {
        status = mlc_fail(error, MLC_STATE,
                          "Net.adam_step: must follow a backward, got none since the "
                          "last step");
    } else {
        for (size_t i = 0; i < net->layer_count; i++) step_layer(&net->layers[i], hypers);
        net->can_step = net->can_undo = false;
    }
    mlc_unlock(&net->lock);
    return status;
}

void mlc_net_clear_state(mlc_net *net)
{
    mlc_lock_write(&net->lock);
    for (size_t i = 0; i < net->param_count; i++) {
        mlc_param *p = &net->params[i];
        p->step = 0;
        if (p->m) memset(p->m, 0, p->size * sizeof *p->m);
        if (p->v) memset(p->v, 0, p->size * sizeof *p->v);
    }
    mlc_unlock(&net->lock);
}
