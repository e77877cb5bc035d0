/* The module mlclassify._core, whose surface is bindings.def and, of Net, bind_net.c. Python owns
 * every array but a net's parameters; C borrows them for the length of one call. */
#define MLC_IMPORTS_NUMPY
#include "bindings.h"

#include <stdlib.h>

#include "../base/threads.h"
#include "../isa/select.h"

static PyMethodDef functions[] = {
#define FUNCTION(name, doc)                                                                        \
    {#name, (PyCFunction)(void (*)(void))py_##name, METH_FASTCALL, PyDoc_STR(doc)},
#include "bindings.def"
#undef FUNCTION
    {NULL, NULL, 0, NULL},
};

static int module_exec(PyObject *module)
{
    mlc_error error;
    if (PyArray_ImportNumPyAPI() < 0) return -1;
    const char *named = getenv("MLCLASSIFY_ISA");
    mlc_status status = mlc_isa_choose(named && *named ? named : NULL, &error);
    if (!status) status = mlc_threads_from_environment(&error);
    if (status) {
        raise_status(status, &error);
        return -1;
    }
    return bind_net(module);
}

static PyModuleDef_Slot slots[] = {
    {Py_mod_exec, module_exec},
#if PY_VERSION_HEX >= 0x030C0000
    {Py_mod_multiple_interpreters, Py_MOD_MULTIPLE_INTERPRETERS_NOT_SUPPORTED},
#endif
#if PY_VERSION_HEX >= 0x030D0000
    {Py_mod_gil, Py_MOD_GIL_NOT_USED},
#endif
    {0, NULL},
};

static PyModuleDef definition = {
    PyModuleDef_HEAD_INIT,
    .m_name = "mlclassify._core",
    .m_doc = PyDoc_STR("C kernels, metrics and the CNN engine of mlclassify."),
    .m_methods = functions,
    .m_slots = slots,
};

PyMODINIT_FUNC PyInit__core(void) { return PyModuleDef_Init(&definition); }
