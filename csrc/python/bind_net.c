/* The type Net: a network that owns its parameters. Views of them keep it alive. */
#include <stdlib.h>
#include <string.h>

#include "../nn/net.h"
#include "bindings.h"

typedef struct {
    PyObject_HEAD mlc_net *net;
} NetObject;

static mlc_net *net_of(PyObject *self) { return ((NetObject *)self)->net; }

/* Wait for the net without the GIL: whoever holds the net may need the GIL to look for Ctrl-C. */
static void lock_net(mlc_net *net)
{
    Py_BEGIN_ALLOW_THREADS
        mlc_lock_write(&net->lock);
    Py_END_ALLOW_THREADS
}

/* --- the specification ----------------------------------------------------------------------- */

typedef struct {
    const char *name;
    size_t offset;
    enum { SIZE, NUMBER, FLAG, RELU, ACTIVATION } type;
} option_field;

static const option_field option_fields[] = {
    {"out", offsetof(mlc_options, out), SIZE},
    {"kernel", offsetof(mlc_options, kernel), SIZE},
    {"stride", offsetof(mlc_options, stride), SIZE},
    {"padding", offsetof(mlc_options, padding), SIZE},
    {"p", offsetof(mlc_options, p), NUMBER},
    {"eps", offsetof(mlc_options, eps), NUMBER},
    {"momentum", offsetof(mlc_options, momentum), NUMBER},
    {"relu", offsetof(mlc_options, act), RELU},
    {"act", offsetof(mlc_options, act), ACTIVATION},
    {"bias", offsetof(mlc_options, bias), FLAG},
};

static const char *const activations[MLC_ACTIVATIONS] = {
    [MLC_RELU] = "relu",           [MLC_SIGMOID] = "sigmoid",
    [MLC_SILU] = "silu",           [MLC_HARDSIGMOID] = "hardsigmoid",
    [MLC_HARDSWISH] = "hardswish", [MLC_GELU] = "gelu",
};

static int parse_activation(PyObject *value, mlc_activation *act)
{
    for (mlc_activation a = MLC_RELU; a < MLC_ACTIVATIONS; a++)
        if (PyUnicode_Check(value) &&
            PyUnicode_CompareWithASCIIString(value, activations[a]) == 0) {
            *act = a;
            return 0;
        }
    PyErr_Format(
        PyExc_ValueError,
        "Net: `act` must be one of relu, sigmoid, silu, hardsigmoid, hardswish, gelu, got %R",
        value);
    return -1;
}

static int parse_option(PyObject *key, PyObject *value, mlc_options *options)
{
    for (size_t i = 0; i < sizeof option_fields / sizeof *option_fields; i++) {
        const option_field *f = &option_fields[i];
        char *at = (char *)options + f->offset;
        if (!PyUnicode_Check(key) || PyUnicode_CompareWithASCIIString(key, f->name)) continue;
        if (f->type == NUMBER) return double_get("Net", f->name, value, (double *)at);
        if (f->type == ACTIVATION) return parse_activation(value, (mlc_activation *)at);
        if (f->type == FLAG || f->type == RELU) {
            int truth = PyObject_IsTrue(value);
            if (f->type == FLAG) *(bool *)at = truth > 0;
            if (f->type == RELU && truth > 0) *(mlc_activation *)at = MLC_RELU;
            return truth < 0 ? -1 : 0;
        }
        uint64_t size;
        if (uint_get("Net", f->name, value, 1 << 20, &size) < 0) return -1;
        *(size_t *)at = (size_t)size;
        return 0;
    }
    PyErr_Format(PyExc_ValueError,
                 "Net: an option must be one of out, kernel, stride, padding, p, "
                 "eps, momentum, relu, act, bias, got %R",
                 key);
    return -1;
}

/* (kind, name, inputs, options); the strings are borrowed from the tuple. */
static int parse_layer(PyObject *item, mlc_layer_spec *spec)
{
    PyObject *inputs, *options, *key, *value;
    Py_ssize_t position = 0;
    if (!PyTuple_Check(item)) {
        PyErr_Format(PyExc_TypeError,
                     "Net: an item of `spec` must be a tuple (kind, name, inputs, "
                     "options), got %R",
                     item);
        return -1;
    }
    if (!PyArg_ParseTuple(item, "ssO!O!:Net", &spec->kind, &spec->name, &PyTuple_Type, &inputs,
                          &PyDict_Type, &options))
        return -1;
    spec->options = (mlc_options){.stride = 1, .eps = 1e-5, .momentum = 0.1};
    if (PyTuple_Size(inputs) > MLC_MAX_INPUTS) {
        PyErr_Format(PyExc_ValueError, "Net: a layer must have at most %d inputs, got %zd",
                     MLC_MAX_INPUTS, PyTuple_Size(inputs));
        return -1;
    }
    spec->input_count = (size_t)PyTuple_Size(inputs);
    for (size_t k = 0; k < spec->input_count; k++) {
        uint64_t tensor;
        if (uint_get("Net", "inputs", PyTuple_GetItem(inputs, (Py_ssize_t)k), 1 << 20, &tensor) < 0)
            return -1;
        spec->inputs[k] = (size_t)tensor;
    }
    while (PyDict_Next(options, &position, &key, &value))
        if (parse_option(key, value, &spec->options) < 0) return -1;
    return 0;
}

static mlc_layer_spec *parse_spec(PyObject *list, size_t *count)
{
    if (!PyList_Check(list)) {
        PyErr_Format(PyExc_TypeError, "Net: `spec` must be a list of layers, got %R",
                     Py_TYPE(list));
        return NULL;
    }
    *count = (size_t)PyList_Size(list);
    mlc_layer_spec *specs = calloc(*count + 1, sizeof *specs);
    if (!specs) return (mlc_layer_spec *)PyErr_NoMemory();
    for (size_t i = 0; i < *count; i++) {
        if (parse_layer(PyList_GetItem(list, (Py_ssize_t)i), &specs[i]) == 0) continue;
        free(specs);
        return NULL;
    }
    return specs;
}

