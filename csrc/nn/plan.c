/* Time runs from 0: forward of layer i at time i, its backward at 2 L - 1 - i; the gradient of the
 * output comes in at time L - 1.
 *
 * A convolution works for the batch norm that reads it. In training it measures mean and variance
 * in its epilogue. In a prediction all of the batch norm is the convolution's epilogue: it runs in
 * the batch norm's place and writes its output, and the tensor between them does not exist. Nor, in
 * training, does that between a batch norm and a maximum that is its only reader: that applies it
 * to what it reads. Nor is there an activation's output that one linear layer reads, nor the
 * gradient of it: that activates what it multiplies, and goes back through the activation.
 *
 * Going back it is the reader of a gradient that asks for it: where a layer can do with a few rows
 * of its dy at a time, and the one layer above it can make them one by one, all of dy never exists.
 * What they are made from lives until then. Such layers may follow each other. */
#include "plan.h"

#include <stdio.h>
#include <stdlib.h>

#include "../base/memory.h"
#include "net.h"

int mlc_backward_time(const mlc_net *net, size_t layer)
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

static size_t reader_count(const mlc_net *net, size_t t)
{
    size_t count = t == net->layer_count;
    for (size_t i = t; i < net->layer_count; i++)
        for (size_t k = 0; k < net->layers[i].input_count; k++)
            count += net->layers[i].inputs[k] == t;
    return count;
}

size_t mlc_only_reader(const mlc_net *net, size_t t)
{
    size_t i = t;
    while (net->layers[i].inputs[0] != t && net->layers[i].inputs[1] != t) i++;
    return i;
}

static void find_fusions(const mlc_net *net, mlc_plan *plan)
{
    for (size_t i = 0; i < net->layer_count; i++)
        plan->fusion[i] = (mlc_fusion){.norm = MLC_NONE, .source = MLC_NONE};
    for (size_t i = 0; i < net->layer_count; i++) {
        const mlc_layer *layer = &net->layers[i];
        size_t t = layer->inputs[0];
        if (!layer->class->fold || !t || !net->layers[t - 1].class->epilogue) continue;
        if (plan->train && !layer->class->statistics) continue;
        if (!plan->train && (reader_count(net, t) > 1 || t == plan->also)) continue;
        plan->fusion[i].source = (int)t - 1;
        plan->fusion[t - 1].norm = (int)i;
    }
}

/* Batch norms whose output only a layer reads that can apply them itself, and does not keep it. */
static void find_read_through(const mlc_net *net, mlc_plan *plan)
{
    for (size_t i = 0; plan->train && i < net->layer_count; i++) {
        const mlc_layer *layer = &net->layers[i];
        size_t t = layer->inputs[0];
        if (!layer->class->prologue || plan->needs[i].keeps_input || !t) continue;
        if (net->layers[t - 1].input_count > 1) continue;
        plan->fusion[t - 1].read_through = net->layers[t - 1].class->statistics &&
                                           plan->needs[t - 1].rewrites && reader_count(net, t) == 1;
    }
}

/* Activations whose one reader does all of their work. */
static void find_through(const mlc_net *net, mlc_plan *plan)
{
    for (size_t i = 0; plan->train && i < net->layer_count; i++) {
        size_t t = net->layers[i].inputs[0];
        if (!net->layers[i].class->goes_through || !t) continue;
        const mlc_layer *before = &net->layers[t - 1];
        bool alone = reader_count(net, t) == 1 && reader_count(net, before->inputs[0]) == 1;
        mlc_fusion *fusion = &plan->fusion[t - 1];
        fusion->through = before->class->activation && before->inputs[0] && alone;
        fusion->read_through |= fusion->through;
    }
}

/* Gradients that are made by rows. */
static void find_by_rows(const mlc_net *net, mlc_plan *plan)
{
    for (size_t i = 0; plan->train && i < net->layer_count; i++) {
        const mlc_layer *layer = &net->layers[i];
        size_t t = layer->inputs[0];
        if (!t || layer->input_count > 1 || !layer->class->make_row) continue;
        plan->by_rows[t] = plan->needs[t - 1].dy_rows && reader_count(net, t) == 1;
        if (plan->by_rows[t]) plan->needs[t - 1].workers = (size_t)plan->threads;
    }
}

/* Layers that write the gradient of their input over that of their output: of the former there is
 * one writer, and it has the same border. */
