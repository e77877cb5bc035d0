/* Every kernel, compiled for neon, which every aarch64 has: no target to name. */
#if defined(__aarch64__)
#include <arm_neon.h>
#include <math.h>
#include <string.h>

#include "../kernels/kernels.h"
#include "../simd/neon.h"

#define MLC_TABLE mlc_kernels_neon
#define MLC_ISA "neon"
#include "all_kernels.h"
#endif
