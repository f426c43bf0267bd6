/* linear_f32 in plain C. */
#include "kernels/v16_scalar.h"

#define LINEAR_UNROLL
#define PART_LANES 16
#define TILE_TOKENS 1
typedef v16f part;
#define part_load v16_load
#define part_store v16_store
#define part_fma v16_fma
#define part_set1 v16_set1
#define LINEAR_F32_INIT sluice_linear_f32_init_scalar

#include "kernels/linear_f32_body.h"
