/* linear_f32 in AVX-512: 24 of 32 registers are accumulators, activations come by broadcast loads.
 */
#include "kernels/x86/v16_avx512.h"

#define PART_LANES 16
#define TILE_TOKENS 6
#define FEW_SUMS 24
typedef v16f part;
#define part_load v16_load
#define part_store v16_store
#define part_fma v16_fma
#define part_set1 v16_set1
#define LINEAR_F32_INIT sluice_linear_f32_init_avx512

#include "kernels/linear_f32_body.h"