static void find_in_place(const mlc_net *net, mlc_plan *plan)
{
    for (size_t i = 0; i < net->layer_count; i++) {
        size_t t = net->layers[i].inputs[0];
        plan->needs[i].in_place &= t && reader_count(net, t) == 1 && !plan->by_rows[t] &&
                                   !plan->by_rows[i + 1] &&
                                   plan->grad[t].shape.halo == plan->grad[i + 1].shape.halo;
    }
}

/* Whether the gradient of tensor t has the place of that of its reader's output. */
static bool takes_place(const mlc_net *net, const mlc_plan *plan, size_t t)
{
    if (t == net->layer_count || reader_count(net, t) != 1) return false;
    size_t i = mlc_only_reader(net, t);
    return plan->needs[i].in_place && net->layers[i].inputs[0] == t;
}

/* The last time that something asks for what layer i's backward is done with. */
static int backward_end(const mlc_net *net, const mlc_plan *plan, size_t i)
{
    while (plan->by_rows[net->layers[i].inputs[0]]) i = net->layers[i].inputs[0] - 1;
    return mlc_backward_time(net, i);
}

bool mlc_is_folded(const mlc_plan *plan, size_t i)
{
    return !plan->train && plan->fusion[i].norm != MLC_NONE;
}

static int forward_time(const mlc_plan *plan, size_t i)
{
    return mlc_is_folded(plan, i) ? plan->fusion[i].norm : (int)i;
}

/* The last time that anything writes or reads tensor t in the forward pass. */
static int forward_end(const mlc_net *net, const mlc_plan *plan, size_t t)
{
    int end = t ? (int)t - 1 : 0;
    if (t == net->layer_count || (t && t == plan->also)) end = (int)net->layer_count;
    for (size_t i = t; i < net->layer_count; i++)
        for (size_t k = 0; k < net->layers[i].input_count; k++) {
            if (net->layers[i].inputs[k] != t) continue;
            bool through = plan->fusion[i].read_through; /* then read by that layer's reader, too */
            int time = through ? forward_end(net, plan, i + 1) : forward_time(plan, i);
            if (time > end) end = time;
        }
    return end;
}

static void spread(mlc_span *span, int from, int to)
{
    if (!span->any || from < span->first) span->first = from;
    if (!span->any || to > span->last) span->last = to;
    span->any = true;
}

/* Whether input k of layer i is not held for writing i's output again, but written in the place of
 * that before it. Values are written more often then, and in bf16 only: who asks for that asks for
 * memory. MLC_MOST_PASSES bounds how often. */
static bool is_carried(const mlc_net *net, const mlc_plan *plan, size_t i, size_t k)
{
    const size_t *inputs = net->layers[i].inputs;
    return plan->bf16 && k == 1 && inputs[0] != inputs[1] && plan->needs[i].over_second &&
           inputs[1] && plan->needs[inputs[1] - 1].rewrites &&
           plan->again[i + 1].passes < MLC_MOST_PASSES;
}

/* When the backward of layer i starts, or of the layer that goes through it. */
static int backward_start(const mlc_net *net, const mlc_plan *plan, size_t i)
{
    return mlc_backward_time(net, plan->fusion[i].through ? mlc_only_reader(net, i + 1) : i);
}

/* When anything after the forward pass reads the value of tensor t: the backward of its readers,
 * its writer's, and what writes a reader's output again; that may come late, as frozen layers have
 * no backward. `floats`: leave out who takes a copy. */
static mlc_again late_uses(const mlc_net *net, const mlc_plan *plan, size_t t, bool floats)
{
    mlc_again uses = {.passes = 1};
    for (size_t i = t; plan->train && i < net->layer_count; i++) {
        const mlc_layer *layer = &net->layers[i];
        const mlc_again *again = &plan->again[i + 1];
        if (floats && layer->class->reads_copy) continue;
        bool first = layer->inputs[0] == t && plan->needs[i].keeps_input;
        bool second = layer->inputs[1] == t && plan->needs[i].keeps_second;
        if (first || second)
            spread(&uses.held, backward_start(net, plan, i), backward_end(net, plan, i));
        for (size_t k = 0; k < layer->input_count; k++) {
            if (layer->inputs[k] != t || !again->rewritten) continue;
            bool carried = is_carried(net, plan, i, k);
            spread(carried ? &uses.used : &uses.held, again->used.first, again->used.last);
            if (carried && again->passes >= uses.passes) uses.passes = again->passes + 1;
        }
    }
    if (plan->train && t && plan->needs[t - 1].keeps_output)
        spread(&uses.held, mlc_backward_time(net, t - 1), backward_end(net, plan, t - 1));
    if (uses.held.any) spread(&uses.used, uses.held.first, uses.held.last);
    return uses;
}