static PyObject *net_new(PyTypeObject *type, PyObject *args, PyObject *kwargs)
{
    static char *names[] = {"spec", "channels", "exact", NULL};
    PyObject *list, *channels_object = NULL;
    int exact = false;
    uint64_t channels = 3;
    size_t count;
    mlc_error error;
    mlc_status status;
    if (!PyArg_ParseTupleAndKeywords(args, kwargs, "O|Op:Net", names, &list, &channels_object,
                                     &exact) ||
        (channels_object && uint_get("Net", "channels", channels_object, 4096, &channels) < 0))
        return NULL;
    mlc_layer_spec *specs = parse_spec(list, &count);
    if (!specs) return NULL;
    allocfunc allocate = (allocfunc)PyType_GetSlot(type, Py_tp_alloc);
    NetObject *self = (NetObject *)allocate(type, 0);
    if (!self) {
        free(specs);
        return NULL;
    }
    Py_BEGIN_ALLOW_THREADS
        status = mlc_net_new(specs, count, (size_t)channels, exact, &self->net, &error);
    Py_END_ALLOW_THREADS
    free(specs);
    if (status) {
        Py_DECREF(self);
        return raise_status(status, &error);
    }
    return (PyObject *)self;
}

static void net_dealloc(PyObject *self)
{
    PyTypeObject *type = Py_TYPE(self);
    if (net_of(self)) mlc_net_free(net_of(self));
    ((freefunc)PyType_GetSlot(type, Py_tp_free))(self);
    Py_DECREF(type);
}

/* --- the processes that train together -------------------------------------------------------- */

/* Functions of Python that reach them, called in the middle of a pass: the net is locked then, and
 * they may not use it. An exception stops the pass, and is the call's. */
typedef struct {
    gil_break gap;
    PyObject *sum, *ready; /* borrowed; None: not wanted */
    mlc_peers peers;
} peer_calls;

/* They see a copy: whatever they keep of it, the arena is out of their reach. */
static int call_sum_on_copy(PyObject *sum, double *values, size_t count)
{
    npy_intp dims[1] = {(npy_intp)count};
    PyObject *array = PyArray_SimpleNew(1, dims, NPY_DOUBLE);
    if (!array) return -1;
    double *copy = PyArray_DATA((PyArrayObject *)array);
    memcpy(copy, values, count * sizeof *values);
    PyObject *done = PyObject_CallFunctionObjArgs(sum, array, NULL);
    if (done) memcpy(values, copy, count * sizeof *values);
    Py_XDECREF(done);
    Py_DECREF(array);
    return done ? 0 : -1;
}

static bool call_sum(void *context, double *values, size_t count)
{
    peer_calls *calls = context;
    gil_enter(&calls->gap);
    int status = call_sum_on_copy(calls->sum, values, count);
    gil_leave(&calls->gap);
    return !status;
}

static bool call_ready(void *context, const char *layer)
{
    peer_calls *calls = context;
    gil_enter(&calls->gap);
    PyObject *done = PyObject_CallFunction(calls->ready, "s", layer);
    Py_XDECREF(done);
    gil_leave(&calls->gap);
    return done;
}

static int callable_get(const char *fn, const char *name, PyObject *object)
{
    if (!object || object == Py_None || PyCallable_Check(object)) return 0;
    PyErr_Format(PyExc_TypeError, "%s: `%s` must be a function or None, got %R", fn, name, object);
    return -1;
}

/* `sum` and `ready` as peers; NULL or None: not wanted. */
static int peers_get(const char *fn, PyObject *sum, PyObject *ready, peer_calls *calls)
{
    if (callable_get(fn, "sum", sum) < 0 || callable_get(fn, "ready", ready) < 0) return -1;
    *calls = (peer_calls){.sum = sum, .ready = ready, .peers = {.context = calls}};
    if (sum && sum != Py_None) calls->peers.sum = call_sum;
    if (ready && ready != Py_None) calls->peers.ready = call_ready;
    return 0;
}

/* --- running --------------------------------------------------------------------------------- */

/* An image batch is (N, C, H, W) over NHWC memory without gaps. */
static int image_batch(const char *fn, const char *name, PyObject *object, npy_intp channels,
                       array_arg *arg)
{
    *arg = (array_arg){.name = name, .type = NPY_FLOAT32, .ndim = 4};
    if (array_kind(fn, arg, object) < 0) return -1;
    PyArrayObject *array = (PyArrayObject *)object;
    const npy_intp *d = PyArray_DIMS(array), *s = PyArray_STRIDES(array);
    if (d[0] < 1 || d[1] != channels || d[2] < 1 || d[3] < 1) {
        PyErr_Format(PyExc_ValueError,
                     "%s: `%s` must have shape (N, %zd, H, W) with no 0, got (%zd, "
                     "%zd, %zd, %zd)",
                     fn, name, channels, d[0], d[1], d[2], d[3]);
        return -1;
    }
    npy_intp want[4] = {d[1] * d[2] * d[3] * 4, 4, d[1] * d[3] * 4, d[1] * 4};
    for (int i = 0; i < 4; i++)
        if (!PyArray_ISALIGNED(array) || (d[i] > 1 && s[i] != want[i])) {
            PyErr_Format(PyExc_ValueError,
                         "%s: `%s` must be a transposed view of contiguous (N, H, W, "
                         "C) memory, got other strides",
                         fn, name);
            return -1;
        }
    arg->array = array;
    return 0;
}

