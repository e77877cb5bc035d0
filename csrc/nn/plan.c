/* Time runs from 0: forward of layer i at time i, its backward at 2 L - 1 - i; the gradient of the
 * output comes in at time L - 1. */
#include "plan.h"

#include <stdlib.h>
#include <time.h>

#include "net.h"

/* --- making ---------------------------------------------------------------------------------- */

static int backward_time(const mlc_net *net, size_t layer)
{
    return (int)(2 * net->layer_count - 1 - layer);
}

mlc_status mlc_plan_shapes(const mlc_net *net, size_t n, size_t h, size_t w, bool train,
                           mlc_slot *value, mlc_error *error)
{
    value[0].shape =
        (mlc_tensor){.n = n, .h = h, .w = w, .c = net->channels, .stride = net->input_stride};
    for (size_t i = 0; i < net->layer_count; i++) {
        const mlc_layer *layer = &net->layers[i];
        const mlc_tensor *in[MLC_MAX_INPUTS] = {0};
        for (size_t k = 0; k < layer->input_count; k++) in[k] = &value[layer->inputs[k]].shape;
        mlc_status status = layer->class->shape(layer, in, train, &value[i + 1].shape, error);
        if (status) return status;
        value[i + 1].shape.stride = mlc_padded(value[i + 1].shape.c);
    }
    return MLC_OK;
}

/* What every layer needs, and from that the halo of every value and gradient. */
static bool plan_needs(const mlc_net *net, mlc_plan *plan)
{
    for (size_t i = 0; i < net->layer_count; i++) {
        const mlc_layer *layer = &net->layers[i];
        const mlc_tensor *in[MLC_MAX_INPUTS] = {0};
        for (size_t k = 0; k < layer->input_count; k++)
            in[k] = &plan->value[layer->inputs[k]].shape;
        mlc_needs *needs = &plan->needs[i];
        if (!layer->class->plan(layer, in, &plan->value[i + 1].shape, needs)) return false;
        mlc_tensor *x = &plan->value[layer->inputs[0]].shape;
        if (x->halo < needs->halo_in) x->halo = needs->halo_in;
    }
    for (size_t i = 0; i < net->layer_count; i++) {
        plan->grad[i + 1].shape = plan->value[i + 1].shape;
        plan->grad[i + 1].shape.halo = plan->needs[i].halo_dy;
    }
    return true;
}

/* The last time that anything reads tensor t. */
static int value_end(const mlc_net *net, const mlc_plan *plan, size_t t)
{
    int end = t == net->layer_count ? (int)t : (int)t - 1;
    if (plan->train && t > 0 && plan->needs[t - 1].keeps_output) end = backward_time(net, t - 1);
    for (size_t i = t; i < net->layer_count; i++)
        for (size_t k = 0; k < net->layers[i].input_count; k++) {
            if (net->layers[i].inputs[k] != t) continue;
            bool kept = plan->train && k == 0 && plan->needs[i].keeps_input;
            int time = kept ? backward_time(net, i) : (int)i;
            if (time > end) end = time;
        }
    return end;
}

/* A gradient lives from its last reader's backward to its writer's. */
static int grad_start(const mlc_net *net, size_t t)
{
    int start = backward_time(net, t - 1);
    if (t == net->layer_count) return (int)net->layer_count - 1;
    for (size_t i = t; i < net->layer_count; i++)
        for (size_t k = 0; k < net->layers[i].input_count; k++)
            if (net->layers[i].inputs[k] == t && backward_time(net, i) < start)
                start = backward_time(net, i);
    return start;
}

static mlc_status add_tensor(mlc_plan *plan, mlc_slot *slot, int first, int last, mlc_error *error)
{
    size_t bytes;
    if (!tensor_bytes(&slot->shape, &bytes))
        return mlc_fail(error, MLC_MEMORY,
                        "Net.forward: a tensor of %zu x %zu x %zu x %zu does not "
                        "fit in memory",
                        slot->shape.n, slot->shape.h, slot->shape.w, slot->shape.c);
    return mlc_layout_add(&plan->layout, bytes, first, last, &slot->block, error);
}

static mlc_status plan_layer(const mlc_net *net, mlc_plan *plan, size_t i, mlc_error *error)
{
    const mlc_needs *needs = &plan->needs[i];
    int forward = (int)i, backward = backward_time(net, i);
    mlc_status status = mlc_layout_add(&plan->layout, needs->saved, forward,
                                       plan->train ? backward : forward, &plan->saved[i], error);
    if (!status)
        status = mlc_layout_add(&plan->layout, needs->scratch, forward, forward, &plan->scratch[i],
                                error);
    if (!status && plan->train)
        status = mlc_layout_add(&plan->layout, needs->scratch_back, backward, backward,
                                &plan->scratch_back[i], error);
    return status;
}

