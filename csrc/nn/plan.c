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
#include <time.h>

#include "../base/memory.h"
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

static size_t reader_count(const mlc_net *net, size_t t)
{
    size_t count = t == net->layer_count;
    for (size_t i = t; i < net->layer_count; i++)
        for (size_t k = 0; k < net->layers[i].input_count; k++)
            count += net->layers[i].inputs[k] == t;
    return count;
}

/* The layer that reads tensor t, of which there is one. */
static size_t only_reader(const mlc_net *net, size_t t)
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
    size_t i = only_reader(net, t);
    return plan->needs[i].in_place && net->layers[i].inputs[0] == t;
}

/* The last time that something asks for what layer i's backward is done with. */
static int backward_end(const mlc_net *net, const mlc_plan *plan, size_t i)
{
    while (plan->by_rows[net->layers[i].inputs[0]]) i = net->layers[i].inputs[0] - 1;
    return backward_time(net, i);
}

/* Whether layer i runs in the place of its batch norm. */
static bool is_folded(const mlc_plan *plan, size_t i)
{
    return !plan->train && plan->fusion[i].norm != MLC_NONE;
}

static int forward_time(const mlc_plan *plan, size_t i)
{
    return is_folded(plan, i) ? plan->fusion[i].norm : (int)i;
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
    return backward_time(net, plan->fusion[i].through ? only_reader(net, i + 1) : i);
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
        spread(&uses.held, backward_time(net, t - 1), backward_end(net, plan, t - 1));
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
    int start = backward_time(net, t - 1);
    if (t == net->layer_count) return (int)net->layer_count - 1;
    for (size_t i = t; i < net->layer_count; i++)
        for (size_t k = 0; k < net->layers[i].input_count; k++) {
            if (net->layers[i].inputs[k] != t) continue;
            int time =
                plan->fusion[i].through ? grad_start(net, plan, i + 1) : backward_time(net, i);
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

static size_t copied_row(const mlc_tensor *t) { return t->w * t->stride; }

static mlc_status add_copy(const mlc_net *net, mlc_plan *plan, size_t t, mlc_error *error)
{
    const mlc_tensor *shape = &plan->value[t].shape;
    int first = t ? (int)t - 1 : 0, last = late_uses(net, plan, t, false).used.last;
    size_t bytes = tensor_rows(shape) * copied_row(shape) * sizeof(uint16_t); /* less than floats */
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
    return mlc_layout_add(&plan->layout, bytes, backward_time(net, i), backward_end(net, plan, i),
                          &plan->rows[i], error);
}

static mlc_status plan_layer(const mlc_net *net, mlc_plan *plan, size_t i, mlc_error *error)
{
    const mlc_needs *needs = &plan->needs[i];
    int forward = forward_time(plan, i), backward = backward_time(net, i);
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
        if (!t || !(is_folded(plan, t - 1) || plan->fusion[t - 1].read_through))
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
            plan->grad[t].block = plan->grad[only_reader(net, t) + 1].block;
    for (size_t i = 0; i < net->layer_count && !status; i++)
        status = plan_layer(net, plan, i, error);
    for (size_t i = 0; i < net->layer_count; i++) {
        if (is_folded(plan, i)) plan->value[i + 1] = plan->value[plan->fusion[i].norm + 1];
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

/* --- running --------------------------------------------------------------------------------- */

static void *block_at(const mlc_plan *plan, size_t block)
{
    return plan->arena.base + plan->layout.blocks[block].offset;
}

static void clear_halo(const mlc_plan *plan, const mlc_slot *slot)
{
    tensor_clear_halo(&slot->shape, block_at(plan, slot->block));
}

typedef struct {
    const mlc_tensor *shape;
    const float *from;
    float *to;
} put_job;

static void put_row(void *context, size_t row)
{
    const put_job *job = context;
    const mlc_tensor *t = job->shape;
    const float *from = job->from + row * t->w * t->c;
    float *pixel = job->to + tensor_row_at(t, row);
    if (t->stride == t->c) {
        memcpy(pixel, from, t->w * t->c * sizeof *from);
        return;
    }
    for (size_t x = 0; x < t->w; x++, pixel += t->stride, from += t->c) {
        memcpy(pixel, from, t->c * sizeof *from);
        memset(pixel + t->c, 0, (t->stride - t->c) * sizeof *from);
    }
}

bool mlc_plan_put(const mlc_plan *plan, const mlc_slot *slot, const float *from)
{
    put_job job = {&slot->shape, from, block_at(plan, slot->block)};
    tensor_clear_halo(job.shape, job.to);
    return mlc_parallel_for(tensor_rows(job.shape), put_row, &job);
}

void mlc_plan_take(const mlc_plan *plan, const mlc_slot *slot, float *to)
{
    const mlc_tensor *t = &slot->shape;
    const float *from = block_at(plan, slot->block);
    for (size_t r = 0; r < tensor_rows(t); r++)
        for (size_t x = 0; x < t->w; x++, to += t->c)
            memcpy(to, from + tensor_row_at(t, r) + x * t->stride, t->c * sizeof *to);
}

/* --- copies in bf16 -------------------------------------------------------------------------- */

typedef struct {
    const mlc_tensor *shape;
    float *floats;
    uint16_t *copy;
} copy_job;

static void narrow_row(void *context, size_t row)
{
    const copy_job *job = context;
    size_t count = copied_row(job->shape);
    mlc_kernel->narrow(job->floats + tensor_row_at(job->shape, row), job->copy + row * count,
                       count);
}

static void widen_row(void *context, size_t row)
{
    const copy_job *job = context;
    size_t count = copied_row(job->shape);
    mlc_kernel->widen(job->copy + row * count, job->floats + tensor_row_at(job->shape, row), count);
}

static bool keep_copy(const mlc_plan *plan, size_t t)
{
    if (!plan->again[t].copied) return true;
    const mlc_slot *value = &plan->value[t];
    copy_job job = {&value->shape, block_at(plan, value->block),
                    block_at(plan, plan->again[t].copy)};
    return mlc_parallel_for(tensor_rows(job.shape), narrow_row, &job);
}

static bool read_copy(const mlc_plan *plan, size_t t, float *y)
{
    copy_job job = {&plan->value[t].shape, y, block_at(plan, plan->again[t].copy)};
    return mlc_parallel_for(tensor_rows(job.shape), widen_row, &job);
}

/* --- layers ---------------------------------------------------------------------------------- */

static mlc_run run_of(const mlc_net *net, const mlc_plan *plan, size_t i)
{
    mlc_layer *layer = &net->layers[i];
    mlc_run run = {
        .layer = layer, .out = &plan->value[i + 1].shape, .train = plan->train, .key = plan->key};
    run.peers = plan->peers;
    run.y = block_at(plan, plan->value[i + 1].block);
    for (size_t k = 0; k < layer->input_count; k++) {
        run.in[k] = &plan->value[layer->inputs[k]].shape;
        run.x[k] = block_at(plan, plan->value[layer->inputs[k]].block);
        const mlc_again *again = &plan->again[layer->inputs[k]];
        if (again->copied && layer->class->reads_copy) run.copy[k] = block_at(plan, again->copy);
    }
    run.saved = block_at(plan, plan->saved[i]);
    run.scratch = block_at(plan, plan->scratch[i]);
    run.workers = plan->needs[i].workers;
    if (plan->train && plan->fusion[i].source != MLC_NONE) {
        double *mean = block_at(plan, plan->fusion[plan->fusion[i].source].moments);
        run.mean = mean, run.variance = mean + layer->in_channels;
    }
    return run;
}

/* What layer i's forward does: its own, and of the layers that it works for. */
static mlc_run forward_run(const mlc_net *net, const mlc_plan *plan, size_t i,
                           mlc_epilogue *prologue, mlc_epilogue *epilogue)
{
    mlc_run run = run_of(net, plan, i);
    size_t t = run.layer->inputs[0];
    if (plan->fusion[i].read_through) run.y = NULL;
    if (t && plan->fusion[t - 1].read_through) {
        mlc_run before = run_of(net, plan, t - 1);
        before.layer->class->fold(&before, prologue);
        run.prologue = prologue;
    }
    const mlc_fusion *fusion = &plan->fusion[i];
    if (!plan->train && fusion->source != MLC_NONE) {
        run.layer->class->fold(&run, epilogue);
        run = run_of(net, plan, (size_t)fusion->source);
        run.epilogue = epilogue;
    } else if (plan->train && fusion->norm != MLC_NONE) {
        double *mean = block_at(plan, fusion->moments);
        *epilogue = (mlc_epilogue){.mean = mean, .variance = mean + run.layer->out_channels};
        run.epilogue = epilogue;
    }
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
    if (!keep_copy(plan, 0)) return false;
    for (size_t i = 0; i < net->layer_count; i++) {
        mlc_epilogue prologue, epilogue;
        if (is_folded(plan, i)) continue;
        mlc_run run = forward_run(net, plan, i, &prologue, &epilogue);
        if (run.y) clear_halo(plan, &plan->value[i + 1]);
        if (!timed(run.layer->class->forward, &run, &plan->seconds[i])) return false;
        if (!keep_copy(plan, i + 1)) return false;
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
static void add_gradients(const mlc_net *net, mlc_plan *plan, mlc_run *run, size_t i)
{
    run->dout = &plan->grad[i + 1].shape;
    if (plan->by_rows[i + 1]) {
        run->maker = &plan->back[only_reader(net, i + 1)];
        run->rows = block_at(plan, plan->rows[i]);
    } else {
        run->dy = block_at(plan, plan->grad[i + 1].block);
    }
    run->scratch = block_at(plan, plan->scratch_back[i]);
    for (size_t k = run->layer->input_count; k-- > 0;) {
        size_t t = run->layer->inputs[k];
        if (!plan->wanted[t]) continue;
        run->din[k] = &plan->grad[t].shape;
        bool first = !plan->written[t];
        plan->written[t] = true;
        if (plan->by_rows[t]) continue;
        run->dx[k] = block_at(plan, plan->grad[t].block);
        run->accumulate[k] = !first;
        if (first) clear_halo(plan, &plan->grad[t]);
    }
}

static float *late_value(const mlc_net *net, mlc_plan *plan, size_t t, int now);

/* Whether the value of tensor t is in a block of its own now, or will be when it is asked for. */
static bool is_held(const mlc_plan *plan, size_t t, int now)
{
    const mlc_again *again = &plan->again[t];
    if (!again->rewritten && !again->copied) return true;
    return again->held.any && again->held.first <= now && now <= again->held.last;
}

/* Input k of a layer for its backward or rewrite: a copy that the layer can take, or the value. */
static bool find_input(const mlc_net *net, mlc_plan *plan, mlc_run *run, size_t k, int now)
{
    run->x[k] = run->copy[k] ? NULL : late_value(net, plan, run->layer->inputs[k], now);
    return run->x[k] || run->copy[k];
}

/* Write tensor t once more, with that shape's border; first an input that is carried, at the same
 * place. */
static bool write_again(const mlc_net *net, mlc_plan *plan, size_t t, const mlc_tensor *shape,
                        float *y, int now)
{
    mlc_run writer = run_of(net, plan, t - 1);
    for (size_t k = writer.layer->input_count; k-- > 0;) {
        size_t input = writer.layer->inputs[k];
        if (writer.copy[k] || is_held(plan, input, now)) {
            if (!find_input(net, plan, &writer, k, now)) return false;
        } else {
            if (!write_again(net, plan, input, shape, y, now)) return false;
            writer.in[k] = shape, writer.x[k] = y;
        }
    }
    writer.out = shape, writer.y = y;
    return writer.layer->class->rewrite(&writer);
}

/* Where the value of tensor t is, which is written again by the first who asks; NULL if stopped
 * half way. */
static float *late_value(const mlc_net *net, mlc_plan *plan, size_t t, int now)
{
    mlc_again *again = &plan->again[t];
    const mlc_tensor *shape = &plan->value[t].shape;
    if (!again->held.any) return block_at(plan, plan->value[t].block);
    float *y = block_at(plan, again->block);
    if (again->written) return y;
    again->written = true;
    tensor_clear_halo(shape, y);
    bool done = again->copied ? read_copy(plan, t, y) : write_again(net, plan, t, shape, y, now);
    return done ? y : NULL;
}

/* The values that layer i's backward reads. */
static bool find_values(const mlc_net *net, mlc_plan *plan, mlc_run *run, size_t i)
{
    const mlc_needs *needs = &plan->needs[i];
    size_t t = run->layer->inputs[0];
    int now = backward_time(net, i);
    if (t && plan->fusion[t - 1].through) {
        mlc_run before = run_of(net, plan, t - 1);
        mlc_epilogue does;
        before.layer->class->fold(&before, &does);
        run->act = does.act;
        if (!(run->before = late_value(net, plan, before.layer->inputs[0], now))) return false;
    }
    if (needs->keeps_input && !find_input(net, plan, run, 0, now)) return false;
    if (needs->keeps_second && !find_input(net, plan, run, 1, now)) return false;
    return !needs->keeps_output || (run->y = late_value(net, plan, i + 1, now));
}

/* Tell the peers that layer i's gradients are complete. */
static bool tell_ready(const mlc_plan *plan, const mlc_layer *layer)
{
    const mlc_peers *peers = plan->peers;
    if (!peers || !peers->ready) return true;
    if (!is_trainable(layer->weight) && !is_trainable(layer->bias)) return true;
    return peers->ready(peers->context, layer->name);
}

bool mlc_plan_backward(const mlc_net *net, mlc_plan *plan, bool accumulate)
{
    find_wanted(net, plan);
    plan->written[net->layer_count] = true;
    for (size_t t = 0; t <= net->layer_count; t++) plan->again[t].written = false;
    for (size_t i = net->layer_count; i-- > 0;) {
        if (!plan->wanted[i + 1] || !plan->written[i + 1]) continue;
        if (plan->fusion[i].through) { /* its reader has written the gradient of what it reads */
            plan->written[net->layers[i].inputs[0]] = true;
            continue;
        }
        mlc_run *run = &plan->back[i];
        *run = run_of(net, plan, i);
        if (!find_values(net, plan, run, i)) return false;
        add_gradients(net, plan, run, i);
        run->accumulate_params = accumulate;
        double *seconds = &plan->seconds[net->layer_count + i];
        if (!timed(run->layer->class->backward, run, seconds)) return false;
        if (!tell_ready(plan, run->layer)) return false;
    }
    return true;
}