/* A new (N, C) array, or (N, C, H, W) over NHWC memory where the output is more than a pixel. */
static PyObject *output_array(npy_intp n, const size_t shape[3], float **data)
{
    npy_intp dims[4] = {n, (npy_intp)shape[0], (npy_intp)shape[1], (npy_intp)shape[2]};
    npy_intp flat[2] = {n, (npy_intp)shape[2]};
    bool pixel = shape[0] == 1 && shape[1] == 1;
    PyObject *array =
        pixel ? PyArray_SimpleNew(2, flat, NPY_FLOAT32) : PyArray_SimpleNew(4, dims, NPY_FLOAT32);
    if (!array) return NULL;
    *data = PyArray_DATA((PyArrayObject *)array);
    if (pixel) return array;
    npy_intp order[4] = {0, 3, 1, 2};
    PyArray_Dims axes = {order, 4};
    PyObject *view = PyArray_Transpose((PyArrayObject *)array, &axes);
    Py_DECREF(array);
    return view;
}

/* The tensor that the layer called `also` writes; 0 where nothing is asked for. */
static int also_tensor(const char *fn, const mlc_net *net, PyObject *also, bool train,
                       size_t *tensor)
{
    *tensor = 0;
    if (!also || also == Py_None) return 0;
    const char *name = PyUnicode_Check(also) ? PyUnicode_AsUTF8(also) : "";
    if (!name) return -1;
    for (size_t i = 0; i < net->layer_count && !train; i++)
        if (!strcmp(net->layers[i].name, name)) *tensor = i + 1;
    if (*tensor) return 0;
    PyErr_Format(PyExc_ValueError,
                 "%s: `also` must be the name of a layer, and train False, got %R and %s", fn, also,
                 train ? "True" : "False");
    return -1;
}

/* An array for tensor t of a pass, whose memory goes to `data`. */
static PyObject *pass_array(mlc_net *net, const mlc_pass *pass, size_t t, float **data)
{
    size_t shape[3];
    mlc_error error;
    mlc_status status =
        mlc_net_output(net, pass->n, pass->h, pass->w, pass->train, t, shape, &error);
    if (status) return raise_status(status, &error);
    return output_array((npy_intp)pass->n, shape, data);
}

static PyObject *net_forward(PyObject *self, PyObject *args, PyObject *kwargs)
{
    static char *names[] = {"x", "train", "seed", "epoch", "position", "also", "sum", NULL};
    static const char *fn = "Net.forward";
    PyObject *x_object, *seed_object = NULL, *epoch_object = NULL, *position_object = NULL;
    PyObject *also_object = NULL, *sum = NULL, *out, *also = NULL;
    int train = 0;
    uint64_t seed = 0, epoch = 0, position = 0;
    array_arg x;
    mlc_net *net = net_of(self);
    mlc_pass pass = {0};
    peer_calls calls;
    mlc_error error;
    if (!PyArg_ParseTupleAndKeywords(args, kwargs, "O|pOOOOO:forward", names, &x_object, &train,
                                     &seed_object, &epoch_object, &position_object, &also_object,
                                     &sum))
        return NULL;
    if ((seed_object && uint_get(fn, "seed", seed_object, UINT64_MAX, &seed) < 0) ||
        (epoch_object && uint_get(fn, "epoch", epoch_object, UINT32_MAX, &epoch) < 0) ||
        (position_object && uint_get(fn, "position", position_object, UINT32_MAX, &position) < 0) ||
        also_tensor(fn, net, also_object, train, &pass.also) < 0 ||
        peers_get(fn, sum, NULL, &calls) < 0 ||
        image_batch(fn, "x", x_object, (npy_intp)net->channels, &x) < 0)
        return NULL;
    pass.x = PyArray_DATA(x.array), pass.train = train, pass.peers = &calls.peers;
    pass.n = array_dim(&x, 0), pass.h = array_dim(&x, 2), pass.w = array_dim(&x, 3);
    pass.key = (mlc_key){seed, (uint32_t)epoch, (uint32_t)position, 0};
    if (!(out = pass_array(net, &pass, net->layer_count, &pass.out))) return NULL;
    if (pass.also && !(also = pass_array(net, &pass, pass.also, &pass.also_out))) {
        Py_DECREF(out);
        return NULL;
    }
    gil_release(&calls.gap);
    mlc_status status = mlc_net_forward(net, &pass, &error);
    gil_acquire(&calls.gap);
    if (!status) return also ? Py_BuildValue("NN", out, also) : out;
    Py_DECREF(out);
    Py_XDECREF(also);
    return raise_status(status, &error);
}

/* The shape that the last training forward's output had, as backward takes its gradient. */
static int gradient_array(mlc_net *net, PyObject *object, size_t shape[4], array_arg *g)
{
    static const char *fn = "Net.backward";
    mlc_error error;
    mlc_status status;
    *g = (array_arg){.name = "g", .type = NPY_FLOAT32, .ndim = ANY_NDIM};
    Py_BEGIN_ALLOW_THREADS
        status = mlc_net_gradient_shape(net, shape, &error);
    Py_END_ALLOW_THREADS
    if (status) {
        raise_status(status, &error);
        return -1;
    }
    npy_intp flat[2] = {(npy_intp)shape[0], (npy_intp)shape[3]};
    if (shape[1] != 1 || shape[2] != 1) {
        if (image_batch(fn, "g", object, flat[1], g) < 0) return -1;
        npy_intp dims[4] = {flat[0], flat[1], (npy_intp)shape[1], (npy_intp)shape[2]};
        return array_shape(fn, g, 4, dims);
    }
    return array_get(fn, g, object) < 0 ? -1 : array_shape(fn, g, 2, flat);
}

