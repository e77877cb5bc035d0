#include "args.h"

#include "../base/threads.h"

int args_count(const char *function, Py_ssize_t got, Py_ssize_t want)
{
    if (got == want) return 0;
    PyErr_Format(PyExc_TypeError, "%s: takes %zd arguments, got %zd", function, want, got);
    return -1;
}

static PyObject *type_of(const array_arg *arg)
{
    return (PyObject *)PyArray_DescrFromType(arg->type);
}

/* "`x` must RULE, got VALUE" with a Python object as the value. */
static int refuse(PyObject *exception, const char *function, const char *name, const char *rule,
                  PyObject *got)
{
    if (got) PyErr_Format(exception, "%s: `%s` must %s, got %S", function, name, rule, got);
    Py_XDECREF(got);
    return -1;
}

int array_kind(const char *function, const array_arg *arg, PyObject *object)
{
    if (!PyArray_Check(object))
        return refuse(PyExc_TypeError, function, arg->name, "be a NumPy array",
                      PyObject_GetAttrString((PyObject *)Py_TYPE(object), "__name__"));
    PyArrayObject *array = (PyArrayObject *)object;
    if (PyArray_TYPE(array) != arg->type || !PyArray_ISNOTSWAPPED(array)) {
        PyObject *want = type_of(arg);
        if (want)
            PyErr_Format(PyExc_TypeError, "%s: `%s` must be %S, got %S", function, arg->name, want,
                         (PyObject *)PyArray_DESCR(array));
        Py_XDECREF(want);
        return -1;
    }
    if (arg->ndim != ANY_NDIM && PyArray_NDIM(array) != arg->ndim) {
        PyErr_Format(PyExc_ValueError, "%s: `%s` must have %d dimensions, got %d", function,
                     arg->name, arg->ndim, PyArray_NDIM(array));
        return -1;
    }
    return 0;
}

int array_get(const char *function, array_arg *arg, PyObject *object)
{
    arg->array = NULL;
    if (object == Py_None && arg->optional) return 0;
    if (array_kind(function, arg, object) < 0) return -1;
    PyArrayObject *array = (PyArrayObject *)object;
    if (!PyArray_IS_C_CONTIGUOUS(array) || !PyArray_ISALIGNED(array)) {
        PyErr_Format(PyExc_ValueError, "%s: `%s` must be C-contiguous, got a strided view",
                     function, arg->name);
        return -1;
    }
    if (arg->writable && !PyArray_ISWRITEABLE(array)) {
        PyErr_Format(PyExc_ValueError, "%s: `%s` must be writable, got a read-only array", function,
                     arg->name);
        return -1;
    }
    arg->array = array;
    return 0;
}

static PyObject *shape_tuple(int ndim, const npy_intp *shape)
{
    PyObject *tuple = PyTuple_New(ndim);
    for (int i = 0; tuple && i < ndim; i++) {
        PyObject *size = PyLong_FromSsize_t(shape[i]);
        if (!size || PyTuple_SetItem(tuple, i, size) < 0) Py_CLEAR(tuple);
    }
    return tuple;
}

static int refuse_shape(const char *function, const array_arg *arg, int ndim, const npy_intp *want,
                        const char *like)
{
    PyObject *wanted = shape_tuple(ndim, want);
    PyObject *got = shape_tuple(PyArray_NDIM(arg->array), PyArray_DIMS(arg->array));
    if (wanted && got && like)
        PyErr_Format(PyExc_ValueError, "%s: `%s` must have shape %S like `%s`, got %S", function,
                     arg->name, wanted, like, got);
    else if (wanted && got)
        PyErr_Format(PyExc_ValueError, "%s: `%s` must have shape %S, got %S", function, arg->name,
                     wanted, got);
    Py_XDECREF(wanted);
    Py_XDECREF(got);
    return -1;
}

int array_shape(const char *function, const array_arg *arg, int ndim, const npy_intp *want)
{
    if (!arg->array) return 0;
    if (PyArray_NDIM(arg->array) == ndim &&
        PyArray_CompareLists(PyArray_DIMS(arg->array), want, ndim))
        return 0;
    return refuse_shape(function, arg, ndim, want, NULL);
}

int array_like(const char *function, const array_arg *arg, const array_arg *model)
{
    int ndim = PyArray_NDIM(model->array);
    const npy_intp *want = PyArray_DIMS(model->array);
    if (!arg->array) return 0;
    if (PyArray_NDIM(arg->array) == ndim &&
        PyArray_CompareLists(PyArray_DIMS(arg->array), want, ndim))
        return 0;
    return refuse_shape(function, arg, ndim, want, model->name);
}

int double_get(const char *function, const char *name, PyObject *object, double *value)
{
    *value = PyFloat_AsDouble(object);
    if (*value != -1.0 || !PyErr_Occurred()) return 0;
    PyErr_Clear();
    return refuse(PyExc_TypeError, function, name, "be a number", PyObject_Repr(object));
}

int uint_get(const char *function, const char *name, PyObject *object, uint64_t max,
             uint64_t *value)
{
    PyObject *index = PyNumber_Index(object);
    if (!index) {
        PyErr_Clear();
        return refuse(PyExc_TypeError, function, name, "be an integer", PyObject_Repr(object));
    }
    unsigned long long got = PyLong_AsUnsignedLongLong(index);
    Py_DECREF(index);
    bool failed = PyErr_Occurred() != NULL;
    PyErr_Clear();
    if (failed || got > max) {
        char rule[64];
        snprintf(rule, sizeof rule, "lie in [0, %llu]", (unsigned long long)max);
        return refuse(PyExc_ValueError, function, name, rule, PyObject_Repr(object));
    }
    *value = got;
    return 0;
}

PyObject *tuple_get(const char *function, const char *name, const char *of, PyObject *object)
{
    PyObject *tuple = PyUnicode_Check(object) ? NULL : PySequence_Tuple(object);
    if (tuple || (PyErr_Occurred() && !PyErr_ExceptionMatches(PyExc_TypeError))) return tuple;
    PyErr_Clear();
    PyErr_Format(PyExc_TypeError, "%s: `%s` must be a sequence of %s, got %R", function, name, of,
                 object);
    return NULL;
}

PyObject *raise_status(mlc_status status, const mlc_error *error)
{
    PyObject *exception = status == MLC_VALUE    ? PyExc_ValueError
                          : status == MLC_KEY    ? PyExc_KeyError
                          : status == MLC_MEMORY ? PyExc_MemoryError
                                                 : PyExc_RuntimeError;
    if (!PyErr_Occurred()) PyErr_SetString(exception, error->text);
    return NULL;
}

void gil_enter(gil_break *gap) { PyEval_RestoreThread(gap->thread); }
void gil_leave(gil_break *gap) { gap->thread = PyEval_SaveThread(); }

/* Python acts on signals in its main thread only; elsewhere this finds nothing to do. */
static bool signal_came(void *context)
{
    gil_break *gap = context;
    gil_enter(gap);
    bool came = PyErr_CheckSignals() < 0;
    gil_leave(gap);
    return came;
}

void gil_release(gil_break *gap)
{
    gap->thread = PyEval_SaveThread();
    mlc_poll_set(signal_came, gap);
}

void gil_acquire(gil_break *gap)
{
    mlc_poll_set(NULL, NULL);
    PyEval_RestoreThread(gap->thread);
}
