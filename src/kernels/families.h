/* The functions that enter one instruction set's kernels into the table; kernels.c calls those that
 * the flags ask for. Private to this room. */
#ifndef SLUICE_KERNELS_FAMILIES_H
#define SLUICE_KERNELS_FAMILIES_H

#include "kernels/kernels.h"

void sluice_linear_f32_init_scalar(sluice_kernels *table);
void sluice_linear_f32_init_avx2(sluice_kernels *table);
void sluice_linear_f32_init_avx512(sluice_kernels *table);
void sluice_linear_f32_init_neon(sluice_kernels *table);

void sluice_quantize_q8_init_scalar(sluice_kernels *table);
void sluice_quantize_q8_init_avx2(sluice_kernels *table);
void sluice_quantize_q8_init_avx512(sluice_kernels *table);
void sluice_quantize_q8_init_neon(sluice_kernels *table);

void sluice_linear_q8_init_scalar(sluice_kernels *table);
void sluice_linear_q8_init_avx2(sluice_kernels *table);
void sluice_linear_q8_init_avxvnni(sluice_kernels *table);
void sluice_linear_q8_init_avx512vnni(sluice_kernels *table);
void sluice_linear_q8_init_amx(sluice_kernels *table);
void sluice_linear_q8_init_neon(sluice_kernels *table);
void sluice_linear_q8_init_dotprod(sluice_kernels *table);
void sluice_linear_q8_init_i8mm(sluice_kernels *table);

void sluice_attention_q8_init_scalar(sluice_kernels *table);
void sluice_attention_q8_init_avx2(sluice_kernels *table);
void sluice_attention_q8_init_avxvnni(sluice_kernels *table);
void sluice_attention_q8_init_avx512vnni(sluice_kernels *table);
void sluice_attention_q8_init_neon(sluice_kernels *table);
void sluice_attention_q8_init_dotprod(sluice_kernels *table);
void sluice_attention_q8_init_i8mm(sluice_kernels *table);

/* The kernels themselves, for one that leaves small cases to another. */
#define SLUICE_LINEAR_Q8(isa)                                                                      \
    void sluice_linear_q8_##isa(const sluice_weight *w, int32_t panel_begin, int32_t panel_end,    \
                                const sluice_q8 *q, int32_t row_begin, int32_t n, float *y,        \
                                int64_t ldy)
SLUICE_LINEAR_Q8(scalar);
SLUICE_LINEAR_Q8(avx2);
SLUICE_LINEAR_Q8(avxvnni);
SLUICE_LINEAR_Q8(avx512vnni);
SLUICE_LINEAR_Q8(amx);
SLUICE_LINEAR_Q8(neon);
SLUICE_LINEAR_Q8(dotprod);
SLUICE_LINEAR_Q8(i8mm);

#endif
