/* Every kernel, compiled for avx512. */
#if defined(__x86_64__)
#include <immintrin.h>
#include <math.h>
#include <string.h>

#include "../kernels/kernels.h"
#include "../simd/target.h"
MLC_TARGET_BEGIN("avx512f,avx2,fma")
#include "../simd/avx512.h"

#define MLC_TABLE mlc_kernels_avx512
#define MLC_ISA "avx512"
#include "all_kernels.h"
MLC_TARGET_END
#endif