static PyObject *net_backward(PyObject *self, PyObject *args, PyObject *kwargs)
{
    static char *names[] = {"g", "accumulate", "sum", "ready", NULL};
    PyObject *object, *sum = NULL, *ready = NULL;
    int accumulate = 0;
    peer_calls calls;
    size_t shape[4];
    array_arg g;
    mlc_error error;
    if (!PyArg_ParseTupleAndKeywords(args, kwargs, "O|pOO:backward", names, &object, &accumulate,
                                     &sum, &ready) ||
        peers_get("Net.backward", sum, ready, &calls) < 0 ||
        gradient_array(net_of(self), object, shape, &g) < 0)
        return NULL;
    gil_release(&calls.gap);
    mlc_status status = mlc_net_backward(net_of(self), PyArray_DATA(g.array), shape, accumulate,
                                         &calls.peers, &error);
    gil_acquire(&calls.gap);
    if (status) return raise_status(status, &error);
    Py_RETURN_NONE;
}

static PyObject *net_rollback(PyObject *self, PyObject *unused)
{
    (void)unused;
    Py_BEGIN_ALLOW_THREADS
        mlc_net_rollback(net_of(self));
    Py_END_ALLOW_THREADS
    Py_RETURN_NONE;
}

/* The way to other processes is a file, which runs no code. */
static PyObject *net_reduce(PyObject *self, PyObject *unused)
{
    (void)self, (void)unused;
    PyErr_SetString(PyExc_TypeError, "Net: cannot be pickled or copied; write a file with "
                                     "learn.export, and load_learner reads it, in any process");
    return NULL;
}

static PyObject *net_times(PyObject *self, PyObject *unused)
{
    mlc_net *net = net_of(self);
    PyObject *list = PyList_New(0);
    (void)unused;
    lock_net(net);
    for (size_t i = 0; list && i < net->layer_count; i++) {
        const mlc_layer *layer = &net->layers[i];
        PyObject *item = Py_BuildValue("(ssdd)", layer->name, layer->class->kind, net->seconds[i],
                                       net->seconds[net->layer_count + i]);
        if (!item || PyList_Append(list, item) < 0) Py_CLEAR(list);
        Py_XDECREF(item);
    }
    mlc_unlock(&net->lock);
    return list;
}

/* --- the optimizer --------------------------------------------------------------------------- */

static int hyper_get(const char *fn, const char *name, PyObject *object, size_t groups,
                     double *values)
{
    PyObject *tuple = tuple_get(fn, name, "numbers", object);
    if (!tuple) return -1;
    Py_ssize_t got = PyTuple_Size(tuple);
    int status = 0;
    if ((size_t)got != groups) {
        PyErr_Format(PyExc_ValueError,
                     "%s: `%s` must have a number for each of the %zu groups, got %zd", fn, name,
                     groups, got);
        status = -1;
    }
    for (Py_ssize_t i = 0; !status && i < got; i++)
        status = double_get(fn, name, PyTuple_GetItem(tuple, i), &values[i]);
    Py_DECREF(tuple);
    return status;
}

/* One step by a rule: `names` are its hyper-parameters, and `at` says where each belongs. */
typedef struct {
    mlc_rule rule;
    const char *fn, *format;
    char *names[6];
    size_t at[5];
} step_form;

#define HYPER(name) offsetof(mlc_hypers, name)
static const step_form forms[] = {
    {MLC_ADAM,
     "Net.adam_step",
     "OOOOO:adam_step",
     {"lr", "mom", "sqr_mom", "eps", "wd"},
     {HYPER(lr), HYPER(mom), HYPER(sqr_mom), HYPER(eps), HYPER(wd)}},
    {MLC_SGD,
     "Net.sgd_step",
     "OOO:sgd_step",
     {"lr", "mom", "wd"},
     {HYPER(lr), HYPER(mom), HYPER(wd)}},
    {MLC_RADAM,
     "Net.radam_step",
     "OOOOO:radam_step",
     {"lr", "mom", "sqr_mom", "eps", "wd"},
     {HYPER(lr), HYPER(mom), HYPER(sqr_mom), HYPER(eps), HYPER(wd)}},
    {MLC_LION,
     "Net.lion_step",
     "OOOO:lion_step",
     {"lr", "mom", "sqr_mom", "wd"},
     {HYPER(lr), HYPER(mom), HYPER(sqr_mom), HYPER(wd)}},
};

static PyObject *net_step(PyObject *self, PyObject *args, PyObject *kwargs, mlc_rule rule)
{
    const step_form *form = &forms[rule];
    PyObject *objects[5];
    double values[5][MLC_MAX_GROUPS];
    mlc_hypers hypers = {0};
    mlc_error error;
    mlc_net *net = net_of(self);
    if (!PyArg_ParseTupleAndKeywords(args, kwargs, form->format, (char **)form->names, &objects[0],
                                     &objects[1], &objects[2], &objects[3], &objects[4]))
        return NULL;
    for (int i = 0; i < 5 && form->names[i]; i++) {
        if (hyper_get(form->fn, form->names[i], objects[i], net->groups, values[i]) < 0)
            return NULL;
        *(const double **)((char *)&hypers + form->at[i]) = values[i];
    }
    mlc_status status;
    Py_BEGIN_ALLOW_THREADS
        status = mlc_net_step(net, rule, &hypers, form->fn, &error);
    Py_END_ALLOW_THREADS
    if (status) return raise_status(status, &error);
    Py_RETURN_NONE;
}

static PyObject *net_adam_step(PyObject *self, PyObject *args, PyObject *kwargs)
{
    return net_step(self, args, kwargs, MLC_ADAM);
}

static PyObject *net_sgd_step(PyObject *self, PyObject *args, PyObject *kwargs)
{
    return net_step(self, args, kwargs, MLC_SGD);
}

