/* Counts of decisions, histograms of ranks. */
#include "../metrics/counts.h"
#include "bindings.h"

/* The shape (3, n) of counts that an axis of `model` has. */
static int counts_shape(const char *fn, const array_arg *out, const array_arg *model, int axis)
{
    npy_intp want[2] = {3, PyArray_DIM(model->array, axis)};
    return array_shape(fn, out, 2, want);
}

BINDING(label_counts)
{
    static const char *fn = "label_counts";
    array_arg targets = IN("targets", NPY_UINT8, 2), decided = IN("decided", NPY_UINT8, 2);
    array_arg out = OUT("out", NPY_INT64, 2);
    mlc_error error;
    mlc_status status;
    (void)module;
    if (args_count(fn, nargs, 3) < 0 || array_get(fn, &targets, args[0]) < 0 ||
        array_get(fn, &decided, args[1]) < 0 || array_get(fn, &out, args[2]) < 0 ||
        array_like(fn, &decided, &targets) < 0 || counts_shape(fn, &out, &targets, 1) < 0)
        return NULL;
    Py_BEGIN_ALLOW_THREADS
        status =
            mlc_label_counts(array_data(&targets), array_data(&decided), array_dim(&targets, 0),
                             array_dim(&targets, 1), array_data(&out), &error);
    Py_END_ALLOW_THREADS
    if (status) return raise_status(status, &error);
    Py_RETURN_NONE;
}

BINDING(row_counts)
{
    static const char *fn = "row_counts";
    array_arg targets = IN("targets", NPY_UINT8, 2), decided = IN("decided", NPY_UINT8, 2);
    array_arg out = OUT("out", NPY_INT64, 2);
    (void)module;
    if (args_count(fn, nargs, 3) < 0 || array_get(fn, &targets, args[0]) < 0 ||
        array_get(fn, &decided, args[1]) < 0 || array_get(fn, &out, args[2]) < 0 ||
        array_like(fn, &decided, &targets) < 0 || counts_shape(fn, &out, &targets, 0) < 0)
        return NULL;
    Py_BEGIN_ALLOW_THREADS
        mlc_row_counts(array_data(&targets), array_data(&decided), array_dim(&targets, 0),
                       array_dim(&targets, 1), array_data(&out));
    Py_END_ALLOW_THREADS
    Py_RETURN_NONE;
}

BINDING(label_weights)
{
    static const char *fn = "label_weights";
    array_arg targets = IN("targets", NPY_UINT8, 2), decided = IN("decided", NPY_UINT8, 2);
    array_arg weights = IN("weights", NPY_FLOAT64, 1), out = OUT("out", NPY_FLOAT64, 2);
    mlc_error error;
    mlc_status status;
    (void)module;
    if (args_count(fn, nargs, 4) < 0 || array_get(fn, &targets, args[0]) < 0 ||
        array_get(fn, &decided, args[1]) < 0 || array_get(fn, &weights, args[2]) < 0 ||
        array_get(fn, &out, args[3]) < 0 || array_like(fn, &decided, &targets) < 0 ||
        array_shape(fn, &weights, 1, PyArray_DIMS(targets.array)) < 0 ||
        counts_shape(fn, &out, &targets, 1) < 0)
        return NULL;
    Py_BEGIN_ALLOW_THREADS
        status = mlc_label_weights(array_data(&targets), array_data(&decided), array_data(&weights),
                                   array_dim(&targets, 0), array_dim(&targets, 1), array_data(&out),
                                   &error);
    Py_END_ALLOW_THREADS
    if (status) return raise_status(status, &error);
    Py_RETURN_NONE;
}

enum { MAX_BITS = 24 };

/* How many bits tell apart so many bins, or 0 with an exception set. */
static size_t bits_of(const char *fn, const array_arg *histogram)
{
    for (size_t bits = 1; bits <= MAX_BITS; bits++)
        if (array_dim(histogram, 1) == (size_t)1 << bits) return bits;
    PyErr_Format(PyExc_ValueError, "%s: `histogram` must have 2, 4, 8... or 2**%d bins, got %zd",
                 fn, MAX_BITS, (Py_ssize_t)array_dim(histogram, 1));
    return 0;
}

BINDING(rank_histogram)
{
    static const char *fn = "rank_histogram";
    array_arg scores = IN("scores", NPY_FLOAT32, 2), targets = IN("targets", NPY_UINT8, 2);
    array_arg histogram = OUT("histogram", NPY_INT64, 3);
    (void)module;
    if (args_count(fn, nargs, 3) < 0 || array_get(fn, &scores, args[0]) < 0 ||
        array_get(fn, &targets, args[1]) < 0 || array_get(fn, &histogram, args[2]) < 0 ||
        array_like(fn, &targets, &scores) < 0)
        return NULL;
    npy_intp want[3] = {PyArray_DIM(scores.array, 1), PyArray_DIM(histogram.array, 1), 2};
    size_t bits;
    if (array_shape(fn, &histogram, 3, want) < 0 || !(bits = bits_of(fn, &histogram))) return NULL;
    Py_BEGIN_ALLOW_THREADS
        mlc_rank_histogram(array_data(&scores), array_data(&targets), array_dim(&scores, 0),
                           array_dim(&scores, 1), bits, array_data(&histogram));
    Py_END_ALLOW_THREADS
    Py_RETURN_NONE;
}

/* Most of a count: the ranking takes a step for each positive of a bin. */
#define MAX_COUNT ((int64_t)UINT32_MAX)

static int check_counts(const char *fn, const array_arg *histogram)
{
    const int64_t *counts = array_data(histogram);
    for (npy_intp i = 0; i < PyArray_SIZE(histogram->array); i++) {
        if (counts[i] >= 0 && counts[i] <= MAX_COUNT) continue;
        PyErr_Format(PyExc_ValueError, "%s: `histogram` must hold counts in [0, %lld], got %lld",
                     fn, (long long)MAX_COUNT, (long long)counts[i]);
        return -1;
    }
    return 0;
}

BINDING(histogram_ranking)
{
    static const char *fn = "histogram_ranking";
    array_arg histogram = IN("histogram", NPY_INT64, 3), out = OUT("out", NPY_FLOAT64, 2);
    (void)module;
    if (args_count(fn, nargs, 2) < 0 || array_get(fn, &histogram, args[0]) < 0 ||
        array_get(fn, &out, args[1]) < 0)
        return NULL;
    npy_intp pairs[3] = {PyArray_DIM(histogram.array, 0), PyArray_DIM(histogram.array, 1), 2};
    npy_intp want[2] = {pairs[0], MLC_RANKING_VALUES};
    if (array_shape(fn, &histogram, 3, pairs) < 0 || array_shape(fn, &out, 2, want) < 0 ||
        check_counts(fn, &histogram) < 0)
        return NULL;
    Py_BEGIN_ALLOW_THREADS
        mlc_histogram_ranking(array_data(&histogram), array_dim(&histogram, 0),
                              array_dim(&histogram, 1), array_data(&out));
    Py_END_ALLOW_THREADS
    Py_RETURN_NONE;
}
