/* Row operations for AVX-512: 16 sums, 4 columns and 1 factor in 32 registers; 4 rows divide the 16
 * query heads of a group. */
#include "kernels/x86/v16_avx512.h"

#define OPS_TABLE sluice_ops_avx512
#define OPS_NAME "avx512"
#define GEMM_ROWS 4
#define GEMM_BLOCKS 4

#include "kernels/ops_body.h"