static PyObject *net_radam_step(PyObject *self, PyObject *args, PyObject *kwargs)
{
    return net_step(self, args, kwargs, MLC_RADAM);
}

static PyObject *net_lion_step(PyObject *self, PyObject *args, PyObject *kwargs)
{
    return net_step(self, args, kwargs, MLC_LION);
}

static PyObject *net_clear_state(PyObject *self, PyObject *unused)
{
    (void)unused;
    Py_BEGIN_ALLOW_THREADS
        mlc_net_clear_state(net_of(self));
    Py_END_ALLOW_THREADS
    Py_RETURN_NONE;
}

/* --- parameters ------------------------------------------------------------------------------ */

/* dict[name] = an array over the net's own memory. */
static int add_view(PyObject *self, PyObject *dict, const char *name, int ndim, const size_t *dims,
                    float *data, bool writable)
{
    npy_intp shape[4];
    for (int d = 0; d < ndim; d++) shape[d] = (npy_intp)dims[d];
    PyArrayObject *view =
        (PyArrayObject *)PyArray_SimpleNewFromData(ndim, shape, NPY_FLOAT32, data);
    if (!view) return -1;
    if (!writable) PyArray_CLEARFLAGS(view, NPY_ARRAY_WRITEABLE);
    int status = PyArray_SetBaseObject(view, Py_NewRef(self));
    if (!status) status = PyDict_SetItemString(dict, name, (PyObject *)view);
    Py_DECREF(view);
    return status;
}

static PyObject *net_parameters(PyObject *self, PyObject *unused)
{
    mlc_net *net = net_of(self);
    PyObject *dict = PyDict_New();
    (void)unused;
    for (size_t i = 0; dict && i < net->param_count; i++) {
        const mlc_param *p = &net->params[i];
        if (add_view(self, dict, p->name, p->ndim, p->dims, p->value, false) < 0) Py_CLEAR(dict);
    }
    return dict;
}

static PyObject *net_buffers(PyObject *self, PyObject *unused)
{
    mlc_net *net = net_of(self);
    PyObject *dict = PyDict_New();
    (void)unused;
    for (size_t i = 0; dict && i < net->buffer_count; i++) {
        const mlc_buffer *b = &net->buffers[i];
        if (add_view(self, dict, b->name, 1, &b->size, b->value, false) < 0) Py_CLEAR(dict);
    }
    return dict;
}

static PyObject *net_gradients(PyObject *self, PyObject *unused)
{
    mlc_net *net = net_of(self);
    mlc_error error;
    (void)unused;
    lock_net(net);
    mlc_status status = mlc_net_prepare_training(net, &error);
    mlc_unlock(&net->lock);
    if (status) return raise_status(status, &error);
    PyObject *dict = PyDict_New();
    for (size_t i = 0; dict && i < net->param_count; i++) {
        const mlc_param *p = &net->params[i];
        if (p->trainable && add_view(self, dict, p->name, p->ndim, p->dims, p->grad, true) < 0)
            Py_CLEAR(dict);
    }
    return dict;
}

/* dict[name] = (steps, m, v), views of what the optimizer remembers of one parameter. */
static int add_kept(PyObject *self, PyObject *dict, const mlc_param *p)
{
    PyObject *views = PyDict_New();
    if (!views) return -1;
    int status = add_view(self, views, "m", p->ndim, p->dims, p->m, false);
    if (!status) status = add_view(self, views, "v", p->ndim, p->dims, p->v, false);
    PyObject *kept = status ? NULL
                            : Py_BuildValue("(IOO)", p->step, PyDict_GetItemString(views, "m"),
                                            PyDict_GetItemString(views, "v"));
    Py_DECREF(views);
    status = kept ? PyDict_SetItemString(dict, p->name, kept) : -1;
    Py_XDECREF(kept);
    return status;
}

static PyObject *net_optimizer_state(PyObject *self, PyObject *unused)
{
    mlc_net *net = net_of(self);
    PyObject *dict = PyDict_New();
    (void)unused;
    for (size_t i = 0; dict && i < net->param_count; i++) {
        const mlc_param *p = &net->params[i];
        if (p->step && add_kept(self, dict, p) < 0) Py_CLEAR(dict);
    }
    return dict;
}

/* The memory of a moment, after checking that it is as large as its parameter. */
static const float *moment_get(const mlc_param *p, PyObject *object)
{
    static const char *fn = "Net.load_optimizer_state";
    npy_intp dims[4];
    for (int d = 0; d < p->ndim; d++) dims[d] = (npy_intp)p->dims[d];
    array_arg arg = IN(p->name, NPY_FLOAT32, ANY_NDIM);
    if (array_get(fn, &arg, object) < 0 || array_shape(fn, &arg, p->ndim, dims) < 0) return NULL;
    return PyArray_DATA(arg.array);
}

static int kept_get(mlc_net *net, PyObject *name, PyObject *value, mlc_kept *kept)
{
    static const char *fn = "Net.load_optimizer_state";
    const char *text = PyUnicode_Check(name) ? PyUnicode_AsUTF8AndSize(name, NULL) : NULL;
    uint64_t step;
    if (!text || !(kept->param = mlc_net_param(net, text))) {
        PyErr_Format(PyExc_KeyError, "%s: `state` must name parameters of this net, got %R", fn,
                     name);
        return -1;
    }
    if (!PyTuple_Check(value) || PyTuple_Size(value) != 3) {
        PyErr_Format(PyExc_TypeError, "%s: `state` must hold tuples (steps, m, v), got %R", fn,
                     Py_TYPE(value));
        return -1;
    }
    if (uint_get(fn, "steps", PyTuple_GetItem(value, 0), INT32_MAX, &step) < 0) return -1;
    kept->step = (unsigned)step;
    kept->m = moment_get(kept->param, PyTuple_GetItem(value, 1));
    kept->v = kept->m ? moment_get(kept->param, PyTuple_GetItem(value, 2)) : NULL;
    return kept->v ? 0 : -1;
}

