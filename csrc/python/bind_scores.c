/* Losses and metrics. */
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

/* A weight matrix is (1, L), the same for every row, or (N, L). */
static int weight_stride(const char *fn, const array_arg *weight, const array_arg *logits,
                         size_t *stride)
{
    *stride = 0;
    if (!weight->array) return 0;
    npy_intp one_row[2] = {1, PyArray_DIM(logits->array, 1)};
    if (array_dim(weight, 0) == 1) return array_shape(fn, weight, 2, one_row);
    *stride = array_dim(logits, 1);
    return array_like(fn, weight, logits);
}

BINDING(bce_with_logits)
{
    static const char *fn = "bce_with_logits";
    array_arg logits = IN("logits", NPY_FLOAT32, 2), targets = IN("targets", NPY_FLOAT32, 2);
    array_arg weight = IN_OR_NONE("weight", NPY_FLOAT32, 2);
    array_arg pos_weight = IN_OR_NONE("pos_weight", NPY_FLOAT32, 2);
    array_arg out = OUT_OR_NONE("out", NPY_FLOAT32, 2), grad = OUT_OR_NONE("grad", NPY_FLOAT32, 2);
    double scale;
    mlc_bce job;
    (void)module;
    if (args_count(fn, nargs, 7) < 0 || array_get(fn, &logits, args[0]) < 0 ||
        array_get(fn, &targets, args[1]) < 0 || array_get(fn, &weight, args[2]) < 0 ||
        array_get(fn, &pos_weight, args[3]) < 0 || double_get(fn, "scale", args[4], &scale) < 0 ||
        array_get(fn, &out, args[5]) < 0 || array_get(fn, &grad, args[6]) < 0 ||
        array_like(fn, &targets, &logits) < 0 || array_like(fn, &out, &logits) < 0 ||
        array_like(fn, &grad, &logits) < 0 ||
        weight_stride(fn, &weight, &logits, &job.weight_stride) < 0 ||
        weight_stride(fn, &pos_weight, &logits, &job.pos_weight_stride) < 0)
        return NULL;
    job.logits = array_data(&logits), job.targets = array_data(&targets);
    job.weight = array_data(&weight), job.pos_weight = array_data(&pos_weight);
    job.labels = array_dim(&logits, 1);
    job.scale = (float)scale;
    job.loss = array_data(&out), job.grad = array_data(&grad);
    size_t rows = array_dim(&logits, 0);
    double sum;
    Py_BEGIN_ALLOW_THREADS
        sum = mlc_bce_sum(&job, rows);
    Py_END_ALLOW_THREADS
    return PyFloat_FromDouble(sum);
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
