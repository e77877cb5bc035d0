/* Arguments from Python: parse, check, and say what is wrong in one grammar,
 *     function: `argument` must RULE, got VALUE
 * Arrays are borrowed for one call and refused rather than converted. */
#ifndef MLC_ARGS_H
#define MLC_ARGS_H

#define PY_SSIZE_T_CLEAN
#include <Python.h>

#define NPY_NO_DEPRECATED_API NPY_2_0_API_VERSION
#define NPY_TARGET_VERSION NPY_2_0_API_VERSION
#define PY_ARRAY_UNIQUE_SYMBOL mlclassify_numpy
#ifndef MLC_IMPORTS_NUMPY
#define NO_IMPORT_ARRAY
#endif
#include <numpy/arrayobject.h>

#include <stdbool.h>
#include <stddef.h>

#include "../base/status.h"

enum { ANY_NDIM = -1 };

typedef struct {
    const char *name;
    int type, ndim;
    bool writable, optional;
    PyArrayObject *array; /* borrowed; NULL for None where that is allowed */
} array_arg;

/* clang-format off */
#define IN(name, type, ndim) {name, type, ndim, false, false, NULL}
#define IN_OR_NONE(name, type, ndim) {name, type, ndim, false, true, NULL}
#define OUT(name, type, ndim) {name, type, ndim, true, false, NULL}
#define OUT_OR_NONE(name, type, ndim) {name, type, ndim, true, true, NULL}
/* clang-format on */

/* Each returns -1 with an exception set, 0 when all is well. */
int args_count(const char *function, Py_ssize_t got, Py_ssize_t want);
int array_get(const char *function, array_arg *arg, PyObject *object);
/* The part of array_get that looks at type, dtype and number of dimensions only. */
int array_kind(const char *function, const array_arg *arg, PyObject *object);
int array_like(const char *function, const array_arg *arg, const array_arg *model);
int array_shape(const char *function, const array_arg *arg, int ndim, const npy_intp *want);
int double_get(const char *function, const char *name, PyObject *object, double *value);
int uint_get(const char *function, const char *name, PyObject *object, uint64_t max,
             uint64_t *value);

static inline void *array_data(const array_arg *arg)
{
    return arg->array ? PyArray_DATA(arg->array) : NULL;
}
static inline size_t array_dim(const array_arg *arg, int axis)
{
    return (size_t)PyArray_DIM(arg->array, axis);
}

/* A new tuple of what `object` holds (a string is refused), or NULL with an exception set. */
PyObject *tuple_get(const char *function, const char *name, const char *of, PyObject *object);

/* Turn a status into an exception: NULL always, so that callers can `return raise_status(...)`. An
 * exception that the poll function left is kept. */
PyObject *raise_status(mlc_status status, const mlc_error *error);

/* Around the one C call of a binding: the GIL is released, and Ctrl-C is looked for every 50 ms. */
typedef struct {
    PyThreadState *thread;
} gil_break;
void gil_release(gil_break *gap);
void gil_acquire(gil_break *gap);
/* Inside that call: take the GIL for a while, and give it back. */
void gil_enter(gil_break *gap);
void gil_leave(gil_break *gap);

#endif
