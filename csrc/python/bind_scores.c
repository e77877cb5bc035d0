/* Losses and metrics. */
#include "../isa/select.h"
#include "../metrics/scores.h"
#include "bindings.h"

BINDING(sigmoid)
{
    static const char *fn = "sigmoid";
    array_arg x = IN("x", NPY_FLOAT32, ANY_NDIM), out = OUT("out", NPY_FLOAT32, ANY_NDIM);
    (void)module;
    if (args_count(fn, nargs, 2) < 0 || array_get(fn, &x, args[0]) < 0 ||
        array_get(fn, &out, args[1]) < 0 || array_like(fn, &out, &x) < 0)
        return NULL;
    size_t n = (size_t)PyArray_SIZE(x.array);
    Py_BEGIN_ALLOW_THREADS
        mlc_sigmoid(array_data(&x), array_data(&out), n);
    Py_END_ALLOW_THREADS
    Py_RETURN_NONE;
}

/* A weight is (L,), the same for every row, or of the shape of the logits. */
static int weight_stride(const char *fn, const array_arg *weight, const array_arg *logits,
                         size_t *stride)
{
    *stride = 0;
    if (!weight->array) return 0;
    int ndim = PyArray_NDIM(logits->array);
    if (PyArray_NDIM(weight->array) == 1 && ndim > 1)
        return array_shape(fn, weight, 1, PyArray_DIMS(logits->array) + ndim - 1);
    *stride = 1;
    return array_like(fn, weight, logits);
}

/* The arguments that all losses share, and the call. */
static PyObject *loss_value(const char *fn, PyObject *const *args, mlc_loss_kernel *kernel,
                            mlc_loss *job)
{
    array_arg logits = IN("logits", NPY_FLOAT32, ANY_NDIM);
    array_arg targets = IN("targets", NPY_FLOAT32, ANY_NDIM);
    array_arg weight = IN_OR_NONE("weight", NPY_FLOAT32, ANY_NDIM);
    array_arg pos_weight = IN_OR_NONE("pos_weight", NPY_FLOAT32, ANY_NDIM);
    array_arg out = OUT_OR_NONE("out", NPY_FLOAT32, ANY_NDIM);
    array_arg grad = OUT_OR_NONE("grad", NPY_FLOAT32, ANY_NDIM);
    double smoothing, value;
    uint64_t missing, mean;
    if (array_get(fn, &logits, args[0]) < 0 || array_get(fn, &targets, args[1]) < 0 ||
        array_get(fn, &weight, args[2]) < 0 || array_get(fn, &pos_weight, args[3]) < 0 ||
        double_get(fn, "smoothing", args[4], &smoothing) < 0 ||
        uint_get(fn, "missing", args[5], 1, &missing) < 0 ||
        uint_get(fn, "mean", args[6], 1, &mean) < 0 || array_get(fn, &out, args[7]) < 0 ||
        array_get(fn, &grad, args[8]) < 0 || array_like(fn, &targets, &logits) < 0 ||
        array_like(fn, &out, &logits) < 0 || array_like(fn, &grad, &logits) < 0 ||
        weight_stride(fn, &weight, &logits, &job->weight_stride) < 0 ||
        weight_stride(fn, &pos_weight, &logits, &job->pos_weight_stride) < 0)
        return NULL;
    int ndim = PyArray_NDIM(logits.array);
    job->logits = array_data(&logits), job->targets = array_data(&targets);
    job->weight = array_data(&weight), job->pos_weight = array_data(&pos_weight);
    job->labels = ndim ? array_dim(&logits, ndim - 1) : 1;
    job->smoothing = (float)smoothing, job->missing = missing != 0;
    job->loss = array_data(&out), job->grad = array_data(&grad);
    size_t rows = job->labels ? (size_t)PyArray_SIZE(logits.array) / job->labels : 0;
    mlc_status status;
    mlc_error error;
    Py_BEGIN_ALLOW_THREADS
        status = mlc_loss_value(fn, kernel, job, rows, mean != 0, &value, &error);
    Py_END_ALLOW_THREADS
    return status ? raise_status(status, &error) : PyFloat_FromDouble(value);
}

