/* Row operations for AVX2 and FMA: 12 sums, 2 columns and 1 factor in 16 registers. */
#include "kernels/x86/v16_avx2.h"

#define OPS_TABLE sluice_ops_avx2
#define OPS_NAME "avx2"
#define GEMM_ROWS 6
#define GEMM_BLOCKS 1

#include "kernels/ops_body.h"
