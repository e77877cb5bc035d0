#include "select.h"

#include <string.h>

extern const mlc_kernels mlc_kernels_scalar;
#if defined(__x86_64__)
extern const mlc_kernels mlc_kernels_avx2, mlc_kernels_avx512;
#elif defined(__aarch64__)
extern const mlc_kernels mlc_kernels_neon;
#endif

const mlc_kernels *mlc_kernel = &mlc_kernels_scalar;

const mlc_kernels *const *mlc_isa_tables(void)
{
    static const mlc_kernels *tables[4];
    size_t n = 0;
    tables[n++] = &mlc_kernels_scalar;
#if defined(__x86_64__)
    __builtin_cpu_init();
    bool avx2 = __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma");
    if (avx2) tables[n++] = &mlc_kernels_avx2;
    if (avx2 && __builtin_cpu_supports("avx512f")) tables[n++] = &mlc_kernels_avx512;
#elif defined(__aarch64__)
    tables[n++] = &mlc_kernels_neon;
#endif
    tables[n] = NULL;
    return tables;
}

mlc_status mlc_isa_choose(const char *name, mlc_error *error)
{
    char known[64] = "";
    for (const mlc_kernels *const *t = mlc_isa_tables(); *t; t++) {
        mlc_kernel = *t;
        if (name && strcmp(name, (*t)->isa) == 0) return MLC_OK;
        strcat(strcat(known, *known ? ", " : ""), (*t)->isa);
    }
    if (!name) return MLC_OK;
    return mlc_fail(error, MLC_VALUE, "MLCLASSIFY_ISA must be one of %s on this machine, got '%s'",
                    known, name);
}
