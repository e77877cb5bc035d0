/* libFuzzer's way to nn/net.h: a net of any layers that the list has, and a few calls of it, as the
 * bindings let them pass. The first of each choice is a good one. */
#include "fuzz.h"

#include "../../csrc/nn/net.h"

enum { LAYERS = 8, CALLS = 8, MOST = 1 << 20 /* that the bindings take as a size */ };

static mlc_error error;

static const char *const kinds[] = {
#define LAYER(kind) #kind,
#include "../../csrc/nn/layers.def"
#undef LAYER
};

static mlc_options options_of(input *in)
{
    static const uint32_t outs[] = {16, 1, 4, 8, 20, 33, 48, 0, 64};
    static const uint32_t kernels[] = {3, 1, 2, 5, 7, 15, 0, 16, MOST};
    static const uint32_t strides[] = {1, 2, 3, 4, 0, MOST}, paddings[] = {1, 0, 2, 3, 7, MOST};
    static const double parts[] = {0.5, 0, 1, -1, 2, NAN, INFINITY, 1e-5, 0.1};
    mlc_options options = {.out = ONE_OF(in, outs), .kernel = ONE_OF(in, kernels)};
    unsigned flags = byte_of(in);
    options.stride = ONE_OF(in, strides), options.padding = ONE_OF(in, paddings);
    options.p = ONE_OF(in, parts);
    options.eps = flags & 4 ? ONE_OF(in, parts) : 1e-5;
    options.momentum = flags & 8 ? ONE_OF(in, parts) : 0.1;
    options.act = flags & 1 ? MLC_RELU : (mlc_activation)((flags >> 4) % MLC_ACTIVATIONS);
    options.bias = flags & 2;
    return options;
}

/* Layer i: mostly of the tensor before it, and of its own name. */
static mlc_layer_spec spec_of(input *in, size_t i, char name[2 * MLC_NAME])
{
    mlc_layer_spec spec = {.kind = ONE_OF(in, kinds), .name = name, .input_count = 1};
    unsigned how = byte_of(in);
    snprintf(name, 2 * MLC_NAME, "%s%zu", spec.kind, i);
    spec.inputs[0] = i;
    if (how & 1) spec.input_count = 2, spec.inputs[1] = below(in, i + 2);
    if ((how & 14) == 14) spec.inputs[0] = below(in, i + 2);
    if ((how & 112) == 112) {
        size_t length = below(in, 2 * MLC_NAME);
        memset(name, 'x', length);
        name[length] = '\0';
    }
    if (how == 128) spec.kind = "none", spec.input_count = below(in, MLC_MAX_INPUTS + 1);
    if (how == 130) spec.inputs[0] = MOST;
    spec.options = options_of(in);
    return spec;
}

static mlc_net *new_net(input *in, uint64_t *sum)
{
    static const uint16_t channels[] = {3, 1, 2, 16, 17, 32, 0, 64};
    static char names[LAYERS][2 * MLC_NAME];
    mlc_layer_spec specs[LAYERS];
    size_t count = below(in, LAYERS + 1), of_photos = ONE_OF(in, channels);
    bool exact = byte_of(in) & 1;
    for (size_t i = 0; i < count; i++) specs[i] = spec_of(in, i, names[i]);
    mlc_net *net = NULL;
    mlc_status status = mlc_net_new(specs, count, of_photos, exact, &net, &error);
    *sum = digest(*sum, &status, sizeof status);
    return status ? NULL : net;
}

/* --- calls ----------------------------------------------------------------------------------- */

typedef uint64_t call(mlc_net *net, input *in, uint64_t sum);

static uint64_t forward(mlc_net *net, input *in, uint64_t sum)
{
    static const uint8_t sides[] = {8, 1, 2, 5, 7, 14, 16, 19};
    mlc_pass pass = {.n = 1 + below(in, 3), .h = ONE_OF(in, sides), .w = ONE_OF(in, sides)};
    size_t shape[3], also[3] = {0};
    pass.train = byte_of(in) & 1;
    if (!pass.train) pass.also = below(in, net->layer_count + 1);
    pass.key = (mlc_key){number_of(in, 1), 0, 0, 0};
    mlc_status status =
        mlc_net_output(net, pass.n, pass.h, pass.w, pass.train, net->layer_count, shape, &error);
    if (!status && pass.also)
        status = mlc_net_output(net, pass.n, pass.h, pass.w, false, pass.also, also, &error);
    if (status) return digest(sum, &status, sizeof status);
    size_t bytes = pass.n * shape[0] * shape[1] * shape[2] * sizeof *pass.out;
    size_t more = pass.n * also[0] * also[1] * also[2] * sizeof *pass.out;
    float *x = floats_of(in, pass.n * pass.h * pass.w * net->channels);
    pass.x = x, pass.out = room(bytes, 1), pass.also_out = room(more, 1);
    status = mlc_net_forward(net, &pass, &error);
    sum = digest(sum, &status, sizeof status);
    if (!status) sum = digest(digest(sum, pass.out, bytes), pass.also_out, more);
    free(x), free(pass.out), free(pass.also_out);
    return sum;
}

