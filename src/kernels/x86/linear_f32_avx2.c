/* linear_f32 in AVX2: a tile is 8 of the 16 rows, 12 of 16 registers are accumulators. */
#include "kernels/x86/v16_avx2.h"

#define PART_LANES 8
#define TILE_TOKENS 3
typedef __m256 part;
#define part_load _mm256_loadu_ps
#define part_store _mm256_storeu_ps
#define part_fma _mm256_fmadd_ps
#define part_set1 _mm256_set1_ps
#define LINEAR_F32_INIT sluice_linear_f32_init_avx2

#include "kernels/linear_f32_body.h"
