/* Row operations for plain C. */
#include "kernels/v16_scalar.h"

#define OPS_TABLE sluice_ops_scalar
#define OPS_NAME "scalar"
#define GEMM_ROWS 2
#define GEMM_BLOCKS 1

#include "kernels/ops_body.h"
