#include "net.h"

#include <stdio.h>
#include <stdlib.h>

/* --- making ---------------------------------------------------------------------------------- */

static const mlc_layer_class *find_class(const char *kind)
{
    static const mlc_layer_class *const classes[] = {
#define LAYER(kind) &mlc_layer_##kind,
#include "layers.def"
#undef LAYER
    };
    for (size_t i = 0; i < sizeof classes / sizeof *classes; i++)
        if (strcmp(classes[i]->kind, kind) == 0) return classes[i];
    return NULL;
}

static float *new_floats(size_t count)
{
    void *floats = NULL;
    if (count > SIZE_MAX / sizeof(float) / 2 ||
        posix_memalign(&floats, MLC_ALIGN, (count + MLC_LANES) * sizeof(float)))
        return NULL;
    return memset(floats, 0, (count + MLC_LANES) * sizeof(float));
}

static mlc_status no_memory(mlc_error *error, const char *name)
{
    return mlc_fail(error, MLC_MEMORY, "Net: no memory for `%s`", name);
}

static mlc_status cancelled(mlc_error *error)
{
    return mlc_fail(error, MLC_CANCELLED, "Net: interrupted");
}

static mlc_param *add_param(mlc_net *net, const mlc_layer *layer, const char *suffix)
{
    mlc_param *param = &net->params[net->param_count++];
    snprintf(param->name, sizeof param->name, "%.80s.%s", layer->name, suffix);
    param->trainable = param->decay = true;
    return param;
}

static mlc_buffer *add_buffer(mlc_net *net, const mlc_layer *layer, const char *suffix)
{
    mlc_buffer *buffer = &net->buffers[net->buffer_count++];
    snprintf(buffer->name, sizeof buffer->name, "%.80s.%s", layer->name, suffix);
    return buffer;
}

static mlc_status allocate_param(mlc_param *param, float fill, mlc_error *error)
{
    param->size = 1;
    for (int d = 0; d < param->ndim; d++)
        if (!mlc_mul(param->size, param->dims[d], &param->size))
            return no_memory(error, param->name);
    if (!(param->value = new_floats(param->size))) return no_memory(error, param->name);
    for (size_t i = 0; i < param->size; i++) param->value[i] = fill;
    return MLC_OK;
}

static mlc_status allocate_buffer(mlc_buffer *buffer, size_t size, float fill, mlc_error *error)
{
    buffer->size = size;
    if (!(buffer->value = new_floats(size)) || !(buffer->undo = new_floats(size)))
        return no_memory(error, buffer->name);
    for (size_t i = 0; i < size; i++) buffer->value[i] = fill;
    return MLC_OK;
}

#define LAYER(kind) ", " #kind
static const char known_kinds[] =
#include "layers.def"
    ;
#undef LAYER

static mlc_status check_spec(const mlc_layer_spec *spec, size_t index, mlc_error *error)
{
    const mlc_layer_class *class = find_class(spec->kind);
    if (!class)
        return mlc_fail(error, MLC_VALUE,
                        "Net: the kind of layer %zu must be one of %s, got '%.40s'", index,
                        known_kinds + 2, spec->kind);
    if (spec->input_count < class->min_inputs || spec->input_count > class->max_inputs)
        return mlc_fail(error, MLC_VALUE,
                        "Net: layer %zu (%s) must have %zu to %zu inputs, got %zu", index,
                        spec->kind, class->min_inputs, class->max_inputs, spec->input_count);
    for (size_t k = 0; k < spec->input_count; k++)
        if (spec->inputs[k] > index)
            return mlc_fail(error, MLC_VALUE,
                            "Net: layer %zu (%s) must read a tensor made before it, "
                            "0 to %zu, got %zu",
                            index, spec->kind, index, spec->inputs[k]);
    if (class->weight && (!*spec->name || strlen(spec->name) > 80))
        return mlc_fail(error, MLC_VALUE, "Net: layer %zu (%s) must have a name of 1 to 80 bytes",
                        index, spec->kind);
    return MLC_OK;
}

/* Convolutions read the image batch as it is, three channels a pixel; any other first layer needs
 * it padded like every tensor. */
