/* Every kernel in plain C: what runs where nothing better does. */
#include <math.h>
#include <string.h>

#include "../kernels/kernels.h"
#include "../simd/scalar.h"

#define MLC_TABLE mlc_kernels_scalar
#define MLC_ISA "scalar"
#include "all_kernels.h"