/* Values that backward needs but that are cheaper written again than kept; also from such. In bf16
 * there are copies of the others, but not of single pixels: the head works in floats. */
static void find_again(const mlc_net *net, mlc_plan *plan)
{
    for (size_t t = net->layer_count + 1; t-- > 0;) {
        mlc_again *again = &plan->again[t];
        const mlc_tensor *shape = &plan->value[t].shape;
        mlc_again uses = late_uses(net, plan, t, false);
        bool rewrites = t && plan->needs[t - 1].rewrites;
        bool copied = plan->bf16 && !rewrites && shape->h * shape->w > 1 && uses.used.any;
        if (copied) uses = late_uses(net, plan, t, true);
        if (rewrites || copied) *again = uses;
        again->rewritten = rewrites && uses.used.any;
        again->copied = copied;
    }
}

/* The last time that anything reads the value of tensor t as forward has written it. */
static int value_end(const mlc_net *net, const mlc_plan *plan, size_t t)
{
    int end = forward_end(net, plan, t);
    bool again = plan->again[t].rewritten || plan->again[t].copied;
    mlc_span late = late_uses(net, plan, t, false).used;
    return !again && late.any ? late.last : end;
}

/* A gradient lives from its last reader's backward to its writer's. */
static int grad_start(const mlc_net *net, const mlc_plan *plan, size_t t)
{
    int start = mlc_backward_time(net, t - 1);
    if (t == net->layer_count) return (int)net->layer_count - 1;
    for (size_t i = t; i < net->layer_count; i++)
        for (size_t k = 0; k < net->layers[i].input_count; k++) {
            if (net->layers[i].inputs[k] != t) continue;
            int time =
                plan->fusion[i].through ? grad_start(net, plan, i + 1) : mlc_backward_time(net, i);
            if (time < start) start = time;
        }
    return start;
}