static size_t input_stride(const mlc_layer_spec *specs, size_t count, size_t channels)
{
    for (size_t i = 0; i < count; i++) {
        const mlc_layer_class *class = find_class(specs[i].kind);
        for (size_t k = 0; class && !class->any_stride && k < specs[i].input_count; k++)
            if (specs[i].inputs[k] == 0) return mlc_padded(channels);
    }
    return channels;
}

static void set_input(const mlc_net *net, mlc_layer *layer)
{
    const mlc_layer *writer = layer->inputs[0] ? &net->layers[layer->inputs[0] - 1] : NULL;
    layer->in_channels = writer ? writer->out_channels : net->channels;
    layer->in_stride = writer ? mlc_padded(writer->out_channels) : net->input_stride;
}

static mlc_status add_layer(mlc_net *net, const mlc_layer_spec *spec, mlc_error *error)
{
    mlc_status status = check_spec(spec, net->layer_count, error);
    if (status) return status;
    mlc_layer *layer = &net->layers[net->layer_count];
    *layer = (mlc_layer){.class = find_class(spec->kind),
                         .index = net->layer_count++,
                         .input_count = spec->input_count,
                         .options = spec->options};
    snprintf(layer->name, sizeof layer->name, "%s", spec->name);
    memcpy(layer->inputs, spec->inputs, sizeof layer->inputs);
    set_input(net, layer);
    bool statistics = layer->class->statistics;
    if (layer->class->weight) {
        const char *weight = layer->class->weight_name;
        layer->weight = add_param(net, layer, weight ? weight : "weight");
        if (spec->options.bias || layer->class->shifts) layer->bias = add_param(net, layer, "bias");
        if (mlc_net_param(net, layer->weight->name) != layer->weight)
            return mlc_fail(error, MLC_VALUE,
                            "Net: the name of layer %zu must be its own, got '%s' "
                            "for two",
                            layer->index, layer->name);
    }
    if ((status = layer->class->declare(layer, error))) return status;
    if (layer->weight) status = allocate_param(layer->weight, layer->class->scales, error);
    if (!status && layer->bias) status = allocate_param(layer->bias, 0.0f, error);
    if (!status && statistics) {
        layer->mean = add_buffer(net, layer, "running_mean");
        layer->variance = add_buffer(net, layer, "running_var");
        status = allocate_buffer(layer->mean, layer->in_channels, 0.0f, error);
        if (!status) status = allocate_buffer(layer->variance, layer->in_channels, 1.0f, error);
    }
    return status;
}

mlc_status mlc_net_new(const mlc_layer_spec *specs, size_t count, size_t channels, bool exact,
                       mlc_net **out, mlc_error *error)
{
    if (count < 1 || count > 4096 || channels < 1 || channels > 4096)
        return mlc_fail(error, MLC_VALUE,
                        "Net: `spec` must have 1 to 4096 layers and `channels` 1 to "
                        "4096, got %zu and %zu",
                        count, channels);
    mlc_net *net = calloc(1, sizeof *net);
    if (!net) return no_memory(error, "net");
    mlc_lock_init(&net->lock);
    mlc_lock_init(&net->pool_lock);
    net->channels = channels;
    net->input_stride = input_stride(specs, count, channels);
    net->groups = 1;
    net->layers = calloc(count, sizeof *net->layers);
    net->params = calloc(2 * count, sizeof *net->params);
    net->buffers = calloc(2 * count, sizeof *net->buffers);
    net->seconds = calloc(2 * count, sizeof *net->seconds);
    mlc_status status = MLC_OK;
    if (!net->layers || !net->params || !net->buffers || !net->seconds)
        status = no_memory(error, "net");
    for (size_t i = 0; i < count && !status; i++) status = add_layer(net, &specs[i], error);
    if (status) {
        mlc_net_free(net);
        return status;
    }
    for (size_t i = 0; i < count; i++) net->layers[i].exact = exact;
    mlc_net_refresh(net);
    *out = net;
    return MLC_OK;
}