static mlc_status plan_blocks(const mlc_net *net, mlc_plan *plan, mlc_error *error)
{
    mlc_status status = MLC_OK;
    for (size_t t = 0; t <= net->layer_count && !status; t++) {
        int first = t ? (int)t - 1 : 0;
        status = add_tensor(plan, &plan->value[t], first, value_end(net, plan, t), error);
        if (!status && plan->train && t)
            status = add_tensor(plan, &plan->grad[t], grad_start(net, t), backward_time(net, t - 1),
                                error);
    }
    for (size_t i = 0; i < net->layer_count && !status; i++)
        status = plan_layer(net, plan, i, error);
    return status ? status : mlc_layout_place(&plan->layout, error);
}

static bool plan_arrays(const mlc_net *net, mlc_plan *plan)
{
    size_t layers = net->layer_count, tensors = layers + 1;
    plan->value = calloc(tensors, sizeof *plan->value);
    plan->grad = calloc(tensors, sizeof *plan->grad);
    plan->needs = calloc(layers, sizeof *plan->needs);
    plan->saved = calloc(3 * layers, sizeof *plan->saved);
    plan->wanted = calloc(2 * tensors, sizeof *plan->wanted);
    plan->seconds = calloc(2 * layers, sizeof *plan->seconds);
    if (!plan->value || !plan->grad || !plan->needs || !plan->saved || !plan->wanted ||
        !plan->seconds)
        return false;
    plan->scratch = plan->saved + layers;
    plan->scratch_back = plan->scratch + layers;
    plan->written = plan->wanted + tensors;
    return true;
}

mlc_status mlc_plan_new(const mlc_net *net, size_t n, size_t h, size_t w, bool train,
                        mlc_plan **out, mlc_error *error)
{
    mlc_plan *plan = calloc(1, sizeof *plan);
    mlc_status status = MLC_MEMORY;
    if (!plan || !plan_arrays(net, plan)) {
        mlc_fail(error, MLC_MEMORY, "Net.forward: no memory for a plan of %zu layers",
                 net->layer_count);
        goto failed;
    }
    plan->n = n, plan->h = h, plan->w = w, plan->train = train;
    if ((status = mlc_plan_shapes(net, n, h, w, train, plan->value, error))) goto failed;
    if (!plan_needs(net, plan)) {
        status = mlc_fail(error, MLC_MEMORY, "Net.forward: the sizes of this batch overflow");
        goto failed;
    }
    if ((status = plan_blocks(net, plan, error))) goto failed;
    if ((status = mlc_arena_new(&plan->arena, plan->layout.total, error))) {
        mlc_fail(error, status,
                 "Net.forward: no memory for a batch of %zu images of %zu x %zu, which "
                 "needs %zu MB; use a smaller batch or smaller images",
                 n, h, w, plan->layout.total >> 20);
        goto failed;
    }
    *out = plan;
    return MLC_OK;
failed:
    mlc_plan_free(plan);
    return status;
}

void mlc_plan_free(mlc_plan *plan)
{
    if (!plan) return;
    mlc_arena_free(&plan->arena);
    mlc_layout_done(&plan->layout);
    free(plan->value);
    free(plan->grad);
    free(plan->needs);
    free(plan->saved);
    free(plan->wanted);
    free(plan->seconds);
    free(plan);
}

/* --- running --------------------------------------------------------------------------------- */

static void *block_at(const mlc_plan *plan, size_t block)
{
    return plan->arena.base + plan->layout.blocks[block].offset;
}

static void clear_halo(const mlc_plan *plan, const mlc_slot *slot)
{
    tensor_clear_halo(&slot->shape, block_at(plan, slot->block));
}

void mlc_plan_put(const mlc_plan *plan, const mlc_slot *slot, const float *from)
{
    const mlc_tensor *t = &slot->shape;
    float *to = block_at(plan, slot->block);
    tensor_clear_halo(t, to);
    for (size_t r = 0; r < tensor_rows(t); r++) {
        float *pixel = to + tensor_row_at(t, r);
        for (size_t x = 0; x < t->w; x++, pixel += t->stride, from += t->c) {
            memcpy(pixel, from, t->c * sizeof *from);
            memset(pixel + t->c, 0, (t->stride - t->c) * sizeof *from);
        }
    }
}

