#include "select.h"

#include <stdio.h>
#include <string.h>

#define ISA(name, here) extern const mlc_kernels mlc_kernels_##name;
#include "isas.def"
#undef ISA

enum {
#define ISA(name, here) AT_##name,
#include "isas.def"
#undef ISA
    ISA_COUNT
};

const mlc_kernels *mlc_kernel = &mlc_kernels_scalar;

#if defined(__x86_64__)
static bool has_avx2(void)
{
    __builtin_cpu_init();
    return __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma");
}

static bool has_avx512(void) { return has_avx2() && __builtin_cpu_supports("avx512f"); }
#endif

const mlc_kernels *const *mlc_isa_tables(void)
{
    static const mlc_kernels *tables[ISA_COUNT + 1];
    size_t n = 0;
#define ISA(name, here)                                                                            \
    if (here) tables[n++] = &mlc_kernels_##name;
#include "isas.def"
#undef ISA
    tables[n] = NULL;
    return tables;
}

static void append(char *list, size_t size, const char *name)
{
    size_t used = strlen(list);
    snprintf(list + used, size - used, "%s%s", used ? ", " : "", name);
}

mlc_status mlc_isa_choose(const char *name, mlc_error *error)
{
    char known[128] = "";
    for (const mlc_kernels *const *t = mlc_isa_tables(); *t; t++) {
        mlc_kernel = *t;
        if (name && strcmp(name, (*t)->isa) == 0) return MLC_OK;
        append(known, sizeof known, (*t)->isa);
    }
    if (!name) return MLC_OK;
    return mlc_fail(error, MLC_VALUE, "MLCLASSIFY_ISA must be one of %s on this machine, got '%s'",
                    known, name);
}