void mlc_net_free(mlc_net *net)
{
    while (net->plans) {
        mlc_plan *next = net->plans->next;
        mlc_plan_free(net->plans);
        net->plans = next;
    }
    for (size_t i = 0; i < net->layer_count; i++) {
        for (mlc_form form = 0; form < MLC_FORMS; form++) free(net->layers[i].packed[form]);
    }
    for (size_t i = 0; i < net->param_count; i++) {
        mlc_param *p = &net->params[i];
        free(p->value), free(p->grad), free(p->m), free(p->v);
    }
    for (size_t i = 0; i < net->buffer_count; i++)
        free(net->buffers[i].value), free(net->buffers[i].undo);
    free(net->layers);
    free(net->params);
    free(net->buffers);
    free(net->seconds);
    mlc_lock_done(&net->lock);
    mlc_lock_done(&net->pool_lock);
    free(net);
}

mlc_param *mlc_net_param(mlc_net *net, const char *name)
{
    for (size_t i = 0; i < net->param_count; i++)
        if (strcmp(net->params[i].name, name) == 0) return &net->params[i];
    return NULL;
}

mlc_buffer *mlc_net_buffer(mlc_net *net, const char *name)
{
    for (size_t i = 0; i < net->buffer_count; i++)
        if (strcmp(net->buffers[i].name, name) == 0) return &net->buffers[i];
    return NULL;
}

/* --- packed weights and training memory ------------------------------------------------------ */

/* Layer i as this plan runs it reads a packed form that is older than the weights. */
static bool needs_pack(const mlc_net *net, const mlc_plan *plan, size_t i, mlc_form form)
{
    const mlc_layer *layer = &net->layers[i];
    bool taps = plan->needs[i].predicts_taps && !plan->train, rounds = mlc_rounds(plan, i);
    bool bf16 = form == MLC_FORWARD_BF16 || form == MLC_BACK_BF16;
    bool back = form == MLC_BACK || form == MLC_BACK_BF16;
    if (form == MLC_TAPS ? !taps : taps || !plan->needs[i].packs || bf16 != rounds) return false;
    return layer->stale[form] && !(back && layer->inputs[0] == 0);
}

/* Pack what the plan reads, making room for it the first time; under the write lock. */
static mlc_status pack_for(mlc_net *net, const mlc_plan *plan, mlc_form form, mlc_error *error)
{
    for (size_t i = 0; i < net->layer_count; i++) {
        mlc_layer *layer = &net->layers[i];
        float **packed = &layer->packed[form];
        if (!needs_pack(net, plan, i, form)) continue;
        if (!*packed && !(*packed = new_floats(layer->class->packed_floats(layer, form))))
            return no_memory(error, layer->weight->name);
        if (!layer->class->pack(layer, form)) return cancelled(error);
        layer->stale[form] = false;
    }
    return MLC_OK;
}

static bool is_packed(const mlc_net *net, const mlc_plan *plan)
{
    for (size_t i = 0; i < net->layer_count; i++)
        if (needs_pack(net, plan, i, MLC_FORWARD) || needs_pack(net, plan, i, MLC_TAPS))
            return false;
    return true;
}

void mlc_net_refresh(mlc_net *net)
{
    for (size_t i = 0; i < net->layer_count; i++)
        for (mlc_form form = 0; form < MLC_FORMS; form++) net->layers[i].stale[form] = true;
}

mlc_status mlc_net_prepare_training(mlc_net *net, mlc_error *error)
{
    for (size_t i = 0; i < net->param_count; i++) {
        mlc_param *p = &net->params[i];
        if ((!p->grad && !(p->grad = new_floats(p->size))) ||
            (!p->m && !(p->m = new_floats(p->size))) || (!p->v && !(p->v = new_floats(p->size))))
            return no_memory(error, p->name);
    }
    return MLC_OK;
}

/* --- plans ----------------------------------------------------------------------------------- */

/* Free what is idle beyond the newest `keep`; whether there was any. */
static bool drop_idle(mlc_net *net, size_t keep)
{
    mlc_lock_write(&net->pool_lock);
    size_t idle = 0;
    for (mlc_plan **at = &net->plans; *at;) {
        mlc_plan *p = *at;
        if (p->busy || ++idle <= keep) {
            at = &p->next;
            continue;
        }
        *at = p->next;
        mlc_plan_free(p);
    }
    mlc_unlock(&net->pool_lock);
    return idle > keep;
}