/* The caller holds the lock. */
static int load_kept(mlc_net *net, PyObject *state)
{
    PyObject *name, *value;
    size_t count = 0;
    mlc_error error;
    mlc_kept *kept = calloc((size_t)PyDict_Size(state) + 1, sizeof *kept);
    if (!kept) return PyErr_NoMemory() ? 0 : -1;
    int status = 0;
    for (Py_ssize_t at = 0; !status && PyDict_Next(state, &at, &name, &value); count++)
        status = kept_get(net, name, value, &kept[count]);
    mlc_status ready = status ? MLC_OK : mlc_net_prepare_training(net, &error);
    if (ready) raise_status(ready, &error);
    if (!status && !ready) mlc_net_write_state(net, kept, count);
    free(kept);
    return status || ready ? -1 : 0;
}

static PyObject *net_load_optimizer_state(PyObject *self, PyObject *state)
{
    mlc_net *net = net_of(self);
    if (!PyDict_Check(state))
        return PyErr_Format(PyExc_TypeError,
                            "Net.load_optimizer_state: `state` must be a dict, got %R",
                            Py_TYPE(state));
    lock_net(net);
    int status = load_kept(net, state);
    mlc_unlock(&net->lock);
    if (status) return NULL;
    Py_RETURN_NONE;
}

static PyObject *net_shapes(PyObject *self, PyObject *args)
{
    mlc_net *net = net_of(self);
    PyObject *objects[3];
    static const char *names[] = {"n", "h", "w"};
    uint64_t sizes[3];
    size_t out[3];
    mlc_error error;
    if (!PyArg_ParseTuple(args, "OOO:shapes", &objects[0], &objects[1], &objects[2])) return NULL;
    for (int i = 0; i < 3; i++)
        if (uint_get("Net.shapes", names[i], objects[i], 1 << 20, &sizes[i]) < 0) return NULL;
    PyObject *list = PyList_New(0);
    for (size_t i = 0; list && i < net->layer_count; i++) {
        const mlc_layer *layer = &net->layers[i];
        mlc_status status = mlc_net_output(net, (size_t)sizes[0], (size_t)sizes[1],
                                           (size_t)sizes[2], false, i + 1, out, &error);
        PyObject *item =
            status ? raise_status(status, &error)
                   : Py_BuildValue("(ss(nnn))", layer->name, layer->class->kind, (Py_ssize_t)out[2],
                                   (Py_ssize_t)out[0], (Py_ssize_t)out[1]);
        if (!item || PyList_Append(list, item) < 0) Py_CLEAR(list);
        Py_XDECREF(item);
    }
    return list;
}

static PyObject *net_memory(PyObject *self, PyObject *args, PyObject *kwargs)
{
    static char *names[] = {"n", "h", "w", "train", NULL};
    static const char *fn = "Net.memory";
    PyObject *objects[3];
    int train = 0;
    uint64_t sizes[3];
    size_t bytes;
    mlc_error error;
    mlc_status status;
    if (!PyArg_ParseTupleAndKeywords(args, kwargs, "OOO|p:memory", names, &objects[0], &objects[1],
                                     &objects[2], &train))
        return NULL;
    for (int i = 0; i < 3; i++) {
        if (uint_get(fn, names[i], objects[i], 1 << 20, &sizes[i]) < 0) return NULL;
        if (!sizes[i])
            return PyErr_Format(PyExc_ValueError, "%s: `%s` must be at least 1, got 0", fn,
                                names[i]);
    }
    Py_BEGIN_ALLOW_THREADS
        status = mlc_net_memory(net_of(self), (size_t)sizes[0], (size_t)sizes[1], (size_t)sizes[2],
                                train, &bytes, &error);
    Py_END_ALLOW_THREADS
    return status ? raise_status(status, &error) : PyLong_FromSize_t(bytes);
}

static PyObject *net_set_bf16(PyObject *self, PyObject *object)
{
    int bf16 = PyObject_IsTrue(object);
    if (bf16 < 0) return NULL;
    Py_BEGIN_ALLOW_THREADS
        mlc_net_set_bf16(net_of(self), bf16);
    Py_END_ALLOW_THREADS
    Py_RETURN_NONE;
}

/* Where the tensor called `name` is to be written, after checking the array that will be. */
static float *state_target(mlc_net *net, PyObject *name, PyObject *value, size_t *size,
                           mlc_buffer **buffer)
{
    static const char *fn = "Net.load_state_dict";
    const char *text = PyUnicode_Check(name) ? PyUnicode_AsUTF8AndSize(name, NULL) : NULL;
    mlc_param *param = text ? mlc_net_param(net, text) : NULL;
    *buffer = text ? mlc_net_buffer(net, text) : NULL;
    if (!param && !*buffer) {
        PyErr_Format(PyExc_KeyError, "%s: `state` must name tensors of this net, got %R", fn, name);
        return NULL;
    }
    npy_intp dims[4];
    int ndim = param ? param->ndim : 1;
    for (int d = 0; d < ndim; d++) dims[d] = (npy_intp)(param ? param->dims[d] : (*buffer)->size);
    array_arg arg = IN(text, NPY_FLOAT32, ANY_NDIM);
    if (array_get(fn, &arg, value) < 0 || array_shape(fn, &arg, ndim, dims) < 0) return NULL;
    *size = param ? param->size : (*buffer)->size;
    return param ? param->value : (*buffer)->value;
}

