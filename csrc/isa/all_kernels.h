/* Every kernel family and their table, for the instruction set of the file that includes this one
 * after its simd header; MLC_TABLE names the table, MLC_ISA the instruction set. */
#include "../simd/math.h"

#include "../kernels/pointwise.c"
#include "../kernels/gelu.c"
#include "../kernels/activations.c"
#include "../kernels/bf16.c"
#include "../kernels/losses.c"
#include "../kernels/counts.c"
#include "../kernels/sort.c"
#include "../kernels/gemm.c"
#include "../kernels/depthwise.c"
#include "../kernels/winograd.c"
#include "../kernels/batchnorm.c"
#include "../kernels/layernorm.c"
#include "../kernels/layerscale.c"
#include "../kernels/pooling.c"
#include "../kernels/scale.c"
#include "../kernels/optim.c"
#include "../kernels/pixels.c"

const mlc_kernels MLC_TABLE = {
    .isa = MLC_ISA,
    .lanes = VN,
    .tile_rows = TILE_ROWS,
    .tile_columns = TILE_VECTORS * VN,
#define KERNEL(name, parameters) .name = name,
#include "../kernels/kernels.def"
#undef KERNEL
};
