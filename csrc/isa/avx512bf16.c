/* Every kernel, compiled for avx512bf16. */
#if defined(__x86_64__)
#include <immintrin.h>
#include <math.h>
#include <string.h>

#include "../kernels/kernels.h"
#include "../simd/target.h"
MLC_TARGET_BEGIN("avx512f,avx512bf16,avx2,fma")
#include "../simd/avx512bf16.h"

#define MLC_TABLE mlc_kernels_avx512bf16
#define MLC_ISA "avx512bf16"
#include "all_kernels.h"
MLC_TARGET_END
#endif