/* Take a plan out of the idle ones, or make one; rather than fail, without the idle ones. */
static mlc_status take_plan(mlc_net *net, const mlc_pass *pass, mlc_plan **out, mlc_error *error)
{
    size_t n = pass->n, h = pass->h, w = pass->w, also = pass->also;
    bool train = pass->train;
    mlc_lock_write(&net->pool_lock);
    mlc_plan *plan = net->plans;
    while (plan && (plan->busy || !mlc_plan_fits(plan, net, n, h, w, train, also)))
        plan = plan->next;
    if (plan) plan->busy = true;
    mlc_unlock(&net->pool_lock);
    *out = plan;
    if (plan) return MLC_OK;
    mlc_status status = mlc_plan_new(net, n, h, w, train, also, &plan, error);
    if (status == MLC_MEMORY && drop_idle(net, 0))
        status = mlc_plan_new(net, n, h, w, train, also, &plan, error);
    if (status) return status;
    plan->busy = true;
    mlc_lock_write(&net->pool_lock);
    plan->next = net->plans;
    net->plans = plan;
    mlc_unlock(&net->pool_lock);
    *out = plan;
    return MLC_OK;
}

static void give_plan(mlc_net *net, mlc_plan *plan)
{
    if (!plan) return;
    mlc_lock_write(&net->pool_lock);
    plan->busy = false;
    mlc_unlock(&net->pool_lock);
    drop_idle(net, MLC_IDLE_PLANS);
}

void mlc_net_set_bf16(mlc_net *net, bool bf16)
{
    mlc_lock_write(&net->lock);
    net->bf16 = bf16;
    drop_idle(net, 0);
    mlc_unlock(&net->lock);
}

mlc_status mlc_net_memory(mlc_net *net, size_t n, size_t h, size_t w, bool train, size_t *bytes,
                          mlc_error *error)
{
    mlc_lock_read(&net->lock);
    mlc_status status = mlc_plan_bytes(net, n, h, w, train, bytes, error);
    mlc_unlock(&net->lock);
    return status;
}

/* --- running --------------------------------------------------------------------------------- */

mlc_status mlc_net_output(mlc_net *net, size_t n, size_t h, size_t w, bool train, size_t t,
                          size_t shape[3], mlc_error *error)
{
    mlc_slot *slots = calloc(net->layer_count + 1, sizeof *slots);
    if (!slots) return no_memory(error, "shapes");
    mlc_status status = mlc_plan_shapes(net, n, h, w, train, slots, error);
    const mlc_tensor *out = &slots[t].shape;
    if (!status) shape[0] = out->h, shape[1] = out->w, shape[2] = out->c;
    free(slots);
    return status;
}

static mlc_status predict(mlc_net *net, mlc_plan *plan, const mlc_pass *pass, mlc_error *error)
{
    if (!mlc_plan_put(plan, &plan->value[0], pass->x) || !mlc_plan_forward(net, plan))
        return cancelled(error);
    mlc_plan_take(plan, &plan->value[net->layer_count], pass->out);
    if (pass->also) mlc_plan_take(plan, &plan->value[pass->also], pass->also_out);
    return MLC_OK;
}

static void copy_statistics(mlc_net *net, bool back)
{
    for (size_t i = 0; i < net->buffer_count; i++) {
        mlc_buffer *b = &net->buffers[i];
        memcpy(back ? b->value : b->undo, back ? b->undo : b->value, b->size * sizeof *b->value);
    }
}

static void keep_times(mlc_net *net, const mlc_plan *plan)
{
    memcpy(net->seconds, plan->seconds, 2 * net->layer_count * sizeof *net->seconds);
}

static mlc_status train_forward(mlc_net *net, const mlc_pass *pass, mlc_error *error)
{
    mlc_plan *plan;
    give_plan(net, net->training);
    net->training = NULL;
    mlc_status status = mlc_net_prepare_training(net, error);
    if (!status) status = take_plan(net, pass, &plan, error);
    if (status) return status;
    plan->key = pass->key;
    plan->peers = pass->peers;
    status = pack_for(net, plan, MLC_FORWARD, error);
    if (!status) status = pack_for(net, plan, MLC_FORWARD_BF16, error);
    if (!status) status = predict(net, plan, pass, error);
    plan->peers = NULL;
    if (status) {
        give_plan(net, plan);
        return status;
    }
    if (!net->can_undo) copy_statistics(net, false); /* else: a step over several batches */
    mlc_plan_commit(net, plan);
    net->can_undo = true;
    keep_times(net, plan);
    net->training = plan;
    return MLC_OK;
}