BINDING(bce_with_logits)
{
    static const char *fn = "bce_with_logits";
    mlc_loss job = {0};
    (void)module;
    if (args_count(fn, nargs, 9) < 0) return NULL;
    return loss_value(fn, args, mlc_kernel->bce, &job);
}

/* An exponent: the kernel raises numbers of [0, 1] to it, which must stay there. */
static int gamma_get(const char *fn, const char *name, PyObject *object, float *gamma)
{
    double value;
    if (double_get(fn, name, object, &value) < 0) return -1;
    *gamma = (float)value;
    if (value >= 0) return 0;
    PyErr_Format(PyExc_ValueError, "%s: `%s` must be at least 0, got %R", fn, name, object);
    return -1;
}

BINDING(asymmetric_with_logits)
{
    static const char *fn = "asymmetric_with_logits";
    mlc_loss job = {0};
    double clip;
    (void)module;
    if (args_count(fn, nargs, 12) < 0 || gamma_get(fn, "gamma_neg", args[9], &job.gamma_neg) < 0 ||
        gamma_get(fn, "gamma_pos", args[10], &job.gamma_pos) < 0 ||
        double_get(fn, "clip", args[11], &clip) < 0)
        return NULL;
    job.clip = (float)clip;
    return loss_value(fn, args, mlc_kernel->asymmetric, &job);
}

BINDING(accuracy_count)
{
    static const char *fn = "accuracy_count";
    array_arg scores = IN("scores", NPY_FLOAT32, 2), targets = IN("targets", NPY_UINT8, 2);
    array_arg thresh = IN("thresh", NPY_FLOAT32, 1);
    (void)module;
    if (args_count(fn, nargs, 3) < 0 || array_get(fn, &scores, args[0]) < 0 ||
        array_get(fn, &targets, args[1]) < 0 || array_get(fn, &thresh, args[2]) < 0 ||
        array_like(fn, &targets, &scores) < 0 ||
        array_shape(fn, &thresh, 1, PyArray_DIMS(scores.array) + 1) < 0)
        return NULL;
    size_t rows = array_dim(&scores, 0), labels = array_dim(&scores, 1);
    int64_t count;
    Py_BEGIN_ALLOW_THREADS
        count = mlc_accuracy_count(array_data(&scores), array_data(&targets), array_data(&thresh),
                                   rows, labels);
    Py_END_ALLOW_THREADS
    return PyLong_FromLongLong(count);
}

BINDING(ranked_columns)
{
    static const char *fn = "ranked_columns";
    array_arg scores = IN("scores", NPY_FLOAT32, 2), targets = IN("targets", NPY_UINT8, 2);
    array_arg ranked = OUT("out_scores", NPY_FLOAT32, 2), rows = OUT("out_rows", NPY_INT32, 2);
    array_arg positives = OUT("out_positives", NPY_INT32, 2);
    mlc_error error;
    (void)module;
    if (args_count(fn, nargs, 5) < 0 || array_get(fn, &scores, args[0]) < 0 ||
        array_get(fn, &targets, args[1]) < 0 || array_get(fn, &ranked, args[2]) < 0 ||
        array_get(fn, &rows, args[3]) < 0 || array_get(fn, &positives, args[4]) < 0 ||
        array_like(fn, &targets, &scores) < 0)
        return NULL;
    npy_intp turned[2] = {PyArray_DIM(scores.array, 1), PyArray_DIM(scores.array, 0)};
    if (array_shape(fn, &ranked, 2, turned) < 0 || array_shape(fn, &rows, 2, turned) < 0 ||
        array_shape(fn, &positives, 2, turned) < 0)
        return NULL;
    mlc_status status;
    Py_BEGIN_ALLOW_THREADS
        status = mlc_ranked_columns(
            array_data(&scores), array_data(&targets), array_dim(&scores, 0), array_dim(&scores, 1),
            array_data(&ranked), array_data(&rows), array_data(&positives), &error);
    Py_END_ALLOW_THREADS
    if (status) return raise_status(status, &error);
    Py_RETURN_NONE;
}