void mlc_plan_take(const mlc_plan *plan, const mlc_slot *slot, float *to)
{
    const mlc_tensor *t = &slot->shape;
    const float *from = block_at(plan, slot->block);
    for (size_t r = 0; r < tensor_rows(t); r++)
        for (size_t x = 0; x < t->w; x++, to += t->c)
            memcpy(to, from + tensor_row_at(t, r) + x * t->stride, t->c * sizeof *to);
}

static mlc_run run_of(const mlc_net *net, const mlc_plan *plan, size_t i)
{
    mlc_layer *layer = &net->layers[i];
    mlc_run run = {
        .layer = layer, .out = &plan->value[i + 1].shape, .train = plan->train, .key = plan->key};
    run.y = block_at(plan, plan->value[i + 1].block);
    for (size_t k = 0; k < layer->input_count; k++) {
        run.in[k] = &plan->value[layer->inputs[k]].shape;
        run.x[k] = block_at(plan, plan->value[layer->inputs[k]].block);
    }
    run.saved = block_at(plan, plan->saved[i]);
    run.scratch = block_at(plan, plan->scratch[i]);
    run.workers = plan->needs[i].workers;
    return run;
}

/* call(run), timed. */
static bool timed(bool (*call)(const mlc_run *), const mlc_run *run, double *seconds)
{
    struct timespec from, to;
    clock_gettime(CLOCK_MONOTONIC, &from);
    bool done = call(run);
    clock_gettime(CLOCK_MONOTONIC, &to);
    *seconds = (double)(to.tv_sec - from.tv_sec) + 1e-9 * (double)(to.tv_nsec - from.tv_nsec);
    return done;
}

bool mlc_plan_forward(const mlc_net *net, mlc_plan *plan)
{
    memset(plan->seconds, 0, 2 * net->layer_count * sizeof *plan->seconds);
    for (size_t i = 0; i < net->layer_count; i++) {
        mlc_run run = run_of(net, plan, i);
        clear_halo(plan, &plan->value[i + 1]);
        if (!timed(run.layer->class->forward, &run, &plan->seconds[i])) return false;
    }
    return true;
}

void mlc_plan_commit(const mlc_net *net, mlc_plan *plan)
{
    for (size_t i = 0; i < net->layer_count; i++) {
        mlc_run run = run_of(net, plan, i);
        if (run.layer->class->commit) run.layer->class->commit(&run);
    }
}

static bool is_trainable(const mlc_param *param) { return param && param->trainable; }

/* A gradient is wanted where a parameter at or before its writer is trained. */
static void find_wanted(const mlc_net *net, mlc_plan *plan)
{
    plan->wanted[0] = false;
    for (size_t i = 0; i < net->layer_count; i++) {
        const mlc_layer *layer = &net->layers[i];
        bool wanted = is_trainable(layer->weight) || is_trainable(layer->bias);
        for (size_t k = 0; k < layer->input_count; k++) wanted |= plan->wanted[layer->inputs[k]];
        plan->wanted[i + 1] = wanted;
        plan->written[i + 1] = false;
    }
}

/* Where layer i's input gradients go: written by their last reader, added to by those before it. A
 * residual's comes first, as batch norm writes it first: both inputs may be one tensor. */
static void add_gradients(mlc_plan *plan, mlc_run *run, size_t i)
{
    run->dout = &plan->grad[i + 1].shape;
    run->dy = block_at(plan, plan->grad[i + 1].block);
    run->scratch = block_at(plan, plan->scratch_back[i]);
    for (size_t k = run->layer->input_count; k-- > 0;) {
        size_t t = run->layer->inputs[k];
        if (!plan->wanted[t]) continue;
        run->din[k] = &plan->grad[t].shape;
        run->dx[k] = block_at(plan, plan->grad[t].block);
        run->accumulate[k] = plan->written[t];
        if (!plan->written[t]) clear_halo(plan, &plan->grad[t]);
        plan->written[t] = true;
    }
}

bool mlc_plan_backward(const mlc_net *net, mlc_plan *plan, bool accumulate)
{
    find_wanted(net, plan);
    plan->written[net->layer_count] = true;
    for (size_t i = net->layer_count; i-- > 0;) {
        if (!plan->wanted[i + 1] || !plan->written[i + 1]) continue;
        mlc_run run = run_of(net, plan, i);
        add_gradients(plan, &run, i);
        run.accumulate_params = accumulate;
        double *seconds = &plan->seconds[net->layer_count + i];
        if (!timed(run.layer->class->backward, &run, seconds)) return false;
    }
    return true;
}
