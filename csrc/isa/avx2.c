/* Every kernel, compiled for avx2. */
#if defined(__x86_64__)
#include <immintrin.h>
#include <math.h>
#include <string.h>

#include "../kernels/kernels.h"
#include "../simd/target.h"
MLC_TARGET_BEGIN("avx2,fma")
#include "../simd/avx2.h"

#define MLC_TABLE mlc_kernels_avx2
#define MLC_ISA "avx2"
#include "all_kernels.h"
MLC_TARGET_END
#endif