static uint64_t backward(mlc_net *net, input *in, uint64_t sum)
{
    size_t shape[4];
    mlc_status status = mlc_net_gradient_shape(net, shape, &error);
    if (!status) {
        float *g = floats_of(in, shape[0] * shape[1] * shape[2] * shape[3]);
        status = mlc_net_backward(net, g, shape, byte_of(in) & 1, NULL, &error);
        free(g);
    }
    return digest(sum, &status, sizeof status);
}

static uint64_t step(mlc_net *net, input *in, uint64_t sum)
{
    double values[5][MLC_MAX_GROUPS];
    mlc_rule rule = (mlc_rule)below(in, MLC_LION + 1);
    numbers n = numbers_of(in);
    for (size_t i = 0; i < 5; i++)
        for (size_t g = 0; g < net->groups; g++) values[i][g] = n.how & 4 ? next_number(&n) : 0.1;
    mlc_hypers hypers = {values[0], values[1], values[2], values[3], values[4]};
    mlc_status status = mlc_net_step(net, rule, &hypers, "fuzz", &error);
    return digest(sum, &status, sizeof status);
}

static uint64_t rollback(mlc_net *net, input *in, uint64_t sum)
{
    (void)in;
    mlc_net_rollback(net);
    return sum;
}

static uint64_t clear(mlc_net *net, input *in, uint64_t sum)
{
    (void)in;
    mlc_net_clear_state(net);
    return sum;
}

/* As Net.load_state_dict. */
static uint64_t load(mlc_net *net, input *in, uint64_t sum)
{
    numbers n = numbers_of(in);
    mlc_lock_write(&net->lock);
    for (size_t i = 0; i < net->param_count; i++)
        for (size_t k = 0; k < net->params[i].size; k++)
            net->params[i].value[k] = (float)next_number(&n);
    for (size_t i = 0; i < net->buffer_count; i++)
        for (size_t k = 0; k < net->buffers[i].size; k++)
            net->buffers[i].value[k] = net->buffers[i].undo[k] = (float)next_number(&n);
    mlc_net_refresh(net);
    mlc_unlock(&net->lock);
    return sum;
}

/* As Net.set_trainable, set_decay and set_groups. */
static uint64_t mark(mlc_net *net, input *in, uint64_t sum)
{
    mlc_lock_write(&net->lock);
    net->groups = 1 + below(in, MLC_MAX_GROUPS);
    for (size_t i = 0; i < net->param_count; i++) {
        unsigned how = byte_of(in);
        net->params[i].trainable = !(how & 1), net->params[i].decay = !(how & 2);
        net->params[i].group = (int)((how >> 2) % net->groups);
    }
    mlc_unlock(&net->lock);
    return sum;
}

/* As Net.set_bf16. */
static uint64_t keep(mlc_net *net, input *in, uint64_t sum)
{
    mlc_net_set_bf16(net, byte_of(in) & 1);
    return sum;
}

/* As Net.load_optimizer_state: moments of one parameter. */
static uint64_t remember(mlc_net *net, input *in, uint64_t sum)
{
    if (!net->param_count) return sum;
    mlc_lock_write(&net->lock);
    mlc_param *param = &net->params[below(in, net->param_count)];
    float *m = floats_of(in, param->size), *v = floats_of(in, param->size);
    mlc_kept kept = {param, (unsigned)number_of(in, 4) >> 1, m, v};
    mlc_status status = mlc_net_prepare_training(net, &error);
    if (!status) mlc_net_write_state(net, &kept, 1);
    mlc_unlock(&net->lock);
    free(m), free(v);
    return digest(sum, &status, sizeof status);
}

/* As Net.shapes, for sizes that nobody has memory for. */
static uint64_t shapes(mlc_net *net, input *in, uint64_t sum)
{
    size_t size[3], out[3];
    for (int i = 0; i < 3; i++) size[i] = number_of(in, 3) % (MOST + 1);
    for (size_t t = 1; t <= net->layer_count; t++) {
        mlc_status status = mlc_net_output(net, size[0], size[1], size[2], false, t, out, &error);
        sum = digest(sum, &status, sizeof status);
        if (!status) sum = digest(sum, out, sizeof out);
    }
    return sum;
}

static uint64_t run(input in)
{
    static call *const calls[] = {forward, backward, step,     load,   mark,
                                  clear,   rollback, remember, shapes, keep};
    uint64_t sum = 0;
    mlc_net *net = new_net(&in, &sum);
    if (!net) return sum;
    for (size_t i = 0; i < CALLS && in.left; i++) sum = ONE_OF(&in, calls)(net, &in, sum);
    for (size_t i = 0; i < net->param_count; i++)
        sum = digest(sum, net->params[i].value, net->params[i].size * sizeof(float));
    for (size_t i = 0; i < net->buffer_count; i++)
        sum = digest(sum, net->buffers[i].value, net->buffers[i].size * sizeof(float));
    mlc_net_free(net);
    return sum;
}