/* And ends with that of the tensor which takes its place, if one does. */
static int grad_end(const mlc_net *net, const mlc_plan *plan, size_t t)
{
    size_t i = t - 1;
    while (plan->needs[i].in_place) i = net->layers[i].inputs[0] - 1;
    return backward_end(net, plan, i);
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

static mlc_status add_again(mlc_plan *plan, size_t t, mlc_error *error)
{
    mlc_again *again = &plan->again[t];
    mlc_slot slot = plan->value[t];
    mlc_status status = add_tensor(plan, &slot, again->held.first, again->held.last, error);
    again->block = slot.block;
    return status;
}

static mlc_status add_copy(const mlc_net *net, mlc_plan *plan, size_t t, mlc_error *error)
{
    const mlc_tensor *shape = &plan->value[t].shape;
    int first = t ? (int)t - 1 : 0, last = late_uses(net, plan, t, false).used.last;
    size_t bytes =
        tensor_rows(shape) * mlc_copied_row(shape) * sizeof(uint16_t); /* less than floats */
    return mlc_layout_add(&plan->layout, bytes, first, last, &plan->again[t].copy, error);
}

/* A place for rows of layer i's dy, for each thread. */
static mlc_status add_rows(const mlc_net *net, mlc_plan *plan, size_t i, mlc_error *error)
{
    const mlc_tensor *dy = &plan->grad[i + 1].shape;
    size_t bytes, rows = plan->needs[i].dy_rows * (size_t)plan->threads;
    if (!mlc_mul(dy->w * dy->stride * sizeof(float), rows, &bytes) ||
        !mlc_add(bytes, MLC_SLACK, &bytes))
        return mlc_fail(error, MLC_MEMORY, "Net.forward: the sizes of this batch overflow");
    return mlc_layout_add(&plan->layout, bytes, mlc_backward_time(net, i),
                          backward_end(net, plan, i), &plan->rows[i], error);
}

static mlc_status plan_layer(const mlc_net *net, mlc_plan *plan, size_t i, mlc_error *error)
{
    const mlc_needs *needs = &plan->needs[i];
    int forward = forward_time(plan, i), backward = mlc_backward_time(net, i);
    int end = plan->train ? backward_end(net, plan, i) : forward;
    mlc_status status =
        mlc_layout_add(&plan->layout, needs->saved, forward, end, &plan->saved[i], error);
    if (!status)
        status = mlc_layout_add(&plan->layout, needs->scratch, forward, forward, &plan->scratch[i],
                                error);
    if (!status && plan->train)
        status = mlc_layout_add(&plan->layout, needs->scratch_back, backward, end,
                                &plan->scratch_back[i], error);
    if (!status && plan->by_rows[i + 1]) status = add_rows(net, plan, i, error);
    mlc_fusion *fusion = &plan->fusion[i];
    if (!status && plan->train && fusion->norm != MLC_NONE)
        status = mlc_layout_add(&plan->layout, 2 * net->layers[i].out_channels * sizeof(double),
                                forward, fusion->norm, &fusion->moments, error);
    return status;
}

static mlc_status plan_blocks(const mlc_net *net, mlc_plan *plan, mlc_error *error)
{
    mlc_status status = MLC_OK;
    for (size_t t = 0; t <= net->layer_count && !status; t++) {
        int first = t ? (int)t - 1 : 0;
        if (!t || !(mlc_is_folded(plan, t - 1) || plan->fusion[t - 1].read_through))
            status = add_tensor(plan, &plan->value[t], first, value_end(net, plan, t), error);
        if (!status && plan->again[t].held.any) status = add_again(plan, t, error);
        if (!status && plan->again[t].copied) status = add_copy(net, plan, t, error);
        bool has_grad = plan->train && t && !plan->by_rows[t] && !plan->fusion[t - 1].through;
        if (!status && has_grad && !takes_place(net, plan, t))
            status = add_tensor(plan, &plan->grad[t], grad_start(net, plan, t),
                                grad_end(net, plan, t), error);
    }
    for (size_t t = net->layer_count; plan->train && t-- > 1;)
        if (takes_place(net, plan, t))
            plan->grad[t].block = plan->grad[mlc_only_reader(net, t) + 1].block;
    for (size_t i = 0; i < net->layer_count && !status; i++)
        status = plan_layer(net, plan, i, error);
    for (size_t i = 0; i < net->layer_count; i++) {
        if (mlc_is_folded(plan, i)) plan->value[i + 1] = plan->value[plan->fusion[i].norm + 1];
        size_t t = net->layers[i].inputs[0];
        if (plan->fusion[i].read_through) plan->value[i + 1] = plan->value[t];
        if (plan->fusion[i].through) plan->grad[i + 1] = plan->grad[t];
    }
    return status ? status : mlc_layout_place(&plan->layout, error);
}

static bool plan_arrays(const mlc_net *net, mlc_plan *plan)
{
    size_t layers = net->layer_count, tensors = layers + 1;
    plan->value = calloc(tensors, sizeof *plan->value);
    plan->grad = calloc(tensors, sizeof *plan->grad);
    plan->needs = calloc(layers, sizeof *plan->needs);
    plan->fusion = calloc(layers, sizeof *plan->fusion);
    plan->again = calloc(tensors, sizeof *plan->again);
    plan->back = calloc(layers, sizeof *plan->back);
    plan->saved = calloc(4 * layers, sizeof *plan->saved);
    plan->wanted = calloc(3 * tensors, sizeof *plan->wanted);
    plan->seconds = calloc(2 * layers, sizeof *plan->seconds);
    if (!plan->value || !plan->grad || !plan->needs || !plan->fusion || !plan->again ||
        !plan->back || !plan->saved || !plan->wanted || !plan->seconds)
        return false;
    plan->scratch = plan->saved + layers;
    plan->scratch_back = plan->scratch + layers;
    plan->rows = plan->scratch_back + layers;
    plan->written = plan->wanted + tensors;
    plan->by_rows = plan->written + tensors;
    return true;
}

/* A plan without its arena. */
static mlc_status plan_layout(const mlc_net *net, size_t n, size_t h, size_t w, bool train,
                              size_t also, mlc_plan **out, mlc_error *error)
{
    mlc_plan *plan = calloc(1, sizeof *plan);
    mlc_status status;
    if (!plan || !plan_arrays(net, plan)) {
        status = mlc_fail(error, MLC_MEMORY, "Net.forward: no memory for a plan of %zu layers",
                          net->layer_count);
        goto failed;
    }
    plan->n = n, plan->h = h, plan->w = w, plan->train = train, plan->also = also;
    plan->bf16 = net->bf16;
    plan->threads = mlc_threads_get();
    if ((status = mlc_plan_shapes(net, n, h, w, train, plan->value, error))) goto failed;
    if (!plan_needs(net, plan)) {
        status = mlc_fail(error, MLC_MEMORY, "Net.forward: the sizes of this batch overflow");
        goto failed;
    }
    find_fusions(net, plan);
    find_read_through(net, plan);
    find_through(net, plan);
    find_by_rows(net, plan);
    find_in_place(net, plan);
    find_again(net, plan);
    if ((status = plan_blocks(net, plan, error))) goto failed;
    *out = plan;
    return MLC_OK;
failed:
    mlc_plan_free(plan);
    return status;
}

/* What the next training step will touch first of what is allocated: gradients and moments. */
static size_t untouched_bytes(const mlc_net *net, bool train)
{
    size_t bytes = 0;
    for (size_t i = 0; train && i < net->param_count; i++)
        if (net->params[i].trainable && !net->params[i].step)
            bytes += 3 * net->params[i].size * sizeof(float);
    return bytes;
}

static bool batch_fits(const mlc_net *net, const mlc_plan *plan, size_t n, size_t bytes)
{
    mlc_plan *smaller;
    mlc_error unused;
    if (plan_layout(net, n, plan->h, plan->w, plan->train, plan->also, &smaller, &unused))
        return false;
    bool fits = smaller->layout.total <= bytes;
    mlc_plan_free(smaller);
    return fits;
}

/* The sentence says what would help. */
static mlc_status too_large(const mlc_net *net, const mlc_plan *plan, size_t free_bytes,
                            mlc_error *error)
{
    char need[32], have[32], help[64];
    size_t rest = untouched_bytes(net, plan->train), fits = 0, fails = plan->n;
    size_t bytes = free_bytes > rest ? free_bytes - rest : 0;
    while (fails - fits > 1) {
        size_t middle = fits + (fails - fits) / 2;
        if (batch_fits(net, plan, middle, bytes))
            fits = middle;
        else
            fails = middle;
    }
    if (fits)
        snprintf(help, sizeof help, "a batch of %zu would fit", fits);
    else
        snprintf(help, sizeof help, "use smaller images");
    return mlc_fail(error, MLC_MEMORY,
                    "Net.forward: a batch of %zu images of %zu x %zu needs %s and %s are free; %s",
                    plan->n, plan->h, plan->w, mlc_memory_text(plan->layout.total + rest, need),
                    mlc_memory_text(free_bytes, have), help);
}

mlc_status mlc_plan_new(const mlc_net *net, size_t n, size_t h, size_t w, bool train, size_t also,
                        mlc_plan **out, mlc_error *error)
{
    mlc_plan *plan;
    mlc_status status = plan_layout(net, n, h, w, train, also, &plan, error);
    if (status) return status;
    size_t free_bytes = mlc_memory_available(), bytes = plan->layout.total;
    if (bytes > free_bytes || untouched_bytes(net, train) > free_bytes - bytes)
        status = too_large(net, plan, free_bytes, error);
    else if ((status = mlc_arena_new(&plan->arena, bytes, error)))
        mlc_error_write(error, "Net.forward: no memory for a batch of %zu images of %zu x %zu", n,
                        h, w);
    if (status)
        mlc_plan_free(plan);
    else
        *out = plan;
    return status;
}

mlc_status mlc_plan_bytes(const mlc_net *net, size_t n, size_t h, size_t w, bool train,
                          size_t *bytes, mlc_error *error)
{
    mlc_plan *plan;
    mlc_status status = plan_layout(net, n, h, w, train, 0, &plan, error);
    if (status) return status;
    *bytes = plan->layout.total;
    mlc_plan_free(plan);
    return MLC_OK;
}

bool mlc_plan_fits(const mlc_plan *plan, const mlc_net *net, size_t n, size_t h, size_t w,
                   bool train, size_t also)
{
    return plan->n == n && plan->h == h && plan->w == w && plan->train == train &&
           plan->also == also && plan->bf16 == net->bf16 && plan->threads == mlc_threads_get();
}

void mlc_plan_free(mlc_plan *plan)
{
    if (!plan) return;
    mlc_arena_free(&plan->arena);
    mlc_layout_done(&plan->layout);
    free(plan->value);
    free(plan->grad);
    free(plan->needs);
    free(plan->fusion);
    free(plan->again);
    free(plan->back);
    free(plan->saved);
    free(plan->wanted);
    free(plan->seconds);
    free(plan);
}