/* Predictions read; the first one after a change of weights packs them as the writer that it is. */
static mlc_status pack_before_reading(mlc_net *net, const mlc_plan *plan, mlc_error *error)
{
    mlc_status status = MLC_OK;
    while (!status && !is_packed(net, plan)) {
        mlc_unlock(&net->lock);
        mlc_lock_write(&net->lock);
        status = pack_for(net, plan, MLC_FORWARD, error);
        if (!status) status = pack_for(net, plan, MLC_TAPS, error);
        mlc_unlock(&net->lock);
        mlc_lock_read(&net->lock);
    }
    return status;
}

mlc_status mlc_net_whole(const mlc_net *net, mlc_error *error)
{
    if (!mlc_lock_torn(&net->lock)) return MLC_OK;
    return mlc_fail(error, MLC_STATE,
                    "Net: was being written by another thread when this process was forked; make "
                    "or load the model in the child");
}

mlc_status mlc_net_forward(mlc_net *net, const mlc_pass *pass, mlc_error *error)
{
    mlc_status status;
    if (pass->train) {
        if (!mlc_lock_write_polled(&net->lock)) return cancelled(error);
        status = mlc_net_whole(net, error);
        if (!status) status = train_forward(net, pass, error);
    } else {
        mlc_plan *plan = NULL;
        if (!mlc_lock_read_polled(&net->lock)) return cancelled(error);
        status = mlc_net_whole(net, error);
        if (!status) status = take_plan(net, pass, &plan, error);
        if (!status) status = pack_before_reading(net, plan, error);
        if (!status) status = predict(net, plan, pass, error);
        give_plan(net, plan);
    }
    mlc_unlock(&net->lock);
    return status;
}

static void rollback(mlc_net *net)
{
    if (net->can_undo) copy_statistics(net, true);
    net->can_undo = net->can_step = false;
    give_plan(net, net->training);
    net->training = NULL;
}

void mlc_net_rollback(mlc_net *net)
{
    mlc_lock_write(&net->lock);
    rollback(net);
    mlc_unlock(&net->lock);
}

static mlc_status gradient_shape(const mlc_net *net, size_t shape[4], mlc_error *error)
{
    mlc_status status = mlc_net_whole(net, error);
    if (status) return status;
    if (!net->training)
        return mlc_fail(error, MLC_STATE,
                        "Net.backward: must follow a forward(..., train=True), got "
                        "none since the last backward");
    const mlc_tensor *t = &net->training->value[net->layer_count].shape;
    shape[0] = t->n, shape[1] = t->h, shape[2] = t->w, shape[3] = t->c;
    return MLC_OK;
}

mlc_status mlc_net_gradient_shape(mlc_net *net, size_t shape[4], mlc_error *error)
{
    mlc_lock_read(&net->lock);
    mlc_status status = gradient_shape(net, shape, error);
    mlc_unlock(&net->lock);
    return status;
}

/* A plan is used up by backward: values that share memory with gradients are gone. */
mlc_status mlc_net_backward(mlc_net *net, const float *gradient, const size_t shape[4],
                            bool accumulate, const mlc_peers *peers, mlc_error *error)
{
    size_t now[4];
    if (!mlc_lock_write_polled(&net->lock)) return cancelled(error);
    mlc_status status = gradient_shape(net, now, error);
    if (!status && memcmp(now, shape, sizeof now) != 0)
        status = mlc_fail(error, MLC_STATE,
                          "Net.backward: must follow its own forward, got another "
                          "thread's in between");
    if (!status) {
        const mlc_slot *out = &net->training->grad[net->layer_count];
        net->training->peers = peers;
        status = pack_for(net, net->training, MLC_BACK, error);
        if (!status) status = pack_for(net, net->training, MLC_BACK_BF16, error);
        if (!status && mlc_plan_put(net->training, out, gradient) &&
            mlc_plan_backward(net, net->training, accumulate)) {
            net->can_step = true;
            net->training->peers = NULL;
            keep_times(net, net->training);
            give_plan(net, net->training);
            net->training = NULL;
        } else {
            net->training->peers = NULL;
            rollback(net);
            if (!status) status = cancelled(error);
        }
    }
    mlc_unlock(&net->lock);
    return status;
}
