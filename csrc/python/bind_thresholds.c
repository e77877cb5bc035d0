/* What thresholds do, and the search for good ones. */
#include "../metrics/thresholds.h"
#include "bindings.h"

BINDING(threshold_counts)
{
    static const char *fn = "threshold_counts";
    array_arg scores = IN("scores", NPY_FLOAT32, 2), targets = IN("targets", NPY_UINT8, 2);
    array_arg thresholds = IN("thresholds", NPY_FLOAT32, 1);
    array_arg counts = OUT("counts", NPY_INT64, 3), exact = OUT("exact", NPY_INT64, 1);
    mlc_error error;
    (void)module;
    if (args_count(fn, nargs, 5) < 0 || array_get(fn, &scores, args[0]) < 0 ||
        array_get(fn, &targets, args[1]) < 0 || array_get(fn, &thresholds, args[2]) < 0 ||
        array_get(fn, &counts, args[3]) < 0 || array_get(fn, &exact, args[4]) < 0 ||
        array_like(fn, &targets, &scores) < 0)
        return NULL;
    npy_intp want[3] = {PyArray_DIM(scores.array, 1), PyArray_DIM(thresholds.array, 0) + 1, 2};
    if (array_shape(fn, &counts, 3, want) < 0 || array_shape(fn, &exact, 1, want + 1) < 0)
        return NULL;
    mlc_status status;
    Py_BEGIN_ALLOW_THREADS
        status = mlc_threshold_counts(array_data(&scores), array_data(&targets),
                                      array_dim(&scores, 0), array_dim(&scores, 1),
                                      array_data(&thresholds), array_dim(&thresholds, 0),
                                      array_data(&counts), array_data(&exact), &error);
    Py_END_ALLOW_THREADS
    if (status) return raise_status(status, &error);
    Py_RETURN_NONE;
}

BINDING(threshold_search)
{
    static const char *fn = "threshold_search";
    array_arg scores = IN("scores", NPY_FLOAT32, 2), targets = IN("targets", NPY_UINT8, 2);
    array_arg start = IN("start", NPY_FLOAT32, 1), edges = OUT("edges", NPY_FLOAT32, 2);
    array_arg counts = OUT("counts", NPY_INT64, 2);
    uint64_t smooth;
    mlc_error error;
    (void)module;
    if (args_count(fn, nargs, 6) < 0 || array_get(fn, &scores, args[0]) < 0 ||
        array_get(fn, &targets, args[1]) < 0 || array_get(fn, &start, args[2]) < 0 ||
        uint_get(fn, "smooth", args[3], 1, &smooth) < 0 || array_get(fn, &edges, args[4]) < 0 ||
        array_get(fn, &counts, args[5]) < 0 || array_like(fn, &targets, &scores) < 0)
        return NULL;
    npy_intp labels = PyArray_DIM(scores.array, 1);
    npy_intp pairs[2] = {labels, 2}, counted[2] = {labels, MLC_CUT_COUNTS};
    if (array_shape(fn, &start, 1, &labels) < 0 || array_shape(fn, &edges, 2, pairs) < 0 ||
        array_shape(fn, &counts, 2, counted) < 0)
        return NULL;
    mlc_status status;
    Py_BEGIN_ALLOW_THREADS
        status = mlc_threshold_search(
            array_data(&scores), array_data(&targets), array_dim(&scores, 0), array_dim(&scores, 1),
            array_data(&start), (unsigned)smooth, array_data(&edges), array_data(&counts), &error);
    Py_END_ALLOW_THREADS
    if (status) return raise_status(status, &error);
    Py_RETURN_NONE;
}