/* Called twice: to check everything, then to write. A loaded statistic is not undone by a rollback.
 */
static int load_tensors(mlc_net *net, PyObject *state, bool write)
{
    PyObject *name, *value;
    mlc_buffer *buffer;
    size_t size;
    for (Py_ssize_t at = 0; PyDict_Next(state, &at, &name, &value);) {
        float *to = state_target(net, name, value, &size, &buffer);
        if (!to) return -1;
        if (!write) continue;
        memcpy(to, PyArray_DATA((PyArrayObject *)value), size * sizeof *to);
        if (buffer) memcpy(buffer->undo, to, size * sizeof *to);
    }
    return 0;
}

static PyObject *net_load_state_dict(PyObject *self, PyObject *state)
{
    mlc_net *net = net_of(self);
    if (!PyDict_Check(state))
        return PyErr_Format(PyExc_TypeError, "Net.load_state_dict: `state` must be a dict, got %R",
                            Py_TYPE(state));
    lock_net(net);
    int status = load_tensors(net, state, false);
    if (!status) status = load_tensors(net, state, true);
    if (!status) mlc_net_refresh(net);
    mlc_unlock(&net->lock);
    if (status) return NULL;
    Py_RETURN_NONE;
}

/* Call `mark` for every named parameter; a KeyError on a name that is none. */
static int for_names(mlc_net *net, const char *fn, PyObject *names, void (*mark)(mlc_param *, int),
                     int value)
{
    PyObject *tuple = tuple_get(fn, "names", "parameter names", names);
    if (!tuple) return -1;
    int status = 0;
    for (Py_ssize_t i = 0; !status && i < PyTuple_Size(tuple); i++) {
        PyObject *name = PyTuple_GetItem(tuple, i);
        const char *text = PyUnicode_Check(name) ? PyUnicode_AsUTF8AndSize(name, NULL) : NULL;
        mlc_param *param = text ? mlc_net_param(net, text) : NULL;
        if (param) {
            mark(param, value);
            continue;
        }
        PyErr_Format(PyExc_KeyError, "%s: `names` must name parameters of this net, got %R", fn,
                     name);
        status = -1;
    }
    Py_DECREF(tuple);
    return status;
}

static void mark_trainable(mlc_param *p, int value) { p->trainable = value; }
static void mark_decay(mlc_param *p, int value) { p->decay = value; }
static void mark_group(mlc_param *p, int value) { p->group = value; }

typedef struct {
    bool trainable, decay;
    int group;
} marks;

static marks *marks_new(const mlc_net *net)
{
    marks *kept = calloc(net->param_count + 1, sizeof *kept);
    for (size_t i = 0; kept && i < net->param_count; i++)
        kept[i] = (marks){net->params[i].trainable, net->params[i].decay, net->params[i].group};
    return kept ? kept : (marks *)PyErr_NoMemory();
}

static void marks_restore(mlc_net *net, const marks *kept)
{
    for (size_t i = 0; i < net->param_count; i++) {
        mlc_param *p = &net->params[i];
        p->trainable = kept[i].trainable, p->decay = kept[i].decay, p->group = kept[i].group;
    }
}

/* Call change(net, context) under the net's lock; on an error no mark has changed. */
static PyObject *change_marks(PyObject *self, int (*change)(mlc_net *, void *), void *context)
{
    mlc_net *net = net_of(self);
    lock_net(net);
    marks *before = marks_new(net);
    int status = before ? change(net, context) : -1;
    if (before && status) marks_restore(net, before);
    free(before);
    mlc_unlock(&net->lock);
    if (status) return NULL;
    Py_RETURN_NONE;
}

typedef struct {
    const char *fn;
    PyObject *names;
    void (*mark)(mlc_param *, int);
} only_these;

/* Exactly the named parameters get the mark. */
static int mark_only(mlc_net *net, void *context)
{
    const only_these *these = context;
    for (size_t i = 0; i < net->param_count; i++) these->mark(&net->params[i], 0);
    return for_names(net, these->fn, these->names, these->mark, 1);
}

/* The names are read before the net is locked: reading them may run Python code. */
static PyObject *net_mark_only(PyObject *self, const char *fn, PyObject *names,
                               void (*mark)(mlc_param *, int))
{
    PyObject *tuple = tuple_get(fn, "names", "parameter names", names);
    if (!tuple) return NULL;
    only_these these = {fn, tuple, mark};
    PyObject *done = change_marks(self, mark_only, &these);
    Py_DECREF(tuple);
    return done;
}

static PyObject *net_set_trainable(PyObject *self, PyObject *names)
{
    return net_mark_only(self, "Net.set_trainable", names, mark_trainable);
}

static PyObject *net_set_decay(PyObject *self, PyObject *names)
{
    return net_mark_only(self, "Net.set_decay", names, mark_decay);
}

/* Every parameter gets a group: the hyper-parameters of a step have one number for each. */
static int mark_groups(mlc_net *net, void *context)
{
    static const char *fn = "Net.set_groups";
    Py_ssize_t count = PyTuple_Size(context);
    if (count < 1 || count > MLC_MAX_GROUPS) {
        PyErr_Format(PyExc_ValueError, "%s: `groups` must be 1 to %d lists, got %zd", fn,
                     MLC_MAX_GROUPS, count);
        return -1;
    }
    for (size_t i = 0; i < net->param_count; i++) net->params[i].group = -1;
    for (Py_ssize_t g = 0; g < count; g++)
        if (for_names(net, fn, PyTuple_GetItem(context, g), mark_group, (int)g) < 0) return -1;
    for (size_t i = 0; i < net->param_count; i++) {
        if (net->params[i].group >= 0) continue;
        PyErr_Format(PyExc_ValueError, "%s: `groups` must name every parameter, got none with '%s'",
                     fn, net->params[i].name);
        return -1;
    }
    net->groups = (size_t)count;
    return 0;
}

