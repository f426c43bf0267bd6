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
void sluice_linear_q8_init_neon(sluice_kernels *table);
void sluice_linear_q8_init_dotprod(sluice_kernels *table);
void sluice_linear_q8_init_i8mm(sluice_kernels *table);

#endif
