/* How well scores rank. */
#include "../metrics/ranking.h"
#include "bindings.h"

/* The scores and targets that all of these begin with. */
static int ranking_get(const char *fn, PyObject *const *args, array_arg *scores, array_arg *targets)
{
    if (array_get(fn, scores, args[0]) < 0 || array_get(fn, targets, args[1]) < 0) return -1;
    return array_like(fn, targets, scores);
}

BINDING(column_ranking)
{
    static const char *fn = "column_ranking";
    array_arg scores = IN("scores", NPY_FLOAT32, 2), targets = IN("targets", NPY_UINT8, 2);
    array_arg weights = IN_OR_NONE("weights", NPY_FLOAT64, 1), out = OUT("out", NPY_FLOAT64, 2);
    mlc_error error;
    mlc_status status;
    (void)module;
    if (args_count(fn, nargs, 4) < 0 || ranking_get(fn, args, &scores, &targets) < 0 ||
        array_get(fn, &weights, args[2]) < 0 || array_get(fn, &out, args[3]) < 0)
        return NULL;
    npy_intp want[2] = {PyArray_DIM(scores.array, 1), MLC_COLUMN_VALUES};
    if (array_shape(fn, &weights, 1, PyArray_DIMS(scores.array)) < 0 ||
        array_shape(fn, &out, 2, want) < 0)
        return NULL;
    Py_BEGIN_ALLOW_THREADS
        status = mlc_column_ranking(array_data(&scores), array_data(&targets), array_data(&weights),
                                    array_dim(&scores, 0), array_dim(&scores, 1), array_data(&out),
                                    &error);
    Py_END_ALLOW_THREADS
    if (status) return raise_status(status, &error);
    Py_RETURN_NONE;
}

BINDING(column_curve)
{
    static const char *fn = "column_curve";
    array_arg scores = IN("scores", NPY_FLOAT32, 2), targets = IN("targets", NPY_UINT8, 2);
    array_arg weights = IN_OR_NONE("weights", NPY_FLOAT64, 1);
    array_arg length = OUT("length", NPY_INT64, 1), row = OUT("row", NPY_INT64, 2);
    array_arg positive = OUT("positive", NPY_FLOAT64, 2), all = OUT("all", NPY_FLOAT64, 2);
    mlc_error error;
    mlc_status status;
    (void)module;
    if (args_count(fn, nargs, 7) < 0 || ranking_get(fn, args, &scores, &targets) < 0 ||
        array_get(fn, &weights, args[2]) < 0 || array_get(fn, &length, args[3]) < 0 ||
        array_get(fn, &row, args[4]) < 0 || array_get(fn, &positive, args[5]) < 0 ||
        array_get(fn, &all, args[6]) < 0)
        return NULL;
    npy_intp want[2] = {PyArray_DIM(scores.array, 1), PyArray_DIM(scores.array, 0)};
    if (array_shape(fn, &weights, 1, want + 1) < 0 || array_shape(fn, &length, 1, want) < 0 ||
        array_shape(fn, &row, 2, want) < 0 || array_shape(fn, &positive, 2, want) < 0 ||
        array_shape(fn, &all, 2, want) < 0)
        return NULL;
    mlc_curve curve = {array_data(&length), array_data(&row), array_data(&positive),
                       array_data(&all)};
    Py_BEGIN_ALLOW_THREADS
        status = mlc_column_curve(array_data(&scores), array_data(&targets), array_data(&weights),
                                  array_dim(&scores, 0), array_dim(&scores, 1), &curve, &error);
    Py_END_ALLOW_THREADS
    if (status) return raise_status(status, &error);
    Py_RETURN_NONE;
}

BINDING(row_ranking)
{
    static const char *fn = "row_ranking";
    array_arg scores = IN("scores", NPY_FLOAT32, 2), targets = IN("targets", NPY_UINT8, 2);
    array_arg out = OUT("out", NPY_FLOAT64, 2);
    mlc_error error;
    mlc_status status;
    (void)module;
    if (args_count(fn, nargs, 3) < 0 || ranking_get(fn, args, &scores, &targets) < 0 ||
        array_get(fn, &out, args[2]) < 0)
        return NULL;
    npy_intp want[2] = {PyArray_DIM(scores.array, 0), MLC_ROW_VALUES};
    if (array_shape(fn, &out, 2, want) < 0) return NULL;
    Py_BEGIN_ALLOW_THREADS
        status = mlc_row_ranking(array_data(&scores), array_data(&targets), array_dim(&scores, 0),
                                 array_dim(&scores, 1), array_data(&out), &error);
    Py_END_ALLOW_THREADS
    if (status) return raise_status(status, &error);
    Py_RETURN_NONE;
}

BINDING(row_gains)
{
    static const char *fn = "row_gains";
    array_arg scores = IN("scores", NPY_FLOAT32, 2), targets = IN("targets", NPY_UINT8, 2);
    array_arg gains = IN("gains", NPY_FLOAT64, 1), out = OUT("out", NPY_FLOAT64, 1);
    mlc_error error;
    mlc_status status;
    (void)module;
    if (args_count(fn, nargs, 4) < 0 || ranking_get(fn, args, &scores, &targets) < 0 ||
        array_get(fn, &gains, args[2]) < 0 || array_get(fn, &out, args[3]) < 0)
        return NULL;
    npy_intp places[1] = {PyArray_DIM(scores.array, 1) + 1};
    if (array_shape(fn, &gains, 1, places) < 0 ||
        array_shape(fn, &out, 1, PyArray_DIMS(scores.array)) < 0)
        return NULL;
    Py_BEGIN_ALLOW_THREADS
        status =
            mlc_row_gains(array_data(&scores), array_data(&targets), array_data(&gains),
                          array_dim(&scores, 0), array_dim(&scores, 1), array_data(&out), &error);
    Py_END_ALLOW_THREADS
    if (status) return raise_status(status, &error);
    Py_RETURN_NONE;
}
