/* linear_f32 in NEON: a tile is 4 of the 16 rows, 24 of 32 registers are accumulators. */
#include "kernels/arm/v16_neon.h"

#define PART_LANES 4
#define TILE_TOKENS 6
typedef float32x4_t part;
#define part_load vld1q_f32
#define part_store vst1q_f32
#define part_fma(a, b, c) vfmaq_f32(c, a, b)
#define part_set1 vdupq_n_f32
#define LINEAR_F32_INIT sluice_linear_f32_init_neon

#include "kernels/linear_f32_body.h"
