/* What each bind_*.c adds to the module. */
#ifndef MLC_BINDINGS_H
#define MLC_BINDINGS_H

#include "args.h"

#define BINDING(name) PyObject *py_##name(PyObject *module, PyObject *const *args, Py_ssize_t nargs)

#define FUNCTION(name, doc) BINDING(name);
#include "bindings.def"
#undef FUNCTION

/* bind_net.c: add the type Net */
int bind_net(PyObject *module);

#endif
