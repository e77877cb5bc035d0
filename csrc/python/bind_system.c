/* The machine: instruction sets, threads, random numbers. */
#include "../base/cpus.h"
#include "../base/rng.h"
#include "../base/threads.h"
#include "../isa/select.h"
#include "bindings.h"

BINDING(random_uniform)
{
    static const char *fn = "random_uniform";
    array_arg out = OUT("out", NPY_FLOAT64, 1);
    uint64_t seed, epoch, position, operation;
    (void)module;
    if (args_count(fn, nargs, 5) < 0 || uint_get(fn, "seed", args[0], UINT64_MAX, &seed) < 0 ||
        uint_get(fn, "epoch", args[1], UINT32_MAX, &epoch) < 0 ||
        uint_get(fn, "position", args[2], UINT32_MAX, &position) < 0 ||
        uint_get(fn, "operation", args[3], UINT32_MAX, &operation) < 0 ||
        array_get(fn, &out, args[4]) < 0)
        return NULL;
    mlc_key key = {seed, (uint32_t)epoch, (uint32_t)position, (uint32_t)operation};
    double *to = array_data(&out);
    size_t n = array_dim(&out, 0);
    for (size_t i = 0; i < n; i += 2) {
        mlc_words words = mlc_rng_words(key, (uint32_t)(i / 2));
        to[i] = mlc_rng_double(words.word[0], words.word[1]);
        if (i + 1 < n) to[i + 1] = mlc_rng_double(words.word[2], words.word[3]);
    }
    Py_RETURN_NONE;
}

BINDING(isas)
{
    (void)module, (void)args;
    if (args_count("isas", nargs, 0) < 0) return NULL;
    PyObject *names = PyList_New(0);
    for (const mlc_kernels *const *t = mlc_isa_tables(); names && *t; t++) {
        PyObject *name = PyUnicode_FromString((*t)->isa);
        if (!name || PyList_Append(names, name) < 0) Py_CLEAR(names);
        Py_XDECREF(name);
    }
    return names;
}

BINDING(isa)
{
    (void)module, (void)args;
    if (args_count("isa", nargs, 0) < 0) return NULL;
    return PyUnicode_FromString(mlc_kernel->isa);
}

static int add_number(PyObject *dict, const char *name, size_t value)
{
    PyObject *number = PyLong_FromSize_t(value);
    int status = number ? PyDict_SetItemString(dict, name, number) : -1;
    Py_XDECREF(number);
    return status;
}

/* Addresses of one instruction set's kernels and the sizes of its register tile, for tests and
 * benchmarks that call kernels one by one. */
static PyObject *table_dict(const mlc_kernels *table)
{
    PyObject *dict = PyDict_New();
    if (!dict) return NULL;
    int status = 0;
#define KERNEL(name, parameters) status |= add_number(dict, #name, (size_t)(uintptr_t)table->name);
#include "../kernels/kernels.def"
#undef KERNEL
    status |= add_number(dict, "lanes", table->lanes);
    status |= add_number(dict, "tile_rows", table->tile_rows);
    status |= add_number(dict, "tile_columns", table->tile_columns);
    if (status) Py_CLEAR(dict);
    return dict;
}

BINDING(kernels)
{
    (void)module;
    if (args_count("kernels", nargs, 1) < 0) return NULL;
    if (PyUnicode_Check(args[0]))
        for (const mlc_kernels *const *t = mlc_isa_tables(); *t; t++)
            if (PyUnicode_CompareWithASCIIString(args[0], (*t)->isa) == 0) return table_dict(*t);
    return PyErr_Format(PyExc_ValueError, "kernels: `isa` must be one of isas(), got %R", args[0]);
}

BINDING(get_num_threads)
{
    (void)module, (void)args;
    if (args_count("get_num_threads", nargs, 0) < 0) return NULL;
    return PyLong_FromLong(mlc_threads_get());
}

BINDING(set_num_threads)
{
    uint64_t threads;
    (void)module;
    if (args_count("set_num_threads", nargs, 1) < 0 ||
        uint_get("set_num_threads", "threads", args[0], 256, &threads) < 0)
        return NULL;
    if (threads < 1)
        return PyErr_Format(PyExc_ValueError,
                            "set_num_threads: `threads` must be at least 1, got 0");
    mlc_threads_set((int)threads);
    Py_RETURN_NONE;
}

BINDING(cpus)
{
    PyObject *root = NULL;
    (void)module;
    if (args_count("cpus", nargs, 1) < 0) return NULL;
    if (!PyUnicode_FSConverter(args[0], &root)) {
        PyErr_Clear();
        return PyErr_Format(PyExc_TypeError, "cpus: `root` must be a path, got %R", args[0]);
    }
    double quota = mlc_cpus_quota(PyBytes_AS_STRING(root));
    Py_DECREF(root);
    return Py_BuildValue("id", mlc_cpus_affinity(), quota);
}
