/* Attention over int8 with vpdpbusd on 256 bits. */
#include "kernels/x86/part_avx2.h"

#include "kernels/linear_lines.h"

#include "kernels/x86/bytes_avx2.h"

#define begin_keys(sum) _mm256_set1_epi32(-128 * (sum))
#define SUMS_OF_VALUES 0
#define begin_values(sum) _mm256_setzero_si256()
#define dot_keys(s, w, x) _mm256_dpbusd_avx_epi32(s, w, quad_set1((const void *)(x)))
#define dot_values(s, w, x) _mm256_dpbusd_avx_epi32(s, quad_set1((const void *)(x)), w)

#define TILE_ROWS 4
#define TILE_LINES 2
#define ATTENTION_Q8_INIT sluice_attention_q8_init_avxvnni
#include "kernels/attention_q8_body.h"
