/* Row operations for NEON: 24 sums, 4 columns and 1 factor in 32 registers. */
#include "kernels/arm/v16_neon.h"

#define OPS_TABLE sluice_ops_neon
#define OPS_NAME "neon"
#define GEMM_ROWS 6
#define GEMM_BLOCKS 1

#include "kernels/ops_body.h"
