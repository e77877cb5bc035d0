/* What a plan does: forward and backward, layer after layer, in the blocks that it has for them. */
#include <string.h>
#include <time.h>

#include "net.h"
#include "plan.h"

/* --- tensors in the arena -------------------------------------------------------------------- */

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
    size_t count = mlc_copied_row(job->shape);
    mlc_kernel->narrow(job->floats + tensor_row_at(job->shape, row), job->copy + row * count,
                       count);
}

static void widen_row(void *context, size_t row)
{
    const copy_job *job = context;
    size_t count = mlc_copied_row(job->shape);
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
    run.rounds = mlc_rounds(plan, i);
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
        if (mlc_is_folded(plan, i)) continue;
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
        run->maker = &plan->back[mlc_only_reader(net, i + 1)];
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
    int now = mlc_backward_time(net, i);
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
