/* Which kernels run: chosen once, when the module is imported. */
#ifndef MLC_SELECT_H
#define MLC_SELECT_H

#include "../base/status.h"
#include "../kernels/kernels.h"

/* Every table that this machine can run, slowest first, NULL at the end. The first is the scalar
 * one. */
const mlc_kernels *const *mlc_isa_tables(void);

/* The table in use: the last of mlc_isa_tables, or the one that `name` asks for. */
mlc_status mlc_isa_choose(const char *name, mlc_error *error);
extern const mlc_kernels *mlc_kernel;

#endif