static PyObject *net_set_groups(PyObject *self, PyObject *groups)
{
    PyObject *tuple = tuple_get("Net.set_groups", "groups", "lists of parameter names", groups);
    PyObject *done = tuple ? change_marks(self, mark_groups, tuple) : NULL;
    Py_XDECREF(tuple);
    return done;
}

/* --- the type -------------------------------------------------------------------------------- */

/* clang-format off */
#define METHOD(name, flags, doc)                                                                   \
    {#name, (PyCFunction)(void (*)(void))net_##name, flags, PyDoc_STR(doc)}
/* clang-format on */

static PyMethodDef net_methods[] = {
    METHOD(
        forward, METH_VARARGS | METH_KEYWORDS,
        "forward($self, x, train=False, seed=0, epoch=0, position=0, also=None, sum=None)\n--\n\n"
        "float32 (N, C, H, W) over NHWC memory -> (N, L) logits, or images (N, C, H, W); with "
        "what the layer `also` gives, a pair. In training `sum` adds float64 numbers up, in "
        "place, over the processes that have the rest of the batch."),
    METHOD(
        backward, METH_VARARGS | METH_KEYWORDS,
        "backward($self, g, accumulate=False, sum=None, ready=None)\n--\n\n"
        "Gradients of the trainable parameters from that of the last output; `sum` as in forward, "
        "`ready` is called with the name of a layer whose gradients are complete."),
    METHOD(rollback, METH_NOARGS,
           "rollback($self)\n--\n\n"
           "Undo the running statistics of a training forward that was not stepped."),
    METHOD(times, METH_NOARGS,
           "times($self)\n--\n\n"
           "(name, kind, forward, backward) of each layer: seconds of the last training pass."),
    METHOD(adam_step, METH_VARARGS | METH_KEYWORDS,
           "adam_step($self, lr, mom, sqr_mom, eps, wd)\n--\n\n"
           "One Adam step, a number a group; consumes and zeroes the gradients."),
    METHOD(sgd_step, METH_VARARGS | METH_KEYWORDS,
           "sgd_step($self, lr, mom, wd)\n--\n\n"
           "As adam_step, of stochastic gradient descent with momentum."),
    METHOD(radam_step, METH_VARARGS | METH_KEYWORDS,
           "radam_step($self, lr, mom, sqr_mom, eps, wd)\n--\n\nAs adam_step, of RAdam."),
    METHOD(lion_step, METH_VARARGS | METH_KEYWORDS,
           "lion_step($self, lr, mom, sqr_mom, wd)\n--\n\nAs adam_step, of Lion."),
    METHOD(clear_state, METH_NOARGS,
           "clear_state($self)\n--\n\nForget the optimizer's moments and steps."),
    METHOD(optimizer_state, METH_NOARGS,
           "optimizer_state($self)\n--\n\n"
           "(steps, m, v) by name of each parameter that was stepped; read-only views."),
    METHOD(load_optimizer_state, METH_O,
           "load_optimizer_state($self, state, /)\n--\n\n"
           "Write what optimizer_state gave and clear the rest: all, or nothing on an error."),
    {"__reduce__", net_reduce, METH_NOARGS, PyDoc_STR("Refused: see the message.")},
    METHOD(shapes, METH_VARARGS,
           "shapes($self, n, h, w, /)\n--\n\n"
           "(name, kind, (C, H, W)) of each layer's output for such a batch."),
    METHOD(memory, METH_VARARGS | METH_KEYWORDS,
           "memory($self, n, h, w, train=False)\n--\n\n"
           "Bytes that a pass over such a batch works in, besides the parameters."),
    METHOD(set_bf16, METH_O,
           "set_bf16($self, bf16, /)\n--\n\n"
           "From the next training pass on keep what forward writes as bfloat16, or as float32."),
    METHOD(parameters, METH_NOARGS, "parameters($self)\n--\n\nRead-only views by name."),
    METHOD(buffers, METH_NOARGS, "buffers($self)\n--\n\nRunning statistics, read-only, by name."),
    METHOD(gradients, METH_NOARGS, "gradients($self)\n--\n\nWritable views by trainable name."),
    METHOD(load_state_dict, METH_O,
           "load_state_dict($self, state, /)\n--\n\n"
           "Write the named float32 tensors: all, or none if one does not fit."),
    METHOD(set_trainable, METH_O, "set_trainable($self, names, /)\n--\n\nTrain exactly these."),
    METHOD(set_decay, METH_O,
           "set_decay($self, names, /)\n--\n\nDecay the weights of exactly these."),
    METHOD(set_groups, METH_O, "set_groups($self, groups, /)\n--\n\nLists of names, one a group."),
    {NULL, NULL, 0, NULL},
};

static PyType_Slot net_slots[] = {
    {Py_tp_new, net_new},
    {Py_tp_dealloc, net_dealloc},
    {Py_tp_methods, net_methods},
    {Py_tp_doc, PyDoc_STR("Net(spec, channels=3, exact=False)\n--\n\n"
                          "A network from a list of (kind, name, inputs, options).")},
    {0, NULL},
};

static PyType_Spec net_spec = {
    .name = "mlclassify._core.Net",
    .basicsize = sizeof(NetObject),
    .flags = Py_TPFLAGS_DEFAULT,
    .slots = net_slots,
};

int bind_net(PyObject *module)
{
    PyObject *type = PyType_FromModuleAndSpec(module, &net_spec, NULL);
    int status = type ? PyModule_AddType(module, (PyTypeObject *)type) : -1;
    Py_XDECREF(type);
    return status;
}
